"""`ebill batch --engine spark`: from Parquet or CSV into a folder of Parquet, on as many machines as Spark has."""

from __future__ import annotations

import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

from ebill.batch import spark
from ebill.errors import FileRefused
from ebill.files.taking import Form
from ebill.rulebook import RuleBook


def run(file: Path, form: Form, output: Path, book: RuleBook, as_of: date | None, now: datetime) -> int:
    """Answer a file into a new folder; give how many rows have no dates. Raises FileRefused."""
    session = opened()
    try:
        reader = session.read
        frame = reader.parquet(str(file)) if form == "parquet" else reader.csv(str(file), header=True, escape='"')
        answer = spark.schedule(frame, book, as_of=as_of, now=None if as_of else now)
        try:
            answer.write.parquet(str(output), mode="error")
        except Exception as error:
            raise FileRefused(str(output), _said(error)) from error
        return int(session.read.parquet(str(output)).where("reason is not null").count())
    finally:
        session.stop()


def opened() -> Any:
    """Open a session: of the cluster that spark-submit or `SPARK_REMOTE` names, else on this machine's cores."""
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise FileRefused(sys.executable, "has no Spark: install the extra, ebill[spark], and Java 17") from None
    settings = {"spark.sql.execution.arrow.maxRecordsPerBatch": "65536", "spark.ui.enabled": "false"}
    return SparkSession.builder.appName("ebill").config(map=settings).getOrCreate()


def _said(error: Exception) -> str:
    """Give the line of Spark's many that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("ebill.errors.")]
    return (ours or lines or [type(error).__name__])[-1 if ours else 0].rstrip(".")
