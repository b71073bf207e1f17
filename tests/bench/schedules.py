"""A client's schedule, asked with a token, beside bare Flask; among 100,000 clients and 300,000 accounts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from ebill.store import tokens
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.web import create_app
from ebill.web.steady import MOST
from tests import crowd
from tests.bench.measuring import Ratio, in_turn
from tests.bench.serving import ANSWER, NOW, Sent, bare, requests_over, served, wsgi
from tests.stores import QUICK

CLIENTS, GRANTED = 100_000, 5_000
THIRD = (
    (
        "INSERT INTO bill_account (client_id, account_id, folded, version) "
        "SELECT client_id, 'DEN', 'den', 1 FROM bill_account WHERE account_id = 'COB'"
    ),
    (
        "INSERT INTO bill_account_version (client_id, account_id, version, kind, name, recorded_by, recorded_at) "
        "SELECT client_id, 'DEN', 1, 'x', 'Dental', recorded_by, recorded_at "
        "FROM bill_account_version WHERE account_id = 'COB'"
    ),
)


def crowded(url: str) -> tuple[Store, dict[str, str]]:
    """Make a store full of clients; give it, and the headers of a producer with many of them."""
    store = Store(url)
    store.upgrade()
    crowd.crowd(store, CLIENTS, GRANTED)
    with store.writing(By("bench", NOW)) as write:
        for statement in THIRD:
            write.connection.execute(text(statement))
        _, token = tokens.new_token(write.connection, "pat", "bench", NOW, NOW + timedelta(days=365))
        for number in range(GRANTED):
            write.audit("bench", client_id=client_id(number))
    return store, {"Authorization": f"Bearer {token}"}


def client_id(number: int) -> str:
    """Name a client of the producer's."""
    return f"C{number * CLIENTS // GRANTED:06}"


def client_schedule() -> Iterator[Ratio]:
    """A client's twelve months, three accounts, the token checked, beside a bare Flask route that gives as many bytes.

    Asked by one client again, by those who have the answer (`If-None-Match`), and of one client after the other, more
    than are kept; by those who have these answers, too.
    """
    count = 200
    with tempfile.TemporaryDirectory(dir=QUICK) as folder:
        url = f"sqlite:///{folder}/bench.db"
        store, token = crowded(url)
        app = create_app(store=store)

        def asked(number: int, **more: str) -> Sent:
            headers = {**token, **{name.replace("_", "-"): value for name, value in more.items()}}
            status = 304 if more else 200
            return Sent("GET", f"/v1/clients/{client_id(number)}/schedule?from=2026-08&months=12", headers, b"", status)

        asking = app.test_client()
        first = asking.get(asked(3).path, headers=token)
        tags = [asking.get(asked(number).path, headers=token).headers["ETag"] for number in range(2 * MOST)]
        answer = Path(folder, "answer.json")
        answer.write_bytes(first.get_data())
        requests = {
            "asked before": [asked(3)],
            "not modified": [asked(3, If_None_Match=first.headers["ETag"])],
            "asked anew": [asked(number) for number in range(GRANTED)],
            "not modified, not kept": [asked(number, If_None_Match=tag) for number, tag in enumerate(tags)],
        }
        inside = {name: (wsgi(app, *each), count) for name, each in requests.items()}
        inside["bare"] = wsgi(bare(answer.read_bytes()), Sent("GET", "/constant")), count
        taken = in_turn(inside, rounds=15)
        store.close()
        environment = {"EBILL_DATABASE_URL": url, ANSWER: str(answer)}
        with (
            served("ebill.web:create_app", environment=environment) as ours,
            served("tests.bench.serving:bare_app", environment=environment) as constant,
        ):
            over = {name: (requests_over(ours, count, each), 1) for name, each in requests.items()}
            over["bare"] = requests_over(constant, count, [Sent("GET", "/constant")]), 1
            found = in_turn(over, rounds=15)
    print(
        f"\nGET of a client's schedule, 3 accounts, 12 months, {len(first.get_data()):,} bytes, of {CLIENTS:,} clients"
        " in SQLite, against a bare Flask route"
    )
    for where, each, calls in (("in process (WSGI)", taken, 1), ("granian, 8 connections", found, count)):
        for name in requests:
            ours_us, bare_us = each.median(name) / calls * 1e6, each.median("bare") / calls * 1e6
            print(
                f"  {where:24} {name:22} {ours_us:7.0f} us against {bare_us:7.0f} us:"
                f" {bare_us / ours_us:5.2f} of its throughput"
            )
            yield each.beside(name, "bare", f"{where}: {name}")
