"""What is entered for clients and accounts: what is refused, what a preview says, and that the change does that."""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest

from ebill.errors import (
    BelowFloor,
    BookRefused,
    DatesOutOfOrder,
    ExceptionTooFar,
    InvalidInput,
    MovesGeneratedInvoice,
    NotBilled,
    OutsideCalendar,
    Refusal,
)
from ebill.rulebook import RuleBook
from ebill.service import clients
from ebill.service.books import book_effect, book_preview
from ebill.service.clients import Precondition
from ebill.store.engine import Store
from ebill.store.users import User
from tests import books, oracle
from tests.sample import (
    AT,
    DATES,
    HOUSE,
    NORA,
    PAUL,
    ROOT,
    Data,
    Twin,
    add,
    book,
    count_of,
    dates,
    faults,
    grant,
    populate,
    put_account,
    put_client,
    refused,
    schedules,
    text,
    writing,
)

pytestmark = pytest.mark.anywhere


@pytest.fixture
def filled(emptied_store: Store) -> Store:
    """A store with people, and ACME in Pennsylvania with the account A1."""
    populate(emptied_store)
    put_client(emptied_store)
    put_account(emptied_store)
    return emptied_store


def invoice(store: Store, month: str, account_id: str = "A1", **how: Any) -> Data:
    return dates(schedules(store, "ACME", account_id, month, 1, **how))[account_id][month]


def entries(store: Store, account_id: str | None = None) -> Data:
    with store.reading() as connection:
        return clients.entries(connection, ROOT, "ACME", account_id)


def codes(effect: Data) -> set[tuple[str, str]]:
    return {(hazard["code"], hazard["coverage_month"]) for hazard in effect["hazards"]}


# Rows are added, never altered


def test_the_row_entered_last_wins_and_the_earlier_ones_stay(filled: Store) -> None:
    for number, days in enumerate((40, 41, 42)):
        at = AT + timedelta(days=number + 1)
        add(filled, "rule", "A1", at=at, by=NORA, since="2027-01", grace={"days": days}, cite=f"letter {number}")
    add(filled, "rule", since="2027-01", grace={"days": 35})
    found = entries(filled, "A1")["rules"]
    assert [(rule["grace"], rule["cite"], rule["recorded_at"]) for rule in found] == [
        ({"days": 40 + number}, f"letter {number}", AT + timedelta(days=number + 1)) for number in range(3)
    ]
    assert {rule["recorded_by"] for rule in found} == {"nora"}
    assert [rule["grace"] for rule in entries(filled)["rules"]] == [{"days": 35}]
    # 1 January and 42 days is 12 February.
    assert invoice(filled, "2027-01")["grace_end_date"] == date(2027, 2, 12)


def test_what_was_entered_is_answered_as_it_is_kept(filled: Store) -> None:
    body: Data = {"since": "2027-01", "generation": {"weekday": "TH", "nth": 3, "roll": "none"}, "assumed": True}
    entered = add(filled, "rule", "A1", by=NORA, **body)["entered"]
    assert entered == entries(filled, "A1")["rules"][0]
    assert entered == {
        "account_id": "A1",
        "since": "2027-01",
        "generation": {"weekday": "TH", "nth": 3},
        "cite": "a test",
        "assumed": True,
        "retroactive": False,
        "reason": None,
        "recorded_by": "nora",
        "recorded_at": AT + timedelta(microseconds=2),
    }
    fixed = add(filled, "exception", coverage_month="2027-02", due_date="2027-02-03")["entered"]
    assert fixed == entries(filled)["exceptions"][0]
    assert (fixed["coverage_month"], fixed["due_date"], fixed["withdrawn"]) == ("2027-02", date(2027, 2, 3), False)


def test_the_latest_exception_of_a_month_counts_and_the_accounts_own_before_the_clients(filled: Store) -> None:
    told: list[tuple[str | None, Data, int]] = [
        (None, {"due_date": "2027-02-03"}, 3),
        ("A1", {"due_date": "2027-02-05"}, 5),
        (None, {"due_date": "2027-02-04"}, 5),
        ("A1", {"due_date": "2027-02-06"}, 6),
        ("A1", {"withdrawn": True}, 4),
        (None, {"withdrawn": True}, 1),
        ("A1", {"generation_date": "2027-01-04"}, 1),
    ]
    for account_id, fixed, due in told:
        add(filled, "exception", account_id, coverage_month="2027-02", **fixed)
        assert invoice(filled, "2027-02")["due_date"] == date(2027, 2, due)
    assert invoice(filled, "2027-02")["generation_date"] == date(2027, 1, 4)
    assert len(entries(filled, "A1")["exceptions"]) == 4


# What is refused


RULES: list[tuple[Data, set[str]]] = [
    ({}, {"/since", ""}),
    ({"since": "2027-01"}, {""}),
    ({"since": "2027-01", "grace": {"days": 30}, "due": {"day": 1}}, {""}),
    ({"since": "2027-01", "grace_floor": {"days": 31}}, {"/grace_floor"}),
    ({"since": "2027-13", "grace": {"days": 30}}, {"/since"}),
    ({"since": "2100-01", "grace": {"days": 30}}, {"/since"}),
    ({"since": "2027-01", "grace": {"days": 367}}, {"/grace/days"}),
    ({"since": "2027-01", "grace": {"days": True}}, {"/grace/days"}),
    ({"since": "2027-01", "grace": {"dais": 30}}, {"/grace/dais"}),
    ({"since": "2027-01", "garce": {"days": 30}}, {"", "/garce"}),
    ({"since": "2027-01", "generation": {"weekday": "XX", "nth": 9}}, {"/generation/weekday", "/generation/nth"}),
    ({"since": "2027-01", "calendar": "NOPE"}, {"/calendar"}),
    ({"since": "2027-01", "timezone": "Nowhere"}, {"/timezone"}),
    ({"since": "2027-01", "grace": {"days": 30}, "cite": ""}, {"/cite"}),
    ({"since": "2027-01", "grace": {"days": 30}, "assumed": 1}, {"/assumed"}),
    ({"since": "2027-01", "grace": {"days": 30}, "retroactive": True}, {"/reason"}),
    ({"since": "2027-01", "grace": {"days": 30}, "recorded_at": "2020-01-01"}, {"/recorded_at"}),
]
EXCEPTIONS: list[tuple[Data, set[str]]] = [
    ({}, {"/coverage_month", ""}),
    ({"coverage_month": "2027-01"}, {""}),
    ({"coverage_month": "2027-01", "withdrawn": True, "due_date": "2027-01-02"}, {""}),
    ({"coverage_month": "2027-01", "withdrawn": False}, {""}),
    ({"coverage_month": "2027-02", "due_date": "2027-02-29"}, {"/due_date"}),
    ({"coverage_month": "2027-01", "due_date": "2027-01-02", "reason": ""}, {"/reason"}),
    ({"coverage_month": "2027-01", "next_generation_date": "2027-01-02"}, {"", "/next_generation_date"}),
]


def test_what_is_not_written_by_the_grammar_is_refused(filled: Store) -> None:
    for what, bodies in (("rule", RULES), ("exception", EXCEPTIONS)):
        for body, places in bodies:
            for account_id in (None, "A1"):
                refusal = refused(InvalidInput, partial(add, filled, what, account_id, **body))
                assert set(faults(refusal)) == places, body


def test_a_rule_needs_a_citation_and_an_exception_a_reason(filled: Store) -> None:
    for enter, body, place in (
        (clients.add_rule, {"since": "2027-01", "grace": {"days": 30}}, "/cite"),
        (clients.add_exception, {"coverage_month": "2027-01", "due_date": "2027-01-02"}, "/reason"),
    ):
        with writing(filled) as write:
            asked = partial(enter, write, book(), ROOT, "ACME", None, body, dry_run=True)
            assert list(faults(refused(InvalidInput, asked))) == [place]
            write.unchanged()


@pytest.mark.parametrize(
    ("since", "bad"), [("2027-01", "2027-02"), ("2027-03", "2029-02"), ("2028-02", "2029-02"), ("2096-03", "2097-02")]
)
def test_a_rule_that_breaks_the_order_of_dates_is_refused_for_the_first_bad_month(
    filled: Store, since: str, bad: str
) -> None:
    """Due on the 29th and generated on the 28th: only where February has 28 days, due is on the 28th itself."""
    add(filled, "rule", "A1", since="2027-01", due={"day": 29})
    breaking: Data = {"since": since, "generation": {"day_of_month": 28, "months_before_due": 0}}
    for dry_run in (True, False):
        refusal = refused(DatesOutOfOrder, partial(add, filled, "rule", "A1", dry_run=dry_run, **breaking))
        assert refusal.coverage_month == bad
        assert bad in faults(refusal)["/generation"]
        assert "A1" in faults(refusal)["/generation"]


@pytest.mark.parametrize("seed", range(3))
def test_the_first_bad_month_is_the_one_that_the_oracle_names(filled: Store, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # no secret
    named = good = 0
    for number in range(12):
        name = f"B{number}"
        put_account(filled, name)
        since = f"20{rng.randint(27, 90)}-{rng.randint(1, 12):02}"
        due = {"day": rng.choice((28, 29, 30, 31, -1, -2)), "roll": rng.choice(("none", "preceding"))}
        generation = {"day_of_month": rng.choice((26, 27, 28, 29, -2)), "months_before_due": 0}
        add(filled, "rule", name, since="2027-01", due=due)
        rules = {**HOUSE, "due": due, "generation": generation}
        expected = oracle.first_bad_month(rules, since)
        try:
            add(filled, "rule", name, since=since, generation=generation)
            good += 1
            found = None
        except DatesOutOfOrder as refusal:
            named += 1
            found = refusal.coverage_month
        assert found == expected, (rules, since)
    assert named >= 3
    assert good >= 1


def test_of_several_accounts_the_first_bad_month_is_named_and_whose_it_is(filled: Store) -> None:
    put_account(filled, "B", first_coverage_month="2027-01")
    put_account(filled, "C", first_coverage_month="2027-01")
    add(filled, "rule", "B", since="2031-01", due={"day": 29})
    add(filled, "rule", "C", since="2029-01", due={"day": 29})
    breaking: Data = {"since": "2028-01", "generation": {"day_of_month": 28, "months_before_due": 1}}
    add(filled, "rule", **breaking)
    breaking["generation"] = {"day_of_month": 28, "months_before_due": 0}
    refusal = refused(DatesOutOfOrder, partial(add, filled, "rule", **breaking))
    # A1 is due on the 1st, so that already the first month is bad.
    assert refusal.coverage_month == "2028-01"
    add(filled, "rule", "A1", since="2028-01", due={"day": 30})
    refusal = refused(DatesOutOfOrder, partial(add, filled, "rule", **breaking))
    assert refusal.coverage_month == "2028-01"
    assert "bill account B" in faults(refusal)["/generation"]


def test_a_floor_that_arrives_later_wins_over_what_was_entered(filled: Store) -> None:
    add(filled, "rule", "A1", since="2027-01", grace={"days": 28})
    add(filled, "exception", "A1", coverage_month="2027-05", grace_end_date="2027-05-20")
    floored = book(books.row("states.PA", "grace_floor = { days = 31 }", since="2027-03", cite="31 Pa. Code"))
    found = schedules(filled, account_id="A1", first="2027-01", months=5, rules=floored)
    ends = [each["grace_end_date"] for each in found["bill_accounts"][0]["invoices"]]
    assert ends == [date(2027, 1, 29), date(2027, 3, 1), date(2027, 4, 1), date(2027, 5, 2), date(2027, 6, 1)]
    (may,) = found["bill_accounts"][0]["invoices"][4:]
    assert {"floor_applied", "exception_applied"} <= {each["code"] for each in may["warnings"]}
    add(filled, "rule", "A1", rules=floored, since="2027-02", generation={"days_before_due": 15})
    refused(BelowFloor, lambda: add(filled, "rule", "A1", rules=floored, since="2027-04", grace={"days": 29}))


def test_an_exception_stays_what_it_is_though_the_rule_that_it_was_near_goes_away(filled: Store) -> None:
    """March's was due on the 5th, 4 days from the rule; by the new rule it would be on 1 June."""
    add(filled, "exception", "A1", coverage_month="2027-03", due_date="2027-03-05")
    later = book(books.row("states.PA", "due = { day = 1, month_offset = 3 }", since="2027-01"))
    found = schedules(filled, account_id="A1", first="2027-03", months=2, rules=later)
    assert [each["due_date"] for each in found["bill_accounts"][0]["invoices"]] == [date(2027, 3, 5), date(2027, 7, 1)]


def test_a_grace_below_the_floor_is_refused(filled: Store) -> None:
    floored = book(books.row("states.PA", "grace_floor = { days = 31 }", since="2027-03", cite="31 Pa. Code"))
    short = refused(BelowFloor, lambda: add(filled, "rule", "A1", rules=floored, since="2027-01", grace={"days": 30}))
    assert short.coverage_month == "2027-03"
    assert "31 Pa. Code" in faults(short)["/grace"]
    fixed: Data = {"coverage_month": "2027-04", "grace_end_date": "2027-05-01"}
    refusal = refused(BelowFloor, lambda: add(filled, "exception", rules=floored, **fixed))
    assert refusal.coverage_month == "2027-04"
    assert list(faults(refusal)) == ["/grace_end_date"]
    add(filled, "rule", "A1", rules=floored, since="2027-01", grace={"days": 31})
    add(filled, "exception", rules=floored, coverage_month="2027-04", grace_end_date="2027-05-02")


def test_an_exception_that_cannot_be_meant_is_refused(filled: Store) -> None:
    enter = partial(add, filled, "exception", "A1", coverage_month="2027-03")
    # 62 days after 1 March is 2 May.
    far = refused(ExceptionTooFar, lambda: enter(grace_end_date="2027-06-02"))
    assert list(faults(far)) == ["/grace_end_date"]
    assert far.coverage_month == "2027-03"
    assert list(faults(refused(ExceptionTooFar, lambda: enter(due_date="2028-03-01")))) == ["/due_date"]
    assert refused(DatesOutOfOrder, lambda: enter(generation_date="2027-03-01")).coverage_month == "2027-03"
    assert refused(DatesOutOfOrder, lambda: enter(grace_end_date="2027-02-28")).coverage_month == "2027-03"
    enter(grace_end_date="2027-06-01")


def test_an_exception_of_a_month_without_an_invoice_is_refused(filled: Store) -> None:
    put_account(filled, "S", skip_coverage_months=[7, 8], first_coverage_month="2026-09")
    fixed: Data = {"coverage_month": "2027-07", "due_date": "2027-07-02"}
    assert list(faults(refused(NotBilled, partial(add, filled, "exception", "S", **fixed)))) == ["/coverage_month"]
    add(filled, "exception", **fixed)  # A1 has one
    put_client(filled, "EMPTY", last_coverage_month="2027-06")
    put_account(filled, "E", "EMPTY")
    refused(NotBilled, partial(add, filled, "exception", client_id="EMPTY", **fixed))


def test_a_calendar_that_does_not_know_the_coming_years_is_refused(filled: Store) -> None:
    """Full moons are Sri Lanka's holidays, and the library has them for a few years ahead only."""
    last = book().calendar("LK").last
    assert last.year < 2090
    at = datetime(last.year, 8, 3, 12, tzinfo=UTC)
    beyond: Data = {"since": f"{last.year}-10", "calendar": "LK"}
    refusal = refused(OutsideCalendar, partial(add, filled, "rule", "A1", at=at, **beyond))
    assert list(faults(refusal)) == ["/calendar"]
    put_account(filled, "ENDS", at=at, first_coverage_month=f"{last.year}-10", last_coverage_month=f"{last.year}-10")
    add(filled, "rule", "ENDS", at=at, **beyond)


# What was generated already


AUGUST: Data = {"since": "2026-08", "grace": {"days": 40}}


def test_a_row_that_moves_an_invoice_generated_already_must_say_so_and_why(filled: Store) -> None:
    """On 3 August the invoice of August, generated on 12 July, is there; that of September comes on 12 August."""
    refusal = refused(MovesGeneratedInvoice, lambda: add(filled, "rule", **AUGUST))
    assert (refusal.account, refusal.coverage_month, refusal.generated) == ("A1", "2026-08", date(2026, 7, 12))
    assert list(faults(refusal)) == ["/retroactive"]
    refused(MovesGeneratedInvoice, lambda: add(filled, "rule", reason="because", **AUGUST))
    refused(InvalidInput, lambda: add(filled, "rule", retroactive=True, **AUGUST))
    refused(MovesGeneratedInvoice, lambda: add(filled, "rule", dry_run=True, **AUGUST))
    add(filled, "rule", retroactive=True, reason="agreed", **AUGUST)
    assert invoice(filled, "2026-08")["grace_end_date"] == date(2026, 9, 10)
    assert invoice(filled, "2026-07")["grace_end_date"] == date(2026, 7, 31)


def test_what_governs_a_generated_invoice_may_not_move_when_it_is_to_be_paid_either(filled: Store) -> None:
    """July's was generated on 11 June. That September's generation moves what August is paid by is no such thing."""
    pay_by: Data = {"pay_by": {"days_before_next_invoice": 9}}
    first = refused(MovesGeneratedInvoice, lambda: add(filled, "rule", "A1", since="2026-07", **pay_by))
    assert first.coverage_month == "2026-07"
    add(filled, "rule", "A1", since="2026-09", generation={"days_before_due": 15})


def test_of_what_was_generated_the_first_that_moves_is_named(filled: Store) -> None:
    put_account(filled, "B", first_coverage_month="2026-05")
    put_account(filled, "C", first_coverage_month="2026-03")
    put_account(filled, "D", first_coverage_month="2026-03", last_coverage_month="2026-03")
    early: Data = {"since": "2025-01", "grace": {"days": 40}}
    assert refused(MovesGeneratedInvoice, lambda: add(filled, "rule", **early)).coverage_month == "2025-01"
    assert refused(MovesGeneratedInvoice, lambda: add(filled, "rule", "B", **early)).coverage_month == "2026-05"
    assert refused(MovesGeneratedInvoice, lambda: add(filled, "rule", "D", **early)).coverage_month == "2026-03"


@pytest.mark.parametrize(
    "body",
    [
        {"since": "2026-09", "grace": {"days": 40}},
        {"since": "2026-09", "generation": {"days_before_due": 5}},
        {"since": "2026-08", "grace": {"days": 30}},
        {"since": "2000-01", "due": {"day": 1}},
        {"since": "2026-09", "pay_by": {"days_before_next_invoice": 9}},
        {"since": "2026-08", "timezone": "America/Chicago"},
    ],
)
def test_a_row_that_leaves_generated_invoices_where_they_are_need_say_nothing(filled: Store, body: Data) -> None:
    assert add(filled, "rule", "A1", **body)["entered"]["since"] == body["since"]


@pytest.mark.parametrize(
    ("zone", "last_chance"),
    [
        ("America/New_York", "2026-08-12T03:59:59"),
        ("Pacific/Honolulu", "2026-08-12T09:59:59"),
        ("Pacific/Kiritimati", "2026-08-11T09:59:59"),
    ],
)
def test_an_invoice_is_generated_when_its_day_begins_where_the_account_is(
    filled: Store, zone: str, last_chance: str
) -> None:
    """September's is generated on 12 August."""
    put_account(filled, "Z", timezone=zone)
    before = datetime.fromisoformat(last_chance).replace(tzinfo=UTC)
    body: Data = {"since": "2026-09", "grace": {"days": 40}}
    add(filled, "rule", "Z", at=before, dry_run=True, **body)
    after = before + timedelta(seconds=1)
    refused(MovesGeneratedInvoice, lambda: add(filled, "rule", "Z", at=after, dry_run=True, **body))


def put(store: Store, body: Data, account_id: str | None = None, *, dry_run: bool = False) -> Data:
    """Change ACME, or an account of it, of version 1."""
    with writing(store) as write:
        if account_id is None:
            given = {"name": "ACME", "team_id": "north", "state": "PA", **body}
            return clients.put_client(write, book(), ROOT, "ACME", given, Precondition(1), dry_run=dry_run)[0]
        given = {"name": account_id, "kind": "medical", **body}
        return clients.put_account(write, book(), ROOT, "ACME", account_id, given, Precondition(1), dry_run=dry_run)[0]


@pytest.mark.parametrize(
    ("body", "month"),
    [
        ({"state": "NY"}, "2000-01"),
        ({"product": "aptc"}, "2000-01"),
        ({"first_coverage_month": "2026-09"}, "2000-01"),
        ({"first_coverage_month": "2000-02"}, "2000-01"),
        ({"last_coverage_month": "2026-07"}, "2026-08"),
        ({"last_coverage_month": "2026-08"}, None),
        ({"skip_coverage_months": [9]}, "2000-09"),
        ({"timezone": "America/Chicago"}, None),
        ({"name": "New"}, None),
    ],
)
def test_settings_that_move_what_was_generated_must_say_so_too(filled: Store, body: Data, month: str | None) -> None:
    for account_id in (None, "A1"):
        if month is None:
            put(filled, body, account_id)
        else:
            refusal = refused(MovesGeneratedInvoice, partial(put, filled, body, account_id))
            assert refusal.coverage_month == month
    if month is not None:
        put(filled, {**body, "retroactive": True, "reason": "a slip of the pen"})


# What a preview says


def test_a_preview_lists_every_date_that_moves_with_counts(filled: Store) -> None:
    """Two accounts; graces from September 2026 on last 31 days instead of 30. Listed are two years from then."""
    put_account(filled, "B")
    put_account(filled, "OWN", product="cobra", skip_coverage_months=[1])
    add(filled, "rule", "OWN", since="2026-09", grace={"days": 45})
    effect = add(filled, "rule", dry_run=True, since="2026-09", grace={"days": 31})
    assert (effect["from"], effect["to"]) == ("2026-05", "2028-09")
    assert effect["moved"][0] == {
        "client_id": "ACME",
        "account_id": "A1",
        "coverage_month": "2026-09",
        "name": "grace_end_date",
        "before": date(2026, 10, 1),
        "after": date(2026, 10, 2),
    }
    listed = {(move["account_id"], move["coverage_month"]) for move in effect["moved"]}
    assert listed == {
        (account_id, str(np.datetime64("2026-09", "M") + number)) for account_id in ("A1", "B") for number in range(25)
    }
    # From October 2028 to December 2099 there are 71 years and 3 months more.
    assert effect["counts"] == {
        "accounts_looked_at": 3,
        "accounts_changed": 2,
        "accounts_with_earlier_deadline": 0,
        "invoices_changed": 50,
        "dates_moved": 50,
        "invoices_changed_before_from": 0,
        "invoices_changed_after_to": 2 * (71 * 12 + 3),
    }
    assert effect["hazards"] == []


def test_what_moves_before_the_months_of_a_preview_is_counted(filled: Store) -> None:
    """The state is another one from 2000 on; in the answer are the months from May 2026, or ten years for a rule."""
    effect = put(filled, {"state": "WV", "retroactive": True, "reason": "a test"}, dry_run=True)
    # The 12th of a month is 20 days before the next one's 1st where the month has 31 days.
    months = [month for month in oracle_months("2000-01", "2099-12") if days_before(month) != 31]
    before = [month for month in months if month < "2026-05"]
    assert effect["from"] == "2026-05"
    moved = {move["coverage_month"] for move in effect["moved"] if move["name"] == "generation_date"}
    assert moved == {month for month in months if "2026-05" <= month <= effect["to"]}
    assert effect["counts"]["invoices_changed_before_from"] >= len(before)
    effect = add(filled, "rule", dry_run=True, since="2000-01", grace={"days": 31}, retroactive=True, reason="so")
    assert effect["from"] == "2016-08"
    assert effect["counts"]["invoices_changed_before_from"] == 16 * 12 + 7


def oracle_months(first: str, last: str) -> list[str]:
    return [str(month) for month in np.arange(first, np.datetime64(last, "M") + 1, dtype="datetime64[M]")]


def days_before(month: str) -> int:
    """Count the days of the month before."""
    return (oracle.month_called(month) - timedelta(days=1)).day


def test_a_preview_of_a_new_account_lists_all_its_dates(filled: Store) -> None:
    with writing(filled) as write:
        body: Data = {
            "name": "New",
            "kind": "dental",
            "first_coverage_month": "2026-12",
            "last_coverage_month": "2027-01",
        }
        effect, _ = clients.put_account(write, book(), ROOT, "ACME", "NEW", body, Precondition(new=True), dry_run=True)
    assert [(move["coverage_month"], move["name"], move["before"]) for move in effect["moved"]] == [
        *(("2026-12", name, None) for name in DATES),
        *(("2027-01", name, None) for name in DATES if name != "next_generation_date"),
    ]
    assert effect["counts"]["invoices_changed"] == 2


HAZARDS: list[tuple[str, list[Data], Data, set[tuple[str, str]]]] = [
    ("a longer grace", [], {"since": "2028-07", "grace": {"days": 31}}, set()),
    (
        "a shorter grace",
        [],
        {"since": "2028-08", "grace": {"days": 29}},
        {("earlier_deadline", f"{month}") for month in oracle_months("2028-08", "2030-08")},
    ),
    (
        # September's invoice comes on 4 August instead of the 12th, so that August's pay-by dates move to 1 August and
        # 29 July. Today is the 3rd.
        "an earlier next invoice",
        [],
        {"since": "2026-09", "generation": {"days_before_due": 28}, "last": "2026-09"},
        {
            ("open_invoice_touched", "2026-08"),
            ("earlier_deadline", "2026-08"),
            ("pay_by_already_past", "2026-08"),
        },
    ),
    (
        # October's comes on 17 August, in the month of September's; November's on 17 September, and so on.
        "45 days before due",
        [],
        {"since": "2026-10", "generation": {"days_before_due": 45}, "last": "2026-12"},
        {
            ("two_invoices_in_calendar_month", "2026-08"),
            *(("earlier_deadline", month) for month in ("2026-09", "2026-10", "2026-11")),
        },
    ),
    (
        # So far 45 days before: November's on 17 September. December's now on 11 November, and none in October.
        "20 days before due again",
        [{"since": "2026-10", "generation": {"days_before_due": 45}}],
        {"since": "2026-12", "generation": {"days_before_due": 20}, "last": "2027-03"},
        {("no_invoice_in_calendar_month", "2026-10")},
    ),
    (
        # At the edge of what is listed: May's came on 17 March instead of 11 April, in the month of April's.
        "45 days before due since May",
        [],
        {"since": "2026-05", "generation": {"days_before_due": 45}, "last": "2026-06", "retroactive": True},
        {("two_invoices_in_calendar_month", "2026-03")},
    ),
    (
        "months without an invoice that were so before",
        [{"since": "2026-09", "skip_coverage_months": [9, 10]}],
        {"since": "2026-11", "grace": {"days": 31}, "last": "2026-12"},
        set(),
    ),
    (
        "a month with two invoices that was so before",
        [{"since": "2026-10", "generation": {"days_before_due": 45}}],
        {"since": "2026-09", "grace": {"days": 31}, "last": "2026-12"},
        set(),
    ),
    (
        # September and October have no invoice: it was generated in August and September.
        "two months skipped",
        [],
        {"since": "2026-09", "skip_coverage_months": [9, 10], "last": "2026-12"},
        {
            ("open_invoice_touched", "2026-08"),
            *(("no_invoice_in_calendar_month", month) for month in ("2026-08", "2026-09")),
        },
    ),
]


@pytest.mark.parametrize(("earlier", "body", "expected"), [case[1:] for case in HAZARDS], ids=[c[0] for c in HAZARDS])
def test_the_hazards_of_a_change_by_hand(
    filled: Store, earlier: list[Data], body: Data, expected: set[tuple[str, str]]
) -> None:
    last = body.get("last")
    with writing(filled) as write:
        given: Data = {"name": "X", "kind": "medical"} | ({"last_coverage_month": last} if last else {})
        clients.put_account(write, book(), ROOT, "ACME", "X", given, Precondition(new=True), dry_run=False)
    for rule in earlier:
        add(filled, "rule", "X", **rule)
    given = {key: value for key, value in body.items() if key != "last"}
    reason: Data = {"reason": "a test"} if given.get("retroactive") else {}
    assert codes(add(filled, "rule", "X", dry_run=True, **given, **reason)) == expected


def test_the_end_of_an_account_is_no_hazard_in_itself(filled: Store) -> None:
    effect = put(filled, {"last_coverage_month": "2026-12"}, "A1", dry_run=True)
    assert codes(effect) == {("earlier_deadline", "2026-12")}  # its pay-by dates are now its due date


def all_dates(store: Store, client_id: str, first: str, count: int) -> dict[tuple[str, str, str], Any]:
    """Give every date of a client, by account, month and name; none where the client is not there yet."""
    try:
        found = dates(schedules(store, client_id, None, first, count))
    except Refusal:
        return {}
    return {
        (account_id, month, name): day
        for account_id, months in found.items()
        for month, invoice in months.items()
        for name, day in invoice.items()
        if day is not None
    }


@pytest.mark.parametrize("seed", range(2))
def test_a_change_moves_just_what_its_preview_says(emptied_store: Store, seed: int) -> None:
    """On each database 2 times 55 changes drawn at random, 220 in all, and the same refusal where one is refused."""
    populate(emptied_store)
    rng = random.Random(f"{seed} {emptied_store.is_sqlite}")  # noqa: S311  # no secret
    twin = Twin(emptied_store)
    at = AT
    made = moving = refusals = 0
    while made < 55:
        at += timedelta(days=rng.randint(0, 5), seconds=1)
        change = twin.draw(rng, at)
        audited = count_of(emptied_store, "audit")
        told = tried(partial(twin.enter, change, at, dry_run=True))
        assert count_of(emptied_store, "audit") == audited
        if isinstance(told, Refusal):
            refusals += 1
            assert str(tried(partial(twin.enter, change, at))) == str(told)
            continue
        count = len(oracle_months(told["from"], told["to"]))
        before = all_dates(emptied_store, change.client_id, told["from"], count)
        answer = twin.enter(change, at)
        after = all_dates(emptied_store, change.client_id, told["from"], count)
        expected = {
            (*place, before.get(place), after.get(place))
            for place in before.keys() | after.keys()
            if before.get(place) != after.get(place)
        }
        listed = [
            (move["account_id"], move["coverage_month"], move["name"], move["before"], move["after"])
            for move in told["moved"]
        ]
        assert set(listed) == expected, change
        assert len(listed) == len(expected)
        assert {move["client_id"] for move in told["moved"]} <= {change.client_id}
        assert told["counts"]["dates_moved"] == len(expected)
        if "effect" in answer:
            assert answer["effect"] == told
        made += 1
        moving += bool(expected)
    assert moving > 25
    assert refusals > 2


def tried(action: Callable[[], Any]) -> Any:
    """Give what comes of it, a refusal too."""
    try:
        return action()
    except Refusal as refusal:
        return refusal


def test_what_moves_outside_the_months_listed_is_counted_as_it_is(emptied_store: Store) -> None:
    populate(emptied_store)
    rng = random.Random(7)  # noqa: S311  # no secret
    twin = Twin(emptied_store)
    at = AT
    checked = 0
    while checked < 3:
        at += timedelta(days=rng.randint(0, 5), seconds=1)
        change = twin.draw(rng, at)
        if change.client_id not in twin.clients or change.account_id is None:
            with suppress(Refusal):
                twin.enter(change, at)
            continue
        before = whole(emptied_store, change.client_id)
        try:
            told = twin.enter(change, at, dry_run=True)
            twin.enter(change, at)
        except Refusal:
            continue
        after = whole(emptied_store, change.client_id)
        places = {
            (place[0], place[1]) for place in before.keys() | after.keys() if before.get(place) != after.get(place)
        }
        outside = [month for _, month in places if not told["from"] <= month <= told["to"]]
        counts = told["counts"]
        assert counts["invoices_changed_before_from"] == sum(month < told["from"] for month in outside)
        assert counts["invoices_changed_after_to"] == sum(month > told["to"] for month in outside)
        checked += bool(outside)


def whole(store: Store, client_id: str) -> dict[tuple[str, str, str], Any]:
    found: dict[tuple[str, str, str], Any] = {}
    for first in oracle_months("2000-01", "2099-12")[::120]:
        found |= all_dates(store, client_id, first, 120)
    return found


# What a new rule book would move


def preview(
    store: Store, new: Any, user: User | None = None, first: str = "2026-08", count: int = 12, at: datetime = AT
) -> Data:
    with store.reading() as connection:
        month = np.datetime64(first, "M")
        asking = book_preview if isinstance(new, bytes) else book_effect
        return asking(connection, user, book(), new, at, month, count).as_data()


def moved_alike(effect: Data) -> dict[tuple[str, ...], set[tuple[str, str]]]:
    """Give which months' dates move, by the accounts that they move for."""
    return {
        tuple(f"{account['client_id']} {account['account_id']}" for account in group["accounts"]): {
            (move["coverage_month"], move["name"]) for move in group["moved"]
        }
        for group in effect["changes"]
    }


@pytest.fixture
def spread(filled: Store) -> Store:
    """ACME, and OTHER of the team south, with accounts in Pennsylvania and elsewhere, some with rules of their own."""
    put_account(filled, "NY", state="NY")
    put_account(filled, "LATE", first_coverage_month="2027-01")
    put_account(filled, "OWN", first_coverage_month="2026-09")
    add(filled, "rule", "OWN", since="2026-01", grace={"days": 60})
    put_client(filled, "OTHER", team_id="south", state="WV")
    put_account(filled, "A1", "OTHER", state="PA")
    put_account(filled, "WV", "OTHER")
    put_client(filled, "EMPTY")
    return filled


LONGER = books.row("states.PA", "grace = { days = 31 }", since="2026-10")


def test_a_new_rule_book_moves_the_accounts_that_its_rows_reach(spread: Store) -> None:
    effect = preview(spread, text(LONGER).encode())
    to_july = {(month, "grace_end_date") for month in oracle_months("2026-10", "2027-07")}
    assert moved_alike(effect) == {
        ("ACME A1", "OTHER A1"): to_july,
        ("ACME LATE",): {(month, name) for month, name in to_july if month >= "2027-01"},
    }
    assert effect["counts"] == {
        "accounts_looked_at": 6,
        "accounts_changed": 3,
        "accounts_with_earlier_deadline": 0,
        "invoices_changed": 10 + 10 + 7,
        "dates_moved": 27,
    }
    assert effect["contradicted"] == []
    assert effect["rulebook"]["before"] == book().version != effect["rulebook"]["after"]


def test_a_preview_of_a_rule_book_shows_what_its_reader_sees_and_counts_no_more(spread: Store) -> None:
    grant(spread, "OTHER")
    for user, names, looked_at in (
        (ROOT, {"ACME A1", "OTHER A1", "ACME LATE"}, 6),
        (NORA, {"ACME A1", "ACME LATE"}, 4),
        (PAUL, {"OTHER A1"}, 2),
    ):
        effect = preview(spread, book(LONGER), user)
        assert {name for names in moved_alike(effect) for name in names} == names
        assert effect["counts"]["accounts_looked_at"] == looked_at


def test_accounts_that_a_new_rule_book_contradicts_are_told_of_apart(spread: Store) -> None:
    """A1's March is generated on 20 February by an exception; by the new rule it is due in December before that."""
    add(spread, "exception", "A1", coverage_month="2027-03", generation_date="2027-02-20")
    later = books.row("states.PA", "due = { day = 1, month_offset = -3 }", since="2027-01")
    new = books.book(text(later).replace("states.NY", "states.NJ"))
    effect = preview(spread, new)
    assert [(each["code"], each["accounts"]) for each in effect["contradicted"]] == [
        ("dates_out_of_order", [{"client_id": "ACME", "account_id": "A1"}]),
        ("state_not_found", [{"client_id": "ACME", "account_id": "NY"}]),
    ]
    assert "2027-03" in effect["contradicted"][0]["detail"]
    assert effect["counts"]["accounts_changed"] == 3  # LATE, OWN, and OTHER's in Pennsylvania
    back = moved_alike(back_again(spread, new))
    assert ("ACME NY",) in back


def back_again(store: Store, old: Any) -> Data:
    """Tell what the usual book would move after another one."""
    with store.reading() as connection:
        month = np.datetime64("2027-01", "M")
        return book_effect(connection, None, old, book(), AT, month, 2).as_data()


def test_the_text_of_a_rule_book_with_faults_is_refused(spread: Store) -> None:
    refused(BookRefused, lambda: preview(spread, b"[default]"))
    assert list(faults(refused(InvalidInput, lambda: preview(spread, book(), first="2099-02")))) == ["/months"]


def test_a_rule_book_that_changes_nothing_moves_nothing(spread: Store) -> None:
    effect = preview(spread, text("# a comment").encode())
    assert (effect["changes"], effect["contradicted"]) == ([], [])
    assert effect["counts"]["dates_moved"] == 0


def check_preview(store: Store, accounts: dict[str, list[str]], new: RuleBook, first: str, count: int) -> int:
    """Compare a preview with the difference of all schedules read under both books; give how many dates move."""
    effect = preview(store, new, first=first, count=count)
    told = {
        (of["client_id"], of["account_id"], *(move[key] for key in ("coverage_month", "name", "before", "after")))
        for group in effect["changes"]
        for of in group["accounts"]
        for move in group["moved"]
    }
    left_out = {
        (account["client_id"], account["account_id"]) for each in effect["contradicted"] for account in each["accounts"]
    }
    expected = set()
    for client_id, account_id in ((client_id, each) for client_id, of in accounts.items() for each in of):
        read = partial(schedules, store, client_id, account_id, first, count)
        if (client_id, account_id) in left_out:
            refused(Refusal, partial(read, rules=new))
            continue
        old, will = (dates(read(rules=rules))[account_id] for rules in (book(), new))
        for month in old.keys() | will.keys():
            was, then = old.get(month, {}), will.get(month, {})
            expected |= {
                (client_id, account_id, month, name, was.get(name), then.get(name))
                for name in DATES
                if was.get(name) != then.get(name)
            }
    assert told == expected
    assert effect["counts"]["accounts_looked_at"] == sum(map(len, accounts.values())) - len(left_out)
    assert effect["counts"]["dates_moved"] == len(expected)
    return len(expected)


@pytest.mark.parametrize("seed", range(2))
def test_the_preview_of_a_rule_book_is_the_difference_of_all_schedules_read_under_both(
    emptied_store: Store, seed: int
) -> None:
    populate(emptied_store)
    rng = random.Random(seed)  # noqa: S311  # no secret
    twin = Twin(emptied_store)
    for _ in range(90):
        with suppress(Refusal):
            twin.enter(twin.draw(rng, AT), AT)
    new = book(
        books.row("states.PA", "generation = { day_of_month = 10 }", since="2026-11"),
        books.row("states.NY", "grace = { days = 33 }", since="2000-01"),
        books.row("states.WV", "generation = { day_of_month = 9 }", since="2026-10"),
        books.row("default", "pay_by = { days_before_next_invoice = 4 }", since="2026-12"),
        books.row("products.cobra", "skip_coverage_months = [1]", since="2027-01"),
    )
    accounts = {client_id: list(known.accounts) for client_id, known in twin.clients.items()}
    assert check_preview(emptied_store, accounts, new, "2026-08", 18) > 50


def test_accounts_that_begin_or_end_around_the_months_looked_at_are_told_of_exactly(filled: Store) -> None:
    """Looked at are November 2026 to February 2027; each account begins or ends in another month around that."""
    names = ["A1"]
    for month in oracle_months("2026-09", "2027-05"):
        names += [f"B{month}", f"E{month}"]
        put_account(filled, f"B{month}", first_coverage_month=month)
        put_account(filled, f"E{month}", last_coverage_month=month)
    for month in ("2025-01", "2025-06", "2029-02", "2029-03", "2029-12"):
        names += [f"X{month}"]
        ends: Data = {("first" if month < "2026" else "last") + "_coverage_month": month}
        put_account(filled, f"X{month}", **ends)
    new = book(books.row("states.PA", "generation = { day_of_month = 10 }", since="2026-12"))
    assert check_preview(filled, {"ACME": names}, new, "2026-11", 4) > 100
