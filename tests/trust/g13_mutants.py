"""The tests can fail: of the faults that are planted in what gives dates and in who may do what, none goes unseen.

The long run is `make mutants`, whose list says of each fault that no test can see why it is none. The quick one only
sees that what the list plants can still be planted, in the text as it is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests import mutants
from tests.trust.goals import Goal, Run, require

ROOT: Final = Path(__file__).parents[2]
COUNTS: Final = re.compile(r"(\d+) faults by mutmut and (\d+) planted from the list: (\d+) survive, (\d+) are accepted")


def show(run: Run) -> str:
    """Plant all faults, or only see that each of the list has its one place."""
    rows = [(file, row) for file, rows in mutants.LISTED["planted"].items() for row in rows]
    lost = [f"{file}: {before}" for file, (before, *_) in rows if (ROOT / file).read_text().count(before) != 1]
    require(not lost, f"{len(lost)} faults have no one place any more, the first: {lost[:1]}")
    count = sum(len(row) - 1 for _, row in rows)
    if run.size == "quick":
        return f"{count} faults of the list can be planted"
    run.say("planting, which takes a quarter of an hour")
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants"],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    found = COUNTS.search(done.stdout)
    require(found and done.returncode == 0, (done.stdout + done.stderr)[-800:])
    return found[0] + ", each with its reason" if found else ""


@contextmanager
def a_text_that_moved() -> Iterator[None]:
    """Plant in a text that is not there any more."""
    rows = mutants.LISTED["planted"]["ebill/dates.py"]
    rows.append(["no such text", "another"])
    try:
        yield
    finally:
        rows.pop()


GOAL = Goal(
    id="G13",
    name="tests that can fail",
    rule="of the faults planted in what gives dates and decides access, none survives without its reason",
    show=show,
    faults={"the list plants in a text that is gone": a_text_that_moved},
)
