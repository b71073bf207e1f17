"""Clients, bill accounts, rules and exceptions from CSV: many at once, all of them or none.

A client's rows stand together. A row that says what is known already changes nothing, so that a file may be imported
twice. Rows are read and kept as they come, some hundred clients at a time, in one transaction that is committed only
where no cell of any row was at fault; of the whole file only the ids are kept in memory.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final, TextIO, TypeVar, cast

import numpy as np
import orjson
from marshmallow import ValidationError
from sqlalchemy import Connection

from ebill import access
from ebill.dates import MONTHS
from ebill.errors import (
    BelowFloor,
    CellFault,
    ExceptionTooFar,
    Fault,
    ImportRefused,
    InvalidInput,
    MovesGeneratedInvoice,
    NotBilled,
    Refusal,
)
from ebill.rulebook import Life, RuleBook, Scope
from ebill.service import forms, rows
from ebill.service.books import dossiers
from ebill.service.changes import (
    NO_ACCOUNT,
    Changed,
    Effect,
    billed,
    generated_that_moves,
    life_or_none,
    refuse_moving_generated,
    refuse_unbilled,
    refuse_unknown,
    span_around,
)
from ebill.service.clients import NO_TEAM, calendar_faults, may_have, settings_faults
from ebill.service.rows import OF_RECORD, Line
from ebill.service.scopes import bare, scope
from ebill.store import clients as kept
from ebill.store.clients import Account, Client, Dossier, ExceptionEntry, RuleEntry
from ebill.store.engine import Writing
from ebill.store.users import User

AT_ONCE: Final = 500
"""Clients looked up and kept together."""
MOST_FAULTS: Final = 1000
MANY: Final = 1000
"""Of so many new rows on the database counts anew what it has."""
MOST_TRIED: Final = 4096
"""Scopes, and settings, remembered as good, beyond which they are let go."""

Told = Callable[[int], None]
Value = Client | Account | RuleEntry | ExceptionEntry
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """What a row says: of a whole client (`account_id` None) or of one account; `owned` that it is meant to move."""

    line: Line
    account_id: str | None
    owned: bool
    value: Value


class Draft:
    """A client as it will be: what was known of it, and the rows that change that.

    `is_known` says that it has other rows further up, so that what is missing here may be there.
    """

    def __init__(self, before: Dossier | None, *, is_known: bool = False) -> None:
        self.before, self.is_known = before, is_known
        self.client = before.client if before else None
        self.known = {account.account_id: account for account in before.accounts} if before else {}
        self.accounts = dict(self.known)
        self.steps: list[Step] = []
        self.told: set[str | None] = set()
        """The accounts that have a row of their own in the file, a faulty one too; None for the client."""
        self.taken = {name.lower(): name for name in self.known}

    def apply(self, step: Step) -> None:
        """Take a row in."""
        if isinstance(step.value, Client):
            self.client = step.value
        elif isinstance(step.value, Account):
            self.accounts[step.value.account_id] = step.value
        self.steps.append(step)

    def leave_out_known(self) -> int:
        """Leave out the rows that say what is known already; give how many."""
        if self.before is None:
            return 0
        known: list[Value] = [
            self.before.client,
            *self.known.values(),
            *self.before.rules,
            *self.before.exceptions,
        ]
        latest = {_about(value): _said(value) for value in known}
        told = {_about(step.value): _said(step.value) for step in self.steps}
        steps: list[Step] = []
        for step in self.steps:
            about = _about(step.value)
            if told[about] != latest.get(about):
                steps.append(step)
            elif isinstance(step.value, Client):
                self.client = self.before.client
            elif isinstance(step.value, Account):
                self.accounts[step.value.account_id] = self.known[step.value.account_id]
        left_out = len(self.steps) - len(steps)
        self.steps = steps
        return left_out


def import_clients(
    write: Writing, book: RuleBook, user: User, file: TextIO, *, dry_run: bool, told: Told | None = None
) -> dict[str, Any]:
    """Import a CSV file, opened with `newline=""`. Answers with what was kept and what it moved, or would be.

    `told` is told the line reached, now and then. Raises ImportRefused with every faulty cell (the first thousand).
    """
    found = _Import(write, book, user)
    for batch in _batches(rows.lines(file, found.faults)):
        found.take(batch)
        if told:
            told(batch[-1][-1].number)
        if len(found.faults) > MOST_FAULTS:
            break
    if found.faults:
        raise ImportRefused(list(dict.fromkeys(found.faults))[:MOST_FAULTS])
    if dry_run or not write.audited:
        write.unchanged()
    elif sum(found.kept.values()) >= MANY:
        kept.count_anew(write.connection)
    return {
        "dry_run": dry_run,
        "kept": found.kept,
        "rows_unchanged": found.unchanged,
        "effect": found.effect.as_groups(),
    }


def export_clients(connection: Connection, book: RuleBook, user: User, file: TextIO) -> int:
    """Write the clients that a user sees as `import_clients` reads them; give how many.

    An exception whose month came to have no invoice has no effect, and is left out: it would be refused as a slip.
    """
    writer = csv.DictWriter(file, rows.COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    count = 0
    for dossier in dossiers(connection, user):
        fixed = tuple(each for each in dossier.exceptions if _has_effect(book, dossier, each))
        writer.writerows(rows.written(replace(dossier, exceptions=fixed)))
        count += 1
    return count


def _has_effect(book: RuleBook, dossier: Dossier, entry: ExceptionEntry) -> bool:
    """Tell whether one of the accounts that an exception is about has an invoice for its month, or may have."""
    about = [account for account in dossier.accounts if entry.account_id in (None, account.account_id)]
    lives = [life_or_none(book, dossier, account) for account in about]
    month = MONTHS.index(entry.coverage_month)
    return not lives or any(life is None or billed(life)[month] for life in lives)


class _Import:
    """An import under way: what was found so far, and what is kept of it."""

    def __init__(self, write: Writing, book: RuleBook, user: User) -> None:
        self.write, self.book, self.user = write, book, user
        self.faults: list[CellFault] = []
        self.kept = dict.fromkeys(_KEPT_AS.values(), 0)
        self.unchanged = 0
        self.effect = Effect(write.at, span_around(write.at))
        self._seen: set[str] = set()
        self._teams: dict[str, bool] = {}
        self._good: set[Scope] = set()
        self._alike: dict[Any, tuple[Any, bool]] = {}

    def take(self, batch: Sequence[Sequence[Line]]) -> None:
        """Read some hundred clients, and keep them where nothing was at fault so far."""
        connection = self.write.connection
        named = [lines[0].client_id for lines in batch]
        known = {dossier.client.client_id: dossier for dossier in kept.dossiers(connection, named)}
        taken = kept.open_and_taken(connection, access.visible(self.user), [name.lower() for name in named])
        drafts = []
        for name, lines in zip(named, batch, strict=True):
            found = len(self.faults)
            owner, is_open = taken.get(name.lower(), (name, True))
            if name.lower() in self._seen:
                self.faults.append(lines[0].fault("client_id", "has rows further up: a client's rows stand together"))
                self._read(name, lines, known.get(name), is_known=True)
            elif owner != name or not is_open:
                self.faults.append(lines[0].fault("client_id", "is no client of yours, and the id is taken"))
            else:
                draft = self._read(name, lines, known.get(name))
                if len(self.faults) == found:
                    self._weigh(name, draft)
                if len(self.faults) == found:
                    self._refuse_unbilled(draft)
                drafts.append(draft)
            self._seen.add(name.lower())
        if not self.faults:
            self._keep(drafts)

    # Reading

    def _read(self, name: str, lines: Sequence[Line], before: Dossier | None, *, is_known: bool = False) -> Draft:
        """Read the rows of one client, which may be known from further up."""
        draft = Draft(before, is_known=is_known)
        if forms.id_faults(client_id=name):
            self.faults.append(lines[0].fault("client_id", forms.NO_ID))
        elif not is_known and before is None and all(line.cells.get("record") != "client" for line in lines):
            self.faults.append(
                lines[0].fault("client_id", "no client of this id is known, and none of its rows makes one")
            )
        readers = {"client": self._client, "bill_account": self._account}
        for line in lines:
            record = line.cells.get("record", "")
            if record not in OF_RECORD:
                self.faults.append(line.fault("record", f"must be one of {', '.join(OF_RECORD)}"))
                continue
            body, found = rows.body(line, record)
            try:
                step = _all_or_none(found, readers.get(record, self._entry), draft, name, line, body)
            except InvalidInput as refusal:
                self.faults += (line.placed(fault) for fault in refusal.faults)
            else:
                draft.apply(step)
        self.unchanged += draft.leave_out_known()
        return draft

    def _client(self, draft: Draft, name: str, line: Line, body: dict[str, Any]) -> Step:
        found = [*settings_faults(self.book, body), *self._team_faults(body)]
        if None in draft.told:
            found.append(_at("record", "the client has a row further up"))
        draft.told.add(None)
        version = draft.before.client.version + 1 if draft.before else 1
        new, owned = _all_or_none(found, self._settings, forms.client, body, name, version)
        return Step(line, None, owned, replace(new, client_id=name, version=version))

    def _account(self, draft: Draft, name: str, line: Line, body: dict[str, Any]) -> Step:
        account_id = body.pop("account_id", "")
        found = list(settings_faults(self.book, body))
        if account_id in draft.told:
            found.append(_at("account_id", "has a row further up"))
        elif draft.taken.setdefault(account_id.lower(), account_id) != account_id:
            found.append(_at("account_id", "is taken: ids are unique whatever the case"))
        draft.told.add(account_id)
        was = draft.known.get(account_id)
        version = was.version + 1 if was else 1
        new, owned = _all_or_none(found, self._settings, forms.account, body, name, account_id, version)
        return Step(line, account_id, owned, replace(new, client_id=name, account_id=account_id, version=version))

    def _settings(self, form: Callable[..., tuple[T, bool, str | None]], body: dict[str, Any], *of: Any) -> Any:
        """Read settings by a form. Many rows differ in their names and ids alone: the rest of those is read once."""
        rest = (
            form,
            tuple(
                (key, tuple(value) if isinstance(value, list) else value)
                for key, value in body.items()
                if key != "name"
            ),
        )
        if rest in self._alike and not forms.id_faults(id=of[-2]):
            with suppress(ValidationError):
                known, owned = self._alike[rest]
                return replace(known, name=forms.NAME.deserialize(body.get("name"))), owned
        new, owned, _ = form(body, *of)
        if len(self._alike) >= MOST_TRIED:
            self._alike.clear()
        self._alike[rest] = new, owned
        return new, owned

    def _entry(self, draft: Draft, name: str, line: Line, body: dict[str, Any]) -> Step:
        account_id = body.pop("account_id", None)
        found = []
        is_here = account_id is None or account_id in draft.accounts or account_id in draft.told
        if not is_here and not draft.is_known:
            found.append(_at("account_id", "the client has no bill account of this id before this row"))
        form: Callable[..., RuleEntry | ExceptionEntry] = (
            forms.rule_entry if line.cells["record"] == "rule" else forms.exception_entry
        )
        entry = _all_or_none(found, form, body, name, account_id)
        if unknown := calendar_faults(self.book, entry):
            raise InvalidInput(unknown)
        return Step(line, account_id, entry.retroactive, entry)

    def _team_faults(self, body: Mapping[str, Any]) -> Iterator[Fault]:
        team_id = body.get("team_id")
        if isinstance(team_id, str):
            if team_id not in self._teams:
                self._teams[team_id] = may_have(self.write.connection, self.user, team_id)
            if not self._teams[team_id]:
                yield _at("team_id", NO_TEAM)

    # Weighing

    def _weigh(self, name: str, draft: Draft) -> None:
        """Find what breaks the rules or moves what was generated, and take in what moves."""
        touched = {step.account_id for step in draft.steps}
        before = _by_account(draft.before) if draft.before else None
        after = _by_account(_after(draft.before, draft.client, draft.accounts.values(), draft.steps))
        for account in draft.accounts.values() or (NO_ACCOUNT,):
            account_id = account.account_id
            if None not in touched and account_id not in touched:
                continue
            was = draft.known.get(account_id)
            try:
                if was is None or before is None:
                    self._try(scope(after(account), account))
                else:
                    known = life_or_none(self.book, before(was), was)
                    life = self.book.life(scope(after(account), account))
                    self._weigh_known(draft, Changed(name, account_id, known, life))
            except Refusal as refusal:
                self._blame(draft, name, account_id, refusal)
            if len(self.faults) > MOST_FAULTS:
                return

    def _refuse_unbilled(self, draft: Draft) -> None:
        """Find exceptions that fix the dates of an invoice there is not; those that a later row replaces do not."""
        after = _by_account(_after(draft.before, draft.client, draft.accounts.values(), draft.steps))
        latest = {_about(step.value): step for step in draft.steps if isinstance(step.value, ExceptionEntry)}
        for step in latest.values():
            value = cast(ExceptionEntry, step.value)
            if value.withdrawn:
                continue
            about = [each for each in draft.accounts.values() if value.account_id in (None, each.account_id)]
            changes = [Changed("", "", None, self.book.life(scope(after(account), account))) for account in about]
            try:
                refuse_unbilled(changes, value.coverage_month)
            except NotBilled as refusal:
                self.faults.append(step.line.fault("coverage_month", str(refusal)))

    def _weigh_known(self, draft: Draft, change: Changed) -> None:
        refuse_unknown([change], self.effect.span)
        since = _since(step for step in draft.steps if step.account_id in (None, change.account_id))
        if generated_that_moves(change, self.write.at, since) is not None:
            self._find_unowned(draft, change)
        self.effect.add(change)

    def _try(self, own: Scope) -> None:
        """Check the dates of a new account: as if it always was and never ended, which is the same for many."""
        if not own.rows and not own.exceptions:
            return  # the rule book was tried with every state and product when it was read
        widest = bare(own)._replace(first_coverage_month=None, last_coverage_month=None)
        if widest in self._good:
            return
        try:
            self._try_exactly(widest)
        except Refusal:
            self._try_exactly(own)
            return
        if len(self._good) >= MOST_TRIED:
            self._good.clear()
        self._good.add(widest)

    def _try_exactly(self, own: Scope) -> None:
        refuse_unknown([Changed("", "", None, self.book.life(own))], self.effect.span)

    def _find_unowned(self, draft: Draft, change: Changed) -> None:
        """Find the row that moves a generated invoice and does not say that it is meant."""
        waiting: list[Step] = []
        last = change.before
        for step, life in self._walk(draft, change.account_id):
            waiting.append(step)
            if life is None:
                continue
            unowned = [each for each in waiting if not each.owned]
            if unowned:
                try:
                    moved = change._replace(before=last, after=life)
                    refuse_moving_generated([moved], self.write.at, _since(waiting))
                except MovesGeneratedInvoice as refusal:
                    self.faults.append(unowned[0].line.fault("retroactive", str(refusal)))
                    return
            waiting, last = [], life

    def _blame(self, draft: Draft, name: str, account_id: str, refusal: Refusal) -> None:
        """Put a refusal down to the row from which on the account's dates were bad."""
        blamed: Step | None = None
        for step, life in self._walk(draft, account_id):
            if life is not None:
                blamed = None
            elif blamed is None:
                blamed = step
        blamed = blamed or draft.steps[-1]
        column = "rule" if isinstance(blamed.value, RuleEntry) else ""
        if isinstance(blamed.value, ExceptionEntry):
            if isinstance(refusal, ExceptionTooFar):
                column = refusal.name
            elif isinstance(refusal, BelowFloor):
                column = "grace_end_date"
        whose = f"bill account {account_id}" if account_id else f"client {name}"
        self.faults.append(blamed.line.fault(column, f"{whose}: {refusal}"))

    def _walk(self, draft: Draft, account_id: str) -> Iterator[tuple[Step, Life | None]]:
        """Try the rows that concern an account one after another, each with the dates it leads to, or None."""
        client = draft.before.client if draft.before else None
        account = draft.known.get(account_id) if account_id else NO_ACCOUNT
        taken: list[Step] = []
        for step in draft.steps:
            if step.account_id not in (None, account_id):
                continue
            taken.append(step)
            if isinstance(step.value, Client):
                client = step.value
            elif isinstance(step.value, Account):
                account = step.value
            if account is not None:
                life = life_or_none(self.book, _after(draft.before, client, [account], taken), account)
                yield step, None if life is None or self._is_unknown(life) else life

    def _is_unknown(self, life: Life) -> bool:
        try:
            refuse_unknown([Changed("", "", None, life)], self.effect.span)
        except Refusal:
            return True
        return False

    # Keeping

    def _keep(self, drafts: Sequence[Draft]) -> None:
        """Keep what is new of some clients, with an audit row for each."""
        changed = [draft for draft in drafts if draft.steps]
        values = [step.value for draft in changed for step in draft.steps]
        records = [value for value in values if isinstance(value, Client | Account)]
        entries = [value for value in values if isinstance(value, RuleEntry | ExceptionEntry)]
        kept.put_many(self.write.connection, records, entries, self.user.user_id, self.write.at)
        self.write.audit_all([("import_client", _facts(draft)) for draft in changed])
        for value in values:
            self.kept[_KEPT_AS[type(value)]] += 1


def _since(steps: Iterable[Step]) -> np.datetime64 | None:
    """Give the first coverage month that something entered is about; None where only settings are."""
    values = [step.value for step in steps]
    months = [value.since for value in values if isinstance(value, RuleEntry)]
    months += [value.coverage_month for value in values if isinstance(value, ExceptionEntry)]
    return np.datetime64(min(months), "M") if months else None


_KEPT_AS: Final[Mapping[type, str]] = {
    Client: "clients",
    Account: "bill_accounts",
    RuleEntry: "rules",
    ExceptionEntry: "exceptions",
}


def _batches(lines: Iterable[Line]) -> Iterator[list[list[Line]]]:
    """Put the rows of a client together, and some hundred clients."""
    batch: list[list[Line]] = []
    for _, group in groupby(lines, key=lambda line: line.client_id):
        batch.append(list(group))
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _all_or_none(found: Sequence[Fault], form: Callable[..., T], *given: Any) -> T:
    """Read by a form; raise InvalidInput with its faults, and with those found elsewhere in places it does not name."""
    try:
        value = form(*given)
    except InvalidInput as refusal:
        named = {fault.pointer for fault in refusal.faults}
        raise InvalidInput([*refusal.faults, *(fault for fault in found if fault.pointer not in named)]) from None
    if found:
        raise InvalidInput(found)
    return value


def _at(column: str, detail: str) -> Fault:
    return Fault(f"/{column}", detail)


def _about(value: Value) -> tuple[str | None, ...]:
    """Say what is told of; a later row about the same replaces it."""
    match value:
        case Client():
            return ()
        case Account():
            return (value.account_id,)
        case RuleEntry():
            return value.account_id, value.since, value.kind
        case ExceptionEntry():
            return value.account_id, value.coverage_month


def _said(value: Value) -> Any:
    """Say what is told, without who told it and when."""
    match value:
        case RuleEntry():
            return value.rule, value.cite, value.assumed
        case ExceptionEntry():
            return value.generation_date, value.due_date, value.grace_end_date, value.withdrawn, value.reason
        case _:
            return replace(value, version=0)


def _after(
    before: Dossier | None, client: Client | None, accounts: Iterable[Account], steps: Iterable[Step]
) -> Dossier:
    """Put a client together from what was known and what rows add, whose entries come after all that are there."""
    ruled, fixed = (list(before.rules), list(before.exceptions)) if before else ([], [])
    sequence = max((each.sequence for each in (*ruled, *fixed)), default=0)
    for number, step in enumerate(steps, sequence + 1):
        if isinstance(step.value, RuleEntry):
            ruled.append(replace(step.value, sequence=number))
        elif isinstance(step.value, ExceptionEntry):
            fixed.append(replace(step.value, sequence=number))
    return Dossier(cast(Client, client), tuple(accounts), tuple(ruled), tuple(fixed))


def _by_account(whole: Dossier) -> Callable[[Account], Dossier]:
    """Give each account's part of a client, as much as its scope looks at; for clients of very many accounts."""
    rules: dict[str | None, list[RuleEntry]] = {}
    exceptions: dict[str | None, list[ExceptionEntry]] = {}
    for ruled in whole.rules:
        rules.setdefault(ruled.account_id, []).append(ruled)
    for fixed in whole.exceptions:
        exceptions.setdefault(fixed.account_id, []).append(fixed)

    def part(account: Account) -> Dossier:
        of = None, account.account_id
        return Dossier(
            whole.client,
            (account,),
            tuple(entry for whose in of for entry in rules.get(whose, ())),
            tuple(entry for whose in of for entry in exceptions.get(whose, ())),
        )

    return part


def _facts(draft: Draft) -> dict[str, Any]:
    """Give the facts of a client's audit row."""
    client = cast(Client, draft.client)
    values = [step.value for step in draft.steps]
    after = {
        "client": kept.as_data(client),
        "bill_accounts": [kept.as_data(value) for value in values if isinstance(value, Account)],
        "rules": [
            {"account_id": value.account_id, "since": value.since, **orjson.loads(value.rule)}
            for value in values
            if isinstance(value, RuleEntry)
        ],
        "exceptions": [kept.as_data(value) for value in values if isinstance(value, ExceptionEntry)],
    }
    before = kept.as_data(draft.before.client) if draft.before else None
    return {"client_id": client.client_id, "before": before, "after": after}
