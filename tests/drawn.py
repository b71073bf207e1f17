"""Requests that are drawn: from an OpenAPI document by schemathesis, and questions with rules of all kinds by us."""

import copy
import random
from collections.abc import Callable
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case
from schemathesis.generation import GenerationMode

from tests import strategies
from tests.spoilt import spoil, spoil_bytes, written

KINDS: Final = (*strategies.DEFAULTS, "skip_coverage_months")


def draw_cases(
    operation: Any, mode: GenerationMode, number: int, count: int, send: Callable[[Case[Any]], None]
) -> None:
    """Draw cases of an operation of a document, the same whenever the number is, and send each."""

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Case[Any]) -> None:
        send(case)

    run()


def drawn_life(draw: random.Random) -> dict[str, Any]:
    """Draw a question that is written as the specification has it, with rules of all kinds."""
    year, month = draw.randrange(2000, 2100), draw.randrange(1, 13)
    first = f"{year}-{month:02}"
    question: dict[str, Any] = {"state": draw.choice(["PA", "DE", "WV", "NY"])}
    question |= draw.choice([{"coverage_month": first}, {"from": first, "months": draw.choice((1, 2, 12, 120))}])
    kinds = draw.sample(KINDS, draw.choice((0, 1, 1, 2, 4)))
    question["rules"] = {kind: strategies.draw_rule(draw, kind) for kind in kinds if kind != "calendar"}
    if draw.random() < 0.3:
        day = f"{year}-{month:02}-{draw.randrange(1, 29):02}"
        fixed = {draw.choice(["generation_date", "due_date", "grace_end_date"]): day}
        question["exceptions"] = [{"coverage_month": first, "reason": "a test", **fixed}]
    if draw.random() < 0.5:
        question["paid_at"] = f"{year}-{month:02}-{draw.randrange(1, 29):02}T{draw.randrange(24):02}:30"
    if draw.random() < 0.3:
        question["product"] = draw.choice(["cobra", "aptc_individual", "medicare_part_d"])
    question["explain"] = draw.random() < 0.2
    return question


def drawn_body(draw: random.Random, lives: list[dict[str, Any]]) -> bytes:
    """Draw a body: one that is right, one with a few things changed, or that with a few bytes changed."""
    question = copy.deepcopy(draw.choice(lives))
    for _ in range(draw.choice((0, 1, 1, 2, 4))):
        if question:
            spoil(draw, question)
    source = written(question, ascii_=draw.random() < 0.5)
    return spoil_bytes(draw, source) if draw.random() < 0.2 else source
