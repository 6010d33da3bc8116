"""How much is allowed, and what a look at it found: values, for whoever counts and for settings."""

from typing import NamedTuple


class Quota(NamedTuple):
    """How many within how many seconds."""

    amount: int
    seconds: int


class Taken(NamedTuple):
    """What a check found. `left`: how many more would pass now; `seconds`: until there is room again (for more)."""

    passed: bool
    left: int
    seconds: float
