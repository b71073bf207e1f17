"""The scopes of many accounts, in groups that go through the rules together.

Which rows of a scope are in force from when on follows from where they stand (kind, layer, since), not from what they
say. So it is worked out once for all scopes whose rows stand alike, a *pattern*. And scopes whose terms change in the
same months of a window are a *group*: to `ebill.schedule.dates` they are one account, each of whose rules is many.

A scope whose rules may not be good is *doubtful*: what plainly keeps the order is looked at in no month, the rest in
all that it governs. No scope that `RuleBook.life` refuses is not doubtful; whoever asks lets it decide about those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import time
from itertools import chain, pairwise
from operator import attrgetter
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from ebill.batch.apart import alike, lists_alike, objects_apart, values_apart
from ebill.batch.columns import REASONS, Codes
from ebill.batch.wide import Indexes, Mixed, Numbers
from ebill.dates import FIRST_MONTH, LAST_MONTH, Calendar, Flags, as_days, months_from
from ebill.errors import Refusal
from ebill.posting import day_without
from ebill.rulebook import Row, RuleBook, Scope, Timeline
from ebill.rules import Due, Generation, Grace, Inherited, Kind, PayBy, Posting
from ebill.schedule import (
    EXCEPTION_LIMIT,
    FIXED_NAMES,
    LOOK_AHEAD,
    Cells,
    Dates,
    FixedDates,
    Terms,
    Way,
    billed_months,
    dates,
    own_dates,
    ways_of,
)
from ebill.standing import Under, warned

COUNT: Final = int((LAST_MONTH - FIRST_MONTH).astype(int)) + 1
ALL_MONTHS: Final = months_from(FIRST_MONTH, COUNT + LOOK_AHEAD)
TOGETHER: Final = 2048
"""How many scopes go through the rules at once: as many as keep their columns in the processor's cache."""
TRIED: Final = 64
"""How many rules are tried in all months at once, for the same reason."""

_DAY_RULES: Final[tuple[Kind, ...]] = ("due", "generation", "grace", "pay_by")
_VARIES: Final = (*_DAY_RULES, "grace_floor")
"""Kinds of rules of which a pattern has any; the others, and what is inherited again, are alike in all its scopes."""
_NO_POSTING: Final = Posting(0, 0, time(0))
_STANDS: Final = [attrgetter(name) for name in Row._fields if name not in ("rule", "cite")]
"""Where a row stands: all but what it says."""


class Stretch(NamedTuple):
    """What the scopes of a pattern are under from one month to before another, both numbered from `FIRST_MONTH`.

    `which` has the numbers of their rules, of each kind that gives days, and `floors` those of their floors. Where it
    `watches`, who entered the grace could see a floor. `is_assumed` says that nobody has confirmed some rule yet.
    """

    begin: int
    end: int
    calendar: Calendar
    which: dict[Kind, Indexes]
    floors: tuple[Indexes, ...]
    watches: bool
    is_assumed: bool


class Pattern(NamedTuple):
    """Scopes whose rows stand alike, by their numbers; the timeline is that of one, alike but for the days it gives."""

    scopes: Indexes
    timeline: Timeline
    stretches: list[Stretch]
    ways: tuple[Way, ...]


class Group(NamedTuple):
    """The dates of some scopes, which are given by their numbers: a row each, or one for all.

    `begins` are the first months that their rules govern, numbered from the first of the window; `under` is what the
    months are under, and `fixed` are the rows and columns that have an exception.
    """

    scopes: Indexes
    begins: npt.NDArray[np.intp]
    billed: Flags
    dates: Dates
    under: list[Under]
    fixed: tuple[list[int], list[int]]

    def reasons(self, width: int) -> Codes:
        """Give why each scope has no dates in each of the first `width` months, shape (scopes, width)."""
        has_next, billed = self.dates.has_next[..., :width], self.billed[..., :width]
        reason = np.zeros((len(self.scopes), width), np.uint8)
        for name, trail in self.dates.trails.items():
            is_unknown = np.isnat(trail.days)[..., :width]
            if is_unknown.any():
                is_unknown = is_unknown & (has_next if name == "next_generation_date" else billed)
                reason[np.broadcast_to(is_unknown, reason.shape)] = REASONS.index("outside_calendar")
        if not billed.all():
            reason[~np.broadcast_to(billed, reason.shape)] = REASONS.index("not_billed")
        if (self.begins > 0).any():
            reason[np.arange(width) < self.begins[:, None]] = REASONS.index("no_rule_in_force")
        return reason

    def warned(self, width: int) -> npt.NDArray[np.uint8]:
        """Give what to beware of in the first `width` months, as `standing.warned`, shape (scopes, width)."""
        days = {name: trail.days[..., :width] for name, trail in self.dates.trails.items()}
        fixed = np.zeros((len(self.scopes), self.billed.shape[-1]), bool)
        fixed[self.fixed] = True
        under = [each._replace(months=slice(each.months.start, min(each.months.stop, width))) for each in self.under]
        floored = self.dates.trails["grace_end_date"].moved_by("floor")
        return warned(days, self.dates.next_due[..., :width], under, fixed[:, :width], floored[..., :width])


class Fixed(NamedTuple):
    """An exception: of which scope, in which place of its pattern, and for which month."""

    scope: int
    place: int
    month: int
    dates: FixedDates


class Scopes:
    """The scopes of many accounts as a rule book has them, read once for all that is asked of them.

    `doubtful` are the numbers of those that the book may refuse.
    """

    def __init__(self, book: RuleBook, scopes: Sequence[Scope]) -> None:
        self.scopes = scopes
        self.numbers = Numbers()
        self.doubtful: set[int] = set()
        of_each: dict[str, Sequence[Any]] = dict.fromkeys(Scope._fields, ())
        of_each.update(zip(Scope._fields, zip(*scopes, strict=True), strict=False))  # of no scopes, there is none
        self.patterns = list(self._patterns(book, of_each))
        self.numbers.settle()
        self.is_fixed = _of_each(of_each["exceptions"], (), len, 0) > 0
        self.first = _of_each(of_each["first_coverage_month"], None, _number, 0)
        self.last = _of_each(of_each["last_coverage_month"], None, _number, len(ALL_MONTHS))
        for pattern in self.patterns:
            self._doubt_cutoffs(pattern)
            for stretch in pattern.stretches:
                self._doubt_floors(pattern, stretch)
            self._doubt_fixed(pattern)
        self._doubt_order("generation")
        self._doubt_order("grace")

    def refused(self, book: RuleBook) -> dict[int, Refusal]:
        """Give the refusal of each scope that has one, by its number."""
        refused: dict[int, Refusal] = {}
        for number in sorted(self.doubtful):
            try:
                book.life(self.scopes[number])
            except Refusal as refusal:
                refused[number] = refusal
        return refused

    # Reading

    def _patterns(self, book: RuleBook, of_each: Mapping[str, Sequence[Any]]) -> Iterator[Pattern]:
        """Give the patterns of scopes, of which each field has a column; rows that they share are read once."""
        rows = list(chain.from_iterable(of_each["rows"]))
        examples, which = objects_apart(rows)
        distinct = list(map(rows.__getitem__, examples.tolist()))
        rules = self.numbers.of(list(map(attrgetter("rule"), distinct)))
        self.numbers.settle()
        counts = np.fromiter(map(len, of_each["rows"]), np.intp, len(self.scopes))
        begins, heads = np.cumsum(counts) - counts, [values_apart(of_each[name]) for name in ("state", "product")]
        kinds, stand = alike([*(values_apart(list(map(field, distinct))) for field in _STANDS), self._said(rules)])
        pattern = lists_alike(heads, (stand[which], len(kinds)), counts)[1]
        rules = rules[which]
        for scopes in np.split(np.argsort(pattern, kind="stable"), np.cumsum(np.bincount(pattern)))[:-1]:
            first = self.scopes[scopes[0]]
            try:
                timeline = Timeline(book.rows(first.state, first.product) + first.rows, book.calendar)
                timeline.first  # noqa: B018  # refuses a scope that no rule is in force for
            except Refusal:
                self.doubtful.update(scopes.tolist())
                continue
            own = rules[begins[scopes, None] + np.arange(len(first.rows))]
            yield Pattern(scopes, timeline, self._stretches(first, timeline, own), tuple(ways_of(timeline.spans)))

    def _said(self, rules: Indexes) -> tuple[Indexes, int]:
        """Give rules numbers by what they say, as far as the scopes of a pattern must have it in common."""
        places = {kind: place for place, kind in enumerate(_VARIES)}
        said = [
            len(places) + number if isinstance(rule, Inherited) else places.get(rule.kind, len(places) + number)
            for number, rule in enumerate(self.numbers.rules)
        ]
        return np.array(said, np.intp)[rules], len(places) + len(said)

    def _stretches(self, scope: Scope, timeline: Timeline, own: Indexes) -> list[Stretch]:
        """Give what the scopes of a pattern are under, from the numbers of their own rows' rules, (scopes, rows)."""
        place = {id(row): number for number, row in enumerate(scope.rows)}

        def which(row: Any) -> Indexes:
            if id(row) in place:
                return own[:, place[id(row)]]
            return np.full(len(own), self.numbers.of([row.rule])[0], np.intp)

        ends = [*(_number(span.first) for span in timeline.spans[1:]), COUNT + LOOK_AHEAD]
        return [
            Stretch(
                _number(span.first),
                end,
                span.terms.calendar,
                {kind: which(stretch.rows[kind]) for kind in _DAY_RULES},
                tuple(which(floor) for floor in stretch.floors),
                any(stretch.rows["grace"].entered_after(floor) for floor in stretch.floors),
                bool(stretch.assumed),
            )
            for stretch, span, end in zip(timeline.stretches, timeline.spans, ends, strict=True)
        ]

    def _terms(self, calendar: Calendar, which: dict[Kind, Indexes], floors: Iterable[Indexes]) -> Terms:
        """Make one rule of many, of each kind."""
        mixed = {kind: Mixed(self.numbers, each) for kind, each in which.items()}
        return Terms(
            due=cast(Due, mixed["due"]),
            generation=cast(Generation, mixed["generation"]),
            grace=cast(Grace, mixed["grace"]),
            pay_by=cast(PayBy, mixed["pay_by"]),
            posting=_NO_POSTING,  # it is one of the ways
            calendar=calendar,
            floors=tuple(cast(Grace, Mixed(self.numbers, floor)) for floor in floors),
        )

    # Doubts

    def _doubt_cutoffs(self, pattern: Pattern) -> None:
        for stretch in pattern.timeline.stretches:
            if day_without(stretch.rule("posting").cutoff, stretch.rule("timezone").name):
                self.doubtful.update(pattern.scopes.tolist())

    def _doubt_order(self, kind: Kind) -> None:
        """Doubt scopes of which an invoice would be generated on or after its due date, or its grace end before it."""
        unproven: dict[Calendar, list[tuple[Indexes, Indexes, Indexes, Stretch]]] = {}
        for pattern in self.patterns:
            for stretch in pattern.stretches:
                which = stretch.which[kind]
                places = np.flatnonzero(~self.numbers.keeps_order[which])
                if len(places):
                    part = pattern.scopes[places], stretch.which["due"][places], which[places], stretch
                    unproven.setdefault(stretch.calendar, []).append(part)
        for calendar, parts in unproven.items():
            due, which = (np.concatenate([part[column] for part in parts]) for column in (1, 2))
            distinct, place = np.unique(due * len(self.numbers.rules) + which, return_inverse=True)
            wrong: dict[int, Flags] = {}
            for begin in range(0, len(distinct), TRIED):
                few = np.divmod(distinct[begin : begin + TRIED], len(self.numbers.rules))
                found = self._wrong(kind, *few, calendar)
                wrong.update((begin + row, found[row]) for row in np.flatnonzero(found.any(1)).tolist())
            end = 0
            for scopes, _, _, stretch in parts:
                begin, end = end, end + len(scopes)
                for scope, rule in zip(scopes.tolist(), place[begin:end].tolist(), strict=True) if wrong else ():
                    if rule in wrong and wrong[rule][stretch.begin : stretch.end].any():
                        self.doubtful.add(scope)

    def _wrong(self, kind: Kind, due: Indexes, which: Indexes, calendar: Calendar) -> Flags:
        """Tell in which months rules of a kind break the order with due rules, shape (rules, months)."""
        months = np.broadcast_to(ALL_MONTHS[:COUNT], (len(due), COUNT))
        dues = Mixed(self.numbers, due).unrolled(months, calendar)
        days = Mixed(self.numbers, which).unrolled(dues, calendar)
        wrong: Flags = days >= dues if kind == "generation" else days < dues
        return wrong

    def _doubt_floors(self, pattern: Pattern, stretch: Stretch) -> None:
        """Doubt scopes whose grace is below a floor that who entered it could see."""
        if not stretch.watches:
            return
        months = ALL_MONTHS[stretch.begin : min(stretch.end, COUNT)]
        for begin in range(0, len(pattern.scopes), TRIED):
            part = slice(begin, begin + TRIED)
            which = {kind: each[part] for kind, each in stretch.which.items()}
            terms = self._terms(stretch.calendar, which, (floor[part] for floor in stretch.floors))
            alike = np.broadcast_to(months, (len(which["due"]), len(months)))
            _, _, grace_end = own_dates([(slice(None), terms)], alike, {})
            raised = (grace_end.days != grace_end.steps[0][1]).any(1)
            self.doubtful.update(pattern.scopes[part][raised].tolist())

    def _doubt_fixed(self, pattern: Pattern) -> None:
        """Doubt scopes with an exception that breaks the order, is far away, below a floor or of no invoice."""
        for stretch, fixed in self._fixed(pattern):
            place = np.array([each.place for each in fixed])
            months = np.array([each.month for each in fixed])
            which = {kind: each[place] for kind, each in stretch.which.items()}
            terms = self._terms(stretch.calendar, which, (floor[place] for floor in stretch.floors))
            cells = _cells([(row, 0, each.dates) for row, each in enumerate(fixed)])
            due, generation, grace_end = own_dates([(slice(None), terms)], FIRST_MONTH + months[:, None], cells)
            doubtful: Flags = (generation.days >= due.days) | (due.days > grace_end.days)
            for name, trail in zip(FIXED_NAMES, (generation, due, grace_end), strict=True):
                if name in cells:
                    (rows, _), given = cells[name]
                    computed = trail.before("exception")[rows, 0]
                    doubtful[rows, 0] |= np.abs((given - computed).astype(int)) > EXCEPTION_LIMIT
            if stretch.floors:
                doubtful |= grace_end.before("floor") != grace_end.days
            line = billed_months(pattern.timeline.spans, ALL_MONTHS, None, None)
            scopes = np.array([each.scope for each in fixed])
            billed = line[months] & (months >= self.first[scopes]) & (months <= self.last[scopes])
            self.doubtful.update(scopes[doubtful[:, 0] | ~billed].tolist())

    def _fixed(self, pattern: Pattern) -> Iterator[tuple[Stretch, list[Fixed]]]:
        """Give the exceptions of a pattern by the terms that they are under."""
        places = np.flatnonzero(self.is_fixed[pattern.scopes])
        found: dict[int, list[Fixed]] = {}
        begins = np.array([stretch.begin for stretch in pattern.stretches])
        for place in places.tolist():
            scope = int(pattern.scopes[place])
            for month, fixed in _by_month(self.scopes[scope]).items():
                under = int(np.searchsorted(begins, month, "right")) - 1
                if under >= 0 and month < len(ALL_MONTHS):
                    found.setdefault(under, []).append(Fixed(scope, place, month, fixed))
        for under, listed in found.items():
            yield pattern.stretches[under], listed

    # Dates

    def groups(self, first: np.datetime64, width: int, among: Flags | None = None) -> Iterator[Group]:
        """Give the dates of `width` supported months from `first`, and of those ahead that they look at.

        Where it is told `among` which scopes, of these alone.
        """
        begin = _number(first)
        alike: dict[Any, list[tuple[Pattern, Indexes]]] = {}
        for pattern in self.patterns:
            ahead = _ahead(pattern.timeline, begin, width)
            within = _within(pattern, begin, ahead)
            cuts = (0, *(stretch.begin - begin for stretch in within[1:]))
            structure = tuple((stretch.calendar, bool(stretch.floors)) for stretch in within)
            is_fixed = self.is_fixed[pattern.scopes]
            for fixed in (False, True):
                wanted = is_fixed == fixed if among is None else (is_fixed == fixed) & among[pattern.scopes]
                places = np.flatnonzero(wanted)
                for at in range(0, len(places), TOGETHER):
                    key = ahead, cuts, structure, pattern.ways, fixed
                    alike.setdefault(key, []).append((pattern, places[at : at + TOGETHER]))
        for (ahead, cuts, structure, ways, fixed), members in alike.items():
            for few in _by_count(members):
                yield self._group(begin, ahead, cuts, structure, ways, few, is_fixed=fixed)

    def _group(
        self,
        begin: int,
        ahead: int,
        cuts: Sequence[int],
        structure: Sequence[tuple[Calendar, bool]],
        ways: Sequence[Way],
        members: Sequence[tuple[Pattern, Indexes]],
        *,
        is_fixed: bool,
    ) -> Group:
        scopes = np.concatenate([pattern.scopes[places] for pattern, places in members])
        months = ALL_MONTHS[begin : begin + ahead]
        parts, seen = [], []
        counts = [len(places) for _, places in members]
        for number, (cut, until) in enumerate(pairwise([*cuts, ahead])):
            under = [(_within(pattern, begin, ahead)[number], places) for pattern, places in members]
            which = {
                kind: np.concatenate([stretch.which[kind][places] for stretch, places in under]) for kind in _DAY_RULES
            }
            most = max(len(stretch.floors) for stretch, _ in under)
            floors = [  # one given twice is as one
                np.concatenate([stretch.floors[min(n, len(stretch.floors) - 1)][places] for stretch, places in under])
                for n in range(most)
            ]
            parts.append((slice(cut, until), self._terms(structure[number][0], which, floors)))
            assumed = np.repeat([stretch.is_assumed for stretch, _ in under], counts)[:, None]
            seen.append(Under(slice(cut, until), structure[number][0], assumed))
        lines = [billed_months(pattern.timeline.spans, months, None, None) for pattern, _ in members]
        first, last = self.first[scopes] - begin, self.last[scopes] - begin
        is_limited = bool((first > 0).any() or (last < ahead - 1).any())
        if is_limited or any((line != lines[0]).any() for line in lines[1:]):
            billed = np.repeat(np.array(lines), counts, axis=0)
            billed &= (np.arange(ahead) >= first[:, None]) & (np.arange(ahead) <= last[:, None])
        else:
            billed = lines[0]
        fixed: list[tuple[int, int, FixedDates]] = []
        if is_fixed:
            months = np.broadcast_to(months, (len(scopes), ahead))
            fixed = [
                (row, month - begin, each)
                for row, scope in enumerate(scopes.tolist())
                for month, each in _by_month(self.scopes[scope]).items()
                if 0 <= month - begin < ahead
            ]
        governed = np.repeat([pattern.stretches[0].begin - begin for pattern, _ in members], counts)
        found = dates(parts, months, billed, ways, _cells(fixed))
        places = [row for row, _, _ in fixed], [column for _, column, _ in fixed]
        return Group(scopes, governed, billed, found, seen, places)


def _within(pattern: Pattern, begin: int, ahead: int) -> list[Stretch]:
    """Give the stretches that reach into a window: the first one stands for the months before it."""
    found = [stretch for stretch in pattern.stretches if stretch.begin < begin + ahead and stretch.end > begin]
    return found or pattern.stretches[:1]


def _ahead(timeline: Timeline, begin: int, width: int) -> int:
    """Give how many months have to be looked at from `begin`, for the next invoice of the last of `width` months."""
    if not any(span.terms.skip_coverage_months for span in timeline.spans):
        return width + 1
    billed = np.flatnonzero(billed_months(timeline.spans, ALL_MONTHS, None, None))
    after = billed[np.searchsorted(billed, begin + width) :]
    return int(after[0]) - begin + 1 if len(after) else width + 1


def _by_count(members: Iterable[tuple[Pattern, Indexes]]) -> Iterator[list[tuple[Pattern, Indexes]]]:
    """Put members together to about `TOGETHER` scopes."""
    few: list[tuple[Pattern, Indexes]] = []
    for member in members:
        if few and sum(len(places) for _, places in few) + len(member[1]) > TOGETHER:
            yield few
            few = []
        few.append(member)
    yield few


def _number(month: np.datetime64) -> int:
    return int((month - FIRST_MONTH).astype(int))


def _of_each(values: Sequence[Any], absent: Any, number: Callable[[Any], int], otherwise: int) -> Indexes:
    """Give a number of each value, where most are absent."""
    numbers = np.full(len(values), otherwise, np.intp)
    if values.count(absent) < len(values):
        for place, value in enumerate(values):
            if value != absent:
                numbers[place] = number(value)
    return numbers


def _by_month(scope: Scope) -> dict[int, FixedDates]:
    """Give the exceptions of a scope by the month they fix, the last of each."""
    return {_number(fixed.coverage_month): fixed for fixed in scope.exceptions}


def _cells(listed: Sequence[tuple[int, int, FixedDates]]) -> Cells:
    """Give the fixed dates of many accounts by their row and column."""
    cells: Cells = {}
    for name in FIXED_NAMES:
        given = [(row, column, day) for row, column, each in listed if (day := getattr(each, name)) is not None]
        if given:
            rows, columns, days = zip(*given, strict=True)
            cells[name] = (np.array(rows), np.array(columns)), as_days(list(days))
    return cells
