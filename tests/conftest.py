"""What many tests share: stores on either database, brought up to date."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import event

from ebill.store.engine import Store
from tests.stores import QUICK, Databases, empty, postgresql

pytest.register_assert_rewrite("tests.hostile")  # else its assertions would go with python -O


def pytest_configure(config: pytest.Config) -> None:
    """Keep what applications under test remember out of the working directory: a store for each process."""
    folder = tempfile.mkdtemp(prefix="ebill-store-")
    config.add_cleanup(lambda: shutil.rmtree(folder))
    os.environ["EBILL_DATABASE_URL"] = f"sqlite:///{folder}/ebill.db"
    os.environ["EBILL_TOKEN_RATE"] = str(0)  # tests ask faster than anybody; those of the limit set their own


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """A PostgreSQL server, one for each process that runs tests."""
    with postgresql() as server, closing(Databases(server)) as made:
        yield made


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a SQLite store that is brought up to date and otherwise empty, to be copied."""
    return upgraded(f"sqlite:///{tmp_path_factory.mktemp('ready') / 'ready.db'}")


@pytest.fixture(scope="session")
def ready_postgresql(databases: Databases) -> str:
    """The same on PostgreSQL."""
    return upgraded(databases.make())


def upgraded(url: str) -> str:
    """Bring a store up to date, and give its URL back."""
    store = Store(url)
    store.upgrade()
    store.close()
    return url


@pytest.fixture
def sqlite_url(ready: str) -> Iterator[str]:
    """The URL of a new store on SQLite, up to date and empty."""
    with tempfile.TemporaryDirectory(prefix="ebill-", dir=QUICK) as folder:
        yield f"sqlite:///{shutil.copy(ready.removeprefix('sqlite:///'), folder)}"


@pytest.fixture
def postgresql_url(databases: Databases, ready_postgresql: str) -> Iterator[str]:
    """The same on PostgreSQL."""
    url = databases.make(ready_postgresql)
    yield url
    databases.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a new store, up to date and empty, on either database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A new store, up to date and empty, on either database."""
    opened = Store(store_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def used_postgresql(databases: Databases, ready_postgresql: str) -> Iterator[Store]:
    """One store on PostgreSQL for many tests."""
    opened = Store(databases.make(ready_postgresql))
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def emptied_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store, up to date and empty, on either database, that waits for no disk and is emptied instead of new.

    For the many tests that use a store as the service does; those of the store itself take `store`.
    """
    if request.param == "sqlite":
        opened = Store(request.getfixturevalue("sqlite_url"))
        event.listen(opened.engine, "connect", _hasten)
        yield opened
        opened.close()
        return
    opened = request.getfixturevalue("used_postgresql")
    empty(opened)
    yield opened


def _hasten(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")
