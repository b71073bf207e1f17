"""Why a date is what it is, read off the very values that computed it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Final, TypedDict

import numpy as np

from ebill.dates import Calendar, as_date, last_of, month_of
from ebill.rulebook import InForce, Life, Row
from ebill.rules import Kind, NthBusinessDay, PayBy, Posting, Rule
from ebill.schedule import DateName, Step, Terms

Move = TypedDict("Move", {"by": Step, "from": date | None, "to": date, "detail": str})
"""What moved a date after its rule had given it."""


class Closed(TypedDict):
    """A day that is no business day, and why."""

    date: date
    reason: str


class Explanation(TypedDict):
    """Why one date is what it is.

    The rule in words, at which layer (and of what in it), governing since when and on whose word; what moved the date
    after that; and the closed days passed over on the way.
    """

    sentence: str
    layer: str
    scope: str
    since: str
    cite: str
    assumed: bool
    moved: list[Move]
    skipped: list[Closed]


KIND_OF: Final[dict[DateName, Kind]] = {
    "generation_date": "generation",
    "due_date": "due",
    "grace_end_date": "grace",
    "next_generation_date": "generation",
    "recommended_pay_by_date": "pay_by",
    "safe_pay_by_date": "posting",
}


def explain(life: Life, row: int) -> dict[DateName, Explanation | None]:
    """Explain every date of a billed row; None for the next generation where there is no next invoice."""
    return {name: _explain(life, row, name) for name in KIND_OF}


def sourced(row: Row, sentence: str, moved: list[Move], skipped: list[Closed]) -> Explanation:
    """Put a sentence beside where its rule came from."""
    return {
        "sentence": sentence,
        "layer": row.layer,
        "scope": row.scope,
        "since": str(row.since),
        "cite": row.cite,
        "assumed": row.assumed,
        "moved": moved,
        "skipped": skipped,
    }


def closed(calendar: Calendar, first: date, last: date) -> list[Closed]:
    """Give the closed days from `first` to `last`, both inclusive."""
    return [{"date": day, "reason": reason} for day, reason in calendar.closed_days(first, last)]


def _explain(life: Life, row: int, name: DateName) -> Explanation | None:
    dates = life.schedule
    if name == "next_generation_date":
        if not dates.has_next[row]:
            return None
        return _explain(life, row + 1 + int(np.argmax(dates.billed[row + 1 :])), "generation_date")
    stretch, terms = life.at(row)
    if name == "safe_pay_by_date":
        paid_in = np.datetime64(as_date(dates.trails[name].days[row]), "M")
        stretch, terms = life.timeline.at(paid_in), life.timeline.terms(paid_in)
    source = stretch.rows[KIND_OF[name]]
    sentence = str(source.rule)
    if name == "safe_pay_by_date":
        sentence = f"the latest day whose payment, made before the cut-off, posts before the next invoice: {sentence}"
    moved = list(_moves(life, row, name, stretch, terms))
    skipped = [
        day for first, last in _passed_over(life, row, name, source.rule) for day in closed(terms.calendar, first, last)
    ]
    for move in moved:
        if move["by"] == "roll" and move["from"]:
            skipped += closed(terms.calendar, *sorted((move["from"], move["to"])))
    return sourced(source, sentence, moved, skipped)


def _moves(life: Life, row: int, name: DateName, stretch: InForce, terms: Terms) -> Iterator[Move]:
    """Give the steps that moved a date, in their order; each begins where the one before ended."""
    for (_, before), (step, after) in pairwise(life.schedule.trails[name].steps):
        origin, day = before[row].item(), after[row].item()
        if origin == day:
            continue
        match step:
            case "roll":
                detail = f"{origin} is no business day of {terms.calendar.name}: {terms.calendar.why_closed(origin)}"
            case "exception":
                detail = life.schedule.fixed[row].reason
            case "floor":
                due = life.schedule.trails["due_date"].days[row : row + 1]
                ends = [as_date(grace.apply(due, terms.calendar)[0]) for grace in terms.floors]
                reached = [floor for floor, end in zip(stretch.floors, ends, strict=True) if end == day]
                detail = "; ".join(f"{floor.rule} ({floor.cite})" for floor in reached)
            case _:
                detail = "no next invoice: the due date"
        yield {"by": step, "from": origin, "to": day, "detail": detail}


def _passed_over(life: Life, row: int, name: DateName, rule: Rule) -> Iterator[tuple[date, date]]:
    """Give the first and the last of the days among which the rule itself counted business days, if it did."""
    trails = life.schedule.trails
    ruled = trails[name].steps[0][1][row : row + 1]
    day: date | None = ruled[0].item()
    if day is None:
        return
    match rule:
        case NthBusinessDay(business_day=nth):
            yield (day.replace(day=1), day) if nth > 0 else (day, as_date(last_of(month_of(ruled))[0]))
        case Posting() | PayBy(unit="business"):
            yield day, as_date(trails["next_generation_date"].days[row]) - timedelta(days=1)
        case _:
            pass
