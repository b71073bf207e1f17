"""What waits for somebody's decision, whoever asked for it, and many decisions at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from ebill import access
from ebill.errors import Fault, InvalidInput, RequestNotFound
from ebill.service import grants
from ebill.store import grants as kept
from ebill.store.engine import Writing
from ebill.store.users import User

NOT_YOURS: Final = "one of these was decided meanwhile, or is no longer yours to decide; nothing was done"
"""Of what is not to be told apart from what was never there."""
NAMED_MOST: Final = 20
"""Clients that are named at most of those decided meanwhile."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, with those of its clients that wait for the reader: each by id and name."""

    request_id: str
    user_id: str
    user_name: str
    requested_at: datetime
    reason: str
    clients: list[tuple[str, str]] = field(default_factory=list)


def count(connection: Connection, user: User) -> int:
    """Count the clients that wait for a user's decision; none for those who decide nothing."""
    return kept.count_waiting(connection, access.visible(user)) if access.may(user, "decide_access") else 0


def waiting(connection: Connection, user: User, most: int) -> list[Asked]:
    """Give the requests that wait for a user's decision, the oldest first; with at most so many clients."""
    found: dict[str, Asked] = {}
    for row in kept.waiting(connection, access.visible(user), most):
        asked = Asked(row.request_id, row.user_id, row.user_name, row.requested_at, row.reason)
        found.setdefault(row.request_id, asked).clients.append((row.client_id, row.name))
    return list(found.values())


def decided(connection: Connection, user: User, most: int) -> list[dict[str, Any]]:
    """Give what was decided last about clients that a user looks after."""
    return [dict(row._mapping) for row in kept.decided_last(connection, access.visible(user), most)]  # noqa: SLF001  # SQLAlchemy's own way


def decide(
    write: Writing, user: User, picked: Mapping[str, Sequence[str]], decision: str | None, reason: str | None
) -> None:
    """Decide alike on clients of several requests: all of them, or none.

    Raises InvalidInput where nothing is picked, or where one of them does not wait for the user any more: those that
    the user looks after are named, with what was decided.
    """
    if not picked:
        raise InvalidInput([Fault("/clients", "tick at least one client")])
    if found := _decided(write.connection, user, picked):
        more = f" and {len(found) - NAMED_MOST:,} more" if len(found) > NAMED_MOST else ""
        named = "; ".join(found[:NAMED_MOST])
        raise InvalidInput([Fault("/clients", f"decided meanwhile: {named}{more}; nothing was done")])
    for request_id, client_ids in picked.items():
        said = {"decision": decision, "reason": reason}
        body = {"client_ids": list(client_ids), **{name: value for name, value in said.items() if value is not None}}
        try:
            grants.decide(write, user, request_id, body)
        except RequestNotFound:
            raise InvalidInput([Fault("/clients", NOT_YOURS)]) from None


def _decided(connection: Connection, user: User, picked: Mapping[str, Sequence[str]]) -> list[str]:
    """Say of what is picked, and is of clients that a user looks after, what was decided already."""
    teams = None if user.role == "admin" else sorted(user.teams)
    return [
        f"{row.client_id} for {row.user_id} was {row.decision}"
        for request_id, client_ids in picked.items()
        for row in kept.requests_to(connection, teams, request_id)
        if row.client_id in client_ids and row.decision != "pending"
    ]
