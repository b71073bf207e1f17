"""Bare Flask, and ours, called as a server calls them or through a server."""

from __future__ import annotations

import io
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from flask import Flask, Response
from werkzeug.test import EnvironBuilder

from ebill import bookfile, questions, service
from ebill.render.json import encode
from tests.bench.measuring import Action

AT_ONCE = 8
NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
BODY = json.dumps({"state": "PA", "from": "2026-08", "months": 12}).encode()
OTHERS = [
    json.dumps({"state": state, "from": f"{year}-{month:02}", "months": 12}).encode()
    for state in ("PA", "DE", "WV", "NY")
    for year in range(2001, 2091)
    for month in range(1, 13)
]
"""More bodies than answers are kept, so that each is answered anew."""
ROOT = Path(__file__).parents[2]


ANSWER = "BENCH_ANSWER"
"""In the environment: the file with what a bare application on a server gives."""
SERVERS = {
    "granian": "granian --interface {interface} --factory {threads} --no-access-log --log-level error "
    "--host 127.0.0.1 --port {port} {target}",
    "gunicorn gthread": "gunicorn --worker-class gthread --threads 4 --keep-alive 75 --log-level error "
    "--bind 127.0.0.1:{port} {target}()",
    "gunicorn sync": "gunicorn --worker-class sync --log-level error --bind 127.0.0.1:{port} {target}()",
    "waitress": "waitress --threads 4 --host 127.0.0.1 --port {port} --call {target}",
    "uvicorn": "uvicorn --factory --no-access-log --log-level error --host 127.0.0.1 --port {port} {target}",
}
"""The modules by which servers are started, and their options; one process each."""


def bare(answer: bytes) -> Flask:
    """Make a Flask application whose one route gives the same bytes from a constant."""
    app = Flask("bare")

    @app.post("/v1/calculate")
    @app.get("/constant")
    def constant() -> Response:
        return Response(answer, content_type="application/json")

    @app.get("/")
    def empty() -> str:
        return ""

    return app


def bare_app() -> Flask:
    """Make the bare application for a server."""
    file = os.environ.get(ANSWER)
    return bare(Path(file).read_bytes() if file else expected())


def expected() -> bytes:
    """Give the answer to `BODY`."""
    book = bookfile.load(bookfile.path()).book
    return encode(service.calculate(book, questions.calculation(json.loads(BODY)), NOW))


class Sent(NamedTuple):
    """A request to be sent, and the status it is to be answered with."""

    method: str
    path: str
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    status: int = 200

    def over_http(self) -> bytes:
        """Write it as it goes over the wire."""
        given = {"Host": "localhost", **self.headers}
        if self.body:
            given |= {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode() + self.body


def calculations(*bodies: bytes) -> list[Sent]:
    """Ask the calculator for each of some bodies."""
    return [Sent("POST", "/v1/calculate", body=body) for body in bodies]


def wsgi(app: Any, *requests: Sent) -> Action:
    """Make an action that calls an application as a server would, without a socket; the requests come in turn."""
    environs = []
    for sent in requests:
        kind = "application/json" if sent.body else None
        builder = EnvironBuilder(sent.path, method=sent.method, content_type=kind, headers=sent.headers.items())
        environ = builder.get_environ()
        if sent.body:
            environ["CONTENT_LENGTH"] = str(len(sent.body))
        environs.append((environ, sent.body, str(sent.status)))
    turns = itertools.cycle(environs)

    def call() -> None:
        statuses: list[str] = []
        environ, body, status = next(turns)
        fresh = dict(environ, **{"wsgi.input": io.BytesIO(body)})
        answer = app(fresh, lambda status, *_: statuses.append(status))
        b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        if not statuses[0].startswith(status):
            raise RuntimeError(statuses[0])

    return call


@contextmanager
def served(
    target: str, server: str = "granian", environment: Mapping[str, str] | None = None, interface: str = "wsgi"
) -> Iterator[int]:
    """Serve an application on a free loopback port, one process with one thread unless said; ended by its id."""
    port = free_port()
    threads = "--blocking-threads 1" if interface == "wsgi" else ""
    command = SERVERS[server].format(port=port, target=target, interface=interface, threads=threads)
    process = subprocess.Popen(
        [sys.executable, "-m", *command.split()],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()


def free_port() -> int:
    """Find a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def connected(port: int) -> socket.socket:
    """Open a connection that waits for nothing."""
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def requests_over(port: int, count: int, requests: Sequence[Sent]) -> Action:
    """Make an action that sends requests over kept connections, as many under way at once: the server never idles.

    A server that keeps no connection is given a new one for each request.
    """
    turns = itertools.cycle([(sent.over_http(), sent.status) for sent in requests])
    connections: dict[int, socket.socket] = {}
    statuses: dict[int, int] = {}

    def ask(place: int) -> None:
        written, statuses[place] = next(turns)
        if place not in connections:
            connections[place] = connected(port)
        connections[place].sendall(written)

    def send() -> None:
        for place in range(AT_ONCE):
            ask(place)
        for sent in range(AT_ONCE, count + AT_ONCE):
            place = sent % AT_ONCE
            if not receive(connections[place], statuses[place]).is_kept:
                connections.pop(place).close()
            if sent < count:
                ask(place)

    return send


class Received(NamedTuple):
    """An answer's body, and whether the server keeps the connection."""

    body: bytes
    is_kept: bool


def receive(connection: socket.socket, status: int) -> Received:
    """Read one answer, which must have this status."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    top, _, body = received.partition(b"\r\n\r\n")
    if not top.startswith(f"HTTP/1.1 {status}".encode()):
        raise RuntimeError(top.decode())
    head = top.lower()
    is_kept = b"connection: close" not in head
    if status == HTTPStatus.NOT_MODIFIED:
        return Received(b"", is_kept)
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += _some(connection)
    return Received(body, is_kept)


def _some(connection: socket.socket) -> bytes:
    found = connection.recv(65536)
    if not found:
        raise ConnectionError
    return found
