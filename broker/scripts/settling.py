"""The scripts of the merger and the janitor: load, settle, due, park; and replaying what was parked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from broker import keys
from broker.ahead import lead_of
from broker.codec import Decision, Loaded
from broker.connection import Call
from broker.keys import Place
from broker.scripts._load import load_script
from protocol.names import HostKey

LOAD: Final = load_script("load", shared=True)
SETTLE: Final = load_script("settle", shared=True)
DUE: Final = load_script("due", shared=True)
PARK: Final = load_script("park")
REPLAY: Final = load_script("replay")


# --- load and settle --------------------------------------------------------------------------------------------------


def load(places: Sequence[Place]) -> Call:
    """Read some hosts of one partition for compaction."""
    stem = keys.stem(places[0].partition)
    return Call(
        LOAD,
        [keys.command(stem), keys.open_requests(stem), keys.requests(stem), keys.host(stem)],
        [json.dumps([at.path for at in places])],
    )


def read_load(answer: Any) -> list[Loaded | str]:
    """What `load` gives, in the order of the hosts; a text says why one cannot be read."""
    return [of_host if isinstance(of_host, str) else _read_loaded(*of_host) for of_host in answer]


def _read_loaded(command: list[str], open_requests: list[str], entries: list[str], pace: str) -> Loaded:
    rows = list(zip(entries[::3], entries[1::3], entries[2::3], strict=True))
    return Loaded(
        dict(zip(command[::2], command[1::2], strict=True)),
        dict(zip(open_requests[::2], open_requests[1::2], strict=True)),
        {entry_id: text for entry_id, kind, text in rows if kind == "request"},
        {entry_id: text for entry_id, kind, text in rows if kind == "cancel"},
        lead_of(timedelta(seconds=int(pace))) if pace else 0.0,
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """A decision on one host, and what of the host it was taken on."""

    at: Place
    host: HostKey
    loaded: Loaded
    decision: Decision


def settle(partition: int, settled: Sequence[Settled], *, now: int) -> Call:
    """Store decisions on some hosts of one partition, each only if the host is still as it was loaded.

    The answer has "stored", "changed", or why it cannot be stored, for each. `now` is in ms.
    """
    decisions = {id(each.decision): each.decision for each in settled}
    numbers = {identity: number for number, identity in enumerate(decisions, start=1)}
    hosts = [
        (each.at.path, each.loaded.revision, each.loaded.entry_ids, numbers[id(each.decision)]) for each in settled
    ]
    stem = keys.stem(partition)
    return Call(
        SETTLE,
        [
            keys.results(partition), keys.deadlines(partition), keys.doorbell(partition), keys.taken(partition),
            keys.command(stem), keys.open_requests(stem), keys.requests(stem), keys.history(stem),
        ],
        [
            now, keys.nudge(partition), f"[{','.join(decision.as_json() for decision in decisions.values())}]",
            json.dumps(hosts),
        ],
    )  # fmt: skip


def due(partition: int, *, now: int, most: int, again_in_ms: int) -> Call:
    """Ring for the hosts whose deadline has come. The answer is how many. `now` is in ms."""
    return Call(DUE, [keys.deadlines(partition), keys.doorbell(partition)], [now, most, again_in_ms])


def park(
    partition: int, paths: Sequence[str], *, group: str, entry_id: str, reason: str, deliveries: int, now: int
) -> Call:
    """Make dead letters of a doorbell entry, one for each of these hosts.

    The answer is 1, or 0 when somebody had acked it. `now` is in ms.
    """
    return Call(
        PARK,
        [keys.doorbell(partition), keys.dead_letters(partition)],
        [now, group, entry_id, reason, deliveries, *paths],
    )


def replay(partition: int, entry_id: str, *, how: str, remember: str, ttl_s: int) -> Call:
    """Replay a dead letter ("ring", "claim", "done"). The answer is what is remembered of it, "" for no such letter."""
    return Call(
        REPLAY,
        [keys.dead_letters(partition), keys.replayed(partition, entry_id), keys.doorbell(partition)],
        [entry_id, remember, ttl_s, how],
    )
