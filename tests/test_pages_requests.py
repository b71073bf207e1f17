"""Access requests as people make and decide them: several clients at once, and nobody learns what is not theirs."""

import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select

from ebill.store import grants
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.tables import access_request_clients, audit
from ebill.store.tables import grants as grants_table
from ebill.web.pages import access_requests as page
from tests.visits import Visits, text_of, visits
from tests.world import ACME, AT, MARK, UNKNOWN, ZENITH

pytestmark = pytest.mark.anywhere

HERE = "/access-requests"
NAME = "<b>Eve</b> & Söhne"


@pytest.fixture
def opened(ready: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visits]:
    """The world: `gus-ungranted` asked for ACME and for ZENITH, a request each."""
    copy = shutil.copy(ready.removeprefix("sqlite:///"), tmp_path_factory.mktemp("requests"))
    store = Store(f"sqlite:///{copy}")
    yield visits(store)
    store.close()


def looked(opened: Visits, actor: str, path: str = HERE) -> str:
    answer = opened.look(actor, path)
    assert answer.status_code == 200
    return unescape(text_of(answer))


def ask(opened: Visits, actor: str, ids: str, reason: str = "New broker") -> Any:
    return opened.send(actor, HERE, {"client_ids": ids, "reason": reason})


def picks(text: str) -> list[str]:
    """Give the boxes that can be ticked, in their order."""
    return re.findall(r'name="(pick\.[^"]+)"', text)


def decide(opened: Visits, actor: str, names: list[str], decision: str = "granted", **more: str) -> Any:
    return opened.send(actor, f"{HERE}/decisions", {**dict.fromkeys(names, "yes"), "decision": decision, **more})


def kept(opened: Visits) -> dict[tuple[str, str], str]:
    """Give what became of each client that was asked for, by request and client."""
    with opened.store.reading() as connection:
        rows = connection.execute(select(access_request_clients))
        return {(row.request_id, row.client_id): row.decision for row in rows}


def granted(opened: Visits, user_id: str) -> set[str]:
    with opened.store.reading() as connection:
        return set(connection.scalars(select(grants_table.c.client_id).where(grants_table.c.user_id == user_id)))


# Asking


@pytest.mark.parametrize("ids", ["C1\r\nC2\r\nC3", "C1,C2, C3", " C1;C2\n\n,C3 ", "C1 C2\tC3\r\nC2"])
def test_several_clients_are_asked_for_at_once(opened: Visits, ids: str) -> None:
    answer = ask(opened, "producer", ids, "Because <of> this")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{HERE}#yours")
    (mine,) = opened.ask("producer", "GET", "/v1/access-requests").get_json()["data"]
    assert [each["client_id"] for each in mine["clients"]] == ["C1", "C2", "C3"]
    text = text_of(opened.look("producer", HERE))
    assert "Because &lt;of&gt; this" in text
    assert text.count("Waiting</span>") == 3


def test_whether_a_client_exists_is_not_to_be_seen(opened: Visits) -> None:
    """What is there, what is another team's and what is nobody's look alike, whenever one looks."""
    for actor in ("producer", "ungranted"):
        pages = []
        for client_id in (ACME, ZENITH, UNKNOWN):
            answer = ask(opened, actor, client_id)
            assert answer.status_code == 303
            text = text_of(opened.look(actor, HERE))
            shown = text[text.index("What you asked for") :]
            article = re.findall(r"<article.*?</article>", shown, re.DOTALL)[0]
            pages.append(re.sub(r"<time.*?</time>", "", article.replace(client_id, "THE-ID")))
        assert len(set(pages)) == 1
        assert MARK not in looked(opened, actor)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"client_ids": "C1, not_one, C2, Ünder", "reason": "x"}, 'no id of a client: "not_one", "\\xdcnder"'),
        ({"client_ids": " , ", "reason": "x"}, "write at least one client's id"),
        ({"reason": "x"}, "write at least one client's id"),
        ({"client_ids": "C1"}, "is required"),
        ({"client_ids": " ".join(f"C{n}" for n in range(201)), "reason": "x"}, "at most 200 at once; these are 201"),
        ({"client_ids": "<script>alert(1)</script>", "reason": "x"}, 'no id of a client: "<script>alert(1)</script>"'),
    ],
)
def test_a_slip_is_shown_at_its_field_with_what_was_typed(opened: Visits, form: dict[str, str], said: str) -> None:
    answer = opened.send("producer", HERE, form)
    raw = text_of(answer)
    assert answer.status_code == 422
    assert said in unescape(raw)
    assert "<script>alert" not in raw
    assert form.get("client_ids", "").strip()[:40] in unescape(raw)
    assert opened.ask("producer", "GET", "/v1/access-requests").get_json()["data"] == []


def test_who_has_asked_for_nothing_is_told_so(opened: Visits) -> None:
    assert "You have asked for nothing yet." in looked(opened, "producer")


def test_the_latest_requests_are_shown_and_all_of_them_on_demand(opened: Visits) -> None:
    for number in range(page.LATEST + 3):
        ask(opened, "producer", f"C{number}")
    latest, everything = looked(opened, "producer"), looked(opened, "producer", f"{HERE}?show=all")
    assert (latest.count("<article"), everything.count("<article")) == (page.LATEST, page.LATEST + 3)
    assert "See all 23" in latest


# Deciding


def test_a_manager_sees_what_waits_for_their_teams_alone(opened: Visits) -> None:
    mine, theirs, everything = (looked(opened, actor) for actor in ("manager", "other manager", "admin"))
    assert picks(mine) == [f"pick.request-{ACME}.{ACME}"]
    assert picks(theirs) == [f"pick.request-{ZENITH}.{ZENITH}"]
    assert set(picks(everything)) == {*picks(mine), *picks(theirs)}
    assert "gus-ungranted" in mine
    assert "New broker" in mine
    assert MARK not in mine
    assert ZENITH not in mine


def test_what_waits_is_what_the_api_lists_as_pending_the_oldest_first(opened: Visits) -> None:
    asked = [("producer", f"{ZENITH} {ACME}", 5), ("unentitled", ACME, 2), ("producer", ACME, 9)]
    users = {"producer": "pat-producer", "unentitled": "una-unentitled"}
    with opened.store.writing(By("setup", AT)) as write:
        for number, (actor, ids, days) in enumerate(asked):
            at = AT - timedelta(days=days)
            grants.add_request(write.connection, f"r{number}", users[actor], ids.split(), "why", at)
        write.audit("setup")
    listed = opened.ask("admin", "GET", "/v1/access-requests").get_json()["data"]
    oldest = sorted(listed, key=lambda each: (each["requested_at"], each["request_id"]))
    expected = [
        f"pick.{each['request_id']}.{of['client_id']}"
        for each in oldest
        for of in each["clients"]
        if of["decision"] == "pending"
    ]
    assert len(expected) == 6
    assert picks(looked(opened, "admin")) == expected


def test_several_are_granted_at_once_of_several_requests(opened: Visits) -> None:
    ask(opened, "producer", f"{ACME} {ZENITH}", "Mine too")
    names = picks(looked(opened, "admin"))
    assert len(names) == 4
    answer = decide(opened, "admin", names[:3])
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{HERE}#decided")
    assert sorted(kept(opened).values()) == ["granted", "granted", "granted", "pending"]
    assert picks(looked(opened, "admin")) == names[3:]
    assert granted(opened, "gus-ungranted") == {ACME, ZENITH}
    assert opened.look("ungranted", f"/clients/{ACME}").status_code == 200
    with opened.store.reading() as connection:
        rows = connection.execute(select(audit).where(audit.c.action == "access_granted")).all()
    assert {(row.actor, row.client_id) for row in rows} == {("ada-admin", ACME), ("ada-admin", ZENITH)}


def test_declined_ones_stay_closed_and_say_why_to_whoever_asked(opened: Visits) -> None:
    decide(opened, "manager", picks(looked(opened, "manager")), "declined", reason="Not your <group>")
    assert granted(opened, "gus-ungranted") == set()
    text = text_of(opened.look("ungranted", HERE))
    assert "Declined</span>" in text
    assert "Not your &lt;group&gt;" in text
    assert "nora-north" not in text
    decided = looked(opened, "manager")
    assert "Nothing waits for a decision." in decided
    assert "nora-north" in decided


def test_what_is_not_ones_own_to_decide_is_refused_with_all_the_rest(opened: Visits) -> None:
    """A client of another team and one that nobody has are refused in the same words."""
    ask(opened, "producer", f"{ACME} {UNKNOWN}")
    mine = picks(looked(opened, "manager"))
    before = kept(opened)
    pages = set()
    for other in (f"pick.request-{ZENITH}.{ZENITH}", f"pick.{mine[-1].split('.')[1]}.{UNKNOWN}", "pick.none.NONE"):
        answer = decide(opened, "manager", [*mine, other])
        assert answer.status_code == 422
        pages.add(text_of(answer))
        assert kept(opened) == before
    assert len(pages) == 1
    assert "decided meanwhile, or is no longer yours" in pages.pop()


def test_what_was_decided_meanwhile_is_named_to_whoever_looks_after_it_and_to_nobody_else(opened: Visits) -> None:
    ask(opened, "producer", ACME)
    first, second = picks(looked(opened, "manager"))
    theirs = f"pick.request-{ZENITH}.{ZENITH}"
    decide(opened, "admin", [first], "declined")
    decide(opened, "admin", [theirs])
    before = kept(opened)
    answer = decide(opened, "manager", [first, second, theirs])
    page = unescape(text_of(answer))
    assert answer.status_code == 422
    assert f"decided meanwhile: {ACME} for gus-ungranted was declined; nothing was done" in page
    assert ZENITH not in page
    assert f"{ACME} for pat-producer was" not in page
    assert f'name="{second}" value="yes" checked' in page
    assert kept(opened) == before
    both = unescape(text_of(decide(opened, "admin", [first, second, theirs])))
    assert f"{ACME} for gus-ungranted was declined; {ZENITH} for gus-ungranted was granted; nothing" in both
    assert decide(opened, "manager", [second]).status_code == 303


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"decision": "granted"}, 422, "tick at least one client"),
        ({f"pick.request-{ACME}.{ACME}": "yes"}, 422, "is required"),
        ({f"pick.request-{ACME}.{ACME}": "yes", "decision": "pending"}, 422, "must be one of granted, declined"),
        ({f"pick.request-{ACME}.{ACME}": "yes", "decision": "granted", "who": "me"}, 422, "unknown"),
        ({"pick.a": "yes", "decision": "granted"}, 422, "unknown"),
        (
            {f"pick.request-{ACME}.{ACME}": "yes", "decision": "granted", "reason": "x" * 501},
            422,
            "must be at most 500 characters",
        ),
    ],
)
def test_a_slip_of_a_decision_keeps_what_was_ticked(
    opened: Visits, form: dict[str, str], status: int, said: str
) -> None:
    answer = opened.send("manager", f"{HERE}/decisions", form)
    assert answer.status_code == status
    assert said in unescape(text_of(answer))
    assert set(kept(opened).values()) == {"pending"}
    ticked = re.findall(r'name="(pick\.[^"]+)" value="yes" checked', text_of(answer))
    assert ticked == [name for name in form if name.startswith("pick.request")]


def test_all_are_ticked_by_a_link_for_whoever_has_no_script(opened: Visits) -> None:
    ask(opened, "producer", f"{ACME} {ZENITH}")
    assert text_of(opened.look("admin", HERE)).count(" checked") == 0
    assert text_of(opened.look("admin", f"{HERE}?tick=all")).count(" checked") == 4


def test_how_many_wait_stands_in_the_navigation_of_whoever_decides(opened: Visits) -> None:
    ask(opened, "producer", ACME)
    for actor, count in (("manager", 2), ("other manager", 1), ("admin", 3)):
        assert f'<b class="waits">{count}<span' in text_of(opened.look(actor, "/me"))
    for actor in ("producer", "ungranted"):
        assert "waits" not in text_of(opened.look(actor, "/me"))
    decide(opened, "manager", picks(looked(opened, "manager")))
    assert "waits" not in text_of(opened.look("manager", "/me"))


def test_of_very_many_the_oldest_are_shown(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST", 2)
    ask(opened, "producer", f"{ACME} {ZENITH}")
    text = looked(opened, "admin")
    assert len(picks(text)) == 2
    assert "The 2 oldest are shown" in text
    assert "4 clients wait" in text


def test_hostile_words_are_text(opened: Visits) -> None:
    ask(opened, "producer", ACME, NAME)
    raw = text_of(opened.look("manager", HERE))
    assert "<b>Eve</b>" not in raw
    assert "&lt;b&gt;Eve&lt;/b&gt; &amp; Söhne" in raw
