"""The keys of an installation: made at its first start, and rotated when somebody says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ebill.store import keys
from ebill.store.audit import By
from ebill.store.engine import Store, Writing
from ebill.store.keys import Seal


def seal(store: Store, actor: str, clock: Callable[[], datetime]) -> Seal:
    """Give the keys of an installation, making them where there are none yet."""
    with store.reading() as connection:
        found = keys.seal(connection)
    if found is not None:
        return found
    with store.writing(By(actor, clock()), clock) as write:
        found = keys.seal(write.connection)
        if found is not None:
            write.unchanged()
            return found
        write.audit("make_key", subject=keys.CALENDARS)
        return keys.make(write.connection)


def rotate(write: Writing, *, at_once: bool) -> datetime | None:
    """Let a new key seal; give until when the one before still opens, which is no more where that is to be `at_once`.

    A process that runs takes the new key when it is started again. Uids of calendars stay as they are.
    """
    until = None if at_once else write.at + keys.KEPT
    keys.rotate(write.connection, until)
    write.audit("rotate_key", subject=keys.SEAL, after={"before_opens_until": until})
    return until
