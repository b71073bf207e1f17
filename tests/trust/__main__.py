"""Show the goals at their long size, some two hours in all: `make trust`, or `make trust ARGS="G6 G7"`.

`--quick` shows them at the size of the ordinary tests. What was seen is kept, and the reliability page written; a
figure of the long size is not replaced by a quick one. Ends with 1 where a goal does not hold or a planted fault is
not caught. What the service logs in this process is shown where a goal falls, the last lines of it.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
import traceback
from collections import deque
from contextlib import closing, redirect_stderr
from datetime import UTC, datetime

from rich.console import Console

from ebill.store.engine import Store  # noqa: F401  # before the goals, which may plant faults in it
from tests.stores import Databases, postgresql
from tests.trust import figures
from tests.trust.every import goals
from tests.trust.goals import Goal, Size
from tests.trust.showing import caught, shown

CONSOLE = Console(highlight=False, soft_wrap=True)


class Last(io.TextIOBase):
    """Keeps the last lines that were written to it."""

    def __init__(self, many: int = 10) -> None:
        self.lines = deque[str](maxlen=many)

    def write(self, line: str) -> int:
        """Keep a line."""
        self.lines.append(line.rstrip())
        return len(line)


def main(*given: str) -> int:
    """Show all goals, or those named."""
    size: Size = "quick" if "--quick" in given else "long"
    every, named = goals(), {name for name in given if name != "--quick"}
    if unknown := named - {goal.id for goal in every}:
        sys.exit(f"no goal {', '.join(sorted(unknown))}; the goals are {', '.join(goal.id for goal in every)}")
    asked = [goal for goal in every if not named or goal.id in named]
    with postgresql() as server, closing(Databases(server)) as databases:
        good = [_show(goal, f"{at}/{len(asked)}", size, databases) for at, goal in enumerate(asked, 1)]
    figures.write_page(every)
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    return 0 if all(good) else 1


def _show(goal: Goal, at: str, size: Size, databases: Databases) -> bool:
    seen: dict[str, str] = {}
    faults: dict[str, str | None] = {}
    good = True
    for place in goal.places:
        label = f"[{at}] {goal.id} {goal.name}" + (f", {place}" if place else "")
        begun = time.monotonic()
        log = Last()
        with CONSOLE.status(label) as status, redirect_stderr(log):
            try:
                seen[place] = shown(goal, place, size, databases, lambda said: status.update(f"{label}: {said}"))  # noqa: B023  # called at once
            except Exception as fell:  # noqa: BLE001  # whatever stops a goal, the others are still shown
                seen[place] = f"DOES NOT HOLD: {type(fell).__name__}: {fell}"
                good = False
                CONSOLE.print("\n".join([traceback.format_exc(), *log.lines]), markup=False)
        CONSOLE.print(f"{label}: {seen[place]} ({time.monotonic() - begun:.0f} s)", markup=False)
    for name, plant in goal.faults.items():
        with CONSOLE.status(f"[{at}] {goal.id}, planted: {name}"), redirect_stderr(Last()):
            faults[name] = caught(goal, plant, databases)
        good = good and faults[name] is not None
        CONSOLE.print(f"    planted: {name}: {faults[name] or 'NOT CAUGHT'}", markup=False)
    figures.keep(goal, size, seen, faults, datetime.now(UTC).date())
    return good


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EBILL_DATABASE_URL"] = f"sqlite:///{folder}/ebill.db"
        os.environ["EBILL_TOKEN_RATE"] = str(0)  # some goals ask faster than anybody may
        sys.exit(main(*sys.argv[1:]))
