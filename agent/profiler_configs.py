"""Which profilers a command wants, and how: `profiler_configs` and `max_processes` of a start. Pure: values in and out.

The keys and words are those that this field's agents and consoles send (`perf`, `async_profiler`, `pyspy` …). A key
that is none of them names a profiler of ours, or of a plug-in, by its own name; so an operator can switch every
profiler. Nothing here fails a run: what is not understood is told, and the rest holds.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from protocol.commands import ProfilingMode, StartConfig

JavaClock = Literal["cpu", "itimer", "wall"]
PerfBound = Literal["restricted", "aggressive"]

MOST_TARGETS: Final = 1_000
MOST_TOLD: Final = 20
JAVA_CLOCKS: Final[Mapping[str, JavaClock]] = {"cpu": "cpu", "auto": "cpu", "itimer": "itimer", "wall": "wall"}
SAME_NAME: Final = {
    "pyspy": "py-spy", "async-profiler": "java", "jfr": "java", "nodejs-perf": "node", "nodejs": "node",
    "python-memory": "memray", "pyperf": "py-spy",
}  # fmt: skip
"""Names of the field, and what stands for them here. Names are compared in small letters, `_` as `-`."""

_SIZE: Final = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>b|[kmg](?:i?b)?)?\s*", re.IGNORECASE)
_FACTORS: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gib": 1 << 30,
}  # fmt: skip
_EVENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/=,-]{0,127}")


@dataclass(frozen=True)
class ProfilerConfigs:
    """What a command says about profilers.

    Attributes:
        enabled: names of profilers that were asked for by name.
        disabled: names of those that must not run.
        max_targets: how many processes each profiler of a runtime may attach to; None is its own bound.
        mode: what the profilers' settings make of the command's mode (`async_profiler` with `time: alloc`).
        perf_bound: how much perf may be given to do; None where nothing is said.
        perf_events: what perf counts, in order; none is its own choice.
        java_clock: what makes a sample of Java.
        java_safemode: the host's word alone: leave a user's JVMs alone once one of them crashed while profiled.
        java_version_check: the host's word alone: attach only to JVMs whose version is known to have Flight Recorder.
        java_alloc_interval: bytes between two samples of Java's allocations.
        perf_up_to: with more processes than that perf is not run on the whole host; None is no bound.
        options: per profiler, keys that are its own affair, for plug-ins.
        not_understood: what could not be followed, in words for the profile's warnings.
        only: names of the profilers that the host's owner allows; None is all. No command can set it.
    """

    enabled: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()
    max_targets: int | None = None
    mode: ProfilingMode | None = None
    perf_bound: PerfBound | None = None
    perf_events: tuple[str, ...] = ()
    java_clock: JavaClock = "cpu"
    java_safemode: bool = True
    java_version_check: bool = True
    java_alloc_interval: int | None = None
    perf_up_to: int | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    not_understood: tuple[str, ...] = ()
    only: frozenset[str] | None = None

    def unknown(self, installed: frozenset[str]) -> list[str]:
        """A sentence for each profiler that is named here and is not among those installed.

        What the field knows and we have not may be switched off without a word: it does not run.
        """
        missing = (self.enabled | (self.disabled - frozenset(_READERS))) - installed
        return [f"profiler_configs: this agent has no profiler {name[:80]!r}" for name in sorted(missing)]


NO_CONFIGS: Final = ProfilerConfigs()
"""Every profiler, as it likes best."""


def run_request_extras(config: StartConfig) -> ProfilerConfigs:
    """What a start says about profilers, beside what every start says."""
    extra = config.model_extra or {}
    asked = extra.get("profiler_configs")
    configs = NO_CONFIGS
    if "max_processes" in extra:
        configs = _max_processes(configs, extra["max_processes"])
    if asked is None:
        return configs
    if not isinstance(asked, Mapping):
        return _misread(configs, "profiler_configs", asked)
    for key in sorted(asked):
        configs = _read(configs, str(key), asked[key])
    return _settle_python(configs, asked)


def named(text: str) -> str:
    """The name of one of our profilers, by what the field calls it."""
    plain = text.strip().lower().replace("_", "-")
    return SAME_NAME.get(plain, plain)


def _read(configs: ProfilerConfigs, key: str, value: Any) -> ProfilerConfigs:
    """Take in one entry of `profiler_configs`."""
    name = named(key)
    if value is None:
        return configs
    words, more = _taken_apart(value)
    if words is None:
        return _misread(configs, f"profiler_configs.{key}", value)
    if words == "disabled":
        return replace(configs, disabled=configs.disabled | {name})
    configs = replace(configs, enabled=configs.enabled | {name})
    return _READERS.get(name, _read_other)(configs, key, words, more)


def _taken_apart(value: Any) -> tuple[str | None, Mapping[str, Any]]:
    """A value of either shape, a word or an object, as the word and the other keys; None for the word is no sense."""
    match value:
        case bool():
            return ("enabled" if value else "disabled"), {}
        case str():
            return value.strip().lower(), {}
        case {**members}:
            more = {str(key): member for key, member in members.items() if key not in ("enabled", "mode")}
            if members.get("enabled", True) is False:
                return "disabled", more
            if members.get("enabled", True) is not True:
                return None, more
            word = members.get("mode", "enabled")
            return (word.strip().lower() if isinstance(word, str) else None), more
        case _:
            return None, {}


def _read_perf(configs: ProfilerConfigs, key: str, word: str, more: Mapping[str, Any]) -> ProfilerConfigs:
    match word:
        case "enabled_restricted":
            configs = replace(configs, perf_bound="restricted")
        case "enabled_aggressive":
            configs = replace(configs, perf_bound="aggressive")
        case "enabled" | "fp" | "dwarf" | "smart" | "auto":
            configs = configs if word == "enabled" else _with_options(configs, "perf", {"call_graph": word})
        case _:
            configs = _misread(configs, f"profiler_configs.{key}", word)
    for name, value in more.items():
        events = [value] if isinstance(value, str) else value
        if name != "events":
            configs = _misread(configs, f"profiler_configs.{key}.{name}", value)
        elif isinstance(events, list) and all(isinstance(one, str) and _EVENT.fullmatch(one) for one in events):
            configs = replace(configs, perf_events=tuple(dict.fromkeys(events)))
        else:
            configs = _misread(configs, f"profiler_configs.{key}.{name}", value)
    return configs


def _read_java(configs: ProfilerConfigs, key: str, word: str, more: Mapping[str, Any]) -> ProfilerConfigs:
    time, interval = more.get("time", "cpu"), more.get("alloc_interval")
    match word:
        case "enabled":
            pass
        case "enabled_wall" | "enabled_alloc":
            time = word.removeprefix("enabled_")
        case _:
            configs = _misread(configs, f"profiler_configs.{key}", word)
    if time == "alloc":
        configs = replace(configs, mode="allocation")
    elif isinstance(time, str) and time in JAVA_CLOCKS:
        configs = replace(configs, java_clock=JAVA_CLOCKS[time])
    else:
        configs = _misread(configs, f"profiler_configs.{key}.time", time)
    if interval is not None:
        size = size_in_bytes(interval)
        if size is None:
            configs = _misread(configs, f"profiler_configs.{key}.alloc_interval", interval)
        else:
            configs = replace(configs, java_alloc_interval=size)
    for name in sorted(more.keys() - {"time", "alloc_interval"}):
        configs = _misread(configs, f"profiler_configs.{key}.{name}", more[name])
    return configs


def _read_switch(configs: ProfilerConfigs, key: str, word: str, more: Mapping[str, Any]) -> ProfilerConfigs:
    """A profiler that is on or off, and nothing else; `enabled_fallback` is on too."""
    if word not in ("enabled", "enabled_fallback"):
        configs = _misread(configs, f"profiler_configs.{key}", word)
    for name in sorted(more):
        configs = _misread(configs, f"profiler_configs.{key}.{name}", more[name])
    return configs


def _read_other(configs: ProfilerConfigs, key: str, word: str, more: Mapping[str, Any]) -> ProfilerConfigs:
    """A profiler that only the plug-in itself understands gets its keys as they are."""
    return _with_options(configs, named(key), {**more, **({} if word == "enabled" else {"mode": word})})


def _with_options(configs: ProfilerConfigs, name: str, more: Mapping[str, Any]) -> ProfilerConfigs:
    return replace(configs, options={**configs.options, name: more}) if more else configs


_Reader = Callable[[ProfilerConfigs, str, str, Mapping[str, Any]], ProfilerConfigs]
_READERS: Final[Mapping[str, _Reader]] = {
    "perf": _read_perf,
    "java": _read_java,
    **dict.fromkeys(("py-spy", "phpspy", "rbspy", "dotnet-trace", "node", "memray"), _read_switch),
}


def _settle_python(configs: ProfilerConfigs, asked: Mapping[str, Any]) -> ProfilerConfigs:
    """The field has two profilers of Python, we have one: `pyspy` decides, and `pyperf` where it is said alone.

    `pyperf` on and `pyspy` off leaves nothing that we could run, which is told.
    """
    said = {re.sub("[-_]", "", str(key).lower()): value for key, value in asked.items() if value is not None}
    words = {key: _taken_apart(value)[0] for key, value in said.items()}
    if "pyperf" not in words:
        return configs
    if words["pyperf"] == "disabled" and words.get("pyspy", "enabled_fallback") != "disabled":
        return replace(configs, disabled=configs.disabled - {"py-spy"})
    if words["pyperf"] != "disabled" and words.get("pyspy") == "disabled":
        text = "profiler_configs.pyperf: this agent has no pyperf, and pyspy is disabled: Python is seen by perf alone"
        return replace(configs, not_understood=(*configs.not_understood, text))
    return configs


def _max_processes(configs: ProfilerConfigs, value: Any) -> ProfilerConfigs:
    """How many processes each profiler may attach to; 0 is no bound but ours."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return _misread(configs, "max_processes", value)
    return replace(configs, max_targets=min(value or MOST_TARGETS, MOST_TARGETS))


def size_in_bytes(value: Any) -> int | None:
    """`2MB`, `512KiB` or a number of bytes; None for what is no size."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value > 0 else None
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    return int(float(found["number"]) * _FACTORS[(found["unit"] or "").lower()]) or None


def _misread(configs: ProfilerConfigs, key: str, value: Any) -> ProfilerConfigs:
    """Note what could not be followed, in short: the text came from afar."""
    if len(configs.not_understood) >= MOST_TOLD:
        return configs
    text = f"{key[:80]} is not understood and was left out: {repr(value)[:80]}"
    return replace(configs, not_understood=(*configs.not_understood, text))
