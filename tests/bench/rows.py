"""A million rows to all six dates and the posting window, beside a plain loop, numpy and DuckDB with a ready table."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from dateutil.relativedelta import relativedelta

from ebill import bookfile
from ebill.batch import pairs, payments
from ebill.batch.groups import Scopes
from ebill.dates import DAY
from ebill.rulebook import Scope, entered
from ebill.rules import DayOfMonth, DaysBeforeDue, GraceDays, PayBy, Rule
from tests.bench.measuring import Action, Ratio, in_turn
from tests.bench.servers import missing

ROWS = 1_000_000
GOAL = 1_500
"""How many times as fast as the plain loop it should be."""
LOOPED = 20_000
"""Rows given to the plain loop, whose time is scaled up: it is proportional to them."""


Column = np.ndarray[Any, Any]


class Made(NamedTuple):
    """Ready tables: of the dates of each pair, and of the window of each day."""

    pairs: pairs.Pairs
    windows: payments.Windows
    days: Column = np.arange(np.datetime64("2000-01-01", "D"), np.datetime64("2100-01-01", "D"))


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


def plain_loop(
    rules: list[tuple[Any, ...]], which: list[int], months: list[date], paid_on: list[date], bank: set[date]
) -> None:
    """Compute the same dates as one would without this library: `datetime`, `dateutil`, a set of holidays."""

    def business(day: date, count: int) -> date:
        while count or day.weekday() > 4 or day in bank:
            day += timedelta(days=1)
            count -= count > 0 and day.weekday() < 5 and day not in bank
        return day

    def generated(rule: Any, month: date) -> date:
        if isinstance(rule, DaysBeforeDue):
            return month - timedelta(days=rule.days_before_due)
        return month + relativedelta(months=-1, day=rule.day_of_month)

    answers = []
    for row, month, paid in zip(which, months, paid_on, strict=True):
        received = business(paid, 0)
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
                received,
                business(received, 2),
                business(received, 3),
            )
        )


def joined(which: Column, months: Column, paid_on: Column, made: Made) -> Callable[[], object] | None:
    """Join the rows with ready tables in DuckDB, to columns in memory; None where it is not installed."""
    if missing("duckdb"):
        return None
    duckdb = import_module("duckdb")
    connection = duckdb.connect()
    laid, windows, count = made.pairs, made.windows, len(made.days)
    numbers = np.arange(len(laid.reason) - 1)
    dates: dict[str, Column] = {name: column[:-1] for name, column in laid.columns.items()}
    posted: dict[str, Column] = {name: column[:count] for name, column in windows.columns.items()}
    tables: dict[str, dict[str, Column]] = {
        "asked": {"which": which, "month": (months - laid.first).astype(np.int64), "paid_on": paid_on},
        "dates": {"which": numbers // laid.width, "month": numbers % laid.width, **dates},
        "posted": {"paid_on": made.days, **posted},
    }
    for name, columns in tables.items():
        connection.register("given", pa.table(columns))
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given")  # noqa: S608  # our own words
        connection.unregister("given")
    query = (
        "SELECT dates.* EXCLUDE (which, month), posted.* EXCLUDE (paid_on) FROM asked "
        "JOIN dates USING (which, month) JOIN posted USING (paid_on)"
    )
    return lambda: connection.execute(query).to_arrow_table()


def many_rows(count: int) -> Iterator[Ratio]:
    """Turn a million rows into all six dates and the posting window of a payment."""
    book = bookfile.load(bookfile.path()).book
    sets = rule_sets(count)
    random = np.random.default_rng(1)
    which = random.integers(0, count, ROWS)
    months = np.datetime64("2026-01", "M") + random.integers(0, 24, ROWS)
    paid_on = np.datetime64("2026-01-01", "D") + random.integers(0, 730, ROWS)
    bank = {day for day, _ in book.calendar("XFED").closed_days(date(2025, 1, 1), date(2028, 12, 31))}
    few = slice(LOOPED)
    looped = (sets, which[few].tolist(), months[few].astype(DAY).tolist(), paid_on[few].tolist(), bank)

    def read() -> list[Scope]:
        """Make the scopes anew, too: nothing that is kept of them helps."""
        return [Scope("PA", rows=entered(rules, "client", "bench")) for rules in sets]

    def answer(scopes: list[Scope]) -> object:
        many = Scopes(book, scopes)
        laid = pairs.pairs(book, many, np.datetime64("2026-01", "M"), 24)
        return laid.rows(which, months), payments.windows(book, many).rows(which, paid_on)

    scopes = read()
    made = Made(pairs.pairs(book, scopes, np.datetime64("2026-01", "M"), 24), payments.windows(book, scopes))
    pair, window = made.pairs.numbers(which, months), made.windows.numbers(which, paid_on)

    def take() -> object:
        return [
            *(np.take(column, pair) for column in made.pairs.columns.values()),
            *(np.take(column, window) for column in made.windows.columns.values()),
        ]

    actions: dict[str, tuple[Action, int]] = {
        "tables built anew": (lambda: answer(scopes), 1),
        "tables ready": (lambda: (made.pairs.rows(which, months), made.windows.rows(which, paid_on)), 1),
        "numpy.take, numbers ready": (take, 1),
        "plain datetime loop": (lambda: plain_loop(*looped), 1),
    }
    if join := joined(which, months, paid_on, made):
        actions["DuckDB join, tables ready"] = join, 1
    taken = in_turn(actions, rounds=5)
    loop = taken.median("plain datetime loop") * ROWS / LOOPED
    print(f"\n{ROWS:,} rows, {count:,} distinct rule sets, six dates and the posting window each")
    for name in actions:
        spent = loop if name == "plain datetime loop" else taken.median(name)
        print(f"  {name:26} {spent * 1e3:9.1f} ms   {loop / spent:8.0f} x the plain loop")
    take_alone = loop / taken.median("numpy.take, numbers ready")
    if take_alone < GOAL:
        print(
            f"  {GOAL:,} x is out of reach: to take the columns from ready tables is but {take_alone:.0f} x by itself"
        )
    for name in ("tables built anew", "tables ready"):
        yield taken.beside(name, "plain datetime loop", times=ROWS / LOOPED)
        for other in set(actions) & {"numpy.take, numbers ready", "DuckDB join, tables ready"}:
            yield taken.beside(name, other)


def ten_times_the_rows() -> Iterator[Ratio]:
    """Turn ten million rows into dates: as many times as long, and hardly more memory than they fill."""
    book = bookfile.load(bookfile.path()).book
    scopes = [Scope("PA", rows=entered(rules, "client", "bench")) for rules in rule_sets(60)]
    random = np.random.default_rng(1)
    which = random.integers(0, 60, 10 * ROWS)
    months = np.datetime64("2026-01", "M") + random.integers(0, 24, 10 * ROWS)
    few = slice(ROWS)
    taken = in_turn(
        {
            "ten million rows": (lambda: pairs.schedule(book, scopes, which, months), 1),
            "one million rows": (lambda: pairs.schedule(book, scopes, which[few], months[few]), 5),
        },
        rounds=3,
    )
    tracemalloc.start()
    table = pairs.schedule(book, scopes, which, months)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    output = table.reason.nbytes + sum(column.nbytes for column in table.columns.values())
    print(f"\n10,000,000 rows: {taken.median('ten million rows') * 1e3:.0f} ms, against ten times", end=" ")
    print(f"{taken.median('one million rows') * 1e3:.1f} ms; at most {peak / output:.3f} of the output in memory")
    yield taken.beside("ten million rows", "one million rows", "a row of ten million / of one million", times=10)
