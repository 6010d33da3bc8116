"""What a token may do: rules on kinds, services and tenants, each a refusal or nothing."""

from collections.abc import Collection
from typing import Final

from api.problems import Refusal
from broker.token_store import Token, TokenKind
from protocol.names import DEFAULT_TENANT
from protocol.problems import FieldFault


def require(token: Token, kinds: Collection[TokenKind]) -> None:
    """Refuse a token that is not of these kinds; an admin's may do everything.

    Raises:
        Refusal: it may not.
    """
    if token.kind is not TokenKind.ADMIN and token.kind not in kinds:
        needed = " or ".join(sorted({*kinds, TokenKind.ADMIN}))
        fault = FieldFault(field="Authorization", message=f"a token of kind {needed} is needed", code="token_kind")
        raise Refusal("forbidden", f"A token of kind {token.kind} may not do this.", errors=[fault])


def require_every_service(token: Token) -> None:
    """Refuse a token of some services alone: whoever makes tokens could grant itself the rest.

    Raises:
        Refusal: it covers not every service.
    """
    if "*" not in token.services:
        fault = FieldFault(field="Authorization", message="a token of every service is needed", code="token_scope")
        raise Refusal("forbidden", "Tokens are managed by an admin of every service.", errors=[fault])


def runs_the_installation(token: Token) -> bool:
    """Whether a token is of those who run the system that all tenants share: an admin's of every service of `default`.

    What tells of that system (its workers, what no tenant can be named for) is theirs alone: from it a tenant could
    read how much the others do.
    """
    return token.kind is TokenKind.ADMIN and "*" in token.services and token.tenant == DEFAULT_TENANT


def require_the_installation(token: Token) -> None:
    """Refuse a token that is not of those who run the system.

    Raises:
        Refusal: it is not.
    """
    if not runs_the_installation(token):
        why = f"an admin's token of every service of the tenant {DEFAULT_TENANT} is needed"
        fault = FieldFault(field="Authorization", message=why, code="token_scope")
        raise Refusal("forbidden", "What tells of the whole system is for those who run it.", errors=[fault])


def require_service(token: Token, service: str, *, field: str = "service_name") -> None:
    """Refuse a token whose patterns do not cover a service; `field` says where it was named.

    Raises:
        Refusal: they do not.
    """
    if not token.covers(service):
        fault = FieldFault(field=field, message="this token does not cover the service", code="token_scope")
        raise Refusal("forbidden", "This token does not cover the service.", errors=[fault])


def require_lasting(token: Token) -> None:
    """Refuse a sign-in: what works on with its owner's rights looks them up when it does, and a sign-in is gone then.

    Raises:
        Refusal: it is one.
    """
    if token.is_person:
        why = "A schedule outlives a sign-in: make it with a token."
        fault = FieldFault(field="Authorization", message="a token is needed, not a sign-in", code="token_kind")
        raise Refusal("forbidden", why, errors=[fault])


def may_beat(token: Token, service: str) -> bool:
    """Whether a token may send heartbeats for a service: whether neither `require` nor `require_service` refuses it."""
    return token.kind in _BEATERS and ("*" in token.services or token.covers(service))


_BEATERS: Final = frozenset({TokenKind.AGENT, TokenKind.ADMIN})
