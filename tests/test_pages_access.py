"""What every page declares, and how a page looks to whoever it is not for.

Who may open which page, cell by cell, is the goal G2: see `tests/trust/g02_access.py`.
"""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from ebill import access
from ebill.web import pages
from ebill.web.pages.page import Page
from tests.matrices import PAGES, Row, ask_page, named, statuses
from tests.stores import Databases
from tests.visits import Visits, rehearsed_visits, text_of
from tests.world import MARK, UNKNOWN, ZENITH

pytestmark = pytest.mark.anywhere


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


def test_every_page_allows_what_the_access_module_knows() -> None:
    assert {page.allows for page in pages.PAGES} <= set(access.MAY)


def test_a_page_that_does_not_say_what_it_allows_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="allows"):
        Page(method="GET", path="/nothing", view=print)  # type: ignore[call-arg]


def test_only_forms_change_something() -> None:
    assert {page.method for page in pages.PAGES if page.path.startswith("/sign-out")} == {"POST"}


@pytest.mark.parametrize("row", PAGES, ids=named)
def test_what_is_another_s_looks_as_what_is_nobody_s(opened: Visits, row: Row) -> None:
    if "{" not in row["request"] and row["how"] != "client":
        return
    for actor in ("producer", "ungranted", "manager"):
        cells = statuses(row[actor])
        if cells[ZENITH] == 404:
            theirs, nobodys = (ask_page(opened, row, actor, which) for which in (ZENITH, UNKNOWN))
            assert [_bare(theirs), theirs.status_code] == [_bare(nobodys), nobodys.status_code]
            assert MARK not in text_of(theirs)


def _bare(answer: Any) -> str:
    """Give a page without the number of its request."""
    text: str = text_of(answer)
    return text.replace(answer.headers["X-Request-Id"], "")


@pytest.mark.parametrize(
    ("actor", "said"),
    [
        ("producer", "ask its client management team for access"),
        ("manager", "No client of this id is in the hands of your team."),
        ("admin", "There is no client of this id."),
    ],
)
def test_who_asks_no_team_for_access_is_not_told_to(opened: Visits, actor: str, said: str) -> None:
    page = text_of(opened.look(actor, f"/clients/{UNKNOWN}"))
    assert said in page
    assert ("for access" in page) is (actor == "producer")
