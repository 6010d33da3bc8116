"""What `perf script -F comm,pid,tid,event,ip,sym,dso` prints, in our frames.

A sample is a head line (`comm pid/tid event:`), then its frames, leaf first, and a blank line. Frames without a symbol
tell nothing but where they are: a row of them in one place becomes one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from agent.stacks.collapsed import SEPARATOR, frame

IDLE: Final = 0
"""The pid of the kernel's idle task: a sample of it is a CPU with nothing to do."""

_HEAD: Final = re.compile(r"\s*(?P<comm>.*?)\s+(?P<pid>-?\d+)/(?P<tid>-?\d+)\s+(?P<event>\S+):\s*")
_FRAME: Final = re.compile(r"\s+(?P<address>[0-9a-f]+)\s+(?P<symbol>.*) \((?P<object>(?:[^()]|\(deleted\))*)\)\s*")
_FALLBACK: Final = re.compile(r"\s+(?P<address>[0-9a-f]+)\s+(?P<symbol>.*?) \((?P<object>.*)\)\s*")
_KERNEL: Final = re.compile(r"\[(?:kernel\.|guest\.kernel\.)\S+\]")
_MODULE: Final = re.compile(r"\[(?!vdso|vsyscall|heap|stack|unknown|anon|uprobes)[^\]/]+\]|.*\.ko(?:\.[gx]z|\.zst)?")
_USER_SPACE_END: Final = 1 << 63


@dataclass(frozen=True)
class PerfSamples:
    """Per pid, its stacks and the name of its main thread (else of any); `events` is what made the samples."""

    stacks: dict[int, dict[str, int]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)


class BadScript(ValueError):
    """A line that perf would not print with our options. `line_number` counts from 1."""

    def __init__(self, line_number: int, line: str) -> None:
        super().__init__(f"line {line_number} is neither a sample's head nor a frame: {line[:120]!r}")
        self.line_number = line_number


def read(lines: Iterable[str]) -> PerfSamples:
    """Stacks by pid, without samples of the idle task or of processes that perf has no number for.

    Raises:
        BadScript: a line is neither a head, a frame, a comment nor blank.
    """
    reader = _Reader()
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip("\r\n")
        if not line.strip():
            reader.close()
        elif not line.startswith("#") and not reader.take(line):
            raise BadScript(number, line)
    reader.close()
    return reader.samples


class _Reader:
    """The sample being read, and those that were."""

    def __init__(self) -> None:
        self.samples = PerfSamples()
        self._main_threads: set[int] = set()
        self._pid = IDLE
        self._frames: list[str] | None = None

    def take(self, line: str) -> bool:
        """A head or a frame; whether it was one."""
        if self._frames is not None and (found := _FRAME.fullmatch(line) or _FALLBACK.fullmatch(line)):
            name = _name(found["address"], found["symbol"], found["object"])
            if not (name.startswith("[") and self._frames and self._frames[-1] == name):
                self._frames.append(name)
            return True
        head = _HEAD.fullmatch(line)
        if head is None:
            return False
        self.close()
        self._pid, self._frames = int(head["pid"]), []
        self.samples.events.add(head["event"])
        if head["pid"] == head["tid"]:
            self._main_threads.add(self._pid)
            self.samples.names[self._pid] = head["comm"]
        elif self._pid not in self._main_threads:
            self.samples.names.setdefault(self._pid, head["comm"])
        return True

    def close(self) -> None:
        """The sample is complete, if there is one."""
        if self._frames is not None and self._pid > IDLE:
            stacks = self.samples.stacks.setdefault(self._pid, {})
            stack = SEPARATOR.join(reversed(self._frames)) or "[unknown]"
            stacks[stack] = stacks.get(stack, 0) + 1
        self._frames = None


def _name(address: str, symbol: str, mapped: str) -> str:
    """`function (library.so)`, `function_[k]` in the kernel; the object alone where no symbol is known."""
    in_kernel = bool(_KERNEL.fullmatch(mapped) or _MODULE.fullmatch(mapped)) or int(address, 16) >= _USER_SPACE_END
    known = symbol not in {"", "[unknown]"}
    if in_kernel:
        return frame(f"{symbol if known else '[unknown]'}_[k]")
    where = mapped.removesuffix(" (deleted)").rpartition("/")[2] or mapped
    if known:
        return frame(f"{symbol} ({where})") if where != "[unknown]" else frame(symbol)
    return frame(f"[{where.strip('[]')}]")
