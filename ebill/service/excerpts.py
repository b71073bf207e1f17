"""The rows of a CSV file in which something is wrong, with their neighbours: what to show beside each fault."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TextIO

from ebill import strictcsv
from ebill.errors import CellFault, shown
from ebill.service.rows import CELL_MOST as READ_MOST

WHOLE: Final = 40
"""Rows up to which a file is shown whole."""
AROUND: Final = 1
"""Rows shown before and after a faulty one of a longer file."""
COLUMNS_MOST: Final = 40
"""Columns shown of a file, besides those with a fault."""
CELL_MOST: Final = 200
"""Characters of a cell that are shown."""
_SIGNS: Final = {**{code: 0x2400 + code for code in range(32)}, 0x7F: 0x2421}
"""The pictures of signs that no page shows."""


@dataclass(slots=True)
class ShownRow:
    """A row, by the line it begins on: its cells by column number, and what is wrong with them and with all of it.

    `follows` says that the row above it in the file is shown above it.
    """

    line: int
    cells: dict[int, str]
    faults: dict[int, list[str]] = field(default_factory=dict)
    of_all: list[tuple[str, str]] = field(default_factory=list)
    follows: bool = True


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Rows of a file with their faults; `columns` are the names of those shown, by number. `whole`: no row is left out.

    `elsewhere` are the faults of lines that could not be read as rows.
    """

    columns: dict[int, str]
    rows: list[ShownRow]
    elsewhere: list[CellFault]
    whole: bool
    count: int


def excerpt(file: TextIO, faults: Sequence[CellFault]) -> Excerpt:
    """Give the rows of a file that are faulty and those around them; of a short one, all."""
    of_line: dict[int, list[CellFault]] = {}
    for fault in faults:
        of_line.setdefault(fault.line, []).append(fault)
    read = _rows(file)
    _, header = next(read, (1, []))
    called: dict[str, int] = {}
    for number, name in enumerate(header):
        for each in (name.strip().removeprefix("\ufeff"), shown(name.strip())):
            called.setdefault(each, number)
    first, chosen, count = _chosen(read, of_line.keys())
    whole = count <= WHOLE
    rows = [ShownRow(1, dict(enumerate(header))), *(first if whole else chosen)]
    for row in rows:
        for fault in of_line.pop(row.line, ()):
            if fault.column and fault.column in called:
                row.faults.setdefault(called[fault.column], []).append(fault.detail)
            else:
                row.of_all.append((fault.column, fault.detail))
    head, *others = rows
    filled = {number for row in others for number, cell in row.cells.items() if cell}
    faulty = {number for row in rows for number in row.faults}
    named = [number for number in range(len(header)) if number in filled or number in faulty]
    kept = {*named[:COLUMNS_MOST], *faulty}
    names = {number: _plain(header[number]) for number in named if number in kept}
    for row in rows:
        row.cells = {number: _plain(cell) for number, cell in row.cells.items() if number in kept}
    is_empty = not (head.faults or head.of_all)
    elsewhere = [fault for of in of_line.values() for fault in of]
    return Excerpt(names, others if is_empty else rows, elsewhere, whole, count)


def _rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Give the rows as far as they can be read, each with the line it begins on."""
    reader = strictcsv.Rows(file, READ_MOST)
    begins = 1
    try:
        for cells in reader:
            yield begins, cells
            begins = reader.lines_read + 1
    except strictcsv.Error:
        return


def _chosen(
    read: Iterator[tuple[int, list[str]]], wanted: Collection[int]
) -> tuple[list[ShownRow], list[ShownRow], int]:
    """Give the first rows, the wanted ones with those around them, and how many there are."""
    first: list[ShownRow] = []
    chosen: list[ShownRow] = []
    before: deque[ShownRow] = deque(maxlen=AROUND)
    count = after = 0
    last = 0
    for line, cells in read:
        if not any(cells):
            continue
        count += 1
        row = ShownRow(line, dict(enumerate(cells)))
        if count <= WHOLE:
            first.append(ShownRow(line, dict(enumerate(cells))))
        if line in wanted:
            new = [*before, row]
            before.clear()
            after = AROUND
        elif after:
            new, after = [row], after - 1
        else:
            new = []
            before.append(row)
        if new:
            new[0].follows = count - len(new) == last
            chosen += new
            last = count
    return first, chosen, count


def _plain(text: str) -> str:
    """Give text as a page can show it: cut, and with pictures of signs that have no look."""
    plain = text if len(text) <= CELL_MOST else f"{text[: CELL_MOST - 1]}…"
    return plain.translate(_SIGNS)
