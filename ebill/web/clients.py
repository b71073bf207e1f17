"""The routes of clients, their bill accounts, their rules and their schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from io import StringIO
from typing import Any, Final
from urllib.parse import urlencode

from flask import request

from ebill import errors
from ebill.service import clients, imports, listing, written
from ebill.service.forms import AccountSchema, ClientSchema, ExceptionEntrySchema, RuleEntrySchema
from ebill.web import answers, reading
from ebill.web.queries import ClientsSchema, DryRunSchema, ScheduleSchema
from ebill.web.routes import OF_ACCOUNT, OF_CLIENT, Change, Csv, Given, Glanced, Route, Signed

CHANGE_REFUSES: Final = (
    errors.MovesGeneratedInvoice,
    errors.DatesOutOfOrder,
    errors.BelowFloor,
    errors.ExceptionTooFar,
    errors.NotBilled,
    errors.NoRuleInForce,
    errors.OutsideCalendar,
    errors.CutoffNotDaily,
    errors.UnknownCalendar,
    errors.UnknownState,
)


def list_clients(asked: Signed) -> Given:
    """List the clients that you may see, by id. `Link` leads to the next page; a cursor is yours, for these filters."""
    sought = dict(asked.query)
    clients.refuse_unconfigured(asked.book, sought)
    limit, cursor = sought.pop("limit"), sought.pop("cursor", None)
    page = listing.clients_page(asked.connection, asked.user, listing.Sought(**sought), limit, cursor, asked.seal)
    return Given(page, headers=next_page(page["next_cursor"]))


def get_client(asked: Signed) -> Given:
    """Give a client and its bill accounts. The ETag is the version of the client's own settings."""
    body, version = clients.client(asked.connection, asked.user, asked.path["client_id"])
    return Given(body, version=version)


def put_client(asked: Change) -> Given:
    """Make a client or change its settings. With `dry_run=true`, tell what that would move instead."""
    body, version = clients.put_client(
        asked.write,
        asked.book,
        asked.user,
        asked.path["client_id"],
        asked.body,
        asked.made_to,
        dry_run=asked.dry_run,
    )
    return _put(asked, body, version)


def get_account(asked: Signed) -> Given:
    """Give a bill account."""
    body, version = clients.account(asked.connection, asked.user, asked.path["client_id"], asked.path["account_id"])
    return Given(body, version=version, whole=True)


def put_account(asked: Change) -> Given:
    """Make a bill account or change its settings. With `dry_run=true`, tell what that would move instead."""
    body, version = clients.put_account(
        asked.write,
        asked.book,
        asked.user,
        asked.path["client_id"],
        asked.path["account_id"],
        asked.body,
        asked.made_to,
        dry_run=asked.dry_run,
    )
    return _put(asked, body, version)


def client_schedule(asked: Signed) -> Given:
    """Give the dates of all bill accounts of a client; from the current month on unless `from` says otherwise."""
    return _schedule(asked)


def account_schedule(asked: Signed) -> Given:
    """Give the dates of one bill account; from the current month on unless `from` says otherwise."""
    return _schedule(asked)


def client_rules(asked: Signed) -> Any:
    """List the rules entered for a client, in the order they were."""
    return _entered(asked, "rules")


def account_rules(asked: Signed) -> Any:
    """List the rules entered for a bill account, in the order they were."""
    return _entered(asked, "rules")


def client_exceptions(asked: Signed) -> Any:
    """List the exceptions entered for a client, in the order they were."""
    return _entered(asked, "exceptions")


def account_exceptions(asked: Signed) -> Any:
    """List the exceptions entered for a bill account, in the order they were."""
    return _entered(asked, "exceptions")


def add_client_rule(asked: Change) -> Given:
    """Enter a dated rule for a client. With `dry_run=true`, tell what it would move instead."""
    return _add(asked, clients.add_rule)


def add_account_rule(asked: Change) -> Given:
    """Enter a dated rule for a bill account. With `dry_run=true`, tell what it would move instead."""
    return _add(asked, clients.add_rule)


def add_client_exception(asked: Change) -> Given:
    """Fix dates of one month for a client, or withdraw that. With `dry_run=true`, tell what it would move instead."""
    return _add(asked, clients.add_exception)


def add_account_exception(asked: Change) -> Given:
    """Fix dates of one month for an account, or withdraw that. With `dry_run=true`, tell what it would move instead."""
    return _add(asked, clients.add_exception)


def import_clients(asked: Change) -> Any:
    """Import clients, bill accounts and rules from CSV: all or nothing, every faulty cell named."""
    return imports.import_clients(asked.write, asked.book, asked.user, asked.body, dry_run=asked.dry_run)


def export_clients(asked: Signed) -> Given:
    """Export the clients that you may see, as an import would read them."""
    file = StringIO(newline="")
    imports.export_clients(asked.connection, asked.book, asked.user, file)
    headers = {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": 'attachment; filename="clients.csv"'}
    return Given(file.getvalue().encode(), headers=headers)


def next_page(cursor: str | None) -> dict[str, str]:
    """Give the header that leads to the next page of the list at hand."""
    if cursor is None:
        return {}
    query = urlencode({**reading.query(request.environ), "cursor": cursor})
    return {"Link": f'<{request.path}?{query}>; rel="next"'}


def _put(asked: Change, body: Any, version: int) -> Given:
    if asked.dry_run:
        return Given(body)
    return Given(body, 201 if version == 1 else 200, version)


def _schedule(asked: Signed) -> Given:
    path = asked.path
    body, until = clients.schedule_until(
        asked.connection, asked.book, path["client_id"], path.get("account_id"), asked.query, asked.now
    )
    return Given(body, until=until)


def _glanced_schedule(asked: Glanced) -> tuple[bytes, datetime] | None:
    if asked.query.known_at is not None:
        return None
    path = asked.path
    return written.schedule(asked.glance, asked.book, path["client_id"], path.get("account_id"), asked.query, asked.now)


def _entered(asked: Signed, what: str) -> Any:
    found = clients.entries(asked.connection, asked.user, asked.path["client_id"], asked.path.get("account_id"))
    return {"data": found[what]}


def _add(asked: Change, add: Callable[..., dict[str, Any]]) -> Given:
    body = add(
        asked.write,
        asked.book,
        asked.user,
        asked.path["client_id"],
        asked.path.get("account_id"),
        asked.body,
        dry_run=asked.dry_run,
    )
    return Given(body) if asked.dry_run else Given(body, 201)


_AT: Final = "/v1/clients/{client_id}"
_ACCOUNT_AT: Final = "/v1/clients/{client_id}/bill-accounts/{account_id}"
_SCHEDULE: Final[dict[str, Any]] = {"from": "2026-08", "months": 12, "as_of": "2026-08-01", "explain": True}
_RULE: Final[dict[str, Any]] = {
    "since": "2099-01",
    "generation": {"day_of_month": 12},
    "cite": "Letter of the client, 2026-08-03",
}
_NO_MORE: Final[dict[str, Any]] = {
    "since": "2099-07",
    "generation": "inherited",
    "cite": "Agreed with the client, 2027-11-02",
}
_EXCEPTION: Final[dict[str, Any]] = {
    "coverage_month": "2099-01",
    "generation_date": "2098-12-09",
    "reason": "Published calendar: early because of the holidays",
}
_CLIENT_BODY: Final[dict[str, Any]] = {"name": "Brackhollow Plumbing, Inc.", "team_id": "east", "state": "PA"}
_ACCOUNT_BODY: Final[dict[str, Any]] = {"name": "Medical, salaried", "kind": "medical"}


def _of_either(path: str, parameters: dict[str, str], views: Sequence[Callable[[Any], Any]], whose: str) -> list[Route]:
    """Declare what a client and a bill account have alike."""
    schedule, rules, add_rule, exceptions, add_exception = views
    return [
        Route(
            method="GET",
            path=f"{path}/schedule",
            allows="read_client",
            view=schedule,
            summary=f"The dates of {whose}",
            gives=answers.Schedule,
            query=ScheduleSchema,
            example=_SCHEDULE,
            parameters=parameters,
            statuses=(200, 304),
            versioned=True,
            steady=True,
            glanced=_glanced_schedule,
            refuses=(errors.NotKnownThen, errors.NoRuleInForce, errors.OutsideCalendar),
        ),
        Route(
            method="GET",
            path=f"{path}/rules",
            allows="read_client",
            view=rules,
            summary=f"The rules of {whose}",
            gives=answers.EnteredRules,
            parameters=parameters,
        ),
        Route(
            method="POST",
            path=f"{path}/rules",
            allows="configure_client",
            view=add_rule,
            summary=f"Enter a rule for {whose}",
            gives=answers.AddedRule | answers.Effect,
            query=DryRunSchema,
            body=RuleEntrySchema,
            example=_RULE,
            also={"no rule of its own any more": _NO_MORE},
            parameters=parameters,
            statuses=(201, 200),
            refuses=CHANGE_REFUSES,
        ),
        Route(
            method="GET",
            path=f"{path}/exceptions",
            allows="read_client",
            view=exceptions,
            summary=f"The exceptions of {whose}",
            gives=answers.EnteredExceptions,
            parameters=parameters,
        ),
        Route(
            method="POST",
            path=f"{path}/exceptions",
            allows="configure_client",
            view=add_exception,
            summary=f"Enter an exception for {whose}",
            gives=answers.AddedException | answers.Effect,
            query=DryRunSchema,
            body=ExceptionEntrySchema,
            example=_EXCEPTION,
            parameters=parameters,
            statuses=(201, 200),
            refuses=CHANGE_REFUSES,
        ),
    ]


ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/clients",
        allows="read_client",
        view=list_clients,
        summary="Your clients",
        gives=answers.ClientPage,
        query=ClientsSchema,
        example={"state": "PA", "limit": 50},
    ),
    Route(
        method="GET",
        path=_AT,
        allows="read_client",
        view=get_client,
        summary="A client",
        gives=answers.ClientWithAccounts,
        parameters=OF_CLIENT,
        versioned=True,
    ),
    Route(
        method="PUT",
        path=_AT,
        allows="configure_client",
        view=put_client,
        summary="Make or change a client",
        gives=answers.Client | answers.Effect,
        query=DryRunSchema,
        body=ClientSchema,
        example=_CLIENT_BODY,
        parameters=OF_CLIENT,
        statuses=(200, 201),
        versioned=True,
        conditional=True,
        refuses=CHANGE_REFUSES,
    ),
    *_of_either(
        _AT,
        OF_CLIENT,
        (client_schedule, client_rules, add_client_rule, client_exceptions, add_client_exception),
        "a client",
    ),
    Route(
        method="GET",
        path=_ACCOUNT_AT,
        allows="read_client",
        view=get_account,
        summary="A bill account",
        gives=answers.BillAccount,
        parameters=OF_ACCOUNT,
        statuses=(200, 304),
        versioned=True,
    ),
    Route(
        method="PUT",
        path=_ACCOUNT_AT,
        allows="configure_client",
        view=put_account,
        summary="Make or change a bill account",
        gives=answers.BillAccount | answers.Effect,
        query=DryRunSchema,
        body=AccountSchema,
        example=_ACCOUNT_BODY,
        parameters=OF_ACCOUNT,
        statuses=(200, 201),
        versioned=True,
        conditional=True,
        refuses=CHANGE_REFUSES,
    ),
    *_of_either(
        _ACCOUNT_AT,
        OF_ACCOUNT,
        (account_schedule, account_rules, add_account_rule, account_exceptions, add_account_exception),
        "a bill account",
    ),
    Route(
        method="POST",
        path="/v1/imports/clients",
        allows="import_clients",
        view=import_clients,
        summary="Import clients",
        gives=answers.Imported,
        query=DryRunSchema,
        body=Csv,
        example="record,client_id,name,team_id,state\r\nclient,NEW-1,New Orchards LLC,east,PA\r\n",
        refuses=(errors.ImportRefused,),
    ),
    Route(
        method="GET",
        path="/v1/exports/clients",
        allows="read_client",
        view=export_clients,
        summary="Export your clients",
        gives=Csv,
    ),
)
