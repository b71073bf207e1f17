"""Command lines as a reader pastes them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CURL = Path(__file__).parent / "curl.py"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("EBILL_")}


def pasted(line: str, folder: Path) -> tuple[str, str]:
    """Run a line in a folder, and give what it printed on standard output and on standard error."""
    if not shutil.which("curl"):
        line = f'curl() {{ "{sys.executable}" "{CURL}" "$@"; }}; {line}'
    done = subprocess.run(
        ["sh", "-c", line], check=False, capture_output=True, text=True, cwd=folder, timeout=60, env=ENVIRONMENT
    )
    return done.stdout, done.stderr
