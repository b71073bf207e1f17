"""How a route is declared.

A route says what it takes, what it gives, how it may refuse, and what its user must be allowed to do; one that leaves
that out cannot be made. The OpenAPI document is written from these declarations, and what every route of a kind may
refuse is told from its kind alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from marshmallow import Schema
from sqlalchemy import Connection

from ebill import demo, errors
from ebill.access import MAY, NEEDS, NEEDS_TERMS, OF_SOME_CLIENTS, Action
from ebill.errors import Refusal
from ebill.rulebook import RuleBook
from ebill.service.clients import Precondition
from ebill.store.engine import Writing
from ebill.store.glance import Glance
from ebill.store.keys import Seal
from ebill.store.users import User

Method = Literal["GET", "POST", "PUT", "DELETE"]


class Csv:
    """Text in CSV, where a route takes or gives that instead of JSON."""


class Ndjson:
    """JSON line by line, each an object, where a route takes or gives that instead of one document."""


class Ics:
    """A calendar as RFC 5545 writes it, where a route gives that instead of JSON."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a public view sees it, with the rule book and the instant to answer by.

    `body` is as it came, or a file of a body in NDJSON, which is the view's to close.
    """

    book: RuleBook
    now: datetime
    query: Mapping[str, str]
    body: Any
    path: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Signed:
    """A request of somebody who may make it: `user` may do what the route allows, and see the client of its path.

    That was found out in the very transaction of `connection`. `query` is as the route's schema loads it; `seal` is
    the key of our cursors.
    """

    book: RuleBook
    now: datetime
    user: User
    connection: Connection
    path: Mapping[str, str]
    query: Any
    seal: Seal


class Glanced(NamedTuple):
    """A request as `Signed`, which is answered at a glance: while the store is held still for it."""

    book: RuleBook
    now: datetime
    glance: Glance
    path: Mapping[str, str]
    query: Any


@dataclass(frozen=True, slots=True)
class Change(Signed):
    """A request to change something; `body` is plain data, or the file of a CSV body. A dry run keeps nothing."""

    write: Writing
    body: Any
    made_to: Precondition
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that is more than a body with the status 200.

    `version` becomes its ETag; `whole` says that the version stands for all of the body, so that a reader who has it
    may be told 304. `until` says until when a steady answer stays the same. A body that is an iterator of bytes is sent
    piece by piece. `kept` is what Idempotency-Key keeps in its stead, with its status, where the body is a secret.
    """

    body: Any
    status: int = 200
    version: int | None = None
    whole: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    until: datetime | None = None
    kept: tuple[int, Any] | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that is finished once the transaction has ended; it is given another one for what is yet to be read."""

    finish: Callable[[AbstractContextManager[Connection]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route as declared.

    `allows` is what of `access.MAY` its user must be allowed to do. `gives` is the type of the answer (None: an empty
    one), `also_gives` what it gives by `Accept` or `format=`; `query` and `body` are the schemas that it is read by,
    `example` a body or a query that works (`also` more of them, by what they show), `parameters` examples of what
    stands in its path. `statuses` are those of its answers, `versioned` says that these have an ETag, and `conditional`
    that it takes If-Match or If-None-Match: *. `steady` says that an answer depends on nothing but the rule book, the
    client of the path if any, what is asked, and what day it is somewhere, so that it may be kept; its view looks at no
    `request` of Flask's, since it may be asked ahead of Flask; `glanced` answers as the view does, in bytes, and says
    until when; or gives None where what is asked for is more than what is known now. `only_tried` says that what is
    sent changes nothing; `by_secret` that it is for whoever knows a secret, which its view finds out. `refuses` are the
    refusals it may answer with besides those that every route of its kind may.
    """

    method: Method
    path: str
    allows: Action
    view: Callable[..., Any]
    summary: str
    gives: Any
    also_gives: tuple[type[Csv | Ics], ...] = ()
    query: type[Schema] | None = None
    body: type[Schema | Csv | Ndjson] | None = None
    example: Any = None
    also: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    statuses: tuple[int, ...] = (200,)
    versioned: bool = False
    conditional: bool = False
    steady: bool = False
    glanced: Callable[[Glanced], tuple[bytes, datetime] | None] | None = None
    only_tried: bool = False
    refuses: tuple[type[Refusal], ...] = ()
    by_secret: bool = False

    @property
    def operation(self) -> str:
        """The operation's id."""
        return self.view.__name__

    @property
    def rule(self) -> str:
        """The path as Flask writes it; a suffix is its view's to look at, so that without it the answer is the same."""
        return self.path.removesuffix(".ics").replace("{", "<").replace("}", ">")

    @property
    def names(self) -> list[str]:
        """What stands in the path."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def is_public(self) -> bool:
        """Whether anybody may ask, and no client data is touched."""
        return self.allows == "public"

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return not self.is_public and self.method != "GET"

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, and never does: a token for reading alone may be used for it."""
        return not self.writes or self.only_tried

    @property
    def once(self) -> bool:
        """Whether it takes an Idempotency-Key: sent twice, it would otherwise be done twice."""
        return self.writes and self.method == "POST" and not self.only_tried

    @property
    def makes_client(self) -> bool:
        """Whether it may make the very client that its path names."""
        return self.conditional and self.names == ["client_id"]

    @property
    def may_refuse(self) -> tuple[type[Refusal], ...]:
        """Every refusal that it may answer with."""
        if self.by_secret:
            return *EVERY, errors.StoreUnavailable, *(NOT_FOUND[name] for name in self.names)
        found: list[type[Refusal]] = [*EVERY, errors.InvalidInput]
        if not self.is_public:
            found += [errors.Unauthenticated, errors.StoreUnavailable]
            found += [errors.OutcomeUnknown] if self.writes and not self.only_tried else []
        if MAY[self.allows] != MAY["public"]:
            found.append(errors.NotAllowed)
        if self.allows in NEEDS:
            found.append(errors.MissingEntitlement)
        if self.allows in NEEDS_TERMS:
            found.append(errors.TermsNotAccepted)
        if not self.reads or self.allows not in OF_SOME_CLIENTS:
            found.append(errors.OutsideScope)
        found += [NOT_FOUND[name] for name in self.names if name in NOT_FOUND]
        if self.conditional:
            found += [errors.PreconditionMissing, errors.Stale]
        if self.once:
            found += [errors.KeyMissing, errors.KeyReused]
        if self.body:
            found += [errors.TooLarge, errors.UnsupportedMediaType]
            found += [] if self.body is Csv else [errors.MalformedJson]
        return tuple(dict.fromkeys((*found, *self.refuses)))


OF_CLIENT: Final = {"client_id": demo.FIRST_CLIENT}
OF_ACCOUNT: Final = {**OF_CLIENT, "account_id": demo.FIRST_ACCOUNT}
OF_USER: Final = {"user_id": demo.PRODUCER}
"""Examples of what stands in a path: they are those of the sample book, which `make run` fills an empty store with."""

EVERY: Final[tuple[type[Refusal], ...]] = (errors.BadRequest, errors.AskedTooOften, errors.Overloaded)
"""What any route may refuse with."""

NOT_FOUND: Final[Mapping[str, type[Refusal]]] = {
    "client_id": errors.ClientNotFound,
    "account_id": errors.AccountNotFound,
    "user_id": errors.UserNotFound,
    "token_id": errors.TokenNotFound,
    "feed_id": errors.FeedNotFound,
    "secret": errors.FeedNotFound,
    "session_id": errors.SessionNotFound,
    "request_id": errors.RequestNotFound,
}
"""How a route refuses what stands in its path and is not there, or not to be seen."""
