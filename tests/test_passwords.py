"""Passwords are kept as slow hashes, checked a few at a time, and refused where anybody would try them first."""

import re
import threading
from collections.abc import Iterator

import argon2
import pytest
from argon2 import PasswordHasher
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from ebill import passwords
from ebill.errors import InvalidInput, TooBusy

pytestmark = pytest.mark.anywhere

GOOD = "amsel drossel fink und star"
FORM = re.compile(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")


def refused(password: str, *about: str) -> str | None:
    try:
        passwords.refuse_weak(password, about)
    except InvalidInput as refusal:
        (fault,) = refusal.faults
        assert fault.pointer == "/password"
        return fault.detail
    return None


# Hashes


def test_a_hash_costs_what_owasp_asks_and_has_a_salt_of_its_own() -> None:
    first, second = passwords.hashed(GOOD), passwords.hashed(GOOD)
    form = FORM.fullmatch(first)
    assert form
    assert [int(each) for each in form.groups()[:3]] == [19_456, 2, 1]
    assert len(form[4]) == 22  # 16 bytes in base 64
    assert len(form[5]) == 43  # 32 bytes
    assert first != second
    assert GOOD not in first


@pytest.mark.parametrize(
    "password",
    [GOOD, " amsel drossel ", "пароль из четырёх слов", "🐦 🐦‍⬛ 🪶 🌳 🎶 🌅", "a" * 1024, "é" * 512, "a\0b\nc\td123"],
    ids=["words", "spaces", "Cyrillic", "emoji", "1,024 letters", "1,024 bytes", "control characters"],
)
def test_a_password_is_taken_as_it_is(password: str) -> None:
    kept = passwords.hashed(password)
    assert passwords.matches(kept, password)
    assert not passwords.matches(kept, password.strip() + "x")
    assert not passwords.matches(kept, password[:-1])


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        GOOD.upper(),
        GOOD + " ",
        " " + GOOD,
        GOOD[:-1],
        GOOD + "\0",
        GOOD.replace(" ", ""),
        "a" * 1025,
        "\ud800" * 20,
    ],
    ids=[
        "nothing",
        "capitals",
        "a space after it",
        "a space before it",
        "cut",
        "NUL",
        "no spaces",
        "too long",
        "no text",
    ],
)
def test_another_password_does_not_match(wrong: str) -> None:
    assert not passwords.matches(passwords.hashed(GOOD), wrong)


def test_a_password_that_ends_at_a_nul_is_another() -> None:
    assert not passwords.matches(passwords.hashed("amsel\0drossel"), "amsel\0fink")


def test_nobodys_password_takes_as_long_to_check_and_never_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    verify = PasswordHasher.verify

    def noted(self: PasswordHasher, kept: str, password: bytes) -> bool:
        asked.append(argon2.extract_parameters(kept))
        return verify(self, kept, password)

    monkeypatch.setattr(PasswordHasher, "verify", noted)
    assert not passwords.matches(None, GOOD)
    assert not passwords.matches(None, "")
    assert not passwords.matches(passwords.hashed(GOOD), "another")
    assert asked[0] == asked[1] == asked[2]


def test_nobodys_password_does_not_match_even_if_somebody_found_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: True)
    assert passwords.matches(passwords._NOBODYS, GOOD)
    assert not passwords.matches(None, GOOD)


@pytest.mark.parametrize(
    ("hasher", "outdated"),
    [
        (PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1), False),
        (PasswordHasher(time_cost=1, memory_cost=19_456, parallelism=1), True),
        (PasswordHasher(time_cost=2, memory_cost=9_216, parallelism=1), True),
        (PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=2), True),
        (PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, salt_len=8), True),
        (PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=argon2.Type.I), True),
    ],
    ids=["today's", "faster", "smaller", "parallel", "a short salt", "another kind"],
)
def test_a_hash_of_other_parameters_still_matches_and_is_outdated(hasher: PasswordHasher, outdated: bool) -> None:
    kept = hasher.hash(GOOD)
    assert passwords.matches(kept, GOOD)
    assert passwords.is_outdated(kept) == outdated


# Not too many at once


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Semaphore, threading.Event]]:
    """Checks in other threads that go on until they are let go: how many have begun, and what lets them go."""
    begun, go_on = threading.Semaphore(0), threading.Event()
    here = threading.current_thread()

    def verify(_self: PasswordHasher, _kept: str, _password: bytes) -> bool:
        begun.release()
        if threading.current_thread() is not here:
            go_on.wait()
        return True

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    monkeypatch.setattr(passwords, "WAIT_SECONDS", 0.01)
    yield begun, go_on
    go_on.set()


def test_two_are_checked_at_once_and_who_comes_third_is_asked_to_come_again(
    held_up: tuple[threading.Semaphore, threading.Event],
) -> None:
    begun, go_on = held_up
    kept = passwords._NOBODYS
    threads = [threading.Thread(target=passwords.matches, args=(kept, GOOD)) for _ in range(2)]
    for thread in threads:
        thread.start()
        begun.acquire()
    with pytest.raises(TooBusy):
        passwords.matches(kept, GOOD)
    with pytest.raises(TooBusy):
        passwords.hashed(GOOD)
    go_on.set()
    for thread in threads:
        thread.join()
    assert passwords.matches(kept, GOOD)


def test_a_check_that_fails_makes_way_for_the_next() -> None:
    for _ in range(2 * passwords.AT_ONCE):
        with pytest.raises(argon2.exceptions.InvalidHashError):
            passwords.matches("no hash", GOOD)
        assert not passwords.matches(None, GOOD)


def test_a_password_too_long_to_be_one_is_not_hashed(held_up: tuple[threading.Semaphore, threading.Event]) -> None:
    begun, _ = held_up
    assert not passwords.matches(passwords._NOBODYS, "a" * 1_000_000)
    assert not begun.acquire(blocking=False)


# Which are refused


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("", "must have at least 8 characters"),
        ("kX7!qPz", "must have at least 8 characters"),
        ("🐦🪶🌳🎶🌅🦉🐧", "must have at least 8 characters"),
        ("kX7!" * 257, "is longer than the 1,024 bytes"),
        ("é" * 513, "is longer than the 1,024 bytes"),
        ("\ud800" * 20, "is no text"),
        ("password", "is among the first that anybody would try"),
    ],
)
def test_a_new_password_is_refused_for_what_is_wrong_with_it(password: str, fault: str) -> None:
    found = refused(password)
    assert found is not None
    assert found.startswith(fault)


@pytest.mark.parametrize(
    "password",
    ["kX7!qPzw", "🐦🪶🌳🎶🌅🦉🐧🦆", GOOD, "sunshine in March", "xkcd Trombone 7", "7x9k2m4p", "drossel2026",
     "a b c d e f g h z y", "kX7!" + "q" * 1020, "Käsebrot mit Senf", "no-password-like-this-one"],
)  # fmt: skip
def test_a_new_password_that_nobody_would_think_of_is_taken(password: str) -> None:
    assert refused(password) is None


@pytest.mark.parametrize(
    "password",
    ["password", "PASSWORD", "Password1", "P@ssw0rd", "pa$$word!", "passw0rd2026", "!!password!!", "p.a.s.s.w.o.r.d",
     "passwordpassword", "password password", "password1password1", "iloveyou", "letmein1", "trustno1", "welcome2026",
     "Summer2026!", "qwertyuiop", "qwerty123456", "poiuytrewq", "asdfghjkl;", "zxcvbnm,", "1qaz2wsx", "q1w2e3r4",
     "12345678", "123456789012345", "87654321", "98765432109876", "11111111", "aaaaaaaa", "abababab", "abcabcabcabc",
     "121212121212", "abcdefgh", "ABCDEFGHIJKL", "hgfedcba", "abcd1234", "19840312", "03/12/1984", "555-867-5309",
     "!!!!!!!!", "........", "        ", "a1234567", "ebill2026", "eBill-2026", "administrator",
     "correct horse battery staple"],
)  # fmt: skip
def test_a_new_password_that_is_tried_first_is_refused(password: str) -> None:
    found = refused(password)
    assert found is not None
    assert found.startswith("is among the first")


def test_what_was_found_most_in_break_ins_is_refused() -> None:
    assert passwords.is_common("slipknot666")
    assert not passwords.is_common("slipknot and a marimba")
    long_enough = [each for each in FREQUENCY_LISTS["passwords"] if len(each) >= passwords.FEWEST]
    assert len(long_enough) > 10_000
    assert all(passwords.is_common(each) for each in long_enough[:3000])


@pytest.mark.parametrize(
    "password",
    ["pat-producer", "PatProducer", "patproducer99", "Marguerite", "m4rguer1te!", "Featherstone", "featherstone2026",
     "MargueriteFeatherstone"],
)  # fmt: skip
def test_a_new_password_that_is_the_users_own_name_is_refused(password: str) -> None:
    about = ("pat-producer", "Marguerite Featherstone")
    assert refused(password, *about) is not None
    assert refused(password, "somebody else", "") is None


def test_a_name_without_letters_spoils_no_password() -> None:
    assert refused("8391 2846 2910 5512", "", "42", "007 9") is None


def test_every_common_word_is_refused_also_with_a_year_and_in_capitals() -> None:
    assert len(passwords._COMMON) > 200
    for word in passwords._COMMON:
        for dressed in (word, word.upper(), f"{word}2026!", f"1{word}", word * 2):
            assert passwords.is_common(dressed), dressed


def test_people_are_asked_for_more_than_the_fewest_that_are_taken() -> None:
    assert (passwords.ASKED, passwords.FEWEST, passwords.LONGEST) == (15, 8, 1024)
    assert "better 15 or more" in str(refused("short"))
