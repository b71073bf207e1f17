"""How a page is declared, what its view is given, and what it gives back.

As a route of the API, a page says what its user must be allowed to do; one that leaves that out cannot be made. A view
asks the services and gives a template with its values, or where to go: it has no rule and no query of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, Literal

from marshmallow import Schema
from sqlalchemy import Connection

from ebill.access import Action
from ebill.errors import Refusal
from ebill.rulebook import RuleBook
from ebill.store.engine import Writing
from ebill.store.keys import Seal
from ebill.store.users import User
from ebill.web.pages.tries import Tries


@dataclass(frozen=True, slots=True)
class Open:
    """A page that anybody may look at; `user` is who is signed in, if anybody. `query` as it came, without blanks."""

    book: RuleBook
    now: datetime
    user: User | None
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Look:
    """A page that is looked at by somebody who may: found out in the very transaction of `connection`.

    `query` is as the page's schema loads it; `seal` is the key of our cursors, `cookie` the session's.
    """

    book: RuleBook
    now: datetime
    user: User
    connection: Connection
    path: Mapping[str, str]
    query: Any
    seal: Seal
    cookie: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a form: the name it had, its bytes, and how many they are."""

    name: str
    size: int
    stream: IO[bytes]


@dataclass(frozen=True, slots=True)
class Send(Look):
    """A form that was sent by somebody who may; `form` is plain text by name, without blanks.

    `made` is what the page's `before` gave.
    """

    write: Writing
    form: Mapping[str, str]
    file: Upload | None = None
    made: Any = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A template and its values; or, where it is another type, a body as it is."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class File:
    """A file to keep, under a name of our own making."""

    body: Any
    content_type: str
    name: str


@dataclass(frozen=True, slots=True)
class Moved:
    """Where to go next, one of our own addresses; with the cookie of a new session, where one has begun."""

    to: str
    cookie: str = ""


Reading = Callable[[], AbstractContextManager[Connection]]
"""Opens a transaction to read in."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A form that was sent by somebody who may, while no transaction is open; `address` is where it came from."""

    now: datetime
    cookie: str
    user: User
    path: Mapping[str, str]
    form: Mapping[str, str]
    reading: Reading
    tries: Tries
    address: str


@dataclass(frozen=True, slots=True)
class Later:
    """A page that is finished once the transaction has ended; it is given a way to open others."""

    finish: Callable[[Reading], Shown | File]


Again = Callable[[Look, Mapping[str, str], Refusal], Shown | Later]
"""Shows a form that was refused once more, from what it was sent with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page as declared: see `access.MAY` for what `allows` can be.

    `query` is the schema its query is read by. `again` shows a form that was sent once more, with what was wrong with
    it, once all that it began is undone; without it, what was wrong is a page of its own. `before` makes what takes
    long, such as a hash, before the transaction begins in which the form counts. `steady` says that what the view
    gives, a template and its values, depends on nothing but `door.Key`, and may be kept. `itself` says that the view of
    a public page does all of it, sessions included: it is given nothing but the pages' own workings. `takes_file` is
    the field in which its form may bring a file; others bring none.
    """

    method: Literal["GET", "POST"]
    path: str
    allows: Action
    view: Callable[..., Any]
    query: type[Schema] | None = None
    again: Again | None = None
    before: Callable[[Ready], Any] | None = None
    steady: bool = False
    itself: bool = False
    takes_file: str | None = None

    @property
    def rule(self) -> str:
        """The path as Flask writes it."""
        return self.path.replace("{", "<").replace("}", ">")

    @property
    def endpoint(self) -> str:
        """The name by which Flask knows it."""
        return f"page {self.view.__name__}"
