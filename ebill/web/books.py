"""The rule book that answers, and each one that ever did, kept in the store in the order they came into force.

One that is loaded anew is kept by a thread of its own: whoever's request happened to load it waits for no store. An
answer about a client waits until its rule book is kept, since it must be possible to give it again (`known_at`).
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from ebill.bookfile import BookFile
from ebill.errors import StoreUnavailable
from ebill.logs import log
from ebill.rulebook import RuleBook
from ebill.service import books
from ebill.store.audit import By
from ebill.store.engine import LOCK_SECONDS, Store

THREAD: Final = "keeps rule books"


class Books:
    """The rule books of one process. The first one is kept before anything is answered, or StoreUnavailable raised."""

    def __init__(self, store: Store, file: BookFile) -> None:
        self._store, self._file = store, file
        self._waiting = deque([file.book])
        self._turn = threading.Lock()
        file.loaded = self._loaded
        self._keep()

    @property
    def book(self) -> RuleBook:
        """The rule book in force, once it is kept."""
        book = self._file.book
        if self._waiting:
            self._keep()
        return book

    def _loaded(self, book: RuleBook) -> None:
        log("rule_book_loaded", version=book.version)
        self._waiting.append(book)
        threading.Thread(target=self._keep_soon, name=THREAD, daemon=True).start()

    def _keep_soon(self) -> None:
        with suppress(StoreUnavailable):  # then the next answer about a client tries again
            self._keep()

    def _keep(self) -> None:
        if not self._turn.acquire(timeout=LOCK_SECONDS):
            raise StoreUnavailable
        try:
            while self._waiting:
                self._keep_one(self._waiting[0])
                self._waiting.popleft()
        finally:
            self._turn.release()

    def _keep_one(self, book: RuleBook) -> None:
        with self._store.reading() as connection:
            if books.is_latest(connection, book):
                return
        with self._store.writing(By("ebill", datetime.now(UTC)), lambda: datetime.now(UTC)) as write:
            books.keep(write, book)
