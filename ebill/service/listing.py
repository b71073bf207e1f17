"""Long lists, page by page.

A cursor is where the next page begins, sealed: it holds only for the user and the filters it was given for, and
nobody can make one up. It grants nothing: each page is found by a query of its own that joins what the user may see.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

import orjson
from sqlalchemy import Connection, select

from ebill import access
from ebill.errors import BadRequest
from ebill.store.keys import openers
from ebill.store.many import holds
from ebill.store.tables import client_versions, clients
from ebill.store.users import User

PAGE: Final = 50
PAGE_MOST: Final = 200
_SEAL: Final = 16
"""Bytes of a cursor that show who made it."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Which clients: of a state, a product, a team (as their own settings have it); `q` is part of a name or an id.

    `q` is taken as it is written, whatever the case of its ASCII letters.
    """

    state: str | None = None
    product: str | None = None
    team_id: str | None = None
    q: str | None = None


def clients_page(
    connection: Connection, user: User, sought: Sought, limit: int, cursor: str | None, key: bytes
) -> dict[str, Any]:
    """Answer with the clients that a user sees, by id, at most `limit` of them, and the cursor of the next page.

    `key` seals the cursors: a secret that all processes of an installation share. Raises BadRequest for a cursor that
    was not given to this user for these filters.
    """
    about = orjson.dumps(["clients", user.user_id, asdict(sought)])
    after = None if cursor is None else _opened(key, about, cursor)
    of_client = clients.c.client_id == client_versions.c.client_id
    query = (
        select(*(client_versions.c[name] for name in _SHOWN))
        .join(clients, of_client & (clients.c.version == client_versions.c.version))
        .where(access.visible(user))
        .order_by(clients.c.client_id)
        .limit(limit + 1)
    )
    for name in ("state", "product", "team_id"):
        value = getattr(sought, name)
        if value is not None:
            query = query.where(client_versions.c[name] == value)
    if sought.q is not None:
        query = query.where(holds(client_versions.c.name, sought.q) | holds(clients.c.client_id, sought.q))
    if after is not None:
        query = query.where(clients.c.client_id > after)
    rows = [dict(zip(_SHOWN, row, strict=True)) for row in connection.execute(query)]
    for row in rows:
        row["skip_coverage_months"] = orjson.loads(row["skip_coverage_months"] or b"null")
    page = rows[:limit]
    more = len(rows) > limit
    return {"data": page, "next_cursor": sealed(key, about, [page[-1]["client_id"]]) if more else None}


def sealed(key: bytes, about: bytes, position: Sequence[str]) -> str:
    """Make the cursor of a position; `about` says whose it is, and in which list."""
    text = orjson.dumps(position)
    return urlsafe_b64encode(_seal(key, about, text) + text).decode().rstrip("=")


def opened(key: bytes, about: bytes, cursor: str) -> list[str]:
    """Give the position of a cursor.

    Raises BadRequest unless it was sealed with this key or the one before, about just this.
    """
    try:
        whole = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (UnicodeEncodeError, Error):
        whole = b""
    seal, text = whole[:_SEAL], whole[_SEAL:]
    if not any(hmac.compare_digest(seal, _seal(each, about, text)) for each in openers(key)):
        raise BadRequest("This cursor was not given to you for these filters; begin again without one.")
    return cast("list[str]", orjson.loads(text))


def _opened(key: bytes, about: bytes, cursor: str) -> str:
    (client_id,) = opened(key, about, cursor)
    return client_id


def _seal(key: bytes, about: bytes, text: bytes) -> bytes:
    return hmac.digest(key, hashlib.sha256(about).digest() + text, "sha256")[:_SEAL]


_SHOWN: Final = (
    "client_id",
    "name",
    "state",
    "product",
    "timezone",
    "first_coverage_month",
    "last_coverage_month",
    "skip_coverage_months",
    "version",
    "team_id",
    "bills_here_since",
)
