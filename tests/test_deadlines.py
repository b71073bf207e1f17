"""Every deadline of everyone a user may see: which there are, in which order, and where their invoices stand."""

import csv
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import count, islice
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from ebill import access
from ebill.deadlines import KINDS, Kind
from ebill.errors import BadRequest, ClientNotFound, InvalidInput, MissingEntitlement
from ebill.render.csv import pieces
from ebill.rulebook import RuleBook
from ebill.service import deadlines, grants, payments
from ebill.service.deadlines import Deadline, Found, Sought
from ebill.standing import STANDINGS, Standing
from ebill.store import clients as kept
from ebill.store import payments as kept_payments
from ebill.store.clients import Account, Client, Entry, ExceptionEntry, RuleEntry
from ebill.store.engine import Store
from ebill.store.payments import Payment
from ebill.store.tables import clients as client_rows
from ebill.store.users import User
from tests import books, oracle
from tests.records import asked
from tests.sample import (
    AT,
    DRAWN,
    NORA,
    PAUL,
    PRODUCTS,
    ROOT,
    SID,
    STATES,
    Data,
    Known,
    Twin,
    add,
    book,
    faults,
    grant,
    populate,
    put_account,
    put_client,
    refused,
    rows,
    schedules,
    writing,
)
from tests.strategies import Case

KEY = bytes(range(32))
LONG_AGO = datetime(2020, 1, 2, tzinfo=UTC)
AUGUST = Sought(date(2026, 8, 1), date(2026, 8, 31))
OF_INVOICE = {
    "generation": "generation_date",
    "due": "due_date",
    "recommended_pay_by": "recommended_pay_by_date",
    "safe_pay_by": "safe_pay_by_date",
    "grace_end": "grace_end_date",
}
ORDER = (*OF_INVOICE, "posts_by")


@pytest.fixture
def filled(emptied_store: Store) -> Store:
    """A store with people, and ACME with the account A1, in Pennsylvania since long ago."""
    populate(emptied_store)
    put_client(emptied_store, at=LONG_AGO)
    put_account(emptied_store, at=LONG_AGO)
    return emptied_store


def find(
    store: Store, sought: Sought = AUGUST, by: User = ROOT, now: datetime = AT, rules: RuleBook | None = None
) -> Found:
    with store.reading() as connection:
        return deadlines.deadlines(connection, rules or book(), by, sought, now)


def found(store: Store, sought: Sought = AUGUST, by: User = ROOT, now: datetime = AT) -> list[Deadline]:
    return list(find(store, sought, by, now).rows())


def page(
    store: Store, cursor: str | None = None, limit: int = 50, by: User = ROOT, now: datetime = AT, **given: Any
) -> Data:
    with store.reading() as connection:
        return deadlines.page(connection, book(), by, given, limit, cursor, KEY, now)


def pages(store: Store, limit: int, **given: Any) -> Iterator[Data]:
    cursor = None
    while True:
        answer = page(store, cursor, limit, **given)
        yield answer
        cursor = answer["next_cursor"]
        if cursor is None:
            return


def pay(store: Store, paid_at: str, month: str = "2026-08", account_id: str = "A1", client_id: str = "ACME") -> None:
    with writing(store) as write:
        body = {"coverage_month": month, "paid_at": paid_at}
        payments.record(write, book(), ROOT, client_id, account_id, body)


def short(listed: list[Deadline]) -> list[tuple[str, ...]]:
    return [(str(each.date), each.kind, each.coverage_month, each.standing) for each in listed]


# What there is


def test_the_deadlines_of_a_month_are_those_of_its_invoices_soonest_first(filled: Store) -> None:
    """The worked table: 2026-08 due 08-01, pay by 08-09, safely 08-06, grace to 08-31; 2026-09 generated 08-12."""
    assert short(found(filled)) == [
        ("2026-08-01", "due", "2026-08", "in_grace"),
        ("2026-08-06", "safe_pay_by", "2026-08", "in_grace"),
        ("2026-08-09", "recommended_pay_by", "2026-08", "in_grace"),
        ("2026-08-12", "generation", "2026-09", "not_yet_invoiced"),
        ("2026-08-31", "grace_end", "2026-08", "in_grace"),
    ]
    first = found(filled)[0]
    assert first[:5] == (date(2026, 8, 1), "due", "ACME", "A1", "2026-08")
    assert first[6:] == ("Client ACME", "Account A1", "PA", None)


@pytest.mark.parametrize(
    ("first", "last", "kinds"),
    [
        (date(2026, 8, 6), date(2026, 8, 9), ["safe_pay_by", "recommended_pay_by"]),
        (date(2026, 8, 7), date(2026, 8, 8), []),
        (date(2026, 8, 6), date(2026, 8, 6), ["safe_pay_by"]),
        (date(2026, 8, 10), date(2026, 8, 12), ["generation"]),
    ],
)
def test_a_span_has_both_its_ends(filled: Store, first: date, last: date, kinds: list[str]) -> None:
    assert [each.kind for each in found(filled, Sought(first, last))] == kinds


def test_a_payment_is_a_deadline_of_its_own_and_the_standing_of_its_invoice(filled: Store) -> None:
    put_account(filled, "B", at=LONG_AGO)
    pay(filled, "2026-07-30")
    mine = [each for each in found(filled) if each.account_id == "A1"]
    assert short(mine) == [
        ("2026-08-01", "due", "2026-08", "payment_pending"),
        ("2026-08-04", "posts_by", "2026-08", "payment_pending"),
        ("2026-08-06", "safe_pay_by", "2026-08", "payment_pending"),
        ("2026-08-09", "recommended_pay_by", "2026-08", "payment_pending"),
        ("2026-08-12", "generation", "2026-09", "not_yet_invoiced"),
        ("2026-08-31", "grace_end", "2026-08", "payment_pending"),
    ]
    assert {
        each.standing for each in found(filled, replace(AUGUST, as_of=date(2026, 8, 4))) if each.account_id == "A1"
    } == {
        "paid",
        "not_yet_invoiced",
    }
    others = [each for each in found(filled) if each.account_id == "B"]
    assert {each.standing for each in others} == {"in_grace", "not_yet_invoiced"}


def test_a_late_payment_posts_whatever_month_it_is_of(filled: Store) -> None:
    pay(filled, "2026-08-03", "2025-02")
    (posting,) = found(filled, replace(AUGUST, kinds=frozenset({"posts_by"})))
    assert short([posting]) == [("2026-08-06", "posts_by", "2025-02", "payment_pending")]
    assert not found(filled, replace(AUGUST, kinds=frozenset({"posts_by"}), last=date(2026, 8, 5)))


@pytest.mark.parametrize(
    "paid_at", ["2026-07-28T23:59:59-10:00", "2026-07-31T01:00:00+14:00", "2026-07-31T00:30:00+05:00", "2026-07-29"]
)
def test_a_payment_given_in_another_zone_posts_by_its_local_day(filled: Store, paid_at: str) -> None:
    pay(filled, paid_at)
    moment = date.fromisoformat(paid_at) if len(paid_at) == 10 else datetime.fromisoformat(paid_at)
    day = oracle.posting(RULE_SET, moment)["posts_by_date"]
    for sought, times in ((Sought(day, day), 1), (Sought(day + timedelta(1), day + timedelta(9)), 0)):
        assert sum(each.kind == "posts_by" for each in found(filled, sought)) == times


RULE_SET: Data = {"posting": {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"}, "calendar": "XFED",
                  "timezone": "America/New_York"}  # fmt: skip


def test_of_one_day_deadlines_are_by_kind_then_client_account_and_month(filled: Store) -> None:
    for client_id in ("a-1", "ACME-2", "Z"):
        put_client(filled, client_id, at=LONG_AGO)
        for account_id in ("B", "A2", "a"):
            put_account(filled, account_id, client_id, at=LONG_AGO)
    add(filled, "exception", coverage_month="2026-10", due_date="2026-09-01", generation_date="2026-08-20")
    add(filled, "exception", coverage_month="2026-09", due_date="2026-09-01")
    listed = found(filled, Sought(date(2026, 8, 1), date(2026, 9, 30)))
    keys = [(e.date, ORDER.index(e.kind), e.client_id, e.account_id, e.coverage_month) for e in listed]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys) > 40
    same = [e.coverage_month for e in listed if (e.date, e.kind, e.client_id) == (date(2026, 9, 1), "due", "ACME")]
    assert same == ["2026-09", "2026-10"]
    assert KINDS == ORDER


def test_months_billed_elsewhere_have_no_deadlines(filled: Store) -> None:
    put_client(filled, "MOVED", bills_here_since="2026-09")
    put_account(filled, client_id="MOVED")
    mine = [each for each in found(filled) if each.client_id == "MOVED"]
    assert short(mine) == [("2026-08-12", "generation", "2026-09", "not_yet_invoiced")]


def test_a_standing_is_as_of_today_where_the_account_is(filled: Store) -> None:
    put_client(filled, "FAR", timezone="Pacific/Honolulu", at=LONG_AGO)
    put_account(filled, client_id="FAR", at=LONG_AGO)
    midnight = datetime(2026, 8, 12, 4, tzinfo=UTC)  # in New York; in Honolulu it is 18:00 on the 11th
    for now, here in ((midnight - timedelta(microseconds=1), "not_yet_invoiced"), (midnight, "invoiced")):
        generated = {each.client_id: each.standing for each in found(filled, now=now) if each.kind == "generation"}
        assert generated == {"ACME": here, "FAR": "not_yet_invoiced"}
    as_of = replace(AUGUST, as_of=date(2026, 8, 12))
    assert {each.standing for each in found(filled, as_of, now=midnight) if each.kind == "generation"} == {"invoiced"}


# Two thousand accounts


NOW = datetime(2026, 8, 20, 4, 30, tzinfo=UTC)
"""Half past midnight in New York; in Chicago and Honolulu it is still the 19th."""
SPAN = Sought(date(2026, 7, 20), date(2026, 9, 10))
MONTHS = ("2026-03", 9)
"""The coverage months that may have a date in that span, and some more."""
CLIENTS = 700
PAULS = ("C0001", "C0100", "C0699")


class Person(NamedTuple):
    """An account as it is known to the test: what the oracle says of it, and its payments in force, by month."""

    names: tuple[str, str, str | None]
    case: Case
    payments: dict[str, str]


@cache
def drawn() -> tuple[list[Client | Account], list[Entry], list[Payment], dict[tuple[str, str], Person]]:
    """Draw clients, accounts, what was entered for them, and payments; and what must be known of them then."""
    rng = random.Random(20)  # noqa: S311  # no secret
    records: list[Client | Account] = []
    entries: list[Entry] = []
    notices: list[Payment] = []
    people: dict[tuple[str, str], Person] = {}
    twin = Twin(cast(Store, None))
    own = [settings(rng) for _ in range(24)]
    for number in range(CLIENTS):
        client_id, name = f"C{number:04}", f"Client {number}"
        here = {"bills_here_since": f"2026-{rng.randint(5, 9):02}"} if rng.random() < 0.1 else {}
        known = Known({**rng.choice(own), "state": rng.choice(sorted(STATES)), **here})
        twin.clients[client_id] = known
        team_id = "north" if number % 3 else "south"
        records.append(Client(client_id=client_id, version=1, team_id=team_id, name=name, **as_kept(known.settings)))
        for account_id in rng.sample(("A1", "B", "Dental-2", "a"), rng.choice((2, 3, 3, 4))):
            known.accounts[account_id] = rng.choice(own) if rng.random() < 0.3 else {}
            more = as_kept(known.accounts[account_id])
            records.append(Account(client_id=client_id, account_id=account_id, version=1, kind="x",
                                   name=f"Account {account_id}", **more))  # fmt: skip
        if rng.random() < 0.3:
            entries += entered(rng, client_id, known)
        for account_id in known.accounts:
            case = twin.case(client_id, account_id, *MONTHS)
            of = known.accounts[account_id].get("state") or known.settings["state"]
            product = known.accounts[account_id].get("product") or known.settings.get("product")
            mine = list(paid(rng, client_id, account_id))
            notices += mine
            replaced = {notice.replaces for notice in mine}
            in_force = {each.coverage_month: str(each.paid_at).replace(" ", "T") for each in mine
                        if each.payment_id not in replaced and not each.withdrawn}  # fmt: skip
            people[client_id, account_id] = Person((name, of, product), case, in_force)
    return records, entries, notices, people


def settings(rng: random.Random) -> Data:
    found: Data = {
        "state": rng.choice(sorted(STATES)) if rng.random() < 0.3 else None,
        "product": rng.choice(sorted(PRODUCTS)) if rng.random() < 0.4 else None,
        "timezone": rng.choice(("America/Chicago", "Pacific/Honolulu")) if rng.random() < 0.3 else None,
        "skip_coverage_months": rng.choice([[7, 8], [9], []]) if rng.random() < 0.3 else None,
        "first_coverage_month": f"2026-{rng.randint(4, 9):02}" if rng.random() < 0.2 else None,
        "last_coverage_month": f"2026-{rng.randint(7, 10):02}" if rng.random() < 0.2 else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def as_kept(settings: Data) -> Data:
    skipped = settings.get("skip_coverage_months")
    return {**settings, "skip_coverage_months": tuple(skipped)} if skipped is not None else settings


def entered(rng: random.Random, client_id: str, known: Known) -> Iterator[Entry]:
    """Enter rules and exceptions that leave every month in order."""
    of: Data = {"client_id": client_id, "retroactive": True, "reason": "a test"}
    for whose in (None, *known.accounts):
        for kind in rng.sample(("generation", "grace", "pay_by", "posting", "calendar"), rng.choice((0, 1, 2))):
            rule, since = rng.choice(DRAWN[kind]), rng.choice(("2026-02", "2026-08"))
            known.rules.append((whose, since, kind, rule))
            text = json.dumps({kind: rule})
            yield RuleEntry(**of, account_id=whose, since=since, kind=kind, rule=text, cite="a test", assumed=False)
        for month, due in rng.sample((("2026-08", "2026-08-04"), ("2026-09", "2026-09-02")), rng.choice((0, 0, 1))):
            for gone in (False, True) if rng.random() < 0.3 else (False,):
                known.exceptions.append((whose, month, {"withdrawn": True} if gone else {"due_date": due}))
                day = None if gone else date.fromisoformat(due)
                yield ExceptionEntry(**of, account_id=whose, coverage_month=month, due_date=day, withdrawn=gone)


def paid(rng: random.Random, client_id: str, account_id: str) -> Iterator[Payment]:
    """Record payments of some months around, some of them corrected or withdrawn."""
    numbers = count()
    for month in rng.sample(("2026-05", "2026-06", "2026-07", "2026-08", "2026-09"), rng.choice((0, 0, 1, 2))):
        before = None
        for step in range(rng.choice((1, 1, 1, 2, 3))):
            clock = rng.choice(("", "", "T12:00:00", "T17:00:00", "T16:59:59.999999", "T02:30:00+00:00"))
            moment = f"{date(2026, 8, 19) - timedelta(rng.randint(0, 60))}{clock}"
            gone = step > 0 and rng.random() < 0.4
            when = kept_payments.paid_at(moment)
            payment_id = f"{client_id}-{account_id}-{next(numbers)}"
            yield Payment(payment_id=payment_id, client_id=client_id, account_id=account_id, coverage_month=month,
                          paid_at=None if gone else when, replaces=before, withdrawn=gone, recorded_by="x",
                          recorded_at=AT)  # fmt: skip
            if gone:
                break
            before = payment_id


@cache
def expected() -> list[Deadline]:
    """Give the list as the oracle has it."""
    known: dict[str, Any] = {}
    listed = []
    for (client_id, account_id), person in drawn()[3].items():
        text = repr(person.case)
        if text not in known:
            known[text] = person.case.invoices()
        for month, invoice in known[text].items():
            if invoice is not None:
                standing, posts_by = stands(person, month, invoice)
                dates = {kind: invoice[name] for kind, name in OF_INVOICE.items()} | {"posts_by": posts_by}
                name, state, product = person.names
                listed += [
                    Deadline(day, cast(Kind, kind), client_id, account_id, month, cast(Standing, standing), name,
                             f"Account {account_id}", state, product)
                    for kind, day in dates.items()
                    if day and SPAN.first <= day <= SPAN.last
                ]  # fmt: skip
    return sorted(listed, key=lambda each: each.position)


def stands(person: Person, month: str, invoice: oracle.Invoice) -> tuple[str, date | None]:
    """Say where an invoice stands now, and when its payment posts by."""
    here = NOW.astimezone(ZoneInfo(person.case.in_force("2026-08")["timezone"])).date()
    moment = person.payments.get(month)
    if moment is None:
        return oracle.standing(invoice, here), None
    paid_at: Any = kept_payments.paid_at(moment)
    paid_on = paid_at
    if isinstance(paid_at, datetime):
        zone = ZoneInfo(person.case.in_force(moment[:7])["timezone"])
        paid_on = (paid_at.astimezone(zone) if paid_at.tzinfo else paid_at).date()
    posts_by = oracle.posting(person.case.in_force(str(paid_on)[:7]), paid_at)["posts_by_date"]
    if paid_on > here:
        return oracle.standing(invoice, here), posts_by
    return ("paid" if here >= posts_by else "payment_pending"), posts_by


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def crowded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with the accounts drawn, of which Paul may see three clients'; nothing more is written to it."""
    if request.param == "sqlite":
        copy = tmp_path_factory.mktemp("crowded") / "crowded.db"
        shutil.copyfile(request.getfixturevalue("ready").removeprefix("sqlite:///"), copy)
        store = Store(f"sqlite:///{copy}")
    else:
        store = Store(request.getfixturevalue("databases").make(request.getfixturevalue("ready_postgresql")))
    populate(store)
    records, entries, notices, _ = drawn()
    with writing(store, LONG_AGO) as write:
        kept.put_many(write.connection, records, entries, "root", LONG_AGO)
        for notice in notices:
            kept_payments.add(write.connection, notice)
        for client_id in PAULS:
            grants.grant(write, ROOT, "paul", client_id)
    yield store
    store.close()


def test_what_is_drawn_has_everything_in_it() -> None:
    records, entries, notices, people = drawn()
    assert len(people) == sum(isinstance(record, Account) for record in records) > 2000
    assert len(entries) > 500
    assert len(notices) > 1500
    kinds = Counter[str](each.kind for each in expected())
    assert min(kinds[kind] for kind in ORDER) > 300
    assert {each.standing for each in expected()} == set(STANDINGS)
    assert len({repr(person.case) for person in people.values()}) > 300


def test_the_list_of_two_thousand_accounts_is_the_oracles_in_every_format_and_one_by_one(
    crowded: Store,
) -> None:
    listed = found(crowded, SPAN, now=NOW)
    assert listed == expected()
    text = "".join(pieces(Deadline._fields, listed))
    as_text = [[str(value or "") for value in each] for each in expected()]
    assert list(csv.reader(text.splitlines()))[1:] == as_text
    answers = list(pages(crowded, 10_000, now=NOW, first=SPAN.first, last=SPAN.last))
    assert [tuple(row.values()) for answer in answers for row in answer["data"]] == [tuple(each) for each in expected()]
    for answer in answers:
        assert answer["counts"]["kind"] == Counter(each.kind for each in expected())
        standings = Counter[str](each.standing for each in expected())
        assert answer["counts"]["standing"] == {standing: standings[standing] for standing in STANDINGS}
    of_account: dict[tuple[str, str], list[Deadline]] = {}
    for each in expected():
        of_account.setdefault((each.client_id, each.account_id), []).append(each)
    for number in range(0, CLIENTS, 5):
        client_id = f"C{number:04}"
        for account in schedules(crowded, client_id, None, *MONTHS, now=NOW)["bill_accounts"]:
            mine = of_account.get((client_id, account["account_id"]), [])
            shown = sorted(of_schedule(account["invoices"]))
            assert shown == sorted((e.date, e.kind, e.coverage_month, e.standing) for e in mine)


def of_schedule(invoices: list[Data]) -> Iterator[tuple[Any, ...]]:
    """Give the deadlines of an account's schedule."""
    for invoice in invoices:
        posting = invoice.get("payment", {}).get("posts_by_date")
        dates = {**{kind: invoice.get(name) for kind, name in OF_INVOICE.items()}, "posts_by": posting}
        for kind, day in dates.items():
            if day and SPAN.first <= day <= SPAN.last:
                yield day, kind, invoice["coverage_month"], invoice["standing"]


FILTERS: tuple[tuple[dict[str, Any], Callable[[Deadline], bool]], ...] = (
    ({"state": "NY"}, lambda each: each.state == "NY"),
    ({"product": "cobra"}, lambda each: each.product == "cobra"),
    ({"client_id": "C0100"}, lambda each: each.client_id == "C0100"),
    ({"kinds": frozenset({"due", "posts_by"})}, lambda each: each.kind in ("due", "posts_by")),
    ({"kinds": frozenset({"grace_end"})}, lambda each: each.kind == "grace_end"),
    ({"standing": "paid"}, lambda each: each.standing == "paid"),
    ({"standing": "in_grace"}, lambda each: each.standing == "in_grace"),
    (
        {"state": "PA", "kinds": frozenset({"safe_pay_by"}), "standing": "paid"},
        lambda each: (each.state, each.kind, each.standing) == ("PA", "safe_pay_by", "paid"),
    ),
    ({"state": "ZZ"}, lambda _: False),
    ({"first": date(2026, 8, 1), "last": date(2026, 8, 1)}, lambda each: each.date == date(2026, 8, 1)),
)


def test_a_filter_leaves_of_the_list_and_of_the_counts_what_it_says(crowded: Store) -> None:
    for given, holds in FILTERS:
        sought = replace(SPAN, **given)
        wanted = [each for each in expected() if holds(each)]
        answer = find(crowded, sought, now=NOW)
        assert list(answer.rows()) == wanted, given
        assert sum(answer.counts["kind"].values()) == sum(answer.counts["standing"].values()) == len(wanted)
        assert wanted or given["state"] == "ZZ"


def test_the_list_goes_on_after_any_of_its_deadlines(crowded: Store) -> None:
    answer, wanted = find(crowded, SPAN, now=NOW), expected()
    for place in (*range(0, len(wanted), 997), len(wanted) - 1):
        assert list(answer.rows(wanted[place].position)) == wanted[place + 1 :]
    gone = wanted[500]._replace(account_id=wanted[500].account_id + "-no-more")
    assert list(answer.rows(gone.position)) == [each for each in wanted if each.position > gone.position]
    assert list(islice(answer.rows(), 3)) == wanted[:3]


def test_each_sees_their_own_and_it_is_all_that_is_counted(crowded: Store) -> None:
    records = drawn()[0]
    teams = {each.client_id: each.team_id for each in records if isinstance(each, Client)}
    whose: tuple[tuple[User, Callable[[str], bool]], ...] = (
        (PAUL, lambda client_id: client_id in PAULS),
        (NORA, lambda client_id: teams[client_id] == "north"),
        (SID, lambda client_id: teams[client_id] == "south"),
    )
    for user, sees in whose:
        wanted = [each for each in expected() if sees(each.client_id)]
        answer = find(crowded, SPAN, user, NOW)
        assert list(answer.rows()) == wanted
        assert answer.counts["kind"] == Counter(each.kind for each in wanted)
        with crowded.reading() as connection:
            conditions = access.among(user, client_rows.c.client_id), access.visible(user)
            seen = [set(connection.scalars(select(client_rows.c.client_id).where(condition)))
                    for condition in conditions]  # fmt: skip
        assert seen[0] == seen[1] == {each for each in teams if sees(each)}


# Pages


def test_pages_are_the_list_cut_up(filled: Store) -> None:
    for account_id in ("B", "C"):
        put_account(filled, account_id, at=LONG_AGO)
    whole = [row._asdict() for row in found(filled)]
    for limit in (1, 2, 7, 200):
        answers = list(pages(filled, limit, first=AUGUST.first, last=AUGUST.last))
        assert [row for answer in answers for row in answer["data"]] == whole
        assert all(len(answer["data"]) == limit for answer in answers[:-1])
        assert {repr(answer["counts"]) for answer in answers} == {repr(find(filled).counts)}


def test_what_does_not_change_between_two_pages_is_on_one_of_them(filled: Store) -> None:
    for client_id in ("BETA", "GAMMA"):
        put_client(filled, client_id, at=LONG_AGO)
        for account_id in ("A1", "B"):
            put_account(filled, account_id, client_id, at=LONG_AGO)
        grant(filled, client_id)
    grant(filled, "ACME")
    span: Data = {"first": AUGUST.first, "last": AUGUST.last}
    before = [row for row in found(filled, by=PAUL) if row.client_id != "BETA"]
    first = page(filled, None, 7, PAUL, **span)
    put_client(filled, "AAA", at=AT)
    put_account(filled, client_id="AAA", at=AT)
    grant(filled, "AAA")
    with writing(filled) as write:
        grants.withdraw(write, ROOT, "paul", "BETA")
    put_account(filled, "LATER", "GAMMA", at=AT)
    seen = list(first["data"])
    answer = first
    while answer["next_cursor"]:
        answer = page(filled, answer["next_cursor"], 2, PAUL, **span)
        assert "BETA" not in {row["client_id"] for row in answer["data"]}
        seen += answer["data"]
    names = Counter((row["kind"], row["client_id"], row["account_id"], row["coverage_month"]) for row in seen)
    assert max(names.values()) == 1
    assert {(row.kind, row.client_id, row.account_id, row.coverage_month) for row in before} <= names.keys()
    assert ("grace_end", "GAMMA", "LATER", "2026-08") in names


def test_the_pages_of_a_list_are_all_of_the_day_of_its_first(filled: Store) -> None:
    put_account(filled, "B", at=LONG_AGO)
    late = datetime(2026, 8, 12, 3, 59, tzinfo=UTC)  # on the 11th in Pennsylvania
    first = page(filled, None, 1, now=late)
    second = page(filled, first["next_cursor"], 1, now=late + timedelta(hours=9))
    assert (first["from"], first["to"]) == (second["from"], second["to"]) == (date(2026, 8, 11), date(2026, 8, 25))
    third = page(filled, None, 1, now=late + timedelta(hours=9))
    assert (third["from"], third["to"]) == (date(2026, 8, 12), date(2026, 8, 26))
    told = [(answer["data"][0]["account_id"], answer["data"][0]["standing"]) for answer in (first, second)]
    assert told == [("A1", "not_yet_invoiced"), ("B", "not_yet_invoiced")]
    assert third["data"][0]["standing"] == "invoiced"


@pytest.mark.parametrize("change", ["user", "filter", "span", "key", "bit", "end", "text"])
def test_a_cursor_is_the_users_own_for_its_filters(filled: Store, change: str) -> None:
    grant(filled, "ACME")
    cursor = page(filled, None, 1, PAUL)["next_cursor"]
    assert page(filled, cursor, 1, PAUL)["data"]
    changes: dict[str, Data] = {"filter": {"state": "PA"}, "span": {"first": date(2026, 8, 3)}}
    given = changes.get(change, {})
    by = NORA if change == "user" else PAUL
    spoilt = {"bit": ("B" if cursor[0] != "B" else "C") + cursor[1:], "end": cursor[:-4], "text": "no cursor"}
    with filled.reading() as connection:
        key = bytes(32) if change == "key" else KEY
        with pytest.raises(BadRequest):
            deadlines.page(connection, book(), by, given, 1, spoilt.get(change, cursor), key, AT)


# What is refused, and what is not known


@pytest.mark.parametrize(
    ("first", "last", "places"),
    [
        (date(2026, 8, 2), date(2026, 8, 1), ["/to"]),
        (date(2026, 8, 1), date(2028, 8, 2), ["/to"]),
        (date(2024, 2, 29), date(2026, 3, 1), ["/to"]),
        (date(1999, 12, 31), date(2000, 1, 1), ["/from"]),
        (date(2099, 12, 31), date(2100, 1, 1), ["/to"]),
    ],
)
def test_a_span_that_is_reversed_too_long_or_unsupported_is_refused(
    filled: Store, first: date, last: date, places: list[str]
) -> None:
    refusal = refused(InvalidInput, lambda: find(filled, Sought(first, last)))
    assert list(faults(refusal)) == places


def test_a_span_of_24_months_is_taken(filled: Store) -> None:
    kinds = Counter(each.kind for each in found(filled, Sought(date(2026, 8, 1), date(2028, 8, 1))))
    assert kinds == {"due": 25, "generation": 24, "recommended_pay_by": 24, "safe_pay_by": 24, "grace_end": 25 - 1}
    assert found(filled, Sought(date(2099, 12, 1), date(2099, 12, 31)))
    assert found(filled, Sought(date(2000, 1, 1), date(2000, 1, 31)))


@pytest.mark.parametrize(
    ("state", "now", "first"),
    [
        ("PA", datetime(2026, 8, 3, 3, 59, tzinfo=UTC), date(2026, 8, 2)),
        ("PA", datetime(2026, 8, 3, 4, tzinfo=UTC), date(2026, 8, 3)),
        ("HI", datetime(2026, 8, 3, 4, tzinfo=UTC), date(2026, 8, 2)),
        ("", datetime(2026, 8, 3, 4, tzinfo=UTC), date(2026, 8, 3)),
        ("PA", datetime(2099, 12, 25, 12, tzinfo=UTC), date(2099, 12, 25)),
    ],
)
def test_a_span_begins_today_where_the_users_state_is(state: str, now: datetime, first: date) -> None:
    far = books.section("states.HI", "generation = { day_of_month = 12 }", 'timezone = "Pacific/Honolulu"')
    user = replace(ROOT, state=state)
    rules = book(far)
    assert deadlines.default_span(rules, user, None, None, now) == (
        first,
        min(first + timedelta(14), date(2099, 12, 31)),
    )
    assert deadlines.default_span(rules, user, date(2026, 1, 1), None, now) == (date(2026, 1, 1), date(2026, 1, 15))
    assert deadlines.default_span(rules, user, None, date(2100, 1, 1), now) == (first, date(2100, 1, 1))


def test_a_client_that_is_hidden_is_refused_as_one_that_never_was(filled: Store) -> None:
    put_client(filled, "HIDDEN", team_id="south")
    told = {str(refused(ClientNotFound, lambda of=each: find(filled, replace(AUGUST, client_id=of), NORA)))  # type: ignore[misc]
            for each in ("HIDDEN", "NEVER")}  # fmt: skip
    assert len(told) == 1
    assert found(filled, replace(AUGUST, client_id="ACME"), NORA)


def test_a_producer_needs_the_entitlement(filled: Store) -> None:
    refused(MissingEntitlement, lambda: find(filled, by=replace(PAUL, entitlements=frozenset())))


def test_an_account_whose_dates_cannot_be_told_is_named_and_stops_no_other(filled: Store) -> None:
    put_account(filled, "B", at=LONG_AGO)
    add(filled, "rule", "B", since="2026-01", generation={"days_before_due": 5}, retroactive=True, reason="a test")
    add(filled, "exception", "B", coverage_month="2026-09", generation_date="2026-08-30", retroactive=True)
    later = book(books.row("default", "due = { day = -10, month_offset = -1 }", since="2026-09"))
    with filled.reading() as connection:
        answer = deadlines.deadlines(connection, later, ROOT, AUGUST, AT)
    assert {each.account_id for each in answer.rows()} == {"A1"}
    (incomplete,) = answer.incomplete
    assert (incomplete.client_id, incomplete.account_id, incomplete.code) == ("ACME", "B", "dates_out_of_order")
    assert "2026-09" in incomplete.detail
    assert answer.incomplete_count == 1


def test_a_month_beyond_the_calendar_is_named_and_the_others_are_told(filled: Store) -> None:
    """The library knows Japan until 2099; the grace of 2099-12 would end on the first day of 2100, if that is open."""
    grace = 'grace = { days = 31, roll = "following" }'
    japan = book(books.row("default", 'calendar = "JP"'), books.row("default", grace))
    answer = find(filled, Sought(date(2099, 11, 1), date(2099, 12, 31)), rules=japan)
    assert {each.coverage_month for each in answer.rows()} == {"2099-10", "2099-11"}
    ((client_id, account_id, code, detail),) = answer.incomplete
    assert (client_id, account_id, code) == ("ACME", "A1", "outside_calendar")
    assert "grace_end_date of coverage month 2099-12" in detail
    assert not find(filled, Sought(date(2099, 6, 1), date(2099, 6, 30)), rules=japan).incomplete


def test_a_payment_of_which_nobody_knows_when_it_posts_is_pending(filled: Store) -> None:
    """Rules may come to know less than they did when it was recorded."""
    with writing(filled) as write:
        told: Data = {"client_id": "ACME", "account_id": "A1", "coverage_month": "2099-10", "recorded_by": "root"}
        when = date(2099, 12, 31)
        notice = Payment(**told, payment_id="late", paid_at=when, recorded_at=write.at)
        kept_payments.add(write.connection, notice)
        write.audit("test")
    japan = book(books.row("default", 'calendar = "JP"'))
    sought = Sought(date(2099, 10, 1), date(2099, 10, 31), kinds=frozenset({"due"}), as_of=when)
    answer = find(filled, sought, rules=japan)
    assert short(list(answer.rows())) == [("2099-10-01", "due", "2099-10", "payment_pending")]
    assert [each.code for each in answer.incomplete] == ["outside_calendar"]


def test_no_more_than_a_hundred_accounts_without_dates_are_named(filled: Store) -> None:
    records: list[Client | Account] = [
        Account(client_id="ACME", account_id=f"N{number}", version=1, kind="x", name="x", product="gone")
        for number in range(120)
    ]
    with writing(filled) as write:
        kept.put_many(write.connection, records, [], "root", AT)
        write.audit("test")
    answer = find(filled)
    assert (len(answer.incomplete), answer.incomplete_count) == (100, 120)
    assert {each.code for each in answer.incomplete} == {"product_not_found"}
    assert len(list(answer.rows())) == 5


def test_nothing_is_asked_of_the_store_account_by_account(crowded: Store) -> None:
    with crowded.reading() as connection, asked(crowded) as statements:
        deadlines.deadlines(connection, book(), ROOT, SPAN, NOW)
    assert len([each for each in statements if "SELECT" in each]) == 5


def test_a_list_keeps_nothing(filled: Store) -> None:
    before = rows(filled)
    page(filled)
    assert rows(filled) == before
