"""All that the dates of one client's accounts depend on, in brief: plain rows, as the driver gives them.

Who entered what, and when, is left out; the rows stand in the order in which it was entered.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Select, and_, bindparam, select

from ebill.store.glance import Glance
from ebill.store.many import SETTINGS
from ebill.store.payments import payments, standing_now
from ebill.store.tables import account_versions, accounts, client_versions, clients, exceptions, rules

Row = tuple[Any, ...]
NAMES: Final = ("account_id", "name", "kind")
"""What the row of an account begins with; the client's `SETTINGS`, `bills_here_since` and its own `SETTINGS` follow."""
RULE: Final = ("account_id", "since", "rule", "cite", "assumed")
EXCEPTION: Final = (
    "account_id",
    "coverage_month",
    "generation_date",
    "due_date",
    "grace_end_date",
    "withdrawn",
    "reason",
)
PAYMENT: Final = ("account_id", "coverage_month", "paid_at", "payment_id")


class Brief(NamedTuple):
    """What is known now of a client's accounts, by id; what was entered, and which payments are in force."""

    accounts: list[Row]
    rules: list[Row]
    exceptions: list[Row]
    payments: list[Row]


def brief(glance: Glance, client_id: str) -> Brief:
    """Give a client in brief. To be asked while the store is held still."""
    asked = {"client_id": client_id}
    return Brief(*(glance.rows(query, asked) for query in _QUERIES))


def _accounts() -> Select[Any]:
    own = account_versions.c
    return (
        select(
            *(own[name] for name in NAMES),
            *(client_versions.c[name] for name in SETTINGS),
            client_versions.c.bills_here_since,
            *(own[name] for name in SETTINGS),
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
                own.client_id == accounts.c.client_id,
                own.account_id == accounts.c.account_id,
                own.version == accounts.c.version,
            ),
        )
        .where(clients.c.client_id == bindparam("client_id"))
        .order_by(accounts.c.account_id)
    )


def _entered(table: Any, columns: tuple[str, ...]) -> Select[Any]:
    named = table.c.client_id == bindparam("client_id")
    return select(*(table.c[name] for name in columns)).where(named).order_by(table.c.sequence)


_QUERIES: Final = (
    _accounts(),
    _entered(rules, RULE),
    _entered(exceptions, EXCEPTION),
    _entered(payments, PAYMENT).where(standing_now()),
)
