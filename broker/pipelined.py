"""Calls of many askers over one connection: those that come together go out together, and come back in order.

redis-py takes a connection from its pool for each command, or each pipeline, and has some 60 µs of Python for every
answer; a process that answers thousands of heartbeats in a second has not so much for the whole of one. It still makes
and greets the connection (TLS, password, database) here.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import hiredis
import structlog
from redis.exceptions import RedisError, ResponseError

from broker.calls import COMMAND_TIMEOUT_SECONDS, REFUSES, Call, is_away
from broker.cluster import ClusterClient
from broker.errors import BrokerUnavailable
from broker.slot_map import Node, slot_of

log = structlog.get_logger(__name__)

Answered: TypeAlias = Callable[[Any], None]
"""Takes the answer to a call, or the exception in its place. Never raises, and is called once."""
CHUNK_BYTES: Final = 256 * 1024
NOT_EXECUTED: Final = ("NOSCRIPT", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN")
"""How a server begins its answer when it has not run the script, and another, or the text of the script, would do."""


class Line:
    """One connection to one server, made when there is something to send, and again after it broke."""

    def __init__(self, client: Any, broke: Callable[[], None] = lambda: None) -> None:
        """`client` is a client of redis-py; `broke` hears that the connection could not be made, or broke."""
        self._client = client
        self._broke = broke
        self._unsent: list[tuple[Call, Answered]] = []
        self._under_way: deque[Answered] = deque()
        self._writer: asyncio.StreamWriter | None = None
        self._worker: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._is_too_slow = False

    def send(self, calls: Iterable[tuple[Call, Answered]]) -> None:
        """Send calls; each is answered in time, with `BrokerUnavailable` where the connection is lost or too slow."""
        self._unsent += calls
        if self._writer is not None:
            self._flush(self._writer)
        elif self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="line")

    async def aclose(self) -> None:
        """End it; who still waits hears that the broker is away."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def _flush(self, writer: asyncio.StreamWriter) -> None:
        packed = []
        for (script, keys, args), answered in self._unsent:
            packed.append(hiredis.pack_command(("EVALSHA", script.sha, len(keys), *keys, *args)))  # type: ignore[arg-type]  # numbers are taken, too
            self._under_way.append(answered)
        self._unsent.clear()
        writer.write(b"".join(packed))
        if self._patience is None:
            self._be_patient()

    async def _work(self) -> None:
        reason = "closed"
        connection = self._client.connection_pool.make_connection()
        try:
            await connection.connect()
            self._writer = connection._writer  # noqa: SLF001 - what it read or wrote itself is over: it has only greeted
            self._flush(connection._writer)  # noqa: SLF001
            await self._read(connection._reader)  # noqa: SLF001
            reason = "ConnectionError"
        except (RedisError, OSError) as error:
            reason = type(error).__name__
        except Exception as error:
            log.exception("line broken")  # an answer that cannot be read, say: those behind it would be shifted
            reason = type(error).__name__
        finally:
            self._end("TimeoutError" if self._is_too_slow else reason)
            await connection.disconnect(nowait=True)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Hand out answers until the server closes the connection."""
        answers = hiredis.Reader(encoding="utf-8", replyError=ResponseError)
        while data := await reader.read(CHUNK_BYTES):
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
            answers.feed(data)
            while (answer := answers.gets()) is not False:
                self._under_way.popleft()(answer)
            if self._under_way and self._patience is None:
                self._be_patient()

    def _be_patient(self) -> None:
        self._patience = asyncio.get_running_loop().call_later(COMMAND_TIMEOUT_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """Nothing has come for too long: what was sent may or may not have run."""
        self._patience = None
        self._is_too_slow = True
        if self._writer is not None:
            self._writer.transport.abort()

    def _end(self, reason: str) -> None:
        waiting = [*self._under_way, *(answered for _, answered in self._unsent)]
        self._under_way.clear()
        self._unsent.clear()
        self._writer = self._worker = None
        self._is_too_slow = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._broke()
        for answered in waiting:
            answered(BrokerUnavailable(reason))


class Lines:
    """A line to the server, or one to each node of a cluster."""

    def __init__(self, redis: Any, run: Callable[[Call], Any]) -> None:
        """`run` is the way for a call that needs more than a line: a script's text, or to be sent on."""
        self._redis = redis
        self._run = run
        self._slots = redis.slots if isinstance(redis, ClusterClient) else None
        self._lines: dict[Node | None, Line] = {}
        self._sent_on: set[asyncio.Task[None]] = set()

    def send(self, calls: Sequence[tuple[Call, Answered]]) -> None:
        """Send script calls, each with keys of one slot; an answer may be an exception.

        Not executed, a call is sent on by the long way: a script unknown to the server as text, a moved slot's to where
        that is.
        """
        by_node: dict[Node | None, list[tuple[Call, Answered]]] = {}
        for call, answered in calls:
            node = self._node_of(call)
            if node is None and self._slots is not None:
                self._send_on(call, answered)
            else:
                by_node.setdefault(node, []).append((call, self._watched(call, answered)))
        for node, its in by_node.items():
            self._line(node).send(its)

    async def aclose(self) -> None:
        """End every line."""
        for task in list(self._sent_on):
            task.cancel()
        await asyncio.gather(*self._sent_on, *(line.aclose() for line in self._lines.values()), return_exceptions=True)

    def _node_of(self, call: Call) -> Node | None:
        return self._slots.sound_owner(slot_of(call.keys[0])) if self._slots is not None else None

    def _line(self, node: Node | None) -> Line:
        line = self._lines.get(node)
        if line is None:
            slots = self._slots
            if node is None or slots is None:
                line = Line(self._redis)
            else:
                line = Line(self._redis.client(node), lambda: slots.doubt(node))
            self._lines[node] = line
        return line

    def _watched(self, call: Call, answered: Answered) -> Answered:
        def heard(answer: Any) -> None:
            if isinstance(answer, ResponseError):
                if str(answer).startswith(NOT_EXECUTED):
                    self._send_on(call, answered)
                    return
                if is_away(answer) or str(answer).startswith(REFUSES):
                    answer = BrokerUnavailable(str(answer).partition(" ")[0])
            answered(answer)

        return heard

    def _send_on(self, call: Call, answered: Answered) -> None:
        task = asyncio.create_task(self._sent(call, answered), name="sent on")
        self._sent_on.add(task)
        task.add_done_callback(self._sent_on.discard)

    async def _sent(self, call: Call, answered: Answered) -> None:
        answer: Any = BrokerUnavailable("closed")
        try:
            answer = await self._run(call)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the asker's
            answer = error
        finally:
            answered(answer)
