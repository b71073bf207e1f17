"""`ebill remind`: make the reminders that fall due, and send what is to be sent. For cron, say every quarter-hour.

What a run that was missed would have made, the next one makes, but for what fell on a day that has passed by then; what
it could not send, the next ones try again.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime

import click
from marshmallow import ValidationError

from ebill import starting
from ebill.cli.stored import OPERATOR, book, opened
from ebill.errors import InvalidInput
from ebill.grammar import faults, read_day
from ebill.render.words import day
from ebill.rulebook import RuleBook
from ebill.service import outbox
from ebill.service.calendars import TITLES
from ebill.service.deadlines import default_span
from ebill.store.engine import Store

NAMED = 20
"""Messages that were not delivered which are named; more are counted."""


@click.command(short_help="make the reminders that fall due, and send them")
@click.option("--as-of", metavar="DATE", default="today", show_default=True, help="The day by which they fall due.")
@click.option("--dry-run", is_flag=True, help="Tell what would be made; make nothing and send nothing.")
@click.pass_context
def remind(context: click.Context, *, as_of: str, dry_run: bool) -> None:
    """Make the reminders that fall due by a day, and send what is to be sent; ends with 1 where one is given up.

    What falls on a day that has passed is not reminded of.
    """
    starting.refuse_unsafe(os.environ)
    rules = book()
    by = _day(as_of, rules)
    with opened() as store:
        if dry_run:
            _tell(store, rules, by)
            return
        means = outbox.ways(store)
        made, sent = outbox.remind(store, rules, means, by, OPERATOR.user_id, _now)
    withdrawn = f", {sent.withdrawn} withdrawn" if sent.withdrawn else ""
    click.echo(
        f"{_count(made.reminders, made.messages)}; {sent.delivered} delivered, {sent.again} to be tried again, "
        f"{sent.given_up} given up{withdrawn}"
    )
    if os.environ.get("EBILL_LOG"):
        _log(made, sent)
    for trouble in sent.troubles[:NAMED]:
        click.echo(f"! {trouble}", err=True)
    if len(sent.troubles) > NAMED:
        click.echo(f"! and {len(sent.troubles) - NAMED} more", err=True)
    if made.incomplete:
        click.echo(f"! {made.incomplete} bill accounts lack dates; see: ebill deadlines", err=True)
    if not sent.is_whole:
        click.echo("! the time was up; what is left is sent by the next run", err=True)
    if sent.given_up:
        context.exit(1)


def _log(made: outbox.Made, sent: outbox.Sent) -> None:
    """Say the same as a line of the log, where one was asked for."""
    from ebill.logs import log

    log("reminded", level="warning" if sent.given_up else "info", made=made.reminders, messages=made.messages,
        incomplete=made.incomplete, delivered=sent.delivered, again=sent.again, given_up=sent.given_up,
        withdrawn=sent.withdrawn)  # fmt: skip


def _tell(store: Store, rules: RuleBook, by: date) -> None:
    """Tell what would be made."""
    reminders = messages = 0
    for user_id, found in outbox.fallen_due(store, rules, by, _now()):
        for channel, new in found.reminders.items():
            for at, _ in new:
                what = f"{TITLES[at.kind]}: {at.client_id} / {at.account_id}, {at.coverage_month}"
                click.echo(f"{user_id}  {day(at.date)}  {what}  ({_left((at.date - by).days)}, by {channel})")
            reminders += len(new)
        messages += outbox.messages_for(found)
    click.echo(f"{_count(reminders, messages)} would be made")


def _left(days: int) -> str:
    return "today" if days == 0 else f"in {days} day{'' if days == 1 else 's'}"


def _count(reminders: int, messages: int) -> str:
    return f"{reminders} reminder{'' if reminders == 1 else 's'} in {messages} message{'' if messages == 1 else 's'}"


def _day(text: str, rules: RuleBook) -> date:
    """Read a day; `today` is that of the house. Raises InvalidInput."""
    if text == "today":
        return default_span(rules, OPERATOR, None, None, _now())[0]
    try:
        return read_day(text)
    except ValidationError as error:
        raise InvalidInput(faults(error.messages, "as_of")) from None


def _now() -> datetime:
    return datetime.now(UTC)
