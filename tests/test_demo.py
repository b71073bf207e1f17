import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from ebill import access, demo
from ebill.cli.serving import SAMPLE_CLIENTS
from ebill.service.clients import Window, schedule
from ebill.service.history import list_audit
from ebill.store import grants, tokens, users
from ebill.store.engine import Store
from ebill.store.users import User
from ebill.web import create_app
from tests import books
from tests.conftest import upgraded
from tests.stores import QUICK
from tests.world import book_file

pytestmark = pytest.mark.anywhere

BOOK = books.book(books.TEXT)
NOW = datetime(2026, 8, 3, 16, tzinfo=UTC)


def somebody(store: Store, user_id: str) -> User:
    with store.reading() as connection:
        found = users.user(connection, user_id)
    assert found is not None
    return found


def test_the_same_number_of_clients_is_the_same_book() -> None:
    assert list(demo.rows(50)) == list(demo.rows(50))


def test_the_usual_book_has_two_hundred_clients_and_about_five_hundred_bill_accounts_over_the_four_states() -> None:
    records = Counter(row["record"] for row in demo.rows(200))
    assert records["client"] == 200
    assert 450 <= records["bill_account"] <= 550
    assert records["rule"] > 20
    assert records["exception"] >= 8
    clients = [row for row in demo.rows(200) if row["record"] == "client"]
    assert {row["state"] for row in clients} == {"PA", "DE", "WV", "NY"}
    assert any("skip_coverage_months" in row for row in clients)
    assert any("bills_here_since" in row for row in clients)
    kinds = {row["kind"] for row in demo.rows(200) if row["record"] == "bill_account"}
    assert kinds == {"medical", "COBRA", "dental", "vision", "location"}


def test_every_account_of_a_filled_store_has_dates(store: Store) -> None:
    made = demo.fill(store, BOOK, 30, NOW)
    admin = somebody(store, demo.ADMIN)
    with store.reading() as connection:
        answers = [
            schedule(connection, BOOK, admin, f"C{number:05}", None, Window(None, 12), NOW) for number in range(1, 31)
        ]
    accounts = [account for answer in answers for account in answer["bill_accounts"]]
    assert (made.clients, made.accounts) == (30, len(accounts))
    assert all(account["invoices"] for account in accounts)


def test_each_sample_user_may_do_what_the_role_says(store: Store) -> None:
    demo.fill(store, BOOK, 30, NOW)
    with store.reading() as connection:
        for user_id in demo.PEOPLE:
            access.see(connection, somebody(store, user_id), demo.FIRST_CLIENT)
        seen = grants.granted(connection, demo.PRODUCER)
    assert demo.FIRST_CLIENT in seen
    assert 0 < len(seen) < 30


@pytest.mark.parametrize("day", ["2026-08-01T00:30", "2026-08-27T16:00", "2027-01-01T03:00", "2028-02-29T23:59"])
def test_most_is_paid_some_waits_to_post_and_some_is_in_grace_whatever_the_day(store: Store, day: str) -> None:
    now = datetime.fromisoformat(day).replace(tzinfo=UTC)
    demo.fill(store, BOOK, 30, now)
    producer = somebody(store, demo.PRODUCER)
    with store.reading() as connection:
        found = [
            schedule(connection, BOOK, producer, client_id, None, Window(None, 3, back=1), now)
            for client_id in grants.granted(connection, demo.PRODUCER)
        ]
    invoices = [invoice for answer in found for each in answer["bill_accounts"] for invoice in each["invoices"]]
    standings = Counter(invoice["standing"] for invoice in invoices)
    assert standings["payment_pending"] > 0
    assert standings["in_grace"] + standings["invoiced"] > 0
    assert standings["paid"] + standings["payment_pending"] > len(invoices) / 3


def test_all_of_it_stands_in_the_audit(store: Store) -> None:
    demo.fill(store, BOOK, 3, NOW)
    with store.reading() as connection:
        rows = list_audit(connection, somebody(store, demo.ADMIN), 100, None, bytes(32))["data"]
    assert Counter(row["action"] for row in rows)["import_client"] == 3
    assert {row["actor"] for row in rows} == {"demo"}


def test_a_new_token_ends_the_one_before_it_and_none_of_another_name(store: Store) -> None:
    demo.fill(store, BOOK, 1, NOW)
    first = demo.fresh_tokens(store, NOW)
    with store.noting() as connection:
        own, _ = tokens.new_token(connection, demo.PRODUCER, "My own", NOW, NOW.replace(year=2027))
    second = demo.fresh_tokens(store, NOW)
    assert first.keys() == second.keys() == demo.PEOPLE.keys()
    with store.reading() as connection:
        live = [token for token in tokens.tokens_of(connection, None) if token.revoked_at is None]
    assert own.token_id in {token.token_id for token in live}
    assert Counter(token.user_id for token in live if token.name == demo.CALLED) == dict.fromkeys(demo.PEOPLE, 1)


def test_a_store_that_somebody_uses_is_told_from_an_untouched_one(store: Store) -> None:
    assert (demo.is_untouched(store), demo.is_here(store)) == (True, False)
    demo.fill(store, BOOK, 1, NOW)
    assert (demo.is_untouched(store), demo.is_here(store)) == (False, True)


# The examples of the API's document are of the sample book


MADE_ANEW = {
    "decide_access": "the id of a request that somebody made",
    "revoke_token": "the id of a token of one's own",
    "revoke_feed": "the id of a feed of one's own",
    "fetch_feed": "the secret of a feed",
}
"""Operations whose examples name what no sample book has, since it is made anew each time."""


@pytest.fixture(scope="module")
def sampled() -> Iterator[tuple[FlaskClient, dict[str, str]]]:
    """The service on the sample book as `make run` fills it, and the tokens that it prints."""
    with tempfile.TemporaryDirectory(prefix="ebill-", dir=QUICK) as folder:
        store = Store(upgraded(f"sqlite:///{folder}/sample.db"))
        now = datetime.now(UTC)
        demo.fill(store, book_file().book, SAMPLE_CLIENTS, now)
        app = create_app(book_file(), store)
        yield app.test_client(), demo.fresh_tokens(store, now)
        store.close()


def examples(document: Any) -> dict[str, tuple[str, str, Any]]:
    """Give each operation's method and path, filled in as the docs page does when nobody types anything, and itself."""
    found = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            given = [each for each in operation.get("parameters", ()) if "example" in each]
            at = path.format(**{each["name"]: each["example"] for each in given if each["in"] == "path"})
            query = urlencode({each["name"]: each["example"] for each in given if each["in"] == "query"})
            found[operation["operationId"]] = method, f"{at}?{query}".rstrip("?").replace("=True", "=true"), operation
    return found


def tried(client: FlaskClient, token: str, method: str, at: str, operation: Any) -> tuple[int, str]:
    """Send an operation's example; give the status of the answer, and what it says."""
    headers = {"Authorization": f"Bearer {token}"}
    for each in operation.get("parameters", ()):
        if each["in"] == "header" and "examples" in each:
            headers[each["name"]] = next(iter(each["examples"].values()))["value"]
    body = None
    if "requestBody" in operation:
        headers["Content-Type"], media = next(iter(operation["requestBody"]["content"].items()))
        body = next(iter(media["examples"].values()))["value"]
        body = body if isinstance(body, str) else json.dumps(body)
    answer = client.open(at, method=method.upper(), headers=headers, data=body, buffered=True)
    return answer.status_code, answer.get_data(as_text=True)


def test_every_example_of_the_document_works_with_a_sample_token(sampled: tuple[FlaskClient, dict[str, str]]) -> None:
    client, tokens_ = sampled
    document = client.get("/openapi.json").get_json()
    failed = {}
    for name, example in examples(document).items():
        answers = (tried(client, tokens_[user_id], *example) for user_id in (demo.ADMIN, demo.PRODUCER))
        refused = list(takewhile(lambda answer: answer[0] >= 300, answers))  # what the first did is done
        if len(refused) == 2:
            failed[name] = refused[-1]
    assert failed.keys() == MADE_ANEW.keys(), failed
    assert {name: failed[name][0] for name in failed if failed[name][0] not in (403, 404)} == {}


def test_a_producer_asks_for_clients_that_they_do_not_see() -> None:
    rows = [row for row in demo.rows(SAMPLE_CLIENTS) if row["record"] == "client"]
    granted = [row["client_id"] for row in rows if row["state"] == "PA"][: demo.GRANTED]
    assert not {*demo.UNSEEN} & {*granted}
    assert {*demo.UNSEEN} <= {row["client_id"] for row in rows}
