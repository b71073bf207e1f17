"""One answer everywhere: the dates of an invoice are the same by whichever door and in whichever format they are asked.

Clients with drawn rules are put into a store, and each is asked for one month: of the calculator, of the API, of the
page, as CSV, as a calendar, as rows of a batch, and with the explanation.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

import pytest
from icalendar import Calendar

from ebill import service
from ebill.errors import Refusal
from ebill.render import csv, ics
from ebill.render.json import encode
from ebill.schedule import DATE_NAMES
from ebill.store import clients
from ebill.store.audit import By
from ebill.store.clients import Account, Client, RuleEntry
from ebill.store.engine import Store
from tests import strategies
from tests.trust.goals import Goal, Run, require
from tests.visits import Visits, visits
from tests.world import book_file

AT: Final = datetime(2000, 1, 1, tzinfo=UTC)
KINDS: Final = tuple(kind for kind in strategies.DEFAULTS if kind != "calendar")
KIND_OF: Final = {
    "generation_date": "generation",
    "due_date": "due",
    "grace_end_date": "grace_end",
    "recommended_pay_by_date": "recommended_pay_by",
    "safe_pay_by_date": "safe_pay_by",
}
"""What a date is called in lists of deadlines; the next generation is the next month's own."""
WIDEST: Final = timedelta(days=360)
ROWS: Final = 200
"""Rows asked at once; a batch takes at most 250 kinds of accounts."""
Dates = dict[str, str | None]


@dataclass(frozen=True)
class Asked:
    """A client's rules, the month that is asked for, and its dates as the calculator gives them."""

    client_id: str
    body: dict[str, Any]
    dates: Dates

    @property
    def month(self) -> str:
        """The coverage month."""
        return str(self.body["coverage_month"])

    @property
    def window(self) -> tuple[str, str]:
        """The first and the last of its dates."""
        days = [day for name, day in self.dates.items() if name in KIND_OF and day]
        return min(days), max(days)


def dates_of(invoice: dict[str, Any]) -> Dates:
    """Give the dates of an invoice."""
    return {name: invoice[name] for name in DATE_NAMES}


def calculated(body: dict[str, Any]) -> dict[str, Any]:
    """Ask the calculator itself."""
    found: dict[str, Any] = json.loads(encode(service.answer(book_file().book, body, datetime.now(UTC))))
    return found


def draw_all(number: int, count: int) -> Iterator[Asked]:
    """Draw clients whose rules can be, and whose dates lie within a year."""
    draw = random.Random(number)  # noqa: S311  # the same clients on every run
    made = 0
    while made < count:
        kinds = draw.sample(KINDS, draw.choice((0, 1, 2, 3, 5)))
        month = f"{draw.randrange(2001, 2099)}-{draw.randrange(1, 13):02}"
        body: dict[str, Any] = {"state": draw.choice(("PA", "NY", "DE", "WV")), "coverage_month": month}
        body |= {"rules": {kind: strategies.draw_rule(draw, kind) for kind in kinds}}
        try:
            [invoice] = calculated(body)["invoices"]
        except Refusal:
            continue
        asked = Asked(f"E{made:05}", body, dates_of(invoice))
        first, last = map(date.fromisoformat, asked.window)
        if last - first <= WIDEST:
            made += 1
            yield asked


def show(run: Run) -> str:
    """Ask for each drawn client by every door, and compare."""
    every = list(draw_all(14, run.pick(20, 500)))
    store = Store(run.store)
    try:
        opened = visits(store)
        enter(store, every)
        for at, asked in enumerate(every):
            same(asked, "explained", dates_of(calculated({**asked.body, "explain": True})["invoices"][0]))
            same(asked, "the API", by_api(opened, asked))
            require(not (away := not_on_page(opened, asked)), f"{asked}: not on the page: {away}")
            listed = by_csv(opened, asked)
            wanted = {kind: asked.dates[name] for name, kind in KIND_OF.items()}
            require(listed == wanted, f"{asked}: CSV gives {listed}")
            in_calendar = by_calendar(opened, asked)
            require(in_calendar == wanted, f"{asked}: the calendar gives {in_calendar}")
            run.say(f"{at + 1:,} of {len(every):,} clients")
        for asked, given in by_batch(opened, every):
            same(asked, "the batch", given)
    finally:
        store.close()
    return f"{len(every):,} drawn clients and months: calculator, explanation, API, page, CSV, calendar and batch agree"


def same(asked: Asked, where: str, given: Dates) -> None:
    """Hold some dates to those of the calculator."""
    require(given == asked.dates, f"{asked}: {where} gives {given}")


def enter(store: Store, every: list[Asked]) -> None:
    """Put the clients into the store with their rules, as from long ago."""
    with store.writing(By("setup", AT)) as write:
        for asked in every:
            state = asked.body["state"]
            client = Client(client_id=asked.client_id, version=1, team_id="north", name="Drawn Ltd", state=state)
            clients.put_client(write.connection, client, "setup", AT)
            account = Account(client_id=asked.client_id, account_id="MAIN", version=1, kind="medical", name="Medical")
            clients.put_account(write.connection, account, "setup", AT)
            entries = [
                RuleEntry(
                    client_id=asked.client_id,
                    account_id=None,
                    retroactive=False,
                    reason=None,
                    since="2000-01",
                    kind=kind,
                    rule=json.dumps({kind: rule}),
                    cite="drawn",
                    assumed=False,
                )
                for kind, rule in asked.body["rules"].items()
            ]
            if entries:
                clients.add_entries(write.connection, entries, "setup", AT)
        write.audit("setup")


def by_api(opened: Visits, asked: Asked) -> Dates:
    """Ask for the account's schedule."""
    path = f"/v1/clients/{asked.client_id}/bill-accounts/MAIN/schedule?from={asked.month}&months=1"
    answer = opened.ask("admin", "GET", path)
    require(answer.status_code == 200, f"{asked}: {answer.get_data(as_text=True)}")
    found: dict[str, Any] = answer.json or {}
    return dates_of(found["bill_accounts"][0]["invoices"][0])


def not_on_page(opened: Visits, asked: Asked) -> set[str]:
    """Look at the client's page from that month on, and give the dates that it does not say."""
    page = opened.look("admin", f"/clients/{asked.client_id}?from={asked.month}").get_data(as_text=True)
    return {day for day in asked.dates.values() if day and f'datetime="{day}"' not in page}


def deadlines(opened: Visits, asked: Asked, form: str) -> str:
    """Ask for the deadlines of the client between the first and the last date."""
    first, last = asked.window
    path = f"/v1/deadlines?client={asked.client_id}&from={first}&to={last}&format={form}"
    answer = opened.ask("admin", "GET", path)
    require(answer.status_code == 200, f"{asked}: {answer.get_data(as_text=True)}")
    return answer.get_data(as_text=True)


def by_csv(opened: Visits, asked: Asked) -> dict[str, str]:
    """Give the dates of the month by kind, from CSV."""
    rows = [line.split(",") for line in deadlines(opened, asked, "csv").splitlines()[1:]]
    return {kind: day for day, kind, _, _, month, *_ in rows if month == asked.month}


def by_calendar(opened: Visits, asked: Asked) -> dict[str, str]:
    """Give the same from a calendar, in which each must be one whole day: the end is the day after, exclusive."""
    found = {}
    event: Any
    for event in Calendar.from_ical(deadlines(opened, asked, "ics")).walk("VEVENT"):
        day = event["DTSTART"].dt
        require(event["DTEND"].dt == day + timedelta(days=1), f"{asked}: {day} ends {event['DTEND'].dt}")
        if str(event["SUMMARY"]).endswith(f", {asked.month}"):
            [kind] = event["CATEGORIES"].cats
            found[str(kind)] = day.isoformat()
    return found


def by_batch(opened: Visits, every: list[Asked]) -> Iterator[tuple[Asked, Dates]]:
    """Ask for all of them as rows of a batch."""
    rest = iter(every)
    while some := list(islice(rest, ROWS)):
        lines = [json.dumps({**asked.body, "account_id": asked.client_id}) for asked in some]
        answer = opened.client.post("/v1/calculate/batch", data="\n".join(lines), content_type="application/x-ndjson")
        rows = [json.loads(line) for line in answer.get_data(as_text=True).splitlines()]
        require(len(rows) == len(some), f"{len(rows)} rows of {len(some)}")
        for asked, row in zip(some, rows, strict=True):
            require(row["reason"] is None, f"{asked}: {row}")
            yield asked, dates_of(row)


@contextmanager
def inclusive_ends() -> Iterator[None]:
    """Let events of a calendar end on their own day."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ics, "_whole", lambda day: f"DTSTART;VALUE=DATE:{day:%Y%m%d}\r\nDTEND;VALUE=DATE:{day:%Y%m%d}")
        yield


@contextmanager
def late_cells() -> Iterator[None]:
    """Write each date in CSV a day late."""
    right = csv.cell

    def cell(value: object) -> object:
        return right(value + timedelta(days=1) if isinstance(value, date) else value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv, "cell", cell)
        yield


GOAL = Goal(
    id="G14",
    name="one answer everywhere",
    rule="API, page, CSV, calendar, batch, calculator and explanation give the same dates of the same rules and month",
    show=show,
    faults=MappingProxyType({"events that end a day too early": inclusive_ends, "dates in CSV a day late": late_cells}),
    stores=True,
)
