"""Settings of the environment that more than one door reads."""

from __future__ import annotations

import os
import re
from typing import Final

from ebill.errors import SettingRefused

_PUBLIC_URL: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?")


def public_url() -> str | None:
    """Read `EBILL_PUBLIC_URL`, without a slash at its end; None where it is not set. Raises SettingRefused."""
    text = os.environ.get("EBILL_PUBLIC_URL", "")
    if text and not _PUBLIC_URL.fullmatch(text):
        raise SettingRefused("EBILL_PUBLIC_URL", "must be an address such as https://ebill.example.com")
    return text.rstrip("/") or None
