"""What is slow to load is loaded by what needs it alone, and what was worked out beforehand is what would be now."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from ebill import bound, dates, grammar
from ebill.cli import later
from ebill.store import engine
from tests import bound as writer

pytestmark = pytest.mark.anywhere

ROOT = Path(__file__).parent.parent
HEAVY = frozenset(
    [
        "alembic",
        "apispec",
        "argon2",
        "asyncio",
        "dateutil",
        "difflib",
        "ebill.preview",
        "flask",
        "granian",
        "holidays",
        "http.server",
        "importlib.metadata",
        "jinja2",
        "multiprocessing",
        "numpy.ma",
        "psycopg",
        "pyarrow",
        "rich",
        "sqlalchemy",
        "tree_sitter",
        "unittest",
        "werkzeug",
    ]
)
QUESTION = ["--state", "PA", "--as-of", "2026-08-03", "--from", "2026-08"]
COMMANDS: dict[str, tuple[list[str], frozenset[str]]] = {
    "the dates": (["schedule", *QUESTION], frozenset()),
    "as JSON": (["schedule", *QUESTION, "--format", "json"], frozenset()),
    "as CSV": (["schedule", *QUESTION, "--format", "csv"], frozenset()),
    "with why": (["schedule", *QUESTION, "--explain"], frozenset()),
    "a refusal": (["schedule", *QUESTION, "--months", "0"], frozenset()),
    "a refusal with a hint": (["schedule", *QUESTION, "--rule", "grace.dayz=1"], frozenset({"difflib"})),
    "a payment": (["posting", "--state", "NY", "--paid-at", "2026-07-02"], frozenset()),
    "a rule book": (["check", "config/states.toml"], frozenset({"ebill.preview", "tree_sitter"})),
}
LOADED = """
import sys
from ebill.cli import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_light_command_loads_nothing_heavy(name: str) -> None:
    arguments, needed = COMMANDS[name]
    run = subprocess.run([sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, cwd=ROOT)  # noqa: PLW1510
    loaded = set(run.stderr.rpartition("loaded:")[2].split())
    assert "ebill.cli" in loaded, run.stderr
    assert HEAVY & loaded == needed


def test_nobody_looks_for_garbage_in_what_a_command_is_made_of() -> None:
    code = (
        "import gc; from ebill.cli import main; main(['posting', '--state=NY', '--paid-at=2026-07-02'], "
        "standalone_mode=False); print(gc.isenabled(), gc.get_freeze_count() > 20_000)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).endswith("\nTrue True\n")


def test_no_thread_waits_for_what_nobody_asks_of_numpy() -> None:
    code = (
        "import os; os.environ.pop('OPENBLAS_NUM_THREADS', None); from ebill.cli import main; "
        "main(['posting', '--state=NY', '--paid-at=2026-07-02'], standalone_mode=False); "
        "print(len(os.listdir('/proc/self/task')))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).endswith("\n1\n")


def test_the_pattern_of_mail_addresses_is_compiled_when_it_is_first_asked() -> None:
    code = (
        "import re; ours = re.compile; from ebill.cli import main; "
        "main(['posting', '--state=NY', '--paid-at=2026-07-02'], standalone_mode=False); "
        "from marshmallow import ValidationError, validate; waits = type(validate.Email.DOMAIN_REGEX).__name__\n"
        "try: validate.Email()('somebody@example_org')\n"
        "except ValidationError as refused: print(waits, refused, validate.Email()('a@Example.ORG'), "
        "validate.Email.DOMAIN_REGEX.flags, re.compile is ours)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
    assert said.endswith("Later Not a valid email address. a@Example.ORG 34 True\n")


def test_every_other_pattern_is_compiled_at_once() -> None:
    with pytest.raises(re.error), later.compiling():
        re.compile("(")
    with later.compiling():
        found = [re.compile("[a-\uffff]"), re.compile("a", re.IGNORECASE), re.compile(b"a", re.IGNORECASE)]
    assert {type(each) for each in found} == {re.Pattern}


def test_to_load_the_service_needs_no_migrations_and_no_holidays() -> None:
    code = "import sys, ebill.web; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split()
    assert {"alembic", "holidays", "pyarrow"} & set(loaded) == set()


def test_the_calendar_computed_beforehand_is_what_the_library_computes() -> None:
    assert metadata.version("holidays") == bound.RELEASE, "run python -m tests.bound"
    assert Path(bound.__file__).read_text("utf-8") == writer.text()
    shipped, computed = dates.library_calendar("XFED"), dates.computed_calendar("XFED")
    assert (shipped.name, shipped.first, shipped.last, shipped.weekend) == (
        computed.name,
        computed.first,
        computed.last,
        computed.weekend,
    )
    assert dict(shipped.closures) == dict(computed.closures)


def test_with_another_release_the_library_computes_its_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "RELEASE", "0.108")
    monkeypatch.setattr(bound, "CLOSED", {})
    assert len(dates.library_calendar.__wrapped__("XFED").closures) > 1_000


def test_the_release_of_the_library_is_the_one_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dates.library_release() == metadata.version("holidays")
    monkeypatch.setattr(dates, "find_spec", lambda _: None)
    assert dates.library_release.__wrapped__() == metadata.version("holidays")


def test_the_zones_that_are_found_fast_are_zones() -> None:
    assert grammar._shipped_zones() <= grammar.zones()
    assert "America/New_York" in grammar._shipped_zones()


def test_the_newest_migration_is_the_one_that_alembic_finds() -> None:
    assert engine.newest_revision() == ScriptDirectory.from_config(engine._alembic()).get_current_head()
