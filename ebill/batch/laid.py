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
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from ebill.batch.apart import Numbers
from ebill.batch.columns import NONE, day_numbers
from ebill.batch.groups import Scopes
from ebill.dates import FIRST_MONTH, MONTHS, Calendar, Flags, as_days
from ebill.errors import Refusal
from ebill.paid import today
from ebill.rulebook import RuleBook, Scope, Timeline
from ebill.schedule import DATE_NAMES, FIXED_NAMES, DateName
from ebill.standing import standing

SUPPORTED: Final = 1200
"""Coverage months, numbered from the first supported one."""
YEAR: Final = 12
_YEARS: Final = SUPPORTED // YEAR
_NOWHERE: Final = _YEARS
"""The year of a month that is not supported."""
READ: Final = 1 << 13
"""Kinds whose scopes are read together at most: some megabytes."""
MOST: Final = 1 << 22
"""Entries beyond which all are let go: about 200 MB. A kind counts as a year of them, whether it has any or not."""
HELD_MOST: Final = 1 << 26
"""Characters that kinds are told by, beyond which all are let go."""


class Way(NamedTuple):
    """How accounts pay, from a month on (by its number): in which zone, under which rule, on which calendar."""

    since: int
    zone: str
    posting: Any
    calendar: Calendar


class Entries(NamedTuple):
    """What is the same for all rows of an entry, one column each.

    `days` has a row for each of `DATE_NAMES`; `warned` is as `standing.warned` gives it, `today` the day by which an
    invoice stands where nobody says another, and `standing` where it then does, below 0 for nowhere; `month` the number
    of the coverage month; `usable` says that the entry has an invoice, of which every date is known. Where it is not,
    the others mean nothing. `kinds` is what each kind was told by, in the very list of whoever laid the entries out:
    later ones with the same list begin with these.
    """

    kinds: list[Hashable]

    days: npt.NDArray[np.int32]
    warned: npt.NDArray[np.uint8]
    today: npt.NDArray[np.int32]
    standing: npt.NDArray[np.int8]
    kind: npt.NDArray[np.int32]
    month: npt.NDArray[np.int16]
    usable: npt.NDArray[np.bool_]

    def cut(self, rows: slice) -> Entries:
        """Give some of them."""
        return Entries(
            self.kinds,
            self.days[:, rows],
            self.warned[rows],
            self.today[rows],
            self.standing[rows],
            self.kind[rows],
            self.month[rows],
            self.usable[rows],
        )

    def column(self, name: DateName) -> Any:
        """Give the days of one name, by entry."""
        return self.days[DATE_NAMES.index(name)]

    @staticmethod
    def of(column: npt.NDArray[Any], numbers: Numbers) -> npt.NDArray[Any]:
        """Give what a column says of the entries of rows, which are there: to check that again takes as long."""
        return np.take(column, numbers, mode="clip")


class Laid:
    """Kinds and entries as they turn up; several threads may ask at once.

    What is missing of all the kinds that are asked for goes through the rules together. `now` (aware) is what *today*
    is read from in each kind's zone, unless everything is as of one day; with neither, an invoice stands nowhere.
    """

    def __init__(self, book: RuleBook, as_of: date | None = None, now: datetime | None = None) -> None:
        self.kinds: list[Hashable] = []
        """What each kind was told by."""
        self.ways: list[tuple[Way, ...]] = [()]
        """How accounts pay; the first one is for those that have no dates."""
        self._book = book
        self._entries = _room(self.kinds, 1 << 9)
        self._as_of = NONE if as_of is None else int(as_days(as_of).astype(np.int64))
        self._now = now
        self._makers: list[Callable[[Any], Scope]] = []
        self._numbers: dict[Hashable, int] = {}
        self._way_numbers: dict[tuple[Way, ...], int] = {(): 0}
        self._pages: npt.NDArray[np.int32] = np.zeros((64, _YEARS + 1), np.int32)
        self._way: npt.NDArray[np.int32] = np.zeros(64, np.int32)
        self._used = 1
        """Pages of a year each; page 0 is that of the rows without dates."""
        self._held = 0
        """Characters that the kinds are told by."""
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether so much is laid out, or known without being, that a stream had better begin anew."""
        return (self._used + len(self.kinds)) * YEAR > MOST or self._held > HELD_MOST

    def kinds_of(self, told: Sequence[Hashable], make: Callable[[Any], Scope]) -> Numbers:
        """Give the numbers of the kinds that are told so; a scope is made of that when a month is first asked for."""
        found = list(map(self._numbers.get, told))
        if None in found:
            with self._lock:
                found = [self._add(each, make) for each in told]
        return np.array(found, np.int64)

    def _add(self, told: Hashable, make: Callable[[Any], Scope]) -> int:
        """Give the number of a kind, which may be a new one."""
        number = self._numbers.get(told)
        if number is None:
            number = len(self.kinds)
            if number == len(self._pages):
                self._way = np.concatenate([self._way, np.zeros_like(self._way)])
                self._pages = np.concatenate([self._pages, np.zeros_like(self._pages)])
            self._pages[number, :_YEARS] = -1
            self.kinds.append(told)
            self._held += sum(len(part) for part in told if isinstance(part, str)) if isinstance(told, tuple) else 0
            self._makers.append(make)
            self._numbers[told] = number  # only now may other threads find it
        return number

    def ways_of(self, kinds: Numbers) -> Numbers:
        """Give the numbers of the `ways` in which accounts of these kinds pay, once a month of theirs was asked for."""
        return np.take(self._way, kinds)

    def numbers(self, kinds: Numbers, months: Numbers) -> tuple[Entries, Numbers]:
        """Give the entry of each row, by the numbers of its kind and of its month: below 0 or past the last, none.

        The entries come with them, since those of another time may be fewer.
        """
        supported = (months >= 0) & (months < SUPPORTED)
        years = np.where(supported, months // YEAR, _NOWHERE)
        wanted = kinds.astype(np.int64) * (_YEARS + 1) + years
        pages = np.take(self._pages.ravel(), wanted)
        if pages.min(initial=0) < 0:
            with self._lock:
                missing = np.unique(wanted[pages < 0])
                missing = missing[self._pages.ravel()[missing] < 0]  # another thread may have laid some out meanwhile
                whose, of_years = np.divmod(missing, _YEARS + 1)
                numbers = np.unique(whose)
                for few in (numbers[begin : begin + READ] for begin in range(0, len(numbers), READ)):
                    rows = np.isin(whose, few)
                    self._lay(few, whose[rows], of_years[rows])
            pages = np.take(self._pages.ravel(), wanted)
        entries = self._entries.cut(slice(self._used * YEAR))
        return entries, pages * YEAR + np.where(supported, months % YEAR, 0)

    def _lay(self, numbers: Numbers, kinds: Numbers, years: Numbers) -> None:
        """Lay out years of kinds, each given as both; `numbers` are the distinct kinds."""
        scopes: list[Scope] = []
        read: list[int] = []
        for number in numbers.tolist():
            try:
                scopes.append(self._makers[number](self.kinds[number]))
                read.append(number)
            except Refusal:  # whoever asks why finds it again
                self._pages[number, :] = 0
        many, numbers = Scopes(self._book, scopes), np.array(read, np.intp)
        for pattern in many.patterns:
            ways = _ways(pattern.timeline)
            way = self._way_numbers.setdefault(ways, len(self.ways))
            if way == len(self.ways):
                self.ways.append(ways)
            self._way[numbers[pattern.scopes]] = way
        good = np.ones(len(numbers), bool)
        good[list(many.refused(self._book))] = False
        self._pages[numbers[~good], :] = 0
        for year in np.unique(years).tolist():
            self._lay_year(many, numbers, good & np.isin(numbers, kinds[years == year]), year)

    def _lay_year(self, many: Scopes, numbers: Numbers, among: Flags, year: int) -> None:
        """Lay out a year of some scopes, which have these numbers as kinds."""
        begin, end = self._used, self._used + int(among.sum())
        pages = np.zeros(len(numbers), np.intp)
        pages[among] = np.arange(begin, end)
        while end > len(self._entries.usable) // YEAR:
            self._entries = _grown(self._entries)  # whoever has the old ones keeps them
        entries = self._entries
        columns: list[Any] = [column.reshape(*column.shape[:-1], -1, YEAR) for column in entries[1:]]
        by_page = Entries(self.kinds, *columns)
        by_page.kind[begin:end] = numbers[among, None]
        by_page.month[begin:end] = np.arange(year * YEAR, (year + 1) * YEAR)
        for pattern in many.patterns:
            here = pattern.scopes[among[pattern.scopes]]
            by_page.today[pages[here]] = self._today(pattern.timeline)
        for group in many.groups(FIRST_MONTH + year * YEAR, YEAR, among):
            here = pages[group.scopes]
            usable = by_page.usable[here] = group.reasons(YEAR) == 0
            by_page.warned[here] = group.warned(YEAR)
            for place, name in enumerate(DATE_NAMES):
                days = group.dates.trails[name].days[..., :YEAR]
                by_page.days[place, here] = np.where(usable, day_numbers(days), NONE)
        laid = entries.cut(slice(begin * YEAR, end * YEAR))
        generation, due, grace_end = (laid.column(name) for name in FIXED_NAMES)
        stands: Numbers = standing(generation, due, grace_end, cast(Any, laid.today))
        laid.standing[:] = np.where(laid.usable & (laid.today != NONE), stands, -1)
        self._used = end
        self._pages[numbers[among], year] = pages[among]

    def _today(self, timeline: Timeline) -> int:
        if self._as_of != NONE or self._now is None:
            return self._as_of
        return int(as_days(today(timeline, self._now)).astype(np.int64))


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


def _room(kinds: list[Hashable], pages: int) -> Entries:
    """Give room for the entries of so many years."""
    count = pages * YEAR
    return Entries(
        kinds,
        days=np.full((len(DATE_NAMES), count), NONE, np.int32),
        warned=np.zeros(count, np.uint8),
        today=np.full(count, NONE, np.int32),
        standing=np.full(count, -1, np.int8),
        kind=np.zeros(count, np.int32),
        month=np.zeros(count, np.int16),
        usable=np.zeros(count, bool),
    )


def _grown(entries: Entries) -> Entries:
    """Give the same entries with room for as many more."""
    count = len(entries.usable)
    grown = _room(entries.kinds, 2 * count // YEAR)
    whole = grown.cut(slice(count))
    for name in Entries._fields[1:]:
        getattr(whole, name)[...] = getattr(entries, name)
    return grown
