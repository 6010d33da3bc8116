"""What `perf script -F comm,pid,tid,event,ip,sym,dso` prints, in our frames.

A sample is a head line (`comm pid/tid event:`), then its frames, leaf first, and a blank line. Frames without a symbol
tell nothing but where they are: a row of them in one place becomes one.

perf prints names as they are, and any user of the host may give a process, a file or a function a name with a line end
in it. What is left of such a line is passed over; it must not cost the others their samples.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from agent.stacks import jit
from agent.stacks.collapsed import frame
from formats.frames import SEPARATOR

IDLE: Final = 0
"""The pid of the kernel's idle task: a sample of it is a CPU with nothing to do."""

BY_POINTER: Final = "_fp"
BY_COPY: Final = "_dwarf"
"""What the names of two events end in, where one recording has samples of two kinds."""

_HEAD: Final = re.compile(r"\s*(?P<comm>.*?)\s+(?P<pid>-?\d+)/(?P<tid>-?\d+)\s+(?P<event>\S+):\s*")
_FRAME: Final = re.compile(r"\s+(?P<address>[0-9a-f]+)\s+(?P<symbol>.*) \((?P<object>(?:[^()]|\(deleted\))*)\)\s*")
_FALLBACK: Final = re.compile(r"\s+(?P<address>[0-9a-f]+)\s+(?P<symbol>.*?) \((?P<object>.*)\)\s*")
_KERNEL: Final = re.compile(r"\[(?:kernel\.|guest\.kernel\.)\S+\]")
_MODULE: Final = re.compile(r"\[(?!vdso|vsyscall|heap|stack|unknown|anon|uprobes)[^\]/]+\]|.*\.ko(?:\.[gx]z|\.zst)?")
_USER_SPACE_END: Final = 1 << 63
_VERSION: Final = re.compile(r"@@?[A-Za-z][\w.]*")
"""Of the library that a symbol came with: `clock_gettime@@GLIBC_2.17`."""
_NAMELESS: Final = frozenset({"", "[unknown]"})
_MOST_KNOWN: Final = 50_000
"""Lines of frames that are remembered: a program is mostly in the same few places."""


@dataclass(frozen=True)
class PerfSamples:
    """What one recording holds.

    Attributes:
        stacks: per pid, its stacks, but for those in `unwound`.
        unwound: per pid, the stacks of the event whose name ends in `BY_COPY`.
        names: per pid, the name of its main thread, else of any.
        events: what made the samples.
        unnamed: per pid, addresses in code of a JIT compiler that perf had no name for.
        passed_over: how many lines were neither a head, a frame, a comment nor blank.
    """

    stacks: dict[int, dict[str, int]] = field(default_factory=dict)
    unwound: dict[int, dict[str, int]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    unnamed: dict[int, set[int]] = field(default_factory=dict)
    passed_over: int = 0


class BadScript(ValueError):
    """No frame can be read, and this line is why: perf would not print it with our options; counted from 1."""

    def __init__(self, line_number: int, line: str) -> None:
        super().__init__(f"line {line_number} is neither a sample's head nor a frame: {line[:120]!r}")
        self.line_number = line_number


def read(lines: Iterable[str], compiled: Mapping[int, Mapping[int, str]] | None = None) -> PerfSamples:
    """Stacks by pid, without samples of the idle task or of processes that perf has no number for.

    `compiled` names, by pid and address, what a JIT compiler made and perf has no name for.

    Raises:
        BadScript: there is something, and no frame in it.
    """
    reader = _Reader(compiled or {})
    bad: BadScript | None = None
    passed_over = 0
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip("\r\n")
        if not line.strip():
            reader.close()
        elif not line.startswith("#") and not reader.take(line):
            bad = bad or BadScript(number, line)
            passed_over += 1
    reader.close()
    if bad is not None and not reader.frames:
        raise bad
    return replace(reader.samples, passed_over=passed_over)


class _Reader:
    """The sample being read, and those that were."""

    def __init__(self, compiled: Mapping[int, Mapping[int, str]]) -> None:
        self.samples = PerfSamples()
        self.frames = 0
        self._compiled = compiled
        self._known: dict[str, str] = {}
        self._into = self.samples.stacks
        self._main_threads: set[int] = set()
        self._pid = IDLE
        self._frames: list[str] | None = None

    def take(self, line: str) -> bool:
        """A head or a frame; whether it was one."""
        if self._frames is not None and (name := self._known.get(line) or self._frame(line)):
            self.frames += 1
            if not (name.startswith("[") and self._frames and self._frames[-1] == name):
                self._frames.append(name)
            return True
        head = _HEAD.fullmatch(line)
        if head is None:
            return False
        self.close()
        self._pid, self._frames = int(head["pid"]), []
        event, _, modifiers = head["event"].partition(":")
        self._into = self.samples.unwound if event.endswith(BY_COPY) else self.samples.stacks
        plain = event.removesuffix(BY_COPY).removesuffix(BY_POINTER)
        self.samples.events.add(f"{plain}:{modifiers}" if modifiers else plain)
        if not head["comm"]:  # the rest of a name with a line end in it: /proc knows it better
            return True
        if head["pid"] == head["tid"]:
            self._main_threads.add(self._pid)
            self.samples.names[self._pid] = head["comm"]
        elif self._pid not in self._main_threads:
            self.samples.names.setdefault(self._pid, head["comm"])
        return True

    def close(self) -> None:
        """The sample is complete, if there is one."""
        if self._frames is not None and self._pid > IDLE:
            stacks = self._into.setdefault(self._pid, {})
            stack = SEPARATOR.join(reversed(self._frames)) or "[unknown]"
            stacks[stack] = stacks.get(stack, 0) + 1
        self._frames = None

    def _frame(self, line: str) -> str | None:
        """The name of a frame that is not known by its line yet; None for what is no frame."""
        found = _FRAME.fullmatch(line) or _FALLBACK.fullmatch(line)
        if found is None:
            return None
        address, symbol, mapped = found["address"], found["symbol"], found["object"]
        if jit.is_map(mapped):  # the same line means another function in another process
            return self._compiled_name(address, symbol)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        name = self._known[line] = _name(address, symbol, mapped)
        return name

    def _compiled_name(self, address: str, symbol: str) -> str:
        if symbol in _NAMELESS:
            place = int(address, 16)
            known = self._compiled.get(self._pid, {}).get(place)
            if known is None:
                self.samples.unnamed.setdefault(self._pid, set()).add(place)
                return "[jit]"
            symbol = known
        return jit.readable(symbol)


def _name(address: str, symbol: str, mapped: str) -> str:
    """`function (library.so)`, `function_[k]` in the kernel; the object alone where no symbol is known."""
    in_kernel = bool(_KERNEL.fullmatch(mapped) or _MODULE.fullmatch(mapped)) or int(address, 16) >= _USER_SPACE_END
    known = symbol not in _NAMELESS
    if in_kernel:
        return frame(f"{symbol if known else '[unknown]'}_[k]")
    where = mapped.removesuffix(" (deleted)").rpartition("/")[2] or mapped
    if known:
        symbol = _VERSION.sub("", symbol)
        return frame(f"{symbol} ({where})") if where != "[unknown]" else frame(symbol)
    return frame(f"[{where.strip('[]')}]")
