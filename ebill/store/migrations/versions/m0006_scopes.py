"""Scopes of tokens: for reading alone, or for some of the clients that its user sees."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ebill.store.tables import TEXT

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the flags, which the tokens there are do not have, and the table."""
    for flag in ("read_only", "some_clients"):
        check = sa.CheckConstraint(f"{flag} IN (0, 1)", name=op.f(f"ck_token_{flag}"))
        op.add_column("token", sa.Column(flag, sa.Integer(), check, server_default=sa.text("0"), nullable=False))
    op.create_table(
        "token_client",
        sa.Column("token_id", TEXT, nullable=False),
        sa.Column("client_id", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["client.client_id"], name=op.f("fk_token_client_client_id")),
        sa.ForeignKeyConstraint(["token_id"], ["token.token_id"], name=op.f("fk_token_client_token_id")),
        sa.PrimaryKeyConstraint("token_id", "client_id", name=op.f("pk_token_client")),
        sqlite_strict=True,
    )
