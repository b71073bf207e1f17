"""`ebill deadlines`: the deadlines of everyone a user may see, or of all, into a file of any size."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any, Final, cast

import click
from marshmallow import ValidationError

from ebill import access
from ebill.cli.stored import NEW_FILE, OPERATOR, book, opened, to_pipe
from ebill.deadlines import KINDS, Kind
from ebill.errors import Fault, InvalidInput, StoreRefused, UserNotFound
from ebill.grammar import faults, read_day
from ebill.render import ics, listed
from ebill.rulebook import RuleBook
from ebill.service import calendars, sealing
from ebill.service.clients import refuse_unconfigured
from ebill.service.deadlines import Deadline, Found, Sought, default_span, head
from ebill.service.deadlines import deadlines as find
from ebill.standing import STANDINGS
from ebill.store import users
from ebill.store.users import User

CALENDAR: Final = "Invoice deadlines"
NAMED: Final = 5
"""Accounts without all their dates that are named; more are counted."""


@click.command(short_help="the deadlines of a user's clients, or of all")
@click.option("--user", "user_id", metavar="USER", help="Of the clients that this user may see.")
@click.option("--all", "of_all", is_flag=True, help="Of all clients.")
@click.option("--from", "first", metavar="DATE", help="First day.  [default: today]")
@click.option("--to", "last", metavar="DATE", help="Last day, at most 24 months later.  [default: 14 days later]")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only this kind; may be repeated.")
@click.option("--state", help="Only of accounts in this state, such as PA.")
@click.option("--client", "client_id", metavar="CLIENT", help="Only of this client.")
@click.option("--product", help="Only of accounts with this product, such as cobra.")
@click.option("--standing", type=click.Choice(STANDINGS), help="Only of invoices that stand so.")
@click.option("--as-of", metavar="DATE", help="Where invoices stand on that day.  [default: today]")
@click.option(
    "--format", "form", type=click.Choice(["csv", "parquet", "ics", "json"]), default="csv", show_default=True
)
@click.option(
    "-o",
    "--output",
    type=NEW_FILE,
    callback=to_pipe,
    help="A new file, which parquet needs.  [default: standard output]",
)
def deadlines(
    *, user_id: str | None, of_all: bool, first: str | None, last: str | None, as_of: str | None,
    kinds: tuple[str, ...], form: str, output: Path | None, **filters: str | None,
) -> None:  # fmt: skip
    """Write every deadline, soonest first: of the clients that a user may see, or of all."""
    if (user_id is None) != of_all:
        raise click.UsageError("Say whose deadlines: either --user USER, or --all.")
    if form == "parquet" and output is None:
        raise click.UsageError("Parquet goes into a file: -o FILE.")
    days = _days({"from": first, "to": last, "as_of": as_of})
    rules, now = book(), datetime.now(UTC)
    with opened() as store:
        key = sealing.seal(store, OPERATOR.user_id, lambda: now).calendars if form == "ics" else b""
        with store.reading(patient=True) as connection:
            user = OPERATOR if user_id is None else _user(connection, user_id)
            refuse_unconfigured(rules, filters)
            begin, end = default_span(rules, user, days["from"], days["to"], now)
            only = frozenset(cast("tuple[Kind, ...]", kinds)) or None
            sought = Sought(begin, end, kinds=only, as_of=days["as_of"], **filters)
            found = find(connection, rules, user, sought, now)
    with _opened(output) as file:
        _write(found, form, file, rules, sought, key, now)
    if output is not None:
        click.echo(f"{output} has {sum(found.counts['kind'].values())} deadlines, {begin} to {end}", err=True)
    for account in found.incomplete[:NAMED]:
        click.echo(f"! {account.client_id}/{account.account_id} lacks dates: {account.detail}", err=True)
    if found.incomplete_count > NAMED:
        click.echo(f"! and so do {found.incomplete_count - NAMED} more bill accounts", err=True)


def _write(
    found: Found, form: str, file: IO[bytes], rules: RuleBook, sought: Sought, key: bytes, now: datetime
) -> None:
    if form == "parquet":
        listed.as_parquet(Deadline, found.rows(), file)
    elif form == "ics":
        events = calendars.events(found.rows(), key, now, names=True)
        file.writelines(ics.calendar(events, CALENDAR, now))
    elif form == "json":
        file.writelines(listed.as_json(head(rules, sought, found), found.rows()))
    else:
        file.writelines(listed.as_csv(Deadline, found.rows()))


def _days(texts: dict[str, str | None]) -> dict[str, date | None]:
    """Read dates. Raises InvalidInput for every one that is none."""
    days: dict[str, date | None] = {}
    found: list[Fault] = []
    for name, given in texts.items():
        try:
            days[name] = None if given is None else read_day(given)
        except ValidationError as error:
            found += faults(error.messages, name)
    if found:
        raise InvalidInput(found)
    return days


def _user(connection: Any, user_id: str) -> User:
    """Give a user, who must be one that is let in."""
    user = users.user(connection, user_id)
    if user is None:
        raise UserNotFound
    if user.disabled_at is not None:
        raise StoreRefused(f"{user_id} is disabled, and sees nothing.")
    access.allow(user, "read_client")
    return user


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Open a new file, or standard output; a file that cannot be finished is not left behind."""
    if output is None:
        yield sys.stdout.buffer
        return
    try:
        file = output.open("xb")
    except FileExistsError:
        raise StoreRefused(f"{output} exists already; an export overwrites nothing") from None
    try:
        with file:
            yield file
    except BaseException:
        output.unlink()
        raise
