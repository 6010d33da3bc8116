"""To whom profiles are pushed: the sinks of `PCS_PROFILES_PUSH`, validated. An address and a header may be secrets."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from profiles.sinks import Kind
from workers.addresses import Address, read_addresses


class BadSinks(Exception):
    """`PCS_PROFILES_PUSH` cannot be used; says which field of which sink, and never a value."""


class Sink(Address):
    """A server that takes profiles in; `url` is without the path of its interface: `http://pyroscope:4040`."""

    kind: Kind
    headers: dict[str, SecretStr] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _is_a_server(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.query or parts.fragment:
            raise ValueError("must be an address without a query")
        return value


def read_sinks(given: str) -> list[Sink]:
    """The sinks of a JSON list, or of a file that holds one.

    Raises:
        BadSinks: they cannot be used.
    """
    return read_addresses(given, Sink, setting="PCS_PROFILES_PUSH", refuse=BadSinks)
