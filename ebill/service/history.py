"""The audit as it may be read: what was done, when, and on whose word."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, and_, or_, select

from ebill import access
from ebill.service import listing
from ebill.store import users
from ebill.store.tables import audit, clients
from ebill.store.users import User

CONFIGURING: Final = frozenset(
    {
        "put_client",
        "put_bill_account",
        "add_rule",
        "add_exception",
        "import_client",
        "record_payment",
        "correct_payment",
        "withdraw_payment",
    }
)
"""What is done to a client, which whoever sees the client may know of."""
SETTING: Final = frozenset({"put_client", "put_bill_account", "add_rule", "add_exception", "import_client"})
"""What of that sets how the client is billed."""
DECIDING: Final = frozenset({"grant", "withdraw", "access_granted", "access_declined"})
"""What is decided about who sees it, which is for its managers to know."""
PIECE: Final = 1000
"""Rows that are read together for a whole list."""
_OF_OTHERS: Final = ("token_id", "request_id")


@dataclass(frozen=True, slots=True)
class Sought:
    """Which audit rows: about a client, by an actor, of some actions, of UTC days `first` to `last`."""

    client_id: str | None = None
    actor: str | None = None
    only: Collection[str] | None = None
    first: date | None = None
    last: date | None = None
    newest: bool = False


EVERYTHING: Final = Sought()


class Line(NamedTuple):
    """An audit row as a table has it; `before` and `after` as JSON."""

    at: str
    actor: str
    action: str
    client_id: str | None
    account_id: str | None
    subject: str | None
    reason: str | None
    before: str
    after: str
    token_id: str | None
    request_id: str | None
    sequence: int | None
    hash: str | None


def list_audit(
    connection: Connection, user: User, limit: int, cursor: str | None, key: bytes, sought: Sought = EVERYTHING
) -> dict[str, Any]:
    """Answer with at most `limit` audit rows, the oldest or the newest first, and the cursor of the next page.

    `only` narrows them to some actions.
    An administrator reads all of them. Others read what they did themselves, and what was done to the clients that
    they see now; of that, who may see a client is for its managers alone. Numbers, hashes and tokens would tell of
    other rows and other people: `key` seals the cursors, which go by instants. Raises ClientNotFound and BadRequest.
    """
    about, newest = orjson.dumps(["audit", user.user_id, asdict(sought)], default=sorted), sought.newest
    query = select(audit).where(*_audit_open_to(user))
    if sought.client_id is not None:
        access.see(connection, user, sought.client_id)
    for column in ("client_id", "actor"):
        if (value := getattr(sought, column)) is not None:
            query = query.where(audit.c[column] == value)
    if sought.only is not None:
        query = query.where(audit.c.action.in_(sorted(sought.only)))
    if sought.first is not None:
        query = query.where(audit.c.at >= datetime.combine(sought.first, time(), UTC))
    if sought.last is not None:
        query = query.where(audit.c.at < datetime.combine(sought.last + timedelta(days=1), time(), UTC))
    begin, skipped = None, 0
    if cursor is not None:
        at, count = listing.opened(key, about, cursor)
        begin, skipped = datetime.fromisoformat(at), int(count)
        query = query.where(audit.c.at <= begin if newest else audit.c.at >= begin).offset(skipped)
    query = query.order_by(audit.c.sequence.desc() if newest else audit.c.sequence).limit(limit + 1)
    found = connection.execute(query).mappings().all()
    page, next_cursor = found[:limit], None
    if len(found) > limit:
        last = page[-1]["at"]
        count = sum(row["at"] == last for row in page) + (skipped if last == begin else 0)
        next_cursor = listing.sealed(key, about, [last.isoformat(), str(count)])
    return {"data": [_audit_row(row, user) for row in page], "next_cursor": next_cursor}


def set_between(connection: Connection, user: User, begin: datetime, end: datetime) -> list[tuple[str, str]]:
    """Give the clients, of those that a user may know of, of which something was set between two instants; and by whom.

    Neither instant counts; by client.
    """
    query = select(audit.c.client_id, audit.c.actor).where(*_audit_open_to(user), audit.c.action.in_(sorted(SETTING)))
    query = query.where(audit.c.at > begin, audit.c.at < end).distinct().order_by(audit.c.client_id, audit.c.actor)
    return [(row.client_id, row.actor) for row in connection.execute(query)]


def every_line(
    reading: Callable[[], AbstractContextManager[Connection]], user: User, key: bytes, sought: Sought
) -> Iterator[Line]:
    """Give every audit row that `list_audit` would, a page at a time: no transaction is open between them.

    Each page is for the user as they are then; the list ends early for one who may read no more of it.
    """
    cursor = None
    while True:
        with reading() as connection:
            now = users.user(connection, user.user_id)
            if now is None or now.disabled_at:
                return
            access.allow(now, "read_audit")
            now = replace(now, scope=user.scope)
            page = list_audit(connection, now, PIECE, cursor, key, sought)
        for row in page["data"]:
            told = {**row, "at": row["at"].isoformat(), "before": _json(row["before"]), "after": _json(row["after"])}
            yield Line(**{name: told[name] for name in Line._fields})
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _json(data: Any) -> str:
    return "" if data is None else orjson.dumps(data).decode()


def _audit_open_to(user: User) -> Iterator[ColumnElement[bool]]:
    """Give the conditions on the audit rows that a user may read."""
    yield access.within(user, audit.c.client_id)
    if user.role != "admin":
        seen = audit.c.client_id.in_(select(clients.c.client_id).where(access.visible(user)))
        mine = audit.c.actor == user.user_id
        actions = CONFIGURING | DECIDING if user.role == "client_manager" else CONFIGURING
        yield or_(and_(seen, or_(mine, audit.c.action.in_(sorted(actions)))), and_(audit.c.client_id.is_(None), mine))


def _audit_row(row: Any, reader: User) -> dict[str, Any]:
    told = {str(name): value for name, value in row.items()}  # orjson takes no other kind of text for a key
    del told["previous_hash"]
    told["hash"] = told["hash"].hex()
    for data in ("before", "after"):
        told[data] = orjson.loads(told[data]) if told[data] else None
    if reader.role != "admin" or (reader.scope and reader.scope.some_clients):
        hidden = ("sequence", "hash") if told["actor"] == reader.user_id else ("sequence", "hash", *_OF_OTHERS)
        told |= dict.fromkeys(hidden)
    return told
