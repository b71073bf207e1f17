"""What those ask who keep the service running: whether it lives, whether it can answer, and what it has counted."""

from __future__ import annotations

import hmac
import platform
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

import tzdata
from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import InfoMetricFamily as Info
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from werkzeug.exceptions import NotFound

from ebill import settings
from ebill.bookfile import BookFile
from ebill.dates import Calendar
from ebill.errors import Refusal, Unauthenticated
from ebill.render.json import encode
from ebill.rulebook import RuleBook
from ebill.rules import CalendarName
from ebill.service import versions
from ebill.service.health import Health, Standing
from ebill.store.engine import Store
from ebill.web import metrics

OPEN: Final = frozenset({"/livez", "/readyz"})
"""These answer anybody."""
BY_TOKEN: Final = frozenset({"/metrics"})
"""These answer whoever has the token of a setting, and nobody where it is not set."""
_BEARER: Final = re.compile(r"bearer +([!-~]+)", re.IGNORECASE | re.ASCII)


def register(app: Flask, file: BookFile, store: Store) -> None:
    """Add these addresses to an application."""
    health, token = Health(store), settings.metrics_token()
    metrics.watch(store.engine)

    @app.get("/livez")
    def livez() -> Response:
        return Response(b'{"status":"alive"}', content_type="application/json")

    @app.get("/readyz")
    def readyz() -> Response:
        standing = health.standing(datetime.now(UTC))
        book, refused = file.book, file.refused  # in this order: the book looks at its file
        degraded = [*standing.degraded, *(["rulebook"] if refused else [])]
        body = {
            "status": "degraded" if degraded else "ready",
            "degraded": degraded,
            "rulebook": versions(book),
            "refused": {"faults": len(refused.book_faults)} if refused else None,
        }
        return Response(encode(body), content_type="application/json")

    @app.route("/metrics", provide_automatic_options=False)
    def counted() -> Response:
        if token is None:
            raise NotFound
        sent = _BEARER.fullmatch(request.environ.get("HTTP_AUTHORIZATION", ""))
        if not sent or not hmac.compare_digest(sent[1], token):
            raise Unauthenticated(for_metrics=True)
        return Response(metrics.written([Now(health, file)]), content_type=CONTENT_TYPE_LATEST)


RELEASE: Final = version("ebill")
"""Asked for once: while it is installed anew there is none for a while."""


class Now(Collector):
    """What is found out when it is asked for, rather than counted."""

    def __init__(self, health: Health, file: BookFile) -> None:
        self._health, self._file = health, file

    def collect(self) -> Iterator[Metric]:
        """Give each metric."""
        book, refused = self._file.book, self._file.refused
        yield Info("ebill_build", "What runs here.", value={
            "version": RELEASE, "python": platform.python_version(), "tzdata": tzdata.IANA_VERSION,
            **{name: str(told) for name, told in versions(book).items() if name == "holidays"}})  # fmt: skip
        yield Info("ebill_rulebook", "The rule book in force.", value={"version": book.version})
        yield Gauge("ebill_rulebook_faults", "Faults of a rule book's file that is refused; 0: it is in force.",
                    len(refused.book_faults) if refused else 0)  # fmt: skip
        last = min((calendar.last for calendar in _calendars(book)), default=None)
        if last is not None:
            yield Gauge("ebill_calendar_last_year", "The last year that every calendar in use covers.", last.year)
        try:
            standing = self._health.standing(datetime.now(UTC))
        except Refusal:
            yield Gauge("ebill_store_up", "Whether the store answers, with the newest tables.", 0)
            return
        yield Gauge("ebill_store_up", "Whether the store answers, with the newest tables.", 1)
        yield from _of_store(standing)


def _calendars(book: RuleBook) -> Iterator[Calendar]:
    sections = (*book.states.values(), *book.products.values())
    rows = (*book.default, *(row for section in sections for row in section.rows))
    for name in sorted({row.rule.name for row in rows if isinstance(row.rule, CalendarName)}):
        yield book.calendar(name)


def _of_store(standing: Standing) -> Iterator[Metric]:
    facts = standing.facts
    yield Gauge("ebill_store_disk_low", "Whether the disk of a SQLite store is nearly full.",
                int("disk" in standing.degraded))  # fmt: skip
    yield Gauge("ebill_audit_sequence", "Rows of the audit.", facts.sequence)
    yield Gauge("ebill_reminders_waiting", "Messages that wait to be sent.", facts.waiting)
    for name, meaning, at in (
        ("ebill_reminders_oldest", "When the oldest message that waits was made.", facts.oldest_waiting_at),
        ("ebill_rulebook_since", "Since when the rule book is in force.", facts.book_since),
        ("ebill_backup", "When the store was last backed up.", facts.backed_up_at),
        ("ebill_last_change", "When the store was last changed.", facts.last_at),
    ):
        if at is not None:
            yield Gauge(f"{name}_timestamp_seconds", meaning, at.timestamp())
