"""The same rules over columns: the dates of many (account, month) rows at once.

What an account's dates are depends on its scope (state, product, own rules) and the month alone. So the table of
distinct (scope, month) pairs is laid out once, by the very rules that answer for one account, and the columns are
taken from it row by row, in chunks that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ebill.batch.columns import (
    NONE,
    REASONS,
    Codes,
    DayNumbers,
    Finder,
    Indexes,
    are_below,
    dates_of,
    day_numbers,
    numbered,
    placed,
    refuse_other,
    refuse_outside,
    span_of,
    taken,
)
from ebill.batch.groups import Scopes
from ebill.dates import FIRST_MONTH, LAST_MONTH, MONTH, Days, Months
from ebill.errors import Refusal
from ebill.rulebook import RuleBook, Scope
from ebill.schedule import DATE_NAMES, DateName


class Table(NamedTuple):
    """The dates of many rows, one column each, shape (rows,).

    `reason` is an index into `REASONS`: where it is not 0 (`ok`) all dates of the row are `NONE`.
    `next_generation_date` is that too where there is no next invoice.
    """

    days: Mapping[DateName, DayNumbers]
    reason: Codes

    def dates(self, name: DateName) -> Days:
        """Give the dates of one name as datetime64[D], NaT where there is none."""
        return dates_of(self.days[name])


class Pairs(NamedTuple):
    """The dates of all pairs of a scope and a month, `width` months from `first`: what is worth doing once per pair.

    The columns, of shape (scopes x width + 1,), have the months of the first scope, then those of the second, and so
    on; the last pair is that of any month beyond these. `reason` is an index into `REASONS` as in a `Table`. `refused`
    has the refusal of each scope that has one, by its number.
    """

    first: np.datetime64
    width: int
    days: Mapping[DateName, DayNumbers]
    reason: Codes
    refused: Mapping[int, Refusal]

    def dates(self, name: DateName) -> Days:
        """Give the dates of one name as datetime64[D], NaT where there is none."""
        return dates_of(self.days[name])

    def numbers(self, which: Indexes, months: Months) -> Indexes:
        """Give the number of each row's pair: coverage month `months[i]` of scope `which[i]`.

        Raises IndexError for a row of no scope, ValueError for columns of another shape, and TypeError for those of
        another type: days taken for months would give dates, and wrong ones.
        """
        numbers, _ = self._finder(which, months).places(slice(None))
        return numbers

    def take(self, numbers: Indexes) -> Table:
        """Give the dates of rows by the numbers of their pairs; IndexError for a number of none."""
        return self._taken(len(numbers), placed(numbers, len(self.reason)))

    def rows(self, which: Indexes, months: Months) -> Table:
        """Give the dates of rows: what `take` gives of their `numbers`, which are never all there at once."""
        finder = self._finder(which, months)
        return self._taken(len(months), finder)

    def _finder(self, which: Indexes, months: Months) -> Finder:
        refuse_other("months", months, MONTH)
        which, month = numbered(which, months), months.view(np.int64)
        width, beyond, first = self.width, len(self.reason) - 1, int(self.first.astype(np.int64))

        def places(rows: slice) -> tuple[Indexes, bool]:
            refuse_outside("which", which[rows], beyond // width)
            within = month[rows] - first  # far outside where the month is NaT
            numbers = which[rows] * width
            numbers += within
            if are_below(within, width):
                return numbers, True
            numbers[(within < 0) | (within >= width)] = beyond
            return numbers, False

        return Finder(places, slice(beyond))

    def _taken(self, count: int, finder: Finder) -> Table:
        tables: dict[str, npt.NDArray[Any]] = {"reason": self.reason}
        tables.update(self.days.items())
        columns = taken(tables, count, finder)
        return Table({name: columns[name] for name in DATE_NAMES}, columns["reason"])


def schedule(book: RuleBook, scopes: Sequence[Scope], which: Indexes, months: Months) -> Table:
    """Give the dates of many rows: row i is coverage month `months[i]` of an account with scope `scopes[which[i]]`.

    `which` are whole numbers, `months` datetime64[M], both of shape (rows,). A row that has no dates gets a reason and
    stops no other. Raises what `Pairs.numbers` raises.
    """
    refuse_other("months", months, MONTH)
    supported = int(FIRST_MONTH.astype(np.int64)), int(LAST_MONTH.astype(np.int64))
    first, last = span_of(months.view(np.int64), *supported) or (supported[0], supported[0])
    table = pairs(book, scopes, np.datetime64(first, "M"), last - first + 1)
    return table.rows(which, months)


def pairs(book: RuleBook, scopes: Sequence[Scope] | Scopes, first: np.datetime64, width: int) -> Pairs:
    """Give the dates of `width` supported months from `first` of each scope, and why there are none.

    Scopes are read first, which takes longer than their dates where they are many; `Scopes` have been read already.
    """
    many = scopes if isinstance(scopes, Scopes) else Scopes(book, scopes)
    count = len(many.scopes)
    columns: dict[DateName, DayNumbers] = {name: np.full(count * width + 1, NONE, np.int32) for name in DATE_NAMES}
    reason = np.full(count * width + 1, REASONS.index("refused"), np.uint8)
    reason[-1] = REASONS.index("month_not_supported")
    in_rows = reason[:-1].reshape(count, width)
    for group in many.groups(first, width):
        why = in_rows[group.scopes] = group.reasons(width)
        without = why > 0 if why.any() else None
        for name, trail in group.dates.trails.items():
            days = day_numbers(trail.days)[..., :width]
            column = columns[name][:-1].reshape(count, width)
            column[group.scopes] = days if without is None else np.where(without, NONE, days)
    refused = many.refused(book)
    for number in refused:
        in_rows[number] = REASONS.index("refused")
        for column in columns.values():
            column[number * width : (number + 1) * width] = NONE
    return Pairs(first, width, columns, reason, refused)
