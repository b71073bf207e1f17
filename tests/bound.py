"""Writes `ebill/bound.py` from the `holidays` library: `python -m tests.bound`, once another release is locked."""

from pathlib import Path

from ebill.dates import computed_calendar, library_release

HEAD = '''"""The calendar that the house settles by, as the release `RELEASE` of `holidays` computes it.

To import that library and let it compute a century takes longer than all else that a command does. With any other
release it computes as ever. Written by `python -m tests.bound`; that it is what the library gives, a test says.
"""

from __future__ import annotations

from typing import Final

'''
PER_LINE = 9


def text() -> str:
    """Give what is to stand in the module."""
    calendar = computed_calendar("XFED")
    by_reason: dict[str, list[str]] = {}
    for day, reason in calendar.closures.items():
        by_reason.setdefault(reason, []).append(day.isoformat())
    lines = [f'RELEASE: Final = "{library_release()}"', f'CODE: Final = "{calendar.name}"']
    lines += [f'FIRST, LAST = "{calendar.first}", "{calendar.last}"', "CLOSED: Final = {"]
    for reason, days in sorted(by_reason.items()):
        lines.append(f'    "{reason}": (')
        for begin in range(0, len(days), PER_LINE):
            end = " " if begin + PER_LINE < len(days) else ""
            lines.append(f'        "{" ".join(days[begin : begin + PER_LINE])}{end}"')
        lines.append("    ),")
    lines += ["}", '"""The days on which it is closed, weekends apart, by the reason."""']
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent.parent / "ebill" / "bound.py").write_text(text(), "utf-8")
