"""Whether the service can answer, and what somebody who operates it looks at: found out of the store, with a deadline.

A database may be gone, or merely never answer: whoever asks about it is told so within `SECONDS`, and the question that
hangs is not asked a second time beside the first.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select

from ebill.errors import NotReady, Refusal, StoreUnavailable
from ebill.store import audit, books
from ebill.store.backup import BACKED_UP
from ebill.store.engine import Store
from ebill.store.reminders import messages
from ebill.store.tables import audit as audit_rows

SECONDS: Final = 2.0
BEHIND_MOST: Final = timedelta(minutes=5)
"""By how much the clock may be behind the last change: machines differ, but not by more."""
FREE_FEWEST: Final = 256 << 20
"""Bytes free on the store's disk below which it is low."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is in a store. Instants are None where nothing of the kind happened."""

    sequence: int
    last_at: datetime | None
    waiting: int
    oldest_waiting_at: datetime | None
    book_since: datetime | None
    backed_up_at: datetime | None


class Standing(NamedTuple):
    """A store that answers: its facts, and what is not as it should be though everything still works."""

    facts: Facts
    degraded: list[str]


class Health:
    """The health of one store, as one process sees it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._asked: _Answer | None = None
        self._searched = 0
        self._backed_up_at: datetime | None = None

    def standing(self, now: datetime) -> Standing:
        """Tell how the store stands. Raises StoreUnavailable, NotReady, and StoreRefused."""
        with self._lock:
            if self._asked is None or self._asked.done.is_set():
                self._asked = _Answer(self._facts)
            asked = self._asked
        facts = asked.within(SECONDS)
        if facts.last_at is not None and facts.last_at - now > BEHIND_MOST:
            raise NotReady("this machine's clock is behind the last change that was kept")
        return Standing(facts, ["disk"] if self._disk_is_low() else [])

    def _disk_is_low(self) -> bool:
        if not self._store.is_sqlite:
            return False
        folder = Path(str(self._store.engine.url.database)).resolve().parent
        return shutil.disk_usage(folder).free < FREE_FEWEST

    def _facts(self) -> Facts:
        self._store.refuse_moved()
        if not self._store.is_current():
            raise NotReady("the store's tables are those of another release")
        with self._store.reading() as connection:
            last = audit.last(connection)
            self._search(connection, last.sequence)
            waiting, oldest = connection.execute(_WAITING).one()
            book = books.at(connection)
        facts = Facts(last.sequence, last.at, waiting, oldest, book and book.loaded_at, None)
        return replace(facts, backed_up_at=self._backed_up_at)

    def _search(self, connection: Connection, last: int) -> None:
        """Look for the last backup, in what has come since it was last looked for: an audit may be long."""
        found = connection.scalar(_BACKED_UP.where(audit_rows.c.sequence > self._searched))
        self._backed_up_at = found or self._backed_up_at
        self._searched = last


_WAITING: Final = select(func.count(), func.min(messages.c.created_at)).where(messages.c.next_attempt_at.is_not(None))
_BACKED_UP: Final = select(func.max(audit_rows.c.at)).where(audit_rows.c.action == BACKED_UP)


class _Answer:
    """What a question is answered with, on a thread of its own, which no end of the program waits for."""

    def __init__(self, question: Callable[[], Facts]) -> None:
        self.done = threading.Event()
        self._facts: Facts | None = None
        self._error: Exception | None = None
        self._question = question
        threading.Thread(target=self._run, name="looks at the store", daemon=True).start()

    def within(self, seconds: float) -> Facts:
        """Give the answer. Raises what was raised, and StoreUnavailable where there is none in time."""
        if not self.done.wait(seconds):
            raise StoreUnavailable
        if self._error is not None:
            raise self._error if isinstance(self._error, Refusal) else StoreUnavailable from self._error
        if self._facts is None:
            raise StoreUnavailable
        return self._facts

    def _run(self) -> None:
        try:
            self._facts = self._question()
        except Exception as error:  # noqa: BLE001  # it is raised where it was asked
            self._error = error
        finally:
            self.done.set()
