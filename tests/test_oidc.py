"""Signing in by an identity provider: a real one on loopback signs, and each thing that may be wrong opens nothing."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from requests import Session
from werkzeug.test import TestResponse

from ebill import oidc, settings
from ebill.errors import SettingsRefused
from ebill.service import sealing, sessions
from ebill.store import users
from ebill.store.audit import By
from ebill.store.engine import Store
from ebill.web.pages import oidc as pages
from tests.providers import CLIENT_ID, CLIENT_SECRET, KEY, OTHER_KEY, Provider, running
from tests.visits import HTML, Visits, text_of, visits

pytestmark = pytest.mark.anywhere

PUBLIC = "http://localhost"
SUBJECT = "248289761001"
SAID = "Nobody could be signed in this way."


@pytest.fixture(scope="module")
def server() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
def provider(server: Provider, monkeypatch: pytest.MonkeyPatch) -> Provider:
    """The provider as it is when nobody has told it to misbehave; and settings that name it."""
    issuer = server.issuer
    server.__init__()  # type: ignore[misc]
    server.issuer = issuer
    for name, value in {
        "EBILL_OIDC_ISSUER": issuer,
        "EBILL_OIDC_CLIENT_ID": CLIENT_ID,
        "EBILL_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "EBILL_OIDC_NAME": "Insurer's <b>account</b>",
        "EBILL_PUBLIC_URL": PUBLIC,
    }.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def opened(provider: Provider, sqlite_url: str) -> Iterator[Visits]:
    store = Store(sqlite_url)
    made = visits(store)
    assert provider.issuer in str(settings.oidc())
    link(made, "pat-producer", SUBJECT)
    link(made, "dan-disabled", "of-dan")
    yield made
    store.close()


def link(opened: Visits, user_id: str, subject: str | None) -> None:
    with opened.store.writing(By("ada-admin", datetime.now(UTC))) as write:
        user = users.user(write.connection, user_id)
        assert user
        users.change_user(write.connection, replace(user, version=user.version + 1, oidc_subject=subject))
        write.audit("put_user", subject=user_id)


def cookies_of(answer: TestResponse) -> dict[str, str]:
    """Give the cookies of an answer by name; those it takes back are empty."""
    found = (re.match(r"([^=]+)=([^;]*)", each) for each in answer.headers.getlist("Set-Cookie"))
    return {each[1]: each[2] for each in found if each}


def begin(opened: Visits, query: str = "") -> tuple[str, str]:
    """Begin to sign in; give where the browser is sent, and its cookie."""
    answer = opened.client.get(f"/sign-in/oidc{query}", headers={"Accept": HTML})
    assert answer.status_code == 303, text_of(answer)
    return answer.headers["Location"], cookies_of(answer)["oidc"]


def come_back(opened: Visits, address: str, cookie: str, more: str = "") -> TestResponse:
    """Come back from the provider."""
    path = address.removeprefix(PUBLIC)
    sent = "; ".join(filter(None, (f"oidc={cookie}" if cookie else "", more)))
    around = {"Accept": HTML, "Sec-Fetch-Site": "cross-site", **({"Cookie": sent} if sent else {})}
    return opened.client.get(path, headers=around)


def sign_in(opened: Visits, provider: Provider, subject: str = "", query: str = "") -> TestResponse:
    address, cookie = begin(opened, query)
    return come_back(opened, provider.authorize(address, subject=subject), cookie)


def later(much: timedelta) -> type[datetime]:
    """Give a clock that is so much late."""

    class Late(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + much

    return Late


def is_refused(answer: TestResponse) -> bool:
    page = text_of(answer)
    assert (answer.status_code, SAID in page) == (403, True), page
    assert "sid" not in cookies_of(answer)
    assert answer.headers["Cache-Control"] == "private, no-store"
    return True


def whys(text: str) -> list[str]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line["why"] for line in lines if line["event"] == "not_identified"]


def test_the_word_of_the_provider_opens_a_session_of_ours(opened: Visits, provider: Provider) -> None:
    answer = sign_in(opened, provider)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/home")
    cookies = cookies_of(answer)
    assert cookies["oidc"] == ""
    session = {"Cookie": f"sid={cookies['sid']}"}
    assert "<h1><bdi>Pat</bdi></h1>" in text_of(opened.client.get("/me", headers=session))
    row = opened.ask("admin", "GET", "/v1/audit?newest=true&limit=1").get_json()["data"][0]
    assert (row["action"], row["actor"], row["subject"]) == ("sign_in", "pat-producer", "pat-producer")


def test_the_page_to_sign_in_offers_it_only_where_it_is_set_up(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    page = text_of(opened.look("anyone", "/sign-in?next=%2Fme"))
    assert 'href="/sign-in/oidc?next=%2Fme"' in page
    assert "Insurer&#39;s &lt;b&gt;account&lt;/b&gt;" in page
    for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "NAME"):
        monkeypatch.delenv(f"EBILL_OIDC_{name}")
    without = Visits(opened.store, opened.world, opened.sessions)
    assert "/sign-in/oidc" not in text_of(without.look("anyone", "/sign-in"))
    for path in ("/sign-in/oidc", "/sign-in/oidc/callback?code=a&state=b"):
        assert without.look("anyone", path).status_code == 404


def test_what_is_asked_of_the_provider_is_as_little_as_will_do(opened: Visits, provider: Provider) -> None:
    address, _ = begin(opened)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert address.startswith(f"{provider.issuer}/authorize?")
    assert {name: asked.pop(name) for name in ("response_type", "client_id", "redirect_uri", "scope")} == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": f"{PUBLIC}/sign-in/oidc/callback",
        "scope": "openid",
    }
    assert asked.pop("code_challenge_method") == "S256"
    assert set(asked) == {"state", "nonce", "code_challenge"}
    assert {len(value) for value in asked.values()} == {43}
    again = {name: values[0] for name, values in parse_qs(urlsplit(begin(opened)[0]).query).items()}
    assert not set(asked.values()) & set(again.values())
    assert CLIENT_SECRET not in address


def test_signing_in_makes_a_new_session_whatever_cookie_came_along(opened: Visits, provider: Provider) -> None:
    address, cookie = begin(opened)
    mine = opened.sessions["manager"]
    answer = come_back(opened, provider.authorize(address), cookie, f"sid={mine}")
    assert cookies_of(answer)["sid"] not in ("", mine)
    assert opened.look("manager", "/me").status_code == 303


@pytest.mark.parametrize(
    ("to", "then"),
    [
        ("/clients/1000-ACME?from=2026-08", "/clients/1000-ACME?from=2026-08"),
        ("https://evil.example", "/home"),
        ("//evil.example", "/home"),
        ("/\\evil.example", "/home"),
        ("/sign-out", "/home"),
    ],
)
def test_after_signing_in_one_is_at_a_page_of_ours(opened: Visits, provider: Provider, to: str, then: str) -> None:
    answer = sign_in(opened, provider, query=f"?{urlencode({'next': to})}")
    assert answer.headers["Location"] == then


def test_who_is_signed_in_already_goes_on_to_a_page_of_ours(opened: Visits) -> None:
    for to, then in (("/me", "/me"), ("https://evil.example", "/home")):
        answer = opened.look("producer", f"/sign-in/oidc?{urlencode({'next': to})}")
        assert (answer.status_code, answer.headers["Location"]) == (303, then)


def test_a_place_to_go_that_comes_back_with_the_browser_counts_for_nothing(opened: Visits, provider: Provider) -> None:
    address, cookie = begin(opened)
    back = provider.authorize(address) + "&next=https://evil.example&redirect_uri=https://evil.example"
    assert come_back(opened, back, cookie).headers["Location"] == "/home"


# What opens nothing


def forged(cookie: str, **changed: str) -> str:
    """Give a cookie with parts changed, under the seal it had."""
    secret, until, to, mac = cookie.split(".")
    parts = {"secret": secret, "until": until, "to": to, "mac": mac, **changed}
    return ".".join(parts.values())


Way = Callable[[str, str], tuple[str, str]]
WAYS: dict[str, tuple[Way, str]] = {
    "no cookie": (lambda back, _: (back, ""), "cookie"),
    "garbage for a cookie": (lambda back, _: (back, "garbage"), "cookie"),
    "a longer time": (lambda back, cookie: (back, forged(cookie, until="9999999999")), "cookie"),
    "another place": (
        lambda back, cookie: (back, forged(cookie, to=base64.urlsafe_b64encode(b"/me").decode())),
        "cookie",
    ),
    "another seal": (lambda back, cookie: (back, forged(cookie, mac="0" * 64)), "cookie"),
    "a long cookie": (lambda back, cookie: (back, cookie + "x" * 2000), "cookie"),
    "another state": (lambda back, cookie: (re.sub("state=[^&]+", "state=x", back), cookie), "state"),
    "a state not in ASCII": (lambda back, cookie: (re.sub("state=[^&]+", "state=%C3%A9", back), cookie), "state"),
    "no state": (lambda back, cookie: (re.sub("&state=[^&]+", "", back), cookie), "state"),
    "another code": (lambda back, cookie: (re.sub("code=[^&]+", "code=x", back), cookie), "token_endpoint: OAuthError"),
    "no code": (lambda back, cookie: (re.sub("code=[^&]+&", "", back), cookie), "no_code"),
    "an error": (lambda back, cookie: (f"{back}&error=access_denied&error_description=<b>", cookie), "no_code"),
    "another issuer": (lambda back, cookie: (f"{back}&iss=https://another.example", cookie), "iss"),
}


@pytest.mark.parametrize("way", WAYS)
def test_who_comes_back_otherwise_than_they_went_is_refused(
    opened: Visits, provider: Provider, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    wrong, why = WAYS[way]
    address, cookie = begin(opened)
    back, sent = wrong(provider.authorize(address), cookie)
    assert is_refused(come_back(opened, back, sent))
    assert whys(capsys.readouterr().err) == [why]


def test_another_browser_s_way_back_is_refused(opened: Visits, provider: Provider) -> None:
    theirs, _ = begin(opened)
    _, mine = begin(opened)
    assert is_refused(come_back(opened, provider.authorize(theirs), mine))


def test_a_code_opens_one_session(opened: Visits, provider: Provider) -> None:
    address, cookie = begin(opened)
    back = provider.authorize(address)
    assert come_back(opened, back, cookie).status_code == 303
    assert is_refused(come_back(opened, back, cookie))


def test_a_try_is_good_for_ten_minutes(opened: Visits, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    address, cookie = begin(opened)
    back = provider.authorize(address)
    provider.claims = {"exp": timedelta(hours=1)}
    monkeypatch.setattr(pages, "datetime", later(pages.LASTS + timedelta(seconds=1)))
    assert is_refused(come_back(opened, back, cookie))


@pytest.mark.parametrize("at_once", [False, True])
def test_a_try_outlives_a_rotation_of_the_key_unless_it_is_at_once(
    opened: Visits, provider: Provider, *, at_once: bool
) -> None:
    address, cookie = begin(opened)
    back = provider.authorize(address)
    with opened.store.writing(By("command", datetime.now(UTC))) as write:
        sealing.rotate(write, at_once=at_once)
    started = Visits(opened.store, opened.world, opened.sessions)
    answer = come_back(started, back, cookie)
    assert is_refused(answer) if at_once else answer.status_code == 303


def test_the_cookie_of_a_try_is_for_this_host_alone_and_for_no_script(opened: Visits) -> None:
    for public, name, more in (("https://ebill.example.com", "__Host-oidc", {"Secure"}), (PUBLIC, "oidc", set())):
        opened.app.config["PUBLIC_URL"] = public
        (cookie,) = opened.look("anyone", "/sign-in/oidc").headers.getlist("Set-Cookie")
        assert cookie.startswith(f"{name}=")
        attributes = {each for each in cookie.split("; ")[1:] if not each.startswith("Expires")}
        assert attributes == {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=600", *more}


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = ({**header, "alg": "none"}, claims)
    written = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join([*written, ""])


def with_our_secret(_: dict[str, Any], claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET), algorithms=["HS256"])


def with_the_public_key_as_a_secret(_: dict[str, Any], claims: dict[str, Any]) -> str:
    key = OctKey.import_key(str(KEY.as_dict(private=False)["n"]))
    return jwt.encode({"alg": "HS256", "kid": "first"}, claims, key, algorithms=["HS256"])


def altered(header: dict[str, Any], claims: dict[str, Any]) -> str:
    head, _, signature = jwt.encode(header, claims, KEY, algorithms=["RS256"]).split(".")
    body = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "of-dan"}).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


HOUR = timedelta(hours=1)


WRONG: dict[str, dict[str, Any]] = {
    "another nonce": {"claims": {"nonce": "another"}},
    "no nonce": {"claims": {"nonce": None}},
    "another audience": {"claims": {"aud": "somebody-else"}},
    "another audience, by way of us": {"claims": {"aud": "somebody-else", "azp": CLIENT_ID}},
    "no audience": {"claims": {"aud": None}},
    "two audiences": {"claims": {"aud": ["somebody-else", CLIENT_ID]}},
    "two audiences, for the other": {"claims": {"aud": ["somebody-else", CLIENT_ID], "azp": "somebody-else"}},
    "for another party": {"claims": {"azp": "somebody-else"}},
    "another issuer": {"claims": {"iss": "https://another.example"}},
    "no issuer": {"claims": {"iss": None}},
    "expired": {"claims": {"exp": -HOUR}},
    "for ever": {"claims": {"exp": None}},
    "expires in words": {"claims": {"exp": "soon"}},
    "expires at true": {"claims": {"exp": True}},
    "of the future": {"claims": {"iat": HOUR}},
    "of no time": {"claims": {"iat": None}},
    "not yet": {"claims": {"nbf": HOUR}},
    "of another access token": {"claims": {"at_hash": "of-another-token"}},
    "no subject": {"claims": {"sub": None}},
    "an empty subject": {"claims": {"sub": ""}},
    "a subject that is a number": {"claims": {"sub": 248289761001}},
    "a subject in a list": {"claims": {"sub": [SUBJECT]}},
    "a long subject": {"claims": {"sub": SUBJECT + "x" * 300}},
    "a name for a subject": {"claims": {"sub": "Pat"}},
    "our own user id": {"claims": {"sub": "pat-producer", "email": "pat@example.com", "role": "admin"}},
    "alg none": {"signs": unsigned},
    "signed with our secret": {"signs": with_our_secret},
    "signed with the public key": {"signs": with_the_public_key_as_a_secret},
    "altered": {"signs": altered},
    "no token at all": {"signs": lambda *_: "x.y"},
    "a long one": {"signs": lambda *_: "x" * 20_000},
    "of another key": {"key": OTHER_KEY},
    "of a key that is not there": {"header": {"alg": "RS256", "kid": "third"}},
    "with what nobody knows": {"header": {"alg": "RS256", "kid": "first", "crit": ["of-ours"], "of-ours": 1}},
    "no keys": {"keys": []},
    "none in the answer": {"token": {"id_token": None}},
    "an object": {"token": {"id_token": {"sub": SUBJECT}}},
}


@pytest.mark.parametrize("what", WRONG)
def test_an_id_token_that_is_not_right_in_everything_opens_nothing(
    opened: Visits, provider: Provider, what: str
) -> None:
    for name, value in WRONG[what].items():
        setattr(provider, name, value)
    assert is_refused(sign_in(opened, provider))


RIGHT: dict[str, dict[str, Any]] = {
    "an audience in a list": {"claims": {"aud": [CLIENT_ID]}},
    "two audiences, for us": {"claims": {"aud": [CLIENT_ID, "somebody-else"], "azp": CLIENT_ID}},
    "a clock that goes slow": {"claims": {"exp": timedelta(seconds=-10)}},
    "a clock that goes fast": {"claims": {"iat": timedelta(seconds=30)}},
    "one key without a name": {"header": {"alg": "RS256"}},
    "another signature": {"header": {"alg": "PS256", "kid": "first"}},
    "the other of two keys": {"keys": [KEY, OTHER_KEY], "key": OTHER_KEY, "header": {"alg": "RS256", "kid": "second"}},
}


@pytest.mark.parametrize("what", RIGHT)
def test_an_id_token_that_is_right_opens_a_session(opened: Visits, provider: Provider, what: str) -> None:
    for name, value in RIGHT[what].items():
        setattr(provider, name, value)
    assert sign_in(opened, provider).status_code == 303


def test_unknown_unlinked_and_disabled_users_are_refused_alike(opened: Visits, provider: Provider) -> None:
    pages_shown = set()
    for subject in ("nobody-s", "of-dan", "ada-admin", "' OR 1=1--", "%"):
        answer = sign_in(opened, provider, subject)
        assert is_refused(answer)
        pages_shown.add(text_of(answer).replace(answer.headers["X-Request-Id"], ""))
    link(opened, "pat-producer", None)
    answer = sign_in(opened, provider)
    pages_shown.add(text_of(answer).replace(answer.headers["X-Request-Id"], ""))
    assert len(pages_shown) == 1


def _once(first: Any, then: Callable[..., Any]) -> Callable[..., Any]:
    answers = [first]
    return lambda *given: answers.pop() if answers else then(*given)


def test_a_user_who_is_unlinked_meanwhile_is_refused(
    opened: Visits, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = pages._session

    def unlinked_just_then(at: Any, subject: str) -> str:
        with opened.store.reading() as connection:
            user = sessions.identified(connection, subject)
        link(opened, "pat-producer", None)
        monkeypatch.setattr(sessions, "identified", _once(user, sessions.identified))
        return begun(at, subject)

    monkeypatch.setattr(pages, "_session", unlinked_just_then)
    assert is_refused(sign_in(opened, provider))


def test_no_account_and_no_right_comes_of_what_the_provider_says(opened: Visits, provider: Provider) -> None:
    with opened.store.reading() as connection:
        before = users.all_users(connection)
    provider.claims = {"role": "admin", "groups": ["admin"], "name": "Another", "entitlements": ["agency_reports"]}
    assert sign_in(opened, provider).status_code == 303
    assert is_refused(sign_in(opened, provider, "somebody-new"))
    with opened.store.reading() as connection:
        assert users.all_users(connection) == before


# Whom we ask


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "https://another.example"},
        {"issuer": None},
        {"authorization_endpoint": "https://another.example/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
        {"token_endpoint": "http://127.0.0.1:1/token"},
        {"token_endpoint": "https://127.0.0.1/token"},
        {"jwks_uri": "http://localhost/keys"},
        {"jwks_uri": "file:///etc/passwd"},
    ],
    ids=str,
)
def test_a_provider_whose_endpoints_are_not_its_own_is_not_believed(
    opened: Visits, provider: Provider, wrong: dict[str, Any]
) -> None:
    provider.metadata = wrong
    assert is_refused(opened.look("anyone", "/sign-in/oidc"))
    assert set(provider.asked) == {"/tenant/.well-known/openid-configuration"}


REDIRECT = (302, {"Location": "http://127.0.0.1:1/elsewhere"}, b"")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("openid-configuration", REDIRECT),
        ("openid-configuration", (500, {}, b"trouble")),
        ("openid-configuration", (200, {}, b"<html>")),
        ("openid-configuration", (200, {}, b"[]")),
        ("openid-configuration", (200, {}, b"{" + b" " * 300_000 + b"}")),
        ("keys", REDIRECT),
        ("keys", (200, {}, b"{}")),
        ("keys", (200, {}, b'{"keys": 7}')),
        ("keys", (200, {}, b'{"keys": ["x", null]}')),
        ("token", REDIRECT),
        ("token", (500, {}, b"")),
        ("token", (200, {}, b"[]")),
        ("token", (200, {}, b'{"access_token": "a"}')),
        ("token", (400, {}, b'{"error": "<script>", "error_description": "a secret of theirs"}')),
    ],
    ids=str,
)
def test_an_answer_of_the_provider_that_is_none_opens_nothing(
    opened: Visits, provider: Provider, path: str, answer: tuple[int, dict[str, str], bytes]
) -> None:
    provider.answer = lambda asked: answer if asked.endswith(path) else None
    found = opened.look("anyone", "/sign-in/oidc")
    if found.status_code == 303:
        cookie = cookies_of(found)["oidc"]
        found = come_back(opened, provider.authorize(found.headers["Location"]), cookie)
    assert is_refused(found)
    assert "theirs" not in text_of(found)
    assert not any("elsewhere" in asked for asked in provider.asked)


def test_an_answer_that_is_right_and_long_is_not_read_to_its_end(opened: Visits, provider: Provider) -> None:
    provider.metadata = {"more": "x" * 300_000}
    assert is_refused(opened.look("anyone", "/sign-in/oidc"))
    provider.metadata = {"more": "x" * 200_000}
    assert opened.look("anyone", "/sign-in/oidc").status_code == 303


def test_no_request_leaves_for_another_origin(provider: Provider) -> None:
    with Session() as session:
        oidc._close(session, oidc._origin(provider.issuer))
        for address in (
            "http://127.0.0.1:1/keys",
            "https://another.example/",
            provider.issuer.replace("http", "https"),
        ):
            with pytest.raises(ValueError, match="another origin"):
                session.get(address)


def test_a_provider_that_is_not_there_is_told_in_the_same_page(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_OIDC_ISSUER", "http://127.0.0.1:1")
    assert is_refused(Visits(opened.store, opened.world, opened.sessions).look("anyone", "/sign-in/oidc"))


def test_what_the_provider_said_of_itself_is_kept_and_a_new_key_is_looked_for(
    opened: Visits, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert sign_in(opened, provider).status_code == 303
    assert [asked for asked in provider.asked if asked != "/tenant/token"] == [
        "/tenant/.well-known/openid-configuration",
        "/tenant/keys",
    ]
    provider.key, provider.keys, provider.header = OTHER_KEY, [OTHER_KEY], {"alg": "RS256", "kid": "second"}
    assert is_refused(sign_in(opened, provider))
    monkeypatch.setattr(pages, "datetime", later(timedelta(minutes=2)))
    assert sign_in(opened, provider).status_code == 303
    assert provider.asked.count("/tenant/keys") == 2


def test_tries_that_fail_lead_to_a_wait(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebill.web.pages.tries.FREE", {"user": 5, "address": 3})
    found = [opened.look("anyone", "/sign-in/oidc/callback?code=a&state=b").status_code for _ in range(4)]
    assert found == [403, 403, 403, 429]


def test_no_secret_is_in_the_log(opened: Visits, provider: Provider, capsys: pytest.CaptureFixture[str]) -> None:
    address, cookie = begin(opened)
    back = provider.authorize(address)
    sid = cookies_of(come_back(opened, back, cookie))["sid"]
    said = capsys.readouterr().err
    code = parse_qs(urlsplit(back).query)["code"][0]
    for secret in (code, cookie, sid, CLIENT_SECRET, "state="):
        assert secret not in said


# Settings


@pytest.mark.usefixtures("provider")
def test_all_that_is_wrong_with_the_settings_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.oidc()
    for name in ("EBILL_OIDC_CLIENT_ID", "EBILL_OIDC_CLIENT_SECRET", "EBILL_PUBLIC_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("EBILL_OIDC_ISSUER", "http://login.example.com")
    with pytest.raises(SettingsRefused) as refused:
        settings.oidc()
    assert refused.value.names == (
        "EBILL_OIDC_CLIENT_ID",
        "EBILL_OIDC_ISSUER",
        "EBILL_PUBLIC_URL",
        "EBILL_OIDC_CLIENT_SECRET",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EBILL_OIDC_ISSUER", "login.example.com"),
        ("EBILL_OIDC_ISSUER", "https://user@login.example.com"),
        ("EBILL_OIDC_ISSUER", "https://login.example.com/?a=b"),
        ("EBILL_OIDC_ISSUER", "https://login.example.com/#a"),
        ("EBILL_OIDC_ISSUER", "http://127.0.0.1.example.com"),
        ("EBILL_OIDC_CLIENT_ID", "a b"),
        ("EBILL_OIDC_CLIENT_SECRET", "short"),
        ("EBILL_OIDC_CLIENT_SECRET", "x" * 2000),
        ("EBILL_OIDC_CLIENT_SECRET", "change-me-change-me"),
        ("EBILL_OIDC_CLIENT_SECRET", "y" * 20),
        ("EBILL_OIDC_CLIENT_SECRET", "with a space that nobody meant"),
        ("EBILL_OIDC_NAME", "x" * 41),
        ("EBILL_OIDC_NAME", "a\nb"),
        ("EBILL_PUBLIC_URL", "http://ebill.example.com"),
    ],
)
@pytest.mark.usefixtures("provider")
def test_a_setting_that_cannot_be_meant_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsRefused) as refused:
        settings.oidc()
    assert refused.value.names == (name,)
    assert "CLIENT_SECRET" not in name or value not in str(refused.value)


@pytest.mark.usefixtures("provider")
def test_the_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch(0o600)
    monkeypatch.setenv("EBILL_OIDC_CLIENT_SECRET_FILE", str(file))
    for content, is_good in (("", False), ("short", False), ("é" * 20, False), (f"{CLIENT_SECRET}\n", True)):
        with pytest.raises(SettingsRefused, match="one of them is enough"):
            settings.oidc()
        monkeypatch.delenv("EBILL_OIDC_CLIENT_SECRET")
        file.write_text(content, "utf-8")
        if is_good:
            told = settings.oidc()
            assert (told and told.client_secret, CLIENT_SECRET in repr(told)) == (CLIENT_SECRET, False)
        else:
            with pytest.raises(SettingsRefused, match="CLIENT_SECRET_FILE"):
                settings.oidc()
        monkeypatch.setenv("EBILL_OIDC_CLIENT_SECRET", CLIENT_SECRET)
    monkeypatch.delenv("EBILL_OIDC_CLIENT_SECRET")
    file.chmod(0o644)
    with pytest.raises(SettingsRefused, match="CLIENT_SECRET_FILE names a file that others may read"):
        settings.oidc()
    monkeypatch.setenv("EBILL_OIDC_CLIENT_SECRET_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsRefused, match="can be read"):
        settings.oidc()
