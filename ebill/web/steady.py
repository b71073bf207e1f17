"""Answers that are kept as they were written, for the next who may ask the very same.

Only what a key says all about may be kept: the rule book, what is asked, and which quarter of an hour it is, since no
zone's midnight, and so no new day, falls within one.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from typing import Final, Generic, TypeVar

SHORT: Final = 1024
"""Bytes of a question whose answer is kept."""
MOST: Final = 500
"""Answers that are kept, beyond which all are let go."""
LONGEST: Final = 64_000
"""Bytes of an answer that is kept."""
_QUARTER: Final = 900
_Value = TypeVar("_Value")


class Steady(Generic[_Value]):
    """Answers by their keys."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Value] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> _Value | None:
        """Give the answer of a key, if it was kept."""
        return self._kept.get(key)

    def keep(self, key: Hashable, value: _Value, size: int) -> None:
        """Keep an answer of so many bytes, unless it is long."""
        if size <= LONGEST:
            if len(self._kept) >= MOST:
                self.forget()
            self._kept[key] = value

    def forget(self) -> None:
        """Forget all answers; only their cost comes back."""
        self._kept = {}  # whoever reads the old ones at the moment keeps them


def quarter(now: datetime) -> int:
    """Give the number of the quarter of an hour that an instant is in."""
    return int(now.timestamp()) // _QUARTER
