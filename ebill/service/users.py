"""Users: who they are, what they are entitled to, and their teams; they are made, changed and disabled, never gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from marshmallow import fields
from sqlalchemy import Connection

from ebill import access, passwords
from ebill.errors import Fault, InvalidInput, TeamNotFound, UserNotFound, did_you_mean, shown
from ebill.grammar import Choice, Flag, Strict, Text, Word
from ebill.rulebook import RuleBook
from ebill.service import listing
from ebill.service.clients import Precondition, next_version
from ebill.service.forms import Id, Subject, load
from ebill.store import grants, sessions, users
from ebill.store.engine import Writing
from ebill.store.tables import ENTITLEMENTS, ROLES
from ebill.store.tables import grants as grants_table
from ebill.store.users import User

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
    own = grants.granted(connection, user.user_id, access.within(user, grants_table.c.client_id))
    return {**user_as_data(user), "clients": own}


def put_user(
    write: Writing, book: RuleBook, user_id: str, body: Any, made_to: Precondition
) -> tuple[dict[str, Any], int]:
    """Make a user or change one. The role of a user never changes, and the last administrator stays one."""
    connection = write.connection
    data = load(UserSchema(), body, user_id=user_id)
    before = users.user(connection, user_id)
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
        users.add_user(connection, new, write.at)
    else:
        users.change_user(connection, new)
        if new.disabled_at or new.oidc_subject != before.oidc_subject:
            sessions.end_sessions(connection, user_id, write.at)
    was = user_as_data(before) if before else None
    write.audit("put_user", subject=user_id, before=was, after=user_as_data(new))
    return user_as_data(new), version


def set_password(write: Writing, user_id: str, password: str) -> None:
    """Set a user's password, and end all sessions. Raises InvalidInput for a weak one, and TooBusy."""
    passwords.refuse_weak(password, (user_id, known(write.connection, user_id).name))
    keep_password(write, user_id, passwords.hashed(password))


def keep_password(write: Writing, user_id: str, password_hash: str) -> None:
    """Keep the hash of a user's new password, made before this transaction was opened, and end all sessions."""
    users.set_password(write.connection, user_id, password_hash)
    sessions.end_sessions(write.connection, user_id, write.at)
    write.audit("set_password", subject=user_id)


def keep_first_password(write: Writing, user_id: str, password_hash: str) -> datetime:
    """Do the same with a first password, which opens nothing until its user has changed it; give until when they can.

    Raises UserNotFound.
    """
    known(write.connection, user_id)
    until = write.at + FIRST_PASSWORD
    users.set_password(write.connection, user_id, password_hash, until)
    sessions.end_sessions(write.connection, user_id, write.at)
    write.audit("set_first_password", subject=user_id, after={"until": until})
    return until


def get_user(connection: Connection, user_id: str) -> tuple[dict[str, Any], int]:
    """Answer with a user, and its version."""
    found = known(connection, user_id)
    return {**user_as_data(found), "clients": grants.granted(connection, user_id)}, found.version


def known(connection: Connection, user_id: str) -> User:
    """Give a user. Raises UserNotFound."""
    found = users.user(connection, user_id)
    if found is None:
        raise UserNotFound
    return found


def list_users(
    connection: Connection, by: User, sought: Sought, limit: int, cursor: str | None, key: bytes
) -> dict[str, Any]:
    """Answer with users by id, when they were last seen, and the cursor of the next page.

    `key` seals the cursors. Raises BadRequest for one that was not given to this user for these filters.
    """
    about = orjson.dumps(["users", by.user_id, asdict(sought)])
    after = listing.opened(key, about, cursor)[0] if cursor is not None else None
    rows = users.users_page(connection, after, limit + 1, sought.q, sought.role, disabled=sought.disabled)
    data = [{**user_as_data(row.user), "last_seen_at": row.last_seen_at} for row in rows[:limit]]
    more = len(rows) > limit
    return {"data": data, "next_cursor": listing.sealed(key, about, [data[-1]["user_id"]]) if more else None}


def put_team(write: Writing, team_id: str, body: Any) -> dict[str, Any]:
    """Make a client management team."""
    data = load(TeamSchema(), body, team_id=team_id)
    if team_id in users.team_names(write.connection):
        raise InvalidInput([Fault("/team_id", "is taken")])
    users.add_team(write.connection, team_id, data["name"])
    write.audit("put_team", subject=team_id, after=data)
    return {"team_id": team_id, **data}


def rename_team(write: Writing, team_id: str, body: Any) -> dict[str, Any]:
    """Give a team another name in place of the one it had when that was thought of, which is all there is of a team.

    Raises TeamNotFound, and InvalidInput where it has been renamed meanwhile.
    """
    names = users.team_names(write.connection)
    if team_id not in names:
        raise TeamNotFound
    data = load(RenamedSchema(), body, team_id=team_id)
    name, now = data["name"], names[team_id]
    if data["was"] != now:
        raise InvalidInput([Fault("", f'the team has been renamed meanwhile, to "{shown(now)}"')])
    users.rename_team(write.connection, team_id, name)
    write.audit("put_team", subject=team_id, before={"name": now}, after={"name": name})
    return {"team_id": team_id, "name": name}


def members(connection: Connection) -> dict[str, list[dict[str, str]]]:
    """Answer with the client managers of each team that has any."""
    return {
        team_id: [{"user_id": user_id, "name": name} for user_id, name in found]
        for team_id, found in users.members(connection).items()
    }


def list_teams(connection: Connection) -> dict[str, Any]:
    """Answer with every team."""
    return {"data": [{"team_id": key, "name": name} for key, name in users.team_names(connection).items()]}


def terms(body: Any) -> bool:
    """Read whether the electronic payment terms are accepted. Raises InvalidInput."""
    accepted: bool = load(TermsSchema(), body)["accepted"]
    return accepted


def accept_terms(write: Writing, user: User, *, accepted: bool) -> dict[str, Any]:
    """Accept the electronic payment terms, or decline them, which leaves reading open."""
    before = known(write.connection, user.user_id)
    changed = replace(before, terms_accepted_at=write.at if accepted else None, version=before.version + 1)
    users.change_user(write.connection, changed)
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


def _user_faults(
    connection: Connection, book: RuleBook, before: User | None, user_id: str, data: Mapping[str, Any]
) -> Iterator[Fault]:
    """Find what only the rule book and the store can tell is wrong with a user."""
    if data["state"] not in book.states:
        yield Fault("/state", f"is no configured state; the configured ones are {', '.join(sorted(book.states))}")
    subject = data.get("oidc_subject")
    holder = users.by_subject(connection, subject) if subject else None
    if holder and holder.user_id != user_id:
        yield Fault("/oidc_subject", f"is that of {holder.user_id}")
    names = users.team_names(connection)
    for index, team_id in enumerate(data["teams"]):
        if team_id not in names:
            yield Fault(f"/teams/{index}", f"is no team{did_you_mean(team_id, names)}")
    if before is None:
        if users.is_taken(connection, user_id):
            yield Fault("/user_id", "is taken: ids are unique whatever the case")
        return
    if before.role != data["role"]:
        yield Fault("/role", "cannot change; make another user")
    if data["disabled"] and users.active_admins(connection) == [user_id]:
        yield Fault("/disabled", "is the last administrator, who stays")
