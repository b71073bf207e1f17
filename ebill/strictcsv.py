"""CSV read strictly: a quote that is not closed, or text after one, is refused, and so is a cell longer than it may be.

Python keeps one limit to cells for the whole process. So it is set once, as high as anybody needs it, and never again:
two who read at once would put it back one after the other, and then one reads by the limit of the other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Final

LONGEST: Final = 1 << 24
"""Characters of a cell that can be read at all."""
Error = csv.Error
csv.field_size_limit(LONGEST)


class Rows:
    """The rows of a file in CSV, each a list of its cells. Raises `Error` for a row that is none, and goes on after it.

    `longest` is how many characters a cell may have. A row that has a longer one is none.
    """

    def __init__(self, lines: Iterable[str], longest: int = LONGEST) -> None:
        self._rows, self._longest = csv.reader(lines, strict=True), longest

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        """Give the next row."""
        cells = next(self._rows)
        if max(map(len, cells), default=0) > self._longest:
            raise Error(f"a cell has more than {self._longest:,} characters")
        return cells

    @property
    def lines_read(self) -> int:
        """How many lines were read so far."""
        return self._rows.line_num
