"""What several formats say in the same words."""

from __future__ import annotations

from datetime import date

from ebill.explain import Explanation


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
