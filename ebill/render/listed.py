"""Long lists of rows that are alike, written piece by piece: no piece is kept, and no list is ever whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import IO, Any, Final, get_type_hints

from ebill.render import csv
from ebill.render.json import encode

PIECE: Final = 1000
BATCH: Final = 1 << 16
"""Rows of Parquet written together: its readers skip what they do not need by such groups."""


def as_csv(kind: Any, rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    """Write CSV (RFC 4180), safe to open in a spreadsheet. `kind` is the rows' own type, a NamedTuple."""
    return (piece.encode() for piece in csv.pieces(kind._fields, rows))


def as_json(head: Mapping[str, Any], rows: Iterable[Any]) -> Iterator[bytes]:
    """Write one object in JSON: what is in `head`, and `data` with the rows."""
    yield encode(head)[:-1] + b',"data":['
    waiting, between = iter(rows), b""
    while some := [row._asdict() for row in islice(waiting, PIECE)]:
        yield between + encode(some)[1:-1]
        between = b","
    yield b"]}\n"


def as_parquet(kind: Any, rows: Iterable[Sequence[object]], file: IO[bytes]) -> None:
    """Write Parquet to a file: dates as dates, whatever else as text, words that come again and again once."""
    import pyarrow as pa  # takes a quarter of a second
    import pyarrow.parquet as pq

    types = get_type_hints(kind)
    names: tuple[str, ...] = kind._fields
    schema = pa.schema([(name, pa.date32() if types[name] is date else pa.string()) for name in names])
    waiting = iter(rows)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while some := list(islice(waiting, BATCH)):
            columns = zip(*some, strict=True)
            arrays = [pa.array(column, of) for column, of in zip(columns, schema.types, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
