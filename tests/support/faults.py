"""Faults on the way to Redis, by seed: any call may be refused before it is executed, or executed and never answered.

They are made where the bytes leave and come back, so that every call of a broker meets them: scripts, pipelines,
transactions, blocking reads, subscriptions, on one server and on each node of a cluster. Whoever calls sees what
redis-py says of a real broken connection or a real time-out.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any, Final

import redis
from redis.asyncio.connection import AbstractConnection
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection as SyncConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from broker.cluster import ClusterClient
from broker.connection import Broker, Call
from broker.errors import BrokerUnavailable
from broker.pipelined import Answered, Lines

REFUSED: Final = "refused before it was executed"
LATE: Final = "executed, and never answered"
WELL: Final = "well"


class Faults:
    """What befalls each call, one after the other; the same seed and the same calls give the same faults.

    Args:
        seed: of the random numbers.
        refused: share of the calls that never reach the server.
        late: share of the calls that the server executes, and that their caller hears nothing of. Of a pipeline, all up
            to some command have certainly been executed; those behind it may have been.
    """

    def __init__(self, seed: int | str, *, refused: float = 0.1, late: float = 0.1) -> None:
        self.is_on = True
        self.counts: Counter[str] = Counter()
        self._random = Random(seed)
        self._weights = (refused, late, 1 - refused - late)

    def next(self) -> str:
        """What befalls the next call."""
        if not self.is_on:
            return WELL
        verdict = self._random.choices((REFUSED, LATE, WELL), self._weights)[0]
        self.counts[verdict] += 1
        return verdict

    def last_answer(self, commands: int) -> int:
        """After how many answers of a pipeline nothing more is heard."""
        return self._random.randrange(commands)

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """Nothing befalls anybody, until the end of the block: for looking at what has become of it all."""
        before, self.is_on = self.is_on, False
        try:
            yield
        finally:
            self.is_on = before


@contextlib.asynccontextmanager
async def befallen(broker: Broker, faults: Faults) -> AsyncIterator[Broker]:
    """The same broker, every connection of which meets these faults; a fresh one that nobody has used yet."""
    befall(broker, faults)
    yield broker
    faults.is_on = False


def befall(broker: Broker, faults: Faults) -> None:
    """Let every connection of a broker meet these faults from now on; it must be a fresh one."""
    _befall_lines(broker.lines, faults)
    for client in (broker.redis, broker.blocking):
        if isinstance(client, ClusterClient):
            _befall_nodes(client, faults)
        else:
            _befall(client, faults)


def befall_sync(client: redis.Redis, faults: Faults) -> None:
    """Let every connection of a synchronous client, such as rq's, meet these faults, without repeating by itself."""
    pool = client.connection_pool
    pool.disconnect()
    pool.reset()
    pool.connection_class = type("Befallen", (_BefallenSync, pool.connection_class), {"faults": faults})
    pool.connection_kwargs["retry"] = Retry(NoBackoff(), 0)


def _befall_lines(lines: Lines, faults: Faults) -> None:
    """Calls on a line do without the library's ways of sending and reading: they are met where they are handed in."""
    send = lines.send

    def send_befallen(calls: Sequence[tuple[Call, Answered]]) -> None:
        sent: list[tuple[Call, Answered]] = []
        for call, answered in calls:
            match faults.next():
                case verdict if verdict == REFUSED:
                    asyncio.get_running_loop().call_soon(answered, BrokerUnavailable("ConnectionError"))
                case verdict if verdict == LATE:
                    sent.append((call, partial(_unheard, answered)))
                case _:
                    sent.append((call, answered))
        if sent:
            send(sent)

    lines.send = send_befallen  # type: ignore[method-assign]  # of this broker alone


def _unheard(answered: Answered, _answer: Any) -> None:
    """It was executed, and whoever asked for it hears nothing of it."""
    answered(BrokerUnavailable("TimeoutError"))


def _befall_nodes(cluster: ClusterClient, faults: Faults) -> None:
    connect = cluster.connect

    def connect_befallen(node: Any) -> Any:
        client = connect(node)
        _befall(client, faults)
        return client

    assert not cluster._clients, "it has connections already"
    cluster.connect = connect_befallen


def _befall(client: Any, faults: Faults) -> None:
    pool = client.connection_pool
    assert not pool._available_connections, "it has connections already"
    pool.connection_class = type("Befallen", (_Befallen, pool.connection_class), {"faults": faults})


class _Befallen(AbstractConnection):
    """Stands before the real connection's class: TCP, TLS or Unix socket."""

    faults: Faults
    _shakes_hands = False
    _commands = 1
    _answers_left: int | None = None

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        self._shakes_hands = True  # what the library says on a new connection is no call of anybody's
        try:
            await super().on_connect_check_health(check_health)
        finally:
            self._shakes_hands = False

    def pack_command(self, *args: Any) -> Any:
        self._commands = 1
        return super().pack_command(*args)

    def pack_commands(self, commands: Iterable[Any]) -> Any:
        listed = list(commands)
        packed = super().pack_commands(listed)
        self._commands = len(listed)
        return packed

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if not self._shakes_hands:
            self._answers_left = None
            match self.faults.next():
                case verdict if verdict == REFUSED:
                    await self.disconnect()
                    raise RedisConnectionError(REFUSED)
                case verdict if verdict == LATE:
                    self._answers_left = self.faults.last_answer(self._commands)
        await super().send_packed_command(command, check_health)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            answer = await super().read_response(*args, **options)
        except ResponseError:
            await self._count_down()
            raise
        await self._count_down()  # not for a reader that was cancelled: it must stay cancelled
        return answer

    async def _count_down(self) -> None:
        if self._answers_left is None or self._shakes_hands:
            return
        if self._answers_left:
            self._answers_left -= 1
            return
        self._answers_left = None
        await self.disconnect()
        raise RedisTimeoutError(LATE)


class _BefallenSync(SyncConnection):
    """The same for a synchronous connection."""

    faults: Faults
    _shakes_hands = False
    _commands = 1
    _answers_left: int | None = None

    def on_connect_check_health(self, check_health: bool = True) -> None:
        self._shakes_hands = True
        try:
            super().on_connect_check_health(check_health)
        finally:
            self._shakes_hands = False

    def pack_command(self, *args: Any) -> Any:
        self._commands = 1
        return super().pack_command(*args)  # type: ignore[no-untyped-call]  # redis-py has no types here

    def pack_commands(self, commands: Iterable[Any]) -> Any:
        listed = list(commands)
        packed = super().pack_commands(listed)  # type: ignore[no-untyped-call]  # redis-py has no types here
        self._commands = len(listed)
        return packed

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if not self._shakes_hands:
            self._answers_left = None
            match self.faults.next():
                case verdict if verdict == REFUSED:
                    self.disconnect()  # type: ignore[no-untyped-call]  # redis-py has no types here
                    raise RedisConnectionError(REFUSED)
                case verdict if verdict == LATE:
                    self._answers_left = self.faults.last_answer(self._commands)
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]  # redis-py has no types here

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            answer = super().read_response(*args, **options)
        except ResponseError:
            self._count_down()
            raise
        self._count_down()
        return answer

    def _count_down(self) -> None:
        if self._answers_left is None or self._shakes_hands:
            return
        if self._answers_left:
            self._answers_left -= 1
            return
        self._answers_left = None
        self.disconnect()  # type: ignore[no-untyped-call]  # redis-py has no types here
        raise RedisTimeoutError(LATE)
