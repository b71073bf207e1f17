"""What all processes of an installation must know, and nobody else: random keys, kept in the store.

One seals: cursors, forms, tags, tries at a provider. It can be rotated: then another one seals, and the one before
still opens, for a day. The other is what the uids of calendars are made of, and never changes, since a calendar program
would take an event of another uid for another event; it tells nothing and opens nothing.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any, Final, Self

from sqlalchemy import Connection, delete, insert, select

from ebill.store.tables import secrets as table

BYTES: Final = 32
CALENDARS: Final = "cursors"
"""The name of the key that uids are made of; it is called by what it did, too, before there were two."""
SEAL: Final = "seal"
BEFORE: Final = "seal before"
KEPT: Final = timedelta(days=1)
"""How long the key before still opens."""


class Seal(bytes):
    """The key that seals, with the one before it and the instant until when that opens, and the one of calendars."""

    calendars: bytes
    before: tuple[bytes, datetime] | None

    def __new__(cls, value: bytes, calendars: bytes, before: tuple[bytes, datetime] | None = None) -> Self:
        """Make one of the keys as they are kept."""
        made = super().__new__(cls, value)
        made.calendars, made.before = calendars, before
        return made

    def at(self, at: datetime) -> Seal:
        """Give the keys that count at an instant: without the one before, once its time is over."""
        return self if self.before is None or at < self.before[1] else Seal(self, self.calendars)


def openers(seal: bytes) -> tuple[bytes, ...]:
    """Give the keys of which one may have sealed what comes back, the newest first."""
    return (seal, seal.before[0]) if isinstance(seal, Seal) and seal.before else (seal,)


def seal(connection: Connection) -> Seal | None:
    """Give the keys of an installation, or None where they were not made yet."""
    found = {row.name: row for row in connection.execute(select(table))}
    if SEAL not in found or CALENDARS not in found:
        return None
    before = found.get(BEFORE)
    return Seal(found[SEAL].value, found[CALENDARS].value, (before.value, before.until) if before else None)


def make(connection: Connection) -> Seal:
    """Make the keys of an installation and keep them; those that are there stay."""
    there = set(connection.scalars(select(table.c.name)))
    for name in (SEAL, CALENDARS):
        if name not in there:
            connection.execute(insert(table), {"name": name, "value": secrets.token_bytes(BYTES)})
    made = seal(connection)
    if made is None:
        raise RuntimeError("keys that were just made are not there")
    return made


def rotate(connection: Connection, until: datetime | None) -> None:
    """Let a new key seal; the one before opens until an instant, or (None) no more. Older ones are gone."""
    was = make(connection)
    connection.execute(delete(table).where(table.c.name.in_((SEAL, BEFORE))))
    rows: list[dict[str, Any]] = [{"name": SEAL, "value": secrets.token_bytes(BYTES), "until": None}]
    if until is not None:
        rows.append({"name": BEFORE, "value": bytes(was), "until": until})
    connection.execute(insert(table), rows)
