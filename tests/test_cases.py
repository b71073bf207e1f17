"""Published schedules and worked examples, through every door: the library for one and for many, HTTP, the command."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from ebill import questions, service
from ebill.batch import pairs
from ebill.bookfile import SHIPPED, BookFile
from ebill.cli import main
from ebill.render.json import encode
from ebill.rulebook import RuleBook, Scope, entered
from ebill.schedule import DATE_NAMES
from ebill.web import create_app
from tests.books import NOW, TEXT, book

FILES = sorted((Path(__file__).parent / "cases").glob("*.json"))
CASES: list[dict[str, Any]] = [case for file in FILES for case in json.loads(file.read_text("utf-8"))]
each_case = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
BOOK = book(TEXT)
Ask = Callable[[dict[str, Any]], Any]


def by_library(request: dict[str, Any]) -> Any:
    return json.loads(encode(service.answer(BOOK, request, NOW)))


def by_http(request: dict[str, Any]) -> Any:
    answer = client().post("/v1/calculate", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json


@cache
def client() -> FlaskClient:
    return create_app(BookFile(SHIPPED)).test_client()


def by_command(request: dict[str, Any]) -> Any:
    ran = CliRunner().invoke(main, ["schedule", *options(request), "--format", "json"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.output)


def options(request: dict[str, Any]) -> list[str]:
    """Write a body as options of the command."""
    given = dict(request)
    found: list[str] = []
    for kind, rule in given.pop("rules", {}).items():
        if isinstance(rule, dict):
            found += [f"--rule={kind}.{key}={value}" for key, value in rule.items()]
        else:
            found.append(f"--rule={kind}={','.join(map(str, rule)) if isinstance(rule, list) else rule}")
    for fixed in given.pop("exceptions", []):
        month, reason = fixed["coverage_month"], fixed["reason"]
        dates = [f"{name}={day}" for name, day in fixed.items() if name not in ("coverage_month", "reason")]
        found.append(f"--exception={month}:{','.join(dates)}:{reason}")
    return found + [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


def by_batch(request: dict[str, Any]) -> Any:
    """Ask for the dates as columns, in which a payment has no place."""
    question = questions.calculation(request)
    table = pairs.schedule(BOOK, [scope_of(question)], np.zeros(question.count, int), months_of(question))
    dates = {name: table.dates(name) for name in DATE_NAMES}
    return {
        "invoices": [
            {
                "coverage_month": str(month),
                **{name: None if np.isnat(days[row]) else str(days[row]) for name, days in dates.items()},
            }
            for row, month in enumerate(months_of(question))
        ]
    }


def scope_of(question: questions.Calculation) -> Scope:
    rows = entered(question.rules.values(), "client", "a case")
    return Scope(question.state, question.product, rows, question.exceptions, question.last_coverage_month)


def months_of(question: questions.Calculation) -> Any:
    return question.first + np.arange(question.count)


def missing(expected: Any, given: Any, place: str = "") -> list[str]:
    """Name what of the expected is not there, or is otherwise."""
    if isinstance(expected, Mapping):
        return [each for name in expected for each in missing(expected[name], given.get(name), f"{place}/{name}")]
    if isinstance(expected, list):
        found = {row["coverage_month"]: row for row in given}
        return [
            each
            for row in expected
            for each in missing(row, found.get(row["coverage_month"], {}), f"{place}/{row['coverage_month']}")
        ]
    return [] if expected == given else [f"{place}: {given}, not {expected}"]


def test_there_are_the_cases() -> None:
    assert len(CASES) >= 72
    for case in CASES:
        assert {"name", "source", "request", "expect"} <= case.keys()


@pytest.mark.parametrize("ask", [by_library, by_http, by_command])
@each_case
def test_a_case(case: dict[str, Any], ask: Ask) -> None:
    assert missing(case["expect"], ask(case["request"])) == [], case["source"]


@each_case
def test_a_case_as_columns(case: dict[str, Any]) -> None:
    expected = {name: value for name, value in case["expect"].items() if name == "invoices"}
    assert missing(expected, by_batch(case["request"])) == [], case["source"]


def test_all_cases_at_once_as_columns() -> None:
    asked = [questions.calculation(case["request"]) for case in CASES]
    which = np.repeat(np.arange(len(asked)), [question.count for question in asked])
    months = np.concatenate([months_of(question) for question in asked])
    table = pairs.schedule(BOOK, [scope_of(question) for question in asked], which, months)
    dates = {name: table.dates(name) for name in DATE_NAMES}
    for number, case in enumerate(CASES):
        invoices = case["expect"].get("invoices", [])
        for invoice in invoices:
            row = int(np.flatnonzero((which == number) & (months == np.datetime64(invoice["coverage_month"], "M")))[0])
            for name in DATE_NAMES:
                if name in invoice:
                    assert str(dates[name][row]) == invoice[name], case["name"]


def test_every_door_gives_the_same_whole_answer() -> None:
    request = {"state": "WV", "from": "2026-01", "months": 24, "as_of": "2026-08-03", "paid_at": "2026-01-02",
               "product": "cobra", "explain": True}  # fmt: skip
    asked = options({name: value for name, value in request.items() if name != "explain"})
    ran = CliRunner().invoke(main, ["schedule", *asked, "--explain", "--format", "json"], catch_exceptions=False)
    assert by_library(request) == by_http(request) == json.loads(ran.output)


def a_day_late(request: dict[str, Any]) -> Any:
    answer = by_library(request)
    for invoice in answer["invoices"]:
        for name in DATE_NAMES:
            invoice[name] = str(np.datetime64(invoice[name]) + 1)
    return answer


def test_a_date_that_is_a_day_late_fails_its_case() -> None:
    dated = [case for case in CASES if "invoices" in case["expect"]]
    assert dated
    for case in dated:
        assert missing(case["expect"], a_day_late(case["request"]))


def test_the_shipped_book_is_the_one_the_doors_read() -> None:
    found: RuleBook = BookFile(SHIPPED).book
    assert found.version == BOOK.version
