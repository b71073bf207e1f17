"""What every answer about an account is made of: its invoices, as they stand on a day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NotRequired, TypedDict, cast
from zoneinfo import ZoneInfo

from ebill.dates import library_release
from ebill.explain import Explanation, explain
from ebill.rulebook import Life, RuleBook, Timeline
from ebill.rules import Timezone
from ebill.schedule import DateName
from ebill.standing import STANDINGS, Standing, Warned, standing, warnings

DRAWN_MOST: Final = 240
"""Invoices kept drawn for one life, beyond which they are let go."""


QUARTER: Final = 900
"""Seconds within which, counted from any hour, no zone's midnight falls."""


class Version(TypedDict):
    """Which rules answered: the rule book's content hash, and the release of the `holidays` library."""

    version: str
    holidays: str


class Invoice(TypedDict):
    """One invoice's dates."""

    coverage_month: str
    generation_date: date
    due_date: date
    grace_end_date: date
    next_generation_date: date | None
    recommended_pay_by_date: date
    safe_pay_by_date: date
    standing: Standing
    warnings: list[Warned]
    explanation: NotRequired[dict[DateName, Explanation | None]]


class NotBilledMonth(TypedDict):
    """A month of the span that was asked for and has no invoice."""

    coverage_month: str
    reason: str


def versions(book: RuleBook) -> Version:
    """Name the rules that answer."""
    return {"version": book.version, "holidays": library_release()}


def invoices(life: Life, rows: slice, as_of: date, *, explained: bool) -> list[Invoice]:
    """Give the invoices of a slice of rows as they stand on a day; `explained` with the why of each date."""
    found = []
    for row, drawn in zip(range(rows.start, rows.stop), _drawn(life, rows), strict=True):
        if drawn is None:
            continue
        invoice = drawn.copy()
        stands = standing(drawn["generation_date"], drawn["due_date"], drawn["grace_end_date"], as_of)
        invoice["standing"] = STANDINGS[stands]
        if explained:
            invoice["explanation"] = _explained(life, row)
        found.append(invoice)
    return found


def _drawn(life: Life, rows: slice) -> list[Invoice | None]:
    """Give what of the invoices does not depend on the day, None where there is no invoice; drawn once and kept."""
    kept: dict[int, Invoice | None] = life.drawn
    if not all(row in kept for row in range(rows.start, rows.stop)):
        if len(kept) > DRAWN_MOST:
            kept = life.drawn = {}  # whoever reads the old ones at the moment keeps them
        columns = life.columns(rows)
        warned = warnings(life, rows, columns)
        billed = life.schedule.billed[rows].tolist()
        for row, values, listed, is_billed in zip(
            range(rows.start, rows.stop), zip(*columns.values(), strict=True), warned, billed, strict=True
        ):
            invoice = {
                "coverage_month": life.month(row),
                **dict(zip(columns, values, strict=True)),
                "standing": None,
                "warnings": listed,
            }
            kept[row] = cast(Invoice, invoice) if is_billed else None
    return [kept[row] for row in range(rows.start, rows.stop)]


def _explained(life: Life, row: int) -> dict[DateName, Explanation | None]:
    """Give the why of each date, told once and kept."""
    found = life.explained.get(row)
    if found is None:
        if len(life.explained) > DRAWN_MOST:
            life.explained = {}
        found = life.explained[row] = explain(life, row)
    return cast("dict[DateName, Explanation | None]", found)


def not_billed(life: Life, rows: slice, first: str | None = None, last: str | None = None) -> list[NotBilledMonth]:
    """Give the months of a slice of rows that have no invoice, and why; those billed elsewhere are left out.

    `first` and `last` are the account's own: see `Life.why_not_billed`.
    """
    found: list[NotBilledMonth] = []
    for row in range(rows.start, rows.stop):
        reason = None if life.schedule.billed[row] else life.why_not_billed(row, first, last)
        if reason is not None:
            found.append({"coverage_month": life.month(row), "reason": reason})
    return found


def today_ends(timeline: Timeline, now: datetime) -> datetime:
    """Give an instant until which `today` stays what it is `now`; it is after `now`, or nobody can tell."""
    return day_ends(timeline.on(now).rule("timezone").name, now)


def day_ends(zone: str, now: datetime) -> datetime:
    """Give an instant until which it is the same day in a zone, and that zone counts: see `today_ends`.

    The zone is that of the UTC month, so with a new one another zone may count.
    """
    here = ZoneInfo(zone)
    midnight = datetime.combine(now.astimezone(here).date() + timedelta(1), time(), here)
    zone_ends = (now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(32)).replace(
        day=1
    )
    return min(midnight.astimezone(UTC), zone_ends)


def quarter(now: datetime) -> int:
    """Give the number of the quarter of an hour that an instant is in."""
    return int(now.timestamp()) // QUARTER


def zone_name(timeline: Timeline, day: date) -> str:
    """Name the zone in force on a day."""
    return cast(Timezone, timeline.on(day).rule("timezone")).name
