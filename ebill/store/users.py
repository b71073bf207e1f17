"""Users: who may sign in, what they are entitled to, and the client management teams they are in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from ebill.store.many import holds
from ebill.store.tables import entitlements, memberships, sessions, teams, tokens, users
from ebill.store.together import Together


class Scope(NamedTuple):
    """What a token leaves of its user's rights: reading alone, or some clients, which stand in the store; or both."""

    token_id: str
    read_only: bool
    some_clients: bool


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in. `entitlements` count for producers, `teams` for client managers.

    `scope` is that of the token by which they came in; None is all that they may.
    """

    user_id: str
    name: str
    role: str
    state: str
    version: int
    entitlements: frozenset[str]
    teams: frozenset[str]
    terms_accepted_at: datetime | None = None
    disabled_at: datetime | None = None
    oidc_subject: str | None = None
    scope: Scope | None = None


class Seen(NamedTuple):
    """A user, and when they last did something: in a session or by a token."""

    user: User
    last_seen_at: datetime | None


def user(connection: Connection, user_id: str) -> User | None:
    """Give a user, or None."""
    row = connection.execute(USERS.where(users.c.user_id == user_id)).first()
    return as_user(row) if row else None


def all_users(connection: Connection) -> list[User]:
    """Give every user, by id."""
    return [as_user(row) for row in connection.execute(USERS.order_by(users.c.user_id))]


def users_page(
    connection: Connection, after: str | None, limit: int, q: str | None, role: str | None, *, disabled: bool | None
) -> list[Seen]:
    """Give at most so many users by id, those beyond `after`; `q` is part of a name or an id: see `many.holds`."""
    in_session = select(func.max(sessions.c.seen_at)).where(sessions.c.user_id == users.c.user_id)
    by_token = select(func.max(tokens.c.last_used_at)).where(tokens.c.user_id == users.c.user_id)
    query = USERS.add_columns(
        in_session.scalar_subquery().label("in_session"), by_token.scalar_subquery().label("by_token")
    )
    if after is not None:
        query = query.where(users.c.user_id > after)
    if q is not None:
        query = query.where(or_(holds(users.c.user_id, q), holds(users.c.name, q)))
    if role is not None:
        query = query.where(users.c.role == role)
    if disabled is not None:
        query = query.where(users.c.disabled_at.is_not(None) if disabled else users.c.disabled_at.is_(None))
    rows = connection.execute(query.order_by(users.c.user_id).limit(limit))
    return [Seen(as_user(row), max(filter(None, (row.in_session, row.by_token)), default=None)) for row in rows]


def by_subject(connection: Connection, oidc_subject: str) -> User | None:
    """Give the user whom an identity provider knows by this subject, or None."""
    row = connection.execute(USERS.where(users.c.oidc_subject == oidc_subject)).first()
    return as_user(row) if row else None


def is_taken(connection: Connection, user_id: str) -> bool:
    """Tell whether a user has this id, whatever the case."""
    return connection.scalar(select(users.c.user_id).where(users.c.folded == user_id.lower())) is not None


def add_user(connection: Connection, new: User, at: datetime) -> None:
    """Keep a new user, with entitlements and teams."""
    row = {
        "user_id": new.user_id,
        "folded": new.user_id.lower(),
        "name": new.name,
        "role": new.role,
        "state": new.state,
        "created_at": at,
        "version": 1,
        "oidc_subject": new.oidc_subject,
    }
    connection.execute(insert(users), row)
    _set(connection, new)


def change_user(connection: Connection, changed: User) -> None:
    """Keep a user's new name, state, entitlements, teams, terms, disabling and subject; the role stays what it was."""
    kept = connection.execute(
        update(users)
        .where(users.c.user_id == changed.user_id, users.c.version == changed.version - 1)
        .values(
            name=changed.name,
            state=changed.state,
            terms_accepted_at=changed.terms_accepted_at,
            disabled_at=changed.disabled_at,
            oidc_subject=changed.oidc_subject,
            version=changed.version,
        )
    )
    if kept.rowcount != 1:
        raise RuntimeError("the user's version moved on under the writers' lock")
    connection.execute(delete(entitlements).where(entitlements.c.user_id == changed.user_id))
    connection.execute(delete(memberships).where(memberships.c.user_id == changed.user_id))
    _set(connection, changed)


def set_password(connection: Connection, user_id: str, password_hash: str, first_until: datetime | None = None) -> None:
    """Keep the hash of a new password; until when it can be changed for another, where it is a first one."""
    kept = update(users).where(users.c.user_id == user_id)
    connection.execute(kept.values(password=password_hash, first_password_until=first_until))


def password_of(connection: Connection, user_id: str) -> str | None:
    """Give the hash of a user's password, or None."""
    return connection.scalar(select(users.c.password).where(users.c.user_id == user_id))


def first_password_until(connection: Connection, user_id: str) -> datetime | None:
    """Give until when a user's first password can be changed for another; None where they have no first one."""
    return connection.scalar(select(users.c.first_password_until).where(users.c.user_id == user_id))


def active_admins(connection: Connection) -> list[str]:
    """Give the administrators who may sign in."""
    query = select(users.c.user_id).where(users.c.role == "admin", users.c.disabled_at.is_(None))
    return list(connection.scalars(query))


def add_team(connection: Connection, team_id: str, name: str) -> None:
    """Keep a new client management team."""
    connection.execute(insert(teams), {"team_id": team_id, "name": name})


def team_names(connection: Connection) -> dict[str, str]:
    """Give every team's name by its id."""
    return {row.team_id: row.name for row in connection.execute(select(teams).order_by(teams.c.team_id))}


def rename_team(connection: Connection, team_id: str, name: str) -> None:
    """Keep a team's new name."""
    connection.execute(update(teams).where(teams.c.team_id == team_id).values(name=name))


def members(connection: Connection) -> dict[str, list[tuple[str, str]]]:
    """Give the client managers of each team that has any, by id: id and name; those who may not sign in are not."""
    query = (
        select(memberships.c.team_id, users.c.user_id, users.c.name)
        .join(users, users.c.user_id == memberships.c.user_id)
        .where(users.c.role == "client_manager", users.c.disabled_at.is_(None))
        .order_by(memberships.c.team_id, users.c.user_id)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.team_id, []).append((row.user_id, row.name))
    return found


def as_user(row: Any) -> User:
    """Make a user of a row of a query of users."""
    return User(
        row.user_id,
        row.name,
        row.role,
        row.state,
        row.version,
        frozenset((row.entitlements or "").split(",")) - {""},
        frozenset((row.teams or "").split(",")) - {""},
        row.terms_accepted_at,
        row.disabled_at,
        row.oidc_subject,
    )


def _set(connection: Connection, new: User) -> None:
    held = [{"user_id": new.user_id, "entitlement": entitlement} for entitlement in sorted(new.entitlements)]
    member = [{"user_id": new.user_id, "team_id": team_id} for team_id in sorted(new.teams)]
    for table, rows in ((entitlements, held), (memberships, member)):
        if rows:
            connection.execute(insert(table), rows)


_HELD: Final = (
    select(Together(entitlements.c.entitlement)).where(entitlements.c.user_id == users.c.user_id).scalar_subquery()
)
_MEMBER: Final = (
    select(Together(memberships.c.team_id)).where(memberships.c.user_id == users.c.user_id).scalar_subquery()
)
_USER_COLUMNS: Final = (
    "user_id",
    "name",
    "role",
    "state",
    "version",
    "terms_accepted_at",
    "disabled_at",
    "oidc_subject",
)
USERS: Final = select(*(users.c[name] for name in _USER_COLUMNS), _HELD.label("entitlements"), _MEMBER.label("teams"))
"""What `as_user` reads, of every user."""
