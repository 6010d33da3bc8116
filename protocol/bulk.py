"""Many requests in one call: each is accepted or refused for itself."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, Strict

from protocol.problems import Problem
from protocol.requests import RequestAccepted

MOST_REQUESTS: Final = 100


class BulkRequest(BaseModel):
    """Bodies of requests, in the order in which they are submitted. `dry_run` makes a dry run of each of them."""

    model_config = ConfigDict(extra="ignore")

    requests: Annotated[list[Any], Field(min_length=1, max_length=MOST_REQUESTS)]
    dry_run: Annotated[bool, Strict()] = False


class BulkResult(BaseModel):
    """What became of one request: the answer that it would have got alone. `error` is for people, `problem` has it all.

    `index` counts from 0; `service_name` is as the request said it, where it did.
    """

    index: int
    service_name: str
    success: bool
    response: RequestAccepted | None = None
    error: str | None = None
    problem: Problem | None = None


class BulkAnswer(BaseModel):
    """The answer to all of them, in their order."""

    total_submitted: int
    successful_count: int
    failed_count: int
    results: list[BulkResult]
