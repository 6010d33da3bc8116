"""A Redis Cluster as one client: each command goes to the node of its key, and follows where keys move.

Nothing is repeated that may have been executed. A redirection, and a refusal in the middle of one, say that the command
was not: those alone are sent again. redis-py's own cluster client repeats after a time-out, too, and drops every
connection, with what is under way on it, whenever a node fails.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Self

from redis.commands import AsyncCoreCommands
from redis.event import EventDispatcher
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.replicas import ReplicaWait
from broker.slot_map import Node, SlotMap, slot_of

MOST_ROUNDS: Final = 8
"""How often a command is sent on before its caller hears that the slot is on the move."""
PAUSE_SECONDS: Final = 0.05
KEYLESS: Final = frozenset({"PING", "TIME", "INFO", "CLUSTER INFO", "CLUSTER SLOTS"})
"""What any node can answer."""
KEYS_BEHIND_A_COUNT: Final = frozenset({"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"})
KEYS_BEHIND_STREAMS: Final = frozenset({"XREAD", "XREADGROUP"})


class Asked(NamedTuple):
    """One command with the options that redis-py reads its answer by."""

    args: Sequence[Any]
    options: dict[str, Any]


def key_of(args: Sequence[Any]) -> str | bytes | None:
    """The first key of a command; None when it has none.

    Raises:
        ValueError: the command would have to go to every node.
    """
    name = str(args[0]).upper()
    if name in KEYLESS:
        return None
    if name in KEYS_BEHIND_A_COUNT:
        return str(args[3]) if int(args[2]) else None
    if name in KEYS_BEHIND_STREAMS:
        at = next(i for i, word in enumerate(args) if word in ("STREAMS", b"STREAMS") and i not in (2, 3))
        return str(args[at + 1])
    if len(args) < 2:  # noqa: PLR2004 - the name and a key
        raise ValueError(f"{name} names no key: on a cluster it would have to go to every node")
    return args[1] if isinstance(args[1], (str, bytes)) else str(args[1])


async def send_to_one(client: Any, commands: Iterable[Asked], *, wait: ReplicaWait | None = None) -> list[Any]:
    """Send commands to one server, in one go. An answer may be an exception: the others were executed all the same.

    Raises:
        redis.exceptions.RedisError: the connection broke; each may or may not have been executed.
    """
    last = await wait.command(client) if wait is not None else None
    async with client.pipeline(transaction=False) as pipe:
        for args, options in commands:
            pipe.execute_command(*args, **options)
        if last is not None:
            pipe.execute_command(*last)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
    if wait is not None and last is not None:
        wait.heard(client, answers.pop())
    return answers


class ClusterClient(AsyncCoreCommands):
    """Commands to a cluster, as `redis.asyncio.Redis` has them for one server. Safe to share among tasks."""

    def __init__(self, slots: SlotMap, connect: Callable[[Node], Any]) -> None:
        self.slots = slots
        self.connect = connect
        self._event_dispatcher = EventDispatcher()  # redis-py's commands want one to be there
        self._clients: dict[Node, Any] = {}
        self._is_closed = False

    def client(self, node: Node) -> Any:
        """The client of one node, with its pool.

        Raises:
            redis.exceptions.ConnectionError: this one is closed: what a late caller opens now nobody would close.
        """
        if self._is_closed:
            raise RedisConnectionError("the client is closed")
        if node not in self._clients:
            self._clients[node] = self.connect(node)
        return self._clients[node]

    async def aclose(self) -> None:
        """Give every connection back."""
        self._is_closed = True
        await self.slots.aclose()
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.aclose()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command to the node of its key.

        Raises:
            redis.exceptions.RedisError: as the server, or the way to it, has it.
        """
        await self.slots.settle()
        node = await self._target(args)
        try:
            return await self.client(node).execute_command(*args, **options)
        except (AskError, TryAgainError) as error:  # MovedError is an AskError, too
            if isinstance(error, MovedError):
                self.slots.moved(error.slot_id, Node(error.host or node.host, error.port))
        except asyncio.CancelledError:
            self.slots.doubt(node)  # whoever waited has given up: perhaps the node hangs
            raise
        except (ClusterDownError, RedisConnectionError, RedisTimeoutError, OSError):
            self.slots.doubt(node)
            raise
        answer = (await self.send([Asked(args, options)]))[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pipeline(self, transaction: bool = True) -> "ClusterPipeline":
        """Commands to be sent together: each node gets its own in one go. A transaction has the keys of one slot."""
        return ClusterPipeline(self, transaction=transaction)

    async def nodes_of(self, keys: Iterable[str]) -> dict[Node, list[str]]:
        """The keys (or sharded channels) by the node that owns them.

        Raises:
            redis.exceptions.ConnectionError: no node answers.
            redis.exceptions.ClusterDownError: nobody owns the slot of one of them.
        """
        await self.slots.settle()
        found: dict[Node, list[str]] = {}
        for key in keys:
            found.setdefault(self._owner(key), []).append(key)
        return found

    async def send(self, commands: Sequence[Asked], *, wait: ReplicaWait | None = None) -> list[Any]:
        """Send commands without keys in common. An answer may be an exception: the others were sent all the same.

        With `wait`, each node is waited for until a replica of its own has its part.
        """
        answers: list[Any] = [None] * len(commands)
        asking: dict[int, Node] = {}
        todo = list(range(len(commands)))
        for round_number in range(MOST_ROUNDS):
            if round_number > 1:
                await asyncio.sleep(PAUSE_SECONDS * round_number)
            await self.slots.settle()
            parts: dict[tuple[Node, bool], list[int]] = {}
            for index in todo:
                try:
                    part = (
                        (asking[index], True) if index in asking else (await self._target(commands[index].args), False)
                    )
                except ClusterDownError as error:
                    answers[index] = error
                    continue
                parts.setdefault(part, []).append(index)
            await asyncio.gather(
                *(
                    self._send_part(node, asks, indexes, commands, answers, wait)
                    for (node, asks), indexes in parts.items()
                )
            )
            sent = [index for indexes in parts.values() for index in indexes]
            asking.clear()
            todo = [index for index in sorted(sent) if self._follow(commands[index], index, answers[index], asking)]
            if not todo:
                break
        return answers

    def _follow(self, command: Asked, index: int, answer: Any, asking: dict[int, Node]) -> bool:
        """Whether an answer says to send the command again, and elsewhere: it was not executed."""
        match answer:
            case MovedError():
                self.slots.moved(
                    answer.slot_id, Node(answer.host or self._owner(key_of(command.args) or "").host, answer.port)
                )
            case AskError():
                asking[index] = Node(answer.host, answer.port)
            case TryAgainError():
                pass
            case _:
                return False
        return True

    async def _send_part(
        self,
        node: Node,
        asks: bool,
        indexes: Sequence[int],
        commands: Sequence[Asked],
        answers: list[Any],
        wait: ReplicaWait | None,
    ) -> None:
        part: list[Asked] = []
        for index in indexes:
            if asks:
                part.append(Asked(("ASKING",), {}))  # on the same connection, just before
            part.append(commands[index])
        try:
            given = await send_to_one(self.client(node), part, wait=wait)
        except asyncio.CancelledError:
            self.slots.doubt(node)  # whoever waited has given up: perhaps the node hangs
            raise
        except (RedisError, OSError) as error:
            self.slots.doubt(node)
            for index in indexes:
                answers[index] = error
            return
        for index, answer in zip(indexes, given[1::2] if asks else given, strict=True):
            answers[index] = answer
            if isinstance(answer, (ClusterDownError, RedisConnectionError)):
                self.slots.doubt()

    async def transaction(self, commands: Sequence[Asked]) -> list[Any]:
        """Send commands on keys of one slot as a transaction. A redirection says that none of them was executed."""
        failure: Exception = TryAgainError("the slot is on the move")
        for round_number in range(MOST_ROUNDS):
            if round_number > 1:
                await asyncio.sleep(PAUSE_SECONDS * round_number)
            await self.slots.settle()
            node = await self._target(commands[0].args)
            pipe = self.client(node).pipeline(transaction=True)
            for args, options in commands:
                pipe.execute_command(*args, **options)
            try:
                answers: list[Any] = await pipe.execute()
            except MovedError as error:
                self.slots.moved(error.slot_id, Node(error.host, error.port))
                failure = error
            except (AskError, TryAgainError) as error:
                failure = error  # a transaction cannot follow to where some of its keys are: wait until all of them are
            except (RedisError, OSError):
                self.slots.doubt(node)
                raise
            else:
                return answers
        raise failure

    async def _target(self, args: Sequence[Any]) -> Node:
        key = key_of(args)
        node = self._owner(key) if key is not None else self._any()
        await self.slots.settled_for(node)
        return self._owner(key) if key is not None else self._any()

    def _any(self) -> Node:
        primaries = self.slots.primaries
        if not primaries:
            raise ClusterDownError("CLUSTERDOWN no node owns a slot")
        return random.choice(primaries)  # noqa: S311 - any of them will do

    def _owner(self, key: str | bytes) -> Node:
        node = self.slots.owner(slot_of(key))
        if node is None:
            self.slots.doubt()
            raise ClusterDownError("CLUSTERDOWN nobody owns the slot")
        return node


class ClusterPipeline(AsyncCoreCommands):
    """Commands collected, to be sent together."""

    def __init__(self, client: ClusterClient, *, transaction: bool) -> None:
        self._event_dispatcher = client._event_dispatcher  # noqa: SLF001 - it is the other half of the client
        self._client = client
        self._transaction = transaction
        self._commands: list[Asked] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._commands.clear()

    def __len__(self) -> int:
        return len(self._commands)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Collect one."""
        self._commands.append(Asked(args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send them; the answers in their order.

        Raises:
            redis.exceptions.RedisError: the first failure, with `raise_on_error`, or of the transaction.
        """
        commands, self._commands = self._commands, []
        if not commands:
            return []
        if self._transaction:
            return await self._client.transaction(commands)
        answers = await self._client.send(commands)
        if raise_on_error:
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers
