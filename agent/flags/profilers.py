"""Profilers: which of them may run on this host, and how. What a command asks for beyond that is not done."""

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import click

from agent.flags.options import Flag, Given, under

ProfilingMode = Literal["cpu", "allocation", "wall", "none"]

_MAX_STACK: Final = 65_528
_MOST_TARGETS: Final = 1_000
_OFF: Final = frozenset({"disabled", "none"})

_flag = under("Profilers")


@dataclass(frozen=True)
class Profilers:
    """What this host says of profilers.

    Attributes:
        mode: what is sampled where no command says it.
        enabled: names of profilers that run here without a command's word, which they need else.
        disabled: names of profilers that never run here.
        perf_mode: how perf follows stacks; None is its own choice; likewise `dwarf_stack_size`, bytes of each stack.
        java_clock: what makes a sample of Java; None is its own choice.
        java_mode: `jfr` leaves async-profiler aside; None is its own choice.
        java_safemode: leave a user's JVMs alone once one of them crashed while it was profiled.
        java_version_check: attach only to JVMs whose version is known to have Flight Recorder.
        alloc_interval: bytes between two samples of allocations.
        max_targets: how many processes each profiler of a runtime may attach to.
        perf_up_to: with more processes on the host perf does not run on all of them.
        container_names: whether a profile says in which container and pod a process runs.
    """

    mode: ProfilingMode = "cpu"
    enabled: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()
    perf_mode: str | None = None
    dwarf_stack_size: int | None = None
    java_clock: str | None = None
    java_mode: str | None = None
    java_safemode: bool = True
    java_version_check: bool = True
    alloc_interval: int | None = None
    max_targets: int | None = None
    perf_up_to: int | None = None
    container_names: bool = True


def _size(_context: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    from agent.profiler_configs import size_in_bytes  # noqa: PLC0415 - the help must not pay for it

    size = size_in_bytes(int(value) if value.isdecimal() else value)
    if size is None:
        raise click.BadParameter(f"{value!r} is no size like 512KiB or 2MB")
    return size


def _multiple_of_eight(_context: click.Context, _param: click.Parameter, value: int | None) -> int | None:
    if value is not None and value % 8:
        raise click.BadParameter(f"{value} is no multiple of 8")
    return value


def _mode(runtime: str, profiler: str, *modes: str, **more: Any) -> tuple[Flag, Flag]:
    """The two options that the field has for each runtime: `--java-mode` and `--no-java`."""
    name = runtime.lower().replace(".net", "dotnet").replace(".", "")
    note = more.pop("note", "")
    return (
        _flag(f"--{name}-mode", type=click.Choice([*modes, "disabled", "none"]), metavar="|".join([*modes, "disabled"]),
              help=note or f"How {runtime} is profiled, by {profiler}."),
        _flag(f"--no-{name}", is_flag=True, help=f"Never run {profiler}; the same as --{name}-mode disabled."),
    )  # fmt: skip


RUNTIMES: Final[dict[str, tuple[str, ...]]] = {
    "perf": ("perf",),
    "python": ("py-spy", "memray"),
    "java": ("java",),
    "nodejs": ("node",),
    "ruby": ("rbspy",),
    "php": ("phpspy",),
    "dotnet": ("dotnet-trace",),
}
"""What the field calls a runtime in its options, and the profilers that its `--no-…` switches off."""

# fmt: off
FLAGS: Final = (
    _flag("--mode", type=click.Choice(get_args(ProfilingMode)), default="cpu", show_default=True,
          metavar="MODE", help="What is sampled: cpu, allocation, wall or none. Heartbeat commands name their own."),
    _flag("--alloc-interval", callback=_size, metavar="SIZE", help="Bytes between two samples of allocations: 2MB."),
    _flag("--max-processes-runtime-profiler", type=click.IntRange(0, _MOST_TARGETS), metavar="COUNT",
          help="How many processes each profiler of a runtime may attach to, the busiest first; 0 is its own bound."),
    _flag("--skip-system-profilers-above", type=click.IntRange(min=0), metavar="COUNT",
          help="Do not run perf on the whole host while it has more processes than that; 0 is no bound."),
    _flag("--disable-container-names", is_flag=True, help="Do not say in which container and pod a process runs."),
    *_mode("perf", "perf", "smart", "fp", "dwarf", note="How perf follows stacks: smart, by frame "
           "pointers and by copies of stacks (dwarf), "
           "for each process the one that sees deeper; where copies would cost too much, fp."),
    _flag("--perf-dwarf-stack-size", type=click.IntRange(8, _MAX_STACK), callback=_multiple_of_eight, metavar="BYTES",
          help="How much of each stack is copied, for smart and dwarf: a multiple of 8; 8192 if not given."),
    *_mode("Python", "py-spy", "auto", "pyspy", "py-spy", "pyperf"),
    *_mode("Java", "Flight Recorder and async-profiler", "ap", "jfr", note="ap: by async-profiler where the host "
           "has it, else by Flight Recorder, as without this option; jfr: by Flight Recorder."),
    _flag("--java-async-profiler-mode", type=click.Choice(["cpu", "itimer", "auto", "wall", "alloc"]), metavar="MODE",
          help="What makes a sample of Java: cpu, itimer, auto, wall or alloc."),
    _flag("--java-safemode", is_flag=False, flag_value="all", default="all", metavar="WORDS",
          help="Leave a user's JVMs alone once one of them crashed while it was profiled: the default. Empty: off."),
    _flag("--java-no-version-check", is_flag=True,
          help="Attach to JVMs also where their version is not known to have Flight Recorder."),
    *_mode("Node.js", "its inspector", "attach-maps", "perf", "inspector", note="attach-maps and inspector: by Node's "
           "inspector, which a command must ask for else; perf: by maps that the process itself writes for perf."),
    *_mode("Ruby", "rbspy", "rbspy"),
    *_mode("PHP", "phpspy", "phpspy"),
    *_mode(".NET", "dotnet-trace", "dotnet-trace"),
)
# fmt: on


def read(given: Given) -> Profilers:
    """What this host says of profilers.

    Raises:
        click.UsageError: two options contradict each other, or one needs what this agent has not.
    """
    if given["python_mode"] == "pyperf":
        raise click.UsageError(
            "--python-mode pyperf needs PyPerf, an eBPF program that this agent does not have; py-spy is what it has: "
            "--python-mode auto."
        )
    for runtime in RUNTIMES:
        if given[f"no_{runtime}"] and given[f"{runtime}_mode"] not in {None, *_OFF}:
            raise click.UsageError(
                f"--no-{runtime} and --{runtime}-mode {given[f'{runtime}_mode']} contradict each other."
            )
    off = [one for one in RUNTIMES if given[f"no_{one}"] or given[f"{one}_mode"] in _OFF]
    allocates = given["java_async_profiler_mode"] == "alloc"
    mode: ProfilingMode = "allocation" if allocates and given["mode"] == "cpu" else given["mode"]
    if given["alloc_interval"] is not None and mode != "allocation" and not given["enable_heartbeat_server"]:
        raise click.UsageError("--alloc-interval is for --mode allocation.")
    return Profilers(
        mode=mode,
        enabled=frozenset({"node"}) if given["nodejs_mode"] in {"attach-maps", "inspector"} else frozenset(),
        disabled=frozenset(profiler for runtime in off for profiler in RUNTIMES[runtime]),
        perf_mode=given["perf_mode"] if given["perf_mode"] not in _OFF else None,
        dwarf_stack_size=given["perf_dwarf_stack_size"],
        java_clock=given["java_async_profiler_mode"] if not allocates else None,
        java_mode=given["java_mode"] if given["java_mode"] not in _OFF else None,
        java_safemode=bool(given["java_safemode"].strip()),
        java_version_check=not given["java_no_version_check"],
        alloc_interval=given["alloc_interval"],
        max_targets=given["max_processes_runtime_profiler"] or None,
        perf_up_to=given["skip_system_profilers_above"] or None,
        container_names=not given["disable_container_names"],
    )
