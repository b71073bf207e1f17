"""What must hold of the rules whatever they are: the properties of the trust document (section 2.1), by its numbers.

One test each, named for it. Where a claim looks right and is false, the test shows where it fails, so that nobody
asserts it again. Enumerated where that is feasible; otherwise drawn by `PROFILE`, the same on every run.

Left out, for want of what they speak of in the rules:

- 16, partly: there are no stored clients here; other scopes of a rule book stand for them
- 37: no answer counts the days left
- 38, partly: no answer knows how much was paid
- 40: no answer has a paid-to date
- 46, partly: the replay of the audit is the store's
- 49, partly: ICS and CSV are formats, not rules; what is written in the words of the rule book is read back
- 50, partly: concurrent edits of the rule book's file are the file's
"""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pytest
from dateutil.easter import easter
from freezegun import freeze_time
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ebill.batch import pairs
from ebill.dates import DAY, MONTH, Calendar, Days, Roll, as_date, day_of_month, first_of, last_of, month_of
from ebill.errors import CutoffNotDaily, DatesOutOfOrder, InvalidInput, NoRuleInForce
from ebill.explain import explain
from ebill.posting import latest_in_time, local, posts, received, reflected, timeliness
from ebill.questions import calculation
from ebill.rulebook import Life, RuleBook, Scope, Section
from ebill.rules import DayOfMonth, DaysBeforeDue, Due, GraceDays, GraceMonths, NthWeekday, Posting
from ebill.schedule import DATE_NAMES, DateName, Schedule
from ebill.service import calculate
from ebill.standing import STANDINGS, standing
from tests import oracle
from tests.strategies import (
    CALENDARS,
    CASES,
    DAYS,
    DAYS_OF_MONTH,
    DEFAULTS,
    DUE_RULES,
    DUES,
    GENERATION_RULES,
    GENERATIONS,
    GRACE_RULES,
    MONTHS,
    NOW,
    PAY_BY_RULES,
    PROFILE,
    WEEKDAYS,
    Case,
    Written,
    ask,
    ask_at,
    calendar,
    house,
    month,
    rows,
    rule,
    weekends,
    written,
)

ROLLS: tuple[Roll, ...] = ("following", "modified_following", "preceding")
ONE_WAY: tuple[Roll, ...] = ("following", "preceding")
ERA = np.arange("2000-01", "2400-02", dtype=MONTH)
"""The 400 years after which the calendar repeats, and the month after them."""
CENTURY = np.arange("2000-01-01", "2100-01-01", dtype=DAY)
BANK = calendar("XFED")
LAGS = st.integers(0, 10)
HOLIDAYS = st.lists(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=30)
PAID = st.dates(date(2026, 2, 1), date(2026, 10, 31))
"""Days so far from the ends of 2026 that no lag of `LAGS` over `HOLIDAYS` leaves it."""


def numbers(days: Any) -> Any:
    """Give days, or distances of days, as plain numbers."""
    return days.astype(np.int64)


def gaps(days: Days) -> Any:
    return numbers(np.diff(days))


def year_2026(holidays: list[date]) -> Calendar:
    return Calendar("2026", dict.fromkeys(holidays, "holiday"), date(2026, 1, 1), date(2026, 12, 31))


def as_array(*days: date) -> Days:
    return np.array(days, DAY)


def life(**rules: Any) -> Life:
    """Give the life of an account in Pennsylvania with rules of its own."""
    return house().life(Scope("PA", rows=rows("client", **rules)))


def columns(dates: Schedule) -> dict[DateName, list[date | None]]:
    return {name: dates.days(name).tolist() for name in DATE_NAMES}


# Order and shape


@PROFILE
@given(due=DUE_RULES, generation=GENERATION_RULES, grace=GRACE_RULES)
@example(due={"day": 29}, generation={"day_of_month": 28, "months_before_due": 0}, grace={"days": 30})
@example(due={"day": 1}, generation={"days_before_due": 20}, grace={"days": 0, "roll": "preceding"})
def test_01_a_rule_set_is_in_order_in_every_month_or_refused_for_the_first_that_is_not(
    due: Any, generation: Any, grace: Any
) -> None:
    rules = {"due": due, "generation": generation, "grace": grace}
    # In the last year and a half a grace may end beyond the calendar, where no month is answered.
    last = "2098-06"
    expected = oracle.first_bad_month({**DEFAULTS, **rules}, last=last)
    refused: str | None = None
    try:
        life(**rules)
    except DatesOutOfOrder as refusal:
        refused = refusal.coverage_month
    if expected or refused:
        assert refused == expected or (expected is None and refused is not None and refused > last)
        return
    dates = life(**rules).schedule
    known = ~dates.unknown
    generated, due_on, ends = (dates.days(name)[known] for name in ("generation_date", "due_date", "grace_end_date"))
    assert known[:-18].all()
    assert ((generated < due_on) & (due_on <= ends)).all()


def check_increasing(days: Days) -> bool:
    return bool((gaps(days) > 0).all())


def raw_days_of_generation(rolls: tuple[Roll, ...] = ("none",)) -> Any:
    """Give the generations of 400 years by each rule that counts in days, for some due days, with each roll."""
    for day in (1, 15, 28, 31, -1):
        due = Due(day).apply(ERA, weekends())
        for roll in rolls:
            for count in range(1, 91):
                yield DaysBeforeDue(count, roll).apply(due, weekends())
            for number in DAYS_OF_MONTH:
                yield DayOfMonth(number, 1, roll).apply(due, weekends())


def test_02_generation_due_and_grace_end_increase_with_the_month() -> None:
    for day in DAYS_OF_MONTH:
        due = Due(day).apply(ERA, weekends())
        assert check_increasing(due)
        assert check_increasing(GraceDays(30).apply(due, weekends()))
        assert check_increasing(GraceMonths(2).apply(due, weekends()))
    assert all(check_increasing(days) for days in raw_days_of_generation(("none", *ROLLS)))


def test_02_the_latest_day_of_a_month_increases_unless_it_is_before_due_in_some_months_only() -> None:
    """Due on the last day and generated on the 30th: both January's and February's invoice on 30 January.

    That is what the rule says, of 183 of the 3,844 pairs: exactly of those whose days change places in some month.
    """
    crossing = 0
    for day in DAYS_OF_MONTH:
        due = Due(day).apply(ERA, weekends())
        for number in DAYS_OF_MONTH:
            is_before = day_of_month(ERA, number) < due
            crosses = bool(is_before.any() and not is_before.all())
            assert check_increasing(DayOfMonth(number).apply(due, weekends())) is not crosses
            crossing += crosses
    assert crossing == 183
    due = Due(-1).apply(np.array(["2026-01", "2026-02"], MONTH), weekends())
    assert DayOfMonth(30).apply(due, weekends()).tolist() == [date(2026, 1, 30)] * 2


def test_03_generations_are_28_to_31_days_apart_and_rolled_over_weekends_28_to_33() -> None:
    raw = {gap for days in raw_days_of_generation() for gap in np.unique(gaps(days)).tolist()}
    assert raw == {28, 29, 30, 31}
    rolled = {gap for days in raw_days_of_generation(ONE_WAY) for gap in np.unique(gaps(days)).tolist()}
    assert (min(rolled), max(rolled)) == (28, 33)


def test_03_false_of_modified_following_which_turns_back_at_the_end_of_a_month() -> None:
    """29 days before 1 February and 1 March 2026: Sat 3 January, rolled on, and Sat 31 January, rolled back."""
    due = as_array(date(2026, 2, 1), date(2026, 3, 1))
    assert DaysBeforeDue(29).apply(due, weekends()).tolist() == [date(2026, 1, 3), date(2026, 1, 31)]
    days = DaysBeforeDue(29, "modified_following").apply(due, weekends())
    assert days.tolist() == [date(2026, 1, 5), date(2026, 1, 30)]
    assert gaps(days).tolist() == [25]


def test_03_false_of_weekdays_which_are_four_or_five_weeks_apart() -> None:
    due = Due(1).apply(ERA, weekends())
    for weekday in WEEKDAYS:
        for nth in (1, 2, 3, 4, -1, -2, -3, -4):
            days = NthWeekday(weekday, nth).apply(due, weekends())  # type: ignore[arg-type]
            assert set(gaps(days).tolist()) == {28, 35}


def test_04_twelve_gaps_make_a_year() -> None:
    def years(days: Days) -> set[int]:
        return set(numbers(days[12:] - days[:-12]).tolist())

    assert set().union(*(years(days) for days in raw_days_of_generation())) == {365, 366}
    rolled = set().union(*(years(days) for days in raw_days_of_generation(ONE_WAY)))
    assert (min(rolled), max(rolled)) == (364, 368)


def test_05_a_day_is_that_of_the_rule_or_the_last_of_a_short_month() -> None:
    lengths = numbers(last_of(ERA) - first_of(ERA)) + 1
    for number in range(1, 32):
        assert (numbers(day_of_month(ERA, number) - first_of(ERA)) + 1 == np.minimum(number, lengths)).all()
    assert (day_of_month(ERA, 31) + 1 == first_of(ERA + 1)).all()


def test_06_false_that_stepping_a_month_at_a_time_equals_one_jump() -> None:
    """From 2000-01-29, 14 steps: the clamp of February 2001 stays with whoever steps."""
    stepped = date(2000, 1, 29)
    for _ in range(14):
        following = oracle.months_after(oracle.month_of(stepped), 1)
        stepped = min(oracle.nth_day(following, 31), following + timedelta(stepped.day - 1))
    assert stepped == date(2001, 3, 28)
    assert day_of_month(month("2000-01") + 14, 29) == np.datetime64("2001-03-29")
    assert Due(29).apply(month("2000-01") + 14, BANK) == np.datetime64("2001-03-29")


def test_07_the_coverage_month_can_be_told_from_the_generation_date() -> None:
    for count in range(1, 91):
        for day in (1, 15, 31):
            generated = DaysBeforeDue(count).apply(Due(day).apply(ERA, BANK), BANK)
            # The due date is `count` days on, and its month is the coverage month.
            assert (month_of(generated + count) == ERA).all()
    for months in range(4):
        for number in DAYS_OF_MONTH:
            generated = DayOfMonth(number, months).apply(Due(1).apply(ERA, BANK), BANK)
            assert (month_of(generated) + months == ERA).all()


@PROFILE
@given(case=CASES)
def test_08_the_next_invoice_is_the_generation_of_the_next_billed_month(case: Case) -> None:
    dates = case.schedule()
    rows = np.flatnonzero(dates.billed[: dates.count])
    generated, following = dates.days("generation_date"), dates.days("next_generation_date")
    for row, later in pairwise(rows):
        assert dates.has_next[row]
        assert np.array_equal(following[row], generated[later], equal_nan=True)


@PROFILE
@given(pay_by=PAY_BY_RULES, case=CASES)
def test_09_pay_by_is_so_many_days_before_the_next_generation(pay_by: Any, case: Case) -> None:
    rows = [row for row in case.rows if row.kind not in ("pay_by", "calendar")]
    rows += [Written("2000-01", "default", "pay_by", pay_by), Written("2000-01", "default", "calendar", "XFED")]
    dates = Case(rows, case.first, case.count).schedule()
    recommended, following = dates.days("recommended_pay_by_date"), dates.days("next_generation_date")
    for row in np.flatnonzero(dates.billed[: dates.count] & ~dates.unknown):
        expected = oracle.recommended_pay_by_date(pay_by, as_date(following[row]), "XFED")
        assert as_date(recommended[row]) == expected


def test_09_of_the_default_rules_pay_by_is_after_the_generation() -> None:
    for days in raw_days_of_generation():
        for count in range(1, 28):
            assert (days[1:] - count > days[:-1]).all()


def test_10_false_that_pay_by_is_after_due_or_within_the_grace() -> None:
    """Either may be otherwise; each is worth a warning, and none can be assumed."""
    early = ask(state="PA", coverage_month="2026-08", rules={"generation": {"days_before_due": 35}})["invoices"][0]
    assert (early["recommended_pay_by_date"], early["due_date"]) == (date(2026, 7, 25), date(2026, 8, 1))
    late = ask(state="PA", coverage_month="2026-08", rules={"grace": {"days": 5}})["invoices"][0]
    assert (late["recommended_pay_by_date"], late["grace_end_date"]) == (date(2026, 8, 9), date(2026, 8, 6))


def test_11_how_many_invoices_are_generated_within_so_many_days() -> None:
    """Any 366 days hold 12 or 13, any 365 days 11 or 12, any 28 days 0 or 1."""
    for number in DAYS_OF_MONTH:
        days = numbers(day_of_month(ERA, number))
        begins = np.arange(days[0], days[-1] - 366)
        for length, expected in ((366, {12, 13}), (365, {11, 12, 13}), (28, {0, 1})):
            held = np.searchsorted(days, begins + length) - np.searchsorted(days, begins)
            assert set(held.tolist()) <= expected, number


# Slicing and shifting


@PROFILE
@given(case=CASES, cut=st.integers(0, 23))
def test_12_a_slice_of_a_schedule_is_the_schedule_of_the_slice(case: Case, cut: int) -> None:
    whole = columns(case.schedule())
    later = str(month(case.first) + cut)
    part = Case(
        case.rows, later, case.count - cut, case.exceptions, case.last_coverage_month, case.first_coverage_month
    )
    # Exceptions count for the months asked for and the invoice before them, so both see the same ones.
    assert columns(part.schedule()) == {name: days[cut:] for name, days in whole.items()}


def test_12_a_year_is_its_twelve_months_in_any_order() -> None:
    year = ask(state="NY", **{"from": "2026-01", "months": 12})["invoices"]
    alone = [ask(state="NY", coverage_month=f"2026-{number:02}")["invoices"][0] for number in range(12, 0, -1)]
    assert year == alone[::-1]


@given(first=st.integers(-1200, 1200), second=st.integers(-1200, 1200), start=MONTHS)
@PROFILE
def test_13_months_add_up(first: int, second: int, start: Any) -> None:
    assert (start + first) + second == start + (first + second)
    assert oracle.months_after(start.astype(DAY).item(), first) == first_of(start + first).item()


def shifted(years: int) -> Any:
    """Give what a rule gives with each roll, and how many days later it gives the same so many years later."""
    months = np.arange("2000-01", "2072-01", dtype=MONTH)
    for day in (1, 15, 29, -1):
        for roll in ("none", *ROLLS):
            due = Due(day, roll=roll)
            for generation in (DaysBeforeDue(20, roll), DayOfMonth(12, roll=roll), NthWeekday("TH", -1, roll=roll)):
                now, then = (
                    generation.apply(due.apply(start, weekends()), weekends())
                    for start in (months, months + 12 * years)
                )
                yield from numbers(then - now).tolist()


def test_14_after_400_years_everything_comes_again_146097_days_later() -> None:
    months = np.arange("1900-01", "2020-01", dtype=MONTH)
    for day in DAYS_OF_MONTH:
        for roll in ROLLS:
            now, then = (Due(day, roll=roll).apply(start, weekends()) for start in (months, months + 4800))
            assert set(numbers(then - now).tolist()) == {146_097}
    assert 146_097 % 7 == 0


def test_14_false_of_holidays_that_follow_easter() -> None:
    """Good Friday 2024 and 2424: the exchange's calendar does not repeat with the civil one."""
    assert date(2424, 3, 29) - date(2024, 3, 29) == timedelta(146_097)
    assert easter(2024) - timedelta(2) == date(2024, 3, 29)
    assert easter(2424) - timedelta(2) != date(2424, 3, 29)
    assert calendar("XNYS").why_closed(date(2024, 3, 29)) == "Good Friday"


def test_15_after_28_years_everything_comes_again_10227_days_later_until_2099() -> None:
    assert set(shifted(28)) == {10_227}


def test_15_false_across_2100_which_is_no_leap_year() -> None:
    assert day_of_month(month("2100-03"), 1) - day_of_month(month("2072-03"), 1) == np.timedelta64(10_226, "D")
    assert day_of_month(month("2128-03"), 1) - day_of_month(month("2072-03"), 1) == np.timedelta64(2 * 10_227 - 1, "D")


def test_16_an_account_depends_on_no_other() -> None:
    """More states, products and accounts beside it, before or after it, move nothing."""
    book = house()
    alone = RuleBook("alone", book.default, {"PA": book.states["PA"]}, {}, {})
    states = {"AA": Section("before", book.states["NY"].rows), **book.states, "ZZ": Section("after", ())}
    crowd = RuleBook("crowd", book.default, states, book.products, {})
    for other in (alone, crowd):
        assert columns(other.life(Scope("PA")).schedule) == columns(book.life(Scope("PA")).schedule)
    scopes = [Scope("PA"), Scope("NY"), Scope("WV", "aptc")]
    months = np.arange("2026-01", "2027-01", dtype=MONTH)
    for beside in ([0], [0, 1, 2], [2, 1, 0]):
        which = np.repeat(beside, 12)
        table = pairs.schedule(crowd, scopes, which, np.tile(months, len(beside)))
        for name, days in columns(Case(written(), "2026-01", 12).schedule()).items():
            assert table.dates(name)[which == 0].tolist() == days


# Parameters


def test_17_a_later_rule_day_is_never_earlier_also_when_rolled() -> None:
    for roll in ("none", *ROLLS):
        for numbers_of_days in (range(1, 32), range(-31, 0)):
            days = [Due(number, roll=roll).apply(ERA[:1200], BANK) for number in numbers_of_days]
            assert all((earlier <= later).all() for earlier, later in pairwise(days))


def test_18_a_day_of_grace_more_is_a_day_more() -> None:
    for counting in ("after_due", "from_due"):
        days = [GraceDays(count, counting).apply(CENTURY, BANK) for count in range(367)]
        assert all((numbers(later - earlier) == 1).all() for earlier, later in pairwise(days))


def test_19_counted_from_the_due_date_a_grace_is_one_day_longer() -> None:
    for count in range(366):
        after, inclusive = GraceDays(count, "after_due"), GraceDays(count + 1, "from_due")
        assert (after.apply(CENTURY, BANK) == inclusive.apply(CENTURY, BANK)).all()
    assert (GraceDays(0).apply(CENTURY, BANK) == CENTURY).all()


def test_20_a_grace_of_months_ends_with_a_month() -> None:
    for months in range(1, 13):
        ends = GraceMonths(months).apply(CENTURY, BANK)
        assert (ends == last_of(month_of(ends))).all()
        assert (numbers(month_of(ends) - month_of(CENTURY)) == months - 1).all()


def test_20_a_month_and_30_days_of_grace_agree_by_accident() -> None:
    """Of premiums due on the 1st in the months of 31 days, as August."""
    due = Due(1).apply(np.arange("2026-01", "2027-01", dtype=MONTH), BANK)
    agree = GraceDays(30).apply(due, BANK) == GraceMonths(1).apply(due, BANK)
    assert (np.flatnonzero(agree) + 1).tolist() == [1, 3, 5, 7, 8, 10, 12]


def check_directions(known: Calendar) -> None:
    assert (known.roll(CENTURY, "following") >= CENTURY).all()
    assert (known.roll(CENTURY, "preceding") <= CENTURY).all()
    for roll in ROLLS:
        assert known.is_open(known.roll(CENTURY, roll)).all()
        assert (known.roll(CENTURY, roll)[known.is_open(CENTURY)] == CENTURY[known.is_open(CENTURY)]).all()


@pytest.mark.parametrize("name", CALENDARS)
def test_21_following_is_never_earlier_and_preceding_never_later(name: str) -> None:
    check_directions(calendar(name))


@pytest.mark.parametrize("name", CALENDARS)
def test_22_a_roll_stays_in_its_month_if_modified_and_rolls_once_and_passes_no_business_day(name: str) -> None:
    known = calendar(name)
    assert (month_of(known.roll(CENTURY, "modified_following")) == month_of(CENTURY)).all()
    open_until = np.concatenate([[0], np.cumsum(known.is_open(CENTURY))])
    first = numbers(CENTURY[0])
    for roll in ROLLS:
        rolled = known.roll(CENTURY, roll)
        assert (known.roll(rolled, roll) == rolled).all()
        low, high = np.minimum(CENTURY, rolled), np.maximum(CENTURY, rolled)
        inside = (low >= CENTURY[0]) & (high <= CENTURY[-1]) & (low < high)
        begin, end = numbers(low[inside]) - first + 1, numbers(high[inside]) - first
        assert (open_until[end] == open_until[begin]).all()


@PROFILE
@given(case=CASES, row=st.integers(0, 23), off=st.integers(-20, 20))
def test_23_an_exception_changes_its_month_only_is_flagged_and_taken_back_leaves_no_trace(
    case: Case, row: int, off: int
) -> None:
    plain = Case(case.rows, case.first, case.count)
    name = plain.months()[row]
    before = columns(plain.schedule())
    due: Any = before["due_date"][row]
    assume(due is not None)
    moved = Case(case.rows, case.first, case.count, {name: {"due_date": due + timedelta(off)}}).schedule()
    assert list(moved.fixed) == [row]
    after = columns(moved)
    for date_name in DATE_NAMES:
        differ = [
            at
            for at, (was, is_now) in enumerate(zip(before[date_name], after[date_name], strict=True))
            if was != is_now
        ]
        # The invoice before has the generation of this one as its next, and pays by it.
        assert set(differ) <= ({row} if date_name in DATE_NAMES[:3] else set(range(row)) | {row})
    assert columns(plain.schedule()) == before


def test_23_an_exception_is_flagged_in_the_answer() -> None:
    fixed = [{"coverage_month": "2026-08", "due_date": "2026-08-05", "reason": "as published"}]
    invoices = ask(state="PA", exceptions=fixed, explain=True, **{"from": "2026-07", "months": 3})["invoices"]
    codes = [[warning["code"] for warning in invoice["warnings"]] for invoice in invoices]
    assert ["exception_applied" in listed for listed in codes] == [False, True, False]
    explained = invoices[1]["explanation"]["due_date"]
    assert explained is not None
    assert [(move["by"], move["detail"]) for move in explained["moved"]] == [("exception", "as published")]


# Holidays and posting: roll to a business day, then count (A); so many business days strictly after (B) is another


def post(paid: date, lag: int, known: Calendar) -> date:
    """Give the day on which a payment before the cut-off posts, by the package."""
    arrived = received(as_array(paid), np.array([False]), known)
    return as_date(posts(arrived, Posting(lag, lag, time(17)), known)[0][0])


def post_strictly_after(paid: date, lag: int, known: Calendar) -> date:
    """Count business days strictly after the payment: the other reading, which the specification does not take."""
    for _ in range(lag):
        paid = as_date(known.roll(as_array(paid + timedelta(1)), "following")[0])
    return paid


@PROFILE
@given(paid=PAID, lag=LAGS, holidays=HOLIDAYS)
def test_24_posting_is_on_a_business_day_and_not_before_the_payment(paid: date, lag: int, holidays: list[date]) -> None:
    known = year_2026(holidays)
    assert known.is_open(as_array(post(paid, lag, known))).all()
    assert post(paid, lag, known) >= paid


@PROFILE
@given(paid=PAID, later=st.integers(0, 10), lag=LAGS, more=LAGS, holidays=HOLIDAYS)
def test_25_paid_later_or_with_a_longer_lag_nothing_posts_earlier(
    paid: date, later: int, lag: int, more: int, holidays: list[date]
) -> None:
    known = year_2026(holidays)
    for how in (post, post_strictly_after):
        assert how(paid + timedelta(later), lag, known) >= how(paid, lag, known)
        assert how(paid, lag + more, known) >= how(paid, lag, known)


@PROFILE
@given(paid=PAID, lag=LAGS, holidays=HOLIDAYS, holiday=PAID)
def test_26_a_holiday_more_never_makes_posting_earlier(
    paid: date, lag: int, holidays: list[date], holiday: date
) -> None:
    assert post(paid, lag, year_2026([*holidays, holiday])) >= post(paid, lag, year_2026(holidays))


@PROFILE
@given(paid=PAID, lag=LAGS, holidays=HOLIDAYS, holiday=PAID)
def test_27_a_holiday_before_the_payment_or_after_the_posting_changes_nothing(
    paid: date, lag: int, holidays: list[date], holiday: date
) -> None:
    posted = post(paid, lag, year_2026(holidays))
    assume(not paid <= holiday <= posted)
    assert post(paid, lag, year_2026([*holidays, holiday])) == posted


@PROFILE
@given(paid=PAID, lag=LAGS, holidays=HOLIDAYS, weekend=PAID)
def test_28_a_holiday_on_a_weekend_or_twice_or_taken_back_changes_nothing(
    paid: date, lag: int, holidays: list[date], weekend: date
) -> None:
    posted = post(paid, lag, year_2026(holidays))
    saturday = weekend + timedelta((5 - weekend.weekday()) % 7)
    assert post(paid, lag, year_2026([*holidays, saturday])) == posted
    assert post(paid, lag, year_2026([*reversed(holidays), *holidays])) == posted
    year_2026(holidays).with_closures({weekend: "for once"})
    assert post(paid, lag, year_2026(holidays)) == posted


@PROFILE
@given(paid=PAID, first=st.integers(0, 5), second=st.integers(0, 5), holidays=HOLIDAYS)
def test_29_lags_add_up(paid: date, first: int, second: int, holidays: list[date]) -> None:
    known = year_2026(holidays)
    assert post(post(paid, first, known), second, known) == post(paid, first + second, known)


@PROFILE
@given(paid=PAID, lag=LAGS, holidays=HOLIDAYS)
def test_30_so_many_business_days_lie_between_receipt_and_posting(paid: date, lag: int, holidays: list[date]) -> None:
    """After the receipt as the specification reads it, after the payment as the other reading has it."""
    known = year_2026(holidays)
    for begin, end in (
        (post(paid, 0, known), post(paid, lag, known)),
        (paid, post_strictly_after(paid, lag, known)),
    ):
        assert known.is_open(np.arange(np.datetime64(begin), np.datetime64(end)) + 1).sum() == lag


def test_31_false_that_settling_first_and_counting_strictly_after_are_the_same() -> None:
    """In the second week of August 2026: by the specification Saturday, Sunday and Monday are alike."""
    days = [date(2026, 8, number) for number in (7, 8, 9, 10)]  # Friday to Monday
    assert [post(paid, 2, BANK).day for paid in days] == [11, 12, 12, 12]
    assert [post_strictly_after(paid, 2, BANK).day for paid in days] == [11, 11, 11, 12]


@PROFILE
@given(paid=PAID, lag=LAGS, holidays=HOLIDAYS)
def test_32_numpy_counts_the_same_rolled_forward_and_the_other_way_backward(
    paid: date, lag: int, holidays: list[date]
) -> None:
    known = year_2026(holidays)
    closed = np.array(holidays, DAY)
    assert post(paid, lag, known) == np.busday_offset(paid, lag, roll="forward", holidays=closed).item()
    if lag:  # none strictly after is the day itself, closed or not
        other = np.busday_offset(paid, lag, roll="backward", holidays=closed).item()
        assert post_strictly_after(paid, lag, known) == other


def latest(before: date, lag: int, known: Calendar) -> date:
    return as_date(latest_in_time(as_array(before), Posting(0, lag, time(17)), known)[0])


@PROFILE
@given(before=PAID, paid=PAID, lag=LAGS, holidays=HOLIDAYS, holiday=PAID)
def test_33_a_payment_posts_in_time_exactly_up_to_the_latest_day_and_a_holiday_never_makes_that_later(
    before: date, paid: date, lag: int, holidays: list[date], holiday: date
) -> None:
    known = year_2026(holidays)
    last = latest(before, lag, known)
    for day in (paid, last - timedelta(1), last, last + timedelta(1)):
        assert (post(day, lag, known) < before) == (day <= last)
    assert latest(before, lag, year_2026([*holidays, holiday])) <= last


@PROFILE
@given(day=PAID, holidays=HOLIDAYS, holiday=PAID)
def test_34_a_holiday_more_never_makes_a_following_due_date_earlier(
    day: date, holidays: list[date], holiday: date
) -> None:
    with_it, without = (year_2026(days).roll(as_array(day), "following") for days in ([*holidays, holiday], holidays))
    assert with_it >= without


def test_34_false_of_preceding_and_modified_following() -> None:
    def plus(day: date) -> Calendar:
        return Calendar("plus", {day: "holiday"}, date(2019, 1, 1), date(2020, 12, 31))

    new_year, end = date(2020, 1, 1), date(2020, 1, 31)
    assert plus(date(2019, 1, 1)).roll(as_array(new_year), "preceding") == as_array(new_year)
    assert plus(new_year).roll(as_array(new_year), "preceding") == as_array(date(2019, 12, 31))
    assert plus(date(2019, 1, 1)).roll(as_array(end), "modified_following") == as_array(end)
    assert plus(end).roll(as_array(end), "modified_following") == as_array(date(2020, 1, 30))


# Status


def stand(dates: Any, as_of: date, paid_on: date | None = None, posts_by: date | None = None) -> str:
    """Say where an invoice (its generation, due date and grace end) stands."""
    generation, due, grace_end = (as_array(day) for day in dates)
    paid, posted = (None if day is None else as_array(day) for day in (paid_on, posts_by))
    stands = standing(generation, due, grace_end, as_array(as_of), paid_on=paid, posts_by=posted)
    return STANDINGS[int(stands[0])]


AUGUST = (date(2026, 7, 12), date(2026, 8, 1), date(2026, 8, 31))
FORWARD = ("not_yet_invoiced", "invoiced", "in_grace", "grace_expired")


def check_standing() -> None:
    stood = {
        as_of: stand(AUGUST, date.fromisoformat(as_of))
        for as_of in ("2026-07-11", "2026-07-12", "2026-08-01", "2026-08-02", "2026-08-31", "2026-09-01")
    }
    assert list(stood.values()) == ["not_yet_invoiced", "invoiced", "invoiced", "in_grace", "in_grace", "grace_expired"]


def test_35_an_unpaid_invoice_stands_somewhere_and_moves_forward_on_its_own_dates() -> None:
    check_standing()
    dates = life().schedule
    generated, due, ends = (dates.days(name) for name in ("generation_date", "due_date", "grace_end_date"))
    for as_of in CENTURY[::173]:
        now, then = (standing(generated, due, ends, day) for day in (as_of, as_of + 1))
        moved = then - now
        assert set(np.unique(moved).tolist()) <= {0, 1}
        published = (generated == as_of + 1) | (due == as_of) | (ends == as_of)
        assert ((moved == 1) == published).all()
        assert now.min() >= 0
        assert now.max() < len(FORWARD)


@PROFILE
@given(case=CASES, as_of=DAYS)
def test_35_the_standing_is_that_of_the_oracle(case: Case, as_of: date) -> None:
    for invoice in case.invoices().values():
        if invoice is not None:
            three = [invoice[name] for name in ("generation_date", "due_date", "grace_end_date")]
            if oracle.in_order(invoice):
                assert stand(three, as_of) == oracle.standing(invoice, as_of)


def test_35_a_payment_is_pending_until_it_posts() -> None:
    paid_on, posts_by = date(2026, 8, 5), date(2026, 8, 10)
    stood = [stand(AUGUST, date(2026, 8, number), paid_on, posts_by) for number in (4, 5, 9, 10, 31)]
    assert stood == ["in_grace", "payment_pending", "payment_pending", "paid", "paid"]


@pytest.mark.parametrize(
    ("paid_at", "expected"),
    [
        ("2026-08-31T23:59:59.999999", "in_grace"),
        ("2026-09-01T00:00:00", "late"),
        ("2026-09-01T03:59:59.999999Z", "in_grace"),
        ("2026-09-01T04:00:00Z", "late"),
    ],
)
def test_36_the_last_day_of_grace_ends_at_local_midnight(paid_at: str, expected: str) -> None:
    assert ask(state="PA", coverage_month="2026-08", paid_at=paid_at)["payment"]["timeliness"] == expected


def test_36_at_the_cutoff_itself_it_is_too_late() -> None:
    for paid_at, received_on in (
        ("2026-08-03T16:59:59.999999", date(2026, 8, 3)),
        ("2026-08-03T17:00:00", date(2026, 8, 4)),
        ("2026-08-03T17:00:00.000001", date(2026, 8, 4)),
    ):
        assert ask(state="PA", coverage_month="2026-08", paid_at=paid_at)["payment"]["received_date"] == received_on


def test_36_grace_is_over_at_local_midnight_whatever_the_machine() -> None:
    """At 03:59 UTC it is still 31 August in New York; at 04:00 it is not."""
    for instant, expected in (
        (datetime(2026, 9, 1, 3, 59, 59, tzinfo=UTC), "in_grace"),
        (datetime(2026, 9, 1, 4, tzinfo=UTC), "grace_expired"),
    ):
        assert ask_at(instant, {"state": "PA", "coverage_month": "2026-08"})["invoices"][0]["standing"] == expected


RANK = {"on_time": 0, "in_grace": 1, "late": 2, "yes": 0, "maybe": 1, "no": 2}


@PROFILE
@given(paid=DAYS, later=st.integers(0, 40), due=DAYS, grace=st.integers(0, 366), more=st.integers(0, 30))
def test_38_paid_earlier_or_with_a_longer_grace_nothing_is_worse(
    paid: date, later: int, due: date, grace: int, more: int
) -> None:
    end = due + timedelta(grace)
    judged = RANK[timeliness(paid, due, end)]
    assert judged <= RANK[timeliness(paid + timedelta(later), due, end)]
    assert RANK[timeliness(paid, due, end + timedelta(more))] <= judged
    stood = [FORWARD.index(stand((due - timedelta(20), due, last), paid)) for last in (end + timedelta(more), end)]
    assert stood[0] <= stood[1]


@PROFILE
@given(paid=PAID, later=st.integers(0, 20), low=LAGS, more=LAGS, generated=PAID)
def test_38_paid_earlier_it_is_not_less_reflected(paid: date, later: int, low: int, more: int, generated: date) -> None:
    known = year_2026([])
    now, then = (
        RANK[reflected(post(day, low, known), post(day, low + more, known), generated)]
        for day in (paid, paid + timedelta(later))
    )
    assert now <= then


def test_39_two_open_invoices_are_both_shown() -> None:
    """Due on the 1st with 30 days after it: the grace of a short month, or of none, reaches the next due date."""
    dates = life().schedule
    generated, due, ends = (dates.days(name) for name in ("generation_date", "due_date", "grace_end_date"))
    for as_of in CENTURY[366:-366:91]:
        stands = standing(generated, due, ends, as_of)
        open_ones = int(((stands == 1) | (stands == 2)).sum())
        assert open_ones == int(((generated <= as_of) & (as_of <= ends)).sum())
    year = ask(state="PA", **{"from": "2026-01", "months": 12})["invoices"]
    both = [
        invoice["coverage_month"] for invoice, later in pairwise(year) if invoice["grace_end_date"] >= later["due_date"]
    ]
    assert both == ["2026-02", "2026-04", "2026-06", "2026-09", "2026-11"]


# Time and environment


PRINT_DIGEST = """
import hashlib, sys
from datetime import UTC, datetime
from tests.strategies import draw_case, ask
import random
found = [draw_case(random.Random(seed), 24).schedule() for seed in range(20)]
text = repr([[s.days(name).tolist() for name in s.trails] for s in found])
answer = ask(state="PA", paid_at="2026-03-08T06:30:00+00:00", explain=True, **{"from": "2026-01", "months": 24})
print(hashlib.sha256((text + repr(answer)).encode()).hexdigest())
"""


def test_41_no_zone_hash_seed_locale_or_optimisation_of_the_machine_changes_an_answer() -> None:
    environments: list[tuple[dict[str, str], list[str]]] = [
        ({"TZ": "UTC", "PYTHONHASHSEED": "0"}, []),
        ({"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1", "LC_ALL": "C"}, []),
        ({"TZ": "Etc/GMT+12", "PYTHONHASHSEED": "2", "LC_ALL": "tr_TR.UTF-8"}, ["-O"]),
    ]
    root = str(Path(__file__).parent.parent)
    digests = {
        subprocess.run(
            [sys.executable, *options, "-W", "error", "-c", PRINT_DIGEST],
            env={**os.environ, "PYTHONPATH": root, **environment},
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for environment, options in environments
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


def check_no_clock() -> None:
    answers = []
    for instant in ("2027-12-31 23:59:00", "2028-02-29 12:00:00", "2038-01-19 03:14:08"):
        with freeze_time(instant):
            answers.append(
                (columns(Case(written(), "2026-01", 12).schedule()), ask(state="PA", coverage_month="2026-08"))
            )
    assert answers[0] == answers[1] == answers[2]


def test_41_no_clock_is_read() -> None:
    check_no_clock()


@PROFILE
@given(as_of=DAYS)
def test_42_the_dates_do_not_depend_on_the_day_of_asking(as_of: date) -> None:
    body: dict[str, Any] = {"state": "PA", "from": "2026-01", "months": 6}
    for invoice, again in zip(ask(**body)["invoices"], ask(**body, as_of=str(as_of))["invoices"], strict=True):
        assert {**invoice, "standing": None} == {**again, "standing": None}
        assert again["standing"] == oracle.standing(again, as_of)  # type: ignore[arg-type]


def days_that_come_back(zone: str) -> list[date]:
    """Give the local dates that an instant after another goes back to, in 2000 to 2035, by looking at each hour."""
    where = ZoneInfo(zone)
    found = []
    begin = datetime(2000, 1, 1, tzinfo=UTC)
    offset = begin.astimezone(where).utcoffset()
    for day in range(36 * 366):
        noon = begin + timedelta(day)
        if (later := noon.astimezone(where).utcoffset()) != offset:
            minutes = [(noon + timedelta(minutes=n)).astimezone(where).date() for n in range(-24 * 60, 1)]
            found += [now for before, now in pairwise(minutes) if now < before]
            offset = later
    return found


US_ZONES = sorted(
    zone
    for zone in available_timezones()
    if zone.startswith(("US/", "America/Indiana/", "America/Kentucky/", "America/North_Dakota/"))
)
"""The former names of all zones of the United States, and those of counties that keep a time of their own."""


def test_43_the_local_date_never_goes_back_in_the_united_states() -> None:
    assert len(US_ZONES) >= 20
    assert {zone: days_that_come_back(zone) for zone in US_ZONES} == {zone: [] for zone in US_ZONES}


def test_43_false_of_newfoundland_until_2010() -> None:
    """The clock was turned back at one minute past midnight: 00:00:59 was followed by 23:01 of the day before."""
    for zone in ("America/St_Johns", "Canada/Newfoundland", "America/Goose_Bay", "America/Moncton", "Antarctica/Casey"):
        assert days_that_come_back(zone), zone
    assert days_that_come_back("America/St_Johns")[-1] == date(2010, 11, 6)
    first, second = (datetime(2010, 11, 7, 2, minute, 59, tzinfo=UTC) for minute in (30, 31))
    days = [local(instant, ZoneInfo("America/St_Johns"))[0] for instant in (first, second)]
    assert days == [date(2010, 11, 7), date(2010, 11, 6)]


def test_44_a_day_of_23_or_25_hours_counts_one() -> None:
    """A grace over both changes of the clock is counted in dates."""
    for due in (date(2026, 3, 1), date(2026, 10, 15)):
        assert GraceDays(30).apply(as_array(due), BANK) == as_array(due + timedelta(30))
    for paid_at, paid_on in (
        ("2026-03-08T23:30:00-04:00", date(2026, 3, 8)),  # the day of 23 hours
        ("2026-11-01T00:30:00-04:00", date(2026, 11, 1)),  # the day of 25 hours
        ("2026-11-01T23:30:00-05:00", date(2026, 11, 1)),
    ):
        assert local(datetime.fromisoformat(paid_at), ZoneInfo("America/New_York"))[0] == paid_on


@pytest.mark.parametrize("cutoff", ["02:30", "01:30"])
def test_45_a_cutoff_that_is_missing_or_comes_twice_on_some_day_is_refused(cutoff: str) -> None:
    with pytest.raises(CutoffNotDaily):
        ask(state="PA", coverage_month="2026-08", rules={"posting": {**DEFAULTS["posting"], "cutoff": cutoff}})


@PROFILE
@given(case=CASES, at=st.integers(0, 23), grace=GRACE_RULES, due=DUE_RULES)
def test_46_a_change_leaves_the_months_before_it_and_is_the_new_rule_from_it_on(
    case: Case, at: int, grace: Any, due: Any
) -> None:
    since = case.months()[at]
    own = [row for row in case.rows if row.kind != "skip_coverage_months"]
    change = [Written(since, "bill_account", "grace", grace), Written(since, "bill_account", "due", due)]
    other = [Written("2000-01", "bill_account", "grace", grace), Written("2000-01", "bill_account", "due", due)]
    own = [row for row in own if not (row.layer == "bill_account" and row.kind in ("grace", "due"))]
    before, after, new = (
        columns(Case(rows, case.first, case.count).schedule()) for rows in (own, own + change, own + other)
    )
    for name in DATE_NAMES[:3]:
        assert after[name] == before[name][:at] + new[name][at:]
    # The invoice before the change looks ahead to the first one after it.
    assert after["next_generation_date"][:-1] == after["generation_date"][1:]
    reverted = [
        *own,
        *change,
        *(Written(since, "bill_account", row.kind, in_force(own, since)[row.kind]) for row in change),
    ]
    assert columns(Case(reverted, case.first, 1).schedule()) == columns(Case(own, case.first, 1).schedule())


def in_force(rows: Any, since: str) -> Any:
    return Case(rows).in_force(since)


@pytest.mark.parametrize("name", ["0001-01", "1999-12", "2100-01", "9999-12"])
def test_47_months_beyond_the_supported_ones_are_refused(name: str) -> None:
    for body in (
        {"coverage_month": name},
        {"from": name, "months": 2},
        {"coverage_month": "2026-08", "last_coverage_month": name},
    ):
        with pytest.raises(InvalidInput):
            ask(state="PA", **body)


@pytest.mark.parametrize("day", ["0001-01-01", "1999-12-31", "2100-01-01", "9999-12-31"])
def test_47_days_beyond_the_supported_ones_are_refused(day: str) -> None:
    for key in ("as_of", "paid_at"):
        with pytest.raises(InvalidInput):
            ask(state="PA", coverage_month="2026-08", **{key: day})


def test_47_a_step_past_the_last_month_is_refused_and_the_last_month_answered() -> None:
    with pytest.raises(InvalidInput):
        ask(state="PA", **{"from": "2099-12", "months": 2})
    assert ask(state="PA", coverage_month="2099-12")["invoices"][0]["next_generation_date"] == date(2099, 12, 12)
    with pytest.raises(NoRuleInForce):
        RuleBook("no due date", house().default[1:], house().states, {}, {}).life(Scope("PA"))


@PROFILE
@given(case=CASES)
def test_48_the_steps_of_an_explanation_lead_to_the_answer(case: Case) -> None:
    timeline, dates = case.timeline(), case.schedule()
    lived = Life(timeline, dates, Scope("PA"))
    rows = np.flatnonzero(dates.billed[: dates.count] & ~dates.unknown)
    later = rows[dates.has_next[rows]]
    for row in [row for row in later.tolist() if row + 12 < case.count][:3]:
        in_force: Any = timeline.at(dates.first + row).rows
        for name, why in explain(lived, row).items():
            assert why is not None
            day = dates.days(name)[row].item()
            moves = why["moved"]
            if moves:
                assert moves[-1]["to"] == day
                assert all(one["to"] == two["from"] for one, two in pairwise(moves))
            if kind := {"due_date": "due", "generation_date": "generation", "grace_end_date": "grace"}.get(name):
                origin: Any = dates.first + row if kind == "due" else dates.days("due_date")[row]
                raw = in_force[kind].rule.unrolled(origin, timeline.terms(dates.first + row).calendar).item()
                assert (moves[0]["from"] if moves else day) == raw
                assert why["sentence"] == str(in_force[kind].rule)
            assert why["cite"] == "a test"


def test_49_what_is_written_is_read_back() -> None:
    for kind, ways in (("due", DUES), ("generation", [way for found in GENERATIONS.values() for way in found])):
        for data in ways[::7]:
            read = rule(kind, data)
            assert rule(kind, read.as_data()) == read


def test_50_the_dates_are_those_of_the_version_that_is_named() -> None:
    book = house()
    changed = RuleBook(
        "another", (*book.default, *rows("state", grace={"days": 31})), book.states, book.products, book.calendars
    )
    question = calculation({"state": "PA", "coverage_month": "2026-08"})
    for asked, version, end in ((book, "a test", date(2026, 8, 31)), (changed, "another", date(2026, 9, 1))):
        answer = calculate(asked, question, NOW)
        assert answer["rulebook"]["version"] == version
        assert answer["invoices"][0]["grace_end_date"] == end
