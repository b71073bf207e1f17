"""What was acknowledged is there, whole, whoever was killed; and it was on disk when it was said."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from sqlalchemy import text

from ebill.store import engine, users
from ebill.store.engine import Store
from tests.disk import Disk, under_sqlite
from tests.stores import Databases, running
from tests.trust.goals import Goal, Run, require
from tests.writers import Writers, furnished, killed_at_each, starter, whole, wrong

HOW = {"change": "whole"}
"""How writers write."""


def killed(run: Run) -> str:
    """Kill writers at every statement, then at random."""
    url = furnished(run.store)
    with starter() as writers:
        points, found = killed_at_each(writers, url, HOW["change"], "statement")
        require(not found, f"killed at statement {points}: {found}")
        acknowledged, slowest = killed_at_random(run, writers, url, run.pick(5, 500))
    return (
        f"0 of {len(acknowledged):,} acknowledged changes lost or halved by {run.pick(5, 500)} kills of 4 writers at "
        f"random and one before each of {points} statements; checked whole in {slowest:.1f} s at most"
    )


def killed_at_random(run: Run, writers: Writers, url: str, rounds: int) -> tuple[list[int], float]:
    """Kill four writers at once, over and over, each time after a few acknowledgements."""
    draw = random.Random(0)  # noqa: S311  # no secret
    acknowledged: list[int] = []
    slowest = 0.0
    for at in range(rounds):
        run.say(f"kill {at + 1} of {rounds}")
        for _ in range(4):
            writers.start(url, **HOW)
        acknowledged += writers.made(draw.randrange(1, 10))
        acknowledged += writers.kill()
        began = time.monotonic()
        found = wrong(url, acknowledged)
        slowest = max(slowest, time.monotonic() - began)
        require(not found, f"after {at + 1} kills: {found}")
    require(len(acknowledged) > 2 * rounds, "nothing to speak of was acknowledged")
    return acknowledged, slowest


def crashed(run: Run) -> str:
    """Stop PostgreSQL as a crash would, and kill a process of its own, while writers write."""
    acknowledged: list[int] = []
    slowest = 0.0
    with ExitStack() as stack:
        server, writers = stack.enter_context(running()), stack.enter_context(starter())
        databases = stack.enter_context(closing(Databases(server.address)))
        url = databases.make()
        store = stack.enter_context(closing(Store(url)))
        store.upgrade()
        furnished(url)
        for at in range(run.pick(1, 20)):
            run.say(f"crash {at + 1}")
            for _ in range(4):
                writers.start(url, **HOW)
            acknowledged += writers.made(5)
            os.kill(_process(store), signal.SIGKILL)  # upon which PostgreSQL ends them all, and recovers
            acknowledged += writers.made(5)
            server.stop()
            began = time.monotonic()
            server.start()
            slowest = max(slowest, time.monotonic() - began)
            acknowledged += writers.made(5)
            acknowledged += writers.kill()
            found = wrong(url, acknowledged)
            require(not found, f"after crash {at + 1}: {found}")
    return f"0 of {len(acknowledged):,} acknowledged changes lost in {2 * run.pick(1, 20)} crashes of PostgreSQL"


def _process(store: Store) -> int:
    """Give a process of PostgreSQL's that serves a writer."""
    query = text(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    with store.reading() as connection:
        return int(connection.scalars(query).all()[0])


def synced(run: Run) -> str:
    """Look at what the disk holds whenever something is acknowledged."""
    file = run.folder / "synced.db"
    store = Store(f"sqlite:///{file}")
    store.upgrade()
    store.close()
    furnished(f"sqlite:///{file}")
    disk = Disk()
    disk.holds(file)
    count = run.pick(40, 1000)
    with under_sqlite(disk):
        store = Store(f"sqlite:///{file}")
        try:
            for number in range(count):
                run.say(f"change {number + 1} of {count}")
                whole(store)
                require(not disk.unsynced(), f"acknowledged, and not synced: {disk.unsynced()}")
                with store.noting() as connection:
                    users.add_team(connection, f"team-{number}", "T")
                require(not disk.unsynced(), f"noted, and not synced: {disk.unsynced()}")
        finally:
            store.close()
    require(bytes(disk.names[str(file)].content) == file.read_bytes(), "the disk of the test is not the true one")
    return f"0 unsynced bytes and names at {2 * count:,} acknowledgements"


@contextmanager
def weaker(*settings: str) -> Iterator[None]:
    """Plant weaker settings of SQLite."""

    def set_up(right: Callable[..., None], connection: Any, record: object) -> None:
        right(connection, record)
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")

    with patch.object(engine, "_set_up_sqlite", partial(set_up, engine._set_up_sqlite)):
        yield


def writing(how: str) -> Any:
    """Plant writers that write otherwise."""
    return patch.dict(HOW, change=how)


WEAKER = (
    ("synchronous = OFF",),
    ("synchronous = NORMAL",),
    ("synchronous = FULL",),
    ("journal_mode = WAL", "synchronous = NORMAL"),
)
GOALS = [
    Goal(
        id="G4",
        name="Writers that are killed",
        rule="nothing acknowledged lost, nothing half made, no change without its audit row, the file whole",
        show=killed,
        faults={"a change in two transactions": partial(writing, "in halves")},
        stores=True,
    ),
    Goal(
        id="G4b",
        name="On disk when acknowledged",
        rule="at no acknowledgement a byte, or a name of a file, that a power cut could take back",
        show=synced,
        faults={", ".join(settings): partial(weaker, *settings) for settings in WEAKER},
    ),
    Goal(
        id="G4c",
        name="A PostgreSQL that crashes",
        rule="as for writers that are killed",
        show=crashed,
        faults={"acknowledged, but never kept": partial(writing, "never kept")},
    ),
]
