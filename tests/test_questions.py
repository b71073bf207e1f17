"""A question is read strictly: every fault of it at once, each with its JSON pointer, and nothing is guessed."""

import random
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from ebill import questions, service
from ebill.errors import InvalidInput
from ebill.questions import MOST_MONTHS, Calculation, PostingQuestion, Rows, calculation, posting_question
from ebill.rulebook import Row
from ebill.rules import DayOfMonth, GraceDays
from ebill.schedule import FixedDates
from tests.books import NOW, TEXT, book, month
from tests.strategies import DEFAULTS, draw_rule

PA = {"state": "PA", "coverage_month": "2026-08"}
SPAN = {"state": "PA", "from": "2026-08", "months": 3}
FIXED = {"coverage_month": "2026-08", "due_date": "2026-08-03", "reason": "a letter"}
DAY = "must be a date YYYY-MM-DD that exists, from 2000-01-01 to 2099-12-31"
MOMENT = (
    "must be a date that exists, or a date-time such as 2026-07-02T16:00 or 2026-07-02T16:00-04:00, "
    "from 2000-01-01 to 2099-12-31"
)
MONTH = "must be a coverage month from 2000-01 to 2099-12: a coverage month is written YYYY-MM, such as 2026-08"
MONTH_TEXT = 'must be a coverage month in quotes, such as "2026-08"'
WORD = "must be a name: letters, digits, - and _, at most 32"
NULL = "must not be null"
TWICE = "fixes a month that is fixed already"
TABLE = "must be a table of keys and values"


def faults(body: Any, read: Any = calculation) -> list[tuple[str, str]]:
    """Give the places and sentences of what is wrong; nothing, where all is right."""
    try:
        read(body)
    except InvalidInput as refusal:
        return [(fault.pointer, fault.detail) for fault in refusal.faults]
    return []


def odd(*values: Any) -> tuple[Any, ...]:
    return values


# What is meant


def test_one_month_is_a_span_of_one() -> None:
    assert calculation(PA) == Calculation("PA", month("2026-08"), 1, single=True)
    assert calculation({"state": "PA", "from": "2026-08", "months": 1}) == Calculation("PA", month("2026-08"), 1)


def test_all_that_can_be_said_is_read_into_its_value() -> None:
    body = {
        **SPAN,
        "product": "cobra",
        "rules": {"grace": {"days": 45}, "generation": {"day_of_month": 12}},
        "exceptions": [FIXED, {"coverage_month": "2026-09", "grace_end_date": "2026-10-05", "reason": "e\u0301"}],
        "as_of": "2026-08-03",
        "paid_at": "2026-07-02T16:00-04:00",
        "last_coverage_month": "2026-12",
        "explain": True,
    }
    assert calculation(body) == Calculation(
        state="PA",
        first=month("2026-08"),
        count=3,
        product="cobra",
        rules={"grace": GraceDays(45), "generation": DayOfMonth(12)},
        exceptions=(
            FixedDates(month("2026-08"), "a letter", due_date=date(2026, 8, 3)),
            FixedDates(month("2026-09"), "\u00e9", grace_end_date=date(2026, 10, 5)),
        ),
        as_of=date(2026, 8, 3),
        paid_at=datetime(2026, 7, 2, 16, tzinfo=timezone(timedelta(hours=-4))),
        last_coverage_month=month("2026-12"),
        explain=True,
    )


def test_what_is_not_said_is_left_open() -> None:
    asked = calculation(PA)
    assert (asked.product, asked.rules, asked.exceptions, asked.as_of, asked.paid_at) == (None, {}, (), None, None)
    assert (asked.last_coverage_month, asked.explain) == (None, False)


def test_a_payment_without_an_offset_stays_local_and_a_bare_date_a_date() -> None:
    assert calculation({**PA, "paid_at": "2026-07-02"}).paid_at == date(2026, 7, 2)
    paid_at = calculation({**PA, "paid_at": "2026-07-02T16:00"}).paid_at
    assert isinstance(paid_at, datetime)
    assert paid_at.tzinfo is None


def test_reading_changes_nothing_of_what_was_given() -> None:
    body = {**SPAN, "exceptions": [dict(FIXED)], "rules": {"due": {"day": 1}}}
    calculation(body)
    assert body == {**SPAN, "exceptions": [FIXED], "rules": {"due": {"day": 1}}}


# Which months


def test_the_months_asked_for_must_be_clear() -> None:
    together = "cannot be given together with coverage_month"
    other = "is required with the other of from and months"
    either = "is required, or else coverage_month"
    state = {"state": "PA"}
    assert faults(state) == [("/from", either), ("/months", either)]
    assert faults({**state, "from": "2026-08"}) == [("/months", other)]
    assert faults({**state, "months": 3}) == [("/from", other)]
    assert faults({**PA, "from": "2026-08", "months": 3}) == [("/from", together), ("/months", together)]
    assert faults({**PA, "from": "2026-08"}) == [("/from", together)]
    assert faults({**PA, "months": 3}) == [("/months", together)]
    assert faults({"coverage_month": None, "months": None}) == [
        ("/state", "is required"),
        ("/coverage_month", NULL),
        ("/months", NULL),
        ("/months", together),
    ]


@pytest.mark.parametrize(
    ("first", "months", "fits"),
    [
        ("2099-12", 1, True),
        ("2099-12", 2, False),
        ("2099-01", 12, True),
        ("2099-01", 13, False),
        ("2090-01", 120, True),
        ("2090-02", 120, False),
        ("2000-01", 120, True),
    ],
)
def test_a_span_ends_by_the_last_supported_month(first: str, months: int, fits: bool) -> None:
    found = faults({"state": "PA", "from": first, "months": months})
    assert found == ([] if fits else [("/months", "must end by 2099-12, the last supported coverage month")])


def test_a_span_has_1_to_120_months() -> None:
    assert MOST_MONTHS == 120
    for months in (1, 120):
        assert calculation({**SPAN, "months": months}).count == months
    for wrong in (0, 121, -1, 10**30):
        assert faults({**SPAN, "months": wrong}) == [("/months", "must be from 1 to 120")]
    for value in odd(True, 1.0, "3", [], {}, "\u0663"):
        assert faults({**SPAN, "months": value}) == [("/months", "must be a whole number from 1 to 120")]
    assert faults({**SPAN, "months": None}) == [("/months", NULL)]


@pytest.mark.parametrize("key", ["coverage_month", "from", "last_coverage_month"])
def test_a_month_is_written_in_the_one_way(key: str) -> None:
    body = {"state": "PA", "months": 3} if key == "from" else PA
    for text in ("2026-13", "2026-8", "2026-08-01", "202608", "\u0662026-08", "2026-08 ", "", "NaT"):
        assert faults({**body, key: text}) == [(f"/{key}", MONTH)]
    for text in ("1999-12", "2100-01"):
        [(place, said)] = faults({**body, key: text})
        assert (place, said.split(": ")[1]) == (f"/{key}", "coverage months from 2000-01 to 2099-12 are supported")
    for value in odd(True, 2026.08, 202_608, ["2026-08"], {}):
        assert faults({**body, key: value}) == [(f"/{key}", MONTH_TEXT)]
    assert faults({**body, key: None}) == [(f"/{key}", NULL)]


# Every other field


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        ("state", odd("", "P A", "x" * 33, "P\u0410", "PA\n", True, 1, [], {}), WORD),
        ("product", odd("", "P A", "x" * 33, True, 1, [], {}), WORD),
        ("as_of", odd("2026-02-30", "2026-08-03T00:00", "20260803", "1999-12-31", True, 20_260_803, [], {}), DAY),
        ("paid_at", odd("2026-02-30", "20260803", "2026-08-03 16:00", True, 20_260_803, [], {}), MOMENT),
        ("paid_at", odd("2026-08-03T24:00", "2026-08-03T16", "2026-08-03T16:00-0400", "2100-01-01T00:00"), MOMENT),
        ("explain", odd(0, 1, 1.0, "true", "", [], {}), "must be true or false"),
        ("rules", odd(True, 1, "due", [], [{"due": {"day": 1}}]), TABLE),
        ("exceptions", odd(True, 1, "2026-08", {}, FIXED), "must be a list"),
    ],
    ids=["state", "product", "as_of", "paid_at", "paid_at with a time", "explain", "rules", "exceptions"],
)
def test_a_field_takes_what_it_is_for_and_nothing_else(key: str, values: tuple[Any, ...], said: str) -> None:
    for value in values:
        assert faults({**PA, key: value}) == [(f"/{key}", said)], repr(value)
    assert faults({**PA, key: None}) == [(f"/{key}", NULL)]


def test_the_state_is_required() -> None:
    assert faults({"coverage_month": "2026-08"}) == [("/state", "is required")]


def test_a_question_is_a_table() -> None:
    for body in odd(None, True, 1, "PA", [], [PA]):
        assert faults(body) == [("", TABLE)]
        assert faults(body, posting_question) == [("", TABLE)]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("States", ' (did you mean "state"?)'),
        ("coverage-month", ' (did you mean "coverage_month"?)'),
        ("last_month", ""),
        ("paidat", ' (did you mean "paid_at"?)'),
        ("exception", ' (did you mean "exceptions"?)'),
        ("from_", ' (did you mean "from"?)'),
        ("password", ""),
        ("", ""),
    ],
)
def test_an_unknown_key_is_refused_and_told_the_nearest_known_one(given: str, hint: str) -> None:
    [(place, said)] = faults({**PA, given: 1})
    assert place == f"/{given}"
    assert said.startswith("unknown key")
    assert not hint or said == "unknown key" + hint


@pytest.mark.parametrize("value", ["x", "2026-01", 5, None, [], {}], ids=repr)
def test_no_unknown_key_takes_the_place_of_a_known_one(value: Any) -> None:
    assert faults({**SPAN, "from_": value}) == [("/from_", 'unknown key (did you mean "from"?)')]
    assert faults({**PA, "from_": value, "first": value, "single": value, "count": value})[0][0] == "/from_"


# Exceptions


def test_each_fault_of_each_exception_is_named() -> None:
    body = {
        **PA,
        "exceptions": [
            FIXED,
            {"coverage_month": "2026-13", "due_date": "2026-02-30", "reason": ""},
            {"coverage_month": "2026-09", "reason": "nothing fixed"},
            {},
            {"coverage_month": "2026-10", "generation_date": None, "reason": "a\u202eb", "duedate": 1},
            None,
            7,
        ],
    }
    fix = "must fix at least one of generation_date, due_date, grace_end_date"
    assert faults(body) == [
        ("/exceptions/1/coverage_month", MONTH),
        ("/exceptions/1/due_date", DAY),
        ("/exceptions/1/reason", "must not be empty"),
        ("/exceptions/2", fix),
        ("/exceptions/3/coverage_month", "is required"),
        ("/exceptions/3/reason", "is required"),
        ("/exceptions/3", fix),
        ("/exceptions/4/generation_date", NULL),
        ("/exceptions/4/reason", "must be plain text, without control characters"),
        ("/exceptions/4/duedate", 'unknown key (did you mean "due_date"?)'),
        ("/exceptions/5", NULL),
        ("/exceptions/6", TABLE),
    ]


@pytest.mark.parametrize("name", ["generation_date", "due_date", "grace_end_date"])
def test_a_fixed_date_is_a_day(name: str) -> None:
    good = {"coverage_month": "2026-08", name: "2026-08-03", "reason": "a letter"}
    assert calculation({**PA, "exceptions": [good]}).exceptions == (
        FixedDates(month("2026-08"), "a letter", **{name: date(2026, 8, 3)}),  # type: ignore[arg-type]
    )
    for value in odd("2026-02-30", "2026-8-3", "2026-08-03T00:00", "20260803", True, 20_260_803, [], {}):
        assert faults({**PA, "exceptions": [{**good, name: value}]}) == [(f"/exceptions/0/{name}", DAY)]


def test_a_month_is_fixed_once_only() -> None:
    again = {**FIXED, "due_date": "2026-08-04"}
    other = {**FIXED, "coverage_month": "2026-09"}
    assert faults({**PA, "exceptions": [FIXED, other]}) == []
    assert faults({**PA, "exceptions": [FIXED, other, again, other, again]}) == [
        ("/exceptions/2", TWICE),
        ("/exceptions/3", TWICE),
        ("/exceptions/4", TWICE),
    ]


def test_a_month_that_is_fixed_twice_is_told_beside_other_faults() -> None:
    assert faults({"state": "P A", "coverage_month": "2026-08", "exceptions": [FIXED, {**FIXED, "reason": 1}]}) == [
        ("/state", WORD),
        ("/exceptions/1/reason", "must be text"),
        ("/exceptions/1", TWICE),
    ]


def test_months_that_cannot_be_compared_are_not_called_the_same() -> None:
    for value in odd(None, 5, [], {}, True):
        wrong = {**FIXED, "coverage_month": value}
        places = [place for place, _ in faults({**PA, "exceptions": [wrong, wrong]})]
        assert places == ["/exceptions/0/coverage_month", "/exceptions/1/coverage_month"]


def test_there_are_120_exceptions_at_most() -> None:
    months = [f"{year}-{number:02}" for year in range(2026, 2037) for number in range(1, 13)]
    many = [{**FIXED, "coverage_month": name} for name in months]
    assert faults({**PA, "exceptions": many[:120]}) == []
    assert faults({**PA, "exceptions": many[:121]}) == [("/exceptions", "must be at most 120")]


class Untouched(dict[str, Any]):
    """What must not be looked into."""

    def get(self, *_: Any) -> Any:
        raise LookupError


def test_a_list_that_is_too_long_is_not_read() -> None:
    """To find each fault of a body of 240,000 bytes takes seconds."""
    for item in odd({}, 1, None, {"a": 1}, FIXED, Untouched()):
        assert faults({**PA, "exceptions": [item] * 60_000}) == [("/exceptions", "must be at most 120")]
    with pytest.raises(LookupError):
        faults({**PA, "exceptions": [Untouched()]})


# Everything at once


def test_every_fault_is_told_at_once() -> None:
    body = {
        "state": 7,
        "product": "co bra",
        "coverage_month": "2026-13",
        "months": 1.0,
        "rules": {
            "due": {"day": True, "rol": "none"},
            "generation": {"weekday": "th", "nth": 5},
            "grace": {"days": "30"},
            "pay_by": {},
            "posting": {"min_business_days": 3, "max_business_days": 2, "cutoff": "5 pm"},
            "calendar": "X FED",
            "timezone": "Eastern",
            "skip_coverage_months": [7, 13],
            "grace_floor": {"days": 1},
        },
        "exceptions": [{"coverage_month": "2026-08", "due_date": "1 August", "reason": "\0"}, FIXED],
        "as_of": "yesterday",
        "paid_at": "2026-08-03T25:00",
        "last_coverage_month": 2026,
        "explain": "yes",
        "explane": True,
    }
    assert [place for place, _ in faults(body)] == [
        "/state",
        "/product",
        "/coverage_month",
        "/months",
        "/months",
        "/rules/due/day",
        "/rules/due/rol",
        "/rules/generation/weekday",
        "/rules/generation/nth",
        "/rules/grace/days",
        "/rules/pay_by/days_before_next_invoice",
        "/rules/posting/cutoff",
        "/rules/posting/max_business_days",
        "/rules/calendar",
        "/rules/timezone",
        "/rules/skip_coverage_months/1",
        "/rules/grace_floor",
        "/exceptions/0/due_date",
        "/exceptions/0/reason",
        "/exceptions/1",
        "/as_of",
        "/paid_at",
        "/last_coverage_month",
        "/explain",
        "/explane",
    ]
    with pytest.raises(InvalidInput, match=r"^The input has 25 faults; nothing was done\.$"):
        calculation(body)


def test_the_same_answer_comes_for_one_fault_alone_and_beside_others() -> None:
    """Each fault of the rules above, alone."""
    wrong = {"due": {"day": True}, "grace": {"days": "30"}, "calendar": "X FED", "skip_coverage_months": [7, 13]}
    together = faults({**PA, "rules": wrong})
    assert together == [fault for kind, rule in wrong.items() for fault in faults({**PA, "rules": {kind: rule}})]


def test_names_that_only_the_book_can_judge_are_told_beside_the_rest() -> None:
    body = {"state": "OH", "product": "cobbra", "coverage_month": "2026-13", "rules": {"calendar": "XFEDD"}}
    with pytest.raises(InvalidInput) as refused:
        service.answer(book(TEXT), body, NOW)
    assert [(fault.pointer, fault.detail) for fault in refused.value.faults] == [
        ("/coverage_month", MONTH),
        ("/state", 'No state "OH" is configured; the configured states are DE, NY, PA, WV.'),
        (
            "/product",
            (
                'is no configured product (did you mean "cobra"?); the configured products are aptc_individual, cobra, '
                "medicare_part_d"
            ),
        ),
        (
            "/rules/calendar",
            '"XFEDD" names no calendar (did you mean "XFED"?); try XFED, XNYS or a code such as US-PA.',
        ),
    ]


def test_a_name_that_is_written_wrongly_is_not_told_twice() -> None:
    body = {"state": "P A", "product": "co bra", "coverage_month": "2026-08", "rules": {"calendar": "X FED"}}
    with pytest.raises(InvalidInput) as refused:
        service.answer(book(TEXT), body, NOW)
    assert [fault.pointer for fault in refused.value.faults] == ["/state", "/product", "/rules/calendar"]


@pytest.mark.parametrize("body", [None, [], 7, {"state": 7, "rules": 7}, {"state": [], "rules": []}], ids=repr)
def test_what_is_no_question_at_all_is_refused_and_no_more(body: Any) -> None:
    with pytest.raises(InvalidInput):
        service.answer(book(TEXT), body, NOW)


# The rules of many questions


SPOILT: tuple[Any, ...] = (
    None,
    True,
    1.0,
    "1",
    [],
    {},
    {"days": True},
    {"days": 30.0},
    {"days": "30"},
    {"days": 30, "unknown": 1},
    "XFED",
)


@pytest.mark.parametrize("seed", range(5))
def test_rules_that_were_read_before_are_read_as_if_they_were_the_first(seed: int) -> None:
    """Good ones, and bad ones beside them, in any order; of those that were good each is the same row again."""
    rng = random.Random(seed)  # noqa: S311  # no secret
    often = {kind: [draw_rule(rng, kind) for _ in range(2)] for kind in (*DEFAULTS, "skip_coverage_months")}
    many, good, met = Rows(), 0, dict[str, Row]()
    for _ in range(400):
        given = {kind: rng.choice(often[kind]) for kind in rng.sample(list(often), rng.randint(0, 4))}
        if rng.random() < 0.3:
            given[rng.choice(["due", "grace", "timezone", "graze"])] = rng.choice(SPOILT)
        assert faults(given, many.of) == faults(given, Rows().of)
        if not faults(given, Rows().of):
            good += 1
            assert many.of(given) == Rows().of(given)
            for row in many.of(given):
                assert row is met.setdefault(f"{row.rule!r}", row)
    assert 200 < good < 400


@pytest.mark.parametrize("given", [None, [], "rules", 7, {"grace": {"days": True}}, {"grace": {"days": 1.0}}])
def test_what_is_no_rule_is_none_beside_one_that_equals_it(given: Any) -> None:
    """To Python `True` and `1.0` equal 1."""
    many = Rows()
    assert many.of({"grace": {"days": 1}}) == many.of({"grace": {"days": 1}})
    assert faults(given, many.of) == faults(given, Rows().of) != []


def test_no_more_rules_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "ROWS_MOST", 3)
    many = Rows()
    for days in range(20, 40):
        assert str(many.of({"grace": {"days": days}, "due": {"day": days - 19}})[1].rule).startswith(f"{days} days")
        assert len(many._known) <= 3 + 1


# When a payment posts


def test_a_posting_question_has_a_state_and_a_moment() -> None:
    assert posting_question({"state": "PA", "paid_at": "2026-07-02"}) == PostingQuestion("PA", date(2026, 7, 2))
    asked = posting_question({"state": "PA", "paid_at": "2026-07-02T16:00:00Z"})
    assert asked.paid_at == datetime(2026, 7, 2, 16, tzinfo=timezone(timedelta(0)))
    assert faults({}, posting_question) == [("/state", "is required"), ("/paid_at", "is required")]
    assert faults({"state": "P A", "paid_at": "now", "paid": 1}, posting_question) == [
        ("/state", WORD),
        ("/paid_at", MOMENT),
        ("/paid", 'unknown key (did you mean "paid_at"?)'),
    ]
    of_book = partial(posting_question, book=book(TEXT))
    assert [pointer for pointer, _ in faults({"state": "pa", "paid_at": "now"}, of_book)] == ["/paid_at", "/state"]
    assert faults({"state": None, "paid_at": None}, posting_question) == [("/state", NULL), ("/paid_at", NULL)]
