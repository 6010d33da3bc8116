"""A real OIDC issuer on this machine: it serves its discovery document and its keys, and signs what a test asks.

It lets a registered client have people sign in by code and PKCE, too: whoever comes is Ada, once she says so.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE: Final = "performance-studio"


class Client(NamedTuple):
    """Somebody who may have people sign in."""

    name: str
    redirect: str
    secret: str = ""


class Issuer:
    """It counts how often its keys are fetched. `answer` stands in for them, where it is set."""

    def __init__(self) -> None:
        self.fetched = 0
        self.away = False
        self.answer: bytes | None = None
        self.client: Client | None = None
        """Who may have people sign in; nobody by default."""
        self.told: dict[str, Any] = {}
        """Claims of id tokens that are to be other than good ones."""
        self._codes: dict[str, dict[str, str]] = {}
        self._private: dict[str, Any] = {}
        self._listed: list[dict[str, Any]] = []
        issuer = self

        class Routes(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, query = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
                if path == "/authorize" and not issuer.away:
                    self._send(*issuer._authorize(query), media_type="text/html")
                else:
                    self._send(*issuer._respond(path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()}
                self._send(*issuer._token(form, self.headers.get("Authorization", "")))

            def _send(self, status: int, body: bytes, media_type: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
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
            names = {"jwks_uri": "keys", "authorization_endpoint": "authorize", "token_endpoint": "token"}
            told = {name: f"{self.url}/{path}" for name, path in names.items()}
            return 200, json.dumps({"issuer": self.url, **told}).encode()
        if path == "/keys":
            self.fetched += 1
            return 200, self.answer if self.answer is not None else json.dumps({"keys": self._listed}).encode()
        return 404, b""

    def code(self, asked: dict[str, str]) -> str:
        """What Ada gets when she says that it is her, for what a client has asked."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return code

    def _authorize(self, asked: dict[str, str]) -> tuple[int, bytes]:
        client = self.client
        if client is None or (asked.get("client_id"), asked.get("redirect_uri")) != (client.name, client.redirect):
            return 400, b"no such client, or not its address"
        ways = (asked["response_type"], asked["code_challenge_method"])
        if ways != ("code", "S256") or "openid" not in asked["scope"]:
            return 400, b"that is no such sign-in"
        back = f"{client.redirect}?{urlencode({'code': self.code(asked), 'state': asked['state']})}"
        no = f"{client.redirect}?{urlencode({'error': 'access_denied', 'state': asked['state']})}"
        said = f'<a href="{back}">I am Ada</a> <a href="{no}">No</a>'.replace("&", "&amp;")
        return 200, f"<!doctype html><title>Issuer</title>{said}".encode()

    def _token(self, form: dict[str, str], authorization: str) -> tuple[int, bytes]:
        if self.away:
            return 503, b""
        client = self.client
        assert client is not None
        name, secret = form.get("client_id", ""), ""
        if authorization:
            told = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            name, secret = map(unquote_plus, told.split(":", 1))
        if (name, secret) != (client.name, client.secret):
            return 401, b'{"error": "invalid_client"}'
        asked = self._codes.pop(form["code"], None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        if asked is None or (proof, form["redirect_uri"]) != (asked["code_challenge"], client.redirect):
            return 400, b'{"error": "invalid_grant"}'
        claims = {"aud": client.name, "nonce": asked["nonce"], **self.told}
        return 200, json.dumps({"access_token": "x", "token_type": "Bearer", "id_token": self.sign(**claims)}).encode()

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
