"""Which version a request is about: If-Match, If-None-Match, and ETags, which are our versions (RFC 9110, 13.1).

An edit names the version it was made from. `*` in If-Match would mean *whatever is there*, which is how edits get
lost: it counts as naming none. A weak tag matches no edit.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from flask import Response
from werkzeug.exceptions import PreconditionFailed

from ebill.errors import BadRequest, shown
from ebill.service.clients import Precondition

LONGEST: Final = 1000
"""Characters of a header with tags."""
_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e]*"'
_TAGS: Final = re.compile(rf"[ \t]*{_TAG}(?:[ \t]*,[ \t]*{_TAG})*[ \t]*")
_EACH: Final = re.compile(r'(W/)?"([^"]*)"')
_NONE: Final[frozenset[str]] = frozenset()
_VERSION: Final = re.compile(r"[1-9][0-9]{0,9}")


def tag(version: int | str) -> str:
    """Write a version as an ETag.

    >>> tag(3)
    '"3"'
    """
    return f'"{version}"'


def made_to(environ: dict[str, Any]) -> Precondition:
    """Read which version a change is made to; none where the request names none. Raises BadRequest."""
    match, none_match = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
    if match is not None and none_match is not None:
        raise BadRequest("Send If-Match for a change or If-None-Match: * for something new, not both.")
    if none_match is not None:
        return Precondition(new=_tags("If-None-Match", none_match) is None)
    if match is None or (tags := _tags("If-Match", match)) is None:
        return Precondition()
    strong = [int(text) for weak, text in tags if not weak and _VERSION.fullmatch(text)]
    return Precondition(next(iter(strong), 0), also=frozenset(strong))


def is_known(environ: dict[str, Any], version: int | str) -> bool:
    """Tell whether a reader says that this version is the one they have. Raises BadRequest."""
    tags = known(environ)
    return tags is None or str(version) in tags


def known(environ: dict[str, Any]) -> frozenset[str] | None:
    """Give the versions that a reader says they have; None for whichever there is. Raises BadRequest."""
    given = environ.get("HTTP_IF_NONE_MATCH")
    if given is None:
        return _NONE
    tags = _tags("If-None-Match", given)
    return None if tags is None else frozenset(text for _, text in tags)


def _tags(header: str, given: str) -> list[tuple[str, str]] | None:
    """Read a list of tags, each with its weakness; None for `*`."""
    if given.strip(" \t") == "*":
        return None
    if len(given) > LONGEST or not _TAGS.fullmatch(given):
        raise BadRequest(f'{header} must be ETags in quotes, such as "3", or *; it is {shown(given)}')
    return _EACH.findall(given)


def met(answer: Response) -> Response:
    """Give the answer with a file, or raise PreconditionFailed: Werkzeug would say so in the type of the file."""
    if answer.status_code == HTTPStatus.PRECONDITION_FAILED:
        answer.close()
        raise PreconditionFailed
    return answer
