"""Calendar feeds, and what each has published."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ebill.store.tables import TEXT, Day, Instant

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "feed",
        sa.Column("feed_id", TEXT, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("kinds", TEXT, nullable=True),
        sa.Column("state", TEXT, nullable=True),
        sa.Column("client_id", TEXT, nullable=True),
        sa.Column("product", TEXT, nullable=True),
        sa.Column("names", sa.Integer(), nullable=False),
        sa.Column("days_back", sa.Integer(), nullable=False),
        sa.Column("days_ahead", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("last_fetched_at", Instant(), nullable=True),
        sa.CheckConstraint("names IN (0, 1)", name=op.f("ck_feed_names")),
        sa.ForeignKeyConstraint(["client_id"], ["client.client_id"], name=op.f("fk_feed_client_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.user_id"], name=op.f("fk_feed_user_id")),
        sa.PrimaryKeyConstraint("feed_id", name=op.f("pk_feed")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_feed_user_id"), "feed", ["user_id"], unique=False)
    op.create_table(
        "feed_event",
        sa.Column("feed_id", TEXT, nullable=False),
        sa.Column("uid", sa.LargeBinary(), nullable=False),
        sa.Column("day", Day(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("cancelled_at", Instant(), nullable=True),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["feed_id"], ["feed.feed_id"], name=op.f("fk_feed_event_feed_id")),
        sa.PrimaryKeyConstraint("feed_id", "uid", name=op.f("pk_feed_event")),
        sqlite_strict=True,
    )
