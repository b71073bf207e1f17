"""Answers that are kept as they were written, for the next who may ask the very same, and the tags they are known by.

Only what a key says all about may be kept: the rule book, what is asked, the state of the client it is about, and until
when no new day begins; or which quarter of an hour it is, since no zone's midnight falls within one. A tag seals all of
these, so any process can tell from a tag alone that the answer it was given with would be the same again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Hashable, Sequence
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final, Generic, TypeVar

from ebill.store.keys import openers

SHORT: Final = 1024
"""Bytes of a question whose answer is kept."""
MOST: Final = 500
"""Answers that are kept, beyond which all are let go."""
LONGEST: Final = 64_000
"""Bytes of an answer that is kept."""
_ENDS: Final = re.compile(r"([0-9a-f]{1,10})-", re.ASCII)
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


@cache
def code() -> str:
    """Name the code that answers, by its content: another release may answer otherwise, and be called the same."""
    found = hashlib.sha256(version("holidays").encode())
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def seal(key: bytes, asked: Sequence[str], state: bytes, ends: int) -> str:
    """Give the tag of an answer: the second at which it ends to be good, and a seal on that and all it depends on."""
    said = repr((*asked, state, ends)).encode()
    return f"{ends:x}-{hashlib.blake2b(said, key=key, digest_size=16).hexdigest()}"


def seals(key: bytes, asked: Sequence[str], state: bytes, now: datetime, tag: str) -> bool:
    """Tell whether a tag is that of the very answer that would be given now."""
    found = _ENDS.match(tag)
    if not found or (ends := int(found[1], 16)) <= now.timestamp():
        return False
    return any(hmac.compare_digest(tag.encode(), seal(each, asked, state, ends).encode()) for each in openers(key))
