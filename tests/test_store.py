"""What is remembered, on SQLite and on PostgreSQL alike: transactions, tables, and clients as known at an instant."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    Table,
    bindparam,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolIsEmpty

from ebill.errors import KeyReused, StoreRefused, StoreUnavailable
from ebill.store import books, clients, engine, grants, keys, users
from ebill.store.audit import By
from ebill.store.books import Loaded
from ebill.store.clients import Dossier, Entry
from ebill.store.engine import Store, Writing
from ebill.store.once import Asked, Kept, keep, kept
from ebill.store.payments import Payment, payments
from ebill.store.payments import add as add_payment
from ebill.store.tables import APPEND_ONLY, client_versions, metadata
from ebill.store.tables import audit as audit_rows
from ebill.store.tables import clients as client_rows
from ebill.store.tables import users as user_rows
from tests.conftest import upgraded
from tests.records import (
    ACME,
    AT,
    BY,
    ZENITH,
    account,
    asked,
    changing,
    client,
    edit,
    exception,
    furnish,
    head,
    rule,
    user,
)

pytestmark = pytest.mark.anywhere

HOUR = timedelta(hours=1)


def team_names(store: Store) -> dict[str, str]:
    with store.reading() as connection:
        return users.team_names(connection)


def audit_length(store: Store) -> int:
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(audit_rows)) or 0


def add_north(connection: Connection) -> None:
    users.add_team(connection, "north", "North")


def add_north_audited(write: Writing) -> None:
    add_north(write.connection)
    write.audit("put_team")


def break_off(change: AbstractContextManager[Any], work: Callable[[Any], object]) -> None:
    """Begin a change, do some work in it, and fail."""
    with change as under_way:
        work(under_way)
        raise ZeroDivisionError


# Opening


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Store]:
    """A store on SQLite, of tests that are about SQLite alone."""
    opened = Store(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def postgresql(postgresql_url: str) -> Iterator[Store]:
    """A store on PostgreSQL, of tests that are about PostgreSQL alone."""
    opened = Store(postgresql_url)
    yield opened
    opened.close()


def test_the_database_is_what_the_environment_says_or_else_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_DATABASE_URL", "postgresql://ebill@db/ebill")
    assert engine.url() == "postgresql://ebill@db/ebill"
    monkeypatch.setenv("EBILL_DATABASE_URL", "")
    assert engine.url() == "sqlite:///ebill.db"
    monkeypatch.delenv("EBILL_DATABASE_URL")
    assert engine.url() == "sqlite:///ebill.db"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ebill.db",
        "mysql://ebill@db/ebill",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:ebill?mode=memory&uri=true",
        "sqlite:///ebill.db?mode=ro",
    ],
)
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(StoreRefused, match=r"^A store is sqlite:///FILE"):
        Store(url)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_text("Dear diary" * 200)
    store = Store(f"sqlite:///{file}")
    with pytest.raises(StoreRefused, match="no SQLite database"):
        store.upgrade()
    store.close()


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/nowhere/store.db")
    with pytest.raises(StoreUnavailable):
        store.upgrade()
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_is_readable_by_its_owner_alone_and_nothing_is_beside_it(tmp_path: Path) -> None:
    upgraded(f"sqlite:///{tmp_path}/store.db")
    assert [file.name for file in tmp_path.iterdir()] == ["store.db"]
    assert (tmp_path / "store.db").stat().st_mode & 0o777 == 0o600


def test_a_sqlite_without_strict_tables_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(StoreRefused, match=r"3\.37 or later"):
        Store(f"sqlite:///{tmp_path}/store.db")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("journal_mode", "delete"),
        ("synchronous", 3),  # EXTRA
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("busy_timeout", 1000),
        ("fullfsync", 1),
    ],
)
def test_every_connection_to_sqlite_is_durable_and_strict(sqlite: Store, setting: str, value: object) -> None:
    with sqlite.reading() as first, sqlite.reading() as second:
        assert [each.scalar(text(f"PRAGMA {setting}")) for each in (first, second)] == [value, value]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("synchronous_commit", "on"),
        ("statement_timeout", "2s"),
        ("lock_timeout", "1s"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("TimeZone", "UTC"),
    ],
)
def test_every_connection_to_postgresql_is_durable_and_impatient(postgresql: Store, setting: str, value: str) -> None:
    with postgresql.reading() as connection:
        assert connection.scalar(text(f"SHOW {setting}")) == value


def test_the_settings_of_a_postgresql_database_do_not_weaken_ours(postgresql: Store) -> None:
    name = postgresql.engine.url.database
    with postgresql.writing(BY) as write:
        for setting in ("synchronous_commit = off", "default_transaction_isolation = 'repeatable read'"):
            write.connection.execute(text(f"ALTER DATABASE {name} SET {setting}"))
        write.audit("test")
    postgresql.close()
    with postgresql.writing(BY) as write:
        assert write.connection.scalar(text("SHOW synchronous_commit")) == "on"
        assert write.connection.scalar(text("SHOW transaction_isolation")) == "read committed"
        write.unchanged()


def test_a_write_ahead_log_is_turned_off(sqlite: Store) -> None:
    file = sqlite.engine.url.database
    with closing(sqlite3.connect(str(file))) as other:
        assert other.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    assert team_names(sqlite) == {}
    with closing(sqlite3.connect(str(file))) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_write_ahead_log_that_somebody_keeps_is_refused(sqlite: Store) -> None:
    with closing(sqlite3.connect(str(sqlite.engine.url.database))) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("SELECT * FROM team").fetchall()
        with pytest.raises(StoreUnavailable):
            team_names(sqlite)


def test_a_journal_that_stays_otherwise_is_refused() -> None:
    with closing(sqlite3.connect(":memory:")) as memory, pytest.raises(StoreRefused, match="journal stays memory"):
        engine._set_up_sqlite(memory, None)


# Tables


def test_every_table_of_sqlite_is_strict(sqlite: Store) -> None:
    with sqlite.reading() as connection:
        rows = connection.execute(text("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'")).all()
    ours = {name: strict for name, strict in rows if name in metadata.tables}
    assert ours == dict.fromkeys(metadata.tables, 1)


def test_every_text_of_postgresql_is_in_the_order_of_its_bytes(postgresql: Store) -> None:
    query = text(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND table_name <> 'alembic_version' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
    )
    with postgresql.reading() as connection:
        assert connection.execute(query).all() == []
        assert str(inspect(connection).get_columns("client")[0]["type"]) == 'TEXT COLLATE "C"'


def test_a_column_takes_its_own_type_and_no_other(sqlite: Store) -> None:
    furnish(sqlite)
    with pytest.raises(IntegrityError, match="cannot store TEXT value in INTEGER column"), changing(sqlite) as change:
        change.execute(text("INSERT INTO client VALUES ('1', '1', 'north', 'one')"))


@pytest.mark.parametrize(
    ("table", "column", "wrong"),
    [
        ("user_account", "role", "superuser"),
        ("user_account", "role", "Admin"),
        ("entitlement", "entitlement", "everything"),
        ("access_request_client", "decision", "perhaps"),
        ("rule", "assumed", 2),
        ("rule", "retroactive", -1),
        ("exception", "retroactive", 2),
        ("exception", "withdrawn", 2),
    ],
)
def test_the_database_itself_takes_only_the_words_there_are(
    store: Store, table: str, column: str, wrong: object
) -> None:
    furnish(store)
    good: dict[str, dict[str, object]] = {
        "user_account": {"user_id": "u2", "folded": "u2", "name": "U", "role": "admin", "state": "PA", "created_at": AT,
                         "version": 1},
        "entitlement": {"user_id": "u", "entitlement": "renewals"},
        "access_request_client": {"request_id": "r", "client_id": ACME, "decision": "pending"},
        "rule": {"client_id": ACME, "recorded_by": "u", "recorded_at": AT, "since": "2026-01", "kind": "grace",
                 "rule": "{}", "cite": "a test", "assumed": 0, "retroactive": 0},
        "exception": {"client_id": ACME, "recorded_by": "u", "recorded_at": AT, "coverage_month": "2026-01",
                      "withdrawn": 0, "retroactive": 0, "reason": "a test"},
    }  # fmt: skip
    with changing(store) as connection:
        users.add_user(connection, user("u"), AT)
        grants.add_request(connection, "r", "u", [ZENITH], "a test", AT)
    row = good[table]
    with pytest.raises(IntegrityError, match=f"ck_{table}_{column}"), changing(store) as connection:
        connection.execute(insert(metadata.tables[table]), {**row, column: wrong})
    with changing(store) as connection:
        connection.execute(insert(metadata.tables[table]), row)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO team (team_id, name, colour) VALUES ('t', 'T', 'blue')",
        "INSERT INTO team (team_id) VALUES ('t')",
        "INSERT INTO membership VALUES ('nobody', 'north')",
        "INSERT INTO client_grant VALUES ('nobody', '1000-ACME', 'ada', '2026-01-05T12:00:00.000000Z')",
        "INSERT INTO client VALUES ('1000-acme', '1000-acme', 'north', 1)",
        "DELETE FROM team WHERE team_id = 'north'",
    ],
    ids=["unknown column", "missing column", "unknown user", "unknown grantee", "an id but for case", "in use"],
)
def test_the_database_itself_refuses_what_does_not_hold_together(store: Store, statement: str) -> None:
    furnish(store)
    with pytest.raises(DBAPIError), changing(store) as connection:
        connection.execute(text(statement))
    assert team_names(store) == {"north": "North", "south": "South"}


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 3, 8, 2, 30, 0, 1, tzinfo=UTC),
        datetime(2026, 3, 8, 2, 30, tzinfo=timezone(timedelta(hours=-5))),
        datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=14))),
    ],
)
def test_an_instant_comes_back_as_it_was_in_utc(store: Store, instant: datetime) -> None:
    with changing(store) as connection:
        users.add_user(connection, user(), instant)
    with store.reading() as connection:
        found = connection.scalar(select(user_rows.c.created_at))
    assert found == instant
    assert found is not None
    assert found.tzinfo == UTC


def test_a_naive_instant_is_refused(store: Store) -> None:
    naive = datetime(2026, 1, 5, 12)  # noqa: DTZ001  # which is the point
    with pytest.raises(StatementError, match="an instant needs a time zone"), changing(store) as connection:
        users.add_user(connection, user(), naive)
    with pytest.raises(StatementError, match="an instant needs a time zone"), store.reading() as connection:
        books.at(connection, naive)


# Transactions


def test_a_write_without_an_audit_row_is_not_kept(store: Store) -> None:
    with pytest.raises(RuntimeError, match="without an audit row"), store.writing(BY) as write:
        add_north(write.connection)
    assert team_names(store) == {}


def test_a_write_that_fails_is_not_kept_and_neither_is_its_audit(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        break_off(store.writing(BY), add_north_audited)
    assert (team_names(store), audit_length(store)) == ({}, 0)


def test_what_says_it_is_unchanged_is_taken_back(store: Store) -> None:
    with store.writing(BY) as write:
        add_north(write.connection)
        write.audit("put_team")
        write.unchanged()
    assert (team_names(store), audit_length(store)) == ({}, 0)


def test_a_reading_changes_nothing(store: Store) -> None:
    with pytest.raises(DBAPIError, match=r"readonly|read-only"), store.reading() as connection:
        add_north(connection)
    with changing(store) as connection:
        users.add_team(connection, "south", "South")
    assert team_names(store) == {"south": "South"}


def test_a_note_is_kept_without_an_audit_row(store: Store) -> None:
    with store.noting() as connection:
        add_north(connection)
    assert (team_names(store), audit_length(store)) == ({"north": "North"}, 0)
    with pytest.raises(ZeroDivisionError):
        break_off(store.noting(), lambda connection: users.add_team(connection, "south", "South"))
    assert team_names(store) == {"north": "North"}


def test_a_mistake_of_ours_is_no_refusal(store: Store) -> None:
    with pytest.raises(DBAPIError), store.reading() as connection:
        connection.execute(text("SELECT * FROM nowhere"))


def test_an_instant_of_writing_is_later_than_that_of_the_write_before_also_when_the_clock_goes_back(
    store: Store,
) -> None:
    written = []
    for at in (AT, AT - HOUR, AT, AT + HOUR):
        with store.writing(By("ada-admin", at)) as write:
            write.audit("test")
            written.append(write.at)
    tick = timedelta(microseconds=1)
    assert written == [AT, AT + tick, AT + 2 * tick, AT + HOUR]


def test_more_readers_than_there_are_connections_are_asked_to_come_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left() -> object:
        raise PoolIsEmpty

    monkeypatch.setattr(store.engine.pool, "connect", none_left)
    with pytest.raises(StoreUnavailable), store.reading():
        pass
    monkeypatch.undo()
    assert team_names(store) == {}


def test_a_reader_sees_one_state_throughout_while_a_writer_writes(store: Store) -> None:
    furnish(store)
    written, outcome = threading.Event(), []

    def write() -> None:
        try:
            with store.writing(BY) as under_way:
                edit(under_way)
                written.set()
            outcome.append("kept")
        except StoreUnavailable:
            outcome.append("refused")

    writer = threading.Thread(target=write)
    with store.reading() as connection:
        seen = [clients.dossier(connection, ACME)]
        writer.start()
        written.wait()
        if not store.is_sqlite:  # where a reader keeps nobody waiting
            writer.join()
        seen.append(clients.dossier(connection, ACME))
        seen.append(clients.dossier(connection, ACME, AT + HOUR))
    writer.join()
    assert seen[0] is not None
    assert seen == [seen[0]] * 3
    with store.reading() as connection:
        after = clients.dossier(connection, ACME)
    assert after is not None
    assert after.client.version == (2 if outcome == ["kept"] else 1)


def test_a_glance_sees_what_a_reading_sees(store: Store) -> None:
    furnish(store)
    query = select(user_rows).where(user_rows.c.user_id == bindparam("user_id"))
    with changing(store) as connection:
        users.add_user(connection, user("pat", terms_accepted_at=AT), AT)
    with store.glancing() as glance, store.reading() as connection:
        for user_id in ("pat", "nobody", "pat"):
            assert glance.execute(query, {"user_id": user_id}).first() == connection.execute(
                query, {"user_id": user_id}
            ).first()  # fmt: skip
    with changing(store) as connection:
        users.set_password(connection, "pat", "hash")
    with store.glancing() as glance:
        assert glance.execute(query, {"user_id": "pat"}).first().password == "hash"  # noqa: S105


def test_a_glance_at_nothing_we_have_is_no_refusal(store: Store) -> None:
    with pytest.raises(store.engine.dialect.loaded_dbapi.Error), store.glancing() as glance:
        glance.execute(select(Table("nowhere", MetaData(), Column("name"))), {})
    assert team_names(store) == {}


# Many at once


def at_once(count: int, work: Callable[[int], None]) -> None:
    """Do some work in several threads; what one of them raises is raised."""
    raised: list[Exception] = []

    def run(index: int) -> None:
        try:
            work(index)
        except Exception as error:  # noqa: BLE001  # raised again below
            raised.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def in_turn(stores: list[Store], change: Callable[[Store], int], count: int) -> list[int]:
    """Have a thread for each store make some changes, each until it is taken; give the versions they made."""
    made: list[int] = []

    def work(index: int) -> None:
        for _ in range(count):
            while True:
                try:
                    made.append(change(stores[index]))
                    break
                except StoreUnavailable:
                    continue

    at_once(len(stores), work)
    return made


def edited(store: Store) -> int:
    with store.writing(BY) as write:
        return edit(write)


def renamed(store: Store) -> int:
    with store.writing(BY) as write:
        version = head(write.connection) + 1
        clients.put_client(write.connection, client(version=version), "ada-admin", write.at)
        write.audit("put_client", client_id=ACME)
    return version


def test_eight_writers_of_a_hundred_changes_lose_none(store: Store) -> None:
    furnish(store)
    made = in_turn([store] * 8, renamed, 100)
    assert sorted(made) == list(range(2, 802))
    with store.reading() as connection:
        versions = connection.scalars(
            select(client_versions.c.version).where(client_versions.c.client_id == ACME)
        ).all()
        rows = connection.execute(select(audit_rows.c.sequence, audit_rows.c.at).order_by(audit_rows.c.sequence)).all()
    assert version_of(store) == 801
    assert sorted(versions) == list(range(1, 802))
    assert [row.sequence for row in rows] == list(range(1, 802))
    instants = [row.at for row in rows]
    assert instants == sorted(set(instants))


def test_writers_of_several_processes_take_turns_too(store: Store, store_url: str) -> None:
    furnish(store)
    others = [Store(store_url) for _ in range(3)]
    made = in_turn(others, edited, 10)
    for other in others:
        other.close()
    assert sorted(made) == list(range(2, 32))


def test_a_write_does_not_even_begin_while_another_is_under_way(store: Store, store_url: str) -> None:
    other = Store(store_url)
    with other.writing(BY) as write:
        write.unchanged()
        with pytest.raises(StoreUnavailable):
            store.writing(BY).__enter__()  # it is never left
    other.close()


def version_of(store: Store) -> int:
    with store.reading() as connection:
        return head(connection)


def without_a_check(store: Store, meet: threading.Barrier) -> int:
    """Read a version and write the next in another transaction, as a careless editor would."""
    version = version_of(store) + 1
    meet.wait()
    with changing(store) as connection:
        connection.execute(update(client_rows).where(client_rows.c.client_id == ACME).values(version=version))
    return version


def test_a_change_that_checks_no_version_is_seen_to_lose_some(store: Store) -> None:
    furnish(store)
    meet = threading.Barrier(4)
    made = in_turn([store] * 4, lambda each: without_a_check(each, meet), 1)
    assert len(made) == 4
    assert version_of(store) == 2  # three of four acknowledged changes are gone


def without_a_lock(store: Store, meet: threading.Barrier) -> int:
    """Read and write in one transaction of the database's own default isolation, and wait for nobody."""
    with store.engine.connect().execution_options(ebill_writing=True) as connection, connection.begin():
        version = head(connection)
        meet.wait()
        connection.execute(update(client_rows).where(client_rows.c.client_id == ACME).values(version=version + 1))
    return version + 1


def test_a_change_that_takes_no_turn_is_seen_to_lose_some(postgresql: Store) -> None:
    furnish(postgresql)
    meet = threading.Barrier(4)
    made = in_turn([postgresql] * 4, lambda each: without_a_lock(each, meet), 1)
    assert (made, version_of(postgresql)) == ([2, 2, 2, 2], 2)


@pytest.mark.parametrize("version", [1, 3, 4])
def test_a_version_follows_the_one_before(store: Store, version: int) -> None:
    furnish(store)
    assert edited(store) == 2
    clash = IntegrityError if version == 1 else RuntimeError
    for put, record in ((clients.put_client, client), (clients.put_account, account)):
        wrong: Any = record(version=version if version != 3 else 5)
        with pytest.raises(clash), changing(store) as connection:
            put(connection, wrong, "ada-admin", AT)
    assert version_of(store) == 2


# Append-only


@pytest.mark.parametrize("table", [table.name for table in (*APPEND_ONLY, payments)])
@pytest.mark.parametrize("change", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "replace"])
def test_what_is_only_added_to_is_changed_by_nobody(store: Store, table: str, change: str) -> None:
    furnish(store)
    with changing(store) as connection:
        clients.add_entries(connection, [rule(), exception()], "ada-admin", AT)
        books.keep(connection, Loaded("sha256:1", AT, b"1"))
        add_payment(connection, Payment(payment_id="p", client_id=ACME, account_id="main", coverage_month="2026-01",
                                        paid_at=date(2026, 1, 5), recorded_by="nora", recorded_at=AT))  # fmt: skip
    names = [column.name for column in metadata.tables[table].columns]
    if change != "replace":
        statement = change.format(table, names[0])
    elif store.is_sqlite:
        statement = f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"  # noqa: S608  # names of our own
    else:
        keys_of = ", ".join(column.name for column in metadata.tables[table].primary_key)
        statement = (
            f"INSERT INTO {table} SELECT * FROM {table} "  # noqa: S608
            f"ON CONFLICT ({keys_of}) DO UPDATE SET {names[0]} = EXCLUDED.{names[0]}"
        )
    with store.reading() as connection:
        before = connection.execute(select(metadata.tables[table])).all()
    assert before
    with pytest.raises(IntegrityError, match=f"{table} is append-only"), changing(store) as connection:
        connection.execute(text(statement))
    with store.reading() as connection:
        assert connection.execute(select(metadata.tables[table])).all() == before


def test_what_is_only_added_to_is_not_emptied_at_a_stroke(postgresql: Store) -> None:
    for table in (*APPEND_ONLY, payments):
        with pytest.raises(IntegrityError, match="append-only"), changing(postgresql) as connection:
            connection.execute(text(f"TRUNCATE {table.name} CASCADE"))


# Clients, as known at an instant


def known(store: Store, client_id: str, known_at: datetime | None = None) -> Dossier | None:
    with store.reading() as connection:
        return clients.dossier(connection, client_id, known_at)


def test_a_client_comes_back_as_it_was_put(store: Store) -> None:
    furnish(store)
    full = client(version=2, name="Café Ωmega", state="NY", product="cobra", timezone="America/New_York",
                  first_coverage_month="2025-01", last_coverage_month="2026-12", skip_coverage_months=(7, 8),
                  bills_here_since="2025-06", team_id="south")  # fmt: skip
    site = account("site-2", name="Site", kind="dental", state="DE", skip_coverage_months=())
    entered: list[Entry] = [
        rule(account_id="site-2", assumed=True, retroactive=True, reason="late"),
        exception(due_date=date(2026, 3, 2), withdrawn=True),
    ]
    with changing(store) as connection:
        clients.put_client(connection, full, "nora", AT + HOUR)
        clients.put_account(connection, site, "nora", AT + HOUR)
        added = clients.add_entries(connection, entered, "nora", AT + HOUR)
    found = known(store, ACME)
    assert found is not None
    assert found.client == full
    assert found.accounts == (account(), site)
    assert [*found.rules, *found.exceptions] == added
    for back, given in zip(added, entered, strict=True):
        assert back == replace(given, sequence=1, recorded_by="nora", recorded_at=AT + HOUR)


def test_what_was_known_at_an_instant_stays_what_was_known_then(store: Store) -> None:
    furnish(store)
    day = timedelta(days=1)
    states = [known(store, ACME)]
    for step in range(1, 4):
        with store.writing(By("ada-admin", AT + step * day)) as write:
            edit(write)
        states.append(known(store, ACME))
    for step, state in enumerate(states):
        assert known(store, ACME, AT + step * day) == state
        assert known(store, ACME, AT + (step + 1) * day - timedelta(microseconds=1)) == state
    assert known(store, ACME, AT - timedelta(microseconds=1)) is None
    assert len({state.client.version for state in states if state}) == 4


def test_an_account_is_not_known_before_it_was_there(store: Store) -> None:
    furnish(store)
    with changing(store) as connection:
        clients.put_account(connection, account("site-2"), "nora", AT + HOUR)
    found = known(store, ACME, AT)
    assert found is not None
    assert [each.account_id for each in found.accounts] == ["main"]


def test_many_clients_come_by_id_each_with_its_own(store: Store) -> None:
    furnish(store)
    edited(store)
    with store.reading() as connection:
        for then in (None, AT + HOUR):
            found = clients.dossiers(connection, [ZENITH, "3000-NOBODY", ACME], then)
            assert [each.client.client_id for each in found] == [ACME, ZENITH]
            assert [len(each.rules) for each in found] == [1, 0]
        assert clients.dossiers(connection, []) == []


def test_many_clients_cost_no_more_questions_than_one(store: Store) -> None:
    furnish(store)
    with store.reading() as connection, asked(store) as of_one:
        clients.dossiers(connection, [ACME])
    with store.reading() as connection, asked(store) as of_many:
        clients.dossiers(connection, [ACME, ZENITH, *map(str, range(500))])
    assert len(of_one) == len(of_many) == 4


def test_ids_are_in_the_order_of_their_bytes(store: Store) -> None:
    ids = ["B-1", "a-1", "A-2", "a_1", "Z", "a", "10", "9"]
    furnish(store)
    with changing(store) as connection:
        for each in ids:
            clients.put_client(connection, client(each), "ada-admin", AT)
    with store.reading() as connection:
        found = [each.client.client_id for each in clients.dossiers(connection, ids)]
        assert found == sorted(ids) == list(connection.scalars(
            select(client_rows.c.client_id).where(client_rows.c.client_id.in_(ids), client_rows.c.client_id > "")
            .order_by(client_rows.c.client_id)
        ))  # fmt: skip


def test_an_id_is_taken_whatever_its_case(store: Store) -> None:
    furnish(store)
    with store.reading() as connection:
        assert clients.taken(connection, "1000-acme") == ACME
        assert clients.taken(connection, "1000") is None
        mine = client_rows.c.team_id == "north"
        found = clients.open_and_taken(connection, mine, ["1000-acme", "2000-zenith", "3000-nobody"])
        assert found == {"1000-acme": (ACME, True), "2000-zenith": (ZENITH, False)}


def test_a_team_is_there_or_not(store: Store) -> None:
    furnish(store)
    with store.reading() as connection:
        assert [clients.team_exists(connection, each) for each in ("north", "North", "east")] == [True, False, False]


# Rule books


def test_the_rule_book_in_force_at_an_instant_is_the_last_that_was_loaded_by_then(store: Store) -> None:
    loaded = [Loaded(f"sha256:{index}", AT + index * HOUR, f"# {index}\n".encode()) for index in range(3)]
    for each in loaded:
        with changing(store) as connection:
            books.keep(connection, each)
    with store.reading() as connection:
        assert books.at(connection) == loaded[2]
        assert books.at(connection, AT - timedelta(microseconds=1)) is None
        for index, each in enumerate(loaded):
            assert books.at(connection, AT + index * HOUR) == each
            assert books.at(connection, AT + (index + 1) * HOUR - timedelta(microseconds=1)) == each
        assert books.at(connection, AT + 99 * HOUR) == loaded[2]


def test_where_no_rule_book_was_loaded_there_is_none(store: Store) -> None:
    with store.reading() as connection:
        assert books.at(connection) is None


# Keys of an installation


def test_keys_are_random_and_made_once(store: Store) -> None:
    with store.reading() as connection:
        assert keys.seal(connection) is None
    with changing(store) as connection:
        made = keys.make(connection)
        again = keys.make(connection)
    with store.reading() as connection:
        kept = keys.seal(connection)
    assert kept == made == again
    assert kept is not None
    assert kept.calendars == made.calendars != made
    assert (len(made), len(made.calendars), keys.openers(kept)) == (32, 32, (made,))


def test_a_new_key_seals_and_the_one_before_opens_until_its_day_is_over(store: Store) -> None:
    with changing(store) as connection:
        first = keys.make(connection)
        keys.rotate(connection, datetime.now(UTC) + keys.KEPT)
    with store.reading() as connection:
        second = keys.seal(connection)
    assert second is not None
    assert second not in (first, first.calendars)
    assert second.calendars == first.calendars
    assert keys.openers(second) == (second, first)
    with changing(store) as connection:
        keys.rotate(connection, datetime.now(UTC) - timedelta(seconds=1))
    with store.reading() as connection:
        third = keys.seal(connection)
    assert third is not None
    assert keys.openers(third) == (third, second)
    assert keys.openers(third.at(datetime.now(UTC))) == (third,)


def test_a_key_that_somebody_may_have_opens_nothing_once_it_is_rotated(store: Store) -> None:
    with changing(store) as connection:
        keys.make(connection)
        keys.rotate(connection, datetime.now(UTC) + keys.KEPT)
        keys.rotate(connection, None)
        left = keys.seal(connection)
    assert left is not None
    assert (left.before, keys.openers(left)) == (None, (left,))


# Answers that are kept


ANSWER = Kept(201, '{"ETag":"\\"1\\""}', b'{"a":1}\n')
POST = Asked.of("pat", "POST /v1/feeds", "key-1", b"{}")


def answered(store: Store, request: Asked, at: datetime) -> Kept | None:
    with store.reading() as connection:
        return kept(connection, request, at)


def keep_answer(store: Store, request: Asked, answer: Kept, at: datetime) -> None:
    with changing(store) as connection:
        keep(connection, request, answer, at)


@pytest.mark.parametrize(
    ("later", "found"),
    [
        (timedelta(0), ANSWER),
        (timedelta(hours=24), ANSWER),
        (timedelta(hours=24, microseconds=1), None),
        (timedelta(days=9), None),
    ],
)
def test_an_answer_is_kept_for_a_day(store: Store, later: timedelta, found: Kept | None) -> None:
    keep_answer(store, POST, ANSWER, AT)
    assert answered(store, POST, AT + later) == found


def test_a_key_is_new_after_a_day(store: Store) -> None:
    keep_answer(store, POST, ANSWER, AT)
    later = AT + timedelta(hours=24, microseconds=1)
    other = replace(POST, asked=bytes(32))
    assert answered(store, other, later) is None
    keep_answer(store, other, replace(ANSWER, status=200), later)
    assert answered(store, other, later) == replace(ANSWER, status=200)


def test_a_key_that_comes_again_with_something_else_is_refused(store: Store) -> None:
    keep_answer(store, POST, ANSWER, AT)
    with pytest.raises(KeyReused):
        answered(store, Asked.of("pat", "POST /v1/feeds", "key-1", b"[]"), AT)


@pytest.mark.parametrize(
    "other",
    [
        Asked.of("quinn", "POST /v1/feeds", "key-1", b"[]"),
        Asked.of("pat", "POST /v1/tokens", "key-1", b"[]"),
        Asked.of("pat", "POST /v1/feeds", "key-2", b"[]"),
        Asked.of("pat", "POST /v1/feeds", "KEY-1", b"[]"),
    ],
    ids=["another caller", "another route", "another key", "another case"],
)
def test_a_key_is_the_callers_own_on_one_route(store: Store, other: Asked) -> None:
    keep_answer(store, POST, ANSWER, AT)
    assert answered(store, other, AT) is None
    keep_answer(store, other, ANSWER, AT)
    assert answered(store, POST, AT) == ANSWER


def add_north_and_keep(connection: Connection) -> None:
    add_north(connection)
    keep(connection, POST, ANSWER, AT)


def test_an_answer_is_kept_with_its_change_or_not_at_all(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        break_off(changing(store), add_north_and_keep)
    assert (answered(store, POST, AT), team_names(store)) == (None, {})


def test_fifty_of_the_same_at_once_have_one_effect(store: Store) -> None:
    teams_made: list[str] = []

    def ask(each: Store) -> int:
        with each.writing(BY) as write:
            if kept(write.connection, POST, AT):
                write.unchanged()
                return 200
            add_north(write.connection)
            write.audit("put_team")
            keep(write.connection, POST, ANSWER, AT)
        teams_made.append("north")
        return 201

    made = in_turn([store] * 10, ask, 5)
    assert (made.count(201), made.count(200), teams_made) == (1, 49, ["north"])
    assert (team_names(store), audit_length(store)) == ({"north": "North"}, 1)
