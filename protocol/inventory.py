"""What runs on a host, by its agent's word: containers and their processes. Part of a heartbeat."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic_core import PydanticCustomError

from protocol.commands import Pid

MOST_CONTAINERS: Final = 2_000
MOST_PROCESSES: Final = 20_000
"""Of a host, in all of its containers. A node of Kubernetes has 110 pods unless somebody said otherwise."""

Label = Annotated[str, StringConstraints(max_length=256)]


class RunningProcess(BaseModel):
    """One process: its number as the host sees it, and what it is called."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    pid: Pid
    process_name: Label = ""

    @field_validator("process_name", mode="before")
    @classmethod
    def _null_is_no_name(cls, value: Any) -> Any:
        return "" if value is None else value


class Container(BaseModel):
    """One container, or with neither id nor name the processes of the host that are in none.

    Agents find out names where they can, so that each of them may be absent; an empty one is none.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    container_id: Label | None = None
    container_name: Label | None = None
    runtime: Label | None = None
    namespace: Label | None = None
    pod_name: Label | None = None
    workload_name: Label | None = None
    workload_kind: Label | None = None
    processes: Annotated[tuple[RunningProcess, ...], Field(max_length=MOST_PROCESSES)] = ()

    @field_validator("processes", mode="before")
    @classmethod
    def _null_is_none_known(cls, value: Any) -> Any:
        return () if value is None else value

    @property
    def is_one(self) -> bool:
        """Whether it is a container, rather than what runs on the host itself."""
        return bool(self.container_id or self.container_name)


def bounded(containers: list[Container] | None) -> list[Container] | None:
    """Refuse an inventory of more processes than a host has: all of it is kept.

    Raises:
        PydanticCustomError: there are too many.
    """
    count = sum(len(container.processes) for container in containers or ())
    if count > MOST_PROCESSES:
        told = {"count": count, "most": MOST_PROCESSES}
        raise PydanticCustomError("too_many", "has {count} processes in all; at most {most} are taken", told)
    return containers
