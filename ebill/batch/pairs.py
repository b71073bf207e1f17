"""The same rules over columns: the dates of many (account, month) rows at once.

What an account's dates are depends on its scope (state, product, own rules) and the month alone. So the table of
distinct (scope, month) pairs is laid out once, by the very rules that answer for one account, and the columns are
taken from it row by row, in chunks that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ebill.batch.groups import Group, Scopes
from ebill.dates import DAY, FIRST_MONTH, LAST_MONTH, MONTH, NO_DAY, Days, Months
from ebill.errors import Refusal
from ebill.rulebook import RuleBook, Scope
from ebill.schedule import DATE_NAMES, DateName

Reason = Literal[
    "ok",
    "not_billed",
    "outside_calendar",
    "no_rule_in_force",
    "month_not_supported",
    "day_not_supported",
    "refused",
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
"""Why a row has no dates. `refused`: the rules of its scope are, in whatever month, and `RuleBook.life` says why."""
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


class Pairs(NamedTuple):
    """The dates of all pairs of a scope and a month, `width` months from `first`: what is worth doing once per pair.

    The columns, of shape (scopes x width + 1,), have the months of the first scope, then those of the second, and so
    on; the last pair is that of any month beyond these. `reason` is an index into `REASONS` as in a `Table`. `refused`
    has the refusal of each scope that has one, by its number.
    """

    first: np.datetime64
    width: int
    columns: Mapping[DateName, Days]
    reason: Codes
    refused: Mapping[int, Refusal]

    def numbers(self, which: Indexes, months: Months) -> Indexes:
        """Give the number of each row's pair: coverage month `months[i]` of scope `which[i]`.

        Raises IndexError for a row of no scope, ValueError for columns of another shape, and TypeError for those of
        another type: days taken for months would give dates, and wrong ones.
        """
        if months.dtype != MONTH:
            raise TypeError(f"`months` are datetime64[M], not {months.dtype}")
        which = numbered(which, months, (len(self.reason) - 1) // self.width)
        place = (months - self.first).astype(np.int64)  # a month that is NaT is far before
        return np.where((place >= 0) & (place < self.width), which * self.width + place, len(self.reason) - 1)

    def take(self, numbers: Indexes) -> Table:
        """Give the dates of rows by the numbers of their pairs."""
        return Table({name: take(days, numbers) for name, days in self.columns.items()}, take(self.reason, numbers))


def schedule(book: RuleBook, scopes: Sequence[Scope], which: Indexes, months: Months) -> Table:
    """Give the dates of many rows: row i is coverage month `months[i]` of an account with scope `scopes[which[i]]`.

    `which` are whole numbers, `months` datetime64[M], both of shape (rows,). A row that has no dates gets a reason and
    stops no other. Raises what `Pairs.numbers` raises.
    """
    supported = months[(months >= FIRST_MONTH) & (months <= LAST_MONTH)] if months.dtype == MONTH else ()
    first, last = (min(supported), max(supported)) if len(supported) else (FIRST_MONTH, FIRST_MONTH)
    table = pairs(book, scopes, first, int((last - first).astype(int)) + 1)
    return table.take(table.numbers(which, months))


def pairs(book: RuleBook, scopes: Sequence[Scope], first: np.datetime64, width: int) -> Pairs:
    """Give the dates of `width` supported months from `first` of each scope, and why there are none."""
    many = Scopes(book, scopes)
    columns: dict[DateName, Days] = {name: np.full(len(scopes) * width + 1, NO_DAY, DAY) for name in DATE_NAMES}
    reason = np.full(len(scopes) * width + 1, REASONS.index("refused"), np.uint8)
    reason[-1] = REASONS.index("month_not_supported")
    in_rows = reason[:-1].reshape(len(scopes), width)
    for group in many.groups(first, width):
        why = in_rows[group.scopes] = _reasons(group, width)
        for name, trail in group.dates.trails.items():
            days = np.where(why, NO_DAY, trail.days[..., :width])
            columns[name][:-1].reshape(len(scopes), width)[group.scopes] = days
    refused: dict[int, Refusal] = {}
    for number in sorted(many.doubtful):
        try:
            book.life(scopes[number])
        except Refusal as refusal:
            refused[number] = refusal
            in_rows[number] = REASONS.index("refused")
            for column in columns.values():
                column[number * width : (number + 1) * width] = NO_DAY
    return Pairs(first, width, columns, reason, refused)


def numbered(which: Indexes, beside: npt.NDArray[Any], count: int) -> Indexes:
    """Give the numbers of scopes, checked: one for each row of the column beside them, of so many scopes."""
    if which.dtype.kind not in "iu":
        raise TypeError(f"`which` are whole numbers, not {which.dtype}")
    if beside.ndim != 1 or which.shape != beside.shape:
        raise ValueError(f"`which` and what stands beside it are one column each, not {which.shape} and {beside.shape}")
    which = which.astype(np.intp, casting="safe", copy=False)  # small whole numbers would overflow
    if len(which) and not 0 <= which.min() <= which.max() < count:
        raise IndexError(f"`which` must be from 0 to {count - 1}")
    return which


def take(table: npt.NDArray[Any], numbers: Indexes) -> npt.NDArray[Any]:
    """Give what stands in a table at each number, which must be one of its own."""
    taken = np.empty(len(numbers), table.dtype)
    for begin in range(0, len(numbers), CHUNK):
        np.take(table, numbers[begin : begin + CHUNK], out=taken[begin : begin + CHUNK], mode="clip")
    return taken


def _reasons(group: Group, width: int) -> Codes:
    """Give why each scope of a group has no dates in each month, shape (scopes, months)."""
    has_next, billed = group.dates.has_next[..., :width], group.billed[..., :width]
    shape = len(group.scopes), width
    unknown = np.zeros(shape, bool)
    for name, trail in group.dates.trails.items():
        is_unknown = np.isnat(trail.days[..., :width])
        if is_unknown.any():
            unknown |= is_unknown & (has_next if name == "next_generation_date" else billed)
    reason = np.where(unknown, REASONS.index("outside_calendar"), 0).astype(np.uint8)
    reason[~np.broadcast_to(billed, shape)] = REASONS.index("not_billed")
    if (group.begins > 0).any():
        reason[np.arange(width) < group.begins[:, None]] = REASONS.index("no_rule_in_force")
    return reason
