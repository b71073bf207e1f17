"""The rules of an invoice's life again, the slow and obvious way.

Written from the specification alone, with nothing in common with the package it checks: plain
dates, and a walk of one day at a time. A day of the month, an n-th weekday, an n-th business day
and a month's end are found by walking the month; a business day is found by stepping until one is
met.

Rules are given in the words of the specification, as JSON carries them. Where they change over
time, a function from coverage month (`YYYY-MM`) to the rule set in force takes the place of the
one rule set; it is also asked about months a little outside the supported ones, where the next
invoice or a payment may fall. Inside this module a month is its first day.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import holidays
from dateutil.relativedelta import relativedelta

Rule = Mapping[str, Any]
RuleSet = Mapping[str, Any]
Rules = RuleSet | Callable[[str], RuleSet]
Exceptions = Mapping[str, Mapping[str, Any]]
Invoice = Mapping[str, date | None]
Said = tuple[str, str, str, Any]
"""A dated row: since which coverage month, by which layer, of which kind, and the rule, or `inherited` in its place."""

LAYERS = ("default", "state", "product", "client", "bill_account")

NO_EXCEPTIONS: Exceptions = {}
ONE_DAY = timedelta(days=1)
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
FIRST_COVERAGE_MONTH, LAST_COVERAGE_MONTH = "2000-01", "2099-12"
FIRST_CALENDAR_YEAR, LAST_CALENDAR_YEAR = 1999, 2100


class NoInvoiceError(ValueError):
    """The month is not billed: skipped, after the account's last one, or not supported."""


# Months


@cache
def month_called(coverage_month: str) -> date:
    return date.fromisoformat(coverage_month + "-01")


def name_of(month: date) -> str:
    return month.isoformat()[:7]


def month_of(day: date) -> date:
    return day.replace(day=1)


@cache
def months_after(month: date, count: int) -> date:
    return month + relativedelta(months=count)


@cache
def days_of(month: date) -> tuple[date, ...]:
    days = []
    day = month
    while day.month == month.month:
        days.append(day)
        day += ONE_DAY
    return tuple(days)


def nth(days: Sequence[date], n: int) -> date:
    """Count from the start, or with a negative n from the end, and stop where the days stop."""
    if n > 0:
        return days[min(n, len(days)) - 1]
    if n < 0:
        return days[-min(-n, len(days))]
    raise ValueError("days are counted from 1 or from -1")


@cache
def nth_day(month: date, n: int) -> date:
    return nth(days_of(month), n)


@cache
def nth_weekday(month: date, weekday: str, n: int) -> date:
    return nth([day for day in days_of(month) if WEEKDAYS[day.weekday()] == weekday], n)


@cache
def nth_business_day(month: date, calendar: str, n: int) -> date:
    return nth([day for day in days_of(month) if is_business_day(day, calendar)], n)


# Business days


@dataclass(frozen=True)
class Calendar:
    first: date
    last: date
    business_days: frozenset[date]


OWN_CALENDARS: dict[str, tuple[str, frozenset[date]]] = {}


def name_calendar(name: str, code: str, closures: Iterable[date]) -> None:
    """Make a calendar of one's own known by a name: the library's of a code, closed on more days."""
    OWN_CALENDARS[name] = code, frozenset(closures)


@cache
def calendar_called(code: str) -> Calendar:
    """Copy a calendar of the `holidays` library: business days by its own weekends and holidays."""
    if code in OWN_CALENDARS:
        base, closures = OWN_CALENDARS[code]
        copied = calendar_called(base)
        return Calendar(copied.first, copied.last, copied.business_days - closures)
    years = range(FIRST_CALENDAR_YEAR, LAST_CALENDAR_YEAR + 1)
    if code in holidays.list_supported_financial():
        known = holidays.financial_holidays(code, years=years)
    else:
        country, _, subdiv = code.partition("-")
        known = holidays.country_holidays(country, subdiv=subdiv or None, years=years)
    first = date(max(known.start_year, FIRST_CALENDAR_YEAR), 1, 1)
    last = date(min(known.end_year, LAST_CALENDAR_YEAR), 12, 31)
    business_days = set()
    day = first
    while day <= last:
        if known.is_working_day(day):
            business_days.add(day)
        day += ONE_DAY
    return Calendar(first, last, frozenset(business_days))


def is_business_day(day: date, calendar: str) -> bool:
    """Refuse a day outside the years the calendar knows: there it would seem free of holidays."""
    known = calendar_called(calendar)
    if not known.first <= day <= known.last:
        raise ValueError(f"calendar {calendar} knows nothing of {day}")
    return day in known.business_days


@cache
def forward_to_business_day(day: date, calendar: str) -> date:
    while not is_business_day(day, calendar):
        day += ONE_DAY
    return day


@cache
def back_to_business_day(day: date, calendar: str) -> date:
    while not is_business_day(day, calendar):
        day -= ONE_DAY
    return day


@cache
def business_days_after(day: date, count: int, calendar: str) -> date:
    for _ in range(count):
        day = forward_to_business_day(day + ONE_DAY, calendar)
    return day


@cache
def business_days_before(day: date, count: int, calendar: str) -> date:
    for _ in range(count):
        day = back_to_business_day(day - ONE_DAY, calendar)
    return day


def rolled(day: date, rule: Rule, calendar: str) -> date:
    roll = rule.get("roll", "none")
    if roll == "none":
        return day
    if roll == "following":
        return forward_to_business_day(day, calendar)
    if roll == "preceding":
        return back_to_business_day(day, calendar)
    if roll == "modified_following":
        following = forward_to_business_day(day, calendar)
        if month_of(following) == month_of(day):
            return following
        return back_to_business_day(day, calendar)
    raise ValueError(f"unknown roll {roll!r}")


# The rules


def due_date(rule: Rule, month: date, calendar: str) -> date:
    due_month = months_after(month, rule.get("month_offset", 0))
    return rolled(nth_day(due_month, rule["day"]), rule, calendar)


def generation_date(rule: Rule, due: date, calendar: str) -> date:
    if "days_before_due" in rule:
        day = due - timedelta(days=rule["days_before_due"])
    elif "months_before_due" in rule:
        day = generation_day_in(months_after(month_of(due), -rule["months_before_due"]), rule, calendar)
    else:
        day = due - ONE_DAY
        while day != generation_day_in(month_of(day), rule, calendar):
            day -= ONE_DAY
    return rolled(day, rule, calendar)


def generation_day_in(month: date, rule: Rule, calendar: str) -> date:
    if "day_of_month" in rule:
        return nth_day(month, rule["day_of_month"])
    if "weekday" in rule:
        return nth_weekday(month, rule["weekday"], rule["nth"])
    return nth_business_day(month, calendar, rule["business_day"])


def grace_end_date(rule: Rule, due: date, calendar: str) -> date:
    if "calendar_months" in rule:
        last_month = months_after(month_of(due), rule["calendar_months"] - 1)
        day = days_of(last_month)[-1]
    else:
        counting = rule.get("counting", "after_due")
        the_due_date_counts = {"after_due": 0, "from_due": 1}[counting]
        day = due + timedelta(days=rule["days"] - the_due_date_counts)
    return rolled(day, rule, calendar)


def recommended_pay_by_date(rule: Rule, next_generation: date, calendar: str) -> date:
    count = rule["days_before_next_invoice"]
    unit = rule.get("unit", "calendar")
    if unit == "calendar":
        day = next_generation - timedelta(days=count)
    elif unit == "business":
        day = business_days_before(next_generation, count, calendar)
    else:
        raise ValueError(f"unknown unit {unit!r}")
    return rolled(day, rule, calendar)


def safe_pay_by_date(rules: Rules, next_generation: date) -> date:
    """Try each day before the next invoice, latest first, as a payment before the cut-off."""
    paid_on = next_generation - ONE_DAY
    while True:
        in_force = rules_for(month_of(paid_on), rules)
        if posting(in_force, paid_on)["posts_by_date"] < next_generation:
            return paid_on
        paid_on -= ONE_DAY


# Which rule is in force


def rules_in_force(said: Sequence[Said], coverage_month: str) -> RuleSet:
    """Ask the layers from the top down for each kind; the floors, by layer, all count together.

    `said` is in the order in which it was recorded.
    """
    found = {}
    for kind in {kind for _, _, kind, _ in said} - {"grace_floor"}:
        for layer in reversed(LAYERS):
            rule = last_said(said, layer, kind, coverage_month)
            if rule not in (None, "inherited"):
                found[kind] = rule
                break
    floors = {layer: last_said(said, layer, "grace_floor", coverage_month) for layer in LAYERS}
    return {**found, "floors": {layer: rule for layer, rule in floors.items() if rule is not None}}


def last_said(said: Sequence[Said], layer: str, kind: str, coverage_month: str) -> Any:
    """Give what a layer says of a kind in a month, or None: what holds since latest, then what was recorded last."""
    latest, found = "", None
    for since, of_layer, of_kind, rule in said:
        if (of_layer, of_kind) == (layer, kind) and latest <= since <= coverage_month:
            latest, found = since, rule
    return found


# The dates of one invoice


def rules_for(month: date, rules: Rules) -> RuleSet:
    return rules(name_of(month)) if callable(rules) else rules


def is_skipped(month: date, rules: Rules) -> bool:
    skipped = rules_for(month, rules).get("skip_coverage_months", ())
    if len(set(skipped)) == 12:
        raise NoInvoiceError("every month of the year is skipped")
    return month.month in skipped


def next_billed_month(month: date, rules: Rules) -> date:
    month = months_after(month, 1)
    while is_skipped(month, rules):
        month = months_after(month, 1)
    return month


def due_and_generation(month: date, rules: Rules, exceptions: Exceptions = NO_EXCEPTIONS) -> tuple[date, date]:
    in_force = rules_for(month, rules)
    calendar = in_force["calendar"]
    fixed = exceptions.get(name_of(month), {})
    due = fixed.get("due_date") or due_date(in_force["due"], month, calendar)
    generation = fixed.get("generation_date") or generation_date(in_force["generation"], due, calendar)
    return due, generation


def own_dates(
    month: date, rules: Rules, exceptions: Exceptions = NO_EXCEPTIONS, floors: Sequence[Rule] = ()
) -> dict[str, date]:
    """Give the three dates that depend on no other month; generation and grace build on due."""
    in_force = rules_for(month, rules)
    calendar = in_force["calendar"]
    fixed = exceptions.get(name_of(month), {})
    due, generation = due_and_generation(month, rules, exceptions)
    grace_end = fixed.get("grace_end_date") or grace_end_date(in_force["grace"], due, calendar)
    for floor in floors:
        grace_end = max(grace_end, grace_end_date(floor, due, calendar))
    return {"generation_date": generation, "due_date": due, "grace_end_date": grace_end}


def invoice(
    rules: Rules,
    coverage_month: str,
    exceptions: Exceptions = NO_EXCEPTIONS,
    floors: Sequence[Rule] = (),
    last_coverage_month: str | None = None,
) -> dict[str, date | None]:
    """Give the six dates of one coverage month.

    `exceptions` fixes dates by coverage month, that of the next invoice included; fixed dates are
    not rolled. `floors` are rules in the grammar of grace.
    """
    month = month_called(coverage_month)
    if not FIRST_COVERAGE_MONTH <= coverage_month <= LAST_COVERAGE_MONTH:
        raise NoInvoiceError(f"{coverage_month} is not supported")
    if is_skipped(month, rules):
        raise NoInvoiceError(f"{coverage_month} is skipped")
    if last_coverage_month is not None and coverage_month > last_coverage_month:
        raise NoInvoiceError(f"{coverage_month} is after the last month, {last_coverage_month}")

    own = own_dates(month, rules, exceptions, floors)
    next_month = next_billed_month(month, rules)
    if last_coverage_month is not None and name_of(next_month) > last_coverage_month:
        return {
            **own,
            "next_generation_date": None,
            "recommended_pay_by_date": own["due_date"],
            "safe_pay_by_date": own["due_date"],
        }

    in_force = rules_for(month, rules)
    _, next_generation = due_and_generation(next_month, rules, exceptions)
    return {
        **own,
        "next_generation_date": next_generation,
        "recommended_pay_by_date": recommended_pay_by_date(in_force["pay_by"], next_generation, in_force["calendar"]),
        "safe_pay_by_date": safe_pay_by_date(rules, next_generation),
    }


def in_order(invoice: Invoice) -> bool:
    generation, due, grace_end = three_dates(invoice)
    return generation < due <= grace_end


def first_bad_month(rules: Rules, first: str = FIRST_COVERAGE_MONTH, last: str = LAST_COVERAGE_MONTH) -> str | None:
    """Name the first billed month, first and last included, whose three dates are out of order."""
    month = month_called(first)
    while month <= month_called(last):
        if not is_skipped(month, rules) and not in_order(own_dates(month, rules)):
            return name_of(month)
        month = months_after(month, 1)
    return None


# Payments and standing


def posting(rules: RuleSet, paid_at: date | datetime) -> dict[str, date]:
    calendar = rules["calendar"]
    rule = rules["posting"]
    received = forward_to_business_day(day_whose_cutoff_is_met(rules, paid_at), calendar)
    return {
        "received_date": received,
        "posts_from_date": business_days_after(received, rule["min_business_days"], calendar),
        "posts_by_date": business_days_after(received, rule["max_business_days"], calendar),
    }


def day_whose_cutoff_is_met(rules: RuleSet, paid_at: date | datetime) -> date:
    """Give the local day whose cut-off the payment met; a bare date meets its own."""
    if not isinstance(paid_at, datetime):
        return paid_at
    if paid_at.tzinfo is not None:
        paid_at = paid_at.astimezone(ZoneInfo(rules["timezone"]))
    if paid_at.time() >= time.fromisoformat(rules["posting"]["cutoff"]):
        return paid_at.date() + ONE_DAY
    return paid_at.date()


def timeliness(invoice: Invoice, paid_on: date) -> str:
    """Judge by the local date of payment, whatever the hour."""
    _, due, grace_end = three_dates(invoice)
    if paid_on <= due:
        return "on_time"
    if paid_on <= grace_end:
        return "in_grace"
    return "late"


def reflected(posting: Mapping[str, date], next_generation_date: date | None) -> str:
    if next_generation_date is None:
        return "no"
    if posting["posts_by_date"] < next_generation_date:
        return "yes"
    if posting["posts_from_date"] >= next_generation_date:
        return "no"
    return "maybe"


def standing(invoice: Invoice, as_of: date) -> str:
    """Say where an invoice without a recorded payment stands."""
    generation, due, grace_end = three_dates(invoice)
    if as_of < generation:
        return "not_yet_invoiced"
    if as_of <= due:
        return "invoiced"
    if as_of <= grace_end:
        return "in_grace"
    return "grace_expired"


def three_dates(invoice: Invoice) -> tuple[date, date, date]:
    generation, due, grace_end = (
        invoice["generation_date"],
        invoice["due_date"],
        invoice["grace_end_date"],
    )
    if generation is None or due is None or grace_end is None:
        raise ValueError("every invoice has a generation date, a due date and a grace end")
    return generation, due, grace_end
