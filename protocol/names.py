"""Names of tenants, services and hosts, and the key that identifies one agent."""

import re
import unicodedata
from typing import Annotated, Final, NamedTuple
from urllib.parse import quote, unquote

from pydantic import AfterValidator, Strict, StringConstraints
from pydantic_core import PydanticCustomError

DEFAULT_TENANT = "default"
MAX_NAME = 256
_is_plain: Final = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
"""Of these `quote` leaves each as it is (RFC 3986, 2.3), and takes ten times as long: paths are made for each beat."""


def printable(value: str) -> str:
    """Refuse control characters, lone surrogates and blank text; names end up in keys, logs and paths.

    Raises:
        PydanticCustomError: naming what is wrong with the value.
    """
    if not value.strip():
        raise PydanticCustomError("blank", "must not be blank")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise PydanticCustomError("unprintable", "must not contain control characters or lone surrogates")
    return value


Name = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=MAX_NAME), AfterValidator(printable)]
"""A service or host name: 1 to 256 characters, printable, not blank."""


HostId = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
"""What an agent calls the machine it runs on: the same for as long as it is that machine. Printable ASCII."""


class HostKey(NamedTuple):
    """One agent's place in the fleet: a host seen by one service of one tenant."""

    tenant: str
    service: str
    host: str

    @property
    def path(self) -> str:
        """`tenant/service/host` with each part percent-encoded, so that no name can forge a separator."""
        return "/".join(part if _is_plain(part) else quote(part, safe="") for part in self)

    @classmethod
    def from_path(cls, path: str) -> "HostKey":
        """Read back what `path` wrote.

        Raises:
            ValueError: the text does not have three parts.
        """
        tenant, service, host = (unquote(part) for part in path.split("/"))
        return cls(tenant, service, host)
