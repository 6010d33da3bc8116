"""What a JVM is told to record. Pure.

A file of our own: the JDK's `default` and `profile` record environment variables, system properties and command lines,
where secrets are kept. An event that is not named here is off, and one that a JVM does not know is passed over.
"""

from typing import Final
from xml.sax.saxutils import quoteattr

ALLOCATIONS_A_SECOND: Final = 300
SAMPLED_SINCE: Final = 16
"""The first JDK whose JVM samples allocations by itself; before, each new buffer of a thread is an event."""

_NEVER: Final = (
    "jdk.InitialEnvironmentVariable",
    "jdk.InitialSystemProperty",
    "jdk.SystemProcess",
    "jdk.JVMInformation",
)
_HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<configuration version="2.0" label="gprofiler" provider="gprofiler">\n'
)


def for_cpu(frequency_hz: int) -> bytes:
    """What threads run; the JVM's timer is told in whole milliseconds."""
    period = f"{period_ms(frequency_hz)} ms"
    return _file(
        {
            "jdk.ExecutionSample": {"enabled": "true", "period": period},
            "jdk.NativeMethodSample": {"enabled": "true", "period": period},
        }
    )


def for_allocation(feature: int) -> bytes:
    """Where threads allocate, for a JVM of this feature release (`17`)."""
    on = {"enabled": "true", "stackTrace": "true"}
    if feature >= SAMPLED_SINCE:
        return _file({"jdk.ObjectAllocationSample": {**on, "throttle": f"{ALLOCATIONS_A_SECOND}/s"}})
    return _file({"jdk.ObjectAllocationInNewTLAB": on, "jdk.ObjectAllocationOutsideTLAB": on})


def period_ms(frequency_hz: int) -> int:
    """Milliseconds between two samples."""
    return max(1, round(1000 / frequency_hz))


def _file(events: dict[str, dict[str, str]]) -> bytes:
    off = {name: {"enabled": "false"} for name in _NEVER}
    body = "".join(
        f"  <event name={quoteattr(name)}>"
        + "".join(f"<setting name={quoteattr(key)}>{value}</setting>" for key, value in settings.items())
        + "</event>\n"
        for name, settings in {**events, "jdk.DataLoss": {"enabled": "true"}, **off}.items()
    )
    return f"{_HEAD}{body}</configuration>\n".encode()
