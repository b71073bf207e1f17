"""CSV read strictly: a quote that is not closed, or text after one, is refused, and so is a cell longer than it may be.

Python keeps one limit to cells for the whole process. So it is set once, as high as anybody needs it, and never again:
two who read at once would put it back one after the other, and then one reads by the limit of the other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

LONGEST: Final = 1 << 24
"""Characters of a cell that can be read at all."""
Error = csv.Error
AS_UTF8: Final = "save it as CSV in UTF-8"
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


def other_than_ours(names: Sequence[str]) -> str | None:
    """Say what a file is instead, where its header shows it: parted by another sign, or of another encoding; else None.

    >>> other_than_ours(["account_id;state"]), other_than_ours(["account_id", "state"])
    ('its columns are parted by semicolons: save it with commas', None)
    """
    if any("\x00" in name for name in names):
        return f"it is in UTF-16, as it seems: {AS_UTF8}"
    for sign, called in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and sign in names[0]:
            return f"its columns are parted by {called}: save it with commas"
    return None


def unread_line(lines: Iterable[bytes]) -> tuple[int, str]:
    """Give the number of the first line that is not UTF-8, from 1, and what is wrong with it; 0 where all are."""
    for number, line in enumerate(lines, 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            kind = "it is in UTF-16, as it seems" if line[:2] in (b"\xff\xfe", b"\xfe\xff") else "it is not in UTF-8"
            return number, f"{kind}: {AS_UTF8}"
    return 0, f"it is not in UTF-8: {AS_UTF8}"
