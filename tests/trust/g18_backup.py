"""Backups made by the command while others write, and restored by the command; upgrades killed at every statement."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sqlalchemy import func, make_url, select, text

from ebill.cli import main
from ebill.store.engine import Store
from ebill.store.tables import audit as audit_rows
from tests.migrating import REVISIONS, tables, upgrade_to, written
from tests.records import furnish, head
from tests.stores import INSTALLED, Databases
from tests.trust.goals import Goal, Run, require
from tests.writers import Writers, faults, starter

_UPGRADE = {"change": "upgrade"}
"""How writers bring a store up to date, for a fault to be planted in."""


def show(run: Run) -> str:
    """Show both, and give how many there were of each."""
    with starter() as writers, _places(run) as places:
        backups = _backups(run, writers, places)
        kills = _upgrades(run, writers, places)
    return (
        f"{backups} of {backups} backups made under writes are whole and a prefix of history once restored; after "
        f"{kills} kills in upgrades from {len(REVISIONS)} schemas, the old one or the new"
    )


class _Places:
    """New databases without any table, where the run's store is."""

    def __init__(self, run: Run) -> None:
        self._run, self._count = run, 0
        database = make_url(run.store).database
        self._server = "" if run.store.startswith("sqlite") else run.store.replace(f"/{database}?", "/{}?")
        self._made: list[str] = []

    def new(self) -> str:
        self._count += 1
        if not self._server:
            return f"sqlite:///{self._run.folder}/place-{self._count}.db"
        with closing(Databases(self._server)) as databases:
            name = f"place_{os.getpid()}_{self._count}"
            databases._ask(f"CREATE DATABASE {name} TEMPLATE template0")
        url = self._server.format(name)
        self._made.append(url)
        return url

    def drop(self) -> None:
        for url in self._made:
            with closing(Databases(self._server)) as databases:
                databases.drop(url)
        self._made.clear()


@contextmanager
def _places(run: Run) -> Iterator[_Places]:
    places = _Places(run)
    try:
        yield places
    finally:
        places.drop()


def _backups(run: Run, writers: Writers, places: _Places) -> int:
    count = run.pick(3, 20)
    with closing(Store(run.store)) as store:
        furnish(store)
    for _ in range(2):
        writers.start(run.store)
    try:
        acknowledged = writers.made(1)
        made: list[tuple[str, list[int]]] = []
        for at in range(1, count + 1):
            run.say(f"backup {at} of {count}")
            acknowledged += writers.made(2)
            before = list(acknowledged)
            file = run.folder / f"backup-{at}"
            _command(run.store, "backup", str(file))
            made.append((places.new(), before))
            _command(made[-1][0], "restore", str(file))
    finally:
        writers.kill()
    with closing(Store(run.store)) as store:
        history = _history(store)
    for url, before in made:
        with closing(Store(url)) as restored:
            found = faults(restored, before)
            require(not found, f"a restored store: {found}")
            there = _history(restored)[:-1]  # the last tells of the restoring
        require(there == history[: len(there)], f"{len(there)} rows of a restored audit are not how history began")
    return count


def _history(store: Store) -> list[Any]:
    with store.reading() as connection:
        return list(connection.execute(select(audit_rows).order_by(audit_rows.c.sequence)).all())


def _command(url: str, *arguments: str) -> None:
    settings = {"EBILL_DATABASE_URL": url, "PATH": f"{INSTALLED / 'bin'}:{os.environ['PATH']}"}
    done = CliRunner().invoke(main, ["db", *arguments], env=settings)
    require(done.exit_code == 0, f"{arguments[0]}: {done.output.strip() or done.exception!r}")


def _upgrades(run: Run, writers: Writers, places: _Places) -> int:
    kills = 0
    with closing(Store(run.store)) as store:
        newest = written(store)
    for revision in ["", *REVISIONS[:-1]]:
        url, (first, step) = places.new(), run.pick((6, 40), (1, 1))
        with closing(Store(url)) as store:
            if revision:
                upgrade_to(store, revision)
                furnish(store)
            old = _state(store)
        at = first
        while True:
            run.say(f"from {revision or 'nothing'}, statement {at}")
            writers.start(url, _UPGRADE["change"], at_statement=at)
            writers.done()
            with closing(Store(url)) as store:
                if _is_newest(store):
                    require(written(store) == newest, f"from {revision}: it is not the schema of the newest release")
                    with store.reading() as connection:
                        require(not revision or head(connection) == 1, f"from {revision}: what was in it is gone")
                    break
                require(_state(store) == old, f"killed at statement {at}, from {revision or 'nothing'}: in between")
            kills += 1
            at += step
    return kills


def _is_newest(store: Store) -> bool:
    return not store.is_empty() and store.is_current()


def _state(store: Store) -> Any:
    """Give a schema as it is written down, and how many rows there are of each table."""
    schema = written(store) if not store.is_sqlite or Path(str(store.engine.url.database)).exists() else []
    if not schema:
        return [], {}
    with store.reading() as connection:
        return schema, {
            name: connection.scalar(select(func.count()).select_from(text(f'"{name}"'))) for name in tables(store)
        }


@contextmanager
def _files_copied() -> Iterator[None]:
    """Copy the file itself, as `cp` would: one half of it, and the other half some writes later."""
    whole = Store.backup

    def torn(self: Store, file: Path) -> None:
        source = Path(str(self.engine.url.database))
        half = source.stat().st_size // 2 // 4096 * 4096
        with source.open("rb") as read, file.open("wb") as kept:
            kept.write(read.read(half))
            with self.reading() as connection:
                seen = head(connection)
            for _ in range(200):
                with self.reading() as connection:
                    if head(connection) > seen + 3:
                        break
                time.sleep(0.01)
            kept.write(read.read())

    Store.backup = torn  # type: ignore[method-assign]
    try:
        yield
    finally:
        Store.backup = whole  # type: ignore[method-assign]


@contextmanager
def _upgraded_in_pieces() -> Iterator[None]:
    _UPGRADE["change"] = "upgrade in pieces"
    try:
        yield
    finally:
        _UPGRADE["change"] = "upgrade"


GOAL = Goal(
    id="G18",
    name="backup, restore and migration",
    rule="a backup made under writes is whole, and once restored a prefix of history; an upgrade from any released "
    "schema, killed at any statement, leaves the old schema or the new one",
    show=show,
    faults={"files are copied": _files_copied, "an upgrade in several transactions": _upgraded_in_pieces},
    stores=True,
)
