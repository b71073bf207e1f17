"""The service starts with settings that it knows and secrets that are some, and never says what one is set to."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ebill import starting
from ebill.errors import SettingsRefused
from ebill.starting import SETTINGS, in_force, refuse_unsafe

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
