"""When somebody gave their password within a session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ebill.store.tables import Instant

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column: in the sessions there are, nobody has yet."""
    op.add_column("session", sa.Column("proved_at", Instant(), nullable=True))
