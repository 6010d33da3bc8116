"""The scripts of whoever reads streams alone: move a group's position, hold a role's lease."""

from typing import Final

from broker import keys
from broker.connection import Call
from broker.scripts._load import load_script

ADVANCE: Final = load_script("advance")
HOLD: Final = load_script("hold")


def advance(stream: str, *, group: str, to: str) -> Call:
    """Move a group's position forward, never back. The answer is the number of entries that it passed."""
    return Call(ADVANCE, [stream], [group, to])


def hold(role: str, *, instance: str, ttl_ms: int) -> Call:
    """Take or renew the lease of a role. The answer is 1 when this instance holds it now, else 0."""
    return Call(HOLD, [keys.lease(role)], [instance, ttl_ms])
