"""What a rule change would move is told in full, and applying it moves that and nothing else."""

import random
from datetime import date
from typing import Any

import pytest

from ebill import service
from ebill.errors import OutsideCalendar
from ebill.preview import Dates, Difference, Moved, dates, difference, moves
from ebill.questions import Calculation
from ebill.render.json import encode
from ebill.rulebook import RuleBook, Scope
from ebill.schedule import DATE_NAMES
from tests.books import NOW, TEXT, book, edited, month, row, section, small

OHIO = section("states.OH", "generation = { day_of_month = 12 }")
COBRA = section("products.cobra", "grace = { days = 45 }")
VISION = section("products.vision", "pay_by = { days_before_next_invoice = 5 }")
BASE = small(OHIO, COBRA, VISION)


def compare(old: str, new: str, first: str = "2026-06", count: int = 6) -> Difference:
    return difference(book(old), book(new), month(first), count)


def told(found: Difference) -> list[str]:
    """Write what moves, one line each."""
    return [
        f"{move.state} {move.product or '-'} {move.coverage_month} {move.name} {move.before or '-'} {move.after or '-'}"
        for move in found.moved
    ]


# What moves


def test_between_a_book_and_itself_nothing_moves() -> None:
    assert compare(BASE, BASE) == Difference("2026-06", 6, (), (), (), (), (), ())
    shipped = compare(TEXT, f"# the same\n{TEXT}", "2026-01", 120)
    assert (shipped.moved, shipped.unmoved) == ((), ())


def test_a_longer_grace_moves_the_grace_end_from_its_month_on_in_its_state_alone() -> None:
    new = BASE + row("states.PA", "grace = { days = 31 }", since="2026-10")
    found = compare(BASE, new)
    assert (
        told(found)
        == [
            "PA - 2026-10 grace_end_date 2026-10-31 2026-11-01",
            "PA - 2026-11 grace_end_date 2026-12-01 2026-12-02",
            "PA vision 2026-10 grace_end_date 2026-10-31 2026-11-01",
            "PA vision 2026-11 grace_end_date 2026-12-01 2026-12-02",
        ][:2]
    )
    assert found.unmoved == (("PA", "cobra"),)
    assert not any(move.earlier for move in found.moved)


def test_an_earlier_generation_moves_the_pay_by_dates_of_the_month_before_too() -> None:
    """30 days before the due date instead of 20: Sun 2026-08-02 for September."""
    found = compare(BASE, BASE + row("states.PA", "generation = { days_before_due = 30 }", since="2026-09"), count=4)
    assert told(found)[:5] == [
        "PA - 2026-08 next_generation_date 2026-08-12 2026-08-02",
        "PA - 2026-08 recommended_pay_by_date 2026-08-09 2026-07-30",
        "PA - 2026-08 safe_pay_by_date 2026-08-06 2026-07-28",
        "PA - 2026-09 generation_date 2026-08-12 2026-08-02",
        "PA - 2026-09 next_generation_date 2026-09-11 2026-09-01",
    ]
    assert all(move.earlier for move in found.moved)


def test_a_change_of_the_house_moves_every_state_each_in_its_turn() -> None:
    """Nothing is safe later for it: Wed 2026-11-11 is Veterans Day, on which nothing posts."""
    found = compare(BASE, BASE + row("default", "due = { day = 2 }", since="2026-11"), "2026-11", 1)
    assert told(found) == [
        "OH - 2026-11 due_date 2026-11-01 2026-11-02",
        "OH - 2026-11 grace_end_date 2026-12-01 2026-12-02",
        "OH cobra 2026-11 due_date 2026-11-01 2026-11-02",
        "OH cobra 2026-11 grace_end_date 2026-12-16 2026-12-17",
        "PA - 2026-11 generation_date 2026-10-12 2026-10-13",
        "PA - 2026-11 due_date 2026-11-01 2026-11-02",
        "PA - 2026-11 grace_end_date 2026-12-01 2026-12-02",
        "PA - 2026-11 next_generation_date 2026-11-11 2026-11-12",
        "PA - 2026-11 recommended_pay_by_date 2026-11-08 2026-11-09",
        "PA cobra 2026-11 generation_date 2026-10-12 2026-10-13",
        "PA cobra 2026-11 due_date 2026-11-01 2026-11-02",
        "PA cobra 2026-11 grace_end_date 2026-12-16 2026-12-17",
        "PA cobra 2026-11 next_generation_date 2026-11-11 2026-11-12",
        "PA cobra 2026-11 recommended_pay_by_date 2026-11-08 2026-11-09",
        "PA vision 2026-11 generation_date 2026-10-12 2026-10-13",
        "PA vision 2026-11 due_date 2026-11-01 2026-11-02",
        "PA vision 2026-11 grace_end_date 2026-12-01 2026-12-02",
        "PA vision 2026-11 next_generation_date 2026-11-11 2026-11-12",
        "PA vision 2026-11 recommended_pay_by_date 2026-11-06 2026-11-07",
    ]
    assert found.unmoved == ()  # vision in Ohio moves as Ohio's plain accounts do, and is not told again


def test_a_month_that_is_no_longer_billed_loses_its_dates_and_the_month_before_looks_further() -> None:
    found = compare(BASE, BASE + row("states.PA", "skip_coverage_months = [8]", since="2026-01"), "2026-07", 2)
    plain = [line for line in told(found) if line.startswith("PA - ")]
    assert plain == [
        "PA - 2026-07 next_generation_date 2026-07-12 2026-08-12",
        "PA - 2026-07 recommended_pay_by_date 2026-07-09 2026-08-09",
        "PA - 2026-07 safe_pay_by_date 2026-07-07 2026-08-06",
        "PA - 2026-08 generation_date 2026-07-12 -",
        "PA - 2026-08 due_date 2026-08-01 -",
        "PA - 2026-08 grace_end_date 2026-08-31 -",
        "PA - 2026-08 next_generation_date 2026-08-12 -",
        "PA - 2026-08 recommended_pay_by_date 2026-08-09 -",
        "PA - 2026-08 safe_pay_by_date 2026-08-06 -",
    ]
    back = compare(BASE + row("states.PA", "skip_coverage_months = [8]", since="2026-01"), BASE, "2026-07", 2)
    assert [(move.before, move.after) for move in back.moved] == [(move.after, move.before) for move in found.moved]


@pytest.mark.parametrize(
    ("before", "after", "earlier"),
    [
        (date(2026, 8, 2), date(2026, 8, 1), True),
        (date(2026, 8, 1), date(2026, 8, 2), False),
        (None, date(2026, 8, 2), False),
        (date(2026, 8, 2), None, False),
    ],
    ids=["earlier", "later", "new", "gone"],
)
def test_only_a_date_that_is_there_and_comes_earlier_leaves_less_time(
    before: date | None, after: date | None, earlier: bool
) -> None:
    assert Moved("PA", None, "2026-08", "due_date", before, after).earlier is earlier


# States and products


def test_states_and_products_that_come_and_go_are_named_and_nothing_moves() -> None:
    new = small(section("states.TX", "generation = { days_before_due = 9 }"),
                section("states.CA", "generation = { days_before_due = 9 }"),
                COBRA, section("products.dental", "grace = { days = 5 }"))  # fmt: skip
    found = compare(BASE, new)
    assert (found.states_added, found.states_removed) == (("CA", "TX"), ("OH",))
    assert (found.products_added, found.products_removed) == (("dental",), ("vision",))
    assert (found.moved, found.unmoved) == ((), ())
    back = compare(new, BASE)
    assert (back.states_added, back.states_removed) == (("OH",), ("CA", "TX"))
    assert (back.products_added, back.products_removed) == (("vision",), ("dental",))


def test_a_product_that_changes_is_told_under_its_own_name_in_every_state() -> None:
    found = compare(BASE, edited(("grace = { days = 45 }", "grace = { days = 40 }"), text=BASE), "2026-08", 1)
    assert told(found) == [
        "OH cobra 2026-08 grace_end_date 2026-09-15 2026-09-10",
        "PA cobra 2026-08 grace_end_date 2026-09-15 2026-09-10",
    ]
    assert found.unmoved == ()
    assert all(move.earlier for move in found.moved)


def test_a_product_that_stays_where_its_state_moves_is_told_so() -> None:
    found = compare(BASE, BASE + row("states.PA", "grace = { days = 60 }", since="2026-08"), "2026-08", 1)
    assert told(found) == ["PA - 2026-08 grace_end_date 2026-08-31 2026-09-30"]
    assert found.unmoved == (("PA", "cobra"),)
    same = compare(BASE, BASE + row("states.PA", "due = { day = 5 }", since="2026-12"), "2026-08", 1)
    assert (same.moved, same.unmoved) == ((), ())


def test_a_difference_as_data_has_its_words_and_can_be_written() -> None:
    found = compare(BASE, BASE + row("states.PA", "grace = { days = 60 }", since="2026-08"), "2026-08", 1)
    assert found.as_data() == {
        "from": "2026-08",
        "months": 1,
        "states_added": (),
        "states_removed": (),
        "products_added": (),
        "products_removed": (),
        "moved": [
            {
                "state": "PA",
                "product": None,
                "coverage_month": "2026-08",
                "name": "grace_end_date",
                "before": date(2026, 8, 31),
                "after": date(2026, 9, 30),
            }
        ],
        "unmoved": [{"state": "PA", "product": "cobra"}],
    }
    assert b'"before":"2026-08-31","after":"2026-09-30"' in encode(found.as_data())


# The ends


LATE = small('\n[states.OH]\nname = "Ohio"\n', row("states.OH", "generation = { days_before_due = 9 }",
                                                    since="2020-03"))  # fmt: skip


def test_months_before_the_first_rule_have_no_dates() -> None:
    rules = book(LATE)
    assert {name for name, _ in dates(rules, Scope("OH"), month("2020-01"), 4)} == {"2020-03", "2020-04"}
    for first, count in (("2019-01", 12), ("2000-01", 120)):
        assert dates(rules, Scope("OH"), month(first), count) == {}
    earlier = edited(('since = "2020-03"', 'since = "2020-02"'), text=LATE)
    assert {move.coverage_month for move in compare(LATE, earlier, "2020-01", 6).moved} == {"2020-02"}


def test_months_after_the_last_supported_one_have_no_dates() -> None:
    rules = book(BASE)
    assert {name for name, _ in dates(rules, Scope("PA"), month("2099-11"), 12)} == {"2099-11", "2099-12"}
    assert dates(rules, Scope("PA"), month("2100-01"), 12) == {}
    assert dates(rules, Scope("PA"), month("2026-08"), 0) == {}


def test_a_date_beyond_the_calendar_is_refused_and_not_left_out() -> None:
    far = small(calendar='"JP"', due="{ day = 1, month_offset = 1 }")
    with pytest.raises(OutsideCalendar, match=r"^safe_pay_by_date of coverage month 2099-12 "):
        compare(far, far, "2099-11", 2)
    assert compare(far, far, "2099-10", 2).moved == ()


def test_moves_are_what_differs_by_month_and_in_the_order_of_an_invoices_life() -> None:
    first, second, third = date(2026, 8, 1), date(2026, 8, 2), date(2026, 8, 3)
    before: Dates = {
        ("2026-09", "due_date"): first,
        ("2026-08", "grace_end_date"): first,
        ("2026-08", "due_date"): second,
        ("2026-08", "next_generation_date"): None,
        ("2026-08", "safe_pay_by_date"): first,
    }
    after: Dates = {
        ("2026-08", "due_date"): third,
        ("2026-08", "grace_end_date"): first,
        ("2026-08", "next_generation_date"): second,
        ("2026-10", "due_date"): third,
    }
    assert list(moves(before, after)) == [
        ("2026-08", "due_date", second, third),
        ("2026-08", "next_generation_date", None, second),
        ("2026-08", "safe_pay_by_date", first, None),
        ("2026-09", "due_date", first, None),
        ("2026-10", "due_date", None, third),
    ]
    assert list(moves(before, before)) == list(moves({}, {})) == []


# Applying it


def answered(rules: RuleBook, scope: Scope, first: str, count: int) -> Dates:
    """Give the dates as they are answered to whoever asks."""
    question = Calculation(scope.state, month(first), count, scope.product)
    invoices: list[Any] = service.calculate(rules, question, NOW)["invoices"]
    return {(each["coverage_month"], name): each[name] for each in invoices for name in DATE_NAMES}


def applied(before: Dates, found: Difference, scope: Scope) -> Dates:
    """Apply what was told of an account's scope; a product that is not told of apart moves with its state."""
    apart = {(move.state, move.product) for move in found.moved} | set(found.unmoved)
    product = scope.product if (scope.state, scope.product) in apart else None
    after = dict(before)
    for move in found.moved:
        if (move.state, move.product) == (scope.state, product):
            if after.get((move.coverage_month, move.name)) != move.before:
                raise ValueError(move)
            after[move.coverage_month, move.name] = move.after
    return {(name, date_name): on for (name, date_name), on in after.items() if after[name, "due_date"]}


CHANGES = (
    "due = { day = 3 }",
    'due = { day = 1, roll = "following" }',
    "due = { day = -1, month_offset = -1 }",
    "generation = { days_before_due = 33 }",
    'generation = { weekday = "TH", nth = 3 }',
    "generation = { business_day = 5 }",
    "grace = { days = 45 }",
    "grace = { calendar_months = 3 }",
    'pay_by = { days_before_next_invoice = 4, unit = "business" }',
    'posting = { min_business_days = 0, max_business_days = 9, cutoff = "12:00" }',
    'calendar = "US-PA"',
    'timezone = "America/Chicago"',
    "skip_coverage_months = [7, 8]",
    "skip_coverage_months = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]",
    "grace_floor = { days = 60 }",
)
TABLES = ("default", "states.PA", "states.OH", "products.cobra", "products.vision")


@pytest.mark.parametrize("seed", range(20))
def test_applying_a_change_moves_what_the_preview_told_and_nothing_else(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # no secret
    old, new = (
        BASE
        + "".join(
            row(rng.choice(TABLES[1:] if "floor" in change else TABLES), change, since=f"2026-{rng.randint(1, 12):02}")
            for change in rng.sample(CHANGES, size)
        )
        for size in (1, 3)
    )
    before, after = book(old), book(new)
    found = difference(before, after, month("2025-11"), 30)
    for state in ("OH", "PA"):
        for product in (None, "cobra", "vision"):
            scope = Scope(state, product)
            wanted = answered(after, scope, "2025-11", 30)
            assert applied(answered(before, scope, "2025-11", 30), found, scope) == wanted, (scope, found)
    assert found.moved


def test_a_move_is_told_with_what_is_answered_before_and_after() -> None:
    old, new = book(TEXT), book(edited(("day_of_month = 12", "day_of_month = 10")))
    found = difference(old, new, month("2026-01"), 12)
    assert {move.state for move in found.moved} == {"WV"}
    for move in found.moved:
        key = (move.coverage_month, move.name)
        assert answered(old, Scope("WV"), "2026-01", 12)[key] == move.before
        assert answered(new, Scope("WV"), "2026-01", 12)[key] == move.after
