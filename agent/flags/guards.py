"""Guards: what profiling may cost this host, and what a server may ask of it."""

from datetime import timedelta
from typing import Final

import click

from agent.flags.options import Given, under
from agent.guard_settings import KILL_SWITCH, Allowed, Budget, GuardSettings

_MIB: Final = 1024 * 1024
_MODES: Final = frozenset({"cpu", "allocation", "wall", "none"})
_DEFAULTS: Final = Budget()

_flag = under("Guards")


def _read_names(_context: click.Context, _param: click.Parameter, value: str | None) -> frozenset[str] | None:
    if value is None:
        return None
    return frozenset(part.strip() for part in value.split(",") if part.strip())


def _read_modes(context: click.Context, param: click.Parameter, value: str | None) -> frozenset[str] | None:
    modes = _read_names(context, param, value)
    if modes is not None and (not modes or modes - _MODES):
        raise click.BadParameter(f"name some of {', '.join(sorted(_MODES))}")
    return modes


# fmt: off
FLAGS: Final = (
    _flag("--kill-switch", type=click.Path(), default=KILL_SWITCH, show_default=True, metavar="FILE",
          help="While this file exists nothing is profiled, whatever a server asks for; its text is the reason told."),
    _flag("--cpu-budget", type=click.IntRange(min=0), default=_DEFAULTS.cpu_percent, show_default=True,
          metavar="PERCENT", help="What agent and profilers may use of one core, over ten seconds; 0 is no bound."),
    _flag("--memory-budget", type=click.IntRange(min=0), default=(_DEFAULTS.memory_bytes or 0) // _MIB,
          show_default=True, metavar="MIB", help="What memory they may take together; 0 is no bound."),
    _flag("--max-load", type=click.FloatRange(min=0), default=0.0, metavar="LOAD",
          help="Do not profile above this load for each CPU; 0, the default, is no bound."),
    _flag("--min-free", type=click.IntRange(min=0), default=(_DEFAULTS.free_bytes or 0) // _MIB, show_default=True,
          metavar="MIB", help="What must stay free on the disks that the agent writes to; 0 is no bound."),
    _flag("--allow-max-frequency", type=click.IntRange(min=1), metavar="HZ", help="The most a server may ask for."),
    _flag("--allow-max-duration", type=click.IntRange(min=1), metavar="SECONDS", help="The most it may ask for."),
    _flag("--allow-modes", callback=_read_modes, metavar="MODE,MODE", help="The profiling modes it may ask for."),
    _flag("--allow-profilers", callback=_read_names, metavar="NAME,NAME", help="The profilers that may be used."),
    _flag("--allow-no-continuous", is_flag=True, help="No run that goes on until it is stopped."),
    _flag("--allow-only-pids", is_flag=True, help="Only commands that name processes."),
    _flag("--max-deaths", type=click.IntRange(min=0), default=GuardSettings.max_deaths, show_default=True,
          metavar="COUNT", help="Refuse a command that the agent died of so many times; 0 refuses none."),
)
# fmt: on


def read(given: Given) -> GuardSettings:
    """The guards of this host."""
    longest = given["allow_max_duration"]
    return GuardSettings(
        budget=Budget(
            cpu_percent=given["cpu_budget"] or None,
            memory_bytes=given["memory_budget"] * _MIB or None,
            load_per_cpu=given["max_load"] or None,
            free_bytes=given["min_free"] * _MIB or None,
        ),
        allowed=Allowed(
            max_frequency_hz=given["allow_max_frequency"],
            max_duration=timedelta(seconds=longest) if longest is not None else None,
            modes=given["allow_modes"],
            profilers=given["allow_profilers"],
            continuous=not given["allow_no_continuous"],
            only_pids=given["allow_only_pids"],
        ),
        kill_switch=given["kill_switch"],
        max_deaths=given["max_deaths"],
    )
