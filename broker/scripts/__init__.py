"""The Lua scripts, each behind a typed function that builds its call, and a reader for its answer.

Every script is one atomic step on the keys of one partition, and may be repeated without doing its work twice.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from broker import codec, keys
from broker.codec import Decision, Loaded
from broker.connection import Call, Script
from broker.keys import Place
from protocol.names import HostKey
from protocol.pacing import DEFAULT_INTERVAL, stale_after

_FOLDER: Final = Path(__file__).parent
_COMMON: Final = (_FOLDER / "common.lua").read_text()


def _load(name: str, *, shared: bool = False) -> Script:
    text = (_FOLDER / f"{name}.lua").read_text()
    text = f"{_COMMON}\n{text}" if shared else text
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - the name Redis gives a script


SUBMIT: Final = _load("submit", shared=True)
BEAT: Final = _load("beat", shared=True)
COMPLETE: Final = _load("complete", shared=True)
LOAD: Final = _load("load")
SETTLE: Final = _load("settle", shared=True)
DUE: Final = _load("due")
PROJECT: Final = _load("project")
PARK: Final = _load("park")
CANCEL: Final = _load("cancel")
LOSE: Final = _load("lose", shared=True)
SAMPLE: Final = _load("sample")
PACE: Final = _load("pace")
JOIN: Final = _load("join")
SAVE_SCHEDULE: Final = _load("save_schedule")
TAKE_FIRING: Final = _load("take_firing")
SETTLE_FIRING: Final = _load("settle_firing")
REPLAY: Final = _load("replay")
SWAP: Final = _load("swap")
ADVANCE: Final = _load("advance")
HOLD: Final = _load("hold")

MOST_ATTEMPTS: Final = 10
"""A command handed out this often without an ack is undeliverable."""


def _who(host: HostKey) -> tuple[str, str, str]:
    return host.tenant, host.service, host.host


def _flat(facts: Mapping[str, str]) -> list[str]:
    return [text for pair in facts.items() for text in pair]


# --- submit -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Appended:
    """One host's entry of a submitted request."""

    at: Place
    entry: str


def submit(
    *, partition: int, batch: str, request_id: str, command_id: str, hosts: Sequence[Appended], now: int
) -> Call:
    """Append a request to some hosts of one partition and ring for them; all of one tenant and service.

    The answer is the number of hosts appended: 0 when this batch was appended before. `now` is in ms.
    """
    tenant, service, _ = hosts[0].at.host_key
    numbers = {entry: number for number, entry in enumerate(dict.fromkeys(host.entry for host in hosts), start=1)}
    return Call(
        SUBMIT,
        [
            keys.submitted(partition, request_id, batch),
            keys.withdrawn(partition, request_id),
            keys.doorbell(partition),
            keys.results(partition),
            *(keys.requests(host.at) for host in hosts),
        ],
        [
            now, request_id, command_id, tenant, service, json.dumps(list(numbers)),
            json.dumps([(host.at.path, host.at.host_key.host, numbers[host.entry]) for host in hosts]),
        ],
    )  # fmt: skip


# --- beat -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing new for this host."""

    generation: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The command to hand out; `command` is its JSON as it goes into the reply."""

    command_id: str
    generation: int
    attempt: int
    command: str


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat as the broker needs it; `facts` is what to remember of the host."""

    host: HostKey
    last_command_id: str = ""
    has_begun: bool = False
    received_ids: Sequence[str] = ()
    executed_ids: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    silent_after_ms: int = codec.ms(stale_after(DEFAULT_INTERVAL).total_seconds())
    """After so much silence a beat is a return, and the events stream tells of it."""


def beat(at: Place, heard: Beat, *, now: int) -> Call:
    """Remember the host, take its acks, hand out what it has not acked. `now` is in ms."""
    return Call(
        BEAT,
        [
            keys.host(at), keys.beats(at.partition), keys.command(at), keys.open_requests(at), keys.history(at),
            keys.results(at.partition), keys.deadlines(at.partition), keys.doorbell(at.partition), keys.requests(at),
            keys.taken(at.partition), keys.events(at.partition), keys.dead_letters(at.partition),
        ],
        [
            now, at.path, *_who(heard.host), MOST_ATTEMPTS, int(heard.has_begun), heard.last_command_id,
            len(heard.received_ids), *heard.received_ids, len(heard.executed_ids), *heard.executed_ids,
            *_flat(heard.facts), heard.silent_after_ms,
        ],
    )  # fmt: skip


def read_beat(answer: Any) -> Idle | Delivered:
    """What `beat` gives."""
    match answer:
        case ["idle", generation]:
            return Idle(int(generation))
        case ["deliver", command_id, generation, attempt, command]:
            return Delivered(command_id, int(generation), int(attempt), command)
        case _:
            raise TypeError(f"beat.lua answered {answer!r}")


# --- complete ---------------------------------------------------------------------------------------------------------


class Recorded(StrEnum):
    """What became of a completion."""

    RECORDED = "recorded"  # it ended the command
    STARTED = "started"  # it only said that a profiler started
    REPEATED = "repeated"  # said before; nothing changed
    LATE = "late"  # the command had ended otherwise, or was superseded; recorded, not applied
    UNKNOWN = "unknown"  # this host has no such command


def complete(
    at: Place,
    host: HostKey,
    *,
    command_id: str,
    outcome: str,
    only_started: bool,
    facts: Mapping[str, str],
    now: int,
) -> Call:
    """End a command by the agent's word. The answer reads as `Recorded`. `now` is in ms."""
    return Call(
        COMPLETE,
        [
            keys.command(at), keys.open_requests(at), keys.history(at), keys.results(at.partition),
            keys.deadlines(at.partition), keys.doorbell(at.partition), keys.requests(at), keys.late(at),
            keys.taken(at.partition),
        ],
        [now, at.path, *_who(host), command_id, outcome, int(only_started), *_flat(facts)],
    )  # fmt: skip


# --- load and settle --------------------------------------------------------------------------------------------------


def load(places: Sequence[Place]) -> Call:
    """Read some hosts of one partition for compaction."""
    return Call(
        LOAD, [key for at in places for key in (keys.command(at), keys.open_requests(at), keys.requests(at))], []
    )


def read_load(answer: Any) -> list[Loaded]:
    """What `load` gives, in the order of the hosts."""
    return [_read_loaded(*of_host) for of_host in answer]


def _read_loaded(command: list[str], open_requests: list[str], entries: list[str]) -> Loaded:
    rows = list(zip(entries[::3], entries[1::3], entries[2::3], strict=True))
    return Loaded(
        dict(zip(command[::2], command[1::2], strict=True)),
        dict(zip(open_requests[::2], open_requests[1::2], strict=True)),
        {entry_id: text for entry_id, kind, text in rows if kind == "request"},
        {entry_id: text for entry_id, kind, text in rows if kind == "cancel"},
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """A decision on one host, and what of the host it was taken on."""

    at: Place
    loaded: Loaded
    decision: Decision


def settle(partition: int, settled: Sequence[Settled], *, now: int) -> Call:
    """Store decisions on some hosts of one partition, each only if the host is still as it was loaded.

    The answer has "stored" or "changed" for each. `now` is in ms.
    """
    decisions = {id(each.decision): each.decision for each in settled}
    numbers = {identity: number for number, identity in enumerate(decisions, start=1)}
    hosts = [
        (each.at.path, *each.at.host_key, each.loaded.revision, each.loaded.entry_ids, numbers[id(each.decision)])
        for each in settled
    ]
    return Call(
        SETTLE,
        [
            keys.results(partition), keys.deadlines(partition), keys.doorbell(partition), keys.taken(partition),
            *(
                key
                for each in settled
                for key in (
                    keys.command(each.at), keys.open_requests(each.at), keys.requests(each.at), keys.history(each.at)
                )
            ),
        ],
        [
            now, keys.nudge(partition), f"[{','.join(decision.as_json() for decision in decisions.values())}]",
            json.dumps(hosts),
        ],
    )  # fmt: skip


# --- the small ones ---------------------------------------------------------------------------------------------------


def due(partition: int, *, now: int, most: int, again_in_ms: int) -> Call:
    """Ring for the hosts whose deadline has come. The answer is how many. `now` is in ms."""
    return Call(DUE, [keys.deadlines(partition), keys.doorbell(partition)], [now, most, again_in_ms])


def cancel(
    partition: int, request_id: str, places: Sequence[Place], *, reason: str, entry: str, remembered_s: int
) -> Call:
    """Withdraw a request from some hosts of one partition, and from those of it that it is appended for later."""
    return Call(
        CANCEL,
        [keys.withdrawn(partition, request_id), keys.doorbell(partition), *(keys.requests(at) for at in places)],
        [reason, entry, remembered_s, *(at.path for at in places)],
    )


def lose(at: Place, *, silent_since: int, reason: str, now: int) -> Call:
    """Give up on what a silent host holds. The answer is 1 when its command is lost now. Moments are in ms."""
    return Call(
        LOSE,
        [
            keys.command(at), keys.open_requests(at), keys.history(at), keys.results(at.partition),
            keys.deadlines(at.partition), keys.doorbell(at.partition), keys.requests(at), keys.taken(at.partition),
            keys.beats(at.partition), keys.events(at.partition),
        ],
        [now, at.path, *_who(at.host_key), silent_since, reason],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a request's state on one host, by the results entry that tells of it. `at` is in ms."""

    path: str
    entry_id: str
    state: str
    ended: bool
    at: str
    facts: Mapping[str, str]


def project(request_id: str, steps: Sequence[Step], *, aside: bool = False) -> Call:
    """Fold changes into a request's status on its hosts, in their order. The answer is how many changed something.

    With `aside`, into the status that is being rebuilt.
    """
    read = [keys.request_hosts(request_id), keys.request_counts(request_id)]
    return Call(
        PROJECT,
        [keys.request_rebuilt(request_id), keys.rebuilt_counts(request_id)] if aside else read,
        [json.dumps([(each.path, each.entry_id, each.state, each.ended, each.at, each.facts) for each in steps])],
    )


def park(at: Place, *, group: str, entry_id: str, reason: str, deliveries: int, now: int) -> Call:
    """Make a dead letter of a doorbell entry. The answer is 1, or 0 when somebody had acked it. `now` is in ms."""
    return Call(
        PARK,
        [keys.doorbell(at.partition), keys.dead_letters(at.partition)],
        [now, group, entry_id, at.path, reason, deliveries],
    )


# --- fleet-wide requests ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sampled:
    """A host that is sampled at a moment (ms).

    `last_known` is when it was sampled before (ms), as far as the caller knows: "" never, "any" no matter.
    """

    host: str
    moment: int
    last_known: str


def sample(tenant: str, service: str, hosts: Sequence[Sampled], *, forget: int, ttl: timedelta) -> Call:
    """Note a sample of a service's hosts, and forget what was noted before `forget` (ms).

    The answer is "noted", or "changed" when one of the hosts was sampled since the caller looked.
    """
    facts = [text for each in hosts for text in (each.host, each.moment, each.last_known)]
    return Call(SAMPLE, [keys.sampled(tenant, service)], [forget, int(ttl.total_seconds()), *facts])


@dataclass(frozen=True, slots=True)
class Paced:
    """Where a rollout stands after a step, and the turns that the step gave: `given` of them from number `first` on."""

    state: str
    next_turn: int
    window: int
    errors: int
    reason: str
    under_way: int
    first: int
    given: int


def pace(
    request_id: str, *, first: int, candidates: Sequence[str], ended: Mapping[str, str], ttl: timedelta, halt: str = ""
) -> Call:
    """One step of a rollout. `candidates` are the paths whose turns come next, from number `first` on.

    `ended` tells of each host that has ended whether it was "good", an "error" or "other"; `halt` says why nobody is to
    get a turn any more.
    """
    return Call(
        PACE,
        [keys.rollout(request_id), keys.turns(request_id), keys.unsent(request_id)],
        [int(ttl.total_seconds()), first, halt, len(ended), *_flat(ended), *candidates],
    )


def read_pace(answer: Any) -> Paced:
    """What `pace` gives."""
    state, next_turn, window, errors, reason, under_way, first, given = answer
    return Paced(state, int(next_turn), int(window), int(errors), reason, int(under_way), int(first), int(given))


def join(request_id: str, *, path: str, ttl: timedelta) -> Call:
    """Let a host join a standing request. The answer is its number, -1 when it has joined before or may not."""
    return Call(
        JOIN,
        [keys.request(request_id), keys.joined(request_id), keys.unsent(request_id)],
        [int(ttl.total_seconds()), path],
    )


# --- schedules --------------------------------------------------------------------------------------------------------


def save_schedule(
    schedule_id: str, *, tenant: str, member: str, revision: int, most: int, facts: str, active: bool, reason: str,
    next_fire_at: str, forget_failures: bool,
) -> Call:  # fmt: skip
    """Store a schedule changed from `revision` (0: new). The answer: 1, 0 when changed meanwhile, -1 too many."""
    return Call(
        SAVE_SCHEDULE,
        [keys.schedule(schedule_id), keys.schedules_due(), keys.schedules_of(tenant)],
        [revision, most, schedule_id, member, facts, int(active), reason, next_fire_at, int(forget_failures)],
    )


@dataclass(frozen=True, slots=True)
class Taken:
    """A firing of a schedule, in our hands or settled already; `schedule` is its hash."""

    is_settled: bool
    attempt: int
    schedule: Mapping[str, str]


def take_firing(schedule_id: str, due: int, *, now: int) -> Call:
    """Take a firing that is due (s), whoever had it before. `now` is in ms."""
    return Call(
        TAKE_FIRING,
        [keys.schedule(schedule_id), keys.schedule_firings(schedule_id), keys.firings_taken()],
        [schedule_id, due, now],
    )


def read_taken(answer: Any) -> Taken | None:
    """What `take_firing` gives; None when the schedule does not fire then."""
    match answer:
        case ["gone"]:
            return None
        case ["settled" | "taken" as word, attempt, [*flat]]:
            return Taken(word == "settled", int(attempt), dict(zip(flat[::2], flat[1::2], strict=True)))
        case _:
            raise TypeError(f"take_firing.lua answered {answer!r}")


def settle_firing(
    schedule_id: str, due: int, *, revision: int, next_fire_at: int, keep: int, firing: str = "", outcome: str = "",
    is_failure: bool = False, request_id: str = "",
) -> Call:  # fmt: skip
    """Record a firing (JSON; empty: none) and set the next one (s). The answer is 1 when it was recorded."""
    return Call(
        SETTLE_FIRING,
        [
            keys.schedule(schedule_id), keys.schedule_firings(schedule_id), keys.schedules_due(), keys.firings_taken(),
        ],
        [schedule_id, due, revision, next_fire_at, keep, firing, outcome, int(is_failure), request_id],
    )  # fmt: skip


def replay(partition: int, entry_id: str, *, how: str, remember: str, ttl_s: int) -> Call:
    """Replay a dead letter ("ring", "claim", "done"). The answer is what is remembered of it, "" for no such letter."""
    return Call(
        REPLAY,
        [keys.dead_letters(partition), keys.replayed(partition, entry_id), keys.doorbell(partition)],
        [entry_id, remember, ttl_s, how],
    )


def swap(request_id: str) -> Call:
    """Put a rebuilt status in the place of the present one. The answer is how many hosts it is too old for."""
    return Call(
        SWAP,
        [
            keys.request_hosts(request_id), keys.request_rebuilt(request_id), keys.request_counts(request_id),
            keys.rebuilt_counts(request_id),
        ],
        [],
    )  # fmt: skip


def advance(stream: str, *, group: str, to: str) -> Call:
    """Move a group's position forward, never back. The answer is the number of entries that it passed."""
    return Call(ADVANCE, [stream], [group, to])


def hold(role: str, *, instance: str, ttl_ms: int) -> Call:
    """Take or renew the lease of a role. The answer is 1 when this instance holds it now, else 0."""
    return Call(HOLD, [keys.lease(role)], [instance, ttl_ms])
