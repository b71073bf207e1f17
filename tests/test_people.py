"""Users, teams, grants, access requests, tokens, and the audit: who may be made what, and who reads of it."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from ebill.access import default_entitlements
from ebill.errors import (
    ClientNotFound,
    InvalidInput,
    PreconditionMissing,
    RequestNotFound,
    Stale,
    TokenNotFound,
    UserNotFound,
)
from ebill.service import grants, tokens, users
from ebill.service.clients import Precondition
from ebill.service.history import Sought, list_audit
from ebill.store import sessions as kept_sessions
from ebill.store import tokens as kept_tokens
from ebill.store import users as kept_users
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.store.users import User
from tests.sample import (
    AT,
    NEW,
    NORA,
    PAUL,
    ROOT,
    SID,
    Data,
    add,
    book,
    count_of,
    faults,
    grant,
    populate,
    put_account,
    put_client,
    refused,
    writing,
)

PRODUCER: Data = {"name": "Pat", "role": "producer", "state": "PA"}
EVERY_ENTITLEMENT = {
    "general_agency_administrator",
    "agency_reports",
    "client_administration",
    "renewals",
    "small_group_quotes",
}


@pytest.fixture
def filled(emptied_store: Store) -> Store:
    """A store with people, the clients N1 and N2 of team north, and S1 of team south."""
    populate(emptied_store)
    for client_id, team_id in (("N1", "north"), ("N2", "north"), ("S1", "south")):
        put_client(emptied_store, client_id, team_id=team_id)
    return emptied_store


def put_user(
    store: Store, body: Any, made_to: Precondition = NEW, user_id: str = "pat", at: datetime = AT
) -> tuple[Data, int]:
    with writing(store, at, "root") as write:
        return users.put_user(write, book(), user_id, body, made_to)


def get_user(store: Store, user_id: str = "pat") -> Data:
    with store.reading() as connection:
        return users.get_user(connection, user_id)[0]


# Users


@pytest.mark.parametrize(
    ("role", "state", "entitled"),
    [
        ("producer", "NY", EVERY_ENTITLEMENT - {"agency_reports"}),
        ("producer", "PA", EVERY_ENTITLEMENT - {"agency_reports", "general_agency_administrator"}),
        ("producer", "DE", EVERY_ENTITLEMENT - {"agency_reports", "general_agency_administrator"}),
        ("producer", "WV", EVERY_ENTITLEMENT - {"agency_reports", "general_agency_administrator"}),
        ("client_manager", "NY", set()),
        ("admin", "PA", set()),
    ],
)
def test_a_new_user_is_entitled_to_what_the_portals_faq_says(role: str, state: str, entitled: set[str]) -> None:
    assert default_entitlements(role, state) == entitled


def test_a_user_is_read_as_it_was_made(filled: Store) -> None:
    body, version = put_user(filled, PRODUCER)
    assert (version, body["version"]) == (1, 1)
    assert body == {
        "user_id": "pat",
        **PRODUCER,
        "entitlements": ["client_administration", "renewals", "small_group_quotes"],
        "teams": [],
        "payment_terms_accepted_at": None,
        "disabled_at": None,
        "oidc_subject": None,
        "version": 1,
    }
    assert get_user(filled) == {**body, "clients": []}
    given = {**PRODUCER, "name": "Patricia", "entitlements": ["agency_reports"], "state": "NY"}
    assert put_user(filled, given, Precondition(1))[0]["entitlements"] == ["agency_reports"]
    manager = {"name": "Mo", "role": "client_manager", "state": "PA", "teams": ["south", "north"]}
    assert put_user(filled, manager, user_id="mo")[0]["teams"] == ["north", "south"]


def test_entitlements_that_are_not_given_stay_as_they_are(filled: Store) -> None:
    put_user(filled, PRODUCER | {"entitlements": ["renewals"]})
    assert put_user(filled, PRODUCER | {"state": "NY"}, Precondition(1))[0]["entitlements"] == ["renewals"]


WRONG: list[tuple[Data, set[str]]] = [
    ({"name": ""}, {"/name"}),
    ({"role": "boss"}, {"/role"}),
    ({"state": "XX"}, {"/state"}),
    ({"teams": ["nort"]}, {"/teams/0"}),
    ({"entitlements": ["everything"]}, {"/entitlements/0"}),
    ({"disabled": "yes"}, {"/disabled"}),
    ({"user_id": "x", "version": 9, "password": "x"}, {"/user_id", "/version", "/password"}),
]


def test_a_user_that_cannot_be_meant_is_refused(filled: Store) -> None:
    for body, places in WRONG:
        assert set(faults(refused(InvalidInput, partial(put_user, filled, PRODUCER | body)))) == places
    for user_id in ("", "a b", "x" * 33, "zoë", "a/b"):
        asked = partial(put_user, filled, PRODUCER | {"name": ""}, NEW, user_id)
        assert set(faults(refused(InvalidInput, asked))) == {"/user_id", "/name"}
    nothings: tuple[Any, ...] = (None, [], "x")
    for nothing in nothings:
        refused(InvalidInput, partial(put_user, filled, nothing))


def test_ids_of_users_are_unique_whatever_the_case(filled: Store) -> None:
    assert list(faults(refused(InvalidInput, lambda: put_user(filled, PRODUCER, user_id="PAUL")))) == ["/user_id"]


def test_a_change_of_a_user_names_the_current_version(filled: Store) -> None:
    put_user(filled, PRODUCER)
    refused(PreconditionMissing, lambda: put_user(filled, PRODUCER, Precondition()))
    for made_to in (NEW, Precondition(2)):
        assert refused(Stale, partial(put_user, filled, PRODUCER, made_to)).version == 1
    assert refused(Stale, lambda: put_user(filled, PRODUCER, Precondition(1), "nobody")).version is None
    assert put_user(filled, PRODUCER, Precondition(1))[1] == 2


def test_a_role_never_changes(filled: Store) -> None:
    put_user(filled, PRODUCER)
    promoted = PRODUCER | {"role": "admin"}
    assert list(faults(refused(InvalidInput, lambda: put_user(filled, promoted, Precondition(1))))) == ["/role"]


def test_the_last_administrator_stays_one(filled: Store) -> None:
    root: Data = {"name": "Root", "role": "admin", "state": "PA", "disabled": True}
    assert list(faults(refused(InvalidInput, lambda: put_user(filled, root, Precondition(1), "root")))) == ["/disabled"]
    put_user(filled, root | {"disabled": False}, user_id="second")
    put_user(filled, root, Precondition(1), "root")
    assert list(faults(refused(InvalidInput, lambda: put_user(filled, root, Precondition(1), "second")))) == [
        "/disabled"
    ]
    put_user(filled, root | {"disabled": False}, Precondition(2), "root")
    put_user(filled, root, Precondition(1), "second")


def test_a_disabled_user_holds_nothing_any_more_until_enabled(filled: Store) -> None:
    put_user(filled, PRODUCER)
    with writing(filled) as write:
        text = tokens.token_for(write, "pat", "a test")["token"]
        cookie = kept_sessions.new_session(write.connection, "pat", AT)

    def held() -> tuple[bool, bool]:
        with filled.reading() as connection:
            later = AT + timedelta(minutes=2)
            return (
                kept_tokens.holder(connection, text, later) is not None,
                kept_sessions.session_user(connection, cookie, later) is not None,
            )

    assert held() == (True, True)
    body, _ = put_user(filled, PRODUCER | {"disabled": True}, Precondition(1), at=AT + timedelta(minutes=1))
    assert body["disabled_at"] == AT + timedelta(minutes=1)
    assert held() == (False, False)
    again, _ = put_user(filled, PRODUCER | {"disabled": True}, Precondition(2), at=AT + timedelta(days=1))
    assert again["disabled_at"] == body["disabled_at"]
    put_user(filled, PRODUCER, Precondition(3))
    assert held() == (True, False)


def test_users_and_teams_are_listed(filled: Store) -> None:
    with filled.reading() as connection:
        page = users.list_users(connection, ROOT, users.Sought(), 50, None, bytes(32))
        assert [user["user_id"] for user in page["data"]] == ["nora", "paul", "root", "sid"]
        assert users.list_teams(connection)["data"] == [
            {"team_id": "north", "name": "Team North"},
            {"team_id": "south", "name": "Team South"},
        ]
        refused(UserNotFound, lambda: users.get_user(connection, "nobody"))


def test_a_team_has_an_id_of_its_own_and_a_name(filled: Store) -> None:
    def put_team(team_id: str, body: Any) -> Data:
        with writing(filled) as write:
            return users.put_team(write, team_id, body)

    assert put_team("east", {"name": "East"}) == {"team_id": "east", "name": "East"}
    assert list(faults(refused(InvalidInput, lambda: put_team("east", {"name": "East"})))) == ["/team_id"]
    assert set(faults(refused(InvalidInput, lambda: put_team("a b", {"nam": ""})))) == {"/team_id", "/name", "/nam"}


# Grants


def sees(store: Store, user: User = PAUL) -> list[str]:
    with store.reading() as connection:
        found: list[str] = users.me(connection, user)["clients"]
        return found


def test_grants_come_and_go_and_twice_is_once(filled: Store) -> None:
    grant(filled, "N1")
    grant(filled, "S1")
    before = count_of(filled, "audit")
    grant(filled, "N1")
    assert sees(filled) == ["N1", "S1"]
    assert get_user(filled, "paul")["clients"] == ["N1", "S1"]
    assert count_of(filled, "audit") == before
    for _ in range(2):
        with writing(filled) as write:
            grants.withdraw(write, ROOT, "paul", "N1")
    assert sees(filled) == ["S1"]
    assert count_of(filled, "audit") == before + 1


@pytest.mark.parametrize("change", [grants.grant, grants.withdraw])
def test_nobody_grants_or_withdraws_what_they_do_not_see(filled: Store, change: Any) -> None:
    for by, client_id in ((NORA, "S1"), (SID, "N1"), (PAUL, "N1"), (ROOT, "NONE")):
        with writing(filled) as write:
            refused(ClientNotFound, partial(change, write, by, "paul", client_id))
            write.unchanged()


def test_only_producers_are_granted_clients(filled: Store) -> None:
    for user_id in ("sid", "root"):
        with writing(filled) as write:
            refusal = refused(InvalidInput, partial(grants.grant, write, ROOT, user_id, "N1"))
            write.unchanged()
        assert list(faults(refusal)) == ["/user_id"]
    with writing(filled) as write:
        refused(UserNotFound, lambda: grants.grant(write, ROOT, "nobody", "N1"))
        write.unchanged()


# Access requests


def ask(store: Store, *client_ids: str, user: User = PAUL) -> str:
    with writing(store, by_now(store), user.user_id) as write:
        body = {"client_ids": list(client_ids), "reason": "new broker"}
        request_id: str = grants.request_access(write, user, body)["request_id"]
        return request_id


def by_now(store: Store) -> datetime:
    """Give an instant later than all so far."""
    return AT + timedelta(minutes=count_of(store, "audit"))


def decide(store: Store, by: User, request_id: str, decision: str = "granted", **body: Any) -> Data:
    with writing(store, by_now(store), by.user_id) as write:
        return grants.decide(write, by, request_id, {"decision": decision, **body})


def requests(store: Store, user: User) -> list[Data]:
    with store.reading() as connection:
        found: list[Data] = grants.access_requests(connection, user)["data"]
        return found


def decisions(store: Store, user: User = PAUL) -> dict[str, str]:
    return {
        client["client_id"]: client["decision"] for request in requests(store, user) for client in request["clients"]
    }


def test_of_a_request_each_team_decides_on_its_own_clients(filled: Store) -> None:
    request_id = ask(filled, "N1", "S1", "N2")
    assert decisions(filled) == dict.fromkeys(("N1", "N2", "S1"), "pending")
    assert decisions(filled, NORA) == dict.fromkeys(("N1", "N2"), "pending")
    assert decisions(filled, SID) == {"S1": "pending"}
    assert decisions(filled, ROOT) == decisions(filled)
    assert decide(filled, NORA, request_id, client_ids=["N2"], reason="known")["client_ids"] == ["N2"]
    assert decide(filled, SID, request_id, "declined")["client_ids"] == ["S1"]
    assert decisions(filled) == {"N1": "pending", "N2": "granted", "S1": "declined"}
    assert sees(filled) == ["N2"]
    assert decide(filled, ROOT, request_id)["client_ids"] == ["N1"]
    assert sees(filled) == ["N1", "N2"]
    (request,) = requests(filled, PAUL)
    assert (request["user_id"], request["reason"]) == ("paul", "new broker")
    assert [client["decision_reason"] for client in request["clients"]] == [None, "known", None]


def test_a_request_answers_the_same_for_a_client_that_is_not_there(filled: Store) -> None:
    request_id = ask(filled, "N1", "NOPE")
    (request,) = requests(filled, PAUL)
    told = {client.pop("client_id"): client for client in request["clients"]}
    assert told["N1"] == told["NOPE"]
    assert [client["client_id"] for client in requests(filled, NORA)[0]["clients"]] == ["N1"]
    refused(RequestNotFound, lambda: decide(filled, NORA, request_id, client_ids=["NOPE"]))
    decide(filled, NORA, request_id)
    refused(RequestNotFound, lambda: decide(filled, ROOT, request_id))


def test_what_is_not_ones_own_to_decide_is_not_found(filled: Store) -> None:
    request_id = ask(filled, "N1", "S1")
    for by, chosen in ((NORA, ["S1"]), (NORA, ["N1", "S1"]), (SID, ["N1"]), (NORA, ["N2"])):
        refused(RequestNotFound, partial(decide, filled, by, request_id, client_ids=chosen))
    refused(RequestNotFound, lambda: decide(filled, NORA, "no such request"))
    decide(filled, NORA, request_id)
    refused(RequestNotFound, lambda: decide(filled, NORA, request_id, "declined"))
    assert decisions(filled) == {"N1": "granted", "S1": "pending"}


def test_a_client_named_twice_is_decided_on_once(filled: Store) -> None:
    request_id = ask(filled, "N1", "N1")
    before = count_of(filled, "audit")
    assert decide(filled, NORA, request_id, client_ids=["N1", "N1"])["client_ids"] == ["N1"]
    assert count_of(filled, "audit") == before + 1


def test_a_request_that_cannot_be_meant_is_refused(filled: Store) -> None:
    wrong: list[tuple[Any, set[str]]] = [
        ({}, {"/client_ids", "/reason"}),
        ({"client_ids": [], "reason": "x"}, {"/client_ids"}),
        ({"client_ids": ["a b", 1], "reason": "x"}, {"/client_ids/0", "/client_ids/1"}),
        ({"client_ids": [f"C{n}" for n in range(201)], "reason": "x"}, {"/client_ids"}),
        ({"client_ids": ["N1"], "reason": "x", "user_id": "root"}, {"/user_id"}),
    ]
    for body, places in wrong:
        with writing(filled) as write:
            assert set(faults(refused(InvalidInput, partial(grants.request_access, write, PAUL, body)))) == places
            write.unchanged()


# Tokens and terms


def test_a_token_is_shown_once_and_counts_until_it_ends(filled: Store) -> None:
    with writing(filled, AT, "paul") as write:
        made = tokens.make_token(write, PAUL, {"name": "script", "days": 2})
    text = made.pop("token")
    assert made["expires_at"] == made["created_at"] + timedelta(days=2)

    def holder(after: timedelta) -> str | None:
        with filled.reading() as connection:
            found = kept_tokens.holder(connection, text, made["created_at"] + after)
            return found[0].user_id if found else None

    assert holder(timedelta(days=2) - timedelta(seconds=1)) == "paul"
    assert holder(timedelta(days=2)) is None
    with filled.reading() as connection:
        for listed in (tokens.list_tokens(connection, PAUL), tokens.tokens_of(connection, "paul")):
            assert text not in str(listed)
            assert [token["token_id"] for token in listed["data"]] == [made["token_id"]]
        for user in (NORA, ROOT):
            assert tokens.list_tokens(connection, user)["data"] == []
        assert refused(UserNotFound, lambda: tokens.tokens_of(connection, "nobody"))


@pytest.mark.parametrize("days", [0, 366, -1, "90", 1.0])
def test_a_token_lives_a_year_at_most(filled: Store, days: Any) -> None:
    with writing(filled) as write:
        refusal = refused(InvalidInput, lambda: tokens.make_token(write, PAUL, {"name": "script", "days": days}))
        write.unchanged()
    assert list(faults(refusal)) == ["/days"]


def test_a_token_is_revoked_by_its_owner_or_an_administrator_once(filled: Store) -> None:
    def made() -> Data:
        with writing(filled) as write:
            return tokens.make_token(write, PAUL, {"name": "script"})

    def revoke(by: User, token_id: str) -> None:
        with writing(filled, AT, by.user_id) as write:
            tokens.revoke_token(write, by, token_id)

    first, second = made(), made()
    for by, token_id in ((NORA, first["token_id"]), (PAUL, "none")):
        refused(TokenNotFound, partial(revoke, by, token_id))
    revoke(PAUL, first["token_id"])
    revoke(ROOT, second["token_id"])
    refused(TokenNotFound, lambda: revoke(PAUL, first["token_id"]))
    with filled.reading() as connection:
        for token in (first, second):
            assert kept_tokens.holder(connection, token["token"], AT + timedelta(minutes=1)) is None


def test_terms_are_accepted_and_declined_and_change_nothing_else(filled: Store) -> None:
    put_user(filled, PRODUCER | {"entitlements": ["client_administration"]})
    with filled.reading() as connection:
        as_signed_in = kept_users.user(connection, "pat")
    assert as_signed_in is not None
    put_user(filled, PRODUCER | {"name": "Renamed", "entitlements": []}, Precondition(1))
    for accepted, at in ((True, AT + timedelta(days=1)), (False, None)):
        with writing(filled, AT + timedelta(days=1), "pat") as write:
            body = users.accept_terms(write, as_signed_in, accepted=accepted)
        assert (body["payment_terms_accepted_at"] is not None) is (at is not None)
        assert (body["name"], body["entitlements"]) == ("Renamed", [])
    assert get_user(filled)["version"] == 4
    assert users.terms({"accepted": True}) is True
    refused(InvalidInput, lambda: users.terms({"accepted": 1}))


# The audit


def audited(store: Store, user: User, limit: int = 200, client_id: str | None = None, **how: Any) -> list[Data]:
    """Give every row that a user reads, page by page."""
    found: list[Data] = []
    cursor: str | None = ""
    with store.reading() as connection:
        while cursor is not None:
            page = list_audit(connection, user, limit, cursor or None, bytes(32), Sought(client_id=client_id, **how))
            assert len(page["data"]) <= limit
            found += page["data"]
            cursor = page["next_cursor"]
    return found


def test_an_audit_has_rows_of_the_clients_that_its_reader_sees_now(filled: Store) -> None:
    put_account(filled, "A", "N1", by=NORA)
    put_account(filled, "A", "S1", by=SID)
    add(filled, "rule", client_id="S1", by=SID, since="2027-01", grace={"days": 40})
    grant(filled, "N1")
    assert {row["client_id"] for row in audited(filled, ROOT)} == {None, "N1", "N2", "S1"}
    assert {row["client_id"] for row in audited(filled, NORA)} == {"N1", "N2"}
    assert {row["client_id"] for row in audited(filled, SID)} == {"S1"}
    assert {row["client_id"] for row in audited(filled, PAUL)} == {"N1"}
    with writing(filled, by_now(filled), "nora") as write:
        kept_users.change_user(
            write.connection, User("nora", "Nora", "client_manager", "PA", 2, frozenset(), frozenset())
        )
        write.audit("move_to_another_team", subject="nora")
    # What she did to N1 is no longer hers to read; what she did to no client is.
    assert [row["action"] for row in audited(filled, NORA)] == ["move_to_another_team"]


def test_an_audit_can_be_read_of_one_client_and_page_by_page(filled: Store) -> None:
    put_account(filled, "A", "N1", by=NORA)
    assert [row["action"] for row in audited(filled, NORA, client_id="N1")] == ["put_client", "put_bill_account"]
    for client_id in ("S1", "NONE"):
        refused(ClientNotFound, partial(audited, filled, NORA, client_id=client_id))
    everything = audited(filled, ROOT)
    for limit in (1, 2, 3, 200):
        assert audited(filled, ROOT, limit) == everything
        assert audited(filled, ROOT, limit, newest=True) == everything[::-1]
    assert [row["sequence"] for row in everything] == list(range(1, len(everything) + 1))


def test_an_audit_row_tells_who_did_what_when_and_before_and_after(filled: Store) -> None:
    (row,) = [row for row in audited(filled, NORA, client_id="N2") if row["action"] == "put_client"]
    assert (row["actor"], row["before"], row["after"]["name"]) == ("root", None, "Client N2")
    assert AT <= row["at"] < AT + timedelta(seconds=1)
    assert row["sequence"] is row["hash"] is None
    (row,) = [row for row in audited(filled, ROOT, client_id="N2") if row["action"] == "put_client"]
    assert len(bytes.fromhex(row["hash"])) == 32


def test_who_may_see_a_client_is_for_its_managers_to_read_and_for_nobody_else(filled: Store) -> None:
    grant(filled, "N1")
    with filled.writing(By("nora", by_now(filled), "of-nora", "r1")) as write:
        for action, subject in (("access_declined", "zoe"), ("make_feed", "f1"), ("add_rule", None)):
            write.audit(action, client_id="N1", subject=subject, reason="between the two of them")
    of_paul = audited(filled, PAUL, client_id="N1")
    assert {row["action"] for row in of_paul} == {"put_client", "add_rule"}
    assert {(row["token_id"], row["request_id"]) for row in of_paul} == {(None, None)}
    assert "access_declined" in {row["action"] for row in audited(filled, NORA)}
    with writing(filled, by_now(filled), "sid") as write:
        write.audit("make_feed", client_id="N1", subject="f2")
    assert [row["subject"] for row in audited(filled, NORA) if row["action"] == "make_feed"] == ["f1"]
    assert {row["token_id"] for row in audited(filled, NORA) if row["action"] == "make_feed"} == {"of-nora"}


def test_pages_of_an_audit_hold_rows_of_one_instant_however_they_are_cut(filled: Store) -> None:
    with writing(filled, by_now(filled), "nora") as write:
        for number in range(7):
            write.audit("add_rule", client_id="N1", reason=str(number))
    for limit in range(1, 9):
        for newest in (False, True):
            reasons = [row["reason"] for row in audited(filled, NORA, limit, newest=newest) if row["reason"]]
            assert reasons == sorted("0123456", reverse=newest)


def test_no_secret_stands_in_the_audit(filled: Store) -> None:
    with writing(filled, AT, "paul") as write:
        made = tokens.make_token(write, PAUL, {"name": "script"})
    assert made["token"] not in str(audited(filled, ROOT))
    assert made["token"].rsplit("_", 1)[-1] not in str(audited(filled, ROOT))
    assert datetime(2026, 1, 1, tzinfo=UTC) < made["created_at"]
