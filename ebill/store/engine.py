"""Opening the store, its transactions, its migrations, and its backup.

A write is one transaction and at least one audit row: without one it is not committed. Writers take turns, on both
databases; what is acknowledged is on disk.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Transaction,
    column,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    table,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolIsEmpty

from ebill.errors import OutcomeUnknown, StoreLoginRefused, StoreRefused, StoreUnavailable
from ebill.store import audit, patience
from ebill.store.audit import By
from ebill.store.glance import Glance

MIGRATIONS: Final = Path(__file__).parent / "migrations"
DEFAULT_URL: Final = "sqlite:///ebill.db"
LOCK_SECONDS: Final = 1
STATEMENT_SECONDS: Final = 2
UPGRADE_SECONDS: Final = 60
"""How long an upgrade waits for one that another process has begun."""
GLANCE_KILOBYTES: Final = 16_000
"""How much of a SQLite file each connection for small questions may hold; to read a page anew doubles their time."""
IDLE_SECONDS: Final = 60
"""After how long PostgreSQL gives up a write whose process has stalled, which keeps every other writer waiting."""
NO_STORE: Final = "A store is sqlite:///FILE (sqlite:////var/lib/ebill/ebill.db) or postgresql://USER@HOST/DATABASE."
_WRITERS: Final = 0x6542_696C
"""The number of PostgreSQL's advisory lock that writers take turns on ("eBil")."""
_REVISION: Final = re.compile(r'^revision(?:: str)? = "(\w+)"', re.MULTILINE)
_DOWN_REVISION: Final = re.compile(r'^down_revision(?:: [\w |]+)? = "(\w+)"', re.MULTILINE)
_VERSIONS: Final = table("alembic_version", column("version_num"))
"""Where Alembic keeps the revision."""
_OLDEST_SQLITE: Final = (3, 37)
"""The first with STRICT tables."""


def url() -> str:
    """Say which database: `EBILL_DATABASE_URL` where it is set, else a file beside where the service was started."""
    return os.environ.get("EBILL_DATABASE_URL") or DEFAULT_URL


class Store:
    """A database of ours, SQLite or PostgreSQL."""

    def __init__(self, database_url: str) -> None:
        self.engine = _engine(database_url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._url = database_url
        self._turn = threading.Lock()
        self._spare: list[tuple[Any, Glance]] = []

    @contextmanager
    def reading(self, *, patient: bool = False) -> Iterator[Connection]:
        """Read in one transaction that sees one state of the store throughout, and can change nothing.

        A `patient` one has more than a request's time: a million accounts take a while.
        """
        with _refusing(), self.engine.connect() as connection, connection.begin():
            if patient and not self.is_sqlite:
                connection.execute(text("SET LOCAL statement_timeout = 0"))
            yield connection

    def glancing(self) -> AbstractContextManager[Glance]:
        """Ask small questions fast, each in a transaction of its own.

        On SQLite it is a connection of its own, given to one at a time: to take one from the pool takes as long as to
        ask, and what it remembers stays with it. It is let go after an error.
        """
        return _Spared(self) if self.is_sqlite else self._glancing_postgresql()

    @contextmanager
    def _glancing_postgresql(self) -> Iterator[Glance]:
        with _refusing():
            try:
                with closing(self.engine.raw_connection()) as pooled:
                    yield Glance(self.engine.dialect, pooled.driver_connection)
            except self.engine.dialect.loaded_dbapi.OperationalError as error:
                raise StoreUnavailable from error

    def spared(self) -> tuple[Any, Glance]:
        """Give a connection of SQLite's for small questions, and what asks it: one that nobody uses, or a new one."""
        try:
            return self._spare.pop()
        except IndexError:
            with _refusing():
                driver = self._detached()
            return driver, Glance(self.engine.dialect, driver)

    def spare(self, both: tuple[Any, Glance]) -> None:
        """Keep it for the next."""
        self._spare.append(both)

    def _detached(self) -> Any:
        """Give a connection to SQLite that the pool has made and does not want back; it cannot write."""
        pooled = self.engine.raw_connection()
        driver: Any = pooled.driver_connection
        pooled.detach()
        driver.execute("PRAGMA query_only = ON")
        driver.execute(f"PRAGMA cache_size = -{GLANCE_KILOBYTES}")
        return driver

    @contextmanager
    def writing(self, by: By, clock: Callable[[], datetime] | None = None) -> Iterator[Writing]:
        """Write in one transaction, alone among writers; committed on leaving, or not at all on an exception.

        With a `clock` it is at the instant at which its turn came: see `settled`.

        What said `unchanged` is taken back. Raises RuntimeError where something was written without an audit row,
        StoreUnavailable where nothing was changed, and OutcomeUnknown where the database was lost while it committed.
        """
        with self._alone() as (connection, transaction):
            writing = Writing(connection, replace(by, at=clock()) if clock else by)
            yield writing
            if writing.is_unchanged:
                return
            if not writing.audited:
                raise RuntimeError("a change without an audit row is not kept")
            _commit(transaction)

    @contextmanager
    def noting(self) -> Iterator[Connection]:
        """Note that a token or a session was used: see `secret`. That changes nothing, so it has no audit row."""
        with self._alone() as (connection, transaction):
            yield connection
            _commit(transaction)

    def settled(self) -> None:
        """Wait until every write whose instant is past is kept or given up: what is known of the past is then for good.

        That is so because a write with a clock has its instant only once it is alone. Raises StoreUnavailable.
        """
        with self._alone():
            pass

    def upgrade(self) -> None:
        """Bring the tables up to date, all in one transaction. Raises StoreRefused where they are newer than this."""
        from alembic import command  # a quarter of a second, and most starts find the tables up to date
        from alembic.util import CommandError

        engine = _engine(self._url, lock_seconds=UPGRADE_SECONDS, statement_seconds=0)
        config = _alembic()
        config.attributes["engine"] = engine
        try:
            with _refusing():
                command.upgrade(config, "head")
        except CommandError as error:
            raise StoreRefused(
                "The store was made by a newer release. Start that one, or restore a backup from before it."
            ) from error
        finally:
            engine.dispose()

    def is_current(self) -> bool:
        """Tell whether the tables are up to date."""
        with self.reading() as connection:
            return _revision(connection) == newest_revision()

    def is_empty(self) -> bool:
        """Tell whether there is no table at all. To look makes no file.

        It is what the service and every command ask first: raises StoreLoginRefused where waiting would not help.
        """
        if self.is_sqlite and not Path(str(self.engine.url.database)).exists():
            return True
        try:
            with self.reading() as connection:
                return _revision(connection) is None
        except StoreUnavailable as refusal:
            self._refuse_login(refusal.__cause__)
            raise

    def _refuse_login(self, error: BaseException | None) -> None:
        """Raise StoreLoginRefused where PostgreSQL let nobody in."""
        if self.is_sqlite or not isinstance(error, DBAPIError):
            return
        from ebill.store.postgresql import login_refused  # SQLite does without

        if why := login_refused(error.orig):
            raise StoreLoginRefused(why) from error

    def make_ready(self) -> None:
        """Make the tables of an empty store. Raises StoreRefused for a store of another release."""
        if self.is_empty():
            self.upgrade()
        elif not self.is_current():
            raise StoreRefused(
                "The store is of another release. Is it an older one, back it up, then bring it up to date: "
                "ebill db upgrade; is it a newer one, start that."
            )

    def backup(self, file: Path) -> None:
        """Copy a SQLite store, whole and as of one instant, while it is being used. `file` must not exist yet."""
        if not self.is_sqlite:
            raise StoreRefused("Back PostgreSQL up with pg_dump: this copies SQLite stores.")
        try:
            with _refusing(), new_file(file) as unfinished:
                with self.engine.connect() as source, closing(sqlite3.connect(unfinished)) as target:
                    source.connection.driver_connection.backup(target)  # type: ignore[union-attr]
                with unfinished.open("rb") as copied:
                    os.fsync(copied.fileno())
        except FileExistsError:
            raise StoreRefused(f"{file} exists already; a backup overwrites nothing.") from None
        except (OSError, sqlite3.Error) as error:
            raise StoreRefused(f"{file} cannot be made: {error}.") from error

    def refuse_moved(self) -> None:
        """Raise StoreUnavailable where a SQLite store's file is gone, or another one than was opened."""
        file: _File | None = self.engine.get_execution_options().get("ebill_file")
        if file is not None:
            file.refuse_moved()

    def close(self) -> None:
        """Close every connection."""
        while self._spare:
            self._spare.pop()[0].close()
        self.engine.dispose()

    @contextmanager
    def _alone(self) -> Iterator[tuple[Connection, Transaction]]:
        """Begin a transaction that is alone among writers; what is not committed by its end is taken back.

        Writers of this process wait for one another here, in turn: SQLite would have them all try again and again,
        and the unlucky one give up.
        """
        with patience.waiting(LOCK_SECONDS) as most:
            if not self._turn.acquire(timeout=LOCK_SECONDS if most is None else most):
                raise StoreUnavailable
        try:
            self.refuse_moved()
            with _refusing(), self.engine.connect().execution_options(ebill_writing=True) as connection:
                transaction = connection.begin()
                with closing(transaction):
                    take_turn(connection)
                    yield connection, transaction
        finally:
            self._turn.release()


class _Spared:
    """Has a glance at SQLite. Each generator around it would take as long as to ask."""

    __slots__ = ("_both", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> Glance:
        try:
            self._both = self._store.spared()
        except sqlite3.OperationalError as error:
            self._refuse(error)
            raise
        return self._both[1]

    def __exit__(self, _kind: object, error: BaseException | None, _where: object) -> None:
        driver, _ = self._both
        if error is None or not (isinstance(error, sqlite3.Error) or driver.in_transaction):
            self._store.spare(self._both)
            return
        driver.close()
        self._refuse(error)

    def _refuse(self, error: BaseException) -> None:
        """Raise StoreUnavailable for what SQLite cannot do just now."""
        if isinstance(error, sqlite3.OperationalError) and not _is_mistake(error):
            raise StoreUnavailable from error


class Writing:
    """One write under way: its connection, its instant, and its audit."""

    def __init__(self, connection: Connection, by: By) -> None:
        self.connection, self.by = connection, by
        self.audited = 0
        self.is_unchanged = False
        self._last = audit.last(connection)
        latest = self._last.at
        self.at = by.at if latest is None or by.at > latest else latest + timedelta(microseconds=1)

    def unchanged(self) -> None:
        """Say that there was nothing to change, or that it was only tried: nothing of this write is kept."""
        self.is_unchanged = True

    def audit(self, action: str, **facts: Any) -> None:
        """Add an audit row: see `audit.append` for the facts it takes."""
        self.audit_all([(action, facts)])

    def audit_all(self, done: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Add an audit row for each action and its facts."""
        self._last = audit.append_all(self.connection, self._last, self.by, self.at, done)
        self.audited += len(done)


def take_turn(connection: Connection) -> None:
    """Wait until no other transaction writes. On SQLite a write has waited for that when it began."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITERS})


@cache
def newest_revision() -> str:
    """Give the revision of the newest migration, which is the one that no other is made from.

    It is read from the text of each; to have Alembic look takes a quarter of a second.
    """
    texts = [file.read_text("utf-8") for file in (MIGRATIONS / "versions").glob("*.py")]
    each, before = (set(pattern.findall("\n".join(texts))) for pattern in (_REVISION, _DOWN_REVISION))
    (newest,) = each - before
    return str(newest)


def _revision(connection: Connection) -> str | None:
    """Give the revision of the tables, or None where there are none."""
    if not inspect(connection).has_table(_VERSIONS.name):
        return None
    return connection.scalar(select(_VERSIONS.c.version_num))


def _alembic() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _engine(
    database_url: str, *, lock_seconds: int = LOCK_SECONDS, statement_seconds: int = STATEMENT_SECONDS
) -> Engine:
    try:
        address = make_url(database_url)
    except ArgumentError:
        raise StoreRefused(NO_STORE) from None
    if address.get_backend_name() == "sqlite":
        return _sqlite(address, lock_seconds)
    if address.get_backend_name() != "postgresql":
        raise StoreRefused(NO_STORE)
    from ebill.store.postgresql import DRIVER  # SQLite does without

    settings = {
        "statement_timeout": f"{statement_seconds}s",
        "lock_timeout": f"{lock_seconds}s",
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
        "synchronous_commit": "on",
        "default_transaction_isolation": r"read\ committed",  # a writer sees what the one before it wrote
        "timezone": "UTC",
        # Else what a client has locked that is gone without a word stays locked until it is given up as idle.
        "tcp_keepalives_idle": "3",
        "tcp_keepalives_interval": "1",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "5s",
    }
    engine = create_engine(
        address.set(drivername=DRIVER),
        hide_parameters=True,
        connect_args={
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            "connect_timeout": patience.CONNECT_SECONDS,
            "tcp_user_timeout": 3000,
            "keepalives_idle": 3,
            "keepalives_interval": 1,
            "keepalives_count": 3,
        },
        pool_pre_ping=True,
        pool_timeout=STATEMENT_SECONDS,
    )
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _sqlite(address: URL, lock_seconds: int) -> Engine:
    file = address.database or ""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreRefused(f"SQLite {sqlite3.sqlite_version} has no STRICT tables; 3.37 or later is needed.")
    if not file or file.startswith((":memory:", "file:")) or address.query:
        raise StoreRefused(NO_STORE)
    engine = create_engine(
        URL.create("sqlite", database=file),
        hide_parameters=True,
        connect_args={"timeout": lock_seconds, "check_same_thread": False},
        pool_timeout=STATEMENT_SECONDS,
    )
    engine.update_execution_options(ebill_file=(kept := _File(Path(file))))
    event.listen(engine, "do_connect", kept)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


class _File:
    """The file of a store, which stays the one that it was when it was first opened.

    One that is made is readable by its owner alone. Where another file is found in its place, or none, nothing is made
    and nothing is kept: that would be lost, or be kept beside what was kept before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, int] | None = None

    def __call__(self, *_: object) -> None:
        """See to the file before it is opened. Raises StoreUnavailable."""
        if self._opened is None and not self.path.exists():
            with suppress(OSError), new_file(self.path):
                pass
        self.refuse_moved()

    def refuse_moved(self) -> None:
        """Raise StoreUnavailable where the file is gone, or another one."""
        try:
            status = self.path.stat()
        except OSError:
            if self._opened is not None:
                raise StoreUnavailable from None
            return
        found = status.st_dev, status.st_ino
        if self._opened not in (None, found):
            raise StoreUnavailable
        self._opened = found


@contextmanager
def new_file(file: Path) -> Iterator[Path]:
    """Give an empty file, readable by its owner alone, to be filled; then make it `file`, unless there is one.

    Not the other way round: to close a file that SQLite has open anywhere in the process lets go of SQLite's locks.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    os.close(descriptor)
    unfinished = Path(name)
    try:
        yield unfinished
        os.link(unfinished, file)
    finally:
        unfinished.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _set_up_sqlite(connection: Any, _record: object) -> None:
    """Make what is committed durable, also through a power cut; keep keys honest. Transactions are begun by us."""
    connection.isolation_level = None
    for setting in (
        "synchronous = EXTRA",
        "fullfsync = ON",  # macOS has two kinds of sync; elsewhere this is nothing
        "foreign_keys = ON",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {setting}")
    # WAL of releases before 3.51.3 can corrupt the file, rarely.
    (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise StoreRefused(f"The store's journal stays {mode}; it must be one that is deleted after each change.")


def _begin_sqlite(connection: Connection) -> None:
    writes = bool(connection.get_execution_options().get("ebill_writing"))
    if connection.info.get("ebill_writes") is not writes:
        # Only where it changes: after each pragma of this kind SQLite compiles every statement anew.
        connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
        connection.info["ebill_writes"] = writes
    if writes:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        # It waits for no lock and cannot be refused; through SQLAlchemy it took a third of a reading's time.
        raw: Any = connection.connection.driver_connection
        raw.execute("BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if not connection.get_execution_options().get("ebill_writing"):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _commit(transaction: Transaction) -> None:
    """Commit. Raises OutcomeUnknown where the answer to that was lost."""
    try:
        transaction.commit()
    except DBAPIError as error:
        if error.connection_invalidated or _sqlite_code(error.orig) == sqlite3.SQLITE_IOERR:
            raise OutcomeUnknown from error
        raise


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what the database cannot do just now into a refusal to try again later."""
    try:
        yield
    except PoolIsEmpty as error:
        raise StoreUnavailable from error
    except DBAPIError as error:
        if _sqlite_code(error.orig) == sqlite3.SQLITE_NOTADB:
            raise StoreRefused("The file of the store is no SQLite database.") from error
        if error.connection_invalidated or (isinstance(error, OperationalError) and not _is_mistake(error.orig)):
            raise StoreUnavailable from error
        raise


def _is_mistake(error: BaseException | None) -> bool:
    """Tell whether SQLite refuses what we ask, and always will: it has one word for that and for being busy."""
    return _sqlite_code(error) in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY}


def _sqlite_code(error: BaseException | None) -> int | None:
    """Give SQLite's own code of an error, without its details; None of another database's."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
