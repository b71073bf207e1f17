"""What tests of the store put into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, event, select

from ebill.store import clients, users
from ebill.store.audit import By
from ebill.store.clients import Account, Client, ExceptionEntry, RuleEntry
from ebill.store.engine import Store, Writing
from ebill.store.tables import clients as client_rows
from ebill.store.users import User

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
BY = By("ada-admin", AT)
ACME, ZENITH = "1000-ACME", "2000-ZENITH"


def client(client_id: str = ACME, version: int = 1, **more: Any) -> Client:
    """Make a client of team north."""
    return Client(**{"client_id": client_id, "version": version, "team_id": "north", "name": "Acme", **more})


def account(account_id: str = "main", version: int = 1, **more: Any) -> Account:
    """Make a bill account of Acme."""
    return Account(**{"client_id": ACME, "account_id": account_id, "version": version, "kind": "medical",
                      "name": "Main", **more})  # fmt: skip


def rule(since: str = "2026-01", **more: Any) -> RuleEntry:
    """Make a rule of Acme, not kept yet."""
    return RuleEntry(**{"client_id": ACME, "account_id": None, "retroactive": False, "reason": None,
                        "since": since, "kind": "grace", "rule": '{"days":45}', "cite": "a test", "assumed": False,
                        **more})  # fmt: skip


def exception(coverage_month: str = "2026-03", **more: Any) -> ExceptionEntry:
    """Make an exception of Acme, not kept yet."""
    return ExceptionEntry(**{"client_id": ACME, "account_id": None, "retroactive": False, "reason": "a fair",
                             "coverage_month": coverage_month, **more})  # fmt: skip


def user(user_id: str = "pat-producer", role: str = "producer", **more: Any) -> User:
    """Make a user, not kept yet."""
    return User(**{"user_id": user_id, "name": "Somebody", "role": role, "state": "PA", "version": 1,
                   "entitlements": frozenset(), "teams": frozenset(), **more})  # fmt: skip


@contextmanager
def changing(store: Store, at: datetime = AT) -> Iterator[Connection]:
    """Change a store, with an audit row that says nothing."""
    with store.writing(By("ada-admin", at)) as write:
        yield write.connection
        write.audit("test")


def furnish(store: Store) -> None:
    """Put two teams into a store, with a client each, and Acme's bill account."""
    with changing(store) as connection:
        users.add_team(connection, "north", "North")
        users.add_team(connection, "south", "South")
        clients.put_client(connection, client(), "ada-admin", AT)
        clients.put_client(connection, client(ZENITH, team_id="south", name="Zenith"), "ada-admin", AT)
        clients.put_account(connection, account(), "ada-admin", AT)


def head(connection: Connection) -> int:
    """Give Acme's version."""
    version: int | None = connection.scalar(select(client_rows.c.version).where(client_rows.c.client_id == ACME))
    if version is None:
        raise LookupError(ACME)
    return version


def edit(write: Writing) -> int:
    """Make a change that touches many tables, and give Acme's version that it made."""
    version = head(write.connection) + 1
    clients.put_client(write.connection, client(version=version), write.by.actor, write.at)
    clients.put_account(write.connection, account(version=version), write.by.actor, write.at)
    clients.add_entries(write.connection, [rule()], write.by.actor, write.at)
    write.audit("edit", client_id=ACME, after={"version": version})
    return version


@contextmanager
def asked(store: Store) -> Iterator[list[str]]:
    """Note every statement that a store is asked meanwhile, but for those that begin a transaction."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA", "SET ")):
            found.append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    yield found
    event.remove(store.engine, "before_cursor_execute", note)
