"""The service as it is run, bare or behind nginx, with a fault planted or without."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.trust.goals import require

ROOT = Path(__file__).parents[2]
OURS = ROOT / "ebill" / "operating" / "nginx.conf"
NAME = "ebill.example.com"
_planted: list[str] = []


@contextmanager
def planted(fault: str) -> Iterator[None]:
    """Start every service with a fault of `launching`."""
    _planted.append(fault)
    try:
        yield
    finally:
        _planted.pop()


class Service:
    """A service of one worker, started on a free port of this machine; `ready` is after how many seconds it said so."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port, self.ready = free_port(), 0.0
        self._began = time.monotonic()
        command = ["tests.trust.launching", *_planted] if _planted else ["ebill.cli"]
        start = "import sys; from ebill.cli import main; sys.exit(main())"
        program = ["-m", *command] if _planted else ["-c", start]
        ours = {"EBILL_DATABASE_URL": f"sqlite:///{folder}/ebill.db", "EBILL_ADDRESS_RATE": "0"}
        self.process = subprocess.Popen(
            [sys.executable, *program, "serve", f"--port={self.port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ours, **settings},
        )

    def wait_ready(self) -> None:
        """Wait until it says that it is ready."""
        if self.process.stdout is None or not any(line.startswith("Ctrl-C") for line in self.process.stdout):
            raise RuntimeError("it did not start")
        self.ready = time.monotonic() - self._began

    def children(self) -> list[int]:
        """Give its forks."""
        try:
            found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in found]

    def tell(self) -> None:
        """Tell it to end."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self, within: float) -> float:
        """Give the seconds until it has ended; raises Fell where it has not in time."""
        began = time.monotonic()
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            code = None
        require(code is not None, f"told to end, the service had not ended in {within:.0f} s")
        return time.monotonic() - began

    def close(self) -> None:
        """End it in any case, and its workers."""
        forks = self.children()
        if self.process.poll() is None:
            self.tell()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                for pid in forks:
                    if Path(f"/proc/{pid}/cmdline").exists():
                        os.kill(pid, signal.SIGKILL)
                self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@contextmanager
def service(folder: Path, **settings: str) -> Iterator[Service]:
    """Run a service that is ready."""
    found = Service(folder, **settings)
    try:
        found.wait_ready()
        yield found
    finally:
        found.close()


@contextmanager
def fronted(folder: Path, behind: int) -> Iterator[tuple[int, ssl.SSLContext]]:
    """Run nginx with our configuration before a port; gives its port, and what trusts its certificate."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        raise LookupError("nginx is not installed: apt-get install nginx-light")
    port, authority = free_port(), trustme.CA()
    certificate = authority.issue_cert(NAME)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for at, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(folder / "certificate.pem", append=at > 0)
    text = OURS.read_text()
    for ours, here in (
        ("127.0.0.1:8000", f"127.0.0.1:{behind}"),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen 443 ssl;", f"listen {port} ssl;"),
        ("/etc/ssl/ebill", str(folder)),
        ("/var/log/nginx", str(folder)),
    ):
        require(ours in text, f"nginx.conf has no {ours}")
        text = text.replace(ours, here)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; worker_processes 1; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 4096; }}\nhttp {{\n{temporary}{text}\n}}\n"
    )
    process = subprocess.Popen([nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"])
    try:
        _answering(port, process)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        yield port, context
    finally:
        process.terminate()
        process.wait(10)


def _answering(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            require(process.poll() is None, "nginx did not start with our configuration")
            time.sleep(0.05)
        else:
            return


def free_port() -> int:
    """Find a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
    return found
