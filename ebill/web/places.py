"""How many requests a process answers at once: so many run, some wait their turn, and the rest are told so at once.

A server that takes all that comes answers nobody in time. A request holds its place until its answer is whole; one
that is sent piece by piece, for as long as its reader takes, holds one of a few places apart, so that slow readers
never keep the others out. Health is always answered.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from ebill import errors
from ebill.web import metrics, problems
from ebill.web.fence import CODE, REQUEST_ID, Application, Environ
from ebill.web.streamed import Streamed, close

LONGEST_WAIT: Final = 0.5
"""Seconds that a request waits for its turn."""
AGAIN: Final = 1
"""Seconds after which whoever was turned away may try again."""
EXEMPT: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""Always answered, and never counted."""
WHOLE: Final = 1_000_000
"""Bytes of an answer of known length that is put together here; a longer one is sent piece by piece."""
_NO_BODY: Final = frozenset({"204", "304"})
_PAGE: Final = (
    b'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Busy</title></head>\n'
    b"<body><h1>Busy just now</h1><p>%s</p></body></html>\n"
)


class Places:
    """Places to run, and to wait for one, first come, first served."""

    def __init__(self, running: int, waiting: int) -> None:
        self._free, self._most_waiting = running, waiting
        self._waiting: deque[threading.Lock] = deque()
        self._turn = threading.Lock()

    def enter(self) -> bool:
        """Take a place, after a wait where there is none; tell whether there was one in time."""
        with self._turn:
            if self._free:
                self._free -= 1
                return True
            if len(self._waiting) >= self._most_waiting:
                return False
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        if mine.acquire(timeout=LONGEST_WAIT):
            return True
        with self._turn:
            if mine in self._waiting:
                self._waiting.remove(mine)
                return False
            return True  # it was given just now

    def leave(self) -> None:
        """Give a place back, to whoever has waited longest."""
        with self._turn:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class InTurn:
    """A WSGI application around another, which is never asked more at once than it can answer in time."""

    def __init__(self, inner: Application, running: int, waiting: int, streaming: int) -> None:
        self.inner = inner
        self.running, self.streaming = Places(running, waiting), Places(streaming, 0)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request, or say that there are too many."""
        if environ.get("PATH_INFO") in EXEMPT:
            return self.inner(environ, start_response)
        if not self.running.enter():
            return _turned_away(environ, start_response)
        try:
            return self._answered(environ, start_response)
        finally:
            self.running.leave()

    def _answered(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        begun: list[Any] = []
        found = self.inner(environ, lambda *told: begun.append(told))
        if isinstance(found, list):
            start_response(*begun[-1])
            return found
        length = _length(environ, *begun[-1]) if begun else None
        if length is not None and length <= WHOLE:
            try:
                pieces = [*found]
            finally:
                close(found)
            start_response(*begun[-1])
            return pieces
        if not self.streaming.enter():
            close(found)
            return _turned_away(environ, start_response)
        if begun:
            start_response(*begun[-1])
        return Streamed(found, self.streaming.leave)


def _length(environ: Environ, status: str, headers: list[tuple[str, str]], *_: Any) -> int | None:
    if environ["REQUEST_METHOD"] == "HEAD" or status[:3] in _NO_BODY:
        return 0
    found = next((value for name, value in headers if name.lower() == "content-length"), None)
    return None if found is None else int(found)


def _turned_away(environ: Environ, start_response: Any) -> list[bytes]:
    metrics.SHED.inc()
    refusal = errors.Overloaded()
    environ[CODE] = refusal.code
    headers = [("Retry-After", str(AGAIN))]
    if "text/html" in environ.get("HTTP_ACCEPT", ""):
        body = _PAGE % str(refusal).encode()
        headers.append(("Content-Type", "text/html; charset=utf-8"))
    else:
        body = problems.written(503, refusal.code, str(refusal), environ.get(REQUEST_ID, ""))
        headers.append(("Content-Type", "application/problem+json"))
    start_response("503 SERVICE UNAVAILABLE", [*headers, ("Content-Length", str(len(body)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]
