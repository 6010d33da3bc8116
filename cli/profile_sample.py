"""Profiles the sample program through the public API, the way an operator would, and measures how long it took."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from cli.answers import HostProgress
from cli.client import StudioClient
from cli.errors import DemoFailed, DidNotComeUp, Refused, Unreachable
from cli.hot_functions import read_collapsed, shares
from cli.roles import AGENT, SAMPLE
from cli.sample import SHARES
from cli.screen import Screen
from cli.system import System
from protocol.lifecycle import OUTCOMES, State
from protocol.requests import ProfileRequest

ONLINE_WITHIN_S: Final = 30.0
OVERTIME_S: Final = 60.0
"""How long after its duration a profile may take to be complete: sampling ends, stacks are merged and written."""
LOOK_EVERY_S: Final = 0.1
BUSY: Final = frozenset({429, 503})

Found = TypeVar("Found")


@dataclass(frozen=True)
class Report:
    """What came of the demo's request. Shares are between 0 and 1; times are milliseconds from the POST."""

    request_id: UUID
    command_id: UUID
    status: str
    samples: int | None
    hot_functions: dict[str, float]
    flamegraph: str | None
    submit_to_running_ms: float | None
    submit_to_completed_ms: float | None
    reason: str | None = None
    truth: dict[str, float] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether there is a profile."""
        return self.status == State.COMPLETED and self.flamegraph is not None

    def as_json(self) -> dict[str, object]:
        """For programs: these keys and no others."""
        return {
            "request_id": str(self.request_id),
            "command_id": str(self.command_id),
            "status": self.status,
            "samples": self.samples,
            "hot_functions": self.hot_functions,
            "flamegraph": self.flamegraph,
            "submit_to_running_ms": self.submit_to_running_ms,
            "submit_to_completed_ms": self.submit_to_completed_ms,
        }


def profile_sample(system: System, screen: Screen, *, service: str, duration: int, frequency: int) -> Report:
    """Wait for this machine's agent, ask for a profile of the sample program, follow it to its end.

    Raises:
        DidNotComeUp: the agent never came online.
        DemoFailed: the sample program is gone, or the request did not end in time.
        StopRequested: a signal asked for the end.
    """
    with StudioClient(system.url, system.token()) as client:
        hostname = _wait_for_host(system, client, service)
        request = ProfileRequest(
            service_name=service,
            target_hostnames=[hostname],
            pids=[_sample_pid(system)],
            duration=duration,
            frequency=frequency,
        )
        screen.say(f"asking for {duration} s of the sample program on {hostname}, {frequency} samples a second")
        submitted_at = datetime.now(UTC)
        accepted = client.submit(request)
        host = _follow(system, client, screen, accepted.request_id, duration)
    page = _page(system, host)
    return Report(
        request_id=accepted.request_id,
        command_id=accepted.command_id,
        status=host.status,
        samples=host.samples,
        hot_functions=_hot_functions(page),
        flamegraph=str(page) if page is not None else host.results_path,
        submit_to_running_ms=_since(submitted_at, host, State.RUNNING),
        submit_to_completed_ms=_since(submitted_at, host, State.COMPLETED),
        reason=host.reason,
        truth=dict(SHARES),
    )


def _wait_for_host(system: System, client: StudioClient, service: str) -> str:
    system.tell("waiting for the agent to come online")
    deadline = time.monotonic() + ONLINE_WITHIN_S
    while time.monotonic() < deadline:
        rows = _unless_busy(client.hosts) or []
        for row in rows:
            if row.service_name == service and row.status == "online":
                return row.hostname
        system.supervisor.wait(LOOK_EVERY_S)
    log = system.state.log_file(AGENT)
    raise DidNotComeUp(AGENT, f"not online after {ONLINE_WITHIN_S:.0f} s", log, system.state.tail(AGENT))


def _sample_pid(system: System) -> int:
    process = system.supervisor[SAMPLE].process
    if process is None:
        raise DemoFailed(f"the sample program has ended; see {system.state.log_file(SAMPLE)}")
    return process.pid


def _follow(system: System, client: StudioClient, screen: Screen, request_id: UUID, duration: int) -> HostProgress:
    """Watch the one host of the request until it has an outcome."""
    deadline = time.monotonic() + duration + OVERTIME_S
    running_since: float | None = None
    with screen.progress("profiling", duration) as move:
        while time.monotonic() < deadline:
            progress = _unless_busy(lambda: client.request(request_id))
            if progress is not None and progress.hosts:
                host = progress.hosts[0]
                if host.status == State.RUNNING and running_since is None:
                    running_since = time.monotonic()
                move(host.status, time.monotonic() - running_since if running_since else 0.0)
                if host.status in OUTCOMES:
                    return host
            system.supervisor.wait(LOOK_EVERY_S)
    raise DemoFailed(f"request {request_id} has no outcome {OVERTIME_S:.0f} s after its duration")


def _unless_busy(ask: Callable[[], Found]) -> Found | None:
    """An answer, or None while the API restarts or is short of its broker: the caller asks again until its deadline."""
    try:
        return ask()
    except Unreachable:
        return None
    except Refused as refusal:
        if refusal.status in BUSY:
            return None
        raise


def _page(system: System, host: HostProgress) -> Path | None:
    """The flame graph on this host, where the agent has kept it; what it has uploaded is named by the server's path."""
    if host.results_path is None:
        return None
    if Path(host.results_path).is_file():
        return Path(host.results_path)
    kept = sorted(system.state.profiles.glob(f"*Z-{host.command_id}.html"))
    return kept[-1] if kept else None


def _hot_functions(page: Path | None) -> dict[str, float]:
    """From the collapsed stacks, which lie beside the flame graph under the same name."""
    if page is None:
        return {}
    collapsed = page.with_suffix(".col")
    try:
        return shares(read_collapsed(collapsed.read_text()), SHARES)
    except (OSError, ValueError) as error:
        raise DemoFailed(f"{collapsed} cannot be read: {error}") from error


def _since(submitted_at: datetime, host: HostProgress, state: State) -> float | None:
    at = host.timeline.get(state)
    return round((at - submitted_at).total_seconds() * 1000, 1) if at else None
