"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ebill.store.migrations.append_only import refuse_changes
from ebill.store.tables import TEXT, Day, Instant

revision = "0001"
down_revision = None

APPEND_ONLY = {
    "audit": ("sequence",),
    "rule": ("sequence",),
    "exception": ("sequence",),
    "client_version": ("client_id", "version"),
    "bill_account_version": ("client_id", "account_id", "version"),
    "rule_book": ("sequence",),
}
"""Each with its key."""


def upgrade() -> None:
    """Make them, and have the database itself refuse to change what is only ever added to."""
    op.create_table(
        "answer_once",
        sa.Column("caller", TEXT, nullable=False),
        sa.Column("route", TEXT, nullable=False),
        sa.Column("idempotency_key", TEXT, nullable=False),
        sa.Column("asked", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("kept_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "route", "idempotency_key", name=op.f("pk_answer_once")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_answer_once_kept_at"), "answer_once", ["kept_at"], unique=False)
    op.create_table(
        "audit",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("token_id", TEXT, nullable=True),
        sa.Column("request_id", TEXT, nullable=True),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("client_id", TEXT, nullable=True),
        sa.Column("account_id", TEXT, nullable=True),
        sa.Column("subject", TEXT, nullable=True),
        sa.Column("before", TEXT, nullable=True),
        sa.Column("after", TEXT, nullable=True),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit")),
        sqlite_strict=True,
    )
    op.create_index("ix_audit_client_id", "audit", ["client_id", "sequence"], unique=False)
    op.create_table(
        "rule_book",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("loaded_at", Instant(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_rule_book")),
        sqlite_strict=True,
    )
    op.create_table(
        "secret",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secret")),
        sqlite_strict=True,
    )
    op.create_table(
        "team",
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_team")),
        sqlite_strict=True,
    )
    op.create_table(
        "user_account",
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("folded", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("password", TEXT, nullable=True),
        sa.Column("terms_accepted_at", Instant(), nullable=True),
        sa.Column("disabled_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("role IN ('producer', 'client_manager', 'admin')", name=op.f("ck_user_account_role")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("folded", name=op.f("uq_user_account_folded")),
        sqlite_strict=True,
    )
    op.create_table(
        "access_request",
        sa.Column("request_id", TEXT, nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("requested_at", Instant(), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_access_request_user_id")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_access_request")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_access_request_user_id"), "access_request", ["user_id"], unique=False)
    op.create_table(
        "client",
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("folded", TEXT, nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["team.team_id"], name=op.f("fk_client_team_id")),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_client")),
        sa.UniqueConstraint("folded", name=op.f("uq_client_folded")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_client_team_id"), "client", ["team_id"], unique=False)
    op.create_table(
        "entitlement",
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("entitlement", TEXT, nullable=False),
        sa.CheckConstraint(
            "entitlement IN ('general_agency_administrator', 'agency_reports', 'client_administration', 'renewals', "
            "'small_group_quotes')",
            name=op.f("ck_entitlement_entitlement"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_entitlement_user_id")),
        sa.PrimaryKeyConstraint("user_id", "entitlement", name=op.f("pk_entitlement")),
        sqlite_strict=True,
    )
    op.create_table(
        "membership",
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["team.team_id"], name=op.f("fk_membership_team_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_membership_user_id")),
        sa.PrimaryKeyConstraint("user_id", "team_id", name=op.f("pk_membership")),
        sqlite_strict=True,
    )
    op.create_table(
        "session",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_session_user_id")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_session")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_session_user_id"), "session", ["user_id"], unique=False)
    op.create_table(
        "token",
        sa.Column("token_id", TEXT, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_token_user_id")),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_token")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_token_user_id"), "token", ["user_id"], unique=False)
    op.create_table(
        "access_request_client",
        sa.Column("request_id", TEXT, nullable=False),
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("decision", TEXT, nullable=False),
        sa.Column("decided_by", TEXT, nullable=True),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("reason", TEXT, nullable=True),
        sa.CheckConstraint(
            "decision IN ('pending', 'granted', 'declined')", name=op.f("ck_access_request_client_decision")
        ),
        sa.ForeignKeyConstraint(
            ["request_id"], ["access_request.request_id"], name=op.f("fk_access_request_client_request_id")
        ),
        sa.PrimaryKeyConstraint("request_id", "client_id", name=op.f("pk_access_request_client")),
        sqlite_strict=True,
    )
    op.create_index("ix_access_request_client_client_id", "access_request_client", ["client_id"], unique=False)
    op.create_table(
        "bill_account",
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("folded", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["client.client_id"], name=op.f("fk_bill_account_client_id")),
        sa.PrimaryKeyConstraint("client_id", "account_id", name=op.f("pk_bill_account")),
        sa.UniqueConstraint("client_id", "folded", name=op.f("uq_bill_account_client_id_folded")),
        sqlite_strict=True,
    )
    op.create_table(
        "client_grant",
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("granted_by", TEXT, nullable=False),
        sa.Column("granted_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["client.client_id"], name=op.f("fk_client_grant_client_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_client_grant_user_id")),
        sa.PrimaryKeyConstraint("user_id", "client_id", name=op.f("pk_client_grant")),
        sqlite_strict=True,
    )
    op.create_index("ix_client_grant_client_id", "client_grant", ["client_id"], unique=False)
    op.create_table(
        "client_version",
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("bills_here_since", TEXT, nullable=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=True),
        sa.Column("product", TEXT, nullable=True),
        sa.Column("timezone", TEXT, nullable=True),
        sa.Column("first_coverage_month", TEXT, nullable=True),
        sa.Column("last_coverage_month", TEXT, nullable=True),
        sa.Column("skip_coverage_months", TEXT, nullable=True),
        sa.Column("recorded_by", TEXT, nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["client.client_id"], name=op.f("fk_client_version_client_id")),
        sa.ForeignKeyConstraint(["team_id"], ["team.team_id"], name=op.f("fk_client_version_team_id")),
        sa.PrimaryKeyConstraint("client_id", "version", name=op.f("pk_client_version")),
        sqlite_strict=True,
    )
    op.create_table(
        "bill_account_version",
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=True),
        sa.Column("product", TEXT, nullable=True),
        sa.Column("timezone", TEXT, nullable=True),
        sa.Column("first_coverage_month", TEXT, nullable=True),
        sa.Column("last_coverage_month", TEXT, nullable=True),
        sa.Column("skip_coverage_months", TEXT, nullable=True),
        sa.Column("recorded_by", TEXT, nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id", "account_id"],
            ["bill_account.client_id", "bill_account.account_id"],
            name=op.f("fk_bill_account_version_client_id_account_id"),
        ),
        sa.PrimaryKeyConstraint("client_id", "account_id", "version", name=op.f("pk_bill_account_version")),
        sqlite_strict=True,
    )
    op.create_table(
        "exception",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=True),
        sa.Column("recorded_by", TEXT, nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.Column("coverage_month", TEXT, nullable=False),
        sa.Column("generation_date", Day(), nullable=True),
        sa.Column("due_date", Day(), nullable=True),
        sa.Column("grace_end_date", Day(), nullable=True),
        sa.Column("withdrawn", sa.Integer(), nullable=False),
        sa.Column("retroactive", sa.Integer(), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.CheckConstraint("retroactive IN (0, 1)", name=op.f("ck_exception_retroactive")),
        sa.CheckConstraint("withdrawn IN (0, 1)", name=op.f("ck_exception_withdrawn")),
        sa.ForeignKeyConstraint(
            ["client_id", "account_id"],
            ["bill_account.client_id", "bill_account.account_id"],
            name=op.f("fk_exception_client_id_account_id"),
        ),
        sa.ForeignKeyConstraint(["client_id"], ["client.client_id"], name=op.f("fk_exception_client_id")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_exception")),
        sqlite_strict=True,
    )
    op.create_index("ix_exception_of", "exception", ["client_id", "account_id"], unique=False)
    op.create_table(
        "rule",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=True),
        sa.Column("recorded_by", TEXT, nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.Column("since", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("rule", TEXT, nullable=False),
        sa.Column("cite", TEXT, nullable=False),
        sa.Column("assumed", sa.Integer(), nullable=False),
        sa.Column("retroactive", sa.Integer(), nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.CheckConstraint("assumed IN (0, 1)", name=op.f("ck_rule_assumed")),
        sa.CheckConstraint("retroactive IN (0, 1)", name=op.f("ck_rule_retroactive")),
        sa.ForeignKeyConstraint(
            ["client_id", "account_id"],
            ["bill_account.client_id", "bill_account.account_id"],
            name=op.f("fk_rule_client_id_account_id"),
        ),
        sa.ForeignKeyConstraint(["client_id"], ["client.client_id"], name=op.f("fk_rule_client_id")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_rule")),
        sqlite_strict=True,
    )
    op.create_index("ix_rule_of", "rule", ["client_id", "account_id"], unique=False)
    for table, key in APPEND_ONLY.items():
        refuse_changes(table, key)
