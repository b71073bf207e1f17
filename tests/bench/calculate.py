"""The public calculation, over HTTP and in process, beside bare Flask."""

from __future__ import annotations

from collections.abc import Iterator

from ebill import bookfile, questions, service
from ebill.render.json import encode
from ebill.web import create_app
from tests.bench.measuring import Ratio, in_turn
from tests.bench.serving import BODY, NOW, OTHERS, Sent, bare, calculations, expected, requests_over, served, wsgi


def over_http() -> Iterator[Ratio]:
    """Twelve months over HTTP, against a bare Flask route that gives the same bytes."""
    count = 300
    with served("ebill.web:create_app") as ours, served("tests.bench.serving:bare_app") as constant:
        taken = in_turn(
            {
                "asked before": (requests_over(ours, count, calculations(BODY)), 1),
                "asked anew": (requests_over(ours, count, calculations(*OTHERS)), 1),
                "bare": (requests_over(constant, count, calculations(BODY)), 1),
            },
            rounds=15,
        )
    inside = in_turn(
        {
            "asked before": (wsgi(create_app(), *calculations(BODY)), count),
            "asked anew": (wsgi(create_app(), *calculations(*OTHERS)), count),
            "bare": (wsgi(bare(expected()), *calculations(BODY)), count),
        },
        rounds=15,
    )
    print("\nPOST /v1/calculate, 12 months, against a bare Flask route giving the same bytes from a constant")
    for name, found, calls in (("granian, 8 connections", taken, count), ("in process (WSGI)", inside, 1)):
        for asked in ("asked before", "asked anew"):
            ours_us, bare_us = (found.median(key) / calls * 1e6 for key in (asked, "bare"))
            print(
                f"  {name:24} {asked:14} {ours_us:7.0f} us against {bare_us:7.0f} us:"
                f" {bare_us / ours_us:5.2f} of its throughput"
            )
            yield found.beside(asked, "bare", f"{name}: {asked}")


def one_month() -> Iterator[Ratio]:
    """One account, one month with its explanation, against one empty Flask request; both in process."""
    book = bookfile.load(bookfile.path()).book
    question = questions.calculation({"state": "PA", "coverage_month": "2026-08", "explain": True})
    app = bare(b"")
    client = app.test_client()
    taken = in_turn(
        {
            "ours": (lambda: service.calculate(book, question, NOW), 500),
            "ours as JSON": (lambda: encode(service.calculate(book, question, NOW)), 500),
            "empty WSGI call": (wsgi(app, Sent("GET", "/")), 500),
            "empty test-client request": (lambda: client.get("/"), 200),
        },
        rounds=15,
    )
    print("\nOne account, one month with its explanation, in process, against one empty Flask request")
    for name in taken:
        print(f"  {name:26} {taken.median(name) * 1e6:7.1f} us")
    yield taken.beside("ours", "empty WSGI call")
    yield taken.beside("ours as JSON", "empty WSGI call")
