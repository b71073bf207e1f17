"""Reminders: chosen by users, made once, sent at least once, and never of what somebody may not see."""

import base64
import hashlib
import hmac
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from ebill import sending
from ebill.cli import main
from ebill.cli import reminders as command
from ebill.errors import SettingRefused, StoreUnavailable, UserNotFound
from ebill.sending import Outcome
from ebill.service import outbox, payments
from ebill.service import reminders as service
from ebill.service.outbox import ATTEMPTS, LIFE, Made, Sent
from ebill.store import clients, grants, users
from ebill.store import reminders as kept
from ebill.store.audit import By
from ebill.store.clients import Account, Client
from ebill.store.engine import Store
from ebill.store.reminders import LEASE, Key, Message, messages, reminders
from ebill.store.tables import audit
from ebill.web import create_app
from tests.receivers import Call, Hook, Mailbox, hook, mailbox
from tests.records import changing
from tests.reminding import Runs, starter
from tests.test_sending import REFUSED
from tests.world import ACME, ENTITLED, ZENITH, Door, book_file, door

NOW = datetime(2031, 8, 25, 16, tzinfo=UTC)
"""Seven days before premiums are due."""
TODAY = NOW.date()
DAY = timedelta(days=1)
DUE = date(2031, 9, 1)
PAT = "pat-producer"
ON_SQLITE = pytest.mark.parametrize("emptied_store", ["sqlite"], indirect=True)
"""For what is no matter of the database."""


@dataclass
class Installed:
    """An installation with receivers, and a clock that stands."""

    door: Door
    hook: Hook
    mail: Mailbox
    at: datetime = NOW
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return self.door.store

    def choose(self, actor: str = "producer", *, names: bool = False, days: Any = None, **more: list[int]) -> None:
        body = {"lead_days": days or more or {"due": [7]}, "names": names}
        answer = self.door.ask(actor, "PUT", "/v1/me/reminders", body)
        assert answer.status_code == 200, answer.get_data()

    def target(self, user_id: str = PAT, **where: str) -> Any:
        path = f"/v1/users/{user_id}/reminder-targets"
        answer = self.door.ask("admin", "PUT", path, where or {"webhook_url": self.hook.url})
        assert answer.status_code == 200, answer.get_data()
        found = answer.get_json()
        self.secrets |= {user_id: found["webhook_secret"]} if "webhook_secret" in found else {}
        return found

    def pay(self, account_id: str = "MAIN", paid_at: str = "2031-08-20") -> None:
        with self.store.writing(By("setup", self.at)) as write:
            body = {"coverage_month": "2031-09", "paid_at": paid_at}
            user = users.user(write.connection, PAT)
            assert user is not None
            payments.record(write, book_file().book, user, ACME, account_id, body)

    def move(self, to: str) -> None:
        body = {"coverage_month": "2031-09", "due_date": to, "reason": "a fair", "retroactive": True}
        path = f"/v1/clients/{ACME}/bill-accounts/MAIN/exceptions"
        assert self.door.ask("manager", "POST", path, body, {"Idempotency-Key": uuid4().hex}).status_code == 201

    def told(self) -> list[tuple[str, str]]:
        return [(each["account_id"], each["date"]) for call in self.hook.calls for each in told(call)]

    def run(self, as_of: date | None = None, store: Store | None = None) -> tuple[Made, Sent]:
        opened = store or self.store
        by = as_of or self.at.date()
        return outbox.remind(opened, book_file().book, outbox.ways(opened), by, "command", lambda: self.at)

    def make(self, as_of: date | None = None) -> Made:
        return outbox.make(self.store, book_file().book, as_of or self.at.date(), "command", lambda: self.at)

    def deliver(self, store: Store | None = None) -> Sent:
        opened = store or self.store
        return outbox.deliver(opened, book_file().book, outbox.ways(opened), "command", lambda: self.at)

    def messages(self) -> list[Message]:
        with self.store.reading() as connection:
            ids = connection.scalars(select(messages.c.message_id).order_by(messages.c.created_at)).all()
            found = [kept.message(connection, message_id) for message_id in ids]
        return [message for message in found if message is not None]

    def one(self) -> Message:
        [message] = self.messages()
        return message

    def made(self) -> list[Key]:
        with self.store.reading() as connection:
            rows = connection.execute(select(*(reminders.c[name] for name in Key._fields)))
            return sorted(Key(*row) for row in rows)


@pytest.fixture
def installed(emptied_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    with hook() as hooked, mailbox() as box:
        monkeypatch.setenv("EBILL_WEBHOOK_NETWORKS", "127.0.0.0/8")
        monkeypatch.setenv("EBILL_SMTP_URL", f"smtp://127.0.0.1:{box.port}")
        monkeypatch.setenv("EBILL_MAIL_FROM", "ebill@example.com")
        yield Installed(door(emptied_store), hooked, box)


def counts(sent: Sent) -> tuple[int, int, int, int]:
    return sent.delivered, sent.again, sent.given_up, sent.withdrawn


def pointers(answer: Any) -> list[str]:
    assert answer.status_code == 422, answer.get_data()
    return sorted(fault["pointer"] for fault in answer.get_json()["errors"])


def actions(store: Store) -> list[str]:
    with store.reading() as connection:
        return list(connection.scalars(select(audit.c.action).order_by(audit.c.sequence)))


def told(call: Call) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call.body)["data"]["reminders"]
    return found


def verified(call: Call, secret: str) -> bool:
    """Verify a request as the standard has it, by a way of our own."""
    key = base64.b64decode(secret.split("_")[1])
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.{call.body.decode()}"
    expected = base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()
    return call.headers["webhook-signature"].split(" ") == [f"v1,{expected}"]


# What a user chooses, and where it goes


@ON_SQLITE
def test_a_choice_replaces_the_one_before(installed: Installed) -> None:
    def chosen() -> Any:
        return installed.door.ask("producer", "GET", "/v1/me/reminders").get_json()

    assert chosen() == {"lead_days": {}, "names": False, "channels": []}
    installed.choose(due=[1, 7], grace_end=[0, 3, 10], posts_by=[0], generation=[])
    days = {"due": [7, 1], "grace_end": [10, 3, 0], "posts_by": [0]}
    assert chosen() == {"lead_days": days, "names": False, "channels": []}
    before = len(actions(installed.store))
    installed.choose(due=[7, 1], grace_end=[10, 3, 0], posts_by=[0])
    assert len(actions(installed.store)) == before
    installed.choose(names=True, safe_pay_by=[60])
    assert actions(installed.store)[before:] == ["choose_reminders"]
    installed.target(email="pat@example.org", webhook_url=installed.hook.url)
    assert chosen() == {"lead_days": {"safe_pay_by": [60]}, "names": True, "channels": ["email", "webhook"]}
    assert installed.door.ask("manager", "GET", "/v1/me/reminders").get_json()["lead_days"] == {}


@ON_SQLITE
@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, ["/lead_days"]),
        ([], [""]),
        ({"lead_days": []}, ["/lead_days"]),
        ({"lead_days": None}, ["/lead_days"]),
        ({"lead_days": {"due": 7}}, ["/lead_days/due"]),
        ({"lead_days": {"due": None}}, ["/lead_days/due"]),
        ({"lead_days": {"due": [1, 2, 3, 4, 5, 6]}}, ["/lead_days/due"]),
        ({"lead_days": {"due": [7, 7]}}, ["/lead_days/due"]),
        ({"lead_days": {"due": [-1, 61, True, 1.0, "1"]}}, [f"/lead_days/due/{at}" for at in range(5)]),
        ({"lead_days": {"deu": [1], "due": [61]}, "nmaes": True}, ["/lead_days/deu", "/lead_days/due/0", "/nmaes"]),
        ({"lead_days": {}, "names": 1}, ["/names"]),
    ],
)
def test_a_choice_that_cannot_be_meant_is_refused_with_every_place(
    installed: Installed, body: Any, found: list[str]
) -> None:
    assert pointers(installed.door.ask("producer", "PUT", "/v1/me/reminders", body)) == found


def test_a_webhook_gets_a_secret_that_is_shown_once(installed: Installed) -> None:
    url = f"{installed.hook.url}/T0-path-secret"
    first = installed.target(webhook_url=url)
    assert len(base64.b64decode(first["webhook_secret"].removeprefix("whsec_"), validate=True)) == 32
    again = installed.target(webhook_url=url, email="pat@example.org")
    assert "webhook_secret" not in again
    other = installed.target(webhook_url=f"{url}2")
    assert other["webhook_secret"] != first["webhook_secret"]
    back = installed.target(webhook_url=url)
    assert back["webhook_secret"] not in {first["webhook_secret"], other["webhook_secret"]}
    path = f"/v1/users/{PAT}/reminder-targets"
    found = installed.door.ask("admin", "GET", path)
    kept_at = back["changed_at"]
    assert found.get_json() == {
        "user_id": PAT,
        "email": None,
        "webhook_url": url,
        "webhook_gone_at": None,
        "changed_at": kept_at,
    }
    with installed.store.reading() as connection:
        audited = repr(connection.execute(select(audit)).all())
    assert "127.0.0.1" in audited
    for secret in ("T0-path-secret", "whsec", *installed.secrets.values()):
        assert secret not in audited
    assert installed.door.ask("admin", "DELETE", path).status_code == 204
    assert installed.door.ask("admin", "DELETE", path).status_code == 204
    assert installed.door.ask("admin", "GET", path).get_json()["webhook_url"] is None
    tail = ["set_reminder_targets"] * 4 + ["remove_reminder_targets"]
    assert actions(installed.store)[-5:] == tail


@ON_SQLITE
def test_a_target_that_cannot_be_meant_is_refused_with_its_place(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(body: Any, user_id: str = PAT) -> Any:
        return installed.door.ask("admin", "PUT", f"/v1/users/{user_id}/reminder-targets", body)

    monkeypatch.delenv("EBILL_WEBHOOK_NETWORKS")
    for url in (*REFUSED, installed.hook.url, 7, None):
        assert pointers(put({"webhook_url": url})) == ["/webhook_url"], url
    for email in ("", "x", "x@y@z", "a@b.example\r\nBcc: c@d.example", "a@b.example\0", 7, None):
        assert pointers(put({"email": email})) == ["/email"], email
    assert pointers(put({"email": "x", "webhook_url": "y", "webhook": 1})) == ["/email", "/webhook", "/webhook_url"]
    assert pointers(put({})) == [""]
    assert put({"email": "a@b.example"}, "nobody").get_json()["code"] == "user_not_found"
    assert installed.target(webhook_url="https://hooks.example.com/x")["webhook_secret"]


@ON_SQLITE
def test_the_service_does_not_start_where_networks_cannot_be_meant(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBILL_WEBHOOK_NETWORKS", "the intranet")
    with pytest.raises(SettingRefused):
        create_app(book_file(), installed.store)


# What falls due


def test_a_reminder_is_made_once_and_a_missed_day_is_made_up_for(installed: Installed) -> None:
    installed.choose(due=[7, 1])
    installed.target()
    expected = [Key(DUE, ACME, account, "2031-09", "due", 7) for account in ("COBRA", "MAIN")]
    assert installed.run(TODAY - DAY)[0] == Made(0, 0, 0)
    assert installed.run(TODAY + DAY)[0] == Made(2, 1, 0)
    assert installed.made() == expected
    for day in (TODAY, TODAY + DAY, TODAY + 5 * DAY):
        assert installed.run(day)[0] == Made(0, 0, 0)
    assert installed.run(DUE)[0] == Made(2, 1, 0)
    assert installed.made() == sorted([*expected, *(key._replace(lead_days=1) for key in expected)])
    assert installed.run(DUE + DAY)[0] == Made(0, 0, 0)
    assert len(installed.hook.calls) == 2
    assert actions(installed.store).count("remind") == 2


@ON_SQLITE
def test_whenever_runs_come_each_stage_is_made_on_the_first_of_them(installed: Installed) -> None:
    rng = random.Random(20310801)  # noqa: S311
    leads = {"due": [7, 2, 0], "grace_end": [30, 3], "generation": [1]}
    installed.choose(days=leads)
    installed.target()
    expected = set()
    months = range(8, 13)
    dates = {
        "due": [date(2031, month, 1) for month in months],
        "generation": [date(2031, month, 12) for month in months],
    }
    dates["grace_end"] = [day + 30 * DAY for day in dates["due"]]
    for offset in sorted(rng.sample(range(100), 35)):
        today = date(2031, 8, 1) + offset * DAY
        for kind, days in dates.items():
            for day in days:
                fits = [lead for lead in leads[kind] if 0 <= (day - today).days <= lead]
                expected |= {(day, kind, min(fits))} if fits else set()
        installed.run(today)
    made = installed.made()
    assert {(key.day, key.kind, key.lead_days) for key in made} == expected
    assert len(made) == 2 * len(expected) > 20


@ON_SQLITE
def test_a_date_that_moves_is_reminded_of_anew(installed: Installed) -> None:
    installed.choose(due=[7])
    installed.target()
    installed.run()
    installed.move("2031-08-30")
    assert installed.run(TODAY + DAY)[0].reminders == 1
    assert installed.made()[0] == Key(date(2031, 8, 30), ACME, "MAIN", "2031-09", "due", 7)


@ON_SQLITE
def test_a_date_that_moves_away_and_back_is_reminded_of_anew(installed: Installed) -> None:
    installed.choose()
    installed.target()
    installed.run()
    for day in ("2031-08-30", "2031-09-01"):
        installed.move(day)
        made, sent = installed.run()
        assert (made, counts(sent)) == (Made(1, 1, 0), (1, 0, 0, 0))
        assert installed.told()[-1] == ("MAIN", day)
    assert installed.run()[0] == Made(0, 0, 0)
    assert [key.day for key in installed.made()] == [DUE, DUE]


@ON_SQLITE
def test_a_channel_is_told_what_it_has_not_told_yet(installed: Installed) -> None:
    installed.choose()
    installed.target()
    installed.run()
    installed.target(email="pat@example.org")
    assert installed.run()[0] == Made(2, 1, 0)
    installed.target(email="pat@example.org", webhook_url=installed.hook.url)
    assert installed.run()[0] == Made(0, 0, 0)
    assert (len(installed.hook.calls), len(installed.mail.contents)) == (1, 1)


@ON_SQLITE
def test_what_is_paid_is_reminded_of_by_its_posting_alone(installed: Installed) -> None:
    installed.at = NOW - 5 * DAY
    installed.pay()
    installed.choose(due=[60], grace_end=[60], recommended_pay_by=[60], safe_pay_by=[60], posts_by=[60])
    installed.target()
    for day in (date(2031, 8, 20), date(2031, 8, 25), DUE):
        installed.run(day)
    found = [(key.account_id, key.kind, str(key.day)) for key in installed.made() if key.coverage_month == "2031-09"]
    assert [each for each in found if each[0] == "MAIN"] == [("MAIN", "posts_by", "2031-08-25")]
    assert {kind for account, kind, _ in found if account == "COBRA"} == {
        "due",
        "grace_end",
        "recommended_pay_by",
        "safe_pay_by",
    }


def test_everybody_is_reminded_of_what_they_may_see(installed: Installed) -> None:
    whom = {"producer": PAT, "ungranted": "gus-ungranted", "unentitled": "una-unentitled", "quinn": "quinn-quartz",
            "manager": "nora-north", "admin": "ada-admin"}  # fmt: skip
    for actor, user_id in whom.items():
        installed.choose(actor)
        installed.target(user_id, webhook_url=f"{installed.hook.url}/{user_id}")
    made, sent = installed.run()
    assert (made.messages, counts(sent)) == (4, (4, 0, 0, 0))
    found = {call.path.rsplit("/")[-1]: {each["client_id"] for each in told(call)} for call in installed.hook.calls}
    assert found == {PAT: {ACME}, "quinn-quartz": {ZENITH}, "nora-north": {ACME}, "ada-admin": {ACME, ZENITH}}
    for call in installed.hook.calls:
        assert verified(call, installed.secrets[call.path.rsplit("/")[-1]])
        assert not verified(call._replace(body=call.body + b" "), installed.secrets[PAT])


@ON_SQLITE
def test_who_chose_nothing_or_has_no_target_is_not_reminded_until_they_have(installed: Installed) -> None:
    installed.target("nora-north")
    installed.choose()
    assert installed.run()[0] == Made(0, 0, 0)
    installed.target()
    assert installed.run(TODAY + DAY)[0] == Made(2, 1, 0)


# What messages say


@ON_SQLITE
def test_a_message_by_webhook_says_what_falls_due(installed: Installed) -> None:
    installed.choose(due=[7, 1], grace_end=[10])
    installed.target()
    installed.run()
    [call], message = installed.hook.calls, installed.one()
    of = {"client_id": ACME, "coverage_month": "2031-09", "standing": "invoiced"}
    assert json.loads(call.body) == {
        "type": "reminder",
        "timestamp": message.created_at.isoformat().replace("+00:00", "Z"),
        "data": {
            "user_id": PAT,
            "reminders": [
                {**of, "date": "2031-08-31", "kind": "grace_end", "lead_days": 10, "days_left": 6,
                 "account_id": account, "coverage_month": "2031-08", "standing": "in_grace"}
                for account in ("COBRA", "MAIN")
            ] + [
                {**of, "date": "2031-09-01", "kind": "due", "lead_days": 7, "days_left": 7, "account_id": account}
                for account in ("COBRA", "MAIN")
            ],
        },
    }  # fmt: skip
    assert call.message_id == message.message_id
    assert call.headers["webhook-timestamp"] == str(int(NOW.timestamp()))


@ON_SQLITE
def test_37_the_days_that_are_left_fall_by_one_a_day_and_are_none_on_the_day_itself(installed: Installed) -> None:
    installed.choose(grace_end=[4, 3, 2, 1, 0])
    installed.target()
    last = date(2031, 8, 31)
    for left in (4, 3, 2, 1, 0):
        installed.run(last - left * DAY)
    assert [{each["days_left"] for each in told(call)} for call in installed.hook.calls] == [{4}, {3}, {2}, {1}, {0}]
    assert {each["date"] for call in installed.hook.calls for each in told(call)} == {str(last)}


@ON_SQLITE
def test_a_message_by_mail_says_the_same(installed: Installed) -> None:
    installed.choose(due=[7], grace_end=[10], names=True)
    installed.target(email="pat@example.org")
    assert counts(installed.run()[1]) == (1, 0, 0, 0)
    [mail], message = installed.mail.mails, installed.one()
    assert mail["Subject"] == "4 invoice deadlines, from 2031-08-31"
    assert mail["Message-ID"] == f"<{message.message_id}@example.com>"
    assert mail.get_content().splitlines() == [
        "4 invoice deadlines, from 2031-08-31:",
        "",
        "Sun 2031-08-31  Grace ends: Acme Ltd / Acme, 2031-08",
        "Sun 2031-08-31  Grace ends: Acme Ltd / Acme, 2031-08",
        "Mon 2031-09-01  Premium due: Acme Ltd / Acme, 2031-09",
        "Mon 2031-09-01  Premium due: Acme Ltd / Acme, 2031-09",
        "",
        "What you are reminded of is yours to choose.",
    ]


@ON_SQLITE
def test_names_are_told_only_where_they_are_asked_for(installed: Installed) -> None:
    installed.choose(names=False)
    installed.target(email="pat@example.org", webhook_url=installed.hook.url)
    installed.run()
    [call], [mail] = installed.hook.calls, installed.mail.mails
    assert "Acme" not in call.body.decode() + mail.get_content()
    assert f"Premium due: {ACME} / MAIN, 2031-09" in mail.get_content()


HOSTILE = (
    "Acme\r\nBcc: eve@example.com\r\n\r\nHello",
    "<script>alert(1)</script> & \"'",
    "Größe Ünïcode 株式会社 \U0001f600",
    "\u202egnol\u202c\u2028x\u2029",
    '","kind":"paid","x":"',
    "=?utf-8?q?Bcc:_eve=40example.com?=",
    ".\r\n.",
    "x" * 500,
)


@ON_SQLITE
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_says_nothing_but_itself(installed: Installed, name: str) -> None:
    with changing(installed.store) as connection:
        clients.put_client(
            connection, Client(client_id=ACME, version=2, team_id="north", name=name, state="PA"), "x", NOW
        )
        for account_id in ("MAIN", "COBRA"):
            account = Account(client_id=ACME, account_id=account_id, version=2, kind="site", name=name)
            clients.put_account(connection, account, "x", NOW)
    installed.choose(names=True)
    installed.target(email="pat@example.org", webhook_url=installed.hook.url)
    assert counts(installed.run()[1]) == (2, 0, 0, 0)
    [call], [mail], [(_, content)] = installed.hook.calls, installed.mail.mails, installed.mail.contents
    assert {each["client_name"] for each in told(call)} == {name}
    assert {key.lower() for key in mail} <= {
        "from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type",
        "content-transfer-encoding", "x-peer", "x-mailfrom", "x-rcptto",
    }  # fmt: skip
    assert content.isascii()
    lines = mail.get_content().splitlines()
    assert len(lines) == 6
    plain = "".join(sign if sign.isprintable() else " " for sign in name)
    assert lines[2] == f"Mon 2031-09-01  Premium due: {plain} / {plain}, 2031-09"


@ON_SQLITE
def test_many_reminders_are_split(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "IN_A_MESSAGE", 3)
    monkeypatch.setattr(outbox, "AT_ONCE", 6)
    looked_up = []

    def still_due(*given: Any) -> Any:
        looked_up.append(given)
        return service.still_due(*given)

    monkeypatch.setattr(outbox, "still_due", still_due)
    installed.choose("admin", due=[60], generation=[60])
    installed.target("ada-admin", webhook_url=installed.hook.url, email="ada@example.org")
    made, sent = installed.run()
    assert (made, len(looked_up)) == (Made(32, 12, 0), 1)
    assert counts(sent) == (12, 0, 0, 0)
    assert sorted(len(told(call)) for call in installed.hook.calls) == [1, 3, 3, 3, 3, 3]
    assert len({json.dumps(each) for call in installed.hook.calls for each in told(call)}) == 16


# What becomes of messages


def test_a_message_is_tried_again_with_the_same_id_and_body_also_after_a_restart(installed: Installed) -> None:
    installed.hook.answer = lambda _: (500, {})
    installed.choose()
    installed.target()
    waits = []
    for attempt in range(1, 5):
        store = Store(installed.store.engine.url.render_as_string(hide_password=False))
        assert counts(installed.deliver(store) if attempt > 1 else installed.run(store=store)[1]) == (0, 1, 0, 0)
        store.close()
        message = installed.one()
        assert message.next_attempt_at is not None
        assert (message.attempts, message.last_error) == (attempt, "it answered 500")
        waits.append(message.next_attempt_at - installed.at)
        installed.at = message.next_attempt_at - timedelta(seconds=1)
        assert counts(installed.deliver()) == (0, 0, 0, 0)
        installed.at += timedelta(seconds=1)
    for nth, wait in enumerate(waits):
        assert timedelta(minutes=4) * 2**nth <= wait <= timedelta(minutes=6) * 2**nth
    installed.hook.answer = lambda _: (204, {})
    assert counts(installed.deliver()) == (1, 0, 0, 0)
    assert counts(installed.deliver()) == (0, 0, 0, 0)
    assert len({(call.message_id, call.body) for call in installed.hook.calls}) == 1
    assert len({call.headers["webhook-timestamp"] for call in installed.hook.calls}) == 5
    assert all(verified(call, installed.secrets[PAT]) for call in installed.hook.calls)
    assert installed.one().delivered_at == installed.at


@pytest.mark.parametrize(("asked", "wait"), [("3600", 3600), ("1", 240), ("9999999", 12 * 3600)])
@ON_SQLITE
def test_a_receiver_may_ask_us_to_wait_within_bounds(installed: Installed, asked: str, wait: int) -> None:
    installed.hook.answer = lambda _: (429, {"Retry-After": asked})
    installed.choose()
    installed.target()
    installed.run()
    found = installed.one().next_attempt_at
    assert found is not None
    assert wait <= (found - NOW).total_seconds() <= max(wait, 360)


@ON_SQLITE
@pytest.mark.parametrize("step", [timedelta(0), DAY], ids=["every time", "daily"])
def test_a_message_is_given_up_in_the_end(installed: Installed, step: timedelta) -> None:
    installed.hook.answer = lambda _: (500, {})
    installed.choose()
    installed.target()
    found = [counts(installed.run()[1])]
    while installed.one().next_attempt_at is not None:
        installed.at = max(installed.one().next_attempt_at or NOW, installed.at + step)
        found.append(counts(installed.deliver()))
    assert found == [(0, 1, 0, 0)] * (len(found) - 1) + [(0, 0, 1, 0)]
    assert len(found) == 4 if step else 12 <= len(found) < ATTEMPTS / 2
    assert LIFE <= installed.at - NOW <= LIFE + outbox.LONGEST_WAIT * 1.2
    given_up = installed.one()
    assert given_up.last_error == "it answered 500"
    assert actions(installed.store)[-1] == "give_up_message"
    installed.hook.answer = lambda _: (204, {})
    made, sent = installed.run()
    assert (made.reminders, counts(sent)) == (2, (1, 0, 0, 0))
    assert installed.hook.calls[-1].message_id != given_up.message_id


@ON_SQLITE
def test_a_weekend_without_a_receiver_costs_no_message(installed: Installed) -> None:
    installed.hook.answer = lambda _: (500, {})
    installed.choose()
    installed.target()
    installed.run()
    while installed.at < NOW + timedelta(hours=70):
        assert counts(installed.run()[1])[2:] == (0, 0)
        installed.at = installed.one().next_attempt_at or NOW
    installed.hook.answer = lambda _: (204, {})
    assert counts(installed.run()[1]) == (1, 0, 0, 0)
    assert len({call.message_id for call in installed.hook.calls}) == 1


def test_a_webhook_that_is_gone_is_called_no_more_until_it_is_given_again(installed: Installed) -> None:
    installed.hook.answer = lambda _: (410, {})
    installed.choose(due=[7, 6, 5])
    secret = installed.target()["webhook_secret"]
    made, sent = installed.run()
    assert counts(sent) == (0, 0, 1, 0)
    assert sent.troubles == [f"{installed.one().message_id} by webhook to {PAT}: it answered 410; given up"]
    assert actions(installed.store)[-2:] == ["give_up_message", "webhook_gone"]
    assert installed.run(TODAY + DAY)[0].reminders == 0
    installed.hook.answer = lambda _: (204, {})
    assert "webhook_secret" not in installed.target()
    for day in (TODAY, TODAY + 2 * DAY):
        made, sent = installed.run(day)
        assert (made.reminders, counts(sent)) == (2, (1, 0, 0, 0))
    assert verified(installed.hook.calls[-1], secret)


@ON_SQLITE
def test_a_webhook_that_is_given_again_while_it_says_it_is_gone_is_not(installed: Installed) -> None:
    def answer(_: Call) -> tuple[int, Mapping[str, str]]:
        installed.target()
        return 410, {}

    installed.choose()
    installed.target()
    installed.hook.answer = answer
    assert counts(installed.run()[1]) == (0, 0, 1, 0)
    installed.hook.answer = lambda _: (204, {})
    assert counts(installed.run()[1]) == (1, 0, 0, 0)


@ON_SQLITE
def test_what_a_mail_server_refused_comes_when_the_address_is_given_again(installed: Installed) -> None:
    installed.mail.refused["pat@example.org"] = "550 no"
    installed.choose()
    installed.target(email="pat@example.org")
    assert counts(installed.run()[1]) == (0, 0, 1, 0)
    installed.mail.refused.clear()
    assert installed.run()[0] == Made(0, 0, 0)
    installed.target(email="pat@example.org")
    assert counts(installed.run()[1]) == (1, 0, 0, 0)
    installed.target(email="pat@example.org")
    assert installed.run()[0] == Made(0, 0, 0)


@ON_SQLITE
def test_a_target_that_fails_or_hangs_stops_no_other(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 2)
    is_over = threading.Event()
    for actor, user_id in (
        ("producer", PAT),
        ("manager", "nora-north"),
        ("admin", "ada-admin"),
        ("quinn", "quinn-quartz"),
    ):
        installed.choose(actor)
        installed.target(user_id, webhook_url=f"{installed.hook.url}/{user_id}", email=f"{user_id}@example.org")
    installed.mail.refused = {f"{PAT}@example.org": "550 no", "ada-admin@example.org": "450 later"}
    right = sending.call

    def answer(call: Call) -> tuple[int, Mapping[str, str]]:
        if call.path.endswith(PAT):
            is_over.wait()
        return (503 if call.path.endswith("nora-north") else 204), {}

    def called(url: str, *given: Any) -> Outcome:
        if url.endswith("ada-admin"):
            raise ZeroDivisionError
        return right(url, *given)

    installed.hook.answer = answer
    monkeypatch.setattr(sending, "call", called)
    _, sent = installed.run()
    is_over.set()
    assert counts(sent) == (3, 4, 1, 0)
    details = sorted(trouble.split(": ", 1)[1].split(";")[0] for trouble in sent.troubles)
    assert details == [
        "it answered 503",
        "it did not answer in time",
        "sending failed: ZeroDivisionError",
        "the mail server answered 450",
        "the mail server answered 550",
    ]


@ON_SQLITE
def test_who_is_away_is_tried_no_more_in_a_run_and_its_messages_stay(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 2)
    monkeypatch.setattr(outbox, "IN_A_MESSAGE", 1)
    is_over = threading.Event()
    installed.hook.answer = lambda _: (204 if is_over.wait(30) else 500, {})
    installed.choose("admin", due=[60])
    installed.target("ada-admin")
    installed.choose()
    installed.target(email="pat@example.org")
    began = time.monotonic()
    made, sent = installed.run()
    assert time.monotonic() - began < 10
    is_over.set()
    assert made.messages > 8
    assert counts(sent) == (2, 2, 0, 0)
    assert sent.is_whole
    assert f"{made.messages - 4} more to be tried by the next run" in sent.troubles[-1]
    left = [message for message in installed.messages() if message.attempts == 0]
    assert {message.next_attempt_at for message in left} == {NOW}
    assert counts(installed.deliver()) == (len(left), 0, 0, 0) == (made.messages - 4, 0, 0, 0)


@ON_SQLITE
def test_webhooks_that_hang_keep_no_mail_back(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 2)
    monkeypatch.setattr(outbox, "IN_A_MESSAGE", 1)

    def answer(_: Call) -> tuple[int, Mapping[str, str]]:
        until = time.monotonic() + 4
        while not installed.mail.contents and time.monotonic() < until:
            time.sleep(0.005)
        return 204, {}

    installed.hook.answer = answer
    for actor, user_id in (("manager", "nora-north"), ("admin", "ada-admin"), ("quinn", "quinn-quartz"),
                           ("other manager", "sam-south")):  # fmt: skip
        installed.choose(actor, due=[60])
        installed.target(user_id)
    installed.make()
    installed.at += timedelta(seconds=1)
    installed.choose()
    installed.target(email="pat@example.org")
    made, sent = installed.run()
    assert made == Made(2, 2, 0)
    assert (sent.again, sent.troubles) == (0, [])
    assert len(installed.hook.calls) > 8


@ON_SQLITE
def test_a_run_is_over_when_its_time_is_up(installed: Installed) -> None:
    installed.choose()
    installed.target()
    installed.make()
    ticks = iter(NOW + outbox.RUN * count for count in range(100))
    ways = outbox.ways(installed.store)
    sent = outbox.deliver(installed.store, book_file().book, ways, "command", lambda: next(ticks))
    assert (counts(sent), sent.is_whole) == ((0, 0, 0, 0), False)
    assert counts(installed.deliver()) == (1, 0, 0, 0)


def test_a_crash_between_sending_and_noting_sends_the_same_again_after_the_lease(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    installed.choose()
    installed.target()
    with monkeypatch.context() as patched:
        patched.setattr(kept, "delivered", die)
        with pytest.raises(KeyboardInterrupt):
            installed.run()
    installed.at += LEASE - timedelta(microseconds=1)
    assert counts(installed.deliver()) == (0, 0, 0, 0)
    installed.at += timedelta(microseconds=1)
    assert counts(installed.deliver()) == (1, 0, 0, 0)
    assert len(installed.hook.calls) == 2
    assert len({(call.message_id, call.body) for call in installed.hook.calls}) == 1


@ON_SQLITE
def test_a_message_that_every_run_dies_of_is_given_up(installed: Installed) -> None:
    installed.choose()
    installed.target()
    installed.make()
    for _ in range(ATTEMPTS):
        with installed.store.noting() as connection:
            assert kept.take(connection, kept.due(connection, installed.at)[0].message_id, installed.at)
        installed.at += LEASE
    assert counts(installed.deliver()) == (0, 0, 1, 0)
    assert installed.one().given_up_at == installed.at
    assert actions(installed.store)[-1] == "give_up_message"
    assert (installed.hook.calls, installed.made()) == ([], [])
    assert counts(installed.run()[1]) == (1, 0, 0, 0)


def test_what_comes_to_light_after_the_lease_takes_nothing_back(installed: Installed) -> None:
    installed.choose()
    installed.target()
    installed.make()
    message_id = installed.one().message_id
    with installed.store.noting() as connection:
        first = kept.take(connection, message_id, NOW)
        assert kept.take(connection, message_id, NOW) is None
        second = kept.take(connection, message_id, NOW + LEASE)
    assert first is not None
    assert second is not None
    with installed.store.noting() as connection:
        assert not kept.give_up(connection, first, NOW, "late", forget=True)
        kept.try_again(connection, first, NOW, "late")
    assert installed.one() == second
    assert len(installed.made()) == 2
    with installed.store.noting() as connection:
        kept.delivered(connection, first, NOW)
        kept.try_again(connection, second, NOW, "late")
    assert installed.one().delivered_at == NOW


@ON_SQLITE
def test_changes_are_tried_again_while_the_store_is_busy(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    right, calls = kept.delivered, []

    def busy(*given: Any) -> None:
        calls.append(given)
        if len(calls) < 12:
            raise StoreUnavailable
        right(*given)

    monkeypatch.setattr(kept, "delivered", busy)
    installed.choose()
    installed.target()
    assert counts(installed.run()[1]) == (1, 0, 0, 0)
    assert installed.one().delivered_at == NOW


# What does not hold any more


def test_what_was_paid_meanwhile_is_withdrawn_and_the_rest_comes_in_a_new_message(installed: Installed) -> None:
    installed.choose()
    installed.target(email="pat@example.org", webhook_url=installed.hook.url)
    installed.make()
    before = {message.message_id for message in installed.messages()}
    installed.pay()
    made, sent = installed.run()
    assert (made, counts(sent)) == (Made(2, 2, 0), (2, 0, 0, 2))
    assert installed.told() == [("COBRA", "2031-09-01")]
    assert "MAIN" not in installed.mail.mails[0].get_content()
    assert installed.hook.calls[0].message_id not in before
    assert [key.account_id for key in installed.made()] == ["COBRA", "COBRA"]
    assert actions(installed.store)[-3:] == ["withdraw_message", "withdraw_message", "remind"]
    assert counts(installed.run()[1]) == (0, 0, 0, 0)


@ON_SQLITE
def test_a_payment_that_posts_is_reminded_of_though_it_is_settled(installed: Installed) -> None:
    installed.pay(paid_at="2031-08-25")
    installed.choose(posts_by=[60])
    installed.target()
    assert counts(installed.run()[1]) == (1, 0, 0, 0)
    assert [account for account, _ in installed.told()] == ["MAIN"]


@ON_SQLITE
def test_what_moved_meanwhile_is_told_with_its_new_date(installed: Installed) -> None:
    installed.choose()
    installed.target()
    installed.make()
    installed.move("2031-08-30")
    assert counts(installed.run()[1]) == (2, 0, 0, 1)
    assert sorted(installed.told()) == [("COBRA", "2031-09-01"), ("MAIN", "2031-08-30")]


@ON_SQLITE
def test_what_moved_away_and_back_meanwhile_is_told_once(installed: Installed) -> None:
    installed.choose()
    installed.target()
    installed.make()
    for day in ("2031-08-30", "2031-09-01"):
        installed.move(day)
        assert installed.make() == Made(1, 1, 0)
    assert counts(installed.run()[1]) == (2, 0, 0, 2)
    assert sorted(installed.told()) == [("COBRA", "2031-09-01"), ("MAIN", "2031-09-01")]


@ON_SQLITE
def test_what_is_known_of_deadlines_is_found_anew_after_a_minute(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_: Call) -> tuple[int, Mapping[str, str]]:
        installed.pay("MAIN")
        installed.pay("COBRA")
        installed.at += outbox.FRESH + timedelta(seconds=1)
        return 204, {}

    monkeypatch.setattr(outbox, "IN_A_MESSAGE", 1)
    monkeypatch.setattr(outbox, "TO_A_WEBHOOK", 1)
    installed.hook.answer = answer
    installed.choose()
    installed.target()
    installed.make()
    assert counts(installed.deliver()) == (1, 0, 0, 1)
    assert len(installed.hook.calls) == 1


@ON_SQLITE
@pytest.mark.parametrize("names", [False, True])
def test_names_that_were_turned_on_or_off_meanwhile_are_told_as_is_chosen(installed: Installed, *, names: bool) -> None:
    installed.choose(names=not names)
    installed.target()
    installed.make()
    installed.choose(names=names)
    assert counts(installed.run()[1]) == (1, 0, 0, 1)
    [call] = installed.hook.calls
    assert (b"Acme Ltd" in call.body) == names


@ON_SQLITE
def test_what_is_not_chosen_any_more_is_not_told(installed: Installed) -> None:
    installed.choose(due=[7], grace_end=[10])
    installed.target()
    installed.make()
    installed.choose(due=[8])
    assert counts(installed.run()[1]) == (1, 0, 0, 1)
    assert [(each["kind"], each["lead_days"]) for each in told(installed.hook.calls[0])] == [("due", 8)] * 2
    installed.choose(grace_end=[10])
    installed.make()
    installed.door.ask("producer", "PUT", "/v1/me/reminders", {"lead_days": {}})
    assert counts(installed.run()[1]) == (0, 0, 0, 1)


def test_a_client_that_is_not_open_any_more_is_left_out_and_what_is_comes_in_a_new_message(
    installed: Installed,
) -> None:
    with changing(installed.store) as connection:
        grants.grant(connection, PAT, ZENITH, "setup", NOW)
    installed.choose(names=True)
    installed.target(email="pat@example.org", webhook_url=installed.hook.url)
    installed.make()
    before = {message.message_id for message in installed.messages()}
    assert all(ZENITH in message.reminders for message in installed.messages())
    path = f"/v1/users/{PAT}/grants/{ZENITH}"
    assert installed.door.ask("admin", "DELETE", path).status_code == 204
    made, sent = installed.run()
    assert (made, counts(sent)) == (Made(4, 2, 0), (2, 0, 0, 2))
    [call], [mail] = installed.hook.calls, installed.mail.mails
    assert {each["client_id"] for each in told(call)} == {ACME}
    for text in (call.body.decode(), mail.get_content(), repr(sent.troubles)):
        assert ZENITH not in text
        assert "Quartz" not in text
    assert "Acme Ltd" in mail.get_content()
    assert call.message_id not in before
    assert installed.door.ask("admin", "DELETE", path.replace(ZENITH, ACME)).status_code == 204


@ON_SQLITE
@pytest.mark.parametrize("how", ["disabled", "unentitled", "ungranted", "no target", "no webhook"])
def test_a_message_to_somebody_who_may_not_be_told_is_not_sent(installed: Installed, how: str) -> None:
    installed.choose()
    installed.target()
    installed.make()
    body = {"name": "Pat", "role": "producer", "state": "PA", "entitlements": sorted(ENTITLED)}
    changes: dict[str, tuple[str, str, Any]] = {
        "disabled": ("PUT", f"/v1/users/{PAT}", {**body, "disabled": True}),
        "unentitled": ("PUT", f"/v1/users/{PAT}", {**body, "entitlements": []}),
        "ungranted": ("DELETE", f"/v1/users/{PAT}/grants/{ACME}", None),
        "no target": ("DELETE", f"/v1/users/{PAT}/reminder-targets", None),
        "no webhook": ("PUT", f"/v1/users/{PAT}/reminder-targets", {"email": "pat@example.org"}),
    }
    method, path, sent_body = changes[how]
    answer = installed.door.ask("admin", method, path, sent_body, {"If-Match": '"1"'})
    assert answer.status_code in (200, 204), answer.get_data()
    sent = installed.deliver()
    assert counts(sent) == (0, 0, 0, 1)
    assert (installed.hook.calls, installed.mail.contents) == ([], [])
    message = installed.one()
    assert message.given_up_at == NOW
    assert (message.last_error or "").startswith("withdrawn: ")
    assert actions(installed.store)[-1] == "withdraw_message"
    assert installed.made() == []
    assert counts(installed.run()[1]) == ((1, 0, 0, 0) if how == "no webhook" else (0, 0, 0, 0))
    assert len(installed.mail.contents) == (how == "no webhook")
    if path.endswith("reminder-targets"):
        installed.target()
    elif how == "ungranted":
        with changing(installed.store) as connection:
            grants.grant(connection, PAT, ACME, "setup", NOW)
    else:
        installed.door.ask("admin", "PUT", path, {**body, "disabled": False}, {"If-Match": '"2"'})
    made, sent = installed.run()
    assert (made, counts(sent)) == (Made(2, 1, 0), (1, 0, 0, 0))
    assert installed.hook.calls[-1].message_id != message.message_id


@ON_SQLITE
def test_the_secret_of_a_webhook_is_told_nowhere(installed: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    installed.hook.answer = lambda _: (500, {"X-Odd": "answer-canary"})
    installed.choose()
    installed.target()
    _, sent = installed.run()
    with installed.store.reading() as connection:
        rows = repr([connection.execute(select(table)).all() for table in (audit, messages, reminders)])
    output = capsys.readouterr()
    secret = installed.secrets[PAT].removeprefix("whsec_")
    for text in (rows, repr(sent.troubles), output.out + output.err):
        assert secret not in text
        assert "answer-canary" not in text


def test_old_messages_are_removed_and_what_was_made_is_not(installed: Installed) -> None:
    installed.choose()
    installed.target()
    installed.run()
    installed.at += kept.KEPT - timedelta(microseconds=1)
    installed.deliver()
    assert len(installed.messages()) == 1
    installed.at += timedelta(microseconds=1)
    installed.deliver()
    assert installed.messages() == []
    assert installed.run(TODAY)[0].reminders == 0


# Runs that die, and runs at once


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Runs, Hook, Mailbox]]:
    with hook() as hooked, mailbox() as box, pytest.MonkeyPatch.context() as patched:
        patched.setenv("EBILL_WEBHOOK_NETWORKS", "127.0.0.0/8")
        patched.setenv("EBILL_SMTP_URL", f"smtp://127.0.0.1:{box.port}")
        patched.setenv("EBILL_MAIL_FROM", "ebill@example.com")
        with starter() as runs:
            yield runs, hooked, box


@pytest.fixture
def furnished(store: Store, running: tuple[Runs, Hook, Mailbox]) -> Installed:
    """An installation where five are reminded by both ways, and nothing has been sent yet."""
    _, hooked, box = running
    hooked.calls.clear()
    box.contents.clear()
    made = Installed(door(store), hooked, box)
    for actor, user_id in (("producer", PAT), ("manager", "nora-north"), ("admin", "ada-admin")):
        made.choose(actor, due=[7, 3, 0], grace_end=[60])
        made.target(user_id, webhook_url=hooked.url, email=f"{user_id}@example.org")
    return made


def faults(installed: Installed, days: int) -> list[str]:
    """Say what is wrong once everything was to be sent."""
    found = []
    expected = {
        (user_id, client_id, account_id, "due", lead)
        for user_id, client_ids in ((PAT, [ACME]), ("nora-north", [ACME]), ("ada-admin", [ACME, ZENITH]))
        for client_id in client_ids
        for account_id in ("MAIN", "COBRA")
        for lead in (7, 3, 0)
        if 7 - lead < days
    }
    made = installed.messages()
    for channel in ("email", "webhook"):
        told = Counter(
            (message.user_id, each["client_id"], each["account_id"], "due", each["lead_days"])
            for message in made
            if message.channel == channel
            for each in json.loads(message.reminders)
            if (each["kind"], each["date"]) == ("due", DUE.isoformat())
        )
        if told != Counter(expected):
            found.append(f"by {channel}: {(Counter(expected) - told, told - Counter(expected))}")
    if open_ones := [message for message in made if message.delivered_at is None]:
        found.append(f"not delivered: {open_ones}")
    ids = {message.message_id for message in made}
    received = [(call.message_id, call.body) for call in installed.hook.calls]
    received += [
        (str(mail["Message-ID"])[1:].split("@")[0], content.split(b"\r\nX-Peer", 1)[0])
        for mail, (_, content) in zip(installed.mail.mails, installed.mail.contents, strict=True)
    ]
    if lost := ids - {message_id for message_id, _ in received}:
        found.append(f"lost: {lost}")
    if stray := {message_id for message_id, _ in received} - ids:
        found.append(f"sent and not kept: {stray}")
    if several := [message_id for message_id, count in Counter(i for i, _ in set(received)).items() if count > 1]:
        found.append(f"one id with several contents: {several}")
    return found


def test_runs_that_are_killed_anywhere_lose_nothing_and_make_nothing_twice(
    furnished: Installed, running: tuple[Runs, Hook, Mailbox]
) -> None:
    rng, runs, at = random.Random(20310825), running[0], NOW  # noqa: S311
    url = furnished.store.engine.url.render_as_string(hide_password=False)
    furnished.store.close()
    killed = 0
    for round_ in range(15):
        at = NOW + timedelta(hours=12) * round_
        die_at = rng.choice((4, 16, 28, 40, 60, 90, 130)) + rng.randrange(12)
        killed += runs.run({"url": url, "at": at.isoformat(), "die_at": die_at}) == ["killed"]
    assert killed >= 8
    for late in (LEASE, 2 * LEASE):
        assert runs.run({"url": url, "at": (at + late).isoformat()}) == ["done"]
    assert faults(furnished, 8) == []
    assert len(furnished.hook.calls) >= 9


def test_runs_at_once_make_each_reminder_once_and_send_each_message_once(
    furnished: Installed, running: tuple[Runs, Hook, Mailbox]
) -> None:
    url = furnished.store.engine.url.render_as_string(hide_password=False)
    furnished.store.close()
    for offset in range(4):
        at = NOW + offset * DAY
        assert running[0].run(*[{"url": url, "at": at.isoformat()}] * 4) == ["done"] * 4
    assert faults(furnished, 4) == []
    received = Counter(call.message_id for call in furnished.hook.calls)
    received += Counter(str(mail["Message-ID"]) for mail in furnished.mail.mails)
    assert set(received.values()) == {1}


def test_messages_that_are_sent_before_they_are_kept_are_found(
    furnished: Installed, running: tuple[Runs, Hook, Mailbox]
) -> None:
    url = furnished.store.engine.url.render_as_string(hide_password=False)
    furnished.store.close()
    assert running[0].run({"url": url, "at": NOW.isoformat(), "is_hasty": True}) == ["killed"]
    assert running[0].run({"url": url, "at": NOW.isoformat()}) == ["done"]
    assert [fault.split(":")[0] for fault in faults(furnished, 1)] == ["sent and not kept"]


def test_a_reminder_that_is_kept_without_its_message_is_found(
    furnished: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = kept.post
    monkeypatch.setattr(kept, "post", lambda connection, new: right(connection, new[1:]))
    monkeypatch.setenv("EBILL_WEBHOOK_NETWORKS", "127.0.0.0/8")
    furnished.run()
    assert any(fault.startswith("by email") for fault in faults(furnished, 1))


# The command


@pytest.fixture
def commanded(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> Installed:
    url = installed.store.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("EBILL_DATABASE_URL", url)
    monkeypatch.delenv("EBILL_STATES", raising=False)
    monkeypatch.setattr(command, "_now", lambda: installed.at)
    return installed


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@ON_SQLITE
def test_the_command_makes_and_sends_and_says_so(commanded: Installed) -> None:
    commanded.choose(due=[7, 1])
    commanded.target(email="pat@example.org", webhook_url=commanded.hook.url)
    for day, left in (
        ("today", "in 7 days"),
        ("2031-08-30", "in 2 days"),
        ("2031-08-31", "in 1 day"),
        ("2031-09-01", "today"),
    ):
        lines = [f"{PAT}  Mon 2031-09-01  Premium due: {ACME} / {account}, 2031-09  ({left}, by {channel})"
                 for channel in ("email", "webhook") for account in ("COBRA", "MAIN")]  # fmt: skip
        tried = run("remind", "--dry-run", "--as-of", day)
        assert (tried.exit_code, tried.stdout.splitlines()) == (0, [*lines, "4 reminders in 2 messages would be made"])
    assert commanded.messages() == []
    ran = run("remind", "--as-of", "today")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == "4 reminders in 2 messages; 2 delivered, 0 to be tried again, 0 given up\n"
    assert run("remind").stdout == "0 reminders in 0 messages; 0 delivered, 0 to be tried again, 0 given up\n"
    commanded.hook.answer = lambda _: (500, {})
    commanded.mail.refused["pat@example.org"] = "550 no"
    ran = run("remind", "--as-of", "2031-08-31")
    assert ran.exit_code == 1
    assert ran.stdout == "4 reminders in 2 messages; 0 delivered, 1 to be tried again, 1 given up\n"
    assert ran.stderr.count("! msg_") == 2
    refused = run("remind", "--as-of", "tomorrow")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--as-of: must be a date YYYY-MM-DD" in refused.stderr


@ON_SQLITE
def test_the_command_does_nothing_half_where_mail_has_nowhere_to_go(
    commanded: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    commanded.choose()
    commanded.target(email="pat@example.org")
    monkeypatch.delenv("EBILL_SMTP_URL")
    refused = run("remind")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "ebill: EBILL_SMTP_URL must be set: somebody's reminders go by mail.\n"
    assert commanded.made() == []
    with pytest.raises(SettingRefused):
        outbox.ways(commanded.store)
    commanded.choose(due=[])
    assert run("remind").exit_code == 0
    commanded.choose()
    assert run("remind").exit_code == 2
    body = {"name": "Pat", "role": "producer", "state": "PA", "entitlements": sorted(ENTITLED), "disabled": True}
    answer = commanded.door.ask("admin", "PUT", f"/v1/users/{PAT}", body, {"If-Match": '"1"'})
    assert (answer.status_code, run("remind").exit_code) == (200, 0)
    commanded.door.ask("admin", "PUT", f"/v1/users/{PAT}", {**body, "disabled": False}, {"If-Match": '"2"'})
    assert run("remind").exit_code == 2
    commanded.target()
    assert run("remind").exit_code == 0


@ON_SQLITE
def test_the_command_says_where_reminders_go(commanded: Installed) -> None:
    ran = run("user", "reminders", PAT, "--email", "pat@example.org", "--webhook", commanded.hook.url)
    assert ran.exit_code == 0
    assert ran.stdout.startswith("whsec_")
    assert ran.stderr == f"The reminders of {PAT} go to pat@example.org and to {commanded.hook.url}\n"
    commanded.choose()
    commanded.run()
    assert verified(commanded.hook.calls[0], ran.stdout.strip())
    again = run("user", "reminders", PAT, "--webhook", commanded.hook.url)
    assert (again.exit_code, again.stdout) == (0, "")
    assert run("user", "reminders", PAT, "--none").exit_code == 0
    assert run("user", "reminders", PAT).exit_code == 2
    assert run("user", "reminders", PAT, "--none", "--email", "pat@example.org").exit_code == 2
    refused = run("user", "reminders", PAT, "--webhook", "https://127.1/")
    assert "--webhook-url: must have a host name" in refused.stderr
    assert run("user", "reminders", "nobody", "--email", "pat@example.org").exit_code == 2
    with commanded.store.reading() as connection, pytest.raises(UserNotFound):
        service.targets(connection, "nobody")
