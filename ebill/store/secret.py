"""What somebody shows to be known again, a token, a feed's or a session's secret: kept as a hash, its use noted."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_


def hashed(secret: str) -> bytes:
    """Hash a random secret. It has 160 bits or more: a fast hash is right, there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def is_due(noted: ColumnElement[Any], at: datetime, exactly: timedelta) -> ColumnElement[bool]:
    """Give the condition under which a use at an instant is to be noted: the last one noted is not so near to it."""
    return or_(noted.is_(None), noted <= at - exactly)
