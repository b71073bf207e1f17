"""When a payment is received and posts, what that means for an invoice, and how an invoice stands that was paid.

All of it under the rules of the month of the payment, in the account's zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, NotRequired, TypedDict
from zoneinfo import ZoneInfo

import numpy as np

from ebill.dates import FIRST_DAY, LAST_DAY, Calendar, Days, as_date, as_days
from ebill.errors import Fault, InvalidInput, PaymentOutsideCalendar, pointer
from ebill.explain import Closed, Explanation, closed, sourced
from ebill.posting import Reflected, Timeliness, local, posts, received, reflected, timeliness
from ebill.rulebook import Timeline
from ebill.rules import Posting
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


class Window(NamedTuple):
    """The local day of a payment, and when it is received and posts."""

    paid_on: date
    received_date: date
    posts_from_date: date
    posts_by_date: date


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


def window(timeline: Timeline, paid_at: date | datetime) -> Window:
    """Give when a payment is received and posts, under the rules of the month of the payment.

    Raises InvalidInput for a local day that is not supported, PaymentOutsideCalendar for one that posts in a year the
    calendar does not know.
    """
    paid_on, after_cutoff, rule, calendar = _under(timeline, paid_at)
    found = _window(rule, calendar, paid_on, after_cutoff)
    if found is None:
        refusal = PaymentOutsideCalendar(calendar.name, paid_on, calendar.first, calendar.last)
        refusal.faults = (Fault(pointer("paid_at"), str(refusal)),)
        raise refusal
    return found


def zone_of(timeline: Timeline, moment: date | datetime) -> ZoneInfo:
    """Give the zone in force in the month of a payment."""
    return ZoneInfo(timeline.at(_month(moment)).rule("timezone").name)


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


def _under(timeline: Timeline, paid_at: date | datetime) -> tuple[date, bool, Posting, Calendar]:
    paid_on, clock = local(paid_at, zone_of(timeline, paid_at))
    if not FIRST_DAY <= paid_on <= LAST_DAY:
        raise InvalidInput([Fault("/paid_at", f"must be a local date from {FIRST_DAY} to {LAST_DAY}")])
    month = np.datetime64(paid_on, "M")
    rule: Posting = timeline.at(month).rule("posting")
    return paid_on, clock is not None and clock >= rule.cutoff, rule, timeline.terms(month).calendar


def _month(moment: date | datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None) if isinstance(moment, datetime) else moment, "M")


@lru_cache(maxsize=1 << 14)
def _window(rule: Posting, calendar: Calendar, paid_on: date, after_cutoff: bool) -> Window | None:  # noqa: FBT001
    """Give the window of a payment, or None where the calendar knows too little; the same for all who pay alike."""
    received_on = received(as_days([paid_on]), np.array([after_cutoff]), calendar)
    posts_from, posts_by = posts(received_on, rule, calendar)
    if np.isnat(posts_by[0]):
        return None
    return Window(paid_on, as_date(received_on[0]), as_date(posts_from[0]), as_date(posts_by[0]))
