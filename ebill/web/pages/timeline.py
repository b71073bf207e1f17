"""An account's open invoices drawn to scale: where each of their dates lies between the first and the last of them.

Places are percents of the width, so that a drawing is as wide as its page while its signs stay as large as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

LANES_MOST: Final = 4
EDGE: Final = timedelta(days=3)
"""Days beside the first and the last date."""
LANE: Final = 58
TOP: Final = 44
"""Pixels of a lane, and of what stands above the first one."""
_DAY: Final = timedelta(days=1)
_NEAR_END: Final = 88.0
"""Where a text is written to the left of its place, so as not to be cut off."""
MARKS: Final[Mapping[str, str]] = {
    "generation_date": "generated",
    "due_date": "due",
    "safe_pay_by_date": "safe",
    "recommended_pay_by_date": "recommended",
    "next_generation_date": "next",
    "grace_end_date": "grace",
}


class Bar(NamedTuple):
    """A stretch of days: what it is, where it begins, how wide it is."""

    what: str
    begin: str
    width: str


class Mark(NamedTuple):
    """A day: what it is, and where."""

    what: str
    place: str


class Lane(NamedTuple):
    """One invoice, and how far below the top it is drawn."""

    invoice: Mapping[str, Any]
    top: int
    bars: list[Bar]
    marks: list[Mark]
    label: str


class Tick(NamedTuple):
    """The first of a month."""

    day: date
    place: str
    is_last: bool


class Timeline(NamedTuple):
    """What is drawn: the lanes from top to bottom, the months above them, and today."""

    lanes: list[Lane]
    ticks: list[Tick]
    today: str
    height: int


def timeline(invoices: Sequence[Mapping[str, Any]], as_of: date) -> Timeline | None:
    """Draw the invoices that are open on a day, and the next one; None where there is none of them."""
    chosen = _chosen(invoices, as_of)
    if not chosen:
        return None
    days = [day for invoice in chosen for day in _days(invoice)]
    first, last = min([*days, as_of]) - EDGE, max([*days, as_of]) + EDGE
    scale = _Scale(first, last)
    lanes = [_lane(scale, invoice, TOP + LANE * at) for at, invoice in enumerate(chosen)]
    return Timeline(lanes, list(_ticks(scale)), scale.place(as_of), TOP + LANE * len(lanes))


class _Scale(NamedTuple):
    first: date
    last: date

    def at(self, day: date) -> float:
        return 100.0 * (day - self.first).days / ((self.last - self.first).days + 1)

    def place(self, day: date) -> str:
        """Give the place of the middle of a day."""
        return f"{self.at(day) + 50.0 / ((self.last - self.first).days + 1):.2f}%"

    def bar(self, what: str, first: date, last: date) -> Bar:
        """Give the stretch from one day to another, both inclusive."""
        return Bar(what, f"{self.at(first):.2f}%", f"{self.at(last + _DAY) - self.at(first):.2f}%")


def _chosen(invoices: Sequence[Mapping[str, Any]], as_of: date) -> list[Mapping[str, Any]]:
    billed = [invoice for invoice in invoices if "generation_date" in invoice]
    there = [each for each in billed if each["generation_date"] <= as_of <= _ends(each)]
    coming = [each for each in billed if each["generation_date"] > as_of][:1]
    return [*there[-(LANES_MOST - 1) :], *coming]


def _ends(invoice: Mapping[str, Any]) -> date:
    """Give the last day on which something of an invoice is still to come."""
    ends: date = max([invoice["grace_end_date"], *_posting(invoice)])
    return ends


def _days(invoice: Mapping[str, Any]) -> list[date]:
    return [*(invoice[name] for name in MARKS if invoice[name]), *_posting(invoice)]


def _posting(invoice: Mapping[str, Any]) -> list[date]:
    paid = invoice.get("payment")
    return [_day(paid["paid_at"]), paid["posts_from_date"], paid["posts_by_date"]] if paid else []


def _day(moment: date | datetime) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _lane(scale: _Scale, invoice: Mapping[str, Any], top: int) -> Lane:
    generated, due, grace_end = (invoice[name] for name in ("generation_date", "due_date", "grace_end_date"))
    bars = [scale.bar("invoiced", generated, due)]
    if grace_end > due:
        bars.append(scale.bar("grace", due + _DAY, grace_end))
    if paid := invoice.get("payment"):
        bars.append(scale.bar("posting", paid["posts_from_date"], paid["posts_by_date"]))
    marks = [Mark(what, scale.place(invoice[name])) for name, what in MARKS.items() if invoice[name]]
    return Lane(invoice, top, bars, marks, bars[0].begin)


def _ticks(scale: _Scale) -> Iterator[Tick]:
    day = scale.first.replace(day=1)
    while day <= scale.last:
        if day >= scale.first:
            yield Tick(day, f"{scale.at(day):.2f}%", scale.at(day) > _NEAR_END)
        day = (day + timedelta(days=32)).replace(day=1)
