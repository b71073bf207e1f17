"""Dated layers of cited rules, and the terms they put in force for an account and a month, with their provenance.

A *row* says from which coverage month on which rule holds, at which layer, and who says so. Rows are append-only
and have no end: one holds until the next of its kind and layer. Of the rows that reach a month the highest layer
wins, then the latest `since`, then the one recorded last; it replaces the whole rule, never half of one. Where a
layer's own says *inherited*, it is as if the layer had none: the layers below are asked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from itertools import dropwhile
from typing import Any, Final, Literal, NamedTuple, NoReturn, cast

import numpy as np

from ebill.dates import FIRST_MONTH, LAST_MONTH, MONTHS, Calendar, as_date, library_calendar
from ebill.errors import BelowFloor, CutoffNotDaily, NoRuleInForce, UnknownProduct, UnknownState
from ebill.posting import day_without
from ebill.rules import (
    CalendarName,
    Grace,
    GraceFloor,
    Inherited,
    Kind,
    Posting,
    Rule,
    SkipCoverageMonths,
    Timezone,
)
from ebill.schedule import DateName, FixedDates, Schedule, Span, Terms, schedule

Layer = Literal["default", "state", "product", "client", "bill_account"]
LAYERS: Final[tuple[Layer, ...]] = ("default", "state", "product", "client", "bill_account")
"""In rising precedence."""
NEEDED: Final[tuple[Kind, ...]] = (
    "due",
    "generation",
    "grace",
    "pay_by",
    "posting",
    "calendar",
    "timezone",
)
"""The kinds of rule without which no date can be computed."""


class Row(NamedTuple):
    """A dated rule and its provenance.

    `since` is the first coverage month it governs, `scope` whose it is within its layer (`PA`, `cobra`), `recorded`
    its place in the order in which rows were written. One that is `settled` was good when it was entered: a floor that
    overrules it came later, and wins.
    """

    since: np.datetime64
    rule: Rule
    cite: str
    layer: Layer
    scope: str = ""
    assumed: bool = False
    recorded: int = 0
    settled: bool = False

    @property
    def kind(self) -> Kind:
        """Which rule of an invoice this row is."""
        return self.rule.kind

    def entered_after(self, floor: Row) -> bool:
        """Whether who entered this row could see the floor: whoever enters one now, or wrote it below the floor."""
        if LAYERS.index(self.layer) >= LAYERS.index("client"):
            return not self.settled
        return (self.layer, self.scope) == (
            floor.layer,
            floor.scope,
        ) and self.recorded > floor.recorded


class InForce(NamedTuple):
    """The rows in force for a stretch of coverage months from `first`: one of each kind, and the floors.

    `assumed` are the kinds that nobody has confirmed yet.
    """

    first: np.datetime64
    rows: Mapping[Kind, Row]
    floors: tuple[Row, ...]
    assumed: tuple[Kind, ...]

    def rule(self, kind: Kind) -> Any:
        """Give the rule of a kind that is needed."""
        return self.rows[kind].rule


class Timeline:
    """The rules of one account over all supported months: which rows are in force from when.

    Raises NoRuleInForce for a month that comes to have no rule of a kind, since a layer gave its own up before those
    below have one; the months before there is one of every kind have no dates.
    """

    def __init__(self, rows: Sequence[Row], calendar: Callable[[str], Calendar]) -> None:
        self._all = [in_force(rows, since) for since in sorted({row.since for row in rows})]
        self.stretches = list(dropwhile(_lacking, self._all))
        for stretch in filter(_lacking, self.stretches):
            self.refuse(stretch.first)
        self._firsts = [str(stretch.first) for stretch in self.stretches]  # text compares faster than datetime64
        self.spans = tuple(Span(stretch.first, _terms(stretch, calendar)) for stretch in self.stretches)

    @property
    def first(self) -> np.datetime64:
        """The first month with a rule of every kind that is needed. Raises NoRuleInForce where there is none."""
        if not self.stretches:
            self.refuse(LAST_MONTH)
        return self.stretches[0].first

    def at(self, month: np.datetime64) -> InForce:
        """Give the rows in force for a month; the first ones also stand for payments of the months before it."""
        return self._at(str(month))

    def on(self, day: date) -> InForce:
        """Give the rows in force for the month of a day, as `at`; a day costs less than a month of numpy's."""
        return self._at(day.isoformat()[:7])

    def terms(self, month: np.datetime64) -> Terms:
        """Give the terms in force for a month, as `at`."""
        return self.spans[max(0, bisect_right(self._firsts, str(month)) - 1)].terms

    def _at(self, month: str) -> InForce:
        if not self.stretches:
            self.refuse(np.datetime64(month, "M"))
        return self.stretches[max(0, bisect_right(self._firsts, month) - 1)]

    def refuse(self, month: np.datetime64) -> NoReturn:
        """Raise NoRuleInForce for a month that lacks a rule."""
        known = [stretch for stretch in self._all if stretch.first <= month]
        kind = (_lacking(known[-1]) if known else NEEDED)[0]
        later = [stretch.first for stretch in self._all if stretch.first > month and kind in stretch.rows]
        raise NoRuleInForce(kind, str(month), str(later[0]) if later else None)


class Scope(NamedTuple):
    """What an account is, as far as its dates go; the key under which its life is kept."""

    state: str
    product: str | None = None
    rows: tuple[Row, ...] = ()
    exceptions: tuple[FixedDates, ...] = ()
    last_coverage_month: np.datetime64 | None = None
    first_coverage_month: np.datetime64 | None = None


class Life:
    """An account's rules and all the dates they give, from the first month governed to 2099-12, checked as a whole.

    Rows are those of `schedule`: plain numbers, because a lookup by number costs a twentieth of one by month.
    """

    def __init__(self, timeline: Timeline, schedule: Schedule, scope: Scope) -> None:
        self.timeline, self.schedule = timeline, schedule
        self.first_coverage_month, self.last_coverage_month = scope.first_coverage_month, scope.last_coverage_month
        self.drawn: dict[int, Any] = {}
        self.explained: dict[int, Any] = {}
        """What answers keep for the next who asks, by row: both live and die with the life."""
        self._begins = [schedule.row(span.first) for span in timeline.spans]
        self._offset = int((schedule.first - FIRST_MONTH).astype(int))

    def rows(self, first: np.datetime64, count: int) -> slice:
        """Give the rows of `count` months from `first`. Raises NoRuleInForce, or OutsideCalendar for a date in them."""
        begin = self.schedule.row(first)
        if begin < 0:
            self.timeline.refuse(first)
        rows = slice(begin, begin + count)
        self.schedule.refuse_unknown(rows)
        return rows

    def month(self, row: int) -> str:
        """Give the coverage month of a row, `YYYY-MM`."""
        return MONTHS[self._offset + row]

    def at(self, row: int) -> tuple[InForce, Terms]:
        """Give the rows in force for a row, and their terms."""
        stretch = bisect_right(self._begins, row) - 1
        return self.timeline.stretches[stretch], self.timeline.spans[stretch].terms

    def why_not_billed(self, row: int, first: str | None = None, last: str | None = None) -> str | None:
        """Say why a row has no invoice; None where that is billed elsewhere.

        `first` and `last` are the account's own coverage months, where that matters: those between them that its life
        does not begin with were billed elsewhere.
        """
        month, begins, ends = self.month(row), self.first_coverage_month, self.last_coverage_month
        first = first if first or begins is None else str(begins)
        last = last if last or ends is None else str(ends)
        if first is not None and month < first:
            return f"before the first coverage month, {first}"
        if last is not None and month > last:
            return f"after the last coverage month, {last}"
        if begins is not None and month < str(begins):
            return None
        return str(self.at(row)[0].rows["skip_coverage_months"].rule)

    def columns(self, rows: slice) -> dict[DateName, list[date]]:
        """Give the dates of a slice of rows as lists, None where there is no next generation."""
        return {name: trail.days[rows].tolist() for name, trail in self.schedule.trails.items()}


class Section(NamedTuple):
    """A state or a product of the rule book: its name and its rows, in the order they were written."""

    name: str
    rows: tuple[Row, ...]


class RuleBook:
    """The house's, the states' and the products' rules as one file gave them.

    `version` is the hash of its content, `source` the text it was read from.
    """

    def __init__(
        self,
        version: str,
        default: tuple[Row, ...],
        states: Mapping[str, Section],
        products: Mapping[str, Section],
        calendars: Mapping[str, Calendar],
        source: bytes = b"",
    ) -> None:
        self.version, self.source = version, source
        self.default, self.states, self.products, self.calendars = (
            default,
            states,
            products,
            calendars,
        )
        self._kept = lru_cache(maxsize=256)(self._live)
        self.drawn: dict[Any, Any] = {}
        """What lists keep of many lives for the next who asks: it lives and dies with the book."""
        self.written: Any = None
        """What schedules keep, in the same way."""

    def life(self, scope: Scope) -> Life:
        """Give an account's rules and dates, kept for the next who asks.

        Raises UnknownState, UnknownProduct, UnknownCalendar, NoRuleInForce, CutoffNotDaily, DatesOutOfOrder,
        BelowFloor, ExceptionTooFar, NotBilled.
        """
        return self._kept(scope)

    def forget(self) -> None:
        """Forget all lives that were kept; only their cost comes back."""
        self._kept.cache_clear()
        self.drawn, self.written = {}, None

    def calendar(self, name: str) -> Calendar:
        """Bind a calendar by the name the book gives it, or else by the library's. Raises UnknownCalendar."""
        return self.calendars.get(name) or library_calendar(name)

    def rows(self, state: str, product: str | None = None) -> tuple[Row, ...]:
        """Give the rows of a state (with a product), lowest layer first. Raises UnknownState, UnknownProduct."""
        if state not in self.states:
            raise UnknownState(state, self.states)
        if product and product not in self.products:
            raise UnknownProduct(product, self.products)
        return self.default + self.states[state].rows + (self.products[product].rows if product else ())

    def _live(self, scope: Scope) -> Life:
        timeline = Timeline(self.rows(scope.state, scope.product) + scope.rows, self.calendar)
        for stretch in timeline.stretches:
            _refuse_cutoff(stretch.rule("posting"), stretch.rule("timezone"))
        count = int((LAST_MONTH - timeline.first).astype(int)) + 1
        dates = schedule(
            timeline.spans,
            timeline.first,
            count,
            scope.exceptions,
            scope.last_coverage_month,
            scope.first_coverage_month,
        )
        dates.refuse_far_exceptions()
        _refuse_below_floor(timeline, dates)
        dates.refuse_disorder()
        return Life(timeline, dates, scope)


def entered(rules: Iterable[Rule], layer: Layer, cite: str) -> tuple[Row, ...]:
    """Make rows of rules that somebody gives for all supported months; equal ones are mostly the same object."""
    return tuple(_for_all_months(rule, layer, cite) for rule in rules)


@lru_cache(maxsize=1 << 12)
def _for_all_months(rule: Rule, layer: Layer, cite: str) -> Row:
    return Row(FIRST_MONTH, rule, cite, layer)


def in_force(rows: Sequence[Row], month: np.datetime64) -> InForce:
    """Give the rows in force for a month; none of a kind that no row governs yet."""
    latest: dict[tuple[Kind, Layer], Row] = {}
    for row in sorted(rows, key=lambda row: (LAYERS.index(row.layer), row.since, row.recorded)):
        if row.since <= month:
            latest[row.kind, row.layer] = row
    said = [row for row in latest.values() if not isinstance(row.rule, Inherited)]
    chosen: dict[Kind, Row] = {row.kind: row for row in said if row.kind != "grace_floor"}
    floors = tuple(row for row in said if row.kind == "grace_floor")
    assumed = tuple(kind for kind, row in chosen.items() if row.assumed)
    return InForce(month, chosen, floors, assumed)


def _lacking(stretch: InForce) -> list[Kind]:
    """Give the kinds of rule that are needed and not in force."""
    return [kind for kind in NEEDED if kind not in stretch.rows]


def _terms(stretch: InForce, calendar: Callable[[str], Calendar]) -> Terms:
    skip = stretch.rows.get("skip_coverage_months")
    return Terms(
        due=stretch.rule("due"),
        generation=stretch.rule("generation"),
        grace=stretch.rule("grace"),
        pay_by=stretch.rule("pay_by"),
        posting=stretch.rule("posting"),
        calendar=calendar(cast(CalendarName, stretch.rule("calendar")).name),
        skip_coverage_months=cast(SkipCoverageMonths, skip.rule).months if skip else (),
        floors=tuple(cast(GraceFloor, row.rule).grace for row in stretch.floors),
    )


def _refuse_cutoff(posting: Posting, zone: Timezone) -> None:
    if day := day_without(posting.cutoff, zone.name):
        raise CutoffNotDaily(f"{posting.cutoff:%H:%M}", zone.name, day)


def _refuse_below_floor(timeline: Timeline, dates: Schedule) -> None:
    """Refuse a grace, or an exception's grace end, that was entered below a floor in force."""
    raised = dates.billed[: dates.count] & dates.moved_by("floor", "grace_end_date")
    if not raised.any():
        return
    before = dates.trails["grace_end_date"].before("floor")
    for row in np.flatnonzero(raised):
        stretch = timeline.at(dates.first + int(row))
        due = dates.days("due_date")[row : row + 1]
        for floor in stretch.floors:
            grace: Grace = cast(GraceFloor, floor.rule).grace
            end = grace.apply(due, timeline.terms(stretch.first).calendar)[0]
            fixed = dates.fixed.get(int(row))
            if end > before[row] and (
                stretch.rows["grace"].entered_after(floor) or (fixed and fixed.grace_end_date and not fixed.settled)
            ):
                raise BelowFloor(str(dates.first + int(row)), as_date(before[row]), as_date(end), floor.cite)
