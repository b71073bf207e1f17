"""Nothing of another's client leaks: what is asked about it is answered as what is asked about one that never was.

By every byte of an answer, on every route and page that names a client or a thing of somebody's; by what stands in the
log; and, at the long size, by the time that an answer takes.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import pytest
from sqlalchemy import Connection, select

from ebill import access
from ebill.errors import ClientNotFound, NotAllowed, Stale
from ebill.store.tables import clients
from ebill.web import pages
from tests.hostile import Sent, ask
from tests.test_api_leaks import CANARIES, CHANGES, OF_CLIENT, READINGS, canaries, everything, fingerprint, told_apart
from tests.trust.goals import Goal, Run, require
from tests.visits import Visits, rehearsed_visits, session_ids
from tests.world import MARK, UNKNOWN, ZENITH, without_grants

LIMIT: Final = 4.5
"""Welch's t beyond which two samples of times are not of one kind."""
ACTORS: Final = ("producer", "manager")
NOBODY: Final = "0123456789abcdef"


def show(run: Run) -> str:
    """Ask about the hidden client and about none, by every route, as those who may see neither."""
    with contextmanager(rehearsed_visits)(run.store) as opened:
        log = io.StringIO()
        with contextlib.redirect_stderr(log):
            pairs = alike(opened, run)
            pairs += alike_pages(opened)
            pairs += alike_things(opened)
            scanned = 0
            if run.size == "long":
                for found in everything(opened, "producer"):
                    scanned += 1
                    require(not canaries(found), f"{found.request.path}: {canaries(found)}")
            scanned += scan_formats(opened)
        told = [line for line in map(without_path, log.getvalue().splitlines()) if MARK.lower() in line.lower()]
        require(not told, f"the log tells {told[:1]}")
        said = f"{pairs:,} pairs of answers alike to the byte, no canary in {scanned:,} answers and the log"
        return f"{said}; {timed(opened, run)}" if run.size == "long" else said


def without_path(line: str) -> str:
    """Give a line of the log without the address, which is what the asker sent."""
    return json.dumps({name: value for name, value in json.loads(line).items() if name != "path"})


def alike(opened: Visits, run: Run) -> int:
    """Compare what every route of a client answers, however it is asked."""
    pairs = 0
    for route in OF_CLIENT:
        ways = READINGS if route.method == "GET" else CHANGES
        some = run.pick([*ways.items()][:9], [*ways.items()])
        for method in (route.method, "HEAD", "OPTIONS")[: 3 if route.method == "GET" else 1]:
            for name, sent in some:
                for actor in ACTORS:
                    apart = told_apart(opened, actor, route, method, sent)
                    require(not apart, f"{method} {route.path}, {name}, as {actor}: {apart}")
                    pairs += 1
        run.say(f"{pairs:,} pairs of answers")
    return pairs


def alike_pages(opened: Visits) -> int:
    """Compare every page of a client, looked at and sent."""
    pairs = 0
    for page in pages.PAGES:
        if "{client_id}" not in page.path or "{user_id}" in page.path:
            continue
        for actor in ACTORS:
            found = []
            for client_id in (ZENITH, UNKNOWN):
                path = page.path.format(client_id=client_id, account_id="MAIN")
                answer = opened.look(actor, path) if page.method == "GET" else opened.send(actor, path)
                bare = (
                    answer.get_data().replace(answer.headers["X-Request-Id"].encode(), b"").replace(path.encode(), b"")
                )
                found.append((answer.status_code, bare.replace(client_id.encode(), b"")))
            require(found[0] == found[1], f"{page.method} {page.path}, as {actor}: {found}")
            pairs += 1
    return pairs


def alike_things(opened: Visits) -> int:
    """Compare what is another's, and is no client: a token, a feed, a session, a request for access."""
    world = opened.world
    feed_id = world.feeds["quinn"].split("_")[1]
    asked: Sequence[tuple[str, str, str, str, Any]] = (
        ("producer", "DELETE", "/v1/tokens/{}", world.spare["quinn"], None),
        ("producer", "DELETE", "/v1/feeds/{}", feed_id, None),
        ("manager", "POST", "/v1/access-requests/{}/decisions", world.requests[ZENITH], {"decision": "granted"}),
        ("producer", "GET", "/v1/users/{}", "quinn-quartz", None),
        ("producer", "GET", "/v1/audit?client_id={}", ZENITH, None),
        ("manager", "GET", "/v1/audit?client_id={}", ZENITH, None),
        ("producer", "GET", "/v1/clients?q={}", MARK.lower(), None),
        ("manager", "GET", "/v1/clients?team={}", "south", None),
        ("producer", "GET", "/v1/deadlines?from=2026-08-01&to=2026-08-31&client={}", ZENITH, None),
        ("producer", "GET", "/v1/exports/clients?team={}", "south", None),
    )
    for actor, method, path, there, body in asked:
        headers = {"Idempotency-Key": "a key"}
        hidden, never = (
            fingerprint(opened.ask(actor, method, path.format(name), body, headers)) for name in (there, "nobody-there")
        )
        require(hidden == never, f"{method} {path}, as {actor}: {hidden} {never}")
    sessions = session_ids(opened)
    for path, there in (
        ("/me/tokens/{}/revoke", world.spare["quinn"]),
        ("/me/feeds/{}/revoke", feed_id),
        ("/me/sessions/{}/end", sessions["quinn"]),
    ):
        answers = [opened.send("producer", path.format(name)) for name in (there, NOBODY)]
        bare = [
            (each.status_code, each.get_data().replace(each.headers["X-Request-Id"].encode(), b"")) for each in answers
        ]
        require(bare[0] == bare[1], f"{path}: {bare}")
    return len(asked) + 3


def scan_formats(opened: Visits) -> int:
    """Look for the canaries in lists, files, calendars and pages of the producer."""
    window = "from=2026-08-01&to=2026-10-31"
    asked = [
        *(
            "/v1/clients",
            "/v1/clients?limit=1",
            "/v1/me",
            "/v1/feeds",
            "/v1/tokens",
            "/v1/access-requests",
            "/v1/audit",
        ),
        *(f"/v1/deadlines?{window}&format={form}" for form in ("json", "csv", "ics")),
        *("/v1/exports/clients", f"/v1/feeds/{opened.world.feeds['producer']}.ics"),
    ]
    looked = (
        "/home",
        "/month",
        "/clients",
        "/me",
        "/access-requests",
        "/deadlines.csv",
        "/audit",
        "/audit.csv",
        "/import",
    )
    answers = [opened.ask("producer", "GET", path) for path in asked]
    answers += [opened.look("producer", path) for path in looked]
    for answer in answers:
        require(not canaries(answer), f"{answer.request.path}: {canaries(answer)} of {len(CANARIES)}")
    return len(answers)


def timed(opened: Visits, run: Run) -> str:
    """Compare the times that both take, in pairs and in a drawn order, by Welch's t."""
    draw = random.Random(3)  # noqa: S311  # no secret
    headers = {"Authorization": f"Bearer {opened.world.tokens['producer']}"}
    worst, of, count = 0.0, "", run.pick(200, 4_000)
    routes = [route for route in OF_CLIENT if route.method == "GET"]
    for route in routes:
        taken: dict[str, list[float]] = {ZENITH: [], UNKNOWN: []}
        sent = {
            client_id: Sent(
                "GET", route.path.format(client_id=client_id, account_id="MAIN", user_id="nobody"), b"", headers
            )
            for client_id in taken
        }
        for _ in range(count):
            for client_id in draw.sample([*taken], 2):
                with contextlib.redirect_stderr(io.StringIO()):
                    began = time.perf_counter()
                    ask(opened.app, sent[client_id])
                    taken[client_id].append(time.perf_counter() - began)
        value = abs(welch(taken[ZENITH], taken[UNKNOWN]))
        require(value < LIMIT, f"GET {route.path} takes another time where there is a client: |t| = {value:.1f}")
        worst, of = max((worst, of), (value, route.path))
        run.say(f"|t| = {value:.1f} of {route.path}")
    return f"|t| of times {worst:.1f} at most, in {count:,} pairs on each of {len(routes)} routes"


def welch(some: list[float], others: list[float]) -> float:
    """Give Welch's t of two samples."""
    spread = statistics.variance(some) / len(some) + statistics.variance(others) / len(others)
    return (statistics.fmean(some) - statistics.fmean(others)) / math.sqrt(spread)


def hasty(tell: Callable[[int | None, Callable[[], Any]], Any]) -> Callable[[], Any]:
    """Make a plant that looks a client up before it is asked who may see it."""

    @contextmanager
    def plant() -> Iterator[None]:
        right = access.enter

        def enter(connection: Any, *asked: Any, **how: Any) -> Any:
            version = None
            if isinstance(connection, Connection) and asked[-1]:
                version = connection.scalar(select(clients.c.version).where(clients.c.client_id == asked[-1]))
            return tell(version, lambda: right(connection, *asked, **how))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(access, "enter", enter)
            yield

    return plant


def fetched_first(version: int | None, enter: Callable[[], Any]) -> Any:
    """Tell that there is a client, and only then that it is not to be seen."""
    try:
        return enter()
    except ClientNotFound:
        raise NotAllowed("producer") if version else ClientNotFound from None


def stale_first(version: int | None, enter: Callable[[], Any]) -> Any:
    """Look at the version before the grant."""
    if version not in (None, 7):
        raise Stale(version)
    return enter()


@contextmanager
def hidden_rows() -> Iterator[None]:
    """Leave the grants out of lists and counts."""
    with pytest.MonkeyPatch.context() as patch:
        without_grants(patch)
        yield


GOAL = Goal(
    id="G3",
    name="no leak",
    rule="another's client, token, feed, session and request are answered to the byte as ones that never were; nothing "
    "of them stands in lists, files, calendars, pages or the log; no route takes longer for them (Welch |t| < 4.5)",
    show=show,
    faults=MappingProxyType(
        {
            "a client fetched before it is checked": hasty(fetched_first),
            "412 before 404": hasty(stale_first),
            "hidden rows in lists and counts": hidden_rows,
        }
    ),
    stores=True,
)
