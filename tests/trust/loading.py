"""Requests that come when they come, whether those before were answered or not: an open loop, as a crowd is one."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.trust.serving import NAME

PATIENCE: Final = 20.0
"""Seconds after which an answer is given up."""


@dataclass(frozen=True)
class Seen:
    """What a request got, and the seconds since it was sent: its status, or 0 where the connection broke.

    `late` are the seconds by which it was sent too late: whoever asks runs on the processors of whoever answers.
    """

    status: int
    seconds: float
    again: bool = False
    late: float = 0.0


@dataclass(frozen=True)
class Target:
    """Where requests go, over TLS where there is a context."""

    port: int
    tls: ssl.SSLContext | None = None

    async def connect(self, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection from an address of this machine."""
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.tls, server_hostname=NAME if self.tls else None, local_addr=(address, 0)
        )

    async def ask(self, request: bytes, due: float) -> Seen:
        """Send a request over a connection of its own, and read its answer to the end."""
        sent = time.monotonic()
        late = sent - due
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await self.connect()
                try:
                    writer.write(request)
                    answer = await reader.read(-1)
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return Seen(0, time.monotonic() - sent, late=late)
        head = answer[: answer.find(b"\r\n\r\n")].lower()
        status = int(head[9:12]) if head.startswith(b"http/1.1 ") else 0
        return Seen(status, time.monotonic() - sent, b"\nretry-after:" in head, late)


def get(path: str) -> bytes:
    """Write a request."""
    return f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode()


async def open_loop(target: Target, rate: float, seconds: float, request: Callable[[int], bytes]) -> list[Seen]:
    """Send requests at a steady rate."""
    began, asked = time.monotonic(), list[Awaitable[Seen]]()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(early)
        asked.append(asyncio.create_task(target.ask(request(number), due)))
    return list(await asyncio.gather(*asked))


async def closed_loop(target: Target, callers: int, seconds: float, request: Callable[[int], bytes]) -> float:
    """Let some callers ask one after another; give how many answers came a second."""
    end, count = time.monotonic() + seconds, 0

    async def call() -> None:
        nonlocal count
        while time.monotonic() < end:
            seen = await target.ask(request(count), time.monotonic())
            count += seen.status == 200

    began = time.monotonic()
    await asyncio.gather(*(call() for _ in range(callers)))
    return count / (time.monotonic() - began)


def quantile(share: float, seen: Sequence[Seen]) -> float:
    """Give the seconds within which so great a share was answered; 0 of none."""
    found = sorted(each.seconds for each in seen)
    return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0
