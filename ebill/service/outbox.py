"""The outbox: reminders are put into it with the messages that tell of them, and these are sent from it.

A reminder and its message are kept in one transaction, before anything is sent. A message is sent at least once, with
an id and a body that stay what they are; a receiver drops an id that it knows. Just before it is sent, it is looked at
whether all that is in it still holds, and whether its user may still see it. If not, it is withdrawn and its reminders
are forgotten, so that what still falls due is made anew, in a message with another id.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from ebill.service.reminders import Due, Reminder, due, is_reminded, still_due
from ebill.store import reminders as kept
from ebill.store import users
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.reminders import Channel, Choice, Deadline, Key, Message, Target, Waiting
from ebill.store.tables import clients
from ebill.store.users import User

IN_A_MESSAGE: Final = 500
"""Reminders in a message at most."""
AT_ONCE: Final = 2_000
"""Reminders that are made in one transaction, some full messages, so that other writers get their turn."""
WORKERS: Final[Mapping[Channel, int]] = {"email": 4, "webhook": 8}
"""Messages that are being sent at a time; mail has workers of its own, and one server."""
TO_A_WEBHOOK: Final = 2
"""Of these, to one user's webhook."""
LIFE: Final = timedelta(days=3)
"""How long it is tried to send a message before it is given up."""
ATTEMPTS: Final = 40
"""How often, where every run dies of it; others are over before."""
FIRST_WAIT: Final = timedelta(minutes=5)
LONGEST_WAIT: Final = timedelta(hours=12)
"""How long it is waited before a message is tried again: at first, and at most; doubled each time, about."""
LONGEST_ASKED: Final = timedelta(hours=12)
"""How long a receiver may ask us to wait."""
RUN: Final = timedelta(minutes=10)
"""After how long a run takes no further message."""
PERSISTENCE: Final = 30.0
PAUSE: Final = 0.1
"""For how many seconds a change is tried while the store is busy, and how long it is waited in between."""
FRESH: Final = timedelta(minutes=1)
"""How old it may be what is known of a user's deadlines when a message of them is sent."""
NEAR: Final = timedelta(days=300)
"""How far from one another the dates may be that are looked up at once."""

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

    Withdrawn are those of which something does not hold any more, or which have nowhere to go. `troubles` tells of each
    that was not delivered; `is_whole` is false where the time was up before all were taken.
    """

    delivered: int = 0
    again: int = 0
    given_up: int = 0
    withdrawn: int = 0
    troubles: list[str] = field(default_factory=list)
    is_whole: bool = True


class Taken(NamedTuple):
    """A message that was taken, where it goes, and why it is not to be sent, if so."""

    message: Message
    target: Target
    why: str = ""


class Place(NamedTuple):
    """Where messages go, as far as a failure of one says something of the others: a user's webhook; for mail, one."""

    channel: Channel
    user_id: str


class Known(NamedTuple):
    """The deadlines of a user that messages tell of and that hold, as they were found at an instant."""

    at: datetime
    message_ids: frozenset[str]
    deadlines: set[Deadline]


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
        for start in range(0, max(map(len, found.reminders.values())), AT_ONCE):
            part = found._replace(
                reminders={channel: new[start : start + AT_ONCE] for channel, new in found.reminders.items()}
            )
            reminders, messages = _persisting(_made, store, user_id, part, as_of, By(actor, clock()))
            made.reminders += reminders
            made.messages += messages
    return made


def messages_for(found: Due) -> int:
    """Count the messages that would tell of what falls due."""
    return sum(-(-len(new) // IN_A_MESSAGE) for new in found.reminders.values())


def deliver(store: Store, book: RuleBook, means: Ways, actor: str, clock: Clock) -> Sent:
    """Send what is to be sent by now."""
    run = _Run(store, book, means, actor, clock)
    run.deliver()
    return run.sent


def remind(store: Store, book: RuleBook, means: Ways, as_of: date, actor: str, clock: Clock) -> tuple[Made, Sent]:
    """Make what falls due by a day and send what is to be sent; where messages are withdrawn, both once more."""
    run, made = _Run(store, book, means, actor, clock), make(store, book, as_of, actor, clock)
    run.deliver()
    if run.sent.withdrawn:
        again = make(store, book, as_of, actor, clock)
        made = Made(made.reminders + again.reminders, made.messages + again.messages, again.incomplete)
        run.deliver()
    return made, run.sent


class _Run:
    """A run that sends. No target that hangs or fails keeps another one's messages back.

    The store is used by this thread alone; others do nothing but send.
    """

    def __init__(self, store: Store, book: RuleBook, means: Ways, actor: str, clock: Clock) -> None:
        self.sent = Sent()
        self._store, self._book, self._means, self._actor, self._clock = store, book, means, actor, clock
        self._until: datetime | None = None
        self._away: set[Place] = set()
        self._known: dict[str, Known] = {}
        self._waiting: dict[Channel, dict[Place, deque[Waiting]]] = {}
        self._under_way: dict[Future[Outcome], Taken] = {}

    def deliver(self) -> None:
        """Send what is to be sent by now, but not to whom was away before."""
        _persisting(_noting, self._store, kept.sweep, self._clock())
        until = self._until = self._until or self._clock() + RUN
        self._waiting = {channel: {} for channel in WORKERS}
        for message in _persisting(_reading, self._store, kept.due, self._clock()):
            self._waiting[message.channel].setdefault(_place(message), deque()).append(message)
        with ThreadPoolExecutor(sum(WORKERS.values())) as pool:
            while True:
                while self._clock() < until and (waiting := self._next()) is not None:
                    taken = self._take(waiting)
                    if taken is not None:
                        self._under_way[pool.submit(_send, taken, self._means, self._clock())] = taken
                if not self._under_way:
                    break
                for future in wait(self._under_way, return_when=FIRST_COMPLETED).done:
                    self._note(self._under_way.pop(future), _outcome(future))
        left = {place: len(waiting) for places in self._waiting.values() for place, waiting in places.items()}
        self.sent.is_whole = left.keys() <= self._away
        for place in sorted(left.keys() & self._away):
            where = " to ".join(filter(None, place))
            self.sent.troubles.append(f"by {where}: nobody is there; {left[place]} more to be tried by the next run")

    def _next(self) -> Waiting | None:
        """Give the next message that may be sent now: the places take turns."""
        places = Counter(_place(taken.message) for taken in self._under_way.values())
        channels = Counter(taken.message.channel for taken in self._under_way.values())
        for channel, at_once in WORKERS.items():
            most = TO_A_WEBHOOK if channel == "webhook" else at_once
            for place, waiting in self._waiting[channel].items() if channels[channel] < at_once else ():
                if places[place] < most and place not in self._away:
                    del self._waiting[channel][place]
                    found = waiting.popleft()
                    if waiting:
                        self._waiting[channel][place] = waiting
                    return found
        return None

    def _take(self, waiting: Waiting) -> Taken | None:
        """Take a message that is to be sent; count it where it is not to be sent any more."""
        known = self._known.get(waiting.user_id)
        if known is None or waiting.message_id not in known.message_ids or self._clock() - known.at > FRESH:
            known = _persisting(_reading, self._store, _look_up, self._book, waiting, self._clock())
            self._known[waiting.user_id] = known
        taken = _persisting(_noting, self._store, _take, waiting.message_id, known.deadlines, self._clock())
        if taken is None:
            return None
        if taken.message.attempts > ATTEMPTS:
            self._note(taken, Outcome("again", "every run that sent it ended before it knew how that went"))
        elif taken.why:
            _persisting(_withdraw, self._store, taken, By(self._actor, self._clock()))
            self.sent.withdrawn += 1
            self.sent.troubles.append(f"{taken.message.message_id}: withdrawn: {taken.why}")
        else:
            return taken
        return None

    def _note(self, taken: Taken, outcome: Outcome) -> None:
        """Keep what became of a message, and count it."""
        message, by = taken.message, By(self._actor, self._clock())
        is_over = message.attempts > ATTEMPTS or by.at - message.created_at >= LIFE
        trouble = f"{message.message_id} by {message.channel} to {message.user_id}: {outcome.detail}"
        if outcome.verdict == "away":
            self._away.add(_place(message))
        if outcome.verdict == "delivered":
            _persisting(_noting, self._store, kept.delivered, message, by.at)
            self.sent.delivered += 1
        elif outcome.verdict in ("again", "away") and not is_over:
            at = by.at + _wait(message.attempts, outcome.after)
            _persisting(_noting, self._store, kept.try_again, message, at, outcome.detail)
            self.sent.again += 1
            self.sent.troubles.append(f"{trouble}; to be tried again from {at:%Y-%m-%dT%H:%MZ}")
        else:
            _persisting(_given_up, self._store, taken, outcome, by)
            self.sent.given_up += 1
            self.sent.troubles.append(f"{trouble}; given up")


def _place(message: Message | Waiting) -> Place:
    return Place(message.channel, message.user_id if message.channel == "webhook" else "")


def _made(store: Store, user_id: str, found: Due, as_of: date, by: By) -> tuple[int, int]:
    """Make reminders of a user, and put their messages into the outbox; give how many there are of each."""
    with store.writing(by) as write:
        count, messages = 0, []
        for channel, reminders in found.reminders.items():
            known = kept.made(write.connection, user_id, channel, as_of)
            new = [reminder for reminder in reminders if reminder.key not in known]
            days = {reminder.key.invoice: reminder.key.day for reminder in new}
            moved = [key for key in known if days.get(key.invoice, key.day) != key.day]
            kept.forget(write.connection, user_id, channel, moved)
            for start in range(0, len(new), IN_A_MESSAGE):
                part = new[start : start + IN_A_MESSAGE]
                items = [_item(reminder, as_of, names=found.choice.names) for reminder in part]
                message = _message(user_id, channel, items, by.at)
                kept.remember(write.connection, message, [reminder.key for reminder in part])
                messages.append(message)
            count += len(new)
        if not messages:
            write.unchanged()
            return 0, 0
        kept.post(write.connection, messages)
        after = {"as_of": as_of, "reminders": count, "messages": [message.message_id for message in messages]}
        write.audit("remind", subject=user_id, after=after)
        return count, len(messages)


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


def _look_up(connection: Connection, book: RuleBook, waiting: Waiting, now: datetime) -> Known:
    """Find which deadlines of a message, and of the user's others of about that time, hold."""
    messages = kept.open_to(connection, waiting.user_id)
    around = messages.get(waiting.message_id, [])
    near = {
        message_id: keys
        for message_id, keys in messages.items()
        if around and all(abs(key.day - around[0].day) <= NEAR for key in keys)
    }
    sought = {key.deadline for keys in near.values() for key in keys}
    return Known(now, frozenset(near), still_due(connection, book, waiting.user_id, sought, now))


def _take(connection: Connection, message_id: str, known: set[Deadline], now: datetime) -> Taken | None:
    """Take a message; None where it is somebody else's by now."""
    message = kept.take(connection, message_id, now)
    if message is None:
        return None
    target = kept.target(connection, message.user_id) or Target()
    return Taken(message, target, _why_not(connection, message, target, known))


def _why_not(connection: Connection, message: Message, target: Target, known: set[Deadline]) -> str:
    """Say why a message is not to be sent any more; nothing where it is."""
    user = users.user(connection, message.user_id)
    if user is None or not is_reminded(user):
        return "its user may not be told of deadlines any more"
    if message.channel not in target.channels:
        return "it has nowhere to go any more"
    return _changed(connection, message, user, known)


def _changed(connection: Connection, message: Message, user: User, known: set[Deadline]) -> str:
    """Say what in a message does not hold any more; nothing where all does."""
    items = orjson.loads(message.reminders)
    choice = kept.choice(connection, message.user_id) or Choice({}, names=False)
    keys = {Key.of(item) for item in items}
    if any(key.lead_days not in choice.lead_days.get(key.kind, ()) for key in keys):
        return "something in it is not to be reminded of any more"
    if any(("client_name" in item) != choice.names for item in items):
        return "names were turned on or off"
    named = {key.client_id for key in keys}
    query = select(clients.c.client_id).where(clients.c.client_id.in_(named), access.visible(user))
    if set(connection.scalars(query)) != named:
        return "a client is not open to its user any more"
    if not known.issuperset(key.deadline for key in keys):
        return "a deadline in it was moved or settled"
    if kept.made_by(connection, message) != keys:
        return "something in it was made anew"
    return ""


def _withdraw(store: Store, taken: Taken, by: By) -> None:
    """Give up a message that does not hold any more, and forget its reminders."""
    message = taken.message
    with store.writing(by) as write:
        if not kept.give_up(write.connection, message, by.at, f"withdrawn: {taken.why}", forget=True):
            write.unchanged()
            return
        after = {"message_id": message.message_id, "why": taken.why}
        write.audit("withdraw_message", subject=message.user_id, after=after)


def _send(taken: Taken, means: Ways, at: datetime) -> Outcome:
    message, target, _ = taken
    if message.channel == "webhook" and target.webhook_url is not None and target.webhook_secret is not None:
        body = message.body.encode()
        return sending.call(target.webhook_url, target.webhook_secret, message.message_id, body, at, means.networks)
    if means.mail_server is None or target.email is None:
        return Outcome("away", "there is no mail server")
    mail = sending.write_mail(
        message.message_id, message.subject, message.body, message.created_at, means.mail_server.sender, target.email
    )
    return sending.send_mail(means.mail_server, mail, target.email)


def _outcome(future: Future[Outcome]) -> Outcome:
    """Give what became of a send; where we failed ourselves, it is tried again as well, and stops no other."""
    error = future.exception()
    return future.result() if error is None else Outcome("again", f"sending failed: {type(error).__name__}")


def _given_up(store: Store, taken: Taken, outcome: Outcome, by: By) -> None:
    """Give a message up. A webhook that says it is gone is called no more, until somebody gives it again.

    Its reminders are forgotten, unless it was refused for good by where they would go again.
    """
    message = taken.message
    with store.writing(by) as write:
        target = kept.target(write.connection, message.user_id)
        is_same = target is not None and target.changed_at == taken.target.changed_at
        forget = outcome.verdict not in ("refused", "gone") or not is_same
        if not kept.give_up(write.connection, message, by.at, outcome.detail, forget=forget):
            write.unchanged()
            return
        after = {"message_id": message.message_id, "why": outcome.detail}
        write.audit("give_up_message", subject=message.user_id, after=after)
        if outcome.verdict == "gone" and target is not None and is_same and target.webhook_gone_at is None:
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
    until = time.monotonic() + PERSISTENCE
    while True:
        try:
            return change(*args, **more)
        except StoreUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE)
