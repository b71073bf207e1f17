"""The rule book follows its file, and the last good one stays in force while the file is refused."""

import os
import re
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from ebill import bookfile
from ebill.bookfile import LARGEST, BookFile, load
from ebill.errors import BookRefused
from ebill.rulebook import RuleBook
from tests.books import HERE, SHIPPED, book, edited, here, invoice, small

pytestmark = pytest.mark.anywhere

OLD = small()
NEW = edited(("days_before_due = 20", "days_before_due = 10"), text=OLD)
GENERATION = {book(OLD).version: date(2026, 7, 12), book(NEW).version: date(2026, 7, 22)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "states.toml"
    path.write_text(OLD)
    path.chmod(0o644)
    return path


def put(file: Path, text: str) -> None:
    """Put a whole new file in the place of the old, as an editor or a deployment does."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.chmod(0o644)
    other.replace(file)


def refusal(file: Path) -> str:
    with pytest.raises(BookRefused) as refused:
        load(file)
    [fault] = refused.value.book_faults
    assert (refused.value.file, fault.line, fault.key) == (str(file), None, "(file)")
    return fault.detail


def is_old(rules: RuleBook) -> bool:
    return rules.version == book(OLD).version


# Which file


def test_the_file_is_the_shipped_one_unless_the_environment_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EBILL_STATES", raising=False)
    assert bookfile.path() == SHIPPED
    monkeypatch.setenv("EBILL_STATES", "")
    assert bookfile.path() == SHIPPED
    monkeypatch.setenv("EBILL_STATES", "/etc/ebill/states.toml")
    assert bookfile.path() == Path("/etc/ebill/states.toml")


# Whether it may be trusted


def test_a_file_is_read(file: Path) -> None:
    assert is_old(load(file).book)
    assert load(file).remarks == ()


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o602, 0o777])
def test_a_file_that_anybody_may_write_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert refusal(file) == "may be written by anybody; take that right away (chmod o-w)"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644, 0o664, 0o444])
def test_a_file_that_not_everybody_may_write_is_read(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert is_old(load(file).book)


def test_a_symbolic_link_is_refused(file: Path) -> None:
    link = file.with_name("link.toml")
    link.symlink_to(file)
    assert refusal(link) == "is a symbolic link; name the file itself"


def test_what_is_no_file_is_refused_without_waiting_for_it(file: Path) -> None:
    assert refusal(file.parent) == "is not a file"
    pipe = file.with_name("pipe.toml")
    os.mkfifo(pipe, 0o600)
    assert refusal(pipe) == "is not a file"


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    assert refusal(file.with_name("none.toml")) == "cannot be read: No such file or directory"
    assert refusal(file / "states.toml") == "cannot be read: Not a directory"


def test_a_file_that_cannot_be_read_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert refusal(file) == "cannot be read: Permission denied"


def test_a_file_has_a_million_bytes_at_most(file: Path) -> None:
    file.write_text(OLD + "#" * (LARGEST - len(OLD)))
    assert is_old(load(file).book)
    file.write_text(OLD + "#" * (LARGEST - len(OLD) + 1))
    assert refusal(file) == "is larger than 1000000 bytes"


def test_what_stands_in_the_file_is_refused_by_its_lines(file: Path) -> None:
    text = edited(("days_before_due = 20 }", f"days_before_due = 0 }} {HERE}"), text=OLD)
    file.write_text(text)
    place = f"{file}:{here(text)}: states.PA.rules[0].generation.days_before_due: must be from 1 to 90"
    with pytest.raises(BookRefused, match=re.escape(place)):
        load(file)


# Following it


def test_there_is_no_book_before_the_first_good_one(file: Path) -> None:
    file.write_text("")
    with pytest.raises(BookRefused):
        BookFile(file)


def test_a_file_that_changes_is_read_again(file: Path) -> None:
    followed = BookFile(file)
    assert is_old(followed.book)
    put(file, NEW)
    assert not is_old(followed.book)
    file.write_text(OLD)
    assert is_old(followed.book)
    assert followed.refused is None


def test_a_file_that_does_not_change_is_not_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = BookFile(file)
    first = followed.book
    monkeypatch.setattr(bookfile, "load", None)
    assert followed.book is first


def test_a_change_that_keeps_the_size_and_the_time_is_seen(file: Path) -> None:
    followed = BookFile(file)
    before = file.stat()
    file.write_text(NEW)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert not is_old(followed.book)


def halve(file: Path) -> None:
    file.write_text(NEW[: len(NEW) // 2])


def remove(file: Path) -> None:
    file.unlink()


def make_a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def open_to_all(file: Path) -> None:
    file.chmod(0o666)


def make_a_link(file: Path) -> None:
    other = file.with_name("other.toml")
    other.write_text(NEW)
    file.unlink()
    file.symlink_to(other)


def clear(file: Path) -> None:
    file.write_text("")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (halve, "is not TOML"),
        (remove, "cannot be read: No such file or directory"),
        (make_a_directory, "is not a file"),
        (open_to_all, "may be written by anybody"),
        (make_a_link, "is a symbolic link"),
        (clear, "default: is required"),
    ],
)
def test_a_file_that_is_refused_leaves_the_last_good_book_in_force_and_says_so(
    file: Path, spoil: Callable[[Path], None], words: str
) -> None:
    followed = BookFile(file)
    told: list[BookRefused] = []
    followed.told = told.append
    spoil(file)
    assert is_old(followed.book)
    assert is_old(followed.book)
    assert told == [followed.refused]
    assert followed.refused is not None
    assert words in str(followed.refused)
    assert is_old(followed.book)

    if file.is_dir():
        file.rmdir()
    put(file, NEW)
    assert not is_old(followed.book)
    assert followed.refused is None


def test_a_refused_file_is_not_read_again_until_it_changes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = BookFile(file)
    halve(file)
    assert is_old(followed.book)
    monkeypatch.setattr(bookfile, "load", None)
    assert is_old(followed.book)


def test_many_who_ask_while_the_file_changes_get_one_book_or_the_other(file: Path) -> None:
    followed = BookFile(file)
    done = threading.Event()
    seen: list[tuple[str, date]] = []
    failures: list[BaseException] = []

    def asks() -> None:
        try:
            while not done.is_set():
                rules = followed.book
                answer = invoice(rules, "2026-08")
                seen.append((rules.version, answer["generation_date"]))
        except BaseException as failure:  # noqa: BLE001  # shown below, in the thread that asserts
            failures.append(failure)

    threads = [threading.Thread(target=asks) for _ in range(8)]
    for thread in threads:
        thread.start()
    for round_ in range(60):
        text = OLD if round_ % 2 else NEW
        if round_ % 3:
            put(file, text)
        else:  # written in place, in two goes
            with file.open("w") as out:
                out.write(text[: len(text) // 2])
                out.flush()
                assert followed.book.version in GENERATION
                out.write(text[len(text) // 2 :])
        assert followed.book.version == book(text).version
        assert followed.refused is None
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert {(version, generation) for version, generation in seen} == set(GENERATION.items())
