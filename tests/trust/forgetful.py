"""A process that answers as `tests.askers` does, and remembers for good whom it has let in: a fault."""

from typing import Any

from ebill.store.glance import Glance
from tests import askers

_RIGHT = Glance.execute
_KNOWN: dict[tuple[Any, ...], Any] = {}


def remember(self: Glance, query: Any, asked: dict[str, str]) -> Any:
    """Ask once, and never again."""
    key = (query, *asked.values())
    if key not in _KNOWN:
        _KNOWN[key] = _RIGHT(self, query, asked)
    return _KNOWN[key]


if __name__ == "__main__":
    type.__setattr__(Glance, "execute", remember)
    askers.main()
