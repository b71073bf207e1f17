import csv
import json
import re
import signal
import socket
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner, Result
from freezegun import freeze_time

from ebill.cli import COMMANDS, fitting, main
from ebill.render.text import table
from tests import books
from tests.books import TEXT, edited
from tests.shell import ENVIRONMENT, pasted

ROOT = Path(__file__).parent.parent
EBILL = Path(sys.executable).parent / "ebill"


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EBILL_STATES", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def said(*arguments: str) -> str:
    ran = run(*arguments)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def refused(*arguments: str) -> list[str]:
    ran = run(*arguments)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    return ran.stderr.splitlines()


def written(tmp_path: Path, text: str, name: str = "new.toml") -> str:
    file = tmp_path / name
    file.write_text(text, "utf-8")
    return str(file)


# ebill schedule


def test_a_schedule_reads_as_a_table_with_weekdays_and_warnings_in_words() -> None:
    output = said("schedule", "--state=PA", "--from=2026-08", "--months=2", "--as-of=2026-08-03")
    lines = output.splitlines()
    assert lines[0] == "PA · America/New_York · as of Mon 2026-08-03"
    assert lines[1].split("  ")[0].strip() == "coverage"
    august = re.split(r"\s{2,}", lines[3].strip())
    assert august == ["2026-08", "Sun 2026-07-12", "Sat 2026-08-01", "Mon 2026-08-31", "Wed 2026-08-12",
                      "Sun 2026-08-09", "Thu 2026-08-06", "in grace"]  # fmt: skip
    assert "! The recommended date is no business day:\n  2026-08  2026-08-09 is no business day: Sunday.\n" in output
    assert "! Some rules are assumed: nobody has confirmed yet: posting, generation.\n" in output
    assert re.search(r"^rule book sha256:[0-9a-f]{16}, holidays [0-9.]+$", lines[-1])


def test_a_warning_of_many_months_is_said_for_three_and_named_for_the_others() -> None:
    output = said("schedule", "--state=PA", "--from=2026-01", "--months=12", "--as-of=2026-08-03")
    block = output.split("! Paid on the recommended date, a payment may post too late:\n")[1].split("\n\n")[0]
    lines = block.splitlines()
    assert len(lines) == 4
    assert [line.split()[0] for line in lines[:3]] == ["2026-01", "2026-02", "2026-03"]
    assert lines[3].startswith("  likewise 2026-04, ")


def test_a_line_is_never_cut_or_wrapped_whatever_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    output = said("schedule", "--state=PA", "--from=2026-08", "--months=1")
    assert "…" not in output
    assert len([line for line in output.splitlines() if line.startswith(" 2026-08 ")]) == 1


def test_a_table_is_as_wide_as_it_needs_to_be() -> None:
    assert table(("of", "moved to"), [("2026-08", "-"), ("-", "Sat 2026-08-01")]) == (
        " of        moved to\n"
        " ────────────────────────\n"
        " 2026-08   -\n"
        " -         Sat 2026-08-01\n"
    )  # fmt: skip


def test_an_explanation_says_the_rule_and_who_says_so() -> None:
    output = said("schedule", "--state=PA", "--from=2026-08", "--months=1", "--explain", "--rule=grace.days=45")
    why = output.split("Why, for 2026-08:\n")[1]
    assert "  generated     Sun 2026-07-12: 20 days before the due date\n" in why
    assert "state PA, since 2000-01: House assumption" in why
    assert "  grace ends    Tue 2026-09-15: 45 days after the due date\n" in why
    assert "client, since 2000-01: given with the question" in why
    assert "passed over Sat 2026-08-08: Saturday" in why


def test_a_move_is_explained() -> None:
    output = said("schedule", "--state=PA", "--from=2026-08", "--months=1", "--explain", "--rule=due.day=1",
                  "--rule=due.roll=following")  # fmt: skip
    assert "moved from Sat 2026-08-01 by roll: 2026-08-01 is no business day of XFED: Saturday" in output


@pytest.mark.parametrize("months", ["7,8", "[7, 8]"])
def test_months_without_an_invoice_are_named(months: str) -> None:
    output = said("schedule", "--state=PA", "--from=2026-06", "--months=3", f"--rule=skip_coverage_months={months}")
    assert "2026-07  not billed: no invoice for July, August\n" in output
    assert "2026-08  not billed: no invoice for July, August\n" in output


def test_a_table_of_names_is_straight_in_any_script() -> None:
    assert table(("name", "role"), [("\u5c71\u7530", "admin"), ("Zoe\u0308", "producer")]).splitlines()[2:] == [
        " \u5c71\u7530   admin",
        " Zoe\u0308    producer",
    ]


def test_where_no_month_is_billed_there_is_no_table() -> None:
    output = said("schedule", "--state=PA", "--from=2026-07", "--months=1", "--rule=skip_coverage_months=7")
    assert "coverage" not in output
    assert "2026-07  not billed: no invoice for July\n" in output


def test_the_last_invoice_has_no_next() -> None:
    output = said(
        "schedule", "--state=PA", "--from=2026-08", "--months=1", "--last-coverage-month=2026-08", "--explain"
    )
    assert re.split(r"\s{2,}", output.splitlines()[3].strip())[4] == "-"
    assert "moved by no next invoice: no next invoice: the due date" in output


def test_a_payment_is_told_in_a_sentence() -> None:
    output = said("schedule", "--state=PA", "--from=2026-08", "--months=1", "--paid-at=2026-08-02T16:00")
    assert (
        "A payment of Sun 2026-08-02 16:00 for 2026-08 is in grace: "
        "received Mon 2026-08-03, posts Wed 2026-08-05 to Thu 2026-08-06 (XFED).\n"
        "The next invoice shows it: yes.\n" in output
    )


def test_as_csv_there_is_a_row_for_each_invoice() -> None:
    rows = list(csv.DictReader(said("schedule", "--state=DE", "--from=2026-08", "--months=2", "--product=cobra",
                                    "--format=csv").splitlines()))  # fmt: skip
    assert [row["coverage_month"] for row in rows] == ["2026-08", "2026-09"]
    assert (rows[0]["state"], rows[0]["product"]) == ("DE", "cobra")
    assert (rows[0]["generation_date"], rows[0]["grace_end_date"]) == ("2026-07-12", "2026-08-31")
    assert "assumed_rule" in rows[0]["warnings"].split()
    assert "due_date_because" not in rows[0]


def test_as_csv_an_explanation_stands_beside_its_date() -> None:
    output = said("schedule", "--state=PA", "--from=2026-08", "--months=1", "--explain", "--format=csv",
                  "--last-coverage-month=2026-08")  # fmt: skip
    (row,) = csv.DictReader(output.splitlines())
    assert row["due_date_because"].startswith("the 1st of the coverage month (default, since 2000-01: Producer Portal")
    assert row["generation_date_because"].endswith("; assumed)")
    assert row["next_generation_date"] == row["next_generation_date_because"] == ""


@freeze_time("2026-09-01T03:59:59Z")
def test_without_a_month_the_one_that_is_current_in_the_state_is_taken() -> None:
    lines = said("schedule", "--state=PA").splitlines()
    assert lines[0].endswith("as of Mon 2026-08-31")
    assert [line.split()[0] for line in lines[3:15]][::11] == ["2026-08", "2027-07"]


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["--state=PA", "--months=0"], ["  --months: must be from 1 to 120"]),
        (["--state=PA", "--months=1.0"], ["  --months: must be a whole number from 1 to 120"]),
        (["--state=PA", "--from=20260801"], [("  --from: must be a coverage month from 2000-01 to 2099-12: "
                                             "a coverage month is written YYYY-MM, such as 2026-08")]),
        (["--state=PA", "--rule=generatoin.day_of_month=9"],
         ['  --rule generatoin: unknown key (did you mean "generation"?)']),
        (["--state=PA", "--rule=grace.days=45.5", "--product=cobr"],
         ["  --rule grace.days: must be a whole number from 0 to 366",
          ('  --product: is no configured product (did you mean "cobra"?); the configured products are '
          "aptc_individual, cobra, medicare_part_d")]),
        (["--state=PA", "--rule=grace.days"],
         ['  --rule: "grace.days" is not of the form KIND.KEY=VALUE, such as grace.days=45']),
        (["--state=PA", "--rule=.days=4"],
         ['  --rule: ".days=4" is not of the form KIND.KEY=VALUE, such as grace.days=45']),
        (["--state=PA", "--rule=grace.=4"],
         ['  --rule: "grace.=4" is not of the form KIND.KEY=VALUE, such as grace.days=45']),
        (["--state=PA", "--rule=grace.days=4", "--rule=grace.days=5"], ["  --rule grace.days: is given twice"]),
        (["--state=PA", "--rule=calendar=XFED", "--rule=calendar=US"], ["  --rule calendar: is given twice"]),
        (["--state=PA", "--rule=calendar=XFED", "--rule=calendar.name=US"],
         ["  --rule calendar.name: is given twice"]),
        (["--state=PA", "--exception=2026-08"],
         [('  --exception 1: "2026-08" is not of the form MONTH:NAME=DATE:REASON, such as '
          "2026-08:due_date=2026-08-03:holiday")]),
        (["--state=PA", "--from=2026-08", "--exception=2026-08:due_date=2026-08-03:a",
          "--exception=2026-09:due_date=2027-09-03:b"],
         ["  --exception 2, due_date: "]),
    ],
)  # fmt: skip
def test_a_refusal_names_each_option_at_fault(arguments: list[str], lines: list[str]) -> None:
    said_of = refused("schedule", *arguments)
    assert said_of[0].startswith("ebill: ")
    if lines[-1].endswith(": "):  # the fault's sentence is the refusal's own
        assert len(said_of) == 1
        assert "365 days from the computed 2026-09-01" in said_of[0] or "367 days" in said_of[0]
    else:
        assert said_of[1:] == lines


def test_an_unknown_state_is_refused_with_every_other_fault() -> None:
    assert refused("schedule", "--state=PQ", "--months=121")[1:] == [
        "  --months: must be from 1 to 120",
        '  --state: No state "PQ" is configured; the configured states are DE, NY, PA, WV.',
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [("45", 45), ("-8", -8), ("0", 0), ("007", "007"), ("1.0", "1.0"), ("true", True), ("false", False),
     ("True", "True"), ("17:00", "17:00"), ("+5", "+5"), ("٣", "٣"), ("", ""), ("9" * 11, "9" * 11)],
)  # fmt: skip
def test_a_value_is_read_as_json_would_write_it(text: str, value: Any) -> None:
    read = fitting(text)
    assert (read, type(read)) == (value, type(value))


# ebill posting


def test_a_posting_window_is_told_with_the_days_passed_over() -> None:
    output = said("posting", "--state=NY", "--paid-at=2026-07-02T16:00")
    assert "received     Thu 2026-07-02\nposts from   Mon 2026-07-06\nposts by     Tue 2026-07-07\n" in output
    assert "calendar XFED" in output
    assert "  passed over Sat 2026-07-04: Independence Day\n  passed over Sun 2026-07-05: Sunday\n" in output


def test_a_posting_window_as_json_and_as_csv() -> None:
    answer = json.loads(said("posting", "--state=NY", "--paid-at=2026-07-02", "--format=json"))
    assert (answer["received_date"], answer["posts_by_date"]) == ("2026-07-02", "2026-07-07")
    (row,) = csv.DictReader(said("posting", "--state=NY", "--paid-at=2026-07-02", "--format=csv").splitlines())
    assert {name: answer[name] for name in row} == row
    assert {"state", "paid_at", "received_date", "posts_from_date", "posts_by_date", "calendar"} <= row.keys()


def test_a_payment_that_is_no_date_is_refused() -> None:
    assert refused("posting", "--state=NY", "--paid-at=2026-02-30")[1].startswith("  --paid-at: must be a date")


# ebill check


def test_a_good_book_is_said_to_be_good(tmp_path: Path) -> None:
    output = said("check", written(tmp_path, TEXT))
    assert re.search(r"new.toml is good: 13 rules, 4 states, 3 products, sha256:[0-9a-f]{16}\n$", output)


def test_a_bad_book_is_refused_with_every_fault_and_its_line(tmp_path: Path) -> None:
    text = edited(("days = 30", "dasy = 30"), ("day_of_month = 12", "day_of_month = true"))
    lines = refused("check", written(tmp_path, text))
    assert lines[0].endswith("new.toml is refused, with 2 faults:")
    assert re.search(
        r'new.toml:[0-9]+: default.rules\[1\].grace.dasy: unknown key \(did you mean "days"\?\)$', lines[1]
    )
    assert re.search(r"new.toml:[0-9]+: states.WV.rules\[0\].generation.day_of_month: must be a whole number", lines[2])


def test_what_deserves_a_second_look_is_said_besides(tmp_path: Path) -> None:
    ran = run("check", written(tmp_path, edited(("day_of_month = 12", "day_of_month = 0xC"))))
    assert ran.exit_code == 0
    assert "0xC is easily misread" in ran.stderr


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in "\n".join(refused("check", str(tmp_path / "none.toml")))


@pytest.mark.parametrize("arguments", [["schedule", "--state=PA"], ["posting", "--state=PA", "--paid-at=2026-08-01"],
                                       ["serve", "--port=1"]])  # fmt: skip
def test_nothing_is_answered_from_a_bad_book(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBILL_STATES", written(tmp_path, edited(("day = 1", "day = 1.0"))))
    assert "new.toml:" in refused(*arguments)[1]


# ebill diff

LATER = books.row("states.WV", "generation = { day_of_month = 13 }", since="2026-10")


def test_a_difference_is_told_state_by_state(tmp_path: Path) -> None:
    old, new = written(tmp_path, TEXT, "old.toml"), written(tmp_path, TEXT + LATER)
    output = said("diff", old, new, "--from=2026-08", "--months=3")
    # The 13th of September and of October; by the bank's calendar, Monday 12 October 2026 is Columbus Day.
    assert output.splitlines()[0] == "WV: 5 dates of 2 months move, 0 of them to an earlier day"
    moves = [re.split(r"\s{2,}", line.strip()) for line in output.splitlines()[3:]]
    assert moves == [
        ["2026-09", "next invoice", "Sat 2026-09-12", "Sun 2026-09-13", "+1"],
        ["2026-09", "pay by", "Wed 2026-09-09", "Thu 2026-09-10", "+1"],
        ["2026-10", "generated", "Sat 2026-09-12", "Sun 2026-09-13", "+1"],
        ["2026-10", "next invoice", "Mon 2026-10-12", "Tue 2026-10-13", "+1"],
        ["2026-10", "pay by", "Fri 2026-10-09", "Sat 2026-10-10", "+1"],
    ]


def test_a_difference_as_json_and_as_csv(tmp_path: Path) -> None:
    files = [written(tmp_path, TEXT, "old.toml"), written(tmp_path, TEXT + LATER)]
    span = ["--from=2026-08", "--months=3"]
    answer = json.loads(said("diff", *files, *span, "--format=json"))
    assert (answer["from"], answer["months"], len(answer["moved"])) == ("2026-08", 3, 5)
    rows = list(csv.DictReader(said("diff", *files, *span, "--format=csv").splitlines()))
    assert [{**row, "product": row["product"] or None} for row in rows] == answer["moved"]


def test_where_nothing_moves_that_is_said(tmp_path: Path) -> None:
    file = written(tmp_path, TEXT)
    assert said("diff", file, file, "--from=2026-08") == "No date moves in the 24 months from 2026-08.\n"


def test_states_and_products_that_come_and_go_are_named(tmp_path: Path) -> None:
    fifth = books.section("states.OH", "generation = { days_before_due = 20 }")
    old, new = written(tmp_path, TEXT, "old.toml"), written(tmp_path, TEXT + fifth)
    assert said("diff", old, new) == "New state: OH\n"
    assert said("diff", new, old) == "State no longer there: OH\n"


@pytest.mark.parametrize(("options", "fault"), [
    (["--from=2026-8"], "  --from: a coverage month is written YYYY-MM, such as 2026-08"),
    (["--from=2099-01"], "  --months: must end by 2099-12, the last supported coverage month"),
])  # fmt: skip
def test_a_span_that_is_not_supported_is_refused(options: list[str], fault: str, tmp_path: Path) -> None:
    file = written(tmp_path, TEXT)
    assert refused("diff", file, file, *options)[1:] == [fault]


# ebill serve, and the command as a whole


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_it_serves_and_prints_a_curl_line_that_works(tmp_path: Path) -> None:
    port = free_port()
    command = [str(EBILL), "serve", "--demo", f"--port={port}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path, env=ENVIRONMENT
    ) as server:
        try:
            assert server.stdout is not None
            greeting = "".join(takewhile(lambda line: line != "Ctrl-C ends it.\n", server.stdout))
            assert f"http://127.0.0.1:{port}/docs\n" in greeting
            with urlopen(f"http://127.0.0.1:{port}/docs", timeout=30) as page:
                assert page.status == 200
            output, _ = pasted(greeting.split("try it")[1].split("\n")[0].strip(), tmp_path)
            (invoice,) = json.loads(output)["invoices"]
            assert (invoice["coverage_month"], invoice["due_date"]) == ("2026-08", "2026-08-01")
            for line in re.findall(r"^    (curl .*)$", greeting, re.MULTILINE):
                output, _ = pasted(line, tmp_path)
                assert {"bill_accounts", "data"} & json.loads(output).keys()
            assert len(re.findall(r"^  sign in at .* as sample-", greeting, re.MULTILINE)) == 3
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
        finally:
            server.kill()


def test_an_address_that_is_taken_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (line,) = refused("serve", f"--port={port}")
    assert (
        line == f"ebill: Nothing can be served at 127.0.0.1:{port}: address already in use. Choose another with --port."
    )


@pytest.mark.parametrize("setting", ["EBILL_PUBLIC_URL", "EBILL_WEBHOOK_NETWORKS"])
def test_a_setting_that_cannot_be_meant_is_not_served(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, "here")
    assert refused("serve", "--port=8")[0].startswith(f"ebill: {setting} must be ")


def test_help_names_every_command() -> None:
    output = said("--help")
    assert all(re.search(rf"^  {name} ", output, re.MULTILINE) for name in COMMANDS)
    assert "No such command 'scheduel' (did you mean \"schedule\"?)." in run("scheduel").output


def test_an_unexpected_fault_is_not_taken_for_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebill.cli.dates.service.answer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("schedule", "--state=PA", "--from=2026-08")


def test_the_command_asks_for_no_web_server_to_tell_dates() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from ebill.cli import main; "
        "CliRunner().invoke(main, ['schedule', '--state=PA', '--format=json'], catch_exceptions=False); "
        "print([name for name in ('flask', 'granian', 'sqlalchemy', 'rich') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"[]\n"
