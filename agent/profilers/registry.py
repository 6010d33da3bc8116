"""Every profiler that this agent knows: its own, and those that other packages add by an entry point.

A package adds one by an entry point of the group `performance_studio.profilers`, which names a class that
`base.Profiler` describes and that is made without arguments. Ours are registered the same way; they are listed here
too, as a plain source tree or a frozen executable has no metadata to find them by.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import metadata
from typing import Final

import structlog

from agent.profilers.base import PARTS, Broken, Profiler
from agent.profilers.dotnet import DotnetTrace
from agent.profilers.java import Java
from agent.profilers.memray import Memray
from agent.profilers.node import Node
from agent.profilers.perf import Perf
from agent.profilers.php import Phpspy
from agent.profilers.py_spy import PySpy
from agent.profilers.ruby import Rbspy

GROUP: Final = "performance_studio.profilers"
BUILT_IN: Final[tuple[Callable[[], Profiler], ...]] = (
    PySpy, Java, Node, Rbspy, Phpspy, DotnetTrace, Memray, Perf,
)  # fmt: skip

log = structlog.get_logger(__name__)


@cache
def installed() -> Sequence[Profiler]:
    """The profilers that this agent knows, whether or not they can work here; looked up once a process."""
    return collect(metadata.entry_points(group=GROUP))


def collect(found: Iterable[metadata.EntryPoint]) -> tuple[Profiler, ...]:
    """Our own profilers, then those of other packages; one that breaks stands among them as `Broken`."""
    profilers: dict[str, Profiler] = {profiler.name: profiler for profiler in (make() for make in BUILT_IN)}
    ours = {f"{make.__module__}:{make.__qualname__}" for make in BUILT_IN}
    for point in found:
        if point.value in ours:
            continue
        profiler = _load(point)
        if profiler.name in profilers:
            named = f"{profiler.name} ({_package(point)})"
            profiler = Broken(named, f"{_package(point)} adds a profiler whose name {profiler.name!r} is taken")
            log.warning("profiler not used", profiler=named, reason=profiler.reason)
        profilers[profiler.name] = profiler
    return tuple(profilers.values())


def _load(point: metadata.EntryPoint) -> Profiler:
    try:
        profiler: Profiler = point.load()()
    except Exception as problem:
        # The boundary to other people's code: what breaks here must not take the agent along.
        log.exception("profiler not usable", profiler=point.name, package=_package(point))
        return Broken(point.name, f"the plug-in of {_package(point)} cannot be loaded: {problem!r}")
    if missing := [part for part in PARTS if not hasattr(profiler, part)]:
        return Broken(point.name, f"the plug-in of {_package(point)} is no profiler: it has no {', '.join(missing)}")
    return profiler


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value.partition(":")[0]
