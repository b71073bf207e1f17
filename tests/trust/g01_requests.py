"""Whatever is asked, nothing breaks: no answer is a server's error, and every error is one that programs can read.

Two kinds of requests: those of `tests.barrage`, in process and fast, at every address of the application by everybody
who may come; and what schemathesis draws from the OpenAPI document, over HTTP to a server as it is run.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from requests import RequestException
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from ebill import strictjson
from ebill.store.engine import Store
from ebill.web import fence, problems
from tests.barrage import Barrage, Log
from tests.served import served
from tests.trust.goals import Fell, Goal, Run, require
from tests.visits import Visits, begin_sessions
from tests.world import Rehearsal, World, fill

PART = 500
"""Requests between two words on how far it is."""
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
ACTORS = ("producer", "manager", "admin")


def seed_of(run: Run) -> int:
    """Give the number that requests are drawn by: `TRUST_SEED`, or at the long size a new one each time."""
    return int(os.environ.get("TRUST_SEED") or run.pick(1, secrets.randbelow(10**9)))


def show(run: Run) -> str:
    """Send both kinds of requests."""
    number, count = seed_of(run), run.pick(1_000, 20_000)
    store = Store(run.store)
    try:
        world, sessions = fill(store), begin_sessions(store)
        if run.size == "quick":
            statuses = part(run.store, world, sessions, number, count, run.say)
        else:
            with ProcessPoolExecutor(2, get_context("spawn")) as pool:
                parts = [pool.submit(part, run.store, world, sessions, number + n, count // 2) for n in (0, 1)]
                statuses = sum((each.result() for each in parts), Counter())
    finally:
        store.close()
    require(min(statuses[status] for status in (200, 303, 400, 401, 403, 404, 405, 422)) > 0, f"{statuses}: too alike")
    drawn = explored(run, world, number)
    return (
        f"{count:,} requests at every address, {statuses[200] + statuses[201]:,} of them answered with 2xx, and "
        f"{drawn:,} drawn from the document over HTTP: no server's error (TRUST_SEED={number})"
    )


def part(
    url: str,
    world: World,
    sessions: dict[str, str],
    number: int,
    count: int,
    say: Callable[[str], None] = lambda _: None,
) -> Counter[int]:
    """Send requests to an application that keeps nothing of them."""
    rehearsal, statuses = Rehearsal(url), Counter[int]()
    try:
        barrage = Barrage(Visits(rehearsal, world, sessions), number)
        while (done := statuses.total()) < count:
            statuses += barrage.send(min(PART, count - done))
            say(f"{statuses.total():,} of {count:,} requests")
    except AssertionError as wrong:
        raise Fell(f"TRUST_SEED={number}: {wrong}") from None
    finally:
        rehearsal.close()
    return statuses


def explored(run: Run, world: World, number: int) -> int:
    """Send what schemathesis draws for each operation of the document to a real server; count the cases."""
    log, each = run.folder / "log", run.pick(1, 15)
    with served(log, EBILL_DATABASE_URL=run.store) as port:
        document = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json", wait_for_schema=30)
        operations: list[Any] = [found.ok() for found in document.get_all_operations()]  # type: ignore[union-attr]
        done = 0
        for at, operation in enumerate(operations):
            for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
                token = world.tokens[ACTORS[(at + number) % len(ACTORS)]]
                done += explore(operation, mode, each, number, {"Authorization": f"Bearer {token}"})
            run.say(f"{done:,} cases, {at + 1} of {len(operations)} operations over HTTP")
    refuse_complaints(log)
    return done


def explore(operation: Any, mode: GenerationMode, count: int, number: int, headers: dict[str, str]) -> int:
    """Draw cases of one operation, and hold each answer to the document."""
    done = 0

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Case[Any]) -> None:
        nonlocal done
        done += 1
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS, headers=headers)

    try:
        run()
    except RequestException as failed:
        raise Fell(f"{operation.label}: {failed}") from None
    except FailureGroup as failed:
        raise Fell("; ".join(str(each) for each in failed.exceptions)[:2_000]) from None
    except (AttributeError, Unsatisfiable):  # where an operation takes nothing, nothing wrong can be drawn for it
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
        patch.setitem(problems.HTTP_CODES, 405, "Method Not Allowed")
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
    short="20,000 requests in process and some 1,500 over HTTP on each database instead of a million: pages and "
    "transactions cost milliseconds each, and the hour is for all goals.",
)
