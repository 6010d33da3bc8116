"""The scripts of whoever only looks on: move a group's position, hold a role's lease, see where commands stand."""

from collections.abc import Sequence
from typing import Final

from broker import keys
from broker.connection import Call
from broker.keys import Place
from broker.scripts._load import load_script

ADVANCE: Final = load_script("advance")
HOLD: Final = load_script("hold")
STATES: Final = load_script("states")


def advance(stream: str, *, group: str, to: str) -> Call:
    """Move a group's position forward, never back. The answer is the number of entries that it passed."""
    return Call(ADVANCE, [stream], [group, to])


def hold(role: str, *, instance: str, ttl_ms: int) -> Call:
    """Take or renew the lease of a role. The answer is 1 when this instance holds it now, else 0."""
    return Call(HOLD, [keys.lease(role)], [instance, ttl_ms])


def states(places: Sequence[Place]) -> Call:
    """Where the commands of some hosts of one partition stand. The answer has the state of each, or an empty text."""
    return Call(STATES, [keys.command(at) for at in places], [])
