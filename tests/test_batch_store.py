"""`ebill batch --from-store`: every month of every account is as its client's schedule has it, payments and all."""

import json
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ebill import access, bookfile, demo
from ebill.batch.laid import Laid
from ebill.cli import main
from ebill.cli.stored import OPERATOR
from ebill.errors import InvalidInput, NotAllowed
from ebill.rulebook import RuleBook
from ebill.schedule import DATE_NAMES
from ebill.service import clients
from ebill.service.batches import Accounts
from ebill.service.clients import Window
from ebill.store import clients as store_of_clients
from ebill.store.engine import Store
from ebill.store.users import User
from tests import records

pytestmark = pytest.mark.anywhere

NOW = datetime(2026, 8, 3, 16, tzinfo=UTC)
FIRST, COUNT = np.datetime64("2025-11", "M"), 12


@pytest.fixture
def book() -> RuleBook:
    return bookfile.load(bookfile.SHIPPED).book


@pytest.fixture
def filled(emptied_store: Store, book: RuleBook) -> Store:
    demo.fill(emptied_store, book, 60, NOW)
    return emptied_store


def read(store: Store, book: RuleBook, user: User = OPERATOR, count: int = COUNT) -> list[dict[str, Any]]:
    with store.reading(patient=True) as connection:
        source = Accounts(connection, book, user, FIRST, count, Laid(book, None, NOW))
    found = []
    for block in source.blocks():
        found += source.answer(block).record_batch().to_pylist()
    return found


def compared(filled: Store, book: RuleBook) -> Counter[str]:
    """Compare all rows with the schedules of their clients; count them."""
    found = {(row["client_id"], row["account_id"], row["coverage_month"]): row for row in read(filled, book)}
    counted = Counter[str]()
    with filled.reading() as connection:
        for client_id in sorted({client_id for client_id, _, _ in found}):
            answer = clients.schedule(connection, book, OPERATOR, client_id, None, Window(FIRST, COUNT), NOW)
            for account in answer["bill_accounts"]:
                whose = client_id, account["account_id"]
                months = {row["coverage_month"]: row for row in account["invoices"]}
                for unbilled in account.get("not_billed", ()):
                    row = found[*whose, unbilled["coverage_month"]]
                    assert (row["reason"], row["detail"]) == ("not_billed", unbilled["reason"])
                    counted["not billed"] += 1
                for month, invoice in months.items():
                    row = found[*whose, month]
                    assert (row["state"], row["product"]) == (account["state"], account["product"])
                    if invoice["standing"] == "billed_elsewhere":
                        assert (row["reason"], row["detail"]) == ("billed_elsewhere", invoice["detail"])
                        counted["elsewhere"] += 1
                        continue
                    counted["billed"] += 1
                    assert [row[name] for name in DATE_NAMES] == [invoice[name] for name in DATE_NAMES]
                    assert (row["standing"], row["as_of"]) == (invoice["standing"], account["as_of"])
                    assert row["warnings"].split() == [warned["code"] for warned in invoice["warnings"]]
                    if "payment" in invoice:
                        assert row["posts_by_date"] == invoice["payment"]["posts_by_date"]
                        counted["paid"] += 1
                    else:
                        assert row["posts_by_date"] is None
    assert counted["billed"] + counted["not billed"] + counted["elsewhere"] == len(found)
    return counted


def test_every_month_of_every_account_is_as_its_schedule_has_it(filled: Store, book: RuleBook) -> None:
    counted = compared(filled, book)
    assert counted["paid"] > 20
    assert counted["elsewhere"] > 0


OWN: dict[str, list[Any]] = {
    "due": [{"day": 5}, {"day": 1, "roll": "following"}],
    "generation": [{"days_before_due": 20}, {"days_before_due": 25}, {"day_of_month": 12}, {"business_day": -3}],
    "grace": [{"days": 45}, {"days": 60}, {"calendar_months": 2}],
    "pay_by": [{"days_before_next_invoice": 4}, {"days_before_next_invoice": 4, "unit": "business"}],
    "posting": [{"min_business_days": 1, "max_business_days": 2, "cutoff": "12:00"}],
    "calendar": ["US-PA", "XFED"],
    "timezone": ["America/Chicago", "Pacific/Honolulu"],
    "skip_coverage_months": [[7], [], [1, 12]],
}
"""Few rules of each kind, so that many accounts nearly have the same."""


@pytest.mark.parametrize("seed", range(4))
def test_so_it_is_where_many_accounts_differ_in_little(filled: Store, book: RuleBook, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # no secret
    kinds = rng.sample(sorted(OWN), 3)
    with records.changing(filled) as connection:
        for client_id in (f"X{number:02}" for number in range(40)):
            client = records.client(
                client_id,
                team_id="east",
                state=rng.choice(("PA", "NY")),
                product=rng.choice((None, None, "cobra")),
                bills_here_since=rng.choice((None, None, "2026-01")),
                last_coverage_month=rng.choice((None, None, None, "2026-07")),
            )
            store_of_clients.put_client(connection, client, "ada-admin", NOW)
            accounts = ["A1", "A2"][: rng.randint(1, 2)]
            for account_id in accounts:
                account = records.account(account_id, client_id=client_id, product=rng.choice((None, "cobra")))
                store_of_clients.put_account(connection, account, "ada-admin", NOW)
            entries = []
            for kind in rng.choices(kinds, k=rng.randint(1, 3)):
                own = "inherited" if rng.random() < 0.35 else rng.choice(OWN[kind])
                whose = rng.choice((None, None, *accounts))
                since = rng.choice(("2025-01", "2025-12", "2026-03", "2026-06"))
                text = json.dumps({kind: own})
                entries.append(records.rule(since, client_id=client_id, account_id=whose, kind=kind, rule=text))
            store_of_clients.add_entries(connection, entries, "ada-admin", NOW)
    assert compared(filled, book)["billed"] > 800


def test_a_rule_entered_that_nobody_has_confirmed_is_warned_of_from_its_month_on(filled: Store, book: RuleBook) -> None:
    whose = read(filled, book)[0]["client_id"]
    own = ('{"generation": {"days_before_due": 20}}', '{"grace": {"days": 40}}',
           '{"posting": {"min_business_days": 2, "max_business_days": 3, "cutoff": "17:00"}}')  # fmt: skip
    entries = [records.rule("2000-01", client_id=whose, rule=text, kind=next(iter(json.loads(text)))) for text in own]
    entries.append(replace(entries[1], since="2026-03", assumed=True))
    with records.changing(filled) as connection:
        store_of_clients.add_entries(connection, entries, "ada-admin", NOW)
    rows = [row for row in read(filled, book) if row["client_id"] == whose and row["reason"] is None]
    assert {row["coverage_month"] >= "2026-03" for row in rows} == {False, True}
    for row in rows:
        assert ("assumed_rule" in row["warnings"].split()) == (row["coverage_month"] >= "2026-03")


@pytest.mark.parametrize("turned", [False, True], ids=["taken back first", "taken back last"])
def test_a_client_that_takes_its_rule_back_has_not_the_dates_of_one_that_changes_it(
    filled: Store, book: RuleBook, turned: bool
) -> None:
    whose = ["X2", "X1"] if turned else ["X1", "X2"]
    with records.changing(filled) as connection:
        for client_id, then in zip(whose, ('{"grace": "inherited"}', '{"grace": {"days": 45}}'), strict=True):
            client = records.client(client_id, team_id="east", state="PA", bills_here_since=None)
            store_of_clients.put_client(connection, client, "ada-admin", NOW)
            account = records.account(client_id=client_id, product=None, state=None)
            store_of_clients.put_account(connection, account, "ada-admin", NOW)
            entries = [
                records.rule(since, client_id=client_id, rule=text, kind="grace")
                for since, text in (("2025-01", '{"grace": {"days": 60}}'), ("2026-06", then))
            ]
            store_of_clients.add_entries(connection, entries, "ada-admin", NOW)
    grace = {
        (row["client_id"], row["coverage_month"]): (row["grace_end_date"] - row["due_date"]).days
        for row in read(filled, book)
        if row["client_id"] in whose
    }
    assert [grace[client_id, month] for month in ("2026-05", "2026-06") for client_id in whose] == [60, 60, 30, 45]


def test_rows_come_by_client_and_account_and_month_whatever_the_blocks(
    filled: Store, book: RuleBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(filled, book)
    assert [(row["client_id"], row["account_id"], row["coverage_month"]) for row in whole] == sorted(
        (row["client_id"], row["account_id"], row["coverage_month"]) for row in whole
    )
    monkeypatch.setattr("ebill.service.batches.BATCH", 50)
    assert read(filled, book) == whole


def test_a_user_s_rows_are_those_of_the_clients_they_may_see(filled: Store, book: RuleBook) -> None:
    pat = User("sample-producer", "Pat", "producer", "PA", 1, frozenset({"client_administration"}), frozenset())
    seen = {row["client_id"] for row in read(filled, book, pat, 1)}
    with filled.reading() as connection:
        for client_id in seen:
            access.see(connection, pat, client_id)
    assert seen <= {row["client_id"] for row in read(filled, book, OPERATOR, 1)}
    nobody = User("n", "N", "nobody", "PA", 1, frozenset(), frozenset())
    with pytest.raises(NotAllowed):
        read(filled, book, nobody)


@pytest.mark.parametrize(("first", "count"), [("2099-12", 2), ("2026-01", 0), ("1999-12", 1)])
def test_months_that_are_not_supported_are_refused(filled: Store, book: RuleBook, first: str, count: int) -> None:
    with filled.reading() as connection, pytest.raises(InvalidInput):
        Accounts(connection, book, OPERATOR, np.datetime64(first, "M"), count, Laid(book, None, NOW))


def test_the_command_writes_the_whole_book(sqlite_url: str, book: RuleBook, tmp_path: Path) -> None:
    store = Store(sqlite_url)
    demo.fill(store, book, 20, NOW)
    expected = read(store, book)
    store.close()
    output = tmp_path / "book.parquet"
    arguments = [
        "batch",
        "--from-store",
        "--from",
        "2025-11",
        "--months",
        "12",
        "-o",
        str(output),
        "--as-of",
        "2026-08-03",
    ]
    done = CliRunner().invoke(main, arguments, env={"EBILL_DATABASE_URL": sqlite_url})
    assert done.exit_code == 0, done.output
    found = pq.read_table(output).to_pylist()
    assert found == expected
    assert {row["as_of"] for row in found if row["reason"] is None} == {date(2026, 8, 3)}
