"""Who may see and do what, decided from the user alone or by one query. Source: the specification, section 4."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any, get_args
from unittest.mock import Mock, patch

import pytest
from sqlalchemy import select

from ebill import access
from ebill.access import MAY, NEEDS, Action
from ebill.errors import ClientNotFound, MissingEntitlement, OutsideScope, Refusal
from ebill.store import clients, grants, sessions, tokens, users
from ebill.store.engine import Store
from ebill.store.glance import Glance
from ebill.store.tables import ENTITLEMENTS, ROLES
from ebill.store.tables import clients as client_rows
from ebill.store.users import User
from tests.records import ACME, AT, BY, ZENITH, asked, changing, client, furnish, user

pytestmark = pytest.mark.anywhere

ALL = frozenset(ENTITLEMENTS)
ADMINISTRATION = frozenset({"client_administration"})
OTHER = "3000-OTHER"
UNKNOWN = "9999-NOBODY"
DAY = timedelta(days=1)

# The table of section 4, one line an action: what a producer, a client manager and an administrator may.
ROLES_MAY = """
public            producer client_manager admin
know_oneself      producer client_manager admin
own               producer client_manager admin
read_client       producer client_manager admin
configure_client           client_manager admin
record_payments   producer client_manager admin
make_feed         producer client_manager admin
request_access    producer
decide_access              client_manager admin
import_clients             client_manager admin
read_audit        producer client_manager admin
administer                                admin
"""
MAY_AT_ALL = {name: frozenset(roles) for name, *roles in (line.split() for line in ROLES_MAY.strip().splitlines())}


def verdict(who: User, action: Action) -> str:
    try:
        access.allow(who, action)
    except MissingEntitlement as refusal:
        return refusal.entitlement
    except Refusal as refusal:
        return refusal.code
    return "allowed"


# What a user may do at all


def test_the_table_has_every_action_and_no_other() -> None:
    assert set(MAY_AT_ALL) == set(get_args(Action)) == set(MAY)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", get_args(Action))
def test_a_role_may_do_what_the_table_says_and_nothing_else(role: str, action: Action) -> None:
    may = verdict(user(role=role, entitlements=ALL, terms_accepted_at=AT), action) == "allowed"
    assert may == (role in MAY_AT_ALL[action])


@pytest.mark.parametrize("action", ["read_client", "record_payments", "make_feed", "read_audit"])
def test_a_producer_needs_client_administration_for_it_whatever_else_they_have(action: Action) -> None:
    without = ALL - ADMINISTRATION
    assert NEEDS[action] == "client_administration"
    for count in range(len(without) + 1):
        for some in combinations(sorted(without), count):
            held = frozenset(some)
            assert verdict(user(entitlements=held, terms_accepted_at=AT), action) == "client_administration"
            assert verdict(user(entitlements=held | ADMINISTRATION, terms_accepted_at=AT), action) == "allowed"


@pytest.mark.parametrize("role", ["client_manager", "admin"])
def test_managers_and_administrators_need_no_entitlement(role: str) -> None:
    assert all(verdict(user(role=role), action) == "allowed" for action in get_args(Action) if role in MAY[action])


@pytest.mark.parametrize("action", sorted(set(get_args(Action)) - set(NEEDS)))
def test_nothing_else_needs_an_entitlement(action: Action) -> None:
    assert verdict(user(), action) == ("allowed" if "producer" in MAY_AT_ALL[action] else "not_allowed")


def test_a_producer_records_payments_once_the_terms_are_accepted_and_reads_without() -> None:
    declined, accepted = user(entitlements=ALL), user(entitlements=ALL, terms_accepted_at=AT)
    assert verdict(declined, "record_payments") == "payment_terms_not_accepted"
    assert verdict(accepted, "record_payments") == "allowed"
    assert all(verdict(declined, action) == verdict(accepted, action) for action in MAY if action != "record_payments")


def test_nobody_is_sent_to_accept_terms_by_a_token_that_may_not_do_it_anyway() -> None:
    reader = user(entitlements=ALL, scope=users.Scope("x", read_only=True, some_clients=False))
    with pytest.raises(OutsideScope):
        access.allow(reader, "record_payments", reads=False)


def test_an_entitlement_never_makes_up_for_a_role() -> None:
    assert verdict(user(entitlements=ALL), "configure_client") == "not_allowed"


def test_an_unknown_role_or_action_may_nothing() -> None:
    assert verdict(user(role="superuser", entitlements=ALL), "public") == "not_allowed"
    unknown: Any = "delete_everything"
    with pytest.raises(KeyError):
        access.allow(user(role="admin"), unknown)


@pytest.mark.parametrize(
    ("role", "state", "given"),
    [
        ("producer", "NY", ALL - {"agency_reports"}),
        ("producer", "PA", ALL - {"agency_reports", "general_agency_administrator"}),
        ("producer", "DE", ALL - {"agency_reports", "general_agency_administrator"}),
        ("producer", "WV", ALL - {"agency_reports", "general_agency_administrator"}),
        ("producer", "OH", ALL - {"agency_reports", "general_agency_administrator"}),
        ("producer", "ny", ALL - {"agency_reports", "general_agency_administrator"}),
        ("client_manager", "NY", frozenset()),
        ("admin", "NY", frozenset()),
    ],
)
def test_a_new_user_gets_what_is_automatic_in_their_state(role: str, state: str, given: frozenset[str]) -> None:
    assert access.default_entitlements(role, state) == given


def test_every_entitlement_that_is_given_or_needed_is_one_the_store_knows() -> None:
    assert set().union(*access.DEFAULT_ENTITLEMENTS.values(), NEEDS.values()) <= ALL
    assert set().union(*MAY.values()) == set(ROLES)


@pytest.mark.parametrize(
    ("who", "north", "nowhere"),
    [
        (user(role="admin"), True, True),
        (user(role="client_manager", teams=frozenset({"north"})), True, False),
        (user(role="client_manager", teams=frozenset({"south"})), False, False),
        (user(role="client_manager"), False, False),
        (user(entitlements=ALL), False, False),
    ],
    ids=["admin", "its manager", "another manager", "a manager without a team", "producer"],
)
def test_a_client_is_assigned_to_the_users_own_team(who: User, north: bool, nowhere: bool) -> None:
    assert [access.may_assign(who, team) for team in ("north", "nowhere")] == [north, nowhere]


# Which clients a user sees


PAT = user(entitlements=ADMINISTRATION)
GUS = user("gus-ungranted", entitlements=ALL)
UNA = user("una-unentitled")
NORA = user("nora-north", "client_manager", teams=frozenset({"north"}))
NINA = user("nina-none", "client_manager")
BOTH = user("bo-both", "client_manager", teams=frozenset({"north", "south"}))
ADA = user("ada-admin", "admin")
SEES = {
    "a producer, what was granted": (PAT, {ACME}),
    "a producer, nothing without a grant": (GUS, set()),
    "an unentitled producer, their grant still": (UNA, {ACME}),
    "a manager, their team's": (NORA, {ACME, OTHER}),
    "a manager without a team, nothing": (NINA, set()),
    "a manager of two teams, both": (BOTH, {ACME, OTHER, ZENITH}),
    "an administrator, all": (ADA, {ACME, OTHER, ZENITH}),
    "an unknown role, nothing": (user(role="superuser"), {ACME}),
}


@pytest.fixture
def inhabited(store: Store) -> Store:
    """A store with three clients of two teams, and the users above."""
    furnish(store)
    with changing(store) as connection:
        clients.put_client(connection, client(OTHER), "ada-admin", AT)
        for who in (PAT, GUS, UNA, NORA, NINA, BOTH, ADA):
            users.add_user(connection, who, AT)
        grants.grant(connection, PAT.user_id, ACME, "nora-north", AT)
        grants.grant(connection, UNA.user_id, ACME, "nora-north", AT)
        grants.grant(connection, NORA.user_id, ZENITH, "nora-north", AT)  # of no effect: a manager has their team
    return store


def seen(store: Store, who: User) -> set[str]:
    with store.reading() as connection:
        one, all_of_them = (
            set(connection.scalars(select(client_rows.c.client_id).where(condition)))
            for condition in (access.visible(who), access.among(who, client_rows.c.client_id))
        )
    assert one == all_of_them
    return one


def sees(store: Store, who: User, client_id: str) -> bool:
    with store.reading() as connection:
        try:
            access.see(connection, who, client_id)
        except ClientNotFound:
            return False
    return True


@pytest.mark.parametrize(("who", "visible"), SEES.values(), ids=SEES)
def test_a_user_sees(inhabited: Store, who: User, visible: set[str]) -> None:
    assert seen(inhabited, who) == visible
    for client_id in (ACME, OTHER, ZENITH, UNKNOWN):
        assert sees(inhabited, who, client_id) == (client_id in visible)


def test_an_id_in_another_case_is_another_id(inhabited: Store) -> None:
    assert not sees(inhabited, ADA, ACME.lower())


@pytest.mark.parametrize("who", [PAT, GUS, NORA, NINA, ADA], ids=lambda who: who.user_id)
def test_a_client_that_is_not_there_and_one_not_to_be_seen_are_asked_for_alike(inhabited: Store, who: User) -> None:
    questions = []
    for client_id in (ACME, ZENITH, UNKNOWN):
        with asked(inhabited) as found:
            sees(inhabited, who, client_id)
        questions.append(found)
    assert questions[0] == questions[1] == questions[2]
    assert len(questions[0]) == 1


def test_a_client_that_is_not_there_and_one_not_to_be_seen_are_refused_alike(inhabited: Store) -> None:
    refusals = []
    for client_id in (ZENITH, UNKNOWN):
        with inhabited.reading() as connection, pytest.raises(ClientNotFound) as raised:
            access.see(connection, PAT, client_id)
        refusals.append(raised.value)
    assert [(str(each), vars(each)) for each in refusals] == [(str(refusals[0]), vars(refusals[0]))] * 2
    assert ZENITH not in str(refusals[0])


def test_a_grant_counts_from_the_next_question_on_and_so_does_its_withdrawal(inhabited: Store) -> None:
    assert not sees(inhabited, GUS, ZENITH)
    with changing(inhabited) as connection:
        grants.grant(connection, GUS.user_id, ZENITH, "sam", AT)
    assert sees(inhabited, GUS, ZENITH)
    with changing(inhabited) as connection:
        grants.withdraw(connection, GUS.user_id, ZENITH)
    assert not sees(inhabited, GUS, ZENITH)


def test_a_client_that_changes_teams_changes_its_managers(inhabited: Store) -> None:
    with changing(inhabited) as connection:
        clients.put_client(connection, client(ACME, 2, team_id="south"), "ada-admin", AT)
    assert seen(inhabited, NORA) == {OTHER}
    assert seen(inhabited, PAT) == {ACME}


# Coming in with a token: all of it by one query


@pytest.fixture
def texts(inhabited: Store) -> dict[str, str]:
    """A token of every user."""
    with changing(inhabited) as connection:
        return {
            who.user_id: tokens.new_token(connection, who.user_id, "laptop", AT, AT + DAY)[1]
            for who in (PAT, GUS, UNA, NORA, NINA, BOTH, ADA)
        }


@contextmanager
def glancing(store: Store) -> Iterator[Glance]:
    """Glance at a store that is held still."""
    with store.glancing() as glance, glance.still():
        yield glance


def entered(store: Store, text: str, action: Action, client_id: str | None, at: datetime = AT) -> Any:
    """Come in by either way to ask, which must be the same; give what came of it, or the refusal's code."""
    found: list[Any] = []
    for door in (store.reading, lambda: glancing(store), lambda: glancing(store)):  # the last one may remember
        with door() as connection:
            try:
                found.append(access.enter(connection, text, at, action, client_id))
            except Refusal as refusal:
                found.append((refusal.code, str(refusal)))
    assert found[0] == found[1] == found[2]
    return found[0]


@pytest.mark.parametrize("client_id", [None, ACME, OTHER, ZENITH, UNKNOWN, ""])
@pytest.mark.parametrize("action", ["read_client", "configure_client", "record_payments", "request_access"])
def test_who_comes_in_is_judged_as_by_each_question_alone(
    inhabited: Store, texts: dict[str, str], action: Action, client_id: str | None
) -> None:
    for who in (PAT, GUS, UNA, NORA, NINA, BOTH, ADA):
        said = verdict(who, action)
        found = entered(inhabited, texts[who.user_id], action, client_id)
        if said != "allowed":
            assert found[0] == ("missing_entitlement" if said in ALL else said)
        elif client_id is not None and not sees(inhabited, who, client_id):
            assert found == (ClientNotFound.code, str(ClientNotFound()))
        else:
            assert found.user == who


@pytest.mark.parametrize("text", ["", "ebp_", "ebp_" + "0" * 66])
def test_who_has_no_token_does_not_come_in(inhabited: Store, text: str) -> None:
    for client_id in (None, ACME, UNKNOWN):
        assert entered(inhabited, text, "own", client_id)[0] == "unauthenticated"


def test_a_token_that_counts_no_more_lets_nobody_in(inhabited: Store, texts: dict[str, str]) -> None:
    text = texts[PAT.user_id]
    assert entered(inhabited, text, "own", ACME, AT + DAY)[0] == "unauthenticated"
    with changing(inhabited) as connection:
        users.change_user(connection, replace(PAT, version=2, disabled_at=AT))
    assert entered(inhabited, text, "own", ACME)[0] == "unauthenticated"


def test_coming_in_costs_one_question_whatever_comes_of_it(inhabited: Store, texts: dict[str, str]) -> None:
    questions = []
    for text in (texts[PAT.user_id], texts[UNA.user_id], texts[ADA.user_id], "ebp_"):
        for client_id in (None, ACME, ZENITH, UNKNOWN):
            with inhabited.reading() as connection, asked(inhabited) as found, suppress(Refusal):
                access.enter(connection, text, AT, "read_client", client_id)
            questions += found
    assert len(questions) == 16
    assert len(set(questions)) == 1


def test_at_a_glance_a_client_that_is_hidden_costs_what_a_missing_one_does(
    inhabited: Store, texts: dict[str, str]
) -> None:
    for who in (PAT, NORA):
        questions = []
        for client_id in (ZENITH, UNKNOWN, ZENITH, "C-0"):
            with glancing(inhabited) as glance, patch.object(glance, "_driver", Mock(wraps=glance._driver)) as driver:
                glance._remembered = {}
                with pytest.raises(ClientNotFound):
                    access.enter(glance, texts[who.user_id], AT, "read_client", client_id)
                questions.append([call.args[0] for call in driver.execute.call_args_list])
        assert questions == [questions[0]] * 4


def test_the_state_of_a_client_is_another_after_each_change_of_it_and_of_no_other(
    inhabited: Store, texts: dict[str, str]
) -> None:
    def state(client_id: str) -> bytes:
        found: bytes = entered(inhabited, texts[ADA.user_id], "read_client", client_id).state
        return found

    states, others = [state(ACME)], [state(ZENITH)]
    for version in (2, 3):
        with inhabited.writing(BY) as write:
            clients.put_client(write.connection, client(version=version), "ada-admin", write.at)
            write.audit("put_client", client_id=ACME)
        states.append(state(ACME))
        others.append(state(ZENITH))
    assert len(set(states)) == 3
    assert others == [b""] * 3


# What a token's scope leaves


def scoped(
    store: Store, who: User, client_ids: list[str] | None = None, *, read_only: bool = False
) -> tuple[User, str]:
    """Give somebody a token of limited scope; them as they come in by it, and its text."""
    with changing(store) as connection:
        _, text = tokens.new_token(
            connection, who.user_id, "narrow", AT, AT + DAY, read_only=read_only, client_ids=client_ids
        )
        found = tokens.holder(connection, text, AT)
    assert found is not None
    return found[0], text


@pytest.mark.parametrize(
    ("who", "named", "left"),
    [
        (PAT, [ACME], {ACME}),
        (PAT, [ZENITH], set()),
        (NORA, [ACME, ZENITH], {ACME}),
        (BOTH, [ACME, ZENITH], {ACME, ZENITH}),
        (ADA, [ZENITH], {ZENITH}),
        (ADA, [], set()),
    ],
    ids=lambda each: each.user_id if isinstance(each, User) else None,
)
def test_a_scope_leaves_of_what_its_user_sees_what_it_names(
    inhabited: Store, who: User, named: list[str], left: set[str]
) -> None:
    scoped(inhabited, ADA, [OTHER])  # that of another token is of no effect
    user_by_it, text = scoped(inhabited, who, named)
    assert seen(inhabited, user_by_it) == left
    for client_id in (ACME, OTHER, ZENITH, UNKNOWN):
        assert sees(inhabited, user_by_it, client_id) == (client_id in left)
        found = entered(inhabited, text, "read_client", client_id)
        assert (found[0] if isinstance(found[0], str) else None) == (None if client_id in left else "client_not_found")


@pytest.mark.parametrize("action", get_args(Action))
def test_a_token_for_some_clients_is_for_what_is_about_these(inhabited: Store, action: Action) -> None:
    user_by_it, _ = scoped(inhabited, ADA, [ACME])
    about = {"public", "know_oneself", "read_client", "configure_client", "record_payments", "read_audit"}
    said = verdict(ADA, action)
    assert verdict(user_by_it, action) == ("outside_scope" if said == "allowed" and action not in about else said)
    assert access.may(user_by_it, action) == (verdict(user_by_it, action) == "allowed")


def test_a_token_for_reading_alone_is_for_whatever_reads_and_sees_all_that_its_user_does(inhabited: Store) -> None:
    user_by_it, text = scoped(inhabited, NORA, read_only=True)
    assert seen(inhabited, user_by_it) == seen(inhabited, NORA)
    with inhabited.reading() as connection:
        assert access.enter(connection, text, AT, "configure_client", ACME, reads=True).user == user_by_it
    assert entered(inhabited, text, "configure_client", ACME)[0] == "outside_scope"
    assert entered(inhabited, text, "administer", ACME)[0] == "not_allowed"


def test_a_client_that_is_yet_to_be_made_is_in_no_scope(inhabited: Store, texts: dict[str, str]) -> None:
    _, text = scoped(inhabited, ADA, [ACME])
    with inhabited.reading() as connection:
        assert access.enter(connection, texts[ADA.user_id], AT, "configure_client", UNKNOWN, makes=True).state == b""
        for client_id in (ZENITH, UNKNOWN):
            with pytest.raises(ClientNotFound):
                access.enter(connection, text, AT, "configure_client", client_id, makes=True)


def test_a_user_without_a_scope_is_the_one_who_is_kept(inhabited: Store, texts: dict[str, str]) -> None:
    found = entered(inhabited, texts[PAT.user_id], "own", None)
    assert (found.user, found.user.scope) == (PAT, None)


@pytest.mark.parametrize("who", [PAT, NORA, ADA])
@pytest.mark.parametrize("client_id", [ACME, OTHER, ZENITH, UNKNOWN])
def test_a_session_opens_the_clients_that_its_user_sees(inhabited: Store, who: User, client_id: str) -> None:
    with changing(inhabited) as connection:
        cookie = sessions.new_session(connection, who.user_id, AT)
    with inhabited.reading() as connection:
        try:
            found = access.enter_session(connection, cookie, AT, "read_client", client_id).user_id
        except ClientNotFound:
            found = ""
    assert found == (who.user_id if sees(inhabited, who, client_id) else "")
