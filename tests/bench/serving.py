"""Bare Flask, and ours, called as a server calls them or through a server."""

from __future__ import annotations

import io
import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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


def bare(answer: bytes) -> Flask:
    """Make a Flask application whose one route gives the same bytes from a constant."""
    app = Flask("bare")

    @app.post("/v1/calculate")
    def constant() -> Response:
        return Response(answer, content_type="application/json")

    @app.get("/")
    def empty() -> str:
        return ""

    return app


def bare_app() -> Flask:
    """Make the bare application for a server."""
    return bare(expected())


def expected() -> bytes:
    """Give the answer to `BODY`."""
    book = bookfile.load(bookfile.path()).book
    return encode(service.calculate(book, questions.calculation(json.loads(BODY)), NOW))


def wsgi(app: Any, method: str, path: str, *bodies: bytes, headers: dict[str, str] | None = None) -> Action:
    """Make an action that calls an application as a server would, without a socket; the bodies come in turn."""
    environs = []
    for body in bodies or (b"",):
        builder = EnvironBuilder(
            path, method=method, data=body, content_type="application/json", headers=(headers or {}).items()
        )
        environs.append((builder.get_environ(), body))
    turns = itertools.cycle(environs)

    def call() -> None:
        statuses: list[str] = []
        environ, body = next(turns)
        fresh = dict(environ, **{"wsgi.input": io.BytesIO(body)})
        answer = app(fresh, lambda status, *_: statuses.append(status))
        b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        if not statuses[0].startswith("200"):
            raise RuntimeError(statuses[0])

    return call


@contextmanager
def served(target: str) -> Iterator[int]:
    """Serve an application on a free loopback port; ended by its id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--factory", "--blocking-threads", "1"]
    server = subprocess.Popen(
        [*command, "--no-access-log", "--log-level", "error", "--host", "127.0.0.1", "--port", str(port), target],
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def requests_over(port: int, count: int, bodies: Sequence[bytes] = (BODY,)) -> Action:
    """Make an action that sends requests over kept connections, as many under way at once: the server never idles."""
    head = f"POST /v1/calculate HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    requests = itertools.cycle([f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies])
    connections = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(AT_ONCE)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send() -> None:
        for connection in connections:
            connection.sendall(next(requests))
        for sent in range(AT_ONCE, count + AT_ONCE):
            connection = connections[sent % AT_ONCE]
            receive(connection)
            if sent < count:
                connection.sendall(next(requests))

    return send


def receive(connection: socket.socket) -> None:
    """Read one answer, which must be a good one."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    top, _, body = received.partition(b"\r\n\r\n")
    if not top.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(top.decode())
    length = int(top.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
