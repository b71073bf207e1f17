"""The tables are made and brought up to date by migrations, which are taken whole or not at all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, event, text

from ebill.errors import StoreRefused
from ebill.store import engine, keys
from ebill.store.engine import Store
from ebill.store.tables import metadata
from tests.migrating import REVISIONS, SCRIPTS, tables, upgrade_to, written
from tests.records import changing, furnish, head
from tests.stores import Databases
from tests.writers import Writers, starter, whole

pytestmark = pytest.mark.anywhere


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without any table, which need not be there yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    databases: Databases = request.getfixturevalue("databases")
    url = databases.make()
    yield url
    databases.drop(url)


@pytest.fixture
def empty_store(empty_url: str) -> Iterator[Store]:
    """A store without any table."""
    opened = Store(empty_url)
    yield opened
    opened.close()


@pytest.fixture
def full(request: pytest.FixtureRequest, empty_url: str) -> Iterator[Store]:
    """A store up to date, on the same kind of database as `empty_store`."""
    opened = Store(request.getfixturevalue("sqlite_url" if empty_url.startswith("sqlite") else "postgresql_url"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    """Processes to kill."""
    with starter() as started:
        yield started


# What they make


def test_migrations_make_the_tables_that_the_program_knows(store: Store) -> None:
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_they_make_them_word_for_word(full: Store, empty_store: Store) -> None:
    with empty_store.engine.connect().execution_options(ebill_writing=True) as connection, connection.begin():
        metadata.create_all(connection)
    made, known = written(full), written(empty_store)
    if full.is_sqlite:
        assert [each for each in made if each[0] != "trigger" and "alembic" not in each[1]] == known
    else:
        assert [[row for row in rows if "alembic" not in str(row)] for rows in made[:3]] == known[:3]


@pytest.mark.parametrize("missing", ["table", "column", "check"])
def test_a_difference_between_migrations_and_program_is_seen(store: Store, missing: str) -> None:
    change = {
        "table": "DROP TABLE answer_once",
        "column": "ALTER TABLE token DROP COLUMN last_used_at",
        "check": "ALTER TABLE answer_once ADD COLUMN odd INTEGER CHECK (odd < 3)",
    }[missing]
    before = written(store)
    with changing(store) as connection:
        connection.execute(text(change))
    assert written(store) != before
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) != []


def test_every_migration_follows_the_one_before_and_there_is_one_newest() -> None:
    assert [f"{number:04}" for number in range(1, len(REVISIONS) + 1)] == REVISIONS
    assert SCRIPTS.get_heads() == REVISIONS[-1:]


# How they are taken


def test_an_empty_database_is_made_into_a_store(empty_store: Store) -> None:
    assert (empty_store.is_empty(), empty_store.is_current()) == (True, False)
    empty_store.upgrade()
    assert (empty_store.is_empty(), empty_store.is_current()) == (False, True)
    furnish(empty_store)
    assert whole(empty_store) == 2


def test_a_store_that_is_up_to_date_stays_as_it_is(store: Store) -> None:
    furnish(store)
    before = written(store)
    store.upgrade()
    assert written(store) == before
    assert whole(store) == 2


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_store_of_every_release_is_brought_up_to_date_with_all_that_is_in_it(
    empty_store: Store, full: Store, revision: str
) -> None:
    upgrade_to(empty_store, revision)
    assert empty_store.is_current() == (revision == REVISIONS[-1])
    furnish(empty_store)
    empty_store.upgrade()
    with empty_store.reading() as connection:
        assert head(connection) == 1
    assert written(empty_store) == written(full)


def test_the_key_there_was_seals_on_and_makes_the_uids_it_made(empty_store: Store) -> None:
    upgrade_to(empty_store, "0007")
    with changing(empty_store) as connection:
        connection.execute(text("INSERT INTO secret (name, value) VALUES ('cursors', :key)"), {"key": b"k" * 32})
    empty_store.upgrade()
    with empty_store.reading() as connection:
        found = keys.seal(connection)
    assert found is not None
    assert (bytes(found), found.calendars, found.before) == (b"k" * 32, b"k" * 32, None)


def test_a_store_of_a_later_release_is_refused(store: Store) -> None:
    with changing(store) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreRefused, match="made by a newer release"):
        store.upgrade()
    assert not store.is_current()
    assert not store.is_empty()


def test_a_store_made_ready_is_made_once_and_never_brought_up_to_date_unasked(empty_store: Store) -> None:
    upgrade_to(empty_store, "0001")
    if len(REVISIONS) > 1:
        with pytest.raises(StoreRefused, match="ebill db upgrade"):
            empty_store.make_ready()
    empty_store.upgrade()
    empty_store.make_ready()
    assert empty_store.is_current()


def test_of_processes_that_upgrade_at_once_one_does_and_the_others_wait(
    writers: Writers, empty_url: str, empty_store: Store
) -> None:
    for _ in range(4):
        writers.start(empty_url, "upgrade")
    assert writers.done() == []
    assert empty_store.is_current()


def test_an_upgrade_waits_for_a_writer_longer_than_a_change_would(
    empty_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds: list[tuple[int, int]] = []
    make = engine._engine

    def noted(url: str, *, lock_seconds: int = 1, statement_seconds: int = 2) -> Any:
        seconds.append((lock_seconds, statement_seconds))
        return make(url, lock_seconds=lock_seconds, statement_seconds=statement_seconds)

    monkeypatch.setattr(engine, "_engine", noted)
    empty_store.upgrade()
    assert seconds == [(60, 0)]


# Upgrades that die: killed at any statement, see `tests/trust/g18_backup.py`


def test_sqlite_takes_back_the_making_of_tables(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")

    def fail(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if "CREATE TABLE rule " in statement:
            raise ZeroDivisionError

    event.listen(Engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(ZeroDivisionError):
            store.upgrade()
    finally:
        event.remove(Engine, "before_cursor_execute", fail)
    assert tables(store) == set()
    store.upgrade()
    assert store.is_current()
    store.close()


def test_python_itself_begins_no_transaction_and_ends_none(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    with store.reading() as connection:
        raw: Any = connection.connection.driver_connection
        assert raw.isolation_level is None
        assert raw.in_transaction
    with store.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert not raw.in_transaction
    store.close()
