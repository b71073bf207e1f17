"""Until when a key counts; and the key that seals is another from now on than the one that uids are made of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ebill.store.tables import Instant

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column, and let the key there is be both, so that all that it sealed still opens."""
    op.add_column("secret", sa.Column("until", Instant(), nullable=True))
    op.execute("INSERT INTO secret (name, value) SELECT 'seal', value FROM secret WHERE name = 'cursors'")
