"""How Alembic runs our migrations: all that are due in one transaction, alone among writers and upgraders."""

from alembic import context

import ebill.store.feeds
import ebill.store.payments
import ebill.store.reminders  # noqa: F401  # each module adds its tables to those there are
from ebill.store.engine import take_turn
from ebill.store.tables import metadata

engine = context.config.attributes["engine"]
with engine.connect().execution_options(ebill_writing=True) as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        take_turn(connection)
        context.run_migrations()
