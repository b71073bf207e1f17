"""What is put together from what others have drawn is what would have been drawn for this client alone."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlalchemy import Connection

from ebill.errors import Refusal, StoreUnavailable
from ebill.paid import today
from ebill.reading import read
from ebill.render.json import encode
from ebill.rulebook import RuleBook, Scope
from ebill.service import clients as asking
from ebill.service import written
from ebill.service.clients import Window
from ebill.service.invoices import QUARTER, quarter, today_ends
from ebill.store import briefs, clients, payments
from ebill.store.engine import Store
from ebill.store.payments import Payment
from tests.books import TEXT, book, edited
from tests.records import ACME, AT, account, changing, client, exception, furnish, rule

pytestmark = pytest.mark.anywhere

Kept = dict[str, list[Any]]
MONTH = np.datetime64("2026-07", "M")
NOWS = (datetime(2026, 8, 4, 3, 59, tzinfo=UTC), datetime(2026, 8, 4, 4, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC))
"""Before midnight in New York, at it, and in another UTC month than New York's."""
WINDOWS = (
    Window(None, 12),
    Window(MONTH, 12),
    Window(MONTH, 11),
    Window(MONTH + 1, 12),
    Window(MONTH, 12, date(2026, 8, 3)),
    Window(MONTH, 12, date(2026, 8, 20)),
    Window(MONTH, 3, explain=True),
    Window(np.datetime64("2099-10", "M"), 12),
    Window(np.datetime64("1999-10", "M"), 2),
)
GRACE = '{"grace":{"days":45}}'
QUOTED = 'said: "payment_id":"x" and \\"payment_id\\":\\"y\\" <b>=1</b> \u2028'
BASE: Kept = {
    "client": [{"state": "PA"}],
    "account": [{}],
    "rule": [{"rule": GRACE}, {"rule": '{"due":{"day":2}}', "kind": "due", "account_id": "main"}],
    "exception": [{"coverage_month": "2026-09", "due_date": date(2026, 9, 4)}],
    "payment": [{"coverage_month": "2026-08", "paid_at": date(2026, 7, 29)}],
}
CHANGES: dict[str, list[dict[str, Any]]] = {
    "client": [
        {"name": "Another"},
        {"state": "NY"},
        {"product": "cobra"},
        {"timezone": "Pacific/Honolulu"},
        {"first_coverage_month": "2026-09"},
        {"last_coverage_month": "2026-10"},
        {"skip_coverage_months": (8, 10)},
        {"skip_coverage_months": ()},
        {"bills_here_since": "2026-10"},
    ],
    "account": [
        {"name": QUOTED},
        {"kind": QUOTED},
        {"state": "DE"},
        {"product": "medicare_part_d"},
        {"timezone": "America/Chicago"},
        {"first_coverage_month": "2026-10"},
        {"last_coverage_month": "2026-09"},
        {"skip_coverage_months": (9,)},
    ],
    "rule": [
        {"since": "2026-10"},
        {"rule": '{"grace":{"days":46}}'},
        {"rule": '{"grace":"inherited"}'},
        {"cite": "Another letter"},
        {"assumed": True},
        {"account_id": "main"},
        {"account_id": "other"},
    ],
    "exception": [
        {"coverage_month": "2026-10"},
        {"due_date": date(2026, 9, 5)},
        {"generation_date": date(2026, 8, 9)},
        {"grace_end_date": date(2026, 10, 20)},
        {"withdrawn": True},
        {"reason": QUOTED},
        {"account_id": "main"},
        {"account_id": "other"},
    ],
    "payment": [
        {"coverage_month": "2026-09"},
        {"coverage_month": "2026-06"},
        {"paid_at": date(2026, 8, 10)},
        {"paid_at": datetime.fromisoformat("2026-07-29T18:00:00")},
        {"account_id": "other"},
    ],
}
"""What may differ between two clients: each column of each kind of row, alone."""


def variants() -> Iterator[Kept]:
    """Give clients that differ from one another in one thing each, and some that do not; and many things of a kind."""
    yield BASE
    yield BASE
    for kind, changes in CHANGES.items():
        yield {**BASE, kind: []} if kind not in ("client", "account") else BASE
        for change in changes:
            yield {**BASE, kind: [{**BASE[kind][0], **change}, *BASE[kind][1:]]}
    for kind in ("rule", "exception"):
        both = [BASE[kind][0], {**BASE[kind][0], **CHANGES[kind][1]}]
        yield {**BASE, kind: both}
        yield {**BASE, kind: both[::-1]}
    yield {**BASE, "payment": [{**BASE["payment"][0], "coverage_month": f"2026-{month:02}"} for month in (11, 8, 9)]}
    posting = {"min_business_days": 2, "max_business_days": 3, "cutoff": "02:30"}  # not a time of every day
    yield {**BASE, "rule": [{"rule": json.dumps({"posting": posting}), "kind": "posting"}]}


def keep(connection: Connection, client_id: str, kept: Kept, numbers: Iterator[int]) -> None:
    """Keep a client with two accounts; the first is the one that changes."""
    clients.put_client(connection, client(client_id, **kept["client"][0]), "x", AT)
    own: dict[str, Any] = {"client_id": client_id}
    clients.put_account(connection, account(**own, **kept["account"][0]), "x", AT)
    clients.put_account(connection, account("other", **own), "x", AT)
    clients.add_entries(connection, [rule(**{**own, **each}) for each in kept["rule"]], "x", AT)
    clients.add_entries(connection, [exception(**{**own, **each}) for each in kept["exception"]], "x", AT)
    for each in kept["payment"]:
        notice = {"account_id": "main", "payment_id": f"{next(numbers):016x}", **own, **each}
        payments.add(connection, Payment(recorded_by="x", recorded_at=AT, **notice))


def told(action: Any) -> Any:
    """Give what an action gives, or how it refuses."""
    try:
        body, until = action()
    except Refusal as refusal:
        return type(refusal), str(refusal), [*refusal.faults]
    return (body if isinstance(body, bytes) else encode(body)), until


def both(
    store: Store,
    rules: RuleBook,
    client_id: str,
    account_id: str | None,
    window: Window,
    now: datetime,
    alone: RuleBook | None = None,
) -> tuple[Any, Any]:
    """Give what is written, and what is answered by itself."""
    with store.glancing() as glance, glance.still():
        quick = told(lambda: written.schedule(glance, rules, client_id, account_id, window, now))
    with store.reading() as connection:
        return quick, told(
            lambda: asking.schedule_until(connection, alone or rules, client_id, account_id, window, now)
        )


@pytest.fixture
def crowded(store: Store) -> tuple[Store, list[str]]:
    """A store with a client of every kind."""
    furnish(store)
    numbers, ids = count(1), []
    with changing(store) as connection:
        for number, kept in enumerate(variants()):
            ids.append(f"C{number}")
            keep(connection, ids[-1], kept, numbers)
    return store, ids


def test_what_is_written_is_what_is_answered_whoever_else_was_asked_about(crowded: tuple[Store, list[str]]) -> None:
    store, ids = crowded
    rules, alone = book(TEXT), book(TEXT)
    refusals = 0
    for now in NOWS:
        for window in WINDOWS if now is NOWS[1] else WINDOWS[:1]:
            for client_id in (*ids, ids[0]):
                quick, alone_said = both(store, rules, client_id, None, window, now, alone)
                assert quick == alone_said, (client_id, window, now)
                refusals += isinstance(quick[0], type)
    assert refusals > 2 * len(ids), "some are refused, and alike"


@pytest.mark.parametrize("account_id", ["main", "other", "none"])
def test_of_one_account_it_is_the_same(crowded: tuple[Store, list[str]], account_id: str) -> None:
    store, ids = crowded
    rules = book(TEXT)
    for client_id in ids:
        quick, slow = both(store, rules, client_id, account_id, WINDOWS[1], NOWS[1])
        assert quick == slow, client_id


def test_a_client_without_accounts_has_none(store: Store) -> None:
    furnish(store)
    quick, slow = both(store, book(TEXT), "2000-ZENITH", None, WINDOWS[0], NOWS[0])
    assert quick == slow
    assert b'"bill_accounts":[]' in quick[0]


def test_accounts_that_are_alike_are_drawn_once(
    crowded: tuple[Store, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = crowded
    rules = book(TEXT)
    drawn: list[Any] = []
    own = asking.scheduled

    def draw(*each: Any) -> Any:
        drawn.append(each)
        return own(*each)

    monkeypatch.setattr(written, "scheduled", draw)
    for client_id, times in (("C0", 2), ("C1", 2), ("C0", 2)):
        both(store, rules, client_id, None, WINDOWS[1], NOWS[1])
        assert len(drawn) == times, client_id


def test_another_rule_book_draws_anew(crowded: tuple[Store, list[str]]) -> None:
    store, _ = crowded
    for text in (TEXT, edited(("days = 30", "days = 33")), TEXT):
        quick, slow = both(store, read(text.encode(), "x").book, "C5", None, WINDOWS[1], NOWS[1])
        assert quick == slow


def test_few_bytes_and_few_kinds_are_kept(crowded: tuple[Store, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    store, ids = crowded
    rules = book(TEXT)
    monkeypatch.setattr(written, "BYTES_MOST", 60_000)
    monkeypatch.setattr(written, "KINDS_MOST", 3)
    for _ in range(2):
        for client_id in ids:
            quick, slow = both(store, rules, client_id, None, WINDOWS[1], NOWS[1])
            assert quick == slow
            kept = written.drawings(rules)
            drawn = [*kept._new.values(), *kept._old.values()]
            assert sum(len(piece) for each in drawn for piece in each.pieces) < 60_000 + 20_000
            assert len(kept._kinds) <= 3


def test_what_is_asked_for_is_not_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "BYTES_MOST", 40_000)
    kept = written.Drawings(book(TEXT))
    wanted = written.Drawn((b"wanted",), ())
    kept.keep("wanted", wanted)
    for number in range(100):
        kept.keep(number, written.Drawn((b"x" * 1000,), ()))
        assert kept.find("wanted") is wanted
    assert kept.find(0) is None


def test_a_day_in_a_zone_is_that_of_every_instant_of_its_quarter_of_an_hour() -> None:
    for zone in ("America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu", "Australia/Eucla", "Pacific/Chatham"):
        text = edited(("America/New_York", zone)) if zone != "America/New_York" else TEXT
        timeline = read(text.encode(), "x").book.life(Scope("PA")).timeline
        for number in range(0, 400 * 96, 7):
            begins = datetime(2026, 1, 1, tzinfo=UTC) + number * timedelta(seconds=QUARTER)
            for now in (begins, begins + timedelta(seconds=QUARTER) - timedelta(microseconds=1)):
                assert written._day(zone, quarter(now)) == (today(timeline, now), today_ends(timeline, now))
                assert now.astimezone(ZoneInfo(zone)).date() == today(timeline, now)


def test_a_store_held_still_does_not_move(store: Store) -> None:
    furnish(store)

    def rename() -> None:
        with suppress(StoreUnavailable), changing(store) as connection:  # on SQLite a reader keeps a writer waiting
            clients.put_account(connection, replace(account(), version=2, name="Renamed"), "x", AT)

    writer = threading.Thread(target=rename)
    with store.glancing() as glance:
        with glance.still():
            before = briefs.brief(glance, ACME)
            writer.start()
            writer.join(0.3)
            assert briefs.brief(glance, ACME) == before
        writer.join()
        assert briefs.brief(glance, ACME).accounts[0][1] == "Renamed"
    assert before.accounts[0][1] == "Main"


def test_what_fails_while_a_store_is_held_still_lets_it_go(store: Store) -> None:
    furnish(store)
    for _ in range(20):  # more than there are connections
        with suppress(ZeroDivisionError), store.glancing() as glance, glance.still():
            briefs.brief(glance, ACME)
            raise ZeroDivisionError
    with changing(store) as connection:
        clients.put_account(connection, replace(account(), version=2), "x", AT)
    with store.glancing() as glance:
        assert len(briefs.brief(glance, ACME).accounts) == 1
