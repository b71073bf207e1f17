"""Asked far more than it can answer, the service answers what it can in time, and says so at once to the rest."""

from __future__ import annotations

import asyncio
from types import MappingProxyType

from tests.trust.goals import Goal, Run, require
from tests.trust.loading import Seen, Target, closed_loop, get, open_loop, quantile
from tests.trust.serving import planted, service

CALLERS = 4
LIGHT = 0.3
"""The share of what it can do at which its usual times are measured."""
MEASURED = 4
"""How many times what it can do may be asked on these processors in time; beyond, as often as they let."""
BEYOND = 5.0
"""Seconds in which 99 of 100 accepted are answered beyond that, where whoever asks keeps the processors busy."""
LATE = 0.5
"""Seconds."""
NOISE = 0.1
"""Seconds of which a shared machine may be the cause."""


def _request(number: int) -> bytes:
    return get(f"/calculator?state=PA&from=20{10 + number % 80}-{1 + number % 12:02d}&months=12")


def _split(seen: list[Seen]) -> tuple[list[Seen], list[Seen]]:
    return [each for each in seen if each.status == 200], [each for each in seen if each.status == 503]


async def _phase(target: Target, rate: float, seconds: float) -> tuple[list[Seen], list[Seen]]:
    health = asyncio.create_task(open_loop(target, 5, seconds, lambda _: get("/livez")))
    seen = await open_loop(target, rate, seconds, _request)
    require(all(each.status == 200 for each in await health), "the health route was not answered")
    good, shed = _split(seen)
    lost = len(seen) - len(good) - len(shed)
    require(not lost, f"{lost} of {len(seen)} requests got no answer, or another")
    require(all(each.again for each in shed), "a request was turned away without Retry-After")
    return good, shed


async def _seen(run: Run, port: int) -> str:
    target, seconds = Target(port), run.pick(2.0, 20.0)
    await closed_loop(target, CALLERS, 1.0, _request)
    capacity = await closed_loop(target, CALLERS, run.pick(2.0, 10.0), _request)
    usual = quantile(0.99, await open_loop(target, capacity * LIGHT, seconds, _request))
    told, goodput = [], dict[float, float]()
    # Among other tests no time means much: there it must only be bounded, and be turned away what is too much.
    most, least = run.pick((10.0, 0.2), (1.0, 0.7))
    for times, span in run.pick([(1, 2.0), (4, 2.0)], [(1, seconds), (2, seconds), (4, seconds), (10, 60.0)]):
        run.say(f"{times} times what it can do")
        good, shed = await _phase(target, capacity * times, span)
        late = max(each.late for each in good + shed)
        require(late <= LATE or times > MEASURED or run.size == "quick", f"at {times}x it was asked {late:.2f} s late")
        came = (len(good) + len(shed)) / (span + late)
        slowest, turned = quantile(0.99, good), quantile(0.5, shed)
        goodput[times] = len(good) / (span + late)
        require(
            slowest <= (most if times <= MEASURED else BEYOND),
            f"at {times}x, 1 of 100 accepted took {slowest:.2f} s or more",
        )
        require(turned <= most / 10, f"at {times}x, half of those turned away waited {turned:.2f} s or more for it")
        require(shed or times < 4, f"at {times}x, nobody was turned away")
        shown = f"{len(shed)} shed, p50 {turned * 1000:.0f} ms"
        told.append(f"{times}x: {goodput[times]:.0f}/s of {came:.0f}/s, p99 {slowest:.2f} s, {shown}")
    share = goodput[4] / goodput[1]
    require(share >= least, f"at 4x only {share:.0%} of the answers at 1x came")
    after = 0.0
    for _ in range(5):
        after = quantile(0.99, await open_loop(target, capacity * LIGHT, 1.0, _request))
        if after <= max(2 * usual, NOISE):
            break
    is_well = after <= max(2 * usual, NOISE) or run.size == "quick"
    require(is_well, f"5 s after, p99 is {after:.2f} s; before, it was {usual:.2f} s")
    return f"{'; '.join(told)}; 0 refused connections; p99 before {usual * 1000:.0f} ms, after {after * 1000:.0f} ms"


def show(run: Run) -> str:
    """Ask at multiples of what it can do, and again after that."""
    with service(run.folder) as served:
        return asyncio.run(_seen(run, served.port))


GOAL = Goal(
    id="G9",
    name="overload",
    rule=(
        "accepted p99 at most 1 s up to 4x; turned away p50 at most 0.1 s, with Retry-After; at 4x at least 70 % "
        "of the answers at 1x; no connection refused; within 5 s after, p99 at most twice that before; health answered"
    ),
    show=show,
    faults=MappingProxyType({"no limit": lambda: planted("unlimited")}),
    short="At 10x whoever asks takes the two processors from whoever answers: the p99 of those accepted is told, and "
    "bounded by 5 s alone.",
)
