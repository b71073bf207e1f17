"""The settings of a client or a bill account as a form, and a new one of either.

What is sent replaces all settings, as `PUT` does, and is made to the version that was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ebill import access
from ebill.service import calculator, clients, users
from ebill.service.clients import Precondition
from ebill.service.configure import Change
from ebill.web.pages.changing import Draft, pages
from ebill.web.pages.fields import whole
from ebill.web.pages.page import Look
from ebill.web.pages.rule_form import AT, SKIPS, home, skipped, ticked
from ebill.web.pages.words import next_month

BOTH: Final = ("name", "state", "product", "timezone", "first_coverage_month", "last_coverage_month")
OF_CLIENT: Final = (*BOTH, "team_id", "bills_here_since")
OF_ACCOUNT: Final = (*BOTH, "kind")
NAMES: Final = ("version", "skip", *SKIPS, *dict.fromkeys((*OF_CLIENT, *OF_ACCOUNT)))
NEW_NAMES: Final = ("id", *NAMES)
OWN, INHERITED = "own", "inherited"
_WORDED_CLIENT: Final = {"name": "its name"}
_WORDED_ACCOUNT: Final = {"name": "its name", "kind": "what it is for"}


def body(names: tuple[str, ...], given: Mapping[str, str]) -> dict[str, Any]:
    """Give the body of `PUT`: a field that is blank is inherited.

    >>> body(OF_ACCOUNT, {"name": "Main", "kind": "medical", "skip": "own", "month_7": "yes", "month_8": "yes"})
    {'name': 'Main', 'kind': 'medical', 'skip_coverage_months': [7, 8]}
    """
    said: dict[str, Any] = {name: given[name] for name in names if name in given}
    return {**said, "skip_coverage_months": skipped(given)} if given.get("skip") == OWN else said


def filled(names: tuple[str, ...], data: Mapping[str, Any]) -> dict[str, str]:
    """Fill a form in from settings: the reverse of `body`."""
    given = {name: str(data[name]) for name in names if data[name] is not None}
    months = data["skip_coverage_months"]
    return {**given, "version": str(data["version"]), "skip": INHERITED if months is None else OWN, **ticked(months)}


def make(look: Look, typed: Mapping[str, str]) -> Draft:
    """Read the form of the settings of a client or an account."""
    client_id, account_id = look.path["client_id"], look.path.get("account_id")
    client, _ = clients.client(look.connection, look.user, client_id)
    account = None
    if account_id is not None:
        account, _ = clients.account(look.connection, look.user, client_id, account_id)
    names = OF_CLIENT if account_id is None else OF_ACCOUNT
    change = None
    if "version" in typed:
        version = whole(typed["version"])
        made_to = Precondition(version if isinstance(version, int) else -1)
        what = "client" if account_id is None else "bill_account"
        change = Change(what, client_id, account_id, body(names, typed), made_to)  # type: ignore[arg-type]
    given = dict(typed) if change else filled(names, account or client)
    values = {"client": client, "account": account, "is_new": False, **_options(look)}
    worded = _WORDED_CLIENT if account_id is None else _WORDED_ACCOUNT
    return Draft("settings.html", values, change, home(look.path), _field, given, worded)


def make_client(look: Look, typed: Mapping[str, str]) -> Draft:
    """Read the form of a new client."""
    change, named = None, typed.get("id", "")
    if "version" in typed:
        change = Change("client", named, None, body(OF_CLIENT, typed), Precondition(new=True))
    given = dict(typed) if change else {**_new(look), **typed}
    values = {"client": None, "account": None, "is_new": True, **_options(look)}
    back = home({"client_id": named}) if named else "/clients"
    return Draft("settings.html", values, change, back, lambda at: _field(at, "client_id"), given, _WORDED_CLIENT)


def make_account(look: Look, typed: Mapping[str, str]) -> Draft:
    """Read the form of a new bill account of a client."""
    client_id, named = look.path["client_id"], typed.get("id", "")
    client, _ = clients.client(look.connection, look.user, client_id)
    change = None
    if "version" in typed:
        change = Change("bill_account", client_id, named, body(OF_ACCOUNT, typed), Precondition(new=True))
    given = dict(typed) if change else {**_new(look), **typed}
    values = {"client": client, "account": {}, "is_new": True, **_options(look)}
    back = home({"client_id": client_id, **({"account_id": named} if named else {})})
    return Draft("settings.html", values, change, back, lambda at: _field(at, "account_id"), given, _WORDED_ACCOUNT)


def _new(look: Look) -> dict[str, str]:
    """Give what a new one begins with: next month is its first, since without one it is billed from the beginning."""
    return {"version": "new", "skip": INHERITED, "first_coverage_month": next_month(look.now)}


def _options(look: Look) -> dict[str, Any]:
    told = calculator.states(look.book)
    teams = users.list_teams(look.connection)["data"]
    open_to = [(each["team_id"], each["name"]) for each in teams if access.may_assign(look.user, each["team_id"])]
    return {"states": told["states"], "products": told["products"], "teams": open_to, "skips": SKIPS}


def _field(pointer: str, named: str = "") -> str | None:
    name = pointer.removeprefix("/").split("/", maxsplit=1)[0]
    if name == named and named:
        return "id"
    if name == "skip_coverage_months":
        return "skip"
    return name if name in NAMES else None


PAGES: Final = (
    *pages([f"{at}/settings" for at in AT], make, NAMES, "settings"),
    *pages(["/clients/{client_id}/configure/new-account"], make_account, NEW_NAMES, "new_account"),
    *pages(["/new-client"], make_client, NEW_NAMES, "new_client"),
)
