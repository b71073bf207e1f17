"""One small question at a time, past SQLAlchemy: of a query that takes microseconds, its share is nine tenths.

The query and its types stay SQLAlchemy's; it is written out once, and from then on handed to the driver. Each is a
transaction of its own, which suits a question that is answered by one row; several that must be answered alike are
asked while the store is held still.

SQLite tells a connection whether anybody else has changed the file since it last asked (`PRAGMA data_version`), in a
third of the time that such a question takes. What was found, and what was made of it, is remembered for exactly as
long as nobody has; while the store is held still nobody can, and that is asked once.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
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
        self.remembers = dialect.name == "sqlite"
        """Whether anything is remembered at all."""
        self._remembered: dict[Any, Any] = {}
        self._version: int | None = None
        self._is_still = False

    def execute(self, query: Select[Any], asked: dict[str, str]) -> Found:
        """Ask a query; what is `asked` are texts."""
        if not self.remembers:
            return self._ask(query, asked)
        remembered, key = self.remembered(), (query, *asked.values())
        found: Found | None = remembered.get(key)
        if found is None:
            found = remembered[key] = self._ask(query, asked)
        return found

    def remembered(self) -> dict[Any, Any]:
        """Give what is remembered of the store as it is, to be asked for before what it is remembered from is.

        What changes in between is found then, and is no longer remembered the next time.
        """
        if not self._is_still:
            self._look()
        if len(self._remembered) >= REMEMBERED_MOST:
            self._remembered = {}
        return self._remembered

    def _look(self) -> None:
        """Forget all where anybody has changed the store."""
        (version,) = self._driver.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._remembered, self._version = {}, version

    def rows(self, query: Select[Any] | CompoundSelect[Any], asked: dict[str, str]) -> list[tuple[Any, ...]]:
        """Give all rows of a query just as the driver does: days and instants are not read."""
        prepared = _prepared(query, self._dialect)
        rows: list[tuple[Any, ...]] = self._driver.execute(prepared.text, prepared.given(asked)).fetchall()
        return rows

    def still(self) -> Still:
        """Let all that is asked within be asked of one state of the store."""
        return Still(self)

    def begin(self) -> None:
        """Hold the store still, until `end`."""
        if not self.remembers:
            self._begin_postgresql()
            return
        self._driver.execute("BEGIN")
        self._look()  # from here on it is the state that this has seen
        self._is_still = True

    def end(self) -> None:
        """Let it go."""
        self._is_still = False
        if not self.remembers:
            self._end_postgresql()
        elif self._driver.in_transaction:
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
        if not prepared.readers:
            return Found(prepared.row(*found))
        values = list(found)
        for place, read in prepared.readers:
            values[place] = read(values[place])
        return Found(prepared.row(*values))


class Still:
    """A store held still. By a generator it would take as long again as what is asked within."""

    __slots__ = ("_glance",)

    def __init__(self, glance: Glance) -> None:
        self._glance = glance

    def __enter__(self) -> None:
        self._glance.begin()

    def __exit__(self, *_: object) -> None:
        self._glance.end()


class _Prepared(NamedTuple):
    """A query as a driver takes it, and how its row is read.

    `constants` are its parameters that have a value, by name; where parameters have no names it is `order` that counts:
    all their values, and the places and names of those that are asked. `readers` are of the columns that need one, by
    place.
    """

    text: str
    constants: dict[str, Any]
    order: tuple[list[Any], list[tuple[int, str]]] | None
    row: Callable[..., Any]
    readers: list[tuple[int, Callable[[Any], Any]]]

    def given(self, asked: Mapping[str, str]) -> Any:
        """Give the parameters as the driver takes them."""
        if self.order is None:
            return {**self.constants, **asked}
        values, places = self.order
        given = values[:]
        for place, name in places:
            given[place] = asked[name]
        return given


@lru_cache(maxsize=64)
def _prepared(query: Select[Any] | CompoundSelect[Any], dialect: Dialect) -> _Prepared:
    written = query.compile(dialect=dialect)
    columns = list(query.selected_columns)
    constants = {name: value for name, value in written.params.items() if value is not None}
    names: list[str] | None = getattr(written, "positiontup", None)
    return _Prepared(
        str(written),
        constants,
        None
        if names is None
        else (
            [constants.get(name) for name in names],
            [(place, name) for place, name in enumerate(names) if name not in constants],
        ),
        namedtuple("Row", [str(column.key) for column in columns], rename=True),  # noqa: PYI024  # the query's fields
        [
            (place, partial(column.type.process_result_value, dialect=dialect))
            for place, column in enumerate(columns)
            if isinstance(column.type, TypeDecorator)
        ],
    )
