"""The scripts that move a host's command: submit, beat, complete, cancel, lose; and hush, for a whole service."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Literal

from broker import codec, keys
from broker.connection import Call
from broker.effective import GRACE_SECONDS
from broker.keys import Place
from broker.scripts._load import flat, load_script, who
from protocol.names import HostKey
from protocol.pacing import DEFAULT_INTERVAL, stale_after

MOST_ATTEMPTS: Final = 10
"""A command handed out this often without an ack is undeliverable."""
SUBMIT: Final = load_script("submit", shared=True)
BEAT: Final = load_script("beat", shared=True)
KEEP_INVENTORY: Final = load_script("keep_inventory")
COMPLETE: Final = load_script("complete", shared=True)
CANCEL: Final = load_script("cancel", shared=True)
LOSE: Final = load_script("lose", shared=True)
HUSH: Final = load_script("hush", shared=True)


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
class Credential:
    """The token that speaks for a host; as it stands here, nobody asks whose the host is.

    Attributes:
        token_id: empty: not asked.
        claim: what it makes of itself at its first beat: `s` an owner among other hosts, `e` the host's own credential,
            empty: it owns nothing, as an admin's.
        fault: why it may not speak for this host, whoever owns it; empty: nothing is wrong with it.
        was_asked: whether the owner that the script named was looked up; then a conflict is reported.
        ended_owner: that owner, if its token has ended: it no longer owns the host.
    """

    token_id: str = ""
    claim: Literal["s", "e", ""] = ""
    fault: str = ""
    was_asked: bool = False
    ended_owner: str = ""

    @property
    def args(self) -> tuple[str | int, ...]:
        """As scripts take it."""
        return self.token_id, self.claim, self.fault, int(self.was_asked), self.ended_owner


@dataclass(frozen=True, slots=True)
class Contested:
    """This credential may not speak for the host; nothing was done. `owner`: the token it belongs to, or empty."""

    owner: str
    reason: str


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing new for this host. `inventory_wanted`: what is kept of what runs there is something else, or nothing."""

    generation: int
    inventory_wanted: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The command to hand out; `command` is its JSON as it goes into the reply."""

    command_id: str
    generation: int
    attempt: int
    command: str
    inventory_wanted: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class PackedInventory:
    """What runs on a host, as it is kept, and the digest that tells it from another."""

    digest: str
    body: str


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat as the broker needs it; `facts` is what to remember of the host."""

    host: HostKey
    last_command_id: str = ""
    has_begun: bool = False
    received_ids: Sequence[str] = ()
    executed_ids: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    inventory: PackedInventory | None = None
    silent_after_ms: int = codec.ms(stale_after(DEFAULT_INTERVAL).total_seconds())
    """After so much silence a beat is a return, and the events stream tells of it."""
    by: Credential = Credential()


def beat(at: Place, heard: Beat, *, now: int) -> Call:
    """Remember the host, take its acks, hand out what it has not acked. `now` is in ms."""
    return Call(
        BEAT,
        [
            keys.host(at), keys.beats(at.partition), keys.command(at), keys.open_requests(at), keys.history(at),
            keys.results(at.partition), keys.deadlines(at.partition), keys.doorbell(at.partition), keys.requests(at),
            keys.taken(at.partition), keys.events(at.partition), keys.dead_letters(at.partition), keys.inventory(at),
            keys.conflict(at),
        ],
        [
            now, at.path, *who(heard.host), MOST_ATTEMPTS, int(heard.has_begun), heard.last_command_id, *heard.by.args,
            heard.inventory.digest if heard.inventory else "",
            len(heard.received_ids), *heard.received_ids, len(heard.executed_ids), *heard.executed_ids,
            *flat(heard.facts), heard.silent_after_ms,
        ],
    )  # fmt: skip


def read_beat(answer: Any) -> Idle | Delivered | Contested:
    """What `beat` gives."""
    match answer:
        case ["contested", owner, reason]:
            return Contested(owner, reason)
        case ["idle", generation, wanted]:
            return Idle(int(generation), bool(wanted))
        case ["deliver", command_id, generation, attempt, command, wanted]:
            return Delivered(command_id, int(generation), int(attempt), command, bool(wanted))
        case _:
            raise TypeError(f"beat.lua answered {answer!r}")


def keep_inventory(at: Place, inventory: PackedInventory, *, ttl: timedelta) -> Call:
    """Keep what runs on a host."""
    ttl_s = int(ttl.total_seconds())
    return Call(KEEP_INVENTORY, [keys.host(at), keys.inventory(at)], [inventory.digest, inventory.body, ttl_s])


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
    by: Credential,
    now: int,
) -> Call:
    """End a command by the agent's word. `now` is in ms."""
    return Call(
        COMPLETE,
        [
            keys.command(at), keys.open_requests(at), keys.history(at), keys.results(at.partition),
            keys.deadlines(at.partition), keys.doorbell(at.partition), keys.requests(at), keys.late(at),
            keys.taken(at.partition), keys.host(at), keys.events(at.partition), keys.conflict(at),
        ],
        [
            now, at.path, *who(host), command_id, outcome, int(only_started), codec.ms(GRACE_SECONDS), *by.args,
            *flat(facts),
        ],
    )  # fmt: skip


def read_complete(answer: Any) -> Recorded | Contested:
    """What `complete` gives."""
    match answer:
        case ["contested", owner, reason]:
            return Contested(owner, reason)
        case _:
            return Recorded(answer)


# --- cancel and lose -------------------------------------------------------------------------------------------------


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
        [now, at.path, *who(at.host_key), silent_since, reason],
    )  # fmt: skip


def hush(of_service: Place, *, grace: int | None, known: int, quiet: int, now: int) -> Call:
    """Note that a service is silent, or with no `grace` that it is heard again. The answer is 1 when this told of it.

    Args:
        of_service: where what is told of a service lies: the place of a host without a name.
        grace: after how much silence (ms) its hosts count as silent.
        known: how many of its hosts are known.
        quiet: how many of them are silent.
        now: in ms.
    """
    tenant, service, _ = of_service.host_key
    return Call(
        HUSH,
        [keys.silent_services(of_service.partition), keys.events(of_service.partition)],
        [now, of_service.path, tenant, service, "" if grace is None else grace, known, quiet],
    )
