"""A body that is sent piece by piece and holds something meanwhile, which it gives back once, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Streamed:
    """Pieces of an answer; what is held is let go with the last of them, or when nobody reads on.

    A server ends a body in chunks as if it were whole, whatever is raised on the way. So where `last` is set, what is
    raised is none of the reader's: what `last` makes of it is the last piece.
    """

    last: Callable[[Exception], bytes] | None = None

    def __init__(self, pieces: Iterable[bytes], let_go: Callable[[], None]) -> None:
        self._source, self._pieces, self._let_go = pieces, iter(pieces), let_go
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """Give the next piece."""
        try:
            return next(self._pieces)
        except StopIteration:
            self.close()
            raise
        except BaseException as error:
            self.close()
            if self.last is None or not isinstance(error, Exception):
                raise
            self._pieces = iter(())
            return self.last(error)

    def close(self) -> None:
        """End it; to end it again is nothing."""
        if self._is_open:
            self._is_open = False
            try:
                close(self._source)
            finally:
                self._let_go()

    def __del__(self) -> None:
        """End it where the server forgot to, as when its reader is gone."""
        self.close()


def close(found: Any) -> None:
    """Close what can be closed."""
    if hasattr(found, "close"):
        found.close()
