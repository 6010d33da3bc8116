"""What the field's start scripts say and this agent has no use for.

Where ignoring it is harmless it is accepted, and said once; else it is refused, with what would be needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from agent.flags.options import Flag, Given, under

ACCEPTED: Final = "Accepted, without effect"
REFUSED: Final = "Not supported, and refused"

_accepted = under(ACCEPTED)
_refused = under(REFUSED)


@dataclass(frozen=True)
class _Word:
    """An option of the field's: whether it takes a value, and why it has no effect here, or what it would need."""

    name: str
    why: str
    takes: str | None = None

    @property
    def key(self) -> str:
        return self.name.removeprefix("--").replace("-", "_")


_HARMLESS: Final[Sequence[_Word]] = (
    _Word("--dont-send-logs", "no logs are sent anywhere"),
    _Word("--disable-metrics-collection", "no metrics of the host are sent; a profile's file says how busy it was"),
    _Word("--java-async-profiler-safemode", "it is one of async-profiler's own settings", "BITS"),
    _Word("--java-async-profiler-mcache", "it is one of async-profiler's own settings", "COUNT"),
    _Word("--java-async-profiler-buildids", "frames of libraries have names, no build ids"),
    _Word("--java-async-profiler-no-report-meminfo", "none is reported"),
    _Word("--java-jattach-timeout", "attaching has a bound of its own", "SECONDS"),
    _Word("--java-collect-spark-app-name-as-appid", "processes are named as the kernel names them"),
    _Word("--java-collect-jvm-flags", "no flags of a JVM are collected: they may hold secrets", "FLAGS"),
    _Word("--java-full-hserr", "what a JVM writes when it crashes is left where it writes it"),
    _Word("--java-include-method-modifiers", "frames are named without modifiers"),
    _Word("--java-line-numbers", "frames are named as the profiler names them", "MODE"),
    _Word("--no-python-versions", "frames of Python carry no version"),
    _Word("--pyperf-user-stacks-pages", "there is no PyPerf here", "COUNT"),
    _Word("--python-pyperf-verbose", "there is no PyPerf here"),
    _Word("--python-skip-pyperf-profiler-above", "there is no PyPerf here", "COUNT"),
    _Word("--skip-pyperf-profiler-above", "there is no PyPerf here", "COUNT"),
    _Word("--perf-no-memory-restart", "each of perf's recordings ends before it is large; none is restarted"),
    _Word("--perf-memory-restart", "each of perf's recordings ends before it is large; none is restarted"),
    _Word("--insert-dso-name", "frames are named by their function alone"),
    _Word("--min-profiling-duration", "young processes are sampled as long as they live", "SECONDS"),
    _Word("--profile-spawned-processes", "perf sees what is started during a run; profilers of runtimes do not"),
    _Word("--php-proc-filter", "PHP is known by what a process has loaded", "NAME"),
    _Word("--rootless", "without root the agent does what this user may; gprofiler doctor says what that is"),
    _Word("--disable-pidns-check", "another pid namespace is no reason to end; gprofiler doctor names it"),
    _Word("--disable-application-identifiers", "none are collected"),
    _Word("--disable-application-metadata", "none is collected"),
    _Word("--app-id-args-filter", "no arguments of processes are read: they may hold secrets", "REGEX"),
    _Word("--collect-spark-metrics", "the field's own agent has dropped it"),
    _Word("--spark-sample-period", "the field's own agent has dropped it", "SECONDS"),
    _Word("--profile-api-version", "there is one", "VERSION"),
    _Word("--tls-cert-refresh-enabled", "certificates are read anew whenever their files change"),
    _Word("--tls-cert-refresh-interval", "certificates are read anew whenever their files change", "SECONDS"),
    _Word("--enable-memory-management", "the agent's guards bound its memory"),
    _Word("--memory-cleanup-threshold-mb", "the agent's guards bound its memory", "MIB"),
    _Word("--dont-disable-core-files", "core files are left as the host has them"),
    _Word("--pid-file", "the agent's pid is in the file `lock` of its state directory", "FILE"),
    _Word("--diagnostics", "gprofiler doctor says what is wrong, and --verbose logs every step"),
    _Word("--log-usage", "what the agent uses is in its service's cgroup; see docs/agent.md for what it costs"),
)
_NEEDED: Final[Sequence[_Word]] = (
    _Word("--no-verify", "a server that anybody could be would get the token: name its authority by --ca-bundle"),
    _Word("--python-pyspy-process", "name processes by --pids; py-spy takes those that are Python", "PID"),
    _Word("--java-async-profiler-args", "it could make a JVM write anywhere; set --java-async-profiler-mode", "ARGS"),
    _Word("--java-async-profiler-features", "it needs async-profiler's own stack walker", "FEATURES"),
    _Word(
        "--disable-metadata-collection", "a profile without its host's name and kernel cannot be told from another's"
    ),
    _Word("--databricks-job-name-as-service-name", "it needs Databricks' API: name the service by --service-name"),
    _Word("--external-metadata", "it needs a profile with somebody else's metadata", "FILE"),
    _Word("--controller-pid", "let a supervisor stop the agent by SIGTERM, as systemd does", "PID"),
    _Word(
        "--heartbeat-file", "watch last_profile.col in the output directory: it is as new as the last profile", "FILE"
    ),
    _Word("--enable-hw-metrics-collection", "it needs PerfSpect and hardware counters"),
    _Word("--perfspect-path", "it needs PerfSpect and hardware counters", "FILE"),
    _Word("--perfspect-duration", "it needs PerfSpect and hardware counters", "SECONDS"),
    _Word("--enable-publish-metrics", "it needs a metric agent on the host; the server has /metrics"),
    _Word("--metrics-server-url", "it needs a metric agent on the host; the server has /metrics", "URL"),
    _Word("--sli-metric-uuid", "it needs a metric agent on the host; the server has /metrics", "UUID"),
    _Word("--curlify-requests", "it would write tokens to the log; the heartbeat log has each call without them"),
)


def _declared(words: Sequence[_Word], declare: Any) -> tuple[Flag, ...]:
    return tuple(
        declare(word.name, metavar=word.takes, help=f"{word.why[0].upper()}{word.why[1:]}.")
        if word.takes
        else declare(word.name, is_flag=True, help=f"{word.why[0].upper()}{word.why[1:]}.")
        for word in words
    )


FLAGS: Final = (
    *_declared(_HARMLESS, _accepted),
    *_declared(_NEEDED, _refused),
)


def read(given: Given) -> tuple[str, ...]:
    """What to say of the options that were given.

    Raises:
        click.UsageError: one of them cannot be ignored without harm.
    """
    refused = [f"{word.name} is not supported: {word.why}." for word in _NEEDED if _is_given(given, word)]
    if refused:
        raise click.UsageError(" ".join(refused))
    return tuple(f"{word.name} has no effect: {word.why}" for word in _HARMLESS if _is_given(given, word))


def _is_given(given: Given, word: _Word) -> bool:
    return given[word.key] not in {None, False}
