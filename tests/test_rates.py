"""The API is asked no more often than it may be: by each token, and from each address that has shown none."""

import json
from typing import Any

import pytest

from ebill.errors import SettingRefused
from ebill.settings import limits, proxies
from ebill.web import create_app, rates
from ebill.web.fence import SIGNED
from ebill.web.rates import Rates

FAR = "203.0.113.7"


def application(environ: dict[str, Any], start: Any) -> list[bytes]:
    """Let in whoever has a token that is not wrong; at a public address nobody is asked for one."""
    given = environ.get("HTTP_AUTHORIZATION", "")
    if environ["PATH_INFO"] != "/v1/public":
        environ[SIGNED] = "" if "wrong" in given or not given else "ada"
    start("401 UNAUTHORIZED" if environ.get(SIGNED) == "" and given else "200 OK", [("X-Own", "1")])
    return [b"{}"]


def asked(
    at: Rates, token: str = "", address: str = FAR, path: str = "/v1/states", scheme: str = "Bearer "
) -> tuple[int, dict[str, str], Any]:
    said: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "REMOTE_ADDR": address}
    if token:
        environ["HTTP_AUTHORIZATION"] = f"{scheme}{token}"
    body = b"".join(at(environ, lambda *told: said.append(told)))
    return int(said[0][0][:3]), dict(said[0][1]), json.loads(body)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1000.0]
    monkeypatch.setattr("ebill.web.rates.time.monotonic", lambda: clock[0])
    return clock


def test_an_address_may_ask_so_often_and_then_waits_until_its_minute_is_over(now: list[float]) -> None:
    at = Rates(application, 100, 3)
    more = [asked(at) for _ in range(3)]
    assert [status for status, *_ in more] == [200] * 3
    assert [headers["RateLimit"] for _, headers, _ in more] == [f'"address";r={left};t=60' for left in (2, 1, 0)]
    assert {headers["RateLimit-Policy"] for _, headers, _ in more} == {'"address";q=3;w=60'}
    now[0] += 20.5
    status, headers, problem = asked(at)
    assert (status, headers["Retry-After"], headers["RateLimit"]) == (429, "40", '"address";r=0;t=40')
    assert (problem["code"], problem["detail"][-23:]) == ("asked_too_often", "Please wait 40 seconds.")
    assert asked(at, address="203.0.113.8")[0] == 200, "another address is another's"
    now[0] += 39.5
    assert asked(at)[0] == 200


@pytest.mark.usefixtures("now")
def test_a_token_counts_for_itself_wherever_it_comes_from() -> None:
    at = Rates(application, 3, 2)
    seen = [asked(at, "right", f"203.0.113.{number}")[0] for number in range(5)]
    assert seen == [200, 200, 200, 429, 429]
    assert asked(at, "other", "203.0.113.0")[0] == 200


def test_a_token_that_is_refused_counts_for_its_address_again(now: list[float]) -> None:
    taken = set[str]()

    def fickle(environ: dict[str, Any], start: Any) -> list[bytes]:
        environ[SIGNED] = "" if environ["HTTP_AUTHORIZATION"] in taken else "ada"
        start("200 OK" if environ[SIGNED] else "401 UNAUTHORIZED", [])
        return [b"{}"]

    at = Rates(fickle, 100, 3)
    assert [asked(at, "a")[0] for _ in range(9)] == [200] * 9
    taken.add("Bearer a")
    assert [asked(at, "a")[0] for _ in range(4)] == [401, 401, 401, 429]
    now[0] += 1
    assert asked(at, "a")[0] == 429


def test_a_token_is_let_in_anew_each_minute(now: list[float]) -> None:
    at = Rates(application, 100, 3)
    assert asked(at, "a")[0] == 200
    now[0] += 60
    assert [asked(at, "a", path="/v1/public")[0] for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.usefixtures("now")
def test_tokens_made_up_count_for_the_address_they_come_from() -> None:
    at = Rates(application, 100, 3)
    assert [asked(at, "wrong")[0] for _ in range(4)] == [401, 401, 401, 429]


@pytest.mark.usefixtures("now")
def test_a_token_that_was_let_in_is_not_held_up_by_its_address() -> None:
    at = Rates(application, 100, 3)
    assert asked(at, "right")[0] == 200
    assert [asked(at)[0] for _ in range(3)] == [200, 200, 429]
    status, headers, _ = asked(at, "right")
    assert (status, headers["RateLimit"]) == (200, '"token";r=98;t=60')


@pytest.mark.parametrize(
    ("address", "path"),
    [
        (FAR, "/livez"),
        (FAR, "/readyz"),
        (FAR, "/home"),
        ("127.0.0.1", "/v1/states"),
        ("", "/v1/states"),
        ("::1", "/v1/states"),
    ],
)
def test_health_pages_and_this_machine_are_not_counted(address: str, path: str) -> None:
    at = Rates(application, 1, 1)
    seen = [asked(at, address=address, path=path) for _ in range(3)]
    assert [(status, "RateLimit" in headers) for status, headers, _ in seen] == [(200, False)] * 3


def test_nothing_is_counted_where_there_is_no_limit() -> None:
    at = Rates(application, 0, 0)
    assert {asked(at, token)[0] for token in ("", "right") * 3} == {200}


@pytest.mark.usefixtures("now")
def test_a_token_made_up_where_none_is_asked_for_counts_for_its_address() -> None:
    at = Rates(application, 100, 3)
    seen = [asked(at, f"made-up-{number // 2}", path="/v1/public")[0] for number in range(4)]
    assert seen == [200, 200, 200, 429]


@pytest.mark.usefixtures("now")
def test_the_service_itself_counts_a_token_made_up_for_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBILL_ADDRESS_RATE", "2")
    client = create_app().test_client()
    kinds = [
        client.get("/v1/states", headers={"Authorization": "Bearer ebp_" + "0" * 24}, environ_base={"REMOTE_ADDR": FAR})
        for _ in range(3)
    ]
    assert [answer.status_code for answer in kinds] == [200, 200, 429]
    assert kinds[1].headers["RateLimit"].startswith('"address";r=0;')


@pytest.mark.usefixtures("now")
def test_a_token_is_the_same_however_its_scheme_is_spelled() -> None:
    at = Rates(application, 3, 2)
    spelled = ["Bearer ", "bearer ", "BEARER  ", "bEARER   "]
    assert [asked(at, "right", scheme=scheme)[0] for scheme in spelled] == [200, 200, 200, 429]


@pytest.mark.usefixtures("now")
def test_a_token_without_a_limit_is_not_held_up_by_its_address() -> None:
    at = Rates(application, 0, 1)
    assert [asked(at, "right")[0] for _ in range(4)] == [200] * 4


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize(
    ("addresses", "statuses"),
    [
        (["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:1::3"], [200, 200, 429]),
        (["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"], [200, 200, 200]),
        (["::ffff:203.0.113.7", "203.0.113.7", "::ffff:cb00:7107"], [200, 200, 429]),
        (["::ffff:127.0.0.1", "0:0:0:0:0:0:0:1", "::1", "::ffff:127.0.0.1"], [200] * 4),
        (["no:address", "no:address", "no:address"], [200, 200, 429]),
    ],
)
def test_whoever_owns_many_addresses_of_ipv6_counts_once(addresses: list[str], statuses: list[int]) -> None:
    at = Rates(application, 9, 2)
    assert [asked(at, address=address)[0] for address in addresses] == statuses


def test_only_so_many_are_counted_each_for_itself_and_only_those_whose_minute_is_over_are_forgotten(
    now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "MOST", 10)
    monkeypatch.setattr(rates, "CROWDS", 1)
    at = Rates(application, 9, 2)
    mine = [asked(at, "right", "192.0.2.1")[0], *(asked(at, address="192.0.2.2")[0] for _ in range(3))]
    assert mine == [200, 200, 200, 429]
    for number in range(200):
        now[0] += 0.1
        asked(at, f"right{number}", f"203.0.113.{number}")
    assert (len(at.tokens), len(at.addresses), len(at.crowds)) == (10, 10, 1)
    assert asked(at, address="192.0.2.2")[0] == 429, "many others do not free who has asked too often"
    assert asked(at, "right", "203.0.113.250")[1]["RateLimit"] == '"token";r=7;t=40', "nor do they throw anybody out"
    assert asked(at, address="203.0.113.251")[0] == 429, "those there is no room for are one"
    now[0] += 41
    fresh = [asked(at, address=address) for address in ("192.0.2.2", "203.0.113.251", "203.0.113.252")]
    assert [(status, headers["RateLimit"]) for status, headers, _ in fresh] == [(200, '"address";r=1;t=60')] * 3
    assert len(at.addresses) == 10


@pytest.mark.usefixtures("now")
def test_where_there_is_no_room_an_address_is_held_up_by_its_own_crowd_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST", 1)
    at = Rates(application, 9, 2)
    asked(at, address="192.0.2.1")
    assert [asked(at, address="192.0.2.2")[0] for _ in range(3)] == [200, 200, 429]
    others = [asked(at, address=f"203.0.113.{number}")[0] for number in range(100)]
    assert others.count(429) <= 1, "of 4,096 crowds"
    for number in range(20_000):
        asked(at, address=f"10.0.{number // 250}.{number % 250}")
    assert len(at.crowds) <= rates.CROWDS


@pytest.mark.parametrize(("hops", "statuses"), [(1, [200, 429, 200]), (0, [200, 429, 429])])
def test_a_proxy_is_believed_only_where_it_is_counted(
    hops: int, statuses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBILL_PROXIES", str(hops))
    monkeypatch.setenv("EBILL_ADDRESS_RATE", "1")
    client = create_app().test_client()
    answers = [
        client.get("/v1/states", headers={"X-Forwarded-For": forwarded}, environ_base={"REMOTE_ADDR": FAR})
        for forwarded in ("198.51.100.9, 192.0.2.1", "198.51.100.8, 192.0.2.1", "198.51.100.8, 192.0.2.2")
    ]
    assert [answer.status_code for answer in answers] == statuses
    refused = answers[1]
    assert refused.content_type == "application/problem+json"
    assert refused.headers["X-Request-Id"] == refused.get_json()["request_id"]


@pytest.mark.parametrize("name", ["RUNNING", "WAITING", "STREAMING", "TOKEN_RATE", "ADDRESS_RATE", "PROXIES"])
@pytest.mark.parametrize("text", ["-1", "1.5", "many", "99999999", " 1", "٣"])
def test_a_limit_that_cannot_be_meant_is_refused(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"EBILL_{name}", text)
    with pytest.raises(SettingRefused, match=f"^EBILL_{name} must be a whole number from "):
        (limits(), proxies())
