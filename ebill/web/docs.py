"""What is not the API itself: its document and docs page, and the list of problem codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from html import escape
from inspect import getdoc
from pathlib import Path
from typing import Any, Final

import flask_swagger_ui
from flask import Flask, Response, send_from_directory
from werkzeug.exceptions import NotFound

from ebill import errors
from ebill.render.json import encode
from ebill.web.conditions import met
from ebill.web.fence import HEADERS
from ebill.web.problems import HTTP_CODES, status_of

SWAGGER: Final = Path(flask_swagger_ui.__file__).parent / "dist"
OURS: Final = Path(__file__).parent / "static"
ASSETS: Final = {"start.js": OURS, "swagger-ui-bundle.js": SWAGGER, "swagger-ui.css": SWAGGER}
"""What the docs page needs, and where it is; nothing else is served from there."""
DOCS_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
"""Swagger UI sets styles on its elements; scripts come from files of ours alone."""

MEANINGS: Final = {
    "not_found": "There is nothing at this address.",
    "method_not_allowed": "This address does not take the method; Allow has those that it takes.",
    "request_timeout": "The request did not come to its end in time.",
    "precondition_failed": "A file is not as the request says that it must be.",
    "uri_too_long": "The address is too long.",
    "headers_too_large": "The headers are too large.",
    "internal_error": "Something went wrong in the service itself; its log tells what, by the request id.",
}
"""What codes mean that are no refusal of ours."""

OPEN: Final = frozenset({"/openapi.json", "/docs", "/docs/<name>", "/problems"})
"""The addresses that answer anybody without a Route to say so: no client data is behind them."""


def register(app: Flask, document: Callable[[], dict[str, Any]]) -> None:
    """Add these addresses to an application; the document is written when it is first asked for."""
    written = cache(lambda: encode(document()))
    page = _docs()
    codes = _problems()

    @app.get("/openapi.json")
    def openapi() -> Response:
        return Response(written(), content_type="application/json")

    @app.get("/docs")
    def docs() -> Response:
        return _html(page, DOCS_POLICY)

    @app.get("/docs/<name>")
    def docs_file(name: str) -> Response:
        if name not in ASSETS:
            raise NotFound
        return met(send_from_directory(ASSETS[name], name))

    @app.get("/problems")
    def problem_codes() -> Response:
        return _html(codes, dict(HEADERS)["Content-Security-Policy"])


def _html(page: str, policy: str) -> Response:
    answer = Response(page, content_type="text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = policy
    return answer


def _docs() -> str:
    return """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>eBill API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<main id="swagger-ui"></main>
<noscript><h1>eBill API</h1>
This page needs JavaScript; the same is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""


def _problems() -> str:
    rows = "\n".join(
        f'<dt id="{escape(code)}">{escape(code)} ({status})</dt>\n<dd>{escape(meaning)}</dd>'
        for code, status, meaning in sorted(set(_codes()))
    )
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Problem codes</title></head>
<body>
<h1>Problem codes</h1>
<p>Every refusal is <code>application/problem+json</code> with one of these in <code>code</code>.</p>
<dl>
{rows}
</dl>
</body>
</html>
"""


def _codes() -> Iterator[tuple[str, int, str]]:
    seen = set[str]()
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.Refusal) and kind is not errors.Refusal:
            if kind.code not in seen:
                yield kind.code, status_of(kind), (getdoc(kind) or "").split("\n\n")[0].replace("`", "")
            seen.add(kind.code)
    for status, code in HTTP_CODES.items():
        if status not in (400, 413, 415):
            yield code, status, MEANINGS[code]
