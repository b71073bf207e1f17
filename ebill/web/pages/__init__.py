"""The pages: what people look at, where programs ask the API. On the same services, with no rule of their own.

- `page`       how a page is declared, what its view is given and gives
- `door`       what goes around every page: who looks, whether they may, how a refusal looks
- `cookies`    the cookie of a session, and how a form proves where it came from
- `packed`     pages and files made smaller on their way
- `tries`      how often passwords may be tried
- `fields`     what forms say, and what was wrong with it
- `words`      how pages say dates and codes
- `calculator`, `sign_in`, `oidc`, `home`, `clients`, `me`, `admin`, `audit`  the pages themselves
- `paging`, `differences`  long lists, and what a change made different
- `timeline`   an account's open invoices, drawn to scale
- `payments`   what is recorded of an account's payments, and the form for more
- `access_requests`  asking for clients, and deciding on that
- `importing`  a file of clients: tried, shown, and imported only as it was shown
- `configure`  what is set for a client or a bill account, and the list of clients
- `changing`   a change as a form: tried as it is typed, saved as it was shown
- `rule_form`, `exception_form`, `settings_form`  the forms of each kind of change

Templates stand in `ebill/web/templates`, the one style sheet in `ebill/web/static`. htmx comes from its package, and
only makes things quicker: every task works without JavaScript.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import js_lib_htmx
from flask import Flask, Response, g, request, send_from_directory
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException, NotFound

from ebill import access
from ebill.errors import Refusal
from ebill.web import problems
from ebill.web.conditions import met
from ebill.web.fence import CODE
from ebill.web.pages import (
    access_requests,
    admin,
    audit,
    calculator,
    clients,
    configure,
    door,
    exception_form,
    home,
    importing,
    me,
    oidc,
    payments,
    rule_form,
    settings_form,
    sign_in,
)
from ebill.web.pages.door import Door
from ebill.web.pages.packed import can_unpack, pack
from ebill.web.pages.page import Page
from ebill.web.pages.words import FILTERS, WORDS
from ebill.web.signed import SignedIn

if TYPE_CHECKING:
    from ebill.oidc import Provider

PAGES: Final[Sequence[Page]] = (
    *calculator.PAGES,
    *sign_in.PAGES,
    *oidc.PAGES,
    *home.PAGES,
    *clients.PAGES,
    *payments.PAGES,
    *configure.PAGES,
    *rule_form.PAGES,
    *exception_form.PAGES,
    *settings_form.PAGES,
    *access_requests.PAGES,
    *importing.PAGES,
    *me.PAGES,
    *admin.PAGES,
    *audit.PAGES,
)
ASSETS: Final = {
    "pages.css": Path(__file__).parent.parent / "static",
    "htmx.min.js": Path(js_lib_htmx.__file__).parent / "static" / "htmx",
}
"""What the pages need, and where it is; nothing else is served from there."""
OPEN: Final = frozenset({"/static/<name>"})
"""The addresses of these, open to anybody."""
_ENDPOINTS: Final = frozenset(page.endpoint for page in PAGES)
_NOT_PAGES: Final = ("/v1/", "/docs/", "/static/", "/openapi.json", "/livez", "/readyz", "/metrics")


def register(app: Flask, signed: SignedIn, provider: Provider | None) -> None:
    """Add the pages to an application; with an identity provider, where there is one."""
    at = Door(signed, provider)
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(FILTERS)
    app.jinja_env.globals.update(WORDS)
    app.context_processor(_around)
    views: dict[str, Callable[..., Response]] = {}
    for page in PAGES:
        views.setdefault(page.endpoint, at.view(page))
        app.add_url_rule(
            page.rule, page.endpoint, views[page.endpoint], methods=[page.method], provide_automatic_options=False
        )

    @app.get("/static/<name>")
    def static_file(name: str) -> Response:
        if name not in ASSETS:
            raise NotFound
        answer = send_from_directory(ASSETS[name], name, conditional=False)
        answer.vary.add("Accept-Encoding")
        if can_unpack(request):
            answer.direct_passthrough = False
            pack(answer)
            answer.set_etag(f"{answer.get_etag()[0]}-gzip")
        answer.make_conditional(request)
        return met(answer)

    app.register_error_handler(Refusal, lambda error: door.refused(error) if _is_page() else problems.refuse(error))
    app.register_error_handler(HTTPException, lambda error: _http(error) if _is_page() else problems.http(error))
    app.register_error_handler(Exception, lambda error: _unexpected(error))  # noqa: PLW0108


def _around() -> dict[str, Any]:
    """Give what every template knows."""
    user = g.get("user")
    return {
        "user": user,
        "form_token": g.get("form_token", ""),
        "at": request.path,
        "waiting": g.get("waiting", 0),
        "may": lambda action: user is not None and access.may(user, action),
    }


def _is_page() -> bool:
    """Tell whether this request is for a page: for one that is there, or by somebody who reads HTML."""
    if request.endpoint in _ENDPOINTS:
        return True
    if request.endpoint or request.path.startswith(_NOT_PAGES):
        return False
    return "text/html" in request.headers.get("Accept", "")


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    request.environ[CODE] = problems.HTTP_CODES.get(status, "bad_request" if status < 500 else "internal_error")
    sentence = {
        404: "There is no page at this address. It may have been written wrongly, or be an old one.",
        405: "A page was asked for in a way that it does not answer.",
    }.get(status, problems.plainly(error))
    return door.respond(door.trouble(status, sentence))


def _unexpected(error: Exception) -> Response:
    answer = problems.unexpected(error)
    if not _is_page():
        return answer
    return door.respond(door.trouble(500, "It is not your doing. Tell us the number below, and we can look it up."))
