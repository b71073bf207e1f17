"""A calendar of days, as RFC 5545 and RFC 7986 write it: event by event, however many.

Every event is a whole day that makes nobody busy. The lines are put together here: the library that could do it takes
more than a millisecond for an event, which is over a minute for a calendar of 50,000.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

REFRESH: Final = "PT6H"
"""How often a client should look again."""
LONGEST: Final = 75
"""Octets of a line, without its end; a longer one is folded (RFC 5545, section 3.1)."""
CONTENT_TYPE: Final = "text/calendar; charset=utf-8"

_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_REFUSED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Event(NamedTuple):
    """A day to be known: `uid` stays the same whatever else changes, `sequence` rises when `day` does change.

    `summary` is one line; `changed_at` is the instant since when the event is as it is.
    """

    uid: str
    day: date
    summary: str
    description: str
    category: str
    sequence: int
    cancelled: bool
    changed_at: datetime


def calendar(events: Iterable[Event], name: str, stamp: datetime) -> Iterator[bytes]:
    """Write a calendar, piece by piece; no piece is kept.

    `stamp` is the instant for which it is written: an argument, so that the same events give the same calendar. Text
    is escaped, and line breaks in it do no harm: in a description they stay what they are, elsewhere they become
    spaces. Raises ValueError for other control characters, which have no business in a name.
    """
    title = _line(name)
    yield _lines(
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//eBill//Invoice deadlines//EN",
        "CALSCALE:GREGORIAN",
        _folded(f"NAME:{title}"),
        _folded(f"X-WR-CALNAME:{title}"),
        f"REFRESH-INTERVAL;VALUE=DURATION:{REFRESH}",
        f"X-PUBLISHED-TTL:{REFRESH}",
    )
    is_empty = True
    for event in events:
        is_empty = False
        yield _lines(
            "BEGIN:VEVENT",
            _folded(f"UID:{_line(event.uid)}"),
            f"DTSTAMP:{_instant(max(stamp, event.changed_at))}",
            f"LAST-MODIFIED:{_instant(event.changed_at)}",
            _whole(event.day),
            f"SEQUENCE:{event.sequence}",
            f"STATUS:{'CANCELLED' if event.cancelled else 'CONFIRMED'}",
            "TRANSP:TRANSPARENT",
            _folded(f"SUMMARY:{_line(event.summary)}"),
            _described(event.description),
            _folded(f"CATEGORIES:{_line(event.category)}"),
            "END:VEVENT",
        )
    yield _lines(*(_NOTHING if is_empty else ()), "END:VCALENDAR")


_NOTHING: Final = (
    "BEGIN:VTIMEZONE",
    "TZID:UTC",
    "BEGIN:STANDARD",
    "DTSTART:19700101T000000",
    "TZOFFSETFROM:+0000",
    "TZOFFSETTO:+0000",
    "END:STANDARD",
    "END:VTIMEZONE",
)
"""What a calendar without events has, since it must have something (RFC 5545, section 3.6)."""


@lru_cache(maxsize=1024)
def _whole(day: date) -> str:
    """Say that an event is all of a day: its end is the first day that it is not."""
    return f"DTSTART;VALUE=DATE:{day:%Y%m%d}\r\nDTEND;VALUE=DATE:{day + timedelta(days=1):%Y%m%d}"


@lru_cache(maxsize=4096)
def _described(text: str) -> str:
    """Describe an event, as many of a calendar are described alike."""
    return _folded(f"DESCRIPTION:{_text(text)}")


@lru_cache(maxsize=1024)
def _instant(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _line(text: str) -> str:
    """Escape text that is to stay on one line."""
    return _text(text if text.isprintable() else _BREAK.sub(" ", text))


def _text(text: str) -> str:
    r"""Escape text (RFC 5545, section 3.3.11).

    >>> print(_text("a\\b; c, d\re"))
    a\\b\; c\, d\ne
    """
    if not text.isprintable():
        text = _BREAK.sub("\n", text)
        if _REFUSED.search(text):
            raise ValueError("a calendar takes no control characters")
    return text.replace("\\", r"\\").replace(";", r"\;").replace(",", r"\,").replace("\n", r"\n")


def _lines(*lines: str) -> bytes:
    return ("\r\n".join(lines) + "\r\n").encode()


def _folded(line: str) -> str:
    """Fold a line that is too long, never within a character."""
    if len(line) <= LONGEST and line.isascii():
        return line
    octets = line.encode()
    parts, start, room = [], 0, LONGEST
    while len(octets) - start > room:
        end = start + room
        while octets[end] & 0xC0 == 0x80:  # the first octet of what follows is within a character
            end -= 1
        parts.append(octets[start:end].decode())
        start, room = end, LONGEST - 1  # what follows begins with a space
    return "\r\n ".join([*parts, octets[start:].decode()])
