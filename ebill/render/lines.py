"""Millions of answers as lines of text, CSV or NDJSON: what is the same for all rows of an entry is written once.

A line is put together from a few ready texts (whose row it is, the text of its entry, what is told of a payment) by
pyarrow, for a whole batch at once; so it is faster to write than the columns would be. Only rows without dates, and
ids that need quoting, are written one by one.
"""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, cast

import numpy as np
import orjson

from ebill.batch.asked import IDS, written_months
from ebill.batch.columns import NONE
from ebill.batch.laid import SUPPORTED, Entries, month_text
from ebill.batch.tables import ECHOED, PAID, REFLECTED, TIMELINESS, WARNED, Answered, Reason
from ebill.render.csv import FORMULA, cell
from ebill.schedule import DATE_NAMES
from ebill.standing import STANDINGS

Form = Literal["csv", "ndjson"]
CSV_END: Final = "\r\n"
_FIRST: Final = int(np.datetime64("1999-01-01", "D").astype(int))
_COUNT: Final = int(np.datetime64("2102-01-01", "D").astype(int)) - _FIRST
_QUOTED: Final[Mapping[Form, str]] = {
    "csv": '[",\r\n]|^ *[' + re.escape("".join(FORMULA)) + "]",
    "ndjson": r'["\\\x00-\x1f]',
}
"""Texts that are written one by one: whatever is not written as it is."""


class Lines:
    """Writes answers in one form; several threads may ask at once.

    `named` are the columns of the input, which say which columns there are; without `reasons` there is none of these,
    nor any row that has one.
    """

    def __init__(self, form: Form, named: Sequence[str], *, reasons: bool = True) -> None:
        self.form, self.reasons = form, reasons
        self.echoed = [name for name in ECHOED if name in named]
        self._pays = "paid_at" in named
        self._kept: dict[bool, tuple[Any, Sequence[Any]]] = {}
        self._lock = threading.Lock()

    @property
    def columns(self) -> list[str]:
        """Name the columns."""
        paid = PAID if self._pays else ()
        why = ("reason", "detail") if self.reasons else ()
        return [*self.echoed, *DATE_NAMES, "as_of", "standing", "warnings", *paid, *why]

    def head(self) -> bytes:
        """Give what comes before the first line."""
        return (",".join(self.columns) + CSV_END).encode() if self.form == "csv" else b""

    def write(self, answered: Answered) -> bytes | memoryview:
        """Write a batch."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not len(answered.numbers):
            return b""
        numbers, of_rows = pa.array(answered.numbers), answered.as_of is not None or answered.recorded
        before, after = (
            None if text is None else text.take(numbers) for text in self._texts(answered.entries, of_rows=of_rows)
        )
        pieces: list[Any] = ["{" if self.form == "ndjson" else ""]
        for name in self.echoed:
            if name in IDS:
                pieces += [self._before(name), self._ids(answered.asked.column(name))]
        pieces += [before]
        if of_rows:
            by = np.take(answered.entries.today, answered.numbers) if answered.as_of is None else answered.as_of
            as_of, stands = np.where(answered.standing < 0, NONE, by), answered.standing
            pieces += [self._before("as_of"), self._days(as_of), self._before("standing")]
            pieces += [self._words(STANDINGS, stands), self._before("warnings"), after]
        if answered.posted is None:
            pieces += [self._before(name) + self._value(None) for name in PAID if self._pays]
        else:
            for name, days in zip(PAID, answered.posted[1:], strict=False):
                pieces += [self._before(name), self._days(days)]
            pieces += [self._before(PAID[3]), self._words(TIMELINESS, answered.timeliness)]
            pieces += [self._before(PAID[4]), self._words(REFLECTED, answered.reflected)]
        lines = pc.binary_join_element_wise(*_merged(pieces), self._end(), "")
        if answered.reason is not None:
            wrong = pa.array(answered.reason >= 0)
            if self.reasons:
                lines = pc.replace_with_mask(lines, wrong, pa.array(list(self._refused(answered)), pa.string()))
            else:
                lines = lines.filter(pc.invert(wrong))
        return _content(lines)

    def _refused(self, answered: Answered) -> Iterator[str]:
        """Write the rows without dates."""
        for _, row, why in refused(answered):
            values = {**dict.fromkeys(self.columns), **row, "reason": why.code, "detail": why.detail}
            yield record(values, self.form)

    def _texts(self, entries: Entries, *, of_rows: bool) -> tuple[Any, Any]:
        """Give the text of each entry, and what comes after the standing where that is written by row."""
        import pyarrow as pa

        with self._lock:
            kinds, texts = self._kept.get(of_rows, (None, ()))
            known = 0 if kinds is not entries.kinds or not texts else len(texts[0])
            if known < len(entries.usable):
                new = self._written(entries, known, of_rows=of_rows)
                if known:
                    new = [None if more is None else pa.concat_arrays([text, more])
                           for text, more in zip(texts, new, strict=True)]  # fmt: skip
                texts = new
                self._kept[of_rows] = entries.kinds, texts
        return texts[0], texts[1]

    def _written(self, entries: Entries, begin: int, *, of_rows: bool) -> Sequence[Any]:
        """Write the entries from a number on."""
        import pyarrow as pa
        import pyarrow.compute as pc

        entries = entries.cut(slice(begin, None))
        echoed = [name for name in self.echoed if name in ("state", "product")]
        of_kind = pa.array([self._of_kind(echoed, kind) for kind in entries.kinds] or [""], pa.string())
        months = pa.array([self._quoted(month_text(number)) for number in range(SUPPORTED)])
        pieces = [of_kind.take(pa.array(entries.kind)), self._before("coverage_month")]
        pieces += [months.take(pa.array(entries.month))]
        for name in DATE_NAMES:
            pieces += [self._before(name), self._days(entries.column(name))]
        warned = self._warned().take(pa.array(entries.warned))
        if of_rows:
            return pc.binary_join_element_wise(*_merged(pieces), ""), warned
        pieces += [self._before("as_of"), self._days(entries.today)]
        pieces += [self._before("standing"), self._words(STANDINGS, entries.standing), self._before("warnings"), warned]
        return pc.binary_join_element_wise(*_merged(pieces), ""), None

    def _of_kind(self, names: Sequence[str], kind: Hashable) -> str:
        told = dict(zip(("state", "product"), cast("tuple[str | None, ...]", kind), strict=False))
        return "".join(self._before(name) + self._value(told[name]) for name in names)

    def _before(self, name: str) -> str:
        """Give what stands before a value."""
        between = "" if name == self.echoed[0] else ","
        return between if self.form == "csv" else f'{between}"{name}":'

    def _end(self) -> str:
        if self.form == "csv":
            return ",," + CSV_END if self.reasons else CSV_END
        return ',"reason":null,"detail":null}\n' if self.reasons else "}\n"

    def _value(self, value: str | None) -> str:
        if self.form == "ndjson":
            return orjson.dumps(value).decode()
        written = io.StringIO()
        csv.writer(written, lineterminator=CSV_END).writerow([cell(value), ""])  # what ends a line is quoted
        return written.getvalue().removesuffix(f",{CSV_END}")

    def _quoted(self, text: str) -> str:
        return f'"{text}"' if self.form == "ndjson" else text

    def _days(self, days: Any) -> Any:
        import pyarrow as pa

        return _day_texts(self.form).take(pa.array(np.where(days == NONE, _COUNT, days - _FIRST)))

    def _words(self, words: Sequence[str], numbers: Any) -> Any:
        import pyarrow as pa

        nothing = "null" if self.form == "ndjson" else ""
        texts = pa.array([nothing, *(self._quoted(word) for word in words)])
        return texts.take(pa.array(np.asarray(numbers).astype(np.int16) + 1))

    def _warned(self) -> Any:
        import pyarrow as pa

        return pa.array([orjson.dumps(text.split()).decode() for text in WARNED] if self.form == "ndjson" else WARNED)

    def _ids(self, column: Any) -> Any:
        """Write ids; null as what there is not."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not pa.types.is_string(column.type):
            column = column.cast(pa.string())
        special = pc.fill_null(pc.match_substring_regex(column, _QUOTED[self.form]), fill_value=False)
        plain = column if self.form == "csv" else pc.binary_join_element_wise('"', column, '"', "")
        if pc.any(special).as_py():
            texts = [self._value(value) for value in column.filter(special).to_pylist()]
            plain = pc.replace_with_mask(plain, special, pa.array(texts, pa.string()))
        return plain.fill_null("null" if self.form == "ndjson" else "") if plain.null_count else plain


def refused(answered: Answered) -> Iterator[tuple[int, dict[str, str | None], Reason]]:
    """Give the rows without dates: the place of each in its batch, whose it is, and why."""
    import pyarrow as pa

    if answered.reason is None:
        return
    rows = np.flatnonzero(answered.reason >= 0)
    asked = answered.asked.select([name for name in ECHOED if name in answered.asked.schema.names])
    asked = asked.set_column(
        asked.schema.get_field_index("coverage_month"), "coverage_month", written_months(asked.column("coverage_month"))
    )
    found = asked.take(pa.array(rows)).to_pylist()
    for place, row, number in zip(rows.tolist(), found, answered.reason[rows].tolist(), strict=True):
        yield place, row, answered.reasons[number]


def record(values: Mapping[str, Any], form: Form) -> str:
    """Write one line from plain values; warnings are a list in NDJSON."""
    if form == "ndjson":
        return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE).decode()
    written = io.StringIO()
    csv.writer(written, lineterminator=CSV_END).writerow([cell(value) for value in values.values()])
    return written.getvalue()


@lru_cache(maxsize=2)
def _day_texts(form: Form) -> Any:
    """Give how each day is written, and after the last one how none is."""
    import pyarrow as pa

    texts = np.datetime_as_string(np.arange(_FIRST, _FIRST + _COUNT).astype("datetime64[D]")).tolist()
    if form == "ndjson":
        return pa.array([*(f'"{text}"' for text in texts), "null"])
    return pa.array([*texts, ""])


def _merged(pieces: Sequence[Any]) -> list[Any]:
    """Put texts that stand beside each other into one: each piece costs a pass over all rows."""
    merged: list[Any] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        elif not (isinstance(piece, str) and not piece):
            merged.append(piece)
    return merged


def _content(lines: Any) -> bytes | memoryview:
    """Give the text of lines, one after the other, as it lies in memory."""
    import pyarrow as pa

    if isinstance(lines, pa.ChunkedArray):
        lines = lines.combine_chunks()
    if not len(lines):
        return b""
    _, offsets, content = lines.buffers()
    bounds = np.frombuffer(offsets, np.int32)[lines.offset :]
    return memoryview(content)[bounds[0] : bounds[len(lines)]]
