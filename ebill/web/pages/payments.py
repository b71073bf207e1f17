"""The payments recorded of a bill account, and the form that records one, corrects it or withdraws it.

They are notices, by which no money moves. A form that is sent twice is refused the second time: of a coverage month no
more than one payment is in force.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from ebill import access
from ebill.errors import InvalidInput, NotPaidYet, PaidBeforeInvoice, PaymentNotInForce, PaymentRecorded, Refusal
from ebill.grammar import Month, Strict
from ebill.service import clients, payments
from ebill.service.clients import Window
from ebill.service.forms import Id
from ebill.web.pages.fields import shown_at
from ebill.web.pages.page import Look, Moved, Page, Send, Shown
from ebill.web.pages.words import STANDINGS, plain_day, plain_month
from ebill.web.reading import refuse_unknown

AT: Final = "/clients/{client_id}/bill-accounts/{account_id}/payments"
BACK: Final = 18
"""Months before the current one whose invoices are offered: a payment may be recorded late."""
AHEAD: Final = 3
"""Months from the current one on: their invoices may be out already."""
PAID, WITHDRAW = "paid", "withdraw"
FIELDS: Final = ("coverage_month", "paid_on", "pay_at", "reason", "replaces", "way")
UNPAID: Final = ("in_grace", "invoiced", "grace_expired")
"""Invoices that are out and not paid, in the order in which they are offered."""
_FIELD_OF: Final = {"coverage_month": "coverage_month", "paid_at": "paid_on", "reason": "reason"}
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


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
    refuse_unknown(sent.form, FIELDS)
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
    path, query = (look.path["client_id"], look.path["account_id"]), look.query
    client, _ = clients.client(look.connection, look.user, path[0])
    account, _ = clients.account(look.connection, look.user, *path)
    notices = payments.recorded(look.connection, look.user, *path)["data"]
    scheduled, trouble = _scheduled(look)
    invoices = scheduled["invoices"] if scheduled else []
    unpaid = _unpaid(invoices)
    faulty, others = _wrong(typed, refusal) if refusal else ({}, [])
    given = dict(typed) or {"way": PAID, "coverage_month": str(query.get("month") or (unpaid[0][0] if unpaid else ""))}
    replaces = typed.get("replaces") or query.get("replaces")
    corrected = next((each for each in notices if each["payment_id"] == replaces and each["in_force"]), None)
    if corrected and not typed:
        given = {"way": PAID, "coverage_month": corrected["coverage_month"], **_parted(corrected["paid_at"], scheduled)}
    if replaces and not corrected and not refusal:
        others = [_MEANWHILE]
    values = {
        "client": client,
        "account": account,
        "timezone": scheduled and scheduled["timezone"],
        "notices": notices[::-1],
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
    out = [each for each in invoices if each["standing"] in UNPAID]
    out.sort(key=lambda each: (each["standing"] == UNPAID[-1], each["due_date"]))
    return [(each["coverage_month"], _said(each)) for each in out]


def _said(invoice: Mapping[str, Any]) -> str:
    month, due, standing = invoice["coverage_month"], invoice["due_date"], STANDINGS[invoice["standing"]]
    return f"{plain_month(month)}: due {plain_day(due)}, {standing.lower()}"


def _parted(paid_at: Any, scheduled: Mapping[str, Any] | None) -> dict[str, str]:
    """Give the day and the time of a payment by the clock of its account."""
    if not isinstance(paid_at, datetime):
        return {"paid_on": str(paid_at)}
    if paid_at.tzinfo and scheduled:
        paid_at = paid_at.astimezone(ZoneInfo(scheduled["timezone"]))
    return {"paid_on": str(paid_at.date()), "pay_at": f"{paid_at:%H:%M}"}


def _recorded(look: Look, notices: Sequence[Mapping[str, Any]], payment_id: str | None) -> dict[str, Any] | None:
    """Give what was just recorded, with what it means while it is in force."""
    found = next((each for each in notices if each["payment_id"] == payment_id), None)
    if found is None:
        return None
    told: dict[str, Any] = {"payment": found, "paid": None}
    if found["in_force"]:
        asked = {"coverage_month": found["coverage_month"], "paid_at": found["paid_at"].isoformat()}
        path = look.path["client_id"], look.path["account_id"]
        try:
            told["paid"] = payments.preview(look.connection, look.book, look.user, *path, asked, look.now)
        except Refusal:
            return told  # the rules have changed since: it is recorded, and what it means cannot be told
    return told


_MEANWHILE: Final = "The payment that was to be corrected is not in force any more; what counts now stands below."


def _wrong(typed: Mapping[str, str], refusal: Refusal) -> tuple[dict[str, str], list[str]]:
    """Give what is wrong with a form in the words of the page, where the API's are for programs."""
    if isinstance(refusal, PaymentRecorded):
        return {"coverage_month": "is paid already, as recorded below; correct that payment, or withdraw it"}, []
    if isinstance(refusal, PaymentNotInForce):
        return {}, [_MEANWHILE]
    if isinstance(refusal, NotPaidYet):
        return {"paid_on": "is yet to come, where the account is; record the payment once it is made"}, []
    if isinstance(refusal, PaidBeforeInvoice):
        return {"paid_on": f"is before its invoice was generated, {plain_day(refusal.generated)}"}, []
    faulty, others = shown_at(refusal, lambda pointer: _FIELD_OF.get(pointer.removeprefix("/")))
    if "paid_on" in faulty and isinstance(refusal, InvalidInput):
        faulty["paid_on"] = _NO_DAY if "paid_on" in typed else "say on which day it was paid"
    if "reason" in faulty and "reason" not in typed:
        faulty["reason"] = "say why"
    return faulty, others


_NO_DAY: Final = "must be a day that exists, from 2000 to 2099, and the time, if any, one such as 16:30"

PAGES: Final = (
    Page(method="GET", path=AT, allows="read_client", view=payments_page, query=PaymentsSchema),
    Page(method="POST", path=AT, allows="record_payments", view=record_payment, again=_page),
)
