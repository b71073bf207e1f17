"""How long a command takes as a whole process, beside one that imports numpy, which it cannot do without."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from tests.bench.measuring import Action, Ratio, in_turn
from tests.bench.serving import ROOT

COMMANDS = {
    "ebill schedule": ["schedule", "--state", "PA", "--from", "2026-08", "--months", "12"],
    "ebill schedule, JSON": ["schedule", "--state", "PA", "--from", "2026-08", "--months", "12", "--format", "json"],
    "ebill posting": ["posting", "--state", "NY", "--paid-at", "2026-07-02T16:00"],
    "ebill check": ["check", "config/states.toml"],
}
SERVICE = "from ebill.web import create_app; create_app()"


def start() -> Iterator[Ratio]:
    """Whole processes."""
    code = "from ebill.cli import main; main()"
    actions = {name: run("-c", code, *arguments) for name, arguments in COMMANDS.items()}
    actions |= {"the service's application": run("-c", SERVICE), "import numpy": run("-c", "import numpy")}
    taken = in_turn({name: (action, 1) for name, action in actions.items()}, rounds=9)
    print("\nWhole processes, beside one that does nothing but import numpy")
    for name in taken:
        print(f"  {name:26} {taken.median(name) * 1e3:7.0f} ms")
    for name in taken:
        if name != "import numpy":
            yield taken.beside(name, "import numpy")


def run(*arguments: str) -> Action:
    """Make an action that runs Python from start to end."""
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
