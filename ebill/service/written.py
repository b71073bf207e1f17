"""A schedule as it is written, where others have drawn most of it: accounts that are alike have all alike but names.

All that is written of an account after its own names depends on the rule book and on what stands in the key that it is
kept by: the settings and what was entered, word for word; what is asked, and on which day; when it was paid for. Only
the ids of payments differ, so these are left open. With the explanations it is drawn each time: they name the account.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from ebill.errors import AccountNotFound
from ebill.render.json import encode
from ebill.rulebook import Life, RuleBook, Scope, Timeline
from ebill.schedule import FIXED_NAMES
from ebill.service.alike import settings_of
from ebill.service.clients import FOR_GOOD, Window, first_of, scheduled
from ebill.service.invoices import QUARTER, day_ends, quarter, versions
from ebill.service.scopes import scope
from ebill.store.briefs import EXCEPTION, NAMES, RULE, Brief, Row, brief
from ebill.store.clients import Account, Client, Dossier, ExceptionEntry, RuleEntry
from ebill.store.glance import Glance
from ebill.store.many import SETTINGS
from ebill.store.payments import Payment
from ebill.store.payments import paid_at as read_paid_at

BYTES_MOST: Final = 32_000_000
"""Bytes of schedules that are kept with a rule book."""
KINDS_MOST: Final = 4096
"""Kinds of accounts whose timelines are kept, beyond which they are let go; each takes some kilobytes."""
_OF_CLIENT: Final = len(SETTINGS)
_ONCE: Final = datetime.min.replace(tzinfo=UTC)
"""When something was recorded, where all that matters is that it was."""
_PAYMENT_ID: Final = re.compile(rb'(?<="payment_id":)"[^"]*"')
"""Within a text of JSON there is no quote that is not escaped, so this is a payment's id and nothing else."""


class Kind(NamedTuple):
    """All that the dates of an account depend on, and all words about them, but for the rule book and payments.

    `settings` are the client's, since when it is billed here, and the account's own. What was entered stands in its
    order, each with whether it is for this account alone.
    """

    settings: Row
    rules: tuple[Row, ...]
    exceptions: tuple[Row, ...]


class Drawn(NamedTuple):
    """What is written of an account: pieces, between which go the ids of the payments of `months`."""

    pieces: tuple[bytes, ...]
    months: tuple[str, ...]

    def filled(self, paid: Mapping[str, Row]) -> Sequence[bytes]:
        """Give all of it, with the ids of payments; these are by coverage month."""
        if not self.months:
            return self.pieces
        found = [self.pieces[0]]
        for month, piece in zip(self.months, self.pieces[1:], strict=True):
            found += encode(paid[month][-1]), piece
        return found


class Alike(NamedTuple):
    """Accounts of one kind: their rules, and a number that no other kind ever has under the same rule book.

    `days` are those on which they were asked for last, by the number of the quarter of an hour: what day it is in their
    zone, and until when.
    """

    kind: Kind
    timeline: Timeline
    number: int
    days: dict[int, tuple[date, datetime]]

    def day(self, now: datetime, number: int) -> tuple[date, datetime]:
        """Give what day it is in the zone in force, and until when; `now` is in UTC, `number` its quarter's."""
        found = self.days.get(number)
        if found is None:
            found = _day(self.timeline.on(now.date()).rule("timezone").name, number)
            self.days.clear()  # this one is asked for until it is over
            self.days[number] = found
        return found


class Asked(NamedTuple):
    """A window, a number that no other ever has under the same rule book, and its months, by the day it stands on.

    To find something by a number is quick; to find it by a window is not.
    """

    window: Window
    number: int
    spans: dict[date, tuple[str, str]]

    def span(self, as_of: date) -> tuple[str, str]:
        """Give the first and the last coverage month that are asked for."""
        found = self.spans.get(as_of)
        if found is None:
            first = first_of(self.window, as_of)
            found = str(first), str(first + (self.window.count - 1))
            if len(self.spans) >= _DAYS_MOST:
                self.spans.clear()
            self.spans[as_of] = found
        return found


class Drawings:
    """What was drawn under one rule book. What nobody has asked for the longest is let go first, or nearly so.

    They are two heaps: what is asked for goes on the new one; once that is half of the most, it becomes the old one,
    and the old one is let go. Threads may do so at once: they only lose what is drawn again.
    """

    def __init__(self, book: RuleBook) -> None:
        self.book = book
        self.before = b',"known_at":null,"rulebook":' + encode(versions(book)) + b',"bill_accounts":['
        self._numbers = itertools.count()
        self._windows: dict[Window, Asked] = {}
        self._kinds: dict[Kind, Alike] = {}
        self._new: dict[Any, Drawn] = {}
        self._old: dict[Any, Drawn] = {}
        self._size = 0

    def find(self, key: Any) -> Drawn | None:
        """Give what was drawn, if it was kept."""
        found = self._new.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.keep(key, found)
        return found

    def keep(self, key: Any, drawn: Drawn) -> None:
        """Keep what was drawn."""
        if self._size > BYTES_MOST // 2:
            self._old, self._new, self._size = self._new, {}, 0
        self._new[key] = drawn
        self._size += _ABOUT + sum(map(len, drawn.pieces))

    def alike(self, kind: Kind) -> Alike:
        """Give what accounts have alike. Raises as `RuleBook.life`."""
        found = self._kinds.get(kind)
        if found is None:
            found = Alike(kind, self.life(kind).timeline, next(self._numbers), {})
            if len(self._kinds) >= KINDS_MOST:
                self._kinds = {}  # what they had drawn is found by nobody any more, and goes as the others do
            self._kinds[kind] = found
        return found

    def asked(self, window: Window) -> Asked:
        """Give what is kept of a window."""
        found = self._windows.get(window)
        if found is None:
            if len(self._windows) >= KINDS_MOST:
                self._windows = {}
            found = self._windows[window] = Asked(window, next(self._numbers), {})
        return found

    def life(self, kind: Kind, client_id: str = "", account_id: str = "") -> Life:
        """Give the life of accounts, whoever's they are unless it is said. Raises as `RuleBook.life`."""
        return self.book.life(_scope(kind, client_id, account_id))


_DAYS_MOST: Final = 100
"""Days of a window whose months are kept."""
_NOTHING: Final[Mapping[str, Row]] = MappingProxyType({})
_ABOUT: Final = 2_000
"""Bytes that a key takes, and all that is around what is drawn."""


def drawings(book: RuleBook) -> Drawings:
    """Give what was drawn under a rule book; it lives and dies with it."""
    found: Drawings | None = book.written
    if found is None:
        found = book.written = Drawings(book)
    return found


def schedule(
    glance: Glance, book: RuleBook, client_id: str, account_id: str | None, window: Window, now: datetime
) -> tuple[bytes, datetime]:
    """Write what `clients.schedule_until` answers, of a client that is there as it is now; and until when it stays so.

    `now` is in UTC. To be asked while the store is held still. Raises as `clients.schedule_until`.
    """
    kept, known = drawings(book), brief(glance, client_id)
    chosen = known.accounts if account_id is None else [row for row in known.accounts if row[0] == account_id]
    if account_id is not None and not chosen:
        raise AccountNotFound
    alike = [kept.alike(_kind(known, row)) for row in chosen]
    until, number, asked = FOR_GOOD, quarter(now), kept.asked(window)
    paid, nothing = _paid(known.payments), _NOTHING
    written, before = [b'{"client_id":', encode(client_id), kept.before], b'{"account_id":'
    for row, each in zip(chosen, alike, strict=True):
        as_of = window.as_of
        if as_of is None:
            as_of, ends = each.day(now, number)
            until = min(until, ends)
        own = row[0]
        pieces = _pieces(kept, each, own, asked, as_of, paid.get(own, nothing), client_id)
        written += before, encode(own), b',"name":', encode(row[1]), b',"kind":', encode(row[2]), b",", *pieces
        before = b',{"account_id":'
    written.append(b"]}")
    return b"".join(written), until


def _pieces(
    kept: Drawings,
    alike: Alike,
    account_id: str,
    asked: Asked,
    as_of: date,
    paid: Mapping[str, Row],
    client_id: str,
) -> Sequence[bytes]:
    """Give what is written of an account after its names, as it stands on a day; `paid` is by coverage month."""
    kind, window = alike.kind, asked.window
    if window.explain:
        return _draw(kept.life(kind, client_id, account_id), kind, window, as_of, paid).filled(paid)
    key: tuple[Any, ...] = alike.number, asked.number, as_of
    if paid:
        first, last = asked.span(as_of)
        paid = {month: payment for month, payment in paid.items() if first <= month <= last}
        key += tuple([(month, paid_at) for month, (_, _, paid_at, _) in paid.items()])
    drawn = kept.find(key)
    if drawn is None:
        drawn = _draw(kept.life(kind), kind, window, as_of, paid)
        kept.keep(key, drawn)
    return drawn.filled(paid)


def _draw(life: Life, kind: Kind, window: Window, as_of: date, paid: Mapping[str, Row]) -> Drawn:
    client, account = _settings(kind, "", "")
    notices = {
        month: Payment(client_id="", account_id="", coverage_month=month, paid_at=read_paid_at(at), payment_id=number)
        for month, (_, _, at, number) in paid.items()
    }
    answer = scheduled(life, client, account, window, as_of, notices)
    months = tuple(invoice["coverage_month"] for invoice in answer["invoices"] if "payment" in invoice)
    said = encode({name: value for name, value in answer.items() if name not in NAMES})
    return Drawn(tuple(_PAYMENT_ID.split(said[1:])), months)


@lru_cache(maxsize=1 << 10)
def _day(zone: str, number: int) -> tuple[date, datetime]:
    """Give what day it is in a zone in a quarter of an hour, and until when; no midnight falls within one."""
    begins = datetime.fromtimestamp(number * QUARTER, UTC)
    return begins.astimezone(ZoneInfo(zone)).date(), day_ends(zone, begins)


def _paid(payments: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Give the payments in force, by account and coverage month."""
    found: dict[str, dict[str, Row]] = {}
    for row in payments:
        found.setdefault(row[0], {})[row[1]] = row
    return found


def _kind(known: Brief, account: Row) -> Kind:
    return Kind(account[len(NAMES) :], _applying(known.rules, account[0]), _applying(known.exceptions, account[0]))


def _applying(entered: Sequence[Row], account_id: str) -> tuple[Row, ...]:
    """Give what was entered that is about an account: whether about this one alone, then what it says."""
    if not entered:
        return ()
    return tuple((row[0] is not None, *row[1:]) for row in entered if row[0] is None or row[0] == account_id)


def _scope(kind: Kind, client_id: str, account_id: str) -> Scope:
    client, account = _settings(kind, client_id, account_id)
    rules = (RuleEntry(**values, kind="") for values in _entries(kind.rules, RULE, account_id))
    exceptions = (
        ExceptionEntry(**values | {str(name): _date(values[name]) for name in FIXED_NAMES})
        for values in _entries(kind.exceptions, EXCEPTION, account_id)
    )
    return scope(Dossier(client, (account,), tuple(rules), tuple(exceptions)), account)


def _settings(kind: Kind, client_id: str, account_id: str) -> tuple[Client, Account]:
    of_client, here, own = kind.settings[:_OF_CLIENT], kind.settings[_OF_CLIENT], kind.settings[_OF_CLIENT + 1 :]
    named: dict[str, Any] = {"client_id": client_id, "version": 0, "name": ""}
    client = Client(**named, team_id="", bills_here_since=here, **settings_of(of_client))
    return client, Account(**named, account_id=account_id, kind="", **settings_of(own))


def _entries(rows: Sequence[Row], names: Sequence[str], account_id: str) -> Iterator[dict[str, Any]]:
    for number, (is_own, *said) in enumerate(rows, 1):
        values: dict[str, Any] = dict(zip(names[1:], said, strict=True))
        for flag in values.keys() & {"assumed", "withdrawn"}:
            values[flag] = bool(values[flag])
        yield {
            "client_id": "",
            "retroactive": False,
            "reason": None,
            "recorded_at": _ONCE,
            **values,
            "account_id": account_id if is_own else None,
            "sequence": number,
        }


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
