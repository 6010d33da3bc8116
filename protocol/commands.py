"""What an agent is told to do: a tagged union of start and stop."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, Strict, StringConstraints, TypeAdapter

Pid = Annotated[int, Strict(), Field(gt=0, le=2**31 - 1)]
ProfilingMode = Literal["cpu", "allocation", "wall", "none"]
StopLevel = Literal["process", "host"]


class StartConfig(BaseModel):
    """How to profile. Keys beyond these are the operator's `additional_args`, laid flat where agents look for them.

    `duration` is in seconds, `frequency` in Hz. No `pids` means the whole host. With `continuous`, `duration` is the
    length of one window and the run goes on until it is stopped.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    duration: int = Field(gt=0)
    frequency: int = Field(gt=0)
    profiling_mode: ProfilingMode = "cpu"
    continuous: bool = False
    pids: list[Pid] | None = None
    exclude_pids: list[Pid] | None = None
    capture_id: Annotated[str, StringConstraints(max_length=128)] | None = None
    """Shared by the profiles that belong together: those of hosts that were to start at the same moment."""
    start_at: AwareDatetime | None = None
    """When to begin, by the host's clock; what runs goes on until then. Told to agents that say that they can wait."""


class StopConfig(BaseModel):
    """What to stop: the whole host, or the named processes."""

    model_config = ConfigDict(extra="allow", frozen=True)

    stop_level: StopLevel = "host"
    pids: list[Pid] | None = None


class StartCommand(BaseModel):
    """Stop what runs, if anything, and profile by this configuration."""

    model_config = ConfigDict(frozen=True)

    command_type: Literal["start"] = "start"
    combined_config: StartConfig


class StopCommand(BaseModel):
    """Stop what runs and keep what was sampled."""

    model_config = ConfigDict(frozen=True)

    command_type: Literal["stop"] = "stop"
    combined_config: StopConfig = StopConfig()


Command = Annotated[StartCommand | StopCommand, Field(discriminator="command_type")]
CommandReader: TypeAdapter[StartCommand | StopCommand] = TypeAdapter(Command)
