"""What a change made different, field by field, as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from ebill.web.pages.words import instant, typed

MOST: Final = 40
"""Fields of one change that are shown; an import may have thousands."""
_OF_INSTANTS: Final = (" at", "until")
"""How fields that we write an instant into end; what people write may look like one, of the year 1 too."""


class Difference(NamedTuple):
    """A field, what it was and what it is; of a list, what is gone and what has come. None: nothing to show."""

    name: str
    was: Markup | None
    now: Markup | None


class Differences(NamedTuple):
    """The differences that are shown, and how many more there are."""

    shown: list[Difference]
    more: int


def differences(before: Any, after: Any) -> Differences:
    """Give what is different between two values of an audit row; None is that there was nothing.

    >>> differences({"teams": ["x", "y"]}, {"name": "B", "teams": ["y", "z"]}).shown
    [Difference(name='teams', was=Markup('x'), now=Markup('z')), Difference(name='name', was=None, now=Markup('B'))]
    """
    was, now = dict(_flat(before)), dict(_flat(after))
    found = [
        _difference(name, was.get(name), now.get(name))
        for name in [*was, *(name for name in now if name not in was)]
        if was.get(name) != now.get(name)
    ]
    return Differences(found[:MOST], max(0, len(found) - MOST))


def _flat(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Give each value of plain data, by the names that lead to it; a list of plain values is one value."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield from _flat(value, (*path, str(name).replace("_", " ")))
    elif isinstance(data, list) and any(isinstance(each, Mapping | list) for each in data):
        for number, value in enumerate(data, 1):
            yield from _flat(value, (*path, str(number)))
    elif data is not None and data != []:
        yield ", ".join(path), data


def _difference(name: str, was: Any, now: Any) -> Difference:
    if isinstance(was, list | None) and isinstance(now, list | None):
        gone, come = ([each for each in some or [] if each not in (other or [])] for some, other in
                      ((was, now), (now, was)))  # fmt: skip
        return Difference(name, _said(gone) if gone else None, _said(come) if come else None)
    said = _instant if name.endswith(_OF_INSTANTS) else _said
    return Difference(name, None if was is None else said(was), None if now is None else said(now))


def _instant(value: Any) -> Markup:
    at = datetime.fromisoformat(value)
    return instant(at) if at.tzinfo else _said(value)


def _said(value: Any) -> Markup:
    if isinstance(value, list):
        return Markup(", ").join(_said(each) for each in value)
    if isinstance(value, bool):
        return Markup("yes") if value else Markup("no")
    return typed(str(value))
