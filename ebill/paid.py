"""When a payment of an account is received and posts: under the rules of the month it is made in, in its zone."""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from ebill.dates import FIRST_DAY, LAST_DAY, Calendar, as_date, as_days
from ebill.errors import Fault, InvalidInput, PaymentOutsideCalendar, pointer
from ebill.posting import local, posts, received
from ebill.rulebook import Timeline
from ebill.rules import Posting


class Window(NamedTuple):
    """The local day of a payment, and when it is received and posts."""

    paid_on: date
    received_date: date
    posts_from_date: date
    posts_by_date: date


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


def today(timeline: Timeline, now: datetime) -> date:
    """Give the date of an instant in the account's zone."""
    return now.astimezone(ZoneInfo(timeline.on(now).rule("timezone").name)).date()


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
