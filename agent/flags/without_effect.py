"""What is accepted so that existing start scripts work, without effect in this version: said once, never silently."""

from typing import Final

from agent.flags.options import Given, under

_flag = under("Accepted, without effect in this version")

_NOTES: Final = {
    "dont_send_logs": "--dont-send-logs: this version sends no logs anywhere",
    "disable_metrics_collection": "--disable-metrics-collection: this version collects no system metrics",
    "java_safemode": "--java-safemode: this version has no profiler for Java alone; perf samples Java processes",
    "java_no_version_check": "--java-no-version-check: this version has no profiler for Java alone",
}

# fmt: off
FLAGS: Final = (
    _flag("--dont-send-logs", is_flag=True, help="Send no logs; none are sent anyway."),
    _flag("--disable-metrics-collection", is_flag=True, help="Collect no system metrics; none are collected anyway."),
    _flag("--java-safemode", metavar="MODE", help="For Java profiling; may be empty."),
    _flag("--java-no-version-check", is_flag=True, help="For Java profiling."),
)
# fmt: on


def read(given: Given) -> tuple[str, ...]:
    """What to say of the options that were given."""
    return tuple(note for name, note in _NOTES.items() if given[name] not in {None, False})
