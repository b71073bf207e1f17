"""Who may see and do what: the one place where it is decided.

allowed = an active user, whose role may do it, who holds the entitlement it needs, and who may see the client; all
read in the transaction of the data. What is not allowed here is refused. A client that is there but not to be seen
is refused exactly as one that is not there: by the same query, with the same answer.

What a token's scope leaves out is joined where the grant is: a scope takes away from what its user may, and gives
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    true,
)

from ebill.errors import (
    ClientNotFound,
    MissingEntitlement,
    NotAllowed,
    OutsideScope,
    TermsNotAccepted,
    Unauthenticated,
)
from ebill.store import sessions
from ebill.store import tokens as kept
from ebill.store.glance import Glance
from ebill.store.tables import ROLES, audit, clients, grants, memberships, token_clients, tokens, users
from ebill.store.users import User

Action = Literal[
    "public",
    "know_oneself",
    "own",
    "read_client",
    "configure_client",
    "record_payments",
    "make_feed",
    "request_access",
    "decide_access",
    "import_clients",
    "read_audit",
    "administer",
]

MAY: Final[Mapping[Action, frozenset[str]]] = {
    "public": frozenset({"producer", "client_manager", "admin"}),
    "know_oneself": frozenset({"producer", "client_manager", "admin"}),
    "own": frozenset({"producer", "client_manager", "admin"}),
    "read_client": frozenset({"producer", "client_manager", "admin"}),
    "configure_client": frozenset({"client_manager", "admin"}),
    "record_payments": frozenset({"producer", "client_manager", "admin"}),
    "make_feed": frozenset({"producer", "client_manager", "admin"}),
    "request_access": frozenset({"producer"}),
    "decide_access": frozenset({"client_manager", "admin"}),
    "import_clients": frozenset({"client_manager", "admin"}),
    "read_audit": frozenset({"producer", "client_manager", "admin"}),
    "administer": frozenset({"admin"}),
}
"""Which roles may do what at all."""

NEEDS: Final[Mapping[Action, str]] = {
    "read_client": "client_administration",
    "record_payments": "client_administration",
    "make_feed": "client_administration",
    "read_audit": "client_administration",
}
"""The entitlement a producer needs for it besides; managers have their team, administrators their role."""

NEEDS_TERMS: Final[frozenset[Action]] = frozenset({"record_payments"})
"""What a producer may do only once the electronic payment terms are accepted."""

OF_SOME_CLIENTS: Final[frozenset[Action]] = frozenset(
    {"public", "know_oneself", "read_client", "configure_client", "record_payments", "read_audit"}
)
"""What a token for some clients may be used for: what is about these, and nothing that is its user's own.

So it hands on nothing: it makes no token, feed, grant or user that would have more than it has itself.
"""

DEFAULT_ENTITLEMENTS: Final[Mapping[str, frozenset[str]]] = {
    "NY": frozenset({"general_agency_administrator", "client_administration", "renewals", "small_group_quotes"}),
}
"""What a new producer of a state gets. Elsewhere two entitlements are never automatic: see `default_entitlements`."""


def default_entitlements(role: str, state: str) -> frozenset[str]:
    """Give what a new user of a state is entitled to. Source: the carrier's Producer Portal FAQ."""
    if role != "producer":
        return frozenset()
    elsewhere = frozenset({"client_administration", "renewals", "small_group_quotes"})
    return DEFAULT_ENTITLEMENTS.get(state, elsewhere)


def allow(user: User, action: Action, *, reads: bool = True) -> None:
    """Let a user do something by role, entitlements and scope, or say why not.

    `reads` says that it changes nothing. Raises NotAllowed, MissingEntitlement, OutsideScope or TermsNotAccepted, in
    that order: nobody is sent to accept terms by a token that may not do it anyway. This depends on the user and the
    action alone, never on what is asked about.
    """
    if user.role not in MAY[action]:
        raise NotAllowed(user.role)
    needed = NEEDS.get(action)
    if user.role == "producer" and needed is not None and needed not in user.entitlements:
        raise MissingEntitlement(needed)
    if user.scope and user.scope.some_clients and action not in OF_SOME_CLIENTS:
        raise OutsideScope("some clients")
    if user.scope and user.scope.read_only and not reads:
        raise OutsideScope("reading")
    if user.role == "producer" and action in NEEDS_TERMS and user.terms_accepted_at is None:
        raise TermsNotAccepted


def may(user: User, action: Action) -> bool:
    """Tell whether `allow` would let somebody do something."""
    try:
        allow(user, action)
    except (NotAllowed, MissingEntitlement, TermsNotAccepted, OutsideScope):
        return False
    return True


class Entered(NamedTuple):
    """Who came in, by which token, and the state of the client they came for: see `enter`."""

    user: User
    token_id: str
    state: bytes


def enter(
    connection: Connection | Glance,
    token: str,
    at: datetime,
    action: Action,
    client_id: str | None,
    *,
    reads: bool = False,
    makes: bool = False,
) -> Entered:
    """Let the holder of a token do something, to a client where one is named.

    `reads` says that it changes nothing, `makes` that the client is one that may yet be made. Raises Unauthenticated,
    what `allow` does, and ClientNotFound, in that order. All is found by one query, so that nothing can change in
    between, and nobody can tell from the time it takes what was wrong. `state` is the hash of the client's last audit
    row: while that is the same, nothing about the client has changed.

    At a glance that remembers, the store is to be held still: then it is two, and the first, who it is, is asked once
    for each state of the store.
    """
    if isinstance(connection, Glance) and connection.remembers:
        found = kept.known(connection, token, at)
        if found is None:
            raise Unauthenticated
        user, token_id = found.user, found.token_id
        allow(user, action, reads=reads)
        state = _seen_state(connection, user, client_id) if client_id is not None else b""
    else:
        row = kept.held(connection, token, at, _ENTER, client_id=client_id or "")
        if row is None:
            raise Unauthenticated
        user, token_id, state = kept.as_holder(row), row.token_id, row.client_state
        allow(user, action, reads=reads)
    may_be_new = client_id is None or (makes and not (user.scope and user.scope.some_clients))
    if state is None and not may_be_new:
        raise ClientNotFound
    return Entered(user, token_id, state or b"")


def _seen_state(glance: Glance, user: User, client_id: str) -> bytes | None:
    asked = {"client_id": client_id, "user_id": user.user_id}
    if user.scope and user.scope.some_clients:
        asked["token_id"] = user.scope.token_id
    seen = glance.execute(_state(user.role, of_token="token_id" in asked), asked).first()
    return seen[0] if seen else None


def enter_session(connection: Connection, cookie: str, at: datetime, action: Action, client_id: str | None) -> User:
    """Let whoever has a session do something, to a client where one is named; refuses as `enter`, in the same order.

    The queries are the same whether a client is missing or not theirs. To be called in the transaction of the data.
    """
    user = sessions.session_user(connection, cookie, at)
    if user is None:
        raise Unauthenticated
    allow(user, action)
    if client_id is not None:
        see(connection, user, client_id)
    return user


def visible(user: User) -> ColumnElement[bool]:
    """Give the condition on `client` rows under which a user may see them, for a query to join."""
    return and_(_visible(user.role, user.user_id), within(user, clients.c.client_id))


def among(user: User, client_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Give the same condition on a column of client ids, for a query that looks for all a user may see.

    For a producer it begins with what was granted, however many clients there are.
    """
    scope = within(user, client_id)
    if user.role == "admin":
        return scope
    if user.role == "producer":
        return and_(client_id.in_(select(grants.c.client_id).where(grants.c.user_id == user.user_id)), scope)
    return and_(client_id.in_(select(clients.c.client_id).where(_visible(user.role, user.user_id))), scope)


def within(user: User, client_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Give the condition on a column of client ids that the scope of a user's token makes: only these, or any."""
    if user.scope is None or not user.scope.some_clients:
        return true()
    return client_id.in_(select(token_clients.c.client_id).where(token_clients.c.token_id == user.scope.token_id))


def see(connection: Connection, user: User, client_id: str) -> None:
    """Let a user see a client, or raise ClientNotFound: one query, whether it is missing or not theirs."""
    asked = {"client_id": client_id, "user_id": user.user_id}
    query = _see(user.role)
    if user.scope is not None:
        query = query.where(within(user, clients.c.client_id))
    if connection.scalar(query, asked) is None:
        raise ClientNotFound


def _visible(role: str, user_id: str | ColumnElement[str]) -> ColumnElement[bool]:
    if role == "admin":
        return true()
    if role == "client_manager":
        member = select(memberships.c.team_id).where(memberships.c.user_id == user_id)
        return clients.c.team_id.in_(member.correlate(users))
    held = and_(grants.c.client_id == clients.c.client_id, grants.c.user_id == user_id)
    return exists(select(grants.c.client_id).where(held).correlate(clients, users))


@cache
def _see(role: str) -> Select[Any]:
    """Build the query of `see` once: that takes longer than asking it."""
    named = clients.c.client_id == bindparam("client_id")
    return select(clients.c.client_id).where(named, _visible(role, bindparam("user_id")))


def _stated(may_see: ColumnElement[bool]) -> Select[Any]:
    last = select(audit.c.hash).where(audit.c.client_id == clients.c.client_id).order_by(audit.c.sequence.desc())
    state = select(func.coalesce(last.limit(1).scalar_subquery(), literal(b"", LargeBinary)))
    return state.where(clients.c.client_id == bindparam("client_id"), may_see)


def _enter() -> Select[Any]:
    may_see = or_(*(and_(users.c.role == role, _visible(role, users.c.user_id)) for role in ROLES))
    in_scope = or_(tokens.c.some_clients == 0, _named(tokens.c.token_id))
    state = _stated(and_(may_see, in_scope)).correlate(users, tokens)
    return kept.HOLDER.add_columns(state.scalar_subquery().label("client_state"))


@cache
def _state(role: str, *, of_token: bool) -> Select[Any]:
    """Build the query of a client's state once: it has no row where the client is missing, or not to be seen."""
    may_see = _visible(role, bindparam("user_id"))
    return _stated(and_(may_see, _named(bindparam("token_id"))) if of_token else may_see)


def _named(token_id: Any) -> ColumnElement[bool]:
    """Give the condition that a token is for a client among others."""
    named = select(token_clients.c.client_id).where(
        token_clients.c.token_id == token_id, token_clients.c.client_id == clients.c.client_id
    )
    return exists(named.correlate(clients, tokens))


_ENTER: Final = _enter()


def may_assign(user: User, team_id: str) -> bool:
    """Tell whether a user may put a client into a team's hands: their own team's, or any for an administrator."""
    return user.role == "admin" or team_id in user.teams
