"""A million rows into a file of each form, beside a writer that is handed the ready table; a whole store, too."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from ebill import batch, bookfile
from ebill.batch.laid import Laid
from ebill.batch.tables import Batches
from ebill.cli.stored import OPERATOR
from ebill.files import giving, run, taking
from ebill.files.kept import Kept
from ebill.files.taking import Form
from ebill.service import alike
from ebill.service.batches import Accounts
from ebill.store.engine import Store
from ebill.store.many import Whose
from tests import crowd
from tests.bench.measuring import Action, Ratio, in_turn

ROWS = 1_000_000
STORED = 500_000
"""Clients of the store, of two accounts each."""
AS_OF = date(2026, 8, 3)
ROUNDS = 3
SAID = {
    "ours": "ours: read, computed, written, synced",
    "one thread": "the same, with one thread",
    "writer": "a writer handed the ready table, synced",
    "reader and writer": "the input read by pyarrow, and that writer",
}


def questions(count: int = ROWS, lengths: Sequence[int] = range(30, 45), before: Sequence[int] = (20,)) -> Any:
    """Make rows of accounts over two years: in four states, with each length of grace, generated so long before."""
    random = np.random.default_rng(1)
    states, months = ("PA", "DE", "WV", "NY"), [f"{2026 + number // 12}-{number % 12 + 1:02}" for number in range(24)]
    rules = [
        f'{{"generation":{{"days_before_due":{earlier}}},"grace":{{"days":{days}}}}}'
        for earlier in before
        for days in lengths
    ]

    def some(of: Any) -> Any:
        return pa.array(of, pa.string()).take(pa.array(random.integers(0, len(of), count)))

    ids = pa.array([f"{number:010}" for number in range(count)])
    return pa.table({"account_id": ids, "state": some(states), "coverage_month": some(months), "rules": some(rules)})


def files() -> Iterator[Ratio]:
    """Answer a million rows of Parquet into each form, with one thread and with all."""
    book, asked = bookfile.load(bookfile.path()).book, questions()
    ready = batch.schedule(asked, book, as_of=AS_OF)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "in.parquet"
        pq.write_table(asked, source, row_group_size=1 << 17)

        def ours(form: Form, threads: int) -> Callable[[], None]:
            def answer() -> None:
                output = folder / f"out.{form}"
                opened = taking.opened(source, "parquet")
                kept = Kept(output, {"of": "a bench"}, datetime.now(UTC).isoformat(), None)
                answering = run.answering(opened, Batches(book, as_of=AS_OF))
                run.run(opened.blocks, answering, giving.giving(form, opened.schema), kept, None, threads=threads)
                output.unlink()

            return answer

        for form, write in WRITERS.items():
            actions: dict[str, tuple[Action, int]] = {
                "ours": (ours(form, run.THREADS), 1),
                "one thread": (ours(form, 1), 1),
                "writer": (partial(_synced, write, ready, folder / "ready"), 1),
                "reader and writer": (partial(_read_and_synced, source, write, ready, folder / "ready"), 1),
            }
            taken = in_turn(actions, rounds=ROUNDS)
            print(f"\n{ROWS:,} rows of Parquet to {form}, in seconds, and in seconds of processors")
            for what, said in SAID.items():
                print(f"  {said:52} {taken.median(what):6.2f} {_of_processors(actions[what]):6.2f}")
            yield taken.beside("ours", "writer", f"{form}: ours / a writer handed the ready table")
            yield taken.beside("ours", "reader and writer", f"{form}: ours / reading the input, and that writer")


def many_kinds() -> Iterator[Ratio]:
    """Answer a million rows of 5,000 kinds of accounts, beside as many of 60; nothing is kept of those before."""
    book = bookfile.load(bookfile.path()).book
    many = questions(lengths=range(20, 45), before=range(5, 55))

    def answer(asked: Any) -> None:
        book.forget()
        batch.schedule(asked, book, as_of=AS_OF)

    taken = in_turn({"many": (partial(answer, many), 1), "few": (partial(answer, questions()), 1)}, rounds=5)
    own, other = taken.median("many"), taken.median("few")
    print(f"\n{ROWS:,} rows of a table: 5,000 kinds of accounts {own:.2f} s, 60 kinds {other:.2f} s")
    yield taken.beside("many", "few", "a table: 5,000 kinds of accounts / 60 kinds")


def payments_as_text() -> Iterator[Ratio]:
    """Answer a million rows of a table with a moment of payment each, hardly two the same, beside as many without."""
    book, asked = bookfile.load(bookfile.path()).book, questions()
    minutes = np.random.default_rng(2).integers(0, 700 * 24 * 60, ROWS)
    moments = np.datetime_as_string(np.datetime64("2026-01-01T00:00", "m") + minutes)
    paid = asked.append_column("paid_at", pa.array(moments))
    taken = in_turn(
        {
            "paid": (lambda: batch.schedule(paid, book, as_of=AS_OF), 1),
            "not": (lambda: batch.schedule(asked, book, as_of=AS_OF), 1),
        },
        rounds=5,
    )
    own, other = taken.median("paid"), taken.median("not")
    print(f"\n{ROWS:,} rows of a table: {own:.2f} s with a moment of payment each, as text, {other:.2f} s without")
    yield taken.beside("paid", "not", "a table: payments as text / no payments")


def whole_store() -> Iterator[Ratio]:
    """Answer twelve months of a million accounts of a store, beside reading the accounts and writing the table."""
    book, now = bookfile.load(bookfile.path()).book, datetime(2026, 8, 3, 16, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(f"sqlite:///{folder}/bench.db")
        store.upgrade()
        crowd.crowd(store, STORED, STORED // 100)

        def answered() -> Path:
            output = folder / "book.parquet"
            output.unlink(missing_ok=True)
            with store.reading(patient=True) as connection:
                source = Accounts(connection, book, OPERATOR, np.datetime64("2026-01", "M"), 12, Laid(book, AS_OF, now))
            kept = Kept(output, None, now.isoformat(), None)
            run.run(source.blocks, source.answer, giving.giving("parquet", source.schema), kept, None)
            return output

        ready = pq.read_table(answered())

        def read_and_written() -> None:
            with store.reading(patient=True) as connection:
                alike.read(connection, Whose(lambda column: column == column))  # noqa: PLR0124  # true of every one
            pq.write_table(ready, folder / "ready", compression=giving.COMPRESSION)

        taken = in_turn({"ours": (answered, 1), "read and written": (read_and_written, 1)}, rounds=1)
        store.close()
    own, other = (taken.median(what) for what in ("ours", "read and written"))
    print(
        f"\n12 months of {2 * STORED:,} accounts of a store to Parquet: {own:.1f} s;"
        f" reading the accounts and writing the ready table {other:.1f} s"
    )
    yield taken.beside("ours", "read and written", "whole store: ours / reading accounts and writing")


def _of_processors(action: tuple[Action, int]) -> float:
    """Give what an action takes of all processors, which others at work on them change less than its time."""
    begin = time.process_time()
    action[0]()
    return time.process_time() - begin


def _read_and_synced(source: Path, write: Callable[[Any, Path], None], table: Any, file: Path) -> None:
    """Read the input as well, which whoever is handed the ready table need not."""
    pq.read_table(source)
    _synced(write, table, file)


def _synced(write: Callable[[Any, Path], None], table: Any, file: Path) -> None:
    """Write a table, and make it last as ours does."""
    write(table, file)
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _parquet(table: Any, file: Path) -> None:
    pq.write_table(table, file, compression=giving.COMPRESSION)


def _arrow(table: Any, file: Path) -> None:
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _csv(table: Any, file: Path) -> None:
    plain = [(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type) for field in table.schema]
    pc.write_csv(table.cast(pa.schema(plain)), file)


def _ndjson(table: Any, file: Path) -> None:
    with file.open("wb") as opened:
        for part in table.to_batches():
            opened.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in part.to_pylist())


WRITERS: dict[Form, Callable[[Any, Path], None]] = {
    "parquet": _parquet,
    "arrow": _arrow,
    "csv": _csv,
    "ndjson": _ndjson,
}
