"""How rules are written: what is meant is read, and whatever only looks like it is refused where it stands."""

import json
import unicodedata
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from marshmallow import Schema, ValidationError, fields

from ebill import grammar
from ebill.errors import Fault
from ebill.grammar import (
    GENERATION_KINDS,
    GRACE_KINDS,
    KINDS,
    MOST_HINTS,
    RowSchema,
    RulesSchema,
    Strict,
    faults,
    flatten,
    read_day,
    read_moment,
)
from ebill.rules import (
    CalendarName,
    DaysBeforeDue,
    GraceDays,
    GraceFloor,
    GraceMonths,
    NthWeekday,
    Posting,
    SkipCoverageMonths,
    Timezone,
)
from tests.strategies import day, month

pytestmark = pytest.mark.anywhere

ROLL = "must be one of none, following, modified_following, preceding"
NULL = "must not be null"
HUGE = 10**30
ENDLESS = 10**5_000
"""More digits than Python itself writes out."""
ARABIC, FULL_WIDTH = "\u0661\u0662", "\uff11\uff12"
"""12 in other digits than ASCII's."""


def found(schema: Schema, data: Any) -> list[tuple[str, str]]:
    """Give the places and sentences of what is wrong; nothing, where all is right."""
    try:
        schema.load(data)
    except ValidationError as error:
        return [(fault.pointer, fault.detail) for fault in faults(error.messages)]
    return []


def refused(field: fields.Field[Any], value: Any) -> str:
    """Give the sentence by which a field refuses a value; it must be one."""
    with pytest.raises(ValidationError) as refusal:
        field.deserialize(value)
    [(_, sentence)] = flatten(refusal.value.messages)
    return sentence


def odd(*values: Any) -> tuple[Any, ...]:
    return values


def in_rules(kind: str, rule: Any) -> list[tuple[str, str]]:
    return found(RulesSchema(), {kind: rule})


def row(**more: Any) -> dict[str, Any]:
    return {"since": "2026-08", "cite": "a test", **more}


# Every field of every kind of rule

Rule = dict[str, Any]
WHOLE: list[tuple[str, Rule, str, int, int, bool]] = [
    ("due", {"day": 1}, "day", -31, 31, False),
    ("due", {"day": 1}, "month_offset", -3, 3, True),
    ("generation", {"days_before_due": 20}, "days_before_due", 1, 90, True),
    ("generation", {"day_of_month": 12}, "day_of_month", -31, 31, False),
    ("generation", {"day_of_month": 12}, "months_before_due", 0, 3, True),
    ("generation", {"weekday": "TH", "nth": 3}, "nth", -4, 4, False),
    ("generation", {"weekday": "TH", "nth": 3}, "months_before_due", 0, 3, True),
    ("generation", {"business_day": 5}, "business_day", -15, 15, False),
    ("generation", {"business_day": 5}, "months_before_due", 0, 3, True),
    ("grace", {"days": 30}, "days", 0, 366, True),
    ("grace", {"calendar_months": 2}, "calendar_months", 1, 12, True),
    ("pay_by", {"days_before_next_invoice": 3}, "days_before_next_invoice", 1, 60, True),
    ("posting", {"min_business_days": 0, "max_business_days": 30, "cutoff": "17:00"}, "min_business_days", 0, 30, True),
    ("posting", {"min_business_days": 0, "max_business_days": 30, "cutoff": "17:00"}, "max_business_days", 0, 30, True),
]
each_whole = pytest.mark.parametrize(
    ("kind", "rule", "key", "low", "high", "zero"), WHOLE, ids=[f"{kind} {'.'.join(r)} {k}" for kind, r, k, *_ in WHOLE]
)


@each_whole
def test_a_whole_number_is_one_and_nothing_that_looks_like_one(
    kind: str, rule: Rule, key: str, low: int, high: int, zero: bool
) -> None:
    bounds = f"{low} to {high}" + ("" if zero else ", without 0")
    looks = [True, False, 1.0, 1.5, float("nan"), float("inf"), "1", "", ARABIC, FULL_WIDTH, [1], [], {}, {"a": 1}]
    for value in [*looks, b"1", np.int64(1), date(2026, 8, 1), time(1)]:
        assert in_rules(kind, {**rule, key: value}) == [
            (f"/{kind}/{key}", f"must be a whole number from {bounds}"),
        ], repr(value)
    assert in_rules(kind, {**rule, key: None}) == [(f"/{kind}/{key}", NULL)]


@each_whole
def test_a_whole_number_lies_within_its_bounds(
    kind: str, rule: Rule, key: str, low: int, high: int, zero: bool
) -> None:
    bounds = f"{low} to {high}" + ("" if zero else ", without 0")
    for value in (low, high, 1):
        assert in_rules(kind, {**rule, key: value}) == []
    for value in (low - 1, high + 1, 2**31, 2**63, 2**64, -(2**63) - 1, HUGE, -HUGE, ENDLESS):
        assert in_rules(kind, {**rule, key: value}) == [(f"/{kind}/{key}", f"must be from {bounds}")]
    if low <= 0:
        assert in_rules(kind, {**rule, key: 0}) == ([] if zero else [(f"/{kind}/{key}", f"must be from {bounds}")])


WORDS: list[tuple[str, Rule, str, str]] = [
    ("due", {"day": 1}, "roll", ROLL),
    ("generation", {"days_before_due": 20}, "roll", ROLL),
    ("generation", {"day_of_month": 12}, "roll", ROLL),
    ("generation", {"weekday": "TH", "nth": 3}, "roll", ROLL),
    ("generation", {"weekday": "TH", "nth": 3}, "weekday", "must be one of MO, TU, WE, TH, FR, SA, SU"),
    ("generation", {"business_day": 5}, "roll", ROLL),
    ("grace", {"days": 30}, "roll", ROLL),
    ("grace", {"days": 30}, "counting", "must be one of after_due, from_due"),
    ("grace", {"calendar_months": 2}, "roll", ROLL),
    ("pay_by", {"days_before_next_invoice": 3}, "roll", ROLL),
    ("pay_by", {"days_before_next_invoice": 3}, "unit", "must be one of calendar, business"),
]


@pytest.mark.parametrize(
    ("kind", "rule", "key", "sentence"), WORDS, ids=[f"{kind} {'.'.join(r)} {k}" for kind, r, k, _ in WORDS]
)
def test_a_choice_is_one_of_its_words_as_they_are_written(kind: str, rule: Rule, key: str, sentence: str) -> None:
    *_, words = sentence.partition("must be one of ")
    for word in words.split(", "):
        assert in_rules(kind, {**rule, key: word}) == []
        for near in (word.upper() if word.islower() else word.lower(), f"{word} ", f"{word}\n", f"{word}\0"):
            [(place, said)] = in_rules(kind, {**rule, key: near})
            assert place == f"/{kind}/{key}"
            assert said.startswith(sentence)
    for value in odd(True, 1, 1.0, "", [], ["none"], {}, b"none", HUGE, ENDLESS, date(2026, 8, 1)):
        assert in_rules(kind, {**rule, key: value}) == [(f"/{kind}/{key}", sentence)]
    assert in_rules(kind, {**rule, key: None}) == [(f"/{kind}/{key}", NULL)]


def test_a_choice_that_is_nearly_right_is_told_the_right_word() -> None:
    assert in_rules("due", {"day": 1, "roll": "folowing"}) == [("/due/roll", f'{ROLL} (did you mean "following"?)')]
    assert in_rules("due", {"day": 1, "roll": "sideways"}) == [("/due/roll", ROLL)]


def test_a_cutoff_is_a_wall_time_in_quotes() -> None:
    rule = {"min_business_days": 2, "max_business_days": 3}
    for value in ("00:00", "09:05", "17:00", "23:59"):
        assert RulesSchema().load({"posting": {**rule, "cutoff": value}}) == {
            "posting": Posting(2, 3, time.fromisoformat(value))
        }
    for value in odd(
        *("24:00", "23:60", "7:00", "17:0", "17", "1700", "17:00:00", "17:00 ", " 17:00", "17:00\n", "5 pm", ""),
        *("\u0661\u0667:\u0660\u0660", "17:00Z", "-1:00", True, 17, 17.0, [], {}, time(17), HUGE),
    ):
        assert in_rules("posting", {**rule, "cutoff": value}) == [
            ("/posting/cutoff", 'must be a wall time from "00:00" to "23:59"')
        ], repr(value)
    assert in_rules("posting", {**rule, "cutoff": None}) == [("/posting/cutoff", NULL)]


REQUIRED: dict[str, Rule] = {
    "due": {"day": 1},
    "generation": {"weekday": "TH", "nth": 3},
    "pay_by": {"days_before_next_invoice": 3},
    "posting": {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"},
}


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind, rule in REQUIRED.items() for key in rule if key != "weekday"]
)
def test_what_has_no_default_is_required(kind: str, key: str) -> None:
    kept = {name: value for name, value in REQUIRED[kind].items() if name != key}
    assert in_rules(kind, kept) == [(f"/{kind}/{key}", "is required")]


@pytest.mark.parametrize("kind", ["due", "pay_by", "posting"])
def test_a_rule_is_a_table(kind: str) -> None:
    for value in odd(True, 1, 1.0, "1", "", [], [{"day": 1}], date(2026, 8, 1), HUGE):
        assert in_rules(kind, value) == [(f"/{kind}", "must be a table of keys and values")], repr(value)
    assert in_rules(kind, None) == [(f"/{kind}", NULL)]


# Rules that come in several kinds

SEVERAL = {
    "generation": "days_before_due, day_of_month, weekday, business_day",
    "grace": "days, calendar_months",
    "grace_floor": "days, calendar_months",
}


def in_row(kind: str, rule: Any) -> list[tuple[str, str]]:
    return found(RowSchema(), row(**{kind: rule}))


@pytest.mark.parametrize(("kind", "keys"), SEVERAL.items())
def test_a_rule_of_several_kinds_is_a_table_with_the_key_of_one(kind: str, keys: str) -> None:
    for value in odd(True, 1, 1.0, "1", [], [{"days": 30}], HUGE):
        assert in_row(kind, value) == [(f"/{kind}", f"must be a table with one of {keys}")], repr(value)
    assert in_row(kind, None) == [(f"/{kind}", NULL)]
    assert in_row(kind, {}) == [(f"/{kind}", f"must have one of {keys}")]
    assert in_row(kind, {"roll": "none"}) == [(f"/{kind}", f"must have one of {keys}")]
    assert in_row(kind, {"xyz": 1}) == [(f"/{kind}", f"must have one of {keys}")]


@pytest.mark.parametrize(
    ("kind", "rule", "said"),
    [
        ("grace", {"days": 30, "calendar_months": 2}, "must have only one of days and calendar_months"),
        ("grace_floor", {"days": 30, "calendar_months": 2}, "must have only one of days and calendar_months"),
        ("generation", {"day_of_month": 1, "weekday": "TH"}, "must have only one of day_of_month and weekday"),
        (
            "generation",
            {"business_day": 1, "weekday": "TH", "days_before_due": 1},
            "must have only one of days_before_due and weekday and business_day",
        ),
    ],
)
def test_of_several_kinds_only_one_may_be_named(kind: str, rule: Any, said: str) -> None:
    assert in_row(kind, rule) == [(f"/{kind}", said)]


@pytest.mark.parametrize(
    ("kind", "given", "meant"),
    [
        ("generation", "days_befor_due", "days_before_due"),
        ("generation", "dayofmonth", "day_of_month"),
        ("generation", "week_day", "weekday"),
        ("generation", "business_days", "business_day"),
        ("grace", "day", "days"),
        ("grace", "calender_months", "calendar_months"),
        ("grace_floor", "dayz", "days"),
    ],
)
def test_a_misspelt_key_of_a_kind_is_told_the_right_one(kind: str, given: str, meant: str) -> None:
    assert in_row(kind, {given: 1}) == [(f"/{kind}/{given}", f'unknown key (did you mean "{meant}"?)')]


def test_keys_of_one_kind_are_unknown_in_another() -> None:
    assert in_rules("generation", {"days_before_due": 20, "months_before_due": 1, "nth": 3}) == [
        ("/generation/months_before_due", 'unknown key (did you mean "days_before_due"?)'),
        ("/generation/nth", "unknown key"),
    ]
    assert in_rules("grace", {"calendar_months": 2, "counting": "from_due"}) == [
        ("/grace/counting", "unknown key"),
    ]


def test_each_kind_loads_into_its_own_value() -> None:
    loaded = RulesSchema().load({"generation": {"weekday": "TH", "nth": 3}, "grace": {"calendar_months": 2}})
    assert loaded == {"generation": NthWeekday("TH", 3, None, "none"), "grace": GraceMonths(2)}
    assert RowSchema().load(row(grace_floor={"days": 31}))["grace_floor"] == GraceFloor(GraceDays(31))
    assert RulesSchema().load({"generation": {"days_before_due": 20}}) == {"generation": DaysBeforeDue(20)}
    assert list(GENERATION_KINDS) == SEVERAL["generation"].split(", ")
    assert list(GRACE_KINDS) == SEVERAL["grace"].split(", ")


def test_posting_does_not_run_backward() -> None:
    rule = {"min_business_days": 3, "max_business_days": 2, "cutoff": "17:00"}
    said = ("/posting/max_business_days", "must not be less than min_business_days")
    assert in_rules("posting", rule) == [said]
    assert in_rules("posting", {**rule, "max_business_days": 3}) == []
    # Told beside other faults, and not where one of the two is itself at fault.
    assert in_rules("posting", {**rule, "cutoff": 17, "cutof": 1}) == [
        ("/posting/cutoff", 'must be a wall time from "00:00" to "23:59"'),
        said,
        ("/posting/cutof", 'unknown key (did you mean "cutoff"?)'),
    ]
    assert [place for place, _ in in_rules("posting", {**rule, "min_business_days": 31})] == [
        "/posting/min_business_days"
    ]
    assert [place for place, _ in in_rules("posting", {**rule, "max_business_days": "2"})] == [
        "/posting/max_business_days"
    ]


# Names: calendars, zones, words


def test_a_calendar_is_named_in_ascii() -> None:
    said = "must be the name of a calendar, such as XFED or US-PA"
    for name in ("XFED", "US", "US-PA", "a", "A-1", "x" * 16):
        assert RulesSchema().load({"calendar": name}) == {"calendar": CalendarName(name)}
    for name in ("", "x" * 17, "two words", "XFED ", "XFED\n", "US_PA", "US/PA", "\u0425FED", ARABIC, "XFED\0"):
        assert in_rules("calendar", name) == [("/calendar", said)]
    for value in odd(True, 1, 1.0, [], ["XFED"], {}, HUGE, b"XFED"):
        assert in_rules("calendar", value) == [("/calendar", said)]
    assert in_rules("calendar", None) == [("/calendar", NULL)]


def test_a_time_zone_is_one_of_ianas() -> None:
    said = "must be the name of a time zone, such as America/New_York"
    for name in ("America/New_York", "US/Eastern", "UTC", "Pacific/Kiritimati", "Etc/GMT+12"):
        assert RulesSchema().load({"timezone": name}) == {"timezone": Timezone(name)}
    for value in odd(
        *("", "EST5EDT4", "+05:00", "/etc/localtime", "localtime", "Factory", "America/New_York\n", "América/Lima"),
        *("x" * 100_000, True, 1, -5, 1.0, [], ["UTC"], {}, HUGE, ENDLESS),
    ):
        [(place, sentence)] = in_rules("timezone", value)
        assert (place, sentence.partition(" (did")[0]) == ("/timezone", said)
    assert in_rules("timezone", None) == [("/timezone", NULL)]


@pytest.mark.parametrize(
    ("given", "meant"),
    [("America/NewYork", "America/New_York"), ("America/New York", "America/New_York"), ("US/Eastrn", "US/Eastern")],
)
def test_a_misspelt_zone_is_told_the_right_one(given: str, meant: str) -> None:
    [(_, said)] = in_rules("timezone", given)
    assert said.endswith(f' (did you mean "{meant}"?)')


def test_a_word_is_a_name_in_ascii() -> None:
    said = "must be a name: letters, digits, - and _, at most 32"
    for value in ("PA", "medicare_part_d", "A-1", "x" * 32):
        assert grammar.Word().deserialize(value) == value
    for bad in odd("", "x" * 33, "P A", "PA\n", "PA\0", "P\u0410", ARABIC, True, 1, 1.0, [], {}, b"PA", HUGE):
        assert refused(grammar.Word(), bad) == said
    assert refused(grammar.Word(), None) == NULL


def test_a_flag_is_true_or_false() -> None:
    for value in odd(True, False):
        assert grammar.Flag().deserialize(value) is value
    for bad in odd(0, 1, 1.0, "true", "yes", "", [], {}, np.True_):
        assert refused(grammar.Flag(), bad) == "must be true or false"
    assert refused(grammar.Flag(), None) == NULL


# Months of the year


def test_skipped_months_are_months_of_the_year_each_once() -> None:
    assert RulesSchema().load({"skip_coverage_months": [8, 7]}) == {"skip_coverage_months": SkipCoverageMonths((7, 8))}
    assert RulesSchema().load({"skip_coverage_months": []}) == {"skip_coverage_months": SkipCoverageMonths(())}
    assert in_rules("skip_coverage_months", list(range(1, 12))) == []
    place = "/skip_coverage_months"
    listed = "must be a list of months of the year, such as [7, 8]"
    for value in odd(True, 7, 7.0, "7", "[7]", {}, {"0": 7}, (7, 8), HUGE, [1] * 13, [0] * 100_000):
        assert in_rules("skip_coverage_months", value) == [(place, listed)]
    assert in_rules("skip_coverage_months", None) == [(place, NULL)]
    assert in_rules("skip_coverage_months", [7, 8, 7]) == [(place, "must name each month once")]
    assert in_rules("skip_coverage_months", list(range(1, 13))) == [
        (place, "must leave at least one month with an invoice")
    ]


def test_every_wrong_month_of_the_year_is_named() -> None:
    wrong: list[Any] = [0, 13, -1, True, 7.0, "7", None, [7], {}, HUGE, "July"]
    assert in_rules("skip_coverage_months", [7, *wrong]) == [
        (f"/skip_coverage_months/{index}", "must be a month of the year, 1 to 12") for index in range(1, len(wrong) + 1)
    ]


# Unknown keys


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("deu", "due"),
        ("generate", "generation"),
        ("Grace", "grace"),
        ("payby", "pay_by"),
        ("postings", "posting"),
        ("calender", "calendar"),
        ("time_zone", "timezone"),
        ("skip_months", "skip_coverage_months"),
        ("grace_floor", None),
        ("since", None),
        ("", None),
        ("__proto__", None),
        ("x" * 10_000, None),
    ],
)
def test_an_unknown_kind_of_rule_is_told_the_nearest_known_one(given: str, meant: str | None) -> None:
    [(place, said)] = found(RulesSchema(), {given: 1})
    assert place == f"/{given[:63] + '…' if len(given) > 64 else given}"
    if meant is None:
        assert said.startswith("unknown key")
    else:
        assert said == f'unknown key (did you mean "{meant}"?)'


@pytest.mark.parametrize(("kind", "rule"), [(kind, rule) for kind, rule in REQUIRED.items() if kind != "generation"])
def test_every_unknown_key_of_a_rule_is_named_beside_its_other_faults(kind: str, rule: Rule) -> None:
    wrong: dict[str, Any] = {**dict.fromkeys(rule), "a/b": 1, "c~d": 2, "rol\n": 3}
    unknown = [(f"/{kind}/a~1b", "unknown key"), (f"/{kind}/c~0d", "unknown key")]
    places = in_rules(kind, wrong)
    assert places[: len(rule)] == [(f"/{kind}/{key}", NULL) for key in rule]
    assert places[len(rule) : -1] == unknown
    assert places[-1][0] == rf"/{kind}/rol\n"


def test_all_unknown_keys_are_named_and_a_near_one_is_looked_for_for_the_first_ones_alone() -> None:
    """Looking takes a while: a body of nothing but unknown keys would keep us for seconds."""
    places = found(RulesSchema(), {f"grace{index}": 1 for index in range(1_000)})
    assert [place for place, _ in places] == [f"/grace{index}" for index in range(1_000)]
    assert [said.endswith(' (did you mean "grace"?)') for _, said in places] == [
        index < MOST_HINTS for index in range(1_000)
    ]
    kinds = in_rules("grace", {f"days{index}": 1 for index in range(1_000)})
    assert len(kinds) == MOST_HINTS == 20


def test_an_unknown_key_does_not_hide_what_is_loaded() -> None:
    assert found(RulesSchema(), {"due": {"day": 0}, "posting": {"cutoff": 5}, "grase": {}, "timezone": "x"}) == [
        ("/due/day", "must be from -31 to 31, without 0"),
        ("/posting/min_business_days", "is required"),
        ("/posting/max_business_days", "is required"),
        ("/posting/cutoff", 'must be a wall time from "00:00" to "23:59"'),
        ("/timezone", "must be the name of a time zone, such as America/New_York"),
        ("/grase", 'unknown key (did you mean "grace"?)'),
    ]


def test_rules_are_a_table_and_each_may_be_left_out() -> None:
    assert RulesSchema().load({}) == {}
    for value in odd(None, True, 1, "due", [], [{"due": {"day": 1}}]):
        assert found(RulesSchema(), value) == [("", "must be a table of keys and values")]


# Text


def cite(text: Any) -> list[tuple[str, str]]:
    return found(RowSchema(), row(cite=text, due={"day": 1}))


PLAIN = ("/cite", "must be plain text, without control characters")
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Every character with the property Bidi_Control (Unicode, PropList.txt)."""


def test_text_has_no_control_characters() -> None:
    controls = [chr(number) for number in (*range(0x20), *range(0x7F, 0xA0))]
    others = ["\u2028", "\u2029", "\ud800", "\udfff", "\ue000", "\U0010ffff", "\U000f0000", "\u0378", "\ufffe"]
    for sign in (*controls, *BIDI, *others):
        for text in (sign, f"{sign}a", f"a{sign}b", f"a{sign}"):
            assert cite(text) == [PLAIN], repr(text)
    assert {unicodedata.category(sign) for sign in controls} == {"Cc"}


@pytest.mark.parametrize(
    "text",
    [
        "26 CFR 54.4980B-8, Q&A-5",
        "§ 2(a) — “each” month's end; ½ & <b>",
        "日本語",
        "עברית",
        "العربية \u0661\u0662",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "a\u00a0b",
        " spaces within and around ",
        "'; DROP TABLE rules; --",
        "=1+1",
    ],
)
def test_text_in_any_language_is_kept_as_it_is(text: str) -> None:
    assert RowSchema().load(row(cite=text, due={"day": 1}))["cite"] == text


def test_text_is_kept_composed() -> None:
    """Unicode's form NFC: what looks the same is the same."""
    decomposed = "Cafe\u0301, A\u030a, \u1112\u1161\u11ab"
    loaded = RowSchema().load(row(cite=decomposed, due={"day": 1}))["cite"]
    assert loaded == "Caf\u00e9, \u00c5, \ud55c"
    assert unicodedata.is_normalized("NFC", loaded)
    assert not unicodedata.is_normalized("NFC", decomposed)


def test_text_has_1_to_500_characters_once_composed() -> None:
    long = ("/cite", "must be at most 500 characters")
    for text in ("x", "x" * 500, "e\u0301" * 500, "\U0001f600" * 500):
        assert cite(text) == []
    for text in ("x" * 501, "e\u0301" * 501, "x" * 2_000, "x" * 2_001, "x" * 1_000_000, "\0" * 1_000_000):
        assert cite(text) == [long]
    for text in ("", " ", "\u00a0", "\u3000" * 3):
        assert cite(text) == [("/cite", "must not be empty")]


def test_text_is_text() -> None:
    for value in odd(True, 1, 1.0, [], ["26 CFR"], {}, HUGE, b"26 CFR", date(2026, 8, 1)):
        assert cite(value) == [("/cite", "must be text")]
    assert cite(None) == [("/cite", NULL)]


# Months, days and moments

SUPPORTED = "must be a coverage month from 2000-01 to 2099-12"


def test_a_coverage_month_is_a_supported_one_in_quotes() -> None:
    for text in ("2000-01", "2026-08", "2099-12"):
        assert grammar.Month().deserialize(text) == month(text)
    for text in ("1999-12", "2100-01", "0000-01", "9999-12"):
        assert refused(grammar.Month(), text) == (f"{SUPPORTED}: coverage months from 2000-01 to 2099-12 are supported")
    for text in (
        *("2026-13", "2026-00", "2026-8", "2026", "202608", "2026-08-01", "2026-08 ", " 2026-08", "2026-08\n", ""),
        *("2026/08", "08-2026", "2026-W32", "-026-08", "+2026-08", "\u0662026-08", "\uff12026-08", "2026-08\0", "NaT"),
        *("today", "August 2026", "10000-01", "2026-08T"),
    ):
        assert refused(grammar.Month(), text) == (
            f"{SUPPORTED}: a coverage month is written YYYY-MM, such as 2026-08"
        ), text
    for value in odd(True, 2026, 2026.08, 202_608, [], ["2026-08"], {}, date(2026, 8, 1), month("2026-08"), HUGE):
        assert refused(grammar.Month(), value) == 'must be a coverage month in quotes, such as "2026-08"'
    assert refused(grammar.Month(), None) == NULL


NO_DAY: list[Any] = [
    *("2023-02-29", "2023-02-30", "2023-04-31", "2024-13-01", "2024-00-01", "2024-01-32", "2024-01-00"),
    *("0000-01-01", "10000-01-01", "-2024-01-01", "+2024-01-01", "1999-12-31", "2100-01-01", "9999-12-31"),
    *("20240229", "2024-W09-4", "2024-W09", "2024-060", "2024-1-1", "24-01-01", "2024-01", "01-02-2024"),
    *("2024-01-01 ", " 2024-01-01", "2024-01-01\n", "2024-01-01\0", "", "today", "2024/01/01", "1 January 2024"),
    *("\u0662\u0660\u0662\u0664-01-01", "\uff12024-01-01", "2024-01-01Z", "2024-01-01+00:00", "2024\u201301\u201301"),
    *(True, 20_240_101, 1.0, [], ["2024-01-01"], {}, None, date(2024, 1, 1), datetime(2024, 1, 1), HUGE),  # noqa: DTZ001
]


def test_a_day_is_one_that_exists_written_in_the_one_way() -> None:
    for text in ("2000-01-01", "2024-02-29", "2099-12-31"):
        assert read_day(text) == grammar.Day().deserialize(text) == date.fromisoformat(text)
        assert type(read_day(text)) is date
    said = "must be a date YYYY-MM-DD that exists, from 2000-01-01 to 2099-12-31"
    for value in (*NO_DAY, "2024-01-01T00:00:00Z", "2024-01-01T00:00"):
        with pytest.raises(ValidationError) as refusal:
            read_day(value)
        assert refusal.value.messages == [said], repr(value)
        assert refused(grammar.Day(), value) == (NULL if value is None else said)


def test_a_day_in_toml_is_a_date_without_quotes() -> None:
    for good in (date(2000, 1, 1), date(2026, 12, 24), date(2099, 12, 31)):
        assert grammar.TomlDay().deserialize(good) == good
    for value in odd("2026-12-24", datetime(2026, 12, 24), time(1), True, 1, [], {}):  # noqa: DTZ001
        assert refused(grammar.TomlDay(), value) == (
            "must be a date without quotes and without a time, such as 2026-12-24"
        )
    for beyond in (date(1999, 12, 31), date(2100, 1, 1), date(1, 1, 1), date(9999, 12, 31)):
        assert refused(grammar.TomlDay(), beyond) == "must be a date from 2000-01-01 to 2099-12-31"


def offset(hours: int, minutes: int = 0) -> timezone:
    return timezone(timedelta(hours=hours, minutes=minutes))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-07-02", day("2026-07-02 Thu")),
        ("2000-01-01", day("2000-01-01 Sat")),
        ("2099-12-31", day("2099-12-31 Thu")),
        ("2026-07-02T16:00", datetime(2026, 7, 2, 16)),  # noqa: DTZ001  # local to the account
        ("2026-07-02T16:00:01", datetime(2026, 7, 2, 16, 0, 1)),  # noqa: DTZ001
        ("2026-07-02T16:00:01.5", datetime(2026, 7, 2, 16, 0, 1, 500_000)),  # noqa: DTZ001
        ("2026-07-02T16:59:59.999999", datetime(2026, 7, 2, 16, 59, 59, 999_999)),  # noqa: DTZ001
        ("2000-01-01T00:00", datetime(2000, 1, 1)),  # noqa: DTZ001
        ("2099-12-31T23:59:59.999999", datetime(2099, 12, 31, 23, 59, 59, 999_999)),  # noqa: DTZ001
        ("2026-07-02T16:00Z", datetime(2026, 7, 2, 16, tzinfo=offset(0))),
        ("2026-07-02T16:00:00-04:00", datetime(2026, 7, 2, 16, tzinfo=offset(-4))),
        ("2026-07-02T16:00+05:45", datetime(2026, 7, 2, 16, tzinfo=offset(5, 45))),
        ("2026-07-02T16:00:00.000001-12:00", datetime(2026, 7, 2, 16, 0, 0, 1, tzinfo=offset(-12))),
        # The days at both ends are supported with an offset as they are without one.
        ("2000-01-01T00:00-05:00", datetime(2000, 1, 1, tzinfo=offset(-5))),
        ("2099-12-31T23:59+14:00", datetime(2099, 12, 31, 23, 59, tzinfo=offset(14))),
    ],
)
def test_a_moment_is_a_day_or_a_time_of_a_day_with_an_offset_or_without(text: str, moment: Any) -> None:
    assert read_moment(text) == grammar.Moment().deserialize(text) == moment
    assert type(read_moment(text)) is type(moment)
    if isinstance(moment, datetime):
        found: Any = read_moment(text)
        assert found.utcoffset() == moment.utcoffset()


def test_a_moment_is_written_in_the_one_way() -> None:
    said = (
        "must be a date that exists, or a date-time such as 2026-07-02T16:00 or 2026-07-02T16:00-04:00, "
        "from 2000-01-01 to 2099-12-31"
    )
    for value in odd(
        *("2026-07-02T", "2026-07-02T16", "2026-07-02T16Z", "2026-07-02T1600", "20260702T1600", "2026-W27-4T16:00"),
        *("2026-07-02T24:00", "2026-07-02T23:60", "2026-07-02T23:59:60", "2026-02-30T16:00", "2026-13-01T16:00"),
        *("2026-07-02T16:00:00.", "2026-07-02T16:00:00.1234567", "2026-07-02T16:00:00,5", "2026-07-02T16:00 "),
        *(
            "2026-07-02T16:00z",
            "2026-07-02T16:00-4",
            "2026-07-02T16:00-0400",
            "2026-07-02T16:00+24:00",
            "2026-07-02T16:00+05:60",
        ),
        *("2026-07-02T16:00-04:00:00", "2026-07-02T16:00 -04:00", "2026-07-02T16:00EST", "2026-07-02T16:00\n"),
        *("1999-12-31T23:59", "2100-01-01T00:00", "1999-12-31T23:59-12:00", "2100-01-01T00:00+14:00"),
        *("\u0662026-07-02T16:00", "2026-07-02T\u0661\u0666:00", "T", "NaT", "2026-07-02T16:00[America/New_York]"),
    ):
        with pytest.raises(ValidationError) as refusal:
            read_moment(value)
        assert refusal.value.messages == [said], value
        assert refused(grammar.Moment(), value) == said


def test_what_is_neither_a_day_nor_a_moment_is_told_how_both_are_written() -> None:
    for value in (*NO_DAY, "2026-07-02 16:00", "2026-07-02t16:00"):
        with pytest.raises(
            ValidationError, match=r"must be a date that exists, or a date-time such as 2026-07-02T16:00"
        ):
            read_moment(value if value != "today" else "yesterday")


# A row of the rule book


def test_a_row_has_a_month_a_rule_and_a_citation() -> None:
    loaded = RowSchema().load(row(grace={"days": 31}))
    assert loaded == {"since": month("2026-08"), "cite": "a test", "assumed": False, "grace": GraceDays(31)}
    assert RowSchema().load(row(grace={"days": 31}, assumed=True))["assumed"] is True
    assert found(RowSchema(), {}) == [
        ("/since", "is required"),
        ("/cite", "is required"),
        ("", "a row must have exactly one rule; this one has none"),
    ]


def test_a_row_has_one_rule_and_one_only() -> None:
    assert found(RowSchema(), row()) == [("", "a row must have exactly one rule; this one has none")]
    assert found(RowSchema(), row(due={"day": 1}, grace={"days": 3})) == [
        ("", "a row must have exactly one rule; this one has due and grace")
    ]
    assert found(RowSchema(), row(**dict.fromkeys(KINDS, 1)))[-1] == (
        "",
        (
            "a row must have exactly one rule; this one has due and generation and grace and pay_by and posting and "
            "calendar and timezone and skip_coverage_months and grace_floor"
        ),
    )
    for value in odd(None, 1, "x", []):
        assert found(RowSchema(), value) == [("", "must be a table of keys and values")]


def test_every_kind_of_rule_can_stand_in_a_row() -> None:
    assert (
        *("due", "generation", "grace", "pay_by", "posting", "calendar", "timezone", "skip_coverage_months"),
        "grace_floor",
    ) == KINDS
    assert set(KINDS) < set(RowSchema().fields)


# From findings to faults


def test_nested_findings_become_faults_with_their_places() -> None:
    findings = {
        "rules": {"due": {"day": ["a", "b"], "_schema": ["c"]}, "a/b": ["d"]},
        "exceptions": {0: {"reason": ["e"]}, 12: ["f"]},
        "_schema": ["g"],
        "state": "h",
    }
    assert faults(findings) == [
        Fault("/rules/due/day", "a"),
        Fault("/rules/due/day", "b"),
        Fault("/rules/due", "c"),
        Fault("/rules/a~1b", "d"),
        Fault("/exceptions/0/reason", "e"),
        Fault("/exceptions/12", "f"),
        Fault("", "g"),
        Fault("/state", "h"),
    ]
    assert faults(["x"], "rules", 3) == [Fault("/rules/3", "x")]
    assert faults({}) == faults([]) == []
    assert list(flatten({"a": {"_schema": ["x"]}}, "b")) == [(("b", "a"), "x")]


def test_the_librarys_own_sentences_are_said_in_our_way() -> None:
    class Sample(Strict):
        """A table with every sentence that marshmallow may say itself."""

        needed = grammar.Flag(required=True)
        given = grammar.Flag()
        table = fields.Nested(RulesSchema)
        listed = fields.List(grammar.Flag())

    assert found(Sample(), {"given": None, "table": 1, "listed": 1}) == [
        ("/needed", "is required"),
        ("/given", NULL),
        ("/table", "must be a table of keys and values"),
        ("/listed", "must be a list"),
    ]


def test_a_key_is_known_by_the_name_it_is_written_with() -> None:
    class Sample(Strict):
        """A table with a key that is no name in Python."""

        from_ = grammar.Flag(data_key="from")

    assert Sample().load({"from": True}) == {"from_": True}
    assert found(Sample(), {"from_": True}) == [("/from_", 'unknown key (did you mean "from"?)')]


@pytest.mark.parametrize(
    "text",
    [
        '{"due": {"day": 1}, "grace": {"days": 30, "counting": "after_due", "roll": "none"}}',
        '{"generation": {"weekday": "TH", "nth": -1, "months_before_due": 0, "roll": "preceding"}}',
        '{"calendar": "US-PA", "timezone": "America/Chicago", "skip_coverage_months": [7, 8]}',
    ],
)
def test_rules_come_as_json_carries_them(text: str) -> None:
    assert found(RulesSchema(), json.loads(text)) == []
