"""The service as it is run, on a store of its own, for a real browser to look at."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from tests.shell import ENVIRONMENT

CHROMIUM = "/usr/bin/chromium"


@contextmanager
def serving(file: Path, **more: str) -> Iterator[str]:
    """Serve a SQLite store until the block ends; gives the address, on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.prefix) / "bin" / "ebill"), "serve", f"--port={port}"]
    if file.exists():
        file.chmod(0o600)  # it is refused where others may read it
    environment = {**ENVIRONMENT, "EBILL_DATABASE_URL": f"sqlite:///{file}", **more}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=file.parent, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            list(takewhile(lambda line: line != "Ctrl-C ends it.\n", server.stdout))
            assert server.poll() is None, f"it ended with {server.returncode}"
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
