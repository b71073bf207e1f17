"""The audit tells the truth: replayed, it gives what is stored; what is altered shows; the clock may be wrong.

What it cannot give back, on purpose: passwords, the secrets of tokens and feeds, names of tokens, and the reasons and
targets of reminders, of which it keeps that they changed; and what a file imported, of which it keeps each record.
"""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from ebill.service import clients as service
from ebill.service import grants as grants_service
from ebill.service import payments as payment_service
from ebill.service import users as users_service
from ebill.store import audit, clients, grants, payments, users
from ebill.store.audit import Last
from ebill.store.engine import Store
from ebill.store.tables import APPEND_ONLY
from ebill.store.tables import audit as rows
from ebill.store.tables import grants as grants_table
from ebill.web import signed
from tests.trust.goals import Goal, Run, require
from tests.world import Door, door

State = dict[str, Any]
"""What is there, as plain data, by what it is and whose."""
CLIENTS, ACCOUNTS, USERS, TEAMS = ("C-1", "C-2", "C-3"), ("MAIN", "COBRA"), ("una-u", "vic-v"), ("east", "west")
STATES = ("PA", "DE", "NY")


def history(opened: Door, count: int, draw: random.Random) -> int:
    """Make changes at random, as an administrator; gives how many were made."""
    versions: dict[str, int] = {}
    made = 0

    def put(path: str, body: Any) -> bool:
        condition = {"If-Match": f'"{versions[path]}"'} if path in versions else {"If-None-Match": "*"}
        answer = opened.ask("admin", "PUT", path, body, condition)
        if answer.status_code in {200, 201}:
            versions[path] = int(answer.headers["ETag"].strip('"'))
        return answer.status_code < 300

    for number in range(count):
        client_id, account_id = draw.choice(CLIENTS), draw.choice(ACCOUNTS)
        client, account = f"/v1/clients/{client_id}", f"/v1/clients/{client_id}/bill-accounts/{account_id}"
        user_id, team_id = draw.choice(USERS), draw.choice(TEAMS)
        key = {"Idempotency-Key": f"change {number}"}
        month = f"{draw.randrange(2090, 2095)}-{draw.randrange(1, 13):02}"
        rule = {"since": month, "generation": {"day_of_month": draw.randrange(5, 15)}, "cite": f"letter {number}"}
        exception = {"coverage_month": month, "due_date": f"{month}-02", "reason": f"reason {number}"}
        paid = {"coverage_month": f"2024-0{draw.randrange(1, 7)}", "paid_at": "2024-07-01"}
        user = {"name": f"User {number}", "role": "producer", "state": draw.choice(STATES)}
        changes: list[Callable[[], Any]] = [
            lambda: put(client, {"name": f"Client {number}", "team_id": "north", "state": draw.choice(STATES)}),  # noqa: B023
            lambda: put(account, {"name": f"Account {number}", "kind": "site"}),  # noqa: B023
            lambda: opened.ask("admin", "POST", f"{client}/rules", rule, key).status_code == 201,  # noqa: B023
            lambda: opened.ask("admin", "POST", f"{account}/exceptions", exception, key).status_code == 201,  # noqa: B023
            lambda: opened.ask("admin", "POST", f"{account}/payments", paid, key).status_code == 201,  # noqa: B023
            lambda: put(f"/v1/users/{user_id}", user),  # noqa: B023
            lambda: opened.ask("admin", "PUT", f"/v1/teams/{team_id}", {"name": f"T {number}"}).status_code < 300,  # noqa: B023
            lambda: opened.ask("admin", "PUT", f"/v1/users/{user_id}/grants/{client_id}").status_code < 300,  # noqa: B023
            lambda: opened.ask("admin", "DELETE", f"/v1/users/{user_id}/grants/{client_id}").status_code < 300,  # noqa: B023
        ]
        made += bool(draw.choice(changes)())
    return made


def replayed(connection: Connection) -> State:
    """Rebuild from the audit alone what was made of the history's clients, accounts, users, teams and grants."""
    state: State = {}
    of: dict[str, Callable[[Any], str]] = {
        "put_client": lambda row: f"client {row.client_id}",
        "put_bill_account": lambda row: f"account {row.client_id} {row.account_id}",
        "put_user": lambda row: f"user {row.subject}",
        "put_team": lambda row: f"team {row.subject}",
    }
    for row in connection.execute(select(rows).order_by(rows.c.sequence)):
        after = None if row.after is None else json.loads(row.after)
        if row.action in of:
            state[of[row.action](row)] = after
        elif row.action in {"add_rule", "add_exception"}:
            state.setdefault(f"entries {row.client_id} {row.account_id}", []).append(after)
        elif row.action.endswith("_payment"):
            state.setdefault(f"payments {row.client_id} {row.account_id}", []).append(after)
        elif row.action == "grant":
            state[f"grant {row.subject} {row.client_id}"] = row.actor
        elif row.action == "withdraw":
            del state[f"grant {row.subject} {row.client_id}"]
    return {key: value for key, value in state.items() if _is_ours(key)}


def stored(connection: Connection) -> State:
    """Give the same as it is stored."""
    state: State = {}
    for client_id in CLIENTS:
        dossier = clients.dossier(connection, client_id)
        if dossier is None:
            continue
        state[f"client {client_id}"] = clients.as_data(dossier.client)
        for account in dossier.accounts:
            state[f"account {client_id} {account.account_id}"] = clients.as_data(account)
            for notice in payments.of_account(connection, client_id, account.account_id):
                key = f"payments {client_id} {account.account_id}"
                state.setdefault(key, []).append(payment_service._plain(notice))
        entries = sorted((*dossier.rules, *dossier.exceptions), key=lambda entry: (entry.recorded_at, entry.sequence))
        for entry in entries:
            key = f"entries {client_id} {entry.account_id}"
            state.setdefault(key, []).append(service.entry_as_data(entry))
    for user_id in USERS:
        if user := users.user(connection, user_id):
            state[f"user {user_id}"] = users_service.user_as_data(user)
    names = users.team_names(connection)
    state |= {f"team {team_id}": {"name": names[team_id]} for team_id in TEAMS if team_id in names}
    for row in connection.execute(select(grants_table)):
        state[f"grant {row.user_id} {row.client_id}"] = row.granted_by
    plain: State = json.loads(json.dumps(state, default=_as_text))
    return {key: value for key, value in plain.items() if _is_ours(key)}


def _as_text(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _is_ours(key: str) -> bool:
    return any(word in {*CLIENTS, *USERS, *TEAMS} for word in key.split(" "))


def told(run: Run) -> str:
    """Replay the audit of a history, try to change what may not be changed, and then tamper with it."""
    draw = random.Random(0)  # noqa: S311  # no secret
    store = Store(run.store)
    try:
        opened = door(store)
        run.say("a history")
        made = history(opened, run.pick(60, 1500), draw)
        require(made > run.pick(15, 400), f"only {made} changes were made")
        with store.reading() as connection:
            from_audit, there = replayed(connection), stored(connection)
            last = audit.last(connection).sequence
            breaks = list(audit.breaks(connection))
        odd = sorted(key for key in from_audit.keys() | there.keys() if from_audit.get(key) != there.get(key))
        require(not odd, f"replayed otherwise: {[(key, from_audit.get(key), there.get(key)) for key in odd[:1]]}")
        require(not breaks, f"the chain breaks at {breaks[:3]}")
        refused = _refused(store)
        tampered = run.pick(3, 60)
        for number in range(tampered):
            run.say(f"row {number + 1} of {tampered}, tampered with")
            _tamper(store, draw.randrange(1, last + 1), draw)
    finally:
        store.close()
    return (
        f"{len(there)} things rebuilt from the audit of {made:,} changes, as they are stored; {refused} attempts to "
        f"change or remove a row refused by the database; {tampered} of {tampered} rows tampered with found"
    )


def _refused(store: Store) -> int:
    """Try to change and to remove rows that only ever are added."""
    tries = 0
    for table in APPEND_ONLY:
        name = next(iter(table.columns)).name
        for statement in (f"UPDATE {table.name} SET {name} = {name}", f"DELETE FROM {table.name}"):  # noqa: S608  # our own words
            with store.reading() as connection:
                if connection.execute(select(table).limit(1)).first() is None:
                    continue
            require(not _goes_through(store, statement), f"the database let through: {statement}")
            tries += 1
    return tries


def _goes_through(store: Store, statement: str) -> bool:
    with store.engine.connect().execution_options(ebill_writing=True) as connection:
        transaction = connection.begin()
        try:
            connection.execute(text(statement))
        except DBAPIError:
            return False
        finally:
            transaction.rollback()
    return True


def _tamper(store: Store, sequence: int, draw: random.Random) -> None:
    """Alter one fact of one row as somebody would who owns the database, see the chain break there, and undo it."""
    column = draw.choice(["actor", "action", "subject", "client_id", "before", "after", "reason"])
    with store.engine.connect().execution_options(ebill_writing=True) as connection:
        transaction = connection.begin()
        unguarded(connection)
        statement = f"UPDATE audit SET {column} = coalesce({column}, '') || ' ' WHERE sequence = {sequence}"  # noqa: S608  # our own words
        connection.execute(text(statement))
        breaks = list(audit.breaks(connection))
        transaction.rollback()
    require(breaks == [sequence], f"{column} of row {sequence} was altered, and the chain breaks at {breaks}")


def unguarded(connection: Connection) -> None:
    """Drop what keeps the audit from being changed."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP TRIGGER audit_no_change ON audit"))
        return
    for verb in ("update", "delete", "insert"):
        connection.execute(text(f"DROP TRIGGER audit_no_{verb}"))


@contextmanager
def no_trigger() -> Iterator[None]:
    """Plant that a trigger is gone."""

    def refused(store: Store) -> int:
        with store.engine.connect().execution_options(ebill_writing=True) as connection, connection.begin():
            unguarded(connection)
        return right(store)

    right = _refused
    with patch.dict(globals(), _refused=refused):
        yield


@contextmanager
def silent() -> Iterator[None]:
    """Plant that what is granted is not audited, but for a row that says nothing."""

    def grant(write: Any, by: Any, user_id: str, client_id: str) -> None:
        grants.grant(write.connection, user_id, client_id, by.user_id, write.at)
        write.audit("nothing")

    with patch.object(grants_service, "grant", grant):
        yield


@contextmanager
def not_hashed() -> Iterator[None]:
    """Plant that a row's hash is of the hash before it alone."""
    with patch.object(audit, "_hash", lambda row: (row["previous_hash"] + b"x")[-32:]):
        yield


def jumped(run: Run) -> str:
    """Have the clock jump, forwards and back by an hour, between changes: their order, and what is known of them."""
    draw = random.Random(0)  # noqa: S311  # no secret
    store = Store(run.store)
    clock = {"now": datetime.now(UTC)}
    count = run.pick(20, 300)
    path = "/v1/clients/1000-ACME"
    try:
        opened = door(store)

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return clock["now"].astimezone(tz)

        with patch.object(signed, "datetime", Clock), patch.object(signed, "clock", lambda: clock["now"]):
            for number in range(count):
                run.say(f"jump {number + 1} of {count}")
                clock["now"] += timedelta(seconds=draw.choice([-3600, -1, -0.001, 0, 0.001, 1, 600]))
                rule = {"since": "2090-01", "generation": {"day_of_month": 9}, "cite": f"letter {number}"}
                sent = {"Idempotency-Key": f"jump {number}"}
                answer = opened.ask("admin", "POST", f"{path}/rules", rule, sent)
                require(answer.status_code == 201, f"with the clock at {clock['now']}: {answer.status_code}")
                again = opened.ask("admin", "POST", f"{path}/rules", rule, sent)
                require(again.get_data() == answer.get_data(), "the clock jumped, and a key was forgotten")
        with store.reading() as connection:
            found = connection.execute(select(rows.c.sequence, rows.c.at).order_by(rows.c.sequence)).all()
            breaks = list(audit.breaks(connection))
            dossier = clients.dossier(connection, "1000-ACME")
        require([row.sequence for row in found] == list(range(1, len(found) + 1)), "the audit has a gap")
        back = [str(after.at) for before, after in pairwise(found) if after.at < before.at]
        require(not back, f"the audit goes back in time, at {back[:3]}")
        require(not breaks, f"the chain breaks at {breaks[:3]}")
        cites = [rule.cite for rule in sorted(dossier.rules, key=lambda rule: str(rule.recorded_at))] if dossier else []
        require([cite for cite in cites if cite.startswith("letter")] == [f"letter {n}" for n in range(count)],
                "what was entered is not in the order in which it was")  # fmt: skip
    finally:
        store.close()
    return f"{count} changes while the clock jumped to and fro by up to an hour: in order, chained, and none made twice"


@contextmanager
def by_the_clock() -> Iterator[None]:
    """Plant that a change is dated by the clock alone."""
    right = audit.last
    with patch.object(audit, "last", lambda connection: Last(*right(connection)[:2], None)):
        yield


GOALS = [
    Goal(
        id="G17",
        name="The audit",
        rule="replayed it gives what is stored; the chain breaks at an altered row; the database refuses to alter one",
        show=told,
        faults={
            "a trigger is dropped": no_trigger,
            "a change is not told": silent,
            "a row is not hashed": not_hashed,
        },
        stores=True,
    ),
    Goal(
        id="G17b",
        name="A clock that jumps",
        rule="the audit is in the order of what was done, whatever the clock says, and nothing is done twice",
        show=jumped,
        faults={"a change is dated by the clock alone": by_the_clock},
        stores=True,
    ),
]
