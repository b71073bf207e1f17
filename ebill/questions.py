"""What can be asked: read strictly from plain data (a JSON body, options of the command) into one value each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, NamedTuple, cast

import numpy as np
from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from ebill.dates import LAST_MONTH
from ebill.errors import (
    BelowFloor,
    CutoffNotDaily,
    DatesOutOfOrder,
    ExceptionTooFar,
    Fault,
    InvalidInput,
    NoRuleInForce,
    NotBilled,
    OutsideCalendar,
    Refusal,
    UnknownCalendar,
    UnknownState,
    did_you_mean,
    pointer,
)
from ebill.grammar import Day, Flag, Moment, Month, RulesSchema, Strict, Text, Whole, Word, faults
from ebill.plainly import Few
from ebill.rulebook import Life, Row, RuleBook, Scope, entered
from ebill.rules import Kind, Rule
from ebill.schedule import FIXED_NAMES, FixedDates

MOST_MONTHS: Final = 120
"""How many coverage months one call may ask for."""
ROWS_MOST: Final = 10_000
"""Rules that are remembered as they were read."""
OR_ELSE: Final = "is required, or else coverage_month"
"""Of the span of a question that names no month."""
NOTHING_TO_PAY: Final = "there is no invoice in the months asked for that it could pay"


@dataclass(frozen=True, slots=True)
class Calculation:
    """A question after the dates of `count` coverage months from `first`; what is None was not said."""

    state: str
    first: np.datetime64
    count: int
    product: str | None = None
    rules: Mapping[Kind, Rule] = field(default_factory=dict)
    exceptions: tuple[FixedDates, ...] = ()
    as_of: date | None = None
    paid_at: date | datetime | None = None
    last_coverage_month: np.datetime64 | None = None
    explain: bool = False
    single: bool = False


class PostingQuestion(NamedTuple):
    """A question after when a payment posts, under the rules of a state."""

    state: str
    paid_at: date | datetime


class ExceptionSchema(Strict):
    """Fixed dates for the invoice of one coverage month, and why."""

    coverage_month = Month(required=True)
    generation_date = Day()
    due_date = Day()
    grace_end_date = Day()
    reason = Text(required=True)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_empty(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        """Refuse an exception that fixes nothing."""
        if isinstance(original, Mapping) and not any(name in original for name in FIXED_NAMES):
            raise ValidationError(f"must fix at least one of {', '.join(FIXED_NAMES)}")

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> FixedDates:
        """Make the value."""
        return FixedDates(**data)


class CalculationSchema(Strict):
    """The body of `POST /v1/calculate`."""

    state = Word(required=True)
    product = Word()
    coverage_month = Month()
    from_ = Month(data_key="from", attribute="from")  # no unknown key can be loaded in its place
    months = Whole(1, MOST_MONTHS)
    rules = fields.Nested(RulesSchema, load_default=dict)
    exceptions = Few(
        fields.Nested(ExceptionSchema),
        load_default=list,
        validate=validate.Length(max=MOST_MONTHS, error=f"must be at most {MOST_MONTHS}"),
    )
    as_of = Day()
    paid_at = Moment()
    last_coverage_month = Month()
    explain = Flag(load_default=False)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_unclear_months(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        """Either one month or a span of them, within the supported ones."""
        if not isinstance(original, Mapping):
            return
        one, span = (
            "coverage_month" in original,
            [key for key in ("from", "months") if key in original],
        )
        if one and span:
            raise ValidationError({key: ["cannot be given together with coverage_month"] for key in span})
        if not one and len(span) < 2:
            missing = [key for key in ("from", "months") if key not in span]
            detail = "is required with the other of from and months" if span else OR_ELSE
            raise ValidationError({key: [detail] for key in missing})
        if "from" in data and "months" in data and data["from"] + (data["months"] - 1) > LAST_MONTH:
            raise ValidationError({"months": [f"must end by {LAST_MONTH}, the last supported coverage month"]})

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_two_exceptions(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        """One coverage month has one exception at most."""
        fixed: set[str] = set()
        twice = {}
        for index, exception in enumerate(original.get("exceptions", ()) if "exceptions" in data else ()):
            month = exception.get("coverage_month") if isinstance(exception, Mapping) else None
            if isinstance(month, str):
                if month in fixed:
                    twice[index] = ["fixes a month that is fixed already"]
                fixed.add(month)
        if twice:
            raise ValidationError({"exceptions": twice})

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Calculation:
        """Make the value."""
        single = data.pop("coverage_month", None)
        first, count = (single, 1) if single is not None else (data.pop("from"), data.pop("months"))
        data["exceptions"] = tuple(data["exceptions"])
        return Calculation(first=first, count=count, single=single is not None, **data)


class PostingSchema(Strict):
    """The query of `GET /v1/posting`."""

    state = Word(required=True)
    paid_at = Moment(required=True)

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> PostingQuestion:
        """Make the value."""
        return PostingQuestion(**data)


_CALCULATION: Final = CalculationSchema()
_POSTING: Final = PostingSchema()
_RULES: Final = RulesSchema()
_KINDS: Final = tuple(_RULES.fields)


def calculation(body: Any, book: RuleBook | None = None) -> Calculation:
    """Read a calculation from plain data. Raises InvalidInput with every fault; with a book, unknown names too."""
    return cast(Calculation, _read_by(book, _CALCULATION, body))


def life(book: RuleBook, question: Calculation) -> Life:
    """Give the rules and dates that a question is about.

    Raises InvalidInput for names that the rule book does not have, or what `RuleBook.life` raises; `faults` then name
    the part of the question at fault.
    """
    calendar = question.rules.get("calendar")
    named = {"state": question.state, "product": question.product}
    if unknown := list(_unknown_names(book, {**named, "rules": {"calendar": calendar and calendar.as_data()}})):
        raise InvalidInput(unknown)
    try:
        return book.life(scope(question))
    except Refusal as refusal:
        refusal.faults = (fault(refusal, question),)
        raise


def scope(question: Calculation) -> Scope:
    """Give the account that a question is about, as far as its dates go."""
    return Scope(
        question.state,
        question.product,
        _entered(question.rules),
        question.exceptions,
        question.last_coverage_month,
    )


class Rows:
    """Reads the rules of questions alone, as their scopes have them, and remembers each that was good.

    Questions mostly differ in how they combine few rules, and what one says is good or not whatever the others say.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Row] = {}

    def of(self, given: Any) -> tuple[Row, ...]:
        """Give the rows of rules by kind. Raises InvalidInput with every fault."""
        if type(given) is dict:
            each = (self._known.get((kind, repr(given[kind]))) for kind in _KINDS if kind in given)
            known = tuple(row for row in each if row is not None)
            if len(known) == len(given):
                return known
        rules = _read(_RULES, given)
        rows = _entered(rules)
        self._known = {} if len(self._known) >= ROWS_MOST else self._known
        self._known.update(zip(((kind, repr(given[kind])) for kind in rules), rows, strict=True))
        return rows


def _entered(rules: Mapping[Kind, Rule]) -> tuple[Row, ...]:
    return entered(rules.values(), "client", "given with the question")


def posting_question(query: Any, book: RuleBook | None = None) -> PostingQuestion:
    """Read a posting question from plain data. Raises as `calculation`."""
    return cast(PostingQuestion, _read_by(book, _POSTING, query))


def _read_by(book: RuleBook | None, schema: Strict, given: Any) -> Any:
    try:
        return _read(schema, given)
    except InvalidInput as refusal:
        names = given if isinstance(given, dict) and book else {}
        named = {fault.pointer for fault in refusal.faults}
        unknown = (fault for fault in _unknown_names(cast(RuleBook, book), names) if fault.pointer not in named)
        raise InvalidInput([*refusal.faults, *unknown]) from None


def _read(schema: Strict, given: Any) -> Any:
    try:
        return schema.load(given)
    except ValidationError as error:
        raise InvalidInput(faults(error.messages)) from None


def _unknown_names(book: RuleBook, given: Mapping[str, Any]) -> Iterator[Fault]:
    """Find the names in a question that only the rule book can judge; what is no text is somebody else's to find."""
    state, product, rules = given.get("state"), given.get("product"), given.get("rules")
    if isinstance(state, str) and state not in book.states:
        yield Fault("/state", str(UnknownState(state, book.states)))
    if isinstance(product, str) and product not in book.products:
        known = ", ".join(sorted(book.products)) or "none"
        hint = did_you_mean(product, book.products)
        yield Fault("/product", f"is no configured product{hint}; the configured products are {known}")
    calendar = rules.get("calendar") if isinstance(rules, dict) else None
    if isinstance(calendar, str):
        try:
            book.calendar(calendar)
        except UnknownCalendar as refusal:
            yield Fault("/rules/calendar", str(refusal))


def fault(refusal: Refusal, question: Calculation) -> Fault:
    """Say which part of the question a refusal is about."""
    month_at = pointer("coverage_month" if question.single else "from")
    match refusal:
        case ExceptionTooFar():
            place = _exception_at(question, refusal.coverage_month, refusal.name)
        case NotBilled():
            place = _exception_at(question, refusal.coverage_month)
        case DatesOutOfOrder():
            place = _exception_at(question, refusal.coverage_month) or pointer("rules")
        case BelowFloor():
            place = _exception_at(question, refusal.coverage_month, "grace_end_date") or pointer("rules", "grace")
        case CutoffNotDaily():
            place = (
                pointer("rules", "posting", "cutoff") if "posting" in question.rules else pointer("rules", "timezone")
            )
        case OutsideCalendar() | NoRuleInForce():
            place = month_at
        case _:
            place = ""
    return Fault(place, str(refusal))


def _exception_at(question: Calculation, month: str, name: str | None = None) -> str:
    """Give the place of the exception for a month, or of the date it fixes; "" where there is none."""
    for index, fixed in enumerate(question.exceptions):
        if str(fixed.coverage_month) == month and (name is None or getattr(fixed, name) is not None):
            return pointer("exceptions", index, *(() if name is None else (name,)))
    return ""
