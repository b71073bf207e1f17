"""How rules are written: the one strict reader behind `states.toml`, JSON bodies and the command line.

Each rule of the specification has a schema here that loads plain data into its value in `ebill.rules`. Fields are
stricter than marshmallow's own: a whole number is an int and nothing that looks like one, text is normalised and
free of control characters, an unknown key is refused with the nearest known one. `faults` turns what marshmallow
found into our own list, every fault with its place.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from functools import cache
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, ClassVar, Final, cast
from zoneinfo import available_timezones

import numpy as np
import tzdata
from marshmallow import ValidationError, fields, post_load, validates_schema

from ebill.dates import FIRST_DAY, FIRST_MONTH, LAST_DAY, LAST_MONTH, ROLLS, WEEKDAYS, as_month
from ebill.errors import Fault, did_you_mean, pointer
from ebill.plainly import NotPlain, Plain
from ebill.rules import (
    INHERITED,
    CalendarName,
    DayOfMonth,
    DaysBeforeDue,
    Due,
    GraceDays,
    GraceFloor,
    GraceMonths,
    Inherited,
    Kind,
    NthBusinessDay,
    NthWeekday,
    PayBy,
    Posting,
    Rule,
    SkipCoverageMonths,
    Timezone,
)

TEXT_LIMIT: Final = 500
"""Characters of a name, a reason or a citation."""
MOST_HINTS: Final = 20
"""Unknown keys for which the nearest known one is looked for: it takes a while."""
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MOMENT_PATTERN: Final = (
    r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}"
    r"(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?$"
)
_MOMENT = re.compile(MOMENT_PATTERN)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
WORD_PATTERN: Final = r"^[A-Za-z0-9_-]{1,32}$"
_WORD = re.compile(WORD_PATTERN)
CALENDAR_PATTERN: Final = r"^[A-Za-z0-9-]{1,16}$"
_CALENDAR = re.compile(CALENDAR_PATTERN)
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Strict(Plain):
    """A table of known keys: an unknown one is refused, with the nearest known one."""

    about_keys = frozenset({"refuse_unknown"})

    class Meta:
        """Keys beyond `fields` are refused by `refuse_unknown`, which knows their neighbours."""

        unknown = "include"
        ordered = True

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_unknown(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        """Name every key that is not known."""
        if isinstance(original, Mapping):
            known = [field.data_key or name for name, field in self.fields.items()]
            unknown = [key for key in original if key not in known]
            if unknown:
                hints = [did_you_mean(key, known) for key in unknown[:MOST_HINTS]]
                raise ValidationError(
                    {key: ["unknown key" + hint] for key, hint in zip_longest(unknown, hints, fillvalue="")}
                )


class Whole(fields.Field[int]):
    """A whole number within bounds: an int, never `true`, `1.0` or `"1"`."""

    def __init__(self, low: int, high: int, *, zero: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high, self.zero = low, high, zero
        self.metadata = {
            "minimum": low,
            "maximum": high,
            **({} if zero else {"not": {"const": 0}}),
            **self.metadata,
        }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int:
        if type(value) is not int:
            raise ValidationError(f"must be a whole number from {self._range}")
        if not self.low <= value <= self.high or (value == 0 and not self.zero):
            raise ValidationError(f"must be from {self._range}")
        return value

    @property
    def _range(self) -> str:
        return f"{self.low} to {self.high}" if self.zero else f"{self.low} to {self.high}, without 0"


class Choice(fields.Field[str]):
    """One of a few words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words
        self.metadata = {"enum": list(words), **self.metadata}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if type(value) is not str or value not in self.words:
            raise ValidationError(f"must be one of {', '.join(self.words)}{did_you_mean(value, self.words)}")
        return value


class Word(fields.Field[str]):
    """A name that something configured may have. Whether it has, the rule book says."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if type(value) is not str or not _WORD.fullmatch(value):
            raise ValidationError("must be a name: letters, digits, - and _, at most 32")
        return value


class Text(fields.Field[str]):
    """Text a person wrote: NFC, one line, 1 to 500 characters, no control characters and no bidirectional controls."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if type(value) is not str:
            raise ValidationError("must be text")
        if len(value) > 4 * TEXT_LIMIT:
            raise ValidationError(f"must be at most {TEXT_LIMIT} characters")
        if any(unicodedata.category(sign) in _REFUSED_CATEGORIES or sign in _BIDI_CONTROLS for sign in value):
            raise ValidationError("must be plain text, without control characters")
        text: str = unicodedata.normalize("NFC", value)
        if not text.strip():
            raise ValidationError("must not be empty")
        if len(text) > TEXT_LIMIT:
            raise ValidationError(f"must be at most {TEXT_LIMIT} characters")
        return text


class Month(fields.Field[np.datetime64]):
    """A coverage month, `YYYY-MM`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> np.datetime64:
        if type(value) is not str:
            raise ValidationError('must be a coverage month in quotes, such as "2026-08"')
        try:
            return as_month(value)
        except ValueError as error:
            raise ValidationError(f"must be a coverage month from {FIRST_MONTH} to {LAST_MONTH}: {error}") from None


class Day(fields.Field[date]):
    """A calendar date in JSON, `YYYY-MM-DD`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> date:
        return read_day(value)


class TomlDay(fields.Field[date]):
    """A calendar date in TOML, which has dates: one in quotes is text, and one with a time is another thing."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> date:
        if type(value) is not date:
            raise ValidationError("must be a date without quotes and without a time, such as 2026-12-24")
        if not FIRST_DAY <= value <= LAST_DAY:
            raise ValidationError(f"must be a date from {FIRST_DAY} to {LAST_DAY}")
        return value


class Moment(fields.Field["date | datetime"]):
    """A date, or a date-time with seconds and offset as you like; without an offset it is local to the account."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> date | datetime:
        return read_moment(value)


class Clock(fields.Field[time]):
    """A wall time, `HH:MM`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> time:
        if type(value) is not str or not _CLOCK.fullmatch(value):
            raise ValidationError('must be a wall time from "00:00" to "23:59"')
        return time.fromisoformat(value)


class Flag(fields.Field[bool]):
    """True or false, and nothing like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:
        if type(value) is not bool:
            raise ValidationError("must be true or false")
        return value


class Calendar(fields.Field[CalendarName]):
    """The name of a calendar. Whether there is one of that name, the rule book says."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> CalendarName:
        if type(value) is not str or not _CALENDAR.fullmatch(value) or value == INHERITED:
            raise ValidationError("must be the name of a calendar, such as XFED or US-PA")
        return CalendarName(value)


@cache
def zones() -> frozenset[str]:
    """Give the names of all zones but those that mean whatever a machine is set to."""
    return frozenset(available_timezones() - {"Factory", "localtime"})


@cache
def _shipped_zones() -> frozenset[str]:
    """Give those that `tzdata` lists, in a hundredth of the time that it takes to look for all."""
    listed = Path(tzdata.__file__).with_name("zones").read_text("utf-8").split()
    return frozenset(listed) - {"Factory", "localtime"}


def _near_zone(name: str) -> str:
    """Give `did_you_mean` of the zones whose place has the same initial: all of them would cost milliseconds a name."""
    initial = name.rpartition("/")[2][:1].lower()
    return did_you_mean(name, [zone for zone in zones() if zone.rpartition("/")[2][:1].lower() == initial])


class Zone(fields.Field[Timezone]):
    """The IANA name of a time zone."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Timezone:
        if type(value) is not str or (value not in _shipped_zones() and value not in zones()):
            hint = _near_zone(value) if type(value) is str and value.isascii() else ""
            raise ValidationError(f"must be the name of a time zone, such as America/New_York{hint}")
        return Timezone(value)


class SkippedMonths(fields.Field[SkipCoverageMonths]):
    """Months of the year without an invoice: 1..12, each once, and never all twelve."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> SkipCoverageMonths:
        if type(value) is not list or len(value) > 12:
            raise ValidationError("must be a list of months of the year, such as [7, 8]")
        errors = {
            index: ["must be a month of the year, 1 to 12"]
            for index, month in enumerate(value)
            if type(month) is not int or not 1 <= month <= 12
        }
        if errors:
            raise ValidationError(cast("dict[str, Any]", errors))
        if len(set(value)) < len(value):
            raise ValidationError("must name each month once")
        if len(value) == 12:
            raise ValidationError("must leave at least one month with an invoice")
        return SkipCoverageMonths(tuple(sorted(value)))


class RuleSchema(Strict):
    """A rule written as a table; loads into its value."""

    rule: ClassVar[type[Rule]]

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Rule:
        """Make the value."""
        return self.rule(**data)


def _roll() -> Choice:
    return Choice(*ROLLS, load_default="none")


class DueSchema(RuleSchema):
    """`{day = 1, month_offset = 0, roll}`."""

    rule = Due
    day = Whole(-31, 31, zero=False, required=True)
    month_offset = Whole(-3, 3, load_default=0)
    roll = _roll()


class DaysBeforeDueSchema(RuleSchema):
    """`{days_before_due = 20}`."""

    rule = DaysBeforeDue
    days_before_due = Whole(1, 90, required=True)
    roll = _roll()


class MonthlySchema(RuleSchema):
    """What the three monthly kinds share."""

    months_before_due = Whole(0, 3, load_default=None, allow_none=False)
    roll = _roll()


class DayOfMonthSchema(MonthlySchema):
    """`{day_of_month = 12}`."""

    rule = DayOfMonth
    day_of_month = Whole(-31, 31, zero=False, required=True)


class NthWeekdaySchema(MonthlySchema):
    """`{weekday = "TH", nth = 3}`."""

    rule = NthWeekday
    weekday = Choice(*WEEKDAYS, required=True)
    nth = Whole(-4, 4, zero=False, required=True)


class NthBusinessDaySchema(MonthlySchema):
    """`{business_day = 5}`."""

    rule = NthBusinessDay
    business_day = Whole(-15, 15, zero=False, required=True)


class GraceDaysSchema(RuleSchema):
    """`{days = 30, counting = "after_due"}`."""

    rule = GraceDays
    days = Whole(0, 366, required=True)
    counting = Choice("after_due", "from_due", load_default="after_due")
    roll = _roll()


class GraceMonthsSchema(RuleSchema):
    """`{calendar_months = 2}`."""

    rule = GraceMonths
    calendar_months = Whole(1, 12, required=True)
    roll = _roll()


class PayBySchema(RuleSchema):
    """`{days_before_next_invoice = 3, unit = "calendar"}`."""

    rule = PayBy
    days_before_next_invoice = Whole(1, 60, required=True)
    unit = Choice("calendar", "business", load_default="calendar")
    roll = _roll()


class PostingSchema(RuleSchema):
    """`{min_business_days = 2, max_business_days = 3, cutoff = "17:00"}`."""

    rule = Posting
    min_business_days = Whole(0, 30, required=True)
    max_business_days = Whole(0, 30, required=True)
    cutoff = Clock(required=True)

    @validates_schema(skip_on_field_errors=False)
    def refuse_reversed(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse a range that runs backward."""
        few, many = data.get("min_business_days"), data.get("max_business_days")
        if few is not None and many is not None and few > many:
            raise ValidationError({"max_business_days": ["must not be less than min_business_days"]})


class OneOf(fields.Field[Rule]):
    """A rule that comes in several kinds, told apart by one key that only its kind has."""

    def __init__(self, kinds: Mapping[str, type[RuleSchema]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kinds = {key: schema() for key, schema in kinds.items()}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Rule:
        if not isinstance(value, dict):
            raise ValidationError(f"must be a table with one of {self._keys}")
        named = [key for key in self.kinds if key in value]
        if len(named) > 1:
            raise ValidationError(f"must have only one of {' and '.join(named)}")
        if not named:
            hints = {key: did_you_mean(key, self.kinds) for key in islice(value, MOST_HINTS)}
            near = {key: ["unknown key" + hint] for key, hint in hints.items() if hint}
            raise ValidationError(near or f"must have one of {self._keys}")
        return cast(Rule, self.kinds[named[0]].load(value))

    def plainly(self, value: Any) -> Rule:
        """Read a rule in which nothing is wrong, or raise NotPlain: see `ebill.plainly`."""
        named = [schema for key, schema in self.kinds.items() if key in value] if type(value) is dict else []
        if len(named) != 1:
            raise NotPlain
        return cast(Rule, named[0].plainly(value))

    @property
    def _keys(self) -> str:
        return ", ".join(self.kinds)


GENERATION_KINDS: Final[Mapping[str, type[RuleSchema]]] = {
    "days_before_due": DaysBeforeDueSchema,
    "day_of_month": DayOfMonthSchema,
    "weekday": NthWeekdaySchema,
    "business_day": NthBusinessDaySchema,
}
GRACE_KINDS: Final[Mapping[str, type[RuleSchema]]] = {
    "days": GraceDaysSchema,
    "calendar_months": GraceMonthsSchema,
}


class Floor(OneOf):
    """A grace that no rule may undercut, written like a grace."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(GRACE_KINDS, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Rule:
        return GraceFloor(cast(Any, super()._deserialize(value, attr, data)))

    def plainly(self, value: Any) -> Rule:
        """Read a floor as `OneOf.plainly`."""
        return GraceFloor(cast(Any, super().plainly(value)))


class RulesSchema(Strict):
    """Rules by kind, as a request gives them: each optional, each replacing the whole rule below it."""

    due: fields.Field[Any] = fields.Nested(DueSchema)
    generation: fields.Field[Any] = OneOf(GENERATION_KINDS)
    grace: fields.Field[Any] = OneOf(GRACE_KINDS)
    pay_by: fields.Field[Any] = fields.Nested(PayBySchema)
    posting: fields.Field[Any] = fields.Nested(PostingSchema)
    calendar: fields.Field[Any] = Calendar()
    timezone: fields.Field[Any] = Zone()
    skip_coverage_months: fields.Field[Any] = SkippedMonths()


class OrInherited(fields.Field[Rule]):
    """A rule of a client or an account; or `inherited`: it has none, and what the layers below say shows through."""

    def __init__(self, written: fields.Field[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.written = written

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Rule:
        if value == INHERITED:
            return Inherited(cast(Kind, self.name))
        if type(value) is str and not isinstance(self.written, Calendar | Zone):
            raise ValidationError(f'must be a rule, or "{INHERITED}"')
        return cast(Rule, self.written.deserialize(value, attr, data))


class OwnRulesSchema(RulesSchema):
    """Rules by kind, of a client or an account, which may also have none of its own."""

    due = OrInherited(fields.Nested(DueSchema))
    generation = OrInherited(OneOf(GENERATION_KINDS))
    grace = OrInherited(OneOf(GRACE_KINDS))
    pay_by = OrInherited(fields.Nested(PayBySchema))
    posting = OrInherited(fields.Nested(PostingSchema))
    calendar = OrInherited(Calendar())
    timezone = OrInherited(Zone())
    skip_coverage_months = OrInherited(SkippedMonths())


KINDS: Final = cast("tuple[Kind, ...]", (*RulesSchema().fields, "grace_floor"))


class RowSchema(RulesSchema):
    """A dated rule: the first coverage month it governs, one rule, and who says so."""

    since = Month(required=True)
    cite = Text(required=True)
    assumed = Flag(load_default=False)
    grace_floor = Floor()

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_other_than_one(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        """Refuse a row of several rules, or none: each rule has a citation of its own."""
        named = [kind for kind in KINDS if isinstance(original, Mapping) and kind in original]
        if isinstance(original, Mapping) and len(named) != 1:
            found = "this one has " + (" and ".join(named) if named else "none")
            raise ValidationError(f"a row must have exactly one rule; {found}")


def read_day(value: Any) -> date:
    """Read `YYYY-MM-DD` of the supported years; marshmallow's ValidationError for anything else."""
    try:
        if type(value) is str and _DAY.fullmatch(value) and FIRST_DAY <= (day := date.fromisoformat(value)) <= LAST_DAY:
            return day
    except ValueError:
        pass
    raise ValidationError(f"must be a date YYYY-MM-DD that exists, from {FIRST_DAY} to {LAST_DAY}")


def read_moment(value: Any) -> date | datetime:
    """Read `YYYY-MM-DD` or `YYYY-MM-DDTHH:MM[:SS[.ffffff]][offset]`; ValidationError for anything else.

    It is of the supported days as it is written; with an offset, its local day may be another one.
    """
    try:
        if type(value) is not str or "T" not in value:
            return read_day(value)
        if _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value)
    except (ValueError, ValidationError):
        pass
    raise ValidationError(
        "must be a date that exists, or a date-time such as 2026-07-02T16:00 or 2026-07-02T16:00-04:00, "
        f"from {FIRST_DAY} to {LAST_DAY}"
    )


def faults(messages: Any, *path: object) -> list[Fault]:
    """Flatten what marshmallow found (nested by key, or a list of sentences) into faults with their places."""
    return [Fault(pointer(*place), detail) for place, detail in flatten(messages, *path)]


def flatten(messages: Any, *path: object) -> Iterator[tuple[tuple[object, ...], str]]:
    """Give each sentence of a nested finding with the path of keys and indexes that leads to it."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from flatten(inner, *path, *(() if key == "_schema" else (key,)))
    elif isinstance(messages, Sequence) and not isinstance(messages, str):
        for inner in messages:
            yield from flatten(inner, *path)
    else:
        yield path, _plain(str(messages))


def _plain(sentence: str) -> str:
    """Say marshmallow's own few sentences in our way."""
    return {
        "Missing data for required field.": "is required",
        "Field may not be null.": "must not be null",
        "Invalid input type.": "must be a table of keys and values",
        "Not a valid list.": "must be a list",
    }.get(sentence, sentence)
