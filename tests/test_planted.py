"""The comparison with the oracle can fail: each fault that is planted in the core is found by it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from ebill import schedule
from ebill.dates import Calendar, Roll
from ebill.posting import latest_in_time
from ebill.rules import (
    DayOfMonth,
    DayRule,
    DaysBeforeDue,
    Due,
    GraceDays,
    GraceMonths,
    NthBusinessDay,
    NthWeekday,
    PayBy,
)
from ebill.schedule import DATE_NAMES
from ebill.service import invoices
from ebill.standing import STANDINGS
from tests import oracle
from tests.books import ask, book, small
from tests.strategies import DEFAULTS

Rules = dict[str, Any]


def differences(given: Rules) -> list[str]:
    """Ask for three years of dates and every standing around their borders, and name what the oracle has otherwise.

    The book is a new one: nothing is kept from before a fault was planted, nor after it was taken out again.
    """
    rulebook, rules = book(small()), {**DEFAULTS, **given}
    found = []
    for invoice in ask(rulebook, state="PA", rules=given, **{"from": "2026-01", "months": 36})["invoices"]:
        answered: Any = invoice
        coverage_month = invoice["coverage_month"]
        expected = oracle.invoice(rules, coverage_month)
        found += [
            f"{coverage_month} {name}: {answered[name]}, not {expected[name]}"
            for name in DATE_NAMES
            if answered[name] != expected[name]
        ]
    june = oracle.invoice(rules, "2026-06")
    for as_of in sorted({border + timedelta(days) for border in june.values() if border for days in (-1, 0, 1)}):
        body: Any = {"coverage_month": "2026-06", "as_of": as_of.isoformat()}
        [asked] = ask(rulebook, state="PA", rules=given, **body)["invoices"]
        if asked["standing"] != oracle.standing(june, as_of):
            found.append(f"{as_of} standing: {asked['standing']}, not {oracle.standing(june, as_of)}")
    return found


LATE: list[tuple[type[DayRule], Rules, str]] = [
    (Due, {}, "due_date"),
    (DaysBeforeDue, {}, "generation_date"),
    (DayOfMonth, {"generation": {"day_of_month": 12}}, "generation_date"),
    (NthWeekday, {"generation": {"weekday": "TH", "nth": 3}}, "generation_date"),
    (NthBusinessDay, {"generation": {"business_day": 5}}, "generation_date"),
    (GraceDays, {}, "grace_end_date"),
    (GraceMonths, {"grace": {"calendar_months": 2}}, "grace_end_date"),
    (PayBy, {}, "recommended_pay_by_date"),
]
ROLLED: Rules = {
    "due": {"day": 1, "roll": "following"},
    "generation": {"days_before_due": 20, "roll": "preceding"},
    "grace": {"days": 30, "roll": "modified_following"},
}
SKIPPED: Rules = {"skip_coverage_months": [7, 8, 12]}


def test_where_nothing_is_planted_nothing_differs() -> None:
    for given in ({}, ROLLED, SKIPPED, *(given for _, given, _ in LATE)):
        assert differences(given) == []


@pytest.mark.parametrize(("kind", "given", "name"), LATE, ids=[kind.__name__ for kind, _, _ in LATE])
def test_a_rule_that_is_a_day_late_is_found(
    kind: type[DayRule], given: Rules, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert differences(given) == []
    on_time = kind.unrolled
    monkeypatch.setattr(kind, "unrolled", lambda rule, origin, calendar: on_time(rule, origin, calendar) + 1)
    found = differences(given)
    assert sum(name in line for line in found) >= 36


@pytest.mark.parametrize(
    ("roll", "other", "name"),
    [
        ("following", "preceding", "due_date"),
        ("preceding", "following", "generation_date"),
        ("modified_following", "following", "grace_end_date"),
        ("modified_following", "preceding", "grace_end_date"),
    ],
)
def test_a_roll_the_wrong_way_is_found(roll: Roll, other: Roll, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert differences(ROLLED) == []
    right = Calendar.roll
    monkeypatch.setattr(Calendar, "roll", lambda self, days, way: right(self, days, other if way == roll else way))
    assert [line for line in differences(ROLLED) if name in line]


def test_a_next_invoice_that_is_taken_for_that_of_the_next_month_though_skipped_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The horizon is the next month that is billed: after June that is September."""
    assert differences(SKIPPED) == []

    def of_next_month(_: Any, column: Any) -> Any:
        empty = column[:1].copy()
        empty[:] = False if column.dtype == bool else np.datetime64("NaT", "D")
        return np.concatenate([column[1:], empty])

    monkeypatch.setattr(schedule, "_of_next", of_next_month)
    found = [line.split()[0] for line in differences(SKIPPED) if "next_generation_date" in line]
    assert found == [f"{year}-{number}" for year in (2026, 2027, 2028) for number in ("06", "11")]
    assert differences({}) == []  # which a comparison without skipped months would miss


def standing_by(
    is_generated: Callable[..., Any], is_past_due: Callable[..., Any], is_past_grace: Callable[..., Any]
) -> Any:
    """Stand by these comparisons in place of those of the specification."""

    def standing(generation: Any, due: Any, grace_end: Any, as_of: Any) -> Any:
        return is_generated(as_of, generation).astype(int) + is_past_due(as_of, due) + is_past_grace(as_of, grace_end)

    return standing


@pytest.mark.parametrize(
    ("comparisons", "found"),
    [
        ((np.greater_equal, np.greater, np.greater), []),
        ((np.greater, np.greater, np.greater), ["2026-05-12 standing: not_yet_invoiced, not invoiced"]),
        ((np.greater_equal, np.greater_equal, np.greater), ["2026-06-01 standing: in_grace, not invoiced"]),
        ((np.greater_equal, np.greater, np.greater_equal), ["2026-07-01 standing: grace_expired, not in_grace"]),
    ],
    ids=["none", "generation", "due", "grace end"],
)
def test_a_border_that_is_a_day_off_in_standing_is_found(
    comparisons: Any, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`<` for `<=`: on the border itself, and on no other day."""
    monkeypatch.setattr(invoices, "standing", standing_by(*comparisons))
    assert differences({}) == found
    assert STANDINGS[:4] == ("not_yet_invoiced", "invoiced", "in_grace", "grace_expired")


def test_a_safe_pay_by_date_that_is_a_day_late_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "latest_in_time", lambda *given: latest_in_time(*given) + 1)
    assert sum("safe_pay_by_date" in line for line in differences({})) == 36
