"""What the API asks of a submission: its lane, and what stands beyond its body."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from api.bodies import read_json
from api.dependencies import Studio
from api.limit_settings import Lane
from api.problems import Refusal
from broker.token_store import Token
from protocol.names import MAX_NAME
from protocol.problems import FieldFault


async def read_submission(request: Request, caller: Token, parts: Studio) -> dict[str, Any]:
    """The body of a submission that is within the caller's limits: of submissions, or of stops when it is one.

    Only the body says which. Where nothing more may be submitted, one that cannot be a stop is not even parsed: the
    word is not in it, nor an escape that could spell it.

    Raises:
        Refusal: it is one too many, or no JSON object.
        BrokerUnavailable: it cannot be counted.
    """
    if parts.limits.is_shut(Lane.SUBMISSIONS, caller.token_id) and "content-encoding" not in request.headers:
        raw = await request.body()
        if b"stop" not in raw and b"\\u" not in raw:
            parts.limits.refuse_if_shut(Lane.SUBMISSIONS, caller.token_id)
    body = await read_json(request)
    await parts.limits.check(request.scope, lane_of_submission(body), caller.token_id)
    return body


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
