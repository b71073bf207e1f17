"""What the program says of itself: lines of JSON on standard error, one event each, or readable ones on a terminal.

A line has `at` (UTC), `level`, `event`, the process (`worker`) and the facts of the event. Nothing of it can end it,
colour it or hide it: it is ASCII, and control characters are escaped. Secrets have no place in it: what looks like one
is taken out of every text that was not written here, and no value that a query or a function was given is shown.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, TextIO

import orjson

from ebill.errors import SettingRefused

SLOW_MS: Final = 1_000
"""Milliseconds from which on a request is slow."""
FORMS: Final = ("json", "text")
_SECRET: Final = re.compile(
    r"eb[fp]_\w+"  # our tokens, and the secrets of feeds
    r"|(?<=://)[^\s/@]+@"  # who signs in by an address, and with what
    r"|[\w.+-]+@[\w-]+(\.[\w-]+)+"  # addresses of mail
    r"|(?i:bearer|basic) +\S+"
    r"|(?<![\w/.-])[\w-]{40,}(?![\w/.])",  # cookies, keys
    re.ASCII,
)
_VALUES: Final = re.compile(r"^(DETAIL|CONTEXT|\[SQL|\[parameters): .*$", re.MULTILINE)
"""Where a database repeats what it was given."""
_CONTROL: Final = re.compile(r"[^ -~\n\t]")

Line = MutableMapping[str, Any]


def form() -> str:
    """Read `EBILL_LOG`, `json` or `text`; unset: `text` where standard error is a terminal. Raises SettingRefused."""
    given = os.environ.get("EBILL_LOG", "")
    if given and given not in FORMS:
        raise SettingRefused("EBILL_LOG", f"must be {' or '.join(FORMS)}")
    return given or ("text" if sys.stderr.isatty() else "json")


def log(event: str, error: BaseException | None = None, *, level: str = "info", **facts: Any) -> None:
    """Write a line. An `error` is written with where it was raised, not with what was there."""
    told = {name: bare(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
    if error is not None:
        told["error"] = bare("".join(traceback.format_exception(error)))
    write(level, event, told)


def write(level: str, event: str, facts: dict[str, Any]) -> None:
    """Write a line whose facts are known to have no secret in them, and none of anybody else's words."""
    sys.stderr.write(_shape(_stamped(level, event, facts)) + "\n")


def bare(text: str) -> str:
    """Give a text without what looks like a secret, or like what a database was given.

    >>> bare("Bearer ebp_AAAA_BBBB of pat@example.org at postgresql://ebill:word@db/ebill")
    '... of ... at postgresql://...db/ebill'
    """
    return _SECRET.sub("...", _VALUES.sub(r"\1: ...", text))


class Lines(logging.Formatter):
    """Makes of what others log, the server among them, lines like ours."""

    def format(self, record: logging.LogRecord) -> str:
        """Give a line for a record."""
        line: Line = {"by": record.name, "message": bare(record.getMessage())}
        if record.exc_info and record.exc_info[1]:
            line["error"] = bare("".join(traceback.format_exception(record.exc_info[1])))
        return _shape(_stamped(record.levelname.lower(), "said", line))


SERVER_LOGGING: Final[dict[str, Any]] = {
    "formatters": {name: {"()": "ebill.logs.Lines"} for name in ("generic", "access")},
    "handlers": {
        name: {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"}
        for name in ("console", "access")
    },
    "loggers": {"_granian": {"handlers": ["console"], "propagate": False}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
"""How the server is told to log alike."""


def _stamped(level: str, event: str, facts: Line) -> Line:
    return {"at": datetime.now(UTC), "level": level, "event": event, **facts, "worker": os.getpid()}


def _shape(line: Line) -> str:
    return _as_text(line) if _is_text(sys.stderr) else _as_json(line)


def _as_json(line: Line) -> str:
    try:
        text = orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z).decode()
    except TypeError:  # half a character
        text = json.dumps(line, default=str, separators=(",", ":"))
    return (text if text.isascii() else json.dumps(json.loads(text), separators=(",", ":"))).replace("\x7f", r"\u007f")


def _as_text(line: Line) -> str:
    shown = {name: _CONTROL.sub(lambda found: ascii(found[0])[1:-1], fact) if isinstance(fact, str) else fact
             for name, fact in line.items()}  # fmt: skip
    shown["at"] = f"{line['at']:%H:%M:%S}"
    error = shown.pop("error", None)
    found = str(_console()(None, "", shown))
    return f"{found}\n{error}" if error else found


_seen: list[tuple[TextIO, bool]] = []


def _is_text(stream: TextIO) -> bool:
    """Tell which form a stream wants; asked of each stream once."""
    if not _seen or _seen[0][0] is not stream:
        _seen[:] = [(stream, form() == "text")]
    return _seen[0][1]


@cache
def _console() -> Any:
    from structlog.dev import ConsoleRenderer  # only a terminal needs it, and it takes a while

    return ConsoleRenderer(colors=False, timestamp_key="at", sort_keys=False, pad_event_to=8)
