"""Users, what they are entitled to, their teams and grants, access requests, tokens and sessions."""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ebill.store.glance import Glance
from ebill.store.many import holds
from ebill.store.tables import (
    Instant,
    access_request_clients,
    access_requests,
    client_versions,
    clients,
    entitlements,
    grants,
    memberships,
    sessions,
    teams,
    token_clients,
    tokens,
    users,
)

PREFIX: Final = "ebp_"
"""What every token begins with, so that one is known for what it is wherever it turns up."""
USE_NOTED: Final = timedelta(minutes=5)
"""How exactly the last use of a token is known."""
SESSION_NOTED: Final = timedelta(minutes=1)
"""How exactly that of a session is."""
SESSION_IDLE: Final = timedelta(minutes=30)
SESSION_WHOLE: Final = timedelta(hours=8)


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


class Grant(NamedTuple):
    """A client that a user may see, and on whose word since when."""

    client_id: str
    name: str
    granted_by: str
    granted_at: datetime


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


@dataclass(frozen=True, slots=True)
class Session:
    """A session that has not ended, without its cookie; `session_id` is the beginning of the cookie's hash."""

    session_id: str
    created_at: datetime
    seen_at: datetime


def user(connection: Connection, user_id: str) -> User | None:
    """Give a user, or None."""
    row = connection.execute(_USERS.where(users.c.user_id == user_id)).first()
    return as_user(row) if row else None


def all_users(connection: Connection) -> list[User]:
    """Give every user, by id."""
    return [as_user(row) for row in connection.execute(_USERS.order_by(users.c.user_id))]


def users_page(
    connection: Connection, after: str | None, limit: int, q: str | None, role: str | None, *, disabled: bool | None
) -> list[Seen]:
    """Give at most so many users by id, those beyond `after`; `q` is part of a name or an id: see `many.holds`."""
    in_session = select(func.max(sessions.c.seen_at)).where(sessions.c.user_id == users.c.user_id)
    by_token = select(func.max(tokens.c.last_used_at)).where(tokens.c.user_id == users.c.user_id)
    query = _USERS.add_columns(
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
    row = connection.execute(_USERS.where(users.c.oidc_subject == oidc_subject)).first()
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
        "hash": _hash(secret),
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
    is_right = secrets.compare_digest(row.hash if row else bytes(32), _hash(secret))
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
    query = select(tokens.c.token_id).where(
        tokens.c.token_id == token_id, _is_due(tokens.c.last_used_at, at, USE_NOTED)
    )
    return connection.scalar(query) is not None


def used(connection: Connection, token_id: str, at: datetime) -> None:
    """Note that a token is in use; not more than every few minutes, since to be durable takes its time."""
    query = update(tokens).where(tokens.c.token_id == token_id, _is_due(tokens.c.last_used_at, at, USE_NOTED))
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


def new_session(connection: Connection, user_id: str, at: datetime) -> str:
    """Begin a session; its cookie is given this once and kept only as a hash."""
    cookie = secrets.token_urlsafe(32)
    row = {"hash": _hash(cookie), "user_id": user_id, "created_at": at, "seen_at": at}
    connection.execute(insert(sessions), row)
    return cookie


def session_user(connection: Connection, cookie: str, at: datetime) -> User | None:
    """Give the user whose session this is, unless it has ended, idled or grown old."""
    query = _USERS.add_columns(sessions.c.seen_at, sessions.c.created_at.label("began_at")).select_from(
        users.join(sessions)
    )
    row = connection.execute(query.where(sessions.c.hash == _hash(cookie), sessions.c.ended_at.is_(None))).first()
    if not row or row.disabled_at or at - row.seen_at > SESSION_IDLE or at - row.began_at > SESSION_WHOLE:
        return None
    return as_user(row)


def session_use_is_due(connection: Connection, cookie: str, at: datetime) -> bool:
    """Tell whether a use of a session is yet to be noted: see `seen`."""
    due = _is_due(sessions.c.seen_at, at, SESSION_NOTED)
    return connection.scalar(select(sessions.c.seen_at).where(sessions.c.hash == _hash(cookie), due)) is not None


def seen(connection: Connection, cookie: str, at: datetime) -> None:
    """Note that a session is in use; not more than every minute, as `used`. What was seen later stays so."""
    due = _is_due(sessions.c.seen_at, at, SESSION_NOTED)
    connection.execute(update(sessions).where(sessions.c.hash == _hash(cookie), due).values(seen_at=at))


def proved_at(connection: Connection, cookie: str) -> datetime | None:
    """Give when whoever has a session last proved who they are: by signing in, or by their password since then."""
    last = func.coalesce(sessions.c.proved_at, sessions.c.created_at, type_=Instant)
    found: datetime | None = connection.scalar(select(last).where(sessions.c.hash == _hash(cookie)))
    return found


def proved(connection: Connection, cookie: str, at: datetime) -> None:
    """Note that whoever has a session gave their password."""
    connection.execute(update(sessions).where(sessions.c.hash == _hash(cookie)).values(proved_at=at))


def end_sessions(connection: Connection, user_id: str, at: datetime, cookie: str | None = None) -> int:
    """End one session of a user, or all of them; give how many."""
    query = update(sessions).where(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None))
    if cookie is not None:
        query = query.where(sessions.c.hash == _hash(cookie))
    return connection.execute(query.values(ended_at=at)).rowcount


def session_id(cookie: str) -> str:
    """Name a session by its cookie, which the name does not tell."""
    return _hash(cookie).hex()[:_SESSION_ID]


def sessions_of(connection: Connection, user_id: str, at: datetime) -> list[Session]:
    """Give a user's sessions that count at an instant, the latest seen first."""
    query = select(sessions).where(
        sessions.c.user_id == user_id,
        sessions.c.ended_at.is_(None),
        sessions.c.seen_at >= at - SESSION_IDLE,
        sessions.c.created_at >= at - SESSION_WHOLE,
    )
    rows = connection.execute(query.order_by(sessions.c.seen_at.desc(), sessions.c.hash))
    return [Session(row.hash.hex()[:_SESSION_ID], row.created_at, row.seen_at) for row in rows]


def end_session(connection: Connection, user_id: str, named: str, at: datetime) -> bool:
    """End the session of a user that has this name; False where there is none that has not ended."""
    own = select(sessions.c.hash).where(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None))
    found = [each for each in connection.scalars(own) if each.hex()[:_SESSION_ID] == named]
    if not found:
        return False
    connection.execute(update(sessions).where(sessions.c.hash.in_(found)).values(ended_at=at))
    return True


def _hash(secret: str) -> bytes:
    """Hash a random secret. It has 256 bits: a fast hash is right, there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


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


def _token_text(token_id: str, secret: str) -> str:
    text = f"{PREFIX}{token_id}_{secret}"
    return text + _base62(zlib.crc32(text.encode("ascii")), _CHECKSUM)


def _is_due(noted: ColumnElement[Any], at: datetime, exactly: timedelta) -> ColumnElement[bool]:
    return or_(noted.is_(None), noted <= at - exactly)


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


def _set(connection: Connection, new: User) -> None:
    held = [{"user_id": new.user_id, "entitlement": entitlement} for entitlement in sorted(new.entitlements)]
    member = [{"user_id": new.user_id, "team_id": team_id} for team_id in sorted(new.teams)]
    for table, rows in ((entitlements, held), (memberships, member)):
        if rows:
            connection.execute(insert(table), rows)


_SESSION_ID: Final = 16
"""Hexadecimal digits of a hash that name a session: nobody has two that are named alike, and none is guessed by it."""
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET: Final = 43
_CHECKSUM: Final = 6
_TOKEN: Final = re.compile(rf"{PREFIX}([0-9a-f]{{16}})_([0-9A-Za-z]{{{_SECRET}}})[0-9A-Za-z]{{{_CHECKSUM}}}")


class _Together(FunctionElement[str]):
    """The texts of a column, with commas between them: one query gives a user, where three would take thrice as long.

    SQLAlchemy's own `aggregate_strings` is written anew for each execution.
    """

    inherit_cache = True
    type = Text()


@compiles(_Together, "sqlite")
def _together_on_sqlite(element: _Together, compiler: Any, **how: Any) -> str:
    return f"group_concat({compiler.process(element.clauses, **how)})"


@compiles(_Together, "postgresql")
def _together_on_postgresql(element: _Together, compiler: Any, **how: Any) -> str:
    return f"string_agg({compiler.process(element.clauses, **how)}, ',')"


_HELD: Final = (
    select(_Together(entitlements.c.entitlement)).where(entitlements.c.user_id == users.c.user_id).scalar_subquery()
)
_MEMBER: Final = (
    select(_Together(memberships.c.team_id)).where(memberships.c.user_id == users.c.user_id).scalar_subquery()
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
_USERS: Final = select(*(users.c[name] for name in _USER_COLUMNS), _HELD.label("entitlements"), _MEMBER.label("teams"))
HOLDER: Final = (
    _USERS.add_columns(
        *(tokens.c[name] for name in ("token_id", "hash", "expires_at", "revoked_at", "read_only", "some_clients"))
    )
    .select_from(users.join(tokens))
    .where(tokens.c.token_id == bindparam("token_id"))
)
_OF_TOKEN: Final = (
    select(_Together(token_clients.c.client_id)).where(token_clients.c.token_id == tokens.c.token_id).scalar_subquery()
)
_TOKENS: Final = select(tokens, _OF_TOKEN.label("client_ids")).order_by(tokens.c.created_at, tokens.c.token_id)
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
