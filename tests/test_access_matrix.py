"""Who may do what to which object, cell by cell: `access_matrix.csv` says it, every route is held to it.

A cell has one status for whatever is asked about, or three: for what belongs to `1000-ACME`, to `2000-ZENITH`, and to
nobody. `how` tells of apart what one route does in several ways. Nothing that a cell does is kept for the next.
"""

import csv
import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema_rs import Draft202012Validator
from sqlalchemy import Connection

from ebill import access
from ebill.render.json import encode
from ebill.store import people
from ebill.web import ROUTES, create_app, docs, openapi, pages, refuse_undeclared
from ebill.web.routes import Route
from tests.stores import Databases
from tests.world import ACME, ACTORS, UNKNOWN, ZENITH, Door, book_file, rehearsed, without_grants

pytestmark = pytest.mark.anywhere

FILE = Path(__file__).with_name("access_matrix.csv")
ROWS = list(csv.DictReader(FILE.read_text("utf-8").splitlines()))
OBJECTS = (ACME, ZENITH, UNKNOWN)
OK = range(200, 300)
RULE = {"since": "2090-01", "generation": {"day_of_month": 9}, "cite": "Letter"}
EXCEPTION = {"coverage_month": "2090-01", "due_date": "2090-01-02", "reason": "Calendar"}
PAYMENT = {"coverage_month": "2024-03", "paid_at": "2024-03-01"}
BODIES: dict[str, Any] = {
    "POST /v1/calculate/batch": [{"state": "PA", "coverage_month": "2026-08"}],
    "POST /v1/calculate": {"state": "PA", "coverage_month": "2026-08"},
    "PUT /v1/clients/{client_id}/bill-accounts/{account_id}": {"name": "Main", "kind": "site"},
    "POST /v1/clients/{client_id}/rules": RULE,
    "POST /v1/clients/{client_id}/bill-accounts/{account_id}/rules": RULE,
    "POST /v1/clients/{client_id}/exceptions": EXCEPTION,
    "POST /v1/clients/{client_id}/bill-accounts/{account_id}/exceptions": EXCEPTION,
    "POST /v1/clients/{client_id}/bill-accounts/{account_id}/payments": PAYMENT,
    "POST /v1/clients/{client_id}/bill-accounts/{account_id}/payments/preview": PAYMENT,
    "PUT /v1/me/payment-terms": {"accepted": True},
    "POST /v1/access-requests": {"client_ids": [ZENITH], "reason": "New broker"},
    "POST /v1/access-requests/{request_id}/decisions": {"decision": "declined"},
    "PUT /v1/users/{user_id}": {"name": "Somebody", "role": "producer", "state": "PA"},
    "PUT /v1/me/reminders": {"lead_days": {"due": [7, 1]}},
    "PUT /v1/users/{user_id}/reminder-targets": {"email": "somebody@example.com"},
    "PUT /v1/teams/{team_id}": {"name": "West"},
    "POST /v1/tokens": {"name": "One more"},
    "POST /v1/feeds": {},
}
QUERIES = {"GET /v1/posting": "state=PA&paid_at=2026-07-02"}
USER_OF = {ACME: "pat-producer", ZENITH: "gus-ungranted", UNKNOWN: "nobody"}
TEAM_OF = {ACME: "north", ZENITH: "south", UNKNOWN: "north"}


def statuses(cell: str) -> dict[str, int]:
    """Read a cell: the status for each object."""
    said = [int(status) for status in cell.split()]
    return dict(zip(OBJECTS, said * len(OBJECTS) if len(said) == 1 else said, strict=False))


def address(door: Door, row: dict[str, str], actor: str, which: str) -> str:
    """Give the address of a cell."""
    request = row["request"]
    path = request.split(" ")[1]
    world = door.world
    token = {ACME: world.spare.get(actor), ZENITH: world.spare["quinn"], UNKNOWN: "0123456789abcdef"}[which]
    feeds = {ACME: world.feeds.get(actor, world.feeds["producer"]), ZENITH: world.feeds["quinn"]}
    secret = feeds.get(which, f"ebf_{'0' * 16}_{'0' * 40}")
    named = {
        "client_id": which,
        "account_id": "SITE" if row["how"] == "new" else "MAIN",
        "user_id": "gus-ungranted" if "grants" in path else USER_OF[which],
        "request_id": world.requests.get(which, "request-none"),
        "token_id": token or "0123456789abcdef",
        "feed_id": secret.split("_")[1],
        "secret": secret,
        "team_id": "west",
        "code": "PA",
    }
    path = path.replace("static/<name>", "static/pages.css").replace("<name>", "start.js").format(**named)
    query = QUERIES.get(request, "") or {
        "dry run": "dry_run=true",
        "of a client": f"client_id={which}",
        "client": "" if request.startswith("POST") else f"client={which}",
    }.get(row["how"], "")
    return f"{path}?{query}" if query else path


def ask(door: Door, row: dict[str, str], actor: str, which: str, method: str = "") -> Any:
    """Send the request of a cell, by another method where one is given."""
    request = row["request"]
    headers, more, body = {}, {}, BODIES.get(request)
    own_team = {"manager": "north", "other manager": "south"}.get(actor, "north")
    if request == "PUT /v1/clients/{client_id}":
        team = own_team if row["how"] == "new" else TEAM_OF[which]
        body = {"name": "Somebody Ltd", "team_id": team, "state": "PA"}
    if request == "POST /v1/imports/clients":
        body = f"record,client_id,name,team_id,state\r\nclient,NEW,New,{own_team},PA\r\n".encode()
        more["content_type"] = "text/csv"
    if row["how"] == "client" and body is not None:
        body = {"client_id": which}
    if request.startswith("PUT"):
        headers = {"If-None-Match": "*"} if row["how"] == "new" else {"If-Match": '"1"'}
    if request.startswith("POST"):
        headers["Idempotency-Key"] = "a key of the matrix"
    if method in ("HEAD", "OPTIONS"):
        body = None
    return door.ask(actor, method or request.split(" ")[0], address(door, row, actor, which), body, headers, **more)


def differences(door: Door, rows: list[dict[str, str]]) -> list[str]:
    """Give every cell that is not as the matrix has it."""
    found = []
    for row in rows:
        for actor in ACTORS:
            for which, status in statuses(row[actor]).items():
                answer = ask(door, row, actor, which)
                if answer.status_code != status:
                    found.append(
                        f"{row['request']} {row['how']}: {actor}, {which}: {answer.status_code}, "
                        f"not {status}: {answer.get_data(as_text=True)[:300]}"
                    )
    return found


@pytest.fixture(scope="session")
def sqlite_door(ready: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    copy = tmp_path_factory.mktemp("world") / "world.db"
    shutil.copyfile(ready.removeprefix("sqlite:///"), copy)
    yield from rehearsed(f"sqlite:///{copy}")


@pytest.fixture(scope="session")
def postgresql_door(databases: Databases, ready_postgresql: str) -> Iterator[Door]:
    yield from rehearsed(databases.make(ready_postgresql))


@pytest.fixture(params=["sqlite", "postgresql"])
def door(request: pytest.FixtureRequest) -> Door:
    opened: Door = request.getfixturevalue(f"{request.param}_door")
    return opened


def rows_of(text: str) -> list[dict[str, str]]:
    """Give the rows whose request has a text."""
    return [row for row in ROWS if text in row["request"]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['request']} {row['how']}".strip())
def test_every_cell_is_as_the_matrix_says(door: Door, row: dict[str, str]) -> None:
    assert not differences(door, [row])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['request']} {row['how']}".strip())
def test_every_row_lets_somebody_in(row: dict[str, str]) -> None:
    allowed = [actor for actor in ACTORS if any(status in OK for status in statuses(row[actor]).values())]
    assert allowed or row["how"] == "new" or row["request"] == "GET /metrics"  # a program's token lets it in


DOCUMENT: dict[str, Any] = json.loads(encode(openapi.document(ROUTES, "1")))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['request']} {row['how']}".strip())
def test_every_answer_is_as_the_document_says(sqlite_door: Door, row: dict[str, str]) -> None:
    method, path = row["request"].split(" ")
    if path not in DOCUMENT["paths"]:
        return
    documented = DOCUMENT["paths"][path][method.lower()]
    public = path in {route.path for route in ROUTES if route.is_public or route.by_secret}
    assert documented["security"] == ([] if public else [{"token": []}])
    for actor in ACTORS:
        answer = ask(sqlite_door, row, actor, ACME)
        response = documented["responses"][str(answer.status_code)]
        if "content" in response:
            kind = answer.content_type.partition(";")[0]
            if kind.endswith(("/json", "+json")):
                schema = {**response["content"][kind]["schema"], "components": DOCUMENT["components"]}
                Draft202012Validator(schema).validate(answer.get_json())
            assert kind in response["content"]
        if answer.status_code >= 400:
            assert answer.get_json()["code"] in response["description"].split(" · ")
        if "ETag" in answer.headers:
            assert "ETag" in response["headers"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_example_is_one_that_the_document_takes(route: Route) -> None:
    documented = DOCUMENT["paths"][route.path][route.method.lower()]
    for parameter in documented.get("parameters", ()):
        examples = parameter.get("examples", {"only": {"value": parameter.get("example")}})
        if parameter["in"] == "path" or parameter["in"] == "header":
            assert all(example["value"] for example in examples.values())
    for kind, content in documented.get("requestBody", {}).get("content", {}).items():
        for example in content["examples"].values():
            if kind == "application/json":
                schema = {**content["schema"], "components": DOCUMENT["components"]}
                Draft202012Validator(schema).validate(example["value"])


def test_every_route_and_method_is_in_the_matrix_and_nothing_else(sqlite_door: Door) -> None:
    there = {
        (method, rule.rule)
        for rule in sqlite_door.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    } - {(page.method, page.rule) for page in pages.PAGES}  # those are in test_pages_access.py
    written = {tuple(row["request"].split(" ")) for row in ROWS}
    names = {route.path: route.rule for route in ROUTES}
    assert {(method, names.get(path, path)) for method, path in written} == there


def test_every_route_allows_what_the_access_module_knows() -> None:
    assert {route.allows for route in ROUTES} <= set(access.MAY)


def test_a_route_that_does_not_say_what_it_allows_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="allows"):
        Route(method="GET", path="/v1/nothing", view=print, summary="", gives=None)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "rule", ["/v1/clients/<client_id>/secrets", "/v1/clients/<client_id>/", "/v1/calculate", "/docs/<path:name>"]
)
def test_an_address_that_no_route_declares_is_refused_at_the_start(rule: str) -> None:
    app = Flask("undeclared", static_folder=None)
    app.add_url_rule("/livez", "livez", lambda: "", methods=["GET"])
    refuse_undeclared(app)
    app.add_url_rule(rule, "undeclared", lambda: "", methods=["GET"])
    with pytest.raises(RuntimeError, match=r"does not say who may use it"):
        refuse_undeclared(app)


def test_an_application_refuses_an_undeclared_address(monkeypatch: pytest.MonkeyPatch, sqlite_door: Door) -> None:
    monkeypatch.setattr(docs, "OPEN", docs.OPEN - {"/problems"})
    with pytest.raises(RuntimeError, match=r"GET /problems"):
        create_app(book_file(), sqlite_door.store)


@pytest.mark.parametrize("row", rows_of("GET /v1/clients"), ids=lambda row: row["request"])
def test_head_is_judged_as_get(door: Door, row: dict[str, str]) -> None:
    for actor in ACTORS:
        for which, status in statuses(row[actor]).items():
            answer = ask(door, row, actor, which, "HEAD")
            assert (answer.status_code, answer.get_data()) == (status, b""), (actor, which)


FIRST = {row["request"].split(" ")[1]: row for row in reversed(ROWS) if row["how"] == ""}
SIGNED_PATHS = sorted({route.path for route in ROUTES if not route.is_public and not route.by_secret})


@pytest.mark.parametrize("path", SIGNED_PATHS)
def test_options_lets_in_whom_the_first_method_lets_in(door: Door, path: str) -> None:
    row = FIRST[path]
    methods = {route.method for route in ROUTES if route.path == path}
    for actor in ACTORS:
        for which, status in statuses(row[actor]).items():
            answer = ask(door, row, actor, which, "OPTIONS")
            hidden = status == 404 and "{client_id}" in path
            assert answer.status_code == (status if status in (401, 403) or hidden else 204), (actor, which)
            allow = {*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())}
            assert answer.status_code != 204 or set(answer.headers["Allow"].split(", ")) == allow


def test_a_dropped_grant_join_is_found(sqlite_door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    without_grants(monkeypatch)
    found = differences(
        sqlite_door, rows_of("PUT /v1/clients/{client_id}") + rows_of("GET /v1/clients/{client_id}/rules")
    )
    for actor in ("producer, 2000-ZENITH", "ungranted, 1000-ACME", "manager, 2000-ZENITH"):
        assert any(f": {actor}: 200, not 404" in each for each in found)


def test_a_forgotten_entitlement_is_found(sqlite_door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "NEEDS", {})
    assert any(
        ": unentitled, 1000-ACME: 200, not 403" in each
        for each in differences(sqlite_door, rows_of("GET /v1/clients/{client_id}/schedule"))
    )


def test_a_token_that_counts_for_too_long_is_found(sqlite_door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    right, quinn = people.held, sqlite_door.world.tokens["quinn"]

    def lenient(connection: Connection, text: str, at: datetime, query: Any, **asked: str) -> Any:
        return right(connection, text, at, query, **asked) or right(connection, quinn, at, query, **asked)

    monkeypatch.setattr(people, "held", lenient)
    found = differences(sqlite_door, rows_of("GET /v1/me"))
    assert any(": disabled, 1000-ACME: 200, not 401" in each for each in found)
    assert any(": revoked, 1000-ACME: 200, not 401" in each for each in found)
