"""How pages say dates and codes: in the words of people, with what programs need beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from markupsafe import Markup, escape

from ebill.deadlines import Kind
from ebill.render.words import WARNINGS
from ebill.schedule import DateName

STANDINGS: Final[Mapping[str, str]] = {
    "not_yet_invoiced": "Not yet invoiced",
    "invoiced": "Invoiced",
    "in_grace": "In grace",
    "grace_expired": "Grace expired",
    "payment_pending": "Payment pending",
    "paid": "Paid",
    "billed_elsewhere": "Billed elsewhere",
}
KINDS: Final[Mapping[Kind, str]] = {
    "generation": "Generated",
    "due": "Due",
    "recommended_pay_by": "Recommended pay-by",
    "safe_pay_by": "Safe pay-by",
    "grace_end": "Grace ends",
    "posts_by": "Payment posts by",
}
DATES: Final[Mapping[DateName, str]] = {
    "generation_date": "Generated",
    "due_date": "Due",
    "safe_pay_by_date": "Safe pay-by",
    "recommended_pay_by_date": "Recommended pay-by",
    "next_generation_date": "Next invoice",
    "grace_end_date": "Grace ends",
}
"""The dates of an invoice, in the order in which they mostly come."""
RULES: Final[Mapping[str, str]] = {
    "generation": "Generated",
    "due": "Due",
    "grace": "Grace",
    "pay_by": "Recommended pay-by",
    "posting": "Posting",
    "calendar": "Calendar of business days",
    "timezone": "Time zone",
    "skip_coverage_months": "Months without an invoice",
    "grace_floor": "Floor of the grace",
}
"""The kinds of rule, in the order in which people look for them."""
FIELDS: Final[Mapping[str, str]] = {
    "acknowledged": "Hazards",
    "bills_here_since": "Billed here since",
    "business_day": "Which business day",
    "calendar": "Calendar of business days",
    "calendar_months": "How many calendar months",
    "cite": "Who says so",
    "counting": "Day 1 is",
    "cutoff": "Cut-off, local time",
    "day": "Which day",
    "day_of_month": "Which day",
    "days": "How many days",
    "days_before_due": "How many days",
    "days_before_next_invoice": "How many days",
    "due_date": "Due",
    "due_day": "Due: day of the month",
    "due_offset": "Due: months from the coverage month",
    "from": "First coverage month",
    "generation": "Generated: counted in",
    "generation_date": "Generated",
    "generation_months": "Generated: months before the due date's",
    "generation_number": "Generated: number",
    "generation_weekday": "Generated: weekday, if counted so",
    "grace": "Grace: counted in",
    "grace_end_date": "Grace ends",
    "grace_number": "Grace: how many",
    "kind": "What it is for",
    "max_business_days": "Most business days",
    "min_business_days": "Fewest business days",
    "month_offset": "Of which month",
    "months": "How many months",
    "months_before_due": "Months before the due date's",
    "nth": "Which one",
    "oidc_subject": "Subject at the identity provider",
    "paid_at": "Paid",
    "pay_at": "Time, if known",
    "pay_by_days": "Days before the next invoice",
    "pay_by_unit": "Kind of days",
    "posting_max": "Most business days",
    "posting_min": "Fewest business days",
    "retroactive": "Invoices generated already",
    "since": "From coverage month",
    "skip": "Months without an invoice",
    "team_id": "Client management team",
    "text": "Or its text, pasted",
    "timezone": "Time zone",
    "unit": "Kind of days",
    "why": "Reason",
}
"""What fields of forms are called where their name does not say it; with the part of the form, where it has several."""
HAZARDS: Final[Mapping[str, tuple[str, str]]] = {
    "earlier_deadline": (
        "Somebody has less time than before",
        "A deadline that is still to come moves to an earlier day.",
    ),
    "open_invoice_touched": ("An open invoice moves", "It was generated, and its grace is not over: people hold it."),
    "pay_by_already_past": ("A pay-by date would be past already", "Nobody can keep it any more."),
    "no_invoice_in_calendar_month": (
        "A calendar month without an invoice",
        "People who expect one may think it is lost.",
    ),
    "two_invoices_in_calendar_month": ("Two invoices in one calendar month", "People may take one for a mistake."),
}
"""What may be hazardous about a change, the gravest first, and why."""
_IN_SENTENCES: Final[Mapping[str, str]] = {
    "next_generation_date": "the next invoice's date",
    "generation_date": "the date it is generated",
    "due_date": "the due date",
    "grace_end_date": "the end of the grace",
    "recommended_pay_by_date": "the recommended pay-by date",
    "safe_pay_by_date": "the safe pay-by date",
}
DECISIONS: Final[Mapping[str, str]] = {"pending": "Waiting", "granted": "Granted", "declined": "Declined"}
PARTS: Final[Mapping[str, str]] = {
    **RULES,
    **{str(name): said for name, said in DATES.items()},
    "cite": "Who says so",
    "since": "From coverage month",
    "assumed": "Not confirmed yet",
}
"""The parts of a change, where their names do not say it."""
STEPS: Final[Mapping[str, str]] = {"roll": "business days", "exception": "an exception", "floor": "a floor"}
TIMELINESS: Final[Mapping[str, str]] = {
    "on_time": "On time: on or before the due date",
    "in_grace": "In grace: after the due date, while coverage is kept",
    "late": "Too late: after the grace has ended",
}
SHOWN_ON_NEXT: Final[Mapping[str, str]] = {
    "yes": "Yes, the next invoice shows it",
    "maybe": "Perhaps: it may post before the next invoice is generated, or after",
    "no": "No, the next invoice is generated before it posts",
}
DONE: Final[Mapping[str, str]] = {
    "put_client": "Changed the client's settings",
    "put_bill_account": "Changed the settings of a bill account",
    "add_rule": "Entered a rule",
    "add_exception": "Entered an exception",
    "import_client": "Imported the client",
    "record_payment": "Recorded a payment",
    "correct_payment": "Corrected a payment",
    "withdraw_payment": "Withdrew a payment",
    "grant": "Granted access",
    "withdraw": "Withdrew access",
    "access_granted": "Granted a request for access",
    "access_declined": "Declined a request for access",
    "make_feed": "Made a calendar feed",
    "revoke_feed": "Revoked a calendar feed",
    "put_user": "Made or changed a user",
    "put_team": "Made or renamed a team",
    "set_password": "Set a password",
    "set_first_password": "Gave a first password",
    "change_password": "Changed one's own password",
    "make_token": "Made a token",
    "revoke_token": "Revoked a token",
    "sign_in": "Signed in",
    "sign_out": "Signed out",
    "end_session": "Ended a session",
    "end_sessions": "Ended all sessions",
    "payment_terms": "Accepted or declined the payment terms",
    "request_access": "Asked for access",
    "choose_reminders": "Chose reminders",
    "set_reminder_targets": "Said where reminders go",
    "remove_reminder_targets": "Said that reminders go nowhere",
    "remind": "Made reminders",
    "give_up_message": "Gave a message up",
    "withdraw_message": "Withdrew a message",
    "webhook_gone": "Found a webhook gone",
    "load_rule_book": "Loaded a rule book",
    "make_key": "Made a key",
    "rotate_key": "Made a new key in place of one",
    "back_up": "Backed up the store",
    "restore_backup": "Restored a backup",
}
"""What stands in the audit; of what is not here, the code is shown."""
ROLES: Final[Mapping[str, str]] = {
    "producer": "Producer",
    "client_manager": "Client manager",
    "admin": "Administrator",
}
_WRITTEN: Final = re.compile(r"(?<![\w-])(\d{4}-\d{2}-\d{2}|\d{4}-(?:0[1-9]|1[0-2]))(?![\w-])", re.ASCII)
_MONTH: Final = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])", re.ASCII)
_NAMED_DATES: Final = re.compile("|".join(_IN_SENTENCES))
_FIRST_YEAR, _LAST_YEAR = 2000, 2099
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def day(value: date | None) -> Markup:
    """Say a date.

    >>> day(date(2026, 8, 1))
    Markup('<time datetime="2026-08-01">Sat Aug 1, 2026</time>')
    """
    return Markup('<time datetime="{}">{}</time>').format(value, plain_day(value)) if value else Markup("-")


def plain_day(value: date) -> str:
    """Say a date where there can be no markup.

    >>> plain_day(date(2026, 8, 1))
    'Sat Aug 1, 2026'
    """
    return f"{value:%a} {_MONTHS[value.month - 1]} {value.day}, {value.year}"


def month(value: str) -> Markup:
    """Say a coverage month.

    >>> month("2026-08")
    Markup('<time datetime="2026-08">Aug 2026</time>')
    """
    return Markup('<time datetime="{}">{}</time>').format(value, plain_month(value))


def plain_month(value: str) -> str:
    """Say a coverage month where there can be no markup."""
    return f"{_MONTHS[int(value[5:7]) - 1]} {value[:4]}"


def instant(value: datetime) -> Markup:
    """Say an instant, in UTC.

    >>> instant(datetime(2026, 8, 1, 16, 5, tzinfo=UTC))
    Markup('<time datetime="2026-08-01T16:05:00Z">Sat Aug 1, 2026, 16:05 UTC</time>')
    """
    at = value.astimezone(UTC)
    return Markup('<time datetime="{:%Y-%m-%dT%H:%M:%SZ}">{}, {:%H:%M} UTC</time>').format(at, plain_day(at), at)


def moment(value: date | datetime) -> Markup:
    """Say when something was paid: a date, or a date-time as it was given.

    >>> moment(datetime(2026, 8, 1, 16, 5))
    Markup('<time datetime="2026-08-01T16:05:00">Sat Aug 1, 2026, 16:05</time>')
    """
    if not isinstance(value, datetime):
        return day(value)
    offset = f" (UTC{value:%z})" if value.tzinfo else ""
    said = f"{plain_day(value)}, {value:%H:%M}{offset}"
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), said)


def prose(text: str) -> Markup:
    """Say a sentence of ours, its dates and months as people write them.

    >>> prose("from 2026-08-01 on <b>")
    Markup('from <time datetime="2026-08-01">Sat Aug 1, 2026</time> on &lt;b&gt;')
    """
    parts = _WRITTEN.split(text)
    return Markup().join(_said(part) if at % 2 else escape(part) for at, part in enumerate(parts))


def typed(text: str) -> Markup:
    """Say a value: a date or a month as people write it, and whatever else somebody typed to the letter.

    >>> typed("2026-08"), typed("Letter of 2026-08-01")
    (Markup('<time datetime="2026-08">Aug 2026</time>'), Markup('Letter of 2026-08-01'))
    """
    return _said(text) if _WRITTEN.fullmatch(text) else escape(text)


def _said(written: str) -> Markup:
    if len(written) == len("2026-08"):
        return month(written)
    try:
        return day(date.fromisoformat(written))
    except ValueError:
        return escape(written)


def left(value: date, today: date) -> str:
    """Say how far a date is from today.

    >>> left(date(2026, 8, 3), date(2026, 8, 1)), left(date(2026, 8, 1), date(2026, 8, 1))
    ('in 2 days', 'today')
    """
    days = (value - today).days
    if days in _NEAR:
        return _NEAR[days]
    return f"in {days} days" if days > 0 else f"{-days} days ago"


_NEAR: Final = {-1: "yesterday", 0: "today", 1: "tomorrow"}


def named(pointer: str) -> str:
    """Say which field a fault is about.

    >>> named("/rules/grace/days"), named("")
    ('rules, grace, days', '')
    """
    return ", ".join(part.replace("_", " ") for part in pointer.split("/") if part)


def capitalised(text: Markup) -> Markup:
    """Begin a sentence with a capital letter, unless it begins with markup.

    >>> capitalised(Markup("the grace <b>ends</b>"))
    Markup('The grace <b>ends</b>')
    """
    return Markup(text[:1].upper()) + text[1:]  # noqa: S704  # a part of what is markup already


def hazard(detail: str) -> Markup:
    """Say the detail of a hazard, its dates by the names that people know.

    >>> hazard("due_date moves to 2026-08-01")
    Markup('the due date moves to <time datetime="2026-08-01">Sat Aug 1, 2026</time>')
    """
    return prose(_NAMED_DATES.sub(lambda found: _IN_SENTENCES[found[0]], detail))


def whence(row: Mapping[str, Any]) -> str:
    """Say whose a rule is.

    >>> whence({"layer": "state", "scope": "PA", "is_own": False}), whence({"layer": "default", "is_own": False})
    ('from the state, PA', 'from the house')
    """
    if row["is_own"]:
        return "its own"
    if row["layer"] == "default":
        return "from the house"
    return f"from the {row['layer'].replace('_', ' ')}, {row['scope']}"


def months_around(month: str, also: str = "") -> list[tuple[str, str]]:
    """Give the coverage months to choose from, a year back and three ahead, and what to call them; `also` is another.

    >>> len(months_around("2026-08")), months_around("2026-08")[12], months_around("2099-12")[-1]
    (49, ('2026-08', 'Aug 2026'), ('2099-12', 'Dec 2099'))
    >>> months_around("2026-08", "2020-01")[0], len(months_around("2026-08", "soon"))
    (('2020-01', 'Jan 2020'), 49)
    """
    year, number = int(month[:4]), int(month[5:7]) - 1
    near = (divmod(12 * year + number + ahead, 12) for ahead in range(-12, 37))
    chosen = [f"{year}-{number + 1:02d}" for year, number in near if _FIRST_YEAR <= year <= _LAST_YEAR]
    if _MONTH.fullmatch(also):
        chosen = sorted({*chosen, also})
    return [(each, plain_month(each)) for each in chosen]


def next_month(now: datetime) -> str:
    """Give the coverage month after that of an instant.

    >>> next_month(datetime(2026, 12, 31, tzinfo=UTC))
    '2027-01'
    """
    year, number = divmod(12 * now.year + now.month, 12)
    return f"{year}-{number + 1:02d}"


def part(name: str) -> str:
    """Say which part of a change something is.

    >>> part("generation"), part("due_date"), part("cite"), part("bills_here_since")
    ('Generated', 'Due', 'Who says so', 'Bills here since')
    """
    return PARTS.get(name) or name.replace("_", " ").capitalize()


def field(name: str) -> str:
    """Say which field of a form something is about.

    >>> field("pay_at"), field("first_coverage_month")
    ('Time, if known', 'First coverage month')
    """
    return FIELDS.get(name) or name.replace("_", " ").capitalize()


def counted(number: int, one: str, many: str = "") -> str:
    """Say how many.

    >>> counted(1, "date"), counted(2_000, "date"), counted(0, "bill account")
    ('1 date', '2,000 dates', '0 bill accounts')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


FILTERS: Final[Mapping[str, Any]] = {
    "day": day,
    "month": month,
    "plain_day": plain_day,
    "plain_month": plain_month,
    "instant": instant,
    "moment": moment,
    "prose": prose,
    "typed": typed,
    "left": left,
    "short": lambda said: said[said.index(" ") + 1 : said.index(",")],
    "named": named,
    "capitalised": capitalised,
    "zipped": lambda values, said: list(zip(values, said, strict=True)),
    "standing": lambda code: STANDINGS[code],
    "kind": lambda code: KINDS[code],
    "role": lambda code: ROLES[code],
    "hazard": hazard,
    "whence": whence,
    "counted": counted,
    "part": part,
    "field": field,
    "done": lambda code: DONE.get(code, code.replace("_", " ")),
}
WORDS: Final[Mapping[str, Any]] = {
    "DATES": DATES,
    "WARNINGS": WARNINGS,
    "STEPS": STEPS,
    "TIMELINESS": TIMELINESS,
    "SHOWN_ON_NEXT": SHOWN_ON_NEXT,
    "STANDINGS": STANDINGS,
    "RULES": RULES,
    "HAZARDS": HAZARDS,
    "DECISIONS": DECISIONS,
    "KINDS": KINDS,
    "DONE": DONE,
    "ROLES": ROLES,
}
"""What templates know by name."""
