"""Held heartbeats: how much memory each takes of one API process, and how soon a command wakes it.

    .venv/bin/python bench/held.py
    .venv/bin/python bench/held.py --held 200 --wakes 20 --json

It starts a broker and one `python -m api`, plays the merger, opens so many connections, each with a heartbeat ready to
wait for a minute, and looks at what the API's memory has grown by. Then it submits one request after the other, each
for one of the hosts, and takes the time from the install (by the broker's word) to the answer; beside it, as often,
that of a heartbeat that is not held and finds its command waiting.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import psutil

from bench.heartbeats import api_for, wait_until_answers
from bench.load import at
from bench.stage import machine, told
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.keys import Place
from broker.scripts import Settled
from broker.settings import BrokerSettings
from protocol.names import DEFAULT_TENANT, HostKey

SERVICE: Final = "held"
MOST_BYTES: Final = 16 * 1024
AT_ONCE: Final = 100
"""Connections that are opened at the same time."""


def heartbeat(host: str, token: str, wait: int) -> bytes:
    """A heartbeat as it goes over the wire."""
    body = json.dumps(
        {"ip_address": "10.0.0.1", "hostname": host, "service_name": SERVICE, "status": "active"}
    ).encode()
    prefer = f"Prefer: wait={wait}\r\n" if wait else ""
    head = (
        "POST /api/metrics/heartbeat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"{prefer}Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Agent(asyncio.Protocol):
    """One connection that says one thing, and notes when it is answered."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.sent_at = 0.0
        self.answered: asyncio.Future[tuple[float, bytes]] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.sent_at = time.perf_counter()
        self.transport.write(self.said)

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self.answered.set_result((time.perf_counter(), data))


async def connected(port: int, said: bytes) -> Agent:
    _, made = await asyncio.get_running_loop().create_connection(lambda: Agent(said), "127.0.0.1", port)
    return made


async def install(broker: Broker, store: CommandStore, key: HostKey) -> float:
    """A command for a host, as a merger makes it; gives when it was in the broker."""
    from tests.support.played_host import PlayedHost  # noqa: PLC0415 - the one place that plays a merger step by step

    host = PlayedHost(broker, key)
    host.now = time.time()
    await host.submit()
    place: Place = host.at
    loaded = (await store.load_all([place]))[place]
    await store.settle_all([Settled(place, key, loaded, host.decide(loaded))], now=time.time())
    return time.perf_counter()


def of_times(seconds: Sequence[float]) -> dict[str, float]:
    """The usual shares, in ms."""
    ordered = sorted(seconds)
    return {name: round(1000 * at(ordered, share), 3) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


async def measure(
    given: argparse.Namespace, api: psutil.Process, port: int, settings: BrokerSettings
) -> dict[str, Any]:
    token: str = json.loads((settings.state_dir / "tokens.json").read_text())["agent"]
    names = [f"held-{number:06}" for number in range(given.held)]
    for _ in range(50):  # what the first calls of all leave is not the held ones'
        one = await connected(port, heartbeat("warm-up", token, 0))
        await one.answered
        one.transport.close()
    before = api.memory_info().rss
    agents: list[Agent] = []
    for first in range(0, len(names), AT_ONCE):
        some = names[first : first + AT_ONCE]
        agents += await asyncio.gather(*(connected(port, heartbeat(name, token, 60)) for name in some))
    await asyncio.sleep(2)
    early = sum(agent.answered.done() for agent in agents)
    after = api.memory_info().rss
    woken, unheld = [], []
    async with Broker.opened(settings) as broker:
        store = CommandStore(broker)
        step = max(1, len(agents) // given.wakes)
        for number in range(0, min(len(agents), step * given.wakes), step):
            begun = await install(broker, store, HostKey(DEFAULT_TENANT, SERVICE, names[number]))
            answered, said = await asyncio.wait_for(agents[number].answered, 30)
            if b'"command_id":null' in said or b"200 OK" not in said:
                raise SystemExit(f"a held heartbeat was answered without its command: {said!r}")
            woken.append(max(0.0, answered - begun))
            other = f"unheld-{number}"
            await install(broker, store, HostKey(DEFAULT_TENANT, SERVICE, other))
            one = await connected(port, heartbeat(other, token, 0))
            answered, said = await one.answered
            if b'"command_id":null' in said or b"200 OK" not in said:
                raise SystemExit(f"a heartbeat was answered without its command: {said!r}")
            unheld.append(answered - one.sent_at)
            one.transport.close()
    for agent in agents:
        agent.transport.abort()
    return {
        "held": len(agents), "answered_early": early, "bytes_each": (after - before) / len(agents),
        "wake_ms": of_times(woken), "unheld_ms": of_times(unheld), "wakes": len(woken),
        "ratio": at(sorted(woken), 0.99) / statistics.median(unheld),
    }  # fmt: skip


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The processes, and what was measured of them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as stack:
        api, port, settings = api_for(1, stack)
        wait_until_answers(f"http://127.0.0.1:{port}/readyz")
        measured = asyncio.run(measure(given, api, port, settings))
        return {"machine": machine(settings), **measured}


def table(measured: dict[str, Any]) -> str:
    """For people."""
    lines = [*told(measured["machine"]), f"{measured['held']:,} held, {measured['wakes']:,} of them woken", ""]
    lines.append(f"bytes of the process for each held heartbeat   {measured['bytes_each']:>8,.0f} of {MOST_BYTES:,}")
    lines.append(f"{'ms':20}{'p50':>10}{'p99':>10}{'max':>10}")
    for name, times in (("woken", measured["wake_ms"]), ("not held", measured["unheld_ms"])):
        lines.append(f"{name:20}" + "".join(f"{times[share]:>10.2f}" for share in ("p50", "p99", "max")))
    lines.append(f"the p99 of a wake is {measured['ratio']:.1f} times the p50 of an answer that is not held")
    return "\n".join(lines)


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--wakes", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args(arguments)
    if min(given.held, given.wakes) <= 0:
        parser.error("every number must be positive")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    measured = run(given)
    print(json.dumps(measured, indent=2) if given.json else table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
