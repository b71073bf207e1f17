"""A rule book that is wrong is not served, and says file, line and key; one that goes wrong later is not taken up."""

from __future__ import annotations

import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from ebill import grammar
from ebill.bookfile import BookFile
from ebill.errors import BookRefused
from ebill.reading import read
from tests.books import TEXT
from tests.trust.goals import Fell, Goal, Run, require

DUE: Final = "due = { day = 1, month_offset = 0 }"
GRACE: Final = "grace = { days = 30"
SPOILT: Final[dict[str, tuple[str, str]]] = {
    "a misspelt key": ("days_before_due", "days_befor_due"),
    "a misspelt key that may be left out": ('counting = "after_due"', 'countng = "after_due"'),
    "a misspelt rule": ("grace =", "garce ="),
    "a day that is text": ("day = 1", 'day = "1"'),
    "a day that is a fraction": ("day = 1", "day = 1.0"),
    "a day that is true": ("day = 1", "day = true"),
    "a day that is no number": ("day = 1", "day = nan"),
    "a day without end": ("day = 1", "day = inf"),
    "day 0": ("day = 1", "day = 0"),
    "day 32": ("day = 1", "day = 32"),
    "a day beyond 64 bits": ("day = 1", "day = 9223372036854775808"),
    "a number of 5,000 digits": ("day = 1", f"day = {'9' * 5_000}"),
    "a leading zero": ("day = 1", "day = 01"),
    "null": ("day = 1", "day = null"),
    "a bare word": ("day = 1", "day = first"),
    "smart quotes": ('since = "2000-01"', "since = \u201c2000-01\u201d"),
    "a month that is a date": ('since = "2000-01"', "since = 2000-01-01"),
    "a month 13": ('since = "2000-01"', 'since = "2000-13"'),
    "a month before all": ('since = "2000-01"', 'since = "1999-12"'),
    "a month after all": ('since = "2000-01"', 'since = "2100-01"'),
    "a short month": ('since = "2000-01"', 'since = "2000-1"'),
    "digits of another script": ('since = "2000-01"', 'since = "\u0662\u0660\u0660\u0660-01"'),
    "a row without its month": ('since = "2000-01"\n', ""),
    "a citation that is a number": ("cite = ", "cite = 1 #"),
    "an assumption that is text": ("\nassumed = true", '\nassumed = "yes"'),
    "a grace below nothing": ("days = 30", "days = -1"),
    "a grace of a billion days": ("days = 30", "days = 1000000000"),
    "two ways of a grace": ("days = 30", "calendar_months = 2, days = 30"),
    "an unknown calendar": ('"XFED"', '"XFEED"'),
    "an unknown zone": ('"America/New_York"', '"America/New_Yorc"'),
    "a cut-off in the spring gap": ('"17:00"', '"02:30"'),
    "a cut-off past midnight": ('"17:00"', '"24:00"'),
    "posting that ends before it begins": ("max_business_days = 3", "max_business_days = 1"),
    "an unknown table": ("[states.PA]", "[stats.PA]\n[states.PA]"),
    "a table twice": ("[states.PA]", "[states.PA]\n[states.PA]"),
    "a state in small letters": ("[states.PA]", "[states.pa]"),
    "a control character in a name": ('name = "Pennsylvania"', 'name = "Penn\\u0000sylvania"'),
    "a turned direction in a name": ('name = "Pennsylvania"', 'name = "Penn\\u202esylvania"'),
    "a lone surrogate": ('name = "Pennsylvania"', 'name = "\\ud800"'),
    "ten thousand brackets": ("day = 1", f"day = {'[' * 10_000}"),
    "an unclosed text": ('name = "Pennsylvania"', 'name = "Pennsylvania'),
    "generated after it is due": ("days_before_due = ", "days_before_due = 0 #"),
    "half a file": (TEXT[len(TEXT) // 2 :], ""),
}
ADDRESS: Final = re.compile(r"http://[^/\s]+")


def show(run: Run) -> str:
    """Spoil the shipped book in every way of the list: it is refused at start, and not taken up by who runs."""
    cases = _cases()
    file = run.folder / "states.toml"
    for name, text in cases.items():
        run.say(name)
        _is_refused_in_place(file, name, text)
    started = cases if run.size == "long" else {name: cases[name] for name in ("a misspelt key", "half a file")}
    for number, (name, text) in enumerate(started.items(), 1):
        run.say(f"{number} of {len(started)} starts: {name}")
        _does_not_start(run.folder, name, text)
    mutated = _mutated(run) if run.size == "long" else ""
    return f"{len(cases)} spoilt files, {len(started)} of them at the start of a server: all refused by line{mutated}"


def _cases() -> dict[str, str]:
    missing = [name for name, (old, _) in SPOILT.items() if old not in TEXT]
    require(not missing, f"nothing to spoil in the shipped book: {missing}")
    return {name: TEXT.replace(old, new, 1) for name, (old, new) in SPOILT.items()}


def _is_refused_in_place(file: Path, name: str, text: str) -> None:
    file.write_text(TEXT)
    file.chmod(0o644)
    followed = BookFile(file)
    version = followed.book.version
    other = file.with_suffix(".new")
    other.write_bytes(text.encode("utf-8", "surrogatepass"))
    other.chmod(0o644)
    other.replace(file)
    require(followed.book.version == version, f"{name}: another book is in force")
    require(followed.refused is not None, f"{name}: taken for good")
    told = str(followed.refused)
    require(re.search(rf"{re.escape(str(file))}(:\d+)?: \S", told), f"{name}: no place is named: {told[:200]}")


def _does_not_start(folder: Path, name: str, text: str) -> None:
    file = folder / "spoilt.toml"
    file.write_text(text)
    file.chmod(0o644)
    own = {"EBILL_STATES": str(file), "EBILL_DATABASE_URL": f"sqlite:///{folder}/started.db"}
    command = [str(Path(sys.executable).with_name("ebill")), "serve", "--port", str(_free())]
    begun = subprocess.Popen(
        command, env={**os.environ, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, told = begun.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        begun.send_signal(signal.SIGKILL)
        begun.communicate()
        raise Fell(f"{name}: served") from None
    require(begun.returncode == 2, f"{name}: ended with {begun.returncode}, not 2: {told[-200:]}")
    require("spoilt.toml:" in told, f"{name}: the file and line are not named: {told[-200:]}")
    require("Traceback" not in told, f"{name}: a traceback is shown")


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _mutated(run: Run) -> str:
    """For a minute and a half, change the book at random: it is read or refused, and nothing else."""
    seed = secrets.token_hex(4)
    rng, good, refused = random.Random(seed), 0, 0  # noqa: S311  # no secret
    ends = time.monotonic() + 90
    source = TEXT.encode()
    while time.monotonic() < ends:
        spoilt = bytearray(source)
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            at, length = rng.randrange(len(spoilt)), rng.choice((0, 1, 1, 2, 40))
            token = rng.choice((b"", bytes([rng.randrange(256)]), b"[", b'"', b"=", b"\n", b"-", b"9" * 20, b"true"))
            spoilt[at : at + length] = token
        try:
            read(bytes(spoilt), "spoilt.toml")
            good += 1
        except BookRefused:
            refused += 1
        run.say(f"{good + refused:,} files changed at random")
    return f"; of {good + refused:,} changed at random (seed {seed}) {refused:,} refused, the others read, nothing else"


@contextmanager
def unknown_keys_are_ignored() -> Iterator[None]:
    """Let a key pass that nobody knows."""

    def forget(schema: grammar.Strict, data: dict[str, Any], *_: Any, **__: Any) -> None:
        for key in set(data) - {field.attribute or name for name, field in schema.fields.items()}:
            del data[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grammar.Strict, "refuse_unknown", forget)
        yield


GOAL = Goal(
    id="G19",
    name="rule books that are wrong",
    rule="not served: exit code 2, file, line and key; while serving, the last good one stays, and the refusal is told",
    show=show,
    faults={"an unknown key is ignored": unknown_keys_are_ignored},
)
