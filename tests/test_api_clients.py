"""Clients over HTTP: who asks, in which order a request is judged, versions, schedules, entries, lists, and CSV."""

import csv
import io
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from ebill.bookfile import BookFile
from ebill.errors import StoreRefused, StoreUnavailable
from ebill.service import listing
from ebill.store.engine import Store
from ebill.store.tables import audit, books, clients
from ebill.web import create_app, reading, steady
from ebill.web.books import THREAD
from tests.books import TEXT, edited
from tests.world import ACME, UNKNOWN, ZENITH, Door, book_file, door, fill, rehearsed

pytestmark = pytest.mark.anywhere

CLIENT = f"/v1/clients/{ACME}"
ACCOUNT = f"{CLIENT}/bill-accounts/MAIN"
SETTINGS = {"name": "Acme Ltd", "team_id": "north", "state": "PA"}
RULE = {"since": "2090-01", "generation": {"day_of_month": 9}, "cite": "Letter"}


@pytest.fixture
def opened(sqlite_url: str) -> Iterator[Door]:
    store = Store(sqlite_url)
    yield door(store)
    store.close()


@pytest.fixture(scope="module")
def shared(ready: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The same for all who change nothing: nothing of what is done to it is kept."""
    copy = shutil.copy(ready.removeprefix("sqlite:///"), tmp_path_factory.mktemp("shared") / "store.db")
    yield from rehearsed(f"sqlite:///{copy}")


def code(answer: TestResponse) -> str:
    found: str = answer.get_json()["code"]
    return found


def pointers(answer: TestResponse) -> list[str]:
    return [fault["pointer"] for fault in answer.get_json()["errors"]]


def count(opened: Door, table: Any) -> int:
    with opened.store.reading() as connection:
        found: int = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return found


def put(opened: Door, path: str = CLIENT, body: Any = None, **headers: str) -> TestResponse:
    """Change a client as its manager, made from what `headers` say (`If_Match` for If-Match)."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return opened.ask("manager", "PUT", path, SETTINGS if body is None else body, sent)


# Who is there


def with_authorization(opened: Door, value: str | None, path: str = CLIENT, **more: Any) -> TestResponse:
    environ = {} if value is None else {"HTTP_AUTHORIZATION": value}
    return opened.client.get(path, environ_overrides=environ, **more)


UNKNOWN_TOKEN = "ebp_0123456789abcdef_" + "A" * 49
NOBODY = {
    "no header": None,
    "an empty one": "",
    "the scheme alone": "Bearer",
    "the token alone": "{token}",
    "another scheme": "Basic {token}",
    "a token that never was": f"Bearer {UNKNOWN_TOKEN}",
    "one letter off": "Bearer {off}",
    "cut short": "Bearer {short}",
    "another secret": "Bearer {other}",
    "upper case": "Bearer {upper}",
    "a space behind": "Bearer {token} ",
    "a line behind": "Bearer {token}\n",
    "two headers": "Bearer {token},Bearer {token}",
    "two headers, parted": "Bearer {token}, Bearer {token}",
    "two tokens": "Bearer {token} {token}",
    "a tab": "Bearer\t{token}",
    "a megabyte": "Bearer ebp_" + "a" * 1_000_000,
    "another kind of token": "Bearer ebf{rest}",
    "a JWT that nobody signed": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEtYWRtaW4ifQ.",
    "a letter of another script": "Bearer {short}\u00d0\u00b0",
}


@pytest.mark.parametrize("value", NOBODY.values(), ids=NOBODY)
def test_whatever_is_wrong_with_a_token_it_is_refused_alike(shared: Door, value: str | None) -> None:
    token = shared.world.tokens["producer"]
    ways = {"token": token, "short": token[:-1], "upper": token.upper(), "rest": token[3:]}
    ways |= {"off": token[:-1] + chr(ord(token[-1]) ^ 1), "other": token[:21] + "A" * (len(token) - 21)}
    missing = with_authorization(shared, None)
    refused = with_authorization(shared, value and value.format(**ways))
    assert (refused.status_code, code(refused)) == (401, "unauthenticated")
    assert refused.headers["WWW-Authenticate"] == missing.headers["WWW-Authenticate"] == 'Bearer realm="ebill"'
    assert refused.get_json() | {"request_id": ""} == missing.get_json() | {"request_id": ""}


@pytest.mark.parametrize("actor", ["disabled", "revoked"])
def test_a_token_that_counts_no_more_is_refused_as_one_that_never_was(shared: Door, actor: str) -> None:
    refused = shared.ask(actor, "GET", CLIENT)
    assert refused.get_json() | {"request_id": ""} == with_authorization(shared, None).get_json() | {"request_id": ""}


def test_a_token_in_the_query_is_no_token(shared: Door) -> None:
    token = shared.world.tokens["producer"]
    assert with_authorization(shared, None, f"{CLIENT}?access_token={token}").status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_the_name_of_the_scheme_has_no_case(shared: Door, scheme: str) -> None:
    assert with_authorization(shared, f"{scheme} {shared.world.tokens['producer']}").status_code == 200


@pytest.mark.parametrize(
    ("actor", "path", "status"),
    [
        ("producer", CLIENT, 200),
        ("anyone", CLIENT, 401),
        ("unentitled", CLIENT, 403),
        ("producer", f"/v1/clients/{ZENITH}", 404),
        ("producer", f"{CLIENT}/schedule?from=nonsense", 422),
        ("producer", f"{CLIENT}?a=1&a=2", 400),
    ],
)
def test_no_answer_to_somebody_is_for_anybody_else(shared: Door, actor: str, path: str, status: int) -> None:
    answer = shared.ask(actor, "GET", path)
    assert answer.status_code == status
    assert (answer.headers["Cache-Control"], answer.headers["Vary"]) == ("private, no-store", "Authorization")


def test_a_public_answer_asks_nobody(shared: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    for way in ("reading", "writing", "glancing", "noting"):
        monkeypatch.setattr(Store, way, None)
    body = {"state": "PA", "coverage_month": "2026-08"}
    for method, path, sent in (("POST", "/v1/calculate", body), ("GET", "/v1/states", None), ("GET", "/livez", None)):
        answer = shared.ask("producer", method, path, sent)
        assert (answer.status_code, answer.headers.get("Vary")) == (200, None)
        assert answer.headers["Cache-Control"] == "no-store"


# In which order


@pytest.mark.parametrize("path", ["", "/bill-accounts/MAIN", "/rules", "/bill-accounts/MAIN/exceptions"])
@pytest.mark.parametrize(
    ("actor", "client_id", "expected"),
    [
        ("anyone", ACME, "unauthenticated"),
        ("unentitled", UNKNOWN, "not_allowed"),
        ("producer", ACME, "not_allowed"),
        ("manager", ZENITH, "client_not_found"),
        ("manager", UNKNOWN, "client_not_found"),
        ("manager", "x" * 33, "client_not_found"),
        ("manager", "%00", "client_not_found"),
        ("manager", "caf%C3%A9", "client_not_found"),
    ],
)
def test_who_one_is_counts_before_what_one_may_and_that_before_what_one_sends(
    shared: Door, path: str, actor: str, client_id: str, expected: str
) -> None:
    method = "POST" if path.endswith(("rules", "exceptions")) else "PUT"
    headers = {"If-Match": "garbage", "Content-Encoding": "gzip"}
    answer = shared.ask(
        actor, method, f"/v1/clients/{client_id}{path}?no=1&no=2", b"{", headers, content_type="text/html"
    )
    assert code(answer) == expected


def test_a_missing_entitlement_is_named(shared: Door) -> None:
    answer = shared.ask("unentitled", "GET", CLIENT)
    assert (answer.status_code, code(answer)) == (403, "missing_entitlement")
    assert answer.get_json()["entitlement"] == "client_administration"


def test_what_is_sent_is_judged_before_the_version_it_is_made_from(shared: Door) -> None:
    assert code(put(shared, body={"name": ""})) == "invalid_input"
    assert code(put(shared, body={"name": ""}, If_Match='"7"')) == "invalid_input"
    assert code(put(shared)) == "precondition_required"


@pytest.mark.parametrize("client_id", ["x" * 33, "a_b", "%20", "caf%C3%A9", "%00"])
def test_an_id_that_no_client_may_have_is_refused_with_its_place(shared: Door, client_id: str) -> None:
    answer = put(shared, f"/v1/clients/{client_id}", If_None_Match="*")
    assert (answer.status_code, pointers(answer)) == (422, ["/client_id"])
    of_account = put(shared, f"{CLIENT}/bill-accounts/{client_id}", {"name": "a", "kind": "b"}, If_None_Match="*")
    assert (of_account.status_code, pointers(of_account)) == (422, ["/account_id"])


@pytest.mark.parametrize("path", ["/v1/clients/../v1/me", "/v1/clients/1000-ACME/", "/v1//clients", "/V1/clients"])
def test_there_is_no_second_way_to_the_same_data(shared: Door, path: str) -> None:
    assert code(shared.ask("admin", "GET", path)) == "not_found"


# Versions


def test_a_client_is_made_read_and_changed_from_one_version_to_the_next(opened: Door) -> None:
    path = "/v1/clients/4000-NEW"
    made = put(opened, path, If_None_Match="*")
    assert (made.status_code, made.headers["ETag"], made.get_json()["version"]) == (201, '"1"', 1)
    read = opened.ask("manager", "GET", path)
    assert (read.status_code, read.headers["ETag"]) == (200, '"1"')
    assert read.get_json() == {**made.get_json(), "bill_accounts": []}
    changed = put(opened, path, {**SETTINGS, "name": "Newer"}, If_Match='"1"')
    assert (changed.status_code, changed.headers["ETag"], changed.get_json()["name"]) == (200, '"2"', "Newer")
    again = put(opened, path, {**SETTINGS, "name": "Newest"}, If_Match='"1"')
    assert (again.status_code, code(again), again.headers["ETag"]) == (412, "stale_version", '"2"')
    assert again.get_json()["version"] == 2
    assert opened.ask("manager", "GET", path).get_json()["name"] == "Newer"


def test_a_bill_account_is_made_read_and_changed_as_a_client_is(opened: Door) -> None:
    path, body = f"{CLIENT}/bill-accounts/SITE-2", {"name": "Second site", "kind": "site", "state": "NY"}
    made = put(opened, path, body, If_None_Match="*")
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    assert opened.ask("producer", "GET", path).get_json() == made.get_json()
    assert put(opened, path, body, If_None_Match="*").status_code == 412
    changed = put(opened, path, {**body, "name": "Moved"}, If_Match='"1"')
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')


CONDITIONS = {
    "none": ({}, 428),
    "any version": ({"If_Match": "*"}, 428),
    "the current one": ({"If_Match": '"1"'}, 200),
    "with space around": ({"If_Match": ' "1" '}, 200),
    "a stale one": ({"If_Match": '"2"'}, 412),
    "none of ours": ({"If_Match": '"abc"'}, 412),
    "an empty one": ({"If_Match": '""'}, 412),
    "one with a leading zero": ({"If_Match": '"01"'}, 412),
    "a weak one": ({"If_Match": 'W/"1"'}, 412),
    "several, the current one among them": ({"If_Match": '"7", "1"'}, 200),
    "several without space": ({"If_Match": '"7","1"'}, 200),
    "several stale ones": ({"If_Match": '"7", "8"'}, 412),
    "several, the current one weak": ({"If_Match": '"7", W/"1"'}, 412),
    "no quotes": ({"If_Match": "1"}, 400),
    "half a quote": ({"If_Match": '"1'}, 400),
    "a weak star": ({"If_Match": "W/*"}, 400),
    "a star among others": ({"If_Match": '"1", *'}, 400),
    "nothing": ({"If_Match": ""}, 400),
    "a comma": ({"If_Match": '"1",'}, 400),
    "ten kilobytes": ({"If_Match": ", ".join(['"1"'] * 2000)}, 400),
    "something new": ({"If_None_Match": "*"}, 412),
    "unless it is this one": ({"If_None_Match": '"7"'}, 428),
    "unless it is garbage": ({"If_None_Match": "7"}, 400),
    "both": ({"If_Match": '"1"', "If_None_Match": "*"}, 400),
}


@pytest.mark.parametrize(("headers", "status"), CONDITIONS.values(), ids=CONDITIONS)
@pytest.mark.parametrize("path", [CLIENT, ACCOUNT])
def test_a_change_says_which_version_it_is_made_from(
    shared: Door, path: str, headers: dict[str, str], status: int
) -> None:
    body = SETTINGS if path == CLIENT else {"name": "Main", "kind": "site"}
    assert put(shared, path, body, **headers).status_code == status


def test_what_is_not_there_has_no_version_to_change(shared: Door) -> None:
    path, body = f"{CLIENT}/bill-accounts/SITE-2", {"name": "Second site", "kind": "site"}
    stale = put(shared, path, body, If_Match='"1"')
    assert (stale.status_code, stale.headers.get("ETag")) == (412, None)
    assert put(shared, path, body).status_code == 428


@pytest.mark.parametrize(
    ("given", "status"), [('"1"', 304), ('W/"1"', 304), ("*", 304), ('"2"', 200), ('"2", "1"', 304), ("1", 400)]
)
def test_a_reader_who_has_this_version_of_an_account_is_told_so(shared: Door, given: str, status: int) -> None:
    answer = shared.ask("producer", "GET", ACCOUNT, headers={"If-None-Match": given})
    assert answer.status_code == status
    if status == 304:
        assert (answer.get_data(), answer.headers["ETag"]) == (b"", '"1"')


def test_a_client_with_accounts_is_always_given_whole_since_its_version_does_not_cover_them(shared: Door) -> None:
    assert shared.ask("producer", "GET", CLIENT, headers={"If-None-Match": '"1"'}).status_code == 200


ASSIGNED = {
    "role": "admin",
    "is_admin": True,
    "client_id": ZENITH,
    "version": 7,
    "created_by": "me",
    "recorded_by": "me",
    "recorded_at": "2026-01-01T00:00:00Z",
    "folded": "x",
    "bill_accounts": [],
}


@pytest.mark.parametrize("path", [CLIENT, ACCOUNT])
def test_nothing_is_set_that_is_not_asked_for(shared: Door, path: str) -> None:
    body = SETTINGS if path == CLIENT else {"name": "Main", "kind": "site"}
    answer = put(shared, path, {**body, **ASSIGNED}, If_Match='"1"')
    assert (answer.status_code, sorted(pointers(answer))) == (422, sorted(f"/{name}" for name in ASSIGNED))


def test_what_is_read_of_a_client_may_be_sent_back_without_what_is_ours(shared: Door) -> None:
    read = shared.ask("manager", "GET", CLIENT)
    body = {name: value for name, value in read.get_json().items() if name not in ("client_id", "version")}
    del body["bill_accounts"]
    given = {name: value for name, value in body.items() if value is not None}
    assert put(shared, CLIENT, given, If_Match=read.headers["ETag"]).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (CLIENT, {**SETTINGS, "state": "WV"}, {"If-Match": '"1"'}),
        ("/v1/clients/4000-NEW", SETTINGS, {"If-None-Match": "*"}),
        (ACCOUNT, {"name": "Main", "kind": "site", "last_coverage_month": "2090-12"}, {"If-Match": '"1"'}),
        (f"{CLIENT}/rules", RULE, {}),
        (f"{ACCOUNT}/exceptions", {"coverage_month": "2090-01", "due_date": "2090-01-02", "reason": "x"}, {}),
    ],
)
def test_a_dry_run_tells_what_would_move_and_changes_nothing(
    shared: Door, path: str, body: Any, headers: dict[str, str]
) -> None:
    before = [count(shared, table) for table in audit.metadata.sorted_tables]
    method = "PUT" if headers else "POST"
    told = shared.ask("manager", method, f"{path}?dry_run=true", {**body, "retroactive": True, "reason": "x"}, headers)
    assert told.status_code == 200
    assert set(told.get_json()) == {"from", "to", "counts", "moved", "hazards"}
    assert "ETag" not in told.headers
    assert [count(shared, table) for table in audit.metadata.sorted_tables] == before
    stale = shared.ask("manager", method, f"{path}?dry_run=true", body, {"If-Match": '"7"'} if headers else {})
    assert stale.status_code == (200 if method == "POST" else 404 if "NEW" in path else 412)


@pytest.mark.parametrize("value", ["1", "True", "yes", "", "on", "true "])
def test_a_dry_run_is_true_or_false(shared: Door, value: str) -> None:
    answer = put(shared, f"{CLIENT}?dry_run={value}", If_Match='"1"')
    assert (answer.status_code, pointers(answer)) == (422, ["/dry_run"])


def test_the_audit_names_the_request_and_the_token(opened: Door) -> None:
    changed = put(opened, CLIENT, {**SETTINGS, "name": "Renamed"}, If_Match='"1"')
    with opened.store.reading() as connection:
        row = connection.execute(select(audit).order_by(audit.c.sequence.desc())).first()
    assert row is not None
    assert (row.actor, row.action, row.client_id) == ("nora-north", "put_client", ACME)
    assert row.request_id == changed.headers["X-Request-Id"]
    assert row.token_id == opened.world.tokens["manager"].split("_")[1]


def test_a_request_id_of_the_sender_is_not_taken_for_ours(shared: Door) -> None:
    answer = put(shared, If_Match='"1"', X_Request_Id="of my own")
    assert answer.headers["X-Request-Id"] != "of my own"


@pytest.mark.parametrize(
    ("content_type", "data", "status"),
    [
        ("text/plain", b"{}", 415),
        ("application/json; charset=utf-16", b"{}", 415),
        ("application/json", b"", 400),
        ("application/json", b'{"name": 1, "name": 2}', 400),
        ("application/json", b'{"name": NaN}', 400),
        ("application/json", b"[]", 422),
        ("application/json", b"null", 422),
        ("application/json", b'"' + b"a" * reading.LARGEST + b'"', 413),
    ],
)
def test_a_body_is_read_as_strictly_as_the_calculators(
    shared: Door, content_type: str, data: bytes, status: int
) -> None:
    answer = shared.ask("manager", "PUT", CLIENT, data, {"If-Match": '"1"'}, content_type=content_type)
    assert answer.status_code == status


# Schedules

# The specification's worked table: generation 20 days before due, US/Eastern, bank calendar.
WORKED = {
    "2026-02": ("2026-01-12", "2026-02-01", "2026-03-03", "2026-02-09", "2026-02-06", "2026-02-03"),
    "2026-08": ("2026-07-12", "2026-08-01", "2026-08-31", "2026-08-12", "2026-08-09", "2026-08-06"),
    "2026-11": ("2026-10-12", "2026-11-01", "2026-12-01", "2026-11-11", "2026-11-08", "2026-11-05"),
}
DATES = (
    "generation_date",
    "due_date",
    "grace_end_date",
    "next_generation_date",
    "recommended_pay_by_date",
    "safe_pay_by_date",
)


@pytest.fixture
def plain(opened: Door) -> Door:
    """A world with a client that has no rules of its own."""
    path = "/v1/clients/4000-NEW"
    put(opened, path, If_None_Match="*")
    for account_id in ("A", "B"):
        put(opened, f"{path}/bill-accounts/{account_id}", {"name": account_id, "kind": "site"}, If_None_Match="*")
    return opened


def invoices(answer: TestResponse, account: int = 0) -> dict[str, tuple[str, ...]]:
    """Give the dates of an account by coverage month."""
    listed = answer.get_json()["bill_accounts"][account]["invoices"]
    return {invoice["coverage_month"]: tuple(invoice[name] for name in DATES) for invoice in listed}


@pytest.mark.parametrize("path", ["/schedule", "/bill-accounts/B/schedule"])
def test_the_worked_dates_come_for_a_client_and_for_an_account(plain: Door, path: str) -> None:
    answer = plain.ask("manager", "GET", f"/v1/clients/4000-NEW{path}?from=2026-01&months=12&as_of=2026-08-01")
    assert answer.status_code == 200
    accounts = answer.get_json()["bill_accounts"]
    assert [account["account_id"] for account in accounts] == (["A", "B"] if path == "/schedule" else ["B"])
    for number, _ in enumerate(accounts):
        found = invoices(answer, number)
        assert list(found) == [f"2026-{month:02}" for month in range(1, 13)]
        assert {month: found[month] for month in WORKED} == WORKED


def test_a_schedule_begins_with_the_month_of_the_day_it_is_asked_for(plain: Door) -> None:
    answer = plain.ask("manager", "GET", "/v1/clients/4000-NEW/schedule?as_of=2026-08-20")
    found = invoices(answer)
    assert (len(found), next(iter(found))) == (12, "2026-08")
    (standing,) = {
        invoice["standing"]
        for invoice in answer.get_json()["bill_accounts"][0]["invoices"]
        if invoice["coverage_month"] == "2026-08"
    }
    assert standing == "in_grace"  # due 1 August, grace ends on the 31st


def test_an_explanation_comes_when_it_is_asked_for(plain: Door) -> None:
    path = "/v1/clients/4000-NEW/schedule?from=2026-08&months=1"
    (bare,) = plain.ask("manager", "GET", path).get_json()["bill_accounts"][0]["invoices"]
    (told,) = plain.ask("manager", "GET", f"{path}&explain=true").get_json()["bill_accounts"][0]["invoices"]
    assert "explanation" not in bare
    assert set(told["explanation"]) == set(DATES)


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("from=2026-13", "/from"),
        ("from=2026-8", "/from"),
        ("from=1999-12", "/from"),
        ("months=0", "/months"),
        ("months=121", "/months"),
        ("months=-1", "/months"),
        ("months=1e1", "/months"),
        ("months=%2B5", "/months"),
        ("months=05", "/months"),
        ("months=%D9%A3", "/months"),
        ("months=" + "9" * 5000, "/months"),
        ("from=2099-12&months=2", "/months"),
        ("as_of=2099-12-31", "/months"),
        ("as_of=2026-02-30", "/as_of"),
        ("known_at=2026-01-01", "/known_at"),
        ("known_at=2026-01-01T00:00", "/known_at"),
        ("known_at=2099-01-01T00:00Z", "/known_at"),
        ("explain=1", "/explain"),
        ("form=2026-08", "/form"),
        ("form=2026-08&months=0&from=x", "/form /from /months"),
    ],
)
def test_a_faulty_query_is_refused_with_its_place(shared: Door, query: str, place: str) -> None:
    answer = shared.ask("manager", "GET", f"{CLIENT}/schedule?{query}")
    assert (answer.status_code, pointers(answer)) == (422, place.split())


@pytest.mark.parametrize("path", ["/v1/clients", "/v1/deadlines", "/v1/deadlines?format=csv"])
def test_a_filter_by_what_is_not_configured_is_a_slip_and_no_empty_list(shared: Door, path: str) -> None:
    query = f"{path}{'&' if '?' in path else '?'}state=PQ&product=cobar"
    answer = shared.ask("manager", "GET", query)
    assert (answer.status_code, pointers(answer)) == (422, ["/state", "/product"])
    assert "did you mean" in answer.get_data(as_text=True)


def test_an_account_that_is_not_there_is_not_found(shared: Door) -> None:
    for path in ("", "/schedule", "/rules", "/exceptions"):
        answer = shared.ask("producer", "GET", f"{CLIENT}/bill-accounts/NONE{path}")
        assert (answer.status_code, code(answer)) == (404, "bill_account_not_found")


def test_a_rule_moves_the_dates_from_its_month_on_and_is_known_since_it_was_entered(plain: Door) -> None:
    path = "/v1/clients/4000-NEW"
    schedule = f"{path}/schedule?from=2089-12&months=3"
    before = plain.ask("manager", "GET", schedule)
    entered = plain.ask("manager", "POST", f"{path}/rules", RULE, {"Idempotency-Key": "a key"})
    assert entered.status_code == 201
    kept = entered.get_json()["entered"]
    assert (kept["generation"]["day_of_month"], kept["recorded_by"]) == (9, "nora-north")
    after = invoices(plain.ask("manager", "GET", schedule))
    # The latest 9th before a due date on the 1st is that of the month before.
    assert [after[month][0] for month in ("2089-12", "2090-01", "2090-02")] == [
        invoices(before)["2089-12"][0],
        "2089-12-09",
        "2090-01-09",
    ]
    listed = plain.ask("manager", "GET", f"{path}/rules").get_json()["data"]
    assert listed == [kept]
    then = kept["recorded_at"].replace("Z", "%2B00:00")
    known = plain.ask("manager", "GET", f"{schedule}&known_at={then}")
    assert invoices(known) == after
    earlier = before.get_json() | {"known_at": None}
    with plain.store.reading() as connection:
        made = connection.scalar(
            select(audit.c.at).where(audit.c.client_id == "4000-NEW").order_by(audit.c.sequence.desc()).offset(1)
        )
    assert made is not None
    past = plain.ask("manager", "GET", f"{schedule}&known_at={made.isoformat().replace('+', '%2B')}")
    assert past.get_json()["bill_accounts"] == earlier["bill_accounts"]


def test_before_anything_was_known_nothing_can_be_told(shared: Door) -> None:
    answer = shared.ask("producer", "GET", f"{CLIENT}/schedule?known_at=2001-01-01T00:00:00Z")
    assert (answer.status_code, code(answer)) == (422, "not_known_then")


def test_a_change_that_moves_a_generated_invoice_owns_up_to_it(shared: Door) -> None:
    rule = {**RULE, "since": "2024-02", "grace": {"days": 35}}
    del rule["generation"]
    refused = shared.ask("manager", "POST", f"{CLIENT}/rules", rule, {"Idempotency-Key": "one"})
    assert (refused.status_code, code(refused)) == (422, "moves_generated_invoice")
    owned = {**rule, "retroactive": True, "reason": "The carrier's letter came late"}
    assert shared.ask("manager", "POST", f"{CLIENT}/rules", owned, {"Idempotency-Key": "two"}).status_code == 201


def test_a_withdrawn_exception_is_listed_and_counts_no_more(plain: Door) -> None:
    path = "/v1/clients/4000-NEW"
    schedule = f"{path}/schedule?from=2090-01&months=1"
    usual = invoices(plain.ask("manager", "GET", schedule))
    fixed = {"coverage_month": "2090-01", "due_date": "2090-01-03", "reason": "Published calendar"}
    withdrawn = {"coverage_month": "2090-01", "withdrawn": True, "reason": "Published in error"}
    for key, body, due in (("one", fixed, "2090-01-03"), ("two", withdrawn, usual["2090-01"][1])):
        assert plain.ask("manager", "POST", f"{path}/exceptions", body, {"Idempotency-Key": key}).status_code == 201
        assert invoices(plain.ask("manager", "GET", schedule))["2090-01"][1] == due
    listed = plain.ask("manager", "GET", f"{path}/exceptions").get_json()["data"]
    assert [(entry["due_date"], entry["withdrawn"]) for entry in listed] == [("2090-01-03", False), (None, True)]


def test_a_kept_schedule_is_given_only_while_nothing_of_the_client_has_changed(plain: Door) -> None:
    path = "/v1/clients/4000-NEW"
    schedule = f"{path}/schedule?from=2090-01&months=1"
    first = plain.ask("manager", "GET", schedule)
    assert plain.ask("manager", "GET", schedule).get_data() == first.get_data()
    put(plain, f"{path}/bill-accounts/A", {"name": "Renamed", "kind": "site"}, If_Match='"1"')
    assert plain.ask("manager", "GET", schedule).get_json()["bill_accounts"][0]["name"] == "Renamed"
    plain.ask("manager", "POST", f"{path}/rules", RULE, {"Idempotency-Key": "a key"})
    assert invoices(plain.ask("manager", "GET", schedule)) != invoices(first)


def test_a_kept_schedule_is_given_to_nobody_who_may_not_see_it_any_more(opened: Door) -> None:
    schedule = f"{CLIENT}/schedule?from=2090-01"
    assert opened.ask("producer", "GET", schedule).status_code == 200
    grant = f"/v1/users/pat-producer/grants/{ACME}"
    assert opened.ask("manager", "DELETE", grant).status_code == 204
    assert code(opened.ask("producer", "GET", schedule)) == "client_not_found"
    assert opened.ask("manager", "PUT", grant).status_code == 204
    assert opened.ask("producer", "GET", schedule).status_code == 200


# Lists


@pytest.fixture(scope="module")
def many(ready: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A world with seven more clients of team north, which is only read."""
    copy = shutil.copy(ready.removeprefix("sqlite:///"), tmp_path_factory.mktemp("many") / "store.db")
    store = Store(f"sqlite:///{copy}")
    found = door(store)
    for number in range(7):
        body = {**SETTINGS, "name": f"Client {number}", "state": ("PA", "NY")[number % 2]}
        assert put(found, f"/v1/clients/5000-C{number}", body, If_None_Match="*").status_code == 201
    yield found
    store.close()


def pages(opened: Door, path: str, actor: str = "manager") -> list[list[str]]:
    """Follow the links of a list from its first page to its last."""
    found = []
    while path:
        answer = opened.ask(actor, "GET", path)
        assert answer.status_code == 200
        found.append([each["client_id"] for each in answer.get_json()["data"]])
        link = answer.headers.get("Link", "")
        assert bool(link) == (answer.get_json()["next_cursor"] is not None)
        path = link.removeprefix("<").partition(">")[0]
        assert link in ("", f'<{path}>; rel="next"')
    return found


def test_the_pages_of_a_list_are_the_list(many: Door) -> None:
    (whole,) = pages(many, "/v1/clients?limit=200")
    assert whole == [ACME, *(f"5000-C{number}" for number in range(7))]
    for limit in (1, 3, 7, 8):
        found = pages(many, f"/v1/clients?limit={limit}")
        assert [each for page in found for each in page] == whole
        assert all(len(page) == limit for page in found[:-1])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=NY", ["5000-C1", "5000-C3", "5000-C5"]),
        ("q=acme", [ACME]),
        ("q=client%204", ["5000-C4"]),
        ("q=%25", []),
        ("q=_", []),
        ("team=north&q=C6", ["5000-C6"]),
        ("team=south", []),
        ("product=cobra", []),
        (f"q={ZENITH}", []),
    ],
)
def test_a_filter_keeps_what_it_names(many: Door, query: str, found: list[str]) -> None:
    assert [each for page in pages(many, f"/v1/clients?{query}&limit=2") for each in page] == found


@pytest.mark.parametrize(("limit", "status"), [("0", 422), ("201", 422), ("-1", 422), ("1e9", 422), ("200", 200)])
def test_a_page_has_from_1_to_200_rows(many: Door, limit: str, status: int) -> None:
    assert many.ask("manager", "GET", f"/v1/clients?limit={limit}").status_code == status


@pytest.mark.parametrize("query", ["sort=name", "offset=3", "state=P%20A", "team=%27%20OR%201=1--"])
def test_a_list_knows_no_other_filter(many: Door, query: str) -> None:
    assert many.ask("manager", "GET", f"/v1/clients?{query}").status_code == 422


def test_a_cursor_is_for_its_user_and_its_filters_and_nobody_makes_one_up(many: Door) -> None:
    cursor = many.ask("manager", "GET", "/v1/clients?state=PA&limit=1").get_json()["next_cursor"]
    own = f"/v1/clients?state=PA&limit=1&cursor={cursor}"
    assert many.ask("manager", "GET", own).status_code == 200
    assert many.ask("manager", "GET", own.replace("limit=1", "limit=5")).status_code == 200
    edited_one = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    forged = listing.sealed(b"a key of my own", b"", ["5000-C0"])
    for path, actor in (
        (own, "admin"),
        (own.replace("PA", "NY"), "manager"),
        (own.replace("state=PA&", ""), "manager"),
        *((f"/v1/clients?state=PA&limit=1&cursor={each}", "manager") for each in (edited_one, forged, "", "x" * 5000)),
    ):
        answer = many.ask(actor, "GET", path)
        assert (answer.status_code, code(answer)) == (400, "bad_request")


def test_a_cursor_goes_on_in_another_process(many: Door) -> None:
    link = many.ask("manager", "GET", "/v1/clients?limit=3").headers["Link"]
    other = Door(many.store, many.world)
    answer = other.ask("manager", "GET", link.removeprefix("<").partition(">")[0])
    assert [each["client_id"] for each in answer.get_json()["data"]] == ["5000-C2", "5000-C3", "5000-C4"]


# CSV

HEAD = "record,client_id,account_id,name,team_id,state,kind,since,rule,cite\r\n"
ROWS = (
    "client,4000-NEW,,New Ltd,north,PA,,,,\r\n"
    "bill_account,4000-NEW,A,Site A,,,site,,,\r\n"
    'rule,4000-NEW,,,,,,2090-01,"{""generation"": {""day_of_month"": 9}}",Letter\r\n'
)


def import_csv(opened: Door, text: str | bytes, query: str = "", key: str = "a key", **more: Any) -> TestResponse:
    data = text if isinstance(text, bytes) else text.encode()
    more.setdefault("content_type", "text/csv")
    return opened.ask("manager", "POST", f"/v1/imports/clients{query}", data, {"Idempotency-Key": key}, **more)


def test_an_import_is_tried_made_and_exported_again(opened: Door) -> None:
    before = count(opened, clients), count(opened, audit)
    tried = import_csv(opened, HEAD + ROWS, "?dry_run=true")
    assert (tried.status_code, tried.get_json()["dry_run"]) == (200, True)
    assert (count(opened, clients), count(opened, audit)) == before
    made = import_csv(opened, HEAD + ROWS)
    kept = {"clients": 1, "bill_accounts": 1, "rules": 1, "exceptions": 0}
    assert (made.status_code, made.get_json()["kept"], tried.get_json()["kept"]) == (200, kept, kept)
    dates = opened.ask("manager", "GET", "/v1/clients/4000-NEW/schedule?from=2090-01&months=1")
    assert invoices(dates)["2090-01"][0] == "2089-12-09"
    out = opened.ask("manager", "GET", "/v1/exports/clients")
    assert out.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert out.headers["Content-Disposition"] == 'attachment; filename="clients.csv"'
    rows = list(csv.DictReader(io.StringIO(out.get_data(as_text=True), newline="")))
    assert [(row["record"], row["client_id"]) for row in rows if row["client_id"] == "4000-NEW"] == [
        ("client", "4000-NEW"),
        ("bill_account", "4000-NEW"),
        ("rule", "4000-NEW"),
    ]
    assert {row["client_id"] for row in rows} == {ACME, "4000-NEW"}


def test_an_export_has_what_its_user_sees(shared: Door) -> None:
    for actor, seen in (("producer", {ACME}), ("ungranted", set()), ("admin", {ACME, ZENITH})):
        out = shared.ask(actor, "GET", "/v1/exports/clients").get_data(as_text=True)
        assert {row["client_id"] for row in csv.DictReader(io.StringIO(out, newline=""))} == seen


def test_an_import_with_faults_is_refused_whole_with_every_faulty_cell(shared: Door) -> None:
    before = count(shared, clients), count(shared, audit)
    faulty = HEAD + ROWS + "client,4001-BAD,,,north,XX,,,,\r\n"
    answer = import_csv(shared, faulty)
    assert (answer.status_code, code(answer)) == (422, "import_refused")
    assert {"/5/name", "/5/state"} <= set(pointers(answer))
    assert (count(shared, clients), count(shared, audit)) == before


@pytest.mark.parametrize(
    ("content_type", "data", "headers", "status"),
    [
        ("text/csv", HEAD + ROWS, {}, 200),
        ("text/csv; charset=utf-8", HEAD + ROWS, {}, 200),
        ("text/csv; header=present; charset=UTF-8", HEAD + ROWS, {}, 200),
        ("text/csv", "\ufeff" + HEAD + ROWS, {}, 200),
        ("text/csv; charset=latin-1", HEAD + ROWS, {}, 415),
        ("application/json", HEAD + ROWS, {}, 415),
        ("multipart/form-data; boundary=x", HEAD + ROWS, {}, 415),
        ("text/csv", HEAD + ROWS, {"Content-Encoding": "gzip"}, 415),
        ("text/csv", b"\xff\xfe\x00", {}, 422),
        ("text/csv", "", {}, 422),
    ],
)
def test_a_file_is_csv_in_utf_8(
    shared: Door, content_type: str, data: str | bytes, headers: dict[str, str], status: int
) -> None:
    sent = data if isinstance(data, bytes) else data.encode()
    given = {"Idempotency-Key": "a key", **headers}
    answer = shared.ask("manager", "POST", "/v1/imports/clients", sent, given, content_type=content_type)
    assert answer.status_code == status
    if status == 415:
        assert answer.headers["Accept-Post"] == "text/csv"


def test_a_file_may_be_larger_than_a_body_but_not_as_large_as_one_likes(
    shared: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = "client,{},,New Ltd,north,PA,,,,\r\n"
    some = HEAD + "".join(row.format(f"6000-{number}") for number in range(8)) + "," * 9 + "\r\n" * 130_000
    assert len(some) > reading.LARGEST
    assert import_csv(shared, some).get_json()["kept"]["clients"] == 8
    monkeypatch.setattr(reading, "LARGEST_FILE", len(some))
    assert import_csv(shared, some + "\r\n", key="another").status_code == 413


# The store


def test_while_the_store_does_not_answer_one_is_told_to_come_back(opened: Door) -> None:
    file = opened.store.engine.url.database
    other = sqlite3.connect(file or "", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        for answer in (opened.ask("producer", "GET", f"{CLIENT}/schedule"), opened.ask("anyone", "GET", "/readyz")):
            assert (answer.status_code, code(answer)) == (503, "store_unavailable")
            assert answer.headers["Retry-After"] == "1"
        assert opened.ask("anyone", "GET", "/livez").status_code == 200
        body = {"state": "PA", "coverage_month": "2026-08"}
        assert opened.ask("anyone", "POST", "/v1/calculate", body).status_code == 200
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert opened.ask("producer", "GET", f"{CLIENT}/schedule").status_code == 200
    assert opened.ask("anyone", "GET", "/readyz").status_code == 200


def test_an_empty_store_is_made_ready_where_the_service_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EBILL_DATABASE_URL")
    monkeypatch.chdir(tmp_path)
    app = create_app(book_file())
    assert (tmp_path / "ebill.db").is_file()
    assert app.test_client().get("/readyz").status_code == 200
    app.extensions["ebill.store"].close()


def test_a_store_of_another_release_is_left_as_it_is(sqlite_url: str) -> None:
    file = sqlite_url.removeprefix("sqlite:///")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'older'")
    connection.close()
    with pytest.raises(StoreRefused, match="ebill db upgrade"):
        create_app(book_file(), Store(sqlite_url))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A rule book's file of our own, to be changed."""
    path = tmp_path / "states.toml"
    path.write_text(TEXT, "utf-8")
    path.chmod(0o644)
    return path


def loads(store: Store) -> list[tuple[int, bytes]]:
    """Give the rule books that are kept, and where the audit says so."""
    with store.reading() as connection:
        kept = connection.scalars(select(books.c.content).order_by(books.c.sequence)).all()
        said = connection.scalars(
            select(audit.c.sequence).where(audit.c.action == "load_rule_book").order_by(audit.c.sequence)
        ).all()
    return list(zip(said, kept, strict=True))


def kept_soon() -> None:
    """Wait for those who keep rule books."""
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(30)


def calculate(client: FlaskClient) -> int:
    """Ask the calculator, which sees whether there is another rule book."""
    return client.post("/v1/calculate", json={"state": "PA", "coverage_month": "2026-08"}).status_code


def test_each_rule_book_that_comes_into_force_is_kept_once(sqlite_url: str, file: Path) -> None:
    store = Store(sqlite_url)
    client = create_app(BookFile(file), store).test_client()
    create_app(BookFile(file), store)
    versions = [TEXT, *(edited(("days_before_due = 20", f"days_before_due = {days}")) for days in (21, 22)), TEXT]
    assert [content for _, content in loads(store)] == [TEXT.encode()]
    for number, text in enumerate(versions[1:], 2):
        file.write_text(text, "utf-8")
        assert calculate(client) == 200
        kept_soon()
        create_app(BookFile(file), store)
        assert [content for _, content in loads(store)] == [each.encode() for each in versions[:number]]
    store.close()


def test_the_calculator_waits_for_no_store_but_an_answer_about_a_client_does(
    sqlite_url: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(sqlite_url)
    world = fill(store)
    client = create_app(BookFile(file), store).test_client()
    token = {"Authorization": f"Bearer {world.tokens['producer']}"}
    file.write_text(edited(("days_before_due = 20", "days_before_due = 21")), "utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "reading", unavailable)
        patch.setattr(Store, "writing", unavailable)
        assert calculate(client) == 200
        kept_soon()
        assert code(client.get("/v1/me", headers=token)) == "store_unavailable"
    assert len(loads(store)) == 1
    assert client.get("/v1/me", headers=token).status_code == 200
    assert len(loads(store)) == 2
    store.close()


def unavailable(*_: Any) -> Any:
    raise StoreUnavailable


def test_a_schedule_as_known_before_a_rule_book_came_has_the_dates_of_the_one_before(
    sqlite_url: str, file: Path
) -> None:
    store = Store(sqlite_url)
    world = fill(store)
    client = create_app(BookFile(file), store).test_client()
    token = {"Authorization": f"Bearer {world.tokens['admin']}"}
    new = {"If-None-Match": "*", **token}
    client.put("/v1/clients/4000-NEW", json=SETTINGS, headers=new)
    client.put("/v1/clients/4000-NEW/bill-accounts/A", json={"name": "A", "kind": "site"}, headers=new)
    with store.reading() as connection:
        then = connection.scalar(select(audit.c.at).order_by(audit.c.sequence.desc()))
    file.write_text(edited(("days_before_due = 20", "days_before_due = 21")), "utf-8")
    path = "/v1/clients/4000-NEW/schedule?from=2026-08&months=1"
    now, past = (
        invoices(client.get(path + query, headers=token))["2026-08"][0]
        for query in ("", f"&known_at={then:%Y-%m-%dT%H:%M:%S.%fZ}")
    )
    assert (now, past) == ("2026-07-11", "2026-07-12")
    store.close()


def test_a_steady_answer_is_kept_for_its_rule_book_alone(sqlite_url: str, file: Path) -> None:
    store = Store(sqlite_url)
    world = fill(store)
    client = create_app(BookFile(file), store).test_client()
    token = {"Authorization": f"Bearer {world.tokens['producer']}"}
    path = f"{CLIENT}/schedule?from=2026-08&months=1"
    first = client.get(path, headers=token).get_json()
    file.write_text(edited(("days = 30", "days = 33")), "utf-8")
    second = client.get(path, headers=token).get_json()
    assert first["rulebook"] != second["rulebook"]
    assert second["bill_accounts"][0]["invoices"][0]["grace_end_date"] == "2026-09-03"
    store.close()


def test_few_and_short_steady_answers_are_kept(opened: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "MOST", 2)
    held = opened.app.extensions["ebill.signed"].steady
    for month in range(1, 7):
        opened.ask("producer", "GET", f"{CLIENT}/schedule?from=2026-0{month}&months=1")
        assert 1 <= len(held) <= 2
    monkeypatch.setattr(steady, "LONGEST", 100)
    kept = dict(held._kept)
    opened.ask("producer", "GET", f"{CLIENT}/schedule?from=2026-08&months=2")
    assert held._kept == kept


def test_when_a_token_was_used_is_noted_now_and_then(opened: Door) -> None:
    def last_used() -> Any:
        listed = opened.ask("producer", "GET", "/v1/tokens").get_json()["data"]
        token_id = opened.world.tokens["producer"].split("_")[1]
        return next(each["last_used_at"] for each in listed if each["token_id"] == token_id)

    first = last_used()
    opened.ask("producer", "GET", CLIENT)
    assert first is None
    assert last_used() is not None


def test_the_log_names_the_user_and_the_request(shared: Door, capsys: pytest.CaptureFixture[str]) -> None:
    answer = shared.ask("producer", "GET", CLIENT)
    shared.ask("anyone", "GET", CLIENT)
    known, unknown = capsys.readouterr().err.splitlines()[-2:]
    assert f'"request_id":"{answer.headers["X-Request-Id"]}"' in known
    assert '"user":"pat-producer"' in known
    assert '"user"' not in unknown
    assert "ebp_" not in known + unknown


def test_a_key_and_a_change_made_at_the_start_are_made_once(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    for _ in range(3):
        app: Flask = create_app(book_file(), store)
        assert app.test_client().get("/readyz").status_code == 200
    with store.reading() as connection:
        actions = connection.scalars(select(audit.c.action).order_by(audit.c.sequence)).all()
    assert sorted(actions) == ["load_rule_book", "make_key"]
    store.close()
