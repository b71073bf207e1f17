"""What a producer looks at in the morning: who must do what by when, the urgent first; and a month at a glance.

It is the list of `service.deadlines`, asked for what each group is about. A group is told in full, page by page, by
that list itself: see `sought`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, Final, Literal, NamedTuple, get_args

from dateutil.relativedelta import relativedelta
from sqlalchemy import Connection

from ebill.dates import FIRST_DAY, LAST_DAY
from ebill.deadlines import Kind
from ebill.errors import Fault, InvalidInput
from ebill.rulebook import RuleBook
from ebill.service.clients import refuse_unconfigured
from ebill.service.deadlines import Begun, Sought, begin, default_span
from ebill.service.invoices import versions
from ebill.standing import Standing
from ebill.store.users import User

Group = Literal["grace", "due", "pay_by", "posting", "lapsed"]
GROUPS: Final[tuple[Group, ...]] = get_args(Group)
Reading = Callable[[], AbstractContextManager[Connection]]


class About(NamedTuple):
    """What a group is about: one kind of deadline, of invoices that stand so, within so many days from today on.

    Below 0, they are those before today.
    """

    kind: Kind
    standings: frozenset[Standing]
    days: int


ABOUT: Final[Mapping[Group, About]] = {
    "grace": About("grace_end", frozenset({"in_grace"}), 366),
    "due": About("due", frozenset({"invoiced"}), 7),
    "pay_by": About("safe_pay_by", frozenset({"invoiced", "in_grace"}), 7),
    "posting": About("posts_by", frozenset({"payment_pending"}), 31),
    "lapsed": About("grace_end", frozenset({"grace_expired"}), -62),
}
"""`pay_by` is by when to pay so that the next invoice shows it for certain."""


def sought(
    book: RuleBook, user: User, group: Group, given: Mapping[str, Any], now: datetime, on: date | None = None
) -> dict[str, Any] | None:
    """Give what to ask `deadlines` for to be told a group in full; None where the filters leave nothing of it.

    `given` are `state`, `standing` and `q`, those left out by default. The list begins `on` a day, which is today
    unless its first page was asked for on another. Raises InvalidInput for a day that is not supported.
    """
    if on is not None and not FIRST_DAY <= on <= LAST_DAY:
        raise InvalidInput([Fault("/on", f"must be a date from {FIRST_DAY} to {LAST_DAY}")])
    kind, standings, days = ABOUT[group]
    chosen = given.get("standing")
    if chosen is not None and chosen not in standings:
        return None
    first, _ = default_span(book, user, on, None, now)
    return {
        **given,
        "first": max(first + timedelta(days=min(days, 0)), FIRST_DAY),
        "last": min(first + timedelta(days=max(days, -1)), LAST_DAY),
        "kinds": frozenset({kind}),
        "standing": standings if chosen is None else chosen,
    }


def begin_morning(
    connection: Connection, book: RuleBook, user: User, given: Mapping[str, Any], most: int, now: datetime
) -> Callable[[Reading], dict[str, Any]]:
    """Begin to answer with every group: how many deadlines it has, and the first of them, `most` at most.

    `given` as for `sought`. To finish takes a way to open transactions, for none is open while dates are computed.
    """
    refuse_unconfigured(book, given)
    today, _ = default_span(book, user, None, None, now)
    asked = {group: sought(book, user, group, given, now) for group in GROUPS}
    begun = begin(connection, book, user, Sought(today, today, state=given.get("state"), q=given.get("q")))

    def finish(reading: Reading) -> dict[str, Any]:
        found = {group: _group(begun, of, most, reading, now) for group, of in asked.items()}
        return {
            "as_of": today,
            "rulebook": versions(book),
            "accounts": len(begun.accounts.client_ids),
            "groups": {group: {**answer, "days": ABOUT[group].days} for group, answer in found.items()},
        }

    return finish


def begin_month(
    connection: Connection, book: RuleBook, user: User, month: str | None, given: Mapping[str, Any], now: datetime
) -> Callable[[Reading], dict[str, Any]]:
    """Begin to answer with a month (`YYYY-MM`; None: this one): for each day and kind, how many deadlines, and of whom.

    `given` are filters of Sought. Those who are named are the first of each day and kind.
    """
    refuse_unconfigured(book, given)
    today, _ = default_span(book, user, None, None, now)
    first = today.replace(day=1) if month is None else date.fromisoformat(f"{month}-01")
    last = min(first + relativedelta(day=31), LAST_DAY)
    if first < FIRST_DAY:
        raise InvalidInput([Fault("/month", f"must not be before {FIRST_DAY:%Y-%m}")])
    begun = begin(connection, book, user, Sought(**{**given, "first": first, "last": last}))

    def finish(reading: Reading) -> dict[str, Any]:
        found = begun.finish(reading(), now)
        days: dict[date, list[dict[str, Any]]] = {}
        for day, kind, count, named in found.by_day(NAMED):
            days.setdefault(day, []).append({"kind": kind, "count": count, "named": named})
        return {
            "as_of": today,
            "first": first,
            "last": last,
            "counts": found.counts["kind"],
            "incomplete_count": found.incomplete_count,
            "days": days,
        }

    return finish


NAMED: Final = 2


def _group(begun: Begun, asked: Mapping[str, Any] | None, most: int, reading: Reading, now: datetime) -> dict[str, Any]:
    if asked is None:
        return {"count": 0, "data": []}
    found = replace(begun, sought=Sought(**asked)).finish(reading(), now)
    return {"count": sum(found.counts["kind"].values()), "data": list(islice(found.rows(), most))}
