"""A sample book of clients: made up by this module, the same for the same number, imported through the usual door.

Its companies, people and numbers belong to nobody. It has what real books have: every kind of bill account, locations
in other states, schools that skip the summer, clients billed on another platform until lately, terms of their own,
and payments: most made in time, some that wait to post, some missing.
"""

from __future__ import annotations

import csv
import io
import json
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from dateutil.relativedelta import relativedelta

from ebill import passwords
from ebill.rulebook import RuleBook
from ebill.service import grants, imports, payments, tokens, users
from ebill.service.clients import Precondition
from ebill.service.rows import COLUMNS
from ebill.store import tokens as kept_tokens
from ebill.store import users as kept_users
from ebill.store.audit import By
from ebill.store.engine import Store, Writing
from ebill.store.users import User

STATES: Final = ("PA", "PA", "PA", "NY", "NY", "WV", "DE")
TEAMS: Final = {"east": "Client management, East", "west": "Client management, West"}
TEAM_OF: Final = {"PA": "east", "DE": "east", "NY": "west", "WV": "west"}
PRODUCER, MANAGER, ADMIN = "sample-producer", "sample-manager", "sample-admin"
PEOPLE: Final[dict[str, dict[str, Any]]] = {
    PRODUCER: {"name": "Sample producer", "role": "producer", "state": "PA"},
    MANAGER: {"name": "Sample client manager", "role": "client_manager", "state": "PA", "teams": ["east"]},
    ADMIN: {"name": "Sample administrator", "role": "admin", "state": "PA"},
}
CALLED: Final = "sample token"
TOKEN_LIFE: Final = timedelta(days=30)
FIRST_CLIENT: Final = "C00001"
"""A client of every sample book, which the sample producer may see."""
FIRST_ACCOUNT: Final = "MED"
"""A bill account of that client's."""
UNSEEN: Final = ("C00002", "C00003")
"""Clients of the usual sample book that the sample producer may not see."""
GRANTED: Final = 60
"""Clients that the sample producer may see."""

_PARTS: Final = 5
"""Parts of a password, of sixteen random bits each."""
_PLACES: Final = (
    "Alderwick",
    "Brackhollow",
    "Cinderford",
    "Dunmarrow",
    "Elkmoor",
    "Fennimere",
    "Gristmount",
    "Hallowbeck",
    "Ironfield",
    "Juniper",
    "Kestrelbrook",
    "Larkenshaw",
    "Millhaven",
    "Nettlegrove",
    "Oxbarrow",
    "Pellbrook",
    "Quillmere",
    "Ravenstoke",
    "Saltersby",
    "Thornquay",
    "Umberdale",
    "Vexley",
    "Wrenfold",
    "Yarrowgate",
    "Zellington",
)
_TRADES: Final = (
    "Orchards",
    "Foundry",
    "Freight",
    "Bakeries",
    "Tool & Die",
    "Credit Union",
    "Plumbing Supply",
    "Veterinary Group",
    "Printing",
    "Paper Mill",
    "Landscaping",
    "Engineers",
    "Brewing",
    "Nursing Homes",
    "Masonry",
    "Software",
    "Grain Elevators",
    "Ambulance",
    "Library",
    "Dairy",
)
_FORMS: Final = ("Inc.", "LLC", "Co-op", "& Sons", "Group")
_GENERATION: Final = (
    {"days_before_due": 25},
    {"days_before_due": 15},
    {"day_of_month": 5},
    {"day_of_month": -3, "roll": "preceding"},
    {"weekday": "TH", "nth": 3},
    {"business_day": 7, "months_before_due": 1},
)


@dataclass(frozen=True, slots=True)
class Filled:
    """What a demonstration put into a store."""

    clients: int
    accounts: int


def rows(count: int) -> Iterator[dict[str, str]]:
    """Give the rows, as the import reads them, of so many clients."""
    luck = random.Random(count)  # noqa: S311  # no secret
    for number in range(1, count + 1):
        yield from _client(luck, number)


def fill(store: Store, book: RuleBook, count: int, at: datetime) -> Filled:
    """Put teams, people and so many clients into a store that has none. All of it, or nothing."""
    made = list(rows(count))
    with store.writing(By("demo", at)) as write:
        admin = _people(write, book)
        imports.import_clients(write, book, admin, _file(made), dry_run=False)
        names = [row["client_id"] for row in made if row["record"] == "client" and row["state"] == "PA"]
        for client_id in names[:GRANTED]:
            grants.grant(write, admin, PRODUCER, client_id)
        _pay(write, book, admin, [row for row in made if row["client_id"] in set(names[:GRANTED])])
    return Filled(count, sum(row["record"] == "bill_account" for row in made))


def is_here(store: Store) -> bool:
    """Tell whether a store has the sample people."""
    with store.reading() as connection:
        return kept_users.user(connection, PRODUCER) is not None


def is_untouched(store: Store) -> bool:
    """Tell whether nobody was ever entered into a store."""
    with store.reading() as connection:
        return not kept_users.all_users(connection)


def fresh_tokens(store: Store, at: datetime) -> dict[str, str]:
    """Give each sample user a new token, whose text is known this once; the ones before are revoked."""
    made: dict[str, str] = {}
    with store.writing(By("demo", at)) as write:
        for user_id in PEOPLE:
            for token in kept_tokens.tokens_of(write.connection, user_id):
                if token.name == CALLED and token.revoked_at is None:
                    kept_tokens.revoke(write.connection, token.token_id, write.at)
                    write.audit("revoke_token", subject=token.token_id)
            made[user_id] = tokens.token_for(write, user_id, CALLED, TOKEN_LIFE.days)["token"]
    return made


def fresh_passwords(store: Store, at: datetime) -> dict[str, str]:
    """Give each sample user a new password, known this once; whoever signed in with the one before is signed out."""
    made = {user_id: "-".join(secrets.token_hex(2) for _ in range(_PARTS)) for user_id in PEOPLE}
    hashes = {user_id: passwords.hashed(password) for user_id, password in made.items()}
    with store.writing(By("demo", at)) as write:
        for user_id, password_hash in hashes.items():
            users.keep_password(write, user_id, password_hash)
    return made


def _people(write: Writing, book: RuleBook) -> User:
    for team_id, name in TEAMS.items():
        users.put_team(write, team_id, {"name": name})
    for user_id, body in PEOPLE.items():
        users.put_user(write, book, user_id, body, Precondition(new=True))
    admin = kept_users.user(write.connection, ADMIN)
    if admin is None:
        raise RuntimeError("the administrator who was just made is not there")
    return admin


def _pay(write: Writing, book: RuleBook, admin: User, made: list[dict[str, str]]) -> None:
    """Record what was paid for this month and the two before: mostly early in it, some only yesterday, some not at all.

    An invoice is generated before it is due, on the 1st here or later: so none is paid before it is there.
    """
    luck = random.Random(len(made))  # noqa: S311  # no secret
    today = write.at.date()
    yesterday, this_month = today - timedelta(days=1), today.replace(day=1)
    skipped = {row["client_id"]: row["skip_coverage_months"].split() for row in made if "skip_coverage_months" in row}
    for row in made:
        if row["record"] != "bill_account":
            continue
        of = row["client_id"], row["account_id"]
        for back, early, late in ((2, 0.97, 0.97), (1, 0.95, 0.95), (0, 0.6, 0.8)):
            month = this_month - relativedelta(months=back)
            chance, paid_on = luck.random(), month + timedelta(days=luck.randrange(5))
            paid_on = paid_on if chance < early and paid_on < today else yesterday
            if chance < late and str(month.month) not in skipped.get(row["client_id"], ()):
                body = {"coverage_month": f"{month:%Y-%m}", "paid_at": paid_on.isoformat()}
                payments.record(write, book, admin, *of, body)


def _file(made: list[dict[str, str]]) -> io.StringIO:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(made)
    file.seek(0)
    return file


def _client(luck: random.Random, number: int) -> Iterator[dict[str, str]]:
    client_id = f"C{number:05}"
    state = "PA" if number == 1 else luck.choice(STATES)
    place, trade = luck.choice(_PLACES), luck.choice(_TRADES)
    is_school = number % 17 == 0
    name = f"{place} School District" if is_school else f"{place} {trade} {luck.choice(_FORMS)}"
    client = {"record": "client", "client_id": client_id, "name": name, "state": state, "team_id": TEAM_OF[state]}
    if is_school:
        client["skip_coverage_months"] = "7 8"
    if state == "NY" and number % 5 == 0:
        client["bills_here_since"] = f"2026-{luck.randint(1, 9):02}"
    yield client
    yield from _accounts(luck, client_id, state)
    if number % 9 == 0:
        yield _rule(client_id, "2026-01", {"grace": {"days": luck.choice((31, 45, 60))}}, "Group agreement, section 4")
    if number % 11 == 0:
        yield _rule(client_id, "2026-07", {"generation": luck.choice(_GENERATION)}, "Billing change form")
    if number % 23 == 0:
        yield {"record": "exception", "client_id": client_id, "coverage_month": "2027-01",
               "due_date": "2027-01-04", "reason": "Offices are closed over New Year"}  # fmt: skip


def _accounts(luck: random.Random, client_id: str, state: str) -> Iterator[dict[str, str]]:
    kinds = [("MED", "medical", {}), ("COB", "COBRA", {"product": "cobra"})]
    kinds += luck.sample([("DEN", "dental", {}), ("VIS", "vision", {}), ("LOC", "location", {})], luck.randint(0, 2))
    for code, kind, more in kinds if luck.random() < 0.8 else kinds[:1]:
        account = {"record": "bill_account", "client_id": client_id, "account_id": code, "kind": kind, **more}
        account["name"] = kind.capitalize() if kind != "COBRA" else kind
        if kind == "location":
            account["state"] = luck.choice([other for other in TEAM_OF if other != state])
            account["name"] = f"{luck.choice(_PLACES)} branch"
        yield account
        if luck.random() < 0.06:
            yield {**_rule(client_id, "2026-04", {"generation": luck.choice(_GENERATION)}, "Letter on file"),
                   "account_id": code}  # fmt: skip


def _rule(client_id: str, since: str, rule: dict[str, Any], cite: str) -> dict[str, str]:
    return {"record": "rule", "client_id": client_id, "since": since, "rule": json.dumps(rule), "cite": cite}
