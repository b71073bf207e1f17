"""What is done so far of a long run, kept beside its output: a run that was cut off goes on where it was.

Beside `OUT` stands the folder `OUT.parts` for as long as the run lasts, with

- `made-from.json`  what it is made from: the input, the rule book, the options, and the instant that is *now*
- `data`            what is written so far: of CSV and NDJSON the very output, of Parquet and Arrow, which can only be
                    finished in one go, the answers as Arrow streams
- `rejects`         the rows without dates, where they are wanted apart
- `log`             a line for each part that is on disk for good: how far the input was read and how far was written

What is written is put on disk by another thread meanwhile, so that in the end there is little left to wait for.
A line is written after what it speaks of is synced. What comes after the last one is cut off when the run goes on.
The output appears whole, and not before: by linking, which overwrites nothing, after everything is synced.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from ebill.errors import FileRefused

MADE_FROM: Final = "made-from.json"
AHEAD: Final = 1 << 24
"""Bytes that are written before they are put on disk meanwhile: each time costs the disk a turn."""


class Done(NamedTuple):
    """How far a run has come: in the input, in rows, in rows without dates, and in bytes of what is written."""

    position: int = 0
    rows: int = 0
    refused: int = 0
    data: int = 0
    rejects: int = 0


class Kept:
    """The folder of a run. One run at a time may have it; `now` is the instant of its beginning."""

    def __init__(self, output: Path, made_from: Mapping[str, Any] | None, now: str, rejects: Path | None) -> None:
        self.output, self.folder = output, output.with_name(f"{output.name}.parts")
        self.is_resumable = made_from is not None
        self._rejected = rejects
        for file in filter(None, (output, rejects)):
            if file.exists():
                raise FileRefused(str(file), "is there already, and nothing is overwritten")
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise FileRefused(str(self.folder), error.strerror or str(error)) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise FileRefused(str(self.folder), "another run is at work on it") from None
        known = self._known()
        self.begun_anew = known is not None and (made_from is None or known["made_from"] != dict(made_from))
        if known is None or self.begun_anew:
            for name in ("log", "data", "rejects", "whole"):
                (self.folder / name).unlink(missing_ok=True)
            known = {"made_from": dict(made_from or {}), "now": now}
            _write(self.folder / MADE_FROM, json.dumps(known).encode())
        self.now: str = known["now"]
        self.done = self._last()
        self.data = _cut(self.folder / "data", self.done.data)
        self.rejects = _cut(self.folder / "rejects", self.done.rejects)
        self._log = (self.folder / "log").open("ab")
        self._thread = ThreadPoolExecutor(1)
        self._ahead: Future[None] | None = None
        self._written = self._size()

    def hurry(self) -> None:
        """Begin to put on disk what is written so far, where it is much and nothing is being put there."""
        if self._ahead is not None and not self._ahead.done():
            return
        size = self._size()
        if size - self._written >= AHEAD:
            self._landed()
            self._written, self._ahead = size, self._thread.submit(self._sync_written)

    def note(self, position: int, rows: int, refused: int) -> None:
        """Make what is written so far last, and then say so."""
        for file in (self.data, self.rejects):
            _sync(file)
        self.done = Done(position, rows, refused, self.data.tell(), self.rejects.tell())
        self._log.write(json.dumps(self.done).encode() + b"\n")
        _sync(self._log)

    def finish(self, whole: Path | None = None) -> None:
        """Let the output appear, of `whole` where that is another file than `data`, and take the folder away."""
        self._landed()
        made = [(whole or self.folder / "data", self.output)]
        if self._rejected is not None:
            made.append((self.folder / "rejects", self._rejected))
        for file in (self.data, self.rejects):
            file.flush()
        for source, target in made:
            _sync_file(source)
            try:
                os.link(source, target)
            except OSError as error:
                raise FileRefused(str(target), error.strerror or str(error)) from error
            _sync_folder(target.parent)
        self.close()
        shutil.rmtree(self.folder)

    def close(self, *, forget: bool = False) -> None:
        """Let go of the folder; `forget` what is in it."""
        self._thread.shutdown()
        for file in (self.data, self.rejects, self._log):
            file.close()
        if forget:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def _output(self) -> list[Path]:
        """Give the files that become the output."""
        return [file for name in ("data", "whole") if (file := self.folder / name).exists()]

    def _size(self) -> int:
        return sum(file.stat().st_size for file in self._output())

    def _sync_written(self) -> None:
        for file in self._output():
            _sync_file(file)

    def _landed(self) -> None:
        """Wait for what is being put on disk. Raises FileRefused where that failed: no later sync would say so."""
        if self._ahead is not None:
            try:
                self._ahead.result()
            except OSError as error:
                raise FileRefused(str(self.folder), error.strerror or str(error)) from error

    def _known(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.folder / MADE_FROM).read_bytes())
        except (OSError, ValueError):
            return None
        return found if found.keys() == {"made_from", "now"} else None

    def _last(self) -> Done:
        """Give the last line of the log that is whole."""
        last = Done()
        try:
            lines = (self.folder / "log").read_bytes().split(b"\n")[:-1]
        except OSError:
            return last
        for line in lines:
            try:
                last = Done(*json.loads(line))
            except (ValueError, TypeError):
                break
        return last


def _cut(file: Path, size: int) -> IO[bytes]:
    """Open a file to go on after so many bytes."""
    opened = file.open("r+b" if file.exists() else "x+b")
    opened.truncate(size)
    opened.seek(size)
    return opened


def _write(file: Path, content: bytes) -> None:
    unfinished = file.with_name(f".{file.name}")
    with unfinished.open("wb") as opened:
        opened.write(content)
        _sync(opened)
    unfinished.replace(file)
    _sync_folder(file.parent)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_file(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
