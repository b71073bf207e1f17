"""Access requests: a producer asks for several clients at once; their managers grant or decline several at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ebill import access
from ebill.errors import Refusal, shown
from ebill.grammar import Choice, Strict
from ebill.service import forms, grants, waiting
from ebill.web.pages.fields import parted, shown_at
from ebill.web.pages.page import Look, Moved, Page, Send, Shown
from ebill.web.reading import refuse_unknown_fields

AT: Final = "/access-requests"
MOST: Final = 200
"""Clients shown that wait; the others come when these are decided."""
LATEST: Final = 20
"""Requests, and decisions, that are shown of all there were."""
_PICK: Final = re.compile(r"pick\.([0-9A-Za-z-]{1,32})\.([0-9A-Za-z-]{1,32})", re.ASCII)


class AccessSchema(Strict):
    """Whether all that wait are ticked, and whether all of one's own requests are shown."""

    tick = Choice("all")
    show = Choice("all")


def access_requests_page(look: Look) -> Shown:
    """Show what one asked for, or what waits for one's decision."""
    return _page(look, look.query)


def ask_access(sent: Send) -> Moved:
    """Ask for clients."""
    refuse_unknown_fields(sent.form, ("client_ids", "reason"))
    body: dict[str, Any] = {"client_ids": parted(sent.form.get("client_ids", ""))}
    body |= {"reason": sent.form["reason"]} if "reason" in sent.form else {}
    grants.request_access(sent.write, sent.user, body)
    return Moved(f"{AT}#yours")


def decide_requests(sent: Send) -> Moved:
    """Grant or decline the clients that are ticked."""
    picked = _picked(sent.form)
    refuse_unknown_fields([name for name in sent.form if not _PICK.fullmatch(name)], ("decision", "reason"))
    waiting.decide(sent.write, sent.user, picked, sent.form.get("decision"), sent.form.get("reason"))
    return Moved(f"{AT}#decided")


def _picked(form: Mapping[str, str]) -> dict[str, list[str]]:
    """Give the clients that were ticked, by request."""
    picked: dict[str, list[str]] = {}
    for name in form:
        if found := _PICK.fullmatch(name):
            picked.setdefault(found[1], []).append(found[2])
    return picked


def _page(look: Look, query: Mapping[str, Any], form: Mapping[str, str] | None = None, **wrong: Any) -> Shown:
    connection, user = look.connection, look.user
    values: dict[str, Any] = {
        "may_decide": access.may(user, "decide_access"),
        "may_ask": access.may(user, "request_access"),
        "given": form or {},
        "faulty": {},
        "others": [],
        "all_ticked": query.get("tick") == "all",
        "most": forms.CLIENTS_AT_ONCE,
        **wrong,
    }
    if values["may_decide"]:
        asked = waiting.waiting(connection, user, MOST)
        values |= {
            "asked": asked,
            "count": waiting.count(connection, user),
            "shown": sum(len(each.clients) for each in asked),
            "decided": waiting.decided(connection, user, LATEST),
        }
    if values["may_ask"]:
        own = grants.access_requests(connection, user)["data"]
        values |= {"own": own if query.get("show") == "all" else own[:LATEST], "own_count": len(own)}
    return Shown("access_requests.html", values)


def _ask_again(look: Look, form: Mapping[str, str], refusal: Refusal) -> Shown:
    """Show the form to ask once more; an id that is none is named as it was written."""
    ids = parted(form.get("client_ids", ""))
    bad = [
        ids[int(place[1])] for fault in refusal.faults if (place := re.fullmatch(r"/client_ids/(\d+)", fault.pointer))
    ]
    faulty, others = shown_at(refusal, lambda pointer: pointer.split("/")[1] if pointer else None)
    if bad:
        named = ", ".join(f'"{shown(each)}"' for each in dict.fromkeys(bad))
        faulty["client_ids"] = f"no id of a client: {named}. An id is of letters, digits and -, at most 32"
    elif not ids:
        faulty["client_ids"] = "write at least one client's id"
    elif len(ids) > forms.CLIENTS_AT_ONCE:
        faulty["client_ids"] = f"at most {forms.CLIENTS_AT_ONCE} at once; these are {len(ids)}"
    return _page(look, {}, form, faulty=faulty, others=others)


def _decide_again(look: Look, form: Mapping[str, str], refusal: Refusal) -> Shown:
    """Show what waits once more, with what was ticked and still waits."""
    faulty, others = shown_at(refusal, lambda pointer: pointer[1:] if pointer in ("/clients", "/reason") else None)
    return _page(look, {}, form, faulty=faulty, others=others)


PAGES: Final = (
    Page(method="GET", path=AT, allows="own", view=access_requests_page, query=AccessSchema),
    Page(method="POST", path=AT, allows="request_access", view=ask_access, again=_ask_again),
    Page(method="POST", path=f"{AT}/decisions", allows="decide_access", view=decide_requests, again=_decide_again),
)
