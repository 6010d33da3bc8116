"""Who is told of outcomes: the webhooks of `PCS_WEBHOOKS`, validated. An address may be a secret."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from protocol.lifecycle import OUTCOMES, State
from workers.addresses import Address, read_addresses

Shape = Literal["json", "slack"]


class BadWebhooks(Exception):
    """`PCS_WEBHOOKS` cannot be used; says which field of which webhook, and never a value."""


class Webhook(Address):
    """One address that is told. `per_host`: of each host's outcome, instead of once when all hosts have one."""

    shape: Shape = "json"
    events: Annotated[frozenset[State], Field(min_length=1)] = OUTCOMES
    per_host: bool = False
    secret: SecretStr | None = None

    @field_validator("events")
    @classmethod
    def _are_outcomes(cls, value: frozenset[State]) -> frozenset[State]:
        if not value <= OUTCOMES:
            raise ValueError(f"must be outcomes: {', '.join(sorted(OUTCOMES))}")
        return value


def read_webhooks(given: str) -> list[Webhook]:
    """The webhooks of a JSON list, or of a file that holds one.

    Raises:
        BadWebhooks: they cannot be used.
    """
    return read_addresses(given, Webhook, setting="PCS_WEBHOOKS", refuse=BadWebhooks)
