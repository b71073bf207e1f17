"""The service ends when it is told to, whenever that comes."""

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from ebill.cli.ending import Flag
from tests.shell import ENVIRONMENT

pytestmark = pytest.mark.anywhere

EBILL = Path(sys.prefix) / "bin" / "ebill"


class At:
    """A tracer that acts at one instruction of a function."""

    def __init__(self, code: CodeType, instruction: int, flag: Flag) -> None:
        self.code, self.left, self.flag = code, instruction, flag

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> "At | None":
        if frame.f_code is not self.code:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                self.flag.set()
        return self


@pytest.mark.parametrize("instruction", range(1, 41))
def test_a_flag_set_at_any_instruction_of_a_wait_ends_it(instruction: int) -> None:
    flag, before = Flag(), sys.gettrace()
    at = At(Flag.wait.__code__, instruction, flag)
    sys.settrace(at)
    try:
        assert flag.wait(5)
    finally:
        sys.settrace(before)


def test_a_signal_that_interrupts_no_wait_is_told_soon() -> None:
    flag, before = Flag(), signal.signal(signal.SIGUSR1, lambda *_: flag.set())
    other = threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
    try:
        other.start()  # it hears the signal itself, while the wait goes on
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        began = time.monotonic()
        assert flag.wait(30)
        assert time.monotonic() - began < 15
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR1, before)
        other.join()


def test_a_flag_waits_until_it_is_set_and_again_once_it_was_taken_back() -> None:
    flag = Flag()
    assert not flag.wait(0.01)
    flag.set()
    assert flag.wait()
    assert flag.is_set()
    flag.clear()
    assert not flag.wait(0.01)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_service_told_to_end_while_it_starts_ends(told: signal.Signals, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [EBILL, "serve", f"--port={port}"], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.DEVNULL
    ) as server:
        try:
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
            until = time.monotonic() + 60
            while len(children.read_text().split()) < 2 and time.monotonic() < until:
                time.sleep(0.01)
            server.send_signal(told)
            assert server.wait(15) == 0, "its worker was forked, and is not ready yet"
        finally:
            server.kill()
