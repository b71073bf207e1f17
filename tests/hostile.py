"""What nobody should send to the calculator, and how it is to be refused: the table, and how an answer is judged.

Each row is numbered as in `threats.csv`, which names the tests of every threat.

400 is for what cannot be parsed, 422 for what can be but
is wrong. Where a value is wrong wherever it stands, the row sends it to every such place at once, and every place is to
be named.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes
from zlib import compress

from werkzeug.test import run_wsgi_app

GOOD: Final[Mapping[str, Any]] = {"state": "PA", "coverage_month": "2026-08"}
JSON: Final[Mapping[str, str]] = {"Content-Type": "application/json"}
SHOWN = 64
"""Characters of what was sent that an answer may repeat."""
HEADERS: Final = frozenset(
    {
        *("Accept-Encoding", "Accept-Post", "Allow", "Cache-Control", "Content-Length", "Content-Security-Policy"),
        *("Content-Type", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Permissions-Policy"),
        *(
            "RateLimit",
            "RateLimit-Policy",
            "Referrer-Policy",
            "Strict-Transport-Security",
            "X-Content-Type-Options",
            "X-Request-Id",
        ),
    }
)
"""Every header that the calculator sends."""


@dataclass(frozen=True)
class Sent:
    """A request; `path` with its query, as it stands on the first line."""

    method: str = "POST"
    path: str = "/v1/calculate"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    chunked: bool = False

    def environ(self) -> dict[str, Any]:
        """Give it as a server does, not bent into shape as by a client library."""
        path, _, query = self.path.partition("?")
        length = {"HTTP_TRANSFER_ENCODING": "chunked"} if self.chunked else {"CONTENT_LENGTH": str(len(self.body))}
        headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.headers.items()}
        if "HTTP_CONTENT_TYPE" in headers:
            headers["CONTENT_TYPE"] = headers.pop("HTTP_CONTENT_TYPE")
        return {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(self.body),
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **length,
            **headers,
        }

    def texts(self) -> Iterator[str]:
        """Give every text in it that could be repeated."""
        yield self.body.decode("utf-8", "replace")
        yield self.path
        yield unquote(self.path)
        yield from self.headers.values()
        with suppress(ValueError, RecursionError):
            yield from _texts(json.loads(self.body))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


@dataclass(frozen=True)
class Answer:
    """An answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Give a header, which must not be there twice."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) < 2, name
        return found[0] if found else None

    @cached_property
    def data(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(app: Any, sent: Sent, **changes: Any) -> Answer:
    """Send a request to an application, with changes to what the server would say of it."""
    body, status, headers = run_wsgi_app(app, sent.environ() | changes, buffered=True)
    return Answer(int(status[:3]), list(headers), b"".join(body))


# How an answer is judged


def judge(answer: Answer, *sent: Sent) -> None:
    """Hold of an answer what must hold of every one, whatever was sent."""
    assert answer.status < 500, answer.body
    request_id = answer.header("X-Request-Id")
    assert request_id
    for name, value in answer.headers:
        assert name in HEADERS, name
        assert value.isascii(), name
        assert value.isprintable(), name
    assert (answer.status == 405) <= (answer.header("Allow") is not None)
    assert (answer.status == 415) <= (answer.header("Accept-Encoding") == "identity")
    if answer.status >= 400:
        assert answer.header("Content-Type") == "application/problem+json"
        problem = answer.data
        assert problem["status"] == answer.status
        assert problem["type"] == f"/problems#{problem['code']}"
        assert problem["request_id"] == request_id
        assert re.fullmatch("[a-z_]+", problem["code"])
        assert problem["title"]
        assert problem["detail"]
        for fault in problem.get("errors", ()):
            assert fault.keys() == {"pointer", "detail"}
            assert fault["pointer"] == "" or fault["pointer"].startswith("/")
            assert fault["detail"]
        for each in sent:
            assert not repeated(problem, each)


def repeated(problem: Any, sent: Sent) -> list[str]:
    """Find what an answer repeats of what was sent beyond the `SHOWN` characters it may."""
    texts = {text for text in sent.texts() if len(text) > SHOWN}
    return [
        said
        for said in _texts(problem)
        for start in range(len(said) - SHOWN)
        if any(said[start : start + SHOWN + 1] in text for text in texts)
    ]


# The table


@dataclass(frozen=True)
class Row:
    """What is sent, under the number of the threat, and how it is to be answered."""

    number: int
    what: str
    sent: Sent
    status: int
    code: str | None = None
    pointers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.number} {self.what}"

    def check(self, app: Any) -> Answer:
        """Send it, and judge the answer."""
        answer = ask(app, self.sent)
        judge(answer, self.sent)
        assert answer.status == self.status, answer.body
        if self.status >= 400:
            problem = answer.data
            assert problem["code"] == self.code
            assert sorted(fault["pointer"] for fault in problem.get("errors", [])) == sorted(self.pointers)
        return answer


def body(**changes: Any) -> bytes:
    """Give a good body but for some keys."""
    return json.dumps({**GOOD, **changes}).encode()


def wrong(number: int, what: str, *pointers: str, **changes: Any) -> Row:
    """Send a good body but for some keys, which are all to be named."""
    return Row(number, what, Sent(body=body(**changes)), 422, "invalid_input", pointers)


def right(number: int, what: str, **changes: Any) -> Row:
    """Send a good body."""
    return Row(number, what, Sent(body=body(**changes)), 200)


def unread(number: int, what: str, source: bytes) -> Row:
    """Send what is no JSON."""
    return Row(number, what, Sent(body=source), 400, "malformed_json")


def untaken(number: int, what: str, headers: Mapping[str, str], source: bytes = body()) -> Row:
    """Send what is not declared as JSON."""
    return Row(number, what, Sent(body=source, headers=headers), 415, "unsupported_media_type")


def lost(number: int, what: str, path: str, code: str = "not_found", method: str = "GET") -> Row:
    """Ask for what is not there."""
    return Row(number, what, Sent(method, path, headers={}), 404, code)


def got(number: int, what: str, path: str, status: int, code: str | None = None, *pointers: str) -> Row:
    """Ask with a query."""
    return Row(number, what, Sent("GET", path, headers={}), status, code, pointers)


FIXED = ("generation_date", "due_date", "grace_end_date")


def day(number: int, what: str, given: Any, *, moment: Any = None) -> Row:
    """Send a wrong date to every place where a date is wanted; as a date-time it may be right."""
    exception = {"coverage_month": "2026-08", "reason": "a test", **dict.fromkeys(FIXED, given)}
    return wrong(
        number,
        what,
        "/as_of",
        *([] if moment else ["/paid_at"]),
        *(f"/exceptions/0/{name}" for name in FIXED),
        as_of=given,
        paid_at=moment or given,
        exceptions=[exception],
    )


def month(number: int, what: str, given: Any) -> Row:
    """Send a wrong month to every place where a coverage month is wanted."""
    exception = {"coverage_month": given, "reason": "a test", "due_date": "2026-08-02"}
    return wrong(
        number,
        what,
        "/coverage_month",
        "/last_coverage_month",
        "/exceptions/0/coverage_month",
        coverage_month=given,
        last_coverage_month=given,
        exceptions=[exception],
    )


NUMBERS: Final = {
    "/rules/due/day": True,
    "/rules/due/month_offset": False,
    "/rules/generation/days_before_due": True,
    "/rules/grace/days": False,
    "/rules/pay_by/days_before_next_invoice": True,
    "/rules/posting/min_business_days": False,
    "/rules/posting/max_business_days": False,
    "/rules/skip_coverage_months/0": True,
    "/months": True,
}
"""Where whole numbers are wanted, and whether 0 is wrong there."""


def numbers(given: str) -> bytes:
    """Write something in JSON in the place of every number."""
    rules = {
        "due": {"day": "#", "month_offset": "#"},
        "generation": {"days_before_due": "#"},
        "grace": {"days": "#"},
        "pay_by": {"days_before_next_invoice": "#"},
        "posting": {"min_business_days": "#", "max_business_days": "#", "cutoff": "17:00"},
        "skip_coverage_months": ["#"],
    }
    return json.dumps({"state": "PA", "from": "2026-08", "months": "#", "rules": rules}).replace('"#"', given).encode()


def number(number_: int, what: str, given: str, *, zero: bool = False) -> Row:
    """Send a wrong number, as it is written in JSON, to every place where one is wanted."""
    pointers = tuple(pointer for pointer, without_zero in NUMBERS.items() if without_zero or not zero)
    return Row(number_, what, Sent(body=numbers(given)), 422, "invalid_input", pointers)


def unread_number(number_: int, what: str, given: str) -> Row:
    """Send what is no number in JSON in the place of one."""
    return unread(number_, what, numbers(given))


def text(number: int, what: str, given: Any) -> Row:
    """Send a wrong text where people may write one."""
    exception = {"coverage_month": "2026-08", "due_date": "2026-08-02", "reason": given}
    return wrong(number, what, "/exceptions/0/reason", exceptions=[exception])


def good_text(number: int, what: str, given: str) -> Row:
    """Send a text that people may write."""
    exception = {"coverage_month": "2026-08", "due_date": "2026-08-02", "reason": given}
    return right(number, what, exceptions=[exception], explain=True)


def name(number: int, what: str, given: str) -> Row:
    """Send a wrong name to every place where something configured is named."""
    pointers = ("/state", "/product", "/rules/calendar", "/rules/timezone")
    return wrong(number, what, *pointers, state=given, product=given, rules={"calendar": given, "timezone": given})


NUL = "\0"
ESCAPE = "\x1b[31m"
OVERRIDES = ("\u202e", "\u2066", "\u200f", "\u061c")
LINES = ("\r\n", "\r", "\u2028", "\u2029", "\x85")
PATHS = {"calculate": "POST", "posting": "GET", "states": "GET", "states/PA": "GET"}
LARGEST = 256_000
PADDED = body().ljust(LARGEST)
"""A good body as long as a body may be."""

ROWS: Final = (
    day(1, "29 February of a common year", "2023-02-29"),
    day(1, "30 February", "2024-02-30"),
    day(1, "31 April", "2026-04-31"),
    day(2, "month 13", "2024-13-01"),
    day(2, "month 0", "2024-00-01"),
    day(2, "day 32", "2024-01-32"),
    day(2, "day 0", "2024-01-00"),
    month(2, "coverage month 13", "2024-13"),
    month(2, "coverage month 0", "2024-00"),
    day(3, "year 0", "0000-01-01"),
    day(3, "year 10000", "10000-01-01"),
    day(3, "a negative year", "-2024-01-01"),
    day(3, "a signed year", "+2024-01-01"),
    month(3, "coverage month of year 0", "0000-01"),
    month(3, "coverage month of year 10000", "10000-01"),
    month(3, "coverage month of a negative year", "-2024-01"),
    day(4, "the first date there is", "0001-01-01"),
    day(4, "the last date there is", "9999-12-31"),
    day(4, "the day before the first supported", "1999-12-31"),
    day(4, "the day after the last supported", "2100-01-01"),
    month(4, "the month before the first supported", "1999-12"),
    month(4, "the month after the last supported", "2100-01"),
    month(5, "the last month there is", "9999-12"),
    Row(5, "a span beyond the last supported", Sent(body=b'{"state": "PA", "from": "2099-12", "months": 2}'), 422,
        "invalid_input", ("/months",)),
    right(5, "the last supported month", coverage_month="2099-12"),
    right(5, "the first supported month", coverage_month="2000-01"),
    day(6, "a date without dashes", "20240229"),
    day(6, "a date by weeks", "2024-W09-4"),
    day(6, "a date by days of the year", "2024-060"),
    month(6, "a month without a dash", "202608"),
    month(6, "a date for a month", "2026-08-01"),
    day(7, "Arabic digits", "\u0662\u0660\u0662\u0664-\u0660\u0661-\u0660\u0661"),
    day(7, "full-width digits", "\uff12\uff10\uff12\uff14-01-01"),
    month(7, "Arabic digits in a month", "\u0662\u0660\u0662\u0664-\u0660\u0661"),
    month(7, "full-width digits in a month", "\uff12\uff10\uff12\uff14-01"),
    day(8, "an instant for a date", "2024-01-01T00:00:00Z", moment="2024-01-01T00:00:00Z"),
    day(8, "a time of day for a date", "2024-01-01T00:00", moment="2024-01-01T00:00"),
    wrong(8, "a time that is none", "/paid_at", paid_at="2026-07-02T24:01"),
    wrong(8, "an offset that is none", "/paid_at", paid_at="2026-07-02T12:00+99:99"),
    wrong(8, "a blank for the T", "/paid_at", paid_at="2026-07-02 12:00"),
    day(9, "a blank before a date", " 2024-01-01"),
    day(9, "a blank after a date", "2024-01-01 "),
    day(9, "a line's end after a date", "2024-01-01\n"),
    day(9, "NUL after a date", f"2024-01-01{NUL}"),
    day(9, "single digits", "2024-1-1"),
    month(9, "a blank after a month", "2026-08 "),
    month(9, "a line's end after a month", "2026-08\n"),
    month(9, "NUL after a month", f"2026-08{NUL}"),
    month(9, "a single digit in a month", "2026-8"),
    unread_number(10, "an underscore in a number", "1_000"),
    unread_number(10, "an Arabic digit", "\u0663"),
    unread_number(10, "a full-width digit", "\uff19"),
    unread_number(10, "a signed number", "+5"),
    unread_number(10, "a leading zero", "05"),
    number(10, "an underscore in a text", '"1_000"'),
    number(10, "an Arabic digit in a text", '"\u0663"'),
    number(10, "a full-width digit in a text", '"\uff19"'),
    number(10, "blanks about a digit", '" 5 "'),
    number(10, "a signed number in a text", '"+5"'),
    number(10, "negative zero", "-0", zero=True),
    unread_number(11, "a hexadecimal number", "0x10"),
    unread_number(11, "no number", ""),
    number(11, "a hexadecimal number in a text", '"0x10"'),
    number(11, "a power of ten", "1e3"),
    number(11, "a fraction of nothing", "1.0"),
    number(11, "an empty text", '""'),
    unread_number(12, "5,000 digits", "9" * 5_000),
    number(12, "4,000 digits", "9" * 4_000),
    number(12, "5,000 digits in a text", json.dumps("9" * 5_000)),
    got(12, "5,000 digits in a query", f"/v1/posting?state=PA&paid_at={'9' * 5_000}", 422, "invalid_input", "/paid_at"),
    wrong(13, "day 0", "/rules/due/day", rules={"due": {"day": 0}}),
    wrong(13, "day 32", "/rules/due/day", rules={"due": {"day": 32}}),
    wrong(13, "day -32", "/rules/due/day", rules={"due": {"day": -32}}),
    number(13, "2^31", str(2**31)),
    number(13, "2^63", str(2**63)),
    number(13, "-2^63", str(-(2**63))),
    wrong(14, "grace -1", "/rules/grace/days", rules={"grace": {"days": -1}}),
    wrong(14, "grace 367", "/rules/grace/days", rules={"grace": {"days": 367}}),
    number(14, "10^9", str(10**9)),
    number(14, "10^10", str(10**10)),
    unread_number(15, "NaN", "NaN"),
    unread_number(16, "Infinity", "Infinity"),
    unread_number(16, "-Infinity", "-Infinity"),
    unread_number(16, "1e400", "1e400"),
    unread_number(16, "-1e400", "-1e400"),
    number(17, "true", "true"),
    number(17, "1.0", "1.0e0"),
    number(17, "a number in a text", '"1"'),
    wrong(17, "a number for true", "/explain", explain=1),
    wrong(17, "a text for true", "/explain", explain="true"),
    number(18, "1.5", "1.5"),
    number(19, "a table", '{"a": 1}'),
    number(19, "a list", "[1]"),
    number(19, "null", "null"),
    day(19, "a table for a date", {"day": 1}),
    day(19, "a list for a date", ["2026-08-01"]),
    day(19, "a number for a date", 20260801),
    day(19, "null for a date", None),
    month(19, "a table for a month", {}),
    month(19, "null for a month", None),
    wrong(19, "a list for a name", "/state", state=["PA"]),
    wrong(19, "a number for a name", "/state", state=1),
    wrong(19, "a list for a table", "/rules", rules=[]),
    wrong(19, "a table for a list", "/exceptions", exceptions={}),
    Row(20, "a list for the whole", Sent(body=b"[]"), 422, "invalid_input", ("",)),
    Row(20, "null for the whole", Sent(body=b"null"), 422, "invalid_input", ("",)),
    Row(20, "a text for the whole", Sent(body=b'"x"'), 422, "invalid_input", ("",)),
    Row(20, "a number for the whole", Sent(body=b"1"), 422, "invalid_input", ("",)),
    unread(21, "a key twice", b'{"state": "PA", "coverage_month": "2026-08", "state": "NY"}'),
    unread(21, "a key twice further in", body(rules={"due": {}}).replace(b"{}", b'{"day": 1, "day": 31}')),
    unread(21, "a key twice, once escaped", b'{"state": "PA", "coverage_month": "2026-08", "st\\u0061te": "NY"}'),
    unread(22, "100,000 lists in one another", b"[" * 100_000 + b"]" * 100_000),
    unread(22, "100,000 lists that do not end", b"[" * 100_000),
    unread(22, "40,000 tables in one another", b'{"a":' * 40_000 + b"1" + b"}" * 40_000),
    unread(22, "33 lists in one another", b"[" * 33 + b"]" * 33),
    Row(22, "32 lists in one another", Sent(body=b"[" * 32 + b"]" * 32), 422, "invalid_input", ("",)),
    name(23, "half a surrogate pair", "\ud800"),
    text(23, "half a surrogate pair in a text", "\ud800"),
    Row(23, "half a surrogate pair in a key", Sent(body=b'{"\\ud800": 1}'), 422, "invalid_input",
        (r"/\ud800", "/from", "/months", "/state")),
    name(24, "NUL", f"PA{NUL}"),
    text(24, "NUL in a text", f"a{NUL}b"),
    *(text(24, f"control character {ord(sign):02x}", sign) for sign in "\x01\t\x08\x1b\x7f\x9b"),
    got(24, "NUL in a query", "/v1/posting?state=PA%00&paid_at=2026-07-02%00", 422, "invalid_input", "/state",
        "/paid_at"),
    *(text(25, f"bidirectional control {ord(sign):04x}", f"a{sign}b") for sign in OVERRIDES),
    *(name(25, f"bidirectional control {ord(sign):04x} in a name", f"PA{sign}") for sign in OVERRIDES),
    name(25, "a character of no width", "P\u200bA"),
    good_text(25, "a character of no width in a text", "a\u200bb"),
    Row(26, "a text of 1 MB", Sent(body=body(state="x" * 1_000_000)), 413, "body_too_large"),
    text(26, "a text of 501 characters", "x" * 501),
    good_text(26, "a text of 500 characters", "x" * 500),
    good_text(26, "a text of 500 characters once composed", "e\u0301" * 500),
    text(26, "a text of 501 characters once composed", "e\u0301" * 501),
    text(26, "a text of 200,000 characters", "x" * 200_000),
    text(26, "a blank text", " \u3000"),
    good_text(26, "60 emoji", "\U0001f600" * 60),
    name(26, "60 emoji in a name", "\U0001f600" * 60),
    name(27, "a name with an accent", "café"),
    name(27, "the same name decomposed", "cafe\u0301"),
    good_text(27, "a text with an accent", "cafe\u0301"),
    name(28, "Cyrillic letters", "\u0420\u0410"),
    good_text(28, "Cyrillic letters in a text", "\u0410CME"),
    name(29, "a dotted capital I", "İ"),
    name(29, "a sharp s", "ß"),
    wrong(29, "small letters", "/state", state="pa"),
    unread(30, "bytes that are no UTF-8", b'{"state": "\xff"}'),
    unread(30, "a surrogate in UTF-8", b'{"state": "\xed\xa0\x80"}'),
    unread(30, "too long a UTF-8", b'{"state": "\xc0\xaf"}'),
    *(unread(31, f"UTF-{form}", body().decode().encode(f"utf-{form}")) for form in ("16", "16-le", "16-be", "32")),
    unread(31, "a byte order mark", b"\xef\xbb\xbf" + body()),
    untaken(31, "UTF-16, declared", {"Content-Type": "application/json; charset=utf-16"}, "{}".encode("utf-16")),
    unread(32, "no body", b""),
    unread(32, "a blank body", b" \r\n\t "),
    unread(32, "two bodies", body() + body()),
    unread(32, "half a body", body()[:-1]),
    unread(32, "a body with a comma too many", b'{"state": "PA", "coverage_month": "2026-08",}'),
    Row(32, "a body where none is wanted", Sent("GET", "/v1/states", b'{"a": 1}'), 200),
    Row(32, "a body of no type where none is wanted", Sent("GET", "/v1/states", b"\xff" * 9, {}), 200),
    untaken(33, "text", {"Content-Type": "text/plain"}),
    untaken(33, "no type", {}),
    untaken(33, "a blank type", {"Content-Type": " "}),
    untaken(33, "UTF-7", {"Content-Type": "application/json; charset=utf-7"}),
    untaken(33, "another kind of JSON", {"Content-Type": "application/merge-patch+json"}),
    untaken(33, "two types", {"Content-Type": "application/json, text/plain"}),
    untaken(33, "a parameter of no meaning", {"Content-Type": "application/json; a=b"}),
    untaken(33, "a type of 1,000 characters", {"Content-Type": "application/" + "x" * 1_000}),
    Row(33, "UTF-8, declared", Sent(body=body(), headers={"Content-Type": "application/json; charset=utf-8"}), 200),
    Row(33, "large letters", Sent(body=body(), headers={"Content-Type": 'Application/JSON;charset="UTF-8"'}), 200),
    Row(34, "only a picture is wanted", Sent(body=body(), headers={**JSON, "Accept": "image/png"}), 200),
    Row(35, "10 MB", Sent(body=body().ljust(10_000_000)), 413, "body_too_large"),
    Row(35, "a byte too many", Sent(body=PADDED + b" "), 413, "body_too_large"),
    Row(35, "as many bytes as may be", Sent(body=PADDED), 200),
    Row(35, "10 MB in chunks", Sent(body=body().ljust(10_000_000), chunked=True), 413, "body_too_large"),
    Row(35, "a byte too many in chunks", Sent(body=PADDED + b" ", chunked=True), 413, "body_too_large"),
    Row(35, "what follows a good body in chunks", Sent(body=PADDED + b"{", chunked=True), 413, "body_too_large"),
    Row(35, "as many bytes as may be, in chunks", Sent(body=PADDED, chunked=True), 200),
    untaken(37, "gzip", {**JSON, "Content-Encoding": "gzip"}, compress(body(), wbits=31)),
    untaken(37, "a gzip bomb", {**JSON, "Content-Encoding": "gzip"}, compress(b" " * 50_000_000, wbits=31)),
    untaken(37, "deflate", {**JSON, "Content-Encoding": "deflate"}, compress(body())),
    untaken(37, "two encodings", {**JSON, "Content-Encoding": "identity, gzip"}),
    untaken(37, "an encoding of no name", {**JSON, "Content-Encoding": "x" * 1_000}),
    Row(37, "an encoding that is none", Sent(body=body(), headers={**JSON, "Content-Encoding": "Identity"}), 200),
    untaken(38, "a form", {"Content-Type": "application/x-www-form-urlencoded"}, b"state=PA&coverage_month=2026-08"),
    untaken(38, "a form of 1,000 parts", {"Content-Type": "multipart/form-data; boundary=a"},
            b'--a\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 1_000 + b"--a--\r\n"),
    got(39, "10,000 parameters", "/v1/states?" + "&".join(f"a{n}=1" for n in range(10_000)), 400, "bad_request"),
    got(39, "41 parameters", "/v1/states?" + "&".join(f"a{n}=1" for n in range(41)), 400, "bad_request"),
    got(39, "a query of 20 kB", f"/v1/states?{'a' * 20_000}", 422, "invalid_input", f"/{'a' * 63}…"),
    lost(39, "an address of 20 kB", f"/v1/{'a' * 20_000}"),
    lost(39, "a state of 20 kB", f"/v1/states/{'a' * 20_000}", "state_not_found"),
    got(40, "a parameter twice", "/v1/posting?state=PA&paid_at=2026-07-02&state=NY", 400, "bad_request"),
    got(40, "the same parameter twice", "/v1/posting?state=PA&state=PA&paid_at=2026-07-02", 400, "bad_request"),
    got(40, "a parameter twice, once escaped", "/v1/posting?state=PA&st%61te=NY&paid_at=2026-07", 400, "bad_request"),
    got(40, "a parameter twice, once empty", "/v1/posting?state=PA&state&paid_at=2026-07-02", 400, "bad_request"),
    got(40, "a parameter that is no UTF-8", "/v1/posting?state=%ff&paid_at=2026-07-02", 400, "bad_request"),
    *(
        Row(40, f"a parameter twice for {path}", Sent(method, f"/v1/{path}?a=1&a=2", body()), 400, "bad_request")
        for path, method in PATHS.items()
    ),
    Row(40, "a field in the body and in the query", Sent(path="/v1/calculate?state=NY", body=body()), 422,
        "invalid_input", ("/state",)),
    wrong(41, "an unknown field", "/garce_days", garce_days=30),
    wrong(41, "an unknown field in a rule", "/rules/grace/dayz", rules={"grace": {"days": 30, "dayz": 31}}),
    wrong(41, "an unknown rule", "/rules/grase", rules={"grase": {"days": 30}}),
    wrong(41, "an unknown field with slashes", "/~0a~1b", **{"~a/b": 1}),
    wrong(41, "the name a field has within", "/from_", from_="2026-08"),
    got(41, "an unknown parameter", "/v1/posting?state=PA&paid_at=2026-07-02&paid=1", 422, "invalid_input", "/paid"),
    got(41, "an unknown parameter with slashes", "/v1/states?~a/b=1", 422, "invalid_input", "/~0a~1b"),
    got(41, "an unknown parameter with controls", "/v1/states?%00%1b%E2%80%AE=1", 422, "invalid_input",
        r"/\x00\x1b\u202e"),
    got(41, "an unknown parameter of no name", "/v1/states?=1", 422, "invalid_input", "/"),
    got(41, "a parameter where none is taken", "/v1/states/PA?explain=true", 422, "invalid_input", "/explain"),
    wrong(42, "fields of somebody in charge", "/role", "/is_admin", "/client_id", "/version", "/created_by",
          role="admin", is_admin=True, client_id="acme", version=1, created_by="me"),
    wrong(42, "a name of Python's", "/__class__", "/__proto__", __class__="x", __proto__={"state": "NY"}),
    *(
        Row(43, f"{count} months", Sent(body=json.dumps({"state": "PA", "from": "2026-08", "months": count}).encode()),
            422, "invalid_input", ("/months",))
        for count in (-1, 0, 121, 1_000, 10**9, 10**30)
    ),
    Row(43, "120 months", Sent(body=b'{"state": "PA", "from": "2026-08", "months": 120}'), 200),
    name(45, "a statement", "name;DROP TABLE client"),
    wrong(45, "a column", "/product", product="password_hash"),
    name(46, "a condition", "' OR 1=1--"),
    name(46, "a wildcard", "%"),
    wrong(46, "an underscore", "/state", "/product", state="_", product="_"),
    got(46, "a wildcard in a query", "/v1/posting?state=%25&paid_at=2026-07-02", 422, "invalid_input", "/state"),
    *(
        lost(46, f"a state called {written}", f"/v1/states/{written}", "state_not_found")
        for written in ("%25", "_", "P_", "'%20OR%201=1--", "PA'--", "*")
    ),
    *(
        lost(47, f"a way out by {written}", f"/v1/states/{written}", code)
        for written, code in (
            ("../../etc/passwd", "not_found"),
            ("%2e%2e%2fetc%2fpasswd", "not_found"),
            ("..", "state_not_found"),
            ("%2e%2e", "state_not_found"),
            ("%00", "state_not_found"),
            ("PA%00", "state_not_found"),
            ("..%5cpasswd", "state_not_found"),
            ("%252e%252e%252f", "state_not_found"),
            ("%ff", "state_not_found"),
            ("%ed%a0%80", "state_not_found"),
        )
    ),
    *(
        lost(47, f"a way out of the docs by {written[:24]}", f"/docs/{written}")
        for written in (
            "../docs.py",
            "%2e%2e/docs.py",
            "..%2fdocs.py",
            "..%5cdocs.py",
            "/etc/passwd",
            "%2fetc%2fpasswd",
            "%00",
            "start.js%00",
            "start.js/",
            "./start.js",
            "x/../start.js",
            "",
            ".",
            "%ff",
            "a" * 5_000,
            "a/" * 2_000,
        )
    ),
    *(
        Row(58, f"{method} of {path}", Sent(method, f"/v1/{path}", body()), 405, "method_not_allowed")
        for path, taken in PATHS.items()
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "PROPFIND", "X" * 1_000)
        if method != taken
    ),
    Row(58, "another method besides", Sent("GET", "/v1/states", headers={"X-HTTP-Method-Override": "DELETE"}), 200),
    Row(58, "another method besides POST", Sent(body=body(), headers={**JSON, "X-HTTP-Method-Override": "GET"}), 200),
    got(58, "another method in the query", "/v1/states?_method=DELETE", 422, "invalid_input", "/_method"),
    *(lost(60, f"a slash at the end of {path}", f"/v1/{path}/", method=taken) for path, taken in PATHS.items()),
    *(lost(60, f"a double slash before {path}", f"/v1//{path}", method=taken) for path, taken in PATHS.items()),
    *(lost(60, f"a double slash in front of {path}", f"//v1/{path}", method=taken) for path, taken in PATHS.items()),
    *(
        lost(60, f"a strange form of {path}", path)
        for path in ("/v1/states;jsessionid=1", "/V1/states", "/v1/STATES", "/v1/states%2f", "/v1/./states",
                     "/x/../v1/states", "/v1/states%20", "/v1%2fstates/", "/v1/states.json", "/livez/", "/docs/", "*",
                     "", "v1/states", "?state=PA")
    ),
    lost(60, "a state in small letters", "/v1/states/pa", "state_not_found"),
    lost(60, "a state with a session", "/v1/states/PA;jsessionid=1", "state_not_found"),
    *(name(78, f"a line's end, {line!r}", f"a{line}Set-Cookie: a=b") for line in LINES),
    *(text(78, f"a line's end in a text, {line!r}", f"a{line}Set-Cookie: a=b") for line in LINES),
    lost(78, "a header in an address", "/v1/states/%0d%0aSet-Cookie:%20a=b", "state_not_found"),
    lost(79, "a quote in an address", "/v1/states/a%22;%20x=%22y", "state_not_found"),
    name(79, "a quote", 'a"; x="y'),
    lost(84, "a line and a colour in an address", "/v1/states/%0a%1b%5b31m%9b%7f%c2%85%e2%80%a8", "state_not_found"),
    Row(84, "a colour in a header", Sent("GET", "/v1/states", headers={"User-Agent": ESCAPE}), 200),
    Row(84, "a colour in a method", Sent(ESCAPE, "/v1/states", headers={}), 405, "method_not_allowed"),
    Row(84, "a number of their own", Sent("GET", "/v1/states", headers={"X-Request-Id": "a" * 99}), 200),
    Row(85, "another host besides", Sent("GET", "/v1/states", headers={
        "X-Forwarded-Host": "evil.example", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https",
        "Forwarded": "host=evil.example"}), 200),
    *(
        Row(87, f"the host {host!r}", Sent("GET", "/v1/states", headers={"Host": host}), 400, "bad_request")
        for host in ("", "a,b", "a b", 'ev/il"<>', "a:b", "a:99999", "évil", "a@b")
    ),
    wrong(89, "121 exceptions", "/exceptions", exceptions=[{"coverage_month": "2026-08"}] * 121),
    wrong(89, "60,000 exceptions", "/exceptions", exceptions=[{}] * 60_000),
    wrong(89, "100,000 months to skip", "/rules/skip_coverage_months", rules={"skip_coverage_months": [0] * 80_000}),
)  # fmt: skip
