"""What a payment date means: when it is received, when it posts, and whether that is in time.

A payment is *received* on its local date, or on the day after where it is made at or after the cut-off; from there
forward to a business day. It posts `min_business_days` to `max_business_days` after that. Settling first and
counting then is what makes the count additive, and a holiday more never make anything earlier.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from ebill.dates import FIRST_DAY, LAST_DAY, Calendar, Days, Flags
from ebill.rules import Posting

Timeliness = Literal["on_time", "in_grace", "late"]
Reflected = Literal["yes", "maybe", "no"]


def received(paid_on: Days, after_cutoff: Flags, calendar: Calendar) -> Days:
    """Give the day each payment is received; `paid_on` are local days, `after_cutoff` means at or after it."""
    return calendar.roll(paid_on + after_cutoff, "following")


def posts(received_on: Days, posting: Posting, calendar: Calendar) -> tuple[Days, Days]:
    """Give the first and the last day on which each payment may post."""
    return (
        calendar.shift(received_on, posting.min_business_days),
        calendar.shift(received_on, posting.max_business_days),
    )


def latest_in_time(before: Days, posting: Posting, calendar: Calendar) -> Days:
    """Give the latest day on which a payment, made before the cut-off, posts for certain before each of the days.

    The last business day before is where it may post at the latest, so it is received `max_business_days` earlier.
    """
    return calendar.shift(before, -1 - posting.max_business_days)


def timeliness(paid_on: date, due: date, grace_end: date) -> Timeliness:
    """Judge the local date of a payment, whatever the cut-off: the due date is on time, the grace end in grace."""
    if paid_on <= due:
        return "on_time"
    return "in_grace" if paid_on <= grace_end else "late"


def reflected(posts_from: date, posts_by: date, next_generation: date | None) -> Reflected:
    """Tell whether the next invoice will show the payment; where there is no next invoice, none does."""
    if next_generation is None or posts_from >= next_generation:
        return "no"
    return "yes" if posts_by < next_generation else "maybe"


def local(paid_at: date | datetime, zone: ZoneInfo) -> tuple[date, time | None]:
    """Give the local day of a payment and its wall time, None for a bare date.

    A date-time without an offset is read as local already; one with an offset is converted.
    """
    if not isinstance(paid_at, datetime):
        return paid_at, None
    if paid_at.tzinfo is not None:
        paid_at = paid_at.astimezone(zone)
    return paid_at.date(), paid_at.time()


@lru_cache(maxsize=1024)
def day_without(cutoff: time, zone_name: str) -> date | None:
    """Give the first supported day on which a wall time is missing or comes twice, or None where there is none.

    Only a day on which the zone's offset changes can be such a day. Offsets are compared a week apart, and then day
    by day where they differ.
    """
    zone = ZoneInfo(zone_name)
    noon = datetime.combine(FIRST_DAY, time(12), zone) - timedelta(days=1)
    end = datetime.combine(LAST_DAY, time(12), zone) + timedelta(days=1)
    while noon < end:
        week_later = noon + timedelta(weeks=1)
        if noon.utcoffset() != week_later.utcoffset():
            for days in range(8):
                day = noon.date() + timedelta(days)
                if FIRST_DAY <= day <= LAST_DAY and not _comes_once(datetime.combine(day, cutoff, zone)):
                    return day
        noon = week_later
    return None


def _comes_once(moment: datetime) -> bool:
    return moment.utcoffset() == moment.replace(fold=1).utcoffset()
