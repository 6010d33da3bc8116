"""The scripts on a request's own keys: project and swap its status, pace it, let hosts join, sample."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from broker import keys
from broker.connection import Call
from broker.scripts._load import flat, load_script

PROJECT: Final = load_script("project")
SWAP: Final = load_script("swap")
SAMPLE: Final = load_script("sample")
PACE: Final = load_script("pace")
JOIN: Final = load_script("join")


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
    rebuilt = [keys.request_rebuilt(request_id), keys.rebuilt_counts(request_id)]
    return Call(
        PROJECT,
        [*(rebuilt if aside else read), keys.request(request_id)],
        [json.dumps([(each.path, each.entry_id, each.state, each.ended, each.at, each.facts) for each in steps])],
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
        [int(ttl.total_seconds()), first, halt, len(ended), *flat(ended), *candidates],
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
