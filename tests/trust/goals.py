"""What a goal is: a rule that must hold, the figure that shows it, and the faults that must break it.

A goal is shown at two sizes: *quick*, in seconds, on every change, and *long*, for a release. Each of its faults is
planted once at the quick size, and the goal must fall: a check that nothing can fail says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeVar

Size = Literal["quick", "long"]
Choice = TypeVar("Choice")
Plant = Callable[[], AbstractContextManager[object]]
"""What plants a fault, and takes it out again."""
STORES: Final = ("sqlite", "postgresql")


class Fell(Exception):
    """What was seen does not hold the rule; says what was seen."""


def require(holds: object, seen: str) -> None:
    """Raise Fell unless something holds; unlike an assertion, under `python -O` too."""
    if not holds:
        raise Fell(seen)


@dataclass(frozen=True)
class Run:
    """How far to go, and where.

    `store` is the URL of a new store, up to date and empty, where the goal asks for one. `folder` is empty and goes
    when the run is over. `say` tells whoever waits how far it is.
    """

    size: Size
    folder: Path
    store: str = ""
    say: Callable[[str], None] = field(default=lambda _: None)

    def pick(self, quick: Choice, long: Choice) -> Choice:
        """Give what suits the size."""
        return long if self.size == "long" else quick


@dataclass(frozen=True)
class Goal:
    """A goal: `show` gives the figure in a sentence, or raises Fell; each of `faults` must make it fall.

    With `stores`, it is shown on each of them. `short` says what falls short of it and why, in a sentence.
    """

    id: str
    name: str
    rule: str
    show: Callable[[Run], str]
    faults: Mapping[str, Plant] = field(default_factory=lambda: MappingProxyType({}))
    stores: bool = False
    short: str = ""

    @property
    def places(self) -> tuple[str, ...]:
        """Where it is shown: on each database, or on none."""
        return STORES if self.stores else ("",)
