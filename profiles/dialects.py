"""What a header says of a profile, and the root frames that say of which process a stack is: ours, and the field's.

Agents of the field put up to two frames before the process's name: an index into `application_metadata`, where
`application_metadata_enabled` is true, and always the container's name, which may be empty. Ours say `format` and list
`processes`; their stacks begin with the process's name.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from profiles.facts import Labels, text_of


class Labelled(NamedTuple):
    """A stack without what was before the process's name."""

    labels: Labels
    stack: str
    samples: int


def is_ours(header: Mapping[str, Any]) -> bool:
    """Whether an agent of ours, or anybody's plain collapsed file, is read: no frames before the process's name."""
    return header.get("format") == "collapsed" or "metadata" not in header


def labelled(header: Mapping[str, Any], stacks: Mapping[str, int]) -> Iterator[Labelled]:
    """Each stack, and of which process it is."""
    if is_ours(header):
        known = _by_process(header)
        for stack, count in stacks.items():
            process = stack.partition(";")[0]
            labels = known.get(process)
            if labels is None:
                labels = known[process] = Labels(process=process)
            yield Labelled(labels, stack, count)
        return
    has_index = header.get("application_metadata_enabled") is True
    for stack, count in stacks.items():
        rest = stack.partition(";")[2] if has_index else stack
        container, separator, rest = rest.partition(";")
        if not separator:  # there is no frame but this one
            container, rest = "", container
        yield Labelled(Labels(process=rest.partition(";")[0], container=container), rest or "[unknown]", count)


def _by_process(header: Mapping[str, Any]) -> dict[str, Labels]:
    """Process's name -> labels, where all processes of that name agree on them."""
    found: dict[str, Labels] = {}
    listed = header.get("processes")
    for each in listed if isinstance(listed, list) else ():
        if not isinstance(each, dict) or not isinstance(name := each.get("name"), str):
            continue
        labels = Labels(
            name, text_of(each.get("container")), text_of(each.get("pod")), text_of(each.get("runtime"))
        )  # fmt: skip
        before = found.setdefault(name, labels)
        if before != labels:
            found[name] = Labels(
                name,
                labels.container if before.container == labels.container else "",
                labels.pod if before.pod == labels.pod else "",
                labels.runtime if before.runtime == labels.runtime else "",
            )
    return found
