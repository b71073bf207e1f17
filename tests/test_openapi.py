"""The OpenAPI document is valid, and the calculator does what it says, no more and no less, whatever comes."""

import copy
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import pytest
import schemathesis
from flask import Flask, Response, request
from jsonschema_rs import Draft202012Validator, ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from werkzeug.exceptions import BadRequest

from ebill import questions
from ebill.bookfile import SHIPPED, BookFile
from ebill.web import create_app
from ebill.web.fence import Fence
from ebill.web.problems import register
from ebill.web.rates import UNDER
from tests import strategies
from tests.books import row, section, small
from tests.drawn import draw_cases, drawn_body, drawn_life
from tests.hostile import GOOD, ROWS, Answer, Row, Sent, ask, body, judge

pytestmark = pytest.mark.anywhere

PUBLIC: Final = {
    "/v1/calculate": "post",
    "/v1/posting": "get",
    "/v1/states": "get",
    "/v1/states/{code}": "get",
}
"""The calculator's own operations."""


@cache
def app() -> Flask:
    return create_app(BookFile(SHIPPED))


@cache
def document() -> Any:
    answer = ask(app(), Sent("GET", "/openapi.json", headers={}))
    assert (answer.status, answer.header("Content-Type")) == (200, "application/json")
    return answer.data


def operations() -> Iterator[tuple[str, str, Any]]:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def validator(schema: Any) -> Draft202012Validator:
    """Make a validator of a schema of the document, formats included."""
    return Draft202012Validator({**schema, "components": document()["components"]}, validate_formats=True)


@cache
def answers(path: str, status: int) -> Draft202012Validator:
    """Make the validator of what an operation of the calculator answers."""
    content = document()["paths"][path][PUBLIC[path]]["responses"][str(status)]["content"]
    [(content_type, media)] = content.items()
    assert content_type == ("application/json" if status < 400 else "application/problem+json")
    return validator(media["schema"])


def operation_at(path: str) -> str | None:
    """Give the path as the document has it."""
    plain = path.partition("?")[0]
    found = [known for known in PUBLIC if re.fullmatch(re.sub("{.*}", "[^/]*", known), plain)]
    return found[0] if found else None


def conform(answer: Answer, path: str) -> None:
    """Hold of an answer of an operation that it is as the document says: its status, its code, its shape."""
    responses = document()["paths"][path][PUBLIC[path]]["responses"]
    assert str(answer.status) in responses
    answers(path, answer.status).validate(answer.data)
    if answer.status >= 400:
        assert answer.data["code"] in responses[str(answer.status)]["description"].split(" · ")


# The document itself


def test_the_document_is_valid_openapi_3_1() -> None:
    assert document()["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document()).iter_errors()] == []


def test_a_document_that_is_not_valid_is_found() -> None:
    spoilt = copy.deepcopy(document())
    spoilt["components"]["schemas"]["DayOfMonth"]["properties"]["months_before_due"]["default"] = None
    del spoilt["paths"]["/v1/states"]["get"]["responses"]["200"]["description"]
    assert len(list(OpenAPIV31SpecValidator(spoilt).iter_errors())) == 2


def test_every_operation_has_a_number_of_its_own_a_summary_and_its_refusals() -> None:
    found = list(operations())
    assert PUBLIC.items() <= {(path, method) for path, method, _ in found}
    names = Counter(operation["operationId"] for _, _, operation in found)
    assert max(names.values()) == 1
    for _, _, operation in found:
        assert re.fullmatch("[a-z_]+", operation["operationId"])
        assert operation["summary"]
        assert operation["description"]
        refusals = {status: each for status, each in operation["responses"].items() if int(status) >= 400}
        assert refusals.keys() >= {"400", "404", "405", "500"}
        for each in refusals.values():
            assert each["content"].keys() == {"application/problem+json"}
            assert re.fullmatch("[a-z_]+( · [a-z_]+)*", each["description"])
        assert any(int(status) < 300 for status in operation["responses"])


def test_every_operation_stands_under_a_heading_and_under_each_there_is_one() -> None:
    tags = [tag["name"] for tag in document()["tags"]]
    of = [operation["tags"] for _, _, operation in operations()]
    assert all(len(each) == 1 for each in of)
    assert {tag for (tag,) in of} == {*tags}
    assert len(tags) > 5
    for path, tag in (("/v1/me/reminders", "Yourself"), ("/v1/posting", "Calculator")):
        assert document()["paths"][path]["get"]["tags"] == [tag]


RATES: Final = {"RateLimit-Policy", "RateLimit"}


def test_rows_are_shown_as_json_first() -> None:
    # A page of the document shows what stands first, and lines of JSON in quotes, as which they are one row.
    body = document()["paths"]["/v1/calculate/batch"]["post"]["requestBody"]
    assert list(body["content"]) == ["application/json", "application/x-ndjson"]


def test_every_answer_says_how_often_one_may_ask_and_each_that_is_to_be_asked_again_says_when() -> None:
    for path, _, operation in operations():
        assert path.startswith(UNDER)
        assert operation["responses"].keys() >= {"429", "503"}
        for status, answer in operation["responses"].items():
            again = {"Retry-After"} if status in ("429", "503") else set()
            named = set(answer["headers"]) - {"ETag"}
            assert named == RATES | again
            assert all(answer["headers"][name] == {"$ref": f"#/components/headers/{name}"} for name in named)


def test_what_an_answer_says_of_that_is_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_ADDRESS_RATE", "2")
    client = create_app(BookFile(SHIPPED)).test_client()
    asked = [client.get("/v1/states", environ_base={"REMOTE_ADDR": "203.0.113.7"}) for _ in range(3)]
    for answer in asked:
        responses = document()["paths"]["/v1/states"]["get"]["responses"][str(answer.status_code)]
        for name in responses["headers"]:
            header = document()["components"]["headers"][name]
            told: Any = answer.headers[name]
            for value in (header["example"], int(told) if name == "Retry-After" else told):
                validator(header["schema"]).validate(value)
    assert [answer.status_code for answer in asked] == [200, 200, 429]


def schemas(node: Any) -> Iterator[Any]:
    """Give every schema that has an example or a default."""
    if isinstance(node, dict):
        if isinstance(node.get("examples"), list) or ("default" in node and "type" in node):
            yield node
        for inner in node.values():
            yield from schemas(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from schemas(inner)


def test_examples_and_defaults_are_of_the_kind_they_stand_for() -> None:
    checked = 0
    for schema in schemas(document()):
        for value in [*schema.get("examples", []), *([schema["default"]] if "default" in schema else [])]:
            validator(schema).validate(value)
            checked += 1
    assert checked > 40


def example(path: str) -> Sent:
    """Give the example of an operation, as somebody who reads the document would send it."""
    operation = document()["paths"][path][PUBLIC[path]]
    query = []
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        else:
            query.append(f"{parameter['name']}={parameter['example']}")
    if "requestBody" not in operation:
        return Sent("GET", "?".join([path, "&".join(query)]) if query else path, headers={})
    [(content_type, media)] = operation["requestBody"]["content"].items()
    [given_] = media["examples"].values()
    validator(media["schema"]).validate(given_["value"])
    return Sent("POST", path, json.dumps(given_["value"]).encode(), {"Content-Type": content_type})


@pytest.mark.parametrize("path", PUBLIC)
def test_every_example_works_and_its_answer_is_as_documented(path: str) -> None:
    sent = example(path)
    answer = ask(app(), sent)
    judge(answer, sent)
    assert answer.status == 200, answer.body
    conform(answer, path)


def test_every_example_of_a_moment_works() -> None:
    parameters = document()["paths"]["/v1/posting"]["get"]["parameters"]
    [moments] = [each["schema"]["examples"] for each in parameters if each["name"] == "paid_at"]
    assert {len(moment) for moment in moments} == {10, 16, 25}
    for moment in moments:
        answer = ask(app(), Sent("GET", f"/v1/posting?state=PA&paid_at={moment}", headers={}))
        assert answer.status == 200
        conform(answer, "/v1/posting")


def test_every_zone_of_the_document_is_taken_and_no_other() -> None:
    zones = document()["components"]["schemas"]["Rules"]["properties"]["timezone"]["enum"]
    assert len(zones) > 300
    assert {"America/New_York", "Pacific/Kiritimati"} <= set(zones)
    for zone in zones:
        assert questions.calculation({**GOOD, "rules": {"timezone": zone}}).rules["timezone"].as_data() == zone


@pytest.mark.parametrize("kind", ["DaysBeforeDue", "DayOfMonth", "NthWeekday", "NthBusinessDay", "Due", "GraceDays",
                                  "GraceMonths", "PayBy"])  # fmt: skip
def test_the_document_takes_the_rules_of_the_grammar_and_refuses_what_is_beyond(kind: str) -> None:
    """The grammar as the specification has it, laid out in full by hand."""
    written: dict[str, Any] = {
        "DaysBeforeDue": strategies.GENERATIONS["days_before_due"],
        "DayOfMonth": strategies.GENERATIONS["day_of_month"],
        "NthWeekday": strategies.GENERATIONS["weekday"],
        "NthBusinessDay": strategies.GENERATIONS["business_day"],
        "Due": strategies.DUES,
        "GraceDays": strategies.GRACES["days"],
        "GraceMonths": strategies.GRACES["calendar_months"],
        "PayBy": strategies.PAY_BYS,
    }
    takes = validator(document()["components"]["schemas"][kind]).is_valid
    for rule in written[kind]:
        assert takes(rule)
        assert not takes({**rule, "garce": 1})
        for key, value in rule.items():
            assert not takes({**rule, key: None})
            assert not takes({**rule, key: str(value) + "x"})
            if isinstance(value, int):
                assert not takes({**rule, key: value + 0.5})
                assert not takes({**rule, key: value + 1_000})


# What is refused


@pytest.mark.parametrize("row", [each for each in ROWS if operation_at(each.sent.path)], ids=str)
def test_how_a_hostile_request_is_answered_is_documented(row: Row) -> None:
    path = operation_at(row.sent.path)
    assert path
    answer = ask(app(), row.sent)
    assert (answer.status, answer.data.get("code")) == (row.status, row.code)
    conform(answer, path)


BOOK: Final = small(
    row("states.PA", "grace_floor = { days = 20 }"),
    '\n[states.NY]\nname = "New York"\n' + row("states.NY", "generation = { days_before_due = 20 }", since="2026-01"),
    section("states.WV", "generation = { business_day = -2 }", 'calendar = "XNSE"'),
)
"""A floor in PA, no generation before 2026 in NY, and in WV a calendar that begins in 2001."""


def refused(code: str, pointer: str, **changes: Any) -> Row:
    return Row(0, code, Sent(body=body(**changes)), 422, code, (pointer,))


AUGUST: Final = {"coverage_month": "2026-08", "reason": "a test"}
REFUSED: Final = (
    refused("below_floor", "/rules/grace", rules={"grace": {"days": 10}}),
    refused("below_floor", "/exceptions/0/grace_end_date", exceptions=[{**AUGUST, "grace_end_date": "2026-08-11"}]),
    refused("dates_out_of_order", "/rules", rules={"generation": {"day_of_month": 1, "months_before_due": 0}}),
    refused("dates_out_of_order", "/exceptions/0", exceptions=[{**AUGUST, "generation_date": "2026-08-01"}]),
    refused("exception_too_far", "/exceptions/0/due_date", exceptions=[{**AUGUST, "due_date": "2027-08-01"}]),
    refused("month_not_billed", "/exceptions/0", exceptions=[{**AUGUST, "due_date": "2026-08-02"}],
            rules={"skip_coverage_months": [8]}),
    refused("no_rule_in_force", "/coverage_month", state="NY", coverage_month="2025-12"),
    refused("outside_calendar", "/coverage_month", state="WV", coverage_month="2000-06"),
    refused("outside_calendar", "/paid_at", state="WV", paid_at="2000-06-01"),
    refused("cutoff_not_daily", "/rules/posting/cutoff", rules={"posting": {"min_business_days": 2,
            "max_business_days": 3, "cutoff": "02:30"}}),
    Row(0, "a posting", Sent("GET", "/v1/posting?state=WV&paid_at=2000-06-01", headers={}), 422, "outside_calendar",
        ("/paid_at",)),
)  # fmt: skip
"""What only the rules can refuse."""


@pytest.mark.parametrize("row_", REFUSED, ids=[f"{each.what} {each.pointers[0]} {n}" for n, each in enumerate(REFUSED)])
def test_how_the_rules_refuse_is_documented(row_: Row, tmp_path: Any) -> None:
    path = operation_at(row_.sent.path)
    assert path
    file = tmp_path / "states.toml"
    file.write_text(BOOK)
    file.chmod(0o644)
    conform(row_.check(create_app(BookFile(file))), path)


def test_every_documented_code_is_one_that_somebody_has_seen() -> None:
    rows = [each for each in (*ROWS, *REFUSED) if each.code]
    for path, method in PUBLIC.items():
        responses = document()["paths"][path][method]["responses"]
        codes = {
            code
            for status, each in responses.items()
            if int(status) >= 400
            for code in each["description"].split(" · ")
        }
        seen = {each.code for each in rows if operation_at(each.sent.path) == path}
        elsewhere = {"asked_too_often", "overloaded"}  # test_rates and test_places, with much else going on
        assert codes - seen <= {"not_found", "internal_error", *elsewhere}, path


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["invoices"], None),
        (["invoices"], [{}]),
        (["invoices", 0, "standing"], "lapsed"),
        (["as_of"], "2026-08-32"),
        (["extra"], 1),
        (["payment", "paid_at"], "2026-07-02T16:00-4"),
        (["rulebook"], {"version": "sha256:0"}),
    ],
    ids=str,
)
def test_an_answer_of_another_shape_is_found(place: list[Any], value: Any) -> None:
    answer = ask(app(), Sent(body=body(paid_at="2026-07-02T16:00:00", explain=True, product="cobra")))
    conform(answer, "/v1/calculate")
    other = copy.deepcopy(answer.data)
    within = other
    for step in place[:-1]:
        within = within[step]
    within[place[-1]] = value
    with pytest.raises(ValidationError):
        conform(Answer(200, answer.headers, json.dumps(other).encode()), "/v1/calculate")


@pytest.mark.parametrize(("status", "code"), [(418, "invalid_input"), (422, "swordfish"), (400, "invalid_input")])
def test_a_refusal_that_is_not_documented_is_found(status: int, code: str) -> None:
    answer = ask(app(), Sent(body=b"{}"))
    conform(answer, "/v1/calculate")
    other = json.dumps({**answer.data, "code": code}).encode()
    with pytest.raises(AssertionError):
        conform(Answer(status, answer.headers, other), "/v1/calculate")


# Whatever comes


CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PART: Final = 100
"""Cases in a part of the exploration; parts run side by side."""


@cache
def explored(application: Flask) -> Any:
    return schemathesis.openapi.from_wsgi("/openapi.json", application)


def send(case: Case[Any]) -> Answer:
    """Send a case, and hold its answer to what the document says, by schemathesis' checks and by ours."""
    response = case.call()
    case.validate_response(response, checks=CHECKS)
    headers = [(name.title(), value) for name, values in response.headers.items() for value in values]
    answer = Answer(response.status_code, headers, response.content)
    judge(answer)
    return answer


def explore(application: Flask, label: str, mode: GenerationMode, part: int) -> Counter[int]:
    """Send what schemathesis draws from the document for one operation; count the statuses."""
    operation = explored(application).find_operation_by_label(label)
    statuses: Counter[int] = Counter()

    def count(case: Case[Any]) -> None:
        statuses[send(case).status] += 1

    draw_cases(operation, mode, part, PART, count)
    return statuses


CALCULATE, POSTING, STATES, STATE = "POST /v1/calculate", "GET /v1/posting", "GET /v1/states", "GET /v1/states/{code}"
RIGHT, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
PARTS: Final = [
    (label, mode, part)
    for label, mode, parts in [
        (CALCULATE, RIGHT, 5),
        (CALCULATE, WRONG, 2),
        (POSTING, RIGHT, 6),
        (POSTING, WRONG, 2),
        (STATE, RIGHT, 8),
    ]
    for part in range(parts)
]
SYSTEMATIC: Final = {CALCULATE: 1_000, POSTING: 15, STATES: 5, STATE: 5}
"""How many cases schemathesis lays out at least without drawing: each bound of each field, each other method."""


def test_there_are_three_thousand_cases() -> None:
    assert len(PARTS) * PART + sum(SYSTEMATIC.values()) >= 3_000


@pytest.mark.parametrize(("label", "mode", "part"), PARTS)
def test_what_is_drawn_from_the_document_is_answered_as_documented(label: str, mode: GenerationMode, part: int) -> None:
    statuses = explore(app(), label, mode, part)
    assert statuses.total() == PART
    assert max(statuses) < 500
    if mode is WRONG:
        assert statuses[200] == 0


@pytest.mark.parametrize("label", SYSTEMATIC)
def test_what_the_document_bounds_is_answered_as_documented(label: str) -> None:
    schema = explored(app())
    cases = schema.iter_coverage_cases(
        schema.find_operation_by_label(label),
        generation_modes=[RIGHT, WRONG],
        generation_config=schema.config.generation,
    )
    statuses = Counter(send(case).status for case in cases)
    assert statuses.total() >= SYSTEMATIC[label]
    assert statuses[200] >= 1
    assert statuses[405] >= 5
    assert max(statuses) < 500


# Bodies by the thousand


def bombard(application: Any, judged: Callable[[Answer], None], part: int, count: int) -> Counter[str]:
    """Send bodies to `POST /v1/calculate`, and hold each answer to what must hold of every one; count them by code."""
    draw = random.Random(part)  # noqa: S311  # the same bodies on every run
    lives = [drawn_life(draw) for _ in range(200)]
    codes: Counter[str] = Counter()
    for _ in range(count):
        sent = Sent(body=drawn_body(draw, lives))
        answer = ask(application, sent)
        judge(answer, sent)
        judged(answer)
        codes[answer.data.get("code", "")] += 1
    return codes


BODIES: Final = 2_500
"""In a part."""


@pytest.mark.parametrize("part", range(8))
def test_twenty_thousand_bodies_are_answered_as_documented(part: int) -> None:
    codes = bombard(app(), lambda answer: conform(answer, "/v1/calculate"), part, BODIES)
    assert codes.total() == BODIES
    assert codes[""] > BODIES // 20
    assert codes["invalid_input"] > BODIES // 4
    assert codes["malformed_json"] > BODIES // 50
    assert len(codes) >= 5


# The checks can fail


def small_app(*, faulty: bool) -> Flask:
    """Make an application of one route, which raises on NUL if it is faulty."""
    application = Flask("small")
    register(application)
    application.wsgi_app = Fence(application.wsgi_app)  # type: ignore[method-assign]
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    taken = {"required": True, "content": {"application/json": {"schema": schema}}}
    responses = {
        "200": {"description": "Taken", "content": {"application/json": {"schema": {"type": "object"}}}},
        "400": {"description": "bad_request", "content": {"application/problem+json": {"schema": {"type": "object"}}}},
    }
    written = {
        "openapi": "3.1.0",
        "info": {"title": "small", "version": "1"},
        "paths": {"/v1/calculate": {"post": {"operationId": "take", "requestBody": taken, "responses": responses}}},
    }

    @application.get("/openapi.json")
    def openapi() -> Response:
        return Response(json.dumps(written), content_type="application/json")

    @application.post("/v1/calculate")
    def take() -> Response:
        try:
            read = json.loads(request.get_data())
        except (ValueError, RecursionError):
            raise BadRequest from None
        if faulty and "\\u0000" in json.dumps(read):
            raise ValueError("embedded null byte")
        return Response(b"{}", content_type="application/json")

    return application


@pytest.mark.parametrize("how", ["explore", "bombard"])
def test_a_route_that_raises_on_nul_is_caught(how: str) -> None:
    def check(application: Flask) -> int:
        if how == "bombard":
            return bombard(application, lambda _: None, 0, 300).total()
        return explore(application, CALCULATE, RIGHT, 0).total()

    assert check(small_app(faulty=False)) > 0
    with pytest.raises((AssertionError, FailureGroup)):
        check(small_app(faulty=True))
