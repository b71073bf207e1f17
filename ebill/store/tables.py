"""The tables, once for SQLite and PostgreSQL.

Text is compared as bytes, months are `YYYY-MM` text (which sorts as it reads), instants are UTC to the microsecond.
SQLite's tables are STRICT: a column takes its own type and no other.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import TypeEngine

ROLES: Final = ("producer", "client_manager", "admin")
ENTITLEMENTS: Final = (
    "general_agency_administrator",
    "agency_reports",
    "client_administration",
    "renewals",
    "small_group_quotes",
)
DECISIONS: Final = ("pending", "granted", "declined")

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TEXT: Final = Text().with_variant(Text(collation="C"), "postgresql")
"""Text in the order of its bytes, which SQLite has anyway; PostgreSQL's own order depends on where it was set up."""


class Instant(TypeDecorator[datetime]):
    """An aware instant, kept in UTC. A naive one is refused: nobody knows what it means."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Take PostgreSQL's own type there; elsewhere text that sorts as time does."""
        own: TypeEngine[Any] = TIMESTAMP(timezone=True) if dialect.name == "postgresql" else Text()
        return dialect.type_descriptor(own)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write an instant."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read an instant."""
        if value is None or isinstance(value, datetime):
            return value.astimezone(UTC) if value else None
        return datetime.fromisoformat(value)


class Day(TypeDecorator[date]):
    """A calendar date, kept as the text `YYYY-MM-DD`."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Take text that sorts as time does, here as elsewhere."""
        return dialect.type_descriptor(Text(collation="C") if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: date | None, dialect: Dialect) -> str | None:
        """Write a date."""
        return None if value is None else value.isoformat()

    def process_result_value(self, value: str | None, dialect: Dialect) -> date | None:
        """Read a date."""
        return None if value is None else date.fromisoformat(value)


def _table(name: str, *parts: Any) -> Table:
    return Table(name, metadata, *parts, sqlite_strict=True)


def _one_of(column: str, *words: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(word) for word in words)})", name=column)


def _flag(name: str) -> tuple[Column[int], CheckConstraint]:
    return Column(name, Integer, nullable=False), CheckConstraint(f"{name} IN (0, 1)", name=name)


def _later_flag(table: str, name: str) -> Column[int]:
    """Give a flag that a table got once it had rows: its check is the column's, and the rows before have 0."""
    check = CheckConstraint(f"{name} IN (0, 1)", name=conv(f"ck_{table}_{name}"))
    return Column(name, Integer, check, nullable=False, server_default=text("0"))


def _number(name: str) -> Column[int]:
    """Give a key that counts up and is never used again."""
    return Column(name, Integer, primary_key=True, autoincrement=True)


books: Final = _table(
    "rule_book",
    _number("sequence"),
    Column("version", TEXT, nullable=False),
    Column("loaded_at", Instant, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

teams: Final = _table(
    "team",
    Column("team_id", TEXT, primary_key=True),
    Column("name", TEXT, nullable=False),
)

clients: Final = _table(
    "client",
    Column("client_id", TEXT, primary_key=True),
    Column("folded", TEXT, nullable=False, unique=True),
    Column("team_id", TEXT, ForeignKey("team.team_id"), nullable=False, index=True),
    Column("version", Integer, nullable=False),
)

_SETTINGS: Final = (
    ("name", TEXT, False),
    ("state", TEXT, True),
    ("product", TEXT, True),
    ("timezone", TEXT, True),
    ("first_coverage_month", TEXT, True),
    ("last_coverage_month", TEXT, True),
    ("skip_coverage_months", TEXT, True),
    ("recorded_by", TEXT, False),
    ("recorded_at", Instant, False),
)


def _settings() -> list[Column[Any]]:
    return [Column(name, kind, nullable=nullable) for name, kind, nullable in _SETTINGS]


client_versions: Final = _table(
    "client_version",
    Column("client_id", TEXT, ForeignKey("client.client_id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("team_id", TEXT, ForeignKey("team.team_id"), nullable=False),
    Column("bills_here_since", TEXT),
    *_settings(),
    PrimaryKeyConstraint("client_id", "version"),
)

accounts: Final = _table(
    "bill_account",
    Column("client_id", TEXT, ForeignKey("client.client_id"), nullable=False),
    Column("account_id", TEXT, nullable=False),
    Column("folded", TEXT, nullable=False),
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("client_id", "account_id"),
    UniqueConstraint("client_id", "folded"),
)

account_versions: Final = _table(
    "bill_account_version",
    Column("client_id", TEXT, nullable=False),
    Column("account_id", TEXT, nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", TEXT, nullable=False),
    *_settings(),
    PrimaryKeyConstraint("client_id", "account_id", "version"),
    ForeignKeyConstraint(["client_id", "account_id"], ["bill_account.client_id", "bill_account.account_id"]),
)


def _row_of_client(table: str) -> list[Any]:
    """Give the columns of what is entered for a client, or for one account of it (`account_id` not null)."""
    return [
        _number("sequence"),
        Column("client_id", TEXT, ForeignKey("client.client_id"), nullable=False),
        Column("account_id", TEXT),
        Column("recorded_by", TEXT, nullable=False),
        Column("recorded_at", Instant, nullable=False),
        ForeignKeyConstraint(["client_id", "account_id"], ["bill_account.client_id", "bill_account.account_id"]),
        Index(f"ix_{table}_of", "client_id", "account_id"),
    ]


rules: Final = _table(
    "rule",
    *_row_of_client("rule"),
    Column("since", TEXT, nullable=False),
    Column("kind", TEXT, nullable=False),
    Column("rule", TEXT, nullable=False),
    Column("cite", TEXT, nullable=False),
    *_flag("assumed"),
    *_flag("retroactive"),
    Column("reason", TEXT),
)

exceptions: Final = _table(
    "exception",
    *_row_of_client("exception"),
    Column("coverage_month", TEXT, nullable=False),
    Column("generation_date", Day),
    Column("due_date", Day),
    Column("grace_end_date", Day),
    *_flag("withdrawn"),
    *_flag("retroactive"),
    Column("reason", TEXT, nullable=False),
)

users: Final = _table(
    "user_account",
    Column("user_id", TEXT, primary_key=True),
    Column("folded", TEXT, nullable=False, unique=True),
    Column("name", TEXT, nullable=False),
    Column("role", TEXT, nullable=False),
    _one_of("role", *ROLES),
    Column("state", TEXT, nullable=False),
    Column("password", TEXT),
    Column("terms_accepted_at", Instant),
    Column("disabled_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("version", Integer, nullable=False),
    Column("first_password_until", Instant),
    Column("oidc_subject", TEXT),
    Index("ix_user_account_oidc_subject", "oidc_subject", unique=True),
)

entitlements: Final = _table(
    "entitlement",
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), nullable=False),
    Column("entitlement", TEXT, nullable=False),
    _one_of("entitlement", *ENTITLEMENTS),
    PrimaryKeyConstraint("user_id", "entitlement"),
)

memberships: Final = _table(
    "membership",
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), nullable=False),
    Column("team_id", TEXT, ForeignKey("team.team_id"), nullable=False),
    PrimaryKeyConstraint("user_id", "team_id"),
)

grants: Final = _table(
    "client_grant",
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), nullable=False),
    Column("client_id", TEXT, ForeignKey("client.client_id"), nullable=False),
    Column("granted_by", TEXT, nullable=False),
    Column("granted_at", Instant, nullable=False),
    PrimaryKeyConstraint("user_id", "client_id"),
    Index("ix_client_grant_client_id", "client_id"),
)

access_requests: Final = _table(
    "access_request",
    Column("request_id", TEXT, primary_key=True),
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), nullable=False, index=True),
    Column("requested_at", Instant, nullable=False),
    Column("reason", TEXT, nullable=False),
)

access_request_clients: Final = _table(
    "access_request_client",
    Column("request_id", TEXT, ForeignKey("access_request.request_id"), nullable=False),
    Column("client_id", TEXT, nullable=False),
    Column("decision", TEXT, nullable=False),
    _one_of("decision", *DECISIONS),
    Column("decided_by", TEXT),
    Column("decided_at", Instant),
    Column("reason", TEXT),
    PrimaryKeyConstraint("request_id", "client_id"),
    Index("ix_access_request_client_client_id", "client_id"),
)

tokens: Final = _table(
    "token",
    Column("token_id", TEXT, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), nullable=False, index=True),
    Column("name", TEXT, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("last_used_at", Instant),
    _later_flag("token", "read_only"),
    _later_flag("token", "some_clients"),
)

token_clients: Final = _table(
    "token_client",
    Column("token_id", TEXT, ForeignKey("token.token_id"), nullable=False),
    Column("client_id", TEXT, ForeignKey("client.client_id"), nullable=False),
    PrimaryKeyConstraint("token_id", "client_id"),
)

sessions: Final = _table(
    "session",
    Column("hash", LargeBinary, primary_key=True),
    Column("user_id", TEXT, ForeignKey("user_account.user_id"), nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("proved_at", Instant),
)

audit: Final = _table(
    "audit",
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("actor", TEXT, nullable=False),
    Column("token_id", TEXT),
    Column("request_id", TEXT),
    Column("action", TEXT, nullable=False),
    Column("client_id", TEXT),
    Column("account_id", TEXT),
    Column("subject", TEXT),
    Column("before", TEXT),
    Column("after", TEXT),
    Column("reason", TEXT),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index("ix_audit_client_id", "client_id", "sequence"),
    Index("ix_audit_actor", "actor", "sequence"),
    Index("ix_audit_action", "action", "sequence"),
    Index("ix_audit_at", "at"),
)

answers: Final = _table(
    "answer_once",
    Column("caller", TEXT, nullable=False),
    Column("route", TEXT, nullable=False),
    Column("idempotency_key", TEXT, nullable=False),
    Column("asked", LargeBinary, nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", TEXT, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("kept_at", Instant, nullable=False, index=True),
    PrimaryKeyConstraint("caller", "route", "idempotency_key"),
)

secrets: Final = _table(
    "secret",
    Column("name", TEXT, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("until", Instant),
)

APPEND_ONLY: Final = (audit, rules, exceptions, client_versions, account_versions, books)
"""Tables whose rows the database itself refuses to change or remove."""
