"""The calculator over HTTP: what each address answers, and what goes around every answer."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import quote

import pytest
from flask import Flask

from ebill import service, web
from ebill.bookfile import SHIPPED, BookFile
from ebill.logs import log
from ebill.service import calculator
from ebill.web import create_app, places
from tests.books import HERE, TEXT, book, edited, here, row, small
from tests.hostile import GOOD, Answer, Sent, ask, body, judge

ROOT = Path(__file__).parent.parent
DATES = (
    "generation_date",
    "due_date",
    "grace_end_date",
    "next_generation_date",
    "recommended_pay_by_date",
    "safe_pay_by_date",
)


@cache
def app() -> Flask:
    return create_app(BookFile(SHIPPED))


def get(path: str, method: str = "GET", **headers: str) -> Answer:
    return ask(app(), Sent(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}))


def data(answer: Answer) -> Any:
    judge(answer)
    assert answer.status == 200, answer.body
    assert answer.header("Content-Type") == "application/json"
    return answer.data


def calculate(**changes: Any) -> Any:
    return data(ask(app(), Sent(body=body(**changes))))


def stop_the_clock(monkeypatch: pytest.MonkeyPatch, instant: str) -> None:
    """Let every request come at one instant; freezegun's datetimes are none that could be logged."""
    now = datetime.fromisoformat(instant)
    monkeypatch.setattr(web, "datetime", SimpleNamespace(now=now.astimezone))


# POST /v1/calculate


@pytest.mark.parametrize(
    ("coverage_month", "dates"),
    [
        ("2026-02", "2026-01-12 2026-02-01 2026-03-03 2026-02-09 2026-02-06 2026-02-03"),
        ("2026-08", "2026-07-12 2026-08-01 2026-08-31 2026-08-12 2026-08-09 2026-08-06"),
        ("2026-11", "2026-10-12 2026-11-01 2026-12-01 2026-11-11 2026-11-08 2026-11-05"),
    ],
)
def test_the_worked_dates_are_answered(coverage_month: str, dates: str) -> None:
    answer = calculate(coverage_month=coverage_month, as_of="2026-01-11")
    assert (answer["state"], answer["timezone"], answer["as_of"]) == ("PA", "America/New_York", "2026-01-11")
    [invoice] = answer["invoices"]
    assert invoice["coverage_month"] == coverage_month
    assert [invoice[name] for name in DATES] == dates.split()
    assert invoice["standing"] == "not_yet_invoiced"
    assert not {"product", "payment", "not_billed"} & answer.keys()
    assert "explanation" not in invoice


def test_what_is_asked_again_is_computed_again_only_when_it_may_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, fresh = [], create_app(BookFile(SHIPPED))
    computed = service.answer

    def counted(*given: Any) -> Any:
        asked.append(given)
        return computed(*given)

    monkeypatch.setattr(service, "answer", counted)
    answers = []
    for instant, count in (("12:00:01", 1), ("12:14:59", 1), ("12:15:00", 2)):
        stop_the_clock(monkeypatch, f"2026-08-01T{instant}Z")
        answers.append(ask(fresh, Sent(body=body())).body)
        assert len(asked) == count
    assert len(set(answers)) == 1
    ask(fresh, Sent(body=body(state="DE")))
    assert len(asked) == 3
    long = body() + b" " * 1024
    for _ in range(2):
        assert ask(fresh, Sent(body=long)).body == answers[0]
    assert len(asked) == 5


def test_a_span_is_answered_month_by_month_and_a_month_without_an_invoice_apart() -> None:
    asked = {"state": "PA", "from": "2026-06", "months": 3, "rules": {"skip_coverage_months": [7]}, "product": "cobra"}
    answer = data(ask(app(), Sent(body=json.dumps(asked).encode())))
    assert [invoice["coverage_month"] for invoice in answer["invoices"]] == ["2026-06", "2026-08"]
    assert answer["invoices"][0]["next_generation_date"] == "2026-07-12"
    [skipped] = answer["not_billed"]
    assert skipped["coverage_month"] == "2026-07"
    assert answer["product"] == "cobra"


def test_the_last_invoice_has_no_next_one_and_is_paid_by_its_due_date() -> None:
    [invoice] = calculate(last_coverage_month="2026-08")["invoices"]
    assert [invoice[name] for name in DATES[3:]] == [None, "2026-08-01", "2026-08-01"]


@pytest.mark.parametrize(
    ("as_of", "standing"),
    [
        ("2026-07-11", "not_yet_invoiced"),
        ("2026-07-12", "invoiced"),
        ("2026-08-01", "invoiced"),
        ("2026-08-02", "in_grace"),
        ("2026-08-31", "in_grace"),
        ("2026-09-01", "grace_expired"),
    ],
)
def test_an_invoice_stands_as_of_a_day(as_of: str, standing: str) -> None:
    assert calculate(as_of=as_of)["invoices"][0]["standing"] == standing


@pytest.mark.parametrize(
    ("instant", "zone", "as_of"),
    [
        ("2026-08-01T03:59:59Z", None, "2026-07-31"),
        ("2026-08-01T04:00:00Z", None, "2026-08-01"),
        ("2026-07-31T10:00:00Z", "Pacific/Kiritimati", "2026-08-01"),
        ("2026-08-01T10:59:59Z", "Pacific/Pago_Pago", "2026-07-31"),
    ],
)
def test_today_is_the_day_in_the_zone_of_the_account(
    instant: str, zone: str | None, as_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_the_clock(monkeypatch, instant)
    assert calculate(rules={"timezone": zone} if zone else {})["as_of"] == as_of


def test_every_date_is_explained_when_asked() -> None:
    [invoice] = calculate(explain=True)["invoices"]
    assert invoice["explanation"].keys() == set(DATES)
    for explanation in invoice["explanation"].values():
        assert {"sentence", "layer", "since", "cite", "assumed"} <= explanation.keys()


# Payments


PAID: Final = [
    # Thursday 2 July 2026; the banks are open on Friday the 3rd, and closed on Saturday the 4th.
    ("2026-07-02T12:00", "2026-07-02", "2026-07-06", "2026-07-07"),
    ("2026-07-02", "2026-07-02", "2026-07-06", "2026-07-07"),
    ("2026-07-02T16:59:59", "2026-07-02", "2026-07-06", "2026-07-07"),
    ("2026-07-02T17:00", "2026-07-03", "2026-07-07", "2026-07-08"),
    ("2026-07-02T20:59Z", "2026-07-02", "2026-07-06", "2026-07-07"),
    ("2026-07-02T23:00+02:00", "2026-07-03", "2026-07-07", "2026-07-08"),
    ("2026-07-04T09:00", "2026-07-06", "2026-07-08", "2026-07-09"),
    ("2026-07-03T18:00", "2026-07-06", "2026-07-08", "2026-07-09"),
]
"""When paid, and by hand when received, and from when to when it posts."""


@pytest.mark.parametrize(("paid_at", "received", "posts_from", "posts_by"), PAID)
def test_a_payment_posts_in_its_window(paid_at: str, received: str, posts_from: str, posts_by: str) -> None:
    answer = data(get(f"/v1/posting?state=PA&paid_at={quote(paid_at)}"))
    window = {"received_date": received, "posts_from_date": posts_from, "posts_by_date": posts_by, "calendar": "XFED"}
    assert window.items() <= answer.items()
    assert (answer["state"], answer["timezone"]) == ("PA", "America/New_York")
    assert instant(answer["paid_at"]) == instant(paid_at)
    assert answer["explanation"]["cite"].startswith("Producer Portal FAQ")
    assert answer["explanation"]["assumed"] is True
    payment = calculate(paid_at=paid_at)["payment"]
    assert window.items() <= payment.items()
    assert payment["paid_at"] == answer["paid_at"]


def test_a_parameter_that_is_unknown_hides_no_other_fault() -> None:
    for query, wrong in (("state=Q&paid_at=x&when=2026-07", ["/when", "/paid_at", "/state"]),
                         ("state=PA&paid_at=2026-07-02&z=", ["/z"])):  # fmt: skip
        answer = get(f"/v1/posting?{query}")
        assert (answer.status, [each["pointer"] for each in answer.data["errors"]]) == (422, wrong)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("paid_at", "timeliness", "reflected"),
    [
        ("2026-07-02T12:00", "on_time", "yes"),
        ("2026-08-01", "on_time", "yes"),
        ("2026-08-02", "in_grace", "yes"),
        ("2026-08-06T16:00", "in_grace", "yes"),
        ("2026-08-07", "in_grace", "maybe"),
        ("2026-08-10", "in_grace", "no"),
        ("2026-08-31T23:59", "in_grace", "no"),
        ("2026-09-01", "late", "no"),
    ],
)
def test_a_payment_is_in_time_or_not_and_shows_on_the_next_invoice_or_not(
    paid_at: str, timeliness: str, reflected: str
) -> None:
    payment = calculate(paid_at=paid_at)["payment"]
    assert payment["coverage_month"] == "2026-08"
    assert (payment["timeliness"], payment["reflected_on_next_invoice"]) == (timeliness, reflected)


# GET /v1/states


def test_the_configured_states_and_products_are_listed() -> None:
    answer = data(get("/v1/states"))
    assert {each["code"]: each["name"] for each in answer["states"]} == {
        "DE": "Delaware",
        "NY": "New York",
        "PA": "Pennsylvania",
        "WV": "West Virginia",
    }
    assert [each["code"] for each in answer["products"]] == ["aptc_individual", "cobra", "medicare_part_d"]
    assert answer["rulebook"]["version"] == book(TEXT).version


def test_a_state_gives_its_rules_with_their_citations() -> None:
    answer = data(get("/v1/states/NY"))
    rules = {each["kind"]: each for each in answer["in_force"]}
    assert rules.keys() == {"due", "generation", "grace", "pay_by", "posting", "calendar", "timezone"}
    assert rules["generation"]["rule"] == {"day_of_month": -8}
    assert (rules["generation"]["layer"], rules["generation"]["assumed"]) == ("state", True)
    assert rules["grace"]["cite"] == "Producer Portal FAQ, eBill questions: 30-day grace period"
    laws = {each["code"]: each["rules"][0]["cite"] for each in answer["products"]}
    for code, law in {"cobra": "26 CFR 54.4980B-8", "aptc_individual": "45 CFR 156.270(d)",
                      "medicare_part_d": "42 CFR 423.44(d)"}.items():  # fmt: skip
        assert laws[code].startswith(law)


@pytest.mark.parametrize(
    ("instant", "month", "in_force", "to_come"),
    [
        ("2026-08-01T03:59:59Z", "2026-07", [20], [21, 22]),
        ("2026-08-01T04:00:00Z", "2026-08", [21], [22]),
        ("2027-01-01T05:00:00Z", "2027-01", [22], []),
    ],
)
def test_a_state_gives_the_rules_in_force_this_month_and_those_to_come(
    instant: str, month: str, in_force: list[int], to_come: list[int], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = [row("states.PA", f"generation = {{ days_before_due = {days} }}", since)
             for days, since in ((22, "2027-01"), (21, "2026-08"))]  # fmt: skip
    file.write_text(small(*later))
    stop_the_clock(monkeypatch, instant)
    answer = data(ask(create_app(BookFile(file)), Sent("GET", "/v1/states/PA", headers={})))
    assert answer["coverage_month"] == month
    for name, expected in (("in_force", in_force), ("to_come", to_come)):
        assert [each["rule"]["days_before_due"] for each in answer[name] if each["kind"] == "generation"] == expected


# What goes around every answer

SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "",
    "Cache-Control": "no-store",
}
JSON, PROBLEM, HTML = "application/json", "application/problem+json", "text/html; charset=utf-8"
ANSWERS: Final = [
    (Sent(body=body()), 200, JSON),
    (Sent("GET", "/v1/posting?state=PA&paid_at=2026-07-02", headers={}), 200, JSON),
    (Sent("GET", "/v1/states", headers={}), 200, JSON),
    (Sent("GET", "/v1/states/PA", headers={}), 200, JSON),
    (Sent("GET", "/openapi.json", headers={}), 200, JSON),
    (Sent("GET", "/docs", headers={}), 200, HTML),
    (Sent("GET", "/docs/start.js", headers={}), 200, "text/javascript; charset=utf-8"),
    (Sent("GET", "/docs/swagger-ui.css", headers={}), 200, "text/css; charset=utf-8"),
    (Sent("GET", "/docs/swagger-ui-bundle.js", headers={}), 200, "text/javascript; charset=utf-8"),
    (Sent("GET", "/problems", headers={}), 200, HTML),
    (Sent("GET", "/livez", headers={}), 200, JSON),
    (Sent("GET", "/readyz", headers={}), 200, JSON),
    (Sent("HEAD", "/v1/states", headers={}), 200, JSON),
    (Sent("OPTIONS", "/v1/states", headers={}), 200, HTML),
    (Sent(body=b"{"), 400, PROBLEM),
    (Sent("GET", "/v1/state", headers={}), 404, PROBLEM),
    (Sent("GET", "/v1/states/QQ", headers={}), 404, PROBLEM),
    (Sent("DELETE", "/v1/states", headers={}), 405, PROBLEM),
    (Sent(body=b" " * 300_000), 413, PROBLEM),
    (Sent(body=body(), headers={}), 415, PROBLEM),
    (Sent(body=b"{}"), 422, PROBLEM),
]


@pytest.mark.parametrize(
    ("sent", "status", "content_type"), ANSWERS, ids=[f"{sent.method} {sent.path} {n}" for sent, n, _ in ANSWERS]
)
def test_every_answer_has_a_status_a_type_a_number_and_the_headers_of_security(
    sent: Sent, status: int, content_type: str
) -> None:
    answer = ask(app(), sent)
    assert (answer.status, answer.header("Content-Type")) == (status, content_type)
    assert answer.header("X-Request-Id")
    expected = dict(SECURITY)
    if sent.path.startswith("/docs/"):
        expected["Cache-Control"] = "no-cache"  # kept, and asked for again: their names do not change with them
    if sent.path == "/docs":
        del expected["Content-Security-Policy"]
    assert {name: answer.header(name) for name in expected} == expected
    for name in ("Server", "Set-Cookie", "Access-Control-Allow-Origin", "X-Powered-By"):
        assert answer.header(name) is None


def test_every_answer_has_another_number_which_its_problem_repeats() -> None:
    answers = [get("/v1/nothing") for _ in range(3)]
    numbers = {answer.header("X-Request-Id") for answer in answers}
    assert len(numbers) == 3
    assert numbers == {answer.data["request_id"] for answer in answers}
    assert get("/v1/states", X_Request_Id="mine").header("X-Request-Id") != "mine"


def test_a_problem_has_the_shape_of_rfc_9457() -> None:
    answer = get("/v1/nothing")
    assert answer.data == {
        "type": "/problems#not_found",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "There is nothing at this address.",
        "request_id": answer.header("X-Request-Id"),
    }
    refused = ask(app(), Sent(body=body(garce_days=1))).data
    assert refused["errors"] == [{"pointer": "/garce_days", "detail": "unknown key"}]
    assert refused.keys() == answer.data.keys() | {"errors"}


PATHS: Final = {
    "/v1/calculate": {"POST", "OPTIONS"},
    "/v1/posting": {"GET", "HEAD", "OPTIONS"},
    "/v1/states": {"GET", "HEAD", "OPTIONS"},
    "/v1/states/PA": {"GET", "HEAD", "OPTIONS"},
    "/openapi.json": {"GET", "HEAD", "OPTIONS"},
    "/docs": {"GET", "HEAD", "OPTIONS"},
    "/problems": {"GET", "HEAD", "OPTIONS"},
    "/livez": {"GET", "HEAD", "OPTIONS"},
    "/readyz": {"GET", "HEAD", "OPTIONS"},
}


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_told_which_are_taken(path: str) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - PATHS[path]:
        answer = get(path, method)
        assert answer.status == 405
        assert set((answer.header("Allow") or "").split(", ")) == PATHS[path]
        if method != "HEAD":
            judge(answer)
            assert answer.data["code"] == "method_not_allowed"
    options = get(path, "OPTIONS")
    assert (options.status, options.body) == (200, b"")
    assert set((options.header("Allow") or "").split(", ")) == PATHS[path]


@pytest.mark.parametrize(
    "path",
    [*list(PATHS)[1:], "/v1/posting?state=PA&paid_at=2026-07-02", "/docs/start.js", "/v1/states/QQ", "/v1/nothing"],
)
def test_head_answers_as_get_without_a_body(path: str) -> None:
    whole, bare = get(path), get(path, "HEAD")
    assert bare.status == whole.status
    assert bare.body == b""
    of_its_own = {"X-Request-Id", "Date"}
    assert {each for each in bare.headers if each[0] not in of_its_own} == {
        each for each in whole.headers if each[0] not in of_its_own
    }


# The docs page


class Page(HTMLParser):
    """What a page names, and whether it has scripts or styles of its own."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.assets: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._within = tag
        if tag in {"script", "link", "img", "iframe"} and (address := given.get("src") or given.get("href")):
            self.assets.append(address)
        if tag == "a":
            self.links.append(given["href"] or "")
        self.inline += [name for name in given if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        if self._within in {"script", "style"} and data.strip():
            self.inline.append(data)


def policy(answer: Answer) -> dict[str, list[str]]:
    found = answer.header("Content-Security-Policy") or ""
    return {words[0]: words[1:] for words in (each.split() for each in found.split(";"))}


def test_the_docs_page_and_all_it_names_come_from_here() -> None:
    answer = get("/docs")
    page = Page(answer.body.decode())
    assert page.inline == []
    assert len(page.assets) == 4
    for address in page.assets:
        if address != "data:,":
            assert re.fullmatch("/docs/[a-z-]+[.](js|css)", address)
            assert get(address).status == 200
    assert all(get(address).status == 200 for address in page.links)
    rules = policy(answer)
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == rules["connect-src"] == ["'self'"]
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["img-src"] == ["'self'", "data:"]
    assert {source for sources in rules.values() for source in sources} <= {
        "'none'",
        "'self'",
        "'unsafe-inline'",
        "data:",
    }


def test_the_docs_page_starts_on_our_own_document_and_asks_nobody_else() -> None:
    script, style = (get(f"/docs/{name}").body.decode() for name in ("start.js", "swagger-ui.css"))
    assert 'url: "/openapi.json"' in script
    assert "validatorUrl: null" in script
    assert "//" not in re.sub("(?m)^//.*$", "", script)
    assert all(address.strip("\"'").startswith("data:") for address in re.findall(r"url\((.*?)\)", style))
    assert "@import" not in style


def test_only_what_the_docs_page_needs_is_served() -> None:
    for name in ("index.css", "swagger-ui.js", "oauth2-redirect.html", "LICENSE", "VERSION", "nothing.js"):
        assert get(f"/docs/{name}").status == 404


def test_every_code_is_explained_where_its_problem_points() -> None:
    page = get("/problems").body.decode()
    kinds = [each["description"] for path in data(get("/openapi.json"))["paths"].values() for operation in path.values()
             for status, each in operation["responses"].items() if int(status) >= 400]  # fmt: skip
    codes = {code for kind in kinds for code in kind.split(" · ")}
    assert {"invalid_input", "malformed_json", "outside_calendar", "state_not_found", "internal_error"} <= codes
    for code in codes:
        assert page.count(f'<dt id="{code}">') >= 1, code
    assert Page(page).assets == Page(page).inline == []


# Health, and a rule book that changes

OLD = small()
NEW = edited(("days_before_due = 20", "days_before_due = 10"), ('"17:00"', '"12:00"'), text=OLD)
KNOWN: Final = {
    book(OLD).version: ("2026-07-12", "2026-07-02", 20),
    book(NEW).version: ("2026-07-22", "2026-07-03", 10),
}
"""What each version answers: when the August invoice is generated, when a payment is received, and its rule."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "states.toml"
    path.write_text(OLD)
    path.chmod(0o644)
    return path


def put(file: Path, text: str) -> None:
    other = file.with_suffix(".new")
    other.write_text(text)
    other.chmod(0o644)
    other.replace(file)


def test_readiness_tells_of_a_refused_rule_book_and_the_last_good_one_answers(file: Path) -> None:
    changing = create_app(BookFile(file))

    def ready() -> tuple[str, Any]:
        answer = data(ask(changing, Sent("GET", "/readyz", headers={})))
        assert answer["status"] == ("degraded" if answer["refused"] else "ready")
        return answer["rulebook"]["version"], answer["refused"]

    old, new = KNOWN
    assert ready() == (old, None)
    put(file, edited(("days_before_due = 20", "days_before_due = 0"), ("days = 30", "dayz = 30"), text=OLD))
    assert ready() == (old, {"faults": 2})
    assert ANSWERED["calculate"](changing) == (old, KNOWN[old][0])
    assert data(ask(changing, Sent("GET", "/livez", headers={}))) == {"status": "alive"}
    file.unlink()
    assert ready() == (old, {"faults": 1})
    put(file, NEW)
    assert ready() == (new, None)
    assert ANSWERED["calculate"](changing) == (new, KNOWN[new][0])


def by_calculating(changing: Flask) -> tuple[str, Any]:
    answer = data(ask(changing, Sent(body=body())))
    return answer["rulebook"]["version"], answer["invoices"][0]["generation_date"]


def by_posting(changing: Flask) -> tuple[str, Any]:
    answer = data(ask(changing, Sent("GET", "/v1/posting?state=PA&paid_at=2026-07-02T13:00", headers={})))
    return answer["rulebook"]["version"], answer["received_date"]


def by_state(changing: Flask) -> tuple[str, Any]:
    answer = data(ask(changing, Sent("GET", "/v1/states/PA", headers={})))
    [generation] = [each for each in answer["in_force"] if each["kind"] == "generation"]
    return answer["rulebook"]["version"], generation["rule"]["days_before_due"]


ANSWERED: Final[dict[str, Callable[[Flask], tuple[str, Any]]]] = {
    "calculate": by_calculating,
    "posting": by_posting,
    "state": by_state,
}
WANTED: Final = {(version, value) for version, values in KNOWN.items() for value in values}


def mixed(answers: set[tuple[str, Any]]) -> set[tuple[str, Any]]:
    """Find the answers whose dates are not of the version that they name."""
    return answers - WANTED


def test_no_answer_mixes_two_rule_books_while_they_change(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LONGEST_WAIT", 60)  # a busy machine may stand still for half a second
    changing = create_app(BookFile(file))
    done = threading.Event()
    seen: set[tuple[str, Any]] = set()
    failures: list[BaseException] = []

    def asks(how: Callable[[Flask], tuple[str, Any]]) -> None:
        try:
            while not done.is_set():
                seen.add(how(changing))
        except BaseException as failure:  # noqa: BLE001  # shown below, in the thread that asserts
            failures.append(failure)

    threads = [threading.Thread(target=asks, args=(how,)) for how in ANSWERED.values() for _ in range(2)]
    for thread in threads:
        thread.start()
    for round_ in range(2_000):
        put(file, OLD if round_ % 2 else NEW)
        for how in ANSWERED.values():
            seen.add(how(changing))
        if round_ >= 30 and (seen >= WANTED or failures):
            break
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert mixed(seen) == set()
    assert seen == WANTED


@pytest.mark.parametrize("kind", ANSWERED)
def test_a_book_that_changes_amid_an_answer_comes_with_the_next(
    kind: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = BookFile(file)
    changing = create_app(followed)
    named = service.versions

    def versions(rules: Any) -> Any:
        put(file, NEW)
        assert followed.book.version != rules.version
        return named(rules)

    monkeypatch.setattr(calculator, "versions", versions)
    assert mixed({ANSWERED[kind](changing)}) == set()
    monkeypatch.undo()
    version, _ = ANSWERED[kind](changing)
    assert version == book(NEW).version


@pytest.mark.parametrize("kind", ANSWERED)
def test_an_answer_that_asks_twice_for_the_book_is_caught(
    kind: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = BookFile(file)
    changing = create_app(followed)
    named = service.versions

    def versions(_: Any) -> Any:
        put(file, NEW)
        return named(followed.book)

    monkeypatch.setattr(calculator, "versions", versions)
    assert len(mixed({ANSWERED[kind](changing)})) == 1


def test_a_book_that_is_refused_while_serving_is_logged_once_with_line_and_key(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = create_app(BookFile(file)).test_client()
    put(file, edited(("days = 30", "dasy = 30"), text=OLD))
    for _ in range(2):
        assert client.get("/v1/states").status_code == 200
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (told,) = [line for line in lines if line["event"] == "rule_book_refused"]
    assert re.search(r":[0-9]+: default.rules\[1\].grace.dasy: unknown key", told["refused"])


# Starting

BAD = edited(("{ days_before_due = 20 }", f"{{ days_before_due = 0 }} {HERE}"), text=OLD)


def started(states: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EBILL_STATES": str(states)}
    return subprocess.run(
        [sys.executable, ROOT / "app.py"],
        env=environment,
        cwd=states.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_does_not_start_on_a_bad_rule_book_and_says_where_it_is_bad(file: Path) -> None:
    file.write_text(BAD)
    ran = started(file)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [
        f"{file} is refused, with 1 fault:",
        f"{file}:{here(BAD)}: states.PA.rules[0].generation.days_before_due: must be from 1 to 90",
    ]


def test_it_does_not_start_without_a_rule_book(tmp_path: Path) -> None:
    ran = started(tmp_path / "none.toml")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "none.toml: (file): cannot be read: No such file or directory" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_it_starts_on_a_good_rule_book_and_says_nothing(file: Path) -> None:
    ran = started(file)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


# Hosts


@pytest.mark.parametrize(
    ("trusted", "host", "status"),
    [
        ("", "whatever.example", 200),
        ("", "127.0.0.1:8000", 200),
        ("", "[::1]:8000", 200),
        ("", "", 400),
        (" , ", "whatever.example", 200),
        ("ebill.example", "ebill.example", 200),
        ("ebill.example", "ebill.example:8443", 200),
        ("ebill.example", "evil.example", 400),
        ("ebill.example", "ebill.example.evil.example", 400),
        ("ebill.example", "notebill.example", 400),
        ("ebill.example", "", 400),
        ("ebill.example", "ebill.example, evil.example", 400),
        ("a.example, b.example", "b.example", 200),
        ("a.example, b.example", "c.example", 400),
        (".ebill.example", "a.ebill.example", 200),
        (".ebill.example", "a.evilebill.example", 400),
    ],
)
def test_only_trusted_hosts_are_answered(trusted: str, host: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_TRUSTED_HOSTS", trusted)
    choosy = create_app(BookFile(SHIPPED))
    for path in ("/v1/states", "/openapi.json", "/docs", "/livez", "/v1/nothing"):
        spoofed = {"Host": host, "X-Forwarded-Host": "ebill.example"}
        answer = ask(choosy, Sent("GET", path, headers=spoofed))
        assert answer.status == (404 if (path, status) == ("/v1/nothing", 200) else status)
        if status == 400:
            judge(answer)
            assert answer.data["code"] == "bad_request"
            assert host == "" or "host name" in answer.data["detail"]
            assert host == "" or host not in answer.data["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000"])
def test_whoever_keeps_it_running_may_ask_by_the_name_of_this_machine_and_only_how_it_is(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBILL_TRUSTED_HOSTS", "ebill.example")
    monkeypatch.setenv("EBILL_METRICS_TOKEN", "a-token-for-what-is-measured-here")
    choosy = create_app(BookFile(SHIPPED))
    at = {"Host": host, "Authorization": "Bearer a-token-for-what-is-measured-here"}
    paths = ("/livez", "/readyz", "/metrics", "/v1/states", "/docs", "/livez/", "/livez")
    seen = [choosy.test_client().get(path, headers=at).status_code for path in paths]
    assert seen == [200, 200, 200, 400, 400, 400, 200]
    question = choosy.test_client().post("/v1/calculate", json=GOOD, headers={"Host": host})
    assert question.status_code == 400, "to be asked how it is makes a host known to nothing else"


# The log


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    def lines() -> list[dict[str, Any]]:
        written = capsys.readouterr().err
        assert written == "" or written.endswith("\n")
        assert all(line.isascii() and line.isprintable() for line in written.splitlines())
        assert written.count("\n") == len(written.splitlines())
        return [json.loads(line) for line in written.splitlines()]

    app()
    lines()
    return lines


Lines = Callable[[], list[dict[str, Any]]]


def test_every_request_is_a_line_of_json(logged: Lines) -> None:
    answer = get("/v1/states?secret=swordfish", Authorization="Bearer swordfish", Cookie="swordfish")
    [line] = logged()
    assert {"event": "request", "method": "GET", "route": "/v1/states", "status": 422}.items() <= line.items()
    assert line["request_id"] == answer.header("X-Request-Id")
    assert line["ms"] >= 0
    assert line["at"].endswith("Z")
    assert abs(datetime.fromisoformat(line["at"]) - datetime.now().astimezone()) < timedelta(minutes=5)
    assert "swordfish" not in json.dumps(line)


@pytest.mark.parametrize(
    "path",
    [
        "\n",
        "\r\n",
        '"',
        "\\",
        "\x1b[31m",
        "\x7f",
        "\x9b31m",
        "\x85",
        "\u2028",
        "\u202e",
        "é",
        "\U0001f600",
        "\0",
        "x" * 9_999,
    ],
    ids=ascii,
)
def test_a_hostile_path_stays_in_its_line(path: str, logged: Lines) -> None:
    get(f"/v1/{quote(path)}")
    [line] = logged()
    assert (line["route"], line["method"], line["status"]) == ("none", "GET", 404)


def test_a_hostile_method_stays_in_its_line(logged: Lines) -> None:
    get("/v1/states", "\x1b[31m\n" + "X" * 100)
    [line] = logged()
    assert line["method"] == "other"


# What nobody expected


@pytest.mark.parametrize("words", ["swordfish", "swordfish \ud800", "swordfish \x1b[31m\x9b\u2028\n"], ids=ascii)
def test_a_fault_of_ours_is_logged_and_not_told(words: str, logged: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Any) -> Any:
        raise RuntimeError(words)

    monkeypatch.setattr(service, "states", fails)
    answer = get("/v1/states")
    assert (answer.status, answer.header("Content-Type")) == (500, PROBLEM)
    assert answer.data == {
        "type": "/problems#internal_error",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal_error",
        "detail": "Something went wrong here; the request id tells us what.",
        "request_id": answer.header("X-Request-Id"),
    }
    assert {name: answer.header(name) for name in SECURITY} == SECURITY
    unexpected, request = logged()
    assert (unexpected["event"], request["event"], request["status"]) == ("unexpected", "request", 500)
    assert unexpected["request_id"] == request["request_id"] == answer.header("X-Request-Id")
    assert "RuntimeError: swordfish" in unexpected["error"]
    assert "in fails" in unexpected["error"]
    monkeypatch.undo()
    assert get("/v1/states").status == 200


def test_whatever_is_logged_is_one_line(logged: Lines) -> None:
    log("a test", fact="a\nb\x85c\u2028d", other=["é", None, 1.5])
    [line] = logged()
    assert (line["fact"], line["other"]) == ("a\nb\x85c\u2028d", ["é", None, 1.5])


@pytest.mark.parametrize("path", ["/static/pages.css", "/docs/start.js"])
def test_a_file_of_another_version_than_was_asked_for_is_refused_as_everything_is(path: str) -> None:
    answer = app().test_client().get(path, headers={"If-Match": '"another"'})
    assert (answer.status_code, answer.content_type) == (412, "application/problem+json")
    assert answer.get_json()["code"] == "precondition_failed"
