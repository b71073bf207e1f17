"""Users, entitlements, teams, grants, access requests, tokens and sessions, on SQLite and on PostgreSQL alike."""

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ebill.store import grants, sessions, tokens, users
from ebill.store.engine import Store
from ebill.store.sessions import SESSION_IDLE, SESSION_WHOLE
from ebill.store.tables import ENTITLEMENTS, metadata
from ebill.store.tables import sessions as sessions_table
from ebill.store.tables import tokens as tokens_table
from ebill.store.tokens import Token
from ebill.store.users import User
from tests.records import ACME, AT, ZENITH, asked, changing, furnish, user

pytestmark = pytest.mark.anywhere

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
PAT = user(entitlements=frozenset(ENTITLEMENTS))
NORA = user("nora-north", "client_manager", teams=frozenset({"north", "south"}))
ADA = user("ada-admin", "admin")


@pytest.fixture(autouse=True)
def somebody(store: Store) -> None:
    furnish(store)
    with changing(store) as connection:
        for each in (PAT, NORA, ADA):
            users.add_user(connection, each, AT)


def found(store: Store, user_id: str) -> User | None:
    with store.reading() as connection:
        return users.user(connection, user_id)


# Users


@pytest.mark.parametrize("given", [PAT, NORA, ADA], ids=["producer", "client manager", "admin"])
def test_a_user_comes_back_as_they_were_kept(store: Store, given: User) -> None:
    assert found(store, given.user_id) == given


@pytest.mark.parametrize("user_id", ["nobody", "PAT-PRODUCER", "pat-producer ", ""])
def test_there_is_no_other_user(store: Store, user_id: str) -> None:
    assert found(store, user_id) is None


def test_all_users_come_by_id(store: Store) -> None:
    with store.reading() as connection:
        assert users.all_users(connection) == [ADA, NORA, PAT]


def test_an_id_is_taken_whatever_its_case(store: Store) -> None:
    with store.reading() as connection:
        taken = [users.is_taken(connection, each) for each in ("pat-producer", "Pat-PRODUCER", "pat")]
    assert taken == [True, True, False]
    with pytest.raises(IntegrityError), changing(store) as connection:
        users.add_user(connection, user("PAT-producer"), AT)


def test_a_change_of_a_user_keeps_all_but_the_role(store: Store) -> None:
    changed = User(PAT.user_id, "Pat", "admin", "NY", 2, frozenset({"renewals"}), frozenset({"south"}), AT, AT + DAY)
    with changing(store) as connection:
        users.change_user(connection, changed)
    assert found(store, PAT.user_id) == replace(changed, role="producer")
    back = replace(PAT, version=3, entitlements=frozenset(), teams=frozenset())
    with changing(store) as connection:
        users.change_user(connection, back)
    assert found(store, PAT.user_id) == back
    assert found(store, NORA.user_id) == NORA


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_change_of_a_user_follows_the_version_before(store: Store, version: int) -> None:
    with pytest.raises(RuntimeError, match="moved on"), changing(store) as connection:
        users.change_user(connection, replace(PAT, version=version, name="Pat"))
    assert found(store, PAT.user_id) == PAT


def test_administrators_who_may_sign_in_are_counted(store: Store) -> None:
    with changing(store) as connection:
        users.add_user(connection, user("bob-admin", "admin"), AT)
        users.change_user(connection, replace(ADA, version=2, disabled_at=AT))
    with store.reading() as connection:
        assert users.active_admins(connection) == ["bob-admin"]


def test_a_password_is_kept_as_its_hash(store: Store) -> None:
    with store.reading() as connection:
        assert users.password_of(connection, "pat-producer") is None
    with changing(store) as connection:
        users.set_password(connection, "pat-producer", "$argon2id$1")
    with store.reading() as connection:
        passwords = [users.password_of(connection, each) for each in ("pat-producer", "nora-north", "nobody")]
    assert passwords == ["$argon2id$1", None, None]


def test_a_password_is_no_part_of_a_user() -> None:
    assert "password" not in User.__slots__
    assert "password" in metadata.tables["user_account"].columns


# Teams, grants, requests


def test_teams_come_by_id_with_their_names(store: Store) -> None:
    with store.reading() as connection:
        assert list(users.team_names(connection).items()) == [("north", "North"), ("south", "South")]
    with pytest.raises(IntegrityError), changing(store) as connection:
        users.add_team(connection, "north", "Nord")


def test_a_client_is_granted_once_and_withdrawn_once(store: Store) -> None:
    with changing(store) as connection:
        granted = [grants.grant(connection, "pat-producer", each, "nora", AT) for each in (ZENITH, ACME, ACME)]
        assert granted == [True, True, False]
        assert grants.granted(connection, "pat-producer") == [ACME, ZENITH]
        assert grants.granted(connection, "nora-north") == []
        withdrawn = [grants.withdraw(connection, who, ACME) for who in ("nora-north", "pat-producer", "pat-producer")]
        assert withdrawn == [False, True, False]
        assert grants.granted(connection, "pat-producer") == [ZENITH]


@pytest.mark.parametrize(("user_id", "client_id"), [("nobody", ACME), ("pat-producer", "3000-NOBODY")])
def test_a_grant_is_of_a_client_there_is_to_a_user_there_is(store: Store, user_id: str, client_id: str) -> None:
    with pytest.raises(IntegrityError), changing(store) as connection:
        grants.grant(connection, user_id, client_id, "nora", AT)


def asked_for(rows: list[Any]) -> list[tuple[str, str, str]]:
    return [(row.request_id, row.client_id, row.decision) for row in rows]


def test_a_request_is_for_several_clients_whether_they_are_there_or_not(store: Store) -> None:
    with changing(store) as connection:
        grants.add_request(connection, "r1", "pat-producer", [ZENITH, "3000-NOBODY", ACME], "a reason", AT)
        grants.add_request(connection, "r2", "pat-producer", [ACME], "again", AT + DAY)
    with store.reading() as connection:
        own = grants.requests_of(connection, "pat-producer")
        assert asked_for(own) == [
            ("r2", ACME, "pending"),
            ("r1", ACME, "pending"),
            ("r1", ZENITH, "pending"),
            ("r1", "3000-NOBODY", "pending"),
        ]
        assert [(row.user_id, row.requested_at, row.reason) for row in own[:2]] == [
            ("pat-producer", AT + DAY, "again"),
            ("pat-producer", AT, "a reason"),
        ]
        assert grants.requests_of(connection, "nora-north") == []


@pytest.mark.parametrize(
    ("teams", "seen"),
    [
        (None, [("r1", ACME, "pending"), ("r1", ZENITH, "pending")]),
        (["north"], [("r1", ACME, "pending")]),
        (["south", "north"], [("r1", ACME, "pending"), ("r1", ZENITH, "pending")]),
        (["east"], []),
        ([], []),
    ],
)
def test_a_request_is_seen_by_the_team_of_each_client(
    store: Store, teams: list[str] | None, seen: list[tuple[str, str, str]]
) -> None:
    with changing(store) as connection:
        grants.add_request(connection, "r1", "pat-producer", [ZENITH, "3000-NOBODY", ACME], "a reason", AT)
    with store.reading() as connection:
        assert asked_for(grants.requests_to(connection, teams)) == seen


def test_a_decision_is_made_once_for_each_client(store: Store) -> None:
    with changing(store) as connection:
        grants.add_request(connection, "r1", "pat-producer", [ACME, ZENITH], "a reason", AT)
        grants.add_request(connection, "r2", "pat-producer", [ACME], "again", AT)
    with changing(store) as connection:
        decided = [
            grants.decide(connection, request_id, client_id, decision, "nora", AT + DAY, "because")
            for request_id, client_id, decision in (
                ("r1", ACME, "granted"),
                ("r1", ACME, "declined"),
                ("r1", ZENITH, "declined"),
                ("r1", "3000-NOBODY", "granted"),
                ("r9", ACME, "granted"),
            )
        ]
    assert decided == [True, False, True, False, False]
    with store.reading() as connection:
        own = grants.requests_of(connection, "pat-producer")
    assert [(*row[-4:],) for row in own] == [
        (ACME, "granted", AT + DAY, "because"),
        (ZENITH, "declined", AT + DAY, "because"),
        (ACME, "pending", None, None),
    ]


# Tokens


def new_token(store: Store, expires_at: datetime = AT + 90 * DAY, user_id: str = "pat-producer") -> tuple[Token, str]:
    with changing(store) as connection:
        return tokens.new_token(connection, user_id, "laptop", AT, expires_at)


def held(store: Store, text: str, at: datetime = AT) -> tuple[User, str] | None:
    with store.reading() as connection:
        return tokens.holder(connection, text, at)


def test_a_token_is_a_prefix_an_id_a_secret_and_a_checksum(store: Store) -> None:
    token, written = new_token(store)
    form = re.fullmatch(r"ebp_([0-9a-f]{16})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})", written)
    assert form
    assert form[1] == token.token_id
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    value = 0
    for digit in form[3]:
        value = value * 62 + digits.index(digit)
    assert value == zlib.crc32(written[:-6].encode())


def test_no_two_tokens_are_alike(store: Store) -> None:
    made = [new_token(store) for _ in range(20)]
    assert len({token.token_id for token, _ in made}) == 20
    assert len({written[21:64] for _, written in made}) == 20


def test_a_token_is_kept_as_a_hash_only(store: Store) -> None:
    _, written = new_token(store)
    with store.reading() as connection:
        kept = connection.execute(select(tokens_table)).one()
    secret = written.split("_")[2][:43]
    assert len(kept.hash) == 32
    assert not any(secret in str(value) or secret.encode() in bytes(str(value), "utf-8") for value in kept)
    assert secret.encode() not in kept.hash


def test_the_holder_of_a_token_is_its_user_until_it_expires(store: Store) -> None:
    token, written = new_token(store, AT + DAY)
    assert held(store, written) == (PAT, token.token_id)
    assert held(store, written, AT + DAY - TICK) == (PAT, token.token_id)
    assert held(store, written, AT + DAY) is None


def altered(written: str, place: int) -> str:
    """Replace one character by another of its kind."""
    other = "0" if written[place] != "0" else "1"
    return written[:place] + other + written[place + 1 :]


def with_checksum(text: str) -> str:
    return text + tokens._base62(zlib.crc32(text.encode()), 6)


WRONG: dict[str, Callable[[str, str], str]] = {
    "nothing": lambda _written, _other: "",
    "the prefix alone": lambda _written, _other: "ebp_",
    "cut by one": lambda written, _other: written[:-1],
    "cut to its id": lambda written, _other: written[:20],
    "longer by one": lambda written, _other: written + "0",
    "a space after it": lambda written, _other: written + " ",
    "a line after it": lambda written, _other: written + "\n",
    "NUL after it": lambda written, _other: written + "\0",
    "another prefix": lambda written, _other: "ebx_" + written[4:],
    "a prefix in capitals": lambda written, _other: "EBP_" + written[4:],
    "no prefix": lambda written, _other: written[4:],
    "an id in capitals": lambda written, _other: written[:4] + written[4:20].upper() + written[20:],
    "an unknown id": lambda written, _other: with_checksum("ebp_" + "0" * 16 + written[20:64]),
    "another's id": lambda written, other: with_checksum(other[:20] + written[20:64]),
    "a wrong secret": lambda written, _other: altered(written, 30),
    "a wrong secret with a right checksum": lambda written, _other: with_checksum(altered(written, 30)[:64]),
    "a wrong checksum": lambda written, _other: altered(written, 66),
    "no ASCII": lambda written, _other: written[:-1] + "é",
    "digits of another script": lambda written, _other: written[:-1] + "\u0663",
    "a lone surrogate": lambda written, _other: written[:-1] + "\ud800",
    "a million characters": lambda written, _other: written * 15_000,
}


def test_what_is_no_token_is_nobodys_and_costs_one_question_whatever_is_wrong_with_it(store: Store) -> None:
    _, written = new_token(store)
    _, other = new_token(store, user_id="nora-north")
    for what, spoil in WRONG.items():
        spoilt = spoil(written, other)
        assert spoilt != written, what
        with store.reading() as connection, asked(store) as questions:
            assert tokens.holder(connection, spoilt, AT) is None, what
        assert len(questions) == 1, what
    assert held(store, written) is not None


@pytest.mark.parametrize("reason", ["expired", "revoked", "disabled"])
def test_a_token_that_counts_no_more_is_nobodys_and_costs_as_much(store: Store, reason: str) -> None:
    token, written = new_token(store, AT + DAY)
    at = AT + DAY if reason == "expired" else AT
    with changing(store) as connection:
        if reason == "revoked":
            assert tokens.revoke(connection, token.token_id, AT)
        if reason == "disabled":
            users.change_user(connection, replace(PAT, version=2, disabled_at=AT))
    with store.reading() as connection, asked(store) as questions:
        assert tokens.holder(connection, written, at) is None
    assert len(questions) == 1


def test_a_token_is_revoked_once_and_for_good(store: Store) -> None:
    token, written = new_token(store)
    with changing(store) as connection:
        revoked = [tokens.revoke(connection, each, AT + TICK) for each in (token.token_id, token.token_id, "nothing")]
    assert revoked == [True, False, False]
    assert held(store, written, AT + DAY) is None
    with store.reading() as connection:
        assert tokens.tokens_of(connection, "pat-producer") == [replace(token, revoked_at=AT + TICK)]


def test_the_tokens_of_a_user_are_theirs_oldest_first(store: Store) -> None:
    with changing(store) as connection:
        second, _ = tokens.new_token(connection, "pat-producer", "b", AT + DAY, AT + 2 * DAY)
        first, _ = tokens.new_token(connection, "pat-producer", "a", AT, AT + 2 * DAY)
        another, _ = tokens.new_token(connection, "nora-north", "c", AT + 2 * DAY, AT + 3 * DAY)
    with store.reading() as connection:
        assert tokens.tokens_of(connection, "pat-producer") == [first, second]
        assert tokens.tokens_of(connection, None) == [first, second, another]
        assert tokens.tokens_of(connection, "nobody") == []


def test_the_last_use_of_a_token_is_known_to_a_few_minutes(store: Store) -> None:
    token, written = new_token(store)
    minute = timedelta(minutes=1)
    last = None
    for at, due in [(AT, True), (AT + 4 * minute, False), (AT + 5 * minute, True), (AT, False), (AT + DAY, True)]:
        with store.reading() as connection:
            assert tokens.use_is_due(connection, token.token_id, at) == due
        with store.noting() as connection:
            tokens.used(connection, token.token_id, at)
        last = at if due else last
        with store.reading() as connection:
            assert tokens.tokens_of(connection, None)[0].last_used_at == last
    assert held(store, written) is not None
    with store.reading() as connection:
        assert not tokens.use_is_due(connection, "nothing", AT)


# Sessions


def new_session(store: Store, user_id: str = "pat-producer", at: datetime = AT) -> str:
    with changing(store) as connection:
        return sessions.new_session(connection, user_id, at)


def session_user(store: Store, cookie: str, at: datetime) -> User | None:
    with store.reading() as connection:
        return sessions.session_user(connection, cookie, at)


def see(store: Store, cookie: str, at: datetime) -> None:
    with store.noting() as connection:
        sessions.seen(connection, cookie, at)


def test_a_session_is_256_random_bits_kept_as_a_hash_only(store: Store) -> None:
    cookies = [new_session(store) for _ in range(20)]
    assert len(set(cookies)) == 20
    assert all(re.fullmatch(r"[0-9A-Za-z_-]{43}", cookie) for cookie in cookies)
    with store.reading() as connection:
        kept = connection.execute(select(sessions_table)).all()
    assert not any(cookie in repr(kept) for cookie in cookies)
    assert {len(row.hash) for row in kept} == {32}


@pytest.mark.parametrize(
    ("later", "is_on"),
    [(timedelta(0), True), (timedelta(minutes=30), True), (timedelta(minutes=30) + TICK, False), (DAY, False)],
)
def test_a_session_ends_when_it_has_idled_for_half_an_hour(store: Store, later: timedelta, is_on: bool) -> None:
    cookie = new_session(store)
    assert (session_user(store, cookie, AT + later) == PAT) == is_on


def test_a_session_in_use_ends_after_eight_hours(store: Store) -> None:
    cookie = new_session(store)
    at = AT
    while at + SESSION_IDLE < AT + SESSION_WHOLE:
        at += SESSION_IDLE
        assert session_user(store, cookie, at) == PAT
        see(store, cookie, at)
    see(store, cookie, AT + timedelta(hours=7, minutes=59))
    assert session_user(store, cookie, AT + timedelta(hours=8)) == PAT
    assert session_user(store, cookie, AT + timedelta(hours=8) + TICK) is None


def test_the_use_of_a_session_is_noted_every_minute_and_not_taken_back(store: Store) -> None:
    cookie = new_session(store)
    for seconds, due in [(59, False), (60, True), (0, False), (119, False), (120, True)]:
        at = AT + timedelta(seconds=seconds)
        with store.reading() as connection:
            assert sessions.session_use_is_due(connection, cookie, at) == due
        see(store, cookie, at)
    with store.reading() as connection:
        assert connection.scalar(select(sessions_table.c.seen_at)) == AT + timedelta(minutes=2)


@pytest.mark.parametrize("cookie", ["", "0" * 43, "é", "\0", "\ud800", "x" * 1_000_000])
def test_what_is_no_session_is_nobodys(store: Store, cookie: str) -> None:
    new_session(store)
    assert session_user(store, cookie, AT) is None


def test_one_session_ends_or_all_of_a_user_and_nobody_elses(store: Store) -> None:
    first, second, third = (new_session(store) for _ in range(3))
    other = new_session(store, "nora-north")
    with changing(store) as connection:
        assert sessions.end_sessions(connection, "nora-north", AT, first) == 0
        assert sessions.end_sessions(connection, "pat-producer", AT, first) == 1
        assert sessions.end_sessions(connection, "pat-producer", AT, first) == 0
    assert [session_user(store, each, AT) for each in (first, second, third, other)] == [None, PAT, PAT, NORA]
    with changing(store) as connection:
        assert sessions.end_sessions(connection, "pat-producer", AT) == 2
    assert [session_user(store, each, AT) for each in (first, second, third, other)] == [None, None, None, NORA]


def test_a_disabled_user_has_no_session(store: Store) -> None:
    cookie = new_session(store)
    with changing(store) as connection:
        users.change_user(connection, replace(PAT, version=2, disabled_at=AT))
    assert session_user(store, cookie, AT) is None
    with changing(store) as connection:
        users.change_user(connection, replace(PAT, version=3))
    assert session_user(store, cookie, AT) == replace(PAT, version=3)


def test_an_ended_session_is_not_seen_again(store: Store) -> None:
    cookie = new_session(store)
    with changing(store) as connection:
        sessions.end_sessions(connection, "pat-producer", AT)
    see(store, cookie, AT + timedelta(minutes=5))
    assert session_user(store, cookie, AT + timedelta(minutes=5)) is None
