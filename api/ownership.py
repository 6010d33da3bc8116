"""Who may speak for a host: the first token that beats for it owns it, a credential bought for it is its own."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeVar

import structlog

from api.problems import Refusal
from broker.scripts import Contested, Credential
from broker.token_store import ANYBODY_ID, Token, TokenKind, TokenStore
from protocol.names import HostKey
from protocol.problems import FieldFault

log = structlog.get_logger(__name__)

T = TypeVar("T")
UNCHECKED: Final = Credential()


def credential_of(token: Token, host: HostKey, *, host_id: str | None = None) -> Credential:
    """What the broker is to know of a token that speaks for a host.

    Args:
        token: the caller's.
        host: for which it speaks.
        host_id: what the caller calls its machine; None where a call does not say.
    """
    if token.token_id == ANYBODY_ID:
        return UNCHECKED
    if token.host is None:
        return Credential(token.token_id, "" if token.kind is TokenKind.ADMIN else "s")
    fault = ""
    if token.host != host:
        fault = f"the credential is that of {token.host.service}/{token.host.host}"
    elif host_id is not None and token.host_id not in {"", host_id}:
        fault = "the credential is that of another machine"
    return Credential(token.token_id, "e", fault)


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
    if isinstance(answer, Contested) and not credential.fault:
        owner = await tokens.with_id(answer.owner)
        has_ended = owner is None or not owner.is_valid(datetime.now(UTC))
        answer = await say(
            replace(credential, was_asked=True, ended_owner=answer.owner if has_ended else "")
        )  # fmt: skip
    if not isinstance(answer, Contested):
        return answer
    log.warning(
        "credential conflict", host=host.path, token_id=credential.token_id, owner=answer.owner, reason=answer.reason
    )  # fmt: skip
    fault = FieldFault(field="hostname", message="this token may not speak for this host", code="credential_conflict")
    raise Refusal("forbidden", "The host belongs to another token, or this one to another host.", errors=[fault])
