"""Block after block through the rules, on several threads, in order.

What takes time (reading, dates, writing text) is done by pyarrow and numpy, which let other threads run meanwhile;
so threads are enough for two cores, and what they found out of accounts alike is there for all of them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, Final, NamedTuple

from ebill.batch.tables import Answered, Batches
from ebill.files.giving import Giving, Rejects
from ebill.files.kept import Done, Kept
from ebill.files.taking import Block, Source

PART: Final = 1 << 20
"""Rows after which what is done so far is made to last: what a crash loses at most."""
THREADS: Final = min(8, os.cpu_count() or 1)
Told = Callable[[int, int], object]
"""Told how much of the input is done, and how many rows."""
Blocks = Callable[[int], Iterator[Block]]
"""Gives the blocks after a position."""
Answer = Callable[[Block], Answered]
"""Answers the rows of a block; several threads may ask at once."""


class _Made(NamedTuple):
    """A block's answers, ready to be written; `rejected` are those without dates, where they are wanted apart."""

    written: Any
    rejected: Answered | None
    rows: int
    refused: int


def run(
    blocks: Blocks,
    answer: Answer,
    giving: Giving,
    kept: Kept,
    rejects: Rejects | None,
    told: Told = lambda *_: None,
    threads: int = THREADS,
) -> Done:
    """Answer all of an input into a file that appears when it is whole. Give what was done of it."""
    giving.begin(kept.data, kept.folder)
    if rejects is not None and kept.rejects.tell() == 0:
        kept.rejects.write(rejects.head())
    position, rows, refused, *_ = kept.done
    noted = rows
    for block, made in _answered(blocks(position), answer, giving, threads, apart=rejects is not None):
        if kept.is_resumable and rows - noted >= PART:
            giving.keep(kept.data)
            kept.note(position, rows, refused)
            noted = rows
        giving.write(made.written, kept.data)
        kept.hurry()
        if kept.is_resumable:
            giving.remember(made.written)
        if rejects is not None and made.rejected is not None:
            kept.rejects.write(rejects.write(made.rejected, rows))
        position, rows, refused = block.position, rows + made.rows, refused + made.refused
        told(block.position, rows)
    kept.finish(giving.finish())
    return Done(position, rows, refused)


def pipe(
    blocks: Blocks, answer: Answer, giving: Giving, file: IO[bytes], told: Told = lambda *_: None,
    threads: int = THREADS,
) -> Done:  # fmt: skip
    """Answer all of an input into a file that is read meanwhile, such as standard output."""
    giving.begin(file, None)
    position = rows = refused = 0
    for block, made in _answered(blocks(0), answer, giving, threads, apart=False):
        giving.write(made.written, file)
        position, rows, refused = block.position, rows + made.rows, refused + made.refused
        told(block.position, rows)
    return Done(position, rows, refused)


def answering(source: Source, batches: Batches) -> Answer:
    """Answer the blocks of a file."""

    def answer(block: Block) -> Answered:
        return batches.answer(*source.read(block))

    return answer


def _answered(
    blocks: Iterator[Block], answer: Answer, giving: Giving, threads: int, *, apart: bool
) -> Iterator[tuple[Block, _Made]]:
    """Give the answers of block after block, in order; a few are worked on at once."""

    def work(block: Block) -> _Made:
        answered = answer(block)
        rejected = answered if apart and answered.reason is not None else None
        return _Made(giving.made(answered), rejected, len(answered.numbers), answered.refused)

    waiting: deque[tuple[Block, Future[_Made]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for block in blocks:
                waiting.append((block, pool.submit(work, block)))
                if len(waiting) > threads:
                    done, made = waiting.popleft()
                    yield done, made.result()
            while waiting:
                done, made = waiting.popleft()
                yield done, made.result()
        finally:
            for _, left in waiting:
                left.cancel()
