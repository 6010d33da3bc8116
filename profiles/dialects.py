"""What a header says of a profile, and the root frames that say of which process a stack is: a file's, and an upload's.

Agents, ours and the field's, put up to two frames before the process's name when they upload: an index into
`application_metadata`, where `application_metadata_enabled` is true, and the container's name, which may be empty.
Those that say `profile_api_version` `v1` put none. A profile as our agent keeps it on its host, and as it uploaded it
once, says `format` instead; its stacks begin with the process's name.

A container of a pod is named as its runtime names it, `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from profiles.facts import Labels, text_of

UNKNOWN: Final = "[unknown]"
"""A stack of which nothing is left."""
_OF_A_POD: Final = "k8s"
_PARTS: Final = 6


class Labelled(NamedTuple):
    """A stack without what was before the process's name."""

    labels: Labels
    stack: str
    samples: int


def has_columns(header: Mapping[str, Any]) -> bool:
    """Whether there are frames before the process's name: not in our files, nor in anybody's plain collapsed file."""
    metadata = header.get("metadata")
    if header.get("format") == "collapsed" or "metadata" not in header:
        return False
    arguments = metadata.get("run_arguments") if isinstance(metadata, dict) else None
    return not (isinstance(arguments, dict) and arguments.get("profile_api_version") == "v1")


class Dialect:
    """What one header says of its stacks."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self._known = _by_process(header)
        self._has_index = header.get("application_metadata_enabled") is True
        self.has_columns = has_columns(header)
        """Whether `parted` has anything to do."""

    def parted(self, stack: str) -> tuple[str, str]:
        """What is before the process's name and says its container, and the stack from that name on; may be empty."""
        if not self.has_columns:
            return "", stack
        rest = stack.partition(";")[2] if self._has_index else stack
        column, separator, below = rest.partition(";")
        return (column, below) if separator else ("", rest)  # there is no frame but this one

    def labels(self, column: str, process: str) -> Labels:
        """Of which process a stack is that was taken apart so."""
        listed = self._known.get(process)
        if not self.has_columns:
            return listed or Labels(process)
        container, pod = _taken_apart(column)
        if not container or listed is None:
            return Labels(process, container, pod)
        return Labels(process, container, pod or listed.pod, listed.runtime)


def labelled(header: Mapping[str, Any], stacks: Mapping[str, int]) -> Iterator[Labelled]:
    """Each stack, and of which process it is."""
    dialect = Dialect(header)
    for stack, count in stacks.items():
        column, rest = dialect.parted(stack)
        yield Labelled(dialect.labels(column, rest.partition(";")[0]), rest or UNKNOWN, count)


def _taken_apart(column: str) -> tuple[str, str]:
    """The container's own name, and its pod's where it has one."""
    parts = column.split("_")
    if parts[0] == _OF_A_POD and len(parts) == _PARTS:
        return text_of(parts[1]), text_of(parts[2])
    return text_of(column), ""


def _by_process(header: Mapping[str, Any]) -> dict[str, Labels]:
    """Process's name -> labels, where all processes of that name agree on them."""
    found: dict[str, Labels] = {}
    listed = header.get("processes")
    for each in listed if isinstance(listed, list) else ():
        if not isinstance(each, dict) or not isinstance(name := each.get("name"), str):
            continue
        labels = Labels(
            name,
            text_of(each.get("container")) or text_of(each.get("container_name")),
            text_of(each.get("pod")) or text_of(each.get("pod_name")),
            text_of(each.get("runtime")),
        )
        before = found.setdefault(name, labels)
        if before != labels:
            found[name] = Labels(
                name,
                labels.container if before.container == labels.container else "",
                labels.pod if before.pod == labels.pod else "",
                labels.runtime if before.runtime == labels.runtime else "",
            )
    return found
