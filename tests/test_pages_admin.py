"""What administrators do on the pages, and what everybody reads of the audit."""

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from markupsafe import escape
from sqlalchemy import event

from ebill.service import history
from ebill.store import grants, tokens, users
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.users import User
from ebill.web.pages.differences import MOST, differences
from tests.visits import Visits, text_of, visits
from tests.world import ACME, AT, MARK, UNKNOWN, USERS, ZENITH

pytestmark = pytest.mark.anywhere

PAT = "/admin/users/pat-producer"
EARLY = "0001-01-01T00:00:00+14:00"
"""An instant that no other zone has a date for."""
FORM = {"name": "Pat", "state": "PA", "version": "1", "entitlement_client_administration": "yes"}
HOSTILE = ["<script>alert(1)</script>", '" onmouseover="alert(1)', "{{7*7}}", "</textarea></title><img src=x>"]


@pytest.fixture
def opened(emptied_store: Store) -> Visits:
    """The world on either database, for one test to change."""
    return visits(emptied_store)


def user(opened: Visits, user_id: str = "pat-producer") -> User:
    with opened.store.reading() as connection:
        found = users.user(connection, user_id)
    assert found
    return found


def granted(opened: Visits, user_id: str = "pat-producer") -> list[str]:
    with opened.store.reading() as connection:
        return grants.granted(connection, user_id)


def add_users(opened: Visits, count: int, **more: Any) -> None:
    with opened.store.writing(By("setup", datetime.now(UTC))) as write:
        for number in range(count):
            made = User(f"x-{number:04}", f"Number {number}", "producer", "PA", 1, frozenset(), frozenset())
            users.add_user(write.connection, replace(made, **more), write.at)
        write.audit("setup")


def listed(page: str) -> list[str]:
    return re.findall(r'<a href="/admin/users/([\w-]+)"><bdi>', page)


def fault_of(page: str) -> str:
    """Give what the notices of a page say, as text."""
    notices = re.findall(r'<div class="notice bad".*?</div>', page, re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", " ".join(notices))))


# Users


def test_the_users_are_listed_with_what_one_wants_to_know(opened: Visits) -> None:
    page = text_of(opened.look("admin", "/admin/users"))
    assert listed(page) == sorted(each.user_id for each in USERS)
    rows = {each: row for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL) for each in listed(row)}
    assert "Disabled" in rows["dan-disabled"]
    assert "Disabled" not in rows["pat-producer"]
    assert "client administration" in rows["pat-producer"]
    assert "<bdi>North</bdi>" in rows["nora-north"]
    assert "Administrator" in rows["ada-admin"]


def test_when_somebody_was_last_seen_is_by_session_or_by_token(opened: Visits) -> None:
    now = datetime.now(UTC)
    with opened.store.noting() as connection:
        tokens.used(connection, opened.world.spare["producer"], now + timedelta(minutes=20))
    opened.ask("ungranted", "GET", "/v1/me")
    with opened.store.writing(By("setup", now)) as write:
        users.add_user(write.connection, User("nia", "Nia", "producer", "PA", 1, frozenset(), frozenset()), now)
        write.audit("setup")
    data = opened.ask("admin", "GET", "/v1/users").get_json()["data"]
    seen = {each["user_id"]: each["last_seen_at"] for each in data}
    assert datetime.fromisoformat(seen["pat-producer"]) == now + timedelta(minutes=20)
    assert abs(datetime.fromisoformat(seen["gus-ungranted"]) - now) < timedelta(minutes=1)
    assert seen["nia"] is None
    assert "Never" in text_of(opened.look("admin", "/admin/users?q=nia"))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "NORTH"}, ["nora-north"]),
        ({"q": MARK.lower()}, ["quinn-quartz"]),
        ({"q": "%"}, []),
        ({"q": "_"}, []),
        ({"role": "client_manager"}, ["nora-north", "sam-south"]),
        ({"disabled": "yes"}, ["dan-disabled"]),
        ({"role": "producer", "disabled": "no", "q": "u"}, ["gus-ungranted", "pat-producer", "quinn-quartz",
                                                            "una-unentitled"]),
    ],
    ids=str,
)  # fmt: skip
def test_users_are_found_by_name_id_role_and_whether_they_are_disabled(
    opened: Visits, query: dict[str, str], found: list[str]
) -> None:
    page = text_of(opened.look("admin", f"/admin/users?{urlencode(query)}"))
    assert listed(page) == found
    assert bool(found) != ("Nobody is like that" in page)


def test_users_come_page_by_page_and_no_page_reads_them_all(opened: Visits) -> None:
    add_users(opened, 120)
    whole: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if re.search(r"FROM user_account(?!.*(?:WHERE|LIMIT))", statement, re.DOTALL):
            whole.append(statement)

    event.listen(opened.store.engine, "before_cursor_execute", note)
    found: list[str] = []
    at: str | None = "/admin/users?role=producer"
    while at:
        page = text_of(opened.look("admin", at))
        some = listed(page)
        assert 0 < len(some) <= 50
        found += some
        following = re.findall(r'<a class="button" href="([^"]+)">Next page', page)
        at = unescape(following[0]) if following else None
    assert found == sorted(found)
    assert len(found) == len(set(found)) == 125
    assert whole == []
    by_api = opened.ask("admin", "GET", "/v1/users?limit=20&role=producer")
    body = by_api.get_json()
    assert [each["user_id"] for each in body["data"]] == found[:20]
    then = opened.ask("admin", "GET", f"/v1/users?limit=20&role=producer&cursor={body['next_cursor']}").get_json()
    assert [each["user_id"] for each in then["data"]] == found[20:40]
    wrong = opened.ask("admin", "GET", f"/v1/users?limit=20&cursor={body['next_cursor']}")
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    ("state", "entitled"),
    [
        ("NY", {"general_agency_administrator", "client_administration", "renewals", "small_group_quotes"}),
        ("PA", {"client_administration", "renewals", "small_group_quotes"}),
        ("WV", {"client_administration", "renewals", "small_group_quotes"}),
    ],
)
def test_a_new_producer_gets_what_is_usual_in_the_state_which_the_page_explains(
    opened: Visits, state: str, entitled: set[str]
) -> None:
    page = unescape(text_of(opened.look("admin", "/admin/new-user")))
    assert f"<li>{state}: {', '.join(sorted(entitled)).replace('_', ' ')}</li>" in page
    form = {"user_id": "nia-new", "name": "Nia", "role": "producer", "state": state, "entitled": "usual"}
    answer = opened.send("admin", "/admin/users", form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/users/nia-new?done=made")
    assert user(opened, "nia-new").entitlements == entitled


def test_a_new_user_may_be_entitled_to_what_is_chosen_and_be_in_teams(opened: Visits) -> None:
    form = {"name": "N", "state": "NY"}
    chosen = {**form, "user_id": "nia-new", "role": "producer", "entitled": "chosen", "entitlement_renewals": "yes"}
    assert opened.send("admin", "/admin/users", chosen).status_code == 303
    assert user(opened, "nia-new").entitlements == {"renewals"}
    manager = {**form, "user_id": "mo-new", "role": "client_manager", "team_north": "yes", "team_south": "yes"}
    assert opened.send("admin", "/admin/users", manager).status_code == 303
    assert user(opened, "mo-new").teams == {"north", "south"}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "User id"),
        ({"user_id": "PAT-Producer"}, "is taken"),
        ({"user_id": "a b"}, "must be an id"),
        ({"role": "root"}, "must be one of"),
        ({"state": "TX"}, "is no configured state"),
        ({"name": "a\u202eb"}, "without control characters"),
        ({"role": "client_manager", "team_nowhere": "yes"}, "is no team"),
        ({"oidc_subject": "é"}, "must be a subject"),
        ({"version": "1"}, "unknown"),
        ({"password": "x"}, "unknown"),
    ],
    ids=str,
)
def test_a_new_user_who_cannot_be_is_refused_and_shown_again(opened: Visits, form: dict[str, str], said: str) -> None:
    whole = {"user_id": "nia-new", "name": "Nia Nieuw", "role": "producer", "state": "PA"}
    sent = {**whole, **form} if form else {name: whole[name] for name in ("name", "role", "state")}
    answer = opened.send("admin", "/admin/users", sent)
    page = text_of(answer)
    assert (answer.status_code, said in fault_of(page)) == (422, True), fault_of(page)
    assert "name" in form or 'value="Nia Nieuw"' in page
    with opened.store.reading() as connection:
        assert users.user(connection, "nia-new") is None


def test_a_user_is_changed_and_the_change_is_in_the_audit(opened: Visits) -> None:
    form = {
        "name": "Patricia",
        "state": "NY",
        "version": "1",
        "entitlement_renewals": "yes",
        "entitlement_agency_reports": "yes",
        "oidc_subject": "248289761001",
    }
    answer = opened.send("admin", PAT, form)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{PAT}?done=changed")
    now = user(opened)
    assert (now.name, now.state, now.version, now.oidc_subject) == ("Patricia", "NY", 2, "248289761001")
    assert now.entitlements == {"renewals", "agency_reports"}
    assert now.terms_accepted_at == AT
    page = text_of(opened.look("admin", "/audit?action=put_user"))
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "name: was Pat now Patricia" in said
    assert "entitlements: was client_administration now agency_reports, renewals" in said.replace(" ,", ",")
    assert opened.send("admin", PAT, {**form, "version": "2", "oidc_subject": " "}).status_code == 303
    assert user(opened).oidc_subject is None


def test_the_form_of_a_user_says_what_they_are(opened: Visits) -> None:
    page = text_of(opened.look("admin", PAT))
    checked = re.findall(r'name="(entitlement_\w+)" value="yes" checked', page)
    assert checked == ["entitlement_client_administration"]
    assert 'name="version" value="1"' in page
    assert "team_" not in page
    manager = text_of(opened.look("admin", "/admin/users/nora-north"))
    assert re.findall(r'name="(team_\w+)" value="yes" checked', manager) == ["team_north"]
    assert "entitlement_" not in manager
    assert "checked" in text_of(opened.look("admin", "/admin/users/dan-disabled")).split('id="disabled"')[1][:60]


def test_what_a_form_does_not_show_stays_as_it_is(opened: Visits) -> None:
    form = {"name": "Nora", "state": "PA", "version": "1", "team_north": "yes"}
    with opened.store.writing(By("setup", datetime.now(UTC))) as write:
        nora = user(opened, "nora-north")
        users.change_user(write.connection, replace(nora, version=2, entitlements=frozenset({"renewals"})))
        write.audit("setup")
    assert opened.send("admin", "/admin/users/nora-north", {**form, "version": "2"}).status_code == 303
    assert user(opened, "nora-north").entitlements == {"renewals"}


def test_a_stale_form_is_refused_and_shown_again_with_what_is_now(opened: Visits) -> None:
    assert opened.send("admin", PAT, {**FORM, "name": "Patrick", "entitlement_renewals": "yes"}).status_code == 303
    answer = opened.send("admin", PAT, {**FORM, "name": "Patricia"})
    page = text_of(answer)
    assert answer.status_code == 412
    assert "Somebody else has changed this user" in page
    assert "Name: Patrick" in fault_of(page)
    assert "Entitlements: client administration, renewals" in fault_of(page)
    assert 'value="Patricia"' in page
    assert 'name="version" value="2"' in page
    assert user(opened).name == "Patrick"
    assert opened.send("admin", PAT, {**FORM, "name": "Patricia", "version": "2"}).status_code == 303
    assert user(opened).name == "Patricia"


@pytest.mark.parametrize("version", ["", "0", "x", "-1", "99", "1e3", "9" * 30])
def test_a_form_of_no_version_changes_nothing(opened: Visits, version: str) -> None:
    answer = opened.send("admin", PAT, {**FORM, "name": "Patricia", "version": version})
    assert answer.status_code == 412
    assert user(opened).name == "Pat"


def test_a_subject_belongs_to_one_user(opened: Visits) -> None:
    assert opened.send("admin", PAT, {**FORM, "oidc_subject": "24"}).status_code == 303
    other = {"name": "Gus", "state": "PA", "version": "1", "oidc_subject": "24"}
    answer = opened.send("admin", "/admin/users/gus-ungranted", other)
    assert (answer.status_code, "is that of pat-producer" in fault_of(text_of(answer))) == (422, True)


def test_another_subject_ends_sessions_and_the_same_does_not(opened: Visits) -> None:
    assert opened.send("admin", PAT, {**FORM, "name": "Patricia"}).status_code == 303
    assert opened.look("producer", "/me").status_code == 200
    assert opened.send("admin", PAT, {**FORM, "version": "2", "oidc_subject": "24"}).status_code == 303
    assert opened.look("producer", "/me").status_code == 303


def test_disabling_ends_all_that_somebody_holds_and_enabling_lets_them_in_again(opened: Visits) -> None:
    assert opened.send("admin", PAT, {**FORM, "disabled": "yes"}).status_code == 303
    assert opened.look("producer", "/me").status_code == 303
    assert opened.ask("producer", "GET", "/v1/me").status_code == 401
    assert opened.send("admin", PAT, {**FORM, "version": "2"}).status_code == 303
    assert opened.ask("producer", "GET", "/v1/me").status_code == 200
    assert opened.look("producer", "/me").status_code == 303


def test_the_last_administrator_stays_one(opened: Visits) -> None:
    form = {"name": "Ada", "state": "PA", "version": "1", "disabled": "yes"}
    answer = opened.send("admin", "/admin/users/ada-admin", form)
    assert (answer.status_code, "is the last administrator" in fault_of(text_of(answer))) == (422, True)
    assert opened.send("admin", "/admin/users/ada-admin", {**form, "role": "producer"}).status_code == 422
    assert user(opened, "ada-admin").role == "admin"
    second = {"user_id": "second", "name": "Second", "role": "admin", "state": "PA"}
    assert opened.send("admin", "/admin/users", second).status_code == 303
    assert opened.send("admin", "/admin/users/ada-admin", form).headers["Location"].startswith("/admin/users/ada-admin")
    assert opened.look("admin", "/admin/users").status_code == 303


# What somebody holds


def test_several_clients_are_granted_at_once_or_none(opened: Visits) -> None:
    for text in (f"{ACME} {ZENITH}", f"{ACME},\r\n{ZENITH} ;", ZENITH):
        assert opened.send("admin", f"{PAT}/grants", {"client_ids": text}).status_code == 303
        assert granted(opened) == [ACME, ZENITH]
        opened.send("admin", f"{PAT}/grants/{ZENITH}/withdraw")
        assert granted(opened) == [ACME]
    for text, said in (
        (f"{ZENITH} {UNKNOWN} a_b", f"there is no client {UNKNOWN}"),
        (f"{ZENITH} a_b", "must be an id"),
        (" ", "must name at least one"),
        (" ".join(f"C{number}" for number in range(201)), "at most 200"),
    ):
        answer = opened.send("admin", f"{PAT}/grants", {"client_ids": text})
        page = text_of(answer)
        assert (answer.status_code, said in fault_of(page)) == (422, True), fault_of(page)
        assert not text.strip() or str(escape(text)) in page
        assert granted(opened) == [ACME]
    answer = opened.send("admin", "/admin/users/nora-north/grants", {"client_ids": ACME})
    assert answer.status_code == 422


def test_a_grant_counts_at_once_and_its_end_too(opened: Visits) -> None:
    path = f"/clients/{ZENITH}"
    assert opened.look("producer", path).status_code == 404
    opened.send("admin", f"{PAT}/grants", {"client_ids": ZENITH})
    assert opened.look("producer", path).status_code == 200
    opened.send("admin", f"{PAT}/grants/{ZENITH}/withdraw")
    assert opened.look("producer", path).status_code == 404


def test_grants_are_listed_with_who_gave_them(opened: Visits) -> None:
    opened.send("admin", f"{PAT}/grants", {"client_ids": ZENITH})
    page = text_of(opened.look("admin", PAT))
    assert f"<bdi>{MARK} Ltd</bdi>" in page
    assert re.search(rf"{ZENITH}</span></th>\s*<td data-label=\"Granted by\">ada-admin", page)


def test_tokens_and_sessions_are_ended(opened: Visits) -> None:
    spare = opened.world.spare["producer"]
    assert f"{PAT}/tokens/{spare}/revoke" in text_of(opened.look("admin", PAT))
    other = f"/admin/users/gus-ungranted/tokens/{spare}/revoke"
    assert opened.send("admin", other).status_code == 404
    assert opened.send("admin", f"{PAT}/tokens/{spare}/revoke").status_code == 303
    assert f"tokens/{spare}" not in text_of(opened.look("admin", PAT))
    assert opened.send("admin", f"{PAT}/tokens/{spare}/revoke").status_code == 404
    assert opened.send("admin", f"{PAT}/sessions/end").status_code == 303
    assert opened.look("producer", "/me").status_code == 303
    assert opened.send("admin", f"{PAT}/sessions/end").status_code == 303
    actions = [row["action"] for row in opened.ask("admin", "GET", "/v1/audit?newest=true&limit=3").get_json()["data"]]
    assert actions[:2] == ["end_sessions", "revoke_token"]


# Teams


def test_teams_are_made_renamed_and_listed_with_their_members(opened: Visits) -> None:
    assert opened.send("admin", "/admin/teams", {"team_id": "west", "name": "West"}).status_code == 303
    assert opened.send("admin", "/admin/teams/west", {"name": "Far West", "was": "West"}).status_code == 303
    page = text_of(opened.look("admin", "/admin/teams"))
    assert 'value="Far West"' in page
    assert '<a href="/admin/users/nora-north"><bdi>Nora</bdi></a>' in page
    row = opened.ask("admin", "GET", "/v1/audit?newest=true&limit=1").get_json()["data"][0]
    assert (row["action"], row["subject"], row["before"], row["after"]) == (
        "put_team", "west", {"name": "West"}, {"name": "Far West"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "form", "said"),
    [
        ("/admin/teams", {"team_id": "north", "name": "Another"}, "is taken"),
        ("/admin/teams", {"team_id": "a b", "name": "Another"}, "must be an id"),
        ("/admin/teams", {"team_id": "west"}, "is required"),
        ("/admin/teams", {"name": "Another"}, "must be an id"),
        ("/admin/teams/north", {"name": "x" * 600, "was": "North"}, "at most 500"),
        ("/admin/teams/north", {"was": "North"}, "is required"),
        ("/admin/teams/north", {"name": "Far North"}, "is required"),
    ],
    ids=str,
)
def test_a_team_that_cannot_be_is_refused_where_it_is(
    opened: Visits, path: str, form: dict[str, str], said: str
) -> None:
    answer = opened.send("admin", path, form)
    assert (answer.status_code, said in fault_of(text_of(answer))) == (422, True), fault_of(text_of(answer))


def test_a_team_that_was_renamed_meanwhile_is_shown_again(opened: Visits) -> None:
    page = text_of(opened.look("admin", "/admin/teams"))
    assert 'name="was" value="North"' in page
    assert opened.send("admin", "/admin/teams/north", {"name": "Far North", "was": "North"}).status_code == 303
    answer = opened.send("admin", "/admin/teams/north", {"name": "Near North", "was": "North"})
    assert answer.status_code == 422
    assert 'the team has been renamed meanwhile, to "Far North"' in fault_of(text_of(answer))
    assert 'name="was" value="Far North"><input name="name" value="Near North"' in text_of(answer)


# The audit


def rows_of(page: str) -> int:
    return page.count('<td data-label="By">')


def test_everybody_reads_of_the_audit_what_the_api_lets_them(opened: Visits) -> None:
    opened.send("admin", PAT, {**FORM, "name": "Patricia"})
    opened.send("other manager", "/me/tokens", {"name": MARK})
    for actor in ("producer", "manager", "other manager", "admin"):
        by_api = opened.ask(actor, "GET", "/v1/audit?newest=true").get_json()["data"]
        page = text_of(opened.look(actor, "/audit"))
        assert rows_of(page) == len(by_api) > 0
        instants = re.findall(r'<th scope="row"><time datetime="([^"]+)"', page)
        assert instants == [f"{row['at'][:19]}Z" for row in by_api]
        lines = list(csv.DictReader(io.StringIO(text_of(opened.look(actor, "/audit.csv")))))
        assert [(line["actor"], line["action"], line["subject"]) for line in lines] == [
            (row["actor"], row["action"], row["subject"] or "") for row in by_api
        ]
        assert [line["sequence"] for line in lines] == [str(row["sequence"] or "") for row in by_api]
        if actor in ("producer", "manager"):
            assert MARK not in page
            assert ZENITH not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"actor": "ada-admin"}, ["make_token", "put_user"]),
        ({"action": "make_token"}, ["make_token"]),
        ({"actor": "ada-admin", "action": "make_token"}, ["make_token"]),
        ({"client": ACME}, ["put_client"]),
        ({"actor": "nobody"}, []),
        ({"from": "2024-01-05", "to": "2024-01-05"}, ["put_client", "setup"]),
        ({"to": "2024-01-04"}, []),
        ({"from": "2090-01-01"}, []),
    ],
    ids=str,
)
def test_the_audit_is_narrowed(opened: Visits, query: dict[str, str], found: list[str]) -> None:
    opened.send("admin", PAT, {**FORM, "name": "Patricia"})
    opened.send("admin", "/me/tokens", {"name": "Mine"})
    page = text_of(opened.look("admin", f"/audit?{urlencode(query)}"))
    names = {"client": "client_id"}
    by_api = opened.ask(
        "admin", "GET", f"/v1/audit?{urlencode({names.get(name, name): value for name, value in query.items()})}"
    ).get_json()["data"]
    assert sorted({row["action"] for row in by_api}) == found
    assert rows_of(page) == len(by_api)
    assert bool(found) != ("Nothing was done that is like that" in page)
    lines = list(csv.DictReader(io.StringIO(text_of(opened.look("admin", f"/audit.csv?{urlencode(query)}")))))
    assert {line["action"] for line in lines} == set(found)


def test_days_of_the_audit_are_utc_from_the_first_instant_to_the_last(opened: Visits) -> None:
    day = datetime(2091, 3, 4, tzinfo=UTC)
    for at in (
        day - timedelta(microseconds=1),
        day,
        day + timedelta(hours=24, microseconds=-1),
        day + timedelta(hours=24),
    ):
        with opened.store.writing(By("somebody", at)) as write:
            write.audit("test", subject=at.isoformat())
    rows = opened.ask("admin", "GET", "/v1/audit?from=2091-03-04&to=2091-03-04").get_json()["data"]
    assert len(rows) == 2
    assert {row["at"][:10] for row in rows} == {"2091-03-04"}


def test_the_audit_comes_page_by_page_and_whole_as_csv(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PIECE", 7)
    with opened.store.writing(By("somebody", datetime.now(UTC))) as write:
        for number in range(120):
            write.audit("test", subject=str(number))
    seen: list[str] = []
    at: str | None = "/audit?actor=somebody"
    while at:
        page = text_of(opened.look("admin", at))
        seen += re.findall(r'<span class="id"><bdi>(\d+)</bdi>', page)
        following = re.findall(r'<a class="button" href="([^"]+)">Older', page)
        at = unescape(following[0]) if following else None
    assert seen == [str(number) for number in reversed(range(120))]
    lines = list(csv.DictReader(io.StringIO(text_of(opened.look("admin", "/audit.csv?actor=somebody")))))
    assert [line["subject"] for line in lines] == seen


def test_who_is_disabled_while_the_csv_comes_reads_no_more_of_it(
    opened: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PIECE", 1)
    admin = user(opened, "ada-admin")
    lines = history.every_line(opened.store.reading, admin, bytes(32), history.Sought())
    assert next(lines).action == "put_client"
    with opened.store.writing(By("setup", datetime.now(UTC))) as write:
        users.change_user(write.connection, replace(admin, version=2, disabled_at=write.at))
        write.audit("setup")
    assert list(lines) == []


def test_the_csv_is_safe_to_open_and_names_no_client_of_others(opened: Visits) -> None:
    with opened.store.writing(By("pat-producer", datetime.now(UTC))) as write:
        write.audit("add_rule", client_id=ACME, reason="=cmd|' /C calc'!A0", after={"cite": "=1+1"})
    answer = opened.look("producer", "/audit.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    assert answer.content_type == "text/csv; charset=utf-8"
    (line,) = [line for line in csv.DictReader(io.StringIO(text_of(answer))) if line["action"] == "add_rule"]
    assert line["reason"] == "'=cmd|' /C calc'!A0"
    assert line["after"] == '{"cite":"=1+1"}'
    assert ZENITH not in text_of(answer)


@pytest.mark.parametrize("path", ["/audit", "/audit.csv"])
@pytest.mark.parametrize("query", ["from=2026-02-30", "to=soon", "actor=a%20b", "client=%00", "action=a%20b", "actr=x"])
def test_a_slip_in_what_narrows_the_audit_is_refused(opened: Visits, path: str, query: str) -> None:
    assert opened.look("admin", f"{path}?{query}").status_code == 422


def test_a_cursor_holds_for_its_reader_and_filters_alone(opened: Visits) -> None:
    with opened.store.writing(By("somebody", datetime.now(UTC))) as write:
        for _ in range(60):
            write.audit("add_rule", client_id=ACME)
    page = text_of(opened.look("admin", "/audit"))
    (cursor,) = re.findall(r"cursor=([\w-]+)", page)
    assert opened.look("admin", f"/audit?cursor={cursor}").status_code == 200
    assert opened.look("admin", f"/audit?actor=somebody&cursor={cursor}").status_code == 400
    assert opened.look("manager", f"/audit?cursor={cursor}").status_code == 400


# Differences


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, {"name": "West"}, [("name", None, "West")]),
        ({"name": "West"}, None, [("name", "West", None)]),
        ({"name": "West", "state": "PA"}, {"name": "East", "state": "PA"}, [("name", "West", "East")]),
        ({"teams": ["a", "b"]}, {"teams": ["b", "c"]}, [("teams", "a", "c")]),
        ({"teams": []}, {"teams": ["c"]}, [("teams", None, "c")]),
        ({"teams": ["c"]}, {"teams": []}, [("teams", "c", None)]),
        ({"bills_here_since": None}, {"bills_here_since": "2026-08"}, [("bills here since", None, "Aug 2026")]),
        (None, {"due_date": "2026-08-01"}, [("due date", None, "Sat Aug 1, 2026")]),
        (None, {"disabled_at": "2026-08-01T16:05:00+00:00"}, [("disabled at", None, "Sat Aug 1, 2026, 16:05 UTC")]),
        (None, {"rule": {"grace": {"days": 45}}}, [("rule, grace, days", None, "45")]),
        (None, {"rows": [{"a": 1}, {"a": 2}]}, [("rows, 1, a", None, "1"), ("rows, 2, a", None, "2")]),
        ({"accepted": True}, {"accepted": False}, [("accepted", "yes", "no")]),
        ({"a": 1}, {"a": 1}, []),
        (None, None, []),
        (None, "Text with a T", [("", None, "Text with a T")]),
        (None, {"name": "<b>"}, [("name", None, "&lt;b&gt;")]),
        (None, {"name": EARLY}, [("name", None, EARLY)]),
        (None, {"paid_at": "2026-08-01"}, [("paid at", None, "Sat Aug 1, 2026")]),
        (None, {"since": "2026-08"}, [("since", None, "Aug 2026")]),
        ({"cite": "Of 2026-08"}, {"cite": "Of 2026-08-01"}, [("cite", "Of 2026-08", "Of 2026-08-01")]),
    ],
    ids=str,
)
def test_a_difference_is_said_as_people_read_it(before: Any, after: Any, said: list[Any]) -> None:
    found = [
        (each.name, *(value and re.sub(r"</?time[^>]*>", "", str(value)) for value in (each.was, each.now)))
        for each in differences(before, after).shown
    ]
    assert found == said


def test_no_more_differences_are_shown_than_can_be_read() -> None:
    found = differences(None, {f"field {number}": number for number in range(MOST + 5)})
    assert (len(found.shown), found.more) == (MOST, 5)


# Hostile text


@pytest.mark.parametrize("name", [EARLY, "9999-12-31T23:59:59-14:00", "2026-08-01T10:00:00+02:00"])
def test_a_name_that_looks_like_an_instant_is_a_name_in_the_audit(opened: Visits, name: str) -> None:
    assert opened.send("admin", "/admin/teams/north", {"name": name, "was": "North"}).status_code == 303
    answer = opened.look("admin", "/audit")
    assert answer.status_code == 200
    assert name in text_of(answer)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_text_on_every_page(opened: Visits, name: str) -> None:
    escaped = str(escape(name))
    form = {**FORM, "name": name, "oidc_subject": name}
    assert opened.send("admin", PAT, form).status_code == 303
    assert opened.send("admin", "/admin/teams/north", {"name": name, "was": "North"}).status_code == 303
    opened.send("producer", "/me/tokens", {"name": name})
    refused = [
        opened.send("admin", PAT, {**form, "version": "1"}),
        opened.send("admin", f"{PAT}/grants", {"client_ids": name}),
        opened.send("admin", "/admin/users", {"user_id": name, "name": name, "role": name, "state": name}),
        opened.send("admin", "/admin/teams", {"team_id": name, "name": name}),
    ]
    again = {"user_id": "pat-producer", "password": name, "new_password": name, "next": name}
    refused.append(opened.client.post("/sign-in/first-password", data=again, headers={"Sec-Fetch-Site": "same-origin"}))
    pages = [text_of(opened.look("admin", path)) for path in ("/admin/users", PAT, "/admin/teams", "/audit")]
    for page in [*pages, *map(text_of, refused)]:
        assert escaped == name or name not in page
    assert all(escaped in page for page in pages[:3])
