"""What web pages and scripts of the field read of the fleet: `profiling/host_status` and `profiling/workload_status`.

The first speaks snake case, the second camel case, as they know them.
"""

from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Scope = Literal["service", "namespace", "workload", "host", "pod", "container", "process"]
SCOPES: Final[tuple[Scope, ...]] = ("service", "namespace", "workload", "host", "pod", "container", "process")
NO_COMMAND: Final = "N/A"
"""`command_type` of a host that was never told anything."""


class HostStatus(BaseModel):
    """One host and its command. `profiling_status`: `pending`, `sent`, `completed`, `failed`, or `stopped` for none."""

    id: int = Field(description="The same for the same host, and for no other known one")
    service_name: str
    hostname: str
    ip_address: str
    pids: list[int]
    command_type: str
    profiling_status: str
    heartbeat_timestamp: datetime


class HostStatusPage(BaseModel):
    """A page of hosts. The counts are of all hosts of the services asked for: those that are live, and those known."""

    hosts: list[HostStatus]
    active_count: int
    total_count: int
    next_cursor: str | None = None


class WorkloadRow(BaseModel):
    """One service, namespace, workload, host, pod, container or process, with what is in it. Null: does not apply."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    id: str
    scope: Scope
    service_name: str
    namespace: str | None = None
    hostname: str | None = None
    ip_address: str | None = None
    pod_name: str | None = None
    container_name: str | None = None
    workload_name: str | None = None
    workload_kind: str | None = None
    process_name: str | None = None
    pid: int | None = None
    pids: list[int] | None = Field(None, description="Of a container or process: what a request for it would name")
    active_hosts: int | None = None
    host_count: int | None = None
    namespace_count: int | None = None
    pod_count: int | None = None
    container_count: int | None = None
    process_count: int | None = None
    command_type: str | None = None
    profiling_status: str | None = None
    profiling_mode: str | None = None
    frequency: int | None = None
    profiler_summary: str | None = None
    heartbeat_timestamp: datetime | None = None
    agent_version: str | None = None
    run_mode: str | None = None


class WorkloadPage(BaseModel):
    """A page of rows of one scope; `tabCounts` says how many rows there are of each, with the same filters."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    scope: Scope
    rows: list[WorkloadRow]
    tab_counts: dict[Scope, int]
    active_hosts: int
    total_count: int
    is_partial: bool = Field(
        False, description="More live hosts fit than one call looks at: the counts are of 10,000, from the cursor on"
    )
    next_cursor: str | None = None
