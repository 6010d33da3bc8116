"""The load: some keep-alive connections that send one heartbeat after the other, as fast as they are answered.

A process of its own, on asyncio protocols without any HTTP library, so that it costs the machine as little as it can.
Started by heartbeats.py; it reads its plan from the first line of stdin and a turn from each further one, as JSON, and
writes what it measured in each turn as a line of JSON to stdout. Connections last from one turn to the next, unless
they had nothing to do for so long that the server may close them.
"""

import asyncio
import itertools
import json
import secrets
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop

END_OF_HEAD: Final = b"\r\n\r\n"
LENGTH: Final = b"\r\ncontent-length: "
"""As uvicorn's applications write it."""
STATUS: Final = slice(len(b"HTTP/1.1 "), len(b"HTTP/1.1 200"))
BAD: Final = itertools.count(secrets.randbits(159))
"""Tokens that nobody knows: to draw each anew would take longer than what else it takes to send one."""
SERVICE: Final = "bench"
"""Of which every host is."""
LAST_ANSWERS_WITHIN_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 2.0
"""A connection that has rested for so long is made anew: servers close them, after five seconds say."""


@dataclass
class Plan:
    """What to send where; the token comes by stdin, as a process's arguments are public."""

    port: int
    token: str
    connections: int
    hosts: int
    strangers: int = 0
    """So many more connections have nothing but tokens that nobody knows."""
    per_second: float = 0.0
    """Of all connections together; 0: as fast as they are answered."""


@dataclass
class Turn:
    """How long to send what, and what came back."""

    seconds: float
    most: int
    """It ends after so many answers, whatever the time."""
    bad: float = 0.0
    """This share of the calls carries a token that nobody knows, another one each time."""
    with_strangers: bool = False
    """Whether those that have no other tokens send, too."""
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    took: "array[float]" = field(default_factory=lambda: array("d"))
    """Seconds from the first byte out to the last byte in, for each answer."""
    other_answers: dict[str, int] = field(default_factory=dict)
    bad_answers: dict[str, int] = field(default_factory=dict)
    """Status -> count, of the calls whose token nobody knows."""


class Connection(asyncio.Protocol):
    """One agent's connection, for several hosts in turn; or a stranger's."""

    def __init__(self, plan: Plan, requests: list[bytes], *, is_stranger: bool = False, owed: float = 0.0) -> None:
        self._plan = plan
        self._token = plan.token.encode()
        self._requests = itertools.cycle(requests)
        self._is_stranger = is_stranger
        self._owed = owed
        self._turn: Turn | None = None
        self._bad = 0.0
        self._is_bad = False
        self._buffer = b""
        self._sent_at = 0.0
        self._due = 0.0
        self._transport: Any = None
        self._rests_since = -IDLE_SECONDS
        self.rests = asyncio.Event()
        self.rests.set()
        self.lost = asyncio.Event()

    async def connect(self) -> None:
        """Be connected, on a new connection if need be."""
        loop = asyncio.get_running_loop()
        if self.rests.is_set() and loop.time() - self._rests_since >= IDLE_SECONDS:
            await self.close()
            await loop.create_connection(lambda: self, "127.0.0.1", self._plan.port)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._transport is not None:
            self._transport.close()
            await self.lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.lost.clear()

    def take(self, turn: Turn, *, after: float = 0.0) -> None:
        """Send one call after the other from here on, unless it is a stranger's turn to rest; the first so soon (s)."""
        self._turn = turn
        self._bad = 1.0 if self._is_stranger else turn.bad
        if self._is_stranger and not turn.with_strangers:
            return
        if self.rests.is_set():
            self.rests.clear()
            loop = asyncio.get_running_loop()
            self._due = loop.time() + after
            loop.call_at(self._due, self.send)

    def send(self) -> None:
        """Send the next heartbeat."""
        if self._transport.is_closing():
            return
        request = next(self._requests)
        self._owed += self._bad
        self._is_bad = self._owed >= 1.0
        if self._is_bad:
            self._owed -= 1.0
            request = request.replace(self._token, b"pcs_%040x" % next(BAD))
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head = data.find(END_OF_HEAD)
        at = data.index(LENGTH, 0, head + 2) + len(LENGTH) if head >= 0 else 0
        if head < 0 or len(data) < head + len(END_OF_HEAD) + int(data[at : data.index(b"\r", at)]):
            self._buffer = data
            return
        self._buffer = b""
        turn = self._turn
        assert turn is not None
        if turn.is_over.is_set():
            self._rest()
            return
        status = data[STATUS]
        if status == b"200" and not self._is_bad:
            turn.took.append(time.perf_counter() - self._sent_at)
            if len(turn.took) >= turn.most:
                turn.is_over.set()
        else:
            answers = turn.bad_answers if self._is_bad else turn.other_answers
            answers[status.decode()] = answers.get(status.decode(), 0) + 1
        if turn.is_over.is_set() or (self._is_stranger and not turn.with_strangers):
            self._rest()
        elif self._plan.per_second:
            loop = asyncio.get_running_loop()
            self._due = max(self._due + self._plan.connections / self._plan.per_second, loop.time())
            loop.call_at(self._due, self.send)
        else:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio has it
        if self._turn is not None and not self._turn.is_over.is_set():
            others = self._turn.other_answers
            others["connection lost"] = others.get("connection lost", 0) + 1
        self.rests.set()
        self.lost.set()

    def _rest(self) -> None:
        self._rests_since = asyncio.get_running_loop().time()
        self.rests.set()


def words_of(number: int) -> dict[str, str]:
    """What the host of a number says of itself, in the words of the source text."""
    return {
        "ip_address": f"10.0.{number // 256 % 256}.{number % 256}", "hostname": f"bench-{number:06}",
        "service_name": SERVICE, "last_command_id": "2b0d7d2e-8f0e-4d3c-a1e5-0d2f9c7b6a54", "status": "active",
        "timestamp": "2025-01-08T11:00:00Z",
    }  # fmt: skip


def heartbeat(plan: Plan, number: int) -> bytes:
    """One heartbeat as it goes over the wire."""
    body = json.dumps(words_of(number)).encode()
    head = (
        "POST /api/metrics/heartbeat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {plan.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def connections_of(plan: Plan) -> Iterator[Connection]:
    """All connections, the strangers' last; not connected yet."""
    hosts = [heartbeat(plan, number) for number in range(max(plan.hosts, plan.connections))]
    for number in range(plan.connections):
        # Not all of them owe a bad call at the same moment: else the server would meet nothing else for a while.
        yield Connection(plan, hosts[number :: plan.connections], owed=number / plan.connections)
    for number in range(plan.strangers):
        yield Connection(plan, hosts[number % plan.connections :: plan.connections], is_stranger=True)


async def measure(plan: Plan, connections: list[Connection], turn: Turn) -> dict[str, Any]:
    """Beat until the time or the count is up, and wait for the last answers; a stranger's may come in the next turn."""
    for connection in connections:
        await connection.connect()
    before = time.perf_counter()
    for number, connection in enumerate(connections):
        connection.take(turn, after=number / plan.per_second if plan.per_second else 0.0)
    try:
        async with asyncio.timeout(turn.seconds):
            await turn.is_over.wait()
    except TimeoutError:
        turn.is_over.set()
    lasted = time.perf_counter() - before
    if not plan.per_second:
        async with asyncio.timeout(LAST_ANSWERS_WITHIN_SECONDS):
            for connection in connections[: plan.connections]:
                await connection.rests.wait()
    took = sorted(turn.took)
    return {
        "answers": len(took),
        "seconds": lasted,
        "per_second": len(took) / lasted,
        "ms": {name: round(1000 * at(took, share), 3) for name, share in SHARES.items()},
        "other_answers": turn.other_answers,
        "bad_answers": turn.bad_answers,
    }


async def run() -> None:
    """All turns, as they are told."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    connections = list(connections_of(plan))
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await measure(plan, connections, Turn(**json.loads(line)))), flush=True)
    for connection in connections:
        await connection.close()


def at(ordered: list[float], share: float) -> float:
    """The value below which this share lies; 0 of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def main() -> None:
    uvloop.run(run())


if __name__ == "__main__":
    main()
