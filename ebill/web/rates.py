"""How often the API may be asked: each token, and each address that has shown none, so many times a minute.

A token counts for itself for a minute once somebody was let in by it, and then anew; until then, and once it is
refused, the address that sent it is counted, so that nobody gets more by making tokens up, or by those that were taken
away. This machine's own address, or none, is not counted: it is whoever runs the service, or a proxy nobody has told
of, behind which all would be one. It is counted by each process for itself. Nobody who is counted is forgotten before
the minute is over, however many others ask.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Iterable
from ipaddress import IPv6Address
from math import ceil
from typing import Any, Final, Literal, NamedTuple

from ebill import errors
from ebill.web import problems
from ebill.web.fence import CODE, REQUEST_ID, SIGNED, Application, Environ

WINDOW: Final = 60
"""Seconds."""
MOST: Final = 20_000
"""Tokens that are counted at once, each for itself, and as many addresses."""
CROWDS: Final = 4_096
"""Where there is no room for another address, it is counted as one with those of its crowd, which is one of so many."""
UNDER: Final = "/v1/"
_HERE: Final = ("127.", "::1")
Kind = Literal["token", "address"]


class Counted(NamedTuple):
    """Of what, how often that may be asked for, how often it was, and the seconds until all begins anew."""

    kind: Kind
    most: int
    asked: int
    left: int


class Minutes:
    """How often each of so many names has asked since its minute began, by a clock that never goes back."""

    def __init__(self) -> None:
        self._asked: dict[Any, list[float]] = {}
        """In the order in which the minutes began."""

    def is_counted(self, name: Any, now: float) -> bool:
        """Tell whether the minute of a name is not over."""
        found = self._asked.get(name)
        return found is not None and now - found[0] < WINDOW

    def forget(self, name: Any) -> None:
        """Let a name begin anew."""
        self._asked.pop(name, None)

    def __len__(self) -> int:
        return len(self._asked)

    def count(self, name: Any, now: float) -> tuple[int, int] | None:
        """Count a request; give how many there were, and the seconds left. None where there is no room for the name."""
        found = self._asked.get(name)
        if found is not None and now - found[0] >= WINDOW:
            del self._asked[name]
            found = None
        if found is None:
            if not self._has_room(now):
                return None
            found = self._asked[name] = [now, 0]
        found[1] += 1
        return int(found[1]), max(1, ceil(WINDOW - (now - found[0])))

    def _has_room(self, now: float) -> bool:
        if len(self._asked) < MOST:
            return True
        oldest = next(iter(self._asked))
        if now - self._asked[oldest][0] < WINDOW:
            return False
        del self._asked[oldest]
        return True


class Rates:
    """A WSGI application around another one, whose API is asked no more often than it may be. 0 is without a limit."""

    def __init__(self, inner: Application, by_token: int, by_address: int) -> None:
        self.inner = inner
        self._most: dict[Kind, int] = {"token": by_token, "address": by_address}
        self._policies = {kind: f'"{kind}";q={most};w={WINDOW}' for kind, most in self._most.items()}
        self.tokens, self.addresses, self.crowds = Minutes(), Minutes(), Minutes()
        self._key = secrets.token_bytes(16)
        """Of the crowds and the tokens, so that nobody knows what one is counted by."""
        self._turn = threading.Lock()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request, or say that it came too soon."""
        if not environ.get("PATH_INFO", "").startswith(UNDER):
            return self.inner(environ, start_response)
        token = self._token(environ.get("HTTP_AUTHORIZATION", ""))
        is_known = token is not None and self.tokens.is_counted(token, time.monotonic())
        counted = self._count(environ, token if is_known else None)
        if counted and counted.asked > counted.most:
            return self._refuse(environ, start_response, counted)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if token and environ.get(SIGNED) is not None and is_known != bool(environ[SIGNED]):
                with self._turn:
                    if is_known:
                        self.tokens.forget(token)
                    else:
                        self.tokens.count(token, time.monotonic())
            return start_response(status, [*headers, *self._told(counted)] if counted else headers, exc_info)

        return self.inner(environ, start)

    def _count(self, environ: Environ, token: bytes | None) -> Counted | None:
        """Count a request; None where it is not counted."""
        now, most = time.monotonic(), self._most
        with self._turn:
            if token and (found := self.tokens.count(token, now)):
                return Counted("token", most["token"], *found) if most["token"] else None
            address = _network(environ.get("REMOTE_ADDR") or "")
            if not most["address"] or not address or address.startswith(_HERE):
                return None
            found = self.addresses.count(address, now) or self.crowds.count(self._crowd(address), now)
            return Counted("address", most["address"], *found) if found else None

    def _token(self, given: str) -> bytes | None:
        """Give what a token is counted by, however its scheme is spelled."""
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return None
        # This hash is quick to begin, which another one spends most of its time on.
        return hashlib.blake2b(token.strip().encode("latin-1", "replace"), key=self._key, digest_size=32).digest()

    def _crowd(self, address: str) -> int:
        digest = hashlib.blake2b(address.encode("latin-1", "replace"), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "big") % CROWDS

    def _told(self, counted: Counted) -> list[tuple[str, str]]:
        kind, most, asked, left = counted
        return [
            ("RateLimit-Policy", self._policies[kind]),
            ("RateLimit", f'"{kind}";r={max(0, most - asked)};t={left}'),
        ]

    def _refuse(self, environ: Environ, start_response: Any, counted: Counted) -> list[bytes]:
        refusal = errors.AskedTooOften(counted.left)
        environ[CODE] = refusal.code
        body = problems.written(429, refusal.code, str(refusal), environ.get(REQUEST_ID, ""))
        headers = [
            ("Content-Type", "application/problem+json"),
            ("Content-Length", str(len(body))),
            ("Retry-After", str(counted.left)),
            *self._told(counted),
        ]
        start_response("429 TOO MANY REQUESTS", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _network(address: str) -> str:
    """Give what an address is counted by: of IPv6 its first 64 bits, since the rest is its owner's to choose."""
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(found) if found.is_loopback else found.packed[:8].hex()
