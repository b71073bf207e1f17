"""`ebill batch`: every form gives the same dates; a file is whole or not there; what is bad stops no other."""

import csv
import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ebill import batch, bookfile
from ebill.batch.tables import Batches, Reason
from ebill.errors import FileRefused, TableRefused
from ebill.files import giving, kept, run, taking
from ebill.files.kept import Kept
from ebill.files.taking import Form
from ebill.render.csv import cell
from ebill.rulebook import RuleBook
from tests.accounts import Row, rows

pytestmark = pytest.mark.anywhere

EBILL = Path(sys.executable).with_name("ebill")
AS_OF = date(2026, 8, 3)
NOW = datetime(2026, 8, 3, 16, tzinfo=UTC)
GOLDEN = Path(__file__).parent / "golden"
FORMS: tuple[Form, ...] = ("csv", "ndjson", "parquet", "arrow")


@cache
def book() -> RuleBook:
    return bookfile.load(bookfile.SHIPPED).book


def table(given: list[Row]) -> Any:
    names = list(given[0])
    return pa.table({name: pa.array([row[name] for row in given], pa.string()) for name in names})


def write(asked: Any, file: Path) -> Path:
    """Write questions in the form that a file's name says."""
    form = taking.form_of(file)
    if form == "parquet":
        pq.write_table(asked, file, row_group_size=700)
    elif form == "arrow":
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, asked.schema) as writer:
            writer.write_table(asked, 900)
    elif form == "csv":
        with file.open("w", encoding="utf-8", newline="") as text:
            writer_ = csv.writer(text)
            writer_.writerow(asked.schema.names)
            writer_.writerows(["" if value is None else value for value in row.values()] for row in asked.to_pylist())
    else:
        lines = (json.dumps(row) for row in asked.to_pylist())
        file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return file


def told(file: Path) -> list[Row]:
    """Read answers back in whatever form, as texts; of what is empty as None."""
    form = taking.form_of(file)
    if form == "parquet":
        found = pq.read_table(file).to_pylist()
    elif form == "arrow":
        found = pa.ipc.open_file(file).read_all().to_pylist()
    elif form == "csv":
        found = list(csv.DictReader(io.StringIO(file.read_bytes().decode(), newline="")))
    else:
        found = [json.loads(line) for line in file.read_bytes().decode().split("\n")[:-1]]
    return [{name: text(value) for name, value in row.items()} for row in found]


def text(value: Any) -> str | None:
    if isinstance(value, list):
        value = " ".join(value)
    return None if value in (None, "") else str(value)


def ebill(*arguments: object, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(EBILL), "batch", *map(str, arguments)], input=given, capture_output=True, check=False)


def answered(source: Path, output: Path, **options: Any) -> Path:
    """Answer a file in this process."""
    opened = taking.opened(source, options.pop("form", None) or taking.form_of(source) or "csv")
    work = Kept(output, options.pop("made_from", None), NOW.isoformat(), options.get("rejects"))
    to = taking.form_of(output)
    assert to is not None
    rejects = options.pop("rejects", None)
    writing = giving.giving(to, opened.schema, reasons=rejects is None)
    apart = giving.Rejects("csv", opened.schema.names) if rejects else None
    try:
        run.run(opened.blocks, run.answering(opened, Batches(book(), as_of=AS_OF)), writing, work, apart, **options)
    except BaseException:
        work.close(forget=not work.done.rows)
        raise
    return output


# Forms


@pytest.mark.parametrize("taken", FORMS)
@pytest.mark.parametrize("given", FORMS)
def test_every_form_in_and_out_gives_the_dates_of_the_table(taken: Form, given: Form, tmp_path: Path) -> None:
    asked = table([{**row, "account_id": f"A{n}"} for n, row in enumerate(rows(2_000, seed=21, kinds=60))])
    asked = asked.set_column(1, "state", pa.array([state or None for state in asked.column("state").to_pylist()]))
    for name in ("product", "coverage_month", "paid_at"):
        place = asked.schema.get_field_index(name)
        asked = asked.set_column(place, name, pa.array([each or None for each in asked.column(name).to_pylist()]))
    source = write(asked, tmp_path / f"in.{taken}")
    found = told(answered(source, tmp_path / f"out.{given}"))
    expected = [{name: text(value) for name, value in row.items()} for row in
                batch.schedule(asked, book(), as_of=AS_OF).to_pylist()]  # fmt: skip
    if taken == "ndjson":
        expected = [{"client_id": None, **row} for row in expected]
    if given == "csv":
        expected = [{name: cell(value) for name, value in row.items()} for row in expected]  # type: ignore[misc]
    assert found == expected


READ_ONCE = (
    "account_id,state,product,coverage_month,last_coverage_month,paid_at\n"
    'A1,PA,,2026-08,,2026-08-04T16:00\n=A2,NY,cobra,2026-09,2026-08,\n"A,3",TX,,2026-08,,never\n'
)
"""Whose answers were read by a person, once, and kept: a good row, one without an invoice, one that is refused."""


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_text_is_as_it_was_when_people_read_it(form: Form, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(READ_ONCE)
    found = answered(source, tmp_path / f"out.{form}").read_bytes()
    assert found == (GOLDEN / f"batch.{form}").read_bytes()


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_columns_are_of_the_types_that_were_kept_and_have_the_rows_that_people_read(form: Form, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(READ_ONCE)
    found = answered(source, tmp_path / f"out.{form}")
    schema = pq.read_schema(found) if form == "parquet" else pa.ipc.open_file(found).schema
    kept = "".join(f"{field.name} {field.type}\n" for field in schema)
    assert kept == (GOLDEN / "batch.columns.txt").read_text("utf-8")
    assert told(found) == told(GOLDEN / "batch.ndjson")


def test_a_gzipped_file_is_unpacked(tmp_path: Path) -> None:
    plain = write(table(rows(500, seed=22, kinds=20)), tmp_path / "in.csv")
    packed = tmp_path / "in.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    a, b = answered(plain, tmp_path / "a.csv"), answered(packed, tmp_path / "b.csv")
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("more", [[], ["--format", "csv"]])
def test_a_name_that_says_that_its_file_is_packed_is_refused(tmp_path: Path, more: list[str]) -> None:
    source = write(table(rows(5, seed=22, kinds=2)), tmp_path / "in.csv")
    for arguments in (
        ["-o", tmp_path / "out.csv.gz"],
        ["-o", tmp_path / "out.csv", "--rejects", tmp_path / "no.csv.gz"],
    ):
        ran = ebill(source, *arguments, *more)
        assert (ran.returncode, b"without .gz" in ran.stderr) == (2, True)
    assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]


def test_answers_and_rejects_are_never_one_file(tmp_path: Path) -> None:
    source = write(table(rows(5, seed=22, kinds=2)), tmp_path / "in.csv")
    ran = ebill(source, "-o", tmp_path / "out.csv", "--rejects", tmp_path / "." / "out.csv")
    assert (ran.returncode, b"OUT and --rejects are one file" in ran.stderr) == (2, True)
    assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]


def test_a_row_without_a_month_is_told_that_it_needs_one(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"state,coverage_month\nPA,\npa,\n")
    first, second = told(answered(source, tmp_path / "out.csv"))
    assert first["detail"] == "/coverage_month: is required"
    assert second["detail"].startswith("/coverage_month: is required; /state: ")


def test_a_column_is_named_as_the_file_has_it(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"State,Coverage Month\nPA,2026-08\n")
    ran = ebill(source, "-o", tmp_path / "out.csv")
    said = ran.stderr.decode().splitlines()
    assert (ran.returncode, said[1:3]) == (2, [
        '  State: unknown column (did you mean "state"?)',
        '  Coverage Month: unknown column (did you mean "coverage_month"?)',
    ])  # fmt: skip


def test_blocks_of_any_size_give_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(table(rows(600, seed=23, kinds=20)), tmp_path / "in.csv")
    whole = answered(source, tmp_path / "whole.csv").read_bytes()
    for size in (300, 1_000, 7_777):
        monkeypatch.setattr(taking, "BLOCK", size)
        assert answered(source, tmp_path / f"{size}.csv").read_bytes() == whole


def test_pipes_are_read_and_written(tmp_path: Path) -> None:
    source = write(table(rows(300, seed=24, kinds=20)), tmp_path / "in.ndjson")
    piped = ebill("-", "--input-format", "ndjson", "--as-of", AS_OF, given=source.read_bytes())
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == answered(source, tmp_path / "out.ndjson").read_bytes()


# Bad input


def test_a_row_that_is_no_row_says_why_in_its_place(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(
        b"account_id,state,coverage_month\nA,PA,2026-08\nB,PA\nC,PA,2026-08,x\n\xff,PA,2026-08\n"
        b'D,"P"A,2026-08\n"E\nE",PA,2026-08\n\n F,PA,2026-08\nNUL\0,PA,2026-08\n'
    )
    found = told(answered(source, tmp_path / "out.csv"))
    assert [(row["account_id"], row["reason"]) for row in found] == [
        ("A", None), (None, "malformed_row"), (None, "malformed_row"), (None, "malformed_row"),
        (None, "malformed_row"), ("E\nE", None), (" F", None), ("NUL\0", None),
    ]  # fmt: skip
    lines = tmp_path / "in.ndjson"
    lines.write_bytes(
        b'{"state":"PA","coverage_month":"2026-08"}\n{"state":"PA","state":"NY","coverage_month":"2026-08"}\n[]\nnull\n'
        b'\xff\n{"state":"PA","coverage_month":202608}\n{"state":"PA","coverage_month":"2026-08","rules":{"grace":{"days":45}}}\n'
        b'{"state":"PA","coverage_month":"2026-08","account_id":"\\ud800"}\n{"a":1}{"b":2}\n{"stat":"PA"}\n\n'
        b'{"state":"PA","coverage_month":"2026-08","rules":"{\\"grace\\":{\\"days\\":45}}"}'
    )
    found = told(answered(lines, tmp_path / "out.ndjson"))
    assert [row["reason"] for row in found] == [
        None, "malformed_json", "malformed_row", "malformed_row", "malformed_json", "invalid_input", None,
        "invalid_input", "malformed_json", "invalid_input", None,
    ]  # fmt: skip
    assert found[6]["grace_end_date"] == found[10]["grace_end_date"] == "2026-09-15"


GOOD = b'{"account_id":"A","state":"PA","coverage_month":"2026-08"}'


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        (b'"A"x,PA,2026-08\n', ["malformed_row"]),
        (b'"A" ,PA,2026-08\n', ["malformed_row"]),
        (b'""x,PA,2026-08\n', ["malformed_row"]),
        (b'"A""B"x,PA,2026-08\n', ["malformed_row"]),
        (b'"A"""x,PA,2026-08\n', ["malformed_row"]),
        (b'A,PA,"2026-08"x\n', ["malformed_row"]),
        (b'A,"PA"\n,2026-08\n', ["malformed_row", "malformed_row"]),
        (b'"A,""B"",C",PA,2026-08\n', [None]),
        (b'"",PA,"2026-08"\r\n', [None]),
        (b'A"x",PA,2026-08\n', [None]),
        (b"A,PA,2026-08\rB,PA,2026-08\n", ["malformed_row"]),
        (b"A,PA,2026-08\r\r\n", [None]),
        (b'"A\rB",PA,2026-08\n', [None]),
        (b"A\x0bB,PA,2026-08\n", [None]),
        (b"\xef\xbb\xbfA,PA,2026-08\n", [None]),
        (b"\r\n\nA,PA,2026-08\n", [None]),
        (b"A\0,PA,2026-08\n", [None]),
    ],
)
def test_a_row_of_csv_is_answered_alike_whatever_stands_beside_it(
    line: bytes, reasons: list[str | None], tmp_path: Path
) -> None:
    found = []
    for place, content in enumerate((line, line + b"a,b\n", b"a,b\n" + line, b"Z,PA,2026-08\n" + line)):
        source = tmp_path / f"{place}.csv"
        source.write_bytes(b"account_id,state,coverage_month\n" + content)
        rows_ = told(answered(source, tmp_path / f"{place}.out.csv"))
        rows_ = rows_[:-1] if place == 1 else rows_[place > 1 :]
        assert [row["reason"] for row in rows_] == reasons
        found.append([(row["account_id"], row["detail"]) for row in rows_])
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        (GOOD + b" " + GOOD + b"\n\n", ["malformed_json"]),
        (GOOD + GOOD + b"\n \n", ["malformed_json"]),
        (GOOD.replace(b",", b",\n", 1) + b"\n", ["malformed_json"] * 2),
        (GOOD.replace(b",", b",\n", 1) + GOOD + b"\n", ["malformed_json"] * 2),
        (GOOD + b" null\n\n", ["malformed_json"]),
        (GOOD + b"\0\n", ["malformed_json"]),
        (GOOD + b"\r" + GOOD + b"\n\n", ["malformed_json"]),
        (b"\x0b\n", ["malformed_json"]),
        (GOOD + b"\x0b\n", ["malformed_json"]),
        (GOOD + b"\n\n" + GOOD + b"\n", [None, None]),
        (b" \t" + GOOD + b" \r\n", [None]),
        (GOOD.replace(b",", b",\r", 1) + b"\n", [None]),
    ],
)
def test_a_line_of_json_is_answered_alike_whatever_stands_beside_it(
    line: bytes, reasons: list[str | None], tmp_path: Path
) -> None:
    found = []
    for place, content in enumerate((line, line + b"1\n", b"1\n" + line, GOOD + b"\n" + line)):
        source = tmp_path / f"{place}.ndjson"
        source.write_bytes(content)
        rows_ = told(answered(source, tmp_path / f"{place}.out.ndjson"))
        rows_ = rows_[:-1] if place == 1 else rows_[place > 1 :]
        assert [row["reason"] for row in rows_] == reasons
        found.append([(row["account_id"], row["detail"]) for row in rows_])
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("name", ["in.csv", "in.ndjson"])
def test_no_more_rows_are_worked_on_at_once_however_short_their_lines_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = list[int]()
    answer = Batches.answer

    def counted(self: Batches, batch_: Any, *more: Any) -> Any:
        sizes.append(batch_.num_rows)
        return answer(self, batch_, *more)

    monkeypatch.setattr(Batches, "answer", counted)
    monkeypatch.setattr(taking, "BATCH", 1_000)
    source = tmp_path / name
    quoted = b'"\n\n",,\n' * 5_000 if name == "in.csv" else b""
    source.write_bytes((b"account_id,state,coverage_month\n" if quoted else b"") + b"1\n" * 12_345 + quoted)
    found = told(answered(source, tmp_path / ("out" + source.suffix)))
    assert [row["reason"] for row in found] == ["malformed_row"] * 12_345 + ["invalid_input"] * (5_000 if quoted else 0)
    assert sum(sizes) == len(found)
    assert max(sizes) <= 1_000


def test_a_line_that_ends_within_a_block_may_not_be_longer_than_another(tmp_path: Path) -> None:
    source = tmp_path / "in.ndjson"
    source.write_bytes(b" " * (taking.LINE_MOST + 1) + b"\n" + GOOD)
    with pytest.raises(FileRefused, match="is a line of more than"):
        answered(source, tmp_path / "out.ndjson")
    source.write_bytes(b" " * (taking.LINE_MOST - 1) + b"\n" + GOOD)
    assert len(told(answered(source, tmp_path / "out.ndjson"))) == 1


def broken_text() -> Any:
    """Give texts of which the second is no UTF-8."""
    offsets = pa.array([0, 2, 4, 6], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"PA\xff\xfeNY")])


@pytest.mark.parametrize("name", ["account_id", "client_id", "state", "coverage_month", "rules", "as_of", "paid_at"])
@pytest.mark.parametrize("out", ["out.csv", "out.ndjson", "out.parquet", "out.arrow"])
def test_text_of_parquet_that_is_no_utf8_is_a_bad_row(name: str, out: str, tmp_path: Path) -> None:
    good = {"state": ["PA"] * 3, "coverage_month": ["2026-08"] * 3}
    asked = pa.table({**good, name: broken_text()})
    source = tmp_path / "in.parquet"
    pq.write_table(asked, source)
    found = told(answered(source, tmp_path / out))
    assert (found[1]["reason"], found[1]["detail"]) == ("malformed_row", f"{name} is not UTF-8")
    assert all(row["reason"] != "malformed_row" for row in found[::2])
    if name in ("account_id", "state"):
        assert [(row[name], row["reason"]) for row in found[::2]] == [("PA", None), ("NY", None)]


def test_null_in_a_dictionary_is_written_to_parquet(tmp_path: Path) -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array(["PA", None]))
    source = write(pa.table({"state": words, "coverage_month": ["2026-08"] * 3}), tmp_path / "in.arrow")
    found = told(answered(source, tmp_path / "out.parquet"))
    assert [(row["state"], row["reason"]) for row in found] == [("PA", None), *[(None, "invalid_input")] * 2]


FAR = pa.array([-(2**31), 2**31 - 1, -719_529, 2_932_897], pa.int32()).cast(pa.date32())


@pytest.mark.parametrize("name", ["coverage_month", "last_coverage_month", "as_of", "paid_at"])
@pytest.mark.parametrize("out", ["out.csv", "out.ndjson", "out.parquet", "out.arrow"])
def test_a_day_that_no_calendar_has_is_a_bad_row(name: str, out: str, tmp_path: Path) -> None:
    asked = pa.table({"state": ["PA"] * 4, "coverage_month": ["2026-08"] * 4, name: FAR}) if name != (
        "coverage_month") else pa.table({"state": ["PA"] * 4, "coverage_month": FAR})  # fmt: skip
    source, rejects = tmp_path / "in.parquet", tmp_path / "bad.csv"
    pq.write_table(asked, source)
    found = told(answered(source, tmp_path / out))
    assert [row["reason"] for row in found] == ["invalid_input"] * 4
    assert all(row["detail"].startswith(f"/{name}: ") for row in found if row["detail"])
    answered(source, tmp_path / f"good.{out}", rejects=rejects)
    assert [row["reason"] for row in told(rejects)] == ["invalid_input"] * 4


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"", "its first line must name the columns"),
        (b"state,state,coverage_month\n", "The columns have 1 fault"),
        (b"stat,coverage_month\n", "The columns have 2 faults"),
        (b"\xff,coverage_month\n", "line 1: it is not in UTF-8: save it as CSV in UTF-8"),
        ("state,coverage_month\n".encode("utf-16"), "line 1: it is in UTF-16, as it seems"),
        ("state,coverage_month\n".encode("utf-16-le"), "it is in UTF-16, as it seems"),
        (b"state;coverage_month\n", "parted by semicolons: save it with commas"),
        (b"state\tcoverage_month\n", "parted by tabs: save it with commas"),
        (b'"state,coverage_month\n', "its header cannot be read as CSV"),
        (b"x" * 100_000, "its first line must name the columns"),
    ],
)
def test_a_header_that_names_no_questions_is_refused(head: bytes, why: str, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(head + b"PA,2026-08\n" if head.endswith(b"\n") else head)
    with pytest.raises((FileRefused, TableRefused), match=why):
        taking.opened(source, "csv")


def test_a_column_that_cannot_be_read_is_called_as_the_file_has_it_and_not_as_an_option(tmp_path: Path) -> None:
    noon = pa.array([1_786_017_600], pa.timestamp("s"))  # 2026-08-06, 12:00
    write(pa.table({"state": ["PA"], "coverage_month": ["2026-08"], "as_of": noon}), tmp_path / "in.parquet")
    done = ebill(tmp_path / "in.parquet", "-o", tmp_path / "out.csv")
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [b"  as_of: must be whole days"]


@pytest.mark.parametrize("name", ["in.csv.gz", "in.parquet", "in.arrow"])
@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.9])
def test_a_file_that_ends_before_it_should_gives_no_output(name: str, cut: float, tmp_path: Path) -> None:
    asked = table(rows(3_000, seed=25, kinds=10))
    whole = write(asked, tmp_path / name.removesuffix(".gz"))
    content = gzip.compress(whole.read_bytes()) if name.endswith(".gz") else whole.read_bytes()
    source = tmp_path / name
    source.write_bytes(content[: int(cut if cut in (0, 10) else cut * len(content))])
    done = ebill(source, "-o", tmp_path / "out.csv")
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"ebill: ")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted({name, whole.name})


def test_a_huge_cell_is_a_bad_row_and_an_endless_line_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(f'state,coverage_month,rules\nPA,2026-08,"{"[" * 1_000_000}"\nPA,2026-08,\n')
    first, second = told(answered(source, tmp_path / "out.csv"))
    assert (first["reason"], second["reason"]) == ("invalid_input", None)
    source.write_text("state,coverage_month\n" + "P" * (taking.LINE_MOST + taking.BLOCK + 1))
    with pytest.raises(FileRefused, match="is a line of more than"):
        answered(source, tmp_path / "never.csv")
    assert not (tmp_path / "never.csv").exists()


@pytest.mark.parametrize("block", [1 << 22, 200])
@pytest.mark.parametrize(
    ("closed", "bad"), [((), {3}), ((7,), {3}), ((9,), {3}), (tuple(range(4, 10)), {3})], ids=["never", "7", "9", "all"]
)
def test_an_open_quote_costs_its_own_row_and_no_other(
    closed: tuple[int, ...], bad: set[int], block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether no other quote comes, or one that looks as if it closed this one, some rows later."""
    monkeypatch.setattr("ebill.files.taking.BLOCK", block)
    source = tmp_path / "in.csv"
    lines = [f'"A{number}",PA,2026-08' if number in closed else f"A{number},PA,2026-08" for number in range(10)]
    lines[3] = '"' + lines[3]
    source.write_text("\n".join(["account_id,state,coverage_month", *lines, ""]))
    found = told(answered(source, tmp_path / "out.csv"))
    assert [row["reason"] for row in found] == ["malformed_row" if number in bad else None for number in range(10)]
    assert [row["account_id"] for row in found] == [None if number in bad else f"A{number}" for number in range(10)]


def test_a_file_of_open_quotes_is_read_in_time_and_every_line_of_it_told(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("state,coverage_month\n" + '"PA,2026-08\n' * 20_000 + "PA,2026-08\n")
    assert [row["reason"] for row in told(answered(source, tmp_path / "out.csv"))] == ["malformed_row"] * 20_000 + [
        None
    ]


# Rejects


def test_rejects_are_apart_with_the_number_of_their_row(tmp_path: Path) -> None:
    asked = table(rows(3_000, seed=26, kinds=40))
    source, rejects = write(asked, tmp_path / "in.parquet"), tmp_path / "bad.csv"
    found = told(answered(source, tmp_path / "out.parquet", rejects=rejects))
    whole = batch.schedule(asked, book(), as_of=AS_OF).to_pylist()
    good = [row for row in whole if row["reason"] is None]
    assert len(found) == len(good)
    assert "reason" not in found[0]
    bad = told(rejects)
    assert [(int(str(row["row"])), row["reason"]) for row in bad] == [
        (number, row["reason"]) for number, row in enumerate(whole, 1) if row["reason"]
    ]


# Whole or not at all


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is done after every thousand rows."""
    monkeypatch.setattr(run, "PART", 1_000)
    monkeypatch.setattr(taking, "BLOCK", 50_000)
    monkeypatch.setattr(taking, "BATCH", 500)


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("given", FORMS)
@pytest.mark.parametrize("taken", ["csv", "parquet"])
def test_a_run_that_was_cut_off_goes_on_and_the_file_is_the_same(given: Form, taken: Form, tmp_path: Path) -> None:
    source = write(table(rows(6_000, seed=27, kinds=20)), tmp_path / f"in.{taken}")
    expected, bad = tmp_path / f"expected.{given}", tmp_path / "expected-bad.csv"
    answered(source, expected, rejects=bad)
    output, rejects = tmp_path / f"out.{given}", tmp_path / "bad.csv"
    made_from = {"input": taking.identity(source)}
    ends = [2_500, 2_500, 4_200, 10**9]
    for number, end in enumerate(ends):

        def stop(_: int, done: int, end: int = end) -> None:
            if done > end:
                raise Killed

        try:
            answered(source, output, rejects=rejects, made_from=made_from, told=stop)
        except Killed:
            assert not output.exists()
            with (tmp_path / f"out.{given}.parts" / "log").open("ab") as log:
                log.write(b"[1, 2")  # a line that was not finished
            with (tmp_path / f"out.{given}.parts" / "data").open("ab") as data:
                data.write(b"half a row")
        else:
            assert number == 3
    assert told(output) == told(expected)
    if given in ("csv", "ndjson"):
        assert output.read_bytes() == expected.read_bytes()
    assert rejects.read_bytes() == bad.read_bytes()
    assert not (tmp_path / f"out.{given}.parts").exists()


def test_another_input_begins_anew(tmp_path: Path) -> None:
    source = write(table(rows(3_000, seed=28, kinds=10)), tmp_path / "in.csv")
    output = tmp_path / "out.csv"
    work = Kept(output, {"input": 1}, NOW.isoformat(), None)
    work.data.write(b"x" * 100)
    work.note(50, 10, 0)
    work.close()
    again = Kept(output, {"input": 1}, "later", None)
    assert (again.done.rows, again.now, again.begun_anew) == (10, NOW.isoformat(), False)
    again.close()
    other = Kept(output, {"input": 2}, "later", None)
    assert (other.done.rows, other.now, other.begun_anew, other.data.tell()) == (0, "later", True, 0)
    other.close(forget=True)
    assert answered(source, output).exists()


def test_two_runs_do_not_work_on_one_output_and_nothing_is_overwritten(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    first = Kept(output, {}, NOW.isoformat(), None)
    with pytest.raises(FileRefused, match="another run is at work on it"):
        Kept(output, {}, NOW.isoformat(), None)
    first.close(forget=True)
    output.write_text("mine")
    with pytest.raises(FileRefused, match="is there already, and nothing is overwritten"):
        Kept(output, {}, NOW.isoformat(), None)
    assert output.read_text() == "mine"


@pytest.mark.parametrize("given", ["csv", "parquet"])
def test_killed_by_the_kernel_and_begun_again_the_command_gives_the_same(given: str, tmp_path: Path) -> None:
    some = rows(2_000, seed=29, kinds=10)
    source, output = tmp_path / "in.csv", tmp_path / f"out.{given}"
    with source.open("wb") as file:
        content = write(table(some), tmp_path / "some.csv").read_bytes()
        head, _, body = content.partition(b"\r\n")
        file.write(head + b"\r\n")
        for _ in range(50):
            file.write(body)
    code = (
        "import sys; from ebill.files import run, taking; run.PART, taking.BLOCK = 10_000, 1 << 17\n"
        f"from ebill.cli import main; sys.argv[1:] = ['batch', {str(source)!r}, '-o', {str(output)!r}, '--as-of', "
        f"{str(AS_OF)!r}]; main()"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    log = tmp_path / f"out.{given}.parts" / "log"
    for _ in range(6_000):
        if log.exists() and log.stat().st_size:
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "rows are done already" in again.stderr
    assert told(output) == told(answered(source, tmp_path / f"whole.{given}"))


def test_memory_is_flat(tmp_path: Path) -> None:
    """Once more rows went by than are held until they are kept, six times as many take no more memory."""
    some = write(table(rows(2_000, seed=30, kinds=10)), tmp_path / "some.csv").read_bytes()
    head, _, body = some.partition(b"\r\n")
    used = []
    for times in (150, 900):
        source = tmp_path / f"{times}.csv"
        with source.open("wb") as file:
            file.write(head + b"\r\n")
            for _ in range(times):
                file.write(body)
        output = str(tmp_path / f"{times}.parquet")
        code = (
            "import resource,sys; from ebill.cli import main; from ebill.files import run; run.PART = 200_000\n"
            f"sys.argv=['ebill','batch',{str(source)!r},'-o',{output!r},'--as-of','2026-08-03']\n"
            "try: main()\nexcept SystemExit: pass\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        used.append(int(done.stdout.split()[-1]))
    assert used[1] < 1.25 * used[0], used


# The command


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), b"Say whose dates"),
        (("IN.csv", "--from-store", "--from", "2026-01"), b"Say whose dates"),
        (("IN.csv", "--from", "2026-01"), b"go with --from-store"),
        (("IN.csv", "--format", "parquet"), b"need a file"),
        (("IN.csv", "-o", "out.txt"), b"Say what OUT is to be"),
        (("IN.txt", "-o", "out.csv"), b"Say what IN is"),
        (("IN.csv", "-o", "out.csv", "--as-of", "soon"), b"--as-of: must be a date"),
        (("IN.csv", "-o", "out.csv", "--rejects", "bad.xls"), b"--rejects: must be a file named"),
        (("--from-store", "--from", "2026-13"), b"--from: a coverage month is written"),
        (("IN.csv", "-o", "IN.csv"), b"is there already"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], why: bytes, tmp_path: Path) -> None:
    for name in ("IN.csv", "IN.txt"):
        (tmp_path / name).write_text("state,coverage_month\nPA,2026-08\n")
    done = subprocess.run([str(EBILL), "batch", *arguments], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2
    assert why in done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["IN.csv", "IN.txt"]


def test_a_reason_may_be_given_for_a_row_that_was_not_read() -> None:
    read = taking.Read(
        pa.record_batch({"state": ["PA", None], "coverage_month": ["2026-08", None]}), {1: Reason("x", "y")}
    )
    found = Batches(book(), as_of=AS_OF).answer(*read).record_batch().to_pylist()
    assert [(row["reason"], row["detail"]) for row in found] == [(None, None), ("x", "y")]


def test_a_folder_of_parts_is_private(tmp_path: Path) -> None:
    work = Kept(tmp_path / "out.csv", {}, NOW.isoformat(), None)
    assert work.folder.stat().st_mode & 0o777 == 0o700
    assert (work.folder / kept.MADE_FROM).exists()
    work.close(forget=True)


# As fast as it is written, in the memory of a few blocks


def test_a_run_that_cannot_go_on_later_holds_nothing_of_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "BATCH", 1_000)
    monkeypatch.setattr(giving, "ROW_GROUP", 1_000)
    opened = taking.opened(write(table(rows(500, seed=3) * 60), tmp_path / "in.parquet"), "parquet")
    held: list[int] = []
    answering = run.answering(opened, Batches(book(), as_of=AS_OF))
    made = giving.giving("arrow", opened.schema)
    run.run(
        opened.blocks,
        answering,
        made,
        Kept(tmp_path / "out.arrow", None, NOW.isoformat(), None),
        None,
        told=lambda *_: held.append(pa.total_allocated_bytes()),
        threads=1,
    )
    assert max(held[-10:]) < 1.5 * max(held[5:15]), held


@pytest.mark.parametrize(("times", "is_coded"), [(1, False), (12, True)])
def test_ids_stand_in_a_dictionary_of_parquet_where_they_come_again(
    tmp_path: Path, times: int, *, is_coded: bool
) -> None:
    ids = [f"A-{number // times:06}" for number in range(2_400)]
    asked = pa.table({"account_id": ids, "state": ["PA"] * 2_400, "coverage_month": ["2026-08"] * 2_400})
    answered(write(asked, tmp_path / "in.parquet"), tmp_path / "out.parquet")
    found = pq.ParquetFile(tmp_path / "out.parquet")
    encodings = {
        found.schema_arrow.names[place]: found.metadata.row_group(0).column(place).encodings
        for place in range(found.metadata.num_columns)
    }
    assert ("RLE_DICTIONARY" in encodings["account_id"]) == is_coded
    assert "RLE_DICTIONARY" in encodings["state"]
    assert found.read().column("account_id").to_pylist() == ids


def test_parquet_has_each_word_once_in_a_row_group_whatever_the_words_of_its_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "BATCH", 500)
    states = [state for state in ("PA", "DE", "WV", "NY") for _ in range(600)]
    asked = pa.table({"state": states, "coverage_month": [f"2026-{1 + row % 12:02}" for row in range(2_400)]})
    answered(write(asked, tmp_path / "in.parquet"), tmp_path / "out.parquet")
    group = pq.ParquetFile(tmp_path / "out.parquet").metadata.row_group(0)
    assert all(group.column(place).total_uncompressed_size < len(states) for place in (0, 1))  # less than a byte each
    assert pq.read_table(tmp_path / "out.parquet").column("state").to_pylist() == states


@pytest.mark.parametrize("given", FORMS)
def test_what_is_written_is_put_on_disk_meanwhile_and_no_output_appears_where_that_fails(
    given: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(table(rows(2_000, seed=33, kinds=10)), tmp_path / "in.csv")
    monkeypatch.setattr(taking, "BLOCK", 20_000)
    monkeypatch.setattr(kept, "AHEAD", 1_000)
    monkeypatch.setattr(giving, "ROW_GROUP", 200)
    sync, meanwhile = kept._sync_file, list[str]()
    fails = False

    def watched(file: Path) -> None:
        if threading.current_thread() is not threading.main_thread():
            meanwhile.append(file.name)
            if fails:
                raise OSError(errno.EIO, "Input/output error")
        sync(file)

    monkeypatch.setattr(kept, "_sync_file", watched)
    whole = answered(source, tmp_path / f"whole.{given}")
    assert set(meanwhile) == ({"data"} if given in ("csv", "ndjson") else {"data", "whole"})
    assert told(whole)
    fails = True
    with pytest.raises(FileRefused, match="Input/output error"):
        answered(source, tmp_path / f"lost.{given}")
    assert not (tmp_path / f"lost.{given}").exists()
