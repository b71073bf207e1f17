"""Who changed what, when, on whose word: one row a change, in its transaction, each chained to the one before.

The hash of a row covers all its facts and the hash before it: take a row out, or alter one, and the chain breaks
there. The database refuses to change or remove a row, besides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, desc, insert, select

from ebill.store.tables import audit as table

FIRST: Final = bytes(32)
FACTS: Final = ("client_id", "account_id", "subject", "before", "after", "reason")


@dataclass(frozen=True, slots=True)
class By:
    """On whose word a change is made, when, and in which request."""

    actor: str
    at: datetime
    token_id: str | None = None
    request_id: str | None = None


class Last(NamedTuple):
    """The end of the chain."""

    sequence: int
    hash: bytes
    at: datetime | None


def last(connection: Connection) -> Last:
    """Give the end of the chain."""
    row = connection.execute(_LAST).first()
    return Last(row.sequence, row.hash, row.at) if row else Last(0, FIRST, None)


def state(connection: Connection, client_id: str, actions: Iterable[str]) -> bytes:
    """Give the state of a client by some actions: the hash of the last row of these, or nothing.

    While it is the same, none of them was done since.
    """
    found = connection.scalar(_STATE, {"of": client_id, "actions": sorted(actions)})
    return found or b""


def append(connection: Connection, after: Last, by: By, at: datetime, action: str, facts: Mapping[str, Any]) -> Last:
    """Add a row. Facts are `client_id`, `account_id`, `subject`, `before`, `after` (plain data) and `reason`."""
    return append_all(connection, after, by, at, [(action, facts)])


def append_all(
    connection: Connection, after: Last, by: By, at: datetime, done: Iterable[tuple[str, Mapping[str, Any]]]
) -> Last:
    """Add a row for each action and its facts, in one statement; see `append`."""
    rows: list[dict[str, Any]] = []
    for action, facts in done:
        row = _row(after, by, at, action, facts)
        rows.append(row)
        after = Last(row["sequence"], row["hash"], at)
    if rows:
        connection.execute(insert(table), rows)
    return after


def _row(after: Last, by: By, at: datetime, action: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := facts.keys() - set(FACTS):
        raise TypeError(f"an audit row has no {', '.join(sorted(unknown))}")
    row: dict[str, Any] = {
        "sequence": after.sequence + 1,
        "at": at,
        "actor": by.actor,
        "token_id": by.token_id,
        "request_id": by.request_id,
        "action": action,
        **{fact: facts.get(fact) for fact in FACTS},
        "previous_hash": after.hash,
    }
    for data in ("before", "after"):
        if row[data] is not None:
            row[data] = orjson.dumps(row[data], option=orjson.OPT_SORT_KEYS, default=str).decode()
    row["hash"] = _hash(row)
    return row


def breaks(connection: Connection) -> Iterator[int]:
    """Give the sequence of each row at which the chain does not hold: altered, or one before it missing."""
    sequence, previous = 0, FIRST
    for row in connection.execute(select(table).order_by(table.c.sequence)).mappings():
        if row["sequence"] != sequence + 1 or row["previous_hash"] != previous or row["hash"] != _hash(dict(row)):
            yield row["sequence"]
        sequence, previous = row["sequence"], row["hash"]


def _hash(row: Mapping[str, Any]) -> bytes:
    facts = [row[column.name] for column in table.columns if column.name not in ("hash", "previous_hash", "at")]
    at = row["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(row["previous_hash"] + orjson.dumps([at, *facts])).digest()


_LAST: Final = select(table.c.sequence, table.c.hash, table.c.at).order_by(desc(table.c.sequence)).limit(1)
_STATE: Final = (
    select(table.c.hash)
    .where(table.c.client_id == bindparam("of"), table.c.action.in_(bindparam("actions", expanding=True)))
    .order_by(desc(table.c.sequence))
    .limit(1)
)
