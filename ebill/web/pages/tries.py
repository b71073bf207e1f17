"""How often passwords may be tried: for a user, and from an address, with a short wait that grows.

Nobody is locked out for good, whoever tries. It is counted by each process for itself, and forgotten with it; a proxy
in front has one address for all who come through it, so that many more tries are taken from an address.
"""

from __future__ import annotations

import threading
import time
from math import ceil
from typing import Final, NamedTuple

from ebill.errors import TooManyTries

FREE: Final = {"user": 5, "address": 50}
"""Tries that fail before there is a wait."""
FIRST_WAIT: Final = 2.0
LONGEST_WAIT: Final = 60.0
FORGOTTEN: Final = 900.0
"""Seconds without another failure after which all is forgotten."""
MOST: Final = 10_000
"""Users and addresses that are remembered, beyond which the oldest half is let go."""


class Failed(NamedTuple):
    """How often it failed, and when for the last time, in seconds of a clock that never goes back."""

    failures: int
    last: float


def _named(user_id: str | None, address: str) -> list[tuple[str, str]]:
    return [("address", address)] if user_id is None else [("user", user_id), ("address", address)]


class Tries:
    """The tries of one process."""

    def __init__(self) -> None:
        self._failed: dict[tuple[str, str], Failed] = {}
        self._turn = threading.Lock()

    def begin(self, user_id: str | None, address: str) -> None:
        """Count a try as failed until it is told otherwise. Raises TooManyTries, which is no try.

        `user_id` None is somebody who has not said who they are. It is counted before the password is looked at, so
        that a crowd at once has no more tries than one in turn.
        """
        now = time.monotonic()
        named = _named(user_id, address)
        with self._turn:
            wait = max(self._wait(what, name, now) for what, name in named)
            if wait > 0:
                raise TooManyTries(ceil(wait))
            self._shorten()
            for each in named:
                self._failed[each] = Failed(self._count(each, now) + 1, now)

    def succeeded(self, user_id: str | None, address: str) -> None:
        """Forget the failures of a user who has signed in; those of the address shrink by this one."""
        with self._turn:
            self._failed.pop(("user", user_id or ""), None)
            count, last = self._failed.get(("address", address), Failed(0, 0.0))
            self._failed[("address", address)] = Failed(max(0, count - 1), last)

    def _count(self, key: tuple[str, str], now: float) -> int:
        count, last = self._failed.get(key, Failed(0, now))
        return count if now - last < FORGOTTEN else 0

    def _wait(self, what: str, name: str, now: float) -> float:
        over = self._count((what, name), now) - FREE[what]
        if over < 0:
            return 0.0
        whole = min(FIRST_WAIT * 2.0 ** min(over, 10), LONGEST_WAIT)
        return whole - (now - self._failed[what, name].last)

    def _shorten(self) -> None:
        if len(self._failed) >= MOST:
            oldest = sorted(self._failed, key=lambda key: self._failed[key].last)
            for key in oldest[: MOST // 2]:
                del self._failed[key]
