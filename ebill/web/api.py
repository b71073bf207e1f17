"""The calculator's routes: public, no client data is touched."""

from __future__ import annotations

from typing import Any, Final

from ebill import questions, service, strictjson
from ebill.errors import (
    BelowFloor,
    CutoffNotDaily,
    DatesOutOfOrder,
    ExceptionTooFar,
    NoRuleInForce,
    NotBilled,
    OutsideCalendar,
    PaymentOutsideCalendar,
    UnknownState,
)
from ebill.questions import CalculationSchema, PostingSchema
from ebill.web.routes import Asked, Route


def calculate(asked: Asked) -> service.Answer:
    """Compute the dates of up to 120 coverage months from a state's rules, or from rules of your own."""
    return service.answer(asked.book, strictjson.loads(asked.body), asked.now)


def posting(asked: Asked) -> service.PostingAnswer:
    """Tell when a payment is received and when it posts, under the rules of a state."""
    return service.posting(asked.book, questions.posting_question(dict(asked.query), asked.book))


def states(asked: Asked) -> service.States:
    """List the configured states and products."""
    return service.states(asked.book)


def state(asked: Asked) -> service.State:
    """Give a state's rules, in force and to come, each with its citation."""
    return service.state(asked.book, asked.path["code"], asked.now)


EXAMPLE: Final[dict[str, Any]] = {"state": "PA", "coverage_month": "2026-08", "as_of": "2026-08-01"}

ROUTES: Final = (
    Route(
        method="POST",
        path="/v1/calculate",
        allows="public",
        view=calculate,
        summary="The dates of invoices",
        gives=service.Answer,
        body=CalculationSchema,
        example=EXAMPLE,
        steady=True,
        refuses=(
            DatesOutOfOrder,
            BelowFloor,
            ExceptionTooFar,
            NotBilled,
            NoRuleInForce,
            OutsideCalendar,
            PaymentOutsideCalendar,
            CutoffNotDaily,
        ),
    ),
    Route(
        method="GET",
        path="/v1/posting",
        allows="public",
        view=posting,
        summary="When a payment posts",
        gives=service.PostingAnswer,
        query=PostingSchema,
        example={"state": "NY", "paid_at": "2026-07-02T16:00"},
        refuses=(PaymentOutsideCalendar,),
    ),
    Route(
        method="GET",
        path="/v1/states",
        allows="public",
        view=states,
        summary="The configured states",
        gives=service.States,
    ),
    Route(
        method="GET",
        path="/v1/states/{code}",
        allows="public",
        view=state,
        summary="A state's rules",
        gives=service.State,
        parameters={"code": "PA"},
        refuses=(UnknownState,),
    ),
)
