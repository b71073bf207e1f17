"""Rule books for tests, as the TOML texts they are: the shipped one with edits, and small ones of our own.

A text that is wrong on purpose says where: the line that ends with `# here` is the one to be named.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ebill import questions, service
from ebill.errors import BookFault, BookRefused
from ebill.grammar import OwnRulesSchema
from ebill.reading import read
from ebill.rulebook import Layer, Row, RuleBook
from ebill.service import Answer

SHIPPED = Path(__file__).parent.parent / "config" / "states.toml"
TEXT = SHIPPED.read_text("utf-8")
HERE = "# here"
NOW = datetime(2026, 8, 3, 16, tzinfo=UTC)

HOUSE = {
    "due": "{ day = 1 }",
    "grace": "{ days = 30 }",
    "pay_by": "{ days_before_next_invoice = 3 }",
    "posting": '{ min_business_days = 2, max_business_days = 3, cutoff = "17:00" }',
    "calendar": '"XFED"',
    "timezone": '"America/New_York"',
}


def edited(*edits: tuple[str, str], text: str = TEXT) -> str:
    """Replace the first place where each text stands; it must stand somewhere."""
    for old, new in edits:
        if old not in text:
            raise ValueError(f"nothing to edit: {old!r}")
        text = text.replace(old, new, 1)
    return text


def row(table: str, rule: str, since: str = "2000-01", cite: str = "a test", more: str = "") -> str:
    """Write a row: `row("states.PA", "grace = { days = 31 }", since="2026-08")`."""
    return f'\n[[{table}.rules]]\nsince = "{since}"\n{rule}\ncite = "{cite}"\n{more}'


def section(table: str, *rules: str) -> str:
    """Write a state or a product with rows that hold from the first month on."""
    return f'\n[{table}]\nname = "{table}"\n' + "".join(row(table, rule) for rule in rules)


def small(*more: str, **house: str) -> str:
    """Write a book with the house's rules, other ones where given, and one state, PA; then whatever more is given."""
    rules = "".join(row("default", f"{kind} = {rule}") for kind, rule in {**HOUSE, **house}.items())
    return rules + section("states.PA", "generation = { days_before_due = 20 }") + "".join(more)


def book(text: str) -> RuleBook:
    """Read a book that must be good."""
    return read(text.encode(), "book.toml").book


def faults(source: str | bytes) -> tuple[BookFault, ...]:
    """Give what is wrong with a book; nothing, where it is good."""
    try:
        read(source.encode() if isinstance(source, str) else source, "book.toml")
    except BookRefused as refusal:
        return refusal.book_faults
    return ()


def here(text: str) -> int:
    """Give the first line that ends with `# here`, as an editor counts lines."""
    return next(number for number, line in enumerate(text.split("\n"), 1) if line.rstrip().endswith(HERE))


def month(text: str) -> np.datetime64:
    """Give the month that `YYYY-MM` names."""
    return np.datetime64(text, "M")


def entered(layer: Layer, since: str = "2000-01", *, assumed: bool = False, **rules: Any) -> tuple[Row, ...]:
    """Make rows that somebody entered for a client or an account: `entered("client", grace={"days": 45})`."""
    return tuple(
        Row(month(since), OwnRulesSchema().load({kind: rule})[kind], "a test", layer, assumed=assumed, recorded=index)
        for index, (kind, rule) in enumerate(rules.items())
    )


def ask(rules: RuleBook, /, **body: Any) -> Answer:
    """Ask for dates, as a body of JSON does."""
    return service.calculate(rules, questions.calculation(body), NOW)


def invoice(rules: RuleBook, coverage_month: str, state: str = "PA", /, **body: Any) -> Any:
    """Ask for one invoice."""
    return ask(rules, state=state, coverage_month=coverage_month, **body)["invoices"][0]
