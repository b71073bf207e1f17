"""A request waits for its database so long in all, and no longer."""

import threading
import time

import pytest
from psycopg import OperationalError

from ebill.errors import StoreUnavailable
from ebill.store import engine, patience
from ebill.store.engine import Store
from ebill.web.fence import Fence

pytestmark = pytest.mark.anywhere


def test_what_was_waited_for_is_counted_and_what_was_worked_is_not() -> None:
    with patience.Bounded():
        time.sleep(0.05)
        with patience.waiting() as most:
            assert most == patience.SECONDS
            time.sleep(0.05)
        with patience.waiting() as most:
            assert most is not None
            assert most <= patience.SECONDS - 0.05
        with patience.waiting(0.5) as most:
            assert most == 0.5


def test_nobody_who_has_waited_long_begins_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", patience.CONNECT_SECONDS - 0.1)
    from ebill.store.postgresql import Dialect

    with patience.Bounded(), pytest.raises(OperationalError, match="no time left"):
        Dialect().connect()  # type: ignore[no-untyped-call]


def test_whoever_is_no_request_and_whoever_needs_time_wait_without_end() -> None:
    with patience.waiting() as most:
        assert most is None
    with patience.Bounded(), patience.endless(), patience.waiting() as most:
        assert most is None
    with patience.Bounded(), patience.endless(needed=False), patience.waiting() as most:
        assert most == patience.SECONDS


def test_every_request_is_bounded() -> None:
    found: list[bool] = []

    def inner(_environ: object, _start: object) -> list[bytes]:
        found.append(patience.suffices(patience.SECONDS + 1))
        return []

    assert list(Fence(inner)({"REQUEST_METHOD": "GET"}, None)) == []
    assert found == [False]
    assert patience.suffices(1000), "only a request is"


def test_a_turn_to_write_is_waited_for_no_longer_than_the_request_may_wait(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.0)
    monkeypatch.setattr(engine, "LOCK_SECONDS", 600)
    store = Store(sqlite_url)
    begun, end = threading.Event(), threading.Event()

    def write() -> None:
        with store.noting():
            begun.set()
            end.wait(60)

    other = threading.Thread(target=write)
    other.start()
    try:
        assert begun.wait(60)
        with patience.Bounded(), pytest.raises(StoreUnavailable), store.noting():
            pass
    finally:
        end.set()
        other.join()
        store.close()
