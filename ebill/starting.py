"""Whether the service may start here: every setting is one that it knows, and what is secret is one.

A setting is a variable of the environment that begins with `EBILL_`. What is wrong is named by the setting, and never
by its value.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ebill import bookfile
from ebill.errors import SettingsRefused, did_you_mean
from ebill.settings import HERE, is_guessed
from ebill.store.engine import DEFAULT_URL

PREFIX: Final = "EBILL_"
SETTINGS: Final[Mapping[str, str]] = {
    "EBILL_STATES": str(bookfile.SHIPPED),
    "EBILL_DATABASE_URL": DEFAULT_URL,
    "EBILL_PUBLIC_URL": "as each request came",
    "EBILL_TRUSTED_HOSTS": "any",
    "EBILL_LOG": "text on a terminal, else json",
    "EBILL_METRICS_TOKEN": "",
    "EBILL_METRICS_TOKEN_FILE": "",
    "EBILL_RUNNING": "4",
    "EBILL_WAITING": "8",
    "EBILL_STREAMING": "4",
    "EBILL_TOKEN_RATE": "12000",
    "EBILL_ADDRESS_RATE": "6000",
    "EBILL_PROXIES": "0",
    "EBILL_OIDC_ISSUER": "",
    "EBILL_OIDC_CLIENT_ID": "",
    "EBILL_OIDC_CLIENT_SECRET": "",
    "EBILL_OIDC_CLIENT_SECRET_FILE": "",
    "EBILL_OIDC_NAME": "",
    "EBILL_SMTP_URL": "",
    "EBILL_MAIL_FROM": "",
    "EBILL_WEBHOOK_NETWORKS": "",
}
"""Every setting, and what holds where it is not set; nothing, where that is nothing worth telling."""
PASSWORD_FEWEST: Final = 12
"""Characters of a password of the database or of the mail server."""
_OTHERS: Final = stat.S_IRWXO
_SECRET: Final = re.compile(r"(SECRET|TOKEN|PASSWORD|KEY)$")


def refuse_unsafe(environ: Mapping[str, str]) -> None:
    """Refuse settings that are not known, secrets that anybody would guess, and a store that lies open.

    Raises SettingsRefused with all that is wrong. What else a setting must be, its own reader says.
    """
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value}
    found = [*_unknown(given), *_weak(given), *_open(given.get("EBILL_DATABASE_URL", DEFAULT_URL))]
    if found:
        raise SettingsRefused(found)


def in_force(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Give each setting that is set or worth telling, and its value, of which nothing secret is left.

    >>> in_force({"EBILL_SMTP_URL": "smtp://jo:hush@mail.example.com", "EBILL_OIDC_CLIENT_SECRET": "hush"})[-2:]
    [('EBILL_OIDC_CLIENT_SECRET', '...'), ('EBILL_SMTP_URL', 'smtp://jo:...@mail.example.com')]
    """
    told = ((name, _masked(name, environ.get(name, "")), default) for name, default in SETTINGS.items())
    return [(name, value or f"{default} (not set)") for name, value, default in told if value or default]


def _masked(name: str, value: str) -> str:
    if _SECRET.search(name):
        return "..." if value else ""
    try:
        parts = urlsplit(value)
    except ValueError:
        return "..."
    if not parts.netloc and "@" not in value:
        return value
    user, at, host = parts.netloc.rpartition("@")
    hidden = f"{user.partition(':')[0]}:..." if ":" in user else user
    # A query may have a password, too.
    query = "" if not parts.query else "?..."
    return f"{parts.scheme}://{hidden}{at}{host}{parts.path}{query}" if parts.scheme and "//" in value else "..."


def _unknown(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in sorted(given.keys() - SETTINGS.keys()):
        yield name, f"is no setting{did_you_mean(name, SETTINGS)}"


def _weak(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Find what is wrong with the passwords in addresses; the others' readers know of theirs."""
    database, mail = _address(given.get("EBILL_DATABASE_URL", "")), given.get("EBILL_SMTP_URL", "")
    try:
        mailed = unquote(urlsplit(mail).password or "")
    except ValueError:
        mailed = ""
    kept = str(database.password or database.query.get("password") or "") if database else ""
    for name, password in (("EBILL_DATABASE_URL", kept), ("EBILL_SMTP_URL", mailed)):
        if password and len(password) < PASSWORD_FEWEST:
            yield name, f"has a password of fewer than {PASSWORD_FEWEST} characters"
        elif password and is_guessed(password):
            yield name, "has a password that stands for one, or that anybody would try"
    is_far = database and database.get_backend_name() == "postgresql" and not _is_here(database)
    if database and is_far and database.query.get("sslmode") != "verify-full":
        yield "EBILL_DATABASE_URL", "must have ?sslmode=verify-full for a database on another machine"


def _is_here(database: URL) -> bool:
    hosts = database.query.get("host") or database.host or ""
    every = hosts.split(",") if isinstance(hosts, str) else hosts
    return all(not host or host.startswith("/") or host in HERE for host in every)


def _open(url: str) -> Iterator[tuple[str, str]]:
    """Find what of a SQLite store lies open to others on this machine: in it are keys, and everybody's clients."""
    database = _address(url)
    if database is None or database.get_backend_name() != "sqlite" or not database.database:
        return
    file = Path(database.database).absolute()
    try:
        if stat.S_IMODE(file.stat().st_mode) & _OTHERS:
            yield "EBILL_DATABASE_URL", "names a file that others may read or write (chmod o-rwx)"
    except OSError:
        pass  # there is none yet, or opening it tells what is wrong
    try:
        mode = file.parent.stat().st_mode
    except OSError:
        return
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        yield "EBILL_DATABASE_URL", "names a file in a folder in which others may put another in its place (chmod o-w)"


def _address(url: str) -> URL | None:
    try:
        return make_url(url) if url else None
    except (ArgumentError, ValueError):
        return None  # refused where it is opened
