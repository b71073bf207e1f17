"""A million rows to all six dates, beside a plain loop and beside writing the columns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np
from dateutil.relativedelta import relativedelta

from ebill import bookfile
from ebill.batch import pairs
from ebill.dates import DAY
from ebill.rulebook import Scope, entered
from ebill.rules import DayOfMonth, DaysBeforeDue, GraceDays, PayBy, Rule
from tests.bench.measuring import Ratio, in_turn

ROWS = 1_000_000
LOOPED = 20_000
"""Rows given to the plain loop, whose time is scaled up: it is proportional to them."""


def rule_sets(count: int) -> list[tuple[Rule, ...]]:
    """Make distinct rule sets: every generation day with every length of grace and of pay-by."""
    generations: list[Rule] = [DaysBeforeDue(days) for days in range(5, 55)]
    generations += [DayOfMonth(day) for day in range(1, 28)]
    sets: list[tuple[Rule, ...]] = [
        (generation, GraceDays(grace), PayBy(days))
        for grace in range(20, 60)
        for days in range(2, 5)
        for generation in generations
    ]
    return sets[:: len(sets) // count][:count]


def plain_loop(rules: list[tuple[Any, ...]], which: list[int], months: list[date], bank: set[date]) -> None:
    """Compute the same dates as one would without this library: `datetime`, `dateutil`, a set of holidays."""

    def generated(rule: Any, month: date) -> date:
        if isinstance(rule, DaysBeforeDue):
            return month - timedelta(days=rule.days_before_due)
        return month + relativedelta(months=-1, day=rule.day_of_month)

    answers = []
    for row, month in zip(which, months, strict=True):
        generation, grace, pay_by = rules[row]
        following = generated(generation, month + relativedelta(months=1))
        safe, left = following, 4
        while left:
            safe -= timedelta(days=1)
            left -= safe.weekday() < 5 and safe not in bank
        answers.append(
            (
                month,
                generated(generation, month),
                month + timedelta(days=grace.days),
                following,
                following - timedelta(days=pay_by.days_before_next_invoice),
                safe,
            )
        )


def fill(columns: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """Write six columns of days, which is the least that any answer must do."""
    written = []
    for column in columns:
        new = np.empty(len(column), DAY)
        new[:] = column
        written.append(new)
    return written


def many_rows(count: int) -> Iterator[Ratio]:
    """Turn a million rows into all six dates."""
    book = bookfile.load(bookfile.path()).book
    sets = rule_sets(count)
    scopes = [Scope("PA", rows=entered(rules, "client", "bench")) for rules in sets]
    random = np.random.default_rng(1)
    which = random.integers(0, count, ROWS)
    months = np.datetime64("2026-01", "M") + random.integers(0, 24, ROWS)
    table = pairs.schedule(book, scopes, which, months)
    columns = list(table.columns.values())
    bank = {day for day, _ in book.calendar("XFED").closed_days(date(2025, 1, 1), date(2028, 12, 31))}
    looped = (sets, which[:LOOPED].tolist(), months[:LOOPED].astype(DAY).tolist(), bank)

    def fresh() -> object:
        book.forget()
        return pairs.schedule(book, scopes, which, months)

    taken = in_turn(
        {
            "tables built anew": (fresh, 1),
            "tables kept": (lambda: pairs.schedule(book, scopes, which, months), 1),
            "writing the columns": (lambda: fill(columns), 1),
            "plain datetime loop": (lambda: plain_loop(*looped), 1),
        },
        rounds=5,
    )
    loop = taken.median("plain datetime loop") * ROWS / LOOPED
    print(f"\n{ROWS:,} rows, {count:,} distinct rule sets, six dates each")
    for name in ("tables built anew", "tables kept"):
        print(
            f"  {name:20} {taken.median(name) * 1e3:9.1f} ms   {loop / taken.median(name):8.0f} x the plain loop"
            f"   {taken.median(name) / taken.median('writing the columns'):8.1f} x writing the columns"
        )
    print(f"  {'writing the columns':20} {taken.median('writing the columns') * 1e3:9.1f} ms")
    print(f"  {'plain datetime loop':20} {loop * 1e3:9.1f} ms   (from {LOOPED:,} rows)")
    for name in ("tables built anew", "tables kept"):
        yield taken.beside(name, "plain datetime loop", times=ROWS / LOOPED)
        yield taken.beside(name, "writing the columns")
