"""Tokens: users make their own, of all their rights or of some, and revoke them; their text is told once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from marshmallow import fields, validate
from sqlalchemy import Connection, select

from ebill import access
from ebill.errors import ClientNotFound, Fault, InvalidInput, TokenNotFound
from ebill.grammar import Flag, Strict, Text, Whole
from ebill.service.clients import also_faulty
from ebill.service.forms import CLIENTS_AT_ONCE, ID, Id, load
from ebill.service.users import known
from ebill.store import tokens
from ebill.store.engine import Writing
from ebill.store.tables import clients
from ebill.store.tokens import Token
from ebill.store.users import User

TOKEN_DAYS: Final = 90
TOKEN_DAYS_MOST: Final = 365


class TokenSchema(Strict):
    """The body of `POST /v1/tokens`: it may be for reading alone, and for some of the clients that one sees."""

    name = Text(required=True)
    days = Whole(1, TOKEN_DAYS_MOST, load_default=TOKEN_DAYS)
    read_only = Flag(load_default=False)
    client_ids = fields.List(
        Id(),
        load_default=None,
        validate=validate.Length(1, CLIENTS_AT_ONCE, error="must be {min} to {max} ids of clients"),
    )


def make_token(write: Writing, user: User, body: Any) -> dict[str, Any]:
    """Make a token of the user's; its text is in this answer and nowhere else, ever. Raises InvalidInput."""
    return _made(write, user.user_id, **_read(write.connection, user, body))


def token_faults(connection: Connection, user: User, body: Any) -> tuple[Fault, ...]:
    """Find all that is wrong with such a body, before a token is made of it."""
    try:
        _read(connection, user, body)
    except InvalidInput as refusal:
        return refusal.faults
    return ()


def token_for(
    write: Writing,
    user_id: str,
    name: str,
    days: int = TOKEN_DAYS,
    *,
    read_only: bool = False,
    client_ids: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Make a token for a user: for reading alone, and for some clients alone, where that is said.

    Raises InvalidInput for a client that is not there or that its user does not see, alike.
    """
    unseen = list(_unseen(write.connection, known(write.connection, user_id), client_ids or ()))
    if unseen:
        raise InvalidInput(unseen)
    return _made(write, user_id, name, days, read_only=read_only, client_ids=client_ids)


def _made(
    write: Writing, user_id: str, name: str, days: int, *, read_only: bool, client_ids: Sequence[str] | None
) -> dict[str, Any]:
    expires_at = write.at + timedelta(days=days)
    token, text = tokens.new_token(
        write.connection, user_id, name, write.at, expires_at, read_only=read_only, client_ids=client_ids
    )
    after = {
        "token_id": token.token_id,
        "expires_at": expires_at,
        "read_only": read_only,
        "client_ids": token.client_ids,
    }
    write.audit("make_token", subject=user_id, after=after)
    return {**token_as_data(token), "token": text}


def list_tokens(connection: Connection, user: User) -> dict[str, Any]:
    """Answer with the tokens of the user who asks; of the clients of a scope, with those that they see now."""
    found = tokens.tokens_of(connection, user.user_id)
    named = sorted({client_id for token in found for client_id in token.client_ids or ()})
    query = select(clients.c.client_id).where(clients.c.client_id.in_(named), access.visible(user))
    seen = set(connection.scalars(query)) if named else set()
    left = (
        token if token.client_ids is None else replace(token, client_ids=tuple(sorted(seen & set(token.client_ids))))
        for token in found
    )
    return {"data": [token_as_data(token) for token in left]}


def tokens_of(connection: Connection, user_id: str) -> dict[str, Any]:
    """Answer with the tokens of a user. Raises UserNotFound."""
    return list_tokens(connection, known(connection, user_id))


def revoke_token(write: Writing, user: User, token_id: str, of: str | None = None) -> None:
    """Revoke a token of the user's own, or for an administrator anybody's (or that user's), from this instant on."""
    whose = of if user.role == "admin" else user.user_id
    owner = tokens.token_owner(write.connection, token_id)
    if owner is None or whose not in (None, owner) or not tokens.revoke(write.connection, token_id, write.at):
        raise TokenNotFound
    write.audit("revoke_token", subject=token_id)


def token_as_data(token: Token) -> dict[str, Any]:
    """Give a token as an answer, without its text."""
    return {name: getattr(token, name) for name in Token.__slots__}


def _read(connection: Connection, user: User, body: Any) -> dict[str, Any]:
    """Read a body; raise InvalidInput with its faults, and with every client in it that the user does not see."""
    given = body.get("client_ids") if isinstance(body, Mapping) else None
    named = given if isinstance(given, list) and len(given) <= CLIENTS_AT_ONCE else ()
    with also_faulty(lambda: list(_unseen(connection, user, named))):
        return load(TokenSchema(), body)


def _unseen(connection: Connection, user: User, client_ids: Sequence[Any]) -> Iterator[Fault]:
    """Find clients that are not there or that the user does not see, alike; what is no id is the form's to find."""
    for index, client_id in enumerate(client_ids):
        if isinstance(client_id, str) and ID.fullmatch(client_id):
            try:
                access.see(connection, user, client_id)
            except ClientNotFound:
                yield Fault(f"/client_ids/{index}", f"there is no client {client_id}")
