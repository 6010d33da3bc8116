"""What people and programs read: pure functions from records to answers."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from broker.codec import config_of
from broker.command_store import Standing
from broker.host_registry import KnownHost
from broker.request_record import RequestRecord, Tally
from broker.rollouts import NO_LIMIT, Progress
from broker.standing import OPEN
from protocol.lifecycle import OUTCOMES, State
from protocol.names import HostKey

PROGRESS: Final = (
    State.RUNNING, State.RECEIVED, State.DELIVERED, State.PENDING, State.QUEUED, State.SUBMITTED,
)  # fmt: skip
"""Open states, the furthest first."""
NOT_ASKED: Final = frozenset({"target_hosts", "target_hostnames", "request_type", "dry_run"})
"""Fields of a request that its status tells host by host, or under another name, or that no accepted one has."""
ORDER: Final[Mapping[str, int]] = {state.value: number for number, state in enumerate(State)}


class RequestOnHost(BaseModel):
    """A request's status on one host. Moments are UTC, by the server's clock; `execution_time` is in seconds."""

    hostname: str
    status: State
    pids: list[int] | None = Field(None, description="What was asked for there; null: the whole host")
    command_id: str | None = None
    generation: int | None = None
    at: datetime | None = None
    reason: str | None = None
    samples: int | None = None
    execution_time: float | None = None
    results_path: str | None = None
    timeline: dict[str, datetime] = Field(default_factory=dict)


class StartReport(BaseModel):
    """When the hosts' runs began, by the server's clock: `skew_seconds` lie between the first and the last."""

    first: datetime
    last: datetime
    skew_seconds: float
    hosts: int


class RolloutReport(BaseModel):
    """How far a request with `max_concurrency` has come. `window`: how many hosts may be open at a time just now."""

    state: Literal["open", "halted", "over"]
    begun: int
    under_way: int
    window: int
    max_concurrency: int
    errors: int
    max_errors: int | None
    reason: str | None


class RequestSummary(BaseModel):
    """A request in a list. `status`: the furthest open state, else the outcome all hosts share, else `mixed`."""

    request_id: str
    command_id: str
    service_name: str
    command_type: str
    status: str
    accepted_at: datetime
    submitted_by: str
    cancelled_at: datetime | None = None
    hosts_total: int
    hosts_appended: int
    counts: dict[str, int]
    start: StartReport | None = None
    standing: Literal["open", "ended"] | None = None


class RequestStatus(RequestSummary):
    """A request as one can follow it, host by host."""

    rollout: RolloutReport | None = None
    asked: dict[str, Any] = Field(description="The body as it was understood, without its hosts")
    hosts: list[RequestOnHost]


class RequestPage(BaseModel):
    """A page of requests, newest first; `next_cursor` asks for the next one, null on the last."""

    items: list[RequestSummary]
    next_cursor: str | None = None


class RequestHosts(BaseModel):
    """A page of a request's hosts, by name; `next_cursor` asks for the next one, null on the last."""

    items: list[RequestOnHost]
    next_cursor: str | None = None


class RequestCancelled(BaseModel):
    """A cancel that was taken up; the request's status tells when each host has ended it."""

    success: Literal[True] = True
    message: str
    request_id: str
    hosts_open: int


class HostView(BaseModel):
    """One agent of the fleet."""

    service_name: str
    hostname: str
    ip_address: str
    status: str
    agent_status: str
    agent_version: str
    last_beat: datetime
    profilers: list[str] = Field(default_factory=list, description="Those that the agent says can run there")
    profiling_modes: list[str] = Field(default_factory=list, description="Likewise")


class CommandView(BaseModel):
    """The effective command of a host, or what it was last."""

    command_id: str
    generation: int
    command_type: str
    state: State
    attempts: int
    request_ids: list[str]
    combined_config: dict[str, Any]


class CommandRow(CommandView):
    """The effective command of one host in a list."""

    service_name: str
    hostname: str


class CommandPage(BaseModel):
    """A page of commands; `next_cursor` asks for the next one, null on the last."""

    items: list[CommandRow]
    next_cursor: str | None = None


class PastCommand(BaseModel):
    """A command of a host that has ended."""

    command_id: str
    generation: int
    command_type: str
    outcome: State
    ended_at: datetime
    request_ids: list[str]


class HostDetail(HostView):
    """One agent, its command, and up to a hundred of its ended ones, newest first."""

    owner: str | None = Field(description="The id of the token that the host belongs to")
    enrolled: bool = Field(description="Whether that is a credential bought for this host alone")
    command: CommandView | None
    open_requests: int
    history: list[PastCommand]


class HostReleased(BaseModel):
    """A host that was released: the token that owned it, and the credential that was revoked with that."""

    service_name: str
    hostname: str
    owner: str | None
    revoked: str | None


class HostPage(BaseModel):
    """A page of the fleet; `next_cursor` asks for the next one, null on the last."""

    items: list[HostView]
    next_cursor: str | None = None


def request_summary(record: RequestRecord, tally: Tally) -> RequestSummary:
    """A request's status in total. Hosts that have not been heard of in its matter stand as `submitted`."""
    states = Counter(dict(tally.counts))
    unseen = len(record.hosts) - states.total()
    if unseen > 0:
        states[State.SUBMITTED] += unseen
    return RequestSummary(
        request_id=record.request_id,
        command_id=record.command_id,
        service_name=record.service,
        command_type=record.asked.command_type,
        status=_in_total(states),
        accepted_at=_moment(record.accepted_at * 1000),
        submitted_by=record.submitted_by,
        cancelled_at=_moment(record.cancelled_at * 1000) if record.cancelled_at is not None else None,
        hosts_total=len(record.hosts),
        hosts_appended=record.hosts_appended + len(record.joined),
        counts={state.value: count for state, count in states.items() if count},
        start=_start_report(tally),
        standing="open" if record.standing == OPEN else "ended" if record.standing else None,
    )


def request_status(
    record: RequestRecord,
    tally: Tally,
    names: Sequence[str],
    statuses: Mapping[str, Mapping[str, Any]],
    rollout: Progress | None = None,
) -> RequestStatus:
    """A request's status in total, and in full on some of its hosts."""
    hosts = record.hosts  # made anew whenever it is asked for
    return RequestStatus(
        **request_summary(record, tally).model_dump(),
        rollout=None if rollout is None else _rollout_report(rollout, len(record.targets)),
        asked=record.asked.model_dump(mode="json", exclude=set(NOT_ASKED), exclude_none=True),
        hosts=[on_host(name, hosts[name], statuses.get(name)) for name in names],
    )


def _start_report(tally: Tally) -> StartReport | None:
    if not tally.begun:
        return None
    return StartReport(
        first=_moment(tally.first_began_at * 1000),
        last=_moment(tally.last_began_at * 1000),
        skew_seconds=round(tally.last_began_at - tally.first_began_at, 3),
        hosts=tally.begun,
    )


def _rollout_report(rollout: Progress, total: int) -> RolloutReport:
    under_way = len(rollout.turns) - len(rollout.ended)
    is_over = under_way == 0 and rollout.next_turn == total and rollout.state == "open"
    return RolloutReport(
        state="over" if is_over else "halted" if rollout.state == "halted" else "open",
        begun=rollout.next_turn,
        under_way=under_way,
        window=rollout.window,
        max_concurrency=rollout.most,
        errors=rollout.errors + list(rollout.ended.values()).count("error"),
        max_errors=None if rollout.allowed == NO_LIMIT else rollout.allowed,
        reason=rollout.reason or None,
    )


def _in_total(states: Counter[State]) -> str:
    for state in PROGRESS:
        if states[state]:
            return state
    outcomes = [state for state in OUTCOMES if states[state]]
    return outcomes[0] if len(outcomes) == 1 else "mixed"


def on_host(hostname: str, pids: Sequence[int] | None, status: Mapping[str, Any] | None) -> RequestOnHost:
    """A request's status on one host; None: it has not been heard of in its matter."""
    asked = None if pids is None else list(pids)
    if status is None:
        return RequestOnHost(hostname=hostname, pids=asked, status=State.SUBMITTED)
    return RequestOnHost(
        hostname=hostname,
        pids=asked,
        status=State(status["state"]),
        command_id=status.get("command_id") or None,
        generation=int(status.get("generation", 0)) or None,
        at=_moment(status["at"]),
        reason=status.get("reason"),
        samples=status.get("samples"),
        execution_time=status.get("execution_time"),
        results_path=status.get("results_path"),
        timeline={state: _moment(at) for state, at in sorted(status["timeline"].items(), key=_when)},
    )


def _when(step: tuple[str, str]) -> tuple[float, int]:
    """The order of a timeline's steps; those of one millisecond in the order of life."""
    state, at = step
    return float(at), ORDER[state]


def _moment(milliseconds: float | str) -> datetime:
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC)


def host_view(host: KnownHost, *, stale_before: datetime) -> HostView:
    """One agent as the list shows it."""
    return HostView(
        service_name=host.key.service,
        hostname=host.key.host,
        ip_address=host.facts.get("ip_address", ""),
        status="stale" if host.last_beat < stale_before else "online",
        agent_status=host.facts.get("agent_status", ""),
        agent_version=host.facts.get("agent_version", ""),
        last_beat=host.last_beat,
        **_offered(host.facts.get("capabilities", "")),
    )


def _offered(told: str) -> dict[str, list[str]]:
    """What an agent says it can do, as far as it has the shape that ours gives it: other agents say other things."""
    said = json.loads(told) if told else {}
    profilers = said.get("profilers") if isinstance(said, dict) else None
    if not isinstance(profilers, dict):
        return {}
    modes = said.get("profiling_modes")
    return {
        "profilers": sorted(
            name for name, about in profilers.items() if isinstance(about, dict) and about.get("available") is True
        ),
        "profiling_modes": sorted(mode for mode in modes if isinstance(mode, str)) if isinstance(modes, list) else [],
    }


def host_detail(host: KnownHost, standing: Standing, *, stale_before: datetime) -> HostDetail:
    """One agent with its command and its history."""
    return HostDetail(
        **host_view(host, stale_before=stale_before).model_dump(),
        owner=host.owner or None,
        enrolled=host.is_enrolled,
        command=_command_view(standing.command) if standing.command is not None else None,
        open_requests=standing.open_requests,
        history=[
            PastCommand(
                command_id=past["command_id"],
                generation=int(past["generation"]),
                command_type=past["type"],
                outcome=State(past["outcome"]),
                ended_at=_moment(past["at"]),
                request_ids=past["served"].split(),
            )
            for past in standing.history
        ],
    )


def command_row(host: HostKey, fields: Mapping[str, str]) -> CommandRow:
    """A host's command as the list shows it."""
    return CommandRow(**_command_view(fields).model_dump(), service_name=host.service, hostname=host.host)


def _command_view(fields: Mapping[str, str]) -> CommandView:
    return CommandView(
        command_id=fields["id"],
        generation=int(fields["generation"]),
        command_type=fields["type"],
        state=State(fields["state"]),
        attempts=int(fields.get("attempts", 0)),
        request_ids=fields["request_ids"].split(),
        combined_config=config_of(fields["reply"]),
    )
