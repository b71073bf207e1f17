"""What an operator is given works: units, container, alarms and their pages, backups with a key, roles."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import ProgrammingError

from ebill import bookfile, settings
from ebill.service.health import Health
from ebill.store import backup, engine
from ebill.store.audit import By, Last
from ebill.store.engine import Store
from ebill.web import create_app, health, metrics
from tests.conftest import upgraded
from tests.shell import ENVIRONMENT
from tests.stores import Databases
from tests.world import ACME, book_file, door

pytestmark = pytest.mark.anywhere

ROOT = Path(__file__).parent.parent
OPERATING = ROOT / "ebill" / "operating"
UNITS = sorted(path.name for path in OPERATING.glob("*.service"))
ALARMS = re.findall(r"alert: (\w+)", (OPERATING / "alerts.yml").read_text("utf-8"))
EBILL = Path(sys.executable).with_name("ebill")


# Alarms


def test_each_alarm_has_its_page_and_each_page_its_alarm() -> None:
    pages = (OPERATING / "runbook.md").read_text("utf-8").split("\n## ")[1:]
    assert sorted(page.split("\n")[0] for page in pages) == sorted(ALARMS)
    for page in pages:
        for part in ("Sign", "Means", "Look", "Do", "After"):
            assert f"- **{part}**: " in page, page


def test_each_metric_of_an_alarm_is_there(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    file = book_file()
    create_app(file, store)
    with store.writing(By("test", datetime.now(UTC))) as write:
        write.audit(backup.BACKED_UP)
    text_ = metrics.written([health.Now(Health(store), file)]).decode()
    store.close()
    known = set(re.findall(r"^# TYPE (\w+)", text_, re.MULTILINE))
    known |= {f"{name}_{end}" for name in known for end in ("bucket", "count", "sum")}
    named = set(re.findall(r"\b(ebill_\w+)", (OPERATING / "alerts.yml").read_text("utf-8")))
    assert named - known == {"ebill_reminders_oldest_timestamp_seconds"}  # where something waits


def test_prometheus_reads_the_alarms() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", OPERATING / "alerts.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"SUCCESS: {len(ALARMS)} rules found" in checked.stdout


# Units


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, as if this very command were installed where they look for it."""
    for path in OPERATING.glob("ebill*.*"):
        text_ = path.read_text("utf-8").replace("/opt/ebill/.venv/bin/ebill", str(EBILL))
        (tmp_path / path.name).write_text(text_.replace("file:///opt/ebill", f"file://{ROOT}"))
    return tmp_path


def test_systemd_finds_nothing_amiss(units: Path) -> None:
    names = [str(path) for path in sorted(units.iterdir())]
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, check=False
    )
    said = [line for line in checked.stderr.splitlines() if "ebill" in line]
    assert (checked.returncode, said) == (0, [])


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_may_reach_little_of_its_machine(name: str, units: Path) -> None:
    checked = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", units / name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout[-2_000:]


@pytest.mark.parametrize("name", UNITS)
def test_units_name_commands_and_settings_that_there_are(name: str) -> None:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(OPERATING / name)
    text_ = (OPERATING / name).read_text("utf-8")
    code = "".join(Path(str(module.__file__)).read_text() for module in (settings, bookfile, engine))
    code += (ROOT / "ebill" / "logs.py").read_text()
    for setting in re.findall(r"EBILL_[A-Z_]+(?==)", text_):
        assert setting in code or (setting.removeprefix("EBILL_METRICS_") in code), setting
    command = unit["Service"]["ExecStart"].split()
    if command[0].endswith("/ebill"):
        subprocess.run([EBILL, command[1], "--help"], check=True, capture_output=True)
    else:
        assert (ROOT / command[1].removeprefix("/opt/ebill/")).is_file()


def test_every_file_of_the_guide_is_there_and_each_is_told_of() -> None:
    guide = (OPERATING / "README.md").read_text("utf-8")
    for name in set(re.findall(r"/opt/ebill/ebill/operating/([\w.-]+)", guide)) - {"ebill"}:
        assert (OPERATING / name).is_file(), name
    assert {"as-service.sh", "nginx.conf", "roles.sql"} <= set(re.findall(r"operating/([\w.-]+)", guide))


def test_root_runs_the_command_as_the_service_does(tmp_path: Path) -> None:
    settings_, bin_ = tmp_path / "settings", tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "runuser").write_text('#!/bin/sh\necho "$@"\nenv | grep ^EBILL_ | sort\n')
    (bin_ / "runuser").chmod(0o755)
    settings_.write_text(
        "# ours\n\nEBILL_DATABASE_URL=postgresql://ebill_service:a&$(id)@db.example.com/ebill?a=1&b=2\n"
        "PATH=/nowhere\nEBILL_PROXIES=1"
    )
    script = tmp_path / "ebill"
    script.write_text((OPERATING / "as-service.sh").read_text("utf-8").replace("/etc/ebill/settings", str(settings_)))
    ran = subprocess.run(
        ["sh", script, "user", "add", "ada", "--name", "Ada Lovelace"],
        env={"PATH": f"{bin_}:/usr/bin:/bin"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.stdout.splitlines() == [
        "--user ebill -- /opt/ebill/.venv/bin/ebill user add ada --name Ada Lovelace",
        "EBILL_DATABASE_URL=postgresql://ebill_service:a&$(id)@db.example.com/ebill?a=1&b=2",
        "EBILL_PROXIES=1",
        "EBILL_STATES=/etc/ebill/states.toml",
    ]
    unit = (OPERATING / "ebill.service").read_text("utf-8")
    for setting in re.findall(r"EBILL_(?:STATES|DATABASE_URL)=\S+", (OPERATING / "as-service.sh").read_text("utf-8")):
        assert f"Environment={setting}\n" in unit


# Container


def instructions() -> list[tuple[str, str]]:
    source = re.sub(r"^#.*\n", "", (OPERATING / "Containerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = source.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def test_the_container_is_built_of_what_is_there_and_runs_as_nobody_in_particular() -> None:
    found = instructions()
    for kind, rest in found:
        if kind == "COPY" and "--from" not in rest:
            assert all((ROOT / name).exists() for name in rest.split()[:-1]), rest
    user = next(rest for kind, rest in found if kind == "USER")
    assert user.split(":")[0].isdigit()
    assert user.split(":")[0] != "0"
    last_stage = found[max(at for at, (kind, _) in enumerate(found) if kind == "FROM") :]
    assert {"USER", "HEALTHCHECK", "VOLUME", "STOPSIGNAL"} <= {kind for kind, _ in last_stage}
    assert not any(re.search(r"secret|password|token", rest, re.IGNORECASE) for _, rest in found)
    needed = {"ca-certificates", "python3", "tzdata"}  # the first for webhooks, mail and sign-in elsewhere
    installed = next(rest for kind, rest in last_stage if kind == "RUN" and "apt-get" in rest)
    assert set(installed.partition("--no-install-recommends ")[2].partition(" &&")[0].split()) == needed


def test_the_container_asks_how_it_is_where_it_listens() -> None:
    last = dict(instructions())
    assert last["HEALTHCHECK"].endswith("""urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]""")
    assert last["EXPOSE"] == "8000"
    made = subprocess.run(
        ["make", "--dry-run", "container", "BUILDER=podman"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert "--format docker " in made, "the other format has no HEALTHCHECK"


def test_where_nothing_builds_a_container_that_is_said() -> None:
    ran = subprocess.run(
        ["make", "container", "BUILDER="], cwd=ROOT, check=False, capture_output=True, text=True
    )  # fmt: skip
    assert ran.returncode != 0
    assert "podman or buildah is needed" in ran.stderr


# Backups with a key


def test_a_backup_is_kept_encrypted_and_the_key_brings_it_back(tmp_path: Path) -> None:
    memory, folder, recipients = tmp_path / "memory", tmp_path / "kept", tmp_path / "recipients"
    memory.mkdir()
    folder.mkdir()
    url = f"sqlite:///{tmp_path}/ebill.db"
    store = Store(upgraded(url))
    made = subprocess.run(
        ["age-keygen", "-o", tmp_path / "key"], check=True, capture_output=True, text=True
    ).stderr  # fmt: skip
    recipients.write_text(made.split()[-1] + "\n")
    old = folder / "2020-01-01T000000Z.age"
    old.write_bytes(b"old")
    os.utime(old, (0, 0))
    around = {
        **ENVIRONMENT, "EBILL": str(EBILL), "EBILL_BACKUPS": str(folder), "RUNTIME_DIRECTORY": str(memory),
        "EBILL_BACKUP_RECIPIENTS": str(recipients), "EBILL_DATABASE_URL": url,
    }  # fmt: skip
    ran = subprocess.run(["sh", OPERATING / "backup.sh"], env=around, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    (kept,) = folder.iterdir()
    assert str(kept) == ran.stdout.splitlines()[-1]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert b"SQLite" not in kept.read_bytes()
    assert list(memory.iterdir()) == []
    plain = tmp_path / "plain"
    subprocess.run(["age", "--decrypt", "--identity", tmp_path / "key", "--output", plain, kept], check=True)
    last = backup.restore(f"sqlite:///{tmp_path}/restored.db", plain)
    with store.reading() as connection:
        assert last == Last(0, last.hash, None)
        assert connection.scalar(text("SELECT action FROM audit")) == backup.BACKED_UP
    store.close()


def test_a_backup_that_cannot_be_encrypted_leaves_nothing_plain(tmp_path: Path) -> None:
    upgraded(f"sqlite:///{tmp_path}/ebill.db")
    (tmp_path / "memory").mkdir()
    around = {
        **ENVIRONMENT, "EBILL": str(EBILL), "EBILL_BACKUPS": str(tmp_path), "RUNTIME_DIRECTORY": f"{tmp_path}/memory",
        "EBILL_BACKUP_RECIPIENTS": f"{tmp_path}/none", "EBILL_DATABASE_URL": f"sqlite:///{tmp_path}/ebill.db",
    }  # fmt: skip
    ran = subprocess.run(["sh", OPERATING / "backup.sh"], env=around, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert list((tmp_path / "memory").iterdir()) == []
    assert [path.name for path in tmp_path.glob("*.age*")] == []


# Roles of PostgreSQL


@pytest.fixture
def least(databases: Databases) -> Iterator[tuple[str, str]]:
    """A store of its owner, and its URL as the role that the service has."""
    url = upgraded(databases.make())
    databases._ask(
        "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'ebill_service') "
        "THEN CREATE ROLE ebill_service LOGIN; END IF; END $$"
    )
    address = make_url(url).set(drivername="postgresql+psycopg")
    owner = create_engine(address, isolation_level="AUTOCOMMIT")
    script = re.sub(r"^--.*\n", "", (OPERATING / "roles.sql").read_text("utf-8"), flags=re.MULTILINE)
    with owner.connect() as connection:
        connection.exec_driver_sql(script.replace("%", "%%"))
    owner.dispose()
    yield url, url.replace("://ebill@", "://ebill_service@")
    databases.drop(url)


def test_the_service_works_as_a_role_that_owns_nothing(least: tuple[str, str]) -> None:
    store = Store(least[1])
    opened = door(store)
    assert opened.ask("producer", "GET", f"/v1/clients/{ACME}/schedule").status_code == 200
    assert opened.ask("anyone", "GET", "/readyz").status_code == 200
    store.close()


def test_that_role_changes_no_table_and_nothing_that_is_only_added_to(least: tuple[str, str]) -> None:
    with closing(Store(least[0])) as owner, owner.reading() as connection:
        every = inspect(connection).get_table_names()
        fixed = connection.scalars(
            text(r"SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE '%\_no\_change'")
        ).all()
    assert "audit" in fixed
    engine_ = create_engine(make_url(least[1]).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    tried: list[Any] = [f"DELETE FROM {name}" for name in [*fixed, "alembic_version"]]  # noqa: S608  # names of our own
    tried += [f"TRUNCATE {name} CASCADE" for name in every] + [f"DROP TABLE {name} CASCADE" for name in every]
    tried += ["ALTER TABLE audit DISABLE TRIGGER ALL", "SET session_replication_role = replica", "CREATE ROLE other"]
    for statement in tried:
        with engine_.connect() as connection, pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            connection.exec_driver_sql(statement)
    engine_.dispose()


def test_what_these_tests_need_is_installed() -> None:
    missing = [name for name in ("promtool", "systemd-analyze", "age", "age-keygen") if not shutil.which(name)]
    assert missing == [], "on Debian: apt-get install prometheus systemd age"
