"""A change as a form: what is typed is tried at once, shown with what it would move, and saved only as it was shown.

The form asks with GET, so that its address is what was typed, and trying it writes nothing. Beside what it would do
stands a second form, which sends the very same with the state it was previewed in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from flask import request
from marshmallow import Schema, ValidationError, fields

from ebill.errors import (
    AccountNotFound,
    ClientNotFound,
    MovesGeneratedInvoice,
    PreviewOutdated,
    Refusal,
    StoreUnavailable,
)
from ebill.grammar import TEXT_LIMIT, Strict
from ebill.service import configure, history
from ebill.service.configure import Change
from ebill.service.forms import REASON_NEEDED
from ebill.store.audit import By
from ebill.store.engine import Writing
from ebill.web.fence import REQUEST_ID
from ebill.web.pages.fields import shown_at
from ebill.web.pages.page import Again, Look, Moved, Page, Send, Shown
from ebill.web.problems import status_of
from ebill.web.reading import refuse_unknown_fields

SAVING: Final = ("state_seen", "acknowledged", "retroactive", "why")
"""What is sent to save a change besides the change itself."""
TAKEN: Final = "this id cannot be used"
"""Of a client whom one does not see."""
_STAND_IN: Final = "not given yet"
_MISTAKE: Final = 422


class AsTyped(fields.Field[str]):
    """A text as it was typed, for the service to read."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if len(value) > 4 * TEXT_LIMIT:
            raise ValidationError(f"must be at most {TEXT_LIMIT} characters")
        return str(value)


def typed(names: Collection[str]) -> type[Schema]:
    """Give the schema of a query that is a form with these fields."""
    return Strict.from_dict({name: AsTyped() for name in names}, name="TypedSchema")


@dataclass(frozen=True, slots=True)
class Draft:
    """A form as it was filled in.

    `change` is None until it was; it lacks what is said only to save. `worded` are the parts of its body that move no
    date, with what to call them: a change is shown without them, but not saved. `field_of` gives the field of a fault's
    pointer.
    """

    template: str
    values: Mapping[str, Any]
    change: Change | None
    back: str
    field_of: Callable[[str], str | None]
    given: Mapping[str, str]
    worded: Mapping[str, str] = field(default_factory=dict)


Make = Callable[[Look, Mapping[str, str]], Draft]
"""Reads a form; `Look.path` says of whom."""


def pages(paths: Sequence[str], make: Make, names: Collection[str], called: str) -> list[Page]:
    """Declare the pages of a form, at each of the paths: to fill it in, and to save what it would do.

    `called` tells the views of one form from those of another.
    """

    def fill_in(look: Look) -> Shown:
        return _shown(look, make(look, look.query))

    def save(sent: Send) -> Moved:
        refuse_unknown_fields(sent.form, (*names, *SAVING))
        draft = make(sent, _without(sent.form, SAVING))
        if draft.change is None:
            raise PreviewOutdated
        change = replace(draft.change, body={**draft.change.body, **_owned(sent.form, draft)})
        configure.save(
            sent.write,
            sent.book,
            sent.user,
            change,
            sent.form.get("state_seen", ""),
            acknowledged=sent.form.get("acknowledged") == "yes",
        )
        return Moved(f"{draft.back}?saved={request.environ[REQUEST_ID]}#saved")

    def again(look: Look, form: Mapping[str, str], refusal: Refusal) -> Shown:
        return _shown(look, make(look, _without(form, SAVING)), form, refusal)

    fill_in.__name__, save.__name__ = f"{called}_form", f"save_{called}"
    found: list[Page] = []
    shown_again: Again = again
    for path in paths:
        found += (
            Page(method="GET", path=path, allows="configure_client", view=fill_in, query=typed(names)),
            Page(method="POST", path=path, allows="configure_client", view=save, again=shown_again),
        )
    return found


def _owned(form: Mapping[str, str], draft: Draft) -> dict[str, Any]:
    """Give what was said to save a change: that invoices already generated are meant, and why."""
    owned: dict[str, Any] = {"retroactive": True} if form.get("retroactive") == "yes" else {}
    if "why" in form and "reason" not in draft.worded:
        owned["reason"] = form["why"]
    return owned


def _shown(look: Look, draft: Draft, sent: Mapping[str, str] | None = None, refusal: Refusal | None = None) -> Shown:
    """Show a form, and what it would do; `refusal` is why it was not saved."""
    sent = sent or {}
    faulty: dict[str, str] = {}
    others: list[str] = []
    preview, examples = None, []
    missing = [said for name, said in draft.worded.items() if draft.change and name not in draft.change.body]
    status = 200
    if draft.change is not None:
        try:
            stood_in = dict.fromkeys(draft.worded, _STAND_IN)
            tried = replace(draft.change, body={**stood_in, **draft.change.body})
            trying = Writing(look.connection, By(look.user.user_id, look.now))
            preview = configure.preview(trying, look.book, look.user, tried)
            examples = configure.examples(look.connection, look.book, look.user, tried, preview.effect, look.now)
        except (AccountNotFound, StoreUnavailable):
            raise
        except ClientNotFound:
            if not makes_client(draft.change):
                raise
            faulty, status = {"id": TAKEN}, _MISTAKE
        except Refusal as why:
            faulty, others = shown_at(why, draft.field_of)
            status = _MISTAKE
    if refusal is not None and preview is not None:
        faulty, others = _at_saving(refusal, draft)
    changed = refusal.changed if isinstance(refusal, PreviewOutdated) else ()
    is_of_client = isinstance(refusal, PreviewOutdated) and (not changed or configure.CLIENT in changed)
    values = {
        "given": draft.given,
        "faulty": faulty,
        "others": others,
        "preview": preview,
        "examples": examples,
        "missing": missing,
        "sent": sent,
        "again": {} if draft.change is None else draft.given,
        "back": draft.back,
        "makes_new": draft.change is not None and draft.change.made_to.new,
        "asks_why": "reason" not in draft.worded,
        "last_change": _last_change(look) if is_of_client else None,
        "changed": changed,
        "is_outdated": isinstance(refusal, PreviewOutdated),
        **draft.values,
    }
    return Shown(draft.template, values, status_of(type(refusal)) if refusal else status)


def makes_client(change: Change) -> bool:
    """Tell whether a change makes a client, whose id is nobody's yet as far as one can see."""
    return change.what == "client" and change.made_to.new


def _at_saving(refusal: Refusal, draft: Draft) -> tuple[dict[str, str], list[str]]:
    """Give why a change was not saved, at the fields of either form."""
    if isinstance(refusal, MovesGeneratedInvoice):
        return {"retroactive": "tick this, and say why, if that is meant"}, []
    own = {"/retroactive": "retroactive", "/acknowledged": "acknowledged"}
    if "reason" not in draft.worded:
        own["/reason"] = "why"
    faulty, others = shown_at(refusal, lambda pointer: own.get(pointer) or draft.field_of(pointer))
    if faulty.get("why") == REASON_NEEDED:
        faulty["why"] = "say why invoices that were generated already are to move"
    return faulty, others


def _last_change(look: Look) -> dict[str, Any] | None:
    """Give who changed the client last: perhaps oneself, with the first of two clicks."""
    client_id = look.path.get("client_id")
    if client_id is None:
        return None
    sought = history.Sought(client_id=client_id, newest=True)
    found = history.list_audit(look.connection, look.user, 1, None, look.seal, sought)["data"]
    return found[0] if found else None


def _without(form: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in form.items() if name not in names}
