"""Things done in turn (A B C, A B C, ...), and how fast the one is beside the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

ROUNDS = 7

Action = Callable[[], object]


class Ratio(NamedTuple):
    """How fast something is, as a share of the speed of what it stands beside: more is faster.

    `value` is the median of the rounds; half of them lie from `low` to `high`.
    """

    what: str
    value: float
    low: float
    high: float


class Taken(dict[str, list[float]]):
    """The seconds per call of each of several actions, round by round."""

    def median(self, name: str) -> float:
        """Give the median time of an action."""
        return statistics.median(self[name])

    def beside(self, name: str, other: str, what: str = "", times: float = 1) -> Ratio:
        """Give the speed of an action as a share of another's, whose time counts so many times."""
        each = [times * of_other / own for own, of_other in zip(self[name], self[other], strict=True)]
        low, value, high = statistics.quantiles(each, n=4) if len(each) > 1 else each * 3
        return Ratio(what or f"{name} / {other}", value, low, high)


def seconds(action: Action, times: int = 1) -> float:
    """Time an action, per call."""
    begin = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - begin) / times


def in_turn(actions: dict[str, tuple[Action, int]], rounds: int = ROUNDS) -> Taken:
    """Time actions in turn, each as often as said."""
    taken = Taken({name: [] for name in actions})
    for _ in range(rounds + 1):
        for name, (action, times) in actions.items():
            taken[name].append(seconds(action, times))
    return Taken({name: values[1:] for name, values in taken.items()})  # the first round warms up
