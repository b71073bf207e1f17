"""The rules of an invoice's life, in their order: what builds on what, what moves what, and what is refused."""

import random
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from ebill.dates import Calendar, months_from
from ebill.errors import DatesOutOfOrder, ExceptionTooFar, NotBilled, OutsideCalendar
from ebill.rules import DaysBeforeDue, Due, GraceDays, PayBy, Posting
from ebill.schedule import (
    DATE_NAMES,
    EXCEPTION_LIMIT,
    FIXED_NAMES,
    LOOK_AHEAD,
    FixedDates,
    Schedule,
    Span,
    Terms,
    Trail,
    billed_months,
    dates,
    schedule,
    terms_of,
    ways_of,
)
from tests import oracle
from tests.strategies import Case, Written, calendar, day, draw_case, month, rule, written

# The worked table of the specification: generation, due, grace end, next generation, recommended and safe pay-by.
WORKED = """
2026-02 | 2026-01-12 Mon | 2026-02-01 Sun | 2026-03-03 Tue | 2026-02-09 Mon | 2026-02-06 Fri | 2026-02-03 Tue
2026-08 | 2026-07-12 Sun | 2026-08-01 Sat | 2026-08-31 Mon | 2026-08-12 Wed | 2026-08-09 Sun | 2026-08-06 Thu
2026-11 | 2026-10-12 Mon | 2026-11-01 Sun | 2026-12-01 Tue | 2026-11-11 Wed | 2026-11-08 Sun | 2026-11-05 Thu
"""
ORDER = (
    "generation_date",
    "due_date",
    "grace_end_date",
    "next_generation_date",
    "recommended_pay_by_date",
    "safe_pay_by_date",
)


def row_of(dates: Schedule, name: str) -> dict[str, date | None]:
    """Give the dates of one coverage month."""
    return {key: dates.days(key).tolist()[dates.row(month(name))] for key in DATE_NAMES}


def one(name: str = "2026-08", exceptions: Any = None, **rules: Any) -> Any:
    """Give the dates of one coverage month under the default rules, with others in their place."""
    return row_of(Case(written(**rules), name, 1, exceptions or {}).schedule(), name)


def whole(exceptions: Any = None, **rules: Any) -> Schedule:
    """Give all supported months of such an account."""
    return Case(written(**rules), "2000-01", 1200, exceptions or {}).schedule()


def check_case(case: Case) -> int:
    """Compare all dates of a life, and give how many those were."""
    dates = case.schedule()
    columns = {name: dates.days(name).tolist() for name in DATE_NAMES}
    expected = case.invoices()
    compared = 0
    for row, name in enumerate(case.months()):
        invoice = expected.get(name, {})
        if invoice is None:
            assert not dates.billed[row], f"{name} has no invoice: {case}"
        elif not invoice or (dates.unknown[row] and reaches_the_end(case, name, invoice)):
            assert dates.unknown[row], f"{name} needs a day beyond the calendar: {case}"
        else:
            assert dates.billed[row], f"{name} has an invoice: {case}"
            assert {date_name: columns[date_name][row] for date_name in DATE_NAMES} == invoice, (name, case)
            compared += len(invoice)
    return compared


def reaches_the_end(case: Case, name: str, invoice: oracle.Invoice) -> bool:
    """Tell whether a month's dates lie in the last month of evidence, which the package may refuse to be sure of."""
    last = calendar(case.in_force(name)["calendar"]).last
    return any(day and day > last - timedelta(31) for day in invoice.values())


def check_worked_table() -> None:
    for line in WORKED.strip().splitlines():
        name, *days = (cell.strip() for cell in line.split("|"))
        assert one(name) == dict(zip(ORDER, map(day, days), strict=True))


def test_the_worked_table() -> None:
    check_worked_table()


@pytest.mark.parametrize("seed", range(60))
def test_a_drawn_life_is_that_of_the_oracle(seed: int) -> None:
    check_case(draw_case(random.Random(seed), 24))  # noqa: S311  # no secret


def test_all_supported_months_come_at_once() -> None:
    dates = whole()
    assert dates.count == 1200
    assert [str(dates.months[0]), str(dates.months[-1])] == ["2000-01", "2099-12"]
    assert all(dates.days(name).shape == (1200,) for name in DATE_NAMES)
    assert not dates.unknown.any()
    assert dates.row(month("2000-01")) == 0
    assert dates.row(month("2099-12")) == 1199
    assert type(dates.row(month("2099-12"))) is int


def test_the_names_of_the_dates() -> None:
    assert DATE_NAMES == ORDER
    assert list(FIXED_NAMES) == list(ORDER[:3])
    assert tuple(whole().trails) == ORDER


# What builds on what


def test_later_dates_build_on_the_rolled_due_date() -> None:
    """Due Sat 2026-08-01, rolled to Mon 08-03: generation and grace count from there."""
    dates = one(due={"day": 1, "roll": "following"})
    assert dates["due_date"] == day("2026-08-03 Mon")
    assert dates["generation_date"] == day("2026-07-14 Tue")
    assert dates["grace_end_date"] == day("2026-09-02 Wed")


def test_the_next_generation_is_under_the_rules_of_its_own_month() -> None:
    changed = (*written(), Written("2026-09", "state", "generation", {"days_before_due": 10}))
    dates = Case(changed, "2026-07", 3).schedule()
    assert row_of(dates, "2026-07")["next_generation_date"] == day("2026-07-12 Sun")
    assert row_of(dates, "2026-08")["generation_date"] == day("2026-07-12 Sun")
    assert row_of(dates, "2026-08")["next_generation_date"] == day("2026-08-22 Sat")
    assert row_of(dates, "2026-08")["recommended_pay_by_date"] == day("2026-08-19 Wed")
    assert row_of(dates, "2026-09")["generation_date"] == day("2026-08-22 Sat")


def test_pay_by_is_under_the_rules_of_the_month_that_is_paid() -> None:
    changed = (*written(), Written("2026-09", "state", "pay_by", {"days_before_next_invoice": 5}))
    dates = Case(changed, "2026-08", 2).schedule()
    assert row_of(dates, "2026-08")["recommended_pay_by_date"] == day("2026-08-09 Sun")
    assert row_of(dates, "2026-09")["recommended_pay_by_date"] == day("2026-09-06 Sun")


SLOW = {"min_business_days": 10, "max_business_days": 10, "cutoff": "17:00"}
AT_ONCE = {"min_business_days": 0, "max_business_days": 0, "cutoff": "17:00"}


@pytest.mark.parametrize(
    ("changed", "safe"),
    [
        # Generated Wed 2026-08-12: 3 business days before the last one before it is Thu 08-06.
        ([], "2026-08-06 Thu"),
        # Posting is slower from August on: ten business days reach back into July, where three are still enough, and
        # the last of July is the latest day on which they are.
        ([("2026-08", SLOW)], "2026-07-31 Fri"),
        # Slower from July on: ten business days before Tue 08-11.
        ([("2026-07", SLOW)], "2026-07-28 Tue"),
        # Slower from August on and faster again from September on, which no payment in time sees.
        ([("2026-08", SLOW), ("2026-09", AT_ONCE)], "2026-07-31 Fri"),
        # At once from August on: the day before.
        ([("2026-08", AT_ONCE)], "2026-08-11 Tue"),
        ([("2026-08", AT_ONCE), ("2026-08", SLOW)], "2026-07-31 Fri"),
        ([("2026-09", SLOW)], "2026-08-06 Thu"),
        # Slower until July, at once in July, slower from August on.
        ([("2026-01", SLOW), ("2026-07", AT_ONCE), ("2026-08", SLOW)], "2026-07-31 Fri"),
    ],
)
def test_the_safe_pay_by_is_under_the_posting_of_the_month_of_payment(changed: Any, safe: str) -> None:
    rows = (*written(), *(Written(since, "default", "posting", posting) for since, posting in changed))
    case = Case(rows, "2026-08", 1)
    assert row_of(case.schedule(), "2026-08")["safe_pay_by_date"] == day(safe)
    check_case(case)


def test_the_safe_pay_by_goes_by_the_calendar_of_the_month_of_payment() -> None:
    """The exchange is closed on Fri 2026-07-03, the Reserve Banks are not; generated Mon 2026-07-06."""
    rules: dict[str, Any] = {"generation": {"days_before_due": 26}}
    changed = (*written(**rules), Written("2026-07", "state", "calendar", "XNYS"))
    assert one("2026-07", **rules)["next_generation_date"] == day("2026-07-06 Mon")
    assert one("2026-07", **rules)["safe_pay_by_date"] == day("2026-06-30 Tue")
    assert row_of(Case(changed, "2026-07", 1).schedule(), "2026-07")["safe_pay_by_date"] == day("2026-06-30 Tue")
    changed = (*written(**rules), Written("2026-06", "state", "calendar", "XNYS"))
    assert row_of(Case(changed, "2026-07", 1).schedule(), "2026-07")["safe_pay_by_date"] == day("2026-06-29 Mon")


def test_the_terms_of_a_month_hold_until_the_next() -> None:
    changed = (*written(), Written("2026-09", "state", "grace", {"days": 31}))
    spans = Case(changed).spans()
    assert [str(span.first) for span in spans] == ["2000-01", "2026-09"]
    assert terms_of(spans, month("1999-12")).grace == GraceDays(30)  # the first also stand for the months before
    assert terms_of(spans, month("2000-01")).grace == GraceDays(30)
    assert terms_of(spans, month("2026-08")).grace == GraceDays(30)
    assert terms_of(spans, month("2026-09")).grace == GraceDays(31)
    assert terms_of(spans, month("2099-12")).grace == GraceDays(31)


@pytest.mark.parametrize("first", ["2026-08", "2026-09", "2026-10", "2027-01"])
def test_a_change_is_cut_at_its_month_wherever_the_answer_begins(first: str) -> None:
    changed = (
        *written(),
        Written("2026-09", "state", "due", {"day": 5}),
        Written("2026-10", "state", "due", {"day": 15, "roll": "following"}),
    )
    dates = Case(changed, first, 6).schedule()
    wanted = {"2026-08": "2026-08-01 Sat", "2026-09": "2026-09-05 Sat", "2026-10": "2026-10-15 Thu"}
    wanted |= {"2026-11": "2026-11-16 Mon", "2027-01": "2027-01-15 Fri"}
    for name, due in wanted.items():
        if name >= first:
            assert row_of(dates, name)["due_date"] == day(due)


# No invoice


def test_skipped_months_have_no_invoice_and_next_means_the_next_that_exists() -> None:
    """As schools ask: none for July and August."""
    dates = Case(written(skip_coverage_months=[7, 8]), "2026-06", 4).schedule()
    assert dates.billed[:4].tolist() == [True, False, False, True]
    assert row_of(dates, "2026-06")["next_generation_date"] == day("2026-08-12 Wed")
    assert row_of(dates, "2026-06")["recommended_pay_by_date"] == day("2026-08-09 Sun")
    assert row_of(dates, "2026-06")["safe_pay_by_date"] == day("2026-08-06 Thu")


@pytest.mark.parametrize("only", range(1, 13))
def test_an_account_billed_once_a_year_has_its_next_invoice_a_year_later(only: int) -> None:
    name = f"2026-{only:02}"
    skipped = [number for number in range(1, 13) if number != only]
    dates = Case(written(skip_coverage_months=skipped), "2026-01", 12).schedule()
    assert np.flatnonzero(dates.billed[:12]).tolist() == [only - 1]
    assert row_of(dates, name)["next_generation_date"] == date(2027, only, 1) - timedelta(20)


def test_a_change_of_the_skipped_months_is_looked_through() -> None:
    """Billed in January until 2026, in December from 2026-02 to 2026-11 on, in November after that: 22 months on."""
    changed = (
        *written(skip_coverage_months=list(range(2, 13))),
        Written("2026-12", "default", "skip_coverage_months", [*range(1, 11), 12]),
    )
    dates = Case(changed, "2026-01", 1).schedule()
    assert row_of(dates, "2026-01")["next_generation_date"] == day("2027-10-12 Tue")
    assert LOOK_AHEAD == 24


def test_after_the_last_coverage_month_there_is_nothing_and_before_it_no_next() -> None:
    dates = Case(written(), "2026-07", 3, last_coverage_month="2026-08").schedule()
    assert dates.billed[:3].tolist() == [True, True, False]
    assert dates.has_next[:3].tolist() == [True, False, False]
    assert row_of(dates, "2026-07")["next_generation_date"] == day("2026-07-12 Sun")
    last = row_of(dates, "2026-08")
    assert last["next_generation_date"] is None
    assert last["recommended_pay_by_date"] == last["safe_pay_by_date"] == last["due_date"] == day("2026-08-01 Sat")
    assert not dates.unknown.any()


def test_before_the_first_coverage_month_there_is_nothing() -> None:
    dates = Case(written(), "2026-07", 3, first_coverage_month="2026-08").schedule()
    assert dates.billed[:3].tolist() == [False, True, True]
    assert not dates.has_next[0]
    assert row_of(dates, "2026-08")["generation_date"] == day("2026-07-12 Sun")


def test_an_account_may_have_both_a_first_and_a_last_coverage_month() -> None:
    case = Case(written(), "2026-06", 5, first_coverage_month="2026-07", last_coverage_month="2026-09")
    assert case.schedule().billed[:5].tolist() == [False, True, True, True, False]
    alone = Case(written(), "2026-07", 3, first_coverage_month="2026-08", last_coverage_month="2026-08").schedule()
    assert alone.billed[:3].tolist() == [False, True, False]
    assert not alone.has_next.any()
    assert row_of(alone, "2026-08")["safe_pay_by_date"] == day("2026-08-01 Sat")


def test_the_last_supported_month_has_a_next_invoice() -> None:
    assert one("2099-12")["next_generation_date"] == day("2099-12-12 Sat")


def test_the_next_due_date_is_known_where_there_is_a_next_invoice() -> None:
    dates = Case(written(skip_coverage_months=[8]), "2026-07", 3, last_coverage_month="2026-09").schedule()
    assert dates.next_due[:3].tolist() == [day("2026-09-01 Tue"), None, None]


# Exceptions


def test_an_exception_fixes_a_date_and_what_builds_on_it_follows() -> None:
    dates = one(exceptions={"2026-08": {"due_date": day("2026-08-15 Sat")}})
    assert dates["due_date"] == day("2026-08-15 Sat")
    assert dates["generation_date"] == day("2026-07-26 Sun")
    assert dates["grace_end_date"] == day("2026-09-14 Mon")


def test_each_date_can_be_fixed_alone() -> None:
    plain = one()
    for name, fixed in (("generation_date", day("2026-07-20 Mon")), ("grace_end_date", day("2026-09-10 Thu"))):
        assert one(exceptions={"2026-08": {name: fixed}}) == {**plain, name: fixed}


def test_a_fixed_date_is_not_rolled() -> None:
    rolled: dict[str, Any] = {"due": {"day": 3, "roll": "following"}}
    assert one(exceptions={"2026-08": {"due_date": day("2026-08-08 Sat")}}, **rolled)["due_date"] == date(2026, 8, 8)


def test_an_exception_moves_its_own_month_and_the_pay_by_of_the_one_before() -> None:
    case = Case(written(), "2026-01", 12, {"2026-08": {"generation_date": day("2026-07-20 Mon")}})
    moved, plain = case.schedule(), Case(written(), "2026-01", 12).schedule()
    differ = {(str(m), name) for name in DATE_NAMES for m in moved.months[moved.days(name) != plain.days(name)]}
    assert differ == {
        ("2026-07", "next_generation_date"),
        ("2026-07", "recommended_pay_by_date"),
        ("2026-07", "safe_pay_by_date"),
        ("2026-08", "generation_date"),
    }


def test_the_exception_of_a_month_beyond_counts_for_the_invoice_before_it_alone() -> None:
    fixed = {"2026-09": {"generation_date": day("2026-08-20 Thu")}}
    case = Case(written(), "2026-08", 1, fixed)
    assert row_of(case.schedule(), "2026-08")["next_generation_date"] == day("2026-08-20 Thu")
    assert list(case.schedule().fixed) == [1]
    for name, rows in (("2026-07", []), ("2028-08", [24]), ("2028-09", []), ("2000-01", []), ("2099-12", [])):
        far = Case(written(), "2026-08", 1, {name: {"generation_date": day("2026-08-20 Thu")}}).schedule()
        assert row_of(far, "2026-08") == one()
        assert list(far.fixed) == rows


def test_an_exception_counts_for_the_invoice_before_it_even_two_years_on() -> None:
    """Billed in January until 2026, in December from 2027-01 on, in January again from 2027-12 on: 2028-01 is next."""
    changed = (
        *written(skip_coverage_months=list(range(2, 13))),
        Written("2027-01", "default", "skip_coverage_months", list(range(1, 12))),
        Written("2027-12", "default", "skip_coverage_months", list(range(2, 13))),
    )
    assert row_of(Case(changed, "2026-01", 1).schedule(), "2026-01")["next_generation_date"] == day("2027-12-12 Sun")
    fixed = {"2028-01": {"generation_date": day("2027-12-15 Wed")}}
    dates = row_of(Case(changed, "2026-01", 1, fixed).schedule(), "2026-01")
    assert dates["next_generation_date"] == day("2027-12-15 Wed")


def test_exceptions_are_kept_by_row() -> None:
    case = Case(written(), "2026-07", 3, {"2026-08": {"due_date": day("2026-08-02 Sun")}})
    assert case.schedule().fixed == {1: FixedDates(month("2026-08"), "a test", due_date=date(2026, 8, 2))}
    assert Case(written(), "2026-07", 1).schedule().fixed == {}


@pytest.mark.parametrize("name", FIXED_NAMES)
def test_an_exception_may_lie_62_days_off_and_not_63(name: Any) -> None:
    computed = row_of(whole(), "2026-08")[name]
    assert computed is not None
    for distance in (62, -62, 0):
        whole({"2026-08": {name: computed + timedelta(distance)}}).refuse_far_exceptions()
    for distance in (63, -63, 365, -365):
        given = computed + timedelta(distance)
        with pytest.raises(ExceptionTooFar) as refused:
            whole({"2026-08": {name: given}}).refuse_far_exceptions()
        refusal = refused.value
        assert (refusal.coverage_month, refusal.name) == ("2026-08", name)
        assert (refusal.given, refusal.computed) == (given, computed)
        assert str(refusal) == (
            f"The exception for 2026-08 puts {name} on {given}, {abs(distance)} days from the computed {computed}; "
            "at most 62 are taken."
        )
    assert EXCEPTION_LIMIT == 62


def test_the_distance_of_an_exception_is_from_what_the_rules_give_after_a_fixed_due_date() -> None:
    """The due date is put off by 60 days, and with it what 62 days from the computed grace end is."""
    due = day("2026-09-30 Wed")
    whole({"2026-08": {"due_date": due, "grace_end_date": due + timedelta(30 + 62)}}).refuse_far_exceptions()
    with pytest.raises(ExceptionTooFar):
        whole({"2026-08": {"due_date": due, "grace_end_date": due + timedelta(30 + 63)}}).refuse_far_exceptions()


def test_every_exception_is_judged_not_only_the_first() -> None:
    fine, mistyped = {"due_date": day("2026-08-02 Sun")}, {"due_date": day("2072-10-02 Sun")}
    with pytest.raises(ExceptionTooFar, match="for 2027-10 puts due_date on 2072-10-02"):
        whole({"2026-08": fine, "2027-10": mistyped}).refuse_far_exceptions()
    only_grace = {"grace_end_date": day("2036-08-31 Sun")}
    with pytest.raises(ExceptionTooFar, match="for 2026-08 puts grace_end_date"):
        whole({"2026-08": only_grace}).refuse_far_exceptions()


def test_an_exception_for_where_there_is_an_invoice_is_without_effect_where_there_is_none() -> None:
    def account(skipped: list[int], due: date) -> Schedule:
        spans = Case(written(skip_coverage_months=skipped)).spans()
        for_all = FixedDates(month("2026-08"), "for all accounts", due_date=due, if_billed=True)
        own = FixedDates(month("2026-09"), "a test", due_date=day("2072-09-02 Fri"))
        return schedule(spans, month("2026-06"), 6, [for_all, own])

    with pytest.raises(ExceptionTooFar, match="for 2026-09 puts due_date on 2072-09-02"):
        account([8], day("2072-08-02 Tue")).refuse_far_exceptions()  # and the own one is judged all the same
    with pytest.raises(ExceptionTooFar, match="for 2026-08 puts due_date on 2072-08-02"):
        account([], day("2072-08-02 Tue")).refuse_far_exceptions()
    with pytest.raises(NotBilled):
        account([9], day("2026-08-02 Sun")).refuse_far_exceptions()
    assert FixedDates(month("2026-08"), "a test").if_billed is False


def test_an_exception_of_a_month_without_an_invoice_is_refused() -> None:
    fixed = {"2026-08": {"due_date": day("2026-08-02 Sun")}}
    with pytest.raises(NotBilled) as refused:
        whole(fixed, skip_coverage_months=[8]).refuse_far_exceptions()
    assert refused.value.coverage_month == "2026-08"
    assert str(refused.value) == (
        "No invoice bills coverage month 2026-08: an exception cannot fix the dates of an invoice there is not."
    )
    whole(fixed, skip_coverage_months=[7]).refuse_far_exceptions()


# Order


def check_order() -> None:
    """One day decides: generation before due, and the grace ends on the due date at the earliest."""
    due = day("2026-08-01 Sat")
    for fixed in (
        {"generation_date": due - timedelta(1)},
        {"grace_end_date": due},
        {"generation_date": due - timedelta(1), "grace_end_date": due},
    ):
        whole({"2026-08": fixed}).refuse_disorder()
    for fixed in ({"generation_date": due}, {"grace_end_date": due - timedelta(1)}):
        with pytest.raises(DatesOutOfOrder):
            whole({"2026-08": fixed}).refuse_disorder()


def test_generation_is_before_due_and_the_grace_ends_on_the_due_date_or_later() -> None:
    check_order()


def test_the_first_month_out_of_order_is_named_with_its_dates() -> None:
    rules: dict[str, Any] = {"due": {"day": 29}, "generation": {"day_of_month": 28, "months_before_due": 0}}
    with pytest.raises(DatesOutOfOrder) as refused:
        whole(**rules).refuse_disorder()
    refusal = refused.value
    assert refusal.coverage_month == "2001-02"  # in order in 2000-02, which has a 29th
    assert refusal.generation == refusal.due == day("2001-02-28 Wed")
    assert refusal.grace_end == day("2001-03-30 Fri")
    assert str(refusal) == (
        "In coverage month 2001-02 the invoice would be generated 2001-02-28, due 2001-02-28, and its grace would end "
        "2001-03-30; an invoice is generated before it is due, and its grace ends on the due date or later."
    )


def test_a_month_out_of_order_without_an_invoice_does_no_harm() -> None:
    rules: dict[str, Any] = {"due": {"day": 29}, "generation": {"day_of_month": 28, "months_before_due": 0}}
    whole(**rules, skip_coverage_months=[2]).refuse_disorder()


# Floors


def test_the_grace_ends_on_the_later_of_rule_and_floor() -> None:
    for days, end in ((29, "2026-08-31 Mon"), (30, "2026-08-31 Mon"), (31, "2026-09-01 Tue"), (45, "2026-09-15 Tue")):
        dates = Case((*written(), Written("2026-08", "state", "grace_floor", {"days": days})), "2026-07", 2).schedule()
        assert row_of(dates, "2026-08")["grace_end_date"] == day(end)
        assert row_of(dates, "2026-07")["grace_end_date"] == day("2026-07-31 Fri")
        assert dates.moved_by("floor", "grace_end_date").tolist() == [False, days > 30]


def test_of_several_floors_the_latest_counts() -> None:
    for first, second in ((31, 33), (33, 31)):
        floors = (
            Written("2000-01", "state", "grace_floor", {"days": first}),
            Written("2000-01", "product", "grace_floor", {"days": second}),
        )
        dates = Case((*written(), *floors), "2026-08", 1).schedule()
        assert row_of(dates, "2026-08")["grace_end_date"] == day("2026-09-03 Thu")


def test_a_floor_counts_from_the_fixed_due_date_and_raises_a_fixed_grace_end() -> None:
    fixed = {"2026-08": {"due_date": day("2026-08-15 Sat"), "grace_end_date": day("2026-08-20 Thu")}}
    floor = Written("2000-01", "state", "grace_floor", {"days": 31, "roll": "following"})
    dates = Case((*written(), floor), "2026-08", 1, fixed).schedule()
    assert row_of(dates, "2026-08")["grace_end_date"] == day("2026-09-15 Tue")
    assert dates.trails["grace_end_date"].before("floor")[0].item() == day("2026-08-20 Thu")


# Nothing is guessed


def known_only(first: date, last: date, **terms: Any) -> tuple[Span, ...]:
    """Give terms whose calendar knows few days, and which need it for what is given."""
    rules: dict[str, Any] = {
        "due": Due(1),
        "generation": DaysBeforeDue(20),
        "grace": GraceDays(30),
        "pay_by": PayBy(3),
        "posting": Posting(2, 3, rule("posting", SLOW).cutoff),
        **terms,
    }
    return (Span(month("2000-01"), Terms(**rules, calendar=Calendar("short", {}, first, last))),)


def check_unknown_is_refused(first: date, last: date, name: str, **terms: Any) -> None:
    dates = schedule(known_only(first, last, **terms), month("2026-06"), 3)
    assert dates.unknown.tolist() == [False, False, True]
    dates.refuse_unknown(slice(0, 2))
    with pytest.raises(OutsideCalendar) as refused:
        dates.refuse_unknown(slice(0, 3))
    refusal = refused.value
    assert (refusal.calendar, refusal.coverage_month, refusal.name) == ("short", "2026-08", name)
    assert (refusal.first, refusal.last) == (first, last)
    assert str(refusal) == (
        f"{name} of coverage month 2026-08 needs business days that calendar short does not know: "
        f"it covers {first} to {last}."
    )


@pytest.mark.parametrize(
    ("last", "name", "terms"),
    [
        ("2026-08-31 Mon", "next_generation_date", {"due": Due(1, roll="following")}),
        ("2026-08-11 Tue", "safe_pay_by_date", {}),
        ("2026-08-11 Tue", "recommended_pay_by_date", {"pay_by": PayBy(3, "business")}),
        ("2026-08-30 Sun", "grace_end_date", {"grace": GraceDays(30, roll="preceding")}),
        ("2026-08-11 Tue", "next_generation_date", {"generation": DaysBeforeDue(20, roll="preceding")}),
    ],
)
def test_a_date_beyond_the_calendar_is_refused_by_name(last: str, name: str, terms: Any) -> None:
    check_unknown_is_refused(date(2026, 1, 1), day(last), name, **terms)


def test_a_month_that_needs_no_unknown_day_is_answered_after_one_that_does() -> None:
    """The calendar begins with July: June cannot be told, July can."""
    dates = schedule(known_only(date(2026, 6, 15), date(2026, 12, 31)), month("2026-05"), 3)
    assert dates.unknown.tolist() == [True, True, False]
    dates.refuse_unknown(slice(2, 3))
    with pytest.raises(OutsideCalendar, match=r"^safe_pay_by_date of coverage month 2026-06 "):
        dates.refuse_unknown(slice(1, 3))


def test_the_last_invoice_needs_no_day_of_the_next() -> None:
    short = known_only(date(2026, 1, 1), date(2026, 8, 11))
    assert schedule(short, month("2026-08"), 1).unknown.tolist() == [True]
    ends = schedule(short, month("2026-08"), 2, last_coverage_month=month("2026-08"))
    assert ends.unknown.tolist() == [False, False]
    ends.refuse_unknown(slice(0, 2))


def test_the_last_invoice_is_refused_for_a_day_of_its_own() -> None:
    """The due date of August is rolled to a day that the calendar does not know, and what builds on it is lost too."""
    short = known_only(date(2026, 1, 1), date(2026, 7, 31), due=Due(1, roll="following"))
    dates = schedule(short, month("2026-07"), 2, last_coverage_month=month("2026-08"))
    assert dates.unknown.tolist() == [True, True]
    with pytest.raises(OutsideCalendar, match=r"^generation_date of coverage month 2026-08 "):
        dates.refuse_unknown(slice(1, 2))


def test_a_month_without_an_invoice_is_not_refused_for_a_day_it_does_not_need() -> None:
    short = known_only(date(2026, 1, 1), date(2026, 7, 31), due=Due(1, roll="following"))
    skipping = [Span(short[0].first, short[0].terms._replace(skip_coverage_months=(8,)))]
    assert schedule(short, month("2026-08"), 1).unknown.tolist() == [True]
    dates = schedule(skipping, month("2026-08"), 1)
    assert dates.unknown.tolist() == [False]
    dates.refuse_unknown(slice(0, 1))


def test_of_several_unknown_dates_the_first_in_an_invoices_life_is_named() -> None:
    short = known_only(date(2026, 1, 1), date(2026, 7, 31), due=Due(1, roll="following"))
    with pytest.raises(OutsideCalendar, match=r"^generation_date of coverage month 2026-08 "):
        schedule(short, month("2026-08"), 1).refuse_unknown(slice(0, 1))


def test_the_calendar_that_is_named_is_that_of_the_month() -> None:
    known = known_only(date(2026, 1, 1), date(2026, 8, 11))
    spans = (
        Span(month("2000-01"), Case(written()).spans()[0].terms),
        Span(month("2026-08"), known[0].terms),
    )
    with pytest.raises(OutsideCalendar) as refused:
        schedule(spans, month("2026-06"), 4).refuse_unknown(slice(0, 4))
    assert (refused.value.calendar, refused.value.coverage_month) == ("short", "2026-08")


def test_a_next_generation_on_the_day_on_which_other_terms_begin_is_paid_for_under_the_earlier_ones() -> None:
    """Generated Sat 2026-08-01: the last of July is before it, whatever the calendar from August on knows of July."""
    terms = Case(written(generation={"days_before_due": 31})).spans()[0].terms
    late = Calendar("late", {}, date(2026, 8, 1), date(2026, 12, 31))
    spans = (Span(month("2000-01"), terms), Span(month("2026-08"), terms._replace(calendar=late)))
    dates = row_of(schedule(spans, month("2026-08"), 1), "2026-08")
    assert dates["next_generation_date"] == day("2026-08-01 Sat")
    assert dates["safe_pay_by_date"] == day("2026-07-28 Tue")


def test_the_first_days_of_evidence_are_enough_for_the_first_month() -> None:
    """Coverage month 2000-01 reaches back into 1999, of which the bank calendar knows the whole year."""
    rules = {"due": {"day": 1, "month_offset": -3}, "generation": {"days_before_due": 90, "roll": "following"}}
    dates = Case(written(**rules), "2000-01", 1).schedule()
    assert not dates.unknown.any()
    assert row_of(dates, "2000-01")["generation_date"] == day("1999-07-06 Tue")  # Sat 07-03, over the Monday off


# Trails


def test_a_trail_keeps_the_steps_that_may_have_moved_a_day() -> None:
    first, second = np.array(["2026-08-01"], "datetime64[D]"), np.array(["2026-08-03"], "datetime64[D]")
    trail = Trail("rule", first)
    assert trail.then("exception", first) is trail
    assert trail.steps == [("rule", first)]
    assert trail.then("roll", second) is trail
    assert [step for step, _ in trail.steps] == ["rule", "roll"]
    assert trail.days is second
    assert trail.before("roll") is first
    trail.then("floor", first)
    assert trail.before("floor") is second
    assert trail.before("roll") is first


def test_each_date_went_through_its_steps_in_order() -> None:
    rows = (
        *written(
            due={"day": 1, "roll": "following"},
            generation={"days_before_due": 20, "roll": "preceding"},
            grace={"days": 30, "roll": "following"},
            pay_by={"days_before_next_invoice": 3, "roll": "preceding"},
        ),
        Written("2000-01", "state", "grace_floor", {"days": 31}),
    )
    fixed = dict.fromkeys(FIXED_NAMES, date(2026, 8, 4))
    dates = Case(rows, "2026-08", 1, {"2026-08": fixed}, "2026-08").schedule()
    assert {name: [step for step, _ in trail.steps] for name, trail in dates.trails.items()} == {
        "generation_date": ["rule", "roll", "exception"],
        "due_date": ["rule", "roll", "exception"],
        "grace_end_date": ["rule", "roll", "exception", "floor"],
        "next_generation_date": ["rule"],
        "recommended_pay_by_date": ["rule", "roll", "no_next_invoice"],
        "safe_pay_by_date": ["rule", "no_next_invoice"],
    }
    plain = Case(written(), "2026-08", 1).schedule()
    assert [step for step, _ in plain.trails["grace_end_date"].steps] == ["rule"]
    due = dates.trails["due_date"]
    assert [days[0].item() for _, days in due.steps] == [date(2026, 8, 1), date(2026, 8, 3), date(2026, 8, 4)]


def test_which_rows_a_step_moved() -> None:
    """Due on the 1st, rolled: in 2026 the 1sts of February, March, August and November are on a weekend."""
    dates = Case(
        written(due={"day": 1, "roll": "following"}),
        "2026-01",
        12,
        {"2026-03": {"due_date": day("2026-03-10 Tue")}},
    ).schedule()
    assert [str(m) for m in dates.months[dates.moved_by("roll", "due_date")]] == [
        "2026-01",  # New Year's Day
        "2026-02",
        "2026-03",
        "2026-08",
        "2026-11",
    ]
    assert [str(m) for m in dates.months[dates.moved_by("exception", "due_date")]] == ["2026-03"]
    assert not dates.moved_by("floor", "due_date").any()
    assert dates.moved_by("floor", "due_date").shape == (12,)


def test_a_roll_of_one_stretch_leaves_the_others() -> None:
    changed = (*written(), Written("2026-09", "state", "due", {"day": 5, "roll": "following"}))
    dates = Case(changed, "2026-08", 2).schedule()
    assert dates.days("due_date").tolist() == [day("2026-08-01 Sat"), day("2026-09-08 Tue")]  # over Labor Day


def test_terms_that_are_over_before_the_first_month_leave_no_step() -> None:
    """Rolled until July, and from August on not: an answer from August on has nothing to say of a roll."""
    changed = (
        *written(due={"day": 1, "roll": "following"}),
        Written("2026-08", "state", "due", {"day": 1}),
    )
    for first, steps in (("2026-07", ["rule", "roll"]), ("2026-08", ["rule"]), ("2026-09", ["rule"])):
        dates = Case(changed, first, 3).schedule()
        assert [step for step, _ in dates.trails["due_date"].steps] == steps


def test_the_answer_does_not_share_its_columns_with_what_was_fixed() -> None:
    """An exception leaves the computed dates as they are, to be explained."""
    dates = whole({"2026-08": {"due_date": day("2026-08-10 Mon")}})
    row = dates.row(month("2026-08"))
    assert dates.trails["due_date"].before("exception")[row].item() == day("2026-08-01 Sat")
    assert dates.days("due_date")[row].item() == day("2026-08-10 Mon")


def test_a_calendar_is_bound_once_for_all_terms_of_its_name() -> None:
    changed = (*written(), Written("2026-09", "state", "grace", {"days": 31}))
    first, second = Case(changed).spans()
    assert first.terms.calendar is second.terms.calendar is calendar("XFED")


# Many accounts


def test_accounts_whose_terms_change_in_the_same_months_go_through_together() -> None:
    """One is billed in every month, one not in July nor after December; one has fixed dates. Each is as it is alone."""
    fixed = {"2026-05": {"due_date": day("2026-05-04 Mon"), "grace_end_date": day("2026-06-20 Sat")}}
    first, second = ((20, 30, 45, 3), (12, 45, 33, 5))
    cases = [
        Case(
            (
                *written(
                    generation={"days_before_due": generation, "roll": "following"},
                    grace={"days": grace},
                    grace_floor={"days": 31},
                    pay_by={"days_before_next_invoice": days},
                ),
                Written("2026-09", "client", "grace", {"days": later}),
                Written(
                    "2026-09", "client", "posting", {"min_business_days": 4, "max_business_days": 6, "cutoff": "17:00"}
                ),
                *skipped,
            ),
            "2026-01",
            12,
            exceptions,
            last_coverage_month=last,
        )
        for (generation, grace, later, days), skipped, exceptions, last in (
            (first, (), {}, None),
            (second, (Written("2026-01", "client", "skip_coverage_months", [7]),), fixed, "2026-11"),
        )
    ]
    spans = [case.spans() for case in cases]
    months = months_from(month("2026-01"), 13)

    def wide(column: int) -> Any:
        return np.array([[first[column]], [second[column]]])

    def together(begin: str, grace: int) -> Any:
        terms = next(span.terms for span in reversed(spans[0]) if span.first <= month(begin))
        return terms._replace(
            generation=terms.generation.with_numbers(wide(0)),
            grace=terms.grace.with_numbers(wide(grace)),
            pay_by=terms.pay_by.with_numbers(wide(3)),
        )

    parts = [(slice(0, 8), together("2026-01", 1)), (slice(8, 13), together("2026-09", 2))]
    lines = np.array(
        [
            billed_months(spans[0], months, None, None),
            billed_months(spans[1], months, None, month("2026-11")),
        ]
    )
    both = np.broadcast_to(months, (2, 13))
    cells: Any = {
        name: ((np.array([1]), np.array([4])), np.array([given], "datetime64[D]"))
        for name, given in fixed["2026-05"].items()
    }
    due = np.broadcast_to(np.int64(1), (2, 1))
    parts = [(part, terms._replace(due=terms.due.with_numbers(due))) for part, terms in parts]
    found = dates(parts, both, lines, ways_of(spans[0]), cells)
    for row, case in enumerate(cases):
        alone = case.schedule()
        billed = alone.billed[:12]
        assert lines[row][:12].tolist() == billed.tolist()
        assert found.has_next[row][:12][billed].tolist() == alone.has_next[:12][billed].tolist()
        for name in DATE_NAMES:
            days = found.trails[name].days[row][:12]
            assert days[billed].tolist() == alone.days(name)[billed].tolist(), (row, name)


def test_months_whose_payments_post_alike_are_one_way() -> None:
    case = Case((*written(), Written("2026-03", "state", "grace", {"days": 45})), "2026-01", 6)
    first, second = case.spans()
    assert [way.first for way in ways_of([first, second])] == [first.first]
    other = second.terms._replace(calendar=second.terms.calendar.with_closures({date(2026, 7, 2): "a"}, "y"))
    assert [way.first for way in ways_of([first, second._replace(terms=other)])] == [first.first, second.first]


def test_what_all_accounts_have_alike_is_one_row_beside_those_of_each() -> None:
    [span] = Case(written(), "2026-01", 3).spans()
    wide = span.terms._replace(generation=span.terms.generation.with_numbers(np.array([[20], [7]])))
    months = months_from(month("2026-01"), 4)
    parts = [(slice(0, 2), span.terms), (slice(2, 4), wide)]
    found = dates(parts, months, np.ones(4, bool), ways_of([span]), {})
    assert found.trails["due_date"].days.shape == (4,)
    assert found.trails["generation_date"].days.tolist() == [
        [day("2025-12-12 Fri"), day("2026-01-12 Mon"), day("2026-02-09 Mon"), day("2026-03-12 Thu")],
        [day("2025-12-12 Fri"), day("2026-01-12 Mon"), day("2026-02-22 Sun"), day("2026-03-25 Wed")],
    ]
