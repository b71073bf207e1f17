"""What the README says is what happens: every command in it is run, every answer in it is the one that comes."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from ebill.grammar import KINDS
from tests.shell import ENVIRONMENT, pasted

pytestmark = pytest.mark.anywhere

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
CONSOLE = re.findall(r"```console\n\$ ([^\n]+)\n(.*?)```", README, re.DOTALL)
SERVED = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks to a command like the one a reader stands in."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.prefix) / "bin" / "ebill"), "serve", "--demo", f"--port={port}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=place, env=ENVIRONMENT
    ) as server:
        try:
            assert server.stdout is not None
            list(takewhile(lambda line: line != "Ctrl-C ends it.\n", server.stdout))
            yield f"http://127.0.0.1:{port}"
            server.send_signal(signal.SIGINT)
            server.wait(30)
        finally:
            server.kill()


def ran(command: str, folder: Path) -> str:
    output, errors = pasted(command, folder)
    return output if "curl" in command else output + errors


def agrees(answer: str, expected: str) -> bool:
    """Tell whether an answer is the expected one, in which … stands for whatever is new each time."""
    if expected.startswith("{"):
        answer, expected = (json.dumps(json.loads(each), ensure_ascii=False) for each in (answer, expected))
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, answer.strip()) is not None


@pytest.fixture(scope="module")
def before() -> set[int]:
    """What a reader has done so far, who goes through the README from its beginning."""
    return set()


@pytest.mark.parametrize("number", range(len(CONSOLE)), ids=[command for command, _ in CONSOLE])
def test_a_command_is_answered_as_the_readme_says(number: int, place: Path, served: str, before: set[int]) -> None:
    for earlier in sorted(set(range(number)) - before):
        ran(CONSOLE[earlier][0].replace(SERVED, served), place)
    before.update(range(number + 1))
    command, expected = CONSOLE[number]
    answer = ran(command.replace(SERVED, served), place)
    assert agrees(answer, expected), answer


def test_nothing_in_the_readme_is_left_out() -> None:
    assert len(CONSOLE) == README.count("```console") >= 7
    assert README.count("```") == 2 * len(CONSOLE)


@pytest.mark.parametrize("target", re.findall(r"^    make ([a-z]+) ", README, re.MULTILINE))
def test_the_makefile_has_what_the_readme_names(target: str) -> None:
    assert target in ("run", "test")
    done = subprocess.run(["make", "--dry-run", target], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:ebill|config|tests)/[a-z_./]*)`", README))))
def test_the_map_names_what_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_map_leaves_no_module_out() -> None:
    code = README.split("## The code")[1]
    names = {file.name if file.suffix else f"{file.name}/" for file in (ROOT / "ebill").iterdir()}
    assert {name for name in names if not name.startswith("_") and name not in code} == set()


def test_every_kind_of_rule_is_shown() -> None:
    assert [kind for kind in KINDS if f"`{kind}`" not in README] == []


def test_the_changes_say_first_which_dates_change() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for release in changes.split("\n## ")[1:]:
        assert re.findall(r"^### (.*)$", release, re.MULTILINE)[0] == "Dates that change"


@pytest.mark.parametrize("has_them", [True, False])
def test_a_line_is_run_with_curl_and_jq_or_without(
    has_them: bool, monkeypatch: pytest.MonkeyPatch, served: str, tmp_path: Path
) -> None:
    if not has_them:
        monkeypatch.setattr("tests.shell.shutil.which", lambda _: None)
    output, _ = pasted(f"curl -s {served}/livez -H 'Accept: application/json'", tmp_path)
    assert json.loads(output) == {"status": "alive"}
    refused, _ = pasted(f"curl -s {served}/v1/calculate -H 'Content-Type: application/json' -d '[]'", tmp_path)
    assert json.loads(refused)["code"] == "invalid_input"
    piped, _ = pasted(f"curl -s {served}/livez | jq -r '.status, [.status, 1]'", tmp_path)
    assert piped.split() == ["alive", "[", '"alive",', "1", "]"]
