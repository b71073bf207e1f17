"""A calendar feed from its making to its end: what it says, to whom, and what it remembers of what it said."""

import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, NamedTuple, cast
from uuid import RFC_4122, UUID

import icalendar
import pytest
from sqlalchemy import Connection, func, select, update
from werkzeug.test import TestResponse

from ebill import demo
from ebill.errors import SettingRefused, StoreUnavailable
from ebill.service import calendars, deadlines
from ebill.service import feeds as service
from ebill.service.calendars import namespace
from ebill.service.deadlines import Begun, Deadline, Found
from ebill.settings import public_url
from ebill.store import feeds, users
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.feeds import Feed, Said
from ebill.store.tables import audit, metadata
from ebill.store.users import User
from ebill.web import create_app, signed
from ebill.web import feeds as views
from tests.records import changing
from tests.world import ACME, NEVER, UNKNOWN, ZENITH, Door, book_file, door

NOW = datetime(2031, 8, 3, 16, tzinfo=UTC)
"""When it is unless a test says otherwise: noon in New York, and after all that a store was filled with."""
TODAY = NOW.date()
DAY = timedelta(days=1)
NEW = {"If-None-Match": "*"}
ACCOUNT = f"/v1/clients/{ACME}/bill-accounts/MAIN"


ON_SQLITE = pytest.mark.parametrize("emptied_store", ["sqlite"], indirect=True)
"""For what is no matter of the database."""


@dataclass
class Clock:
    """When every request comes."""

    at: datetime = NOW

    def now(self, zone: Any) -> datetime:
        return self.at.astimezone(zone)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    for module in (signed, views):
        monkeypatch.setattr(module, "datetime", SimpleNamespace(now=stopped.now))
    return stopped


@pytest.fixture
def opened(emptied_store: Store, clock: Clock) -> Door:
    clock.at = NOW - DAY
    made = door(emptied_store)
    clock.at = NOW
    return made


class Told(NamedTuple):
    """What a calendar tells of an event."""

    day: date
    sequence: int
    status: str
    summary: str


class Made(NamedTuple):
    """A feed: its id, its path, and the answer that told of them."""

    feed_id: str
    path: str
    answer: dict[str, Any]

    @property
    def secret(self) -> str:
        return self.path.removeprefix("/v1/feeds/").removesuffix(".ics")


def post(opened: Door, actor: str = "producer", **body: Any) -> TestResponse:
    """Ask for a feed, each time another one."""
    key = f"key {len(opened.ask(actor, 'GET', '/v1/feeds').get_json().get('data', ()))} {json.dumps(body)[:200]}"
    return opened.ask(actor, "POST", "/v1/feeds", body, {"Idempotency-Key": ascii(key)[:250]})


def make(opened: Door, actor: str = "producer", **body: Any) -> Made:
    answer = post(opened, actor, **body)
    assert answer.status_code == 201, answer.get_data()
    made = answer.get_json()
    return Made(made["feed_id"], made["url"].removeprefix("http://localhost"), made)


def get(opened: Door, path: str, method: str = "GET", **headers: str) -> TestResponse:
    """Fetch a path as a calendar program does: without a token."""
    return opened.ask("nobody", method, path, headers={name.replace("_", "-"): each for name, each in headers.items()})


def told(opened: Door, made: Made) -> dict[str, Told]:
    """Fetch a feed, and give its events by uid."""
    answer = get(opened, made.path)
    assert answer.status_code == 200
    return events(answer.get_data())


def events(calendar: bytes) -> dict[str, Told]:
    """Read what these tests ask about; that all of it can be read, by others, is for the tests of the format."""
    _, *blocks = calendar.replace(b"\r\n ", b"").decode().split("BEGIN:VEVENT\r\n")
    found = {}
    for block in blocks:
        line = dict(each.split(":", 1) for each in block.splitlines())
        day = datetime.strptime(line["DTSTART;VALUE=DATE"], "%Y%m%d").replace(tzinfo=UTC).date()
        summary = line["SUMMARY"].replace("\\,", ",")
        found[line["UID"]] = Told(day, int(line["SEQUENCE"]), line["STATUS"], summary)
    assert len(found) == len(blocks)
    return found


def one(found: dict[str, Told], text: str) -> str:
    """Give the uid of the one event with a text in its summary."""
    [uid] = [uid for uid, each in found.items() if text in each.summary]
    return uid


def code(answer: TestResponse) -> str:
    found: str = answer.get_json()["code"]
    return found


def pointers(answer: TestResponse) -> list[str]:
    assert (answer.status_code, code(answer)) == (422, "invalid_input")
    return sorted(fault["pointer"] for fault in answer.get_json()["errors"])


def plain(answer: TestResponse) -> tuple[int, list[tuple[str, str]], bytes]:
    """Give an answer without what differs from one request to the next."""
    given = answer.get_json()
    given.pop("request_id")
    headers = sorted((name, value) for name, value in answer.headers if name not in ("Date", "X-Request-Id"))
    return answer.status_code, headers, json.dumps(given).encode()


def never(opened: Door) -> tuple[int, list[tuple[str, str]], bytes]:
    """Give how a feed is answered that never was."""
    return plain(get(opened, f"/v1/feeds/ebf_{'0' * 16}_{'0' * 40}.ics"))


def fix(opened: Door, month: str, account: str = ACCOUNT, **dates: Any) -> None:
    """Fix dates of a month, as a manager does."""
    body = {"coverage_month": month, "reason": "a test", **dates}
    key = {"Idempotency-Key": f"{opened.client.get('/livez').headers['X-Request-Id']}"}
    answer = opened.ask("manager", "POST", f"{account}/exceptions", body, key)
    assert answer.status_code == 201, answer.get_data()


def set_account(opened: Door, version: int, **more: Any) -> None:
    """Change the settings of Acme's main account."""
    body = {"name": "Main", "kind": "site", **more}
    answer = opened.ask("manager", "PUT", ACCOUNT, body, {"If-Match": f'"{version}"'})
    assert answer.status_code == 200, answer.get_data()


def notes(store: Store) -> dict[str, int]:
    """Count what is remembered of each feed."""
    counted = select(feeds.feed_events.c.feed_id, func.count()).group_by(feeds.feed_events.c.feed_id)
    with store.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(counted)}


# From its making to its end


def test_a_feed_is_made_fetched_and_revoked(opened: Door, clock: Clock) -> None:
    made = make(opened, kinds=["due"], name="Due dates")
    assert made.answer == {
        "feed_id": made.feed_id,
        "user_id": "pat-producer",
        "name": "Due dates",
        "kinds": ["due"],
        "state": None,
        "client_id": None,
        "product": None,
        "names": False,
        "days_back": 31,
        "days_ahead": 366,
        "created_at": "2031-08-03T16:00:00Z",
        "expires_at": "2032-09-03T16:00:00Z",
        "revoked_at": None,
        "last_fetched_at": None,
        "url": f"http://localhost{made.path}",
        "webcal_url": f"webcal://localhost{made.path}",
    }
    clock.at += timedelta(hours=1)
    answer = get(opened, made.path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert len(events(answer.get_data())) == 2 * 13
    listed = opened.ask("producer", "GET", "/v1/feeds").get_json()["data"]
    [found] = [each for each in listed if each["feed_id"] == made.feed_id]
    kept = {name: each for name, each in made.answer.items() if not name.endswith("url")}
    assert found == {**kept, "last_fetched_at": "2031-08-03T17:00:00Z"}
    assert opened.ask("producer", "DELETE", f"/v1/feeds/{made.feed_id}").status_code == 204
    assert plain(get(opened, made.path)) == never(opened)
    listed = opened.ask("producer", "GET", "/v1/feeds").get_json()["data"]
    assert [each["revoked_at"] for each in listed if each["feed_id"] == made.feed_id] == ["2031-08-03T17:00:00Z"]
    again = opened.ask("producer", "DELETE", f"/v1/feeds/{made.feed_id}")
    assert (again.status_code, code(again)) == (404, "feed_not_found")


@ON_SQLITE
def test_a_calendar_is_for_its_reader_alone_and_for_no_robot(opened: Door) -> None:
    answer = get(opened, make(opened, name='Acme"; x="y\u2019\\').path)
    assert {name: answer.headers[name] for name in ("Cache-Control", "X-Robots-Tag", "Referrer-Policy")} == {
        "Cache-Control": "private, no-cache",
        "X-Robots-Tag": "noindex",
        "Referrer-Policy": "no-referrer",
    }
    assert answer.headers["Content-Disposition"] == 'inline; filename="deadlines.ics"'
    assert int(answer.headers["Content-Length"]) == len(answer.get_data())
    gone = get(opened, f"/v1/feeds/{'0' * 40}.ics")
    assert gone.headers["Cache-Control"] == "no-store"


def test_the_secret_of_a_feed_is_kept_nowhere(opened: Door) -> None:
    made = make(opened)
    assert get(opened, made.path).status_code == 200
    random = made.secret.split("_")[2]
    assert len(random) * 4 >= 128
    with opened.store.reading() as connection:
        rows = repr([connection.execute(select(table)).all() for table in metadata.sorted_tables])
    assert made.feed_id in rows
    assert random not in rows
    assert random not in opened.ask("producer", "GET", "/v1/feeds").get_data(as_text=True)
    again = opened.ask("producer", "GET", "/v1/audit?limit=200").get_data(as_text=True)
    assert made.feed_id in again
    assert random not in again


def test_the_address_of_a_feed_that_was_made_by_an_earlier_release_is_still_its_own(opened: Door) -> None:
    """What is kept of it is, and was, the SHA-256 of its last forty digits."""
    made = make(opened)
    random = "0123456789abcdef" * 2 + "01234567"
    with opened.store.noting() as connection:
        kept = sha256(random.encode()).digest()
        connection.execute(update(feeds.feeds).where(feeds.feeds.c.feed_id == made.feed_id).values(hash=kept))
    assert get(opened, made.path).status_code == 404
    assert get(opened, f"/v1/feeds/ebf_{made.feed_id}_{random}.ics").status_code == 200


@ON_SQLITE
def test_making_and_revoking_are_audited_and_fetching_is_not(opened: Door) -> None:
    def done() -> list[Any]:
        query = select(audit.c.action, audit.c.actor, audit.c.subject, audit.c.client_id).order_by(audit.c.sequence)
        with opened.store.reading() as connection:
            return [tuple(row) for row in connection.execute(query)][before:]

    before = 0
    before = len(done())
    made = make(opened, client_id=ACME)
    told(opened, made)
    fix(opened, "2031-11", due_date="2031-11-04")
    told(opened, made)
    opened.ask("producer", "DELETE", f"/v1/feeds/{made.feed_id}")
    assert done() == [
        ("make_feed", "pat-producer", made.feed_id, ACME),
        ("add_exception", "nora-north", None, ACME),
        ("revoke_feed", "pat-producer", made.feed_id, ACME),
    ]


@ON_SQLITE
def test_a_path_of_a_feed_is_not_in_the_log(opened: Door, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(opened)
    random = made.secret.split("_")[2]
    paths = (
        made.path,
        made.path.removesuffix(".ics"),
        made.path.upper(),
        made.path.replace("/feeds/", "/feeds//"),
        made.path.replace("/v1/feeds/", "/calendars/"),
        made.path.replace("ebf_", ""),
        made.path.replace("_", "%5F"),
        f"{made.path}/x",
        f"/v1/clients/{made.secret}",
    )
    for path in paths:
        get(opened, path)
    opened.ask("producer", "DELETE", f"/v1/feeds/{made.feed_id}")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert random not in repr(lines).lower()
    logged = [line["route"] for line in lines if line["event"] == "request"]
    assert logged[-1] == "/v1/feeds/<feed_id>"
    assert logged[-1 - len(paths)] == "/v1/feeds/<secret>"


# What moves, and what goes


def test_an_event_whose_date_moves_keeps_its_uid_and_its_sequence_rises(opened: Door) -> None:
    made = make(opened, kinds=["due"])
    before = told(opened, made)
    uid = one(before, f"{ACME} / MAIN, 2031-11")
    assert before[uid] == (date(2031, 11, 1), 0, "CONFIRMED", f"Premium due: {ACME} / MAIN, 2031-11")
    for sequence, day in enumerate((4, 5, 1), 1):
        fix(opened, "2031-11", due_date=f"2031-11-0{day}")
        for _ in range(2):
            after = told(opened, made)
            assert after == {**before, uid: before[uid]._replace(day=date(2031, 11, day), sequence=sequence)}


def test_an_event_that_goes_is_cancelled_and_one_that_comes_back_is_not(opened: Door) -> None:
    made = make(opened, kinds=["due"], client_id=ACME)
    before = told(opened, made)
    uids = {uid for uid, each in before.items() if "MAIN" in each.summary and each.day > date(2031, 12, 1)}
    set_account(opened, 1, last_coverage_month="2031-12")
    for _ in range(2):
        after = told(opened, made)
        assert {uid for uid, each in after.items() if each.status == "CANCELLED"} == uids
        assert after == {
            uid: Told(each.day, 1, "CANCELLED", "Cancelled deadline") if uid in uids else each
            for uid, each in before.items()
        }
    set_account(opened, 2)
    back = told(opened, made)
    assert back == {uid: each._replace(sequence=2) if uid in uids else each for uid, each in before.items()}


def test_a_cancelled_event_is_told_for_30_days_and_remembered_after(opened: Door, clock: Clock) -> None:
    made = make(opened, kinds=["due"], client_id=ACME)
    [uid] = [uid for uid, each in told(opened, made).items() if each.summary.endswith("MAIN, 2032-01")]
    set_account(opened, 1, last_coverage_month="2031-12")
    assert told(opened, made)[uid].status == "CANCELLED"
    cancelled_at = clock.at
    clock.at = cancelled_at + 30 * DAY - timedelta(microseconds=1)
    assert told(opened, made)[uid].status == "CANCELLED"
    clock.at = cancelled_at + 30 * DAY
    assert uid not in told(opened, made)
    set_account(opened, 2)
    assert told(opened, made)[uid][1:3] == (2, "CONFIRMED")


def test_a_day_that_is_left_behind_is_left_out_and_forgotten(opened: Door, clock: Clock) -> None:
    made = make(opened, kinds=["due"], client_id=ACME, days_back=0, days_ahead=60)
    assert Counter(each.day for each in told(opened, made).values()) == {date(2031, 9, 1): 2, date(2031, 10, 1): 2}
    for at, months in (("2031-09-01T23:59", (9, 10)), ("2031-09-02T00:00", (10, 11)), ("2031-10-02T00:00", (11, 12))):
        clock.at = datetime.fromisoformat(f"{at}:00Z")
        expected = [Told(date(2031, month, 1), 0, "CONFIRMED", "") for month in months for _ in range(2)]
        assert [each._replace(summary="") for each in told(opened, made).values()] == expected
        assert notes(opened.store) == {made.feed_id: 4}


@ON_SQLITE
def test_a_date_that_moves_into_the_past_is_cancelled_where_it_was(opened: Door) -> None:
    made = make(opened, kinds=["generation"], client_id=ACME, days_back=0)
    before = told(opened, made)
    uid = one(before, "MAIN, 2031-09")
    assert before[uid].day == date(2031, 8, 12)
    fix(opened, "2031-09", generation_date="2031-08-02", retroactive=True)
    assert told(opened, made)[uid] == (date(2031, 8, 12), 1, "CANCELLED", "Cancelled deadline")


def test_what_a_withdrawn_grant_showed_is_cancelled_at_the_next_fetch_and_named_no_more(opened: Door) -> None:
    for names, body in ((True, {}), (False, {"client_id": ACME})):
        made = make(opened, kinds=["due", "grace_end"], names=names, **body)
        before = told(opened, made)
        assert len(before) == 2 * 2 * 13
        grant = f"/v1/users/pat-producer/grants/{ACME}"
        assert opened.ask("admin", "DELETE", grant).status_code == 204
        answer = get(opened, made.path)
        assert {uid: each[1:3] for uid, each in events(answer.get_data()).items()} == dict.fromkeys(
            before, (1, "CANCELLED")
        )
        assert b"acme" not in answer.get_data().lower()
        assert opened.ask("admin", "PUT", grant).status_code == 204
        assert told(opened, made) == {uid: each._replace(sequence=2) for uid, each in before.items()}


@ON_SQLITE
def test_a_feed_shows_what_was_granted_after_it_was_made(opened: Door) -> None:
    made = make(opened, "ungranted", kinds=["due"])
    assert told(opened, made) == {}
    assert opened.ask("admin", "PUT", f"/v1/users/gus-ungranted/grants/{ZENITH}").status_code == 204
    assert {each.summary.split(" / ")[0] for each in told(opened, made).values()} == {f"Premium due: {ZENITH}"}


@ON_SQLITE
def test_what_cannot_be_noted_is_told_all_the_same_and_noted_at_the_next_fetch(
    opened: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: Store) -> AbstractContextManager[Connection]:
        raise StoreUnavailable

    made = make(opened, kinds=["due"])
    told(opened, made)
    fix(opened, "2031-11", due_date="2031-11-04")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "noting", busy)
        unnoted = get(opened, made.path).get_data()
    assert get(opened, made.path).get_data() == unnoted
    assert Counter(each.sequence for each in events(unnoted).values()) == {0: 25, 1: 1}


def test_many_changes_are_noted_part_by_part(opened: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "NOTED_AT_ONCE", 10)
    made = make(opened)
    found = told(opened, made)
    assert len(found) > 100
    assert notes(opened.store) == {made.feed_id: len(found)}
    assert told(opened, made) == found


@ON_SQLITE
def test_a_calendar_that_is_full_says_so_and_cancels_nothing_that_is_beyond(
    opened: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(opened, kinds=["due"])
    before = told(opened, made)
    monkeypatch.setattr(service, "EVENTS_MOST", 8)
    found = told(opened, made)
    full = one(found, "This calendar is full")
    assert found.pop(full) == (
        date(2031, 12, 1),
        0,
        "CONFIRMED",
        "This calendar is full: later deadlines are not in it",
    )
    assert found == {uid: each for uid, each in before.items() if each.day < date(2031, 12, 1)}
    monkeypatch.setattr(service, "EVENTS_MOST", 100)
    found = told(opened, made)
    assert found.pop(full)[1:3] == (1, "CANCELLED")
    assert found == before


@ON_SQLITE
def test_a_calendar_from_which_dates_are_missing_says_so_and_cancels_nothing(
    opened: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Begun.finish

    def incomplete(begun: Begun, reading: Any, now: datetime) -> Found:
        only = replace(begun.sought, kinds=frozenset({"grace_end"}))
        found = right(replace(begun, sought=only), reading, now)
        found.incomplete_count = 1
        return found

    made = make(opened, kinds=["due", "grace_end"])
    before = told(opened, made)
    with monkeypatch.context() as patch:
        patch.setattr(Begun, "finish", incomplete)
        found = told(opened, made)
    missing = one(found, "Deadlines are missing")
    assert found.pop(missing) == (TODAY, 0, "CONFIRMED", "Deadlines are missing in this calendar")
    assert found == {uid: each for uid, each in before.items() if each.summary.startswith("Grace ends")}
    assert told(opened, made) == {**before, missing: Told(TODAY, 1, "CANCELLED", "Cancelled deadline")}


# Who may read it


@pytest.mark.parametrize(
    "end",
    [
        pytest.param({"disabled": True}, id="disabled"),
        pytest.param({"entitlements": ["renewals"]}, id="no longer entitled"),
    ],
)
def test_a_feed_of_somebody_who_may_not_see_deadlines_is_none(opened: Door, end: dict[str, Any]) -> None:
    made = make(opened)
    assert get(opened, made.path).status_code == 200
    body = {"name": "Pat", "role": "producer", "state": "PA", "entitlements": ["client_administration"]}
    for version, change in enumerate((end, {}), 1):
        changed = opened.ask("admin", "PUT", "/v1/users/pat-producer", {**body, **change}, {"If-Match": f'"{version}"'})
        assert changed.status_code == 200
        if change:
            assert plain(get(opened, made.path)) == never(opened)
            assert get(opened, made.path, "HEAD").status_code == 404
        else:
            assert get(opened, made.path).status_code == 200


@ON_SQLITE
def test_a_feed_expires_after_13_months(opened: Door, clock: Clock) -> None:
    made = make(opened)
    expires_at = datetime(2032, 9, 3, 16, tzinfo=UTC)
    while clock.at < expires_at - 60 * DAY:
        clock.at += 60 * DAY
        assert get(opened, made.path).status_code == 200
    clock.at = expires_at - timedelta(microseconds=1)
    assert get(opened, made.path).status_code == 200
    clock.at = expires_at
    assert plain(get(opened, made.path)) == never(opened)


@pytest.mark.parametrize("is_fetched", [False, True])
def test_a_feed_expires_when_it_is_not_used_for_90_days(opened: Door, clock: Clock, is_fetched: bool) -> None:
    made = make(opened)
    if is_fetched:
        clock.at += 89 * DAY
        assert get(opened, made.path).status_code == 200
    unused_at = clock.at + 90 * DAY
    clock.at = unused_at
    assert plain(get(opened, made.path)) == never(opened)
    clock.at = unused_at - timedelta(microseconds=1)
    assert get(opened, made.path).status_code == 200
    clock.at = unused_at
    assert get(opened, made.path).status_code == 200


@ON_SQLITE
def test_a_feed_that_is_made_anew_has_the_same_events_at_another_address(opened: Door) -> None:
    old = make(opened, kinds=["due"])
    before = told(opened, old)
    new = make(opened, kinds=["due"])
    assert opened.ask("producer", "DELETE", f"/v1/feeds/{old.feed_id}").status_code == 204
    assert plain(get(opened, old.path)) == never(opened)
    assert told(opened, new) == before


SPOILT: dict[str, Callable[[str, str], str]] = {
    "without .ics": lambda secret, _: secret,
    "another suffix": lambda secret, _: f"{secret}.ICS",
    "a suffix too many": lambda secret, _: f"{secret}.ics.ics",
    "a part": lambda secret, _: f"{secret[:-1]}.ics",
    "a letter more": lambda secret, _: f"{secret}0.ics",
    "another letter": lambda secret, _: f"{secret[:-1]}{'1' if secret[-1] == '0' else '0'}.ics",
    "upper case": lambda secret, _: f"{secret.upper()}.ics",
    "another's id": lambda secret, other: "_".join([*other.split("_")[:2], f"{secret.split('_')[2]}.ics"]),
    "its id alone": lambda secret, _: secret.split("_")[1],
    "a space": lambda secret, _: f"{secret}%20.ics",
    "a line": lambda secret, _: f"{secret}%0A.ics",
    "a nul": lambda secret, _: f"{secret}%00.ics",
    "other digits": lambda secret, _: f"{secret[:-1]}%D9%A3.ics",
    "a token's name": lambda secret, _: f"{secret.replace('ebf_', 'ebp_')}.ics",
    "nothing": lambda _secret, _: ".ics",
}


@ON_SQLITE
def test_whatever_is_wrong_with_an_address_the_answer_is_the_same(opened: Door) -> None:
    secret, expected = make(opened).secret, never(opened)
    for name, spoilt in SPOILT.items():
        path = f"/v1/feeds/{spoilt(secret, opened.world.feeds['quinn'])}"
        assert plain(get(opened, path)) == expected, name
        assert get(opened, path, "HEAD").status_code == 404, name


@ON_SQLITE
def test_a_token_is_no_feed_and_a_feed_no_token(opened: Door) -> None:
    token, secret = opened.world.tokens["producer"], make(opened).secret
    assert plain(get(opened, f"/v1/feeds/{token}.ics")) == never(opened)
    for path in ("/v1/me", "/v1/feeds", "/v1/deadlines"):
        assert get(opened, path, Authorization=f"Bearer {token}").status_code == 200
        for wrong in (secret, secret.replace("ebf_", "ebp_"), f"{secret}.ics"):
            assert get(opened, path, Authorization=f"Bearer {wrong}").status_code == 401
        assert get(opened, f"{path}?secret={secret}").status_code == 401


@ON_SQLITE
def test_who_asks_and_what_the_query_says_is_not_read(opened: Door) -> None:
    made = make(opened, kinds=["due"])
    expected = get(opened, made.path).get_data()
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {'x' * 5000}"}):
        for query in ("", "?", "?nocache=1&nocache=2", "?kinds=due", "?client_id=2000-ZENITH&%00"):
            assert get(opened, made.path + query, **headers).get_data() == expected


@ON_SQLITE
def test_an_address_of_a_feed_takes_no_other_method(opened: Door) -> None:
    made = make(opened)
    for method in ("POST", "PUT", "PATCH"):
        answer = get(opened, made.path, method)
        assert (answer.status_code, code(answer)) == (405, "method_not_allowed")
    assert get(opened, made.path, "DELETE").status_code == 401
    assert opened.ask("producer", "DELETE", made.path).status_code == 404
    assert get(opened, made.path).status_code == 200


def test_a_feed_is_listed_and_revoked_by_its_owner_and_revoked_by_an_administrator(opened: Door) -> None:
    made = make(opened)
    for actor in ("ungranted", "manager", "admin"):
        assert made.feed_id not in opened.ask(actor, "GET", "/v1/feeds").get_data(as_text=True)
    missing = plain(opened.ask("manager", "DELETE", f"/v1/feeds/{'0' * 16}"))
    assert missing[0] == 404
    assert plain(opened.ask("manager", "DELETE", f"/v1/feeds/{made.feed_id}")) == missing
    assert get(opened, made.path).status_code == 200
    assert opened.ask("admin", "DELETE", f"/v1/feeds/{made.feed_id}").status_code == 204
    assert get(opened, made.path).status_code == 404


# Whether it has changed


@ON_SQLITE
def test_a_reader_who_has_it_is_told_so(opened: Door, clock: Clock) -> None:
    made = make(opened, kinds=["due"])
    first = get(opened, made.path)
    tag = first.headers["ETag"]
    clock.at += timedelta(minutes=30)
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        for method in ("GET", "HEAD"):
            answer = get(opened, made.path, method, If_None_Match=known)
            assert (answer.status_code, answer.get_data(), answer.headers["ETag"]) == (304, b"", tag)
            assert answer.headers["Cache-Control"] == "private, no-cache"
    for known in ('"other"', f'"{tag[1:-2]}"'):
        assert get(opened, made.path, If_None_Match=known).get_data() == first.get_data()
    garbled = get(opened, made.path, If_None_Match=tag.strip('"'))
    assert (garbled.status_code, code(garbled)) == (400, "bad_request")
    fix(opened, "2031-11", due_date="2031-11-04")
    changed = get(opened, made.path, If_None_Match=tag)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


@ON_SQLITE
def test_a_head_is_answered_as_a_get_without_its_body(opened: Door) -> None:
    made = make(opened)
    whole, head = get(opened, made.path), get(opened, made.path, "HEAD")
    assert head.get_data() == b""
    assert [each for each in head.headers if each[0] != "X-Request-Id"] == [
        each for each in whole.headers if each[0] != "X-Request-Id"
    ]


def test_a_last_fetch_is_noted_now_and_then(opened: Door, clock: Clock) -> None:
    made = make(opened)

    def noted() -> str:
        listed = opened.ask("producer", "GET", "/v1/feeds").get_json()["data"]
        [found] = [each["last_fetched_at"] for each in listed if each["feed_id"] == made.feed_id]
        return str(found)

    for minutes, expected in ((0, "16:00"), (4, "16:00"), (1, "16:05"), (4, "16:05")):
        clock.at += timedelta(minutes=minutes)
        assert get(opened, made.path).status_code == 200
        assert noted() == f"2031-08-03T{expected}:00Z"


# What is in it


@ON_SQLITE
def test_clients_are_called_by_their_ids_unless_names_are_asked_for(opened: Door) -> None:
    by_id = get(opened, make(opened, "manager", kinds=["due"]).path).get_data(as_text=True).replace("\r\n ", "")
    by_name = get(opened, make(opened, "manager", kinds=["due"], names=True).path).get_data(as_text=True)
    assert f"SUMMARY:Premium due: {ACME} / COBRA\\, 2031-09" in by_id
    assert "Acme" not in by_id
    assert "SUMMARY:Premium due: Acme Ltd / Acme\\, 2031-09" in by_name.replace("\r\n ", "")
    assert ACME not in by_name


@ON_SQLITE
def test_a_uid_tells_nobody_what_it_names_and_each_installation_has_its_own(opened: Door) -> None:
    found = {UUID(uid) for uid in told(opened, make(opened, client_id=ACME))}
    assert {(uid.version, uid.variant) for uid in found} == {(8, RFC_4122)}
    deadline = next(crowd(1))
    assert {calendars.uid_of(namespace(key), deadline) for key in (b"one", b"other", b"one")} == {
        calendars.uid_of(namespace(b"one"), deadline),
        calendars.uid_of(namespace(b"other"), deadline),
    }
    changed: dict[str, Any] = {"client_id": ZENITH, "account_id": "B", "coverage_month": "2031-10", "kind": "grace_end"}
    others = [deadline._replace(**{name: value}) for name, value in changed.items()]
    same = deadline._replace(date=TODAY + DAY, standing="paid", client_name="B", account_name="C", state="NY")
    assert len({calendars.uid_of(namespace(b"one"), each) for each in (deadline, *others, same)}) == 5


@ON_SQLITE
def test_an_address_is_the_one_by_which_others_reach_the_service(opened: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_PUBLIC_URL", "https://ebill.example.com/dates/")
    opened.app.config["PUBLIC_URL"] = public_url()
    made = post(opened).get_json()
    secret = made["url"].removeprefix("https://ebill.example.com/dates/v1/feeds/")
    assert made["webcal_url"] == f"webcal://ebill.example.com/dates/v1/feeds/{secret}"
    for wrong in ("ebill.example.com", "ftp://a", "https://a b", "https://user@a", "https://a?b", "javascript:1"):
        monkeypatch.setenv("EBILL_PUBLIC_URL", wrong)
        with pytest.raises(SettingRefused):
            public_url()


@ON_SQLITE
def test_an_event_says_what_it_is_in_one_sentence_and_nothing_that_a_payment_would_change(opened: Door) -> None:
    made = make(opened, kinds=["grace_end", "due", "generation"], client_id=ACME)
    read = icalendar.Calendar.from_ical(get(opened, made.path).get_data())
    said = {(str(each["SUMMARY"]), str(each["DESCRIPTION"])) for each in read.events if "MAIN" in str(each["SUMMARY"])}
    assert {
        (
            f"Grace ends: {ACME} / MAIN, 2031-08",
            "This is the last day on which a payment still keeps the coverage of 2031-08.",
        ),
        (
            f"Premium due: {ACME} / MAIN, 2031-09",
            "The premium of 2031-09 is due on or before this day.",
        ),
        (
            f"Invoice generated: {ACME} / MAIN, 2031-09",
            "The invoice of 2031-09 is generated on this day.",
        ),
    } <= said
    assert {each.categories[0] for each in read.events} == {"grace_end", "due", "generation"}


def test_a_feed_has_what_it_was_asked_for_and_no_more(opened: Door) -> None:
    def summaries(**body: Any) -> set[str]:
        found = told(opened, make(opened, "admin", kinds=["due"], days_back=0, days_ahead=60, **body))
        return {each.summary.removeprefix("Premium due: ") for each in found.values()}

    both = {
        f"{client} / {account}, 2031-{month}"
        for client in (ACME, ZENITH)
        for account in ("MAIN", "COBRA")
        for month in ("09", "10")
    }
    acme = {each for each in both if ACME in each}
    assert summaries() == summaries(state="PA") == both
    assert summaries(client_id=ACME) == summaries(client_id=ACME, state="PA") == acme
    assert summaries(state="NY") == summaries(product="cobra") == set()
    set_account(opened, 1, state="NY", product="cobra", retroactive=True, reason="a test")
    assert summaries(state="NY") == summaries(product="cobra", client_id=ACME) == {e for e in acme if "MAIN" in e}
    kinds = {each.summary.partition(":")[0] for each in told(opened, make(opened)).values()}
    assert kinds == {"Invoice generated", "Premium due", "Recommended pay-by", "Safe pay-by", "Grace ends"}


REFUSED: tuple[tuple[Any, str], ...] = (
    ({"days_back": -1}, "/days_back"),
    ({"days_back": 731}, "/days_back"),
    ({"days_ahead": 731}, "/days_ahead"),
    ({"days_back": 365, "days_ahead": 366}, "/days_ahead"),
    ({"days_ahead": 700}, "/days_ahead"),
    ({"days_ahead": "30"}, "/days_ahead"),
    ({"days_ahead": True}, "/days_ahead"),
    ({"kinds": []}, "/kinds"),
    ({"kinds": "due"}, "/kinds"),
    ({"kinds": ["due", "deu"]}, "/kinds/1"),
    ({"kinds": ["due"] * 7}, "/kinds"),
    ({"names": 1}, "/names"),
    ({"names": None}, "/names"),
    ({"state": "QQ"}, "/state"),
    ({"product": "nothing"}, "/product"),
    ({"client_id": "no/client"}, "/client_id"),
    ({"name": ""}, "/name"),
    ({"name": "a\r\nATTENDEE:x"}, "/name"),
    ({"name": "a\u2028b"}, "/name"),
    ({"name": "x" * 501}, "/name"),
    ({"user_id": "ada-admin"}, "/user_id"),
    ({"expires_at": "2099-01-01"}, "/expires_at"),
    ([], ""),
    (None, ""),
)


@ON_SQLITE
def test_a_feed_that_cannot_be_meant_is_refused_where_it_cannot(opened: Door) -> None:
    for body, place in REFUSED:
        sent = json.dumps(body).encode()
        answer = opened.ask("admin", "POST", "/v1/feeds", sent, {"Idempotency-Key": "a key"})
        assert pointers(answer) == [place], body


@ON_SQLITE
def test_a_feed_may_have_24_months(opened: Door) -> None:
    made = make(opened, kinds=["due"], client_id=ACME, days_back=365, days_ahead=365)
    days = sorted({each.day for each in told(opened, made).values()})
    assert (days[0], days[-1], len(days)) == (date(2030, 9, 1), date(2032, 8, 1), 24)


@ON_SQLITE
def test_at_the_ends_of_the_supported_years_a_feed_has_what_there_is(opened: Door, clock: Clock) -> None:
    made = make(opened, kinds=["due"], client_id=ACME, days_back=0, days_ahead=730)
    later = {"last_fetched_at": datetime(2099, 11, 30, tzinfo=UTC), "expires_at": datetime(2100, 1, 1, tzinfo=UTC)}
    with opened.store.noting() as connection:
        connection.execute(update(feeds.feeds).where(feeds.feeds.c.feed_id == made.feed_id).values(later))
    clock.at = datetime(2099, 12, 1, 12, tzinfo=UTC)
    assert {each.day for each in told(opened, made).values()} == {date(2099, 12, 1)}


@ON_SQLITE
def test_a_feed_of_a_client_that_is_not_open_is_refused_as_of_one_that_never_was(opened: Door) -> None:
    hidden, missing = (plain(post(opened, client_id=client_id)) for client_id in (ZENITH, UNKNOWN))
    assert hidden == missing
    assert hidden[0] == 404


@ON_SQLITE
def test_nobody_has_more_than_20_feeds_at_a_time(opened: Door, clock: Clock) -> None:
    made = [make(opened, "ungranted", name=f"Feed {number}") for number in range(service.FEEDS_MOST - 1)]
    assert pointers(post(opened, "ungranted")) == [""]
    assert make(opened, "producer").answer["user_id"] == "pat-producer"
    assert opened.ask("ungranted", "DELETE", f"/v1/feeds/{made[0].feed_id}").status_code == 204
    assert make(opened, "ungranted").feed_id
    clock.at += 90 * DAY + timedelta(seconds=1)
    assert make(opened, "ungranted").feed_id


# What is kept of it


def test_what_was_said_meanwhile_is_not_overwritten_by_what_was_said_before(emptied_store: Store) -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    uid = bytes(range(16))
    with changing(emptied_store) as connection:
        user = User("pat", "Pat", "producer", "PA", 1, frozenset(), frozenset())
        users.add_user(connection, user, at)
        feeds.add(connection, Feed("f" * 16, "pat", "F", ("due",), None, None, None, False, 1, 1, at, NEVER))
    later = Said(date(2026, 2, 3), 2, None, at + DAY)
    said = [
        (Said(date(2026, 2, 1), 0, None, at), Said(date(2026, 2, 1), 0, None, at)),
        (later, later),
        (Said(date(2026, 2, 2), 1, at, at), later),
        (Said(date(2026, 2, 9), 2, at, at), later),
        (Said(date(2026, 2, 3), 3, at, at), Said(date(2026, 2, 3), 3, at, at)),
    ]
    for new, expected in said:
        with emptied_store.noting() as connection:
            feeds.publish(connection, "f" * 16, [(uid, new)])
        with emptied_store.reading() as connection:
            assert list(feeds.published(connection, "f" * 16)) == [(uid, expected)]


def test_what_feeds_said_that_are_over_is_removed(opened: Door, clock: Clock) -> None:
    made = [make(opened, kinds=["due"], name=f"Feed {number}") for number in range(3)]
    for each in made:
        told(opened, each)
    assert notes(opened.store) == {each.feed_id: 26 for each in made}
    opened.ask("producer", "DELETE", f"/v1/feeds/{made[0].feed_id}")
    assert set(notes(opened.store)) == {each.feed_id for each in made[1:]}
    clock.at += 89 * DAY
    told(opened, made[1])
    clock.at += DAY
    make(opened, "manager")
    assert set(notes(opened.store)) == {made[1].feed_id}


def crowd(count: int) -> Iterator[Deadline]:
    for number in range(count):
        day = TODAY + timedelta(days=number * 300 // count)
        yield Deadline(day, "due", ACME, f"A{number}", "2031-09", "invoiced", "Acme", "Account", "PA", None)


class Crowd:
    """Many deadlines, none of which is kept."""

    incomplete_count = 0

    def __init__(self, count: int) -> None:
        self.rows = partial(crowd, count)


def test_a_feed_of_many_events_keeps_some_dozen_bytes_of_each() -> None:
    feed = Feed("f" * 16, "pat", "F", None, None, None, None, False, 31, 366, NOW, NEVER)

    def fetched(count: int, *before: tuple[bytes, Said]) -> service.Changes:
        begun: Any = SimpleNamespace(finish=lambda *_: Crowd(count))
        fetch = service.Fetch(feed, begun, service.Edition(before, NOW), namespace(b"a key"), NOW)
        service.written(fetch, cast("Any", None)).body.close()
        return fetch.edition.changes

    def peak(count: int) -> int:
        tracemalloc.start()
        fetched(count)
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    fetched(100)
    assert (peak(2500) - peak(500)) / 2000 < 150
    first = fetched(1000)
    assert len(first.uids) == 1000
    assert fetched(1000, *sorted(zip(first.uids, first.said, strict=True))).uids == []


@ON_SQLITE
@pytest.mark.parametrize("path", ["/v1/deadlines", "/v1/deadlines?format=csv", "a feed"])
def test_nobody_who_changes_something_waits_while_dates_are_computed(
    opened: Door, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(opened)
    right, changes = deadlines._groups, []

    def changing(*asked: Any) -> Any:
        with opened.store.writing(By("a test", NOW)) as write:
            write.audit("change")
        changes.append(1)
        return right(*asked)

    monkeypatch.setattr(deadlines, "_groups", changing)
    answer = get(opened, made.path) if path == "a feed" else opened.ask("producer", "GET", path)
    assert (answer.status_code, changes) == (200, [1])


# As the list has it


def test_a_feed_has_the_very_deadlines_that_the_list_has(emptied_store: Store, clock: Clock) -> None:
    book = book_file().book
    demo.fill(emptied_store, book, 30, datetime.now(UTC))
    tokens = demo.fresh_tokens(emptied_store, datetime.now(UTC))
    client = create_app(book_file(), emptied_store).test_client()
    today = datetime.now(UTC).date()
    clock.at = datetime.combine(today, datetime.min.time(), UTC) + timedelta(hours=16)
    span = {"from": str(today - 20 * DAY), "to": str(today + 45 * DAY)}
    for user_id, names in ((demo.PRODUCER, True), (demo.MANAGER, False)):
        headers = {"Authorization": f"Bearer {tokens[user_id]}"}
        listed: list[Any] = []
        query: dict[str, str] = {**span, "limit": "200"}
        while query:
            page = client.get("/v1/deadlines", query_string=query, headers=headers).get_json()
            listed += page["data"]
            query = {**query, "cursor": page["next_cursor"]} if page["next_cursor"] else {}
        body = {"days_back": 20, "days_ahead": 45, "names": names}
        made = client.post("/v1/feeds", json=body, headers={**headers, "Idempotency-Key": "a key"}).get_json()
        read = icalendar.Calendar.from_ical(client.get(made["url"], buffered=True).get_data())
        found = Counter((each.DTSTART, each.DTEND, each.categories[0], str(each["SUMMARY"])) for each in read.events)
        called = ("client_name", "account_name") if names else ("client_id", "account_id")
        expected = Counter(
            (
                date.fromisoformat(each["date"]),
                date.fromisoformat(each["date"]) + DAY,
                each["kind"],
                f"{TITLES[each['kind']]}: {each[called[0]]} / {each[called[1]]}, {each['coverage_month']}",
            )
            for each in listed
        )
        assert found == expected
        uids = {str(each["UID"]): each.DTSTART for each in read.events}
        assert len(uids) == len(listed) > 100
        whole = client.get("/v1/deadlines", query_string={**span, "format": "ics"}, headers=headers, buffered=True)
        assert {uid: told.day for uid, told in events(whole.get_data()).items()} == uids


TITLES = {
    "generation": "Invoice generated",
    "due": "Premium due",
    "recommended_pay_by": "Recommended pay-by",
    "safe_pay_by": "Safe pay-by",
    "grace_end": "Grace ends",
    "posts_by": "Payment posted",
}
