"""What is asked most is answered before Flask is: of such an answer, finding its view would be most of the work.

A `Door` answers one address, asked plainly: its method, its path as it is declared, and a host that Flask has let in
before. All else goes on to Flask, and so does every refusal: it is raised again where Flask's handlers tell it. Behind
each door stands the very function that Flask's view calls, so whichever way a request comes, it is judged alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from typing import Any, Final, NamedTuple

from flask import Request, request

from ebill.service.forms import ID
from ebill.web import health, reading
from ebill.web.fence import ROUTE, Application, Environ
from ebill.web.routes import Route

HOSTS_MOST: Final = 100
"""Hosts that are remembered as let in."""
HERE: Final = ("127.0.0.1", "localhost")
_RAISED: Final = "ebill.raised"
"""Where in the environment of a request stands what its door raised."""
_LENGTH: Final = re.compile(r"[0-9]{1,6}")


class Plain(NamedTuple):
    """An answer as a server takes it."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


Answer = Callable[..., Plain]
"""What answers a request, from its environment and what stands in its path."""


class Door(NamedTuple):
    """A method, the paths it is for (`rule`: as they are declared), and what answers them."""

    method: str
    rule: str
    path: re.Pattern[str]
    answer: Answer


def door(route: Route, answer: Answer) -> Door:
    """Make the door of a route, whose path has nothing but ids in it."""
    path = re.sub(r"{(\w+)}", rf"(?P<\1>{ID.pattern})", route.path)
    return Door(route.method, route.rule, re.compile(path, re.ASCII), answer)


def trusting(named: Sequence[str]) -> type[Request]:
    """Make the kind of request that trusts the hosts named, any where there is none.

    What those ask who keep the service running is answered by the name of this very machine too: they stand on it.
    """

    class Trusting(Request):
        @property
        def trusted_hosts(self) -> list[str] | None:  # type: ignore[override]
            """Host names that it may be for; None: any."""
            if not named:
                return None
            return [*named, *HERE] if self.path in health.OPEN | health.BY_TOKEN else [*named]

    return Trusting


class Hosts:
    """What is to be done before Flask finds a view: refuse what is ambiguous, and remember the hosts that are not."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def __call__(self) -> None:
        """Let a request in, or raise as `reading.refuse_ambiguous`."""
        request.environ[ROUTE] = request.url_rule and request.url_rule.rule
        reading.refuse_ambiguous()
        if len(self.known) < HOSTS_MOST and request.path not in health.OPEN | health.BY_TOKEN:
            self.known.add(request.environ.get("HTTP_HOST", ""))


class Ahead:
    """A WSGI application before another one, which is asked what is not answered here."""

    def __init__(self, inner: Application, hosts: Hosts, doors: Sequence[Door]) -> None:
        self.inner, self.hosts, self.doors = inner, hosts, doors

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        for door in self.doors:
            if door.method == method and (named := door.path.fullmatch(path)):
                break
        else:
            return self.inner(environ, start_response)
        if environ.get("HTTP_HOST", "") not in self.hosts.known or (method != "GET" and not _rewound(environ)):
            return self.inner(environ, start_response)
        environ[ROUTE] = door.rule
        try:
            answer = door.answer(environ, **named.groupdict())
        except Exception as raised:  # noqa: BLE001  # it is not swallowed but raised again, where it can be told
            environ[_RAISED] = raised
            return self.inner(environ, start_response)
        start_response(answer.status, [*answer.headers])
        return [answer.body]


def refuse_as_before(environ: Environ) -> None:
    """Raise what the door of a request has raised, if it did."""
    raised = environ.pop(_RAISED, None)
    if raised is not None:
        raise raised


def _rewound(environ: Environ) -> bool:
    """Read a body whole, so that it can be read again; a large one, or one of unknown length, is left for later."""
    length = environ.get("CONTENT_LENGTH", "")
    if environ.get("HTTP_TRANSFER_ENCODING") or not _LENGTH.fullmatch(length) or int(length) > reading.LARGEST:
        return False
    stream, left, blocks = environ["wsgi.input"], int(length), []
    while left and (block := stream.read(left)):
        blocks.append(block)
        left -= len(block)
    environ["wsgi.input"] = BytesIO(b"".join(blocks))
    return True
