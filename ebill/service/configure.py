"""Configuring a client by hand: what is in force, what a change would do, and the change, only as it was previewed.

A preview is the dry run of the very change, with the state it was made against. Saving previews once more, and refuses
where anything came out otherwise: so nobody moves a date unawares, and a form that is sent twice is saved once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from sqlalchemy import Connection

from ebill.dates import FIRST_MONTH, LAST_MONTH
from ebill.errors import (
    AccountNotFound,
    ClientNotFound,
    HazardsNotAcknowledged,
    MovesGeneratedInvoice,
    PreviewOutdated,
    Refusal,
    UnknownProduct,
    UnknownState,
)
from ebill.grammar import OwnRulesSchema
from ebill.rulebook import InForce, Layer, Row, RuleBook, in_force
from ebill.rules import Kind
from ebill.schedule import DATE_NAMES, DateName
from ebill.service import clients, seen
from ebill.service.calculator import RuleRow, as_rule_row
from ebill.service.changes import BACK, NO_ACCOUNT
from ebill.service.clients import Precondition, Window
from ebill.service.history import SETTING
from ebill.service.scopes import scope
from ebill.store import audit
from ebill.store import clients as kept
from ebill.store.clients import Dossier, ExceptionEntry
from ebill.store.engine import Writing
from ebill.store.users import User

What = Literal["rule", "exception", "client", "bill_account"]
KINDS: Final[tuple[Kind, ...]] = (
    "generation",
    "due",
    "grace",
    "pay_by",
    "posting",
    "calendar",
    "timezone",
    "skip_coverage_months",
)
"""The kinds of rule that a client or a bill account can have, as people look for them."""
MONTHS: Final = 12
"""Coverage months of a worked example."""
NONE: Final = Precondition()
"""Of a change that goes by no version: what is entered is appended."""
CLIENT: Final = "the client"
MOVED: Final = "the dates it would move"
"""Of what a change hangs on, and shows: see `Preview.shown`."""
_OWNED: Final = ("retroactive", "reason")
"""What a body says besides the change itself: that it may move what was generated, and why."""
_STAND_IN: Final = "not given yet"
"""For a reason, while a change is only tried."""


class InForceRule(RuleRow):
    """A rule in force or to come. `is_setting`: it stands among the settings of its client or account."""

    is_own: bool
    is_setting: bool


@dataclass(frozen=True, slots=True)
class OfKind:
    """What holds of one kind of rule: now, from later coverage months on, and what would hold without one's own.

    None is that there is no rule: of those kinds that need none.
    """

    kind: Kind
    now: InForceRule | None
    to_come: list[tuple[str, InForceRule | None]]
    inherited: InForceRule | None

    def reset_from(self, open_from: str) -> str | None:
        """Give the coverage month from which one's own rule can be given up, None where there is none entered.

        One in force goes by `open_from`, so that no invoice already generated moves.
        """
        if self.now and self.now["is_own"] and not self.now["is_setting"]:
            return open_from
        return next((since for since, rule in self.to_come if rule and rule["is_own"]), None)


@dataclass(frozen=True, slots=True)
class Fixed:
    """An exception in force; `is_own` unless it is the client's, seen from an account."""

    coverage_month: str
    dates: Mapping[DateName, date]
    reason: str | None
    recorded_by: str
    recorded_at: datetime | None
    is_own: bool


@dataclass(frozen=True, slots=True)
class Configured:
    """All that is set for a client, or for one of its bill accounts.

    `month` is the current one; `open_from` the first from which on no invoice has been generated yet. `refusal` is why
    the rules of the layers below cannot be told, where the rule book has come to be without its state or product.
    """

    client: dict[str, Any]
    account: dict[str, Any] | None
    month: str
    open_from: str
    rules: list[OfKind]
    floors: list[InForceRule]
    exceptions: list[Fixed]
    refusal: Refusal | None

    def of_kind(self, kind: str) -> OfKind:
        """Give what holds of a kind."""
        return next(each for each in self.rules if each.kind == kind)


@dataclass(frozen=True, slots=True)
class Change:
    """A change as the API takes it: `body` is plain data, `made_to` the version of settings that it changes."""

    what: What
    client_id: str
    account_id: str | None
    body: Mapping[str, Any]
    made_to: Precondition = NONE

    def make(self, write: Writing, book: RuleBook, user: User, *, dry_run: bool) -> dict[str, Any]:
        """Make the change, or tell what it would move; answers and refuses as the API does."""
        body = dict(self.body)
        if self.what == "client":
            found, _ = clients.put_client(write, book, user, self.client_id, body, self.made_to, dry_run=dry_run)
            return found
        if self.what == "bill_account":
            named = self.client_id, self.account_id or ""
            found, _ = clients.put_account(write, book, user, *named, body, self.made_to, dry_run=dry_run)
            return found
        add = clients.add_rule if self.what == "rule" else clients.add_exception
        return add(write, book, user, self.client_id, self.account_id, body, dry_run=dry_run)

    @property
    def bare(self) -> Change:
        """The change without what is said about invoices already generated; an exception keeps its reason."""
        left_out = _OWNED[:1] if self.what == "exception" else _OWNED
        return replace(self, body={name: value for name, value in self.body.items() if name not in left_out})

    @property
    def meant(self) -> Change:
        """The change as if it were meant to move invoices already generated."""
        return replace(self, body={"reason": _STAND_IN, **self.body, "retroactive": True})


class Day(NamedTuple):
    """One date of a worked example, before and after; None where there is no such date."""

    before: date | None
    after: date | None

    @property
    def is_moved(self) -> bool:
        """Whether the change moves it."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class Example:
    """Twelve coverage months of accounts that move alike: each with its dates by name, none without an invoice."""

    accounts: list[str]
    months: dict[str, dict[DateName, Day]]

    @property
    def is_moved(self) -> bool:
        """Whether any date of it moves."""
        return any(day.is_moved for days in self.months.values() for day in days.values())


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do: the API's dry run, and all that is `shown` by it, and that it hangs on, by name.

    `generated` is the refusal that it meets unless it says that it is meant to move invoices already generated.
    """

    effect: dict[str, Any]
    shown: dict[str, Any]
    generated: MovesGeneratedInvoice | None

    @property
    def state(self) -> str:
        """The state that it holds for."""
        return seen.sealed(self.shown)


def configured(
    connection: Connection, book: RuleBook, user: User, client_id: str, account_id: str | None, now: datetime
) -> Configured:
    """Tell all that is set for a client, or for one of its accounts. Raises ClientNotFound, AccountNotFound."""
    dossier = clients.open_dossier(connection, user, client_id)
    account = None if account_id is None else clients.account_in(dossier, account_id)
    own: Layer = "client" if account is None else "bill_account"
    of_account = scope(dossier, account or NO_ACCOUNT)
    rows, refusal = of_account.rows, None
    try:
        rows = (*book.rows(of_account.state, of_account.product), *rows)
    except (UnknownState, UnknownProduct) as why:
        refusal = why
    month = _month(now)
    laters = sorted({row.since for row in rows if row.since > month})
    stretches = [in_force(rows, each) for each in (month, *laters)]
    below = in_force([row for row in rows if row.layer != own], month)
    return Configured(
        kept.as_data(dossier.client),
        None if account is None else kept.as_data(account),
        str(month),
        _open_from(connection, book, user, dossier, account_id, now),
        [_of_kind(kind, stretches, below.rows.get(kind), own) for kind in KINDS],
        [_told(row, own) for row in stretches[0].floors],
        list(_exceptions(dossier, account_id)),
        refusal,
    )


def preview(write: Writing, book: RuleBook, user: User, change: Change) -> Preview:
    """Try a change, and keep nothing of it. Refuses as the change itself would, but for invoices already generated."""
    bare, generated = change.bare, None
    try:
        effect = bare.make(write, book, user, dry_run=True)
    except MovesGeneratedInvoice as refusal:
        generated = refusal
        effect = bare.meant.make(write, book, user, dry_run=True)
    shown = {
        CLIENT: audit.state(write.connection, change.client_id, SETTING).hex(),
        "the rule book": book.version,
        "what you entered": [change.what, change.account_id, bare.body],
        MOVED: effect,
    }
    return Preview(effect, shown, generated)


def save(write: Writing, book: RuleBook, user: User, change: Change, state: str, *, acknowledged: bool) -> None:
    """Make a change, if it does just what was previewed in that state, and its hazards are acknowledged.

    Raises PreviewOutdated, HazardsNotAcknowledged, and what the change itself raises.
    """
    found = preview(Writing(write.connection, write.by), book, user, change)
    if changed := seen.changed(found.shown, state):
        raise PreviewOutdated(changed)
    if found.effect["hazards"] and not acknowledged:
        raise HazardsNotAcknowledged(len(found.effect["hazards"]))
    change.make(write, book, user, dry_run=False)


def examples(
    connection: Connection, book: RuleBook, user: User, change: Change, effect: Mapping[str, Any], now: datetime
) -> list[Example]:
    """Work a change out over twelve coverage months, those of accounts that it moves first.

    They begin with what it is about, or with the current month where that is later; with the month before where its
    dates move, too, as those do that hang on the next invoice.
    """
    first = _first_month(change, now)
    if any(move["coverage_month"] == str(first - 1) for move in effect["moved"]):
        first -= 1
    months = [str(first + n) for n in range(MONTHS)]
    before = _before(connection, book, user, change, first, now)
    for move in effect["moved"]:
        days = before.setdefault(move["account_id"], {month: {} for month in months}).get(move["coverage_month"])
        if days is not None:
            days[move["name"]] = Day(move["before"], move["after"])
    alike: dict[str, Example] = {}
    for account_id, dates in before.items():
        alike.setdefault(repr(dates), Example([], dates)).accounts.append(account_id)
    return sorted(alike.values(), key=lambda example: not example.is_moved)


def said(kind: str, data: Any) -> str:
    """Say a rule given as data, as the grammar writes it."""
    try:
        return str(OwnRulesSchema().load({kind: data})[kind])
    except ValueError:
        return str(data)


def _before(
    connection: Connection, book: RuleBook, user: User, change: Change, first: np.datetime64, now: datetime
) -> dict[str, dict[str, dict[DateName, Day]]]:
    """Give the dates as they are, by account, month and name; none where they cannot be told."""
    made_new = change.made_to.new
    if made_new and change.what == "client":
        return {}
    only = None if made_new else change.account_id
    try:
        window = Window(first, MONTHS)
        told = clients.schedule(connection, book, user, change.client_id, only, window, now)["bill_accounts"]
    except (ClientNotFound, AccountNotFound):
        raise
    except Refusal:
        return {}
    return {
        each["account_id"]: _dates(each["invoices"], first)
        for each in told
        if not made_new or each["account_id"] == change.account_id
    }


def _dates(invoices: Collection[Mapping[str, Any]], first: np.datetime64) -> dict[str, dict[DateName, Day]]:
    found: dict[str, dict[DateName, Day]] = {str(first + n): {} for n in range(MONTHS)}
    for invoice in invoices:
        if "due_date" in invoice:
            found[invoice["coverage_month"]] = {name: Day(invoice[name], invoice[name]) for name in DATE_NAMES}
    return found


def _first_month(change: Change, now: datetime) -> np.datetime64:
    this_month = _month(now)
    given = change.body.get("since") or change.body.get("coverage_month")
    first = np.datetime64(given, "M") if given else this_month
    if change.what == "exception":
        first -= 1
    return min(max(first, this_month - BACK, FIRST_MONTH), LAST_MONTH - (MONTHS - 1))


def _of_kind(kind: Kind, stretches: list[InForce], below: Row | None, own: Layer) -> OfKind:
    rows = [stretch.rows.get(kind) for stretch in stretches]
    to_come = [
        (str(stretch.first), _told(row, own) if row else None)
        for stretch, last, row in zip(stretches[1:], rows, rows[1:], strict=False)
        if row is not last
    ]
    return OfKind(kind, _told(rows[0], own) if rows[0] else None, to_come, _told(below, own) if below else None)


def _told(row: Row, own: Layer) -> InForceRule:
    is_entered = row.layer in ("client", "bill_account")
    return {**as_rule_row(row), "is_own": row.layer == own, "is_setting": is_entered and row.recorded == 0}


def _exceptions(dossier: Dossier, account_id: str | None) -> Iterator[Fixed]:
    """Give the exceptions in force, by month: an account's own before its client's."""
    latest: dict[str, dict[str | None, ExceptionEntry]] = {}
    for entry in dossier.exceptions:
        if entry.account_id in (None, account_id):
            latest.setdefault(entry.coverage_month, {})[entry.account_id] = entry
    for month in sorted(latest):
        counting = [
            latest[month][level]
            for level in dict.fromkeys((account_id, None))
            if level in latest[month] and not latest[month][level].withdrawn
        ]
        for entry in counting[:1]:
            dates: dict[DateName, date | None] = {
                "generation_date": entry.generation_date,
                "due_date": entry.due_date,
                "grace_end_date": entry.grace_end_date,
            }
            fixed = {name: day for name, day in dates.items() if day}
            is_own = entry.account_id == account_id
            yield Fixed(month, fixed, entry.reason, entry.recorded_by, entry.recorded_at, is_own)


def _open_from(
    connection: Connection, book: RuleBook, user: User, dossier: Dossier, account_id: str | None, now: datetime
) -> str:
    """Give the first coverage month from which on nothing is generated yet; the current one where that is unknown."""
    month = _month(now)
    try:
        told = clients.schedule(
            connection, book, user, dossier.client.client_id, account_id, Window(month, MONTHS), now
        )["bill_accounts"]
    except Refusal:
        return str(month)
    generated = [
        invoice["coverage_month"]
        for each in told
        for invoice in each["invoices"]
        if "generation_date" in invoice and invoice["generation_date"] <= each["as_of"]
    ]
    return str(min(np.datetime64(max(generated), "M") + 1, LAST_MONTH)) if generated else str(month)


def _month(now: datetime) -> np.datetime64:
    return np.datetime64(now.replace(tzinfo=None), "M")
