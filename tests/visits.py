"""The world of `tests.world` as people see it: everybody has a session, and sends forms from our own pages."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO

from werkzeug.test import TestResponse

from ebill.store import sessions
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.web.pages import cookies
from tests.world import ACTORS, Door, Rehearsal, World, fill

MULTIPART = "multipart/form-data"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


class Visits(Door):
    """The HTTP door, and the cookies of those who come in by its pages."""

    def __init__(self, store: Store, world: World, sessions: Mapping[str, str]) -> None:
        super().__init__(store, world)
        self.client = self.app.test_client(use_cookies=False)
        self.sessions = dict(sessions)
        self.seal = self.app.extensions["ebill.signed"].seal

    def look(self, actor: str, path: str, headers: Mapping[str, str] | None = None) -> TestResponse:
        """Look at a page as somebody."""
        return self.client.get(path, headers={"Accept": HTML, **self.cookie(actor), **(headers or {})}, buffered=True)

    def send(
        self,
        actor: str,
        path: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        token: str | None = None,
        multipart: bool = False,
        file: bytes | None = None,
    ) -> TestResponse:
        """Send a form from a page of ours; `token` another one than the session's, `file` in the field of that name."""
        right = cookies.form_token(self.seal, self.sessions.get(actor, ""))
        sent = {**(form or {}), cookies.TOKEN: right if token is None else token}
        around = {"Accept": HTML, "Sec-Fetch-Site": "same-origin", **self.cookie(actor), **(headers or {})}
        if multipart or file is not None:
            data = {**sent, **({} if file is None else {"file": (BytesIO(file), "clients.csv")})}
            return self.client.post(path, data=data, content_type=MULTIPART, headers=around, buffered=True)
        return self.client.post(path, data=sent, headers=around, buffered=True)

    def cookie(self, actor: str) -> dict[str, str]:
        """Give the header with somebody's cookie."""
        cookie = self.sessions.get(actor)
        return {"Cookie": f"sid={cookie}"} if cookie else {}


def begin_sessions(store: Store) -> dict[str, str]:
    """Begin a session for everybody; that of `revoked` has ended."""
    now = datetime.now(UTC)
    with store.writing(By("setup", now)) as write:
        named = {actor: user_id for actor, user_id in ACTORS.items() if user_id}
        found = {actor: sessions.new_session(write.connection, user_id, now) for actor, user_id in named.items()}
        found["quinn"] = sessions.new_session(write.connection, "quinn-quartz", now)
        sessions.end_sessions(write.connection, ACTORS["revoked"], now, found["revoked"])
        old = now - timedelta(hours=9)
        found["idle"] = sessions.new_session(write.connection, ACTORS["producer"], now - timedelta(minutes=31))
        found["old"] = sessions.new_session(write.connection, ACTORS["producer"], old)
        sessions.seen(write.connection, found["old"], now)
        write.audit("setup")
    return found


def visits(store: Store) -> Visits:
    """Fill an empty store, and open an application on it."""
    world = fill(store)
    return Visits(store, world, begin_sessions(store))


def rehearsed_visits(url: str) -> Iterator[Visits]:
    """Do the same; nothing is kept from then on."""
    store = Store(url)
    world = fill(store)
    sessions = begin_sessions(store)
    Door(store, world)
    store.close()
    rehearsal = Rehearsal(url)
    with closing(rehearsal):
        yield Visits(rehearsal, world, sessions)


def session_ids(opened: Visits) -> dict[str, str]:
    """Give the names of the sessions."""
    return {actor: sessions.session_id(cookie) for actor, cookie in opened.sessions.items()}


def text_of(answer: TestResponse) -> str:
    """Give a page as text."""
    return answer.get_data(as_text=True)
