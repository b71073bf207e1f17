"""Columns taken from tables, in chunks that stay in the processor's cache, on all processors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from ebill.dates import DAY, Days

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
CHUNK: Final = 1 << 17
"""Rows taken at a time: as many as fit the cache, and no fewer, since each chunk goes through all the tables anew."""
AT_ONCE: Final = min(4, os.cpu_count() or 1)
"""Chunks taken at once; numpy lets go of the interpreter while it takes one."""

NONE: Final = np.iinfo(np.int32).min
"""No day, among day numbers."""

DayNumbers = npt.NDArray[np.int32]
"""Days counted from 1970-01-01, as Arrow's date32 has them: half of what datetime64 fills."""
Codes = npt.NDArray[np.uint8]
Indexes = npt.NDArray[np.intp]
Name = TypeVar("Name", bound=str)


class Finder(NamedTuple):
    """Finds the places that rows have in tables: of a slice of rows, and whether all are `among` the usual ones.

    What it is given is judged as it goes, while it is in the processor's cache.
    """

    places: Callable[[slice], tuple[Indexes, bool]]
    among: slice


def placed(numbers: Indexes, count: int) -> Finder:
    """Find places in tables of so many rows that are given: IndexError for one of none, TypeError as `numbered`."""
    numbers = _whole("numbers", numbers)

    def places(rows: slice) -> tuple[Indexes, bool]:
        refuse_outside("numbers", numbers[rows], count)
        return numbers[rows], False

    return Finder(places, slice(0))


def taken(tables: Mapping[Name, npt.NDArray[Any]], count: int, finder: Finder) -> dict[Name, npt.NDArray[Any]]:
    """Take columns of so many rows from tables; what is the same in all the usual places is not looked up.

    Columns of one type lie in one block, which the system hands over in larger pages than it would each of them.
    """
    columns: dict[Name, npt.NDArray[Any]] = {}
    for dtype in {table.dtype for table in tables.values()}:
        names = [name for name, table in tables.items() if table.dtype == dtype]
        columns.update(zip(names, np.empty((len(names), count), dtype), strict=True))
    usual = {name: table[finder.among] for name, table in tables.items()}
    same = {name: values[0] for name, values in usual.items() if len(values) and (values == values[0]).all()}

    def fill(begin: int) -> None:
        rows = slice(begin, begin + CHUNK)
        places, are_usual = finder.places(rows)
        for name, column in columns.items():
            if are_usual and name in same:
                column[rows] = same[name]
            else:
                np.take(tables[name], places, out=column[rows], mode="wrap")  # all places are inside

    begins = iter(range(0, count, CHUNK))

    def fill_on() -> None:
        for begin in begins:
            fill(begin)

    if count > CHUNK and AT_ONCE > 1:
        with ThreadPoolExecutor(AT_ONCE - 1) as others:
            filling = [others.submit(fill_on) for _ in range(AT_ONCE - 1)]
            fill_on()
            for each in filling:
                each.result()
    else:
        fill_on()
    return columns


def day_numbers(days: Days) -> DayNumbers:
    """Give the numbers of days, `NONE` for NaT."""
    none = np.isnat(days)
    numbers = days.view(np.int64).astype(np.int32)
    if none.any():
        numbers[none] = NONE
    return numbers


def dates_of(numbers: DayNumbers) -> Days:
    """Give the days that are numbered so, NaT for `NONE`.

    >>> dates_of(day_numbers(np.array(["2026-08-01", "NaT"], DAY))).tolist()
    [datetime.date(2026, 8, 1), None]
    """
    days = numbers.astype(DAY)
    days[numbers == NONE] = np.datetime64("NaT")
    return days


def numbered(which: npt.NDArray[Any], beside: npt.NDArray[Any]) -> Indexes:
    """Give the numbers of scopes, one for each row of the column beside them.

    Raises TypeError for what are no whole numbers, and ValueError for columns of another shape.
    """
    which = _whole("which", which)
    if beside.ndim != 1 or which.shape != beside.shape:
        raise ValueError(f"`which` and what stands beside it are one column each, not {which.shape} and {beside.shape}")
    return which


def _whole(name: str, numbers: npt.NDArray[Any]) -> Indexes:
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"`{name}` are whole numbers, not {numbers.dtype}")
    return numbers.astype(np.intp, casting="safe", copy=False)  # small whole numbers would overflow


def are_below(values: Indexes, count: int) -> bool:
    """Tell whether whole numbers of 64 bits are all from 0 to below `count`."""
    return bool(values.view(np.uint64).max(initial=0) < count)  # below 0 is beyond all others


def refuse_outside(name: str, numbers: Indexes, count: int) -> None:
    """Raise IndexError for a number of none of so many."""
    if len(numbers) and not are_below(numbers, count):
        raise IndexError(f"`{name}` must be from 0 to {count - 1}")


def span_of(values: npt.NDArray[Any], first: int, last: int) -> tuple[int, int] | None:
    """Give the least and the greatest of the whole numbers that lie from `first` to `last`, None where none does."""
    if not values.size:
        return None
    least, greatest = int(values.min()), int(values.max())
    if first <= least and greatest <= last:
        return least, greatest
    values = values[(values >= first) & (values <= last)]
    return (int(values.min()), int(values.max())) if len(values) else None


def refuse_other(name: str, column: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Raise TypeError for a column of another type: days taken for months would give dates, and wrong ones."""
    if column.dtype != dtype:
        raise TypeError(f"`{name}` are {dtype}, not {column.dtype}")
