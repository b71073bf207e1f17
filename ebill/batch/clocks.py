"""Moments that are written as text, many at once: whatever is plainly one is read by columns of characters.

What that is, `ebill.grammar.read_moment` says. Every other text is left to it: so none is taken here that it refuses,
and what is refused is found by it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ebill.batch.apart import Numbers
from ebill.dates import FIRST_MONTH, LAST_MONTH, Flags

SECOND: Final = 1_000_000
"""Microseconds, in which clocks are counted."""
DAY_LONG: Final = 86_400 * SECOND
LOCAL: Final = np.iinfo(np.int64).min
"""The offset of a moment that is written without one: it is local already."""

_DAY, _MINUTES, _SECONDS, _DIGITS = len("2026-07-02"), len("2026-07-02T16:00"), len("2026-07-02T16:00:00"), 6
_BODIES: Final = {_DAY, _MINUTES, _SECONDS, *range(_SECONDS + 2, _SECONDS + 2 + _DIGITS)}
"""How many characters a moment has without its offset."""
_OFFSET: Final = len("-04:00")
_LONGEST: Final = max(_BODIES) + _OFFSET
_CENTURY: Final = 20
_TOGETHER: Final = 1 << 15
"""Texts that are read at once: as many as fit the processor's cache."""
_MONTHS: Final = np.arange(FIRST_MONTH, LAST_MONTH + 2).astype("datetime64[D]").astype(np.int64)
"""The days on which the supported months begin, and the one after the last."""

Bytes = npt.NDArray[np.uint8]


class Plain(NamedTuple):
    """What each text says: the wall clock as it is written, its offset from UTC or `LOCAL`, and whether it is a date.

    Clocks and offsets are microseconds, clocks from 1970-01-01. Where it is not `plain`, the others mean nothing.
    """

    written: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    is_date: Flags
    plain: Flags


def read(texts: Any) -> Plain:
    """Read an Arrow array of texts, of which none may be plain."""
    count = len(texts)
    found = Plain(np.zeros(count, np.int64), np.full(count, LOCAL), np.zeros(count, bool), np.zeros(count, bool))
    _, bounds, content = texts.buffers()
    if not count or content is None:
        return found
    begins = np.frombuffer(bounds, np.int32, count + 1, np.int32().itemsize * texts.offset).astype(np.int64)
    characters, lengths = np.frombuffer(content, np.uint8), np.diff(begins)
    for length in np.flatnonzero(np.bincount(np.minimum(lengths, _LONGEST + 1))[: _LONGEST + 1]):
        rows = np.flatnonzero(lengths == length)
        for few in (rows[begin : begin + _TOGETHER] for begin in range(0, len(rows), _TOGETHER)):
            _read(characters[begins[few] + np.arange(length)[:, None]], few, found)
    return found


def _read(texts: Bytes, rows: Numbers, found: Plain) -> None:
    """Read texts of one length, shape (characters, texts), into these rows of what is found."""
    for of_them, ending in _endings(texts):
        some, here = (texts, rows) if of_them.all() else (texts[:, of_them], rows[of_them])
        body = len(some) - ending
        if body not in _BODIES or (body == _DAY and ending):
            continue
        plain, days = _days(some)
        clock = np.zeros(len(here), np.int64)
        if body >= _MINUTES:
            plain &= some[_DAY] == ord("T")
            clock = _clock(some[_DAY + 1 : body], plain)
        if ending == _OFFSET:
            apart = _clock(some[body + 1 :], plain)
            found.offset[here] = np.where(some[body] == ord("-"), -apart, apart)
        elif ending:
            found.offset[here] = 0
        found.written[here], found.is_date[here] = days * DAY_LONG + clock, body == _DAY
        found.plain[here] = plain


def _endings(texts: Bytes) -> Iterator[tuple[Flags, int]]:
    """Give which texts have an offset of how many characters."""
    length = len(texts)
    if length < _DAY:
        return
    of_utc = texts[-1] == ord("Z")
    signed = np.zeros(texts.shape[1], bool)
    if length >= _MINUTES + _OFFSET:
        signed = (texts[-_OFFSET] == ord("+")) | (texts[-_OFFSET] == ord("-"))
    for of_them, ending in ((of_utc, 1), (signed, _OFFSET), (~of_utc & ~signed, 0)):
        if of_them.any():
            yield of_them, ending


def _days(texts: Bytes) -> tuple[Flags, npt.NDArray[np.int64]]:
    """Give which texts begin with a supported date, and its day."""
    plain = (texts[4] == ord("-")) & (texts[7] == ord("-"))
    century, year, month, day = (_number(texts[place : place + 2], plain) for place in (0, 2, 5, 8))
    plain &= (century == _CENTURY) & (month >= 1) & (month <= 12) & (day >= 1)
    months = np.where(plain, year * 12 + month - 1, 0)
    days = _MONTHS[months] + day - 1
    plain &= days < _MONTHS[months + 1]
    return plain, days


def _clock(texts: Bytes, plain: Flags) -> npt.NDArray[np.int64]:
    """Give the microseconds of texts such as `16:00`, `16:00:00` or `16:00:00.25`; what is none is made not plain."""
    hour, minute = (_number(texts[place : place + 2], plain) for place in (0, 3))
    plain &= (texts[2] == ord(":")) & (hour < 24) & (minute < 60)
    clock = (hour * 60 + minute) * (60 * SECOND)
    if len(texts) > len("16:00"):
        second = _number(texts[6:8], plain)
        plain &= (texts[5] == ord(":")) & (second < 60)
        clock += second * SECOND
    if len(texts) > len("16:00:00"):
        plain &= texts[8] == ord(".")
        digits = texts[9:]
        clock += _number(digits, plain) * 10 ** (_DIGITS - len(digits))
    return clock


def _number(texts: Bytes, plain: Flags) -> npt.NDArray[np.int64]:
    """Give the whole numbers that texts are; what is none is made not plain."""
    number = np.zeros(texts.shape[1], np.int64)
    for character in texts:
        digit = character - np.uint8(ord("0"))
        plain &= digit < 10
        number = number * 10 + digit
    return number
