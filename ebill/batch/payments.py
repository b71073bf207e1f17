"""When many payments post: taken from a table by day.

A posting rule on a calendar gives one window for each day on which a payment is received at the earliest; a century
of them is laid out once. Most accounts of a book share one rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ebill.batch.columns import (
    NONE,
    REASONS,
    Codes,
    DayNumbers,
    Finder,
    Indexes,
    Reason,
    are_below,
    dates_of,
    day_numbers,
    numbered,
    placed,
    refuse_other,
    refuse_outside,
    taken,
)
from ebill.batch.groups import Scopes
from ebill.dates import DAY, FIRST_DAY, FIRST_MONTH, LAST_DAY, Calendar, Days, month_of
from ebill.errors import Refusal
from ebill.posting import posts, received
from ebill.rulebook import RuleBook, Scope, Timeline
from ebill.rules import Posting

PostingName = Literal["received_date", "posts_from_date", "posts_by_date"]
POSTING_NAMES: Final[tuple[PostingName, ...]] = get_args(PostingName)

_FIRST, _LAST = np.datetime64(FIRST_DAY, "D"), np.datetime64(LAST_DAY, "D")
_DAYS: Final = int((_LAST - _FIRST).astype(int)) + 2
"""The days of a table: all supported ones, and the one after, which those paid at the last cut-off count from."""
_MONTHS: Final = 1200
_NO_WAY: Final[tuple[Reason, ...]] = ("refused", "day_not_supported")
"""Why there is no window at all; a pair for each ends the table, in this order."""


class Posted(NamedTuple):
    """When payments post, one column each, shape (rows,).

    `reason` is an index into `REASONS`: where it is not 0 (`ok`) all dates of the row are `NONE`.
    """

    days: Mapping[PostingName, DayNumbers]
    reason: Codes

    def dates(self, name: PostingName) -> Days:
        """Give the dates of one name as datetime64[D], NaT where there is none."""
        return dates_of(self.days[name])


class Windows(NamedTuple):
    """The windows of every day under every distinct posting rule: what is worth doing once for all who pay alike.

    `ways` says under which rule a scope pays in a month, shape (scopes, 1), or (scopes, 1200) where it changes for
    some; `cutoff` is that of each rule, in minutes. `refused` has the refusal of each scope that has one, by number.
    """

    ways: Indexes
    cutoff: npt.NDArray[np.int64]
    days: Mapping[PostingName, DayNumbers]
    reason: Codes
    refused: Mapping[int, Refusal]

    def dates(self, name: PostingName) -> Days:
        """Give the dates of one name as datetime64[D], NaT where there is none."""
        return dates_of(self.days[name])

    def numbers(self, which: Indexes, paid_on: Days, minute: npt.NDArray[Any] | None = None) -> Indexes:
        """Give the number of each payment's window: of an account with scope `which[i]`, on the local day `paid_on[i]`.

        `minute` is the local wall time in minutes of the day, 0 to 1439, or below 0 for a bare date, which means before
        the cut-off, as None does for all. Raises as `Pairs.numbers` does.
        """
        numbers, _ = self._finder(which, paid_on, minute).places(slice(None))
        return numbers

    def take(self, numbers: Indexes) -> Posted:
        """Give the windows of payments by their numbers; IndexError for a number of none."""
        return self._taken(len(numbers), placed(numbers, len(self.reason)))

    def rows(self, which: Indexes, paid_on: Days, minute: npt.NDArray[Any] | None = None) -> Posted:
        """Give the windows of payments: what `take` gives of their `numbers`, which are never all there at once."""
        finder = self._finder(which, paid_on, minute)
        return self._taken(len(paid_on), finder)

    def _finder(self, which: Indexes, paid_on: Days, minute: npt.NDArray[Any] | None) -> Finder:
        refuse_other("paid_on", paid_on, DAY)
        which = numbered(which, paid_on)
        if minute is not None and minute.dtype.kind not in "iu":
            raise TypeError(f"`minute` are whole numbers, not {minute.dtype}")
        if minute is not None and minute.shape != paid_on.shape:
            raise ValueError(f"`minute` must have the shape {paid_on.shape}, not {minute.shape}")
        days, first, beyond = paid_on.view(np.int64), int(_FIRST.astype(np.int64)), len(self.reason) - 1
        one = int(self.ways[0, 0]) if len(self.ways) and (self.ways == self.ways[0, 0]).all() else -1
        """The way of all payments, where there is but one."""

        def places(rows: slice) -> tuple[Indexes, bool]:
            refuse_outside("which", which[rows], len(self.ways))
            found = days[rows] - first
            outside = None if are_below(found, _DAYS - 1) else (found < 0) | (found >= _DAYS - 1)
            if outside is not None:
                found[outside] = 0
            way: Any = one
            if one < 0:
                place = 0 if self.ways.shape[1] == 1 else month_of(_FIRST + found) - FIRST_MONTH
                way = self.ways[which[rows], np.asarray(place).astype(np.intp)]
                found += way * _DAYS
            elif one:
                found += one * _DAYS
            if minute is not None:
                clock = minute[rows]
                found += (clock >= 0) & (clock >= self.cutoff[way])
            if one < 0:
                none = way < 0
                found[none] = beyond - len(_NO_WAY) - way[none]
            if outside is not None:
                found[outside] = beyond
            return found, outside is None

        return Finder(places, slice(one * _DAYS, (one + 1) * _DAYS) if one >= 0 else slice(len(self.reason)))

    def _taken(self, count: int, finder: Finder) -> Posted:
        tables: dict[str, npt.NDArray[Any]] = {"reason": self.reason}
        tables.update(self.days.items())
        columns = taken(tables, count, finder)
        return Posted({name: columns[name] for name in POSTING_NAMES}, columns["reason"])


def window(
    book: RuleBook,
    scopes: Sequence[Scope],
    which: Indexes,
    paid_on: Days,
    minute: npt.NDArray[Any] | None = None,
) -> Posted:
    """Give when each payment is received, and from when and by when it posts; columns as `Windows.numbers` takes them.

    A row that has no dates gets a reason and stops no other.
    """
    table = windows(book, scopes)
    return table.rows(which, paid_on, minute)


def windows(book: RuleBook, scopes: Sequence[Scope] | Scopes) -> Windows:
    """Give the windows of every supported day for the accounts of each scope; `Scopes` have been read already."""
    many = scopes if isinstance(scopes, Scopes) else Scopes(book, scopes)
    found: dict[tuple[Posting, Calendar], int] = {}
    under = [_ways(pattern.timeline, found) for pattern in many.patterns]
    changes = any((ways != ways[0]).any() for ways in under)
    ways = np.full((len(many.scopes), _MONTHS if changes else 1), -1 - _NO_WAY.index("refused"), np.intp)
    for pattern, each in zip(many.patterns, under, strict=True):
        ways[pattern.scopes] = each[: ways.shape[1]]
    refused = many.refused(book)
    ways[list(refused)] = -1 - _NO_WAY.index("refused")
    days = np.arange(_FIRST, _LAST + 2)
    columns = [_window(days, rule, calendar) for rule, calendar in found]
    ends = [np.full(len(_NO_WAY), NONE, np.int32)] * len(POSTING_NAMES)
    laid = {name: np.concatenate(parts) for name, *parts in zip(POSTING_NAMES, *columns, ends, strict=True)}
    reason = np.where(laid["posts_by_date"] == NONE, REASONS.index("outside_calendar"), 0).astype(np.uint8)
    reason[-len(_NO_WAY) :] = [REASONS.index(name) for name in _NO_WAY]
    cutoff = np.array([rule.cutoff.hour * 60 + rule.cutoff.minute for rule, _ in found], np.int64)
    return Windows(ways, np.append(cutoff, [0] * len(_NO_WAY)), laid, reason, refused)


def _ways(timeline: Timeline, found: dict[tuple[Posting, Calendar], int]) -> Indexes:
    """Give the way of each supported month; the first one also stands for the months before it."""
    ways = np.zeros(_MONTHS, np.intp)
    for place, span in enumerate(timeline.spans):
        way = found.setdefault((span.terms.posting, span.terms.calendar), len(found))
        begin = int((span.first - FIRST_MONTH).astype(int)) if place else 0
        ways[begin:] = way
    return ways


def _window(days: Days, rule: Posting, calendar: Calendar) -> list[DayNumbers]:
    """Give the three columns by the day a payment counts from, `NONE` where the calendar knows too little."""
    received_on = received(days, np.zeros(len(days), bool), calendar)
    posts_from, posts_by = posts(received_on, rule, calendar)
    known = ~np.isnat(posts_by)
    return [np.where(known, day_numbers(column), NONE) for column in (received_on, posts_from, posts_by)]
