"""What tests of migrations share: the releases there were, upgrades to each, and a schema as it is written down."""

from typing import Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from ebill.store import engine
from ebill.store.engine import Store

SCRIPTS = ScriptDirectory.from_config(engine._alembic())
REVISIONS = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]


def upgrade_to(store: Store, revision: str) -> None:
    config = engine._alembic()
    config.attributes["engine"] = store.engine
    command.upgrade(config, revision)


def tables(store: Store) -> set[str]:
    with store.reading() as connection:
        return set(inspect(connection).get_table_names())


def written(store: Store) -> Any:
    """Give all of a schema, as the database itself writes it down: tables, keys, checks, indexes, triggers."""
    with store.reading() as connection:
        if store.is_sqlite:
            rows = connection.execute(text("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
            return sorted((kind, name, sorted(sql.replace('"', "").replace(",", " , ").split()))
                          for kind, name, sql in rows)  # fmt: skip
        constraints = connection.execute(
            text(
                "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE connamespace = 'public'::regnamespace"
            )
        ).all()
        indexes = connection.execute(text("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'")).all()
        columns = connection.execute(
            text(
                "SELECT table_name, column_name, data_type, is_nullable, collation_name, column_default "
                "FROM information_schema.columns WHERE table_schema = 'public'"
            )
        ).all()
        triggers = connection.execute(
            text("SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal")
        ).all()
        return [sorted(map(tuple, rows)) for rows in (constraints, indexes, columns, triggers)]
