"""What is set for a client or a bill account, and where to change it; and the list of clients to find one in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from ebill import access
from ebill.grammar import Strict, Text, Word
from ebill.service import calculator, clients, configure, history, listing
from ebill.service.clients import refuse_unconfigured
from ebill.service.configure import KINDS
from ebill.web.pages.changing import AsTyped
from ebill.web.pages.page import Look, Page, Shown
from ebill.web.pages.rule_form import AT, home
from ebill.web.queries import Cursor

CHANGES: Final = 20
PAGE: Final = 50
_UNSAID: Final = frozenset(
    {"client_id", "account_id", "version", "retroactive", "reason", "recorded_by", "recorded_at", "sequence"}
)
"""What a row of the audit says elsewhere, or for programs."""


_FIRST: Final = frozenset({"since", "coverage_month", "name"})
"""What is told first of a change, after the rule itself."""
_TOLD: Final = frozenset({"put_client", "put_bill_account", "add_rule", "add_exception"})
"""The changes that are told part by part."""


class ClientsSchema(Strict):
    """What the list is narrowed to, and which page of it."""

    state = Word()
    q = Text()
    cursor = Cursor()


class ConfigureSchema(Strict):
    """Which change has just been saved, by the number of its request."""

    saved = AsTyped()


def clients_page(look: Look) -> Shown:
    """List the clients that somebody sees."""
    query = dict(look.query)
    cursor = query.pop("cursor", None)
    refuse_unconfigured(look.book, query)
    found = listing.clients_page(look.connection, look.user, listing.Sought(**query), PAGE, cursor, look.seal)
    following = found["next_cursor"]
    values = {
        "clients": found["data"],
        "filters": query,
        "following": f"/clients?{urlencode({**query, 'cursor': following})}" if following else None,
        "is_first": cursor is None,
        "beginning": f"/clients?{urlencode(query)}" if query else "/clients",
        "states": calculator.states(look.book)["states"],
        "may_configure": access.may(look.user, "configure_client"),
    }
    return Shown("clients.html", values)


def configure_page(look: Look) -> Shown:
    """Show what is set for a client or a bill account."""
    client_id, account_id = look.path["client_id"], look.path.get("account_id")
    found = configure.configured(look.connection, look.book, look.user, client_id, account_id, look.now)
    sought = history.Sought(client_id=client_id, only=history.SETTING, newest=True)
    told = history.list_audit(look.connection, look.user, CHANGES, None, look.seal, sought)
    changes = [{**row, "told": list(_told(row))} for row in told["data"]]
    saved = look.query.get("saved")
    values = {
        "configured": found,
        "here": home(look.path),
        "accounts": clients.client(look.connection, look.user, client_id)[0]["bill_accounts"],
        "changes": changes,
        "saved": [row for row in changes if saved and row["request_id"] == saved],
    }
    return Shown("configure.html", values)


def _told(row: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Give what a change changed: of what, from what, to what."""
    if row["action"] not in _TOLD:
        return
    before, after = row["before"] or {}, row["after"] or {}
    for name in sorted({*after, *before}, key=lambda name: (name not in KINDS, name not in _FIRST, name)):
        was, now = before.get(name), after.get(name)
        if name in _UNSAID or was == now:
            continue
        if name in KINDS:
            was, now = (None if value is None else configure.said(name, value) for value in (was, now))
        yield name, was, now


PAGES: Final = (
    Page(method="GET", path="/clients", allows="read_client", view=clients_page, query=ClientsSchema),
    *(Page(method="GET", path=at, allows="configure_client", view=configure_page, query=ConfigureSchema) for at in AT),
)
