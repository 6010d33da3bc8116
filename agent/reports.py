"""How a command ended, as the server wants it told. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from protocol.completions import Completion

_MAX_TEXT: Final = 4_096
_MAX_WARNINGS: Final = 20

RESTARTED_WHILE_RUNNING: Final = "the agent was restarted while it ran"
RESTARTED_BEFORE: Final = "the agent was restarted before it is known to have begun; it is not run again"


@dataclass(frozen=True)
class Reporter:
    """Who reports."""

    hostname: str
    service_name: str


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        elapsed_seconds: time spent sampling, by the monotonic clock.
        results_path: the flame graph; of a continuous run, the newest.
        error: why there is no profile, or not the whole one.
        interrupted: why it ended before its time, when the operator should read that.
        ended_by_guard: why the host did not let it go on; it has failed then, and keeps what it sampled.
    """

    samples: int = 0
    elapsed_seconds: float = 0.0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    results_path: str | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    interrupted: str | None = None
    ended_by_guard: str | None = None


def of_run(command_id: str, ending: Ending, reporter: Reporter) -> Completion:
    """A run's completion.

    Failed when trouble left it without a profile, or the host did not let it go on; other trouble is told as a warning.
    """
    no_profile = ending.error is not None and (ending.samples == 0 or ending.results_path is None)
    failed = no_profile or ending.ended_by_guard is not None
    told = [text for text in (ending.ended_by_guard, ending.interrupted, ending.error) if text]
    return Completion(
        command_id=command_id,
        hostname=reporter.hostname,
        service_name=reporter.service_name,
        status="failed" if failed else "completed",
        execution_time=ending.elapsed_seconds,
        error_message=_joined([*told, *dict.fromkeys(ending.warnings)]),
        results_path=ending.results_path[:_MAX_TEXT] if ending.results_path else None,
        started_at=ending.started_at,
        finished_at=ending.finished_at,
        samples=ending.samples,
    )


def of_stop(command_id: str, reporter: Reporter, *, seconds: float, began: datetime, ended: datetime) -> Completion:
    """A stop's completion, also when nothing was left to stop."""
    return Completion(
        command_id=command_id,
        hostname=reporter.hostname,
        service_name=reporter.service_name,
        status="completed",
        execution_time=seconds,
        started_at=began,
        finished_at=ended,
    )


def of_failure(command_id: str, reason: str, reporter: Reporter) -> Completion:
    """The completion of a command that was not carried out."""
    return Completion(
        command_id=command_id,
        hostname=reporter.hostname,
        service_name=reporter.service_name,
        status="failed",
        execution_time=0,
        error_message=reason[:_MAX_TEXT],
        samples=0,
    )


def _joined(texts: list[str]) -> str | None:
    if not texts:
        return None
    told = texts[:_MAX_WARNINGS]
    left = len(texts) - len(told)
    return "; ".join([*told, *([f"and {left} more"] if left else [])])[:_MAX_TEXT]
