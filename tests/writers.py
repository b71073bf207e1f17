"""Processes that change a store until they are killed, and what must hold of the store afterwards.

The tests start one process, which loads the program once and then forks a writer whenever it is told to: a kill at a
random point costs a few milliseconds. What a writer says is one line, written at once: `made 7` when the store has
acknowledged version 7, `done` when it has done all it was to do, `error …` for what it did not expect.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event, func, select, text

from ebill.errors import StoreUnavailable
from ebill.store import audit, clients, engine
from ebill.store.engine import Store
from ebill.store.tables import account_versions, accounts, client_versions, rules
from ebill.store.tables import audit as audit_rows
from ebill.store.tables import clients as client_rows
from tests.disk import OK, Disk, under_sqlite
from tests.records import ACME, AT, BY, account, client, edit, furnish, head, rule

ROOT: Final = Path(__file__).parent.parent


def whole(store: Store) -> int:
    """Change many tables and the audit in one transaction."""
    with store.writing(BY) as write:
        return edit(write)


def in_halves(store: Store) -> int:
    """The same in two transactions, which is a fault."""
    with store.noting() as connection:
        version = head(connection) + 1
        clients.put_client(connection, client(version=version), "ada-admin", AT)
        clients.put_account(connection, account(version=version), "ada-admin", AT)
        clients.add_entries(connection, [rule()], "ada-admin", AT)
    with store.writing(BY) as write:
        write.audit("edit", client_id=ACME, after={"version": version})
    return version


def never_kept(store: Store) -> int:
    """The same, acknowledged though it is taken back, which is a fault."""
    with store.writing(BY) as write:
        version = edit(write)
        write.unchanged()
        return version


CHANGES: Final[dict[str, Callable[[Store], int]]] = {
    "whole": whole,
    "in halves": in_halves,
    "never kept": never_kept,
}


def faults(store: Store, acknowledged: Iterable[int] = ()) -> list[str]:
    """Say what is wrong with a store that only such changes were made to, each by one of `acknowledged` or none."""
    found = []
    with store.reading() as connection:
        last = head(connection)
        edits = select(audit_rows.c.after).where(audit_rows.c.action == "edit")
        versions = {
            "client": connection.scalars(select(client_rows.c.version).where(client_rows.c.client_id == ACME)).all(),
            "account": connection.scalars(select(accounts.c.version)).all(),
            "client versions": connection.scalars(
                select(client_versions.c.version).where(client_versions.c.client_id == ACME)
            ).all(),
            "account versions": connection.scalars(select(account_versions.c.version)).all(),
            "audit": [1, *(json.loads(after)["version"] for after in connection.scalars(edits))],
            "rules": range(1, 2 + (connection.scalar(select(func.count()).select_from(rules)) or 0)),
        }
        found += [f"the audit breaks at {sequence}" for sequence in audit.breaks(connection)]
        if store.is_sqlite:
            found += [line for (line,) in connection.execute(text("PRAGMA integrity_check")) if line != "ok"]
            found += [f"foreign key: {row}" for row in connection.execute(text("PRAGMA foreign_key_check"))]
    for what, there in versions.items():
        expected = [last] if what in {"client", "account"} else list(range(1, last + 1))
        if sorted(there) != expected:
            found.append(f"{what}: {sorted(there)[-3:]}, but the client's version is {last}")
    made = sorted(acknowledged)
    if made and made[-1] > last:
        found.append(f"acknowledged and lost: {[version for version in made if version > last]}")
    if len(set(made)) < len(made):
        found.append("a version was acknowledged twice")
    return found


def wrong(url: str, acknowledged: list[int]) -> list[str]:
    """Open a store anew, as after a crash, and say what is wrong with it."""
    store = Store(url)
    try:
        return faults(store, acknowledged)
    finally:
        store.close()


def furnished(url: str) -> str:
    """Put a client into a store, and give its URL back."""
    store = Store(url)
    furnish(store)
    store.close()
    return url


class Writers:
    """The process that starts writers, as the tests see it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def start(self, url: str, change: str = "whole", **how: Any) -> None:
        """Start a writer: see `_write` for how."""
        self._tell(["start", {"url": url, "change": change, **how}])

    def made(self, count: int) -> list[int]:
        """Wait for this many changes to be acknowledged, and give their versions."""
        return [int(self._hear("made")) for _ in range(count)]

    def done(self) -> list[int]:
        """Wait until every writer has ended by itself, and give what they acknowledged."""
        return self._end("wait")

    def kill(self) -> list[int]:
        """Kill every writer, wherever it is, and give what they acknowledged up to then."""
        return self._end("kill")

    def _end(self, how: str) -> list[int]:
        self._tell([how])
        found = []
        while (word := self._word())[0] != "ended":
            if word[0] == "made":
                found.append(int(word[1]))
        return found

    def _hear(self, expected: str) -> str:
        word, rest = self._word()
        if word != expected:
            raise AssertionError(f"{word} {rest}")
        return rest

    def _word(self) -> tuple[str, str]:
        assert self._process.stdout is not None
        word, _, rest = self._process.stdout.readline().rstrip("\n").partition(" ")
        if word in {"", "error"}:
            raise AssertionError(f"a writer failed: {rest}")
        return word, rest

    def _tell(self, command: list[Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()


def killed_at_each(writers: Writers, url: str, change: str, point: str) -> tuple[int, list[str]]:
    """Kill a writer before its first operation, its second, and so on until it gets through; say what was wrong."""
    found: list[str] = []
    acknowledged: list[int] = []
    at = 0
    while not acknowledged and not found:
        at += 1
        writers.start(url, change, count=1, **{f"at_{point}": at})
        acknowledged += writers.done()
        found += wrong(url, acknowledged)
    return at, found


@contextmanager
def starter() -> Iterator[Writers]:
    """Run the process that starts writers; at the end it kills those that are left."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.writers"], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Writers(process)


def _serve() -> None:
    running: list[int] = []
    for line in sys.stdin:
        command, *rest = json.loads(line)
        if command == "start":
            child = os.fork()
            if not child:
                _live(**rest[0])
            running.append(child)
            continue
        if command == "kill":
            for child in running:
                os.kill(child, signal.SIGKILL)
        for child in running:
            os.waitpid(child, 0)
        running.clear()
        _say("ended")
    for child in running:
        os.kill(child, signal.SIGKILL)


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def _live(**how: Any) -> None:
    """Be a writer, and never come back."""
    try:
        _write(**how)
        _say("done")
    except BaseException as error:  # noqa: BLE001  # there is nobody else to tell
        _say(f"error {error!r}".replace("\n", " "))
    finally:
        os._exit(0)


def _write(*, url: str, change: str, count: int | None = None, at_operation: int = 0, at_statement: int = 0) -> None:
    """Make changes, `count` of them or without end; die before the n-th file operation or statement, if told to."""
    left = {"operation": at_operation, "statement": at_statement}

    def come_nearer(what: str) -> int:
        left[what] -= 1
        if left[what] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return OK

    event.listen(Engine, "before_cursor_execute", lambda *_: come_nearer("statement") and None)
    with under_sqlite(Disk(lambda _: come_nearer("operation"))):
        if change.startswith("upgrade"):
            if change == "upgrade in pieces":
                vars(engine)["_begin_sqlite"] = lambda _connection: None
            Store(url).upgrade()
            return
        store = Store(url)
        while count is None or count > 0:
            try:
                version = CHANGES[change](store)
            except StoreUnavailable:
                continue
            _say(f"made {version}")
            count = count and count - 1


if __name__ == "__main__":
    _serve()
