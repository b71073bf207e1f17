"""Health and metrics tell the truth, to whom they may."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families as parse

from ebill.errors import SettingsRefused
from ebill.service import health
from ebill.store import backup
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.web import create_app
from tests.conftest import upgraded
from tests.shell import ENVIRONMENT
from tests.stores import Databases, running
from tests.world import ACME, book_file, door

pytestmark = pytest.mark.anywhere

TOKEN = "swordfish-swordfish"  # noqa: S105  # of a test


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    opened = Store(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def app(store: Store, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("EBILL_METRICS_TOKEN", TOKEN)
    return create_app(book_file(), store)


def ready(app: Flask) -> tuple[int, Any]:
    answer = app.test_client().get("/readyz")
    body = answer.get_json()
    return answer.status_code, body.get("code") or body["degraded"]


def counted(app: Flask) -> dict[tuple[str, str], float]:
    """Give each sample of the metrics, by its name and its labels."""
    answer = app.test_client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    families = parse(answer.get_data(as_text=True))
    return {
        (sample.name, ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


# Whether it can answer


def test_a_store_whose_file_vanishes_is_told_and_heals(app: Flask, store: Store) -> None:
    file = Path(str(store.engine.url.database))
    assert ready(app) == (200, [])
    away = file.rename(file.with_suffix(".away"))
    assert ready(app) == (503, "store_unavailable")
    assert not file.exists(), "nothing is made in its place"
    shutil.copy(away, file)
    assert ready(app) == (503, "store_unavailable"), "another file, though alike, is not the store"
    file.unlink()
    away.rename(file)
    assert ready(app) == (200, [])


def test_a_database_that_stops_is_told_and_heals() -> None:
    with running() as server:
        with closing(Databases(server.address)) as databases:
            databases._ask("CREATE DATABASE vanishing")
        store = Store(upgraded(server.address.format("vanishing")))
        app = create_app(book_file(), store)
        assert ready(app) == (200, [])
        server.stop()
        began = time.monotonic()
        assert ready(app) == (503, "store_unavailable")
        assert time.monotonic() - began < 10
        assert app.test_client().get("/livez").status_code == 200
        server.start()
        assert ready(app) == (200, [])
        store.close()


def test_a_database_that_never_answers_is_told_in_time_and_asked_once(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, asked = threading.Event(), []

    def hang(_: Store) -> bool:
        asked.append(True)
        hangs.wait(30)
        return True

    monkeypatch.setattr(health, "SECONDS", 0.1)
    monkeypatch.setattr(Store, "is_current", hang)
    assert [ready(app) for _ in range(3)] == [(503, "store_unavailable")] * 3
    assert len(asked) == 1
    hangs.set()
    monkeypatch.undo()
    while ready(app)[0] != 200:  # until the thread is through
        time.sleep(0.01)


def test_tables_of_another_release_are_not_ready(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "is_current", lambda _: False)
    assert ready(app) == (503, "not_ready")


def test_a_clock_behind_what_was_kept_is_not_ready(app: Flask, store: Store) -> None:
    with store.writing(By("test", datetime.now(UTC) + timedelta(minutes=4))) as write:
        write.audit("test")
    assert ready(app) == (200, [])
    with store.writing(By("test", datetime.now(UTC) + timedelta(hours=1))) as write:
        write.audit("test")
    assert ready(app) == (503, "not_ready")


def test_a_disk_that_is_nearly_full_is_degraded(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FREE_FEWEST", 1 << 60)
    assert ready(app) == (200, ["disk"])
    assert counted(app)["ebill_store_disk_low", ""] == 1


# What is counted


def test_nobody_reads_the_metrics_where_no_token_is_set(store: Store) -> None:
    client = create_app(book_file(), store).test_client()
    for token in ("", TOKEN):
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN]
)
def test_nobody_without_the_token_reads_the_metrics(app: Flask, sent: str | None) -> None:
    answer = app.test_client().get("/metrics", headers={"Authorization": sent} if sent is not None else {})
    refused = answer.get_json()
    assert (answer.status_code, refused["code"]) == (401, "unauthenticated")
    assert ("EBILL_METRICS_TOKEN" in refused["detail"], "ebp_" in refused["detail"]) == (True, False)
    assert not any(TOKEN[at : at + 4] in answer.get_data(as_text=True) for at in range(len(TOKEN) - 3))


@pytest.mark.parametrize("token", ["short", "with spaces in it, and long", "é" * 20])
def test_a_token_that_is_none_is_refused_and_not_repeated(
    store: Store, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBILL_METRICS_TOKEN", token)
    with pytest.raises(SettingsRefused, match="EBILL_METRICS_TOKEN") as refused:
        create_app(book_file(), store)
    assert token not in str(refused.value)


def test_requests_refusals_and_sign_ins_are_counted(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_METRICS_TOKEN", TOKEN)
    store = Store(sqlite_url)
    opened = door(store)
    before = counted(opened.app)
    for actor in ("producer", "producer", "ungranted", "anyone"):
        opened.ask(actor, "GET", f"/v1/clients/{ACME}/schedule")
    opened.ask("anyone", "GET", "/" + "x" * 50)
    opened.ask("anyone", "XYZZY", "/v1/states")
    after = counted(opened.app)
    grown = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
    at = "method=GET,route=/v1/clients/<client_id>/schedule"
    assert grown["ebill_requests_total", f"{at},status=2xx"] == 2
    assert grown["ebill_requests_total", f"{at},status=4xx"] == 2
    assert grown["ebill_request_seconds_count", at] == 4
    assert grown["ebill_refusals_total", "code=client_not_found"] == 1
    assert grown["ebill_refusals_total", "code=unauthenticated"] == 1
    assert grown["ebill_refusals_total", "code=not_found"] == 1
    assert after["ebill_requests_in_progress", ""] == 1, "the one that asks"
    assert after["ebill_store_up", ""] == 1
    assert after["ebill_audit_sequence", ""] > 0
    assert after["ebill_calendar_last_year", ""] >= 2099
    assert after["ebill_rulebook_since_timestamp_seconds", ""] > 1.7e9
    assert ("ebill_backup_timestamp_seconds", "") not in after
    with store.writing(By("test", datetime.now(UTC))) as write:
        write.audit(backup.BACKED_UP)
    assert counted(opened.app)["ebill_backup_timestamp_seconds", ""] > 1.7e9
    store.close()


def test_no_label_has_a_value_that_somebody_sent(app: Flask) -> None:
    client = app.test_client()
    rules = {rule.rule for rule in app.url_map.iter_rules()} | {"none"}
    for at in range(50):
        client.open(f"/v1/clients/C{at}/x{at}", method=f"M{at}")
        client.get(f"/v1/states/X{at}?y={at}", headers={"Authorization": f"Bearer {at}"})
    labels = [dict(part.split("=", 1) for part in key.split(",")) for _, key in counted(app) if key]
    assert {each["route"] for each in labels if "route" in each} <= rules
    assert {each["method"] for each in labels if "method" in each} <= {
        *["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "other"]
    }
    assert len({each["code"] for each in labels if "code" in each}) < 60


def test_a_store_that_is_gone_is_told_and_does_not_stop_the_rest(app: Flask, store: Store) -> None:
    file = Path(str(store.engine.url.database))
    away = file.rename(file.with_suffix(".away"))
    found = counted(app)
    away.rename(file)
    assert found["ebill_store_up", ""] == 0
    assert ("ebill_audit_sequence", "") not in found


def test_prometheus_finds_nothing_amiss(app: Flask) -> None:
    app.test_client().get("/v1/states")
    text = app.test_client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).data
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_what_several_workers_count_is_added_up(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {**ENVIRONMENT, "EBILL_METRICS_TOKEN": TOKEN, "EBILL_LOG": "json"}
    command = [str(Path(sys.executable).with_name("ebill")), "serve", f"--port={port}", "--workers=2"]
    log = tmp_path / "log"
    with log.open("w") as said, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=said, cwd=tmp_path, env=settings
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            assert any(b"Ctrl-C ends it." in line for line in server.stdout)
            for _ in range(40):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/states", timeout=30).close()
            request = urllib.request.Request(  # of this machine
                f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                text = answer.read().decode()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    assert 'ebill_requests_total{method="GET",route="/v1/states",status="2xx"} 40.0' in text
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert (lines[0]["event"], lines[-1]["event"]) == ("started", "stopped")
    assert sum(line.get("route") == "/v1/states" for line in lines) == 40
