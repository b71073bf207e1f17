"""Every deadline of everyone a user may see, soonest first.

Accounts that are alike have the same dates, which are computed once. What is kept in memory is a line of each account
and no more: a deadline is put together when it is asked for. A recorded payment changes the standing of its own
account and month.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple, cast
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import orjson
from dateutil.relativedelta import relativedelta
from sqlalchemy import Connection

from ebill import access
from ebill.dates import DAY, FIRST_DAY, LAST_DAY, MONTHS, Days, as_date, as_days
from ebill.deadlines import DUE, GENERATION, GRACE_END, KINDS, Dated, Kind, Stretch, refusals
from ebill.deadlines import deadlines as dated
from ebill.errors import Fault, InvalidInput, PaymentOutsideCalendar, Refusal
from ebill.paid import today, window
from ebill.posting import latest_in_time
from ebill.rulebook import RuleBook, in_force
from ebill.rules import Timezone
from ebill.service import alike, listing
from ebill.service.alike import MONTH_NUMBERS, Accounts, IncompleteAccounts, Indexes, Key
from ebill.service.clients import refuse_unconfigured
from ebill.service.invoices import versions
from ebill.standing import STANDINGS, Standing, standing
from ebill.store import many
from ebill.store.many import Whose
from ebill.store.payments import paid_at
from ebill.store.users import User

MOST_SPAN: Final = relativedelta(months=24)
DEFAULT_SPAN: Final = timedelta(days=14)
_SORTED: Final = orjson.OPT_SORT_KEYS
_POSTS_BY: Final = KINDS.index("posts_by")
_ABOUT: Final = timedelta(days=2)
"""How far the local day of a payment may be from the day in its text, which may be of another zone."""
_EPOCH: Final = date(1970, 1, 1).toordinal()
_UNKNOWN: Final = 1 << 31
"""When a payment posts by of which the calendar does not know: after every day that is asked about."""

Codes = npt.NDArray[np.intp]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sought:
    """Which deadlines: from one day to another, both inclusive, of kinds (None: all), and of what.

    `standing` is that of the invoice on `as_of`, or today in the account's zone; or any of several. `q` is part of the
    client's name or id.
    """

    first: date
    last: date
    kinds: frozenset[Kind] | None = None
    state: str | None = None
    client_id: str | None = None
    product: str | None = None
    standing: str | frozenset[str] | None = None
    as_of: date | None = None
    q: str | None = None

    def wants(self, kind: Kind) -> bool:
        """Tell whether deadlines of a kind are sought."""
        return self.kinds is None or kind in self.kinds


class Deadline(NamedTuple):
    """A date of an invoice that somebody should know of, and where the invoice stands."""

    date: date
    kind: Kind
    client_id: str
    account_id: str
    coverage_month: str
    standing: Standing
    client_name: str
    account_name: str
    state: str
    product: str | None

    @property
    def position(self) -> tuple[str, ...]:
        """Where it stands in the list."""
        order = str(KINDS.index(self.kind))
        return self.date.isoformat(), order, self.client_id, self.account_id, self.coverage_month


class Found:
    """The deadlines found: `counts` of each `kind` and each `standing`, and row by row as they are asked for.

    `incomplete` are the first accounts of which dates are missing, `incomplete_count` is how many there are.
    """

    def __init__(self, accounts: Accounts, pieces: Mapping[_Day, list[_Piece]], incomplete: IncompleteAccounts) -> None:
        self._accounts, self._pieces = accounts, pieces
        self.incomplete, self.incomplete_count = incomplete.named, incomplete.count
        self.counts = _counts(pieces)

    def rows(self, after: tuple[str, ...] | None = None) -> Iterator[Deadline]:
        """Give the deadlines after a `position`, soonest first; of one day by kind, client, account and month."""
        begin = None if after is None else _Day(date.fromisoformat(after[0]), int(after[1]))
        for day in sorted(self._pieces):
            if begin is None or day >= begin:
                yield from self._of(day, after if day == begin else None)

    def by_day(self, most: int) -> Iterator[tuple[date, Kind, int, list[Deadline]]]:
        """Give each day and kind that has deadlines, how many these are, and the first of them, `most` at most."""
        for day in sorted(self._pieces):
            count = sum(len(piece.members) for piece in self._pieces[day])
            yield day.date, KINDS[day.order], count, list(islice(self._of(day, None), most)) if most else []

    def _of(self, day: _Day, after: tuple[str, ...] | None) -> Iterator[Deadline]:
        indexes, months, codes = _merged(self._pieces[day])
        if after is not None:
            later = self._accounts.later(indexes, months, *after[2:])
            indexes, months, codes = indexes[later], months[later], codes[later]
        kind, accounts = KINDS[day.order], self._accounts
        for index, month, code in zip(indexes.tolist(), months.tolist(), codes.tolist(), strict=True):
            yield Deadline(
                day.date,
                kind,
                accounts.client_ids[index],
                accounts.account_ids[index],
                MONTHS[month],
                STANDINGS[code],
                accounts.client_names[index],
                accounts.account_names[index],
                accounts.states[index],
                accounts.products[index],
            )


def deadlines(connection: Connection, book: RuleBook, user: User, sought: Sought, now: datetime) -> Found:
    """Find the deadlines of every account that a user may see.

    Raises InvalidInput for a span that is reversed or longer than 24 months, ClientNotFound for a client that is not
    there or not the user's, MissingEntitlement. An account whose dates cannot be told stops no other.
    """
    return begin(connection, book, user, sought).finish(nullcontext(connection), now)


@dataclass(frozen=True, slots=True)
class Begun:
    """Deadlines that are being found: the accounts are read. To finish takes no transaction but for their payments.

    So no transaction is open while dates are computed, which on SQLite would keep every change waiting.
    """

    book: RuleBook
    sought: Sought
    whose: Whose
    accounts: Accounts
    members: Mapping[Key, list[int]]

    def finish(self, reading: AbstractContextManager[Connection], now: datetime) -> Found:
        """Compute the dates, read the payments, and put the deadlines together."""
        incomplete = IncompleteAccounts(self.accounts)
        groups = _groups(self.book, self.members, self.sought, now, incomplete)
        with reading as connection:
            payments = list(_payments(connection, self.whose, groups, self.sought))
        _pay(payments, self.accounts, groups, incomplete)
        return Found(self.accounts, _pieces(groups, self.sought), incomplete)


def begin(connection: Connection, book: RuleBook, user: User, sought: Sought) -> Begun:
    """Read the accounts whose deadlines are sought. Raises as `deadlines`."""
    access.allow(user, "read_client")
    if sought.client_id is not None:
        access.see(connection, user, sought.client_id)
    refuse_span(sought.first, sought.last)
    whose = Whose(partial(access.among, user), sought.client_id, sought.state, sought.product, sought.q)
    return Begun(book, sought, whose, *alike.read(connection, whose))


def page(connection: Connection, *asked: Any) -> dict[str, Any]:
    """Begin a page and finish it in one transaction: see `begin_page`."""
    return begin_page(connection, *asked)(nullcontext(connection))


def begin_page(
    connection: Connection,
    book: RuleBook,
    user: User,
    given: Mapping[str, Any],
    limit: int,
    cursor: str | None,
    key: bytes,
    now: datetime,
) -> Callable[[AbstractContextManager[Connection]], dict[str, Any]]:
    """Begin to answer with at most `limit` deadlines, the soonest first, and the cursor of the next page.

    `given` are the fields of Sought, those left out by default; `key` seals the cursors. All pages of a list have the
    span and the standings of its first one; a deadline that does not change meanwhile is on just one of them. Raises
    BadRequest for a cursor that was not given to this user for these filters.
    """
    refuse_unconfigured(book, given)
    plain = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in given.items()}
    about = orjson.dumps(["deadlines", user.user_id, plain], option=_SORTED)
    after = None
    if cursor is None:
        span = default_span(book, user, given.get("first"), given.get("last"), now)
    else:
        first, last, at, *after = listing.opened(key, about, cursor)
        span, now = (date.fromisoformat(first), date.fromisoformat(last)), datetime.fromisoformat(at)
    sought = Sought(**{**given, "first": span[0], "last": span[1]})
    begun = begin(connection, book, user, sought)

    def finished(reading: AbstractContextManager[Connection]) -> dict[str, Any]:
        found = begun.finish(reading, now)
        rows = list(islice(found.rows(None if after is None else tuple(after)), limit + 1))
        more = len(rows) > limit
        position = [*map(str, span), now.isoformat(), *rows[limit - 1].position] if more else []
        return {
            **head(book, sought, found),
            "data": [row._asdict() for row in rows[:limit]],
            "next_cursor": listing.sealed(key, about, position) if more else None,
        }

    return finished


def head(book: RuleBook, sought: Sought, found: Found) -> dict[str, Any]:
    """Give what an answer says before its deadlines."""
    return {
        "from": sought.first,
        "to": sought.last,
        "as_of": sought.as_of,
        "rulebook": versions(book),
        "counts": found.counts,
        "incomplete_count": found.incomplete_count,
        "incomplete": [account._asdict() for account in found.incomplete],
    }


def default_span(book: RuleBook, user: User, first: date | None, last: date | None, now: datetime) -> tuple[date, date]:
    """Give a span the ends it lacks: today where the user's state is, and 14 days after its beginning."""
    begin = first or _today(book, user, now)
    return begin, last or min(begin + DEFAULT_SPAN, LAST_DAY)


def refuse_span(first: date, last: date) -> None:
    """Raise InvalidInput for a span that ends before it begins, is longer than 24 months, or is not supported."""
    found = [
        Fault(f"/{name}", f"must be a date from {FIRST_DAY} to {LAST_DAY}")
        for name, day in (("from", first), ("to", last))
        if not FIRST_DAY <= day <= LAST_DAY
    ]
    if not found and last < first:
        found.append(Fault("/to", f"must not be before from, {first}"))
    if not found and last > first + MOST_SPAN:
        found.append(Fault("/to", f"must be at most 24 months after from, by {first + MOST_SPAN}"))
    if found:
        raise InvalidInput(found)


class _Day(NamedTuple):
    """What the list is ordered by first: a date, and the place of a kind in `KINDS`."""

    date: date
    order: int


class _Piece(NamedTuple):
    """Deadlines of one day and kind for one coverage month: accounts in order, and the standing of each, or of all."""

    members: Indexes
    month: int
    codes: int | Codes


class _Paid(NamedTuple):
    """The payments of accounts alike, column by column: whose, of which month, posting by when, and how that stands."""

    accounts: Indexes
    months: Numbers
    posts_by: Days
    codes: Codes


class _Payment(NamedTuple):
    """A payment of an account's invoice for a coverage month; dates are days as numpy counts them."""

    account: int
    month: int
    paid_on: int
    posts_by: int
    generation: int
    due: int
    grace_end: int


class _Group:
    """Accounts with the same dates, the deadlines of these, and where their invoices stand."""

    def __init__(self, book: RuleBook, key: Key, of: Stretch, members: Indexes, as_of: date) -> None:
        self._book, self._key = book, key
        self.stretch, self.members, self.as_of = of, members, as_of
        self.dated: list[Dated] = []
        self.rows: list[int] = []
        self.codes: list[int] = []
        self._payments: list[_Payment] = []
        self._months: dict[str, tuple[int, int, int] | None] = {}
        self._windows: dict[str, tuple[int, int, Refusal | None]] = {}

    def pay(self, account: int, month: str, text: str) -> Refusal | None:
        """Take in a payment. Gives why it is not known when that posts, if so; without an invoice it is nothing."""
        number = MONTH_NUMBERS[month]
        if month not in self._months:
            self._months[month] = self._invoice(number)
        if text not in self._windows:
            self._windows[text] = self._window(text)
        invoice = self._months[month]
        if invoice is None:
            return None
        paid_on, posts_by, refusal = self._windows[text]
        self._payments.append(_Payment(account, number, paid_on, posts_by, *invoice))
        return refusal

    def pieces(self, sought: Sought) -> Iterator[tuple[_Day, _Piece]]:
        """Give the deadlines of its invoices, and the days by which its payments post."""
        begins = self.stretch.begins
        of_row = {
            row: _Piece(self.members, begins + row, code) for row, code in zip(self.rows, self.codes, strict=True)
        }
        if self._payments:
            paid = self._paid()
            for row in {month - begins for month in paid.months.tolist()} & of_row.keys():
                here = paid.months == begins + row
                of_all = np.full(len(self.members), of_row[row].codes)
                of_all[np.searchsorted(self.members, paid.accounts[here])] = paid.codes[here]
                of_row[row] = of_row[row]._replace(codes=of_all)
            if sought.wants("posts_by"):
                yield from _posting(paid, sought)
        for day, order, row in self.dated:
            yield _Day(day, order), of_row[row]

    def _paid(self) -> _Paid:
        accounts, months, *days = np.array(self._payments, np.int64).T
        paid_on, posts_by, generation, due, grace_end = (each.astype(DAY) for each in days)
        codes = standing(generation, due, grace_end, as_days(self.as_of), paid_on=paid_on, posts_by=posts_by)
        return _Paid(accounts.astype(np.int32), months, posts_by, codes)

    def _invoice(self, month: int) -> tuple[int, int, int] | None:
        """Give the dates that the standing of an invoice depends on; None where there is none, or not all are known."""
        of: Stretch | Refusal = self.stretch
        if not 0 <= month - self.stretch.begins < len(self.stretch.usable):  # a payment of long ago, or ahead
            first = date.fromisoformat(f"{MONTHS[month]}-01")
            of = alike.stretch_of(self._book, self._key, first, first)
        row = None if isinstance(of, Refusal) else of.row(month)
        if isinstance(of, Refusal) or row is None:
            return None
        generation, due, grace_end = of.days[[GENERATION, DUE, GRACE_END], row].astype(np.int64).tolist()
        return generation, due, grace_end

    def _window(self, text: str) -> tuple[int, int, Refusal | None]:
        """Give the local day of a payment and when it posts by, in days as numpy counts them."""
        try:
            found = window(self.stretch.timeline, paid_at(text))
        except PaymentOutsideCalendar as refusal:
            return _number(refusal.paid_on), _UNKNOWN, refusal
        return _number(found.paid_on), _number(found.posts_by_date), None


def _posting(paid: _Paid, sought: Sought) -> Iterator[tuple[_Day, _Piece]]:
    """Give the days by which payments post, of the days that are sought."""
    within = np.flatnonzero((paid.posts_by >= as_days(sought.first)) & (paid.posts_by <= as_days(sought.last)))
    order = within[np.lexsort((paid.accounts[within], paid.months[within], paid.posts_by[within]))]
    days, months = paid.posts_by[order], paid.months[order]
    ends = np.flatnonzero((days[1:] != days[:-1]) | (months[1:] != months[:-1])) + 1
    for part in np.split(order, ends) if len(order) else ():
        day, month = as_date(paid.posts_by[part[0]]), int(paid.months[part[0]])
        yield _Day(day, _POSTS_BY), _Piece(paid.accounts[part], month, paid.codes[part])


def _groups(
    book: RuleBook, members: Mapping[Key, list[int]], sought: Sought, now: datetime, incomplete: IncompleteAccounts
) -> list[_Group]:
    """Give the accounts that have dates, put together; note why others have none, or not all."""
    todays: dict[str, date] = {}
    month = np.datetime64(now.replace(tzinfo=None), "M")
    groups = []
    for key, indexes in members.items():
        of = alike.stretch_of(book, key, sought.first, sought.last)
        if isinstance(of, Refusal):
            incomplete.add(indexes, of)
            continue
        for refusal in refusals(of, sought.first, sought.last):
            incomplete.add(indexes, refusal)
        zone = of.timeline.at(month).rule("timezone").name
        if zone not in todays:
            todays[zone] = sought.as_of or today(of.timeline, now)
        groups.append(_Group(book, key, of, np.array(indexes, np.int32), todays[zone]))
    _date(groups, sought)
    return groups


def _date(groups: Sequence[_Group], sought: Sought) -> None:
    """Give all groups their deadlines, the rows of these, and where an unpaid invoice of each row stands."""
    stretches = [group.stretch for group in groups]
    found = dated(stretches, sought.first, sought.last, KINDS if sought.kinds is None else sought.kinds)
    for group, of in zip(groups, found, strict=True):
        group.dated, group.rows = of, sorted({each.row for each in of})
    busy = [group for group in groups if group.rows]
    if not busy:
        return
    days = np.concatenate([group.stretch.days[:, group.rows] for group in busy], axis=1)
    counts = [len(group.rows) for group in busy]
    as_of = np.repeat(as_days([group.as_of for group in busy]), counts)
    codes = iter(standing(days[GENERATION], days[DUE], days[GRACE_END], as_of).tolist())
    for group, count in zip(busy, counts, strict=True):
        group.codes = list(islice(codes, count))


def _payments(connection: Connection, whose: Whose, groups: list[_Group], sought: Sought) -> Iterator[Any]:
    """Give the payments for the coverage months in sight, and those that may post by a day of the span, each once."""
    rows = [group.stretch.begins + row for group in groups for row in (group.rows[:1] + group.rows[-1:])]
    months = (MONTHS[min(rows)], MONTHS[max(rows)]) if rows else None
    if months is not None:
        yield from many.payments_for(connection, whose, *months)
    if groups and sought.wants("posts_by"):
        first, last = _earliest(groups, sought.first), sought.last + _ABOUT
        yield from many.payments_between(connection, whose, first, last, months)


def _earliest(groups: Iterable[_Group], first: date) -> date | None:
    """Give about the earliest day that a payment may be of which posts by a day or later; None where nobody knows."""
    ways = {(span.terms.posting, span.terms.calendar) for group in groups for span in group.stretch.timeline.spans}
    days = [latest_in_time(as_days([first]), posting, calendar)[0] for posting, calendar in ways]
    return None if any(np.isnat(day) for day in days) else as_date(min(days)) - _ABOUT


def _pay(payments: Iterable[Any], accounts: Accounts, groups: list[_Group], incomplete: IncompleteAccounts) -> None:
    """Hand each group the payments of its accounts."""
    in_groups = np.full(len(accounts.client_ids), -1)
    for number, group in enumerate(groups):
        in_groups[group.members] = number
    of_account, find = in_groups.tolist(), accounts.finder()
    for client_id, account_id, month, text in payments:
        place = find(client_id, account_id)
        if place is not None and of_account[place] >= 0:
            refusal = groups[of_account[place]].pay(place, month, text)
            if refusal is not None:
                incomplete.add([place], refusal)


def _pieces(groups: Iterable[_Group], sought: Sought) -> dict[_Day, list[_Piece]]:
    """Put together what there is of each day and kind, of the standing that is sought."""
    named = {sought.standing} if isinstance(sought.standing, str) else sought.standing
    wanted = None if named is None else [STANDINGS.index(cast(Standing, each)) for each in sorted(named)]
    found: dict[_Day, list[_Piece]] = {}
    for group in groups:
        for day, piece in group.pieces(sought):
            standing_so = piece if wanted is None else _standing_so(piece, wanted)
            if standing_so is not None:
                found.setdefault(day, []).append(standing_so)
    return found


def _standing_so(piece: _Piece, wanted: list[int]) -> _Piece | None:
    """Give of a piece what stands as is wanted; None for nothing."""
    if isinstance(piece.codes, int):
        return piece if piece.codes in wanted else None
    so = np.isin(piece.codes, wanted)
    return _Piece(piece.members[so], piece.month, piece.codes[so]) if so.any() else None


def _merged(pieces: list[_Piece]) -> tuple[Indexes, Indexes, Codes]:
    """Put the pieces of one day and kind in order: by account, then by coverage month."""
    indexes = np.concatenate([piece.members for piece in pieces])
    months = np.concatenate([np.full(len(piece.members), piece.month, np.int32) for piece in pieces])
    codes = np.concatenate([np.broadcast_to(piece.codes, len(piece.members)) for piece in pieces])
    order = np.lexsort((months, indexes))
    return indexes[order], months[order], codes[order]


def _number(day: date) -> int:
    """Give a day as numpy counts them.

    >>> _number(date(1970, 1, 2))
    1
    """
    return day.toordinal() - _EPOCH


def _counts(pieces: Mapping[_Day, list[_Piece]]) -> dict[str, dict[str, int]]:
    of_kind: dict[str, int] = dict.fromkeys(KINDS, 0)
    of_standing = np.zeros(len(STANDINGS), np.int64)
    for day, each in pieces.items():
        for piece in each:
            of_kind[KINDS[day.order]] += len(piece.members)
            if isinstance(piece.codes, int):
                of_standing[piece.codes] += len(piece.members)
            else:
                of_standing += np.bincount(piece.codes, minlength=len(STANDINGS))
    return {"kind": of_kind, "standing": dict(zip(STANDINGS, of_standing.tolist(), strict=True))}


def _today(book: RuleBook, user: User, now: datetime) -> date:
    """Give today where the user's state is, or else where the house is; in UTC where neither says."""
    rows = book.rows(user.state) if user.state in book.states else book.default
    row = in_force(rows, np.datetime64(now.replace(tzinfo=None), "M")).rows.get("timezone")
    return now.astimezone(ZoneInfo(cast(Timezone, row.rule).name) if row else now.tzinfo).date()
