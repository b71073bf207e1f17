"""What is logged says what happened, on one line, and nothing that is nobody's business."""

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from ebill import logs
from ebill.errors import SettingRefused
from ebill.store.engine import Store
from ebill.web import fence
from tests.world import ACME, ACTORS, Door, door

CANARIES = ("swordfish", "ebf_0000_SWORDFISH", "Acme", "sword@fish.example", "\x1b[31m")
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def opened(sqlite_url: str) -> Iterator[Door]:
    store = Store(sqlite_url)
    yield door(store)
    store.close()


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Lines:
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def sent(client: FlaskClient, method: str, path: str, token: str) -> None:
    client.open(
        path,
        method=method,
        query_string={"swordfish": "ebf_0000_SWORDFISH"},
        data=json.dumps({"name": "swordfish", "email": "sword@fish.example", "password": "swordfish"}),
        headers={
            "Authorization": f"Bearer {token}",
            "Cookie": "sid=swordfish",
            "Content-Type": "application/json",
            "User-Agent": "swordfish \t",
            "Referer": "https://swordfish.example",
            "Idempotency-Key": "swordfish-swordfish",
        },
        buffered=True,
    ).close()


def test_of_every_route_a_line_tells_nothing_that_was_sent_or_is_kept(
    opened: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    client = opened.app.test_client(use_cookies=False)
    tokens = [opened.world.tokens[actor] for actor in ("producer", "admin")]
    pairs = [("ebf_0000_SWORDFISH", "ebp_swordfish_SWORDFISH_swordfish"), ("%1b[31m%0aswordfish", tokens[0]),
             ("swordfish", tokens[1]), (ACME, tokens[0]), (ACME, tokens[1])]  # fmt: skip
    rules = {rule.rule for rule in opened.app.url_map.iter_rules()}
    capsys.readouterr()
    asked = 0
    for rule in opened.app.url_map.iter_rules():
        for method in sorted(rule.methods or ()):
            for hostile, token in pairs if method not in {"HEAD", "OPTIONS"} else pairs[:1]:
                sent(client, method, re.sub(r"<[^>]+>", hostile, rule.rule), token)
                asked += 1
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) == asked
    assert {line["route"] for line in requests} <= rules | {"none"}
    assert len({line["route"] for line in requests}) > len(rules) * 0.9
    assert {"at", "level", "event", "request_id", "method", "route", "status", "ms", "bytes", "worker"} <= requests[
        0
    ].keys()
    assert {line.get("user") for line in requests} <= {None, *ACTORS.values()}
    assert all(line.get("code") for line in requests if line["status"] in (401, 403, 404, 405, 429, 503))
    assert text.isascii()
    for canary in (*CANARIES, *tokens, *(token.split("_")[-1] for token in tokens)):
        assert canary.lower() not in text.lower().replace(ACME.lower(), ""), canary


def test_a_line_of_a_secret_would_be_found(capsys: pytest.CaptureFixture[str]) -> None:
    logs.write("info", "planted", {"name": "swordfish"})
    assert any(canary in capsys.readouterr().err for canary in CANARIES)


def test_an_answer_ahead_of_flask_is_logged_as_any_other(opened: Door, logged: Lines) -> None:
    path = f"/v1/clients/{ACME}/schedule"
    for _ in range(3):
        opened.ask("producer", "GET", path)
    opened.ask("ungranted", "GET", path)
    lines = logged()[-4:]
    assert {line["route"] for line in lines} == {"/v1/clients/<client_id>/schedule"}
    assert [(line["status"], line.get("code"), line.get("user")) for line in lines] == [
        *[(200, None, ACTORS["producer"])] * 3,
        (404, "client_not_found", None),
    ]
    assert lines[0]["bytes"] == lines[2]["bytes"] > 100


def test_a_body_that_is_streamed_is_counted_to_its_end(logged: Lines) -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield from (b"12345", b"6789")

        def close(self) -> None:
            closed.append(True)

    def inner(_: Any, start: Any) -> Any:
        start("200 OK", [])
        return Body()

    body: Any = fence.Fence(inner)({"REQUEST_METHOD": "GET"}, lambda *_: None)
    assert logged() == []
    assert b"".join(body) == b"123456789"
    body.close()
    (line,) = logged()
    assert (line["bytes"], line["status"], closed) == (9, 200, [True])


@pytest.mark.parametrize(
    ("status", "ms", "level"), [(200, 0, "info"), (404, 0, "info"), (429, 0, "warning"), (503, 0, "warning"),
                                (500, 0, "error"), (200, 2_000, "warning")]
)  # fmt: skip
def test_a_level_says_whether_somebody_should_look(
    status: int, ms: int, level: str, logged: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, ms / 1000, ms / 1000])
    monkeypatch.setattr("ebill.web.fence.time.perf_counter", lambda: next(times))

    def inner(_: Any, start: Any) -> Any:
        start(f"{status} X", [("Content-Length", "0")])
        return [b""]

    fence.Fence(inner)({"REQUEST_METHOD": "GET"}, lambda *_: None)
    (line,) = logged()
    assert (line["level"], line.get("slow", False)) == (level, ms > 0)


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer abcdef", "Basic cGF0OnN3b3JkZmlzaA==", "ebp_0123abcd_" + "Z" * 43,
        "ebf_0123abcd_" + "Z" * 43, "pat@example.org", "postgresql://ebill:swordfish@db/ebill", "sid=" + "aB3_-" * 9,
        "DETAIL:  Key (email)=(swordfish) already exists.", "[parameters: ('swordfish',)]",
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_taken_out_of_what_others_say(secret: str) -> None:
    told = logs.bare(f"before\n{secret}\nafter")
    assert told.startswith("before\n")
    assert told.endswith("\nafter")
    for word in ("abcdef", "cGF0", "Z" * 20, "pat@", "swordfish", "aB3_-aB3_-"):
        assert word not in told


def test_an_error_of_the_database_does_not_tell_what_it_was_given(sqlite_url: str, logged: Lines) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    store = Store(sqlite_url)
    try:
        with store.reading() as connection:
            connection.execute(text("SELECT nothing FROM nowhere WHERE x = :word"), {"word": CANARIES[0]})
    except DBAPIError as error:
        logs.log("unexpected", error)
    store.close()
    (line,) = logged()
    assert "nowhere" in line["error"]
    assert "swordfish" not in json.dumps(line)


def test_what_the_server_says_is_a_line_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_LOG", "json")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    record = logging.LogRecord("_granian", logging.ERROR, "", 0, "worker %s\n died", ("1",), None)
    line = json.loads(logs.Lines().format(record))
    assert (line["level"], line["by"], line["message"]) == ("error", "_granian", "worker 1\n died")


def test_on_a_terminal_a_line_is_readable_and_nothing_in_it_commands_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("EBILL_LOG", raising=False)
    monkeypatch.setattr(sys, "stderr", found := Terminal())
    logs.log("tried", ValueError("red \x1b[31m"), level="warning", said="\x1b]0;title\x07\x9b31m")
    text = found.getvalue()
    assert "tried" in text
    assert "warning" in text
    assert r"\x1b]0;title" in text
    assert not re.search(r"[^ -~\n\t]", text)


def test_a_form_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_LOG", "xml")
    with pytest.raises(SettingRefused, match="EBILL_LOG"):
        logs.form()
