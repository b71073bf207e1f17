"""Each rule gives the days its sources give, and says them in a sentence made of the same fields."""

from dataclasses import FrozenInstanceError
from datetime import date, time
from functools import cache
from typing import Any

import numpy as np
import pytest
from marshmallow import ValidationError

from ebill.dates import DAY, library_calendar
from ebill.grammar import GENERATION_KINDS, GRACE_KINDS, RowSchema, RulesSchema
from ebill.rules import (
    MONTH_NAMES,
    CalendarName,
    DayOfMonth,
    DaysBeforeDue,
    Due,
    GraceDays,
    GraceFloor,
    GraceMonths,
    Inherited,
    NthBusinessDay,
    NthWeekday,
    PayBy,
    Posting,
    SkipCoverageMonths,
    Timezone,
    counted,
    ordinal,
)
from tests.strategies import DUES, GENERATIONS, GRACES, PAY_BYS, POSTINGS, day, rule

pytestmark = pytest.mark.anywhere

BANK = library_calendar("XFED")

RULES: list[tuple[str, Any, str]] = [
    ("due", {"day": 1}, "the 1st of the coverage month"),
    ("due", {"day": 22, "roll": "none"}, "the 22nd of the coverage month"),
    ("due", {"day": -1}, "the last day of the coverage month"),
    ("due", {"day": -3}, "the 3rd to last day of the coverage month"),
    ("due", {"day": 15, "month_offset": 1}, "the 15th of the month after the coverage month"),
    ("due", {"day": 15, "month_offset": -1}, "the 15th of the month before the coverage month"),
    ("due", {"day": 31, "month_offset": 3}, "the 31st of the 3rd month after the coverage month"),
    ("due", {"day": 2, "month_offset": -2}, "the 2nd of the 2nd month before the coverage month"),
    ("due", {"day": 1, "roll": "following"}, "the 1st of the coverage month, or the next business day"),
    ("due", {"day": 1, "roll": "preceding"}, "the 1st of the coverage month, or the business day before"),
    (
        "due",
        {"day": 1, "roll": "modified_following"},
        "the 1st of the coverage month, or the next business day, or the one before where the next is in another month",
    ),
    ("generation", {"days_before_due": 1}, "1 day before the due date"),
    ("generation", {"days_before_due": 20}, "20 days before the due date"),
    (
        "generation",
        {"days_before_due": 20, "roll": "preceding"},
        "20 days before the due date, or the business day before",
    ),
    ("generation", {"day_of_month": 12}, "the latest 12th of a month, before the due date"),
    ("generation", {"day_of_month": -8}, "the latest 8th to last day of a month, before the due date"),
    ("generation", {"day_of_month": -1, "months_before_due": 0}, "the last day of the due date's month"),
    (
        "generation",
        {"day_of_month": 12, "months_before_due": 1},
        "the 12th of the month 1 month before the due date's",
    ),
    (
        "generation",
        {"day_of_month": 12, "months_before_due": 2, "roll": "following"},
        "the 12th of the month 2 months before the due date's, or the next business day",
    ),
    ("generation", {"weekday": "TH", "nth": 3}, "the latest 3rd Thursday of a month, before the due date"),
    (
        "generation",
        {"weekday": "FR", "nth": -1, "months_before_due": 1},
        "the last Friday of the month 1 month before the due date's",
    ),
    (
        "generation",
        {"business_day": 5, "roll": "following"},
        "the latest 5th business day of a month, before the due date, or the next business day",
    ),
    (
        "generation",
        {"business_day": -2, "months_before_due": 3},
        "the 2nd to last business day of the month 3 months before the due date's",
    ),
    ("grace", {"days": 30}, "30 days after the due date"),
    ("grace", {"days": 1}, "1 day after the due date"),
    ("grace", {"days": 30, "counting": "from_due"}, "30 days counted with the due date as day 1"),
    ("grace", {"days": 30, "roll": "following"}, "30 days after the due date, or the next business day"),
    ("grace", {"calendar_months": 1}, "the last day of the due date's month"),
    (
        "grace",
        {"calendar_months": 1, "roll": "preceding"},
        "the last day of the due date's month, or the business day before",
    ),
    (
        "grace",
        {"calendar_months": 3},
        "the last day of the 3rd calendar month, the due date's month being the 1st",
    ),
    (
        "grace",
        {"calendar_months": 2, "roll": "following"},
        "the last day of the 2nd calendar month, the due date's month being the 1st, or the next business day",
    ),
    ("pay_by", {"days_before_next_invoice": 3}, "3 calendar days before the next invoice is generated"),
    (
        "pay_by",
        {"days_before_next_invoice": 1, "unit": "business", "roll": "preceding"},
        "1 business day before the next invoice is generated, or the business day before",
    ),
    (
        "posting",
        {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"},
        "2 to 3 business days after it is received; from 17:00 local time on, the next business day receives it",
    ),
    (
        "posting",
        {"min_business_days": 0, "max_business_days": 1, "cutoff": "09:05"},
        "0 to 1 business day after it is received; from 09:05 local time on, the next business day receives it",
    ),
    (
        "posting",
        {"min_business_days": 1, "max_business_days": 1, "cutoff": "23:59"},
        "1 business day after it is received; from 23:59 local time on, the next business day receives it",
    ),
    (
        "posting",
        {"min_business_days": 4, "max_business_days": 4, "cutoff": "00:00"},
        "4 business days after it is received; from 00:00 local time on, the next business day receives it",
    ),
    ("calendar", "US-PA", "business days of calendar US-PA"),
    ("timezone", "America/New_York", "local time of America/New_York"),
    ("skip_coverage_months", [7, 8], "no invoice for July, August"),
    ("skip_coverage_months", [12, 1], "no invoice for January, December"),
    ("skip_coverage_months", [], "an invoice for every month"),
    ("grace_floor", {"days": 31}, "never before 31 days after the due date"),
    ("grace_floor", {"calendar_months": 1}, "never before the last day of the due date's month"),
]


def test_what_is_inherited_says_so() -> None:
    assert str(Inherited(kind="grace")) == "as the layers below have it"


@pytest.mark.parametrize(("kind", "data", "sentence"), RULES)
def test_a_rule_says_itself(kind: str, data: Any, sentence: str) -> None:
    read = rule(kind, data)
    assert str(read) == sentence
    assert read.kind == kind


@pytest.mark.parametrize(("kind", "data"), [row[:2] for row in RULES])
def test_a_rule_is_a_value(kind: str, data: Any) -> None:
    """Two readings are equal and hash alike, and nobody can change one."""
    one, other = rule(kind, data), rule(kind, data)
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        one.roll = "following"


@pytest.mark.parametrize(
    ("kind", "data", "written_back"),
    [
        ("due", {"day": 22, "month_offset": 0, "roll": "none"}, {"day": 22}),
        ("due", {"day": -1, "month_offset": -3, "roll": "following"}, None),
        ("generation", {"days_before_due": 20, "roll": "preceding"}, None),
        ("generation", {"day_of_month": 12}, None),
        ("generation", {"weekday": "TH", "nth": 3, "months_before_due": 0}, None),  # 0 is not the same as not said
        ("grace", {"days": 0, "counting": "after_due"}, {"days": 0}),
        ("grace", {"days": 30, "counting": "from_due", "roll": "modified_following"}, None),
        ("pay_by", {"days_before_next_invoice": 3, "unit": "calendar"}, {"days_before_next_invoice": 3}),
        ("pay_by", {"days_before_next_invoice": 3, "unit": "business"}, None),
        ("posting", {"min_business_days": 0, "max_business_days": 3, "cutoff": "09:05"}, None),
        ("posting", {"min_business_days": 2, "max_business_days": 3, "cutoff": "00:00"}, None),
        ("calendar", "US-PA", None),
        ("timezone", "America/New_York", None),
        ("skip_coverage_months", [8, 7], [7, 8]),
        ("skip_coverage_months", [], None),
        ("grace_floor", {"calendar_months": 1, "roll": "none"}, {"calendar_months": 1}),
    ],
)
def test_a_rule_is_written_in_the_words_of_the_book(kind: str, data: Any, written_back: Any) -> None:
    """As it was read, but for what is at its default and for the order of a list of months."""
    assert rule(kind, data).as_data() == (data if written_back is None else written_back)


EVERY_WAY = [
    *(("due", data) for data in DUES),
    *(("generation", data) for ways in GENERATIONS.values() for data in ways),
    *(("grace", data) for ways in GRACES.values() for data in ways),
    *(("grace_floor", data) for ways in GRACES.values() for data in ways),
    *(("pay_by", data) for data in PAY_BYS),
    *(("posting", data) for data in POSTINGS),
    *(("skip_coverage_months", list(range(1, last))) for last in range(1, 13)),
    ("calendar", "XNYS"),
    ("timezone", "Pacific/Honolulu"),
]
AT_DEFAULT = (("roll", "none"), ("counting", "after_due"), ("unit", "calendar"), ("month_offset", 0))


@cache
def every_way(kind: str) -> dict[str, tuple[Any, Any]]:
    """Give every way to write a kind of rule, with the rule that is read from it: once, for it takes long."""
    return {repr(data): (data, rule(kind, data)) for given, data in EVERY_WAY if given == kind}


@pytest.mark.parametrize("kind", list(dict.fromkeys(kind for kind, _ in EVERY_WAY)))
def test_every_rule_is_written_back_as_it_was_read_but_for_what_is_at_its_default(kind: str) -> None:
    for data, read in every_way(kind).values():
        shortest = data
        if isinstance(data, dict):
            shortest = {key: value for key, value in data.items() if (key, value) not in AT_DEFAULT}
        assert read.as_data() == shortest
        assert every_way(kind)[repr(shortest)][1] == read


def test_every_sentence_tells_its_rule_from_every_other() -> None:
    """A sentence that left a field out would say two rules alike."""
    for kind in dict.fromkeys(kind for kind, _ in EVERY_WAY):
        sentences: dict[str, Any] = {}
        for _, read in every_way(kind).values():
            assert sentences.setdefault(str(read), read) == read


def test_each_kind_of_generation_and_of_grace_is_told_by_its_own_key() -> None:
    assert list(GENERATION_KINDS) == list(GENERATIONS)
    assert list(GRACE_KINDS) == list(GRACES)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("due", {"day": 0}),
        ("due", {"day": 32}),
        ("due", {"day": -32}),
        ("due", {"day": 1, "month_offset": 4}),
        ("due", {"day": 1, "month_offset": -4}),
        ("due", {"day": 1, "roll": "nearest"}),
        ("due", {"day": True}),
        ("due", {"day": 1.0}),
        ("due", {"dya": 1}),
        ("generation", {"days_before_due": 0}),
        ("generation", {"days_before_due": 91}),
        ("generation", {"day_of_month": 32}),
        ("generation", {"day_of_month": 12, "months_before_due": 4}),
        ("generation", {"day_of_month": 12, "months_before_due": -1}),
        ("generation", {"days_before_due": 20, "months_before_due": 1}),
        ("generation", {"weekday": "TH", "nth": 5}),
        ("generation", {"weekday": "TH", "nth": -5}),
        ("generation", {"weekday": "TH", "nth": 0}),
        ("generation", {"weekday": "THU", "nth": 1}),
        ("generation", {"business_day": 16}),
        ("generation", {"business_day": -16}),
        ("generation", {"business_day": 5, "day_of_month": 5}),
        ("grace", {"days": -1}),
        ("grace", {"days": 367}),
        ("grace", {"calendar_months": 0}),
        ("grace", {"calendar_months": 13}),
        ("grace", {"calendar_months": 2, "counting": "from_due"}),
        ("pay_by", {"days_before_next_invoice": 0}),
        ("pay_by", {"days_before_next_invoice": 61}),
        ("posting", {"min_business_days": 3, "max_business_days": 2, "cutoff": "17:00"}),
        ("posting", {"min_business_days": 2, "max_business_days": 31, "cutoff": "17:00"}),
        ("posting", {"min_business_days": 2, "max_business_days": 3, "cutoff": "24:00"}),
        ("skip_coverage_months", [13]),
        ("skip_coverage_months", list(range(1, 13))),
    ],
)
def test_just_outside_the_grammar_a_rule_is_refused(kind: str, data: Any) -> None:
    with pytest.raises(ValidationError):
        rule(kind, data)


def test_a_request_writes_rules_as_the_book_does() -> None:
    for kind, data, _ in RULES:
        if kind != "grace_floor":
            assert RulesSchema().load({kind: data}) == {kind: rule(kind, data)}
    assert "grace_floor" in RowSchema().fields
    assert "grace_floor" not in RulesSchema().fields


# What the days are, from the sources


def on(text: str) -> Any:
    return np.array([day(text)], DAY)


@pytest.mark.parametrize(
    ("given", "due", "end"),
    [
        # Producer Portal FAQ: 30 days; the 1st of August to the 31st.
        (GraceDays(30), "2026-08-01 Sat", "2026-08-31 Mon"),
        (GraceDays(30), "2026-02-01 Sun", "2026-03-03 Tue"),
        (GraceDays(30), "2028-02-01 Tue", "2028-03-02 Thu"),
        (GraceDays(30, "from_due"), "2026-08-01 Sat", "2026-08-30 Sun"),
        (GraceDays(31, "from_due"), "2026-08-01 Sat", "2026-08-31 Mon"),
        (GraceDays(1, "from_due"), "2026-08-01 Sat", "2026-08-01 Sat"),
        (GraceDays(0), "2026-08-01 Sat", "2026-08-01 Sat"),
        (GraceDays(366), "2026-08-01 Sat", "2027-08-02 Mon"),
        (GraceDays(30, roll="following"), "2026-08-06 Thu", "2026-09-08 Tue"),  # over Labor Day
        (GraceDays(30, roll="preceding"), "2026-08-06 Thu", "2026-09-04 Fri"),
        # 45 CFR 156.270(d): three consecutive months.
        (GraceMonths(3), "2026-02-01 Sun", "2026-04-30 Thu"),
        # 42 CFR 423.44(d): two calendar months.
        (GraceMonths(2), "2026-02-01 Sun", "2026-03-31 Tue"),
        (GraceMonths(1), "2026-02-01 Sun", "2026-02-28 Sat"),
        (GraceMonths(1), "2028-02-15 Tue", "2028-02-29 Tue"),
        (GraceMonths(2), "2026-12-31 Thu", "2027-01-31 Sun"),
        (GraceMonths(2, "modified_following"), "2026-12-31 Thu", "2027-01-29 Fri"),
        (GraceMonths(12), "2026-01-01 Thu", "2026-12-31 Thu"),
    ],
)
def test_the_grace_ends(given: Any, due: str, end: str) -> None:
    assert given.apply(on(due), BANK) == on(end)
    assert given.kind == "grace"


@pytest.mark.parametrize(
    ("given", "due", "expected"),
    [
        (DaysBeforeDue(20), "2026-02-01 Sun", "2026-01-12 Mon"),
        (DaysBeforeDue(20), "2026-11-01 Sun", "2026-10-12 Mon"),
        (DaysBeforeDue(20, "preceding"), "2026-11-01 Sun", "2026-10-09 Fri"),  # Columbus Day
        (DaysBeforeDue(20, "following"), "2026-11-01 Sun", "2026-10-13 Tue"),
        (DayOfMonth(12), "2026-08-01 Sat", "2026-07-12 Sun"),
        (DayOfMonth(12), "2026-08-12 Wed", "2026-07-12 Sun"),  # strictly before
        (DayOfMonth(12), "2026-08-13 Thu", "2026-08-12 Wed"),
        (DayOfMonth(12, 0), "2026-08-01 Sat", "2026-08-12 Wed"),
        (DayOfMonth(12, 1), "2026-08-01 Sat", "2026-07-12 Sun"),
        (DayOfMonth(31, 3), "2026-05-01 Fri", "2026-02-28 Sat"),
        (DayOfMonth(-8), "2026-03-01 Sun", "2026-02-21 Sat"),
        (DayOfMonth(31), "2026-02-28 Sat", "2026-01-31 Sat"),  # the clamped 31st is the due date itself
        (NthWeekday("TH", 3), "2026-08-01 Sat", "2026-07-16 Thu"),
        (NthWeekday("TH", 3, 0), "2026-08-01 Sat", "2026-08-20 Thu"),
        (NthWeekday("MO", -1), "2026-08-31 Mon", "2026-07-27 Mon"),
        (NthBusinessDay(1), "2026-01-02 Fri", "2025-12-01 Mon"),
        (NthBusinessDay(1), "2026-01-03 Sat", "2026-01-02 Fri"),  # New Year's Day is none
        (NthBusinessDay(-1, 1), "2026-06-15 Mon", "2026-05-29 Fri"),
        (NthBusinessDay(15, 0), "2026-08-01 Sat", "2026-08-21 Fri"),
    ],
)
def test_the_invoice_is_generated(given: Any, due: str, expected: str) -> None:
    assert given.apply(on(due), BANK) == on(expected)
    assert given.kind == "generation"


@pytest.mark.parametrize(
    ("given", "next_generation", "expected"),
    [
        (PayBy(3), "2026-02-09 Mon", "2026-02-06 Fri"),
        (PayBy(3), "2026-08-12 Wed", "2026-08-09 Sun"),
        (PayBy(3, roll="preceding"), "2026-08-12 Wed", "2026-08-07 Fri"),
        (PayBy(3, "business"), "2026-08-12 Wed", "2026-08-07 Fri"),
        (PayBy(1, "business"), "2026-07-12 Sun", "2026-07-10 Fri"),  # the last business day before is the first
        (PayBy(3, "business"), "2026-07-12 Sun", "2026-07-08 Wed"),
        (PayBy(2, "business"), "2026-05-26 Tue", "2026-05-21 Thu"),  # over Memorial Day
    ],
)
def test_pay_by(given: Any, next_generation: str, expected: str) -> None:
    assert given.apply(on(next_generation), BANK) == on(expected)


@pytest.mark.parametrize(
    ("given", "month", "expected"),
    [
        (Due(1), "2026-08", "2026-08-01 Sat"),
        (Due(1, roll="following"), "2026-08", "2026-08-03 Mon"),
        (Due(1, roll="preceding"), "2026-08", "2026-07-31 Fri"),
        (Due(1, roll="modified_following"), "2026-08", "2026-08-03 Mon"),
        (Due(31), "2026-02", "2026-02-28 Sat"),
        (Due(-1, roll="modified_following"), "2026-02", "2026-02-27 Fri"),
        (Due(31, 1), "2026-08", "2026-09-30 Wed"),
        (Due(31, -3), "2026-02", "2025-11-30 Sun"),
        (Due(15, 3), "2026-11", "2027-02-15 Mon"),
    ],
)
def test_premium_is_due(given: Due, month: str, expected: str) -> None:
    assert given.apply(np.array([month], "datetime64[M]"), BANK) == on(expected)


def test_a_rule_computes_first_and_rolls_last() -> None:
    """30 days after Thu 08-06 is Sat 09-05; rolled after that it is Tue 09-08, over Labor Day."""
    due = on("2026-08-06 Thu")
    assert GraceDays(30, roll="following").unrolled(due, BANK) == on("2026-09-05 Sat")
    assert GraceDays(30, roll="following").apply(due, BANK) == on("2026-09-08 Tue")


def test_only_rules_that_count_business_days_say_so() -> None:
    assert NthBusinessDay(1).counts_business_days is True
    assert PayBy(3, "business").counts_business_days is True
    assert PayBy(3).counts_business_days is False
    for given in (Due(1), DaysBeforeDue(20), DayOfMonth(12), NthWeekday("TH", 3), GraceDays(30), GraceMonths(2)):
        assert given.counts_business_days is False


def test_what_is_not_said_is_at_its_default() -> None:
    assert Due(1) == Due(1, 0, "none")
    assert DaysBeforeDue(20) == DaysBeforeDue(20, "none")
    assert DayOfMonth(12) == DayOfMonth(12, None, "none")
    assert NthWeekday("TH", 3) == NthWeekday("TH", 3, None, "none")
    assert NthBusinessDay(5) == NthBusinessDay(5, None, "none")
    assert GraceDays(30) == GraceDays(30, "after_due", "none")
    assert GraceMonths(2) == GraceMonths(2, "none")
    assert PayBy(3) == PayBy(3, "calendar", "none")
    assert SkipCoverageMonths() == SkipCoverageMonths(())
    assert rule("due", {"day": 1}) == Due(1)
    assert rule("generation", {"weekday": "TH", "nth": 3}) == NthWeekday("TH", 3)
    assert rule("posting", {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"}) == Posting(
        2, 3, time(17)
    )
    assert rule("calendar", "XFED") == CalendarName("XFED")
    assert rule("timezone", "America/New_York") == Timezone("America/New_York")
    assert rule("skip_coverage_months", [8, 7]) == SkipCoverageMonths((7, 8))
    assert rule("grace_floor", {"days": 31}) == GraceFloor(GraceDays(31))


# Words


def test_ordinals() -> None:
    assert [ordinal(n) for n in range(1, 15)] == [
        *("1st", "2nd", "3rd", "4th", "5th", "6th", "7th"),
        *("8th", "9th", "10th", "11th", "12th", "13th", "14th"),
    ]
    assert [ordinal(n) for n in (20, 21, 22, 23, 24, 31)] == ["20th", "21st", "22nd", "23rd", "24th", "31st"]
    assert [ordinal(n) for n in (101, 111, 112, 113, 121)] == ["101st", "111th", "112th", "113th", "121st"]
    assert ordinal(0) == "0th"
    assert [ordinal(n) for n in (-1, -2, -11, -31)] == ["last", "2nd to last", "11th to last", "31st to last"]


def test_counts() -> None:
    assert [counted(n, "day") for n in (0, 1, 2)] == ["0 days", "1 day", "2 days"]


def test_months_have_their_names() -> None:
    assert list(MONTH_NAMES) == [f"{date(2026, month, 1):%B}" for month in range(1, 13)]


@pytest.mark.parametrize("weekday", ["MO", "TU", "WE", "TH", "FR", "SA", "SU"])
def test_weekdays_have_their_names(weekday: Any) -> None:
    name = NthWeekday(weekday, 1).name()
    assert name.split()[1][:2].upper() == weekday
    assert f"{NthWeekday(weekday, 1, 0).apply(on('2026-08-01 Sat'), BANK)[0].item():%A}" == name.split()[1]


# What a rule says of itself, and of many


@pytest.mark.parametrize(
    ("kind", "given", "keeps"),
    [
        ("generation", {"days_before_due": 1}, True),
        ("generation", {"days_before_due": 20, "roll": "preceding"}, True),
        ("generation", {"days_before_due": 20, "roll": "following"}, False),
        ("generation", {"days_before_due": 20, "roll": "modified_following"}, False),
        ("generation", {"day_of_month": 12}, True),
        ("generation", {"day_of_month": -8, "roll": "preceding"}, True),
        ("generation", {"day_of_month": 12, "roll": "following"}, False),
        ("generation", {"day_of_month": 12, "months_before_due": 1}, False),
        ("generation", {"day_of_month": 12, "months_before_due": 0}, False),
        ("generation", {"weekday": "TH", "nth": 3}, True),
        ("generation", {"weekday": "TH", "nth": 3, "months_before_due": 2}, False),
        ("generation", {"business_day": 3}, False),
        ("grace", {"days": 0}, True),
        ("grace", {"days": 30, "roll": "following"}, True),
        ("grace", {"days": 30, "roll": "preceding"}, False),
        ("grace", {"days": 30, "roll": "modified_following"}, False),
        ("grace", {"days": 1, "counting": "from_due"}, True),
        ("grace", {"days": 0, "counting": "from_due"}, False),
        ("grace", {"calendar_months": 1}, True),
        ("grace", {"calendar_months": 1, "roll": "following"}, True),
        ("grace", {"calendar_months": 1, "roll": "preceding"}, False),
    ],
)
def test_a_rule_says_whether_it_plainly_keeps_the_order(kind: str, given: Any, keeps: bool) -> None:
    """What it says is safe, not sharp: 12 days of the month before are in order, too, but not plainly so."""
    assert rule(kind, given).keeps_order is keeps


def test_no_days_before_the_due_date_are_not_in_order_nor_are_no_months_of_grace() -> None:
    """The grammar gives neither; the rules do not rely on it."""
    assert not DaysBeforeDue(0).keeps_order
    assert not GraceMonths(0).keeps_order


@pytest.mark.parametrize(
    ("kind", "alike", "other"),
    [
        ("due", [{"day": 1}, {"day": 31}], {"day": -1}),
        ("due", [{"day": -1}, {"day": -31}], {"day": -1, "month_offset": 1}),
        ("generation", [{"days_before_due": 5}, {"days_before_due": 90}], {"days_before_due": 5, "roll": "following"}),
        ("generation", [{"day_of_month": 1}, {"day_of_month": 31}], {"day_of_month": 1, "months_before_due": 0}),
        ("generation", [{"weekday": "TH", "nth": -1}, {"weekday": "TH", "nth": -4}], {"weekday": "FR", "nth": -1}),
        ("generation", [{"business_day": -1}, {"business_day": -15}], {"business_day": 1}),
        ("grace", [{"days": 30}, {"days": 60}], {"days": 30, "counting": "from_due"}),
        ("grace", [{"calendar_months": 1}, {"calendar_months": 3}], {"calendar_months": 1, "roll": "preceding"}),
        (
            "pay_by",
            [{"days_before_next_invoice": 3, "unit": "business"}, {"days_before_next_invoice": 9, "unit": "business"}],
            {"days_before_next_invoice": 3},
        ),
    ],
)
def test_rules_of_one_shape_are_one_rule_of_many_numbers(kind: str, alike: list[Any], other: Any) -> None:
    rules = [rule(kind, given) for given in alike]
    assert rules[0].shape == rules[1].shape != rule(kind, other).shape
    months = np.arange("2026-01", "2028-01", dtype="datetime64[M]")
    origin = months if kind == "due" else months.astype(DAY) + 14
    numbers = np.array([[getattr(each, each.number)] for each in rules])
    together = rules[1].with_numbers(numbers).apply(origin, BANK)
    assert together.tolist() == [each.apply(origin, BANK).tolist() for each in rules]
