"""Several who work at the same time, each with a client of their own."""

import threading
import time
from collections.abc import Callable
from typing import Any

from werkzeug.test import TestResponse

from tests.trust.goals import require
from tests.world import Door

PATIENCE = 300
"""Seconds that the slowest may take."""
BUSY = frozenset({("store_unavailable", "1"), ("overloaded", "1")})
"""How somebody is told to ask again."""


def at_once(opened: Door, workers: int, work: Callable[[Door, int], Any]) -> list[Any]:
    """Let several work at the same time; give what each found, and raise what one of them raised."""
    found: list[Any] = [None] * workers
    raised: list[BaseException] = []
    begin = threading.Barrier(workers)

    def run(number: int) -> None:
        own = Door.__new__(Door)
        own.__dict__ = {**opened.__dict__, "client": opened.app.test_client()}
        begin.wait(30)
        try:
            found[number] = work(own, number)
        except BaseException as error:  # noqa: BLE001  # it is raised again by whoever waits
            raised.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if raised:
        raise raised[0]
    require(not any(thread.is_alive() for thread in threads), "somebody is still at work")
    return found


def when_free(ask: Callable[[], TestResponse]) -> TestResponse:
    """Ask again while the service or its store says that it is busy."""
    while (answer := ask()).status_code == 503:
        said = answer.get_json()["code"], answer.headers.get("Retry-After")
        require(said in BUSY, f"refused so: {said}")
        time.sleep(0.01)
    return answer
