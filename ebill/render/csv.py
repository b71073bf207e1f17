"""Answers as CSV (RFC 4180): a header, then a row for each invoice or moved date; safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from ebill.explain import Explanation
from ebill.render.words import because
from ebill.schedule import DATE_NAMES

if TYPE_CHECKING:  # a schedule needs nothing of a difference
    from ebill.preview import Difference

PIECE: Final = 1000
"""Rows written together."""
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def cell(value: object) -> object:
    """Put a `'` before text that a spreadsheet would take for a formula; dates and numbers stay as they are."""
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA):
        return f"'{value}"
    return value


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table."""
    return "".join(pieces(header, rows))


def pieces(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Write a table piece by piece; no piece is kept."""
    waiting = iter(rows)
    some: list[Sequence[object]] = [header]
    while some:
        written = io.StringIO()
        csv.writer(written).writerows([cell(value) for value in row] for row in some)
        yield written.getvalue()
        some = list(islice(waiting, PIECE))


def schedule(answer: Mapping[str, Any]) -> str:
    """Write an answer's invoices; with explanations, each date is followed by its `…_because`."""
    explained = any("explanation" in invoice for invoice in answer["invoices"])
    columns = [part for name in DATE_NAMES for part in ((name, f"{name}_because") if explained else (name,))]
    header = ["state", "product", "coverage_month", *columns, "standing", "warnings"]

    def dates(invoice: Mapping[str, Any]) -> Iterator[object]:
        for name in DATE_NAMES:
            yield invoice[name]
            if explained:
                why = cast("Explanation | None", invoice["explanation"][name])
                yield because(why) if why else ""

    return table(
        header,
        (
            [
                answer["state"],
                answer.get("product", ""),
                invoice["coverage_month"],
                *dates(invoice),
                invoice["standing"],
                " ".join(warned["code"] for warned in invoice["warnings"]),
            ]
            for invoice in answer["invoices"]
        ),
    )


def record(answer: Mapping[str, Any]) -> str:
    """Write one flat answer as a row; tables and lists in it are left out."""
    flat = {name: value for name, value in answer.items() if not isinstance(value, dict | list)}
    return table(list(flat), [list(flat.values())])


def difference(found: Difference) -> str:
    """Write every date that moves."""
    header = ["state", "product", "coverage_month", "name", "before", "after"]
    return table(header, ([move.state, move.product or "", *move[2:]] for move in found.moved))


def effect(found: Mapping[str, Any]) -> str:
    """Write every date of every account that moves."""
    header = ["client_id", "account_id", "coverage_month", "name", "before", "after"]
    return table(
        header,
        (
            [account["client_id"], account["account_id"], *(move[name] for name in header[2:])]
            for change in found["changes"]
            for account in change["accounts"]
            for move in change["moved"]
        ),
    )
