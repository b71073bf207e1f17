"""A client manager's change by the pages: it is shown as the API's dry run has it, and saved as the API saves it."""

import random
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from markupsafe import escape
from werkzeug.test import TestResponse

from ebill.store import clients
from ebill.store.audit import By
from ebill.store.clients import Account, Client
from ebill.store.engine import Store
from ebill.store.tables import audit, exceptions, rules
from ebill.web.pages.exception_form import body as exception_body
from ebill.web.pages.rule_form import filled, rule
from ebill.web.pages.settings_form import OF_CLIENT
from ebill.web.pages.settings_form import body as settings_body
from ebill.web.pages.settings_form import filled as settings_filled
from tests.strategies import DUES, GENERATIONS, GRACES, PAY_BYS, POSTINGS
from tests.test_api_clients import count
from tests.test_pages import HOSTILE
from tests.visits import Visits, text_of, visits
from tests.world import ACME, MARK, ZENITH

pytestmark = pytest.mark.anywhere

Data = dict[str, Any]
OF_CLIENT_AT = f"/clients/{ACME}/configure"
OF_ACCOUNT_AT = f"/clients/{ACME}/bill-accounts/MAIN/configure"
FAR = {"kind": "generation", "way": "day_of_month", "day_of_month": "9", "since": "2028-01", "cite": "Letter"}
"""A change that moves dates of invoices to come, with hazards."""
GRACE = {"kind": "grace", "way": "days", "days": "45", "since": "2028-01", "cite": "Letter"}
"""One without any hazard: everybody has more time."""
PAST = {"kind": "grace", "way": "days", "days": "45", "since": "2025-01", "cite": "Letter"}
"""One that moves invoices generated long ago."""


@pytest.fixture
def opened(sqlite_url: str) -> Iterator[Visits]:
    store = Store(sqlite_url)
    yield visits(store)
    store.close()


@pytest.fixture(scope="module")
def shared(ready: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visits]:
    """The same, for those who only look."""
    copy = shutil.copy(ready.removeprefix("sqlite:///"), tmp_path_factory.mktemp("configure"))
    store = Store(f"sqlite:///{copy}")
    yield visits(store)
    store.close()


def ask(opened: Visits, at: str, fields: Mapping[str, str], actor: str = "manager") -> TestResponse:
    return opened.look(actor, f"{at}?{urlencode(fields)}")


def saving(page: str) -> dict[str, str]:
    """Give what the form that saves sends, but for the token and what is ticked or typed there."""
    (form,) = re.findall(r'<form method="post" action="[^"]*" class="save">(.*?)</form>', page, re.DOTALL)
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
    return {name: unescape(value) for name, value in fields if name != "form_token"}


def is_savable(page: str) -> bool:
    return 'class="save"' in page


def save(opened: Visits, at: str, fields: Mapping[str, str], actor: str = "manager", **more: str) -> TestResponse:
    """Look at what a change would do, and save it."""
    return opened.send(actor, at, {**saving(text_of(ask(opened, at, fields, actor))), **more})


def moved(page: str) -> list[tuple[str, str, str, str, str]]:
    """Give every date that a page says would move: coverage month, account, its name, before and after."""
    found = re.findall(r'<details class="why every">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", found[0] if found else "", re.DOTALL)
    told = []
    for row in rows:
        month, account, name, before, after = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        told.append((when(month), account, name, when(before), when(after)))
    return told


def when(cell: str) -> str:
    found = re.search(r'datetime="([^"]*)"', cell)
    return found[1] if found else "None"


NAMES = {
    "generation_date": "Generated",
    "due_date": "Due",
    "safe_pay_by_date": "Safe pay-by",
    "recommended_pay_by_date": "Recommended pay-by",
    "next_generation_date": "Next invoice",
    "grace_end_date": "Grace ends",
}


def as_shown(effect: Data) -> list[tuple[str, str, str, str, str]]:
    return [
        (each["coverage_month"], each["account_id"], NAMES[each["name"]], str(each["before"]), str(each["after"]))
        for each in effect["moved"]
    ]


def api(at: str) -> str:
    return "/v1" + at.removesuffix("/configure")


# forms and bodies


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        *(("generation", ways) for ways in GENERATIONS.values()),
        *(("grace", ways) for ways in GRACES.values()),
        ("due", DUES),
        ("pay_by", PAY_BYS),
        ("posting", POSTINGS),
        ("calendar", ["XFED", "US-PA"]),
        ("timezone", ["America/New_York"]),
        ("skip_coverage_months", [[], [7], [1, 12], [6, 7, 8]]),
    ],
)
def test_every_rule_there_is_can_be_said_in_the_form(kind: str, ways: list[Any]) -> None:
    assert [way for way in ways if rule(kind, filled(kind, way)) != way] == []


def test_what_is_typed_into_another_way_than_the_chosen_one_counts_for_nothing() -> None:
    typed = {"way": "days_before_due", "days_before_due": "20", "day_of_month": "12", "nth": "1", "weekday": "MO"}
    assert rule("generation", typed) == {"days_before_due": 20}
    assert rule("generation", {"way": "day_of_month", "days_before_due": "20"}) == {"day_of_month": None}


def test_settings_that_are_filled_in_come_back_as_they_were() -> None:
    data = dict.fromkeys(OF_CLIENT) | {"name": "Acme", "state": "PA", "skip_coverage_months": (7, 8), "version": 3}
    given = settings_filled(OF_CLIENT, data)
    assert given["version"] == "3"
    assert settings_body(OF_CLIENT, given) == {"name": "Acme", "state": "PA", "skip_coverage_months": [7, 8]}
    assert "skip_coverage_months" not in settings_body(OF_CLIENT, settings_filled(OF_CLIENT, data | {
        "skip_coverage_months": None}))  # fmt: skip


# what is in force


def test_what_is_in_force_says_where_it_comes_from(shared: Visits) -> None:
    page = text_of(shared.look("manager", OF_CLIENT_AT))
    assert "from the house" in page
    assert "its own" in page
    assert "Acme letter" in page
    of_account = text_of(shared.look("manager", OF_ACCOUNT_AT))
    assert f"from the client, {ACME}" in of_account
    assert "its own" not in of_account


def test_a_rule_to_come_is_told_before_it_governs(opened: Visits) -> None:
    save(opened, OF_CLIENT_AT + "/rule", GRACE)
    (lead,) = re.findall('<p class="lead">(.*?)</p>', text_of(ask(opened, OF_CLIENT_AT + "/rule", {"kind": "grace"})))
    assert re.search(r"Now: .*\. From Jan 2028: .*45 days.* \(its own\)\.$", lead)
    page = text_of(opened.look("manager", OF_CLIENT_AT))
    assert "45 days after the due date" in page
    assert "30 days after the due date" in page


def test_a_form_begins_with_what_is_in_force(shared: Visits) -> None:
    page = text_of(ask(shared, OF_CLIENT_AT + "/rule", {"kind": "generation"}))
    assert re.search(r'value="day_of_month" checked', page)
    assert re.search(r'id="day_of_month" name="day_of_month" type="text" value="12"', page)
    assert not is_savable(page)
    inherited = text_of(ask(shared, OF_CLIENT_AT + "/rule", {"kind": "generation", "way": "inherited"}))
    assert re.search(r'value="inherited" checked', inherited)
    assert "from the state, PA" in inherited


def test_a_form_begins_with_the_first_month_from_which_on_nothing_is_generated_yet(shared: Visits) -> None:
    page = text_of(ask(shared, OF_ACCOUNT_AT + "/rule", {"kind": "generation"}))
    (since,) = re.findall(r'<option value="(\d{4}-\d\d)" selected>', page)
    told = shared.ask("manager", "GET", f"{api(OF_ACCOUNT_AT)}/schedule?months=6").get_json()["bill_accounts"][0]
    coming = [each["coverage_month"] for each in told["invoices"] if each["generation_date"] > told["as_of"]]
    assert since == coming[0]
    assert ask(shared, OF_ACCOUNT_AT + "/rule", FAR | {"since": since}).status_code == 200
    assert "An invoice that is out already" not in text_of(ask(shared, OF_ACCOUNT_AT + "/rule", FAR | {"since": since}))


def test_a_month_that_is_not_among_those_to_choose_from_can_be_asked_about(shared: Visits) -> None:
    page = text_of(ask(shared, OF_CLIENT_AT + "/rule", PAST | {"since": "2020-01"}))
    assert '<option value="2020-01" selected>Jan 2020</option>' in page


def test_what_stands_in_the_settings_is_changed_there(opened: Visits) -> None:
    body = {"name": "Acme Ltd", "team_id": "north", "state": "PA", "timezone": "US/Eastern"}
    opened.ask("manager", "PUT", api(OF_CLIENT_AT), body, {"If-Match": '"1"'})
    page = text_of(opened.look("manager", OF_CLIENT_AT))
    assert "Local time of US/Eastern" in page
    assert f'<a href="{OF_CLIENT_AT}/settings">In the settings</a>' in page
    assert "In the settings" not in text_of(opened.look("manager", OF_ACCOUNT_AT))


def test_an_account_s_own_exception_hides_its_client_s_until_it_is_withdrawn(opened: Visits) -> None:
    seen = []
    for at, more in (
        (OF_CLIENT_AT, {"reason": "of the client"}),
        (OF_ACCOUNT_AT, {"reason": "of the account", "due_date": "2028-03-04"}),
        (OF_ACCOUNT_AT, {"reason": "A slip", "way": "withdraw"}),
    ):
        answer = save(opened, at + "/exception", FIX | more, acknowledged="yes")
        assert answer.status_code == 303
        page = text_of(opened.look("manager", OF_ACCOUNT_AT)).split('id="changes"')[0]
        seen.append(["of the client" in page, "of the account" in page, 'datetime="2028-03-03"' in page])
    assert seen == [[True, False, True], [False, True, False], [True, False, True]]


def test_only_those_who_may_configure_are_led_there(shared: Visits) -> None:
    link = f'href="/clients/{ACME}/configure"'
    assert link in text_of(shared.look("manager", f"/clients/{ACME}"))
    assert link in text_of(shared.look("admin", f"/clients/{ACME}"))
    assert "/configure" not in text_of(shared.look("producer", f"/clients/{ACME}"))
    assert "/configure" not in text_of(shared.look("producer", "/clients"))


# previews


def bodies(number: int) -> list[tuple[str, str, Data]]:
    """Draw rules: for whom, of which kind, and the body."""
    rng = random.Random(20)  # noqa: S311  # no secret
    kinds: dict[str, list[Any]] = {
        "generation": [each for ways in GENERATIONS.values() for each in ways],
        "grace": [each for ways in GRACES.values() for each in ways],
        "due": DUES,
        "pay_by": PAY_BYS,
        "posting": [each for each in POSTINGS if each["max_business_days"] <= 5],
        "skip_coverage_months": [[], [7], [6, 7, 8]],
        "timezone": ["America/Chicago", "Nowhere/Else"],
        "calendar": ["US-PA", "NONE"],
    }
    drawn = []
    for _ in range(number):
        kind = rng.choice(sorted(kinds))
        since = rng.choice(["2000-01", "2026-01", "2027-06", "2028-01", "2031-01", "2098-01"])
        given = rng.choice(kinds[kind]) if rng.random() < 0.9 else "inherited"
        body = {"since": since, kind: given, "cite": "Letter"}
        drawn.append((rng.choice([OF_CLIENT_AT, OF_ACCOUNT_AT]), kind, body))
    return drawn


DRAWN = bodies(60)


@pytest.mark.parametrize("number", range(len(DRAWN)))
def test_a_preview_is_the_api_s_dry_run_of_the_same_body(shared: Visits, number: int) -> None:
    at, kind, body = DRAWN[number]
    fields = {"kind": kind, "since": body["since"], "cite": body["cite"], **filled(kind, body[kind])}
    answer = ask(shared, at + "/rule", fields)
    page = text_of(answer)
    told = shared.ask("manager", "POST", f"{api(at)}/rules?dry_run=true", body)
    if told.status_code != 200 and told.get_json()["code"] == "moves_generated_invoice":
        assert "An invoice that is out already would move" in page
        meant = {**body, "retroactive": True, "reason": "so"}
        told = shared.ask("manager", "POST", f"{api(at)}/rules?dry_run=true", meant)
    if told.status_code != 200:
        assert (answer.status_code, is_savable(page)) == (422, False)
        details = [each["detail"] for each in told.get_json().get("errors", [])]
        assert [each for each in details if str(escape(each)) not in page] == []
        return
    effect = told.get_json()
    assert answer.status_code == 200
    assert moved(page) == as_shown(effect)
    assert page.count("<li>MAIN, ") + page.count("<li>COBRA, ") == len(effect["hazards"])
    counts = effect["counts"]
    assert counts["dates_moved"] == 0 or f"{counts['dates_moved']:,} date" in page
    assert ("I have read" in page) == bool(effect["hazards"])
    assert is_savable(page)


def test_a_worked_example_shows_each_month_before_and_after(shared: Visits) -> None:
    page = text_of(ask(shared, OF_ACCOUNT_AT + "/rule", GRACE))
    (table,) = re.findall(r'<table class="stacked year worked moves">(.*?)</table>', page, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1], re.DOTALL)
    assert [when(row) for row in rows] == [f"2028-{month:02}" for month in range(1, 13)]
    told = shared.ask("manager", "GET", f"{api(OF_ACCOUNT_AT)}/schedule?from=2028-01&months=12").get_json()
    for row, invoice in zip(rows, told["bill_accounts"][0]["invoices"], strict=True):
        before, after = re.findall(r'<td data-label="Grace ends" class="moved">(.*?)</td>', row)[0].split('<b class="w')
        assert when(before) == invoice["grace_end_date"] < when(after)
        assert row.count('class="moved"') == 1


def test_a_worked_example_begins_with_the_month_before_where_its_next_invoice_moves(shared: Visits) -> None:
    fields = {**GRACE, "kind": "generation", "way": "days_before_due", "days_before_due": "25"}
    page = text_of(ask(shared, OF_ACCOUNT_AT + "/rule", fields))
    (table,) = re.findall(r'<table class="stacked year worked moves">(.*?)</table>', page, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1], re.DOTALL)
    assert [when(row) for row in rows[:2]] == ["2027-12", "2028-01"]
    assert 'data-label="Next invoice" class="moved"' in rows[0]
    assert 'data-label="Generated" class="moved"' not in rows[0]


def test_accounts_that_move_alike_are_worked_out_together(shared: Visits) -> None:
    page = text_of(ask(shared, OF_CLIENT_AT + "/rule", GRACE))
    assert page.count('<table class="stacked year worked') == 1
    assert "COBRA, MAIN: twelve coverage months" in page


def test_looking_and_trying_writes_nothing(shared: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a page that is looked at began to write")

    before = [count(shared, table) for table in (audit, rules, exceptions)]
    monkeypatch.setattr(Store, "writing", refuse)
    for fields in (FAR, GRACE, PAST):
        assert is_savable(text_of(ask(shared, OF_CLIENT_AT + "/rule", fields)))
    assert is_savable(text_of(ask(shared, OF_CLIENT_AT + "/settings", settings(shared) | {"state": "NY"})))
    assert [count(shared, table) for table in (audit, rules, exceptions)] == before


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (FAR | {"day_of_month": "40"}, "day_of_month"),
        (FAR | {"day_of_month": "x"}, "day_of_month"),
        (FAR | {"since": "1999-01"}, "since"),
        (FAR | {"way": "nonsense"}, "way"),
        (FAR | {"cite": "a\u202eb"}, "cite"),
        ({"kind": "calendar", "way": "own", "named": "NOWHERE", "since": "2028-01", "cite": "x"}, "named"),
        ({"kind": "posting", "way": "own", "min_business_days": "9", "max_business_days": "1", "cutoff": "5 pm",
          "since": "2028-01", "cite": "x"}, "cutoff"),
    ],
    ids=str,
)  # fmt: skip
def test_a_slip_is_shown_at_its_field_and_cannot_be_saved(shared: Visits, fields: Data, field: str) -> None:
    answer = ask(shared, OF_CLIENT_AT + "/rule", fields)
    page = text_of(answer)
    assert (answer.status_code, is_savable(page)) == (422, False)
    assert re.search(rf'id="{field}_fault"', page)


def test_what_only_saving_needs_is_asked_for_without_alarm(shared: Visits) -> None:
    answer = ask(shared, OF_CLIENT_AT + "/rule", {name: said for name, said in FAR.items() if name != "cite"})
    page = text_of(answer)
    assert (answer.status_code, is_savable(page)) == (200, False)
    assert "To save it, fill in who says so." in page
    assert 'role="alert"' not in page
    assert moved(page)


def test_there_is_no_form_for_another_kind(shared: Visits) -> None:
    for kind in ("grace_floor", "nonsense"):
        assert ask(shared, OF_CLIENT_AT + "/rule", {"kind": kind}).status_code == 400
    assert ask(shared, OF_CLIENT_AT + "/rule", {"kind": "due", "nonsense": "1"}).status_code == 422


# saving


def test_a_change_is_saved_as_the_api_saves_it_and_its_audit_row_is_shown(opened: Visits) -> None:
    answer = save(opened, OF_ACCOUNT_AT + "/rule", FAR, acknowledged="yes", why="Agreed")
    assert answer.status_code == 303
    by_page = opened.ask("manager", "GET", f"{api(OF_ACCOUNT_AT)}/rules").get_json()["data"][-1]
    body = {"since": "2028-01", "generation": {"day_of_month": 9}, "cite": "Letter", "reason": "Agreed"}
    opened.ask("manager", "POST", f"{api(OF_ACCOUNT_AT)}/rules", body, {"Idempotency-Key": "k" * 20})
    by_api = opened.ask("manager", "GET", f"{api(OF_ACCOUNT_AT)}/rules").get_json()["data"][-1]
    assert {**by_page, "recorded_at": None} == {**by_api, "recorded_at": None}
    page = text_of(opened.look("manager", answer.headers["Location"].split("#")[0]))
    (notice,) = re.findall(r'<section class="notice good" id="saved".*?</section>', page, re.DOTALL)
    for said in (
        "Entered a rule",
        "nora-north",
        "Agreed",
        'Who says so:</span> <b class="will"><bdi>Letter',
        "9th of a month",
        "MAIN",
    ):
        assert said in notice
    assert 'id="saved"' not in text_of(opened.look("manager", OF_ACCOUNT_AT))


def test_twice_sent_is_once_saved(opened: Visits) -> None:
    form = saving(text_of(ask(opened, OF_CLIENT_AT + "/rule", GRACE)))
    before = count(opened, rules)
    first, second = (opened.send("manager", OF_CLIENT_AT + "/rule", form) for _ in range(2))
    assert (first.status_code, second.status_code) == (303, 412)
    assert count(opened, rules) == before + 1
    page = text_of(second)
    assert "Nothing was saved just now" in page
    assert "The last change: Entered a rule, by <bdi>nora-north</bdi>" in page


def test_a_payment_that_is_recorded_meanwhile_is_no_change_of_what_was_previewed(opened: Visits) -> None:
    form = saving(text_of(ask(opened, OF_CLIENT_AT + "/rule", GRACE)))
    body = {"coverage_month": "2024-03", "paid_at": "2024-03-01"}
    path = f"/v1/clients/{ACME}/bill-accounts/MAIN/payments"
    assert opened.ask("producer", "POST", path, body, {"Idempotency-Key": "k" * 20}).status_code == 201
    assert opened.send("manager", OF_CLIENT_AT + "/rule", form).status_code == 303


def test_of_two_who_save_at_once_one_does(opened: Visits) -> None:
    form = saving(text_of(ask(opened, OF_CLIENT_AT + "/rule", GRACE)))
    before = count(opened, rules)
    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda _: opened.send("manager", OF_CLIENT_AT + "/rule", form).status_code, range(4)))
    assert (sorted(sent), count(opened, rules)) == ([303, 412, 412, 412], before + 1)


def test_a_field_that_no_form_of_ours_has_is_refused(shared: Visits) -> None:
    form = saving(text_of(ask(shared, OF_CLIENT_AT + "/rule", GRACE)))
    before = count(shared, rules)
    answer = shared.send("manager", OF_CLIENT_AT + "/rule", {**form, "grace_floor": "1"})
    assert (answer.status_code, count(shared, rules)) == (422, before)


def test_who_changed_what_is_about_what_is_set_and_not_of_payments(opened: Visits) -> None:
    save(opened, OF_CLIENT_AT + "/rule", GRACE)
    with opened.store.writing(By("nora-north", datetime.now(UTC))) as write:
        for _ in range(30):
            write.audit("record_payment", client_id=ACME, account_id="MAIN")
    page = text_of(opened.look("manager", OF_CLIENT_AT))
    assert "Entered a rule" in page
    assert "Recorded a payment" not in page


def test_what_moves_nothing_is_saved_once_too(opened: Visits) -> None:
    same = {"kind": "grace", "way": "days", "days": "30", "since": "2028-01", "cite": "Confirmed by the group"}
    page = text_of(ask(opened, OF_CLIENT_AT + "/rule", same))
    assert "No date would move." in page
    sent = [opened.send("manager", OF_CLIENT_AT + "/rule", saving(page)).status_code for _ in range(2)]
    assert sent == [303, 412]


def test_what_has_changed_meanwhile_is_shown_anew_and_only_that_is_saved(opened: Visits) -> None:
    form = saving(text_of(ask(opened, OF_CLIENT_AT + "/rule", GRACE)))
    save(opened, OF_CLIENT_AT + "/rule", GRACE | {"days": "60"}, "admin")
    before = count(opened, rules)
    answer = opened.send("manager", OF_CLIENT_AT + "/rule", form)
    assert (answer.status_code, count(opened, rules)) == (412, before)
    again = saving(text_of(answer))
    assert again["state_seen"] != form["state_seen"]
    assert "<p>Changed meanwhile: the client, the dates it would move.</p>" in text_of(answer)
    assert re.search("The last change: .*, by <bdi>ada-admin</bdi>", text_of(answer))
    assert moved(text_of(answer))[0][3:] == ("2028-03-01", "2028-02-15")
    ok = opened.send("manager", OF_CLIENT_AT + "/rule", {**again, "acknowledged": "yes"})
    assert (ok.status_code, count(opened, rules)) == (303, before + 1)


def test_another_rule_book_is_a_change_too(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    form = saving(text_of(ask(opened, OF_CLIENT_AT + "/rule", GRACE)))
    monkeypatch.setattr(opened.app.extensions["ebill.signed"].books.book, "version", "sha256:another")
    answer = opened.send("manager", OF_CLIENT_AT + "/rule", form)
    assert answer.status_code == 412
    assert "<p>Changed meanwhile: the rule book.</p>" in text_of(answer)
    assert "The last change" not in text_of(answer)


@pytest.mark.parametrize(
    "other",
    [{"days": "46"}, {"since": "2029-01"}, {"cite": "Another"}, {"state_seen": ""}, {"state_seen": "x"}],
    ids=str,
)
def test_only_what_was_shown_is_saved(shared: Visits, other: Data) -> None:
    form = saving(text_of(ask(shared, OF_CLIENT_AT + "/rule", GRACE)))
    before = count(shared, rules)
    assert shared.send("manager", OF_CLIENT_AT + "/rule", {**form, **other}).status_code == 412
    assert count(shared, rules) == before


def test_hazards_are_acknowledged_before_they_are_saved(opened: Visits) -> None:
    before = count(opened, rules)
    answer = save(opened, OF_CLIENT_AT + "/rule", FAR)
    page = text_of(answer)
    assert (answer.status_code, count(opened, rules)) == (422, before)
    assert re.search(r'id="acknowledged_fault"', page)
    assert "Somebody has less time than before" in page
    assert save(opened, OF_CLIENT_AT + "/rule", FAR, acknowledged="no").status_code == 422
    assert save(opened, OF_CLIENT_AT + "/rule", FAR, acknowledged="yes").status_code == 303


def test_an_invoice_already_generated_moves_only_where_that_is_meant_and_why(opened: Visits) -> None:
    at, before = OF_ACCOUNT_AT + "/rule", count(opened, rules)
    ticks = {"acknowledged": "yes"}
    for more, field in (({}, "retroactive"), ({"why": "A slip"}, "retroactive"), ({"retroactive": "yes"}, "why")):
        answer = save(opened, at, PAST, **ticks, **more)
        assert (answer.status_code, count(opened, rules)) == (422, before)
        assert f'id="{field}_fault"' in text_of(answer)
        is_why = field == "why"
        assert ("say why invoices that were generated already are to move" in text_of(answer)) is is_why
        assert "retroactive = true" not in text_of(answer)
    assert save(opened, at, PAST, **ticks, retroactive="yes", why="A slip").status_code == 303
    entered = opened.ask("manager", "GET", f"{api(OF_ACCOUNT_AT)}/rules").get_json()["data"][-1]
    assert (entered["retroactive"], entered["reason"]) == (True, "A slip")


def test_who_says_so_stands_everywhere_as_it_was_typed(opened: Visits) -> None:
    cite = "Letter 2026-08-15 of the group, rev 2026-11"
    assert save(opened, OF_CLIENT_AT + "/rule", {**GRACE, "cite": cite}).status_code == 303
    for path in (OF_CLIENT_AT, "/audit", f"/clients/{ACME}?from=2029-01"):
        page = text_of(opened.look("manager", path))
        assert cite in page, path
        assert "Letter <time" not in page, path


@pytest.mark.parametrize("given", ["", "after_due", "from_due"])
def test_a_choice_stands_once_and_the_one_made_stays(opened: Visits, given: str) -> None:
    page = text_of(ask(opened, OF_CLIENT_AT + "/rule", {**GRACE, "counting": given, "days": "x"}))
    (chosen,) = re.findall(r'<select id="counting".*?</select>', page, re.DOTALL)
    said = re.findall(r"<option[^>]*>([^<]*)</option>", chosen)
    assert sorted(said) == ["the day after the due date", "the due date itself"]
    assert re.findall(r'value="(\w*)" selected', chosen) == [given] * bool(given)


def test_a_form_that_lacks_what_saving_needs_is_shown_again(opened: Visits) -> None:
    form = saving(text_of(ask(opened, OF_CLIENT_AT + "/rule", GRACE)))
    del form["cite"]
    answer = opened.send("manager", OF_CLIENT_AT + "/rule", form)
    assert answer.status_code == 422
    assert 'id="cite_fault"' in text_of(answer)


def test_a_manager_of_another_team_and_a_producer_save_nothing(opened: Visits) -> None:
    form = saving(text_of(ask(opened, OF_CLIENT_AT + "/rule", GRACE)))
    for actor, status in (("other manager", 404), ("producer", 403), ("anyone", 303)):
        assert opened.send(actor, OF_CLIENT_AT + "/rule", form).status_code == status
    assert opened.send("manager", OF_CLIENT_AT + "/rule", form, token="forged").status_code == 403  # noqa: S106
    assert opened.send("manager", OF_CLIENT_AT + "/rule", form).status_code == 303


# resetting

RESET = {"kind": "generation", "way": "inherited", "since": "2028-01", "cite": "Agreed"}


def test_a_rule_is_reset_to_what_is_inherited(opened: Visits) -> None:
    (link,) = re.findall(r'href="([^"]*way=inherited[^"]*)"', text_of(opened.look("manager", OF_CLIENT_AT)))
    led = text_of(opened.look("manager", unescape(link)))
    assert moved(led)
    assert "An invoice that is out already" not in led
    page = text_of(ask(opened, OF_CLIENT_AT + "/rule", RESET))
    body = {"since": "2028-01", "generation": "inherited", "cite": "Agreed"}
    told = opened.ask("manager", "POST", f"{api(OF_CLIENT_AT)}/rules?dry_run=true", body)
    assert moved(page) == as_shown(told.get_json()) != []
    answer = save(opened, OF_CLIENT_AT + "/rule", RESET, acknowledged="yes")
    entered = opened.ask("manager", "GET", f"{api(OF_CLIENT_AT)}/rules").get_json()["data"][-1]
    assert (entered["generation"], entered["since"]) == ("inherited", "2028-01")
    shown = text_of(opened.look("manager", answer.headers["Location"].split("#")[0]))
    (to_come,) = re.findall(r'<td data-label="To come"><div>(.*?)</div>', shown, re.DOTALL)
    assert "Jan 2028" in to_come
    assert "from the state, PA" in to_come
    assert "as the layers below have it" in shown


def test_what_is_inherited_has_no_word_of_its_own_on_whether_it_is_assumed(shared: Visits) -> None:
    answer = ask(shared, OF_CLIENT_AT + "/rule", RESET | {"assumed": "yes"})
    assert answer.status_code == 422
    assert 'id="assumed_fault"' in text_of(answer)


def test_a_rule_to_come_is_reset_from_when_it_would_come(opened: Visits) -> None:
    save(opened, OF_ACCOUNT_AT + "/rule", GRACE)
    page = text_of(opened.look("manager", OF_ACCOUNT_AT))
    assert f"{OF_ACCOUNT_AT}/rule?kind=grace&amp;way=inherited&amp;since=2028-01" in page


def test_what_an_account_has_not_of_its_own_is_not_offered_to_be_reset(shared: Visits) -> None:
    assert "way=inherited" not in text_of(shared.look("manager", OF_ACCOUNT_AT))


# settings


def settings(opened: Visits, at: str = OF_CLIENT_AT, actor: str = "manager") -> dict[str, str]:
    """Give what the form of the settings has in it."""
    page = text_of(opened.look(actor, at + "/settings"))
    form = re.findall(r'<form id="change".*?</form>', page, re.DOTALL)[0]
    inputs = [dict(re.findall(r'(\w+)="([^"]*)"', tag)) | {"tag": tag} for tag in re.findall(r"<input [^>]*>", form)]
    typed = [each for each in inputs if each["type"] not in ("radio", "checkbox") or " checked" in each["tag"]]
    chosen = re.findall(r'<select id="([^"]*)"(?:(?!</select>).)*?<option value="([^"]*)" selected', form, re.DOTALL)
    found = {each["name"]: unescape(each["value"]) for each in typed} | dict(chosen)
    return {name: value for name, value in found.items() if value}


def test_settings_are_put_to_the_version_that_was_read(opened: Visits) -> None:
    given = settings(opened)
    assert given == {"version": "1", "name": "Acme Ltd", "state": "PA", "team_id": "north", "skip": "inherited"}
    new = given | {"name": "Acme & Sons", "last_coverage_month": "2029-12", "skip": "own", "month_7": "yes"}
    page = text_of(ask(opened, OF_CLIENT_AT + "/settings", new))
    body = settings_body(OF_CLIENT, new)
    told = opened.ask("manager", "PUT", f"{api(OF_CLIENT_AT)}?dry_run=true", body, {"If-Match": '"1"'})
    if told.status_code == 422:
        meant = body | {"retroactive": True, "reason": "so"}
        told = opened.ask("manager", "PUT", f"{api(OF_CLIENT_AT)}?dry_run=true", meant, {"If-Match": '"1"'})
    assert moved(page) == as_shown(told.get_json())
    more = {"acknowledged": "yes", "retroactive": "yes", "why": "As a school"}
    answer = opened.send("manager", OF_CLIENT_AT + "/settings", saving(page) | more)
    assert answer.status_code == 303
    found = opened.ask("manager", "GET", api(OF_CLIENT_AT)).get_json()
    assert (found["name"], found["skip_coverage_months"], found["version"]) == ("Acme & Sons", [7], 2)
    shown = text_of(opened.look("manager", answer.headers["Location"].split("#")[0]))
    assert "Acme Ltd" in shown
    assert "Acme &amp; Sons" in shown
    given = settings(opened)
    assert given["version"] == "2"
    assert save(opened, OF_CLIENT_AT + "/settings", given | {"name": "Acme again"}).status_code == 303
    stale = ask(opened, OF_CLIENT_AT + "/settings", new)
    assert (stale.status_code, is_savable(text_of(stale))) == (422, False)


@pytest.mark.parametrize("version", ["", "x", "0", "-1", "2", "new"])
def test_settings_of_another_version_than_the_current_one_are_not_saved(shared: Visits, version: str) -> None:
    page = text_of(ask(shared, OF_CLIENT_AT + "/settings", settings(shared) | {"version": version or " "}))
    assert not is_savable(page)


def test_a_client_is_offered_to_the_teams_of_its_manager_and_to_all_by_an_administrator(shared: Visits) -> None:
    teams = {actor: text_of(shared.look(actor, f"{OF_CLIENT_AT}/settings")) for actor in ("manager", "admin")}
    offered = {actor: ['value="north"' in page, 'value="south"' in page] for actor, page in teams.items()}
    assert offered == {"manager": [True, False], "admin": [True, True]}


def test_an_account_s_settings_are_put_too(opened: Visits) -> None:
    given = settings(opened, OF_ACCOUNT_AT)
    assert given == {"version": "1", "name": "Acme", "kind": "Acme kind", "skip": "inherited"}
    answer = save(opened, OF_ACCOUNT_AT + "/settings", given | {"name": "Medical"})
    assert answer.status_code == 303
    assert opened.ask("manager", "GET", api(OF_ACCOUNT_AT)).get_json()["name"] == "Medical"


def test_a_new_client_and_its_first_account_are_made(opened: Visits) -> None:
    given = {"id": "4000-NEW", "version": "new", "name": "New Ltd", "state": "PA", "team_id": "north"}
    form = saving(text_of(ask(opened, "/new-client", given)))
    first, second = (opened.send("manager", "/new-client", form) for _ in range(2))
    assert first.headers["Location"].startswith("/clients/4000-NEW/configure?saved=")
    assert second.status_code == 412
    account = {"id": "MED", "version": "new", "name": "Medical", "kind": "medical"}
    at = "/clients/4000-NEW/configure/new-account"
    assert re.search(r'name="first_coverage_month" type="text" value="20\d\d-\d\d"', text_of(ask(opened, at, {})))
    page = text_of(ask(opened, at, account))
    assert "MED: twelve coverage months" in page
    more = {"acknowledged": "yes"}
    first, second = (opened.send("manager", at, saving(page) | more) for _ in range(2))
    assert first.headers["Location"].startswith("/clients/4000-NEW/bill-accounts/MED/configure?saved=")
    assert second.status_code == 412
    found = opened.ask("manager", "GET", "/v1/clients/4000-NEW").get_json()
    assert [each["account_id"] for each in found["bill_accounts"]] == ["MED"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"id": "a b"}, "id"),
        ({"id": "1000-acme"}, "id"),
        ({"team_id": "south"}, "team_id"),
        ({"state": "ZZ"}, "state"),
        ({"product": "nonsense"}, "product"),
        ({"first_coverage_month": "soon"}, "first_coverage_month"),
        ({"timezone": "Nowhere"}, "timezone"),
    ],
    ids=str,
)
def test_a_new_client_is_refused_at_the_field(shared: Visits, more: Data, field: str) -> None:
    given = {"id": "4000-NEW", "version": "new", "name": "New Ltd", "state": "PA", "team_id": "north", **more}
    answer = ask(shared, "/new-client", given)
    assert (answer.status_code, is_savable(text_of(answer))) == (422, False)
    assert f'id="{field}_fault"' in text_of(answer)


@pytest.mark.parametrize("named", [ZENITH, ZENITH.lower()])
def test_another_team_s_client_is_not_told_of_by_its_id(shared: Visits, named: str) -> None:
    given = {"id": named, "version": "new", "name": "New Ltd", "state": "PA", "team_id": "north"}
    answer = ask(shared, "/new-client", given)
    page = text_of(answer)
    assert (answer.status_code, is_savable(page)) == (422, False)
    assert "this id cannot be used" in page
    assert MARK not in page
    assert shared.send("manager", "/new-client", {**given, "state_seen": "x"}).status_code == 404


def test_a_client_whose_state_is_gone_from_the_rule_book_is_given_another(opened: Visits) -> None:
    with opened.store.writing(By("setup", datetime.now(UTC))) as write:
        client = Client(client_id=ACME, version=2, team_id="north", name="Acme Ltd", state="ZZ")
        clients.put_client(write.connection, client, "setup", write.at)
        write.audit("put_client", client_id=ACME)
    for at in (OF_CLIENT_AT, OF_ACCOUNT_AT):
        answer = opened.look("manager", at)
        assert (answer.status_code, "No state &#34;ZZ&#34; is configured" in text_of(answer)) == (200, True)
    answer = ask(opened, OF_CLIENT_AT + "/rule", GRACE)
    assert (answer.status_code, is_savable(text_of(answer))) == (422, False)
    answer = save(opened, OF_CLIENT_AT + "/settings", settings(opened) | {"state": "PA"}, acknowledged="yes")
    assert answer.status_code == 303
    assert "is configured" not in text_of(opened.look("manager", OF_CLIENT_AT))


def test_on_either_database_a_change_is_shown_without_writing_and_then_saved(emptied_store: Store) -> None:
    opened = visits(emptied_store)
    for at, fields in (
        (OF_CLIENT_AT + "/rule", FAR),
        (OF_ACCOUNT_AT + "/exception", FIX),
        (OF_CLIENT_AT + "/settings", settings(opened) | {"name": "Acme & Sons"}),
        (OF_CLIENT_AT + "/new-account", {"id": "MED", "version": "new", "name": "Medical", "kind": "medical"}),
        ("/new-client", {"id": "4000-NEW", "version": "new", "name": "New Ltd", "state": "PA", "team_id": "north"}),
    ):
        before = count(opened, audit)
        form = saving(text_of(ask(opened, at, fields)))
        assert count(opened, audit) == before
        assert opened.send("manager", at, {**form, "acknowledged": "yes"}).status_code == 303
        assert count(opened, audit) == before + 1


# exceptions

FIX = {"tried": "yes", "way": "fix", "coverage_month": "2028-03", "due_date": "2028-03-03", "reason": "Calendar"}


def test_an_exception_is_previewed_entered_listed_and_withdrawn(opened: Visits) -> None:
    at = OF_ACCOUNT_AT + "/exception"
    page = text_of(ask(opened, at, FIX))
    told = opened.ask("manager", "POST", f"{api(OF_ACCOUNT_AT)}/exceptions?dry_run=true", exception_body(FIX))
    assert moved(page) == as_shown(told.get_json()) != []
    assert opened.send("manager", at, saving(page) | {"acknowledged": "yes"}).status_code == 303
    listed = text_of(opened.look("manager", OF_ACCOUNT_AT))
    assert "Calendar" in listed
    assert f"{at}?coverage_month=2028-03&amp;way=withdraw" in listed
    assert 'value="2028-03-03"' in text_of(ask(opened, at, {"coverage_month": "2028-03"}))
    back = {"tried": "yes", "way": "withdraw", "coverage_month": "2028-03", "reason": "A slip"}
    assert save(opened, at, back, acknowledged="yes").status_code == 303
    assert f"{at}?coverage_month=2028-03" not in text_of(opened.look("manager", OF_ACCOUNT_AT))
    entered = opened.ask("manager", "GET", f"{api(OF_ACCOUNT_AT)}/exceptions").get_json()["data"]
    assert [(each["withdrawn"], each["reason"]) for each in entered] == [(False, "Calendar"), (True, "A slip")]


def test_dates_that_are_fixed_for_one_month_are_not_taken_for_another(opened: Visits) -> None:
    at = OF_ACCOUNT_AT + "/exception"
    assert save(opened, at, FIX, acknowledged="yes").status_code == 303
    filled = text_of(ask(opened, at, {"coverage_month": "2028-03"}))
    assert 'name="tried" value="2028-03"' in filled
    other = {**FIX, "tried": "2028-03", "coverage_month": "2028-04", "grace_end_date": "2028-05-05"}
    page = text_of(ask(opened, at, other))
    assert (is_savable(page), 'id="due_date_fault"' in page, "is what is fixed for Mar 2028" in page) == (
        False, True, True,
    )  # fmt: skip
    assert 'id="grace_end_date_fault"' not in page
    assert 'name="tried" value="2028-03"' in page
    assert is_savable(text_of(ask(opened, at, {**other, "due_date": "2028-04-04"})))
    assert is_savable(text_of(ask(opened, at, {**other, "tried": "2028-04"})))
    assert opened.send("manager", at, other | {"acknowledged": "yes"}).status_code == 412


def test_an_exception_that_fixes_nothing_yet_does_nothing_and_is_no_mistake_yet(shared: Visits) -> None:
    answer = ask(shared, OF_ACCOUNT_AT + "/exception", {"tried": "yes", "way": "fix", "coverage_month": "2028-03"})
    page = text_of(answer)
    assert (answer.status_code, is_savable(page), 'role="alert"' in page) == (200, False, False)


def test_an_exception_is_worked_out_from_the_month_before_it(shared: Visits) -> None:
    page = text_of(ask(shared, OF_ACCOUNT_AT + "/exception", FIX))
    months = re.findall(r'<th scope="row"><time datetime="([^"]*)"', page.split('class="stacked year worked')[1])
    assert (months[0], months[1]) == ("2028-02", "2028-03")


def test_an_account_shows_its_client_s_exceptions_and_leaves_them_alone(shared: Visits) -> None:
    page = text_of(shared.look("manager", OF_ACCOUNT_AT))
    assert "Acme reason" in page
    assert "from the client" in page
    assert "exception?coverage_month=2024-06" not in page
    assert "exception?coverage_month=2024-06" in text_of(shared.look("manager", OF_CLIENT_AT))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"due_date": "2028-09-03"}, "due_date"),
        ({"due_date": "never"}, "due_date"),
        ({"coverage_month": "1999-01"}, "coverage_month"),
    ],
    ids=str,
)
def test_a_slip_in_an_exception_is_shown_at_its_field(shared: Visits, more: Data, field: str) -> None:
    answer = ask(shared, OF_ACCOUNT_AT + "/exception", FIX | more)
    assert answer.status_code == 422
    assert f'id="{field}_fault"' in text_of(answer)


# finding a client


def test_a_manager_finds_the_clients_of_their_team_and_no_others(shared: Visits) -> None:
    page = text_of(shared.look("manager", "/clients"))
    assert ACME in page
    assert ZENITH not in page
    assert f'href="/clients/{ACME}/configure"' in page
    assert ACME in text_of(shared.look("manager", "/clients?q=acm&state=PA"))
    assert "No client of this name" in text_of(shared.look("manager", "/clients?q=zenith"))
    assert shared.look("manager", "/clients?state=ZZ").status_code == 422


def test_a_long_list_comes_in_pages(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebill.web.pages.configure.PAGE", 1)
    first = text_of(opened.look("admin", "/clients"))
    (following,) = re.findall(r'href="(/clients\?cursor=[^"]*)"', first)
    second = text_of(opened.look("admin", unescape(following)))
    assert (ACME in first, ZENITH in first, ACME in second, ZENITH in second) == (True, False, False, True)
    assert opened.look("manager", unescape(following)).status_code == 400


# hostile text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_text_in_every_form(opened: Visits, name: str) -> None:
    with opened.store.writing(By("setup", datetime.now(UTC))) as write:
        client = Client(client_id=ACME, version=2, team_id="north", name=name, state="PA")
        clients.put_client(write.connection, client, "setup", write.at)
        account = Account(client_id=ACME, account_id="MAIN", version=2, kind=name, name=name)
        clients.put_account(write.connection, account, "setup", write.at)
        write.audit("put_client", client_id=ACME, reason=name, after={"name": name}, before={"name": name + "!"})
    escaped = str(escape(name))
    save(opened, OF_CLIENT_AT + "/rule", GRACE | {"cite": name}, why=name)
    for path in (
        OF_CLIENT_AT,
        OF_ACCOUNT_AT,
        f"{OF_CLIENT_AT}/settings",
        f"{OF_ACCOUNT_AT}/settings",
        f"{OF_CLIENT_AT}/rule?{urlencode(GRACE | {'cite': name})}",
        f"{OF_ACCOUNT_AT}/exception?{urlencode(FIX | {'reason': name})}",
        f"{OF_CLIENT_AT}/rule?{urlencode(FAR | {'day_of_month': name, 'way': name})}",
        f"/new-client?{urlencode({'version': 'new', 'id': name, 'name': name, 'state': name})}",
        f"/clients?{urlencode({'q': name})}",
    ):
        page = text_of(opened.look("manager", path))
        assert escaped == name or name not in page
        assert not re.search(r"<style|\sstyle=|\son\w+=\"|<script(?! src=\"/static/)", page.replace(escaped, ""))
