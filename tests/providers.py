"""A small identity provider of OpenID Connect on loopback, with keys of its own, that can be told to misbehave.

It speaks HTTP and signs for real; nothing of ours is in it.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "ebill-of-the-tests", "of-the-tests-alone-x9QmZ7b"
KEY, OTHER_KEY = (RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}) for kid in ("first", "second"))


class Provider:
    """What the provider does, all of which a test may change; a claim that is a timedelta is so far from now."""

    def __init__(self) -> None:
        self.issuer = ""
        self.subject = "248289761001"
        self.asked: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "first"}
        self.key: Any = KEY
        self.keys = [KEY]
        self.signs: Callable[[dict[str, Any], dict[str, Any]], str] = lambda header, claims: jwt.encode(
            header, claims, self.key, algorithms=[header["alg"]]
        )
        self.answer: Callable[[str], tuple[int, dict[str, str], bytes] | None] = lambda _: None
        self.token: dict[str, Any] = {}

    def authorize(self, address: str, *, subject: str = "") -> str:
        """Let somebody sign in at an address that we were sent to; give where the browser is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = {**asked, "sub": subject or self.subject}
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'session_state': 'x.y'})}"

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Give tokens for a code, once, to whom it was given: the client, with its secret and the verifier."""
        right = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if authorization != f"Basic {right}":
            return 401, {"error": "invalid_client"}
        if (
            asked is None
            or form.get("redirect_uri") != asked["redirect_uri"]
            or challenge.decode().rstrip("=") != asked["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": asked["sub"],
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.claims,
        }
        claims = {
            name: now + int(value.total_seconds()) if isinstance(value, timedelta) else value
            for name, value in claims.items()
            if value is not None
        }
        written = self.signs(self.header, claims)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": written, **self.token}

    def respond(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, dict[str, str], bytes]:
        """Answer a request."""
        self.asked.append(path)
        if (other := self.answer(path)) is not None:
            return other
        status: int = 200
        if path.endswith("/.well-known/openid-configuration"):
            said: Any = {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
                **self.metadata,
            }
        elif path.endswith("/keys"):
            said = {"keys": [key.as_dict(private=False) for key in self.keys]}
        elif path.endswith("/token"):
            status, said = self.exchange(form, authorization)
        else:
            status, said = 404, {}
        return status, {"Content-Type": "application/json"}, json.dumps(said).encode()


@contextmanager
def running() -> Iterator[Provider]:
    """Run a provider."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._respond({name: values[0] for name, values in parse_qs(body).items()})

        def _respond(self, form: dict[str, str]) -> None:
            status, headers, body = provider.respond(self.path, form, self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.issuer = f"http://127.0.0.1:{server.server_port}/tenant"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
