"""What several formats say in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from ebill.explain import Explanation
from ebill.standing import WarningCode

WARNINGS: Final[Mapping[WarningCode, str]] = {
    "recommended_may_not_post_in_time": "Paid on the recommended date, a payment may post too late",
    "recommended_not_business_day": "The recommended date is no business day",
    "due_not_business_day": "The due date is no business day",
    "grace_runs_past_next_due": "The grace runs past the next due date",
    "assumed_rule": "Some rules are assumed",
    "exception_applied": "Dates are fixed by an exception",
    "floor_applied": "A floor has moved the end of the grace",
}


def day(value: date | None) -> str:
    """Say a date with its weekday, or a dash for none.

    >>> day(date(2026, 8, 1))
    'Sat 2026-08-01'
    """
    return f"{value:%a %Y-%m-%d}" if value else "-"


def source(layer: str, scope: str, since: str) -> str:
    """Say where a rule comes from: `state PA, since 2000-01`."""
    return f"{layer.replace('_', ' ')}{' ' + scope if scope else ''}, since {since}"


def because(why: Explanation) -> str:
    """Say in one line why a date is what it is: its rule, what moved it, and on whose word."""
    moved = "".join(f"; then {move['detail']}" for move in why["moved"])
    assumed = "; assumed" if why["assumed"] else ""
    return f"{why['sentence']}{moved} ({source(why['layer'], why['scope'], why['since'])}: {why['cite']}{assumed})"
