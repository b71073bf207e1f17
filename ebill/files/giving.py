"""Answers to bytes: CSV and NDJSON line by line as they come, Parquet and Arrow by pyarrow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np

from ebill.batch.asked import IDS
from ebill.batch.tables import ECHOED, Answered, schema
from ebill.files.taking import Form
from ebill.render import lines
from ebill.render.lines import Lines, record

ROW_GROUP: Final = 1 << 17
"""Rows of a row group of Parquet, about: written while the next ones are worked on."""
COMPRESSION: Final = "zstd"
TOGETHER: Final = 1 << 14
"""Rows of a column that Parquet encodes at once: with its own thousand a quarter of the time goes by in between."""


class Giving(ABC):
    """An output's form: `made` turns answers into what is kept, on whatever thread; `finish` makes the file of that."""

    @abstractmethod
    def made(self, answered: Answered) -> Any:
        """Give what is to be written of a batch."""

    @abstractmethod
    def write(self, made: Any, file: IO[bytes]) -> None:
        """Write that after what is there."""

    @abstractmethod
    def begin(self, file: IO[bytes], folder: Path | None) -> None:
        """Begin, where a file has what was written before."""

    def remember(self, made: Any) -> None:  # noqa: B027  # text is kept as it is written
        """Hold what was written until it is kept."""

    def keep(self, file: IO[bytes]) -> None:  # noqa: B027
        """See to it that all that was remembered can be told from what the file has."""

    def finish(self) -> Path | None:
        """Give the whole file where it is another one."""
        return None


class Text(Giving):
    """CSV or NDJSON: what is written is the output."""

    def __init__(self, form: lines.Form, named: list[str], *, reasons: bool) -> None:
        self._lines = Lines(form, named, reasons=reasons)

    def begin(self, file: IO[bytes], folder: Path | None) -> None:
        """Write the header, where nothing is written yet."""
        if folder is None or file.tell() == 0:
            file.write(self._lines.head())

    def made(self, answered: Answered) -> bytes | memoryview:
        """Write the lines of a batch."""
        return self._lines.write(answered)

    def write(self, made: bytes | memoryview, file: IO[bytes]) -> None:
        """Add lines."""
        file.write(made)


class Columns(Giving):
    """Parquet or Arrow: what is written is a row of Arrow streams, and the file is made beside it, ahead of its end."""

    def __init__(self, form: Form, asked: Any, *, reasons: bool) -> None:
        self.form, self._reasons = form, reasons
        whole = schema(asked)
        self._schema = whole if reasons else whole.remove(len(whole) - 1).remove(len(whole) - 2)
        if form == "arrow":  # a file of it has one dictionary for all batches, and those of the input may differ
            for place, name in enumerate(self._schema.names):
                if name in ECHOED:
                    self._schema = self._schema.set(place, self._schema.field(place).with_type(_text()))
        self._writer: Any = None
        self._waiting: list[Any] = []
        self._unkept: list[Any] = []
        self._rows = 0

    def begin(self, file: IO[bytes], folder: Path | None) -> None:
        """Begin the file again with what was kept of it."""
        import pyarrow as pa

        self._folder = cast(Path, folder)
        if self.form == "arrow":
            self._writer = pa.ipc.new_file(str(self._folder / "whole"), self._schema)
        end = file.tell()
        file.seek(0)
        while file.tell() < end:
            with pa.ipc.open_stream(file) as stream:
                for batch in stream:
                    self._add(batch)
        file.seek(end)

    def made(self, answered: Answered) -> Any:
        """Make the columns of a batch."""
        import pyarrow as pa

        batch = answered.record_batch().select(self._schema.names)
        if not batch.schema.equals(self._schema):
            batch = batch.cast(self._schema)
        if self._reasons or answered.reason is None:
            return batch
        return batch.filter(pa.array(np.asarray(answered.reason) < 0))

    def write(self, made: Any, file: IO[bytes]) -> None:
        """Add a batch to the file."""
        self._add(made)

    def remember(self, made: Any) -> None:
        """Hold a batch until the next stream is written."""
        self._unkept.append(made)

    def keep(self, file: IO[bytes]) -> None:
        """Write a stream of all that was remembered since the last one."""
        import pyarrow as pa

        with pa.ipc.new_stream(file, self._schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
            for batch in self._unkept:
                stream.write_batch(batch)
        self._unkept = []

    def finish(self) -> Path:
        """Write the end of the file."""
        self._flush()
        if self._writer is None:
            self._writer = self._parquet(self._schema.empty_table())
        self._writer.close()
        return self._folder / "whole"

    def _add(self, batch: Any) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows >= ROW_GROUP or self.form == "arrow":
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema)
            if self.form == "arrow":
                self._writer.write_table(table)
            else:
                self._writer = self._writer or self._parquet(table)
                self._writer.write_table(_unified(table), ROW_GROUP)
        self._waiting, self._rows = [], 0

    def _parquet(self, first: Any) -> Any:
        """Begin a file whose first rows are these: ids that differ from row to row are not looked for again."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        alike = [
            name
            for name in first.schema.names
            if name not in IDS or 2 * pc.count_distinct(first.column(name)).as_py() < first.num_rows
        ]
        return pq.ParquetWriter(
            self._folder / "whole",
            self._schema,
            compression=COMPRESSION,
            use_dictionary=alike,
            write_batch_size=TOGETHER,
        )


def _unified(table: Any) -> Any:
    """Give a table with one dictionary for each column given back: Parquet then takes its words as they are."""
    import pyarrow as pa

    for place, (name, column) in enumerate(zip(table.schema.names, table.columns, strict=True)):
        if name in ECHOED and pa.types.is_dictionary(column.type):
            with suppress(pa.ArrowInvalid):  # the words of several batches may be too many for its numbers
                table = table.set_column(place, table.schema.field(place), column.unify_dictionaries())
    return table


def _text() -> Any:
    import pyarrow as pa

    return pa.string()


def giving(form: Form, asked: Any, *, reasons: bool = True) -> Giving:
    """Give how a form is written; `asked` is the schema of the questions."""
    if form in ("csv", "ndjson"):
        return Text(form, asked.names, reasons=reasons)
    return Columns(form, asked, reasons=reasons)


class Rejects:
    """The rows without dates: the number of each row in the input, counted from 1, whose it is, and why."""

    def __init__(self, form: lines.Form, named: list[str]) -> None:
        self.form = form
        self.columns = ["row", *(name for name in ECHOED if name in named), "reason", "detail"]

    def head(self) -> bytes:
        """Give what comes before the first line."""
        return (",".join(self.columns) + lines.CSV_END).encode() if self.form == "csv" else b""

    def write(self, answered: Answered, before: int) -> bytes:
        """Write those of a batch, before which there were so many rows."""
        return "".join(self._lines(answered, before)).encode()

    def _lines(self, answered: Answered, before: int) -> Iterator[str]:
        for number, row, why in lines.refused(answered):
            values = {"row": before + number + 1, **row, "reason": why.code, "detail": why.detail}
            yield record({name: values[name] for name in self.columns}, self.form)
