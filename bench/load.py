"""The load: some keep-alive connections that send one heartbeat after the other, as fast as they are answered.

A process of its own, on asyncio protocols without any HTTP library, so that it costs the machine as little as it can.
Started by heartbeats.py; reads what to do as JSON from stdin and writes what it measured as JSON to stdout.
"""

import asyncio
import itertools
import json
import secrets
import sys
import time
from array import array
from dataclasses import dataclass, field
from functools import partial
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


@dataclass
class Plan:
    """What to send where, and how long; the token comes by stdin, as a process's arguments are public."""

    port: int
    token: str
    connections: int
    hosts: int
    seconds: float
    most: int
    """Stop after so many answers, whatever the time."""
    bad: float = 0.0
    """This share of the calls carries a token that nobody knows, another one each time."""
    strangers: int = 0
    """So many more connections send nothing but tokens that nobody knows."""
    per_second: float = 0.0
    """Of all connections together; 0: as fast as they are answered."""
    first: int = 0
    """So many beats went before: it goes on with the hosts that come next."""


@dataclass
class Tally:
    """What came back."""

    took: "array[float]" = field(default_factory=lambda: array("d"))
    """Seconds from the first byte out to the last byte in, for each answer."""
    other_answers: dict[str, int] = field(default_factory=dict)
    bad_answers: dict[str, int] = field(default_factory=dict)
    """Status -> count, of the calls whose token nobody knows."""


class Connection(asyncio.Protocol):
    """One agent's connection, for several hosts in turn."""

    def __init__(
        self, plan: Plan, requests: list[bytes], tally: Tally, over: asyncio.Event, *, bad: float, owed: float
    ) -> None:
        self._plan = plan
        self._token = plan.token.encode()
        self._requests = requests
        self._tally = tally
        self._over = over
        self._next = plan.first // plan.connections % len(requests)
        self._bad = bad
        self._owed = owed
        self._is_bad = False
        self._buffer = b""
        self._sent_at = 0.0
        self._due = 0.0
        self._transport: Any = None
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def start(self, seconds: float) -> None:
        """Send the first heartbeat in so many seconds."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        loop.call_at(self._due, self.send)

    def send(self) -> None:
        """Send the next heartbeat."""
        if self._transport.is_closing():
            return
        request = self._requests[self._next]
        self._next = (self._next + 1) % len(self._requests)
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
        status = data[STATUS]
        if status == b"200" and not self._is_bad:
            self._tally.took.append(time.perf_counter() - self._sent_at)
        else:
            answers = self._tally.bad_answers if self._is_bad else self._tally.other_answers
            answers[status.decode()] = answers.get(status.decode(), 0) + 1
        if len(self._tally.took) >= self._plan.most:
            self._over.set()
        if self._over.is_set():
            return
        if self._plan.per_second:
            loop = asyncio.get_running_loop()
            self._due = max(self._due + self._plan.connections / self._plan.per_second, loop.time())
            loop.call_at(self._due, self.send)
        else:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over.is_set():
            self._tally.other_answers["connection lost"] = self._tally.other_answers.get("connection lost", 0) + 1
        self.lost.set_result(exc)

    def close(self) -> None:
        self._transport.close()


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


async def measure(plan: Plan) -> dict[str, Any]:
    """Beat until the time or the count is up."""
    loop = asyncio.get_running_loop()
    tally, over = Tally(), asyncio.Event()
    hosts = [heartbeat(plan, number) for number in range(max(plan.hosts, plan.connections))]
    connections = []
    for number in range(plan.connections + plan.strangers):
        # Not all of them owe a bad call at the same moment: else the server would meet nothing else for a while.
        owed, bad = number / plan.connections, plan.bad if number < plan.connections else 1.0
        its = hosts[number % plan.connections :: plan.connections]
        one = partial(Connection, plan, its, tally, over, bad=bad, owed=owed)
        _, made = await loop.create_connection(one, "127.0.0.1", plan.port)
        connections.append(made)
    begun = time.perf_counter()
    for number, connection in enumerate(connections):
        connection.start(number / plan.per_second if plan.per_second else 0.0)
    try:
        async with asyncio.timeout(plan.seconds):
            await over.wait()
    except TimeoutError:
        over.set()
    lasted = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    await asyncio.gather(*(connection.lost for connection in connections))
    took = sorted(tally.took)
    return {
        "answers": len(took),
        "seconds": lasted,
        "per_second": len(took) / lasted,
        "ms": {name: round(1000 * at(took, share), 3) for name, share in SHARES.items()},
        "other_answers": tally.other_answers,
        "bad_answers": tally.bad_answers,
    }


def at(ordered: list[float], share: float) -> float:
    """The value below which this share lies; 0 of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    json.dump(uvloop.run(measure(plan)), sys.stdout)


if __name__ == "__main__":
    main()
