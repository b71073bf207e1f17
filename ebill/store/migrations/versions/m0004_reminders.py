"""Reminders: what was chosen, where they go, which were made, and the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ebill.store.tables import TEXT, Day, Instant

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "reminder_choice",
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("lead_days", TEXT, nullable=False),
        sa.Column("names", sa.Integer(), nullable=False),
        sa.CheckConstraint("names IN (0, 1)", name=op.f("ck_reminder_choice_names")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_reminder_choice_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_reminder_choice")),
        sqlite_strict=True,
    )
    op.create_table(
        "reminder_target",
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("email", TEXT, nullable=True),
        sa.Column("webhook_url", TEXT, nullable=True),
        sa.Column("webhook_secret", TEXT, nullable=True),
        sa.Column("webhook_gone_at", Instant(), nullable=True),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.CheckConstraint(
            "(webhook_url IS NULL) = (webhook_secret IS NULL)", name=op.f("ck_reminder_target_webhook_secret")
        ),
        sa.CheckConstraint("email IS NOT NULL OR webhook_url IS NOT NULL", name=op.f("ck_reminder_target_email")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_reminder_target_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_reminder_target")),
        sqlite_strict=True,
    )
    op.create_table(
        "reminder",
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("channel", TEXT, nullable=False),
        sa.Column("day", Day(), nullable=False),
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("coverage_month", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("lead_days", sa.Integer(), nullable=False),
        sa.Column("message_id", TEXT, nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.CheckConstraint("channel IN ('email', 'webhook')", name=op.f("ck_reminder_channel")),
        sa.ForeignKeyConstraint(
            ["client_id", "account_id"],
            ["bill_account.client_id", "bill_account.account_id"],
            name=op.f("fk_reminder_client_id_account_id"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_reminder_user_id")),
        sa.PrimaryKeyConstraint(
            "user_id",
            "channel",
            "day",
            "client_id",
            "account_id",
            "coverage_month",
            "kind",
            "lead_days",
            name=op.f("pk_reminder"),
        ),
        sqlite_strict=True,
    )
    op.create_index("ix_reminder_message_id", "reminder", ["message_id"], unique=False)
    op.create_table(
        "outbox_message",
        sa.Column("message_id", TEXT, nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("channel", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("reminders", TEXT, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", Instant(), nullable=True),
        sa.Column("delivered_at", Instant(), nullable=True),
        sa.Column("given_up_at", Instant(), nullable=True),
        sa.Column("last_error", TEXT, nullable=True),
        sa.CheckConstraint("channel IN ('email', 'webhook')", name=op.f("ck_outbox_message_channel")),
        sa.CheckConstraint(
            "(next_attempt_at IS NULL) = (delivered_at IS NOT NULL OR given_up_at IS NOT NULL)",
            name=op.f("ck_outbox_message_next_attempt_at"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_outbox_message_user_id")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_outbox_message")),
        sqlite_strict=True,
    )
    op.create_index("ix_outbox_message_next_attempt_at", "outbox_message", ["next_attempt_at"], unique=False)
    op.create_index("ix_outbox_message_user_id", "outbox_message", ["user_id"], unique=False)
