"""A producer's home with 5,000 clients over HTTP: the first byte, and all that a browser is sent for the first look."""

from __future__ import annotations

import http.client
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ebill import access, bookfile, demo
from ebill.store import grants, many, sessions, users
from ebill.store.audit import By
from ebill.store.engine import Store
from tests.bench.measuring import Ratio, in_turn
from tests.browsing import serving
from tests.stores import QUICK

CLIENTS = 5_000
BROWSER = {"Accept": "text/html", "Accept-Encoding": "gzip", "Sec-Fetch-Site": "none"}


def home() -> Iterator[Ratio]:
    """The first byte of the home page, asked again and after a change, against fetching the account rows alone."""
    with tempfile.TemporaryDirectory(dir=QUICK) as folder:
        file = Path(folder) / "ebill.db"
        store, now = Store(f"sqlite:///{file}"), datetime.now(UTC)
        store.upgrade()
        filled = demo.fill(store, bookfile.load(bookfile.path()).book, CLIENTS, now)
        with store.writing(By("setup", now)) as write:
            for number in range(1, CLIENTS + 1):
                grants.grant(write.connection, demo.PRODUCER, f"C{number:05}", "setup", now)
            cookie = sessions.new_session(write.connection, demo.PRODUCER, now)
            write.audit("setup")
        with store.reading() as connection:
            user = users.user(connection, demo.PRODUCER)
        if user is None:
            raise LookupError(demo.PRODUCER)
        whose = many.Whose(partial(access.among, user))

        def fetch() -> int:
            with store.reading() as connection:
                return sum(map(len, many.accounts_of(connection, whose)))

        def change() -> None:
            with store.writing(By("setup", datetime.now(UTC))) as write:
                write.audit("setup")

        with serving(file) as url:
            asking = http.client.HTTPConnection(url.removeprefix("http://"))
            headers = {**BROWSER, "Cookie": f"sid={cookie}"}

            def first_byte(path: str = "/home") -> bytes:
                asking.request("GET", path, headers=headers)
                return asking.getresponse().read()

            def after_a_change() -> None:
                first_byte()

            sent = {path: len(first_byte(path)) for path in ("/home", "/static/pages.css", "/static/htmx.min.js")}
            print(f"\n{CLIENTS:,} clients, {filled.accounts:,} bill accounts; sent packed, in bytes: {sent}")
            taken = in_turn(
                {
                    "account rows alone": (fetch, 1),
                    "(a change)": (change, 1),
                    "home after a change": (after_a_change, 1),
                    "home asked again": (first_byte, 5),
                },
                rounds=9,
            )
        for what in taken:
            if not re.match(r"\(", what):
                print(f"  {what:20} {taken.median(what) * 1e3:7.1f} ms")
        for what in ("home asked again", "home after a change"):
            yield taken.beside(what, "account rows alone", f"{what} / account rows alone")
        store.close()
