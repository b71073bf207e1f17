"""How the database itself is made to refuse to change or remove what is only ever added to."""

from __future__ import annotations

from alembic import op


def refuse_changes(table: str, *keys: tuple[str, ...]) -> None:
    """Refuse to change or remove a table's rows. `keys` are all its unique keys, the primary key among them."""
    if op.get_context().dialect.name == "sqlite":
        same = " OR ".join(" AND ".join(f"{column} = NEW.{column}" for column in key) for key in keys)
        for verb, when in (
            ("UPDATE", ""),
            ("DELETE", ""),
            # INSERT OR REPLACE removes a row without asking the trigger of DELETE.
            ("INSERT", f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) "),  # noqa: S608  # names of our own
        ):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {when}"
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE '{table} is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )
