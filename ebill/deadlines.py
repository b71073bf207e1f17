"""Which dates of an account's invoices lie in a span of days, soonest first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final, Literal, NamedTuple, get_args

import numpy as np

from ebill.dates import FIRST_MONTH, Days, Flags, as_days
from ebill.errors import Refusal
from ebill.rulebook import Life, Timeline
from ebill.schedule import DateName

Kind = Literal["generation", "due", "recommended_pay_by", "safe_pay_by", "grace_end", "posts_by"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""Every kind of deadline, in the order of those of one day. That of `posts_by` takes a payment to be recorded."""
OF_INVOICE: Final[Mapping[Kind, DateName]] = {
    "generation": "generation_date",
    "due": "due_date",
    "recommended_pay_by": "recommended_pay_by_date",
    "safe_pay_by": "safe_pay_by_date",
    "grace_end": "grace_end_date",
}
"""The kinds that an invoice has by itself, and which of its dates each is; the first of `KINDS`."""
GENERATION, DUE, GRACE_END = (KINDS.index(kind) for kind in ("generation", "due", "grace_end"))
YEARS_BACK: Final = 3
YEARS_AHEAD: Final = 1
"""Years around a day in which every invoice with a date on it lies: the next one is two years later at most."""


class Dated(NamedTuple):
    """A date of the invoice in a row of a stretch; `order` is the place of its kind in `KINDS`."""

    date: date
    order: int
    row: int


class Stretch(NamedTuple):
    """Some years of a life, as its deadlines need them.

    `begins` is the number of the first coverage month, from the first supported one; `days` has a row for each kind of
    `OF_INVOICE` and a column for each month. Only months of `usable` count: those with an invoice of which every date
    is known. `refusals` tell by row of the others why some date is not known.
    """

    timeline: Timeline
    begins: int
    days: Days
    usable: Flags
    refusals: Mapping[int, Refusal]

    def row(self, month: int) -> int | None:
        """Give the row of a coverage month by its number; None where it is not usable."""
        row = month - self.begins
        return row if 0 <= row < len(self.usable) and self.usable[row] else None


def stretch(life: Life, first_year: int, last_year: int) -> Stretch:
    """Cut the coverage months of some years, both inclusive, out of a life."""
    dates = life.schedule
    first, last = np.datetime64(f"{first_year}-01", "M"), np.datetime64(f"{last_year}-12", "M")
    begin = min(max(0, dates.row(first)), dates.count)
    rows = slice(begin, max(begin, min(dates.row(last) + 1, dates.count)))
    refusals: dict[int, Refusal] = {}
    for row in np.flatnonzero(dates.unknown[rows]).tolist():
        try:
            dates.refuse_unknown(slice(begin + row, begin + row + 1))
        except Refusal as refusal:
            refusals[row] = refusal.with_traceback(None)
    return Stretch(
        life.timeline,
        int((dates.first - FIRST_MONTH).astype(int)) + begin,
        np.stack([dates.days(name)[rows] for name in OF_INVOICE.values()]),
        dates.billed[rows] & ~dates.unknown[rows],
        refusals,
    )


def deadlines(
    stretches: Sequence[Stretch], first: date, last: date, kinds: Collection[Kind] = KINDS
) -> list[list[Dated]]:
    """Give the dates of these kinds from `first` to `last`, both inclusive, of each stretch.

    They are by date, then kind, then coverage month. All stretches are looked through at once: a thousand of them one
    by one would cost a tenth of a second.
    """
    found: list[list[Dated]] = [[] for _ in stretches]
    chosen = [order for order, kind in enumerate(OF_INVOICE) if kind in kinds]
    if not found or not chosen:
        return found
    days = np.concatenate([of.days for of in stretches], axis=1)[chosen]
    usable = np.concatenate([of.usable for of in stretches])
    ends = np.cumsum([len(of.usable) for of in stretches])
    kept, columns = np.nonzero((days >= as_days(first)) & (days <= as_days(last)) & usable)
    which = np.searchsorted(ends, columns, side="right")
    rows = columns - (ends[which] - [len(stretches[each].usable) for each in which.tolist()])
    dates, orders = days[kept, columns], np.array(chosen)[kept]
    in_order = np.lexsort((rows, orders, dates, which))
    listed = (column[in_order].tolist() for column in (which, dates, orders, rows))
    for of, day, order, row in zip(*listed, strict=True):
        found[of].append(Dated(day, order, row))
    return found


def refusals(stretch: Stretch, first: date, last: date) -> list[Refusal]:
    """Tell why dates are missing of invoices that may have a deadline in a span."""
    if not stretch.refusals:
        return []
    months = np.datetime64(first, "M"), np.datetime64(last, "M")
    within = (stretch.days >= as_days(first)) & (stretch.days <= as_days(last))
    near: Flags = np.logical_or.reduce(within)
    return [
        refusal
        for row, refusal in stretch.refusals.items()
        if near[row] or months[0] <= FIRST_MONTH + stretch.begins + row <= months[1]
    ]
