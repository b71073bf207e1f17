"""Idempotency-Key: a change that is sent twice is made once, and answered twice with the same answer.

The answer is kept by caller, address and key, in the transaction of the change itself, for a day. A request that was
refused changed nothing, so its key is free again.
"""

from __future__ import annotations

import hashlib
import re
from http import HTTPStatus
from typing import Any, Final

import orjson
from flask import Response

from ebill.errors import FeedAlreadyShown, KeyMissing, Refusal, TokenAlreadyShown
from ebill.store.once import Asked, Kept

_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
SHOWN_ONCE: Final[dict[str, type[Refusal]]] = {"token_id": TokenAlreadyShown, "feed_id": FeedAlreadyShown}
"""How an answer that was a secret is refused the second time, by what is kept of it."""
KEPT_HEADERS: Final = ("ETag", "Location")


def key(environ: dict[str, Any]) -> str:
    """Give the key of a request. Raises KeyMissing, also for one that is longer or other than is taken."""
    given: str = environ.get("HTTP_IDEMPOTENCY_KEY", "")
    if not _KEY.fullmatch(given):
        raise KeyMissing
    return given


def asked(environ: dict[str, Any], caller: str, body_hash: bytes) -> Asked:
    """Say what makes a request the same as another: who, where, the key, and what is asked there."""
    query = environ.get("QUERY_STRING", "").encode("latin-1", "replace")
    same = hashlib.sha256(hashlib.sha256(query).digest() + body_hash).digest()
    return Asked(caller, f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}", key(environ), same)


def kept(answer: Response, instead: tuple[int, Any] | None) -> Kept:
    """Turn an answer into what is kept of it; `instead` of one that is a secret."""
    if instead is not None:
        status, facts = instead
        return Kept(status, "{}", orjson.dumps(facts))
    headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
    return Kept(answer.status_code, orjson.dumps(headers).decode(), answer.get_data())


def again(found: Kept) -> Response:
    """Give a kept answer again. Raises TokenAlreadyShown or FeedAlreadyShown where it was a secret."""
    if found.status == HTTPStatus.CONFLICT:
        ((name, made),) = orjson.loads(found.body).items()
        raise SHOWN_ONCE[name](made)
    return Response(found.body, found.status, orjson.loads(found.headers), content_type="application/json")
