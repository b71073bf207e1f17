"""A million bill accounts, put into a store by SQL alone: what a large insurer's looks like to one of its producers."""

import json
from collections.abc import Iterator, Sequence

from sqlalchemy import text

from ebill.store.engine import Store

CLIENTS = 500_000
"""Of two bill accounts each."""
GRANTED = 5_000
"""Those that the producer `pat` may see: every hundredth."""
STATES = ("PA", "PA", "DE", "WV", "NY")
RULES = (
    *({"generation": {"days_before_due": days}} for days in range(10, 40)),
    *({"grace": {"days": days}} for days in range(31, 61)),
)
"""What every tenth client has one of; every fiftieth has a fixed date."""
PAID = {"COB": ("'cobra'", 3), "MED": ("NULL", 2)}
"""The accounts: their product, and of how many one has paid for August."""


def crowd(store: Store, clients: int = CLIENTS, granted: int = GRANTED) -> None:
    """Fill an empty store. Whatever differs between clients differs between those of the producer, too."""
    every = clients // granted
    if store.is_sqlite:
        numbers = "WITH RECURSIVE numbers(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {})"
        client, at = "'C' || substr('000000' || n, -6)", "'2026-01-05T12:00:00.000000Z'"
    else:
        numbers = "WITH numbers(n) AS (SELECT * FROM generate_series(0, {} - 1))"
        client, at = "'C' || lpad(n::text, 6, '0')", "TIMESTAMPTZ '2026-01-05T12:00:00Z'"
    with store.engine.connect().execution_options(ebill_writing=True) as connection, connection.begin():
        if not store.is_sqlite:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        for table, columns, condition in _rows(client, f"n / {every}", at, f"n % {every} = 0"):
            count = clients if "n" in condition else 1
            insert = (
                f"INSERT INTO {table} ({', '.join(columns)}) {numbers.format(count)} "  # noqa: S608  # our own words
                f"SELECT {', '.join(columns.values())} FROM numbers WHERE {condition}"
            )
            connection.execute(text(insert))
    if not store.is_sqlite:
        with store.engine.connect().execution_options(ebill_writing=True) as connection, connection.begin():
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("ANALYZE")


def _rows(client: str, number: str, at: str, is_granted: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Give each table, its columns as SQL says them, and of which clients (`n`) it has rows."""
    once, every = "1 = 1", "n = n"
    recorded = {"recorded_by": "'x'", "recorded_at": at}
    which = f"{number} / 10 % {len(RULES)}"
    of_client = {"client_id": client, **recorded}
    entered = {**of_client, "retroactive": "0", "reason": "'x'"}
    yield "team", {"team_id": "'north'", "name": "'North'"}, once
    user = {"user_id": "'pat'", "folded": "'pat'", "name": "'Pat'", "role": "'producer'", "state": "'PA'"}
    yield "user_account", {**user, "created_at": at, "version": "1"}, once
    yield "entitlement", {"user_id": "'pat'", "entitlement": "'client_administration'"}, once
    head = {"client_id": client, "version": "1", "team_id": "'north'"}
    yield "client", {**head, "folded": f"lower({client})"}, every
    settings = {
        "name": "'Client number ' || n",
        "state": _chosen(f"{number} % {len(STATES)}", STATES),
        "timezone": f"CASE WHEN {number} % 101 = 0 THEN 'America/Chicago' END",
        "skip_coverage_months": f"CASE WHEN {number} % 97 = 0 THEN '[7,8]' END",
    }
    yield "client_version", {**head, **recorded, **settings}, every
    yield "client_grant", {"user_id": "'pat'", "client_id": client, "granted_by": "'x'", "granted_at": at}, is_granted
    rule = {
        "since": "'2026-01'",
        "kind": _chosen(which, [next(iter(rule)) for rule in RULES]),
        "rule": _chosen(which, [json.dumps(rule) for rule in RULES]),
    }
    yield "rule", {**entered, **rule, "cite": "'x'", "assumed": "0"}, f"{number} % 10 = 0"
    fixed = {"coverage_month": "'2026-09'", "due_date": "'2026-09-04'", "withdrawn": "0"}
    yield "exception", {**entered, **fixed}, f"{number} % 50 = 1"
    for code, (product, paid) in PAID.items():
        account = {"client_id": client, "account_id": f"'{code}'"}
        yield "bill_account", {**account, "folded": f"lower('{code}')", "version": "1"}, every
        more = {"version": "1", "kind": "'x'", "name": f"'Account {code}'", "product": product}
        yield "bill_account_version", {**account, **recorded, **more}, every
        notice = {
            "payment_id": f"'{code}' || n",
            "coverage_month": "'2026-08'",
            "paid_at": f"'2026-07-2' || ({number} % 10)",
            "withdrawn": "0",
        }
        yield "payment", {**account, **recorded, **notice}, f"{number} % {paid} = 0"


def _chosen(index: str, values: Sequence[str]) -> str:
    """Say in SQL which of some texts an index stands for."""
    return f"CASE {index} {' '.join(f'WHEN {n} THEN {value!r}' for n, value in enumerate(values))} END"
