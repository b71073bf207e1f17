"""A client or an account gives a rule of its own up again: what the layers below say shows through from then on."""

from datetime import date, timedelta
from io import StringIO
from itertools import product
from typing import Any

import numpy as np
import orjson
import pytest
from sqlalchemy import select

from ebill.errors import (
    BookRefused,
    ImportRefused,
    InvalidInput,
    MovesGeneratedInvoice,
    NoRuleInForce,
)
from ebill.grammar import KINDS
from ebill.questions import calculation
from ebill.rulebook import InForce, Layer, Row, Timeline, in_force
from ebill.rules import Inherited
from ebill.service import clients, imports
from ebill.store.engine import Store
from ebill.store.tables import audit
from ebill.store.tables import rules as rules_table
from tests import oracle
from tests.books import book, faults, here, month, row, section, small
from tests.sample import (
    AT,
    HOUSE,
    ROOT,
    Data,
    add,
    count_of,
    dates,
    populate,
    put_account,
    put_client,
    refused,
    schedules,
    writing,
)
from tests.sample import (
    book as sample_book,
)
from tests.sample import faults as told
from tests.strategies import calendar, rule

OWN: tuple[Layer, ...] = ("client", "bill_account")
OWN_KINDS = [kind for kind in KINDS if kind != "grace_floor"]
WAYS: Data = {
    "due": {"day": 2},
    "generation": {"days_before_due": 10},
    "grace": {"days": 45},
    "pay_by": {"days_before_next_invoice": 5},
    "posting": {"min_business_days": 1, "max_business_days": 1, "cutoff": "12:00"},
    "calendar": "US-PA",
    "timezone": "America/Chicago",
    "skip_coverage_months": [7],
}


def rows(*said: tuple[str, Layer, str, Any]) -> list[Row]:
    """Make rows in the order in which they were recorded: since, layer, kind, rule."""
    return [
        Row(month(since), rule(kind, given), f"row {n}", layer, recorded=n)
        for n, (since, layer, kind, given) in enumerate(said)
    ]


def grace(said: list[Row], coverage_month: str) -> tuple[str, int]:
    """Give the layer of the grace in force, and its days."""
    found = in_force(said, month(coverage_month)).rows["grace"]
    return found.layer, found.rule.days  # type: ignore[attr-defined]


# Which rule is in force


def days(number: int) -> Data:
    return {"days": number}


def test_what_the_layer_below_says_shows_through_from_that_month_on() -> None:
    said = rows(
        ("2000-01", "state", "grace", days(30)),
        ("2026-01", "client", "grace", days(40)),
        ("2026-03", "bill_account", "grace", days(50)),
        ("2026-06", "bill_account", "grace", "inherited"),
        ("2026-09", "client", "grace", "inherited"),
    )
    found = [grace(said, each) for each in ("2025-12", "2026-02", "2026-05", "2026-06", "2026-08", "2026-09")]
    assert found == [
        ("state", 30),
        ("client", 40),
        ("bill_account", 50),
        ("client", 40),
        ("client", 40),
        ("state", 30),
    ]


def test_a_layer_that_gave_its_rule_up_may_have_one_again() -> None:
    said = rows(
        ("2000-01", "state", "grace", days(30)),
        ("2026-01", "client", "grace", days(40)),
        ("2026-03", "client", "grace", "inherited"),
        ("2026-05", "client", "grace", days(50)),
    )
    assert [grace(said, each)[1] for each in ("2026-02", "2026-03", "2026-04", "2026-05")] == [40, 30, 30, 50]


@pytest.mark.parametrize(("first", "second", "wins"), [(days(40), "inherited", 30), ("inherited", days(40), 40)])
def test_of_the_same_month_the_row_recorded_last_wins(first: Any, second: Any, wins: int) -> None:
    said = rows(
        ("2000-01", "default", "grace", days(30)),
        ("2026-03", "client", "grace", first),
        ("2026-03", "client", "grace", second),
    )
    for given in (said, said[::-1]):
        assert grace(given, "2026-03")[1] == wins


def test_where_nothing_of_ones_own_is_in_force_it_changes_nothing() -> None:
    below = rows(("2000-01", "default", "grace", days(30)), ("2026-01", "client", "grace", days(40)))
    for layer, since in (("client", "2025-01"), ("bill_account", "2026-01")):
        more = [*below, Row(month(since), Inherited("grace"), "a test", layer, recorded=9)]  # type: ignore[arg-type]
        for each in ("2024-12", "2025-06", "2026-06"):
            assert in_force(more, month(each)).rows == in_force(below, month(each)).rows


@pytest.mark.parametrize("kind", OWN_KINDS)
@pytest.mark.parametrize("layer", OWN)
def test_every_kind_of_rule_can_be_given_up_and_no_other_kind_with_it(layer: Layer, kind: str) -> None:
    said = rows(
        *(("2000-01", "default", each, given) for each, given in {**HOUSE, "generation": {"day_of_month": 9}}.items()),
        *(("2026-01", layer, each, given) for each, given in WAYS.items()),
        ("2026-05", layer, kind, "inherited"),
    )
    before, after = (in_force(said, month(each)) for each in ("2026-04", "2026-05"))
    assert {each: found.rule.as_data() for each, found in before.rows.items()} == WAYS
    below = {} if kind == "skip_coverage_months" else {kind: {**HOUSE, "generation": {"day_of_month": 9}}[kind]}
    expected = {**{each: given for each, given in WAYS.items() if each != kind}, **below}
    assert {each: found.rule.as_data() for each, found in after.rows.items()} == expected


def test_what_is_given_up_is_no_longer_assumed() -> None:
    said = rows(("2000-01", "default", "grace", days(30)), ("2026-03", "client", "grace", "inherited"))
    said.append(Row(month("2026-01"), rule("grace", days(40)), "a test", "client", assumed=True, recorded=1))
    assert [in_force(said, month(each)).assumed for each in ("2026-02", "2026-03")] == [("grace",), ()]


def test_of_all_histories_of_three_layers_the_oracle_says_the_same() -> None:
    """Every way in which three layers can say a rule, give it up, or say nothing, in two months each."""
    tried = 0
    ways = (None, "rule", "inherited")
    for chosen in product(ways, repeat=4):
        said: list[oracle.Said] = [("2000-01", "default", "grace", days(30)), ("2026-02", "state", "grace", days(31))]
        places = [
            ("2026-01", "client"),
            ("2026-03", "client"),
            ("2026-01", "bill_account"),
            ("2026-03", "bill_account"),
        ]
        for n, (way, (since, layer)) in enumerate(zip(chosen, places, strict=True)):
            if way:
                said.append((since, layer, "grace", days(40 + n) if way == "rule" else way))
        for order in (said, said[::-1]):
            ours = rows(*order)  # type: ignore[arg-type]
            for each in ("2025-12", "2026-01", "2026-02", "2026-03", "2026-04"):
                expected = oracle.rules_in_force(order, each)["grace"]
                assert in_force(ours, month(each)).rows["grace"].rule.as_data() == expected
                tried += 1
    assert tried == 3**4 * 2 * 5


def test_a_month_that_comes_to_have_no_rule_of_a_kind_is_refused() -> None:
    """A layer cannot give up what those below have only later: no month falls back to a rule that ended."""
    house = {**HOUSE, "generation": {"days_before_due": 20}}
    del house["grace"]
    said = rows(
        *(("2000-01", "default", kind, given) for kind, given in house.items()),
        ("2026-08", "default", "grace", days(30)),
        ("2026-01", "client", "grace", days(40)),
        ("2026-05", "client", "grace", "inherited"),
    )
    with pytest.raises(NoRuleInForce, match=r"No grace rule .* coverage month 2026-05; one governs from 2026-08\.$"):
        Timeline(said, calendar)
    with pytest.raises(NoRuleInForce, match=r"No grace rule .* coverage month 2026-05\.$"):
        Timeline([each for each in said if str(each.since) != "2026-08"], calendar)
    timeline = Timeline([each for each in said if each.layer == "default"], calendar)
    assert str(timeline.first) == "2026-08"
    timeline = Timeline(
        [*said[:-1], Row(month("2026-08"), Inherited("grace"), "a test", "client", recorded=9)], calendar
    )
    assert [_days(stretch) for stretch in timeline.stretches] == [40, 30]


def _days(stretch: InForce) -> int:
    return int(stretch.rule("grace").days)


# Where it may stand


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("table", ["default", "states.PA", "products.cobra"])
def test_it_has_no_place_in_the_rule_book(table: str, kind: str) -> None:
    cobra = section("products.cobra", "grace = { days = 45 }")
    text = small(cobra, row(table, f'{kind} = "inherited" # here', since="2027-01"))
    found = faults(text)
    assert (here(text), f"{table}.rules[{6 if table == 'default' else 1}].{kind}") in {
        (fault.line, fault.key) for fault in found
    }


def test_no_calendar_can_have_the_name() -> None:
    named = '\n[calendars.inherited]\nname = "x"\nholidays = "XFED"\n'
    with pytest.raises(BookRefused):
        book(small(named, row("states.PA", 'calendar = "inherited"')))


@pytest.mark.parametrize("kind", OWN_KINDS)
def test_it_has_no_place_in_a_question(kind: str) -> None:
    body = {"state": "PA", "coverage_month": "2026-08", "rules": {kind: "inherited"}}
    assert list(told(refused(InvalidInput, lambda: calculation(body)))) == [f"/rules/{kind}"]


# Entered


@pytest.fixture
def filled(emptied_store: Store) -> Store:
    """ACME in Pennsylvania, whose grace is 40 days from 2026-12 on, and its account A1, whose grace is 50."""
    populate(emptied_store)
    put_client(emptied_store)
    put_account(emptied_store)
    add(emptied_store, "rule", since="2026-12", grace=days(40))
    add(emptied_store, "rule", "A1", since="2026-12", grace=days(50))
    return emptied_store


def ends(store: Store, *months: str, **how: Any) -> list[int]:
    """Give the days of grace of months of A1."""
    found = dates(schedules(store, "ACME", "A1", "2026-08", 24, **how))["A1"]
    return [(found[each]["grace_end_date"] - found[each]["due_date"]).days for each in months]


@pytest.mark.parametrize("kind", OWN_KINDS)
def test_it_is_entered_as_a_rule_is_and_answered_as_it_was(filled: Store, kind: str) -> None:
    body: Data = {"since": "2027-03", kind: "inherited"}
    answer = add(filled, "rule", "A1", **body)
    assert answer["entered"][kind] == "inherited"
    assert (answer["entered"]["since"], answer["entered"]["cite"]) == ("2027-03", "a test")


def test_an_account_falls_back_to_its_client_and_that_to_its_state(filled: Store) -> None:
    add(filled, "rule", "A1", since="2027-02", grace="inherited")
    assert ends(filled, "2026-11", "2026-12", "2027-01", "2027-02", "2027-12") == [30, 50, 50, 40, 40]
    add(filled, "rule", since="2027-04", grace="inherited")
    assert ends(filled, "2027-01", "2027-02", "2027-03", "2027-04") == [50, 40, 40, 30]
    put_account(filled, "COBRA", product="cobra")
    found = dates(schedules(filled, "ACME", "COBRA", "2027-03", 2))["COBRA"]
    assert found["2027-03"]["grace_end_date"] == date(2027, 3, 1) + timedelta(40)
    assert found["2027-04"]["grace_end_date"] == date(2027, 4, 1) + timedelta(45)


def test_settings_of_a_layer_are_given_up_as_its_rules_are(emptied_store: Store) -> None:
    populate(emptied_store)
    put_client(emptied_store, skip_coverage_months=[1, 2])
    put_account(emptied_store)
    add(emptied_store, "rule", since="2027-02", skip_coverage_months="inherited")
    found = dates(schedules(emptied_store, "ACME", "A1", "2026-12", 5))["A1"]
    assert sorted(found) == ["2026-12", "2027-02", "2027-03", "2027-04"]


def test_the_explanation_is_that_of_the_rule_that_then_governs(filled: Store) -> None:
    add(filled, "rule", "A1", since="2027-02", grace="inherited", cite="given up")
    add(filled, "rule", since="2027-04", grace="inherited", cite="given up too")

    window = clients.Window(np.datetime64("2027-01", "M"), 4, explain=True)
    with filled.reading() as connection:
        answer = clients.schedule(connection, sample_book(), ROOT, "ACME", "A1", window, AT)
    why = [each["explanation"]["grace_end_date"] for each in answer["bill_accounts"][0]["invoices"]]
    assert [(each["layer"], each["since"]) for each in why] == [
        ("bill_account", "2026-12"),
        ("client", "2026-12"),
        ("client", "2026-12"),
        ("default", "2000-01"),
    ]
    assert "given up" not in repr(answer)


def test_it_is_previewed_as_what_it_moves(filled: Store) -> None:
    before = ends(filled, "2027-02")
    shown = add(filled, "rule", "A1", since="2027-02", grace="inherited", dry_run=True)
    assert ends(filled, "2027-02") == before
    first = shown["moved"][0]
    assert (first["coverage_month"], first["name"]) == ("2027-02", "grace_end_date")
    assert (first["before"], first["after"]) == (date(2027, 2, 1) + timedelta(50), date(2027, 2, 1) + timedelta(40))
    assert {each["code"] for each in shown["hazards"]} == {"earlier_deadline"}
    assert add(filled, "rule", "A1", since="2027-02", grace="inherited")["effect"] == shown


def test_where_nothing_of_ones_own_is_in_force_it_is_taken_and_moves_nothing(filled: Store) -> None:
    answer = add(filled, "rule", "A1", since="2027-02", generation="inherited")
    assert answer["effect"]["moved"] == []
    assert count_of(filled, "rule") == 3


def test_it_does_not_move_an_invoice_generated_already_unless_it_says_so(filled: Store) -> None:
    later = AT.replace(month=12, day=20)  # the invoice for January was generated on December 12
    body: Data = {"since": "2027-01", "grace": "inherited"}
    refusal = refused(MovesGeneratedInvoice, lambda: add(filled, "rule", "A1", at=later, **body))
    assert list(told(refusal)) == ["/retroactive"]
    add(filled, "rule", "A1", at=later, **body, retroactive=True, reason="agreed")
    assert ends(filled, "2026-12", "2027-01") == [50, 40]


def test_a_floor_holds_below_what_shows_through(filled: Store) -> None:
    """The house's 30 days are not entered by whoever gives their own up: the floor wins, as it does for others."""
    lawful = sample_book(row("states.PA", "grace_floor = { days = 35 }", since="2027-01"))
    for account_id in ("A1", None):
        add(filled, "rule", account_id, since="2027-02", grace="inherited", rules=lawful)
    assert ends(filled, "2027-01", "2027-02", rules=lawful) == [50, 35]


def test_what_would_leave_a_month_without_a_rule_is_refused_with_its_place(emptied_store: Store) -> None:
    text = small(generation="{ days_before_due = 20 }", grace="{ days = 30 }").replace(
        'since = "2000-01"\ngrace', 'since = "2028-01"\ngrace'
    )
    rules = book(text)
    populate(emptied_store)
    put_client(emptied_store)
    put_account(emptied_store)
    add(emptied_store, "rule", since="2026-08", grace=days(40), rules=rules)
    refusal = refused(
        NoRuleInForce, lambda: add(emptied_store, "rule", since="2027-02", grace="inherited", rules=rules)
    )
    assert list(told(refusal)) == ["/grace"]
    add(emptied_store, "rule", since="2028-01", grace="inherited", rules=rules)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"grace": "Inherited"}, "/grace"),
        ({"grace": "inherit"}, "/grace"),
        ({"grace": ["inherited"]}, "/grace"),
        ({"grace": {"inherited": True}}, "/grace"),
        ({"grace": {"days": "inherited"}}, "/grace/days"),
        ({"grace": None}, "/grace"),
        ({"timezone": "inherits"}, "/timezone"),
        ({"calendar": "inherits"}, "/calendar"),
        ({"grace_floor": "inherited"}, "/grace_floor"),
        ({"inherited": "grace"}, "/inherited"),
        ({"grace": "inherited", "due": "inherited"}, ""),
        ({"grace": "inherited", "assumed": True}, "/assumed"),
    ],
)
def test_what_is_only_nearly_the_word_is_refused(filled: Store, body: Data, place: str) -> None:
    refusal = refused(InvalidInput, lambda: add(filled, "rule", "A1", since="2027-02", **body))
    assert place in told(refusal)
    assert count_of(filled, "rule") == 2


def test_what_was_known_before_it_was_entered_stays_known(filled: Store) -> None:
    later = AT + timedelta(days=3)
    with writing(filled, AT) as write:
        from ebill.service import books as kept_books

        kept_books.keep(write, sample_book())
    add(filled, "rule", "A1", since="2027-02", grace="inherited", at=later)
    now = later + timedelta(days=1)
    for known_at, expected in ((later - timedelta(seconds=1), 50), (later, 40), (None, 40)):
        assert ends(filled, "2027-02", now=now, known_at=known_at) == [expected]


def test_it_stands_in_the_audit_with_its_citation(filled: Store) -> None:
    add(filled, "rule", "A1", since="2027-02", grace="inherited", cite="Agreed with the group, 2026-11")
    with filled.reading() as connection:
        after = connection.scalars(select(audit.c.after).order_by(audit.c.sequence)).all()[-1]
        kept = connection.execute(select(rules_table).order_by(rules_table.c.sequence)).all()
    written = orjson.loads(str(after))
    assert (written["grace"], written["cite"]) == ("inherited", "Agreed with the group, 2026-11")
    assert len(kept) == 3


# CSV

HEAD = "record,client_id,account_id,name,team_id,kind,state,since,rule,cite\r\n"


def imported(store: Store, text: str) -> Data:
    with writing(store, AT, "root") as write:
        return imports.import_clients(write, sample_book(), ROOT, StringIO(text, newline=""), dry_run=False)


def exported(store: Store) -> str:
    file = StringIO(newline="")
    with store.reading() as connection:
        imports.export_clients(connection, sample_book(), ROOT, file)
    return file.getvalue()


def test_a_file_carries_it_there_and_back(filled: Store) -> None:
    line = 'rule,ACME,A1,,,,,2027-02,"{""grace"":""inherited""}",a letter\r\n'
    assert imported(filled, HEAD + line)["kept"]["rules"] == 1
    assert ends(filled, "2027-01", "2027-02") == [50, 40]
    assert '"{""grace"":""inherited""}"' in exported(filled)
    assert imported(filled, exported(filled))["rows_unchanged"] == 5


def test_a_faulty_one_is_named_by_its_cell(filled: Store) -> None:
    lines = 'rule,ACME,A1,,,,,2027-02,"{""grace"":""inherit""}",a letter\r\nrule,ACME,A1,,,,,2027-03,inherited,x\r\n'
    refusal = refused(ImportRefused, lambda: imported(filled, HEAD + lines))
    assert {(fault.line, fault.column) for fault in refusal.cells} == {(2, "rule"), (3, "rule")}
