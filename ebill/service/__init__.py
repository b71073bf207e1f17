"""What people ask, one function each. Every door (HTTP, command, library) asks here and only prints what it gets.

Answers are plain data in the words of the specification, dates as `date`. *Now* is an argument: no clock is read.

- `calculator`  from rules or a state to dates; no client data
"""

from ebill.service.calculator import (
    Answer,
    PostingAnswer,
    State,
    States,
    answer,
    calculate,
    posting,
    state,
    states,
)
from ebill.service.invoices import Invoice, versions
from ebill.service.posted import Payment

__all__ = [
    "Answer",
    "Invoice",
    "Payment",
    "PostingAnswer",
    "State",
    "States",
    "answer",
    "calculate",
    "posting",
    "state",
    "states",
    "versions",
]
