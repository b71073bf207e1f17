"""When many payments post: taken from a table by day.

A posting rule on a calendar gives one window for each day on which a payment is received at the earliest; a century
of them is laid out once. Most accounts of a book share one rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ebill.batch.pairs import REASONS, Codes, Indexes, Reason, numbered, take
from ebill.dates import DAY, FIRST_DAY, FIRST_MONTH, LAST_DAY, NO_DAY, Calendar, Days, month_of
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

    `reason` is an index into `REASONS`: where it is not 0 (`ok`) all dates of the row are NaT.
    """

    columns: Mapping[PostingName, Days]
    reason: Codes


class Windows(NamedTuple):
    """The windows of every day under every distinct posting rule: what is worth doing once for all who pay alike.

    `ways` says under which rule a scope pays in a month, shape (scopes, 1), or (scopes, 1200) where it changes for
    some; `cutoff` is that of each rule, in minutes. `refused` has the refusal of each scope that has one, by number.
    """

    ways: Indexes
    cutoff: npt.NDArray[np.int64]
    columns: Mapping[PostingName, Days]
    reason: Codes
    refused: Mapping[int, Refusal]

    def numbers(self, which: Indexes, paid_on: Days, minute: npt.NDArray[Any] | None = None) -> Indexes:
        """Give the number of each payment's window: of an account with scope `which[i]`, on the local day `paid_on[i]`.

        `minute` is the local wall time in minutes of the day, 0 to 1439, or below 0 for a bare date, which means before
        the cut-off, as None does for all. Raises as `Pairs.numbers` does.
        """
        if paid_on.dtype != DAY:
            raise TypeError(f"`paid_on` are datetime64[D], not {paid_on.dtype}")
        which = numbered(which, paid_on, len(self.ways))
        supported = (paid_on >= _FIRST) & (paid_on <= _LAST)
        if self.ways.shape[1] == 1:
            way = self.ways[:, 0][which]
        else:
            months = month_of(np.where(supported, paid_on, _FIRST)) - FIRST_MONTH
            way = self.ways[which, months.astype(np.intp)]
        numbers = way * _DAYS + np.where(supported, paid_on - _FIRST, 0).astype(np.intp)
        if minute is not None:
            if minute.dtype.kind not in "iu":
                raise TypeError(f"`minute` are whole numbers, not {minute.dtype}")
            if minute.shape != paid_on.shape:
                raise ValueError(f"`minute` must have the shape {paid_on.shape}, not {minute.shape}")
            numbers += (minute >= 0) & (minute >= self.cutoff[way])
        numbers = np.where(way < 0, len(self.reason) - len(_NO_WAY) - 1 - way, numbers)
        return np.where(supported, numbers, len(self.reason) - 1)

    def take(self, numbers: Indexes) -> Posted:
        """Give the windows of payments by their numbers."""
        return Posted({name: take(days, numbers) for name, days in self.columns.items()}, take(self.reason, numbers))


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
    return table.take(table.numbers(which, paid_on, minute))


def windows(book: RuleBook, scopes: Sequence[Scope]) -> Windows:
    """Give the windows of every supported day for the accounts of each scope."""
    found: dict[tuple[Posting, Calendar], int] = {}
    refused: dict[int, Refusal] = {}
    ways = np.zeros((len(scopes), _MONTHS), np.intp)
    for number, scope in enumerate(scopes):
        try:
            ways[number] = _ways(book.life(scope).timeline, found)
        except Refusal as refusal:
            refused[number] = refusal
            ways[number] = -1 - _NO_WAY.index("refused")
    if (ways == ways[:, :1]).all():
        ways = ways[:, :1]
    days = np.arange(_FIRST, _LAST + 2)
    columns = [_window(days, rule, calendar) for rule, calendar in found]
    ends = [np.full(len(_NO_WAY), NO_DAY)] * len(POSTING_NAMES)
    laid = {name: np.concatenate(parts) for name, *parts in zip(POSTING_NAMES, *columns, ends, strict=True)}
    reason = np.where(np.isnat(laid["posts_by_date"]), REASONS.index("outside_calendar"), 0).astype(np.uint8)
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


def _window(days: Days, rule: Posting, calendar: Calendar) -> list[Days]:
    """Give the three columns by the day a payment counts from, NaT where the calendar knows too little."""
    received_on = received(days, np.zeros(len(days), bool), calendar)
    posts_from, posts_by = posts(received_on, rule, calendar)
    known = ~np.isnat(posts_by)
    return [np.where(known, column, NO_DAY) for column in (received_on, posts_from, posts_by)]
