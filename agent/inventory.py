"""What runs on the host, in the server's words: from processes and the names that are known to containers. Pure."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.containers import HOST, Home
from protocol.inventory import MOST_CONTAINERS, MOST_PROCESSES, Container, RunningProcess

MOST_BYTES: Final = 900_000
"""Of an inventory as JSON: servers take bodies of 1 MiB."""
_OF_A_CONTAINER: Final = 160
_OF_A_PROCESS: Final = 35
"""Bytes of JSON around the names."""
_SHORT: Final = 12
"""Characters of an id that stand for a name that is not known, as container tools show them."""
_KERNEL_THREAD: Final = 0x0020_0000

_NAME: Final = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?"
_LOG: Final = re.compile(rf"(?P<pod>{_NAME})_(?P<namespace>{_NAME})_(?P<container>{_NAME})-(?P<id>[0-9a-f]{{64}})\.log")
_LOG_FOLDER: Final = re.compile(rf"(?P<namespace>{_NAME})_(?P<pod>{_NAME})_(?P<uid>[0-9a-f-]{{32,36}})")


@dataclass(frozen=True)
class Found:
    """One process at one moment."""

    pid: int
    parent: int
    name: str
    home: Home = HOST


@dataclass(frozen=True)
class PodName:
    """A pod's name; its namespace where that is known."""

    name: str
    namespace: str | None = None


@dataclass(frozen=True)
class Names:
    """What is known beside the kernel's word: by container id, and by the pod's uid."""

    containers: Mapping[str, str] = field(default_factory=dict)
    pods_of: Mapping[str, PodName] = field(default_factory=dict)
    pods: Mapping[str, PodName] = field(default_factory=dict)

    def pod(self, home: Home) -> PodName | None:
        """The pod of a process."""
        of_container = self.pods_of.get(home.container_id) if home.container_id is not None else None
        return of_container or (self.pods.get(home.pod_uid) if home.pod_uid is not None else None)


@dataclass(frozen=True)
class Label:
    """What a process runs in, in the words of the inventory; empty or None where it is not known."""

    container_id: str | None = None
    container_name: str | None = None
    runtime: str | None = None
    namespace: str | None = None
    pod_name: str | None = None

    @property
    def container(self) -> str:
        """The container in one word, as servers of the field take it apart: for a pod's, as its runtime would name it.

        That is `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`; in place of the uid, which is not known here, stands the
        container's id, and 0 for the attempt. Empty where the process runs in none.
        """
        short = (self.container_id or "")[:_SHORT]
        name = self.container_name or short
        if self.pod_name and self.namespace and name and short:
            return f"k8s_{name}_{self.pod_name}_{self.namespace}_{short}_0"
        return name


@dataclass(frozen=True)
class Inventory:
    """What is told to the server, with the agent's own pod. `left_out` processes are not, as there are too many."""

    containers: tuple[Container, ...] = ()
    left_out: int = 0
    own: PodName | None = None


def label(home: Home, names: Names) -> Label | None:
    """What is told of a process in that home; None for one of the host's own."""
    if home.container_id is None and names.pod(home) is None:
        return None
    told = _told(home, names)
    return Label(told.container_id, told.container_name, told.runtime, told.namespace, told.pod_name)


def read_stat(text: str) -> tuple[int, str] | None:
    """The parent and the name in `/proc/PID/stat`; None for a thread of the kernel and for what has ended."""
    name, _, rest = text.partition("(")[2].rpartition(")")  # a name may have parentheses of its own
    fields = rest.split()
    if len(fields) < 7 or fields[0] in {"Z", "X"} or int(fields[6]) & _KERNEL_THREAD:  # noqa: PLR2004 -- see proc(5)
        return None
    return int(fields[1]), name


def names_by_logs(logs: Iterable[str], folders: Iterable[str], *, own: Mapping[str, PodName]) -> Names:
    """Read the names of the kubelet's log files (`POD_NAMESPACE_CONTAINER-ID.log`) and folders (`NAMESPACE_POD_UID`).

    `own` is what the agent knows of its own pod, by uid: less than a folder says.
    """
    read = [log for log in map(_LOG.fullmatch, logs) if log]
    return Names(
        containers={log["id"]: log["container"] for log in read},
        pods_of={log["id"]: PodName(log["pod"], log["namespace"]) for log in read},
        pods={
            **own,
            **{at["uid"]: PodName(at["pod"], at["namespace"]) for at in map(_LOG_FOLDER.fullmatch, folders) if at},
        },
    )


def without_descendants(processes: Iterable[Found], *, of: int) -> list[Found]:
    """The processes without those that one of them has started: profilers at work are no change of what runs."""
    listed = list(processes)
    parents = {process.pid: process.parent for process in listed}

    def descends(pid: int) -> bool:
        seen = set()
        while (pid := parents.get(pid, 0)) and pid not in seen:
            if pid == of:
                return True
            seen.add(pid)
        return False

    return [process for process in listed if not descends(process.pid)]


def compiled(processes: Iterable[Found], names: Names, *, own: PodName | None = None) -> Inventory:
    """Put the processes into their containers, in a lasting order; those in none into a last entry without id and name.

    A process in a pod whose container is not known counts to the pod where that has a name, else to the host. What is
    too much is left out from the end, so that the host's own processes go first.
    """
    homes: dict[Home, list[Found]] = {}
    for process in processes:
        known = process.home.container_id is not None or names.pod(process.home) is not None
        homes.setdefault(process.home if known else HOST, []).append(process)
    ordered = sorted(homes.items(), key=lambda item: _rank(item[0]))
    count = sum(map(len, homes.values()))
    containers = tuple(_bounded(ordered, names))
    return Inventory(containers, count - sum(len(container.processes) for container in containers), own)


def _rank(home: Home) -> tuple[bool, str, str]:
    return home == HOST, home.container_id or "", home.pod_uid or ""


def _bounded(ordered: Iterable[tuple[Home, list[Found]]], names: Names) -> Iterator[Container]:
    bytes_left, processes_left = MOST_BYTES, MOST_PROCESSES
    for number, (home, members) in enumerate(ordered):
        container = _told(home, names)
        bytes_left -= _OF_A_CONTAINER + sum(len(value) for _, value in container if isinstance(value, str))
        if number >= MOST_CONTAINERS or bytes_left < 0 or processes_left <= 0:
            return
        taken: list[RunningProcess] = []
        for process in sorted(members, key=lambda member: member.pid):
            size = _OF_A_PROCESS + len(json.dumps(process.name, ensure_ascii=False).encode())
            if bytes_left < size or len(taken) >= processes_left:
                break
            bytes_left -= size
            taken.append(RunningProcess(pid=process.pid, process_name=process.name))
        processes_left -= len(taken)
        if taken:
            yield container.model_copy(update={"processes": tuple(taken)})


def _told(home: Home, names: Names) -> Container:
    pod = names.pod(home)
    return Container(
        container_id=home.container_id,
        container_name=names.containers.get(home.container_id, home.container_id[:_SHORT]) if home.container_id else "",
        runtime=home.runtime,
        namespace=pod.namespace if pod else None,
        pod_name=pod.name if pod else None,
    )
