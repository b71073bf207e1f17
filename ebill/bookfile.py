"""The rule book's file: where it is, whether it may be trusted, and the last good one when it changes."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from ebill.errors import BookFault, BookRefused
from ebill.reading import WHOLE_FILE, Reading, read
from ebill.rulebook import RuleBook

SHIPPED = Path(__file__).resolve().parent.parent / "config" / "states.toml"
LARGEST = 1_000_000
"""Bytes; a rule book has some thousands."""


def path() -> Path:
    """Say which file is the rule book: `EBILL_STATES` where it is set, else the one shipped."""
    return Path(os.environ.get("EBILL_STATES") or SHIPPED)


def load(file: Path) -> Reading:
    """Read a rule book's file. Raises BookRefused: for what it is, who may write it, or what stands in it."""
    try:
        trouble = _distrust(file.lstat())
        source = b"" if trouble else file.read_bytes()
    except OSError as error:
        trouble, source = f"cannot be read: {error.strerror}", b""
    if trouble:
        raise BookRefused(str(file), [BookFault(None, WHOLE_FILE, trouble)])
    return read(source, str(file))


def _distrust(status: os.stat_result) -> str | None:
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link; name the file itself"
    if not stat.S_ISREG(status.st_mode):
        return "is not a file"
    if status.st_mode & stat.S_IWOTH:
        return "may be written by anybody; take that right away (chmod o-w)"
    if status.st_size > LARGEST:
        return f"is larger than {LARGEST} bytes"
    return None


class BookFile:
    """A rule book that follows its file, and keeps the last good one while the file is refused.

    `book` looks at the file's status and reads it again only where that has changed. `refused` is why the file as it
    stands is not in force, or None; `told` is told of each such refusal once, and `loaded` of each rule book that
    comes into force after the first. The first read raises BookRefused: there is no last good one then.
    """

    def __init__(self, file: Path) -> None:
        self.file, self._name = file, str(file)
        self.refused: BookRefused | None = None
        self.told: Callable[[BookRefused], object] = lambda _: None
        self.loaded: Callable[[RuleBook], object] = lambda _: None
        self._lock = threading.Lock()
        self._seen = self._status()
        self._book = load(file).book

    @property
    def book(self) -> RuleBook:
        """The rule book in force."""
        if self._status() != self._seen:
            with self._lock:
                self._reload()
        return self._book

    def _status(self) -> tuple[int, ...] | None:
        try:
            status = os.lstat(self._name)  # by its text: to follow a path's takes as long again, at every answer
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino

    def _reload(self) -> None:
        seen = self._status()
        if seen == self._seen:
            return
        try:
            self._book, self.refused = load(self.file).book, None
            self.loaded(self._book)
        except BookRefused as refusal:
            self.refused = refusal
            self.told(refusal)
        self._seen = seen
