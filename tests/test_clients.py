"""Clients and bill accounts as they are kept: what may be entered, who sees it, and the dates they have."""

import random
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest
from sqlalchemy import select

from ebill.errors import (
    AccountNotFound,
    BadRequest,
    ClientNotFound,
    InvalidInput,
    MovesGeneratedInvoice,
    PreconditionMissing,
    Refusal,
    Stale,
    UnknownProduct,
)
from ebill.service import clients, listing
from ebill.service.clients import Precondition
from ebill.service.listing import Sought
from ebill.store.engine import Store
from ebill.store.tables import audit
from ebill.store.users import User
from tests import books
from tests.sample import (
    AT,
    DATES,
    NEW,
    NORA,
    PAUL,
    ROOT,
    SID,
    Data,
    Twin,
    add,
    book,
    dates,
    faults,
    grant,
    populate,
    put_account,
    put_client,
    refused,
    rows,
    schedules,
    text,
    writing,
)

KEY = bytes(range(32))
CLIENT: Data = {"name": "Acme", "team_id": "north", "state": "PA"}
ACCOUNT: Data = {"name": "All", "kind": "medical"}


@pytest.fixture
def filled(emptied_store: Store) -> Store:
    """A store with people, and ACME with the account A1."""
    populate(emptied_store)
    put_client(emptied_store)
    put_account(emptied_store)
    return emptied_store


def change_client(
    store: Store, body: Any, made_to: Precondition = NEW, client_id: str = "ACME", by: User = ROOT, **how: Any
) -> tuple[Data, int]:
    with writing(store, how.pop("at", AT), by.user_id) as write:
        rules = how.pop("rules", book())
        return clients.put_client(write, rules, by, client_id, body, made_to, dry_run=how.pop("dry_run", False))


def change_account(
    store: Store, body: Any, made_to: Precondition = NEW, account_id: str = "A1", by: User = ROOT, **how: Any
) -> tuple[Data, int]:
    with writing(store, how.pop("at", AT), by.user_id) as write:
        client_id, dry_run = how.pop("client_id", "ACME"), how.pop("dry_run", False)
        return clients.put_account(write, book(), by, client_id, account_id, body, made_to, dry_run=dry_run)


def read_client(store: Store, by: User = ROOT, client_id: str = "ACME") -> tuple[Data, int]:
    with store.reading() as connection:
        return clients.client(connection, by, client_id)


def read_account(store: Store, account_id: str = "A1", by: User = ROOT) -> tuple[Data, int]:
    with store.reading() as connection:
        return clients.account(connection, by, "ACME", account_id)


# What is kept


def test_a_client_and_its_accounts_are_read_as_they_were_entered(filled: Store) -> None:
    settings: Data = {
        "name": "Acme School District",
        "team_id": "north",
        "state": "NY",
        "product": "aptc",
        "timezone": "America/Chicago",
        "first_coverage_month": "2027-01",
        "last_coverage_month": "2027-12",
        "skip_coverage_months": [8, 7],
        "bills_here_since": "2027-02",
    }
    retroactive = {"retroactive": True, "reason": "a test"}
    _, version = change_client(filled, settings | retroactive, Precondition(1))
    assert version == 2
    own: Data = {"name": "Board", "kind": "dental", "state": "WV", "skip_coverage_months": []}
    change_account(filled, own, account_id="BOARD")
    found, version = read_client(filled)
    accounts = found.pop("bill_accounts")
    assert found == {**settings, "skip_coverage_months": (7, 8), "client_id": "ACME", "version": 2}
    assert version == 2
    assert [account["account_id"] for account in accounts] == ["A1", "BOARD"]
    nothing = dict.fromkeys(("product", "timezone", "first_coverage_month", "last_coverage_month"))
    board = {**nothing, **own, "skip_coverage_months": (), "client_id": "ACME", "account_id": "BOARD", "version": 1}
    assert accounts[1] == board
    assert read_account(filled, "BOARD") == (board, 1)


@pytest.mark.parametrize("name", ["A", "acme-1", "0", "-", "Z" * 32])
def test_an_id_is_up_to_32_letters_digits_and_hyphens(filled: Store, name: str) -> None:
    put_client(filled, name)
    put_account(filled, name, name)
    assert read_client(filled, client_id=name)[0]["bill_accounts"][0]["account_id"] == name


NO_IDS = ("", "Z" * 33, "a b", "a_b", "a.b", "café", "\u0410CME", "a\n", "a/b", "..", "%00")


def test_any_other_id_is_refused(filled: Store) -> None:
    for name in NO_IDS:
        assert list(faults(refused(InvalidInput, partial(change_client, filled, CLIENT, NEW, name)))) == ["/client_id"]
        assert list(faults(refused(InvalidInput, partial(change_account, filled, ACCOUNT, NEW, name)))) == [
            "/account_id"
        ]


def test_ids_are_unique_whatever_the_case(filled: Store) -> None:
    assert "/client_id" in faults(refused(InvalidInput, lambda: put_client(filled, "acme")))
    assert "/account_id" in faults(refused(InvalidInput, lambda: put_account(filled, "a1")))
    put_client(filled, "OTHER")
    put_account(filled, "A1", "OTHER")


def test_a_name_is_kept_in_its_composed_form(filled: Store) -> None:
    decomposed = unicodedata.normalize("NFD", "Café Zoë")
    change_client(filled, CLIENT | {"name": decomposed}, Precondition(1))
    change_account(filled, ACCOUNT | {"name": decomposed, "kind": decomposed}, Precondition(1))
    assert read_client(filled)[0]["name"] == "Café Zoë"
    assert {read_account(filled)[0][field] for field in ("name", "kind")} == {"Café Zoë"}


@pytest.mark.parametrize(
    "name", ["", "  ", "a\nb", "a\tb", "a\x00b", "a\x85b", "a\u202eb", "a\u2028b", "x" * 501, 1, None]
)
def test_a_name_that_is_no_plain_line_of_text_is_refused(filled: Store, name: Any) -> None:
    refusal = refused(InvalidInput, lambda: change_client(filled, CLIENT | {"name": name}, Precondition(1)))
    assert list(faults(refusal)) == ["/name"]


WRONG: list[tuple[Data, set[str]]] = [
    ({"state": "XX"}, {"/state"}),
    ({"product": "cobr"}, {"/product"}),
    ({"timezone": "Mars/Olympus"}, {"/timezone"}),
    ({"first_coverage_month": "2027-13"}, {"/first_coverage_month"}),
    ({"last_coverage_month": "2100-01"}, {"/last_coverage_month"}),
    ({"first_coverage_month": "2027-02", "last_coverage_month": "2027-01"}, {"/last_coverage_month"}),
    ({"skip_coverage_months": [0]}, {"/skip_coverage_months/0"}),
    ({"skip_coverage_months": list(range(1, 13))}, {"/skip_coverage_months"}),
    ({"retroactive": True}, {"/reason"}),
    ({"version": 7, "client_id": "OTHER"}, {"/version", "/client_id"}),
    ({"state": "XX", "product": "x", "name": "", "timezone": 1}, {"/state", "/product", "/name", "/timezone"}),
]


def test_settings_that_cannot_be_meant_are_refused_all_at_once(filled: Store) -> None:
    made_to = Precondition(1)
    for body, places in WRONG:
        for change, good in ((change_client, CLIENT), (change_account, ACCOUNT)):
            assert set(faults(refused(InvalidInput, partial(change, filled, good | body, made_to)))) == places


def test_a_body_that_is_no_table_is_refused(filled: Store) -> None:
    bodies: tuple[Any, ...] = (None, [], "x", 1)
    for body in bodies:
        refused(InvalidInput, partial(change_client, filled, body, Precondition(1)))
        refused(InvalidInput, partial(change_account, filled, body, Precondition(1)))
        refused(InvalidInput, partial(change_client, filled, body, NEW, "OTHER"))


# Which version is changed


@pytest.mark.parametrize(
    ("made_to", "refusal"),
    [
        (Precondition(), PreconditionMissing),
        (Precondition(1), Stale),
        (Precondition(3), Stale),
        (NEW, Stale),
        (Precondition(2), None),
        (Precondition(1, also=frozenset({1, 2})), None),
    ],
)
def test_a_change_names_the_current_version(
    filled: Store, made_to: Precondition, refusal: type[Refusal] | None
) -> None:
    change_client(filled, CLIENT, Precondition(1))
    change_account(filled, ACCOUNT, Precondition(1))
    changes: list[Callable[[], tuple[Data, int]]] = [
        lambda: change_client(filled, CLIENT, made_to),
        lambda: change_account(filled, ACCOUNT, made_to),
    ]
    for change in changes:
        if refusal is None:
            assert change()[1] == 3
        else:
            assert getattr(refused(refusal, change), "version", 2) == 2


def test_what_is_not_there_yet_has_no_version_to_be_changed(filled: Store) -> None:
    assert refused(Stale, lambda: change_account(filled, ACCOUNT, Precondition(1), "B")).version is None
    refused(ClientNotFound, lambda: change_client(filled, CLIENT, Precondition(1), "B"))


# Who sees and changes what


ASKING: list[Callable[[Store, User, str], object]] = [
    read_client,
    lambda store, user, name: schedules(store, name, by=user),
    lambda store, user, name: schedules(store, name, "A1", by=user),
    lambda store, user, name: change_client(store, CLIENT, Precondition(1), name, user),
    lambda store, user, name: change_client(store, CLIENT, Precondition(9), name, user),
    lambda store, user, name: change_client(store, CLIENT, Precondition(), name, user),
    lambda store, user, name: change_client(store, {}, Precondition(1), name, user),
    lambda store, user, name: change_account(store, ACCOUNT, NEW, "B", user, client_id=name),
    lambda store, user, name: change_account(store, {}, Precondition(), "A1", user, client_id=name),
    lambda store, user, name: add(store, "rule", client_id=name, by=user, since="2027-01", grace={"days": 40}),
    lambda store, user, name: add(store, "exception", client_id=name, by=user),
    lambda store, user, name: add(store, "rule", "A1", name, by=user, since="2000-01"),
]


@pytest.mark.parametrize("user", [SID, PAUL], ids=["manager of another team", "producer without a grant"])
def test_a_client_that_is_not_ones_own_is_as_one_that_is_not_there(filled: Store, user: User) -> None:
    for ask in ASKING:
        told = {str(refused(ClientNotFound, partial(ask, filled, user, name))) for name in ("ACME", "N0")}
        assert len(told) == 1


def test_the_id_of_anothers_client_is_not_told_of_when_it_is_asked_for_anew(filled: Store) -> None:
    for name in ("ACME", "acme"):
        body = CLIENT | {"team_id": "south"}
        refusal = refused(ClientNotFound, partial(change_client, filled, body, NEW, name, SID))
        assert "acme" not in str(refusal).lower()


def test_a_grant_opens_a_client_and_its_withdrawal_closes_it(filled: Store) -> None:
    grant(filled, "ACME")
    assert read_client(filled, PAUL)[0]["client_id"] == "ACME"
    from ebill.service import grants

    with writing(filled) as write:
        grants.withdraw(write, ROOT, "paul", "ACME")
    refused(ClientNotFound, lambda: read_client(filled, PAUL))


def test_a_manager_hands_a_client_to_none_but_their_own_teams(filled: Store) -> None:
    def hand_over(by: User, team_id: str) -> tuple[Data, int]:
        return change_client(filled, CLIENT | {"team_id": team_id}, Precondition(1), by=by)

    for team_id in ("south", "nowhere"):
        assert list(faults(refused(InvalidInput, partial(hand_over, NORA, team_id)))) == ["/team_id"]
    assert "/team_id" in faults(refused(InvalidInput, lambda: hand_over(ROOT, "nowhere")))
    hand_over(ROOT, "south")
    refused(ClientNotFound, lambda: read_client(filled, NORA))
    assert read_client(filled, SID)[0]["team_id"] == "south"


def test_an_account_that_is_not_there_is_not_found(filled: Store) -> None:
    refused(AccountNotFound, lambda: read_account(filled, "B"))
    refused(AccountNotFound, lambda: schedules(filled, "ACME", "B"))
    refused(AccountNotFound, lambda: add(filled, "rule", "B", since="2027-01", grace={"days": 40}))
    refused(AccountNotFound, lambda: add(filled, "exception", "B", coverage_month="2027-01", due_date="2027-01-02"))


# What is written with a change


def test_every_change_leaves_one_row_in_the_audit(filled: Store) -> None:
    change_client(filled, CLIENT | {"name": "New"}, Precondition(1), by=NORA)
    change_account(filled, ACCOUNT | {"kind": "dental"}, Precondition(1), by=NORA)
    add(filled, "rule", "A1", by=NORA, since="2027-01", grace={"days": 40}, reason="asked for")
    add(filled, "exception", by=NORA, coverage_month="2027-02", due_date="2027-02-03")
    with filled.reading() as connection:
        found = connection.execute(select(audit).order_by(audit.c.sequence)).all()[3:]
    assert [(row.action, row.actor, row.client_id, row.account_id, row.reason) for row in found] == [
        ("put_client", "nora", "ACME", None, None),
        ("put_bill_account", "nora", "ACME", "A1", None),
        ("add_rule", "nora", "ACME", "A1", "asked for"),
        ("add_exception", "nora", "ACME", None, "a test"),
    ]
    assert '"name":"Client ACME"' in found[0].before
    assert '"name":"New"' in found[0].after
    assert '"kind":"medical"' in found[1].before
    assert '"kind":"dental"' in found[1].after
    assert '"grace":{"days":40}' in found[2].after
    assert '"due_date":"2027-02-03"' in found[3].after


def test_a_dry_run_or_a_refusal_keeps_nothing(filled: Store) -> None:
    before = rows(filled)
    change_client(filled, CLIENT | {"name": "New"}, Precondition(1), dry_run=True)
    change_client(filled, CLIENT, client_id="OTHER", dry_run=True)
    change_account(filled, ACCOUNT | {"state": "NY", "first_coverage_month": "2027-01"}, account_id="B", dry_run=True)
    add(filled, "rule", "A1", since="2027-01", grace={"days": 40}, dry_run=True)
    add(filled, "exception", coverage_month="2027-02", due_date="2027-02-03", dry_run=True)
    refused(MovesGeneratedInvoice, lambda: change_client(filled, CLIENT | {"state": "NY"}, Precondition(1)))
    assert rows(filled) == before


# The dates of an account


def own(store: Store, account_id: str = "A1", first: str = "2026-08", months: int = 12, **how: Any) -> dict[str, Data]:
    return dates(schedules(store, "ACME", account_id, first, months, **how))[account_id]


def test_the_worked_table_of_the_specification(filled: Store) -> None:
    found = own(filled, first="2026-02")
    assert [tuple(f"{found[month][name]:%m-%d}" for name in DATES) for month in ("2026-02", "2026-08", "2026-11")] == [
        ("01-12", "02-01", "03-03", "02-09", "02-06", "02-03"),
        ("07-12", "08-01", "08-31", "08-12", "08-09", "08-06"),
        ("10-12", "11-01", "12-01", "11-11", "11-08", "11-05"),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_dates_of_what_was_entered_are_those_of_the_oracle(emptied_store: Store, seed: int) -> None:
    populate(emptied_store)
    rng = random.Random(seed)  # noqa: S311  # no secret
    twin = Twin(emptied_store)
    entered = 0
    while entered < 25:
        try:
            twin.enter(twin.draw(rng, AT), AT)
            entered += 1
        except Refusal:
            continue
    compared = 0
    for client_id in twin.clients:
        found = twin.found(client_id, "2025-12", 24)
        assert found == twin.expected(client_id, "2025-12", 24)
        compared += sum(len(months) for months in found.values())
    assert compared > 10


def test_an_account_may_sit_in_another_state_and_have_another_product(filled: Store) -> None:
    put_account(filled, "NY", state="NY", product="aptc", first_coverage_month="2026-09")
    found = dates(schedules(filled, months=2))
    # New York generates on the 8th day from the end of the month before; the product's grace is three calendar months.
    assert found["NY"]["2026-09"]["generation_date"] == date(2026, 8, 24)
    assert found["NY"]["2026-09"]["grace_end_date"] == date(2026, 11, 30)
    assert found["A1"]["2026-09"]["generation_date"] == date(2026, 8, 12)
    assert found["A1"]["2026-09"]["grace_end_date"] == date(2026, 10, 1)


def test_an_account_takes_from_its_client_what_it_does_not_say_itself(filled: Store) -> None:
    put_client(filled, "SCHOOL", product="cobra", skip_coverage_months=[7, 8], last_coverage_month="2027-06")
    put_account(filled, "A", "SCHOOL")
    put_account(filled, "B", "SCHOOL", skip_coverage_months=[], last_coverage_month="2026-09")
    answer = schedules(filled, "SCHOOL", first="2026-06", months=14)
    found = dates(answer)
    months = [f"2026-{month:02}" for month in range(6, 13)] + [f"2027-{month:02}" for month in range(1, 8)]
    assert list(found["A"]) == [month for month in months if month[5:] not in ("07", "08")]
    assert list(found["B"]) == months[:4]
    # Cobra's grace is 45 days here: 1 September and 45 days is 16 October.
    assert {name: found[name]["2026-09"]["grace_end_date"] for name in "AB"} == dict.fromkeys("AB", date(2026, 10, 16))
    assert found["A"]["2026-06"]["next_generation_date"] == found["A"]["2026-09"]["generation_date"]
    assert [found[name][month]["next_generation_date"] for name, month in (("A", "2027-06"), ("B", "2026-09"))] == [
        None
    ] * 2
    assert [found["B"]["2026-09"][name] for name in DATES[4:]] == [date(2026, 9, 1)] * 2
    reasons = {each["coverage_month"]: each["reason"] for each in answer["bill_accounts"][0]["not_billed"]}
    assert reasons == {
        "2026-07": "no invoice for July, August",
        "2026-08": "no invoice for July, August",
        "2027-07": "after the last coverage month, 2027-06",
    }


def test_months_before_a_client_billed_here_have_no_dates_but_where_to_look(filled: Store) -> None:
    put_client(filled, "MOVED", bills_here_since="2026-09", state="NY")
    put_account(filled, "OLD", "MOVED")
    put_account(filled, "SINCE", "MOVED", first_coverage_month="2026-08")
    put_account(filled, "NEW", "MOVED", first_coverage_month="2026-10")
    answer = schedules(filled, "MOVED", first="2026-07", months=4)
    accounts = {account["account_id"]: account for account in answer["bill_accounts"]}
    for name, elsewhere in (("OLD", ["2026-07", "2026-08"]), ("SINCE", ["2026-08"]), ("NEW", [])):
        invoices = accounts[name]["invoices"]
        told = [each for each in invoices if each["standing"] == "billed_elsewhere"]
        assert [each["coverage_month"] for each in told] == elsewhere
        assert all(set(each) == {"coverage_month", "standing", "detail"} for each in told)
        assert all("portal" in each["detail"] for each in told)
        months = [each["coverage_month"] for each in invoices]
        assert months == sorted(months)
    assert list(dates(answer)["SINCE"]) == ["2026-09", "2026-10"]
    assert [each["coverage_month"] for each in accounts["SINCE"]["not_billed"]] == ["2026-07"]
    assert [each["coverage_month"] for each in accounts["NEW"]["not_billed"]] == ["2026-07", "2026-08", "2026-09"]


def test_today_is_that_of_each_account(filled: Store) -> None:
    put_account(filled, "HI", timezone="Pacific/Honolulu")
    late = datetime(2026, 8, 4, 5, tzinfo=UTC)  # 01:00 of the 4th in New York, 19:00 of the 3rd in Hawaii
    answer = schedules(filled, now=late)
    assert {each["account_id"]: each["as_of"] for each in answer["bill_accounts"]} == {
        "A1": date(2026, 8, 4),
        "HI": date(2026, 8, 3),
    }


def test_a_schedule_ends_with_the_supported_months(filled: Store) -> None:
    assert list(own(filled, first="2099-11", months=2)) == ["2099-11", "2099-12"]
    assert "/months" in faults(refused(InvalidInput, lambda: own(filled, first="2099-11", months=3)))


# What comes to stand against what was entered before


def test_an_exception_of_the_client_is_no_bar_to_an_account_that_begins_later(filled: Store) -> None:
    add(filled, "exception", coverage_month="2026-10", due_date="2026-10-05")
    put_account(filled, "B", first_coverage_month="2026-11")
    put_account(filled, "C", skip_coverage_months=[10])
    found = dates(schedules(filled, first="2026-10", months=2))
    assert found["A1"]["2026-10"]["due_date"] == date(2026, 10, 5)
    assert list(found["B"]) == ["2026-11"]
    assert list(found["C"]) == ["2026-11"]


def test_an_exception_is_no_bar_to_ending_an_account_before_it(filled: Store) -> None:
    add(filled, "exception", "A1", coverage_month="2027-03", due_date="2027-03-05")
    change_account(filled, ACCOUNT | {"last_coverage_month": "2026-12"}, Precondition(1))
    assert list(own(filled, first="2026-12", months=6)) == ["2026-12"]
    change_account(filled, ACCOUNT, Precondition(2))
    assert own(filled, first="2027-03", months=1)["2027-03"]["due_date"] == date(2027, 3, 5)


def test_a_client_whose_product_left_the_rule_book_has_no_dates_until_it_is_given_another(filled: Store) -> None:
    change_client(filled, CLIENT | {"product": "aptc", "retroactive": True, "reason": "a test"}, Precondition(1))
    without = books.book(text().replace("products.aptc", "products.other"))
    assert "aptc" in str(refused(UnknownProduct, lambda: own(filled, rules=without)))
    change_client(filled, CLIENT | {"product": "other"}, Precondition(2), rules=without)
    # Three calendar months from 1 September are over on 30 November.
    assert own(filled, rules=without)["2026-09"]["grace_end_date"] == date(2026, 11, 30)


# The list of clients


@pytest.fixture
def many(emptied_store: Store) -> Store:
    """A store of a dozen clients: every other one of team south, every third in New York, every fourth of a product."""
    populate(emptied_store)
    for number in range(12):
        put_client(
            emptied_store,
            f"C{number:02}",
            name=f"Group {number}",
            team_id="south" if number % 2 else "north",
            state="PA" if number % 3 else "NY",
            product=None if number % 4 else "cobra",
        )
    for number in (1, 2, 3, 7):
        grant(emptied_store, f"C{number:02}")
    return emptied_store


def page(
    store: Store, user: User, limit: int = 200, cursor: str | None = None, key: bytes = KEY, **sought: Any
) -> Data:
    with store.reading() as connection:
        return listing.clients_page(connection, user, Sought(**sought), limit, cursor, key)


def listed(store: Store, user: User, **sought: Any) -> str:
    return " ".join(client["client_id"][1:] for client in page(store, user, **sought)["data"])


LISTED: list[tuple[User, Data, str]] = [
    (ROOT, {}, "00 01 02 03 04 05 06 07 08 09 10 11"),
    (NORA, {}, "00 02 04 06 08 10"),
    (SID, {}, "01 03 05 07 09 11"),
    (PAUL, {}, "01 02 03 07"),
    (ROOT, {"state": "NY"}, "00 03 06 09"),
    (PAUL, {"state": "NY"}, "03"),
    (NORA, {"product": "cobra"}, "00 04 08"),
    (NORA, {"team_id": "south"}, ""),
    (PAUL, {"team_id": "south", "state": "PA"}, "01 07"),
    (ROOT, {"q": "group 1"}, "01 10 11"),
    (NORA, {"q": "GROUP 1"}, "10"),
    (ROOT, {"q": "c0", "state": "NY"}, "00 03 06 09"),
]


def test_a_list_has_what_its_reader_sees_and_seeks(many: Store) -> None:
    for user, sought, found in LISTED:
        assert listed(many, user, **sought) == found, (user.user_id, sought)


def test_pages_put_together_are_the_whole_list(many: Store) -> None:
    for user, limit in product((ROOT, NORA, PAUL), (1, 2, 3, 5, 200)):
        found: list[str] = []
        cursor = None
        while True:
            answer = page(many, user, limit, cursor)
            assert set(answer) == {"data", "next_cursor"}
            assert len(answer["data"]) <= limit
            found += (client["client_id"][1:] for client in answer["data"])
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        assert " ".join(found) == listed(many, user)


def test_a_client_is_listed_as_it_is_read(many: Store) -> None:
    listed_client = page(many, ROOT)["data"][4]
    client, _ = read_client(many, client_id="C04")
    assert {**listed_client, "bill_accounts": []} == client


def test_what_is_sought_is_taken_literally(many: Store) -> None:
    for number, part in enumerate(("%", "_", "/", "\\", "'", '"', "' OR 1=1--", "é")):
        assert listed(many, ROOT, q=f"a{part}") == ""
        put_client(many, f"X{number}", name=f"a{part}b")
        assert listed(many, ROOT, q=part).split()[0] == str(number)
        assert listed(many, ROOT, q=f"A{part}B") == str(number)


def test_a_cursor_holds_for_its_reader_and_its_filters_alone(many: Store) -> None:
    cursor = page(many, NORA, 2)["next_cursor"]
    assert page(many, NORA, 2, cursor)["data"][0]["client_id"] == "C04"
    for ask in (
        lambda: page(many, SID, 2, cursor),
        lambda: page(many, ROOT, 2, cursor),
        lambda: page(many, NORA, 2, cursor, state="PA"),
        lambda: page(many, NORA, 2, cursor, key=bytes(32)),
    ):
        refused(BadRequest, ask)


def test_a_cursor_that_was_altered_or_made_up_is_refused(many: Store) -> None:
    cursor = page(many, NORA, 2)["next_cursor"]
    altered = [cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :] for n in range(len(cursor) - 1)]
    made_up = ["", "x", "é", "\x00", "A" * 10_000, cursor + "AAAA", cursor[:-4], "C02", "WyJDMDIiXQ"]
    for other in (*altered, *made_up):
        refused(BadRequest, partial(page, many, NORA, 2, other))


def test_a_client_that_comes_between_two_pages_moves_nothing_else(many: Store) -> None:
    cursor = page(many, NORA, 2)["next_cursor"]
    put_client(many, "C01A", name="in between")
    put_client(many, "C05A", name="further on")
    assert [client["client_id"] for client in page(many, NORA, 3, cursor)["data"]] == ["C04", "C05A", "C06"]


def test_clients_taken_away_are_gone_from_the_next_page(many: Store) -> None:
    from ebill.service import grants

    cursor = page(many, PAUL, 1)["next_cursor"]
    with writing(many) as write:
        grants.withdraw(write, ROOT, "paul", "C02")
    assert page(many, PAUL, 1, cursor)["data"][0]["client_id"] == "C03"


def test_a_change_is_recorded_no_earlier_than_the_one_before(filled: Store) -> None:
    earlier = AT - timedelta(days=400)
    change_client(filled, CLIENT | {"name": "Later"}, Precondition(1), at=earlier)
    assert read_client(filled)[0]["name"] == "Later"


def test_a_month_without_an_invoice_says_why_by_the_accounts_own_bounds(filled: Store) -> None:
    put_client(filled, "MOVED", bills_here_since="2026-10", first_coverage_month="2026-08")
    put_account(filled, "A", "MOVED")
    put_account(filled, "B", "MOVED", last_coverage_month="2026-08")
    whole, ended = schedules(filled, "MOVED", first="2026-07", months=4)["bill_accounts"]
    elsewhere = [each["coverage_month"] for each in whole["invoices"] if each["standing"] == "billed_elsewhere"]
    assert elsewhere == ["2026-08", "2026-09"]
    assert {each["coverage_month"]: each["reason"] for each in whole["not_billed"]} == {
        "2026-07": "before the first coverage month, 2026-08"
    }
    assert {each["coverage_month"]: each["reason"] for each in ended["not_billed"]} == {
        "2026-07": "before the first coverage month, 2026-08",
        "2026-09": "after the last coverage month, 2026-08",
        "2026-10": "after the last coverage month, 2026-08",
    }
