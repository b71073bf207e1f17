"""The cookie of a session, and the proof that a form was sent from a page of ours.

A cookie comes with every request that a browser makes, whoever made it do so. So a form counts only where the browser
says that one of our own pages sent it, and where it carries a token that only this session's pages have.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Response, current_app, request

from ebill.errors import ForgedForm
from ebill.settings import HERE
from ebill.store.keys import openers

SESSION: Final = "sid"
LONGEST: Final = 200
"""Characters of a cookie that is looked at."""
TOKEN: Final = "form_token"  # noqa: S105  # what it is called


def name(plain: str = SESSION) -> str:
    """Give the name of a cookie of ours, the session's or another, for this request.

    `__Host-` makes a browser keep it only from this very host and over TLS. Over plain HTTP from this machine itself,
    as `make run` serves, not every browser keeps such a one (Chromium does, Safari does not), so it has another name.
    """
    return plain if is_plain() else f"__Host-{plain}"


def given() -> str:
    """Give the cookie of this request, or nothing."""
    cookie = request.cookies.get(name(), "")
    return cookie if len(cookie) <= LONGEST else ""


def give(answer: Response, cookie: str, plain: str = SESSION, lasts: timedelta | None = None) -> None:
    """Send a cookie; the browser forgets it when it is closed, where it does not last so long. We do earlier."""
    answer.set_cookie(name(plain), cookie, lasts, secure=not is_plain(), httponly=True, samesite="Lax", path="/")


def take(answer: Response, plain: str = SESSION) -> None:
    """Take a cookie back."""
    answer.delete_cookie(name(plain), secure=not is_plain(), httponly=True, samesite="Lax", path="/")


def form_token(seal: bytes, cookie: str) -> str:
    """Give what every form of a session carries."""
    return hmac.digest(seal, b"form " + hashlib.sha256(cookie.encode()).digest(), "sha256").hex()


def refuse_forged() -> None:
    """Raise ForgedForm unless a page of ours sent this request, as far as the browser tells.

    `Sec-Fetch-Site` tells where there is TLS, or this machine; else `Origin` does. Browsers send one or the other with
    every form that is posted, so neither of them is a refusal, too.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise ForgedForm
        return
    try:
        origin = urlsplit(request.headers.get("Origin", ""))
        public = urlsplit(current_app.config["PUBLIC_URL"] or "")
    except ValueError:
        raise ForgedForm from None
    if origin.scheme not in ("http", "https") or origin.netloc not in {request.host, public.netloc} - {""}:
        raise ForgedForm


def refuse_token(seal: bytes, cookie: str, form: dict[str, Any]) -> None:
    """Take the token out of a form. Raises ForgedForm where it is not the session's."""
    token = form.pop(TOKEN, "")
    given = token.encode("utf-8", "replace")
    if not any(hmac.compare_digest(form_token(each, cookie).encode(), given) for each in openers(seal)):
        raise ForgedForm


def is_plain() -> bool:
    """Tell whether this machine itself asks over plain HTTP."""
    public = current_app.config["PUBLIC_URL"]
    host = urlsplit(public or f"//{request.host}").hostname
    return host in HERE and not (public or "").startswith("https:")
