"""Answers as JSON: ISO dates, and instants in UTC as RFC 3339 writes them."""

from __future__ import annotations

from typing import Any

import orjson


def encode(answer: Any, *, indented: bool = False) -> bytes:
    """Encode an answer, `indented` for people; a local date-time stays without an offset, as it was given."""
    return orjson.dumps(answer, option=orjson.OPT_UTC_Z | (orjson.OPT_INDENT_2 if indented else 0))
