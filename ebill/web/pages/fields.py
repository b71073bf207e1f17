"""What forms say, as the API's bodies say it; and what was wrong with it, at the field it came from."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ebill.errors import Refusal

_DIGITS: Final = 9
_PARTS: Final = re.compile(r"[\s,;]+")


def whole(text: str) -> int | str:
    """Give a whole number where one is written as such; all else is for the service to refuse.

    >>> whole("-3"), whole("3.0"), whole("1" * 10)
    (-3, '3.0', '1111111111')
    """
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS else text


def parted(text: str) -> list[str]:
    r"""Give the parts of a text, one a line or with commas between.

    >>> parted("C1, C2\r\nC3;C1")
    ['C1', 'C2', 'C3', 'C1']
    """
    return [part for part in _PARTS.split(text) if part]


def shown_at(refusal: Refusal, field_of: Callable[[str], str | None]) -> tuple[dict[str, str], list[str]]:
    """Give what is wrong by the field it is shown at, and what is about none of them.

    `field_of` gives the field of a fault's pointer, or None.
    """
    faulty: dict[str, str] = {}
    others: list[str] = []
    for fault in refusal.faults:
        field = field_of(fault.pointer)
        if field is None:
            others.append(fault.detail)
        else:
            faulty.setdefault(field, fault.detail)
    return faulty, others or ([] if faulty else [str(refusal)])
