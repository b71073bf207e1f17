"""Every rule book that was ever in force, so that an old answer can be given again."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, desc, insert, select

from ebill.store.tables import books


class Loaded(NamedTuple):
    """A rule book as it was loaded."""

    version: str
    loaded_at: datetime
    content: bytes


def at(connection: Connection, known_at: datetime | None = None) -> Loaded | None:
    """Give the rule book in force at an instant (None: the latest), or None where none was."""
    query = select(books.c.version, books.c.loaded_at, books.c.content).order_by(desc(books.c.sequence)).limit(1)
    if known_at is not None:
        query = query.where(books.c.loaded_at <= known_at)
    row = connection.execute(query).first()
    return Loaded(*row) if row else None


def keep(connection: Connection, loaded: Loaded) -> None:
    """Keep a rule book that is in force from now on."""
    row = {"version": loaded.version, "loaded_at": loaded.loaded_at, "content": loaded.content}
    connection.execute(insert(books), row)
