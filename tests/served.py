"""A server as `ebill serve` starts it, on a free port of this machine, for as long as it is needed."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

EBILL: Final = Path(sys.executable).with_name("ebill")


@contextmanager
def served(log: Path, **environment: str) -> Iterator[int]:
    """Start it in the folder of its log, with settings besides those of this process; give its port, and end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [EBILL, "serve", f"--port={found}"],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=log.parent,
            env={**os.environ, **environment},
        ) as server,
    ):
        try:
            if server.stdout is None or not any(b"Ctrl-C ends it." in line for line in server.stdout):
                raise RuntimeError(log.read_text())
            yield found
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(30)
            finally:
                server.kill()
