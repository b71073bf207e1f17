"""The licence of every package that the service runs on, from what each says of itself.

`python -m tests.licences` prints them as CSV.
"""

import csv
import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"
BY_TROVE = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Zero-Clause BSD (0BSD)": "0BSD",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "Python Software Foundation License": "PSF-2.0",
}
"""What the classifiers of packages call licences, and their names in SPDX."""


def pins() -> dict[str, str]:
    """Give each package of the lock with its version."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)", LOCK.read_text("utf-8"), re.MULTILINE))


def licence(package: str) -> str:
    """Give the licence of an installed package in SPDX, or nothing where it does not say."""
    told = metadata(package)
    if expressions := told.get_all("License-Expression"):
        return str(expressions[0])
    troves = [each.rpartition(" :: ")[2] for each in told.get_all("Classifier") or () if each.startswith("License ::")]
    if known := [BY_TROVE[each] for each in troves if each in BY_TROVE]:
        return " OR ".join(dict.fromkeys(known))
    text = " ".join(told.get_all("License") or ()).strip()
    return text if re.fullmatch(r"[A-Za-z0-9.+ ()-]{2,60}", text) else ""


def licences() -> dict[str, str]:
    """Give the licence of each package of the lock that is installed; some are for other systems than this."""
    found = {}
    for package in pins():
        try:
            found[package] = licence(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    rows = csv.writer(sys.stdout)
    rows.writerow(["package", "version", "licence"])
    rows.writerows([package, pins()[package], told] for package, told in licences().items())
