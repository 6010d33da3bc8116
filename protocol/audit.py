"""Audit records as the API shows them: who did what, when, from where, and what came of it."""

from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field


class AuditOutcome(StrEnum):
    """What came of an act. `accepted` is written before the effect; a `failed` one may follow it."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"


class AuditItem(BaseModel):
    """One record."""

    number: int = Field(description="Its place in the chain of its partition")
    id: str
    at: AwareDatetime = Field(description="By the server's clock")
    action: str = Field(description="As `request.submit`, `token.revoke`; of refused reads and unknown paths: `call`")
    outcome: AuditOutcome
    code: str | None = Field(None, description="Of a refusal or a failure: the code that was answered")
    actor: str | None = Field(None, description="The id of the token; null where nobody we know has called")
    actor_kind: str | None = None
    service_name: str | None = None
    objects: list[str] = Field(default_factory=list, description="Ids of what was acted upon")
    hosts: int | None = Field(None, description="How many hosts it was for")
    targets: str | None = Field(None, description="SHA-256 of their names, sorted, one a line")
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    details: dict[str, Any] | None = None
    address: str | None = Field(None, description="Where the call came from")
    route: str | None = None
    http_request_id: str | None = Field(None, description="X-Request-ID of the call, or one that we gave it")
    act: str | None = Field(None, description="Of a failure: the id of the accepted record before it")
    count: int = Field(1, description="How many calls of this kind it stands for, from `at` to `last_at`")
    last_at: AwareDatetime | None = None
    hash: str


class AuditPage(BaseModel):
    """A page; `next_cursor` asks for the next one, null on the last."""

    items: list[AuditItem]
    next_cursor: str | None = None


class ChainPoint(BaseModel):
    """A place in the chain: the number of a record, and its hash. Number 0: before the first."""

    number: int
    hash: str


class ChainLink(BaseModel):
    """A record as the chain sees it. `body` is null where the caller may not read it; its digest is told anyway."""

    number: str
    prev: str
    hash: str
    digest: str
    body: dict[str, str] | None = None


class ChainPage(BaseModel):
    """Part of a chain, oldest first: from `checkpoint` on the first page to `head` on the last.

    What was before the checkpoint was trimmed, and is in the archive.
    """

    partition: int
    checkpoint: ChainPoint
    head: ChainPoint
    links: list[ChainLink]
    next_cursor: str | None = None
