"""Between what is stored and what compaction works on. Pure: texts in, values out, and back."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from broker.effective import GRACE_SECONDS, Compacted, Effective, OpenRequest
from protocol.commands import CommandReader, StartCommand, StartConfig, StopCommand
from protocol.lifecycle import State
from protocol.requests import ProfileRequest

DEFAULTS: Final = {
    name: value
    for name, value in asdict(OpenRequest("", "", "start", 0.0, 0.0)).items()
    if name not in {"request_id", "command_id", "accepted_at", "expires_at"}
}
"""What a request is where its record says nothing."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One host as it is stored: the command's fields, the open requests, and the new entries by kind."""

    command: Mapping[str, str]
    open_requests: Mapping[str, str]
    entries: Mapping[str, str] = field(default_factory=dict)
    """Requests that have come, by entry id."""
    cancels: Mapping[str, str] = field(default_factory=dict)
    """Cancels that have come, by entry id."""
    lead: float = 0.0
    """How many seconds ahead its agent is told of a start with a moment; 0 where it cannot wait, or nothing has one."""

    @property
    def revision(self) -> str:
        """What the store compares, so that a decision is stored only on the facts it was taken on."""
        return self.command.get("revision", "0")

    @property
    def entry_ids(self) -> tuple[str, ...]:
        """What is taken up when a decision on this host is stored."""
        return (*self.entries, *self.cancels)

    @property
    def likeness(self) -> Hashable:
        """Equal for hosts that stand alike: one decision serves all of them."""
        return (
            tuple(self.entries.values()),
            tuple(self.cancels.values()),
            frozenset(self.open_requests.items()),
            frozenset(item for item in self.command.items() if item[0] != "revision"),
            self.lead,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What to store for a host, and for every host that stands alike. `wake_at` is in ms."""

    keep: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()
    close: tuple[str, str] | None = None
    """Outcome and reason of the command that was effective."""
    install: Mapping[str, str] | None = None
    update: Mapping[str, str] = field(default_factory=dict)
    events: Sequence[Mapping[str, str]] = ()
    wake_at: int | None = None
    derived_id: str | None = None
    """A command id that no request brought along: whose it is must be told before an agent can name it."""

    def as_json(self) -> str:
        """For the script. Absent parts are left out: a JSON null is true in Lua."""
        body: dict[str, Any] = {
            "keep": dict(self.keep),
            "drop": list(self.drop),
            "update": dict(self.update),
            "events": [dict(event) for event in self.events],
        }
        if self.close is not None:
            body["close"] = {"outcome": self.close[0], "reason": self.close[1]}
        if self.install is not None:
            body["install"] = dict(self.install)
        if self.wake_at is not None:
            body["wake_at"] = self.wake_at
        return json.dumps(body)


# --- requests ---------------------------------------------------------------------------------------------------------


def open_request(
    asked: ProfileRequest,
    *,
    request_id: str,
    command_id: str,
    accepted_at: float,
    pids: Sequence[int] | None,
    not_before: float | None = None,
    traceparent: str = "",
) -> OpenRequest:
    """A submitted request as it concerns one host; `pids` are that host's, `not_before` its moment to start."""
    whole_host = pids is None or (asked.command_type == "stop" and asked.stop_level == "host")
    return OpenRequest(
        request_id=request_id,
        command_id=command_id,
        command_type=asked.command_type,
        accepted_at=accepted_at,
        expires_at=(accepted_at if not_before is None else not_before) + asked.expires_in,
        start_within=float(asked.expires_in),
        not_before=not_before,
        profiling_mode=asked.profiling_mode,
        duration=asked.duration,
        frequency=asked.frequency,
        continuous=asked.continuous,
        pids=None if whole_host else frozenset(pids or ()),
        additional_args=asked.additional_args,
        priority=asked.priority,
        traceparent=traceparent,
    )


def write_request(request: OpenRequest) -> str:
    """A request that has come, as JSON, without what stands at its default: it is stored once for each of its hosts."""
    return _written(request, DEFAULTS | _usual_expiry(request.accepted_at, request.not_before, request.start_within))


def read_request(text: str) -> OpenRequest:
    """What `write_request` wrote."""
    return _read(json.loads(text), DEFAULTS)


def write_open(request: OpenRequest) -> str:
    """An open request of a host as JSON, stored under its id: without that, and without what most have alike."""
    usual = DEFAULTS | _as_taken_up(request.duration) | {"request_id": request.request_id}
    return _written(request, usual | _usual_expiry(request.accepted_at, request.not_before, request.start_within))


def read_open(request_id: str, text: str) -> OpenRequest:
    """What `write_open` wrote under this id."""
    body = json.loads(text)
    usual = DEFAULTS | _as_taken_up(body.get("duration", DEFAULTS["duration"])) | {"request_id": request_id}
    return _read(body, usual)


def _as_taken_up(duration: int) -> dict[str, Any]:
    """A host's only request, once compaction has made a command of it."""
    return {"seq": 0, "led": True, "state": State.PENDING, "remaining": float(duration)}


def _usual_expiry(accepted_at: float, not_before: float | None, start_within: float) -> dict[str, Any]:
    return {"expires_at": (accepted_at if not_before is None else not_before) + start_within}


def _written(request: OpenRequest, usual: Mapping[str, Any]) -> str:
    body = {name: value for name, value in asdict(request).items() if name not in usual or value != usual[name]}
    for name in ("pids", "exclude_pids"):
        if body.get(name) is not None:
            body[name] = sorted(body[name])
    return json.dumps(body, separators=(",", ":"))


def _read(body: dict[str, Any], usual: Mapping[str, Any]) -> OpenRequest:
    for name in ("pids", "exclude_pids"):
        if body.get(name) is not None:
            body[name] = frozenset(body[name])
    if "state" in body:
        body["state"] = State(body["state"])
    whole = {**usual, **body}
    return OpenRequest(**_usual_expiry(whole["accepted_at"], whole["not_before"], whole["start_within"]) | whole)


def requests_of(loaded: Loaded) -> list[OpenRequest]:
    """All open requests of a host, new ones last; an entry that was taken up before is left out.

    A later look at where a request's processes are replaces them, but for those that a stop has taken out. Of a request
    that has ended here it changes nothing: what has ended does not begin again.
    """
    known = {request_id: read_open(request_id, text) for request_id, text in loaded.open_requests.items()}
    for request in map(read_request, loaded.entries.values()):
        mine = known.get(request.request_id)
        if mine is None:
            if not request.moved_at:
                known[request.request_id] = request
        elif request.moved_at > mine.moved_at and request.pids is not None:
            pids = request.pids - mine.exclude_pids
            known[request.request_id] = replace(mine, pids=pids, moved_at=request.moved_at)
    return list(known.values())


def write_cancel(request_id: str, reason: str) -> str:
    """The withdrawal of one request as JSON."""
    return json.dumps({"request_id": request_id, "reason": reason})


def cancelled_of(loaded: Loaded) -> dict[str, str]:
    """Request id -> why, for what is withdrawn from a host."""
    bodies = [json.loads(text) for text in loaded.cancels.values()]
    return {body["request_id"]: body["reason"] for body in bodies}


# --- the effective command --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Origin:
    """What a stored reply tells beside its command: when it was installed (ms), and the trace it belongs to."""

    installed_at: int | None
    traceparent: str


def write_reply(command: StartCommand | StopCommand, *, installed_at: int, traceparent: str = "") -> str:
    """A command as it is kept for a heartbeat's reply, without what stands at its default: each host has a copy.

    Beside it stands where it comes from: who hands it out has no other look at it.
    """
    config = command.combined_config.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    body = {"command_type": command.command_type, "combined_config": config, "at": installed_at}
    return json.dumps(body | ({"traceparent": traceparent} if traceparent else {}), separators=(",", ":"))


def config_of(reply: str) -> dict[str, Any]:
    """The whole configuration of a stored reply's command, absent parts left out, as agents in the field expect."""
    return CommandReader.validate_json(reply).combined_config.model_dump(mode="json", exclude_none=True)


def origin_of(reply: str) -> Origin:
    """Where a stored reply comes from; commands of an older version do not tell."""
    body = json.loads(reply)
    return Origin(body.get("at"), body.get("traceparent", ""))


def write_effective(effective: Effective, *, now: float, traceparent: str = "") -> dict[str, str]:
    """A command to install, as the fields of its hash: what is empty, or stands at its beginning, is left out."""
    config = effective.command.combined_config
    limit = config.duration + GRACE_SECONDS if isinstance(config, StartConfig) and not config.continuous else None
    return {
        "id": effective.command_id,
        "generation": str(effective.generation),
        "type": effective.command.command_type,
        "state": effective.state,
        "reply": write_reply(effective.command, installed_at=ms(now), traceparent=traceparent),
        "request_ids": " ".join(effective.request_ids),
        **({"stop_ids": " ".join(effective.stop_ids)} if effective.stop_ids else {}),
        **({"run_for_ms": str(ms(limit))} if limit is not None else {}),
        **({"starts_at": str(ms(effective.starts_at))} if effective.starts_at is not None else {}),
        **({"displaces": "1"} if effective.displaces else {}),
    }


def read_effective(fields: Mapping[str, str]) -> Effective | None:
    """The stored command, or None where none was ever installed."""
    if "id" not in fields:
        return None
    started_at = fields.get("running_at")
    return Effective(
        command_id=fields["id"],
        generation=int(fields["generation"]),
        command=CommandReader.validate_json(fields["reply"]),
        state=State(fields["state"]),
        request_ids=tuple(fields["request_ids"].split()),
        stop_ids=tuple(fields.get("stop_ids", "").split()),
        started_at=int(started_at) / 1000 if started_at else None,
        closed_by_clock=fields.get("closed_by_clock") == "1",
        displaces=fields.get("displaces") == "1",
        back_at_work=fields.get("back_at_work") == "1",
    )


# --- the decision -----------------------------------------------------------------------------------------------------


def ms(seconds: float) -> int:
    """Seconds as whole milliseconds, the unit of every moment that is stored."""
    return round(seconds * 1000)


def decision_of(compacted: Compacted, loaded: Loaded, now: float) -> Decision:
    """What to store, given what was loaded: only what differs, and the events that tell of it. Names no host."""
    texts = {request.request_id: write_open(request) for request in compacted.open_requests}
    events: list[dict[str, str]] = []

    def tell(state: str, command_id: str, generation: int, request_ids: Sequence[str], reason: str = "") -> None:
        event = {
            "state": state,
            "command_id": command_id,
            "generation": str(generation),
            "request_ids": " ".join(request_ids),
        }
        if reason:
            event["reason"] = reason
        events.append(event)

    for ending in compacted.endings:
        tell(ending.outcome, ending.command_id, 0, ending.request_ids, ending.reason)
    by_id = {request.request_id: request for request in compacted.open_requests}
    for request_id, what_for in compacted.queued:
        tell(State.QUEUED, by_id[request_id].command_id, 0, [request_id], what_for)
    if compacted.install is not None:
        installed = compacted.install
        tell(State.PENDING, installed.command_id, installed.generation, [*installed.request_ids, *installed.stop_ids])
    update: dict[str, str] = {}
    if compacted.keep is not None:
        kept = compacted.keep
        if compacted.joined:
            tell(kept.state, kept.command_id, kept.generation, compacted.joined, "joined a command that covers it")
        fields = {"request_ids": " ".join(kept.request_ids), "stop_ids": " ".join(kept.stop_ids)}
        update = {name: text for name, text in fields.items() if loaded.command.get(name, "") != text}
    installed_id = compacted.install.command_id if compacted.install is not None else None
    trace = _trace_of(loaded, installed_id) if installed_id is not None else ""
    return Decision(
        keep={key: text for key, text in texts.items() if loaded.open_requests.get(key) != text},
        drop=[key for key in loaded.open_requests if key not in texts],
        close=(compacted.close[0].value, compacted.close[1]) if compacted.close else None,
        install=write_effective(compacted.install, now=now, traceparent=trace) if compacted.install else None,
        update=update,
        events=events,
        wake_at=ms(compacted.wake_at) if compacted.wake_at is not None else None,
        derived_id=installed_id if installed_id not in {each.command_id for each in by_id.values()} else None,
    )


def _trace_of(loaded: Loaded, command_id: str) -> str:
    """The trace of the request that a command is named after. Where nobody traces, nothing is read for that."""
    texts = (*loaded.entries.values(), *loaded.open_requests.values())
    if not any('"traceparent"' in text for text in texts):
        return ""
    return next((each.traceparent for each in requests_of(loaded) if each.command_id == command_id), "")
