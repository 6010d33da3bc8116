"""What this host says of profilers, against what a command says: the host's no is a no. Pure: values in and out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.profiler_configs import JAVA_CLOCKS, NO_CONFIGS, ProfilerConfigs


def configs_of(
    *,
    disabled: frozenset[str],
    enabled: frozenset[str] = frozenset(),
    perf_mode: str | None = None,
    dwarf_stack_size: int | None = None,
    java_clock: str | None = None,
    java_mode: str | None = None,
    java_safemode: bool = True,
    java_version_check: bool = True,
    alloc_interval: int | None = None,
    max_targets: int | None = None,
    perf_up_to: int | None = None,
) -> ProfilerConfigs:
    """The host's settings in the words of commands; see `agent.flags.profilers.Profilers`."""
    perf: dict[str, Any] = {}
    if perf_mode is not None:
        perf["call_graph"] = perf_mode
    if dwarf_stack_size is not None:
        perf["stack_size"] = dwarf_stack_size
    return ProfilerConfigs(
        enabled=enabled,
        disabled=disabled,
        max_targets=max_targets,
        java_clock=JAVA_CLOCKS[java_clock] if java_clock is not None else NO_CONFIGS.java_clock,
        java_safemode=java_safemode,
        java_version_check=java_version_check,
        java_alloc_interval=alloc_interval,
        options={
            **({"perf": perf} if perf else {}),
            **({"java": {"mode": java_mode}} if java_mode is not None else {}),
        },
        perf_up_to=perf_up_to,
    )


def ruled(asked: ProfilerConfigs, host: ProfilerConfigs) -> ProfilerConfigs:
    """What a command asks for, within what the host allows; where the command says nothing, what the host says."""
    refused = sorted(asked.enabled & host.disabled)
    told = (f"this host never runs {', '.join(refused)}: its own settings say so",) if refused else ()
    return replace(
        asked,
        enabled=(asked.enabled | (host.enabled - asked.disabled)) - host.disabled,
        disabled=asked.disabled | host.disabled,
        max_targets=_least(asked.max_targets, host.max_targets),
        perf_up_to=_least(asked.perf_up_to, host.perf_up_to),
        java_clock=asked.java_clock if asked.java_clock != NO_CONFIGS.java_clock else host.java_clock,
        java_safemode=host.java_safemode,
        java_version_check=host.java_version_check,
        java_alloc_interval=asked.java_alloc_interval or host.java_alloc_interval,
        options=_together(host.options, asked.options),
        not_understood=(*asked.not_understood, *told),
    )


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _together(
    below: Mapping[str, Mapping[str, Any]], above: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    return {name: {**below.get(name, {}), **above.get(name, {})} for name in sorted({*below, *above})}
