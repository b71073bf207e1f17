"""Of what editors change at once, each from the version they last saw, nothing that was acknowledged is lost."""

from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

from sqlalchemy import select

from ebill.service import clients as service
from ebill.store.engine import Store
from ebill.store.tables import account_versions
from tests.trust.at_once import at_once, when_free
from tests.trust.goals import Goal, Run, require
from tests.world import ACME, Door, door

ACCOUNT = f"/v1/clients/{ACME}/bill-accounts/MAIN"


def edit(own: Door, number: int, edits: int) -> Iterator[tuple[int, int, str]]:
    """Change an account again and again from the version last seen; give each change that was acknowledged.

    That is the version it was made from, the one it made, and its text.
    """
    tag = when_free(partial(own.ask, "manager", "GET", ACCOUNT)).headers["ETag"]
    for each in range(edits):
        text = f"edit {each} of {number}"
        body, condition = {"name": text, "kind": "site"}, {"If-Match": tag}
        answer = when_free(partial(own.ask, "manager", "PUT", ACCOUNT, body, condition))
        seen, tag = tag, answer.headers["ETag"]
        if answer.status_code == 200:
            yield int(seen.strip('"')), int(tag.strip('"')), text
        else:
            said = answer.status_code, answer.get_json().get("version")
            require(said == (412, int(tag.strip('"'))), f"neither made nor told the version: {said}, {tag}")


def edited(run: Run) -> str:
    """Let editors change one account at once."""
    editors, edits = run.pick(4, 16), run.pick(15, 200)
    store = Store(run.store)
    try:
        opened = door(store)
        run.say(f"{editors} editors, {edits} changes each")
        worked = at_once(opened, editors, lambda own, number: list(edit(own, number, edits)))
        names = select(account_versions.c.version, account_versions.c.name).where(
            account_versions.c.client_id == ACME, account_versions.c.account_id == "MAIN"
        )
        with store.reading() as connection:
            history = {row.version: row.name for row in connection.execute(names)}
    finally:
        store.close()
    acknowledged = [each for found in worked for each in found]
    lost = [each for each in acknowledged if each[1] != each[0] + 1 or history.get(each[1]) != each[2]]
    require(not lost, f"{len(lost)} of {len(acknowledged)} acknowledged changes are lost, {lost[:1]} among them")
    require(sorted(history) == list(range(1, len(history) + 1)), "there is a gap between the versions")
    require(len(history) == len(acknowledged) + 1, f"{len(history)} versions of {len(acknowledged)} changes")
    require(len(acknowledged) >= edits, f"only {len(acknowledged)} changes came through")
    return (
        f"0 of {len(acknowledged):,} acknowledged changes lost, {editors * edits - len(acknowledged):,} refused with "
        "the version that is there; no gap"
    )


def unchecked() -> Any:
    """Plant that no version is checked."""
    return patch.object(service, "next_version", lambda _, current: (current or 0) + 1)


GOAL = Goal(
    id="G6",
    name="Editors at once",
    rule="every acknowledged change is there, made from the version it says; each 412 tells the new one; no gap",
    show=edited,
    faults={"no version is checked": unchecked},
    stores=True,
)
