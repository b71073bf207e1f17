"""Many who ask and change something at once, and what must hold of each answer and of the store, whatever went wrong.

An answer comes in time; a refusal is one to try again later. A change that was acknowledged is there, one that was
refused is not, and one of which nobody knows is there once, when it was sent again.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from sqlalchemy import func, select
from werkzeug.test import TestResponse

from ebill.store import audit
from ebill.store.engine import Store
from ebill.store.tables import audit as audit_rows
from ebill.store.tables import rules
from ebill.web import create_app
from tests.trust.goals import require
from tests.world import ACME, Door, World, book_file

READ = (f"/v1/clients/{ACME}/schedule?from=2026-08", f"/v1/clients/{ACME}", "/v1/clients?limit=5")
CHANGE = f"/v1/clients/{ACME}/rules"


class Answered(NamedTuple):
    """An answer: to a change by this key, or to a question; how long it took; and what it was."""

    key: str
    seconds: float
    status: int
    code: str
    is_told_when: bool


@dataclass
class Asking:
    """An application under way, and all that it answered."""

    door: Door
    threads: int
    limit: float
    """Seconds that an answer may take."""
    answered: list[Answered] = field(default_factory=list)
    _running: list[threading.Thread] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _count: Iterator[int] = field(default_factory=count)

    def ask(self, number: int) -> Answered:
        """Ask something or change something, by turns."""
        at = next(self._count)
        if number % 2 or at % 3 == 0:
            return self.change(f"change {at}")
        return self._time("", lambda: _own(self.door).ask("producer", "GET", READ[at % len(READ)]))

    def change(self, key: str) -> Answered:
        """Make the change that has this key; again, if it was made."""
        body = {"since": "2090-01", "generation": {"day_of_month": 9}, "cite": key}
        return self._time(key, lambda: _own(self.door).ask("manager", "POST", CHANGE, body, {"Idempotency-Key": key}))

    def _time(self, key: str, ask: Any) -> Answered:
        began = time.monotonic()
        answer: TestResponse = ask()
        seconds = time.monotonic() - began
        said = answer.get_json() if answer.content_type == "application/problem+json" else {}
        found = Answered(key, seconds, answer.status_code, said.get("code", ""), "Retry-After" in answer.headers)
        self.answered.append(found)
        return found

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Have all of them ask until this is left; then nobody may be left waiting."""
        self._stop.clear()

        def go_on(number: int) -> None:
            while not self._stop.is_set():
                if self.ask(number).status != 200:
                    time.sleep(0.01)

        self._running = [threading.Thread(target=go_on, args=(number,), daemon=True) for number in range(self.threads)]
        for thread in self._running:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._running:
                thread.join(self.limit + 30)
            left = sum(thread.is_alive() for thread in self._running)
        require(not left, f"{left} of {self.threads} are still waiting for an answer")

    def heals(self, within: float) -> float:
        """Ask until all is well again; gives how many seconds that took."""
        began = time.monotonic()
        well = 0
        while well < 4:
            well = well + 1 if self.ask(well).status in {200, 201} else 0
            require(time.monotonic() - began < within + self.limit, f"not well again after {within:g} s")
            time.sleep(0.01)
        return time.monotonic() - began

    def check(self) -> tuple[int, int, float]:
        """See that all of it holds; gives how many were answered, how many were refused, and the longest wait."""
        for each in list(self.answered):
            if each.code == "outcome_unknown":
                again = self.change(each.key)
                require(again.status == 201, f"sent again with its key, it was {again.status} {again.code}")
        odd = [each for each in self.answered if each.status not in {200, 201, 503}]
        require(not odd, f"answered otherwise: {odd[:3]}")
        refused = [each for each in self.answered if each.status == 503]
        dumb = [each for each in refused if not each.is_told_when or each.code not in CODES]
        require(not dumb, f"refused without a word: {dumb[:3]}")
        slow = max((each.seconds for each in self.answered), default=0)
        require(slow <= self.limit, f"an answer took {slow:.1f} s, not {self.limit:g} s")
        self._compare()
        return len(self.answered), len(refused), slow

    def _compare(self) -> None:
        with self.door.store.reading() as connection:
            found = connection.execute(select(rules.c.cite, func.count()).group_by(rules.c.cite))
            there = {cite: number for cite, number in found if cite.startswith("change ")}
            audited = connection.scalar(
                select(func.count()).select_from(audit_rows).where(audit_rows.c.action == "add_rule")
            )
            breaks = list(audit.breaks(connection))
        unknown = {each.key for each in self.answered if each.code == "outcome_unknown"}
        made = {each.key for each in self.answered if each.status == 201}
        failed = {each.key for each in self.answered if each.key and each.status == 503} - unknown - made
        require(made <= there.keys(), f"acknowledged and lost: {sorted(made - there.keys())[:3]}")
        require(not failed & there.keys(), f"refused, but made: {sorted(failed & there.keys())[:3]}")
        require(set(there.values()) <= {1}, "a change was made more than once")
        require(not breaks, f"the audit breaks at {breaks[:3]}")
        require(audited == sum(there.values()), f"{sum(there.values())} changes, {audited} audit rows of them")


CODES = frozenset({"store_unavailable", "outcome_unknown"})


def _own(door: Door) -> Door:
    """Give the same door, with a client of one's own: one is not for many at once."""
    own = Door.__new__(Door)
    own.__dict__ = {**door.__dict__, "client": door.app.test_client()}
    return own


def opened(url: str, world: World) -> Door:
    """Open an application on a store that was filled."""
    door = Door.__new__(Door)
    door.store, door.world = Store(url), world
    door.app = create_app(book_file(), door.store)
    door.client = door.app.test_client()
    return door
