"""Long lists on pages: where the next part of one is."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode


def following(path: str, query: Mapping[str, object], cursor: str | None) -> str | None:
    """Give the address of the next part of a list, or None."""
    return f"{path}?{urlencode({**query, 'cursor': cursor})}" if cursor else None
