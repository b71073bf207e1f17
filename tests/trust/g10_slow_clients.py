"""Who sends half a request, or does not read, keeps nobody else waiting behind the documented front end."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import MappingProxyType

from tests.trust.goals import Goal, Run, require
from tests.trust.loading import Target, get, open_loop, quantile
from tests.trust.serving import NAME, fronted, service

HALF_A_HEAD = f"GET /v1/states HTTP/1.1\r\nHost: {NAME}\r\nX-Slow: ".encode()
HALF_A_BODY = (
    f"POST /v1/calculate HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n{{"
).encode()
UNREAD = f"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
GIVEN_UP = 10
"""Seconds after which the front end gives up on a slow client."""
_bare: list[bool] = []


@contextmanager
def bare() -> Iterator[None]:
    """Ask the application server itself."""
    _bare.append(True)
    try:
        yield
    finally:
        _bare.pop()


async def _slow(target: Target, number: int) -> tuple[StreamReader, StreamWriter]:
    reader, writer = await target.connect(f"127.1.{number // 200}.{1 + number % 200}")
    writer.write((HALF_A_HEAD, HALF_A_BODY, UNREAD)[number % 3])
    await writer.drain()
    return reader, writer


async def _seen(run: Run, target: Target) -> str:
    many, seconds = run.pick(200, 1000), run.pick(3.0, 20.0)
    slow = [await _slow(target, number) for number in range(many)]
    healthy = await open_loop(target, 20, seconds, lambda _: get("/v1/states"))
    broken = sum(each.status != 200 for each in healthy)
    slowest = quantile(0.99, healthy)
    require(not broken, f"with {many} slow clients, {broken} of {len(healthy)} others were not answered")
    require(slowest < run.pick(5.0, 0.5), f"with {many} slow clients, 1 of 100 others waited {slowest:.2f} s or more")
    if run.size == "long":
        async with asyncio.timeout(3 * GIVEN_UP):
            for number, (reader, _) in enumerate(slow):
                if number % 3 != 2:
                    with suppress(ConnectionResetError):  # which is how it gives up
                        await reader.read(-1)
    for _, writer in slow:
        writer.transport.abort()
    return f"p99 {slowest * 1000:.0f} ms of {len(healthy)} requests beside {many} slow clients"


def show(run: Run) -> str:
    """Let many send half a request or read nothing, and ask beside them."""
    with ExitStack() as stack:
        served = stack.enter_context(service(run.folder, EBILL_PROXIES="1"))
        port, tls = (served.port, None) if _bare else stack.enter_context(fronted(run.folder, served.port))
        return asyncio.run(_seen(run, Target(port, tls)))


GOAL = Goal(
    id="G10",
    name="slow clients",
    rule="beside 1,000 clients that send half a request or do not read, all others are answered, p99 below 0.5 s",
    show=show,
    faults=MappingProxyType({"the application server bare": bare}),
)
