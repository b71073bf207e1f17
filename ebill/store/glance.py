"""One small question at a time, past SQLAlchemy: of a query that takes microseconds, its share is nine tenths.

The query and its types stay SQLAlchemy's; it is written out once, and from then on handed to the driver. Each is a
transaction of its own, which suits a question that is answered by one row; several that must be answered alike are
asked while the store is held still.

SQLite tells a connection whether anybody else has changed the file since it last asked (`PRAGMA data_version`), in a
third of the time that such a question takes. What was found is remembered for exactly as long as nobody has.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

from sqlalchemy import CompoundSelect, Dialect, Select
from sqlalchemy.types import TypeDecorator


class Found(NamedTuple):
    """What was found: a row, or None."""

    row: Any

    def first(self) -> Any:
        """Give the row, as SQLAlchemy's results do."""
        return self.row


REMEMBERED_MOST: Final = 1000
"""Answers that one connection remembers, beyond which all are let go."""


class Glance:
    """A driver's connection, asked as one of SQLAlchemy's would be. One of SQLite must never be used to write."""

    def __init__(self, dialect: Dialect, driver: Any) -> None:
        self._dialect, self._driver = dialect, driver
        self._remembers = dialect.name == "sqlite"
        self._remembered: dict[tuple[Any, ...], Found] = {}
        self._version: int | None = None

    def execute(self, query: Select[Any], asked: dict[str, str]) -> Found:
        """Ask a query; what is `asked` are texts."""
        if not self._remembers:
            return self._ask(query, asked)
        # The version is asked first: what changes in between is found, and is no longer remembered the next time.
        (version,) = self._driver.execute("PRAGMA data_version").fetchone()
        if version != self._version or len(self._remembered) >= REMEMBERED_MOST:
            self._remembered, self._version = {}, version
        key = (query, *asked.values())
        found = self._remembered.get(key)
        if found is None:
            found = self._remembered[key] = self._ask(query, asked)
        return found

    def rows(self, query: Select[Any] | CompoundSelect[Any], asked: dict[str, str]) -> list[tuple[Any, ...]]:
        """Give all rows of a query just as the driver does: days and instants are not read."""
        prepared = _prepared(query, self._dialect)
        rows: list[tuple[Any, ...]] = self._driver.execute(prepared.text, prepared.given(asked)).fetchall()
        return rows

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let all that is asked within be asked of one state of the store."""
        begin, end = (self._begin, self._end) if self._remembers else (self._begin_postgresql, self._end_postgresql)
        begin()
        try:
            yield
        finally:
            end()

    def _begin(self) -> None:
        self._driver.execute("BEGIN")  # what is remembered counts within, too: its version is asked again

    def _end(self) -> None:
        if self._driver.in_transaction:
            self._driver.execute("COMMIT")

    def _begin_postgresql(self) -> None:
        from psycopg import IsolationLevel  # where there is no PostgreSQL, its driver need not be loaded

        self._driver.rollback()
        # They go with the driver's own BEGIN, so they cost no message.
        self._driver.isolation_level, self._driver.read_only = IsolationLevel.REPEATABLE_READ, True

    def _end_postgresql(self) -> None:
        self._driver.rollback()
        self._driver.isolation_level = self._driver.read_only = None

    def _ask(self, query: Select[Any], asked: dict[str, str]) -> Found:
        prepared = _prepared(query, self._dialect)
        found = self._driver.execute(prepared.text, prepared.given(asked)).fetchone()
        if found is None:
            return Found(None)
        values = list(found)
        for place, read in prepared.readers:
            values[place] = read(values[place])
        return Found(prepared.row(*values))


class _Prepared(NamedTuple):
    """A query as a driver takes it, and how its row is read.

    `order` is that of its parameters, where they have no names; `readers` are of the columns that need one, by place.
    """

    text: str
    constants: dict[str, Any]
    order: list[str] | None
    row: Callable[..., Any]
    readers: list[tuple[int, Callable[[Any], Any]]]

    def given(self, asked: Mapping[str, str]) -> Any:
        """Give the parameters as the driver takes them."""
        given = {**self.constants, **asked}
        return given if self.order is None else [given[name] for name in self.order]


@lru_cache(maxsize=64)
def _prepared(query: Select[Any] | CompoundSelect[Any], dialect: Dialect) -> _Prepared:
    written = query.compile(dialect=dialect)
    columns = list(query.selected_columns)
    return _Prepared(
        str(written),
        {name: value for name, value in written.params.items() if value is not None},
        getattr(written, "positiontup", None),
        namedtuple("Row", [str(column.key) for column in columns], rename=True),  # noqa: PYI024  # the query's fields
        [
            (place, partial(column.type.process_result_value, dialect=dialect))
            for place, column in enumerate(columns)
            if isinstance(column.type, TypeDecorator)
        ],
    )
