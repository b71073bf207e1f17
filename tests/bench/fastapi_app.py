"""The same calculation behind FastAPI and pydantic: what one would write today without Flask and marshmallow.

The dates come from our own service, so what differs is what stands around it: reading a question strictly, and writing
the answer. `/v1/calculate` declares its answer, which FastAPI then checks and writes; `/lean` writes it by orjson.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field

from ebill import bookfile, service
from ebill.questions import Calculation
from ebill.render.json import encode

Month = Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Days(Strict):
    days: Annotated[int, Field(ge=0, le=366)]
    counting: Literal["after_due", "from_due"] = "after_due"


class Rules(Strict):
    grace: Days | None = None
    timezone: Name | None = None


class Fixed(Strict):
    coverage_month: Month
    due_date: date | None = None
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Question(Strict):
    state: Name
    product: Name | None = None
    from_: Annotated[Month, Field(alias="from")]
    months: Annotated[int, Field(ge=1, le=120)]
    rules: Rules | None = None
    exceptions: Annotated[list[Fixed], Field(max_length=120)] = []
    as_of: date | None = None
    explain: bool = False


class Warned(BaseModel):
    code: str
    detail: str


class Invoice(BaseModel):
    coverage_month: str
    generation_date: date
    due_date: date
    grace_end_date: date
    next_generation_date: date | None
    recommended_pay_by_date: date
    safe_pay_by_date: date
    standing: str
    warnings: list[Warned]


class Version(BaseModel):
    version: str
    holidays: str


class Answer(BaseModel):
    state: str
    timezone: str
    as_of: date
    rulebook: Version
    invoices: list[Invoice]


def app() -> FastAPI:
    """Make the application, for a server."""
    book = bookfile.load(bookfile.path()).book
    made = FastAPI(openapi_url=None)

    def answer(question: Question) -> Any:
        asked = Calculation(question.state, np.datetime64(question.from_, "M"), question.months)
        return service.calculate(book, asked, datetime.now(UTC))

    @made.post("/v1/calculate", response_model=Answer)
    async def calculate(question: Question) -> Any:
        return answer(question)

    @made.post("/lean")
    async def lean(question: Question) -> Response:
        return Response(encode(answer(question)), media_type="application/json")

    return made
