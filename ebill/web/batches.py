"""The calculator for many rows at once: public, no client data is touched, and answered line by line as it goes.

One caller must not starve the rest: the body waits on disk, some thousand rows are in memory at a time, few batches are
answered at a time, and the rules of so many kinds of accounts are checked and no more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import IO, Final

from ebill.batch.asked import ASKED
from ebill.batch.tables import Batches
from ebill.errors import BatchesBusy, LineTooLong, TooManyRows
from ebill.files.taking import LINE_MOST
from ebill.files.taking import Ndjson as Lined
from ebill.render.lines import Lines
from ebill.web.routes import Asked, Ndjson, Route
from ebill.web.streamed import Streamed

ROWS_MOST: Final = 100_000
KINDS_MOST: Final = 250
"""Fewer than the lives that a rule book keeps, so that none is made twice."""
ROWS_AT_ONCE: Final = 1 << 13
AT_ONCE: Final = 2
"""Batches that one process answers; its other threads are for the others."""
_BLOCK: Final = 1 << 20
_turns = threading.BoundedSemaphore(AT_ONCE)


def calculate_batch(asked: Asked) -> Streamed:
    """Compute the dates of up to 100,000 rows, each a bill account's coverage month, as NDJSON: an object a line.

    They come as NDJSON too, or, up to 256 kB of them, as one list in JSON.

    A row has `state` and `coverage_month`, and may have `client_id`, `account_id`, `product`, `rules`, `exceptions`,
    `last_coverage_month`, `as_of` and `paid_at`, all as in `POST /v1/calculate`; null is "not given". Each is
    answered by a line, in the same order: the ids as they came, the six dates, `as_of`, `standing`, `warnings`
    (codes), what a payment means, and `reason` and `detail`, which are null where there are dates. A bad row has a
    code and sentences there, and stops no other. A line ends with a newline, and has 16 MB at most. Where the service
    itself fails on the way, the last line is no row but a problem, as errors are: it has `type`, `status` 500, `code`
    `internal_error` and `request_id`, and the rows after those answered have no lines. At most 32 MB and 250 kinds of
    accounts (state, product, rules, exceptions, last month) at once: rows of any more have the reason
    `too_many_rule_sets`. Each process answers two batches at a time.
    """
    file: IO[bytes] = asked.body
    if not _turns.acquire(blocking=False):
        file.close()
        raise BatchesBusy
    answer = Streamed(_answered(asked, file), partial(_let_go, file))
    try:
        _refuse_more(file)
    except BaseException:
        answer.close()
        raise
    return answer


def _answered(asked: Asked, file: IO[bytes]) -> Iterator[bytes]:
    source, lines = Lined(file, ROWS_AT_ONCE), Lines("ndjson", ASKED)
    batches = Batches(asked.book, now=asked.now, most_kinds=KINDS_MOST)
    for block in source.blocks():
        yield bytes(lines.write(batches.answer(*source.read(block))))


def _let_go(file: IO[bytes]) -> None:
    """Let the next caller in."""
    file.close()
    _turns.release()


def _refuse_more(file: IO[bytes]) -> None:
    """Refuse, before anything is answered, what could not be answered to its end. Raises TooManyRows, LineTooLong."""
    lines = open_ = 0
    for block in iter(lambda: file.read(_BLOCK), b""):
        found = block.count(b"\n")
        if open_ + (block.find(b"\n") if found else len(block)) > LINE_MOST:
            raise LineTooLong(LINE_MOST)
        open_ = len(block) - 1 - block.rfind(b"\n") if found else open_ + len(block)
        lines += found
        if lines + (open_ > 0) > ROWS_MOST:
            raise TooManyRows(ROWS_MOST)
    file.seek(0)


EXAMPLE: Final = (
    '{"account_id": "A1", "state": "PA", "coverage_month": "2026-08", "as_of": "2026-08-03"}\n'
    '{"account_id": "A2", "state": "NY", "coverage_month": "2026-08", "rules": {"grace": {"days": 45}}}\n'
)

ROUTES: Final = (
    Route(
        method="POST",
        path="/v1/calculate/batch",
        allows="public",
        view=calculate_batch,
        summary="The dates of many invoices",
        gives=Ndjson,
        body=Ndjson,
        example=EXAMPLE,
        refuses=(TooManyRows, LineTooLong, BatchesBusy),
    ),
)
