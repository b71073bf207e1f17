"""G2: every route and page answers everybody about everything just as the two matrices say.

Besides who asks, it is varied how they say who they are (a cookie where a token belongs, and the reverse; one that
counts no more), by which method they ask, and how the object is named. What stands in no matrix fails.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr
from datetime import datetime, timedelta
from io import StringIO
from typing import Any, Final

import pytest
from sqlalchemy import Connection
from werkzeug.test import TestResponse

from ebill import access
from ebill.store import sessions, tokens
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.web import ROUTES, pages
from ebill.web.routes import Route
from tests import matrices
from tests.matrices import Row, address, ask, ask_page, page_address, statuses
from tests.trust.goals import Goal, Run, require
from tests.visits import HTML, Visits, rehearsed_visits
from tests.world import ACME, ACTORS, AT, BY_TOKEN, UNKNOWN, World, without_grants, without_scopes

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW")
OK: Final = range(200, 400)
"""What lets somebody in: a page goes on by 303, and so does whoever is to sign in, which is told apart below."""
SIGNED: Final = frozenset(route.path for route in ROUTES if not route.is_public and not route.by_secret)
CLOSED: Final = frozenset(page.path for page in pages.PAGES if page.allows != "public")
OTHERWISE: Final = ("1000-acme", "x" * 33, "1000-ACME.", "..%2f1000-ACME", "1000-ACME%00", "%D0%90CME")
"""What is nobody's, and nearly the name of a client that is there."""


def show(run: Run) -> str:
    """Ask every cell, and all that is like one."""
    count: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patched, redirect_stderr(StringIO()):
        patched.setattr("ebill.web.pages.tries.FREE", {"user": 1_000_000, "address": 1_000_000})
        with contextmanager(rehearsed_visits)(run.store) as opened:
            _complete(opened)
            for told, kind in enumerate((_claims, _page_claims, _cells, _pages, _methods, _names), 1):
                run.say(f"part {told} of 6")
                kind(opened, run, count)
    return (
        f"{count['cells']:,} cells and {count['alike']:,} requests like them, of {len(matrices.API)} routes and "
        f"{len(matrices.PAGES)} pages, {count['let in']:,} of the cells let in"
    )


def _complete(opened: Visits) -> None:
    """Find every address and method of the application in one of the matrices, and nothing else there."""
    there = {
        (method, rule.rule)
        for rule in opened.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    names = {route.path: route.rule for route in ROUTES} | {page.path: page.rule for page in pages.PAGES}
    written = {
        (method, names.get(path, path))
        for method, path in (row["request"].split(" ") for row in (*matrices.API, *matrices.PAGES))
    }
    require(written == there, f"in one of the matrices and not in the application, or the reverse: {written ^ there}")
    for row in (*matrices.API, *matrices.PAGES):
        let_in = any(status in OK for actor in ACTORS for status in statuses(row[actor]).values())
        others = ("GET /sign-in/oidc", "GET /metrics")  # for a provider, and for a program with a token of its own
        only_refused = row["how"] == "new" or _found_stale(row) or row["request"].startswith(others)
        require(let_in or only_refused, f"{matrices.named(row)}: nobody is let in, so that this shows nothing")


def _found_stale(row: Row) -> bool:
    """Tell whether somebody got as far as being told what was wrong with what they sent."""
    return any(status in (412, 422) for actor in ACTORS for status in statuses(row[actor]).values())


def _cells(opened: Visits, run: Run, count: Counter[str]) -> None:
    for number, row in enumerate(matrices.API):
        by_head = row["request"].startswith("GET ") and number % run.pick(8, 1) == 0
        for actor in BY_TOKEN:
            for which, status in statuses(row[actor]).items():
                answer = ask(opened, row, actor, which)
                _same(answer, status, row, actor, which)
                _count(count, status)
                if by_head:
                    answer = ask(opened, row, actor, which, "HEAD")
                    _same(answer, status, row, f"{actor}, by HEAD", which)
                    require(not answer.get_data(), f"{matrices.named(row)}: HEAD has a body")
                    count["alike"] += 1


def _pages(opened: Visits, _: Run, count: Counter[str]) -> None:
    for row in matrices.PAGES:
        for actor in ACTORS:
            for which, status in statuses(row[actor]).items():
                answer = ask_page(opened, row, actor, which)
                _same(answer, status, row, actor, which)
                _count(count, status)
                is_sent_away = answer.headers.get("Location", "").startswith("/sign-in")
                is_out = actor in ("anyone", "disabled", "revoked") and "/sign-in" not in row["request"]
                if status == 303 and is_out:
                    require(is_sent_away, f"{matrices.named(row)}: {actor} is not sent to sign in")
                elif status == 303 and not row["request"].endswith("/sign-out"):
                    require(not is_sent_away, f"{matrices.named(row)}: {actor} is sent to sign in")


def _claims(opened: Visits, run: Run, count: Counter[str]) -> None:
    """Say who one is in every way that does not count: each is refused as one that says nothing."""
    world, cookie = opened.world, opened.cookie("admin")
    right = world.tokens["admin"]
    expired = _expired(opened, world)
    wrong: dict[str, dict[str, str]] = {
        "a cookie": cookie,
        "a feed's secret": {"Authorization": f"Bearer {world.feeds['admin']}"},
        "an expired token": {"Authorization": f"Bearer {expired}"},
        "a token cut short": {"Authorization": f"Bearer {right[:-1]}"},
        "a token of other letters": {"Authorization": f"Bearer {right.swapcase()}"},
        "two tokens": {"Authorization": f"Bearer {right}, Bearer {right}"},
        "a token by Basic": {"Authorization": f"Basic {right}"},
    }
    rows = [row for row in matrices.API if row["request"].split(" ")[1] in SIGNED]
    for row in rows[:: run.pick(9, 1)]:
        method = row["request"].split(" ")[0]
        for how, headers in wrong.items():
            answer = opened.ask("", method, address(opened, row, "admin", ACME), headers=headers)
            _same(answer, 401, row, how, ACME)
            count["alike"] += 1


def _expired(opened: Visits, world: World) -> str:
    """Give the text of a token that was good once."""
    store = Store(str(opened.store.engine.url.render_as_string(hide_password=False)))
    with store.writing(By("setup", AT)) as write:
        _, text = tokens.new_token(write.connection, ACTORS["admin"], "old", AT, AT + timedelta(days=1))
        write.audit("setup")
    store.close()
    require(text not in world.tokens.values(), "a token that was made twice")
    return text


def _page_claims(opened: Visits, run: Run, count: Counter[str]) -> None:
    """Open pages with what opens none: a token, and sessions that are over."""
    rows = [row for row in matrices.PAGES if row["request"].split(" ")[1] in CLOSED]
    for row in rows[:: run.pick(7, 1)]:
        method = row["request"].split(" ")[0]
        path = page_address(opened, row, "admin", ACME)
        headers = {"Accept": HTML, "Sec-Fetch-Site": "same-origin"}
        answers = {"a token": opened.ask("admin", method, path, headers=headers)}
        answers |= {how: ask_page(opened, row, how, ACME) for how in ("idle", "old")}
        for how, answer in answers.items():
            _same(answer, 303, row, how, ACME)
            require(answer.headers["Location"].startswith("/sign-in"), f"{matrices.named(row)}: {how} leads on")
            count["alike"] += 1


def _methods(opened: Visits, run: Run, count: Counter[str]) -> None:
    """Ask by every other method; by OPTIONS whoever may use the first method of an address is told which there are."""
    first = {row["request"].split(" ")[1]: row for row in reversed(matrices.API) if row["how"] == ""}
    taken: dict[str, set[str]] = {}
    for row in (*matrices.API, *matrices.PAGES):
        method, path = row["request"].split(" ")
        taken.setdefault(_shape(path), set()).update({method, "HEAD"} if method == "GET" else {method})
    every = list({row["request"].split(" ")[1]: row for row in (*matrices.API, *matrices.PAGES)}.items())
    for path, row in every[:: run.pick(9, 1)]:
        is_page = row in matrices.PAGES
        at = (page_address if is_page else address)(opened, row, "admin", ACME)
        known = taken[_shape(path)] | (set() if is_page else {"OPTIONS"})
        for method in sorted(set(METHODS) - known):
            for actor in ("anyone", "admin"):
                answer = opened.ask(actor, method, at, headers={"Accept": HTML} if is_page else None)
                _same(answer, 405, row, f"{actor}, by {method}", ACME)
                count["alike"] += 1
        if path in SIGNED:
            own = {route.method for route in ROUTES if route.path == path}
            _options(opened, first[path], own | {"OPTIONS"} | ({"HEAD"} if "GET" in own else set()), count)


def _shape(path: str) -> str:
    """Give a path by which Flask tells it from others: with no names in it."""
    return re.sub(r"{\w+}(\.ics)?", "{}", path)


def _options(opened: Visits, row: Row, allow: set[str], count: Counter[str]) -> None:
    for actor in BY_TOKEN:
        for which, status in statuses(row[actor]).items():
            answer = ask(opened, row, actor, which, "OPTIONS")
            hidden = status == 404 and "{client_id}" in row["request"]
            _same(answer, status if status in (401, 403) or hidden else 204, row, f"{actor}, by OPTIONS", which)
            told = set(answer.headers.get("Allow", "").split(", "))
            require(answer.status_code != 204 or told == allow, f"{matrices.named(row)}: OPTIONS tells of {told}")
            count["alike"] += 1


def _names(opened: Visits, run: Run, count: Counter[str]) -> None:
    """Name a client nearly as it is called: that is nobody's, for everybody."""
    at_client = re.compile(re.escape(UNKNOWN))
    rows = [row for row in matrices.API if re.match(r"GET .*{client_id}", row["request"])]
    for row in rows[:: run.pick(5, 1)]:
        for actor in BY_TOKEN:
            status = statuses(row[actor])[UNKNOWN]
            for other in OTHERWISE:
                path = at_client.sub(other.replace("\\", ""), address(opened, row, actor, UNKNOWN), count=1)
                answer = opened.ask(actor, "GET", path)
                wanted = status if status in (401, 403, 404) else 404
                _same(answer, 404 if "%2f" in other else wanted, row, f"{actor}, of {other}", UNKNOWN)
                count["alike"] += 1


def _same(answer: TestResponse, status: int, row: Row, actor: str, which: str) -> None:
    if answer.status_code != status:
        said = " ".join(answer.get_data(as_text=True).split())[:60]
        require(False, f"{matrices.named(row)}: {actor}, {which}: {answer.status_code}, not {status}: {said}")


def _count(count: Counter[str], status: int) -> None:
    count["cells"] += 1
    count["let in"] += status in OK


# Faults


@contextmanager
def _no_grant_join() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as planted:
        without_grants(planted)
        yield


@contextmanager
def _no_scope_join() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as planted:
        without_scopes(planted)
        yield


def _scope_of_any_action() -> AbstractContextManager[object]:
    return _planted(access, "OF_SOME_CLIENTS", frozenset(access.MAY))


def _reading_that_writes() -> AbstractContextManager[object]:
    return _planted(Route, "reads", True)


def _no_entitlement() -> AbstractContextManager[object]:
    return _planted(access, "NEEDS", {})


def _terms_forgotten() -> AbstractContextManager[object]:
    return _planted(access, "NEEDS_TERMS", frozenset())


def _left_out() -> AbstractContextManager[object]:
    return _planted(matrices, "API", [row for row in matrices.API if row["request"] != "GET /v1/audit"])


def _sessions_for_ever() -> AbstractContextManager[object]:
    return _planted(sessions, "SESSION_IDLE", timedelta(days=999))


@contextmanager
def _lenient_tokens() -> Iterator[None]:
    """Let a token count that was revoked, or is past its day."""
    right = tokens.held

    def lenient(connection: Connection, text: str, at: datetime, query: Any, **asked: str) -> Any:
        found = right(connection, text, at, query, **asked)
        return found or right(connection, text, AT, query, **asked)

    with _planted(tokens, "held", lenient):
        yield


@contextmanager
def _planted(where: Any, name: str, value: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as planted:
        planted.setattr(where, name, value)
        yield


GOAL: Final = Goal(
    id="G2",
    name="access matrix",
    rule="each route and page answers each actor about each object as the matrices say, and none is missing there",
    show=show,
    faults={
        "the grant is not joined": _no_grant_join,
        "the scope of a token is not joined": _no_scope_join,
        "a token for some clients may all that its user may": _scope_of_any_action,
        "a token for reading alone changes something": _reading_that_writes,
        "an entitlement is forgotten": _no_entitlement,
        "the payment terms are forgotten": _terms_forgotten,
        "a route that no matrix has": _left_out,
        "a token counts after its last day": _lenient_tokens,
        "a session never idles": _sessions_for_ever,
    },
    stores=True,
)
