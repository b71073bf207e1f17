"""Clients and their bill accounts: their schedules, and what may be entered for them.

Every function takes the user who asks, decides with `access` in the very transaction that reads or writes, and reads
no clock. A change is previewed (`dry_run`) and made by the same lines; only the last of them keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple, cast

import numpy as np
from sqlalchemy import Connection

from ebill import access
from ebill.dates import FIRST_MONTH, LAST_MONTH
from ebill.errors import (
    AccountNotFound,
    BelowFloor,
    ClientNotFound,
    ExceptionTooFar,
    Fault,
    InvalidInput,
    MovesGeneratedInvoice,
    NotBilled,
    NotKnownThen,
    PreconditionMissing,
    Refusal,
    Stale,
    UnknownCalendar,
    UnknownState,
    did_you_mean,
)
from ebill.paid import today
from ebill.rulebook import Life, RuleBook
from ebill.rules import CalendarName
from ebill.service import forms
from ebill.service.books import book_at
from ebill.service.changes import (
    Changed,
    changed,
    effect,
    refuse_moving_generated,
    refuse_unbilled,
    refuse_unknown,
    span_around,
)
from ebill.service.invoices import invoices, not_billed, today_ends, versions, zone_name
from ebill.service.posted import mark_paid
from ebill.service.scopes import rule, scope
from ebill.store import clients as kept
from ebill.store import payments
from ebill.store.clients import Account, Client, Dossier, Entry, ExceptionEntry, RuleEntry
from ebill.store.engine import Writing
from ebill.store.payments import Payment
from ebill.store.users import User

FOR_GOOD: Final = datetime.max.replace(tzinfo=UTC)
"""Until when an answer stays the same that does not depend on the day."""
ELSEWHERE = "billed on another platform before {}: see the client's earlier billing portal"


class Precondition(NamedTuple):
    """Which version a change is made to: `version` from If-Match (or one of those in `also`), or none yet (`new`)."""

    version: int | None = None
    new: bool = False
    also: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Window:
    """Which coverage months a schedule is asked for, and as of what.

    `first` None is from the current month, or from `back` months before it.
    """

    first: np.datetime64 | None
    count: int
    as_of: date | None = None
    known_at: datetime | None = None
    explain: bool = False
    back: int = 0


def client(connection: Connection, user: User, client_id: str) -> tuple[dict[str, Any], int]:
    """Answer with a client and its accounts, and the client's version."""
    dossier = open_dossier(connection, user, client_id)
    answer = {**_plain(dossier.client), "bill_accounts": [_plain(account) for account in dossier.accounts]}
    return answer, dossier.client.version


def account(connection: Connection, user: User, client_id: str, account_id: str) -> tuple[dict[str, Any], int]:
    """Answer with a bill account, and its version."""
    found = account_in(open_dossier(connection, user, client_id), account_id)
    return _plain(found), found.version


def entries(connection: Connection, user: User, client_id: str, account_id: str | None) -> dict[str, Any]:
    """Answer with the rules and exceptions entered for a client or an account, in the order they were."""
    dossier = open_dossier(connection, user, client_id)
    if account_id is not None:
        account_in(dossier, account_id)
    return {
        "rules": [entry_as_data(entry) for entry in dossier.rules if entry.account_id == account_id],
        "exceptions": [entry_as_data(entry) for entry in dossier.exceptions if entry.account_id == account_id],
    }


def schedule(
    connection: Connection,
    book: RuleBook,
    user: User,
    client_id: str,
    account_id: str | None,
    window: Window,
    now: datetime,
) -> dict[str, Any]:
    """Answer with the dates of a client's accounts, or of one, now or as known at an instant.

    Raises NotKnownThen where the client, the account or a rule book was not there yet, and what `RuleBook.life` raises
    where a rule book has come to contradict what was entered.
    """
    access.see(connection, user, client_id)
    return schedule_until(connection, book, client_id, account_id, window, now)[0]


def schedule_until(
    connection: Connection, book: RuleBook, client_id: str, account_id: str | None, window: Window, now: datetime
) -> tuple[dict[str, Any], datetime]:
    """Answer as `schedule`, for whom `access` has let see the client, and tell until when the answer stays the same.

    That is so while nothing of the client changes, nor the rule book: the first midnight in the zone of an account.
    """
    then = window.known_at
    if then is not None:
        if then > now:
            raise InvalidInput([Fault("/known_at", "is yet to come: nobody can tell what will be known then")])
        book = book_at(connection, then)
    dossier = kept.dossier(connection, client_id, then)
    if dossier is None:
        raise NotKnownThen
    if then is not None and account_id is not None and account_id not in {each.account_id for each in dossier.accounts}:
        account_in(cast(Dossier, kept.dossier(connection, client_id)), account_id)
        raise NotKnownThen
    chosen = dossier.accounts if account_id is None else (account_in(dossier, account_id),)
    paid = payments.in_force(connection, client_id, then)
    at = then or now
    lives = [book.life(scope(dossier, account)) for account in chosen]
    answer = {
        "client_id": client_id,
        "known_at": window.known_at,
        "rulebook": versions(book),
        "bill_accounts": [
            scheduled(
                life,
                dossier.client,
                account,
                window,
                window.as_of or today(life.timeline, at),
                paid.get(account.account_id, {}),
            )
            for life, account in zip(lives, chosen, strict=True)
        ],
    }
    if window.as_of or then:
        return answer, FOR_GOOD
    return answer, min((today_ends(life.timeline, now) for life in lives), default=FOR_GOOD)


def put_client(
    write: Writing, book: RuleBook, user: User, client_id: str, body: Any, made_to: Precondition, *, dry_run: bool
) -> tuple[dict[str, Any], int]:
    """Make a client or change its settings; answers with it and its version, or with what that would move."""
    connection = write.connection
    before = None
    if not made_to.new or _is_open(connection, user, client_id):
        before = open_dossier(connection, user, client_id)
    given = body if isinstance(body, dict) else {}
    with also_faulty(lambda: [*settings_faults(book, given), *_team_faults(connection, user, given)]):
        new, retroactive, reason = forms.client(body, client_id, 0)
    version = next_version(made_to, before.client.version if before else None)
    new = replace(new, version=version)
    if before is None and (taken := kept.taken(connection, client_id)):
        access.see(connection, user, taken)
        raise InvalidInput([Fault("/client_id", f"is taken: ids are unique whatever the case ({taken})")])
    after = replace(before, client=new) if before else Dossier(new, (), (), ())
    moves = _weighed(book, before, after, write.at, retroactive=retroactive)
    if dry_run:
        write.unchanged()
        return effect(moves, write.at).as_data(), version
    kept.put_client(connection, new, user.user_id, write.at)
    was = _plain(before.client) if before else None
    write.audit("put_client", client_id=client_id, before=was, after=_plain(new), reason=reason)
    return _plain(new), version


def put_account(
    write: Writing,
    book: RuleBook,
    user: User,
    client_id: str,
    account_id: str,
    body: Any,
    made_to: Precondition,
    *,
    dry_run: bool,
) -> tuple[dict[str, Any], int]:
    """Make a bill account or change its settings, as `put_client`."""
    before = open_dossier(write.connection, user, client_id)
    was = next((account for account in before.accounts if account.account_id == account_id), None)
    given = body if isinstance(body, dict) else {}
    with also_faulty(lambda: [*settings_faults(book, given), *_taken_faults(before, account_id)]):
        new, retroactive, reason = forms.account(body, client_id, account_id, 0)
    version = next_version(made_to, was.version if was else None)
    new = replace(new, version=version)
    others = (account for account in before.accounts if account.account_id != account_id)
    after = replace(before, accounts=tuple(sorted((*others, new), key=lambda account: account.account_id)))
    moves = _weighed(book, before, after, write.at, retroactive=retroactive, only=account_id)
    if dry_run:
        write.unchanged()
        return effect(moves, write.at).as_data(), version
    kept.put_account(write.connection, new, user.user_id, write.at)
    write.audit(
        "put_bill_account",
        client_id=client_id,
        account_id=account_id,
        before=_plain(was) if was else None,
        after=_plain(new),
        reason=reason,
    )
    return _plain(new), version


def add_rule(
    write: Writing, book: RuleBook, user: User, client_id: str, account_id: str | None, body: Any, *, dry_run: bool
) -> dict[str, Any]:
    """Enter a dated rule; answers with it and what it moved, or with what it would move."""
    return _add(write, book, user, client_id, account_id, dry_run=dry_run, form=forms.rule_entry, body=body)


def add_exception(
    write: Writing, book: RuleBook, user: User, client_id: str, account_id: str | None, body: Any, *, dry_run: bool
) -> dict[str, Any]:
    """Enter an exception, or withdraw one; answers as `add_rule`."""
    return _add(write, book, user, client_id, account_id, dry_run=dry_run, form=forms.exception_entry, body=body)


def entry_as_data(entry: Entry) -> dict[str, Any]:
    """Give an entry as an answer, its rule as the grammar writes it."""
    data = {name: value for name, value in kept.as_data(entry).items() if name not in ("client_id", "sequence")}
    if isinstance(entry, RuleEntry):
        del data["rule"]
        del data["kind"]
        data[entry.kind] = rule(entry.rule).as_data()
    return data


def _add(
    write: Writing,
    book: RuleBook,
    user: User,
    client_id: str,
    account_id: str | None,
    *,
    dry_run: bool,
    form: Callable[[Any, str, str | None], RuleEntry | ExceptionEntry],
    body: Any,
) -> dict[str, Any]:
    before = open_dossier(write.connection, user, client_id)
    if account_id is not None:
        account_in(before, account_id)
    entry = form(body, client_id, account_id)
    if found := calendar_faults(book, entry):
        raise InvalidInput(found)
    after = with_entry(before, entry)
    since = np.datetime64(entry.since if isinstance(entry, RuleEntry) else entry.coverage_month, "M")
    moves = _weighed(
        book, before, after, write.at, retroactive=entry.retroactive, only=account_id, since=since, entry=entry
    )
    moved = effect(moves, write.at, since).as_data()
    if dry_run:
        write.unchanged()
        return moved
    (stored,) = kept.add_entries(write.connection, [entry], user.user_id, write.at)
    write.audit(
        "add_rule" if isinstance(entry, RuleEntry) else "add_exception",
        client_id=client_id,
        account_id=account_id,
        after=entry_as_data(stored),
        reason=entry.reason,
    )
    return {"entered": entry_as_data(stored), "effect": moved}


def with_entry(before: Dossier, entry: RuleEntry | ExceptionEntry) -> Dossier:
    """Give a dossier with one entry more, which comes after all that are there."""
    sequence = 1 + max((each.sequence for each in (*before.rules, *before.exceptions)), default=0)
    if isinstance(entry, RuleEntry):
        return replace(before, rules=(*before.rules, replace(entry, sequence=sequence)))
    return replace(before, exceptions=(*before.exceptions, replace(entry, sequence=sequence)))


def _weighed(
    book: RuleBook,
    before: Dossier | None,
    after: Dossier,
    at: datetime,
    *,
    retroactive: bool,
    only: str | None = None,
    since: np.datetime64 | None = None,
    entry: RuleEntry | ExceptionEntry | None = None,
) -> list[Changed]:
    """Give what changes for each account, refusing what breaks the rules or moves what was generated."""
    try:
        moves = changed(before, after, book, book, only)
        refuse_unknown(moves, span_around(at, since))
        if isinstance(entry, ExceptionEntry) and not entry.withdrawn:
            refuse_unbilled(moves, entry.coverage_month)
        if not retroactive:
            refuse_moving_generated(moves, at, since)
    except Refusal as refusal:
        place = _place(refusal, entry)
        refusal.faults = tuple(fault.below(place) for fault in refusal.faults) or (Fault(place, str(refusal)),)
        raise
    return moves


def _place(refusal: Refusal, entry: RuleEntry | ExceptionEntry | None) -> str:
    """Say which part of a body a refusal is about."""
    if isinstance(refusal, MovesGeneratedInvoice):
        return "/retroactive"
    if isinstance(entry, RuleEntry):
        return f"/{entry.kind}"
    if isinstance(refusal, ExceptionTooFar) and entry is not None:
        return f"/{refusal.name}"
    if isinstance(refusal, BelowFloor) and entry is not None:
        return "/grace_end_date"
    return "/coverage_month" if isinstance(refusal, NotBilled) else ""


def first_of(window: Window, as_of: date) -> np.datetime64:
    """Give the first coverage month that a window asks for on a day."""
    return window.first if window.first is not None else max(np.datetime64(as_of, "M") - window.back, FIRST_MONTH)


def scheduled(
    life: Life, client: Client, account: Account, window: Window, as_of: date, paid: Mapping[str, Payment]
) -> dict[str, Any]:
    """Answer with the dates of one account as they stand on a day; `paid` is by coverage month."""
    first = first_of(window, as_of)
    if first + (window.count - 1) > LAST_MONTH:
        raise InvalidInput([Fault("/months", f"must end by {LAST_MONTH}, the last supported coverage month")])
    rows = life.rows(first, window.count)
    here = client.bills_here_since
    elsewhere = _elsewhere(client, account, [life.month(row) for row in range(rows.start, rows.stop)]) if here else []
    found = invoices(life, rows, as_of, explained=window.explain)
    mark_paid(life.timeline, found, paid, as_of)
    answer: dict[str, Any] = {
        "account_id": account.account_id,
        "name": account.name,
        "kind": account.kind,
        "state": account.state or client.state,
        "product": account.product or client.product,
        "timezone": zone_name(life.timeline, as_of),
        "as_of": as_of,
        "invoices": [
            *(
                {"coverage_month": month, "standing": "billed_elsewhere", "detail": ELSEWHERE.format(here)}
                for month in elsewhere
            ),
            *found,
        ],
    }
    first_month = account.first_coverage_month or client.first_coverage_month
    last_month = account.last_coverage_month or client.last_coverage_month
    unbilled = [
        month for month in not_billed(life, rows, first_month, last_month) if month["coverage_month"] not in elsewhere
    ]
    return {**answer, "not_billed": unbilled} if unbilled else answer


def _elsewhere(client: Client, account: Account, months: list[str]) -> list[str]:
    """Give the months that were billed, but on another platform."""
    here = client.bills_here_since or ""
    first = account.first_coverage_month or client.first_coverage_month or ""
    last = account.last_coverage_month or client.last_coverage_month or here
    return [month for month in months if first <= month <= last and month < here]


def open_dossier(connection: Connection, user: User, client_id: str) -> Dossier:
    """Give all that is known of a client to a user who sees it. Raises ClientNotFound."""
    access.see(connection, user, client_id)
    return cast(Dossier, kept.dossier(connection, client_id))


def _is_open(connection: Connection, user: User, client_id: str) -> bool:
    try:
        access.see(connection, user, client_id)
    except ClientNotFound:
        return False
    return True


def account_in(dossier: Dossier, account_id: str) -> Account:
    """Give an account of a client. Raises AccountNotFound."""
    for account in dossier.accounts:
        if account.account_id == account_id:
            return account
    raise AccountNotFound


def next_version(made_to: Precondition, current: int | None) -> int:
    """Give the version a change makes. Raises PreconditionMissing, or Stale where it was made to another one."""
    if made_to.version is None and not made_to.new:
        raise PreconditionMissing
    is_current = current is None if made_to.new else current in {made_to.version, *made_to.also}
    if not is_current:
        raise Stale(current)
    return (current or 0) + 1


@contextmanager
def also_faulty(more: Callable[[], list[Fault]]) -> Iterator[None]:
    """Read a form; raise InvalidInput with its faults and with those that `more` finds in places not named yet."""
    found: list[Fault] = []
    try:
        yield
    except InvalidInput as refusal:
        found += refusal.faults
    named = {fault.pointer for fault in found}
    found += (fault for fault in more() if fault.pointer not in named)
    if found:
        raise InvalidInput(found)


def settings_faults(book: RuleBook, given: Mapping[str, Any]) -> Iterator[Fault]:
    """Find a state or a product that the rule book does not have; what is no text is the form's to find."""
    state, product = given.get("state"), given.get("product")
    if isinstance(state, str) and state not in book.states:
        yield Fault("/state", str(UnknownState(state, book.states)))
    if isinstance(product, str) and product not in book.products:
        yield Fault("/product", f"is no configured product{did_you_mean(product, book.products)}")


def refuse_unconfigured(book: RuleBook, given: Mapping[str, Any]) -> None:
    """Raise InvalidInput for a state or a product to filter by that the rule book does not have: that is a slip."""
    if found := list(settings_faults(book, given)):
        raise InvalidInput(found)


def calendar_faults(book: RuleBook, entry: RuleEntry | ExceptionEntry) -> list[Fault]:
    """Find a calendar that neither the rule book nor the library knows."""
    named = rule(entry.rule) if isinstance(entry, RuleEntry) else None
    if isinstance(named, CalendarName):
        try:
            book.calendar(named.name)
        except UnknownCalendar as refusal:
            return [Fault("/calendar", str(refusal))]
    return []


def may_have(connection: Connection, user: User, team_id: str) -> bool:
    """Tell whether a user may put a client into a team's hands."""
    return kept.team_exists(connection, team_id) and access.may_assign(user, team_id)


NO_TEAM: Final = "is no client management team of yours"


def _team_faults(connection: Connection, user: User, given: Mapping[str, Any]) -> Iterator[Fault]:
    team_id = given.get("team_id")
    if isinstance(team_id, str) and not may_have(connection, user, team_id):
        yield Fault("/team_id", NO_TEAM)


def _taken_faults(dossier: Dossier, account_id: str) -> Iterator[Fault]:
    ids = {account.account_id for account in dossier.accounts}
    if account_id not in ids and account_id.lower() in {each.lower() for each in ids}:
        yield Fault("/account_id", "is taken: ids are unique whatever the case")


def _plain(record: Client | Account) -> dict[str, Any]:
    return kept.as_data(record)
