"""The same answers wherever and whenever they are asked for: in any zone, on any day, however Python is started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Final

from tests.trust.goals import Fell, Goal, Run, require

ROOT: Final = Path(__file__).parents[2]
DIGEST: Final = """
import hashlib, os, random, sys
if os.environ.get("EBILL_PLANTED") == "today":
    from datetime import date
    import numpy as np
    from ebill.rules import GraceDays
    on_time = GraceDays.unrolled
    def by_today(rule, origin, bank):
        return on_time(rule, origin, bank) + date.today().weekday()
    GraceDays.unrolled = by_today
from tests.strategies import ask, draw_case
found = [draw_case(random.Random(seed), 24).schedule() for seed in range(6)]
text = repr([[each.days(name).tolist() for name in each.trails] for each in found])
asked = {"from": "2026-01", "months": 24, "paid_at": "2026-03-08T06:30:00+00:00", "explain": True}
print(hashlib.sha256((text + repr(ask(state="PA", **asked))).encode()).hexdigest())
"""
ZONES: Final = ("UTC", "Pacific/Kiritimati", "Etc/GMT+12", "America/New_York")
CLOCKS: Final = ("", "2027-12-31 23:59:58", "2028-02-29 12:00:00", "2038-01-19 03:14:06")
SEEDS: Final = ("0", "1", "77")
WAYS: Final = ((), ("-O",), ("-OO",))
LANGUAGES: Final = ("C", "tr_TR.UTF-8")
QUICK: Final = (
    ("UTC", "", "0", (), "C"),
    ("Pacific/Kiritimati", "2027-12-31 23:59:58", "1", ("-O",), "tr_TR.UTF-8"),
    ("Etc/GMT+12", "2038-01-19 03:14:06", "77", (), "C"),
)


def show(run: Run) -> str:
    """Ask the same in processes that are told another zone, clock, seed of hashes, language and way to start."""
    every = run.pick(QUICK, tuple(product(ZONES, CLOCKS, SEEDS, WAYS, LANGUAGES)))
    first = None
    for number, (zone, clock, seed, options, language) in enumerate(every, 1):
        run.say(f"{number} of {len(every)} environments")
        answered = _answer(zone, clock, seed, options, language)
        first = first or answered
        require(answered == first, f"another answer in {zone}, at {clock or 'now'}, seed {seed}, {options}, {language}")
    return f"{len(every)} environments, one answer"


def _answer(zone: str, clock: str, seed: str, options: tuple[str, ...], language: str) -> str:
    told = {"TZ": zone, "PYTHONHASHSEED": seed, "LC_ALL": language, "PYTHONPATH": str(ROOT)}
    faked = ["faketime", "-f", f"@{clock}"] if clock else []
    command = [*faked, sys.executable, *options, "-W", "error", "-c", DIGEST]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise Fell("the clock cannot be set: install Debian's faketime") from None
    require(done.returncode == 0, done.stderr[-400:])
    return done.stdout.strip()


@contextmanager
def a_clock_is_read() -> Iterator[None]:
    """Let a grace depend on the weekday of asking, which is another on each of the days that are faked."""
    os.environ["EBILL_PLANTED"] = "today"
    try:
        yield
    finally:
        del os.environ["EBILL_PLANTED"]


GOAL = Goal(
    id="G15",
    name="one answer wherever it runs",
    rule="the same answers in four zones, on four days, under any seed of hashes, language and `python -O`",
    show=show,
    faults={"the day of asking is read": a_clock_is_read},
)
