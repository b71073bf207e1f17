"""A dated rule as a form: in the words of the FAQ first, the other ways below, and "as inherited" for each kind.

A way of writing a rule is one of its keys, and the fields are the rule's own: what is typed becomes the body of
`POST …/rules`, and the service reads that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ebill.dates import ROLLS, WEEKDAYS
from ebill.errors import BadRequest
from ebill.rules import MONTH_NAMES
from ebill.service import configure
from ebill.service.configure import Change, Configured
from ebill.web.pages.changing import Draft, pages
from ebill.web.pages.fields import whole
from ebill.web.pages.page import Look
from ebill.web.pages.words import months_around

OWN, INHERITED = "own", "inherited"
_MONTHLY: Final = ("months_before_due", "roll")
WAYS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "generation": {
        "days_before_due": ("days_before_due", "roll"),
        "day_of_month": ("day_of_month", *_MONTHLY),
        "weekday": ("weekday", "nth", *_MONTHLY),
        "business_day": ("business_day", *_MONTHLY),
    },
    "due": {OWN: ("day", "month_offset", "roll")},
    "grace": {"days": ("days", "counting", "roll"), "calendar_months": ("calendar_months", "roll")},
    "pay_by": {OWN: ("days_before_next_invoice", "unit", "roll")},
    "posting": {OWN: ("min_business_days", "max_business_days", "cutoff")},
    "calendar": {OWN: ("named",)},
    "timezone": {OWN: ("named",)},
    "skip_coverage_months": {OWN: ()},
}
"""How each kind of rule can be written, and the fields of each way. Some are one word, and not a table."""
_TEXT: Final = frozenset({"weekday", "roll", "counting", "unit", "cutoff", "named"})
SKIPS: Final = {f"month_{number}": name for number, name in enumerate(MONTH_NAMES, 1)}
"""The fields of the months of the year."""
_FIELDS: Final = tuple(dict.fromkeys(name for ways in WAYS.values() for names in ways.values() for name in names))
NAMES: Final = ("kind", "way", "since", "cite", "assumed", *_FIELDS, *SKIPS)


def rule(kind: str, given: Mapping[str, str]) -> Any:
    """Give a rule as the grammar writes it, from what a form says.

    >>> rule("generation", {"way": "day_of_month", "day_of_month": "12", "days_before_due": "20"})
    {'day_of_month': 12}
    >>> rule("skip_coverage_months", {"way": "own", "month_7": "yes"}), rule("due", {"way": "inherited"})
    ([7], 'inherited')
    """
    way = given.get("way", "")
    if way == INHERITED:
        return INHERITED
    if kind == "skip_coverage_months":
        return skipped(given)
    if kind in ("calendar", "timezone"):
        return given.get("named")
    names = WAYS[kind].get(way, ())
    found: dict[str, Any] = {} if way == OWN else {way: None}
    return found | {name: given[name] if name in _TEXT else whole(given[name]) for name in names if name in given}


def skipped(given: Mapping[str, str]) -> list[int]:
    """Give the months of the year that are ticked."""
    return [number for number, name in enumerate(SKIPS, 1) if name in given]


def filled(kind: str, data: Any) -> dict[str, str]:
    """Fill a form in from a rule as the grammar writes it: the reverse of `rule`."""
    if data is None or data == INHERITED:
        return {"way": INHERITED}
    if kind == "skip_coverage_months":
        return {"way": OWN, **ticked(data)}
    if kind in ("calendar", "timezone"):
        return {"way": OWN, "named": str(data)}
    way = next((way for way in WAYS[kind] if way in data), OWN)
    return {"way": way, **{name: str(value) for name, value in data.items()}}


def ticked(months: Any) -> dict[str, str]:
    """Tick months of the year: the reverse of `skipped`."""
    return {f"month_{number}": "yes" for number in months or ()}


def make(look: Look, typed: Mapping[str, str]) -> Draft:
    """Read the form of a dated rule."""
    kind = typed.get("kind", "generation")
    if kind not in WAYS:
        raise BadRequest("There is no such kind of rule.")
    client_id, account_id = look.path["client_id"], look.path.get("account_id")
    found = configure.configured(look.connection, look.book, look.user, client_id, account_id, look.now)
    of_kind = found.of_kind(kind)
    is_filled = "since" in typed
    given = dict(typed) if is_filled else {**_as_it_is(kind, found), **typed}
    change = Change("rule", client_id, account_id, _body(kind, typed)) if is_filled else None
    values = {
        "kind": kind,
        "of_kind": of_kind,
        "configured": found,
        "months": months_around(found.month, given.get("since", "")),
        "rolls": ROLLS,
        "weekdays": WEEKDAYS,
        "skips": SKIPS,
        "calendars": sorted({"XFED", *look.book.calendars}),
    }
    return Draft(
        "rule.html",
        values,
        change,
        home(look.path),
        lambda pointer: _field(kind, pointer),
        given,
        {"cite": "who says so"},
    )


def home(path: Mapping[str, str]) -> str:
    """Give the address at which a client or an account is configured."""
    client_id, account_id = path["client_id"], path.get("account_id")
    of_account = f"/bill-accounts/{account_id}" if account_id else ""
    return f"/clients/{client_id}{of_account}/configure"


def _as_it_is(kind: str, found: Configured) -> dict[str, str]:
    now = found.of_kind(kind).now
    return {"kind": kind, "since": found.open_from, **filled(kind, now and now["rule"])}


def _body(kind: str, given: Mapping[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {name: given[name] for name in ("since", "cite") if name in given}
    if "assumed" in given:
        said["assumed"] = given["assumed"] == "yes"
    return {**said, kind: rule(kind, given)}


def _field(kind: str, pointer: str) -> str | None:
    """Give the field that a fault is shown at."""
    steps = pointer.split("/")[1:]
    if not steps or steps[0] not in (kind, "since", "cite", "assumed"):
        return None
    if steps[0] != kind:
        return steps[0]
    if kind in ("calendar", "timezone"):
        return "named"
    return steps[1] if len(steps) > 1 and steps[1] in _FIELDS else "way"


AT: Final = ("/clients/{client_id}/configure", "/clients/{client_id}/bill-accounts/{account_id}/configure")
PAGES: Final = tuple(pages([f"{at}/rule" for at in AT], make, NAMES, "rule"))
