"""Errors on the wire: RFC 9457 problem details with a stable `code`."""

from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"


class FieldFault(BaseModel):
    """One field at fault: its path in the body (`pids.0`), and what is wrong with it."""

    field: str
    message: str
    code: str


class Problem(BaseModel):
    """An error's body. `code` is stable and for programs; `title` and `detail` are for people."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldFault] = Field(default_factory=list)
