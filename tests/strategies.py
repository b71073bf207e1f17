"""What the rules can be, and draws from it.

The grammar of the specification is finite but for its dates: each rule's ways of being written are laid out here in
full, in the specification's words and not by the package's reader. `draw_case` puts together an account's life from
them: dated rows in every layer, some given up again, exceptions, floors and a last coverage month.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from ebill.dates import Calendar, library_calendar
from ebill.grammar import OwnRulesSchema, RowSchema
from ebill.questions import calculation
from ebill.rulebook import Layer, Row, RuleBook, Section, Timeline
from ebill.rules import Rule
from ebill.schedule import FixedDates, Schedule, Span, schedule
from ebill.service import Answer, calculate
from tests import oracle

Data = dict[str, Any]

PROFILE = settings(derandomize=True, deadline=None, max_examples=200, database=None)
"""The same examples on every run, however slow the machine."""


def both_ways(last: int) -> list[int]:
    """Give 1 to `last`, and -1 to -`last`."""
    return [*range(1, last + 1), *range(-1, -last - 1, -1)]


def ways(**keys: Iterable[Any]) -> list[Data]:
    """Give every way to fill in the keys; None leaves a key out."""
    return [
        {key: value for key, value in zip(keys, values, strict=True) if value is not None}
        for values in product(*keys.values())
    ]


ROLLS = ("none", "following", "modified_following", "preceding")
ROLLED = (None, *ROLLS)
DAYS_OF_MONTH = both_ways(31)
MONTH_OFFSETS = range(-3, 4)
MONTHS_BEFORE_DUE = (None, 0, 1, 2, 3)
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
LAYERS = oracle.LAYERS
OWN_LAYERS = ("client", "bill_account")
"""Those whose rules may be given up again."""

DUES = ways(day=DAYS_OF_MONTH, month_offset=[None, *MONTH_OFFSETS], roll=ROLLED)
GENERATIONS: Mapping[str, list[Data]] = {
    "days_before_due": ways(days_before_due=range(1, 91), roll=ROLLED),
    "day_of_month": ways(day_of_month=DAYS_OF_MONTH, months_before_due=MONTHS_BEFORE_DUE, roll=ROLLED),
    "weekday": ways(weekday=WEEKDAYS, nth=both_ways(4), months_before_due=MONTHS_BEFORE_DUE, roll=ROLLED),
    "business_day": ways(business_day=both_ways(15), months_before_due=MONTHS_BEFORE_DUE, roll=ROLLED),
}
GRACES: Mapping[str, list[Data]] = {
    "days": ways(days=range(367), counting=(None, "after_due", "from_due"), roll=ROLLED),
    "calendar_months": ways(calendar_months=range(1, 13), roll=ROLLED),
}
PAY_BYS = ways(days_before_next_invoice=range(1, 61), unit=(None, "calendar", "business"), roll=ROLLED)
POSTINGS: list[Data] = [
    {"min_business_days": low, "max_business_days": high, "cutoff": cutoff}
    for low in range(31)
    for high in range(low, 31)
    for cutoff in ("00:00", "12:00", "17:00", "23:59")
]
QUICK_POSTINGS = [rule for rule in POSTINGS if rule["max_business_days"] <= 5]

DEFAULTS: Data = {
    "due": {"day": 1},
    "generation": {"days_before_due": 20},
    "grace": {"days": 30},
    "pay_by": {"days_before_next_invoice": 3},
    "posting": {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"},
    "calendar": "XFED",
    "timezone": "America/New_York",
}
"""The rules of the worked table."""

CLOSURES = {
    **{date(year, 12, 24) + timedelta(days): "between the years" for year in range(2000, 2100) for days in range(9)},
    **{date(year, 6, 1): "moving house" for year in range(2001, 2100, 2)},
    date(2012, 10, 29): "hurricane Sandy",
    date(2012, 10, 30): "hurricane Sandy",
    date(2026, 7, 3): "an odd Friday",
}
OWN_CALENDARS = {"XFED-SHUT": "XFED", "US-PA-SHUT": "US-PA"}
CALENDARS = ("XFED", "US-PA", "XNYS", *OWN_CALENDARS)
for _name, _code in OWN_CALENDARS.items():
    oracle.name_calendar(_name, _code, CLOSURES)


@cache
def calendar(name: str) -> Calendar:
    """Bind a calendar, one with `CLOSURES` included."""
    if name in OWN_CALENDARS:
        return library_calendar(OWN_CALENDARS[name]).with_closures(CLOSURES, name)
    return library_calendar(name)


@cache
def weekends() -> Calendar:
    """Give a calendar without holidays that knows 500 years: what must hold in every year is tried on it."""
    return Calendar("weekends", {}, date(1899, 1, 1), date(2420, 12, 31))


def rows(layer: Layer, scope: str = "", **rules: Any) -> tuple[Row, ...]:
    """Make rows that hold from the first month on, in the order given."""
    return tuple(
        Row(month("2000-01"), rule(kind, given), "a test", layer, scope, recorded=index)
        for index, (kind, given) in enumerate(rules.items())
    )


@cache
def house() -> RuleBook:
    """Give a rule book of the default rules, three states and a product; the shipped one may change."""
    generations = {"PA": {"days_before_due": 20}, "WV": {"day_of_month": 12}, "NY": {"day_of_month": -8}}
    states = {code: Section(code, rows("state", code, generation=given)) for code, given in generations.items()}
    products = {"aptc": Section("aptc", rows("product", "aptc", grace={"calendar_months": 3}))}
    return RuleBook("a test", rows("default", **DEFAULTS), states, products, {})


NOW = datetime(2026, 8, 3, 16, tzinfo=UTC)


def ask(**body: Any) -> Answer:
    """Ask the house for dates, as a body of JSON does."""
    return ask_at(NOW, body)


def ask_at(now: datetime, body: Any) -> Answer:
    """Ask at an instant."""
    return calculate(house(), calculation(body), now)


def rule(kind: str, data: Any) -> Any:
    """Read one rule as the rule book's rows are read, or as those of a client are where it is `inherited`."""
    if data == "inherited":
        return OwnRulesSchema().load({kind: data})[kind]
    return RowSchema().load({"since": "2000-01", "cite": "a test", kind: data})[kind]


def day(text: str) -> date:
    """Read `2026-07-03 Fri`, and refuse another weekday."""
    iso, weekday = text.split()
    read = date.fromisoformat(iso)
    if f"{read:%a}" != weekday:
        raise ValueError(f"{iso} is a {read:%A}")
    return read


def month(text: str) -> Any:
    """Give the month that `YYYY-MM` names, supported or not."""
    return np.datetime64(text, "M")


# Whole lives


@dataclass(frozen=True)
class Written:
    """A dated row in the words of the specification."""

    since: str
    layer: str
    kind: str
    rule: Any


@dataclass(frozen=True)
class Case:
    """The life of an account, and which coverage months of it to look at."""

    rows: Sequence[Written]
    first: str = "2026-01"
    count: int = 12
    exceptions: Mapping[str, Any] = field(default_factory=dict)
    last_coverage_month: str | None = None
    first_coverage_month: str | None = None

    def months(self) -> list[str]:
        """Name the coverage months."""
        first = oracle.month_called(self.first)
        return [oracle.name_of(oracle.months_after(first, n)) for n in range(self.count)]

    def in_force(self, coverage_month: str) -> Data:
        """Give the rules in force, floors by layer. The first rules also stand for the months before them."""
        said = [(row.since, row.layer, row.kind, row.rule) for row in self.rows]
        return dict(oracle.rules_in_force(said, max(coverage_month, oracle.FIRST_COVERAGE_MONTH)))

    def invoices(self) -> dict[str, oracle.Invoice | None]:
        """Give what the oracle says of each month: its dates, or None where there is no invoice.

        A month whose dates reach beyond the calendar is left out.
        """
        in_force = cache(self.in_force)
        found: dict[str, oracle.Invoice | None] = {}
        for name in self.months():
            if name < (self.first_coverage_month or ""):
                found[name] = None
                continue
            floors = list(in_force(name)["floors"].values())
            try:
                found[name] = oracle.invoice(in_force, name, self.exceptions, floors, self.last_coverage_month)
            except oracle.NoInvoiceError:
                found[name] = None
            except ValueError as error:
                if "knows nothing of" not in str(error):
                    raise
        return found

    def timeline(self) -> Timeline:
        """Read the rows as the package does."""
        return Timeline(
            [
                Row(month(row.since), _read(row.kind, repr(row.rule), row.rule), "a test", row.layer, recorded=index)  # type: ignore[arg-type]
                for index, row in enumerate(self.rows)
            ],
            calendar,
        )

    def spans(self) -> tuple[Span, ...]:
        """Give the terms in force, stretch by stretch."""
        return self.timeline().spans

    def schedule(self) -> Schedule:
        """Give what the package says."""
        begins, ends = self.first_coverage_month, self.last_coverage_month
        return schedule(
            self.spans(),
            month(self.first),
            self.count,
            [FixedDates(month(name), "a test", **fixed) for name, fixed in self.exceptions.items()],
            first_coverage_month=None if begins is None else month(begins),
            last_coverage_month=None if ends is None else month(ends),
        )


_READ: dict[tuple[str, str], Rule] = {}


def _read(kind: str, text: str, data: Any) -> Rule:
    """Read a rule once: reading strictly takes longer than a century of dates."""
    if (kind, text) not in _READ:
        _READ[kind, text] = rule(kind, data)
    return _READ[kind, text]


def written(**rules: Any) -> tuple[Written, ...]:
    """Give the rows of the default rules, with others in their place."""
    return tuple(Written("2000-01", "default", kind, given) for kind, given in {**DEFAULTS, **rules}.items())


RULES: Mapping[str, Sequence[Sequence[Any]]] = {
    "due": [DUES],
    "generation": list(GENERATIONS.values()),
    "grace": list(GRACES.values()),
    "grace_floor": list(GRACES.values()),
    "pay_by": [PAY_BYS],
    "posting": [*[QUICK_POSTINGS] * 4, POSTINGS],
    "calendar": [CALENDARS],
    "timezone": [("America/New_York", "America/Chicago", "Pacific/Honolulu")],
}


def draw_rule(rng: random.Random, kind: str) -> Any:
    """Draw a rule of a kind; first which of its shapes, so that the rare ones are not drowned."""
    if kind == "skip_coverage_months":
        return sorted(rng.sample(range(1, 13), rng.randint(1, 11)))
    return rng.choice(rng.choice(RULES[kind]))


def draw_case(rng: random.Random, count: int = 36) -> Case:
    """Draw the life of an account: all its rules, dated changes, floors, exceptions, its first and last month.

    A skip is written once at most: several changes of it can hide more months than `schedule` looks ahead, which only
    an answer that ends amid them would see.
    """
    first = oracle.months_after(date(2000, 1, 1), rng.randrange(1200 - count + 1))
    near = [oracle.name_of(oracle.months_after(first, n)) for n in range(-4, count + 3)]
    near = [name for name in near if "2000-01" <= name <= "2099-12"]
    rows = [Written("2000-01", "default", kind, draw_rule(rng, kind)) for kind in DEFAULTS]
    kinds = [*DEFAULTS, "grace_floor"]
    rows += [
        Written(rng.choice(near), rng.choice(LAYERS), kind, draw_rule(rng, kind))
        for kind in rng.choices(kinds, k=rng.choice((0, 1, 2, 5)))
    ]
    if rng.random() < 0.3:
        rows.append(
            Written(
                rng.choice(near), rng.choice(LAYERS), "skip_coverage_months", draw_rule(rng, "skip_coverage_months")
            )
        )
    if rng.random() < 0.2:
        rows.append(Written("2000-01", "state", "grace_floor", draw_rule(rng, "grace_floor")))
    exceptions = {}
    for name in rng.sample(near, rng.choice((0, 0, 1, 3))):
        names = rng.sample(["generation_date", "due_date", "grace_end_date"], rng.randint(1, 3))
        exceptions[name] = {
            fixed: oracle.month_called(name) + timedelta(rng.randint(-45, 75)) for fixed in sorted(names)
        }
    begins, ends = (rng.choice(near) if rng.random() < 0.2 else None for _ in range(2))
    own = [row for row in rows if row.layer in OWN_LAYERS and row.kind != "grace_floor"]
    rows += [Written(rng.choice(near), row.layer, row.kind, "inherited") for row in own if rng.random() < 0.5]
    return Case(rows, oracle.name_of(first), count, exceptions, ends, begins)


# Hypothesis

DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31))
MONTHS = st.integers(0, 1199).map(lambda index: np.datetime64("2000-01", "M") + index)
CALENDAR_NAMES = st.sampled_from(CALENDARS)
DUE_RULES = st.sampled_from(DUES)
GENERATION_RULES = st.sampled_from(sorted(GENERATIONS)).flatmap(lambda kind: st.sampled_from(GENERATIONS[kind]))
GRACE_RULES = st.sampled_from(sorted(GRACES)).flatmap(lambda kind: st.sampled_from(GRACES[kind]))
PAY_BY_RULES = st.sampled_from(PAY_BYS)
POSTING_RULES = st.sampled_from(POSTINGS)
CASES = st.integers(0, 2**32).map(lambda seed: draw_case(random.Random(seed), 24))  # noqa: S311  # no secret
