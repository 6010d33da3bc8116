"""What the API asks of a submission beyond its body."""

from api.problems import Refusal
from protocol.names import MAX_NAME
from protocol.problems import FieldFault


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
