"""Sessions: they begin with a password, and end by signing out, by idleness or age, or with all a user holds.

A password is hashed while no transaction is open: it takes long, and others want to write. So it is told in three
steps what is kept for a user, whether a password is that one (`ebill.passwords`), and that a session begins.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from ebill.errors import SessionNotFound
from ebill.store import people
from ebill.store.engine import Writing
from ebill.store.people import User


def password_kept(connection: Connection, user_id: str) -> str | None:
    """Give the hash of a user's password; None where there is no such user, or no password."""
    return people.password_of(connection, user_id)


def begin(write: Writing, user_id: str, kept: str, anew: str | None, before: str | None) -> str | None:
    """Begin a session for a user whose password matched `kept`, and give its cookie, which is told this once.

    None where the user is disabled, or the password was changed meanwhile. `anew` is another hash of the same password,
    to be kept in its stead; `before` the cookie that came with the request, whose session ends: no session outlives a
    sign-in.
    """
    found = people.user(write.connection, user_id)
    if found is None or found.disabled_at or people.password_of(write.connection, user_id) != kept:
        write.unchanged()
        return None
    if anew is not None:
        people.set_password(write.connection, user_id, anew)
    if before is not None and (owner := people.session_user(write.connection, before, write.at)):
        people.end_sessions(write.connection, owner.user_id, write.at, before)
    write.audit("sign_in", subject=user_id)
    return people.new_session(write.connection, user_id, write.at)


def end(write: Writing, user: User, cookie: str) -> None:
    """End the session of a cookie, from this instant on."""
    people.end_sessions(write.connection, user.user_id, write.at, cookie)
    write.audit("sign_out", subject=user.user_id)


def end_one(write: Writing, user: User, session_id: str) -> None:
    """End a session of the user's own, from this instant on. Raises SessionNotFound."""
    if not people.end_session(write.connection, user.user_id, session_id, write.at):
        raise SessionNotFound
    write.audit("end_session", subject=session_id)


def list_sessions(connection: Connection, user: User, now: Any, cookie: str) -> list[dict[str, Any]]:
    """Answer with the user's sessions, and which of them is the one that asks."""
    here = people.session_id(cookie)
    return [
        {
            "session_id": each.session_id,
            "created_at": each.created_at,
            "seen_at": each.seen_at,
            "is_here": each.session_id == here,
        }
        for each in people.sessions_of(connection, user.user_id, now)
    ]
