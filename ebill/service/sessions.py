"""Sessions: they begin with a password or an identity provider's word, and end.

They end by signing out, by idleness or age, or with all a user holds.

A password is hashed while no transaction is open: it takes long, and others want to write. So it is told in three
steps what is kept for a user, whether a password is that one (`ebill.passwords`), and that a session begins.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from ebill.errors import NotSignedIn, SessionNotFound, UserNotFound, WrongPassword
from ebill.store import sessions, users
from ebill.store.engine import Writing
from ebill.store.users import User

PROOF_LASTS: Final = timedelta(minutes=15)
"""How long a sign-in, or a password given since, proves who somebody is."""


def password_kept(connection: Connection, user_id: str) -> str | None:
    """Give the hash of a user's password; None where there is no such user, or no password."""
    return users.password_of(connection, user_id)


def first_until(connection: Connection, user_id: str) -> datetime | None:
    """Give until when a user's first password waits to be changed; None where they have no first one."""
    return users.first_password_until(connection, user_id)


def first_of(connection: Connection, user_id: str, now: datetime) -> User | None:
    """Give the user whose password is a first one, to be changed for another; None where it is their own.

    Raises NotSignedIn where it was not changed in time, or the user is disabled.
    """
    until = users.first_password_until(connection, user_id)
    if until is None:
        return None
    found = users.user(connection, user_id)
    if found is None or found.disabled_at or until <= now:
        raise NotSignedIn
    return found


def begin(write: Writing, user_id: str, kept: str, anew: str | None, before: str | None) -> str | None:
    """Begin a session for a user whose password matched `kept`, and give its cookie, which is told this once.

    None where the user is disabled, the password was changed meanwhile, or is a first one. `anew` is another hash of
    the same password, to be kept in its stead; `before` the cookie that came with the request, whose session ends: no
    session outlives a sign-in.
    """
    found = _held(write.connection, user_id, kept)
    if found is None or users.first_password_until(write.connection, user_id):
        write.unchanged()
        return None
    if anew is not None:
        users.set_password(write.connection, user_id, anew)
    return _begun(write, found, before)


def begin_with_first(write: Writing, user_id: str, kept: str, own: str, before: str | None) -> str | None:
    """Change a first password, which matched `kept`, for the one whose hash is `own`, and begin a session as `begin`.

    None as there, and where the password is no first one, or was not changed in time.
    """
    found = _held(write.connection, user_id, kept)
    until = users.first_password_until(write.connection, user_id)
    if found is None or until is None or until <= write.at:
        write.unchanged()
        return None
    users.set_password(write.connection, user_id, own)
    sessions.end_sessions(write.connection, user_id, write.at)
    write.audit("change_password", subject=user_id)
    return _begun(write, found, before)


def identified(connection: Connection, oidc_subject: str) -> User | None:
    """Give the user whom an identity provider knows by this subject; None where there is none, or they are disabled."""
    found = users.by_subject(connection, oidc_subject)
    return found if found and not found.disabled_at else None


def begin_identified(write: Writing, user_id: str, oidc_subject: str, before: str | None) -> str | None:
    """Begin a session for whom `identified` gave, and give its cookie as `begin`; None where that changed meanwhile."""
    found = identified(write.connection, oidc_subject)
    if found is None or found.user_id != user_id:
        write.unchanged()
        return None
    return _begun(write, found, before)


def change_password(write: Writing, user: User, kept: str, own: str) -> str:
    """Change the password of a user who knew the one of hash `kept` for that of hash `own`; give a new cookie.

    All other sessions end, and so does the one that asks, for a new one. Tokens stay. Raises WrongPassword where the
    password was changed meanwhile.
    """
    if users.password_of(write.connection, user.user_id) != kept:
        raise WrongPassword
    users.set_password(write.connection, user.user_id, own)
    sessions.end_sessions(write.connection, user.user_id, write.at)
    write.audit("change_password", subject=user.user_id)
    return sessions.new_session(write.connection, user.user_id, write.at)


def _held(connection: Connection, user_id: str, kept: str) -> User | None:
    """Give a user who may sign in, and whose password is still the one that was looked at."""
    found = users.user(connection, user_id)
    return found if found and not found.disabled_at and users.password_of(connection, user_id) == kept else None


def _begun(write: Writing, user: User, before: str | None) -> str:
    if before is not None and (owner := sessions.session_user(write.connection, before, write.at)):
        sessions.end_sessions(write.connection, owner.user_id, write.at, before)
    write.audit("sign_in", subject=user.user_id)
    return sessions.new_session(write.connection, user.user_id, write.at)


def end_all_of(write: Writing, user_id: str) -> None:
    """End every session of a user, from this instant on. Raises UserNotFound."""
    if users.user(write.connection, user_id) is None:
        raise UserNotFound
    if sessions.end_sessions(write.connection, user_id, write.at):
        write.audit("end_sessions", subject=user_id)
    else:
        write.unchanged()


def end(write: Writing, user: User, cookie: str) -> None:
    """End the session of a cookie, from this instant on."""
    sessions.end_sessions(write.connection, user.user_id, write.at, cookie)
    write.audit("sign_out", subject=user.user_id)


def end_one(write: Writing, user: User, session_id: str) -> None:
    """End a session of the user's own, from this instant on. Raises SessionNotFound."""
    if not sessions.end_session(write.connection, user.user_id, session_id, write.at):
        raise SessionNotFound
    write.audit("end_session", subject=session_id)


def named(cookie: str) -> str:
    """Name the session of a cookie, as it is listed."""
    return sessions.session_id(cookie)


def is_proved(connection: Connection, cookie: str, at: datetime) -> bool:
    """Tell whether whoever has a session proved lately who they are."""
    last = sessions.proved_at(connection, cookie)
    return last is not None and at - last <= PROOF_LASTS


def prove(write: Writing, cookie: str) -> None:
    """Let a session count as proved from now on; it says so in the audit of what it was proved for."""
    sessions.proved(write.connection, cookie, write.at)


def list_sessions(connection: Connection, user: User, now: Any, cookie: str) -> list[dict[str, Any]]:
    """Answer with the user's sessions, and which of them is the one that asks."""
    here = sessions.session_id(cookie)
    return [
        {
            "session_id": each.session_id,
            "created_at": each.created_at,
            "seen_at": each.seen_at,
            "is_here": each.session_id == here,
        }
        for each in sessions.sessions_of(connection, user.user_id, now)
    ]
