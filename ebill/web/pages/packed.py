"""Pages and what belongs to them, packed with gzip for those who can read it.

A page is packed only for whoever asked for it from a page of ours, or by its address: see `may_pack`. What has a secret
in it tells, by its packed length, whether a guess beside it is right; so nobody else may choose what is asked for.
Source: BREACH, CVE-2013-3587.
"""

from __future__ import annotations

import gzip
from typing import Final

from flask import Response
from werkzeug.wrappers import Request

LEAST: Final = 1000
"""Bytes below which packing saves nothing."""
_LEVEL: Final = 5
_OWN: Final = frozenset({"same-origin", "none"})
"""What a browser says of a request that a page of ours or a person began, see Fetch Metadata (W3C)."""


def may_pack(request: Request) -> bool:
    """Tell whether a request may be answered packed: it says it can read gzip, and that no other site began it."""
    return request.headers.get("Sec-Fetch-Site") in _OWN and can_unpack(request)


def can_unpack(request: Request) -> bool:
    """Tell whether whoever asks can read gzip."""
    return request.accept_encodings["gzip"] > 0


def packed(body: bytes) -> bytes:
    """Pack a body; the same body gives the same bytes."""
    return gzip.compress(body, _LEVEL, mtime=0)


def pack(answer: Response) -> None:
    """Pack an answer in place."""
    body = answer.get_data()
    if len(body) >= LEAST:
        answer.set_data(packed(body))
        answer.headers["Content-Encoding"] = "gzip"
