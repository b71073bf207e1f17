"""Whatever is sent is answered as the table says: over the application itself, and over a real server on its socket."""

import csv
import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from json import JSONDecoder
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from flask import Flask

from ebill import errors, grammar, strictjson
from ebill.bookfile import SHIPPED, BookFile
from ebill.web import create_app, docs, reading
from tests.hostile import GOOD, LARGEST, ROWS, Answer, Row, Sent, ask, body, judge, repeated
from tests.served import served

pytestmark = pytest.mark.anywhere

LISTED = {*range(1, 36), *range(37, 44), 45, 46, 47, 58, 60, 78, 79, 84, 85, 87, 89}
"""The threats that a calculator without clients, cursors, files and sign-in is exposed to; 36 needs a socket."""


@cache
def app() -> Flask:
    return create_app(BookFile(SHIPPED))


# The table


def test_every_threat_of_the_list_is_in_the_table() -> None:
    assert {row.number for row in ROWS} == LISTED
    assert {row.number for row in RAW} == {30, 35, 36, 39, 78, 84, 87}


def test_every_threat_has_a_test_that_is_there() -> None:
    tests = Path(__file__).parent
    threats = list(csv.DictReader((tests / "threats.csv").read_text("utf-8").splitlines()))
    assert [int(threat["number"]) for threat in threats] == list(range(1, 113))
    for threat in threats:
        assert threat["tests"], threat["number"]
        for named in threat["tests"].split():
            file, _, name = named.partition("::")
            assert re.search(rf"^def {name}\(", (tests / file).read_text("utf-8"), re.MULTILINE), named
    by_row = {int(threat["number"]) for threat in threats if "test_hostile.py::test_a_row" in threat["tests"].split()}
    assert by_row == LISTED


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row(row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    answer = row.check(app())
    [line] = capsys.readouterr().err.splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 1_000
    logged = json.loads(line)
    assert (logged["event"], logged["status"]) == ("request", answer.status)
    assert logged["request_id"] == answer.header("X-Request-Id")


def test_every_code_of_the_table_is_explained() -> None:
    page = ask(app(), Sent("GET", "/problems", headers={})).body.decode()
    for code in {row.code for row in ROWS if row.code}:
        assert f'<dt id="{code}">' in page


def test_faults_of_every_kind_are_told_at_once() -> None:
    sent = Sent(body=json.dumps({
        "state": "QQ",
        "product": "cobre",
        "from": "2026-13",
        "as_of": "2026-02-30",
        "paid_at": "soon",
        "rules": {
            "due": {"day": 0, "rol": "none"},
            "grace": {"days": True, "counting": "from"},
            "generation": {"days_before_due": 1, "day_of_month": 1},
            "calendar": "XFEDD",
            "timezone": "America/NewYork",
            "skip_coverage_months": [7, 13],
        },
        "exceptions": [
            {"coverage_month": "2026-08", "due_date": "2026-08-32", "reason": "\0"},
            {"coverage_month": "2026-08"},
            7,
        ],
        "explain": "yes",
        "garce_days": 1,
    }).encode())  # fmt: skip
    Row(
        0,
        "",
        sent,
        422,
        "invalid_input",
        (
            *("/state", "/product", "/from", "/months", "/as_of", "/paid_at", "/explain", "/garce_days"),
            *("/rules/due/day", "/rules/due/rol", "/rules/grace/days", "/rules/grace/counting", "/rules/generation"),
            *("/rules/calendar", "/rules/timezone", "/rules/skip_coverage_months/1"),
            *(
                "/exceptions/0/due_date",
                "/exceptions/0/reason",
                "/exceptions/1",
                "/exceptions/1",
                "/exceptions/1/reason",
            ),
            "/exceptions/2",
        ),
    ).check(app())


def test_what_a_proxy_would_say_of_the_client_changes_nothing() -> None:
    spoofed = {"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Prefix": "/evil"}
    plain, other = (ask(app(), Sent("GET", "/v1/states/PA", headers=headers)) for headers in ({}, spoofed))
    assert plain.body == other.body
    numbers = [[value for value in answer.headers if value[0] != "X-Request-Id"] for answer in (plain, other)]
    assert numbers[0] == numbers[1]


def test_a_text_is_kept_composed() -> None:
    decomposed = {"coverage_month": "2026-08", "due_date": "2026-08-02", "reason": "cafe\u0301"}
    answer = ask(app(), Sent(body=body(exceptions=[decomposed], explain=True)))
    said = json.dumps(answer.data["invoices"][0]["explanation"], ensure_ascii=False)
    assert "café" in said
    assert "cafe\u0301" not in said


@pytest.mark.parametrize("length", [1, len(body()), LARGEST])
def test_a_body_that_ends_before_its_length_is_refused(length: int) -> None:
    answer = ask(app(), Sent(body=body()), CONTENT_LENGTH=str(len(body()) + length))
    judge(answer)
    assert (answer.status, answer.data["code"]) == (
        (400, "bad_request") if length < LARGEST else (413, "body_too_large")
    )


# The table can fail: each row has been seen red


def any_number(self: grammar.Whole, value: Any, *_: Any, **__: Any) -> int:
    return int(value) if not isinstance(value, list | dict | type(None)) else self.low


def first_wins(environ: dict[str, Any]) -> dict[str, str]:
    return dict(reversed(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)))


def unbounded(environ: dict[str, Any]) -> bytes:
    read: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or -1))
    return read


FAULTS: dict[str, tuple[Any, str, Any, int]] = {
    "NaN is a number": (strictjson, "_DECODER", JSONDecoder(object_pairs_hook=strictjson._table), 15),
    "Infinity is a number": (strictjson, "_DECODER", JSONDecoder(object_pairs_hook=strictjson._table), 16),
    "the last of two keys wins": (strictjson, "_DECODER", JSONDecoder(parse_constant=strictjson._constant), 21),
    "nesting has no bound": (strictjson, "DEEPEST", 10**9, 22),
    "what looks like a number is one": (grammar.Whole, "_deserialize", any_number, 17),
    "fractions are cut off": (grammar.Whole, "_deserialize", any_number, 18),
    "digits of any script": (grammar.Whole, "_deserialize", any_number, 10),
    "numbers have no bounds": (grammar.Whole, "_deserialize", any_number, 13),
    "any ISO date": (grammar, "read_day", date.fromisoformat, 6),
    "any year": (grammar, "read_day", date.fromisoformat, 4),
    "control characters": (grammar, "_REFUSED_CATEGORIES", frozenset(), 24),
    "bidirectional controls": (grammar, "_BIDI_CONTROLS", frozenset(), 25),
    "texts of any length": (grammar, "TEXT_LIMIT", 10**9, 26),
    "bodies of any type": (reading, "_JSON", re.compile(".*"), 33),
    "forms": (reading, "_JSON", re.compile(".*"), 38),
    "bodies of any length": (reading, "LARGEST", 10**9, 35),
    "encodings": (reading, "json_body", unbounded, 37),
    "the first of two parameters wins": (reading, "query", first_wins, 40),
    "unknown parameters": (reading, "refuse_unknown", lambda *_: None, 41),
    "a host of any kind": (reading, "refuse_ambiguous", lambda: None, 87),
    "two slashes for one": (reading, "refuse_ambiguous", lambda: None, 60),
    "input is repeated whole": (errors, "SHOWN", 10**9, 39),
    "any file": (docs, "ASSETS", type("", (dict,), {"__contains__": lambda *_: True})(docs.ASSETS), 47),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, planted, number = FAULTS[fault]
    monkeypatch.setattr(where, name, planted)
    faulty = create_app(BookFile(SHIPPED))
    assert any(fails(row, faulty) for row in ROWS if row.number == number)


def fails(row: Row, faulty: Flask) -> bool:
    try:
        row.check(faulty)
    except AssertionError:
        return True
    return False


def test_what_is_repeated_is_found_however_it_is_escaped() -> None:
    sent = Sent(body=json.dumps({"a\0b" * 30: 1}).encode())
    assert not repeated({"detail": ("a\0b" * 30)[:64]}, sent)
    assert repeated({"detail": "It is " + ("a\0b" * 30)[:65]}, sent)
    assert repeated({"errors": [{"pointer": "/" + "x" * 65}]}, Sent(path="/v1?a=" + "%78" * 65))
    assert not repeated({"errors": [{"pointer": "/" + "x" * 64}]}, Sent(path="/v1?a=" + "%78" * 65))


# A real server: what no client library would send


@dataclass(frozen=True)
class Raw:
    """Bytes for a socket, under the number of the threat, and how they are to be answered.

    `code` is None where the server itself refuses, before it is a request, and hangs up.
    """

    number: int
    what: str
    source: bytes
    status: int
    code: str | None = None

    def __str__(self) -> str:
        return f"{self.number} {self.what}"


def head(*lines: str, method: str = "GET", path: str = "/v1/states", host: str = "Host: localhost") -> bytes:
    """Give the first lines of a request, after which the server is to hang up."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", host, "Connection: close", *lines, "", ""]).encode("latin-1")


def post(*lines: str, source: bytes = body()) -> bytes:
    """Give a request with a body."""
    return head("Content-Type: application/json", *lines, method="POST", path="/v1/calculate") + source


def chunks(*sources: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(source), source) for source in (*sources, b""))


CHUNKED = "Transfer-Encoding: chunked"
LENGTH = f"Content-Length: {len(body())}"

RAW = (
    Raw(30, "a byte that is no text in an address", b"GET /v1/states/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    Raw(30, "a byte that is no text in a header", head("User-Agent: \xff\x01"), 400),
    Raw(30, "NUL in an address", head(path="/v1/states/\0"), 400),
    Raw(35, "a good body in chunks", post(CHUNKED, source=chunks(body()[:9], body()[9:])), 200),
    Raw(35, "a byte too many in chunks", post(CHUNKED, source=chunks(body(), b" " * LARGEST)), 413, "body_too_large"),
    Raw(35, "10 MB, announced", post("Content-Length: 10000000", source=b""), 413, "body_too_large"),
    Raw(36, "a length that is too short", post("Content-Length: 10"), 400, "malformed_json"),
    Raw(36, "a negative length", post("Content-Length: -1"), 400),
    Raw(36, "a length that is no number", post("Content-Length: 4x"), 400),
    Raw(36, "a signed length", post(f"Content-Length: +{len(body())}"), 400),
    Raw(36, "a length beyond all bounds", post(f"Content-Length: {'9' * 30}"), 400),
    Raw(36, "two lengths", post(LENGTH, "Content-Length: 3"), 400),
    Raw(36, "no length", post(), 400, "malformed_json"),
    Raw(36, "an unknown transfer", post("Transfer-Encoding: xchunked"), 400),
    Raw(36, "chunks of chunks", post("Transfer-Encoding: chunked, identity", source=chunks(body())), 400),
    Raw(36, "a blank before the colon", post("Transfer-Encoding : chunked", source=chunks(body())), 400),
    Raw(36, "a chunk of no length", post(CHUNKED, source=b"zz\r\n"), 400, "malformed_json"),
    Raw(39, "a header of 100 kB", head("X-A: " + "a" * 100_000), 431),
    Raw(39, "1,000 headers", head(*(f"X-{n}: a" for n in range(1_000))), 431),
    Raw(39, "an address of 20 kB", head(path="/" + "a" * 20_000), 431),
    Raw(39, "10,000 parameters", head(path="/v1/states?" + "&".join(f"a{n}=1" for n in range(10_000))), 431),
    Raw(78, "a lone carriage return in a header", head("X-A: a\rb"), 400),
    Raw(78, "a header over two lines", head("X-A: a\r\n b"), 400),
    Raw(84, "a colour in a header", head("User-Agent: \x1b[31m"), 400),
    Raw(87, "HTTP/0.9", b"GET /v1/states\r\n\r\n", 400),
    Raw(87, "HTTP/1.0 without a host", b"GET /v1/states HTTP/1.0\r\n\r\n", 400, "bad_request"),
    Raw(87, "HTTP/1.1 without a host", head(host="X-A: a"), 400, "bad_request"),
    Raw(87, "two hosts", head("Host: evil.example"), 400, "bad_request"),
    Raw(87, "HTTP/3.0", b"GET /v1/states HTTP/3.0\r\nHost: localhost\r\n\r\n", 400),
    Raw(87, "no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    Raw(87, "a whole address", head(path="http://evil.example/v1/states/PA"), 200),
    Raw(87, "a whole address of nothing", head(path="http://evil.example/v1/state"), 404, "not_found"),
    Raw(87, "a tunnel", head(method="CONNECT", path="evil.example:80"), 404, "not_found"),
    Raw(87, "a question to the whole server", head(method="OPTIONS", path="*"), 404, "not_found"),
    Raw(87, "PROPFIND", head("Depth: 1", method="PROPFIND"), 405, "method_not_allowed"),
    Raw(87, "TRACE", head(method="TRACE"), 405, "method_not_allowed"),
    Raw(87, "BREW", head(method="BREW"), 405, "method_not_allowed"),
    Raw(87, "an upgrade", head("Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), 200),
)  # fmt: skip


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server as `ebill serve` starts it, which is well after all that was sent to it, and complains of nothing."""
    log = tmp_path_factory.mktemp("served") / "log"
    with served(log) as found:
        yield found
        assert exchange(found, head(path="/livez"))[0].status == 200
    lines = log.read_text("utf-8").splitlines()
    assert {json.loads(line)["event"] for line in lines} == {"started", "request", "stopped"}


def exchange(port: int, source: bytes) -> tuple[Answer, bytes]:
    """Send bytes, and give the first answer with whatever follows it until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough, and said so already
            connection.sendall(source)
        received = bytearray()
        while block := connection.recv(65_536):
            received += block
    top, _, rest = bytes(received).partition(b"\r\n\r\n")
    first, *lines = top.decode("ascii").split("\r\n")
    headers = [(name.title(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    answer = Answer(int(first.split()[1]), headers, b"")
    length = int(answer.header("Content-Length") or 0)
    return Answer(answer.status, headers, rest[:length]), rest[length:]


@pytest.mark.parametrize("raw", RAW, ids=str)
def test_a_raw_row(raw: Raw, port: int) -> None:
    answer, rest = exchange(port, raw.source)
    assert answer.status == raw.status, answer.body
    assert rest == b""
    if raw.status < 400 or raw.code:
        mine = [(name, value) for name, value in answer.headers if name not in {"Server", "Date", "Connection"}]
        assert answer.header("Server") == "granian", "no version of it"
        judge(Answer(answer.status, mine, answer.body))
        assert raw.code is None or answer.data["code"] == raw.code
    else:
        assert answer.body == b""
        assert answer.header("Connection") == "close"


@pytest.mark.parametrize(
    "lines", [(LENGTH, CHUNKED), (CHUNKED, "Content-Length: 3")], ids=["length first", "chunks first"]
)
def test_what_hides_behind_a_body_with_a_length_and_chunks_is_no_request(lines: tuple[str, ...], port: int) -> None:
    """RFC 9112, section 6.3: the chunks count, and the server hangs up after them."""
    open_ = post(*lines, source=chunks(body())).replace(b"Connection: close\r\n", b"")
    answer, rest = exchange(port, open_ + head())
    assert answer.status == 200
    assert answer.data["state"] == GOOD["state"]
    assert rest == b""


def test_a_body_that_never_comes_is_not_answered_as_if_it_had(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(post("Content-Length: 4000"))
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert received == b"" or received.startswith(b"HTTP/1.1 400 ")


def test_http_2_is_not_spoken(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert received == b"" or received.startswith(b"HTTP/1.1 400 ")
