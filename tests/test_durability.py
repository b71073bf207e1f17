"""What was acknowledged is kept, whole, whatever dies: a process, the power, the disk, the database."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError

from ebill.errors import OutcomeUnknown, StoreRefused, StoreUnavailable
from ebill.store import audit
from ebill.store.engine import Store
from ebill.store.tables import clients as client_rows
from tests.conftest import upgraded
from tests.disk import FAILING, FOLDER_NOT_SYNCED, FULL, OK, Disk, Failing, under_sqlite
from tests.records import BY, edit, furnish, head
from tests.stores import Databases, Server, running
from tests.writers import Writers, faults, furnished, killed_at_each, starter, whole, wrong

pytestmark = pytest.mark.anywhere

Opened = Callable[[str], Store]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens stores, and closes them in the end."""
    with ExitStack() as stores:

        def opened(url: str) -> Store:
            store = Store(url)
            stores.callback(store.close)
            return store

        yield opened


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    """Processes to kill."""
    with starter() as started:
        yield started


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL server of this module's own, to be stopped as a crash would, with PostgreSQL's own durability."""
    with running() as started:
        yield started


@pytest.fixture
def sqlite(sqlite_url: str) -> str:
    """The URL of a store on SQLite with a client."""
    return furnished(sqlite_url)


@pytest.fixture
def postgresql(server: Server) -> str:
    """The URL of a store with a client on the server that may be stopped."""
    with closing(Databases(server.address)) as databases:
        name = f"d{random.randrange(10**9)}"  # noqa: S311  # no secret
        databases._ask(f"CREATE DATABASE {name}")
    return furnished(upgraded(server.address.format(name)))


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


# Processes that die


@pytest.mark.parametrize(("point", "at_least"), [("operation", 20), ("statement", 5)])
def test_a_writer_killed_at_any_point_leaves_nothing_half_done(
    writers: Writers, sqlite: str, point: str, at_least: int
) -> None:
    points, found = killed_at_each(writers, sqlite, "whole", point)
    assert found == []
    assert points > at_least


def test_a_writer_on_postgresql_killed_at_any_point_leaves_nothing_half_done(writers: Writers, postgresql: str) -> None:
    points, found = killed_at_each(writers, postgresql, "whole", "statement")
    assert found == []
    assert points > 5


def test_a_change_in_two_transactions_is_seen_to_be_half_done(writers: Writers, sqlite: str) -> None:
    _, found = killed_at_each(writers, sqlite, "in halves", "statement")
    assert "audit: [1], but the client's version is 2" in found


# Power that fails


def with_settings(store: Store, settings: tuple[str, ...]) -> None:
    """Weaken what a store asks of SQLite."""

    def weaken(connection: Any, _record: object) -> None:
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")

    event.listen(store.engine, "connect", weaken)


UNSYNCED_SETTINGS = [
    ("synchronous = OFF",),
    ("synchronous = NORMAL",),
    ("synchronous = FULL",),
]
TORN_SETTINGS = [("journal_mode = MEMORY",), ("journal_mode = OFF",)]


HARDLY = "the power was hardly ever cut"


def power_cuts(url: str, folder: Path, settings: tuple[str, ...] = ()) -> Iterator[str]:
    """Cut the power before each operation of a few changes and after each; say what is wrong, the last cut first."""
    draw = random.Random(0)  # noqa: S311  # no secret
    disk = Disk()
    disk.holds(file_of(url))
    acknowledged = [2]
    cuts: list[tuple[Path, int]] = []

    def cut(_what: str = "") -> int:
        for unsynced in (draw, draw, None):
            image = folder / str(len(cuts))
            image.mkdir()
            disk.after_power_cut(image, unsynced)
            cuts.append((image / file_of(url).name, acknowledged[-1]))
        return OK

    with under_sqlite(disk):
        store = Store(url)
        with_settings(store, settings)
        whole(store)  # reads and opens what there is to be read and opened
        disk.before = cut
        for _ in range(2):
            acknowledged.append(whole(store))
            cut()
        disk.before = lambda _what: OK
        store.close()
    if len(cuts) < 60:
        yield HARDLY
    for image, last in reversed(cuts):
        try:
            yield from wrong(f"sqlite:///{image}", [last])
        except DBAPIError as error:
            yield f"unreadable: {error}"


def test_power_cut_at_any_point_leaves_all_that_was_acknowledged_and_nothing_half_done(
    sqlite: str, tmp_path: Path
) -> None:
    assert list(power_cuts(sqlite, tmp_path)) == []


@pytest.mark.parametrize("settings", UNSYNCED_SETTINGS, ids=", ".join)
def test_with_weaker_settings_a_power_cut_is_seen_to_lose_something(
    sqlite: str, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    assert any(line.startswith("acknowledged and lost") for line in power_cuts(sqlite, tmp_path, settings))


@pytest.mark.parametrize("settings", TORN_SETTINGS, ids=", ".join)
def test_without_a_journal_on_disk_a_power_cut_is_seen_to_leave_something_half_done(
    sqlite: str, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    assert next(power_cuts(sqlite, tmp_path, settings)) != HARDLY


# Disks that fail

UNSYNCED = {"delete": FOLDER_NOT_SYNCED}


@pytest.mark.parametrize("codes", [FAILING, FULL, UNSYNCED], ids=["fails", "is full", "does not sync the folder"])
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "from then on"])
def test_a_change_that_the_disk_fails_is_refused_truthfully_and_works_again_once_the_disk_does(
    opened: Opened, sqlite: str, codes: dict[str, int], for_ever: bool
) -> None:
    disk = Disk()
    disk.holds(file_of(sqlite))
    refusals: set[str] = set()
    with under_sqlite(disk):
        store = opened(sqlite)
        version = whole(store)
        at = 0
        while True:
            at += 1
            disk.before = failing = Failing(codes, at, for_ever=for_ever)
            possible = {version, version + 1}
            try:
                version = whole(store)
                assert disk.unsynced() == []
                possible = {version}
            except OutcomeUnknown:
                refusals.add("unknown")
            except StoreUnavailable:
                refusals.add("unavailable")
                possible = {version}
            disk.before = lambda _what: OK
            assert faults(store) == []
            with store.reading() as connection:
                version = head(connection)
            assert version in possible
            if failing.left > 0:
                break
            assert whole(store) == version + 1
            version += 1
            assert disk.unsynced() == []
    assert at > (1 if codes is UNSYNCED else 20)
    assert refusals == ({"unknown"} if codes is UNSYNCED else {"unknown", "unavailable"})
    assert wrong(sqlite, [version]) == []


# Databases that are busy, or gone


def test_a_locked_sqlite_is_unavailable_and_heals(opened: Opened, sqlite: str) -> None:
    store = opened(sqlite)
    with closing(sqlite3.connect(file_of(sqlite), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable), store.reading() as connection:
            head(connection)
        with pytest.raises(StoreUnavailable), store.glancing() as glance:
            glance.execute(select(client_rows), {})
        with pytest.raises(StoreUnavailable):
            whole(store)
        other.execute("ROLLBACK")
    assert whole(store) == 2


def test_a_reader_that_stays_makes_a_writer_on_sqlite_give_up_and_nothing_is_changed(
    opened: Opened, sqlite: str
) -> None:
    store = opened(sqlite)
    with closing(sqlite3.connect(file_of(sqlite), isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM client").fetchall()
        with pytest.raises(StoreUnavailable) as raised:
            whole(store)
        other.execute("ROLLBACK")
    assert type(raised.value) is StoreUnavailable
    assert whole(store) == 2
    assert faults(store) == []


def test_a_writer_that_stays_makes_another_give_up_and_readers_read_on(
    opened: Opened, store: Store, store_url: str
) -> None:
    furnish(store)
    other = opened(store_url)
    with other.writing(BY) as write:
        for late in (store, other):  # of another process, and of the same
            with pytest.raises(StoreUnavailable):
                whole(late)
            with late.reading() as connection:
                assert head(connection) == 1
        edit(write)
    assert whole(store) == 3
    assert faults(store) == []


def test_a_locked_table_of_postgresql_is_unavailable_and_heals(opened: Opened, postgresql: str) -> None:
    store, other = opened(postgresql), opened(postgresql)
    with other.writing(BY) as write:
        write.connection.execute(text("LOCK TABLE client IN ACCESS EXCLUSIVE MODE"))
        write.unchanged()
        with pytest.raises(StoreUnavailable), store.reading() as connection:
            head(connection)
    assert whole(store) == 2


def test_a_question_that_takes_too_long_is_given_up(opened: Opened, postgresql: str) -> None:
    store = opened(postgresql)
    with pytest.raises(StoreUnavailable), store.reading() as connection:
        connection.execute(text("SELECT pg_sleep(60)"))
    assert whole(store) == 2


def test_a_postgresql_that_has_gone_is_unavailable_and_heals_when_it_is_back(
    opened: Opened, server: Server, postgresql: str
) -> None:
    store = opened(postgresql)
    assert whole(store) == 2
    server.stop()
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable), store.reading() as connection:
                head(connection)
            with pytest.raises(StoreUnavailable), store.glancing() as glance:
                glance.execute(select(client_rows), {})
            with pytest.raises(StoreUnavailable) as raised:
                whole(store)
            assert type(raised.value) is StoreUnavailable
    finally:
        server.start()
    assert whole(store) == 3
    assert faults(store, [2, 3]) == []


def test_a_postgresql_that_was_started_anew_meanwhile_is_not_even_noticed(
    opened: Opened, server: Server, postgresql: str
) -> None:
    store = opened(postgresql)
    assert whole(store) == 2
    server.stop()
    server.start()
    assert whole(store) == 3
    assert faults(store, [2, 3]) == []


def end_backend(store: Store, pid: int) -> None:
    """Have PostgreSQL end the process of a connection, and wait until it has."""
    with store.reading() as connection:
        assert connection.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def cut_off(store: Store, other: Store) -> None:
    """Make a change whose connection dies before its end."""
    with store.writing(BY) as write:
        edit(write)
        end_backend(other, write.connection.scalar(text("SELECT pg_backend_pid()")) or 0)
        write.audit("too late")


def test_a_connection_that_dies_within_a_change_leaves_nothing_of_it(opened: Opened, postgresql: str) -> None:
    store, other = opened(postgresql), opened(postgresql)
    with pytest.raises(StoreUnavailable) as raised:
        cut_off(store, other)
    assert type(raised.value) is StoreUnavailable
    assert whole(store) == 2
    assert faults(store, [2]) == []


@pytest.mark.parametrize("came_through", [True, False])
def test_a_connection_that_dies_while_it_commits_leaves_the_outcome_unknown(
    opened: Opened, postgresql: str, monkeypatch: pytest.MonkeyPatch, came_through: bool
) -> None:
    store, other = opened(postgresql), opened(postgresql)

    def commit(connection: Any) -> None:
        pid = connection.driver_connection.info.backend_pid
        if came_through:
            connection.commit()
        end_backend(other, pid)
        connection.execute("SELECT 1")

    monkeypatch.setattr(store.engine.dialect, "do_commit", commit)
    with pytest.raises(OutcomeUnknown, match="either made or not"):
        whole(store)
    monkeypatch.undo()
    assert whole(store) == (3 if came_through else 2)
    assert faults(store) == []


# Backups: made while others write, see `tests/trust/g18_backup.py`


def test_a_backup_is_a_store_to_go_on_with(opened: Opened, sqlite: str, tmp_path: Path) -> None:
    store = opened(sqlite)
    whole(store)
    store.backup(tmp_path / "copy.db")
    whole(store)
    copied = opened(f"sqlite:///{tmp_path}/copy.db")
    assert copied.is_current()
    assert whole(copied) == 3
    assert faults(copied) == faults(store) == []
    with copied.reading() as connection:
        assert audit.last(connection).sequence == 3


def test_a_copy_of_the_file_alone_is_seen_to_be_broken(opened: Opened, sqlite: str, tmp_path: Path) -> None:
    disk = Disk()
    disk.holds(file_of(sqlite))
    copies: list[Path] = []

    def copy(_what: str) -> int:
        copies.append(tmp_path / f"copy-{len(copies)}.db")
        copies[-1].write_bytes(disk.names[str(file_of(sqlite))].content)
        return OK

    with under_sqlite(disk):
        store = opened(sqlite)
        whole(store)
        disk.before = copy
        whole(store)
        disk.before = lambda _what: OK
    found = []
    for each in copies:
        try:
            found += wrong(f"sqlite:///{each}", [])
        except DBAPIError as error:
            found.append(str(error))
    assert found


def test_a_backup_overwrites_nothing(opened: Opened, sqlite: str, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("precious")
    store = opened(sqlite)
    with pytest.raises(StoreRefused, match="overwrites nothing"):
        store.backup(tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"
    assert [each.name for each in tmp_path.iterdir()] == ["copy.db"]


def test_a_backup_to_nowhere_is_refused(opened: Opened, sqlite: str, tmp_path: Path) -> None:
    store = opened(sqlite)
    with pytest.raises(StoreRefused, match="cannot be made"):
        store.backup(tmp_path / "nowhere" / "copy.db")
    assert list(tmp_path.iterdir()) == []


def test_a_store_on_postgresql_is_not_copied_as_a_file(opened: Opened, postgresql: str, tmp_path: Path) -> None:
    store = opened(postgresql)
    with pytest.raises(StoreRefused, match="pg_dump"):
        store.backup(tmp_path / "copy.db")
