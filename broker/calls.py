"""A script call, and what its failures mean."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

COMMAND_TIMEOUT_SECONDS: Final = 5.0
UNAVAILABLE: Final = (
    RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError, ClusterDownError,
    MasterDownError, TryAgainError, AskError, OSError,
)  # fmt: skip
"""AskError (MovedError is one, too) comes this far when a slot was still on the move after all our patience."""
REFUSES_WRITES: Final = ("MISCONF", "NOREPLICAS")
"""How a server begins its answer when its disk is full, or too few replicas follow: the library has no class for it."""
REFUSES: Final = ("LOADING", "READONLY", "OOM", "MASTERDOWN", "CLUSTERDOWN")
"""How a server begins the answers that the library has a class for, where the library has not read them."""


class Script(NamedTuple):
    """A Lua script: its text and the SHA-1 that Redis knows it by."""

    name: str
    text: str
    sha: str


class Call(NamedTuple):
    """One call of a script: which, on which keys, with which arguments."""

    script: Script
    keys: Sequence[str]
    args: Sequence[str | int | float | bytes]


def is_away(error: Exception) -> bool:
    """Whether the server is not there for us, rather than that we asked for something wrong."""
    return isinstance(error, UNAVAILABLE) or any(sign in str(error) for sign in REFUSES_WRITES)
