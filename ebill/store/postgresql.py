"""PostgreSQL by psycopg, waited for no longer than a request may wait: see `patience`.

Imported where it is used: most installations need no PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, Final, TypeVar

import psycopg
from psycopg.errors import _WaitTimeout as NotInTime  # what `wait` is documented to raise
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from ebill.store import patience

_Found = TypeVar("_Found")
_LOOK_SECONDS: Final = 0.1
"""How often it is looked whether Ctrl-C was pressed; psycopg's own default."""
DRIVER: Final = "postgresql+ebill"
_ONE: Final = "connection to server"
"""What the driver says of each server that it has asked."""
_REFUSED: Final = (
    (r"password authentication failed", "the user or the password is wrong"),
    (r"no password supplied", "it asks for a password, and none is given"),
    (r"(Peer|Ident) authentication failed for user", "the user is not the one it knows whoever asks as"),
    (r'role ".*" does not exist', "there is no such user"),
    (r'role ".*" is not permitted to log in', "this user may not log in"),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", "its pg_hba.conf lets this user in from nowhere like here"),
    (r'database ".*" does not exist', "there is no such database"),
    (r'permission denied for database "', "this user may not use this database"),
)
"""What it says where it refuses a login, and what that means. The driver is told no code of it, only its English."""


class Awaited(psycopg.Connection[Any]):
    """A connection that is closed where its answer does not come in time: nobody knows what it would be about."""

    most: float | None = None

    def wait(
        self, gen: Generator[Any, Any, _Found], interval: float = _LOOK_SECONDS, timeout: float | None = None
    ) -> _Found:
        """Wait for an answer. Raises OperationalError where it does not come in time."""
        try:
            with patience.waiting(self.most) as most:
                return super().wait(gen, interval, most if timeout is None else timeout)
        except NotInTime:
            self.pgconn.finish()
            raise psycopg.OperationalError("the database did not answer in time") from None


class Dialect(PGDialect_psycopg):
    """SQLAlchemy's dialect, with such connections."""

    supports_statement_cache = True

    def connect(self, *given: Any, **settings: Any) -> Any:
        """Connect. Raises OperationalError at once where there is no time left to."""
        if not patience.suffices(patience.CONNECT_SECONDS):
            raise psycopg.OperationalError("there is no time left to connect")
        with patience.waiting():
            return Awaited.connect(*given, **settings)

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Ask a connection of the pool whether it is there, and wait for that less than for anything else."""
        dbapi_connection.most = patience.PING_SECONDS
        try:
            return bool(super().do_ping(dbapi_connection))  # type: ignore[no-untyped-call]
        finally:
            dbapi_connection.most = None


def login_refused(error: BaseException | None) -> str | None:
    """Say why PostgreSQL refuses a login, where an error says that it does, in words of ours; else None.

    Where several were asked one after the other, another one may let in later.
    """
    said = str(error) if isinstance(error, psycopg.OperationalError) and error.sqlstate is None else ""
    if said.count(_ONE) > 1:
        return None
    return next((why for phrase, why in _REFUSED if re.search(phrase, said)), None)


registry.register("postgresql.ebill", __name__, Dialect.__name__)
