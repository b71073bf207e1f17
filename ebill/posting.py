"""What a payment date means: when it is received, when it posts, and whether that is in time.

A payment is *received* on its local date, or on the day after where it is made at or after the cut-off; from there
forward to a business day. It posts `min_business_days` to `max_business_days` after that. Settling first and
counting then is what makes the count additive, and a holiday more never make anything earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal
from zoneinfo import ZoneInfo

from ebill.dates import FIRST_DAY, LAST_DAY, Calendar, Days, Flags
from ebill.rules import Posting

Timeliness = Literal["on_time", "in_grace", "late"]
Reflected = Literal["yes", "maybe", "no"]

_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(weeks=1)


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

    Such a day is one of two neighbours between whose noons the zone's offset changes.
    """
    zone = ZoneInfo(zone_name)
    for noon in _changing(zone):
        for day in (noon.date(), noon.date() + _DAY):
            if FIRST_DAY <= day <= LAST_DAY and not _comes_once(datetime.combine(day, cutoff, zone)):
                return day
    return None


def _changing(zone: ZoneInfo) -> Iterator[datetime]:
    """Give each noon of the supported days from which to the next one the zone's offset changes.

    Offsets are compared a week apart, and then day by day where they differ.
    """
    noon, end = (datetime.combine(day, time(12)) for day in (FIRST_DAY - _DAY, LAST_DAY + _DAY))
    offset = zone.utcoffset(noon)
    while noon < end:
        next_week = noon + _WEEK
        earlier, offset = offset, zone.utcoffset(next_week)
        if offset != earlier:
            noons = [noon + days * _DAY for days in range(8)]
            yield from (a for a, b in pairwise(noons) if zone.utcoffset(a) != zone.utcoffset(b))
        noon = next_week


def _comes_once(moment: datetime) -> bool:
    return moment.utcoffset() == moment.replace(fold=1).utcoffset()
