"""The same rules over columns: the dates of many (account, month) rows at once.

What an account's dates are depends on its scope (state, product, own rules) and the month alone. So the table of
distinct (scope, month) pairs is laid out once, from the very schedules that answer for one account, and the columns
are taken from it row by row, in chunks that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ebill.dates import DAY, FIRST_MONTH, LAST_MONTH, MONTH, NO_DAY, Days, Months
from ebill.rulebook import Life, RuleBook, Scope
from ebill.schedule import DATE_NAMES, DateName, Schedule

Reason = Literal["ok", "not_billed", "outside_calendar", "no_rule_in_force", "month_not_supported"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
CHUNK: Final = 1 << 16

Codes = npt.NDArray[np.uint8]
Indexes = npt.NDArray[np.intp]


class Table(NamedTuple):
    """The dates of many rows, one column each, shape (rows,).

    `reason` is an index into `REASONS`: where it is not 0 (`ok`) all dates of the row are NaT. `next_generation_date`
    is NaT too where there is no next invoice.
    """

    columns: Mapping[DateName, Days]
    reason: Codes


def schedule(book: RuleBook, scopes: Sequence[Scope], which: Indexes, months: Months) -> Table:
    """Give the dates of many rows: row i is coverage month `months[i]` of an account with scope `scopes[which[i]]`.

    `which` are whole numbers, `months` datetime64[M], both of shape (rows,). A row that has no dates gets a reason and
    stops no other. Raises what `RuleBook.life` raises for a scope that breaks the rules, IndexError for a row of no
    scope, ValueError for columns of another shape, and TypeError for those of another type: days taken for months
    would give dates, and wrong ones.
    """
    if months.dtype != MONTH:
        raise TypeError(f"`months` are datetime64[M], not {months.dtype}")
    if which.dtype.kind not in "iu":
        raise TypeError(f"`which` are whole numbers, not {which.dtype}")
    if months.ndim != 1 or which.shape != months.shape:
        raise ValueError(f"`which` and `months` are one column each, not of shapes {which.shape} and {months.shape}")
    which = which.astype(np.intp, casting="safe")  # small whole numbers would overflow below
    if len(which) and not 0 <= which.min() <= which.max() < len(scopes):
        raise IndexError(f"`which` must be from 0 to {len(scopes) - 1}")
    supported = (months >= FIRST_MONTH) & (months <= LAST_MONTH)
    if not supported.any():
        return _none(len(months))
    first, last = months[supported].min(), months[supported].max()
    width = int((last - first).astype(int)) + 1
    lives = [_window(book.life(scope), first, width) for scope in scopes]
    reasons = np.concatenate([reason for _, reason in lives])
    pair = which * width + np.where(supported, months - first, 0).astype(np.intp)
    reason = np.where(supported, reasons[pair], np.uint8(REASONS.index("month_not_supported")))
    names = lives[0][0]
    columns = {name: _take(np.concatenate([days[name] for days, _ in lives]), pair) for name in names}
    if not supported.all():
        for column in columns.values():
            column[~supported] = NO_DAY
    return Table(columns, reason)


def _window(life: Life, first: np.datetime64, width: int) -> tuple[dict[DateName, Days], Codes]:
    """Give the columns and reasons of `width` months from `first`, NaT wherever there is a reason."""
    dates = life.schedule
    before = min(width, max(0, -dates.row(first)))
    rows = slice(dates.row(first) + before, dates.row(first) + width)
    reason = np.full(width, REASONS.index("no_rule_in_force"), np.uint8)
    reason[before:] = _reasons(dates, rows)
    wrong = reason != 0
    columns: dict[DateName, Days] = {}
    for name, trail in dates.trails.items():
        days = np.full(width, NO_DAY, DAY)
        days[before:] = trail.days[rows]
        days[wrong] = NO_DAY
        columns[name] = days
    return columns, reason


def _reasons(dates: Schedule, rows: slice) -> Codes:
    unknown = np.where(dates.unknown[rows], REASONS.index("outside_calendar"), 0)
    return np.where(dates.billed[rows], unknown, REASONS.index("not_billed")).astype(np.uint8)


def _take(table: Days, pair: Indexes) -> Days:
    taken = np.empty(len(pair), DAY)
    for begin in range(0, len(pair), CHUNK):
        np.take(table, pair[begin : begin + CHUNK], out=taken[begin : begin + CHUNK], mode="clip")
    return taken


def _none(count: int) -> Table:
    columns: dict[DateName, Days] = {name: np.full(count, NO_DAY, DAY) for name in DATE_NAMES}
    return Table(columns, np.full(count, REASONS.index("month_not_supported"), np.uint8))
