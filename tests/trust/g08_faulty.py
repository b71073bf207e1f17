"""A database that is locked, slow, cut off or gone is told as that, in time; and when it is back, so are we."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from sqlalchemy import text

from ebill.store import engine, patience
from ebill.store.engine import Store
from ebill.store.postgresql import Dialect
from tests.stores import Databases, running
from tests.trust.asking import Asking, opened
from tests.trust.goals import Goal, Run, require
from tests.trust.wire import Way, Wire, wire
from tests.world import World, fill

HEALS = 5.0
"""Seconds after which all is well again."""
LOCKED_IN = 30.0
"""Seconds in which others can be locked out."""


def filled(url: str) -> World:
    """Fill a store."""
    store = Store(url)
    try:
        return fill(store)
    finally:
        store.close()


def said(asking: Asking, healed: float) -> str:
    """Give the figures."""
    answered, refused, slow = asking.check()
    return (
        f"{answered:,} answers, {refused:,} of them refusals with Retry-After, none after more than {slow:.1f} s; "
        f"well again after {healed:.1f} s at most"
    )


def _lock(other: sqlite3.Connection) -> None:
    """Lock others out. By itself SQLite tries ten times a second, and those who ask may leave no gap just then."""
    end = time.monotonic() + LOCKED_IN
    while True:
        try:
            other.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
        else:
            return


def locked(run: Run) -> str:
    """Hold an exclusive lock on SQLite, again and again."""
    url = f"sqlite:///{run.folder}/ebill.db"
    store = Store(url)
    store.upgrade()
    store.close()
    asking = Asking(opened(url, filled(url)), threads=4, limit=run.pick(3.5, 3.0))
    healed = []
    try:
        for at in range(run.pick(1, 4)):
            run.say(f"lock {at + 1}")
            with closing(sqlite3.connect(run.folder / "ebill.db", isolation_level=None, timeout=0.05)) as other:
                with asking.under_way():
                    time.sleep(0.2)
                    _lock(other)
                    time.sleep(run.pick(4, 10))
                    other.execute("ROLLBACK")
                healed.append(asking.heals(HEALS))
        return said(asking, max(healed))
    finally:
        asking.door.store.close()


@contextmanager
def wired(run: Run) -> Iterator[tuple[Asking, Store, Wire]]:
    """Have PostgreSQL at the other end of a wire: who asks over it, the same store without it, and the wire."""
    with running("fsync=off") as server, closing(Databases(server.address)) as databases:
        url = databases.make()
        store = Store(url)
        store.upgrade()
        world = fill(store)
        with wire(url) as between:
            asking = Asking(opened(between.address, world), threads=4, limit=run.pick(4.0, 3.0))
            try:
                yield asking, store, between
            finally:
                asking.door.store.close()
                store.close()


def fails(run: Run, asking: Asking, between: Wire, ways: list[tuple[Way, float]]) -> float:
    """Have the wire fail in each way, each for so many seconds; gives how long it took to be well again at most."""
    healed = []
    for turn in range(run.pick(1, 3)):
        for way, seconds in ways:
            run.say(f"{way}, turn {turn + 1}")
            with asking.under_way():
                time.sleep(0.1)
                between.be(way)
                time.sleep(seconds)
                between.be("open")
            healed.append(asking.heals(HEALS))
    return max(healed)


def slow(run: Run) -> str:
    """Have the wire be slow, and pass nothing on."""
    with wired(run) as (asking, _, between):
        return said(asking, fails(run, asking, between, [("slow", run.pick(1.5, 10)), ("stalled", run.pick(4.6, 10))]))


def broken(run: Run) -> str:
    """Have the wire break in every way, lock PostgreSQL, and end its processes."""
    ways: list[Way] = ["cut", "half an answer", "cut before commit", "cut after commit"]
    with wired(run) as (asking, store, between):
        healed = [fails(run, asking, between, [(way, run.pick(0.5, 5.0)) for way in ways])]
        healed += [hold(run, asking, store) for hold in (locks, ends_processes)]
        _not_noticed(asking, store)
        figures = said(asking, max(healed))
    known = [each for each in asking.answered if each.code == "outcome_unknown"]
    require(len(known) > 1, "no outcome was unknown: the wire was not cut after a commit")
    return f"{figures}; {len(known)} outcomes unknown, each settled by its key"


def locks(run: Run, asking: Asking, store: Store) -> float:
    """Lock a table that everybody needs."""
    with asking.under_way(), store.engine.connect() as other, other.begin():
        other.execute(text("SET TRANSACTION READ WRITE"))
        other.execute(text("LOCK TABLE client IN ACCESS EXCLUSIVE MODE"))
        time.sleep(run.pick(1.5, 10))
    return asking.heals(HEALS)


def ends_processes(run: Run, asking: Asking, store: Store) -> float:
    """End the processes of PostgreSQL that serve us, while they do."""
    with asking.under_way():
        for _ in range(run.pick(3, 30)):
            time.sleep(0.1)
            _end_processes(store)
    return asking.heals(HEALS)


def _end_processes(store: Store) -> None:
    others = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database() AND client_addr IS NULL"
    )
    with store.reading() as connection:
        connection.execute(others).all()


def _not_noticed(asking: Asking, store: Store) -> None:
    """Connections that ended while nobody used them are not even noticed."""
    _end_processes(store)
    time.sleep(0.2)
    found = [asking.ask(number).status for number in range(4)]
    require(set(found) <= {200, 201}, f"after connections had ended, the next answers were {found}")


@contextmanager
def no_lock_timeout() -> Iterator[None]:
    """Plant that SQLite waits for a lock as long as it takes."""

    def set_up(right: Callable[..., None], connection: Any, record: object) -> None:
        right(connection, record)
        connection.execute("PRAGMA busy_timeout = 60000")

    with patch.object(engine, "_set_up_sqlite", partial(set_up, engine._set_up_sqlite)):
        yield


def no_check() -> Any:
    """Plant that connections of the pool are taken as they are."""
    return patch.object(Dialect, "do_ping", lambda *_: True)


def no_clock() -> Any:
    """Plant that an answer of PostgreSQL is waited for as long as it takes."""
    return patch.multiple(patience, SECONDS=60.0, PING_SECONDS=60.0)  # when it stalls, all may just be asking for life


def known_outcome() -> Any:
    """Plant that a commit whose answer was lost is told as one that failed."""
    return patch.object(engine, "_commit", lambda transaction: transaction.commit())


GOALS = [
    Goal(
        id="G8",
        name="A locked SQLite",
        rule="an answer within 3 s, a refusal says when to come again; well again within 5 s",
        show=locked,
        faults={"no limit to a wait for a lock": no_lock_timeout},
    ),
    Goal(
        id="G8b",
        name="PostgreSQL on a wire that is slow or stalls",
        rule="the same",
        show=slow,
        faults={"no clock of our own": no_clock},
    ),
    Goal(
        id="G8c",
        name="PostgreSQL on a wire that breaks, locked, or ended",
        rule="the same; and a change whose commit may have come through is told as unknown, never as failed",
        show=broken,
        faults={"a pool without a check": no_check, "an unknown outcome told as failed": known_outcome},
    ),
]
