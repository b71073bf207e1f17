"""Payments on the pages: recorded, corrected and withdrawn by a form, as by the API, and nothing that is not said."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from werkzeug.test import TestResponse

from ebill.errors import NotPaidYet
from ebill.store.engine import Store
from ebill.web.pages import payments as page
from tests.visits import Visits, text_of, visits
from tests.world import ACME

pytestmark = pytest.mark.anywhere

AT = f"/clients/{ACME}/bill-accounts/MAIN/payments"
API = f"/v1/clients/{ACME}/bill-accounts/MAIN/payments"
NOW = datetime.now(UTC)
MONTH = f"{NOW:%Y-%m}"
YESTERDAY = (NOW - timedelta(days=1)).date().isoformat()
"""Its invoice is out by then on every day: the default is 20 days before the month."""
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def opened(sqlite_url: str) -> Iterator[Visits]:
    store = Store(sqlite_url)
    yield visits(store)
    store.close()


def _send(opened: Visits, actor: str = "manager", **form: str) -> TestResponse:
    return opened.send(actor, AT, form)


def _record(opened: Visits, **form: str) -> str:
    """Record a payment by the form; gives its id."""
    answer = _send(opened, **{"coverage_month": MONTH, "paid_on": YESTERDAY, **form})
    assert answer.status_code == 303, text_of(answer)
    found = re.fullmatch(rf"{re.escape(AT)}\?recorded=([0-9a-f]{{16}})#recorded", answer.headers["Location"])
    assert found
    return found[1]


def _notices(opened: Visits) -> list[dict[str, Any]]:
    notices: list[dict[str, Any]] = opened.ask("admin", "GET", API).get_json()["data"]
    return notices


def _page(opened: Visits, actor: str = "manager", more: str = "") -> str:
    answer = opened.look(actor, AT + more)
    assert answer.status_code == 200
    return text_of(answer)


def _fault(answer: TestResponse, field: str) -> str:
    """Give what is said to be wrong with a field, at that field."""
    found = re.search(rf'<span class="fault" id="{field}_fault">([^<]*)</span>', text_of(answer))
    return found[1] if found else ""


@pytest.mark.parametrize(
    ("form", "paid_at"), [({}, YESTERDAY), ({"pay_at": "16:30"}, f"{YESTERDAY}T16:30:00")], ids=["day", "day and time"]
)
def test_a_payment_recorded_by_the_form_is_the_one_the_api_tells_of(
    opened: Visits, form: Mapping[str, str], paid_at: str
) -> None:
    payment_id = _record(opened, **form, reason="By wire")
    (notice,) = _notices(opened)
    said = {name: notice[name] for name in ("payment_id", "coverage_month", "paid_at", "reason", "recorded_by")}
    assert said == {
        "payment_id": payment_id,
        "coverage_month": MONTH,
        "paid_at": paid_at,
        "reason": "By wire",
        "recorded_by": "nora-north",
    }
    shown = _page(opened, more=f"?recorded={payment_id}")
    assert "Recorded: <time" in shown
    preview = opened.ask("admin", "POST", f"{API}/preview", {"coverage_month": MONTH, "paid_at": paid_at}).get_json()
    for name in ("received_date", "posts_from_date", "posts_by_date"):
        assert f'<time datetime="{preview["meaning"][name]}">' in shown


def test_a_form_that_is_sent_twice_records_one_payment(opened: Visits) -> None:
    _record(opened)
    again = _send(opened, coverage_month=MONTH, paid_on=YESTERDAY)
    assert again.status_code == 409
    assert "is paid already" in _fault(again, "coverage_month")
    assert len(_notices(opened)) == 1


def test_a_correction_replaces_what_was_recorded_and_keeps_it_to_be_seen(opened: Visits) -> None:
    first = _record(opened)
    form = _page(opened, more=f"?replaces={first}")
    assert f'name="replaces" value="{first}"' in form
    assert f'name="paid_on" type="date" value="{YESTERDAY}"' in form
    second = _record(opened, replaces=first, pay_at="09:15", way="paid")
    assert [(each["payment_id"], each["in_force"]) for each in _notices(opened)] == [(first, False), (second, True)]
    shown = _page(opened)
    assert (shown.count("Replaced"), shown.count(f"?replaces={second}"), f"?replaces={first}" in shown) == (1, 1, False)


def test_a_withdrawal_says_why_and_the_invoice_is_unpaid_again(opened: Visits) -> None:
    first = _record(opened)
    without = _send(opened, coverage_month=MONTH, replaces=first, way="withdraw", paid_on=YESTERDAY)
    assert (without.status_code, _fault(without, "reason")) == (422, "say why")
    assert f'name="replaces" value="{first}"' in text_of(without)
    withdrawn = _record(opened, replaces=first, way="withdraw", reason="The check bounced")
    assert "No payment of this month counts now." in _page(opened, more=f"?recorded={withdrawn}")
    assert [each["in_force"] for each in _notices(opened)] == [False, False]
    assert f'<option value="{MONTH}"' in _page(opened)


@pytest.mark.parametrize("way", ["paid", "withdraw"])
def test_who_changes_what_another_has_corrected_meanwhile_is_told_and_sees_what_counts(
    opened: Visits, way: str
) -> None:
    first = _record(opened)
    second = _record(opened, replaces=first, pay_at="09:15")
    late = _send(
        opened, coverage_month=MONTH, replaces=first, paid_on=YESTERDAY, pay_at="10:00", reason="Mine", way=way
    )
    assert late.status_code == 409
    assert "This payment was corrected already, by nora-north." in text_of(late)
    shown = [f'name="replaces" value="{second}"', 'value="09:15"', 'value="10:00"', "Mine"]
    assert [each in text_of(late) for each in shown] == [True, True, False, False]
    assert "This payment was corrected already" in _page(opened, more=f"?replaces={first}")
    assert len(_notices(opened)) == 2


def test_a_withdrawal_that_is_sent_twice_leaves_no_form_that_would_pay_the_invoice(opened: Visits) -> None:
    form = {"replaces": _record(opened), "way": "withdraw", "reason": "The check bounced", "paid_on": YESTERDAY}
    _record(opened, **form)
    again = _send(opened, coverage_month=MONTH, **form)
    assert again.status_code == 409
    assert "This payment was withdrawn already, by nora-north." in text_of(again)
    assert f'value="{YESTERDAY}"' not in text_of(again)
    assert 'value="The check bounced"' not in text_of(again)


def test_what_was_withdrawn_and_paid_anew_is_not_called_unpaid(opened: Visits) -> None:
    first = _record(opened)
    withdrawn = _record(opened, replaces=first, way="withdraw", reason="The check bounced")
    assert "No payment of this month counts now." in _page(opened, more=f"?recorded={withdrawn}")
    assert "It was withdrawn since." in _page(opened, more=f"?recorded={first}")
    _record(opened)
    assert "No payment of this month counts now." not in _page(opened, more=f"?recorded={withdrawn}")
    assert "It was corrected since." in _page(opened, more=f"?recorded={first}")


TOMORROW = (NOW + timedelta(days=2)).date().isoformat()


@pytest.mark.parametrize(
    ("form", "field", "said"),
    [
        ({"paid_on": "tomorrow", "pay_at": "noon"}, "pay_at", "must be a time such as 16:30"),
        ({"paid_on": ""}, "paid_on", "say on which day it was paid"),
        ({"paid_on": "", "pay_at": "10:00"}, "paid_on", "say on which day it was paid"),
        ({"paid_on": TOMORROW}, "paid_on", "is yet to come"),
        ({"pay_at": "25:00"}, "pay_at", "must be a time such as 16:30"),
        ({"paid_on": "2026-02-30"}, "paid_on", "must be"),
        ({"paid_on": "1999-12-31"}, "paid_on", "from 2000 to 2099"),
        ({"paid_on": "2026-01-02"}, "paid_on", "is before its invoice was generated, "),
        ({"coverage_month": "2026-13"}, "coverage_month", "must be"),
        ({"coverage_month": ""}, "coverage_month", "is required"),
        ({"reason": "x" * 501}, "reason", "must be"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(
    opened: Visits, form: Mapping[str, str], field: str, said: str
) -> None:
    given = {"coverage_month": MONTH, "paid_on": YESTERDAY, "reason": "By wire", **form}
    answer = _send(opened, **given)
    assert answer.status_code == 422
    assert said in _fault(answer, field)
    for name in ("paid_on", "reason"):
        assert not given[name] or f'value="{given[name]}"' in text_of(answer)
    assert _notices(opened) == []


@pytest.mark.parametrize(("is_today", "field"), [(True, "pay_at"), (False, "paid_on")])
def test_of_a_payment_to_come_the_time_is_wrong_where_the_day_is_not(*, is_today: bool, field: str) -> None:
    typed = {"paid_on": YESTERDAY, "pay_at": "23:00"}
    (wrong,), others = page._wrong(typed, NotPaidYet(is_today=is_today))
    assert (wrong, others) == (field, [])


@pytest.mark.parametrize("more", ["payment_id", "recorded_by", "withdrawn", "client_id"])
def test_a_form_says_nothing_else(opened: Visits, more: str) -> None:
    answer = _send(opened, coverage_month=MONTH, paid_on=YESTERDAY, **{more: "x"})
    assert answer.status_code == 422
    assert "unknown form field" in text_of(answer)
    assert _notices(opened) == []


def test_a_producer_without_the_terms_sees_payments_and_how_to_record_one(opened: Visits) -> None:
    opened.send("producer", "/me/payment-terms", {"accepted": "no"})
    _record(opened, reason=HOSTILE)
    shown = _page(opened, "producer")
    assert 'href="/me#terms"' in shown
    assert "<form" not in shown.split("<main")[1]
    assert "Correct" not in shown
    assert _send(opened, "producer", coverage_month=MONTH, paid_on=YESTERDAY).status_code == 403
    assert "Record its payment" not in text_of(opened.look("producer", f"/clients/{ACME}"))


def test_who_may_record_finds_the_way_from_the_client_s_page(opened: Visits) -> None:
    link = f"{AT}?month={MONTH}#record"
    assert link in text_of(opened.look("producer", f"/clients/{ACME}"))
    assert f'<option value="{MONTH}" selected>' in _page(opened, "producer", f"?month={MONTH}")
    _record(opened)
    assert link not in text_of(opened.look("producer", f"/clients/{ACME}"))


def test_hostile_words_are_text(opened: Visits) -> None:
    _record(opened, reason=HOSTILE)
    shown = _page(opened)
    assert HOSTILE not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown


@pytest.mark.parametrize("what", ["replaces=nothing-like-it", "recorded=nothing-like-it", "month=2024-01"])
def test_what_there_is_not_is_no_trouble(opened: Visits, what: str) -> None:
    assert "Record a payment" in _page(opened, more=f"?{what}")


def test_an_account_that_is_not_there_is_not_found(opened: Visits) -> None:
    assert opened.look("manager", AT.replace("MAIN", "NONE")).status_code == 404
    assert opened.send("manager", AT.replace("MAIN", "NONE"), {"coverage_month": MONTH}).status_code == 404


def test_a_payment_with_an_offset_is_corrected_by_the_clock_that_its_account_had_then(opened: Visits) -> None:
    then = NOW.replace(day=1) - timedelta(days=40)
    month = f"{then:%Y-%m}"
    body = {"coverage_month": month, "paid_at": f"{month}-10T21:30:00+00:00"}
    key = {"Idempotency-Key": "a key of a test"}
    made = opened.ask("admin", "POST", API, body, key).get_json()
    moved = {
        "since": MONTH,
        "timezone": "America/Los_Angeles",
        "cite": "They moved",
        "retroactive": True,
        "reason": "They moved",
    }
    path = f"/v1/clients/{ACME}/bill-accounts/MAIN/rules"
    assert opened.ask("manager", "POST", path, moved, {"Idempotency-Key": "another one"}).status_code == 201
    payment_id = made["payment"]["payment_id"]
    shown = _page(opened, more=f"?replaces={payment_id}")
    hour = datetime.fromisoformat(body["paid_at"]).astimezone(ZoneInfo("America/New_York")).strftime("%H:%M")
    assert f'value="{hour}"' in shown
    _record(opened, coverage_month=month, replaces=payment_id, paid_on=f"{month}-10", pay_at=hour, reason="Only a word")
    again = {"coverage_month": month, "paid_at": _notices(opened)[-1]["paid_at"]}
    told = opened.ask("admin", "POST", f"{API}/preview", again).get_json()
    assert {**told["meaning"], "paid_at": None} == {**made["meaning"], "paid_at": None}


def test_a_month_whose_grace_is_over_is_chosen_by_whoever_records(opened: Visits) -> None:
    still = _months(opened)
    assert f'<option value="{still[0]}" selected>' in _page(opened)
    for number, month in enumerate(still):
        today = datetime.now(ZoneInfo("America/New_York")).date().isoformat()  # one may have been generated today
        _record(opened, coverage_month=month, paid_on=today, reason=f"The {number}th")
    shown = _page(opened)
    assert '<option value="">Choose a month</option>' in shown
    assert "selected" not in shown.split('name="coverage_month"')[1].split("</select>")[0]


def _months(opened: Visits) -> list[str]:
    """Give the months whose invoices are out, and whose grace is not over."""
    first = f"{NOW.replace(day=1) - timedelta(days=40):%Y-%m}"
    path = f"/v1/clients/{ACME}/bill-accounts/MAIN/schedule?from={first}&months=6"
    invoices = opened.ask("admin", "GET", path).get_json()["bill_accounts"][0]["invoices"]
    return [each["coverage_month"] for each in invoices if each["standing"] in ("invoiced", "in_grace")]
