"""A real OIDC issuer on this machine: it serves its discovery document and its keys, and signs what a test asks."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE: Final = "performance-studio"


class Issuer:
    """It counts how often its keys are fetched. `answer` stands in for them, where it is set."""

    def __init__(self) -> None:
        self.fetched = 0
        self.away = False
        self.answer: bytes | None = None
        self._private: dict[str, Any] = {}
        self._listed: list[dict[str, Any]] = []
        issuer = self

        class Routes(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = issuer._respond(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Routes)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self.add_key("first")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _respond(self, path: str) -> tuple[int, bytes]:
        if self.away:
            return 503, b""
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        if path == "/keys":
            self.fetched += 1
            return 200, self.answer if self.answer is not None else json.dumps({"keys": self._listed}).encode()
        return 404, b""

    def add_key(self, key_id: str, *, bits: int = 2_048, kind: str = "RSA", listed: bool = True) -> None:
        """A new key; with `listed` the issuer tells it."""
        if kind == "RSA":
            private: Any = rsa.generate_private_key(public_exponent=65_537, key_size=bits)
            facts = json.loads(RSAAlgorithm.to_jwk(private.public_key())) | {"alg": "RS256"}
        else:
            private = ec.generate_private_key(ec.SECP256R1())
            facts = json.loads(ECAlgorithm.to_jwk(private.public_key())) | {"alg": "ES256"}
        self._private[key_id] = private, facts["alg"]
        if listed:
            self._listed.append({**facts, "kid": key_id, "use": "sig"})

    def drop_key(self, key_id: str) -> None:
        """Tell it no more."""
        self._listed = [each for each in self._listed if each["kid"] != key_id]

    def list_raw(self, **key: Any) -> None:
        """Tell a key of any kind."""
        self._listed.append(key)

    def public_text(self, key_id: str) -> str:
        """A key as its JWK is listed; whoever takes it for a shared secret is fooled."""
        return json.dumps(next(each for each in self._listed if each["kid"] == key_id))

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Good claims, some of them changed; None leaves one out."""
        now = int(time.time())
        good = {
            "iss": self.url, "aud": AUDIENCE, "sub": "u-1", "iat": now, "exp": now + 300,
            "groups": ["all", "sre"], "email": "ada@example.org",
        }  # fmt: skip
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def sign_raw(self, *, key_id: str = "first", **changes: Any) -> str:
        """A signed token whose claims may be of any type, which the library refuses to sign."""
        private, algorithm = self._private[key_id]
        payload = json.dumps(self.claims(**changes)).encode()
        return jwt.PyJWS().encode(payload, private, algorithm=algorithm, headers={"kid": key_id, "typ": "JWT"})

    def sign(self, *, key_id: str = "first", header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A signed token."""
        private, algorithm = self._private[key_id]
        return jwt.encode(
            self.claims(**changes), private, algorithm=algorithm, headers={"kid": key_id, **(header or {})}
        )  # fmt: skip
