"""The bench remembers ratios, and tells a move from noise."""

import json
from datetime import date
from pathlib import Path

import pytest

from tests.bench import ratios
from tests.bench.measuring import Ratio, Taken

DAY = date(2026, 8, 1)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Ratio("ours / bare", 0.5, 0.49, 0.51), []),
        (Ratio("ours / bare", 0.55, 0.54, 0.56), []),
        (Ratio("ours / bare", 0.7, 0.5, 0.8), []),
        (Ratio("ours / bare", 0.7, 0.69, 0.71), ["ours / bare: 0.5 on 2026-08-01, now 0.7, faster"]),
        (Ratio("ours / bare", 0.3, 0.29, 0.31), ["ours / bare: 0.5 on 2026-08-01, now 0.3, SLOWER"]),
        (Ratio("other", 0.5, 0.49, 0.51), ["other: 0.5, which is new", "ours / bare: gone"]),
    ],
    ids=["the same", "a little more", "more, in noisy rounds", "much more", "much less", "another"],
)
def test_what_moved_beyond_the_noise_is_said(tmp_path: Path, now: Ratio, said: list[str]) -> None:
    file = tmp_path / "ratios.json"
    ratios.keep("part", [Ratio("ours / bare", 0.5, 0.4, 0.6)], DAY, file)
    assert list(ratios.moved("part", [now], file)) == said


def test_keeping_a_part_leaves_the_other_parts_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "ratios.json"
    ratios.keep("one", [Ratio("a / b", 0.123456, 0, 1)], DAY, file)
    ratios.keep("two", [Ratio("c / d", 271.4, 0, 1)], DAY, file)
    assert json.loads(file.read_text()) == {
        "one": {"kept": "2026-08-01", "ratios": {"a / b": 0.123}},
        "two": {"kept": "2026-08-01", "ratios": {"c / d": 271.0}},
    }


def test_what_is_faster_than_what_it_stands_beside_has_a_ratio_above_one() -> None:
    taken = Taken({"ours": [1.0, 1.0, 4.0], "bare": [2.0, 2.0, 2.0]})
    assert taken.beside("ours", "bare").value == 2.0


def test_a_ratio_is_the_median_of_its_rounds_and_not_one_of_two_medians() -> None:
    taken = Taken({"ours": [1.0, 10.0, 100.0], "bare": [2.0, 30.0, 100.0]})  # a machine that slows down
    assert taken.beside("ours", "bare").value == 2.0
