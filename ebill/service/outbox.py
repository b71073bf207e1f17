"""The outbox: reminders are put into it with the messages that tell of them, and these are sent from it.

A reminder and its messages are kept in one transaction, before anything is sent. A message is sent at least once, with
an id and a body that stay what they are; a receiver drops an id that it knows. Just before it is sent, it is looked at
whether its user may still see all that is in it: what they may not is never sent, and the rest goes in a new message.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

import orjson
from sqlalchemy import Connection, select

from ebill import access, sending
from ebill.errors import SettingRefused, StoreUnavailable
from ebill.render.json import encode
from ebill.render.words import day
from ebill.rulebook import RuleBook
from ebill.sending import MailServer, Network, Outcome
from ebill.service.calendars import TITLES
from ebill.service.reminders import Due, Reminder, due, is_reminded
from ebill.store import people
from ebill.store import reminders as kept
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.people import User
from ebill.store.reminders import Channel, Message, Target
from ebill.store.tables import clients

IN_A_MESSAGE: Final = 500
"""Reminders in a message at most."""
AT_ONCE: Final = 2_000
"""Reminders that are made in one transaction, some full messages, so that other writers get their turn."""
WORKERS: Final = 8
"""Messages that are being sent at a time."""
TAKEN_FROM: Final = 100
"""Messages that are looked up at once to be sent."""
ATTEMPTS: Final = 12
LIFE: Final = timedelta(days=3)
"""How often, and how long, it is tried to send a message before it is given up."""
FIRST_WAIT: Final = timedelta(minutes=5)
LONGEST_WAIT: Final = timedelta(hours=12)
"""How long it is waited before a message is tried again: at first, and at most; doubled each time, about."""
LONGEST_ASKED: Final = timedelta(hours=12)
"""How long a receiver may ask us to wait."""
RUN: Final = timedelta(minutes=10)
"""After how long a run takes no further message."""
TRIES: Final = 5
"""How often a change is tried while the store is busy."""

Clock = Callable[[], datetime]
P = ParamSpec("P")
T = TypeVar("T")


class Ways(NamedTuple):
    """How messages leave this machine, as the operator set it."""

    mail_server: MailServer | None
    networks: tuple[Network, ...]


class Fallen(NamedTuple):
    """What falls due for a user."""

    user_id: str
    due: Due


@dataclass
class Made:
    """What a run put into the outbox, and how many accounts lack dates."""

    reminders: int = 0
    messages: int = 0
    incomplete: int = 0


@dataclass
class Sent:
    """What became of the messages that a run took.

    Withdrawn are those that had something in them which their user may not see any more, or nowhere to go. `troubles`
    tells of each that was not delivered; `is_whole` is false where the time was up before all were taken.
    """

    delivered: int = 0
    again: int = 0
    given_up: int = 0
    withdrawn: int = 0
    troubles: list[str] = field(default_factory=list)
    is_whole: bool = True


class Errand(NamedTuple):
    """A message that was taken, and where it goes."""

    message: Message
    target: Target


def ways(store: Store) -> Ways:
    """Read how messages leave. Raises SettingRefused, also where somebody has mail and there is no mail server."""
    found = Ways(sending.mail_server(), sending.networks())
    if found.mail_server is None:
        with store.reading() as connection:
            if kept.has_mail(connection):
                raise SettingRefused("EBILL_SMTP_URL", "must be set: somebody's reminders go by mail")
    return found


def fallen_due(store: Store, book: RuleBook, as_of: date, now: datetime) -> Iterator[Fallen]:
    """Give what falls due by a day and was not made yet, user by user."""
    for user_id in _persisting(_reading, store, kept.choosers):
        found = _persisting(_reading, store, due, book, user_id, as_of, now)
        if found is not None:
            yield Fallen(user_id, found)


def make(store: Store, book: RuleBook, as_of: date, actor: str, clock: Clock) -> Made:
    """Make what falls due by a day: each reminder once, with the messages that tell of it."""
    made = Made()
    for user_id, found in fallen_due(store, book, as_of, clock()):
        made.incomplete += found.incomplete_count
        for start in range(0, len(found.reminders), AT_ONCE):
            part = found._replace(reminders=found.reminders[start : start + AT_ONCE])
            reminders, messages = _persisting(_made, store, user_id, part, as_of, By(actor, clock()))
            made.reminders += reminders
            made.messages += messages
    return made


def messages_for(found: Due) -> int:
    """Count the messages that would tell of what falls due."""
    return len(found.channels) * -(-len(found.reminders) // IN_A_MESSAGE)


def deliver(store: Store, means: Ways, actor: str, clock: Clock) -> Sent:
    """Send what is to be sent by now. No target that hangs or fails keeps another one's messages back.

    The store is used by this thread alone; others do nothing but send.
    """
    sent, until = Sent(), clock() + RUN
    under_way: dict[Future[Outcome], Errand] = {}
    _persisting(_noting, store, kept.sweep, clock())
    errands = _errands(store, sent, clock)
    with ThreadPoolExecutor(WORKERS) as pool:
        while True:
            while len(under_way) < WORKERS and clock() < until and (errand := next(errands, None)) is not None:
                under_way[pool.submit(_send, errand, means, clock())] = errand
            if not under_way:
                sent.is_whole = clock() < until
                return sent
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                _note(store, under_way.pop(future), _outcome(future), By(actor, clock()), sent)


def _made(store: Store, user_id: str, found: Due, as_of: date, by: By) -> tuple[int, int]:
    """Make reminders of a user, and put their messages into the outbox; give how many there are of each."""
    with store.writing(by) as write:
        known = kept.made(write.connection, user_id, as_of)
        new = [reminder for reminder in found.reminders if reminder.key not in known]
        if not new:
            write.unchanged()
            return 0, 0
        items = [_item(reminder, as_of, names=found.choice.names) for reminder in new]
        parts = [items[start : start + IN_A_MESSAGE] for start in range(0, len(items), IN_A_MESSAGE)]
        messages = [_message(user_id, channel, part, by.at) for channel in found.channels for part in parts]
        kept.remember(write.connection, user_id, [reminder.key for reminder in new], by.at)
        kept.post(write.connection, messages)
        after = {
            "as_of": as_of,
            "reminders": len(new),
            "messages": [message.message_id for message in messages],
        }
        write.audit("remind", subject=user_id, after=after)
        return len(new), len(messages)


def _item(reminder: Reminder, as_of: date, *, names: bool) -> dict[str, Any]:
    """Give what is told of a reminder; the days that are left are counted from the day it was made for."""
    of = reminder.deadline
    named = {"client_name": of.client_name, "account_name": of.account_name} if names else {}
    return {
        "date": of.date.isoformat(),
        "kind": of.kind,
        "lead_days": reminder.lead_days,
        "days_left": (of.date - as_of).days,
        "client_id": of.client_id,
        "account_id": of.account_id,
        **named,
        "coverage_month": of.coverage_month,
        "standing": of.standing,
    }


def _message(user_id: str, channel: Channel, items: Sequence[dict[str, Any]], at: datetime) -> Message:
    """Write a message, for good."""
    subject, body = "", ""
    if channel == "email":
        count = "1 invoice deadline" if len(items) == 1 else f"{len(items)} invoice deadlines"
        subject = f"{count}, from {min(item['date'] for item in items)}"
        lines = [f"{subject}:", "", *map(_line, items), "", "What you are reminded of is yours to choose."]
        body = "\n".join(lines) + "\n"
    else:
        told = {"type": "reminder", "timestamp": at, "data": {"user_id": user_id, "reminders": items}}
        body = encode(told).decode()
    return Message(kept.new_id(), user_id, channel, subject, body, orjson.dumps(items).decode(), at)


def _line(item: dict[str, Any]) -> str:
    client, account = (item.get(f"{of}_name", item[f"{of}_id"]) for of in ("client", "account"))
    line = f"{day(date.fromisoformat(item['date']))}  {TITLES[item['kind']]}: {client} / {account}, "
    line += item["coverage_month"]
    return "".join(sign if sign.isprintable() else " " for sign in line)


def _errands(store: Store, sent: Sent, clock: Clock) -> Iterator[Errand]:
    """Take one message after the other that may be sent; count those that may not be sent any more."""
    while True:
        message_ids = _persisting(_reading, store, kept.due, clock(), TAKEN_FROM)
        for message_id in message_ids:
            taken = _persisting(_noting, store, _take, message_id, clock())
            if isinstance(taken, Errand):
                yield taken
            elif taken is not None:
                sent.withdrawn += 1
                sent.troubles.append(f"{message_id}: {taken}")
        if not message_ids:
            return


def _take(connection: Connection, message_id: str, now: datetime) -> Errand | str | None:
    """Take a message; None where it is somebody else's by now, and why where it is not to be sent any more."""
    message = kept.take(connection, message_id, now)
    if message is None:
        return None
    user, target = people.user(connection, message.user_id), kept.target(connection, message.user_id) or Target()
    why = ""
    if user is None or not is_reminded(user):
        why = "withdrawn: its user may not be told of deadlines any more"
    elif message.attempts > ATTEMPTS:
        why = "withdrawn: every run that sent it ended before it knew how that went"
    elif message.channel not in target.channels:
        why = "withdrawn: it has nowhere to go any more"
    elif (rest := _rest(connection, user, message)) is not None:
        why = "withdrawn: a client is not open to its user any more"
        kept.post(connection, [_message(user.user_id, message.channel, rest, now)] if rest else [])
    if why:
        kept.give_up(connection, message, now, why)
        return why
    return Errand(message, target)


def _rest(connection: Connection, user: User, message: Message) -> list[dict[str, Any]] | None:
    """Give what of a message its user may still see; None where that is all of it."""
    items = orjson.loads(message.reminders)
    named = {item["client_id"] for item in items}
    query = select(clients.c.client_id).where(clients.c.client_id.in_(named), access.visible(user))
    seen = set(connection.scalars(query))
    return None if seen == named else [item for item in items if item["client_id"] in seen]


def _send(errand: Errand, means: Ways, at: datetime) -> Outcome:
    message, target = errand
    if message.channel == "webhook" and target.webhook_url is not None and target.webhook_secret is not None:
        body = message.body.encode()
        return sending.call(target.webhook_url, target.webhook_secret, message.message_id, body, at, means.networks)
    if means.mail_server is None or target.email is None:
        return Outcome("again", "there is no mail server")
    mail = sending.write_mail(
        message.message_id, message.subject, message.body, message.created_at, means.mail_server.sender, target.email
    )
    return sending.send_mail(means.mail_server, mail, target.email)


def _outcome(future: Future[Outcome]) -> Outcome:
    """Give what became of a send; where we failed ourselves, it is tried again as well, and stops no other."""
    error = future.exception()
    return future.result() if error is None else Outcome("again", f"sending failed: {type(error).__name__}")


def _note(store: Store, errand: Errand, outcome: Outcome, by: By, sent: Sent) -> None:
    """Keep what became of a message, and count it."""
    message = errand.message
    is_over = message.attempts >= ATTEMPTS or by.at - message.created_at >= LIFE
    trouble = f"{message.message_id} by {message.channel} to {message.user_id}: {outcome.detail}"
    if outcome.verdict == "delivered":
        _persisting(_noting, store, kept.delivered, message, by.at)
        sent.delivered += 1
    elif outcome.verdict == "again" and not is_over:
        at = by.at + _wait(message.attempts, outcome.after)
        why = outcome.detail
        _persisting(_noting, store, kept.try_again, message, at, why)
        sent.again += 1
        sent.troubles.append(f"{trouble}; to be tried again from {at:%Y-%m-%dT%H:%MZ}")
    else:
        _persisting(_given_up, store, errand, outcome, by)
        sent.given_up += 1
        sent.troubles.append(f"{trouble}; given up")


def _given_up(store: Store, errand: Errand, outcome: Outcome, by: By) -> None:
    """Give a message up. A webhook that says it is gone is called no more, until somebody gives it again."""
    message = errand.message
    with store.writing(by) as write:
        kept.give_up(write.connection, message, by.at, outcome.detail)
        after = {"message_id": message.message_id, "why": outcome.detail}
        write.audit("give_up_message", subject=message.user_id, after=after)
        target = kept.target(write.connection, message.user_id)
        if outcome.verdict == "gone" and target is not None and target.webhook_url == errand.target.webhook_url:
            kept.set_target(write.connection, message.user_id, replace(target, webhook_gone_at=by.at))
            write.audit("webhook_gone", subject=message.user_id)


def _wait(attempts: int, asked: timedelta | None) -> timedelta:
    """Give how long it is waited after so many attempts: the longer the more there were, and never all alike."""
    doubled: timedelta = min(FIRST_WAIT * 2 ** (attempts - 1), LONGEST_WAIT)
    usual = doubled * (80 + secrets.randbelow(41)) / 100
    return max(usual, min(asked or usual, LONGEST_ASKED))


def _reading(store: Store, question: Callable[Concatenate[Connection, P], T], *args: P.args, **more: P.kwargs) -> T:
    with store.reading(patient=True) as connection:
        return question(connection, *args, **more)


def _noting(store: Store, change: Callable[Concatenate[Connection, P], T], *args: P.args, **more: P.kwargs) -> T:
    with store.noting() as connection:
        return change(connection, *args, **more)


def _persisting(change: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """Ask or change the store, again and again while it is busy; no change here does harm where it is made twice."""
    for _ in range(TRIES - 1):
        try:
            return change(*args, **more)
        except StoreUnavailable:
            continue
    return change(*args, **more)
