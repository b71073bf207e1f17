"""Clients, their bill accounts, and what was entered for them, as known now or at an earlier instant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, insert, select, text, update
from sqlalchemy.exc import OperationalError

from ebill.store.tables import account_versions, accounts, client_versions, clients, exceptions, rules, teams


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client and a bill account have in common; None is *as the layer below has it*. Months are `YYYY-MM`."""

    name: str
    state: str | None = None
    product: str | None = None
    timezone: str | None = None
    first_coverage_month: str | None = None
    last_coverage_month: str | None = None
    skip_coverage_months: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client(Settings):
    """An employer group. Months before `bills_here_since` are billed on another platform."""

    client_id: str
    version: int
    team_id: str
    bills_here_since: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account(Settings):
    """A bill account of a client: what one invoice a month belongs to. `kind` is free text: COBRA, dental, a site."""

    client_id: str
    account_id: str
    version: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something entered for a client, or for one account of it (`account_id`), and on whose word and when."""

    client_id: str
    account_id: str | None
    retroactive: bool
    reason: str | None
    sequence: int = 0
    recorded_by: str = ""
    recorded_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEntry(Entry):
    """A dated rule. `rule` is what the grammar reads: `{"generation": {...}}`, as JSON text."""

    since: str
    kind: str
    rule: str
    cite: str
    assumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionEntry(Entry):
    """Fixed dates of one coverage month; `withdrawn` takes them back. The latest of a month is the one that counts."""

    coverage_month: str
    generation_date: date | None = None
    due_date: date | None = None
    grace_end_date: date | None = None
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that is known of one client: the client, its accounts by id, and what was entered, in that order."""

    client: Client
    accounts: tuple[Account, ...]
    rules: tuple[RuleEntry, ...]
    exceptions: tuple[ExceptionEntry, ...]


def dossier(connection: Connection, client_id: str, known_at: datetime | None = None) -> Dossier | None:
    """Give all that was known of a client at an instant (None: now), or None where there was no such client."""
    found = dossiers(connection, [client_id], known_at)
    return found[0] if found else None


def dossiers(connection: Connection, client_ids: Sequence[str], known_at: datetime | None = None) -> list[Dossier]:
    """Give all that was known of several clients at an instant, by client id."""
    asked = {"client_ids": list(client_ids)}
    past = known_at is not None
    if past:
        asked |= {"known_at": known_at}  # type: ignore[dict-item]
    found: dict[str, tuple[list[Account], list[RuleEntry], list[ExceptionEntry]]] = {}
    heads = [_client(row) for row in connection.execute(_CLIENTS[past], asked)]
    for head in heads:
        found[head.client_id] = ([], [], [])
    for row in connection.execute(_ACCOUNTS[past], asked):
        if row.client_id in found:
            found[row.client_id][0].append(_account(row))
    for entered in connection.execute(_RULES[past], asked).mappings():
        if entered["client_id"] in found:
            found[entered["client_id"]][1].append(_entry(RuleEntry, entered))
    for entered in connection.execute(_EXCEPTIONS[past], asked).mappings():
        if entered["client_id"] in found:
            found[entered["client_id"]][2].append(_entry(ExceptionEntry, entered))
    return [_dossier(head, *found[head.client_id]) for head in heads]


def _dossier(
    client: Client, accounts: list[Account], rules: list[RuleEntry], exceptions: list[ExceptionEntry]
) -> Dossier:
    return Dossier(client, tuple(accounts), tuple(rules), tuple(exceptions))


def taken(connection: Connection, client_id: str) -> str | None:
    """Give the client whose id is this one but for case, or None."""
    return connection.scalar(select(clients.c.client_id).where(clients.c.folded == client_id.lower()))


def open_and_taken(
    connection: Connection, visible: ColumnElement[bool], folded: Sequence[str]
) -> dict[str, tuple[str, bool]]:
    """Give, of ids in lower case, the client that has each and whether it is visible."""
    query = select(clients.c.folded, clients.c.client_id, visible.label("visible"))
    rows = connection.execute(query.where(clients.c.folded.in_(folded)))
    return {row.folded: (row.client_id, bool(row.visible)) for row in rows}


def team_exists(connection: Connection, team_id: str) -> bool:
    """Tell whether there is such a team."""
    return connection.scalar(select(teams.c.team_id).where(teams.c.team_id == team_id)) is not None


def put_client(connection: Connection, client: Client, by: str, at: datetime) -> None:
    """Keep a new version of a client, its first where `version` is 1."""
    head = {"team_id": client.team_id, "version": client.version}
    if client.version == 1:
        folded = client.client_id.lower()
        connection.execute(insert(clients), {"client_id": client.client_id, "folded": folded, **head})
    else:
        changed = connection.execute(
            update(clients)
            .where(clients.c.client_id == client.client_id, clients.c.version == client.version - 1)
            .values(head)
        )
        if changed.rowcount != 1:
            raise RuntimeError("the client's version moved on under the writers' lock")
    connection.execute(insert(client_versions), _row(client, by, at))


def put_account(connection: Connection, account: Account, by: str, at: datetime) -> None:
    """Keep a new version of a bill account, its first where `version` is 1."""
    if account.version == 1:
        head = {"client_id": account.client_id, "account_id": account.account_id, "version": 1}
        connection.execute(insert(accounts), {**head, "folded": account.account_id.lower()})
    else:
        changed = connection.execute(
            update(accounts)
            .where(
                accounts.c.client_id == account.client_id,
                accounts.c.account_id == account.account_id,
                accounts.c.version == account.version - 1,
            )
            .values(version=account.version)
        )
        if changed.rowcount != 1:
            raise RuntimeError("the account's version moved on under the writers' lock")
    connection.execute(insert(account_versions), _row(account, by, at))


def put_many(
    connection: Connection,
    records: Sequence[Client | Account],
    entries: Sequence[Entry],
    by: str,
    at: datetime,
) -> None:
    """Keep many clients, accounts, rules and exceptions at once: each kind of row in one statement."""
    new_clients = [record for record in records if isinstance(record, Client) and record.version == 1]
    new_accounts = [record for record in records if isinstance(record, Account) and record.version == 1]
    heads = [
        {"client_id": c.client_id, "folded": c.client_id.lower(), "team_id": c.team_id, "version": 1}
        for c in new_clients
    ]
    of_accounts = [
        {"client_id": a.client_id, "account_id": a.account_id, "folded": a.account_id.lower(), "version": 1}
        for a in new_accounts
    ]
    many = (
        (clients, heads),
        (client_versions, [_row(client, by, at) for client in new_clients]),
        (accounts, of_accounts),
        (account_versions, [_row(account, by, at) for account in new_accounts]),
        (rules, [_entry_row(entry, by, at) for entry in entries if isinstance(entry, RuleEntry)]),
        (exceptions, [_entry_row(entry, by, at) for entry in entries if isinstance(entry, ExceptionEntry)]),
    )
    for record in records:
        if record.version > 1 and isinstance(record, Client):
            put_client(connection, record, by, at)
        elif record.version > 1 and isinstance(record, Account):
            put_account(connection, record, by, at)
    for table, rows in many:
        if rows:
            connection.execute(insert(table), rows)


def count_anew(connection: Connection) -> None:
    """Have PostgreSQL count what is kept of clients, after many rows were added.

    It plans its queries by counts that it takes now and then, and counts nothing of a change that is not committed:
    until its next round, a minute later, a list that takes milliseconds could take seconds. A table that it is at work
    on, or that takes longer than a statement may, is left to that round. SQLite plans by no counts.
    """
    if connection.dialect.name != "postgresql":
        return
    for table in (clients, client_versions, accounts, account_versions, rules, exceptions):
        with suppress(OperationalError), connection.begin_nested():
            connection.execute(text(f"ANALYZE (SKIP_LOCKED) {table.name}"))


def add_entries(connection: Connection, entries: Iterable[Entry], by: str, at: datetime) -> list[Entry]:
    """Append rules and exceptions, and give them back as they are now kept."""
    kept: list[Entry] = []
    for entry in entries:
        row = _entry_row(entry, by, at)
        table = rules if isinstance(entry, RuleEntry) else exceptions
        sequence = connection.execute(insert(table).returning(table.c.sequence), row).scalar_one()
        kept.append(replace(entry, sequence=sequence, recorded_by=by, recorded_at=at))
    return kept


def as_data(record: Client | Account | Entry) -> dict[str, Any]:
    """Give a record's fields by name; `asdict` would copy each of them, at ten times the cost."""
    kind: type = type(record)
    return {name: getattr(record, name) for name in _names(kind)}


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _entry_row(entry: Entry, by: str, at: datetime) -> dict[str, Any]:
    row = {**as_data(entry), "recorded_by": by, "recorded_at": at}
    del row["sequence"]
    for flag in ("retroactive", "assumed", "withdrawn"):
        if flag in row:
            row[flag] = int(row[flag])
    return row


def _row(record: Client | Account, by: str, at: datetime) -> dict[str, Any]:
    row = {**as_data(record), "recorded_by": by, "recorded_at": at}
    if record.skip_coverage_months is not None:
        row["skip_coverage_months"] = orjson.dumps(record.skip_coverage_months).decode()
    return row


def _client(row: Any) -> Client:
    return Client(**_read(row, Client))


def _account(row: Any) -> Account:
    return Account(**_read(row, Account))


def _read(row: Any, record: type) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in _names(record)}
    if values["skip_coverage_months"] is not None:
        values["skip_coverage_months"] = tuple(json.loads(values["skip_coverage_months"]))
    return values


def _entry(kind: type[Any], row: Any) -> Any:
    values = dict(row)
    for flag in ("retroactive", "assumed", "withdrawn"):
        if flag in values:
            values[flag] = bool(values[flag])
    return kind(**values)


def _latest_clients(*, past: bool) -> Select[Any]:
    """Select each client's version in force: the current one, or the last recorded by an instant."""
    asked = client_versions.c.client_id.in_(bindparam("client_ids", expanding=True))
    if not past:
        on = and_(clients.c.client_id == client_versions.c.client_id, clients.c.version == client_versions.c.version)
        query = select(client_versions).join(clients, on).where(asked)
    else:
        newest = (
            select(client_versions.c.client_id, func.max(client_versions.c.version).label("version"))
            .where(asked, client_versions.c.recorded_at <= bindparam("known_at"))
            .group_by(client_versions.c.client_id)
            .subquery()
        )
        on = and_(client_versions.c.client_id == newest.c.client_id, client_versions.c.version == newest.c.version)
        query = select(client_versions).join(newest, on)
    return query.order_by(client_versions.c.client_id)


def _latest_accounts(*, past: bool) -> Select[Any]:
    """Select each account's version in force, as `_latest_clients`."""
    versions, key = account_versions.c, (account_versions.c.client_id, account_versions.c.account_id)
    asked = versions.client_id.in_(bindparam("client_ids", expanding=True))
    if not past:
        on = and_(
            accounts.c.client_id == versions.client_id,
            accounts.c.account_id == versions.account_id,
            accounts.c.version == versions.version,
        )
        query = select(account_versions).join(accounts, on).where(asked)
    else:
        newest = (
            select(*key, func.max(versions.version).label("version"))
            .where(asked, versions.recorded_at <= bindparam("known_at"))
            .group_by(*key)
            .subquery()
        )
        on = and_(
            newest.c.client_id == versions.client_id,
            newest.c.account_id == versions.account_id,
            newest.c.version == versions.version,
        )
        query = select(account_versions).join(newest, on)
    return query.order_by(*key)


def _entries(table: Any, *, past: bool) -> Select[Any]:
    query = select(table).where(table.c.client_id.in_(bindparam("client_ids", expanding=True)))
    if past:
        query = query.where(table.c.recorded_at <= bindparam("known_at"))
    return query.order_by(table.c.sequence)


_CLIENTS: Final = {past: _latest_clients(past=past) for past in (False, True)}
_ACCOUNTS: Final = {past: _latest_accounts(past=past) for past in (False, True)}
_RULES: Final = {past: _entries(rules, past=past) for past in (False, True)}
_EXCEPTIONS: Final = {past: _entries(exceptions, past=past) for past in (False, True)}
