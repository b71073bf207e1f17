"""From what is known of a client to the scopes of its bill accounts, which say what their dates are.

A client's and an account's settings are rows of their layers, in force for every month; what was entered for them are
rows from their `since` on, read by the very grammar that reads the rule book.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import cast

import numpy as np
import orjson

from ebill.dates import FIRST_MONTH
from ebill.grammar import OwnRulesSchema
from ebill.rulebook import Layer, Row, Scope
from ebill.rules import Rule, SkipCoverageMonths, Timezone
from ebill.schedule import FixedDates
from ebill.store.clients import Account, Client, Dossier, ExceptionEntry, RuleEntry, Settings

_RULES = OwnRulesSchema()


def scope(dossier: Dossier, account: Account) -> Scope:
    """Give the scope of a client's account: its own settings where it has them, else the client's."""
    client = dossier.client
    return Scope(
        state=cast(str, account.state or client.state),
        product=account.product or client.product,
        rows=(*_rows(dossier, None), *_rows(dossier, account)),
        exceptions=_fixed(dossier.exceptions, account.account_id),
        last_coverage_month=_month(account.last_coverage_month or client.last_coverage_month),
        first_coverage_month=_month(first_here(client, account)),
    )


def first_here(client: Client, account: Account) -> str | None:
    """Give the first coverage month billed here, or None for no first."""
    begins = (account.first_coverage_month or client.first_coverage_month, client.bills_here_since)
    return max((month for month in begins if month), default=None)


def bare(scope: Scope) -> Scope:
    """Leave out of a scope whose it is, and the words of people. Equal ones have equal dates, and equal warnings."""
    if not scope.rows and not scope.exceptions:
        return scope
    return scope._replace(
        rows=tuple(
            Row(row.since, row.rule, "", row.layer, assumed=row.assumed, recorded=n, settled=row.settled)
            for n, row in enumerate(scope.rows)
        ),
        exceptions=tuple(fixed._replace(reason="") for fixed in scope.exceptions),
    )


def fixed_dates(entry: ExceptionEntry) -> FixedDates:
    """Give the value of an exception entered. Where its month comes to have no invoice, it is without effect."""
    return FixedDates(
        np.datetime64(entry.coverage_month, "M"),
        entry.reason or "",
        entry.generation_date,
        entry.due_date,
        entry.grace_end_date,
        if_billed=True,
        settled=entry.recorded_at is not None,
    )


@lru_cache(maxsize=16384)
def rule(text: str) -> Rule:
    """Read a rule from its JSON text: `{"generation": {...}}`, or `{"generation": "inherited"}`."""
    (value,) = _RULES.load(orjson.loads(text)).values()
    return cast(Rule, value)


def _rows(dossier: Dossier, account: Account | None) -> Iterator[Row]:
    layer: Layer = "bill_account" if account else "client"
    settings: Settings = account or dossier.client
    name = account.account_id if account else dossier.client.client_id
    cite = f"settings of {'bill account' if account else 'client'} {name}"
    for given in _settings(settings):
        yield Row(FIRST_MONTH, given, cite, layer, name)
    for entry in dossier.rules:
        if entry.account_id == (account.account_id if account else None):
            yield _row(entry, layer, name)


def _settings(settings: Settings) -> Iterator[Rule]:
    if settings.timezone:
        yield Timezone(settings.timezone)
    if settings.skip_coverage_months is not None:
        yield SkipCoverageMonths(settings.skip_coverage_months)


def _row(entry: RuleEntry, layer: Layer, name: str) -> Row:
    since = np.datetime64(entry.since, "M")
    settled = entry.recorded_at is not None
    return Row(since, rule(entry.rule), entry.cite, layer, name, entry.assumed, entry.sequence, settled)


def _fixed(entries: Iterable[ExceptionEntry], account_id: str) -> tuple[FixedDates, ...]:
    """Give the exceptions that count for an account: the latest of each month, its own before the client's."""
    latest: dict[str, dict[str | None, ExceptionEntry]] = {}
    for entry in entries:
        if entry.account_id in (None, account_id):
            latest.setdefault(entry.coverage_month, {})[entry.account_id] = entry
    chosen: list[FixedDates] = []
    for month in sorted(latest):
        standing = [latest[month][level] for level in (account_id, None) if level in latest[month]]
        counting = [entry for entry in standing if not entry.withdrawn]
        if counting:
            chosen.append(fixed_dates(counting[0]))
    return tuple(chosen)


def _month(month: str | None) -> np.datetime64 | None:
    return np.datetime64(month, "M") if month else None
