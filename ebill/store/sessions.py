"""Sessions of the pages: whose each is, and when it ends, by idleness, by age or by its user."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, insert, select, update

from ebill.store.secret import hashed, is_due
from ebill.store.tables import Instant, sessions, users
from ebill.store.users import USERS, User, as_user

SESSION_NOTED: Final = timedelta(minutes=1)
"""How exactly the last use of a session is known."""
SESSION_IDLE: Final = timedelta(minutes=30)
SESSION_WHOLE: Final = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Session:
    """A session that has not ended, without its cookie; `session_id` is the beginning of the cookie's hash."""

    session_id: str
    created_at: datetime
    seen_at: datetime


def new_session(connection: Connection, user_id: str, at: datetime) -> str:
    """Begin a session; its cookie is given this once and kept only as a hash."""
    cookie = secrets.token_urlsafe(32)
    row = {"hash": hashed(cookie), "user_id": user_id, "created_at": at, "seen_at": at}
    connection.execute(insert(sessions), row)
    return cookie


def session_user(connection: Connection, cookie: str, at: datetime) -> User | None:
    """Give the user whose session this is, unless it has ended, idled or grown old."""
    query = USERS.add_columns(sessions.c.seen_at, sessions.c.created_at.label("began_at")).select_from(
        users.join(sessions)
    )
    row = connection.execute(query.where(sessions.c.hash == hashed(cookie), sessions.c.ended_at.is_(None))).first()
    if not row or row.disabled_at or at - row.seen_at > SESSION_IDLE or at - row.began_at > SESSION_WHOLE:
        return None
    return as_user(row)


def session_use_is_due(connection: Connection, cookie: str, at: datetime) -> bool:
    """Tell whether a use of a session is yet to be noted: see `seen`."""
    due = is_due(sessions.c.seen_at, at, SESSION_NOTED)
    return connection.scalar(select(sessions.c.seen_at).where(sessions.c.hash == hashed(cookie), due)) is not None


def seen(connection: Connection, cookie: str, at: datetime) -> None:
    """Note that a session is in use; not more than every minute, as `tokens.used`. What was seen later stays so."""
    due = is_due(sessions.c.seen_at, at, SESSION_NOTED)
    connection.execute(update(sessions).where(sessions.c.hash == hashed(cookie), due).values(seen_at=at))


def proved_at(connection: Connection, cookie: str) -> datetime | None:
    """Give when whoever has a session last proved who they are: by signing in, or by their password since then."""
    last = func.coalesce(sessions.c.proved_at, sessions.c.created_at, type_=Instant)
    found: datetime | None = connection.scalar(select(last).where(sessions.c.hash == hashed(cookie)))
    return found


def proved(connection: Connection, cookie: str, at: datetime) -> None:
    """Note that whoever has a session gave their password."""
    connection.execute(update(sessions).where(sessions.c.hash == hashed(cookie)).values(proved_at=at))


def end_sessions(connection: Connection, user_id: str, at: datetime, cookie: str | None = None) -> int:
    """End one session of a user, or all of them; give how many."""
    query = update(sessions).where(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None))
    if cookie is not None:
        query = query.where(sessions.c.hash == hashed(cookie))
    return connection.execute(query.values(ended_at=at)).rowcount


def session_id(cookie: str) -> str:
    """Name a session by its cookie, which the name does not tell."""
    return hashed(cookie).hex()[:_SESSION_ID]


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


_SESSION_ID: Final = 16
"""Hexadecimal digits of a hash that name a session: nobody has two that are named alike, and none is guessed by it."""
