"""Payments are told of, not made: what may be recorded, what stays of it, and where it makes an invoice stand."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from ebill import access
from ebill.errors import (
    AccountNotFound,
    BilledElsewhere,
    ClientNotFound,
    InvalidInput,
    MissingEntitlement,
    NotBilled,
    NotPaidYet,
    PaidBeforeInvoice,
    PaymentNotInForce,
    PaymentOutsideCalendar,
    PaymentRecorded,
    Refusal,
    TermsNotAccepted,
)
from ebill.rulebook import RuleBook
from ebill.service import grants, payments
from ebill.store import payments as kept
from ebill.store.engine import Store
from ebill.store.tables import audit, metadata
from ebill.store.users import User
from tests import books, oracle
from tests.sample import (
    AT,
    HOUSE,
    NORA,
    PAUL,
    ROOT,
    SID,
    STATES,
    Data,
    book,
    faults,
    keep_book,
    populate,
    put_account,
    put_client,
    refused,
    rows,
    schedules,
    writing,
)

TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
PAYER = replace(PAUL, terms_accepted_at=AT)
AUGUST: Data = {"coverage_month": "2026-08", "paid_at": "2026-07-30"}
"""In Pennsylvania generated 2026-07-12, due 2026-08-01, its grace ends 2026-08-31; the next one is of 2026-08-12."""


@pytest.fixture
def filled(emptied_store: Store) -> Store:
    """A store with people, a book of 2020, and since then ACME with the accounts A1 and B, which Paul may see."""
    long_ago = datetime(2020, 1, 2, tzinfo=UTC)
    populate(emptied_store)
    keep_book(emptied_store, book(), long_ago)
    put_client(emptied_store, at=long_ago + HOUR)
    put_account(emptied_store, at=long_ago + HOUR)
    put_account(emptied_store, "B", at=long_ago + HOUR)
    with writing(emptied_store, long_ago + HOUR) as write:
        grants.grant(write, ROOT, "paul", "ACME")
    return emptied_store


def record(store: Store, body: Any, at: datetime = AT, by: User = ROOT, account_id: str = "A1", **more: Any) -> Data:
    with writing(store, at, by.user_id) as write:
        return payments.record(write, book(), by, more.pop("client_id", "ACME"), account_id, {**body, **more})


def listed(store: Store, account_id: str = "A1", by: User = ROOT, client_id: str = "ACME") -> list[Data]:
    with store.reading() as connection:
        found: list[Data] = payments.recorded(connection, by, client_id, account_id)["data"]
    return found


def preview(
    store: Store, body: Any, now: datetime = AT, by: User = ROOT, account_id: str = "A1", rules: RuleBook | None = None
) -> Data:
    with store.reading() as connection:
        return payments.preview(connection, rules or book(), by, "ACME", account_id, body, now)


def invoice(store: Store, month: str = "2026-08", account_id: str = "A1", **how: Any) -> Data:
    (account,) = schedules(store, "ACME", account_id, month, 1, **how)["bill_accounts"]
    (found,) = account["invoices"]
    return dict(found)


def standings(store: Store, days: list[date], month: str = "2026-08") -> list[str]:
    return [invoice(store, month, as_of=day)["standing"] for day in days]


def days(first: str, count: int) -> list[date]:
    return [date.fromisoformat(first) + timedelta(n) for n in range(count)]


# What is kept


@pytest.mark.parametrize(
    ("paid_at", "read"),
    [
        ("2026-07-30", date(2026, 7, 30)),
        ("2026-07-30T16:00", datetime.fromisoformat("2026-07-30T16:00")),
        ("2026-07-30T16:59:59.999999", datetime.fromisoformat("2026-07-30T16:59:59.999999")),
        ("2026-07-30T20:00:00Z", datetime(2026, 7, 30, 20, tzinfo=UTC)),
        ("2026-07-30T10:00-06:00", datetime.fromisoformat("2026-07-30T10:00-06:00")),
    ],
)
def test_a_payment_is_kept_as_it_was_given(filled: Store, paid_at: str, read: date) -> None:
    said = record(filled, AUGUST, by=PAYER, paid_at=paid_at)
    (found,) = listed(filled)
    assert found == said["payment"] == {
        "payment_id": found["payment_id"], "coverage_month": "2026-08", "paid_at": read, "replaces": None,
        "withdrawn": False, "reason": None, "recorded_by": "paul", "recorded_at": AT, "in_force": True,
    }  # fmt: skip
    assert str(found["paid_at"]) == str(read)
    assert "no money moves here" in said["notice"]
    assert listed(filled, "B") == []


def test_what_a_payment_means_is_said_with_it(filled: Store) -> None:
    said = record(filled, AUGUST, by=PAYER)  # a Thursday
    assert said["meaning"] == {
        "coverage_month": "2026-08",
        "paid_at": date(2026, 7, 30),
        "received_date": date(2026, 7, 30),
        "posts_from_date": date(2026, 8, 3),
        "posts_by_date": date(2026, 8, 4),
        "calendar": "XFED",
        "timeliness": "on_time",
        "reflected_on_next_invoice": "yes",
    }
    assert (said["as_of"], said["standing"]) == (date(2026, 8, 3), "payment_pending")


def test_a_correction_and_a_withdrawal_stay_beside_what_they_replace(filled: Store) -> None:
    first = record(filled, AUGUST, AT)["payment"]["payment_id"]
    second = record(filled, AUGUST, AT + HOUR, paid_at="2026-07-31", replaces=first)["payment"]["payment_id"]
    assert [(each["payment_id"], each["in_force"]) for each in listed(filled)] == [(first, False), (second, True)]
    gone = {"coverage_month": "2026-08", "replaces": second, "withdrawn": True, "reason": "It bounced"}
    said = record(filled, gone, AT + 2 * HOUR)
    assert (said["meaning"], said["standing"], said["payment"]["in_force"]) == (None, "in_grace", False)
    assert [each["in_force"] for each in listed(filled)] == [False, False, False]
    again = record(filled, AUGUST, AT + 3 * HOUR, paid_at="2026-08-03")["payment"]
    assert [each["in_force"] for each in listed(filled)] == [False, False, False, True]
    assert listed(filled)[2]["reason"] == "It bounced"
    assert (again["replaces"], listed(filled)[1]["replaces"]) == (None, first)


def test_every_notice_is_in_the_audit(filled: Store) -> None:
    first = record(filled, AUGUST, AT, PAYER)["payment"]["payment_id"]
    gone = {"coverage_month": "2026-08", "replaces": first, "withdrawn": True, "reason": "It bounced"}
    record(filled, AUGUST, AT + HOUR, paid_at="2026-07-31", replaces=first, reason="Misread")
    second = listed(filled)[1]["payment_id"]
    record(filled, {**gone, "replaces": second}, AT + 2 * HOUR)
    with filled.reading() as connection:
        found = connection.execute(select(audit).order_by(audit.c.sequence.desc()).limit(3)).all()[::-1]
    assert [(row.action, row.actor, row.reason) for row in found] == [
        ("record_payment", "paul", None),
        ("correct_payment", "root", "Misread"),
        ("withdraw_payment", "root", "It bounced"),
    ]
    assert {(row.client_id, row.account_id) for row in found} == {("ACME", "A1")}
    assert [row.subject for row in found] == [each["payment_id"] for each in listed(filled)]
    assert [row.before is None for row in found] == [True, False, False]
    for before, after in pairwise(found):
        assert before.after == after.before
    assert '"paid_at":"2026-07-30"' in found[0].after


def test_months_and_accounts_have_notices_of_their_own(filled: Store) -> None:
    record(filled, AUGUST)
    record(filled, AUGUST, account_id="B")
    record(filled, AUGUST, coverage_month="2026-07")
    assert [len(listed(filled, each)) for each in ("A1", "B")] == [2, 1]


# What is refused


@pytest.mark.parametrize(
    ("body", "kind", "place"),
    [
        ({"paid_at": "2026-07-11"}, PaidBeforeInvoice, "/paid_at"),
        ({"paid_at": "2026-07-12T03:59:59Z"}, PaidBeforeInvoice, "/paid_at"),
        ({"coverage_month": "2026-10", "paid_at": "2026-08-03"}, PaidBeforeInvoice, "/paid_at"),
        ({"paid_at": "2026-08-04"}, NotPaidYet, "/paid_at"),
        ({"paid_at": "2026-08-03T12:00:00.000001"}, NotPaidYet, "/paid_at"),
        ({"paid_at": "2026-08-03T16:00:00.000001Z"}, NotPaidYet, "/paid_at"),
        ({"paid_at": "2099-12-31"}, NotPaidYet, "/paid_at"),
        ({"paid_at": "2099-12-31T23:00-12:00"}, InvalidInput, "/paid_at"),
        ({"paid_at": "2100-01-01"}, InvalidInput, "/paid_at"),
        ({"paid_at": "1999-12-31"}, InvalidInput, "/paid_at"),
        ({"paid_at": "2000-01-01T03:00Z"}, InvalidInput, "/paid_at"),
        ({"replaces": "0123456789abcdef"}, PaymentNotInForce, "/replaces"),
    ],
)
def test_what_cannot_have_been_paid_then_is_refused(filled: Store, body: Data, kind: Any, place: str) -> None:
    before = rows(filled)
    refusal = refused(kind, lambda: record(filled, {**AUGUST, **body}))
    assert list(faults(refusal)) == [place]
    assert rows(filled) == before


@pytest.mark.parametrize(
    ("paid_at", "is_today"),
    [
        ("2026-08-03T12:00:00.000001", True),
        ("2026-08-03T23:00", True),
        ("2026-08-04T00:00", False),
        ("2026-08-04", False),
    ],
)
def test_a_payment_to_come_says_whether_it_is_today(filled: Store, paid_at: str, *, is_today: bool) -> None:
    refusal = refused(NotPaidYet, lambda: record(filled, {**AUGUST, "paid_at": paid_at}))
    assert refusal.is_today == is_today


@pytest.mark.parametrize(
    ("paid_at", "day"),
    [
        ("2026-07-12", date(2026, 7, 12)),
        ("2026-07-12T04:00:00Z", date(2026, 7, 12)),
        ("2026-08-03", date(2026, 8, 3)),
        ("2026-08-03T12:00", date(2026, 8, 3)),
        ("2026-08-03T16:00:00Z", date(2026, 8, 3)),
        ("2026-08-04T00:00+08:00", date(2026, 8, 3)),
    ],
)
def test_from_the_day_of_the_invoice_until_now_is_taken(filled: Store, paid_at: str, day: date) -> None:
    meaning = record(filled, {**AUGUST, "paid_at": paid_at})["meaning"]
    assert meaning["received_date"] == oracle.forward_to_business_day(day, "XFED")


def test_a_time_that_comes_twice_in_autumn_is_the_earlier_one(filled: Store) -> None:
    body = {"coverage_month": "2026-11", "paid_at": "2026-11-01T01:30"}  # until 05:59Z 01:59 EDT, from 06:00Z 01:00 EST
    first = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    refused(NotPaidYet, lambda: record(filled, body, first - TICK))
    assert record(filled, body, first)["payment"]["coverage_month"] == "2026-11"


def test_a_second_notice_of_a_month_says_what_it_replaces(filled: Store) -> None:
    first = record(filled, AUGUST)["payment"]["payment_id"]
    refusal = refused(PaymentRecorded, lambda: record(filled, AUGUST, paid_at="2026-07-31"))
    assert (refusal.payment_id, refusal.coverage_month, list(faults(refusal))) == (first, "2026-08", ["/replaces"])
    assert first in str(refusal)


def test_only_the_notice_in_force_is_replaced(filled: Store) -> None:
    first = record(filled, AUGUST)["payment"]["payment_id"]
    other = record(filled, AUGUST, account_id="B")["payment"]["payment_id"]
    july = record(filled, AUGUST, coverage_month="2026-07")["payment"]["payment_id"]
    second = record(filled, AUGUST, paid_at="2026-07-31", replaces=first)["payment"]["payment_id"]
    for wrong in (first, other, july):
        refusal = refused(PaymentNotInForce, partial(record, filled, AUGUST, replaces=wrong))
        assert (refusal.payment_id, list(faults(refusal))) == (second, ["/replaces"])
    gone = {"coverage_month": "2026-08", "replaces": second, "withdrawn": True, "reason": "It bounced"}
    record(filled, gone)
    last = listed(filled)[-1]["payment_id"]
    for wrong in (second, last):
        refusal = refused(PaymentNotInForce, partial(record, filled, AUGUST, replaces=wrong))
        assert refusal.payment_id is None


def test_a_month_without_an_invoice_here_is_not_paid(filled: Store) -> None:
    put_account(filled, "C", first_coverage_month="2026-03", last_coverage_month="2026-06")
    put_account(filled, "D", skip_coverage_months=[7])
    put_client(filled, "MOVED", bills_here_since="2026-07", first_coverage_month="2026-02")
    put_account(filled, client_id="MOVED")
    paid = {"paid_at": "2026-08-03"}
    for account_id, month in (("C", "2026-02"), ("C", "2026-07"), ("D", "2026-07")):
        body = {**paid, "coverage_month": month}
        refusal = refused(NotBilled, partial(record, filled, body, account_id=account_id))
        assert list(faults(refusal)) == ["/coverage_month"]
    elsewhere = {**paid, "coverage_month": "2026-06"}
    refusal = refused(BilledElsewhere, lambda: record(filled, elsewhere, client_id="MOVED"))
    assert str(refusal) == (
        "Coverage month 2026-06 is billed on another platform before 2026-07: see the client's earlier billing portal."
    )
    never = {**paid, "coverage_month": "2026-01"}
    refused(NotBilled, lambda: record(filled, never, client_id="MOVED"))
    here = {**paid, "coverage_month": "2026-07"}
    assert record(filled, here, client_id="MOVED")["standing"] == "payment_pending"


def test_a_payment_that_posts_beyond_the_calendar_is_refused(filled: Store) -> None:
    japan = book(books.row("default", 'calendar = "JP"'))  # which the library knows until 2099
    body = {"coverage_month": "2099-10", "paid_at": "2099-12-31"}
    refusal = refused(PaymentOutsideCalendar, lambda: preview(filled, body, rules=japan))
    assert list(faults(refusal)) == ["/paid_at"]


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({}, {"/coverage_month", "/paid_at"}),
        ({"coverage_month": "2026-8", "paid_at": "yesterday"}, {"/coverage_month", "/paid_at"}),
        ({"coverage_month": "2026-08", "paid_at": None}, {"/paid_at"}),
        ({"coverage_month": "2026-08", "withdrawn": True}, {"/replaces", "/reason"}),
        ({**AUGUST, "withdrawn": True}, {"/paid_at", "/replaces", "/reason"}),
        ({**AUGUST, "replaces": "../1"}, {"/replaces"}),
        ({**AUGUST, "amount": 100}, {"/amount"}),
        ({**AUGUST, "withdrawn": "yes", "recorded_by": "me"}, {"/withdrawn", "/recorded_by"}),
        ([], {""}),
        (None, {""}),
    ],
)  # fmt: skip
def test_every_fault_of_a_notice_is_told_at_once(filled: Store, body: Any, places: set[str]) -> None:
    def send() -> Any:
        with writing(filled) as write:
            return payments.record(write, book(), ROOT, "ACME", "A1", body)

    assert set(faults(refused(InvalidInput, send))) == places


# Who


def test_a_producer_records_once_the_payment_terms_are_accepted(filled: Store) -> None:
    refused(TermsNotAccepted, lambda: record(filled, AUGUST, by=PAUL))
    assert listed(filled, by=PAUL) == []
    assert preview(filled, AUGUST, by=PAUL)["standing"] == "payment_pending"
    assert record(filled, AUGUST, by=PAYER)["payment"]["recorded_by"] == "paul"
    unentitled = replace(PAYER, entitlements=frozenset())
    refused(MissingEntitlement, lambda: access.allow(unentitled, "record_payments"))
    refused(MissingEntitlement, lambda: access.allow(replace(unentitled, terms_accepted_at=None), "record_payments"))


def test_managers_of_the_team_and_administrators_need_no_terms(filled: Store) -> None:
    record(filled, AUGUST, by=NORA)
    record(filled, AUGUST, by=ROOT, account_id="B")
    refused(ClientNotFound, lambda: record(filled, AUGUST, by=SID, coverage_month="2026-07"))
    refused(ClientNotFound, lambda: listed(filled, by=SID))
    refused(ClientNotFound, lambda: preview(filled, AUGUST, by=SID))


def test_an_account_that_is_not_there_has_no_payments(filled: Store) -> None:
    asks: tuple[Any, ...] = (record, preview)
    for ask in asks:
        refused(AccountNotFound, partial(ask, filled, AUGUST, account_id="NONE"))
    refused(AccountNotFound, lambda: listed(filled, "NONE"))
    refused(ClientNotFound, lambda: listed(filled, client_id="NONE"))


# How it is kept


def test_the_table_is_as_the_model_has_it(filled: Store) -> None:
    with filled.reading() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    assert [each for each in found if "payment" in repr(each)] == []


def notice(store: Store, **more: Any) -> Data:
    with store.reading() as connection:
        row = dict(connection.execute(select(kept.payments)).mappings().one())
    del row["sequence"]
    return {**row, **more}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"payment_id": "2", "withdrawn": 1},
        {"payment_id": "2", "paid_at": None},
        {"payment_id": "2", "paid_at": None, "withdrawn": 1},
        {"payment_id": "2", "replaces": "3"},
        {"payment_id": "2", "withdrawn": 2},
        {"payment_id": "2", "account_id": "NONE"},
    ],
)
def test_the_database_itself_refuses_what_is_no_notice(filled: Store, change: Data) -> None:
    record(filled, AUGUST)
    row = notice(filled, **change)
    with pytest.raises(IntegrityError), writing(filled) as write:
        write.connection.execute(insert(kept.payments), row)


def test_a_notice_is_replaced_once(filled: Store) -> None:
    first = record(filled, AUGUST)["payment"]["payment_id"]
    row = notice(filled, payment_id="2", replaces=first)
    with pytest.raises(IntegrityError), writing(filled) as write:
        write.connection.execute(insert(kept.payments), [row, {**row, "payment_id": "3"}])


@pytest.mark.parametrize("change", ["UPDATE payment SET reason = 'x'", "DELETE FROM payment", "replace"])
def test_a_notice_is_changed_by_nobody(filled: Store, change: str) -> None:
    record(filled, AUGUST)
    before = listed(filled)
    statements = [change]
    if change == "replace":
        columns = [column.name for column in kept.payments.columns if column.name != "sequence"]
        others = ", ".join(columns)
        statements = (
            [
                "INSERT OR REPLACE INTO payment SELECT * FROM payment",
                f"INSERT OR REPLACE INTO payment ({others}) SELECT {others} FROM payment",  # noqa: S608  # our own
            ]
            if filled.is_sqlite
            else ["INSERT INTO payment SELECT * FROM payment ON CONFLICT (payment_id) DO UPDATE SET reason = 'x'"]
        )
    for statement in statements:
        with pytest.raises(IntegrityError, match="payment is append-only"), writing(filled) as write:
            write.connection.execute(text(statement))
    assert listed(filled) == before


def test_of_many_who_record_one_payment_at_once_one_does(filled: Store) -> None:
    said: list[str] = []

    def send() -> None:
        try:
            record(filled, AUGUST)
            said.append("recorded")
        except Refusal as refusal:
            said.append(refusal.code)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("recorded") == 1
    assert set(said) <= {"recorded", "payment_already_recorded", "store_unavailable"}
    assert len(listed(filled)) == 1


# Standing


def test_an_invoice_stands_as_paid_from_the_day_the_payment_posts_by(filled: Store) -> None:
    kept_as = record(filled, AUGUST)["payment"]["payment_id"]  # on a Thursday; it posts by Tuesday, 4 August
    assert standings(filled, days("2026-07-29", 7)) == [
        "invoiced", *["payment_pending"] * 5, "paid",
    ]  # fmt: skip
    assert standings(filled, [date(2026, 7, 11), date(2026, 8, 31), date(2099, 12, 31)]) == [
        "not_yet_invoiced", "paid", "paid",
    ]  # fmt: skip
    assert invoice(filled)["payment"] == {
        "payment_id": kept_as,
        "paid_at": date(2026, 7, 30),
        "posts_from_date": date(2026, 8, 3),
        "posts_by_date": date(2026, 8, 4),
    }
    assert "payment" not in invoice(filled, "2026-09")
    assert "payment" not in invoice(filled, account_id="B")
    assert invoice(filled, account_id="B")["standing"] == "in_grace"


@pytest.mark.parametrize(
    ("clock", "posts_from", "posts_by"),
    [
        ("16:59:59.999999", date(2026, 8, 3), date(2026, 8, 4)),
        ("17:00:00", date(2026, 8, 4), date(2026, 8, 5)),
        ("17:00:00.000001", date(2026, 8, 4), date(2026, 8, 5)),
    ],
)
def test_a_payment_at_the_cutoff_is_of_the_day_after(
    filled: Store, clock: str, posts_from: date, posts_by: date
) -> None:
    record(filled, AUGUST, paid_at=f"2026-07-30T{clock}")
    found = invoice(filled)["payment"]
    assert (found["posts_from_date"], found["posts_by_date"]) == (posts_from, posts_by)
    assert standings(filled, [posts_by - timedelta(1), posts_by]) == ["payment_pending", "paid"]
    assert standings(filled, days("2026-07-29", 2)) == ["invoiced", "payment_pending"]


@pytest.mark.parametrize(
    ("midnight", "month", "before", "after"),
    [
        (datetime(2026, 7, 12, 4, tzinfo=UTC), "2026-08", "not_yet_invoiced", "invoiced"),
        (datetime(2026, 7, 30, 4, tzinfo=UTC), "2026-08", "invoiced", "payment_pending"),
        (datetime(2026, 8, 4, 4, tzinfo=UTC), "2026-08", "payment_pending", "paid"),
        (datetime(2026, 8, 1, 4, tzinfo=UTC), "2026-07", "in_grace", "grace_expired"),
        (datetime(2026, 9, 2, 4, tzinfo=UTC), "2026-09", "invoiced", "in_grace"),
        (datetime(2026, 10, 2, 4, tzinfo=UTC), "2026-09", "in_grace", "grace_expired"),
        (datetime(2027, 1, 1, 5, tzinfo=UTC), "2026-12", "in_grace", "grace_expired"),
    ],
)
def test_a_standing_changes_at_local_midnight_to_the_microsecond(
    filled: Store, midnight: datetime, month: str, before: str, after: str
) -> None:
    record(filled, AUGUST)
    told = [invoice(filled, month, now=midnight + step)["standing"] for step in (-TICK, 0 * TICK, TICK)]
    assert told == [before, after, after]


def test_what_was_known_of_payments_stays_what_was_known_then(filled: Store) -> None:
    first = record(filled, AUGUST, AT)["payment"]["payment_id"]
    second = record(filled, AUGUST, AT + HOUR, paid_at="2026-08-03", replaces=first)["payment"]["payment_id"]
    gone = {"coverage_month": "2026-08", "replaces": second, "withdrawn": True, "reason": "It bounced"}
    record(filled, gone, AT + 2 * HOUR)
    third = record(filled, AUGUST, AT + 3 * HOUR, paid_at="2026-07-29")["payment"]["payment_id"]
    told = [None, first, second, None, third]
    now, day = AT + 9 * HOUR, date(2026, 8, 4)
    stood = ["in_grace", "paid", "payment_pending", "in_grace", "paid"]
    for hour, (payment_id, standing) in enumerate(zip(told, stood, strict=True)):
        for instant in (AT + (hour - 1) * HOUR, AT + hour * HOUR - TICK):
            found = invoice(filled, now=now, known_at=instant, as_of=day)
            assert (found.get("payment", {}).get("payment_id"), found["standing"]) == (payment_id, standing)
    assert invoice(filled, now=now, as_of=day)["payment"]["payment_id"] == third


def test_two_open_invoices_are_both_shown_and_paid_one_by_one(filled: Store) -> None:
    day = date(2026, 3, 2)  # the grace of February runs to the 3rd, and March was due on the 1st
    months = ("2026-02", "2026-03")
    assert [invoice(filled, month, as_of=day)["standing"] for month in months] == ["in_grace", "in_grace"]
    record(filled, {"coverage_month": "2026-03", "paid_at": "2026-02-20"})
    assert [invoice(filled, month, as_of=day)["standing"] for month in months] == ["in_grace", "paid"]
    record(filled, {"coverage_month": "2026-02", "paid_at": "2026-03-02"})
    assert [invoice(filled, month, as_of=day)["standing"] for month in months] == ["payment_pending", "paid"]


RULES: Data = {**HOUSE, "generation": STATES["PA"]}
BEST = ("grace_expired", "in_grace", "invoiced", "not_yet_invoiced", "payment_pending", "paid")


def is_open_on(dates: oracle.Invoice, day: date) -> bool:
    generation, _, grace_end = oracle.three_dates(dates)
    return generation <= day <= grace_end


def test_every_day_has_one_standing_each_and_as_many_open_invoices_as_the_oracle_counts(filled: Store) -> None:
    record(filled, {"coverage_month": "2026-03", "paid_at": "2026-03-20"})
    wanted = {f"2026-{month:02}": oracle.invoice(RULES, f"2026-{month:02}") for month in range(1, 13)}
    posts_by = oracle.posting(RULES, date(2026, 3, 20))["posts_by_date"]
    open_at_once = set()
    for day in days("2026-01-01", 130):
        (account,) = schedules(filled, "ACME", "A1", "2026-01", 12, as_of=day)["bill_accounts"]
        found = {each["coverage_month"]: each["standing"] for each in account["invoices"]}
        for month, dates in wanted.items():
            expected = oracle.standing(dates, day)
            if month == "2026-03" and day >= date(2026, 3, 20):
                expected = "paid" if day >= posts_by else "payment_pending"
            assert found[month] == expected, (month, day)
        is_open = {month for month, dates in wanted.items() if is_open_on(dates, day)}
        unpaid = {month for month, standing in found.items() if standing in ("invoiced", "in_grace")}
        assert unpaid == is_open - {"2026-03"} | ({"2026-03"} & is_open if day < date(2026, 3, 20) else set())
        open_at_once.add(len(is_open))
    assert open_at_once == {1, 2}


def test_paying_earlier_never_stands_worse(filled: Store) -> None:
    told = []
    for paid_on in days("2026-07-28", 36):
        body = {"coverage_month": "2026-08", "paid_at": paid_on.isoformat()}
        asked = (date(2026, 7, 30), date(2026, 8, 4), date(2026, 8, 10), date(2026, 9, 1), date(2026, 9, 4))
        found = [preview(filled, {**body, "as_of": day.isoformat()})["standing"] for day in asked]
        told.append([BEST.index(standing) for standing in found])
    for earlier, later in pairwise(told):
        assert all(one >= other for one, other in zip(earlier, later, strict=True))
    assert len({tuple(each) for each in told}) > 5


# If paid then


def moments() -> Iterator[str]:
    for day in days("2026-07-12", 80):
        yield day.isoformat()
        for clock in ("T16:59:59.999999", "T17:00", "T23:59:59", "T23:30:00Z", "T00:30:00+14:00"):
            yield f"{day}{clock}"


def test_a_preview_tells_what_the_oracle_tells_and_keeps_nothing(filled: Store) -> None:
    before = rows(filled)
    august, told = oracle.invoice(RULES, "2026-08"), set()
    generated = {month: oracle.invoice(RULES, month)["generation_date"] for month in ("2026-09", "2026-10", "2026-11")}
    for moment in moments():
        paid_at = date.fromisoformat(moment) if len(moment) == 10 else datetime.fromisoformat(moment)
        local = paid_at
        if isinstance(paid_at, datetime):
            local = paid_at.astimezone(ZoneInfo("America/New_York")).date() if paid_at.tzinfo else paid_at.date()
        if local < date(2026, 7, 12):
            refused(PaidBeforeInvoice, partial(preview, filled, {**AUGUST, "paid_at": moment}))
            continue
        posting = oracle.posting(RULES, paid_at)
        shown = oracle.reflected(posting, august["next_generation_date"])
        found = preview(filled, {**AUGUST, "paid_at": moment})
        assert found["meaning"] == {
            "coverage_month": "2026-08", "paid_at": paid_at, **posting, "calendar": "XFED",
            "timeliness": oracle.timeliness(august, local), "reflected_on_next_invoice": shown,
        }  # fmt: skip
        month, day = next((m, d) for m, d in generated.items() if d and d > posting["posts_by_date"])
        assert found["surely_shown_on"] == {"coverage_month": month, "generation_date": day}
        assert (month == "2026-09") == (shown == "yes")
        assert found["better_pay_by"] == (None if shown == "yes" else august["safe_pay_by_date"])
        assert (found["as_of"], found["standing"]) == (local, "payment_pending")
        told.add((shown, month))
    assert told == {("yes", "2026-09"), ("maybe", "2026-10"), ("no", "2026-10"), ("no", "2026-11")}
    assert rows(filled) == before


def test_a_better_day_is_one_on_which_the_next_invoice_surely_shows_it(filled: Store) -> None:
    late = {"coverage_month": "2026-08", "paid_at": "2026-08-10"}
    better = preview(filled, late)["better_pay_by"]
    assert better == date(2026, 8, 6)
    for step, shown in ((0, "yes"), (1, "maybe")):
        body = {**late, "paid_at": (better + timedelta(step)).isoformat()}
        assert preview(filled, body)["meaning"]["reflected_on_next_invoice"] == shown
    for now, expected in (
        (datetime(2026, 8, 7, 3, 59, tzinfo=UTC), better),
        (datetime(2026, 8, 7, 4, tzinfo=UTC), None),
    ):
        assert preview(filled, late, now)["better_pay_by"] == expected


def test_a_last_invoice_is_followed_by_none_that_shows_it(filled: Store) -> None:
    put_account(filled, "LAST", last_coverage_month="2026-08")
    found = preview(filled, AUGUST, account_id="LAST")
    assert found["meaning"]["reflected_on_next_invoice"] == "no"
    assert (found["better_pay_by"], found["surely_shown_on"]) == (None, None)


@pytest.mark.parametrize(
    ("as_of", "standing"),
    [
        ("2026-07-11", "not_yet_invoiced"),
        ("2026-08-09", "in_grace"),
        ("2026-08-10", "payment_pending"),
        ("2026-08-12", "payment_pending"),
        ("2026-08-13", "paid"),
    ],
)
def test_a_preview_is_as_of_the_day_asked_for(filled: Store, as_of: str, standing: str) -> None:
    body = {"coverage_month": "2026-08", "paid_at": "2026-08-10", "as_of": as_of}  # a Monday
    found = preview(filled, body)
    assert (found["as_of"], found["standing"]) == (date.fromisoformat(as_of), standing)


def test_a_preview_takes_no_other_keys(filled: Store) -> None:
    body = {**AUGUST, "replaces": "0123456789abcdef", "as_of": "2026-02-30"}
    assert set(faults(refused(InvalidInput, lambda: preview(filled, body)))) == {"/replaces", "/as_of"}


def test_what_is_recorded_already_may_be_previewed(filled: Store) -> None:
    record(filled, AUGUST)
    assert preview(filled, AUGUST)["standing"] == "payment_pending"
