"""Signing in by the word of an identity provider: there, and back again.

What is made up for a try comes of a secret in a cookie, which is bound to the browser, sealed, and good for ten minutes
and one try; nothing is kept here until somebody has signed in. Whatever goes wrong is told in one page, alike; the log
says why.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from flask import Response, request
from werkzeug.exceptions import NotFound

from ebill.errors import NotIdentified
from ebill.logs import log
from ebill.service import sessions
from ebill.settings import CALLBACK
from ebill.store.audit import By
from ebill.store.keys import openers
from ebill.web import metrics, reading
from ebill.web.fence import CODE, REQUEST_ID
from ebill.web.pages import cookies, door
from ebill.web.pages.page import Moved, Page, Shown
from ebill.web.problems import status_of
from ebill.web.reading import refuse_unknown

if TYPE_CHECKING:
    from ebill.oidc import Provider
    from ebill.web.pages.door import Door

AT: Final = "/sign-in/oidc"
COOKIE: Final = "oidc"
LASTS: Final = timedelta(minutes=10)
LONGEST: Final = 1500


def go_to_provider(at: Door) -> Response:
    """Send a browser to the identity provider, with a cookie by which it is known when it comes back."""
    provider = _provider(at)
    query = door.given()
    refuse_unknown(query, ("next",))
    to, now = door.next_of(query.get("next", "")), datetime.now(UTC)
    if at.somebody():
        return door.moved(to)
    secret = secrets.token_urlsafe(32)
    try:
        answer = door.moved(provider.address(_seed(at.seal, secret), now))
    except NotIdentified as refusal:
        return _refused(refusal)
    cookies.give(answer, _sealed(at.seal, secret, now + LASTS, to), COOKIE, LASTS)
    return answer


def come_back(at: Door) -> Response:
    """Sign in whom the identity provider has recognised: a new session, whatever cookie came along."""
    provider = _provider(at)
    address, now = request.remote_addr or "", datetime.now(UTC)
    at.tries.begin(None, address)
    try:
        key, secret, to = _opened(at.seal, request.cookies.get(cookies.name(COOKIE), ""), now)
        subject = provider.subject(reading.query(request.environ), _seed(key, secret), now)
        answer = door.respond(Moved(to, _session(at, subject)))
    except NotIdentified as refusal:
        answer = _refused(refusal)
    else:
        at.tries.succeeded(None, address)
    cookies.take(answer, COOKIE)
    return answer


def _session(at: Door, subject: str) -> str:
    """Begin a session, and give its cookie. Raises NotIdentified."""
    with at.store.reading() as connection:
        user = sessions.identified(connection, subject)
    if user is None:
        raise NotIdentified("no_user")
    by = By(user.user_id, datetime.now(UTC), None, request.environ.get(REQUEST_ID))
    with at.store.writing(by, lambda: datetime.now(UTC)) as write:
        cookie = sessions.begin_identified(write, user.user_id, subject, cookies.given() or None)
    if cookie is None:
        raise NotIdentified("no_user")
    return cookie


def _provider(at: Door) -> Provider:
    if at.provider is None:
        raise NotFound
    return at.provider


def _refused(refusal: NotIdentified) -> Response:
    metrics.SIGN_IN_FAILURES.labels("identity provider").inc()
    request.environ[CODE] = refusal.code
    request_id = request.environ.get(REQUEST_ID)
    log("not_identified", level="warning", why=refusal.why, address=request.remote_addr, request_id=request_id)
    values = {"sentence": str(refusal), "request_id": request.environ.get(REQUEST_ID, "")}
    return door.respond(Shown("not_identified.html", values, status_of(NotIdentified)))


def _seed(seal: bytes, secret: str) -> bytes:
    return hmac.digest(seal, b"oidc try " + secret.encode(), "sha256")


def _sealed(seal: bytes, secret: str, until: datetime, to: str) -> str:
    text = f"{secret}.{int(until.timestamp())}.{urlsafe_b64encode(to.encode()).decode()}"
    return f"{text}.{_mac(seal, text)}"


def _opened(seal: bytes, cookie: str, now: datetime) -> tuple[bytes, str, str]:
    """Give the key that sealed a try, its secret, and where it leads.

    Raises NotIdentified for a cookie that is not ours, or too old.
    """
    text, _, mac = cookie.rpartition(".")
    given = mac.encode("utf-8", "replace") if len(cookie) <= LONGEST else b""
    key = next((each for each in openers(seal) if hmac.compare_digest(_mac(each, text).encode(), given)), None)
    if key is None:
        raise NotIdentified("cookie")
    secret, until, to = text.split(".")
    if now.timestamp() >= int(until):
        raise NotIdentified("too_late")
    return key, secret, door.next_of(urlsafe_b64decode(to).decode())


def _mac(seal: bytes, text: str) -> str:
    return hmac.digest(seal, b"oidc cookie " + text.encode("utf-8", "replace"), "sha256").hex()


PAGES: Final = (
    Page(method="GET", path=AT, allows="public", view=go_to_provider, itself=True),
    Page(method="GET", path=CALLBACK, allows="public", view=come_back, itself=True),
)
