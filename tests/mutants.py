"""Plant faults in the modules that give dates, and list those that no test sees: `make mutants`.

mutmut plants what it can: in functions and methods, one fault at a time, in a process that has run the tests once
before. Three things are beyond it, and are planted here, each in a copy of the tree and with a process of its own:

- what a module or a class does as it is read: constants, the fields of a rule and their defaults
- whatever stands behind a decorator: properties, and functions that remember what they found
- the other direction of a bound, since of a number it makes the next one only

Which text takes the place of which is listed in `mutants.toml`, and there, too, is every fault that no test can see,
with the reason why it is none. Which tests look is said once, for both, in pyproject.toml.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
MUTMUT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
LISTED: dict[str, Any] = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())
FAILED = (1, 2)
"""How pytest ends when a test fails, or cannot even be collected."""
ACCESS = "ebill/access.py"
"""Who may do what: planted from the list alone, since its tests need stores, of which mutmut's processes have none."""
ACCESS_TESTS = ("tests/test_access.py", "tests/test_trust.py::test_a_goal_holds[G2-sqlite]")


class Mutant(NamedTuple):
    """A fault: the lines that it changes, before and after. The function is not named where the text says enough."""

    file: str
    function: str
    before: str
    after: str

    def __str__(self) -> str:
        lines = [f"-{line}" for line in self.before.split("\n")] + [f"+{line}" for line in self.after.split("\n")]
        return "\n".join([f"{self.file} {self.function}".rstrip(), *lines])


def of_mutmut(files: Sequence[str], jobs: int) -> tuple[list[Mutant], int]:
    """Run mutmut from the start; give the faults that survive, and how many there were."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    shutil.rmtree("mutants", ignore_errors=True)
    patterns = [f"{file.removesuffix('.py').replace('/', '.')}.x*" for file in files]
    everything = files == MUTMUT["only_mutate"]
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(jobs)]
    subprocess.run([*command, *(() if everything else patterns)], check=True)
    survivors, count = [], 0
    for file in files:
        codes: dict[str, int | None] = json.loads(Path("mutants", f"{file}.meta").read_text())["exit_code_by_key"]
        count += len(codes)
        for key, code in codes.items():
            if status_by_exit_code[code] not in ("killed", "timeout"):
                name, class_name = orig_function_and_class_names_from_key(key)
                diff = get_diff_for_mutant(key, path=file).split("\n")[2:]
                before, after = ("\n".join(line[1:].strip() for line in diff if line[0] == sign) for sign in "-+")
                survivors.append(Mutant(file, f"{class_name}.{name}" if class_name else name, before, after))
    return survivors, count


def planted(files: Sequence[str]) -> Iterator[Mutant]:
    """Give the faults that the list plants: of each row the first text, with each other one in its place."""
    for file in files:
        text = Path(file).read_text()
        for before, *others in LISTED["planted"].get(file, ()):
            if text.count(before) != 1:
                raise SystemExit(f"tests/mutants.toml: in {file} there is not one place alone to plant in: {before}")
            yield from (Mutant(file, "", before, after) for after in others)


def tests_fail(tree: Path, file: str) -> bool:
    """Run the tests in a tree: those of the module, and the others where these all pass."""
    if file == ACCESS:
        return any(
            map(partial(_fails, tree), ([name] for name in ACCESS_TESTS if (tree / name.partition("::")[0]).exists()))
        )
    own = f"tests/test_{Path(file).name}"
    selection = MUTMUT["pytest_add_cli_args_test_selection"]
    command = [sys.executable, "-m", "pytest", "-x", "-q", *MUTMUT["pytest_add_cli_args"]]
    command += [argument for argument in selection if argument.startswith("-")]
    for tests in ([own], [name for name in selection if name != own and not name.startswith("-")]):
        ran = subprocess.run([*command, *tests], cwd=tree, check=False, capture_output=True, text=True)
        if ran.returncode not in (0, *FAILED):
            raise SystemExit(ran.stdout + ran.stderr)
        if ran.returncode in FAILED:
            return True
    return False


def _fails(tree: Path, tests: Sequence[str]) -> bool:
    """Run some tests with all that they need, on SQLite."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-pno:cacheprovider", "-k", "not postgresql", *tests]
    ran = subprocess.run(command, cwd=tree, check=False, capture_output=True, text=True)
    if ran.returncode not in (0, *FAILED):
        raise SystemExit(ran.stdout + ran.stderr)
    return ran.returncode in FAILED


def of_the_list(files: Sequence[str], jobs: int) -> tuple[list[Mutant], int]:
    """Plant what the list says; give the faults that survive, and how many there were."""
    with TemporaryDirectory() as folder:
        sound = Path(folder, "sound")
        sound.mkdir()
        for name in (*MUTMUT["source_paths"], *MUTMUT["also_copy"], "pyproject.toml", "tests"):
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy2
            copy(name, sound / name)
        if tests_fail(sound, files[0]):
            raise SystemExit("The tests fail where nothing is planted.")

        def survives(numbered: tuple[int, Mutant]) -> bool:
            number, mutant = numbered
            tree = Path(shutil.copytree(sound, Path(folder, str(number))))
            text = (tree / mutant.file).read_text()
            (tree / mutant.file).write_text(text.replace(mutant.before, mutant.after))
            failed = tests_fail(tree, mutant.file)
            shutil.rmtree(tree)
            return not failed

        mutants = list(planted(files))
        with ThreadPoolExecutor(jobs) as pool:
            survived = list(pool.map(survives, enumerate(mutants)))
    return [mutant for mutant, alive in zip(mutants, survived, strict=True) if alive], len(mutants)


def main() -> None:
    """Plant all faults; fail for a survivor that is not accepted, and name what is accepted and no longer survives."""
    os.chdir(ROOT)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "files", nargs="*", default=[*MUTMUT["only_mutate"], ACCESS], help="modules, such as ebill/dates.py"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once (default: all cores)")
    options = parser.parse_args()
    accepted = {
        Mutant(entry["file"], entry.get("function", ""), entry["before"].strip(), entry["after"].strip())
        for entry in LISTED["accepted"]
        if entry["file"] in options.files
    }
    dated = [file for file in options.files if file != ACCESS]
    made, made_count = of_mutmut(dated, options.jobs) if dated else ([], 0)
    listed, listed_count = of_the_list(options.files, options.jobs)
    survivors = [*made, *listed]
    sys.stdout.write(
        f"{made_count} faults by mutmut and {listed_count} planted from the list: {len(survivors)} survive, "
        f"{len(accepted)} are accepted.\n"
    )
    for mutant in sorted(accepted.difference(survivors)):
        sys.stdout.write(f"\nAccepted, but does not survive: {mutant}\n")
    if unexplained := [mutant for mutant in survivors if mutant not in accepted]:
        sys.exit("\n".join(f"\nNo test sees: {mutant}" for mutant in unexplained))


if __name__ == "__main__":
    main()
