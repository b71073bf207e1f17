"""What goes around every view that asks who is there: the order in which a request is judged.

1. Who is it? A token that counts, or 401. 2. May they do this at all? Or 403, whatever it is about. 3. May they see
the client? Or 404, whether there is one or not. Only then is it read what is asked: 4. the query, the headers and the
body, 5. the version it is made from. A reading is judged and answered in one transaction. A change is judged twice:
before its body is read, and again in the transaction that makes it, which is the one that counts; so nobody who may
not change anything keeps others waiting who may.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from flask import Response, request
from marshmallow import Schema
from sqlalchemy import Connection

from ebill import access, strictjson
from ebill.access import Entered
from ebill.bookfile import BookFile
from ebill.errors import StoreUnavailable, Unauthenticated
from ebill.render.json import encode
from ebill.rulebook import RuleBook
from ebill.service import forms, sealing
from ebill.service.clients import Precondition
from ebill.store import once as kept_once
from ebill.store import patience, tokens
from ebill.store.audit import By
from ebill.store.engine import Store, Writing
from ebill.store.glance import Glance
from ebill.store.keys import Seal
from ebill.store.users import User
from ebill.web import conditions, once, reading, steady
from ebill.web.ahead import Answer, Plain
from ebill.web.books import Books
from ebill.web.fence import REQUEST_ID, SIGNED
from ebill.web.routes import NOT_FOUND, Change, Csv, Given, Glanced, Later, Method, Route, Signed
from ebill.web.steady import Steady, seal, seals

SHORT: Final = 256
"""Characters up to which queries are kept with what they say."""
TOKENS_MOST: Final = 10_000
"""Tokens of which we remember when we last looked whether their use was noted."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_TOKEN: Final = re.compile(r"bearer +(ebp_[0-9A-Za-z_]{16,200})", re.IGNORECASE | re.ASCII)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
View = Callable[..., Response]


class Kept(NamedTuple):
    """A steady answer of a client in one state, good until an instant."""

    state: bytes
    until: datetime
    tag: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class SignedIn:
    """The views of an application that ask who is there, with the store and the rule book they answer from."""

    def __init__(self, store: Store, file: BookFile) -> None:
        self.store, self.books = store, Books(store, file)
        self._keys = sealing.seal(store, "ebill", clock)
        self._looked: dict[str, datetime] = {}
        self.steady: Steady[Kept] = Steady()

    @property
    def seal(self) -> Seal:
        """The keys that count now, as they were when this process started."""
        return self._keys.at(clock())

    def view(self, route: Route) -> View:
        """Put around a route's view all that comes before it and after it."""
        return self._changing(route) if route.writes else self._reading(route)

    def steadily(self, route: Route) -> Answer:
        """Put around a steady route's view what comes before it and after it, and keep what it answers."""

        def answer(environ: dict[str, Any], **path: str) -> Plain:
            token, book, now = bearer(environ), self.books.book, datetime.now(UTC)
            text = environ.get("QUERY_STRING", "")
            asked = (route.operation, *path.values(), text, book.version, steady.code())
            tag: str | None = None
            with self.store.glancing() as glance, glance.still():
                user, token_id, state = admit(glance, token, now, route, path)
                # Only now is it looked up: who may not have it learns nothing from the time it took.
                known = conditions.known(environ)
                found = self.steady.get(asked)
                if found is None or found.state != state or found.until <= now:
                    found = None
                    tag = next((tag for tag in known or () if seals(self.seal, asked, state, now, tag)), None)
                    if tag is None and route.glanced:
                        environ[SIGNED] = user.user_id
                        written = route.glanced(Glanced(book, now, glance, path, _query(route, text)))
                        found = self._keep(asked, state, *written) if written else None
            if found is None and tag is None:
                user, token_id, found = self._found(route, environ, path, token, book, now, asked)
            if found is None or known is None or found.tag in known:
                return self._same(environ, user, token_id, now, found.tag if found else str(tag))
            environ[SIGNED] = user.user_id
            self._note(token_id, now)
            return Plain("200 OK", found.headers, found.body)

        return answer

    def options(self, routes: Mapping[Method, Route]) -> View:
        """Say which methods an address takes, to those who may use the first of `routes`."""
        route = next(iter(routes.values()))
        also = {"OPTIONS", *(("HEAD",) if "GET" in routes else ())}
        allow = ", ".join(sorted(also | routes.keys()))

        def answer(**path: str) -> Response:
            token = bearer(request.environ)
            with self.store.reading() as connection:
                admit(connection, token, datetime.now(UTC), route, path)
            return Response(status=HTTPStatus.NO_CONTENT, headers={"Allow": allow})

        return answer

    def _reading(self, route: Route) -> View:
        def answer(**path: str) -> Response:
            environ = request.environ
            token, book, now = bearer(environ), self.books.book, datetime.now(UTC)
            with self.store.reading() as connection:
                user, token_id, _ = admit(connection, token, now, route, path)
                environ[SIGNED] = user.user_id
                query = _query(route, environ.get("QUERY_STRING", ""))
                answered = route.view(Signed(book, now, user, connection, path, query, self.seal))
            given = _given(answered.finish(self.store.reading()) if isinstance(answered, Later) else answered)
            self._note(token_id, now)
            if given.whole and given.version and conditions.is_known(environ, given.version):
                return Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": conditions.tag(given.version)})
            return respond(given)

        return answer

    def _changing(self, route: Route) -> View:
        def answer(**path: str) -> Response:
            environ = request.environ
            token, book = bearer(environ), self.books.book
            makes_new = route.makes_client and "HTTP_IF_NONE_MATCH" in environ
            with self.store.reading() as connection:
                user, token_id, _ = admit(connection, token, datetime.now(UTC), route, path, makes_new=makes_new)
            environ[SIGNED] = user.user_id
            self._note(token_id, datetime.now(UTC))
            query = _query(route, environ.get("QUERY_STRING", ""))
            made_to = conditions.made_to(environ) if route.conditional else Precondition()
            dry_run: bool = route.only_tried or query.get("dry_run", False)
            with patience.endless(route.body is Csv), _body(route, environ) as (body, body_hash):
                asked = once.asked(environ, _caller(user), body_hash) if route.once and not dry_run else None
                now = datetime.now(UTC)
                by = By(user.user_id, now, token_id, environ.get(REQUEST_ID))
                with self._trying(by) if dry_run and route.body is not Csv else self.store.writing(by, clock) as write:
                    user, *_ = admit(write.connection, token, now, route, path, makes_new=makes_new)
                    if asked and (found := kept_once.kept(write.connection, asked, now)):
                        write.unchanged()
                        return once.again(found)
                    change = Change(
                        book, now, user, write.connection, path, query, self.seal, write, body, made_to, dry_run
                    )
                    given = _given(route.view(change))
                    answered = respond(given)
                    if asked:
                        kept_once.keep(write.connection, asked, once.kept(answered, given.kept), now)
            return answered

        return answer

    def _found(
        self,
        route: Route,
        environ: dict[str, Any],
        path: Mapping[str, str],
        token: str,
        book: RuleBook,
        now: datetime,
        asked: tuple[str, ...],
    ) -> tuple[User, str, Kept]:
        """Find a steady answer, and keep it for whoever may ask the same while the client's state is the same."""
        self.store.settled()  # what is not told at a glance may be asked as known at an instant
        with self.store.reading() as connection:
            user, token_id, state = admit(connection, token, now, route, path)
            environ[SIGNED] = user.user_id
            query = _query(route, environ.get("QUERY_STRING", ""))
            given = route.view(Signed(book, now, user, connection, path, query, self.seal))
        if given.until is None:
            raise TypeError(f"{route.operation} does not say until when its answer stays the same")
        return user, token_id, self._keep(asked, state, encode(given.body), given.until)

    def _keep(self, asked: tuple[str, ...], state: bytes, body: bytes, until: datetime) -> Kept:
        tag = seal(self.seal, asked, state, int(until.timestamp()))
        headers = (
            ("Content-Type", "application/json"),
            ("ETag", conditions.tag(tag)),
            ("Content-Length", str(len(body))),
        )
        found = Kept(state, until, tag, headers, body)
        self.steady.keep(asked, found, len(body))
        return found

    def _same(self, environ: dict[str, Any], user: User, token_id: str, now: datetime, tag: str) -> Plain:
        """Say that a reader has the answer already."""
        environ[SIGNED] = user.user_id
        self._note(token_id, now)
        return Plain("304 NOT MODIFIED", (("ETag", conditions.tag(tag)),), b"")

    def _note(self, token_id: str, at: datetime) -> None:
        """Note that a token was used, now and then; where the store is busy, another time."""
        if at - self._looked.get(token_id, _LONG_AGO) < tokens.USE_NOTED:
            return
        if len(self._looked) > TOKENS_MOST:
            self._looked.clear()
        self._looked[token_id] = at
        with suppress(StoreUnavailable):
            with self.store.reading() as connection:
                is_due = tokens.use_is_due(connection, token_id, at)
            if is_due:
                with self.store.noting() as connection:
                    tokens.used(connection, token_id, at)

    @contextmanager
    def _trying(self, by: By) -> Iterator[Writing]:
        """Let a change be tried in a transaction that keeps nothing, and keeps nobody waiting."""
        with self.store.reading() as connection:
            yield Writing(connection, by)


def clock() -> datetime:
    """Tell the instant."""
    return datetime.now(UTC)


def bearer(environ: dict[str, Any]) -> str:
    """Give the token of a request as it came. Raises Unauthenticated where there is none, or not just one."""
    environ[SIGNED] = ""
    found = _TOKEN.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    if not found:
        raise Unauthenticated
    return found[1]


def admit(
    connection: Connection | Glance,
    token: str,
    at: datetime,
    route: Route,
    path: Mapping[str, str],
    *,
    makes_new: bool = False,
) -> Entered:
    """Let somebody in, or raise what `access.enter` does, and what `NOT_FOUND` names.

    A client that is only being made need not be there: whether it is, its view finds out.
    """
    client_id = path.get("client_id")
    if client_id is not None and not forms.ID.fullmatch(client_id):
        client_id = ""  # no client has this one; the store would choke on some others
    entered = access.enter(connection, token, at, route.allows, client_id, reads=route.reads, makes=makes_new)
    for name, value in path.items():
        if not forms.ID.fullmatch(value):
            if name in NOT_FOUND and not (route.conditional and name == route.names[-1]):
                raise NOT_FOUND[name]
            forms.client_id(value, f"/{name}")
    return entered


def respond(given: Given) -> Response:
    """Write an answer."""
    headers = dict(given.headers)
    if given.version is not None:
        headers["ETag"] = conditions.tag(given.version)
    if given.body is None:
        return Response(status=given.status, headers=headers)
    if isinstance(given.body, bytes | Iterator):
        return Response(given.body, given.status, headers)
    return Response(encode(given.body), given.status, headers, content_type="application/json")


def _caller(user: User) -> str:
    """Name whose keys of requests these are: a token of limited scope has its own, and is given no other's answers."""
    return user.user_id if user.scope is None else f"{user.user_id} {user.scope.token_id}"


def _given(answer: Any) -> Given:
    return answer if isinstance(answer, Given) else Given(answer)


def _query(route: Route, text: str) -> Any:
    return _short_query(route.query, text) if len(text) <= SHORT else _read_query(route.query, text)


def _read_query(schema: type[Schema] | None, text: str) -> Any:
    given = reading.query({"QUERY_STRING": text})
    if schema is None:
        reading.refuse_unknown(given, ())
        return _NOTHING
    return reading.read_query(schema, given)


_short_query: Final = lru_cache(maxsize=4096)(_read_query)
"""What a query says depends on its text alone, so those who ask the same are read once."""


@contextmanager
def _body(route: Route, environ: dict[str, Any]) -> Iterator[tuple[Any, bytes]]:
    """Give what a route takes, and its hash."""
    if route.body is Csv:
        with reading.csv_body(environ) as found:
            yield found
        return
    source = reading.json_body(environ) if route.body else b""
    yield strictjson.loads(source) if route.body else None, hashlib.sha256(source).digest()
