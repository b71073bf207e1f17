"""What the service is made of: each part of it pinned by its hashes, from wherever it is fetched, and free to use."""

import re
from pathlib import Path

import pytest

from tests.licences import licences, pins

pytestmark = pytest.mark.anywhere

ROOT = Path(__file__).parent.parent
LOCKS = sorted(ROOT.glob("requirements*.lock"))
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "PSF-2.0", "Zlib"),
    "LGPL-3.0-only",  # psycopg: used as a library, and changed by nobody
    "MPL-2.0",  # certifi and orjson: the same
}


def test_every_part_has_a_licence_that_is_allowed() -> None:
    found = licences()
    for package, told in found.items():
        named = set(re.split(r"\s+(?:AND|OR)\s+|[()]", told)) - {""}
        assert named, f"{package} does not say its licence"
        assert named <= ALLOWED, f"{package}: {told}"
    assert len(found) >= len(pins()) - 3  # those for other systems


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_part_is_pinned_by_its_hashes_and_no_host_is_named(lock: Path) -> None:
    text = lock.read_text("utf-8")
    entries = re.findall(r"^(?![ #])(\S.*(?:\n(?: |#).*)*)", text, re.MULTILINE)
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert not re.search(r"https?:|://|--(extra-)?index-url|--find-links|@ ", text)


def test_every_tool_that_fetches_wants_the_hashes() -> None:
    """The one line of the Makefile that makes the environment of pip, and all of uv's."""
    lines = [line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if re.search(r"\.lock$", line)]
    fetching = [line for line in lines if re.search(r"^\t.*(pip (install|sync)|PIP\) (install|sync))", line)]
    assert len(fetching) >= 5
    assert all("require-hashes" in line or "$(HASHED)" in line for line in fetching)


def test_nothing_is_fetched_while_it_runs() -> None:
    for file in [*(ROOT / "ebill").rglob("*.html"), *(ROOT / "ebill").rglob("*.css"), *(ROOT / "ebill").rglob("*.js")]:
        assert not re.search(r"""(src|href|url\(|@import)\s*[=(]?\s*["']?(https?:)?//""", file.read_text("utf-8")), file
