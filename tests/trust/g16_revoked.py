"""What was taken from somebody is refused from then on, by every process, whatever it has kept.

Processes that have answered it before are asked while it is taken, and again once that was acknowledged.
"""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest.mock import patch

from ebill.errors import StoreUnavailable
from ebill.store import feeds, grants, sessions, tokens, users
from ebill.store.audit import By
from ebill.store.engine import Store, Writing
from tests.askers import Asker, askers
from tests.books import TEXT
from tests.trust.goals import Goal, Run, require
from tests.visits import HTML
from tests.world import ACME, NEVER, door

WHO = "pat-producer"
SCHEDULE = f"/v1/clients/{ACME}/schedule?from=2026-08&months=12&as_of=2026-08-03"
ASKED_BY = {"module": "tests.askers"}
Asked = tuple[str, dict[str, str]]
"""An address, and the headers."""
Made = TypeVar("Made")


def by_token(write: Writing) -> tuple[Asked, str]:
    """Give a new token, and what is asked with it."""
    token, secret = tokens.new_token(write.connection, WHO, "One more", write.at, NEVER)
    return (SCHEDULE, {"Authorization": f"Bearer {secret}"}), token.token_id


def by_feed(write: Writing) -> tuple[Asked, str]:
    """Give a new feed, and its address."""
    until = write.at + timedelta(days=30)
    feed = feeds.Feed(feeds.new_id(), WHO, "Deadlines", None, None, None, None, True, 31, 366, write.at, until)
    secret = feeds.add(write.connection, feed)
    return (f"/v1/feeds/{secret}.ics", {}), feed.feed_id


def by_session(write: Writing) -> tuple[Asked, str]:
    """Give a new session, and a page that is looked at in it."""
    cookie = sessions.new_session(write.connection, WHO, write.at)
    return ("/me", {"Accept": HTML, "Cookie": f"sid={cookie}"}), cookie


def _change(write: Writing, **changes: Any) -> None:
    user = users.user(write.connection, WHO)
    if user is None:
        raise LookupError(WHO)
    users.change_user(write.connection, replace(user, version=user.version + 1, **changes))


KINDS: dict[str, tuple[Callable[[Writing], tuple[Asked, str]], Callable[[Writing, str], Any], frozenset[int]]] = {
    "a grant withdrawn": (by_token, lambda write, _: grants.withdraw(write.connection, WHO, ACME), frozenset({404})),
    "a user disabled": (by_token, lambda write, _: _change(write, disabled_at=write.at), frozenset({401})),
    "a token revoked": (
        by_token,
        lambda write, token: tokens.revoke(write.connection, token, write.at),
        frozenset({401}),
    ),
    "a feed revoked": (
        by_feed,
        lambda write, feed: feeds.revoke(write.connection, feed, WHO, write.at),
        frozenset({404}),
    ),
    "a session ended": (
        by_session,
        lambda write, cookie: sessions.end_sessions(write.connection, WHO, write.at, cookie),
        frozenset({303, 401}),
    ),
}
"""What is taken: how it is given and asked, how it is taken, and how it is refused from then on."""


def revoked(run: Run) -> str:
    """Give something, have all processes answer by it, take it, and ask them again; over and over."""
    book = run.folder / "states.toml"
    book.write_text(TEXT, "utf-8")
    book.chmod(0o644)
    draw = random.Random(0)  # noqa: S311  # no secret
    store = Store(run.store)
    rounds, processes, during = run.pick(2, 400), run.pick(2, 4), [0, 0]
    try:
        door(store)
        with askers(run.store, book, processes, ASKED_BY["module"]) as found:
            for at in range(rounds):
                for what in draw.sample(sorted(KINDS), len(KINDS)):
                    run.say(f"{what}, {at + 1} of {rounds}")
                    statuses = _race(store, found, what)
                    during[0] += sum(status == 200 for status in statuses)
                    during[1] += len(statuses)
    finally:
        store.close()
    asked = rounds * len(KINDS) * processes
    return (
        f"0 of {asked:,} requests served after it was acknowledged, by {processes} processes that had served it; "
        f"{during[0]} of {during[1]:,} served that were sent just before"
    )


def _race(store: Store, found: list[Asker], what: str) -> list[int]:
    give, take, refused = KINDS[what]

    def begin(write: Writing) -> tuple[Asked, Any]:
        if what == "a grant withdrawn":
            grants.grant(write.connection, WHO, ACME, "x", write.at)
        given = give(write)
        write.audit("give")
        return given

    def end(write: Writing) -> None:
        require(take(write, name) is not False, f"{what}: there was nothing to take")
        write.audit("take", client_id=ACME)

    def restore(write: Writing) -> None:
        grants.grant(write.connection, WHO, ACME, "x", write.at)
        _change(write, disabled_at=None)
        write.audit("give", client_id=ACME)

    asked, name = _acknowledged(store, begin)
    for _ in range(2):
        warm = [status for status, _ in _all(found, asked)]
        require(set(warm) == {200}, f"before {what}: {warm}")
    for each in found:
        each.tell(*asked)
    _acknowledged(store, end)
    during = [each.hear().status for each in found]
    late = [status for status, _ in _all(found, asked)]
    require(set(late) <= refused, f"after {what} was acknowledged: {late}")
    require(set(during) <= {200, 503} | refused, f"during {what}: {during}")
    _acknowledged(store, restore)
    return during


def _acknowledged(store: Store, change: Callable[[Writing], Made]) -> Made:
    """Make a change, again where the store is busy and says that nothing was changed."""
    while True:
        try:
            with store.writing(_by(), _now) as write:
                return change(write)
        except StoreUnavailable:
            time.sleep(0.1)


def _all(found: list[Asker], asked: Asked) -> list[tuple[int, str]]:
    for each in found:
        each.tell(*asked)
    return [(answer.status, answer.body) for answer in [each.hear() for each in found]]


def _by() -> By:
    return By("x", _now())


def _now() -> datetime:
    return datetime.now(UTC)


def forgetful() -> Any:
    """Plant that a process remembers whom it has let in."""
    return patch.dict(ASKED_BY, module="tests.trust.forgetful")


def unwatchful() -> Any:
    """Plant that a connection does not look whether somebody has changed the store."""
    return patch.dict(ASKED_BY, module="tests.trust.unwatchful")


GOAL = Goal(
    id="G16",
    name="What was taken from somebody",
    rule="0 requests served once it was acknowledged that a grant, user, token, feed or session is no more",
    show=revoked,
    faults={
        "a process remembers whom it has let in": forgetful,
        "a connection does not look whether somebody has changed the store": unwatchful,
    },
    stores=True,
)
