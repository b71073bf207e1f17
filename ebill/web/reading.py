"""What of a request is taken: JSON in one form, each query parameter once, a body of a bounded size.

These read the WSGI environment itself: at a dozen microseconds an answer, Flask's request proxies would show.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BytesIO, TextIOWrapper
from tempfile import TemporaryFile
from typing import IO, Any, Final
from urllib.parse import parse_qsl

from flask import request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import NotFound, RequestEntityTooLarge
from werkzeug.wsgi import get_content_length, get_input_stream

from ebill import strictjson
from ebill.errors import BadRequest, Fault, InvalidInput, TooLarge, UnsupportedMediaType, did_you_mean, pointer, shown
from ebill.grammar import faults

LARGEST: Final = 256_000
"""Bytes of a body."""
LARGEST_FILE: Final = 64_000_000
"""Bytes of a body in CSV."""
LARGEST_BATCH: Final = 32_000_000
"""Bytes of a body in NDJSON."""
PARAMETERS: Final = 40
_CHARSET: Final = r'(;\s*charset="?utf-8"?)?'
_JSON: Final = re.compile(rf"application/json{_CHARSET}", re.IGNORECASE)
_CSV: Final = re.compile(rf"text/csv(;\s*header=present)?{_CHARSET}", re.IGNORECASE)
_NDJSON: Final = re.compile(rf"application/(x-ndjson|jsonl){_CHARSET}", re.IGNORECASE)
_BLOCK: Final = 65_536

Environ = dict[str, Any]


def refuse_ambiguous() -> None:
    """Refuse what a proxy in front could take for something else: no host or two, a path without a slash or with two.

    Raises BadRequest or NotFound. RFC 9112, section 3.2, asks for the former; Flask would find its way in both.
    """
    if not request.host:
        raise BadRequest("The request must name one host, in letters, digits, dots and dashes.")
    path = request.environ["PATH_INFO"]
    if not path.startswith("/") or path.startswith("//"):
        raise NotFound


def json_body(environ: Environ) -> bytes:
    """Give a JSON body as it came, bounded also where it comes in chunks. Raises UnsupportedMediaType, TooLarge."""
    content_type = environ.get("CONTENT_TYPE", "")
    if content_type != "application/json" and not _JSON.fullmatch(content_type):
        raise UnsupportedMediaType
    return b"".join(_blocks(environ, LARGEST, "application/json"))


@contextmanager
def csv_body(environ: Environ) -> Iterator[tuple[IO[str], bytes]]:
    """Give a CSV body as a file on disk, and its hash; refuses as `json_body`, at its own bound.

    One in chunks is refused, too: where the rest of them never comes, the server says nothing, and half a file is a
    file.
    """
    if not _CSV.fullmatch(environ.get("CONTENT_TYPE", "")):
        raise UnsupportedMediaType("text/csv")
    refuse_unmeasured(environ, "text/csv")
    seen = hashlib.sha256()
    with TemporaryFile() as file:
        for block in _blocks(environ, LARGEST_FILE, "text/csv"):
            seen.update(block)
            file.write(block)
        file.seek(0)
        yield TextIOWrapper(file, encoding="utf-8-sig", newline=""), seen.digest()


def ndjson_body(environ: Environ) -> IO[bytes]:
    """Give a body in NDJSON as a file on disk, to be closed by whoever reads it; refuses as `csv_body`.

    A list in JSON is taken, too, up to the bound of such bodies. Raises MalformedJson, or InvalidInput for no list.
    """
    if _JSON.fullmatch(environ.get("CONTENT_TYPE", "")):
        rows = strictjson.loads(json_body(environ))
        if not isinstance(rows, list):
            raise InvalidInput([Fault("", "must be a list of rows")])
        return BytesIO("".join(f"{json.dumps(row)}\n" for row in rows).encode())
    if not _NDJSON.fullmatch(environ.get("CONTENT_TYPE", "")):
        raise UnsupportedMediaType("application/x-ndjson")
    refuse_unmeasured(environ, "application/x-ndjson")
    with ExitStack() as stack:
        file = stack.enter_context(TemporaryFile())
        file.writelines(_blocks(environ, LARGEST_BATCH, "application/x-ndjson"))
        file.seek(0)
        stack.pop_all()
    return file


def form_body(environ: Environ, largest: int, fields: int) -> list[tuple[str, str]]:
    """Give the fields of a form as browsers send one without files; refuses as `json_body`, and what is no UTF-8.

    Werkzeug would put other signs in the place of such bytes, and the form would say what nobody wrote.
    """
    source = b"".join(_blocks(environ, largest, "application/x-www-form-urlencoded"))
    try:
        return parse_qsl(source.decode(), keep_blank_values=True, errors="strict", max_num_fields=fields)
    except ValueError:
        raise BadRequest(f"A form must be UTF-8, and have at most {fields} fields.") from None


def refuse_unmeasured(environ: Environ, taken: str) -> None:
    """Refuse a file in chunks, or one that is packed. Raises BadRequest, UnsupportedMediaType."""
    _refuse_packed(environ, taken)
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise BadRequest("A file must come with its Content-Length, not in chunks.")


def _refuse_packed(environ: Environ, taken: str) -> None:
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise UnsupportedMediaType(taken)


def _blocks(environ: Environ, largest: int, taken: str) -> Iterator[bytes]:
    """Give a body block by block, bounded also where it comes in chunks."""
    _refuse_packed(environ, taken)
    try:
        stream, size = get_input_stream(environ, max_content_length=largest + 1), 0
        whole = get_content_length(environ)
        most = _BLOCK if whole is None else min(whole + 1, _BLOCK)
        while block := stream.read(most):
            size += len(block)
            if size > largest:
                raise TooLarge(largest)
            yield block
        if size < (whole or 0):
            raise BadRequest("The body ended before its Content-Length.")
    except RequestEntityTooLarge:
        raise TooLarge(largest) from None


def query(environ: Environ) -> dict[str, str]:
    """Give the query, each parameter once. Raises BadRequest."""
    text = environ.get("QUERY_STRING", "")
    if not text:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS)
    except ValueError:
        raise BadRequest(f"The query must be UTF-8, and have at most {PARAMETERS} parameters.") from None
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequest(f'The query parameter "{shown(twice)}" is given twice.')
    return found


def refuse_unknown(
    query: Mapping[str, str], known: Collection[str], read: Callable[[dict[str, str]], object] | None = None
) -> None:
    """Raise InvalidInput for query parameters that are not known, with the nearest known ones.

    Where there are any, what is wrong with the others, which are `read`, is told with them.
    """
    try:
        _refuse_unknown("query parameter", query, known)
    except InvalidInput as refusal:
        if read is None:
            raise
        try:
            read({name: value for name, value in query.items() if name in known})
        except InvalidInput as others:
            raise InvalidInput([*refusal.faults, *others.faults]) from None
        raise


def read_query(schema: type[Schema], query: Mapping[str, str]) -> Any:
    """Read a query by its schema. Raises InvalidInput: for parameters that are not known, and for the others."""

    def read(query: Mapping[str, str]) -> Any:
        try:
            return schema().load(query)
        except ValidationError as error:
            raise InvalidInput(faults(error.messages)) from None

    refuse_unknown(query, [field.data_key or name for name, field in schema().fields.items()], read)
    return read(query)


def refuse_unknown_fields(form: Collection[str], known: Collection[str]) -> None:
    """Raise InvalidInput for fields of a form that are not known, with the nearest known ones."""
    _refuse_unknown("form field", form, known)


def _refuse_unknown(what: str, given: Collection[str], known: Collection[str]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise InvalidInput([Fault(pointer(name), f"unknown {what}{did_you_mean(name, known)}") for name in unknown])
