"""The package agrees with the oracle, which walks one day at a time.

First a million dates of drawn lives, in which every rule meets every other; then each rule alone, in every way it
can be written: all of them, because a sample of the 11,532 pairs of a due and a generation day passes a claim that 12
of them break. `ORACLE_SEED` draws other lives than the usual ones.
"""

import os
import random
from calendar import isleap
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import numpy as np
import pytest
from holidays import country_holidays, financial_holidays

from ebill.dates import FIRST_DAY, Days, library_calendar
from ebill.errors import DatesOutOfOrder
from ebill.posting import day_without, latest_in_time, posts, received
from ebill.questions import PostingQuestion
from ebill.service import posting
from tests import oracle
from tests.strategies import (
    CALENDARS,
    CLOSURES,
    DAYS_OF_MONTH,
    DEFAULTS,
    DUES,
    GENERATIONS,
    GRACES,
    MONTH_OFFSETS,
    PAY_BYS,
    ROLLS,
    WEEKDAYS,
    Case,
    Data,
    calendar,
    draw_case,
    house,
    month,
    rule,
    ways,
    written,
)
from tests.test_posting import CLOCKS, scan
from tests.test_schedule import check_case

pytestmark = pytest.mark.anywhere

DATES = 1_000_000
PARTS = 10
SEED = os.environ.get("ORACLE_SEED", "2026-08-01")

CENTURY = [date(2000, 1, 1) + timedelta(days) for days in range(36_525)]
MONTHS = [oracle.months_after(date(2000, 1, 1), months) for months in range(1200)]

# A year is one of 14: it is a leap year or not, and begins on one of seven weekdays. That settles the weekday and the
# length of each of its months and of the months a quarter of a year around, which is as far back as a rule looks. So
# one year of each shape stands for all; the ends of the century are added for themselves.
SHAPES = {(date(year, 1, 1).weekday(), isleap(year)): year for year in range(2095, 2000, -1)}
YEARS = sorted({2000, 2096, 2097, 2098, 2099, *SHAPES.values()})
DAYS = [day for day in CENTURY if day.year in YEARS]
# Counting days on knows nothing of weekdays: it is enough to begin everywhere around each kind of February.
ENDS = [day for day in CENTURY if day.year in (2000, 2096, 2097, 2098, 2099)]
# Every 761st day, a prime, falls on all weekdays and all over the month.
SOME = CENTURY[::761]


def as_array(days: Sequence[date]) -> Days:
    return np.array(days, "datetime64[D]")


def shapes_of(case: Case) -> set[str]:
    """Name what a life is made of, to show that the draw leaves nothing out."""
    found = {name for name in ("exceptions", "first_coverage_month", "last_coverage_month") if getattr(case, name)}
    found |= {f"{row.kind} changes" for row in case.rows if row.since > "2000-01"}
    for row in case.rows:
        if isinstance(row.rule, dict):
            found |= {f"{row.kind} by {key}" for key in row.rule}
            found |= {
                f"{row.kind} {key} {row.rule.get(key)}"
                for key in ("roll", "counting", "unit", "months_before_due", "month_offset")
            }
        else:
            found.add(f"{row.kind} {row.rule}")
    return found


EVERYTHING = {
    *("exceptions", "first_coverage_month", "last_coverage_month"),
    *(f"{kind} changes" for kind in (*DEFAULTS, "grace_floor", "skip_coverage_months")),
    *(f"calendar {name}" for name in CALENDARS),
    *(f"{kind} roll {roll}" for kind in ("due", "generation", "grace", "grace_floor", "pay_by") for roll in ROLLS),
    *(f"{kind} by {way}" for kind in ("grace", "grace_floor") for way in GRACES),
    *(f"grace counting {counting}" for counting in (None, "after_due", "from_due")),
    *(f"generation by {way}" for way in GENERATIONS),
    *(f"generation months_before_due {months}" for months in (None, 0, 1, 2, 3)),
    *(f"due month_offset {months}" for months in (None, *MONTH_OFFSETS)),
    *(f"pay_by unit {unit}" for unit in (None, "calendar", "business")),
}


@pytest.mark.parametrize("part", [pytest.param(part, id=f"seed {SEED}, part {part}") for part in range(PARTS)])
def test_a_million_drawn_dates_are_those_of_the_oracle(part: int) -> None:
    rng = random.Random(f"{SEED} {part}")  # noqa: S311  # no secret
    compared = 0
    seen = set()
    while compared < DATES // PARTS:
        case = draw_case(rng, 60)
        compared += check_case(case)
        seen |= shapes_of(case)
    assert compared * PARTS >= 1_000_000
    assert seen >= EVERYTHING


# Each rule alone, in every way it can be written


def check_rule(kind: str, written_rule: Data, origins: Sequence[date], expected: Callable[[Data, date], date]) -> None:
    """Compare a rule, applied to many days at once, with the oracle's, applied to one after the other."""
    days = rule(kind, written_rule).apply(as_array(origins), calendar("XFED")).tolist()
    wanted = [expected(written_rule, origin) for origin in origins]
    if days != wanted:
        raise AssertionError(next(row for row in zip([written_rule] * len(days), origins, days, wanted, strict=True)))


def due(written_rule: Data, coverage_month: date) -> date:
    return oracle.due_date(written_rule, coverage_month, "XFED")


def generation(written_rule: Data, due_date: date) -> date:
    return oracle.generation_date(written_rule, due_date, "XFED")


def grace(written_rule: Data, due_date: date) -> date:
    return oracle.grace_end_date(written_rule, due_date, "XFED")


def pay_by(written_rule: Data, next_generation: date) -> date:
    return oracle.recommended_pay_by_date(written_rule, next_generation, "XFED")


@pytest.mark.parametrize("offset", MONTH_OFFSETS)
def test_every_due_day_and_offset_in_every_month(offset: int) -> None:
    for written_rule in ways(day=DAYS_OF_MONTH, month_offset=[offset]):
        applied = rule("due", written_rule).apply(np.array(MONTHS, "datetime64[M]"), calendar("XFED"))
        assert applied.tolist() == [due(written_rule, coverage_month) for coverage_month in MONTHS], written_rule


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(ways(days_before_due=range(1, 91)), id="days before due"),
        pytest.param(ways(day_of_month=DAYS_OF_MONTH, months_before_due=[None]), id="latest day of a month"),
        pytest.param(ways(day_of_month=DAYS_OF_MONTH, months_before_due=range(4)), id="day of a month"),
        pytest.param(ways(weekday=WEEKDAYS, nth=[1, 2, 3, 4, -1, -2, -3, -4]), id="latest nth weekday"),
        pytest.param(
            ways(weekday=WEEKDAYS, nth=[1, 2, 3, 4, -1, -2, -3, -4], months_before_due=range(4)), id="nth weekday"
        ),
        pytest.param(ways(business_day=[*range(-15, 0), *range(1, 16)]), id="latest business day"),
        pytest.param(ways(business_day=[*range(-15, 0), *range(1, 16)], months_before_due=range(4)), id="business day"),
    ],
)
def test_every_generation_rule_from_every_due_day(rules: list[Data]) -> None:
    for written_rule in rules:
        # With `months_before_due` only the month of the due date counts, not its day.
        whole = "months_before_due" not in written_rule
        check_rule(
            "generation", written_rule, DAYS if whole else [day for day in DAYS if day.day in (1, 28)], generation
        )


@pytest.mark.parametrize(
    "rules", [ways(days=range(367), counting=["after_due", "from_due"]), GRACES["calendar_months"]]
)
def test_every_grace_from_every_due_day(rules: list[Data]) -> None:
    for written_rule in rules:
        check_rule("grace", written_rule, ENDS, grace)


def test_every_pay_by_before_every_generation() -> None:
    for written_rule in ways(days_before_next_invoice=range(1, 61), unit=["calendar", "business"]):
        check_rule("pay_by", written_rule, [day for day in ENDS if day.year > 2000][::2], pay_by)


@pytest.mark.parametrize(
    ("kind", "rules", "expected"),
    [
        pytest.param("generation", [way for ways in GENERATIONS.values() for way in ways], generation, id="generation"),
        pytest.param("grace", [way for ways in GRACES.values() for way in ways], grace, id="grace"),
        pytest.param("pay_by", PAY_BYS, pay_by, id="pay_by"),
    ],
)
def test_every_way_to_write_a_rule_with_every_roll(
    kind: str, rules: list[Data], expected: Callable[[Data, date], date]
) -> None:
    for written_rule in rules:
        check_rule(kind, written_rule, SOME, expected)


def test_every_way_to_write_a_due_date_with_every_roll() -> None:
    months = MONTHS[::25]
    for written_rule in DUES:
        applied = rule("due", written_rule).apply(np.array(months, "datetime64[M]"), calendar("XFED"))
        assert applied.tolist() == [due(written_rule, coverage_month) for coverage_month in months], written_rule


@pytest.mark.parametrize("name", CALENDARS)
def test_every_roll_of_every_day_of_the_century(name: str) -> None:
    days = as_array(CENTURY)
    for roll in ROLLS:
        rolled = [oracle.rolled(day, {"roll": roll}, name) for day in CENTURY]
        assert calendar(name).roll(days, roll).tolist() == rolled, roll  # type: ignore[arg-type]
    assert calendar(name).is_open(days).tolist() == [oracle.is_business_day(day, name) for day in CENTURY]


@pytest.mark.parametrize("name", CALENDARS)
def test_every_business_day_of_every_month(name: str) -> None:
    for nth in [*range(-15, 0), *range(1, 16)]:
        days = calendar(name).nth_business_day(np.array(MONTHS, "datetime64[M]"), nth)
        assert days.tolist() == [oracle.nth_business_day(first, name, nth) for first in MONTHS], nth


# Order


def first_bad_month(**rules: Any) -> str | None:
    """Name the month that the package refuses rules for."""
    case = Case(written(**rules), "2000-01", 1200)
    try:
        case.schedule().refuse_disorder()
    except DatesOutOfOrder as refusal:
        return refusal.coverage_month
    return None


def test_no_due_day_is_too_early_for_a_number_of_days_before_it() -> None:
    """All 434 x 90 pairs keep their order in all 1,200 months, which the grace makes no difference to."""
    counts = [rule("generation", {"days_before_due": count}) for count in range(1, 91)]
    for written_due in ways(day=DAYS_OF_MONTH, month_offset=MONTH_OFFSETS):
        days = rule("due", written_due).apply(np.array(MONTHS, "datetime64[M]"), calendar("XFED"))
        for days_before in counts:
            assert (days_before.apply(days, calendar("XFED")) < days).all(), (written_due, days_before)
    # The refusal itself is the same for each due day, whatever the offset and the count.
    for day in DAYS_OF_MONTH:
        for count in (1, 90):
            rules: Data = {"due": {"day": day}, "generation": {"days_before_due": count}}
            assert first_bad_month(**rules) is None
            assert oracle.first_bad_month({**DEFAULTS, **rules}, "2000-01", "2004-12") is None


@pytest.mark.parametrize("day", DAYS_OF_MONTH)
def test_the_first_bad_month_of_every_pair_of_days_in_one_month(day: int) -> None:
    """Only a generation in the due date's own month can come too late; some pairs do so in some months only."""
    for generation_day in DAYS_OF_MONTH:
        rules = {"due": {"day": day}, "generation": {"day_of_month": generation_day, "months_before_due": 0}}
        # Without rolls and n-th days nothing but the length of the month counts, and four years have all lengths.
        expected = oracle.first_bad_month({**DEFAULTS, **rules}, "2000-01", "2003-12")
        assert first_bad_month(**rules) == expected, rules


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param({"grace": {"days": 0, "counting": "from_due"}}, id="no grace, counted from the day before"),
        pytest.param({"grace": {"days": 0}}, id="no grace"),
        pytest.param({"grace": {"days": 0, "roll": "preceding"}}, id="no grace, rolled back"),
        pytest.param({"grace": {"days": 2, "roll": "preceding"}}, id="two days, rolled back: Independence Day"),
        pytest.param({"grace": {"days": 3, "roll": "preceding"}}, id="three days, rolled back"),
        pytest.param({"due": {"day": -1}, "grace": {"calendar_months": 1, "roll": "preceding"}}, id="month's end"),
        pytest.param({"due": {"day": -1, "roll": "preceding"}, "grace": {"calendar_months": 1}}, id="month's end, due"),
        pytest.param({"generation": {"days_before_due": 1, "roll": "following"}}, id="one day before, rolled on"),
        pytest.param({"generation": {"days_before_due": 3, "roll": "following"}}, id="three days before, rolled on"),
        pytest.param({"generation": {"days_before_due": 4, "roll": "following"}}, id="four days before, rolled on"),
        pytest.param(
            {"due": {"day": 8}, "generation": {"weekday": "MO", "nth": 1, "months_before_due": 0}}, id="first Monday"
        ),
        pytest.param(
            {"due": {"day": 7}, "generation": {"weekday": "MO", "nth": 1, "months_before_due": 0}}, id="a Monday 7th"
        ),
        pytest.param(
            {"due": {"day": 14}, "generation": {"business_day": 9, "months_before_due": 0}}, id="ninth business day"
        ),
        pytest.param(
            {"due": {"day": 16}, "generation": {"business_day": 10, "months_before_due": 0}}, id="tenth business day"
        ),
        pytest.param(
            {
                "due": {"day": 7},
                "generation": {"weekday": "MO", "nth": 1, "months_before_due": 0},
                "skip_coverage_months": [2, 5, 8, 9, 10],
            },
            id="a Monday 7th, but not in skipped months",
        ),
    ],
)
def test_the_first_bad_month_where_weekdays_and_holidays_decide(rules: Data) -> None:
    assert first_bad_month(**rules) == oracle.first_bad_month({**DEFAULTS, **rules})


# Payments


@cache
def closed_days(name: str) -> frozenset[date]:
    """Give the holidays of a calendar straight from the library, for the second oracle: numpy's own counting."""
    years = range(1999, 2101)
    market = financial_holidays("XFED", years=years) if name.startswith("XFED") else None
    days = market or (financial_holidays(name, years=years) if name == "XNYS" else country_holidays("US", "PA", years))
    return frozenset(days) | (frozenset(CLOSURES) if name.endswith("SHUT") else frozenset())


@pytest.mark.parametrize("name", CALENDARS)
@pytest.mark.parametrize("lags", [(0, 0), (2, 3), (1, 7), (0, 30)], ids=lambda lags: f"{lags[0]} to {lags[1]} days")
def test_posting_of_every_day_of_the_century(name: str, lags: tuple[int, int]) -> None:
    """The package, the walker of days and numpy's own counting agree, on both sides of the cut-off."""
    posting_rule = {"min_business_days": lags[0], "max_business_days": lags[1], "cutoff": "17:00"}
    rules = {"calendar": name, "timezone": "America/New_York", "posting": posting_rule}
    paid_on = as_array(CENTURY)
    closed = as_array(sorted(closed_days(name)))
    for late in (False, True):
        hour = time(17) if late else time(16, 59, 59, 999_999)
        walked = [oracle.posting(rules, datetime.combine(day, hour)) for day in CENTURY]
        received_on = received(paid_on, np.array(late), calendar(name))
        posts_from, posts_by = posts(received_on, rule("posting", posting_rule), calendar(name))
        assert received_on.tolist() == [window["received_date"] for window in walked]
        assert posts_from.tolist() == [window["posts_from_date"] for window in walked]
        assert posts_by.tolist() == [window["posts_by_date"] for window in walked]
        for days, count in ((received_on, 0), (posts_from, lags[0]), (posts_by, lags[1])):
            assert (days == np.busday_offset(paid_on + late, count, roll="forward", holidays=closed)).all()


def test_the_latest_payment_in_time_for_every_day_of_the_century() -> None:
    for low, high in ((2, 3), (0, 0), (0, 1), (5, 10)):
        posting_rule = {"min_business_days": low, "max_business_days": high, "cutoff": "17:00"}
        rules = {"calendar": "XFED", "timezone": "America/New_York", "posting": posting_rule}
        latest = latest_in_time(as_array(CENTURY), rule("posting", posting_rule), calendar("XFED"))
        assert latest.tolist() == [oracle.safe_pay_by_date(rules, day) for day in CENTURY]


@pytest.mark.parametrize("hour", ["", "T00:00", "T16:59:59.999999", "T17:00", "T17:00:00.000001", "T23:59"])
def test_posting_as_it_is_asked_for_on_every_day_of_two_years(hour: str) -> None:
    for day in (day for day in CENTURY if day.year in (2026, 2027)):
        paid_at = datetime.fromisoformat(f"{day}{hour}") if hour else day
        answer = posting(house(), PostingQuestion("PA", paid_at))
        expected = oracle.posting(DEFAULTS, paid_at)
        assert {name: answer[name] for name in expected} == expected  # type: ignore[literal-required]


@pytest.mark.parametrize("name", ["XFED", "XNYS", "US", "US-PA", "US-NY", "US-DE", "US-WV", "XPAR"])
def test_a_calendar_is_closed_when_the_library_says_so(name: str) -> None:
    bound = library_calendar(name)
    days = np.arange(np.datetime64(bound.first), np.datetime64(bound.last) + 1).astype("datetime64[D]")
    assert bound.is_open(days).tolist() == [oracle.is_business_day(day, name) for day in days.tolist()]


def test_in_every_zone_a_cutoff_is_found_not_daily_as_by_looking_at_every_day() -> None:
    """One of five times for each zone of the world, by turns, for the first ten years."""
    for index, zone in enumerate(sorted(available_timezones())):
        cutoff = CLOCKS[index % len(CLOCKS)]
        found = day_without(cutoff, zone)
        assert found == scan(cutoff, zone, FIRST_DAY, found or date(2009, 12, 31)), (zone, cutoff)


def test_no_month_beyond_the_supported_ones_is_invented() -> None:
    with pytest.raises(oracle.NoInvoiceError):
        oracle.invoice(DEFAULTS, "2100-01")
    with pytest.raises(oracle.NoInvoiceError):
        oracle.invoice(DEFAULTS, "1999-12")
    assert month("2099-12") + 1 == month("2100-01")
