"""Idempotency-Key: the answer of a change that must not happen twice, kept in the change's own transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from ebill.errors import KeyReused
from ebill.store.tables import answers

KEPT: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Asked:
    """What makes two requests the same: who asks, on which route, with which key, for what."""

    caller: str
    route: str
    key: str
    asked: bytes

    @classmethod
    def of(cls, caller: str, route: str, key: str, body: bytes) -> Asked:
        """Take a request apart; its body counts by its hash."""
        return cls(caller, route, key, hashlib.sha256(body).digest())


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was given; `headers` as JSON text."""

    status: int
    headers: str
    body: bytes


def kept(connection: Connection, asked: Asked, at: datetime) -> Kept | None:
    """Give the answer that this request had already, or None.

    Raises KeyReused where the key came with something else. Writers take turns, so what is under way is not seen.
    """
    row = connection.execute(_KEPT, {"caller": asked.caller, "route": asked.route, "key": asked.key}).first()
    if row is None or row.kept_at + KEPT < at:
        return None
    if row.asked != asked.asked:
        raise KeyReused
    return Kept(row.status, row.headers, row.body)


def keep(connection: Connection, asked: Asked, answer: Kept, at: datetime) -> None:
    """Keep an answer for a day, and let go of those that are older."""
    connection.execute(delete(answers).where(answers.c.kept_at < at - KEPT))
    row = {"caller": asked.caller, "route": asked.route, "idempotency_key": asked.key, "asked": asked.asked}
    said = {"status": answer.status, "headers": answer.headers, "body": answer.body}
    connection.execute(insert(answers), {**row, **said, "kept_at": at})


_KEPT: Final = select(answers).where(
    answers.c.caller == bindparam("caller"),
    answers.c.route == bindparam("route"),
    answers.c.idempotency_key == bindparam("key"),
)
