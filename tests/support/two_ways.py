"""The ordinary route of heartbeats, and the same behind the fast path: asked the same, without a socket."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self, TypeVar

from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.audit import Refusals
from api.auth import Authenticator
from api.bodies import read_model
from api.body_limit import BodyLimit
from api.fast_path import FastPath
from api.limit_settings import Lane
from api.limits import Limits
from api.routes import heartbeats
from api.strangers import BoundedLookups
from broker.audit import Act
from broker.errors import BrokerUnavailable
from broker.exchange import Answered
from broker.limits import WindowLimits
from broker.quotas import Quota
from broker.scripts import Beat, Idle, New, Outcome
from broker.token_store import Token, TokenKind, digest_of
from protocol.heartbeats import Heartbeat

PATH = "/api/metrics/heartbeat"
T = TypeVar("T")
NO_QUOTAS: Mapping[Lane, Quota] = {}
COMMAND = '{"command_type":"start","combined_config":{"duration":60,"frequency":11,"profiling_mode":"cpu"}}'


class KnownTokens(BoundedLookups):
    """A store of tokens that counts how often it is asked."""

    def __init__(self, limits: Limits, **tokens: Token) -> None:
        super().__init__(None, limits)  # type: ignore[arg-type]  # the broker is not asked
        self.tokens = tokens
        self.asked = 0

    async def with_digest(self, digest: str) -> Token | None:
        self.asked += 1
        return next((token for secret, token in self.tokens.items() if digest_of(secret) == digest), None)

    async def with_id(self, token_id: str) -> Token | None:
        return next((token for token in self.tokens.values() if token.token_id == token_id), None)


def a_token(kind: TokenKind, *services: str) -> Token:
    return Token(f"t-{kind}", kind, "default", services, datetime(2026, 1, 1, tzinfo=UTC))


@dataclass
class Recorded:
    """Takes beats as the command store does, and answers what a test wants."""

    outcome: Outcome | BrokerUnavailable = field(default_factory=lambda: Idle(0))
    beats: list[Beat] = field(default_factory=list)

    async def exchange(
        self,
        heard: Beat,
        *,
        now: float,  # noqa: ARG002 - as the store has it
    ) -> Outcome:
        self.beats.append(heard)
        if isinstance(self.outcome, BrokerUnavailable):
            raise self.outcome
        return Idle(0) if isinstance(self.outcome, New) and heard.may_join else self.outcome

    def send(
        self,
        heard: Beat,
        *,
        now: float,  # noqa: ARG002 - as the store has it
        answered: Answered,
    ) -> None:
        self.beats.append(heard)
        asyncio.get_running_loop().call_soon(answered, self.outcome)


@dataclass(frozen=True)
class Answer:
    """What came back, without the order of the headers."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class Counting:
    """Counts what comes by here."""

    def __init__(self, app: ASGIApp) -> None:
        self.count = 0
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.count += 1
        await self._app(scope, receive, send)


@dataclass
class Trail:
    """Keeps what is written to the audit trail."""

    acts: list[Act] = field(default_factory=list)

    async def write(self, *acts: Act) -> None:
        self.acts += acts


class Way:
    """One application with parts of its own."""

    def __init__(self, quotas: Mapping[Lane, Quota] = NO_QUOTAS, *, is_fast: bool) -> None:
        self.store = Recorded()
        self.trail = Trail()
        self.refusals = Refusals(self.trail)  # type: ignore[arg-type]  # as far as it is used
        limits = Limits(WindowLimits(None), quotas)  # type: ignore[arg-type]  # those of memory ask no broker
        self.tokens = KnownTokens(
            limits,
            agent=a_token(TokenKind.AGENT, "*"), web=a_token(TokenKind.AGENT, "web*"),
            viewer=a_token(TokenKind.VIEWER, "*"), admin=a_token(TokenKind.ADMIN, "*"),
        )  # fmt: skip
        self.app = FastAPI()
        problems.install(self.app)
        self.app.include_router(heartbeats.router)
        self.app.add_middleware(BodyLimit)
        self.app.add_middleware(Counting)
        if is_fast:
            self.app.add_middleware(FastPath)
        self.app.state.studio = SimpleNamespace(
            settings=SimpleNamespace(heartbeat_interval=30, tls_client_ca=None),
            command_store=self.store,
            tokens=self.tokens,
            refusals=self.refusals,
            limits=limits,
            lookups=self.tokens,
            authenticator=Authenticator(self.tokens),
        )

    @property
    def ordinary(self) -> int:
        """How many calls came to the ordinary route."""
        layer: Any = self.app.middleware_stack
        while layer is not None and not isinstance(layer, Counting):
            layer = getattr(layer, "app", None) or getattr(layer, "_app", None)
        return layer.count if layer is not None else 0

    async def ask(
        self, chunks: Sequence[bytes], headers: Sequence[tuple[bytes, bytes]], *, is_cut: bool = False
    ) -> Answer:
        """Send a heartbeat in pieces, as they come from the network; `is_cut`: and go away before the last."""
        messages: list[Message] = [
            {"type": "http.request", "body": chunk, "more_body": is_cut or number < len(chunks)}
            for number, chunk in enumerate(chunks, start=1)
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": PATH, "raw_path": PATH.encode(), "query_string": b"", "root_path": "", "headers": list(headers),
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        await self.app(scope, receive, send)
        start, *rest = sent
        body = b"".join(message.get("body", b"") for message in rest)
        return Answer(start["status"], dict(start["headers"]), body)


class TwoWays:
    """Both of them, and how they compare."""

    def __init__(self, quotas: Mapping[Lane, Quota] = NO_QUOTAS) -> None:
        self.fast, self.ordinary = Way(quotas, is_fast=True), Way(quotas, is_fast=False)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Do something in the loop that both live in."""
        return self._runner.run(step)

    def answer_with(self, outcome: Outcome | BrokerUnavailable) -> None:
        """What the broker answers from now on."""
        self.fast.store.outcome = self.ordinary.store.outcome = outcome

    def compare(
        self,
        *chunks: bytes,
        token: str | None = "agent",
        headers: Sequence[tuple[bytes, bytes]] = (),
        is_cut: bool = False,
    ) -> tuple[Answer, bool]:
        """Ask both the same; gives the answer, and whether the fast path gave it itself.

        Raises:
            AssertionError: they differ in the answer, or in what reached the broker.
        """
        given = [*([(b"authorization", f"Bearer {token}".encode())] if token is not None else []), *headers]
        before = self.fast.ordinary
        for way in (self.fast, self.ordinary):
            way.store.beats.clear()
        fast, ordinary = self._runner.run(self._both(chunks, given, is_cut=is_cut))
        assert fast == ordinary
        assert self.fast.store.beats == self.ordinary.store.beats
        return fast, self.fast.ordinary == before

    def ordinarily_read(self, raw: bytes) -> Heartbeat:
        """A body as the ordinary route reads it.

        Raises:
            Refusal: it cannot be read.
        """

        async def receive() -> Message:
            return {"type": "http.request", "body": raw, "more_body": False}

        request = Request({"type": "http", "method": "POST", "path": PATH, "headers": []}, receive)
        return self._runner.run(read_model(request, Heartbeat))

    async def _both(
        self, chunks: Sequence[bytes], headers: Sequence[tuple[bytes, bytes]], *, is_cut: bool
    ) -> tuple[Answer, Answer]:
        return (
            await self.fast.ask(chunks, headers, is_cut=is_cut),
            await self.ordinary.ask(chunks, headers, is_cut=is_cut),
        )
