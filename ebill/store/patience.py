"""How long a request waits for its database in all; then it is refused, to be sent again later.

PostgreSQL bounds a statement and a lock by itself. But where the network between is slow, or passes nothing on and
says nothing, only a clock of ours ends the wait. Counted is what is waited for, not what is worked on meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

SECONDS: Final = 2.6
"""What a request waits at most: 3 seconds, less what else it takes."""
PING_SECONDS: Final = 0.5
"""After how long a connection that does not answer is let go for a new one."""
CONNECT_SECONDS: Final = 2
"""How long a new connection is waited for; the driver takes no less."""


@dataclass(slots=True)
class Patience:
    """What a request may still wait, in seconds."""

    left: float


_OURS: Final[ContextVar[Patience | None]] = ContextVar("patience", default=None)


class Bounded:
    """Has all that is done meanwhile wait no longer than a request may. It goes around each, so it is no generator."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _OURS.set(Patience(SECONDS))

    def __exit__(self, *_: object) -> None:
        _OURS.reset(self._token)


@contextmanager
def endless(needed: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002  # `endless(is_import)` reads as it is meant
    """Let what is done meanwhile take its time, where that is needed: each of its statements is bounded still."""
    if not needed:
        yield
        return
    token = _OURS.set(None)
    try:
        yield
    finally:
        _OURS.reset(token)


def suffices(seconds: float) -> bool:
    """Tell whether so long may still be waited."""
    patience = _OURS.get()
    return patience is None or patience.left >= seconds


@contextmanager
def waiting(most: float | None = None) -> Iterator[float | None]:
    """Wait for something: gives how many seconds at most (None: without end), and counts how many it were."""
    patience = _OURS.get()
    if patience is None:
        yield most
        return
    began = time.monotonic()
    left = max(patience.left, 0)
    try:
        yield left if most is None else min(most, left)
    finally:
        patience.left -= time.monotonic() - began
