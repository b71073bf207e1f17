"""When a payment is received and posts, what that means for an invoice, and how an invoice stands that was paid.

All of it under the rules of the month of the payment, in the account's zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np

from ebill.dates import Days, as_days
from ebill.explain import Closed, Explanation, closed, sourced
from ebill.paid import Window, window
from ebill.posting import Reflected, Timeliness, reflected, timeliness
from ebill.rulebook import Timeline
from ebill.standing import STANDINGS, Standing, standing

if TYPE_CHECKING:  # the calculator needs no database
    from ebill.store.payments import Payment as Recorded


class Posted(TypedDict):
    """When a payment is received and posts, by which calendar."""

    paid_at: date | datetime
    received_date: date
    posts_from_date: date
    posts_by_date: date
    calendar: str


class Payment(Posted):
    """What a payment means for an invoice."""

    coverage_month: str
    timeliness: Timeliness
    reflected_on_next_invoice: Reflected
    explanation: NotRequired[Explanation]


def posted(timeline: Timeline, paid_at: date | datetime) -> tuple[date, Posted, Explanation]:
    """Give the local day of a payment, its window, and why. Raises as `window`."""
    found = window(timeline, paid_at)
    month = np.datetime64(found.paid_on, "M")
    row, calendar = timeline.at(month).rows["posting"], timeline.terms(month).calendar
    said: Posted = {
        "paid_at": paid_at,
        "received_date": found.received_date,
        "posts_from_date": found.posts_from_date,
        "posts_by_date": found.posts_by_date,
        "calendar": calendar.name,
    }
    skipped: list[Closed] = closed(calendar, found.paid_on, found.posts_by_date)
    return found.paid_on, said, sourced(row, str(row.rule), [], skipped)


def payment(
    timeline: Timeline, paid_at: date | datetime, invoice: Mapping[str, Any]
) -> tuple[date, Payment, Explanation]:
    """Give the local day of a payment, what it means for an invoice, and why it posts when it does."""
    paid_on, said, why = posted(timeline, paid_at)
    meant: Payment = {
        "coverage_month": invoice["coverage_month"],
        "paid_at": said["paid_at"],
        "received_date": said["received_date"],
        "posts_from_date": said["posts_from_date"],
        "posts_by_date": said["posts_by_date"],
        "calendar": said["calendar"],
        "timeliness": timeliness(paid_on, invoice["due_date"], invoice["grace_end_date"]),
        "reflected_on_next_invoice": reflected(
            said["posts_from_date"], said["posts_by_date"], invoice["next_generation_date"]
        ),
    }
    return paid_on, meant, why


def stands(dates: tuple[Days, Days, Days], as_of: date, paid: Iterable[Window]) -> list[Standing]:
    """Tell where paid invoices stand on a day; their generation, due and grace end dates stand in `dates`."""
    windows = list(paid)
    codes = standing(
        *dates,
        as_days(as_of),
        paid_on=as_days([each.paid_on for each in windows]),
        posts_by=as_days([each.posts_by_date for each in windows]),
    )
    return [STANDINGS[code] for code in codes.tolist()]


def mark_paid(timeline: Timeline, invoices: Iterable[Any], recorded: Mapping[str, Recorded], as_of: date) -> None:
    """Add to invoices the payments recorded for their coverage months, and let them stand as paid by then."""
    found = [invoice for invoice in invoices if invoice["coverage_month"] in recorded]
    if not found:
        return
    names = ("generation_date", "due_date", "grace_end_date")
    dates = tuple(as_days([invoice[name] for invoice in found]) for name in names)
    windows = []
    for invoice in found:
        kept = recorded[invoice["coverage_month"]]
        if kept.paid_at is None:
            raise ValueError("what was withdrawn pays nothing")
        windows.append(window(timeline, kept.paid_at))
        invoice["payment"] = {
            "payment_id": kept.payment_id,
            "paid_at": kept.paid_at,
            "posts_from_date": windows[-1].posts_from_date,
            "posts_by_date": windows[-1].posts_by_date,
        }
    generation, due, grace_end = dates
    for invoice, stand in zip(found, stands((generation, due, grace_end), as_of, windows), strict=True):
        invoice["standing"] = stand
