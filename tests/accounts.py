"""Rows that ask after an account's coverage month, good and bad, and what the calculator says of each, one by one."""

import json
import random
from datetime import datetime
from typing import Any

from ebill import service
from ebill.errors import InvalidInput, Refusal
from ebill.rulebook import RuleBook
from ebill.schedule import DATE_NAMES

Row = dict[str, Any]

PAID = ("received_date", "posts_from_date", "posts_by_date", "timeliness", "reflected_on_next_invoice")
RULES: list[Any] = [
    None,
    None,
    None,
    {"grace": {"days": 45}},
    {"generation": {"business_day": -5}, "pay_by": {"days_before_next_invoice": 3, "unit": "business"}},
    {"due": {"day": 15, "roll": "following"}, "grace": {"calendar_months": 2}},
    {"skip_coverage_months": [7, 8]},
    {"timezone": "Pacific/Kiritimati", "posting": {"min_business_days": 0, "max_business_days": 1, "cutoff": "09:30"}},
    {"calendar": "US-PA"},
    {"generation": {"days_before_due": 90}, "due": {"day": -1, "month_offset": 1}},
    {"grace": {"days": 1}, "due": {"day": 31}},
    # What the calculator refuses.
    {"generation": {"day_of_month": 1, "months_before_due": 0}},
    {"grace": {"dasy": 45}},
    {"grace": {"days": 45.0}},
    {"timezone": "America/New_York", "posting": {"min_business_days": 1, "max_business_days": 2, "cutoff": "02:30"}},
    {"calendar": "XX-YY"},
    {"grace_floor": {"days": 31}},
    "grace",
    [],
    7,
]
EXCEPTIONS: list[Any] = [
    None,
    None,
    None,
    None,
    [{"coverage_month": "2026-08", "due_date": "2026-08-03", "reason": "Holiday"}],
    [{"coverage_month": "2026-07", "grace_end_date": "2026-08-07", "reason": "Storm"}],
    [{"coverage_month": "2026-08", "due_date": "2027-08-03", "reason": "A mistyped year"}],
    [{"coverage_month": "2026-08", "reason": "Nothing fixed"}],
    {"coverage_month": "2026-08"},
]
MOMENTS = (
    *(None, None, None, "2026-08-01", "2026-08-31", "2026-07-02T16:59:59.999999", "2026-07-02T17:00", "2099-12-31"),
    *(
        "2026-09-01T03:30:00Z",
        "2026-09-01T03:30-14:00",
        "2026-03-08T06:59:59Z",
        "2026-11-01T05:30Z",
        "2026-11-01T06:30Z",
    ),
    *("2000-01-01T00:30+09:00", "2099-12-31T23:59-05:00", "2000-01-01", "2026-02-30", "yesterday", "1999-12-31"),
    *("2026-08-01T24:00", "2026-08-01 12:00", "", "2099-12-31T18:00"),
)
MONTHS = (
    *("2026-06", "2026-07", "2026-08", "2026-09", "2027-02", "2024-02", "2000-01", "2099-12", "2031-05"),
    *("1999-12", "2100-01", "2026-13", "2026-8", "August", "", None, "2026-08-01"),
)
DAYS = (None, None, None, "2026-08-03", "2026-08-31", "2000-01-01", "2099-12-31", "2026-02-29", "1999-12-31", "x")
STATES = ("PA", "DE", "WV", "NY", "PA", "NY", "OH", "pa", "", "P A", None, "=PA", "PA\0")
PRODUCTS = (None, None, None, "cobra", "aptc_individual", "medicare_part_d", "kobra", "", "=cmd", "x" * 40)
IDS = (
    "A-1",
    "",
    None,
    "=1+1",
    '"',
    "a,b",
    "a\nb",
    "\t=1",
    "  @x",
    "é",
    "\U0001f600",
    "﹢",
    "\uff1d1",
    "x" * 300,
    "\x01",
    "\\",
)


def rows(count: int, seed: int = 1, good: float = 0.9, kinds: int = 300) -> list[Row]:
    """Make rows of so many kinds of accounts; each cell is by itself a good one as often as said."""
    rng = random.Random(seed)  # noqa: S311  # the same rows for the same seed

    def one(of: Any, count: int) -> Any:
        return rng.choice(of[:count] if rng.random() < good else of)

    alike = [
        {
            "state": one(STATES, 4),
            "product": one(PRODUCTS, 6),
            "rules": as_json(one(RULES, 11)),
            "exceptions": as_json(one(EXCEPTIONS, 5)),
            "last_coverage_month": rng.choice([None, None, None, None, "2026-07", "2026-08", "2027-01", "2026-13"]),
        }
        for _ in range(kinds)
    ]
    return [
        {
            "account_id": rng.choice(IDS) if rng.random() < 0.3 else f"A{rng.randrange(10**6):06}",
            **rng.choice(alike),
            "coverage_month": one(MONTHS, 9),
            "as_of": one(DAYS, 5),
            "paid_at": one(MOMENTS, 14),
        }
        for _ in range(count)
    ]


def as_json(value: Any) -> str | None:
    """Write rules as a cell of text has them."""
    return None if value is None else json.dumps(value)


OF_A_SPAN = "/from: is required, or else coverage_month; /months: is required, or else coverage_month"
"""What the calculator says where no month is given: it may be asked for a span, and a row of a batch may not."""


def asked(given: Row) -> Row:
    """Write a row as a body of `POST /v1/calculate`."""
    body = {name: value for name, value in given.items() if value is not None and not name.endswith("_id")}
    for name in ("rules", "exceptions"):
        if name in body:
            body[name] = json.loads(body[name])
    return body


def alone(book: RuleBook, given: Row, now: datetime) -> Row:
    """Say of a row what the calculator says of it alone, in the words of a batch; dates as text."""
    told: Row = {name: given.get(name) for name in ("client_id", "account_id") if name in given}
    told |= {name: given.get(name) for name in ("state", "product", "coverage_month")}
    empty: Row = dict.fromkeys((*DATE_NAMES, "as_of", "standing", "warnings", *PAID, "reason", "detail"))
    try:
        answer = service.answer(book, asked(given), now)
    except InvalidInput as refusal:
        said = "; ".join(f"{fault.pointer}: {fault.detail}".removeprefix(": ") for fault in refusal.faults)
        return {
            **told,
            **empty,
            "reason": refusal.code,
            "detail": said.replace(OF_A_SPAN, "/coverage_month: is required"),
        }
    except Refusal as refusal:
        return {**told, **empty, "reason": refusal.code, "detail": str(refusal)}
    if "not_billed" in answer:
        return {**told, **empty, "reason": "not_billed", "detail": answer["not_billed"][0]["reason"]}
    invoice, payment = answer["invoices"][0], answer.get("payment", {})
    dates: Row = {name: None if invoice[name] is None else str(invoice[name]) for name in DATE_NAMES}
    paid: Row = {name: None if name not in payment else str(payment[name]) for name in PAID}  # type: ignore[literal-required]
    told |= {**empty, **dates, **paid, "as_of": str(answer["as_of"]), "standing": invoice["standing"]}
    return {**told, "warnings": " ".join(warned["code"] for warned in invoice["warnings"])}
