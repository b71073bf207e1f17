"""`POST /v1/calculate/batch` answers every row as `POST /v1/calculate` does, in order, and starves nobody."""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from flask import Flask

from ebill import batch, bookfile, errors, grammar, questions
from ebill.batch import tables
from ebill.batch.asked import ASKED
from ebill.bookfile import SHIPPED, BookFile
from ebill.files import taking
from ebill.web import batches, create_app, reading
from tests.accounts import PAID, Row, asked, rows

pytestmark = pytest.mark.anywhere

PATH = "/v1/calculate/batch"
NDJSON = "application/x-ndjson"
GOOD = b'{"state":"PA","coverage_month":"2026-08"}\n'


@cache
def app() -> Flask:
    return create_app(BookFile(SHIPPED))


def sent(body: bytes, content_type: str = NDJSON, **more: Any) -> Any:
    return app().test_client().post(PATH, data=body, content_type=content_type, **more)


def told(body: bytes, content_type: str = NDJSON) -> list[Row]:
    """Give the rows of an answer."""
    with sent(body, content_type) as answer:
        assert (answer.status_code, answer.content_type) == (200, NDJSON)
        return [json.loads(line) for line in answer.get_data().decode().split("\n")[:-1]]


def lines(given: list[Row]) -> bytes:
    """Write rows as a caller would, rules as tables."""
    written = []
    for row in given:
        body = {**row, **{name: json.loads(row[name]) for name in ("rules", "exceptions") if row[name]}}
        written.append(json.dumps({name: value for name, value in body.items() if value is not None}))
    return "".join(f"{line}\n" for line in written).encode()


def test_10_000_rows_are_answered_as_each_is_alone_over_http() -> None:
    client = app().test_client()
    given = [row if row["as_of"] else {**row, "as_of": "2026-08-03"} for row in rows(10_000, seed=31, kinds=150)]
    alone: dict[str, Any] = {}
    for row, found in zip(given, told(lines(given)), strict=True):
        body = json.dumps(asked(row))
        if body not in alone:
            alone[body] = client.post("/v1/calculate", data=body, content_type="application/json").get_json()
        answer = alone[body]
        assert found["account_id"] == row["account_id"]
        if "code" in answer:
            assert found["reason"] == answer["code"]
            for fault in answer["errors"]:
                of_a_span = fault["detail"] == questions.OR_ELSE
                assert ("/coverage_month: is required" if of_a_span else fault["detail"]) in found["detail"]
        elif "not_billed" in answer:
            assert (found["reason"], found["detail"]) == ("not_billed", answer["not_billed"][0]["reason"])
        else:
            invoice = dict(answer["invoices"][0])
            warned = [warning["code"] for warning in invoice.pop("warnings")]
            assert found["warnings"] == warned
            assert {name: found[name] for name in invoice} == invoice
            assert [found[name] for name in PAID] == [answer.get("payment", {}).get(name) for name in PAID]


def test_a_list_in_json_is_taken_too() -> None:
    body = [{"state": "PA", "coverage_month": "2026-08"}, 7, {"state": "XX"}]
    found = told(json.dumps(body).encode(), "application/json")
    assert [row["reason"] for row in found] == [None, "malformed_row", "invalid_input"]
    with sent(b'{"rows": []}', "application/json") as answer:
        assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_input")


def test_nothing_is_answered_by_nothing() -> None:
    assert told(b"") == []
    assert told(b"\n\n") == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "malformed_json"),
        (b'{"state":"PA","state":"NY"}', "malformed_json"),
        (b"NaN", "malformed_json"),
        (b"\xff\xfe", "malformed_json"),
        (b"\xef\xbb\xbf{}", "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b'{"state":"PA","coverage_month":"2026-08","rules":' + b"[" * 40 + b"]" * 40 + b"}", "malformed_json"),
        (b'"' + b"x" * 1_000_000 + b'"', "malformed_row"),
        (b"null", "malformed_row"),
        (b"{}", "invalid_input"),
        (b'{"state":"PA","coverage_month":"2026-08","months":12}', "invalid_input"),
        (b'{"state":"PA","coverage_month":"2026-08","explain":true}', "invalid_input"),
        (b'{"state":"PA","coverage_month":"2026-08","account_id":7}', "invalid_input"),
        (b'{"state":"PA","coverage_month":"2026-08","account_id":"\\udead"}', "invalid_input"),
        (b'{"state":"PA\\u0000","coverage_month":"2026-08"}', "invalid_input"),
        (b'{"state":"PA","coverage_month":"2026-08","rules":"{\\"grace\\":"}', "invalid_input"),
        (b'{"state":"PA","coverage_month":"2026-08","rules":{"timezone":"../etc/passwd"}}', "invalid_input"),
    ],
)
def test_a_hostile_row_has_its_reason_and_stops_no_other(body: bytes, reason: str) -> None:
    found = told(GOOD + body + b"\n" + GOOD)
    assert [row["reason"] for row in found] == [None, reason, None]
    assert len(json.dumps(found[1])) < 3_000


def test_markup_comes_back_as_text() -> None:
    found = told(b'{"state":"PA","coverage_month":"2026-08","account_id":"<script>\\u2028\\n"}')
    assert found[0]["account_id"] == "<script>\u2028\n"


@pytest.mark.parametrize(
    ("body", "more", "status", "code"),
    [
        (b"\n" * 100_001, {}, 413, "too_many_rows"),
        (GOOD.strip() + b"\n" * 100_000 + b"x", {}, 413, "too_many_rows"),
        (b" " * (taking.LINE_MOST + 1), {}, 413, "line_too_long"),
        (GOOD * 98_000 + b" " * (taking.LINE_MOST + 1) + b"\n" + GOOD, {}, 413, "line_too_long"),
        (b"x" * (reading.LARGEST_BATCH + 1), {}, 413, "body_too_large"),
        (GOOD, {"content_type": "text/plain"}, 415, "unsupported_media_type"),
        (GOOD, {"headers": {"Content-Encoding": "gzip"}}, 415, "unsupported_media_type"),
        (GOOD, {"query_string": "as_of=2026-08-03"}, 422, "invalid_input"),
        (GOOD, {"headers": {"Transfer-Encoding": "chunked"}}, 400, "bad_request"),
    ],
)
def test_what_is_no_batch_is_refused_whole(body: bytes, more: dict[str, Any], status: int, code: str) -> None:
    with sent(body, **{"content_type": NDJSON, **more}) as answer:
        assert (answer.status_code, answer.get_json()["code"]) == (status, code)


@pytest.mark.parametrize("between", [b"\r", b"\x0b", b"\x0c", b"\x1c", b"\xc2\x85", b"\xe2\x80\xa8"])
def test_a_line_ends_where_a_newline_is_and_nowhere_else(between: bytes) -> None:
    found = told(GOOD + GOOD.strip() + between + GOOD + GOOD)
    assert [row["reason"] for row in found] == [None, "malformed_json", None]
    assert [row["reason"] for row in told((b"1" + between) * 200_000)] == ["malformed_json"]


def test_a_return_before_a_newline_is_a_blank() -> None:
    assert [row["reason"] for row in told(GOOD.replace(b"\n", b"\r\n") * 2 + b"\r\n1\r\n")] == [
        None,
        None,
        "malformed_row",
    ]


def test_some_thousand_rows_are_worked_on_at_a_time_however_short_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = list[int]()
    answer = tables.Batches.answer

    def counted(self: tables.Batches, batch: Any, *more: Any) -> Any:
        sizes.append(batch.num_rows)
        return answer(self, batch, *more)

    monkeypatch.setattr(tables.Batches, "answer", counted)
    found = told(b"1\n" * 99_999)
    assert [row["reason"] for row in found] == ["malformed_row"] * 99_999
    assert sum(sizes) == 99_999
    assert max(sizes) <= batches.ROWS_AT_ONCE


def test_what_was_not_foreseen_on_the_way_is_the_last_line_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The server ends a body in chunks as if it were whole, whatever becomes of it."""
    answer, asked_ = tables.Batches.answer, list[int]()

    def broken(self: tables.Batches, batch: Any, *more: Any) -> Any:
        asked_.append(batch.num_rows)
        if len(asked_) > 1:
            raise RuntimeError("nobody foresaw this")
        return answer(self, batch, *more)

    monkeypatch.setattr(tables.Batches, "answer", broken)
    with sent(GOOD * 2 * batches.ROWS_AT_ONCE) as got:
        *rows_, last = [json.loads(line) for line in got.get_data().splitlines()]
        request_id = got.headers["X-Request-Id"]
    assert len(rows_) == batches.ROWS_AT_ONCE
    assert {name: last[name] for name in ("type", "status", "code", "request_id")} == {
        "type": "/problems#internal_error", "status": 500, "code": "internal_error", "request_id": request_id,
    }  # fmt: skip
    assert "state" not in last
    written = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    [unexpected] = [line for line in written if line["event"] == "unexpected"]
    [request] = [line for line in written if line["event"] == "request"]
    assert (unexpected["level"], unexpected["request_id"]) == ("error", request_id)
    assert (request["level"], request["code"]) == ("error", "internal_error")
    told(GOOD)  # the turn was given back


def test_only_so_many_kinds_of_accounts_are_checked() -> None:
    given = [{"state": "PA", "coverage_month": "2026-08", "rules": {"grace": {"days": days}}} for days in range(1, 301)]
    body = "".join(f"{json.dumps(row)}\n" for row in given).encode()
    found = told(body + GOOD)
    assert [row["reason"] for row in found[:250]] == [None] * 250
    assert {row["reason"] for row in found[250:]} == {"too_many_rule_sets"}


def test_near_columns_are_looked_for_a_few_times_a_row_however_many_are_unknown() -> None:
    [row] = told(json.dumps({f"coverage_mont{number}": 1 for number in range(500)}).encode())
    assert row["detail"].count("unknown column") == 500
    assert row["detail"].count("did you mean") == tables.HINTS_MOST


def test_near_time_zones_are_looked_for_among_few(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = list[int]()

    def near(given: object, known: Iterable[str]) -> str:
        looked.append(len([*known]))
        return errors.did_you_mean(given, known)

    monkeypatch.setattr(grammar, "did_you_mean", near)
    zone = {"state": "PA", "coverage_month": "2026-08", "rules": {"timezone": "America/New_Yorrk"}}
    [row] = told(json.dumps(zone).encode())
    assert 'did you mean "America/New_York"?' in row["detail"]
    assert max(looked) < len(grammar.zones()) / 5


@pytest.fixture
def taken() -> Iterator[None]:
    """All turns are taken."""
    for _ in range(batches.AT_ONCE):
        assert batches._turns.acquire(blocking=False)
    yield
    for _ in range(batches.AT_ONCE):
        batches._turns.release()


@pytest.mark.usefixtures("taken")
def test_where_all_turns_are_taken_the_next_caller_is_told_to_wait_and_others_are_answered() -> None:
    with sent(GOOD) as answer:
        assert (answer.status_code, answer.get_json()["code"], answer.headers["Retry-After"]) == (
            503,
            "batches_busy",
            "1",
        )
    alone = app().test_client().post("/v1/calculate", json={"state": "PA", "coverage_month": "2026-08"})
    assert alone.status_code == 200


def test_a_turn_is_given_back_however_an_answer_ends() -> None:
    for _ in range(3 * batches.AT_ONCE):
        sent(GOOD).close()  # never read
        with sent(b"\n" * 100_001) as answer:
            assert answer.status_code == 413
        told(GOOD)
    with sent(GOOD) as first, sent(GOOD) as second:
        assert (first.status_code, second.status_code) == (200, 200)


def test_it_comes_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebill.files.taking.BLOCK", 1_000)
    with app().test_client().post(PATH, data=GOOD * 200, content_type=NDJSON, buffered=False) as answer:
        pieces = list(answer.iter_encoded())
    assert len(pieces) > 5
    assert b"".join(pieces).count(b"\n") == 200


def test_it_is_in_the_document() -> None:
    operation = app().test_client().get("/openapi.json").get_json()["paths"][PATH]["post"]
    assert operation["security"] == []
    assert set(operation["requestBody"]["content"]) == {NDJSON, "application/json"}
    example = operation["requestBody"]["content"][NDJSON]["examples"]["works"]["value"]
    assert [row["reason"] for row in told(example.encode())] == [None, None]
    example = operation["requestBody"]["content"]["application/json"]["examples"]["works"]["value"]
    assert len(told(json.dumps(example).encode(), "application/json")) == 2
    assert {"413", "503", "415", "422"} <= operation["responses"].keys()


def test_the_columns_are_those_of_a_table() -> None:
    book = bookfile.load(SHIPPED).book
    asked_ = pa.table({name: pa.nulls(0, pa.string()) for name in ASKED})
    assert list(told(GOOD)[0]) == batch.schedule(asked_, book).schema.names


@pytest.mark.parametrize(
    "body", [b"null\n", b" null\n", b"\n\nnull\n", b"null\n%s", b"%snull\n", b"null null\n%s", b"nullnull\n"]
)
def test_null_for_a_row_is_a_row_wherever_it_stands(body: bytes) -> None:
    """Pyarrow ends the whole process where it is the first: these must not come to it."""
    found = told(body % GOOD if b"%s" in body else body)
    assert {row["reason"] for row in found} <= {None, "malformed_row", "malformed_json"}
    assert len(found) == 1 + body.count(b"%s")


def test_a_list_of_null_is_answered() -> None:
    answer = sent(b"[null]", "application/json")
    assert [json.loads(line)["reason"] for line in answer.get_data().splitlines()] == ["malformed_row"]
