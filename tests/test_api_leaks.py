"""Nothing of a client leaks to somebody who may not see it: not that it is there, not what it is called.

What is asked about another's client is answered, byte for byte, as what is asked about one that never was.
"""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from ebill import access
from ebill.errors import ClientNotFound, NotAllowed, Stale
from ebill.store.tables import clients
from ebill.web import ROUTES
from ebill.web.routes import Csv, Route
from tests.world import ACME, MARK, UNKNOWN, ZENITH, Door, rehearsed, without_grants

pytestmark = pytest.mark.anywhere

Sent = dict[str, Any]
OF_CLIENT = [route for route in ROUTES if "client_id" in route.names]
RULE = {"since": "2090-01", "generation": {"day_of_month": 9}, "cite": "Letter"}
CHANGES: dict[str, Sent] = {
    "as it should be": {},
    "a broken body": {"data": b'{"name": '},
    "a body with a fault": {"data": b'{"nmae": 1}'},
    "no body": {"data": b""},
    "a body of another kind": {"data": b"name=Acme", "content_type": "text/plain"},
    "a body beyond what is taken": {"data": b"[" + b"1," * 200_000 + b"1]"},
    "an unknown query": {"query_string": "dry_rnu=true"},
    "a dry run": {"query_string": "dry_run=true"},
    "a stale version": {"headers": {"If-Match": '"7"'}},
    "the version that is there": {"headers": {"If-Match": '"1"'}},
    "a weak version": {"headers": {"If-Match": 'W/"1"'}},
    "any version": {"headers": {"If-Match": "*"}},
    "a garbled version": {"headers": {"If-Match": "1"}},
    "both conditions": {"headers": {"If-Match": '"1"', "If-None-Match": "*"}},
    "another's version": {"headers": {"If-None-Match": '"1"'}},
    "no key": {"headers": {"Idempotency-Key": ""}},
}
READINGS: dict[str, Sent] = {
    "as it should be": {},
    "an unknown query": {"query_string": "form=2026-08"},
    "a faulty query": {"query_string": "from=2026-13&months=0"},
    "a version": {"headers": {"If-None-Match": '"1"'}},
    "any version": {"headers": {"If-None-Match": "*"}},
    "a garbled version": {"headers": {"If-None-Match": "1"}},
    "an instant": {"query_string": "known_at=2026-01-01T00:00:00Z"},
}
CASES = [
    pytest.param(route, method, id=f"{method} {route.path}")
    for route in OF_CLIENT
    for method in ((route.method, "HEAD", "OPTIONS") if route.method == "GET" else (route.method,))
]


@pytest.fixture(scope="module")
def door(databases: Any, ready_postgresql: str) -> Iterator[Door]:
    """The world on PostgreSQL, which keeps nothing of what is done to it."""
    yield from rehearsed(databases.make(ready_postgresql))


def body_for(route: Route) -> Sent:
    """Give a body that would do, and the headers that go with it."""
    headers = {"Idempotency-Key": "a key", "If-Match": '"1"'}
    if route.body is None or route.body is Csv:
        return {"headers": headers}
    if route.path.endswith("rules"):
        return {"json": RULE, "headers": headers}
    return {"json": route.example, "headers": headers}


def answer(door: Door, actor: str, route: Route, method: str, client_id: str, sent: Sent) -> TestResponse:
    """Send a request about a client."""
    names = {"client_id": client_id, "account_id": "MAIN", "user_id": "gus-ungranted"}
    usual = body_for(route) if method not in ("GET", "HEAD", "OPTIONS") else {}
    more = {**usual, **sent}
    headers = {**usual.get("headers", {}), **sent.get("headers", {})}
    if "If-None-Match" in headers and "If-Match" not in sent.get("headers", {}):
        headers.pop("If-Match", None)
    if "data" in sent:
        more.pop("json", None)
        more.setdefault("content_type", "application/json")
    more["headers"] = headers
    return door.ask(actor, method, route.path.format(**names), **more)


def fingerprint(found: TestResponse) -> tuple[int, list[tuple[str, str]], bytes]:
    """Give an answer without what differs from one request to the next."""
    headers = sorted((name, value) for name, value in found.headers if name not in ("Date", "X-Request-Id"))
    return found.status_code, headers, re.sub(rb'"request_id":"[0-9a-f]+"', b"", found.get_data())


def told_apart(door: Door, actor: str, route: Route, method: str, sent: Sent) -> str:
    """Say how a hidden client is told from one that never was; nothing where it is not."""
    hidden, never = (
        fingerprint(answer(door, actor, route, method, client_id, sent)) for client_id in (ZENITH, UNKNOWN)
    )
    return "" if hidden == never else f"{hidden} {never}"


@pytest.mark.parametrize(("route", "method"), CASES)
def test_a_hidden_client_is_answered_as_one_that_never_was(door: Door, route: Route, method: str) -> None:
    for name, sent in (READINGS if route.method == "GET" else CHANGES).items():
        for actor in ("producer", "manager"):
            assert told_apart(door, actor, route, method, sent) == "", (name, actor)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/v1/clients?q={MARK.lower()}", 200),
        (f"/v1/clients?q={ZENITH}", 200),
        ("/v1/clients?team=south", 200),
        (f"/v1/audit?client_id={ZENITH}", 404),
    ],
)
def test_a_filter_finds_a_hidden_client_no_more_than_one_that_never_was(door: Door, path: str, status: int) -> None:
    never = path.replace(MARK.lower(), "nobody").replace(ZENITH, UNKNOWN).replace("south", "nowhere")
    for actor in ("producer", "manager"):
        hidden = door.ask(actor, "GET", path)
        assert hidden.status_code == status
        assert fingerprint(hidden) == fingerprint(door.ask(actor, "GET", never))


def test_a_request_for_a_hidden_client_is_taken_as_one_for_a_client_that_never_was(door: Door) -> None:
    found = []
    for client_id in (ZENITH, UNKNOWN):
        body = {"client_ids": [ACME, client_id], "reason": "New broker"}
        taken = door.ask("producer", "POST", "/v1/access-requests", body, {"Idempotency-Key": client_id})
        text = taken.get_data(as_text=True).replace(client_id, "ID")
        text = re.sub(r'"requested_at":"[^"]+"|"request_id":"[^"]+"', "", text)
        length = int(taken.headers["Content-Length"]) - len(client_id)
        found.append((taken.status_code, length, text))
    assert found[0][0] == 201
    assert found[0][2] == found[1][2]


@pytest.mark.parametrize("body", [{"decision": "granted"}, {"decision": "granted", "client_ids": [ZENITH]}, {"no": 1}])
def test_a_request_that_others_decide_is_answered_as_one_that_never_was(door: Door, body: Any) -> None:
    hidden, never = (
        fingerprint(
            door.ask(
                "manager",
                "POST",
                f"/v1/access-requests/{request_id}/decisions",
                body,
                {"Idempotency-Key": "a key"},
            )
        )
        for request_id in (door.world.requests[ZENITH], "request-none")
    )
    assert hidden == never


def test_the_token_of_another_is_answered_as_one_that_never_was(door: Door) -> None:
    hidden, never = (
        fingerprint(door.ask("producer", "DELETE", f"/v1/tokens/{token_id}"))
        for token_id in (door.world.spare["quinn"], "0123456789abcdef")
    )
    assert hidden == never


def test_only_making_a_client_tells_a_manager_that_its_id_is_taken(door: Door) -> None:
    # Ids are unique: whoever may make clients finds out which ones are free. What the id stands for stays hidden.
    body = {"name": "New", "team_id": "north", "state": "PA"}
    taken, free = (
        door.ask("manager", "PUT", f"/v1/clients/{client_id}", body, {"If-None-Match": "*"})
        for client_id in (ZENITH, UNKNOWN)
    )
    assert (taken.status_code, free.status_code) == (404, 201)
    assert "ETag" not in taken.headers
    plain = door.ask("manager", "GET", f"/v1/clients/{UNKNOWN}")
    assert fingerprint(taken) == fingerprint(plain)


def everything(door: Door, actor: str) -> Iterator[TestResponse]:
    """Send every request that there is, as somebody, about each client and with each way to get it wrong."""
    for route in ROUTES:
        if route.is_public:
            continue
        method = route.method
        ways = READINGS if method == "GET" else CHANGES
        about = (ACME, ZENITH, UNKNOWN) if {"client_id", "request_id"} & {*route.names} else (ACME,)
        for sent, client_id in product(ways.values(), about):
            names = {
                "client_id": client_id,
                "account_id": "MAIN",
                "user_id": "gus-ungranted",
                "request_id": door.world.requests.get(client_id, "request-none"),
                "token_id": door.world.spare["quinn"],
                "feed_id": door.world.feeds["quinn"].split("_")[1],
                "secret": door.world.feeds[actor],
                "team_id": "south",
            }
            usual = body_for(route) if method != "GET" else {}
            headers = {**usual.get("headers", {}), **sent.get("headers", {})}
            more = {**usual, **sent, "headers": headers}
            if "data" in sent:
                more.pop("json", None)
                more.setdefault("content_type", "text/csv" if route.body is Csv else "application/json")
            yield door.ask(actor, method, route.path.format(**names), **more)
    for path in ("clients?q=quartz", "clients?team=south", "clients?state=PA&limit=1", "audit?limit=200", "tokens"):
        yield door.ask(actor, "GET", f"/v1/{path}")


CANARIES = (MARK.encode(), b"quinn", b"quartz", b"sam-south", b"2000-ZENITH", b"zenith")
"""What tells of the other client: its name, its id, its producer, and its manager."""


def canaries(found: TestResponse) -> list[bytes]:
    """Give the canaries in an answer."""
    said = found.get_data() + repr(list(found.headers)).encode()
    return [canary for canary in CANARIES if canary.lower() in said.lower()]


def test_nothing_that_a_producer_can_ask_tells_of_the_other_client(door: Door) -> None:
    answers = list(everything(door, "producer"))
    assert {found.status_code for found in answers} >= {200, 201, 403, 404, 422}
    assert [(found.request.path, canaries(found)) for found in answers if canaries(found)] == []


def test_the_other_producer_does_see_what_nobody_else_may(door: Door) -> None:
    seen = door.ask("quinn", "GET", f"/v1/clients/{ZENITH}")
    assert {MARK.encode(), ZENITH.encode()} <= set(canaries(seen))


def test_a_dropped_grant_join_is_found(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    without_grants(monkeypatch)
    route = next(route for route in OF_CLIENT if route.path.endswith("{client_id}") and route.method == "GET")
    assert told_apart(door, "producer", route, "GET", {})
    assert canaries(door.ask("producer", "GET", "/v1/clients"))


def version_of(door: Door, client_id: str) -> int | None:
    """Look a client up, whoever asks."""
    with door.store.reading() as connection:
        found: int | None = connection.scalar(select(clients.c.version).where(clients.c.client_id == client_id))
    return found


def test_a_client_that_is_fetched_before_it_is_checked_is_found(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    right = access.enter

    def hasty(*asked: Any, **how: Any) -> Any:
        there = version_of(door, asked[-1])
        try:
            return right(*asked, **how)
        except ClientNotFound:
            raise NotAllowed("producer") if there else ClientNotFound from None

    monkeypatch.setattr(access, "enter", hasty)
    assert all(told_apart(door, "producer", route, "GET", {}) for route in OF_CLIENT if route.method == "GET")


def test_a_version_that_is_looked_at_before_the_grant_is_found(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    right = access.enter

    def hasty(*asked: Any, **how: Any) -> Any:
        version = version_of(door, asked[-1])
        if version not in (None, 7):
            raise Stale(version)
        return right(*asked, **how)

    monkeypatch.setattr(access, "enter", hasty)
    changes = [route for route in OF_CLIENT if route.conditional]
    assert changes
    assert all(told_apart(door, "manager", route, route.method, CHANGES["a stale version"]) for route in changes)
