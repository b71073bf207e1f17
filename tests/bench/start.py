"""How long a command takes as a whole process, beside one that imports numpy, which it cannot do without.

And how long it takes from the start of the service until it answers, beside the same server with a bare application.
What was compiled is kept, as where the service is installed, whatever the environment says: else a third of the time
would be the compiler's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException

from tests.bench.measuring import Action, Ratio, Taken, in_turn
from tests.bench.serving import ROOT, SERVERS, free_port

COMMANDS = {
    "ebill schedule": ["schedule", "--state", "PA", "--from", "2026-08", "--months", "12"],
    "ebill schedule, JSON": ["schedule", "--state", "PA", "--from", "2026-08", "--months", "12", "--format", "json"],
    "ebill posting": ["posting", "--state", "NY", "--paid-at", "2026-07-02T16:00"],
    "ebill check": ["check", "config/states.toml"],
}
SERVICE = "from ebill.web import create_app; create_app()"
READY = {"ebill serve, ready": "ebill", "granian with bare Flask, ready": "bare"}
"""What is started until it is ready."""
STARTS = 7


def start() -> Iterator[Ratio]:
    """Whole processes."""
    code = "from ebill.cli import main; main()"
    commands = {name: ("-c", code, *arguments) for name, arguments in COMMANDS.items()}
    commands |= {"the service's application": ("-c", SERVICE), "import numpy": ("-c", "import numpy")}
    with compiled() as environment:
        actions = {name: run(environment, *arguments) for name, arguments in commands.items()}
        taken = in_turn({name: (action, 1) for name, action in actions.items()}, rounds=9)
    print("\nWhole processes, beside one that does nothing but import numpy")
    for name in taken:
        print(f"  {name:26} {taken.median(name) * 1e3:7.0f} ms")
    for name in taken:
        if name != "import numpy":
            yield taken.beside(name, "import numpy")
    ready = until_ready()
    print("\nFrom the start of a process until it answers, one worker, its store there already")
    for name in ready:
        print(f"  {name:31} {ready.median(name):5.2f} s, {min(ready[name]):5.2f} s at best")
    ours, bare = READY
    yield ready.beside(ours, bare)


def until_ready() -> Taken:
    """Start servers in turn, and tell how long each took until it answered; the first round makes the store."""
    taken = Taken({name: [] for name in READY})
    with tempfile.TemporaryDirectory() as folder, compiled() as environment:
        environment["EBILL_DATABASE_URL"] = f"sqlite:///{folder}/ebill.db"
        for _ in range(STARTS + 1):
            for name, which in READY.items():
                port = free_port()
                serve = ["-c", "from ebill.cli import main; main()", "serve", "--port", str(port)]
                bare = SERVERS["granian"].format(
                    port=port, target="tests.bench.flask_app:create_app", interface="wsgi", threads=""
                )
                taken[name].append(_ready(serve if which == "ebill" else ["-m", *bare.split()], port, environment))
    return Taken({name: values[1:] for name, values in taken.items()})


def _ready(arguments: Sequence[str], port: int, environment: Mapping[str, str]) -> float:
    """Start a server, tell the seconds until it is ready, and end it."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() - began > 60:
                raise RuntimeError(f"{arguments} never was ready")
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def compiled() -> Iterator[dict[str, str]]:
    """Give an environment in which Python keeps what it compiles, for as long as this lasts."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        yield environment


def run(environment: Mapping[str, str], *arguments: str) -> Action:
    """Make an action that runs Python from start to end."""
    command, null = [sys.executable, *arguments], subprocess.DEVNULL
    return lambda: subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=null, stderr=null)
