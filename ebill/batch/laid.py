"""Accounts alike and their months, as they turn up in a stream of rows, laid out once each.

Accounts of one *kind* have the same dates: the same state, product and rules. An *entry* is one coverage month of a
kind; its number is all that a row needs to keep of its dates, its warnings, and whatever is written of them. Entries
are laid out a year at a time, for the years that are asked for, so that a stream of any length takes no more memory
than what is different in it.

Entry 0 is that of a row without dates; so are the entries of months without an invoice, or without all their dates.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ebill.dates import FIRST_MONTH, MONTHS, Calendar, as_days
from ebill.errors import Refusal
from ebill.paid import today
from ebill.rulebook import Life, Timeline
from ebill.schedule import DATE_NAMES, DateName
from ebill.standing import warned

Numbers = npt.NDArray[Any]
"""Whole numbers, one for each row or entry."""
NONE: Final = np.iinfo(np.int32).min
"""No day; days are counted from 1970-01-01, as Arrow's date32 does."""
SUPPORTED: Final = 1200
"""Coverage months, numbered from the first supported one."""
YEAR: Final = 12
_YEARS: Final = SUPPORTED // YEAR
_NOWHERE: Final = _YEARS
"""The year of a month that is not supported."""
MOST: Final = 1 << 22
"""Entries beyond which all are let go: about 200 MB."""


class Way(NamedTuple):
    """How accounts pay, from a month on (by its number): in which zone, under which rule, on which calendar."""

    since: int
    zone: str
    posting: Any
    calendar: Calendar


class Kind(NamedTuple):
    """Accounts alike: what makes them so, where that can be read, and their dates today; or why they have none."""

    told: Hashable
    ways: tuple[Way, ...] = ()
    today: int = NONE
    refusal: Refusal | None = None


class Entries(NamedTuple):
    """What is the same for all rows of an entry, one column each.

    `days` has a row for each of `DATE_NAMES`; `warned` is as `standing.warned` gives it, `today` the day by which an
    invoice stands where nobody says another; `month` the number of the coverage month; `usable` says that the entry
    has an invoice, of which every date is known. Where it is not, the others mean nothing. Later entries of the same
    `laid` begin with these.
    """

    laid: Laid

    days: npt.NDArray[np.int32]
    warned: npt.NDArray[np.uint8]
    today: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int32]
    month: npt.NDArray[np.int16]
    usable: npt.NDArray[np.bool_]

    def cut(self, rows: slice) -> Entries:
        """Give some of them."""
        return Entries(
            self.laid,
            self.days[:, rows],
            self.warned[rows],
            self.today[rows],
            self.kind[rows],
            self.month[rows],
            self.usable[rows],
        )

    def column(self, name: DateName) -> Any:
        """Give the days of one name, by entry."""
        return self.days[DATE_NAMES.index(name)]


class Laid:
    """Kinds and entries as they turn up; several threads may ask at once.

    `now` (aware) is what *today* is read from in each kind's zone, unless everything is as of one day; with neither,
    an invoice stands nowhere.
    """

    def __init__(self, as_of: date | None = None, now: datetime | None = None) -> None:
        self.kinds: list[Kind] = []
        self._entries = _room(self, 1 << 12)
        self._as_of = NONE if as_of is None else int(as_days(as_of).astype(np.int64))
        self._now = now
        self._makers: list[Callable[[], Life]] = []
        self._numbers: dict[Hashable, int] = {}
        self._pages: npt.NDArray[np.int32] = np.zeros((64, _YEARS + 1), np.int32)
        self._used = 1
        """Pages of a year each; page 0 is that of the rows without dates."""
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether so much is laid out that a stream had better begin anew."""
        return self._used * YEAR > MOST

    def kind(self, told: Hashable, make: Callable[[], Life]) -> int:
        """Give the number of the kind that is told so; its dates are made when a month of it is first asked for."""
        number = self._numbers.get(told)
        if number is None:
            with self._lock:
                number = self._numbers.setdefault(told, len(self._makers))
                if number == len(self._makers):
                    self.kinds.append(Kind(told))
                    self._makers.append(make)
                    if number == len(self._pages):
                        self._pages = np.concatenate([self._pages, np.zeros_like(self._pages)])
                    self._pages[number, :_YEARS] = -1
        return number

    def numbers(self, kinds: Numbers, months: Numbers) -> tuple[Entries, Numbers]:
        """Give the entry of each row, by the numbers of its kind and of its month: below 0 or past the last, none.

        The entries come with them, since those of another time may be fewer.
        """
        supported = (months >= 0) & (months < SUPPORTED)
        years = np.where(supported, months // YEAR, _NOWHERE)
        wanted = kinds.astype(np.int64) * (_YEARS + 1) + years
        pages = self._pages.ravel()[wanted]
        if pages.min(initial=0) < 0:
            with self._lock:
                self._lay(np.unique(wanted[pages < 0]))
            pages = self._pages.ravel()[wanted]
        entries = self._entries.cut(slice(self._used * YEAR))
        return entries, pages * YEAR + np.where(supported, months % YEAR, 0)

    def _lay(self, wanted: Numbers) -> None:
        """Lay out years of kinds, each given as the number of both."""
        kinds, years = np.divmod(wanted, _YEARS + 1)
        for number in np.unique(kinds).tolist():
            missing = [year for year in years[kinds == number].tolist() if self._pages[number, year] < 0]
            if missing:
                self._lay_kind(number, missing)

    def _lay_kind(self, number: int, years: Sequence[int]) -> None:
        kind = self.kinds[number]
        try:
            life = self._makers[number]()
        except Refusal as refusal:
            self.kinds[number] = kind._replace(refusal=refusal.with_traceback(None))
            self._pages[number, :] = 0
            return
        if not kind.ways:
            day = self._as_of
            if day == NONE and self._now is not None:
                day = int(as_days(today(life.timeline, self._now)).astype(np.int64))
            kind = self.kinds[number] = kind._replace(ways=_ways(life.timeline), today=day)
        for year in years:
            self._lay_year(number, life, year)

    def _lay_year(self, number: int, life: Life, year: int) -> None:
        while (self._used + 1) * YEAR > len(self._entries.usable):
            self._entries = _grown(self._entries)  # whoever has the old ones keeps them
        begin, dates = self._used * YEAR, life.schedule
        offset = int((dates.first - FIRST_MONTH).astype(int))
        rows = slice(max(0, year * YEAR - offset), max(0, (year + 1) * YEAR - offset))
        here = slice(begin + YEAR - (rows.stop - rows.start), begin + YEAR)
        entries, whole = self._entries, slice(begin, begin + YEAR)
        entries.kind[whole], entries.today[whole] = number, self.kinds[number].today
        entries.month[whole] = np.arange(year * YEAR, (year + 1) * YEAR)
        if rows.stop > rows.start:
            for place, name in enumerate(DATE_NAMES):
                days = dates.trails[name].days[rows]
                entries.days[place, here] = np.where(np.isnat(days), NONE, days.astype(np.int64))
            entries.warned[here] = warned(life, rows)
            entries.usable[here] = dates.billed[rows] & ~dates.unknown[rows]
        entries.days[:, whole][:, ~entries.usable[whole]] = NONE
        self._used += 1
        self._pages[number, year] = self._used - 1


def month_text(number: int) -> str:
    """Write the coverage month of a number.

    >>> month_text(0), month_text(319)
    ('2000-01', '2026-08')
    """
    return MONTHS[number]


def _ways(timeline: Timeline) -> tuple[Way, ...]:
    """Give how an account pays, from when; the first also holds for the months before it."""
    found: list[Way] = []
    for stretch, span in zip(timeline.stretches, timeline.spans, strict=True):
        since = int((span.first - FIRST_MONTH).astype(int)) if found else np.iinfo(np.int32).min
        way = Way(since, stretch.rule("timezone").name, span.terms.posting, span.terms.calendar)
        if not found or found[-1][1:] != way[1:]:
            found.append(way)
    return tuple(found)


def _room(laid: Laid, count: int) -> Entries:
    return Entries(
        laid,
        days=np.full((len(DATE_NAMES), count), NONE, np.int32),
        warned=np.zeros(count, np.uint8),
        today=np.full(count, NONE, np.int32),
        kind=np.zeros(count, np.int32),
        month=np.zeros(count, np.int16),
        usable=np.zeros(count, bool),
    )


def _grown(entries: Entries) -> Entries:
    """Give the same entries with room for as many more."""
    count = len(entries.usable)
    grown = _room(entries.laid, 2 * count)
    whole = grown.cut(slice(count))
    for name in Entries._fields[1:]:
        getattr(whole, name)[...] = getattr(entries, name)
    return grown
