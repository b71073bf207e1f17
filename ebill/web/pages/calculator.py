"""The calculator, for anybody: the question of `POST /v1/calculate` as a form, whose address is the question.

A form has text where a question has structure. What it says is made into the very body that the API takes, and the
service reads that: so a fault is the service's, and is shown at the field it came from.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from flask import current_app, request

from ebill.dates import ROLLS, WEEKDAYS
from ebill.errors import Refusal, UnknownState
from ebill.service import calculator
from ebill.web.pages.fields import parted, shown_at, whole
from ebill.web.pages.page import Open, Page, Shown
from ebill.web.problems import status_of
from ebill.web.reading import refuse_unknown

MONTHS: Final = 12
GENERATION: Final = {
    "days_before_due": "days before the due date",
    "day_of_month": "day of the month",
    "weekday": "weekday of the month",
    "business_day": "business day of the month",
}
GRACE: Final = {"after_due": "days after the due date", "from_due": "days from the due date on", "calendar_months":
                "calendar months"}  # fmt: skip
PLACES: Final[Mapping[str, str]] = {
    "state": "/state",
    "product": "/product",
    "from": "/from",
    "months": "/months",
    "as_of": "/as_of",
    "paid_at": "/paid_at",
    "due_day": "/rules/due/day",
    "due_offset": "/rules/due/month_offset",
    "due_roll": "/rules/due/roll",
    "generation": "/rules/generation",
    "generation_number": "/rules/generation/number",
    "generation_weekday": "/rules/generation/weekday",
    "generation_months": "/rules/generation/months_before_due",
    "generation_roll": "/rules/generation/roll",
    "grace": "/rules/grace",
    "grace_number": "/rules/grace/number",
    "grace_roll": "/rules/grace/roll",
    "pay_by_days": "/rules/pay_by/days_before_next_invoice",
    "pay_by_unit": "/rules/pay_by/unit",
    "pay_by_roll": "/rules/pay_by/roll",
    "posting_min": "/rules/posting/min_business_days",
    "posting_max": "/rules/posting/max_business_days",
    "cutoff": "/rules/posting/cutoff",
    "calendar": "/rules/calendar",
    "timezone": "/rules/timezone",
    "skip": "/rules/skip_coverage_months",
}
"""The fields of the form, and what of the question each one is."""
_WHOLE: Final = frozenset(
    {
        "months",
        "due_day",
        "due_offset",
        "generation_number",
        "generation_months",
        "grace_number",
        "pay_by_days",
        "posting_min",
        "posting_max",
    }
)
_ALWAYS: Final = frozenset({"state", "product", "from", "months"})
"""The fields that are in sight before the rules are opened."""


def calculator_page(page: Open) -> Shown:
    """Show the form, and the answer to what it says."""
    refuse_unknown(page.query, PLACES)
    configured = calculator.states(page.book)
    values: dict[str, Any] = {
        "states": configured["states"],
        "products": configured["products"],
        "given": page.query,
        "rolls": ROLLS,
        "weekdays": WEEKDAYS,
        "generation_kinds": GENERATION,
        "grace_kinds": GRACE,
        "answer": None,
        "faulty": {},
        "others": [],
        "is_changed": not page.query.keys() <= _ALWAYS,
        **_in_force(page),
    }
    if "state" not in page.query:
        return Shown("calculator.html", values)
    # Where no month is given the form shows this one.
    asked = page.query if "from" in page.query else {**page.query, "from": values["this_month"]}
    body = question(asked)
    try:
        values["answer"] = calculator.answer(page.book, {**body, "explain": True}, page.now)
    except Refusal as refusal:
        values["faulty"], values["others"] = shown_at(refusal, lambda pointer: _field(asked, pointer))
        return Shown("calculator.html", values, status_of(type(refusal)))
    values |= {"link": f"{_here()}/calculator?{urlencode(asked)}", "curl": _curl(body)}
    return Shown("calculator.html", values)


def question(query: Mapping[str, str]) -> dict[str, Any]:
    """Give the question that a form asks, as the body of `POST /v1/calculate`.

    >>> question({"state": "PA", "from": "2026-08", "months": "1", "grace": "after_due", "grace_number": "45"})
    {'state': 'PA', 'from': '2026-08', 'months': 1, 'rules': {'grace': {'days': 45, 'counting': 'after_due'}}}
    """
    said: dict[str, Any] = {name: whole(value) if name in _WHOLE else value for name, value in query.items()}
    body: dict[str, Any] = {
        name: said[name] for name in ("state", "product", "from", "months", "as_of", "paid_at") if name in said
    }
    body.setdefault("months", MONTHS)
    rules = {
        "due": _table(said, day="due_day", month_offset="due_offset", roll="due_roll"),
        "generation": _generation(said),
        "grace": _grace(said),
        "pay_by": _table(said, days_before_next_invoice="pay_by_days", unit="pay_by_unit", roll="pay_by_roll"),
        "posting": _table(said, min_business_days="posting_min", max_business_days="posting_max", cutoff="cutoff"),
        "calendar": said.get("calendar"),
        "timezone": said.get("timezone"),
        "skip_coverage_months": [whole(each) for each in parted(said["skip"])] if "skip" in said else None,
    }
    given = {kind: rule for kind, rule in rules.items() if rule is not None}
    return {**body, "rules": given} if given else body


def _table(said: Mapping[str, Any], **fields: str) -> dict[str, Any] | None:
    found = {name: said[field] for name, field in fields.items() if field in said}
    return found or None


def _generation(said: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = said.get("generation")
    more = _table(said, months_before_due="generation_months", roll="generation_roll") or {}
    if kind == "weekday":
        return {"weekday": "", **(_table(said, weekday="generation_weekday", nth="generation_number") or {}), **more}
    number = {} if "generation_number" not in said else {kind or "days_before_due": said["generation_number"]}
    if kind is None:
        return {**number, **more} or None
    return {**(number or {kind: None}), **more}


def _grace(said: Mapping[str, Any]) -> dict[str, Any] | None:
    kind, roll = said.get("grace"), _table(said, roll="grace_roll") or {}
    number = said.get("grace_number")
    if kind is None and number is None:
        return roll or None
    if kind == "calendar_months":
        return {"calendar_months": number, **roll}
    return {"days": number, **({} if kind is None else {"counting": kind}), **roll}


def _field(query: Mapping[str, str], pointer: str) -> str | None:
    """Give the field that a fault is shown at: its own, or one of the rule that it is about."""
    kind = query.get("generation", "days_before_due")
    own = {
        f"/rules/generation/{kind}": "generation_weekday" if kind == "weekday" else "generation_number",
        "/rules/generation/nth": "generation_number",
        "/rules/grace/days": "grace_number",
        "/rules/grace/calendar_months": "grace_number",
        "/rules/grace/counting": "grace",
        **{place: field for field, place in PLACES.items()},
    }
    if pointer in own:
        return own[pointer]
    return next((field for field, place in PLACES.items() if pointer and place.startswith(pointer)), None) or next(
        (field for field, place in PLACES.items() if pointer.startswith(f"{place}/")), None
    )


def _in_force(page: Open) -> dict[str, Any]:
    """Give the rules that hold where none is given: those of the chosen state, in words."""
    try:
        state = calculator.state(page.book, page.query.get("state", ""), page.now)
    except UnknownState:
        return {"in_force": {}, "this_month": page.now.strftime("%Y-%m")}
    rules = {row["kind"]: row for row in state["in_force"]}
    return {"in_force": rules, "this_month": state["coverage_month"]}


def _here() -> str:
    return str(current_app.config["PUBLIC_URL"] or f"{request.scheme}://{request.host}{request.root_path}")


def _curl(body: Mapping[str, Any]) -> str:
    sent = shlex.quote(json.dumps(body))
    return f"curl -s {shlex.quote(f'{_here()}/v1/calculate')} -H 'Content-Type: application/json' -d {sent}"


PAGES: Final = (
    Page(method="GET", path="/", allows="public", view=calculator_page),
    Page(method="GET", path="/calculator", allows="public", view=calculator_page),
)
