"""The OpenAPI 3.1 document, written from the routes' declarations, the grammar's fields and the answers' types."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from http import HTTPStatus
from inspect import getdoc
from typing import (
    Any,
    Final,
    Literal,
    NotRequired,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import fields

from ebill import grammar, rules, sending
from ebill.service import forms, reminders
from ebill.web import queries
from ebill.web.payments import PAYMENTS_AT
from ebill.web.problems import status_of
from ebill.web.routes import Csv, Ics, Ndjson, Route

DAY: Final = {"type": "string", "format": "date", "examples": ["2026-08-01"]}
MOMENT: Final = {
    "type": "string",
    "pattern": grammar.MOMENT_PATTERN,
    "examples": ["2026-07-02", "2026-07-02T16:00", "2026-07-02T16:00:00-04:00"],
}
TEXTS: Final[Mapping[Any, str]] = {Csv: "text/csv", Ics: "text/calendar", Ndjson: "application/x-ndjson"}
EVERYWHERE: Final[Mapping[int, str]] = {404: "not_found", 405: "method_not_allowed", 500: "internal_error"}
"""What any address may answer, with its code."""
ETAG: Final = {"description": "The version, for If-Match", "schema": {"type": "string"}, "example": '"1"'}
ANSWERED: Final[Mapping[str, Mapping[str, Any]]] = {
    "RateLimit-Policy": {
        "description": "How often one may ask (`q`) in so many seconds (`w`), by the token or the address that counts. "
        "It and RateLimit are missing where there is no limit.",
        "schema": {"type": "string", "pattern": '^"(token|address)";q=[0-9]+;w=[0-9]+$'},
        "example": '"address";q=6000;w=60',
    },
    "RateLimit": {
        "description": "How many requests are left (`r`), and in how many seconds all begins anew (`t`).",
        "schema": {"type": "string", "pattern": '^"(token|address)";r=[0-9]+;t=[0-9]+$'},
        "example": '"address";r=5999;t=60',
    },
    "Retry-After": {
        "description": "After how many seconds to ask again.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 40,
    },
}
"""What answers say of how often one may ask: the first two every one, the last where one is to ask again."""
TAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "Calculator": ("/v1/calculate", "/v1/posting", "/v1/states"),
    "Payments": (PAYMENTS_AT,),
    "Clients and bill accounts": ("/v1/clients", "/v1/imports", "/v1/exports"),
    "Deadlines and calendars": ("/v1/deadlines", "/v1/feeds"),
    "Yourself": ("/v1/me", "/v1/tokens"),
    "Access requests": ("/v1/access-requests",),
    "Users and teams": ("/v1/users", "/v1/teams"),
    "Audit": ("/v1/audit",),
}
"""The headings under which operations stand, and how their paths begin; the first that fits."""
_AGAIN: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "If-Match": {
        "description": "Of a change: the ETag it was made from, or several of which one is the current one.",
        "schema": {"type": "string"},
        "examples": {"a change": {"value": '"1"'}},
    },
    "If-None-Match": {
        "description": "`*` where something new is made. Either this or If-Match is required.",
        "schema": {"type": "string"},
    },
    "Idempotency-Key": {
        "description": "Of your own making, 1 to 255 printable ASCII characters: sent again within a day with the same "
        "key, the request is answered as before and nothing is done twice. Required, but for a dry run.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "examples": {"any text that you make once": {"value": "8e03978e-40d5-43dd-bc93-6894a57f9324"}},
    },
}


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """Write the document."""
    answers: dict[str, Any] = {}
    for route in routes:
        schema_of(route.gives, answers)
    plugin = MarshmallowPlugin(schema_name_resolver=lambda schema: _name(schema, answers))
    spec = APISpec(
        "eBill invoice and grace-period calculator",
        version,
        "3.1.0",
        plugins=[plugin],
        tags=[{"name": tag} for tag in TAGS],
        info={
            "description": "When invoices are generated, due and out of grace; by when to pay. What needs no client "
            "data needs no sign-in; the rest needs an access token."
        },
    )
    plugin.converter.add_attribute_function(_field)  # type: ignore[union-attr]
    spec.components.security_scheme(
        "token", {"type": "http", "scheme": "bearer", "description": "An access token: `ebp_…`"}
    )
    for route in routes:
        spec.path(path=route.path, operations={route.method.lower(): _operation(route, answers)})
    for name, schema in answers.items():
        spec.components.schema(name, schema)
    spec.components.schema("Problem", _PROBLEM)
    for name, header in ANSWERED.items():
        spec.components.header(name, dict(header))
    written = cast("dict[str, Any]", _closed(spec.to_dict()))
    for route in routes:
        for parameter in written["paths"][route.path][route.method.lower()].get("parameters", ()):
            if route.query and parameter["name"] in route.example:
                parameter["example"] = route.example[parameter["name"]]
    return written


def _operation(route: Route, answers: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "tags": [next(tag for tag, paths in TAGS.items() if route.path.startswith(paths))],
        "summary": route.summary,
        "description": getdoc(route.view),
        "responses": {
            **{str(status): _answer(route, status, answers) for status in route.statuses},
            **_refusals(route),
        },
        "security": [] if route.is_public or route.by_secret else [{"token": []}],
    }
    parameters: list[Any] = [
        {"in": "path", "name": name, "required": True, "schema": {"type": "string"}, "example": example}
        for name, example in route.parameters.items()
    ]
    parameters += [{"in": "header", "name": name, **HEADERS[name]} for name in _headers(route)]
    if route.query:
        parameters.append({"in": "query", "schema": route.query})
    if parameters:
        operation["parameters"] = parameters
    if route.body in TEXTS:
        text: dict[str, Any] = {"schema": {"type": "string"}, "examples": {"works": {"value": route.example}}}
        content: dict[str, Any] = {TEXTS[route.body]: text}
        if route.body is Ndjson:
            # It stands first, since a page of this document would put the other one's lines into quotes.
            rows = {"schema": {"type": "array", "items": {"type": "object"}}, "examples": _listed(route.example)}
            content = {"application/json": rows, **content}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.body:
        shown = {"works": route.example, **route.also}
        content = {"schema": route.body, "examples": {name: {"value": value} for name, value in shown.items()}}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _listed(lines: str) -> dict[str, Any]:
    return {"works": {"value": [json.loads(line) for line in lines.splitlines()]}}


def _headers(route: Route) -> list[str]:
    return [
        *(("If-Match", "If-None-Match") if route.conditional else ()),
        *(("Idempotency-Key",) if route.once else ()),
    ]


def _answer(route: Route, status: int, answers: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    is_empty = route.gives is None or status == HTTPStatus.NOT_MODIFIED
    if not is_empty and route.gives in TEXTS:
        answer["content"] = {TEXTS[route.gives]: {"schema": {"type": "string"}}}
    elif not is_empty:
        answer["content"] = {"application/json": {"schema": schema_of(route.gives, answers)}}
        answer["content"] |= {TEXTS[kind]: {"schema": {"type": "string"}} for kind in route.also_gives}
    answer["headers"] = _told(status) | ({"ETag": ETAG} if route.versioned else {})
    return answer


def _told(status: int) -> dict[str, Any]:
    """Say which headers of `ANSWERED` an answer has."""
    names = [name for name in ANSWERED if name != "Retry-After" or status in _AGAIN]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refusals(route: Route) -> dict[str, Any]:
    codes: dict[int, list[str]] = {status: [code] for status, code in EVERYWHERE.items()}
    for refusal in route.may_refuse:
        found = codes.setdefault(status_of(refusal), [])
        if refusal.code not in found:
            found.append(refusal.code)
    return {
        str(status): {
            "description": " · ".join(found),
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
            "headers": _told(status) | ({"ETag": ETAG} if status == HTTPStatus.PRECONDITION_FAILED else {}),
        }
        for status, found in sorted(codes.items())
    }


def schema_of(kind: Any, components: dict[str, Any]) -> dict[str, Any]:
    """Give the JSON Schema of an answer's type; the tables in it become components."""
    origin = get_origin(kind)
    if is_typeddict(kind):
        if kind.__name__ not in components:
            components[kind.__name__] = {}
            components[kind.__name__] = _table(kind, components)
        return _ref(kind.__name__)
    if origin in (Union, types.UnionType):
        kinds = get_args(kind)
        schemas = [schema_of(k, components) for k in kinds]
        if {date, datetime} <= {*kinds}:  # a local date-time has no offset, as the format "date-time" would have it
            others = [schema for k, schema in zip(kinds, schemas, strict=True) if k not in (date, datetime)]
            schemas = [dict(MOMENT), *others]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    if origin is Literal:
        return {"type": "string", "enum": list(get_args(kind))}
    if origin is list:
        return {"type": "array", "items": schema_of(get_args(kind)[0], components)}
    if origin is dict:
        names, inner = get_args(kind)
        known = {"propertyNames": {"enum": list(get_args(names))}} if get_origin(names) is Literal else {}
        return {"type": "object", "additionalProperties": schema_of(inner, components), **known}
    return dict(_PLAIN[kind])


def _table(kind: Any, components: dict[str, Any]) -> dict[str, Any]:
    properties, required = {}, []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        optional = get_origin(hint) is NotRequired
        properties[name] = schema_of(get_args(hint)[0] if optional else hint, components)
        if not optional:
            required.append(name)
    return {
        "type": "object",
        "description": getdoc(kind) if kind.__doc__ else "",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _name(schema: Any, answers: Mapping[str, Any]) -> str:
    kind = schema if isinstance(schema, type) else type(schema)
    name = kind.__name__.removesuffix("Schema")
    return f"{name}Input" if name in answers else name


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _field(converter: Any, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
    """Give the JSON Schema of one of the grammar's fields."""
    if isinstance(field, grammar.OrInherited):
        return {"anyOf": [converter.field2property(field.written), {"const": rules.INHERITED}]}
    if isinstance(field, grammar.OneOf):
        return {"oneOf": [converter.resolve_nested_schema(schema) for schema in field.kinds.values()]}
    return next((dict(schema) for kind, schema in _FIELDS.items() if isinstance(field, kind)), {})


def _closed(document: Any) -> Any:
    """Say of every table that it takes no other keys, and of no key that it is null by default: null is refused."""
    if isinstance(document, dict):
        closed = {key: _closed(value) for key, value in document.items() if (key, value) != ("default", None)}
        if closed.get("additionalProperties") is True:
            closed["additionalProperties"] = False
        return closed
    return [_closed(each) for each in document] if isinstance(document, list) else document


_PLAIN: Final[Mapping[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    date: DAY,
    datetime: {"type": "string", "format": "date-time", "examples": ["2026-08-03T16:00:00Z"]},
    type(None): {"type": "null"},
    Any: {},
    Csv: {"type": "string"},
    Ndjson: {"type": "string"},
    Ics: {"type": "string"},
    None: {},
}
_FIELDS: Final[Mapping[type[fields.Field[Any]], dict[str, Any]]] = {
    grammar.Whole: {"type": "integer"},
    grammar.Choice: {"type": "string"},
    grammar.Word: {"type": "string", "pattern": grammar.WORD_PATTERN},
    forms.Id: {"type": "string", "pattern": f"^{forms.ID.pattern}$"},
    forms.Subject: {"type": ["string", "null"], "pattern": f"^{forms.SUBJECT.pattern}$"},
    queries.Instant: {"type": "string", "format": "date-time", "examples": ["2026-08-03T16:00:00Z"]},
    queries.Cursor: {"type": "string", "maxLength": queries.CURSOR_MOST},
    reminders.Email: {"type": "string", "maxLength": sending.EMAIL_MOST, "pattern": sending.EMAIL_PATTERN},
    reminders.WebhookUrl: {"type": "string", "maxLength": sending.URL_MOST, "pattern": sending.URL_PATTERN},
    grammar.Text: {"type": "string", "minLength": 1, "maxLength": grammar.TEXT_LIMIT},
    grammar.Month: {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$", "examples": ["2026-08"]},
    grammar.Day: {**DAY, "pattern": "^20[0-9]{2}-"},
    grammar.Moment: MOMENT,
    grammar.Clock: {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$", "examples": ["17:00"]},
    grammar.Flag: {"type": "boolean"},
    grammar.Calendar: {"type": "string", "examples": ["XFED", "US-PA"], "pattern": grammar.CALENDAR_PATTERN},
    grammar.Zone: {"type": "string", "enum": sorted(grammar.zones()), "examples": ["America/New_York"]},
    grammar.SkippedMonths: {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": 12},
        "uniqueItems": True,
        "maxItems": 11,
    },
}
_PROBLEM: Final = {
    "type": "object",
    "description": "Why a request was refused (RFC 9457). `code` is stable; `errors` has every fault at once.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
                "required": ["pointer", "detail"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["type", "title", "status", "code", "detail", "request_id"],
}
