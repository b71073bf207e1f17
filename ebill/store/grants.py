"""Grants: the clients that a producer may see, on whose word, and the requests by which they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from ebill.store.tables import access_request_clients, access_requests, client_versions, clients, grants, users


class Grant(NamedTuple):
    """A client that a user may see, and on whose word since when."""

    client_id: str
    name: str
    granted_by: str
    granted_at: datetime


def grant(connection: Connection, user_id: str, client_id: str, by: str, at: datetime) -> bool:
    """Let a user see a client; False where they could already."""
    held = select(grants.c.user_id).where(grants.c.user_id == user_id, grants.c.client_id == client_id)
    if connection.scalar(held) is not None:
        return False
    row = {"user_id": user_id, "client_id": client_id, "granted_by": by, "granted_at": at}
    connection.execute(insert(grants), row)
    return True


def withdraw(connection: Connection, user_id: str, client_id: str) -> bool:
    """Take a user's sight of a client away; False where there was none."""
    held = delete(grants).where(grants.c.user_id == user_id, grants.c.client_id == client_id)
    return connection.execute(held).rowcount == 1


def granted(connection: Connection, user_id: str, among: ColumnElement[bool] | None = None) -> list[str]:
    """Give the clients granted to a user, by id; `among` is a condition on grants besides."""
    query = select(grants.c.client_id).where(grants.c.user_id == user_id).order_by(grants.c.client_id)
    return list(connection.scalars(query if among is None else query.where(among)))


def grants_page(connection: Connection, user_id: str, after: str | None, limit: int) -> list[Grant]:
    """Give at most so many of the clients granted to a user, by id, those beyond `after`."""
    query = (
        select(grants.c.client_id, client_versions.c.name, grants.c.granted_by, grants.c.granted_at)
        .join(clients, clients.c.client_id == grants.c.client_id)
        .join(
            client_versions,
            (client_versions.c.client_id == clients.c.client_id) & (client_versions.c.version == clients.c.version),
        )
        .where(grants.c.user_id == user_id)
        .order_by(grants.c.client_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(grants.c.client_id > after)
    return [Grant(*row) for row in connection.execute(query)]


def add_request(
    connection: Connection, request_id: str, user_id: str, client_ids: Iterable[str], reason: str, at: datetime
) -> None:
    """Keep a request for several clients. Whether they exist is not looked at: the answer must not tell."""
    row = {"request_id": request_id, "user_id": user_id, "requested_at": at, "reason": reason}
    connection.execute(insert(access_requests), row)
    asked = [{"request_id": request_id, "client_id": client_id, "decision": "pending"} for client_id in client_ids]
    connection.execute(insert(access_request_clients), asked)


def requests_of(connection: Connection, user_id: str) -> list[Any]:
    """Give what a user asked for and what became of it, a row a client, latest request first."""
    return list(connection.execute(_REQUESTS.where(access_requests.c.user_id == user_id)))


def requests_to(connection: Connection, team_ids: Sequence[str] | None, request_id: str | None = None) -> list[Any]:
    """Give what was asked of clients of these teams (None: of any team), a row a client, latest request first.

    `request_id` gives that of one request alone.
    """
    query = _REQUESTS.join(clients, clients.c.client_id == access_request_clients.c.client_id)
    if team_ids is not None:
        query = query.where(clients.c.team_id.in_(team_ids))
    if request_id is not None:
        query = query.where(access_requests.c.request_id == request_id)
    return list(connection.execute(query))


def waiting(connection: Connection, visible: ColumnElement[bool], most: int) -> list[Any]:
    """Give what waits for a decision about visible clients, a row a client, the oldest request first.

    A row has who asks and why, by id and by name, and the client's id and name.
    """
    query = _WAITING.where(visible).limit(most)
    return list(connection.execute(query))


def count_waiting(connection: Connection, visible: ColumnElement[bool]) -> int:
    """Count what waits for a decision about visible clients."""
    asked = clients.c.client_id == access_request_clients.c.client_id
    query = select(func.count()).select_from(access_request_clients).join(clients, asked)
    return connection.scalar(query.where(_PENDING, visible)) or 0


def decided_last(connection: Connection, visible: ColumnElement[bool], most: int) -> list[Any]:
    """Give what was decided last about visible clients, a row a client, the latest decision first."""
    asked = clients.c.client_id == access_request_clients.c.client_id
    of = access_requests.c.request_id == access_request_clients.c.request_id
    query = (
        select(
            access_requests.c.user_id,
            access_request_clients.c.client_id,
            access_request_clients.c.decision,
            access_request_clients.c.decided_by,
            access_request_clients.c.decided_at,
            access_request_clients.c.reason,
        )
        .join(access_request_clients, of)
        .join(clients, asked)
        .where(~_PENDING, visible)
        .order_by(access_request_clients.c.decided_at.desc(), access_requests.c.request_id, clients.c.client_id)
    )
    return list(connection.execute(query.limit(most)))


def decide(
    connection: Connection, request_id: str, client_id: str, decision: str, by: str, at: datetime, reason: str | None
) -> bool:
    """Decide on one client of a request; False where it was decided already."""
    changed = connection.execute(
        update(access_request_clients)
        .where(
            access_request_clients.c.request_id == request_id,
            access_request_clients.c.client_id == client_id,
            access_request_clients.c.decision == "pending",
        )
        .values(decision=decision, decided_by=by, decided_at=at, reason=reason)
    )
    return changed.rowcount == 1


_PENDING: Final = access_request_clients.c.decision == "pending"
_WAITING: Final = (
    select(access_requests, users.c.name.label("user_name"), clients.c.client_id, client_versions.c.name)
    .join(access_request_clients, access_request_clients.c.request_id == access_requests.c.request_id)
    .join(users, users.c.user_id == access_requests.c.user_id)
    .join(clients, clients.c.client_id == access_request_clients.c.client_id)
    .join(
        client_versions,
        and_(clients.c.client_id == client_versions.c.client_id, clients.c.version == client_versions.c.version),
    )
    .where(_PENDING)
    .order_by(access_requests.c.requested_at, access_requests.c.request_id, clients.c.client_id)
)
_REQUESTS: Final = (
    select(
        access_requests,
        access_request_clients.c.client_id,
        access_request_clients.c.decision,
        access_request_clients.c.decided_at,
        access_request_clients.c.reason.label("decision_reason"),
    )
    .join(access_request_clients, access_request_clients.c.request_id == access_requests.c.request_id)
    .order_by(access_requests.c.requested_at.desc(), access_requests.c.request_id, access_request_clients.c.client_id)
)
