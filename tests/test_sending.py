"""A message leaves for where it may go and for nowhere else, in bounded time, whatever the other side does."""

import base64
import hashlib
import hmac
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import trustme

from ebill import sending
from ebill.errors import SettingRefused
from ebill.sending import MailServer, Outcome
from tests.receivers import LOOPBACK, Hook, Mailbox, hook, mailbox

pytestmark = pytest.mark.anywhere

AT = datetime(2031, 8, 25, 16, tzinfo=UTC)
LOCAL = (ip_network("127.0.0.0/8"),)
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = b'{"type":"reminder"}'
NAME = "hooks.example.com"


def call(url: str, allowed: Any = LOCAL) -> Outcome:
    return sending.call(url, SECRET, "msg_1", BODY, AT, allowed)


@pytest.fixture
def hooked() -> Iterator[Hook]:
    with hook() as made:
        yield made


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this machine trust the authority."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    sending._trust.cache_clear()
    yield
    sending._trust.cache_clear()


def serving(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Make what a server of these names shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def leads_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name lead to addresses; gives the names that were asked for."""
    asked: list[str] = []

    def found(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return asked


# Where a webhook may be

REFUSED = (
    "",
    "hooks.example.com/x",
    "HTTPS://hooks.example.com/",
    "ftp://hooks.example.com/",
    "http://hooks.example.com/",
    "https://",
    "https:///x",
    "https:/hooks.example.com/",
    "https:hooks.example.com",
    "//hooks.example.com/",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "https://user@hooks.example.com/",
    "https://user:password@hooks.example.com/",
    "https://hooks.example.com/#part",
    "https://hooks.example.com#part",
    "https://hooks.example.com?query",
    "https://hooks.example.com:0/",
    "https://hooks.example.com:65536/",
    "https://hooks.example.com:99999/",
    "https://hooks.example.com:/",
    "https://hooks.example.com:-1/",
    "https://hooks.example.com:0443/",
    "https://hooks.example.com:443:443/",
    "https://hooks.example.com\\@127.0.0.1/",
    "https://hooks.example.com/\\",
    "https://hooks.example.com/a b",
    "https://hooks.example.com/a\tb",
    "https://hooks.example.com/a\r\nX-Header: 1",
    "https://hooks.example.com/\n",
    " https://hooks.example.com/",
    "https://hooks.example.com/%0",
    "https://hooks.example.com/%zz",
    "https://hooks.example.com/é",
    "https://höoks.example.com/",
    "https://hooks。example.com/",
    "https://①②⑦.0.0.1/",
    "https://hooks..example.com/",
    "https://.example.com/",
    "https://example.com./",
    "https://-x.example.com/",
    "https://x-.example.com/",
    "https://hooks_1.example.com/",
    f"https://{'a' * 64}.example.com/",
    f"https://{'a.' * 130}com/",
    "https://localhost/",
    "https://intranet/",
    "https://127.0.0.1/",
    "https://127.1.2.3/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://192.0.0.8/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://198.18.0.1/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://127.1/",
    "https://0177.0.0.1/",
    "https://0x7f.1/",
    "https://0x7f.0.0.1/",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://127.0.0.01/",
    "https://127.0.0.256/",
    "https://1.2.3.4.5/",
    "https://example.0x7f/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::1]/",
    "https://[100::1]/",
    "https://[2001::1]/",
    "https://[2001:db8::1]/",
    "https://[2002:7f00:1::]/",
    "https://[3fff::1]/",
    "https://[5f00::1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456::1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[hooks.example.com]/",
    "https://[8.8.8.8]/",
    "https://[1:2:3]/",
    "https://2606:4700::1111/",
    f"https://hooks.example.com/{'x' * 2000}",
)


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_a_webhook_cannot_have_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        sending.read_url(url, ())


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://hooks.example.com", (True, "hooks.example.com", 443, "/")),
        ("https://Hooks.Example.com:8443/A/b%20c?d=e&f=/?g", (True, "hooks.example.com", 8443, "/A/b%20c?d=e&f=/?g")),
        ("https://8.8.8.8/", (True, "8.8.8.8", 443, "/")),
        ("https://[2606:4700::1111]:443/x", (True, "2606:4700::1111", 443, "/x")),
        ("https://xn--hoks-6qa.example/", (True, "xn--hoks-6qa.example", 443, "/")),
        ("https://127.0.0.1.example.com/", (True, "127.0.0.1.example.com", 443, "/")),
    ],
)
def test_a_url_is_read(url: str, parts: tuple[Any, ...]) -> None:
    assert sending.read_url(url, ()) == parts


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost:8080/x", True),
        ("https://127.0.0.1/x", True),
        ("https://receiver/x", True),
        ("http://receiver/x", False),
        ("https://127.0.1.1/x", False),
        ("http://[::1]/x", False),
        ("https://10.0.0.1/x", False),
        ("http://8.8.8.8/x", False),
    ],
)
def test_networks_that_are_allowed_are_open_and_no_others(url: str, *, is_taken: bool) -> None:
    try:
        sending.read_url(url, (ip_network("127.0.0.0/24"),))
    except ValueError:
        assert not is_taken
    else:
        assert is_taken


def test_public_addresses_are_open() -> None:
    for text in ("1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255", "2606:4700::1111", "2a00::1"):
        assert sending.is_open(ip_address(text), ()), text


def test_an_address_that_is_not_told_by_the_url_is_refused_when_it_is_looked_up(
    hooked: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for addresses in (["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]):
        asked = leads_to(monkeypatch, *addresses)
        outcome = call(f"https://{NAME}:{hooked.port}/x", ())
        assert outcome == ("again", "its address leads to what is not on the internet", None)
        assert asked == [NAME]
    assert hooked.calls == []


def test_plain_http_goes_no_further_than_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    leads_to(monkeypatch, "10.0.0.1")
    outcome = call("http://localhost/x", (ip_network("10.0.0.0/8"),))
    assert outcome.detail == "its address must begin with https://"


@pytest.mark.parametrize("text", ["x", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8 10.1.0.0/16", "::/129"])
def test_networks_that_are_none_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_WEBHOOK_NETWORKS", text)
    with pytest.raises(SettingRefused, match="EBILL_WEBHOOK_NETWORKS must be networks"):
        sending.networks()


def test_networks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sending.networks() == ()
    monkeypatch.setenv("EBILL_WEBHOOK_NETWORKS", "10.0.0.0/8, ::1/128,")
    assert sending.networks() == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


# To a webhook


def test_a_request_is_signed_and_says_what_it_is(hooked: Hook) -> None:
    assert call(f"{hooked.url}?a=b") == sending.DELIVERED
    [made] = hooked.calls
    assert (made.path, made.body) == ("/hook?a=b", BODY)
    signed = b".".join([b"msg_1", str(int(AT.timestamp())).encode(), BODY])
    mac = base64.b64encode(hmac.new(bytes(range(32)), signed, hashlib.sha256).digest()).decode()
    assert made.headers == {
        "host": f"{LOOPBACK}:{hooked.port}",
        "accept-encoding": "identity",
        "content-length": str(len(BODY)),
        "content-type": "application/json",
        "user-agent": "ebill",
        "connection": "close",
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(AT.timestamp())),
        "webhook-signature": f"v1,{mac}",
    }


def test_a_secret_is_random_and_as_the_standard_has_it() -> None:
    made = {sending.new_secret() for _ in range(100)}
    assert len(made) == 100
    for secret in made:
        assert secret.startswith("whsec_")
        assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (200, {}, ("delivered", "", None)),
        (202, {}, ("delivered", "", None)),
        (299, {}, ("delivered", "", None)),
        (301, {"Location": "/other"}, ("again", "it answered 301", None)),
        (307, {"Location": "/other"}, ("again", "it answered 307", None)),
        (400, {}, ("again", "it answered 400", None)),
        (404, {"Retry-After": "5"}, ("again", "it answered 404", None)),
        (410, {}, ("gone", "it answered 410", None)),
        (429, {"Retry-After": "120"}, ("again", "it answered 429", timedelta(seconds=120))),
        (429, {}, ("again", "it answered 429", None)),
        (503, {"Retry-After": "Mon, 25 Aug 2031 17:00:00 GMT"}, ("again", "it answered 503", timedelta(hours=1))),
        (503, {"Retry-After": "Mon, 25 Aug 2031 15:00:00 GMT"}, ("again", "it answered 503", timedelta(0))),
        (503, {"Retry-After": "soon"}, ("again", "it answered 503", None)),
        (503, {"Retry-After": "-5"}, ("again", "it answered 503", None)),
        (503, {"Retry-After": "9" * 40}, ("again", "it answered 503", None)),
        (500, {}, ("again", "it answered 500", None)),
    ],
)
def test_a_status_says_what_becomes_of_a_message(hooked: Hook, status: int, headers: Any, outcome: Any) -> None:
    hooked.answer = lambda _: (status, headers)
    assert call(hooked.url) == outcome
    assert [made.path for made in hooked.calls] == ["/hook"]


def test_proxies_of_the_environment_are_not_asked(hooked: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    assert call(hooked.url) == sending.DELIVERED


@contextmanager
def speaking(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that takes a request and then talks as it likes."""

    def serve() -> None:
        with listener.accept()[0] as caller:
            caller.recv(65536)
            with suppress(OSError):  # it was hung up on
                talk(caller)

    with socket.create_server((LOOPBACK, 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
        thread.join(5)
        assert not thread.is_alive()


def drip(caller: socket.socket) -> None:
    for _ in range(200):
        caller.sendall(b"x")
        time.sleep(0.02)


def say_continue(caller: socket.socket) -> None:
    for _ in range(200):
        caller.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.02)


@pytest.mark.parametrize(
    "talk",
    [
        drip,
        say_continue,
        lambda caller: caller.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000),
        lambda caller: caller.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000),
        lambda caller: caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
        lambda caller: caller.sendall(b"HTTP/1.1 abc\r\n\r\n"),
        lambda _: None,
    ],
    ids=["drip", "continue", "many", "long", "ssh", "status", "silence"],
)
def test_a_receiver_that_talks_slowly_or_oddly_is_cut_off(
    talk: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.3)
    began = time.monotonic()
    with speaking(talk) as url:
        outcome = call(url)
    assert outcome.verdict == "away"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", sending.DELIVERED),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + b"HTTP/1.1 410 Gone\r\n\r\n", ("gone", "it answered 410", None)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.0 200 OK\r\n\r\n", sending.DELIVERED),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", ("again", "it answered 101", None)),
    ],
)
def test_an_answer_that_is_not_final_is_read_over(said: bytes, outcome: Any) -> None:
    with speaking(lambda caller: caller.sendall(said)) as url:
        assert call(url) == outcome


def test_headers_without_end_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(caller: socket.socket) -> None:
        caller.sendall(b"HTTP/1.1 500 Oh\r\n")
        drip(caller)

    monkeypatch.setattr(sending, "SECONDS", 0.3)
    with speaking(talk) as url:
        assert call(url).verdict == "away"


def test_a_body_of_any_size_is_not_read() -> None:
    sent: list[int] = []

    def talk(caller: socket.socket) -> None:
        caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        sent.extend(caller.send(bytes(1_000_000)) for _ in range(1000))

    with speaking(talk) as url:
        assert call(url) == sending.DELIVERED
    assert sum(sent) < 100_000_000


def test_a_receiver_that_is_silent_is_waited_for_no_longer_than_our_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 0.2)
    with speaking(lambda _: time.sleep(0.5)) as url:
        assert call(url) == ("away", "it did not answer in time", None)


def test_a_receiver_that_is_not_there_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
    assert call(f"http://{LOOPBACK}:{port}/") == ("away", "no answer could be had (ConnectionRefusedError)", None)

    def nowhere(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    assert call(f"https://{NAME}/") == ("away", "its name leads nowhere", None)


def test_the_next_address_is_tried_where_one_does_not_answer(hooked: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    leads_to(monkeypatch, "127.0.0.2", LOOPBACK)
    assert call(f"http://localhost:{hooked.port}/hook") == sending.DELIVERED


@pytest.mark.usefixtures("trusted")
def test_tls_is_checked_against_the_name_and_goes_to_the_address_that_was_looked_at(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hook(serving(authority, NAME)) as hooked:
        asked = leads_to(monkeypatch, LOOPBACK)
        assert call(f"https://{NAME}:{hooked.port}/x") == sending.DELIVERED
        assert asked == [NAME]
        assert [made.headers["host"] for made in hooked.calls] == [f"{NAME}:{hooked.port}"]
        for other in ("other.example.com", LOOPBACK):
            assert call(f"https://{other}:{hooked.port}/x") == ("away", "its certificate is not trusted", None)
        assert len(hooked.calls) == 1


def test_a_certificate_of_an_authority_that_nobody_knows_is_not_trusted(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending._trust.cache_clear()
    with hook(serving(authority, NAME)) as hooked:
        leads_to(monkeypatch, LOOPBACK)
        assert call(f"https://{NAME}:{hooked.port}/x") == ("away", "its certificate is not trusted", None)
        assert hooked.calls == []


# By mail


def server(box: Mailbox, **more: Any) -> MailServer:
    return MailServer(**{"is_secure": False, "host": LOOPBACK, "port": box.port, "user": "", "password": "",
                         "sender": "ebill@example.com", **more})  # fmt: skip


def send(to_server: MailServer, text: str = "Hello\n", to: str = "pat@example.org") -> Outcome:
    mail = sending.write_mail("msg_1", "1 invoice deadline", text, AT, to_server.sender, to)
    return sending.send_mail(to_server, mail, to)


def test_a_mail_says_from_whom_it_is_and_that_no_person_wrote_it() -> None:
    with mailbox() as box:
        assert send(server(box), "Größe: 1\n.\n.. dots\n" + "x" * 2000 + "\n") == sending.DELIVERED
    [(to, content)], [mail] = box.contents, box.mails
    assert to == "pat@example.org"
    assert content.isascii()
    assert {name: str(value) for name, value in mail.items() if not name.startswith(("X-", "MIME"))} == {
        "From": "ebill@example.com",
        "To": "pat@example.org",
        "Subject": "1 invoice deadline",
        "Date": "Mon, 25 Aug 2031 16:00:00 +0000",
        "Message-ID": "<msg_1@example.com>",
        "Auto-Submitted": "auto-generated",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
    }
    assert mail.get_content().replace("\r\n", "\n") == "Größe: 1\n.\n.. dots\n" + "x" * 2000 + "\n"


@pytest.mark.parametrize(
    ("refused", "data", "verdict"),
    [
        ("550 no such user", "250 OK", "refused"),
        ("450 greylisted", "250 OK", "again"),
        ("", "554 spam", "refused"),
        ("", "452 disk full", "again"),
        ("421 shutting down", "250 OK", "again"),
    ],
)
def test_what_a_mail_server_refuses_for_good_is_given_up(refused: str, data: str, verdict: str) -> None:
    with mailbox() as box:
        box.refused = {"pat@example.org": refused} if refused else {}
        box.data = data
        outcome = send(server(box))
    assert outcome.verdict == verdict
    assert outcome.detail == f"the mail server answered {(refused or data)[:3]}"


def test_a_mail_server_that_is_not_there_is_tried_again() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
    found = send(MailServer(is_secure=False, host=LOOPBACK, port=port, user="", password="", sender="e@example.com"))
    assert found == ("away", "the mail server: no answer could be had (ConnectionRefusedError)", None)


def test_a_mail_server_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.3)
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as caller, suppress(OSError):
                for _ in range(300):
                    caller.sendall(b"220-hello\r\n")
                    time.sleep(0.02)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        box = Mailbox()
        box.port = listener.getsockname()[1]
        began = time.monotonic()
        assert send(server(box)).verdict == "away"
        assert time.monotonic() - began < 4
        thread.join()


@contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every connection go to loopback, whatever it is asked for."""
    right = socket.create_connection
    with monkeypatch.context() as patched:
        patched.setattr(socket, "create_connection", lambda to, *more: right((LOOPBACK, to[1]), *more))
        yield


@pytest.mark.usefixtures("trusted")
def test_mail_is_handed_in_over_tls_and_a_password_never_without(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = serving(authority, "mail.example.com")
    of = {"host": "mail.example.com", "user": "jo", "password": "p:w"}
    with ExitStack() as stack:
        stack.enter_context(elsewhere(monkeypatch))
        starting = stack.enter_context(mailbox(context))
        secure = stack.enter_context(mailbox(context, is_secure=True, auth_require_tls=False))
        plain = stack.enter_context(mailbox(auth_require_tls=False))
        assert send(server(starting, **of)) == sending.DELIVERED
        assert send(server(secure, **of, is_secure=True)) == sending.DELIVERED
        assert starting.users == secure.users == [(b"jo", b"p:w")]
        assert send(server(plain, **of)) == (
            "away",
            "the mail server: no answer could be had (SMTPNotSupportedError)",
            None,
        )
        assert send(server(starting, **{**of, "host": "other.example.com"})).detail == (
            "the mail server: its certificate is not trusted"
        )
        assert (plain.users, len(starting.users), len(plain.contents)) == ([], 1, 0)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("smtp://mail.example.com", (False, "mail.example.com", 587, "", "")),
        ("smtps://mail.example.com", (True, "mail.example.com", 465, "", "")),
        ("smtp://jo%40x:p%3Aw%2F@mail.example.com:2525", (False, "mail.example.com", 2525, "jo@x", "p:w/")),
        ("smtp://[::1]:25", (False, "::1", 25, "", "")),
    ],
)
def test_a_mail_server_is_read(url: str, found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_SMTP_URL", url)
    monkeypatch.setenv("EBILL_MAIL_FROM", "ebill@example.com")
    assert sending.mail_server() == (*found, "ebill@example.com")


@pytest.mark.parametrize(
    ("url", "sender", "name"),
    [
        ("http://jo:hush@mail.example.com", "ebill@example.com", "EBILL_SMTP_URL"),
        ("smtp://jo:hush@", "ebill@example.com", "EBILL_SMTP_URL"),
        ("smtp://jo:hush@mail.example.com:x", "ebill@example.com", "EBILL_SMTP_URL"),
        ("smtp://jo:hush@mail.example.com/box", "ebill@example.com", "EBILL_SMTP_URL"),
        ("smtp://jo:hush@[::1", "ebill@example.com", "EBILL_SMTP_URL"),
        ("smtp://jo:hush@mail.example.com", "", "EBILL_MAIL_FROM"),
        ("smtp://jo:hush@mail.example.com", "ebill@example.com\nBcc: x@example.com", "EBILL_MAIL_FROM"),
    ],
)
def test_a_mail_server_that_cannot_be_meant_is_refused_without_its_password(
    url: str, sender: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBILL_SMTP_URL", url)
    monkeypatch.setenv("EBILL_MAIL_FROM", sender)
    with pytest.raises(SettingRefused) as refused:
        sending.mail_server()
    assert refused.value.name == name
    assert "hush" not in repr(refused.value)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("jo.doe@example.com", True),
        ("jo+x@example.co.uk", True),
        ("o'neil@example.com", True),
        ("jo@localhost", True),
        ("", False),
        ("jo", False),
        ("@example.com", False),
        ("jo@", False),
        ("jo@@example.com", False),
        ("jo@example..com", False),
        (".jo@example.com", False),
        ("jo..doe@example.com", False),
        ("jo doe@example.com", False),
        ("Jo <jo@example.com>", False),
        ("jo@example.com, eve@example.com", False),
        ("jo@example.com\n", False),
        ("jo@example.com\r\nBcc: eve@example.com", False),
        ("jo\0@example.com", False),
        ("=?utf-8?q?jo?=@example.com", False),
        ("jo=?x@example.com", False),
        ("jo=x?y@example.com", True),
        ("jö@example.com", False),
        ("jo@exämple.com", False),
        ('"jo"@example.com', False),
        ("jo@[127.0.0.1]", False),
        (f"{'j' * 65}@example.com", False),
        (f"jo@{'e.' * 126}com", False),
    ],
)
def test_an_address_is_one_or_is_not(text: str, *, is_one: bool) -> None:
    assert sending.is_email(text) == is_one
