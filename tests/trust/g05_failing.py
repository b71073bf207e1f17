"""A disk that fails, or is full, fails every kind of change truthfully: it is refused, not half made, and works after.

The kinds are the rows of the two matrices of access whose request changes something, so that none can be left out.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from sqlalchemy import event, func, select, text

from ebill.store import audit, engine
from ebill.store.engine import Store
from ebill.store.tables import audit as audit_rows
from ebill.web import ROUTES, pages
from tests import matrices
from tests.disk import FAILING, FULL, OK, Disk, Failing, under_sqlite
from tests.trust.goals import Goal, Run, require
from tests.visits import Visits, begin_sessions
from tests.world import ACME, World, fill

CODES = frozenset({"store_unavailable", "outcome_unknown"})
SAME_AS_ROUTES = frozenset(
    {
        "save_rule",
        "save_exception",
        "save_settings",
        "save_new_account",
        "save_new_client",
        "decide_requests",
        "import_file",
        "sign_in",
        "change_first_password",
        "change_own_password",
    }
)
"""Forms that are saved as they were shown, or need a password: here they go no further than that.

What they change is changed by the services behind the routes, in the transaction that every form is sent in.
"""
FIRST: dict[str, tuple[Any, ...]] = {
    "DELETE /v1/users/{user_id}/reminder-targets": (
        "PUT",
        "/v1/users/pat-producer/reminder-targets",
        matrices.BODIES["PUT /v1/users/{user_id}/reminder-targets"],
    ),
    "DELETE /v1/users/{user_id}/grants/{client_id}": ("PUT", f"/v1/users/gus-ungranted/grants/{ACME}"),
    "POST /admin/users/{user_id}/grants": ("DELETE", f"/v1/users/pat-producer/grants/{ACME}"),
}
"""What an administrator does first, so that there is something to do."""
ACTORS = ("manager", "admin", "producer")
SERVED = range(200, 400)


class Kind(NamedTuple):
    """A kind of change: its row in a matrix, who makes it, how it is asked for, and of what."""

    row: matrices.Row
    actor: str
    ask: Callable[..., Any]
    of: str


def kinds() -> Iterator[Kind]:
    """Give every kind of change that a matrix allows somebody to make."""
    writes = {f"{route.method} {route.path}" for route in ROUTES if route.writes and not route.only_tried}
    for row in matrices.API:
        if row["request"] in writes and row["how"] != "dry run":
            found = _allowed(row, matrices.statuses, matrices.ask, range(200, 300))
            require(found, f"nobody makes {row['request']} {row['how']}")
            if found:
                yield found
    for row in matrices.PAGES:
        page = next(page for page in pages.PAGES if f"{page.method} {page.path}" == row["request"])
        if page.method == "POST" and page.endpoint.removeprefix("page ") not in {*SAME_AS_ROUTES, "try_file"}:
            found = _allowed(row, matrices.statuses, matrices.ask_page, SERVED)
            require(found, f"nobody makes {row['request']} {row['how']}")
            if found:
                yield found


def _allowed(
    row: matrices.Row, statuses: Callable[[str], dict[str, int]], ask: Callable[..., Any], served: range
) -> Kind | None:
    for actor in ACTORS:
        for of in matrices.OBJECTS:
            if statuses(row[actor]).get(of) in served:
                return Kind(row, actor, ask, of)
    return None


def failing(run: Run) -> str:
    """Fail the disk at its operations, one after another, for each kind of change."""
    model = run.folder / "model.db"
    store = Store(f"sqlite:///{model}")
    store.upgrade()
    world, sessions = fill(store), begin_sessions(store)
    Visits(store, world, sessions)
    store.close()
    every = list(kinds())
    refused = 0
    for at, kind in enumerate(every, 1):
        run.say(f"{kind.row['request']}, {at} of {len(every)}")
        for codes, for_ever in run.pick(
            [(FULL, True)], [(FULL, True), (FULL, False), (FAILING, True), (FAILING, False)]
        ):
            refused += _fail(run, model, (world, sessions), kind, codes, for_ever=for_ever)
    _fill_up(run, model, (world, sessions))
    return f"{len(every)} kinds of change, failed {refused:,} times: refused and not made each time, and made after"


@contextmanager
def _copy(run: Run, model: Path, disk: Disk | None, people: tuple[World, dict[str, str]]) -> Iterator[Visits]:
    file = run.folder / "copy.db"
    shutil.copy(model, file)
    store = Store(f"sqlite:///{file}")
    try:
        if disk is None:
            yield Visits(store, *people)
            return
        disk.holds(file)
        with under_sqlite(disk):
            try:
                yield Visits(store, *people)
            finally:
                store.close()
    finally:
        store.close()
        for left in run.folder.glob("copy.db*"):
            left.unlink()


def _fail(
    run: Run, model: Path, people: tuple[World, dict[str, str]], kind: Kind, codes: dict[str, int], *, for_ever: bool
) -> int:
    disk = Disk()
    what = f"{kind.row['request']} {kind.row['how']}".strip()
    with _copy(run, model, disk, people) as opened:
        opened.ask(kind.actor, "GET", "/v1/me")  # that the token is used is noted, and not again
        opened.look(kind.actor, "/")
        if kind.row["request"] in FIRST:
            there = opened.ask("admin", *FIRST[kind.row["request"]])
            require(there.status_code < 300, f"{what} has nothing to do: {there.status_code}")
        at = refused = 0
        while True:
            at = run.pick(3 * at, at) + 1
            before = _audited(opened.store)
            disk.before = fails = Failing(codes, at, for_ever=for_ever)
            answer = kind.ask(opened, kind.row, kind.actor, kind.of)
            disk.before = lambda _what: OK
            after = _audited(opened.store)
            where = f"{what}, failed at operation {at}: {answer.status_code}"
            if answer.status_code in SERVED:
                require(after > before, f"{where}, but nothing was made")
                require(not disk.unsynced(), f"{where}, and not synced")
            else:
                require(answer.status_code == 503, f"{where}, {answer.get_data(as_text=True)[:200]}")
                require(answer.headers.get("Retry-After"), f"{where}, without Retry-After")
                code = (answer.get_json(silent=True) or {}).get("code")
                require(code in CODES or not answer.is_json, f"{where}, {code}")
                require(after == before or code in {None, "outcome_unknown"}, f"{where}, but it was made")
                refused += 1
            if after > before:
                break
            require(fails.left <= 0, f"{where}, though nothing failed")
        require(refused > 1, f"{what} was hardly refused")
        _is_whole(opened.store, what)
    return refused


def _audited(store: Store) -> int:
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(audit_rows)) or 0


def _is_whole(store: Store, what: str) -> None:
    with store.reading() as connection:
        require(connection.scalar(text("PRAGMA integrity_check")) == "ok", f"{what}: the file is damaged")
        require(not connection.execute(text("PRAGMA foreign_key_check")).all(), f"{what}: a key leads nowhere")
        require(not list(audit.breaks(connection)), f"{what}: the audit is broken")


def _fill_up(run: Run, model: Path, people: tuple[World, dict[str, str]]) -> None:
    """Let the store grow by a few pages and no more, fill it up, and give it room again."""
    with _copy(run, model, None, people) as opened:
        most = {"pages": 0}

        def bound(connection: Any, _record: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {most['pages'] or 2**30}")

        event.listen(opened.store.engine, "connect", bound)
        with opened.store.reading() as connection:
            most["pages"] = (connection.scalar(text("PRAGMA page_count")) or 0) + 8
        opened.store.close()
        row = {"request": "POST /v1/clients/{client_id}/rules", "how": ""}
        headers = [{"Idempotency-Key": f"key {number}"} for number in range(500)]
        path, body = f"/v1/clients/{ACME}/rules", matrices.BODIES[row["request"]]
        made, status = 0, 201
        while status == 201:
            require(made < len(headers), "it never was full")
            status = opened.ask("manager", "POST", path, body, headers[made]).status_code
            made += status == 201
        require(status == 503, f"a full disk was answered {status}")
        read = opened.ask("manager", "GET", f"/v1/clients/{ACME}").status_code
        require(read == 200, f"while the disk is full, a reading is answered {read}")
        most["pages"] = 0
        opened.store.close()
        again = opened.ask("manager", "POST", path, body, headers[made]).status_code
        require(again == 201, f"with room again, a change is answered {again}")
        _is_whole(opened.store, "a full disk")


def swallowed() -> Any:
    """Plant that an error of the commit is swallowed."""

    def commit(transaction: Any) -> None:
        with suppress(Exception):
            transaction.commit()

    return patch.object(engine, "_commit", commit)


GOAL = Goal(
    id="G5",
    name="A disk that fails or is full",
    rule="each kind of change is refused with 503 and not made; what was is read; then it works again, all whole",
    show=failing,
    faults={"an error of the commit is swallowed": swallowed},
)
