"""Many payments at once: their local days, and when they are received and post.

The same as `paid.window` says of one, over columns. Moments are microseconds from 1970-01-01, days are counted from
there; a wall clock is counted as if it were UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from marshmallow import ValidationError

from ebill.batch import clocks
from ebill.batch.apart import Numbers
from ebill.batch.clocks import DAY_LONG, LOCAL
from ebill.batch.columns import NONE, day_numbers
from ebill.batch.laid import Way
from ebill.dates import FIRST_DAY, FIRST_MONTH, LAST_DAY, MONTH, Calendar
from ebill.grammar import read_moment
from ebill.posting import posts, received
from ebill.rules import Posting

NOT_GIVEN, GOOD, BAD = range(3)
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # wall clocks are counted from here
_MICROSECOND: Final = timedelta(microseconds=1)
_OFFSET: Final = re.compile(r"[+-][0-9]{2}:[0-9]{2}")
_FIRST, _LAST = np.datetime64(FIRST_DAY, "D"), np.datetime64(LAST_DAY, "D")
_BEGIN, _END = _FIRST.astype(int), _LAST.astype(int)


class Moments(NamedTuple):
    """When each row is paid: the wall clock as it is written, its offset from UTC or `LOCAL`, whether it is a date.

    `told` says whether there is one (`NOT_GIVEN`, `GOOD`), or something that is none (`BAD`).
    """

    written: Numbers
    offset: Numbers
    is_date: npt.NDArray[np.bool_]
    told: npt.NDArray[np.uint8]

    def take(self, numbers: Any) -> Moments:
        """Give those of these numbers, or of these rows."""
        return Moments(*(column[numbers] for column in self))


class Posted(NamedTuple):
    """The local day of each payment, and when it is received and posts; `NONE` where that is not known."""

    paid_on: npt.NDArray[np.int32]
    received: npt.NDArray[np.int32]
    posts_from: npt.NDArray[np.int32]
    posts_by: npt.NDArray[np.int32]


def read(texts: Any) -> Moments:
    """Read an Arrow array of moments as the API takes them; null is none.

    Those that are plainly good are read together, all others by the grammar of the API.
    """
    there = texts.is_valid().to_numpy(zero_copy_only=False)
    written, offset, is_date, plain = clocks.read(texts)
    told = np.where(there, np.where(plain, GOOD, BAD), NOT_GIVEN).astype(np.uint8)
    others = np.flatnonzero(there & ~plain)
    for row, text in zip(others.tolist(), texts.take(others).to_pylist(), strict=True):
        with suppress(ValidationError):
            found, told[row] = read_moment(text), GOOD
            moment = found if isinstance(found, datetime) else datetime.combine(found, time())
            written[row] = (moment.replace(tzinfo=None) - _EPOCH) // _MICROSECOND
            apart, is_date[row] = moment.utcoffset(), moment is not found
            offset[row] = LOCAL if apart is None else apart // _MICROSECOND
    return Moments(written, offset, is_date, told)


def none(count: int) -> Moments:
    """Give so many rows that are not paid."""
    told = np.full(count, NOT_GIVEN, np.uint8)
    return Moments(np.zeros(count, np.int64), np.full(count, LOCAL), np.zeros(count, bool), told)


def moment(given: Moments, row: int) -> date | datetime | None:
    """Give when one row is paid."""
    written, offset, is_date, told = (column[row].item() for column in given)
    if told != GOOD:
        return None
    wall: datetime = _EPOCH + written * _MICROSECOND
    if is_date:
        return wall.date()
    return wall if offset == LOCAL else wall.replace(tzinfo=timezone(offset * _MICROSECOND))


def of_days(days: Numbers, given: npt.NDArray[np.bool_]) -> Moments:
    """Take days for moments; of the others nothing is given."""
    good = (days >= _BEGIN) & (days <= _END)
    told = np.where(given, np.where(good, GOOD, BAD), NOT_GIVEN).astype(np.uint8)
    return Moments(
        np.where(good, days, 0).astype(np.int64) * DAY_LONG, np.full(len(days), LOCAL), np.ones(len(days), bool), told
    )


def of_clocks(clocks: Numbers, given: npt.NDArray[np.bool_], zone: str | None) -> Moments:
    """Take wall clocks without a zone for moments, or, with one, instants that are written in that zone."""
    far = 10 * DAY_LONG
    near = (clocks > _BEGIN * DAY_LONG - far) & (clocks < (_END + 1) * DAY_LONG + far)
    clocks = np.where(near, clocks, 0).astype(np.int64)
    offset = np.full(len(clocks), LOCAL) if zone is None else offsets(clocks, zone)
    written = clocks if zone is None else clocks + offset
    days = written // DAY_LONG
    good = near & (days >= _BEGIN) & (days <= _END)
    told = np.where(given, np.where(good, GOOD, BAD), NOT_GIVEN).astype(np.uint8)
    return Moments(written, offset, np.zeros(len(clocks), bool), told)


def posted(moments: Moments, ways: Sequence[Way]) -> Posted:
    """Give when payments of accounts that pay in these ways post; what is not `GOOD` posts never."""
    good = moments.told == GOOD
    local = moments.written.copy()
    instants = good & (moments.offset != LOCAL)
    if instants.any():
        for way, rows in _in_force(ways, moments.written // DAY_LONG, instants):
            utc = moments.written[rows] - moments.offset[rows]
            local[rows] = utc + offsets(utc, way.zone)
    paid_on, clock = np.divmod(local, DAY_LONG)
    good &= (paid_on >= _BEGIN) & (paid_on <= _END)
    found = Posted(np.where(good, paid_on, NONE).astype(np.int32), *(np.full(len(good), NONE, np.int32),) * 3)
    found = found._replace(posts_from=found.received.copy(), posts_by=found.received.copy())
    for way, rows in _in_force(ways, paid_on, good):
        cutoff = (way.posting.cutoff.hour * 60 + way.posting.cutoff.minute) * 60_000_000
        after = ~moments.is_date[rows] & (clock[rows] >= cutoff)
        place = paid_on[rows] - _BEGIN + after
        for column, days in zip(found[1:], _windows(way.posting, way.calendar), strict=True):
            column[rows] = days[place]
    return found


def offsets(utc: Numbers, zone: str) -> Numbers:
    """Give how far a zone's wall clock is from UTC at each instant, in microseconds."""
    begins, apart = _changes(zone)
    found: Numbers = apart[np.searchsorted(begins, utc, side="right") - 1]
    return found


def _month(days: Numbers) -> Numbers:
    months = np.asarray(days).astype(np.int64).astype("datetime64[D]").astype(MONTH)
    return (months - FIRST_MONTH).astype(np.int64)


def _in_force(ways: Sequence[Way], days: Numbers, which: npt.NDArray[np.bool_]) -> Iterator[tuple[Way, Any]]:
    """Give each way, and those rows for the month of whose day it is in force."""
    if len(ways) == 1:
        yield ways[0], np.flatnonzero(which)
        return
    place = np.maximum(np.searchsorted([way.since for way in ways], _month(days), side="right") - 1, 0)
    for number, way in enumerate(ways):
        rows = np.flatnonzero(which & (place == number))
        if len(rows):
            yield way, rows


@lru_cache(maxsize=64)
def _windows(posting: Posting, calendar: Calendar) -> tuple[Numbers, Numbers, Numbers]:
    """Give the window of each supported day, and of the day after the last one; none where the calendar ends."""
    received_on = received(np.arange(_FIRST, _LAST + 2), np.zeros(1, bool), calendar)
    posts_from, posts_by = posts(received_on, posting, calendar)
    unknown = np.isnat(posts_by)
    first, last, by = (np.where(unknown, NONE, day_numbers(days)) for days in (received_on, posts_from, posts_by))
    return first, last, by


def zone_of(name: str) -> tzinfo:
    """Give a zone by its name, or by a fixed offset such as +05:30, as Arrow has it. Raises ValueError for neither."""
    if _OFFSET.fullmatch(name):
        return timezone((datetime.strptime(name, "%z").utcoffset()) or timedelta())  # only its offset
    try:
        return ZoneInfo(name)
    except (KeyError, OSError):
        raise ValueError(name) from None


@lru_cache(maxsize=256)
def _changes(zone: str) -> tuple[Numbers, Numbers]:
    """Give the instants from which a zone has another offset, and that offset: looked for day by day."""
    info = zone_of(zone)
    moment, end = datetime(1999, 12, 1, tzinfo=UTC), datetime(2100, 2, 1, tzinfo=UTC)
    begins, apart = [np.iinfo(np.int64).min], [_apart(info, moment)]
    while moment < end:
        later = moment + timedelta(days=1)
        after = _apart(info, later)
        if after != apart[-1]:
            low, high = moment, later
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                low, high = (middle, high) if _apart(info, middle) == apart[-1] else (low, middle)
            high = high.replace(microsecond=0)
            begins.append((high.replace(tzinfo=None) - _EPOCH) // _MICROSECOND)
            apart.append(after)
        moment = later
    return np.array(begins), np.array(apart)


def _apart(zone: tzinfo, moment: datetime) -> int:
    found = moment.astimezone(zone).utcoffset()
    return (found or timedelta()) // _MICROSECOND


def read_days(texts: Any) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Read an Arrow array of dates; give their days, `NONE` where there is none, and which are no dates."""
    written, _, is_date, told = read(texts)
    is_day = (told == GOOD) & is_date
    return np.where(is_day, written // DAY_LONG, NONE).astype(np.int32), (told != NOT_GIVEN) & ~is_day
