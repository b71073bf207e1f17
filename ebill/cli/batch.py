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

from ebill.batch.laid import Laid
from ebill.batch.tables import Batches
from ebill.cli.stored import NEW_FILE, OPERATOR, PIPE, book, opened
from ebill.dates import as_month, library_release
from ebill.errors import Fault, InvalidInput
from ebill.files import run, taking
from ebill.files.giving import Giving, Rejects, giving
from ebill.files.kept import Done, Kept
from ebill.files.run import Answer
from ebill.files.taking import Form, Source
from ebill.grammar import faults, read_day
from ebill.questions import MOST_MONTHS
from ebill.rulebook import RuleBook
from ebill.service.batches import Accounts

FORMS = click.Choice(["csv", "ndjson", "parquet", "arrow"])
MONTHS = 12


@click.command(short_help="the dates of millions of bill accounts")
@click.argument(
    "file",
    metavar="[IN]",
    required=False,
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
)
@click.option("-o", "--output", type=NEW_FILE, default="-", help="A new file.  [default: standard output]")
@click.option("--input-format", "taken", type=FORMS, help="What IN is.  [default: by its name]")
@click.option("--format", "given", type=FORMS, help="What OUT is to be.  [default: by its name, else as IN]")
@click.option("--as-of", metavar="DATE", help="Where invoices stand on that day.  [default: today]")
@click.option("--rejects", type=NEW_FILE, help="A new file (CSV or NDJSON) for the rows without dates.")
@click.option("--from-store", is_flag=True, help="In place of IN: every bill account of the store.")
@click.option("--from", "first", metavar="MONTH", help="With --from-store: the first coverage month.")
@click.option("--months", type=click.IntRange(1, MOST_MONTHS), help="With --from-store: how many.  [default: 12]")
@click.option(
    "--engine",
    type=click.Choice(["threads", "spark"]),
    default="threads",
    show_default=True,
    help="On this machine, or on Spark: then OUT is a folder of Parquet.",
)
@click.option("--threads", type=click.IntRange(1, 64), default=run.THREADS, show_default=True)
def batch(
    *, file: Path | None, output: Path, as_of: str | None, from_store: bool, first: str | None, months: int | None,
    engine: str, **options: Any,
) -> None:  # fmt: skip
    """Give the dates of every row of IN: a bill account's state and coverage month, and what else matters to it.

    IN is CSV with a header, NDJSON, Parquet or Arrow, or - for standard input; .csv.gz and .ndjson.gz are unpacked.
    A row without dates says why in the columns reason and detail, and stops no other. A file appears when it is whole;
    what is done before stands beside it, so that the same command goes on where it was cut off.

    With --from-store: so many coverage months of every bill account, as the store has them at one instant, with the
    payments recorded.
    """
    if (file is None) != from_store:
        raise click.UsageError("Say whose dates: either IN, or --from-store with --from MONTH.")
    if from_store != (first is not None) or (months is not None and not from_store):
        raise click.UsageError("--from MONTH and --months go with --from-store.")
    day = _day(as_of)
    if engine == "spark":
        del options["threads"]
        _on_spark(file, output, day, **options)
    elif file is not None:
        _of_file(file, output, day, **options)
    else:
        _of_store(str(first), months or MONTHS, output, day, **options)


def _of_file(
    file: Path, output: Path, day: date | None, taken: Form | None, given: Form | None, rejects: Path | None,
    threads: int,
) -> None:  # fmt: skip
    form = taken or taking.form_of(file)
    if form is None:
        raise click.UsageError("Say what IN is: --input-format csv, ndjson, parquet or arrow.")
    to = _to(output, given, rejects, form)
    rules, now = book(), datetime.now(UTC)
    source = taking.opened(sys.stdin.buffer if file == PIPE else file, form)
    made_from = None if PIPE in (file, output) else _made_from(file, form, rules, to, day, rejects)

    def answer(since: datetime) -> Answer:
        return run.answering(source, Batches(rules, as_of=day, now=since))

    _answered(source, answer, made_from, output, to, rejects, threads, now)


def _on_spark(
    file: Path | None, output: Path, day: date | None, taken: Form | None, given: Form | None, rejects: Path | None
) -> None:  # fmt: skip
    from ebill.cli import spark

    form = None if file is None else taken or taking.form_of(file)
    if file is None or form not in ("parquet", "csv") or given not in (None, "parquet") or rejects or output == PIPE:
        raise click.UsageError("Spark reads Parquet or CSV from IN, and writes a folder of Parquet: -o OUT.")
    refused = spark.run(file, form, output, book(), day, datetime.now(UTC))
    click.echo(f"{output} is written; {refused:,} rows have no dates", err=True)


def _of_store(
    first: str, months: int, output: Path, day: date | None, taken: Form | None, given: Form | None,
    rejects: Path | None, threads: int,
) -> None:  # fmt: skip
    if taken is not None:
        raise click.UsageError("--input-format goes with IN.")
    to = _to(output, given, rejects, "csv")
    rules, now = book(), datetime.now(UTC)
    try:
        begin = as_month(first)
    except ValueError as error:
        raise InvalidInput([Fault("/from", str(error))]) from None
    with opened() as store, store.reading(patient=True) as connection:
        source = Accounts(connection, rules, OPERATOR, begin, months, Laid(rules, day, now))
    _answered(source, lambda _: source.answer, None, output, to, rejects, threads, now)


def _to(output: Path, given: Form | None, rejects: Path | None, form: Form) -> Form:
    """Tell what the output is to be."""
    _refuse_packed(output, "OUT")
    if rejects is not None and output.resolve() == rejects.resolve():
        raise click.UsageError("OUT and --rejects are one file: each needs its own.")
    to = given or (form if output == PIPE else taking.form_of(output))
    if to is None:
        raise click.UsageError("Say what OUT is to be: --format csv, ndjson, parquet or arrow.")
    if output == PIPE and (to not in ("csv", "ndjson") or rejects is not None):
        raise click.UsageError("Parquet, Arrow and --rejects need a file: -o OUT.")
    return to


def _answered(
    source: Source, answer: Callable[[datetime], Answer], made_from: dict[str, Any] | None, output: Path, to: Form,
    rejects: Path | None, threads: int, now: datetime,
) -> None:  # fmt: skip
    """Answer a source, by an answer as of an instant: now, or that at which a run began which this goes on with."""
    writing = giving(to, source.schema, reasons=rejects is None)
    if output == PIPE:
        with _shown("standard output", source) as told:
            done = run.pipe(source.blocks, answer(now), writing, sys.stdout.buffer, told, threads)
        sys.stdout.buffer.flush()
    else:
        apart = None if rejects is None else Rejects(_lines_form(rejects), source.schema.names)
        kept = Kept(output, made_from, now.isoformat(), rejects)
        done = keep(kept, source, answer(datetime.fromisoformat(kept.now)), writing, apart, threads)
    _say(output, done, rejects)


def keep(
    kept: Kept, source: Source, answer: Answer, writing: Giving, apart: Rejects | None, threads: int
) -> Done:  # fmt: skip
    """Answer into a file that appears when it is whole; where that fails, keep what the same command can go on from."""
    if kept.begun_anew:
        click.echo(f"{kept.folder} is of another input, rule book or command: begun anew", err=True)
    if kept.done.rows:
        click.echo(f"{kept.done.rows:,} rows are done already; this goes on after them", err=True)
    try:
        with _shown(kept.output.name, source, kept.done) as told:
            return run.run(source.blocks, answer, writing, kept, apart, told, threads)
    except BaseException:
        kept.close(forget=not kept.done.rows)
        raise


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


def _refuse_packed(file: Path, named: str) -> None:
    """Refuse a name that says that its file is packed, which it would not be."""
    if file.suffix.lower() == ".gz":
        raise click.UsageError(f"What is written is not packed: name {named} without .gz.")


def _lines_form(file: Path) -> Any:
    _refuse_packed(file, "the rejects")
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
    count = done.rows - (done.refused if rejects else 0)
    click.echo(f"{name} has {count:,} {'row' if count == 1 else 'rows'}", err=True)
    if done.refused:
        where = f"they are in {rejects}" if rejects else "the columns reason and detail say why"
        click.echo(f"! {done.refused:,} of {done.rows:,} rows have no dates: {where}", err=True)
