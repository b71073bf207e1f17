"""Day arithmetic and business-day calendars, for one day or for many.

Conventions. A *day* is a numpy `datetime64[D]`, a *month* a `datetime64[M]`; every function takes one or an array
of any shape and gives the same shape back. A *number* of a rule is one, or an array of one sign that broadcasts with
the days. Nothing here knows an hour: a day of 23 or 25 hours is one day. A day that a calendar has no evidence for is
`NaT`, never a guess; whoever hands dates out refuses a `NaT` first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from ebill import bound
from ebill.errors import UnknownCalendar

Days = npt.NDArray[np.datetime64]
Months = npt.NDArray[np.datetime64]
Flags = npt.NDArray[np.bool_]
Number = int | npt.NDArray[np.int64]

DAY: Final = np.dtype("datetime64[D]")
MONTH: Final = np.dtype("datetime64[M]")

Roll = Literal["none", "following", "modified_following", "preceding"]
Weekday = Literal["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
ROLLS: Final = get_args(Roll)
WEEKDAYS: Final = get_args(Weekday)

FIRST_MONTH: Final = np.datetime64("2000-01", "M")
LAST_MONTH: Final = np.datetime64("2099-12", "M")
"""The supported coverage months, both inclusive."""
_FIRST, _LAST = str(FIRST_MONTH), str(LAST_MONTH)
MONTHS: Final = tuple(f"{year}-{month:02}" for year in range(2000, 2102) for month in range(1, 13))
"""How months are written, by their number from the first supported one; two years further than is supported."""
FIRST_DAY: Final = date(2000, 1, 1)
LAST_DAY: Final = date(2099, 12, 31)
"""The supported days of a payment and of an as-of date, both inclusive."""
EVIDENCE: Final = range(1999, 2101)
"""The years calendars are asked for: the supported months, and a year either side for what reaches out of them."""

NO_DAY: Final = np.datetime64("NaT", "D")
_EPOCH = date(1970, 1, 1).toordinal()
_NO_NUMBER = -(1 << 62)
"""The number of no business day, nor of any counted from it."""
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def as_days(days: object) -> Days:
    """Take one day or many: the one door in, for dates, ISO text or `datetime64[D]`.

    Raises TypeError for anything finer than a day: adding 31 to a `datetime64[ns]` adds nanoseconds.
    """
    array = np.asarray(days)
    if array.dtype.kind == "M" and array.dtype != DAY:
        raise TypeError(f"days are datetime64[D], not {array.dtype}")
    return array.astype(DAY)


def as_date(day: np.datetime64) -> date:
    """Give one day as a `date`."""
    return cast(date, day.item())


def as_month(text: str) -> np.datetime64:
    """Read `YYYY-MM`; ValueError for anything else or outside the supported months.

    >>> as_month("2026-08")
    np.datetime64('2026-08')
    """
    if not _MONTH.fullmatch(text) or not text.isascii():
        raise ValueError("a coverage month is written YYYY-MM, such as 2026-08")
    if not _FIRST <= text <= _LAST:
        raise ValueError(f"coverage months from {FIRST_MONTH} to {LAST_MONTH} are supported")
    return np.datetime64(text, "M")


def months_from(first: np.datetime64, count: int) -> Months:
    """Give `count` months in a row, shape (count,)."""
    return first + np.arange(count)


def month_of(days: Days) -> Months:
    """Give the month that each day lies in."""
    return days.astype(MONTH)


def first_of(months: Months) -> Days:
    """Give the first day of each month."""
    return months.astype(DAY)


def last_of(months: Months) -> Days:
    """Give the last day of each month."""
    return first_of(months + 1) - 1


def _is_positive(number: Number) -> bool:
    return number > 0 if isinstance(number, int) else bool((number > 0).all())


def day_of_month(months: Months, day: Number) -> Days:
    """Give day 1..31 of each month, or -1..-31 counted back from its end, clamped into a short month.

    >>> str(day_of_month(np.datetime64("2026-02"), 31)), str(day_of_month(np.datetime64("2026-12"), -8))
    ('2026-02-28', '2026-12-24')
    """
    if _is_positive(day):
        return np.minimum(first_of(months) + (day - 1), last_of(months))
    return np.maximum(last_of(months) + (day + 1), first_of(months))


def weekday_of(days: Days) -> npt.NDArray[np.int64]:
    """Give 0 for a Monday to 6 for a Sunday; 1970-01-01, day 0, was a Thursday."""
    return (days.astype(np.int64) + 3) % 7


def nth_weekday(months: Months, weekday: int, nth: Number) -> Days:
    """Give the nth such weekday (0 Monday .. 6 Sunday) of each month; nth 1..4, or -1..-4 from the month's end.

    >>> str(nth_weekday(np.datetime64("2026-11"), 3, 4))  # Thanksgiving
    '2026-11-26'
    """
    if _is_positive(nth):
        first = first_of(months)
        return first + (weekday - weekday_of(first)) % 7 + 7 * (nth - 1)
    last = last_of(months)
    return last - (weekday_of(last) - weekday) % 7 + 7 * (nth + 1)


def latest_before(days: Days, in_month: Callable[[Months], Days]) -> Days:
    """Give the latest of a monthly day (`in_month` gives each month's) that lies strictly before each day."""
    month = month_of(days)
    same_month = in_month(month)
    return np.where(same_month < days, same_month, in_month(month - 1))


def _or_last(places: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.intp]:
    """Give places in a table of so many rows, the last one for all that lie outside."""
    found: npt.NDArray[np.intp] = np.minimum(places.view(np.uint64), count - 1).view(np.intp)  # below 0 is beyond all
    return found


class Calendar:
    """Business days: not a weekend, not a holiday, and within the years the calendar knows.

    A calendar knows `first` to `last`, both inclusive, and gives `NaT` for whatever reaches beyond, going in or
    coming out: a year without evidence is not a year without holidays. It is immutable and compared by identity.
    """

    def __init__(
        self,
        name: str,
        closed: Mapping[date, str],
        first: date,
        last: date,
        weekend: frozenset[int] = frozenset({5, 6}),
    ) -> None:
        self.name = name
        self.first, self.last = first, last
        self.weekend = weekend
        self._closed = {day: closed[day] for day in sorted(closed)}
        self._first_number = first.toordinal() - _EPOCH
        every = np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1)
        is_open = np.array([day not in weekend for day in range(7)])[weekday_of(every)]
        is_open = np.append(is_open, False)  # for all days that are not known
        numbers = np.array([day.toordinal() for day in self._closed], np.int64)
        days = (numbers - _EPOCH).astype(DAY)  # a tenth of the time that `as_days` takes
        self._is_open: Flags = is_open
        is_open[self._placed(days)] = False
        self._before: npt.NDArray[np.int64] = np.cumsum(is_open) - is_open
        """How many business days come before each day: the number of the first one from there on."""
        self._before[-1] = _NO_NUMBER
        self._open_days: Days = np.append(every[is_open[:-1]], NO_DAY)

    def __repr__(self) -> str:
        return f"<Calendar {self.name}, {self.first} to {self.last}>"

    @property
    def closures(self) -> Mapping[date, str]:
        """The closed days that are no weekend for that alone, each with its reason, in their order."""
        return self._closed

    def with_closures(self, closures: Mapping[date, str], name: str | None = None) -> Calendar:
        """Give the same calendar with more closed days, each with its reason; itself where nothing is different."""
        if not closures and name in (None, self.name):
            return self
        return Calendar(name or self.name, {**closures, **self._closed}, self.first, self.last, self.weekend)

    def _placed(self, days: Days) -> npt.NDArray[np.intp]:
        """Give where each day stands in the tables: a day that is not known stands at their end."""
        place = np.asarray(days).view(np.int64) - self._first_number  # far away where there is no day
        return _or_last(place, len(self._is_open))

    def _numbered(self, numbers: npt.NDArray[np.int64]) -> Days:
        """Give business days by their number, from 0; NaT for a number of none."""
        return self._open_days[_or_last(numbers, len(self._open_days))]

    def is_open(self, days: Days) -> Flags:
        """Tell which days are business days; a day beyond the calendar is not known to be one."""
        return self._is_open[self._placed(days)]

    def is_closed(self, days: Days) -> Flags:
        """Tell which days are closed for a reason, as `why_closed` does: beyond the calendar, weekends alone."""
        place = self._placed(days)
        is_known = place < len(self._is_open) - 1
        return np.where(is_known, ~self._is_open[place], np.isin(weekday_of(days), list(self.weekend)))

    def roll(self, days: Days, roll: Roll) -> Days:
        """Move each closed day to an open one.

        `following` and `preceding` say which; `modified_following` takes the preceding one where the following one
        lies in the next month. `none` moves nothing, and needs to know no day.
        """
        if roll == "none":
            return days
        if roll == "preceding":
            place = self._placed(days)
            return self._numbered(self._before[place] - ~self._is_open[place])
        following = self.shift(days, 0)
        if roll == "following":
            return following
        return np.where(month_of(following) == month_of(days), following, self.roll(days, "preceding"))

    def shift(self, days: Days, count: Number) -> Days:
        """Count business days on (or back, below 0) from each day; a closed day first settles on the next open one.

        So -1 is the last business day before the day, whether that day is open or not.
        """
        return self._numbered(self._before[self._placed(days)] + count)

    def nth_business_day(self, months: Months, nth: Number) -> Days:
        """Give the nth business day of each month, negative from its end, clamped to the last (first) the month has."""
        first = self.shift(first_of(months), 0)
        last = self.shift(first_of(months + 1), -1)
        if _is_positive(nth):
            return np.minimum(self.shift(first, nth - 1), last)
        return np.maximum(self.shift(last, nth + 1), first)

    def why_closed(self, day: date) -> str | None:
        """Give the reason why a day is no business day ("Sunday", "Veterans Day"), or None."""
        if reason := self._closed.get(day):
            return reason
        return _DAY_NAMES[day.weekday()] if day.weekday() in self.weekend else None

    def closed_days(self, first: date, last: date) -> Iterator[tuple[date, str]]:
        """Give each closed day from `first` to `last`, both inclusive, with its reason."""
        for offset in range((last - first).days + 1):
            day = first + timedelta(offset)
            if reason := self.why_closed(day):
                yield day, reason


@cache
def library_release() -> str:
    """Give the release of the `holidays` library, which every answer names.

    It is in the name of the folder that the library was installed with; to read its metadata takes as long as a third
    of all that a command does.
    """
    found = find_spec("holidays")
    around = [Path(place).parent for place in (found and found.submodule_search_locations) or ()]
    named = {each.name for folder in around for each in folder.glob("holidays-*.dist-info")}
    if len(named) == 1:
        return named.pop().removesuffix(".dist-info").split("-")[1]
    from importlib.metadata import version

    return version("holidays")


@lru_cache(maxsize=128)
def library_calendar(code: str) -> Calendar:
    """Bind a calendar that the `holidays` library knows: a market (`XFED`, `XNYS`), a country (`US`) or `US-PA`.

    It knows the years that the library has rules for, within 1999 to 2100. Raises UnknownCalendar.
    """
    if (code, library_release()) != (bound.CODE, bound.RELEASE):
        return computed_calendar(code)
    closed = {date.fromisoformat(day): why for why, days in bound.CLOSED.items() for day in days.split()}
    return Calendar(code, closed, date.fromisoformat(bound.FIRST), date.fromisoformat(bound.LAST))


def computed_calendar(code: str) -> Calendar:
    """Let the library compute a calendar; as `library_calendar`, which does so only where nobody has done it before."""
    import holidays  # a quarter of a second, so only where a calendar is computed

    markets = holidays.list_supported_financial()
    countries = holidays.list_supported_countries()
    country, _, subdivision = code.partition("-")
    if code in markets:
        bind = partial(holidays.financial_holidays, code)
    elif country in countries and (not subdivision or subdivision in countries[country]):
        bind = partial(holidays.country_holidays, country, subdiv=subdivision or None)
    else:
        raise UnknownCalendar(
            code,
            [*markets, *countries, *(f"{country}-{part}" for part in countries.get(country, ()))],
        )
    known = bind()
    years = range(max(EVIDENCE.start, known.start_year), min(EVIDENCE.stop, known.end_year + 1))
    closed = {day: str(name) for day, name in bind(years=years).items()}
    return Calendar(code, closed, date(years[0], 1, 1), date(years[-1], 12, 31), frozenset(known.weekend))
