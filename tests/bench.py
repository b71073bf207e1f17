"""How long things take, as ratios measured side by side: `make bench`.

Absolute times say more about the machine than about the code, so every figure stands beside what one would compare it
with, run in turn (A B C, A B C, ...) in one process or against one kind of server; the median of the rounds counts.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import resource
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from dateutil.relativedelta import relativedelta
from flask import Flask, Response
from werkzeug.test import EnvironBuilder

from ebill import access, bookfile, questions, service
from ebill.batch import pairs
from ebill.dates import DAY
from ebill.deadlines import Kind
from ebill.reading import read
from ebill.render.json import encode
from ebill.rulebook import RuleBook, Scope, entered
from ebill.rules import DayOfMonth, DaysBeforeDue, GraceDays, PayBy, Rule
from ebill.service import deadlines, feeds, imports
from ebill.service.books import book_effect, dossiers
from ebill.service.calendars import namespace
from ebill.store import clients, many, people
from ebill.store.audit import By
from ebill.store.clients import Account
from ebill.store.engine import Store
from ebill.store.feeds import Feed
from ebill.store.people import User
from tests import crowd
from tests.stores import QUICK, postgresql

ROWS = 1_000_000
LOOPED = 20_000
"""Rows given to the plain loop, whose time is scaled up: it is proportional to them."""
ROUNDS = 7
AT_ONCE = 8
NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
BODY = json.dumps({"state": "PA", "from": "2026-08", "months": 12}).encode()
OTHERS = [
    json.dumps({"state": state, "from": f"{year}-{month:02}", "months": 12}).encode()
    for state in ("PA", "DE", "WV", "NY")
    for year in range(2001, 2091)
    for month in range(1, 13)
]
"""More bodies than answers are kept, so that each is answered anew."""

STATES = ("PA", "DE", "WV", "NY")
ROOT = User("root", "Root", "admin", "PA", 1, frozenset(), frozenset())

Action = Callable[[], object]


def seconds(action: Action, times: int = 1) -> float:
    """Time an action, per call."""
    begin = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - begin) / times


def in_turn(actions: dict[str, tuple[Action, int]], rounds: int = ROUNDS) -> dict[str, float]:
    """Time actions in turn, each as often as said; the median per call of each."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 1):
        for name, (action, times) in actions.items():
            taken[name].append(seconds(action, times))
    return {name: statistics.median(values[1:]) for name, values in taken.items()}  # the first round warms up


def rule_sets(count: int) -> list[tuple[Rule, ...]]:
    """Make distinct rule sets: every generation day with every length of grace and of pay-by."""
    generations: list[Rule] = [DaysBeforeDue(days) for days in range(5, 55)]
    generations += [DayOfMonth(day) for day in range(1, 28)]
    sets: list[tuple[Rule, ...]] = [
        (generation, GraceDays(grace), PayBy(days))
        for grace in range(20, 60)
        for days in range(2, 5)
        for generation in generations
    ]
    return sets[:: len(sets) // count][:count]


def plain_loop(rules: list[tuple[Any, ...]], which: list[int], months: list[date], bank: set[date]) -> None:
    """Compute the same dates as one would without this library: `datetime`, `dateutil`, a set of holidays."""

    def generated(rule: Any, month: date) -> date:
        if isinstance(rule, DaysBeforeDue):
            return month - timedelta(days=rule.days_before_due)
        return month + relativedelta(months=-1, day=rule.day_of_month)

    answers = []
    for row, month in zip(which, months, strict=True):
        generation, grace, pay_by = rules[row]
        following = generated(generation, month + relativedelta(months=1))
        safe, left = following, 4
        while left:
            safe -= timedelta(days=1)
            left -= safe.weekday() < 5 and safe not in bank
        answers.append(
            (
                month,
                generated(generation, month),
                month + timedelta(days=grace.days),
                following,
                following - timedelta(days=pay_by.days_before_next_invoice),
                safe,
            )
        )


def fill(columns: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """Write six columns of days, which is the least that any answer must do."""
    written = []
    for column in columns:
        new = np.empty(len(column), DAY)
        new[:] = column
        written.append(new)
    return written


def many_rows(book: RuleBook, count: int) -> None:
    """Turn a million rows into all six dates."""
    sets = rule_sets(count)
    scopes = [Scope("PA", rows=entered(rules, "client", "bench")) for rules in sets]
    random = np.random.default_rng(1)
    which = random.integers(0, count, ROWS)
    months = np.datetime64("2026-01", "M") + random.integers(0, 24, ROWS)
    table = pairs.schedule(book, scopes, which, months)
    columns = list(table.columns.values())
    bank = {day for day, _ in book.calendar("XFED").closed_days(date(2025, 1, 1), date(2028, 12, 31))}
    looped = (sets, which[:LOOPED].tolist(), months[:LOOPED].astype(DAY).tolist(), bank)

    def fresh() -> object:
        book.forget()
        return pairs.schedule(book, scopes, which, months)

    taken = in_turn(
        {
            "tables built anew": (fresh, 1),
            "tables kept": (lambda: pairs.schedule(book, scopes, which, months), 1),
            "writing the columns": (lambda: fill(columns), 1),
            "plain datetime loop": (lambda: plain_loop(*looped), 1),
        },
        rounds=5,
    )
    loop = taken["plain datetime loop"] * ROWS / LOOPED
    print(f"\n{ROWS:,} rows, {count:,} distinct rule sets, six dates each")
    for name in ("tables built anew", "tables kept"):
        print(
            f"  {name:20} {taken[name] * 1e3:9.1f} ms   {loop / taken[name]:8.0f} x the plain loop"
            f"   {taken[name] / taken['writing the columns']:8.1f} x writing the columns"
        )
    print(f"  {'writing the columns':20} {taken['writing the columns'] * 1e3:9.1f} ms")
    print(f"  {'plain datetime loop':20} {loop * 1e3:9.1f} ms   (from {LOOPED:,} rows)")


def bare(answer: bytes) -> Flask:
    """Make a Flask application whose one route gives the same bytes from a constant."""
    app = Flask("bare")

    @app.post("/v1/calculate")
    def constant() -> Response:
        return Response(answer, content_type="application/json")

    @app.get("/")
    def empty() -> str:
        return ""

    return app


def bare_app() -> Flask:
    """Make the bare application for a server."""
    return bare(expected(bookfile.load(bookfile.path()).book))


def expected(book: RuleBook) -> bytes:
    """Give the answer to `BODY`."""
    return encode(service.calculate(book, questions.calculation(json.loads(BODY)), NOW))


def wsgi(app: Any, method: str, path: str, *bodies: bytes, headers: dict[str, str] | None = None) -> Action:
    """Make an action that calls an application as a server would, without a socket; the bodies come in turn."""
    environs = []
    for body in bodies or (b"",):
        builder = EnvironBuilder(
            path, method=method, data=body, content_type="application/json", headers=(headers or {}).items()
        )
        environs.append((builder.get_environ(), body))
    turns = itertools.cycle(environs)

    def call() -> None:
        statuses: list[str] = []
        environ, body = next(turns)
        fresh = dict(environ, **{"wsgi.input": io.BytesIO(body)})
        answer = app(fresh, lambda status, *_: statuses.append(status))
        b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        if not statuses[0].startswith("200"):
            raise RuntimeError(statuses[0])

    return call


@contextmanager
def served(target: str) -> Iterator[int]:
    """Serve an application on a free loopback port; ended by its id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--factory", "--blocking-threads", "1"]
    server = subprocess.Popen(
        [*command, "--no-access-log", "--log-level", "error", "--host", "127.0.0.1", "--port", str(port), target],
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parent.parent,
    )
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def requests_over(port: int, count: int, bodies: Sequence[bytes] = (BODY,)) -> Action:
    """Make an action that sends requests over kept connections, as many under way at once: the server never idles."""
    head = f"POST /v1/calculate HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    requests = itertools.cycle([f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies])
    connections = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(AT_ONCE)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send() -> None:
        for connection in connections:
            connection.sendall(next(requests))
        for sent in range(AT_ONCE, count + AT_ONCE):
            connection = connections[sent % AT_ONCE]
            receive(connection)
            if sent < count:
                connection.sendall(next(requests))

    return send


def receive(connection: socket.socket) -> None:
    """Read one answer, which must be a good one."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    top, _, body = received.partition(b"\r\n\r\n")
    if not top.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(top.decode())
    length = int(top.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)


def over_http(book: RuleBook) -> None:
    """(b) Twelve months over HTTP, against a bare Flask route that gives the same bytes."""
    from ebill.web import create_app

    count = 300
    with served("ebill.web:create_app") as ours, served("tests.bench:bare_app") as constant:
        taken = in_turn(
            {
                "asked before": (requests_over(ours, count), 1),
                "asked anew": (requests_over(ours, count, OTHERS), 1),
                "bare": (requests_over(constant, count), 1),
            },
            rounds=15,
        )
    inside = in_turn(
        {
            "asked before": (wsgi(create_app(), "POST", "/v1/calculate", BODY), count),
            "asked anew": (wsgi(create_app(), "POST", "/v1/calculate", *OTHERS), count),
            "bare": (wsgi(bare(expected(book)), "POST", "/v1/calculate", BODY), count),
        },
        rounds=15,
    )
    print("\nPOST /v1/calculate, 12 months, against a bare Flask route giving the same bytes from a constant")
    for name, found, calls in (("granian, 8 connections", taken, count), ("in process (WSGI)", inside, 1)):
        for asked in ("asked before", "asked anew"):
            ours_us, bare_us = (found[key] / calls * 1e6 for key in (asked, "bare"))
            print(
                f"  {name:24} {asked:14} {ours_us:7.0f} us against {bare_us:7.0f} us:"
                f" {bare_us / ours_us:5.2f} of its throughput"
            )


def one_month(book: RuleBook) -> None:
    """(c) One account, one month with its explanation, against one empty Flask request; both in process."""
    question = questions.calculation({"state": "PA", "coverage_month": "2026-08", "explain": True})
    app = bare(b"")
    client = app.test_client()
    taken = in_turn(
        {
            "ours": (lambda: service.calculate(book, question, NOW), 500),
            "ours as JSON": (lambda: encode(service.calculate(book, question, NOW)), 500),
            "empty WSGI call": (wsgi(app, "GET", "/"), 500),
            "empty test-client request": (lambda: client.get("/"), 200),
        },
        rounds=15,
    )
    print("\nOne account, one month with its explanation, in process, against one empty Flask request")
    for name, value in taken.items():
        print(f"  {name:26} {value * 1e6:7.1f} us")


def client_schedule() -> None:
    """(d) A client's twelve months, three accounts, the token checked, against a bare Flask route; both in process."""
    from ebill.store.engine import Store
    from ebill.web import create_app
    from tests.world import ACME, fill

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
        ours_us, bare_us = taken[name] * 1e6, taken["bare"] * 1e6
        print(f"  {name:24} {ours_us:7.0f} us against {bare_us:7.0f} us: {bare_us / ours_us:5.2f} of its throughput")


# Many clients in a store


def write_clients(file: Path, clients: int, accounts: int, ways: int = 200) -> int:
    """Write clients with so many accounts each, a third of them with one of `ways` rules; give how many rows."""
    random = np.random.default_rng(1)
    generations = [{"days_before_due": days} for days in range(10, 40)]
    generations += [{"day_of_month": day} for day in range(1, 21)]
    own = [(json.dumps({"generation": rule}), f"2026-{month:02}") for month in range(9, 13) for rule in generations][
        :ways
    ]
    columns = (
        "client_id",
        "account_id",
        "name",
        "team_id",
        "state",
        "kind",
        "first_coverage_month",
        "since",
        "rule",
        "cite",
    )
    count = 0
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, ("record", *columns))
        writer.writeheader()
        for number in range(clients):
            of = {"client_id": f"C{number:06}"}
            began = f"{random.integers(2015, 2026)}-{random.integers(1, 13):02}"
            client = {"name": f"Group number {number}", "team_id": "north", "state": random.choice(STATES)}
            rows = [{"record": "client", **client, "first_coverage_month": began}]
            for account in range(accounts):
                elsewhere = random.choice(("", "", "", "NY"))
                named = {"account_id": f"A{account}", "name": f"Account {account} of group {number}"}
                rows.append({"record": "bill_account", **named, "kind": "medical", "state": elsewhere})
            if number % 3 == 0:
                rule, since = own[random.integers(len(own))]
                rows.append({"record": "rule", "since": since, "rule": rule, "cite": "a letter"})
            writer.writerows({**row, **of} for row in rows)
            count += len(rows)
    return count


def new_store(folder: Path) -> Store:
    """Make a store with a team and somebody to import."""
    store = Store(f"sqlite:///{folder / 'bench.db'}")
    store.upgrade()
    with store.writing(By("bench", NOW)) as write:
        people.add_team(write.connection, "north", "Team North")
        people.add_user(write.connection, ROOT, NOW)
        write.audit("bench")
    return store


def import_file(store: Store, book: RuleBook, file: Path) -> None:
    """Import a file, and keep it."""
    with file.open(newline="", encoding="utf-8") as opened, store.writing(By("bench", NOW)) as write:
        imports.import_clients(write, book, ROOT, opened, dry_run=False)


def copy_file(file: Path, database: Path) -> None:
    """Do the least that an import must: read every cell, and keep it in one transaction."""
    with file.open(newline="", encoding="utf-8") as opened, closing(sqlite3.connect(database)) as connection:
        reader = csv.reader(opened)
        names = next(reader)
        connection.execute(f"CREATE TABLE row ({', '.join(names)})")
        places = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO row VALUES ({places})", reader)  # noqa: S608  # no input of anybody's
        connection.commit()


def previews(book: RuleBook) -> None:
    """(d) What a new rule book would move, of 10,000 accounts over 12 months."""
    old = bookfile.path().read_text("utf-8")
    rows = "".join(
        f'\n[[states.{state}.rules]]\nsince = "2026-10"\ngeneration = {{ day_of_month = 9 }}\ncite = "bench"\n'
        for state in STATES
    )
    new = read((old + rows).encode(), "new.toml").book
    print("\nWhat a new rule book moves, of 10,000 accounts over 12 months, with nothing kept from before")
    for ways in (12, 200):
        with tempfile.TemporaryDirectory() as folder:
            file, store = Path(folder, "clients.csv"), new_store(Path(folder))
            write_clients(file, 2_000, 5, ways)
            import_file(store, book, file)
            preview_of(store, book, new)
            store.close()


def preview_of(store: Store, book: RuleBook, new: RuleBook) -> None:
    """Tell what moves in a store."""
    month = np.datetime64("2026-09", "M")
    computed = 0

    def preview() -> object:
        nonlocal computed
        book.forget()
        new.forget()
        with store.reading() as connection:
            found = book_effect(connection, None, book, new, NOW, month, 12)
        computed = new._kept.cache_info().misses
        return found.as_data()

    def look_up() -> int:
        with store.reading() as connection:
            return sum(len(dossier.accounts) for dossier in dossiers(connection, None))

    found: Any = preview()
    taken = in_turn({"preview": (preview, 1), "look up": (look_up, 1)}, rounds=5)
    counts = found["counts"]
    print(
        f"  {counts['accounts_looked_at']:,} accounts, {computed} kinds of them: {counts['dates_moved']:,} dates move"
    )
    print(f"    {taken['preview']:5.2f} s in all; looking the accounts up and nothing else {taken['look up']:5.2f} s")


def import_of(accounts: int, of_each: int) -> None:
    """Import so many accounts; to be run in a process of its own, whose memory is then known."""
    book = bookfile.load(bookfile.path()).book
    with tempfile.TemporaryDirectory() as folder:
        file, store = Path(folder, "clients.csv"), new_store(Path(folder))
        rows = write_clients(file, accounts // of_each, of_each)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        wall, processor = seconds(lambda: import_file(store, book, file)), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        least = seconds(lambda: copy_file(file, Path(folder, "copy.db")))
        store.close()
    print(f"  {accounts:,} accounts, {of_each} a client, {rows:,} rows")
    print(
        f"    {wall:5.1f} s, of the processor {processor:5.1f} s; every cell read and kept unlooked at {least:5.1f} s"
    )
    print(f"    peak memory {peak} MB; before it began {before} MB")


def imports_of_many() -> None:
    """(e) 100,000 accounts from CSV into SQLite."""
    print("\nImport from CSV into an empty store on SQLite", flush=True)
    for of_each in (5, 1):
        command = f"from tests.bench import import_of; import_of(100_000, {of_each})"
        subprocess.run([sys.executable, "-c", command], check=True, cwd=Path(__file__).parent.parent)


def deadline_list(book: RuleBook) -> None:
    """A producer's first page of the next 14 days, against fetching the account rows that it is about."""
    with postgresql() as server, tempfile.TemporaryDirectory(dir=QUICK) as folder:
        for name, url in (("SQLite", f"sqlite:///{folder}/ebill.db"), ("PostgreSQL", server.format("postgres"))):
            store = Store(url)
            store.upgrade()
            crowd.crowd(store)
            first_page(name, store, book)
            feed_of_many(name, store, book)
            store.close()


def first_page(name: str, store: Store, book: RuleBook) -> None:
    """Time the first page of the deadline list on a store."""
    with store.reading() as connection:
        user = people.user(connection, "pat")
    if user is None:
        raise LookupError("pat")
    whose = many.Whose(partial(access.among, user))

    def fetch() -> int:
        with store.reading() as connection:
            return sum(map(len, many.accounts_of(connection, whose)))

    def page() -> Any:
        with store.reading() as connection:
            return deadlines.page(connection, book, user, {}, 50, None, bytes(32), NOW)

    total = sum(page()["counts"]["kind"].values())
    print(
        f"\n{name}: {fetch():,} bill accounts of {crowd.GRANTED:,} clients among {2 * crowd.CLIENTS:,}; "
        f"{total:,} deadlines in 14 days"
    )
    taken = in_turn({"account rows alone": (fetch, 1), "first page": (page, 1)}, rounds=15)
    for what, value in taken.items():
        print(f"  {what:20} {value * 1e3:7.1f} ms   {value / taken['account rows alone']:5.2f} x")


def feed_of_many(name: str, store: Store, book: RuleBook) -> None:
    """Time a calendar feed of some events, and of as many as it takes, and see what memory each needs."""
    few: frozenset[Kind] = frozenset({"due"})
    for kinds in (few, None):
        with store.reading() as connection:
            user = people.user(connection, "pat")
            if user is None:
                raise LookupError("pat")
            sought = deadlines.Sought(NOW.date(), NOW.date() + timedelta(days=40), kinds)
            begun = deadlines.begin(connection, book, user, sought)
        feed = Feed("f" * 16, "pat", "All", None, None, None, None, False, 0, 40, NOW, NOW + timedelta(days=99))
        fetch = feeds.Fetch(feed, begun, feeds.Edition((), NOW), namespace(bytes(32)), NOW)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        began = time.perf_counter()
        written = feeds.written(fetch, store.reading())
        wall = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        written.body.close()
        print(
            f"  a feed of {len(fetch.edition.changes.uids):,} events on {name}: {wall:5.2f} s, "
            f"{written.size / 1e6:4.1f} MB; peak memory {peak} MB, before {before} MB"
        )


def main() -> None:
    """Run all, or those that are named."""
    book = bookfile.load(bookfile.path()).book
    parts: dict[str, Action] = {
        "many_rows": lambda: many_rows(book, 60),
        "many_rule_sets": lambda: many_rows(book, 5_000),
        "over_http": lambda: over_http(book),
        "one_month": lambda: one_month(book),
        "client_schedule": client_schedule,
        "preview": lambda: previews(book),
        "import": imports_of_many,
        "deadline_list": lambda: deadline_list(book),
    }
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EBILL_DATABASE_URL"] = f"sqlite:///{folder}/ebill.db"
        for name in sys.argv[1:] or parts:
            parts[name]()


if __name__ == "__main__":
    main()
