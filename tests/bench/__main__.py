"""How long things take, as ratios measured side by side: `make bench`.

Absolute times say more about the machine than about the code, so every figure stands beside what one would compare it
with, run in turn in one process or against one kind of server; the median of the rounds counts. What moved since the
ratios of `ratios.json` were kept is said after each part; `--keep` keeps the new ones.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.bench import calculate, deadlines, files, homes, imports, previews, ratios, rows, schedules, servers, start
from tests.bench.measuring import Ratio

PARTS: dict[str, Callable[[], Iterable[Ratio]]] = {
    "many_rows": partial(rows.many_rows, 60),
    "many_rule_sets": partial(rows.many_rows, 5_000),
    "ten_times_the_rows": rows.ten_times_the_rows,
    "files": files.files,
    "many_kinds": files.many_kinds,
    "payments_as_text": files.payments_as_text,
    "whole_store": files.whole_store,
    "over_http": calculate.over_http,
    "servers": servers.servers,
    "fastapi": servers.fastapi,
    "start": start.start,
    "one_month": calculate.one_month,
    "client_schedule": schedules.client_schedule,
    "preview": previews.previews,
    "import": imports.imports_of_many,
    "deadline_list": deadlines.deadline_list,
    "home": homes.home,
}


def main(*given: str) -> None:
    """Run all parts, or those that are named; with `--keep`, keep their ratios."""
    named = [name for name in given if name != "--keep"]
    if unknown := [name for name in named if name not in PARTS]:
        sys.exit(f"no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}, and --keep keeps their ratios")
    for name in named or PARTS:
        with Path(os.devnull).open("w") as log, redirect_stderr(log):  # where the service logs each request
            found = list(PARTS[name]())
        moves = list(ratios.moved(name, found))
        print(*(f"  * {move}" for move in moves or ["nothing moved"] if found), sep="\n")
        if "--keep" in given and found:
            ratios.keep(name, found, datetime.now(UTC).date())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EBILL_DATABASE_URL"] = f"sqlite:///{folder}/ebill.db"
        os.environ["EBILL_TOKEN_RATE"] = str(10**7)  # whoever measures asks more often than anybody else may
        main(*sys.argv[1:])
