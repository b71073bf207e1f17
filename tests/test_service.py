"""What is answered to whom: every part of an answer by the specification, and why a question cannot be answered."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from typing import Any

import pytest

from ebill import questions, service
from ebill.errors import (
    BelowFloor,
    CutoffNotDaily,
    DatesOutOfOrder,
    ExceptionTooFar,
    Fault,
    InvalidInput,
    NoRuleInForce,
    NotBilled,
    OutsideCalendar,
    PaymentOutsideCalendar,
    Refusal,
    UnknownState,
)
from ebill.paid import today
from ebill.questions import Calculation, PostingQuestion, calculation, posting_question
from ebill.rulebook import RuleBook, Scope
from ebill.rules import CalendarName, GraceDays
from ebill.schedule import DATE_NAMES
from ebill.service.invoices import DRAWN_MOST, invoices, not_billed
from tests import oracle
from tests.books import NOW, TEXT, ask, book, edited, entered, invoice, month, row, section, small
from tests.strategies import DEFAULTS, day

SHIPPED = book(TEXT)
SMALL = book(small())
BANKS = '\n[calendars.BANKS]\nname = "Banks"\nholidays = "XFED"\nclosures = [{ date = 2026-07-06, reason = "storm" }]\n'
POSTING = {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"}


def dates(found: Mapping[str, Any]) -> str:
    """Write the dates of an invoice as a row of the worked table."""
    return " ".join("-" if found[name] is None else str(found[name]) for name in DATE_NAMES)


def posted(paid_at: str, rules: RuleBook = SMALL, state: str = "PA") -> tuple[str, str, str]:
    """Give when a payment is received, and when it posts at the earliest and the latest."""
    answer = service.posting(rules, posting_question({"state": state, "paid_at": paid_at}))
    return tuple(str(answer[name]) for name in ("received_date", "posts_from_date", "posts_by_date"))  # type: ignore[return-value]


def refused(kind: type[Refusal], rules: RuleBook, /, **body: Any) -> Any:
    """Ask what must be refused, and give the refusal; its one fault says its sentence."""
    with pytest.raises(kind) as refusal:
        service.answer(rules, body, NOW)
    assert [fault.detail for fault in refusal.value.faults] == [str(refusal.value)]
    return refusal.value


# The answer as a whole


@pytest.mark.parametrize(
    ("coverage_month", "expected"),
    [
        ("2026-02", "2026-01-12 2026-02-01 2026-03-03 2026-02-09 2026-02-06 2026-02-03"),
        ("2026-08", "2026-07-12 2026-08-01 2026-08-31 2026-08-12 2026-08-09 2026-08-06"),
        ("2026-11", "2026-10-12 2026-11-01 2026-12-01 2026-11-11 2026-11-08 2026-11-05"),
    ],
)
def test_the_worked_table_is_answered(coverage_month: str, expected: str) -> None:
    assert dates(invoice(SMALL, coverage_month)) == expected


def test_an_answer_has_the_fields_of_the_specification_and_no_others() -> None:
    answer = ask(SMALL, state="PA", coverage_month="2026-08")
    assert list(answer) == ["state", "timezone", "as_of", "rulebook", "invoices"]
    assert (answer["state"], answer["timezone"], answer["as_of"]) == ("PA", "America/New_York", date(2026, 8, 3))
    assert list(answer["invoices"][0]) == ["coverage_month", *DATE_NAMES, "standing", "warnings"]
    whole: Any = ask(
        SHIPPED,
        state="PA",
        product="cobra",
        explain=True,
        paid_at="2026-07-02",
        rules={"skip_coverage_months": [9]},
        **{"from": "2026-08", "months": 2},
    )
    assert whole.keys() - answer.keys() == {"product", "not_billed", "payment"}
    assert list(whole["invoices"][0]) == ["coverage_month", *DATE_NAMES, "standing", "warnings", "explanation"]
    assert set(whole["payment"]) == {
        *("coverage_month", "paid_at", "received_date", "posts_from_date", "posts_by_date", "timeliness"),
        *("reflected_on_next_invoice", "calendar", "explanation"),
    }


def test_months_come_in_their_order_and_each_as_if_asked_for_alone() -> None:
    body: dict[str, Any] = {"state": "NY", "product": "cobra"}
    together = ask(SHIPPED, **body, **{"from": "2025-11", "months": 15})["invoices"]
    assert [each["coverage_month"] for each in together] == [
        oracle.name_of(oracle.months_after(date(2025, 11, 1), number)) for number in range(15)
    ]
    for each in together:
        assert ask(book(TEXT), **body, coverage_month=each["coverage_month"])["invoices"] == [each]


@pytest.mark.parametrize(
    ("state", "generation"),
    [
        ("PA", {"days_before_due": 20}),
        ("DE", {"days_before_due": 20}),
        ("WV", {"day_of_month": 12}),
        ("NY", {"day_of_month": -8}),
    ],
)
def test_ten_years_of_each_shipped_state_are_those_of_the_oracle(state: str, generation: dict[str, Any]) -> None:
    rules = {**DEFAULTS, "generation": generation}
    for found in ask(SHIPPED, state=state, **{"from": "2024-01", "months": 120})["invoices"]:
        expected = oracle.invoice(rules, found["coverage_month"])
        assert {name: found[name] for name in DATE_NAMES} == expected


# Rules given with the question


def test_rules_given_with_a_question_are_a_clients_and_govern_every_month() -> None:
    rules = book(small(row("states.PA", "grace = { days = 60 }", since="2026-09", cite="a law"),
                       section("products.cobra", "grace = { days = 32 }")))  # fmt: skip
    for coverage_month in ("2000-01", "2026-08", "2026-09", "2099-12"):
        found = invoice(rules, coverage_month, rules={"grace": {"days": 45}}, product="cobra", explain=True)
        assert found["grace_end_date"] == found["due_date"] + timedelta(45)
        why = found["explanation"]["grace_end_date"]
        assert (why["layer"], why["since"], why["assumed"]) == ("client", "2000-01", False)
        assert (why["sentence"], why["cite"]) == ("45 days after the due date", "given with the question")
        assert found["explanation"]["due_date"]["layer"] == "default"


def test_a_rule_given_replaces_the_whole_rule() -> None:
    rolled = book(small(grace='{ days = 30, counting = "from_due", roll = "following" }'))
    assert str(invoice(rolled, "2026-08")["grace_end_date"]) == "2026-08-31"  # Sun 08-30, rolled
    assert str(invoice(rolled, "2026-08", rules={"grace": {"days": 29}})["grace_end_date"]) == "2026-08-30"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"due": {"day": 5}}, "2026-07-16 2026-08-05 2026-09-04 2026-08-16 2026-08-13 2026-08-11"),
        (
            {"generation": {"weekday": "TH", "nth": 3}},
            "2026-07-16 2026-08-01 2026-08-31 2026-08-20 2026-08-17 2026-08-14",
        ),
        ({"grace": {"calendar_months": 2}}, "2026-07-12 2026-08-01 2026-09-30 2026-08-12 2026-08-09 2026-08-06"),
        (
            {"pay_by": {"days_before_next_invoice": 4, "unit": "business"}},
            "2026-07-12 2026-08-01 2026-08-31 2026-08-12 2026-08-06 2026-08-06",
        ),
        (
            {"posting": {"min_business_days": 0, "max_business_days": 1, "cutoff": "12:00"}},
            "2026-07-12 2026-08-01 2026-08-31 2026-08-12 2026-08-09 2026-08-10",
        ),
        ({"skip_coverage_months": [9]}, "2026-07-12 2026-08-01 2026-08-31 2026-09-11 2026-09-08 2026-09-04"),
    ],
    ids=["due", "generation", "grace", "pay_by", "posting", "skip_coverage_months"],
)
def test_each_kind_of_rule_can_be_given(rules: dict[str, Any], expected: str) -> None:
    """By hand, from the calendar of 2026: Labor Day is Mon 09-07."""
    assert dates(invoice(SMALL, "2026-08", rules=rules)) == expected


def test_a_calendar_can_be_given_by_its_name_in_the_book_or_by_the_librarys_code() -> None:
    """Generated Wed 2026-07-08: paid on Thu 07-02, it posts by Tue 07-07, were all open on Fri 07-03 and Mon 07-06."""
    rules = book(small(BANKS))
    safe = {}
    for name in ("XFED", "XNYS", "BANKS", "US-PA"):
        given = {"calendar": name, "generation": {"days_before_due": 24}}
        found = ask(rules, state="PA", coverage_month="2026-07", rules=given, paid_at="2026-07-02")
        safe[name] = str(found["invoices"][0]["safe_pay_by_date"])
        assert found["payment"]["calendar"] == name
    assert safe == {"XFED": "2026-07-02", "XNYS": "2026-07-01", "BANKS": "2026-07-01", "US-PA": "2026-07-01"}


def test_a_zone_can_be_given_and_says_which_day_it_is() -> None:
    given = {"timezone": "Pacific/Kiritimati"}
    answer = ask(SMALL, state="PA", coverage_month="2026-08", rules=given, paid_at="2026-08-01T10:00Z")
    assert (answer["timezone"], answer["as_of"]) == ("Pacific/Kiritimati", date(2026, 8, 4))
    assert answer["payment"]["timeliness"] == "in_grace"  # 2 August there
    without = ask(SMALL, state="PA", coverage_month="2026-08", paid_at="2026-08-01T10:00Z")
    assert without["payment"]["timeliness"] == "on_time"


# Products


@pytest.mark.parametrize(
    ("product", "grace_end"),
    [
        (None, "2026-08-31"),
        ("cobra", "2026-08-31"),  # 26 CFR 54.4980B-8: 30 days
        ("aptc_individual", "2026-10-31"),  # 45 CFR 156.270(d): 3 calendar months
        ("medicare_part_d", "2026-09-30"),  # 42 CFR 423.44(d): 2 calendar months
    ],
)
@pytest.mark.parametrize(("state", "generation"), [("PA", "2026-07-12"), ("WV", "2026-07-12"), ("NY", "2026-07-24")])
def test_a_product_replaces_what_it_rules_and_leaves_the_rest_to_the_state(
    state: str, generation: str, product: str | None, grace_end: str
) -> None:
    given = {"product": product} if product else {}
    answer: Any = ask(SHIPPED, state=state, coverage_month="2026-08", **given)
    found = answer["invoices"][0]
    assert (str(found["generation_date"]), str(found["grace_end_date"])) == (generation, grace_end)
    assert answer.get("product") == product


def test_a_product_stands_above_its_state_and_below_its_client() -> None:
    rules = book(small(row("states.PA", "grace = { days = 60 }"), section("products.cobra", "grace = { days = 32 }")))
    why = {}
    bodies: dict[str, dict[str, Any]] = {
        "state": {},
        "product": {"product": "cobra"},
        "client": {"product": "cobra", "rules": {"grace": {"days": 45}}},
    }
    for name, body in bodies.items():
        found = invoice(rules, "2026-08", explain=True, **body)
        why[name] = (found["explanation"]["grace_end_date"]["layer"], str(found["grace_end_date"]))
    assert why == {
        "state": ("state", "2026-09-30"),
        "product": ("product", "2026-09-02"),
        "client": ("client", "2026-09-15"),
    }


def test_names_that_are_not_configured_are_told_with_what_is() -> None:
    asked = Calculation("OH", month("2026-08"), 1, "cobbra", rules={"calendar": CalendarName("QQQQQQQQ")})
    with pytest.raises(InvalidInput) as refusal:
        service.calculate(SHIPPED, asked, NOW)
    assert [(fault.pointer, fault.detail) for fault in refusal.value.faults] == [
        ("/state", 'No state "OH" is configured; the configured states are DE, NY, PA, WV.'),
        (
            "/product",
            (
                'is no configured product (did you mean "cobra"?); the configured products are aptc_individual, cobra, '
                "medicare_part_d"
            ),
        ),
        ("/rules/calendar", '"QQQQQQQQ" names no calendar; try XFED, XNYS or a code such as US-PA.'),
    ]
    with pytest.raises(InvalidInput) as none:
        service.answer(SMALL, {"state": "PA", "coverage_month": "2026-08", "product": "cobra"}, NOW)
    assert [fault.detail for fault in none.value.faults] == [
        "is no configured product; the configured products are none"
    ]


# Months without an invoice


def test_a_skipped_month_is_told_apart_with_the_reason() -> None:
    answer = ask(SMALL, state="PA", rules={"skip_coverage_months": [7, 8]}, **{"from": "2026-06", "months": 4})
    assert [each["coverage_month"] for each in answer["invoices"]] == ["2026-06", "2026-09"]
    assert answer["not_billed"] == [
        {"coverage_month": "2026-07", "reason": "no invoice for July, August"},
        {"coverage_month": "2026-08", "reason": "no invoice for July, August"},
    ]
    assert str(answer["invoices"][0]["next_generation_date"]) == str(answer["invoices"][1]["generation_date"])


def test_the_reason_is_the_rule_of_the_month_itself() -> None:
    rules = book(
        small(
            row("states.PA", "skip_coverage_months = [7, 8]"),
            row("states.PA", "skip_coverage_months = [1]", since="2026-08"),
        )
    )
    answer = ask(rules, state="PA", **{"from": "2026-06", "months": 8})
    assert [tuple(each.values()) for each in answer["not_billed"]] == [
        ("2026-07", "no invoice for July, August"),
        ("2027-01", "no invoice for January"),
    ]


def test_an_answer_may_have_no_invoice_at_all() -> None:
    answer = ask(SMALL, state="PA", coverage_month="2026-07", rules={"skip_coverage_months": [7]})
    assert answer["invoices"] == []
    assert answer["not_billed"] == [{"coverage_month": "2026-07", "reason": "no invoice for July"}]
    assert "not_billed" not in ask(SMALL, state="PA", coverage_month="2026-07")


def test_after_the_last_coverage_month_there_is_no_invoice_and_before_it_no_next() -> None:
    answer = ask(SMALL, state="PA", last_coverage_month="2026-08", **{"from": "2026-07", "months": 4})
    first, last = answer["invoices"]
    assert dates(first) == "2026-06-11 2026-07-01 2026-07-31 2026-07-12 2026-07-09 2026-07-07"
    assert dates(last) == "2026-07-12 2026-08-01 2026-08-31 - 2026-08-01 2026-08-01"
    assert answer["not_billed"] == [
        {"coverage_month": name, "reason": "after the last coverage month, 2026-08"} for name in ("2026-09", "2026-10")
    ]


def test_the_last_coverage_month_counts_before_a_skipped_one() -> None:
    answer = ask(
        SMALL,
        state="PA",
        last_coverage_month="2026-08",
        rules={"skip_coverage_months": [8, 9]},
        **{"from": "2026-07", "months": 3},
    )
    assert [each["reason"] for each in answer["not_billed"]] == [
        "no invoice for August, September",
        "after the last coverage month, 2026-08",
    ]
    assert answer["invoices"][0]["next_generation_date"] is None  # August, the last month, is skipped


def test_the_first_coverage_month_may_itself_be_skipped() -> None:
    skipping = entered("client", skip_coverage_months=[8])
    life = SMALL.life(Scope("PA", rows=skipping, first_coverage_month=month("2026-08")))
    assert [each["reason"] for each in not_billed(life, life.rows(month("2026-07"), 3))] == [
        "before the first coverage month, 2026-08",
        "no invoice for August",
    ]


def test_before_the_first_coverage_month_there_is_no_invoice() -> None:
    life = SMALL.life(Scope("PA", first_coverage_month=month("2026-08"), last_coverage_month=month("2026-08")))
    rows = life.rows(month("2026-06"), 4)
    assert [each["coverage_month"] for each in invoices(life, rows, NOW.date(), explained=False)] == ["2026-08"]
    assert [tuple(each.values()) for each in not_billed(life, rows)] == [
        ("2026-06", "before the first coverage month, 2026-08"),
        ("2026-07", "before the first coverage month, 2026-08"),
        ("2026-09", "after the last coverage month, 2026-08"),
    ]


# Exceptions


def fixed(coverage_month: str = "2026-08", reason: str = "a letter", **days: str) -> dict[str, Any]:
    return {"coverage_month": coverage_month, "reason": reason, **days}


def test_an_exception_fixes_its_dates_and_is_told_with_its_reason() -> None:
    given = [fixed(due_date="2026-08-05"), fixed("2026-09", "a second letter", generation_date="2026-08-14")]
    answer = ask(SMALL, state="PA", exceptions=given, explain=True, **{"from": "2026-08", "months": 2})
    first, second = answer["invoices"]
    assert dates(first) == "2026-07-16 2026-08-05 2026-09-04 2026-08-14 2026-08-11 2026-08-10"
    assert dates(second).startswith("2026-08-14 2026-09-01 2026-10-01")
    moved: Any = first["explanation"]["due_date"]
    assert [(str(move["from"]), str(move["to"]), move["detail"]) for move in moved["moved"]] == [
        ("2026-08-01", "2026-08-05", "a letter")
    ]
    for found, reason in ((first, "a letter"), (second, "a second letter")):
        assert {"code": "exception_applied", "detail": reason} in found["warnings"]


@pytest.mark.parametrize(
    ("name", "computed"),
    [
        ("generation_date", day("2026-07-12 Sun")),
        ("due_date", day("2026-08-01 Sat")),
        ("grace_end_date", day("2026-08-31 Mon")),
    ],
)
def test_an_exception_lies_62_days_from_the_computed_date_at_most(name: str, computed: date) -> None:
    later = name != "generation_date"
    near, far = (computed + timedelta(days if later else -days) for days in (62, 63))
    given = {"state": "PA", "coverage_month": "2026-08"}
    if name == "due_date":  # with which the grace moves along
        near, far = computed - timedelta(62), computed - timedelta(63)
    assert invoice(SMALL, "2026-08", exceptions=[fixed(**{name: near.isoformat()})])[name] == near
    too_far = refused(ExceptionTooFar, SMALL, **given, exceptions=[fixed("2026-07", due_date="2026-07-02"),
                                                                  fixed(**{name: far.isoformat()})])  # fmt: skip
    assert too_far.faults[0].pointer == f"/exceptions/1/{name}"
    assert str(too_far) == (
        f"The exception for 2026-08 puts {name} on {far}, 63 days from the computed {computed}; at most 62 are taken."
    )


def test_a_mistyped_year_is_refused_wherever_it_stands() -> None:
    given = [fixed("2026-09", due_date="2025-09-01"), fixed(due_date="2026-08-02")]
    found = refused(ExceptionTooFar, SMALL, state="PA", coverage_month="2026-08", exceptions=given)
    assert found.faults[0].pointer == "/exceptions/0/due_date"
    assert "365 days from the computed 2026-09-01" in str(found)


@pytest.mark.parametrize(
    ("days", "taken"),
    [
        ({"generation_date": "2026-07-31"}, True),
        ({"generation_date": "2026-08-01"}, False),
        ({"generation_date": "2026-08-02"}, False),
        ({"grace_end_date": "2026-08-01"}, True),
        ({"grace_end_date": "2026-07-31"}, False),
        ({"due_date": "2026-07-13", "generation_date": "2026-07-12"}, True),
        ({"due_date": "2026-07-12", "generation_date": "2026-07-12"}, False),
        ({"due_date": "2026-08-15", "grace_end_date": "2026-08-14"}, False),
        ({"due_date": "2026-08-15", "grace_end_date": "2026-08-15"}, True),
    ],
)
def test_an_exception_keeps_the_order(days: dict[str, str], taken: bool) -> None:
    """Generation < due <= grace end."""
    given: dict[str, Any] = {"state": "PA", "coverage_month": "2026-08", "exceptions": [fixed(**days)]}
    if taken:
        found = invoice(SMALL, "2026-08", exceptions=[fixed(**days)])
        assert {name: str(found[name]) for name in days} == days
    else:
        found = refused(DatesOutOfOrder, SMALL, **given)
        assert (found.coverage_month, found.faults[0].pointer) == ("2026-08", "/exceptions/0")


@pytest.mark.parametrize(
    "body", [{"rules": {"skip_coverage_months": [8]}}, {"last_coverage_month": "2026-07"}], ids=["skipped", "past"]
)
def test_a_month_without_an_invoice_cannot_be_fixed(body: dict[str, Any]) -> None:
    given = [fixed("2026-07", due_date="2026-07-02"), fixed(due_date="2026-08-02")]
    found = refused(NotBilled, SMALL, state="PA", coverage_month="2026-07", exceptions=given, **body)
    assert (found.coverage_month, found.faults[0].pointer) == ("2026-08", "/exceptions/1")


# What a refusal is about


def test_rules_out_of_order_name_the_first_bad_month_and_the_rules() -> None:
    """The 29th of February exists in 2000 and not in 2001."""
    given = {"due": {"day": 29}, "generation": {"day_of_month": 28, "months_before_due": 0}}
    found = refused(DatesOutOfOrder, SMALL, state="PA", coverage_month="2026-08", rules=given)
    assert (found.coverage_month, found.faults[0].pointer) == ("2001-02", "/rules")
    beside = [fixed(due_date="2026-08-28", generation_date="2026-08-27")]
    found = refused(DatesOutOfOrder, SMALL, state="PA", coverage_month="2026-08", rules=given, exceptions=beside)
    assert found.faults[0].pointer == "/rules"


FLOORED = book(
    small(
        row("states.PA", "grace = { days = 31 }", since="2026-08"),
        row("states.PA", "grace_floor = { days = 31 }", since="2026-08", cite="40 P.S. 1"),
    )
)


def test_a_floor_wins_from_its_month_on() -> None:
    found = [str(invoice(FLOORED, name, explain=True)["grace_end_date"]) for name in ("2026-07", "2026-08")]
    assert found == ["2026-07-31", "2026-09-01"]
    later = book(small(row("states.PA", "grace_floor = { days = 31 }", since="2026-08", cite="40 P.S. 1")))
    raised = invoice(later, "2026-08", explain=True)
    assert str(raised["grace_end_date"]) == "2026-09-01"
    assert raised["explanation"]["grace_end_date"]["moved"] == [
        {
            "by": "floor",
            "from": day("2026-08-31 Mon"),
            "to": day("2026-09-01 Tue"),
            "detail": "never before 31 days after the due date (40 P.S. 1)",
        }
    ]


def test_a_grace_below_the_floor_is_refused_and_one_on_it_is_taken() -> None:
    found = refused(BelowFloor, FLOORED, state="PA", coverage_month="2030-01", rules={"grace": {"days": 30}})
    assert (found.coverage_month, found.cite, found.faults[0].pointer) == ("2026-08", "40 P.S. 1", "/rules/grace")
    assert str(invoice(FLOORED, "2026-08", rules={"grace": {"days": 31}})["grace_end_date"]) == "2026-09-01"


def test_an_exception_below_the_floor_is_refused_for_the_date_it_fixes() -> None:
    given = [fixed("2026-09", due_date="2026-09-02"), fixed(grace_end_date="2026-08-31")]
    found = refused(BelowFloor, FLOORED, state="PA", coverage_month="2026-08", exceptions=given)
    assert found.faults[0].pointer == "/exceptions/1/grace_end_date"
    on_it = [fixed(grace_end_date="2026-09-01")]
    assert str(invoice(FLOORED, "2026-08", exceptions=on_it)["grace_end_date"]) == "2026-09-01"


def test_an_exception_of_another_date_is_not_blamed_for_a_grace_below_the_floor() -> None:
    given = [fixed(due_date="2026-08-03")]
    found = refused(
        BelowFloor, FLOORED, state="PA", coverage_month="2026-08", rules={"grace": {"days": 30}}, exceptions=given
    )
    assert (found.coverage_month, found.faults[0].pointer) == ("2026-08", "/rules/grace")


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        ({"posting": {**POSTING, "cutoff": "02:30"}}, "/rules/posting/cutoff"),
        ({"posting": {**POSTING, "cutoff": "12:00"}, "timezone": "Pacific/Apia"}, "/rules/posting/cutoff"),
        ({"timezone": "America/Havana"}, "/rules/timezone"),
    ],
)
def test_a_cutoff_that_does_not_come_once_a_day_is_refused(rules: dict[str, Any], place: str) -> None:
    """New York leaves 02:30 out; Samoa had no 2011-12-30; Cuba turns its clocks at midnight."""
    house = book(small(posting='{ min_business_days = 2, max_business_days = 3, cutoff = "00:30" }'))
    found = refused(CutoffNotDaily, house, state="PA", coverage_month="2026-08", rules=rules)
    assert found.faults[0].pointer == place


@pytest.mark.parametrize(
    ("months", "place"),
    [({"coverage_month": "2099-12"}, "/coverage_month"), ({"from": "2099-11", "months": 2}, "/from")],
)
def test_a_date_beyond_the_calendar_is_refused_for_the_months_asked_for(months: dict[str, Any], place: str) -> None:
    """The library has no rules for Japan after 2099."""
    given = {"calendar": "JP", "due": {"day": 1, "month_offset": 1}}
    found = refused(OutsideCalendar, SMALL, state="PA", rules=given, **months)
    assert (found.coverage_month, found.calendar, found.faults[0].pointer) == ("2099-12", "JP", place)


@pytest.mark.parametrize(
    ("months", "place"),
    [({"coverage_month": "2019-12"}, "/coverage_month"), ({"from": "2019-12", "months": 2}, "/from")],
)
def test_a_month_before_the_first_rule_is_refused(months: dict[str, Any], place: str) -> None:
    late = book(small('\n[states.OH]\nname = "Ohio"\n', row("states.OH", "generation = { days_before_due = 9 }",
                                                            since="2020-01")))  # fmt: skip
    found = refused(NoRuleInForce, late, state="OH", **months)
    assert (found.kind, found.coverage_month, found.faults[0].pointer) == ("generation", "2019-12", place)
    assert len(ask(late, state="OH", coverage_month="2020-01")["invoices"]) == 1


def test_a_refusal_about_no_part_of_a_question_is_about_the_whole() -> None:
    assert questions.fault(Refusal("No."), calculation({"state": "PA", "coverage_month": "2026-08"})) == (
        Fault("", "No.")
    )


def test_a_refusal_leaves_the_next_answer_alone() -> None:
    for _ in range(2):
        refused(BelowFloor, FLOORED, state="PA", coverage_month="2026-08", rules={"grace": {"days": 30}})
        assert str(invoice(FLOORED, "2026-08")["grace_end_date"]) == "2026-09-01"


# A payment


@pytest.mark.parametrize(
    ("paid_at", "window", "timeliness", "reflected"),
    [
        # The example of the specification: Fri 2026-07-03 is a bank day.
        ("2026-07-02T12:00", "2026-07-02 2026-07-06 2026-07-07", "on_time", "yes"),
        ("2026-08-01", "2026-08-03 2026-08-05 2026-08-06", "on_time", "yes"),
        ("2026-08-01T23:59:59.999999", "2026-08-03 2026-08-05 2026-08-06", "on_time", "yes"),
        ("2026-08-02", "2026-08-03 2026-08-05 2026-08-06", "in_grace", "yes"),
        # The next invoice is generated Wed 2026-08-12.
        ("2026-08-06", "2026-08-06 2026-08-10 2026-08-11", "in_grace", "yes"),
        ("2026-08-06T16:59:59.999999", "2026-08-06 2026-08-10 2026-08-11", "in_grace", "yes"),
        ("2026-08-06T17:00", "2026-08-07 2026-08-11 2026-08-12", "in_grace", "maybe"),
        ("2026-08-07", "2026-08-07 2026-08-11 2026-08-12", "in_grace", "maybe"),
        ("2026-08-07T17:00", "2026-08-10 2026-08-12 2026-08-13", "in_grace", "no"),
        ("2026-08-10", "2026-08-10 2026-08-12 2026-08-13", "in_grace", "no"),
        ("2026-08-31T23:59", "2026-09-01 2026-09-03 2026-09-04", "in_grace", "no"),
        ("2026-09-01", "2026-09-01 2026-09-03 2026-09-04", "late", "no"),
        ("2026-09-01T03:59:59Z", "2026-09-01 2026-09-03 2026-09-04", "in_grace", "no"),
        ("2026-09-01T04:00Z", "2026-09-01 2026-09-03 2026-09-04", "late", "no"),
    ],
)
def test_what_a_payment_means_for_the_invoice(paid_at: str, window: str, timeliness: str, reflected: str) -> None:
    payment: Any = ask(SMALL, state="PA", coverage_month="2026-08", paid_at=paid_at)["payment"]
    assert " ".join(str(payment[f"{name}_date"]) for name in ("received", "posts_from", "posts_by")) == window
    assert (payment["timeliness"], payment["reflected_on_next_invoice"]) == (timeliness, reflected)
    assert (payment["coverage_month"], payment["calendar"]) == ("2026-08", "XFED")
    assert payment["paid_at"] == calculation({"state": "PA", "coverage_month": "2026-08", "paid_at": paid_at}).paid_at
    assert "explanation" not in payment


def test_without_a_next_invoice_none_shows_the_payment() -> None:
    answer = ask(SMALL, state="PA", coverage_month="2026-08", paid_at="2026-07-02", last_coverage_month="2026-08")
    assert answer["payment"]["reflected_on_next_invoice"] == "no"
    assert answer["payment"]["timeliness"] == "on_time"


def test_a_payment_is_for_the_first_invoice_of_the_answer() -> None:
    body: dict[str, Any] = {"state": "PA", "paid_at": "2026-08-20", "from": "2026-07", "months": 3}
    assert ask(SMALL, **body)["payment"]["coverage_month"] == "2026-07"
    skipping = ask(SMALL, **body, rules={"skip_coverage_months": [7]})["payment"]
    assert (skipping["coverage_month"], skipping["timeliness"]) == ("2026-08", "in_grace")


def test_a_payment_for_no_invoice_is_refused() -> None:
    with pytest.raises(InvalidInput) as refusal:
        ask(
            SMALL,
            state="PA",
            coverage_month="2026-07",
            paid_at="2026-07-02",
            rules={"skip_coverage_months": [7]},
        )
    assert [(fault.pointer, fault.detail) for fault in refusal.value.faults] == [
        ("/paid_at", "there is no invoice in the months asked for that it could pay")
    ]


def test_a_payment_that_posts_beyond_the_calendar_is_refused_for_itself() -> None:
    given = {"calendar": "JP"}
    found = refused(
        PaymentOutsideCalendar, SMALL, state="PA", coverage_month="2099-11", paid_at="2099-12-30", rules=given
    )
    assert found.faults[0].pointer == "/paid_at"


def test_a_payment_is_explained_by_its_rule_and_the_days_it_passes_over() -> None:
    rules = book(edited(('cite = "a test"', 'cite = "a FAQ"'), text=small(BANKS, calendar='"BANKS"')))
    payment = ask(rules, state="PA", coverage_month="2026-08", paid_at="2026-07-02", explain=True)["payment"]
    why = payment["explanation"]
    assert why["sentence"] == (
        "2 to 3 business days after it is received; from 17:00 local time on, the next business day receives it"
    )
    assert (why["layer"], why["since"], why["assumed"], why["moved"]) == ("default", "2000-01", False, [])
    assert [(str(closed["date"]), closed["reason"]) for closed in why["skipped"]] == [
        ("2026-07-04", "Independence Day"),
        ("2026-07-05", "Sunday"),
        ("2026-07-06", "storm"),
    ]


def test_a_payment_goes_by_the_rules_of_its_own_month_and_not_of_the_invoices() -> None:
    rules = book(
        small(
            row("states.PA", 'posting = { min_business_days = 5, max_business_days = 6, cutoff = "12:00" }',
                since="2026-08")
        )
    )  # fmt: skip
    for paid_at, expected in (
        ("2026-07-31T16:59", "2026-07-31 2026-08-04 2026-08-05"),
        ("2026-08-03T11:59", "2026-08-03 2026-08-10 2026-08-11"),
        ("2026-08-03T12:00", "2026-08-04 2026-08-11 2026-08-12"),
    ):
        payment: Any = ask(rules, state="PA", coverage_month="2026-07", paid_at=paid_at)["payment"]
        assert " ".join(str(payment[f"{name}_date"]) for name in ("received", "posts_from", "posts_by")) == expected


# When a payment posts


def test_the_cutoff_itself_is_too_late_to_the_microsecond() -> None:
    """Thu 2026-07-02 at 17:00 in New York, written in four ways."""
    before, after = ("2026-07-02", "2026-07-06", "2026-07-07"), ("2026-07-03", "2026-07-07", "2026-07-08")
    for clock, expected in (("16:59:59.999999", before), ("17:00:00.000000", after), ("17:00:00.000001", after)):
        minutes_and_seconds = clock[2:]
        hour = int(clock[:2])
        for written in (
            f"2026-07-02T{clock}",
            f"2026-07-02T{clock}-04:00",
            f"2026-07-02T{hour + 4:02}{minutes_and_seconds}Z",
            f"2026-07-03T{hour + 13 - 24 + 4:02}{minutes_and_seconds}+13:00",
        ):
            assert posted(written) == expected, written


@pytest.mark.parametrize(
    ("paid_at", "expected"),
    [
        ("2026-07-02", "2026-07-02 2026-07-06 2026-07-07"),
        ("2026-07-02T00:00", "2026-07-02 2026-07-06 2026-07-07"),
        ("2026-07-02T23:59", "2026-07-03 2026-07-07 2026-07-08"),
        ("2026-07-04", "2026-07-06 2026-07-08 2026-07-09"),  # a Saturday and a holiday
        ("2026-07-03T17:00", "2026-07-06 2026-07-08 2026-07-09"),  # Friday, too late
        ("2026-07-05", "2026-07-06 2026-07-08 2026-07-09"),
        ("2026-11-25T17:00", "2026-11-27 2026-12-01 2026-12-02"),  # Thanksgiving is Thu 11-26
        ("2026-12-31T17:00", "2027-01-04 2027-01-06 2027-01-07"),
        # The local day decides, whatever the day elsewhere.
        ("2026-07-03T03:59:59Z", "2026-07-03 2026-07-07 2026-07-08"),
        ("2026-07-02T20:59:59Z", "2026-07-02 2026-07-06 2026-07-07"),
        ("2026-07-02T21:00:00Z", "2026-07-03 2026-07-07 2026-07-08"),
        ("2026-01-05T21:59:59Z", "2026-01-05 2026-01-07 2026-01-08"),  # winter: five hours
        ("2026-01-05T22:00:00Z", "2026-01-06 2026-01-08 2026-01-09"),
        ("2026-07-03T06:00+14:00", "2026-07-02 2026-07-06 2026-07-07"),
        ("2026-07-02T04:00-12:00", "2026-07-02 2026-07-06 2026-07-07"),
        # The days on which the clocks change are Sundays: 23 and 25 hours long, received on the Monday.
        ("2026-03-08", "2026-03-09 2026-03-11 2026-03-12"),
        ("2026-03-08T02:30", "2026-03-09 2026-03-11 2026-03-12"),
        ("2026-03-06T22:00Z", "2026-03-09 2026-03-11 2026-03-12"),  # Friday 17:00, still winter
        ("2026-03-06T21:59:59Z", "2026-03-06 2026-03-10 2026-03-11"),
        ("2026-03-09T20:59:59Z", "2026-03-09 2026-03-11 2026-03-12"),  # Monday, already summer
        ("2026-03-09T21:00Z", "2026-03-10 2026-03-12 2026-03-13"),
        ("2026-11-01T01:30", "2026-11-02 2026-11-04 2026-11-05"),
        ("2026-11-01T05:30Z", "2026-11-02 2026-11-04 2026-11-05"),
        ("2026-11-01T06:30Z", "2026-11-02 2026-11-04 2026-11-05"),
        ("2026-11-02T21:59:59Z", "2026-11-02 2026-11-04 2026-11-05"),
        ("2026-11-02T22:00Z", "2026-11-03 2026-11-05 2026-11-06"),
    ],
)
def test_when_a_payment_posts(paid_at: str, expected: str) -> None:
    assert " ".join(posted(paid_at)) == expected


def test_a_cutoff_on_the_very_days_the_clocks_change() -> None:
    """Sundays of 23 and 25 hours, on which the banks of Israel are open: three at night comes once on either."""
    rules = book(small(calendar='"IL"', posting='{ min_business_days = 0, max_business_days = 0, cutoff = "03:00" }'))
    for sunday, monday, instant in (
        ("2026-03-08", "2026-03-09", "2026-03-08T07:00:00+00:00"),
        ("2026-11-01", "2026-11-02", "2026-11-01T08:00:00+00:00"),
    ):
        just_before = datetime.fromisoformat(instant) - timedelta(microseconds=1)
        assert posted(just_before.isoformat(), rules) == (sunday, sunday, sunday)
        assert posted(instant, rules) == posted(f"{sunday}T03:00", rules) == (monday, monday, monday)


def test_a_posting_answer_says_by_which_rules_and_why() -> None:
    answer = service.posting(SHIPPED, posting_question({"state": "PA", "paid_at": "2026-07-02T16:00:00-04:00"}))
    assert list(answer) == [
        *("state", "timezone", "rulebook", "paid_at", "received_date", "posts_from_date", "posts_by_date"),
        *("calendar", "explanation"),
    ]
    assert (answer["state"], answer["timezone"], answer["calendar"]) == ("PA", "America/New_York", "XFED")
    assert answer["paid_at"] == datetime.fromisoformat("2026-07-02T16:00:00-04:00")
    assert answer["rulebook"] == service.versions(SHIPPED)
    assert answer["explanation"]["assumed"] is True
    assert answer["explanation"]["cite"].startswith("Producer Portal FAQ, eBill questions: 2-3 business days")


def test_a_posting_goes_by_the_calendar_that_the_state_names() -> None:
    rules = book(
        small(
            BANKS,
            section("states.OH", "generation = { days_before_due = 20 }", 'calendar = "BANKS"'),
            section("states.TX", "generation = { days_before_due = 20 }", 'calendar = "XNYS"'),
        )
    )
    found = {state: posted("2026-07-02", rules, state) for state in ("PA", "OH", "TX")}
    assert found == {
        "PA": ("2026-07-02", "2026-07-06", "2026-07-07"),
        "OH": ("2026-07-02", "2026-07-07", "2026-07-08"),  # closed on Mon 07-06
        "TX": ("2026-07-02", "2026-07-07", "2026-07-08"),  # the exchange is closed on Fri 07-03
    }


def test_a_posting_goes_by_the_zone_of_its_own_day() -> None:
    rules = book(small(row("states.PA", 'timezone = "America/Chicago"', since="2027-01")))
    for paid_at, zone, received in (
        ("2026-12-30T22:30Z", "America/New_York", "2026-12-31"),  # 17:30 there
        ("2027-01-06T22:30Z", "America/Chicago", "2027-01-06"),  # 16:30 there
        ("2027-01-06", "America/Chicago", "2027-01-06"),
    ):
        answer = service.posting(rules, posting_question({"state": "PA", "paid_at": paid_at}))
        assert (answer["timezone"], str(answer["received_date"])) == (zone, received)


def test_a_posting_question_after_an_unknown_state_is_refused() -> None:
    with pytest.raises(InvalidInput) as refusal:
        service.posting(SMALL, PostingQuestion("OH", date(2026, 7, 2)))
    assert [(fault.pointer, fault.detail) for fault in refusal.value.faults] == [
        ("/state", 'No state "OH" is configured; the configured states are PA.')
    ]


@pytest.mark.parametrize(
    ("paid_at", "answered"),
    [
        ("2000-01-01", True),
        ("2000-01-01T04:59Z", False),  # 1999-12-31 in New York
        ("2000-01-01T05:00Z", True),
        ("2000-01-01T12:00-05:00", True),
        ("2099-12-31", True),
        ("2099-12-31T23:59:59-05:00", True),
        ("2099-12-31T23:59:59-06:00", False),  # 2100-01-01 in New York
    ],
)
def test_a_payment_is_made_on_a_supported_local_day(paid_at: str, answered: bool) -> None:
    if answered:
        assert posted(paid_at)
        return
    with pytest.raises(InvalidInput) as refusal:
        posted(paid_at)
    assert [(fault.pointer, fault.detail) for fault in refusal.value.faults] == [
        ("/paid_at", "must be a local date from 2000-01-01 to 2099-12-31")
    ]


# Today


@pytest.mark.parametrize(
    ("zone", "instant", "local"),
    [
        ("America/New_York", "2026-08-03T03:59:59.999999+00:00", "2026-08-02"),
        ("America/New_York", "2026-08-03T04:00:00+00:00", "2026-08-03"),
        ("America/New_York", "2026-01-15T04:59:59+00:00", "2026-01-14"),
        ("America/New_York", "2026-01-15T05:00:00+00:00", "2026-01-15"),
        # The day that is 23 hours long, and the one that is 25.
        ("America/New_York", "2026-03-08T04:59:59+00:00", "2026-03-07"),
        ("America/New_York", "2026-03-08T05:00:00+00:00", "2026-03-08"),
        ("America/New_York", "2026-03-09T03:59:59+00:00", "2026-03-08"),
        ("America/New_York", "2026-03-09T04:00:00+00:00", "2026-03-09"),
        ("America/New_York", "2026-11-01T03:59:59+00:00", "2026-10-31"),
        ("America/New_York", "2026-11-01T04:00:00+00:00", "2026-11-01"),
        ("America/New_York", "2026-11-02T04:59:59+00:00", "2026-11-01"),
        ("America/New_York", "2026-11-02T05:00:00+00:00", "2026-11-02"),
        ("Pacific/Kiritimati", "2026-08-03T09:59:59+00:00", "2026-08-03"),
        ("Pacific/Kiritimati", "2026-08-03T10:00:00+00:00", "2026-08-04"),
        ("Etc/GMT+12", "2026-08-03T11:59:59+00:00", "2026-08-02"),
        ("Etc/GMT+12", "2026-08-03T12:00:00+00:00", "2026-08-03"),
        ("Asia/Kathmandu", "2026-08-03T18:14:59+00:00", "2026-08-03"),
        ("Asia/Kathmandu", "2026-08-03T18:15:00+00:00", "2026-08-04"),
        # An instant is the same whatever the offset it is told with.
        ("America/New_York", "2026-08-03T17:00:00+13:00", "2026-08-03"),
        ("America/New_York", "2026-08-03T16:59:59+13:00", "2026-08-02"),
        ("America/New_York", "2026-08-02T16:00:00-12:00", "2026-08-03"),
        ("America/New_York", "2027-01-01T04:59:59+00:00", "2026-12-31"),
    ],
)
def test_today_is_the_date_in_the_accounts_zone(zone: str, instant: str, local: str) -> None:
    rules = book(small(timezone=f'"{zone}"'))
    now = datetime.fromisoformat(instant)
    answer = service.answer(rules, {"state": "PA", "coverage_month": "2026-08"}, now)
    assert (str(answer["as_of"]), answer["timezone"]) == (local, zone)
    assert today(rules.life(Scope("PA")).timeline, now) == date.fromisoformat(local)


def test_the_standing_turns_at_local_midnight() -> None:
    """The grace of August ends with 2026-08-31 in New York."""
    for instant, expected in (
        (datetime(2026, 9, 1, 3, 59, 59, 999_999, tzinfo=UTC), "in_grace"),
        (datetime(2026, 9, 1, 4, tzinfo=UTC), "grace_expired"),
    ):
        answer = service.answer(SMALL, {"state": "PA", "coverage_month": "2026-08"}, instant)
        assert answer["invoices"][0]["standing"] == expected


def test_a_day_that_is_given_counts_and_not_today() -> None:
    answer = ask(SMALL, state="PA", coverage_month="2026-08", as_of="2026-07-11")
    assert (str(answer["as_of"]), answer["invoices"][0]["standing"]) == ("2026-07-11", "not_yet_invoiced")


def test_the_zone_is_that_of_the_day() -> None:
    rules = book(small(row("states.PA", 'timezone = "America/Chicago"', since="2027-01")))
    for as_of, zone in (("2026-12-31", "America/New_York"), ("2027-01-01", "America/Chicago")):
        assert ask(rules, state="PA", coverage_month="2026-08", as_of=as_of)["timezone"] == zone
    half_past_midnight = datetime(2027, 6, 15, 4, 30, tzinfo=UTC)  # in New York; half an hour to it in Chicago
    assert str(service.answer(rules, {"state": "PA", "coverage_month": "2026-08"}, half_past_midnight)["as_of"]) == (
        "2027-06-14"
    )


# Explanations


def test_each_date_is_explained_from_the_rule_to_the_day() -> None:
    """Section 3: the sentence of the rule, its layer, since when, on whose word, what moved it, the days skipped."""
    rules = book(
        small(
            row("states.PA", 'due = { day = 1, roll = "following" }', since="2026-05", cite="a letter",
                more="assumed = true\n"),
            row("states.PA", "grace_floor = { days = 31 }", since="2026-08", cite="40 P.S. 1"),
        )
    )  # fmt: skip
    given = [fixed(generation_date="2026-07-15", reason="the printer's holiday")]
    found = invoice(rules, "2026-08", explain=True, exceptions=given)
    why = found["explanation"]
    assert list(why) == list(DATE_NAMES)
    assert why["due_date"] == {
        "sentence": "the 1st of the coverage month, or the next business day",
        "layer": "state",
        "scope": "PA",
        "since": "2026-05",
        "cite": "a letter",
        "assumed": True,
        "moved": [
            {
                "by": "roll",
                "from": day("2026-08-01 Sat"),
                "to": day("2026-08-03 Mon"),
                "detail": "2026-08-01 is no business day of XFED: Saturday",
            }
        ],
        "skipped": [
            {"date": day("2026-08-01 Sat"), "reason": "Saturday"},
            {"date": day("2026-08-02 Sun"), "reason": "Sunday"},
        ],
    }
    assert [(move["by"], move["detail"]) for move in why["generation_date"]["moved"]] == [
        ("exception", "the printer's holiday")
    ]
    assert [move["by"] for move in why["grace_end_date"]["moved"]] == ["floor"]
    for name in ("generation_date", "due_date", "grace_end_date"):
        assert why[name]["moved"][-1]["to"] == found[name]
    assert (why["recommended_pay_by_date"]["layer"], why["recommended_pay_by_date"]["assumed"]) == ("default", False)


def test_what_does_not_exist_is_not_explained() -> None:
    found = invoice(SMALL, "2026-08", explain=True, last_coverage_month="2026-08")
    assert found["explanation"]["next_generation_date"] is None
    assert found["next_generation_date"] is None


# States


def test_the_configured_states_and_products_are_listed_by_code() -> None:
    found = service.states(SHIPPED)
    assert found["states"] == [
        {"code": "DE", "name": "Delaware"},
        {"code": "NY", "name": "New York"},
        {"code": "PA", "name": "Pennsylvania"},
        {"code": "WV", "name": "West Virginia"},
    ]
    assert found["products"] == [
        {"code": "aptc_individual", "name": "Individual coverage with advance premium tax credit"},
        {"code": "cobra", "name": "COBRA continuation coverage"},
        {"code": "medicare_part_d", "name": "Medicare Part D"},
    ]
    assert found["rulebook"] == service.versions(SHIPPED)
    assert service.states(SMALL)["products"] == []


CHANGING = book(
    small(
        row("states.PA", "grace = { days = 31 }", since="2020-01", cite="the old letter"),
        row("states.PA", "grace = { days = 32 }", since="2026-08", cite="a letter", more="assumed = true\n"),
        row("states.PA", "grace_floor = { days = 29 }", since="2020-01", cite="the old law"),
        row("states.PA", "grace_floor = { days = 30 }", since="2026-08", cite="a law"),
        row("states.PA", "due = { day = 5 }", since="2028-01", cite="the second letter to come"),
        row("states.PA", "due = { day = 3 }", since="2027-01", cite="the first letter to come"),
        section("products.cobra", "grace = { days = 40 }"),
    )
)


def test_a_state_tells_its_rules_in_force_and_to_come_with_their_citations() -> None:
    found = service.state(CHANGING, "PA", NOW)
    assert (found["code"], found["name"], found["coverage_month"]) == ("PA", "states.PA", "2026-08")
    assert found["rulebook"] == service.versions(CHANGING)
    in_force = {each["kind"]: each for each in found["in_force"]}
    assert list(in_force) == [
        *("due", "pay_by", "posting", "calendar", "timezone", "generation", "grace", "grace_floor"),
    ]  # fmt: skip
    assert len(found["in_force"]) == len(in_force)
    assert in_force["grace"] == {
        "kind": "grace",
        "since": "2026-08",
        "rule": {"days": 32},
        "sentence": "32 days after the due date",
        "layer": "state",
        "scope": "PA",
        "cite": "a letter",
        "assumed": True,
    }
    assert in_force["grace_floor"]["cite"] == "a law"
    assert in_force["due"] == {
        "kind": "due",
        "since": "2000-01",
        "rule": {"day": 1},
        "sentence": "the 1st of the coverage month",
        "layer": "default",
        "scope": "",
        "cite": "a test",
        "assumed": False,
    }
    assert [(each["since"], each["cite"]) for each in found["to_come"]] == [
        ("2027-01", "the first letter to come"),
        ("2028-01", "the second letter to come"),
    ]
    [cobra] = found["products"]
    assert (cobra["code"], cobra["name"]) == ("cobra", "products.cobra")
    assert [(rule["rule"], rule["layer"], rule["scope"]) for rule in cobra["rules"]] == [
        ({"days": 40}, "product", "cobra")
    ]


def test_what_is_in_force_is_what_the_current_month_is_billed_by() -> None:
    """The month turns at local midnight: at 04:00 UTC in August."""
    for instant, coverage_month, cite, to_come in (
        (datetime(2026, 8, 1, 3, 59, 59, tzinfo=UTC), "2026-07", "the old letter", 4),
        (datetime(2026, 8, 1, 4, tzinfo=UTC), "2026-08", "a letter", 2),
    ):
        found = service.state(CHANGING, "PA", instant)
        assert found["coverage_month"] == coverage_month
        assert [each["cite"] for each in found["in_force"] if each["kind"] == "grace"] == [cite]
        assert len(found["to_come"]) == to_come
        explained = invoice(CHANGING, coverage_month, explain=True)["explanation"]
        assert explained["grace_end_date"]["cite"] == cite


def test_a_state_to_come_has_nothing_in_force_of_its_own() -> None:
    rules = book(
        small(
            row("default", "grace = { days = 31 }", since="2026-12", cite="a longer grace to come"),
            '\n[states.OH]\nname = "Ohio"\n',
            row("states.OH", "generation = { days_before_due = 9 }", since="2027-01", cite="an opening"),
        )
    )
    found = service.state(rules, "OH", NOW)
    assert [each["kind"] for each in found["in_force"]] == [
        *("due", "grace", "pay_by", "posting", "calendar", "timezone"),
    ]  # fmt: skip
    assert [each["rule"] for each in found["in_force"] if each["kind"] == "grace"] == [{"days": 30}]
    assert [each["cite"] for each in found["to_come"]] == ["a longer grace to come", "an opening"]


def test_a_state_that_is_not_configured_has_no_rules() -> None:
    with pytest.raises(UnknownState, match=r'^No state "OH" is configured; the configured states are PA\.$'):
        service.state(SMALL, "OH", NOW)


# Versions


def test_every_answer_names_the_content_of_the_book_and_the_release_of_the_holidays() -> None:
    named = service.versions(SHIPPED)
    assert named == {"version": SHIPPED.version, "holidays": version("holidays")}
    assert named["version"].startswith("sha256:")
    other = book(edited(("days_before_due = 20", "days_before_due = 21")))
    assert service.versions(other)["version"] != named["version"]
    assert service.versions(book("# the same\n" + TEXT)) == named
    assert ask(SHIPPED, state="PA", coverage_month="2026-08")["rulebook"] == named
    assert service.state(SHIPPED, "PA", NOW)["rulebook"] == named


# What is kept for the next who asks


def test_a_drawn_invoice_is_the_same_again_and_stands_as_of_the_day_asked_for() -> None:
    rules = book(small())
    first = [invoice(rules, "2026-08", as_of=f"2026-08-{number:02}") for number in (1, 2, 31)]
    assert [each["standing"] for each in first] == ["invoiced", "in_grace", "in_grace"]
    assert invoice(rules, "2026-08", as_of="2026-08-01") == first[0]
    assert "explanation" not in invoice(rules, "2026-08")
    assert "explanation" in invoice(rules, "2026-08", explain=True)
    assert "explanation" not in invoice(rules, "2026-08")


def test_invoices_that_were_drawn_are_let_go_when_they_are_many_and_drawn_again() -> None:
    rules = book(small(row("states.PA", "skip_coverage_months = [7]")))
    life = rules.life(Scope("PA"))
    wanted = ask(rules, state="PA", **{"from": "2000-01", "months": 120})
    ask(rules, state="PA", **{"from": "2010-01", "months": 120})
    ask(rules, state="PA", **{"from": "2020-01", "months": 120})
    before = life.drawn
    assert len(before) > DRAWN_MOST
    ask(rules, state="PA", **{"from": "2030-01", "months": 120})
    assert len(life.drawn) == 120
    assert len(before) > DRAWN_MOST  # whoever was reading them has them still
    assert ask(rules, state="PA", **{"from": "2000-01", "months": 120}) == wanted


def test_a_rule_given_as_a_value_is_one_given_as_data() -> None:
    asked = Calculation("PA", month("2026-08"), 1, rules={"grace": GraceDays(45)})
    assert service.calculate(SMALL, asked, NOW)["invoices"] == [
        invoice(SMALL, "2026-08", rules={"grace": {"days": 45}})
    ]
    life = SMALL.life(Scope("PA", rows=entered("client", grace={"days": 45})))
    rows = life.rows(month("2026-08"), 1)
    assert dates(invoices(life, rows, NOW.date(), explained=False)[0]) == dates(
        invoice(SMALL, "2026-08", rules={"grace": {"days": 45}})
    )
