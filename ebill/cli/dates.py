"""`ebill schedule` and `ebill posting`: the calculator's questions, asked with options."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from ebill import bookfile, questions, service
from ebill.cli import fitting
from ebill.errors import Fault, InvalidInput, pointer, shown
from ebill.rulebook import RuleBook

LISTS = ("skip_coverage_months",)
FORMATS = click.Choice(["text", "json", "csv"])


@click.command(short_help="the dates of a state's invoices")
@click.option("--state", required=True, help="Code of the state, such as PA.")
@click.option("--from", "first", metavar="MONTH", help="First coverage month, such as 2026-08.  [default: the current]")
@click.option("--months", default="12", show_default=True, help="How many coverage months, at most 120.")
@click.option("--product", help="A product of the rule book, such as cobra.")
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="KIND.KEY=VALUE",
    help="A rule of your own, such as grace.days=45 or generation.day_of_month=12; may be repeated.",
)
@click.option(
    "--exception",
    "exceptions",
    multiple=True,
    metavar="MONTH:NAME=DATE,…:REASON",
    help="Fixed dates of one month, such as 2026-08:due_date=2026-08-03:holiday; may be repeated.",
)
@click.option("--last-coverage-month", metavar="MONTH", help="The last month that is billed.")
@click.option("--paid-at", metavar="WHEN", help="Payment of the first invoice: 2026-07-02, or 2026-07-02T16:00.")
@click.option("--as-of", metavar="DATE", help="Where the invoices stand on that day.  [default: today]")
@click.option("--explain", is_flag=True, help="Say why each date is what it is.")
@click.option("--format", "form", type=FORMATS, default="text", show_default=True)
def schedule(
    first: str | None, months: str, rules: tuple[str, ...], exceptions: tuple[str, ...], form: str, **given: Any
) -> None:
    """Tell when the invoices of a state are generated, due and out of grace, and by when to pay."""
    book, now = _book(), datetime.now(UTC)
    if first is None:
        known = given["state"] in book.states
        first = service.state(book, given["state"], now)["coverage_month"] if known else f"{now:%Y-%m}"
    body = {name: value for name, value in given.items() if value}
    body |= {"from": first, "months": fitting(months), **_written(rules, exceptions)}
    answer = service.answer(book, body, now)
    if form == "json":
        _print_json(answer)
    elif form == "csv":
        from ebill.render import csv

        click.echo(csv.schedule(answer), nl=False)
    else:
        from ebill.render import text

        click.echo(text.schedule(answer), nl=False)


@click.command(short_help="when a payment posts")
@click.option("--state", required=True, help="Code of the state, such as NY.")
@click.option("--paid-at", required=True, metavar="WHEN", help="2026-07-02, or 2026-07-02T16:00, local to the state.")
@click.option("--format", "form", type=FORMATS, default="text", show_default=True)
def posting(state: str, paid_at: str, form: str) -> None:
    """Tell when a payment is received and when it posts."""
    book = _book()
    answer = service.posting(book, questions.posting_question({"state": state, "paid_at": paid_at}, book))
    if form == "json":
        _print_json(answer)
    elif form == "csv":
        from ebill.render import csv

        click.echo(csv.record(answer), nl=False)
    else:
        from ebill.render import text

        click.echo(text.posting(answer), nl=False)


def _book() -> RuleBook:
    return bookfile.load(bookfile.path()).book


def _print_json(answer: Mapping[str, Any]) -> None:
    from ebill.render.json import encode

    click.echo(encode(answer, indented=True))


def _written(rules: tuple[str, ...], exceptions: tuple[str, ...]) -> dict[str, Any]:
    """Read rules and exceptions as a body has them. Raises InvalidInput for every one that is not of its form."""
    faults: list[Fault] = []
    read = {"rules": _rules(rules, faults), "exceptions": [_exception(*each, faults) for each in enumerate(exceptions)]}
    if faults:
        raise InvalidInput(faults)
    return read


def _rules(texts: tuple[str, ...], faults: list[Fault]) -> dict[str, Any]:
    """Read `grace.days=45`, `calendar=US-PA` and `skip_coverage_months=7,8` as a body's `rules`."""
    rules: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        kind, dot, key = path.partition(".")
        if not equals or not kind or (dot and not key):
            faults.append(Fault("/rules", f'"{shown(text)}" is not of the form KIND.KEY=VALUE, such as grace.days=45'))
            continue
        table: Any = rules.setdefault(kind, {}) if dot else rules
        name = key if dot else kind
        if not isinstance(table, dict) or name in table:
            faults.append(Fault(pointer("rules", *path.split(".", 1)), "is given twice"))
            continue
        table[name] = (
            [fitting(each.strip()) for each in value.strip("[]").split(",") if each]
            if kind in LISTS
            else fitting(value)
        )
    return rules


def _exception(index: int, text: str, faults: list[Fault]) -> dict[str, Any]:
    """Read `2026-08:due_date=2026-08-03:a reason` as one of a body's `exceptions`."""
    month, _, rest = text.partition(":")
    dates, _, reason = rest.partition(":")
    pairs = [pair.partition("=") for pair in dates.split(",")]
    if not reason or not all(equals for _, equals, _ in pairs):
        form = "MONTH:NAME=DATE:REASON, such as 2026-08:due_date=2026-08-03:holiday"
        faults.append(Fault(pointer("exceptions", index), f'"{shown(text)}" is not of the form {form}'))
    return {"coverage_month": month, **{name: value for name, _, value in pairs}, "reason": reason}
