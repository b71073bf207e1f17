"""The tests can fail: a fault planted in the modules that give dates is seen, or is listed with why no test can see it.

A whole run is `make mutants`, and takes longer than all goals together. Here, at the long size, one module has its
turn each day; at the quick size, the list of faults is held to the modules as they are.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from tests import mutants
from tests.trust.goals import Goal, Run, require

MINUTES = 15


def show(run: Run) -> str:
    """Hold the list to the modules; at the long size, plant every fault in the module whose turn it is."""
    files: list[str] = mutants.MUTMUT["only_mutate"]
    planted = [each for file in files for each in placed(file)]
    accepted = mutants.LISTED["accepted"]
    for entry in accepted:
        text = (mutants.ROOT / entry["file"]).read_text("utf-8")
        lines = [line.strip() for line in text.splitlines()]
        gone = [
            line for line in entry["before"].strip().splitlines() if not any(line.strip() in each for each in lines)
        ]
        require(not gone, f"{entry['file']} no longer has what is accepted there: {gone}")
        require(entry.get("why"), f"{entry['file']}: {entry['before']} is accepted without a reason")
    said = f"{len(planted)} faults of the list have their place, {len(accepted)} are accepted with a reason"
    if run.size == "quick":
        return said
    file = files[datetime.now(UTC).timetuple().tm_yday % len(files)]
    run.say(f"every fault in {file}")
    command = [sys.executable, "-m", "tests.mutants", file]
    ran = subprocess.run(command, cwd=mutants.ROOT, capture_output=True, text=True, timeout=60 * MINUTES, check=False)
    require(ran.returncode == 0, (ran.stdout + ran.stderr)[-1_500:])
    figure = next(line for line in ran.stdout.splitlines() if " faults by mutmut and " in line)
    return f"{said}; {file}: {figure} None is unexplained"


def placed(file: str) -> Iterator[mutants.Mutant]:
    """Give the faults that are listed for a module, each of which must have one place."""
    text = (mutants.ROOT / file).read_text("utf-8")
    for before, *others in mutants.LISTED["planted"].get(file, ()):
        require(text.count(before) == 1, f"in {file} there is not one place alone to plant in: {before}")
        yield from (mutants.Mutant(file, "", before, after) for after in others)


@contextmanager
def out_of_step() -> Iterator[None]:
    """Accept a fault where there is nothing of the kind."""
    stray = {"file": "ebill/dates.py", "before": "return yesterday", "after": "return today", "why": "a test"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(mutants.LISTED, "accepted", [*mutants.LISTED["accepted"], stray])
        yield


@contextmanager
def without_reason() -> Iterator[None]:
    """Accept a fault without saying why."""
    first, *others = mutants.LISTED["accepted"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(mutants.LISTED, "accepted", [{**first, "why": ""}, *others])
        yield


GOAL = Goal(
    id="G13",
    name="the tests can fail",
    rule="of every fault planted in the modules that give dates, a test fails, or the list says why none can",
    show=show,
    faults=MappingProxyType(
        {"an accepted fault that is nowhere": out_of_step, "an accepted fault without a reason": without_reason}
    ),
    short="one module a day at the long size, all by `make mutants`; `ebill/access.py` is not among them, since its "
    "tests need a store: G2 and the planted faults of its tests stand for it.",
)
