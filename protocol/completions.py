"""The agent's word that a command has ended."""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from protocol.heartbeats import CommandId
from protocol.names import Name

Text = Annotated[str, StringConstraints(max_length=4_096)]


class Completion(BaseModel):
    """How a command ended on one host. `execution_time` is in seconds, measured by the agent's monotonic clock."""

    model_config = ConfigDict(extra="ignore")

    command_id: CommandId
    hostname: Name
    status: Literal["completed", "failed"]
    service_name: Name | None = None
    execution_time: Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)] | None = None
    error_message: Text | None = None
    results_path: Text | None = None
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    samples: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.started_at and self.finished_at and self.finished_at < self.started_at:
            # An agent whose clock stepped back between the two: keep the word, drop the impossible pair.
            self.finished_at = self.started_at
        return self

    @property
    def only_says_started(self) -> bool:
        """Whether this is the older agents' habit of sending `completed` when a profiler starts."""
        return (
            self.status == "completed"
            and self.execution_time == 0
            and self.samples is None
            and self.finished_at is None
        )


class CompletionRecorded(BaseModel):
    """The answer; the same for a repeated completion, which is recorded once."""

    success: Literal[True] = True
    message: str
