"""First passwords, which must be changed; sign-in by OpenID Connect; and the audit by who, what and when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ebill.store.tables import TEXT, Instant

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns and the indexes."""
    op.add_column("user_account", sa.Column("first_password_until", Instant(), nullable=True))
    op.add_column("user_account", sa.Column("oidc_subject", TEXT, nullable=True))
    op.create_index("ix_user_account_oidc_subject", "user_account", ["oidc_subject"], unique=True)
    op.create_index("ix_audit_actor", "audit", ["actor", "sequence"], unique=False)
    op.create_index("ix_audit_action", "audit", ["action", "sequence"], unique=False)
    op.create_index("ix_audit_at", "audit", ["at"], unique=False)
