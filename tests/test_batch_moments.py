"""Moments read by columns are those that the grammar of the API reads one by one, and no others."""

from datetime import date, datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from marshmallow import ValidationError

from ebill.batch import clocks, moments
from ebill.batch.columns import NONE
from ebill.batch.moments import BAD, GOOD, NOT_GIVEN
from ebill.grammar import read_day, read_moment

pytestmark = pytest.mark.anywhere

CLOCKS = ("T16:00", "T16:00:59", *("T00:59:09." + "120456"[:digits] for digits in range(1, 7)))
OFFSETS = ("", "Z", "+00:00", "-04:00", "+14:45")
GOOD_TEXTS = ["2026-07-02", *("2028-02-29" + clock + offset for clock, offset in product(CLOCKS, OFFSETS))]
CHARACTERS = "0123456789-+:.,TtZz /\x00\x7fé\u0661\N{FULLWIDTH DIGIT ONE}"


def one_by_one(read: Any, text: str | None) -> Any:
    """Give what the grammar reads, None for nothing, and "bad" for what it refuses."""
    try:
        return None if text is None else read(text)
    except ValidationError:
        return "bad"


def are_read_as_one_by_one(texts: list[str | None]) -> None:
    """Hold the moments and the days of texts beside those that the grammar reads."""
    given = pa.array(texts, pa.string())
    found = moments.read(given)
    known = {BAD: "bad", NOT_GIVEN: None}
    read = [known[told] if told != GOOD else moments.moment(found, row) for row, told in enumerate(found.told.tolist())]
    wrong = [
        (text, one) for text, one in zip(texts, read, strict=True) if repr(one) != repr(one_by_one(read_moment, text))
    ]
    assert not wrong, wrong[:5]
    days, bad = moments.read_days(given)
    for text, day, is_bad in zip(texts, days.tolist(), bad.tolist(), strict=True):
        expected = one_by_one(read_day, text)
        assert (day, is_bad) == (
            (expected - date(1970, 1, 1)).days if isinstance(expected, date) else NONE,
            expected == "bad",
        ), text


def test_whatever_is_one_character_away_from_a_moment_is_read_as_alone() -> None:
    texts: list[str | None] = []
    for text in GOOD_TEXTS:
        for place in range(len(text) + 1):
            begin, end = text[:place], text[place:]
            texts += [begin + end[1:], *(begin + each + end for each in CHARACTERS[-6:])]
            texts += [begin + each + end[1:] for each in CHARACTERS]
    assert len(texts) > 20_000
    are_read_as_one_by_one([*texts, None, ""])


def test_every_day_of_the_century_and_none_beside_it() -> None:
    days = [f"{year}-{month:02}-{day:02}" for year in range(1999, 2101) for month in range(14) for day in range(33)]
    are_read_as_one_by_one([*days, *(day + "T00:00" for day in days[::7])])


def test_every_minute_of_the_day_every_second_and_every_offset() -> None:
    numbers = [f"{number:02}" for number in range(100)]
    texts: list[str | None] = [f"2026-07-02T{hour}:{minute}" for hour, minute in product(numbers, numbers)]
    texts += [f"2026-07-02T16:00:{second}{more}" for second in numbers for more in ("", ".5", "Z", "-23:59")]
    texts += [f"2026-07-02T16:00{sign}{hour}:{minute}" for sign, hour, minute in product("+-", numbers, numbers)]
    are_read_as_one_by_one(texts)


@pytest.mark.parametrize("more", ["", "\n", "é" * 40, "0" * 40])
def test_what_is_longer_or_shorter_than_any_moment_is_none(more: str) -> None:
    are_read_as_one_by_one([text[:length] + more for text in GOOD_TEXTS for length in range(len(text) + 1)])


def test_what_is_written_as_it_should_be_is_read_by_columns() -> None:
    """Otherwise nobody would notice but by the time it takes."""
    assert clocks.read(pa.array(GOOD_TEXTS)).plain.all()
    start = datetime(2026, 1, 1)  # noqa: DTZ001  # a wall clock
    many = [(start + timedelta(minutes=7 * number)).isoformat() for number in range(100_000)]
    found = clocks.read(pa.array(many))
    assert found.plain.all()
    assert found.written.astype("datetime64[us]").tolist() == [*map(datetime.fromisoformat, many)]


def test_a_part_of_an_array_and_what_lies_behind_a_null_are_read_as_what_they_are() -> None:
    whole = pa.array(["2026-07-02", None, "x", "2026-07-02T16:00Z", "", "2026-07-02"])
    for begin in range(len(whole) + 1):
        part, rest = moments.read(whole.slice(begin)), moments.read(whole).take(np.arange(begin, len(whole)))
        assert [column.tolist() for column in part] == [column.tolist() for column in rest]
    behind = pa.Array.from_buffers(pa.string(), 1, [pa.py_buffer(b"\0"), *pa.array(["2026-07-02"]).buffers()[1:]], 1)
    assert moments.read(behind).told.tolist() == [NOT_GIVEN]
    assert moments.read(pa.array([], pa.string())).told.tolist() == []
    assert moments.read(pa.nulls(2, pa.string())).told.tolist() == [NOT_GIVEN] * 2
