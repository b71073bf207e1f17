"""The import direction holds, and the check of it can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    linter = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([linter, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)


def copy(to: Path) -> Path:
    shutil.copytree(ROOT / "ebill", to / "ebill", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", to)
    return to


def test_a_module_imports_only_from_those_below_it(tmp_path: Path) -> None:
    found = lint_imports(copy(tmp_path))
    assert found.returncode == 0, found.stdout


def test_an_import_against_the_direction_is_found(tmp_path: Path) -> None:
    root = copy(tmp_path)
    with (root / "ebill" / "dates.py").open("a") as file:
        file.write("\nfrom ebill import service as _service  # noqa\n")
    assert lint_imports(root).returncode != 0


def test_a_framework_in_the_rules_is_found(tmp_path: Path) -> None:
    root = copy(tmp_path)
    with (root / "ebill" / "rules.py").open("a") as file:
        file.write("\nimport flask as _flask  # noqa\n")
    assert lint_imports(root).returncode != 0
