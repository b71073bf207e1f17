"""What all processes of an installation must know, and nobody else: random keys, made once and kept in the store."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import Connection, insert, select

from ebill.store.tables import secrets as table

BYTES: Final = 32
OURS: Final = "cursors"
"""The name of the key that seals cursors, and that the uids of calendars are made of."""


def key(connection: Connection, name: str) -> bytes | None:
    """Give a key, or None where it was not made yet."""
    found: bytes | None = connection.scalar(select(table.c.value).where(table.c.name == name))
    return found


def make(connection: Connection, name: str) -> bytes:
    """Make a key and keep it."""
    value = secrets.token_bytes(BYTES)
    connection.execute(insert(table), {"name": name, "value": value})
    return value
