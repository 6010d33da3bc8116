"""How a host gets a credential of its own: what it asks with an enrolment token, and the answer."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints

from protocol.names import HostId, Name

Digest = Annotated[str, Strict(), StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class EnrolmentWish(BaseModel):
    """A host that is to have a credential. With `credential_sha256` it has made the secret itself, and keeps it."""

    model_config = ConfigDict(extra="forbid")

    service_name: Name
    hostname: Name
    host_id: HostId | None = None
    credential_sha256: Digest | None = Field(None, description="SHA-256 of a secret of 256 random bits, in hex")


class Enrolled(BaseModel):
    """The host's credential. `token` is its secret where the server made it; it is in no other answer."""

    token_id: str
    service_name: str
    hostname: str
    token: str | None
