"""One connection pool, one way to call a script, one translation of Redis errors into ours."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple, TypeAlias

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from broker import keys
from broker.errors import BrokerUnavailable, PartitionMismatch
from broker.keys import Place
from broker.settings import BrokerSettings
from protocol.names import HostKey

log = structlog.get_logger(__name__)

Client: TypeAlias = Any
"""`redis.asyncio.Redis` that answers in text: its own types say "bytes or text" everywhere, whatever it was told."""

COMMAND_TIMEOUT_SECONDS: Final = 5.0
POOL_SIZE: Final = 64
UNAVAILABLE: Final = (
    RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError, ClusterDownError,
    MasterDownError, TryAgainError, OSError,
)  # fmt: skip
REFUSES_WRITES: Final = ("MISCONF", "NOREPLICAS")
"""How a server begins its answer when its disk is full, or too few replicas follow: the library has no class for it."""


class Script(NamedTuple):
    """A Lua script: its text and the SHA-1 that Redis knows it by."""

    name: str
    text: str
    sha: str


class Call(NamedTuple):
    """One call of a script: which, on which keys, with which arguments."""

    script: Script
    keys: Sequence[str]
    args: Sequence[str | int | float]


@contextmanager
def _translated() -> Any:
    try:
        yield
    except (*UNAVAILABLE, ResponseError) as error:
        if not _is_away(error):
            raise
        raise BrokerUnavailable(type(error).__name__) from error


def _is_away(error: Exception) -> bool:
    """Whether the server is not there for us, rather than that we asked for something wrong."""
    return isinstance(error, UNAVAILABLE) or any(sign in str(error) for sign in REFUSES_WRITES)


class Broker:
    """The connection that everything else in this package is given. Safe to share among tasks, not among loops."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.partitions = settings.partitions
        # retries=0: redis-py 8 repeats a command ten times by default, after a timeout too, and a script that was
        # executed but answered late would run again.
        never_again = Retry(NoBackoff(), 0)
        self.redis: Client = Redis.from_pool(
            BlockingConnectionPool.from_url(
                settings.url, max_connections=POOL_SIZE, timeout=COMMAND_TIMEOUT_SECONDS,
                decode_responses=True, protocol=2, retry=never_again,
                socket_timeout=COMMAND_TIMEOUT_SECONDS, socket_connect_timeout=COMMAND_TIMEOUT_SECONDS,
            )
        )  # fmt: skip
        # socket_timeout=None: redis-py 8 gives up on a read after 5 s; a blocking reader waits for work.
        self.blocking: Client = Redis.from_url(
            settings.url, decode_responses=True, protocol=2, socket_timeout=None,
            socket_connect_timeout=COMMAND_TIMEOUT_SECONDS, retry=never_again,
        )  # fmt: skip

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: BrokerSettings) -> AsyncIterator["Broker"]:
        """A broker that is closed on the way out. Does not wait for the server: callers see `BrokerUnavailable`."""
        broker = cls(settings)
        try:
            yield broker
        finally:
            await broker.close()

    async def close(self) -> None:
        """Give every connection back."""
        await self.redis.aclose()
        await self.blocking.aclose()

    def place(self, host: HostKey) -> Place:
        """Where this host's keys are."""
        return keys.place(host, self.partitions)

    async def ping(self) -> None:
        """Ask whether the server answers.

        Raises:
            BrokerUnavailable: it does not.
        """
        self.settings.check_socket_folder()
        with _translated():
            await self.redis.ping()

    async def settle_layout(self) -> None:
        """Fix the number of partitions at first start, and refuse another number ever after.

        Raises:
            PartitionMismatch: the data is laid out differently.
            BrokerUnavailable: the server cannot be reached.
        """
        self.settings.check_socket_folder()
        with _translated():
            await self.redis.hsetnx(keys.layout(), "partitions", str(self.partitions))
            stored = int(await self.redis.hget(keys.layout(), "partitions") or self.partitions)
        if stored != self.partitions:
            raise PartitionMismatch(stored=stored, configured=self.partitions)

    async def run(self, call: Call) -> Any:
        """Call a script once. A script unknown to the server was not executed, so it alone is sent again, as text.

        Raises:
            BrokerUnavailable: the server cannot be reached; the script may or may not have run.
        """
        with _translated():
            try:
                return await self.redis.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
            except NoScriptError:
                return await self.redis.eval(call.script.text, len(call.keys), *call.keys, *call.args)

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Call many scripts in one round trip. An answer may be an exception: the others have run all the same.

        Raises:
            BrokerUnavailable: the connection broke; each may or may not have run.
        """
        if not calls:
            return []
        with _translated():
            async with self.redis.pipeline(transaction=False) as pipe:
                for call in calls:
                    # execute_command, not pipe.evalsha: the latter is not to be had on a cluster's pipeline.
                    pipe.execute_command("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args)
                answers: list[Any] = await pipe.execute(raise_on_error=False)
        for index, answer in enumerate(answers):
            if isinstance(answer, NoScriptError):
                try:
                    answers[index] = await self.run(calls[index])
                except ResponseError as error:
                    answers[index] = error
            elif isinstance(answer, Exception) and _is_away(answer):
                raise BrokerUnavailable(type(answer).__name__) from answer
        return answers

    @asynccontextmanager
    async def guarded(self) -> AsyncIterator[Client]:
        """The plain client, with Redis errors told as ours.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        with _translated():
            yield self.redis

    @asynccontextmanager
    async def guarded_blocking(self) -> AsyncIterator[Client]:
        """The client without a read timeout, for readers that wait for work.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        with _translated():
            yield self.blocking

    async def wait_until_ready(self) -> None:
        """Wait, however long, for a server that answers and fits our layout: roles start in any order.

        Raises:
            PartitionMismatch: waiting would not help.
        """
        said = False
        while True:
            try:
                await self.settle_layout()
            except BrokerUnavailable as error:
                if not said:
                    log.warning("waiting for the broker", reason=error.reason)
                    said = True
                await asyncio.sleep(0.2)
            else:
                return


__all__ = ["Broker", "Call", "RedisError", "Script"]
