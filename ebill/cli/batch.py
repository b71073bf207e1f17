"""`ebill batch`: the dates of millions of bill accounts, from a file, a pipe or the store into a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from marshmallow import ValidationError

from ebill.batch.columns import Batches
from ebill.cli.stored import NEW_FILE, book
from ebill.dates import library_release
from ebill.errors import Fault, InvalidInput
from ebill.files import run, taking
from ebill.files.giving import Giving, Rejects, giving
from ebill.files.kept import Done, Kept
from ebill.files.taking import Form, Source
from ebill.grammar import faults, read_day
from ebill.rulebook import RuleBook

FORMS = click.Choice(["csv", "ndjson", "parquet", "arrow"])
PIPE = Path("-")


@click.command(short_help="the dates of millions of bill accounts")
@click.argument("file", metavar="IN", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option("-o", "--output", type=NEW_FILE, default="-", help="A new file.  [default: standard output]")
@click.option("--input-format", "taken", type=FORMS, help="What IN is.  [default: by its name]")
@click.option("--format", "given", type=FORMS, help="What OUT is to be.  [default: by its name, else as IN]")
@click.option("--as-of", metavar="DATE", help="Where invoices stand on that day.  [default: today]")
@click.option("--rejects", type=NEW_FILE, help="A new file (CSV or NDJSON) for the rows without dates.")
@click.option("--threads", type=click.IntRange(1, 64), default=run.THREADS, show_default=True)
def batch(
    file: Path, output: Path, taken: Form | None, given: Form | None, as_of: str | None, rejects: Path | None,
    threads: int,
) -> None:  # fmt: skip
    """Give the dates of every row of IN: a bill account's state and coverage month, and what else matters to it.

    IN is CSV with a header, NDJSON, Parquet or Arrow, or - for standard input; .csv.gz and .ndjson.gz are unpacked.
    A row without dates says why in the columns reason and detail, and stops no other. A file appears when it is whole;
    what is done before stands beside it, so that the same command goes on where it was cut off.
    """
    form = taken or taking.form_of(file)
    if form is None:
        raise click.UsageError("Say what IN is: --input-format csv, ndjson, parquet or arrow.")
    to = given or (None if output == PIPE else taking.form_of(output)) or (form if output == PIPE else None)
    if to is None:
        raise click.UsageError("Say what OUT is to be: --format csv, ndjson, parquet or arrow.")
    if output == PIPE and (to not in ("csv", "ndjson") or rejects is not None):
        raise click.UsageError("Parquet, Arrow and --rejects need a file: -o OUT.")
    day, rules, now = _day(as_of), book(), datetime.now(UTC)
    source = taking.opened(sys.stdin.buffer if file == PIPE else file, form)
    if output == PIPE:
        writing = giving(to, source.schema)
        with _shown("standard output", source) as told:
            done = run.pipe(source, _batches(rules, day, now), writing, sys.stdout.buffer, told, threads)
        sys.stdout.buffer.flush()
    else:
        made_from = None if file == PIPE else _made_from(file, form, rules, to, day, rejects)
        apart = None if rejects is None else Rejects(_lines_form(rejects), source.schema.names)
        kept = Kept(output, made_from, now.isoformat(), rejects)
        batches = _batches(rules, day, datetime.fromisoformat(kept.now))
        done = keep(kept, source, batches, giving(to, source.schema, reasons=rejects is None), apart, threads)
    _say(output, done, rejects)


def keep(
    kept: Kept, source: Source, batches: Batches, writing: Giving, apart: Rejects | None, threads: int
) -> Done:  # fmt: skip
    """Answer into a file that appears when it is whole; where that fails, keep what the same command can go on from."""
    if kept.begun_anew:
        click.echo(f"{kept.folder} is of another input, rule book or command: begun anew", err=True)
    if kept.done.rows:
        click.echo(f"{kept.done.rows:,} rows are done already; this goes on after them", err=True)
    try:
        with _shown(kept.output.name, source, kept.done) as told:
            return run.run(source, batches, writing, kept, apart, told, threads)
    except BaseException:
        kept.close(forget=not kept.done.rows)
        raise


def _batches(rules: RuleBook, day: date | None, now: datetime) -> Batches:
    return Batches(rules, as_of=day, now=None if day else now)


def _made_from(
    file: Path, form: Form, rules: RuleBook, to: Form, day: date | None, rejects: Path | None
) -> dict[str, Any]:
    """Give all that the output is made from, but for the instant."""
    return {
        "input": taking.identity(file),
        "form": form,
        "rulebook": rules.version,
        "holidays": library_release(),
        "release": version("ebill"),
        "format": to,
        "as_of": None if day is None else str(day),
        "rejects": None if rejects is None else rejects.name,
    }


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else read_day(text)
    except ValidationError as error:
        raise InvalidInput(faults(error.messages, "as_of")) from None


def _lines_form(file: Path) -> Any:
    form = taking.form_of(file)
    if form not in ("csv", "ndjson"):
        raise InvalidInput([Fault("/rejects", "must be a file named .csv or .ndjson")])
    return form


@contextmanager
def _shown(name: str, source: Source, done: Done | None = None) -> Iterator[Callable[[int, int], object]]:
    """Show how far it is, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows, {task.fields[pace]:,.0f} a second"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        begun = Done() if done is None else done
        task = bar.add_task(name, total=source.total, completed=begun.position, rows=begun.rows, pace=0)
        started = bar.get_time()

        def told(position: int, rows: int) -> None:
            pace = (rows - begun.rows) / max(bar.get_time() - started, 1e-9)
            bar.update(task, completed=position, rows=rows, pace=pace)

        yield told


def _say(output: Path, done: Done, rejects: Path | None) -> None:
    name = "standard output" if output == PIPE else output
    click.echo(f"{name} has {done.rows - (done.refused if rejects else 0):,} rows", err=True)
    if done.refused:
        where = f"they are in {rejects}" if rejects else "the columns reason and detail say why"
        click.echo(f"! {done.refused:,} of {done.rows:,} rows have no dates: {where}", err=True)
