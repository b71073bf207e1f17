"""Rows of a CSV file about clients: what each record may fill, how its cells are read, and how they are written.

One row is one record: a `client`, a `bill_account`, a `rule` or an `exception`. An empty cell says nothing. Text that
a spreadsheet would take for a formula is written with a ' before it, which is taken away again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TextIO

import orjson

from ebill import strictcsv, strictjson
from ebill.errors import CellFault, Fault, MalformedJson, did_you_mean, shown
from ebill.service.scopes import rule
from ebill.store.clients import Dossier, as_data

SETTINGS: Final = (
    "name",
    "state",
    "product",
    "timezone",
    "first_coverage_month",
    "last_coverage_month",
    "skip_coverage_months",
)
OWNED: Final = ("retroactive", "reason")
OF_RECORD: Final[Mapping[str, tuple[str, ...]]] = {
    "client": ("team_id", *SETTINGS, "bills_here_since", *OWNED),
    "bill_account": ("account_id", "kind", *SETTINGS, *OWNED),
    "rule": ("account_id", "since", "rule", "cite", "assumed", *OWNED),
    "exception": (
        "account_id",
        "coverage_month",
        "generation_date",
        "due_date",
        "grace_end_date",
        "withdrawn",
        *OWNED,
    ),
}
"""Which columns each record may fill, besides `record` and `client_id`."""
COLUMNS: Final = tuple(dict.fromkeys(("record", "client_id", *(name for part in OF_RECORD.values() for name in part))))
FLAGS: Final = frozenset({"assumed", "retroactive", "withdrawn"})
CELL_MOST: Final = 131_072
"""Characters of a cell."""
NO_MONTH: Final = "none"
"""Stands for a list of no months, where an empty cell is *as the client has it*."""
_GUARDED: Final = re.compile("'* *[=+\\-@\t\r\0\uff1d\uff0b\uff0d\uff20]")


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the file that is not empty, the line it begins on, and its filled cells."""

    number: int
    cells: dict[str, str]

    @property
    def client_id(self) -> str:
        """The client that the row is about."""
        return unguarded(self.cells.get("client_id", ""))

    def fault(self, column: str, detail: str) -> CellFault:
        """Say what is wrong with a cell of the row; "" is the whole row."""
        return CellFault(self.number, column, detail)

    def placed(self, fault: Fault) -> CellFault:
        """Give a form's fault its cell: what is wrong anywhere in a rule is wrong in the one cell of the rule."""
        column = fault.pointer.split("/")[1] if fault.pointer else ""
        if column and column not in COLUMNS:
            return self.fault("rule", f"{fault.pointer[1:]}: {fault.detail}")
        if not column and self.cells.get("record") == "rule":
            column = "rule"
        return self.fault(column, fault.detail)


def lines(file: TextIO, faults: list[CellFault]) -> Iterator[Line]:
    """Read rows, adding to `faults` what is wrong with the header or the shape of a row."""
    reader = strictcsv.Rows(file, CELL_MOST)
    try:
        header = [name.strip().removeprefix("\ufeff") for name in next(reader, [])]
        if other := strictcsv.other_than_ours(header):
            faults.append(CellFault(1, "", other))
            return
        faults += (CellFault(1, shown(name), _unknown(name)) for name in header if name not in COLUMNS)
        missing = [name for name in ("record", "client_id") if name not in header]
        faults += (CellFault(1, name, "is required as a column") for name in missing)
        if len(set(header)) < len(header):
            faults.append(CellFault(1, "", "names a column twice"))
        if faults:
            return
        begins = reader.lines_read + 1
        for cells in reader:
            if any(cells) and len(cells) != len(header):
                faults.append(CellFault(begins, "", f"has {len(cells)} cells under {len(header)} columns"))
            elif any(cells):
                yield Line(begins, {name: cell for name, cell in zip(header, cells, strict=True) if cell})
            begins = reader.lines_read + 1
    except strictcsv.Error as error:
        faults.append(CellFault(reader.lines_read, "", f"cannot be read as CSV: {shown(error)}"))
    except UnicodeDecodeError:  # where it was raised, lines are read ahead of what is read
        file.buffer.seek(0)
        number, wrong = strictcsv.unread_line(file.buffer)
        faults.append(CellFault(number, "", wrong))


def _unknown(column: str) -> str:
    return f"is no known column{did_you_mean(column, COLUMNS)}; the columns are {', '.join(COLUMNS)}"


def body(line: Line, record: str) -> tuple[dict[str, Any], list[Fault]]:
    """Give a row as the forms read it, and what is wrong with its cells as cells."""
    given: dict[str, Any] = {}
    found: list[Fault] = []
    for name, cell in line.cells.items():
        if name in ("record", "client_id"):
            continue
        if name not in OF_RECORD[record]:
            found.append(Fault(f"/{name}", f"is no cell of a {record} row"))
        elif name in FLAGS:
            given[name] = {"true": True, "false": False}.get(cell, cell)
        elif name == "skip_coverage_months":
            given[name] = [] if cell == NO_MONTH else [_whole(month) for month in cell.split(" ")]
        elif name == "rule":
            rules, wrong = _rule(cell)
            given |= rules
            found += wrong
        else:
            given[name] = unguarded(cell)
    return given, found


def written(dossier: Dossier) -> Iterator[dict[str, str]]:
    """Give the rows of a client."""
    client_id = guarded(dossier.client.client_id)
    yield {"record": "client", "client_id": client_id, **_cells(as_data(dossier.client), "client")}
    for account in dossier.accounts:
        yield {"record": "bill_account", "client_id": client_id, **_cells(as_data(account), "bill_account")}
    for entry in dossier.rules:
        text = orjson.dumps({entry.kind: rule(entry.rule).as_data()}).decode()
        yield {"record": "rule", "client_id": client_id, **_cells({**as_data(entry), "rule": text}, "rule")}
    for fixed in dossier.exceptions:
        yield {"record": "exception", "client_id": client_id, **_cells(as_data(fixed), "exception")}


def guarded(text: str) -> str:
    """Put ' before text that a spreadsheet would take for a formula; `unguarded` takes it away again.

    >>> guarded("=1+1"), guarded("'t Hooft"), guarded("'=1+1")
    ("'=1+1", "'t Hooft", "''=1+1")
    """
    return f"'{text}" if _GUARDED.match(text) else text


def unguarded(cell: str) -> str:
    """Take the ' of `guarded` away again, and no other."""
    return cell[1:] if cell[:1] == "'" and _GUARDED.match(cell) else cell


def _whole(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 2 else text


def _rule(cell: str) -> tuple[dict[str, Any], list[Fault]]:
    try:
        read = strictjson.loads(cell.encode())
    except MalformedJson as refusal:
        return {}, [Fault("/rule", str(refusal))]
    if not isinstance(read, dict) or len(read) != 1:
        return {}, [Fault("/rule", 'must be one rule as JSON, such as {"generation": {"day_of_month": 12}}')]
    return read, []


def _cells(values: Mapping[str, Any], record: str) -> dict[str, str]:
    cells: dict[str, str] = {}
    for name in OF_RECORD[record]:
        value = values.get(name)
        if value is None or value is False:
            continue
        if value is True:
            cells[name] = "true"
        elif isinstance(value, tuple):
            cells[name] = " ".join(map(str, value)) or NO_MONTH
        else:
            cells[name] = value if name == "rule" else guarded(str(value))
    return cells
