"""What is alike among many, told apart by numbers: rows of columns, objects, and lists of numbers of any length."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]
"""Whole numbers, one for each row or entry."""
_MARKS_MOST: Final = 1 << 22
_MARKS_EACH: Final = 64
"""Numbers are told apart by marks, which is faster than by sorting, where no more are needed: in all, and for a row."""
_INT32_MOST: Final = 1 << 31
"""How many numbers 32 bits have room for, which are gone through in half the time."""


def told_apart(key: Numbers, size: int) -> tuple[Numbers, Numbers]:
    """Tell numbers below `size` apart: give a row of each, and where among these the number of each row stands.

    A number is marked with the last row that has it, and then with its place.
    """
    if not _may_be_marked(size, key):
        return np.unique(key, return_index=True, return_inverse=True)[1:]
    mark = np.full(size, -1, np.int32)
    mark[key] = np.arange(len(key), dtype=np.int32)
    distinct = np.flatnonzero(mark >= 0)
    rows = mark[distinct]
    mark[distinct] = np.arange(len(distinct), dtype=np.int32)
    return rows, np.take(mark, key, mode="clip")  # which is twice as fast as with a check


def _may_be_marked(size: int, key: Numbers) -> bool:
    return size <= min(_MARKS_MOST, _MARKS_EACH * len(key))


def alike(columns: Sequence[tuple[Numbers, int]]) -> tuple[Numbers, Numbers]:
    """Put rows together that have the same number in each column, whose numbers are below the size beside them.

    Give a row of each kind, and of every row its kind.
    """
    (key, size), *others = columns
    for codes, many in others:
        if not _may_be_marked(size * many, key):  # fewer of them differ; besides, too large ones might become the same
            rows, key = told_apart(key, size)
            size = len(rows)
        size *= many
        key = key.astype(np.int32 if size < _INT32_MOST else np.int64) * many + codes
    return told_apart(key, size)


def lists_alike(
    heads: Sequence[tuple[Numbers, int]], items: tuple[Numbers, int], counts: Numbers
) -> tuple[Numbers, Numbers]:
    """Put lists together that have the same heads and the same items, of which each list has so many; as `alike`.

    Each column of heads has a number for each list; `items` are those of the first list, then of the second, and so on.
    """
    rows, kinds = alike([*heads, (counts, int(counts.max(initial=0)) + 1)])
    kinds, size = kinds.astype(np.int64), len(rows)
    begins, longer, place = np.cumsum(counts) - counts, np.arange(len(counts)), 0
    while len(longer := longer[counts[longer] > place]):
        rows, found = alike([(kinds[longer], size), (items[0][begins[longer] + place], items[1])])
        kinds[longer] = size + found  # beyond those of all shorter lists
        size, place = size + len(rows), place + 1
    return told_apart(kinds, size)


def objects_apart(objects: Sequence[Any]) -> tuple[Numbers, Numbers]:
    """Tell objects apart by what they are, and not by what they say; as `told_apart`."""
    given = np.fromiter(map(id, objects), np.int64, len(objects))
    return np.unique(given, return_index=True, return_inverse=True)[1:]


def values_apart(values: Sequence[Hashable]) -> tuple[Numbers, int]:
    """Give values numbers, equal ones the same, and say how many numbers there are."""
    if not values or values.count(values[0]) == len(values):  # soon told, and mostly so
        return np.zeros(len(values), np.intp), 1
    known = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.fromiter(map(known.__getitem__, values), np.intp, len(values)), len(known)
