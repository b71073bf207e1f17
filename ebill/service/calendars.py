"""Deadlines as events of a calendar."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final

from ebill.deadlines import Kind
from ebill.render.ics import Event
from ebill.service.deadlines import Deadline
from ebill.standing import Standing

TITLES: Final[Mapping[Kind, str]] = {
    "generation": "Invoice generated",
    "due": "Premium due",
    "recommended_pay_by": "Recommended pay-by",
    "safe_pay_by": "Safe pay-by",
    "grace_end": "Grace ends",
    "posts_by": "Payment posted",
}
_WHY: Final[Mapping[Kind, str]] = {
    "generation": "The invoice of {} is generated on this day",
    "due": "The premium of {} is due on or before this day",
    "recommended_pay_by": "To pay for {} by this day is recommended",
    "safe_pay_by": "What is paid for {} by this day, before the cut-off, posts before the next invoice is generated",
    "grace_end": "This is the last day on which a payment still keeps the coverage of {}",
    "posts_by": "The payment recorded for {} posts by this day",
}
_STANDS: Final[Mapping[Standing, str]] = {
    "not_yet_invoiced": "{} is not invoiced yet",
    "invoiced": "{} is invoiced",
    "in_grace": "{} is in grace",
    "grace_expired": "the grace of {} has expired",
    "payment_pending": "a payment for {} is pending",
    "paid": "{} is paid",
}


def namespace(key: bytes) -> bytes:
    """Give what the uids of an installation are made with, from a key of its own: they tell nobody what they name."""
    return hmac.digest(key, b"calendar uids", "sha256")


def uid(of: bytes, *named: str) -> bytes:
    """Give the uid of something in a namespace."""
    return hashlib.blake2b("/".join(named).encode(), key=of, digest_size=16).digest()


def uid_of(of: bytes, deadline: Deadline) -> bytes:
    """Give the uid of a deadline, which depends on its account, its coverage month and its kind alone."""
    return uid(of, deadline.client_id, deadline.account_id, deadline.coverage_month, deadline.kind)


def uuid(uid: bytes) -> str:
    r"""Write a uid as RFC 7986 would have it, section 5.3: as a UUID, of the version that is each maker's own.

    >>> uuid(bytes(16)), uuid(b"\xff" * 16)
    ('00000000-0000-8000-8000-000000000000', 'ffffffff-ffff-8fff-bfff-ffffffffffff')
    """
    text = uid.hex()
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{'89ab'[uid[8] >> 6]}{text[17:20]}-{text[20:]}"


def event(deadline: Deadline, uid: bytes, sequence: int, changed_at: datetime, *, names: bool, standing: bool) -> Event:
    """Give the event of a deadline, calling client and account by their ids or by their names.

    Where the invoice stands is said with `standing`: for a calendar that is read again and again it would not hold
    until the next look, and would change an event of which nothing else does.
    """
    day, kind, client, account, month, stands = deadline[:6]
    if names:
        client, account = deadline.client_name, deadline.account_name
    summary = f"{TITLES[kind]}: {client} / {account}, {month}"
    description = _description(kind, stands if standing else None, month)
    return Event(uuid(uid), day, summary, description, kind, sequence, False, changed_at)  # noqa: FBT003


def events(deadlines: Iterable[Deadline], key: bytes, at: datetime, *, names: bool) -> Iterator[Event]:
    """Give the events of deadlines as they are at an instant, for a calendar that is told once. See `namespace`."""
    of = namespace(key)
    for deadline in deadlines:
        yield event(deadline, uid_of(of, deadline), 0, at, names=names, standing=True)


@lru_cache(maxsize=4096)
def _description(kind: Kind, standing: Standing | None, month: str) -> str:
    stands = f"; {_STANDS[standing].format(month)}" if standing else ""
    return f"{_WHY[kind].format(month)}{stands}."
