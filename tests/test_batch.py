"""Many rows at once are what each row would be alone, and a row that has no dates says why and stops no other."""

from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pytest

from ebill import questions, service
from ebill.batch import pairs
from ebill.batch.columns import CHUNK, REASONS
from ebill.dates import DAY
from ebill.errors import (
    BelowFloor,
    DatesOutOfOrder,
    InvalidInput,
    NoRuleInForce,
    OutsideCalendar,
    Refusal,
    UnknownState,
)
from ebill.rulebook import RuleBook, Scope
from ebill.rulebook import entered as given_by
from ebill.schedule import DATE_NAMES
from tests.books import NOW, book, entered, month, row, section, small

pytestmark = pytest.mark.anywhere

ROWS = 1_000_000
FIRST, COUNT = np.datetime64("1998-11", "M"), 1_228  # to 2101-02
MONTHS = FIRST + np.arange(COUNT)
NAT = np.datetime64("NaT", "M")

BOOK = book(
    small(
        row("states.PA", 'due = { day = 1, roll = "following" }', since="2011-05"),
        row("states.PA", "skip_coverage_months = [7, 8]", since="2024-01"),
        row("states.PA", "skip_coverage_months = []", since="2050-01"),
        row("states.PA", "grace_floor = { days = 31 }", since="2026-08"),
        row("states.PA", 'posting = { min_business_days = 0, max_business_days = 9, cutoff = "12:00" }',
            since="2030-02"),
        section("states.NY", "generation = { day_of_month = -8 }"),
        '\n[states.OH]\nname = "Ohio"\n',
        row("states.OH", "generation = { business_day = -3 }", since="2019-04"),
        section("states.JP", "generation = { days_before_due = 20 }", 'calendar = "JP"',
                "due = { day = 15, month_offset = 1 }"),
        section("products.cobra", "grace = { days = 40 }"),
        section("products.aptc", "grace = { calendar_months = 3 }",
                'pay_by = { days_before_next_invoice = 4, unit = "business" }'),
    )
)  # fmt: skip

GIVEN: Sequence[dict[str, Any]] = (
    {},
    {"last_coverage_month": "2031-03"},
    {"last_coverage_month": "2000-01", "rules": {"skip_coverage_months": [12]}},
    {
        "rules": {
            "generation": {"weekday": "TH", "nth": 3},
            "skip_coverage_months": [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12],
        }
    },
    {
        "rules": {"grace": {"calendar_months": 2}, "calendar": "US-PA"},
        "exceptions": [
            {"coverage_month": "2026-09", "due_date": "2026-09-09", "reason": "a letter"},
            {"coverage_month": "2099-12", "generation_date": "2099-11-09", "reason": "a letter"},
        ],
    },
)
"""What accounts add to their state and product."""

QUESTIONS: list[dict[str, Any]] = [
    {"state": state, **({"product": product} if product else {}), **given}
    for state in ("PA", "NY", "OH", "JP")
    for product in (None, "cobra", "aptc")
    for given in GIVEN
    if (state, product) in {("PA", None), ("JP", "cobra")} or given is GIVEN[0]
]


def scope_of(question: questions.Calculation) -> Scope:
    rows = given_by(question.rules.values(), "client", "given with the question")
    return Scope(question.state, question.product, rows, question.exceptions, question.last_coverage_month)


ASKED = [questions.calculation({**body, "coverage_month": "2026-08"}) for body in QUESTIONS]
SCOPES = [scope_of(question) for question in ASKED]


@cache
def is_taken(name: str) -> bool:
    try:
        questions.calculation({"state": "PA", "coverage_month": name})
    except InvalidInput:
        return False
    return True


def alone(question: questions.Calculation, name: str) -> tuple[str, list[date | None]]:
    """Ask for one month of one account, and give why there are no dates, or else the dates."""
    if not is_taken(name):
        return "month_not_supported", []
    single = questions.Calculation(
        question.state,
        month(name),
        1,
        question.product,
        question.rules,
        question.exceptions,
        last_coverage_month=question.last_coverage_month,
    )
    try:
        answer = service.calculate(BOOK, single, NOW)
    except NoRuleInForce:
        return "no_rule_in_force", []
    except OutsideCalendar:
        return "outside_calendar", []
    if not answer["invoices"]:
        return "not_billed", []
    [found] = answer["invoices"]
    return "ok", [found[each] for each in DATE_NAMES]


@cache
def singles() -> tuple[Any, Any]:
    """Ask for every month of every account alone: the reasons, shape (accounts, months), and the dates of each name."""
    reasons = np.zeros((len(ASKED), COUNT), np.uint8)
    dates = np.full((len(DATE_NAMES), len(ASKED), COUNT), "NaT", DAY)
    for number, question in enumerate(ASKED):
        for index, name in enumerate(map(str, MONTHS)):
            reason, found = alone(question, name)
            reasons[number, index] = REASONS.index(reason)
            if found:
                dates[:, number, index] = found
    return reasons, dates


def same(columns: pairs.Table, which: Any, index: Any) -> None:
    """Compare rows with the single answers; NaT is the same as NaT."""
    reasons, dates = singles()
    np.testing.assert_array_equal(columns.reason, reasons[which, index])
    assert tuple(columns.days) == DATE_NAMES
    assert columns.reason.dtype == np.uint8
    assert {column.dtype for column in columns.days.values()} == {np.dtype(np.int32)}
    for name, wanted in zip(DATE_NAMES, dates, strict=True):
        np.testing.assert_array_equal(columns.dates(name).astype(int), wanted[which, index].astype(int), name)


# Equal to each row alone


def test_a_million_rows_are_what_each_is_alone() -> None:
    rng = np.random.default_rng(20_260_801)
    which, index = rng.integers(0, len(SCOPES), ROWS), rng.integers(0, COUNT, ROWS)
    table = pairs.schedule(BOOK, SCOPES, which, MONTHS[index])
    same(table, which, index)
    assert len(table.reason) == 1_000_000


def test_every_month_of_every_account_is_what_it_is_alone() -> None:
    which, index = np.repeat(np.arange(len(SCOPES)), COUNT), np.tile(np.arange(COUNT), len(SCOPES))
    table = pairs.schedule(BOOK, SCOPES, which, MONTHS[index])
    same(table, which, index)
    for code in range(REASONS.index("month_not_supported") + 1):
        assert (table.reason == code).sum() > 1, REASONS[code]
    last = np.isnat(table.dates("next_generation_date")) & (table.reason == 0)
    assert last.sum() == 4  # two accounts end, in two states


@pytest.mark.parametrize(
    ("scope", "name", "reason"),
    [
        (Scope("PA"), "2026-06", "ok"),
        (Scope("PA"), "2026-07", "not_billed"),
        (Scope("PA"), "2026-08", "not_billed"),
        (Scope("PA"), "2023-07", "ok"),
        (Scope("PA"), "2050-07", "ok"),
        (Scope("PA"), "1999-12", "month_not_supported"),
        (Scope("PA"), "2000-01", "ok"),
        (Scope("PA"), "2099-12", "ok"),
        (Scope("PA"), "2100-01", "month_not_supported"),
        (Scope("OH"), "2019-03", "no_rule_in_force"),
        (Scope("OH"), "2019-04", "ok"),
        (Scope("JP"), "2099-12", "outside_calendar"),
        (Scope("JP"), "2099-10", "ok"),
        (Scope("PA", last_coverage_month=month("2026-05")), "2026-05", "ok"),
        (Scope("PA", last_coverage_month=month("2026-05")), "2026-06", "not_billed"),
        (Scope("PA", first_coverage_month=month("2026-05")), "2026-04", "not_billed"),
        (Scope("PA", first_coverage_month=month("2026-05")), "2026-05", "ok"),
    ],
)
def test_a_row_without_dates_says_why(scope: Scope, name: str, reason: str) -> None:
    table = pairs.schedule(BOOK, [scope], np.array([0]), np.array([name], "datetime64[M]"))
    assert REASONS[table.reason[0]] == reason
    for date_name in DATE_NAMES:
        empty = reason != "ok" or (date_name == "next_generation_date" and scope.last_coverage_month is not None)
        assert np.isnat(table.dates(date_name)[0]) == empty


def test_the_words_of_a_reason_begin_with_ok() -> None:
    assert (
        *("ok", "not_billed", "outside_calendar", "no_rule_in_force", "month_not_supported"),
        *("day_not_supported", "refused"),
    ) == REASONS  # fmt: skip


def test_a_worked_row() -> None:
    """Section 1 of the specification."""
    plain = book(small())
    table = pairs.schedule(plain, [Scope("PA")], np.array([0]), np.array(["2026-08"], "datetime64[M]"))
    assert [str(table.dates(name)[0]) for name in DATE_NAMES] == [
        *("2026-07-12", "2026-08-01", "2026-08-31", "2026-08-12", "2026-08-09", "2026-08-06"),
    ]  # fmt: skip


def test_rules_of_a_client_and_of_an_account_count_as_they_do_alone() -> None:
    scopes = [
        Scope("PA", rows=entered("client", grace={"days": 45})),
        Scope("NY", "cobra", entered("client", grace={"days": 45}) + entered("bill_account", grace={"days": 50})),
    ]
    months = np.array(["2026-05", "2026-06"], "datetime64[M]")
    table = pairs.schedule(BOOK, scopes, np.array([0, 1]), months)
    lasting = table.dates("grace_end_date") - table.dates("due_date")
    assert lasting.astype(int).tolist() == [45, 50]


# A row depends on no other


def test_rows_in_another_order_are_the_same_rows_in_that_order() -> None:
    rng = np.random.default_rng(7)
    which, months = rng.integers(0, len(SCOPES), 5_000), MONTHS[rng.integers(0, COUNT, 5_000)]
    order = rng.permutation(5_000)
    straight = pairs.schedule(BOOK, SCOPES, which, months)
    mixed = pairs.schedule(BOOK, SCOPES, which[order], months[order])
    assert (straight.reason[order] == mixed.reason).all()
    for name in DATE_NAMES:
        assert (straight.dates(name)[order].astype(int) == mixed.dates(name).astype(int)).all()


def test_rows_are_whole_at_the_edges_of_a_chunk() -> None:
    assert CHUNK == 131_072
    for count in (1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1):
        which = np.arange(count) % len(SCOPES)
        index = (np.arange(count) * 7) % COUNT
        table = pairs.schedule(BOOK, SCOPES, which, MONTHS[index])
        assert {len(table.reason), *map(len, table.days.values())} == {count}
        same(table, which, index)


def test_a_month_that_is_no_month_is_a_row_without_dates_among_others() -> None:
    months = np.array(["2026-06", "NaT", "2026-07", "0001-01", "9999-12", "2026-09"], "datetime64[M]")
    table = pairs.schedule(BOOK, [Scope("PA")], np.zeros(6, int), months)
    assert [REASONS[code] for code in table.reason] == [
        *("ok", "month_not_supported", "not_billed", "month_not_supported", "month_not_supported", "ok"),
    ]  # fmt: skip
    for name in DATE_NAMES:
        assert np.isnat(table.dates(name)).tolist() == [False, True, True, True, True, False]


def test_a_month_beyond_the_last_is_not_the_first_of_the_next_account() -> None:
    months = np.array(["2099-11", "2099-12", "2100-01"], "datetime64[M]")
    table = pairs.schedule(BOOK, SCOPES[:2], np.zeros(3, int), months)
    assert [REASONS[code] for code in table.reason] == ["ok", "ok", "month_not_supported"]
    ready = pairs.pairs(BOOK, SCOPES[:2], months[0], 2)
    assert ready.numbers(np.zeros(3, int), months).tolist() == [0, 1, 4]
    assert [REASONS[code] for code in ready.rows(np.zeros(2, int), months[1:]).reason] == ["ok", "month_not_supported"]


@pytest.mark.parametrize(
    "months",
    [[NAT], [NAT, NAT], [np.datetime64("1999-12", "M")], [np.datetime64("2100-01", "M"), NAT]],
    ids=["NaT", "twice", "too early", "too late"],
)
def test_where_no_month_is_supported_all_rows_say_so(months: list[Any]) -> None:
    table = pairs.schedule(BOOK, SCOPES, np.zeros(len(months), int), np.array(months, "datetime64[M]"))
    assert [REASONS[code] for code in table.reason] == ["month_not_supported"] * len(months)
    assert tuple(table.days) == DATE_NAMES
    assert all(table.dates(name).dtype == DAY and np.isnat(table.dates(name)).all() for name in DATE_NAMES)


@pytest.mark.parametrize("scopes", [[], SCOPES], ids=["no accounts", "accounts"])
def test_no_rows_give_no_rows(scopes: list[Scope]) -> None:
    table = pairs.schedule(BOOK, scopes, np.array([], int), np.array([], "datetime64[M]"))
    assert len(table.reason) == 0
    assert table.reason.dtype == np.uint8
    assert tuple(table.days) == DATE_NAMES
    assert all(len(table.dates(name)) == 0 and table.dates(name).dtype == DAY for name in DATE_NAMES)


def test_what_is_asked_with_is_left_as_it_was() -> None:
    which, months = np.array([0, 1, 0]), np.array(["2026-08", "NaT", "1999-12"], "datetime64[M]")
    for array in (which, months):
        array.flags.writeable = False
    first = pairs.schedule(BOOK, SCOPES, which, months)
    again = pairs.schedule(BOOK, SCOPES, which[::-1][::-1], months[::-1][::-1])
    assert (first.reason == again.reason).all()
    assert which.tolist() == [0, 1, 0]


def test_an_answer_can_be_changed_without_changing_the_next() -> None:
    which, months = np.array([0, 0]), np.array(["2026-06", "2026-06"], "datetime64[M]")
    changed = pairs.schedule(BOOK, SCOPES, which, months)
    for column in changed.days.values():
        column[:] = 0
    again = pairs.schedule(BOOK, SCOPES, which, months)
    assert str(again.dates("due_date")[0]) == "2026-06-01"


# Columns of another type or shape


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64])
def test_accounts_are_numbered_by_whole_numbers_however_small(kind: Any) -> None:
    """100 accounts over 1,200 months are more than an int8 or an int16 can count."""
    scopes = [Scope("NY", rows=entered("client", grace={"days": days})) for days in range(100)]
    months = np.tile(np.array(["2000-01", "2099-12"], "datetime64[M]"), 50)
    table = pairs.schedule(BOOK, scopes, np.arange(100).astype(kind), months)
    lasting = (table.dates("grace_end_date") - table.dates("due_date")).astype(int)
    assert lasting.tolist() == list(range(100))


WHICH, AUGUST = np.array([0]), np.array(["2026-08"], "datetime64[M]")


@pytest.mark.parametrize(
    "which",
    [
        np.array([0.0]),
        np.array([True]),
        np.array(["0"]),
        np.array([0], object),
        np.array([0], np.uint64),
        np.array([0], "timedelta64[M]"),
        np.array(["2026-08"], "datetime64[M]"),
        np.array([None]),
    ],
    ids=lambda which: f"{which.dtype} {which[0]}",
)
def test_accounts_are_not_numbered_by_anything_else(which: Any) -> None:
    with pytest.raises(TypeError, match=r"^(`which` are whole numbers, not |Cannot cast array data from .*uint64)"):
        pairs.schedule(BOOK, SCOPES, which, AUGUST)


@pytest.mark.parametrize(
    "months",
    [
        np.array(["2026-08-01"], "datetime64[D]"),
        np.array(["2026-08-01"], "datetime64[ns]"),
        np.array(["2026"], "datetime64[Y]"),
        np.array(["2026-08"]),
        np.array([679]),
        np.array([679], "timedelta64[M]"),
        np.array([np.datetime64("2026-08", "M")], object),
        np.array(["NaT"], "datetime64"),
        np.array([date(2026, 8, 1)]),
    ],
    ids=lambda months: f"{months.dtype} {months[0]}",
)
def test_months_are_months_and_days_are_never_taken_for_them(months: Any) -> None:
    with pytest.raises(TypeError, match=r"^`months` are datetime64\[M\], not "):
        pairs.schedule(BOOK, SCOPES, WHICH, months)


@pytest.mark.parametrize(
    ("which", "months"),
    [
        (WHICH, AUGUST.repeat(2)),
        (WHICH.repeat(2), AUGUST),
        (WHICH.repeat(3), AUGUST.repeat(2)),
        (WHICH[:0], AUGUST),
        (WHICH, AUGUST[:0]),
        (WHICH[None], AUGUST[None]),
        (np.array(0), AUGUST),
        (np.array(0), np.array("2026-08", "datetime64[M]")),
    ],
    ids=["more months", "more accounts", "other counts", "no account", "no month", "a table", "one", "one of each"],
)
def test_both_columns_have_a_value_for_every_row(which: Any, months: Any) -> None:
    with pytest.raises(ValueError, match=r"^`which` and what stands beside it are one column each, not "):
        pairs.schedule(BOOK, SCOPES, which, months)


@pytest.mark.parametrize("which", [[-1], [2], [0, 2], [-1, 0], [0, -(2**62)]], ids=str)
def test_a_row_of_no_account_is_refused_and_not_counted_from_the_end(which: list[int]) -> None:
    with pytest.raises(IndexError, match=r"^`which` must be from 0 to 1$"):
        pairs.schedule(BOOK, SCOPES[:2], np.array(which), AUGUST.repeat(len(which)))
    with pytest.raises(IndexError):
        pairs.schedule(BOOK, SCOPES[:2], np.array(which), np.full(len(which), NAT))


@pytest.mark.parametrize("row", [0, CHUNK, 3 * CHUNK - 1], ids=["the first", "in the midst", "the last"])
def test_a_row_of_no_account_is_refused_among_many_of_some(row: int) -> None:
    which = np.zeros(3 * CHUNK, int)
    which[row] = 2
    with pytest.raises(IndexError, match=r"^`which` must be from 0 to 1$"):
        pairs.schedule(BOOK, SCOPES[:2], which, AUGUST.repeat(len(which)))


@pytest.mark.parametrize("number", [-1, 3, -(2**62), 2**62], ids=str)
def test_a_number_of_no_pair_is_refused(number: int) -> None:
    table = pairs.pairs(BOOK, SCOPES[:2], AUGUST[0], 1)
    with pytest.raises(IndexError, match=r"^`numbers` must be from 0 to 2$"):
        table.take(np.array([0, number]))
    with pytest.raises(TypeError, match=r"^`numbers` are whole numbers, not bool$"):
        table.take(np.array([True]))
    taken = table.take(np.array([0, 2], np.int8))
    assert [REASONS[code] for code in taken.reason] == ["not_billed", "month_not_supported"]


# Accounts that break the rules


@pytest.mark.parametrize(
    ("scope", "refusal"),
    [
        (Scope("TX"), UnknownState),
        (Scope("PA", rows=entered("client", grace={"days": 30})), BelowFloor),
        (
            Scope("NY", rows=entered("client", generation={"day_of_month": 1, "months_before_due": 0})),
            DatesOutOfOrder,
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_an_account_that_breaks_the_rules_is_refused_as_it_is_alone_and_stops_no_other(
    scope: Scope, refusal: type[Refusal]
) -> None:
    table = pairs.schedule(BOOK, [SCOPES[0], scope, SCOPES[0]], np.array([0, 1, 2]), AUGUST.repeat(3) - 2)
    assert [REASONS[code] for code in table.reason] == ["ok", "refused", "ok"]
    assert np.isnat([table.dates(name)[1] for name in DATE_NAMES]).all()
    with pytest.raises(refusal) as alone_refused:
        BOOK.life(scope)
    [(number, refused)] = pairs.pairs(BOOK, [SCOPES[0], scope, SCOPES[0]], month("2026-08"), 1).refused.items()
    assert (number, type(refused), str(refused)) == (1, refusal, str(alone_refused.value))


def test_a_book_gives_the_same_rows_again() -> None:
    fresh: RuleBook = book(small(row("states.PA", "skip_coverage_months = [9]")))
    months = np.array(["2026-08", "2026-09"], "datetime64[M]")
    first, again = (pairs.schedule(fresh, [Scope("PA")], np.zeros(2, int), months) for _ in range(2))
    assert first.reason.tolist() == again.reason.tolist() == [0, 1]
    assert str(first.dates("next_generation_date")[0]) == str(again.dates("next_generation_date")[0]) == "2026-09-11"
