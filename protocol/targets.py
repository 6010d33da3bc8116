"""Workloads as targets: which namespaces, workloads, pods, containers or processes a request means."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from protocol.commands import Pid
from protocol.inventory import Label
from protocol.names import Name

TargetScope = Literal["host", "service", "namespace", "workload", "pod", "container", "process"]
MOST_ENTITIES: Final = 1_000
WORKLOADS: Final = frozenset({"namespace", "workload", "pod", "container", "process"})
"""Scopes that are resolved by what runs on the hosts."""
NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "host": ("hostname",),
    "service": (),
    "namespace": ("namespace",),
    "workload": ("workload_name",),
    "pod": ("pod_name",),
    "container": ("container_name", "container_id"),
    "process": ("pid", "process_name"),
}
"""What an entity of each scope must say: one of these."""
MORE_THAN_ASKED: Final[dict[str, frozenset[str]]] = {
    "host": frozenset({"service_name", "hostname", "ip_address"}),
    "service": frozenset({"service_name"}),
}
"""What an entity of a scope that is not resolved may say: what narrows further would be ignored."""


def _in_both_spellings(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Have a schema tell each property as it is read: by its name and by its alias, of which pydantic tells one."""
    told = schema["properties"]
    schema["properties"] = {
        spelling: told[field.alias or name]
        for name, field in model.model_fields.items()
        for spelling in dict.fromkeys([name, field.alias or name])
    }


class TargetEntity(BaseModel):
    """One thing to profile. Everything that it says must hold; in snake case or, as web pages send it, in camel case.

    What is said in both spellings is refused. An unknown key is refused: ignored, it would profile more than was asked
    for. `id` is a page's own name for it.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, loc_by_alias=False,
        json_schema_extra=_in_both_spellings,
    )  # fmt: skip

    id: Annotated[str, Field(max_length=4_096)] | None = Field(default=None, exclude=True)
    service_name: Name | None = None
    namespace: Name | None = None
    hostname: Name | None = None
    ip_address: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    pod_name: Name | None = None
    container_name: Name | None = None
    container_id: Name | None = None
    workload_name: Name | None = None
    workload_kind: Label | None = None
    pid: Pid | None = None
    process_name: Name | None = None

    @property
    def said(self) -> dict[str, Any]:
        """What it is told by."""
        return self.model_dump(exclude_none=True)

    def covers(self, other: "TargetEntity") -> bool:
        """Whether all that the other can mean is meant by this one too."""
        theirs = other.said
        return all(theirs.get(name) == value for name, value in self.said.items() if name != "service_name")


def fault_of(entity: TargetEntity, *, scope: str, service: str | None) -> str | None:
    """Why an entity cannot be meant by a request of this scope and service; None when it can."""
    said = entity.said
    needed = NEEDED[scope]
    allowed = MORE_THAN_ASKED.get(scope)
    if needed and not set(needed) & set(said):
        return f"an entity of scope {scope} needs {' or '.join(needed)}"
    if service is not None and entity.service_name not in {None, service}:
        return "is of another service than service_name"
    if allowed is not None and not set(said) <= allowed:
        return f"says more than scope {scope} can keep to: {', '.join(sorted(set(said) - allowed))}"
    if entity.pid is not None and entity.hostname is None:
        return "pid needs hostname: another host has other processes of that number"
    return None


def faults_of(entities: Sequence[TargetEntity], *, scope: str, service: str | None) -> dict[int, str]:
    """Number of each entity at fault -> why."""
    faults = ((number, fault_of(each, scope=scope, service=service)) for number, each in enumerate(entities))
    return {number: fault for number, fault in faults if fault is not None}
