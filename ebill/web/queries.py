"""What a query may say: text, read as strictly as a body, into what the routes ask the services by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, cast

from marshmallow import ValidationError, fields, post_load, validates_schema

from ebill.dates import LAST_MONTH
from ebill.errors import BadRequest
from ebill.grammar import Choice, Day, Flag, Month, Strict, Text, Whole, Word, read_moment
from ebill.questions import MOST_MONTHS
from ebill.service.clients import Window
from ebill.service.forms import Id
from ebill.service.listing import PAGE, PAGE_MOST
from ebill.store.tables import ROLES

CURSOR_MOST: Final = 1000
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")


class Number(Whole):
    """A whole number in ASCII digits."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        number = int(value) if _NUMBER.fullmatch(value) else value
        return super()._deserialize(number, attr, data, **kwargs)


class Switch(Flag):
    """`true` or `false`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        return super()._deserialize({"true": True, "false": False}.get(value), attr, data, **kwargs)


class Instant(fields.Field[datetime]):
    """A date-time with its offset, such as `2026-07-02T16:00:00Z`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> datetime:
        with suppress(ValidationError):
            moment = read_moment(value)
            if isinstance(moment, datetime) and moment.tzinfo is not None:
                return moment
        raise ValidationError(
            "must be an instant with its offset, such as 2026-07-02T16:00:00Z (in an address, + is written %2B)"
        )


class Cursor(fields.Field[str]):
    """The cursor of a page, as an answer gave it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if len(value) > CURSOR_MOST:
            raise BadRequest("This cursor is none of ours.")
        return cast(str, value)


class DryRunSchema(Strict):
    """Whether a change is only tried."""

    dry_run = Switch(load_default=False)


class ScheduleSchema(Strict):
    """Which coverage months are asked for, as of which day, and as known when."""

    from_ = Month(data_key="from")
    months = Number(1, MOST_MONTHS, load_default=12)
    as_of = Day()
    known_at = Instant()
    explain = Switch(load_default=False)

    @validates_schema
    def refuse_beyond(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse a span beyond the supported months."""
        if "from_" in data and data["from_"] + (data["months"] - 1) > LAST_MONTH:
            raise ValidationError({"months": [f"must end by {LAST_MONTH}, the last supported coverage month"]})

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Window:
        """Make the value."""
        return Window(
            first=data.get("from_"),
            count=data["months"],
            as_of=data.get("as_of"),
            known_at=data.get("known_at"),
            explain=data["explain"],
        )


class ClientsSchema(Strict):
    """Which clients, and which page of them."""

    state = Word()
    product = Word()
    team_id = Id(data_key="team")
    q = Text()
    limit = Number(1, PAGE_MOST, load_default=PAGE)
    cursor = Cursor()


class UsersSchema(Strict):
    """Which users, and which page of them."""

    q = Text()
    role = Choice(*ROLES)
    disabled = Switch()
    limit = Number(1, PAGE_MOST, load_default=PAGE)
    cursor = Cursor(load_default=None)


class AuditSchema(Strict):
    """Which rows of the audit, of UTC days `from` one `to` another, and which page of them."""

    client_id = Id()
    actor = Id()
    action = Word()
    first = Day(data_key="from")
    last = Day(data_key="to")
    newest = Switch(load_default=False)
    limit = Number(1, PAGE_MOST, load_default=PAGE)
    cursor = Cursor(load_default=None)
