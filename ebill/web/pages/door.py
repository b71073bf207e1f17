"""What goes around every page: who looks, whether they may, and only then what; and how a refusal looks.

The order is that of the API (see `ebill.web.signed`), with a session's cookie in place of a token. A token opens no
page, a cookie opens no route of the API.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps
from os import SEEK_END
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from flask import Response, g, redirect, render_template, request
from marshmallow import Schema
from sqlalchemy import Connection
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from ebill import access
from ebill.errors import (
    BadRequest,
    ClientNotFound,
    MissingEntitlement,
    NotAllowed,
    Refusal,
    StoreUnavailable,
    TeamNotFound,
    TermsNotAccepted,
    TooLarge,
    TooManyTries,
    Unauthenticated,
    UnsupportedMediaType,
    shown,
)
from ebill.rulebook import RuleBook
from ebill.service import forms, waiting
from ebill.service.invoices import quarter
from ebill.store import audit, patience, sessions
from ebill.store.audit import By
from ebill.store.keys import Seal
from ebill.store.users import User
from ebill.web import reading
from ebill.web.fence import CODE, REQUEST_ID, SIGNED
from ebill.web.pages import cookies
from ebill.web.pages.packed import may_pack, pack
from ebill.web.pages.page import Again, File, Later, Look, Moved, Open, Page, Ready, Send, Shown, Upload
from ebill.web.pages.tries import Tries
from ebill.web.problems import status_of
from ebill.web.routes import NOT_FOUND
from ebill.web.signed import SignedIn
from ebill.web.steady import Steady

if TYPE_CHECKING:
    from ebill.oidc import Provider

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
"""`connect-src` is for htmx, which asks for pages of ours and nothing else."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
    "Vary": "Cookie, Accept-Encoding, Sec-Fetch-Site",
}
"""With `no-referrer`, a browser would call the origin of our own forms `null`; see `cookies.refuse_forged`."""
MENDABLE: Final = frozenset({409, 412, 422, 429})
"""What a form can be sent again with; all else is no matter of what it says."""
LARGEST_FORM: Final = 64_000
FIELDS_MOST: Final = 60
LARGEST_HELD: Final = 1_500_000
"""Bytes of a field of a form that brings a file: a smaller file may come back in one, written out in letters."""
FILE_FIELDS_MOST: Final = 10
KEPT_IN_MEMORY: Final = 500_000
"""Bytes of a file beyond which it is put on disk while it is looked at."""
REPLACED: Final = "\ufffd"
"""What Werkzeug puts in the place of bytes in a field that are no text; nobody writes it on purpose."""
MULTIPART: Final = "multipart/form-data"
SIGN_IN: Final = "/sign-in"
START: Final = "/home"
_ID: Final = "[A-Za-z0-9-]{1,32}"
_NOT_FOUND: Final = {**NOT_FOUND, "team_id": TeamNotFound}
_CONFIGURE: Final = "configure(/(rule|exception|settings|new-account))?"
_NEXT: Final = re.compile(
    rf"/(home|month|me|audit|access-requests|import|admin/(users(/{_ID})?|new-user|teams)"
    rf"|new-client|clients(/{_ID}((/bill-accounts/{_ID})?/{_CONFIGURE}|/bill-accounts/{_ID}/payments)?)?)"
    r"(\?[A-Za-z0-9_.=&%+-]{0,500})?",
    re.ASCII,
)
SENTENCES: Final[Mapping[str, str]] = {
    "client_not_found": (
        "No client of this id is open to you. If you look after this client, ask its client management team for access."
    ),
    "payment_terms_not_accepted": (
        "Accept the electronic payment terms first, on your own page; until then everything can still be read."
    ),
    "too_busy": "Too many are signing in at this very moment. Please try again in a few seconds.",
}
"""What people are told where the API's sentence is for programs."""
NOT_HERE: Final[Mapping[str, str]] = {
    "client_manager": "No client of this id is in the hands of your team.",
    "admin": "There is no client of this id.",
}
"""What those are told of a client who ask no team for access, by role."""
View = Callable[..., Response]
T = TypeVar("T")


class Door:
    """The views of the pages, with what they answer from."""

    def __init__(self, signed: SignedIn, provider: Provider | None) -> None:
        self.provider = provider
        self.store, self.books, self._signed = signed.store, signed.books, signed
        self.tries = Tries()
        self.steady: Steady[Shown] = Steady()
        self._looked: dict[str, datetime] = {}

    @property
    def seal(self) -> Seal:
        """The keys that count now."""
        return self._signed.seal

    def view(self, page: Page) -> View:
        """Put around a page's view all that comes before it and after it."""
        if page.itself:
            return refusing(lambda **path: page.view(self, **path))
        if page.allows == "public":
            return refusing(self._open(page))
        return refusing(self._looking(page) if page.method == "GET" else self._sending(page))

    def somebody(self) -> User | None:
        """Tell who is signed in; nobody, where the store does not tell."""
        cookie = cookies.given()
        if not cookie:
            return None
        now = datetime.now(UTC)
        with suppress(StoreUnavailable, Unauthenticated), self.store.reading() as connection:
            user = access.enter_session(connection, cookie, now, "public", None)
            self._known(connection, user, cookie)
            return user
        return None

    def _open(self, page: Page) -> View:
        def answer() -> Response:
            query = given()
            return respond(page.view(Open(self.books.book, datetime.now(UTC), self.somebody(), query)))

        return answer

    def _looking(self, page: Page) -> View:
        def answer(**path: str) -> Response:
            cookie, book, now = cookies.given(), self.books.book, datetime.now(UTC)
            with self.store.reading() as connection:
                user = self._admit(connection, page, path, cookie, now)
                query = _read(page.query, given())
                key = _key(connection, book, user, now) if page.steady else None
                kept = self.steady.get(key) if key else None
                found = kept or page.view(Look(book, now, user, connection, path, query, self.seal, cookie))
            if isinstance(found, Later):
                found = found.finish(self.store.reading)
            answered = respond(found)
            if key and not kept and isinstance(found, Shown):
                self.steady.keep(key, found, answered.calculate_content_length() or 0)
            self._note(cookie, now)
            return answered

        return answer

    def _sending(self, page: Page) -> View:
        def answer(**path: str) -> Response:
            with ExitStack() as opened:
                return self._sent(page, path, opened)

        return answer

    def _sent(self, page: Page, path: Mapping[str, str], opened: ExitStack) -> Response:
        """Answer a form; `opened` closes the file that it may bring."""
        cookie, book = cookies.given(), self.books.book
        with self.store.reading() as connection:
            user = self._admit(connection, page, path, cookie, datetime.now(UTC))
        cookies.refuse_forged()
        form, file = (sent(), None) if page.takes_file is None else sent_with_file(page.takes_file, opened)
        cookies.refuse_token(self.seal, cookie, form)
        query = _read(page.query, given())
        by = By(user.user_id, datetime.now(UTC), None, request.environ.get(REQUEST_ID))
        try:
            made = page.before(self._ready(cookie, user, path, form)) if page.before else None
            is_import = page.allows == "import_clients"
            with patience.endless(is_import), self.store.writing(by, lambda: datetime.now(UTC)) as write:
                now = write.at
                user = self._admit(write.connection, page, path, cookie, now)
                look = book, now, user, write.connection, path, query, self.seal, cookie
                found = page.view(Send(*look, write=write, form=form, file=file, made=made))
        except Refusal as refusal:
            if page.again is None or status_of(type(refusal)) not in MENDABLE:
                raise
            return self._again(page, page.again, path, query, form, refusal)
        answered = respond(found)
        if not (isinstance(found, Moved) and found.cookie) and not self._is_in(cookie):
            cookies.take(answered)
            answered.headers["Clear-Site-Data"] = '"cache", "storage"'
        return answered

    def _again(
        self, page: Page, again: Again, path: Mapping[str, str], query: Any, form: Mapping[str, str], refusal: Refusal
    ) -> Response:
        """Show a form once more, to somebody who may still see it."""
        cookie, now = cookies.given(), datetime.now(UTC)
        with self.store.reading() as connection:
            user = self._admit(connection, page, path, cookie, now)
            look = Look(self.books.book, now, user, connection, path, query, self.seal, cookie)
            found = again(look, form, refusal)
        shown = found.finish(self.store.reading) if isinstance(found, Later) else found
        answer = respond(replace(shown, status=status_of(type(refusal))) if isinstance(shown, Shown) else shown)
        return _waiting(answer, refusal)

    def _ready(self, cookie: str, user: User, path: Mapping[str, str], form: Mapping[str, str]) -> Ready:
        now, address = datetime.now(UTC), request.remote_addr or ""
        return Ready(now, cookie, user, path, form, self.store.reading, self.tries, address)

    def _is_in(self, cookie: str) -> bool:
        with self.store.reading() as connection:
            return sessions.session_user(connection, cookie, datetime.now(UTC)) is not None

    def _admit(self, connection: Connection, page: Page, path: Mapping[str, str], cookie: str, at: datetime) -> User:
        client_id = path.get("client_id")
        if client_id is not None and not forms.ID.fullmatch(client_id):
            client_id = ""  # no client has this one; the store would choke on some others
        try:
            user = access.enter_session(connection, cookie, at, page.allows, client_id)
        except (NotAllowed, MissingEntitlement, TermsNotAccepted, ClientNotFound):
            self._known(connection, access.enter_session(connection, cookie, at, "own", None), cookie)
            raise
        self._known(connection, user, cookie)
        for name, value in path.items():
            if not forms.ID.fullmatch(value):
                raise _NOT_FOUND[name]
        return user

    def _known(self, connection: Connection, user: User, cookie: str) -> None:
        g.user, g.form_token = user, cookies.form_token(self.seal, cookie)
        g.waiting = waiting.count(connection, user)
        request.environ[SIGNED] = user.user_id

    def _note(self, cookie: str, at: datetime) -> None:
        """Note that a session is in use, now and then; where the store is busy, another time."""
        with suppress(StoreUnavailable):
            with self.store.reading() as connection:
                is_due = sessions.session_use_is_due(connection, cookie, at)
            if is_due:
                with self.store.noting() as connection:
                    sessions.seen(connection, cookie, at)


class Key(NamedTuple):
    """All that a steady page depends on: who asks for what, by which rules, on which day, and what is in the store.

    `state` is the hash of the last audit row of all: no change is kept without one. It was read in the transaction
    that let the user in, before anything else of the page: so what is kept under it may be newer, and is never older.
    """

    user: str
    address: str
    book: str
    quarter: int
    state: bytes


def _key(connection: Connection, book: RuleBook, user: User, now: datetime) -> Key:
    return Key(user.user_id, request.full_path, book.version, quarter(now), audit.last(connection).hash)


def given() -> dict[str, str]:
    """Give the query of this request: each parameter once, and none that is blank, as forms send them."""
    return {name: value for name, value in reading.query(request.environ).items() if value.strip()}


def sent() -> dict[str, str]:
    """Give the form of this request: each field once, and none that is blank. Raises as `reading.json_body`."""
    if request.mimetype != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("application/x-www-form-urlencoded")
    return _once(MultiDict(reading.form_body(request.environ, LARGEST_FORM, FIELDS_MOST)))


def sent_with_file(field: str, opened: ExitStack) -> tuple[dict[str, str], Upload | None]:
    """Give the form of this request as `sent`, and the file that it may bring in a field; refused as one of the API's.

    Its other fields are bounded each by `LARGEST_HELD`, the file by `reading.LARGEST_FILE`; `opened` closes it.
    """
    if request.mimetype != MULTIPART:
        raise UnsupportedMediaType(MULTIPART)
    reading.refuse_unmeasured(request.environ, MULTIPART)
    most = reading.LARGEST_FILE + LARGEST_HELD + LARGEST_FORM
    parser = FormDataParser(
        lambda *_, **__: opened.enter_context(SpooledTemporaryFile(KEPT_IN_MEMORY)),  # noqa: SIM115  # `opened` is one
        LARGEST_HELD,
        most,
        silent=False,
        max_form_parts=FILE_FIELDS_MOST,
    )
    try:
        _, fields, files = parser.parse_from_environ(request.environ)
    except RequestEntityTooLarge:
        raise TooLarge(reading.LARGEST_FILE if (request.content_length or 0) > most else LARGEST_HELD) from None
    except ValueError:
        raise BadRequest("The form cannot be read: it ends too early, or is no form.") from None
    if any(not isinstance(name, str) for name in (*fields, *files)):  # a part need not say its name
        raise BadRequest("The form cannot be read: a part of it has no name.")
    if any(REPLACED in text for field_ in fields.items(multi=True) for text in field_):
        raise BadRequest("The form must be UTF-8.")
    form, brought = _once(fields), _once(files)
    reading.refuse_unknown_fields(brought, (field,))
    if field not in brought:
        return form, None
    upload = brought[field]
    size = upload.stream.seek(0, SEEK_END)
    upload.stream.seek(0)
    if size > reading.LARGEST_FILE:
        raise TooLarge(reading.LARGEST_FILE)
    return form, Upload(upload.filename or "", size, upload.stream)


def _once(given: MultiDict[str, T]) -> dict[str, T]:
    """Give each field once, and none that is blank, nor a file that nobody chose. Raises BadRequest for one twice."""
    for name, values in given.lists():
        if len(values) > 1:
            raise BadRequest(f'The field "{shown(name)}" is given twice.')
    return {name: value for name, value in given.items() if (value.strip() if isinstance(value, str) else value)}


def next_of(text: str) -> str:
    r"""Give where to go after signing in: a page of ours, or the start.

    >>> next_of("/clients/C1?month=2026-08"), next_of("//evil"), next_of("/\\evil"), next_of("https:evil")
    ('/clients/C1?month=2026-08', '/home', '/home', '/home')
    """
    return text if _NEXT.fullmatch(text) else START


def respond(found: Shown | File | Moved) -> Response:
    """Write what a view gives."""
    if isinstance(found, Moved):
        answer = moved(found.to)
        if found.cookie:
            cookies.give(answer, found.cookie)
        return answer
    if isinstance(found, File):
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{found.name}"'}
        return Response(found.body, headers=headers, content_type=found.content_type)
    page = render_template(found.template, **found.values)
    answer = Response(page, found.status, HEADERS, content_type="text/html; charset=utf-8")
    if may_pack(request):
        pack(answer)
    return answer


def moved(to: str) -> Response:
    """Send a browser on, to be asked for with GET."""
    answer = redirect(to, 303)
    answer.headers.update(HEADERS)
    return answer  # type: ignore[return-value]


def refusing(view: View) -> View:
    """Show what a view refuses, as a page."""

    @wraps(view)
    def answer(**path: str) -> Response:
        try:
            return view(**path)
        except Unauthenticated:
            return _to_sign_in()
        except Refusal as refusal:
            return refused(refusal)

    return answer


def refused(refusal: Refusal) -> Response:
    """Show a refusal."""
    request.environ[CODE] = refusal.code
    status = status_of(type(refusal))
    sentence = SENTENCES.get(refusal.code, str(refusal))
    user = g.get("user")
    if isinstance(refusal, ClientNotFound) and user is not None:
        sentence = NOT_HERE.get(user.role, sentence)
    answer = respond(trouble(status, sentence, [(fault.pointer, fault.detail) for fault in refusal.faults]))
    if status == 503:
        answer.headers["Retry-After"] = "1"
    return _waiting(answer, refusal)


def _waiting(answer: Response, refusal: Refusal) -> Response:
    """Say with an answer how long to wait, where that is why it is a refusal."""
    if isinstance(refusal, TooManyTries):
        answer.headers["Retry-After"] = str(refusal.seconds)
    return answer


def trouble(status: int, sentence: str, named: list[tuple[str, str]] | None = None) -> Shown:
    """Give the page of a refusal."""
    values = {
        "status": status,
        "heading": HEADINGS.get(status, HEADINGS[400 if status < 500 else 500]),
        "sentence": sentence,
        "named": named or [],
        "request_id": request.environ.get(REQUEST_ID, ""),
    }
    return Shown("trouble.html", values, status)


HEADINGS: Final[Mapping[int, str]] = {
    400: "This could not be read",
    403: "This is not open to you",
    404: "There is nothing here",
    405: "This cannot be done here",
    422: "Something here needs another look",
    429: "One moment, please",
    500: "Something went wrong here",
    503: "Not just now",
}


def _to_sign_in() -> Response:
    """Send a browser to sign in, and from there back to where it was."""
    at = request.full_path.rstrip("?") if request.method == "GET" else START
    to = SIGN_IN if next_of(at) == START else f"{SIGN_IN}?next={quote(at, safe='')}"
    if "HX-Request" in request.headers:  # htmx would put the page for signing in where it wanted a part of this one
        return Response(status=401, headers={**HEADERS, "HX-Redirect": to})
    return moved(to)


def _read(schema: type[Schema] | None, query: dict[str, str]) -> Any:
    if schema is None:
        reading.refuse_unknown(query, ())
        return {}
    return reading.read_query(schema, query)
