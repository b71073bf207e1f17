"""What a change to clients would move, who would be hit, and whether it may be made.

A change is the dossier of a client before and after it. Preview and change ask the same `effect`; the one shows it,
the other keeps the rows as well. Accounts that share their scope share their dates, and are compared once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, cast

import numpy as np

from ebill.dates import FIRST_MONTH, LAST_MONTH, MONTH, MONTHS, NO_DAY, Days, Flags, as_date, as_days
from ebill.errors import Fault, MovesGeneratedInvoice, NotBilled, Refusal
from ebill.paid import today
from ebill.questions import MOST_MONTHS
from ebill.rulebook import Life, RuleBook
from ebill.schedule import DATE_NAMES, FIXED_NAMES, DateName
from ebill.service.scopes import scope
from ebill.store.clients import Account, Dossier

HazardCode = Literal[
    "earlier_deadline",
    "open_invoice_touched",
    "no_invoice_in_calendar_month",
    "two_invoices_in_calendar_month",
    "pay_by_already_past",
]
DEADLINES: Final[tuple[DateName, ...]] = (
    "due_date",
    "grace_end_date",
    "recommended_pay_by_date",
    "safe_pay_by_date",
)
PAY_BYS: Final[tuple[DateName, ...]] = ("recommended_pay_by_date", "safe_pay_by_date")
AHEAD: Final = 24
"""Months from the current one, or from the first one changed, that a preview looks ahead."""
BACK: Final = 3
"""Months before the current one that it looks back at least: their invoices may still be open."""
SUPPORTED: Final = int((LAST_MONTH - FIRST_MONTH).astype(int)) + 1
REACH: Final = 9
"""Months that an invoice may be generated away from its coverage month: due 3 away, 90 days, and an exception's 62."""


class Changed(NamedTuple):
    """An account's dates before and after a change.

    `before` is None where it was not there, or had no dates because a rule book had come to contradict its rows.
    """

    client_id: str
    account_id: str
    before: Life | None
    after: Life


class Move(NamedTuple):
    """One date that moves; None where there is no such date."""

    coverage_month: str
    name: DateName
    before: date | None
    after: date | None


class Hazard(NamedTuple):
    """Something a change does that somebody should know before it is made."""

    code: HazardCode
    coverage_month: str
    detail: str


class Difference(NamedTuple):
    """What moves between two lives: in a span every date, with hazards, and how many invoices before and after it."""

    moved: tuple[Move, ...] = ()
    hazards: tuple[Hazard, ...] = ()
    invoices_before: int = 0
    invoices_after: int = 0


NOTHING: Final = Difference()


class Span(NamedTuple):
    """Coverage months, both inclusive."""

    first: np.datetime64
    last: np.datetime64


def span_around(at: datetime, since: np.datetime64 | None = None) -> Span:
    """Give the months that a change is shown over: those that may still be open or, within ten years, from `since`.

    It ends two years after the later of `since` and the current month. What moves outside is counted, not listed.
    """
    this_month = np.datetime64(at.replace(tzinfo=None), "M")
    since = this_month if since is None else since
    first = max(FIRST_MONTH, this_month - MOST_MONTHS, min(since, this_month - BACK))
    return Span(first, min(LAST_MONTH, max(this_month, since) + AHEAD))


class Effect:
    """What a change moves, account by account. Those that move alike are kept together.

    `outside` is whether invoices beyond the span are counted, too.
    """

    def __init__(self, at: datetime, span: Span, *, outside: bool = True) -> None:
        self.at, self.span, self.outside = at, span, outside
        self.looked_at = 0
        self.groups: dict[Difference, list[tuple[str, str]]] = {}
        self._between = lru_cache(maxsize=256)(self._compare)

    def add(self, change: Changed) -> None:
        """Take one account's change in."""
        self.add_all([(change.client_id, change.account_id)], change.before, change.after)

    def add_all(self, accounts: Sequence[tuple[str, str]], before: Life | None, after: Life) -> None:
        """Take in a change that is the same for several accounts (client id, account id)."""
        self.looked_at += len(accounts)
        found = NOTHING if before is after else self._between(before, after)
        if found != NOTHING:
            self.groups.setdefault(found, []).extend(accounts)

    def as_data(self) -> dict[str, Any]:
        """Give the difference as an answer: every account and month that moves, one by one."""
        listed = [
            (found, {"client_id": client_id, "account_id": account_id})
            for found, accounts in self.groups.items()
            for client_id, account_id in accounts
        ]
        return {
            **self._head(),
            "moved": [{**account, **move._asdict()} for found, account in listed for move in found.moved],
            "hazards": [{**account, **hazard._asdict()} for found, account in listed for hazard in found.hazards],
        }

    def as_groups(self) -> dict[str, Any]:
        """Give the difference as an answer: accounts that move alike together, which ten thousand of them need."""
        return {
            **self._head(),
            "changes": [
                {
                    "accounts": [{"client_id": client, "account_id": account} for client, account in accounts],
                    "moved": [move._asdict() for move in found.moved],
                    "hazards": [hazard._asdict() for hazard in found.hazards],
                }
                for found, accounts in self.groups.items()
            ],
        }

    def _head(self) -> dict[str, Any]:
        counted = [(found, len(accounts)) for found, accounts in self.groups.items()]

        def count(of: Any) -> int:
            return sum(of(found) * accounts for found, accounts in counted)

        return {
            "from": str(self.span.first),
            "to": str(self.span.last),
            "counts": {
                "accounts_looked_at": self.looked_at,
                "accounts_changed": sum(accounts for _, accounts in counted),
                "accounts_with_earlier_deadline": count(
                    lambda found: any(hazard.code == "earlier_deadline" for hazard in found.hazards)
                ),
                "invoices_changed": count(lambda found: len({move.coverage_month for move in found.moved})),
                "dates_moved": count(lambda found: len(found.moved)),
                **(
                    {
                        "invoices_changed_before_from": count(lambda found: found.invoices_before),
                        "invoices_changed_after_to": count(lambda found: found.invoices_after),
                    }
                    if self.outside
                    else {}
                ),
            },
        }

    def _compare(self, before: Life | None, after: Life) -> Difference:
        return difference(before, after, self.span, today((before or after).timeline, self.at), outside=self.outside)


def changed(
    before: Dossier | None,
    after: Dossier,
    old: RuleBook,
    new: RuleBook,
    only: str | None = None,
) -> list[Changed]:
    """Give each account of a client with its dates before and after; `only` looks at one account alone.

    Raises what `RuleBook.life` raises where the change breaks the rules, for the first bad month of any account; also
    for a client that has no account yet.
    """
    earlier = {account.account_id: account for account in before.accounts} if before else {}
    if not after.accounts:
        new.life(scope(after, NO_ACCOUNT))
    found: list[Changed] = []
    refused: list[tuple[str, Refusal]] = []
    for account in after.accounts:
        name = account.account_id
        if only is not None and name != only:
            continue
        try:
            life = new.life(scope(after, account))
        except Refusal as refusal:
            refused.append((name, refusal))
            continue
        was = earlier.get(name)
        known = life_or_none(old, before, was) if before and was else None
        found.append(Changed(after.client.client_id, name, known, life))
    if refused:
        name, first = min(refused, key=lambda each: getattr(each[1], "coverage_month", ""))
        first.faults = (Fault("", f"bill account {name}: {first}"),)
        raise first
    return found


def life_or_none(book: RuleBook, dossier: Dossier, account: Account) -> Life | None:
    """Give an account's dates, or None where the book has come to contradict what was entered for it."""
    try:
        return book.life(scope(dossier, account))
    except Refusal:
        return None


def effect(changes: Iterable[Changed], at: datetime, since: np.datetime64 | None = None) -> Effect:
    """Give what a change, made at an instant and meant to hold from `since`, moves."""
    found = Effect(at, span_around(at, since))
    for change in changes:
        found.add(change)
    return found


def refuse_moving_generated(changes: Iterable[Changed], at: datetime, since: np.datetime64 | None = None) -> None:
    """Raise MovesGeneratedInvoice for the first invoice, generated by then where it is, whose dates move.

    Of months before `since`, its own dates: that the invoice after it moves is what a change from then on does.
    """
    found = [(row, change) for change in changes if (row := generated_that_moves(change, at, since)) is not None]
    if found:
        row, (_, account_id, before, _) = min(found, key=lambda each: each[0])
        if before is not None:
            generated = as_date(column(before, "generation_date")[row])
            raise MovesGeneratedInvoice(account_id, MONTHS[row], generated)


def generated_that_moves(change: Changed, at: datetime, since: np.datetime64 | None = None) -> int | None:
    """Give the first generated invoice that a change moves, by its number from the first supported month, or None.

    See `refuse_moving_generated`.
    """
    before, after = change.before, change.after
    if before is None or before is after:
        return None
    generated = column(before, "generation_date") <= as_days(today(before.timeline, at))
    moves = moving(before, after, FIXED_NAMES)
    if since is not None:
        governed = np.arange(SUPPORTED) >= (since - FIRST_MONTH).astype(int)
        moves |= governed & moving(before, after, DATE_NAMES)
    found = np.flatnonzero(generated & moves)
    return int(found[0]) if len(found) else None


def refuse_unknown(changes: Iterable[Changed], span: Span) -> None:
    """Raise OutsideCalendar where a change brings about a date of the span that its calendar does not know."""
    for change in changes:
        if change.before is not change.after:
            lost = unknown(change.after)
            if change.before is not None:
                lost &= ~unknown(change.before)
            for row in np.flatnonzero(lost[_slice(span)])[:1]:
                change.after.rows(span.first + int(row), 1)


def refuse_unbilled(changes: Sequence[Changed], coverage_month: str) -> None:
    """Raise NotBilled for an exception of a month in which none of the accounts has an invoice."""
    row = MONTHS.index(coverage_month)
    if changes and not any(billed(change.after)[row] for change in changes):
        raise NotBilled(coverage_month, "an exception cannot fix the dates of an invoice there is not")


def difference(before: Life | None, after: Life, span: Span, today: date, *, outside: bool = True) -> Difference:
    """Compare two lives; what moves outside of the span is counted, unless it is of no interest."""
    rows = _slice(span)
    moving_rows = moving(before, after, DATE_NAMES, None if outside else rows)
    if not moving_rows.any():
        return NOTHING
    within = moving_rows[rows] if outside else moving_rows
    moved: list[Move] = []
    hazards: list[Hazard] = []
    old = {name: column(before, name, rows).tolist() for name in DATE_NAMES}
    new = {name: column(after, name, rows).tolist() for name in DATE_NAMES}
    for row in np.flatnonzero(within).tolist():
        month = MONTHS[rows.start + row]
        was: dict[DateName, date | None] = {name: old[name][row] for name in DATE_NAMES}
        of_month = [Move(month, name, was[name], new[name][row]) for name in DATE_NAMES if was[name] != new[name][row]]
        moved += of_month
        if before is not None:
            hazards += _hazards(month, of_month, was, today)
    if before is not None:
        hazards += _crowding(before, after, rows)
    if not outside:
        return Difference(tuple(moved), tuple(hazards))
    beyond = int(moving_rows[: rows.start].sum()), int(moving_rows[rows.stop :].sum())
    return Difference(tuple(moved), tuple(hazards), *beyond)


ALL: Final = slice(0, SUPPORTED)


def column(life: Life | None, name: DateName, rows: slice = ALL) -> Days:
    """Give a date of supported months, by their numbers from the first, NaT where there is no invoice."""
    days = np.full(rows.stop - rows.start, NO_DAY)
    if life is not None:
        begin, there = _there(life, rows)
        dates = life.schedule
        days[begin:] = np.where(dates.billed[there], dates.trails[name].days[there], NO_DAY)
    return days


def _there(life: Life, rows: slice) -> tuple[int, slice]:
    """Give where in a slice of supported months a life begins, and the slice of its own rows."""
    shift = SUPPORTED - life.schedule.count
    begin = min(max(0, shift - rows.start), rows.stop - rows.start)
    return begin, slice(rows.start + begin - shift, rows.stop - shift)


def billed(life: Life | None, rows: slice = ALL) -> Flags:
    """Tell which supported months have an invoice."""
    return _flags(life, rows, None if life is None else life.schedule.billed)


def unknown(life: Life | None) -> Flags:
    """Tell which supported months have an invoice with a date that the calendar does not know."""
    return _flags(life, ALL, None if life is None else life.schedule.unknown)


def _flags(life: Life | None, rows: slice, of_life: Flags | None) -> Flags:
    flags = np.zeros(rows.stop - rows.start, bool)
    if life is not None and of_life is not None:
        begin, there = _there(life, rows)
        flags[begin:] = of_life[there]
    return flags


def moving(before: Life | None, after: Life, names: Iterable[DateName], rows: slice | None = None) -> Flags:
    """Tell of which supported months an invoice comes, goes, or has one of these dates moved."""
    rows = rows or ALL
    found = billed(before, rows) != billed(after, rows)
    for name in names:
        old, new = column(before, name, rows), column(after, name, rows)
        found |= (old != new) & ~(np.isnat(old) & np.isnat(new))
    return cast(Flags, found)


def _slice(span: Span) -> slice:
    return slice(int((span.first - FIRST_MONTH).astype(int)), int((span.last - FIRST_MONTH).astype(int)) + 1)


def _hazards(month: str, moved: Iterable[Move], was: dict[DateName, date | None], today: date) -> Iterator[Hazard]:
    for move in moved:
        name, before, after = move.name, move.before, move.after
        if name in DEADLINES and before and after and before >= today and after < before:
            yield Hazard("earlier_deadline", month, f"{name} moves from {before} to {after}")
        if name in PAY_BYS and after and after < today and (before is None or before >= today):
            yield Hazard("pay_by_already_past", month, f"{name} moves to {after}, which is past")
    generated, ends = was["generation_date"], was["grace_end_date"]
    if generated and ends and generated <= today <= ends:
        names = ", ".join(move.name for move in moved)
        yield Hazard("open_invoice_touched", month, f"the invoice generated {generated} is open, and moves: {names}")


def _crowding(before: Life, after: Life, rows: slice) -> Iterator[Hazard]:
    """Find calendar months that come to see no invoice, or two.

    A month without one counts between the account's first invoice and its last. Looked at are the months in which the
    invoices of the rows may be generated; counted are all those that may be generated in these months.
    """
    around = slice(max(0, rows.start - 2 * REACH), min(SUPPORTED, rows.stop + 2 * REACH))
    was, will = _generated_in(before, around), _generated_in(after, around)
    if not will:
        return
    begin, end = max(min(will), rows.start - REACH), min(max(will), rows.stop + REACH)
    for number in range(begin, end + 1):
        now, then = was.get(number, 0), will.get(number, 0)
        month = str(FIRST_MONTH + number)
        if then == 0 and now > 0:
            yield Hazard("no_invoice_in_calendar_month", month, f"no invoice is generated in {month}")
        if then > 1 and then > now:
            yield Hazard("two_invoices_in_calendar_month", month, f"{then} invoices are generated in {month}")


def _generated_in(life: Life, rows: slice) -> Counter[int]:
    """Count the invoices of the rows by the calendar month they are generated in, numbered as the rows are."""
    days = column(life, "generation_date", rows)
    return Counter((days[~np.isnat(days)].astype(MONTH) - FIRST_MONTH).astype(int).tolist())


NO_ACCOUNT: Final = Account(client_id="", account_id="", version=0, kind="", name="")
