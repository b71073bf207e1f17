"""Shows a goal where it is to be shown, and sees that each of its faults is caught."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ebill.store.engine import Store
from tests.stores import QUICK, Databases
from tests.trust.goals import Fell, Goal, Plant, Run, Size

Silence = Callable[[str], None]
MOST: Final = 160
"""Characters that are kept of how a goal fell."""


@contextmanager
def a_run(place: str, size: Size, databases: Databases | None, say: Silence = lambda _: None) -> Iterator[Run]:
    """Make what a run needs, and take it away again: a folder, and a store that is up to date and empty."""
    with tempfile.TemporaryDirectory(prefix="ebill-trust-", dir=QUICK) as name:
        folder, url = Path(name), ""
        if place:
            url = f"sqlite:///{folder}/ebill.db" if place == "sqlite" else made(databases)
            store = Store(url)
            store.upgrade()
            store.close()
        try:
            yield Run(size, folder, url, say)
        finally:
            if place == "postgresql":
                made_by(databases).drop(url)


def made(databases: Databases | None) -> str:
    """Make an empty database on PostgreSQL."""
    return made_by(databases).make()


def made_by(databases: Databases | None) -> Databases:
    """Give the server, which a goal with stores cannot do without."""
    if databases is None:
        raise LookupError("a goal with stores needs a PostgreSQL server")
    return databases


def shown(goal: Goal, place: str, size: Size, databases: Databases | None, say: Silence = lambda _: None) -> str:
    """Show a goal and give its figure; raises Fell where it does not hold."""
    with a_run(place, size, databases, say) as run:
        return goal.show(run)


def caught(goal: Goal, plant: Plant, databases: Databases | None) -> str | None:
    """Plant a fault and show the goal, on its first place: give how it fell, or None where it did not."""
    with a_run(goal.places[0], "quick", databases) as run, plant():
        try:
            goal.show(run)
        except (Fell, AssertionError) as fell:
            return str(fell).replace(f"{run.folder}/", "")[:MOST] or type(fell).__name__
    return None
