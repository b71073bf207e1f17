"""Columns taken from tables, in chunks that stay in the processor's cache, on all processors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

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

Codes = npt.NDArray[np.uint8]
Indexes = npt.NDArray[np.intp]
Name = TypeVar("Name", bound=str)


def taken(
    tables: Mapping[Name, npt.NDArray[Any]], count: int, numbers: Callable[[slice], Indexes]
) -> dict[Name, npt.NDArray[Any]]:
    """Take columns of so many rows from tables; `numbers` gives where in them those of a slice stand.

    Columns of one type lie in one block, which the system hands over in larger pages than it would each of them.
    """
    columns: dict[Name, npt.NDArray[Any]] = {}
    for dtype in {table.dtype for table in tables.values()}:
        names = [name for name, table in tables.items() if table.dtype == dtype]
        columns.update(zip(names, np.empty((len(names), count), dtype), strict=True))

    def fill(begin: int) -> None:
        rows = slice(begin, begin + CHUNK)
        found = numbers(rows)
        for name, column in columns.items():
            np.take(tables[name], found, out=column[rows], mode="clip")

    begins = range(0, count, CHUNK)
    if len(begins) > 1 and AT_ONCE > 1:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(fill, begins))
    else:
        for begin in begins:
            fill(begin)
    return columns


def numbered(which: npt.NDArray[Any], beside: npt.NDArray[Any], count: int) -> Indexes:
    """Give the numbers of scopes, checked: one for each row of the column beside them, of so many scopes.

    Raises TypeError for what are no whole numbers, ValueError for columns of another shape, and IndexError for a row
    of no scope.
    """
    if which.dtype.kind not in "iu":
        raise TypeError(f"`which` are whole numbers, not {which.dtype}")
    if beside.ndim != 1 or which.shape != beside.shape:
        raise ValueError(f"`which` and what stands beside it are one column each, not {which.shape} and {beside.shape}")
    which = which.astype(np.intp, casting="safe", copy=False)  # small whole numbers would overflow
    if len(which) and not 0 <= which.min() <= which.max() < count:
        raise IndexError(f"`which` must be from 0 to {count - 1}")
    return which


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
