"""A million rows to all six dates and the posting window, beside loops, and numpy and DuckDB with a ready table.

There are two loops: one as it would be written with the libraries that are there for it, and one by somebody who has
taken out of it whatever takes long.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from importlib import import_module
from typing import Any, NamedTuple

import holidays
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
"""How many times as fast as the loop with the libraries it should be."""
LOOPED = 20_000
"""Rows given to the loops, whose times are scaled up: they are proportional to them."""
LOOP, PLAIN = "relativedelta + holidays loop", "plain datetime loop"
READ, BUILT, OURS_READY = "tables built anew", "tables built, rules read", "tables ready"
"""Ours: all of it; for scopes whose rules were read before; for tables that were built before, too."""
TAKE = "numpy.take, numbers ready"
READY, TAKEN_IN = "DuckDB join, tables ready", "DuckDB join, tables taken in"

Column = np.ndarray[Any, Any]
Answers = list[tuple[date, ...]]


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


def loop(rules: list[Any], which: list[int], months: list[date], paid_on: list[date]) -> Answers:
    """Compute the same dates as one would without this library: with `relativedelta` and `holidays`."""
    fed = holidays.financial_holidays("XFED")

    def generated(rule: Any, month: date) -> date:
        if isinstance(rule, DaysBeforeDue):
            return month - relativedelta(days=rule.days_before_due)
        return month + relativedelta(months=-1, day=rule.day_of_month)

    answers: Answers = []
    for row, month, paid in zip(which, months, paid_on, strict=True):
        generation, grace, pay_by = rules[row]
        following = generated(generation, month + relativedelta(months=1))
        received = paid if fed.is_working_day(paid) else fed.get_nth_working_day(paid, 1)
        answers.append(
            (
                generated(generation, month),
                month,
                month + relativedelta(days=grace.days),
                following,
                following - relativedelta(days=pay_by.days_before_next_invoice),
                fed.get_nth_working_day(following, -4),
                received,
                fed.get_nth_working_day(received, 2),
                fed.get_nth_working_day(received, 3),
            )
        )
    return answers


def plain_loop(rules: list[Any], which: list[int], months: list[date], paid_on: list[date], bank: set[date]) -> Answers:
    """Compute the same dates by `datetime` alone wherever it will do, and a set of the days on which banks rest."""

    def business(day: date, count: int) -> date:
        while count or day.weekday() > 4 or day in bank:
            day += timedelta(days=1)
            count -= count > 0 and day.weekday() < 5 and day not in bank
        return day

    def generated(rule: Any, month: date) -> date:
        if isinstance(rule, DaysBeforeDue):
            return month - timedelta(days=rule.days_before_due)
        return month + relativedelta(months=-1, day=rule.day_of_month)

    answers: Answers = []
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
                generated(generation, month),
                month,
                month + timedelta(days=grace.days),
                following,
                following - timedelta(days=pay_by.days_before_next_invoice),
                safe,
                received,
                business(received, 2),
                business(received, 3),
            )
        )
    return answers


def refuse_unlike(looped: list[Answers], table: pairs.Table, posted: payments.Posted) -> None:
    """Raise ValueError where what is timed beside each other does not answer the same."""
    columns = [*map(table.dates, table.days), *map(posted.dates, posted.days)]
    ours = [*zip(*(column[:LOOPED].tolist() for column in columns), strict=True)]
    for answers in looped:
        wrong = [(number, *both) for number, both in enumerate(zip(ours, answers, strict=True)) if both[0] != both[1]]
        if wrong:
            raise ValueError(f"{len(wrong)} of {LOOPED} rows differ, the first are {wrong[:3]}")


def joined(which: Column, months: Column, paid_on: Column, made: Made) -> dict[str, Callable[[], object]]:
    """Join the rows with tables in DuckDB, to columns in memory; nothing where it is not installed.

    It has the tables ready, or takes them in first: what it joins, somebody has built for it in any case.
    """
    if missing("duckdb"):
        return {}
    duckdb = import_module("duckdb")
    connection = duckdb.connect()
    laid, windows, count = made.pairs, made.windows, len(made.days)
    numbers = np.arange(len(laid.reason) - 1)
    dates: dict[str, Column] = {name: laid.dates(name)[:-1] for name in laid.days}
    posted: dict[str, Column] = {name: windows.dates(name)[:count] for name in windows.days}
    tables: dict[str, dict[str, Column]] = {
        "asked": {"which": which, "month": (months - laid.first).astype(np.int64), "paid_on": paid_on},
        "dates": {"which": numbers // laid.width, "month": numbers % laid.width, **dates},
        "posted": {"paid_on": made.days, **posted},
    }

    def take_in(*names: str) -> None:
        for name in names:
            connection.register("given", pa.table(tables[name]))
            connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM given")  # noqa: S608  # our own words
            connection.unregister("given")

    take_in(*tables)
    query = (
        "SELECT dates.* EXCLUDE (which, month), posted.* EXCLUDE (paid_on) FROM asked "
        "JOIN dates USING (which, month) JOIN posted USING (paid_on)"
    )

    def join() -> object:
        return connection.execute(query).to_arrow_table()

    def take_in_and_join() -> object:
        take_in("dates", "posted")
        return join()

    return {READY: join, TAKEN_IN: take_in_and_join}


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
    looped = sets, which[few].tolist(), months[few].astype(DAY).tolist(), paid_on[few].tolist()

    def read() -> list[Scope]:
        """Make the scopes anew, too: nothing that is kept of them helps."""
        return [Scope("PA", rows=entered(rules, "client", "bench")) for rules in sets]

    def answer(many: Scopes) -> tuple[pairs.Table, payments.Posted]:
        laid = pairs.pairs(book, many, np.datetime64("2026-01", "M"), 24)
        return laid.rows(which, months), payments.windows(book, many).rows(which, paid_on)

    scopes = read()
    many = Scopes(book, scopes)
    refuse_unlike([loop(*looped), plain_loop(*looped, bank)], *answer(many))
    made = Made(pairs.pairs(book, scopes, np.datetime64("2026-01", "M"), 24), payments.windows(book, scopes))
    pair, window = made.pairs.numbers(which, months), made.windows.numbers(which, paid_on)

    def take() -> object:
        return [
            *(np.take(column, pair) for column in made.pairs.days.values()),
            *(np.take(column, window) for column in made.windows.days.values()),
        ]

    actions: dict[str, tuple[Action, int]] = {
        READ: (lambda: answer(Scopes(book, scopes)), 1),
        BUILT: (lambda: answer(many), 1),
        OURS_READY: (lambda: (made.pairs.rows(which, months), made.windows.rows(which, paid_on)), 1),
        TAKE: (take, 1),
        LOOP: (lambda: loop(*looped), 1),
        PLAIN: (lambda: plain_loop(*looped, bank), 1),
    }
    actions |= {name: (join, 1) for name, join in joined(which, months, paid_on, made).items()}
    taken = in_turn(actions, rounds=5)
    whole = {name: taken.median(name) * (ROWS / LOOPED if name in (LOOP, PLAIN) else 1) for name in actions}
    print(f"\n{ROWS:,} rows, {count:,} distinct rule sets, six dates and the posting window each")
    for name, spent in whole.items():
        print(f"  {name:29} {spent * 1e3:9.1f} ms   {whole[LOOP] / spent:8.0f} x the loop with the libraries")
    print(f"  {GOAL:,} x is the goal")
    for name in (READ, BUILT, OURS_READY):
        for other in (LOOP, PLAIN):
            yield taken.beside(name, other, times=ROWS / LOOPED)
        for other in set(actions) & {TAKE, READY}:
            yield taken.beside(name, other)
    for name in (READ, BUILT) if TAKEN_IN in actions else ():
        yield taken.beside(name, TAKEN_IN)


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
    output = table.reason.nbytes + sum(column.nbytes for column in table.days.values())
    print(f"\n10,000,000 rows: {taken.median('ten million rows') * 1e3:.0f} ms, against ten times", end=" ")
    print(f"{taken.median('one million rows') * 1e3:.1f} ms; at most {peak / output:.3f} of the output in memory")
    yield taken.beside("ten million rows", "one million rows", "a row of ten million / of one million", times=10)
