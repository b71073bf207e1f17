"""A wire before PostgreSQL that is slow, passes nothing on, or breaks, as it is told: TCP here, its socket there."""

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

Way = Literal["open", "slow", "stalled", "cut", "half an answer", "cut after commit", "cut before commit"]
LATENCY: Final = 1.0
"""Seconds by which an answer is late where the wire is slow."""
_CHUNK: Final = 65_536
_TURN: Final = re.compile(rb"(_pg3_\d+)\x00SELECT pg_advisory_xact_lock")
_NOW: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: whoever is at the other end is told at once, by a reset."""


class Writing:
    """Whether the transaction on a connection is one that writes: it waits for its turn, by a statement of ours.

    A statement that was sent often has a name, and comes by that alone.
    """

    def __init__(self) -> None:
        self._names: set[bytes] = set()
        self._writes = False

    def commits(self, data: bytes) -> bool:
        """Tell whether what is sent commits a write."""
        self._names.update(_TURN.findall(data))
        if b"pg_advisory_xact_lock" in data or any(name + b"\0" in data for name in self._names):
            self._writes = True
        commits = self._writes and b"COMMIT" in data
        if b"COMMIT" in data or b"ROLLBACK" in data:
            self._writes = False
        return commits


class Wire:
    """The wire; `way` is how it is at the moment, `address` the URL of the store behind it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = str(Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432")
        self._path = parts.path
        self._way: Way = "open"
        self._mute: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._passes = asyncio.Event()
        self._passes.set()
        self._loop = asyncio.new_event_loop()
        self._both: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.address = f"postgresql://ebill@127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._path}"

    def be(self, way: Way) -> None:
        """Change how the wire is; to be cut breaks every connection there is, and each new one."""
        self._way = way
        self._loop.call_soon_threadsafe(self._passes.clear if way == "stalled" else self._passes.set)
        if way == "cut":
            asyncio.run_coroutine_threadsafe(self._cut_all(), self._loop).result(10)

    def close(self) -> None:
        """Break every connection, and listen no more."""
        self.be("cut")
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        self._passes.set()
        await self._cut_all()
        for _ in range(500):  # each connection takes itself out
            if not self._both:
                break
            await asyncio.sleep(0.01)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._way == "cut":
            _break(writer)
            return
        behind, to_behind = await asyncio.open_unix_connection(self._to)
        both = writer, to_behind
        self._both.add(both)
        with contextlib.suppress(OSError):
            await asyncio.wait(
                [
                    asyncio.ensure_future(self._pass_on(reader, to_behind, both, asks=True)),
                    asyncio.ensure_future(self._pass_on(behind, writer, both, asks=False)),
                ]
            )
        self._both.discard(both)
        self._mute.discard(both)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        asks: bool,
    ) -> None:
        writing = Writing()
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                commits = asks and writing.commits(data)
                await self._passes.wait()
                if commits and self._way in {"cut after commit", "cut before commit"}:
                    if self._way == "cut after commit":
                        self._mute.add(both)
                        writer.write(data)
                        await asyncio.sleep(0.1)  # it is kept before the other end is told that nobody knows
                    break
                if not asks and both in self._mute:
                    continue
                if not asks and self._way == "slow":
                    await asyncio.sleep(LATENCY)
                if not asks and self._way == "half an answer":
                    writer.write(data[: len(data) // 2])
                    await asyncio.sleep(0.01)
                    break
                writer.write(data)
                await writer.drain()
            else:
                writer.close()
                return
        for each in both:
            _break(each)

    async def _cut_all(self) -> None:
        for both in list(self._both):
            for each in both:
                _break(each)


def _break(writer: asyncio.StreamWriter) -> None:
    end: socket.socket | None = writer.get_extra_info("socket")
    if end is not None and end.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW)
    writer.transport.abort()


@contextmanager
def wire(url: str) -> Iterator[Wire]:
    """Put a wire before a store, and take it away again."""
    made = Wire(url)
    try:
        yield made
    finally:
        made.close()
