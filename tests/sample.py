"""A store to try things on: two teams, people of every role, a rule book, and clients as a test needs them.

`Twin` also keeps what it entered in the words of the specification, and so can ask the oracle what any account's
dates must be: nothing of what it says comes from the package.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
from sqlalchemy import func, select

from ebill.errors import Refusal
from ebill.rulebook import RuleBook
from ebill.service import books as rule_books
from ebill.service import clients, grants
from ebill.service.clients import Precondition, Window
from ebill.store import users as kept_users
from ebill.store.audit import By
from ebill.store.engine import Store, Writing
from ebill.store.tables import metadata
from ebill.store.users import User
from tests import books, oracle
from tests.strategies import Case, Written

Data = dict[str, Any]

AT = datetime(2026, 8, 3, 16, tzinfo=UTC)
"""When things happen unless a test says otherwise: noon in New York."""
NEW = Precondition(new=True)
HOUSE: Data = {
    "due": {"day": 1},
    "grace": {"days": 30},
    "pay_by": {"days_before_next_invoice": 3},
    "posting": {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"},
    "calendar": "XFED",
    "timezone": "America/New_York",
}
STATES: Mapping[str, Data] = {
    "PA": {"days_before_due": 20},
    "WV": {"day_of_month": 12},
    "NY": {"day_of_month": -8},
}
PRODUCTS: Mapping[str, Data] = {"cobra": {"days": 45}, "aptc": {"calendar_months": 3}}
"""The book of `text`, in the words of the specification: generation by state, grace by product."""


def text(*more: str) -> str:
    """Write the rule book, and whatever more is given."""
    return books.small(
        books.section("states.WV", "generation = { day_of_month = 12 }"),
        books.section("states.NY", "generation = { day_of_month = -8 }"),
        books.section("products.cobra", "grace = { days = 45 }"),
        books.section("products.aptc", "grace = { calendar_months = 3 }"),
        *more,
    )


@cache
def book(*more: str) -> RuleBook:
    """Read the rule book, with whatever more is given."""
    return books.book(text(*more))


ROOT = User("root", "Root", "admin", "PA", 1, frozenset(), frozenset())
NORA = User("nora", "Nora", "client_manager", "PA", 1, frozenset(), frozenset({"north"}))
SID = User("sid", "Sid", "client_manager", "PA", 1, frozenset(), frozenset({"south"}))
PAUL = User("paul", "Paul", "producer", "PA", 1, frozenset({"client_administration"}), frozenset())
EVERYBODY = (ROOT, NORA, SID, PAUL)
TEAMS = {"north": "Team North", "south": "Team South"}


@contextmanager
def writing(store: Store, at: datetime = AT, actor: str = "a test") -> Iterator[Writing]:
    """Write at an instant."""
    with store.writing(By(actor, at)) as write:
        yield write


def populate(store: Store) -> None:
    """Make the teams and the people."""
    with writing(store, datetime(2020, 1, 1, tzinfo=UTC)) as write:
        for team_id, name in TEAMS.items():
            kept_users.add_team(write.connection, team_id, name)
        for user in EVERYBODY:
            kept_users.add_user(write.connection, user, write.at)
        write.audit("populate")


def keep_book(store: Store, rules: RuleBook, at: datetime) -> None:
    """Put a rule book in force."""
    with writing(store, at) as write:
        rule_books.keep(write, rules)


def put_client(store: Store, client_id: str = "ACME", at: datetime = AT, by: User = ROOT, **body: Any) -> Data:
    """Make a client; in Pennsylvania, of the team north, unless said otherwise."""
    given = {"name": f"Client {client_id}", "team_id": "north", "state": "PA", **body}
    with writing(store, at, by.user_id) as write:
        return clients.put_client(write, book(), by, client_id, given, NEW, dry_run=False)[0]


def put_account(
    store: Store, account_id: str = "A1", client_id: str = "ACME", at: datetime = AT, by: User = ROOT, **body: Any
) -> Data:
    """Make a bill account."""
    given = {"name": f"Account {account_id}", "kind": "medical", **body}
    with writing(store, at, by.user_id) as write:
        return clients.put_account(write, book(), by, client_id, account_id, given, NEW, dry_run=False)[0]


def add(
    store: Store,
    what: str,
    account_id: str | None = None,
    client_id: str = "ACME",
    at: datetime = AT,
    by: User = ROOT,
    rules: RuleBook | None = None,
    *,
    dry_run: bool = False,
    **body: Any,
) -> Data:
    """Enter a rule or an exception."""
    given = {**({"cite": "a test"} if what == "rule" else {"reason": "a test"}), **body}
    entering = {"rule": clients.add_rule, "exception": clients.add_exception}[what]
    with writing(store, at, by.user_id) as write:
        return entering(write, rules or book(), by, client_id, account_id, given, dry_run=dry_run)


def grant(store: Store, client_id: str, user: User = PAUL) -> None:
    """Let a producer see a client."""
    with writing(store) as write:
        grants.grant(write, ROOT, user.user_id, client_id)


def schedules(
    store: Store,
    client_id: str = "ACME",
    account_id: str | None = None,
    first: str = "2026-08",
    months: int = 12,
    by: User = ROOT,
    rules: RuleBook | None = None,
    now: datetime = AT,
    known_at: datetime | None = None,
    as_of: date | None = None,
) -> Data:
    """Ask for the schedules of a client, or of one account."""
    window = Window(np.datetime64(first, "M"), months, as_of, known_at)
    with store.reading() as connection:
        return clients.schedule(connection, rules or book(), by, client_id, account_id, window, now)


def dates(answer: Data) -> dict[str, dict[str, Data]]:
    """Give of an answer each account's dates by coverage month; a month without any is not there."""
    return {
        account["account_id"]: {
            invoice["coverage_month"]: {name: invoice[name] for name in DATES}
            for invoice in account["invoices"]
            if "due_date" in invoice
        }
        for account in answer["bill_accounts"]
    }


DATES = (
    "generation_date",
    "due_date",
    "grace_end_date",
    "next_generation_date",
    "recommended_pay_by_date",
    "safe_pay_by_date",
)


def refused(kind: type[Refusal], action: Callable[[], object]) -> Any:
    """Do what must be refused, and give the refusal."""
    try:
        action()
    except kind as refusal:
        return refusal
    raise AssertionError(f"this is not refused with {kind.__name__}")


def faults(refusal: Refusal) -> dict[str, str]:
    """Give the faults of a refusal by their place."""
    return {fault.pointer: fault.detail for fault in refusal.faults}


def rows(store: Store) -> dict[str, int]:
    """Count the rows of every table."""
    return {table.name: count_of(store, table.name) for table in metadata.sorted_tables}


def count_of(store: Store, table: str) -> int:
    """Count the rows of a table."""
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(metadata.tables[table])) or 0


# What is known without asking the package


@dataclass
class Known:
    """What was entered for a client: its settings, its accounts', and the entries in their order."""

    settings: Data
    accounts: dict[str, Data] = field(default_factory=dict)
    rules: list[tuple[str | None, str, str, Any]] = field(default_factory=list)
    exceptions: list[tuple[str | None, str, Data]] = field(default_factory=list)
    versions: dict[str | None, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """Something to enter: `what` is `client`, `bill_account`, `rule` or `exception`."""

    what: str
    client_id: str
    account_id: str | None
    body: Data


class Twin:
    """A store, and beside it what was entered in it; both by the same changes."""

    def __init__(self, store: Store, rules: RuleBook | None = None) -> None:
        self.store, self.book = store, rules or book()
        self.book_rows: list[tuple[str, str, str, Data]] = []
        self.clients: dict[str, Known] = {}

    def enter(self, change: Change, at: datetime, *, dry_run: bool = False) -> Any:
        """Make a change, or only try it. Raises what the service raises."""
        known = self.clients.get(change.client_id)
        version = known.versions.get(change.account_id) if known else None
        made_to = Precondition(version) if version else NEW
        with writing(self.store, at) as write:
            if change.what == "client":
                answer, version = clients.put_client(
                    write, self.book, ROOT, change.client_id, change.body, made_to, dry_run=dry_run
                )
            elif change.what == "bill_account":
                answer, version = clients.put_account(
                    write,
                    self.book,
                    ROOT,
                    change.client_id,
                    change.account_id or "",
                    change.body,
                    made_to,
                    dry_run=dry_run,
                )
            else:
                entering = {"rule": clients.add_rule, "exception": clients.add_exception}[change.what]
                answer = entering(
                    write, self.book, ROOT, change.client_id, change.account_id, change.body, dry_run=dry_run
                )
        if not dry_run:
            self._note(change, version or 0)
        return answer

    def change_book(self, state: str, since: str, kind: str, rule: Data, at: datetime) -> None:
        """Append a row of a state to the rule book, and put that in force."""
        rows = [*self.book_rows, (state, since, kind, rule)]
        more = (books.row(f"states.{of}", f"{name} = {toml(given)}", since=begins) for of, begins, name, given in rows)
        self.book = books.book(text(*more))
        self.book_rows = rows
        keep_book(self.store, self.book, at)

    def _note(self, change: Change, version: int) -> None:
        body = {key: value for key, value in change.body.items() if key not in ("retroactive", "cite", "reason")}
        if change.what == "client":
            known = self.clients.setdefault(change.client_id, Known(body))
            known.settings, known.versions[None] = body, version
            return
        known = self.clients[change.client_id]
        if change.what == "bill_account":
            known.accounts[change.account_id or ""], known.versions[change.account_id] = body, version
        elif change.what == "rule":
            since = body.pop("since")
            ((kind, rule),) = body.items()
            known.rules.append((change.account_id, since, kind, rule))
        else:
            known.exceptions.append((change.account_id, body.pop("coverage_month"), body))

    def copy(self) -> dict[str, Known]:
        """Give what is known now, to be looked at later."""
        return deepcopy(self.clients)

    def case(self, client_id: str, account_id: str, first: str, count: int) -> Case:
        """Give an account in the words of the specification."""
        known = self.clients[client_id]
        own = known.accounts[account_id]
        state = own.get("state") or known.settings["state"]
        product = own.get("product") or known.settings.get("product")
        written = [Written("2000-01", "default", kind, rule) for kind, rule in HOUSE.items()]
        written += [Written("2000-01", "default", "generation", STATES["PA"])]
        written += [Written("2000-01", "state", "generation", STATES[state])]
        written += [Written(since, "state", kind, rule) for of, since, kind, rule in self.book_rows if of == state]
        if product:
            written += [Written("2000-01", "product", "grace", PRODUCTS[product])]
        for layer, settings, whose in (("client", known.settings, None), ("bill_account", own, account_id)):
            for kind in ("timezone", "skip_coverage_months"):
                if settings.get(kind) is not None:
                    written.append(Written("2000-01", layer, kind, settings[kind]))
            written += [Written(since, layer, kind, rule) for of, since, kind, rule in known.rules if of == whose]
        begins = own.get("first_coverage_month") or known.settings.get("first_coverage_month") or ""
        begins = max(begins, known.settings.get("bills_here_since") or "")
        return Case(
            written,
            first,
            count,
            self._fixed(known, account_id),
            own.get("last_coverage_month") or known.settings.get("last_coverage_month"),
            begins or None,
        )

    def _fixed(self, known: Known, account_id: str) -> dict[str, Data]:
        """Give the exceptions in force: the latest of each month, the account's own before the client's."""
        fixed: dict[str, Data] = {}
        for whose in (None, account_id):
            latest = {month: body for of, month, body in known.exceptions if of == whose}
            for month, body in latest.items():
                if not body.get("withdrawn"):
                    fixed[month] = {name: date.fromisoformat(day) for name, day in body.items()}
        return fixed

    def expected(self, client_id: str, first: str, count: int) -> dict[str, dict[str, Data]]:
        """Give what the oracle says of every account of a client; a month without an invoice is not there."""
        return {
            account_id: {
                month: dict(invoice)
                for month, invoice in self.case(client_id, account_id, first, count).invoices().items()
                if invoice is not None
            }
            for account_id in sorted(self.clients[client_id].accounts)
        }

    def found(self, client_id: str, first: str, count: int, **how: Any) -> dict[str, dict[str, Data]]:
        """Give what the service says of it."""
        return dates(schedules(self.store, client_id, None, first, count, rules=self.book, **how))

    # Drawing

    def draw(self, rng: random.Random, at: datetime) -> Change:
        """Draw a change around an instant; it may be one that must be refused."""
        if not self.clients or (len(self.clients) < 4 and rng.random() < 0.1):
            name = f"C{len(self.clients) + 1}"
            return Change("client", name, None, self._settings(rng, at, {"name": f"Client {name}"}, of_client=True))
        client_id = rng.choice(sorted(self.clients))
        known = self.clients[client_id]
        accounts = sorted(known.accounts)
        what = rng.choices(("client", "bill_account", "rule", "exception"), (1, 2, 5, 3))[0]
        if not accounts or (what == "bill_account" and len(accounts) < 4 and rng.random() < 0.5):
            name = f"A{len(accounts) + 1}"
            given = {"name": f"Account {name}", "kind": rng.choice(("medical", "dental"))}
            return Change("bill_account", client_id, name, self._settings(rng, at, given, of_client=False))
        if what == "client":
            body = self._settings(rng, at, {"name": known.settings["name"]}, of_client=True)
            return Change(what, client_id, None, body | _owned(rng))
        if what == "bill_account":
            name = rng.choice(accounts)
            given = {key: known.accounts[name][key] for key in ("name", "kind")}
            return Change(what, client_id, name, self._settings(rng, at, given, of_client=False) | _owned(rng))
        account_id = rng.choice((None, *accounts))
        if what == "rule":
            kind = rng.choice(sorted(DRAWN))
            rule = "inherited" if rng.random() < GIVEN_UP else rng.choice(DRAWN[kind])
            body = {"since": _month(at, rng.randint(-3, 9)), kind: rule, "cite": "a letter"}
            return Change(what, client_id, account_id, body | _owned(rng))
        return Change(what, client_id, account_id, self._exception(rng, at, known, account_id) | _owned(rng))

    def _settings(self, rng: random.Random, at: datetime, given: Data, *, of_client: bool) -> Data:
        def perhaps(share: float, value: Any) -> Any:
            return value if rng.random() < share else None

        settings: Data = {
            "product": perhaps(0.3, rng.choice(sorted(PRODUCTS))),
            "timezone": perhaps(0.2, rng.choice(("America/Chicago", "Pacific/Honolulu"))),
            "first_coverage_month": perhaps(0.3, _month(at, rng.randint(-6, 3))),
            "last_coverage_month": perhaps(0.2, _month(at, rng.randint(4, 20))),
            "skip_coverage_months": perhaps(0.2, sorted(rng.sample(range(1, 13), rng.randint(0, 2)))),
            "state": rng.choice(sorted(STATES)) if of_client else perhaps(0.3, rng.choice(sorted(STATES))),
        }
        if of_client:
            settings |= {"team_id": "north", "bills_here_since": perhaps(0.2, _month(at, rng.randint(-8, 0)))}
        return {**given, **{key: value for key, value in settings.items() if value is not None}}

    def _exception(self, rng: random.Random, at: datetime, known: Known, account_id: str | None) -> Data:
        entered = [month for of, month, _ in known.exceptions if of == account_id]
        if entered and rng.random() < 0.3:
            return {"coverage_month": rng.choice(entered), "withdrawn": True, "reason": "a mistake"}
        month = _month(at, rng.randint(-1, 8))
        begins = oracle.month_called(month)
        fixed = {
            "generation_date": begins - timedelta(rng.randint(5, 30)),
            "due_date": begins + timedelta(rng.randint(0, 9)),
            "grace_end_date": begins + timedelta(rng.randint(20, 60)),
        }
        names = rng.sample(sorted(fixed), rng.randint(1, 3))
        return {"coverage_month": month, "reason": "a calendar", **{name: fixed[name].isoformat() for name in names}}


def toml(rule: Data) -> str:
    """Write a rule as it stands in the rule book."""
    pairs = (f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in rule.items())
    return f"{{ {', '.join(pairs)} }}"


def _owned(rng: random.Random) -> Data:
    return {"retroactive": True, "reason": "agreed with the client"} if rng.random() < 0.6 else {}


def _month(at: datetime, later: int) -> str:
    return oracle.name_of(oracle.months_after(at.date().replace(day=1), later))


DRAWN: Mapping[str, list[Any]] = {
    "generation": [
        *({"days_before_due": days} for days in (5, 12, 20, 28, 45)),
        *({"day_of_month": day} for day in (3, 12, 20, -1)),
        {"weekday": "TH", "nth": 3},
        {"business_day": 5, "roll": "following"},
        {"day_of_month": 5, "months_before_due": 1},
    ],
    "due": [{"day": 1}, {"day": 5, "roll": "following"}, {"day": 15}, {"day": 1, "month_offset": 1}],
    "grace": [{"days": 20}, {"days": 31, "counting": "from_due"}, {"days": 60}, {"calendar_months": 2}],
    "pay_by": [
        {"days_before_next_invoice": 5},
        {"days_before_next_invoice": 2, "unit": "business"},
        {"days_before_next_invoice": 3, "roll": "preceding"},
    ],
    "posting": [
        {"min_business_days": 1, "max_business_days": 1, "cutoff": "12:00"},
        {"min_business_days": 2, "max_business_days": 5, "cutoff": "17:00"},
    ],
    "calendar": ["XFED", "US-PA"],
    "timezone": ["America/New_York", "America/Chicago"],
    "skip_coverage_months": [[], [7, 8], [12]],
}
GIVEN_UP = 0.15
"""How often a rule drawn is instead that there is none any more."""
