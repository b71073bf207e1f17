"""The payments recorded of a bill account, and the form that records one, corrects it or withdraws it.

They are notices, by which no money moves. A form that is sent twice is refused the second time: of a coverage month no
more than one payment is in force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from marshmallow import ValidationError

from ebill import access
from ebill.errors import InvalidInput, NotPaidYet, PaidBeforeInvoice, PaymentNotInForce, PaymentRecorded, Refusal
from ebill.grammar import Month, Strict, read_day, read_moment
from ebill.service import clients, payments
from ebill.service.clients import Window
from ebill.service.forms import Id
from ebill.web.pages.fields import shown_at
from ebill.web.pages.page import Look, Moved, Page, Send, Shown
from ebill.web.pages.words import FILTERS, STANDINGS, plain_day, plain_month
from ebill.web.reading import refuse_unknown_fields

AT: Final = "/clients/{client_id}/bill-accounts/{account_id}/payments"
BACK: Final = 18
"""Months before the current one whose invoices are offered: a payment may be recorded late."""
AHEAD: Final = 3
"""Months from the current one on: their invoices may be out already."""
PAID, WITHDRAW = "paid", "withdraw"
FIELDS: Final = ("coverage_month", "paid_on", "pay_at", "reason", "replaces", "way")
UNPAID: Final = ("in_grace", "invoiced", "grace_expired")
"""Invoices that are out and not paid. Those whose grace has ended are offered last, the latest of them first."""
_FIELD_OF: Final = {"coverage_month": "coverage_month", "paid_at": "paid_on", "reason": "reason"}
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_ANY_DAY: Final = "2026-01-01"
MOST: Final = 200
"""Payments that are shown, the latest."""


class PaymentsSchema(Strict):
    """Of which month a payment is to be recorded, which one is to be corrected, and which was just recorded."""

    month = Month()
    replaces = Id()
    recorded = Id()


def payments_page(look: Look) -> Shown:
    """Show what was recorded, and the form for more."""
    return _page(look)


def record_payment(sent: Send) -> Moved:
    """Record a payment, correct the one in force, or withdraw it."""
    refuse_unknown_fields(sent.form, FIELDS)
    client_id, account_id = sent.path["client_id"], sent.path["account_id"]
    made = payments.record(sent.write, sent.book, sent.user, client_id, account_id, body(sent.form))
    at = AT.format(client_id=client_id, account_id=account_id)
    return Moved(f"{at}?recorded={made['payment']['payment_id']}#recorded")


def body(form: Mapping[str, str]) -> dict[str, Any]:
    """Give the body of `POST …/payments`.

    >>> body({"coverage_month": "2026-08", "paid_on": "2026-07-30", "pay_at": "16:00", "way": "paid"})
    {'coverage_month': '2026-08', 'paid_at': '2026-07-30T16:00'}
    >>> body({"coverage_month": "2026-08", "replaces": "P1", "reason": "Bounced", "way": "withdraw"})
    {'coverage_month': '2026-08', 'replaces': 'P1', 'reason': 'Bounced', 'withdrawn': True}
    """
    said: dict[str, Any] = {name: form[name] for name in ("coverage_month", "replaces", "reason") if name in form}
    if form.get("way") == WITHDRAW:
        return {**said, "withdrawn": True}
    if "paid_on" in form:
        said["paid_at"] = f"{form['paid_on']}T{form['pay_at']}" if "pay_at" in form else form["paid_on"]
    return said


def _page(look: Look, typed: Mapping[str, str] = _NOTHING, refusal: Refusal | None = None) -> Shown:
    if isinstance(refusal, PaymentNotInForce):
        return _as_it_is(look, typed)
    path, query = (look.path["client_id"], look.path["account_id"]), look.query
    client, _ = clients.client(look.connection, look.user, path[0])
    account, _ = clients.account(look.connection, look.user, *path)
    notices = payments.recorded(look.connection, look.user, *path)["data"]
    scheduled, trouble = _scheduled(look)
    invoices = scheduled["invoices"] if scheduled else []
    unpaid = _unpaid(invoices)
    faulty, others = _wrong(typed, refusal) if refusal else ({}, [])
    given = dict(typed) or {"way": PAID, "coverage_month": str(query.get("month") or _first_open(invoices))}
    replaces = typed.get("replaces") or query.get("replaces")
    corrected = next((each for each in notices if each["payment_id"] == replaces and each["in_force"]), None)
    if corrected and not typed:
        given = {"way": PAID, "coverage_month": corrected["coverage_month"], **_parted(look, corrected)}
    if query.get("replaces") and not corrected:
        others = [_gone(notices, query["replaces"])]
    values = {
        "client": client,
        "account": account,
        "notices": notices[: -MOST - 1 : -1],
        "count": len(notices),
        "back": BACK,
        "notice": payments.NOTICE,
        "trouble": trouble,
        "unpaid": unpaid,
        "may_record": access.may(look.user, "record_payments"),
        "corrected": corrected,
        "recorded": _recorded(look, notices, query.get("recorded")),
        "given": given,
        "faulty": faulty,
        "others": others,
    }
    return Shown("payments.html", values)


def _scheduled(look: Look) -> tuple[dict[str, Any] | None, Refusal | None]:
    """Give the account with its invoices, or why they cannot be told."""
    window = Window(None, BACK + AHEAD, back=BACK)
    path = look.path["client_id"], look.path["account_id"]
    try:
        found = clients.schedule(look.connection, look.book, look.user, *path, window, look.now)
    except Refusal as refusal:
        return None, refusal
    account: dict[str, Any] = found["bill_accounts"][0]
    return account, None


def _unpaid(invoices: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Give the coverage months whose invoices are out and not paid, each with what is said of it."""
    expired, still = (
        [each for each in invoices if each["standing"] in standings] for standings in (UNPAID[-1:], UNPAID[:-1])
    )
    return [(each["coverage_month"], _said(each)) for each in (*still, *expired[::-1])]


def _first_open(invoices: Sequence[Mapping[str, Any]]) -> str:
    """Give the first coverage month whose invoice is to be paid by now, or none: one that is over is to be chosen."""
    still = (each["coverage_month"] for each in invoices if each["standing"] in UNPAID[:-1])
    return next(still, "")


def _said(invoice: Mapping[str, Any]) -> str:
    month, due = plain_month(invoice["coverage_month"]), FILTERS["short"](plain_day(invoice["due_date"]))
    return f"{month}, {STANDINGS[invoice['standing']].lower()} (due {due})"


def _as_it_is(look: Look, typed: Mapping[str, str]) -> Shown:
    """Show what counts now to somebody who would have changed what does not count any more.

    What they typed is let go: to send it again would change what they have not seen.
    """
    path = look.path["client_id"], look.path["account_id"]
    notices = payments.recorded(look.connection, look.user, *path)["data"]
    month = typed.get("coverage_month", "")
    now = next((each for each in notices if each["in_force"] and each["coverage_month"] == month), None)
    shown = _page(replace(look, query={"replaces": now["payment_id"]} if now else {}))
    return replace(shown, values={**shown.values, "others": [_gone(notices, typed.get("replaces", ""))]})


def _gone(notices: Sequence[Mapping[str, Any]], payment_id: str) -> str:
    """Say why a payment cannot be corrected."""
    after = next((each for each in notices if each["replaces"] == payment_id), None)
    if after is None:
        return "There is no such payment to correct."
    done = "withdrawn" if after["withdrawn"] else "corrected"
    return f"This payment was {done} already, by {after['recorded_by']}. Nothing was done now; below is what counts."


def _parted(look: Look, notice: Mapping[str, Any]) -> dict[str, str]:
    """Give the day and the time of a payment, by the clock of its account then; neither where that cannot be told."""
    paid_at = notice["paid_at"]
    if not isinstance(paid_at, datetime):
        return {"paid_on": str(paid_at)}
    if paid_at.tzinfo:
        told = _told(look, notice)
        if told is None:
            return {}
        paid_at = paid_at.astimezone(ZoneInfo(told["timezone"]))
    return {"paid_on": str(paid_at.date()), "pay_at": f"{paid_at:%H:%M}"}


def _told(look: Look, notice: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give what a payment means; None where the rules have changed so that it cannot be told."""
    asked = {"coverage_month": notice["coverage_month"], "paid_at": notice["paid_at"].isoformat()}
    path = look.path["client_id"], look.path["account_id"]
    try:
        return payments.preview(look.connection, look.book, look.user, *path, asked, look.now)
    except Refusal:
        return None


def _recorded(look: Look, notices: Sequence[Mapping[str, Any]], payment_id: str | None) -> dict[str, Any] | None:
    """Give what was just recorded, with what it means while it is in force, and whether it was withdrawn since."""
    found = next((each for each in notices if each["payment_id"] == payment_id), None)
    if found is None:
        return None
    month = [each for each in notices if each["coverage_month"] == found["coverage_month"]]
    return {
        "payment": found,
        "told": _told(look, found) if found["in_force"] else None,
        "is_unpaid": not any(each["in_force"] for each in month),
    }


def _wrong(typed: Mapping[str, str], refusal: Refusal) -> tuple[dict[str, str], list[str]]:
    """Give what is wrong with a form in the words of the page, where the API's are for programs."""
    if isinstance(refusal, PaymentRecorded):
        return {"coverage_month": "is paid already, as recorded below; correct that payment, or withdraw it"}, []
    if isinstance(refusal, NotPaidYet):
        name = "pay_at" if refusal.is_today else "paid_on"
        return {name: "is yet to come, where the account is; record the payment once it is made"}, []
    if isinstance(refusal, PaidBeforeInvoice):
        return {"paid_on": f"is before its invoice was generated, {plain_day(refusal.generated)}"}, []
    faulty, others = shown_at(refusal, lambda pointer: _FIELD_OF.get(pointer.removeprefix("/")))
    if "paid_on" in faulty and isinstance(refusal, InvalidInput):
        del faulty["paid_on"]
        faulty |= no_moment(typed)
    if "reason" in faulty and "reason" not in typed:
        faulty["reason"] = "say why"
    return faulty, others


def no_moment(typed: Mapping[str, str]) -> dict[str, str]:
    """Say of a day and a time, which together are no moment, which of them is none."""
    found: dict[str, str] = {}
    if "paid_on" not in typed:
        found["paid_on"] = "say on which day it was paid"
    elif not _is_read(read_day, typed["paid_on"]):
        found["paid_on"] = "must be a day that exists, from 2000 to 2099"
    if "pay_at" in typed and not _is_read(read_moment, f"{_ANY_DAY}T{typed['pay_at']}"):
        found["pay_at"] = "must be a time such as 16:30"
    return found


def _is_read(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValidationError:
        return False
    return True


PAGES: Final = (
    Page(method="GET", path=AT, allows="read_client", view=payments_page, query=PaymentsSchema),
    Page(method="POST", path=AT, allows="record_payments", view=record_payment, again=_page),
)
