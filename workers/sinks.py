"""To whom profiles are pushed: the sinks of `PCS_PROFILES_PUSH`, validated. An address and a header may be secrets."""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, field_validator

from profiles.sinks import Kind
from protocol.names import DEFAULT_TENANT


class BadSinks(ValueError):
    """`PCS_PROFILES_PUSH` cannot be used; says which field of which sink, and never a value."""


class Sink(BaseModel):
    """A server that takes profiles in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    kind: Kind
    url: SecretStr
    """Without the path of its interface: `http://pyroscope:4040`."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    services: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    tenant: str = DEFAULT_TENANT

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an http or https address without a query")
        return value

    def wants(self, tenant: str, service: str) -> bool:
        """Whether it is given profiles of this service."""
        return tenant == self.tenant and any(fnmatchcase(service, pattern) for pattern in self.services)


_LIST: TypeAdapter[list[Sink]] = TypeAdapter(list[Sink])


def read_sinks(given: str) -> list[Sink]:
    """The sinks of a JSON list, or of a file that holds one.

    Raises:
        BadSinks: they cannot be used.
    """
    text = given.strip()
    if not text:
        return []
    try:
        listed: Any = json.loads(text if text.startswith("[") else Path(text).read_text())
        sinks = _LIST.validate_python(listed)
    except OSError as error:
        raise BadSinks(f"PCS_PROFILES_PUSH: the file cannot be read: {error.strerror}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise BadSinks(f"PCS_PROFILES_PUSH: {'; '.join(faults)}") from None
    except ValueError:
        raise BadSinks("PCS_PROFILES_PUSH: neither a JSON list nor the path of a file with one") from None
    names = [sink.name for sink in sinks]
    if len({*names}) != len(names):
        raise BadSinks("PCS_PROFILES_PUSH: a name may be given once")
    return sinks
