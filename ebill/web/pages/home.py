"""A producer's home: deadlines by urgency; a group of them in full; the same as a file; and a month of them all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import count
from typing import Any, Final
from urllib.parse import urlencode

from ebill.dates import LAST_DAY
from ebill.deadlines import KINDS
from ebill.grammar import Choice, Day, Month, Strict, Text, Word
from ebill.render import listed
from ebill.service import calculator, deadlines, morning
from ebill.service.clients import refuse_unconfigured
from ebill.service.deadlines import Deadline, Sought
from ebill.service.morning import GROUPS
from ebill.standing import STANDINGS
from ebill.web.pages.page import File, Later, Look, Page, Reading, Shown
from ebill.web.queries import Cursor

SHOWN: Final = 6
"""Deadlines of a group that are shown beside the others."""
PAGE: Final = 50
HEADINGS: Final[Mapping[str, tuple[str, str]]] = {
    "grace": ("Grace running out", "Unpaid and past due. Coverage lapses after the last day of the grace."),
    "due": ("Due within a week", "Invoiced and not yet paid."),
    "pay_by": (
        "Pay by, to make the next invoice",
        "Paid by this day, the payment is sure to show on the next invoice.",
    ),
    "posting": ("Waiting to post", "Paid; the payment posts by this day at the latest."),
    "lapsed": ("Grace has ended, unpaid", "In the last two months. No payment is recorded here for these."),
}


class FilterSchema(Strict):
    """What the lists are narrowed to."""

    state = Word()
    standing = Choice(*STANDINGS)
    q = Text()


class HomeSchema(FilterSchema):
    """Which group is shown in full, and which page of it; or else all groups; or the deadlines of one day.

    `on` is the day on which a group's first page was looked at: the pages after it belong to that list.
    """

    show = Choice(*GROUPS)
    on = Day()
    day = Day()
    kind = Choice(*KINDS)
    cursor = Cursor()


class FileSchema(FilterSchema):
    """Which deadlines a file has."""

    show = Choice(*GROUPS)


class MonthSchema(FilterSchema):
    """Which month."""

    month = Month()
    kind = Choice(*KINDS)


def home(look: Look) -> Later:
    """Show what is urgent, or one group or day in full."""
    query = dict(look.query)
    show, on, day, kind, cursor = (query.pop(name, None) for name in ("show", "on", "day", "kind", "cursor"))
    around = _around(look, query)
    if day is not None:
        return _day(look, query, day, kind, cursor, around)
    if show is not None:
        return _group(look, query, show, on, cursor, around)
    finish = morning.begin_morning(look.connection, look.book, look.user, query, SHOWN, look.now)
    return Later(lambda reading: Shown("home.html", {**around, "morning": finish(reading)}))


def home_file(look: Look) -> Later:
    """Give the deadlines of the next two weeks, or those of a group, as CSV."""
    query = dict(look.query)
    show = query.pop("show", None)
    refuse_unconfigured(look.book, query)
    if show is None:
        first, last = deadlines.default_span(look.book, look.user, None, None, look.now)
        asked: dict[str, Any] | None = {**query, "first": first, "last": last}
    else:
        asked = morning.sought(look.book, look.user, show, query, look.now)
    sought = Sought(**asked) if asked else Sought(date.max, date.max)
    begun = deadlines.begin(look.connection, look.book, look.user, sought) if asked else None

    def finish(reading: Reading) -> File:
        rows = begun.finish(reading(), look.now).rows() if begun else iter(())
        return File(listed.as_csv(Deadline, rows), "text/csv; charset=utf-8", "deadlines.csv")

    return Later(finish)


def month(look: Look) -> Later:
    """Show a month of all deadlines."""
    query = dict(look.query)
    chosen, kind = query.pop("month", None), query.pop("kind", None)
    around = _around(look, query)
    given = {**query, **({"kinds": frozenset({kind})} if kind else {})}
    finish = morning.begin_month(look.connection, look.book, look.user, chosen and str(chosen), given, look.now)

    def finished(reading: Reading) -> Shown:
        found = finish(reading)
        return Shown(
            "month.html", {**around, "month": found, "kind": kind, "weeks": _weeks(found["first"]), **_near(found)}
        )

    return Later(finished)


def _group(
    look: Look, query: dict[str, Any], show: Any, on: date | None, cursor: str | None, around: dict[str, Any]
) -> Later:
    asked = morning.sought(look.book, look.user, show, query, look.now, on)
    heading, lead = HEADINGS[show]
    values = {**around, "heading": heading, "lead": lead, "show": show}
    if asked is None:
        return Later(lambda _: Shown("list.html", {**values, **_no_page(look)}))
    begun_on, _ = deadlines.default_span(look.book, look.user, on, None, look.now)
    return _page(look, asked, cursor, {**values, "more": {"show": show, "on": begun_on.isoformat()}})


def _day(look: Look, query: dict[str, Any], day: date, kind: Any, cursor: str | None, around: dict[str, Any]) -> Later:
    asked = {**query, "first": day, "last": day, **({"kinds": frozenset({kind})} if kind else {})}
    more = {"day": day.isoformat(), **({"kind": kind} if kind else {})}
    values = {**around, "heading": None, "lead": "", "show": None, "day": day, "kind": kind, "more": more}
    return _page(look, asked, cursor, values)


def _page(look: Look, asked: dict[str, Any], cursor: str | None, values: dict[str, Any]) -> Later:
    finish = deadlines.begin_page(look.connection, look.book, look.user, asked, PAGE, cursor, look.seal, look.now)
    today, _ = deadlines.default_span(look.book, look.user, None, None, look.now)

    def finished(reading: Reading) -> Shown:
        found = finish(reading())
        number = sum(found["counts"]["kind"].values())
        following = found["next_cursor"]
        link = f"/home?{urlencode({**values['filters'], **values['more'], 'cursor': following})}" if following else None
        told = {"data": found["data"], "count": number, "following": link, "as_of": today, "is_first": cursor is None}
        return Shown("list.html", {**values, **told})

    return Later(finished)


def _no_page(look: Look) -> dict[str, Any]:
    today, _ = deadlines.default_span(look.book, look.user, None, None, look.now)
    return {"data": [], "count": 0, "following": None, "as_of": today, "is_first": True}


def _around(look: Look, query: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the filters are, and can be."""
    refuse_unconfigured(look.book, query)
    return {
        "filters": dict(query),
        "filter_query": urlencode(query),
        "states": calculator.states(look.book)["states"],
        "headings": HEADINGS,
    }


def _weeks(first: date) -> list[list[date | None]]:
    """Give the weeks of a month from Sunday to Saturday; None for the days of other months.

    >>> [day and day.day for day in _weeks(date(2026, 8, 1))[0]]
    [None, None, None, None, None, None, 1]
    """
    begin = first - timedelta(days=(first.weekday() + 1) % 7)
    weeks: list[list[date | None]] = []
    for week in count():
        days = [begin + timedelta(days=7 * week + each) for each in range(7)]
        if days[0] > first and days[0].month != first.month:
            return weeks
        weeks.append([day if day.month == first.month else None for day in days])
    return weeks


def _near(found: Mapping[str, Any]) -> dict[str, str | None]:
    """Give the months before and after one."""
    first, last = found["first"], found["last"]
    before, after = first - timedelta(days=1), last + timedelta(days=1) if last < LAST_DAY else None
    return {
        "month_before": before.strftime("%Y-%m") if before.year >= _FIRST_YEAR else None,
        "month_after": after.strftime("%Y-%m") if after else None,
    }


_FIRST_YEAR: Final = 2000

PAGES: Final = (
    Page(method="GET", path="/home", allows="read_client", view=home, query=HomeSchema, steady=True),
    Page(method="GET", path="/deadlines.csv", allows="read_client", view=home_file, query=FileSchema),
    Page(method="GET", path="/month", allows="read_client", view=month, query=MonthSchema, steady=True),
)
