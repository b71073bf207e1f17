"""THE RULES of an invoice's life, in their order.

`schedule` gives every date of many coverage months at once. Each column of days keeps the steps it went through,
so that an explanation is read off the very values that computed the date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, cast, get_args

import numpy as np
import numpy.typing as npt

from ebill.dates import (
    DAY,
    NO_DAY,
    Calendar,
    Days,
    Flags,
    Months,
    as_date,
    as_days,
    first_of,
    months_from,
)
from ebill.errors import DatesOutOfOrder, ExceptionTooFar, NotBilled, OutsideCalendar
from ebill.posting import latest_in_time
from ebill.rules import DayRule, Due, Generation, Grace, PayBy, Posting

Step = Literal["rule", "roll", "exception", "floor", "no_next_invoice"]
DateName = Literal[
    "generation_date",
    "due_date",
    "grace_end_date",
    "next_generation_date",
    "recommended_pay_by_date",
    "safe_pay_by_date",
]
FixedName = Literal["generation_date", "due_date", "grace_end_date"]
DATE_NAMES: Final[tuple[DateName, ...]] = get_args(DateName)
FIXED_NAMES: Final[tuple[FixedName, ...]] = get_args(FixedName)

LOOK_AHEAD: Final = 24
"""Months computed past the last one asked for, to find its next invoice: no dated skips can hide more than 23."""
EXCEPTION_LIMIT: Final = 62
"""How many days a fixed date may lie from the computed one."""


class Terms(NamedTuple):
    """The rules in force for a stretch of coverage months, their calendar bound."""

    due: Due
    generation: Generation
    grace: Grace
    pay_by: PayBy
    posting: Posting
    calendar: Calendar
    skip_coverage_months: tuple[int, ...] = ()
    floors: tuple[Grace, ...] = ()


class Span(NamedTuple):
    """Terms, and the first coverage month they govern; they hold until the next span."""

    first: np.datetime64
    terms: Terms


class Way(NamedTuple):
    """What payments post under, and the first month they do; it holds until the next way."""

    first: np.datetime64
    posting: Posting
    calendar: Calendar


class FixedDates(NamedTuple):
    """An exception: one coverage month whose invoice carries fixed dates, and why.

    Where the month has no invoice it is refused, or with `if_billed` without effect. One that is `settled` was good
    when it was entered: what came to be different since does not make it refused.
    """

    coverage_month: np.datetime64
    reason: str
    generation_date: date | None = None
    due_date: date | None = None
    grace_end_date: date | None = None
    if_billed: bool = False
    settled: bool = False


class Trail:
    """A column of days, and the steps it went through to get there; only steps that may have moved a day are kept."""

    def __init__(self, step: Step, days: Days) -> None:
        self.steps: list[tuple[Step, Days]] = [(step, days)]

    @property
    def days(self) -> Days:
        """The days after the last step."""
        return self.steps[-1][1]

    def before(self, step: Step) -> Days:
        """Give the days just before a step that was taken."""
        return self.steps[[taken for taken, _ in self.steps].index(step) - 1][1]

    def moved_by(self, step: Step) -> Flags:
        """Tell which days a step moved."""
        moved = np.zeros(self.days.shape, bool)
        for (_, before), (taken, after) in pairwise(self.steps):
            if taken == step:
                moved |= before != after
        return moved

    def then(self, step: Step, days: Days) -> Trail:
        """Go on to new days of the same shape."""
        if days is not self.days:
            self.steps.append((step, days))
        return self


Parts = Sequence[tuple[slice, Terms]]
"""Which months are under which terms, in their order, without a gap."""
Cells = dict[FixedName, tuple[tuple[npt.NDArray[np.intp], ...], Days]]
"""Fixed dates: the index of each in its column, and the day."""


class Dates(NamedTuple):
    """A column for each date; which months have an invoice after them, and when that is due."""

    trails: Mapping[DateName, Trail]
    has_next: Flags
    next_due: Days


@dataclass(frozen=True)
class Schedule:
    """The dates of consecutive coverage months, one row each, from `first`.

    `trails` hold a column for each date, `billed` the rows that have an invoice, `has_next` those with one after
    them; `fixed` the exceptions by row, that of a next invoice beyond the last row too. In a row without an invoice
    the dates mean nothing. NaT stands where the calendar has no evidence, and in
    `next_generation_date` where there is no next invoice.
    """

    first: np.datetime64
    count: int
    spans: tuple[Span, ...]
    billed: Flags
    has_next: Flags
    next_due: Days
    trails: Mapping[DateName, Trail]
    fixed: Mapping[int, FixedDates] = field(default_factory=dict)

    @property
    def months(self) -> Months:
        """The coverage months, shape (count,)."""
        return months_from(self.first, self.count)

    def days(self, name: DateName) -> Days:
        """Give a column of days, shape (count,)."""
        return self.trails[name].days[: self.count]

    def moved_by(self, step: Step, name: DateName) -> Flags:
        """Tell in which rows a step moved a date, shape (count,)."""
        return self.trails[name].moved_by(step)[: self.count]

    def row(self, month: np.datetime64) -> int:
        """Give the row of a coverage month."""
        return cast(int, (month - self.first).item())

    @cached_property
    def unknown(self) -> Flags:
        """The billed rows of which some date is beyond the calendar."""
        unknown = np.zeros(self.count, bool)
        for name in self.trails:
            expected = self.has_next if name == "next_generation_date" else self.billed
            unknown |= expected[: self.count] & np.isnat(self.days(name))
        return unknown

    @cached_property
    def _unknown_rows(self) -> list[int]:
        return np.flatnonzero(self.unknown).tolist()

    def refuse_unknown(self, rows: slice) -> None:
        """Raise OutsideCalendar where a billed row of the slice has a date that the calendar does not know."""
        row = next((row for row in self._unknown_rows if rows.start <= row < rows.stop), None)
        if row is None:
            return
        expected = {"next_generation_date": self.has_next[row]}
        name = next(n for n in self.trails if np.isnat(self.days(n)[row]) and expected.get(n, True))
        calendar = terms_of(self.spans, self.first + row).calendar
        raise OutsideCalendar(calendar.name, str(self.first + row), name, calendar.first, calendar.last)

    def refuse_disorder(self) -> None:
        """Raise DatesOutOfOrder for the first billed month that breaks generation < due <= grace end."""
        generation, due, grace_end = (self.days(name) for name in FIXED_NAMES)
        wrong = self.billed[: self.count] & ((generation >= due) | (due > grace_end))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DatesOutOfOrder(
                str(self.first + row),
                *(as_date(days[row]) for days in (generation, due, grace_end)),
            )

    def refuse_far_exceptions(self) -> None:
        """Raise for an exception of a month without an invoice, or too far from the date the rules give."""
        for row, fixed in self.fixed.items():
            if not self.billed[row]:
                if fixed.if_billed:
                    continue
                raise NotBilled(
                    str(fixed.coverage_month),
                    "an exception cannot fix the dates of an invoice there is not",
                )
            for name in FIXED_NAMES:
                given = getattr(fixed, name)
                if given is None or fixed.settled:
                    continue
                computed = self.trails[name].before("exception")[row].item()
                if computed is not None and abs((given - computed).days) > EXCEPTION_LIMIT:
                    raise ExceptionTooFar(str(fixed.coverage_month), name, given, computed, EXCEPTION_LIMIT)


def schedule(
    spans: Sequence[Span],
    first: np.datetime64,
    count: int,
    exceptions: Iterable[FixedDates] = (),
    last_coverage_month: np.datetime64 | None = None,
    first_coverage_month: np.datetime64 | None = None,
) -> Schedule:
    """Give the dates of `count` coverage months from `first`, which `spans` (ascending) must govern.

    The account is billed from its first coverage month to its last; None is *without end*.

    Exceptions outside these months have no effect but on the invoice before them. Refuses nothing itself: see the
    `refuse_` methods of the answer. Source: the carrier's Producer Portal FAQ, eBill questions.
    """
    months = months_from(first, count + LOOK_AHEAD)
    fixed = {int((e.coverage_month - first).astype(int)): e for e in exceptions}
    fixed = {row: e for row, e in fixed.items() if 0 <= row < len(months)}
    billed = billed_months(spans, months, first_coverage_month, last_coverage_month)
    found = dates(parts_of(spans, months), months, billed, ways_of(spans), _cells(fixed))
    return Schedule(first, count, tuple(spans), billed, found.has_next, found.next_due, found.trails, fixed)


def dates(parts: Parts, months: Months, billed: Flags, ways: Sequence[Way], cells: Cells) -> Dates:
    """Give every date of the months, of one account, or of many whose terms change in the same months.

    `parts` are the terms that the months are under, in their order; `ways` those that payments post under. Of many
    accounts each rule is many; then `billed` and each date have a row for each account, (accounts, months), or one row
    for all.
    """
    due, generation, grace_end = own_dates(parts, months, cells)
    next_generation = _of_next(billed, generation.days)
    has_next = _of_next(billed, billed)

    recommended = _ruled(parts, next_generation, lambda terms: terms.pay_by)
    recommended.then("no_next_invoice", np.where(has_next, recommended.days, due.days))
    safe = Trail("rule", _safe_pay_by(ways, next_generation))
    safe.then("no_next_invoice", np.where(has_next, safe.days, due.days))

    trails: dict[DateName, Trail] = {
        "generation_date": generation,
        "due_date": due,
        "grace_end_date": grace_end,
        "next_generation_date": Trail("rule", next_generation),
        "recommended_pay_by_date": recommended,
        "safe_pay_by_date": safe,
    }
    return Dates(trails, has_next, _of_next(billed, due.days))


def own_dates(parts: Parts, months: Months, cells: Cells) -> tuple[Trail, Trail, Trail]:
    """Give the due date, the generation date and the grace end: what an invoice has without looking at the next."""
    due = _ruled(parts, months, lambda terms: terms.due)
    due.then("exception", _fixed(due.days, cells, "due_date"))

    generation = _ruled(parts, due.days, lambda terms: terms.generation)
    generation.then("exception", _fixed(generation.days, cells, "generation_date"))

    grace_end = _ruled(parts, due.days, lambda terms: terms.grace)
    grace_end.then("exception", _fixed(grace_end.days, cells, "grace_end_date"))
    grace_end.then("floor", _floored(parts, grace_end.days, due.days))
    return due, generation, grace_end


def terms_of(spans: Sequence[Span], month: np.datetime64) -> Terms:
    """Give the terms in force for a month; those of the first span also stand for the months before it."""
    return next((span.terms for span in reversed(spans) if span.first <= month), spans[0].terms)


def parts_of(spans: Sequence[Span], months: Months) -> Parts:
    """Cut the months where other terms come into force."""
    starts = [max(0, int((span.first - months[0]).astype(int))) for span in spans]
    ends = [*starts[1:], len(months)]
    return [(slice(a, b), span.terms) for a, b, span in zip(starts, ends, spans, strict=True) if a < b]


def ways_of(spans: Sequence[Span]) -> list[Way]:
    """Give what payments post under, and since when."""
    ways: list[Way] = []
    for first, terms in spans:
        if not ways or (terms.posting, terms.calendar) != ways[-1][1:]:
            ways.append(Way(first, terms.posting, terms.calendar))
    return ways


def billed_months(
    spans: Sequence[Span], months: Months, first: np.datetime64 | None, last: np.datetime64 | None
) -> Flags:
    """Tell which months have an invoice, for an account billed from its first coverage month to its last."""
    billed = np.ones(len(months), bool)
    if first is not None:
        billed &= months >= first
    if last is not None:
        billed &= months <= last
    of_year = months.astype(np.int64) % 12 + 1
    for part, terms in parts_of(spans, months):
        if terms.skip_coverage_months:
            billed[part] &= ~np.isin(of_year[part], terms.skip_coverage_months)
    return billed


def _each(parts: Parts, apply: Callable[[slice, Terms], Days]) -> Days:
    pieces = [apply(part, terms) for part, terms in parts]
    if len(pieces) == 1:
        return pieces[0]
    accounts = np.broadcast_shapes(*(piece.shape[:-1] for piece in pieces))
    return np.concatenate([np.broadcast_to(piece, accounts + piece.shape[-1:]) for piece in pieces], -1)


def _ruled(parts: Parts, origin: Days, rule: Callable[[Terms], DayRule]) -> Trail:
    """Compute first, roll last."""
    trail = Trail("rule", _each(parts, lambda part, terms: rule(terms).unrolled(origin[..., part], terms.calendar)))
    if all(rule(terms).roll == "none" for _, terms in parts):
        return trail
    unrolled = trail.days
    return trail.then("roll", _each(parts, lambda part, t: t.calendar.roll(unrolled[..., part], rule(t).roll)))


def _cells(fixed: Mapping[int, FixedDates]) -> Cells:
    cells: Cells = {}
    for name in FIXED_NAMES:
        given = {row: getattr(e, name) for row, e in fixed.items() if getattr(e, name) is not None}
        if given:
            cells[name] = (np.array(list(given)),), as_days(list(given.values()))
    return cells


def _fixed(days: Days, cells: Cells, name: FixedName) -> Days:
    if name not in cells:
        return days
    place, given = cells[name]
    days = days.copy()
    days[place] = given
    return days


def _floored(parts: Parts, grace_end: Days, due: Days) -> Days:
    if not any(terms.floors for _, terms in parts):
        return grace_end

    def raised(part: slice, terms: Terms) -> Days:
        days = grace_end[..., part]
        for floor in terms.floors:
            days = np.maximum(days, floor.apply(due[..., part], terms.calendar))
        return days

    return _each(parts, raised)


def _of_next(billed: Flags, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give each billed month the value of the next billed one; NaT or False where there is none."""
    none = NO_DAY if column.dtype == DAY else False
    if billed.ndim == 1 and billed.all():
        return np.append(column[..., 1:], np.full((*column.shape[:-1], 1), none), -1)
    if billed.ndim == 1:
        rows = np.flatnonzero(billed)
        following = np.full(column.shape, none)
        following[..., rows[:-1]] = column[..., rows[1:]]
        return following
    count = billed.shape[-1]
    rows = np.where(billed, np.arange(count), count)
    rows = np.minimum.accumulate(rows[:, ::-1], 1)[:, ::-1]  # the first billed one from there on
    rows = np.append(rows[:, 1:], np.full((len(rows), 1), count), 1)
    taken = np.take_along_axis(np.broadcast_to(column, billed.shape), np.minimum(rows, count - 1), 1)
    return np.where(billed & (rows < count), taken, none)


def _safe_pay_by(ways: Sequence[Way], next_generation: Days) -> Days:
    """Give the latest payment day that posts for certain before the next generation.

    The posting rule and the calendar are those in force in the month of the payment.
    """
    safe = latest_in_time(next_generation, ways[0].posting, ways[0].calendar)
    for way in ways[1:]:
        begins = first_of(np.asarray(way.first))
        later = latest_in_time(next_generation, way.posting, way.calendar)
        under_earlier = (next_generation <= begins) | (later < begins)  # even where the new calendar knows too little
        safe = np.where(under_earlier, np.minimum(safe, begins - 1), later)
    return safe
