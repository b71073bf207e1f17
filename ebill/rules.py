"""A rule: an immutable value that applies itself and says itself.

`apply` takes the days (or months) a rule counts from and a calendar, and gives the days it means, shape for shape;
`str()` is the sentence that explains it. Both work from the same fields, whose names are the ones used in TOML,
JSON and the database. A rule computes first (`unrolled`) and rolls last; what builds on it builds on the rolled day.

A rule branches on its terms and broadcasts over days. Those of one `shape` branch alike and differ in one number: of
them all, a single rule is made whose number is a column (`with_numbers`), and it gives the days of each in a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import MISSING, dataclass, fields, replace
from datetime import time
from functools import cache
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
import numpy.typing as npt

from ebill.dates import (
    WEEKDAYS,
    Calendar,
    Days,
    Months,
    Roll,
    Weekday,
    day_of_month,
    last_of,
    latest_before,
    month_of,
    nth_weekday,
)

Kind = Literal[
    "due",
    "generation",
    "grace",
    "pay_by",
    "posting",
    "calendar",
    "timezone",
    "skip_coverage_months",
    "grace_floor",
]
Counting = Literal["after_due", "from_due"]
Unit = Literal["calendar", "business"]

INHERITED: Final = "inherited"
"""How `Inherited` is written."""

_ROLLED: Final[dict[Roll, str]] = {
    "none": "",
    "following": ", or the next business day",
    "modified_following": ", or the next business day, or the one before where the next is in another month",
    "preceding": ", or the business day before",
}
_BACK: Final = ("none", "preceding")
_ON: Final = ("none", "following")
"""The rolls that never move a day later, and those that never move one earlier."""
_WEEKDAY_NAMES: Final[dict[Weekday, str]] = {
    "MO": "Monday",
    "TU": "Tuesday",
    "WE": "Wednesday",
    "TH": "Thursday",
    "FR": "Friday",
    "SA": "Saturday",
    "SU": "Sunday",
}
MONTH_NAMES: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def ordinal(number: int) -> str:
    """Say 1st, 2nd, 3rd, 11th; below 0 from the end: "last", "2nd to last".

    >>> [ordinal(number) for number in (1, 2, 3, 11, 22, -1, -3)]
    ['1st', '2nd', '3rd', '11th', '22nd', 'last', '3rd to last']
    """
    if number == -1:
        return "last"
    size = abs(number)
    suffix = "th" if size % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(size % 10, "th")
    return f"{size}{suffix}" + (" to last" if number < 0 else "")


def counted(number: int, unit: str) -> str:
    """Say `1 day`, `2 days`."""
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


class Rule(ABC):
    """What every rule can do: say itself, and give its fields as data in the words of the rule book."""

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """Which rule of an invoice this is."""

    @abstractmethod
    def __str__(self) -> str:
        """Say the rule in a sentence's worth of words."""

    def as_data(self) -> Any:
        """Give the rule as it is written in TOML and JSON, leaving out what is at its default."""
        given = {}
        for field in fields(self):  # type: ignore[arg-type]  # every concrete rule is a dataclass
            value = getattr(self, field.name)
            if value is not None and (field.default is MISSING or value != field.default):
                given[field.name] = value.strftime("%H:%M") if isinstance(value, time) else value
        return given


class DayRule(Rule):
    """A rule that gives days: computes from the days or months it counts from, then rolls."""

    number: ClassVar[str]
    """The field that rules of one shape differ in."""
    roll: Roll

    @property
    def shape(self) -> tuple[Hashable, ...]:
        """What the rule branches on: all but its number, and from which end that counts."""
        rest = (getattr(self, name) for name in _rest(type(self)))
        return type(self), getattr(self, self.number) > 0, *rest

    def with_numbers(self, numbers: npt.NDArray[np.int64]) -> Self:
        """Make one rule of many of this shape, from the number of each; it has `unrolled` and `apply`, but no words."""
        return replace(self, **{self.number: numbers})  # type: ignore[type-var]  # as below

    @abstractmethod
    def unrolled(self, origin: Days, calendar: Calendar) -> Days:
        """Compute the days before any roll."""

    def apply(self, origin: Days, calendar: Calendar) -> Days:
        """Compute the days the rule means, same shape as `origin`; NaT where the calendar has no evidence."""
        return calendar.roll(self.unrolled(origin, calendar), self.roll)

    @property
    def counts_business_days(self) -> bool:
        """Whether closed days were passed over even before any roll."""
        return False


@cache
def _rest(rule: type[DayRule]) -> list[str]:
    """Give the names of the fields that are not the number."""
    return [field.name for field in fields(rule) if field.name != rule.number]  # type: ignore[arg-type]  # as above


@dataclass(frozen=True, slots=True)
class Due(DayRule):
    """The due date: a day of the coverage month, or of one up to 3 months before or after it. Counts from months."""

    kind: ClassVar[Kind] = "due"
    number: ClassVar[str] = "day"
    day: int
    month_offset: int = 0
    roll: Roll = "none"

    def unrolled(self, origin: Months, calendar: Calendar) -> Days:
        return day_of_month(origin + self.month_offset, self.day)

    def __str__(self) -> str:
        where = "the coverage month"
        if self.month_offset:
            distance = "" if abs(self.month_offset) == 1 else f"{ordinal(abs(self.month_offset))} "
            where = f"the {distance}month {'after' if self.month_offset > 0 else 'before'} {where}"
        return f"the {ordinal(self.day)}{' day' if self.day < 0 else ''} of {where}{_ROLLED[self.roll]}"


class Generation(DayRule):
    """The generation date. Counts from due dates."""

    kind: ClassVar[Kind] = "generation"

    @property
    def keeps_order(self) -> bool:
        """Whether it is plain, without looking at any month, that each day is before the due date it counts from."""
        return False


@dataclass(frozen=True, slots=True)
class DaysBeforeDue(Generation):
    """So many calendar days before the due date."""

    number: ClassVar[str] = "days_before_due"
    days_before_due: int
    roll: Roll = "none"

    def unrolled(self, origin: Days, calendar: Calendar) -> Days:
        return origin - self.days_before_due

    @property
    def keeps_order(self) -> bool:
        return self.days_before_due > 0 and self.roll in _BACK

    def __str__(self) -> str:
        return f"{counted(self.days_before_due, 'day')} before the due date{_ROLLED[self.roll]}"


class Monthly(Generation):
    """A day that every month has.

    It is the latest one strictly before the due date, or, with `months_before_due`, that of the month so many before
    the due date's.
    """

    months_before_due: int | None

    @abstractmethod
    def in_month(self, months: Months, calendar: Calendar) -> Days:
        """Give the day of each month."""

    @abstractmethod
    def name(self) -> str:
        """Say the day, without its month: `12th`, `3rd Thursday`."""

    def unrolled(self, origin: Days, calendar: Calendar) -> Days:
        if self.months_before_due is None:
            return latest_before(origin, lambda months: self.in_month(months, calendar))
        return self.in_month(month_of(origin) - self.months_before_due, calendar)

    @property
    def keeps_order(self) -> bool:
        return self.months_before_due is None and self.roll in _BACK

    def __str__(self) -> str:
        if self.months_before_due is None:
            where = "of a month, before the due date"
        elif self.months_before_due == 0:
            where = "of the due date's month"
        else:
            where = f"of the month {counted(self.months_before_due, 'month')} before the due date's"
        latest = "latest " if self.months_before_due is None else ""
        return f"the {latest}{self.name()} {where}{_ROLLED[self.roll]}"


@dataclass(frozen=True, slots=True)
class DayOfMonth(Monthly):
    """A day 1..31 of the month, or -1..-31 counted back from its end."""

    number: ClassVar[str] = "day_of_month"
    day_of_month: int
    months_before_due: int | None = None
    roll: Roll = "none"

    def in_month(self, months: Months, calendar: Calendar) -> Days:
        return day_of_month(months, self.day_of_month)

    def name(self) -> str:
        return ordinal(self.day_of_month) + (" day" if self.day_of_month < 0 else "")


@dataclass(frozen=True, slots=True)
class NthWeekday(Monthly):
    """The nth weekday of the month, -1 being the last."""

    number: ClassVar[str] = "nth"
    weekday: Weekday
    nth: int
    months_before_due: int | None = None
    roll: Roll = "none"

    def in_month(self, months: Months, calendar: Calendar) -> Days:
        return nth_weekday(months, WEEKDAYS.index(self.weekday), self.nth)

    def name(self) -> str:
        return f"{ordinal(self.nth)} {_WEEKDAY_NAMES[self.weekday]}"


@dataclass(frozen=True, slots=True)
class NthBusinessDay(Monthly):
    """The nth business day of the month, negative from its end."""

    number: ClassVar[str] = "business_day"
    business_day: int
    months_before_due: int | None = None
    roll: Roll = "none"

    def in_month(self, months: Months, calendar: Calendar) -> Days:
        return calendar.nth_business_day(months, self.business_day)

    def name(self) -> str:
        return f"{ordinal(self.business_day)} business day"

    @property
    def keeps_order(self) -> bool:
        return False  # of a month that is closed throughout, it is a day of the next

    @property
    def counts_business_days(self) -> bool:
        return True


class Grace(DayRule):
    """The last day a payment still keeps coverage. Counts from due dates."""

    kind: ClassVar[Kind] = "grace"

    @property
    def keeps_order(self) -> bool:
        """Whether it is plain, without looking at any month, that no day is before the due date it counts from."""
        return False


@dataclass(frozen=True, slots=True)
class GraceDays(Grace):
    """So many days: `after_due` counts the day after the due date as day 1, `from_due` the due date itself."""

    number: ClassVar[str] = "days"
    days: int
    counting: Counting = "after_due"
    roll: Roll = "none"

    def unrolled(self, origin: Days, calendar: Calendar) -> Days:
        return origin + (self.days if self.counting == "after_due" else self.days - 1)

    @property
    def keeps_order(self) -> bool:
        return self.days >= (0 if self.counting == "after_due" else 1) and self.roll in _ON

    def __str__(self) -> str:
        how = "after the due date" if self.counting == "after_due" else "counted with the due date as day 1"
        return f"{counted(self.days, 'day')} {how}{_ROLLED[self.roll]}"


@dataclass(frozen=True, slots=True)
class GraceMonths(Grace):
    """The end of the nth calendar month, the due date's own month being the 1st."""

    number: ClassVar[str] = "calendar_months"
    calendar_months: int
    roll: Roll = "none"

    def unrolled(self, origin: Days, calendar: Calendar) -> Days:
        return last_of(month_of(origin) + (self.calendar_months - 1))

    @property
    def keeps_order(self) -> bool:
        return self.calendar_months > 0 and self.roll in _ON

    def __str__(self) -> str:
        if self.calendar_months == 1:
            return f"the last day of the due date's month{_ROLLED[self.roll]}"
        return (
            f"the last day of the {ordinal(self.calendar_months)} calendar month, the due date's month being the 1st"
            f"{_ROLLED[self.roll]}"
        )


@dataclass(frozen=True, slots=True)
class PayBy(DayRule):
    """The recommended pay-by date. Counts back from the next generation date."""

    kind: ClassVar[Kind] = "pay_by"
    number: ClassVar[str] = "days_before_next_invoice"
    days_before_next_invoice: int
    unit: Unit = "calendar"
    roll: Roll = "none"

    def unrolled(self, origin: Days, calendar: Calendar) -> Days:
        if self.unit == "business":
            return calendar.shift(origin, -self.days_before_next_invoice)
        return origin - self.days_before_next_invoice

    def __str__(self) -> str:
        count = counted(self.days_before_next_invoice, f"{self.unit} day")
        return f"{count} before the next invoice is generated{_ROLLED[self.roll]}"

    @property
    def counts_business_days(self) -> bool:
        return self.unit == "business"


@dataclass(frozen=True, slots=True)
class Posting(Rule):
    """How long a payment takes to post, from the day it is received; `cutoff` is a local wall time."""

    kind: ClassVar[Kind] = "posting"
    min_business_days: int
    max_business_days: int
    cutoff: time

    def __str__(self) -> str:
        days = f"{self.min_business_days} to {counted(self.max_business_days, 'business day')}"
        if self.min_business_days == self.max_business_days:
            days = counted(self.max_business_days, "business day")
        return f"{days} after it is received; from {self.cutoff:%H:%M} local time on, the next business day receives it"


@dataclass(frozen=True, slots=True)
class CalendarName(Rule):
    """Which calendar says what a business day is, by name."""

    kind: ClassVar[Kind] = "calendar"
    name: str

    def as_data(self) -> str:
        return self.name

    def __str__(self) -> str:
        return f"business days of calendar {self.name}"


@dataclass(frozen=True, slots=True)
class Timezone(Rule):
    """The zone whose wall clock a payment and "today" are read on, by its IANA name."""

    kind: ClassVar[Kind] = "timezone"
    name: str

    def as_data(self) -> str:
        return self.name

    def __str__(self) -> str:
        return f"local time of {self.name}"


@dataclass(frozen=True, slots=True)
class SkipCoverageMonths(Rule):
    """The months of the year (1..12, ascending) that have no invoice."""

    kind: ClassVar[Kind] = "skip_coverage_months"
    months: tuple[int, ...] = ()

    def as_data(self) -> list[int]:
        return list(self.months)

    def __str__(self) -> str:
        names = [MONTH_NAMES[month - 1] for month in self.months]
        return f"no invoice for {', '.join(names)}" if names else "an invoice for every month"


@dataclass(frozen=True, slots=True)
class GraceFloor(Rule):
    """A grace that no rule may undercut: the grace ends on the later of the two."""

    kind: ClassVar[Kind] = "grace_floor"
    grace: Grace

    def as_data(self) -> Any:
        return self.grace.as_data()

    def __str__(self) -> str:
        return f"never before {self.grace}"


@dataclass(frozen=True, slots=True)
class Inherited(Rule):
    """In a rule's place: that its layer has none of the kind from then on, and what the layers below say shows through.

    It never governs an invoice, and so explains none.
    """

    kind: Kind

    def as_data(self) -> str:
        return INHERITED

    def __str__(self) -> str:
        return "as the layers below have it"
