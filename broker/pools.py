"""Connection pools that are closed for good.

redis-py's pool, once closed, goes on to take connections back: one that was on the way up in another task when the pool
was closed (a call that nobody waits for any more, a node that came back just then) would be kept, open, by a pool that
nobody closes again.
"""

from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool


class _ClosesForGood(ConnectionPool):
    """What comes back after the end is closed."""

    _is_closed = False

    async def aclose(self) -> None:
        """Close every connection, those on the way too, as soon as they are given back."""
        self._is_closed = True
        await super().aclose()

    async def release(self, connection: Any) -> None:
        """Take a connection back."""
        if self._is_closed:
            connection.mark_for_reconnect()  # the pool closes it, before it keeps it
        await super().release(connection)


class ReadersPool(_ClosesForGood, ConnectionPool):
    """For readers that wait for work: a connection for each, made as it is needed."""


class CommandsPool(_ClosesForGood, BlockingConnectionPool):
    """For everybody else: so many, and who comes then waits for one."""
