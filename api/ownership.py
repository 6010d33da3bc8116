"""Who may speak for a host: the first token that beats for it owns it, a credential bought for it is its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TypeVar

import structlog
from msgspec import structs

from api.problems import Refusal, may_be_logged
from broker.scripts import Contested, Credential
from broker.token_store import ANYBODY_ID, Token, TokenKind, TokenStore
from protocol.names import HostKey
from protocol.problems import FieldFault

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Peer:
    """Whose certificate a connection has, and whether agents must have one."""

    common_name: str | None
    is_required: bool

    def fault_for(self, host: HostKey) -> str:
        """Why this connection may not speak for a host; empty: it may."""
        if not self.is_required or self.common_name == host.host:
            return ""
        if self.common_name is None:
            return "the connection has no client certificate of one common name"
        return f"the client certificate is that of {self.common_name}"


NOBODY: Final = Peer(None, is_required=False)
"""Where agents need no certificates."""
UNCHECKED: Final = Credential()


def credential_of(token: Token, host: HostKey, peer: Peer, *, host_id: str | None = None) -> Credential:
    """What the broker is to know of a token that speaks for a host.

    Args:
        token: the caller's.
        host: for which it speaks.
        peer: whose certificate the connection has.
        host_id: what the caller calls its machine; None where a call does not say.
    """
    if token.token_id == ANYBODY_ID:
        return UNCHECKED
    claim: Literal["s", "e", ""] = "e" if token.host is not None else "" if token.kind is TokenKind.ADMIN else "s"
    return Credential(token.token_id, claim, peer.fault_for(host) or _fault_of(token, host, host_id))


def _fault_of(token: Token, host: HostKey, host_id: str | None) -> str:
    """Why a host's own credential may not speak for a host; empty: it may, or it is of no host alone."""
    fault = ""
    if token.host is not None and token.host != host:
        fault = f"the credential is that of {token.host.service}/{token.host.host}"
    elif host_id is not None and token.host_id not in {"", host_id}:
        fault = "the credential is that of another machine"
    return fault


async def spoken(
    say: Callable[[Credential], Awaitable[T | Contested]], credential: Credential, host: HostKey, tokens: TokenStore
) -> T:
    """What the broker answers to a token that speaks for a host.

    Only where the host belongs to another token is a second question asked: a token that has ended owns nothing.

    Args:
        say: tells the broker; is called once, or twice.
        credential: of the caller.
        host: for which it speaks.
        tokens: where the owner is looked up.

    Raises:
        Refusal: it may not speak for this host. Nothing was done; the log and the events stream tell of it.
        BrokerUnavailable: the server cannot be reached.
    """
    answer = await say(credential)
    return answer if not isinstance(answer, Contested) else await insisted(answer, say, credential, host, tokens)


async def insisted(
    answer: Contested,
    say: Callable[[Credential], Awaitable[T | Contested]],
    credential: Credential,
    host: HostKey,
    tokens: TokenStore,
) -> T:
    """What the broker answers in the end to a token that it would not let speak for a host at first.

    Raises:
        Refusal, BrokerUnavailable: as `spoken`.
    """
    if not credential.fault:
        owner = await tokens.with_id(answer.owner)
        has_ended = owner is None or not owner.is_valid(datetime.now(UTC))
        said = await say(structs.replace(credential, was_asked=True, ended_owner=answer.owner if has_ended else ""))
        if not isinstance(said, Contested):
            return said
        answer = said
    if may_be_logged("credential_conflict"):
        log.warning(
            "credential conflict", host=host.path, token_id=credential.token_id, owner=answer.owner,
            reason=answer.reason,
        )  # fmt: skip
    # Of others it says no more than that there is one; what is wrong with its own credential a caller may know.
    why = f"This token may not speak for this host: {credential.fault or 'the host belongs to another token'}."
    raise Refusal(
        "forbidden", why, errors=[FieldFault(field="hostname", message=why, code="credential_conflict")]
    )  # fmt: skip
