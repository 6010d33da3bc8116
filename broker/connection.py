"""One connection pool, one way to call a script, one translation of Redis errors into ours."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeAlias

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, NoScriptError, RedisError, ResponseError

from broker import keys
from broker.calls import COMMAND_TIMEOUT_SECONDS, UNAVAILABLE, Call, Script, is_away
from broker.cluster import Asked, ClusterClient, send_to_one
from broker.errors import BrokerUnavailable, ClusterNotNamed, PartitionMismatch
from broker.keys import Place
from broker.packing import packing
from broker.pipelined import Lines
from broker.pools import CommandsPool, ReadersPool
from broker.replicas import ReplicaWait
from broker.settings import BrokerSettings, node_urls
from broker.slot_map import Node, SlotMap
from protocol.names import HostKey

log = structlog.get_logger(__name__)

Client: TypeAlias = Any
"""`redis.asyncio.Redis` that answers in text (its own types say "bytes or text" everywhere), or our `ClusterClient`."""

POOL_SIZE: Final = 64
MOST_READERS: Final = 10_000
"""Connections of blocking readers, one for each. redis-py gives up at 100 by default."""


@contextmanager
def _translated() -> Any:
    try:
        yield
    except (*UNAVAILABLE, ResponseError) as error:
        if not is_away(error):
            raise
        raise BrokerUnavailable(type(error).__name__) from error
    except InvalidResponse as error:
        raise BrokerUnavailable("what answers there does not speak Redis") from error


def _client(url: str, node: Node | None = None, *, blocking: bool = False) -> Client:
    """A client of one server, by a URL, or by that of another node of its cluster."""
    options: dict[str, Any] = {
        "decode_responses": True,
        "protocol": 2,
        "socket_connect_timeout": COMMAND_TIMEOUT_SECONDS,
        # retries=0: redis-py 8 repeats a command ten times by default, after a timeout too, and a script that was
        # executed but answered late would run again.
        "retry": Retry(NoBackoff(), 0),
        # None: redis-py 8 gives up on a read after 5 s; a blocking reader waits for work.
        "socket_timeout": None if blocking else COMMAND_TIMEOUT_SECONDS,
        **parse_url(url),
    }
    options["connection_class"] = packing(options.get("connection_class", Connection))
    if node is not None:
        options |= {"host": node.host, "port": node.port}
    if blocking:
        return Redis.from_pool(ReadersPool(max_connections=MOST_READERS, **options))
    return Redis.from_pool(CommandsPool(max_connections=POOL_SIZE, timeout=COMMAND_TIMEOUT_SECONDS, **options))


class Broker:
    """The connection that everything else in this package is given. Safe to share among tasks, not among loops."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.partitions = settings.partitions
        self.redis: Client
        self.blocking: Client
        self._replica_wait = ReplicaWait()
        self._background: set[asyncio.Task[None]] = set()
        if not settings.is_cluster:
            self.redis = _client(settings.url)
            self.blocking = _client(settings.url, blocking=True)
            self.lines = Lines(self.redis, self.run)
            return
        urls = node_urls(settings.url)
        seeds = [Node(str(known.get("host")), int(known.get("port", 6379))) for known in map(parse_url, urls)]
        slots = SlotMap(seeds, lambda node: _client(urls[0], node))
        self.redis = ClusterClient(slots, lambda node: _client(urls[0], node))
        self.blocking = ClusterClient(slots, lambda node: _client(urls[0], node, blocking=True))
        self.lines = Lines(self.redis, self.run)

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
        """End what runs in the background, and give every connection back."""
        background = list(self._background)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self.lines.aclose()
        await self.redis.aclose()
        await self.blocking.aclose()

    @property
    def is_cluster(self) -> bool:
        """Whether keys of different partitions may be on different servers."""
        return isinstance(self.redis, ClusterClient)

    def in_background(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something until it ends or this broker is closed."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

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

    async def check_kind(self) -> None:
        """Refuse a node of a cluster where the URL speaks of one server.

        Raises:
            ClusterNotNamed: so it is.
            BrokerUnavailable: the server cannot be reached.
        """
        with _translated():
            if not self.is_cluster and (await self.redis.info("cluster")).get("cluster_enabled"):
                raise ClusterNotNamed

    async def settle_layout(self) -> None:
        """Fix the number of partitions at first start, and refuse another number ever after.

        Raises:
            PartitionMismatch: the data is laid out differently.
            ClusterNotNamed: the URL speaks of one server, and it is a node of a cluster.
            BrokerUnavailable: the server cannot be reached.
        """
        self.settings.check_socket_folder()
        await self.check_kind()
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

    async def run_on_line(self, call: Call) -> Any:
        """Call a script once, by the line that calls share: with a tenth of the Python that the library's pool takes.

        Raises:
            BrokerUnavailable: the server cannot be reached; the script may or may not have run.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(given: Any) -> None:
            if answer.done():  # whoever asked has gone away
                return
            if isinstance(given, Exception):
                answer.set_exception(given)
            else:
                answer.set_result(given)

        self.lines.send([(call, answered)])
        return await answer

    async def run_all(self, calls: Sequence[Call], *, replicated: bool = False) -> list[Any]:
        """Call many scripts in one round trip. An answer may be an exception: the others have run all the same.

        With `replicated`, wait a moment until one replica has what they wrote, where there is a replica.

        Raises:
            BrokerUnavailable: the connection broke; each may or may not have run.
        """
        # EVALSHA by execute_command, not pipe.evalsha: the latter is not to be had on a cluster's pipeline.
        commands = [("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args) for call in calls]
        answers = await self.send(commands, replicated=replicated)
        # Unknown to the server, a script was not executed: these alone are sent again, as text.
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        texts = [
            ("EVAL", call.script.text, len(call.keys), *call.keys, *call.args)
            for call in (calls[index] for index in unknown)
        ]
        again = await self.send(texts, replicated=replicated)
        for index, answer in zip(unknown, again, strict=True):
            answers[index] = answer
        return answers

    async def send(self, commands: Sequence[Sequence[Any]], *, replicated: bool = False) -> list[Any]:
        """Send plain commands in one round trip. An answer may be an exception: the others were executed all the same.

        With `replicated`, wait a moment until one replica has what they wrote, where there is a replica.

        Raises:
            BrokerUnavailable: the connection broke; each may or may not have been executed.
        """
        if not commands:
            return []
        asked = [Asked(args, {}) for args in commands]
        wait = self._replica_wait if replicated else None
        with _translated():
            answers = await (
                self.redis.send(asked, wait=wait) if self.is_cluster else send_to_one(self.redis, asked, wait=wait)
            )
        for answer in answers:
            if isinstance(answer, Exception) and is_away(answer):
                raise BrokerUnavailable(type(answer).__name__) from answer
        return list(answers)

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
