"""What is known of many clients' accounts now, by one query each: who may see them is a condition that it joins.

Rows come in order, and no more of them are held than a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, func, or_, select

from ebill.store.payments import payments, standing_now
from ebill.store.tables import account_versions, accounts, client_versions, clients, exceptions, rules

BATCH: Final = 10_000
SETTINGS: Final = (
    "state",
    "product",
    "timezone",
    "first_coverage_month",
    "last_coverage_month",
    "skip_coverage_months",
)


class Whose(NamedTuple):
    """Which accounts: of clients for whose id a condition holds; of one client, a state, a product.

    `q` is part of the client's name or id: see `holds`.
    """

    visible: Callable[[ColumnElement[str]], ColumnElement[bool]]
    client_id: str | None = None
    state: str | None = None
    product: str | None = None
    q: str | None = None


def holds(column: Any, part: str) -> ColumnElement[bool]:
    """Tell whether a text has a part, its wildcards being letters like any other.

    Databases differ in what the lower case of É is; so that of ASCII is compared, and the text as it is written.
    """
    lower = "".join(sign.lower() if sign.isascii() else sign for sign in part)
    return or_(column.contains(part, autoescape=True), func.lower(column).contains(lower, autoescape=True))


def accounts_of(connection: Connection, whose: Whose) -> Iterator[Sequence[Any]]:
    """Give the accounts by client id and account id, a batch at a time.

    A row is client id, account id, client name, account name; the client's `SETTINGS` and `bills_here_since`; the
    account's own `SETTINGS`.
    """
    query = _of_clients(_ACCOUNTS, whose, clients.c.client_id)
    if whose.state is not None:
        query = query.where(func.coalesce(account_versions.c.state, client_versions.c.state) == whose.state)
    if whose.product is not None:
        query = query.where(func.coalesce(account_versions.c.product, client_versions.c.product) == whose.product)
    if whose.q is not None:
        query = query.where(holds(client_versions.c.name, whose.q) | holds(clients.c.client_id, whose.q))
    return connection.execute(query).partitions()


def rules_of(connection: Connection, whose: Whose) -> Iterator[Any]:
    """Give what every rule entered says, in the order they were.

    That is client id, account id or None, since, rule, and whether it is assumed.
    """
    return iter(connection.execute(_of_clients(_RULES, whose, rules.c.client_id)))


def exceptions_of(connection: Connection, whose: Whose) -> Iterator[Any]:
    """Give what every exception entered says, in the order they were.

    That is client id, account id or None, coverage month, its three dates, and whether it is withdrawn.
    """
    return iter(connection.execute(_of_clients(_EXCEPTIONS, whose, exceptions.c.client_id)))


def payments_for(connection: Connection, whose: Whose, first: str, last: str) -> Iterator[Any]:
    """Give the payments in force of coverage months: client id, account id, coverage month, paid at (as text)."""
    of_months = payments.c.coverage_month >= first, payments.c.coverage_month <= last
    query = _of_clients(_PAYMENTS, whose, payments.c.client_id).where(*of_months)
    return iter(connection.execute(query))


def payments_between(
    connection: Connection, whose: Whose, first: date | None, last: date, but_for: tuple[str, str] | None
) -> Iterator[Any]:
    """Give the payments in force that were made from about one day (None: ever) to about another, as `payments_for`.

    "About", since what is kept is the day in whatever zone it was given in. Left out are those that `payments_for`
    gives, of coverage months from .. to.
    """
    query = _of_clients(_PAYMENTS, whose, payments.c.client_id).where(payments.c.paid_at < last.isoformat())
    if first is not None:
        query = query.where(payments.c.paid_at >= first.isoformat())
    if but_for is not None:
        query = query.where(or_(payments.c.coverage_month < but_for[0], payments.c.coverage_month > but_for[1]))
    return iter(connection.execute(query))


def _of_clients(query: Select[Any], whose: Whose, client_id: Column[Any]) -> Select[Any]:
    query = query.where(whose.visible(client_id))
    return query if whose.client_id is None else query.where(client_id == whose.client_id)


_ACCOUNTS: Final = (
    select(
        clients.c.client_id,
        accounts.c.account_id,
        client_versions.c.name,
        account_versions.c.name,
        *(client_versions.c[name] for name in SETTINGS),
        client_versions.c.bills_here_since,
        *(account_versions.c[name] for name in SETTINGS),
    )
    .select_from(clients)
    .join(
        client_versions,
        and_(clients.c.client_id == client_versions.c.client_id, clients.c.version == client_versions.c.version),
    )
    .join(accounts, accounts.c.client_id == clients.c.client_id)
    .join(
        account_versions,
        and_(
            accounts.c.client_id == account_versions.c.client_id,
            accounts.c.account_id == account_versions.c.account_id,
            accounts.c.version == account_versions.c.version,
        ),
    )
    .order_by(clients.c.client_id, accounts.c.account_id)
    .execution_options(yield_per=BATCH)
)
_RULES: Final = (
    select(rules.c.client_id, rules.c.account_id, rules.c.since, rules.c.rule, rules.c.assumed)
    .order_by(rules.c.sequence)
    .execution_options(yield_per=BATCH)
)
_EXCEPTIONS: Final = (
    select(
        exceptions.c.client_id,
        exceptions.c.account_id,
        exceptions.c.coverage_month,
        exceptions.c.generation_date,
        exceptions.c.due_date,
        exceptions.c.grace_end_date,
        exceptions.c.withdrawn,
    )
    .order_by(exceptions.c.sequence)
    .execution_options(yield_per=BATCH)
)
_PAYMENTS: Final = (
    select(payments.c.client_id, payments.c.account_id, payments.c.coverage_month, payments.c.paid_at)
    .where(standing_now())
    .execution_options(yield_per=BATCH)
)
