"""Each goal of reliability holds at its quick size, and each fault planted against it is caught."""

import gc

import pytest

from tests.stores import Databases
from tests.trust.every import goals
from tests.trust.goals import Goal, Plant
from tests.trust.showing import caught, shown

pytestmark = pytest.mark.anywhere

PLACES = [
    pytest.param(goal, place, id=f"{goal.id}-{place}" if place else goal.id)
    for goal in goals()
    for place in goal.places
]
FAULTS = [
    pytest.param(goal, plant, id=f"{goal.id}-{name.replace(' ', '-')}")
    for goal in goals()
    for name, plant in goal.faults.items()
]


@pytest.mark.parametrize(("goal", "place"), PLACES)
def test_a_goal_holds(goal: Goal, place: str, databases: Databases) -> None:
    assert shown(goal, place, "quick", databases)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(("goal", "plant"), FAULTS)
def test_a_goal_falls_with_a_fault_planted(goal: Goal, plant: Plant, databases: Databases) -> None:
    fallen = caught(goal, plant, databases)
    gc.collect()  # what a fault left open is noticed here
    assert fallen is not None
