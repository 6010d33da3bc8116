"""The Lua scripts, each behind a typed function that builds its call, and a reader for its answer.

Every script is one atomic step on the keys of one partition, and may be repeated without doing its work twice.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from broker import keys
from broker.codec import Decision, Loaded
from broker.connection import Call, Script
from broker.keys import Place
from protocol.names import HostKey

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
    return Call(
        SUBMIT,
        [
            keys.submitted(partition, request_id, batch),
            keys.doorbell(partition),
            keys.results(partition),
            *(keys.requests(host.at) for host in hosts),
        ],
        [
            now, request_id, command_id, tenant, service,
            *(text for host in hosts for text in (host.at.path, host.at.host_key.host, host.entry)),
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


def beat(at: Place, heard: Beat, *, now: int) -> Call:
    """Remember the host, take its acks, hand out what it has not acked. `now` is in ms."""
    return Call(
        BEAT,
        [
            keys.host(at), keys.beats(at.partition), keys.command(at), keys.open_requests(at), keys.history(at),
            keys.results(at.partition), keys.deadlines(at.partition), keys.doorbell(at.partition), keys.requests(at),
            keys.dead_letters(at.partition),
        ],
        [
            now, at.path, *_who(heard.host), MOST_ATTEMPTS, int(heard.has_begun), heard.last_command_id,
            len(heard.received_ids), *heard.received_ids, len(heard.executed_ids), *heard.executed_ids,
            *_flat(heard.facts),
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
        ],
        [now, at.path, *_who(host), command_id, outcome, int(only_started), *_flat(facts)],
    )  # fmt: skip


# --- load and settle --------------------------------------------------------------------------------------------------


def load(at: Place) -> Call:
    """Read a host for compaction."""
    return Call(LOAD, [keys.command(at), keys.open_requests(at), keys.requests(at)], [])


def read_load(answer: Any) -> Loaded:
    """What `load` gives."""
    command, open_requests, entries = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in answer)
    return Loaded(command, open_requests, entries)


def settle(at: Place, host: HostKey, *, revision: str, decision: Decision, now: int) -> Call:
    """Store a decision, if the host is still as it was loaded: the answer is "stored" or "changed". `now` is in ms."""
    return Call(
        SETTLE,
        [
            keys.command(at), keys.open_requests(at), keys.requests(at), keys.history(at), keys.results(at.partition),
            keys.deadlines(at.partition), keys.doorbell(at.partition),
        ],
        [now, at.path, *_who(host), revision, keys.nudge(at.partition), decision.as_json()],
    )  # fmt: skip


# --- the small ones ---------------------------------------------------------------------------------------------------


def due(partition: int, *, now: int, most: int, again_in_ms: int) -> Call:
    """Ring for the hosts whose deadline has come. The answer is how many. `now` is in ms."""
    return Call(DUE, [keys.deadlines(partition), keys.doorbell(partition)], [now, most, again_in_ms])


def project(
    request_id: str,
    *,
    path: str,
    entry_id: str,
    state: str,
    ended: bool,
    at: str,
    facts: Iterable[str],
    aside: bool = False,
) -> Call:
    """Fold one change of state into a request's status on one host. The answer is 1 when it changed something.

    With `aside`, into the status that is being rebuilt.
    """
    status = keys.request_rebuilt(request_id) if aside else keys.request_hosts(request_id)
    return Call(PROJECT, [status], [path, entry_id, state, int(ended), at, *facts])


def park(at: Place, *, group: str, entry_id: str, reason: str, deliveries: int, now: int) -> Call:
    """Make a dead letter of a doorbell entry. The answer is 1, or 0 when somebody had acked it. `now` is in ms."""
    return Call(
        PARK,
        [keys.doorbell(at.partition), keys.dead_letters(at.partition)],
        [now, group, entry_id, at.path, reason, deliveries],
    )


def replay(partition: int, entry_id: str, *, how: str, remember: str, ttl_s: int) -> Call:
    """Replay a dead letter ("ring", "claim", "done"). The answer is what is remembered of it, "" for no such letter."""
    return Call(
        REPLAY,
        [keys.dead_letters(partition), keys.replayed(partition, entry_id), keys.doorbell(partition)],
        [entry_id, remember, ttl_s, how],
    )


def swap(request_id: str) -> Call:
    """Put a rebuilt status in the place of the present one. The answer is how many hosts it is too old for."""
    return Call(SWAP, [keys.request_hosts(request_id), keys.request_rebuilt(request_id)], [])


def advance(stream: str, *, group: str, to: str) -> Call:
    """Move a group's position forward, never back. The answer is the number of entries that it passed."""
    return Call(ADVANCE, [stream], [group, to])


def hold(role: str, *, instance: str, ttl_ms: int) -> Call:
    """Take or renew the lease of a role. The answer is 1 when this instance holds it now, else 0."""
    return Call(HOLD, [keys.lease(role)], [instance, ttl_ms])
