"""People over HTTP: users and what they may, teams, grants, access requests, tokens, and the audit."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, func, select
from werkzeug.test import TestResponse

from ebill import access
from ebill.store import tokens
from ebill.store.engine import Store
from ebill.store.tables import audit
from ebill.web import signed
from tests.world import ACME, MARK, UNKNOWN, ZENITH, Door, door

pytestmark = pytest.mark.anywhere

NEW = {"name": "Nia New", "role": "producer", "state": "NY"}
KEY = {"Idempotency-Key": "a key"}
FIRST = {"If-None-Match": "*"}


@pytest.fixture
def opened(sqlite_url: str) -> Iterator[Door]:
    store = Store(sqlite_url)
    yield door(store)
    store.close()


def code(answer: TestResponse) -> str:
    found: str = answer.get_json()["code"]
    return found


def pointers(answer: TestResponse) -> list[str]:
    return sorted(fault["pointer"] for fault in answer.get_json()["errors"])


def rows(opened: Door) -> int:
    with opened.store.reading() as connection:
        found: int = connection.execute(select(func.count()).select_from(audit)).scalar_one()
    return found


def sees(opened: Door, actor: str) -> list[str]:
    """Give the clients that somebody sees."""
    return [each["client_id"] for each in opened.ask(actor, "GET", "/v1/clients").get_json()["data"]]


def signed_in(opened: Door, user_id: str) -> str:
    """Give a user a token, and its holder a name to ask by."""
    with opened.store.noting() as connection:
        _, opened.world.tokens[user_id] = tokens.new_token(
            connection, user_id, "for the test", datetime.fromisoformat("2024-01-06T00:00:00Z"), signed_until()
        )
    return user_id


def signed_until() -> datetime:
    return datetime.fromisoformat("2099-01-01T00:00:00Z")


# Who one is


@pytest.mark.parametrize(
    ("actor", "user_id", "role", "seen"),
    [
        ("producer", "pat-producer", "producer", [ACME]),
        ("unentitled", "una-unentitled", "producer", [ACME]),
        ("manager", "nora-north", "client_manager", []),
        ("admin", "ada-admin", "admin", []),
    ],
)
def test_everybody_may_ask_who_they_are(opened: Door, actor: str, user_id: str, role: str, seen: list[str]) -> None:
    me = opened.ask(actor, "GET", "/v1/me").get_json()
    assert (me["user_id"], me["role"], me["clients"]) == (user_id, role, seen)


def test_declining_the_payment_terms_changes_nothing_but_that(opened: Door) -> None:
    for accepted in (True, False, True):
        answer = opened.ask("producer", "PUT", "/v1/me/payment-terms", {"accepted": accepted})
        assert answer.status_code == 200
        assert bool(answer.get_json()["payment_terms_accepted_at"]) == accepted
        assert sees(opened, "producer") == [ACME]
    assert opened.ask("producer", "PUT", "/v1/me/payment-terms", {"accepted": 1}).status_code == 422
    me = opened.ask("producer", "GET", "/v1/me").get_json()
    assert (me["entitlements"], me["clients"]) == (["client_administration"], [ACME])


# Users and teams


@pytest.mark.parametrize(
    ("state", "missing"),
    [
        ("NY", {"agency_reports"}),
        ("PA", {"agency_reports", "general_agency_administrator"}),
        ("DE", {"agency_reports", "general_agency_administrator"}),
        ("WV", {"agency_reports", "general_agency_administrator"}),
    ],
)
def test_a_new_producer_gets_what_is_automatic_in_their_state(opened: Door, state: str, missing: set[str]) -> None:
    made = opened.ask("admin", "PUT", "/v1/users/nia-new", {**NEW, "state": state}, FIRST)
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    everything = {
        "general_agency_administrator",
        "agency_reports",
        "client_administration",
        "renewals",
        "small_group_quotes",
    }
    assert set(made.get_json()["entitlements"]) == everything - missing


def test_a_user_is_made_read_and_changed_from_one_version_to_the_next(opened: Door) -> None:
    path = "/v1/users/nia-new"
    assert opened.ask("admin", "GET", path).status_code == 404
    assert code(opened.ask("admin", "PUT", path, NEW)) == "precondition_required"
    assert opened.ask("admin", "PUT", path, NEW, FIRST).status_code == 201
    assert opened.ask("admin", "PUT", path, NEW, FIRST).status_code == 412
    body = {**NEW, "name": "Nia Newer", "entitlements": ["renewals"]}
    changed = opened.ask("admin", "PUT", path, body, {"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    read = opened.ask("admin", "GET", path)
    assert (read.headers["ETag"], read.get_json()) == ('"2"', {**changed.get_json(), "clients": []})
    stale = opened.ask("admin", "PUT", path, body, {"If-Match": '"1"'})
    assert (stale.status_code, stale.headers["ETag"]) == (412, '"2"')
    listed = opened.ask("admin", "GET", "/v1/users").get_json()["data"]
    assert {**changed.get_json(), "last_seen_at": None} in listed


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({**NEW, "role": "root"}, ["/role"]),
        ({**NEW, "state": "XX"}, ["/state"]),
        ({**NEW, "entitlements": ["everything"]}, ["/entitlements/0"]),
        ({**NEW, "teams": ["nowhere"]}, ["/teams/0"]),
        ({"name": "", "role": 1}, ["/name", "/role", "/state"]),
        (
            {**NEW, "is_admin": True, "version": 7, "password": "x", "user_id": "ada-admin", "disabled_at": None},
            ["/disabled_at", "/is_admin", "/password", "/user_id", "/version"],
        ),
    ],
)
def test_a_faulty_user_is_refused_with_each_place(opened: Door, body: Any, places: list[str]) -> None:
    before = rows(opened)
    answer = opened.ask("admin", "PUT", "/v1/users/nia-new", body, FIRST)
    assert (answer.status_code, pointers(answer), rows(opened)) == (422, places, before)


def test_nobody_becomes_more_than_they_were_and_the_last_administrator_stays(opened: Door) -> None:
    up = {"name": "Pat", "role": "admin", "state": "PA"}
    assert pointers(opened.ask("admin", "PUT", "/v1/users/pat-producer", up, {"If-Match": '"1"'})) == ["/role"]
    down = {"name": "Ada", "role": "admin", "state": "PA", "disabled": True}
    assert pointers(opened.ask("admin", "PUT", "/v1/users/ada-admin", down, {"If-Match": '"1"'})) == ["/disabled"]


@pytest.mark.parametrize("path", ["/v1/users/%00", "/v1/users/a_b", "/v1/teams/%00", "/v1/teams/caf%C3%A9"])
def test_an_id_that_nobody_may_have_is_refused_with_its_place(opened: Door, path: str) -> None:
    body = NEW if "users" in path else {"name": "West"}
    answer = opened.ask("admin", "PUT", path, body, FIRST)
    assert (answer.status_code, pointers(answer)) == (422, ["/user_id" if "users" in path else "/team_id"])
    assert opened.ask("admin", "GET", path).status_code in (404, 405)


def test_a_team_is_made_once_and_its_managers_see_its_clients(opened: Door) -> None:
    made = opened.ask("admin", "PUT", "/v1/teams/west", {"name": "West"})
    assert (made.status_code, made.get_json()) == (201, {"team_id": "west", "name": "West"})
    assert opened.ask("admin", "PUT", "/v1/teams/west", {"name": "Wilder West"}).status_code == 422
    listed = opened.ask("admin", "GET", "/v1/teams").get_json()["data"]
    assert [team["team_id"] for team in listed] == ["north", "south", "west"]
    manager = {"name": "Wes", "role": "client_manager", "state": "PA", "teams": ["west"]}
    opened.ask("admin", "PUT", "/v1/users/wes-west", manager, FIRST)
    wes = signed_in(opened, "wes-west")
    body = {"name": "Acme Ltd", "team_id": "west", "state": "PA"}
    assert opened.ask("manager", "PUT", f"/v1/clients/{ACME}", body, {"If-Match": '"1"'}).status_code == 422
    assert opened.ask("admin", "PUT", f"/v1/clients/{ACME}", body, {"If-Match": '"1"'}).status_code == 200
    assert (sees(opened, wes), sees(opened, "manager")) == ([ACME], [])


# What ends at once


def disable(opened: Door) -> None:
    user = {"name": "Pat", "role": "producer", "state": "PA", "disabled": True}
    version = opened.ask("admin", "GET", "/v1/users/pat-producer").headers["ETag"]
    assert opened.ask("admin", "PUT", "/v1/users/pat-producer", user, {"If-Match": version}).status_code == 200


def revoke(opened: Door) -> None:
    token_id = opened.world.tokens["producer"].split("_")[1]
    assert opened.ask("producer", "DELETE", f"/v1/tokens/{token_id}").status_code == 204


def withdraw(opened: Door) -> None:
    assert opened.ask("manager", "DELETE", f"/v1/users/pat-producer/grants/{ACME}").status_code == 204


def disentitle(opened: Door) -> None:
    user = {"name": "Pat", "role": "producer", "state": "PA", "entitlements": ["renewals"]}
    version = opened.ask("admin", "GET", "/v1/users/pat-producer").headers["ETag"]
    assert opened.ask("admin", "PUT", "/v1/users/pat-producer", user, {"If-Match": version}).status_code == 200


ENDS = [(disable, 401), (revoke, 401), (withdraw, 404), (disentitle, 403)]


def before_and_after(opened: Door, end: Callable[[Door], None], path: str) -> list[int]:
    """Ask in two processes before something ends and after it."""
    doors = (opened, Door(opened.store, opened.world))
    found = [each.ask("producer", "GET", f"/v1/clients/{ACME}{path}").status_code for each in doors]
    end(opened)
    return found + [each.ask("producer", "GET", f"/v1/clients/{ACME}{path}").status_code for each in doors]


@pytest.mark.parametrize(("end", "status"), ENDS)
@pytest.mark.parametrize("path", ["", "/schedule", "/bill-accounts/MAIN/schedule?months=1", "/rules"])
def test_what_was_ended_is_refused_from_the_next_request_on(
    opened: Door, end: Callable[[Door], None], status: int, path: str
) -> None:
    assert before_and_after(opened, end, path) == [200, 200, status, status]


@pytest.mark.parametrize(("end", "status"), [(disable, 401), (revoke, 401)])
def test_what_was_ended_while_a_body_was_being_sent_changes_nothing(
    opened: Door, monkeypatch: pytest.MonkeyPatch, end: Callable[[Door], None], status: int
) -> None:
    right = signed._body
    slow: list[bool] = []

    def meanwhile(*asked: Any) -> Any:
        if not slow:
            slow.append(True)
            end(opened)
        return right(*asked)

    monkeypatch.setattr(signed, "_body", meanwhile)
    body = {"client_ids": [ZENITH], "reason": "New broker"}
    answer = opened.ask("producer", "POST", "/v1/access-requests", body, KEY)
    assert (slow, answer.status_code) == ([True], status)
    assert [each["user_id"] for each in opened.ask("manager", "GET", "/v1/access-requests").get_json()["data"]] == [
        "gus-ungranted"
    ]


def test_a_decision_that_is_kept_in_the_process_is_found(opened: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    right, kept = access.enter, {}

    def hasty(connection: Connection, token: str, at: datetime, *asked: Any, **how: Any) -> Any:
        if (token, *asked) not in kept:
            kept[token, *asked] = right(connection, token, at, *asked, **how)
        return kept[token, *asked]

    monkeypatch.setattr(access, "enter", hasty)
    assert before_and_after(opened, disentitle, "") == [200, 200, 200, 200]


# Grants and access requests


def test_a_grant_is_made_once_and_taken_back_once(opened: Door) -> None:
    path = f"/v1/users/gus-ungranted/grants/{ACME}"
    before = rows(opened)
    for method, seen, audited in (("PUT", [ACME], 1), ("PUT", [ACME], 1), ("DELETE", [], 2), ("DELETE", [], 2)):
        answer = opened.ask("manager", method, path)
        assert (answer.status_code, answer.get_data()) == (204, b"")
        assert (sees(opened, "ungranted"), rows(opened) - before) == (seen, audited)


@pytest.mark.parametrize(
    ("user_id", "client_id", "expected"),
    [
        ("gus-ungranted", ZENITH, "client_not_found"),
        ("nobody", ZENITH, "client_not_found"),
        ("nobody", ACME, "user_not_found"),
        ("%00", ACME, "user_not_found"),
        ("sam-south", ACME, "invalid_input"),
    ],
)
def test_nobody_grants_what_they_do_not_see_nor_to_whom_it_would_mean_nothing(
    opened: Door, user_id: str, client_id: str, expected: str
) -> None:
    assert code(opened.ask("manager", "PUT", f"/v1/users/{user_id}/grants/{client_id}")) == expected


def test_several_clients_are_requested_at_once_and_each_team_decides_on_its_own(opened: Door) -> None:
    body = {"client_ids": [ACME, ZENITH, UNKNOWN, ACME], "reason": "New broker of record"}
    taken = opened.ask("ungranted", "POST", "/v1/access-requests", body, KEY)
    assert taken.status_code == 201
    request_id = taken.get_json()["request_id"]
    assert [each["client_id"] for each in taken.get_json()["clients"]] == [ACME, ZENITH, UNKNOWN]

    def waiting(actor: str) -> dict[str, str]:
        listed = opened.ask(actor, "GET", "/v1/access-requests").get_json()["data"]
        return {
            client["client_id"]: client["decision"]
            for request in listed
            if request["request_id"] == request_id
            for client in request["clients"]
        }

    assert waiting("manager") == {ACME: "pending"}
    assert waiting("other manager") == {ZENITH: "pending"}
    assert waiting("producer") == {}
    path = f"/v1/access-requests/{request_id}/decisions"
    both = {"decision": "granted", "client_ids": [ACME, ZENITH]}
    assert code(opened.ask("manager", "POST", path, both, {"Idempotency-Key": "1"})) == "access_request_not_found"
    assert sees(opened, "ungranted") == []
    granted = opened.ask("manager", "POST", path, {"decision": "granted"}, {"Idempotency-Key": "2"})
    assert granted.get_json() == {"request_id": request_id, "decision": "granted", "client_ids": [ACME]}
    declined = {"decision": "declined", "reason": "Another broker has it"}
    assert opened.ask("other manager", "POST", path, declined, {"Idempotency-Key": "3"}).status_code == 200
    assert waiting("ungranted") == {ACME: "granted", ZENITH: "declined", UNKNOWN: "pending"}
    assert sees(opened, "ungranted") == [ACME]
    again = opened.ask("manager", "POST", path, {"decision": "declined"}, {"Idempotency-Key": "4"})
    assert code(again) == "access_request_not_found"


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({"client_ids": [], "reason": "x"}, ["/client_ids"]),
        ({"client_ids": ["x"] * 201, "reason": "x"}, ["/client_ids"]),
        ({"client_ids": ["a b", 7], "reason": "x"}, ["/client_ids/0", "/client_ids/1"]),
        ({"client_ids": ["a"], "user_id": "pat-producer"}, ["/reason", "/user_id"]),
    ],
)
def test_a_faulty_request_is_refused_with_each_place(opened: Door, body: Any, places: list[str]) -> None:
    answer = opened.ask("producer", "POST", "/v1/access-requests", body, KEY)
    assert (answer.status_code, pointers(answer)) == (422, places)


# Tokens


def test_a_token_is_shown_once_counts_at_once_and_is_listed_without_its_text(opened: Door) -> None:
    made = opened.ask("producer", "POST", "/v1/tokens", {"name": "Nightly", "days": 7}, KEY)
    text = made.get_json()["token"]
    assert text.startswith("ebp_")
    lasts = datetime.fromisoformat(made.get_json()["expires_at"]) - datetime.fromisoformat(
        made.get_json()["created_at"]
    )
    assert lasts == timedelta(days=7)
    opened.world.tokens["nightly"] = text
    assert opened.ask("nightly", "GET", "/v1/me").get_json()["user_id"] == "pat-producer"
    listed = opened.ask("producer", "GET", "/v1/tokens")
    assert text.split("_")[2] not in listed.get_data(as_text=True)
    assert {each["user_id"] for each in listed.get_json()["data"]} == {"pat-producer"}
    assert {each["user_id"] for each in opened.ask("admin", "GET", "/v1/tokens").get_json()["data"]} == {"ada-admin"}
    assert opened.ask("admin", "GET", "/v1/users/pat-producer/tokens").get_json() == listed.get_json()
    path = f"/v1/tokens/{made.get_json()['token_id']}"
    assert [opened.ask("nightly", "DELETE", path).status_code for _ in range(2)] == [204, 401]
    assert code(opened.ask("producer", "DELETE", path)) == "token_not_found"


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({}, ["/name"]),
        ({"name": "x", "days": 0}, ["/days"]),
        ({"name": "x", "days": 366}, ["/days"]),
        ({"name": "x", "days": True}, ["/days"]),
        ({"name": "x", "user_id": "ada-admin", "expires_at": "2099-01-01"}, ["/expires_at", "/user_id"]),
    ],
)
def test_a_faulty_token_is_refused_with_each_place(opened: Door, body: Any, places: list[str]) -> None:
    answer = opened.ask("producer", "POST", "/v1/tokens", body, KEY)
    assert (answer.status_code, pointers(answer)) == (422, places)


def scoped(opened: Door, actor: str, **scope: Any) -> str:
    """Let somebody make a token of limited scope, and give its holder a name to ask by."""
    made = opened.ask(actor, "POST", "/v1/tokens", {"name": "Narrow", **scope}, KEY)
    assert made.status_code == 201
    opened.world.tokens["scoped"] = made.get_json()["token"]
    return "scoped"


def test_a_scope_is_listed_to_its_owner_and_stands_in_the_audit(opened: Door) -> None:
    scoped(opened, "producer", read_only=True, client_ids=[ACME, ACME])
    told = {"read_only": True, "client_ids": [ACME]}
    for actor, path in (("producer", "/v1/tokens"), ("admin", "/v1/users/pat-producer/tokens")):
        listed = opened.ask(actor, "GET", path).get_json()["data"]
        (whole,) = (each for each in listed if each["token_id"] == opened.world.tokens["producer"].split("_")[1])
        assert (whole["read_only"], whole["client_ids"]) == (False, None)
        assert {name: listed[-1][name] for name in told} == told
    with opened.store.reading() as connection:
        (after,) = connection.scalars(select(audit.c.after).where(audit.c.action == "make_token"))
    assert {name: orjson.loads(after)[name] for name in told} == told


def test_a_client_that_is_not_seen_is_named_in_a_scope_as_one_that_never_was(opened: Door) -> None:
    answers = []
    for client_id in (ZENITH, UNKNOWN):
        answer = opened.ask("producer", "POST", "/v1/tokens", {"name": "x", "client_ids": [ACME, client_id]}, KEY)
        assert (answer.status_code, pointers(answer)) == (422, ["/client_ids/1"])
        request_id = answer.headers["X-Request-Id"]
        answers.append(answer.get_data(as_text=True).replace(request_id, "").replace(client_id, ""))
    assert answers[0] == answers[1]
    assert pointers(opened.ask("producer", "POST", "/v1/tokens", {"name": "x", "client_ids": []}, KEY)) == [
        "/client_ids"
    ]


def test_lists_files_deadlines_and_the_audit_keep_to_the_clients_of_a_scope(opened: Door) -> None:
    everywhere = (
        "/v1/clients",
        "/v1/deadlines?from=2024-06-01&to=2024-07-01",
        "/v1/exports/clients",
        "/v1/audit?limit=200",
    )
    for path in everywhere:
        assert ZENITH in opened.ask("admin", "GET", path).get_data(as_text=True)
    who = scoped(opened, "admin", client_ids=[ACME])
    for path in everywhere:
        answer = opened.ask(who, "GET", path)
        text = answer.get_data(as_text=True)
        assert (answer.status_code, ACME in text, ZENITH in text, MARK in text) == (200, True, False, False), path
    rows = opened.ask(who, "GET", "/v1/audit?limit=200").get_json()["data"]
    assert {row["client_id"] for row in rows} == {ACME}
    assert {row["sequence"] for row in rows} == {row["hash"] for row in rows} == {None}, "they tell of other rows"
    counts = [
        opened.ask(each, "GET", everywhere[1]).get_json()["counts"]["kind"]["due"] for each in ("manager", who, "admin")
    ]
    assert counts[0] == counts[1] < counts[2]


def test_who_one_is_tells_only_of_the_clients_of_a_scope(opened: Door) -> None:
    opened.ask("other manager", "PUT", f"/v1/users/pat-producer/grants/{ZENITH}")
    assert opened.ask("producer", "GET", "/v1/me").get_json()["clients"] == [ACME, ZENITH]
    who = scoped(opened, "producer", client_ids=[ZENITH])
    assert opened.ask(who, "GET", "/v1/me").get_json()["clients"] == [ZENITH]


def test_a_scope_gives_nothing_and_ends_with_the_grant(opened: Door) -> None:
    who = scoped(opened, "producer", client_ids=[ACME])
    assert sees(opened, who) == [ACME]
    opened.ask("manager", "DELETE", f"/v1/users/pat-producer/grants/{ACME}")
    assert sees(opened, who) == []
    assert ACME not in opened.ask("producer", "GET", "/v1/tokens").get_data(as_text=True)
    hidden, missing = (opened.ask(who, "GET", f"/v1/clients/{which}") for which in (ACME, UNKNOWN))
    same = [
        each.get_data(as_text=True).replace(each.headers["X-Request-Id"], "").replace(which, "")
        for each, which in ((hidden, ACME), (missing, UNKNOWN))
    ]
    assert (hidden.status_code, same[0]) == (404, same[1])


@pytest.mark.parametrize("scope", [{"read_only": True}, {"client_ids": [ACME]}])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/tokens", {"name": "More"}),
        ("POST", "/v1/feeds", {}),
        ("PUT", "/v1/users/pat-producer/reminder-targets", {"email": "pat@example.com"}),
        ("PUT", f"/v1/users/gus-ungranted/grants/{ACME}", None),
        ("PUT", "/v1/users/nia-new", {"name": "Nia", "role": "admin", "state": "PA"}),
    ],
)
def test_a_token_of_limited_scope_hands_nothing_on(
    opened: Door, scope: dict[str, Any], method: str, path: str, body: Any
) -> None:
    who, before = scoped(opened, "admin", **scope), rows(opened)
    headers = KEY if method == "POST" else {"If-None-Match": "*"} if "nia-new" in path else {}
    assert code(opened.ask(who, method, path, body, headers)) == "outside_scope"
    assert rows(opened) == before


def test_an_answer_is_kept_by_its_key_for_the_token_of_limited_scope_alone(opened: Door) -> None:
    who = scoped(opened, "admin", client_ids=[ACME])
    path, body = f"/v1/clients/{ACME}/rules", {"since": "2090-01", "grace": {"days": 40}, "cite": "Letter"}
    key = {"Idempotency-Key": "the same key for both"}
    entered = [opened.ask(each, "POST", path, body, key).get_json()["entered"] for each in ("admin", who, who)]
    assert entered[1] == entered[2] != entered[0]


def test_an_administrator_revokes_anybodys_token(opened: Door) -> None:
    token_id = opened.world.tokens["manager"].split("_")[1]
    assert opened.ask("admin", "DELETE", f"/v1/tokens/{token_id}").status_code == 204
    assert opened.ask("manager", "GET", "/v1/me").status_code == 401


# The audit


def test_the_audit_is_read_page_by_page_and_of_one_client(opened: Door) -> None:
    whole = opened.ask("admin", "GET", "/v1/audit?limit=200").get_json()["data"]
    assert [row["sequence"] for row in whole] == list(range(1, rows(opened) + 1))
    for newest, wanted in (("false", whole), ("true", whole[::-1])):
        paged, path = [], f"/v1/audit?newest={newest}&limit=2"
        while path:
            answer = opened.ask("admin", "GET", path)
            paged += answer.get_json()["data"]
            path = answer.headers.get("Link", "").split(">")[0].removeprefix("<")
        assert paged == wanted
    of_acme = opened.ask("producer", "GET", f"/v1/audit?client_id={ACME}").get_json()["data"]
    assert {row["client_id"] for row in of_acme} == {ACME}


def test_everybody_reads_of_what_they_see_and_of_what_they_did(opened: Door) -> None:
    opened.ask("producer", "POST", "/v1/access-requests", {"client_ids": [ZENITH], "reason": "x"}, KEY)
    of_producer = opened.ask("producer", "GET", "/v1/audit").get_json()["data"]
    assert [(row["action"], row["client_id"]) for row in of_producer] == [
        ("put_client", ACME),
        ("request_access", None),
    ]
    of_ungranted = opened.ask("ungranted", "GET", "/v1/audit").get_json()["data"]
    assert of_ungranted == []


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=-1", "/limit"),
        ("newest=1", "/newest"),
        ("after=1", "/after"),
        ("client_id=%00", "/client_id"),
        ("client_id=a%20b", "/client_id"),
        ("actor=ada%20admin", "/actor"),
        ("action=put%20user", "/action"),
        ("from=2026-02-30", "/from"),
    ],
)
def test_a_faulty_query_of_the_audit_is_refused_with_its_place(opened: Door, query: str, place: str) -> None:
    answer = opened.ask("admin", "GET", f"/v1/audit?{query}")
    assert (answer.status_code, pointers(answer)) == (422, [place])


def test_every_change_is_audited_with_its_request(opened: Door) -> None:
    changes: list[tuple[str, str, str, Any, dict[str, str]]] = [
        ("producer", "PUT", "/v1/me/payment-terms", {"accepted": True}, {}),
        ("producer", "POST", "/v1/access-requests", {"client_ids": [ZENITH], "reason": "x"}, KEY),
        ("manager", "POST", f"/v1/access-requests/request-{ACME}/decisions", {"decision": "granted"}, KEY),
        ("admin", "PUT", "/v1/users/nia-new", NEW, FIRST),
        ("admin", "PUT", "/v1/teams/west", {"name": "West"}, {}),
        ("manager", "PUT", f"/v1/users/una-unentitled/grants/{ACME}", None, {}),
        ("manager", "DELETE", f"/v1/users/gus-ungranted/grants/{ACME}", None, {}),
        ("producer", "POST", "/v1/tokens", {"name": "x"}, KEY),
        ("producer", "DELETE", f"/v1/tokens/{opened.world.spare['producer']}", None, {}),
    ]
    for actor, method, path, body, headers in changes:
        before = rows(opened)
        answer = opened.ask(actor, method, path, body, headers)
        with opened.store.reading() as connection:
            found = connection.execute(select(audit).where(audit.c.sequence > before)).all()
        granted_already = "una-unentitled" in path
        assert len(found) == (0 if granted_already else 1), path
        for row in found:
            assert row.request_id == answer.headers["X-Request-Id"], path
            assert row.token_id == opened.world.tokens[actor].split("_")[1], path
