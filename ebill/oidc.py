"""Sign-in by OpenID Connect: what is asked of an identity provider, and what its word is worth.

It is the authorization code flow with PKCE. All that is believed is an ID token that the configured issuer signed for
us, for just this try, and that has not expired; and of that, only the subject: who somebody is, never what they may.
Requests go to the issuer's own origin and nowhere else: no redirect is followed, no proxy is asked, and an answer is
cut off when it is long or slow.
"""

from __future__ import annotations

import hmac
import ssl
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from requests import RequestException, Session
from requests.adapters import HTTPAdapter

from ebill.errors import NotIdentified, TooBusy
from ebill.settings import Oidc

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures that only the issuer can make: none with a key that we would share, and not `none`."""
LEEWAY: Final = 60
"""Seconds by which clocks may differ."""
TIMEOUTS: Final = (3.0, 4.0)
"""Seconds until a connection is there, and in which the other side may say nothing."""
SECONDS: Final = 8.0
"""How long an answer may take."""
LARGEST: Final = 256_000
LONGEST_TOKEN: Final = 16_000
LONGEST_SUBJECT: Final = 255
AT_ONCE: Final = 2
"""How many ask the provider at once: where it does not answer, the others go on."""
KEPT: Final = timedelta(hours=1)
"""How long we go by what a provider said of itself and its keys."""
ANEW: Final = timedelta(minutes=1)
"""How soon its keys are read again where a token names one that we do not know."""
WELL_KNOWN: Final = "/.well-known/openid-configuration"
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_METHODS: Final = ("client_secret_basic", "client_secret_post")


class Try(NamedTuple):
    """What is made up for one try to sign in, and must come back with it: see OpenID Connect and RFC 7636."""

    state: str
    nonce: str
    verifier: str


def tried(seed: bytes) -> Try:
    """Give what belongs to a try, from 256 random bits of its own, of which none of the three tells anything."""
    made = (hmac.digest(seed, name.encode(), "sha256") for name in Try._fields)
    return Try(*(urlsafe_b64encode(each).decode().rstrip("=") for each in made))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a provider said, and when."""

    said: Any
    at: datetime


class Provider:
    """The identity provider of the settings."""

    def __init__(self, told: Oidc) -> None:
        self.name = told.name
        self._told = told
        self._origin = _origin(told.issuer)
        self._itself: _Kept | None = None
        self._keys: _Kept | None = None
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def address(self, seed: bytes, now: datetime) -> str:
        """Give where a browser goes to sign in. Raises NotIdentified and TooBusy."""
        one = tried(seed)
        with self._turn():
            where = self._metadata(now)["authorization_endpoint"]
        with self._session("client_secret_basic") as session:
            address, _ = session.create_authorization_url(
                where, state=one.state, code_verifier=one.verifier, nonce=one.nonce
            )
        return str(address)

    def subject(self, came_with: Mapping[str, str], seed: bytes, now: datetime) -> str:
        """Give who it is that came back with a query, to the try of a seed. Raises NotIdentified and TooBusy."""
        one, code = tried(seed), came_with.get("code", "")
        if not hmac.compare_digest(one.state.encode(), came_with.get("state", "").encode("utf-8", "replace")):
            raise NotIdentified("state")
        if came_with.get("iss", self._told.issuer) != self._told.issuer:
            raise NotIdentified("iss")
        if "error" in came_with or not code:
            raise NotIdentified("no_code")
        with self._turn():
            metadata = self._metadata(now)
            token = self._exchange(metadata, code, one)
            written = token.get("id_token")
            if not isinstance(written, str) or len(written) > LONGEST_TOKEN:
                raise NotIdentified("no_id_token")
            return self._believed(metadata, written, token.get("access_token"), one, now)

    def _believed(self, metadata: Mapping[str, Any], written: str, access: Any, one: Try, now: datetime) -> str:
        """Give the subject of an ID token, once all of it holds."""
        try:
            try:
                token = jwt.decode(written, self._key_set(metadata, now, KEPT), algorithms=ALGORITHMS)
            except InvalidKeyIdError:
                token = jwt.decode(written, self._key_set(metadata, now, ANEW), algorithms=ALGORITHMS)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self._told.issuer},
                    "aud": {"essential": True, "value": self._told.client_id},
                },
                {"nonce": one.nonce, "client_id": self._told.client_id, "access_token": access},
            )
            claims.validate(int(now.timestamp()), LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise NotIdentified(f"id_token: {type(error).__name__}") from error
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
            raise NotIdentified("subject")
        return subject

    def _exchange(self, metadata: Mapping[str, Any], code: str, one: Try) -> Mapping[str, Any]:
        """Give what the provider gives for a code."""
        taken = metadata.get("token_endpoint_auth_methods_supported", _METHODS[:1])
        method = next((each for each in _METHODS if isinstance(taken, list | tuple) and each in taken), None)
        if method is None:
            raise NotIdentified("token_endpoint_auth_methods_supported")
        try:
            with self._session(method) as session:
                found = session.fetch_token(
                    metadata["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=one.verifier,
                    allow_redirects=False,
                )
        except (RequestException, AuthlibBaseError, OSError, ValueError, TypeError) as error:
            raise NotIdentified(f"token_endpoint: {type(error).__name__}") from error
        return found if isinstance(found, Mapping) else {}

    def _metadata(self, now: datetime) -> Mapping[str, Any]:
        """Give what the provider says of itself: its endpoints, all of them its own."""
        kept = self._itself
        if kept is None or now - kept.at > KEPT:
            said = self._asked(self._told.issuer.rstrip("/") + WELL_KNOWN)
            if said.get("issuer") != self._told.issuer:
                raise NotIdentified("issuer")
            for name in _ENDPOINTS:
                if not isinstance(said.get(name), str) or _origin(said[name]) != self._origin:
                    raise NotIdentified(name)
            kept = self._itself = _Kept(said, now)
        said = kept.said
        return said if isinstance(said, Mapping) else {}

    def _key_set(self, metadata: Mapping[str, Any], now: datetime, kept_for: timedelta) -> KeySet:
        """Give the provider's keys, as they were read not longer ago than that."""
        kept = self._keys
        if kept is None or now - kept.at > kept_for:
            kept = self._keys = _Kept(KeySet.import_key_set(cast("Any", self._asked(metadata["jwks_uri"]))), now)
        keys: KeySet = kept.said
        return keys

    def _asked(self, address: str) -> dict[str, Any]:
        try:
            with Session() as session:
                _close(session, self._origin)
                answer = session.get(address, allow_redirects=False)
                said = answer.json() if answer.status_code == 200 else None
        except (RequestException, OSError, ValueError) as error:
            raise NotIdentified(f"provider: {type(error).__name__}") from error
        if not isinstance(said, dict):
            raise NotIdentified("provider: no answer")
        return said

    @contextmanager
    def _session(self, method: str) -> Iterator[OAuth2Session]:
        told = self._told
        with OAuth2Session(
            told.client_id,
            told.client_secret,
            token_endpoint_auth_method=method,
            scope="openid",
            redirect_uri=told.callback,
            code_challenge_method="S256",
        ) as session:
            _close(session, self._origin)
            yield session

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=1):
            raise TooBusy
        try:
            yield
        finally:
            self._turns.release()


class _Only(HTTPAdapter):
    """Carries requests to one origin, and takes no more of an answer than `LARGEST` bytes in `SECONDS`."""

    def __init__(self, origin: tuple[str, str, int | None]) -> None:
        self._only = origin
        super().__init__()

    def init_poolmanager(self, *given: Any, **named: Any) -> None:
        """Trust the certificates that this machine trusts."""
        super().init_poolmanager(*given, ssl_context=ssl.create_default_context(), **named)

    def send(self, request: Any, *_: Any, **__: Any) -> Any:
        """Send a request, and read its answer."""
        if _origin(request.url) != self._only:
            raise ValueError("a request to another origin than the issuer's")
        request.headers["Accept-Encoding"] = "identity"
        until = time.monotonic() + SECONDS
        answer = super().send(request, stream=True, timeout=TIMEOUTS)
        body = bytearray()
        while piece := answer.raw.read1(LARGEST):
            body += piece
            if len(body) > LARGEST or time.monotonic() > until:
                answer.close()
                raise ValueError("an answer that is too long")
        answer.close()
        answer.raw = BytesIO(body)
        return answer


def _close(session: Session, origin: tuple[str, str, int | None]) -> None:
    """Let a session ask one origin, and nothing of this machine's surroundings tell it how."""
    session.trust_env = False
    session.adapters.clear()
    session.mount("", _Only(origin))


def _origin(address: str) -> tuple[str, str, int | None]:
    """Give the origin of an address; one that is none has an origin that no other has.

    >>> _origin("https://a.example/x") == _origin("https://a.example:443/y"), _origin("https://a.example@b.example")
    (True, ('', 'https://a.example@b.example', None))
    """
    try:
        parts = urlsplit(address)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return "", address, None
    if not parts.hostname or parts.username is not None or parts.scheme not in ("https", "http"):
        return "", address, None
    return parts.scheme, parts.hostname, port
