"""A rule book is read strictly: all of it or nothing, and whoever wrote it is told every fault with its line."""

import random
import re
from datetime import date

import pytest

from ebill import service
from ebill.errors import BookRefused, OutsideCalendar
from ebill.questions import PostingQuestion
from ebill.reading import DEEPEST, WHOLE_FILE, read
from tests.books import HERE, HOUSE, NOW, TEXT, book, edited, faults, here, invoice, row, section, small

pytestmark = pytest.mark.anywhere

BASE = small()
DUE = "due = { day = 1 }"
GRACE = "grace = { days = 30 }"
POSTING = 'posting = { min_business_days = 2, max_business_days = 3, cutoff = "17:00" }'
PA = "generation = { days_before_due = 20 }"
PA_ROW = f'[[states.PA.rules]]\nsince = "2000-01"\n{PA}\ncite = "a test"'
BEFORE_PA = BASE[: BASE.index("[states.PA]")]


def expect(source: str | bytes, key: str, words: str, line: int | None = None) -> None:
    """Expect one fault, on the line that is marked `# here` or the one given."""
    [fault] = faults(source)
    assert fault.line == (here(source) if isinstance(source, str) and HERE in source else line)
    assert fault.key == key
    assert words in fault.detail


def marked(text: str) -> str:
    """Mark the first line of a text as the one to be named, where none is marked yet."""
    return text if HERE in text else re.sub("$", f" {HERE}", text, count=1, flags=re.MULTILINE)


# Text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (TEXT.encode("utf-16"), "must be UTF-8 text"),
        (TEXT.encode("utf-16-be"), "must be UTF-8 text, which has no NUL"),
        (TEXT.encode("utf-8-sig"), "must be UTF-8 text without a byte order mark"),
        (b"\xff", "must be UTF-8 text"),
        (b"\0", "must be UTF-8 text, which has no NUL"),
    ],
    ids=["UTF-16", "UTF-16 without a mark", "a byte order mark", "no text", "NUL"],
)
def test_what_is_no_text_is_faults(source: bytes, words: str) -> None:
    expect(source, WHOLE_FILE, words, line=1)


def test_latin_1_is_refused_where_its_first_strange_letter_stands() -> None:
    text = edited(('name = "Delaware"', f'name = "Delawäre" {HERE}'))
    expect(text.encode("latin-1"), WHOLE_FILE, "must be UTF-8 text", line=here(text))


@pytest.mark.parametrize("source", ["", "\n\n", "# Nothing yet.\n"], ids=["no bytes", "blank", "a comment"])
def test_an_empty_file_is_told_all_it_must_have(source: str) -> None:
    assert [(fault.line, fault.key, fault.detail) for fault in faults(source)] == [
        (None, "default", "is required"),
        (None, "states", "is required"),
    ]


def test_a_half_written_file_is_refused_wherever_it_ends() -> None:
    whole = BASE.encode()
    for end in range(len(whole) - len('cite = "a test"\n')):
        assert faults(whole[:end])


# TOML

KEY_PART = "Invalid initial character for a key part"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a = 2024-02-30", "Invalid date or datetime"),
        ("a = 2023-02-29", "Invalid date or datetime"),
        ("a = 2024-13-01", "Expected newline or end of document after a statement"),
        ("a = 0000-01-01", "Invalid date or datetime"),
        ("a = 10000-01-01", "Expected newline or end of document after a statement"),
        ("a = 01", "Expected newline or end of document after a statement; a number has no leading zero"),
        ("a = null", "Invalid value; a key without a value is left out"),
        ("a = Ohio", "Invalid value; text stands in quotes"),
        ("a = “Ohio”", "Invalid value; text stands in straight quotes"),
        ("a = {\nb = 1\n}", f"{KEY_PART}; a table in braces stands on one line"),
        ("a = { b = 1, }", f"{KEY_PART}; a table in braces stands on one line, without a comma after its last value"),
        ("a = { b = 1, b = 2 }", "Duplicate inline table key 'b'"),
        (f"a = 1\na = 2 {HERE}", "Cannot overwrite a value"),
        ("[states.PA]", "Cannot declare ('states', 'PA') twice"),
        ("[states.PA.rules]", "Cannot declare ('states', 'PA', 'rules') twice"),
        ("[[states.PA]]", "Cannot overwrite a value"),
        ("a = 1 # \r.", r"Found invalid character '\\r'"),
        ('a = "\\ud800"', "Escaped character is not a Unicode scalar value"),
    ],
)
def test_what_is_no_toml_is_refused_in_the_parsers_words_and_with_a_hint(line: str, words: str) -> None:
    expect(f"{BASE}\n{marked(line)}\n", WHOLE_FILE, f"is not TOML: {words}")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (PA, f"generation = {{ days_before_due = {'9' * 5_000} }}", "has a number that is too long to read"),
        (PA, f"generation = {'[' * 10_000}{']' * 10_000}", "is nested too deeply"),
        (PA, f"generation = {'[' * 400}{']' * 400}", "is nested too deeply"),
        (PA, f"generation = [\n{'[' * (DEEPEST - 2)}\n[ {HERE}\n]\n{']' * (DEEPEST - 1)}", "is nested too deeply"),
        (PA, f"{'a.' * 2_000}b = 1", "is nested too deeply"),
        ("[states.PA]", f"[{'a.' * 2_000}b] {HERE}\n[states.PA]", "is nested too deeply"),
        (PA_ROW, f"{PA_ROW}\n{'a.' * 400}b = 1 {HERE}\n{PA_ROW}\n{'a.' * 400}b = 1", "is nested too deeply"),
    ],
    ids=["digits", "deep", "less deep", "over lines", "a dotted key", "a dotted header", "rows to compare"],
)
def test_what_would_exhaust_the_reader_is_faults(old: str, new: str, words: str) -> None:
    expect(edited((old, marked(new)), text=BASE), WHOLE_FILE, words)


def test_what_is_nested_as_deeply_as_may_be_is_read() -> None:
    deep = "[" * (DEEPEST - 5) + "]" * (DEEPEST - 5)  # below states, PA, rules, row and key
    expect(edited((PA, f"{PA}\na = {deep} {HERE}"), text=BASE), "states.PA.rules[0].a", "unknown key")
    expect(edited((PA, f"{PA}\na = [{deep}] {HERE}"), text=BASE), WHOLE_FILE, "is nested too deeply")


# Rules

WHOLE_DAY = "must be a whole number from -31 to 31, without 0"
DAY = "must be from -31 to 31, without 0"
ROLL = "must be one of none, following, modified_following, preceding"
WEEKDAY = "must be one of MO, TU, WE, TH, FR, SA, SU"
GENERATION = "one of days_before_due, day_of_month, weekday, business_day"
FAST = 'min_business_days = 2, max_business_days = 3, cutoff = "17:00"'
WALL_TIME = 'must be a wall time from "00:00" to "23:59"'
ALL_YEAR = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]"
ZONE = "must be the name of a time zone, such as America/New_York"
CALENDAR = "must be the name of a calendar, such as XFED or US-PA"


def with_rule(kind: str, rule: str) -> tuple[str, str]:
    """Give a small book with the rule on the line to be named, and the key of the rule."""
    if kind in HOUSE:
        return small(**{kind: f"{rule} {HERE}"}), f"default.rules[{list(HOUSE).index(kind)}].{kind}"
    return BASE + row("states.PA", f"{kind} = {rule} {HERE}", since="2026-01"), f"states.PA.rules[1].{kind}"


@pytest.mark.parametrize(
    ("kind", "rule", "below", "words"),
    [
        ("due", "{ day = 1.0 }", ".day", WHOLE_DAY),
        ("due", "{ day = true }", ".day", WHOLE_DAY),
        ("due", "{ day = nan }", ".day", WHOLE_DAY),
        ("due", "{ day = inf }", ".day", WHOLE_DAY),
        ("due", "{ day = -inf }", ".day", WHOLE_DAY),
        ("due", "{ day = 1e400 }", ".day", WHOLE_DAY),
        ("due", '{ day = "1" }', ".day", WHOLE_DAY),
        ("due", "{ day = [1] }", ".day", WHOLE_DAY),
        ("due", "{ day = {} }", ".day", WHOLE_DAY),
        ("due", "{ day = 2024-02-01 }", ".day", WHOLE_DAY),
        ("due", "{ day = 07:32:00 }", ".day", WHOLE_DAY),
        ("due", "{ day = 0 }", ".day", DAY),
        ("due", "{ day = -0 }", ".day", DAY),
        ("due", "{ day = 32 }", ".day", DAY),
        ("due", "{ day = -32 }", ".day", DAY),
        ("due", "{ day = 9223372036854775808 }", ".day", DAY),
        ("due", f"{{ day = 0x{'F' * 5_000} }}", ".day", DAY),
        ("due", "{ day = 1, month_offset = 4 }", ".month_offset", "must be from -3 to 3"),
        ("due", '{ day = 1, roll = "next" }', ".roll", ROLL),
        ("due", '{ day = 1, roll = "folowing" }', ".roll", f'{ROLL} (did you mean "following"?)'),
        ("due", "{}", ".day", "is required"),
        ("due", "1", "", "must be a table of keys and values"),
        ("due", "{ day = 1, months_offset = 1 }", ".months_offset", 'unknown key (did you mean "month_offset"?)'),
        ("generation", "{ days_before_due = 0 }", ".days_before_due", "must be from 1 to 90"),
        ("generation", "{ days_before_due = 91 }", ".days_before_due", "must be from 1 to 90"),
        ("generation", "{ days_befor_due = 9 }", ".days_befor_due", 'unknown key (did you mean "days_before_due"?)'),
        ("generation", "{ days_before_due = 9, months_before_due = 1 }", ".months_before_due", "unknown key"),
        ("generation", '{ weekday = "th", nth = 3 }', ".weekday", WEEKDAY),
        ("generation", '{ weekday = "TH", nth = 5 }', ".nth", "must be from -4 to 4, without 0"),
        ("generation", '{ weekday = "TH" }', ".nth", "is required"),
        ("generation", "{ business_day = 16 }", ".business_day", "must be from -15 to 15, without 0"),
        ("generation", "{ day_of_month = 9, months_before_due = 4 }", ".months_before_due", "must be from 0 to 3"),
        ("generation", "{ day_of_month = 9, business_day = 9 }", "", "only one of day_of_month and business_day"),
        ("generation", "{}", "", f"must have {GENERATION}"),
        ("generation", "20", "", f"must be a table with {GENERATION}"),
        ("grace", "{ days = -1 }", ".days", "must be from 0 to 366"),
        ("grace", "{ days = 367 }", ".days", "must be from 0 to 366"),
        ("grace", "{ dayz = 30 }", ".dayz", 'unknown key (did you mean "days"?)'),
        ("grace", "{ days = 30, countng = 1 }", ".countng", 'unknown key (did you mean "counting"?)'),
        ("grace", '{ days = 30, counting = "after" }', ".counting", "must be one of after_due, from_due"),
        ("grace", "{ days = 30, calendar_months = 1 }", "", "must have only one of days and calendar_months"),
        ("grace", '{ calendar_months = 2, counting = "from_due" }', ".counting", "unknown key"),
        ("grace", "{ calendar_months = 13 }", ".calendar_months", "must be from 1 to 12"),
        ("pay_by", "{ days_before_next_invoice = 0 }", ".days_before_next_invoice", "must be from 1 to 60"),
        ("pay_by", '{ days_before_next_invoice = 3, unit = "busines" }', ".unit", '(did you mean "business"?)'),
        ("posting", f"{{ {FAST} }}".replace("2", "4"), ".max_business_days", "must not be less than min_business_days"),
        ("posting", f"{{ {FAST} }}".replace("3", "31"), ".max_business_days", "must be from 0 to 30"),
        ("posting", f"{{ {FAST} }}".replace("17:00", "24:00"), ".cutoff", WALL_TIME),
        ("posting", f"{{ {FAST} }}".replace("17:00", "5pm"), ".cutoff", WALL_TIME),
        ("posting", f"{{ {FAST} }}".replace('"17:00"', "17:00:00"), ".cutoff", WALL_TIME),
        ("skip_coverage_months", ALL_YEAR, "", "must leave at least one month with an invoice"),
        ("skip_coverage_months", "[7, 13]", "[1]", "must be a month of the year, 1 to 12"),
        ("skip_coverage_months", "[true]", "[0]", "must be a month of the year, 1 to 12"),
        ("skip_coverage_months", "[7, 7]", "", "must name each month once"),
        ("skip_coverage_months", "7", "", "must be a list of months of the year, such as [7, 8]"),
        ("timezone", '"America/NewYork"', "", f'{ZONE} (did you mean "America/New_York"?)'),
        ("timezone", '"localtime"', "", ZONE),
        ("timezone", '"Factory"', "", ZONE),
        ("timezone", "-5", "", ZONE),
        ("calendar", '"XFEDD"', "", '"XFEDD" names no calendar (did you mean "XFED"?)'),
        ("calendar", '"US-QQ"', "", '"US-QQ" names no calendar'),
        ("calendar", '"two words"', "", CALENDAR),
        ("calendar", "1", "", CALENDAR),
    ],
)
def test_a_rule_that_is_written_wrongly_is_faults(kind: str, rule: str, below: str, words: str) -> None:
    text, key = with_rule(kind, rule)
    expect(text, key + below, words)


# What stands beside the rule

IN_QUOTES = 'must be a coverage month in quotes, such as "2026-08"'
SUPPORTED = "must be a coverage month from 2000-01 to 2099-12"
PLAIN = "must be plain text, without control characters"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("since", "2026", IN_QUOTES),
        ("since", "2026-01-01", IN_QUOTES),
        ("since", "2026-01-01T00:00:00Z", IN_QUOTES),
        ("since", '"2026-13"', SUPPORTED),
        ("since", '"2026-00"', SUPPORTED),
        ("since", '"1999-12"', SUPPORTED),
        ("since", '"2100-01"', SUPPORTED),
        ("since", '"2026-1"', SUPPORTED),
        ("since", '"2026-01-01"', SUPPORTED),
        ("since", '"2026-01 "', SUPPORTED),
        ("since", '"\\u0662026-01"', SUPPORTED),
        ("since", '"\\uFF12026-01"', SUPPORTED),
        ("since", '"2026-01\\u0000"', SUPPORTED),
        ("since", "[]", IN_QUOTES),
        ("cite", '""', "must not be empty"),
        ("cite", '"  "', "must not be empty"),
        ("cite", '"""a\\nb"""', PLAIN),
        ("cite", '"a\\u0000b"', PLAIN),
        ("cite", '"a\\u202Eb"', PLAIN),
        ("cite", '"a\\u2066b"', PLAIN),
        ("cite", '"a\\u2028b"', PLAIN),
        ("cite", f'"{"x" * 501}"', "must be at most 500 characters"),
        ("cite", f'"{"x" * 100_000}"', "must be at most 500 characters"),
        ("cite", '["26 CFR"]', "must be text"),
        ("assumed", "1", "must be true or false"),
        ("assumed", '"true"', "must be true or false"),
        ("until", '"2026-01"', "unknown key"),
        ("asumed", "true", 'unknown key (did you mean "assumed"?)'),
        ("name", '"Pennsylvania"', "unknown key"),
        ("closures", "[]", "unknown key"),
        ("password", '"swordfish"', "unknown key"),
    ],
)
def test_what_stands_wrongly_beside_a_rule_is_faults(key: str, value: str, words: str) -> None:
    kept = "\n".join(line for line in PA_ROW.split("\n") if not line.startswith(f"{key} "))
    text = edited((PA_ROW, f"{kept}\n{key} = {value} {HERE}"), text=BASE)
    expect(text, f"states.PA.rules[0].{key}", words)


@pytest.mark.parametrize("key", ["since", "cite"])
def test_what_a_row_lacks_is_named_where_the_row_begins(key: str) -> None:
    kept = "\n".join(line for line in PA_ROW.split("\n") if not line.startswith(f"{key} "))
    expect(edited((PA_ROW, marked(kept)), text=BASE), f"states.PA.rules[0].{key}", "is required")


# Tables


@pytest.mark.parametrize(
    ("more", "key", "words"),
    [
        ("[polices]", "polices", "unknown key"),
        ("[calendar]", "calendar", 'unknown key (did you mean "calendars"?)'),
        ("[states.PA.grace]\ndays = 30", "states.PA.grace", "unknown key"),
        ("[states.pa]", "states.pa", "is not a name such as PA"),
        ("[states.Pa]", "states.Pa", "is not a name such as PA"),
        ("[states.OHI]", "states.OHI", "is not a name such as PA"),
        ('[states."P\\u0000"]', r"states.P\x00", "is not a name such as PA"),
        ('[states."P\\u202E"]', r"states.P\u202e", "is not a name such as PA"),
        ('[states."P\U0001f600"]', r"states.P\U0001f600", "is not a name such as PA"),
        (f"[states.{'x' * 100}]", f"states.{'x' * 63}…", "is not a name such as PA"),
        ("[products.COBRA]", "products.COBRA", "is not a name such as cobra"),
        ('[calendars.xfed]\nname = "Banks"', "calendars.xfed", "is not a name such as XFED"),
        (f"[states.OH] {HERE}{row('states.OH', PA)}", "states.OH.name", "is required"),
        ('[states.OH]\nname = "Ohio"', "states.OH.rules", "is required"),
        (f'[states.OH]\nname = "Ohio"\nrules = [] {HERE}', "states.OH.rules", "must have at least one row"),
        (f'[states.OH]\nname = "Ohio"\nrules = 1 {HERE}', "states.OH.rules", "must be a list"),
        (f'[states.OH]\nname = "O"\nrules = [1] {HERE}', "states.OH.rules[0]", "must be a table of keys and values"),
        ("[[products.cobra]]", "products.cobra", "must be a table of keys and values"),
        ("[products]", "products", "must be a table with at least one entry"),
        (f"[states.OH]\nname = 1 {HERE}{row('states.OH', PA)}", "states.OH.name", "must be text"),
        (section("states.OH", GRACE).strip(), "states.OH", "has no generation rule, and neither has default"),
        ('[calendars.HOUSE]\nname = "House"', "calendars.HOUSE.holidays", '"HOUSE" names no calendar'),
    ],
)
def test_a_table_that_does_not_fit_is_faults(more: str, key: str, words: str) -> None:
    expect(f"{BASE}\n{marked(more)}\n", key, words)


def test_a_house_that_is_no_table_is_faults() -> None:
    expect(f"default = 1 {HERE}\n{section('states.PA', PA)}", "default", "must be a table of keys and values")


def test_a_book_without_a_house_is_faults() -> None:
    expect(section("states.PA", PA), "default", "is required")


def test_a_book_without_states_is_faults() -> None:
    expect(BEFORE_PA, "states", "is required")
    expect(f"{BEFORE_PA}[states] {HERE}", "states", "must be a table with at least one entry")


@pytest.mark.parametrize("kind", ["due", "grace", "pay_by", "posting", "calendar", "timezone"])
def test_a_rule_that_the_house_lacks_is_missed_once_and_not_in_every_state(kind: str) -> None:
    text = edited((f"{kind} = {HOUSE[kind]}", "skip_coverage_months = []"), text=BASE + section("states.OH", PA))
    expect(edited(("[[default.rules]]", f"[[default.rules]] {HERE}"), text=text), "default", f"has no {kind} rule")


def test_a_rule_that_the_house_lacks_may_stand_in_every_state_or_else_is_missed_there() -> None:
    text = edited((POSTING, "skip_coverage_months = []"), text=small(row("states.PA", POSTING)))
    assert book(text).states.keys() == {"PA"}
    ohio = f"{text}\n{marked(section('states.OH', PA).strip())}\n"
    expect(ohio, "states.OH", "has no posting rule, and neither has default")


# Rows together


def test_a_row_has_exactly_one_rule() -> None:
    two = marked(PA_ROW.replace(PA, f"{PA}\n{GRACE}"))
    none = marked(PA_ROW.replace(f"{PA}\n", ""))
    words = "a row must have exactly one rule; this one has"
    expect(edited((PA_ROW, two), text=BASE), "states.PA.rules[0]", f"{words} generation and grace")
    expect(f"{BASE}\n{none}\n", "states.PA.rules[1]", f"{words} none")


@pytest.mark.parametrize("more", ["", "\nassumed = false"])
def test_a_row_that_says_again_what_is_in_force_is_faults(more: str) -> None:
    expect(f"{BASE}\n{marked(PA_ROW)}{more}\n", "states.PA.rules[1]", "is the same row again")


def test_a_correction_may_be_taken_back() -> None:
    corrected = PA_ROW.replace("= 20", "= 21")
    text = f"{BASE}\n{corrected}\n{PA_ROW}\n"
    assert str(invoice(book(text), "2026-08")["generation_date"]) == "2026-07-12"
    expect(f"{text}\n{marked(PA_ROW)}\n", "states.PA.rules[3]", "is the same row again")


def test_a_rule_may_be_said_again_by_somebody_else() -> None:
    confirmed = PA_ROW.replace("a test", "the carrier")
    assert [row.cite for row in book(f"{BASE}\n{confirmed}\n").states["PA"].rows] == ["a test", "the carrier"]


def test_a_house_sets_no_floor() -> None:
    text = BASE + row("default", f"grace_floor = {{ days = 31 }} {HERE}")
    expect(text, "default.rules[6].grace_floor", "is set by a state or a product, not by the house")


# Calendars

NO_DATE = "must be a date without quotes and without a time, such as 2026-12-24"
FAR_DATE = "must be a date from 2000-01-01 to 2099-12-31"


def closures(*items: str, code: str = "XFED") -> str:
    """Give a small book with a calendar; the line of its last closure is marked."""
    lines = "".join(f"\n  {{ {item} }}," for item in items)
    return (
        f'{BASE}\n[calendars.BANKS]\nname = "Banks"\nholidays = "{code}"\nclosures = [\n  # a list{lines} {HERE}\n]\n'
    )


@pytest.mark.parametrize(
    ("day", "words"),
    [
        ('"2026-12-24"', NO_DATE),
        ("2026-12-24T00:00:00", NO_DATE),
        ("2026-12-24T00:00:00Z", NO_DATE),
        ("07:32:00", NO_DATE),
        ("20261224", NO_DATE),
        ("true", NO_DATE),
        ("1999-12-31", FAR_DATE),
        ("2100-01-01", FAR_DATE),
    ],
)
def test_a_closure_is_dated_by_a_date(day: str, words: str) -> None:
    text = closures('date = 2026-12-23, reason = "a"', f'date = {day}, reason = "b"')
    expect(text, "calendars.BANKS.closures[1].date", words)


@pytest.mark.parametrize("item", ["2026-12-24", '"2026-12-24"', "[2026-12-24]"])
def test_a_closure_is_a_table(item: str) -> None:
    text = closures('date = 2026-12-23, reason = "a"', 'date = 2026-12-24, reason = "b"')
    expect(edited(('{ date = 2026-12-24, reason = "b" }', item), text=text), "calendars.BANKS.closures[1]",
           "must be a table of keys and values")  # fmt: skip


def test_closures_may_stand_in_any_order() -> None:
    assert not faults(closures('date = 2026-12-24, reason = "a"', 'date = 2006-12-26, reason = "b"'))


def test_a_closure_has_a_reason() -> None:
    expect(closures("date = 2026-12-24"), "calendars.BANKS.closures[0].reason", "is required")


def test_a_day_is_closed_once() -> None:
    text = closures('date = 2026-12-24, reason = "a"', 'date = 2026-12-24, reason = "b"')
    expect(text, "calendars.BANKS.closures[1]", "2026-12-24 is closed twice")


def test_a_day_beyond_what_the_library_knows_cannot_be_closed() -> None:
    text = closures('date = 2000-12-28, reason = "a"', code="XNSE")
    expect(text, "calendars.BANKS.closures[0]", "2000-12-28 is beyond what XNSE knows, 2001-01-01 to 2100-12-31")


def test_a_calendar_builds_on_one_that_the_library_has() -> None:
    text = f'{BASE}\n[calendars.BANKS]\nname = "Banks"\nholidays = "XFEDD" {HERE}\n'
    expect(text, "calendars.BANKS.holidays", '"XFEDD" names no calendar (did you mean "XFED"?)')


def test_what_is_wrong_with_a_calendar_is_told_beside_other_faults() -> None:
    text = closures('date = 2026-12-24, reason = "a"', 'date = 2026-12-24, reason = "b"')
    text = edited(("{ day = 1 }", "{ day = 0 }"), ('calendar = "XFED"', 'calendar = "XFEDD"'), text=text)
    assert [fault.key for fault in faults(text)] == [
        "default.rules[0].due.day",
        "default.rules[4].calendar",
        "calendars.BANKS.closures[1]",
    ]


# What only trying the rules shows

FEBRUARY = "generation = { day_of_month = 28, months_before_due = 0 }"
"""With an invoice due on the last day of the month, it breaks in February of common years only."""
OUT_OF_ORDER = "In coverage month 2001-02 the invoice would be generated 2001-02-28, due 2001-02-28"


def test_rules_that_break_in_one_month_are_refused_naming_it() -> None:
    text = edited((PA, f"{FEBRUARY} {HERE}"), text=small(due="{ day = -1 }"))
    expect(text, "states.PA.rules[0].generation", f"in PA: {OUT_OF_ORDER}")
    assert faults(text.replace("day_of_month = 28", "day_of_month = 27")) == ()


def test_the_row_of_the_highest_layer_is_named_then_the_latest() -> None:
    due, generated = row("states.PA", "due = { day = -1 }"), row("states.PA", f"{FEBRUARY} {HERE}", since="2001-02")
    expect(BASE + due + generated, "states.PA.rules[2].generation", OUT_OF_ORDER)


def test_what_breaks_in_several_states_in_the_same_way_is_told_once() -> None:
    states = "".join(section(f"states.{code}", PA) for code in ("OH", "DE", "WV", "NY"))
    text = small(states, grace=f'{{ days = 0, counting = "from_due" }} {HERE}')
    expect(text, "default.rules[1].grace", "in PA, OH, DE, WV and 1 more: In coverage month 2000-01 the invoice would")


def test_a_product_that_breaks_in_one_state_only_is_refused_for_that_state() -> None:
    ohio = section("states.OH", "generation = { day_of_month = 12, months_before_due = 0 }", "due = { day = 20 }")
    fits = section("products.early", "due = { day = 13 }")
    assert faults(BASE + ohio + fits) == ()
    text = BASE + ohio + fits.replace("due = { day = 13 }", f"due = {{ day = 5 }} {HERE}")
    words = "in OH early: In coverage month 2000-01 the invoice would be generated 2000-01-12, due 2000-01-05"
    expect(text, "products.early.rules[0].due", words)


def test_a_product_is_not_blamed_for_what_its_state_breaks() -> None:
    text = edited((PA, f"{FEBRUARY} {HERE}"), text=small(section("products.late", GRACE), due="{ day = -1 }"))
    expect(text, "states.PA.rules[0].generation", f"in PA: {OUT_OF_ORDER}")


def test_rules_are_tried_from_the_month_they_govern() -> None:
    text = small(row("states.PA", f"{FEBRUARY} {HERE}", since="2096-03"), due="{ day = -1 }")
    expect(text, "states.PA.rules[1].generation", "in PA: In coverage month 2097-02 the invoice would")
    assert faults(text.replace("2096-03", "2099-03")) == ()  # after the last February


@pytest.mark.parametrize(
    ("grace", "short"),
    [
        ("{ days = 3 }", False),
        ("{ days = 2 }", True),
        ('{ days = 4, counting = "from_due" }', False),
        ('{ days = 3, counting = "from_due" }', True),
        ("{ calendar_months = 1 }", False),
    ],
)
def test_a_grace_shorter_than_posting_is_faults(grace: str, short: bool) -> None:
    text = small(grace=f"{grace} {HERE}")
    if short:
        expect(text, "default.rules[1].grace", "is shorter than posting (2 to 3 business days after it is received;")
    else:
        assert faults(text) == ()


def test_the_row_that_made_a_grace_too_short_is_named() -> None:
    slow = f'posting = {{ min_business_days = 2, max_business_days = 30, cutoff = "17:00" }} {HERE}'
    text = small(section("products.slow", slow), grace="{ days = 29 }")
    words = "in PA slow: grace (29 days after the due date) is shorter than posting"
    expect(text, "products.slow.rules[0].posting", words)
    assert faults(edited(("{ days = 29 }", "{ days = 30 }"), text=text)) == ()


def test_a_grace_may_be_short_in_a_month_without_an_invoice() -> None:
    months = small(due="{ day = 27 }", grace=f"{{ calendar_months = 1 }} {HERE}")
    expect(
        months, "default.rules[1].grace", "in PA: grace (the last day of the due date's month) is shorter than posting"
    )
    assert faults(months + row("states.PA", "skip_coverage_months = [2]")) == ()


def test_a_grace_that_ends_beyond_the_calendar_is_not_called_short() -> None:
    text = small(due="{ day = 1, month_offset = 3 }", grace='{ days = 366, roll = "following" }')
    with pytest.raises(OutsideCalendar):
        invoice(book(text), "2099-12")


@pytest.mark.parametrize("cutoff", ["02:30", "01:30"])
def test_a_cutoff_in_a_change_of_daylight_saving_time_is_faults(cutoff: str) -> None:
    text = edited(("17:00", cutoff), (f'{cutoff}" }}', f'{cutoff}" }} {HERE}'), text=BASE)
    expect(text, "default.rules[3].posting", f"in PA: The cut-off {cutoff} does not come exactly once on 2000-")


def test_a_zone_that_spoils_a_cutoff_is_named() -> None:
    text = edited(("17:00", "02:30"), ("America/New_York", "America/Phoenix"), text=BASE)
    assert faults(text) == ()
    text += row("states.PA", f'timezone = "America/New_York" {HERE}', since="2026-01")
    expect(text, "states.PA.rules[1].timezone", "does not come exactly once on 2000-04-02 in America/New_York")


def test_a_floor_that_a_later_row_of_the_same_state_undercuts_is_kept() -> None:
    floor, lower = row("states.PA", "grace_floor = { days = 31 }"), row("states.PA", f"{GRACE} {HERE}", since="2026-08")
    words = "in PA: In coverage month 2026-08 the grace would end 2026-08-31, before the floor of 2026-09-01 (a test)."
    expect(BASE + floor + lower, "states.PA.rules[2].grace", words)
    assert faults(BASE + lower + floor) == ()
    assert faults(BASE + floor + section("products.cobra", GRACE)) == ()


# All of it at once


def test_every_fault_is_told_in_one_answer_in_the_order_of_the_lines() -> None:
    text = edited(
        ("due = { day = 1 }", "due = { dya = 1 } # 1"),
        ('calendar = "XFED"', 'calendar = "XFEDD" # 2'),
        ("[states.PA]", "[states.pa] # 3"),
        ("[[states.PA.rules]]", "[[states.pa.rules]]"),
        ('[states.DE]\nname = "Delaware"\n', "[states.DE] # 4\n"),
        ("[[states.DE.rules]]\nsince", "[[states.DE.rules]] # 5\nsinse"),
        ('name = "West Virginia"', r'name = "West\u0000Virginia" # 6'),
        ("{ day_of_month = 12 }", "{ day_of_month = 12.0 } # 7"),
        ('[products.cobra]\nname = "COBRA continuation coverage"\n', "[products.cobra] # 8\n"),
        ("{ calendar_months = 2 }", "{ calendar_months = 13 } # 9"),
    )
    text += "\n" + PA_ROW.replace("PA", "NY") + "\n\n" + PA_ROW.replace("PA", "NY").replace("]]", "]] # 10")
    text += '\n[calendars.BANKS] # 11\nname = "Banks"\n'
    numbered = {int(at[1]): n for n, line in enumerate(text.split("\n"), 1) if (at := re.search("# ([0-9]+)$", line))}
    numbers = {line: number for number, line in numbered.items()}
    assert [(numbers.get(fault.line or 0), fault.key, fault.detail[:35]) for fault in faults(text)] == [
        (1, "default.rules[0].due.day", "is required"),
        (1, "default.rules[0].due.dya", 'unknown key (did you mean "day"?)'),
        (2, "default.rules[4].calendar", '"XFEDD" names no calendar (did you '),
        (3, "states.pa", "is not a name such as PA"),
        (4, "states.DE.name", "is required"),
        (5, "states.DE.rules[0].since", "is required"),
        (None, "states.DE.rules[0].sinse", 'unknown key (did you mean "since"?)'),
        (6, "states.WV.name", PLAIN[:35]),
        (7, "states.WV.rules[0].generation.day_of_month", WHOLE_DAY[:35]),
        (8, "products.cobra.name", "is required"),
        (9, "products.medicare_part_d.rules[0].grace.calendar_months", "must be from 1 to 12"),
        (10, "states.NY.rules[2]", "is the same row again"),
        (11, "calendars.BANKS.holidays", '"BANKS" names no calendar; try XFED'),
    ]
    assert numbered[5] + 1 in {fault.line for fault in faults(text)}


def test_a_refusal_names_the_file_and_repeats_every_fault_on_a_line_of_its_own() -> None:
    with pytest.raises(BookRefused) as refusal:
        read(edited((DUE, "due = { day = 0, dya = 1 }"), text=BASE).encode(), "config/states.toml")
    assert str(refusal.value).split("\n") == [
        "config/states.toml is refused, with 2 faults:",
        "config/states.toml:4: default.rules[0].due.day: must be from -31 to 31, without 0",
        'config/states.toml:4: default.rules[0].due.dya: unknown key (did you mean "day"?)',
    ]


# The lines of an editor

QUOTES = '"""'


@pytest.mark.parametrize(
    "rules",
    [
        f"""
[[states.OH.rules]]
since = "2000-01"
cite = "a test"
generation.days_before_due = 0 {HERE}
""",
        f"""
[[states.OH.rules]]
since = "2000-01"
cite = "a test"
[states.OH.rules.generation]
days_before_due = 0 {HERE}
""",
        f"""
rules = [
    # The first.
    {{ since = "2000-01", cite = "a test", grace = {{ days = 31 }} }}, # and its end
    {{ since = "2000-01", cite = "a test", generation = {{ days_before_due = 0 }} }}, {HERE}
]
""",
        f"""
[["states" . 'OH'."rules"]]
"since" = "2000-01"
'cite' = '''
a test'''
generation = {{ "days\\u005Fbefore_due" = 0 }} {HERE}
""",
        f"""
[[states.OH.rules]]
since = "2000-01"
cite = {QUOTES}\\
    [[states.OH.rules]] \\
    generation = 0 \\
    a test{QUOTES}
generation = {{ days_before_due = 0 }} {HERE}
""",
    ],
    ids=["a dotted key", "a table of its own", "in braces", "in quotes", "text over lines"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_a_fault_is_placed_however_the_row_is_written(rules: str, end: str) -> None:
    strange = "# What is no line's end: \u2028 \u0085 \u2029\n"
    text = f'{strange}{BASE}\n[states.OH]\nname = "Ohio"{rules}'.replace("\n", end)
    [fault] = [fault for fault in faults(text) if "days" in fault.key]
    assert (fault.line, fault.detail) == (here(text), "must be from 1 to 90")


# Remarks: what is allowed, but easily a slip of the pen


def remarks(text: str) -> list[tuple[int | None, str, str]]:
    return [(remark.line, remark.key, remark.detail) for remark in read(text.encode(), "book.toml").remarks]


@pytest.mark.parametrize("number", ["0x14", "2_0", "0o24", "0b1_0100", "+20"])
def test_a_number_in_odd_digits_is_taken_with_a_remark(number: str) -> None:
    text = edited((PA, f"generation = {{ days_before_due = {number} }} {HERE}"), text=BASE)
    assert invoice(book(text), "2026-08")["generation_date"] == date(2026, 7, 12)
    words = f"{number} is easily misread; write it in plain digits"
    assert remarks(text) == [(here(text), "states.PA.rules[0].generation.days_before_due", words)]


def test_plain_numbers_text_and_comments_are_not_remarked_upon() -> None:
    assert remarks(TEXT) == []
    assert remarks(BASE.replace("a test", "since = 0x14 and 1_000") + "# day = 0x14\n") == []


def test_an_odd_number_in_a_list_is_remarked_upon() -> None:
    text = BASE + row("states.PA", f"skip_coverage_months = [\n7,\n0x8, {HERE}\n]")
    [(line, key, _)] = remarks(text)
    assert (line, key) == (here(text), "states.PA.rules[1].skip_coverage_months[1]")


@pytest.mark.parametrize(
    ("day", "why"),
    [("2026-11-26", "Thanksgiving Day"), ("2026-08-01", "Saturday"), ("2026-08-02", "Sunday"), ("2026-08-03", None)],
)
def test_a_closure_of_a_closed_day_is_taken_with_a_remark(day: str, why: str | None) -> None:
    text = closures('date = 2026-12-24, reason = "a"', f'date = {day}, reason = "storm"')
    words = f"{day} is closed anyway: {why}"
    assert remarks(text) == ([(here(text), "calendars.BANKS.closures[1]", words)] if why else [])


@pytest.mark.parametrize(("table", "index"), [("default", 6), ("states.PA", 1), ("products.cobra", 0)])
def test_a_calendar_that_knows_too_few_years_is_taken_with_a_remark(table: str, index: int) -> None:
    product = '\n[products.cobra]\nname = "COBRA"\n' if table == "products.cobra" else ""
    text = small(product, row(table, f'calendar = "XNSE" {HERE}', since="2026-01"))
    words = "XNSE knows 2001-01-01 to 2100-12-31 only; dates that need other days are refused"
    assert remarks(text) == [(here(text), f"{table}.rules[{index}].calendar", words)]


# Good books


def test_the_shipped_book_says_what_was_asked_for() -> None:
    rules = book(TEXT)
    assert {code: (state.name, [row.rule.as_data() for row in state.rows]) for code, state in rules.states.items()} == {
        "PA": ("Pennsylvania", [{"days_before_due": 20}]),
        "DE": ("Delaware", [{"days_before_due": 20}]),
        "WV": ("West Virginia", [{"day_of_month": 12}]),
        "NY": ("New York", [{"day_of_month": -8}]),
    }
    assert all(row.assumed for state in rules.states.values() for row in state.rows)
    assert {row.kind: row.rule.as_data() for row in rules.default} == {
        "due": {"day": 1},
        "grace": {"days": 30},
        "pay_by": {"days_before_next_invoice": 3},
        "posting": {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"},
        "calendar": "XFED",
        "timezone": "America/New_York",
    }
    assert {row.kind for row in rules.default if row.assumed} == {"posting"}
    presets = {name: [(row.rule.as_data(), row.cite) for row in preset.rows] for name, preset in rules.products.items()}
    assert {name: [rule for rule, _ in rows] for name, rows in presets.items()} == {
        "cobra": [{"days": 30}],
        "aptc_individual": [{"calendar_months": 3}],
        "medicare_part_d": [{"calendar_months": 2}],
    }
    for name, law in [
        ("cobra", "26 CFR 54.4980B-8"),
        ("aptc_individual", "45 CFR 156.270(d)"),
        ("medicare_part_d", "42 CFR 423.44(d)"),
    ]:
        assert law in presets[name][0][1]


DATES = ("generation_date", "due_date", "grace_end_date", "next_generation_date")
PAY_BY_DATES = ("recommended_pay_by_date", "safe_pay_by_date")


@pytest.mark.parametrize(
    ("state", "coverage_month", "dates"),
    [
        ("PA", "2026-02", "2026-01-12 2026-02-01 2026-03-03 2026-02-09 2026-02-06 2026-02-03"),
        ("PA", "2026-08", "2026-07-12 2026-08-01 2026-08-31 2026-08-12 2026-08-09 2026-08-06"),
        ("PA", "2026-11", "2026-10-12 2026-11-01 2026-12-01 2026-11-11 2026-11-08 2026-11-05"),
        ("DE", "2026-11", "2026-10-12 2026-11-01 2026-12-01 2026-11-11 2026-11-08 2026-11-05"),
        ("WV", "2026-02", "2026-01-12 2026-02-01 2026-03-03 2026-02-12 2026-02-09 2026-02-06"),
        ("NY", "2026-08", "2026-07-24 2026-08-01 2026-08-31 2026-08-24 2026-08-21 2026-08-18"),
    ],
)
def test_the_shipped_book_gives_the_worked_dates(state: str, coverage_month: str, dates: str) -> None:
    answer = invoice(book(TEXT), coverage_month, state)
    assert [str(answer[name]) for name in (*DATES, *PAY_BY_DATES)] == dates.split()


@pytest.mark.parametrize(
    ("product", "grace_end"),
    [("cobra", "2026-03-03"), ("aptc_individual", "2026-04-30"), ("medicare_part_d", "2026-03-31")],
)
def test_a_product_of_the_shipped_book_changes_the_grace(product: str, grace_end: str) -> None:
    plain, preset = (invoice(book(TEXT), "2026-02", "NY", **more) for more in ({}, {"product": product}))
    assert str(preset["grace_end_date"]) == grace_end
    assert {name: preset[name] for name in DATES if name != "grace_end_date"} == {
        name: plain[name] for name in DATES if name != "grace_end_date"
    }


OHIO = f"""
[states.OH]
name = "Ohio"
{row("states.OH", 'generation = { weekday = "TH", nth = 3 }', cite="the carrier's letter of 2026-05-04")}
"""


def test_a_fifth_state_is_an_edit_of_the_file_alone() -> None:
    rules = book(TEXT + OHIO)
    assert list(rules.states) == ["PA", "DE", "WV", "NY", "OH"]
    assert [row.cite for row in rules.rows("OH")][-1] == "the carrier's letter of 2026-05-04"
    answer = invoice(rules, "2026-08", "OH", explain=True)
    assert answer["generation_date"] == date(2026, 7, 16)
    assert answer["explanation"]["generation_date"]["sentence"] == (
        "the latest 3rd Thursday of a month, before the due date"
    )
    assert {"code": "OH", "name": "Ohio"} in service.states(rules)["states"]
    assert service.state(rules, "OH", NOW)["in_force"][-1]["rule"] == {"weekday": "TH", "nth": 3}
    assert service.posting(rules, PostingQuestion("OH", date(2026, 7, 2)))["posts_by_date"] == date(2026, 7, 7)
    for state in ("PA", "DE", "WV", "NY"):
        assert invoice(rules, "2026-08", state) == invoice(book(TEXT), "2026-08", state)


def test_a_correction_is_a_later_row_of_the_same_month_and_wins() -> None:
    corrected = TEXT + row("states.WV", "generation = { day_of_month = 11 }", cite="the carrier corrects")
    answer = invoice(book(corrected), "2026-08", "WV", explain=True)
    assert answer["generation_date"] == date(2026, 7, 11)
    assert answer["explanation"]["generation_date"]["cite"] == "the carrier corrects"


def test_a_row_may_stand_anywhere_among_the_rows_of_its_table() -> None:
    later = row("states.PA", "generation = { days_before_due = 10 }", since="2026-08")
    before = edited(("\n[[states.PA.rules]]", f"{later}\n[[states.PA.rules]]"), text=BASE)
    for text in (BASE + later, before):
        assert [str(invoice(book(text), m)["generation_date"]) for m in ("2026-07", "2026-08")] == [
            "2026-06-11",
            "2026-07-22",
        ]


# The version


def test_comments_blanks_and_order_of_keys_leave_the_version() -> None:
    version = book(TEXT).version
    assert re.fullmatch("sha256:[0-9a-f]{16}", version)
    lines = [line for line in TEXT.split("\n") if line and not line.startswith("#")]
    assert book("\n".join(lines)).version == version
    assert book(TEXT.replace("\n", "\r\n") + "# The end.").version == version
    assert book(re.sub(r"(?m)^(since = .*)\n(.*)\n(cite = .*)$", r"\3\n\2 # so\n\1", TEXT)).version == version
    tables = TEXT.split("\n[states.")
    assert book("\n[states.".join([tables[0] + "\n", *reversed(tables[1:-1]), tables[-1]])).version == version


def test_any_other_value_makes_another_version() -> None:
    versions = {book(TEXT).version}
    changed = 1
    for value in re.finditer(r'"[^"]*"|-?\b[0-9]+\b|true', TEXT):
        line = TEXT[TEXT.rindex("\n", 0, value.start()) + 1 : value.start()]
        if line.startswith("#") or '"' in line:
            continue
        for other in (f'"{value[0][1:-1]}x"', '"2000-02"', "5", "false"):
            try:
                versions.add(book(TEXT[: value.start()] + other + TEXT[value.end() :]).version)
            except BookRefused:
                continue
            changed += 1
            break
    assert changed > 40
    assert len(versions) == changed


def test_what_is_written_in_other_words_but_means_the_same_text_has_the_same_version() -> None:
    assert book(edited(('name = "Delaware"', "name = 'Delaware'"))).version == book(TEXT).version
    assert book(TEXT.replace("{ days_before_due = 20 }", "{ days_before_due = 0x14 }")).version == book(TEXT).version


# Whatever stands in it


def test_a_spoilt_file_is_taken_or_refused_and_nothing_else() -> None:
    draw = random.Random(19)  # noqa: S311  # the same files on every run
    whole = TEXT.encode()
    pieces = [
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"=",
        b".",
        b"\n",
        b"0",
        b"-",
        b"_",
        b"'",
        b"\xff",
        b"\0",
        b"#",
        b"[[a]]",
        b"inf",
    ]
    refusals = 0
    for _ in range(400):
        spoilt = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(spoilt))
            spoilt[at : at + draw.choice([0, 1, 1, 5, 60])] = draw.choice(
                [b"", draw.choice(pieces), whole[at : at + 90]]
            )
        try:
            read(bytes(spoilt), "book.toml")
        except BookRefused as refusal:
            refusals += 1
            lines = [fault.line for fault in refusal.book_faults]
            assert all(line is None or 1 <= line <= spoilt.count(b"\n") + 1 for line in lines)
    assert 200 < refusals < 400
