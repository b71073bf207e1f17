"""A server that ends when it is told to: in good order the first time, at once the second.

granian alone may miss the signal to end, in two ways, and then serves, or waits, for ever. Its workers are forks: until
one has set its own signals, which takes as long as the application takes to start, it has those of the server it was
forked from, and takes what is meant for it for its parent's. And both wait for an `Event`, which a signal sets from
within that very wait: where it comes just as the wait begins, it waits for a lock that it holds itself. So signals
are held while a worker is forked and while it begins to serve, one that is not ready ends at once, and what is waited
for is a `Flag`.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any, Final

from granian._internal import load_target
from granian.server import mp

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
LOOK: Final = 0.25
"""Seconds after which a wait looks up. A signal that comes after its last instruction, and before the system has begun
to wait, interrupts nothing, and is only told to Python once that wait is over."""


class Flag:
    """An event that may be set at any moment, also from within a wait for it."""

    def __init__(self) -> None:
        self._is_set = False
        self._told: SimpleQueue[None] = SimpleQueue()  # of all queues, the one that signals may put into

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it."""
        self._is_set = True
        self._told.put(None)

    def clear(self) -> None:
        """Take it back."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or for so many seconds; tell whether it is."""
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._is_set and (left := until - time.monotonic()) > 0:
            with suppress(Empty):
                self._told.get(timeout=min(left, LOOK))
        return self._is_set


class Served(Flag):
    """What a worker waits for while it serves: only then is it told of signals."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait as any flag."""
        let_go()
        return super().wait(timeout)


class Ending(mp.MPServer):
    """A granian server that ends."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.main_loop_interrupt: Any = Flag()

    def serve(self, *_: Any, **__: Any) -> None:
        """Serve until it is told to end."""
        vars(mp)["threading"] = SimpleNamespace(Event=Served)  # all that is asked of it there
        os.register_at_fork(before=hold, after_in_parent=let_go, after_in_child=end_plainly)
        super().serve(target_loader=_loaded)

    def signal_handler_interrupt(self, *args: Any, **named: Any) -> None:
        """End in good order; the second time at once, whatever is under way."""
        if self.interrupt_signal:
            for worker in self.wrks:
                worker.kill()  # type: ignore[no-untyped-call]
        super().signal_handler_interrupt(*args, **named)  # type: ignore[no-untyped-call]


def _loaded(target: str) -> Any:
    """Load the application, in a worker."""
    application = load_target(target, factory=True)
    hold()
    return application


def hold() -> None:
    """Let signals to end wait."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def let_go() -> None:
    """Hear signals to end."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def end_plainly() -> None:
    """End a fork at once when it is told to, until it says otherwise."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the server too, which tells its forks
    let_go()
