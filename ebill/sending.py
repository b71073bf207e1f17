"""How a message leaves: by mail, or as a signed request to a webhook.

Where a webhook is, somebody typed in; so it is not trusted. Its name is resolved once, every address must be a public
one, and the connection goes to an address that was looked at; TLS is checked against the name; no redirect is
followed, no proxy is asked, and of the answer only the status and the headers are read. Requests are signed as
Standard Webhooks has it. A send is cut off after `SECONDS`, however slowly the other side talks.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import secrets
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from ebill.errors import SettingRefused

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Verdict = Literal["delivered", "again", "away", "refused", "gone"]

SECONDS: Final = 20.0
"""How long a send may take, from its first byte to the last."""
PATIENCE: Final = 8.0
"""For how many seconds of these the other side may say nothing."""
ADDRESSES_MOST: Final = 3
"""Addresses of a name that are tried."""
URL_MOST: Final = 2000
EMAIL_MOST: Final = 254
PREFIX: Final = "whsec_"
"""What every secret of a webhook begins with."""
_SECRET_BYTES: Final = 32
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
EMAIL_PATTERN: Final = rf"^(?!.*=\?){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*$"
_EMAIL: Final = re.compile(EMAIL_PATTERN)
_SIGN: Final = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})"
URL_PATTERN: Final = (
    r"^(https?)://(\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]{1,45}\]|[A-Za-z0-9.-]{1,253})(?::([1-9][0-9]{0,4}))?"
    rf"(/{_SIGN}*(?:\?(?:{_SIGN}|\?)*)?)?$"
)
_URL: Final = re.compile(URL_PATTERN)
_LIKE_A_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_DOTTED: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_CLOSED: Final = tuple(map(ip_network, ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24")))
"""What no router of the internet should be asked for, beyond what Python's own lists have."""
_UNICAST: Final = IPv6Network("2000::/3")
_CLOSED_WITHIN: Final = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Of these, Teredo and 6to4 lead to IPv4 addresses, and the others nowhere."""


class Url(NamedTuple):
    """Where a webhook is, in parts; the path has the query."""

    is_secure: bool
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """All of it that may be written down where others read: its path may be a secret."""
        return f"{'https' if self.is_secure else 'http'}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"


class Outcome(NamedTuple):
    """What became of a send: `again` may do later, `after` what the other side asked for; `gone` wants no more ever.

    Who is `away` gave no answer at all: whatever else is sent there just now will fare no better.

    `detail` is in our words: nothing that the other side said is in it.
    """

    verdict: Verdict
    detail: str = ""
    after: timedelta | None = None


class MailServer(NamedTuple):
    """Where mail is handed in, and from whom it is."""

    is_secure: bool
    host: str
    port: int
    user: str
    password: str
    sender: str

    @property
    def domain(self) -> str:
        """The domain that our mail is from."""
        return self.sender.rpartition("@")[2]


DELIVERED: Final = Outcome("delivered")


# What the operator set


def networks() -> tuple[Network, ...]:
    """Read `EBILL_WEBHOOK_NETWORKS`: where webhooks may be that are not on the internet. Raises SettingRefused."""
    found = []
    for text in os.environ.get("EBILL_WEBHOOK_NETWORKS", "").split(","):
        if text.strip():
            try:
                found.append(ip_network(text.strip()))
            except ValueError:
                raise SettingRefused(
                    "EBILL_WEBHOOK_NETWORKS", "must be networks such as 10.1.0.0/16, parted by commas"
                ) from None
    return tuple(found)


def mail_server() -> MailServer | None:
    """Read `EBILL_SMTP_URL` and `EBILL_MAIL_FROM`; None where the first is not set. Raises SettingRefused."""
    text = os.environ.get("EBILL_SMTP_URL", "")
    if not text:
        return None
    sender = os.environ.get("EBILL_MAIL_FROM", "")
    if not is_email(sender):
        raise SettingRefused("EBILL_MAIL_FROM", "must be the address that mail is from, such as ebill@example.com")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), None
    host = parts.hostname or ""
    if parts.scheme not in ("smtp", "smtps") or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise SettingRefused("EBILL_SMTP_URL", "must be smtp://USER:PASSWORD@HOST:PORT, or smtps://…")
    is_secure = parts.scheme == "smtps"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailServer(is_secure, host, port or (465 if is_secure else 587), user, password, sender)


# Where a message goes


def is_email(text: str) -> bool:
    """Tell whether a text is an address that we send mail to: ASCII, unquoted, not encoded, and a domain by name."""
    local = text.rpartition("@")[0]
    return len(text) <= EMAIL_MOST and len(local) <= 64 and _EMAIL.fullmatch(text) is not None


def read_url(text: str, allowed: Sequence[Network]) -> Url:
    """Read where a webhook is. Raises ValueError, whose text says what it must be.

    Only what can be told without asking anybody is refused here; what its name leads to is looked at by each send.
    """
    parts = _URL.fullmatch(text) if len(text) <= URL_MOST else None
    if parts is None:
        raise ValueError(
            "must be https://HOST/PATH in ASCII, at most 2,000 characters, without user, password or fragment"
        )
    scheme, host, port, path = parts.groups()
    host = host.strip("[]").lower()
    url = Url(scheme == "https", host, int(port or (443 if scheme == "https" else 80)), path or "/")
    if url.port > 65535:
        raise ValueError("must have a port up to 65535")
    literal = _literal(host, is_bracketed=parts[2].startswith("["))
    if literal is not None and not is_open(literal, allowed):
        raise ValueError("must be on the internet: this address is not")
    if literal is None and "." not in host and not allowed:
        raise ValueError("must have a host name of the internet, such as hooks.example.com")
    may_be_plain = host == "localhost" or (literal is not None and literal.is_loopback)
    if not url.is_secure and not (may_be_plain and allowed):
        raise ValueError("must begin with https://")
    return url


def is_open(address: Address, allowed: Sequence[Network]) -> bool:
    """Tell whether a webhook may have an address: a public one, or one of the networks that are allowed.

    >>> is_open(ip_address("8.8.8.8"), ()), is_open(ip_address("10.0.0.1"), ()), is_open(ip_address("::1"), ())
    (True, False, False)
    """
    if any(address in network for network in allowed):
        return True
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED)
    return address in _UNICAST and not any(address in network for network in _CLOSED_WITHIN)


def _literal(host: str, *, is_bracketed: bool) -> Address | None:
    """Give the address that a host is; None for a name. Raises ValueError for what is neither, or an odd spelling."""
    if is_bracketed or _DOTTED.fullmatch(host):
        try:
            return ip_address(host)
        except ValueError:
            raise ValueError("must have a host name, or an address as it is usually written") from None
    if not _NAME.fullmatch(host) or _LIKE_A_NUMBER.fullmatch(host.rpartition(".")[2]):
        raise ValueError("must have a host name, or an address as it is usually written")
    return None


# By mail


def write_mail(message_id: str, subject: str, text: str, at: datetime, sender: str, to: str) -> EmailMessage:
    """Write a mail: the same for the same message, whenever it is sent."""
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = sender, to, subject
    mail["Date"] = format_datetime(at.astimezone(UTC).replace(microsecond=0))
    mail["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text, cte="quoted-printable")
    return mail


def send_mail(server: MailServer, mail: EmailMessage, to: str) -> Outcome:
    """Hand a mail in. What the server refuses for good, of the recipient or of the mail, is refused."""
    try:
        with socket.create_connection((server.host, server.port), PATIENCE) as plain, _bounded(plain):
            secured = _trust().wrap_socket(plain, server_hostname=server.host) if server.is_secure else plain
            smtp = _Smtp(secured, server)
            try:
                if not server.is_secure and not _is_loopback(server.host):
                    smtp.starttls(context=_trust())
                if server.user:
                    smtp.login(server.user, server.password)
                smtp.send_message(mail, server.sender, [to])
            finally:
                with suppress(OSError):
                    smtp.quit()
                smtp.close()
    except smtplib.SMTPRecipientsRefused as error:
        return _mail_refused(next(iter(error.recipients.values()))[0])
    except smtplib.SMTPDataError as error:
        return _mail_refused(error.smtp_code)
    except smtplib.SMTPResponseException as error:
        return Outcome("again", f"the mail server answered {error.smtp_code}")
    except (OSError, UnicodeError) as error:
        return Outcome("away", f"the mail server: {_why(error)}")
    return DELIVERED


class _Smtp(smtplib.SMTP):
    """A conversation with a mail server over a connection that is there."""

    def __init__(self, connection: socket.socket, server: MailServer) -> None:
        self._connection = connection
        super().__init__(server.host, server.port, server.domain, PATIENCE)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._connection


def _mail_refused(code: int) -> Outcome:
    return Outcome("refused" if code >= 500 else "again", f"the mail server answered {code}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# To a webhook


def new_secret() -> str:
    """Make the secret that requests to a webhook are signed with."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign a request as Standard Webhooks has it.

    >>> body, message_id = b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek"
    >>> signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", message_id, 1614265330, body)  # the standard's own example
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def call(text: str, secret: str, message_id: str, body: bytes, at: datetime, allowed: Sequence[Network]) -> Outcome:
    """Send a message to a webhook."""
    try:
        url = read_url(text, allowed)
        addresses = _resolved(url, allowed)
        with _connected(addresses) as plain, _bounded(plain) as was_cut:
            outcome = _called(url, plain, secret, message_id, body, at)
        is_away = was_cut.is_set() and outcome.verdict == "again"
        return outcome._replace(verdict="away") if is_away else outcome
    except (OSError, HTTPException) as error:  # first: a certificate that is not trusted is a ValueError besides
        return Outcome("away", _why(error))
    except ValueError as error:
        return Outcome("again", f"its address {error}")


def _resolved(url: Url, allowed: Sequence[Network]) -> list[tuple[Any, Any]]:
    """Give the addresses of a webhook, each with its family. Raises ValueError unless all of them are open."""
    found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    for _, _, _, _, (text, *_) in found:
        address = ip_address(text)
        if not is_open(address, allowed):
            raise ValueError("leads to what is not on the internet")
        if not url.is_secure and not address.is_loopback:
            raise ValueError("must begin with https://")
    return [(family, address) for family, _, _, _, address in found]


@contextmanager
def _connected(addresses: Sequence[tuple[Any, Any]]) -> Iterator[socket.socket]:
    """Connect to the first address that answers."""
    failed: OSError = OSError("no address")
    for family, address in addresses[:ADDRESSES_MOST]:
        plain = socket.socket(family, socket.SOCK_STREAM)
        plain.settimeout(PATIENCE)
        try:
            plain.connect(address)
        except OSError as error:
            plain.close()
            failed = error
            continue
        with plain:
            yield plain
        return
    raise failed


def _called(url: Url, plain: socket.socket, secret: str, message_id: str, body: bytes, at: datetime) -> Outcome:
    timestamp = int(at.timestamp())
    headers = {
        "Host": url.authority,
        "Content-Type": "application/json",
        "User-Agent": "ebill",
        "Connection": "close",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }
    secured = _trust().wrap_socket(plain, server_hostname=url.host) if url.is_secure else plain
    with secured:
        connection = HTTPConnection(url.host, url.port)
        connection.sock = secured
        connection.request("POST", url.path, body, headers)
        answer = connection.getresponse()
        while answer.status < HTTPStatus.OK and answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
            answer.headers = None  # type: ignore[assignment]  # so it reads on: of these it knows no other than 100
            answer.begin()
        connection.close()
        return _told(answer, at)


def _told(answer: HTTPResponse, at: datetime) -> Outcome:
    """Give what a status means; what else is in the answer is not read."""
    if 200 <= answer.status < 300:
        return DELIVERED
    detail = f"it answered {answer.status}"
    if answer.status == HTTPStatus.GONE:
        return Outcome("gone", detail)
    waits = answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
    return Outcome("again", detail, _after(answer.headers.get("Retry-After", ""), at) if waits else None)


def _after(text: str, at: datetime) -> timedelta | None:
    """Read how long to wait: seconds, or until a date."""
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=int(text))
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return None if until.tzinfo is None else max(until - at, timedelta(0))


# Both


@cache
def _trust() -> ssl.SSLContext:
    """Give whom we trust to say who somebody is: whom this machine trusts."""
    return ssl.create_default_context()


@contextmanager
def _bounded(connection: socket.socket) -> Iterator[threading.Event]:
    """Cut a connection off after `SECONDS`: a timeout alone begins anew with each byte that comes."""
    same, was_cut = connection.dup(), threading.Event()  # TLS takes the first one over
    timer = threading.Timer(SECONDS, _cut, [same, was_cut])
    timer.daemon = True
    timer.start()
    try:
        yield was_cut
    finally:
        timer.cancel()
        timer.join()
        same.close()


def _cut(connection: socket.socket, was_cut: threading.Event) -> None:
    was_cut.set()
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _why(error: Exception) -> str:
    """Say in few words why a send failed."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    if isinstance(error, socket.gaierror):
        return "its name leads nowhere"
    return f"no answer could be had ({type(error).__name__})"
