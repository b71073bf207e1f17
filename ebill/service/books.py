"""Rule books as the store knows them: each that was ever in force, and what a new one would do to its accounts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from sqlalchemy import Connection, select

from ebill import access
from ebill.dates import LAST_MONTH
from ebill.errors import Fault, InvalidInput, NotKnownThen, Refusal
from ebill.reading import read
from ebill.rulebook import Life, RuleBook, Scope
from ebill.schedule import LOOK_AHEAD
from ebill.service.changes import REACH, Effect, Span
from ebill.service.scopes import bare, scope
from ebill.store import books
from ebill.store import clients as kept
from ebill.store.books import Loaded
from ebill.store.clients import Dossier
from ebill.store.engine import Writing
from ebill.store.tables import clients
from ebill.store.users import User

AT_ONCE: Final = 500
"""Clients read together."""


def is_latest(connection: Connection, book: RuleBook) -> bool:
    """Tell whether this is the rule book that was kept last."""
    latest = books.at(connection)
    return latest is not None and latest.content == book.source


def keep(write: Writing, book: RuleBook) -> None:
    """Keep a rule book that is in force from now on, unless another process of ours has just done so."""
    if not book.source:
        raise ValueError("a rule book without its text cannot be read again")
    if is_latest(write.connection, book):
        write.unchanged()
        return
    books.keep(write.connection, Loaded(book.version, write.at, book.source))
    write.audit("load_rule_book", subject=book.version)


def book_at(connection: Connection, known_at: datetime) -> RuleBook:
    """Give the rule book that was in force at an instant. Raises NotKnownThen where none was."""
    loaded = books.at(connection, known_at)
    if loaded is None:
        raise NotKnownThen
    return _read(loaded.content)


class Contradicted(NamedTuple):
    """Accounts that a new rule book would leave without dates, and why: what was entered for them contradicts it."""

    code: str
    detail: str
    accounts: list[tuple[str, str]]


class BookEffect(NamedTuple):
    """What a new rule book moves of the accounts in the store."""

    old: RuleBook
    new: RuleBook
    effect: Effect
    contradicted: list[Contradicted]

    def as_data(self) -> dict[str, Any]:
        """Give it as an answer: accounts that move alike together."""
        return {
            "rulebook": {"before": self.old.version, "after": self.new.version},
            **self.effect.as_groups(),
            "contradicted": [
                {
                    "code": each.code,
                    "detail": each.detail,
                    "accounts": [{"client_id": client, "account_id": account} for client, account in each.accounts],
                }
                for each in self.contradicted
            ],
        }


def book_effect(
    connection: Connection,
    user: User | None,
    old: RuleBook,
    new: RuleBook,
    at: datetime,
    first: np.datetime64,
    count: int = 12,
) -> BookEffect:
    """Tell what a new rule book would move, over some coverage months, of every account that a user sees.

    `user` None sees all: the command asks, on the machine of the store. An account that has no dates under the new
    book is told of apart; one that had none under the old one has all its dates come new.
    """
    last = first + (count - 1)
    if last > LAST_MONTH:
        raise InvalidInput([Fault("/months", f"must end by {LAST_MONTH}, the last supported coverage month")])
    effect = Effect(at, Span(first, last), outside=False)
    contradicted: dict[tuple[str, str], Contradicted] = {}
    for alike, ends in _alike(connection, user, first, last).items():
        before, after = _life(old, alike), _life(new, alike)
        if before is not None and after is not None:
            effect.add_all([account for accounts in ends.values() for account in accounts], before, after)
            continue
        for (begins, stops), accounts in ends.items():
            exact = alike._replace(first_coverage_month=begins, last_coverage_month=stops)
            try:
                after = new.life(exact)
            except Refusal as refusal:
                fact = refusal.code, str(refusal)
                contradicted.setdefault(fact, Contradicted(*fact, [])).accounts.extend(accounts)
            else:
                effect.add_all(accounts, _life(old, exact), after)
    return BookEffect(old, new, effect, list(contradicted.values()))


def book_preview(
    connection: Connection,
    user: User | None,
    old: RuleBook,
    text: bytes,
    at: datetime,
    first: np.datetime64,
    count: int = 12,
) -> BookEffect:
    """Do as `book_effect` for the text of a new rule book. Raises BookRefused with every fault of it."""
    return book_effect(connection, user, old, read(text, "the new rule book").book, at, first, count)


def dossiers(connection: Connection, user: User | None) -> Iterator[Dossier]:
    """Give all that is known of every client that a user (None: anybody) sees, by id, some hundred at a time."""
    query = select(clients.c.client_id).order_by(clients.c.client_id).limit(AT_ONCE)
    if user is not None:
        query = query.where(access.visible(user))
    after = ""
    while ids := list(connection.scalars(query.where(clients.c.client_id > after))):
        yield from kept.dossiers(connection, ids)
        after = ids[-1]


_Ends = tuple[np.datetime64 | None, np.datetime64 | None]


def _alike(
    connection: Connection, user: User | None, first: np.datetime64, last: np.datetime64
) -> dict[Scope, dict[_Ends, list[tuple[str, str]]]]:
    """Put accounts together whose dates between two months are the same under any book, by when they begin and end.

    An account that began long before the first month, or ends long after the last, is like one that always was.
    """
    found: dict[Scope, dict[_Ends, list[tuple[str, str]]]] = {}
    for dossier in dossiers(connection, user):
        for account in dossier.accounts:
            own = bare(scope(dossier, account))
            ends = begins, stops = own.first_coverage_month, own.last_coverage_month
            if begins is not None and begins < first - 2 * REACH:
                begins = None
            if stops is not None and stops > last + LOOK_AHEAD:
                stops = None
            alike = (
                own if (begins, stops) == ends else own._replace(first_coverage_month=begins, last_coverage_month=stops)
            )
            found.setdefault(alike, {}).setdefault(ends, []).append((dossier.client.client_id, account.account_id))
    return found


def _life(book: RuleBook, scope: Scope) -> Life | None:
    try:
        return book.life(scope)
    except Refusal:
        return None


@lru_cache(maxsize=8)
def _read(content: bytes) -> RuleBook:
    return read(content, "the rule book of that time").book
