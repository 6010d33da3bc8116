"""What V8's profilers give over the inspector, in our frames: https://chromedevtools.github.io/devtools-protocol/v8/."""

from collections.abc import Mapping
from typing import Any, Final

from agent.stacks.collapsed import frame
from agent.stacks.py_spy import short_path
from formats.frames import SEPARATOR

NOT_BUSY: Final = frozenset({"(root)", "(idle)"})
"""The tree's own root, and the time in which the program waited for something to do."""


def cpu(profile: Mapping[str, Any]) -> dict[str, int]:
    """Collapsed stacks out of a `Profiler.Profile`, without the samples in which nothing ran.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    nodes = {int(node["id"]): node for node in profile["nodes"]}
    parents = {int(child): number for number, node in nodes.items() for child in node.get("children", ())}
    stacks: dict[str, int] = {}
    for number, node in nodes.items():
        hits = int(node.get("hitCount", 0))
        path = _path(number, nodes, parents)
        if hits > 0 and path:
            stack = SEPARATOR.join(path)
            stacks[stack] = stacks.get(stack, 0) + hits
    return stacks


def began(profile: Mapping[str, Any]) -> float | None:
    """When a `Profiler.Profile` begins, if it says so: on Linux V8 counts microseconds of the monotonic clock."""
    told = profile.get("startTime")
    return told / 1e6 if isinstance(told, int | float) else None


def allocated(profile: Mapping[str, Any]) -> dict[str, int]:
    """Bytes by stack, out of a `HeapProfiler.SamplingHeapProfile`.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    stacks: dict[str, int] = {}
    waiting: list[tuple[Mapping[str, Any], tuple[str, ...]]] = [(profile["head"], ())]
    while waiting:
        node, above = waiting.pop()
        path = (*above, *_named(node))
        size = int(node.get("selfSize", 0))
        if size > 0 and path:
            stack = SEPARATOR.join(path)
            stacks[stack] = stacks.get(stack, 0) + size
        waiting.extend((child, path) for child in node.get("children", ()))
    return stacks


def _path(number: int, nodes: Mapping[int, Mapping[str, Any]], parents: Mapping[int, int]) -> list[str]:
    """From the root to the node; nothing for what was not busy."""
    path: list[str] = []
    at: int | None = number
    while at is not None and len(path) <= len(nodes):
        path = [*_named(nodes[at]), *path]
        at = parents.get(at)
    return path


def _named(node: Mapping[str, Any]) -> tuple[str, ...]:
    """`name (file.js:line)` with the line of the definition, as perf's maps have it; nothing for the tree's root."""
    call = node["callFrame"]
    name, url = str(call["functionName"]), str(call.get("url", ""))
    if not url:
        return () if name in NOT_BUSY else (frame(name or "(anonymous)"),)
    where = url if url.startswith("node:") else short_path(url.removeprefix("file://"))
    return (frame(f"{name or '(anonymous)'} ({where}:{int(call['lineNumber']) + 1})"),)
