"""Scopes taken together have the dates and the refusals that each has alone, however their rules are laid out."""

import random
from datetime import date, timedelta
from itertools import product
from typing import Any

import numpy as np
import pytest

from ebill.batch import pairs
from ebill.batch.columns import REASONS
from ebill.batch.groups import Scopes
from ebill.dates import DAY, FIRST_MONTH, library_calendar, months_from
from ebill.errors import DatesOutOfOrder, Refusal
from ebill.rulebook import Layer, Life, Row, RuleBook, Scope, Section, entered
from ebill.rules import DayRule, Due, Inherited
from ebill.schedule import DATE_NAMES, FixedDates
from tests import oracle
from tests.strategies import (
    CALENDARS,
    DEFAULTS,
    DUES,
    GENERATIONS,
    GRACES,
    PAY_BYS,
    Case,
    Written,
    calendar,
    draw_case,
    draw_rule,
    month,
    rule,
)

pytestmark = pytest.mark.anywhere

YEARS = [f"{year}-{number:02}" for year in range(2024, 2030) for number in range(1, 13)]


def empty(**calendars: Any) -> RuleBook:
    """Give a book of one state without rules: all of them are the scope's."""
    return RuleBook(
        "a test", (), {"PA": Section("PA", ())}, {}, calendars or {name: calendar(name) for name in CALENDARS}
    )


def draw_near(rng: random.Random) -> Case:
    """Draw a life that is most often good: the default rules, and near them what changes and is fixed."""
    since = rng.choice(("2000-01", "2000-01", "2025-06"))
    rows = [Written(since, "default", kind, given) for kind, given in DEFAULTS.items()]
    for _ in range(rng.choice((0, 1, 2, 4))):
        kind = rng.choice([*DEFAULTS, "grace_floor", "skip_coverage_months", "generation", "grace"])
        given = {
            "due": {"day": rng.choice((1, 5, 15, -1))},
            "grace": {"days": rng.randint(20, 70)},
            "grace_floor": {"days": rng.randint(10, 45)},
        }.get(kind) or draw_rule(rng, kind)
        layer = rng.choice(("default", "state", "product", "client", "bill_account"))
        rows.append(Written(rng.choice(["2000-01", *YEARS]), layer, kind, given))
    exceptions: dict[str, Any] = {}
    for name in rng.sample(YEARS, rng.choice((0, 0, 0, 1, 2))):
        first = oracle.month_called(name)
        exceptions[name] = rng.choice(
            (
                {"due_date": first + timedelta(rng.randint(0, 9))},
                {"generation_date": first - timedelta(rng.randint(10, 40))},
                {"grace_end_date": first + timedelta(rng.randint(20, 80))},
                {"due_date": first + timedelta(3), "generation_date": first - timedelta(9)},
            )
        )
    begins, ends = (rng.choice((None, None, None, rng.choice(YEARS))) for _ in range(2))
    return Case(rows, "2026-01", 36, exceptions, ends, begins)


def draw_scope(rng: random.Random) -> Scope:
    case = draw_case(rng) if rng.random() < 0.3 else draw_near(rng)
    rows = tuple(
        Row(month(each.since), rule(each.kind, each.rule), "a test", each.layer,  # type: ignore[arg-type]
            recorded=number, settled=rng.random() < 0.3)
        for number, each in enumerate(case.rows)
    )  # fmt: skip
    fixed = tuple(
        FixedDates(month(name), "a test", **given, if_billed=rng.random() < 0.5, settled=rng.random() < 0.5)
        for name, given in case.exceptions.items()
    )
    begins, ends = case.first_coverage_month, case.last_coverage_month
    return Scope("PA", None, rows, fixed, month(ends) if ends else None, month(begins) if begins else None)


def twin(rng: random.Random, scope: Scope) -> Scope:
    """Give a scope that differs in what one row says."""
    rows = list(scope.rows)
    at = rng.randrange(len(rows))
    kind = rows[at].kind
    rows[at] = rows[at]._replace(rule=Inherited(kind) if rng.random() < 0.5 else rule(kind, draw_rule(rng, kind)))
    return Scope(
        scope.state, None, tuple(rows), scope.exceptions, scope.last_coverage_month, scope.first_coverage_month
    )


def live(book: RuleBook, scope: Scope) -> Life | Refusal:
    try:
        return book.life(scope)
    except Refusal as refusal:
        return refusal


def alone(life: Life | Refusal, first: Any, width: int) -> tuple[list[int], list[list[date | None]]]:
    """Give the reasons and the dates of a window of one life; a month before its rules has none."""
    if isinstance(life, Refusal):
        return [REASONS.index("refused")] * width, [[None] * width] * len(DATE_NAMES)
    dates = life.schedule
    reasons, rows = [], []
    for row in range(dates.row(first), dates.row(first) + width):
        billed = row >= 0 and dates.billed[row]
        unknown = billed and dates.unknown[row]
        why = "no_rule_in_force" if row < 0 else "outside_calendar" if unknown else "ok" if billed else "not_billed"
        reasons.append(REASONS.index(why))
        rows.append([dates.trails[name].days[row].item() if why == "ok" else None for name in DATE_NAMES])
    return reasons, [list(column) for column in zip(*rows, strict=True)]


def are_as_alone(scopes: list[Scope]) -> None:
    """Compare a year of scopes taken together with that of each."""
    book = empty()
    found = pairs.pairs(book, scopes, month("2026-01"), 12)
    for number, scope in enumerate(scopes):
        _, columns = alone(live(book, scope), month("2026-01"), 12)
        rows = slice(number * 12, (number + 1) * 12)
        assert [found.dates(each)[rows].tolist() for each in DATE_NAMES] == columns, scope


@pytest.mark.parametrize("seed", range(3))
def test_hundreds_of_drawn_scopes_have_the_dates_and_refusals_that_each_has_alone(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # no secret
    book, scopes = empty(), [draw_scope(rng) for _ in range(100)]
    scopes += [twin(rng, scope) for scope in scopes]
    lives = [live(book, scope) for scope in scopes]
    refused = {number: str(life) for number, life in enumerate(lives) if isinstance(life, Refusal)}
    assert 20 < len(refused) < 150
    assert refused.keys() <= Scopes(book, scopes).doubtful
    for name, width in (("2026-01", 24), ("2000-01", 2), ("2099-06", 7), ("2025-03", 36), ("2026-07", 1)):
        found = pairs.pairs(book, scopes, month(name), width)
        assert {number: str(refusal) for number, refusal in found.refused.items()} == refused
        for number, life in enumerate(lives):
            reasons, columns = alone(life, month(name), width)
            rows = slice(number * width, (number + 1) * width)
            assert found.reason[rows].tolist() == reasons
            assert [found.dates(each)[rows].tolist() for each in DATE_NAMES] == columns, (name, scopes[number])


def test_scopes_are_taken_for_alike_only_where_all_their_rows_stand_alike() -> None:
    """Whether a client's 60 days or the others count depends on the layer and the month of these together."""
    defaults = tuple(row for kind in DEFAULTS for row in scope_rows(**{kind: DEFAULTS[kind]}))
    sixty = Row(month("2026-02"), rule("grace", {"days": 60}), "a test", "client")
    layers: tuple[Layer, ...] = ("product", "client", "bill_account")
    others = [
        Row(month(since), rule("grace", {"days": days}), "a test", layer)
        for days, (since, layer) in enumerate(product(("2026-02", "2026-05", "2026-09"), layers), 40)
    ]
    scopes = [Scope("PA", rows=(*defaults, sixty, other)) for other in others]
    are_as_alone(scopes)


@pytest.mark.parametrize("kind", ["due", "generation", "grace", "pay_by", "grace_floor"])
@pytest.mark.parametrize("turned", [False, True], ids=["inherited first", "inherited last"])
def test_a_rule_that_is_inherited_again_is_not_alike_one_of_its_kind(kind: Any, turned: bool) -> None:
    given = {"due": {"day": 5}, "generation": {"days_before_due": 30}, "grace": {"days": 45},
             "pay_by": {"days_before_next_invoice": 9}, "grace_floor": {"days": 50}}[kind]  # fmt: skip
    defaults = tuple(row for each in DEFAULTS for row in scope_rows(**{each: DEFAULTS[each]}))
    scopes = [
        Scope("PA", rows=(*defaults, Row(month("2026-02"), own, "a test", "client")))
        for own in (Inherited(kind), rule(kind, given), Inherited(kind))
    ]
    scopes = scopes[:2][::-1] if turned else scopes
    are_as_alone(scopes)


@pytest.mark.parametrize("share", [True, False], ids=["shared", "copied"])
def test_rows_that_are_one_object_are_as_rows_that_say_the_same(share: bool) -> None:
    """Also where a scope has one of them twice, and another scope of its pattern two that differ in their place."""
    defaults = tuple(row for kind in DEFAULTS for row in scope_rows(**{kind: DEFAULTS[kind]}))
    long, short = (scope_rows(grace={"days": days})[0] for days in (60, 45))
    floor = Row(month("2026-04"), rule("grace_floor", {"days": 50}), "a test", "default", settled=True)
    of_each = [(long, short), (short, short), (short, long), (long, long), (long, short), (short,), (floor, short), ()]
    scopes = [Scope("PA", rows=defaults + rows) for rows in of_each * 2]
    if not share:
        scopes = [scope._replace(rows=tuple(row._replace() for row in scope.rows)) for scope in scopes]
    are_as_alone(scopes)


def test_equal_rules_that_are_given_for_all_months_are_one_row() -> None:
    (one,), (other,), (later,) = (entered([rule("grace", {"days": days})], "client", "a test") for days in (45, 45, 46))
    assert one is other
    assert one == Row(FIRST_MONTH, rule("grace", {"days": 45}), "a test", "client") != later


def test_scopes_that_keep_the_order_are_not_doubted_and_need_no_look_at_any_month(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Scopes, "_wrong", None)
    rows = [row for kind in DEFAULTS for row in scope_rows(**{kind: DEFAULTS[kind]})]
    assert Scopes(empty(), [Scope("PA", rows=tuple(rows))] * 3).doubtful == set()


def scope_rows(since: str = "2000-01", **rules: Any) -> tuple[Row, ...]:
    return tuple(Row(month(since), rule(kind, given), "a test", "default") for kind, given in rules.items())


def test_a_scope_that_breaks_the_order_in_one_month_of_the_century_is_refused() -> None:
    """Closed for the eight days before one due date: an invoice that rolls forward comes on the due date itself."""
    shut = {date(2063, 5, 7) + timedelta(number): "moving house" for number in range(8)}
    book = empty(SHUT=library_calendar("XFED").with_closures(shut))
    late = {"due": {"day": 15}, "generation": {"days_before_due": 8, "roll": "following"}, "calendar": "SHUT"}
    lasting, until, after = (
        Scope("PA", rows=scope_rows(**{**DEFAULTS, **late})),
        Scope("PA", rows=scope_rows(**{**DEFAULTS, **late}) + scope_rows("2063-05", generation={"days_before_due": 9})),
        Scope("PA", rows=scope_rows(**{**DEFAULTS, **late}) + scope_rows("2063-06", generation={"days_before_due": 9})),
    )
    found = pairs.pairs(book, [until, lasting, after], month("2026-01"), 12)
    assert {number: type(refusal) for number, refusal in found.refused.items()} == {
        1: DatesOutOfOrder,
        2: DatesOutOfOrder,
    }
    assert {str(refusal)[:25] for refusal in found.refused.values()} == {"In coverage month 2063-05"}
    assert found.reason[:-1].reshape(3, 12).tolist() == [[0] * 12, [6] * 12, [6] * 12]


# What a rule says of itself

CENTURY = months_from(FIRST_MONTH, 1200)
DUE_DAYS = [
    Due(day, roll=roll).apply(CENTURY, calendar("XFED")) for day in (1, 15, 31, -8) for roll in ("none", "following")
]


def every(kind: str) -> list[DayRule]:
    ways = {
        "due": [DUES],
        "generation": list(GENERATIONS.values()),
        "grace": list(GRACES.values()),
        "pay_by": [PAY_BYS],
    }[kind]
    return [rule(kind, given) for way in ways for given in way]


@pytest.mark.parametrize("kind", ["generation", "grace"])
def test_a_rule_that_says_it_keeps_the_order_keeps_it_in_every_month(kind: str) -> None:
    says = [each for each in every(kind) if each.keeps_order]  # type: ignore[attr-defined]
    assert len(says) > 300
    for number, each in enumerate(says):
        due = DUE_DAYS[number % len(DUE_DAYS)]
        for name in ("XFED", "XFED-SHUT"):
            days = each.apply(due, calendar(name))
            assert not (days >= due if kind == "generation" else days < due).any(), str(each)


@pytest.mark.parametrize("kind", ["generation", "grace"])
def test_the_rule_of_the_house_keeps_the_order_plainly(kind: str) -> None:
    assert rule(kind, DEFAULTS[kind]).keeps_order


@pytest.mark.parametrize("kind", ["due", "generation", "grace", "pay_by"])
def test_rules_of_one_shape_give_together_what_each_gives_alone(kind: str) -> None:
    months = CENTURY[300:336]
    origin = months if kind == "due" else Due(15).apply(months, calendar("XFED"))
    shapes: dict[Any, list[DayRule]] = {}
    for each in every(kind):
        shapes.setdefault(each.shape, []).append(each)
    assert len(shapes) < len(every(kind)) / 7
    for alike in shapes.values():
        numbers = np.array([getattr(each, each.number) for each in alike])[:, None]
        together = alike[0].with_numbers(numbers).apply(origin, calendar("XFED"))
        assert together.dtype == DAY
        for each, days in zip(alike, together, strict=True):
            assert days.tolist() == each.apply(origin, calendar("XFED")).tolist(), str(each)
