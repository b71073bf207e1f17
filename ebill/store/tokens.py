"""Tokens of the API: whose each is, until when it counts, and what it leaves of its user's rights."""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, bindparam, insert, select, update

from ebill.store.glance import Glance
from ebill.store.secret import hashed, is_due
from ebill.store.tables import token_clients, tokens, users
from ebill.store.together import Together
from ebill.store.users import USERS, Scope, User, as_user

PREFIX: Final = "ebp_"
"""What every token begins with, so that one is known for what it is wherever it turns up."""
USE_NOTED: Final = timedelta(minutes=5)
"""How exactly the last use of a token is known."""


@dataclass(frozen=True, slots=True)
class Token:
    """An API token, without its secret, which nobody keeps.

    It may be for reading alone, and for some clients alone (None: for all that its user sees).
    """

    token_id: str
    user_id: str
    name: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None = None
    read_only: bool = False
    client_ids: tuple[str, ...] | None = None


class Holder(NamedTuple):
    """Whose token it is, which of theirs, and until when it counts."""

    user: User
    token_id: str
    expires_at: datetime


def new_token(
    connection: Connection,
    user_id: str,
    name: str,
    at: datetime,
    expires_at: datetime,
    *,
    read_only: bool = False,
    client_ids: Iterable[str] | None = None,
) -> tuple[Token, str]:
    """Make a token; its text is given this once and kept only as a hash. `client_ids` are clients that there are.

    The text is `ebp_`, the token's id, `_`, 256 random bits and a checksum, by which one that leaked is told from
    other text without asking us.
    """
    token_id, secret = secrets.token_hex(8), _base62(secrets.randbits(256), _SECRET)
    some = None if client_ids is None else tuple(sorted(set(client_ids)))
    row = {
        "token_id": token_id,
        "hash": hashed(secret),
        "user_id": user_id,
        "name": name,
        "created_at": at,
        "expires_at": expires_at,
        "read_only": int(read_only),
        "some_clients": int(some is not None),
    }
    connection.execute(insert(tokens), row)
    if some:
        connection.execute(insert(token_clients), [{"token_id": token_id, "client_id": each} for each in some])
    token = Token(token_id, user_id, name, at, expires_at, None, read_only=read_only, client_ids=some)
    return token, _token_text(token_id, secret)


def holder(connection: Connection, text: str, at: datetime) -> tuple[User, str] | None:
    """Give the user, and the token's id, whose token this text is; None where it is none that counts at `at`.

    Whatever is wrong with it, as much is asked of the store.
    """
    row = held(connection, text, at, HOLDER)
    return (as_holder(row), row.token_id) if row else None


def held(connection: Connection | Glance, text: str, at: datetime, query: Select[Any], **asked: str) -> Any:
    """Do as `holder`, by a query that asks for more than `HOLDER` does; gives its row."""
    form = _TOKEN.fullmatch(text)
    token_id, secret = form.groups() if form else ("", "")
    row = connection.execute(query, {"token_id": token_id, **asked}).first()
    is_right = secrets.compare_digest(row.hash if row else bytes(32), hashed(secret))
    if not row or not is_right or text != _token_text(token_id, secret):
        return None
    return None if row.revoked_at or row.expires_at <= at or row.disabled_at else row


def known(glance: Glance, text: str, at: datetime) -> Holder | None:
    """Do as `holder` at a glance that remembers: whose token it is, is found out once for each state of the store.

    It is remembered by a hash of the text, one that is quick to begin. Only the instant at which a token expires comes
    without a change.
    """
    remembered, key = glance.remembered(), hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest()
    found: Holder | None = remembered.get(key)
    if found is None:
        row = held(glance, text, at, HOLDER)
        if row is None:
            return None
        found = remembered[key] = Holder(as_holder(row), row.token_id, row.expires_at)
    return found if found.expires_at > at else None


def use_is_due(connection: Connection, token_id: str, at: datetime) -> bool:
    """Tell whether a use of a token is yet to be noted: see `used`."""
    query = select(tokens.c.token_id).where(tokens.c.token_id == token_id, is_due(tokens.c.last_used_at, at, USE_NOTED))
    return connection.scalar(query) is not None


def used(connection: Connection, token_id: str, at: datetime) -> None:
    """Note that a token is in use; not more than every few minutes, since to be durable takes its time."""
    query = update(tokens).where(tokens.c.token_id == token_id, is_due(tokens.c.last_used_at, at, USE_NOTED))
    connection.execute(query.values(last_used_at=at))


def tokens_of(connection: Connection, user_id: str | None) -> list[Token]:
    """Give a user's tokens (None: everybody's), oldest first."""
    query = _TOKENS if user_id is None else _TOKENS.where(tokens.c.user_id == user_id)
    return [_token(row) for row in connection.execute(query)]


def token_owner(connection: Connection, token_id: str) -> str | None:
    """Give whose token this is, or None."""
    return connection.scalar(select(tokens.c.user_id).where(tokens.c.token_id == token_id))


def revoke(connection: Connection, token_id: str, at: datetime) -> bool:
    """Revoke a token for good; False where it was revoked already or never was."""
    query = update(tokens).where(tokens.c.token_id == token_id, tokens.c.revoked_at.is_(None)).values(revoked_at=at)
    return connection.execute(query).rowcount == 1


def as_holder(row: Any) -> User:
    """Make a user of a row of `HOLDER`, with the scope of the token."""
    user = as_user(row)
    if not row.read_only and not row.some_clients:
        return user
    return replace(user, scope=Scope(row.token_id, bool(row.read_only), bool(row.some_clients)))


def _token(row: Any) -> Token:
    values = {name: getattr(row, name) for name in Token.__slots__}
    values["read_only"] = bool(row.read_only)
    values["client_ids"] = tuple(sorted(filter(None, (row.client_ids or "").split(",")))) if row.some_clients else None
    return Token(**values)


def _token_text(token_id: str, secret: str) -> str:
    text = f"{PREFIX}{token_id}_{secret}"
    return text + _base62(zlib.crc32(text.encode("ascii")), _CHECKSUM)


def _base62(number: int, length: int) -> str:
    """Write a number in digits and letters.

    >>> _base62(61, 2), _base62(62, 2), _base62(2**256 - 1, 43) < "z" * 43
    ('0z', '10', True)
    """
    written = ""
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        written = _DIGITS[digit] + written
    return written


_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET: Final = 43
_CHECKSUM: Final = 6
_TOKEN: Final = re.compile(rf"{PREFIX}([0-9a-f]{{16}})_([0-9A-Za-z]{{{_SECRET}}})[0-9A-Za-z]{{{_CHECKSUM}}}")
HOLDER: Final = (
    USERS.add_columns(
        *(tokens.c[name] for name in ("token_id", "hash", "expires_at", "revoked_at", "read_only", "some_clients"))
    )
    .select_from(users.join(tokens))
    .where(tokens.c.token_id == bindparam("token_id"))
)
_OF_TOKEN: Final = (
    select(Together(token_clients.c.client_id)).where(token_clients.c.token_id == tokens.c.token_id).scalar_subquery()
)
_TOKENS: Final = select(tokens, _OF_TOKEN.label("client_ids")).order_by(tokens.c.created_at, tokens.c.token_id)
