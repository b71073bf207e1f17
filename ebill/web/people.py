"""The routes of people: who one is, access to clients, users, teams, tokens, and the audit of it all."""

from __future__ import annotations

from typing import Any, Final

from ebill import demo, errors
from ebill.service import grants, history, tokens, users
from ebill.web import answers
from ebill.web.clients import next_page
from ebill.web.queries import AuditSchema, UsersSchema
from ebill.web.routes import OF_CLIENT, OF_USER, Change, Given, Route, Signed

NOTHING: Final = Given(None, 204)


def me(asked: Signed) -> Any:
    """Tell who you are, what you are entitled to, and which clients were granted to you."""
    return users.me(asked.connection, asked.user)


def accept_terms(asked: Change) -> Any:
    """Accept the electronic payment terms, or decline them; declining leaves everything open to be read."""
    return users.accept_terms(asked.write, asked.user, accepted=users.terms(asked.body))


def access_requests(asked: Signed) -> Any:
    """List what you asked for; for a client manager, what was asked of the clients of their teams."""
    return grants.access_requests(asked.connection, asked.user)


def request_access(asked: Change) -> Given:
    """Ask for several clients at once. The answer is the same whether they exist or not."""
    return Given(grants.request_access(asked.write, asked.user, asked.body), 201)


def decide_access(asked: Change) -> Any:
    """Grant or decline clients of a request: those named, or all that wait for you."""
    return grants.decide(asked.write, asked.user, asked.path["request_id"], asked.body)


def list_users(asked: Signed) -> Given:
    """List the users, by id, and when each was last seen. `Link` leads to the next page."""
    sought = dict(asked.query)
    limit, cursor = sought.pop("limit"), sought.pop("cursor")
    page = users.list_users(asked.connection, asked.user, users.Sought(**sought), limit, cursor, asked.seal)
    return Given(page, headers=next_page(page["next_cursor"]))


def get_user(asked: Signed) -> Given:
    """Give a user and the clients granted to them. The ETag is the version of the user's own settings."""
    body, version = users.get_user(asked.connection, asked.path["user_id"])
    return Given(body, version=version)


def put_user(asked: Change) -> Given:
    """Make a user or change one; disabling one ends all they hold, from this instant on."""
    body, version = users.put_user(asked.write, asked.book, asked.path["user_id"], asked.body, asked.made_to)
    return Given(body, 201 if version == 1 else 200, version)


def list_teams(asked: Signed) -> Any:
    """List every client management team."""
    return users.list_teams(asked.connection)


def put_team(asked: Change) -> Given:
    """Make a client management team."""
    return Given(users.put_team(asked.write, asked.path["team_id"], asked.body), 201)


def grant_client(asked: Change) -> Given:
    """Let a user see a client that you may see."""
    grants.grant(asked.write, asked.user, asked.path["user_id"], asked.path["client_id"])
    return NOTHING


def withdraw_client(asked: Change) -> Given:
    """Take a user's sight of a client away, from this instant on."""
    grants.withdraw(asked.write, asked.user, asked.path["user_id"], asked.path["client_id"])
    return NOTHING


def list_tokens(asked: Signed) -> Any:
    """List your tokens, without their texts."""
    return tokens.list_tokens(asked.connection, asked.user)


def list_user_tokens(asked: Signed) -> Any:
    """List a user's tokens, without their texts."""
    return tokens.tokens_of(asked.connection, asked.path["user_id"])


def make_token(asked: Change) -> Given:
    """Make a token. Its text is in this answer and nowhere else: sent again with its key, the request is refused."""
    made = tokens.make_token(asked.write, asked.user, asked.body)
    return Given(made, 201, kept=(409, {"token_id": made["token_id"]}))


def revoke_token(asked: Change) -> Given:
    """Revoke a token of yours, from this instant on; an administrator may revoke anybody's."""
    tokens.revoke_token(asked.write, asked.user, asked.path["token_id"])
    return NOTHING


def list_audit(asked: Signed) -> Given:
    """List what was done to the clients that you may see, and what you did: the oldest first, or the newest.

    `sequence` and `hash` are for administrators, `token_id` and `request_id` for them and for whose they are. `Link`
    leads to the next page.
    """
    sought = dict(asked.query)
    limit, cursor = sought.pop("limit"), sought.pop("cursor")
    only = (sought.pop("action"),) if "action" in sought else None
    rows = history.Sought(**sought, only=only)
    page = history.list_audit(asked.connection, asked.user, limit, cursor, asked.seal, rows)
    return Given(page, headers=next_page(page["next_cursor"]))


_TEAM: Final = {"team_id": "north"}
_GRANT: Final = {**OF_USER, **OF_CLIENT}
_GRANT_AT: Final = "/v1/users/{user_id}/grants/{client_id}"

ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/me",
        allows="know_oneself",
        view=me,
        summary="Who you are",
        gives=answers.UserWithClients,
    ),
    Route(
        method="PUT",
        path="/v1/me/payment-terms",
        allows="own",
        view=accept_terms,
        summary="Accept the electronic payment terms",
        gives=answers.User,
        body=users.TermsSchema,
        example={"accepted": True},
    ),
    Route(
        method="GET",
        path="/v1/access-requests",
        allows="own",
        view=access_requests,
        summary="Access requests",
        gives=answers.AccessRequests,
    ),
    Route(
        method="POST",
        path="/v1/access-requests",
        allows="request_access",
        view=request_access,
        summary="Ask for access to clients",
        gives=answers.NewAccessRequest,
        body=grants.RequestSchema,
        example={"client_ids": [*demo.UNSEEN], "reason": "New broker of record from 2026-09"},
        statuses=(201,),
    ),
    Route(
        method="POST",
        path="/v1/access-requests/{request_id}/decisions",
        allows="decide_access",
        view=decide_access,
        summary="Decide an access request",
        gives=answers.Decided,
        body=grants.DecisionSchema,
        example={"decision": "granted"},
        parameters={"request_id": "5f0c3b9a12de4471"},
    ),
    Route(
        method="GET",
        path="/v1/users",
        allows="administer",
        view=list_users,
        summary="Users",
        gives=answers.Users,
        query=UsersSchema,
        example={"q": "sample", "limit": 50},
    ),
    Route(
        method="GET",
        path="/v1/users/{user_id}",
        allows="administer",
        view=get_user,
        summary="A user",
        gives=answers.UserWithClients,
        parameters=OF_USER,
        versioned=True,
    ),
    Route(
        method="PUT",
        path="/v1/users/{user_id}",
        allows="administer",
        view=put_user,
        summary="Make or change a user",
        gives=answers.User,
        body=users.UserSchema,
        example={"name": "Jo Doe, sample producer", "role": "producer", "state": "PA"},
        parameters=OF_USER,
        statuses=(200, 201),
        versioned=True,
        conditional=True,
    ),
    Route(
        method="GET",
        path="/v1/users/{user_id}/tokens",
        allows="administer",
        view=list_user_tokens,
        summary="A user's tokens",
        gives=answers.Tokens,
        parameters=OF_USER,
    ),
    Route(
        method="GET",
        path="/v1/teams",
        allows="administer",
        view=list_teams,
        summary="Every team",
        gives=answers.Teams,
    ),
    Route(
        method="PUT",
        path="/v1/teams/{team_id}",
        allows="administer",
        view=put_team,
        summary="Make a team",
        gives=answers.Team,
        body=users.TeamSchema,
        example={"name": "North"},
        parameters=_TEAM,
        statuses=(201,),
    ),
    Route(
        method="PUT",
        path=_GRANT_AT,
        allows="decide_access",
        view=grant_client,
        summary="Grant a client",
        gives=None,
        parameters=_GRANT,
        statuses=(204,),
    ),
    Route(
        method="DELETE",
        path=_GRANT_AT,
        allows="decide_access",
        view=withdraw_client,
        summary="Withdraw a client",
        gives=None,
        parameters=_GRANT,
        statuses=(204,),
    ),
    Route(
        method="GET",
        path="/v1/tokens",
        allows="own",
        view=list_tokens,
        summary="Your tokens",
        gives=answers.Tokens,
    ),
    Route(
        method="POST",
        path="/v1/tokens",
        allows="own",
        view=make_token,
        summary="Make a token",
        gives=answers.NewToken,
        body=tokens.TokenSchema,
        example={"name": "Nightly export", "days": 90},
        statuses=(201,),
        refuses=(errors.TokenAlreadyShown,),
    ),
    Route(
        method="DELETE",
        path="/v1/tokens/{token_id}",
        allows="own",
        view=revoke_token,
        summary="Revoke a token",
        gives=None,
        parameters={"token_id": "01e4daa3625c7ccb"},
        statuses=(204,),
    ),
    Route(
        method="GET",
        path="/v1/audit",
        allows="read_audit",
        view=list_audit,
        summary="What was done",
        gives=answers.AuditRows,
        query=AuditSchema,
        example={"limit": 50},
        refuses=(errors.ClientNotFound,),
    ),
)
