"""The ratios that were kept, and what has moved since.

Ratios alone are kept, never times: those say more about the machine than about the code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from tests.bench.measuring import Ratio

FILE = Path(__file__).with_name("ratios.json")
NOISE = 1.15
"""What a ratio moves by, beyond the middle half of its rounds, from one run to the next of the same code."""

Kept = dict[str, dict[str, object]]


def kept(file: Path = FILE) -> Kept:
    """Give, by part, the day on which its ratios were kept (`kept`) and the `ratios`."""
    found: Kept = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return found


def keep(part: str, ratios: Sequence[Ratio], day: date, file: Path = FILE) -> None:
    """Keep the ratios of a part in place of those that were."""
    values = {ratio.what: float(f"{ratio.value:.3g}") for ratio in ratios}
    found = {**kept(file), part: {"kept": day.isoformat(), "ratios": values}}
    file.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", "utf-8")


def moved(part: str, ratios: Sequence[Ratio], file: Path = FILE) -> Iterator[str]:
    """Say of each ratio that it is new, gone, or moved beyond the noise."""
    before = kept(file).get(part, {})
    values = before.get("ratios", {})
    if not isinstance(values, dict):
        raise TypeError(part)
    for ratio in ratios:
        was = values.pop(ratio.what, None)
        if was is None:
            yield f"{ratio.what}: {ratio.value:.3g}, which is new"
        elif not ratio.low / NOISE <= was <= ratio.high * NOISE:
            way = "faster" if ratio.value > was else "SLOWER"
            yield f"{ratio.what}: {was:.3g} on {before['kept']}, now {ratio.value:.3g}, {way}"
    for what in values:
        yield f"{what}: gone"
