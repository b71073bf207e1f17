"""Processes that serve the same store, each with all that it has kept: what one of them changes, all must know at once.

A process reads requests as lines of JSON, and writes each answer as one: its status, its ETag, and its body.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ebill.bookfile import BookFile
from ebill.store.engine import Store
from ebill.web import create_app

ROOT = Path(__file__).parent.parent


class Told(NamedTuple):
    """What a process has answered."""

    status: int
    tag: str | None
    body: str


class Asker:
    """A process that answers, which runs a module: this one, or one that does the same with a fault planted."""

    def __init__(self, url: str, book: Path, module: str = "tests.askers") -> None:
        command = [sys.executable, "-m", module, url, str(book)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, text=True
        )

    def ask(self, path: str, token: str, tag: str | None = None) -> Told:
        """Ask for an address, with the tag of an answer that one has."""
        self.tell(path, {"Authorization": f"Bearer {token}", **({"If-None-Match": tag} if tag else {})})
        return self.hear()

    def tell(self, path: str, headers: Mapping[str, str]) -> None:
        """Ask, and do not wait for the answer."""
        if self.process.stdin is None:
            raise RuntimeError
        print(json.dumps({"path": path, "headers": {**headers}}), file=self.process.stdin, flush=True)

    def hear(self) -> Told:
        """Wait for the answer."""
        if self.process.stdout is None:
            raise RuntimeError
        return Told(*json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


@contextmanager
def askers(url: str, book: Path, count: int, module: str = "tests.askers") -> Iterator[list[Asker]]:
    """Start some of them, and end them."""
    found = [Asker(url, book, module) for _ in range(count)]
    try:
        yield found
    finally:
        for each in found:
            each.close()


def answer(client: Any, path: str, headers: Mapping[str, str]) -> Told:
    """Answer one request."""
    given = client.get(path, headers=headers)
    return Told(given.status_code, given.headers.get("ETag"), given.get_data(as_text=True))


def main() -> None:
    """Answer what comes in, line by line."""
    url, book = sys.argv[1:]
    client = create_app(BookFile(Path(book)), Store(url)).test_client(use_cookies=False)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(client, **json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    os.environ.pop("EBILL_DATABASE_URL", None)
    main()
