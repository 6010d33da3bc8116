"""What rbspy, phpspy and dotnet-trace write, as collapsed stacks in our frames. Pure: text in, stacks out.

Lines of a file are left out of the frames: these tools tell the line that was running, which would make one function
many.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from agent.stacks.collapsed import frame, parse
from formats.frames import SEPARATOR
from formats.scaling import scale

_RUBY_FRAME: Final = re.compile(r"(?P<function>.*) - (?P<file>.*?)(?::\d+)?")
_RUBY_LIBRARY: Final = re.compile(r".*/(?:gems|lib/ruby/(?:site_ruby|vendor_ruby)?/?\d[\d.]*)/(?P<below>.+)")
_PHP_FRAME: Final = re.compile(r"(?P<depth>\d+) (?P<function>.+) (?P<file>\S*):-?\d+")
_GROUPS: Final = re.compile(r"Threads|Process\d* .*|\(Non-Activities\)|Thread \(\d+\).*")
_RUNNING, _ELSEWHERE = "CPU_TIME", "UNMANAGED_CODE_TIME"


def rbspy(lines: Iterable[str]) -> dict[str, int]:
    """Rbspy's `collapsed`: frames like `block in run - /app/lib/job.rb:12`, root first.

    Raises:
        BadLine: it is no such file.
    """
    stacks: dict[str, int] = {}
    for raw, count in parse(lines).items():
        stack = SEPARATOR.join(_ruby_frame(one) for one in raw.split(SEPARATOR))
        stacks[stack] = stacks.get(stack, 0) + count
    return stacks


def phpspy(lines: Iterable[str]) -> dict[str, int]:
    """What phpspy traces: a line `depth function file:line` a frame, leaf first; `#` lines; an empty line after each.

    Raises:
        ValueError: it is no such file.
    """
    stacks: dict[str, int] = {}
    frames: list[str] = []
    for number, line in enumerate([*(line.rstrip("\r\n") for line in lines), ""], start=1):
        if line.startswith("#"):
            continue
        if not line:
            if frames:
                stack = SEPARATOR.join(reversed(frames))
                stacks[stack] = stacks.get(stack, 0) + 1
            frames = []
            continue
        found = _PHP_FRAME.fullmatch(line)
        if found is None:
            raise ValueError(f"line {number} is no frame of phpspy's: {line[:120]!r}")
        name = found["file"].rpartition("/")[2]
        frames.append(frame(f"{found['function']} ({name})" if name not in ("", "<internal>") else found["function"]))
    return stacks


def dotnet_trace(text: str, *, frequency_hz: int) -> dict[str, int]:
    """dotnet-trace's speedscope file: when each thread entered and left each method, in milliseconds.

    Its sampler looks at every thread, whether or not it runs; the time of those in managed code alone is counted.

    Raises:
        ValueError: it is no such file.
    """
    times: dict[str, float] = {}
    try:
        document = json.loads(text)
        names = [_dotnet_name(one["name"]) for one in document["shared"]["frames"]]
        for thread in document["profiles"]:
            _add_times(thread, names, times)
    except (KeyError, TypeError, IndexError, AttributeError) as problem:
        raise ValueError(f"it is no speedscope file of dotnet-trace: {problem!r}") from problem
    microseconds = {stack: round(time * 1000) for stack, time in times.items() if time > 0}
    return scale(microseconds, round(sum(times.values()) * frequency_hz / 1000))


def _ruby_frame(text: str) -> str:
    found = _RUBY_FRAME.fullmatch(text)
    if found is None:
        return frame(text)
    library = _RUBY_LIBRARY.fullmatch(found["file"])
    name = library["below"] if library else found["file"].rpartition("/")[2]
    return frame(f"{found['function']} ({name})" if name not in ("", "(unknown)") else found["function"])


def _dotnet_name(name: str) -> str:
    """`System.Private.CoreLib!System.String.Concat(class System.String)` without its arguments; "" for a grouping."""
    if _GROUPS.fullmatch(name):
        return ""
    return frame(name.partition("(")[0] or name)


def _add_times(thread: dict[str, Any], names: list[str], times: dict[str, float]) -> None:
    """Add up how long each stack of a thread stood."""
    if thread["type"] != "evented":
        raise ValueError(f"a profile of type {thread['type']!r}")
    open_frames: list[str] = []
    since = float(thread["startValue"])
    for event in thread["events"]:
        at = float(event["at"])
        _count(open_frames, at - since, times)
        since = at
        if event["type"] == "O":
            open_frames.append(names[event["frame"]])
        elif open_frames:
            open_frames.pop()


def _count(frames: list[str], time: float, times: dict[str, float]) -> None:
    if not frames or frames[-1] == _ELSEWHERE or time <= 0:
        return
    if stack := SEPARATOR.join(one for one in frames if one and one != _RUNNING):
        times[stack] = times.get(stack, 0.0) + time
