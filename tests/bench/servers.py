"""The servers one could run it on, and FastAPI beside it. What is not installed is said, and how to install it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec

from tests.bench.measuring import Ratio, in_turn
from tests.bench.serving import BODY, OTHERS, SERVERS, calculations, receive, requests_over, served

COUNT = 300
HOW = ".venv/bin/uv pip install --python .venv --group bench"


def missing(*modules: str) -> bool:
    """Say which modules are not there, if any, and what would bring them."""
    found = [module for module in modules if find_spec(module) is None]
    if found:
        print(f"\nNot measured: {', '.join(found)} is missing; {HOW}")
    return bool(found)


def servers() -> Iterator[Ratio]:
    """Ours and bare Flask on each server, beside bare Flask on granian."""
    names = ["granian", *(name for name in SERVERS if name.startswith(("gunicorn", "waitress")))]
    if missing("gunicorn", "waitress"):
        names = ["granian"]
    apps = {"ours": "ebill.web:create_app", "bare": "tests.bench.serving:bare_app"}
    with ExitStack() as stack:
        actions = {
            f"{name}, {what}": (
                requests_over(stack.enter_context(served(target, name)), COUNT, calculations(BODY)),
                1,
            )
            for name in names
            for what, target in apps.items()
        }
        taken = in_turn(actions, rounds=11)
    print("\nPOST /v1/calculate asked before, 8 connections, one process each, beside bare Flask on granian")
    for name in taken:
        ratio = taken.beside(name, "granian, bare", name)
        print(f"  {name:26} {taken.median(name) / COUNT * 1e6:7.0f} us   {ratio.value:5.2f} of its throughput")
        if name != "granian, bare":
            yield ratio


def fastapi() -> Iterator[Ratio]:
    """Ours beside FastAPI with pydantic, both on granian, for questions nobody asked before and for one again."""
    if missing("fastapi"):
        return
    target = "tests.bench.fastapi_app:app"
    with (
        served("ebill.web:create_app") as ours,
        served(target, interface="asgi") as theirs,
        served(target, "uvicorn") if find_spec("uvicorn") else served(target, interface="asgi") as uvicorn,
    ):
        refuse_other(ours, theirs)
        lean = [each._replace(path="/lean") for each in calculations(*OTHERS)]
        actions = {
            "ours, asked before": requests_over(ours, COUNT, calculations(BODY)),
            "ours, asked anew": requests_over(ours, COUNT, calculations(*OTHERS)),
            "FastAPI": requests_over(theirs, COUNT, calculations(*OTHERS)),
            "FastAPI, lean": requests_over(theirs, COUNT, lean),
            "FastAPI on uvicorn": requests_over(uvicorn, COUNT, calculations(*OTHERS)),
        }
        taken = in_turn({name: (action, 1) for name, action in actions.items()}, rounds=11)
    print("\nPOST /v1/calculate, 12 months, 8 connections, granian: ours beside FastAPI, which asks the same service")
    for name in taken:
        print(f"  {name:26} {taken.median(name) / COUNT * 1e6:7.0f} us")
    for name in ("ours, asked before", "ours, asked anew"):
        for other in ("FastAPI", "FastAPI, lean", "FastAPI on uvicorn"):
            ratio = taken.beside(name, other)
            print(f"  {ratio.what:40} {ratio.value:5.2f} of its throughput")
            yield ratio


def refuse_other(*ports: int) -> None:
    """Raise RuntimeError where two servers do not say the same."""
    found = []
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(calculations(BODY)[0].over_http())
            found.append(json.loads(receive(connection, 200).body))
    if any(each != found[0] for each in found):
        raise RuntimeError("the answers differ")
