"""Who is told of outcomes: the webhooks of `PCS_WEBHOOKS`, validated. An address may be a secret."""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, field_validator

from protocol.lifecycle import OUTCOMES, State
from protocol.names import DEFAULT_TENANT

Shape = Literal["json", "slack"]


class BadWebhooks(Exception):
    """`PCS_WEBHOOKS` cannot be used; says which field of which webhook, and never a value."""


class Webhook(BaseModel):
    """One address that is told. `per_host`: of each host's outcome, instead of once when all hosts have one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    url: SecretStr
    shape: Shape = "json"
    events: Annotated[frozenset[State], Field(min_length=1)] = OUTCOMES
    services: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    tenant: str = DEFAULT_TENANT
    per_host: bool = False
    secret: SecretStr | None = None

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https address")
        return value

    @field_validator("events")
    @classmethod
    def _are_outcomes(cls, value: frozenset[State]) -> frozenset[State]:
        if not value <= OUTCOMES:
            raise ValueError(f"must be outcomes: {', '.join(sorted(OUTCOMES))}")
        return value

    def wants(self, tenant: str, service: str) -> bool:
        """Whether it is told of this service."""
        return tenant == self.tenant and any(fnmatchcase(service, pattern) for pattern in self.services)


_LIST: TypeAdapter[list[Webhook]] = TypeAdapter(list[Webhook])


def read_webhooks(given: str) -> list[Webhook]:
    """The webhooks of a JSON list, or of a file that holds one.

    Raises:
        BadWebhooks: they cannot be used.
    """
    text = given.strip()
    if not text:
        return []
    try:
        listed: Any = json.loads(text if text.startswith("[") else Path(text).read_text())
        hooks = _LIST.validate_python(listed)
    except OSError as error:
        raise BadWebhooks(f"PCS_WEBHOOKS: the file cannot be read: {error.strerror}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise BadWebhooks(f"PCS_WEBHOOKS: {'; '.join(faults)}") from None
    except ValueError:
        raise BadWebhooks("PCS_WEBHOOKS: neither a JSON list nor the path of a file with one") from None
    names = [hook.name for hook in hooks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadWebhooks(f"PCS_WEBHOOKS: {', '.join(twice)}: a name may be given once")
    return hooks
