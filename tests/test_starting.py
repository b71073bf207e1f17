"""The service starts with settings that it knows and secrets that are some, and never says what one is set to."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from ebill import starting
from ebill.cli import main
from ebill.errors import SettingsRefused
from ebill.starting import SETTINGS, in_force, refuse_unsafe
from ebill.store.engine import Store
from ebill.web import create_app
from tests import stores
from tests.conftest import upgraded
from tests.world import book_file

pytestmark = pytest.mark.anywhere

ROOT = Path(__file__).parent.parent
GOOD = "q7GfZp1sVw0Kx2"
START = "from ebill.cli import main; main()"


def names(**given: str) -> tuple[str, ...]:
    """Give the settings that are refused; what they were set to stands nowhere in the refusal."""
    found: tuple[str, ...] = ()
    said = ""
    try:
        refuse_unsafe(given)
    except SettingsRefused as refusal:
        found, said = refusal.names, str(refusal)
    assert not any(value in said for value in given.values())
    return found


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ebill@/ebill?host=/run/postgresql",
        f"postgresql://ebill:{GOOD}@localhost/ebill",
        f"postgresql://ebill:{GOOD}@127.0.0.1:5432/ebill",
        f"postgresql://ebill:{GOOD}@db.example.com/ebill?sslmode=verify-full&sslrootcert=system",
    ],
)
def test_a_database_with_a_password_that_is_one_is_taken(url: str) -> None:
    assert names(EBILL_DATABASE_URL=url) == ()


@pytest.mark.parametrize(
    "password", ["short", "ebill", "password1234", "change-me-now-please", "%3Cpassword%20here%3E", "aaaaaaaaaaaaaaaa"]
)
def test_a_password_that_anybody_would_try_is_refused_wherever_it_stands(password: str) -> None:
    database = f"postgresql://ebill:{password}@localhost/ebill"
    assert names(EBILL_DATABASE_URL=database) == ("EBILL_DATABASE_URL",)
    assert names(EBILL_DATABASE_URL=f"postgresql://ebill@/ebill?password={password}") == ("EBILL_DATABASE_URL",)
    assert names(EBILL_SMTP_URL=f"smtp://jo:{password}@mail.example.com") == ("EBILL_SMTP_URL",)


@pytest.mark.parametrize("mode", ["", "?sslmode=require", "?sslmode=prefer", "?sslmode=verify-ca"])
def test_a_database_on_another_machine_is_asked_over_tls_that_knows_its_name(mode: str) -> None:
    for host in ("db.example.com", "10.0.0.5"):
        assert names(EBILL_DATABASE_URL=f"postgresql://ebill:{GOOD}@{host}/ebill{mode}") == ("EBILL_DATABASE_URL",)
    far = f"postgresql://ebill:{GOOD}@/ebill?host=/run/postgresql&host=db.example.com"
    assert names(EBILL_DATABASE_URL=far) == ("EBILL_DATABASE_URL",)


def test_a_setting_that_there_is_not_is_told_the_nearest_and_all_at_once() -> None:
    with pytest.raises(SettingsRefused) as refused:
        refuse_unsafe({"EBILL_TRUSTED_HOST": "a", "EBILL_SMTP_URL": "smtp://jo:x@a.example", "PATH": "x"})
    assert refused.value.names == ("EBILL_TRUSTED_HOST", "EBILL_SMTP_URL")
    assert 'EBILL_TRUSTED_HOST is no setting (did you mean "EBILL_TRUSTED_HOSTS"?).' in str(refused.value)


def test_the_table_has_the_settings_that_are_read_and_told_and_no_others() -> None:
    sources = "\n".join(file.read_text("utf-8") for file in (ROOT / "ebill").rglob("*.py"))
    read = set(re.findall(r'(?:environ\.get|_number)\("(EBILL_\w+)"', sources))
    read |= {f"EBILL_OIDC_{name}" for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "CLIENT_SECRET_FILE", "NAME")}
    read |= set(re.findall(r"EBILL_(?:LOG|METRICS_TOKEN(?:_FILE)?)\b", sources))
    assert read == set(SETTINGS)
    told = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in SETTINGS if f"`{name}`" not in told] == []


@pytest.mark.parametrize(("mode", "is_refused"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_store_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int, *, is_refused: bool) -> None:
    file = tmp_path / "ebill.db"
    file.touch()
    file.chmod(mode)
    assert names(EBILL_DATABASE_URL=f"sqlite:///{file}") == (("EBILL_DATABASE_URL",) if is_refused else ())


def test_a_store_that_others_could_replace_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ebill.db"
    assert names(EBILL_DATABASE_URL=url) == ()
    tmp_path.chmod(0o777)
    assert names(EBILL_DATABASE_URL=url) == ("EBILL_DATABASE_URL",)
    tmp_path.chmod(0o1777)  # as /tmp is: nobody replaces what is another's
    assert names(EBILL_DATABASE_URL=url) == ()


def test_what_is_told_of_the_settings_in_force_has_nothing_secret() -> None:
    told = dict(
        in_force(
            {
                "EBILL_DATABASE_URL": f"postgresql://ebill:{GOOD}@db.example.com/ebill?password={GOOD}",
                "EBILL_SMTP_URL": f"smtps://jo:{GOOD}@mail.example.com:465",
                "EBILL_OIDC_CLIENT_SECRET": GOOD,
                "EBILL_PUBLIC_URL": "https://ebill.example.com",
                "EBILL_TRUSTED_HOSTS": "ebill.example.com",
            }
        )
    )
    assert not any(GOOD in value for value in told.values())
    assert told["EBILL_DATABASE_URL"] == "postgresql://ebill:...@db.example.com/ebill?..."
    assert told["EBILL_PUBLIC_URL"] == "https://ebill.example.com"
    assert told["EBILL_STATES"] == f"{SETTINGS['EBILL_STATES']} (not set)"
    assert "EBILL_MAIL_FROM" not in told


@pytest.mark.parametrize("command", [["-c", START, "serve", "--port=8"], ["-c", START, "remind"], ["app.py"]])
def test_nothing_starts_with_what_is_unsafe(command: list[str]) -> None:
    environment = {**os.environ, "EBILL_SMTP_URL": "smtp://jo:hush@mail.example.com", "EBILL_STATE": "x"}
    ran = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "EBILL_STATE is no setting" in ran.stderr
    assert "EBILL_SMTP_URL has a password of fewer than 12 characters" in ran.stderr
    assert "hush" not in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_check_that_sees_nothing_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "is_guessed", lambda _: False)
    assert names(EBILL_SMTP_URL="smtp://jo:change-me-now@mail.example.com") == ()


# A PostgreSQL that lets nobody in


LOGINS = f"""
CREATE ROLE app LOGIN PASSWORD '{GOOD}';
CREATE ROLE barred NOLOGIN;
CREATE ROLE crowded LOGIN CONNECTION LIMIT 0;
CREATE ROLE shut_out LOGIN;
CREATE DATABASE ebill OWNER app;
CREATE DATABASE others;
CREATE DATABASE closed ALLOW_CONNECTIONS false;
REVOKE CONNECT ON DATABASE others FROM PUBLIC
"""
WAYS = """
local all ebill trust
local ebill app,peter scram-sha-256
local ebill clerk peer
local all app,ghost,barred,crowded trust
"""
WRONG = GOOD[::-1]


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A PostgreSQL that lets in who may: its address, up to who comes and to which database."""
    with stores.running("fsync=off") as server:
        own = server.address.format("postgres").replace("postgresql", "postgresql+psycopg", 1)
        owner = create_engine(own, isolation_level="AUTOCOMMIT")
        with owner.connect() as connection:
            for statement in LOGINS.split(";"):
                connection.execute(text(statement))
            Path(str(connection.scalar(text("SHOW hba_file")))).write_text(WAYS, "utf-8")
        owner.dispose()
        server.stop()
        server.start()
        yield server.address.replace("ebill@/{}", "{}")


@pytest.mark.parametrize(
    ("whom", "why"),
    [
        (f"app:{WRONG}@/ebill", "the user or the password is wrong"),
        (f"peter:{WRONG}@/ebill", "the user or the password is wrong"),
        ("app@/ebill", "it asks for a password, and none is given"),
        ("clerk@/ebill", "the user is not the one it knows whoever asks as"),
        ("ghost@/postgres", "there is no such user"),
        ("barred@/postgres", "this user may not log in"),
        ("shut_out@/ebill", "its pg_hba.conf lets this user in from nowhere like here"),
        ("app@/nowhere", "there is no such database"),
        ("app@/others", "this user may not use this database"),
    ],
)
def test_a_login_that_postgresql_refuses_is_told_as_that(
    guarded: str, monkeypatch: pytest.MonkeyPatch, whom: str, why: str
) -> None:
    monkeypatch.setenv("EBILL_DATABASE_URL", guarded.format(whom))
    for command in (["user", "list"], ["db", "upgrade"]):
        ran = CliRunner().invoke(main, command, catch_exceptions=False)
        told = f"PostgreSQL refuses the login: {why}. Look at EBILL_DATABASE_URL, and at PostgreSQL's log."
        assert (ran.exit_code, ran.stdout, ran.stderr) == (2, "", f"ebill: {told}\n")


@pytest.mark.parametrize("command", [["-c", START, "serve", "--port=8"], ["app.py"]])
def test_nothing_starts_with_a_login_that_is_refused_and_it_is_told_why(guarded: str, command: list[str]) -> None:
    environment = {**os.environ, "EBILL_DATABASE_URL": guarded.format(f"app:{WRONG}@/ebill")}
    ran = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "the user or the password is wrong. Look at EBILL_DATABASE_URL" in ran.stderr
    assert not any(word in ran.stderr for word in (WRONG, "postgresql://", "later", "Traceback"))


@pytest.mark.parametrize(
    ("whom", "more"),
    [("crowded@/postgres", ""), ("app@/closed", ""), (f"app:{WRONG}@/ebill", ":5432&host=127.0.0.1:1")],
)
def test_a_login_is_refused_for_what_does_not_pass_alone(
    guarded: str, monkeypatch: pytest.MonkeyPatch, whom: str, more: str
) -> None:
    monkeypatch.setenv("EBILL_DATABASE_URL", guarded.format(whom) + more)
    ran = CliRunner().invoke(main, ["user", "list"], catch_exceptions=False)
    assert (ran.exit_code, "try again later" in ran.stderr) == (2, True)


def test_a_password_that_is_changed_while_the_service_runs_is_a_store_that_does_not_answer(guarded: str) -> None:
    store = Store(upgraded(guarded.format(f"app:{GOOD}@/ebill")))
    asked = create_app(book_file(), store).test_client()
    assert asked.get("/readyz").status_code == 200
    with store.engine.connect() as connection, connection.begin():
        connection.execute(text("SET TRANSACTION READ WRITE"))
        connection.execute(text(f"ALTER ROLE app PASSWORD '{WRONG}'"))
    store.close()
    answer = asked.get("/v1/clients", headers={"Authorization": f"Bearer ebp_{'0' * 16}_{'0' * 64}"})
    assert (answer.status_code, answer.json and answer.json["code"]) == (503, "store_unavailable")
    assert not any(word in answer.get_data(as_text=True) for word in ("EBILL", "login", "app"))
