"""A small world to ask about: two teams with a client each, and everybody who may or may not see them.

`1000-ACME` is of team north; the producer was granted it. `2000-ZENITH` is of team south, and another producer's: what
belongs to it carries a mark that nobody else must ever see.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, true, update
from werkzeug.test import TestResponse

from ebill import access
from ebill.bookfile import BookFile
from ebill.store import clients, feeds, grants, tokens, users
from ebill.store.audit import By
from ebill.store.clients import Account, Client, ExceptionEntry, RuleEntry
from ebill.store.engine import Store, Writing
from ebill.store.feeds import Feed
from ebill.store.tables import users as users_table
from ebill.store.users import User
from ebill.web import create_app
from tests.books import SHIPPED

AT = datetime(2024, 1, 5, 12, tzinfo=UTC)
NEVER = datetime(2099, 1, 1, tzinfo=UTC)
ACME, ZENITH, UNKNOWN = "1000-ACME", "2000-ZENITH", "3000-NOBODY"
MARK = "Quartz"
"""What stands in everything of the other client that has a text."""
ENTITLED = frozenset({"client_administration"})
USERS = (
    User("ada-admin", "Ada", "admin", "PA", 1, frozenset(), frozenset()),
    User("nora-north", "Nora", "client_manager", "PA", 1, frozenset(), frozenset({"north"})),
    User("sam-south", "Sam", "client_manager", "PA", 1, frozenset(), frozenset({"south"})),
    User("pat-producer", "Pat", "producer", "PA", 1, ENTITLED, frozenset(), AT),
    User("una-unentitled", "Una", "producer", "PA", 1, frozenset({"renewals"}), frozenset()),
    User("gus-ungranted", "Gus", "producer", "PA", 1, ENTITLED, frozenset()),
    User("quinn-quartz", f"Quinn {MARK}", "producer", "NY", 1, ENTITLED, frozenset()),
    User("dan-disabled", "Dan", "producer", "PA", 1, ENTITLED, frozenset(), None, AT),
)
GRANTS = (
    ("pat-producer", ACME),
    ("una-unentitled", ACME),
    ("quinn-quartz", ZENITH),
    ("dan-disabled", ACME),
)
ACTORS = {
    "anyone": "",
    "unentitled": "una-unentitled",
    "producer": "pat-producer",
    "ungranted": "gus-ungranted",
    "manager": "nora-north",
    "other manager": "sam-south",
    "admin": "ada-admin",
    "disabled": "dan-disabled",
    "revoked": "pat-producer",
}
"""Who asks, and as which user: nobody at all, and one whose token was revoked, among them."""
SCOPED = {
    "producer reading": ("pat-producer", True, None),
    "producer elsewhere": ("pat-producer", False, [ZENITH]),
    "admin of one": ("ada-admin", False, [ACME]),
}
"""Who asks by a token of limited scope: as which user, whether for reading alone, for which clients (None: all).

One is for a client that its user does not see, who sees it no more by that.
"""
BY_TOKEN = (*ACTORS, *SCOPED)
"""Everybody who asks the API."""


@dataclass
class World:
    """What a store was filled with: tokens and feeds by actor, ids of tokens, and the access requests by client."""

    tokens: dict[str, str] = field(default_factory=dict)
    spare: dict[str, str] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    feeds: dict[str, str] = field(default_factory=dict)


def fill(store: Store) -> World:
    """Fill an empty store with the world, in one write."""
    world = World()
    with store.writing(By("setup", AT)) as write:
        connection = write.connection
        for team in ("north", "south"):
            users.add_team(connection, team, team.title())
        for user in USERS:
            users.add_user(connection, user, AT)
            if user.disabled_at:
                users.change_user(connection, replace(user, version=2))
            terms = update(users_table).where(users_table.c.user_id == user.user_id)
            connection.execute(terms.values(terms_accepted_at=user.terms_accepted_at))
        _client(write, ACME, "north", "Acme")
        _client(write, ZENITH, "south", MARK)
        for user_id, client_id in GRANTS:
            grants.grant(connection, user_id, client_id, "setup", AT)
        for actor, user_id in ACTORS.items():
            if user_id:
                _token(connection, world, actor, user_id)
        for actor, (user_id, read_only, client_ids) in SCOPED.items():
            _token(connection, world, actor, user_id, read_only=read_only, client_ids=client_ids)
        _token(connection, world, "quinn", "quinn-quartz")
        tokens.revoke(connection, world.tokens["revoked"].split("_")[1], AT)
        for client_id in (ACME, ZENITH):
            world.requests[client_id] = f"request-{client_id}"
            grants.add_request(connection, world.requests[client_id], "gus-ungranted", [client_id], "New broker", AT)
        write.audit("setup", subject="quinn-quartz")
    return world


def _client(write: Writing, client_id: str, team: str, name: str) -> None:
    """Make a client with two accounts, a rule and an exception, and say so in the audit."""
    connection = write.connection
    client = Client(client_id=client_id, version=1, team_id=team, name=f"{name} Ltd", state="PA")
    clients.put_client(connection, client, "setup", write.at)
    for account_id in ("MAIN", "COBRA"):
        account = Account(client_id=client_id, account_id=account_id, version=1, kind=f"{name} kind", name=name)
        clients.put_account(connection, account, "setup", write.at)
    of = {"client_id": client_id, "account_id": None, "retroactive": False, "reason": f"{name} reason"}
    rule = '{"generation":{"day_of_month":12}}'
    entries = (
        RuleEntry(**of, since="2024-01", kind="generation", rule=rule, cite=f"{name} letter", assumed=False),  # type: ignore[arg-type]
        ExceptionEntry(**of, coverage_month="2024-06", due_date=AT.date().replace(month=6, day=2)),  # type: ignore[arg-type]
    )
    clients.add_entries(connection, entries, "setup", write.at)
    write.audit("put_client", client_id=client_id, after={"name": name})


def _token(connection: Connection, world: World, actor: str, user_id: str, **scope: Any) -> None:
    """Give an actor a token, one more that they may revoke, and a feed."""
    _, world.tokens[actor] = tokens.new_token(connection, user_id, f"of {user_id}", AT, NEVER, **scope)
    spare, _ = tokens.new_token(connection, user_id, "spare", AT, NEVER)
    world.spare[actor] = spare.token_id
    feed = Feed(
        feeds.new_id(), user_id, "Deadlines", None, None, None, None, True, 31, 366, AT, NEVER, last_fetched_at=NEVER
    )
    world.feeds[actor] = feeds.add(connection, feed)


def without_scopes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant the fault that the scope is not joined: a token for some clients is one for all that its user sees."""
    monkeypatch.setattr(access, "within", lambda *_: true())
    monkeypatch.setattr(access, "_named", lambda *_: true())
    monkeypatch.setattr(access, "_ENTER", access._enter())
    monkeypatch.setattr(access, "_state", cache(access._state.__wrapped__))


def without_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant the fault that the grant is not joined: whoever may do something may do it to every client."""
    monkeypatch.setattr(access, "_visible", lambda *_: true())
    monkeypatch.setattr(access, "_see", access._see.__wrapped__)
    monkeypatch.setattr(access, "_ENTER", access._enter())
    monkeypatch.setattr(access, "_state", cache(access._state.__wrapped__))


@cache
def book_file() -> BookFile:
    """Give the shipped rule book, read once."""
    return BookFile(SHIPPED)


class Door:
    """The HTTP door of an application, and who comes in by it."""

    def __init__(self, store: Store, world: World) -> None:
        self.store, self.world = store, world
        self.app = create_app(book_file(), store)
        self.client: FlaskClient = self.app.test_client()

    def ask(
        self,
        actor: str,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> TestResponse:
        """Send a request as somebody; a body that is no bytes goes as JSON."""
        sent = dict(headers or {})
        if actor in self.world.tokens:
            sent.setdefault("Authorization", f"Bearer {self.world.tokens[actor]}")
        if isinstance(body, bytes):
            more.setdefault("data", body)
            more.setdefault("content_type", "application/json")
        elif body is not None:
            more["json"] = body
        return self.client.open(path, method=method, headers=sent, buffered=True, **more)


def door(store: Store) -> Door:
    """Fill an empty store, and make an application on it."""
    return Door(store, fill(store))


class Rehearsal(Store):
    """A store that lets everything be done and keeps nothing of it."""

    @contextmanager
    def writing(self, by: By, clock: Callable[[], datetime] | None = None) -> Iterator[Writing]:
        """Write, and take it back."""
        with super().writing(by, clock) as write:
            yield write
            write.unchanged()


def rehearsed(url: str) -> Iterator[Door]:
    """Fill an empty store, and open an application on it that keeps nothing from then on."""
    store = Store(url)
    world = fill(store)
    Door(store, world)
    store.close()
    rehearsal = Rehearsal(url)
    with closing(rehearsal):
        yield Door(rehearsal, world)
