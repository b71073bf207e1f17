"""What is answered ahead of Flask, and what was kept, is what would be answered anew."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ebill.errors import StoreUnavailable
from ebill.paid import today
from ebill.reading import read
from ebill.rulebook import Scope
from ebill.service.invoices import today_ends
from ebill.store import clients, glance, grants, payments, tokens, users
from ebill.store.audit import By
from ebill.store.clients import Account, ExceptionEntry, RuleEntry
from ebill.store.engine import Store, Writing
from ebill.store.keys import Seal
from ebill.store.payments import Payment
from ebill.web import create_app, signed, steady
from tests.askers import askers
from tests.books import TEXT, edited
from tests.world import ACME, AT, UNKNOWN, ZENITH, Door, book_file, door

pytestmark = pytest.mark.anywhere

CLIENT = f"/v1/clients/{ACME}"
SCHEDULE = f"{CLIENT}/schedule"
QUESTION = {"state": "PA", "coverage_month": "2026-08"}
NEW_YORK_MIDNIGHT = datetime(2026, 8, 4, 4, tzinfo=UTC)


@pytest.fixture
def opened(sqlite_url: str) -> Iterator[Door]:
    store = Store(sqlite_url)
    yield door(store)
    store.close()


# The same as Flask


ASKED: dict[str, tuple[str, str, str, Any, dict[str, str]]] = {
    "a schedule": ("producer", "GET", f"{SCHEDULE}?from=2026-08", None, {}),
    "of an account": ("producer", "GET", f"{CLIENT}/bill-accounts/MAIN/schedule?from=2026-08", None, {}),
    "any tag": ("producer", "GET", f"{SCHEDULE}?from=2026-08", None, {"If-None-Match": "*"}),
    "another tag": ("producer", "GET", f"{SCHEDULE}?from=2026-08", None, {"If-None-Match": '"x", W/"6a6a6a6a-0"'}),
    "no tag": ("producer", "GET", f"{SCHEDULE}?from=2026-08", None, {"If-None-Match": "x"}),
    "nobody": ("anyone", "GET", SCHEDULE, None, {}),
    "a revoked token": ("revoked", "GET", SCHEDULE, None, {}),
    "no entitlement": ("unentitled", "GET", SCHEDULE, None, {}),
    "no grant": ("producer", "GET", f"/v1/clients/{ZENITH}/schedule", None, {}),
    "no such client": ("producer", "GET", f"/v1/clients/{UNKNOWN}/schedule", None, {}),
    "no such account": ("producer", "GET", f"{CLIENT}/bill-accounts/NONE/schedule", None, {}),
    "no id": ("producer", "GET", "/v1/clients/a.b/schedule", None, {}),
    "a bad query": ("producer", "GET", f"{SCHEDULE}?months=0&form=1", None, {}),
    "before anything": ("producer", "GET", f"{SCHEDULE}?known_at=2001-01-01T00:00:00Z", None, {}),
    "HEAD": ("producer", "HEAD", SCHEDULE, None, {}),
    "a slash more": ("producer", "GET", f"{SCHEDULE}/", None, {}),
    "calculated": ("anyone", "POST", "/v1/calculate", QUESTION, {}),
    "faulty": ("anyone", "POST", "/v1/calculate", {"state": "XX", "month": 1}, {}),
    "out of order": ("anyone", "POST", "/v1/calculate", {**QUESTION, "rules": {"generation": {"day_of_month": 1},
        "due": {"day": 1, "month_offset": -3}, "grace": {"days": 0}}}, {}),
    "no JSON": ("anyone", "POST", "/v1/calculate", b"{", {}),
    "nothing": ("anyone", "POST", "/v1/calculate", b"", {}),
    "another kind": ("anyone", "POST", "/v1/calculate", QUESTION, {"Content-Type": "text/plain"}),
    "packed": ("anyone", "POST", "/v1/calculate", QUESTION, {"Content-Encoding": "gzip"}),
    "too large": ("anyone", "POST", "/v1/calculate", b" " * 256_001, {}),
    "a query": ("anyone", "POST", "/v1/calculate?x=1", QUESTION, {}),
    "GET": ("anyone", "GET", "/v1/calculate", None, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_ahead_of_flask_is_flasks_to_the_last_header(opened: Door, name: str) -> None:
    actor, method, path, body, headers = ASKED[name]

    def ask() -> tuple[Any, ...]:
        answer = opened.ask(actor, method, path, body, {"Host": "our.host", **headers})
        found = dict(answer.headers)
        request_id = found.pop("X-Request-Id")
        assert len(found) == len(answer.headers) - 1, "no header comes twice"
        return answer.status_code, found, answer.get_data(as_text=True).replace(request_id, "")

    first = ask()  # of a host that nobody has asked by: Flask answers
    assert all(ask() == first for _ in range(3))


def test_a_host_that_is_not_ours_is_answered_nothing_that_was_kept(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBILL_TRUSTED_HOSTS", "our.host")
    store = Store(sqlite_url)
    opened = door(store)
    for host, status in (("our.host", 200), ("other.host", 400), ("our.host", 200), ("other.host", 400)):
        answers = [
            opened.ask("producer", "GET", SCHEDULE, headers={"Host": host}),
            opened.ask("anyone", "POST", "/v1/calculate", QUESTION, {"Host": host}),
        ]
        assert [answer.status_code for answer in answers] == [status, status]
    store.close()


def test_what_nobody_foresaw_is_written_down_and_told_as_ever(
    opened: Door, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = 0

    def fail(*_: Any) -> None:
        nonlocal tried
        tried += 1
        raise ZeroDivisionError("planted")

    opened.ask("producer", "GET", SCHEDULE)
    monkeypatch.setattr(signed, "admit", fail)
    answer = opened.ask("producer", "GET", SCHEDULE)
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert "ZeroDivisionError: planted" in capsys.readouterr().err
    assert tried == 1, "what its door raised is told, not tried again"


# Nothing stale: four processes with all they have kept


def rename(write: Writing) -> None:
    account = Account(client_id=ACME, account_id="MAIN", version=2, kind="x", name="Renamed")
    clients.put_account(write.connection, account, "x", write.at)
    write.audit("put_bill_account", client_id=ACME)


def enter_rule(write: Writing) -> None:
    of: dict[str, Any] = {"client_id": ACME, "account_id": None, "retroactive": False, "reason": None}
    rule = '{"generation":{"day_of_month":9}}'
    entry = RuleEntry(**of, since="2026-08", kind="generation", rule=rule, cite="A letter", assumed=False)
    clients.add_entries(write.connection, [entry], "x", write.at)
    write.audit("add_rule", client_id=ACME)


def pay(write: Writing) -> None:
    paid = Payment(
        payment_id="p" * 16,
        client_id=ACME,
        account_id="MAIN",
        coverage_month="2026-08",
        paid_at=date(2026, 7, 30),
        recorded_by="x",
        recorded_at=write.at,
    )
    payments.add(write.connection, paid)
    write.audit("record_payment", client_id=ACME, account_id="MAIN")


def take_payment_back(write: Writing) -> None:
    gone = Payment(
        payment_id="q" * 16,
        client_id=ACME,
        account_id="MAIN",
        coverage_month="2026-08",
        paid_at=None,
        replaces="p" * 16,
        withdrawn=True,
        recorded_by="x",
        recorded_at=write.at,
    )
    payments.add(write.connection, gone)
    write.audit("withdraw_payment", client_id=ACME, account_id="MAIN")


def fix_date(write: Writing) -> None:
    of: dict[str, Any] = {"client_id": ACME, "account_id": "MAIN", "retroactive": False, "reason": "A fair"}
    entry = ExceptionEntry(**of, coverage_month="2026-10", due_date=date(2026, 10, 5))
    clients.add_entries(write.connection, [entry], "x", write.at)
    write.audit("add_exception", client_id=ACME, account_id="MAIN")


def withdraw(write: Writing) -> None:
    assert grants.withdraw(write.connection, "pat-producer", ACME)
    write.audit("withdraw_grant", client_id=ACME)


def revoke(write: Writing, token: str) -> None:
    assert tokens.revoke(write.connection, token.split("_")[1], write.at)
    write.audit("revoke_token")


def change_user(write: Writing, **changes: Any) -> None:
    user = users.user(write.connection, "pat-producer")
    assert user is not None
    users.change_user(write.connection, replace(user, version=user.version + 1, **changes))
    write.audit("put_user")


def disable(write: Writing) -> None:
    change_user(write, disabled_at=AT)


def take_entitlement(write: Writing) -> None:
    change_user(write, entitlements=frozenset())


def test_after_a_change_is_acknowledged_no_process_gives_what_it_has_kept(sqlite_url: str, tmp_path: Path) -> None:
    book = tmp_path / "states.toml"
    book.write_text(TEXT, "utf-8")
    book.chmod(0o644)
    store = Store(sqlite_url)
    world = door(store).world
    token, path = world.tokens["producer"], f"{SCHEDULE}?from=2026-08&months=12&as_of=2026-08-03"
    another = f"{CLIENT}/bill-accounts/MAIN/schedule?from=2026-08&months="
    """Asked for another number of months each time, it is never one that was answered before."""
    never_asked = count(1)

    def again(write: Writing) -> None:
        assert grants.grant(write.connection, "pat-producer", ACME, "x", write.at)
        write.audit("grant", client_id=ACME)

    changes: list[tuple[Callable[[Writing], None] | None, int]] = [  # None: of the rule book's file
        (rename, 200),
        (enter_rule, 200),
        (pay, 200),
        (fix_date, 200),
        (take_payment_back, 200),
        (None, 200),
        (withdraw, 404),
        (again, 200),
        (take_entitlement, 403),
        (lambda write: change_user(write, entitlements=frozenset({"client_administration"})), 200),
        (disable, 401),
        (lambda write: change_user(write, disabled_at=None), 200),
        (lambda write: revoke(write, token), 401),
    ]
    with askers(sqlite_url, book, 4) as found:
        before = found[0].ask(path, token)
        for change, status in changes:
            if before.status == 200:
                # All have kept it, and any of them knows the tag that another has given.
                assert [each.ask(path, token) for each in found] == [before] * 4
                assert [each.ask(path, token, before.tag).status for each in found] == [304] * 4
            if change is None:
                book.write_text(edited(("days = 30", "days = 33")), "utf-8")
            else:
                with store.writing(By("x", datetime.now(UTC)), lambda: datetime.now(UTC)) as write:
                    change(write)
            after = [each.ask(path, token, before.tag) for each in found]
            assert [each.status for each in after] == [status] * 4, change
            anew = f"{another}{next(never_asked)}"
            assert [each.ask(anew, token).status for each in found] == [status] * 4, change
            if status == 200 and before.status == 200:
                assert all(each.body != before.body for each in after)
            if status == 200:
                assert len(set(after)) == 1, "all give the same"
            before = after[0]
    store.close()


@pytest.mark.parametrize("kept_tag", [True, False], ids=["with the tag", "without"])
def test_with_midnight_in_the_zone_of_an_account_another_day_is_answered(
    opened: Door, monkeypatch: pytest.MonkeyPatch, kept_tag: bool
) -> None:
    now = NEW_YORK_MIDNIGHT - timedelta(seconds=1)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return now.astimezone(tz)

    monkeypatch.setattr(signed, "datetime", Clock)
    early = opened.ask("producer", "GET", SCHEDULE)
    sent = {"If-None-Match": early.headers["ETag"]} if kept_tag else {}
    assert opened.ask("producer", "GET", SCHEDULE, headers=sent).status_code == (304 if kept_tag else 200)
    now = NEW_YORK_MIDNIGHT
    late = opened.ask("producer", "GET", SCHEDULE, headers=sent)
    assert (early.get_json()["bill_accounts"][0]["as_of"], late.status_code) == ("2026-08-03", 200)
    assert late.get_json()["bill_accounts"][0]["as_of"] == "2026-08-04"


def test_a_tag_is_no_tag_of_another_release_question_or_installation(
    opened: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = opened.ask("producer", "GET", f"{SCHEDULE}?from=2026-08").headers["ETag"]

    def status(query: str = "from=2026-08") -> int:
        opened.app.extensions["ebill.signed"].steady.forget()
        return opened.ask("producer", "GET", f"{SCHEDULE}?{query}", headers={"If-None-Match": tag}).status_code

    assert status() == 304
    assert status("from=2026-09") == 200
    ends, seal = tag.strip('"').split("-")
    tag = f'"{int(ends, 16) + 1:x}-{seal}"'
    assert status() == 200, "it says itself until when it is good"
    tag = f'"{ends}-{seal}"'
    assert status() == 304
    monkeypatch.setattr(steady, "code", lambda: "another")
    assert status() == 200
    monkeypatch.undo()
    opened.app.extensions["ebill.signed"]._keys = Seal(bytes(32), bytes(32))
    assert status() == 200


def test_a_tag_is_known_by_a_process_that_has_never_answered(opened: Door) -> None:
    path = f"{SCHEDULE}?from=2026-08"
    tag = opened.ask("producer", "GET", path).headers["ETag"]
    other = create_app(book_file(), opened.store)
    token = {"Authorization": f"Bearer {opened.world.tokens['producer']}"}
    assert other.test_client().get(path, headers={**token, "If-None-Match": tag}).status_code == 304
    assert len(other.extensions["ebill.signed"].steady) == 0, "nothing was computed for it"


@pytest.mark.parametrize("zone", ["America/New_York", "America/Anchorage", "Pacific/Kiritimati", "America/Havana"])
def test_until_a_day_ends_it_is_the_same_day_and_then_it_is_not(zone: str) -> None:
    text = edited(("America/New_York", zone)) if zone != "America/New_York" else TEXT
    timeline = read(text.encode(), "x").book.life(Scope("PA")).timeline
    # Through a whole year, hour by hour: in Havana the clocks change at midnight.
    for hour in range(365 * 24 + 1):
        now = datetime(2026, 1, 1, 0, 30, tzinfo=UTC) + timedelta(hours=hour)
        ends = today_ends(timeline, now)
        assert now < ends <= now + timedelta(hours=26) or (ends <= now and zone == "America/Havana")
        if ends > now:
            assert today(timeline, ends - timedelta(seconds=1)) == today(timeline, now)
            assert today(timeline, ends) > today(timeline, now) or (ends.day, ends.hour) == (1, 0)


def test_what_was_known_is_told_however_its_name_is_written(opened: Door) -> None:
    then = datetime.now(UTC)
    with opened.store.writing(By("x", then), lambda: datetime.now(UTC)) as write:
        rename(write)
    now, *past = (
        opened.ask("producer", "GET", f"{CLIENT}/bill-accounts/MAIN/schedule?from=2026-08{more}").get_json()[
            "bill_accounts"
        ][0]["name"]
        for more in ("", *(f"&{name}={then.isoformat().replace('+', '%2B')}" for name in ("known_at", "known%5Fat")))
    )
    assert now == "Renamed"
    assert past[0] == past[1] != "Renamed"


# What a connection remembers


def test_what_is_remembered_of_a_store_is_forgotten_with_any_change_to_it(opened: Door) -> None:
    query = tokens.HOLDER
    asked = {"token_id": opened.world.tokens["producer"].split("_")[1]}
    with opened.store.glancing() as first, opened.store.glancing() as second:
        assert first is not second
        before = [each.execute(query, asked).first() for each in (first, second)]
        assert first.execute(query, asked).first() is before[0], "remembered"
        with opened.store.writing(By("x", datetime.now(UTC))) as write:
            revoke(write, opened.world.tokens["producer"])
        assert [each.execute(query, asked).first().revoked_at is None for each in (first, second)] == [False, False]


def test_whose_a_token_is_is_remembered_until_anything_changes_or_it_expires(opened: Door) -> None:
    token = opened.world.tokens["producer"]
    with opened.store.glancing() as first, opened.store.glancing() as second:

        def found(at: datetime = AT) -> list[Any]:
            known = []
            for each in (first, second):
                with each.still():
                    known.append(tokens.known(each, token, at))
            return known

        before = found()
        assert before[0] is found()[0], "remembered"
        assert found(before[0].expires_at) == [None, None]
        assert found(before[0].expires_at - timedelta(microseconds=1)) == before
        for change in (disable, lambda write: change_user(write, disabled_at=None), take_entitlement):
            with opened.store.writing(By("x", datetime.now(UTC))) as write:
                change(write)
            assert [each and each.user.entitlements for each in found()] == [
                None if change is disable else before[0].user.entitlements - (
                    before[0].user.entitlements if change is take_entitlement else frozenset())
            ] * 2  # fmt: skip
        with opened.store.writing(By("x", datetime.now(UTC))) as write:
            revoke(write, token)
        assert found() == [None, None]


def test_a_token_that_is_not_quite_right_is_nobodys_though_the_right_one_is_remembered(opened: Door) -> None:
    token = opened.world.tokens["producer"]
    with opened.store.glancing() as looking, looking.still():
        assert tokens.known(looking, token, AT)
        for place in (5, 25, len(token) - 1):
            other = token[:place] + ("a" if token[place] != "a" else "b") + token[place + 1 :]
            assert tokens.known(looking, other, AT) is None


def test_a_store_held_still_is_held_from_its_first_instant(opened: Door) -> None:
    token = opened.world.tokens["producer"]
    with opened.store.glancing() as looking:
        with looking.still():
            with pytest.raises(StoreUnavailable), opened.store.writing(By("x", datetime.now(UTC))) as write:
                revoke(write, token)
            assert tokens.known(looking, token, AT)
        with opened.store.writing(By("x", datetime.now(UTC))) as write:
            revoke(write, token)
        with looking.still():
            assert tokens.known(looking, token, AT) is None


def test_few_answers_are_remembered(opened: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "REMEMBERED_MOST", 3)
    with opened.store.glancing() as looking:
        for number in range(9):
            looking.execute(tokens.HOLDER, {"token_id": f"{number}"})
            assert len(looking._remembered) <= 3
