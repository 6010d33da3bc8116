"""Tokens as operators ask for them and read them. A secret stands in the answer that made it and nowhere else."""

from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from protocol.names import MAX_NAME, Name, printable

LONGEST_LIFE: Final = 10 * 365 * 86_400
LONGEST_OVERLAP: Final = 30 * 86_400
MOST_USES: Final = 1_000_000

Kind = Literal["agent", "enrolment", "viewer", "operator", "admin"]
Seconds = Annotated[int, Field(strict=True, ge=1, le=LONGEST_LIFE)]


def _printable_or_empty(value: str) -> str:
    return printable(value) if value else value


Label = Annotated[str, Strict(), StringConstraints(max_length=MAX_NAME), AfterValidator(_printable_or_empty)]
Description = Annotated[str, Strict(), StringConstraints(max_length=1_024), AfterValidator(_printable_or_empty)]


class TokenWish(BaseModel):
    """A token to make. `services` are shell-style patterns; `expires_in` is in seconds, absent: never."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    services: Annotated[list[Name], Field(min_length=1, max_length=100)]
    name: Label = ""
    description: Description = ""
    expires_in: Seconds | None = None
    max_uses: Annotated[int, Field(strict=True, ge=1, le=MOST_USES)] | None = Field(None, validate_default=True)
    """How many hosts an enrolment token enrols; of that kind alone, and required there."""

    @field_validator("max_uses", mode="after")
    @classmethod
    def _of_enrolment_alone(cls, uses: int | None, info: ValidationInfo) -> int | None:
        kind = info.data.get("kind")
        if kind == "enrolment" and uses is None:
            raise PydanticCustomError("missing", "is required of a token of kind enrolment")
        if kind not in {None, "enrolment"} and uses is not None:
            raise PydanticCustomError("contradiction", "is for tokens of kind enrolment alone")
        return uses


class RotationWish(BaseModel):
    """How to rotate. Both are seconds: for how long the old secret is good too, and a new end of the token."""

    model_config = ConfigDict(extra="forbid")

    overlap: Annotated[int, Field(strict=True, ge=0, le=LONGEST_OVERLAP)] = 3_600
    expires_in: Seconds | None = None


class TokenView(BaseModel):
    """A token without its secret. `last_used_at` is true to some minutes."""

    id: str
    kind: Kind
    name: str
    description: str
    tenant: str
    services: list[str]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    rotated_at: AwareDatetime | None
    previous_valid_until: AwareDatetime | None
    last_used_at: AwareDatetime | None
    max_uses: int | None = Field(description="Of an enrolment token: how many hosts it may enrol")
    uses: int | None = Field(description="Likewise: how many it has")
    hostname: str | None = Field(description="Of a credential bought by enrolment: the host that it is for")


class NewToken(TokenView):
    """A token just made or rotated: the only time that this secret is told."""

    token: str


class TokenPage(BaseModel):
    """A page of tokens, oldest first; `next_cursor` asks for the next one, null on the last."""

    items: list[TokenView]
    next_cursor: str | None = None
