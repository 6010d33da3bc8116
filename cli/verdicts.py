"""How a request has ended, as an exit code and in words. Values in, values out."""

from collections.abc import Mapping, Sequence
from typing import Final

from cli.answers import HostProgress, RequestProgress
from protocol.lifecycle import OUTCOMES, State

DONE: Final = 0
FAILED: Final = 1
PARTLY: Final = 5
MOST_TOLD: Final = 20
IN_WORDS: Final[Mapping[State, str]] = {
    State.FAILED: "the agent says that it failed",
    State.STOPPED: "stopped by a stop request",
    State.SUPERSEDED: "another command took its place",
    State.EXPIRED: "it did not begin in time",
    State.TIMED_OUT: "it began, and no end was reported in time",
    State.LOST: "the host fell silent while it had the command",
    State.UNDELIVERABLE: "the host never took the command",
    State.CANCELLED: "cancelled",
}
"""Of each outcome but the good one, for where the server gives no reason."""


def is_over(progress: RequestProgress) -> bool:
    """Whether every host has ended it, and none may join."""
    open_ones = sum(count for state, count in progress.counts.items() if state not in OUTCOMES)
    return progress.hosts_total > 0 and open_ones == 0 and progress.standing != "open"


def exit_code(progress: RequestProgress) -> int:
    """0: completed on every host. 1: on none. 5: on some, or not yet on all."""
    completed = progress.counts.get(State.COMPLETED, 0)
    if completed >= progress.hosts_total > 0:
        return DONE
    return PARTLY if completed else FAILED


def unhappy(progress: RequestProgress) -> list[tuple[str, State, str]]:
    """Each host, of those told of, that has ended it otherwise than well: name, outcome, reason in words."""
    ended = [host for host in progress.hosts if host.status in OUTCOMES and host.status != State.COMPLETED]
    return [(host.hostname, host.status, host.reason or IN_WORDS[host.status]) for host in ended]


def sentence(host: HostProgress) -> str:
    """One host, in words."""
    if host.status != State.COMPLETED:
        return host.reason or IN_WORDS.get(host.status, "")
    took = f" in {host.execution_time:.1f} s" if host.execution_time is not None else ""
    return f"{host.samples} samples{took}" if host.samples is not None else took.strip()


def by_reason(faults: Sequence[tuple[str, State, str]]) -> list[tuple[str, str, list[str]]]:
    """Outcome and reason with the hosts that have it, the most first: a thousand hosts fail for a few reasons."""
    found: dict[tuple[str, str], list[str]] = {}
    for hostname, outcome, reason in faults:
        found.setdefault((outcome.value, reason), []).append(hostname)
    ranked = sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))
    return [(outcome, reason, sorted(hosts)) for (outcome, reason), hosts in ranked]
