"""Notices of payments: that an invoice was paid, and when. No money moves here; a notice moves the standing alone.

A notice is recorded once for an account and month. It is corrected by another that replaces it, and withdrawn by one
that says so; all of them stay.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, NamedTuple, cast

import numpy as np
from marshmallow import ValidationError, validates_schema
from sqlalchemy import Connection

from ebill import access
from ebill.dates import as_days
from ebill.errors import (
    AccountNotFound,
    BilledElsewhere,
    Fault,
    InvalidInput,
    NotBilled,
    NotPaidYet,
    PaidBeforeInvoice,
    PaymentNotInForce,
    PaymentRecorded,
    Refusal,
)
from ebill.grammar import Day, Flag, Moment, Month, Strict, Text, faults
from ebill.paid import Window, today, window, zone_of
from ebill.rulebook import Life, RuleBook
from ebill.service.clients import ELSEWHERE
from ebill.service.forms import Id
from ebill.service.invoices import Invoice, invoices, not_billed, versions
from ebill.service.posted import payment, stands
from ebill.service.scopes import scope
from ebill.standing import Standing
from ebill.store import clients as kept_clients
from ebill.store import payments as kept
from ebill.store.clients import Account, Client
from ebill.store.engine import Writing
from ebill.store.payments import Payment
from ebill.store.users import User

NOTICE: Final = "A notice of a payment made elsewhere: no money moves here."
_SHOWN: Final = (
    "payment_id",
    "coverage_month",
    "paid_at",
    "replaces",
    "withdrawn",
    "reason",
    "recorded_by",
    "recorded_at",
)


class PaymentSchema(Strict):
    """The body of `POST …/payments`: a notice of a payment, a correction of one, or its withdrawal."""

    coverage_month = Month(required=True)
    paid_at = Moment(load_default=None, allow_none=False)
    replaces = Id(load_default=None, allow_none=False)
    withdrawn = Flag(load_default=False)
    reason = Text(load_default=None, allow_none=False)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_unclear(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        """Refuse a notice without its date, and a withdrawal with one, of nothing, or without a reason."""
        if not isinstance(original, Mapping):
            return
        found: dict[str, list[str]] = {}
        if original.get("withdrawn") is not True:
            if "paid_at" not in original:
                found["paid_at"] = ["is required, or else withdrawn = true"]
        else:
            if "paid_at" in original:
                found["paid_at"] = ["cannot be given with withdrawn = true"]
            for name in ("replaces", "reason"):
                if name not in original:
                    found[name] = ["is required with withdrawn = true"]
        if found:
            raise ValidationError(cast("dict[str, Any]", found))


class PreviewSchema(Strict):
    """The body of `POST …/payments/preview`: what would be paid when, and the day to see it from."""

    coverage_month = Month(required=True)
    paid_at = Moment(required=True)
    as_of = Day(load_default=None, allow_none=False)


class Paid(NamedTuple):
    """An invoice that is paid, or would be, and what that means."""

    invoice: Invoice
    window: Window
    meaning: dict[str, Any]

    def standing(self, as_of: date) -> Standing:
        """Tell where the invoice stands on a day."""
        dates = (as_days([self.invoice[name]]) for name in ("generation_date", "due_date", "grace_end_date"))
        generation, due, grace_end = dates
        return stands((generation, due, grace_end), as_of, [self.window])[0]


def record(write: Writing, book: RuleBook, user: User, client_id: str, account_id: str, body: Any) -> dict[str, Any]:
    """Record a notice of a payment, or correct or withdraw the one in force.

    Raises TermsNotAccepted, PaymentRecorded, PaymentNotInForce, BilledElsewhere, NotBilled, NotPaidYet,
    PaidBeforeInvoice, what `posted.window` raises, and what `RuleBook.life` raises where the rule book has come to
    contradict what was entered for the account.
    """
    access.allow(user, "record_payments")
    client, account, life = _account(write.connection, book, user, client_id, account_id)
    data = _load(PaymentSchema(), body)
    month, paid_at = str(data["coverage_month"]), data["paid_at"]
    before = _replaced(write.connection, client_id, account_id, month, data["replaces"])
    paid = None
    if not data["withdrawn"]:
        paid = _paid(life, client, account, data["coverage_month"], paid_at)
        if not _is_past(life, paid_at, write.at):
            day = paid_at.date() if isinstance(paid_at, datetime) else paid_at
            raise _at("/paid_at", NotPaidYet(is_today=_is_past(life, day, write.at)))
    new = Payment(
        payment_id=secrets.token_hex(8),
        client_id=client_id,
        account_id=account_id,
        coverage_month=month,
        paid_at=paid_at,
        replaces=data["replaces"],
        withdrawn=data["withdrawn"],
        reason=data["reason"],
        recorded_by=user.user_id,
        recorded_at=write.at,
    )
    kept.add(write.connection, new)
    done = "withdraw_payment" if new.withdrawn else "correct_payment" if new.replaces else "record_payment"
    write.audit(
        done,
        client_id=client_id,
        account_id=account_id,
        subject=new.payment_id,
        before=_plain(before) if before else None,
        after=_plain(new),
        reason=new.reason,
    )
    as_of = today(life.timeline, write.at)
    return {
        "payment": {**_plain(new), "in_force": not new.withdrawn},
        "meaning": paid.meaning if paid else None,
        "as_of": as_of,
        "standing": paid.standing(as_of) if paid else _unpaid(life, new.coverage_month, as_of),
        "notice": NOTICE,
    }


def recorded(connection: Connection, user: User, client_id: str, account_id: str) -> dict[str, Any]:
    """Answer with every notice of an account in the order they were recorded, and which of them are in force."""
    access.see(connection, user, client_id)
    dossier = kept_clients.dossier(connection, client_id)
    if dossier is None or account_id not in {each.account_id for each in dossier.accounts}:
        raise AccountNotFound
    notices = kept.of_account(connection, client_id, account_id)
    replaced = {notice.replaces for notice in notices}
    return {
        "data": [
            {**_plain(notice), "in_force": not notice.withdrawn and notice.payment_id not in replaced}
            for notice in notices
        ],
        "notice": NOTICE,
    }


def preview(
    connection: Connection, book: RuleBook, user: User, client_id: str, account_id: str, body: Any, now: datetime
) -> dict[str, Any]:
    """Answer what it would mean to pay an invoice then, as of that day or another; nothing is kept.

    Raises as `record`, but for what is recorded already and what is yet to come.
    """
    client, account, life = _account(connection, book, user, client_id, account_id)
    data = _load(PreviewSchema(), body)
    paid = _paid(life, client, account, data["coverage_month"], data["paid_at"])
    as_of = data["as_of"] or paid.window.paid_on
    return {
        "client_id": client_id,
        "account_id": account_id,
        "timezone": zone_of(life.timeline, paid.window.paid_on).key,
        "rulebook": versions(book),
        "meaning": paid.meaning,
        "as_of": as_of,
        "standing": paid.standing(as_of),
        "better_pay_by": _better_pay_by(paid, today(life.timeline, now)),
        "surely_shown_on": _surely_shown_on(life, paid),
        "notice": NOTICE,
    }


def _account(
    connection: Connection, book: RuleBook, user: User, client_id: str, account_id: str
) -> tuple[Client, Account, Life]:
    access.see(connection, user, client_id)
    dossier = kept_clients.dossier(connection, client_id)
    for account in dossier.accounts if dossier else ():
        if dossier and account.account_id == account_id:
            return dossier.client, account, book.life(scope(dossier, account))
    raise AccountNotFound


def _replaced(
    connection: Connection, client_id: str, account_id: str, month: str, replaces: str | None
) -> Payment | None:
    """Give the notice in force, which is the one that is to be replaced, or none of both."""
    notices = kept.of_account(connection, client_id, account_id)
    current = kept.latest([notice for notice in notices if notice.coverage_month == month])
    if replaces is None and current is not None:
        raise _at("/replaces", PaymentRecorded(month, current.payment_id))
    if replaces is not None and (current is None or current.payment_id != replaces):
        raise _at("/replaces", PaymentNotInForce(month, current.payment_id if current else None))
    return current


def _paid(life: Life, client: Client, account: Account, month: np.datetime64, paid_at: date | datetime) -> Paid:
    """Give the invoice of a month as it is paid then. Refuses a month that has none here, and a day before it."""
    try:
        _refuse_elsewhere(client, account, str(month))
        rows = life.rows(month, 1)
        for unbilled in not_billed(life, rows):
            raise NotBilled(str(month), unbilled["reason"])
    except Refusal as refusal:
        raise _at("/coverage_month", refusal) from None
    (invoice,) = invoices(life, rows, date.min, explained=False)
    found = window(life.timeline, paid_at)
    if found.paid_on < invoice["generation_date"]:
        raise _at("/paid_at", PaidBeforeInvoice(str(month), found.paid_on, invoice["generation_date"]))
    _, meaning, _ = payment(life.timeline, paid_at, invoice)
    return Paid(invoice, found, dict(meaning))


def _refuse_elsewhere(client: Client, account: Account, month: str) -> None:
    first = account.first_coverage_month or client.first_coverage_month or ""
    last = account.last_coverage_month or client.last_coverage_month or month
    here = client.bills_here_since
    if here is not None and first <= month <= last and month < here:
        raise BilledElsewhere(month, ELSEWHERE.format(here))


def _is_past(life: Life, paid_at: date | datetime, now: datetime) -> bool:
    """Tell whether a payment was made by now. A wall time that comes twice in autumn is the earlier one."""
    zone = zone_of(life.timeline, paid_at)
    if not isinstance(paid_at, datetime):
        return paid_at <= now.astimezone(zone).date()
    return (paid_at if paid_at.tzinfo else paid_at.replace(tzinfo=zone)) <= now


def _unpaid(life: Life, month: str, as_of: date) -> Standing | None:
    """Tell where an invoice stands that is not paid; None where there is none."""
    row = life.schedule.row(np.datetime64(month, "M"))
    if row < 0:
        return None
    found = invoices(life, slice(row, row + 1), as_of, explained=False)
    return found[0]["standing"] if found else None


def _better_pay_by(paid: Paid, today: date) -> date | None:
    """Give the day by which to pay so that the next invoice shows it, unless it will anyway or that day is past."""
    invoice = paid.invoice
    if paid.meaning["reflected_on_next_invoice"] == "yes" or invoice["next_generation_date"] is None:
        return None
    safe = invoice["safe_pay_by_date"]
    return safe if max(today, invoice["generation_date"]) <= safe else None


def _surely_shown_on(life: Life, paid: Paid) -> dict[str, Any] | None:
    """Give the first invoice generated after the payment has posted for certain; None where there is none."""
    dates = life.schedule
    generated = dates.days("generation_date")
    after = dates.row(np.datetime64(paid.invoice["coverage_month"], "M")) + 1
    shows = dates.billed[: dates.count] & (generated > as_days(paid.window.posts_by_date))
    rows = np.flatnonzero(shows[after:])
    if not len(rows):
        return None
    row = after + int(rows[0])
    return {"coverage_month": life.month(row), "generation_date": generated[row].item()}


def _plain(notice: Payment) -> dict[str, Any]:
    return {name: getattr(notice, name) for name in _SHOWN}


def _at(place: str, refusal: Refusal) -> Refusal:
    refusal.faults = (Fault(place, str(refusal)),)
    return refusal


def _load(schema: Strict, body: Any) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", schema.load(body))
    except ValidationError as error:
        raise InvalidInput(faults(error.messages)) from None
