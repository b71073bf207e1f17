"""One's own page: who one is, payment terms, password, sessions, tokens and calendar feeds."""

from __future__ import annotations

from typing import Any, Final

from ebill import passwords
from ebill.deadlines import KINDS
from ebill.errors import Fault, InvalidInput, Refusal, WrongPassword
from ebill.grammar import Choice, Strict
from ebill.service import calculator, feeds, people, sessions
from ebill.web.feeds import addresses
from ebill.web.pages.fields import parted, whole
from ebill.web.pages.page import Again, Look, Moved, Page, Ready, Send, Shown
from ebill.web.reading import refuse_unknown

AT: Final = "/me"


class MePageSchema(Strict):
    """What was just changed."""

    changed = Choice("password")


def me(look: Look) -> Shown:
    """Show who one is, and what one holds."""
    return _me(look)


def payment_terms(sent: Send) -> Moved:
    """Accept the electronic payment terms, or decline them."""
    refuse_unknown(sent.form, ("accepted",))
    accepted = {"yes": True, "no": False}.get(sent.form.get("accepted", ""))
    people.accept_terms(sent.write, sent.user, accepted=people.terms({"accepted": accepted}))
    return Moved(f"{AT}#terms")


def make_own_token(sent: Send) -> Shown:
    """Make a token, and show it this once."""
    refuse_unknown(sent.form, ("name", "days", "read_only", "client_ids"))
    body: dict[str, Any] = dict(sent.form)
    for name, read in (("days", whole), ("read_only", _ticked), ("client_ids", parted)):
        if name in body:
            body[name] = read(body[name])
    made = people.make_token(sent.write, sent.user, body)
    return Shown("made.html", {"what": "token", "secrets": {"Token": made["token"]}, "made": made})


def revoke_own_token(sent: Send) -> Moved:
    """Revoke a token, from this instant on."""
    refuse_unknown(sent.form, ())
    people.revoke_token(sent.write, sent.user, sent.path["token_id"])
    return Moved(f"{AT}#tokens")


def make_own_feed(sent: Send) -> Shown:
    """Make a calendar feed, and show its address this once."""
    chosen = [kind for kind in KINDS if f"kind_{kind}" in sent.form]
    refuse_unknown(sent.form, ("name", "state", "names", *(f"kind_{kind}" for kind in KINDS)))
    body: dict[str, Any] = {name: value for name, value in sent.form.items() if not name.startswith("kind_")}
    body |= {"names": sent.form["names"] == "yes"} if "names" in sent.form else {}
    body |= {"kinds": chosen} if chosen else {}
    made, secret = feeds.make_feed(sent.write, sent.book, sent.user, body)
    at = addresses(secret)
    told = {"Address for Outlook and Google": at["url"], "Address for Apple Calendar": at["webcal_url"]}
    return Shown("made.html", {"what": "feed", "secrets": told, "made": made})


def revoke_own_feed(sent: Send) -> Moved:
    """Revoke a calendar feed, from this instant on."""
    refuse_unknown(sent.form, ())
    feeds.revoke_feed(sent.write, sent.user, sent.path["feed_id"])
    return Moved(f"{AT}#feeds")


def end_session(sent: Send) -> Moved:
    """End a session of one's own."""
    refuse_unknown(sent.form, ())
    sessions.end_one(sent.write, sent.user, sent.path["session_id"])
    return Moved(f"{AT}#sessions")


def hash_own_password(ready: Ready) -> tuple[str, str]:
    """Give the hash of the password that is to be changed, and of the one in its stead.

    Raises TooManyTries, as at sign-in and counted with it, WrongPassword, InvalidInput and TooBusy.
    """
    refuse_unknown(ready.form, ("old_password", "new_password"))
    user, new = ready.user, ready.form.get("new_password", "")
    passwords.refuse_weak(new, (user.user_id, user.name), "/new_password")
    ready.tries.begin(user.user_id.lower(), ready.address)
    with ready.reading() as connection:
        kept = sessions.password_kept(connection, user.user_id)
    if not passwords.matches(kept, ready.form.get("old_password", "")) or kept is None:
        raise WrongPassword
    ready.tries.succeeded(user.user_id.lower(), ready.address)
    if new == ready.form["old_password"]:
        raise InvalidInput([Fault("/new_password", "is the one that you have")])
    return kept, passwords.hashed(new)


def change_own_password(sent: Send) -> Moved:
    """Change the password; every session ends, and this one goes on under a new cookie."""
    kept, own = sent.made
    return Moved(f"{AT}?changed=password#password", sessions.change_password(sent.write, sent.user, kept, own))


def _me(look: Look, about: str = "", refusal: Refusal | None = None) -> Shown:
    """Give the page; a refusal is shown where the form that it is about stands."""
    connection, user, now = look.connection, look.user, look.now
    tokens = people.list_tokens(connection, user)["data"]
    own_feeds = feeds.list_feeds(connection, user)["data"]
    values = {
        "me": people.me(connection, user),
        "has_password": sessions.password_kept(connection, user.user_id) is not None,
        "changed": look.query.get("changed"),
        "sessions": sessions.list_sessions(connection, user, now, look.cookie),
        "tokens": [each for each in tokens if _counts(each, now)],
        "feeds": [each for each in own_feeds if _counts(each, now)],
        "states": calculator.states(look.book)["states"],
        "about": about,
        "refusal": refusal,
    }
    return Shown("me.html", values)


def _ticked(said: str) -> bool | str:
    """Read a box that was ticked; what no box says is left for the schema to refuse."""
    return said == "yes" or said


def _counts(held: dict[str, Any], now: Any) -> bool:
    return held["revoked_at"] is None and held["expires_at"] > now


def _again(about: str) -> Again:
    return lambda look, _, refusal: _me(look, about, refusal)


PAGES: Final = (
    Page(method="GET", path=AT, allows="own", view=me, query=MePageSchema),
    Page(
        method="POST",
        path="/me/password",
        allows="own",
        view=change_own_password,
        before=hash_own_password,
        again=_again("password"),
    ),
    Page(method="POST", path="/me/payment-terms", allows="own", view=payment_terms),
    Page(method="POST", path="/me/tokens", allows="own", view=make_own_token, again=_again("tokens")),
    Page(method="POST", path="/me/tokens/{token_id}/revoke", allows="own", view=revoke_own_token),
    Page(method="POST", path="/me/feeds", allows="make_feed", view=make_own_feed, again=_again("feeds")),
    Page(method="POST", path="/me/feeds/{feed_id}/revoke", allows="own", view=revoke_own_feed),
    Page(method="POST", path="/me/sessions/{session_id}/end", allows="own", view=end_session),
)
