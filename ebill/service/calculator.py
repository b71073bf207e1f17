"""From rules or a state to dates; no client data is touched."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NotRequired, TypedDict

import numpy as np

from ebill import questions
from ebill.errors import Fault, InvalidInput, Refusal, UnknownState
from ebill.explain import Explanation
from ebill.paid import today
from ebill.questions import Calculation, PostingQuestion
from ebill.rulebook import Layer, Row, RuleBook, Scope, in_force
from ebill.rules import Kind
from ebill.service.invoices import Invoice, NotBilledMonth, Version, invoices, not_billed, versions, zone_name
from ebill.service.posted import Payment, Posted, payment, posted


class PostingAnswer(Posted):
    """The posting window under a state's rules, and why."""

    state: str
    timezone: str
    rulebook: Version
    explanation: Explanation


class Answer(TypedDict):
    """The dates of one account."""

    state: str
    product: NotRequired[str]
    timezone: str
    as_of: date
    rulebook: Version
    invoices: list[Invoice]
    not_billed: NotRequired[list[NotBilledMonth]]
    payment: NotRequired[Payment]


class Configured(TypedDict):
    """A state or a product of the rule book."""

    code: str
    name: str


class States(TypedDict):
    """The configured states and products."""

    rulebook: Version
    states: list[Configured]
    products: list[Configured]


class RuleRow(TypedDict):
    """A dated rule: its kind, the rule as data and in words, and on whose word it holds since when."""

    kind: Kind
    since: str
    rule: Any
    sentence: str
    layer: Layer
    scope: str
    cite: str
    assumed: bool


class Product(Configured):
    """A product's rules, which replace the state's."""

    rules: list[RuleRow]


class State(Configured):
    """A state's rules: those in force for `coverage_month` (the current one), and those to come."""

    rulebook: Version
    coverage_month: str
    in_force: list[RuleRow]
    to_come: list[RuleRow]
    products: list[Product]


def answer(book: RuleBook, body: Any, now: datetime) -> Answer:
    """Answer a calculation as it is sent: plain data, read strictly. Raises as `calculate`, every fault at once."""
    return calculate(book, questions.calculation(body, book), now)


def calculate(book: RuleBook, question: Calculation, now: datetime) -> Answer:
    """Answer with the dates of the coverage months asked for; `now` (aware) is what *today* is read from.

    Raises InvalidInput with every fault, or one of the refusals of `RuleBook.life` and `Life.rows`, whose `faults`
    then name the part of the question at fault.
    """
    life = questions.life(book, question)
    try:
        rows = life.rows(question.first, question.count)
    except Refusal as refusal:
        refusal.faults = (questions.fault(refusal, question),)
        raise

    as_of = question.as_of or today(life.timeline, now)
    found: Answer = {
        "state": question.state,
        "timezone": zone_name(life.timeline, as_of),
        "as_of": as_of,
        "rulebook": versions(book),
        "invoices": invoices(life, rows, as_of, explained=question.explain),
    }
    if question.product:
        found["product"] = question.product
    if len(found["invoices"]) < question.count:
        found["not_billed"] = not_billed(life, rows)
    if question.paid_at is not None:
        if not found["invoices"]:
            raise InvalidInput([Fault("/paid_at", questions.NOTHING_TO_PAY)])
        _, found["payment"], explanation = payment(life.timeline, question.paid_at, found["invoices"][0])
        if question.explain:
            found["payment"]["explanation"] = explanation
    return found


def posting(book: RuleBook, question: PostingQuestion) -> PostingAnswer:
    """Answer with when a payment posts under a state's rules. Raises InvalidInput, or PaymentOutsideCalendar."""
    if question.state not in book.states:
        raise InvalidInput([Fault("/state", str(UnknownState(question.state, book.states)))])
    timeline = book.life(Scope(question.state)).timeline
    paid_on, window, explanation = posted(timeline, question.paid_at)
    return {
        "state": question.state,
        "timezone": zone_name(timeline, paid_on),
        "rulebook": versions(book),
        **window,
        "explanation": explanation,
    }


def states(book: RuleBook) -> States:
    """Answer with the configured states and products."""
    return {
        "rulebook": versions(book),
        "states": [{"code": code, "name": state.name} for code, state in sorted(book.states.items())],
        "products": [{"code": code, "name": product.name} for code, product in sorted(book.products.items())],
    }


def state(book: RuleBook, code: str, now: datetime) -> State:
    """Answer with a state's rules, in force and to come, each with its citation. Raises UnknownState."""
    rows = book.rows(code)
    timeline = book.life(Scope(code)).timeline
    month = np.datetime64(today(timeline, now), "M")
    stretch = in_force(rows, month)
    current = {*stretch.rows.values(), *stretch.floors}
    return {
        "code": code,
        "name": book.states[code].name,
        "rulebook": versions(book),
        "coverage_month": str(month),
        "in_force": [as_rule_row(row) for row in rows if row in current],
        "to_come": [as_rule_row(row) for row in sorted(rows, key=lambda row: row.since) if row.since > month],
        "products": [
            {"code": name, "name": product.name, "rules": [as_rule_row(row) for row in product.rows]}
            for name, product in sorted(book.products.items())
        ],
    }


def as_rule_row(row: Row) -> RuleRow:
    """Give a row as an answer."""
    return {
        "kind": row.kind,
        "since": str(row.since),
        "rule": row.rule.as_data(),
        "sentence": str(row.rule),
        "layer": row.layer,
        "scope": row.scope,
        "cite": row.cite,
        "assumed": row.assumed,
    }
