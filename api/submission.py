"""What the API asks of a submission: its lane, and what stands beyond its body."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request

from api.dependencies import Studio
from api.limit_settings import Lane
from api.problems import Refusal
from broker.token_store import Token
from protocol.names import MAX_NAME
from protocol.problems import FieldFault

Read = TypeVar("Read")


async def read_counted(
    request: Request, caller: Token, parts: Studio, read: Callable[[Request], Awaitable[Read]]
) -> Read:
    """The body of a submission. One that cannot be read is counted as well: else nothing bounds how many are sent.

    Raises:
        Refusal: it cannot be read, or is one too many.
        BrokerUnavailable: it cannot be counted.
    """
    await _refuse_unread(request, caller, parts)
    try:
        return await read(request)
    except Refusal:
        await parts.limits.check(request.scope, Lane.SUBMISSIONS, caller.token_id)
        raise


async def _refuse_unread(request: Request, caller: Token, parts: Studio) -> None:
    """Refuse a submission that is one too many before its body is parsed, where that can be said by then.

    Stops have a lane of their own, and only the body says that it is one. But where nothing more may be submitted, a
    body without that word, nor an escape that could spell it, holds no stop.

    Raises:
        Refusal: it is one too many.
    """
    if parts.limits.is_shut(Lane.SUBMISSIONS, caller.token_id) and "content-encoding" not in request.headers:
        raw = await request.body()
        if b"stop" not in raw and b"\\u" not in raw:
            parts.limits.refuse_if_shut(Lane.SUBMISSIONS, caller.token_id)


def lane_of_submission(body: Mapping[str, Any]) -> Lane:
    """A stop, in whichever spelling, is not held up by starts."""
    return Lane.STOPS if "stop" in (body.get("command_type"), body.get("request_type")) else Lane.SUBMISSIONS


def check_idempotency_key(key: str | None) -> None:
    """Refuse a key that is no key.

    Raises:
        Refusal: it is empty, too long, or not printable.
    """
    if key is not None and not (0 < len(key) <= MAX_NAME and key.isprintable()):
        fault = FieldFault(
            field="Idempotency-Key", message=f"must be 1 to {MAX_NAME} printable characters", code="idempotency_key"
        )
        raise Refusal("invalid", "The Idempotency-Key is not valid.", errors=[fault])
