"""What is counted: requests, refusals, sign-ins, the store's connections and errors. For Prometheus.

Whether it is healthy, whether it is slow, who is refused. No label has a value that somebody sent: routes are as they
are declared, methods and codes are known words. With several workers each writes its counts to a folder that `ebill
serve` makes, `PROMETHEUS_MULTIPROC_DIR`, and whichever is asked adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Engine, event

from ebill.settings import COUNTS

BUCKETS: Final = (0.005, 0.025, 0.1, 0.5, 2.5)
"""Seconds: as fast as usual, not yet noticed, noticed, slow, beyond what is waited for."""
OURS: Final = CollectorRegistry()

IN_PROGRESS: Final = Gauge(
    "ebill_requests_in_progress", "Requests being answered.", registry=OURS, multiprocess_mode="livesum"
)
SHED: Final = Counter("ebill_requests_shed", "Requests turned away because too many were waiting.", registry=OURS)
REFUSALS: Final = Counter("ebill_refusals", "Refusals, by their code.", ["code"], registry=OURS)
SIGN_IN_FAILURES: Final = Counter(
    "ebill_sign_in_failures", "Sign-ins that failed, by password or by identity provider.", ["way"], registry=OURS
)
UNEXPECTED: Final = Counter("ebill_unexpected_errors", "Errors that nobody foresaw; each is in the log.", registry=OURS)
_REQUESTS: Final = Counter(
    "ebill_requests", "Requests answered, by class of status.", ["route", "method", "status"], registry=OURS
)
_SECONDS: Final = Histogram(
    "ebill_request_seconds", "How long answers took.", ["route", "method"], buckets=BUCKETS, registry=OURS
)
_CONNECTIONS: Final = Gauge(
    "ebill_store_connections", "Connections of the store's pool in use.", registry=OURS, multiprocess_mode="livesum"
)
_STORE_ERRORS: Final = Counter("ebill_store_errors", "Errors of the database, by kind.", ["kind"], registry=OURS)
_known: dict[tuple[str, str, str], tuple[Any, Any]] = {}
"""What is looked up by three labels once, since to look it up takes longer than to count."""


def count(method: str, route: str, status: str, seconds: float, code: str | None) -> None:
    """Count a request that was answered with a status, and a code where it was refused."""
    key = method, route, status[0]
    found = _known.get(key)
    if found is None:
        found = _known[key] = (
            _REQUESTS.labels(route, method, f"{status[0]}xx"),
            _SECONDS.labels(route, method),
        )
    found[0].inc()
    found[1].observe(seconds)
    if code is not None:
        REFUSALS.labels(code).inc()


def watch(engine: Engine) -> None:
    """Count what a store's engine does."""
    event.listen(engine, "checkout", lambda *_: _CONNECTIONS.inc())
    event.listen(engine, "checkin", lambda *_: _CONNECTIONS.dec())
    event.listen(engine, "detach", lambda *_: _CONNECTIONS.dec())
    event.listen(engine, "handle_error", _count_error)


def _count_error(context: Any) -> None:
    _STORE_ERRORS.labels(type(context.original_exception).__name__).inc()


def written(facts: Iterable[Collector]) -> bytes:
    """Write all of it in Prometheus' text format, with `facts` that are found out only now."""
    asked = CollectorRegistry()
    if COUNTS in os.environ:
        MultiProcessCollector(asked)  # type: ignore[no-untyped-call]
    else:
        asked.register(OURS)
    for fact in facts:
        asked.register(fact)
    return generate_latest(asked)
