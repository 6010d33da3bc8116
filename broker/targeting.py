"""From the workloads that a request names to hosts and processes, by what runs on the hosts. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from protocol.inventory import Container, RunningProcess
from protocol.problems import FieldFault
from protocol.requests import MAX_PIDS
from protocol.targets import TargetEntity

MOST_LEFT_OUT: Final = 20
"""Containers without known processes that are told of."""
OF_A_CONTAINER: Final = (
    "namespace", "pod_name", "container_name", "container_id", "workload_name", "workload_kind",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """One host and what runs on it."""

    hostname: str
    ip_address: str
    containers: Sequence[Container]


def found_on(host: Seen, entity: TargetEntity) -> Iterator[tuple[Container, list[int]]]:
    """The containers of a host that an entity means, each with the processes of it that are meant.

    A container that is meant and whose processes are not known comes with none of them.
    """
    if entity.hostname not in {None, host.hostname} or entity.ip_address not in {None, host.ip_address}:
        return
    wanted = [(name, value) for name in OF_A_CONTAINER if (value := getattr(entity, name)) is not None]
    names_processes = entity.pid is not None or entity.process_name is not None
    for container in host.containers:
        if any(getattr(container, name) != value for name, value in wanted):
            continue
        pids = [process.pid for process in container.processes if _is_meant(process, entity)]
        if pids or not names_processes:
            yield container, pids


def _is_meant(process: RunningProcess, entity: TargetEntity) -> bool:
    return entity.pid in {None, process.pid} and entity.process_name in {None, process.process_name}


def pids_on(host: Seen, entities: Sequence[TargetEntity]) -> list[int]:
    """The processes of one host that are meant; none where nothing of it is."""
    return sorted({pid for entity in entities for _, pids in found_on(host, entity) for pid in pids})


@dataclass(slots=True)
class Selection:
    """What a request's entities mean on the hosts that are looked at, one after the other."""

    entities: Sequence[TargetEntity]
    targets: dict[str, list[int]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """Containers that are meant and whose processes are not known, the first of them."""
    _with_pids: set[int] = field(default_factory=set)
    _without_pids: dict[int, str] = field(default_factory=dict)
    _too_many: dict[int, str] = field(default_factory=dict)

    def look_at(self, host: Seen) -> None:
        """Take note of what is meant on one more host."""
        found: set[int] = set()
        for number, entity in enumerate(self.entities):
            of_entity: set[int] = set()
            for container, pids in found_on(host, entity):
                of_entity.update(pids)
                if not pids:
                    self._leave_out(number, container, host)
            found |= of_entity
            if of_entity:
                self._with_pids.add(number)
            if len(found) > MAX_PIDS:
                self._too_many.setdefault(
                    number, f"means more than {MAX_PIDS} processes on host {host.hostname}: name fewer, or the host"
                )
        if found:
            self.targets[host.hostname] = sorted(found)

    def _leave_out(self, number: int, container: Container, host: Seen) -> None:
        what = container.container_name or container.container_id or "the host itself"
        pod = f" of pod {container.pod_name}" if container.pod_name else ""
        told = f"{what}{pod} on host {host.hostname}"
        self._without_pids.setdefault(number, told)
        if len(self.left_out) < MOST_LEFT_OUT:
            self.left_out.append(told)

    def faults(self) -> list[FieldFault]:
        """Each entity that means nothing, or nothing that can be profiled without profiling more than was asked."""
        faults = []
        for number in range(len(self.entities)):
            name = f"target_entities.{number}"
            if number in self._too_many:
                faults.append(FieldFault(field=name, message=self._too_many[number], code="too_many_processes"))
            elif number in self._with_pids:
                continue
            elif number in self._without_pids:
                why = f"the processes of {self._without_pids[number]} are not known: the whole host would be profiled"
                faults.append(FieldFault(field=name, message=why, code="no_processes"))
            else:
                why = "nothing that runs on a live host of the service is meant by this"
                faults.append(FieldFault(field=name, message=why, code="unknown_target"))
        return faults

    def warnings(self) -> list[str]:
        """What is meant and cannot be profiled, while the rest of its entity can."""
        return [f"{told} is left out: its processes are not known" for told in self.left_out]
