"""Calendar feeds: whose each is, which deadlines it has, and what it has published.

Whoever knows a feed's secret reads it; the secret is given once and kept only as a hash. For each event that a feed
published the day it was given is kept, so that a date that moves or goes is told for what it is.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from ebill.store import users
from ebill.store.secret import hashed
from ebill.store.tables import TEXT, Day, Instant, _flag, _table
from ebill.store.users import User

PREFIX: Final = "ebf_"
"""What every secret begins with: another word than a token's, so that neither does for the other."""
UNUSED: Final = timedelta(days=90)
"""After how long a feed that nobody fetches is no feed any more."""
USE_NOTED: Final = timedelta(minutes=5)
"""How exactly the last fetch is known."""
SWEPT: Final = 5
"""Dead feeds of which the events are removed at once."""
_BYTES: Final = 20
_SECRET: Final = re.compile(rf"{PREFIX}([0-9a-f]{{16}})_([0-9a-f]{{{2 * _BYTES}}})")

feeds: Final = _table(
    "feed",
    Column("feed_id", TEXT, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), nullable=False, index=True),
    Column("name", TEXT, nullable=False),
    Column("kinds", TEXT),
    Column("state", TEXT),
    Column("client_id", TEXT, ForeignKey("client.client_id")),
    Column("product", TEXT),
    *_flag("names"),
    Column("days_back", Integer, nullable=False),
    Column("days_ahead", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("last_fetched_at", Instant),
)

feed_events: Final = _table(
    "feed_event",
    Column("feed_id", TEXT, ForeignKey("feed.feed_id"), nullable=False),
    Column("uid", LargeBinary, nullable=False),
    Column("day", Day, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("cancelled_at", Instant),
    Column("changed_at", Instant, nullable=False),
    PrimaryKeyConstraint("feed_id", "uid"),
)


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed, without its secret, which nobody keeps. It has the deadlines of some days before and after each day.

    Of `kinds` (None: all), of a state, a client and a product where these are given. `names` says whether clients and
    accounts are called by their names.
    """

    feed_id: str
    user_id: str
    name: str
    kinds: tuple[str, ...] | None
    state: str | None
    client_id: str | None
    product: str | None
    names: bool
    days_back: int
    days_ahead: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    last_fetched_at: datetime | None = None

    def is_over(self, at: datetime) -> bool:
        """Tell whether it is revoked, expired, or too long unused."""
        return (
            bool(self.revoked_at) or self.expires_at <= at or (self.last_fetched_at or self.created_at) <= at - UNUSED
        )


class Said(NamedTuple):
    """What a feed last said of an event: its day, how often that was changed before, and whether it is cancelled."""

    day: date
    sequence: int
    cancelled_at: datetime | None
    changed_at: datetime


def new_id() -> str:
    """Make the id of a feed."""
    return secrets.token_hex(8)


def add(connection: Connection, feed: Feed) -> str:
    """Keep a new feed, and give its secret: `ebf_`, the feed's id, `_` and 160 random bits."""
    secret = secrets.token_hex(_BYTES)
    kinds = None if feed.kinds is None else ",".join(feed.kinds)
    row = {**asdict(feed), "kinds": kinds, "names": int(feed.names), "hash": hashed(secret)}
    connection.execute(insert(feeds), row)
    return f"{PREFIX}{feed.feed_id}_{secret}"


def holder(connection: Connection, secret: str, at: datetime) -> tuple[User, Feed] | None:
    """Give the feed that has this secret, and its user; None where it is none that counts at `at`.

    Whatever is wrong with it, as much is asked of the store.
    """
    form = _SECRET.fullmatch(secret)
    feed_id, random = form.groups() if form else ("", "")
    row = connection.execute(_FEED, {"feed_id": feed_id}).first()
    is_right = secrets.compare_digest(row.hash if row else bytes(32), hashed(random))
    user = users.user(connection, row.user_id if row else "")
    if row is None or user is None or not is_right:
        return None
    feed = _feed(row)
    return None if user.disabled_at or feed.is_over(at) else (user, feed)


def feeds_of(connection: Connection, user_id: str) -> list[Feed]:
    """Give a user's feeds, oldest first."""
    query = select(feeds).where(feeds.c.user_id == user_id).order_by(feeds.c.created_at, feeds.c.feed_id)
    return [_feed(row) for row in connection.execute(query)]


def live(connection: Connection, user_id: str, at: datetime) -> int:
    """Count the feeds of a user that are not over."""
    query = select(func.count()).select_from(feeds).where(feeds.c.user_id == user_id, ~_is_over(at))
    return connection.scalar(query) or 0


def revoke(connection: Connection, feed_id: str, user_id: str | None, at: datetime) -> Feed | None:
    """Revoke a feed for good, of a user or (None) of anybody; None where it was revoked already or never was."""
    row = connection.execute(_FEED, {"feed_id": feed_id}).first()
    if row is None or row.revoked_at is not None or user_id not in (None, row.user_id):
        return None
    connection.execute(update(feeds).where(feeds.c.feed_id == feed_id).values(revoked_at=at))
    connection.execute(delete(feed_events).where(feed_events.c.feed_id == feed_id))
    return _feed(row)


def sweep(connection: Connection, at: datetime) -> None:
    """Remove what some of the feeds published that are over: nobody will ask for it."""
    dead = select(feed_events.c.feed_id).join(feeds).where(_is_over(at)).distinct().limit(SWEPT)
    found = list(connection.scalars(dead))
    connection.execute(delete(feed_events).where(feed_events.c.feed_id.in_(found)))


def use_is_due(feed: Feed, at: datetime) -> bool:
    """Tell whether a fetch is yet to be noted: see `used`."""
    return feed.last_fetched_at is None or feed.last_fetched_at <= at - USE_NOTED


def used(connection: Connection, feed_id: str, at: datetime) -> None:
    """Note that a feed is in use. What was noted later stays so."""
    is_later = or_(feeds.c.last_fetched_at.is_(None), feeds.c.last_fetched_at < at)
    connection.execute(update(feeds).where(feeds.c.feed_id == feed_id, is_later).values(last_fetched_at=at))


def published(connection: Connection, feed_id: str) -> Iterator[tuple[bytes, Said]]:
    """Give what a feed last said of each event, by uid, in the order of these; equal values are one."""
    shared: dict[Said, Said] = {}
    for uid, *of in connection.execution_options(yield_per=1000).execute(_PUBLISHED, {"feed_id": feed_id}):
        said = Said(*of)
        yield uid, shared.setdefault(said, said)


def publish(connection: Connection, feed_id: str, said: Iterable[tuple[bytes, Said]]) -> None:
    """Keep what a feed said of some events. Where more was said meanwhile, that stays."""
    rows = [{"feed_id": feed_id, "uid": uid, **of._asdict()} for uid, of in said]
    new: Any = (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(feed_events)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["feed_id", "uid"],
            set_={name: new.excluded[name] for name in Said._fields},
            where=feed_events.c.sequence < new.excluded.sequence,
        ),
        rows,
    )


def forget(connection: Connection, feed_id: str, before: date) -> None:
    """Let go of what a feed said of days that it has left behind."""
    connection.execute(delete(feed_events).where(feed_events.c.feed_id == feed_id, feed_events.c.day < before))


def _is_over(at: datetime) -> ColumnElement[bool]:
    used_at = func.coalesce(feeds.c.last_fetched_at, feeds.c.created_at)
    return or_(feeds.c.revoked_at.is_not(None), feeds.c.expires_at <= at, used_at <= at - UNUSED)


def _feed(row: Any) -> Feed:
    values = {name: getattr(row, name) for name in Feed.__slots__}
    values["kinds"] = None if row.kinds is None else tuple(row.kinds.split(","))
    values["names"] = bool(row.names)
    return Feed(**values)


_FEED: Final = select(feeds).where(feeds.c.feed_id == bindparam("feed_id"))
_PUBLISHED: Final = (
    select(*(feed_events.c[name] for name in ("uid", *Said._fields)))
    .where(feed_events.c.feed_id == bindparam("feed_id"))
    .order_by(feed_events.c.uid)
)
