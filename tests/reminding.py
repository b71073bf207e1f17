"""Runs of `ebill remind` that die, and what must hold of the store and of the receivers afterwards.

As with `writers`, one process loads the program once, then forks a run whenever it is told to; a run kills itself at
its n-th point. Points are each SQL statement, each commit, and the moments before and after each send.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event

from ebill import sending
from ebill.errors import StoreUnavailable
from ebill.sending import Outcome
from ebill.service import outbox
from ebill.store import reminders as kept
from ebill.store.engine import Store
from ebill.store.reminders import Message
from tests.world import book_file

ROOT: Final = Path(__file__).parent.parent


class Runs:
    """The process that starts runs, as the tests see it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, *runs: dict[str, Any]) -> list[str]:
        """Let runs be made at once, and give how each ended: `done`, or `killed`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(runs) + "\n")
        self._process.stdin.flush()
        ends: list[str] = json.loads(self._process.stdout.readline())
        return ends


@contextmanager
def starter() -> Iterator[Runs]:
    """Run the process that starts runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.reminding"], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Runs(process)


def _serve() -> None:
    book_file()
    for line in sys.stdin:
        children = []
        for how in json.loads(line):
            child = os.fork()
            if not child:
                _live(**how)
            children.append(child)
        ends = [os.waitpid(child, 0)[1] for child in children]
        print(json.dumps([_end(status) for status in ends]), flush=True)  # noqa: T201


def _end(status: int) -> str:
    if os.WIFSIGNALED(status):
        return "killed" if os.WTERMSIG(status) == signal.SIGKILL else f"signal {os.WTERMSIG(status)}"
    return "done" if status == 0 else "failed"


def _live(*, url: str, at: str, die_at: int = 0, is_hasty: bool = False) -> None:
    """Be a run, and never come back."""
    left = die_at

    def come_nearer(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for what in ("before_cursor_execute", "commit"):
        event.listen(Engine, what, come_nearer)
    for name in ("call", "send_mail"):
        vars(sending)[name] = _around(vars(sending)[name], come_nearer)
    if is_hasty:
        vars(kept)["post"] = _hasty(datetime.fromisoformat(at))
    try:
        _run(url, datetime.fromisoformat(at))
        os._exit(0)
    except BaseException as error:  # noqa: BLE001  # there is nobody else to tell
        sys.stderr.write(f"a run failed: {error!r}\n")
        sys.stderr.flush()
        os._exit(1)


def _run(url: str, at: datetime) -> None:
    store, book = Store(url), book_file().book
    for _ in range(20):
        try:
            outbox.remind(store, book, outbox.ways(store), at.date(), "command", lambda: at)
        except StoreUnavailable:
            continue
        return
    raise TimeoutError


def _around(send: Any, point: Any) -> Any:
    def sent(*given: Any) -> Outcome:
        point()
        outcome: Outcome = send(*given)
        point()
        return outcome

    return sent


def _hasty(at: datetime) -> Any:
    """Plant the fault that messages are sent before they are kept, and die in between."""
    right, call = kept.post, sending.call

    def post(connection: Any, new: list[Message]) -> None:
        for message in new:
            target = kept.target(connection, message.user_id)
            if message.channel == "webhook" and target and target.webhook_url and target.webhook_secret:
                body = message.body.encode()
                call(target.webhook_url, target.webhook_secret, message.message_id, body, at, sending.networks())
        right(connection, new)
        os.kill(os.getpid(), signal.SIGKILL)

    return post


if __name__ == "__main__":
    _serve()
