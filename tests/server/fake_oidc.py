"""An OpenID Connect provider that says whatever a test wants."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from joserfc.jwk import Key

CLIENT, AUDIENCE = "openeo", "urn:eo"


@dataclass
class FakeProvider:
    """What it answers, and what it was asked."""

    issuer: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    published: dict[str, Any] = field(default_factory=dict)
    userinfo: Callable[[str], tuple[int, Any]] = lambda _: (401, {})
    introspect: Callable[[str], tuple[int, Any]] = lambda _: (200, {"active": False})
    asked: Counter[str] = field(default_factory=Counter)
    key: RSAKey = field(default_factory=lambda: new_key("k1"))

    def answer(self, path: str, header: str, body: str) -> tuple[int, Any]:
        self.asked[path] += 1
        if path == "/.well-known/openid-configuration":
            known = {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/jwks",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "introspection_endpoint": f"{self.issuer}/introspect",
            }
            return 200, known | self.published
        if path == "/jwks":
            return 200, {"keys": self.keys}
        if path == "/userinfo":
            return self.userinfo(header.removeprefix("Bearer "))
        if path == "/introspect":
            return self.introspect(parse_qs(body)["token"][0])
        return 404, {}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good access token, some of them changed; None leaves one out."""
        moment = int(time.time())
        good = {
            "iss": self.issuer, "sub": "s-1", "aud": AUDIENCE, "client_id": CLIENT,
            "scope": "openid", "iat": moment, "nbf": moment, "exp": moment + 3600, "name": "Ada",
            "eduperson_entitlement": ["agri"],
        }  # fmt: skip
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(self, key: Key | None = None, header: Any = (), **changes: Any) -> str:
        """Return a signed token, good unless something is changed."""
        head = {"alg": "RS256", "kid": "k1", "typ": "at+jwt"} | dict(header)
        head = {name: value for name, value in head.items() if value is not None}
        if isinstance(key or self.key, RSAKey):
            return _signed(head, self.claims(**changes), key or self.key)
        registry = JWSRegistry(algorithms=list(JWSRegistry.algorithms))
        return jwt.encode(head, self.claims(**changes), key, registry=registry)


def part(content: object) -> str:
    """Return a part of a token: an object as JSON in base64."""
    return encoded(json.dumps(content).encode())


def encoded(content: bytes) -> str:
    """Return bytes as tokens have them."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _signed(header: Any, claims: Any, key: RSAKey) -> str:
    """Sign with RS256 whatever the header says, as no library would."""
    text = f"{part(header)}.{part(claims)}"
    signature = key.private_key.sign(text.encode(), PKCS1v15(), SHA256())
    return f"{text}.{encoded(signature)}"


def new_key(kid: str) -> RSAKey:
    """Make a key pair."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


def public(key: Key) -> dict[str, Any]:
    """Return what a provider publishes of a key."""
    return dict(key.as_dict(private=False))


@contextmanager
def fake_provider() -> Iterator[FakeProvider]:
    """Serve a provider on loopback while the block runs."""
    fake = FakeProvider()
    fake.keys = [public(fake.key)]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(size).decode()
            status, told = fake.answer(self.path, self.headers.get("Authorization", ""), body)
            content = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            if status in {301, 302, 307}:
                self.send_header("Location", f"{fake.issuer}/jwks")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
