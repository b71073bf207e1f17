"""What somebody was shown before they said yes to it: kept by their form as hashes, one for each part of it.

So it is known later not only that something has changed since, but what.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

_DIGITS: Final = 32
"""Of a hash: 128 bits, of what nobody gains by finding another."""


def sealed(parts: Mapping[str, Any]) -> str:
    """Give the state that stands for parts, plain data by what each is called; the same parts give the same state."""
    return ".".join(_hash(part) for part in parts.values())


def changed(parts: Mapping[str, Any], state: str) -> list[str]:
    """Give the names of the parts that are not what they were in a state; all of them where it is no state of these."""
    then = state.split(".")
    now = [_hash(part) for part in parts.values()]
    if len(then) != len(now):
        return list(parts)
    return [name for name, was, is_now in zip(parts, then, now, strict=True) if was != is_now]


def _hash(part: Any) -> str:
    return hashlib.sha256(orjson.dumps(part, option=orjson.OPT_SORT_KEYS)).hexdigest()[:_DIGITS]
