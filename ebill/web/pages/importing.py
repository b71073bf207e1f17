"""A file of clients: tried first and shown, with every fault in its place; then imported only as it was shown."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any, Final

from ebill.errors import (
    BadRequest,
    Fault,
    HazardsNotAcknowledged,
    ImportRefused,
    InvalidInput,
    PreviewOutdated,
    Refusal,
)
from ebill.service import imports
from ebill.service.example_file import example_file
from ebill.service.rows import OF_RECORD
from ebill.service.trial import Trial, import_as_tried, try_import
from ebill.web.pages.fields import shown_at
from ebill.web.pages.page import File, Look, Page, Send, Shown, Upload
from ebill.web.problems import status_of
from ebill.web.reading import refuse_unknown_fields

AT: Final = "/import"
FILE: Final = "file"
HELD_MOST: Final = 1_000_000
"""Bytes of a file that its page carries from the trial to the import; a larger one is chosen once more."""
CHANGES_MOST: Final = 30
"""Kinds of accounts that move alike, of which every date is shown; hazards are shown of all."""
NAMED_MOST: Final = 5
"""Accounts that are named of those that move alike."""
PASTED: Final = "pasted text"


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes that were sent: what they are called, how many, and themselves where they are few."""

    name: str
    size: int
    stream: IO[bytes]
    held: str | None


def import_page(look: Look) -> Shown:
    """Show where a file is chosen or pasted."""
    return _start(look)


def import_example(look: Look) -> File:
    """Give a file that may be imported as it is."""
    text = example_file(look.connection, look.book, look.user, look.now)
    return File(text.encode(), "text/csv; charset=utf-8", "clients-example.csv")


def try_file(sent: Send) -> Shown:
    """Show what importing a file would do, or what is wrong with it."""
    refuse_unknown_fields(sent.form, ("text",))
    if sent.file and "text" in sent.form:
        raise InvalidInput([Fault(f"/{FILE}", "choose a file or paste its text, not both")])
    source = _uploaded(sent.file) if sent.file else _given(sent.form.get("text", "").encode(), PASTED)
    return _tried(source, try_import(sent.write, sent.book, sent.user, source.stream))


def import_file(sent: Send) -> Shown:
    """Import a file if it still does what was shown; else show what it would do now."""
    refuse_unknown_fields(sent.form, ("held", "name", "digest", "state_seen", "acknowledged"))
    form = sent.form
    source = _uploaded(sent.file) if sent.file else _given(_bytes(form.get("held", "")), form.get("name", PASTED))
    seen, acknowledged = form.get("state_seen", ""), form.get("acknowledged") == "yes"
    found = import_as_tried(sent.write, sent.book, sent.user, source.stream, seen, acknowledged=acknowledged)
    if found.refusal is None:
        return Shown("imported.html", {"answer": found.answer, "source": source, "trial": found})
    return _tried(source, found, is_other=form.get("digest", found.digest) != found.digest)


def _bytes(held: str) -> bytes:
    try:
        return b64decode(held, validate=True)
    except (Error, ValueError):
        raise BadRequest("What this page carried of the file was changed on the way.") from None


def _uploaded(upload: Upload) -> Source:
    if upload.size <= HELD_MOST:
        return _given(upload.stream.read(), upload.name)
    return Source(upload.name, upload.size, upload.stream, None)


def _given(whole: bytes, name: str) -> Source:
    """Give bytes as a source. Raises InvalidInput where there are none, which is what an empty form sends."""
    if not whole:
        raise InvalidInput([Fault(f"/{FILE}", "choose a file, or paste its text")])
    held = b64encode(whole).decode() if len(whole) <= HELD_MOST else None
    return Source(name, len(whole), BytesIO(whole), held)


def _tried(source: Source, found: Trial, *, is_other: bool = False) -> Shown:
    refusal = found.refusal
    effect = found.answer["effect"] if found.answer else None
    values = {
        "source": source,
        "trial": found,
        "effect": effect,
        "makes_new": False,
        "changes": [_change(each) for each in effect["changes"][:CHANGES_MOST]] if effect else [],
        "change_count": len(effect["changes"]) if effect else 0,
        "hazards_of": {"hazards": [{**each, "account_id": _named(each["accounts"])} for each in found.hazards]},
        "is_outdated": isinstance(refusal, PreviewOutdated) and not is_other,
        "changed": refusal.changed if isinstance(refusal, PreviewOutdated) else (),
        "is_other": isinstance(refusal, PreviewOutdated) and is_other,
        "unread": isinstance(refusal, HazardsNotAcknowledged),
        "cells": sorted(refusal.cells, key=lambda cell: cell.line) if isinstance(refusal, ImportRefused) else [],
        "faults_most": imports.MOST_FAULTS,
    }
    return Shown("import_tried.html", values, status_of(type(refusal)) if refusal else 200)


def _change(change: Mapping[str, Any]) -> dict[str, Any]:
    """Give accounts that move alike as a page names them."""
    return {
        **change,
        "named": _named(change["accounts"]),
        "is_new": all(move["before"] is None for move in change["moved"]),
    }


def _named(accounts: list[dict[str, str]]) -> str:
    """Name accounts.

    >>> _named([{"client_id": "C1", "account_id": f"A{n}"} for n in range(7)])
    'C1 A0, C1 A1, C1 A2, C1 A3, C1 A4 and 2 more'
    """
    named = ", ".join(f"{each['client_id']} {each['account_id']}" for each in accounts[:NAMED_MOST])
    more = len(accounts) - NAMED_MOST
    return f"{named} and {more} more" if more > 0 else named


def _start(_: Look, form: Mapping[str, str] | None = None, refusal: Refusal | None = None) -> Shown:
    faulty, others = shown_at(refusal, lambda pointer: pointer[1:] or None) if refusal else ({}, [])
    values = {"given": form or {}, "faulty": faulty, "others": others, "of_record": OF_RECORD}
    return Shown("import.html", values)


PAGES: Final = (
    Page(method="GET", path=AT, allows="import_clients", view=import_page),
    Page(method="GET", path=f"{AT}/example.csv", allows="import_clients", view=import_example),
    Page(method="POST", path=f"{AT}/trial", allows="import_clients", view=try_file, again=_start, takes_file=FILE),
    Page(method="POST", path=AT, allows="import_clients", view=import_file, again=_start, takes_file=FILE),
)
