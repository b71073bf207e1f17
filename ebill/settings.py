"""Settings of the environment that more than one door reads."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ebill.errors import SettingRefused, SettingsRefused

HERE: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""This machine, which may be asked over plain HTTP."""
CALLBACK: Final = "/sign-in/oidc/callback"
"""Where an identity provider sends a browser back to."""
SECRET_FEWEST: Final = 16
SECRET_MOST: Final = 1024
NAME_MOST: Final = 40
_PUBLIC_URL: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?")
_ISSUER: Final = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%@:-]*)*")
_STANDS_FOR_ONE: Final = re.compile(
    r"change[-_ ]?(me|it|this|now)|placeholder|example|replace|insert|your[-_ ]|default|dummy|sample|[<>{}]"
    r"|pass[-_ ]?(word|phrase)|secret|admin|qwert|letme|123456|abcdef",
    re.IGNORECASE,
)
FEWEST_SIGNS: Final = 6
"""How many different characters a secret must have."""
_PRINTABLE: Final = re.compile(r"[!-~]+")
COUNTS: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where processes that serve together keep what they count; named and read by the library that counts."""
_METRICS: Final = "EBILL_METRICS_"
_WHOLE: Final = re.compile(r"[0-9]{1,9}")
_PREFIX: Final = "EBILL_OIDC_"
_REQUIRED: Final = ("ISSUER", "CLIENT_ID")
_SECRETS: Final = ("CLIENT_SECRET", "CLIENT_SECRET_FILE")
_TOKENS: Final = ("TOKEN", "TOKEN_FILE")
_KNOWN: Final = (*_REQUIRED, *_SECRETS, "NAME")


@dataclass(frozen=True, slots=True)
class Oidc:
    """The identity provider whose word counts, what we are called there, and where it sends a browser back to."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str
    callback: str


def is_guessed(secret: str) -> bool:
    """Tell whether a secret is one that anybody would try, or only stands where one belongs.

    >>> is_guessed("ChangeMe-ChangeMe"), is_guessed("<client secret>"), is_guessed("q7GfZp1sVw0Kx2")
    (True, True, False)
    """
    return _STANDS_FOR_ONE.search(secret) is not None or len(set(secret)) < FEWEST_SIGNS


def public_url() -> str | None:
    """Read `EBILL_PUBLIC_URL`, without a slash at its end; None where it is not set. Raises SettingRefused."""
    text = os.environ.get("EBILL_PUBLIC_URL", "")
    if text and not _PUBLIC_URL.fullmatch(text):
        raise SettingRefused("EBILL_PUBLIC_URL", "must be an address such as https://ebill.example.com")
    return text.rstrip("/") or None


def metrics_token() -> str | None:
    """Read `EBILL_METRICS_TOKEN`, or the file that `EBILL_METRICS_TOKEN_FILE` names; None where neither is set.

    Raises SettingsRefused.
    """
    given = {name: os.environ[_METRICS + name] for name in _TOKENS if os.environ.get(_METRICS + name)}
    if not given:
        return None
    secret, found = _secret(given, _METRICS, _TOKENS)
    if found:
        raise SettingsRefused(found)
    return secret


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a process takes: requests that run, wait, or are sent piece by piece, and requests a minute."""

    running: int
    waiting: int
    streaming: int
    token_rate: int
    address_rate: int

    @property
    def at_once(self) -> int:
        """Requests that are in hand at once."""
        return self.running + self.waiting + self.streaming


def limits() -> Limits:
    """Read `EBILL_RUNNING`, `EBILL_WAITING`, `EBILL_STREAMING`, `EBILL_TOKEN_RATE` and `EBILL_ADDRESS_RATE`.

    Raises SettingRefused.
    """
    return Limits(
        _number("EBILL_RUNNING", 4, 1, 64),
        _number("EBILL_WAITING", 8, 0, 256),
        _number("EBILL_STREAMING", 4, 1, 64),
        _number("EBILL_TOKEN_RATE", 12_000, 0, 10_000_000),
        _number("EBILL_ADDRESS_RATE", 6_000, 0, 10_000_000),
    )


def proxies() -> int:
    """Read `EBILL_PROXIES`: how many proxies in a row stand in front, whose word on addresses is taken."""
    return _number("EBILL_PROXIES", 0, 0, 10)


def _number(name: str, unset: int, least: int, most: int) -> int:
    text = os.environ.get(name, "") or str(unset)
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise SettingRefused(name, f"must be a whole number from {least} to {most}")
    return int(text)


def oidc() -> Oidc | None:
    """Read `EBILL_OIDC_…`; None where none of them is set.

    Raises SettingsRefused with all that is wrong, and SettingRefused for EBILL_PUBLIC_URL.
    """
    given = {name: os.environ[_PREFIX + name] for name in _KNOWN if os.environ.get(_PREFIX + name)}
    if not given:
        return None
    public = public_url()
    secret, found = _secret(given, _PREFIX, _SECRETS)
    found = [*_faults(given, public), *found]
    if found or public is None:
        raise SettingsRefused(found)
    host = urlsplit(given["ISSUER"]).netloc
    return Oidc(given["ISSUER"], given["CLIENT_ID"], secret, given.get("NAME", host), public + CALLBACK)


def _faults(given: dict[str, str], public: str | None) -> Iterator[tuple[str, str]]:
    for name in _REQUIRED:
        if name not in given:
            yield _PREFIX + name, "is missing"
    issuer = given.get("ISSUER", "")
    if issuer and not (_ISSUER.fullmatch(issuer) and _is_safe(issuer)):
        yield f"{_PREFIX}ISSUER", "must be an address of https, such as https://login.example.com/tenant"
    client_id = given.get("CLIENT_ID", "")
    if client_id and not _PRINTABLE.fullmatch(client_id):
        yield f"{_PREFIX}CLIENT_ID", "must be printable ASCII, without spaces"
    if not given.get("NAME", "x").isprintable() or len(given.get("NAME", "")) > NAME_MOST:
        yield f"{_PREFIX}NAME", f"must be at most {NAME_MOST} printable characters"
    if public is None:
        yield "EBILL_PUBLIC_URL", "is missing: the identity provider sends browsers back there"
    elif not _is_safe(public):
        yield "EBILL_PUBLIC_URL", "must be an address of https for sign-in by an identity provider"


def _is_safe(address: str) -> bool:
    """Tell whether nobody on the way reads what is sent to an address: over TLS, or on this very machine."""
    parts = urlsplit(address)
    return parts.scheme == "https" or parts.hostname in HERE


def _secret(given: dict[str, str], prefix: str, names: tuple[str, str]) -> tuple[str, list[tuple[str, str]]]:
    """Give a secret, or what is wrong with it; it is never repeated."""
    plain, file = (given.get(name) for name in names)
    named = prefix + names[0 if file is None else 1]
    if plain and file:
        return "", [(named, f"is set, and so is {prefix}{names[0]}; one of them is enough")]
    if file:
        try:
            with Path(file).open(encoding="ascii") as opened:
                if os.fstat(opened.fileno()).st_mode & stat.S_IRWXO:
                    return "", [(named, "names a file that others may read or write (chmod o-rwx)")]
                plain = opened.read(SECRET_MOST + 2).rstrip("\r\n")
        except (OSError, ValueError):
            return "", [(named, "names no file of ASCII text that can be read")]
    if not plain:
        return "", [(named, "is missing" if file is None else "names a file with nothing in it")]
    if fault := _weakness(plain):
        return "", [(named, fault)]
    return plain, []


def _weakness(secret: str) -> str | None:
    if not SECRET_FEWEST <= len(secret) <= SECRET_MOST or not _PRINTABLE.fullmatch(secret):
        return f"must be {SECRET_FEWEST} to {SECRET_MOST} printable ASCII characters, without spaces"
    return "is one that anybody would try, or only stands where one belongs" if is_guessed(secret) else None
