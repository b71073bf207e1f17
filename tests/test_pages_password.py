"""One's own password, and the first one that an administrator gives: who may change it, and what ends when it is."""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import update
from werkzeug.test import TestResponse

from ebill import passwords
from ebill.cli import main
from ebill.service import sessions
from ebill.service import users as users_service
from ebill.store import feeds, tokens, users
from ebill.store import sessions as kept_sessions
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.tables import sessions as sessions_table
from ebill.store.tables import users as users_table
from ebill.web.pages import tries
from tests.visits import HTML, Visits, text_of, visits

pytestmark = pytest.mark.anywhere

WORD, NEW = "seven green bicycles", "nine yellow submarines"
HERE = {"Sec-Fetch-Site": "same-origin", "Accept": HTML}
HASHED = passwords.hashed(WORD)
CHANGE = {"old_password": WORD, "new_password": NEW}


@pytest.fixture
def opened(sqlite_url: str) -> Iterator[Visits]:
    store = Store(sqlite_url)
    made = visits(store)
    with store.writing(By("setup", datetime.now(UTC))) as write:
        for user_id in ("pat-producer", "dan-disabled", "nora-north"):
            users.set_password(write.connection, user_id, HASHED)
        write.audit("setup")
    yield made
    store.close()


def sign_in(opened: Visits, password: str, user_id: str = "pat-producer") -> TestResponse:
    return opened.client.post("/sign-in", data={"user_id": user_id, "password": password}, headers=HERE)


def choose(opened: Visits, password: str, new: str = NEW, **more: str) -> TestResponse:
    form = {"user_id": "pat-producer", "password": password, "new_password": new, **more}
    return opened.client.post("/sign-in/first-password", data=form, headers=HERE)


def cookie_of(answer: TestResponse) -> str:
    found = re.match(r"sid=([^;]*)", answer.headers.get("Set-Cookie", ""))
    return found[1] if found else ""


def is_in(opened: Visits, cookie: str) -> bool:
    return opened.client.get("/me", headers={"Cookie": f"sid={cookie}"}).status_code == 200


def latest(opened: Visits) -> list[tuple[str, str, str]]:
    rows = opened.ask("admin", "GET", "/v1/audit?newest=true&limit=2").get_json()["data"]
    return [(row["action"], row["actor"], row["subject"]) for row in rows]


# Once more, before something is handed on or ended


def age(opened: Visits, actor: str = "producer", minutes: int = 16) -> str:
    """Let somebody have signed in a while ago, and be in use since; give the name of their other session."""
    other = kept_sessions.session_id(cookie_of(sign_in(opened, WORD)))
    began = update(sessions_table).where(
        sessions_table.c.hash == hashlib.sha256(opened.sessions[actor].encode()).digest()
    )
    with opened.store.noting() as connection:
        connection.execute(began.values(created_at=datetime.now(UTC) - timedelta(minutes=minutes)))
    return other


GUARDED = {
    "a token": ("/me/tokens", {"name": "Nightly"}),
    "a feed": ("/me/feeds", {"name": "Mine"}),
    "another session": ("/me/sessions/{other}/end", {}),
}


def held(opened: Visits) -> tuple[int, int, int]:
    """Count the tokens, feeds and sessions of the producer."""
    with opened.store.reading() as connection:
        now = datetime.now(UTC)
        return (
            len(tokens.tokens_of(connection, "pat-producer")),
            len(feeds.feeds_of(connection, "pat-producer")),
            len(kept_sessions.sessions_of(connection, "pat-producer", now)),
        )


@pytest.mark.parametrize(("path", "form"), GUARDED.values(), ids=GUARDED)
def test_who_signed_in_a_while_ago_gives_the_password_once_more(
    opened: Visits, path: str, form: dict[str, str]
) -> None:
    path = path.format(other=age(opened))
    before = held(opened)
    asked = opened.send("producer", path, form)
    assert (asked.status_code, "more than 15 minutes" in text_of(asked)) == (422, True)
    assert 'name="password"' in text_of(asked)
    wrong = opened.send("producer", path, {**form, "password": NEW})
    assert (wrong.status_code, "not the password" in text_of(wrong)) == (422, True)
    assert held(opened) == before
    assert opened.send("producer", path, {**form, "password": WORD}).status_code in (200, 303)
    assert held(opened) != before
    assert WORD not in opened.ask("admin", "GET", "/v1/audit?limit=200").get_data(as_text=True)


@pytest.mark.parametrize(
    ("given", "said"), [({}, "is needed"), ({"password": NEW}, "is not the one that you have")], ids=["none", "wrong"]
)
def test_what_is_wrong_with_a_token_is_told_with_what_is_wrong_with_the_password(
    opened: Visits, given: dict[str, str], said: str
) -> None:
    age(opened)
    form = {"name": "A", "days": "999", "client_ids": "NO-SUCH"}
    page = text_of(opened.send("producer", "/me/tokens", {**form, **given}))
    assert dict(re.findall(r'<span class="fault" id="(\w+)_fault">([^<]*)</span>', page)) == {
        "token_days": "must be from 1 to 365",
        "token_password": said,
        "token_clients": "there is no client NO-SUCH",
    }


def test_a_password_that_was_given_counts_for_15_minutes_and_for_its_session_alone(opened: Visits) -> None:
    age(opened)
    assert opened.send("producer", "/me/tokens", {"name": "A", "password": WORD}).status_code == 200
    assert opened.send("producer", "/me/tokens", {"name": "B"}).status_code == 200
    assert 'name="password"' not in text_of(opened.look("producer", "/me"))
    with opened.store.noting() as connection:
        long_ago = datetime.now(UTC) - sessions.PROOF_LASTS - timedelta(seconds=1)
        connection.execute(update(sessions_table).values(proved_at=long_ago))
    assert opened.send("producer", "/me/tokens", {"name": "C"}).status_code == 422


def test_who_has_just_signed_in_is_asked_for_no_password(opened: Visits) -> None:
    age(opened, minutes=14)
    assert opened.send("producer", "/me/tokens", {"name": "A"}).status_code == 200
    assert 'name="password"' not in text_of(opened.look("producer", "/me"))


def test_one_s_own_session_ends_without_a_password(opened: Visits) -> None:
    age(opened)
    own = kept_sessions.session_id(opened.sessions["producer"])
    assert opened.send("producer", f"/me/sessions/{own}/end").status_code == 303
    assert opened.look("producer", "/me").status_code == 303


def test_who_has_no_password_signs_in_again(opened: Visits) -> None:
    age(opened)
    with opened.store.noting() as connection:
        connection.execute(update(users_table).where(users_table.c.user_id == "pat-producer").values(password=None))
    answer = opened.send("producer", "/me/tokens", {"name": "A", "password": WORD})
    assert (answer.status_code, "sign in again" in text_of(answer)) == (422, True)
    assert "sign out and in again" in text_of(opened.look("producer", "/me"))


def test_wrong_passwords_are_counted_with_those_of_signing_in(opened: Visits) -> None:
    age(opened)
    answers = [opened.send("producer", "/me/tokens", {"name": "A", "password": NEW}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [422] * 5 + [429]
    assert sign_in(opened, WORD).status_code == 429


# One's own


def test_a_new_password_ends_every_session_but_this_one_which_has_a_new_cookie(opened: Visits) -> None:
    elsewhere = cookie_of(sign_in(opened, WORD))
    before = opened.sessions["producer"]
    answer = opened.send("producer", "/me/password", CHANGE)
    after = cookie_of(answer)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/me?changed=password#password")
    assert after not in ("", before)
    assert [is_in(opened, cookie) for cookie in (elsewhere, before, after)] == [False, False, True]
    assert [sign_in(opened, word).status_code for word in (WORD, NEW)] == [422, 303]
    page = text_of(opened.client.get("/me?changed=password", headers={"Cookie": f"sid={after}"}))
    assert "your tokens and calendars stay" in page


def test_tokens_stay_and_others_sessions_too(opened: Visits) -> None:
    opened.send("producer", "/me/password", CHANGE)
    assert opened.ask("producer", "GET", "/v1/me").status_code == 200
    assert opened.look("manager", "/me").status_code == 200


def test_the_change_is_in_the_audit_and_the_passwords_are_not(opened: Visits) -> None:
    opened.send("producer", "/me/password", CHANGE)
    assert latest(opened)[0] == ("change_password", "pat-producer", "pat-producer")
    everything = opened.ask("admin", "GET", "/v1/audit?limit=200").get_data(as_text=True)
    assert WORD not in everything
    assert NEW not in everything
    assert "argon2" not in everything


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"old_password": "wrong", "new_password": NEW}, "That is not the password that you have now"),
        ({"new_password": NEW}, "That is not the password that you have now"),
        ({"old_password": WORD}, "must have at least 8 characters"),
        ({"old_password": WORD, "new_password": "short"}, "must have at least 8 characters"),
        ({"old_password": WORD, "new_password": "password"}, "among the first that anybody would try"),
        ({"old_password": WORD, "new_password": "pat-producer"}, "among the first that anybody would try"),
        ({"old_password": WORD, "new_password": "x" * 2000}, "longer than"),
        ({"old_password": WORD, "new_password": WORD}, "is the one that you have"),
        ({**CHANGE, "user_id": "ada-admin"}, "unknown"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_and_changes_nothing(opened: Visits, form: dict[str, str], said: str) -> None:
    answer = opened.send("producer", "/me/password", form)
    page = text_of(answer)
    assert (answer.status_code, said in page) == (422, True), page
    assert not any(value in page for value in (WORD, NEW))
    assert opened.look("producer", "/me").status_code == 200
    assert sign_in(opened, WORD).status_code == 303


def test_tries_are_limited_together_with_those_of_signing_in(opened: Visits) -> None:
    for number in range(tries.FREE["user"]):
        wrong = {**CHANGE, "old_password": "wrong"}
        answer = opened.send("producer", "/me/password", wrong) if number % 2 else sign_in(opened, "wrong")
        assert answer.status_code == 422
    answer = opened.send("producer", "/me/password", CHANGE)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
    assert "Change the password" in text_of(answer)
    assert sign_in(opened, WORD).status_code == 429
    assert opened.send("manager", "/me/password", CHANGE).status_code == 303


def test_a_weak_password_is_no_try(opened: Visits) -> None:
    for _ in range(tries.FREE["user"] + 1):
        assert opened.send("producer", "/me/password", {**CHANGE, "new_password": "short"}).status_code == 422
    assert opened.send("producer", "/me/password", CHANGE).status_code == 303


def test_no_transaction_is_open_while_it_is_hashed(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = passwords.hashed

    def meanwhile(password: str) -> str:
        with opened.store.writing(By("somebody", datetime.now(UTC))) as write:
            write.audit("meanwhile")
        return hashed(password)

    monkeypatch.setattr(passwords, "hashed", meanwhile)
    assert opened.send("producer", "/me/password", CHANGE).status_code == 303


def test_a_password_that_was_changed_meanwhile_is_not_changed_back(
    opened: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = passwords.hashed

    def meanwhile(password: str) -> str:
        with opened.store.writing(By("ada-admin", datetime.now(UTC))) as write:
            users.set_password(write.connection, "pat-producer", "$another")
            write.audit("set_password", subject="pat-producer")
        return hashed(password)

    monkeypatch.setattr(passwords, "hashed", meanwhile)
    assert opened.send("producer", "/me/password", CHANGE).status_code == 422
    with opened.store.reading() as connection:
        assert users.password_of(connection, "pat-producer") == "$another"


def test_who_has_none_is_asked_for_none_and_can_set_none(opened: Visits) -> None:
    page = text_of(opened.look("ungranted", "/me"))
    assert "old_password" not in page
    assert opened.send("ungranted", "/me/password", {"new_password": NEW}).status_code == 422


def test_a_form_from_elsewhere_changes_nothing(opened: Visits) -> None:
    assert opened.send("producer", "/me/password", CHANGE, {"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert opened.send("producer", "/me/password", CHANGE, token="0" * 64).status_code == 403
    assert sign_in(opened, WORD).status_code == 303


# The first one


def give(opened: Visits, user_id: str = "pat-producer") -> str:
    """Let an administrator give somebody a first password."""
    answer = opened.send("admin", f"/admin/users/{user_id}/password")
    assert answer.status_code == 200
    (first,) = re.findall(r'value="([a-z2-9-]{23})" readonly', text_of(answer))
    return str(first)


def test_a_first_password_opens_nothing_until_it_is_changed(opened: Visits) -> None:
    first = give(opened)
    assert not is_in(opened, opened.sessions["producer"])
    answer = sign_in(opened, first)
    assert (answer.status_code, cookie_of(answer)) == (200, "")
    assert "Choose a password" in text_of(answer)
    assert first not in text_of(answer)
    assert sign_in(opened, WORD).status_code == 422
    chosen = choose(opened, first, next="/me")
    assert (chosen.status_code, chosen.headers["Location"]) == (303, "/me")
    assert is_in(opened, cookie_of(chosen))
    assert [sign_in(opened, word).status_code for word in (first, NEW)] == [422, 303]
    assert choose(opened, first).status_code == choose(opened, NEW, "yet another one of mine").status_code == 422


def test_giving_and_changing_one_are_in_the_audit_without_it(opened: Visits) -> None:
    first = give(opened)
    assert latest(opened)[0] == ("set_first_password", "ada-admin", "pat-producer")
    choose(opened, first)
    assert latest(opened) == [
        ("sign_in", "pat-producer", "pat-producer"),
        ("change_password", "pat-producer", "pat-producer"),
    ]
    assert first not in opened.ask("admin", "GET", "/v1/audit?limit=200").get_data(as_text=True)


def test_every_first_password_is_another(opened: Visits) -> None:
    assert len({give(opened) for _ in range(3)} | {passwords.first() for _ in range(200)}) == 203


@pytest.mark.parametrize("new", ["short", "password", "pat-producer", "the first one", ""])
def test_a_weak_one_in_its_stead_is_refused_and_can_be_tried_again(opened: Visits, new: str) -> None:
    first = give(opened)
    for _ in range(tries.FREE["user"] + 1):
        answer = choose(opened, first, first if new == "the first one" else new)
        assert (answer.status_code, cookie_of(answer)) == (422, "")
        assert "The new password" in text_of(answer)
    assert choose(opened, first).status_code == 303


def test_no_session_begins_with_a_first_password_whoever_asks(opened: Visits) -> None:
    give(opened)
    with opened.store.writing(By("pat-producer", datetime.now(UTC))) as write:
        kept = users.password_of(write.connection, "pat-producer")
        assert kept
        assert sessions.begin(write, "pat-producer", kept, None, None) is None


def test_it_waits_a_week(opened: Visits) -> None:
    first = give(opened)
    with opened.store.noting() as connection:
        late = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(
            update(users_table).where(users_table.c.user_id == "pat-producer").values(first_password_until=late)
        )
    assert sign_in(opened, first).status_code == choose(opened, first).status_code == 422
    with opened.store.reading() as connection:
        kept = users.first_password_until(connection, "pat-producer")
    assert kept
    assert timedelta(days=7) == users_service.FIRST_PASSWORD


def test_a_disabled_user_s_opens_nothing_and_says_the_same_as_a_wrong_one(opened: Visits) -> None:
    first = give(opened, "dan-disabled")
    for password in (first, "wrong"):
        answer = sign_in(opened, password, "dan-disabled")
        assert answer.status_code == 422
        assert "do not belong together" in text_of(answer)
        assert choose(opened, password, user_id="dan-disabled").status_code == 422


def test_tries_of_a_first_password_are_limited(opened: Visits) -> None:
    first = give(opened)
    for _ in range(tries.FREE["user"]):
        assert choose(opened, "wrong").status_code == 422
    answer = choose(opened, first)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")


def test_a_form_from_elsewhere_changes_no_first_password(opened: Visits) -> None:
    form = {"user_id": "pat-producer", "password": give(opened), "new_password": NEW}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {}):
        assert opened.client.post("/sign-in/first-password", data=form, headers=headers).status_code == 403


def test_nobody_gives_one_to_themselves(opened: Visits) -> None:
    answer = opened.send("admin", "/admin/users/ada-admin/password")
    assert (answer.status_code, "on your own page" in text_of(answer)) == (422, True)
    assert opened.look("admin", "/me").status_code == 200


def test_the_command_prints_one(opened: Visits, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    monkeypatch.setenv("EBILL_DATABASE_URL", sqlite_url)
    answer = CliRunner().invoke(main, ["user", "password", "pat-producer", "--first"])
    assert answer.exit_code == 0, answer.output
    (first,) = re.findall(r"^[a-z2-9-]{23}$", answer.stdout, re.MULTILINE)
    assert "Choose a password" in text_of(sign_in(opened, first))
    both: Any = CliRunner().invoke(main, ["user", "password", "pat-producer", "--first", "--stdin"])
    assert both.exit_code == 2
