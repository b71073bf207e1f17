"""`ebill serve`: the service on this machine, on an embedded server."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from multiprocessing import Process
from typing import Any, Final, NamedTuple

import click

from ebill import bookfile, demo, logs, sending, settings, starting
from ebill.errors import Refusal
from ebill.rulebook import RuleBook
from ebill.store import engine
from ebill.store.engine import Store

SPOKEN = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # replaced here, not listened on
"""Where a service that listens on every address of a machine is reached from it."""
SAMPLE_CLIENTS = 200
TRY = {
    demo.PRODUCER: f"/v1/clients/{demo.FIRST_CLIENT}/schedule?months=3",
    demo.MANAGER: "/v1/clients?limit=5",
    demo.ADMIN: "/v1/audit?limit=5",
}
EXAMPLE = {"state": "PA", "coverage_month": "2026-08"}
LARGEST_HEAD = 16_384
"""Bytes of a request before its body; 431 beyond. HTTP/2 is not spoken here: its bound would be another, 16 MB."""


SPARE: Final = 8
"""Threads besides those of requests in hand: they tell the others that there are too many, and answer for health."""
BACKLOG: Final = 2048
"""Connections that a process takes in, and that wait to be."""
LONGEST_END: Final = 20
"""Seconds after which a process that was told to end is ended, whoever it still waits for."""


class AddressTaken(Refusal):
    """Nothing can be served at this address."""

    code = "address_taken"

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(f"Nothing can be served at {host}:{port}: {why}. Choose another with --port.")


@click.command(short_help="the service on this machine")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="How many processes.")
@click.option("--threads", type=click.IntRange(1, 64), help="How many requests each runs at once, as EBILL_RUNNING.")
@click.option(
    "--demo",
    "with_demo",
    is_flag=True,
    help="Put a sample book into an empty store, and print passwords and tokens for it.",
)
def serve(host: str, port: int, workers: int, threads: int | None, *, with_demo: bool) -> None:
    """Serve the API and its docs page until interrupted. A rule book that is refused is not served."""
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    from ebill.cli.ending import Ending

    starting.refuse_unsafe(os.environ)
    if threads is not None:
        os.environ["EBILL_RUNNING"] = str(threads)
    limits = settings.limits()
    settings.proxies()
    settings.public_url()
    settings.metrics_token()
    logs.form()
    settings.oidc()
    sending.networks()
    file = bookfile.path()
    book = bookfile.load(file).book
    _refuse_taken(host, port)
    samples = _make_ready(book, with_demo=with_demo)
    server = Ending(
        "ebill.web:create_app",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=limits.at_once + SPARE,
        backlog=BACKLOG,
        backpressure=BACKLOG,
        workers_kill_timeout=LONGEST_END,
        log_level=LogLevels.error,  # it would warn of more threads than cores, most of which wait
        log_dictconfig=logs.SERVER_LOGGING,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=LARGEST_HEAD),
    )
    host = SPOKEN.get(host, host)
    welcome = _welcome(f"http://{f'[{host}]' if ':' in host else host}:{port}", f"{file}, {book.version}", samples)
    # A process, not a thread: the server forks its workers, and a lock held just then would stay held in them.
    server.on_startup(Process(target=_say_when_ready, args=(host, port, welcome), daemon=True).start)
    facts: dict[str, Any] = {
        "address": f"{host}:{port}",
        "workers": workers,
        "running": limits.running,
        "rulebook": book.version,
    }
    server.on_startup(lambda: logs.log("started", **facts))
    server.on_shutdown(lambda: logs.log("stopped"))
    with _counting_together(workers):
        server.serve()


@contextmanager
def _counting_together(workers: int) -> Iterator[None]:
    """Give processes that serve together a place to add up what they count."""
    if workers == 1:
        os.environ.pop(settings.COUNTS, None)
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ebill-counts-") as folder:
        os.environ[settings.COUNTS] = folder
        yield


class Sample(NamedTuple):
    """What a sample user signs in with, on the pages and in the API."""

    user_id: str
    password: str
    token: str


def _make_ready(book: RuleBook, *, with_demo: bool) -> list[Sample]:
    """Make an empty store ready, before any worker could; give what the sample users need, where there are any."""
    store = Store(engine.url())
    try:
        store.make_ready()
        if not with_demo:
            return []
        now = datetime.now(UTC)
        if demo.is_untouched(store):
            demo.fill(store, book, SAMPLE_CLIENTS, now)
        if not demo.is_here(store):
            return []
        tokens, passwords = demo.fresh_tokens(store, now), demo.fresh_passwords(store, now)
        return [Sample(user_id, passwords[user_id], token) for user_id, token in tokens.items()]
    finally:
        store.close()


def _say_when_ready(host: str, port: int, welcome: str) -> None:
    """Say how to reach the service as soon as somebody could."""
    for _ in range(1200):
        connection = HTTPConnection(host, port, timeout=60)  # whoever connects before a worker is ready waits for it
        try:
            connection.request("GET", "/livez")
            connection.getresponse().read()
        except (OSError, HTTPException):
            time.sleep(0.05)
        else:
            click.echo(welcome)
            return
        finally:
            connection.close()


def _welcome(address: str, book: str, samples: Sequence[Sample]) -> str:
    lines = [
        f"eBill serves at {address}, from {book}",
        "",
        f"  calculator   {address}/",
        f"  docs page    {address}/docs",
        f"  try it       curl {address}/v1/calculate -H 'Content-Type: application/json' -d '{json.dumps(EXAMPLE)}'",
        "",
    ]
    for name, value in starting.in_force(os.environ):
        lines.append(f"  {name} = {value}")
    for user_id, password, token in samples:
        lines += [
            "",
            f"  sign in at {address}/sign-in as {user_id} with the password {password}",
            f"    curl '{address}{TRY[user_id]}' -H 'Authorization: Bearer {token}'",
        ]
    return "\n".join([*lines, "", "Ctrl-C ends it."])


def _refuse_taken(host: str, port: int) -> None:
    """Raise AddressTaken where the server could not listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressTaken(host, port, (error.strerror or "it cannot be used").lower()) from None
