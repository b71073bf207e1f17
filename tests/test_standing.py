"""Where an invoice stands on every day around its borders, and what to beware of, with the sentence for people."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from ebill.dates import DAY, as_days
from ebill.standing import STANDINGS, WARNINGS, standing
from tests import oracle
from tests.books import TEXT, ask, book, invoice, row, section, small
from tests.strategies import DEFAULTS, day

SHIPPED, SMALL = book(TEXT), book(small())
GENERATED, DUE, ENDS = day("2026-07-12 Sun"), day("2026-08-01 Sat"), day("2026-08-31 Mon")
NO_DAY = np.datetime64("NaT", "D")


def stands(as_of: date, dates: Sequence[date] = (GENERATED, DUE, ENDS), /, **payment: Any) -> str:
    """Say where an invoice stands, by its generation date, due date and grace end."""
    generation, due, grace_end = (as_days(each) for each in dates)
    paid = {name: as_days(each) for name, each in payment.items()}
    return STANDINGS[int(standing(generation, due, grace_end, as_days(as_of), **paid))]


# Standing


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("2000-01-01 Sat", "not_yet_invoiced"),
        ("2026-07-11 Sat", "not_yet_invoiced"),
        ("2026-07-12 Sun", "invoiced"),
        ("2026-07-13 Mon", "invoiced"),
        ("2026-07-31 Fri", "invoiced"),
        ("2026-08-01 Sat", "invoiced"),
        ("2026-08-02 Sun", "in_grace"),
        ("2026-08-30 Sun", "in_grace"),
        ("2026-08-31 Mon", "in_grace"),
        ("2026-09-01 Tue", "grace_expired"),
        ("2099-12-31 Thu", "grace_expired"),
    ],
)
def test_an_invoice_stands_by_its_own_dates(as_of: str, expected: str) -> None:
    """The worked example: generated 2026-07-12, due 2026-08-01, grace until 2026-08-31."""
    assert stands(day(as_of)) == expected
    assert invoice(SHIPPED, "2026-08", as_of=day(as_of).isoformat())["standing"] == expected


@pytest.mark.parametrize(
    ("grace_end", "expected"),
    [
        (DUE, ["invoiced", "invoiced", "grace_expired", "grace_expired"]),
        (DUE + timedelta(1), ["invoiced", "invoiced", "in_grace", "grace_expired"]),
    ],
    ids=["no grace", "a day of grace"],
)
def test_a_grace_that_ends_on_the_due_date_or_the_day_after(grace_end: date, expected: list[str]) -> None:
    days = [DUE + timedelta(offset) for offset in range(-1, 3)]
    assert [stands(each, (GENERATED, DUE, grace_end)) for each in days] == expected


def test_an_invoice_generated_the_day_before_it_is_due() -> None:
    dates = (DUE - timedelta(1), DUE, DUE)
    assert [stands(DUE + timedelta(offset), dates) for offset in (-2, -1, 0, 1)] == [
        *("not_yet_invoiced", "invoiced", "invoiced", "grace_expired"),
    ]


RULES: Mapping[str, dict[str, Any]] = {
    "the default": {},
    "rolled": {"due": {"day": 1, "roll": "following"}, "grace": {"days": 30, "roll": "preceding"}},
    "no grace": {"grace": {"days": 0}},
    "three months": {"grace": {"calendar_months": 3}, "generation": {"day_of_month": -8}},
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_the_standing_of_every_day_is_that_of_the_oracle(rules: dict[str, Any]) -> None:
    for coverage_month in ("2024-02", "2026-08", "2026-12"):
        dates = oracle.invoice({**DEFAULTS, **rules}, coverage_month)
        first = oracle.month_called(coverage_month) - timedelta(50)
        for as_of in (first + timedelta(offset) for offset in range(170)):
            body = {"rules": rules, "as_of": as_of.isoformat()}
            assert invoice(SMALL, coverage_month, **body)["standing"] == oracle.standing(dates, as_of), as_of


def test_many_invoices_on_many_days_stand_as_each_one_does() -> None:
    generated = np.arange("2026-07-10", "2026-07-14", dtype="datetime64[D]")
    as_of = np.arange("2026-07-01", "2026-09-05", dtype="datetime64[D]")[:, None]
    table = standing(generated, generated + 20, generated + 50, as_of)
    assert table.shape == (66, 4)
    for index, on in enumerate(as_of[:, 0].tolist()):
        for column, begin in enumerate(generated.tolist()):
            dates = (begin, begin + timedelta(20), begin + timedelta(50))
            assert STANDINGS[table[index, column]] == stands(on, dates)


def test_the_words_of_standing_are_the_specifications() -> None:
    assert (
        *("not_yet_invoiced", "invoiced", "in_grace", "grace_expired", "payment_pending", "paid"),
    ) == STANDINGS  # fmt: skip


# With a payment


@pytest.mark.parametrize(
    ("paid_on", "posts_by"),
    [
        ("2026-07-20 Mon", "2026-07-23 Thu"),
        ("2026-08-05 Wed", "2026-08-10 Mon"),
        ("2026-07-02 Thu", "2026-07-07 Tue"),  # before the invoice is generated
        ("2026-08-31 Mon", "2026-09-03 Thu"),  # posts after the grace
        ("2026-09-10 Thu", "2026-09-15 Tue"),  # late
    ],
)
def test_a_payment_is_pending_from_its_day_until_the_day_it_posts_by(paid_on: str, posts_by: str) -> None:
    payment = {"paid_on": day(paid_on), "posts_by": day(posts_by)}
    for as_of in (date(2026, 6, 25) + timedelta(offset) for offset in range(100)):
        expected = stands(as_of) if as_of < day(paid_on) else "payment_pending" if as_of < day(posts_by) else "paid"
        assert stands(as_of, **payment) == expected, as_of


def test_the_borders_of_a_payment_by_hand() -> None:
    """Paid Thu 2026-07-02 at noon: posts by Tue 07-07."""
    payment = {"paid_on": day("2026-07-02 Thu"), "posts_by": day("2026-07-07 Tue")}
    stood = {each: stands(date(2026, 7, each), **payment) for each in (1, 2, 3, 6, 7, 8)}
    assert stood == {
        1: "not_yet_invoiced",
        2: "payment_pending",
        3: "payment_pending",
        6: "payment_pending",
        7: "paid",
        8: "paid",
    }


def test_a_payment_that_posts_on_its_day_is_never_pending() -> None:
    payment = {"paid_on": DUE, "posts_by": DUE}
    assert [stands(DUE + timedelta(offset), **payment) for offset in (-1, 0, 1)] == ["invoiced", "paid", "paid"]


def test_among_many_only_what_is_paid_is_paid() -> None:
    generated, due, ends = (np.array([each] * 3, DAY) for each in (GENERATED, DUE, ENDS))
    paid_on, posts_by = (np.array([None, each, None], DAY) for each in ("2026-08-03", "2026-08-06"))
    stood = standing(generated, due, ends, as_days("2026-08-04"), paid_on=paid_on, posts_by=posts_by)
    assert [STANDINGS[each] for each in stood] == ["in_grace", "payment_pending", "in_grace"]


def test_an_invoice_stands_alike_by_its_plain_dates_and_by_days() -> None:
    for offset in range(-40, 80):
        day = DUE + timedelta(offset)
        many = standing(*(np.array([each], DAY) for each in (GENERATED, DUE, ENDS, day)))
        assert [standing(GENERATED, DUE, ENDS, day)] == many.tolist()


def test_half_a_payment_is_none() -> None:
    for half in ({"paid_on": DUE}, {"posts_by": DUE}, {"paid_on": NO_DAY, "posts_by": NO_DAY}):
        assert stands(DUE + timedelta(1), **half) == "in_grace"


# Warnings

CODES = (
    "recommended_may_not_post_in_time",
    "recommended_not_business_day",
    "due_not_business_day",
    "grace_runs_past_next_due",
    "assumed_rule",
    "exception_applied",
    "floor_applied",
)


def warned(rules: Any, coverage_month: str, /, **body: Any) -> dict[str, str]:
    """Give the warnings on an invoice, by code; a code may come once."""
    listed = invoice(rules, coverage_month, **body)["warnings"]
    found = {warning["code"]: warning["detail"] for warning in listed}
    assert len(found) == len(listed)
    return found


def test_the_codes_are_the_specifications_in_its_order() -> None:
    assert WARNINGS == CODES


def test_there_is_nothing_to_beware_of_on_an_invoice_without_snags() -> None:
    """Due Tue 2026-09-01, grace to Thu 10-01, the next due date; next generated Fri 09-11, paid by Thu 09-03."""
    assert warned(SMALL, "2026-09", rules={"pay_by": {"days_before_next_invoice": 8}}) == {}


@pytest.mark.parametrize(
    ("days", "detail"),
    [
        (
            3,
            (
                "a payment on 2026-08-09 may post too late for the invoice generated 2026-08-12; paid by 2026-08-06 it "
                "posts in time"
            ),
        ),
        (
            5,
            (
                "a payment on 2026-08-07 may post too late for the invoice generated 2026-08-12; paid by 2026-08-06 it "
                "posts in time"
            ),
        ),
        (6, None),
        (7, None),
    ],
)
def test_a_recommended_day_after_the_safe_one_may_be_too_late(days: int, detail: str | None) -> None:
    """The worked example: recommended 2026-08-09, safe 2026-08-06."""
    found = warned(SMALL, "2026-08", rules={"pay_by": {"days_before_next_invoice": days}})
    assert found.get("recommended_may_not_post_in_time") == detail


CLOSED = (
    '\n[calendars.BANKS]\nname = "Banks"\nholidays = "XFED"\nclosures = [{ date = 2026-08-06, reason = "storm" }]\n'
)


@pytest.mark.parametrize(
    ("coverage_month", "days", "detail"),
    [
        ("2026-08", 3, "2026-08-09 is no business day: Sunday"),
        ("2026-08", 4, "2026-08-08 is no business day: Saturday"),
        ("2026-08", 5, None),  # Friday
        ("2026-08", 6, "2026-08-06 is no business day: storm"),
        ("2026-08", 7, None),
        ("2026-09", 4, "2026-09-07 is no business day: Labor Day"),
        ("2026-02", 3, None),  # Fri 02-06
    ],
)
def test_a_recommended_day_on_which_the_banks_are_closed(coverage_month: str, days: int, detail: str | None) -> None:
    found = warned(
        book(small(CLOSED, calendar='"BANKS"')), coverage_month, rules={"pay_by": {"days_before_next_invoice": days}}
    )
    assert found.get("recommended_not_business_day") == detail


@pytest.mark.parametrize(
    ("coverage_month", "due", "detail"),
    [
        ("2026-08", {"day": 1}, "2026-08-01 is no business day: Saturday"),
        ("2026-08", {"day": 2}, "2026-08-02 is no business day: Sunday"),
        ("2026-08", {"day": 3}, None),
        ("2026-08", {"day": 6}, "2026-08-06 is no business day: storm"),
        ("2026-08", {"day": 1, "roll": "following"}, None),
        ("2026-01", {"day": 1}, "2026-01-01 is no business day: New Year's Day"),
        ("2026-07", {"day": 3}, None),  # the Reserve Banks do not move a Saturday holiday
        ("2026-09", {"day": 1}, None),
    ],
)
def test_a_due_date_on_which_the_banks_are_closed(coverage_month: str, due: dict[str, Any], detail: str | None) -> None:
    found = warned(book(small(CLOSED, calendar='"BANKS"')), coverage_month, rules={"due": due})
    assert found.get("due_not_business_day") == detail


@pytest.mark.parametrize(
    ("coverage_month", "rules", "detail"),
    [
        # 30 days after 1 February run into March, past the next due date.
        (
            "2026-02",
            {},
            "the grace runs to 2026-03-03, past the next due date 2026-03-01: two invoices are open",
        ),
        ("2026-08", {}, None),
        ("2026-08", {"grace": {"days": 31}}, None),  # on the next due date, not past it
        (
            "2026-08",
            {"grace": {"days": 32}},
            "the grace runs to 2026-09-02, past the next due date 2026-09-01: two invoices are open",
        ),
        ("2026-02", {"skip_coverage_months": [3]}, None),
        (
            "2026-02",
            {"skip_coverage_months": [3], "grace": {"days": 60}},
            "the grace runs to 2026-04-02, past the next due date 2026-04-01: two invoices are open",
        ),
    ],
)
def test_a_grace_past_the_next_due_date_leaves_two_invoices_open(
    coverage_month: str, rules: dict[str, Any], detail: str | None
) -> None:
    assert warned(SMALL, coverage_month, rules=rules).get("grace_runs_past_next_due") == detail


@pytest.mark.parametrize(
    ("state", "rules", "detail"),
    [
        ("PA", {}, "nobody has confirmed yet: posting, generation"),
        ("PA", {"generation": {"days_before_due": 20}}, "nobody has confirmed yet: posting"),
        (
            "PA",
            {"posting": {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"}},
            "nobody has confirmed yet: generation",
        ),
        (
            "PA",
            {
                "generation": {"days_before_due": 20},
                "posting": {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"},
            },
            None,
        ),
    ],
)
def test_rules_that_nobody_has_confirmed_are_named(state: str, rules: dict[str, Any], detail: str | None) -> None:
    body = {"state": state, "coverage_month": "2026-08", "rules": rules}
    [found] = ask(SHIPPED, **body)["invoices"]
    assert {w["code"]: w["detail"] for w in found["warnings"]}.get("assumed_rule") == detail


def test_a_rule_is_assumed_until_a_confirmed_one_takes_its_place() -> None:
    rules = book(
        small(
            row("states.PA", "grace = { days = 31 }", since="2026-01", more="assumed = true\n"),
            row("states.PA", "grace = { days = 31 }", since="2026-08", cite="a letter"),
        )
    )
    months = ("2025-12", "2026-01", "2026-07", "2026-08")
    assert ["assumed_rule" in warned(rules, each) for each in months] == [False, True, True, False]


def test_an_exception_is_told_of_its_own_month_with_its_reason() -> None:
    for name, given in (
        ("generation_date", "2026-07-13"),
        ("due_date", "2026-08-03"),
        ("grace_end_date", "2026-09-03"),
        ("due_date", "2026-08-01"),  # as computed: the month carries an exception all the same
    ):
        fixed = [{"coverage_month": "2026-08", name: given, "reason": "the printer's holiday"}]
        assert warned(SMALL, "2026-08", exceptions=fixed)["exception_applied"] == "the printer's holiday"
        for other in ("2026-07", "2026-09", "2027-08"):
            assert "exception_applied" not in warned(SMALL, other, exceptions=fixed)


FLOORS = small(
    row("states.PA", "grace_floor = { days = 31 }", since="2026-08", cite="40 P.S. 1"),
    '\n[products.cobra]\nname = "COBRA"\n',
    row("products.cobra", "grace_floor = { calendar_months = 2 }", cite="26 CFR 1"),
    '\n[products.same]\nname = "The same"\n',
    row("products.same", 'grace_floor = { days = 32, counting = "from_due" }', cite="45 CFR 1"),
    '\n[products.lower]\nname = "A lower one"\n',
    row("products.lower", "grace_floor = { days = 3 }", cite="42 CFR 1"),
    '\n[products.longer]\nname = "A longer grace"\n',
    row("products.longer", "grace = { days = 31 }"),
)


@pytest.mark.parametrize(
    ("coverage_month", "product", "cites"),
    [
        ("2026-07", None, None),  # before the floor arrives
        ("2026-08", None, "40 P.S. 1"),
        ("2026-08", "cobra", "26 CFR 1"),  # the later of the two
        ("2026-08", "same", "40 P.S. 1; 45 CFR 1"),
        ("2026-08", "lower", "40 P.S. 1"),
        ("2026-07", "lower", None),
        ("2026-08", "longer", None),  # on the floor already
    ],
)
def test_a_floor_that_moved_the_grace_is_cited_and_no_other(
    coverage_month: str, product: str | None, cites: str | None
) -> None:
    body = {"product": product} if product else {}
    detail = warned(book(FLOORS), coverage_month, **body).get("floor_applied")
    assert detail == (cites and f"the grace ends no earlier than the floor allows: {cites}")


def test_the_last_invoice_has_no_next_one_to_be_late_for() -> None:
    found = warned(SMALL, "2026-02", last_coverage_month="2026-02", rules={"grace": {"days": 60}})
    assert found == {"due_not_business_day": "2026-02-01 is no business day: Sunday"}
    assert warned(SMALL, "2026-09", last_coverage_month="2026-09") == {}


def test_all_there_is_to_beware_of_is_told_in_the_order_of_the_specification() -> None:
    rules = book(
        small(
            row("states.PA", "grace_floor = { days = 60 }", since="2026-08", cite="40 P.S. 1"),
            row("states.PA", "pay_by = { days_before_next_invoice = 3 }", more="assumed = true\n"),
        )
    )
    fixed = [{"coverage_month": "2026-08", "generation_date": "2026-07-14", "reason": "a letter"}]
    listed = invoice(rules, "2026-08", exceptions=fixed)["warnings"]
    assert tuple(warning["code"] for warning in listed) == CODES
    assert [warning["detail"] for warning in listed][3:] == [
        "the grace runs to 2026-09-30, past the next due date 2026-09-01: two invoices are open",
        "nobody has confirmed yet: pay_by",
        "a letter",
        "the grace ends no earlier than the floor allows: 40 P.S. 1",
    ]


def test_the_warnings_of_a_month_do_not_depend_on_the_months_beside_it() -> None:
    body: dict[str, Any] = {"state": "PA", "rules": {"skip_coverage_months": [7]}}
    rules = book(small(row("states.PA", "due = { day = 5 }", since="2026-05", more="assumed = true\n")))
    together = ask(rules, **body, **{"from": "2026-01", "months": 12})["invoices"]
    alone = [ask(book(small(row("states.PA", "due = { day = 5 }", since="2026-05", more="assumed = true\n"))),
                 **body, coverage_month=each["coverage_month"])["invoices"][0] for each in together]  # fmt: skip
    assert [each["warnings"] for each in together] == [each["warnings"] for each in alone]


def test_what_an_assumed_rule_warns_of_is_told_in_every_state_of_the_shipped_book() -> None:
    for state in ("PA", "DE", "WV", "NY"):
        assert "assumed_rule" in [w["code"] for w in invoice(SHIPPED, "2026-08", state)["warnings"]]


def test_a_state_in_which_nothing_is_assumed_is_not_warned_of_another() -> None:
    rules = book(
        small(section("states.OH", "generation = { days_before_due = 10 }"))
        + row("states.PA", "generation = { days_before_due = 20 }", since="2026-01", more="assumed = true\n")
    )
    assert "assumed_rule" in [w["code"] for w in invoice(rules, "2026-08", "PA")["warnings"]]
    assert "assumed_rule" not in [w["code"] for w in invoice(rules, "2026-08", "OH")["warnings"]]
