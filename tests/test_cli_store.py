import csv
import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from ebill import passwords
from ebill.cli import main
from ebill.store import grants, keys, sessions, users
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.tables import audit
from tests.books import TEXT, edited
from tests.migrating import upgrade_to


@pytest.fixture(autouse=True)
def url(store_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("EBILL_DATABASE_URL", store_url)
    monkeypatch.delenv("EBILL_STATES", raising=False)
    return store_url


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def said(*arguments: str) -> str:
    ran = run(*arguments)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def refused(*arguments: str) -> str:
    ran = run(*arguments)
    assert ran.exit_code == 2, ran.output
    assert ran.stdout == ""
    return ran.stderr


def written(tmp_path: Path, text: str, name: str) -> str:
    file = tmp_path / name
    file.write_text(text, "utf-8")
    return str(file)


CLIENTS = """record,client_id,team_id,name,state,account_id,kind,since,rule,cite
client,ACME-1,east,Alderwick Orchards,PA,,,,,
bill_account,ACME-1,,Medical,,MED,medical,,,
rule,ACME-1,,,,,,2026-01,"{""grace"": {""days"": 45}}",agreement
"""


@pytest.fixture
def imported(tmp_path: Path) -> None:
    said("team", "add", "east", "--name=East")
    said("import", written(tmp_path, CLIENTS, "clients.csv"))


# db


def test_a_store_is_brought_up_to_date() -> None:
    assert said("db", "upgrade").startswith("The store is up to date: ")


def test_a_store_is_made_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")
    assert "ebill db upgrade" in refused("user", "list")
    assert said("db", "upgrade").startswith("The store is made: sqlite:///")
    assert "user" in said("user", "list")


def test_a_password_of_the_store_is_not_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    if url.startswith("postgresql"):
        monkeypatch.setenv("EBILL_DATABASE_URL", url.replace("ebill@", "ebill:a-secret@"))
        assert "a-secret" not in said("db", "upgrade")


@pytest.mark.usefixtures("imported")
def test_a_backup_is_a_whole_store_and_overwrites_nothing(tmp_path: Path, url: str) -> None:
    copy = tmp_path / "copy.db"
    if url.startswith("postgresql"):
        assert "pg_dump" in refused("db", "backup", str(copy))
        return
    assert "whole copy" in said("db", "backup", str(copy))
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT client_id FROM client").fetchall() == [("ACME-1",)]
    connection.close()
    assert "exists already" in refused("db", "backup", str(copy))
    assert "There is a store already" in refused("db", "restore", str(copy))


def test_a_backup_that_is_not_whole_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_DATABASE_URL", f"sqlite:///{tmp_path}/restored.db")
    odd, altered, none = tmp_path / "odd", tmp_path / "altered", tmp_path / "none"
    odd.write_bytes(b"no database" * 1_000)
    assert "cannot be restored" in refused("db", "restore", str(odd))
    assert "is no file" in refused("db", "restore", str(none))
    monkeypatch.setenv("EBILL_DATABASE_URL", f"sqlite:///{altered}")
    said("db", "upgrade")
    said("team", "add", "north", "--name", "North")
    with sqlite3.connect(altered) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET actor = 'somebody'")
    connection.close()
    monkeypatch.setenv("EBILL_DATABASE_URL", f"sqlite:///{tmp_path}/restored.db")
    assert "the audit does not hold at row 1" in refused("db", "restore", str(altered))
    assert not (tmp_path / "restored.db").exists()


def test_a_backup_of_an_older_release_is_restored_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"sqlite:///{tmp_path}/old.db")
    upgrade_to(store, "0001")
    store.close()
    monkeypatch.setenv("EBILL_DATABASE_URL", f"sqlite:///{tmp_path}/restored.db")
    assert "ebill db upgrade" in said("db", "restore", str(tmp_path / "old.db"))
    assert "up to date" in said("db", "upgrade")


def test_a_rotated_key_is_noted_in_the_audit_and_shown_nowhere(url: str) -> None:
    assert "opens until" in said("db", "rotate-key")
    assert "opens nothing" in said("db", "rotate-key", "--at-once")
    store = Store(url)
    with store.reading() as connection:
        rows = connection.execute(select(audit.c.actor, audit.c.after).where(audit.c.action == "rotate_key")).all()
        key = keys.seal(connection)
    store.close()
    assert [(row.actor, orjson.loads(row.after)["before_opens_until"] is None) for row in rows] == [
        ("command", False),
        ("command", True),
    ]
    assert key is not None
    assert key.hex() not in str(rows)


@pytest.mark.usefixtures("imported")
def test_the_audit_is_checked() -> None:
    assert re.match(r"The audit holds: 2 rows, the last with hash [0-9a-f]{64}\n", said("db", "check"))


@pytest.mark.usefixtures("imported")
def test_an_audit_that_was_tampered_with_is_found(url: str) -> None:
    with (
        closing(Store(url)) as store,
        store.engine.connect().execution_options(ebill_writing=True) as connection,
        connection.begin(),
    ):
        if url.startswith("sqlite"):
            connection.exec_driver_sql("DROP TRIGGER audit_no_update")
        else:
            connection.exec_driver_sql("ALTER TABLE audit DISABLE TRIGGER USER")
        connection.exec_driver_sql("UPDATE audit SET actor = 'nobody' WHERE sequence = 1")
    assert "does not hold at row 1" in refused("db", "check")


# people


def test_a_producer_gets_what_the_state_gives_and_is_listed() -> None:
    said("user", "add", "pat", "--name=Pat", "--role=producer", "--state=NY")
    said("user", "add", "sam", "--name=Sam", "--role=producer", "--entitlement=renewals")
    lines = [re.split(r"\s{2,}", line.strip()) for line in said("user", "list").splitlines()[2:]]
    assert lines == [
        ["pat", "Pat", "producer", "NY",
         "client_administration, general_agency_administrator, renewals, small_group_quotes"],
        ["sam", "Sam", "producer", "PA", "renewals"],
    ]  # fmt: skip


def test_a_user_is_made_once_whatever_the_case() -> None:
    said("user", "add", "pat", "--name=Pat", "--role=admin")
    assert "is taken" in refused("user", "add", "PAT", "--name=Pat", "--role=admin")
    assert "--state: is no configured state" in refused("user", "add", "sam", "--name=S", "--role=admin", "--state=OH")


def test_a_disabled_user_is_let_in_no_more() -> None:
    said("user", "add", "pat", "--name=Pat", "--role=producer")
    said("user", "disable", "pat")
    assert said("user", "list").rstrip().endswith("disabled")
    assert "no user" in refused("user", "disable", "nobody")


def test_the_last_administrator_stays() -> None:
    said("user", "add", "pat", "--name=Pat", "--role=admin")
    assert "last administrator" in refused("user", "disable", "pat")


def test_a_password_is_kept_as_a_hash_and_ends_the_sessions(url: str) -> None:
    said("user", "add", "pat", "--name=Pat Vexley", "--role=producer")
    with closing(Store(url)) as store:
        with store.writing(By("a test", datetime.now(UTC))) as write:
            cookie = sessions.new_session(write.connection, "pat", write.at)
            write.audit("sign_in")
        typed = CliRunner().invoke(main, ["user", "password", "pat", "--stdin"], input="a lantern in the fog\n")
        assert typed.exit_code == 0
        with store.reading() as connection:
            kept = users.password_of(connection, "pat")
            assert sessions.session_user(connection, cookie, datetime.now(UTC)) is None
    assert passwords.matches(kept, "a lantern in the fog")
    assert not passwords.matches(kept, "a lantern in the fog\n")


@pytest.mark.parametrize(("password", "why"), [("short", "at least 8"), ("pat vexley", "first that anybody would try")])
def test_a_weak_password_is_refused(password: str, why: str) -> None:
    said("user", "add", "pat", "--name=Pat Vexley", "--role=producer")
    typed = CliRunner().invoke(main, ["user", "password", "pat", "--stdin"], input=password)
    assert typed.exit_code == 2
    assert why in typed.stderr


def test_a_token_is_printed_alone_and_once_and_can_be_revoked() -> None:
    said("user", "add", "pat", "--name=Pat", "--role=producer")
    made = run("token", "make", "pat", "--days=7")
    assert re.fullmatch(r"ebp_\w+\n", made.stdout)
    token_id = made.stderr.split()[1]
    listed = said("token", "list", "pat")
    assert token_id in listed
    assert made.stdout.strip() not in listed
    said("token", "revoke", token_id)
    assert "revoked" in said("token", "list")
    assert "no token" in refused("token", "revoke", token_id)
    assert "no user" in refused("token", "make", "nobody")


@pytest.mark.usefixtures("imported")
def test_a_token_may_be_for_reading_and_for_clients_that_its_user_sees() -> None:
    said("user", "add", "pat", "--name=Pat", "--role=producer")
    said("grant", "add", "pat", "ACME-1")
    said("token", "make", "pat", "--read-only", "--client", "ACME-1")
    said("token", "make", "pat", "--name=of all")
    assert [re.split(r"  +", line)[4:] for line in said("token", "list", "pat").splitlines()[2:]] == [
        ["read only", "ACME-1"],
        ["all"],
    ]
    said("user", "add", "sue", "--name=Sue", "--role=producer")
    unseen, unknown = (refused("token", "make", "sue", "--client", which) for which in ("ACME-1", "NOBODY-1"))
    assert unseen.replace("ACME-1", "NOBODY-1") == unknown
    assert "no client NOBODY-1" in unknown


@pytest.mark.usefixtures("imported")
def test_grants_are_given_and_taken_all_or_none(url: str) -> None:
    said("user", "add", "pat", "--name=Pat", "--role=producer")
    assert "no client ACME-2" in refused("grant", "add", "pat", "ACME-1", "ACME-2")
    store = Store(url)

    def granted() -> list[str]:
        with store.reading() as connection:
            return grants.granted(connection, "pat")

    assert granted() == []
    said("grant", "add", "pat", "ACME-1")
    said("grant", "add", "pat", "ACME-1", "ACME-1")
    assert granted() == ["ACME-1"]
    said("grant", "remove", "pat", "ACME-1")
    assert granted() == []
    store.close()


# import, export, diff


@pytest.mark.usefixtures("imported")
def test_an_import_tells_what_it_kept_and_an_export_reads_the_same(tmp_path: Path) -> None:
    exported = said("export", "clients")
    rows = list(csv.DictReader(exported.splitlines()))
    assert [row["record"] for row in rows] == ["client", "bill_account", "rule"]
    assert json.loads(rows[2]["rule"]) == {"grace": {"days": 45}}
    again = json.loads(said("import", written(tmp_path, exported, "again.csv")))
    assert again["rows_unchanged"] == 3
    file = tmp_path / "out.csv"
    assert "1 clients" in run("export", "clients", "-o", str(file)).stderr
    assert file.read_text("utf-8").splitlines() == exported.splitlines()
    assert "overwrites nothing" in refused("export", "clients", "-o", str(file))
    assert said("export", "clients", "-o", "-") == exported
    listed = said("deadlines", "--all", "--format=csv")
    assert said("deadlines", "--all", "--format=csv", "-o", "-") == listed
    assert not Path("-").exists()


def test_a_dry_run_keeps_nothing(tmp_path: Path) -> None:
    said("team", "add", "east", "--name=East")
    answer = json.loads(said("import", "--dry-run", written(tmp_path, CLIENTS, "clients.csv")))
    assert answer["dry_run"] is True
    assert len(said("export", "clients").splitlines()) == 1


def test_a_bad_import_names_every_cell(tmp_path: Path) -> None:
    said("team", "add", "east", "--name=East")
    text = CLIENTS.replace("PA,,,,,", "QQ,,,,,").replace("45", "true")
    lines = refused("import", written(tmp_path, text, "clients.csv")).splitlines()
    assert lines[0] == "ebill: The file has 2 faults; nothing was imported."
    assert lines[1].startswith("  line 2, state: ")
    assert lines[2].startswith("  line 4, rule: ")


@pytest.mark.usefixtures("imported")
def test_a_changed_book_is_compared_over_the_accounts_of_the_store(tmp_path: Path) -> None:
    new = written(tmp_path, edited(("days_before_due = 20", "days_before_due = 22")), "new.toml")
    options = ["diff", "--against-store", new, "--from=2027-01", "--months=1"]
    output = said(*options)
    assert output.startswith("In the coverage months 2027-01 to 2027-01, 1 of 1 account change:\n")
    # 22 days before 2027-01-01 and 2027-02-01, in place of 20.
    assert re.search(r"2027-01 +generated +Sat 2026-12-12 +Thu 2026-12-10 +-2\n", output)
    assert re.search(r"2027-01 +next invoice +Tue 2027-01-12 +Sun 2027-01-10 +-2\n", output)
    answer = json.loads(said(*options, "--format=json"))
    assert answer["counts"]["accounts_changed"] == 1
    rows = list(csv.DictReader(said(*options, "--format=csv").splitlines()))
    assert {(row["client_id"], row["account_id"]) for row in rows} == {("ACME-1", "MED")}
    assert rows[0] | {"before": "2026-12-12", "after": "2026-12-10"} == rows[0]
    assert "give two files" in run("diff", new).output


@pytest.mark.usefixtures("imported")
def test_a_book_that_leaves_accounts_without_dates_says_so(tmp_path: Path) -> None:
    new = written(tmp_path, TEXT.replace("states.PA", "states.PX"), "new.toml")
    output = said("diff", "--against-store", new, "--from=2027-01", "--months=1")
    assert "! 1 account would be left without dates: " in output
    assert "ACME-1/MED" in output


def test_to_look_at_a_store_that_is_not_there_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    for command in (("db", "check"), ("user", "list"), ("export", "clients"), ("deadlines", "--all")):
        assert "There is no store yet" in refused(*command)
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_what_is_no_option_is_named_as_what_it_is() -> None:
    said("user", "add", "pat", "--name=Pat", "--role=admin")
    assert "\n  disabled: is the last administrator" in refused("user", "disable", "pat")
    assert "\n  --name: " in refused("team", "add", "north", "--name=")
    assert "\n  client_ids/0: there is no client C-X" in refused("token", "make", "pat", "--client=C-X")


# demo


def test_a_sample_book_is_made_once_and_gives_new_tokens_each_time() -> None:
    first = run("demo", "--clients=3")
    assert first.exit_code == 0
    assert "3 clients with" in first.stderr
    second = run("demo", "--clients=3")
    assert second.stderr.startswith("The sample book is here already; these are new tokens")
    users = [line.split()[0] for line in second.stdout.splitlines()]
    assert users == ["sample-producer", "sample-manager", "sample-admin"]
    assert first.stdout != second.stdout


def test_a_sample_book_goes_into_no_store_that_is_in_use() -> None:
    said("user", "add", "pat", "--name=Pat", "--role=admin")
    assert "empty store only" in refused("demo")
