"""Every goal, in order: each module beside this one named `gNN_…` has one in `GOAL`, or several in `GOALS`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tests.trust.goals import Goal


def goals() -> list[Goal]:
    """Find them all, by the names of their modules."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("g[0-9]*_*.py"))
    modules = [import_module(f"tests.trust.{name}") for name in names]
    return [goal for module in modules for goal in getattr(module, "GOALS", None) or [module.GOAL]]
