"""The columns that a table asks with, as they are read: which there may be, of which types, and what is alike in them.

What is alike is read once: a column of text becomes numbers and the distinct texts they stand for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ebill.batch import moments
from ebill.batch.apart import Numbers
from ebill.batch.columns import NONE
from ebill.batch.moments import BAD, GOOD, Moments
from ebill.errors import Fault, TableRefused, did_you_mean, pointer

IDS: Final = ("client_id", "account_id")
KIND: Final = ("state", "product", "rules", "exceptions", "last_coverage_month")
"""The columns that make accounts alike."""
ASKED: Final = (*IDS, *KIND, "coverage_month", "as_of", "paid_at")
NEEDED: Final = ("state", "coverage_month")
_LOOKED_AT: Final = 1 << 10
"""Texts that are looked at for whether most of a column differ."""
_NOT_ASCII: Final = 128


def readable_schema(given: Any) -> Any:
    """Give the schema under which columns are read. Raises TableRefused, every fault at once."""
    pa = arrow()
    found: list[Fault] = []
    fields = []
    for name, times in Counter(given.names).items():
        if times > 1:
            found.append(Fault(pointer(name), "is there more than once"))
        elif name not in ASKED:
            found.append(Fault(pointer(name), f"unknown column{did_you_mean(name, ASKED)}"))
        else:
            field = given.field(name)
            as_read = _read_as(name, field.type)
            if as_read is None:
                found.append(Fault(pointer(name), f"must be {_MUST_BE.get(name, 'text')}, not {field.type}"))
            else:
                fields.append(pa.field(name, as_read))
    found += [Fault(pointer(name), "is required") for name in NEEDED if name not in given.names]
    if found:
        raise TableRefused(found)
    return pa.schema(fields)


def readable(batch: Any) -> tuple[Any, dict[int, str]]:
    """Give a record batch with its columns as they are read, and the rows with text that is no UTF-8: in which column.

    Such text is null there. Raises TableRefused, also for an index that is not in its dictionary: whoever does not look
    would read another row's text, or whatever lies in memory.
    """
    pa = arrow()
    wanted = readable_schema(batch.schema)
    columns, unreadable, as_it_is = [], dict[int, str](), wanted.equals(batch.schema)
    for name, kind in zip(wanted.names, wanted.types, strict=True):
        given = batch.column(name)
        try:
            column, bad = _sound(given)
            as_it_is = as_it_is and column is given
            unreadable = {**dict.fromkeys(np.flatnonzero(bad).tolist(), name), **unreadable}
            columns.append(column if column.type == kind else _cast(column, kind))
        except IndexError:
            raise TableRefused([Fault(pointer(name), "has an index that its dictionary does not have")]) from None
        except pa.ArrowException:
            raise TableRefused([Fault(pointer(name), _lost(kind))]) from None
    return batch if as_it_is else pa.record_batch(columns, schema=wanted), unreadable


def _lost(kind: Any) -> str:
    """Say what a column must be of which something would be lost."""
    types = arrow().types
    if types.is_date(kind):
        return "must be whole days"
    return "must be whole microseconds" if types.is_timestamp(kind) else "is damaged"


def _cast(column: Any, kind: Any) -> Any:
    """Read a column as another type. Raises ArrowInvalid where anything of it would be lost."""
    pa = arrow()
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    found = plain.cast(kind)
    if pa.types.is_date(kind) and not found.cast(plain.type).equals(plain):  # a clock time is cut off in silence
        raise pa.ArrowInvalid
    return found


def _sound(column: Any) -> tuple[Any, npt.NDArray[np.bool_]]:
    """Give a column without what is no UTF-8, and which rows had that. Raises IndexError, ArrowInvalid."""
    pa = arrow()
    none = np.zeros(len(column), bool)
    is_coded = pa.types.is_dictionary(column.type)
    kind = column.type.value_type if is_coded else column.type
    as_bytes = next((found for test, found in _as_bytes() if test(kind)), None)
    if as_bytes is None and not is_coded:
        return column, none
    if as_bytes is not None and not is_coded and _is_ascii(column):
        return column, none
    with suppress(pa.ArrowException):
        column.validate(full=True)
        if as_bytes is None or not is_coded or not column.dictionary.null_count:  # Parquet writes no such dictionary
            return column, none
    if is_coded:
        given = column.indices.drop_null().cast(pa.int64()).to_numpy()
        words, wrong = _sound(column.dictionary)
        if given.min(initial=0) < 0 or given.max(initial=-1) >= len(words):
            raise IndexError
        there = column.indices.is_valid().to_numpy(zero_copy_only=False)
        none[there], missing = wrong[given], ~there
        missing[there] = ~words.is_valid().to_numpy(zero_copy_only=False)[given]
        indices = pa.array(np.where(missing, 0, column.indices.fill_null(0)), column.indices.type, mask=missing)
        return pa.DictionaryArray.from_arrays(indices, words.fill_null("") if as_bytes else words), none
    held = column.cast(as_bytes)
    held.validate(full=True)
    texts = [None if value is None else _text(value) for value in held.to_pylist()]
    found = pa.array(texts, kind)
    return found, column.is_valid().to_numpy(zero_copy_only=False) & ~found.is_valid().to_numpy(zero_copy_only=False)


def _is_ascii(column: Any) -> bool:
    """Tell whether texts are ASCII and lie where they should: all bytes at once are faster seen than each text."""
    if not arrow().types.is_string(column.type) or not len(column):
        return False
    column.validate()
    _, offsets, content = column.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(column) + 1, np.int32().itemsize * column.offset)
    if content is None or (bounds[1:] < bounds[:-1]).any() or not 0 <= bounds[0] <= bounds[-1] <= content.size:
        return False
    return bool(np.frombuffer(content, np.uint8)[bounds[0] : bounds[-1]].max(initial=0) < _NOT_ASCII)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


@cache
def _as_bytes() -> Any:
    pa = arrow()
    return (
        (pa.types.is_string, pa.binary()),
        (pa.types.is_large_string, pa.large_binary()),
        (pa.types.is_string_view, pa.binary_view()),
    )


_MUST_BE: Final[Mapping[str, str]] = {
    "coverage_month": "text or date32",
    "last_coverage_month": "text or date32",
    "as_of": "text or date32",
    "paid_at": "text, date32 or a timestamp",
}


def _read_as(name: str, kind: Any) -> Any:
    """Give the type that a column of a type is read as; None where it cannot be read."""
    pa = arrow()
    if pa.types.is_dictionary(kind):
        value = _read_as(name, kind.value_type)
        is_plain = pa.types.is_string(kind.value_type) and pa.types.is_signed_integer(kind.index_type)
        return kind if is_plain else value
    if any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        return pa.string()
    if pa.types.is_null(kind):
        return pa.string()
    if name == "paid_at" and pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz=kind.tz) if kind.tz is None or _is_zone(kind.tz) else None
    is_day = pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.tz is None)
    return pa.date32() if is_day and name in _MUST_BE else None


def _is_zone(name: str) -> bool:
    try:
        return moments.zone_of(name) is not None
    except ValueError:
        return False


def encoded(column: Any) -> tuple[Numbers, list[str | None]]:
    """Give a column of texts as numbers, and the text of each; the last one is that of null."""
    if arrow().types.is_date32(column.type):
        column = written_months(column)
    codes, distinct = coded(column)
    return codes, [*distinct.to_pylist(), None]


def coded(column: Any) -> tuple[Numbers, Any]:
    """Give a column as numbers, and the distinct values that they stand for; the number after their last is null."""
    pa = arrow()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    indices = column.indices
    if indices.null_count:
        indices = indices.cast(pa.int32()).fill_null(len(column.dictionary))
    return indices.to_numpy(zero_copy_only=False), column.dictionary


def _with_null(distinct: Any) -> Any:
    """Give the distinct values of a column with null as the one after their last, as `coded` numbers it."""
    return arrow().concat_arrays([distinct, arrow().nulls(1, distinct.type)])


def days_of(column: Any) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Give a column's days, `NONE` for null, and which are no supported dates."""
    pa = arrow()
    if pa.types.is_date32(column.type):
        days = column.cast(pa.int32()).fill_null(0).to_numpy()
        told = moments.of_days(days, column.is_valid().to_numpy(zero_copy_only=False)).told
        return np.where(told == GOOD, days, NONE), told == BAD
    codes, texts = coded(column)
    of_text, bad = moments.read_days(_with_null(texts))
    return np.take(of_text, codes), np.take(bad, codes)


def moments_of(column: Any) -> Moments:
    """Give a column's moments, whether they are days, timestamps or text."""
    pa = arrow()
    if pa.types.is_date32(column.type):
        days = column.cast(pa.int32()).fill_null(0).to_numpy()
        return moments.of_days(days, column.is_valid().to_numpy(zero_copy_only=False))
    if pa.types.is_timestamp(column.type):
        clocks = column.cast(pa.int64()).fill_null(0).to_numpy()
        return moments.of_clocks(clocks, column.is_valid().to_numpy(zero_copy_only=False), column.type.tz)
    if not pa.types.is_dictionary(column.type) and 2 * len(column[:_LOOKED_AT].unique()) > len(column[:_LOOKED_AT]):
        return moments.read(column)  # to find the few that are alike would take longer
    codes, texts = coded(column)
    return moments.read(_with_null(texts)).take(codes)


def written_months(column: Any) -> Any:
    """Write coverage months that are dates as text; a date that is not the 1st is written as it is."""
    pa = arrow()
    if not pa.types.is_date32(column.type):
        return column
    coded = column.dictionary_encode()
    texts = [day if day is None else day.removesuffix("-01") for day in _day_texts(coded.dictionary)]
    return pa.array(texts, pa.string()).take(coded.indices)


def _day_texts(column: Any) -> list[str | None]:
    """Write days, also those of years for which Python has no dates."""
    days = column.cast(arrow().int32())
    texts = np.datetime_as_string(days.fill_null(0).to_numpy().astype("datetime64[D]")).tolist()
    return [text if given else None for text, given in zip(texts, days.is_valid().to_pylist(), strict=True)]


def texts_of(column: Any, *, is_month: bool) -> list[str | None]:
    """Give a column as texts, as a question says them."""
    pa = arrow()
    if is_month:
        return written_months(column).to_pylist()  # type: ignore[no-any-return]
    if pa.types.is_date32(column.type):
        return _day_texts(column)
    if pa.types.is_timestamp(column.type):
        try:
            return [None if value is None else value.isoformat() for value in column.to_pylist()]
        except (ValueError, OverflowError):
            return column.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
    return column.to_pylist()  # type: ignore[no-any-return]


@cache
def arrow() -> Any:
    """Give pyarrow, imported when it is first used."""
    import pyarrow as pa

    return pa
