"""A process answers so many requests at once, lets some wait, and turns the rest away at once and politely."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ebill.web import metrics, places
from ebill.web.fence import CODE
from ebill.web.places import InTurn, Places
from ebill.web.streamed import Streamed

Told = tuple[str, dict[str, str], bytes]


class Held:
    """An application whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.let_go, self.begun = threading.Event(), threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        self.begun.release()
        assert environ["PATH_INFO"] in places.EXEMPT or self.let_go.wait(30)
        start("200 OK", [("Content-Length", "4")])
        return [b"done"]


def asked(application: Any, path: str = "/v1/states", **more: str) -> Told:
    said: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, **more}
    body = b"".join(application(environ, lambda *told: said.append(told)))
    (status, headers, *_) = said[-1]
    return status, dict(headers), body


class Crowd:
    """Requests at once, each in a thread, with what they were told."""

    def __init__(self, application: Any, count: int) -> None:
        self.told: list[str] = []
        self._threads = [
            threading.Thread(target=lambda: self.told.append(asked(application)[0][:3])) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> list[str]:
        for thread in self._threads:
            thread.join(30)
        return sorted(self.told)


@pytest.fixture
def held() -> Iterator[Held]:
    found = Held()
    yield found
    found.let_go.set()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LONGEST_WAIT", 30)


def until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came to that")


@pytest.mark.usefixtures("patient")
def test_so_many_run_some_wait_and_the_rest_are_told_so_at_once(held: Held) -> None:
    turns = InTurn(held, 2, 3, 1)
    crowd = Crowd(turns, 5)
    until(lambda: len(turns.running._waiting) == 3)
    status, headers, body = asked(turns, **{"ebill.request_id": "abc"})
    assert status.startswith("503")
    assert headers["Retry-After"] == "1"
    assert headers["Content-Type"] == "application/problem+json"
    problem = json.loads(body)
    assert (problem["code"], problem["request_id"], problem["status"]) == ("overloaded", "abc", 503)
    held.let_go.set()
    assert crowd.end() == ["200"] * 5
    assert asked(turns)[0].startswith("200"), "all places are free again"
    assert turns.running._free == 2


@pytest.mark.parametrize("path", sorted(places.EXEMPT))
@pytest.mark.usefixtures("patient")
def test_health_is_answered_where_nothing_else_is(path: str, held: Held) -> None:
    turns = InTurn(held, 1, 0, 1)
    crowd = Crowd(turns, 1)
    assert held.begun.acquire(timeout=30)
    assert asked(turns)[0].startswith("503")
    assert asked(turns, path)[2] == b"done"
    held.let_go.set()
    assert crowd.end() == ["200"]


def test_nobody_waits_for_long(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LONGEST_WAIT", 0.05)
    turns = InTurn(held, 1, 3, 1)
    crowd = Crowd(turns, 1)
    assert held.begun.acquire(timeout=30)
    assert asked(turns)[0].startswith("503")
    assert not turns.running._waiting
    held.let_go.set()
    assert crowd.end() == ["200"]
    assert turns.running._free == 1


def test_who_has_waited_longest_is_next() -> None:
    held, order, threads = Places(1, 9), list[int](), list[threading.Thread]()
    assert held.enter()

    def wait(number: int) -> None:
        assert held.enter()
        order.append(number)
        held.leave()

    for number in range(5):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        until(lambda: len(held._waiting) == number + 1)  # noqa: B023  # called at once
    held.leave()
    for thread in threads:
        thread.join(30)
    assert order == [0, 1, 2, 3, 4]


def test_a_browser_is_told_on_a_page(held: Held) -> None:
    turns = InTurn(held, 1, 0, 1)
    crowd = Crowd(turns, 1)
    assert held.begun.acquire(timeout=30)
    status, headers, body = asked(turns, "/home", HTTP_ACCEPT="text/html,*/*")
    assert status.startswith("503")
    assert headers["Content-Type"].startswith("text/html")
    assert b"<h1>Busy just now</h1>" in body
    held.let_go.set()
    crowd.end()


def test_what_breaks_gives_its_place_back() -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    turns = InTurn(broken, 1, 0, 1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            asked(turns)
    assert turns.running._free == 1


class Endless:
    """An answer of unknown length."""

    def __init__(self) -> None:
        self.closed = 0

    def __call__(self, _environ: Any, start: Any) -> "Endless":
        start("200 OK", [("Content-Type", "text/csv")])
        return self

    def __iter__(self) -> "Endless":
        return self

    def __next__(self) -> bytes:
        return b"a line\n"

    def close(self) -> None:
        self.closed += 1


ASKED = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/deadlines"}


def test_what_is_sent_piece_by_piece_keeps_no_one_from_running_but_only_so_many_are() -> None:
    turns = InTurn(Endless(), 1, 0, 2)
    first, second = (turns(dict(ASKED), lambda *_: None) for _ in range(2))
    assert next(iter(first)) == next(iter(second)) == b"a line\n"
    assert turns.running._free == 1
    assert asked(turns, "/v1/deadlines")[0].startswith("503"), "a third has no place"
    assert isinstance(first, Streamed)
    first.close()
    first.close()
    again = turns(dict(ASKED), lambda *_: None)
    assert next(iter(again)) == b"a line\n"
    del second, again
    assert turns.streaming._free == 2, "also where nobody closed it"


def test_what_is_turned_away_is_closed() -> None:
    endless = Endless()
    turns = InTurn(endless, 1, 0, 1)
    kept = turns(dict(ASKED), lambda *_: None)
    assert asked(turns)[0].startswith("503")
    assert endless.closed == 1
    del kept


def test_a_place_is_given_back_with_the_last_piece() -> None:
    def short(_environ: Any, start: Any) -> Iterator[bytes]:
        start("200 OK", [])
        return iter([b"a", b"b"])

    turns = InTurn(short, 1, 0, 1)
    assert [asked(turns)[2] for _ in range(3)] == [b"ab"] * 3
    assert turns.streaming._free == 1


def test_who_is_turned_away_is_counted_and_told_in_the_log(held: Held) -> None:
    turns = InTurn(held, 1, 0, 1)
    crowd = Crowd(turns, 1)
    held.begun.acquire()
    before = metrics.SHED._value.get()
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/states"}
    turns(environ, lambda *_: None)
    held.let_go.set()
    assert crowd.end() == ["200"]
    assert metrics.SHED._value.get() == before + 1
    assert environ[CODE] == "overloaded"
