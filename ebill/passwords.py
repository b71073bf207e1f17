"""Passwords: how they are kept, how one is checked, and which are refused.

A password is taken exactly as it is given: not trimmed, cut or changed in case. It is kept as a hash of argon2id that
costs 19 MiB and about 50 ms, and no more than two are worked out at once: a crowd at the door must not stop the
service. Which are refused follows NIST SP 800-63B: the short and the common, and no rules about kinds of characters.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from ebill.errors import Fault, InvalidInput, TooBusy

ASKED: Final = 15
"""How many characters people are asked for."""
FEWEST: Final = 8
"""How few are taken."""
LONGEST: Final = 1024
"""How many bytes are taken, in UTF-8."""
AT_ONCE: Final = 2
WAIT_SECONDS: Final = 2

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_TURNS: Final = threading.BoundedSemaphore(AT_ONCE)
_NOBODYS: Final = (
    f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}${'A' * 22}${'A' * 43}"
)
"""The hash of no password, which takes as long to check as any other."""


def hashed(password: str) -> str:
    """Give the hash of a password, with a salt of its own. Raises TooBusy."""
    with _turn():
        return _HASHER.hash(_bytes(password))


def matches(kept: str | None, password: str) -> bool:
    """Tell whether a password is the one whose hash was kept. Raises TooBusy.

    `kept` None, where there is no such user or no password, is answered as late as a wrong password.
    """
    try:
        given = _bytes(password)
    except ValueError:
        return False
    with _turn():
        try:
            _HASHER.verify(kept or _NOBODYS, given)
        except VerifyMismatchError:
            return False
    return kept is not None


def first() -> str:
    """Make up a password that somebody types in once: 20 letters and digits that nobody takes for others, 98 bits."""
    return "-".join("".join(secrets.choice(_PLAIN) for _ in range(_GROUP)) for _ in range(_GROUPS))


def is_outdated(kept: str) -> bool:
    """Tell whether a hash was made with other parameters than today's: hash the password anew at this sign-in."""
    return _HASHER.check_needs_rehash(kept)


def refuse_weak(password: str, about: Iterable[str] = (), place: str = "/password") -> None:
    """Refuse a new password that is too short, too long or easily guessed; `about`: the user's id and name.

    Raises InvalidInput, with the place.
    """
    if fault := _weakness(password, about):
        raise InvalidInput([Fault(place, fault)])


def is_common(password: str, about: Iterable[str] = ()) -> bool:
    """Tell whether a password is among those that are tried first, or one of them dressed up.

    >>> is_common("P@ssw0rd2026!"), is_common("sunshine-sunshine"), is_common("0987qwerty"), is_common("12/31/1999")
    (True, True, True, True)
    >>> is_common("amsel-drossel"), is_common("sunshine in March")
    (False, False)
    """
    whole = password.casefold()
    plain = re.sub(r"[\W_]", "", whole) or whole
    words = {_word(whole), _once(_word(whole)), _word(_once(plain))}
    theirs = {_word(part) for text in about for part in (text.casefold(), *text.casefold().split())} - {""}
    if words & _found_often() or whole in _found_often():
        return True
    is_number = plain.isdigit() and len(plain) <= _LONGEST_NUMBER
    return not words.isdisjoint(_COMMON | theirs) or len(_once(plain)) < 4 or is_number or _is_run(plain)


@cache
def _found_often() -> frozenset[str]:
    """Give the 30,000 passwords found most in break-ins; a third of them have as many characters as are asked for."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # takes a fifth of a second, and most starts need none

    return frozenset(FREQUENCY_LISTS["passwords"])


def _weakness(password: str, about: Iterable[str]) -> str | None:
    try:
        _bytes(password)
    except UnicodeEncodeError:
        return "is no text"
    except ValueError:
        return f"is longer than the {LONGEST:,} bytes that are taken"
    if len(password) < FEWEST:
        return f"must have at least {FEWEST} characters, and better {ASKED} or more, such as a few words"
    if is_common(password, about):
        return "is among the first that anybody would try; take a few words that have nothing to do with you"
    return None


def _bytes(password: str) -> bytes:
    found = password.encode("utf-8")
    if len(found) > LONGEST:
        raise ValueError("too long")
    return found


@contextmanager
def _turn() -> Iterator[None]:
    if not _TURNS.acquire(timeout=WAIT_SECONDS):
        raise TooBusy
    try:
        yield
    finally:
        _TURNS.release()


def _word(text: str) -> str:
    """Give the word in a text: its letters, and between them the signs that stand in for one."""
    inner = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text)
    return re.sub(r"[\W\d_]", "", inner.translate(_STAND_INS))


def _once(text: str) -> str:
    """Give what a text repeats: `abc` of `abcabc`; one that repeats nothing is itself."""
    return text[: (text + text).find(text, 1)] if text else text


def _is_run(text: str) -> bool:
    """Tell whether a text, but for two signs, follows the alphabet, the numbers or the keys, either way."""
    runs = [text] if _follows(text) else [run for run in re.findall(r"\d{3,}|\D{3,}", text) if _follows(run)]
    return sum(map(len, runs)) >= len(text) - 2


def _follows(text: str) -> bool:
    return any(text in row or text in row[::-1] for row in _ROWS)


_PLAIN: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUP, _GROUPS = 5, 4
_LONGEST_NUMBER: Final = 10
"""Digits: those of dates and telephones."""
_STAND_INS: Final = str.maketrans("013457@$!|+", "oieastasilt")
_ROWS: Final = (
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "1234567890qwertyuiopasdfghjklzxcvbnm",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
)
_WORDS: Final = """
    aaa abc abcd abcde abcdef account admin adminadmin administrator agency amanda america amsterdam andrea andrew
    angel anthony april arsenal asd asdf asdfgh asdfghjkl ashley august autumn azerty babygirl bailey banana
    baseball basketball batman benefits billing billingadmin blue bluecross blueshield broker buster butterfly
    changeit changeme charlie cheese chelsea chicken chocolate client coffee computer contrasena cookie
    correcthorsebatterystaple cowboys daniel database december default delaware demo diamond dragon eagles ebill
    ebilladmin ebilling elizabeth employer enter everton family february flask flower football forever freedom
    friday friends gandalf george ginger google grace groupadmin guest hallo hannah harley health healthcare heaven
    hello highmark hockey hunter ilove iloveme iloveyou insurance invoice jackson january jasmine jennifer jessica
    jesus jordan joshua july june justin killer letme letmein liverpool login london lovely loveme loveyou maggie
    manager march master matrix matthew member merlin michael michelle mickey monday monkey morgan motdepasse mother
    mustang mypassword naruto newyork nicole nothing november october openup oracle orange parola pass passpass
    passphrase passw passwd password passwort payment payroll pennsylvania pepper philadelphia phoenix pokemon
    portal postgres premium princess producer purple python qaz qazwsx qwer qwert qwerty qwertyuiop qwertz rainbow
    ranger robert root rootroot sample samsung saturday schatz secret security senha september service shadow silver
    snoopy soccer soleil sophie spring sqlite standard starwars steelers summer sunday sunshine superman superstar
    superuser support system temp temporary test tester testing thomas thunder thursday tigger toor trustno
    trustnoone tuesday user username wednesday welcome welcomehome whatever wildcats william winter wizard wsx
    yankees yellow zaqwsx zxcvbn zxcvbnm
"""
_COMMON: Final = frozenset(_WORDS.split())
"""Words that head such lists, to be found in other dress too, and those of our own house and trade."""
