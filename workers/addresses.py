"""Addresses of others that settings list, for outcomes or for profiles, validated. An address may be a secret."""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, field_validator

from protocol.names import DEFAULT_TENANT


class Address(BaseModel):
    """A named address, and whose services it is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    url: SecretStr
    services: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    tenant: str = DEFAULT_TENANT

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https address")
        return value

    def wants(self, tenant: str, service: str) -> bool:
        """Whether it is told of this service."""
        return tenant == self.tenant and any(fnmatchcase(service, pattern) for pattern in self.services)


A = TypeVar("A", bound=Address)


def read_addresses(given: str, kind: type[A], *, setting: str, refuse: type[Exception]) -> list[A]:
    """The addresses of a JSON list, or of a file that holds one.

    Args:
        given: by the setting.
        kind: of address.
        setting: its name, for messages.
        refuse: what is raised where they cannot be used; the text says which field of which, and never a value.
    """
    text = given.strip()
    if not text:
        return []
    try:
        listed: Any = json.loads(text if text.startswith("[") else Path(text).read_text())
        addresses: list[A] = TypeAdapter(list[kind]).validate_python(listed)  # type: ignore[valid-type]  # a variable
    except OSError as error:
        raise refuse(f"{setting}: the file cannot be read: {error.strerror}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise refuse(f"{setting}: {'; '.join(faults)}") from None
    except ValueError:
        raise refuse(f"{setting}: neither a JSON list nor the path of a file with one") from None
    names = [address.name for address in addresses]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise refuse(f"{setting}: {', '.join(twice)}: a name may be given once")
    return addresses
