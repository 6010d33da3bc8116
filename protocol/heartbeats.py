"""The agent's one call and its answer."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from protocol.commands import Command
from protocol.inventory import MOST_CONTAINERS, Container, bounded
from protocol.names import HostId, Name

MAX_IDS: Final = 1_000
MAX_CAPABILITY_BYTES: Final = 64 * 1024

CommandId = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""Ids that are no UUIDs are legal: older servers made them differently."""
ShortText = Annotated[str, StringConstraints(max_length=256)]

WAITS: Final = "start_at"
"""The capability of an agent that may be told of a start ahead of its `start_at`: it waits, and begins on time."""
RUNNING: Final = "running"
"""`status` of an agent whose run of `last_command_id` has begun. Agents in the field say `active` always."""


class Heartbeat(BaseModel):
    """What an agent says of itself. Unknown fields are ignored; `timestamp` is the agent's word, never a clock of ours.

    `last_command_id` is the newest command the agent holds in its ledger; of a stop, once it has carried it out.
    """

    model_config = ConfigDict(extra="ignore")

    ip_address: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    hostname: Name
    service_name: Name
    last_command_id: CommandId | None = None
    status: ShortText | None = None
    timestamp: ShortText | None = None
    agent_version: ShortText | None = None
    run_mode: ShortText | None = None
    received_command_ids: Annotated[list[CommandId], Field(max_length=MAX_IDS)] = Field(default_factory=list)
    executed_command_ids: Annotated[list[CommandId], Field(max_length=MAX_IDS)] = Field(default_factory=list)
    perf_supported_events: Annotated[list[ShortText], Field(max_length=MAX_IDS)] | None = None
    namespace: ShortText | None = None
    pod_name: ShortText | None = None
    containers: Annotated[list[Container], Field(max_length=MOST_CONTAINERS), AfterValidator(bounded)] | None = None
    capabilities: dict[str, Any] | None = None
    host_id: HostId | None = None

    @field_validator("received_command_ids", "executed_command_ids", mode="before")
    @classmethod
    def _null_is_none_yet(cls, value: Any) -> Any:
        """An explicit null is an absent field, here as elsewhere."""
        return [] if value is None else value


class HeartbeatReply(BaseModel):
    """The answer: a command, or both fields null when there is nothing new. `heartbeat_interval` is in seconds.

    `inventory_wanted`: the server does not know what runs on the host; the next beat is to carry `containers`.
    """

    success: Literal[True] = True
    message: str = "Heartbeat received. No pending commands."
    profiling_command: Command | None = None
    command_id: str | None = None
    generation: int | None = None
    heartbeat_interval: int
    inventory_wanted: bool = False
