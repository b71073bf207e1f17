"""However much is asked, good or bad, the service grows no larger."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tests.trust.goals import Goal, Run, require
from tests.trust.serving import planted, service

LIMIT = 1.1
SLACK = 4
"""File descriptors and threads by which it may differ from one moment to another."""


class Size(NamedTuple):
    """How large a process is: its kilobytes, file descriptors and threads."""

    memory: int
    files: int
    threads: int


def size(pid: int) -> Size:
    """Measure a process."""
    said = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Size(int(said.get("VmRSS", "0").split()[0]), len([*Path(f"/proc/{pid}/fd").iterdir()]), int(said["Threads"]))


def _good(number: int) -> bytes:
    return json.dumps(
        {"state": ("PA", "DE", "WV", "NY")[number % 4], "coverage_month": f"20{20 + number % 20}-{1 + number % 12:02d}"}
    ).encode()


def _asked(connection: HTTPConnection, port: int, number: int) -> None:
    method, path, body = (
        ("POST", "/v1/calculate", _good(number)),
        ("POST", "/v1/calculate", b'{"state":'),
        ("GET", f"/v1/states/X{number}", None),
        ("GET", f"/calculator?state=PA&from=2026-{1 + number % 12:02d}&months=3", None),
        ("GET", "/v1/clients", None),
        ("DELETE", "/v1/states", None),
        ("GET", "/v1/states", None),
        ("POST", "/v1/calculate/batch", b'[{"state": "PA", "coverage_month": "2026-08"}, {"state": "TX"}]'),
    )[number % 8]
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    answer.read()
    require(answer.status < 500, f"{method} {path} was answered by {answer.status}")
    if number % 50 == 0:
        with socket.create_connection(("127.0.0.1", port), 5) as gone:
            gone.sendall(b"POST /v1/calculate HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")


def show(run: Run) -> str:
    """Measure it after a warm-up, and after many more requests."""
    many, warm = run.pick((1_200, 500), (50_000, 5_000))
    with service(run.folder) as served:
        (worker,) = [pid for pid in served.children() if size(pid).threads > 1]
        connection, before = HTTPConnection("127.0.0.1", served.port, timeout=30), Size(0, 0, 0)
        for number in range(many + warm):
            if number == warm:
                before = size(worker)
            if number % 1000 == 0:
                run.say(f"{number:,} of {many + warm:,}")
            _asked(connection, served.port, number)
        after = size(worker)
        connection.close()
    require(after.files <= before.files + SLACK, f"after {many:,} requests: {after}, before: {before}")
    require(after.threads <= before.threads + SLACK, f"after {many:,} requests: {after}, before: {before}")
    require(after.memory <= before.memory * LIMIT, f"after {many:,} requests: {after}, before: {before}")
    grown = after.memory / before.memory - 1
    return (
        f"after {many:,} requests {after.memory / 1024:.0f} MB ({grown:+.1%}), {after.files} files "
        f"({after.files - before.files:+d}), {after.threads} threads ({after.threads - before.threads:+d})"
    )


GOAL = Goal(
    id="G11",
    name="leaks",
    rule="after 50,000 requests, good and bad, memory has grown by less than 10 %, and files and threads not at all",
    show=show,
    faults=MappingProxyType({"a connection that is not closed": lambda: planted("unclosed")}),
    short="50,000 requests and not a million: one after another, those would take more than an hour.",
)
