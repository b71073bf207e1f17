"""The same tables on Spark: each partition's batches are answered where they are, and nothing is shuffled.

The rule book travels once to each machine, as the text it was read from: some kilobytes. What a worker has found out
of accounts alike it keeps for its next task. Every machine needs this package, with the same release of `holidays`:
another would give other dates, so it is refused.

Needs the extra `spark`; pyspark is imported by whoever has a DataFrame already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from functools import lru_cache, partial
from typing import Any, Final

from ebill.batch.tables import ANSWERED, ECHOED, PAID, Batches
from ebill.dates import library_release
from ebill.errors import OtherRelease
from ebill.reading import read
from ebill.rulebook import RuleBook
from ebill.schedule import DATE_NAMES

DAYS: Final = frozenset({*DATE_NAMES, "as_of", *PAID[:3]})


def schedule(frame: Any, book: RuleBook, *, as_of: date | None = None, now: datetime | None = None) -> Any:
    """Give the dates of a Spark DataFrame of questions as a DataFrame; columns as in `ebill.batch.tables`.

    `as_of` and `now` as there. Raises TableRefused when it is computed, as Spark's own exception, for columns that
    cannot be read.
    """
    rules = frame.sparkSession.sparkContext.broadcast((book.source, book.version, library_release()))
    absent = {name for name in ECHOED if name not in frame.columns} | (set() if "paid_at" in frame.columns else {*PAID})
    names = [name for name in ANSWERED if name not in absent]
    types = ", ".join(f"{name} {'date' if name in DAYS else 'string'}" for name in names)
    return frame.mapInArrow(partial(_answers, rules, as_of, now), types)


def _answers(rules: Any, as_of: date | None, now: datetime | None, batches: Iterable[Any]) -> Iterator[Any]:
    """Answer the batches of a partition."""
    asked = _batches(*rules.value, as_of, now)
    for batch in batches:
        yield _plain(asked.answer(batch).record_batch())


@lru_cache(maxsize=2)
def _batches(source: bytes, version: str, release: str, as_of: date | None, now: datetime | None) -> Batches:
    """Read the rule book, once in each process. Raises OtherRelease where the holidays are not the driver's."""
    if release != library_release():
        raise OtherRelease(release, library_release())
    book = read(source, version).book
    return Batches(book, as_of=as_of, now=now)


def _plain(batch: Any) -> Any:
    """Write words out: Spark knows no dictionaries."""
    import pyarrow as pa

    kinds = [(field.name, pa.date32() if pa.types.is_date32(field.type) else pa.string()) for field in batch.schema]
    return batch.cast(pa.schema(kinds))
