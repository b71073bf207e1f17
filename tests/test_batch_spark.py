"""On a real Spark with two workers, a table has the very dates that it has on one machine. Run by `make spark`."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ebill import batch, bookfile
from ebill.batch import spark
from ebill.errors import OtherRelease
from tests.accounts import rows

# What Spark says of the pandas and the sockets that it uses is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning")

NOW = datetime(2026, 8, 3, 16, tzinfo=UTC)
COUNT = 20_000
CLUSTER = "local-cluster[2,1,1024]"
"""Two workers, each a process of its own with one core and 1,024 MB: what they are given has to be sent to them."""


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    # A session takes a while to start: there is one for all.
    from pyspark import sql

    builder = sql.SparkSession.builder.master(CLUSTER).config("spark.ui.enabled", "false")
    made = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "1000").getOrCreate()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def table() -> Any:
    given = rows(COUNT, seed=11, kinds=100)
    names = [name for name in given[0] if name != "account_id"]
    columns = {name: pa.array([row[name] for row in given], pa.string()) for name in names}
    return pa.table({"account_id": pa.array([f"{n:06}" for n in range(COUNT)]), **columns})


@pytest.fixture(scope="module")
def file(table: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("spark") / "in.parquet"
    pq.write_table(table, made, row_group_size=2_000)
    return made


def plain(answer: Any) -> list[dict[str, Any]]:
    return sorted(answer.to_pylist(), key=lambda row: str(row["account_id"]))


def test_the_dates_are_those_of_one_machine_on_two_workers(
    session: Any, table: Any, file: Path, tmp_path: Path
) -> None:
    book = bookfile.load(bookfile.SHIPPED).book
    frame = session.read.parquet(str(file)).repartition(6)
    spark.schedule(frame, book, now=NOW).write.parquet(str(tmp_path / "out"))
    found = plain(pq.read_table(tmp_path / "out"))
    driver_and_workers = session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()
    assert driver_and_workers == 1 + 2
    assert found == plain(batch.schedule(table, book, now=NOW))
    assert len(found) == COUNT
    assert sum(row["reason"] is None for row in found) > COUNT / 10


def test_months_days_and_moments_may_be_of_spark_s_own_types(session: Any) -> None:
    book = bookfile.load(bookfile.SHIPPED).book
    frame = session.sql(
        "SELECT 'PA' AS state, DATE'2026-08-01' AS coverage_month, DATE'2026-08-03' AS as_of, "
        "TIMESTAMP'2026-08-04 20:59:59Z' AS paid_at"
    )
    [row] = spark.schedule(frame, book).collect()
    assert (row.coverage_month, row.due_date, row.standing) == ("2026-08", date(2026, 8, 1), "in_grace")
    assert (row.received_date, row.timeliness) == (date(2026, 8, 4), "in_grace")


def test_nothing_is_shuffled(session: Any, file: Path) -> None:
    book = bookfile.load(bookfile.SHIPPED).book
    planned = spark.schedule(session.read.parquet(str(file)), book, now=NOW)._jdf.queryExecution().toString()
    assert "MapInArrow" in planned
    assert "Exchange" not in planned


def test_a_machine_with_another_release_of_the_holidays_is_refused() -> None:
    book = bookfile.load(bookfile.SHIPPED).book
    with pytest.raises(OtherRelease):
        spark._batches(book.source, book.version, "0.1", None, NOW)


def test_the_command_writes_a_folder_and_overwrites_none(file: Path, tmp_path: Path, table: Any) -> None:
    command = [str(Path(sys.executable).with_name("ebill")), "batch", str(file), "-o", str(tmp_path / "out"),
               "--engine", "spark", "--as-of", "2026-08-03"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    book = bookfile.load(bookfile.SHIPPED).book
    assert plain(pq.read_table(tmp_path / "out")) == plain(batch.schedule(table, book, as_of=date(2026, 8, 3)))
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "is a directory" in again.stderr
