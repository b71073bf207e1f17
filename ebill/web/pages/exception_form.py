"""An exception as a form: fixed dates of one coverage month, or those taken back, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ebill.schedule import FIXED_NAMES
from ebill.service import configure
from ebill.service.configure import Change, Configured
from ebill.web.pages.changing import Draft, pages
from ebill.web.pages.page import Look
from ebill.web.pages.rule_form import AT, home
from ebill.web.pages.words import months_around, plain_month

FIX, WITHDRAW = "fix", "withdraw"
NAMES: Final = ("way", "coverage_month", *FIXED_NAMES, "reason", "tried")


def body(given: Mapping[str, str]) -> dict[str, Any]:
    """Give the body of `POST …/exceptions`.

    >>> body({"way": "withdraw", "coverage_month": "2027-01", "due_date": "2027-01-02", "reason": "A slip"})
    {'coverage_month': '2027-01', 'reason': 'A slip', 'withdrawn': True}
    """
    said: dict[str, Any] = {name: given[name] for name in ("coverage_month", "reason") if name in given}
    if given.get("way") == WITHDRAW:
        return {**said, "withdrawn": True}
    return {**said, **{name: given[name] for name in FIXED_NAMES if name in given}}


def make(look: Look, typed: Mapping[str, str]) -> Draft:
    """Read the form of an exception."""
    client_id, account_id = look.path["client_id"], look.path.get("account_id")
    found = configure.configured(look.connection, look.book, look.user, client_id, account_id, look.now)
    is_tried = "tried" in typed
    is_filled = is_tried and (typed.get("way") == WITHDRAW or any(name in typed for name in FIXED_NAMES))
    given = dict(typed) if is_tried else {"way": FIX, "coverage_month": found.open_from, **typed}
    if not is_tried:
        given = {**_as_it_is(found, given["coverage_month"]), **given}
    of_another = _of_another(found, typed) if is_filled else {}
    change = Change("exception", client_id, account_id, body(typed)) if is_filled and not of_another else None
    values = {"configured": found, "months": months_around(found.month, given.get("coverage_month", ""))}
    if of_another:
        given["tried"], values["faulty"] = typed["tried"], of_another
    return Draft("exception.html", values, change, home(look.path), _field, given, {"reason": "the reason"})


def _as_it_is(found: Configured, month: str) -> dict[str, str]:
    """Give the dates that are fixed for a month already."""
    own = [each for each in found.exceptions if each.coverage_month == month and each.is_own]
    return {name: day.isoformat() for each in own for name, day in each.dates.items()}


def _of_another(found: Configured, typed: Mapping[str, str]) -> dict[str, str]:
    """Find dates that the form was filled in with for another month than the one that was chosen since."""
    month = typed["tried"]
    if typed.get("way") == WITHDRAW or month == typed.get("coverage_month"):
        return {}
    return {
        name: f"is what is fixed for {plain_month(month)}; clear it, or give the date of this month"
        for name, day in _as_it_is(found, month).items()
        if typed.get(name) == day
    }


def _field(pointer: str) -> str | None:
    name = pointer.removeprefix("/").split("/", maxsplit=1)[0]
    if name == "withdrawn":
        return "way"
    return name if name in NAMES else None


PAGES: Final = tuple(pages([f"{at}/exception" for at in AT], make, NAMES, "exception"))
