"""Real receivers on loopback: a mail server, and a server of webhooks, which keep what they are sent."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

LOOPBACK = "127.0.0.1"


class Call(NamedTuple):
    """A request to a webhook."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]


class Hook:
    """A server of webhooks; `answer` gives the status and the headers of each answer, and may take its time."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.calls: list[Call] = []
        self.answer: Callable[[Call], tuple[int, Mapping[str, str]]] = lambda _: (204, {})
        self.server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self.server.daemon_threads = True
        if context is not None:
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/hook"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # the caller died of it
                    self.close_connection = True
                    return
                call = Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                hook.calls.append(call)
                status, headers = hook.answer(call)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@contextmanager
def hook(context: ssl.SSLContext | None = None) -> Iterator[Hook]:
    """Run a server of webhooks, over TLS where there is a context."""
    made = Hook(context)
    made.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # callers that hang up are part of it
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


class Mailbox:
    """A mail server; `refused` has by recipient how it answers in place of taking one, `data` how it takes a mail."""

    def __init__(self) -> None:
        self.contents: list[tuple[str, bytes]] = []
        self.refused: dict[str, str] = {}
        self.data = "250 OK"
        self.users: list[tuple[bytes, bytes]] = []
        self.port = 0

    @property
    def mails(self) -> list[EmailMessage]:
        return [message_from_bytes(content, policy=default) for _, content in self.contents]

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name for it
        self, _server: SMTP, _session: Session, envelope: Envelope, to: str, _options: Any
    ) -> str:
        if to in self.refused:
            return self.refused[to]
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data.startswith("250"):
            self.contents.append((envelope.rcpt_tos[0], cast(bytes, envelope.content)))
        return self.data

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any) -> AuthResult:
        self.users.append((given.login, given.password))
        return AuthResult(success=True)


@contextmanager
def mailbox(context: ssl.SSLContext | None = None, *, is_secure: bool = False, **how: Any) -> Iterator[Mailbox]:
    """Run a mail server, with STARTTLS where there is a context, or over TLS from the first byte."""
    made, loop, started = Mailbox(), asyncio.new_event_loop(), threading.Event()

    def make() -> SMTP:
        started_by = None if is_secure else context
        return SMTP(made, hostname=LOOPBACK, tls_context=started_by, authenticator=made.authenticate, loop=loop, **how)

    async def serve() -> Any:
        return await loop.create_server(make, LOOPBACK, 0, ssl=context if is_secure else None)

    def run() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(serve())
        made.port = server.sockets[0].getsockname()[1]
        started.set()
        loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
