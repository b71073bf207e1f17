"""A process that is asked for a change and dies on its way: before it is committed, or after, with nothing said."""

import os
import signal
import sys
from typing import Any

from ebill.store import engine, once
from ebill.store.engine import Store
from ebill.web import create_app
from tests.world import book_file


def main() -> None:
    """Make a change and die, `before` the commit or `after`; or `between` the two that there are with a fault."""
    url, path, token, key, body, when = sys.argv[1:]
    right = engine._commit

    def commit(transaction: Any) -> None:
        if when != "before":
            right(transaction)
        os.kill(os.getpid(), signal.SIGKILL)

    client = create_app(book_file(), Store(url)).test_client()
    vars(engine)["_commit"] = commit
    if when == "between":
        vars(once)["keep"] = lambda *_: None
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key, "Content-Type": "application/json"}
    client.post(path, data=body, headers=headers)


if __name__ == "__main__":
    main()
