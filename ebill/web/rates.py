"""How often the API may be asked: each token, and each address that has shown none, so many times a minute.

A token counts for itself once it has been let in; until then, and whenever it is not, the address that sent it is
counted, so that nobody gets more by making tokens up. This machine's own address, or none, is not counted: it is
whoever runs the service, or a proxy nobody has told of, behind which all would be one. It is counted by each process
for itself.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable
from math import ceil
from typing import Any, Final

from ebill import errors
from ebill.web import problems
from ebill.web.fence import CODE, REQUEST_ID, Application, Environ

WINDOW: Final = 60
"""Seconds."""
MOST: Final = 20_000
"""Tokens and addresses that are remembered, beyond which the oldest half is let go."""
UNDER: Final = "/v1/"
_HERE: Final = ("127.", "::1")
_NOBODY: Final = 401


class Rates:
    """A WSGI application around another one, whose API is asked no more often than it may be. 0 is without a limit."""

    def __init__(self, inner: Application, by_token: int, by_address: int) -> None:
        self.inner, self._most = inner, {"token": by_token, "address": by_address}
        self._policies = {kind: f'"{kind}";q={most};w={WINDOW}' for kind, most in self._most.items()}
        self._asked: dict[tuple[str, str | bytes], list[float]] = {}
        """When the minute of each began, by a clock that never goes back, and how often it has asked since."""
        self._turn = threading.Lock()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request, or say that it came too soon."""
        if not environ.get("PATH_INFO", "").startswith(UNDER):
            return self.inner(environ, start_response)
        given = environ.get("HTTP_AUTHORIZATION")
        token = (
            ("token", hashlib.blake2b(given.encode("latin-1", "replace"), digest_size=32).digest()) if given else None
        )
        who = token if token and token in self._asked else ("address", environ.get("REMOTE_ADDR") or "")
        most, asked, left = self._count(who)
        if asked > most:
            return self._refuse(environ, start_response, who[0], left)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if token and who is not token and int(status[:3]) != _NOBODY:
                self._begin(token)
            if most != _NONE:
                headers = [*headers, *self._told(who[0], most - asked, left)]
            return start_response(status, headers, exc_info)

        return self.inner(environ, start)

    def _count(self, who: tuple[str, Any]) -> tuple[int, int, int]:
        """Count a request; give how many there may be, how many there were, and the seconds until all begins anew."""
        kind, name = who
        most = self._most[kind]
        if not most or (kind == "address" and (not name or name.startswith(_HERE))):
            return _NONE, 0, WINDOW
        now = time.monotonic()
        with self._turn:
            found = self._asked.get(who)
            if found is None or now - found[0] >= WINDOW:
                self._shorten()
                found = self._asked[who] = [now, 0]
            found[1] += 1
            return most, int(found[1]), max(1, ceil(WINDOW - (now - found[0])))

    def _begin(self, token: tuple[str, bytes]) -> None:
        with self._turn:
            self._shorten()
            self._asked.setdefault(token, [time.monotonic(), 1])

    def _shorten(self) -> None:
        if len(self._asked) >= MOST:
            for key in sorted(self._asked, key=lambda key: self._asked[key][0])[: MOST // 2]:
                del self._asked[key]

    def _told(self, kind: str, more: int, left: int) -> list[tuple[str, str]]:
        return [("RateLimit-Policy", self._policies[kind]), ("RateLimit", f'"{kind}";r={more};t={left}')]

    def _refuse(self, environ: Environ, start_response: Any, kind: str, left: int) -> list[bytes]:
        refusal = errors.AskedTooOften(left)
        environ[CODE] = refusal.code
        body = problems.written(429, refusal.code, str(refusal), environ.get(REQUEST_ID, ""))
        headers = [
            ("Content-Type", "application/problem+json"),
            ("Content-Length", str(len(body))),
            ("Retry-After", str(left)),
            *self._told(kind, 0, left),
        ]
        start_response("429 TOO MANY REQUESTS", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


_NONE: Final = 1 << 62
"""As many as anybody likes."""
