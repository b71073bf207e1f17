"""Whatever is asked, nothing breaks: no answer is a server's error, and every error is one that programs can read.

Two kinds of requests: those of `tests.barrage`, in process and fast, at every address of the application by everybody
who may come; and what schemathesis draws from the OpenAPI document, over HTTP to a server as it is run.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import schemathesis
from hypothesis.errors import Unsatisfiable
from requests import RequestException, Session
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from ebill import strictjson
from ebill.store.engine import Store
from ebill.web import fence, problems
from tests.barrage import Barrage, Log
from tests.drawn import draw_cases
from tests.served import served
from tests.trust.goals import Fell, Goal, Run, require
from tests.trust.sharing import two_processes
from tests.visits import Visits, begin_sessions
from tests.world import Rehearsal, World, fill

PART = 50_000
"""Requests of one application: it takes two seconds to make one."""
LONG = {"sqlite": (1_000_000, 50), "postgresql": (100_000, 5)}
"""How many requests in process, and how rarely one that may ask the store: as many of these on each."""
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
ACTORS = ("producer", "manager", "admin")


def seed_of(run: Run) -> int:
    """Give the number that requests are drawn by: `TRUST_SEED`, or at the long size a new one each time."""
    return int(os.environ.get("TRUST_SEED") or run.pick(1, secrets.randbelow(10**9)))


def show(run: Run) -> str:
    """Send both kinds of requests; at the long size by two processes."""
    number = seed_of(run)
    count, rarely = run.pick((1_000, 2), LONG["sqlite" if run.store.startswith("sqlite") else "postgresql"])
    store = Store(run.store)
    try:
        world, sessions = fill(store), begin_sessions(store)
    finally:
        store.close()
    if run.size == "quick":
        statuses = part(run.store, world, sessions, number, count, rarely)
        drawn = explored(run, world, number, map)
    else:
        with two_processes() as pool:
            seeds = range(number, number + count // PART)
            sent = [pool.submit(part, run.store, world, sessions, each, PART, rarely) for each in seeds]
            statuses = Counter[int]()
            for each in as_completed(sent):
                statuses += each.result()
                run.say(f"{statuses.total():,} of {count:,} requests")
            drawn = explored(run, world, number, pool.map)
    require(min(statuses[status] for status in (200, 303, 400, 401, 403, 404, 405, 422)) > 0, f"{statuses}: too alike")
    return (
        f"{count:,} requests, 1 in {rarely} of them at any address and the others at the edge, {statuses[200]:,} of "
        f"them answered with 200, and {drawn:,} drawn from the document over HTTP: no server's error "
        f"(TRUST_SEED={number})"
    )


def part(url: str, world: World, sessions: dict[str, str], number: int, count: int, rarely: int) -> Counter[int]:
    """Send requests to an application that keeps nothing of them; count the statuses."""
    store = Rehearsal(url)
    try:
        return Barrage(Visits(store, world, sessions), number, rarely).send(count)
    except AssertionError as wrong:
        raise Fell(f"TRUST_SEED={number}: {wrong}") from None
    finally:
        store.close()


def explored(run: Run, world: World, number: int, spread: Callable[..., Iterable[int]]) -> int:
    """Send what schemathesis draws for each operation of the document to a real server; count the cases."""
    log, each = run.folder / "log", run.pick(1, 105)
    with served(log, EBILL_DATABASE_URL=run.store) as port:
        count, done = len(operations(port)), 0
        tokens = [world.tokens[ACTORS[(at + number) % len(ACTORS)]] for at in range(count)]
        asked = zip(range(count), tokens, strict=True)
        for at, found in enumerate(spread(partial(explore, port, number, each), asked), 1):
            done += found
            run.say(f"{done:,} cases, {at} of {count} operations over HTTP")
    refuse_complaints(log)
    return done


@lru_cache(1)
def operations(port: int) -> list[Any]:
    """Read the document of a server."""
    document = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json", wait_for_schema=30)
    return [found.ok() for found in document.get_all_operations()]  # type: ignore[union-attr]


def explore(port: int, number: int, count: int, asked: tuple[int, str]) -> int:
    """Draw cases of an operation, right ones and wrong ones, and hold each answer to the document; count them."""
    operation, headers, done = operations(port)[asked[0]], {"Authorization": f"Bearer {asked[1]}"}, 0
    with Session() as session:

        def send(case: Case[Any]) -> None:
            nonlocal done
            done += 1
            response = case.call(headers=headers, session=session)
            case.validate_response(response, checks=CHECKS, headers=headers)

        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            try:
                draw_cases(operation, mode, number, count, send)
            except RequestException as failed:
                raise Fell(f"{operation.label}: {failed}") from None
            except FailureGroup as failed:
                raise Fell("; ".join(str(each) for each in failed.exceptions)[:2_000]) from None
            except (AttributeError, Unsatisfiable):  # where an operation takes nothing, nothing wrong can be drawn
                if mode is GenerationMode.POSITIVE:
                    raise
    return done


def refuse_complaints(log: Path) -> None:
    """Look through the log of a server for anything but requests."""
    taken = Log()
    for line in log.read_text("utf-8").splitlines():
        taken.write(line)
    require(not taken.wrong, taken.wrong)


@contextmanager
def raising_on_nul() -> Iterator[None]:
    """Let every route that takes JSON raise where NUL is in it."""
    right = strictjson.loads

    def loads(source: bytes) -> Any:
        found = right(source)
        if b"\\u0000" in source:
            raise ValueError("embedded null byte")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strictjson, "loads", loads)
        yield


@contextmanager
def without_a_header() -> Iterator[None]:
    """Leave a header out that every answer must have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fence, "SIGNED_HEADERS", fence.SIGNED_HEADERS[1:])
        yield


@contextmanager
def errors_without_a_code() -> Iterator[None]:
    """Answer errors of one kind with text for people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problems, "HTTP_CODES", problems.HTTP_CODES | {405: "Method Not Allowed"})
        yield


GOAL = Goal(
    id="G1",
    name="requests of all kinds",
    rule="no answer is a server's error (503 only with Retry-After), nothing unforeseen is logged, every error of the "
    "API is problem+json with a code, and every answer has the security headers",
    show=show,
    faults=MappingProxyType(
        {
            "a route that raises on NUL": raising_on_nul,
            "an answer without one of its headers": without_a_header,
            "an error without a code": errors_without_a_code,
        }
    ),
    stores=True,
    short="On PostgreSQL 100,000 requests in process instead of a million; of both, 20,000 are those that may ask the "
    "store, as these cost milliseconds each, and the others are answered before it is asked.",
)
