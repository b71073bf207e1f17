"""What a new rule book would move, beside looking the accounts up and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ebill import bookfile
from ebill.reading import read
from ebill.rulebook import RuleBook
from ebill.service.books import book_effect, dossiers
from ebill.store.engine import Store
from tests.bench.imports import STATES, import_file, new_store, write_clients
from tests.bench.measuring import Ratio, in_turn
from tests.bench.serving import NOW


def previews() -> Iterator[Ratio]:
    """What a new rule book would move, of 10,000 accounts over 12 months."""
    book = bookfile.load(bookfile.path()).book
    old = bookfile.path().read_text("utf-8")
    rows = "".join(
        f'\n[[states.{state}.rules]]\nsince = "2026-10"\ngeneration = {{ day_of_month = 9 }}\ncite = "bench"\n'
        for state in STATES
    )
    new = read((old + rows).encode(), "new.toml").book
    print("\nWhat a new rule book moves, of 10,000 accounts over 12 months, with nothing kept from before")
    for ways in (12, 200):
        with tempfile.TemporaryDirectory() as folder:
            file, store = Path(folder, "clients.csv"), new_store(Path(folder))
            write_clients(file, 2_000, 5, ways)
            import_file(store, book, file)
            yield preview_of(store, book, new, ways)
            store.close()


def preview_of(store: Store, book: RuleBook, new: RuleBook, ways: int) -> Ratio:
    """Tell what moves in a store."""
    month = np.datetime64("2026-09", "M")
    computed = 0

    def preview() -> object:
        nonlocal computed
        book.forget()
        new.forget()
        with store.reading() as connection:
            found = book_effect(connection, None, book, new, NOW, month, 12)
        computed = new._kept.cache_info().misses
        return found.as_data()

    def look_up() -> int:
        with store.reading() as connection:
            return sum(len(dossier.accounts) for dossier in dossiers(connection, None))

    found: Any = preview()
    taken = in_turn({"preview": (preview, 1), "look up": (look_up, 1)}, rounds=5)
    counts = found["counts"]
    print(
        f"  {counts['accounts_looked_at']:,} accounts, {computed} kinds of them: {counts['dates_moved']:,} dates move"
    )
    whole, least = taken.median("preview"), taken.median("look up")
    print(f"    {whole:5.2f} s in all; looking the accounts up and nothing else {least:5.2f} s")
    return taken.beside("preview", "look up", f"{ways} ways: preview / look up")
