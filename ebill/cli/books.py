"""`ebill check` and `ebill diff`: rule books before they are put in force."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from ebill import bookfile, preview
from ebill.dates import LAST_MONTH, as_month
from ebill.errors import Fault, InvalidInput

FILE = click.Path(path_type=Path)
AHEAD = 24


@click.command(short_help="whether a rule book may be put in force")
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Read a rule book as the service does, and name every fault with its line."""
    reading = bookfile.load(file)
    book = reading.book
    for remark in reading.remarks:
        click.echo(remark.within(str(file)), err=True)
    rows = sum(len(each.rows) for each in (*book.states.values(), *book.products.values())) + len(book.default)
    click.echo(
        f"{file} is good: {rows} rules, {len(book.states)} states, {len(book.products)} products, {book.version}"
    )


@click.command(short_help="which dates a changed rule book moves")
@click.argument("old", type=FILE)
@click.argument("new", type=FILE, required=False)
@click.option(
    "--against-store", is_flag=True, help="Compare one file with the book in force, over the store's accounts."
)
@click.option("--from", "first", metavar="MONTH", help="First coverage month.  [default: the current]")
@click.option("--months", type=click.IntRange(1, 120), default=AHEAD, show_default=True, help="How many months.")
@click.option("--format", "form", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True)
def diff(old: Path, new: Path | None, first: str | None, months: int, form: str, *, against_store: bool) -> None:
    """Tell which dates of which states, or of which accounts in the store, a changed rule book moves."""
    if against_store == (new is not None):
        raise click.UsageError("give two files, or one and --against-store")
    now = datetime.now(UTC)
    month = _month(first) if first else np.datetime64(now.replace(tzinfo=None), "M")
    if month + (months - 1) > LAST_MONTH:
        raise InvalidInput([Fault("/months", f"must end by {LAST_MONTH}, the last supported coverage month")])
    if new is None:
        _against_store(old, now, month, months, form)
        return
    found = preview.difference(bookfile.load(old).book, bookfile.load(new).book, month, months)
    if form == "json":
        _print_json(found.as_data())
    elif form == "csv":
        from ebill.render import csv

        click.echo(csv.difference(found), nl=False)
    else:
        from ebill.render import text

        click.echo(text.difference(found), nl=False)


def _against_store(file: Path, now: datetime, month: np.datetime64, months: int, form: str) -> None:
    from ebill.cli import stored
    from ebill.service import books

    new = bookfile.load(file).book
    with stored.opened() as store, store.reading() as connection:
        effect = books.book_effect(connection, None, stored.book(), new, now, month, months).as_data()
    if form == "json":
        _print_json(effect)
    elif form == "csv":
        from ebill.render import csv

        click.echo(csv.effect(effect), nl=False)
    else:
        from ebill.render import text

        click.echo(text.effect(effect), nl=False)


def _print_json(answer: Any) -> None:
    from ebill.render.json import encode

    click.echo(encode(answer, indented=True))


def _month(text: str) -> np.datetime64:
    try:
        return as_month(text)
    except ValueError as error:
        raise InvalidInput([Fault("/from", str(error))]) from None
