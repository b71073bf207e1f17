"""An explanation says where each date came from, and re-running its steps gives the date."""

import random
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, cast

import pytest

from ebill.explain import KIND_OF, Explanation, explain
from ebill.rulebook import Life, Row, RuleBook, Scope, Timeline
from ebill.schedule import DATE_NAMES, DateName, FixedDates
from tests import oracle, strategies
from tests.books import TEXT, book, entered, invoice, month, row, section, small
from tests.strategies import Case, draw_case

BASE = small()
ROLLED_DUE = {"due": '{ day = 1, roll = "following" }'}


def explained(rules: RuleBook, coverage_month: str, state: str = "PA", **scope: Any) -> dict[DateName, Explanation]:
    """Explain the dates of one invoice; none may be missing."""
    life = rules.life(Scope(state, **scope))
    found = explain(life, life.rows(month(coverage_month), 1).start)
    return {name: explanation for name, explanation in found.items() if explanation}


def moves(explanation: Explanation) -> list[tuple[str, str, str, str]]:
    return [(move["by"], str(move["from"]), str(move["to"]), move["detail"]) for move in explanation["moved"]]


def skipped(explanation: Explanation) -> list[tuple[str, str]]:
    return [(str(closed["date"]), closed["reason"]) for closed in explanation["skipped"]]


def fixed(coverage_month: str, reason: str, **days: str) -> FixedDates:
    given: Any = {name: date.fromisoformat(day) for name, day in days.items()}
    return FixedDates(month(coverage_month), reason, **given)


# Where it came from


def test_every_date_is_explained_in_the_order_of_an_invoices_life() -> None:
    assert list(explained(book(TEXT), "2026-08")) == list(DATE_NAMES)
    assert list(invoice(book(TEXT), "2026-08", explain=True)["explanation"]) == list(DATE_NAMES)
    assert "explanation" not in invoice(book(TEXT), "2026-08")


FAQ = "Producer Portal FAQ, eBill questions: "
HOUSE = ("default", "", "2000-01")
STATE = ("state", "PA", "2000-01")
SAFE = "the latest day whose payment, made before the cut-off, posts before the next invoice"
POSTS = "2 to 3 business days after it is received; from 17:00 local time on, the next business day receives it"


@pytest.mark.parametrize(
    ("name", "sentence", "source", "cite", "assumed"),
    [
        ("generation_date", "20 days before the due date", STATE, "House assumption: a set number of days", True),
        ("due_date", "the 1st of the coverage month", HOUSE, f"{FAQ}premium is due on or before the 1st", False),
        ("grace_end_date", "30 days after the due date", HOUSE, f"{FAQ}30-day grace period", False),
        ("next_generation_date", "20 days before the due date", STATE, "House assumption: a set number", True),
        (
            "recommended_pay_by_date",
            "3 calendar days before the next invoice is generated",
            HOUSE,
            f"{FAQ}pay three days before",
            False,
        ),
        (
            "safe_pay_by_date",
            f"{SAFE}: {POSTS}",
            HOUSE,
            f"{FAQ}2-3 business days",
            True,
        ),
    ],
)
def test_a_date_names_its_rule_and_on_whose_word(
    name: DateName, sentence: str, source: tuple[str, str, str], cite: str, assumed: bool
) -> None:
    explanation = explained(book(TEXT), "2026-08")[name]
    assert explanation["sentence"] == sentence
    assert (explanation["layer"], explanation["scope"], explanation["since"]) == source
    assert explanation["cite"].startswith(cite)
    assert explanation["assumed"] is assumed
    assert explanation["moved"] == []


@pytest.mark.parametrize("layer", ["client", "bill_account"])
def test_a_date_names_the_layer_that_won(layer: Any) -> None:
    rows = entered(layer, since="2026-08", assumed=True, grace={"days": 45})
    rules = book(small(section("products.cobra", "grace = { days = 32 }")))
    before, after = (explained(rules, m, product="cobra", rows=rows)["grace_end_date"] for m in ("2026-07", "2026-08"))
    assert (before["layer"], before["scope"], before["since"], before["assumed"]) == (
        "product",
        "cobra",
        "2000-01",
        False,
    )
    assert (after["layer"], after["since"], after["assumed"]) == (layer, "2026-08", True)


def test_the_next_generation_is_explained_by_the_rules_of_the_next_month_that_is_billed() -> None:
    rules = book(BASE + row("states.PA", "generation = { day_of_month = -8 }", since="2026-08", cite="a letter"))
    next_one = explained(rules, "2026-06", rows=entered("client", skip_coverage_months=[7, 8]))["next_generation_date"]
    assert (next_one["sentence"], next_one["since"]) == (
        "the latest 8th to last day of a month, before the due date",
        "2026-08",
    )
    assert next_one == explained(rules, "2026-09")["generation_date"]


def test_a_pay_by_date_is_explained_by_the_posting_of_its_own_month() -> None:
    slow = 'posting = { min_business_days = 5, max_business_days = 7, cutoff = "12:00" }'
    rules = book(BASE + row("states.PA", slow, since="2026-08", cite="a letter"))
    dates = invoice(rules, "2026-08")
    assert str(dates["safe_pay_by_date"]) == "2026-07-31"
    assert explained(rules, "2026-08")["safe_pay_by_date"]["cite"] == "a test"
    assert explained(rules, "2026-09")["safe_pay_by_date"]["cite"] == "a letter"


# What moved it


@pytest.mark.parametrize(
    ("roll", "coverage_month", "move", "closed"),
    [
        ("following", "2026-08", ("2026-08-01", "2026-08-03", "Saturday"), ["2026-08-01", "2026-08-02"]),
        ("preceding", "2026-08", ("2026-08-01", "2026-07-31", "Saturday"), ["2026-08-01"]),
        ("modified_following", "2026-08", ("2026-08-01", "2026-08-03", "Saturday"), ["2026-08-01", "2026-08-02"]),
        ("following", "2026-01", ("2026-01-01", "2026-01-02", "New Year's Day"), ["2026-01-01"]),
    ],
)
def test_a_roll_is_told_with_the_days_it_passed_over(
    roll: str, coverage_month: str, move: tuple[str, str, str], closed: list[str]
) -> None:
    due = explained(book(small(due=f'{{ day = 1, roll = "{roll}" }}')), coverage_month)["due_date"]
    origin, day, why = move
    assert moves(due) == [("roll", origin, day, f"{origin} is no business day of XFED: {why}")]
    assert [day for day, _ in skipped(due)] == closed


def test_a_roll_back_into_the_month_is_told() -> None:
    due = explained(book(small(due='{ day = -1, roll = "modified_following" }', grace="{ days = 40 }")), "2026-05")[
        "due_date"
    ]
    assert moves(due) == [("roll", "2026-05-31", "2026-05-29", "2026-05-31 is no business day of XFED: Sunday")]
    assert skipped(due) == [("2026-05-30", "Saturday"), ("2026-05-31", "Sunday")]


def test_a_roll_that_moved_nothing_is_not_told() -> None:
    due = explained(book(small(**ROLLED_DUE)), "2026-09")["due_date"]
    assert (moves(due), skipped(due)) == ([], [])
    assert due["sentence"] == "the 1st of the coverage month, or the next business day"


def test_a_closure_is_told_with_its_reason() -> None:
    storm = (
        '\n[calendars.BANKS]\nname = "Banks"\nholidays = "XFED"\nclosures = [{ date = 2026-08-03, reason = "storm" }]\n'
    )
    due = explained(book(small(storm, calendar='"BANKS"', **ROLLED_DUE)), "2026-08")["due_date"]
    assert moves(due) == [("roll", "2026-08-01", "2026-08-04", "2026-08-01 is no business day of BANKS: Saturday")]
    assert skipped(due) == [("2026-08-01", "Saturday"), ("2026-08-02", "Sunday"), ("2026-08-03", "storm")]


def test_an_exception_is_told_after_the_roll_and_with_its_reason() -> None:
    given = (fixed("2026-08", "the printer's holiday", due_date="2026-08-06"),)
    found = explained(book(small(**ROLLED_DUE)), "2026-08", exceptions=given)
    assert moves(found["due_date"]) == [
        ("roll", "2026-08-01", "2026-08-03", "2026-08-01 is no business day of XFED: Saturday"),
        ("exception", "2026-08-03", "2026-08-06", "the printer's holiday"),
    ]
    assert moves(found["generation_date"]) == []


def test_an_exception_of_the_next_month_is_told_of_the_next_generation() -> None:
    given = (fixed("2026-09", "a letter", generation_date="2026-08-14"),)
    found = explained(book(BASE), "2026-08", exceptions=given)
    assert moves(found["next_generation_date"]) == [("exception", "2026-08-12", "2026-08-14", "a letter")]
    assert moves(found["recommended_pay_by_date"]) == []


def test_an_exception_that_fixes_what_was_computed_moved_nothing() -> None:
    given = (fixed("2026-08", "to be sure", due_date="2026-08-01"),)
    assert moves(explained(book(BASE), "2026-08", exceptions=given)["due_date"]) == []


def test_a_floor_is_told_and_only_the_one_that_was_reached() -> None:
    rules = book(
        small(
            row("states.PA", "grace_floor = { days = 31 }", since="2026-08", cite="40 P.S. 1"),
            '\n[products.cobra]\nname = "COBRA"\n',
            row("products.cobra", "grace_floor = { calendar_months = 2 }", cite="a federal one"),
        )
    )
    assert moves(explained(rules, "2026-07")["grace_end_date"]) == []
    state, product = (explained(rules, "2026-08", product=name)["grace_end_date"] for name in (None, "cobra"))
    assert moves(state) == [
        ("floor", "2026-08-31", "2026-09-01", "never before 31 days after the due date (40 P.S. 1)")
    ]
    assert [(by, day) for by, _, day, _ in moves(product)] == [("floor", "2026-09-30")]
    assert moves(product)[0][3].endswith("(a federal one)")
    assert "40 P.S. 1" not in moves(product)[0][3]


def test_floors_reached_together_are_both_told() -> None:
    text = small(
        row("states.PA", "grace_floor = { days = 31 }", cite="one"),
        '\n[products.cobra]\nname = "COBRA"\n',
        row("products.cobra", 'grace_floor = { days = 32, counting = "from_due" }', cite="two"),
    )
    [(_, _, _, detail)] = moves(explained(book(text), "2026-08", product="cobra")["grace_end_date"])
    assert detail == (
        "never before 31 days after the due date (one); never before 32 days counted with the due date as day 1 (two)"
    )


def test_without_a_next_invoice_the_pay_by_dates_are_the_due_date() -> None:
    found = explained(book(BASE), "2026-08", last_coverage_month=month("2026-08"))
    assert "next_generation_date" not in found
    for name in ("recommended_pay_by_date", "safe_pay_by_date"):
        assert moves(found[name]) == [("no_next_invoice", "None", "2026-08-01", "no next invoice: the due date")]
        assert skipped(found[name]) == []


# Which days were passed over in counting


@pytest.mark.parametrize(
    ("business_day", "day", "closed"),
    [
        (4, "2026-07-06", ["2026-07-04", "2026-07-05"]),
        (-2, "2026-07-30", []),
        (1, "2026-07-01", []),
        (-15, "2026-07-13", ["2026-07-18", "2026-07-19", "2026-07-25", "2026-07-26"]),
    ],
)
def test_counting_business_days_of_a_month_tells_the_closed_ones(
    business_day: int, day: str, closed: list[str]
) -> None:
    rows = entered("client", generation={"business_day": business_day})
    generation = explained(book(BASE), "2026-08", rows=rows)["generation_date"]
    assert (
        str(invoice(book(BASE), "2026-08", rules={"generation": {"business_day": business_day}})["generation_date"])
        == day
    )
    assert [day for day, _ in skipped(generation)] == closed


def test_an_exception_does_not_change_which_days_the_rule_counted() -> None:
    given = (fixed("2026-08", "a letter", generation_date="2026-06-29"),)
    rows = entered("client", generation={"business_day": 4})
    generation = explained(book(BASE), "2026-08", rows=rows, exceptions=given)["generation_date"]
    assert [(by, origin) for by, origin, _, _ in moves(generation)] == [("exception", "2026-07-06")]
    assert skipped(generation) == [("2026-07-04", "Independence Day"), ("2026-07-05", "Sunday")]


def test_paying_by_business_days_tells_the_closed_ones() -> None:
    rules = book(small(pay_by='{ days_before_next_invoice = 3, unit = "business" }'))
    found = explained(rules, "2026-08")  # the next invoice is generated on Wednesday 2026-08-12
    assert str(invoice(rules, "2026-08")["recommended_pay_by_date"]) == "2026-08-07"
    assert [day for day, _ in skipped(found["recommended_pay_by_date"])] == ["2026-08-08", "2026-08-09"]
    assert [day for day, _ in skipped(found["safe_pay_by_date"])] == ["2026-08-08", "2026-08-09"]


def test_counting_calendar_days_passes_nothing_over() -> None:
    found = explained(book(BASE), "2026-08")
    assert all(not skipped(found[name]) for name in DATE_NAMES if name != "safe_pay_by_date")


# Property: re-running the steps gives the answer


def drawn_life(case: Case) -> Life:
    """Put the drawn rows into force, each with a citation of its own."""
    rows = [
        Row(month(r.since), strategies.rule(r.kind, r.rule), f"row {index}", r.layer, recorded=index)  # type: ignore[arg-type]
        for index, r in enumerate(case.rows)
    ]
    begins, ends = (name and month(name) for name in (case.first_coverage_month, case.last_coverage_month))
    scope = Scope("PA", first_coverage_month=begins or None, last_coverage_month=ends or None)
    return Life(Timeline(rows, strategies.calendar), case.schedule(), scope)


def closed_days(first: date, last: date, calendar: str) -> list[date]:
    days = (first + timedelta(offset) for offset in range((last - first).days + 1))
    return [day for day in days if not oracle.is_business_day(day, calendar)]


STEPS = ("roll", "exception", "floor", "no_next_invoice")


class Rerun:
    """Walks through the explanations of one invoice with the oracle's rules, as they were written."""

    def __init__(self, case: Case, coverage_month: str, dates: Mapping[DateName, date | None]) -> None:
        self.case, self.dates = case, dates
        self.month, self.in_force = coverage_month, case.in_force(coverage_month)
        self.has_next = dates["next_generation_date"] is not None

    def day(self, name: DateName) -> date:
        day = self.dates[name]
        assert day is not None
        return day

    def rules(self, name: DateName) -> Any:
        """Give the rules in force for a date: the safe pay-by date goes by its own month."""
        if name == "safe_pay_by_date":
            return self.case.in_force(oracle.name_of(oracle.month_of(self.day(name))))
        return self.in_force

    def rule(self, name: DateName, explanation: Explanation) -> Any:
        """Give the rule that is cited; it must be the one in force."""
        cited = self.case.rows[int(explanation["cite"].removeprefix("row "))]
        assert (cited.kind, cited.layer, cited.since) == (KIND_OF[name], explanation["layer"], explanation["since"])
        assert cited.rule == self.rules(name)[cited.kind]
        return cited.rule

    def begin(self, name: DateName, rule: Any) -> date | None:
        """Apply the rule, without its roll."""
        rule, calendar = {**rule, "roll": "none"}, self.rules(name)["calendar"]
        if name == "due_date":
            return oracle.due_date(rule, oracle.month_called(self.month), calendar)
        if name == "generation_date":
            return oracle.generation_date(rule, self.day("due_date"), calendar)
        if name == "grace_end_date":
            return oracle.grace_end_date(rule, self.day("due_date"), calendar)
        if not self.has_next:
            return None
        if name == "recommended_pay_by_date":
            return oracle.recommended_pay_by_date(rule, self.day("next_generation_date"), calendar)
        return oracle.safe_pay_by_date(self.case.in_force, self.day("next_generation_date"))

    def could(self, step: str, name: DateName) -> bool:
        """Tell whether a step was there to be taken."""
        pay_by = name.endswith("pay_by_date")
        return {
            "roll": name != "safe_pay_by_date" and (self.has_next or not pay_by),
            "exception": name in self.case.exceptions.get(self.month, {}),
            "floor": name == "grace_end_date" and bool(self.in_force["floors"]),
            "no_next_invoice": pay_by and not self.has_next,
        }[step]

    def step(self, step: str, name: DateName, day: date | None, rule: Any) -> date:
        """Take a step from a day."""
        calendar = self.rules(name)["calendar"]
        if step == "exception":
            return cast(date, self.case.exceptions[self.month][name])
        if step == "no_next_invoice":
            return self.day("due_date")
        assert day
        if step == "roll":
            return oracle.rolled(day, rule, calendar)
        floors = self.in_force["floors"].values()
        return max(day, *(oracle.grace_end_date(floor, self.day("due_date"), calendar) for floor in floors))

    def passed_over(self, name: DateName, rule: Any, explanation: Explanation) -> list[date]:
        """Give the closed days on the way."""
        calendar, day = self.rules(name)["calendar"], self.begin(name, rule)
        found: list[date] = []
        if day and (name == "safe_pay_by_date" or rule.get("unit") == "business"):
            found += closed_days(day, self.day("next_generation_date") - timedelta(days=1), calendar)
        if day and "business_day" in rule:
            days = oracle.days_of(oracle.month_of(day))
            found += closed_days(*((days[0], day) if rule["business_day"] > 0 else (day, days[-1])), calendar)
        for move in explanation["moved"]:
            if move["by"] == "roll" and move["from"]:
                found += closed_days(min(move["from"], move["to"]), max(move["from"], move["to"]), calendar)
        return found

    def check(self, name: DateName, explanation: Explanation) -> list[str]:
        """Re-run the steps of one date, and tell which moved it."""
        rule = self.rule(name, explanation)
        day = self.begin(name, rule)
        told = {str(move["by"]): move for move in explanation["moved"]}
        assert list(told) == [step for step in STEPS if step in told]
        for step in STEPS:
            reached = self.step(step, name, day, rule) if self.could(step, name) else day
            assert (step in told) == (reached != day)
            if step in told:
                assert (told[step]["from"], told[step]["to"]) == (day, reached)
            day = reached
        assert day == self.day(name)
        assert [closed["date"] for closed in explanation["skipped"]] == self.passed_over(name, rule, explanation)
        return list(told)


def rerun(seed: int) -> list[str]:
    """Re-run the explanations of a drawn account, and tell which steps there were."""
    case = draw_case(random.Random(seed), 12)  # noqa: S311  # no secret
    life = drawn_life(case)
    taken: list[str] = []
    for index, name in enumerate(case.months()):
        if not life.schedule.billed[index] or life.schedule.unknown[index]:
            continue
        dates = {key: column[0] for key, column in life.columns(slice(index, index + 1)).items()}
        explanations = explain(life, index)
        this = Rerun(case, name, dates)
        for key, explanation in explanations.items():
            if key == "next_generation_date":
                assert (explanation is None) == (dates[key] is None)
                continue
            assert explanation
            taken += this.check(key, explanation)
        following = explanations["next_generation_date"]
        if following:
            after = next(i for i in range(index + 1, len(life.schedule.billed)) if life.schedule.billed[i])
            assert following == explain(life, after)["generation_date"]
    return taken


@pytest.mark.parametrize("seed", range(60))
def test_rerunning_the_steps_of_an_explanation_gives_the_answer(seed: int) -> None:
    rerun(seed)


def test_the_explanations_that_are_rerun_have_every_step() -> None:
    taken = [step for seed in range(20) for step in rerun(seed)]
    assert all(taken.count(step) > 5 for step in STEPS)
