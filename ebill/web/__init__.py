"""The HTTP door: reads strictly, asks `ebill.service`, answers programs in JSON, and people in pages.

- `routes`      how a route is declared
- `api`         the calculator's routes, open to anybody
- `batches`     the same for many rows at once
- `clients`, `payments`, `deadlines`, `people`  the routes that ask who is there
- `feeds`       calendar feeds, which are read by whoever knows their address
- `reminders`   what one is reminded of, and where that goes
- `signed`      what goes around these: who asks, whether they may, and only then what
- `ahead`       what is asked most, answered before Flask is
- `steady`      answers that are kept for the next who asks the same
- `books`       the rule book that answers, and how each one is kept
- `conditions`, `once`, `queries`  If-Match and ETags, Idempotency-Key, what a query may say
- `answers`     the shapes of their answers
- `openapi`     the document written from the declarations
- `docs`        the docs page, the list of problem codes
- `health`      whether it lives and can answer, and what it has counted
- `metrics`     what is counted
- `pages`       what people look at
- `reading`     what of a request is taken
- `problems`    how refusals answer
- `places`, `rates`  how many requests are answered at once, and how often each may ask
- `streamed`    what is sent piece by piece, and holds a place meanwhile
- `fence`       what goes around every answer: its number, its headers, its line in the log
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from ebill import bookfile, logs, sending, settings, starting
from ebill.logs import log
from ebill.render.json import encode
from ebill.service.invoices import quarter
from ebill.store import engine
from ebill.store.engine import Store
from ebill.web import (
    ahead,
    api,
    batches,
    clients,
    deadlines,
    docs,
    feeds,
    health,
    pages,
    payments,
    people,
    places,
    problems,
    rates,
    reading,
    reminders,
)
from ebill.web.fence import Fence
from ebill.web.routes import Asked, Ndjson, Route
from ebill.web.signed import SignedIn
from ebill.web.steady import SHORT, Steady
from ebill.web.streamed import Streamed

if TYPE_CHECKING:
    from ebill.oidc import Provider

ROUTES: Final[Sequence[Route]] = (
    *api.ROUTES,
    *batches.ROUTES,
    *clients.ROUTES,
    *payments.ROUTES,
    *deadlines.ROUTES,
    *people.ROUTES,
    *feeds.ROUTES,
    *reminders.ROUTES,
)


def create_app(book_file: bookfile.BookFile | None = None, store: Store | None = None) -> Flask:
    """Make the application.

    It does not start without a rule book (BookRefused) or without its store (StoreRefused, StoreUnavailable), nor with
    settings that cannot be meant (SettingRefused, SettingsRefused). An empty store is made ready; one of an older
    release is left as it is.

    Settings, from the environment: `EBILL_STATES` (the rule book's file), `EBILL_DATABASE_URL` (the store; unset:
    `ebill.db` in the working directory), `EBILL_TRUSTED_HOSTS` (host names, parted by commas; unset: any),
    `EBILL_WEBHOOK_NETWORKS` (where webhooks may be besides the internet, parted by commas), `EBILL_PUBLIC_URL` (the
    address by which others reach the service; unset: as each request came), `EBILL_PROXIES` (how many proxies in a row
    stand in front; their word on who asks is taken), `EBILL_LOG` (how it logs), `EBILL_METRICS_TOKEN` (who may read
    what it has counted; unset: nobody), those of `settings.limits`, and `EBILL_OIDC_…` (see `settings.oidc`).
    """
    if store is None:
        starting.refuse_unsafe(os.environ)
    sending.networks()
    logs.form()
    limits, hops = settings.limits(), settings.proxies()
    file = book_file or bookfile.BookFile(bookfile.path())
    file.told = lambda refusal: log("rule_book_refused", level="warning", refused=str(refusal))
    store = store or Store(engine.url())
    store.make_ready()
    app = Flask(__name__, static_folder=None)
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = reading.LARGEST
    named = [host.strip() for host in os.environ.get("EBILL_TRUSTED_HOSTS", "").split(",") if host.strip()]
    app.request_class = ahead.trusting(named)
    app.config["PUBLIC_URL"] = settings.public_url()
    hosts = ahead.Hosts()
    app.before_request(hosts)
    problems.register(app)
    signed = SignedIn(store, file)
    app.extensions.update({"ebill.store": store, "ebill.signed": signed})
    doors: list[ahead.Door] = []
    for route in ROUTES:
        around: Callable[..., Response]
        if route.by_secret:
            around = partial(route.view, signed)
        elif route.body is Ndjson:
            around = _streaming(route, file)
        elif route.steady:
            answer = _public(route, file) if route.is_public else signed.steadily(route)
            doors.append(ahead.door(route, answer))
            around = _behind(answer)
        else:
            around = _behind(_public(route, file)) if route.is_public else signed.view(route)
        app.add_url_rule(
            route.rule,
            route.operation,
            around,
            methods=[route.method],
            provide_automatic_options=None if route.is_public else False,
        )
    asking = [route for route in ROUTES if not route.is_public and not route.by_secret]
    for rule in dict.fromkeys(route.rule for route in asking):
        alike = {route.method: route for route in asking if route.rule == rule}
        app.add_url_rule(
            rule, f"options {rule}", signed.options(alike), methods=["OPTIONS"], provide_automatic_options=False
        )
    inner = ahead.Ahead(app.wsgi_app, hosts, doors)
    turns = places.InTurn(inner, limits.running, limits.waiting, limits.streaming)
    fenced = Fence(rates.Rates(turns, limits.token_rate, limits.address_rate))
    app.wsgi_app = ProxyFix(fenced, x_for=hops, x_proto=hops, x_host=0) if hops else fenced  # type: ignore[method-assign]
    docs.register(app, partial(_document, version("ebill")))
    health.register(app, file, store)
    pages.register(app, signed, _provider())
    refuse_undeclared(app)
    return app


def _provider() -> Provider | None:
    told = settings.oidc()
    if told is None:
        return None
    from ebill.oidc import Provider  # takes a quarter of a second, and most do without

    return Provider(told)


@cache
def _document(release: str) -> dict[str, Any]:
    from ebill.web import openapi  # with the document it is a tenth of the start, and most processes are never asked

    return openapi.document(ROUTES, release)


def refuse_undeclared(app: Flask) -> None:
    """Raise RuntimeError for an address that says by no Route, no Page and no list of open ones whom it answers."""
    declared = {(route.rule, route.method) for route in ROUTES} | {(page.rule, page.method) for page in pages.PAGES}
    declared |= {(rule, "GET") for rule in docs.OPEN | health.OPEN | health.BY_TOKEN | pages.OPEN}
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            if (rule.rule, method) not in declared:
                raise RuntimeError(f"{method} {rule.rule} does not say who may use it")


def _public(route: Route, file: bookfile.BookFile) -> ahead.Answer:
    """Put around a public view what all have in common: what is read is strict, what is answered is JSON."""
    takes_body = route.body is not None
    known = list(route.query().fields) if route.query else []
    steady: Steady[bytes] = Steady()

    def answer(environ: reading.Environ, **path: str) -> ahead.Plain:
        query = reading.query(environ)
        if query:
            read = (
                None if takes_body else lambda given: route.view(Asked(file.book, datetime.now(UTC), given, b"", path))
            )
            reading.refuse_unknown(query, known, read)
        body = reading.json_body(environ) if takes_body else b""
        book, now = file.book, datetime.now(UTC)
        key = (book.version, body, quarter(now)) if route.steady and len(body) <= SHORT else None
        written = key and steady.get(key)
        if not written:
            written = encode(route.view(Asked(book, now, query, body, path)))
            if key:
                steady.keep(key, written, len(written))
        headers = (("Content-Type", "application/json"), ("Content-Length", str(len(written))))
        return ahead.Plain("200 OK", headers, written)

    return answer


def _behind(answer: ahead.Answer) -> Callable[..., Response]:
    """Make of an answer the view that Flask finds."""

    def view(**path: str) -> Response:
        ahead.refuse_as_before(request.environ)
        status, headers, body = answer(request.environ, **path)
        return Response(body, status, [*headers])

    return view


def _streaming(route: Route, file: bookfile.BookFile) -> Callable[..., Response]:
    """Put around a public view that answers line by line what goes around the others."""

    def answer(**path: str) -> Response:
        environ = request.environ
        reading.refuse_unknown(reading.query(environ), ())
        asked = Asked(file.book, datetime.now(UTC), {}, reading.ndjson_body(environ), path)
        pieces: Streamed = route.view(asked)
        pieces.last = partial(problems.last_line, environ)
        return Response(pieces, content_type="application/x-ndjson")

    return answer


__all__ = ["create_app"]
