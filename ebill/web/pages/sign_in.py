"""Signing in with a password, and out.

A first password, which an administrator made, opens no session: whoever knows it is asked to choose another, and only
that one does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from flask import Response, request

from ebill import passwords
from ebill.errors import Fault, InvalidInput, NotSignedIn, Refusal, TooManyTries
from ebill.logs import log
from ebill.service import forms, sessions
from ebill.store.audit import By
from ebill.store.engine import Writing
from ebill.store.users import User
from ebill.web import metrics
from ebill.web.fence import CODE, REQUEST_ID
from ebill.web.pages import cookies, door
from ebill.web.pages.page import Moved, Page, Send, Shown
from ebill.web.problems import status_of
from ebill.web.reading import refuse_unknown, refuse_unknown_fields

if TYPE_CHECKING:
    from ebill.web.pages.door import Door

_FIELDS: Final = ("user_id", "password", "next")


def sign_in_form(at: Door) -> Response:
    """Show the form to sign in; who is signed in already goes on."""
    query = door.given()
    refuse_unknown(query, ("next",))
    to = door.next_of(query.get("next", ""))
    return door.moved(to) if at.somebody() else door.respond(_form(at, to))


def sign_in(at: Door) -> Response:
    """Sign somebody in: a new session, whatever cookie came along."""
    cookies.refuse_forged()
    form = door.sent()
    refuse_unknown_fields(form, _FIELDS)
    to, user_id = door.next_of(form.get("next", "")), form.get("user_id", "")
    address = request.remote_addr or ""
    try:
        at.tries.begin(user_id[:_ID_MOST].lower(), address)
        cookie = _session(at, user_id, form.get("password", ""))
        at.tries.succeeded(user_id.lower(), address)
    except (NotSignedIn, TooManyTries) as refusal:
        return _refused(refusal, _form(at, to, user_id, refusal))
    return door.respond(_choose(to, user_id) if cookie is None else Moved(to, cookie))


def change_first_password(at: Door) -> Response:
    """Change a first password for one of the user's own, and sign them in."""
    cookies.refuse_forged()
    form = door.sent()
    refuse_unknown_fields(form, (*_FIELDS, "new_password"))
    to, user_id = door.next_of(form.get("next", "")), form.get("user_id", "")
    address = request.remote_addr or ""
    try:
        at.tries.begin(user_id[:_ID_MOST].lower(), address)
        cookie = _changed(at, user_id, form.get("password", ""), form.get("new_password", ""))
        at.tries.succeeded(user_id.lower(), address)
    except (NotSignedIn, TooManyTries, InvalidInput) as refusal:
        if isinstance(refusal, InvalidInput):
            at.tries.succeeded(user_id.lower(), address)
        return _refused(refusal, _choose(to, user_id, refusal))
    return door.respond(Moved(to, cookie))


def sign_out(sent: Send) -> Moved:
    """End this session."""
    sessions.end(sent.write, sent.user, sent.cookie)
    return Moved(door.SIGN_IN)


def _session(at: Door, user_id: str, password: str) -> str | None:
    """Begin a session, and give its cookie; None where the password is a first one. Raises NotSignedIn and TooBusy.

    No transaction is open while it hashes.
    """
    kept, first = _known(at, user_id, password)
    if first:
        return None
    anew = passwords.hashed(password) if passwords.is_outdated(kept) else None
    return _begun(at, user_id, lambda write: sessions.begin(write, user_id, kept, anew, cookies.given() or None))


def _changed(at: Door, user_id: str, password: str, new: str) -> str:
    """Change a first password, begin a session, and give its cookie. Raises as `_session`, and InvalidInput."""
    kept, first = _known(at, user_id, password)
    if not first:
        raise NotSignedIn
    passwords.refuse_weak(new, (user_id, first.name), "/new_password")
    if new == password:
        raise InvalidInput([Fault("/new_password", "is the first one; choose one of your own")])
    own = passwords.hashed(new)
    return _begun(
        at, user_id, lambda write: sessions.begin_with_first(write, user_id, kept, own, cookies.given() or None)
    )


def _known(at: Door, user_id: str, password: str) -> tuple[str, User | None]:
    """Give the hash of a password, and whose it is where it is a first one. Raises NotSignedIn and TooBusy."""
    kept = None
    if forms.ID.fullmatch(user_id):
        with at.store.reading() as connection:
            kept = sessions.password_kept(connection, user_id)
    if not passwords.matches(kept, password) or kept is None:
        raise NotSignedIn
    with at.store.reading() as connection:
        return kept, sessions.first_of(connection, user_id, datetime.now(UTC))


def _begun(at: Door, user_id: str, begin: Callable[[Writing], str | None]) -> str:
    by = By(user_id, datetime.now(UTC), None, request.environ.get(REQUEST_ID))
    with at.store.writing(by, lambda: datetime.now(UTC)) as write:
        cookie = begin(write)
    if cookie is None:
        raise NotSignedIn
    return cookie


def _refused(refusal: Refusal, form: Shown) -> Response:
    metrics.SIGN_IN_FAILURES.labels("password").inc()
    request.environ[CODE] = refusal.code
    request_id = request.environ.get(REQUEST_ID)
    log("sign_in_refused", level="warning", code=refusal.code, address=request.remote_addr, request_id=request_id)
    answer = door.respond(form)
    if isinstance(refusal, TooManyTries):
        answer.headers["Retry-After"] = str(refusal.seconds)
    return answer


def _choose(to: str, user_id: str, refusal: Refusal | None = None) -> Shown:
    status = status_of(type(refusal)) if refusal else 200
    values = {"next": to, "user_id": user_id[:_ID_MOST], "refusal": refusal}
    return Shown("first_password.html", values, status)


def _form(at: Door, to: str, user_id: str = "", refusal: Refusal | None = None) -> Shown:
    status = status_of(type(refusal)) if refusal else 200
    values = {"next": to, "user_id": user_id[:_ID_MOST], "refusal": refusal}
    return Shown("sign_in.html", {**values, "provider": at.provider and at.provider.name}, status)


_ID_MOST: Final = 32

PAGES: Final = (
    Page(method="GET", path="/sign-in", allows="public", view=sign_in_form, itself=True),
    Page(method="POST", path="/sign-in", allows="public", view=sign_in, itself=True),
    Page(method="POST", path="/sign-in/first-password", allows="public", view=change_first_password, itself=True),
    Page(method="POST", path="/sign-out", allows="own", view=sign_out),
)
