"""The figures that were seen, kept in `figures.json`, and the page that tells them."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any, Final

from tests.trust.goals import Goal, Size

KEPT: Final = Path(__file__).with_name("figures.json")
PAGE: Final = Path(__file__).with_name("README.md")
BEGIN: Final = "<!-- figures: written by `make trust` -->\n"
END: Final = "<!-- end of figures -->\n"


def keep(goal: Goal, size: Size, seen: dict[str, str], faults: dict[str, str | None], day: date) -> None:
    """Keep what was seen of a goal: its figure in each place, and how each planted fault made it fall.

    What was seen at the long size stays until it is seen so again.
    """
    kept = _kept()
    if size == "quick" and kept.get(goal.id, {}).get("size") == "long":
        return
    kept[goal.id] = {"seen": day.isoformat(), "size": size, "figures": seen, "faults": faults}
    KEPT.write_text(json.dumps(dict(sorted(kept.items(), key=_order)), indent=2, ensure_ascii=False) + "\n")


def write_page(goals: list[Goal]) -> None:
    """Write the table of all goals into the page, between its two marks."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + "\n".join(table(goals)) + "\n" + END + after)


def table(goals: list[Goal]) -> list[str]:
    """Give the lines of the table: a goal each, with what was last seen of it."""
    kept = _kept()
    lines = ["| goal | must hold | seen | planted, and caught | |", "| --- | --- | --- | --- | --- |"]
    for goal in goals:
        seen = kept.get(goal.id, {"figures": {}, "faults": {}, "size": "", "seen": "not yet"})
        figures = "; ".join(f"{place}: {text}" if place else text for place, text in seen["figures"].items())
        caught = seen["faults"]
        faults = ", ".join(
            name if not caught or caught.get(name) else f"**not caught: {name}**" for name in goal.faults
        )
        when = f"{seen['seen']}, {seen['size']}" if seen["size"] else seen["seen"]
        cells = (f"{goal.id} {goal.name}", goal.rule, (figures + (f" **{goal.short}**" if goal.short else "")), faults)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} | {when} |")
    return lines


def _kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return found


def _order(item: tuple[str, Any]) -> tuple[int, str]:
    number = "".join(filter(str.isdigit, item[0]))
    return int(number), item[0]
