"""One answer everywhere: the dates of an invoice are the same by whichever door and in whichever format they are asked.

Clients with drawn rules are put into a store, and each is asked for the twelve months that a page shows: of the
calculator, of the API, of the page, as CSV, as a calendar, as rows of a batch, and with the explanation.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from io import StringIO
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
from tests.trust.sharing import two_processes
from tests.visits import Visits, begin_sessions
from tests.world import World, book_file, fill

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
MONTHS: Final = 12
"""Months that a client is asked for: as many as its page shows."""
WIDEST: Final = timedelta(days=365)
"""From the first to the last day of a list of deadlines."""
PART: Final = 350
"""Clients of one application."""
AT_ONCE: Final = 50
"""Clients that are entered in one transaction."""
ROWS: Final = 200
"""Clients that a batch is asked about at once: it takes at most 250 kinds of accounts."""
Dates = dict[str, str | None]
Year = dict[str, Dates]
"""Dates by coverage month."""


@dataclass(frozen=True)
class Asked:
    """A client's rules, the months that are asked for, and their dates as the calculator gives them."""

    client_id: str
    body: dict[str, Any]
    year: Year

    @property
    def first(self) -> str:
        """The first coverage month."""
        return str(self.body["from"])

    @property
    def deadlines(self) -> dict[tuple[str, str], str]:
        """The dates as lists of deadlines have them, by month and kind."""
        return {
            (month, kind): day
            for month, dates in self.year.items()
            for name, kind in KIND_OF.items()
            if (day := dates[name])
        }

    @property
    def windows(self) -> Iterator[tuple[date, date]]:
        """The days between which its dates lie, as many at once as a list of deadlines takes."""
        days = sorted(map(date.fromisoformat, self.deadlines.values()))
        first = days[0]
        while first <= days[-1]:
            yield first, first + WIDEST
            first += WIDEST + timedelta(days=1)


def dates_of(invoice: dict[str, Any]) -> Dates:
    """Give the dates of an invoice."""
    return {name: invoice[name] for name in DATE_NAMES}


def year_of(invoices: list[dict[str, Any]]) -> Year:
    """Give the dates of invoices."""
    return {invoice["coverage_month"]: dates_of(invoice) for invoice in invoices}


def calculated(body: dict[str, Any]) -> Year:
    """Ask the calculator itself."""
    return year_of(json.loads(encode(service.answer(book_file().book, body, datetime.now(UTC))))["invoices"])


def draw_all(number: int, count: int) -> Iterator[Asked]:
    """Draw clients whose rules can be."""
    draw = random.Random(number)  # noqa: S311  # the same clients on every run
    made = 0
    while made < count:
        kinds = draw.sample(KINDS, draw.choice((0, 1, 2, 3, 5)))
        month = f"{draw.randrange(2001, 2098)}-{draw.randrange(1, 13):02}"
        body: dict[str, Any] = {"state": draw.choice(("PA", "NY", "DE", "WV")), "from": month, "months": MONTHS}
        body |= {"rules": {kind: strategies.draw_rule(draw, kind) for kind in kinds}}
        try:
            year = calculated(body)
        except Refusal:
            continue
        made += 1
        yield Asked(f"E{number}-{made:05}", body, year)


def show(run: Run) -> str:
    """Ask for each drawn client by every door, and compare; at the long size by two processes."""
    count = run.pick(8, 12 * PART)
    store = Store(run.store)
    try:
        world, sessions = fill(store), begin_sessions(store)
    finally:
        store.close()
    if run.size == "quick":
        agreed = part(run.store, world, sessions, count, 0)
    else:
        agreed = 0
        with two_processes() as pool:
            for found in pool.map(partial(part, run.store, world, sessions, PART), range(count // PART)):
                agreed += found
                run.say(f"{agreed:,} months")
    return (
        f"{agreed:,} months of {count:,} drawn clients: calculator, explanation, API, page, CSV, calendar and batch "
        "agree"
    )


def part(url: str, world: World, sessions: dict[str, str], count: int, number: int) -> int:
    """Ask for some drawn clients, and count their months."""
    every = list(draw_all(14 + number, count))
    store = Store(url)
    try:
        opened = Visits(store, world, sessions)
        with redirect_stderr(StringIO()):
            rest = iter(every)
            while some := list(islice(rest, AT_ONCE)):
                enter(store, some)
            for asked in every:
                compare(opened, asked)
            for asked, given in by_batch(opened, every):
                same(asked, "the batch", given)
    finally:
        store.close()
    return sum(len(asked.year) for asked in every)


def compare(opened: Visits, asked: Asked) -> None:
    """Ask for a client by every door but that of batches."""
    same(asked, "the explanation", calculated({**asked.body, "explain": True}))
    same(asked, "the API", by_api(opened, asked))
    require(not (away := not_on_page(opened, asked)), f"{asked}: not on the page: {away}")
    listed = by_csv(opened, asked)
    require(listed == asked.deadlines, f"{asked}: CSV gives {listed}")
    in_calendar = by_calendar(opened, asked)
    require(in_calendar == asked.deadlines, f"{asked}: the calendar gives {in_calendar}")


def same(asked: Asked, where: str, given: Year) -> None:
    """Hold some dates to those of the calculator."""
    require(given == asked.year, f"{asked}: {where} gives {given}")


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


def by_api(opened: Visits, asked: Asked) -> Year:
    """Ask for the account's schedule."""
    path = f"/v1/clients/{asked.client_id}/bill-accounts/MAIN/schedule?from={asked.first}&months={MONTHS}"
    answer = opened.ask("admin", "GET", path)
    require(answer.status_code == 200, f"{asked}: {answer.get_data(as_text=True)}")
    found: dict[str, Any] = answer.json or {}
    return year_of(found["bill_accounts"][0]["invoices"])


def not_on_page(opened: Visits, asked: Asked) -> set[str]:
    """Look at the client's page from that month on, and give the dates that it does not say."""
    page = opened.look("admin", f"/clients/{asked.client_id}?from={asked.first}").get_data(as_text=True)
    days = {day for dates in asked.year.values() for day in dates.values() if day}
    return {day for day in days if f'datetime="{day}"' not in page}


def deadlines(opened: Visits, asked: Asked, form: str) -> Iterator[str]:
    """Ask for the deadlines of the client between the first and the last date, a year at a time."""
    for first, last in asked.windows:
        path = f"/v1/deadlines?client={asked.client_id}&from={first}&to={last}&format={form}"
        answer = opened.ask("admin", "GET", path)
        require(answer.status_code == 200, f"{asked}: {answer.get_data(as_text=True)}")
        yield answer.get_data(as_text=True)


def by_csv(opened: Visits, asked: Asked) -> dict[tuple[str, str], str]:
    """Give the dates by month and kind, from CSV."""
    rows = [line.split(",") for text in deadlines(opened, asked, "csv") for line in text.splitlines()[1:]]
    return {(month, kind): day for day, kind, _, _, month, *_ in rows if month in asked.year}


def by_calendar(opened: Visits, asked: Asked) -> dict[tuple[str, str], str]:
    """Give the same from calendars, in which each must be one whole day: the end is the day after, exclusive."""
    found = {}
    for text in deadlines(opened, asked, "ics"):
        event: Any
        for event in Calendar.from_ical(text).walk("VEVENT"):
            day = event["DTSTART"].dt
            require(event["DTEND"].dt == day + timedelta(days=1), f"{asked}: {day} ends {event['DTEND'].dt}")
            month = str(event["SUMMARY"]).rpartition(", ")[2]
            if month in asked.year:
                [kind] = event["CATEGORIES"].cats
                found[month, str(kind)] = day.isoformat()
    return found


def by_batch(opened: Visits, every: list[Asked]) -> Iterator[tuple[Asked, Year]]:
    """Ask for all of them as rows of a batch."""
    rest = iter(every)
    while some := list(islice(rest, ROWS)):
        lines = [
            json.dumps(
                {
                    "account_id": asked.client_id,
                    "coverage_month": month,
                    "state": asked.body["state"],
                    "rules": asked.body["rules"],
                }
            )
            for asked in some
            for month in asked.year
        ]
        answer = opened.client.post("/v1/calculate/batch", data="\n".join(lines), content_type="application/x-ndjson")
        rows = iter([json.loads(line) for line in answer.get_data(as_text=True).splitlines()])
        for asked in some:
            given = list(islice(rows, len(asked.year)))
            require(not any(row["reason"] for row in given), f"{asked}: {given}")
            yield asked, year_of(given)
        require(not list(rows), "there are more rows than were asked for")


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
    rule="API, page, CSV, calendar, batch, calculator and explanation give the same dates of the same rules and months",
    show=show,
    faults=MappingProxyType({"events that end a day too early": inclusive_ends, "dates in CSV a day late": late_cells}),
    stores=True,
)
