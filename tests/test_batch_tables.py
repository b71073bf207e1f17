"""A row of a table has the dates, the standing, the warnings and the refusal that it has when it is asked alone."""

import gc
import json
import weakref
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import groupby, product
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ebill import batch, bookfile
from ebill.batch import laid, moments, tables
from ebill.batch.asked import ASKED, KIND
from ebill.batch.tables import ANSWERED, WARNED, Batches, answers, schema
from ebill.dates import FIRST_MONTH, LAST_MONTH, MONTHS
from ebill.errors import FileRefused, TableRefused
from ebill.rulebook import Row as Entry
from ebill.rulebook import RuleBook, Scope
from ebill.rules import DaysBeforeDue, GraceDays, Posting
from ebill.standing import WARNINGS, warnings
from tests import accounts, books
from tests.accounts import RULES, Row, alone, rows

pytestmark = pytest.mark.anywhere

NOW = datetime(2026, 8, 3, 16, tzinfo=UTC)
TEXT = pa.string()


@cache
def book() -> RuleBook:
    return bookfile.load(bookfile.SHIPPED).book


def table(given: list[Row], names: tuple[str, ...] = ASKED[1:]) -> Any:
    return pa.table({name: pa.array([row.get(name) for row in given], TEXT) for name in names})


def plain(answer: Any) -> list[Row]:
    """Give the rows of an answer, dates as text."""
    return [
        {name: str(value) if isinstance(value, date) else value for name, value in row.items()}
        for row in answer.to_pylist()
    ]


def one(**cells: Any) -> Row:
    """Ask one row."""
    answer = batch.schedule(pa.table({name: [value] for name, value in cells.items()}), book(), now=NOW)
    [row] = plain(answer)
    return row


# As when it is asked alone


def test_10_000_rows_good_and_bad_are_answered_as_each_is_alone() -> None:
    given = rows(10_000)
    found = plain(batch.schedule(table(given), book(), now=NOW))
    for row, told in zip(given, found, strict=True):
        assert told == alone(book(), row, NOW), row
    reasons = Counter(row["reason"] for row in found)
    assert reasons[None] > 2_000
    assert {"invalid_input", "not_billed", "exception_too_far"} <= reasons.keys()


def test_a_million_rows_of_many_rule_sets_are_each_as_alone() -> None:
    kinds = 150
    every = [{**row, "account_id": None, "as_of": None, "paid_at": None} for row in rows(kinds, seed=6, kinds=kinds)]
    months = ["2000-01", *MONTHS[312:336], "2099-12", "2100-01"]
    random = np.random.default_rng(6)
    whose, month = random.integers(0, kinds, 1_000_000), random.integers(0, len(months), 1_000_000)
    given = {name: pa.array([row[name] for row in every], TEXT).take(pa.array(whose)) for name in KIND}
    asked_for = pa.table({**given, "coverage_month": pa.array(months).take(pa.array(month))})
    answer = batch.schedule(asked_for, book(), now=NOW)
    pairs, first, where = np.unique(whose * len(months) + month, return_index=True, return_inverse=True)
    distinct = answer.take(pa.array(first))
    assert distinct.take(pa.array(where)).equals(answer.combine_chunks().unify_dictionaries())
    for pair, told in zip(pairs.tolist(), plain(distinct), strict=True):
        row = {**every[pair // len(months)], "coverage_month": months[pair % len(months)]}
        expected = alone(book(), row, NOW)
        assert told == {name: expected[name] for name in told}, row
    assert {code for row in plain(distinct) for code in (row["warnings"] or "").split()} >= set(WARNINGS[:6])
    assert len({row["reason"] for row in plain(distinct)}) > 3


def test_a_row_depends_on_no_other_whatever_the_batches() -> None:
    given = rows(400, seed=2, kinds=40)
    whole = batch.schedule(table(given), book(), now=NOW)
    for size in (1, 7, 399, 400):
        parts = table(given).to_batches(max_chunksize=size)
        again = pa.Table.from_batches(answers(book(), parts, now=NOW))
        assert again.equals(whole)


def test_what_is_laid_out_is_let_go_when_it_is_much_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    given = rows(400, seed=3, kinds=20)
    whole = batch.schedule(table(given), book(), now=NOW)
    monkeypatch.setattr(laid, "MOST", 100)
    parts = table(given).to_batches(max_chunksize=20)
    assert pa.Table.from_batches(answers(book(), parts, now=NOW)).equals(whole)


@pytest.mark.parametrize(
    "told",
    [
        lambda number: {"state": f"Q{number}"},
        lambda number: {"state": "PA", "rules": json.dumps({"grace": {"dasy": number}})},
        lambda number: {"state": "PA", "rules": json.dumps({"grace": {"days": 45}}) + " " * number},
        lambda number: {"state": "PA", "exceptions": " " * number + "[]"},
    ],
    ids=["unknown states", "bad rules", "rules with spaces", "exceptions with spaces"],
)
@pytest.mark.parametrize("most", ["MOST", "HELD_MOST"])
def test_a_stream_of_what_is_never_alike_holds_no_more_at_its_end(
    most: str, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it has dates or not."""
    monkeypatch.setattr(laid, most, 100 * laid.YEAR if most == "MOST" else 4_000)
    asked = Batches(book(), as_of=date(2026, 8, 3))
    for begin in range(0, 1_000, 10):
        given = [{**told(number), "coverage_month": "2026-08"} for number in range(begin, begin + 10)]
        asked.answer(pa.RecordBatch.from_pylist(given))
        kinds = asked._laid.kinds
        assert len(kinds) <= 110 or most == "HELD_MOST"
        assert len(str(kinds)) < 40_000 or most == "MOST"


def test_what_is_long_is_not_kept_but_for_the_rows_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "KEPT_LONGEST", 50)
    rules, spaces = json.dumps({"grace": {"days": 45}}), " " * 50
    given = [
        {"state": "PA", "coverage_month": "2026-08", "rules": own, "exceptions": fixed}
        for own, fixed in product((rules, rules + spaces, "[]", "[]" + spaces), ("[]", spaces + "[]", "{}"))
    ]
    asked = Batches(book())
    found = asked.answer(pa.RecordBatch.from_pylist(given)).record_batch()
    assert found.column("reason").to_pylist() == [None, None, "invalid_input"] * 2 + ["invalid_input"] * 6
    of_45 = found.column("grace_end_date").drop_null().unique().to_pylist()
    assert of_45 == [date(2026, 9, 15)]
    kept = [*asked._told._rows, *asked._told._scopes, *asked._reasons]
    assert kept
    assert spaces not in str(kept)


def test_the_schema_is_known_before_any_row() -> None:
    given = table(rows(50, seed=4, kinds=20))
    answer = batch.schedule(given, book(), now=NOW)
    assert answer.schema.equals(schema(given.schema))
    assert answer.schema.names == [name for name in ANSWERED if name != "client_id"]
    assert batch.schedule(given.slice(0, 0), book()).schema.equals(answer.schema)


@pytest.mark.parametrize("gone", ["account_id", "product", "paid_at", "as_of", "rules"])
def test_a_column_that_is_not_there_is_as_one_in_which_nothing_is_given(gone: str) -> None:
    given = [{**row, gone: None} for row in rows(300, seed=5, kinds=30)]
    names = tuple(name for name in ASKED[1:] if name != gone)
    without = batch.schedule(table(given, names), book(), now=NOW)
    whole = batch.schedule(table(given), book(), now=NOW)
    left = without.schema.names
    assert plain(whole.select(left)) == plain(without)
    told = set(whole.schema.names) - set(left)
    assert told == {"paid_at": set(accounts.PAID), "as_of": set(), "rules": set()}.get(gone, {gone})


@pytest.mark.parametrize(
    ("rules", "month", "paid_at", "reason"),
    [
        (accounts.RULES[14], "2026-08", None, "cutoff_not_daily"),
        ({"calendar": "JP", "due": {"day": 1, "month_offset": 1}}, "2099-12", None, "outside_calendar"),
        ({"calendar": "JP"}, "2098-11", "2099-12-31", "outside_calendar"),
        ({"skip_coverage_months": [8]}, "2026-08", None, "not_billed"),
        ({"skip_coverage_months": [8]}, "2026-08", "2026-08-01", "invalid_input"),
    ],
)
def test_a_reason_is_the_one_it_has_alone(rules: Any, month: str, paid_at: str | None, reason: str | None) -> None:
    row: Row = dict.fromkeys(ASKED[1:]) | {"state": "NY", "coverage_month": month, "paid_at": paid_at}
    row["rules"] = json.dumps(rules)
    [found] = plain(batch.schedule(table([row]), book(), now=NOW))
    assert found == alone(book(), row, NOW)
    assert found["reason"] == reason


# As of when


def test_as_of_whom_nobody_says_when_an_invoice_stands_nowhere() -> None:
    [row] = plain(batch.schedule(pa.table({"state": ["PA"], "coverage_month": ["2026-08"]}), book()))
    assert (row["as_of"], row["standing"], row["due_date"]) == (None, None, "2026-08-01")


def test_today_is_that_of_each_account_s_zone_and_a_row_s_own_day_comes_first() -> None:
    far = json.dumps({"timezone": "Pacific/Kiritimati"})
    given = pa.table(
        {"state": ["PA"] * 3, "coverage_month": ["2026-08"] * 3, "rules": [None, far, far],
         "as_of": pa.array([None, None, date(2026, 9, 1)])}
    )  # fmt: skip
    late = datetime(2026, 8, 31, 20, tzinfo=UTC)
    found = plain(batch.schedule(given, book(), now=late))
    assert [(row["as_of"], row["standing"]) for row in found] == [
        ("2026-08-31", "in_grace"), ("2026-09-01", "grace_expired"), ("2026-09-01", "grace_expired"),
    ]  # fmt: skip
    found = plain(batch.schedule(given.drop(["as_of"]), book(), as_of=date(2026, 8, 1), now=late))
    assert {row["standing"] for row in found} == {"invoiced"}


# Types


def test_months_and_days_may_be_dates_and_texts_dictionaries() -> None:
    given = rows(500, seed=6, good=1.0, kinds=50)
    texts = table(given)
    typed = texts
    for name in ("coverage_month", "last_coverage_month"):
        days = [None if row[name] in (None, "2026-13") else date.fromisoformat(row[name] + "-01") for row in given]
        typed = typed.set_column(typed.schema.get_field_index(name), name, pa.array(days, pa.date32()))
        if name == "last_coverage_month":
            column = pa.array([None if row[name] == "2026-13" else row[name] for row in given], TEXT)
            texts = texts.set_column(texts.schema.get_field_index(name), name, column)
    days = pa.array([row["as_of"] and date.fromisoformat(row["as_of"]) for row in given], pa.date32())
    typed = typed.set_column(typed.schema.get_field_index("as_of"), "as_of", days)
    for name in ("state", "product", "rules"):
        place = typed.schema.get_field_index(name)
        typed = typed.set_column(place, name, typed.column(name).dictionary_encode())
    place = typed.schema.get_field_index("exceptions")
    typed = typed.set_column(place, "exceptions", typed.column("exceptions").cast(pa.large_string()))
    expected = plain(batch.schedule(texts, book(), now=NOW))
    assert plain(batch.schedule(typed, book(), now=NOW)) == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York", "Asia/Tokyo", "+05:30"])
def test_a_payment_may_be_a_timestamp_local_or_an_instant(unit: str, zone: str | None) -> None:
    texts_ = ("2026-07-02T16:59:59", "2026-07-02T17:00", "2026-11-01T05:30")
    walls = [*map(datetime.fromisoformat, texts_), None]
    moments_ = pa.array(walls, pa.timestamp(unit))
    typed = moments_ if zone is None else pc.assume_timezone(moments_, zone) if zone[0] != "+" else moments_.cast(
        pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, zone))  # fmt: skip
    texts = [
        None if value is None else value.isoformat()
        for value in typed.cast(pa.timestamp("us", typed.type.tz)).to_pylist()
    ]
    asked = {"state": ["PA"] * 4, "coverage_month": ["2026-07"] * 4}
    by_type = batch.schedule(pa.table({**asked, "paid_at": typed}), book(), now=NOW)
    by_text = batch.schedule(pa.table({**asked, "paid_at": texts}), book(), now=NOW)
    assert by_type.equals(by_text)
    assert by_type.column("received_date").null_count == 1


def test_a_payment_may_be_a_date() -> None:
    days = pa.array([date(2026, 8, 1), date(1999, 12, 31), None], pa.date32())
    found = plain(
        batch.schedule(pa.table({"state": ["PA"] * 3, "coverage_month": ["2026-08"] * 3, "paid_at": days}), book())
    )
    assert [row["timeliness"] for row in found] == ["on_time", None, None]
    assert found[1]["detail"].startswith("/paid_at: must be a date that exists")
    assert [row["reason"] for row in found] == [None, "invalid_input", None]


def test_a_month_that_is_not_the_1st_is_named_as_it_is() -> None:
    found = one(state="PA", coverage_month=date(2026, 8, 2))
    assert (found["coverage_month"], found["reason"]) == ("2026-08-02", "invalid_input")


@pytest.mark.parametrize(
    ("columns", "faults"),
    [
        ({}, [("/state", "is required"), ("/coverage_month", "is required")]),
        ({"stat": ["PA"], "coverage_month": ["2026-08"]}, [
            ("/stat", 'unknown column (did you mean "state"?)'), ("/state", "is required")]),
        ({"state": [1], "coverage_month": [202608]}, [
            ("/state", "must be text, not int64"), ("/coverage_month", "must be text or date32, not int64")]),
        ({"state": ["PA"], "coverage_month": ["2026-08"], "rules": [{"grace": 1}]}, [
            ("/rules", "must be text, not struct<grace: int64>")]),
        ({"state": ["PA"], "coverage_month": ["2026-08"], "as_of": [True]}, [
            ("/as_of", "must be text or date32, not bool")]),
        ({"state": ["PA"], "coverage_month": ["2026-08"], "paid_at": pa.array([0], pa.timestamp("s", "Here/There"))}, [
            ("/paid_at", "must be text, date32 or a timestamp, not timestamp[s, tz=Here/There]")]),
        ({"state": [b"PA"], "coverage_month": ["2026-08"]}, [("/state", "must be text, not binary")]),
    ],
)  # fmt: skip
def test_columns_that_are_no_questions_are_refused_every_fault_at_once(
    columns: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    with pytest.raises(TableRefused) as refused:
        batch.schedule(pa.table(columns), book())
    assert [(fault.pointer, fault.detail) for fault in refused.value.faults] == faults


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("name", ["as_of", "coverage_month", "last_coverage_month"])
@pytest.mark.parametrize("is_coded", [False, True])
def test_a_timestamp_for_a_day_must_be_a_whole_day(unit: str, name: str, is_coded: bool) -> None:
    for clock, is_whole in ((0, True), (1, False)):
        walls = [datetime.fromisoformat(f"{year}-08-01T00:00:0{clock}") for year in (2026, 1960)] + [None]
        days: Any = pa.array(walls, pa.timestamp(unit))
        given: dict[str, Any] = {"state": ["PA"] * 3, "coverage_month": ["2026-08"] * 3}
        asked = pa.table({**given, name: days.dictionary_encode() if is_coded else days})
        if is_whole:
            as_dates = pa.table({**given, name: days.cast(pa.date32())})
            assert batch.schedule(asked, book(), now=NOW).equals(batch.schedule(as_dates, book(), now=NOW))
            continue
        with pytest.raises(TableRefused) as refused:
            batch.schedule(asked, book(), now=NOW)
        assert [(fault.pointer, fault.detail) for fault in refused.value.faults] == [(f"/{name}", "must be whole days")]


def test_the_first_day_that_arrow_can_write_is_no_day_and_not_none() -> None:
    days = pa.array([-(2**31), None], pa.int32()).cast(pa.date32())
    found = plain(
        batch.schedule(pa.table({"state": ["PA"] * 2, "coverage_month": ["2026-08"] * 2, "as_of": days}), book())
    )
    assert [row["reason"] for row in found] == ["invalid_input", None]


@pytest.mark.parametrize("at", [-1, 2, 127])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("name", ["account_id", "state", "coverage_month", "as_of", "rules"])
def test_a_dictionary_that_lacks_a_value_is_refused(at: int, kind: Any, name: str) -> None:
    indices = pa.array([0, at, 1], pa.int8())
    words = pa.array(["PA", "NY"], kind)
    coded = pa.DictionaryArray.from_buffers(pa.dictionary(pa.int8(), kind), 3, indices.buffers(), words)
    given = pa.table({"state": ["PA"] * 3, "coverage_month": ["2026-08"] * 3, name: coded})
    with pytest.raises(TableRefused) as refused:
        batch.schedule(given, book(), now=NOW)
    assert [(fault.pointer, fault.detail) for fault in refused.value.faults] == [
        (f"/{name}", "has an index that its dictionary does not have")
    ]


def test_what_a_dictionary_has_at_the_place_of_null_is_not_looked_at() -> None:
    indices = pa.array([0, 99], pa.int8(), mask=np.array([False, True]))
    coded = pa.DictionaryArray.from_arrays(indices, pa.array(["PA"]), safe=False)
    found = plain(
        batch.schedule(pa.table({"state": ["PA"] * 2, "coverage_month": ["2026-08"] * 2, "product": coded}), book())
    )
    assert found[1]["reason"] is None


def test_text_that_is_no_utf8_is_a_bad_row_in_a_dictionary_too() -> None:
    offsets = pa.array([0, 2, 4], pa.int32()).buffers()[1]
    words = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"PA\xff\xfe")])
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1, 0], pa.int8()), words)
    found = plain(batch.schedule(pa.table({"state": coded, "coverage_month": ["2026-08"] * 5}), book(), now=NOW))
    assert [row["reason"] for row in found] == [None, "malformed_row", "invalid_input", "malformed_row", None]
    assert found[1]["detail"] == "state is not UTF-8"


@pytest.mark.parametrize("bounds", [(0, 4, 2, 6), (0, 2, 99, 6), (0, -2, 4, 6)])
def test_text_that_lies_where_it_cannot_is_refused(bounds: tuple[int, ...]) -> None:
    buffers = [None, pa.py_buffer(np.array(bounds, np.int32)), pa.py_buffer(b"A1A2A3")]
    ids = pa.Array.from_buffers(pa.string(), 3, buffers)
    asked = pa.record_batch({"account_id": ids, "state": ["PA"] * 3, "coverage_month": ["2026-08"] * 3})
    with pytest.raises(TableRefused):
        list(batch.answers(book(), [asked]))


def test_text_is_looked_at_within_its_bounds_alone() -> None:
    words = [b"A1", b"\xff", b"A3", "Ä".encode(), b"A5"]
    whole = pa.array(words, pa.binary()).view(pa.string())
    reasons = []
    for at in range(len(words)):
        asked = pa.record_batch({"account_id": whole, "state": ["PA"] * 5, "coverage_month": ["2026-08"] * 5}).slice(
            at, 1
        )
        reasons += [row["reason"] for found in batch.answers(book(), [asked]) for row in found.to_pylist()]
    assert reasons == [None, "malformed_row", None, None, None]


def test_a_column_that_is_there_twice_is_refused() -> None:
    twice = pa.Table.from_arrays(
        [pa.array(["PA"]), pa.array(["NY"]), pa.array(["2026-08"])], ["state", "state", "coverage_month"]
    )
    with pytest.raises(TableRefused, match=r"^The columns have 1 fault") as refused:
        batch.schedule(twice, book())
    assert [(fault.pointer, fault.detail) for fault in refused.value.faults] == [("/state", "is there more than once")]
    assert refused.value.__notes__ == ["/state: is there more than once"]


def test_whatever_gives_itself_as_arrow_is_a_table() -> None:
    given = pa.table({"state": ["PA", "XX"], "coverage_month": ["2026-08"] * 2})

    class Frame:
        def __arrow_c_stream__(self, schema: Any = None) -> Any:
            return given.__arrow_c_stream__(schema)

    views = given.cast(pa.schema([(name, pa.string_view()) for name in given.schema.names]))
    expected = batch.schedule(given, book(), now=NOW)
    assert batch.schedule(Frame(), book(), now=NOW).equals(expected)
    assert (
        batch.schedule(views, book(), now=NOW)
        .select(["due_date", "reason"])
        .equals(expected.select(["due_date", "reason"]))
    )


# What it is made of


def test_warnings_as_numbers_are_the_warnings() -> None:
    late = books.book(
        books.small(
            books.row("default", "grace = { days = 45 }", since="2026-03"),
            books.row("states.PA", "grace_floor = { days = 31 }", since="2026-08"),
        )
    )
    sure = [row(kind, rule, since) for kind, rule, since in (
        ("generation", DaysBeforeDue(20), "2000-01"), ("posting", Posting(2, 3, time(17)), "2000-01"),
        ("grace", GraceDays(14), "2026-05"), ("grace", GraceDays(14), "2027-05"))]  # fmt: skip
    scopes = [Scope("PA"), Scope("PA", last_coverage_month=np.datetime64("2050-03", "M"))]
    scopes += [Scope("PA", rows=(*sure[:2], each._replace(assumed=assumed)))
               for each in sure[2:] for assumed in (False, True)]  # fmt: skip
    ours = [(late, scope) for scope in scopes]
    ours += [(book(), scope_of(json.dumps(rules))) for rules in RULES[3:11]]
    ours += [(book(), scope_of(None, accounts.as_json(fixed))) for fixed in accounts.EXCEPTIONS[4:6]]
    seen: set[int] = set()
    for rules_, scopes_ in groupby(ours, itemgetter(0)):
        asked = [scope for _, scope in scopes_]
        found = laid.Laid(rules_)
        numbers = found.kinds_of(range(len(asked)), asked.__getitem__).tolist()
        for number, scope in zip(numbers, asked, strict=True):
            each = rules_.life(scope)
            count, begin = each.schedule.count, int((each.schedule.first - FIRST_MONTH).astype(int))
            known = each.schedule.billed[:count] & ~each.schedule.unknown
            told = warnings(each, slice(0, count), each.columns(slice(0, count)))
            entries, places = found.numbers(np.full(count, number), np.arange(begin, begin + count))
            assert entries.usable[places].tolist() == known.tolist()
            for is_known, listed, mask in zip(known.tolist(), told, entries.warned[places].tolist(), strict=True):
                if is_known:
                    assert WARNED[mask] == " ".join(warning["code"] for warning in listed)
                    seen.add(mask)
    assert {bit for bit in range(len(WARNINGS)) for mask in seen if mask >> bit & 1} == set(range(len(WARNINGS)))
    assert any(not mask >> WARNINGS.index("assumed_rule") & 1 for mask in seen)


def row(kind: str, rule: Any, since: str) -> Entry:
    assert rule.kind == kind
    return Entry(np.datetime64(since, "M"), rule, "a test", "client", settled=True)


def scope_of(rules: str | None, exceptions: str | None = None) -> Scope:
    return Batches(book())._told.scope(("NY", None, rules, exceptions, None))


def test_an_offset_is_that_of_the_zone_at_every_change() -> None:
    for zone in ("America/New_York", "Pacific/Kiritimati", "Africa/Casablanca", "Australia/Lord_Howe", "UTC"):
        begins, _ = moments._changes(zone)
        near = np.concatenate([begins[1:] + apart for apart in (-1_000_000, -1, 0, 1, 3_600_000_000)])
        near = np.append(near, [946_684_800_000_000, 4_102_444_799_000_000])
        expected = [
            datetime.fromtimestamp(at // 10**6, ZoneInfo(zone)).utcoffset() or timedelta() for at in near.tolist()
        ]
        assert moments.offsets(near, zone).tolist() == [each.total_seconds() * 10**6 for each in expected]


def test_months_have_their_numbers() -> None:
    assert laid.month_text(0) == "2000-01"
    assert laid.month_text(laid.SUPPORTED - 1) == str(LAST_MONTH) == MONTHS[1199]


def test_a_file_is_named_in_its_refusal() -> None:
    assert str(FileRefused("a.csv", "it is gone")) == "a.csv: it is gone."


def test_what_was_laid_out_for_a_batch_goes_with_it_at_once() -> None:
    asked = pa.RecordBatch.from_pylist([{"state": "PA", "coverage_month": "2026-08"}, {"state": "TX"}])
    gc.collect()
    gc.disable()
    try:
        told = Batches(book()).answer(asked)
        days = weakref.ref(told.entries.days)
        assert days() is not None
        del told
        assert days() is None
    finally:
        gc.enable()


def test_offsets_may_lie_in_more_room_than_they_need() -> None:
    offsets = np.array([0, 2, 4], np.int32).tobytes() + b"\0"
    states = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(b"PANY")])
    asked = pa.record_batch({"state": states, "coverage_month": pa.array(["2026-08", "2026-09"])})
    for batch_ in (asked, asked.slice(1)):
        answered = Batches(book()).answer(batch_).record_batch()
        assert answered.column("state").to_pylist() == batch_.column("state").to_pylist()
        assert answered.column("reason").to_pylist() == [None] * len(batch_)


def test_a_table_whose_words_are_to_be_read_as_others_is_cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    answer = Batches.answer

    def noted(self: Batches, asked: Any, *more: Any) -> Any:
        seen.append(asked.num_rows)
        return answer(self, asked, *more)

    monkeypatch.setattr(Batches, "answer", noted)
    none = pa.array([0] * 100_000, pa.int32())
    for kind, pieces in ((pa.string(), [100_000]), (pa.large_string(), [65_536, 34_464])):
        seen.clear()
        states = pa.DictionaryArray.from_arrays(none, pa.array(["PA"], kind))
        asked = pa.table({"state": states, "coverage_month": pa.array(["2026-08"]).take(none)})
        found = batch.schedule(asked, book(), as_of=date(2026, 8, 3))
        assert seen == pieces
        assert found.column("due_date").unique().to_pylist() == [date(2026, 8, 1)]
