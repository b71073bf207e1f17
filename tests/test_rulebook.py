"""Which rule is in force, and on whose word: layers, months, floors, skips, exceptions, and what is kept."""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import product as every
from typing import Any

import numpy as np
import pytest

from ebill.errors import (
    BelowFloor,
    CutoffNotDaily,
    DatesOutOfOrder,
    ExceptionTooFar,
    NoRuleInForce,
    NotBilled,
    OutsideCalendar,
    UnknownCalendar,
    UnknownState,
)
from ebill.rulebook import LAYERS, Layer, RuleBook, Scope
from ebill.schedule import DATE_NAMES, DateName, FixedDates
from tests.books import ask, book, edited, entered, month, row, section, small

Dates = Mapping[DateName, date | None]

BASE = small()
PA = "generation = { days_before_due = 20 }"
COBRA = section("products.cobra", "grace = { days = 32 }")


def dates(rules: RuleBook, coverage_month: str, state: str = "PA", **scope: Any) -> Dates:
    """Give the dates of one invoice."""
    life = rules.life(Scope(state, **scope))
    rows = life.rows(month(coverage_month), 1)
    assert life.schedule.billed[rows].all()
    return {name: column[0] for name, column in life.columns(rows).items()}


def day(rules: RuleBook, coverage_month: str, name: DateName, **scope: Any) -> str:
    return str(dates(rules, coverage_month, **scope)[name])


def fixed(coverage_month: str, **days: str) -> FixedDates:
    given: Any = {name: date.fromisoformat(given) for name, given in days.items()}
    return FixedDates(month(coverage_month), "a test", **given)


# Layers


@pytest.mark.parametrize("given", list(every([False, True], repeat=4)), ids=str)
def test_the_highest_layer_wins(given: tuple[bool, ...]) -> None:
    state, product, client, account = given
    text = small(row("states.PA", "grace = { days = 31 }") if state else "", COBRA if product else "")
    rows = entered("client", grace={"days": 33}) if client else ()
    rows += entered("bill_account", grace={"days": 34}) if account else ()
    days = max(30, 31 * state, 32 * product, 33 * client, 34 * account)
    found = dates(book(text), "2026-08", product="cobra" if product else None, rows=rows)
    assert found["grace_end_date"] == date(2026, 8, 1) + timedelta(days)


def test_a_layer_wins_whatever_the_order_of_the_rows_and_their_months() -> None:
    rows = entered("bill_account", grace={"days": 34}) + entered("client", since="2026-08", grace={"days": 33})
    for given in (rows, rows[::-1]):
        assert day(book(BASE), "2026-08", "grace_end_date", rows=given) == "2026-09-04"


def test_layers_are_named_from_the_lowest_to_the_highest() -> None:
    assert LAYERS == ("default", "state", "product", "client", "bill_account")


def test_a_rule_replaces_the_whole_rule_below_it() -> None:
    rules = book(small(grace='{ days = 30, roll = "following" }'))
    assert day(rules, "2026-03", "grace_end_date") == "2026-03-31"
    assert day(rules, "2026-01", "grace_end_date") == "2026-02-02"  # the 31st is a Saturday
    assert day(rules, "2026-01", "grace_end_date", rows=entered("client", grace={"days": 30})) == "2026-01-31"


def test_a_posting_replaces_the_cutoff_too() -> None:
    posting = {"min_business_days": 2, "max_business_days": 3, "cutoff": "12:00"}
    at_one: Any = {"state": "PA", "coverage_month": "2026-07", "paid_at": "2026-07-06T13:00"}
    house, client = ask(book(BASE), **at_one), ask(book(BASE), **at_one, rules={"posting": posting})
    assert str(house["payment"]["received_date"]) == "2026-07-06"
    assert str(client["payment"]["received_date"]) == "2026-07-07"


def test_each_kind_is_taken_from_its_own_highest_layer() -> None:
    text = small(row("states.PA", "due = { day = 2 }"), COBRA)
    found = dates(book(text), "2026-08", product="cobra", rows=entered("client", generation={"days_before_due": 10}))
    assert [str(found[name]) for name in ("generation_date", "due_date", "grace_end_date")] == [
        "2026-07-23",
        "2026-08-02",
        "2026-09-03",
    ]


def test_a_bill_account_may_sit_in_another_state_than_its_client() -> None:
    rules = book(BASE + section("states.NY", "generation = { day_of_month = -8 }"))
    client = entered("client", grace={"days": 45})
    for state, generation in (("PA", "2026-07-12"), ("NY", "2026-07-24")):
        found = dates(rules, "2026-08", state, rows=client)
        assert (str(found["generation_date"]), str(found["grace_end_date"])) == (generation, "2026-09-15")


def test_a_state_that_is_not_configured_is_refused() -> None:
    with pytest.raises(UnknownState, match='No state "OH" is configured; the configured states are PA'):
        book(BASE).life(Scope("OH"))


# Since when


def test_a_rule_holds_from_its_first_month_and_the_invoice_before_looks_ahead_to_it() -> None:
    rules = book(BASE + row("states.PA", "generation = { days_before_due = 10 }", since="2026-08"))
    assert [day(rules, m, "generation_date") for m in ("2026-07", "2026-08", "2026-09")] == [
        "2026-06-11",
        "2026-07-22",
        "2026-08-22",
    ]
    assert [day(rules, m, "next_generation_date") for m in ("2026-06", "2026-07", "2026-08")] == [
        "2026-06-11",
        "2026-07-22",
        "2026-08-22",
    ]


def test_a_rule_holds_until_the_next_and_the_months_before_are_left_alone() -> None:
    old = book(BASE)
    new = book(BASE + row("states.PA", "grace = { days = 45 }", since="2026-08"))
    reverted = book(
        BASE
        + row("states.PA", "grace = { days = 45 }", since="2026-08")
        + row("states.PA", "grace = { days = 30 }", since="2026-10")
    )
    for name in ("2000-01", "2026-06", "2026-07"):
        assert dates(new, name) == dates(old, name)
    for name in ("2026-10", "2026-11", "2099-12"):
        assert dates(reverted, name) == dates(old, name) != dates(new, name)


def test_the_row_recorded_last_wins_for_the_same_month_and_the_later_month_before_that() -> None:
    first, second = (row("states.PA", f"grace = {{ days = {days} }}", since="2026-08") for days in (40, 41))
    early = row("states.PA", "grace = { days = 50 }", since="2026-07")
    assert day(book(BASE + first + second), "2026-08", "grace_end_date") == "2026-09-11"
    assert day(book(BASE + second + first), "2026-08", "grace_end_date") == "2026-09-10"
    assert day(book(BASE + first + early), "2026-08", "grace_end_date") == "2026-09-10"


def test_before_the_first_row_no_rule_is_in_force() -> None:
    later = edited(('[[states.PA.rules]]\nsince = "2000-01"', '[[states.PA.rules]]\nsince = "2012-03"'), text=BASE)
    rules = book(later)
    assert day(rules, "2012-03", "generation_date") == "2012-02-10"
    with pytest.raises(NoRuleInForce, match=r"No generation rule .* for coverage month 2012-02; .* from 2012-03\.$"):
        dates(rules, "2012-02")


def test_the_first_month_without_a_rule_is_told_for_the_kind_that_lacks_it() -> None:
    later = BASE.replace("2000-01", "2010-01")
    with pytest.raises(NoRuleInForce) as refusal:
        dates(book(later), "2009-12")
    assert (refusal.value.kind, refusal.value.coverage_month) == ("due", "2009-12")
    assert dates(book(later), "2010-01")


# The month of the payment: posting, calendar and zone

SLOW = 'posting = {{ min_business_days = 5, max_business_days = {}, cutoff = "12:00" }}'


def window(rules: RuleBook, paid_at: str) -> list[str]:
    paid = ask(rules, state="PA", coverage_month="2026-07", paid_at=paid_at)["payment"]
    return [str(paid[name]) for name in ("received_date", "posts_from_date", "posts_by_date")]


def test_posting_is_that_of_the_month_of_the_payment_and_not_of_the_invoice() -> None:
    rules = book(BASE + row("states.PA", SLOW.format(6), since="2026-08"))
    assert window(rules, "2026-07-31T13:00") == ["2026-07-31", "2026-08-04", "2026-08-05"]
    assert window(rules, "2026-08-03T11:59") == ["2026-08-03", "2026-08-10", "2026-08-11"]
    assert window(rules, "2026-08-03T12:00") == ["2026-08-04", "2026-08-11", "2026-08-12"]


@pytest.mark.parametrize(("max_days", "safe"), [(6, "2026-08-03"), (7, "2026-07-31"), (8, "2026-07-31")])
def test_the_safe_pay_by_date_is_by_the_posting_of_its_own_month(max_days: int, safe: str) -> None:
    rules = book(BASE + row("states.PA", SLOW.format(max_days), since="2026-08"))
    assert day(rules, "2026-07", "safe_pay_by_date") == "2026-07-07"  # before 2026-07-12, a Sunday
    assert day(rules, "2026-08", "safe_pay_by_date") == safe  # before 2026-08-12


def test_a_calendar_is_that_of_the_month_of_the_payment() -> None:
    closed = (
        '\n[calendars.BANKS]\nname = "Banks"\nholidays = "XFED"\nclosures = [{ date = 2026-08-05, reason = "storm" }]\n'
    )
    rules = book(BASE + closed + row("states.PA", 'calendar = "BANKS"', since="2026-08"))
    assert window(rules, "2026-07-31") == ["2026-07-31", "2026-08-04", "2026-08-05"]
    assert window(rules, "2026-08-03") == ["2026-08-03", "2026-08-06", "2026-08-07"]


def test_a_zone_is_that_of_the_month_of_the_payment() -> None:
    rules = book(BASE + row("states.PA", 'timezone = "America/Denver"', since="2026-08"))
    assert window(rules, "2026-07-15T20:59:59Z")[0] == "2026-07-15"
    assert window(rules, "2026-07-15T21:00:00Z")[0] == "2026-07-16"  # 17:00 in New York
    assert window(rules, "2026-08-05T22:59:59Z")[0] == "2026-08-05"
    assert window(rules, "2026-08-05T23:00:00Z")[0] == "2026-08-06"  # 17:00 in Denver


def test_a_payment_before_the_first_row_is_posted_under_the_first() -> None:
    rules = book(BASE.replace("2000-01", "2026-07") + row("states.PA", SLOW.format(6), since="2026-08"))
    assert window(rules, "2026-05-04") == ["2026-05-04", "2026-05-06", "2026-05-07"]


def test_a_calendar_to_come_does_not_need_to_know_the_years_before() -> None:
    """A calendar that begins in 2001 takes over in 2026: what was paid in 2000 was posted by the one before."""
    rules = book(BASE + row("states.PA", 'calendar = "XNSE"', since="2026-08"))
    assert dates(rules, "2000-06") == dates(book(BASE), "2000-06")


# Floors

FLOOR = "grace_floor = { days = 31 }"


def test_a_floor_that_arrives_later_wins_from_its_month_on() -> None:
    rules = book(BASE + row("states.PA", FLOOR, since="2026-08"))
    assert day(rules, "2026-07", "grace_end_date") == "2026-07-31"
    assert day(rules, "2026-08", "grace_end_date") == "2026-09-01"
    assert day(rules, "2026-08", "grace_end_date", rows=entered("client", grace={"days": 32})) == "2026-09-02"


@pytest.mark.parametrize("layer", ["client", "bill_account"])
def test_a_grace_entered_below_a_floor_is_refused_naming_the_first_month(layer: Layer) -> None:
    rules = book(BASE + row("states.PA", FLOOR, since="2026-08", cite="40 P.S. 1"))
    words = (
        r"^In coverage month 2026-08 the grace would end 2026-08-31, before the floor of 2026-09-01 \(40 P.S. 1\)\.$"
    )
    with pytest.raises(BelowFloor, match=words):
        rules.life(Scope("PA", rows=entered(layer, grace={"days": 30})))
    assert day(rules, "2026-08", "grace_end_date", rows=entered(layer, grace={"days": 31})) == "2026-09-01"


def test_a_grace_is_refused_where_one_month_of_it_is_below_the_floor() -> None:
    rules = book(BASE + row("states.PA", "grace_floor = { days = 28 }"))
    with pytest.raises(BelowFloor, match=r"In coverage month 2001-02 .* end 2001-02-28, .* of 2001-03-01"):
        rules.life(Scope("PA", rows=entered("client", grace={"calendar_months": 1})))


def test_a_grace_in_a_month_without_an_invoice_is_not_below_a_floor() -> None:
    rules = book(BASE + row("states.PA", "grace_floor = { days = 28 }"))
    rows = entered("client", grace={"calendar_months": 1}, skip_coverage_months=[2])
    assert day(rules, "2026-03", "grace_end_date", rows=rows) == "2026-03-31"


def test_of_a_states_and_a_products_floor_the_later_one_counts() -> None:
    for state, product in ((31, 40), (40, 31)):
        text = small(
            row("states.PA", f"grace_floor = {{ days = {state} }}"),
            section("products.cobra", f"grace_floor = {{ days = {product} }}"),
        )
        assert day(book(text), "2026-08", "grace_end_date", product="cobra") == "2026-09-10"


def test_a_later_floor_of_the_same_layer_replaces_the_earlier_one() -> None:
    text = small(row("states.PA", "grace_floor = { days = 40 }"), row("states.PA", FLOOR, since="2026-08"))
    assert [day(book(text), m, "grace_end_date") for m in ("2026-07", "2026-08")] == ["2026-08-10", "2026-09-01"]


def test_a_products_grace_below_its_states_floor_is_raised() -> None:
    text = small(row("states.PA", "grace_floor = { days = 40 }"), COBRA)
    assert day(book(text), "2026-08", "grace_end_date", product="cobra") == "2026-09-10"


@pytest.mark.parametrize("roll", ["none", "following"])
def test_a_floor_counts_from_the_rolled_due_date_and_rolls_itself(roll: str) -> None:
    text = small(
        row("states.PA", f'grace_floor = {{ days = 40, roll = "{roll}" }}'), due='{ day = 1, roll = "following" }'
    )
    expected = {"none": "2026-09-12", "following": "2026-09-14"}  # due Monday the 3rd; the 12th is a Saturday
    assert day(book(text), "2026-08", "grace_end_date") == expected[roll]


# Months without an invoice


def test_a_skipped_month_has_no_invoice_and_next_means_the_next_that_exists() -> None:
    rows = entered("client", skip_coverage_months=[7, 8])
    rules = book(BASE)
    assert day(rules, "2026-06", "next_generation_date", rows=rows) == "2026-08-12"
    answer = ask(rules, state="PA", **{"from": "2026-06"}, months=4, rules={"skip_coverage_months": [7, 8]})
    assert [invoice["coverage_month"] for invoice in answer["invoices"]] == ["2026-06", "2026-09"]
    assert answer["not_billed"] == [
        {"coverage_month": name, "reason": "no invoice for July, August"} for name in ("2026-07", "2026-08")
    ]


def test_skipped_months_are_dated_and_replaced_as_a_whole() -> None:
    text = BASE + row("states.PA", "skip_coverage_months = [7, 8]", since="2026-08")
    billed = {m: book(text).life(Scope("PA")).schedule.billed[int((month(m) - month("2000-01")).astype(int))]
              for m in ("2026-07", "2026-08", "2027-07")}  # fmt: skip
    assert billed == {"2026-07": True, "2026-08": False, "2027-07": False}
    assert day(book(text), "2027-07", "due_date", rows=entered("client", skip_coverage_months=[])) == "2027-07-01"


def test_the_last_coverage_month_has_no_next_invoice() -> None:
    found = dates(book(BASE), "2026-08", last_coverage_month=month("2026-08"))
    assert [str(found[name]) for name in DATE_NAMES] == [
        "2026-07-12",
        "2026-08-01",
        "2026-08-31",
        "None",
        "2026-08-01",
        "2026-08-01",
    ]
    before = dates(book(BASE), "2026-07", last_coverage_month=month("2026-08"))
    assert before == dates(book(BASE), "2026-07")


# Exceptions


@pytest.mark.parametrize("name", ["generation_date", "due_date", "grace_end_date"])
@pytest.mark.parametrize("direction", [-1, 1])
def test_a_fixed_date_lies_at_most_62_days_from_the_computed_one(name: DateName, direction: int) -> None:
    """With generation 90 days before and grace 90 days after, 62 days either way leave the dates in order."""
    rules = book(
        small(grace="{ days = 90 }", due="{ day = 1 }").replace("days_before_due = 20", "days_before_due = 90")
    )
    computed = dates(rules, "2026-08")[name]
    assert computed
    for days, fits in ((62, True), (63, False)):
        given = fixed("2026-08", **{name: str(computed + timedelta(direction * days))})
        if fits:
            assert dates(rules, "2026-08", exceptions=(given,))[name] == computed + timedelta(direction * days)
        else:
            with pytest.raises(ExceptionTooFar, match=f"puts {name} on .*, 63 days from the computed {computed}"):
                dates(rules, "2026-08", exceptions=(given,))


@pytest.mark.parametrize(
    "days",
    [
        {"generation_date": "2026-08-01"},
        {"grace_end_date": "2026-07-31"},
        {"due_date": "2026-07-12", "generation_date": "2026-07-12"},
    ],
)
def test_fixed_dates_keep_the_order(days: dict[str, str]) -> None:
    with pytest.raises(DatesOutOfOrder, match="In coverage month 2026-08 "):
        dates(book(BASE), "2026-08", exceptions=(fixed("2026-08", **days),))


def test_fixed_dates_at_the_edge_of_the_order_are_taken() -> None:
    given = fixed("2026-08", generation_date="2026-07-31", grace_end_date="2026-08-01")
    found = dates(book(BASE), "2026-08", exceptions=(given,))
    assert str(found["generation_date"]) == "2026-07-31"
    assert found["grace_end_date"] == found["due_date"] == date(2026, 8, 1)


def test_a_fixed_due_date_moves_what_builds_on_it_and_its_month_alone() -> None:
    rules, given = book(BASE), (fixed("2026-08", due_date="2026-08-10"),)
    found = dates(rules, "2026-08", exceptions=given)
    assert [str(found[name]) for name in ("generation_date", "due_date", "grace_end_date")] == [
        "2026-07-21",
        "2026-08-10",
        "2026-09-09",
    ]
    assert day(rules, "2026-07", "next_generation_date", exceptions=given) == "2026-07-21"
    assert dates(rules, "2026-06", exceptions=given) == dates(rules, "2026-06")
    assert dates(rules, "2026-09", exceptions=given) == dates(rules, "2026-09")


def test_a_month_that_is_not_billed_cannot_be_fixed() -> None:
    given = (fixed("2026-08", due_date="2026-08-10"),)
    for scope in ({"rows": entered("client", skip_coverage_months=[8])}, {"last_coverage_month": month("2026-07")}):
        with pytest.raises(NotBilled, match="No invoice bills coverage month 2026-08: an exception cannot fix"):
            dates(book(BASE), "2026-07", exceptions=given, **scope)


def test_a_fixed_grace_end_below_a_floor_is_refused_and_a_later_one_is_taken() -> None:
    rules = book(BASE + row("states.PA", FLOOR))
    with pytest.raises(BelowFloor, match="In coverage month 2026-08 the grace would end 2026-08-31, "):
        dates(rules, "2026-08", exceptions=(fixed("2026-08", grace_end_date="2026-08-31"),))
    for end in ("2026-09-01", "2026-09-15"):
        given = (fixed("2026-08", grace_end_date=end),)
        assert day(rules, "2026-08", "grace_end_date", exceptions=given) == end


def test_a_fixed_due_date_carries_the_floor_along() -> None:
    rules = book(BASE + row("states.PA", FLOOR))
    given = (fixed("2026-08", due_date="2026-08-10"),)
    assert day(rules, "2026-08", "grace_end_date", exceptions=given) == "2026-09-10"


# Rules that somebody enters are checked over every month they would govern


def test_rules_that_break_in_one_month_are_refused_naming_the_first() -> None:
    rows = entered("client", due={"day": -1}, generation={"day_of_month": 28, "months_before_due": 0})
    with pytest.raises(DatesOutOfOrder) as refusal:
        book(BASE).life(Scope("PA", rows=rows))
    assert refusal.value.coverage_month == "2001-02"
    assert (refusal.value.generation, refusal.value.due) == (date(2001, 2, 28), date(2001, 2, 28))


def test_rules_to_come_are_checked_over_the_months_to_come() -> None:
    rows = entered("client", since="2026-03", due={"day": -1}, generation={"day_of_month": 28, "months_before_due": 0})
    with pytest.raises(DatesOutOfOrder, match="In coverage month 2027-02 "):
        book(BASE).life(Scope("PA", rows=rows))


def test_months_without_an_invoice_break_no_rule() -> None:
    rows = entered(
        "client",
        due={"day": -1},
        generation={"day_of_month": 28, "months_before_due": 0},
        skip_coverage_months=[2],
    )
    assert day(book(BASE), "2026-03", "generation_date", rows=rows) == "2026-03-28"


def test_a_cutoff_and_a_zone_entered_apart_are_judged_together() -> None:
    rules = book(BASE)
    at_night = entered("client", posting={"min_business_days": 2, "max_business_days": 3, "cutoff": "02:30"})
    phoenix = entered("client", timezone="America/Phoenix")
    back = entered("bill_account", since="2030-01", timezone="America/New_York")
    assert day(rules, "2026-08", "due_date", rows=at_night + phoenix) == "2026-08-01"
    for rows in (at_night, at_night + phoenix + back):
        with pytest.raises(CutoffNotDaily, match="The cut-off 02:30 does not come exactly once on 2000-04-02"):
            rules.life(Scope("PA", rows=rows))


def test_a_calendar_nobody_knows_is_refused() -> None:
    with pytest.raises(UnknownCalendar, match='"XFEDD" names no calendar'):
        book(BASE).life(Scope("PA", rows=entered("client", calendar="XFEDD")))


def test_a_calendar_of_the_book_comes_before_the_librarys() -> None:
    closed = '\n[calendars.XFED]\nname = "Banks"\nclosures = [{ date = 2026-08-11, reason = "storm" }]\n'
    assert day(book(BASE), "2026-08", "safe_pay_by_date") == "2026-08-06"
    assert day(book(BASE + closed), "2026-08", "safe_pay_by_date") == "2026-08-05"


def test_a_date_beyond_the_calendar_is_refused_for_the_months_that_need_it_alone() -> None:
    rules = book(small(calendar='"XNSE"'))
    assert day(rules, "2001-02", "generation_date") == "2001-01-12"
    with pytest.raises(OutsideCalendar, match=r"safe_pay_by_date of coverage month 2000-12 needs .* 2001-01-01 to"):
        dates(rules, "2000-12")


# What is kept


def test_a_life_is_kept_and_equals_a_fresh_one() -> None:
    rules = book(BASE + COBRA)
    scopes = [
        Scope("PA"),
        Scope("PA", "cobra"),
        Scope("PA", rows=entered("client", generation={"weekday": "TH", "nth": 3})),
        Scope("PA", exceptions=(fixed("2026-08", due_date="2026-08-10"),)),
        Scope("PA", last_coverage_month=month("2026-08")),
    ]
    kept = [rules.life(scope) for scope in scopes]
    for scope, life in zip(scopes, kept, strict=True):
        assert rules.life(scope) is life
        fresh = book(BASE + COBRA).life(scope)
        for name in DATE_NAMES:
            assert np.array_equal(fresh.schedule.days(name), life.schedule.days(name), equal_nan=True)
        assert np.array_equal(fresh.schedule.billed, life.schedule.billed)
    columns = [tuple(life.schedule.days(name).tolist() for name in DATE_NAMES) for life in kept]
    assert all(a != b for index, a in enumerate(columns) for b in columns[:index])


def test_more_lives_than_are_kept_give_the_same_dates() -> None:
    rules = book(BASE)
    scopes = [Scope("PA", rows=entered("client", grace={"days": days})) for days in range(30, 330)]
    ends = [rules.life(scope).schedule.days("grace_end_date")[0] for scope in scopes]
    rules.forget()
    assert [rules.life(scope).schedule.days("grace_end_date")[0] for scope in reversed(scopes)] == ends[::-1]


def test_a_life_that_is_refused_is_refused_again() -> None:
    rules, scope = book(BASE), Scope("PA", rows=entered("client", calendar="XFEDD"))
    for _ in range(2):
        with pytest.raises(UnknownCalendar):
            rules.life(scope)


def test_spans_of_terms_begin_where_a_row_comes_into_force() -> None:
    text = BASE + row("states.PA", "grace = { days = 45 }", since="2026-08")
    life = book(text).life(Scope("PA", rows=entered("client", since="2030-02", due={"day": 5})))
    assert [str(span.first) for span in life.schedule.spans] == ["2000-01", "2026-08", "2030-02"]
    for name, days, due in (("2026-07", 30, 1), ("2026-08", 45, 1), ("2030-01", 45, 1), ("2030-02", 45, 5)):
        at_row = life.at(life.schedule.row(month(name)))
        assert at_row == (life.timeline.at(month(name)), life.timeline.terms(month(name)))
        assert (at_row[0].rule("grace").days, at_row[1].grace.days, at_row[1].due.day) == (days, days, due)  # type: ignore[attr-defined]


def test_what_is_assumed_is_told_of_the_rule_in_force_alone() -> None:
    guess = row("states.PA", "grace = { days = 45 }", more="assumed = true\n")
    assert book(BASE + guess).life(Scope("PA")).timeline.at(month("2026-08")).assumed == ("grace",)
    confirmed = row("states.PA", "grace = { days = 46 }", since="2026-08")
    timeline = book(BASE + guess + confirmed).life(Scope("PA")).timeline
    assert [timeline.at(month(m)).assumed for m in ("2026-07", "2026-08")] == [("grace",), ()]
