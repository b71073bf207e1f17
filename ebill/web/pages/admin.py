"""What administrators do: users, with what each holds and may see, and the teams of client managers.

A form says from which version of a user it was made; where somebody changed them meanwhile, it is shown again with what
they are now. What is shown once, a first password, is in the answer to its form and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ebill import access, passwords
from ebill.errors import Fault, InvalidInput, Refusal, Stale
from ebill.grammar import Choice, Strict, Text
from ebill.service import calculator, grants, sessions, tokens, users
from ebill.service.clients import Precondition
from ebill.service.listing import PAGE
from ebill.store.tables import ENTITLEMENTS, ROLES
from ebill.web.pages.fields import parted, shown_at, whole
from ebill.web.pages.page import Again, Look, Moved, Page, Ready, Send, Shown
from ebill.web.pages.paging import following
from ebill.web.queries import Cursor
from ebill.web.reading import refuse_unknown_fields

USERS: Final = "/admin/users"
TEAMS: Final = "/admin/teams"
USER: Final = f"{USERS}/{{user_id}}"
_PLAIN: Final = ("name", "state", "oidc_subject")
_NAMED: Final = {"entitlements": "Entitlements", "teams": "Teams", "disabled": "Disabled", "name": "Name",
                 "state": "State", "oidc_subject": "Subject at the identity provider"}  # fmt: skip


class UsersPageSchema(Strict):
    """Which users, and which page of them."""

    q = Text()
    role = Choice(*ROLES)
    disabled = Choice("yes", "no")
    cursor = Cursor(load_default=None)


class UserPageSchema(Strict):
    """Which page of the clients that were granted, and what was just done."""

    cursor = Cursor(load_default=None)
    done = Choice("made", "changed", "granted", "ended")


class TeamsPageSchema(Strict):
    """What was just done."""

    done = Choice("made", "renamed")


def users_page(look: Look) -> Shown:
    """Show the users, by id."""
    query = dict(look.query)
    cursor = query.pop("cursor")
    is_disabled = {"yes": True, "no": False}.get(query.get("disabled", ""))
    sought = users.Sought(query.get("q"), query.get("role"), is_disabled)
    page = users.list_users(look.connection, look.user, sought, PAGE, cursor, look.seal)
    return Shown(
        "users.html",
        {
            "data": page["data"],
            "filters": query,
            "roles": ROLES,
            "teams": _team_names(look),
            "is_first": cursor is None,
            "following": following(USERS, query, page["next_cursor"]),
        },
    )


def new_user_page(look: Look) -> Shown:
    """Show the form of a new user."""
    return _new_user(look, {"role": "producer", "state": look.user.state, "entitled": "usual"})


def make_user(sent: Send) -> Moved:
    """Make a user; a producer is entitled to what is usual in their state, or to what was chosen."""
    form, user_id = sent.form, sent.form.get("user_id", "")
    entitled = form.get("entitled", "usual")
    body = _body(form, ("user_id", "role", "entitled"), form.get("role", ""))
    body["role"] = form.get("role")
    if form.get("role") != "producer" or entitled == "usual":
        del body["entitlements"]
    users.put_user(sent.write, sent.book, user_id, body, Precondition(new=True))
    return Moved(f"{USERS}/{user_id}?done=made")


def user_page(look: Look) -> Shown:
    """Show a user, and all they hold."""
    return _user(look)


def change_user(sent: Send) -> Moved:
    """Change a user whom nobody has changed since the form was made."""
    user_id = sent.path["user_id"]
    known, _ = users.get_user(sent.connection, user_id)
    version = whole(sent.form.get("version", ""))
    body = {**_body(sent.form, ("version",), known["role"]), "role": known["role"]}
    if known["role"] != "producer":
        del body["entitlements"]
    if known["role"] != "client_manager":
        body["teams"] = known["teams"]
    body.setdefault("oidc_subject", None)
    made_to = Precondition(version if isinstance(version, int) else -1)
    users.put_user(sent.write, sent.book, user_id, body, made_to)
    return Moved(f"{USERS}/{user_id}?done=changed")


def hash_first_password(ready: Ready) -> tuple[str, str]:
    """Make up a first password, and hash it. Raises InvalidInput for one's own: that one is asked for the old one."""
    refuse_unknown_fields(ready.form, ())
    if ready.path["user_id"] == ready.user.user_id:
        raise InvalidInput([Fault("", "your own password is changed on your own page")])
    password = passwords.first()
    return password, passwords.hashed(password)


def give_first_password(sent: Send) -> Shown:
    """Give a user a first password, shown this once, which they change when they first sign in."""
    password, password_hash = sent.made
    user_id = sent.path["user_id"]
    until = users.keep_first_password(sent.write, user_id, password_hash)
    known, _ = users.get_user(sent.connection, user_id)
    return Shown("first_password_made.html", {"of": known, "password": password, "until": until})


def end_user_sessions(sent: Send) -> Moved:
    """End every session of a user."""
    refuse_unknown_fields(sent.form, ())
    sessions.end_all_of(sent.write, sent.path["user_id"])
    return _ended(sent, "sessions")


def revoke_user_token(sent: Send) -> Moved:
    """Revoke a token of a user."""
    refuse_unknown_fields(sent.form, ())
    tokens.revoke_token(sent.write, sent.user, sent.path["token_id"], of=sent.path["user_id"])
    return _ended(sent, "tokens")


def grant_clients(sent: Send) -> Moved:
    """Let a producer see several clients."""
    refuse_unknown_fields(sent.form, ("client_ids",))
    asked = parted(sent.form.get("client_ids", ""))
    grants.grant_all(sent.write, sent.user, sent.path["user_id"], list(dict.fromkeys(asked)))
    return Moved(f"{USERS}/{sent.path['user_id']}?done=granted#grants")


def withdraw_grant(sent: Send) -> Moved:
    """Take a producer's sight of a client away."""
    refuse_unknown_fields(sent.form, ())
    grants.withdraw(sent.write, sent.user, sent.path["user_id"], sent.path["client_id"])
    return _ended(sent, "grants")


def teams_page(look: Look) -> Shown:
    """Show the teams, and who is in them."""
    return _teams(look)


def make_team(sent: Send) -> Moved:
    """Make a team."""
    refuse_unknown_fields(sent.form, ("team_id", "name"))
    users.put_team(sent.write, sent.form.get("team_id", ""), {name: sent.form[name] for name in sent.form if
                                                               name == "name"})  # fmt: skip
    return Moved(f"{TEAMS}?done=made")


def rename_team(sent: Send) -> Moved:
    """Give a team another name."""
    refuse_unknown_fields(sent.form, ("name", "was"))
    users.rename_team(sent.write, sent.path["team_id"], dict(sent.form))
    return Moved(f"{TEAMS}?done=renamed")


def _ended(sent: Send, what: str) -> Moved:
    return Moved(f"{USERS}/{sent.path['user_id']}?done=ended#{what}")


def _body(form: Mapping[str, str], more: tuple[str, ...], role: str) -> dict[str, Any]:
    """Give what a form says of a user, as the API's body says it."""
    entitled = [name for name in ENTITLEMENTS if f"entitlement_{name}" in form]
    teams = [name.removeprefix("team_") for name in form if name.startswith("team_")]
    known = [*_PLAIN, "disabled", *more, *(f"entitlement_{name}" for name in ENTITLEMENTS)]
    refuse_unknown_fields([name for name in form if not name.startswith("team_")], known)
    body: dict[str, Any] = {name: form[name] for name in _PLAIN if name in form}
    return {
        **body,
        "entitlements": entitled,
        "teams": teams if role == "client_manager" else [],
        "disabled": form.get("disabled") == "yes",
    }


def _new_user(look: Look, given: Mapping[str, str], refusal: Refusal | None = None) -> Shown:
    faulty, others = shown_at(refusal, _field) if refusal else ({}, [])
    values = {
        **_choices(look),
        "given": given,
        "faulty": faulty,
        "others": others,
        "roles": ROLES,
        "usual": {each["code"]: access.default_entitlements("producer", each["code"]) for each in _states(look)},
    }
    return Shown("new_user.html", values)


def _user(look: Look, about: str = "", refusal: Refusal | None = None, sent: Mapping[str, str] | None = None) -> Shown:
    """Give the page; a refusal is shown where the form that it is about stands."""
    user_id, connection = look.path["user_id"], look.connection
    known, version = users.get_user(connection, user_id)
    given = sent if sent is not None and about == "user" else _given(known)
    faulty, others = shown_at(refusal, _field) if refusal else ({}, [])
    granted = grants.list_grants(connection, look.user, user_id, PAGE, look.query.get("cursor"), look.seal)
    held = tokens.tokens_of(connection, user_id)["data"]
    values = {
        **_choices(look),
        "known": known,
        "version": version,
        "is_own": user_id == look.user.user_id,
        "given": given,
        "faulty": faulty,
        "others": others,
        "about": about,
        "now_differs": _now(known, given) if isinstance(refusal, Stale) else [],
        "client_ids": (sent or {}).get("client_ids", ""),
        "done": look.query.get("done") if not about else None,
        "has_password": sessions.password_kept(connection, user_id) is not None,
        "first_until": sessions.first_until(connection, user_id),
        "grants": granted["data"],
        "grants_following": following(f"{USERS}/{user_id}", {}, granted["next_cursor"]),
        "grants_first": look.query.get("cursor") is None,
        "tokens": [each for each in held if each["revoked_at"] is None and each["expires_at"] > look.now],
        "sessions": sessions.list_sessions(connection, users.known(connection, user_id), look.now, look.cookie),
    }
    return Shown("user.html", values)


def _now(known: Mapping[str, Any], given: Mapping[str, str]) -> list[tuple[str, str]]:
    """Give what a user is now, where a form would have it otherwise."""
    now = _given(known)
    found = [(_NAMED[name], now.get(name, "nothing")) for name in _PLAIN if now.get(name) != given.get(name)]
    for kind in ("entitlements", "teams"):
        held = {f"{kind.removesuffix('s')}_{each}" for each in known[kind]}
        if held != {name for name in given if name.startswith(f"{kind.removesuffix('s')}_")}:
            found.append((_NAMED[kind], ", ".join(known[kind]).replace("_", " ") or "none"))
    if ("disabled" in now) != ("disabled" in given):
        found.append((_NAMED["disabled"], "yes" if known["disabled_at"] else "no"))
    return found


def _given(known: Mapping[str, Any]) -> dict[str, str]:
    """Give a user as the form has them."""
    given = {name: known[name] for name in _PLAIN if known[name]}
    given |= {f"entitlement_{each}": "yes" for each in known["entitlements"]}
    given |= {f"team_{each}": "yes" for each in known["teams"]}
    return given | ({"disabled": "yes"} if known["disabled_at"] else {})


def _teams(look: Look, about: str = "", refusal: Refusal | None = None, sent: Mapping[str, str] | None = None) -> Shown:
    values = {
        "teams": users.list_teams(look.connection)["data"],
        "members": users.members(look.connection),
        "about": about,
        "refusal": refusal,
        "given": sent or {},
        "done": look.query.get("done") if not about else None,
    }
    return Shown("teams.html", values)


def _choices(look: Look) -> dict[str, Any]:
    return {"states": _states(look), "teams": _team_names(look), "entitlements": ENTITLEMENTS}


def _states(look: Look) -> list[dict[str, Any]]:
    return [dict(each) for each in calculator.states(look.book)["states"]]


def _team_names(look: Look) -> dict[str, str]:
    return {each["team_id"]: each["name"] for each in users.list_teams(look.connection)["data"]}


def _field(pointer: str) -> str | None:
    """Give the field of a fault: a list's is its first box."""
    name = pointer.split("/")[1] if pointer else ""
    return name if name in ("user_id", "role", *_PLAIN, "disabled", "client_ids") else None


def _user_again(about: str) -> Again:
    return lambda look, form, refusal: _user(look, about, refusal, form)


PAGES: Final = (
    Page(method="GET", path=USERS, allows="administer", view=users_page, query=UsersPageSchema),
    Page(method="GET", path="/admin/new-user", allows="administer", view=new_user_page),
    Page(method="POST", path=USERS, allows="administer", view=make_user, again=_new_user),
    Page(method="GET", path=USER, allows="administer", view=user_page, query=UserPageSchema),
    Page(method="POST", path=USER, allows="administer", view=change_user, again=_user_again("user")),
    Page(
        method="POST",
        path=f"{USER}/password",
        allows="administer",
        view=give_first_password,
        before=hash_first_password,
        again=_user_again("password"),
    ),
    Page(method="POST", path=f"{USER}/sessions/end", allows="administer", view=end_user_sessions),
    Page(method="POST", path=f"{USER}/tokens/{{token_id}}/revoke", allows="administer", view=revoke_user_token),
    Page(method="POST", path=f"{USER}/grants", allows="administer", view=grant_clients, again=_user_again("grants")),
    Page(method="POST", path=f"{USER}/grants/{{client_id}}/withdraw", allows="administer", view=withdraw_grant),
    Page(method="GET", path=TEAMS, allows="administer", view=teams_page, query=TeamsPageSchema),
    Page(
        method="POST",
        path=TEAMS,
        allows="administer",
        view=make_team,
        again=lambda look, form, refusal: _teams(look, "new", refusal, form),
    ),
    Page(
        method="POST",
        path=f"{TEAMS}/{{team_id}}",
        allows="administer",
        view=rename_team,
        again=lambda look, form, refusal: _teams(look, look.path["team_id"], refusal, form),
    ),
)
