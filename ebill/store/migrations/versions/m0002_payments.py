"""Notices of payments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ebill.store.migrations.append_only import refuse_changes
from ebill.store.tables import TEXT, Instant

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "payment",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("payment_id", TEXT, nullable=False),
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("coverage_month", TEXT, nullable=False),
        sa.Column("paid_at", TEXT, nullable=True),
        sa.Column("replaces", TEXT, nullable=True),
        sa.Column("withdrawn", sa.Integer(), nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("recorded_by", TEXT, nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.CheckConstraint("withdrawn IN (0, 1)", name=op.f("ck_payment_withdrawn")),
        sa.CheckConstraint("(withdrawn = 1) = (paid_at IS NULL)", name=op.f("ck_payment_paid_at")),
        sa.CheckConstraint("withdrawn = 0 OR replaces IS NOT NULL", name=op.f("ck_payment_replaces")),
        sa.ForeignKeyConstraint(
            ["client_id", "account_id"],
            ["bill_account.client_id", "bill_account.account_id"],
            name=op.f("fk_payment_client_id_account_id"),
        ),
        sa.ForeignKeyConstraint(["replaces"], ["payment.payment_id"], name=op.f("fk_payment_replaces")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_payment")),
        sa.UniqueConstraint("payment_id", name=op.f("uq_payment_payment_id")),
        sa.UniqueConstraint("replaces", name=op.f("uq_payment_replaces")),
        sqlite_strict=True,
    )
    op.create_index("ix_payment_of", "payment", ["client_id", "coverage_month", "account_id"], unique=False)
    op.create_index("ix_payment_paid_at", "payment", ["client_id", "paid_at"], unique=False)
    refuse_changes("payment", ("sequence",), ("payment_id",), ("replaces",))
