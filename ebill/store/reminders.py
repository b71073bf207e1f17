"""Reminders: what each user chose, where theirs go, which were made, and the outbox they are sent from.

Which reminder was made is remembered by channel, so that it is made once; what is forgotten is made anew. A message is
open until it is delivered or given up; while it is open, `next_attempt_at` says from when on it may be sent. Whoever
takes it moves that on first: until then nobody else sends it, and after that it is sent again, with the same id and the
same body.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, Self, get_args

import orjson
from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from ebill.store.tables import TEXT, Day, Instant, _flag, _one_of, _table, users

Channel = Literal["email", "webhook"]
CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)
LEASE: Final = timedelta(minutes=5)
"""For how long a message is with whoever took it: far longer than to send one may take."""
KEPT: Final = timedelta(days=90)
"""For how long a message is kept that is delivered or given up."""
_BYTES: Final = 16

Deadline = tuple[date, str, str, str, str]
"""A date, its client, account and coverage month, and its kind."""

choices: Final = _table(
    "reminder_choice",
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), primary_key=True),
    Column("lead_days", TEXT, nullable=False),
    *_flag("names"),
)

targets: Final = _table(
    "reminder_target",
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), primary_key=True),
    Column("email", TEXT),
    Column("webhook_url", TEXT),
    Column("webhook_secret", TEXT),
    Column("webhook_gone_at", Instant),
    Column("changed_at", Instant, nullable=False),
    CheckConstraint("(webhook_url IS NULL) = (webhook_secret IS NULL)", name="webhook_secret"),
    CheckConstraint("email IS NOT NULL OR webhook_url IS NOT NULL", name="email"),
)

reminders: Final = _table(
    "reminder",
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), nullable=False),
    Column("channel", TEXT, nullable=False),
    Column("day", Day, nullable=False),
    Column("client_id", TEXT, nullable=False),
    Column("account_id", TEXT, nullable=False),
    Column("coverage_month", TEXT, nullable=False),
    Column("kind", TEXT, nullable=False),
    Column("lead_days", Integer, nullable=False),
    Column("message_id", TEXT, nullable=False),
    Column("made_at", Instant, nullable=False),
    _one_of("channel", *CHANNELS),
    ForeignKeyConstraint(["client_id", "account_id"], ["bill_account.client_id", "bill_account.account_id"]),
    PrimaryKeyConstraint("user_id", "channel", "day", "client_id", "account_id", "coverage_month", "kind", "lead_days"),
    Index("ix_reminder_message_id", "message_id"),
)

messages: Final = _table(
    "outbox_message",
    Column("message_id", TEXT, primary_key=True),
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), nullable=False),
    Column("channel", TEXT, nullable=False),
    Column("subject", TEXT, nullable=False),
    Column("body", TEXT, nullable=False),
    Column("reminders", TEXT, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Instant),
    Column("delivered_at", Instant),
    Column("given_up_at", Instant),
    Column("last_error", TEXT),
    _one_of("channel", *CHANNELS),
    CheckConstraint(
        "(next_attempt_at IS NULL) = (delivered_at IS NOT NULL OR given_up_at IS NOT NULL)", name="next_attempt_at"
    ),
    Index("ix_outbox_message_next_attempt_at", "next_attempt_at"),
    Index("ix_outbox_message_user_id", "user_id"),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """How many days before deadlines of which kinds a user is reminded; `names` calls clients by their names."""

    lead_days: Mapping[str, Sequence[int]]
    names: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Where a user's reminders go. `webhook_secret` signs them; a webhook that is gone wants none any more."""

    email: str | None = None
    webhook_url: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    webhook_gone_at: datetime | None = None
    changed_at: datetime | None = None

    @property
    def channels(self) -> list[Channel]:
        """By what a reminder reaches the user."""
        found: list[Channel] = ["email"] if self.email is not None else []
        return [*found, "webhook"] if self.webhook_url is not None and self.webhook_gone_at is None else found


class Key(NamedTuple):
    """What a reminder is of: a date of an invoice, and the days before it for which it was chosen."""

    day: date
    client_id: str
    account_id: str
    coverage_month: str
    kind: str
    lead_days: int

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """Read it from what a message was written from."""
        return cls(date.fromisoformat(item["date"]), *(item[name] for name in cls._fields[1:]))

    @property
    def deadline(self) -> Deadline:
        """The date, whatever the days before it."""
        return self[:-1]

    @property
    def invoice(self) -> tuple[str, str, str, str]:
        """Whose date of which kind it is, wherever that is."""
        return self[1:-1]


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the outbox. What it says never changes; `reminders` has the data that it was written from."""

    message_id: str
    user_id: str
    channel: Channel
    subject: str
    body: str
    reminders: str
    created_at: datetime
    attempts: int = 0
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None
    given_up_at: datetime | None = None
    last_error: str | None = None


class Waiting(NamedTuple):
    """A message that may be sent, and to whom."""

    message_id: str
    user_id: str
    channel: Channel


def new_id() -> str:
    """Make the id of a message."""
    return f"msg_{secrets.token_hex(_BYTES)}"


def choice(connection: Connection, user_id: str) -> Choice | None:
    """Give what a user chose, or None."""
    row = connection.execute(select(choices).where(choices.c.user_id == user_id)).first()
    return Choice(orjson.loads(row.lead_days), bool(row.names)) if row else None


def choose(connection: Connection, user_id: str, chosen: Choice) -> None:
    """Keep what a user chose, in place of what they chose before."""
    connection.execute(delete(choices).where(choices.c.user_id == user_id))
    row = {"user_id": user_id, "lead_days": orjson.dumps(chosen.lead_days).decode(), "names": int(chosen.names)}
    connection.execute(insert(choices), row)


def choosers(connection: Connection) -> list[str]:
    """Give the users who chose something and have a target, by id."""
    query = select(choices.c.user_id).where(choices.c.user_id.in_(select(targets.c.user_id)))
    return list(connection.scalars(query.order_by(choices.c.user_id)))


def target(connection: Connection, user_id: str) -> Target | None:
    """Give where a user's reminders go, or None."""
    row = connection.execute(select(targets).where(targets.c.user_id == user_id)).first()
    return Target(**{name: getattr(row, name) for name in Target.__slots__}) if row else None


def set_target(connection: Connection, user_id: str, new: Target) -> None:
    """Keep where a user's reminders go, in place of where they went before."""
    connection.execute(delete(targets).where(targets.c.user_id == user_id))
    connection.execute(insert(targets), {"user_id": user_id, **asdict(new)})


def remove_target(connection: Connection, user_id: str) -> bool:
    """Let a user's reminders go nowhere; False where they did already."""
    return connection.execute(delete(targets).where(targets.c.user_id == user_id)).rowcount == 1


def has_mail(connection: Connection) -> bool:
    """Tell whether anybody who is let in and chose something has reminders go by mail."""
    query = select(targets.c.user_id).where(targets.c.email.is_not(None)).join(choices, _same_user(choices))
    query = query.join(users, _same_user(users)).where(choices.c.lead_days != "{}", users.c.disabled_at.is_(None))
    return connection.scalar(query.limit(1)) is not None


def made(connection: Connection, user_id: str, channel: Channel, first: date) -> set[Key]:
    """Give the reminders that were made for a user by a channel, of dates from a day on."""
    query = select(*(reminders.c[name] for name in Key._fields))
    query = query.where(_of(user_id, channel), reminders.c.day >= first)
    return {Key(*row) for row in connection.execute(query)}


def made_by(connection: Connection, of: Message) -> set[Key]:
    """Give the reminders that a message was made for and that were not forgotten, or made anew, since."""
    query = select(*(reminders.c[name] for name in Key._fields)).where(reminders.c.message_id == of.message_id)
    return {Key(*row) for row in connection.execute(query)}


def remember(connection: Connection, of: Message, new: Iterable[Key]) -> None:
    """Remember reminders as made by a message."""
    about = {"user_id": of.user_id, "channel": of.channel, "message_id": of.message_id, "made_at": of.created_at}
    connection.execute(insert(reminders), [{**about, **key._asdict()} for key in new])


def forget(connection: Connection, user_id: str, channel: Channel, old: Iterable[Key]) -> None:
    """Forget reminders."""
    rows = [{f"of_{name}": value for name, value in key._asdict().items()} for key in old]
    if rows:
        named = (reminders.c[name] == bindparam(f"of_{name}") for name in Key._fields)
        connection.execute(delete(reminders).where(_of(user_id, channel), *named), rows)


def forget_undelivered(connection: Connection, user_id: str, channel: Channel) -> None:
    """Forget the reminders of a user whose messages by a channel were given up."""
    given_up = select(messages.c.message_id).where(messages.c.user_id == user_id, messages.c.given_up_at.is_not(None))
    connection.execute(delete(reminders).where(_of(user_id, channel), reminders.c.message_id.in_(given_up)))


def post(connection: Connection, new: Sequence[Message]) -> None:
    """Put messages into the outbox, to be sent from now on."""
    rows = [asdict(replace(message, next_attempt_at=message.created_at)) for message in new]
    if rows:
        connection.execute(insert(messages), rows)


def due(connection: Connection, at: datetime) -> list[Waiting]:
    """Give the messages that may be sent: those first that were tried least often, and of these the oldest."""
    query = select(messages.c.message_id, messages.c.user_id, messages.c.channel)
    query = query.where(messages.c.next_attempt_at <= at).order_by(messages.c.attempts, messages.c.created_at)
    return [Waiting(*row) for row in connection.execute(query)]


def open_to(connection: Connection, user_id: str) -> dict[str, list[Key]]:
    """Give the open messages to a user, each with the reminders in it."""
    is_open = messages.c.user_id == user_id, messages.c.next_attempt_at.is_not(None)
    rows = connection.execute(select(messages.c.message_id, messages.c.reminders).where(*is_open))
    return {message_id: [Key.of(item) for item in orjson.loads(items)] for message_id, items in rows}


def take(connection: Connection, message_id: str, at: datetime) -> Message | None:
    """Take a message, so that nobody else sends it for a while; None where it is not to be sent any more, or not yet.

    It counts as tried from here on: a sender that dies of it is found out, too.
    """
    query = update(messages).where(messages.c.message_id == message_id, messages.c.next_attempt_at <= at)
    taken = connection.execute(query.values(next_attempt_at=at + LEASE, attempts=messages.c.attempts + 1))
    return message(connection, message_id) if taken.rowcount == 1 else None


def message(connection: Connection, message_id: str) -> Message | None:
    """Give a message, or None."""
    row = connection.execute(select(messages).where(messages.c.message_id == message_id)).first()
    return Message(**{name: getattr(row, name) for name in Message.__slots__}) if row else None


def delivered(connection: Connection, sent: Message, at: datetime) -> None:
    """Note that a message was delivered, whoever took it meanwhile."""
    connection.execute(
        update(messages)
        .where(messages.c.message_id == sent.message_id)
        .values(delivered_at=at, given_up_at=None, next_attempt_at=None, last_error=None)
    )


def try_again(connection: Connection, taken: Message, at: datetime, why: str) -> None:
    """Let a message be tried again from an instant on; not where somebody else has taken it meanwhile."""
    _still(connection, taken, next_attempt_at=at, last_error=why)


def give_up(connection: Connection, taken: Message, at: datetime, why: str, *, forget: bool) -> bool:
    """Send a message no more, and let its reminders be forgotten or not.

    False, and nothing is done, where somebody else has taken it meanwhile.
    """
    is_ours = _still(connection, taken, next_attempt_at=None, given_up_at=at, last_error=why)
    if is_ours and forget:
        connection.execute(delete(reminders).where(reminders.c.message_id == taken.message_id))
    return is_ours


def sweep(connection: Connection, at: datetime) -> None:
    """Remove messages that were delivered or given up long ago. What was made is remembered without them."""
    is_over = messages.c.next_attempt_at.is_(None) & (messages.c.created_at <= at - KEPT)
    connection.execute(delete(messages).where(is_over))


def _still(connection: Connection, taken: Message, **values: Any) -> bool:
    is_ours = messages.c.next_attempt_at == taken.next_attempt_at
    query = update(messages).where(messages.c.message_id == taken.message_id, is_ours)
    return connection.execute(query.values(**values)).rowcount == 1


def _of(user_id: str, channel: Channel) -> ColumnElement[bool]:
    return and_(reminders.c.user_id == user_id, reminders.c.channel == channel)


def _same_user(table: Table) -> ColumnElement[bool]:
    return table.c.user_id == targets.c.user_id
