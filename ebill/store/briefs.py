"""All that the dates of one client's accounts depend on, in brief: plain rows, as the driver gives them.

Who entered what, and when, is left out; the rows stand in the order in which it was entered.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Select, Text, and_, bindparam, cast, literal_column, null, select, union_all

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
    "reason",
    "withdrawn",
)
PAYMENT: Final = ("account_id", "coverage_month", "paid_at", "payment_id")
"""What the rows of each begin with."""
_NUMBERED: Final = 2
"""Columns before these: which of the three it is, and where it stands among them."""
_TEXTS: Final = 6


class Brief(NamedTuple):
    """What is known now of a client's accounts, by id; what was entered, and which payments are in force."""

    accounts: list[Row]
    rules: list[Row]
    exceptions: list[Row]
    payments: list[Row]


def brief(glance: Glance, client_id: str) -> Brief:
    """Give a client in brief. To be asked while the store is held still."""
    asked = {"client_id": client_id}
    known = Brief(glance.rows(_ACCOUNTS, asked), [], [], [])
    if entered := glance.rows(_ENTERED, asked):
        for which, _, *texts, flag in sorted(entered):
            known[which].append(_row(which, texts, flag))
    return known


def _row(which: int, texts: list[Any], flag: int) -> Row:
    names = _OF[which][1]
    return (*texts[: len(names) - 1], flag) if which in _FLAGGED else (*texts[: len(names)],)


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


def _entered(which: int) -> Select[Any]:
    table, names = _OF[which]
    *texts, flag = names if which in _FLAGGED else (*names, "withdrawn")
    said: list[Any] = [table.c[name] for name in texts]
    said += [cast(null(), Text)] * (_TEXTS - len(said))
    query = select(literal_column(str(which)), table.c.sequence, *said, table.c[flag])
    query = query.where(table.c.client_id == bindparam("client_id"))
    return query.where(standing_now()) if table is payments else query


_OF: Final[dict[int, tuple[Any, tuple[str, ...]]]] = {
    1: (rules, RULE),
    2: (exceptions, EXCEPTION),
    3: (payments, PAYMENT),
}
_FLAGGED: Final = frozenset({1, 2})
"""Those whose last name is a flag's."""
_ACCOUNTS: Final = _accounts()
_ENTERED: Final = union_all(*map(_entered, _OF))
"""One question, since each takes as long as what it finds."""
