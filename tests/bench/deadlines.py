"""The deadlines of a producer with many clients, and their calendar feed, beside fetching the rows they are about."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from ebill import access, bookfile
from ebill.deadlines import Kind
from ebill.rulebook import RuleBook
from ebill.service import deadlines, feeds
from ebill.service.calendars import namespace
from ebill.store import many, users
from ebill.store.engine import Store
from ebill.store.feeds import Feed
from tests import crowd
from tests.bench.measuring import Ratio, in_turn
from tests.bench.serving import NOW
from tests.stores import QUICK, postgresql


def deadline_list() -> Iterator[Ratio]:
    """A producer's first page of the next 14 days, against fetching the account rows that it is about."""
    book = bookfile.load(bookfile.path()).book
    with postgresql() as server, tempfile.TemporaryDirectory(dir=QUICK) as folder:
        for name, url in (("SQLite", f"sqlite:///{folder}/ebill.db"), ("PostgreSQL", server.format("postgres"))):
            store = Store(url)
            store.upgrade()
            crowd.crowd(store)
            yield first_page(name, store, book)
            feed_of_many(name, store, book)
            store.close()


def first_page(name: str, store: Store, book: RuleBook) -> Ratio:
    """Time the first page of the deadline list on a store."""
    with store.reading() as connection:
        user = users.user(connection, "pat")
    if user is None:
        raise LookupError("pat")
    whose = many.Whose(partial(access.among, user))

    def fetch() -> int:
        with store.reading() as connection:
            return sum(map(len, many.accounts_of(connection, whose)))

    def page() -> Any:
        with store.reading() as connection:
            return deadlines.page(connection, book, user, {}, 50, None, bytes(32), NOW)

    total = sum(page()["counts"]["kind"].values())
    print(
        f"\n{name}: {fetch():,} bill accounts of {crowd.GRANTED:,} clients among {2 * crowd.CLIENTS:,}; "
        f"{total:,} deadlines in 14 days"
    )
    taken = in_turn({"account rows alone": (fetch, 1), "first page": (page, 1)}, rounds=15)
    for what in taken:
        value = taken.median(what)
        print(f"  {what:20} {value * 1e3:7.1f} ms   {value / taken.median('account rows alone'):5.2f} x")
    return taken.beside("first page", "account rows alone", f"{name}: first page / account rows alone")


def feed_of_many(name: str, store: Store, book: RuleBook) -> None:
    """Time a calendar feed of some events, and of as many as it takes, and see what memory each needs."""
    few: frozenset[Kind] = frozenset({"due"})
    for kinds in (few, None):
        with store.reading() as connection:
            user = users.user(connection, "pat")
            if user is None:
                raise LookupError("pat")
            sought = deadlines.Sought(NOW.date(), NOW.date() + timedelta(days=40), kinds)
            begun = deadlines.begin(connection, book, user, sought)
        feed = Feed("f" * 16, "pat", "All", None, None, None, None, False, 0, 40, NOW, NOW + timedelta(days=99))
        fetch = feeds.Fetch(feed, begun, feeds.Edition((), NOW), namespace(bytes(32)), NOW)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        began = time.perf_counter()
        written = feeds.written(fetch, store.reading())
        wall = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        written.body.close()
        print(
            f"  a feed of {len(fetch.edition.changes.uids):,} events on {name}: {wall:5.2f} s, "
            f"{written.size / 1e6:4.1f} MB; peak memory {peak} MB, before {before} MB"
        )
