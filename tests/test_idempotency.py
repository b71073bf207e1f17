"""A change that is sent twice is made once; and of changes made at the same time none is lost."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, func, select
from werkzeug.test import TestResponse

from ebill.store import once, tokens
from ebill.store.engine import Store
from ebill.store.tables import answers, audit, rules
from tests.world import ACME, Door, door

pytestmark = pytest.mark.anywhere

AT = f"/v1/clients/{ACME}/rules"
RULE = {"since": "2090-01", "generation": {"day_of_month": 9}, "cite": "Letter"}
OTHER = {**RULE, "cite": "Another letter"}
CSV = b"record,client_id,name,team_id,state\r\nclient,4000-NEW,New,north,PA\r\n"
ACCOUNT = f"/v1/clients/{ACME}/bill-accounts/MAIN"
Work = Callable[[Door], Any]


@pytest.fixture
def opened(sqlite_url: str) -> Iterator[Door]:
    store = Store(sqlite_url)
    yield door(store)
    store.close()


@pytest.fixture
def either(store: Store) -> Door:
    """The same on either database."""
    return door(store)


def send(
    opened: Door, key: str | None, body: Any = RULE, path: str = AT, actor: str = "manager", **more: Any
) -> TestResponse:
    headers = {} if key is None else {"Idempotency-Key": key}
    return opened.ask(actor, "POST", path, body, headers, **more)


def count(opened: Door, table: Any) -> int:
    with opened.store.reading() as connection:
        found: int = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return found


def code(answer: TestResponse) -> str:
    found: str = answer.get_json()["code"]
    return found


POSTS = (
    (AT, "manager", RULE),
    (
        f"/v1/clients/{ACME}/exceptions",
        "manager",
        {"coverage_month": "2090-01", "due_date": "2090-01-02", "reason": "x"},
    ),
    (f"{ACCOUNT}/rules", "manager", RULE),
    (f"{ACCOUNT}/exceptions", "manager", {"coverage_month": "2090-01", "due_date": "2090-01-02", "reason": "x"}),
    ("/v1/imports/clients", "manager", CSV),
    ("/v1/access-requests", "producer", {"client_ids": ["4000-NEW"], "reason": "New broker"}),
    ("/v1/access-requests/request-1000-ACME/decisions", "manager", {"decision": "granted"}),
    ("/v1/tokens", "producer", {"name": "One more"}),
    ("/v1/feeds", "producer", {"state": "PA"}),
)


@pytest.mark.parametrize(("path", "actor", "body"), POSTS)
def test_every_change_by_post_is_made_once_and_needs_a_key(opened: Door, path: str, actor: str, body: Any) -> None:
    kind = {"content_type": "text/csv"} if isinstance(body, bytes) else {}
    before = count(opened, audit)
    missing = send(opened, None, body, path, actor, **kind)
    assert (missing.status_code, code(missing), count(opened, audit)) == (400, "idempotency_key_missing", before)
    first = send(opened, "a key", body, path, actor, **kind)
    assert first.status_code in (200, 201)
    done = count(opened, audit)
    assert done > before
    again = send(opened, "a key", body, path, actor, **kind)
    assert count(opened, audit) == done
    if path in ("/v1/tokens", "/v1/feeds"):
        thing = path.removeprefix("/v1/").removesuffix("s")
        assert (again.status_code, code(again)) == (409, f"{thing}_already_shown")
        assert first.get_json()[f"{thing}_id"] in again.get_json()["detail"]
    else:
        assert (again.status_code, again.get_data()) == (first.status_code, first.get_data())
        assert again.headers["Content-Type"] == first.headers["Content-Type"]


@pytest.mark.parametrize(
    "key", ["", " ", " a", "a ", "a" * 256, "caf\u00e9", "a\tb", "a\x7f", "\u0430"], ids=lambda key: ascii(key)[:12]
)
def test_a_key_is_printable_ascii_of_at_most_255_characters(opened: Door, key: str) -> None:
    raw = key.encode("utf-8").decode("latin-1")
    refused = opened.client.post(
        AT,
        json=RULE,
        headers={"Authorization": f"Bearer {opened.world.tokens['manager']}"},
        environ_overrides={"HTTP_IDEMPOTENCY_KEY": raw},
    )
    assert (refused.status_code, code(refused)) == (400, "idempotency_key_missing")


def test_a_key_of_255_characters_is_taken(opened: Door) -> None:
    assert send(opened, "~" * 255).status_code == 201


def test_a_dry_run_needs_no_key_and_uses_none_up(opened: Door) -> None:
    before = count(opened, audit)
    assert send(opened, None, path=f"{AT}?dry_run=true").status_code == 200
    assert send(opened, "a key", path=f"{AT}?dry_run=true").status_code == 200
    assert (count(opened, audit), count(opened, answers)) == (before, 0)
    assert send(opened, "a key", OTHER).status_code == 201


def test_a_key_that_comes_with_another_body_is_refused(opened: Door) -> None:
    first = send(opened, "a key")
    other = send(opened, "a key", OTHER)
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
    assert send(opened, "a key").get_data() == first.get_data()


def test_the_same_json_written_otherwise_is_another_body(opened: Door) -> None:
    send(opened, "a key", b'{"since":"2090-01","generation":{"day_of_month":9},"cite":"Letter"}')
    assert code(send(opened, "a key", b'{"since": "2090-01","generation":{"day_of_month":9},"cite":"Letter"}')) == (
        "idempotency_key_reused"
    )


@pytest.mark.parametrize(
    ("actor", "path"),
    [("admin", AT), ("manager", f"{ACCOUNT}/rules"), ("manager", f"/v1/clients/{ACME}/bill-accounts/COBRA/rules")],
)
def test_another_user_and_another_address_have_keys_of_their_own(opened: Door, actor: str, path: str) -> None:
    send(opened, "a key")
    before = count(opened, rules)
    assert send(opened, "a key", OTHER, path, actor).status_code == 201
    assert count(opened, rules) == before + 1


def test_a_request_that_was_refused_leaves_its_key_free(opened: Door) -> None:
    faulty = send(opened, "a key", {**RULE, "cite": ""})
    assert faulty.status_code == 422
    assert send(opened, "a key").status_code == 201


def test_a_kept_answer_is_given_to_nobody_who_may_not_see_the_client_any_more(opened: Door) -> None:
    assert send(opened, "a key").status_code == 201
    body = {"name": "Acme Ltd", "team_id": "south", "state": "PA"}
    moved = opened.ask("admin", "PUT", f"/v1/clients/{ACME}", body, {"If-Match": '"1"'})
    assert moved.status_code == 200
    assert code(send(opened, "a key")) == "client_not_found"


def test_the_text_of_a_token_is_kept_nowhere(opened: Door) -> None:
    made = send(opened, "a key", {"name": "One more"}, "/v1/tokens", "producer").get_json()
    secret = made["token"].split("_")[2].encode()
    with opened.store.reading() as connection:
        rows = [connection.execute(select(table)).all() for table in answers.metadata.sorted_tables]
    assert made["token_id"].encode() in repr(rows).encode()
    assert secret not in repr(rows).encode()
    other = send(opened, "a key", {"name": "Yet another"}, "/v1/tokens", "producer")
    assert code(other) == "idempotency_key_reused"


def test_an_answer_is_kept_with_its_change_or_not_at_all(either: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    before = count(either, rules), count(either, audit)

    def broken(*_: Any) -> None:
        raise ArithmeticError

    with monkeypatch.context() as patch:
        patch.setattr(once, "keep", broken)
        assert send(either, "a key").status_code == 500
    assert (count(either, rules), count(either, audit), count(either, answers)) == (*before, 0)
    assert send(either, "a key").status_code == 201


def test_a_holder_is_asked_for_again_in_the_transaction_of_the_change(
    opened: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, asked = tokens.held, []

    def withdrawn(connection: Connection, text: str, at: datetime, query: Any, **of: str) -> Any:
        found = right(connection, text, at, query, **of)
        asked.append(found)
        return found if len(asked) == 1 else None

    monkeypatch.setattr(tokens, "held", withdrawn)
    before = count(opened, rules)
    assert code(send(opened, "a key")) == "unauthenticated"
    assert (len(asked), count(opened, rules)) == (2, before)
