"""Where an invoice stands on a day, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, Literal, NamedTuple, TypedDict, get_args, overload

import numpy as np
import numpy.typing as npt

from ebill.dates import Calendar, Days, Flags, as_date
from ebill.rulebook import Life
from ebill.schedule import DateName

Standing = Literal["not_yet_invoiced", "invoiced", "in_grace", "grace_expired", "payment_pending", "paid"]
WarningCode = Literal[
    "recommended_may_not_post_in_time",
    "recommended_not_business_day",
    "due_not_business_day",
    "grace_runs_past_next_due",
    "assumed_rule",
    "exception_applied",
    "floor_applied",
]
STANDINGS: Final[tuple[Standing, ...]] = get_args(Standing)
WARNINGS: Final[tuple[WarningCode, ...]] = get_args(WarningCode)


class Warned(TypedDict):
    """A warning: its stable code, and the sentence for people."""

    code: WarningCode
    detail: str


class Under(NamedTuple):
    """Some months of a window, their calendar, and whether a rule is assumed: of one account, or of each in a row."""

    months: slice
    calendar: Calendar
    is_assumed: Any


@overload
def standing(generation: date, due: date, grace_end: date, as_of: date) -> int: ...


@overload
def standing(
    generation: Days,
    due: Days,
    grace_end: Days,
    as_of: Days,
    *,
    paid_on: Days | None = None,
    posts_by: Days | None = None,
) -> npt.NDArray[np.intp]: ...


def standing(
    generation: Any, due: Any, grace_end: Any, as_of: Any, *, paid_on: Days | None = None, posts_by: Days | None = None
) -> Any:
    """Give where each invoice stands on `as_of`, as an index into `STANDINGS`; all arguments broadcast.

    Exactly one each: before generation, up to the due date, up to the grace end, beyond. A payment made by then
    (`paid_on` and `posts_by`, NaT for none) counts as pending until the day it posts by. An unpaid invoice may be
    given by its plain dates, too: for a dozen of them that costs a tenth.
    """
    unpaid = 0 + (as_of >= generation) + (as_of > due) + (as_of > grace_end)
    if paid_on is None or posts_by is None:
        return unpaid
    pending, paid = STANDINGS.index("payment_pending"), STANDINGS.index("paid")
    return np.where(paid_on <= as_of, np.where(as_of < posts_by, pending, paid), unpaid)


def warnings(life: Life, rows: slice, columns: Mapping[DateName, Sequence[date]]) -> list[list[Warned]]:
    """Give what to beware of in each row of the slice, whose dates are `columns` (as `Life.columns` gives them)."""
    dates = life.schedule
    next_dues = dates.next_due[rows].tolist()
    floored = dates.moved_by("floor", "grace_end_date")[rows].tolist()
    found = []
    for row, due, grace_end, next_generation, recommended, safe, next_due, is_floored in zip(
        range(rows.start, rows.stop),
        columns["due_date"],
        columns["grace_end_date"],
        columns["next_generation_date"],
        columns["recommended_pay_by_date"],
        columns["safe_pay_by_date"],
        next_dues,
        floored,
        strict=True,
    ):
        stretch, terms = life.at(row)
        calendar = terms.calendar
        listed: list[Warned] = []
        if next_generation and recommended > safe:
            listed.append(
                _warn(
                    "recommended_may_not_post_in_time",
                    f"a payment on {recommended} may post too late for the invoice generated {next_generation}; "
                    f"paid by {safe} it posts in time",
                )
            )
        if next_generation and (why := calendar.why_closed(recommended)):
            listed.append(_warn("recommended_not_business_day", f"{recommended} is no business day: {why}"))
        if due and (why := calendar.why_closed(due)):
            listed.append(_warn("due_not_business_day", f"{due} is no business day: {why}"))
        if next_due and grace_end > next_due:
            listed.append(
                _warn(
                    "grace_runs_past_next_due",
                    f"the grace runs to {grace_end}, past the next due date {next_due}: two invoices are open",
                )
            )
        if stretch.assumed:
            listed.append(_warn("assumed_rule", f"nobody has confirmed yet: {', '.join(stretch.assumed)}"))
        if fixed := dates.fixed.get(row):
            listed.append(_warn("exception_applied", fixed.reason))
        if is_floored:
            origin = dates.days("due_date")[row : row + 1]
            ends = [as_date(floor.apply(origin, calendar)[0]) for floor in terms.floors]
            cites = [floor.cite for floor, end in zip(stretch.floors, ends, strict=True) if end == grace_end]
            listed.append(
                _warn("floor_applied", f"the grace ends no earlier than the floor allows: {'; '.join(cites)}")
            )
        found.append(listed)
    return found


def warned(
    days: Mapping[DateName, Days], next_due: Days, under: Iterable[Under], fixed: Flags, floored: Flags
) -> npt.NDArray[np.uint8]:
    """Give the same as numbers, of one account, shape (months,), or of many, (accounts, months).

    Bit n is set where `WARNINGS[n]` is to be told. `under` says what months are under, `fixed` which have an exception,
    and `floored` where a floor moved the grace end. Months of which some date is not known mean nothing.
    """
    due, following = days["due_date"], days["next_generation_date"]
    recommended, has_next = days["recommended_pay_by_date"], ~np.isnat(following)
    shape = np.broadcast_shapes(fixed.shape, next_due.shape, *(column.shape for column in days.values()))
    closed, assumed = np.zeros((2, *shape), bool), np.zeros(shape, bool)
    for months, calendar, is_assumed in under:
        for place, column in enumerate((recommended, due)):
            closed[place, ..., months] = calendar.is_closed(column[..., months])
        assumed[..., months] = is_assumed
    told: Mapping[WarningCode, Any] = {
        "recommended_may_not_post_in_time": has_next & (recommended > days["safe_pay_by_date"]),
        "recommended_not_business_day": has_next & closed[0],
        "due_not_business_day": closed[1],
        "grace_runs_past_next_due": days["grace_end_date"] > next_due,
        "assumed_rule": assumed,
        "exception_applied": fixed,
        "floor_applied": floored,
    }
    bits = np.zeros(shape, np.uint8)
    for bit, code in enumerate(WARNINGS):
        bits |= told[code].astype(np.uint8) << np.uint8(bit)
    return bits


def _warn(code: WarningCode, detail: str) -> Warned:
    return {"code": code, "detail": detail}
