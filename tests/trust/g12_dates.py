"""Every date is the one that two other ways of counting give: a walk of one day at a time, and numpy's own calendar.

At the long size the lives are drawn anew each time, from a seed that is told; and every rule is tried in every way it
can be written, which is what `tests/test_oracle.py` and the fifty properties of `tests/test_properties.py` do.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from holidays import financial_holidays

from ebill import rules
from ebill.dates import Days, Months, day_of_month, first_of, library_calendar
from ebill.posting import posts, received
from ebill.rules import GraceDays, Posting
from ebill.service import invoices
from tests.strategies import draw_case
from tests.test_planted import differences, standing_by
from tests.test_schedule import check_case
from tests.trust.goals import Goal, Run, require

ROOT: Final = Path(__file__).parents[2]
FIXED: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"generation": {"day_of_month": 31}},
    {"due": {"day": 31, "roll": "preceding"}},
)
EXHAUSTIVE: Final = ("tests/test_oracle.py", "tests/test_properties.py", "tests/test_dates.py", "tests/test_planted.py")


def show(run: Run) -> str:
    """Compare drawn lives with the day walker, posting with numpy, and standings around every border."""
    seed = run.pick("quick", secrets.token_hex(4))
    compared = _walked(run, seed, run.pick(10_000, 1_000_000))
    counted = _counted()
    for given in FIXED:
        require(not (found := differences(given)), f"{found[:3]}")
    more = f"; {_exhaustive(run)} tests of every rule in every way" if run.size == "long" else ""
    return f"{compared:,} dates of drawn lives (seed {seed}) and {counted:,} postings equal both oracles{more}"


def _walked(run: Run, seed: str, wanted: int) -> int:
    rng, compared = random.Random(f"trust {seed}"), 0  # noqa: S311  # no secret
    while compared < wanted:
        compared += check_case(draw_case(rng, 60))
        run.say(f"{compared:,} of {wanted:,} dates, seed {seed}")
    return compared


def _counted() -> int:
    """Compare when payments of every day of the century post with numpy's counting, on the library's holidays."""
    bank, closed = (
        library_calendar("XFED"),
        np.array(sorted(financial_holidays("XFED", years=range(2000, 2101))), "M8[D]"),
    )
    days = np.arange(np.datetime64("2000-01-03"), np.datetime64("2099-12-01"))
    for late in (False, True):
        arrived = received(days, np.full(len(days), late), bank)
        for low, high in ((2, 3), (0, 1), (5, 10)):
            window = posts(arrived, Posting(low, high, time(17)), bank)
            for found, count in zip(window, (low, high), strict=True):
                wanted = np.busday_offset(days + late, count, roll="forward", holidays=closed)
                require((found == wanted).all(), f"a payment posts on another day than numpy says, {count} days on")
    return 2 * 3 * 2 * len(days)


def _exhaustive(run: Run) -> str:
    run.say("every rule, in every way it can be written")
    command = [sys.executable, "-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider", *EXHAUSTIVE]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    passed = re.search(r"(\d+) passed", done.stdout)
    require(done.returncode == 0 and passed, done.stdout[-600:])
    return f"{int(passed[1]):,}" if passed else ""


@contextmanager
def a_day_late() -> Iterator[None]:
    """Count a grace from the day after the one it begins with."""
    on_time = GraceDays.unrolled
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GraceDays, "unrolled", lambda rule, origin, bank: on_time(rule, origin, bank) + 1)
        yield


@contextmanager
def a_month_at_a_time() -> Iterator[None]:
    """Take each month's day from the month before, so that a short month shortens all after it."""

    def stepped(months: Months, day: Any) -> Days:
        found = day_of_month(months, day)
        return first_of(months) + np.minimum.accumulate((found - first_of(months)).astype(int))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "day_of_month", stepped)
        yield


@contextmanager
def before_for_until() -> Iterator[None]:
    """Take `<` for `<=`: on the last day of its grace, an invoice is said to be beyond it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invoices, "standing", standing_by(np.greater_equal, np.greater, np.greater_equal))
        yield


GOAL = Goal(
    id="G12",
    name="the rules of dates",
    rule="every date equals that of a walk of one day at a time, and every posting numpy's; 1,000,000 dates, all rules",
    show=show,
    faults={
        "a rule is a day late": a_day_late,
        "months are counted one from the other": a_month_at_a_time,
        "< stands for <=": before_for_until,
    },
)
