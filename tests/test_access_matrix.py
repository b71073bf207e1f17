"""What every route declares: that it is in the matrix of access, and answers as its document says.

Who may do what, cell by cell, is the goal G2: see `tests/trust/g02_access.py`.
"""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from jsonschema_rs import Draft202012Validator

from ebill import access
from ebill.render.json import encode
from ebill.web import ROUTES, create_app, docs, openapi, refuse_undeclared
from ebill.web.routes import Route
from tests.matrices import API, Row, ask, named
from tests.world import ACME, BY_TOKEN, Door, book_file, rehearsed

pytestmark = pytest.mark.anywhere


@pytest.fixture(scope="module")
def door(ready: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    copy = tmp_path_factory.mktemp("world") / "world.db"
    shutil.copyfile(ready.removeprefix("sqlite:///"), copy)
    yield from rehearsed(f"sqlite:///{copy}")


DOCUMENT: dict[str, Any] = json.loads(encode(openapi.document(ROUTES, "1")))


@pytest.mark.parametrize("row", API, ids=named)
def test_every_answer_is_as_the_document_says(door: Door, row: Row) -> None:
    method, path = row["request"].split(" ")
    if path not in DOCUMENT["paths"]:
        return
    documented = DOCUMENT["paths"][path][method.lower()]
    public = path in {route.path for route in ROUTES if route.is_public or route.by_secret}
    assert documented["security"] == ([] if public else [{"token": []}])
    for actor in BY_TOKEN:
        answer = ask(door, row, actor, ACME)
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
        if parameter["name"] == "If-None-Match":
            assert "examples" not in parameter  # the docs page would send it with If-Match, and that is refused
        elif parameter["in"] == "path" or parameter["in"] == "header":
            assert all(example["value"] for example in examples.values())
    for kind, content in documented.get("requestBody", {}).get("content", {}).items():
        for example in content["examples"].values():
            if kind == "application/json":
                schema = {**content["schema"], "components": DOCUMENT["components"]}
                Draft202012Validator(schema).validate(example["value"])


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


def test_an_application_refuses_an_undeclared_address(monkeypatch: pytest.MonkeyPatch, door: Door) -> None:
    monkeypatch.setattr(docs, "OPEN", docs.OPEN - {"/problems"})
    with pytest.raises(RuntimeError, match=r"GET /problems"):
        create_app(book_file(), door.store)
