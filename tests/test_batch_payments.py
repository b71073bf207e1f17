"""When many payments post is what it is for each alone, and a row that has no dates says why and stops no other."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import pytest

from ebill.batch import payments
from ebill.batch.columns import REASONS
from ebill.batch.payments import POSTING_NAMES
from ebill.dates import DAY
from ebill.errors import DatesOutOfOrder, UnknownState
from ebill.rulebook import Scope
from tests import oracle
from tests.books import book, entered, row, section, small

QUICK = '{ min_business_days = 0, max_business_days = 1, cutoff = "00:00" }'
SLOW = '{ min_business_days = 5, max_business_days = 9, cutoff = "23:59" }'
BOOK = book(
    small(
        row("states.PA", f"posting = {SLOW}", since="2030-02"),
        section("states.NY", "generation = { day_of_month = 9 }", f"posting = {QUICK}"),
        section("states.JP", "generation = { days_before_due = 20 }", 'calendar = "JP"'),
        section("states.DE", "generation = { days_before_due = 20 }", 'calendar = "US-PA"'),
        row("states.DE", 'calendar = "XFED"', since="2010-01"),
    )
)
HOUSE = {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"}
AFTER = {"min_business_days": 5, "max_business_days": 9, "cutoff": "23:59"}
AT_ONCE = {"min_business_days": 0, "max_business_days": 1, "cutoff": "00:00"}
SCOPES = [
    Scope("PA"),
    Scope("NY"),
    Scope("JP"),
    Scope("DE"),
    Scope("PA", rows=entered("client", posting=AT_ONCE)),
    Scope("NY", rows=entered("client", generation={"day_of_month": 1, "months_before_due": 0})),
    Scope("TX"),
]


def in_force(number: int, day: date) -> dict[str, Any]:
    """Say in the specification's words under which rules an account pays on a day."""
    rules = [AFTER if day >= date(2030, 2, 1) else HOUSE, AT_ONCE, HOUSE, HOUSE, AT_ONCE][number]
    calendar = ["XFED", "XFED", "JP", "XFED" if day >= date(2010, 1, 1) else "US-PA", "XFED"][number]
    return {"posting": rules, "calendar": calendar}


GOOD = 5
"""The scopes that can pay; those after them cannot, each for a reason of its own."""
DAYS = [date(2000, 1, 1) + timedelta(number) for number in range(36_525)]


def table_of(which: Sequence[int], paid_on: Sequence[Any], minute: Sequence[int] | None = None) -> payments.Posted:
    return payments.window(
        BOOK, SCOPES, np.array(which), np.array(paid_on, DAY), None if minute is None else np.array(minute)
    )


def alone(number: int, day: date, minute: int) -> list[date | None]:
    clock = datetime.combine(day, time(minute // 60, minute % 60)) if minute >= 0 else day
    try:
        found = oracle.posting(in_force(number, day), clock)
    except ValueError:
        return [None] * 3
    return [found[name] for name in POSTING_NAMES]


def test_twenty_thousand_payments_are_what_the_oracle_says_of_each() -> None:
    rng = np.random.default_rng(20_260_702)
    which, days = rng.integers(0, GOOD, 20_000), [DAYS[index] for index in rng.integers(0, len(DAYS), 20_000)]
    minute = rng.choice([-1, 0, 719, 1019, 1020, 1021, 1438, 1439], 20_000)
    found = table_of(which.tolist(), days, minute.tolist())
    wanted = [alone(*row) for row in zip(which.tolist(), days, minute.tolist(), strict=True)]
    for index, name in enumerate(POSTING_NAMES):
        assert found.dates(name).tolist() == [row[index] for row in wanted]
    assert found.reason.tolist() == [0 if row[2] else REASONS.index("outside_calendar") for row in wanted]
    assert set(which.tolist()) == set(range(GOOD))


def test_every_day_of_a_century_is_what_it_is_alone() -> None:
    for number in (0, 2):
        for minute in (-1, 1020):
            found = table_of([number] * len(DAYS), DAYS, [minute] * len(DAYS))
            step = slice(None, None, 7) if number else slice(None, None, 5)
            wanted = [alone(number, day, minute) for day in DAYS[step]]
            columns = [found.dates(name)[step].tolist() for name in POSTING_NAMES]
            assert list(map(list, zip(*columns, strict=True))) == wanted


def test_a_worked_payment() -> None:
    """Section 2 of the specification: Thu 2026-07-02 at noon; from 17:00 on, Friday's, a bank day, receives it."""
    found = table_of([0, 0], ["2026-07-02", "2026-07-02"], [720, 1020])
    assert [str(found.dates(name)[0]) for name in POSTING_NAMES] == ["2026-07-02", "2026-07-06", "2026-07-07"]
    assert [str(found.dates(name)[1]) for name in POSTING_NAMES] == ["2026-07-03", "2026-07-07", "2026-07-08"]


def test_a_bare_date_is_before_the_cut_off_even_one_at_midnight() -> None:
    found = table_of([1, 1, 1], ["2026-07-01"] * 3, [-1, 0, 1])
    assert [str(day) for day in found.dates("received_date")] == ["2026-07-01", "2026-07-02", "2026-07-02"]
    assert str(table_of([1], ["2026-07-01"]).dates("received_date")[0]) == "2026-07-01"


@pytest.mark.parametrize(
    ("number", "day", "reason"),
    [
        (0, "1999-12-31", "day_not_supported"),
        (0, "2000-01-01", "ok"),
        (0, "2099-12-31", "ok"),
        (0, "2100-01-01", "day_not_supported"),
        (0, "NaT", "day_not_supported"),
        (2, "2099-12-30", "outside_calendar"),
        (2, "2099-12-01", "ok"),
        (5, "2026-08-01", "refused"),
        (6, "2026-08-01", "refused"),
        (6, "1999-08-01", "day_not_supported"),
    ],
)
def test_a_payment_without_dates_says_why_and_stops_no_other(number: int, day: str, reason: str) -> None:
    found = table_of([0, number, 0], ["2026-07-02", day, "2026-07-02"], [-1, 1439, -1])
    assert [REASONS[code] for code in found.reason] == ["ok", reason, "ok"]
    for name in POSTING_NAMES:
        assert np.isnat(found.dates(name)).tolist() == [False, reason != "ok", False]


def test_where_all_pay_alike_a_payment_without_dates_says_why_too() -> None:
    days = np.array(["2026-07-02", "2100-01-01", "2099-12-31", "1999-12-31", "NaT"], DAY)
    found = payments.window(BOOK, [Scope("NY")], np.zeros(5, int), days, np.full(5, 1439))
    assert [REASONS[code] for code in found.reason] == [*("ok", "day_not_supported"), "ok", *["day_not_supported"] * 2]
    assert np.isnat(found.dates("posts_by_date")).tolist() == [False, True, False, True, True]


def test_the_refusal_of_each_account_is_at_hand() -> None:
    refused = payments.windows(BOOK, SCOPES).refused
    assert {number: type(refusal) for number, refusal in refused.items()} == {5: DatesOutOfOrder, 6: UnknownState}


def test_no_payments_give_no_rows_and_no_accounts_are_none() -> None:
    for scopes in ([], SCOPES):
        found = payments.window(BOOK, scopes, np.array([], int), np.array([], DAY))
        assert len(found.reason) == 0
        assert tuple(found.days) == POSTING_NAMES
    with pytest.raises(IndexError):
        payments.window(BOOK, [], np.array([0]), np.array(["2026-08-01"], DAY))


@pytest.mark.parametrize("paid_on", [["2026-08-01T00:00"], ["2026-08"]], ids=["minutes", "months"])
def test_days_are_days_and_nothing_else_is_taken_for_them(paid_on: list[str]) -> None:
    with pytest.raises(TypeError, match=r"^`paid_on` are datetime64\[D\], not "):
        payments.window(BOOK, SCOPES, np.array([0]), np.array(paid_on, "datetime64"))


@pytest.mark.parametrize(
    ("minute", "error"), [(np.array([1.0]), TypeError), (np.array([True]), TypeError), (np.array([1, 2]), ValueError)]
)
def test_minutes_are_whole_numbers_one_for_each_payment(minute: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^`minute`"):
        payments.window(BOOK, SCOPES, np.array([0]), np.array(["2026-08-01"], DAY), minute)


@pytest.mark.parametrize("which", [[-1], [len(SCOPES)]], ids=str)
def test_a_payment_of_no_account_is_refused(which: list[int]) -> None:
    with pytest.raises(IndexError):
        table_of(which, ["2026-08-01"])
    table = payments.windows(BOOK, SCOPES[:1])
    with pytest.raises(IndexError, match=r"^`numbers` must be from 0 to "):
        table.take(np.array([-1 if which == [-1] else len(table.reason)]))
