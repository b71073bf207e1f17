"""What goes around every answer, whatever gave it: its number, its headers, and its line in the log."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from ebill import logs
from ebill.store import patience
from ebill.web import metrics

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

HEADERS: Final = (
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", ""),
    ("Cache-Control", "no-store"),
)
"""On every answer whose view has not set its own."""
_NAMES: Final = frozenset(name for name, _ in HEADERS)
SIGNED_HEADERS: Final = (*HEADERS[:-1], ("Cache-Control", "private, no-store"), ("Vary", "Authorization"))
"""On every answer, a refusal too, of a route that asks who is there."""
REQUEST_ID: Final = "ebill.request_id"
SIGNED: Final = "ebill.signed"
"""Set in the environment by a route that asks who is there; to the user's id, once that is known."""
ROUTE: Final = "ebill.route"
"""Set in the environment to the address as it is declared, once that is known: the address itself may hold secrets."""
CODE: Final = "ebill.code"
"""Set in the environment to the code of a refusal."""
UNEXPECTED: Final = "internal_error"
"""The code of what nobody foresaw; an answer that was under way by then has the status that it began with."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
_BUSY: Final = frozenset({429, 503})


class Fence:
    """A WSGI application around another. Header by header in Flask this would cost as much as the calculation."""

    def __init__(self, inner: Application) -> None:
        self.inner = inner
        self._worker, self._count = secrets.token_hex(4), itertools.count(1)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        request_id = environ[REQUEST_ID] = f"{self._worker}{next(self._count):08x}"
        answer = _Answer(environ, request_id)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            own = dict(headers)
            answer.status = int(status[:3])
            if length := own.get("Content-Length"):
                answer.size = int(length)
            elif environ["REQUEST_METHOD"] == "HEAD" or answer.status in (204, 304):
                answer.size = 0
            ours = HEADERS if environ.get(SIGNED) is None else SIGNED_HEADERS
            headers += ours if _NAMES.isdisjoint(own) else [each for each in ours if each[0] not in own]
            headers.append(("X-Request-Id", request_id))
            return start_response(status, headers, exc_info)

        with patience.Bounded():
            try:
                body = self.inner(environ, start)
            except BaseException:
                answer.end()
                raise
        if answer.size is None:
            return _Streamed(body, answer)
        answer.end()
        return body


class _Answer:
    """An answer under way, which is counted and logged when it ends. `size` is None until it is known."""

    __slots__ = ("_began", "_environ", "_is_over", "_request_id", "size", "status")

    def __init__(self, environ: Environ, request_id: str) -> None:
        self._environ, self._request_id, self._began = environ, request_id, time.perf_counter()
        self.status, self._is_over = 500, False
        self.size: int | None = None
        metrics.IN_PROGRESS.inc()

    def breaks(self) -> None:
        """Say that it ends before it should."""
        self._environ[CODE] = UNEXPECTED

    def end(self) -> None:
        """Say that it is over; to say so again is nothing."""
        if self._is_over:
            return
        self._is_over = True
        metrics.IN_PROGRESS.dec()
        environ, status, seconds = self._environ, self.status, time.perf_counter() - self._began
        method = environ["REQUEST_METHOD"]
        method = method if method in _METHODS else "other"
        route, code, user = environ.get(ROUTE) or "none", environ.get(CODE), environ.get(SIGNED)
        metrics.count(method, route, str(status), seconds, code)
        facts: dict[str, Any] = {"request_id": self._request_id, "method": method, "route": route, "status": status,
                 "ms": round(seconds * 1000, 2), "bytes": self.size or 0}  # fmt: skip
        level = "info"
        if code is not None:
            facts["code"] = code
        if user:
            facts["user"] = user
        if facts["ms"] >= logs.SLOW_MS:
            facts["slow"], level = True, "warning"
        if status in _BUSY:
            level = "warning"
        elif status >= 500 or code == UNEXPECTED:
            level = "error"
        logs.write(level, "request", facts)


class _Streamed:
    """A body that is given piece by piece, and counted as it goes."""

    def __init__(self, body: Iterable[bytes], answer: _Answer) -> None:
        self._body, self._answer = body, answer

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        try:
            for block in self._body:
                sent += len(block)
                yield block
        except Exception:
            self._answer.breaks()
            raise
        finally:
            self._answer.size = sent
            self._answer.end()

    def close(self) -> None:
        """Let go of what the body holds."""
        try:
            if close := getattr(self._body, "close", None):
                close()
        finally:
            self._answer.end()
