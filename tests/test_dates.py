"""Days and calendars: arithmetic that keeps its shape, and business days that no calendar guesses."""

from datetime import date, datetime, timedelta
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import holidays
import numpy as np
import pytest

from ebill.dates import (
    DAY,
    EVIDENCE,
    FIRST_DAY,
    FIRST_MONTH,
    LAST_DAY,
    LAST_MONTH,
    MONTH,
    MONTHS,
    Calendar,
    Roll,
    as_date,
    as_days,
    as_month,
    computed_calendar,
    day_of_month,
    first_of,
    last_of,
    latest_before,
    library_calendar,
    library_release,
    month_of,
    months_from,
    nth_weekday,
    weekday_of,
)
from ebill.errors import UnknownCalendar
from tests import oracle
from tests.strategies import CALENDARS, DAYS_OF_MONTH, WEEKDAYS, calendar, day

CENTURY = np.arange("2000-01-01", "2100-01-01", dtype=DAY)
EVERY_MONTH = np.arange("2000-01", "2100-01", dtype=MONTH)

# Federal Reserve, statistical release K.8, "Holidays Observed by the Federal Reserve System": the days on which the
# Reserve Banks are closed. A holiday on a Saturday leaves the Friday open, one on a Sunday closes the Monday.
K8 = {
    2026: """2026-01-01 Thu, 2026-01-19 Mon, 2026-02-16 Mon, 2026-05-25 Mon, 2026-06-19 Fri, 2026-07-04 Sat,
             2026-09-07 Mon, 2026-10-12 Mon, 2026-11-11 Wed, 2026-11-26 Thu, 2026-12-25 Fri""",
    2027: """2027-01-01 Fri, 2027-01-18 Mon, 2027-02-15 Mon, 2027-05-31 Mon, 2027-06-19 Sat, 2027-07-05 Mon,
             2027-09-06 Mon, 2027-10-11 Mon, 2027-11-11 Thu, 2027-11-25 Thu, 2027-12-25 Sat""",
    2028: """2028-01-01 Sat, 2028-01-17 Mon, 2028-02-21 Mon, 2028-05-29 Mon, 2028-06-19 Mon, 2028-07-04 Tue,
             2028-09-04 Mon, 2028-10-09 Mon, 2028-11-11 Sat, 2028-11-23 Thu, 2028-12-25 Mon""",
}


def at(text: object) -> Any:
    """Give one day or one month, which has no shape."""
    return np.datetime64(text)


def plain(one: Any) -> date:
    """Give a day as a date, whether it came alone or in an array without a shape."""
    return as_date(one)


def days(*texts: str) -> Any:
    return np.array([day(text) for text in texts], DAY)


def june_2026(**closed: str) -> Calendar:
    """Give a calendar that knows June 2026 alone: Mon 1st to Tue 30th, but for what is closed."""
    return Calendar(
        "June", {date(2026, 6, int(n[1:])): reason for n, reason in closed.items()}, date(2026, 6, 1), date(2026, 6, 30)
    )


# One door in


@pytest.mark.parametrize(
    "given",
    [
        date(2026, 8, 1),
        "2026-08-01",
        np.datetime64("2026-08-01"),
        at("2026-08-01"),
    ],
)
def test_one_day_comes_in_as_a_date_as_text_or_as_a_day(given: Any) -> None:
    assert as_days(given) == at("2026-08-01")
    assert as_days(given).dtype == DAY
    assert as_days([given, given]).shape == (2,)
    assert as_days([[given], [given]]).shape == (2, 1)
    assert as_days([]).dtype == DAY


def check_one_door(unit: str) -> None:
    with pytest.raises(TypeError) as refused:
        as_days(np.array(["2026-08-01"], f"datetime64[{unit}]"))
    assert str(refused.value) == f"days are datetime64[D], not datetime64[{unit}]"


@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s", "m", "h", "M", "Y"])
def test_nothing_but_days_comes_in(unit: str) -> None:
    """31 added to nanoseconds are 31 nanoseconds, and to months 31 months."""
    check_one_door(unit)


def test_31_added_to_nanoseconds_is_not_31_days() -> None:
    august = np.datetime64("2026-08-01", "ns")
    assert (august + 31).astype(DAY) == np.datetime64("2026-08-01")
    assert as_days("2026-08-01") + 31 == at("2026-09-01")


def test_a_day_goes_out_as_a_plain_date() -> None:
    given = as_date(np.datetime64("2026-08-01", "D"))
    assert given == date(2026, 8, 1)
    assert type(given) is date


# Months


@pytest.mark.parametrize("text", ["2000-01", "2026-08", "2026-12", "2099-12"])
def test_a_coverage_month_is_read(text: str) -> None:
    assert str(as_month(text)) == text
    assert as_month(text).dtype == MONTH


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026", "2026-8", "26-08", "2026-00", "2026-13", "2026-1x", "2026-08-01", "2026/08", "2026-W8"),
        *(" 2026-08", "2026-08 ", "2026-08\n", "-026-08", "+2026-08"),
        *("٢٠٢٦-٠٨", "2026-0\N{FULLWIDTH DIGIT EIGHT}"),
    ],
)
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a coverage month is written YYYY-MM, such as 2026-08$"):
        as_month(text)


@pytest.mark.parametrize("text", ["0001-01", "1999-12", "2100-01", "9999-12"])
def test_a_month_outside_the_century_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^coverage months from 2000-01 to 2099-12 are supported$"):
        as_month(text)


def test_the_supported_months_are_a_century() -> None:
    assert (str(FIRST_MONTH), str(LAST_MONTH)) == ("2000-01", "2099-12")
    assert (str(FIRST_DAY), str(LAST_DAY)) == ("2000-01-01", "2099-12-31")
    assert (EVIDENCE.start, EVIDENCE.stop) == (1999, 2101)


def test_months_are_written_by_their_number_two_years_beyond_the_supported_ones() -> None:
    assert list(MONTHS) == [str(FIRST_MONTH + number) for number in range(1224)]
    assert MONTHS[-1] == "2101-12"


def test_months_in_a_row() -> None:
    assert [str(m) for m in months_from(at("2026-11"), 3)] == ["2026-11", "2026-12", "2027-01"]
    assert months_from(at("2026-11"), 0).shape == (0,)


@pytest.mark.parametrize(
    ("month", "first", "last"),
    [
        ("2026-02", "2026-02-01 Sun", "2026-02-28 Sat"),
        ("2028-02", "2028-02-01 Tue", "2028-02-29 Tue"),
        ("2000-02", "2000-02-01 Tue", "2000-02-29 Tue"),
        ("2100-02", "2100-02-01 Mon", "2100-02-28 Sun"),
        ("2026-04", "2026-04-01 Wed", "2026-04-30 Thu"),
        ("2026-12", "2026-12-01 Tue", "2026-12-31 Thu"),
    ],
)
def test_the_first_and_the_last_day_of_a_month(month: str, first: str, last: str) -> None:
    given = at(month)
    assert plain(first_of(given)) == day(first)
    assert plain(last_of(given)) == day(last)
    assert month_of(first_of(given)) == month_of(last_of(given)) == given


# Days of a month


@pytest.mark.parametrize(
    ("month", "number", "expected"),
    [
        ("2026-08", 1, "2026-08-01 Sat"),
        ("2026-04", 31, "2026-04-30 Thu"),
        ("2026-04", 30, "2026-04-30 Thu"),
        ("2026-04", 29, "2026-04-29 Wed"),
        ("2026-02", 31, "2026-02-28 Sat"),
        ("2028-02", 30, "2028-02-29 Tue"),
        ("2026-12", -1, "2026-12-31 Thu"),
        ("2026-12", -8, "2026-12-24 Thu"),
        ("2026-12", -31, "2026-12-01 Tue"),
        ("2026-02", -31, "2026-02-01 Sun"),
        ("2026-02", -28, "2026-02-01 Sun"),
        ("2026-02", -27, "2026-02-02 Mon"),
    ],
)
def test_a_day_of_a_month_is_clamped_into_a_short_one(month: str, number: int, expected: str) -> None:
    assert plain(day_of_month(at(month), number)) == day(expected)


@pytest.mark.parametrize("number", DAYS_OF_MONTH)
def test_every_day_of_every_month(number: int) -> None:
    expected = [oracle.nth_day(first, number) for first in EVERY_MONTH.astype(DAY).tolist()]
    assert day_of_month(EVERY_MONTH, number).tolist() == expected
    assert day_of_month(EVERY_MONTH.reshape(100, 12), number).shape == (100, 12)


def check_anchor(apply: Any) -> None:
    """Reach the n-th month in one jump: who steps a month at a time from the 31st never sees a 31st again."""
    jumped = apply(at("2026-01") + np.arange(5), 31)
    assert [str(d) for d in jumped] == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]


def test_the_nth_day_is_counted_from_the_rule_and_never_from_the_last() -> None:
    check_anchor(day_of_month)


def test_the_weekday_of_every_day() -> None:
    assert weekday_of(at("1970-01-01")) == 3  # a Thursday
    assert weekday_of(at("1969-12-29")) == 0  # the Monday before, and before day 0
    assert weekday_of(CENTURY).tolist() == [one.weekday() for one in CENTURY.tolist()]


@pytest.mark.parametrize(
    ("month", "weekday", "nth", "expected"),
    [
        ("2026-11", "TH", 4, "2026-11-26 Thu"),  # Thanksgiving
        ("2026-09", "MO", 1, "2026-09-07 Mon"),  # Labor Day
        ("2026-05", "MO", -1, "2026-05-25 Mon"),  # Memorial Day
        ("2026-08", "SA", 1, "2026-08-01 Sat"),  # the 1st itself
        ("2026-08", "FR", 1, "2026-08-07 Fri"),  # the day before the 1st's weekday comes last
        ("2026-08", "MO", -1, "2026-08-31 Mon"),  # the last day itself
        ("2026-08", "TU", -1, "2026-08-25 Tue"),
        ("2026-08", "MO", -4, "2026-08-10 Mon"),
    ],
)
def test_the_nth_weekday_of_a_month(month: str, weekday: str, nth: int, expected: str) -> None:
    assert plain(nth_weekday(at(month), WEEKDAYS.index(weekday), nth)) == day(expected)


@pytest.mark.parametrize("weekday", WEEKDAYS)
def test_every_nth_weekday_of_every_month(weekday: str) -> None:
    for nth in (1, 2, 3, 4, -1, -2, -3, -4):
        expected = [oracle.nth_weekday(first, weekday, nth) for first in EVERY_MONTH.astype(DAY).tolist()]
        assert nth_weekday(EVERY_MONTH, WEEKDAYS.index(weekday), nth).tolist() == expected


def test_the_latest_day_of_a_month_before_a_day_is_strictly_before_it() -> None:
    def twelfth(months: Any) -> Any:
        return day_of_month(months, 12)

    due = days("2026-08-11 Tue", "2026-08-12 Wed", "2026-08-13 Thu", "2026-08-31 Mon", "2026-01-12 Mon")
    expected = days("2026-07-12 Sun", "2026-07-12 Sun", "2026-08-12 Wed", "2026-08-12 Wed", "2025-12-12 Fri")
    assert (latest_before(due, twelfth) == expected).all()


# Calendars


def test_a_calendar_says_which_it_is_and_what_it_knows() -> None:
    bank = library_calendar("XFED")
    assert repr(bank) == "<Calendar XFED, 1999-01-01 to 2100-12-31>"
    assert (bank.name, bank.first, bank.last) == ("XFED", date(1999, 1, 1), date(2100, 12, 31))
    assert bank.weekend == {5, 6}
    assert library_calendar("XFED") is bank


@pytest.mark.parametrize("year", K8)
def test_the_bank_calendar_is_closed_on_the_days_of_the_federal_reserve(year: int) -> None:
    listed = [day(text.strip()) for text in K8[year].split(",")]
    bank = library_calendar("XFED")
    closed = [one for one, _ in bank.closed_days(date(year, 1, 1), date(year, 12, 31)) if one.weekday() < 5]
    assert closed == [one for one in listed if one.weekday() < 5]
    assert not bank.is_open(np.array(listed, DAY)).any()


def test_the_friday_before_a_saturday_holiday_is_a_bank_day_but_no_day_of_the_federal_offices() -> None:
    """Independence Day 2026 is a Saturday: offices and the exchange close on Friday, the Reserve Banks do not."""
    friday, saturday = date(2026, 7, 3), date(2026, 7, 4)
    assert friday.weekday() == 4
    assert library_calendar("XFED").why_closed(friday) is None
    assert library_calendar("XFED").why_closed(saturday) == "Independence Day"
    assert library_calendar("US").why_closed(friday) == "Independence Day (observed)"
    assert library_calendar("XNYS").why_closed(friday) == "Independence Day (observed)"
    assert [library_calendar(name).is_open(as_days(friday)).item() for name in ("XFED", "US", "XNYS")] == [
        True,
        False,
        False,
    ]


ROLLED: list[tuple[str, Roll, str]] = [
    ("2026-05-29 Fri", "following", "2026-05-29 Fri"),
    ("2026-05-30 Sat", "following", "2026-06-01 Mon"),
    ("2026-05-30 Sat", "modified_following", "2026-05-29 Fri"),  # the Monday is in June
    ("2026-05-31 Sun", "modified_following", "2026-05-29 Fri"),
    ("2026-05-30 Sat", "preceding", "2026-05-29 Fri"),
    ("2026-05-30 Sat", "none", "2026-05-30 Sat"),
    ("2026-05-23 Sat", "following", "2026-05-26 Tue"),  # over Memorial Day
    ("2026-05-23 Sat", "modified_following", "2026-05-26 Tue"),
    ("2026-05-25 Mon", "preceding", "2026-05-22 Fri"),
    ("2026-01-01 Thu", "following", "2026-01-02 Fri"),
    ("2026-01-01 Thu", "preceding", "2025-12-31 Wed"),
    ("2026-01-01 Thu", "modified_following", "2026-01-02 Fri"),
]


def check_roll(given: str, roll: Roll, expected: str) -> None:
    assert plain(library_calendar("XFED").roll(as_days(day(given)), roll)) == day(expected)


@pytest.mark.parametrize(("given", "roll", "expected"), ROLLED)
def test_a_roll_moves_a_closed_day(given: str, roll: Roll, expected: str) -> None:
    check_roll(given, roll, expected)


SHIFTED = [
    # Settled first, then counted: from the 3-day weekend on, all counts begin on the Tuesday.
    ("2026-05-22 Fri", 0, "2026-05-22 Fri"),
    ("2026-05-22 Fri", 1, "2026-05-26 Tue"),
    ("2026-05-23 Sat", 0, "2026-05-26 Tue"),
    ("2026-05-23 Sat", 1, "2026-05-27 Wed"),
    ("2026-05-25 Mon", 1, "2026-05-27 Wed"),
    ("2026-05-26 Tue", 1, "2026-05-27 Wed"),
    # One business day before a Saturday is its Friday: a closed day settles on the Tuesday, and -1 is before that.
    ("2026-05-23 Sat", -1, "2026-05-22 Fri"),
    ("2026-05-26 Tue", -1, "2026-05-22 Fri"),
    ("2026-05-22 Fri", -1, "2026-05-21 Thu"),
    ("2026-05-23 Sat", -2, "2026-05-21 Thu"),
]


def check_shift(given: str, count: int, expected: str) -> None:
    assert plain(library_calendar("XFED").shift(as_days(day(given)), count)) == day(expected)


@pytest.mark.parametrize(("given", "count", "expected"), SHIFTED)
def test_a_shift_settles_first_and_then_counts(given: str, count: int, expected: str) -> None:
    check_shift(given, count, expected)


@pytest.mark.parametrize("name", CALENDARS)
def test_business_days_are_those_that_numpy_counts(name: str) -> None:
    known = calendar(name)
    closed = [when for when, _ in known.closed_days(known.first, known.last) if when.weekday() not in known.weekend]
    mask = [weekday not in known.weekend for weekday in range(7)]
    numpys = np.busdaycalendar(weekmask=mask, holidays=np.array(closed, DAY))
    some = np.arange(np.datetime64(known.first) + 40, np.datetime64(known.last) - 40)
    for count in range(-20, 21):
        assert (known.shift(some, count) == np.busday_offset(some, count, "forward", busdaycal=numpys)).all()
    for roll in ("following", "preceding", "modified_following"):
        theirs: Any = roll.replace("_", "")
        assert (known.roll(some, roll) == np.busday_offset(some, 0, theirs, busdaycal=numpys)).all()
    assert (known.is_open(some) == np.is_busday(some, busdaycal=numpys)).all()


def test_numpy_rolls_before_it_counts_so_the_direction_decides() -> None:
    """One business day before a Saturday: Thursday when rolled back first, Friday when rolled forward first."""
    saturday = at("2026-08-08")
    assert str(np.busday_offset(saturday, -1, roll="backward")) == "2026-08-06"
    assert str(np.busday_offset(saturday, -1, roll="forward")) == "2026-08-07"
    assert str(library_calendar("XFED").shift(saturday, -1)) == "2026-08-07"


@pytest.mark.parametrize(
    ("month", "nth", "expected"),
    [
        ("2026-05", 1, "2026-05-01 Fri"),
        ("2026-05", 2, "2026-05-04 Mon"),
        ("2026-05", -1, "2026-05-29 Fri"),
        ("2026-05", -4, "2026-05-26 Tue"),
        ("2026-05", -5, "2026-05-22 Fri"),  # over Memorial Day
        ("2026-01", 1, "2026-01-02 Fri"),  # after New Year
        ("2026-08", 15, "2026-08-21 Fri"),
        ("2026-08", 1, "2026-08-03 Mon"),  # the 1st is a Saturday
    ],
)
def test_the_nth_business_day_of_a_month(month: str, nth: int, expected: str) -> None:
    assert plain(library_calendar("XFED").nth_business_day(at(month), nth)) == day(expected)


def test_a_month_with_few_business_days_gives_its_last_or_its_first() -> None:
    """A calendar closed for all of a month but three days: no count leaves the month."""
    closed = {date(2026, 6, n): "closed" for n in range(1, 31) if n not in (2, 3, 4)}
    short = Calendar("short", closed, date(2026, 1, 1), date(2026, 12, 31))
    june = at("2026-06")
    numbers = [plain(short.nth_business_day(june, nth)).day for nth in (1, 2, 3, 4, 15, -1, -2, -3, -4, -15)]
    assert numbers == [2, 3, 4, 4, 4, 4, 3, 2, 2, 2]


# Nothing is guessed


def check_bounds(calendar: Calendar) -> None:
    """See that no day beyond June comes in or goes out, and every day within does both."""
    before, first, last, after = days("2026-05-31 Sun", "2026-06-01 Mon", "2026-06-30 Tue", "2026-07-01 Wed")
    assert calendar.is_open(np.array([before, first, last, after])).tolist() == [False, True, True, False]
    for roll in ("following", "modified_following", "preceding"):
        rolled = calendar.roll(np.array([before, first, last, after]), roll)
        assert np.isnat(rolled).tolist() == [True, False, False, True]
    assert np.isnat(calendar.shift(np.array([before, first, last, after]), 0)).tolist() == [True, False, False, True]
    assert np.isnat(calendar.shift(np.array([first, first, last, last]), 1)).tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert np.isnat(calendar.shift(first, -1))  # out on the far side
    assert np.isnat(calendar.shift(before, 1))  # in from the far side, out on the near one
    assert np.isnat(calendar.shift(after, -1))
    for count in range(1, 60):  # beyond the last by any number, and before the first
        assert np.isnat(calendar.shift(np.array([last]), count)).all()
        assert np.isnat(calendar.shift(np.array([first]), -count)).all()


def test_a_calendar_refuses_what_it_does_not_know_going_in_and_coming_out() -> None:
    check_bounds(june_2026())


def test_a_roll_out_of_the_known_years_gives_no_day() -> None:
    closed = june_2026(d1="closed", d30="closed")
    edges = days("2026-06-01 Mon", "2026-06-30 Tue")
    assert np.isnat(closed.roll(edges, "preceding")).tolist() == [True, False]
    assert np.isnat(closed.roll(edges, "following")).tolist() == [False, True]
    assert (closed.roll(edges, "modified_following") == days("2026-06-02 Tue", "2026-06-29 Mon")).all()


def test_no_roll_needs_no_evidence() -> None:
    far = days("1990-01-01 Mon", "2200-01-01 Wed")
    assert june_2026().roll(far, "none") is far


def test_the_nth_business_day_of_a_month_that_is_not_known_whole_is_no_day() -> None:
    months = np.array(["2026-05", "2026-07"], "datetime64[M]")
    assert np.isnat(june_2026().nth_business_day(months, 1)).all()
    assert np.isnat(june_2026().nth_business_day(months, -1)).all()


def test_numpy_alone_would_take_an_unknown_year_as_free_of_holidays() -> None:
    """What the bounds are for: Christmas of a year nobody told the calendar about."""
    christmas = day("2126-12-25 Wed")
    known = np.busdaycalendar(holidays=days("2026-12-25 Fri"))
    assert np.is_busday(at(christmas), busdaycal=known)
    assert not library_calendar("XFED").is_open(as_days(christmas))
    assert np.isnat(library_calendar("XFED").shift(as_days(christmas), 1))


@pytest.mark.parametrize("name", CALENDARS)
def test_one_day_and_many_days_give_the_same(name: str) -> None:
    """And the shape is kept, of one day too: numpy's own choice between two gives an array without a shape."""
    known = calendar(name)
    some = CENTURY[::997]
    for count in (-3, 0, 1):
        assert [known.shift(one, count).item() for one in some] == known.shift(some, count).tolist()
        assert known.shift(some[0], count).shape == ()
        assert known.shift(some[:10].reshape(2, 5), count).shape == (2, 5)
    assert known.roll(some[0], "following").dtype == DAY
    assert known.is_open(some).dtype == bool
    assert np.where(np.bool_(1), some[0], some[0]).shape == ()


# Why


def test_a_closed_day_says_why() -> None:
    bank = library_calendar("XFED")
    assert bank.why_closed(day("2026-11-11 Wed")) == "Veterans Day"
    assert bank.why_closed(day("2026-11-12 Thu")) is None
    reasons = {f"{one:%A}": bank.why_closed(one) for one in (date(2026, 8, 1), date(2026, 8, 2))}
    assert reasons == {"Saturday": "Saturday", "Sunday": "Sunday"}
    every = Calendar("never", {}, date(2026, 1, 1), date(2026, 12, 31), frozenset(range(6)))
    week = [date(2026, 8, 3) + timedelta(n) for n in range(7)]
    assert [every.why_closed(one) for one in week] == [*(f"{one:%A}" for one in week[:6]), None]


def test_the_closed_days_of_a_stretch_both_ends_included() -> None:
    bank = library_calendar("XFED")
    assert list(bank.closed_days(day("2026-05-23 Sat"), day("2026-05-25 Mon"))) == [
        (date(2026, 5, 23), "Saturday"),
        (date(2026, 5, 24), "Sunday"),
        (date(2026, 5, 25), "Memorial Day"),
    ]
    assert list(bank.closed_days(day("2026-05-25 Mon"), day("2026-05-25 Mon"))) == [(date(2026, 5, 25), "Memorial Day")]
    assert list(bank.closed_days(day("2026-05-26 Tue"), day("2026-05-25 Mon"))) == []


def test_a_closure_closes_a_day_and_keeps_the_holidays() -> None:
    bank = library_calendar("XFED")
    shut = bank.with_closures({date(2026, 7, 2): "flood", date(2026, 12, 25): "no need"}, "SHUT")
    assert shut.name == "SHUT"
    assert bank.with_closures({}) is bank
    assert bank.with_closures({}, "BANK").name == "BANK"
    assert (shut.first, shut.last, shut.weekend) == (bank.first, bank.last, bank.weekend)
    assert shut.why_closed(day("2026-07-02 Thu")) == "flood"
    assert shut.why_closed(day("2026-12-25 Fri")) == "Christmas Day"  # the holiday's own name
    assert plain(shut.shift(as_days(day("2026-07-01 Wed")), 1)) == day("2026-07-03 Fri")
    assert plain(bank.shift(as_days(day("2026-07-01 Wed")), 1)) == day("2026-07-02 Thu")
    assert bank.why_closed(day("2026-07-02 Thu")) is None


def test_a_calendar_may_rest_on_any_days_of_the_week() -> None:
    """In June 2026, which begins on a Monday."""
    june = [date(2026, 6, n) for n in range(1, 31)]
    for weekend in (frozenset({4, 5}), frozenset({6}), frozenset({0, 3}), frozenset[int]()):
        known = Calendar("June", {}, june[0], june[-1], weekend)
        assert known.is_open(np.array(june, DAY)).tolist() == [one.weekday() not in weekend for one in june]
        assert [one for one, _ in known.closed_days(june[0], june[-1])] == [
            one for one in june if one.weekday() in weekend
        ]


def test_a_day_beyond_the_calendar_is_closed_at_weekends_alone() -> None:
    closed = {day(told): "a" for told in ("2026-07-01 Wed", "2026-07-08 Wed", "2026-07-30 Thu")}
    known = Calendar("x", closed, date(2026, 7, 1), date(2026, 7, 30), frozenset({4, 5}))
    for told, is_closed in (
        ("2026-07-01 Wed", True),
        ("2026-07-08 Wed", True),
        ("2026-07-30 Thu", True),
        ("2026-07-09 Thu", False),
        ("2026-07-10 Fri", True),
        ("2026-07-12 Sun", False),
        ("2026-06-26 Fri", True),
        ("2026-06-28 Sun", False),
        ("2026-08-06 Thu", False),
        ("2026-08-07 Fri", True),
    ):
        assert bool(known.is_closed(at(day(told)))) is is_closed, told


def test_a_weekend_may_be_another() -> None:
    """Saudi banks rest on Friday and Saturday."""
    saudi = library_calendar("SA")
    assert saudi.weekend == {4, 5}
    assert saudi.is_open(days("2026-08-06 Thu", "2026-08-07 Fri", "2026-08-08 Sat", "2026-08-09 Sun")).tolist() == [
        True,
        False,
        False,
        True,
    ]
    assert saudi.why_closed(day("2026-08-07 Fri")) == "Friday"
    assert saudi.with_closures({}, "KSA").weekend == {4, 5}


# The library's calendars


@pytest.mark.parametrize(
    ("code", "first", "last"),
    [
        ("XFED", 1999, 2100),
        ("US-PA", 1999, 2100),
        ("XNYS", 1999, 2100),
        ("XPAR", 2019, 2100),  # the library has no earlier rules for Paris
        ("JP", 1999, 2099),  # nor any for Japan's equinoxes of 2100
    ],
)
def test_a_calendar_knows_the_years_that_the_library_has_rules_for(code: str, first: int, last: int) -> None:
    known = library_calendar(code)
    assert (known.name, known.first, known.last) == (code, date(first, 1, 1), date(last, 12, 31))
    assert not np.isnat(known.shift(at(known.first), 0))
    assert known.why_closed(date(last, 1, 1)) is not None


def test_a_calendar_knows_no_year_outside_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebill.dates.EVIDENCE", range(2010, 2020))
    bound = computed_calendar
    assert [(known.first, known.last) for known in (bound("XFED"), bound("US-PA"))] == [
        (date(2010, 1, 1), date(2019, 12, 31))
    ] * 2
    assert bound("XPAR").first == date(2019, 1, 1)


@pytest.mark.parametrize(
    ("code", "said", "last", "weekend"),
    [
        ("US-DE", partial(holidays.country_holidays, "US", subdiv="DE"), 2100, {5, 6}),
        ("IR", partial(holidays.country_holidays, "IR"), 2100, {4}),
        ("LK", partial(holidays.country_holidays, "LK"), 2026, {5, 6}),  # the library has no later rules for Sri Lanka
        ("XPAR", partial(holidays.financial_holidays, "XPAR"), 2100, {5, 6}),
    ],
)
def test_what_is_computed_is_what_the_library_says(code: str, said: Any, last: int, weekend: set[int]) -> None:
    known = computed_calendar(code)
    assert (known.name, known.last, set(known.weekend)) == (code, date(last, 12, 31), weekend)
    years = range(known.first.year, last + 1)
    assert dict(known.closures) == dict(said(years=years).items())


def test_every_year_of_a_calendar_has_its_holidays() -> None:
    for code in ("XFED", "US-PA", "XNYS"):
        known = library_calendar(code)
        for year in range(1999, 2101):
            closed = [one for one, _ in known.closed_days(date(year, 1, 1), date(year, 12, 31)) if one.weekday() < 5]
            assert len(closed) >= 6, (code, year)


def test_a_subdivision_has_its_own_holidays() -> None:
    assert library_calendar("US-PA").why_closed(day("2026-04-03 Fri")) is None
    assert library_calendar("US-DE").why_closed(day("2026-04-03 Fri")) == "Good Friday"
    assert library_calendar("US").why_closed(day("2026-04-03 Fri")) is None


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("XFEB", '"XFEB" names no calendar (did you mean "XFED"?); try XFED, XNYS or a code such as US-PA.'),
        ("XNYSE", '"XNYSE" names no calendar (did you mean "XNYS"?); try XFED, XNYS or a code such as US-PA.'),
        ("US-XX-PA", '"US-XX-PA" names no calendar (did you mean "US-PA"?); try XFED, XNYS or a code such as US-PA.'),
        ("qwertz", '"qwertz" names no calendar; try XFED, XNYS or a code such as US-PA.'),
        ("", '"" names no calendar; try XFED, XNYS or a code such as US-PA.'),
        ("-PA", '"-PA" names no calendar (did you mean "PA"?); try XFED, XNYS or a code such as US-PA.'),
        ("XFED-PA", '"XFED-PA" names no calendar (did you mean "XFED"?); try XFED, XNYS or a code such as US-PA.'),
    ],
)
def test_an_unknown_calendar_is_refused_with_the_nearest_name(code: str, sentence: str) -> None:
    with pytest.raises(UnknownCalendar) as refused:
        library_calendar(code)
    assert str(refused.value) == sentence
    assert refused.value.name == code


def test_the_release_of_the_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert library_release() == version("holidays")
    monkeypatch.setattr("ebill.dates.find_spec", lambda _: None)
    assert library_release.__wrapped__() == version("holidays")


def test_a_calendar_is_bound_with_its_own_holidays_only() -> None:
    """The same closed days, whichever way they were listed, whichever came twice."""
    closed = {date(2026, 6, 5): "b", date(2026, 6, 4): "a"}
    for listed in (closed, dict(reversed(closed.items()))):
        known = Calendar("x", listed, date(2026, 6, 1), date(2026, 6, 30))
        assert list(known.closed_days(date(2026, 6, 4), date(2026, 6, 5))) == [
            (date(2026, 6, 4), "a"),
            (date(2026, 6, 5), "b"),
        ]
        assert plain(known.shift(as_days("2026-06-03"), 1)) == day("2026-06-08 Mon")


def test_no_day_is_an_hour() -> None:
    """A day of 23 or 25 hours (the second Sunday in March, the first in November) is one day."""
    for text in ("2026-03-08 Sun", "2026-11-01 Sun"):
        assert plain(as_days(day(text)) + 1) == day(text) + timedelta(days=1)
    assert all(later - earlier == timedelta(days=1) for earlier, later in pairwise(CENTURY.tolist()))
    assert not isinstance(plain(as_days("2026-03-08")), datetime)
