"""Reminders: what users choose, where theirs go, and which ones fall due on a day.

A deadline is reminded of once, by each channel, for each of the days before it that its user chose: on that day, or on
the first one after it on which anybody looks, up to the deadline itself. One that moves is reminded of anew. What
becomes of them then: see `outbox`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple, NotRequired, TypedDict, cast

from marshmallow import ValidationError, fields, validates_schema
from sqlalchemy import Connection

from ebill import access, sending
from ebill.dates import LAST_DAY
from ebill.deadlines import KINDS, Kind
from ebill.errors import MissingEntitlement, NotAllowed, UserNotFound
from ebill.grammar import Flag, Strict, Whole
from ebill.rulebook import RuleBook
from ebill.service.deadlines import Deadline, Found, Sought, deadlines
from ebill.service.forms import load
from ebill.standing import Standing
from ebill.store import reminders as kept
from ebill.store import users
from ebill.store.engine import Writing
from ebill.store.reminders import Channel, Choice, Key, Target
from ebill.store.users import User

LEAD_MOST: Final = 60
LEADS_MOST: Final = 5
"""Reminders of one deadline."""
SETTLED: Final[frozenset[Standing]] = frozenset({"paid", "payment_pending"})
"""Where an invoice stands of which only the posting is reminded of."""


class LeadDays(fields.List[int]):
    """Days before a deadline: 0 to 60, each once, at most five."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Whole(0, LEAD_MOST), **kwargs)
        self.metadata = {"uniqueItems": True, "maxItems": LEADS_MOST, **self.metadata}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> list[int | None]:
        if type(value) is not list or len(value) > LEADS_MOST:
            raise ValidationError(f"must be a list of at most {LEADS_MOST} numbers of days, such as [7, 1]")
        days = super()._deserialize(value, attr, data, **more)
        if len(set(days)) < len(days):
            raise ValidationError("must name each number of days once")
        return days


class Email(fields.Field[str]):
    """An address that we send mail to."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if type(value) is not str or not sending.is_email(value):
            raise ValidationError("must be a mail address such as jo.doe@example.com, in ASCII")
        return value


class WebhookUrl(fields.Field[str]):
    """Where a webhook is."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if type(value) is not str:
            raise ValidationError("must be text")
        try:
            sending.read_url(value, sending.networks())
        except ValueError as error:
            raise ValidationError(str(error)) from None
        return value


LeadDaysSchema: Final = cast(
    "type[Strict]", Strict.from_dict({kind: LeadDays() for kind in KINDS}, name="LeadDaysSchema")
)
"""Days before deadlines, by kind."""


class ReminderSchema(Strict):
    """The body of `PUT /v1/me/reminders`; of a kind that is not named there are no reminders."""

    lead_days = fields.Nested(LeadDaysSchema, required=True)
    names = Flag(load_default=False)


class TargetSchema(Strict):
    """The body of `PUT /v1/users/{user_id}/reminder-targets`: a mail address, a webhook, or both."""

    email = Email(load_default=None, allow_none=False)
    webhook_url = WebhookUrl(load_default=None, allow_none=False)

    @validates_schema
    def refuse_none(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse a target that is none."""
        if data["email"] is None and data["webhook_url"] is None:
            raise ValidationError("must have an email, a webhook_url, or both; to have neither, DELETE")


class ChosenReminders(TypedDict):
    """What a user is reminded of: so many days before deadlines of these kinds. `channels` are where it goes now."""

    lead_days: dict[Kind, list[int]]
    names: bool
    channels: list[Channel]


class ReminderTargets(TypedDict):
    """Where a user's reminders go; null is *nowhere*. A webhook that is gone answered 410, and is called no more."""

    user_id: str
    email: str | None
    webhook_url: str | None
    webhook_gone_at: datetime | None
    changed_at: datetime | None


class NewReminderTargets(ReminderTargets):
    """The same, with the secret that requests to a new webhook are signed with; it is shown this once."""

    webhook_secret: NotRequired[str]


class Reminder(NamedTuple):
    """A deadline that somebody is to be reminded of, and the days before it for which they chose that."""

    deadline: Deadline
    lead_days: int

    @property
    def key(self) -> Key:
        """What it is remembered by."""
        at = self.deadline
        return Key(at.date, at.client_id, at.account_id, at.coverage_month, at.kind, self.lead_days)


class Due(NamedTuple):
    """What falls due for a user: by channel what that has not told yet, and how many accounts lack dates."""

    reminders: dict[Channel, list[Reminder]]
    choice: Choice
    incomplete_count: int


def chosen(connection: Connection, user: User) -> ChosenReminders:
    """Answer with what the user chose to be reminded of."""
    choice = kept.choice(connection, user.user_id) or Choice({}, names=False)
    return _chosen(connection, user, choice)


def choose(write: Writing, user: User, body: Any) -> ChosenReminders:
    """Choose what to be reminded of, in place of what was chosen before."""
    data = load(ReminderSchema(), body)
    days = data["lead_days"]
    choice = Choice({kind: sorted(days[kind], reverse=True) for kind in KINDS if days.get(kind)}, data["names"])
    if choice == kept.choice(write.connection, user.user_id):
        write.unchanged()
    else:
        kept.choose(write.connection, user.user_id, choice)
        after = {"lead_days": choice.lead_days, "names": choice.names}
        write.audit("choose_reminders", subject=user.user_id, after=after)
    return _chosen(write.connection, user, choice)


def targets(connection: Connection, user_id: str) -> ReminderTargets:
    """Answer with where a user's reminders go. Raises UserNotFound."""
    _known(connection, user_id)
    return _targets(user_id, kept.target(connection, user_id) or Target())


def set_targets(write: Writing, user_id: str, body: Any) -> NewReminderTargets:
    """Say where a user's reminders go. A new webhook gets a secret, which is in this answer and nowhere else.

    The same webhook given again keeps its secret, and counts as there again. What was given up comes anew by what is
    given here, while it is still to come. Raises UserNotFound.
    """
    connection = write.connection
    data = load(TargetSchema(), body, user_id=user_id)
    _known(connection, user_id)
    before = kept.target(connection, user_id) or Target()
    url, secret, is_new = data["webhook_url"], before.webhook_secret, data["webhook_url"] != before.webhook_url
    if is_new:
        secret = None if url is None else sending.new_secret()
    new = Target(data["email"], url, secret, None, write.at)
    kept.set_target(connection, user_id, new)
    for channel in new.channels:
        kept.forget_undelivered(connection, user_id, channel)
    write.audit("set_reminder_targets", subject=user_id, before=_audited(before), after=_audited(new))
    answer = cast(NewReminderTargets, _targets(user_id, new))
    if is_new and secret is not None:
        answer["webhook_secret"] = secret
    return answer


def remove_targets(write: Writing, user_id: str) -> None:
    """Let a user's reminders go nowhere. Raises UserNotFound."""
    _known(write.connection, user_id)
    before = kept.target(write.connection, user_id)
    if before is None:
        write.unchanged()
        return
    kept.remove_target(write.connection, user_id)
    write.audit("remove_reminder_targets", subject=user_id, before=_audited(before))


def is_reminded(user: User | None) -> bool:
    """Tell whether a user may be told of deadlines at all: one who is let in, and may read clients."""
    if user is None or user.disabled_at is not None:
        return False
    try:
        access.allow(user, "read_client")
    except (NotAllowed, MissingEntitlement):
        return False
    return True


def due(connection: Connection, book: RuleBook, user_id: str, as_of: date, now: datetime) -> Due | None:
    """Find what is to be made for a user as of a day; None where they are not reminded of anything."""
    user = users.user(connection, user_id)
    choice, target = kept.choice(connection, user_id), kept.target(connection, user_id)
    if user is None or not is_reminded(user) or choice is None or target is None:
        return None
    if not choice.lead_days or not target.channels:
        return None
    most = max(max(days) for days in choice.lead_days.values())
    sought = Sought(
        as_of,
        min(as_of + timedelta(days=most), LAST_DAY),
        kinds=frozenset(cast("tuple[Kind, ...]", tuple(choice.lead_days))),
        as_of=as_of,
    )
    found = deadlines(connection, book, user, sought, now)
    fallen, new = list(_fallen_due(found, choice, as_of)), {}
    for channel in target.channels:
        made = kept.made(connection, user_id, channel, as_of)
        new[channel] = [reminder for reminder in fallen if reminder.key not in made]
    return Due(new, choice, found.incomplete_count)


def still_due(
    connection: Connection, book: RuleBook, user_id: str, of: Collection[kept.Deadline], now: datetime
) -> set[kept.Deadline]:
    """Give of some deadlines, of at most 24 months, those that a user is to be reminded of as things are now."""
    user = users.user(connection, user_id)
    if user is None or not is_reminded(user) or not of:
        return set()
    days, kinds = [day for day, *_ in of], frozenset(cast("tuple[Kind, ...]", tuple(each[-1] for each in of)))
    found = deadlines(connection, book, user, Sought(min(days), max(days), kinds), now)
    open_ones = (Reminder(deadline, 0).key.deadline for deadline in found.rows() if _is_open(deadline))
    return {deadline for deadline in open_ones if deadline in of}


def _fallen_due(found: Found, choice: Choice, as_of: date) -> Iterator[Reminder]:
    """Give the deadlines that are to be reminded of by a day, each with the nearest of the days chosen for it."""
    for deadline in found.rows():
        left = (deadline.date - as_of).days
        leads = [days for days in choice.lead_days[deadline.kind] if days >= left]
        if leads and _is_open(deadline):
            yield Reminder(deadline, min(leads))


def _is_open(deadline: Deadline) -> bool:
    return deadline.kind == "posts_by" or deadline.standing not in SETTLED


def _chosen(connection: Connection, user: User, choice: Choice) -> ChosenReminders:
    target = kept.target(connection, user.user_id) or Target()
    days = cast("Mapping[Kind, list[int]]", choice.lead_days)
    return {"lead_days": dict(days), "names": choice.names, "channels": target.channels}


def _targets(user_id: str, target: Target) -> ReminderTargets:
    return {
        "user_id": user_id,
        "email": target.email,
        "webhook_url": target.webhook_url,
        "webhook_gone_at": target.webhook_gone_at,
        "changed_at": target.changed_at,
    }


def _audited(target: Target) -> dict[str, Any]:
    """Give what of a target is written down for good: of a webhook only its host, since the path may be a secret."""
    url = target.webhook_url
    parts = None if url is None else url.split("/", 3)
    return {"email": target.email, "webhook": None if parts is None else "/".join(parts[:3])}


def _known(connection: Connection, user_id: str) -> User:
    found = users.user(connection, user_id)
    if found is None:
        raise UserNotFound
    return found
