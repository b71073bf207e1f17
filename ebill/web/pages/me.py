"""One's own page: who one is, payment terms, password, sessions, tokens and calendar feeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from ebill import passwords
from ebill.deadlines import KINDS
from ebill.errors import Fault, InvalidInput, ProofNeeded, Refusal, WrongPassword, shown
from ebill.grammar import Choice, Strict
from ebill.service import calculator, feeds, sessions, tokens, users
from ebill.web.feeds import addresses
from ebill.web.pages.fields import parted, whole
from ebill.web.pages.page import Again, Look, Moved, Page, Ready, Send, Shown
from ebill.web.reading import refuse_unknown_fields

AT: Final = "/me"
PASSWORD: Final = "password"  # noqa: S105  # the name of a field
"""The field of one's password, in the forms that ask for it where one signed in more than 15 minutes ago."""
_PASSWORDS: Final = frozenset({PASSWORD, "old_password", "new_password"})
"""Never shown again."""
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class MePageSchema(Strict):
    """What was just changed."""

    changed = Choice("password")


def me(look: Look) -> Shown:
    """Show who one is, and what one holds."""
    return _me(look)


def payment_terms(sent: Send) -> Moved:
    """Accept the electronic payment terms, or decline them."""
    refuse_unknown_fields(sent.form, ("accepted",))
    accepted = {"yes": True, "no": False}.get(sent.form.get("accepted", ""))
    users.accept_terms(sent.write, sent.user, accepted=users.terms({"accepted": accepted}))
    return Moved(f"{AT}#terms")


def make_own_token(sent: Send) -> Shown:
    """Make a token, and show it this once."""
    made = tokens.make_token(sent.write, sent.user, _token(_proved(sent)))
    return Shown("made.html", {"what": "token", "secrets": {"Token": made["token"]}, "made": made})


def revoke_own_token(sent: Send) -> Moved:
    """Revoke a token, from this instant on."""
    refuse_unknown_fields(sent.form, ())
    tokens.revoke_token(sent.write, sent.user, sent.path["token_id"])
    return Moved(f"{AT}#tokens")


def make_own_feed(sent: Send) -> Shown:
    """Make a calendar feed, and show its address this once."""
    chosen = [kind for kind in KINDS if f"kind_{kind}" in sent.form]
    refuse_unknown_fields(sent.form, ("name", "state", "names", PASSWORD, *(f"kind_{kind}" for kind in KINDS)))
    body = {name: value for name, value in _proved(sent).items() if not name.startswith("kind_")}
    body |= {"names": sent.form["names"] == "yes"} if "names" in sent.form else {}
    body |= {"kinds": chosen} if chosen else {}
    made, secret = feeds.make_feed(sent.write, sent.book, sent.user, body)
    at = addresses(secret)
    told = {"Address for Outlook and Google": at["url"], "Address for Apple Calendar": at["webcal_url"]}
    return Shown("made.html", {"what": "feed", "secrets": told, "made": made})


def revoke_own_feed(sent: Send) -> Moved:
    """Revoke a calendar feed, from this instant on."""
    refuse_unknown_fields(sent.form, ())
    feeds.revoke_feed(sent.write, sent.user, sent.path["feed_id"])
    return Moved(f"{AT}#feeds")


def end_session(sent: Send) -> Moved:
    """End a session of one's own."""
    refuse_unknown_fields(sent.form, (PASSWORD,))
    _proved(sent)
    sessions.end_one(sent.write, sent.user, sent.path["session_id"])
    return Moved(f"{AT}#sessions")


def proof(ready: Ready) -> bool:
    """See that whoever sends a form proved lately who they are; give whether by the password that came with it.

    Raises ProofNeeded where they did not, and TooManyTries, WrongPassword and TooBusy as `hash_own_password`.
    """
    with ready.reading() as connection:
        if sessions.is_proved(connection, ready.cookie, ready.now):
            return False
        has_password = sessions.password_kept(connection, ready.user.user_id) is not None
    if not has_password or PASSWORD not in ready.form:
        raise ProofNeeded(has_password=has_password)
    _own_password(ready, ready.form[PASSWORD])
    return True


def proof_for_token(ready: Ready) -> bool:
    """Do so; what else is wrong with the form is told with what is wrong with the password."""
    try:
        return proof(ready)
    except (ProofNeeded, WrongPassword) as refusal:
        with ready.reading() as connection:
            others = tokens.token_faults(connection, ready.user, _token(ready.form))
        detail = "is needed" if isinstance(refusal, ProofNeeded) else "is not the one that you have"
        has_field = isinstance(refusal, WrongPassword) or refusal.has_password
        refusal.faults = (*((Fault(f"/{PASSWORD}", detail),) if has_field else ()), *others)
        raise


def proof_for_another(ready: Ready) -> bool:
    """Do so where the session that is to end is not the one that asks, which whoever has it may end."""
    return ready.path["session_id"] != sessions.named(ready.cookie) and proof(ready)


def hash_own_password(ready: Ready) -> tuple[str, str]:
    """Give the hash of the password that is to be changed, and of the one in its stead.

    Raises TooManyTries, as at sign-in and counted with it, WrongPassword, InvalidInput and TooBusy.
    """
    refuse_unknown_fields(ready.form, ("old_password", "new_password"))
    user, new = ready.user, ready.form.get("new_password", "")
    passwords.refuse_weak(new, (user.user_id, user.name), "/new_password")
    kept = _own_password(ready, ready.form.get("old_password", ""))
    if new == ready.form["old_password"]:
        raise InvalidInput([Fault("/new_password", "is the one that you have")])
    return kept, passwords.hashed(new)


def _own_password(ready: Ready, password: str) -> str:
    """Give the hash of the password that a user has, which is this one. Raises TooManyTries, WrongPassword, TooBusy."""
    name = ready.user.user_id.lower()
    ready.tries.begin(name, ready.address)
    with ready.reading() as connection:
        kept = sessions.password_kept(connection, ready.user.user_id)
    if not passwords.matches(kept, password) or kept is None:
        raise WrongPassword
    ready.tries.succeeded(name, ready.address)
    return kept


def _proved(sent: Send) -> dict[str, Any]:
    """Note a password that was given, for what follows within 15 minutes; give the rest of the form."""
    if sent.made:
        sessions.prove(sent.write, sent.cookie)
    return _but_password(sent.form)


def _but_password(form: Mapping[str, str]) -> dict[str, Any]:
    return {name: value for name, value in form.items() if name != PASSWORD}


def _token(form: Mapping[str, str]) -> dict[str, Any]:
    """Give the body of `POST /v1/tokens` that a form says."""
    body = _but_password(form)
    for name, read in (("days", whole), ("read_only", _ticked), ("client_ids", parted)):
        if name in body:
            body[name] = read(body[name])
    return body


def change_own_password(sent: Send) -> Moved:
    """Change the password; every session ends, and this one goes on under a new cookie."""
    kept, own = sent.made
    return Moved(f"{AT}?changed=password#password", sessions.change_password(sent.write, sent.user, kept, own))


def _me(look: Look, about: str = "", typed: Mapping[str, str] = _NOTHING, refusal: Refusal | None = None) -> Shown:
    """Give the page; a refusal is shown where the form that it is about stands, which says what was typed."""
    connection, user, now = look.connection, look.user, look.now
    own_tokens = tokens.list_tokens(connection, user)["data"]
    own_feeds = feeds.list_feeds(connection, user)["data"]
    values = {
        "me": users.me(connection, user),
        "has_password": sessions.password_kept(connection, user.user_id) is not None,
        "is_proved": sessions.is_proved(connection, look.cookie, now),
        "changed": look.query.get("changed"),
        "sessions": sessions.list_sessions(connection, user, now, look.cookie),
        "tokens": [each for each in own_tokens if _counts(each, now)],
        "feeds": [each for each in own_feeds if _counts(each, now)],
        "states": calculator.states(look.book)["states"],
        "about": about,
        "typed": {name: value for name, value in typed.items() if name not in _PASSWORDS},
        "refusal": refusal,
        "faulty": _at_fields(refusal.faults, typed) if refusal else {},
    }
    return Shown("me.html", values)


def _at_fields(faults: Sequence[Fault], typed: Mapping[str, str]) -> dict[str, str]:
    """Give all that is wrong with each field; of several ids in one field, which of them it is."""
    found: dict[str, list[str]] = {}
    for fault in faults:
        _, name, *index = fault.pointer.split("/") if fault.pointer else ("", "")
        which = parted(typed[name])[int(index[0])] if index and name == "client_ids" else ""
        said = fault.detail if which in fault.detail else f"{shown(which)} {fault.detail}"
        if said not in found.setdefault(name, []):
            found[name].append(said)
    return {name: "; ".join(said) for name, said in found.items()}


def _ticked(said: str) -> bool | str:
    """Read a box that was ticked; what no box says is left for the schema to refuse."""
    return said == "yes" or said


def _counts(held: dict[str, Any], now: Any) -> bool:
    return held["revoked_at"] is None and held["expires_at"] > now


def _again(about: str) -> Again:
    return lambda look, typed, refusal: _me(look, about, typed, refusal)


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
    Page(
        method="POST",
        path="/me/tokens",
        allows="own",
        view=make_own_token,
        before=proof_for_token,
        again=_again("tokens"),
    ),
    Page(method="POST", path="/me/tokens/{token_id}/revoke", allows="own", view=revoke_own_token),
    Page(method="POST", path="/me/feeds", allows="make_feed", view=make_own_feed, before=proof, again=_again("feeds")),
    Page(method="POST", path="/me/feeds/{feed_id}/revoke", allows="own", view=revoke_own_feed),
    Page(
        method="POST",
        path="/me/sessions/{session_id}/end",
        allows="own",
        view=end_session,
        before=proof_for_another,
        again=_again("sessions"),
    ),
)
