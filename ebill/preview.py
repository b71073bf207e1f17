"""What a rule change would move: every date of every invoice, before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from ebill.rulebook import RuleBook, Scope
from ebill.schedule import DATE_NAMES, DateName

Dates = dict[tuple[str, DateName], date | None]
"""By coverage month and name; a month without an invoice has none."""


class Moved(NamedTuple):
    """One date of one coverage month that moves; None where there is no such date.

    `product` is None for accounts without a product, and for those of every product that is not told of apart.
    """

    state: str
    product: str | None
    coverage_month: str
    name: DateName
    before: date | None
    after: date | None

    @property
    def earlier(self) -> bool:
        """Whether somebody has less time than before."""
        return self.before is not None and self.after is not None and self.after < self.before


@dataclass(frozen=True, slots=True)
class Difference:
    """What moves between two rule books over a span of coverage months.

    `unmoved` are the products of a state (state, product) whose dates stay where those of its other accounts move.
    """

    first: str
    count: int
    states_added: tuple[str, ...]
    states_removed: tuple[str, ...]
    products_added: tuple[str, ...]
    products_removed: tuple[str, ...]
    moved: tuple[Moved, ...]
    unmoved: tuple[tuple[str, str], ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Give the difference as an answer."""
        return {
            "from": self.first,
            "months": self.count,
            "states_added": self.states_added,
            "states_removed": self.states_removed,
            "products_added": self.products_added,
            "products_removed": self.products_removed,
            "moved": [move._asdict() for move in self.moved],
            "unmoved": [{"state": state, "product": product} for state, product in self.unmoved],
        }


def difference(old: RuleBook, new: RuleBook, first: np.datetime64, count: int) -> Difference:
    """Compare two rule books over `count` coverage months from `first`, for states and products that both have.

    A product is told of apart where its dates move otherwise than those of the state's plain accounts: all its moves
    then stand under its own name, or, where it has none, it is among the `unmoved`.
    """
    moved: list[Moved] = []
    unmoved: list[tuple[str, str]] = []
    for state in sorted(old.states.keys() & new.states.keys()):
        plain = _moves_in(old, new, Scope(state), first, count)
        moved += (Moved(state, None, *move) for move in plain)
        for product in sorted(old.products.keys() & new.products.keys()):
            own = _moves_in(old, new, Scope(state, product), first, count)
            if own != plain:
                moved += (Moved(state, product, *move) for move in own)
                if not own:
                    unmoved.append((state, product))
    return Difference(
        first=str(first),
        count=count,
        states_added=tuple(sorted(new.states.keys() - old.states.keys())),
        states_removed=tuple(sorted(old.states.keys() - new.states.keys())),
        products_added=tuple(sorted(new.products.keys() - old.products.keys())),
        products_removed=tuple(sorted(old.products.keys() - new.products.keys())),
        moved=tuple(moved),
        unmoved=tuple(unmoved),
    )


Move = tuple[str, DateName, date | None, date | None]
"""Coverage month, name, before, after."""


def _moves_in(old: RuleBook, new: RuleBook, scope: Scope, first: np.datetime64, count: int) -> list[Move]:
    return list(moves(dates(old, scope, first, count), dates(new, scope, first, count)))


def dates(book: RuleBook, scope: Scope, first: np.datetime64, count: int) -> Dates:
    """Give every date of the billed months of a span, as far as rules govern it. Raises OutsideCalendar."""
    life = book.life(scope)
    governed = life.schedule
    begin = max(0, governed.row(first))
    end = min(governed.row(first) + count, governed.count)
    rows = life.rows(governed.first + begin, max(0, end - begin))
    return {
        (life.month(row), name): day
        for name, days in life.columns(rows).items()
        for row, day in enumerate(days, begin)
        if governed.billed[row]
    }


def moves(before: Dates, after: Dates) -> Iterator[Move]:
    """Give what differs, by month and then in the order of an invoice's life."""
    for month in sorted({month for month, _ in (*before, *after)}):
        for name in DATE_NAMES:
            old, new = before.get((month, name)), after.get((month, name))
            if old != new:
                yield month, name, old, new
