"""A file of clients as people import it: tried first, then imported only if it still does what they were shown.

The trial is the API's dry run, with the state that it holds for: the bytes, the rule book, and all that they would
move. Importing does the very same once more, and keeps it only where nothing of that came out otherwise; so nobody
moves a date unawares, and a form that is sent twice imports once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from typing import IO, Any, Final, TextIO

import orjson

from ebill.errors import HazardsNotAcknowledged, ImportRefused, PreviewOutdated, Refusal
from ebill.rulebook import RuleBook
from ebill.service.excerpts import Excerpt, excerpt
from ebill.service.imports import import_clients
from ebill.store.engine import Writing
from ebill.store.users import User

BLOCK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Trial:
    """What importing a file comes to. `digest` is the SHA-256 of its bytes, `state` stands for all that it would do.

    Where it was not imported, `refusal` is why, if that was wanted; `excerpt` shows what is wrong with the file, if
    anything is: it has no `answer` then.
    """

    digest: str
    state: str = ""
    answer: dict[str, Any] | None = None
    refusal: Refusal | None = None
    excerpt: Excerpt | None = None

    @property
    def hazards(self) -> list[dict[str, Any]]:
        """Every hazard; once for accounts that move alike, which are its `accounts`."""
        changes = self.answer["effect"]["changes"] if self.answer else []
        return [{**hazard, "accounts": each["accounts"]} for each in changes for hazard in each["hazards"]]


def try_import(write: Writing, book: RuleBook, user: User, file: IO[bytes]) -> Trial:
    """Try a file, and keep nothing of it."""
    found = _run(write, book, user, file, dry_run=True)
    write.unchanged()
    return found


def import_as_tried(
    write: Writing, book: RuleBook, user: User, file: IO[bytes], state: str, *, acknowledged: bool
) -> Trial:
    """Import a file if it does just what it did when it was tried, and its hazards are acknowledged; else keep nothing.

    The `refusal` of what is not imported is ImportRefused, PreviewOutdated or HazardsNotAcknowledged.
    """
    found = _run(write, book, user, file, dry_run=False)
    refusal = found.refusal
    if refusal is None and found.state != state:
        refusal = PreviewOutdated()
    elif refusal is None and found.hazards and not acknowledged:
        refusal = HazardsNotAcknowledged(len(found.hazards))
    if refusal is not None:
        write.unchanged()
    return Trial(found.digest, found.state, found.answer, refusal, found.excerpt)


def _run(write: Writing, book: RuleBook, user: User, file: IO[bytes], *, dry_run: bool) -> Trial:
    seen = hashlib.sha256()
    while block := file.read(BLOCK):
        seen.update(block)
    digest = seen.hexdigest()
    try:
        with _text(file) as text:
            answer = import_clients(write, book, user, text, dry_run=dry_run)
    except ImportRefused as refusal:
        with _text(file, errors="replace") as text:
            return Trial(digest, refusal=refusal, excerpt=excerpt(text, refusal.cells))
    does = {name: value for name, value in answer.items() if name != "dry_run"}
    told = orjson.dumps([digest, book.version, does], option=orjson.OPT_SORT_KEYS)
    return Trial(digest, hashlib.sha256(told).hexdigest(), answer)


@contextmanager
def _text(file: IO[bytes], errors: str = "strict") -> Iterator[TextIO]:
    """Read a file as text from its beginning, as an import does; it stays open."""
    file.seek(0)
    text = TextIOWrapper(file, encoding="utf-8-sig", errors=errors, newline="")
    try:
        yield text
    finally:
        text.detach()
