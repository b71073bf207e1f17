"""A file of clients as people import it: tried first, then imported only if it still does what they were shown.

The trial is the API's dry run, with the state that it holds for: the bytes, the rule book, and all that they would
move. Importing does the very same once more, and keeps it only where nothing of that came out otherwise; so nobody
moves a date unawares, and a form that is sent twice imports once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from io import TextIOWrapper
from typing import IO, Any, Final, TextIO

from ebill.errors import HazardsNotAcknowledged, ImportRefused, PreviewOutdated, Refusal
from ebill.rulebook import RuleBook
from ebill.service import history, seen
from ebill.service.excerpts import Excerpt, excerpt
from ebill.service.imports import import_clients
from ebill.service.rows import lines
from ebill.store.engine import Writing
from ebill.store.users import User

BLOCK: Final = 1 << 16
NAMED_MOST: Final = 5
"""Clients that are named at most of those that were changed meanwhile."""
MOVES: Final = "what it would do"
_SINCE: Final = "@"
_LONGEST_AGO: Final = timedelta(days=31)
"""How long after a trial it is still told what has changed since."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What importing a file comes to. `digest` is the SHA-256 of its bytes; `shown` all it would do, and hangs on.

    Where it was not imported, `refusal` is why, if that was wanted; `excerpt` shows what is wrong with the file, if
    anything is: it has no `answer` then.
    """

    digest: str
    shown: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None
    answer: dict[str, Any] | None = None
    refusal: Refusal | None = None
    excerpt: Excerpt | None = None

    @property
    def state(self) -> str:
        """The state that it holds for, with the instant."""
        return f"{seen.sealed(self.shown)}{_SINCE}{self.at.isoformat() if self.at else ''}"

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
    was_shown, _, since = state.partition(_SINCE)
    if refusal is None and (changed := seen.changed(found.shown, was_shown)):
        refusal = PreviewOutdated([*changed, *_changed_since(write, user, file, since)])
    elif refusal is None and found.hazards and not acknowledged:
        refusal = HazardsNotAcknowledged(len(found.hazards))
    if refusal is not None:
        write.unchanged()
    return replace(found, refusal=refusal)


def _run(write: Writing, book: RuleBook, user: User, file: IO[bytes], *, dry_run: bool) -> Trial:
    whole = hashlib.sha256()
    while block := file.read(BLOCK):
        whole.update(block)
    digest = whole.hexdigest()
    try:
        with _text(file) as text:
            answer = import_clients(write, book, user, text, dry_run=dry_run)
    except ImportRefused as refusal:
        with _text(file, errors="replace") as text:
            return Trial(digest, refusal=refusal, excerpt=excerpt(text, refusal.cells))
    does = {name: value for name, value in answer.items() if name != "dry_run"}
    return Trial(digest, {"the file": digest, "the rule book": book.version, MOVES: does}, write.at, answer)


def _changed_since(write: Writing, user: User, file: IO[bytes], since: str) -> list[str]:
    """Name clients of a file whose settings were changed after an instant, as far as a user may know; with by whom."""
    try:
        begin = datetime.fromisoformat(since)
    except ValueError:
        return []
    if begin.tzinfo is None or abs(begin - write.at) > _LONGEST_AGO:
        return []
    with _text(file) as text:
        named = {line.client_id for line in lines(text, [])}
    rows = history.set_between(write.connection, user, begin, write.at)
    found = [f"client {client_id} (by {actor})" for client_id, actor in rows if client_id in named]
    more = len(found) - NAMED_MOST
    return [*found[:NAMED_MOST], f"{more:,} more"] if more > 0 else found


@contextmanager
def _text(file: IO[bytes], errors: str = "strict") -> Iterator[TextIO]:
    """Read a file as text from its beginning, as an import does; it stays open."""
    file.seek(0)
    text = TextIOWrapper(file, encoding="utf-8-sig", errors=errors, newline="")
    try:
        yield text
    finally:
        text.detach()
