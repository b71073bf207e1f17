"""Many rules as one: rule i for row i of a column of days.

Rules are numbered by their values. Those of one shape are computed together, whose numbers they are being a column;
where all rows count from the same days, each distinct rule is computed once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields
from functools import cache
from itertools import count
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from ebill.dates import DAY, Calendar, Days, Roll
from ebill.rules import DayRule, GraceFloor, Kind, Rule

Indexes = npt.NDArray[np.intp]


class Numbers:
    """Distinct rules, and the number of each.

    They are looked up by their class and their fields, which is what they compare: to ask them takes twice as long.
    """

    def __init__(self) -> None:
        following = count().__next__
        self._numbers: dict[type[Rule], defaultdict[Any, int]] = defaultdict(lambda: defaultdict(following))
        self._met: dict[int, Rule] = {}
        """A rule of each number that was given since the rules were settled."""
        self._shapes: dict[tuple[Hashable, ...], int] = {}
        self.rules: list[Rule] = []
        self.examples: list[DayRule] = []
        """A rule of each shape."""
        self.shape, self.value = np.zeros(0, np.intp), np.zeros(0, np.int64)
        self.keeps_order = np.zeros(0, bool)
        """Of each rule by its number: its shape, its number in that, and whether it plainly keeps the order."""

    def of(self, rules: Sequence[Rule]) -> Indexes:
        """Give the number of each rule; equal ones have the same."""
        numbers = np.empty(len(rules), np.intp)
        classes = {each: place for place, each in enumerate(dict.fromkeys(map(type, rules)))}
        of_class = np.fromiter(map(classes.__getitem__, map(type, rules)), np.intp, len(rules))
        for each, place in classes.items():
            here = np.flatnonzero(of_class == place)
            alike = list(map(rules.__getitem__, here.tolist()))
            found = list(map(self._numbers[each].__getitem__, map(_told(each), alike)))
            numbers[here] = found
            self._met.update(zip(found, alike, strict=True))
        return numbers

    def settle(self) -> None:
        """Take in what was numbered since: from then on the rules may be used."""
        fresh = [self._met[number] for number in range(len(self.rules), sum(map(len, self._numbers.values())))]
        self._met = {}
        shapes, values = np.zeros(len(fresh), np.intp), np.zeros(len(fresh), np.int64)
        for place, given in enumerate(fresh):
            rule = given.grace if isinstance(given, GraceFloor) else given
            if isinstance(rule, DayRule):
                shapes[place] = self._shapes.setdefault(rule.shape, len(self._shapes))
                values[place] = getattr(rule, rule.number)
                if len(self.examples) < len(self._shapes):
                    self.examples.append(rule)
        self.rules += fresh
        self.shape, self.value = np.append(self.shape, shapes), np.append(self.value, values)
        plain = [getattr(rule, "keeps_order", False) for rule in fresh]
        self.keeps_order = np.append(self.keeps_order, np.array(plain, bool))


@cache
def _told(rule: type[Any]) -> Callable[[Rule], Any]:
    """Give what tells the fields of a rule of this class."""
    return attrgetter(*(field.name for field in fields(rule)))


class Mixed(DayRule):
    """The rules of many accounts, by their numbers, shape (accounts,)."""

    roll: Roll = "none"  # each rule has rolled its own days

    def __init__(self, numbers: Numbers, which: Indexes) -> None:
        self.numbers, self.which = numbers, which

    @property
    def kind(self) -> Kind:
        """Which rule of an invoice these are."""
        kind: Kind = self.numbers.rules[self.which[0]].kind
        return kind

    def __str__(self) -> str:
        return f"{len(self.which)} rules"

    def unrolled(self, origin: Days, calendar: Calendar) -> Days:
        """Give the days of each account in a row: one row for all of them where they have one, and its days alone."""
        if origin.ndim == 2:
            return self._days(self.which, origin, calendar)
        distinct = np.flatnonzero(np.bincount(self.which))
        place = np.empty(distinct[-1] + 1, np.intp)
        place[distinct] = np.arange(len(distinct))
        days = self._days(distinct, origin, calendar)
        return days[0] if len(distinct) == 1 else np.take(days, place[self.which], 0)

    def _days(self, which: Indexes, origin: Days, calendar: Calendar) -> Days:
        shapes, values = self.numbers.shape[which], self.numbers.value[which][:, None]
        present = np.flatnonzero(np.bincount(shapes))
        if len(present) == 1:
            return self._alike(present[0], values, origin, calendar)
        days = np.empty((len(which), origin.shape[-1]), DAY)
        for shape in present:
            rows = np.flatnonzero(shapes == shape)
            days[rows] = self._alike(shape, values[rows], origin if origin.ndim == 1 else origin[rows], calendar)
        return days

    def _alike(self, shape: Any, values: npt.NDArray[np.int64], origin: Days, calendar: Calendar) -> Days:
        days: Days = self.numbers.examples[shape].with_numbers(values).apply(origin, calendar)
        return days
