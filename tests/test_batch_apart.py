"""What is alike is told apart as Python's own dictionaries tell it."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ebill.batch.apart import alike, lists_alike, objects_apart, values_apart

pytestmark = pytest.mark.anywhere


def are_told_apart(keys: Sequence[Any], examples: Any, kinds: Any) -> None:
    """Hold the rows of each kind, and the example of it, beside those of each key."""
    expected: dict[Any, list[int]] = {}
    for row, key in enumerate(keys):
        expected.setdefault(key, []).append(row)
    found = [np.flatnonzero(kinds == kind).tolist() for kind in range(len(examples))]
    assert sorted(found) == sorted(expected.values())
    assert all(example in rows for example, rows in zip(examples.tolist(), found, strict=True))


@pytest.mark.parametrize("many", [2, 1_000, 1 << 16, 1 << 31])
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_rows_are_taken_for_alike_where_all_is_and_nowhere_else(columns: int, many: int) -> None:
    random = np.random.default_rng(many)
    few = random.integers(0, many, 3)
    codes = [few[random.integers(0, 3, 400)] for _ in range(columns)]
    codes[0][:2], codes[-1][:2] = (0, many - 1), 0
    are_told_apart([*zip(*(column.tolist() for column in codes), strict=True)], *alike([(c, many) for c in codes]))


@pytest.mark.parametrize("seed", range(20))
def test_lists_are_taken_for_alike_where_their_heads_and_all_their_items_are(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # no secret
    longest, kinds = rng.choice((1, 2, 5)), rng.choice((1, 2, 1 << 20))
    items = [rng.randrange(kinds) for _ in range(3)]
    lists = [[rng.choice(items) for _ in range(rng.randint(0, longest))] for _ in range(300)]
    heads = [np.array([rng.randrange(most) for _ in lists]) for most in (1, 2)]
    found = lists_alike(
        [(heads[0], 1), (heads[1], 2)],
        (np.array([item for each in lists for item in each], np.intp), kinds),
        np.array([*map(len, lists)]),
    )
    are_told_apart([*zip(*heads, map(tuple, lists), strict=True)], *found)


@pytest.mark.parametrize("lists", [[], [()], [(), ()], [(), (1,)], [(1,), (1, 1), (1,)]])
def test_few_lists_and_short_ones_are_told_apart_too(lists: list[tuple[int, ...]]) -> None:
    count = len(lists)
    heads, items = np.zeros(count, np.intp), np.array([item for each in lists for item in each], np.intp)
    are_told_apart(lists, *lists_alike([(heads, 1)], (items, 2), np.array([*map(len, lists)], np.intp)))


def test_objects_are_told_apart_by_what_they_are() -> None:
    one, other = ["a"], ["a"]
    objects = [one, other, one, "b", other]
    are_told_apart([*map(id, objects)], *objects_apart(objects))
    examples, kinds = objects_apart([])
    assert (len(examples), len(kinds)) == (0, 0)


@pytest.mark.parametrize("values", [[], [None], ["a", "a"], ["a", None, "b", "a"], [1, 2, 2, 1]])
def test_values_are_told_apart_by_what_they_say(values: list[Any]) -> None:
    numbers, count = values_apart(values)
    assert [(a == b) for a in numbers for b in numbers] == [(a == b) for a in values for b in values]
    assert numbers.max(initial=0) < count
