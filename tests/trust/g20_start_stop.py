"""The service starts quickly, and ends in good order whenever it is told to."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from types import MappingProxyType

from tests.trust.goals import Goal, Run, require
from tests.trust.loading import Seen, Target, get
from tests.trust.serving import Service, fronted, planted, service

IN_FLIGHT = 100
SLOWEST = 10.0
"""Seconds in which a service that is told to end has ended."""
HALF = b"POST /v1/calculate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"


def _unaccepted(port: int) -> int:
    """Tell how many connections to a port of this machine wait to be accepted: what Linux says of who listens there."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return sum(int(line[4].split(":")[1], 16) for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A")


async def _ended_amid(served: Service, target: Target) -> list[Seen]:
    connections = await asyncio.gather(*(target.connect() for _ in range(IN_FLIGHT)))
    for number, (_, writer) in enumerate(connections):
        writer.write(get(f"/v1/states/{('PA', 'NY')[number % 2]}"))
        await writer.drain()
    while _unaccepted(target.port):  # noqa: ASYNC110  # what only the kernel has taken was never given to the service
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    served.tell()
    answers = await asyncio.wait_for(asyncio.gather(*(reader.read(-1) for reader, _ in connections)), 60)
    for _, writer in connections:
        writer.close()
    return [Seen(int(answer[9:12] or 0), 0) for answer in answers]


def _cycle(run: Run, behind: bool) -> tuple[float, float]:  # one of two ways
    with ExitStack() as stack:
        served = stack.enter_context(service(run.folder, EBILL_WAITING="256"))
        port, tls = stack.enter_context(fronted(run.folder, served.port)) if behind else (served.port, None)
        seen = asyncio.run(_ended_amid(served, Target(port, tls)))
        dropped = sum(each.status not in {200, 503} for each in seen)
        require(not dropped, f"{dropped} of {IN_FLIGHT} requests in flight were dropped when it was told to end")
        require(any(each.status == 200 for each in seen), "none of the requests in flight was answered")
        return served.ready, served.ended(SLOWEST)


def _told_while_it_starts(run: Run) -> None:
    served = Service(run.folder)
    try:
        until = time.monotonic() + 60
        while len(served.children()) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        served.tell()
        served.ended(SLOWEST)
    finally:
        served.close()


def _told_twice(run: Run) -> float:
    with service(run.folder) as served, socket.create_connection(("127.0.0.1", served.port), 5) as half:
        half.sendall(HALF)
        time.sleep(0.3)
        served.tell()
        time.sleep(0.5)
        require(served.process.poll() is None, "it ended before what was in hand was answered")
        served.tell()
        return served.ended(SLOWEST / 2)


def show(run: Run) -> str:
    """Start it and end it, again and again."""
    bare, behind = run.pick((2, 1), (160, 40))
    _told_while_it_starts(run)
    twice = _told_twice(run)
    found = []
    for number in range(bare + behind):
        run.say(f"{number} of {bare + behind}")
        found.append(_cycle(run, number >= bare))
    ready, ended = median(each for each, _ in found), max(each for _, each in found)
    require(run.size == "quick" or ready <= 2, f"it was ready after {ready:.1f} s, at the median")
    return (
        f"ready in {ready:.1f} s at the median of {len(found)}; 0 of {IN_FLIGHT * len(found):,} in flight dropped, "
        f"{behind} times behind nginx; ended within {ended:.1f} s of the last answer, told twice within {twice:.1f} s"
    )


GOAL = Goal(
    id="G20",
    name="start and stop",
    rule="ready within 2 s; told to end, it answers what is in flight and ends, while it starts too; twice, at once",
    show=show,
    faults=MappingProxyType({"signals of the parent": lambda: planted("deaf")}),
)
