"""Starts the command with a fault planted: `python -m tests.trust.launching FAULT serve …`. Its workers are forks."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, Final

from ebill.cli import main
from ebill.web import fence, places

_KEPT: list[socket.socket] = []


def unlimited() -> None:
    """Let everybody in at once."""
    places.Places.enter = lambda _: True  # type: ignore[assignment,method-assign]


def deaf() -> None:
    """Fork as granian alone does, with the signals of the server."""
    os.register_at_fork = lambda **_: None


def unclosed() -> None:
    """Never close a connection that each request opens."""
    before = fence.Fence.__call__

    def leaking(self: fence.Fence, environ: Any, start: Any) -> Any:
        _KEPT.append(socket.socket())
        return before(self, environ, start)

    fence.Fence.__call__ = leaking  # type: ignore[assignment,method-assign]


FAULTS: Final = {"unlimited": unlimited, "deaf": deaf, "unclosed": unclosed}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    main()
