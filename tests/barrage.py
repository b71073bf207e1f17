"""Requests without end: every address that there is, asked rightly, a little wrongly, and as nobody should.

They are drawn from a number and are the same whenever that is. Each is for one address and method of the application,
by somebody who may or may not; it begins as one that would do, made of the route's own examples and of the forms that
the pages show, and is then spoilt in some places. The application is called as a server calls it, without a socket.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import quote, quote_from_bytes, urlencode

from ebill.web import ROUTES, pages
from ebill.web.fence import HEADERS
from ebill.web.pages import cookies
from ebill.web.pages.page import Page
from ebill.web.routes import Csv, Ndjson, Route
from tests.drawn import drawn_body, drawn_life
from tests.hostile import Answer, Sent, ask
from tests.spoilt import VALUES, spoil, spoil_bytes, written
from tests.visits import HTML, MULTIPART, Visits, session_ids
from tests.world import ACME, ACTORS, UNKNOWN, ZENITH

FORM: Final = "application/x-www-form-urlencoded"
BOUNDARY: Final = "a-boundary"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "BREW")
TEXTS: Final[Sequence[str]] = (
    *(value for value in VALUES if isinstance(value, str)),
    *("../../etc/passwd", "..\\x", "' OR 1=1--", "%", "_", "*", "<script>alert(1)</script>", '" onmouseover="x'),
    *("{{7*7}}", "null", "retroactive"),
    *("=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1", "a\r\nSet-Cookie: a=b", 'a"; x="y', "javascript:alert(1)"),
    *("//evil.example", "/\\evil.example", "https:evil.example", "1e400", "9" * 5_000, "-0", "0x10", "1_000", "\u0663"),
    *("2026-01-01T00:00:00Z", "2026-08", "2026-08-03", "0001-01", "9999-12", "true", "yes", "on"),
    *("client_manager", "due,grace_end", "in_grace", "csv", "ics", "\u0130", "\xdf", "e\u0301" * 40, "a" * 40_000),
)  # fmt: skip
HOSTILE_HEADERS: Final[Mapping[str, Sequence[str]]] = {
    "Authorization": ("", "Bearer", "Bearer ", "bearer ebp_0", "Basic YTpi", "Bearer \xff", "Bearer a, Bearer b",
                      "Bearer ebp_0123456789abcdef_" + "0" * 32, "Bearer " + "a" * 20_000, "Bearer a.b.c"),
    "Cookie": ("sid=", "sid=\xff", "sid=a; sid=b", "__Host-sid=a", "a" * 9_000, 'sid="', ";;=;", "sid=" + "x" * 4_000),
    "If-Match": ('"1"', '"7"', 'W/"1"', "*", '"1", "2"', "1", '"', "\xff", '"1' * 3_000, '"99999999999999999999"', ""),
    "If-None-Match": ('"1"', "*", 'W/"1"', "1", '"a", "b"', "\xff", '"' * 9_999, ""),
    "Idempotency-Key": ("", "a key", "a" * 300, "\xff", "a\tb", "a,b", '"'),
    "Accept": ("", "image/png", "text/html", "text/csv", "text/calendar", "*/*;q=0", "\xff", "," * 999),
    "Accept-Encoding": ("gzip", "gzip;q=0", "identity;q=0, *;q=0", "br", "\xff", "gzip;q=x"),
    "Accept-Language": ("\xff", "tr-TR"),
    "Content-Type": ("", "text/plain", FORM, MULTIPART, f"{MULTIPART}; boundary=", f"{MULTIPART}; boundary=\xff",
                     "application/json", "application/json; charset=utf-7", "text/csv", "application/x-ndjson", "\xff",
                     "a" * 9_000),
    "Content-Encoding": ("gzip", "identity", "\xff"),
    "Transfer-Encoding": ("chunked",),
    "Host": ("", "evil.example", "a b", "a@b", "[::1]", "localhost:99999", "\xff", "a" * 300, "localhost."),
    "X-Forwarded-For": ("127.0.0.1", "\xff", "a" * 999),
    "X-Forwarded-Host": ("evil.example",),
    "X-Forwarded-Proto": ("https", "javascript"),
    "X-Http-Method-Override": ("DELETE",),
    "Sec-Fetch-Site": ("cross-site", "same-site", "none", "same-origin", "", "\xff"),
    "Origin": ("null", "https://evil.example", "http://localhost", "\xff", ""),
    "Referer": ("https://evil.example/\xff", "/"),
    "HX-Request": ("true", "\xff"),
    "HX-Target": ("preview", "\xff"),
    "Range": ("bytes=0-", "bytes=9-1", "bytes=a", "bytes=0-0,1-1", "\xff"),
    "If-Modified-Since": ("yesterday", "Thu, 01 Jan 1970 00:00:00 GMT", "\xff"),
    "If-Range": ('"a"', "\xff"),
    "Expect": ("100-continue",),
    "User-Agent": ("", "\x9b31m", "a" * 9_000),
    "Date": ("\xff",),
}  # fmt: skip
"""What may stand in a header; a server hands on bytes beyond ASCII as Latin-1, and no control characters."""
SPOILT: Final = ("path", "query", "header", "body", "body", "method", "length")
"""Where a request is spoilt."""
COSTLY: Final = frozenset({"/readyz", "/v1/feeds/<secret>", "/v1/calculate/batch"})
"""Addresses where everybody may ask, and an answer takes milliseconds."""
CALCULATE: Final = "POST /v1/calculate"
OFTEN: Final = frozenset({CALCULATE, "GET /v1/posting", "GET /v1/states/<code>"})
LIVES: Final = 200
WORD: Final = "seven green bicycles"
UNSEEN: Final[Mapping[str, Mapping[str, str]]] = {
    "/import": {"held": "cmVjb3JkLGNsaWVudF9pZAo="},
    "/me/password": {"old_password": WORD, "new_password": f"{WORD} more"},
    "/sign-in/first-password": {"user_id": "pat-producer", "password": WORD, "new_password": f"{WORD} more"},
}
"""Forms that a page shows only on the way to them."""
NAMES_EVERYWHERE: Final = frozenset(name for name, _ in HEADERS)
_EVENT: Final = re.compile(
    r'{"at":"[^"]+","level":"(info|warning)","event":"(request|sign_in_refused|not_identified|started|stopped)"'
)


@dataclass(frozen=True)
class Target:
    """An address and a method, with what may be sent there."""

    method: str
    rule: str
    page: bool
    content_type: str = ""
    names: tuple[str, ...] = ()
    queries: tuple[Mapping[str, Any], ...] = ({},)
    bodies: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.rule}"


class Forms(HTMLParser):
    """Reads the forms of a page: where each is sent, and its fields as they stand."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, or a field of the one that is open."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((given.get("action", ""), {}))
        if not self.found:
            return
        fields = self.found[-1][1]
        if tag == "select":
            self._select = given.get("name", "")
        elif tag == "option" and self._select and ("selected" in given or self._select not in fields):
            fields[self._select] = given.get("value", "")
        elif tag in ("input", "textarea", "button") and given.get("name"):
            fields.setdefault(given["name"], given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a list to choose from."""
        if tag == "select":
            self._select = ""


@dataclass
class Barrage:
    """Draws requests to an application, and holds each answer to what must hold of every one."""

    opened: Visits
    seed: int
    rarely: int = 1
    """One in so many is drawn from all there is; the others are `at_the_edge`, which costs a tenth."""
    draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)  # noqa: S311  # the same requests of the same number
        self.sessions = session_ids(self.opened)
        with contextlib.redirect_stderr(Log()):
            self.forms = self._forms()
        self.targets = list(self._targets())
        self.actors = [*ACTORS, "producer", "manager", "manager", "admin"]
        self.lives = [drawn_life(self.draw) for _ in range(LIVES)]
        signed = {route.rule for route in ROUTES if not route.is_public and not route.by_secret}
        self.signed = [target for target in self.targets if target.rule in signed]
        self.open = [each for each in self.targets if not each.page and each.rule not in {*signed, *COSTLY}]
        self.calculator = [each for each in self.open if str(each) in OFTEN]
        self.batch = [each for each in self.targets if str(each) == f"{CALCULATE}/batch"]

    def send(self, count: int) -> Counter[int]:
        """Send some; count the statuses. Raises AssertionError, with the request, for an answer that may not be."""
        statuses: Counter[int] = Counter()
        log = Log()
        with contextlib.redirect_stderr(log):
            for _ in range(count):
                rare = self.draw.randrange(self.rarely) == 0
                target, sent, changes = self.anywhere() if rare else self.at_the_edge()
                answer = ask(self.opened.app, sent, **changes)
                wrong = said_wrong(answer, sent) or log.wrong
                if wrong:
                    raise AssertionError(f"{wrong}: {target}: {shortly(sent)} {changes}")
                statuses[answer.status] += 1
        return statuses

    def request(self, target: Target) -> tuple[Sent, dict[str, str]]:
        """Draw a request for an address, and what a server would say besides of it."""
        spoilt = self.draw.choice((0, 0, 1, 1, 2, 3))
        where = [self.draw.choice(SPOILT) for _ in range(spoilt)]
        return self.spoilt(target, self.draw.choice(self.actors), where)

    def at_the_edge(self) -> tuple[Target, Sent, dict[str, str]]:
        """Draw one that is answered before the store is asked: of the calculator, of nobody, or by no method."""
        draw = self.draw
        shares = (self.calculator, 49), (self.batch, 1), (self.open, 20), (self.signed, 25), (self.targets, 5)
        among = draw.choices([few for few, _ in shares], [share for _, share in shares])[0]
        target = draw.choice(among)
        where = [draw.choice(SPOILT) for _ in range(draw.choice((0, 1, 1, 2, 3)))]
        sent, changes = self.spoilt(target, "anyone", where)
        if among is self.targets:
            sent = replace(sent, method=draw.choice(METHODS[-4:]))
        elif str(target) == CALCULATE and draw.random() < 0.7:
            sent = replace(sent, body=drawn_body(draw, self.lives))
            changes.pop("CONTENT_LENGTH", None)
        elif draw.random() < 0.3:
            told = {"Authorization": draw.choice(HOSTILE_HEADERS["Authorization"])}
            sent = replace(sent, headers={**sent.headers, **told})
        return target, sent, changes

    def anywhere(self) -> tuple[Target, Sent, dict[str, str]]:
        """Draw one for any address, by anybody."""
        target = self.draw.choice(self.targets)
        return target, *self.request(target)

    def spoilt(self, target: Target, actor: str, where: Sequence[str]) -> tuple[Sent, dict[str, str]]:
        """Write a request of somebody, spoilt in some places, and what a server would say besides of it."""
        draw = self.draw
        query = {**draw.choice(target.queries)}
        path = self.path(target, hostile="path" in where)
        headers = self.headers(target, actor)
        body, content_type = self.body(target, actor, hostile=where.count("body"))
        if content_type:
            headers["Content-Type"] = content_type
        for each in where:
            if each == "header":
                name = draw.choice([*HOSTILE_HEADERS])
                headers[name] = draw.choice(HOSTILE_HEADERS[name])
        method = draw.choice(METHODS) if "method" in where else target.method
        text = self.query(query, target, hostile=where.count("query"))
        changes = {}
        if "length" in where:
            changes["CONTENT_LENGTH"] = draw.choice(
                ("", "0", "3", str(len(body) + 9), "99999999999", str(len(body) // 2))
            )
        chunked = headers.pop("Transfer-Encoding", "") == "chunked"
        if chunked:
            changes.pop("CONTENT_LENGTH", None)
        return Sent(method, f"{path}?{text}" if text else path, body, headers, chunked), changes

    def path(self, target: Target, *, hostile: bool) -> str:
        """Fill in what stands in a path."""
        path = re.sub(r"<(\w+)>", lambda found: self.named(found[1], hostile=hostile), target.rule)
        if hostile and self.draw.random() < 0.3:
            odd = (
                f"{path}/",
                f"/{path}",
                path.upper(),
                f"{path}.ics",
                f"{path};a=b",
                f"{path}%00",
                f"{path}%0a",
                path[:-1],
                "*",
            )
            path = self.draw.choice(odd)
        return path

    def named(self, name: str, *, hostile: bool) -> str:
        """Give something that a name in a path could stand for, or could not."""
        draw, world = self.draw, self.opened.world
        if hostile and draw.random() < 0.7:
            return quoted(draw, draw.choice(TEXTS)[:3_000])
        known: Mapping[str, Sequence[str]] = {
            "client_id": (ACME, ACME, ZENITH, UNKNOWN),
            "account_id": ("MAIN", "COBRA", "NONE"),
            "user_id": ("pat-producer", "gus-ungranted", "nora-north", "nobody"),
            "team_id": ("north", "south", "west"),
            "token_id": (*world.spare.values(), "0123456789abcdef"),
            "feed_id": tuple(feed.split("_")[1] for feed in world.feeds.values()),
            "secret": (*world.feeds.values(), *(f"{feed}.ics" for feed in world.feeds.values()), "ebf_0_0"),
            "session_id": tuple(self.sessions.values()),
            "request_id": (*world.requests.values(), "none"),
            "code": ("PA", "NY", "DE", "WV", "QQ"),
            "name": ("pages.css", "htmx.min.js", "start.js", "none"),
        }
        return quote(draw.choice(known[name]))

    def query(self, query: Mapping[str, Any], target: Target, *, hostile: int) -> str:
        """Write a query, with some hostile parameters."""
        draw = self.draw
        parts = [f"{name}={quote(str(value), safe='')}" for name, value in query.items()]
        for _ in range(hostile):
            names = [*target.names, *target.names, "nmae", "%00", "a%26b", "limit", "cursor", "format", "next"]
            name, value = draw.choice(names), quoted(draw, draw.choice(TEXTS)[:3_000])
            kept = parts if draw.random() < 0.2 else [part for part in parts if part.partition("=")[0] != name]
            parts = [
                *kept,
                draw.choice((f"{name}={value}", f"{name}={value}", name, f"={value}", "&", "%", f"{name}=%ff")),
            ]
        return "&".join(parts)

    def headers(self, target: Target, actor: str) -> dict[str, str]:
        """Give the headers that somebody would send."""
        draw, world = self.draw, self.opened.world
        headers: dict[str, str] = {}
        by_cookie = target.page if draw.random() < 0.97 else not target.page
        if by_cookie:
            headers = {"Accept": HTML, **self.opened.cookie(actor)}
            if target.method == "POST":
                headers["Sec-Fetch-Site"] = "same-origin"
        elif actor in world.tokens:
            headers["Authorization"] = f"Bearer {world.tokens[actor]}"
        if target.method in ("POST", "PUT", "DELETE") and not target.page:
            headers["Idempotency-Key"] = f"key-{draw.randrange(10**9)}"
            if target.method == "PUT":
                headers |= draw.choice(({"If-Match": '"1"'}, {"If-None-Match": "*"}))
        return headers

    def body(self, target: Target, actor: str, *, hostile: int) -> tuple[bytes, str]:
        """Give a body and its type."""
        draw = self.draw
        if not target.bodies or target.method in ("GET", "HEAD", "OPTIONS"):
            return (draw.choice((b"{}", b"\xff", b"a=b")), "") if hostile else (b"", "")
        given = copy.deepcopy(draw.choice(target.bodies))
        content_type = target.content_type
        if target.page:
            given[cookies.TOKEN] = cookies.form_token(self.opened.seal, self.opened.sessions.get(actor, ""))
            for _ in range(hostile):
                given[draw.choice([*given, "nmae", "\0", "__class__"])] = draw.choice(TEXTS)
            if content_type == MULTIPART:
                source = multipart(given)
                content_type = f"{MULTIPART}; boundary={BOUNDARY}"
            else:
                source = urlencode(given, errors="surrogatepass").encode()
        elif isinstance(given, str):
            source = given.encode()
        else:
            for _ in range(hostile):
                if given:
                    spoil(draw, given)
                if isinstance(given, dict) and draw.random() < 0.2:
                    given[draw.choice([*given, "name"])] = "a\0b"
            lines = given if content_type == "application/x-ndjson" and isinstance(given, list) else [given]
            source = b"\n".join(written(line, ascii_=draw.random() < 0.5) for line in lines)
        return (spoil_bytes(draw, source) if hostile and draw.random() < 0.3 else source), content_type

    # What there is to ask

    def _targets(self) -> Iterator[Target]:
        """Give every address and method of the application."""
        routes: dict[tuple[str, str], Route] = {(route.rule, route.method): route for route in ROUTES}
        shown: dict[tuple[str, str], Page] = {(page.rule, page.method): page for page in pages.PAGES}
        for rule in self.opened.app.url_map.iter_rules():
            for method in sorted(rule.methods or ()):
                of = "GET" if method == "HEAD" else method
                if route := routes.get((rule.rule, of)):
                    yield of_route(route, method)
                elif page := shown.get((rule.rule, of)):
                    yield self._of_page(page, method)
                else:
                    yield Target(method, rule.rule, page=False)

    def _of_page(self, page: Page, method: str) -> Target:
        names = tuple(field_.data_key or name for name, field_ in page.query().fields.items()) if page.query else ()
        bodies = tuple(self.forms.get(page.rule, ())) or ({"name": "a"},) if page.method == "POST" else ()
        kind = MULTIPART if page.takes_file else FORM
        first = {"from": "2026-08"} if "from" in names else {}
        return Target(method, page.rule, True, kind, names, ({}, first), bodies)

    def _forms(self) -> dict[str, list[dict[str, str]]]:
        """Look at every page, as those who see most of them; give its forms by the rule they are sent to."""
        rules = self.opened.app.url_map.bind("localhost")
        found = {rule: [{**form}] for rule, form in UNSEEN.items()}
        named = {"client_id": ACME, "account_id": "MAIN", "user_id": "pat-producer"}
        for page in pages.PAGES:
            if page.method != "GET":
                continue
            for actor in ("manager", "admin", "producer", "anyone"):
                path = page.path.format(**named)
                reader = Forms()
                reader.feed(self.opened.look(actor, path).get_data(as_text=True))
                for action, fields in reader.found:
                    with contextlib.suppress(Exception):
                        rule, _ = rules.match((action or path).partition("?")[0], method="POST", return_rule=True)
                        if fields not in found.setdefault(rule.rule, []):
                            found[rule.rule].append(fields)
        return found


def of_route(route: Route, method: str) -> Target:
    """Give what may be sent to a route."""
    names = tuple(field_.data_key or name for name, field_ in route.query().fields.items()) if route.query else ()
    examples = (route.example, *route.also.values())
    if method != route.method or route.body is None:
        queries = tuple(each for each in examples if isinstance(each, dict) and set(each) <= set(names))
        return Target(method, route.rule, page=False, names=names, queries=({}, *queries))
    dry = ({}, {"dry_run": "true"}) if "dry_run" in names else ({},)
    kind = {Csv: "text/csv", Ndjson: "application/x-ndjson"}.get(route.body, "application/json")
    return Target(method, route.rule, False, kind, names, dry, tuple(each for each in examples if each is not None))


def multipart(fields: Mapping[str, str]) -> bytes:
    """Write a form as browsers do where it may bring a file; the field `file` is one."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        + ('; filename="clients.csv"\r\nContent-Type: text/csv' if name == "file" else "")
        + f"\r\n\r\n{value}\r\n"
        for name, value in fields.items()
    ]
    return ("".join(parts) + f"--{BOUNDARY}--\r\n").encode("utf-8", "surrogatepass")


def quoted(draw: random.Random, text: str) -> str:
    """Write a text for an address: escaped, or some bytes that are no text."""
    if draw.random() < 0.1:
        return quote_from_bytes(draw.randbytes(draw.randrange(1, 9)), safe="")
    return quote(text, safe="", errors="surrogatepass")


class Log:
    """Takes the log of an application, and notes what does not belong there."""

    def __init__(self) -> None:
        self.wrong = ""

    def write(self, text: str) -> int:
        """Take a line."""
        if not _EVENT.match(text) or not text.isascii() or "Traceback" in text:
            self.wrong = f"logged: {text[:3_000]}"
        return len(text)

    def isatty(self) -> bool:
        """Be no terminal: what a program reads is what is looked at."""
        return False

    def flush(self) -> None:
        """There is nothing to flush."""


def said_wrong(answer: Answer, sent: Sent) -> str:
    """Say what is wrong with an answer, whatever was sent; nothing, where nothing is."""
    given = Counter(name for name, _ in answer.headers)
    once = (*NAMES_EVERYWHERE, "X-Request-Id", "Content-Type", "ETag", "Location")
    if answer.status >= 500 and not (answer.status == 503 and "Retry-After" in given):
        return f"the status {answer.status}: {answer.body[:300]!r}"
    if odd := [name for name in once if given[name] > 1 or (name in NAMES_EVERYWHERE and not given[name])]:
        return f"{', '.join(sorted(odd))}, not once"
    if 300 <= answer.status < 400 and answer.status not in (303, 304):
        return f"the status {answer.status}: there is one address for each thing"
    if not all(value.isascii() and value.isprintable() for _, value in answer.headers):
        return f"a header that is no line of ASCII: {answer.headers}"
    return "" if answer.status < 400 or sent.method == "HEAD" else error_wrong(answer, sent)


def error_wrong(answer: Answer, sent: Sent) -> str:
    """Say what is wrong with an error; it is one for programs, or at a page one for people."""
    kind = answer.header("Content-Type") or ""
    if kind == "application/problem+json":
        return no_problem(answer)
    at_page = not sent.path.startswith("/v1/") and (kind.startswith("text/html") or answer.header("HX-Redirect"))
    return "" if at_page else f"an error of the type {kind!r}"


def no_problem(answer: Answer) -> str:
    """Say what an error lacks of what programs are told of one."""
    problem = json.loads(answer.body)
    right = (
        problem["status"] == answer.status
        and re.fullmatch("[a-z_]+", problem["code"])
        and problem["type"] == f"/problems#{problem['code']}"
        and problem["title"]
        and problem["detail"]
        and problem["request_id"] == answer.header("X-Request-Id")
    )
    return "" if right else f"an incomplete problem: {problem}"


def shortly(sent: Sent) -> str:
    """Show a request in a few hundred characters."""
    secret = ("Authorization", "Cookie")
    headers = {name: "..." if name in secret else value[:80] for name, value in sent.headers.items()}
    return f"{sent.method} {sent.path[:200]} {headers} {sent.body[:600]!r}"
