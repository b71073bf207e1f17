"""Users, their entitlements, grants, access requests and tokens."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from marshmallow import fields, validate
from sqlalchemy import Connection, select

from ebill import access, passwords
from ebill.errors import (
    ClientNotFound,
    Fault,
    InvalidInput,
    RequestNotFound,
    TeamNotFound,
    TokenNotFound,
    UserNotFound,
    did_you_mean,
    shown,
)
from ebill.grammar import Choice, Flag, Strict, Text, Whole, Word
from ebill.rulebook import RuleBook
from ebill.service import forms, listing
from ebill.service.clients import Precondition, next_version
from ebill.service.forms import Id, Subject, load
from ebill.store import grants as kept_grants
from ebill.store import sessions as kept_sessions
from ebill.store import tokens as kept_tokens
from ebill.store import users as kept_users
from ebill.store.engine import Writing
from ebill.store.tables import ENTITLEMENTS, ROLES, clients, grants
from ebill.store.tokens import Token
from ebill.store.users import User

TOKEN_DAYS: Final = 90
TOKEN_DAYS_MOST: Final = 365
CLIENTS_AT_ONCE: Final = 200
FIRST_PASSWORD: Final = timedelta(days=7)
"""How long a first password waits to be changed."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Which users: of a role, disabled or not; `q` is part of a name or an id."""

    q: str | None = None
    role: str | None = None
    disabled: bool | None = None


class UserSchema(Strict):
    """The body of `PUT /v1/users/{user_id}`.

    Entitlements not given are the state's defaults for a new user, and stay as they are for another; so does
    `oidc_subject`, by which an identity provider knows them.
    """

    name = Text(required=True)
    role = Choice(*ROLES, required=True)
    state = Word(required=True)
    entitlements = fields.List(Choice(*ENTITLEMENTS))
    teams = fields.List(Id(), load_default=list)
    disabled = Flag(load_default=False)
    oidc_subject = Subject(allow_none=True)


class RequestSchema(Strict):
    """The body of `POST /v1/access-requests`: several clients at once."""

    client_ids = fields.List(Id(), required=True, validate=validate.Length(min=1, max=CLIENTS_AT_ONCE))
    reason = Text(required=True)


class DecisionSchema(Strict):
    """The body of `POST /v1/access-requests/{request_id}/decisions`: of some of its clients, or all that wait."""

    decision = Choice("granted", "declined", required=True)
    client_ids = fields.List(Id(), validate=validate.Length(min=1, max=CLIENTS_AT_ONCE))
    reason = Text(load_default=None)


class TokenSchema(Strict):
    """The body of `POST /v1/tokens`: it may be for reading alone, and for some of the clients that one sees."""

    name = Text(required=True)
    days = Whole(1, TOKEN_DAYS_MOST, load_default=TOKEN_DAYS)
    read_only = Flag(load_default=False)
    client_ids = fields.List(Id(), load_default=None, validate=validate.Length(min=1, max=CLIENTS_AT_ONCE))


class TeamSchema(Strict):
    """The body of `PUT /v1/teams/{team_id}`."""

    name = Text(required=True)


class RenamedSchema(TeamSchema):
    """A team's new name, and the one that it is given in place of."""

    was = Text(required=True)


class TermsSchema(Strict):
    """The body of `PUT /v1/me/payment-terms`."""

    accepted = Flag(required=True)


def me(connection: Connection, user: User) -> dict[str, Any]:
    """Answer with who is asking, and what is open to them."""
    own = kept_grants.granted(connection, user.user_id, access.within(user, grants.c.client_id))
    return {**user_as_data(user), "clients": own}


def put_user(
    write: Writing, book: RuleBook, user_id: str, body: Any, made_to: Precondition
) -> tuple[dict[str, Any], int]:
    """Make a user or change one. The role of a user never changes, and the last administrator stays one."""
    connection = write.connection
    data = _load(UserSchema, body, user_id=user_id)
    before = kept_users.user(connection, user_id)
    version = next_version(made_to, before.version if before else None)
    if found := list(_user_faults(connection, book, before, user_id, data)):
        raise InvalidInput(found)
    given = data.get("entitlements")
    if given is None:
        given = before.entitlements if before else access.default_entitlements(data["role"], data["state"])
    was_disabled = before.disabled_at if before else None
    new = User(
        user_id,
        data["name"],
        data["role"],
        data["state"],
        version,
        frozenset(given),
        frozenset(data["teams"]),
        before.terms_accepted_at if before else None,
        (was_disabled or write.at) if data["disabled"] else None,
        data.get("oidc_subject", before.oidc_subject if before else None),
    )
    if before is None:
        kept_users.add_user(connection, new, write.at)
    else:
        kept_users.change_user(connection, new)
        if new.disabled_at or new.oidc_subject != before.oidc_subject:
            kept_sessions.end_sessions(connection, user_id, write.at)
    was = user_as_data(before) if before else None
    write.audit("put_user", subject=user_id, before=was, after=user_as_data(new))
    return user_as_data(new), version


def set_password(write: Writing, user_id: str, password: str) -> None:
    """Set a user's password, and end all sessions. Raises InvalidInput for a weak one, and TooBusy."""
    known = _known(write.connection, user_id)
    passwords.refuse_weak(password, (user_id, known.name))
    keep_password(write, user_id, passwords.hashed(password))


def keep_password(write: Writing, user_id: str, password_hash: str) -> None:
    """Keep the hash of a user's new password, made before this transaction was opened, and end all sessions."""
    kept_users.set_password(write.connection, user_id, password_hash)
    kept_sessions.end_sessions(write.connection, user_id, write.at)
    write.audit("set_password", subject=user_id)


def keep_first_password(write: Writing, user_id: str, password_hash: str) -> datetime:
    """Do the same with a first password, which opens nothing until its user has changed it; give until when they can.

    Raises UserNotFound.
    """
    _known(write.connection, user_id)
    until = write.at + FIRST_PASSWORD
    kept_users.set_password(write.connection, user_id, password_hash, until)
    kept_sessions.end_sessions(write.connection, user_id, write.at)
    write.audit("set_first_password", subject=user_id, after={"until": until})
    return until


def get_user(connection: Connection, user_id: str) -> tuple[dict[str, Any], int]:
    """Answer with a user, and its version."""
    found = _known(connection, user_id)
    return {**user_as_data(found), "clients": kept_grants.granted(connection, user_id)}, found.version


def known(connection: Connection, user_id: str) -> User:
    """Give a user. Raises UserNotFound."""
    return _known(connection, user_id)


def list_users(
    connection: Connection, by: User, sought: Sought, limit: int, cursor: str | None, key: bytes
) -> dict[str, Any]:
    """Answer with users by id, when they were last seen, and the cursor of the next page.

    `key` seals the cursors. Raises BadRequest for one that was not given to this user for these filters.
    """
    about = orjson.dumps(["users", by.user_id, asdict(sought)])
    after = listing.opened(key, about, cursor)[0] if cursor is not None else None
    rows = kept_users.users_page(connection, after, limit + 1, sought.q, sought.role, disabled=sought.disabled)
    data = [{**user_as_data(row.user), "last_seen_at": row.last_seen_at} for row in rows[:limit]]
    more = len(rows) > limit
    return {"data": data, "next_cursor": listing.sealed(key, about, [data[-1]["user_id"]]) if more else None}


def list_grants(
    connection: Connection, by: User, user_id: str, limit: int, cursor: str | None, key: bytes
) -> dict[str, Any]:
    """Answer with the clients granted to a user, by id, on whose word, and the cursor of the next page."""
    about = orjson.dumps(["grants", by.user_id, user_id])
    after = listing.opened(key, about, cursor)[0] if cursor is not None else None
    rows = kept_grants.grants_page(connection, user_id, after, limit + 1)
    more = len(rows) > limit
    return {
        "data": [row._asdict() for row in rows[:limit]],
        "next_cursor": listing.sealed(key, about, [rows[limit - 1].client_id]) if more else None,
    }


def put_team(write: Writing, team_id: str, body: Any) -> dict[str, Any]:
    """Make a client management team."""
    data = _load(TeamSchema, body, team_id=team_id)
    if team_id in kept_users.team_names(write.connection):
        raise InvalidInput([Fault("/team_id", "is taken")])
    kept_users.add_team(write.connection, team_id, data["name"])
    write.audit("put_team", subject=team_id, after=data)
    return {"team_id": team_id, **data}


def rename_team(write: Writing, team_id: str, body: Any) -> dict[str, Any]:
    """Give a team another name in place of the one it had when that was thought of, which is all there is of a team.

    Raises TeamNotFound, and InvalidInput where it has been renamed meanwhile.
    """
    known = kept_users.team_names(write.connection)
    if team_id not in known:
        raise TeamNotFound
    data = _load(RenamedSchema, body, team_id=team_id)
    name, now = data["name"], known[team_id]
    if data["was"] != now:
        raise InvalidInput([Fault("", f'the team has been renamed meanwhile, to "{shown(now)}"')])
    kept_users.rename_team(write.connection, team_id, name)
    write.audit("put_team", subject=team_id, before={"name": now}, after={"name": name})
    return {"team_id": team_id, "name": name}


def members(connection: Connection) -> dict[str, list[dict[str, str]]]:
    """Answer with the client managers of each team that has any."""
    return {
        team_id: [{"user_id": user_id, "name": name} for user_id, name in found]
        for team_id, found in kept_users.members(connection).items()
    }


def list_teams(connection: Connection) -> dict[str, Any]:
    """Answer with every team."""
    return {"data": [{"team_id": key, "name": name} for key, name in kept_users.team_names(connection).items()]}


def grant(write: Writing, by: User, user_id: str, client_id: str) -> None:
    """Let a producer see a client that the granting user may see. Raises ClientNotFound, UserNotFound.

    Others are refused: what a client manager sees follows from their teams.
    """
    access.see(write.connection, by, client_id)
    if _known(write.connection, user_id).role != "producer":
        raise InvalidInput([Fault("/user_id", "is no producer; only producers are granted clients")])
    if kept_grants.grant(write.connection, user_id, client_id, by.user_id, write.at):
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
    _known(write.connection, user_id)
    if kept_grants.withdraw(write.connection, user_id, client_id):
        write.audit("withdraw", client_id=client_id, subject=user_id)
    else:
        write.unchanged()


def request_access(write: Writing, user: User, body: Any) -> dict[str, Any]:
    """Ask for several clients at once; the answer is the same whether they exist or not."""
    data = _load(RequestSchema, body)
    asked = list(dict.fromkeys(data["client_ids"]))
    request_id = secrets.token_hex(8)
    kept_grants.add_request(write.connection, request_id, user.user_id, asked, data["reason"], write.at)
    write.audit("request_access", subject=request_id, after={"client_ids": asked}, reason=data["reason"])
    return {
        "request_id": request_id,
        "requested_at": write.at,
        "clients": [{"client_id": client_id, "decision": "pending"} for client_id in asked],
    }


def access_requests(connection: Connection, user: User) -> dict[str, Any]:
    """Answer with the user's own requests, or with those their teams decide on."""
    if user.role == "producer":
        rows = kept_grants.requests_of(connection, user.user_id)
    else:
        rows = kept_grants.requests_to(connection, None if user.role == "admin" else sorted(user.teams))
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
    data = _load(DecisionSchema, body)
    teams = None if user.role == "admin" else sorted(user.teams)
    rows = kept_grants.requests_to(write.connection, teams, request_id)
    waiting = {row.client_id: row.user_id for row in rows if row.decision == "pending"}
    named: Sequence[str] = list(dict.fromkeys(data.get("client_ids") or waiting))
    if not named or any(client_id not in waiting for client_id in named):
        raise RequestNotFound
    for client_id in named:
        kept_grants.decide(
            write.connection, request_id, client_id, data["decision"], user.user_id, write.at, data["reason"]
        )
        if data["decision"] == "granted":
            kept_grants.grant(write.connection, waiting[client_id], client_id, user.user_id, write.at)
        write.audit(
            f"access_{data['decision']}", client_id=client_id, subject=waiting[client_id], reason=data["reason"]
        )
    return {"request_id": request_id, "decision": data["decision"], "client_ids": list(named)}


def make_token(write: Writing, user: User, body: Any) -> dict[str, Any]:
    """Make a token of the user's; its text is in this answer and nowhere else, ever."""
    data = _load(TokenSchema, body)
    return token_for(write, user.user_id, **data)


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
    expires_at = write.at + timedelta(days=days)
    if client_ids is not None:
        _refuse_unseen(write.connection, _known(write.connection, user_id), client_ids)
    token, text = kept_tokens.new_token(
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
    found = kept_tokens.tokens_of(connection, user.user_id)
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
    return list_tokens(connection, _known(connection, user_id))


def revoke_token(write: Writing, user: User, token_id: str, of: str | None = None) -> None:
    """Revoke a token of the user's own, or for an administrator anybody's (or that user's), from this instant on."""
    whose = of if user.role == "admin" else user.user_id
    owner = kept_tokens.token_owner(write.connection, token_id)
    if owner is None or whose not in (None, owner) or not kept_tokens.revoke(write.connection, token_id, write.at):
        raise TokenNotFound
    write.audit("revoke_token", subject=token_id)


def terms(body: Any) -> bool:
    """Read whether the electronic payment terms are accepted. Raises InvalidInput."""
    accepted: bool = _load(TermsSchema, body)["accepted"]
    return accepted


def accept_terms(write: Writing, user: User, *, accepted: bool) -> dict[str, Any]:
    """Accept the electronic payment terms, or decline them, which leaves reading open."""
    before = _known(write.connection, user.user_id)
    changed = replace(before, terms_accepted_at=write.at if accepted else None, version=before.version + 1)
    kept_users.change_user(write.connection, changed)
    write.audit("payment_terms", subject=user.user_id, after={"accepted": accepted})
    return user_as_data(changed)


def user_as_data(user: User) -> dict[str, Any]:
    """Give a user as an answer."""
    return {
        "user_id": user.user_id,
        "name": user.name,
        "role": user.role,
        "state": user.state,
        "entitlements": sorted(user.entitlements),
        "teams": sorted(user.teams),
        "payment_terms_accepted_at": user.terms_accepted_at,
        "disabled_at": user.disabled_at,
        "oidc_subject": user.oidc_subject,
        "version": user.version,
    }


def token_as_data(token: Token) -> dict[str, Any]:
    """Give a token as an answer, without its text."""
    return {name: getattr(token, name) for name in Token.__slots__}


def _user_faults(
    connection: Connection, book: RuleBook, before: User | None, user_id: str, data: Mapping[str, Any]
) -> Iterator[Fault]:
    """Find what only the rule book and the store can tell is wrong with a user."""
    if data["state"] not in book.states:
        yield Fault("/state", f"is no configured state; the configured ones are {', '.join(sorted(book.states))}")
    subject = data.get("oidc_subject")
    holder = kept_users.by_subject(connection, subject) if subject else None
    if holder and holder.user_id != user_id:
        yield Fault("/oidc_subject", f"is that of {holder.user_id}")
    known = kept_users.team_names(connection)
    for index, team_id in enumerate(data["teams"]):
        if team_id not in known:
            yield Fault(f"/teams/{index}", f"is no team{did_you_mean(team_id, known)}")
    if before is None:
        if kept_users.is_taken(connection, user_id):
            yield Fault("/user_id", "is taken: ids are unique whatever the case")
        return
    if before.role != data["role"]:
        yield Fault("/role", "cannot change; make another user")
    if data["disabled"] and kept_users.active_admins(connection) == [user_id]:
        yield Fault("/disabled", "is the last administrator, who stays")


def _refuse_unseen(connection: Connection, user: User, client_ids: Sequence[str]) -> None:
    faults = []
    for index, client_id in enumerate(client_ids):
        try:
            access.see(connection, user, client_id)
        except ClientNotFound:
            faults.append(Fault(f"/client_ids/{index}", f"there is no client {client_id}"))
    if faults:
        raise InvalidInput(faults)


def _known(connection: Connection, user_id: str) -> User:
    found = kept_users.user(connection, user_id)
    if found is None:
        raise UserNotFound
    return found


def _load(schema: type[Strict], body: Any, **ids: str) -> dict[str, Any]:
    return load(schema(), body, **ids)
