"""CSV, NDJSON, Parquet and Arrow, block by block: each block is cut off cheaply, and read wherever there is time.

Text is cut where a line ends, which is at a newline alone, and so that no block has too many rows, however short they
are. A block is read by pyarrow; only where that refuses it, or might read it otherwise, row by row and strictly, so
that a row that cannot be read is told from its neighbours, and no row is read otherwise for them. A row that is no row
at all is a row without cells, with why.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO, Any, Final, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import orjson

from ebill import strictcsv, strictjson
from ebill.batch.asked import ASKED, KIND, readable_schema
from ebill.batch.tables import BATCH, JSON, Reason, Unread, is_text
from ebill.errors import FileRefused, MalformedJson

Form = Literal["csv", "ndjson", "parquet", "arrow"]
SUFFIXES: Final[dict[str, Form]] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
}
BLOCK: Final = 1 << 22
"""Bytes of text that are read together, about."""
LINE_MOST: Final = strictcsv.LONGEST
"""Bytes of a line, without its end: an endless one would fill the memory."""
AGAIN_MOST: Final = 4
"""How often the lines of a block are read again, at most, because a row that is none took them in."""
HEAD_MOST: Final = 1 << 16
ALIKE: Final = [*KIND, "coverage_month"]
"""Columns in which the same comes again and again: Parquet has it once, and so it is read."""
_ENDS: Final = 1 << 20
"""Bytes at either end of a file by which it is known again."""
_OPENS: Final = re.compile(rb"[ \t\r]*{")
_OTHER: Final = re.compile(rb"\n[ \t\r]*[^ \t\r{]")
"""A line that begins with something else than a table. As a value pyarrow takes text alone here; so where every line
begins with a table, and there are as many rows, each line is a row. Besides, where the first row is null, pyarrow
(26.0) reads before the beginning of nothing, and the process ends."""
_MARK: Final = b"\xef\xbb\xbf"
"""The mark of UTF-8, which pyarrow passes over where a block begins with it."""
_CELL: Final = r'(?:"(?:[^"]|"")*"|[^",\r\n][^,\r\n]*)?'
_STRICT: Final = rf"(?s)\A{_CELL}(?:(?:,|\r?\n){_CELL})*\z"
"""CSV in which quotes stand around whole cells, and lines end in no other way: pyarrow takes what is looser, too."""
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_NEWLINE, _QUOTE = b'\n"'
Places = npt.NDArray[np.intp]


class Block(NamedTuple):
    """Rows not read yet, and the position in the input after them; `size` is how much of the input they are."""

    content: Any
    position: int
    size: int


class Read(NamedTuple):
    """The rows of a block as an Arrow record batch, and those that could not be put into columns."""

    batch: Any
    unread: dict[int, Unread]


class Source(ABC):
    """An input; `schema` is that of its columns, `total` how much there is, in the unit of a block's `size`."""

    schema: Any
    total: int | None = None

    @abstractmethod
    def blocks(self, position: int = 0) -> Iterator[Block]:
        """Give the blocks from a position on, which must be one that a block had, or 0. Raises FileRefused."""

    @abstractmethod
    def read(self, block: Block) -> Read:
        """Read a block; several threads may."""


def opened(file: Path | IO[bytes], form: Form) -> Source:
    """Open an input. Raises FileRefused for one that cannot be read, TableRefused for columns that are no questions."""
    if form == "parquet":
        return Parquet(_path(file))
    if form == "arrow":
        return Arrow(_path(file))
    return Csv(file) if form == "csv" else Ndjson(file)


def form_of(file: Path) -> Form | None:
    """Tell a file's form by its suffix, of what is within a .gz by the one before; None where that says nothing."""
    suffix = file.with_suffix("").suffix if file.suffix == ".gz" else file.suffix
    return SUFFIXES.get(suffix.lower())


def identity(file: Path) -> dict[str, Any]:
    """Give what a file is known again by, without reading all of it: its size, when it was changed, and its ends."""
    status = file.stat()
    with file.open("rb") as opened_file:
        seen = hashlib.sha256(opened_file.read(_ENDS))
        opened_file.seek(max(0, status.st_size - _ENDS))
        seen.update(opened_file.read(_ENDS))
    return {"size": status.st_size, "changed": status.st_mtime_ns, "ends": seen.hexdigest()}


class Lined(Source):
    """Text in lines; a position counts bytes, unpacked ones where it is gzip. `rows` are those of a block, at most."""

    def __init__(self, file: Path | IO[bytes], rows: int | None = None) -> None:
        self._file, self._most = file, rows or BATCH
        self.name = str(file) if isinstance(file, Path) else "standard input"
        packed = isinstance(file, Path) and file.suffix == ".gz"
        if isinstance(file, Path) and not packed:
            with suppress(OSError):  # whoever opens it says what is wrong
                self.total = file.stat().st_size

    def blocks(self, position: int = 0) -> Iterator[Block]:
        """Give the blocks, each ending where a line does."""
        with self._open(position) as file:
            rest = b""
            while True:
                try:
                    more = file.read(BLOCK)
                except (EOFError, OSError, gzip.BadGzipFile) as error:
                    raise FileRefused(self.name, f"it ends before it should, or is damaged: {error}") from error
                end = self._end(rest, more) if more else len(rest)
                content = rest + more
                if len(content) > LINE_MOST and ((more and end == 0) or content.find(b"\n", 0, LINE_MOST + 1) < 0):
                    raise FileRefused(self.name, f"after byte {position} is a line of more than {LINE_MOST:,} bytes")
                begin = 0
                for cut in self._cuts(content[:end]):
                    position += cut - begin
                    yield Block(content[begin:cut], position, cut - begin)
                    begin = cut
                rest = content[end:]
                if not more:
                    return

    def _end(self, rest: bytes, more: bytes) -> int:
        """Give where in these two the last whole line ends; 0 for nowhere."""
        at = more.rfind(b"\n")
        return len(rest) + at + 1 if at >= 0 else 0

    def _cuts(self, content: bytes) -> list[int]:
        """Give where lines are cut into blocks of so many rows at most; their end, if there are any, is the last."""
        end = len(content)
        if content.count(b"\n") <= self._most:
            return [end] if end else []
        ends = np.flatnonzero(np.frombuffer(content, np.uint8) == _NEWLINE)
        cuts: list[int] = (self._last(content, ends) + 1).tolist()
        return cuts if cuts[-1] == end else [*cuts, end]

    def _last(self, _: bytes, ends: Places) -> Places:
        """Give which ends of lines are those of the last row of a block; there are more lines than a block may have."""
        return ends[self._most - 1 :: self._most]

    def _open(self, position: int) -> IO[bytes]:
        if not isinstance(self._file, Path):
            return self._file
        try:
            is_packed = self._file.suffix == ".gz"
            file = cast("IO[bytes]", gzip.open(self._file) if is_packed else self._file.open("rb"))  # noqa: SIM115
            file.seek(position)
        except OSError as error:
            raise FileRefused(self.name, error.strerror or str(error)) from error
        return file


class Csv(Lined):
    """CSV (RFC 4180) with a header; an empty cell is nothing given."""

    def __init__(self, file: Path | IO[bytes]) -> None:
        super().__init__(file)
        self.names = self._head()
        self.schema = readable_schema(_texts(self.names))

    def blocks(self, position: int = 0) -> Iterator[Block]:
        """Give the blocks after the header."""
        yield from super().blocks(position or self._begins)

    def read(self, block: Block) -> Read:
        """Read a block at once, or else row by row."""
        import pyarrow as pa
        import pyarrow.csv as pc

        schema = _texts(self.names)
        if not _is_plain(block.content):
            return self._one_by_one(block.content)
        try:
            table = pc.read_csv(
                pa.BufferReader(block.content),
                pc.ReadOptions(use_threads=False, block_size=len(block.content) + 1, column_names=self.names),
                pc.ParseOptions(newlines_in_values=b'"' in block.content),
                pc.ConvertOptions(column_types=schema, null_values=[""], strings_can_be_null=True),
            )
        except pa.ArrowInvalid:
            return self._one_by_one(block.content)
        return Read(_whole(table, schema), {})

    def _head(self) -> list[str]:
        """Read the header. Raises FileRefused."""
        with self._open(0) if isinstance(self._file, Path) else nullcontext(self._file) as file:
            line = b""
            try:
                line = file.readline(HEAD_MOST)
                text = line.decode("utf-8-sig")
                names = next(strictcsv.Rows([text]), [])
            except UnicodeDecodeError as error:
                raise FileRefused(self.name, f"line 1: {strictcsv.unread_line([line])[1]}") from error
            except (strictcsv.Error, EOFError, OSError) as error:
                raise FileRefused(self.name, f"its header cannot be read as CSV: {error}") from error
        if len(line) >= HEAD_MOST or not names:
            raise FileRefused(self.name, "its first line must name the columns")
        if other := strictcsv.other_than_ours(names):
            raise FileRefused(self.name, other)
        self._begins = len(line)
        return names

    def _end(self, rest: bytes, more: bytes) -> int:
        """Give where the last line ends outside quotes; where quotes do not match, where any does."""
        quotes, at = rest.count(b'"') + more.count(b'"'), len(more)
        while quotes % 2 or at == len(more):
            before = more.rfind(b"\n", 0, at)
            if before < 0:
                break
            quotes -= more.count(b'"', before + 1, at)
            at = before
            if quotes % 2 == 0:
                return len(rest) + at + 1
        if len(rest) + len(more) > LINE_MOST:
            return super()._end(rest, more)
        return 0

    def _last(self, content: bytes, ends: Places) -> Places:
        """Give ends outside quotes, but any where quotes cannot be meant so: no cell that is read has as many lines."""
        if b'"' in content:
            quotes = np.flatnonzero(np.frombuffer(content, np.uint8) == _QUOTE)
            rows = np.flatnonzero(np.searchsorted(quotes, ends) % 2 == 0)
            if len(rows) and np.diff(rows, prepend=-1, append=len(ends)).max() <= BATCH:
                last: Places = ends[rows[np.append(np.diff(rows // self._most) != 0, True)]]
                return last
        return super()._last(content, ends)

    def _one_by_one(self, content: bytes) -> Read:
        """Read row by row. One that is none is a line: those that a stray quote took in with it are read again."""
        rows: list[dict[str, str | None]] = []
        unread: dict[int, Unread] = {}
        text = io.StringIO(content.decode(errors="surrogateescape"), newline="\n").readlines()
        begin, lines, again = 0, strictcsv.Rows(text), AGAIN_MOST * len(text)
        while True:
            row: dict[str, str | None] = {}
            before = begin + lines.lines_read
            try:
                cells = next(lines, None)
            except strictcsv.Error as error:
                unread[len(rows)] = Reason("malformed_row", f"this is not a row of CSV: {error}")
                rows.append(row)
                taken = begin + lines.lines_read - before
                if taken > 1 and again > 0:
                    again -= taken
                    begin = before + 1
                    lines = strictcsv.Rows(map(text.__getitem__, range(begin, len(text))))
                continue
            if cells is None:
                return Read(_batch(rows, self.names), unread)
            if not cells:
                continue
            if len(cells) != len(self.names):
                why = f"has {len(cells)} cells, and the header {len(self.names)}"
                unread[len(rows)] = Reason("malformed_row", why)
            elif not all(map(is_text, cells)):
                unread[len(rows)] = Reason("malformed_row", "is not UTF-8")
            else:
                row = dict(zip(self.names, (cell or None for cell in cells), strict=True))
            rows.append(row)


class Ndjson(Lined):
    """JSON objects, one a line; `rules` and `exceptions` are tables and lists, or JSON in text, and null is nothing."""

    def __init__(self, file: Path | IO[bytes], rows: int | None = None) -> None:
        super().__init__(file, rows)
        self.schema = _texts(ASKED)

    def read(self, block: Block) -> Read:
        """Read a block at once, or else line by line."""
        import pyarrow as pa
        import pyarrow.json as pj

        content = block.content
        schema = self.schema
        strange = not _OPENS.match(content) or b"\0" in content or _OTHER.search(content) or _SURROGATE.search(content)
        if not strange and _is_utf8(content):
            with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
                table = pj.read_json(
                    pa.BufferReader(content),
                    pj.ReadOptions(use_threads=False, block_size=len(content) + 1),
                    pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
                )
                lines = content.count(b"\n") + (not content.endswith(b"\n"))
                if table.num_rows == lines and not table.column("state").null_count:  # null for a row has no state
                    return Read(_whole(table, schema), {})
        return self._one_by_one(content.split(b"\n"))

    def _one_by_one(self, lines: Sequence[bytes]) -> Read:
        rows: list[dict[str, str | None]] = []
        unread: dict[int, Unread] = {}
        for line in lines:
            if not line.strip(b" \t\r"):
                continue
            row: dict[str, str | None] = {}
            try:
                given = strictjson.loads(line)
                row, is_read = plain(given)
                if not is_read:
                    unread[len(rows)] = given
            except MalformedJson as refusal:
                unread[len(rows)] = Reason(refusal.code, str(refusal))
            except TypeError:
                unread[len(rows)] = Reason("malformed_row", "a row is a table of keys and values")
            rows.append(row)
        return Read(_batch(rows, ASKED), unread)


def plain(given: Any) -> tuple[dict[str, str | None], bool]:
    """Put a row that was JSON into texts, and say whether all of it could be. Raises TypeError where it is no table."""
    if not isinstance(given, dict):
        raise TypeError
    row = {name: _as_text(name, value) for name, value in given.items()}
    fits = all(name in ASKED and (value is None or is_text(value)) for name, value in row.items())
    known = {name: value for name, value in row.items() if name in ASKED and is_text(value)}
    return known, fits


class Parquet(Source):
    """Parquet; a position counts rows."""

    def __init__(self, file: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            schema = readable_schema(pq.read_schema(file))
            alike = [name for name in ALIKE if name in schema.names and schema.field(name).type == pa.string()]
            self._file = pq.ParquetFile(file, read_dictionary=alike)
        except (pa.ArrowException, OSError) as error:
            raise FileRefused(str(file), f"it is no Parquet, or damaged: {_first_line(error)}") from error
        self._name, self.total = str(file), self._file.metadata.num_rows
        self.schema = readable_schema(self._file.schema_arrow)

    def blocks(self, position: int = 0) -> Iterator[Block]:
        """Give the row groups in batches."""
        import pyarrow as pa

        metadata = self._file.metadata
        begin, groups = 0, list(range(metadata.num_row_groups))
        while groups and begin + metadata.row_group(groups[0]).num_rows <= position:
            begin += metadata.row_group(groups.pop(0)).num_rows
        try:
            for batch in _ahead(self._file.iter_batches(BATCH, groups, use_threads=False)):
                end = begin + batch.num_rows
                if end > position:
                    rest = batch.slice(max(0, position - begin))
                    yield Block(rest, end, rest.num_rows)
                begin = end
        except (pa.ArrowException, OSError) as error:
            raise FileRefused(self._name, f"it is damaged: {_first_line(error)}") from error

    def read(self, block: Block) -> Read:
        """Give the block as it is."""
        return Read(block.content, {})


class Arrow(Source):
    """Arrow IPC, a file or a stream; a position counts rows."""

    def __init__(self, file: Path) -> None:
        import pyarrow as pa

        self._path, self._name = file, str(file)
        try:
            with self._reader() as reader:
                self.schema = readable_schema(reader.schema)
        except (pa.ArrowException, OSError) as error:
            raise FileRefused(self._name, f"it is no Arrow IPC, or damaged: {_first_line(error)}") from error

    def _reader(self) -> Any:
        import pyarrow as pa

        mapped = pa.memory_map(str(self._path))
        try:
            return pa.ipc.open_file(mapped)
        except pa.ArrowInvalid:
            return pa.ipc.open_stream(mapped)

    def blocks(self, position: int = 0) -> Iterator[Block]:
        """Give the batches, none of them too long."""
        import pyarrow as pa

        begin = 0
        try:
            with self._reader() as reader:
                is_file = hasattr(reader, "num_record_batches")
                many = map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader)
                for batch in many:
                    batch.validate(full=True)
                    for offset in range(0, batch.num_rows, BATCH):
                        part = batch.slice(offset, BATCH)
                        end = begin + part.num_rows
                        if end > position:
                            rest = part.slice(max(0, position - begin))
                            yield Block(rest, end, rest.num_rows)
                        begin = end
        except (pa.ArrowException, OSError) as error:
            raise FileRefused(self._name, f"it is damaged: {_first_line(error)}") from error

    def read(self, block: Block) -> Read:
        """Give the block as it is."""
        return Read(block.content, {})


def _ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """Give batches, each read while the one before is worked on: to unpack them takes a fifth of all the time."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = thread.submit(next, batches, None)
            yield batch


def _path(file: Path | IO[bytes]) -> Path:
    if not isinstance(file, Path):
        raise FileRefused("standard input", "Parquet and Arrow are read from a file, not through a pipe")
    return file


def _texts(names: Sequence[str]) -> Any:
    """Give the schema of columns of text."""
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.string()) for name in names])


def _batch(rows: Sequence[dict[str, str | None]], names: Sequence[str]) -> Any:
    import pyarrow as pa

    columns = [pa.array([row.get(name) for row in rows], pa.string()) for name in names]
    return pa.record_batch(columns, names=list(names))


def _whole(table: Any, schema: Any) -> Any:
    """Give a table as one record batch with these columns."""
    import pyarrow as pa

    columns = [table.column(name).combine_chunks() for name in schema.names]
    columns = [column.chunk(0) if isinstance(column, pa.ChunkedArray) else column for column in columns]
    return pa.record_batch(columns, schema=schema)


def _is_plain(content: bytes) -> bool:
    """Tell whether pyarrow takes rows of CSV for what a strict reader takes them for, wherever they stand."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if content.startswith(_MARK):
        return False
    if b'"' not in content and b"\r" not in content:
        return True
    offsets = pa.py_buffer(np.array([0, len(content)], np.int32))
    whole = pa.Array.from_buffers(pa.binary(), 1, [None, offsets, pa.py_buffer(content)])
    return bool(pc.match_substring_regex(whole, _STRICT)[0].as_py())


def _is_utf8(content: bytes) -> bool:
    try:
        return content.isascii() or bool(content.decode() or True)
    except UnicodeDecodeError:
        return False


def _as_text(name: str, value: Any) -> Any:
    """Write rules and exceptions as JSON again; whatever else stays as it is."""
    if name in JSON and isinstance(value, dict | list):
        with suppress(orjson.JSONEncodeError, TypeError):
            return orjson.dumps(value).decode()
    return value


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].removesuffix(".")
