"""Grants: a producer is let see clients, or asks for them, and a client's team decides."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import orjson
from marshmallow import fields, validate
from sqlalchemy import Connection

from ebill import access
from ebill.errors import ClientNotFound, Fault, InvalidInput, RequestNotFound
from ebill.grammar import Choice, Strict, Text
from ebill.service import forms, listing
from ebill.service.forms import CLIENTS_AT_ONCE, Id, load
from ebill.service.users import known
from ebill.store import grants
from ebill.store.engine import Writing
from ebill.store.users import User


class RequestSchema(Strict):
    """The body of `POST /v1/access-requests`: several clients at once."""

    client_ids = fields.List(Id(), required=True, validate=validate.Length(min=1, max=CLIENTS_AT_ONCE))
    reason = Text(required=True)


class DecisionSchema(Strict):
    """The body of `POST /v1/access-requests/{request_id}/decisions`: of some of its clients, or all that wait."""

    decision = Choice("granted", "declined", required=True)
    client_ids = fields.List(Id(), validate=validate.Length(min=1, max=CLIENTS_AT_ONCE))
    reason = Text(load_default=None)


def list_grants(
    connection: Connection, by: User, user_id: str, limit: int, cursor: str | None, key: bytes
) -> dict[str, Any]:
    """Answer with the clients granted to a user, by id, on whose word, and the cursor of the next page."""
    about = orjson.dumps(["grants", by.user_id, user_id])
    after = listing.opened(key, about, cursor)[0] if cursor is not None else None
    rows = grants.grants_page(connection, user_id, after, limit + 1)
    more = len(rows) > limit
    return {
        "data": [row._asdict() for row in rows[:limit]],
        "next_cursor": listing.sealed(key, about, [rows[limit - 1].client_id]) if more else None,
    }


def grant(write: Writing, by: User, user_id: str, client_id: str) -> None:
    """Let a producer see a client that the granting user may see. Raises ClientNotFound, UserNotFound.

    Others are refused: what a client manager sees follows from their teams.
    """
    access.see(write.connection, by, client_id)
    if known(write.connection, user_id).role != "producer":
        raise InvalidInput([Fault("/user_id", "is no producer; only producers are granted clients")])
    if grants.grant(write.connection, user_id, client_id, by.user_id, write.at):
        write.audit("grant", client_id=client_id, subject=user_id)
    else:
        write.unchanged()


def grant_all(write: Writing, by: User, user_id: str, client_ids: Sequence[str]) -> None:
    """Let a producer see several clients: all of them, or none where one of them is none. Raises as `grant`."""
    faults: list[Fault] = []
    for index, client_id in enumerate(client_ids):
        try:
            grant(write, by, user_id, forms.client_id(client_id, f"/client_ids/{index}"))
        except InvalidInput as refusal:
            faults += refusal.faults
        except ClientNotFound:
            faults.append(Fault(f"/client_ids/{index}", f"there is no client {client_id}"))
    if not client_ids:
        faults.append(Fault("/client_ids", "must name at least one client"))
    if len(client_ids) > CLIENTS_AT_ONCE:
        faults = [Fault("/client_ids", f"must be at most {CLIENTS_AT_ONCE} at once")]
    if faults:
        raise InvalidInput(list(dict.fromkeys(faults)))
    write.is_unchanged = write.audited == 0


def withdraw(write: Writing, by: User, user_id: str, client_id: str) -> None:
    """Take a producer's sight of a client away."""
    access.see(write.connection, by, client_id)
    known(write.connection, user_id)
    if grants.withdraw(write.connection, user_id, client_id):
        write.audit("withdraw", client_id=client_id, subject=user_id)
    else:
        write.unchanged()


def request_access(write: Writing, user: User, body: Any) -> dict[str, Any]:
    """Ask for several clients at once; the answer is the same whether they exist or not."""
    data = load(RequestSchema(), body)
    asked = list(dict.fromkeys(data["client_ids"]))
    request_id = secrets.token_hex(8)
    grants.add_request(write.connection, request_id, user.user_id, asked, data["reason"], write.at)
    write.audit("request_access", subject=request_id, after={"client_ids": asked}, reason=data["reason"])
    return {
        "request_id": request_id,
        "requested_at": write.at,
        "clients": [{"client_id": client_id, "decision": "pending"} for client_id in asked],
    }


def access_requests(connection: Connection, user: User) -> dict[str, Any]:
    """Answer with the user's own requests, or with those their teams decide on."""
    if user.role == "producer":
        rows = grants.requests_of(connection, user.user_id)
    else:
        rows = grants.requests_to(connection, None if user.role == "admin" else sorted(user.teams))
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        request = found.setdefault(
            row.request_id,
            {
                "request_id": row.request_id,
                "user_id": row.user_id,
                "requested_at": row.requested_at,
                "reason": row.reason,
                "clients": [],
            },
        )
        request["clients"].append(
            {
                "client_id": row.client_id,
                "decision": row.decision,
                "decided_at": row.decided_at,
                "decision_reason": row.decision_reason,
            }
        )
    return {"data": list(found.values())}


def decide(write: Writing, user: User, request_id: str, body: Any) -> dict[str, Any]:
    """Decide on clients of a request: those named, or all that wait and are the user's to decide."""
    data = load(DecisionSchema(), body)
    teams = None if user.role == "admin" else sorted(user.teams)
    rows = grants.requests_to(write.connection, teams, request_id)
    waiting = {row.client_id: row.user_id for row in rows if row.decision == "pending"}
    named: Sequence[str] = list(dict.fromkeys(data.get("client_ids") or waiting))
    if not named or any(client_id not in waiting for client_id in named):
        raise RequestNotFound
    for client_id in named:
        grants.decide(write.connection, request_id, client_id, data["decision"], user.user_id, write.at, data["reason"])
        if data["decision"] == "granted":
            grants.grant(write.connection, waiting[client_id], client_id, user.user_id, write.at)
        write.audit(
            f"access_{data['decision']}", client_id=client_id, subject=waiting[client_id], reason=data["reason"]
        )
    return {"request_id": request_id, "decision": data["decision"], "client_ids": list(named)}
