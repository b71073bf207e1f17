"""The front proxy as it is configured for an operator: what it keeps out, what it hides, and what it passes on."""

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from ebill.web import fence
from ebill.web.reading import LARGEST
from tests.hostile import body
from tests.trust.serving import NAME, fronted, service

pytestmark = pytest.mark.anywhere

TOKEN: Final = "a-token-for-what-is-measured-here"  # noqa: S105  # of a service that ends with these tests
PASSED_ON: Final = 256 * 1024
"""Bytes of a body that the front still passes on."""


class Front(NamedTuple):
    """The proxy: its port, what trusts its certificate, and the folder of its logs."""

    port: int
    trusted: ssl.SSLContext
    folder: Path

    @property
    def plain(self) -> int:
        """The port that speaks HTTP without TLS."""
        return int(re.findall(r"listen 127\.0\.0\.1:(\d+);", (self.folder / "nginx.conf").read_text())[0])

    def lines(self) -> list[dict[str, str]]:
        """Give the access log."""
        return [json.loads(line) for line in (self.folder / "ebill.log").read_text().splitlines()]


class Got(NamedTuple):
    """An answer: its status, its headers by name in lower case, as often as they came, and its body."""

    status: int
    headers: dict[str, list[str]]
    body: bytes


def sent(front: Front, request: bytes, *, tls: bool = True) -> Got:
    """Send a request as it stands, and read until the front closes."""
    with socket.create_connection(("127.0.0.1", front.port if tls else front.plain), 20) as bare:
        wire = front.trusted.wrap_socket(bare, server_hostname=NAME) if tls else bare
        with wire:
            with suppress(ConnectionError):  # it may answer, and close, before it has read all
                wire.sendall(request)
            answer = b""
            with suppress(ConnectionError, ssl.SSLEOFError):
                while block := wire.recv(65_536):
                    answer += block
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers.setdefault(name.lower(), []).append(value)
    return Got(int(first.split()[1]), headers, rest)


def head(method: str = "GET", path: str = "/v1/states", *lines: str, host: str = NAME) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *lines, "", ""]).encode()


def post(source: bytes, *lines: str) -> bytes:
    length = () if any("chunked" in line for line in lines) else (f"Content-Length: {len(source)}",)
    return head("POST", "/v1/calculate", "Content-Type: application/json", *length, *lines) + source


def chunked(source: bytes) -> bytes:
    parts = [source[at : at + 8_000] for at in range(0, len(source), 8_000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


CHUNKED: Final = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The proxy before the service."""
    folder = tmp_path_factory.mktemp("front")
    settings = {"EBILL_PROXIES": "1", "EBILL_TRUSTED_HOSTS": NAME, "EBILL_METRICS_TOKEN": TOKEN}
    settings |= {"EBILL_PUBLIC_URL": f"https://{NAME}", "EBILL_ADDRESS_RATE": "100000"}
    with service(folder, **settings) as served, fronted(folder, served.port) as (port, trusted):
        yield Front(port, trusted, folder)


class Behind(NamedTuple):
    """The proxy before somebody who writes down what comes."""

    front: Front
    came: list[tuple[str, dict[str, list[str]], int]]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """The proxy before somebody who writes down what comes: the request line, its headers, and how long its body is."""
    came: list[tuple[str, dict[str, list[str]], int]] = []

    class Recorder(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): self.headers.get_all(name) or [] for name in self.headers}
            came.append((self.requestline, headers, len(self.rfile.read(length))))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_POST = do_TRACE = do_GET  # noqa: N815  # as the library has it

        def log_message(self, *_: Any) -> None:
            pass

    folder = tmp_path_factory.mktemp("behind")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with fronted(folder, server.server_port) as (port, trusted):
        yield Behind(Front(port, trusted, folder), came)
    server.shutdown()
    server.server_close()


# What is kept out


REFUSED: Final = {
    "a byte too many": (post(b" " * (PASSED_ON + 1)), 413),
    "a length that nobody sends": (head("POST", "/v1/calculate", f"Content-Length: {10_000_000_000}"), 413),
    "a byte too many in chunks": (post(chunked(b" " * (PASSED_ON + 1)), CHUNKED), 413),
    "a header of 100 kB": (head("GET", "/v1/states", "X-Long: " + "a" * 100_000), 400),
    "100 kB of headers": (head("GET", "/v1/states", *(f"X-{n}: {'a' * 1_000}" for n in range(100))), 400),
    "an address of 20 kB": (head("GET", "/v1/states?a=" + "a" * 20_000), 414),
    "TRACE": (head("TRACE"), 405),
    "CONNECT": (head("CONNECT", f"{NAME}:443"), 400),
    "chunks, and a length": (post(chunked(body()), CHUNKED, "Content-Length: 5"), 400),
    "a length, and chunks": (post(chunked(body()), "Content-Length: 5", CHUNKED), 400),
    "chunks twice": (post(chunked(body()), CHUNKED, CHUNKED), 400),
    "chunks as they are": (post(chunked(body()), "Transfer-Encoding: chunked, identity"), 501),
    "an unknown transfer": (post(chunked(body()), "Transfer-Encoding: xchunked"), 501),
    "a blank before the colon": (post(chunked(body()), "Transfer-Encoding : chunked"), 400),
    "two lengths": (post(body(), "Content-Length: 5"), 400),
    "a chunk of no size": (post(b"zz\r\n" + body(), CHUNKED), 400),
    "two hosts": (head("GET", "/v1/states", "Host: other.example"), 400),
    "no host": (b"GET /v1/states HTTP/1.1\r\n\r\n", 400),
    "what is measured": (head("GET", "/metrics", f"Authorization: Bearer {TOKEN}"), 404),
    "the same, spelled otherwise": (head("GET", "/%6detrics", f"Authorization: Bearer {TOKEN}"), 404),
    "the same, with two slashes": (head("GET", "//metrics", f"Authorization: Bearer {TOKEN}"), 404),
    "the same, by way of another": (head("GET", "/v1/../metrics?a", f"Authorization: Bearer {TOKEN}"), 404),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_at_the_front_never_comes_to_the_service(behind: Behind, what: str) -> None:
    request_, status = REFUSED[what]
    behind.came.clear()
    assert sent(behind.front, request_).status == status
    assert behind.came == []


def test_a_body_that_is_as_long_as_may_be_comes_through_whole(behind: Behind, front: Front) -> None:
    for request_ in (post(b" " * PASSED_ON), post(chunked(b" " * PASSED_ON), CHUNKED)):
        behind.came.clear()
        assert sent(behind.front, request_).status == 200
        assert [(length, headers["content-length"]) for _, headers, length in behind.came] == [
            (PASSED_ON, [str(PASSED_ON)])
        ], "what came in chunks is passed on as one"
    assert sent(front, post(body().ljust(LARGEST))).status == 200
    assert sent(front, post(chunked(body().ljust(LARGEST)), CHUNKED)).status == 200


def test_what_is_too_large_is_refused_as_the_service_would(front: Front) -> None:
    for size in (LARGEST + 1, PASSED_ON + 1):
        got = sent(front, post(body().ljust(size)))
        problem = json.loads(got.body)
        assert (got.status, problem["status"], problem["code"]) == (413, 413, "body_too_large")
        assert got.headers["content-type"] == ["application/problem+json"]


@pytest.mark.parametrize("path", ["/v1/imports/clients", "/import", "/import/trial"])
def test_files_of_clients_are_passed_on_and_pages_of_them_too(behind: Behind, path: str) -> None:
    many = PASSED_ON + 100_000
    behind.came.clear()
    assert sent(behind.front, head("POST", path, f"Content-Length: {many}") + b"a" * many).status == 200
    assert [length for _, _, length in behind.came] == [many]


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1", f"{NAME}.other.example", ""])
def test_a_host_that_is_not_ours_is_not_answered(front: Front, host: str) -> None:
    assert sent(front, head("GET", "/v1/states", host=host)).status == 400


# What is passed on


def test_nobody_passes_for_another_address_or_another_proxy(behind: Behind) -> None:
    behind.came.clear()
    spoofed = (
        "X-Forwarded-For: 198.51.100.9", "X-Forwarded-For: 198.51.100.10", "X-Forwarded-Proto: http",
        "X-Forwarded-Host: other.example", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /other",
        "Forwarded: for=198.51.100.9;host=other.example;proto=http", "X-Request-Id: mine",
    )  # fmt: skip
    assert sent(behind.front, head("GET", "/v1/states?a=%41", *spoofed)).status == 200
    [(line, headers, _)] = behind.came
    assert line == "GET /v1/states?a=%41 HTTP/1.1", "as it came"
    assert headers["host"] == [NAME]
    assert headers["x-forwarded-for"] == ["127.0.0.1"]
    assert headers["x-forwarded-proto"] == ["https"]
    gone = {"x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "forwarded", "connection"}
    assert not gone & headers.keys()
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"][0])


@pytest.mark.parametrize("path", ["/v1/states", "/v1/nothing", "/v1/audit", "/sign-in", "/docs", "/livez"])
def test_the_headers_of_the_service_come_through_once_and_no_others(front: Front, path: str) -> None:
    got = sent(front, head("GET", path))
    for name, _ in fence.HEADERS:
        assert len(got.headers[name.lower()]) == 1, name
    assert len(got.headers["x-request-id"]) == 1
    assert got.headers["server"] == ["nginx"], "without its version"
    assert got.headers["strict-transport-security"] == [dict(fence.HEADERS)["Strict-Transport-Security"]]


# What is written down


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/feeds/ebf_0123456789abcdefXYZ.ics", "/v1/feeds/..."),
        ("/v1/feeds/0123456789abcdefXYZ?a", "/v1/feeds/..."),
        ("/v1/%66eeds/%65bf_0123456789abcdefXYZ.ics", "/v1/feeds/..."),
        ("//v1/./feeds/ebf_0123456789abcdefXYZ.ics", "/v1/feeds/..."),
        ("/V1/FEEDS/EBF_0123456789abcdefXYZ", "/v1/feeds/..."),
        ("/v1/feeds;0123456789abcdefXYZ", "/v1/feeds/..."),
        ("/v1/feeds%5C0123456789abcdefXYZ", "/v1/feeds/..."),
        ("/webcal:host/v1/feeds/0123456789abcdefXYZ", "/v1/feeds/..."),
        ("/docs/%65bp_0123456789abcdefXYZ", "..."),
        ("/v1/states?token=0123456789abcdefXYZ", "/v1/states"),
    ],
)
def test_no_secret_of_an_address_is_in_the_log(front: Front, path: str, shown: str) -> None:
    sent(front, head("GET", path, "Referer: https://a.example/0123456789abcdefXYZ"))
    assert front.lines()[-1]["path"] == shown
    written = "".join(each.read_text() for each in front.folder.glob("*.log"))
    assert "0123456789abcdefXYZ" not in written


def test_nor_where_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with fronted(tmp_path, nobody.getsockname()[1]) as (port, trusted):
            front = Front(port, trusted, tmp_path)
            got = sent(front, head("GET", "/v1/feeds/ebf_0123456789abcdefXYZ.ics"))
            too_large = sent(front, head("POST", "/v1/feeds/0123456789abcdefXYZ?b", "Content-Length: 9000000"))
    assert (got.status, json.loads(got.body)["code"], got.headers["retry-after"]) == (503, "overloaded", ["1"])
    assert too_large.status == 413
    written = "".join(each.read_text() for each in tmp_path.glob("*.log"))
    assert written.count("/v1/feeds/...") == 2
    assert "0123456789abcdefXYZ" not in written


# TLS


def test_without_tls_one_is_sent_to_where_there_is(behind: Behind) -> None:
    behind.came.clear()
    got = sent(behind.front, head("POST", "/v1/calculate?a=1", host="other.example"), tls=False)
    assert (got.status, got.headers["location"]) == (308, [f"https://{NAME}/v1/calculate?a=1"])
    found = sent(behind.front, head("GET", "/.well-known/acme-challenge/none"), tls=False)
    assert found.status == 404, "whoever makes the certificate is sent nowhere"
    assert behind.came == []


def older(at: ssl.SSLContext) -> None:
    at.set_ciphers("DEFAULT:@SECLEVEL=0")
    at.minimum_version, at.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1


def version_2(at: ssl.SSLContext) -> None:
    at.maximum_version = ssl.TLSVersion.TLSv1_2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(("choose", "version"), [(version_2, "TLSv1.2"), (lambda _: None, "TLSv1.3"), (older, "")])
def test_tls_is_spoken_from_version_1_2_on(
    behind: Behind, choose: Callable[[ssl.SSLContext], None], version: str
) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    choose(context)
    with socket.create_connection(("127.0.0.1", behind.front.port), 20) as bare:
        if version:
            with context.wrap_socket(bare, server_hostname=NAME) as wire:
                assert wire.version() == version
        else:
            with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|protocol version"):
                context.wrap_socket(bare, server_hostname=NAME)
