"""What runs in the fleet, grouped for a page of a table: pure functions from hosts to rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from broker.codec import config_of
from broker.host_registry import KnownHost
from protocol.field_status import NO_COMMAND, SCOPES, Scope, WorkloadRow
from protocol.inventory import Container, RunningProcess
from protocol.lifecycle import State

STATUSES: Final[Mapping[State, str]] = {
    State.PENDING: "pending", State.DELIVERED: "sent", State.RECEIVED: "sent", State.RUNNING: "sent",
    State.COMPLETED: "completed", State.FAILED: "failed", State.TIMED_OUT: "failed", State.LOST: "failed",
    State.UNDELIVERABLE: "failed", State.EXPIRED: "failed",
}  # fmt: skip
"""Our states in the field's four words; what was stopped, cancelled or superseded is `stopped`."""
OF_A_HOST: Final = frozenset({"host", "container", "process"})
"""Scopes whose rows are of one host each."""
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What a host is to do, in the field's words."""

    command_type: str = NO_COMMAND
    status: str = "stopped"
    pids: Sequence[int] = ()
    mode: str | None = None
    frequency: int | None = None

    @property
    def is_at_work(self) -> bool:
        """Whether it profiles, or is about to."""
        return self.command_type == "start" and self.status in {"pending", "sent"}


def told(command: Mapping[str, str] | None) -> Told:
    """A host's command, as it is stored."""
    if command is None:
        return Told()
    config = config_of(command["reply"])
    return Told(
        command["type"], STATUSES.get(State(command["state"]), "stopped"), tuple(config.get("pids") or ()),
        config.get("profiling_mode"), config.get("frequency"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filters: each that is given keeps what matches one of its texts, in part and in any case unless `exact`."""

    exact: bool = False
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pids: frozenset[int] = frozenset()

    def fits(self, name: str, value: str | None) -> bool:
        """Whether a value passes the filter of this name."""
        texts = self.texts.get(name)
        if not texts:
            return True
        if value is None:
            return False
        return value in texts if self.exact else any(text.lower() in value.lower() for text in texts)

    def is_one_of(self, name: str, value: str) -> bool:
        """Whether a word passes: in whole, in any case."""
        texts = self.texts.get(name)
        return not texts or value.lower() in {text.lower() for text in texts}

    def passes(self, host: KnownHost, command: Told) -> bool:
        """Whether a host passes, by what is known without its inventory."""
        return (
            self.fits("hostname", host.key.host)
            and self.fits("ip_address", host.facts.get("ip_address", ""))
            and self.is_one_of("profiling_status", command.status)
            and self.is_one_of("command_type", command.command_type)
        )

    @property
    def looks_inside(self) -> bool:
        """Whether a host passes only for something that runs on it."""
        inside = ("namespace", "pod_name", "container_name", "workload_name", "process_name")
        return bool(self.pids) or any(self.texts.get(name) for name in inside)


@dataclass(slots=True)
class _Group:
    """One row in the making."""

    row: dict[str, Any]
    hosts: set[str] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=set)
    pods: set[Key] = field(default_factory=set)
    containers: int = 0
    processes: int = 0
    pids: set[int] = field(default_factory=set)
    statuses: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)


class Table:
    """The rows of one scope, from hosts that are added in the order of their services and names."""

    def __init__(self, scope: Scope, wanted: Wanted, *, limit: int, after: Key | None) -> None:
        self.scope = scope
        self._wanted = wanted
        self._limit = limit
        self._after = after
        self._counts = dict.fromkeys(SCOPES, 0)
        self._seen: dict[str, set[Key]] = {name: set() for name in ("service", "namespace", "workload", "pod")}
        self._groups: dict[Key, _Group] = {}
        self._hosts: set[str] = set()
        self._is_full = False

    def add(self, host: KnownHost, containers: Sequence[Container], command: Told) -> None:
        """Take note of one live host that `passes`, and of what runs on it."""
        # Hosts come in order: what would come behind the page is counted, not kept.
        self._is_full = self.scope in OF_A_HOST and len(self._groups) > self._limit
        inside = list(self._inside(containers))
        if self._wanted.looks_inside and not inside:
            return
        self._hosts.add(host.key.host)
        self._counts["host"] += 1
        service = host.key.service
        self._seen["service"].add((service,))
        for scope in ("service", "host"):
            self._note(scope, _key(scope, host, None, None), host, None, None, command)
        for container, processes in inside:
            self._note_container(host, container, processes, command)

    def _inside(self, containers: Sequence[Container]) -> Iterator[tuple[Container, list[RunningProcess]]]:
        wanted = self._wanted
        by_process = bool(wanted.pids or wanted.texts.get("process_name"))
        for container in containers:
            names = ("namespace", "pod_name", "container_name", "workload_name")
            if not all(wanted.fits(name, getattr(container, name)) for name in names):
                continue
            processes = [
                process
                for process in container.processes
                if (not wanted.pids or process.pid in wanted.pids) and wanted.fits("process_name", process.process_name)
            ]
            if processes or not by_process:
                yield container, processes

    def _note_container(
        self, host: KnownHost, container: Container, processes: Sequence[RunningProcess], command: Told
    ) -> None:
        service = host.key.service
        if container.namespace:
            self._seen["namespace"].add((service, container.namespace))
        if container.workload_name:
            self._seen["workload"].add((service, container.namespace or "", container.workload_name))
        if container.pod_name:
            self._seen["pod"].add((service, container.namespace or "", container.pod_name))
        self._counts["container"] += container.is_one
        self._counts["process"] += len(processes)
        for scope in ("service", "host", "namespace", "workload", "pod", "container"):
            key = _key(scope, host, container, None)
            if key is not None:
                self._note(scope, key, host, container, processes, command)
        if self.scope == "process":
            for process in processes:
                key = _key("process", host, container, process)
                self._note("process", key, host, container, [process], command)

    def _note(
        self,
        scope: str,
        key: Key | None,
        host: KnownHost,
        container: Container | None,
        processes: Sequence[RunningProcess] | None,
        command: Told,
    ) -> None:
        if scope != self.scope or key is None or (self._after is not None and key <= self._after):
            return
        group = self._groups.get(key)
        if group is None:
            if self._is_full:
                return
            group = self._groups[key] = _Group(_row(scope, host, container, processes))
        status = command
        if scope in {"container", "process"} and command.is_at_work and command.pids:
            pids = {process.pid for process in processes or ()}
            status = command if pids & set(command.pids) else Told()
        group.hosts.add(host.key.host)
        group.row["heartbeat_timestamp"] = max(group.row.get("heartbeat_timestamp") or host.last_beat, host.last_beat)
        group.statuses.add(status.status)
        group.types.add(status.command_type)
        if scope in OF_A_HOST:
            group.row |= {"profiling_mode": status.mode, "frequency": status.frequency}
        if container is None:
            return
        group.containers += container.is_one
        group.processes += len(processes or ())
        if scope in {"container", "process"}:  # of the others they are not shown
            group.pids.update(process.pid for process in processes or ())
        if container.namespace:
            group.namespaces.add(container.namespace)
        if container.pod_name:
            group.pods.add((container.namespace or "", container.pod_name))

    @property
    def active_hosts(self) -> int:
        """How many hosts there are, by name."""
        return len(self._hosts)

    @property
    def tab_counts(self) -> dict[Scope, int]:
        """How many rows there are of each scope."""
        counts = self._counts.copy()
        for scope in ("service", "namespace", "workload", "pod"):
            counts[scope] = len(self._seen[scope])
        return counts

    def page(self) -> tuple[list[WorkloadRow], Key | None]:
        """The rows of the page, and the key of its last one where more come after it."""
        keys = sorted(self._groups)
        shown = keys[: self._limit]
        rows = [self._finished(key, self._groups[key]) for key in shown]
        return rows, shown[-1] if len(keys) > self._limit else None

    def _finished(self, key: Key, group: _Group) -> WorkloadRow:
        return WorkloadRow(
            **group.row,
            id="/".join((self.scope, *(quote(part, safe="") for part in key))),
            scope=self.scope,
            active_hosts=len(group.hosts),
            host_count=len(group.hosts),
            namespace_count=len(group.namespaces),
            pod_count=len(group.pods),
            container_count=group.containers,
            process_count=group.processes,
            pids=sorted(group.pids) if self.scope in {"container", "process"} else None,
            command_type=_only(group.types),
            profiling_status=_only(group.statuses),
        )


def _only(values: Iterable[str]) -> str | None:
    """The one value that all hosts of a row have; None where they differ."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def _key(scope: str, host: KnownHost, container: Container | None, process: RunningProcess | None) -> Key | None:
    """What tells one row of a scope from the others, in the order of the list; None where there is no such row."""
    of_service: Key = (host.key.service,)
    of_host: Key = (host.key.service, host.key.host)
    if scope in {"service", "host"}:
        return of_service if scope == "service" else of_host
    if scope == "process":
        return (*of_host, f"{process.pid:010d}") if process is not None else None
    if container is None:
        return None
    namespace, pod = container.namespace or "", container.pod_name or ""
    if scope == "container":
        names = (namespace, pod, container.container_name or "", container.container_id or "")
        return (*of_host, *names) if container.is_one else None
    if scope == "namespace":
        return (*of_service, namespace) if namespace else None
    named = pod if scope == "pod" else container.workload_name
    return (*of_service, namespace, named) if named else None


def _row(
    scope: str, host: KnownHost, container: Container | None, processes: Sequence[RunningProcess] | None
) -> dict[str, Any]:
    """What a row says by itself."""
    row: dict[str, Any] = {"service_name": host.key.service}
    if scope in OF_A_HOST:
        row |= {
            "hostname": host.key.host,
            "ip_address": host.facts.get("ip_address") or None,
            "agent_version": host.facts.get("agent_version") or None,
            "run_mode": host.facts.get("run_mode") or None,
        }
    if container is None or scope in {"service", "host"}:
        return row
    row["namespace"] = container.namespace or None
    if scope == "namespace":
        return row
    row |= {
        "workload_name": container.workload_name or None,
        "workload_kind": container.workload_kind or None,
    }
    if scope != "workload":
        row["pod_name"] = container.pod_name or None
    if scope in {"container", "process"}:
        row["container_name"] = container.container_name or None
    if scope == "process" and processes:
        row |= {"pid": processes[0].pid, "process_name": processes[0].process_name or None}
    return row
