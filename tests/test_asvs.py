"""What is said of OWASP ASVS 5.0 names each of its requirements of levels 1 and 2 once, and tests that there are."""

import ast
import csv
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OPERATING = ROOT / "ebill" / "operating"
ROWS = list(csv.DictReader((OPERATING / "asvs.csv").read_text("utf-8").splitlines()))
NUMBERS = [
    "1.1.1-2",
    "1.2.1-9",
    "1.3.1-11",
    "1.4.1-3",
    "1.5.1-2",
    "2.1.1-3",
    "2.2.1-3",
    "2.3.1-4",
    "2.4.1",
    "3.2.1-2",
    "3.3.1-4",
    "3.4.1-6",
    "3.5.1-5",
    "3.7.1-2",
    "4.1.1-3",
    "4.2.1",
    "4.3.1-2",
    "4.4.1-4",
    "5.1.1",
    "5.2.1-3",
    "5.3.1-2",
    "5.4.1-3",
    "6.1.1-3",
    "6.2.1-12",
    "6.3.1-4",
    "6.4.1-4",
    "6.5.1-5",
    "6.6.1-3",
    "6.8.1-4",
    "7.1.1-3",
    "7.2.1-4",
    "7.3.1-2",
    "7.4.1-5",
    "7.5.1-2",
    "7.6.1-2",
    "8.1.1-2",
    "8.2.1-3",
    "8.3.1",
    "8.4.1",
    "9.1.1-3",
    "9.2.1-4",
    "10.1.1-2",
    "10.2.1-2",
    "10.3.1-4",
    "10.4.1-11",
    "10.5.1-5",
    "10.6.1-2",
    "10.7.1-3",
    "11.1.1-2",
    "11.2.1-3",
    "11.3.1-3",
    "11.4.1-4",
    "11.5.1",
    "11.6.1",
    "12.1.1-3",
    "12.2.1-2",
    "12.3.1-4",
    "13.1.1",
    "13.2.1-5",
    "13.3.1-2",
    "13.4.1-5",
    "14.1.1-2",
    "14.2.1-4",
    "14.3.1-3",
    "15.1.1-3",
    "15.2.1-3",
    "15.3.1-7",
    "16.1.1",
    "16.2.1-5",
    "16.3.1-4",
    "16.4.1-3",
    "16.5.1-3",
    "17.1.1",
    "17.2.1-4",
    "17.3.1-2",
]
"""The requirements of levels 1 and 2, from the standard itself; some sections have others above them, of level 3."""
VERDICTS = {"holds", "does not apply", "falls short", "for the operator"}


def numbers() -> Iterator[str]:
    """Give each number."""
    for span in NUMBERS:
        section, _, within = span.rpartition(".")
        first, _, last = within.partition("-")
        yield from (f"{section}.{number}" for number in range(int(first), int(last or first) + 1))


@cache
def functions(file: str) -> frozenset[str]:
    """Give the functions at the top of a file."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return frozenset(each.name for each in tree.body if isinstance(each, ast.FunctionDef))


def is_there(named: str) -> bool:
    """Tell whether a test is there."""
    file, _, function = named.partition("::")
    return file.startswith("tests/") and (ROOT / file).is_file() and function in functions(file)


def test_each_requirement_is_there_once_in_its_order() -> None:
    assert [row["number"] for row in ROWS] == list(numbers())
    assert len(ROWS) == 253
    assert {row["level"] for row in ROWS} == {"1", "2"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["number"])
def test_what_is_said_of_a_requirement_names_a_reason_and_tests_that_there_are(row: dict[str, str]) -> None:
    named = [each for each in row["tests"].split("; ") if each]
    assert row["verdict"] in VERDICTS
    assert row["asks"]
    assert len(row["how"]) >= (60 if row["verdict"] == "falls short" else 3)
    assert named or row["verdict"] in ("does not apply", "for the operator")
    assert [each for each in named if not is_there(each)] == []


def test_the_page_of_threats_names_tests_that_there_are() -> None:
    page = (OPERATING / "threats.md").read_text("utf-8")
    named = re.findall(r"`(tests/[^`]+::[^`]+)`", page)
    assert len(named) >= 15
    assert [each for each in named if not is_there(each)] == []
    assert len(page.splitlines()) <= 120  # it is one page
    for what in ("# What is at stake", "# Who attacks", "# Borders", "# What is defended", "# What is not defended"):
        assert what in page


def test_a_test_that_is_not_there_is_found() -> None:
    assert not is_there("tests/test_asvs.py::test_that_nobody_wrote")
    assert not is_there("tests/test_nothing.py::test_the_last_administrator_stays_one")
    assert is_there("tests/test_asvs.py::test_a_test_that_is_not_there_is_found")
