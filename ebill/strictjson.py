"""JSON read strictly: what two readers could take for two things is refused (RFC 8259, I-JSON)."""

from __future__ import annotations

import json
from math import isinf
from typing import Any, Final, NoReturn

from ebill.errors import MalformedJson

DEEPEST: Final = 32
"""How deep tables and lists may stand in one another."""


def loads(source: bytes) -> Any:
    """Read JSON from UTF-8. Raises MalformedJson.

    Also for a repeated key, for NaN, Infinity and what is as large, and for nesting without end.
    """
    if not source.strip():
        raise MalformedJson("there is no JSON")
    if source.startswith(b"\xef\xbb\xbf"):
        raise MalformedJson("JSON has no byte order mark")
    try:
        value = _DECODER.decode(source.decode("utf-8"))
    except UnicodeDecodeError:
        raise MalformedJson("JSON is UTF-8") from None
    except RecursionError:
        raise MalformedJson(f"at most {DEEPEST} tables and lists may stand in one another") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError:  # a number of thousands of digits
        raise MalformedJson("a number is too long to read") from None
    if source.count(b"[") + source.count(b"{") > DEEPEST and _depth(value) > DEEPEST:
        raise MalformedJson(f"at most {DEEPEST} tables and lists may stand in one another")
    return value


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise MalformedJson("a key is given twice in one table")
    return table


def _constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is no JSON")


def _fraction(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise MalformedJson("a number is too large to read")
    return number


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_table, parse_constant=_constant, parse_float=_fraction)


def _depth(value: Any) -> int:
    """Count how deep tables and lists stand in one another, level by level."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth
