"""Patterns that are compiled when they are first asked.

marshmallow compiles one as it is imported that tells the domain of a mail address, in which 65,000 letters are taken in
either case. That takes a sixth of all that a short command does, and no command asks it anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_compile = re.compile


class Later:
    """A pattern, as `re.compile` makes it, which is made when something of it is first asked for."""

    def __init__(self, pattern: str, flags: int) -> None:
        self._given = pattern, flags

    def __getattr__(self, name: str) -> Any:
        """Give what the pattern has of this name; from then on it is found without asking here."""
        if name.startswith("__"):
            raise AttributeError(name)
        compiled = _compile(*self._given)
        self.__dict__.update({each: getattr(compiled, each) for each in dir(compiled) if not each.startswith("_")})
        return getattr(compiled, name)


@contextmanager
def compiling() -> Iterator[None]:
    """Have patterns that take long be compiled when they are first asked, and all others at once, until the end.

    Those are the ones that take letters in either case, up to the last that has two bytes.
    """

    def compiled(pattern: Any, flags: int = 0) -> Any:
        if isinstance(pattern, str) and flags & re.IGNORECASE and "-\uffff" in pattern:
            return Later(pattern, flags)
        return _compile(pattern, flags)

    re.compile = compiled
    try:
        yield
    finally:
        re.compile = _compile
