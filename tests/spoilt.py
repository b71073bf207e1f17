"""What is right, spoilt a little: a key left out or given another name, a value from another place, a byte changed."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any, Final

VALUES: Final[list[Any]] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        12,
        13,
        31,
        32,
        120,
        121,
        366,
        367,
        2**31,
        2**63,
        -(2**63),
        10**30,
        1.0,
        1.5,
        -0.0,
        1e308,
    ),
    *(
        "",
        " ",
        "\0",
        "PA\0",
        "\ud800",
        "\u202e",
        "\u2028",
        "\r\n",
        "\x1b[31m",
        "x" * 65,
        "x" * 501,
        "é" * 400,
        "\U0001f600",
    ),
    *(
        "PA",
        "NY",
        "QQ",
        "pa",
        "cobra",
        "COBRA",
        "XFED",
        "XNYS",
        "XNSE",
        "US-PA",
        "US-QQ",
        "none",
        "following",
        "after_due",
    ),
    *("America/New_York", "Pacific/Apia", "America/Nowhere", "UTC", "../../etc/passwd", "TH", "th", "business"),
    *("2026-08", "2000-01", "2099-12", "1999-12", "2100-01", "2026-13", "2026-8", "٢٠٢٦-٠٨"),
    *("2026-08-01", "2000-01-01", "2099-12-31", "1999-12-31", "2100-01-01", "2026-02-29", "2028-02-29", "20260801"),
    *("2026-07-02T17:00", "2026-07-02T24:00", "2099-12-31T23:59-12:00", "2000-01-01T00:00+14:00", "2026-11-01T01:30"),
    *("2026-07-02T17:00:00.123456Z", "2026-07-02T17:00+24:00", "17:00", "02:30", "24:00", "00:00", "5 pm"),
    *(
        [],
        {},
        [[]],
        [{}],
        {"": 1},
        {"day": 1},
        {"days": 30},
        [7, 8],
        [True],
        list(range(1, 13)),
        {"a": {"b": {"c": []}}},
    ),
]
NAMES: Final = [
    *("state", "product", "coverage_month", "from", "months", "rules", "exceptions", "as_of", "paid_at", "explain"),
    *("last_coverage_month", "day", "days", "roll", "cutoff", "reason", "due_date", "from_", "__class__", "", "\0"),
    *("\ud800", "x" * 999, "~1/~0"),
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Give every table and list of a value with each of its keys or indexes."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def spoil(draw: random.Random, question: dict[str, Any]) -> None:
    """Change one thing in a question."""
    within, key = draw.choice(list(places(question)))
    match draw.randrange(5):
        case 0:
            del within[key]
        case 1 if isinstance(within, dict):
            within[draw.choice(NAMES)] = within[key]
        case 2:
            other, its = draw.choice(list(places(question)))
            within[key] = copy.deepcopy(other[its])
        case 3 if type(within[key]) is int:
            within[key] += draw.choice((-1, 1, 100, -100, 2**64))
        case _:
            within[key] = copy.deepcopy(draw.choice(VALUES))


def spoil_bytes(draw: random.Random, source: bytes) -> bytes:
    """Change a few bytes somewhere."""
    spoilt, at = bytearray(source), draw.randrange(len(source) + 1)
    spoilt[at : at + draw.choice((0, 1, 5))] = draw.choice(
        [b"", b"\0", b"\xff", b'"', b"{", b"]", b"NaN", b"\\", b"1e999", b"\\u0000", source[: draw.randrange(300)]]
    )
    return bytes(spoilt)


def written(question: Any, *, ascii_: bool) -> bytes:
    """Write a value as JSON, halves of surrogate pairs as they are."""
    return json.dumps(question, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")
