"""Who changed what: a row a change, each chained to the one before."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, event, insert, select, text
from sqlalchemy.exc import IntegrityError

from ebill.store import audit, clients
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.tables import audit as rows
from tests.records import ACME, AT, BY, account, changing, client, furnish, rule

pytestmark = pytest.mark.anywhere

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def chained(store: Store, count: int = 5) -> None:
    """Make some changes."""
    for index in range(count):
        with store.writing(By("ada-admin", AT, f"token-{index}", f"request-{index}")) as write:
            write.audit("put_team", subject=f"team-{index}", after={"name": f"Team {index}"})


def breaks(store: Store) -> list[int]:
    with store.reading() as connection:
        return list(audit.breaks(connection))


def tamper(store: Store, *statements: str) -> None:
    """Change what may not be changed, as somebody would who owns the database."""
    with store.engine.connect().execution_options(ebill_writing=True) as connection, connection.begin():
        if store.is_sqlite:
            for verb in ("update", "delete", "insert"):
                connection.execute(text(f"DROP TRIGGER audit_no_{verb}"))
        else:
            connection.execute(text("DROP TRIGGER audit_no_change ON audit"))
        for statement in statements:
            connection.execute(text(statement))


def test_a_row_has_every_fact_of_its_change(store: Store) -> None:
    furnish(store)
    with store.writing(By("nora", AT + timedelta(hours=1), "token-1", "request-1")) as write:
        write.audit("put_client", client_id=ACME, account_id="main", subject="somebody", reason="café",
                    before={"b": 1, "a": None}, after=[AT, "\u2028"])  # fmt: skip
        written = write.at
    with store.reading() as connection:
        first, second = connection.execute(select(rows).order_by(rows.c.sequence)).mappings()
    assert {**second, "hash": b"", "previous_hash": b""} == {
        "sequence": 2,
        "at": written,
        "actor": "nora",
        "token_id": "token-1",
        "request_id": "request-1",
        "action": "put_client",
        "client_id": ACME,
        "account_id": "main",
        "subject": "somebody",
        "before": '{"a":null,"b":1}',
        "after": '["2026-01-05T12:00:00+00:00","\u2028"]',
        "reason": "café",
        "previous_hash": b"",
        "hash": b"",
    }
    assert second["previous_hash"] == first["hash"]
    assert (first["sequence"], first["previous_hash"]) == (1, audit.FIRST)


def test_a_change_of_many_has_a_row_for_each_in_their_order(store: Store) -> None:
    with store.writing(BY) as write:
        for index in range(3):
            write.audit("put_team", subject=f"team-{index}")
        assert write.audited == 3
    with store.reading() as connection:
        found = connection.execute(select(rows.c.sequence, rows.c.subject).order_by(rows.c.sequence)).all()
    assert found == [(1, "team-0"), (2, "team-1"), (3, "team-2")]
    assert breaks(store) == []


def test_a_fact_that_a_row_has_not_is_refused(store: Store) -> None:
    with pytest.raises(TypeError, match="an audit row has no customer, date"), store.writing(BY) as write:
        write.audit("put_client", customer="1", date="2")


def test_the_end_of_an_empty_chain_is_its_beginning(store: Store) -> None:
    with store.reading() as connection:
        assert audit.last(connection) == (0, bytes(32), None)
    assert breaks(store) == []


def test_a_chain_that_nobody_touched_holds(store: Store) -> None:
    chained(store)
    assert breaks(store) == []
    with store.reading() as connection:
        last = audit.last(connection)
        assert last.sequence == 5
        assert last.hash == connection.scalar(select(rows.c.hash).where(rows.c.sequence == 5))


def test_both_databases_make_the_same_chain(sqlite_url: str, postgresql_url: str) -> None:
    heads = []
    for url in (sqlite_url, postgresql_url):
        store = Store(url)
        chained(store)
        with store.reading() as connection:
            heads.append(audit.last(connection))
        store.close()
    assert heads[0] == heads[1]


TAMPERED = [
    ("UPDATE audit SET actor = 'somebody' WHERE sequence = 3", [3]),
    ("UPDATE audit SET at = '2026-01-05T12:00:00.000009Z' WHERE sequence = 3", [3]),
    ("UPDATE audit SET token_id = NULL WHERE sequence = 3", [3]),
    ("UPDATE audit SET request_id = 'request-2 ' WHERE sequence = 3", [3]),
    ("UPDATE audit SET action = 'put_user' WHERE sequence = 3", [3]),
    ("UPDATE audit SET client_id = '1000-ACME' WHERE sequence = 3", [3]),
    ("UPDATE audit SET account_id = '' WHERE sequence = 3", [3]),
    ("UPDATE audit SET subject = 'Team-2' WHERE sequence = 3", [3]),
    ("UPDATE audit SET before = '{}' WHERE sequence = 3", [3]),
    ("UPDATE audit SET after = NULL WHERE sequence = 3", [3]),
    ("UPDATE audit SET reason = 'none' WHERE sequence = 3", [3]),
    ("UPDATE audit SET subject = action, action = subject WHERE sequence = 3", [3]),
    ("UPDATE audit SET hash = previous_hash WHERE sequence = 3", [3, 4]),
    ("UPDATE audit SET previous_hash = hash WHERE sequence = 3", [3]),
    ("UPDATE audit SET actor = 'somebody' WHERE sequence = 1", [1]),
    ("UPDATE audit SET actor = 'somebody' WHERE sequence = 5", [5]),
    ("DELETE FROM audit WHERE sequence = 1", [2]),
    ("DELETE FROM audit WHERE sequence = 3", [4]),
    ("DELETE FROM audit WHERE sequence IN (2, 3)", [4]),
    ("UPDATE audit SET sequence = sequence + 5 WHERE sequence = 3", [4, 8]),
    ("UPDATE audit SET sequence = 0 WHERE sequence = 1", [0, 2]),
]


@pytest.mark.parametrize(("statement", "broken"), TAMPERED)
def test_the_chain_breaks_where_somebody_altered_a_row_or_took_one_out(
    store: Store, statement: str, broken: list[int]
) -> None:
    chained(store)
    tamper(store, statement)
    assert breaks(store) == broken


def test_every_column_of_a_row_is_covered_by_its_hash() -> None:
    altered = {column for statement, _ in TAMPERED for column in re.findall(r"(\w+) = [^,]+(?:,| WHERE)", statement)}
    assert altered == {column.name for column in rows.columns}


def test_two_rows_that_change_places_break_the_chain(store: Store) -> None:
    chained(store)
    tamper(
        store,
        "UPDATE audit SET sequence = 99 WHERE sequence = 2",
        "UPDATE audit SET sequence = 2 WHERE sequence = 3",
        "UPDATE audit SET sequence = 3 WHERE sequence = 99",
    )
    assert breaks(store) == [2, 3, 4]


@pytest.mark.parametrize("mended", [False, True], ids=["a row alone", "what the next row says of it, too"])
def test_a_forged_row_with_a_hash_of_its_own_breaks_the_chain_where_the_true_ones_go_on(
    store: Store, mended: bool
) -> None:
    chained(store)
    with store.reading() as connection:
        forged = [dict(row) for row in connection.execute(select(rows).order_by(rows.c.sequence)).mappings()][2:4]
    forged[0]["actor"] = "somebody"
    forged[0]["hash"] = audit._hash(forged[0])
    if mended:
        forged[1]["previous_hash"] = forged[0]["hash"]
    tamper(store, "DELETE FROM audit WHERE sequence IN (3, 4)")
    with store.engine.connect().execution_options(ebill_writing=True) as connection, connection.begin():
        connection.execute(insert(rows), forged)
    assert breaks(store) == [4]


def test_two_of_one_sequence_are_refused(store: Store) -> None:
    chained(store, 1)
    with store.reading() as connection:
        row = dict(connection.execute(select(rows)).mappings().one())
    with pytest.raises(IntegrityError), changing(store) as connection:
        connection.execute(insert(rows), row)


# Each kind of change has its audit in its own transaction


def put_client(connection: Connection) -> None:
    clients.put_client(connection, client(version=2), "nora", AT)


def put_account(connection: Connection) -> None:
    clients.put_account(connection, account(version=2), "nora", AT)


def add_rule(connection: Connection) -> None:
    clients.add_entries(connection, [rule()], "nora", AT)


def state(store: Store) -> list[Any]:
    """Give what is known of Acme, and the audit."""
    with store.reading() as connection:
        audited = connection.execute(select(rows).order_by(rows.c.sequence)).all()
        return [clients.dossier(connection, ACME), audited]


@pytest.mark.parametrize("change", [put_client, put_account, add_rule])
def test_a_change_whose_audit_fails_is_not_kept(store: Store, change: Callable[[Connection], None]) -> None:
    furnish(store)
    before = state(store)

    def fail(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("INSERT INTO audit"):
            raise ZeroDivisionError

    event.listen(store.engine, "before_cursor_execute", fail)
    with pytest.raises(ZeroDivisionError), changing(store) as connection:
        change(connection)
    event.remove(store.engine, "before_cursor_execute", fail)
    assert state(store) == before
    with changing(store) as connection:
        change(connection)
    after = state(store)
    assert after[0] != before[0]
    assert after[1][:-1] == before[1]


def test_data_of_an_audit_row_is_json_whose_keys_are_sorted(store: Store) -> None:
    with store.writing(BY) as write:
        write.audit("test", before={"b": {"d": 1, "c": 2}, "a": LONG_AGO}, after={})
    with store.reading() as connection:
        before, after = connection.execute(select(rows.c.before, rows.c.after)).one()
    assert before == '{"a":"2000-01-01T00:00:00+00:00","b":{"c":2,"d":1}}'
    assert orjson.loads(after) == {}
