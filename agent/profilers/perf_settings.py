"""How perf is to follow stacks, as the options of `perf record`. Pure: values in, values out."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from agent.profiler_configs import ProfilerConfigs
from agent.stacks.perf_script import BY_COPY, BY_POINTER

PerfMode = Literal["fp", "dwarf", "smart"]

MAX_STACK_SIZE: Final = 65_528
"""perf's own bound for one copied stack, in bytes; it must be a multiple of 8."""
MAX_COPIED: Final = 256 * 2**20
"""Bytes of copied stacks in one recording: what it may take of the disk."""


class BadPerfSettings(ValueError):
    """The settings make no sense; the text says why."""


@dataclass(frozen=True)
class PerfSettings:
    """How perf follows stacks.

    Attributes:
        mode: `fp` by frame pointers, `dwarf` by unwinding a copy of each stack, `smart` both, and for each process the
            one that sees deeper.
        dwarf_stack_size: bytes of each stack that are copied, for `dwarf` and `smart`.
        restricted: never copy a stack, whatever the mode: the least that perf can cost.

    Raises:
        BadPerfSettings: the size is not one that perf takes.
    """

    mode: PerfMode = "smart"
    dwarf_stack_size: int = 8192
    restricted: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.dwarf_stack_size <= MAX_STACK_SIZE or self.dwarf_stack_size % 8:
            raise BadPerfSettings(f"the stack size must be a multiple of 8 from 8 to {MAX_STACK_SIZE} bytes")

    def affordable(self, *, frequency_hz: int, cpus: int, seconds: float) -> PerfMode:
        """The mode, or `fp` where copying stacks is not wanted or would take more than `MAX_COPIED` in that time."""
        if self.restricted or self.copied(frequency_hz=frequency_hz, cpus=cpus, seconds=seconds) > MAX_COPIED:
            return "fp"
        return self.mode

    def copied(self, *, frequency_hz: int, cpus: int, seconds: float) -> float:
        """The most bytes of stacks that one recording copies."""
        return 0 if self.mode == "fp" else frequency_hz * cpus * seconds * self.dwarf_stack_size


def asked_for(settings: PerfSettings, configs: ProfilerConfigs) -> tuple[PerfSettings, list[str]]:
    """The settings as a command changes them, and what could not be followed.

    `call_graph` is a mode, or `auto`; `stack_size` is in bytes; `enabled_restricted` copies no stacks.
    """
    problems = []
    options = configs.options.get("perf", {})
    mode = options.get("call_graph", settings.mode)
    if mode == "auto":
        mode = "smart"
    if mode not in ("fp", "dwarf", "smart"):
        problems.append(f"perf knows no call graph {str(mode)[:80]!r}: it has fp, dwarf and smart")
        mode = settings.mode
    size = options.get("stack_size", settings.dwarf_stack_size)
    restricted = settings.restricted or configs.perf_bound == "restricted"
    chosen = replace(settings, mode=mode, restricted=restricted)
    try:
        return replace(chosen, dwarf_stack_size=int(size)), problems
    except (TypeError, ValueError):
        return chosen, [*problems, f"perf cannot copy stacks of {str(size)[:80]!r} bytes"]


def event_options(mode: PerfMode, event: str, *, stack_size: int) -> list[str]:
    """What to count and how to follow stacks.

    `smart` is two events in one recording, whose names tell the samples apart. `-d` with it: without recording maps of
    data perf finds no unwinding tables, and it asks for them by itself only where all events are unwound. An event that
    has parameters of its own (`cpu/event=0x3c/`) is followed by frame pointers.
    """
    match mode:
        case _ if "/" in event:
            return ["-g", "-e", event]
        case "fp":
            return ["-g", "-e", event]
        case "dwarf":
            return ["--call-graph", f"dwarf,{stack_size}", "-e", event]
        case "smart":
            name, _, modifiers = event.partition(":")
            pointers = f"{name}/call-graph=fp,name={name}{BY_POINTER}/{modifiers}"
            copies = f"{name}/call-graph=dwarf,stack-size={stack_size},name={name}{BY_COPY}/{modifiers}"
            return ["-d", "-e", pointers, "-e", copies]
