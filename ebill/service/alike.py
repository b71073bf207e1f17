"""Many accounts at once: a line of each, and those put together whose dates must be the same."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from ebill.dates import MONTHS, Flags
from ebill.deadlines import YEARS_AHEAD, YEARS_BACK, Stretch, stretch
from ebill.errors import Refusal
from ebill.rulebook import RuleBook, Scope
from ebill.service.scopes import bare, scope
from ebill.store import many
from ebill.store.clients import Account, Client, Dossier, ExceptionEntry, RuleEntry
from ebill.store.many import SETTINGS, Whose

Indexes = npt.NDArray[np.int32]
MONTH_NUMBERS: Final = {month: number for number, month in enumerate(MONTHS)}
MOST_NAMED: Final = 100
"""Accounts without all their dates that are named; more are only counted."""
STRETCHES_MOST: Final = 4096
"""Stretches kept with a rule book, beyond which they are let go; each takes some kilobytes."""
_OF_CLIENT: Final = len(SETTINGS)
"""Where, among a key's settings, `bills_here_since` stands; the account's own come after it."""


class Key(NamedTuple):
    """All that an account's dates and warnings depend on, but for the rule book: settings, rules and exceptions."""

    settings: tuple[Any, ...]
    rules: tuple[tuple[Any, ...], ...] = ()
    exceptions: tuple[tuple[Any, ...], ...] = ()


@dataclass(slots=True)
class Accounts:
    """What is told of each account, column by column; by client id and account id."""

    client_ids: list[str] = field(default_factory=list)
    account_ids: list[str] = field(default_factory=list)
    client_names: list[str] = field(default_factory=list)
    account_names: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    products: list[str | None] = field(default_factory=list)
    _known: dict[str, str] = field(default_factory=dict)

    def add(self, batch: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
        """Add accounts as `many.accounts_of` gives them; equal texts are kept once. Gives their ids and settings."""
        columns = list(zip(*batch, strict=True))
        told = (self.client_ids, self.account_ids, self.client_names, self.account_names)
        for column, texts in zip(told, columns, strict=False):
            column.extend(map(self._known.setdefault, texts, texts))
        settings = columns[len(told) :]
        state, product, own = settings[0], settings[1], settings[_OF_CLIENT + 1 :]
        self.states.extend(own_state or of_client for own_state, of_client in zip(own[0], state, strict=True))
        self.products.extend(own_product or of_client for own_product, of_client in zip(own[1], product, strict=True))
        return columns[0], columns[1], zip(*settings, strict=True)

    def finder(self) -> Callable[[str, str], int | None]:
        """Give a function that gives the place of an account, or None where it is not among these."""
        client_ids, account_ids = self.client_ids, self.account_ids
        places = range(len(client_ids))
        first = dict(zip(reversed(client_ids), reversed(places), strict=True))

        def find(client_id: str, account_id: str) -> int | None:
            place = first.get(client_id, len(places))
            while place in places and client_ids[place] == client_id:
                if account_ids[place] == account_id:
                    return place
                place += 1
            return None

        return find

    def later(self, indexes: Indexes, months: Indexes, client_id: str, account_id: str, month: str) -> Flags:
        """Tell which accounts and months come after one account's month, whether that account is still there or not."""
        wanted = client_id, account_id
        pairs = range(len(self.client_ids))
        place = bisect_left(pairs, wanted, key=lambda index: (self.client_ids[index], self.account_ids[index]))
        after: Flags = indexes >= place
        if place in pairs and (self.client_ids[place], self.account_ids[place]) == wanted:
            after &= (indexes > place) | (months > MONTH_NUMBERS[month])
        return after


class Incomplete(NamedTuple):
    """An account of which some dates cannot be told, and why; all else of it is told."""

    client_id: str
    account_id: str
    code: str
    detail: str


class IncompleteAccounts:
    """Accounts of which dates are missing, as they turn up: the first are `named`."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._seen: set[int] = set()
        self.named: list[Incomplete] = []

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._seen)

    def add(self, indexes: Iterable[int], refusal: Refusal) -> None:
        """Add accounts, each once."""
        for index in indexes:
            if index not in self._seen and len(self.named) < MOST_NAMED:
                client_id, account_id = self._accounts.client_ids[index], self._accounts.account_ids[index]
                self.named.append(Incomplete(client_id, account_id, refusal.code, str(refusal)))
            self._seen.add(index)


def read(connection: Connection, whose: Whose) -> tuple[Accounts, dict[Key, list[int]]]:
    """Read accounts, and put those together, by their places, whose dates must be the same."""
    rules, exceptions = _entered(connection, whose)
    entered = rules.keys() | exceptions.keys()
    accounts = Accounts()
    plain: dict[tuple[Any, ...], list[int]] = {}
    found: dict[Key, list[int]] = {}
    begin = 0
    for batch in many.accounts_of(connection, whose):
        client_ids, account_ids, settings = accounts.add(batch)
        for index, client_id, of_account in zip(range(begin, begin + len(batch)), client_ids, settings, strict=True):
            if client_id in entered:
                account_id = account_ids[index - begin]
                own_rules = _applying(rules.get(client_id, ()), account_id)
                key = Key(of_account, own_rules, _applying(exceptions.get(client_id, ()), account_id))
                found.setdefault(key, []).append(index)
            else:
                plain.setdefault(of_account, []).append(index)
        begin += len(batch)
    for of_account, indexes in plain.items():
        found.setdefault(Key(of_account), []).extend(indexes)
    return accounts, {key: sorted(indexes) for key, indexes in found.items()}


_ONCE: Final = datetime.min.replace(tzinfo=UTC)
"""When something was recorded, where all that matters is that it was."""


@lru_cache(maxsize=1 << 12)
def scope_of(key: Key) -> Scope:
    """Give the scope of accounts, without whose they are and without the words of people."""
    of_client, here, own = key.settings[:_OF_CLIENT], key.settings[_OF_CLIENT], key.settings[_OF_CLIENT + 1 :]
    client = Client(client_id="", version=0, team_id="", name="", bills_here_since=here, **settings_of(of_client))
    account = Account(client_id="", account_id="", version=0, kind="", name="", **settings_of(own))
    entry: dict[str, Any] = {"client_id": "", "retroactive": False, "reason": None, "recorded_at": _ONCE}
    rules = (
        RuleEntry(
            **entry, account_id="" if is_own else None, since=since, kind="", rule=rule, cite="", assumed=bool(assumed)
        )
        for is_own, since, rule, assumed in key.rules
    )
    exceptions = (
        ExceptionEntry(
            **entry,
            account_id="" if is_own else None,
            coverage_month=month,
            generation_date=generation,
            due_date=due,
            grace_end_date=grace_end,
            withdrawn=bool(withdrawn),
        )
        for is_own, month, generation, due, grace_end, withdrawn in key.exceptions
    )
    return bare(scope(Dossier(client, (account,), tuple(rules), tuple(exceptions)), account))


def bounds(key: Key) -> tuple[str | None, str | None, str | None]:
    """Give the first and the last coverage month of accounts, and since when they are billed here; None for none."""
    of_client, here, own = (
        settings_of(key.settings[:_OF_CLIENT]),
        key.settings[_OF_CLIENT],
        key.settings[_OF_CLIENT + 1 :],
    )
    first, last = (
        settings_of(own)[name] or of_client[name] for name in ("first_coverage_month", "last_coverage_month")
    )
    return first, last, here


def stretch_of(book: RuleBook, key: Key, first: date, last: date) -> Stretch | Refusal:
    """Give the dates of accounts in the years around a span, or why there are none; kept for the next who asks."""
    asked = key, first.year - YEARS_BACK, last.year + YEARS_AHEAD
    kept: dict[Any, Stretch | Refusal] = book.drawn
    found = kept.get(asked)
    if found is None:
        try:
            found = stretch(book.life(scope_of(key)), *asked[1:])
        except Refusal as refusal:
            found = refusal.with_traceback(None)
        if len(kept) >= STRETCHES_MOST:
            kept = book.drawn = {}  # whoever reads the old ones at the moment keeps them
        kept[asked] = found
    return found


_Entries = dict[str, list[tuple[Any, ...]]]


def _entered(connection: Connection, whose: Whose) -> tuple[_Entries, _Entries]:
    """Give what was entered for clients, by client: rules and exceptions, each by its account id, then what it says."""
    found: tuple[_Entries, _Entries] = {}, {}
    asked = many.rules_of(connection, whose), many.exceptions_of(connection, whose)
    for entries, rows in zip(found, asked, strict=True):
        for row in rows:
            entries.setdefault(row[0], []).append(row[1:])
    return found


def _applying(entries: Iterable[tuple[Any, ...]], account_id: str) -> tuple[tuple[Any, ...], ...]:
    """Give the entries that are about an account: whether about this one alone, then what each says."""
    return tuple((whose is not None, *said) for whose, *said in entries if whose is None or whose == account_id)


def settings_of(values: tuple[Any, ...]) -> dict[str, Any]:
    """Give the `SETTINGS` of a client or an account by name, as records have them."""
    settings = dict(zip(SETTINGS, values, strict=True))
    if settings["skip_coverage_months"] is not None:
        settings["skip_coverage_months"] = tuple(json.loads(settings["skip_coverage_months"]))
    return settings
