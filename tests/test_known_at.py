"""Every answer can be asked for as known at an instant, and is then what the service would have said at it."""

import random
import threading
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from ebill.errors import AccountNotFound, BookRefused, ClientNotFound, InvalidInput, NotKnownThen, Refusal
from ebill.service import books as rule_books
from ebill.service import grants
from ebill.service.clients import Window, add_rule, schedule
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.tables import audit
from ebill.store.tables import books as kept_books
from tests.books import row
from tests.sample import (
    AT,
    NORA,
    PAUL,
    ROOT,
    SID,
    Data,
    Twin,
    add,
    book,
    dates,
    faults,
    grant,
    keep_book,
    populate,
    put_account,
    put_client,
    refused,
    schedules,
    writing,
)
from tests.strategies import house

pytestmark = pytest.mark.anywhere

MONTHS = 8
NOW = datetime(2027, 6, 1, 12, tzinfo=UTC)
JANUARY = datetime(2026, 1, 5, 14, tzinfo=UTC)
BOOK_CHANGES: dict[str, list[Data]] = {
    "generation": [{"days_before_due": 22}, {"day_of_month": 11}, {"business_day": -6}, {"weekday": "TU", "nth": 2}],
    "grace": [{"days": 33}, {"days": 45}, {"calendar_months": 2}],
    "pay_by": [{"days_before_next_invoice": 6}, {"days_before_next_invoice": 2, "unit": "business"}],
}


def tell(
    twin: Twin, client_id: str, at: datetime, known_at: datetime | None = None, now: datetime | None = None
) -> Any:
    """Give what is answered at an instant about the months around it, a refusal too."""
    first = str(np.datetime64(at.replace(tzinfo=None), "M") - 3)
    window = Window(np.datetime64(first, "M"), MONTHS, None, known_at, explain=True)
    try:
        with twin.store.reading() as connection:
            answer = schedule(connection, twin.book, ROOT, client_id, None, window, now or at)
    except Refusal as refusal:
        return str(refusal)
    del answer["known_at"]
    return answer


def happen(twin: Twin, rng: random.Random, at: datetime) -> bool:
    """Let something happen: a change of the rule book now and then, else one of a client."""
    if rng.random() < 0.15:
        kind = rng.choice(sorted(BOOK_CHANGES))
        since = str(np.datetime64(at.replace(tzinfo=None), "M") + rng.randint(1, 4))
        with suppress(BookRefused):
            twin.change_book(rng.choice(("PA", "NY", "WV")), since, kind, rng.choice(BOOK_CHANGES[kind]), at)
            return True
        return False
    with suppress(Refusal):
        twin.enter(twin.draw(rng, at), at)
        return True
    return False


def test_a_year_of_changes_is_answered_again_as_it_was_at_each_of_them(emptied_store: Store) -> None:
    populate(emptied_store)
    rng = random.Random(emptied_store.is_sqlite)  # noqa: S311  # no secret
    twin = Twin(emptied_store)
    keep_book(emptied_store, twin.book, JANUARY)
    told: list[tuple[datetime, str, Any]] = []
    at, changes, of_book = JANUARY, 0, 0
    while changes < 60:
        at += timedelta(days=rng.randint(0, 9), seconds=rng.randint(1, 80_000), microseconds=rng.randint(0, 10**6))
        version = twin.book.version
        if not happen(twin, rng, at):
            continue
        changes += 1
        of_book += twin.book.version != version
        for client_id in twin.clients:
            answer = tell(twin, client_id, at)
            told.append((at, client_id, answer))
            first = str(np.datetime64(at.replace(tzinfo=None), "M") - 3)
            if not isinstance(answer, str):
                assert dates(answer) == twin.expected(client_id, first, MONTHS), (at, client_id)
    assert timedelta(days=200) < at - JANUARY < timedelta(days=450)
    assert of_book >= 5
    assert len({repr(answer) for _, _, answer in told}) > 50
    assert sum(isinstance(answer, str) for _, _, answer in told) < len(told) / 4
    for instant, client_id, answer in told:
        assert tell(twin, client_id, instant, instant, NOW) == answer, (instant, client_id)


@pytest.fixture
def filled(emptied_store: Store) -> Store:
    """A book in force since 1 August 2026; since the 2nd the client ACME, since the 3rd its account A1, then B."""
    populate(emptied_store)
    keep_book(emptied_store, book(), AT - timedelta(days=2))
    put_client(emptied_store, at=AT - timedelta(days=1))
    put_account(emptied_store, at=AT)
    put_account(emptied_store, "B", at=AT + timedelta(days=1))
    return emptied_store


def known(store: Store, known_at: datetime, account_id: str | None = "A1", **how: Any) -> Data:
    return schedules(store, "ACME", account_id, now=NOW, known_at=known_at, **how)


MOMENT = timedelta(microseconds=1)


def test_before_a_thing_was_entered_nothing_is_known_of_it(filled: Store) -> None:
    for account_id, since in ((None, AT - timedelta(days=1)), ("A1", AT), ("B", AT + timedelta(days=1))):
        assert known(filled, since, account_id)["known_at"] == since
        refused(NotKnownThen, partial(known, filled, since - MOMENT, account_id))
    refused(AccountNotFound, lambda: known(filled, AT, "NEVER"))


def test_a_client_has_the_accounts_that_it_had_then(filled: Store) -> None:
    for since, accounts in ((-1, []), (0, ["A1"]), (1, ["A1", "B"])):
        answer = known(filled, AT + timedelta(days=since), None)
        assert [account["account_id"] for account in answer["bill_accounts"]] == accounts


def test_before_the_first_rule_book_nothing_is_known(emptied_store: Store) -> None:
    populate(emptied_store)
    put_client(emptied_store)
    put_account(emptied_store)
    keep_book(emptied_store, book(), AT + timedelta(days=1))
    refused(NotKnownThen, lambda: known(emptied_store, AT + timedelta(hours=1)))
    assert known(emptied_store, AT + timedelta(days=1))["known_at"] == AT + timedelta(days=1)


def test_what_will_be_known_is_not_told(filled: Store) -> None:
    assert list(faults(refused(InvalidInput, lambda: known(filled, NOW + MOMENT)))) == ["/known_at"]
    known(filled, NOW)


def test_today_is_the_day_of_the_instant_where_the_account_is(filled: Store) -> None:
    put_account(filled, "HI", timezone="Pacific/Honolulu", at=AT)
    late = datetime(2026, 8, 20, 5, tzinfo=UTC)
    for account_id, day in (("A1", 20), ("HI", 19)):
        (account,) = known(filled, late, account_id)["bill_accounts"]
        assert account["as_of"] == date(2026, 8, day)
        # September's invoice was generated on 12 August: it stands invoiced. October's was not.
        assert [each["standing"] for each in account["invoices"][1:3]] == ["invoiced", "not_yet_invoiced"]
        (account,) = known(filled, late, account_id, as_of=date(2026, 11, 1))["bill_accounts"]
        assert account["as_of"] == date(2026, 11, 1)


def test_each_rule_counts_from_the_instant_it_was_entered(filled: Store) -> None:
    for number, days in enumerate((40, 41, 42), 2):
        add(filled, "rule", "A1", at=AT + timedelta(days=number), since="2027-01", grace={"days": days})
    for number, days in ((1, 30), (2, 40), (3, 41), (4, 42), (30, 42)):
        for instant in (AT + timedelta(days=number), AT + timedelta(days=number + 1) - MOMENT):
            found = dates(known(filled, instant))["A1"]["2027-01"]
            assert found["grace_end_date"] == date(2027, 1, 1) + timedelta(days=days)


def test_the_rule_book_of_then_answers_and_is_named(filled: Store) -> None:
    first, second = book(), book(row("states.PA", "grace = { days = 31 }", since="2026-10"))
    changed = AT + timedelta(days=9)
    keep_book(filled, second, changed)
    for instant, rules, end in ((changed - MOMENT, first, 31), (changed, second, 1)):
        answer = known(filled, instant, rules=second)
        assert answer["rulebook"]["version"] == rules.version
        assert dates(answer)["A1"]["2026-10"]["grace_end_date"].day == end


def test_who_may_see_a_client_is_a_question_of_now(filled: Store) -> None:
    refused(ClientNotFound, lambda: known(filled, AT, by=PAUL))
    refused(ClientNotFound, lambda: known(filled, AT, by=SID))
    grant(filled, "ACME")
    assert known(filled, AT, by=PAUL) == known(filled, AT, by=NORA)
    with writing(filled, NOW) as write:
        grants.withdraw(write, ROOT, "paul", "ACME")
    refused(ClientNotFound, lambda: known(filled, AT + timedelta(days=1), by=PAUL))


# Rule books


def test_each_rule_book_that_differs_from_the_last_is_kept_with_an_audit_row(emptied_store: Store) -> None:
    first, second, commented = book(), book(row("states.PA", "grace = { days = 31 }")), book("# only a comment\n")
    assert first.version == commented.version
    for day, rules in enumerate((first, first, second, second, first, commented, commented)):
        keep_book(emptied_store, rules, AT + timedelta(days=day))
    with emptied_store.reading() as connection:
        found = connection.execute(select(kept_books).order_by(kept_books.c.sequence)).all()
        actions = connection.execute(select(audit.c.action, audit.c.subject).order_by(audit.c.sequence)).all()
        assert rule_books.is_latest(connection, commented)
        assert not rule_books.is_latest(connection, first)
        assert [rule_books.book_at(connection, AT + timedelta(days=day)).version for day in (0, 1, 2, 3, 4)] == [
            rules.version for rules in (first, first, second, second, first)
        ]
        refused(NotKnownThen, lambda: rule_books.book_at(connection, AT - MOMENT))
    assert [(each.version, each.loaded_at, each.content) for each in found] == [
        (rules.version, AT + timedelta(days=day), rules.source)
        for day, rules in ((0, first), (2, second), (4, first), (5, commented))
    ]
    assert [tuple(each) for each in actions] == [("load_rule_book", each.version) for each in found]


def test_a_rule_book_without_its_text_cannot_be_kept(emptied_store: Store) -> None:
    with pytest.raises(ValueError, match="without its text"):
        keep_book(emptied_store, house(), AT)


@pytest.mark.parametrize("held_by", ["a change", "a clock"])
def test_what_is_known_by_now_is_known_for_good_though_changes_are_under_way(
    emptied_store: Store, held_by: str
) -> None:
    """A change that waits for its turn is made when that comes; one that is being made is waited for."""
    populate(emptied_store)
    keep_book(emptied_store, book(), AT)
    put_client(emptied_store, "ACME")
    put_account(emptied_store, "A1")
    begun, clock = threading.Event(), partial(datetime.now, UTC)

    def change() -> None:
        with emptied_store.writing(By("root", clock()), clock) as write:
            begun.set()
            time.sleep(0.3)
            add_rule(write, book(), ROOT, "ACME", "A1", RULE, dry_run=False)

    def known(at: datetime) -> Any:
        emptied_store.settled()
        return schedules(emptied_store, first="2027-01", months=3, now=clock(), known_at=at)

    changing = threading.Thread(target=change)
    if held_by == "a change":
        with emptied_store.writing(By("root", clock())) as write:
            changing.start()
            time.sleep(0.1)
            asked = clock()
            write.unchanged()
        first = schedules(emptied_store, first="2027-01", months=3, now=clock(), known_at=asked)
    else:
        changing.start()
        begun.wait(10)
        asked = clock()
        first = known(asked)
    changing.join()
    again = known(asked)
    assert again == first
    entered = schedules(emptied_store, first="2027-01", months=3, now=clock())
    assert (entered["bill_accounts"] == again["bill_accounts"]) == (held_by == "a clock")


RULE: Data = {"since": "2027-01", "grace": {"days": 44}, "cite": "a test"}
