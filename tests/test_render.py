"""How an answer is written as JSON: dates as ISO 8601 has them, and instants as RFC 3339."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from ebill import service
from ebill.questions import posting_question
from ebill.render.json import encode
from tests.books import NOW, TEXT, ask, book

SHIPPED = book(TEXT)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (date(2026, 8, 1), '"2026-08-01"'),
        (date(2000, 1, 1), '"2000-01-01"'),
        (datetime(2026, 7, 2, 16), '"2026-07-02T16:00:00"'),  # noqa: DTZ001  # local to the account
        (datetime(2026, 7, 2, 16, 59, 59, 999_999), '"2026-07-02T16:59:59.999999"'),  # noqa: DTZ001
        (datetime(2026, 7, 2, 16, tzinfo=UTC), '"2026-07-02T16:00:00Z"'),
        (datetime(2026, 7, 2, 16, 0, 0, 1, tzinfo=UTC), '"2026-07-02T16:00:00.000001Z"'),
        (datetime(2026, 7, 2, 16, tzinfo=timezone(timedelta(hours=-4))), '"2026-07-02T16:00:00-04:00"'),
        (datetime(2026, 7, 2, 16, tzinfo=timezone(timedelta(hours=5, minutes=45))), '"2026-07-02T16:00:00+05:45"'),
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (2**63 - 1, "9223372036854775807"),
        ((), "[]"),
        (("a", date(2026, 8, 1)), '["a","2026-08-01"]'),
        ({"b": 1, "a": {}}, '{"b":1,"a":{}}'),
        ('"\\/', '"\\"\\\\/"'),
        ("a\0b\x1f", '"a\\u0000b\\u001f"'),
        ("§ é 日本 \U0001f600", '"§ é 日本 \U0001f600"'),
    ],
    ids=[
        *("a date", "the first date", "a local time", "microseconds", "an instant", "an instant with microseconds"),
        *("an offset", "an odd offset", "nothing", "true", "a number", "a large number", "no values", "values"),
        *("a table in its order", "quotes", "controls", "other scripts"),
    ],
)
def test_a_value_is_written(value: Any, text: str) -> None:
    assert encode(value).decode("utf-8") == text
    assert json.loads(encode(value)) == json.loads(text)


@pytest.mark.parametrize(
    "value",
    [{1, 2}, object(), {1: 2}, b"bytes", np.datetime64("2026-08-01"), np.int64(1), 2**64, "\ud800"],
    ids=["a set", "an object", "a key that is no text", "bytes", "a day of numpy", "its number", "too large", "half"],
)
def test_what_json_does_not_have_is_refused_and_not_guessed(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


def test_an_answer_is_indented_for_people_and_says_the_same() -> None:
    answer = {"state": "PA", "invoices": [{"due_date": date(2026, 8, 1), "warnings": []}]}
    assert encode(answer) == b'{"state":"PA","invoices":[{"due_date":"2026-08-01","warnings":[]}]}'
    assert encode(answer, indented=True).decode() == (
        "{\n"
        '  "state": "PA",\n'
        '  "invoices": [\n'
        "    {\n"
        '      "due_date": "2026-08-01",\n'
        '      "warnings": []\n'
        "    }\n"
        "  ]\n"
        "}"
    )


def plain(value: Any) -> Any:
    """Write an answer as JSON would have it, by hand."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value


def test_every_answer_is_plain_data_that_is_read_back_as_it_was_written() -> None:
    answers: list[Any] = [
        ask(
            SHIPPED,
            state="PA",
            product="cobra",
            explain=True,
            paid_at="2026-07-02T16:00",
            rules={"skip_coverage_months": [9]},
            last_coverage_month="2026-12",
            **{"from": "2026-08", "months": 12},
        ),
        service.posting(SHIPPED, posting_question({"state": "NY", "paid_at": "2026-07-02T16:00:00-04:00"})),
        service.states(SHIPPED),
        service.state(SHIPPED, "PA", NOW),
    ]
    for answer in answers:
        for indented in (False, True):
            read = json.loads(encode(answer, indented=indented))
            assert read == plain(answer)
            assert list(read) == list(answer)


def test_a_payment_is_written_back_as_it_was_given() -> None:
    for paid_at, written in (
        ("2026-07-02", "2026-07-02"),
        ("2026-07-02T16:00", "2026-07-02T16:00:00"),
        ("2026-07-02T16:00:00.5-04:00", "2026-07-02T16:00:00.500000-04:00"),
        ("2026-07-02T16:00:00+00:00", "2026-07-02T16:00:00Z"),
    ):
        answer = ask(SHIPPED, state="PA", coverage_month="2026-08", paid_at=paid_at)
        assert json.loads(encode(answer))["payment"]["paid_at"] == written
