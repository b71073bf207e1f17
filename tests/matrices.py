"""The two matrices of access, and how each of their cells is asked.

`access_matrix.csv` has every route, `pages_matrix.csv` every page. A cell has one status for whatever is asked about,
or three: for what belongs to `1000-ACME`, to `2000-ZENITH`, and to nobody. `how` tells of apart what one route does in
several ways. A page's 303 is where one goes to sign in, or where a form leads to.
"""

import csv
from pathlib import Path
from typing import Any, Final

from werkzeug.test import TestResponse

from ebill.web import pages
from tests.visits import Visits, session_ids
from tests.world import ACME, UNKNOWN, ZENITH, Door

Row = dict[str, str]
API: Final[list[Row]] = list(
    csv.DictReader(Path(__file__).with_name("access_matrix.csv").read_text("utf-8").splitlines())
)
PAGES: Final[list[Row]] = list(
    csv.DictReader(Path(__file__).with_name("pages_matrix.csv").read_text("utf-8").splitlines())
)
OBJECTS = (ACME, ZENITH, UNKNOWN)
RULE = {"since": "2090-01", "generation": {"day_of_month": 9}, "cite": "Letter"}
EXCEPTION = {"coverage_month": "2090-01", "due_date": "2090-01-02", "reason": "Calendar"}
PAYMENT = {"coverage_month": "2024-03", "paid_at": "2024-03-01"}
BODIES: dict[str, Any] = {
    "POST /v1/calculate/batch": [{"state": "PA", "coverage_month": "2026-08"}],
    "POST /v1/calculate": {"state": "PA", "coverage_month": "2026-08"},
    "PUT /v1/clients/{client_id}/bill-accounts/{account_id}": {"name": "Main", "kind": "site"},
    "POST /v1/clients/{client_id}/rules": RULE,
    "POST /v1/clients/{client_id}/bill-accounts/{account_id}/rules": RULE,
    "POST /v1/clients/{client_id}/exceptions": EXCEPTION,
    "POST /v1/clients/{client_id}/bill-accounts/{account_id}/exceptions": EXCEPTION,
    "POST /v1/clients/{client_id}/bill-accounts/{account_id}/payments": PAYMENT,
    "POST /v1/clients/{client_id}/bill-accounts/{account_id}/payments/preview": PAYMENT,
    "PUT /v1/me/payment-terms": {"accepted": True},
    "POST /v1/access-requests": {"client_ids": [ZENITH], "reason": "New broker"},
    "POST /v1/access-requests/{request_id}/decisions": {"decision": "declined"},
    "PUT /v1/users/{user_id}": {"name": "Somebody", "role": "producer", "state": "PA"},
    "PUT /v1/me/reminders": {"lead_days": {"due": [7, 1]}},
    "PUT /v1/users/{user_id}/reminder-targets": {"email": "somebody@example.com"},
    "PUT /v1/teams/{team_id}": {"name": "West"},
    "POST /v1/tokens": {"name": "One more"},
    "POST /v1/feeds": {},
}
QUERIES = {"GET /v1/posting": "state=PA&paid_at=2026-07-02"}
USER_OF = {ACME: "pat-producer", ZENITH: "gus-ungranted", UNKNOWN: "nobody"}
TEAM_OF = {ACME: "north", ZENITH: "south", UNKNOWN: "north"}
WITH_FILE = {f"POST {page.path}" for page in pages.PAGES if page.takes_file}
WORD = "seven green bicycles"
FORMS = {
    "POST /sign-in": {"user_id": "pat-producer", "password": "none of theirs"},
    "POST /me/payment-terms": {"accepted": "yes"},
    "POST /me/tokens": {"name": "One more", "days": "7"},
    "POST /me/feeds": {"name": "Mine"},
    "POST /clients/{client_id}/bill-accounts/{account_id}/payments": {
        "coverage_month": "2024-03",
        "paid_on": "2024-03-01",
        "way": "paid",
    },
    "POST /access-requests": {"client_ids": "C1, C2", "reason": "New broker"},
    "POST /import/trial": {"text": "record,client_id\n"},
    "POST /import": {"held": "cmVjb3JkLGNsaWVudF9pZAo="},
    "POST /sign-in/first-password": {"user_id": "pat-producer", "password": "none of theirs", "new_password": WORD},
    "POST /me/password": {"old_password": "none of theirs", "new_password": WORD},
    "POST /admin/users": {"user_id": "nia-new", "name": "Nia", "role": "producer", "state": "PA"},
    "POST /admin/users/{user_id}": {"name": "Somebody", "state": "PA", "version": "1"},
    "POST /admin/users/{user_id}/grants": {"client_ids": ACME},
    "POST /admin/teams": {"team_id": "west", "name": "West"},
}


def statuses(cell: str) -> dict[str, int]:
    """Read a cell: the status for each object."""
    said = [int(status) for status in cell.split()]
    return dict(zip(OBJECTS, said * len(OBJECTS) if len(said) == 1 else said, strict=False))


def address(door: Door, row: Row, actor: str, which: str) -> str:
    """Give the address of a cell."""
    request = row["request"]
    path = request.split(" ")[1]
    world = door.world
    token = {ACME: world.spare.get(actor), ZENITH: world.spare["quinn"], UNKNOWN: "0123456789abcdef"}[which]
    feeds = {ACME: world.feeds.get(actor, world.feeds["producer"]), ZENITH: world.feeds["quinn"]}
    secret = feeds.get(which, f"ebf_{'0' * 16}_{'0' * 40}")
    named = {
        "client_id": which,
        "account_id": "SITE" if row["how"] == "new" else "MAIN",
        "user_id": "gus-ungranted" if "grants" in path else USER_OF[which],
        "request_id": world.requests.get(which, "request-none"),
        "token_id": token or "0123456789abcdef",
        "feed_id": secret.split("_")[1],
        "secret": secret,
        "team_id": "west",
        "code": "PA",
    }
    path = path.replace("static/<name>", "static/pages.css").replace("<name>", "start.js").format(**named)
    query = QUERIES.get(request, "") or {
        "dry run": "dry_run=true",
        "of a client": f"client_id={which}",
        "client": "" if request.startswith("POST") else f"client={which}",
    }.get(row["how"], "")
    return f"{path}?{query}" if query else path


def ask(door: Door, row: Row, actor: str, which: str, method: str = "") -> TestResponse:
    """Send the request of a cell, by another method where one is given."""
    request = row["request"]
    headers, more, body = {}, {}, BODIES.get(request)
    own_team = {"manager": "north", "other manager": "south"}.get(actor, "north")
    if request == "PUT /v1/clients/{client_id}":
        team = own_team if row["how"] == "new" else TEAM_OF[which]
        body = {"name": "Somebody Ltd", "team_id": team, "state": "PA"}
    if request == "POST /v1/imports/clients":
        body = f"record,client_id,name,team_id,state\r\nclient,NEW,New,{own_team},PA\r\n".encode()
        more["content_type"] = "text/csv"
    if row["how"] == "client" and body is not None:
        body = {"client_id": which}
    if request.startswith("PUT"):
        headers = {"If-None-Match": "*"} if row["how"] == "new" else {"If-Match": '"1"'}
    if request.startswith("POST"):
        headers["Idempotency-Key"] = "a key of the matrix"
    if method in ("HEAD", "OPTIONS"):
        body = None
    return door.ask(actor, method or request.split(" ")[0], address(door, row, actor, which), body, headers, **more)


def page_address(opened: Visits, row: Row, actor: str, which: str) -> str:
    """Give the address of a cell."""
    world, sessions = opened.world, session_ids(opened)
    whose = {ACME: actor if actor in world.feeds else "producer", ZENITH: "quinn"}.get(which, "")
    named = {
        "client_id": which,
        "account_id": "MAIN",
        "token_id": world.spare.get(whose, "0123456789abcdef"),
        "feed_id": world.feeds[whose].split("_")[1] if whose else "0123456789abcdef",
        "session_id": sessions.get(whose, "0123456789abcdef"),
        "user_id": USER_OF[which],
        "team_id": {**TEAM_OF, UNKNOWN: "west"}[which],
    }
    if "/users/" in row["request"]:
        theirs = {ACME: "producer", ZENITH: "ungranted"}.get(which, "")
        named["token_id"] = world.spare.get(theirs, "0123456789abcdef")
    path = row["request"].split(" ")[1].format(**named)
    return f"{path}?client={which}" if row["how"] == "client" else path


def ask_page(opened: Visits, row: Row, actor: str, which: str) -> TestResponse:
    """Look at the page of a cell, or send its form."""
    path = page_address(opened, row, actor, which)
    if row["request"].startswith("GET"):
        return opened.look(actor, path)
    form = FORMS.get(row["request"])
    if row["request"] == "POST /admin/teams/{team_id}":
        form = {"name": "Renamed", "was": TEAM_OF[which].title()}
    return opened.send(actor, path, form, multipart=row["request"] in WITH_FILE)


def rows_of(rows: list[Row], text: str) -> list[Row]:
    """Give the rows whose request has a text."""
    return [row for row in rows if text in row["request"]]


def named(row: Row) -> str:
    """Name a row."""
    return f"{row['request']} {row['how']}".strip()
