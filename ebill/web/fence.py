"""What goes around every answer, whatever gave it: its number, its headers, and its line in the log."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from ebill.render.json import encode
from ebill.store import patience

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

HEADERS: Final = (
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", ""),
    ("Cache-Control", "no-store"),
)
"""On every answer whose view has not set its own."""
_NAMES: Final = frozenset(name for name, _ in HEADERS)
SIGNED_HEADERS: Final = (*HEADERS[:-1], ("Cache-Control", "private, no-store"), ("Vary", "Authorization"))
"""On every answer, a refusal too, of a route that asks who is there."""
REQUEST_ID: Final = "ebill.request_id"
SIGNED: Final = "ebill.signed"
"""Set in the environment by a route that asks who is there; to the user's id, once that is known."""
_PATH_SHOWN: Final = 200
_SECRET: Final = re.compile(r"(?<=/feeds/)(?![0-9a-f]{16}$).+|eb[fp]_\w+", re.IGNORECASE | re.ASCII | re.DOTALL)
"""What of a path is no business of a log: whatever stands where a feed's secret may, and what looks like one."""


class Fence:
    """A WSGI application around another. Header by header in Flask this would cost as much as the calculation."""

    def __init__(self, inner: Application) -> None:
        self.inner = inner
        self._worker, self._count = secrets.token_hex(4), itertools.count(1)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        request_id = environ[REQUEST_ID] = f"{self._worker}{next(self._count):08x}"
        began = time.perf_counter()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            own = _NAMES.intersection([name for name, _ in headers])
            signed = environ.get(SIGNED)
            ours = HEADERS if signed is None else SIGNED_HEADERS
            headers += [each for each in ours if each[0] not in own] if own else ours
            headers.append(("X-Request-Id", request_id))
            log(
                "request",
                method=environ["REQUEST_METHOD"][:16],
                path=_SECRET.sub("...", environ.get("PATH_INFO", ""))[:_PATH_SHOWN],
                status=int(status[:3]),
                ms=round((time.perf_counter() - began) * 1000, 2),
                request_id=request_id,
                **({"user": signed} if signed else {}),
            )
            return start_response(status, headers, exc_info)

        with patience.bounded():
            return self.inner(environ, start)


def log(event: str, error: BaseException | None = None, **facts: Any) -> None:
    """Write a line of JSON in ASCII to standard error; whatever somebody sent is escaped by being that."""
    line: dict[str, Any] = {"event": event, "at": datetime.now(UTC), **facts}
    if error is not None:
        line["error"] = "".join(traceback.format_exception(error)).encode(errors="backslashreplace").decode()
    text = encode(line).decode()
    ascii_ = text if text.isascii() else json.dumps(json.loads(text))
    sys.stderr.write(ascii_.replace("\x7f", r"\u007f") + "\n")
