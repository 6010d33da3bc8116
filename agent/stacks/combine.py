"""What several profilers saw of the same processes, made one profile in which no sample is counted twice."""

from collections.abc import Mapping
from typing import Final

from agent.stacks.collapsed import merge, under
from formats.scaling import scale

ATTACH_FAILED: Final = "[no stacks of the runtime: attaching failed]"
"""Stands below the root of a process that a runtime's profiler could not read, over what the host's profiler saw."""

Stacks = Mapping[str, int]


def by_process(
    host: Mapping[int, Stacks] | None, runtime: Mapping[int, Stacks], *, failed: frozenset[int] = frozenset()
) -> dict[int, dict[str, int]]:
    """Per pid, the best account of it.

    Where a runtime's profiler has samples of a pid they replace the host's, scaled to the host's number of samples: a
    runtime's profiler counts threads that look busy, the host's counts CPU time. Without an account of the host (None)
    there is nothing to scale to.
    """
    if host is None:
        return {pid: dict(stacks) for pid, stacks in runtime.items() if stacks}
    best: dict[int, dict[str, int]] = {}
    for pid, stacks in host.items():
        if known := runtime.get(pid):
            best[pid] = scale(known, sum(stacks.values()))
        elif pid in failed:
            best[pid] = under(ATTACH_FAILED, stacks)
        else:
            best[pid] = dict(stacks)
    return {pid: stacks for pid, stacks in best.items() if stacks}


def whole(processes: Mapping[int, Stacks], names: Mapping[int, str]) -> dict[str, int]:
    """One profile, each process's stacks under its name; processes of one name are added up."""
    return merge(under(names.get(pid, f"pid {pid}"), stacks) for pid, stacks in processes.items())
