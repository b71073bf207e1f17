"""Many clients from CSV into a store, beside reading every cell and keeping it unlooked at."""

from __future__ import annotations

import csv
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from ebill import bookfile
from ebill.rulebook import RuleBook
from ebill.service import imports
from ebill.store import users
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.users import User
from tests.bench.measuring import Ratio, seconds
from tests.bench.serving import NOW, ROOT

STATES = ("PA", "DE", "WV", "NY")
IMPORTER = User("root", "Root", "admin", "PA", 1, frozenset(), frozenset())


def write_clients(file: Path, clients: int, accounts: int, ways: int = 200) -> int:
    """Write clients with so many accounts each, a third of them with one of `ways` rules; give how many rows."""
    random = np.random.default_rng(1)
    generations = [{"days_before_due": days} for days in range(10, 40)]
    generations += [{"day_of_month": day} for day in range(1, 21)]
    own = [(json.dumps({"generation": rule}), f"2026-{month:02}") for month in range(9, 13) for rule in generations][
        :ways
    ]
    columns = (
        "client_id",
        "account_id",
        "name",
        "team_id",
        "state",
        "kind",
        "first_coverage_month",
        "since",
        "rule",
        "cite",
    )
    count = 0
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, ("record", *columns))
        writer.writeheader()
        for number in range(clients):
            of = {"client_id": f"C{number:06}"}
            began = f"{random.integers(2015, 2026)}-{random.integers(1, 13):02}"
            client = {"name": f"Group number {number}", "team_id": "north", "state": random.choice(STATES)}
            rows = [{"record": "client", **client, "first_coverage_month": began}]
            for account in range(accounts):
                elsewhere = random.choice(("", "", "", "NY"))
                named = {"account_id": f"A{account}", "name": f"Account {account} of group {number}"}
                rows.append({"record": "bill_account", **named, "kind": "medical", "state": elsewhere})
            if number % 3 == 0:
                rule, since = own[random.integers(len(own))]
                rows.append({"record": "rule", "since": since, "rule": rule, "cite": "a letter"})
            writer.writerows({**row, **of} for row in rows)
            count += len(rows)
    return count


def new_store(folder: Path) -> Store:
    """Make a store with a team and somebody to import."""
    store = Store(f"sqlite:///{folder / 'bench.db'}")
    store.upgrade()
    with store.writing(By("bench", NOW)) as write:
        users.add_team(write.connection, "north", "Team North")
        users.add_user(write.connection, IMPORTER, NOW)
        write.audit("bench")
    return store


def import_file(store: Store, book: RuleBook, file: Path) -> None:
    """Import a file, and keep it."""
    with file.open(newline="", encoding="utf-8") as opened, store.writing(By("bench", NOW)) as write:
        imports.import_clients(write, book, IMPORTER, opened, dry_run=False)


def copy_file(file: Path, database: Path) -> None:
    """Do the least that an import must: read every cell, and keep it in one transaction."""
    with file.open(newline="", encoding="utf-8") as opened, closing(sqlite3.connect(database)) as connection:
        reader = csv.reader(opened)
        names = next(reader)
        connection.execute(f"CREATE TABLE row ({', '.join(names)})")
        places = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO row VALUES ({places})", reader)  # noqa: S608  # no input of anybody's
        connection.commit()


def import_of(accounts: int, of_each: int) -> None:
    """Import so many accounts; to be run in a process of its own, whose memory is then known."""
    book = bookfile.load(bookfile.path()).book
    with tempfile.TemporaryDirectory() as folder:
        file, store = Path(folder, "clients.csv"), new_store(Path(folder))
        rows = write_clients(file, accounts // of_each, of_each)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        wall, processor = seconds(lambda: import_file(store, book, file)), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        least = seconds(lambda: copy_file(file, Path(folder, "copy.db")))
        store.close()
    print(f"  {accounts:,} accounts, {of_each} a client, {rows:,} rows")
    print(
        f"    {wall:5.1f} s, of the processor {processor:5.1f} s; every cell read and kept unlooked at {least:5.1f} s"
    )
    print(f"    peak memory {peak} MB; before it began {before} MB")
    print(least / wall)


def imports_of_many() -> Iterator[Ratio]:
    """100,000 accounts from CSV into SQLite, once: that takes long."""
    print("\nImport from CSV into an empty store on SQLite", flush=True)
    for of_each in (5, 1):
        command = f"from tests.bench.imports import import_of; import_of(100_000, {of_each})"
        said = subprocess.check_output([sys.executable, "-c", command], cwd=ROOT, text=True)
        *lines, ratio = said.splitlines()
        print(*lines, sep="\n")
        yield Ratio(f"{of_each} a client / every cell read and kept", *[float(ratio)] * 3)
