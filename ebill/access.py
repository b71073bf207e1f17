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
from ebill.store import people
from ebill.store.glance import Glance
from ebill.store.people import User
from ebill.store.tables import ROLES, audit, clients, grants, memberships, token_clients, tokens, users

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


def allow(user: User, action: Action) -> None:
    """Let a user do something by role, entitlements and scope, or say why not.

    Raises NotAllowed, MissingEntitlement, TermsNotAccepted or OutsideScope. This depends on the user and the action
    alone, never on what is asked about.
    """
    if user.role not in MAY[action]:
        raise NotAllowed(user.role)
    needed = NEEDS.get(action)
    if user.role == "producer" and needed is not None and needed not in user.entitlements:
        raise MissingEntitlement(needed)
    if user.role == "producer" and action in NEEDS_TERMS and user.terms_accepted_at is None:
        raise TermsNotAccepted
    if user.scope and user.scope.some_clients and action not in OF_SOME_CLIENTS:
        raise OutsideScope("some clients")


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
    """
    row = people.held(connection, token, at, _ENTER, client_id=client_id or "")
    if row is None:
        raise Unauthenticated
    user = people.as_holder(row)
    allow(user, action)
    if row.read_only and not reads:
        raise OutsideScope("reading")
    if client_id is not None and row.client_state is None and not (makes and not row.some_clients):
        raise ClientNotFound
    return Entered(user, row.token_id, row.client_state or b"")


def enter_session(connection: Connection, cookie: str, at: datetime, action: Action, client_id: str | None) -> User:
    """Let whoever has a session do something, to a client where one is named; refuses as `enter`, in the same order.

    The queries are the same whether a client is missing or not theirs. To be called in the transaction of the data.
    """
    user = people.session_user(connection, cookie, at)
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


def _enter() -> Select[Any]:
    may_see = or_(*(and_(users.c.role == role, _visible(role, users.c.user_id)) for role in ROLES))
    last = select(audit.c.hash).where(audit.c.client_id == clients.c.client_id).order_by(audit.c.sequence.desc())
    state = (
        select(func.coalesce(last.limit(1).scalar_subquery(), literal(b"", LargeBinary)))
        .where(clients.c.client_id == bindparam("client_id"), may_see, _in_scope())
        .correlate(users, tokens)
    )
    return people.HOLDER.add_columns(state.scalar_subquery().label("client_state"))


def _in_scope() -> ColumnElement[bool]:
    of_token = token_clients.c.token_id == tokens.c.token_id
    named = select(token_clients.c.client_id).where(of_token, token_clients.c.client_id == clients.c.client_id)
    return or_(tokens.c.some_clients == 0, exists(named.correlate(clients, tokens)))


_ENTER: Final = _enter()


def may_assign(user: User, team_id: str) -> bool:
    """Tell whether a user may put a client into a team's hands: their own team's, or any for an administrator."""
    return user.role == "admin" or team_id in user.teams
