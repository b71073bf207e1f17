"""Signing in and out, forms that count, and what pages show: names as text, dates as the API has them."""

import gzip
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from markupsafe import escape
from sqlalchemy import update

from ebill import demo, passwords, web
from ebill.errors import StoreUnavailable, TooManyTries
from ebill.service import clients as served
from ebill.service import morning, sealing
from ebill.service import users as users_service
from ebill.service.clients import Window
from ebill.store import clients, grants, sessions, users
from ebill.store.audit import By
from ebill.store.clients import Account, Client
from ebill.store.engine import Store
from ebill.store.tables import sessions as sessions_table
from ebill.web import create_app, reading
from ebill.web.pages import cookies, tries
from ebill.web.pages.calculator import question
from ebill.web.pages.timeline import timeline
from ebill.web.pages.words import field, plain_day
from tests.visits import HTML, Visits, text_of, visits
from tests.world import ACME, UNKNOWN, ZENITH, book_file

WORD = "seven green bicycles"
FORM = {"user_id": "pat-producer", "password": WORD}
HERE = {"Sec-Fetch-Site": "same-origin", "Accept": HTML}
HASHED = passwords.hashed(WORD)


@pytest.fixture
def opened(sqlite_url: str) -> Iterator[Visits]:
    """The world, for one test to change."""
    yield from _opened(sqlite_url)


@pytest.fixture(scope="module")
def shared(ready: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visits]:
    """The world, for many tests that only look."""
    copy = shutil.copy(ready.removeprefix("sqlite:///"), tmp_path_factory.mktemp("shared"))
    yield from _opened(f"sqlite:///{copy}")


def _opened(url: str) -> Iterator[Visits]:
    store = Store(url)
    made = visits(store)
    with store.writing(By("setup", datetime.now(UTC))) as write:
        for user_id in ("pat-producer", "dan-disabled"):
            users.set_password(write.connection, user_id, HASHED)
        write.audit("setup")
    yield made
    store.close()


def sign_in(opened: Visits, form: dict[str, str] = FORM, headers: dict[str, str] = HERE, **more: Any) -> Any:
    return opened.client.post("/sign-in", data=form, headers=headers, **more)


def cookie_of(answer: Any) -> str:
    found = re.match(r"(?:__Host-)?sid=([^;]*)", answer.headers.get("Set-Cookie", ""))
    return found[1] if found else ""


def is_in(opened: Visits, cookie: str) -> bool:
    return opened.client.get("/me", headers={"Cookie": f"sid={cookie}"}).status_code == 200


# signing in and out


def test_a_password_opens_a_session_that_leads_to_the_home_page(opened: Visits) -> None:
    answer = sign_in(opened)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/home")
    assert is_in(opened, cookie_of(answer))


@pytest.mark.parametrize(
    "form",
    [
        {"user_id": "pat-producer", "password": "seven green bicycle"},
        {"user_id": "pat-producer"},
        {"user_id": "nobody", "password": WORD},
        {"user_id": "dan-disabled", "password": WORD},
        {"user_id": "una-unentitled", "password": WORD},
        {"user_id": "' OR 1=1--", "password": WORD},
        {"user_id": "pat-producer", "password": "x" * 30_000},
        {"next": "/home"},
    ],
    ids=str,
)
def test_whoever_is_refused_is_told_the_same(shared: Visits, form: dict[str, str]) -> None:
    answer = sign_in(shared, form)
    assert (answer.status_code, cookie_of(answer)) == (422, "")
    assert "This user id and this password do not belong together." in text_of(answer)


def test_a_hash_is_worked_out_for_an_unknown_user_too(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def matches(kept: str | None, _: str) -> bool:
        asked.append(kept)
        return False

    monkeypatch.setattr(passwords, "matches", matches)
    for user_id in ("nobody", "una-unentitled", "pat-producer"):
        sign_in(opened, {"user_id": user_id, "password": WORD})
    assert asked == [None, None, HASHED]


def test_no_transaction_is_open_while_a_password_is_hashed(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    right = passwords.matches

    def matches(kept: str | None, password: str) -> bool:
        with opened.store.writing(By("somebody", datetime.now(UTC))) as write:
            write.audit("meanwhile")
        return right(kept, password)

    monkeypatch.setattr(passwords, "matches", matches)
    assert sign_in(opened).status_code == 303


def test_a_password_changed_meanwhile_opens_nothing(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    def matches(*_: Any) -> bool:
        with opened.store.writing(By("ada-admin", datetime.now(UTC))) as write:
            users_service.keep_password(write, "pat-producer", "$another")
        return True

    monkeypatch.setattr(passwords, "matches", matches)
    assert sign_in(opened).status_code == 422


def test_a_hash_of_old_parameters_is_made_anew(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "is_outdated", lambda _: True)
    sign_in(opened)
    with opened.store.reading() as connection:
        assert users.password_of(connection, "pat-producer") != HASHED


@pytest.mark.parametrize("before", ["preset-by-somebody", "their own"])
def test_signing_in_makes_a_new_session_whatever_cookie_came_along(opened: Visits, before: str) -> None:
    first = cookie_of(sign_in(opened)) if before == "their own" else before
    second = cookie_of(sign_in(opened, headers={**HERE, "Cookie": f"sid={first}"}))
    assert second
    assert second != first
    assert (is_in(opened, first), is_in(opened, second)) == (False, True)


def test_tries_that_fail_lead_to_a_wait_for_the_user_and_nobody_else(opened: Visits) -> None:
    for _ in range(tries.FREE["user"]):
        assert sign_in(opened, {**FORM, "password": "wrong"}).status_code == 422
    answer = sign_in(opened)
    assert (answer.status_code, int(answer.headers["Retry-After"])) == (429, 2)
    assert sign_in(opened, {"user_id": "gus-ungranted", "password": "wrong"}).status_code == 422


def test_many_at_once_have_no_more_tries_than_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tries.Tries()
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)

    def one(_: int) -> bool:
        try:
            kept.begin("pat", "192.0.2.1")
        except TooManyTries:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(50))) == tries.FREE["user"]


def test_the_wait_grows_and_is_over_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    kept = tries.Tries()
    waits = []
    for _ in range(15):
        try:
            kept.begin("pat", "192.0.2.1")
        except TooManyTries as refusal:
            waits.append(refusal.seconds)
            now[0] += refusal.seconds
    assert waits == [2, 4, 8, 16, 32]
    now[0] += tries.FORGOTTEN
    for _ in range(tries.FREE["user"]):
        kept.begin("pat", "192.0.2.1")
    kept.succeeded("pat", "192.0.2.1")
    kept.begin("pat", "192.0.2.1")


def test_an_address_that_tries_many_users_waits_too() -> None:
    kept = tries.Tries()
    for number in range(tries.FREE["address"]):
        kept.begin(f"user-{number}", "192.0.2.1")
    with pytest.raises(TooManyTries):
        kept.begin("another", "192.0.2.1")
    kept.begin("another", "192.0.2.2")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "MOST", 20)
    kept = tries.Tries()
    for number in range(100):
        kept.begin(f"user-{number}", f"192.0.2.{number}")
    assert len(kept._failed) <= 22


def test_signing_out_ends_the_session_and_takes_the_cookie_back(opened: Visits) -> None:
    answer = opened.send("producer", "/sign-out")
    assert (answer.headers["Location"], "sid=;" in answer.headers["Set-Cookie"]) == ("/sign-in", True)
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert opened.look("producer", "/me").status_code == 303


def test_disabling_a_user_and_a_new_password_end_sessions(opened: Visits) -> None:
    with opened.store.writing(By("ada-admin", datetime.now(UTC))) as write:
        user = users.user(write.connection, "nora-north")
        assert user
        disabled = replace(user, version=user.version + 1, disabled_at=write.at)
        users.change_user(write.connection, disabled)
        users_service.keep_password(write, "pat-producer", "$another")
    assert [opened.look(actor, "/me").status_code for actor in ("manager", "producer", "admin")] == [303, 303, 200]


def test_a_session_idles_and_grows_old(shared: Visits) -> None:
    assert [shared.look(actor, "/home").status_code for actor in ("idle", "old")] == [303, 303]


def test_looking_keeps_a_session_from_idling(opened: Visits) -> None:
    begun = datetime.now(UTC) - timedelta(minutes=20)
    with opened.store.noting() as connection:
        connection.execute(update(sessions_table).values(seen_at=begun))
    opened.look("producer", "/me")
    with opened.store.reading() as connection:
        seen = [each.seen_at for each in sessions.sessions_of(connection, "pat-producer", datetime.now(UTC))]
    assert max(seen) > begun


@pytest.mark.parametrize(
    ("host", "public", "name", "secure"),
    [
        ("localhost", None, "sid", False),
        ("127.0.0.1:8000", None, "sid", False),
        ("ebill.example.com", None, "__Host-sid", True),
        ("127.0.0.1:8000", "https://ebill.example.com", "__Host-sid", True),
        ("localhost", "https://localhost:8443", "__Host-sid", True),
    ],
)
def test_the_cookie_is_for_this_host_alone_and_for_no_script(
    opened: Visits, host: str, public: str | None, name: str, secure: bool
) -> None:
    opened.app.config["PUBLIC_URL"] = public
    answer = sign_in(opened, headers={**HERE, "Host": host})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{name}=")
    attributes = set(cookie.split("; ")[1:])
    assert attributes == {"HttpOnly", "Path=/", "SameSite=Lax", *(("Secure",) if secure else ())}


def test_a_cookie_of_the_other_name_counts_for_nothing_elsewhere(shared: Visits) -> None:
    headers = {**shared.cookie("producer"), "Host": "ebill.example.com"}
    assert shared.client.get("/me", headers=headers).status_code == 303


# where one goes after signing in


@pytest.mark.parametrize(
    "to",
    [
        "/home",
        "/home?show=grace&state=PA",
        "/month?month=2026-08",
        "/me",
        "/clients",
        "/clients?q=acme",
        f"/clients/{ACME}?from=2026-08",
        f"/clients/{ACME}/configure",
        f"/clients/{ACME}/configure/rule?kind=grace&way=days&days=45&since=2027-01",
        f"/clients/{ACME}/configure/new-account",
        f"/clients/{ACME}/bill-accounts/MAIN/configure/exception",
        f"/clients/{ACME}/bill-accounts/MAIN/configure/settings",
        "/new-client",
    ],
)
def test_after_signing_in_one_is_where_one_wanted_to_be(shared: Visits, to: str) -> None:
    sent_on = shared.look("anyone", to).headers["Location"]
    page = text_of(shared.look("anyone", sent_on))
    (field,) = re.findall(r'name="next" value="([^"]*)"', page)
    assert unescape(field) == to
    assert sign_in(shared, {**FORM, "next": to}).headers["Location"] == to


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/%09/evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "https:evil.example",
        "/home\r\nSet-Cookie: a=b",
        "/home/../v1/me",
        "/sign-out",
        "/v1/me",
        "/home#//evil",
        "/home?x=//evil.example/",
        "/clients/a/b",
        "/clients/a/configure/b",
        "/clients/a/bill-accounts/b",
        "/clients/a/bill-accounts/../configure",
        "/clients/../me",
        "/homer",
        "/home@evil.example",
        " /home",
        "",
    ],
)
def test_after_signing_in_one_goes_nowhere_else(shared: Visits, to: str) -> None:
    assert sign_in(shared, {**FORM, "next": to}).headers["Location"] == "/home"
    answer = shared.look("producer", f"/sign-in?{urlencode({'next': to})}")
    assert answer.headers["Location"] == "/home"


def test_a_part_of_a_page_asked_for_without_a_session_leads_the_whole_to_sign_in(shared: Visits) -> None:
    answer = shared.look("anyone", "/home?state=PA", {"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/sign-in?next=%2Fhome%3Fstate%3DPA")


# forms that count

FORGED = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": ""},
    {"Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost:81"},
    {"Origin": "ftp://localhost"},
    {"Origin": "http://["},
    {"Referer": "http://localhost/me"},
    {},
]


@pytest.mark.parametrize("headers", FORGED, ids=str)
def test_a_form_that_no_page_of_ours_sent_is_refused(shared: Visits, headers: dict[str, str]) -> None:
    token = cookies.form_token(shared.seal, shared.sessions["producer"])
    data = {"accepted": "no", cookies.TOKEN: token}
    around = {**shared.cookie("producer"), "Accept": HTML, **headers}
    answer = shared.client.post("/me/payment-terms", data=data, headers=around)
    assert answer.status_code == 403
    assert "did not come from a page" in text_of(answer)
    assert sign_in(shared, headers={"Accept": HTML, **headers}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://localhost"}],
    ids=str,
)
def test_a_form_that_a_page_of_ours_sent_counts(opened: Visits, headers: dict[str, str]) -> None:
    assert sign_in(opened, headers=headers).status_code == 303


def test_a_form_sent_by_the_public_address_counts(opened: Visits) -> None:
    opened.app.config["PUBLIC_URL"] = "https://ebill.example.com"
    assert sign_in(opened, headers={"Origin": "https://ebill.example.com"}).status_code == 303


@pytest.mark.parametrize("token", ["", "0" * 64, "another's", "é"])
def test_a_form_without_its_session_s_token_is_refused(opened: Visits, token: str) -> None:
    if token == "another's":  # noqa: S105
        token = cookies.form_token(opened.seal, opened.sessions["manager"])
    assert opened.send("producer", "/me/payment-terms", {"accepted": "no"}, token=token).status_code == 403
    assert opened.send("producer", "/sign-out", token=token).status_code == 403
    assert opened.look("producer", "/me").status_code == 200


def test_a_form_is_read_strictly(opened: Visits) -> None:
    send: Callable[..., Any] = opened.send
    assert send("producer", "/me/tokens", {"name": "A", "user_id": "ada-admin"}).status_code == 422
    assert send("producer", "/me/tokens", {"name": "A", "days": "1e3"}).status_code == 422
    assert send("producer", "/me/tokens", {"name": "A" * 70_000}).status_code == 413
    assert send("producer", "/me/payment-terms", {"accepted": "maybe"}).status_code == 422
    around = {**HERE, **opened.cookie("producer")}
    twice = opened.client.post("/me/tokens", data="name=a&name=b", headers=around)
    assert twice.status_code == 415
    kind = "application/x-www-form-urlencoded"
    twice = opened.client.post("/me/tokens", data="name=a&name=b", headers=around, content_type=kind)
    assert twice.status_code == 400
    assert sign_in(opened, {**FORM, "role": "admin"}).status_code == 422


# one's own page


def test_terms_are_accepted_and_declined(opened: Visits) -> None:
    for said, shown in (("no", "You have not accepted them"), ("yes", "You accepted them")):
        assert opened.send("producer", "/me/payment-terms", {"accepted": said}).headers["Location"] == "/me#terms"
        assert shown in text_of(opened.look("producer", "/me"))


def test_what_a_key_sealed_opens_after_it_was_rotated_and_not_once_it_is_gone(opened: Visits) -> None:
    events = "/v1/deadlines?from=2024-06-01&to=2024-06-30&format=ics"
    lists = "/v1/clients?limit=1"

    def started(*, at_once: bool) -> Visits:
        with opened.store.writing(By("command", datetime.now(UTC))) as write:
            sealing.rotate(write, at_once=at_once)
        return Visits(opened.store, opened.world, opened.sessions)

    def uids(at: Visits) -> list[str]:
        return re.findall(r"UID:(\S+)", text_of(at.ask("admin", "GET", events)))

    token = cookies.form_token(opened.seal, opened.sessions["producer"])
    cursor = opened.ask("admin", "GET", lists).get_json()["next_cursor"]
    tag = opened.ask("admin", "GET", f"/v1/clients/{ACME}/schedule").headers["ETag"]
    for at_once, statuses in ((False, (200, 200, 304)), (True, (403, 400, 200))):
        later = started(at_once=at_once)
        assert later.seal != opened.seal
        assert uids(later) == uids(opened) != []
        form = later.send("producer", "/me/tokens", {"name": "A"}, token=token)
        page = later.ask("admin", "GET", f"{lists}&cursor={cursor}")
        again = later.ask("admin", "GET", f"/v1/clients/{ACME}/schedule", headers={"If-None-Match": tag})
        assert (form.status_code, page.status_code, again.status_code) == statuses


def test_a_token_is_shown_once_works_and_is_revoked(opened: Visits) -> None:
    made = text_of(opened.send("producer", "/me/tokens", {"name": "<b>Nightly</b>", "days": "7"}))
    (token,) = re.findall(r'value="(ebp_\w+)"', made)
    bearer = {"Authorization": f"Bearer {token}"}
    assert opened.client.get("/v1/me", headers=bearer).status_code == 200
    page = text_of(opened.look("producer", "/me"))
    assert token not in page
    assert "&lt;b&gt;Nightly&lt;/b&gt;" in page
    opened.send("producer", f"/me/tokens/{token.split('_')[1]}/revoke")
    assert opened.client.get("/v1/me", headers=bearer).status_code == 401


def test_a_token_may_be_made_for_reading_and_for_some_clients(opened: Visits) -> None:
    form = {"name": "Narrow", "read_only": "yes", "client_ids": ACME}
    made = text_of(opened.send("producer", "/me/tokens", form))
    (token,) = re.findall(r'value="(ebp_\w+)"', made)
    bearer = {"Authorization": f"Bearer {token}"}
    assert opened.client.get(f"/v1/clients/{ACME}", headers=bearer).status_code == 200
    assert opened.client.get("/v1/tokens", headers=bearer).get_json()["code"] == "outside_scope"
    assert f"Reading, {ACME}" in text_of(opened.look("producer", "/me"))
    assert f"Reading, {ACME}" in text_of(opened.look("admin", "/admin/users/pat-producer"))
    for client_ids in (ZENITH, UNKNOWN, " , "):
        answer = opened.send("producer", "/me/tokens", {"name": "A", "client_ids": client_ids})
        assert (answer.status_code, "ebp_" in text_of(answer)) == (422, False)
    assert opened.send("producer", "/me/tokens", {"name": "A", "read_only": "no"}).status_code == 422


def test_a_calendar_is_shown_once_works_and_is_revoked(opened: Visits) -> None:
    form = {"name": "Mine", "state": "PA", "kind_due": "yes", "names": "yes"}
    made = text_of(opened.send("producer", "/me/feeds", form))
    (path,) = re.findall(r'value="http://localhost(/v1/feeds/\S+\.ics)"', made)
    assert opened.client.get(path, buffered=True).status_code == 200
    opened.send("producer", f"/me/feeds/{path.split('_')[1]}/revoke")
    assert opened.client.get(path).status_code == 404


def test_a_slip_in_a_form_is_shown_where_it_is(opened: Visits) -> None:
    for path, form, said in (
        ("/me/tokens", {"name": "A", "days": "999"}, "must be from 1 to 365"),
        ("/me/feeds", {"state": "TX"}, "No state"),
    ):
        answer = opened.send("producer", path, form)
        assert (answer.status_code, said in text_of(answer)) == (422, True)


def test_the_form_of_a_token_tells_all_its_faults_at_once_each_at_its_field(opened: Visits) -> None:
    form = {"days": "999", "read_only": "no", "client_ids": f"{ACME}, {ZENITH}, a_b, {UNKNOWN}", "user_id": "x"}
    answer = opened.send("producer", "/me/tokens", form)
    assert (answer.status_code, _faults(text_of(answer))) == (
        422,
        {
            "token_name": "is required",
            "token_days": "must be from 1 to 365",
            "token_read_only": "must be true or false",
            "token_clients": f"a_b must be an id: letters, digits and -, at most 32; there is no client {ZENITH}; "
            f"there is no client {UNKNOWN}",
        },
    )
    assert "The input has 7 faults" in text_of(answer)
    assert "<b>user id</b>: unknown key" in text_of(answer)


def test_the_form_of_a_calendar_tells_its_faults_at_their_fields(opened: Visits) -> None:
    page = text_of(opened.send("producer", "/me/feeds", {"name": "a" * 501, "state": "TX"}))
    assert [*_faults(page)] == ["feed_name", "feed_state"]


def _faults(page: str) -> dict[str, str]:
    """Give what is said beside each field that is marked as faulty, by the field's id."""
    said = dict(re.findall(r'<span class="fault" id="(\w+)_fault">([^<]*)</span>', page))
    assert sorted(said) == sorted(re.findall(r'aria-invalid="true" aria-describedby="(\w+)_fault"', page))
    return said


def test_a_state_alone_is_asked_from_the_month_that_the_form_shows(opened: Visits) -> None:
    answer = opened.client.get("/calculator?state=NY", headers={"Accept": HTML})
    (month,) = re.findall(r'name="from"[^>]* value="(\d{4}-\d\d)"', text_of(answer))
    whole = opened.client.get(f"/calculator?state=NY&from={month}", headers={"Accept": HTML})
    assert (answer.status_code, _dates(text_of(answer))) == (200, _dates(text_of(whole)))
    assert len(_dates(text_of(answer))) > 12


def _dates(page: str) -> list[str]:
    return re.findall(r'<time datetime="([0-9-]+)"', page)


def test_a_form_that_was_refused_says_what_was_typed(opened: Visits) -> None:
    typed = {"name": '"><b>', "days": "999", "read_only": "yes", "client_ids": f"{ACME}, {UNKNOWN}", "password": "w0rd"}
    page = text_of(opened.send("producer", "/me/tokens", typed))
    assert 'name="name" required maxlength="500" placeholder="Nightly export" value="&#34;&gt;&lt;b&gt;"' in page
    assert 'name="days" inputmode="numeric" value="999"' in page
    assert 'name="read_only" value="yes" checked' in page
    assert f'value="{ACME}, {UNKNOWN}"' in page
    assert "w0rd" not in page
    page = text_of(
        opened.send("producer", "/me/feeds", {"name": "a" * 501, "state": "DE", "kind_due": "yes", "names": "yes"})
    )
    assert f'value="{"a" * 501}"' in page
    assert '<option value="DE" selected>' in page
    assert re.findall(r'name="(\w+)" value="yes" checked', page) == ["kind_due", "names"]


def test_sessions_are_listed_and_ended(opened: Visits) -> None:
    other = cookie_of(sign_in(opened))
    page = text_of(opened.look("producer", "/me"))
    listed = re.findall(r"/me/sessions/([0-9a-f]{16})/end", page)
    assert sessions.session_id(other) in listed
    assert page.count("this one") == 1
    opened.send("producer", f"/me/sessions/{sessions.session_id(other)}/end")
    assert not is_in(opened, other)


# what every page has

PATHS = [
    "/",
    "/calculator?state=PA&from=2026-08",
    "/sign-in",
    "/home",
    "/month",
    "/me",
    "/clients",
    f"/clients/{ACME}",
    "/nowhere",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_page_says_what_a_browser_may_do_with_it(shared: Visits, path: str) -> None:
    for actor in ("anyone", "producer"):
        answer = shared.look(actor, path)
        policy = answer.headers["Content-Security-Policy"]
        for part in (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ):
            assert part in policy.split("; ")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("path", PATHS)
def test_no_page_has_script_or_style_in_it_or_loads_from_elsewhere(shared: Visits, path: str) -> None:
    page = text_of(shared.look("producer", path))
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?! src=\"/static/)", page)
    assert not re.search(r"(?:src|href|action)=\"(?!/|#|data:,)", page)


@pytest.mark.parametrize("path", ["/home", "/clients/1000-ACME", "/static/pages.css", "/static/htmx.min.js"])
def test_what_is_packed_unpacks_to_the_same(shared: Visits, path: str) -> None:
    plain = shared.look("producer", path)
    packed = shared.look("producer", path, {"Accept-Encoding": "gzip", "Sec-Fetch-Site": "same-origin"})
    assert (plain.headers.get("Content-Encoding"), packed.headers["Content-Encoding"]) == (None, "gzip")
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) == int(packed.headers["Content-Length"]) < len(plain.data) / 2
    assert "Accept-Encoding" in plain.headers["Vary"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Accept-Encoding": "gzip"},
        {"Sec-Fetch-Site": "same-site", "Accept-Encoding": "gzip"},
        {"Accept-Encoding": "gzip"},
        {"Sec-Fetch-Site": "same-origin", "Accept-Encoding": "gzip;q=0, br"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
def test_a_page_is_not_packed_for_another_site_nor_for_who_cannot_unpack_it(
    shared: Visits, headers: dict[str, str]
) -> None:
    assert "Content-Encoding" not in shared.look("producer", "/home", headers).headers


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_file_that_is_still_the_same_is_not_sent_again(shared: Visits, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    first = shared.look("anyone", "/static/pages.css", headers)
    again = shared.look("anyone", "/static/pages.css", {**headers, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    other = shared.look("anyone", "/static/pages.css", {"If-None-Match": '"another"', **headers})
    assert other.status_code == 200


def test_a_list_goes_on_over_midnight(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebill.web.pages.home.PAGE", 1)
    late, later = (datetime(2026, 11, 26, *at, tzinfo=UTC) for at in ((4, 50), (5, 10)))
    with opened.store.writing(By("setup", late)) as write:
        opened.sessions["late"] = sessions.new_session(write.connection, "pat-producer", late)
        write.audit("setup")
    monkeypatch.setattr("ebill.web.pages.door.datetime", SimpleNamespace(now=lambda _: late))
    first = opened.look("late", "/home?show=grace")
    (link,) = re.findall(r'class="button" href="([^"]*)"', first.text)
    monkeypatch.setattr("ebill.web.pages.door.datetime", SimpleNamespace(now=lambda _: later))
    second = opened.look("late", unescape(link))
    today = opened.look("late", "/home?show=grace")
    accounts = [re.findall(rf"/clients/{ACME}#(\w+)", answer.text) for answer in (first, second, today)]
    assert accounts == [["COBRA"], ["MAIN"], ["COBRA"]]
    assert "6 days" in text_of(first)
    assert all("5 days" in text_of(answer) for answer in (second, today))


def test_an_invoice_whose_grace_has_ended_unpaid_is_on_the_home_page(
    opened: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebill.web.pages.home.PAGE", 1)
    now = datetime(2026, 11, 26, 15, tzinfo=UTC)
    with opened.store.writing(By("setup", now)) as write:
        opened.sessions["late"] = sessions.new_session(write.connection, "pat-producer", now)
        write.audit("setup")
    monkeypatch.setattr("ebill.web.pages.door.datetime", SimpleNamespace(now=lambda _: now))
    home, first = opened.look("late", "/home"), opened.look("late", "/home?show=lapsed")
    (link,) = re.findall(r'class="button" href="([^"]*)"', first.text)
    second = opened.look("late", unescape(link))
    lapsed = home.text.split('id="lapsed"')[1]
    assert "Grace has ended, unpaid" in text_of(home)
    assert lapsed.count(f"/clients/{ACME}#") == 4
    assert ["Sep 2026" in lapsed, "Aug 2026" in lapsed, "Oct 2026" in lapsed] == [True, False, True]
    accounts = [re.findall(rf"/clients/{ACME}#(\w+)", answer.text) for answer in (first, second)]
    assert accounts == [["COBRA"], ["MAIN"]]


@pytest.mark.parametrize("on", ["9999-12-31", "1999-12-31", "soon"])
def test_a_list_begins_on_no_day_that_is_not_supported(shared: Visits, on: str) -> None:
    answer = shared.look("producer", f"/home?show=grace&on={on}")
    assert (answer.status_code, "must be a date" in text_of(answer)) == (422, True)


# kept pages


def _home(opened: Visits, path: str = "/home") -> str:
    answer = opened.look("producer", path)
    assert answer.status_code == 200
    return text_of(answer)


@pytest.fixture
def worked_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Says each time that a morning or a month is worked out anew; all happens in one quarter of an hour."""
    found: list[str] = []
    monkeypatch.setattr("ebill.web.pages.door.quarter", lambda _: 0)

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(morning, name)

        def begin(*given: Any) -> Any:
            found.append(name)
            return real(*given)

        return begin

    for name in ("begin_morning", "begin_month"):
        monkeypatch.setattr(morning, name, counted(name))
    return found


@pytest.mark.parametrize("path", ["/home", "/home?q=acme", "/month?month=2026-11"])
def test_a_page_is_kept_while_nothing_changes(opened: Visits, worked_out: list[str], path: str) -> None:
    assert _home(opened, path) == _home(opened, path)
    assert len(worked_out) == 1
    opened.look("manager", path)
    assert len(worked_out) == 2


def _rename(opened: Visits) -> None:
    with opened.store.writing(By("setup", datetime.now(UTC))) as write:
        client = Client(client_id=ACME, version=2, team_id="north", name="Renamed", state="PA")
        clients.put_client(write.connection, client, "setup", write.at)
        write.audit("put_client", client_id=ACME)


def _withdraw(opened: Visits) -> None:
    with opened.store.writing(By("setup", datetime.now(UTC))) as write:
        grants.withdraw(write.connection, "pat-producer", ACME)
        write.audit("withdraw_client", client_id=ACME)


def _pay(opened: Visits) -> None:
    now = datetime.now(UTC)
    path = f"/v1/clients/{ACME}/bill-accounts/MAIN/payments"
    body = {"coverage_month": f"{now:%Y-%m}", "paid_at": (now - timedelta(days=1)).date().isoformat()}
    assert opened.ask("admin", "POST", path, body, {"Idempotency-Key": "a key of a test"}).status_code == 201


@pytest.mark.parametrize(
    ("change", "was", "shows"), [(_rename, "Acme Ltd", "Renamed"), (_withdraw, "2 bill accounts", "No bill accounts")]
)
def test_a_kept_page_is_worked_out_anew_after_a_change(
    opened: Visits, worked_out: list[str], change: Callable[[Visits], None], was: str, shows: str
) -> None:
    assert was in _home(opened)
    change(opened)
    found = _home(opened)
    assert (shows in found, was in found, len(worked_out)) == (True, False, 2)


def test_a_kept_page_is_worked_out_anew_once_a_payment_is_recorded(opened: Visits, worked_out: list[str]) -> None:
    _home(opened)
    _pay(opened)
    _home(opened)
    assert len(worked_out) == 2


def test_a_kept_page_is_worked_out_anew_on_another_day(
    opened: Visits, worked_out: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _home(opened)
    monkeypatch.setattr("ebill.web.pages.door.quarter", lambda _: -1)
    _home(opened)
    assert len(worked_out) == 2


def test_a_page_during_whose_making_something_changed_is_worked_out_anew(
    opened: Visits, worked_out: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = morning.begin_morning

    def changing(*given: Any) -> Any:
        finish = real(*given)

        def finished(reading: Any) -> Any:
            _rename(opened)
            return finish(reading)

        return finished

    with monkeypatch.context() as once:
        once.setattr(morning, "begin_morning", changing)
        assert "Acme Ltd" in _home(opened)
    assert "Renamed" in _home(opened)
    assert len(worked_out) == 2


def test_who_reads_html_is_told_in_a_page_and_programs_in_json(shared: Visits) -> None:
    assert "<h1>There is nothing here</h1>" in text_of(shared.look("anyone", "/nowhere"))
    assert shared.client.get("/nowhere").get_json()["code"] == "not_found"
    for path in ("/v1/nowhere", f"/v1/clients/{ACME}", "/docs/nowhere"):
        assert shared.look("producer", path).content_type == "application/problem+json"
    unentitled = shared.look("unentitled", "/home")
    assert (unentitled.status_code, "client_administration" in text_of(unentitled)) == (403, True)
    wrong = shared.look("producer", "/home?stete=PA")
    assert (wrong.status_code, "did you mean" in text_of(wrong)) == (422, True)


def test_a_store_that_does_not_answer_is_told_in_a_page(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(opened.store, "reading", nothing)
    answer = opened.look("producer", "/home")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "Not just now" in text_of(answer)
    assert opened.look("producer", "/calculator?state=PA&from=2026-08").status_code == 200


def test_what_nobody_foresaw_is_told_in_a_page_without_its_inside(
    opened: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "query", lambda _: 1 / 0)
    answer = opened.look("producer", "/home")
    assert (answer.status_code, "ZeroDivision" in text_of(answer)) == (500, False)
    assert answer.headers["X-Request-Id"] in text_of(answer)


@pytest.mark.parametrize("path", ["/static/../pages.css", "/static/base.html", "/static/", "/static/pages.css/"])
def test_only_what_the_pages_need_is_served(shared: Visits, path: str) -> None:
    assert shared.client.get(path).status_code == 404


# hostile names

HOSTILE = [
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "javascript:alert(1)",
    "{{7*7}}",
    "</script></title><img src=x onerror=alert(1)>",
    "{% raw %}' OR 1=1--",
    "&lt;b&gt;bold",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_everywhere(opened: Visits, name: str) -> None:
    with opened.store.writing(By("setup", datetime.now(UTC))) as write:
        client = Client(client_id=ACME, version=2, team_id="north", name=name, state="PA")
        clients.put_client(write.connection, client, "setup", write.at)
        account = Account(client_id=ACME, account_id="MAIN", version=2, kind=name, name=name)
        clients.put_account(write.connection, account, "setup", write.at)
        write.audit("put_client", client_id=ACME, reason=name)
    escaped = str(escape(name))
    month = datetime.now(UTC).strftime("%Y-%m")
    for path in (f"/clients/{ACME}", "/home", f"/home?day={month}-01", f"/month?month={month}&q=1000-ACME"):
        page = text_of(opened.look("producer", path))
        assert escaped == name or name not in page
        if "clients" in path:
            assert escaped in page
    again = opened.look("anyone", f"/sign-in?{urlencode({'next': name})}")
    assert escaped == name or name not in text_of(again)


# what pages show


def shown_dates(page: str) -> list[tuple[str, list[str]]]:
    """Give the rows of the tables of years: the coverage month, and its dates."""
    rows = []
    for table in re.findall(r'<table class="stacked year">(.*?)</table>', page, re.DOTALL):
        for row in re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1], re.DOTALL):
            month, *dates = re.findall(r'<time datetime="([\d-]+)">', row)
            rows.append((month, dates))
    return rows


NAMES = (
    "generation_date",
    "due_date",
    "safe_pay_by_date",
    "recommended_pay_by_date",
    "next_generation_date",
    "grace_end_date",
)


def expected(invoices: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(each["coverage_month"], [str(each[name]) for name in NAMES if each[name]]) for each in invoices]


def test_pages_show_the_dates_of_the_api_for_two_hundred_accounts(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    now, book = datetime.now(UTC), book_file().book
    demo.fill(store, book, 90, now)
    with store.writing(By("setup", now)) as write:
        cookie = sessions.new_session(write.connection, demo.ADMIN, now)
        write.audit("setup")
    app = create_app(book_file(), store)
    client, seen = app.test_client(use_cookies=False), 0
    with store.reading() as connection:
        admin = users.user(connection, demo.ADMIN)
        assert admin
        for number in range(1, 91):
            client_id = f"C{number:05}"
            page = client.get(f"/clients/{client_id}?from=2026-11", headers={"Cookie": f"sid={cookie}"})
            window = Window(first=np.datetime64("2026-11", "M"), count=12)
            answer = served.schedule(connection, book, admin, client_id, None, window, now)
            billed = [
                row
                for account in answer["bill_accounts"]
                for row in expected([each for each in account["invoices"] if "due_date" in each])
            ]
            months = {row[0] for row in billed}
            assert [row for row in shown_dates(text_of(page)) if row[1] and row[0] in months][: len(billed)] == billed
            seen += len(answer["bill_accounts"])
    store.close()
    assert seen >= 200


@pytest.mark.parametrize(
    "query",
    [
        {"state": "PA", "from": "2026-08"},
        {"state": "NY", "product": "cobra", "from": "2027-01", "months": "3"},
        {"state": "DE", "from": "2027-02", "months": "5", "grace": "after_due", "grace_number": "45"},
        {"state": "WV", "from": "2026-01", "grace": "calendar_months", "grace_number": "2", "grace_roll": "following"},
        {"state": "PA", "from": "2026-08", "generation": "business_day", "generation_number": "-5"},
        {"state": "PA", "from": "2026-08", "generation": "weekday", "generation_weekday": "TH",
         "generation_number": "3"},
        {"state": "PA", "from": "2026-08", "generation": "day_of_month", "generation_number": "-8",
         "generation_months": "1", "generation_roll": "preceding"},
        {"state": "PA", "from": "2026-08", "due_day": "-1", "due_offset": "-1", "skip": "7 8",
         "pay_by_days": "5", "pay_by_unit": "business", "posting_min": "1", "posting_max": "4", "cutoff": "15:00",
         "timezone": "America/Chicago", "calendar": "XNYS"},
    ],
    ids=str,
)  # fmt: skip
def test_the_calculator_shows_the_answer_of_the_api_and_the_question_to_ask_it(
    shared: Visits, query: dict[str, str]
) -> None:
    page = text_of(shared.look("anyone", f"/calculator?{urlencode(query)}"))
    answer = shared.client.post("/v1/calculate", json=question(query)).get_json()
    assert [row for row in shown_dates(page) if row[1]] == expected(answer["invoices"])
    assert f"/calculator?{urlencode(query)}" in unescape(page)
    assert "curl -s http://localhost/v1/calculate" in unescape(page)
    for invoice in answer["invoices"]:
        for warning in invoice["warnings"]:
            first = re.split(r"\d{4}-\d{2}", warning["detail"])[0]
            assert first[1:].lower() in unescape(page).lower()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "TX", "from": "2026-08"}, "state"),
        ({"state": "PA", "from": "2026-8"}, "from"),
        ({"state": "PA", "from": "2026-08", "months": "1e3"}, "months"),
        ({"state": "PA", "from": "2026-08", "product": "gold"}, "product"),
        ({"state": "PA", "from": "2026-08", "grace": "after_due"}, "grace_number"),
        ({"state": "PA", "from": "2026-08", "grace_number": "999"}, "grace_number"),
        ({"state": "PA", "from": "2026-08", "generation": "weekday"}, "generation_weekday"),
        ({"state": "PA", "from": "2026-08", "generation": "weekday", "generation_number": "2"}, "generation_weekday"),
        ({"state": "PA", "from": "2026-08", "generation": "weekday", "generation_number": "6"}, "generation_number"),
        ({"state": "PA", "from": "2026-08", "generation_roll": "following"}, "generation"),
        ({"state": "PA", "from": "2026-08", "generation": "fortnight"}, "generation"),
        ({"state": "PA", "from": "2026-08", "generation": "days_before_due"}, "generation_number"),
        ({"state": "PA", "from": "2026-08", "due_day": "32"}, "due_day"),
        ({"state": "PA", "from": "2026-08", "posting_min": "4", "posting_max": "2", "cutoff": "17:00"}, "posting_max"),
        ({"state": "PA", "from": "2026-08", "cutoff": "5pm"}, "cutoff"),
        ({"state": "PA", "from": "2026-08", "skip": "13"}, "skip"),
        ({"state": "PA", "from": "2026-08", "timezone": "Mars/Base"}, "timezone"),
        ({"state": "PA", "from": "2026-08", "calendar": "XFEDD"}, "calendar"),
        ({"state": "PA", "from": "2026-08", "paid_at": "soon"}, "paid_at"),
    ],
    ids=str,
)
def test_a_slip_in_the_calculator_is_shown_at_its_field(shared: Visits, query: dict[str, str], field: str) -> None:
    answer = shared.look("anyone", f"/calculator?{urlencode(query)}")
    page = text_of(answer)
    assert answer.status_code in (404, 422)
    assert f'id="{field}_fault"' in page
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', page)


def paid(opened: Visits, **query: str) -> str:
    asked = {"account": "MAIN", "month": "2024-03", **query}
    return str(text_of(opened.look("producer", f"/clients/{ACME}?{urlencode(asked)}")))


def test_what_if_i_pay_is_answered_as_the_api_answers(shared: Visits) -> None:
    page = paid(shared, pay_on="2024-03-11", pay_at="18:30")
    body = {"coverage_month": "2024-03", "paid_at": "2024-03-11T18:30"}
    path = f"/v1/clients/{ACME}/bill-accounts/MAIN/payments/preview"
    meaning = shared.ask("producer", "POST", path, body).get_json()["meaning"]
    for name in ("received_date", "posts_from_date", "posts_by_date"):
        assert plain_day(date.fromisoformat(meaning[name])) in page
    assert "America/New_York" in page


LABEL = re.compile(r'(?:entry|choice|lines|number)\("([a-z_]+)", "([^"]+)"')


def test_a_field_is_called_in_a_list_of_faults_as_it_is_called_where_it_stands() -> None:
    labels: dict[str, set[str]] = {}
    for file in (Path(web.__file__).parent / "templates").glob("*.html"):
        for name, label in LABEL.findall(file.read_text("utf-8")):
            labels.setdefault(name, set()).add(label)
    one = {name: label for name, (label, *others) in labels.items() if not others}
    assert len(one) > 40
    assert {name: field(name) for name, label in one.items() if not field(name).lower().endswith(label.lower())} == {}


def test_the_calculator_takes_months_with_commas_between(shared: Visits) -> None:
    asked = [urlencode({"state": "PA", "from": "2026-06", "skip": months}) for months in ("7 8", "7, 8", "7,8", "")]
    *alike, none = [shown_dates(text_of(shared.look("anyone", f"/calculator?{each}"))) for each in asked]
    assert alike[0] == alike[1] == alike[2] != none


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"pay_on": "2024-03-11", "pay_at": "25:00"}, "Time: must be a time such as 16:30"),
        ({"pay_on": "0026-12-01", "pay_at": "4pm"}, "Date: must be a day that exists, from 2000 to 2099"),
        ({"pay_on": "2023-01-01"}, "cannot have been paid"),
        ({"pay_on": "2024-03-11", "account": "NONE"}, "no bill account"),
        ({"pay_on": "2024-02-30"}, "Date: must be a day that exists"),
    ],
    ids=str,
)
def test_a_slip_in_what_if_i_pay_is_said_where_the_answer_would_be(
    shared: Visits, query: dict[str, str], said: str
) -> None:
    page = paid(shared, **query)
    assert said in page[page.index('id="paid"') :]
    assert f'value="{query["pay_on"]}"' in page


def test_what_if_i_pay_takes_no_long_text(shared: Visits) -> None:
    assert "at most" in paid(shared, pay_on="2024-03-11", pay_at="x" * 99)


def test_what_is_paid_already_is_said_where_one_asks_what_paying_means(opened: Visits) -> None:
    now = datetime.now(UTC)
    asked = f"/clients/{ACME}?account=MAIN&month={now:%Y-%m}&pay_on={now.date()}"
    assert "is paid already" not in text_of(opened.look("producer", asked))
    _pay(opened)
    assert "is paid already" in text_of(opened.look("producer", asked))
    assert "is paid already" not in text_of(opened.look("producer", asked.replace("MAIN", "COBRA")))


def test_the_client_page_tells_who_changed_what_and_not_of_others(shared: Visits) -> None:
    page = text_of(shared.look("producer", f"/clients/{ACME}"))
    assert "Changed the client&#39;s settings" in page
    assert ZENITH not in page
    assert shared.look("producer", f"/clients/{UNKNOWN}").status_code == 404


def invoice(month: str, generated: str, due: str, grace: str, **more: Any) -> dict[str, Any]:
    days = dict(
        zip(
            ("generation_date", "due_date", "grace_end_date"),
            map(date.fromisoformat, (generated, due, grace)),
            strict=True,
        )
    )
    others = dict.fromkeys(("next_generation_date", "safe_pay_by_date", "recommended_pay_by_date"))
    return {"coverage_month": month, **days, **others, **more}


def test_an_account_of_which_nothing_is_open_or_to_come_has_no_timeline(opened: Visits) -> None:
    with opened.store.writing(By("setup", datetime.now(UTC))) as write:
        closed = Account(client_id=ACME, account_id="OLD", version=1, kind="dental", name="Closed",
                         last_coverage_month="2020-12")  # fmt: skip
        clients.put_account(write.connection, closed, "setup", write.at)
        write.audit("put_bill_account", client_id=ACME, account_id="OLD")
    answer = opened.look("producer", f"/clients/{ACME}")
    assert answer.status_code == 200
    assert 'id="title_MAIN"' in text_of(answer)
    assert 'id="title_OLD"' not in text_of(answer)


def test_a_timeline_is_drawn_to_scale() -> None:
    drawn = timeline([invoice("2026-08", "2026-07-12", "2026-08-01", "2026-08-31")], date(2026, 8, 3))
    assert drawn
    (lane,) = drawn.lanes
    days = (date(2026, 8, 31) - date(2026, 7, 12)).days + 7  # three beside either end
    widths = [float(bar.width[:-1]) for bar in lane.bars]
    assert widths == pytest.approx([100 * 21 / days, 100 * 30 / days], abs=0.01)
    assert float(lane.bars[0].begin[:-1]) == pytest.approx(300 / days, abs=0.01)
    assert float(drawn.today[:-1]) == pytest.approx(100 * 25.5 / days, abs=0.01)
    assert [tick.day.isoformat() for tick in drawn.ticks] == ["2026-08-01", "2026-09-01"]


def test_a_timeline_has_what_is_open_and_what_comes_next() -> None:
    months = [
        invoice("2026-06", "2026-05-12", "2026-06-01", "2026-07-01"),
        invoice("2026-07", "2026-06-12", "2026-07-01", "2026-07-31",
                payment={"paid_at": datetime(2026, 8, 1, 9), "posts_from_date": date(2026, 8, 4),  # noqa: DTZ001
                         "posts_by_date": date(2026, 8, 5)}),
        invoice("2026-08", "2026-07-12", "2026-08-01", "2026-08-31"),
        invoice("2026-09", "2026-08-12", "2026-09-01", "2026-10-01"),
        invoice("2026-10", "2026-09-12", "2026-10-01", "2026-10-31"),
        {"coverage_month": "2026-05", "standing": "billed_elsewhere"},
    ]  # fmt: skip
    drawn = timeline(months, date(2026, 8, 3))
    assert drawn
    assert [lane.invoice["coverage_month"] for lane in drawn.lanes] == ["2026-07", "2026-08", "2026-09"]
    assert [bar.what for bar in drawn.lanes[0].bars] == ["invoiced", "grace", "posting"]
    assert timeline(months[:1], date(2026, 8, 3)) is None


@pytest.mark.parametrize(
    ("actor", "path"),
    [
        ("producer", f"/clients/{ZENITH}"),
        ("producer", "/admin/users"),
        ("unentitled", "/home"),
        ("manager", "/clients/a.b"),
    ],
)
def test_who_is_refused_is_still_signed_in(shared: Visits, actor: str, path: str) -> None:
    answer = shared.look(actor, path)
    assert answer.status_code in (403, 404)
    assert "Sign out" in text_of(answer)
    assert "To your home page" in text_of(answer)
