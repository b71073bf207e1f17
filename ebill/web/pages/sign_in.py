"""Signing in with a password, and out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from flask import Response, request

from ebill import passwords
from ebill.errors import NotSignedIn, Refusal, TooManyTries
from ebill.service import forms, sessions
from ebill.store.audit import By
from ebill.web.fence import REQUEST_ID, log
from ebill.web.pages import cookies, door
from ebill.web.pages.page import Moved, Page, Send, Shown
from ebill.web.problems import status_of
from ebill.web.reading import refuse_unknown

if TYPE_CHECKING:
    from ebill.web.pages.door import Door

_FIELDS: Final = ("user_id", "password", "next")


def sign_in_form(at: Door) -> Response:
    """Show the form to sign in; who is signed in already goes on."""
    query = door.given()
    refuse_unknown(query, ("next",))
    to = door.next_of(query.get("next", ""))
    return door.moved(to) if at.somebody() else door.respond(_form(to))


def sign_in(at: Door) -> Response:
    """Sign somebody in: a new session, whatever cookie came along."""
    cookies.refuse_forged()
    form = door.sent()
    refuse_unknown(form, _FIELDS)
    to, user_id = door.next_of(form.get("next", "")), form.get("user_id", "")
    address = request.remote_addr or ""
    try:
        at.tries.begin(user_id[:_ID_MOST].lower(), address)
        cookie = _session(at, user_id, form.get("password", ""))
        at.tries.succeeded(user_id.lower(), address)
    except (NotSignedIn, TooManyTries) as refusal:
        log("sign_in_refused", code=refusal.code, request_id=request.environ.get(REQUEST_ID))
        answer = door.respond(_form(to, user_id, refusal))
        if isinstance(refusal, TooManyTries):
            answer.headers["Retry-After"] = str(refusal.seconds)
        return answer
    answer = door.moved(to)
    cookies.give(answer, cookie)
    return answer


def sign_out(sent: Send) -> Moved:
    """End this session."""
    sessions.end(sent.write, sent.user, sent.cookie)
    return Moved(door.SIGN_IN)


def _session(at: Door, user_id: str, password: str) -> str:
    """Begin a session, and give its cookie. Raises NotSignedIn and TooBusy. No transaction is open while it hashes."""
    kept = None
    if forms.ID.fullmatch(user_id):
        with at.store.reading() as connection:
            kept = sessions.password_kept(connection, user_id)
    if not passwords.matches(kept, password) or kept is None:
        raise NotSignedIn
    anew = passwords.hashed(password) if passwords.is_outdated(kept) else None
    by = By(user_id, datetime.now(UTC), None, request.environ.get(REQUEST_ID))
    with at.store.writing(by, lambda: datetime.now(UTC)) as write:
        cookie = sessions.begin(write, user_id, kept, anew, cookies.given() or None)
    if cookie is None:
        raise NotSignedIn
    return cookie


def _form(to: str, user_id: str = "", refusal: Refusal | None = None) -> Shown:
    status = status_of(type(refusal)) if refusal else 200
    return Shown("sign_in.html", {"next": to, "user_id": user_id[:_ID_MOST], "refusal": refusal}, status)


_ID_MOST: Final = 32

PAGES: Final = (
    Page(method="GET", path="/sign-in", allows="public", view=sign_in_form, itself=True),
    Page(method="POST", path="/sign-in", allows="public", view=sign_in, itself=True),
    Page(method="POST", path="/sign-out", allows="own", view=sign_out),
)
