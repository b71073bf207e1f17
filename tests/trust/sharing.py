"""Work that two processes share, one for each processor that there is at least."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context


@contextmanager
def two_processes() -> Iterator[ProcessPoolExecutor]:
    """Give them; where one fails, what was not begun is dropped."""
    pool = ProcessPoolExecutor(2, get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
