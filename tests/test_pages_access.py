"""Who may open which page about what, cell by cell: `pages_matrix.csv` says it, every page is held to it.

A cell has one status for whatever is asked about, or three: for what belongs to `1000-ACME`, to `2000-ZENITH`, and to
nobody. 303 is where one goes to sign in; what a form leads to on success is told apart from it below.
"""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ebill import access
from ebill.web import pages
from ebill.web.pages.page import Page
from tests.stores import Databases
from tests.visits import Visits, rehearsed_visits, session_ids, text_of
from tests.world import ACME, ACTORS, MARK, UNKNOWN, ZENITH, without_grants

pytestmark = pytest.mark.anywhere

FILE = Path(__file__).with_name("pages_matrix.csv")
ROWS = list(csv.DictReader(FILE.read_text("utf-8").splitlines()))
WITH_FILE = {f"POST {page.path}" for page in pages.PAGES if page.takes_file}
OBJECTS = (ACME, ZENITH, UNKNOWN)
WORD = "seven green bicycles"
FORMS = {
    "POST /sign-in": {"user_id": "pat-producer", "password": "none of theirs"},
    "POST /me/payment-terms": {"accepted": "yes"},
    "POST /me/tokens": {"name": "One more", "days": "7"},
    "POST /me/feeds": {"name": "Mine"},
    "POST /access-requests": {"client_ids": "C1, C2", "reason": "New broker"},
    "POST /import/trial": {"text": "record,client_id\n"},
    "POST /import": {"held": "cmVjb3JkLGNsaWVudF9pZAo="},
    "POST /sign-in/first-password": {"user_id": "pat-producer", "password": "none of theirs", "new_password": WORD},
    "POST /me/password": {"old_password": "none of theirs", "new_password": WORD},
    "POST /admin/users": {"user_id": "nia-new", "name": "Nia", "role": "producer", "state": "PA"},
    "POST /admin/users/{user_id}": {"name": "Somebody", "state": "PA", "version": "1"},
    "POST /admin/users/{user_id}/grants": {"client_ids": ACME},
    "POST /admin/teams": {"team_id": "west", "name": "West"},
    "POST /admin/teams/{team_id}": {"name": "Renamed"},
}
USER_OF = {ACME: "pat-producer", ZENITH: "gus-ungranted", UNKNOWN: "nobody"}
TEAM_OF = {ACME: "north", ZENITH: "south", UNKNOWN: "west"}


def statuses(cell: str) -> dict[str, int]:
    said = [int(status) for status in cell.split()]
    return dict(zip(OBJECTS, said * len(OBJECTS) if len(said) == 1 else said, strict=False))


def address(opened: Visits, row: dict[str, str], actor: str, which: str) -> str:
    world, sessions = opened.world, session_ids(opened)
    whose = {ACME: actor if actor in world.feeds else "producer", ZENITH: "quinn"}.get(which, "")
    named = {
        "client_id": which,
        "account_id": "MAIN",
        "token_id": world.spare.get(whose, "0123456789abcdef"),
        "feed_id": world.feeds[whose].split("_")[1] if whose else "0123456789abcdef",
        "session_id": sessions.get(whose, "0123456789abcdef"),
        "user_id": USER_OF[which],
        "team_id": TEAM_OF[which],
    }
    if "/users/" in row["request"]:
        theirs = {ACME: "producer", ZENITH: "ungranted"}.get(which, "")
        named["token_id"] = world.spare.get(theirs, "0123456789abcdef")
    path = row["request"].split(" ")[1].format(**named)
    return f"{path}?client={which}" if row["how"] == "client" else path


def ask(opened: Visits, row: dict[str, str], actor: str, which: str) -> Any:
    path = address(opened, row, actor, which)
    if row["request"].startswith("GET"):
        return opened.look(actor, path)
    return opened.send(actor, path, FORMS.get(row["request"]), multipart=row["request"] in WITH_FILE)


def differences(opened: Visits, rows: list[dict[str, str]]) -> list[str]:
    found = []
    for row in rows:
        for actor in ACTORS:
            for which, status in statuses(row[actor]).items():
                answer = ask(opened, row, actor, which)
                if answer.status_code != status:
                    found.append(f"{row['request']} {row['how']}: {actor}, {which}: {answer.status_code}, not {status}")
    return found


@pytest.fixture(scope="module")
def on_sqlite(ready: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visits]:
    copy = tmp_path_factory.mktemp("visits") / "world.db"
    shutil.copyfile(ready.removeprefix("sqlite:///"), copy)
    yield from rehearsed_visits(f"sqlite:///{copy}")


@pytest.fixture(scope="module")
def on_postgresql(databases: Databases, ready_postgresql: str) -> Iterator[Visits]:
    yield from rehearsed_visits(databases.make(ready_postgresql))


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest) -> Visits:
    found: Visits = request.getfixturevalue(f"on_{request.param}")
    return found


@pytest.fixture(autouse=True)
def enough_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebill.web.pages.tries.FREE", {"user": 10_000, "address": 10_000})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['request']} {row['how']}".strip())
def test_every_cell_is_as_the_matrix_says(opened: Visits, row: dict[str, str]) -> None:
    assert not differences(opened, [row])


def test_every_page_is_in_the_matrix_and_nothing_else(opened: Visits) -> None:
    written = {tuple(row["request"].split(" ")) for row in ROWS}
    assert {(page.method, page.path) for page in pages.PAGES} == written
    there = {(method, rule.rule) for rule in opened.app.url_map.iter_rules() for method in rule.methods or set()}
    assert {(page.method, page.rule) for page in pages.PAGES} <= there


def test_every_page_allows_what_the_access_module_knows() -> None:
    assert {page.allows for page in pages.PAGES} <= set(access.MAY)


def test_a_page_that_does_not_say_what_it_allows_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="allows"):
        Page(method="GET", path="/nothing", view=print)  # type: ignore[call-arg]


def test_only_forms_change_something() -> None:
    assert {page.method for page in pages.PAGES if page.path.startswith("/sign-out")} == {"POST"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['request']} {row['how']}".strip())
def test_whoever_is_not_signed_in_is_sent_to_sign_in(opened: Visits, row: dict[str, str]) -> None:
    if row["anyone"] != "303":
        return
    for actor in ("anyone", "disabled", "revoked", "idle", "old"):
        answer = ask(opened, row, actor, ACME)
        assert answer.headers["Location"].startswith("/sign-in")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['request']} {row['how']}".strip())
def test_what_is_another_s_looks_as_what_is_nobody_s(opened: Visits, row: dict[str, str]) -> None:
    if "{" not in row["request"] and row["how"] != "client":
        return
    for actor in ("producer", "ungranted", "manager"):
        cells = statuses(row[actor])
        if cells[ZENITH] == 404:
            theirs, nobodys = (ask(opened, row, actor, which) for which in (ZENITH, UNKNOWN))
            assert [_bare(theirs), theirs.status_code] == [_bare(nobodys), nobodys.status_code]
            assert MARK not in text_of(theirs)


def _bare(answer: Any) -> str:
    """Give a page without the number of its request."""
    text: str = text_of(answer)
    return text.replace(answer.headers["X-Request-Id"], "")


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: f"{page.method} {page.path}")
def test_a_token_opens_no_page(opened: Visits, page: Page) -> None:
    if page.allows == "public":
        return
    path = page.path.format(
        client_id=ACME,
        account_id="MAIN",
        token_id=opened.world.spare["producer"],
        feed_id=opened.world.feeds["producer"].split("_")[1],
        session_id=session_ids(opened)["producer"],
        user_id="pat-producer",
        team_id="north",
    )
    answer = opened.ask("producer", page.method, path, headers={"Sec-Fetch-Site": "same-origin"})
    assert (answer.status_code, answer.headers["Location"][:8]) == (303, "/sign-in")


@pytest.mark.parametrize("path", ["/v1/me", "/v1/clients", "/v1/deadlines", f"/v1/clients/{ACME}/schedule"])
def test_a_cookie_opens_no_route_of_the_api(opened: Visits, path: str) -> None:
    assert opened.look("producer", path).status_code == 401


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: f"{page.method} {page.path}")
def test_other_methods_are_refused(opened: Visits, page: Page) -> None:
    methods = {each.method for each in pages.PAGES if each.path == page.path}
    named = dict.fromkeys(("client_id", "account_id", "token_id", "feed_id", "session_id", "user_id", "team_id"), "a")
    path = page.path.format(**named)
    for method in {"PUT", "DELETE", "PATCH", "OPTIONS", "GET", "POST"} - methods:
        answer = opened.client.open(path, method=method, headers={"Accept": "text/html"})
        assert answer.status_code == 405


def test_a_dropped_grant_join_is_found(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for row in ROWS if "client_id" in row["request"]]
    without_grants(monkeypatch)
    assert not rows or any(": ungranted, 1000-ACME: 200, not 404" in each for each in differences(opened, rows))
