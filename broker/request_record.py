"""What a submitted request is: a record of who asked for what, for which hosts. Values, and how they are read back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from broker import codec
from broker.effective import OpenRequest
from protocol.lifecycle import OUTCOMES, State
from protocol.names import HostKey
from protocol.requests import ProfileRequest
from protocol.targets import TargetEntity

STATES: Final = frozenset(state.value for state in State)


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One accepted request. `targets` gives each host its pids, None for the whole host."""

    request_id: str
    command_id: str
    tenant: str
    submitted_by: str
    accepted_at: float
    asked: ProfileRequest
    targets: Mapping[str, Sequence[int] | None]
    hosts_appended: int = 0
    cancelled_at: float | None = None
    cancelled_by: str | None = None
    joined: Mapping[str, Sequence[int] | None] = field(default_factory=dict)
    """Hosts that joined a standing request after it was accepted, with their pids."""
    standing: str | None = None
    """Of a standing request, whether it is `open` or has `ended`."""
    traceparent: str = ""
    """The trace that it was submitted in; none where nobody traces."""

    @property
    def hosts(self) -> dict[str, Sequence[int] | None]:
        """Every host it is for, by now, with its pids."""
        return {**self.targets, **self.joined}

    @property
    def is_rollout(self) -> bool:
        """Whether its hosts begin one after another, rather than all at once."""
        return self.asked.max_concurrency is not None

    @property
    def stops_the_service(self) -> bool:
        """Whether it stops everything on every host of its service."""
        asked = self.asked
        return asked.command_type == "stop" and asked.target_scope == "service" and asked.stop_level == "host"

    @property
    def follows(self) -> Sequence[TargetEntity] | None:
        """The workloads that it follows from host to host while it stands; None for whole hosts."""
        return self.asked.target_entities if self.asked.is_resolved else None

    @property
    def is_standing(self) -> bool:
        """Whether it is for hosts, too, that join the service while it is not stopped."""
        asked = self.asked
        return (
            asked.command_type == "start"
            and asked.target_scope == "service"
            and asked.continuous
            and asked.sample is None
        )

    @property
    def service(self) -> str:
        """The service whose hosts are meant."""
        return self.asked.service_name

    def wishes(self) -> dict[HostKey, OpenRequest]:
        """What to append for each host that it was accepted for; hosts of whom the same is asked share one wish."""
        shared: dict[tuple[int, ...] | None, OpenRequest] = {}
        wishes: dict[HostKey, OpenRequest] = {}
        for host, pids in self.targets.items():
            of_host = tuple(pids) if pids is not None else None
            if of_host not in shared:
                shared[of_host] = self.wish(pids)
            wishes[self.key_of(host)] = shared[of_host]
        return wishes

    def key_of(self, host: str) -> HostKey:
        """The key of one of its hosts."""
        return HostKey(self.tenant, self.service, host)

    def wish(self, pids: Sequence[int] | None, *, begun_at: float | None = None) -> OpenRequest:
        """What to append for a host. Its clock runs from `begun_at`, for one that comes later than the others."""
        start_at, asked = self.asked.start_at, self.asked
        not_before = start_at.timestamp() if start_at is not None else None
        if begun_at is not None and not_before is not None and begun_at >= not_before:
            not_before = None  # the others have started: its own clock runs
        if start_at is not None:
            asked = asked.model_copy(
                update={"additional_args": {**asked.additional_args, "capture_id": self.request_id}}
            )
        return codec.open_request(
            asked,
            request_id=self.request_id,
            command_id=self.command_id,
            accepted_at=self.accepted_at if begun_at is None else begun_at,
            pids=pids,
            not_before=not_before,
            traceparent=self.traceparent,
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """How many hosts of a request stand where, and when their runs began: seconds since the epoch, by our clock."""

    counts: Mapping[State, int]
    begun: int = 0
    first_began_at: float = 0.0
    last_began_at: float = 0.0

    @property
    def ended(self) -> int:
        """On how many hosts it has an outcome."""
        return sum(count for state, count in self.counts.items() if state in OUTCOMES)


def read_tally(row: Mapping[str, str]) -> Tally:
    """What `request_counts` holds."""
    counts = {State(state): int(count) for state, count in row.items() if state in STATES and int(count)}
    begun = int(row.get("begun_hosts", 0))
    if not begun:
        return Tally(counts)
    return Tally(counts, begun, int(row["begun_first"]) / 1000, int(row["begun_last"]) / 1000)


def read_record(request_id: str, fields: Mapping[str, str], joined: Iterable[str]) -> RequestRecord | None:
    """What a request's hash holds, and the paths of those who joined; None where there is no such request."""
    if "asked" not in fields:
        return None
    asked = json.loads(fields["asked"])
    targets: dict[str, list[int] | None] = json.loads(fields["targets"])
    asked.pop("request_type", None)
    return RequestRecord(
        request_id=request_id,
        command_id=fields["command_id"],
        tenant=fields["tenant"],
        submitted_by=fields["submitted_by"],
        accepted_at=float(fields["accepted_at"]),
        asked=_restored(asked, targets),
        targets=targets,
        hosts_appended=int(fields["hosts_appended"]),
        cancelled_at=float(fields["cancelled_at"]) if "cancelled_at" in fields else None,
        cancelled_by=fields.get("cancelled_by"),
        joined=dict.fromkeys((HostKey.from_path(path).host for path in joined), asked["pids"]),
        standing=fields.get("standing"),
        traceparent=fields.get("traceparent", ""),
    )


def _restored(asked: dict[str, Any], targets: Mapping[str, Sequence[int] | None]) -> ProfileRequest:
    """The request as it was validated; its targets live in their own field, for the service's hosts are in it too."""
    start_at = asked.get("start_at")
    moment = datetime.fromisoformat(start_at) if start_at else None
    entities = asked.get("target_entities")
    restored = {
        "target_hosts": None,
        "target_hostnames": list(targets),
        "target_entities": None if entities is None else [TargetEntity.model_validate(each) for each in entities],
        "start_at": moment,
    }
    return ProfileRequest.model_construct(**{**asked, **restored})
