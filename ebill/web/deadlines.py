"""The route of deadlines: every one of everyone the caller may see, in JSON page by page, whole in CSV or iCalendar."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, TypedDict

from flask import request
from marshmallow import ValidationError, fields, post_load, validates_schema

from ebill import errors
from ebill.deadlines import KINDS, Kind
from ebill.errors import did_you_mean
from ebill.grammar import Choice, Day, Strict, Word
from ebill.render import ics, listed
from ebill.service import calendars, deadlines
from ebill.service.clients import refuse_unconfigured
from ebill.service.deadlines import Deadline, Found, Sought
from ebill.service.forms import Id
from ebill.service.invoices import Version
from ebill.service.listing import PAGE, PAGE_MOST
from ebill.standing import STANDINGS, Standing
from ebill.web.clients import next_page
from ebill.web.queries import Cursor, Number
from ebill.web.routes import Csv, Given, Ics, Later, Route, Signed

FORMATS: Final[Mapping[str, str]] = {"json": "application/json", "csv": "text/csv", "ics": "text/calendar"}


class Kinds(fields.Field[frozenset[Kind]]):
    """Kinds of deadline, parted by commas."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        one = f"({'|'.join(KINDS)})"
        self.metadata = {"type": "string", "pattern": f"^{one}(,{one})*$", "examples": ["due,grace_end"]}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> frozenset[Kind]:
        named = value.split(",") if len(value) < _KINDS_MOST else [value]
        for name in named:
            if name not in KINDS:
                hint = did_you_mean(name, KINDS)
                raise ValidationError(f"must be one of {', '.join(KINDS)}, or several with commas between{hint}")
        if len(set(named)) < len(named):
            raise ValidationError("must name each kind once")
        return frozenset(named)


_KINDS_MOST: Final = len(",".join(KINDS)) + 1


class DeadlinesSchema(Strict):
    """Which deadlines, in which format, and which page of them."""

    from_ = Day(data_key="from")
    to = Day()
    kind = Kinds()
    state = Word()
    client = Id()
    product = Word()
    standing = Choice(*STANDINGS)
    as_of = Day()
    format = Choice(*FORMATS)
    limit = Number(1, PAGE_MOST)
    cursor = Cursor()

    @validates_schema
    def refuse_span(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse a span that is reversed or too long."""
        if "from_" in data and "to" in data:
            try:
                deadlines.refuse_span(data["from_"], data["to"])
            except errors.InvalidInput as refusal:
                raise ValidationError({fault.pointer[1:]: [fault.detail] for fault in refusal.faults}) from None

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Call what is sought as the service does."""
        called = {"from_": "first", "to": "last", "kind": "kinds", "client": "client_id"}
        return {called.get(name, name): value for name, value in data.items()}


class DeadlineCounts(TypedDict):
    """How many deadlines the whole list has, of each kind and of each standing of their invoices."""

    kind: dict[Kind, int]
    standing: dict[Standing, int]


class IncompleteAccount(TypedDict):
    """An account of which some dates cannot be told, and why; what can be told of it is in the list."""

    client_id: str
    account_id: str
    code: str
    detail: str


class DeadlineRow(TypedDict):
    """A date of an invoice, and where the invoice stands."""

    date: date
    kind: Kind
    client_id: str
    account_id: str
    coverage_month: str
    standing: Standing
    client_name: str
    account_name: str
    state: str
    product: str | None


DeadlinePage = TypedDict(
    "DeadlinePage",
    {
        "from": date,
        "to": date,
        "as_of": date | None,
        "rulebook": Version,
        "counts": DeadlineCounts,
        "incomplete_count": int,
        "incomplete": list[IncompleteAccount],
        "data": list[DeadlineRow],
        "next_cursor": str | None,
    },
)
DeadlinePage.__doc__ = """Some of the deadlines, the soonest first; `next_cursor` leads to the next page.

Where `as_of` is null, standings are as of today in each account's own zone.
"""


def list_deadlines(asked: Signed) -> Later:
    """List every deadline of the clients that you may see, soonest first: by default those of the next 14 days.

    At most 24 months at once; a filter does not widen the span: what is in grace now may end it later than in 14 days,
    so ask for longer. Of one day they are by kind, then by client, account and coverage month. JSON comes page by page,
    `Link` leading to the next one; CSV and iCalendar, by `Accept` or `format`, have all of them.
    """
    sought = dict(asked.query)
    form = sought.pop("format", None) or _accepted()
    limit, cursor = sought.pop("limit", None), sought.pop("cursor", None)
    if form == "json":
        page = deadlines.begin_page(
            asked.connection, asked.book, asked.user, sought, limit or PAGE, cursor, asked.seal, asked.now
        )
        return Later(lambda reading: _page(page(reading)))
    paging = [name for name, value in (("limit", limit), ("cursor", cursor)) if value is not None]
    if paging:
        raise errors.InvalidInput([errors.Fault(f"/{name}", f"is for JSON alone: {form} has all") for name in paging])
    refuse_unconfigured(asked.book, sought)
    first, last = deadlines.default_span(asked.book, asked.user, sought.get("first"), sought.get("last"), asked.now)
    begun = deadlines.begin(
        asked.connection, asked.book, asked.user, Sought(**{**sought, "first": first, "last": last})
    )
    return Later(lambda reading: _whole(begun.finish(reading, asked.now), form, asked))


def _page(body: dict[str, Any]) -> Given:
    return Given(body, headers={**next_page(body["next_cursor"]), **_VARY})


def _whole(found: Found, form: str, asked: Signed) -> Given:
    if form == "csv":
        written = listed.as_csv(Deadline, found.rows())
    else:
        events = calendars.events(found.rows(), asked.seal.calendars, asked.now, names=True)
        written = ics.calendar(events, "Invoice deadlines", asked.now)
    headers = {
        "Content-Type": f"{FORMATS[form]}; charset=utf-8",
        "Content-Disposition": f'attachment; filename="deadlines.{form}"',
        "Incomplete-Accounts": str(found.incomplete_count),
    }
    return Given(written, headers={**headers, **_VARY})


def _accepted() -> str:
    """Give the format that the caller likes best of those there are; JSON, where it likes none of them."""
    liked = request.accept_mimetypes.best_match(FORMATS.values(), FORMATS["json"])
    return next(name for name, kind in FORMATS.items() if kind == liked)


_VARY: Final = {"Vary": "Authorization, Accept"}

ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/deadlines",
        allows="read_client",
        view=list_deadlines,
        summary="Deadlines across clients",
        gives=DeadlinePage,
        also_gives=(Csv, Ics),
        query=DeadlinesSchema,
        example={"from": "2026-08-01", "to": "2026-08-14", "kind": "due,grace_end", "state": "PA", "limit": 50},
        refuses=(errors.ClientNotFound,),
    ),
)
