"""Notices of payments: for which account and month, when it was paid, on whose word and when. No money moves here.

Rows are only ever added. A correction names the notice in force that it replaces, and so does a withdrawal; of an
account and month the last row is the one in force, unless it is a withdrawal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    ForeignKeyConstraint,
    Index,
    Select,
    and_,
    bindparam,
    exists,
    insert,
    select,
)

from ebill.store.tables import TEXT, Instant, _flag, _number, _table

payments: Final = _table(
    "payment",
    _number("sequence"),
    Column("payment_id", TEXT, nullable=False, unique=True),
    Column("client_id", TEXT, nullable=False),
    Column("account_id", TEXT, nullable=False),
    Column("coverage_month", TEXT, nullable=False),
    Column("paid_at", TEXT),
    Column("replaces", TEXT, unique=True),
    *_flag("withdrawn"),
    Column("reason", TEXT),
    Column("recorded_by", TEXT, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    CheckConstraint("(withdrawn = 1) = (paid_at IS NULL)", name="paid_at"),
    CheckConstraint("withdrawn = 0 OR replaces IS NOT NULL", name="replaces"),
    ForeignKeyConstraint(["client_id", "account_id"], ["bill_account.client_id", "bill_account.account_id"]),
    ForeignKeyConstraint(["replaces"], ["payment.payment_id"]),
    Index("ix_payment_of", "client_id", "coverage_month", "account_id"),
    Index("ix_payment_paid_at", "client_id", "paid_at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A notice of a payment, or the withdrawal of one, which has no `paid_at`; that is as given, a date or a date-time.

    `replaces` is the payment id of the notice that this one puts out of force.
    """

    payment_id: str
    client_id: str
    account_id: str
    coverage_month: str
    paid_at: date | datetime | None
    replaces: str | None = None
    withdrawn: bool = False
    reason: str | None = None
    recorded_by: str = ""
    recorded_at: datetime | None = None


def add(connection: Connection, payment: Payment) -> None:
    """Keep a notice."""
    row = asdict(payment)
    row["paid_at"] = payment.paid_at.isoformat() if payment.paid_at else None
    row["withdrawn"] = int(payment.withdrawn)
    connection.execute(insert(payments), row)


def of_account(connection: Connection, client_id: str, account_id: str) -> list[Payment]:
    """Give every notice of an account, in the order they were recorded."""
    asked = {"client_id": client_id, "account_id": account_id}
    return [_payment(row) for row in connection.execute(_OF_ACCOUNT, asked).mappings()]


def in_force(connection: Connection, client_id: str, known_at: datetime | None = None) -> dict[str, dict[str, Payment]]:
    """Give a client's notices in force at an instant (None: now), by account and coverage month."""
    asked: dict[str, Any] = {"client_id": client_id}
    if known_at is not None:
        asked["known_at"] = known_at
    found: dict[str, dict[str, Payment]] = {}
    for row in connection.execute(_IN_FORCE[known_at is not None], asked).mappings():
        kept = _payment(row)
        found.setdefault(kept.account_id, {})[kept.coverage_month] = kept
    return found


def standing_now() -> ColumnElement[bool]:
    """Give the condition on `payment` rows that are in force now."""
    return _stands(past=False)


def paid_at(text: str) -> date | datetime:
    """Read when something was paid, as it is kept.

    >>> paid_at("2026-07-02"), paid_at("2026-07-02T16:00:00")
    (datetime.date(2026, 7, 2), datetime.datetime(2026, 7, 2, 16, 0))
    """
    return date.fromisoformat(text) if len(text) == len("2026-07-02") else datetime.fromisoformat(text)


def latest(notices: Sequence[Payment]) -> Payment | None:
    """Give the notice in force of all that one account and month have, in their order; None where none is."""
    return notices[-1] if notices and not notices[-1].withdrawn else None


def _payment(row: Any) -> Payment:
    values = {name: row[name] for name in Payment.__slots__}
    values["paid_at"] = None if values["paid_at"] is None else paid_at(values["paid_at"])
    values["withdrawn"] = bool(values["withdrawn"])
    return Payment(**values)


def _stands(*, past: bool) -> ColumnElement[bool]:
    later = payments.alias("later")
    replaced = later.c.replaces == payments.c.payment_id
    if past:
        replaced = and_(replaced, later.c.recorded_at <= bindparam("known_at"))
    return and_(payments.c.withdrawn == 0, ~exists(select(later.c.sequence).where(replaced)))


def _in_force(*, past: bool) -> Select[Any]:
    query = select(payments).where(payments.c.client_id == bindparam("client_id"), _stands(past=past))
    if past:
        query = query.where(payments.c.recorded_at <= bindparam("known_at"))
    return query.order_by(payments.c.sequence)


_OF_ACCOUNT: Final = (
    select(payments)
    .where(payments.c.client_id == bindparam("client_id"), payments.c.account_id == bindparam("account_id"))
    .order_by(payments.c.sequence)
)
_IN_FORCE: Final = {past: _in_force(past=past) for past in (False, True)}
