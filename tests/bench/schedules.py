"""A client's schedule, asked with a token, beside bare Flask."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from ebill.store import clients
from ebill.store.audit import By
from ebill.store.clients import Account
from ebill.store.engine import Store
from ebill.web import create_app
from tests.bench.measuring import Ratio, in_turn
from tests.bench.serving import NOW, bare, wsgi
from tests.world import ACME, fill


def client_schedule() -> Iterator[Ratio]:
    """A client's twelve months, three accounts, the token checked, against a bare Flask route; both in process."""
    count, path = 200, f"/v1/clients/{ACME}/schedule?from=2026-08&months=12"
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/bench.db")
        app = create_app(store=store)
        world = fill(store)
        account = Account(client_id=ACME, account_id="DENTAL", version=1, kind="dental", name="Dental")
        with store.writing(By("bench", NOW)) as write:
            clients.put_account(write.connection, account, "bench", write.at)
            write.audit("bench", client_id=ACME)
        token = {"Authorization": f"Bearer {world.tokens['producer']}"}
        given = app.test_client().get(path, headers=token).get_data()
        ours = wsgi(app, "GET", path, headers=token)
        kept = app.extensions["ebill.signed"]

        def anew() -> None:
            kept.steady.forget()
            ours()

        taken = in_turn(
            {
                "asked before": (ours, count),
                "asked anew": (anew, count),
                "bare": (wsgi(bare(given), "POST", "/v1/calculate"), count),
            },
            rounds=15,
        )
        store.close()
    print("\nGET of a client's schedule, 3 accounts, 12 months, SQLite, in process, against a bare Flask route")
    for name in ("asked before", "asked anew"):
        ours_us, bare_us = taken.median(name) * 1e6, taken.median("bare") * 1e6
        print(f"  {name:24} {ours_us:7.0f} us against {bare_us:7.0f} us: {bare_us / ours_us:5.2f} of its throughput")
        yield taken.beside(name, "bare")
