"""Calendar feeds: deadlines that a calendar program fetches by a secret address, again and again.

Each fetch is judged as if its user had asked just then: what they may not see any more is gone from it. A feed
remembers what it published, so that an event keeps its uid for good, its sequence rises when its date moves, and one
that goes is cancelled before it is left out.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, NamedTuple, cast

from dateutil.relativedelta import relativedelta
from marshmallow import ValidationError, fields, validate, validates_schema
from sqlalchemy import Connection

from ebill import access
from ebill.dates import FIRST_DAY, LAST_DAY
from ebill.deadlines import KINDS, Kind
from ebill.errors import (
    ClientNotFound,
    Fault,
    FeedNotFound,
    InvalidInput,
    MissingEntitlement,
    NotAllowed,
)
from ebill.grammar import Choice, Flag, Strict, Text, Whole, Word, faults
from ebill.render import ics
from ebill.render.ics import Event
from ebill.rulebook import RuleBook
from ebill.service import calendars
from ebill.service.clients import also_faulty, settings_faults
from ebill.service.deadlines import Begun, Found, Sought, begin
from ebill.service.forms import Id
from ebill.store import feeds
from ebill.store.engine import Writing
from ebill.store.feeds import Feed, Said
from ebill.store.users import User

LIFE: Final = relativedelta(months=13)
NAME: Final = "Invoice deadlines"
DAYS_MOST: Final = 730
"""Days that a feed looks back and ahead, together: 24 months."""
EVENTS_MOST: Final = 50_000
FEEDS_MOST: Final = 20
"""Feeds that a user may have at a time."""
CANCELLED_SHOWN: Final = timedelta(days=30)
"""For how long a cancelled event is told before it is left out."""
NOTED_AT_ONCE: Final = 2_000
"""Events that are noted in one transaction, so that other writers get their turn."""
_IN_MEMORY: Final = 262_144
"""Bytes of a calendar beyond which it is written to disk until it is sent."""


class FeedSchema(Strict):
    """The body of `POST /v1/feeds`: which deadlines, of which days around each day."""

    name = Text(load_default=NAME)
    kinds = fields.List(Choice(*KINDS), validate=validate.Length(min=1, max=len(KINDS)))
    state = Word()
    client_id = Id()
    product = Word()
    names = Flag(load_default=False)
    days_back = Whole(0, DAYS_MOST, load_default=31)
    days_ahead = Whole(0, DAYS_MOST, load_default=366)

    @validates_schema
    def refuse_beyond(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse more days than are taken."""
        if data["days_back"] + data["days_ahead"] > DAYS_MOST:
            raise ValidationError({"days_ahead": [f"must come to at most {DAYS_MOST} together with days_back"]})


class Changes(NamedTuple):
    """What is said of events for the first time, or otherwise than before: the same place in both lists."""

    uids: list[bytes]
    said: list[Said]


@dataclass(frozen=True, slots=True)
class Fetch:
    """A feed that is being fetched: its deadlines are begun, or None where nothing is open.

    What it says anew is in `edition.changes` once it is written, and is then to be noted: see `parts`.
    """

    feed: Feed
    begun: Begun | None
    edition: Edition
    namespace: bytes
    now: datetime


class Written(NamedTuple):
    """A calendar in a file, which whoever sends it closes; its size, and the tag of what is in it."""

    body: IO[bytes]
    size: int
    tag: str


def make_feed(write: Writing, book: RuleBook, user: User, body: Any) -> tuple[dict[str, Any], str]:
    """Make a feed; answers with it and with its secret, which is in this answer and nowhere else, ever.

    Raises ClientNotFound where it is of a client that the user may not see, and InvalidInput.
    """
    connection = write.connection
    with also_faulty(lambda: list(settings_faults(book, body if isinstance(body, Mapping) else {}))):
        data = _load(body)
    if "client_id" in data:
        access.see(connection, user, data["client_id"])
    if feeds.live(connection, user.user_id, write.at) >= FEEDS_MOST:
        raise InvalidInput([Fault("", f"you have {FEEDS_MOST} feeds already; revoke one first")])
    kinds = data.get("kinds")
    feed = Feed(
        feed_id=feeds.new_id(),
        user_id=user.user_id,
        name=data["name"],
        kinds=None if kinds is None else tuple(dict.fromkeys(kinds)),
        state=data.get("state"),
        client_id=data.get("client_id"),
        product=data.get("product"),
        names=data["names"],
        days_back=data["days_back"],
        days_ahead=data["days_ahead"],
        created_at=write.at,
        expires_at=write.at + LIFE,
    )
    feeds.sweep(connection, write.at)
    secret = feeds.add(connection, feed)
    answer = feed_as_data(feed)
    write.audit("make_feed", client_id=feed.client_id, subject=feed.feed_id, after=answer)
    return answer, secret


def list_feeds(connection: Connection, user: User) -> dict[str, Any]:
    """Answer with the user's feeds, without their secrets."""
    return {"data": [feed_as_data(feed) for feed in feeds.feeds_of(connection, user.user_id)]}


def revoke_feed(write: Writing, user: User, feed_id: str) -> None:
    """Revoke a feed of the user's own, or anybody's for an administrator, from this instant on."""
    whose = None if user.role == "admin" else user.user_id
    feed = feeds.revoke(write.connection, feed_id, whose, write.at)
    if feed is None:
        raise FeedNotFound
    write.audit("revoke_feed", client_id=feed.client_id, subject=feed_id)


def fetch(connection: Connection, book: RuleBook, secret: str, key: bytes, now: datetime) -> Fetch:
    """Begin to fetch a feed: read of the store what it takes.

    Raises FeedNotFound for whatever is no feed, or none any more, or one of a user who may not see deadlines. `key` is
    the installation's, of which the uids are made.
    """
    held = feeds.holder(connection, secret, now)
    if held is None:
        raise FeedNotFound
    user, feed = held
    try:
        access.allow(user, "read_client")
    except (NotAllowed, MissingEntitlement):
        raise FeedNotFound from None
    begun = _begun(connection, book, user, feed, now)
    edition = Edition(feeds.published(connection, feed.feed_id), now)
    return Fetch(feed, begun, edition, calendars.namespace(key), now)


def written(fetch: Fetch, reading: AbstractContextManager[Connection]) -> Written:
    """Write the calendar of a feed as it is now: the same on the same day, unless something in it changes."""
    found = fetch.begun.finish(reading, fetch.now) if fetch.begun else None
    stamp = datetime.combine(fetch.now.astimezone(UTC), time(), UTC)
    with ExitStack() as stack:
        file = stack.enter_context(SpooledTemporaryFile(_IN_MEMORY))
        hashed = hashlib.sha256()
        for piece in ics.calendar(_events(fetch, found), fetch.feed.name, stamp):
            hashed.update(piece)
            file.write(piece)
        size = file.tell()
        file.seek(0)
        stack.pop_all()
        return Written(cast("IO[bytes]", file), size, hashed.hexdigest()[:32])


def parts(fetch: Fetch) -> Iterator[slice]:
    """Give which changes are to be noted together, each part in a transaction of its own; none where nothing is."""
    count = len(fetch.edition.changes.uids)
    if count or feeds.use_is_due(fetch.feed, fetch.now):
        for start in range(0, count or 1, NOTED_AT_ONCE):
            yield slice(start, start + NOTED_AT_ONCE)


def note(connection: Connection, fetch: Fetch, part: slice) -> None:
    """Note a part of what a feed said anew, and that it was fetched. That is no change that anybody made."""
    feed_id, changes = fetch.feed.feed_id, fetch.edition.changes
    said = list(zip(changes.uids[part], changes.said[part], strict=True))
    if said:
        feeds.publish(connection, feed_id, said)
    first, _ = _span(fetch.feed, fetch.now)
    if fetch.edition.has_before(first):
        feeds.forget(connection, feed_id, first)
    feeds.used(connection, feed_id, fetch.now)


def feed_as_data(feed: Feed) -> dict[str, Any]:
    """Give a feed as an answer, without its secret."""
    return {name: getattr(feed, name) for name in Feed.__slots__}


class Edition:
    """What a feed says this time, next to what it said before: some dozen bytes an event, however many there are."""

    def __init__(self, before: Iterable[tuple[bytes, Said]], now: datetime) -> None:
        self._uids: list[bytes] = []
        self._before: list[Said | None] = []  # None once it is said again
        for uid, said in before:
            self._uids.append(uid)
            self._before.append(said)
        self._now = now
        self._shared: dict[Said, Said] = {}
        self.changes = Changes([], [])

    def say(self, uid: bytes, day: date) -> Said:
        """Say that an event is on a day."""
        at = bisect_left(self._uids, uid)
        before = None
        if at < len(self._uids) and self._uids[at] == uid:
            uid, before = self._uids[at], self._before[at]
            self._before[at] = None
        if before and before.day == day and before.cancelled_at is None:
            return before
        return self._change(uid, Said(day, before.sequence + 1 if before else 0, None, self._now))

    def gone(self, first: date, last: date) -> Iterator[tuple[bytes, Said]]:
        """Say of what was said before, of days from .. to, and was not said again, that it is cancelled; for a time."""
        for uid, before in zip(self._uids, self._before, strict=True):
            if before is None or not first <= before.day <= last:
                continue
            if before.cancelled_at is None:
                yield uid, self._change(uid, Said(before.day, before.sequence + 1, self._now, self._now))
            elif before.cancelled_at > self._now - CANCELLED_SHOWN:
                yield uid, before

    def has_before(self, first: date) -> bool:
        """Tell whether something that was not said again is of a day before the first."""
        return any(before is not None and before.day < first for before in self._before)

    def _change(self, uid: bytes, said: Said) -> Said:
        said = self._shared.setdefault(said, said)
        self.changes.uids.append(uid)
        self.changes.said.append(said)
        return said


def _events(fetch: Fetch, found: Found | None) -> Iterator[Event]:
    """Give the events of a feed: its deadlines, and what it said before and says no more."""
    feed, edition, namespace = fetch.feed, fetch.edition, fetch.namespace
    first, last = _span(feed, fetch.now)

    def told(what: str, day: date, texts: tuple[str, str, str]) -> Event:
        uid = calendars.uid(namespace, feed.feed_id, what)
        return _event(uid, texts, edition.say(uid, day))

    if found is not None:
        for count, deadline in enumerate(found.rows()):
            if count == EVENTS_MOST:
                last = deadline.date - timedelta(days=1)
                yield told("full", deadline.date, _FULL)
                break
            uid = calendars.uid_of(namespace, deadline)
            said = edition.say(uid, deadline.date)
            yield calendars.event(deadline, uid, said.sequence, said.changed_at, names=feed.names, standing=False)
        if found.incomplete_count:
            yield told("incomplete", fetch.now.astimezone(UTC).date(), _INCOMPLETE)
            return  # what is missing may be what these accounts have
    for gone, said in edition.gone(first, last):
        yield _event(gone, _CANCELLED, said)


_FULL: Final = (
    "This calendar is full: later deadlines are not in it",
    f"It takes {EVENTS_MOST:,} deadlines. Make feeds of fewer: by client, by state, by kind, or of fewer days.",
    "full",
)
_INCOMPLETE: Final = (
    "Deadlines are missing in this calendar",
    "The dates of some bill accounts cannot be told. Which ones, and why: GET /v1/deadlines, at incomplete.",
    "incomplete",
)
_CANCELLED: Final = ("Cancelled deadline", "This deadline is gone, or is not open to you any more.", "cancelled")
"""Summary, description and category of what is no deadline. What a deadline was that is gone, is not told again."""


def _event(uid: bytes, texts: tuple[str, str, str], said: Said) -> Event:
    return Event(calendars.uuid(uid), said.day, *texts, said.sequence, said.cancelled_at is not None, said.changed_at)


def _span(feed: Feed, now: datetime) -> tuple[date, date]:
    """Give the first and the last day of a feed."""
    today = now.astimezone(UTC).date()
    return max(today - timedelta(days=feed.days_back), FIRST_DAY), min(
        today + timedelta(days=feed.days_ahead), LAST_DAY
    )


def _begun(connection: Connection, book: RuleBook, user: User, feed: Feed, now: datetime) -> Begun | None:
    """Begin to find the deadlines of a feed as its user may see them; None where its client is not open to them."""
    first, last = _span(feed, now)
    sought = Sought(
        first,
        last,
        kinds=None if feed.kinds is None else frozenset(cast("tuple[Kind, ...]", feed.kinds)),
        state=feed.state,
        client_id=feed.client_id,
        product=feed.product,
    )
    try:
        return begin(connection, book, user, sought)
    except ClientNotFound:
        return None


def _load(body: Any) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", FeedSchema().load(body))
    except ValidationError as error:
        raise InvalidInput(faults(error.messages)) from None
