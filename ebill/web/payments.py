"""The routes of payments: notices of them, and what it would mean to pay then. No money moves here."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final, TypedDict

from ebill import errors
from ebill.posting import Reflected, Timeliness
from ebill.service import payments
from ebill.service.invoices import Version
from ebill.service.payments import PaymentSchema, PreviewSchema
from ebill.standing import Standing
from ebill.web.routes import OF_ACCOUNT, Change, Given, Route, Signed


class PaymentNotice(TypedDict):
    """A notice of a payment made elsewhere, on whose word and when; no money moves here.

    A correction `replaces` the notice before it, and so does a withdrawal, which has no `paid_at`. The notice
    `in_force` is the one that the standing of the invoice is told by.
    """

    payment_id: str
    coverage_month: str
    paid_at: date | datetime | None
    replaces: str | None
    withdrawn: bool
    reason: str | None
    recorded_by: str
    recorded_at: datetime
    in_force: bool


class PaymentNotices(TypedDict):
    """Every notice of an account, in the order they were recorded."""

    data: list[PaymentNotice]
    notice: str


class PaymentMeaning(TypedDict):
    """When a payment is received and posts, whether it is in time, and whether the next invoice shows it."""

    coverage_month: str
    paid_at: date | datetime
    received_date: date
    posts_from_date: date
    posts_by_date: date
    calendar: str
    timeliness: Timeliness
    reflected_on_next_invoice: Reflected


class RecordedPayment(TypedDict):
    """A notice as it is kept, what the payment means, and where its invoice stands now; it has moved no money."""

    payment: PaymentNotice
    meaning: PaymentMeaning | None
    as_of: date
    standing: Standing | None
    notice: str


class ShownOn(TypedDict):
    """The first invoice generated after a payment has posted for certain."""

    coverage_month: str
    generation_date: date


class PaymentPreview(TypedDict):
    """What it would mean to pay then, and where the invoice would stand as of a day.

    Where the next invoice would not show the payment for certain, `better_pay_by` is the day by which it would, unless
    that is past. `surely_shown_on` is the first invoice that shows it for certain.
    """

    client_id: str
    account_id: str
    timezone: str
    rulebook: Version
    meaning: PaymentMeaning
    as_of: date
    standing: Standing
    better_pay_by: date | None
    surely_shown_on: ShownOn | None
    notice: str


def record_payment(asked: Change) -> Given:
    """Record that an invoice was paid, and when: a notice, by which no money moves.

    One notice for an account and coverage month; `replaces`, with the id of the one in force, corrects it, and with
    `withdrawn` takes it back. A producer must have accepted the electronic payment terms.
    """
    client_id, account_id = asked.path["client_id"], asked.path["account_id"]
    return Given(payments.record(asked.write, asked.book, asked.user, client_id, account_id, asked.body), 201)


def list_payments(asked: Signed) -> Any:
    """List every notice of a payment of a bill account, those replaced and withdrawn too. No money moves here."""
    return payments.recorded(asked.connection, asked.user, asked.path["client_id"], asked.path["account_id"])


def preview_payment(asked: Change) -> Any:
    """Tell what it would mean to pay then: when it posts, whether it is in time, and what the next invoice shows.

    Nothing is kept, and no money moves here.
    """
    client_id, account_id = asked.path["client_id"], asked.path["account_id"]
    return payments.preview(asked.connection, asked.book, asked.user, client_id, account_id, asked.body, asked.now)


PAYMENTS_AT: Final = "/v1/clients/{client_id}/bill-accounts/{account_id}/payments"
_REFUSES: Final = (
    errors.BilledElsewhere,
    errors.NotBilled,
    errors.PaidBeforeInvoice,
    errors.PaymentOutsideCalendar,
    errors.NoRuleInForce,
    errors.DatesOutOfOrder,
    errors.BelowFloor,
    errors.ExceptionTooFar,
    errors.CutoffNotDaily,
)

ROUTES: Final = (
    Route(
        method="GET",
        path=PAYMENTS_AT,
        allows="read_client",
        view=list_payments,
        summary="The payments recorded",
        gives=PaymentNotices,
        parameters=OF_ACCOUNT,
    ),
    Route(
        method="POST",
        path=PAYMENTS_AT,
        allows="record_payments",
        view=record_payment,
        summary="Record a payment",
        gives=RecordedPayment,
        body=PaymentSchema,
        example={"coverage_month": "2026-01", "paid_at": "2025-12-30T16:00"},
        parameters=OF_ACCOUNT,
        statuses=(201,),
        refuses=(errors.PaymentRecorded, errors.PaymentNotInForce, errors.NotPaidYet, *_REFUSES),
    ),
    Route(
        method="POST",
        path=f"{PAYMENTS_AT}/preview",
        allows="read_client",
        view=preview_payment,
        summary="If paid then",
        gives=PaymentPreview,
        body=PreviewSchema,
        example={"coverage_month": "2026-08", "paid_at": "2026-08-10"},
        parameters=OF_ACCOUNT,
        only_tried=True,
        refuses=_REFUSES,
    ),
)
