"""An example of a file to import: a client, its bill accounts, rules and an exception, as an export writes them."""

from __future__ import annotations

import csv
from datetime import date, datetime
from io import StringIO
from typing import Any, Final

from sqlalchemy import Connection

from ebill.rulebook import RuleBook
from ebill.service import rows
from ebill.store import users
from ebill.store.clients import Account, Client, Dossier, ExceptionEntry, RuleEntry
from ebill.store.users import User

CLIENT: Final = "EXAMPLE-1"
_LAST_YEAR: Final = 2098


def example_file(connection: Connection, book: RuleBook, user: User, now: datetime) -> str:
    """Write a file that its reader could import as it is: about a client of their own team, for the year to come.

    Every row of it has an effect: the last of its rules gives up the one before it.
    """
    year = min(now.year, _LAST_YEAR) + 1
    teams = sorted(user.teams) or sorted(users.team_names(connection))
    client = Client(
        client_id=CLIENT,
        version=1,
        team_id=teams[0] if teams else "your-team",
        name="Example Manufacturing, Inc.",
        state=next(iter(book.states)),
    )
    kinds = (("MED", "Medical", "medical", None), ("COB", "COBRA", "COBRA", next(iter(book.products), None)))
    accounts = tuple(
        Account(client_id=CLIENT, account_id=account_id, version=1, name=name, kind=kind, product=product)
        for account_id, name, kind, product in kinds
    )
    of: dict[str, Any] = {"client_id": CLIENT, "retroactive": False}
    written: dict[str, Any] = {**of, "cite": "Letter of the client", "assumed": False, "reason": None}
    entered = (
        RuleEntry(**written, account_id=None, since=f"{year}-01", kind="grace", rule='{"grace":{"days":45}}'),
        RuleEntry(**written, account_id="COB", since=f"{year}-01", kind="grace", rule='{"grace":{"days":60}}'),
        RuleEntry(**written, account_id="COB", since=f"{year}-07", kind="grace", rule='{"grace":"inherited"}'),
    )
    fixed = ExceptionEntry(
        **of,
        account_id="MED",
        coverage_month=f"{year}-03",
        grace_end_date=date(year, 4, 20),
        reason="Agreed for this one month",
    )
    file = StringIO(newline="")
    writer = csv.DictWriter(file, rows.COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows.written(Dossier(client, accounts, entered, (fixed,))))
    return file.getvalue()
