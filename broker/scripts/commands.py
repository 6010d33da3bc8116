"""The scripts that move a host's command: submit, move, beat, complete, cancel, lose; and hush, for a whole service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.msgpack import Encoder

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
MOVE: Final = load_script("move")
BEAT: Final = load_script("beat", shared=True)
KEEP_INVENTORY: Final = load_script("keep_inventory")
COMPLETE: Final = load_script("complete", shared=True)
SPEAK: Final = load_script("speak", shared=True)
CANCEL: Final = load_script("cancel", shared=True)
LOSE: Final = load_script("lose", shared=True)
HUSH: Final = load_script("hush", shared=True)
_pack: Final = Encoder().encode
_IDLE_PARTS: Final = 2


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
    paths: dict[str, list[str]] = {}
    for host in hosts:
        paths.setdefault(host.entry, []).append(host.at.path)
    return Call(
        SUBMIT,
        [
            keys.submitted(partition, request_id, batch),
            keys.withdrawn(partition, request_id),
            keys.doorbell(partition),
            keys.results(partition),
            keys.requests(keys.stem(partition)),
        ],
        [now, request_id, command_id, *(text for entry, of in paths.items() for text in (entry, " ".join(of)))],
    )


def move(at: Place, request_id: str, *, entry: str) -> Call:
    """Tell a host where the processes of a request are now. The answer is 0 when the request was withdrawn."""
    return Call(
        MOVE,
        [keys.withdrawn(at.partition, request_id), keys.doorbell(at.partition), keys.requests(at)],
        [at.path, entry],
    )


# --- beat -------------------------------------------------------------------------------------------------------------


class Credential(Struct, frozen=True):
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


class Contested(Struct, frozen=True):
    """This credential may not speak for the host; nothing was done. `owner`: the token it belongs to, or empty."""

    owner: str
    reason: str


class Idle(Struct, frozen=True):
    """Nothing new for this host. `inventory_wanted`: what is kept of what runs there is something else, or nothing."""

    generation: int
    inventory_wanted: bool = False

    def __eq__(self, other: object) -> bool:
        """Whatever is wanted."""
        return isinstance(other, Idle) and self.generation == other.generation

    def __hash__(self) -> int:
        return hash(self.generation)


class Delivered(Struct, frozen=True):
    """The command to hand out; `command` is its JSON as it goes into the reply."""

    command_id: str
    generation: int
    attempt: int
    command: str
    inventory_wanted: bool = False


class PackedInventory(Struct, frozen=True):
    """What runs on a host, as it is kept, and the digest that tells it from another."""

    digest: str
    body: str


class Beat(Struct, frozen=True):
    """One heartbeat as the broker needs it; `facts` is what to remember of the host.

    A struct of msgspec, as `Idle` and `Delivered` are: a process makes thousands of each in a second.
    """

    host: HostKey
    last_command_id: str = ""
    has_begun: bool = False
    received_ids: Sequence[str] = ()
    executed_ids: Sequence[str] = ()
    facts: Mapping[str, str] = {}
    inventory: PackedInventory | None = None
    silent_after_ms: int = codec.ms(stale_after(DEFAULT_INTERVAL).total_seconds())
    """After so much silence a beat is a return, and the events stream tells of it."""
    agent_time: str = ""
    """Kept like a fact, but for the digest: it is another one at each beat."""
    by: Credential = Credential()
    may_join: bool = True
    """Else a host that nobody knows is not remembered, and the answer is `New`."""


class New(Struct, frozen=True):
    """Nobody knows this host, and nothing was done: send the beat again once it may join."""


class Tell(Struct, frozen=True):
    """The broker does not remember these facts of the host, and has done nothing: send the beat with the facts."""


Outcome: TypeAlias = Idle | Delivered | Contested | New
"""What becomes of a heartbeat."""


def digest_of(facts: Mapping[str, str]) -> str:
    """What the broker knows by whether it remembers just these facts."""
    return blake2b(repr(sorted(facts.items())).encode(errors="replace"), digest_size=8).hexdigest()


class Heard(NamedTuple):
    """A heartbeat on its way to the script: whose, the digest of its facts, and whether these go along."""

    at: Place
    beat: Beat
    digest: str
    with_facts: bool = True


@lru_cache(maxsize=1_024)
def _keys_of_beats(partition: int) -> Sequence[str]:
    """The keys of a partition, and those of its hosts without their paths."""
    of_hosts = (
        keys.host, keys.command, keys.open_requests, keys.history, keys.requests, keys.inventory, keys.conflict,
    )  # fmt: skip
    return (
        keys.beats(partition), keys.results(partition), keys.deadlines(partition), keys.doorbell(partition),
        keys.taken(partition), keys.events(partition), keys.dead_letters(partition),
        *(key(keys.stem(partition)) for key in of_hosts),
    )  # fmt: skip


def beat(heard: Sequence[Heard], *, now: int) -> Call:
    """Some heartbeats: remember the hosts, take acks, hand out what is not acked. `now` is in ms.

    They may be of several partitions where all of them are on one server. The answer has a part for each, see
    `read_beat`.
    """
    partitions: dict[int, int] = {}
    told = []
    for at, said, digest, with_facts in heard:
        by, inventory = said.by, said.inventory
        told.append((
            at.path, said.has_begun, said.last_command_id, said.silent_after_ms, said.agent_time, digest,
            inventory.digest if inventory else "", by.token_id, by.claim, by.fault, by.was_asked, by.ended_owner,
            flat(said.facts) if with_facts else False, said.received_ids, said.executed_ids,
            partitions.setdefault(at.partition, len(partitions)), said.may_join,
        ))  # fmt: skip
    of_all = [key for partition in partitions for key in _keys_of_beats(partition)]
    # One text for all of them: a dozen arguments for each beat cost both sides more than to pack and unpack it.
    return Call(BEAT, of_all, [now, MOST_ATTEMPTS, _pack(told)])


def read_beat(answer: Any) -> Outcome | Tell:
    """What `beat` gives of one host.

    Raises:
        ValueError: a key of the host is of another type than ours; the text is the server's.
    """
    if type(answer) is list and len(answer) == _IDLE_PARTS and type(answer[0]) is int:  # nearly always
        return Idle(answer[0], answer[1] != 0)
    match answer:
        case [command_id, generation, attempt, command, wanted]:
            return Delivered(command_id, int(generation), int(attempt), command, bool(wanted))
        case ["tell"]:
            return Tell()
        case ["new"]:
            return New()
        case ["contested", owner, reason]:
            return Contested(owner, reason)
        case _:
            raise ValueError(f"beat.lua answered {answer!r}")


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


def speak(at: Place, *, by: Credential, now: int) -> Call:
    """Ask whether a credential may speak for a host. `now` is in ms."""
    return Call(SPEAK, [keys.host(at), keys.events(at.partition), keys.conflict(at)], [now, at.path, *by.args])


def read_speak(answer: Any) -> Contested | None:
    """What `speak` gives."""
    match answer:
        case ["contested", owner, reason]:
            return Contested(owner, reason)
        case _:
            return None


# --- cancel and lose -------------------------------------------------------------------------------------------------


def cancel(
    partition: int, request_id: str, places: Sequence[Place], *, reason: str, entry: str, remembered_s: int
) -> Call:
    """Withdraw a request from some hosts of one partition, and from those of it that it is appended for later."""
    return Call(
        CANCEL,
        [keys.withdrawn(partition, request_id), keys.doorbell(partition), keys.requests(keys.stem(partition))],
        [reason, entry, remembered_s, " ".join(at.path for at in places)],
    )


def lose(at: Place, *, silent_since: int, reason: str, now: int, grace: int = 0) -> Call:
    """Give up on what a silent host holds. The answer is 1 when its command is lost now. Moments are in ms.

    One that awaits its moment is given `grace` (ms) from then on to begin.
    """
    return Call(
        LOSE,
        [
            keys.command(at), keys.open_requests(at), keys.history(at), keys.results(at.partition),
            keys.deadlines(at.partition), keys.doorbell(at.partition), keys.requests(at), keys.taken(at.partition),
            keys.beats(at.partition), keys.events(at.partition),
        ],
        [now, at.path, *who(at.host_key), silent_since, reason, grace],
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
