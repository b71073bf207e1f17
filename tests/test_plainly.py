"""A table that is read plainly is read as marshmallow reads it; whatever is wrong with one, the same is said of it."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, pre_load, validates

from ebill.grammar import RowSchema, RulesSchema, Strict, Whole
from ebill.plainly import NotPlain, Plain
from ebill.questions import CalculationSchema, PostingSchema
from ebill.web import ROUTES

pytestmark = pytest.mark.anywhere

GOOD: dict[str, list[Any]] = {
    "state": ["PA", "NY"],
    "product": ["cobra"],
    "coverage_month": ["2026-08", "2000-01", "2099-12"],
    "from": ["2026-08", "2099-01"],
    "months": [1, 12],
    "as_of": ["2026-08-03"],
    "paid_at": ["2026-07-02", "2026-07-02T16:00", "2026-07-02T16:00:00.5-04:00"],
    "last_coverage_month": ["2027-01"],
    "explain": [True, False],
    "rules": [
        {},
        {"grace": {"days": 45}},
        {"generation": {"business_day": -5, "roll": "preceding"}, "due": {"day": -1, "month_offset": 1}},
        {"generation": {"weekday": "TH", "nth": 3, "months_before_due": 1}, "calendar": "US-PA"},
        {"grace": {"calendar_months": 2}, "timezone": "America/Chicago", "skip_coverage_months": [8, 7]},
        {"posting": {"min_business_days": 1, "max_business_days": 2, "cutoff": "16:30"}},
        {"pay_by": {"days_before_next_invoice": 2, "unit": "business"}},
    ],
    "exceptions": [
        [],
        [{"coverage_month": "2026-09", "due_date": "2026-09-03", "reason": "a reason"}],
        [
            {"coverage_month": "2026-09", "due_date": "2026-09-03", "reason": "cafe\u0301"},
            {"coverage_month": "2026-10", "generation_date": "2026-09-03", "reason": "another"},
        ],
    ],
}
BAD: dict[str, list[Any]] = {
    "rules": [
        {"grace": {"dasy": 45}},
        {"grace": {"days": 45, "calendar_months": 1}},
        {"grace": None},
        {"due": None},
        {"due": {"day": None}},
        {"due": {"day": 0}},
        {"due": {"month_offset": 1}},
        {"due": {"day": 1, "more": 1}},
        {"generation": {"weekday": "TH"}},
        {"generation": {"day_of_month": 3, "months_before_due": None}},
        {"generation": {"day_of_month": True, "roll": 1}},
        {"posting": {"min_business_days": 3, "max_business_days": 2, "cutoff": "25:00"}},
        {"posting": {"min_business_days": 3, "max_business_days": 2, "cutoff": "16:00"}},
        {"skip_coverage_months": [1, 1]},
        {"skip_coverage_months": [0, "x"]},
        {"timezone": "America/New York", "calendar": "X X"},
        {"grace_floor": {"days": 3}},
        [],
    ],
    "exceptions": [
        [{}],
        [None],
        {},
        [[]],
        [{"coverage_month": "2026-09", "reason": "nothing is fixed"}],
        [{"coverage_month": "2026-09", "due_date": "2026-09-31", "reason": ""}],
        [{"coverage_month": "2026-09", "due_date": "2026-09-03", "reason": "x"}] * 2,
        [{"coverage_month": "2026-09", "due_date": "2026-09-03", "reason": "x"}] * 121,
        [{"coverage_month": "2026-09", "due_date": None, "reason": "x", "more": 1}],
    ],
}
ODD: list[Any] = [None, True, 0, -1, 1.5, 10**30, "", "x", "\0", "2026-8", "2026-13", "2100-01", [], {}, [1], {"a": 1}]
UNKNOWN = ["form", "stat", "_schema", "__class__", "coverage-month", "from_"]


def bodies(count: int) -> Iterator[Any]:
    """Give bodies, half of them with something wrong."""
    random_ = random.Random(20260801)  # noqa: S311  # no secret
    for _ in range(count):
        months = random_.choice([["coverage_month"], ["from", "months"]])
        others = [key for key in GOOD if key not in {"state", "coverage_month", "from", "months"}]
        keys = ["state", *months, *random_.sample(others, random_.randrange(len(others)))]
        random_.shuffle(keys)
        body = {key: random_.choice(GOOD[key]) for key in keys}
        for _ in range(random_.choice([0, 0, 0, 1, 1, 2])):
            match random_.randrange(5):
                case 0:
                    body.pop(random_.choice(list(body)), None)
                case 1:
                    body[random_.choice(UNKNOWN)] = random_.choice(ODD)
                case 2:
                    body[random_.choice(list(GOOD))] = random_.choice(ODD)
                case 3:
                    key = random_.choice(list(BAD))
                    body[key] = random_.choice(BAD[key])
                case _:
                    body[random_.choice(list(GOOD))] = random_.choice(GOOD["months"])
            if not body:
                break
        yield body
    yield from ODD


def both(schema: Schema, body: Any, patch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Read a body as it is read, and as marshmallow alone would; give what came of it."""
    found = outcome(schema, body)
    with patch.context() as context:
        context.delattr(Plain, "load")
        return found, outcome(schema, body)


def outcome(schema: Schema, body: Any) -> Any:
    try:
        loaded = schema.load(body)
    except ValidationError as error:
        return "refused", error.messages
    return "read", repr(loaded)  # which tells the order, too


def test_thousands_of_bodies_are_read_or_refused_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    schema, came_of_it = CalculationSchema(), {"read": 0, "refused": 0}
    for body in bodies(6_000):
        found, alone = both(schema, body, monkeypatch)
        assert found == alone, body
        came_of_it[found[0]] += 1
    assert min(came_of_it.values()) > 1_500, came_of_it


def test_what_is_good_is_read_plainly() -> None:
    schema = CalculationSchema()
    for key, values in GOOD.items():
        around = {"state": "PA", **({"coverage_month": "2026-08"} if key not in {"from", "months"} else {})}
        for value in values:
            more = {"from": "2026-08", "months": 1} if key in {"from", "months"} else {}
            more = {} if key == "coverage_month" else more
            asked = {**around, **more, key: value}
            assert schema.plainly(asked) == Schema.load(schema, asked), asked


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body or route.query], ids=lambda r: r.operation)
def test_what_any_route_takes_is_read_or_refused_alike(route: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(route.body, type) and issubclass(route.body, Schema):
        body = route.body()
        tried(body, [{}, *around(route.example, [*UNKNOWN, *keys(body)], ODD)], monkeypatch)
    if route.query:  # which is text, and of whose keys none is unknown once it is read
        query, odd = route.query(), [each for each in ODD if isinstance(each, str)]
        given = {key: str(value) for key, value in route.example.items()} if route.body is None else {}
        tried(query, [{}, *around(given, keys(query), odd)], monkeypatch)


def keys(schema: Schema) -> list[str]:
    return [field.data_key or name for name, field in schema.fields.items()]


def tried(schema: Schema, bodies: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for body in bodies:
        found, alone = both(schema, body, monkeypatch)
        assert found == alone, body


def around(example: dict[str, Any], changed: list[str], odd: list[Any]) -> Iterator[dict[str, Any]]:
    """Give an example, and bodies that are that with one thing changed."""
    yield example
    for key in changed:
        yield {name: value for name, value in example.items() if name != key}
        for value in odd:
            yield {**example, key: value}


@pytest.mark.parametrize("kind", [CalculationSchema, PostingSchema, RulesSchema, RowSchema])
def test_no_table_but_a_table_is_read(kind: type[Plain]) -> None:
    class Table(dict[str, Any]):
        pass

    odd: list[Any] = [None, [], "x", 1, Table()]
    for given in odd:
        with pytest.raises(NotPlain):
            kind().plainly(given)


def test_a_schema_that_could_not_be_read_plainly_says_so_at_once() -> None:
    class Before(Strict):
        number = Whole(1, 2)

        @pre_load
        def change(self, data: Any, **_: Any) -> Any:
            return data

    class Field(Strict):
        number = fields.Integer()

        @validates("number")
        def look(self, value: int, **_: Any) -> None: ...

    for kind in (Before, Field):
        with pytest.raises(TypeError, match="cannot be read plainly"):
            kind().load({})
