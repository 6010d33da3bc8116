"""A JVM's recording as collapsed stacks: what it ran, or what it allocated. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent.stacks import allocations, jfr
from agent.stacks.collapsed import frame, parse
from formats.frames import SEPARATOR

TRUNCATED: Final = "[truncated]"
"""Stands at the root of a stack that was deeper than the JVM records."""

SAMPLES: Final = ("jdk.ExecutionSample", "jdk.NativeMethodSample")
ALLOCATIONS: Final[Mapping[str, str]] = {
    "jdk.ObjectAllocationSample": "weight",
    "jdk.ObjectAllocationInNewTLAB": "tlabSize",
    "jdk.ObjectAllocationOutsideTLAB": "allocationSize",
}
"""Events of an allocation, and which field tells how many bytes one stands for: the first since JDK 16."""
SAMPLED: Final = "jdk.ObjectAllocationSample"
LOST: Final = "jdk.DataLoss"

WAITING: Final = frozenset(
    {
        "sun.nio.ch.EPoll.wait", "sun.nio.ch.EPollArrayWrapper.epollWait", "sun.nio.ch.Net.poll",
        "sun.nio.ch.Net.accept", "sun.nio.ch.FileDispatcherImpl.read0",
        "sun.nio.ch.KQueue.poll", "sun.nio.ch.NativeThread.park", "sun.nio.fs.LinuxWatchService.poll",
        "sun.nio.ch.ServerSocketChannelImpl.accept0", "sun.nio.ch.UnixDomainSockets.accept0",
        "java.net.PlainSocketImpl.socketAccept", "java.net.SocketInputStream.socketRead0",
        "java.net.PlainDatagramSocketImpl.receive0", "java.net.PlainDatagramSocketImpl.peekData",
        "sun.nio.ch.DatagramChannelImpl.receive0", "sun.nio.ch.SocketDispatcher.read0",
        "sun.nio.ch.UnixFileDispatcherImpl.read0", "java.io.FileInputStream.readBytes", "java.io.FileInputStream.read0",
        "java.lang.ProcessHandleImpl.waitForProcessExit0", "java.lang.ProcessImpl.waitForProcessExit",
        "java.lang.Object.wait", "java.lang.Object.wait0", "java.lang.Thread.sleep", "java.lang.Thread.sleep0",
        "jdk.internal.misc.Unsafe.park", "sun.misc.Unsafe.park", "io.netty.channel.epoll.Native.epollWait",
        "io.netty.channel.epoll.Native.epollWait0", "org.apache.tomcat.jni.Poll.poll",
    }
)  # fmt: skip
"""Native methods in which a thread waits. The JVM takes it for runnable there, as it does not look into native code."""

_INTERNAL: Final = re.compile(r"(?:[\w$]+/)+[\w$]+(?:\[\])*")
"""A class that was allocated, as async-profiler writes it."""
_GENERATED: Final = re.compile(r"(?<=\$\$Lambda)\W.*|(?<=Accessor)\d+$|[+/.]0x[0-9a-f]+.*")
"""Numbers that the JVM makes up anew at each start would keep two profiles from being merged."""


@dataclass(frozen=True)
class JavaSamples:
    """Stacks with what they count: samples, or bytes; and how many bytes of events the JVM itself says it lost."""

    stacks: Mapping[str, int]
    lost_bytes: int = 0


def ran(recording: bytes | memoryview) -> JavaSamples:
    """What the JVM's threads ran, in samples; threads that wait in native code are left out.

    Raises:
        BadRecording: it is no recording.
    """
    return _collapse(recording, dict.fromkeys(SAMPLES))


def allocated(recording: bytes | memoryview) -> JavaSamples:
    """Where its threads allocated, in bytes; the leaf is the class of what was allocated.

    Raises:
        BadRecording: it is no recording.
    """
    return _collapse(recording, ALLOCATIONS)


def async_profiler(lines: Iterable[str]) -> dict[str, int]:
    """async-profiler's collapsed stacks, whose classes are written with slashes, in our frames.

    Raises:
        BadLine: it is no such file.
    """
    stacks: dict[str, int] = {}
    for raw, count in parse(lines).items():
        stack = SEPARATOR.join(frame(_plain(one)) for one in raw.split(SEPARATOR))
        stacks[stack] = stacks.get(stack, 0) + count
    return stacks


def _plain(name: str) -> str:
    """`java/util/HashMap.get` as `java.util.HashMap.get`; a native frame as it is."""
    kind, dot, method = name.rpartition(".")
    if not dot or " " in name or "::" in name:
        return name.replace("/", ".") if _INTERNAL.fullmatch(name) else name
    return f"{_GENERATED.sub('', kind.replace('/', '.'))}.{method}"


def _collapse(recording: bytes | memoryview, weights: Mapping[str, str | None]) -> JavaSamples:
    stacks: dict[str, int] = {}
    sampled: list[allocations.Allocated] = []
    lost = 0
    for event in jfr.events(recording, (*weights, LOST)):
        if event.kind == LOST:
            lost += event.fields.get("amount", 0)
            continue
        frames = _frames(event.fields.get("stackTrace"))
        if event.kind == "jdk.NativeMethodSample" and frames[-1] in WAITING:
            continue
        field = weights[event.kind]
        weight = 1 if field is None else event.fields[field]
        if field is not None:
            frames.append(_class_name(event.fields.get("objectClass")))
        if weight <= 0:
            continue
        stack = SEPARATOR.join(frame(one) for one in frames)
        if event.kind == SAMPLED:
            sampled.append(
                allocations.Allocated(stack, weight, _thread(event.fields), event.fields.get("startTime", 0))
            )
        else:
            stacks[stack] = stacks.get(stack, 0) + weight
    for stack, weight in allocations.since_the_start(sampled):
        stacks[stack] = stacks.get(stack, 0) + weight
    return JavaSamples(stacks, lost)


def _thread(fields: Mapping[str, Any]) -> Any:
    """What tells one thread from another: the number that Java gives it, as that of the system may come again."""
    thread = fields.get("eventThread")
    return thread.get("javaThreadId") if isinstance(thread, dict) else None


def _frames(trace: Any) -> list[str]:
    """The methods of a stack, root first."""
    if not isinstance(trace, dict) or not trace.get("frames"):
        return ["[unknown]"]
    methods = [one.get("method") for one in reversed(trace["frames"])]
    frames = [_method(method) for method in methods if not _is_hidden(method)] or ["[unknown]"]
    return [TRUNCATED, *frames] if trace.get("truncated") else frames


def _is_hidden(method: Any) -> bool:
    """Whether the JVM shows it to nobody, in no stack trace: what it generates to get from one method to another."""
    return isinstance(method, dict) and bool(method.get("hidden"))


def _method(method: Any) -> str:
    """`java.util.HashMap.get`."""
    if not isinstance(method, dict):
        return "[unknown]"
    name = _text(method.get("name"))
    return f"{_class_name(method.get('type'))}.{name}"


def _class_name(kind: Any) -> str:
    """`java.lang.String`, `byte[]`; of what the JVM generates, without the number."""
    name = _text(kind.get("name")).replace("/", ".") if isinstance(kind, dict) else "[unknown]"
    if name.startswith("["):
        name = _array(name)
    return _GENERATED.sub("", name)


_ELEMENTS: Final = {
    "Z": "boolean", "B": "byte", "C": "char", "S": "short", "I": "int", "J": "long", "F": "float", "D": "double",
}  # fmt: skip


def _array(name: str) -> str:
    element = name.lstrip("[")
    plain = _ELEMENTS.get(element) or element.removeprefix("L").removesuffix(";")
    return plain + "[]" * (len(name) - len(element)) if element != "unknown]" else name


def _text(symbol: Any) -> str:
    """A symbol's text, which stands in the constants as an object with one field."""
    value = symbol.get("string") if isinstance(symbol, dict) else symbol
    return value if isinstance(value, str) and value else "[unknown]"
