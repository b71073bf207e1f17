"""The shapes of the signed-in routes' answers, as the OpenAPI document shows them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal, NotRequired, TypedDict

from ebill.schedule import DateName
from ebill.service import Invoice
from ebill.service.changes import HazardCode
from ebill.service.invoices import NotBilledMonth, Version

Decision = Literal["pending", "granted", "declined"]
Role = Literal["producer", "client_manager", "admin"]


class Settings(TypedDict):
    """What a client and a bill account have in common; null is *as the layer below has it*."""

    name: str
    state: str | None
    product: str | None
    timezone: str | None
    first_coverage_month: str | None
    last_coverage_month: str | None
    skip_coverage_months: list[int] | None
    client_id: str
    version: int


class Client(Settings):
    """A client's own settings."""

    team_id: str
    bills_here_since: str | None


class BillAccount(Settings):
    """A bill account of a client."""

    account_id: str
    kind: str


class ClientWithAccounts(Client):
    """A client and its bill accounts; the version is that of the client's own settings."""

    bill_accounts: list[BillAccount]


class ClientPage(TypedDict):
    """Some of the clients that the caller may see, by id; `next_cursor` leads to the next page."""

    data: list[Client]
    next_cursor: str | None


class BilledElsewhere(TypedDict):
    """A coverage month that is billed on another platform, and where to look."""

    coverage_month: str
    standing: Literal["billed_elsewhere"]
    detail: str


class InvoicePayment(TypedDict):
    """The payment recorded for an invoice, and when it posts; see the account's payments."""

    payment_id: str
    paid_at: date | datetime
    posts_from_date: date
    posts_by_date: date


class AccountInvoice(Invoice):
    """One invoice of a bill account."""

    payment: NotRequired[InvoicePayment]


class AccountSchedule(TypedDict):
    """The invoices of one bill account."""

    account_id: str
    name: str
    kind: str
    state: str | None
    product: str | None
    timezone: str
    as_of: date
    invoices: list[AccountInvoice | BilledElsewhere]
    not_billed: NotRequired[list[NotBilledMonth]]


class Schedule(TypedDict):
    """The invoices of a client's bill accounts, or of one of them."""

    client_id: str
    known_at: datetime | None
    rulebook: Version
    bill_accounts: list[AccountSchedule]


class EnteredRule(TypedDict):
    """A dated rule as it was entered, on whose word and when: one of the kinds."""

    account_id: str | None
    retroactive: bool
    reason: str | None
    recorded_by: str
    recorded_at: datetime
    since: str
    cite: str
    assumed: bool
    due: NotRequired[Any]
    generation: NotRequired[Any]
    grace: NotRequired[Any]
    pay_by: NotRequired[Any]
    posting: NotRequired[Any]
    calendar: NotRequired[Any]
    timezone: NotRequired[Any]
    skip_coverage_months: NotRequired[Any]


class EnteredException(TypedDict):
    """Fixed dates of one coverage month as they were entered, or their withdrawal."""

    account_id: str | None
    retroactive: bool
    reason: str | None
    recorded_by: str
    recorded_at: datetime
    coverage_month: str
    generation_date: date | None
    due_date: date | None
    grace_end_date: date | None
    withdrawn: bool


class EnteredRules(TypedDict):
    """The rules entered, in the order they were."""

    data: list[EnteredRule]


class EnteredExceptions(TypedDict):
    """The exceptions entered, in the order they were."""

    data: list[EnteredException]


class Counts(TypedDict):
    """How much a change moves, and how many invoices before and after the months it is listed for."""

    accounts_looked_at: int
    accounts_changed: int
    accounts_with_earlier_deadline: int
    invoices_changed: int
    dates_moved: int
    invoices_changed_before_from: int
    invoices_changed_after_to: int


class MovedDate(TypedDict):
    """One date that moves; null where there is no such date."""

    client_id: str
    account_id: str
    coverage_month: str
    name: DateName
    before: date | None
    after: date | None


class Hazard(TypedDict):
    """Something a change does that somebody should know before it is made."""

    client_id: str
    account_id: str
    code: HazardCode
    coverage_month: str
    detail: str


Effect = TypedDict(
    "Effect",
    {"from": str, "to": str, "counts": Counts, "moved": list[MovedDate], "hazards": list[Hazard]},
)
Effect.__doc__ = "What a change moves, and what it does besides."


class AccountName(TypedDict):
    """Which bill account."""

    client_id: str
    account_id: str


class MovedAlike(TypedDict):
    """One date that moves, of several accounts; null where there is no such date."""

    coverage_month: str
    name: DateName
    before: date | None
    after: date | None


class HazardOfAll(TypedDict):
    """Something a change does to several accounts that somebody should know before it is made."""

    code: HazardCode
    coverage_month: str
    detail: str


class Alike(TypedDict):
    """Accounts whose dates move alike, and how they move."""

    accounts: list[AccountName]
    moved: list[MovedAlike]
    hazards: list[HazardOfAll]


EffectOnMany = TypedDict("EffectOnMany", {"from": str, "to": str, "counts": Counts, "changes": list[Alike]})
EffectOnMany.__doc__ = "What a change of many accounts moves; those that move alike stand together."


class AddedRule(TypedDict):
    """A rule as it is kept, and what it moved."""

    entered: EnteredRule
    effect: Effect


class AddedException(TypedDict):
    """An exception as it is kept, and what it moved."""

    entered: EnteredException
    effect: Effect


class KeptRecords(TypedDict):
    """How many records an import kept."""

    clients: int
    bill_accounts: int
    rules: int
    exceptions: int


class Imported(TypedDict):
    """What an import kept and moved, or would; rows that say what is known already change nothing."""

    dry_run: bool
    kept: KeptRecords
    rows_unchanged: int
    effect: EffectOnMany


class User(TypedDict):
    """A user."""

    user_id: str
    name: str
    role: Role
    state: str
    entitlements: list[str]
    teams: list[str]
    payment_terms_accepted_at: datetime | None
    disabled_at: datetime | None
    oidc_subject: str | None
    version: int


class UserWithClients(User):
    """A user, and the clients granted to them; the version is that of the user's own settings."""

    clients: list[str]


class UserSeen(User):
    """A user, and when they were last seen: in a session or by a token."""

    last_seen_at: datetime | None


class Users(TypedDict):
    """Users by id; `next_cursor` leads to the next page."""

    data: list[UserSeen]
    next_cursor: str | None


class Team(TypedDict):
    """A client management team."""

    team_id: str
    name: str


class Teams(TypedDict):
    """Every team, by id."""

    data: list[Team]


class Token(TypedDict):
    """An API token, without its text; `client_ids` null is *all that its user sees*."""

    token_id: str
    user_id: str
    name: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    read_only: bool
    client_ids: list[str] | None


class NewToken(Token):
    """An API token with its text, which is shown this once and kept nowhere."""

    token: str


class Tokens(TypedDict):
    """A user's tokens, oldest first."""

    data: list[Token]


class Feed(TypedDict):
    """A calendar feed, without its address; null is *whatever it is*."""

    feed_id: str
    user_id: str
    name: str
    kinds: list[str] | None
    state: str | None
    client_id: str | None
    product: str | None
    names: bool
    days_back: int
    days_ahead: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_fetched_at: datetime | None


class NewFeed(Feed):
    """A calendar feed with its address, which is shown this once and kept nowhere; `webcal_url` is the same."""

    url: str
    webcal_url: str


class Feeds(TypedDict):
    """The caller's calendar feeds, oldest first."""

    data: list[Feed]


class RequestedClient(TypedDict):
    """One client of an access request."""

    client_id: str
    decision: Decision


class NewAccessRequest(TypedDict):
    """An access request as it was taken; whether there are such clients, it does not tell."""

    request_id: str
    requested_at: datetime
    clients: list[RequestedClient]


class DecidedClient(RequestedClient):
    """One client of an access request, and what was decided."""

    decided_at: datetime | None
    decision_reason: str | None


class AccessRequest(TypedDict):
    """An access request."""

    request_id: str
    user_id: str
    requested_at: datetime
    reason: str
    clients: list[DecidedClient]


class AccessRequests(TypedDict):
    """The caller's own requests, or those that the caller may decide on; the latest first."""

    data: list[AccessRequest]


class Decided(TypedDict):
    """What was decided on which clients."""

    request_id: str
    decision: Decision
    client_ids: list[str]


class AuditRow(TypedDict):
    """Who changed what, when, on whose word; what is not for you to know is null."""

    sequence: int | None
    at: datetime
    actor: str
    token_id: str | None
    request_id: str | None
    action: str
    client_id: str | None
    account_id: str | None
    subject: str | None
    before: Any
    after: Any
    reason: str | None
    hash: str | None


class AuditRows(TypedDict):
    """Rows of the audit; `next_cursor` leads to the next page."""

    data: list[AuditRow]
    next_cursor: str | None
