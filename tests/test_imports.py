"""Clients, accounts, rules and exceptions from CSV and back: all or nothing, each bad cell named, nothing lost."""

import csv
import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select, text

from ebill.errors import ImportRefused, Refusal
from ebill.rulebook import RuleBook
from ebill.service import clients, imports
from ebill.service.rows import guarded, unguarded
from ebill.store.engine import Store
from ebill.store.tables import audit
from ebill.store.users import User
from tests import books
from tests.sample import (
    AT,
    NORA,
    PAUL,
    ROOT,
    SID,
    Data,
    Twin,
    add,
    book,
    dates,
    grant,
    populate,
    put_account,
    put_client,
    refused,
    rows,
    schedules,
    writing,
)
from tests.stores import empty
from tests.strategies import PROFILE

pytestmark = pytest.mark.anywhere


@pytest.fixture
def peopled(emptied_store: Store) -> Store:
    """A store with people, and nothing else."""
    populate(emptied_store)
    return emptied_store


@pytest.fixture
def filled(peopled: Store) -> Store:
    """A store with people, and ACME in Pennsylvania with the account A1."""
    put_client(peopled)
    put_account(peopled)
    return peopled


def table(*given: Mapping[str, str]) -> str:
    """Write rows as CSV, with just the columns that they need."""
    columns = dict.fromkeys(("record", "client_id", *(name for row in given for name in row)))
    file = StringIO()
    writer = csv.DictWriter(file, list(columns))
    writer.writeheader()
    writer.writerows(given)
    return file.getvalue()


def client_row(client_id: str = "NEW", **cells: str) -> dict[str, str]:
    return {"record": "client", "client_id": client_id, "name": "New", "team_id": "north", "state": "PA", **cells}


def account_row(account_id: str = "A", client_id: str = "NEW", **cells: str) -> dict[str, str]:
    given = {"record": "bill_account", "client_id": client_id, "account_id": account_id}
    return {**given, "name": "All", "kind": "medical", **cells}


def rule_row(since: str, rule: str, client_id: str = "NEW", **cells: str) -> dict[str, str]:
    return {"record": "rule", "client_id": client_id, "since": since, "rule": rule, "cite": "a letter", **cells}


def exception_row(month: str, client_id: str = "NEW", **cells: str) -> dict[str, str]:
    return {"record": "exception", "client_id": client_id, "coverage_month": month, "reason": "a calendar", **cells}


def take(
    store: Store,
    file: str | bytes,
    by: User = ROOT,
    *,
    dry_run: bool = False,
    at: datetime = AT,
    rules: RuleBook | None = None,
    told: Any = None,
) -> Data:
    source = file.encode() if isinstance(file, str) else file
    opened = TextIOWrapper(BytesIO(source), encoding="utf-8", newline="")
    with writing(store, at, by.user_id) as write:
        return imports.import_clients(write, rules or book(), by, opened, dry_run=dry_run, told=told)


def cells(store: Store, file: str | bytes, by: User = ROOT, **how: Any) -> set[tuple[int, str]]:
    """Give the line and column of each bad cell of a file that must be refused."""
    refusal = refused(ImportRefused, partial(take, store, file, by, **how))
    return {(cell.line, cell.column) for cell in refusal.cells}


def export(store: Store, by: User = ROOT) -> str:
    file = StringIO(newline="")
    with store.reading() as connection:
        imports.export_clients(connection, book(), by, file)
    return file.getvalue()


def read(store: Store, client_id: str) -> Data:
    with store.reading() as connection:
        return clients.client(connection, ROOT, client_id)[0]


# What a file may hold


EVERYTHING = '''\
record,client_id,account_id,name,team_id,state,product,kind,first_coverage_month,last_coverage_month,\
skip_coverage_months,bills_here_since,timezone,since,rule,cite,assumed,coverage_month,due_date,withdrawn,reason
client,SCHOOL,,"Board, of ""Ed""",north,PA,cobra,,2026-09,,7 8,2026-10,America/Chicago,,,,,,,,
bill_account,SCHOOL,ALL,All staff,,,,medical,,2027-12,,,,,,,,,,,
bill_account,SCHOOL,NY,New York,,NY,aptc,dental,,,none,,,,,,,,,,
rule,SCHOOL,,,,,,,,,,,,2027-01,"{""generation"": {""day_of_month"": 15}}",Letter,true,,,,
rule,SCHOOL,NY,,,,,,,,,,,2027-02,"{""due"": {""day"": 5}}",Letter,,,,,
exception,SCHOOL,,,,,,,,,,,,,,,,2027-03,2027-03-08,,Holidays
exception,SCHOOL,NY,,,,,,,,,,,,,,,2027-03,,true,Not in New York

client,OTHER,,Other,south,WV,,,,,,,,,,,,,,,
'''


def test_a_file_of_everything(peopled: Store) -> None:
    answer = take(peopled, EVERYTHING)
    assert answer["kept"] == {"clients": 2, "bill_accounts": 2, "rules": 2, "exceptions": 2}
    assert (answer["dry_run"], answer["rows_unchanged"]) == (False, 0)
    school = read(peopled, "SCHOOL")
    all_staff, new_york = school.pop("bill_accounts")
    assert school == {
        "client_id": "SCHOOL",
        "name": 'Board, of "Ed"',
        "team_id": "north",
        "state": "PA",
        "product": "cobra",
        "timezone": "America/Chicago",
        "first_coverage_month": "2026-09",
        "last_coverage_month": None,
        "skip_coverage_months": (7, 8),
        "bills_here_since": "2026-10",
        "version": 1,
    }
    assert (all_staff["last_coverage_month"], all_staff["skip_coverage_months"]) == ("2027-12", None)
    assert (new_york["state"], new_york["product"], new_york["skip_coverage_months"]) == ("NY", "aptc", ())
    found = dates(schedules(peopled, "SCHOOL", first="2026-09"))
    assert list(found["ALL"]) == ["2026-10", "2026-11", "2026-12", *(f"2027-0{month}" for month in range(1, 7))]
    # The rule of the client goes before New York's; from January on the 15th. The exception of March is the client's.
    assert found["NY"]["2026-12"]["generation_date"] == date(2026, 11, 23)
    assert found["NY"]["2027-02"]["generation_date"] == found["ALL"]["2027-02"]["generation_date"] == date(2027, 1, 15)
    assert found["NY"]["2027-02"]["due_date"] == date(2027, 2, 5)
    assert found["ALL"]["2027-03"]["due_date"] == found["NY"]["2027-03"]["due_date"] == date(2027, 3, 8)
    assert list(dates(schedules(peopled, "SCHOOL", "NY", "2027-07", 2))["NY"]) == ["2027-07", "2027-08"]


def test_columns_may_stand_in_any_order_and_be_left_out(peopled: Store) -> None:
    take(peopled, "state,team_id,name,client_id,record\r\nPA,north,New,NEW,client\r\n")
    assert read(peopled, "NEW")["name"] == "New"


def test_a_byte_order_mark_and_empty_rows_mean_nothing(peopled: Store) -> None:
    file = "\ufeff" + table(client_row()).replace("\r\n", "\r\n\r\n,,,,\r\n") + "\r\n\n"
    assert take(peopled, file)["kept"]["clients"] == 1


def test_an_import_leaves_an_audit_row_for_each_client_that_it_changes(filled: Store) -> None:
    with filled.reading() as connection:
        before = connection.scalars(select(audit.c.sequence)).all()
    take(filled, table(client_row(), account_row(), client_row("ACME", name="Client ACME"), client_row("B")), NORA)
    with filled.reading() as connection:
        found = connection.execute(select(audit).where(audit.c.sequence > max(before))).all()
    assert [(row.action, row.client_id, row.actor, row.before) for row in found] == [
        ("import_client", "NEW", "nora", None),
        ("import_client", "B", "nora", None),
    ]
    assert '"account_id":"A"' in found[0].after


def test_a_caller_is_told_how_far_it_is(peopled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "AT_ONCE", 2)
    reached: list[int] = []
    take(peopled, table(*(client_row(f"C{n}") for n in range(5))), told=reached.append)
    assert reached == [3, 5, 6]


# Every bad cell


BAD: list[tuple[str, list[dict[str, str]], set[tuple[int, str]]]] = [
    ("no such record", [client_row(record="klient")], {(2, "record"), (2, "client_id")}),
    ("no record", [client_row(), {"record": "", "client_id": "NEW", "name": "x"}], {(3, "record")}),
    ("no id", [client_row("")], {(2, "client_id")}),
    ("an id that is none", [client_row("a b")], {(2, "client_id")}),
    ("nothing but the id", [{"record": "client", "client_id": "NEW"}], {(2, "name"), (2, "team_id"), (2, "state")}),
    (
        "wrong settings",
        [
            client_row(
                name="a\tb",
                team_id="nowhere",
                state="XX",
                product="none",
                timezone="Mars",
                first_coverage_month="2027-13",
                skip_coverage_months="7 13 x",
                bills_here_since="27-01",
                retroactive="yes",
            )
        ],
        {
            (2, column)
            for column in (
                "name",
                "team_id",
                "state",
                "product",
                "timezone",
                "first_coverage_month",
                "skip_coverage_months",
                "bills_here_since",
                "retroactive",
            )
        },
    ),
    (
        "a wrong client and a wrong account of it",
        [client_row(state="XX"), account_row("a b", state="YY", kind="")],
        {(2, "state"), (3, "account_id"), (3, "state"), (3, "kind")},
    ),
    ("cells of another record", [client_row(kind="x", since="2027-01"), account_row()], {(2, "kind"), (2, "since")}),
    ("a cell of another record and a bad one", [client_row(kind="x", state="XX")], {(2, "kind"), (2, "state")}),
    ("two rows for a client", [client_row(), client_row()], {(3, "record")}),
    ("two rows for an account", [client_row(), account_row(), account_row()], {(4, "account_id")}),
    ("two accounts but for the case", [client_row(), account_row(), account_row("a")], {(4, "account_id")}),
    ("an account of no client", [account_row()], {(2, "client_id")}),
    (
        "a rule of no account",
        [client_row(), rule_row("2027-01", '{"due":{"day":1}}', account_id="X")],
        {(3, "account_id")},
    ),
    (
        "rules that are none",
        [
            client_row(),
            rule_row("2027-01", "grace = 30"),
            rule_row("2027-01", "[]"),
            rule_row("2027-01", '{"due": {"day": 1}, "grace": {"days": 30}}'),
            rule_row("2027-01", '{"grace": {"days": 30, "days": 31}}'),
            rule_row("2027-01", '{"grace": {"days": NaN}}'),
            rule_row("2027-01", '{"grace_floor": {"days": 30}}'),
            rule_row("2027-01", '{"since": "2027-02"}'),
            rule_row("2027-01", '{"calendar": "NOPE"}'),
            rule_row("", "{}", cite=""),
            rule_row("2027-01", ""),
        ],
        {*((line, "rule") for line in range(3, 13)), (11, "since"), (11, "cite")},
    ),
    (
        "parts of a rule",
        [client_row(), rule_row("2027-01", '{"generation": {"weekday": "XX", "nth": 9}}', assumed="1")],
        {(3, "rule"), (3, "assumed")},
    ),
    (
        "exceptions that are none",
        [
            client_row(),
            exception_row("2027-01"),
            exception_row("2027-02", due_date="2027-02-29"),
            exception_row("2027-03", due_date="2027-03-02", withdrawn="true"),
            exception_row("", due_date="2027-03-02", reason=""),
        ],
        {(3, ""), (4, "due_date"), (5, ""), (6, "coverage_month"), (6, "reason")},
    ),
    (
        "a client's rows in two places",
        [client_row(), client_row("B"), account_row(), client_row("b"), account_row("X", "B")],
        {(4, "client_id"), (5, "client_id"), (6, "client_id")},
    ),
]


@pytest.mark.parametrize(("file", "found"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_every_bad_cell_is_named_by_line_and_column(
    peopled: Store, file: list[dict[str, str]], found: set[tuple[int, str]]
) -> None:
    before = rows(peopled)
    assert cells(peopled, table(*file)) == found
    assert cells(peopled, table(*file), dry_run=True) == found
    assert rows(peopled) == before


SHAPES: list[tuple[str, bytes, set[tuple[int, str]]]] = [
    ("nothing", b"", {(1, "record"), (1, "client_id")}),
    ("another separator", b"record;client_id\r\n", {(1, "")}),
    ("an unknown column", b"record,client_id,stat\r\nclient,A,PA\r\n", {(1, "stat")}),
    ("a column twice", b"record,client_id,name,name\r\n", {(1, "")}),
    ("no client id", b"record,name\r\nclient,A\r\n", {(1, "client_id")}),
    ("too few cells", b"record,client_id,name\r\nclient,A\r\n", {(2, "")}),
    ("too many cells", b"record,client_id\r\nclient,A,\r\n", {(2, "")}),
    ("an open quote", b'record,client_id\r\nclient,"A\r\n', {(2, "")}),
    ("text after a quote", b'record,client_id\r\nclient,"A"b\r\n', {(2, "")}),
    ("Latin-1", b"record,client_id\r\nclient,caf\xe9\r\n", {(2, "")}),
    ("UTF-16", "record,client_id\r\n".encode("utf-16"), {(1, "")}),
    ("a huge cell", b"record,client_id\r\nclient," + b"x" * 200_000 + b"\r\n", {(2, "")}),
]


@pytest.mark.parametrize(("file", "found"), [case[1:] for case in SHAPES], ids=[case[0] for case in SHAPES])
def test_a_file_that_cannot_be_read_says_where(peopled: Store, file: bytes, found: set[tuple[int, str]]) -> None:
    assert cells(peopled, file) == found


def test_rows_of_a_client_that_stand_apart_are_read_all_the_same(peopled: Store) -> None:
    apart = rule_row("2026-09", '{"grase": {"days": 31}}', "A")
    assert cells(peopled, table(client_row("A"), client_row("B"), apart)) == {(4, "client_id"), (4, "rule")}


def test_an_unknown_column_is_told_the_known_ones(peopled: Store) -> None:
    found = refused(ImportRefused, partial(take, peopled, b"record,client_id,nmae\r\n"))
    [cell] = found.cells
    assert 'did you mean "name"' in cell.detail
    assert "bills_here_since" in cell.detail


def test_an_exception_of_a_month_without_an_invoice_is_refused_as_at_every_other_door(peopled: Store) -> None:
    skips = client_row(skip_coverage_months="7 8")
    summer = exception_row("2027-07", due_date="2029-07-02")
    assert cells(peopled, table(skips, account_row(), summer)) == {(4, "coverage_month")}
    back = exception_row("2027-07", withdrawn="true")
    assert take(peopled, table(skips, account_row(), summer, back))["kept"]["exceptions"] == 2


def test_a_row_over_several_lines_is_named_by_its_first(peopled: Store) -> None:
    file = table(client_row(name="two\nlines"), client_row("B", state="XX"), client_row("C", name="a\r\n\r\nb"))
    assert cells(peopled, file) == {(2, "name"), (4, "state"), (5, "name")}


def test_no_more_than_a_thousand_faults_are_told(peopled: Store) -> None:
    file = table(*(client_row(f"C{number}", state="XX") for number in range(2000)))
    assert len(refused(ImportRefused, lambda: take(peopled, file)).cells) == 1000


def test_files_torn_at_random_are_refused_or_taken_but_never_trip(peopled: Store) -> None:
    rng = random.Random(1)  # noqa: S311  # no secret
    source = EVERYTHING.encode()
    signs = [b'"', b",", b"\r", b"\n", b"\x00", b"'", b"{", b"\xff", b"\xe2\x80\xae", b"9" * 5000, b"[" * 5000, b""]
    refusals: list[ImportRefused] = []
    for _ in range(150):
        torn = bytearray(source)
        for _ in range(rng.randint(1, 4)):
            begin = rng.randrange(len(torn))
            torn[begin : begin + rng.randint(0, 9)] = rng.choice(signs)
        try:
            take(peopled, bytes(torn), dry_run=True)
        except ImportRefused as refusal:
            refusals.append(refusal)
    assert len(refusals) > 75
    assert all(cell.line <= 12 for refusal in refusals for cell in refusal.cells)


# All or nothing


def test_postgresql_knows_at_once_how_many_rows_an_import_brought(
    used_postgresql: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty(used_postgresql)
    populate(used_postgresql)
    right = imports._Import.take
    beside = create_engine(used_postgresql.engine.url, isolation_level="AUTOCOMMIT")

    def counted_meanwhile(of: Any, batch: Any) -> None:
        right(of, batch)
        with beside.connect() as connection:
            connection.execute(text("ANALYZE client, bill_account"))

    monkeypatch.setattr(imports._Import, "take", counted_meanwhile)
    monkeypatch.setattr(imports, "MANY", 60)
    ids = [f"C{number:02}" for number in range(30)]
    take(used_postgresql, table(*(row for each in ids for row in (client_row(each), account_row("A1", each)))))
    with used_postgresql.reading() as connection:
        known = text("SELECT relname, reltuples FROM pg_class WHERE relname IN ('client', 'bill_account')")
        counted = {name: count for name, count in connection.execute(known)}  # noqa: C416
    beside.dispose()
    assert counted == {"client": 30, "bill_account": 30}


def test_one_bad_cell_at_the_end_keeps_all_the_rest_out(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "AT_ONCE", 2)
    before = rows(filled)
    good = [each for number in range(7) for each in (client_row(f"C{number}"), account_row("A", f"C{number}"))]
    assert cells(filled, table(*good, account_row("B", "C6", state="XX"))) == {(16, "state")}
    assert rows(filled) == before
    assert take(filled, table(*good))["kept"] == {"clients": 7, "bill_accounts": 7, "rules": 0, "exceptions": 0}


def test_a_dry_run_keeps_nothing_and_says_what_the_import_would(filled: Store) -> None:
    file = table(client_row(), account_row(), client_row("ACME", product="aptc", retroactive="true", reason="agreed"))
    before = rows(filled)
    told = take(filled, file, dry_run=True)
    assert rows(filled) == before
    made = take(filled, file)
    assert told == {**made, "dry_run": True}
    assert {move["name"] for change in told["effect"]["changes"] for move in change["moved"]} == {"grace_end_date"}
    assert told["effect"]["counts"]["accounts_changed"] == 1


def test_what_an_import_moves_is_the_difference_of_the_schedules(filled: Store) -> None:
    put_account(filled, "B")
    put_account(filled, "COBRA", product="cobra")
    before = dates(schedules(filled, first="2026-05", months=28))
    answer = take(filled, table(rule_row("2026-09", '{"grace": {"days": 45}}', "ACME"), client_row(), account_row()))
    after = dates(schedules(filled, first="2026-05", months=28))
    moved = {
        (account_id, month, name, was, after[account_id][month][name])
        for account_id, months in before.items()
        for month, invoice in months.items()
        for name, was in invoice.items()
        if after[account_id][month][name] != was
    }
    effect = answer["effect"]
    assert (effect["from"], effect["to"]) == ("2026-05", "2028-08")
    (change,) = effect["changes"]
    assert [account["account_id"] for account in change["accounts"]] == ["A1", "B"]
    assert {
        (account["account_id"], move["coverage_month"], move["name"], move["before"], move["after"])
        for account in change["accounts"]
        for move in change["moved"]
    } == moved
    assert effect["counts"]["accounts_looked_at"] == 3
    assert effect["counts"]["dates_moved"] == len(moved) == 2 * 24


# Whose clients


def test_a_manager_imports_clients_of_their_own_teams_only(filled: Store) -> None:
    put_client(filled, "SOUTH", team_id="south")
    file = table(client_row("acme"), client_row("SOUTH"), client_row("south"), account_row("X", "SOUTH"))
    assert cells(filled, table(client_row("SOUTH"), account_row("X", "SOUTH")), NORA) == {(2, "client_id")}
    assert cells(filled, table(account_row("X", "SOUTH")), NORA) == {(2, "client_id")}
    assert cells(filled, file, NORA) == {(2, "client_id"), (3, "client_id"), (4, "client_id"), (5, "client_id")}
    assert cells(filled, table(client_row(team_id="south"), client_row("B", team_id="nowhere")), NORA) == {
        (2, "team_id"),
        (3, "team_id"),
    }
    take(filled, table(client_row("SOUTH", name="Client SOUTH", team_id="south"), account_row("X", "SOUTH")), SID)


def test_what_is_said_of_anothers_client_does_not_tell_it(filled: Store) -> None:
    put_client(filled, "SOUTH", team_id="south", name="Secret")
    refusal = refused(ImportRefused, lambda: take(filled, table(client_row("south")), NORA))
    assert "Secret" not in str(refusal.cells)
    assert "SOUTH" not in str(refusal.cells)


def test_an_export_has_what_its_reader_sees(filled: Store) -> None:
    put_client(filled, "SOUTH", team_id="south")
    grant(filled, "SOUTH")
    for user, found in ((ROOT, ["ACME", "SOUTH"]), (NORA, ["ACME"]), (SID, ["SOUTH"]), (PAUL, ["SOUTH"])):
        exported = csv.DictReader(StringIO(export(filled, user)))
        assert [row["client_id"] for row in exported if row["record"] == "client"] == found


# What is known already


def test_a_file_imported_twice_changes_nothing_the_second_time(peopled: Store) -> None:
    take(peopled, EVERYTHING)
    before = rows(peopled)
    answer = take(peopled, EVERYTHING, at=AT + timedelta(days=1))
    assert rows(peopled) == before
    assert answer["kept"] == {"clients": 0, "bill_accounts": 0, "rules": 0, "exceptions": 0}
    assert answer["rows_unchanged"] == 8
    assert answer["effect"]["changes"] == []


def test_a_row_that_differs_is_a_new_version_or_a_correction(filled: Store) -> None:
    add(filled, "rule", "A1", since="2027-01", grace={"days": 40})
    file = table(
        client_row("ACME", name="Client ACME"),
        account_row("A1", "ACME", name="Renamed"),
        account_row("B", "ACME"),
        rule_row("2027-01", '{"grace": {"days": 41}}', "ACME", account_id="A1"),
    )
    assert take(filled, file)["kept"] == {"clients": 0, "bill_accounts": 2, "rules": 1, "exceptions": 0}
    client = read(filled, "ACME")
    assert client["version"] == 1
    assert [(each["name"], each["version"]) for each in client["bill_accounts"]] == [("Renamed", 2), ("All", 1)]
    assert dates(schedules(filled, "ACME", "A1", "2027-01", 1))["A1"]["2027-01"]["grace_end_date"] == date(2027, 2, 11)
    take(filled, table(client_row("ACME", name="Renamed, too")))
    assert (read(filled, "ACME")["name"], read(filled, "ACME")["version"]) == ("Renamed, too", 2)


def test_of_rows_about_the_same_the_last_one_wins(filled: Store) -> None:
    def graces(*days: int) -> str:
        return table(*(rule_row("2027-01", f'{{"grace": {{"days": {each}}}}}', "ACME") for each in days))

    def end() -> date:
        found: date = dates(schedules(filled, "ACME", "A1", "2027-01", 1))["A1"]["2027-01"]["grace_end_date"]
        return found

    assert take(filled, graces(40, 45))["kept"]["rules"] == 2
    assert end() == date(2027, 2, 15)
    assert take(filled, graces(40, 45))["kept"]["rules"] == 0
    assert take(filled, graces(45))["kept"]["rules"] == 0
    assert take(filled, graces(45, 40))["kept"]["rules"] == 2
    assert end() == date(2027, 2, 10)


# What must not be


def test_a_row_that_moves_what_was_generated_must_say_so_itself(filled: Store) -> None:
    """On 3 August, August's invoice is there."""
    grace = '{"grace": {"days": 40}}'
    owned = {"retroactive": "true", "reason": "agreed"}
    assert cells(filled, table(rule_row("2026-08", grace, "ACME"))) == {(2, "retroactive")}
    assert cells(filled, table(client_row("ACME", state="NY"))) == {(2, "retroactive")}
    assert cells(filled, table(account_row("A1", "ACME", product="aptc"))) == {(2, "retroactive")}
    take(filled, table(rule_row("2026-09", grace, "ACME")))
    both = table(
        rule_row("2026-09", '{"pay_by": {"days_before_next_invoice": 5}}', "ACME"),
        rule_row("2026-08", grace, "ACME", **owned),
        account_row("A1", "ACME", state="WV"),
    )
    assert cells(filled, both) == {(4, "retroactive")}
    assert take(filled, table(rule_row("2026-08", grace, "ACME", **owned)))["kept"]["rules"] == 1
    # A new account has no invoices yet that could move.
    take(filled, table(account_row("B", "ACME"), rule_row("2020-01", grace, "ACME", account_id="B")))


DUE_29 = '{"due": {"day": 29}}'
ON_28 = '{"generation": {"day_of_month": 28, "months_before_due": 0}}'


def test_what_breaks_the_order_of_dates_is_put_down_to_its_row(filled: Store) -> None:
    assert cells(filled, table(client_row(), account_row(), rule_row("2027-01", ON_28))) == {(4, "rule")}
    broken = [client_row(), account_row("A"), account_row("B"), rule_row("2027-01", DUE_29, account_id="B")]
    broken += [rule_row("2027-01", '{"grace": {"days": 40}}'), rule_row("2027-01", ON_28, account_id="B")]
    refusal = refused(ImportRefused, lambda: take(filled, table(*broken)))
    assert [(cell.line, cell.column) for cell in refusal.cells] == [(7, "rule")]
    assert "2027-02" in refusal.cells[0].detail
    assert "bill account B" in refusal.cells[0].detail


def test_of_several_rows_the_one_is_named_from_which_on_the_dates_are_bad(filled: Store) -> None:
    """Generated on the 27th, and due on the 1st: bad. Due on the last day: good. On the 28th: bad in February."""
    rules = (ON_28.replace("28", "27"), '{"due": {"day": -1}}', ON_28)
    file = table(client_row(), account_row(), *(rule_row("2027-01", rule) for rule in rules))
    assert cells(filled, file) == {(6, "rule")}


def test_rows_are_judged_by_what_they_come_to_together(filled: Store) -> None:
    """Generated on the 27th, and due on the 1st of the same month, is in disorder; due on its last day it is not."""
    on_27, last = ON_28.replace("28", "27"), '{"due": {"day": -1}}'
    assert cells(filled, table(client_row(), account_row(), rule_row("2027-01", on_27))) == {(4, "rule")}
    take(filled, table(client_row(), account_row(), rule_row("2027-01", on_27), rule_row("2027-01", last)))
    take(filled, table(rule_row("2027-01", on_27, "ACME"), rule_row("2027-01", last, "ACME")))


def test_what_else_breaks_the_rules_is_put_down_to_its_cell(filled: Store) -> None:
    floored = book(books.row("states.PA", "grace_floor = { days = 31 }", since="2027-01"))
    file = table(
        client_row(),
        account_row(),
        exception_row("2027-03", due_date="2028-03-01"),
        client_row("B"),
        account_row("A", "B"),
        exception_row("2027-03", "B", account_id="A", grace_end_date="2027-03-20"),
        client_row("C", timezone="America/New_York"),
        rule_row(
            "2027-01",
            '{"posting": {"min_business_days": 2, "max_business_days": 3, "cutoff": "02:30"}}',
            "C",
        ),
        client_row("D"),
        account_row("A", "D"),
        rule_row("2027-01", '{"grace": {"days": 30}}', "D", account_id="A"),
    )
    assert cells(filled, file, rules=floored) == {
        (4, "due_date"),
        (7, "grace_end_date"),
        (9, "rule"),
        (12, "rule"),
    }


# There and back


@pytest.mark.parametrize("seed", range(2))
def test_an_export_imported_into_an_empty_store_gives_the_same_schedules(
    emptied_store: Store, ready: str, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    from shutil import copyfile

    populate(emptied_store)
    rng = random.Random(seed)  # noqa: S311  # no secret
    twin = Twin(emptied_store)
    for _ in range(120):
        with suppress(Refusal):
            twin.enter(twin.draw(rng, AT), AT)
    exported = export(emptied_store)
    copy = tmp_path_factory.mktemp("copy") / "store.db"
    copyfile(ready.removeprefix("sqlite:///"), copy)
    other = Store(f"sqlite:///{copy}")
    try:
        populate(other)
        take(other, exported, at=datetime(2030, 1, 1, tzinfo=UTC))
        assert len(twin.clients) > 2
        for client_id in twin.clients:
            for first in ("2025-06", "2026-06"):
                asked = partial(schedules, client_id=client_id, first=first, months=18, as_of=date(2026, 8, 3))
                told, found = asked(emptied_store), asked(other)
                assert found == told
        assert export(other) == exported
    finally:
        other.close()


NAMES = ["=1+1", "+1", "-1", "@x", "\uff1d1+1"]
NAMES += [" =1", "'=1", "''-", "'t Hooft", "'", "a=b", "a'", '"', "a,b", "Zoë", "-"]


def test_a_cell_that_a_spreadsheet_would_compute_is_written_as_text_and_read_as_it_was(peopled: Store) -> None:
    for number, name in enumerate(NAMES):
        put_client(peopled, f"C{number:02}", name=name)
        put_account(peopled, f"-{number}", f"C{number:02}", name=name, kind=name)
    put_client(peopled, "-1")
    exported = export(peopled)
    written = list(csv.DictReader(StringIO(exported, newline="")))
    for row in written:
        for column in ("client_id", "account_id", "name", "kind"):
            assert not row[column].lstrip(" ").startswith(("=", "+", "-", "@"))
    assert [row["name"] for row in written if row["record"] == "client"][1:] == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@x",
        "'\uff1d1+1",
        "' =1",
        "''=1",
        "'''-",
        "'t Hooft",
        "'",
        "a=b",
        "a'",
        '"',
        "a,b",
        "Zoë",
        "'-",
    ]
    before = rows(peopled)
    assert take(peopled, exported)["rows_unchanged"] == len(written)
    assert rows(peopled) == before
    take(peopled, exported.replace("C", "D"))
    assert [read(peopled, f"D{number:02}")["name"] for number in range(len(NAMES))] == NAMES


@PROFILE
@given(st.text(st.sampled_from(" '=+-@\t\r\0ab")) | st.text())
def test_the_guard_of_a_cell_comes_off_again_and_no_other(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert not guarded(text).lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\0"))
    assert guarded(text) in (text, f"'{text}")
