"""Copying a store, whole and as of one instant, and making a store of such a copy.

SQLite is copied by its own backup, PostgreSQL by its own `pg_dump`; never by copying files, which others change. What
is restored is checked before anybody uses it: the database's own check, and the audit's chain.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from ebill.errors import StoreRefused
from ebill.store import audit
from ebill.store.audit import Last
from ebill.store.engine import Store, new_file

BACKED_UP: Final = "back_up"
"""What the audit calls it."""
RESTORED: Final = "restore_backup"


def back_up(store: Store, file: Path) -> None:
    """Copy a store into a file that must not exist yet, while the store is being used. Raises StoreRefused."""
    if store.is_sqlite:
        store.backup(file)
        return
    try:
        with new_file(file) as unfinished:
            _run(store, "pg_dump", "--format=custom", "--no-password", f"--file={unfinished}")
            with unfinished.open("rb") as copied:
                os.fsync(copied.fileno())
    except FileExistsError:
        raise StoreRefused(f"{file} exists already; a backup overwrites nothing.") from None
    except OSError as error:
        raise StoreRefused(f"{file} cannot be made: {error}.") from error


def restore(database_url: str, file: Path) -> Last:
    """Make of a copy the store of a URL, where there is none yet; give the end of its audit. Raises StoreRefused.

    A store of an older release stays of that release.
    """
    if not file.is_file():
        raise StoreRefused(f"{file} is no file.")
    store = Store(database_url)
    try:
        if not store.is_empty():
            raise StoreRefused("There is a store already; a backup is restored where there is none.")
        if store.is_sqlite:
            return _restore_sqlite(Path(str(store.engine.url.database)), file)
        _run(store, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges",
             "--no-password", f"--dbname={_address(store)}", str(file))  # fmt: skip
        return _checked(store)
    finally:
        store.close()


def _restore_sqlite(place: Path, file: Path) -> Last:
    try:
        with new_file(place) as unfinished:
            with (
                closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(unfinished)) as target,
            ):
                source.backup(target)
            with closing(_opened(unfinished)) as store:
                last = _checked(store)
            with unfinished.open("rb") as made:
                os.fsync(made.fileno())
            return last
    except FileExistsError:
        raise StoreRefused(f"{place} exists already; a backup is restored where there is none.") from None
    except (OSError, sqlite3.Error) as error:
        raise StoreRefused(f"{file} cannot be restored: {error}.") from error


def _opened(file: Path) -> Store:
    return Store(f"sqlite:///{file}")


def _checked(store: Store) -> Last:
    """Give the end of the audit of a store that is whole. Raises StoreRefused."""
    if store.is_empty():
        raise StoreRefused("This is no backup of a store: it has no tables of ours.")
    with store.reading(patient=True) as connection:
        wrong: list[Any] = []
        if store.is_sqlite:
            wrong += [line for line in connection.scalars(text("PRAGMA integrity_check")) if line != "ok"]
            wrong += connection.execute(text("PRAGMA foreign_key_check")).all()
        if wrong:
            raise StoreRefused(f"The backup is not whole: {wrong[0]}.")
        broken = next(audit.breaks(connection), None)
        if broken is not None:
            raise StoreRefused(f"The backup is not whole: the audit does not hold at row {broken}.")
        return audit.last(connection)


def _address(store: Store) -> str:
    """Give a database's address without its password, which everybody on a machine sees among the arguments."""
    return store.engine.url.set(drivername="postgresql", password=None).render_as_string()


def _run(store: Store, program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise StoreRefused(f"{program} is not installed; on Debian it is in postgresql-client.")
    password = store.engine.url.password
    settings = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    address = [] if program == "pg_restore" else [f"--dbname={_address(store)}"]
    done = subprocess.run(  # noqa: S603  # a program of PostgreSQL's, and nothing that somebody sent
        [found, *address, *arguments], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env=settings, errors="replace",
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[0]
        raise StoreRefused(f"{program} failed: {said}.")
