"""Commands on the store of this machine: its tables, its people, its clients.

Whoever may run them may read the store's file anyway; so they act as an administrator, and the audit calls them
`command`. The store is that of `EBILL_DATABASE_URL`, else `ebill.db` in the working directory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from ebill import bookfile, demo, passwords
from ebill.errors import ClientNotFound, StoreRefused, StoreUnavailable, UserNotFound
from ebill.rulebook import RuleBook
from ebill.service import grants, imports, reminders, sealing, tokens, users
from ebill.service.clients import Precondition
from ebill.store import audit, engine
from ebill.store import backup as copies
from ebill.store import tokens as kept_tokens
from ebill.store import users as kept_users
from ebill.store.audit import By
from ebill.store.engine import Store, Writing
from ebill.store.tables import ENTITLEMENTS, ROLES
from ebill.store.users import User

OPERATOR = User("command", "The command on this machine", "admin", "", 0, frozenset(), frozenset())
NOTED_TRIES = 20
NEW_FILE = click.Path(path_type=Path, dir_okay=False)
PIPE = Path("-")


def to_pipe(_: click.Context, __: click.Parameter, output: Path | None) -> Path | None:
    """Take `-` for standard output, as None is."""
    return None if output == PIPE else output


@contextmanager
def opened(*, new: bool = False) -> Iterator[Store]:
    """Open the store, which must be up to date; there must be one, unless it may be `new`."""
    store = Store(engine.url())
    try:
        if not new and store.is_empty():
            raise StoreRefused("There is no store yet. Make one: ebill db upgrade")
        store.make_ready()
        yield store
    finally:
        store.close()


@contextmanager
def changing() -> Iterator[Writing]:
    """Change the store, in one transaction."""
    now = partial(datetime.now, UTC)
    with opened() as store, store.writing(By(OPERATOR.user_id, now()), now) as write:
        yield write


def book() -> RuleBook:
    """Read the rule book."""
    return bookfile.load(bookfile.path()).book


@click.group(short_help="the store's tables, backup and audit")
def db() -> None:
    """Make the store, bring it up to date, back it up, check its audit."""


@db.command()
def upgrade() -> None:
    """Make the store, or bring its tables up to date."""
    store = Store(engine.url())
    try:
        was = "made" if store.is_empty() else "up to date"
        store.upgrade()
        click.echo(f"The store is {was}: {store.engine.url.render_as_string(hide_password=True)}")
    finally:
        store.close()


@db.command()
@click.argument("file", type=NEW_FILE)
def backup(file: Path) -> None:
    """Copy the store into a new file, whole, while it is being used; PostgreSQL's by its pg_dump."""
    with opened() as store:
        copies.back_up(store, file)
    _note_backup()
    click.echo(f"{file} is a whole copy of the store")


def _note_backup() -> None:
    """Let the audit know, after others that may be writing just then."""
    for left in reversed(range(NOTED_TRIES)):
        try:
            with changing() as write:
                write.audit(copies.BACKED_UP)
        except StoreUnavailable:
            if not left:
                raise
        else:
            return


@db.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def restore(file: Path) -> None:
    """Make the store from a backup, where there is none yet, once the backup is found to be whole."""
    last = copies.restore(engine.url(), file)
    store = Store(engine.url())
    try:
        is_current = store.is_current()
    finally:
        store.close()
    click.echo(f"The store is restored; its audit holds: {last.sequence} rows, the last with hash {last.hash.hex()}")
    if not is_current:
        click.echo("It is of another release; bring it up to date: ebill db upgrade")
        return
    with changing() as write:
        write.audit(copies.RESTORED, after={"rows": last.sequence})


@db.command(name="rotate-key")
@click.option("--at-once", is_flag=True, help="The key before opens nothing any more: where somebody may have it.")
def rotate_key(*, at_once: bool) -> None:
    """Let a new key seal cursors and forms; what the one before has sealed still opens for a day.

    Then start the service again, all its processes: each takes the key as it starts. Calendars stay as they are.
    """
    with changing() as write:
        until = sealing.rotate(write, at_once=at_once)
    opens = f"the one before opens until {until:%Y-%m-%d %H:%M} UTC" if until else "the one before opens nothing"
    click.echo(f"A new key seals once the service is started again; {opens}")


@db.command(name="check")
def check_audit() -> None:
    """Check that the audit is whole: that no row was altered or taken out."""
    with opened() as store, store.reading() as connection:
        broken = list(audit.breaks(connection))
        last = audit.last(connection)
    if broken:
        raise StoreRefused(f"The audit does not hold at row {broken[0]}, and at {len(broken) - 1} others.")
    click.echo(f"The audit holds: {last.sequence} rows, the last with hash {last.hash.hex()}")


@click.group(short_help="who may sign in")
def user() -> None:
    """Users: producers, client managers, administrators."""


@user.command(name="add")
@click.argument("user_id", metavar="USER")
@click.option("--name", required=True)
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--state", default="PA", show_default=True, help="Whose entitlements a producer gets.")
@click.option("--team", "teams", multiple=True, help="A team that a client manager is in; may be repeated.")
@click.option(
    "--entitlement",
    "entitlements",
    type=click.Choice(ENTITLEMENTS),
    multiple=True,
    help="Instead of the state's; may be repeated.",
)
def add_user(user_id: str, entitlements: tuple[str, ...], teams: tuple[str, ...], **given: Any) -> None:
    """Make a user."""
    body = {**given, "teams": list(teams), **({"entitlements": list(entitlements)} if entitlements else {})}
    with changing() as write:
        users.put_user(write, book(), user_id, body, Precondition(new=True))
    click.echo(f"{user_id} is a user now; give a token: ebill token make {user_id}")


@user.command(name="disable")
@click.argument("user_id", metavar="USER")
def disable_user(user_id: str) -> None:
    """Let a user in no more, from this instant on."""
    with changing() as write:
        known = kept_users.user(write.connection, user_id)
        if known is None:
            raise UserNotFound
        body = {"name": known.name, "role": known.role, "state": known.state, "disabled": True,
                "teams": sorted(known.teams)}  # fmt: skip
        users.put_user(write, book(), user_id, body, Precondition(known.version))
    click.echo(f"{user_id} is let in no more")


@user.command(name="password")
@click.argument("user_id", metavar="USER")
@click.option("--stdin", "piped", is_flag=True, help="Read it from standard input, to its end, in place of asking.")
@click.option("--first", is_flag=True, help="Make one up and print it; they change it when they first sign in.")
def set_password(user_id: str, *, piped: bool, first: bool) -> None:
    """Set a user's password, which ends the sessions that were begun with another."""
    if first and piped:
        raise click.UsageError("Say --first or --stdin, not both.")
    if first:
        password = passwords.first()
        password_hash = passwords.hashed(password)
        with changing() as write:
            until = users.keep_first_password(write, user_id, password_hash)
        click.echo(password)
        click.echo(f"{user_id} changes it by {until:%Y-%m-%d %H:%M} UTC", err=True)
        return
    if piped:
        password = sys.stdin.read().removesuffix("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    with changing() as write:
        users.set_password(write, user_id, password)
    click.echo(f"{user_id} has a new password")


@user.command(name="reminders")
@click.argument("user_id", metavar="USER")
@click.option("--email", help="By mail, to this address.")
@click.option(
    "--webhook",
    "--webhook-url",
    "webhook",
    metavar="URL",
    help="To this webhook; the secret of a new one is printed this once.",
)
@click.option("--none", "nowhere", is_flag=True, help="Nowhere any more.")
def set_targets(user_id: str, *, email: str | None, webhook: str | None, nowhere: bool) -> None:
    """Say where a user's reminders go, in place of where they went before."""
    given = {"email": email, "webhook_url": webhook}
    body = {name: each for name, each in given.items() if each is not None}
    if nowhere == bool(body):
        raise click.UsageError("Say where they go (--email, --webhook, or both), or --none.")
    if nowhere:
        with changing() as write:
            reminders.remove_targets(write, user_id)
        click.echo(f"The reminders of {user_id} go nowhere any more")
        return
    with changing() as write:
        made = reminders.set_targets(write, user_id, body)
    if "webhook_secret" in made:
        click.echo(made["webhook_secret"])
    click.echo(f"The reminders of {user_id} go to {' and to '.join(body.values())}", err=True)


@user.command(name="list")
def list_users() -> None:
    """List the users."""
    from ebill.render.text import table

    with opened() as store, store.reading() as connection:
        found = kept_users.all_users(connection)
    rows = ([u.user_id, u.name, u.role, u.state, ", ".join(sorted(u.teams | u.entitlements)),
             "disabled" if u.disabled_at else ""] for u in found)  # fmt: skip
    click.echo(table(["user", "name", "role", "state", "teams and entitlements", ""], rows), nl=False)


@click.group(short_help="client management teams")
def team() -> None:
    """Teams of client managers."""


@team.command(name="add")
@click.argument("team_id", metavar="TEAM")
@click.option("--name", required=True)
def add_team(team_id: str, name: str) -> None:
    """Make a team."""
    with changing() as write:
        users.put_team(write, team_id, {"name": name})
    click.echo(f"{team_id} is a team now")


@click.group(short_help="API tokens")
def token() -> None:
    """Tokens with which programs ask in a user's name."""


@token.command(name="make")
@click.argument("user_id", metavar="USER")
@click.option("--name", default="made by the command", show_default=True)
@click.option("--days", type=click.IntRange(1, tokens.TOKEN_DAYS_MOST), default=tokens.TOKEN_DAYS, show_default=True)
@click.option("--read-only", is_flag=True, help="It changes nothing, and hands no right on.")
@click.option(
    "--client",
    "client_ids",
    metavar="CLIENT",
    multiple=True,
    help="For this client alone, which its user sees; may be repeated.  [default: all that they see]",
)
def make_token(user_id: str, name: str, days: int, client_ids: tuple[str, ...], *, read_only: bool) -> None:
    """Make a token; it is printed this once, and kept nowhere."""
    with changing() as write:
        if kept_users.user(write.connection, user_id) is None:
            raise UserNotFound
        made = tokens.token_for(write, user_id, name, days, read_only=read_only, client_ids=client_ids or None)
    click.echo(made["token"])
    click.echo(f"token {made['token_id']} of {user_id}, until {made['expires_at']:%Y-%m-%d}", err=True)


@token.command(name="revoke")
@click.argument("token_id", metavar="TOKEN")
def revoke_token(token_id: str) -> None:
    """Revoke a token by its id, from this instant on."""
    with changing() as write:
        tokens.revoke_token(write, OPERATOR, token_id)
    click.echo(f"{token_id} is revoked")


@token.command(name="list")
@click.argument("user_id", metavar="[USER]", required=False)
def list_tokens(user_id: str | None) -> None:
    """List tokens, without their text, which nobody has."""
    from ebill.render.text import table

    with opened() as store, store.reading() as connection:
        found = kept_tokens.tokens_of(connection, user_id)
    rows = ([t.token_id, t.user_id, t.name, f"{t.expires_at:%Y-%m-%d}", "read only" if t.read_only else "",
             "all" if t.client_ids is None else ", ".join(t.client_ids), "revoked" if t.revoked_at else ""]
            for t in found)  # fmt: skip
    click.echo(table(["token", "user", "name", "until", "", "clients", ""], rows), nl=False)


@click.group(short_help="which clients a producer may see")
def grant() -> None:
    """Grants: which clients a producer may see."""


@grant.command(name="add")
@click.argument("user_id", metavar="USER")
@click.argument("client_ids", metavar="CLIENT…", nargs=-1, required=True)
def add_grants(user_id: str, client_ids: tuple[str, ...]) -> None:
    """Let a producer see clients; all of them, or none."""
    with changing() as write:
        _each(write, grants.grant, user_id, client_ids)
    click.echo(f"{user_id} may see {', '.join(client_ids)}")


@grant.command(name="remove")
@click.argument("user_id", metavar="USER")
@click.argument("client_ids", metavar="CLIENT…", nargs=-1, required=True)
def remove_grants(user_id: str, client_ids: tuple[str, ...]) -> None:
    """Take a producer's sight of clients away; of all of them, or of none."""
    with changing() as write:
        _each(write, grants.withdraw, user_id, client_ids)
    click.echo(f"{user_id} may no longer see {', '.join(client_ids)}")


def _each(
    write: Writing, change: Callable[[Writing, User, str, str], None], user_id: str, client_ids: tuple[str, ...]
) -> None:
    for client_id in client_ids:
        try:
            change(write, OPERATOR, user_id, client_id)
        except ClientNotFound:
            raise StoreRefused(f"There is no client {client_id}; nothing was changed.") from None
    if write.audited:
        write.is_unchanged = False


@click.command(name="import", short_help="clients, bill accounts and rules from CSV")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Tell what would move, and keep nothing.")
def import_(file: Path, *, dry_run: bool) -> None:
    """Import clients, bill accounts, rules and exceptions from a CSV file: all of it, or nothing."""
    from rich.console import Console
    from rich.progress import Progress

    from ebill.render.json import encode

    with file.open("rb") as counted:
        lines = sum(block.count(b"\n") for block in iter(lambda: counted.read(1 << 20), b""))
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    with bar, changing() as write, file.open(encoding="utf-8", newline="") as rows:
        task = bar.add_task(str(file), total=lines)
        found = imports.import_clients(
            write, book(), OPERATOR, rows, dry_run=dry_run, told=lambda line: bar.update(task, completed=line)
        )
    click.echo(encode(found, indented=True))


@click.group(short_help="what `ebill import` reads")
def export() -> None:
    """Write what is in the store."""


@export.command(name="clients")
@click.option("-o", "--output", type=NEW_FILE, callback=to_pipe, help="A new file.  [default: standard output]")
def export_clients(output: Path | None) -> None:
    """Write clients, bill accounts, rules and exceptions as the CSV that `ebill import` reads."""
    rules = book()
    with opened() as store, store.reading() as connection:
        if output is None:
            imports.export_clients(connection, rules, OPERATOR, sys.stdout)
            return
        try:
            with output.open("x", encoding="utf-8", newline="") as file:
                count = imports.export_clients(connection, rules, OPERATOR, file)
        except FileExistsError:
            raise StoreRefused(f"{output} exists already; an export overwrites nothing") from None
    click.echo(f"{output} has {count} clients", err=True)


@click.command(name="demo", short_help="a sample book of made-up clients")
@click.option("--clients", type=click.IntRange(1, 100_000), default=200, show_default=True)
def make_demo(clients: int) -> None:
    """Put made-up clients and three sample users into a store that has none, and print a token for each."""
    now = datetime.now(UTC)
    with opened(new=True) as store:
        if demo.is_untouched(store):
            made = demo.fill(store, book(), clients, now)
            click.echo(f"{made.clients} clients with {made.accounts} bill accounts are made up", err=True)
        elif not demo.is_here(store):
            raise StoreRefused("The store has users already: a sample book goes into an empty store only.")
        else:
            click.echo("The sample book is here already; these are new tokens, those before count no more", err=True)
        for user_id, text in demo.fresh_tokens(store, now).items():
            click.echo(f"{user_id}  {text}")
