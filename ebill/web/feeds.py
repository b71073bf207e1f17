"""The routes of calendar feeds: their owners make, list and revoke them; whoever knows the secret address reads one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import IO, Any, Final

from flask import Response, current_app, request

from ebill import errors
from ebill.errors import FeedNotFound, StoreUnavailable
from ebill.render import ics
from ebill.service import feeds
from ebill.web import answers, conditions
from ebill.web.routes import Change, Given, Ics, Route, Signed
from ebill.web.signed import SignedIn

_SUFFIX: Final = ".ics"
_BLOCK: Final = 65_536
HEADERS: Final = {
    "Content-Disposition": 'inline; filename="deadlines.ics"',
    "Cache-Control": "private, no-cache",
    "X-Robots-Tag": "noindex",
}


def make_feed(asked: Change) -> Given:
    """Make a calendar feed. Its address is in this answer and nowhere else; whoever knows it can read the feed."""
    made, secret = feeds.make_feed(asked.write, asked.book, asked.user, asked.body)
    return Given({**made, **addresses(secret)}, 201, kept=(409, {"feed_id": made["feed_id"]}))


def addresses(secret: str) -> dict[str, str]:
    """Give the addresses of a feed, by which others reach it."""
    at = current_app.config["PUBLIC_URL"] or f"{request.scheme}://{request.host}{request.root_path}"
    url = f"{at}/v1/feeds/{secret}{_SUFFIX}"
    return {"url": url, "webcal_url": f"webcal:{url.partition(':')[2]}"}


def list_feeds(asked: Signed) -> Any:
    """List your calendar feeds, without their addresses."""
    return feeds.list_feeds(asked.connection, asked.user)


def revoke_feed(asked: Change) -> Given:
    """Revoke a calendar feed of yours, from this instant on; an administrator may revoke anybody's."""
    feeds.revoke_feed(asked.write, asked.user, asked.path["feed_id"])
    return Given(None, 204)


def fetch_feed(signed: SignedIn, secret: str) -> Response:
    """Give a calendar feed: deadlines as its user may see them now. Whatever is wrong, the answer is the same 404.

    Nothing but the address counts: who asks, and what the query says, is not read. `If-None-Match` is answered by 304.
    """
    if not secret.endswith(_SUFFIX):
        raise FeedNotFound
    book, now = signed.books.book, datetime.now(UTC)
    with signed.store.reading() as connection:
        fetch = feeds.fetch(connection, book, secret.removesuffix(_SUFFIX), signed.seal.calendars, now)
    body, size, tag = feeds.written(fetch, signed.store.reading())
    with ExitStack() as stack:
        stack.callback(body.close)
        with suppress(StoreUnavailable):  # what is not noted now is found again by the next fetch
            for part in feeds.parts(fetch):
                with signed.store.noting() as connection:
                    feeds.note(connection, fetch, part)
        headers = {**HEADERS, "ETag": conditions.tag(tag)}
        if conditions.is_known(request.environ, tag):
            return Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        headers["Content-Length"] = str(size)
        answer = Response(_blocks(body), headers=headers, content_type=ics.CONTENT_TYPE)
        answer.call_on_close(stack.pop_all().close)
        return answer


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


_FEED: Final = {"feed_id": "5f0c3b9a12de4471"}

ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/feeds",
        allows="own",
        view=list_feeds,
        summary="Your calendar feeds",
        gives=answers.Feeds,
    ),
    Route(
        method="POST",
        path="/v1/feeds",
        allows="make_feed",
        view=make_feed,
        summary="Make a calendar feed",
        gives=answers.NewFeed,
        body=feeds.FeedSchema,
        example={"kinds": ["due", "grace_end"], "state": "PA", "days_ahead": 180},
        statuses=(201,),
        refuses=(errors.ClientNotFound, errors.UnknownState, errors.FeedAlreadyShown),
    ),
    Route(
        method="DELETE",
        path="/v1/feeds/{feed_id}",
        allows="own",
        view=revoke_feed,
        summary="Revoke a calendar feed",
        gives=None,
        parameters=_FEED,
        statuses=(204,),
    ),
    Route(
        method="GET",
        path="/v1/feeds/{secret}.ics",
        allows="read_client",
        by_secret=True,
        view=fetch_feed,
        summary="A calendar feed",
        gives=Ics,
        parameters={"secret": f"ebf_{_FEED['feed_id']}_{'0' * 40}"},
        statuses=(200, 304),
        versioned=True,
    ),
)
