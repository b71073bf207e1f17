"""A change that is sent again with its key is made once and answered alike: by fifty at once, or after a death."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import func, select

from ebill.store import once
from ebill.store.engine import Store
from ebill.store.tables import audit, rules
from tests.askers import ROOT
from tests.trust.at_once import at_once, when_free
from tests.trust.goals import Goal, Run, require
from tests.world import ACME, Door, door

AT = f"/v1/clients/{ACME}/rules"
RULE = {"since": "2090-01", "generation": {"day_of_month": 9}, "cite": "Letter"}
DIES = {"after": "after"}
"""When a process dies that dies after its commit."""


def send(opened: Door, key: str, body: Any) -> Any:
    """Make the change."""
    return when_free(lambda: opened.ask("manager", "POST", AT, body, {"Idempotency-Key": key}))


def effects(opened: Door) -> tuple[int, int]:
    """Count the rules, and the audit rows of rules."""
    with opened.store.reading() as connection:
        made = connection.scalar(select(func.count()).select_from(rules))
        told = connection.scalar(select(func.count()).select_from(audit).where(audit.c.action == "add_rule"))
    return made or 0, told or 0


def one_more(opened: Door, before: tuple[int, int], what: str) -> None:
    """Require that one thing was done, and told once."""
    now = effects(opened)
    more = now[0] - before[0], now[1] - before[1]
    require(more == (1, 1), f"{what}: {more[0]} effects and {more[1]} audit rows")


def kept(run: Run) -> str:
    """Send one change many times at once, send it again after a death, and send histories of changes."""
    store = Store(run.store)
    try:
        opened = door(store)
        together = run.pick(20, 50)
        _together(opened, together)
        deaths = run.pick(1, 15)
        for number in range(deaths):
            for when in ("before", DIES["after"]):
                run.say(f"death {number + 1}, {when} the commit")
                _after_death(opened, run.store, f"{when} {number}", when)
        histories = run.pick(3, 300)
        sent = 0
        for seed in range(histories):
            run.say(f"history {seed + 1} of {histories}")
            sent += _history(opened, seed)
    finally:
        store.close()
    return (
        f"1 effect and 1 answer of {together} at once, and after each of {2 * deaths} deaths; {histories} histories "
        f"of {sent:,} requests as they should be"
    )


def _together(opened: Door, count: int) -> None:
    before = effects(opened)
    sent = at_once(opened, count, lambda own, _: send(own, "one key", RULE))
    answered = {(answer.status_code, answer.get_data()) for answer in sent}
    require(len(answered) == 1, f"{len(answered)} answers to one change")
    require({status for status, _ in answered} == {201}, f"answered {answered}")
    one_more(opened, before, f"{count} at once")


def _after_death(opened: Door, url: str, key: str, when: str) -> None:
    before = effects(opened)
    body = {**RULE, "cite": key}
    command = [sys.executable, "-m", "tests.trust.dying", url, AT, opened.world.tokens["manager"], key]
    died = subprocess.run(
        [*command, json.dumps(body), when], cwd=ROOT, check=False, timeout=120, stderr=subprocess.DEVNULL
    )
    require(died.returncode == -signal.SIGKILL, f"it did not die but ended with {died.returncode}")
    sent = json.dumps(body).encode()
    first, second = send(opened, key, sent), send(opened, key, sent)
    require(first.status_code == 201, f"sent again, it was {first.status_code}")
    require(first.get_data() == second.get_data(), "sent again, it was answered otherwise")
    one_more(opened, before, f"a death {when} the commit")


def _history(opened: Door, seed: int) -> int:
    """Send changes with few keys and few bodies, and compare each answer with what it must be."""
    draw = random.Random(seed)  # noqa: S311  # no secret
    had: dict[str, tuple[int, bytes]] = {}
    count = draw.randrange(5, 15)
    for _ in range(count):
        key, number = f"history {seed} {draw.randrange(3)}", draw.randrange(2)
        before = effects(opened)
        answer = send(opened, key, {**RULE, "cite": f"letter {number}"})
        if key not in had:
            require(answer.status_code == 201, f"a new key was answered {answer.status_code}")
            one_more(opened, before, "a new key")
            had[key] = number, answer.get_data()
            continue
        require(effects(opened) == before, "a key that was used made something")
        if had[key][0] == number:
            require((answer.status_code, answer.get_data()) == (201, had[key][1]), "the same was answered otherwise")
        else:
            require(answer.status_code == 422, f"a key for something else was answered {answer.status_code}")
    return count


@contextmanager
def forgotten() -> Iterator[None]:
    """Plant that no key is looked up."""
    with patch.object(once, "kept", lambda *_: None), patch.object(once, "keep", lambda *_: None):
        yield


def apart() -> Any:
    """Plant that a key is kept in a second transaction, before which the process dies."""
    return patch.dict(DIES, after="between")


GOAL = Goal(
    id="G7",
    name="A change sent twice",
    rule="1 effect, 1 audit row, the same answer; the key with another body is refused",
    show=kept,
    faults={"no key is looked up": forgotten, "the key is kept in a second transaction": apart},
    stores=True,
)
