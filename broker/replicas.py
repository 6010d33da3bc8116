"""Waiting until a replica has what was written, where there is a replica."""

import time
import weakref
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

WAIT_MS: Final = 500
"""Longest wait of one write; a replica that keeps up takes some milliseconds."""
KNOWN_FOR_SECONDS: Final = 5.0


class ReplicaWait:
    """What to end a pipeline with, so that its answer comes when one replica has all of it.

    `WAIT` counts what was written on its own connection, so it has to go the same way as the writes. With a server that
    has no replica, or one that does not follow, it would always take as long as it may: that is remembered a while.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Any, tuple[float, bool]] = weakref.WeakKeyDictionary()

    async def command(self, client: Any) -> tuple[Any, ...] | None:
        """The command for this server; None when it has no replica to wait for.

        Raises:
            redis.exceptions.RedisError: the server cannot be asked; nothing was sent.
        """
        until, has_replica = self._known.get(client, (0.0, False))
        if time.monotonic() >= until:
            facts = await client.info("replication")
            has_replica = int(facts.get("connected_slaves", 0)) > 0
            self._known[client] = (time.monotonic() + KNOWN_FOR_SECONDS, has_replica)
        return ("WAIT", 1, WAIT_MS) if has_replica else None

    def heard(self, client: Any, answer: object) -> None:
        """What the command was answered: how many replicas have it all."""
        if isinstance(answer, int) and answer > 0:
            return
        log.warning("no replica has confirmed a submission", waited_ms=WAIT_MS, answer=str(answer))
        self._known[client] = (time.monotonic() + KNOWN_FOR_SECONDS, False)
