"""Memory of the broker per idle host and per pending host, and which kind of key takes it.

    .venv/bin/python bench/memory.py

It starts a broker of its own, lets some hosts beat once, and then submits one request for all of them, which a real
`python -m workers merger projector` compacts and projects. What the server uses more than before, shared by the hosts,
is what one host takes: its keys, its part of the partition's streams and sets, and of the server's own tables.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import redis

from bench.stage import PATIENCE_SECONDS, machine, own_broker, process, told
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.host_registry import facts_of
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from broker.scripts import Beat
from broker.settings import BrokerSettings
from protocol.heartbeats import Heartbeat
from protocol.names import DEFAULT_TENANT, HostKey
from protocol.requests import ProfileRequest

SERVICE: Final = "checkout"
IDLE_TARGET: Final = 1024
PENDING_TARGET: Final = 2048
RECORD: Final = ("results", "events", "hosts", "request", "owner", "submitted")
"""Kinds of keys that are no host's state but what was told of it: they go with time, however long the host stays."""
KIND: Final = re.compile(r"pcs:\{(?:[^}]*)\}:?([a-z_]*)")
SAMPLED: Final = 200
"""Keys of a kind that are looked at; the streams and sets of partitions are all looked at, whole."""


def heartbeat_of(number: int) -> Heartbeat:
    """What `gprofiler` says at its first beat, with what it can do."""
    return Heartbeat(
        ip_address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", hostname=f"checkout-{number:06}.eu-west-1",
        service_name=SERVICE, status="idle", timestamp="2026-01-08T11:00:00Z", agent_version="0.1.0",
        run_mode="heartbeat",
        capabilities={
            "profilers": {
                "perf": {"available": True, "detail": "perf version 6.1.90"},
                "py-spy": {"available": True, "detail": "py-spy 0.4.1"},
            },
            "profiling_modes": ["cpu"],
        },
    )  # fmt: skip


async def let_beat(broker: Broker, hosts: Sequence[HostKey], first: int = 0) -> None:
    """One heartbeat of each host."""
    store = CommandStore(broker)
    for start in range(0, len(hosts), 200):
        some = enumerate(hosts[start : start + 200], start + first)
        beats = [Beat(host, facts=facts_of(heartbeat_of(number), interval=30)) for number, host in some]
        await asyncio.gather(*(store.exchange(one, now=time.time()) for one in beats))


async def submit(broker: Broker, hosts: Sequence[HostKey]) -> str:
    """One request for all of them, stored and appended as the API does it; gives its id."""
    asked = ProfileRequest(service_name=SERVICE, target_hostnames=[host.host for host in hosts])
    store = RequestStore(broker)
    ticket = await store.ticket(
        tenant=DEFAULT_TENANT, token_id="bench", idempotency_key=None, body_digest="", now=time.time()
    )
    record = RequestRecord(
        ticket.request_id, ticket.command_id, DEFAULT_TENANT, "bench", ticket.accepted_at, asked, asked.targets()
    )
    await store.put(record)
    await RequestLog(broker).append(record.wishes())
    return record.request_id


async def wait_until_pending(broker: Broker, request_id: str, hosts: int) -> None:
    """Until every host's command is pending, and the projection says so."""
    end = time.monotonic() + PATIENCE_SECONDS + hosts / 200
    while time.monotonic() < end:
        states = Counter(status["state"] for status in (await RequestStore(broker).statuses(request_id)).values())
        if states == {"pending": hosts}:
            return
        await asyncio.sleep(0.5)
    raise SystemExit(f"not every command became pending: {dict(states)}")


def configure(settings: BrokerSettings, given: Sequence[str]) -> None:
    """Try the server with other settings than ours."""
    with redis.Redis.from_url(settings.url) as client:
        for pair in given:
            name, _, value = pair.partition("=")
            client.config_set(name, value)


class Taken(NamedTuple):
    """Bytes that the server uses, and those that each kind of key accounts for."""

    total: int
    keys: int
    kinds: dict[str, float]


def taken(settings: BrokerSettings) -> Taken:
    """What the server uses for data: its clients' buffers and the append-only file's are not counted."""
    with redis.Redis.from_url(settings.url) as client:
        facts: dict[str, int] = client.info("memory")
        names: dict[str, list[bytes]] = {}
        for key in client.scan_iter(count=1000):
            found = KIND.match(key.decode())
            names.setdefault(found[1] if found else "other", []).append(key)
        kinds = {}
        for kind, keys in names.items():
            sample = sorted(keys)[:: max(1, len(keys) // SAMPLED)]
            with client.pipeline(transaction=False) as pipe:
                for key in sample:
                    pipe.memory_usage(key, samples=0)
                sizes = [size for size in pipe.execute() if size is not None]
            kinds[kind] = sum(sizes) / max(1, len(sizes)) * len(keys)
    total = facts["used_memory"] - facts["mem_clients_normal"] - facts["mem_aof_buffer"]
    return Taken(total, sum(len(keys) for keys in names.values()), kinds)


async def run(given: argparse.Namespace) -> dict[str, Any]:
    """Idle, then pending, on one server."""
    hosts = [HostKey(DEFAULT_TENANT, SERVICE, heartbeat_of(number).hostname) for number in range(given.hosts)]
    few = [HostKey(DEFAULT_TENANT, SERVICE, f"warm-up-{number}") for number in range(100)]
    # How the data reaches the disk is no matter of memory; the quicker way keeps the run short.
    with own_broker(fsync="everysec") as settings:
        configure(settings, given.set)
        async with Broker.opened(settings) as broker:
            await broker.settle_layout()
            workers = process("-m", "workers", "merger", "recoverer", "projector", state_dir=settings.state_dir)
            with workers:
                # What is there once, for all hosts: scripts, streams, groups, consumers.
                await let_beat(broker, few)
                await wait_until_pending(broker, await submit(broker, few), len(few))
                before = taken(settings)
                await let_beat(broker, hosts)
                idle = taken(settings)
                await wait_until_pending(broker, await submit(broker, hosts), len(hosts))
                pending = taken(settings)
        measured = {"idle": shared(before, idle, len(hosts)), "pending": shared(before, pending, len(hosts))}
        return {"machine": machine(settings), "hosts": given.hosts, **measured}


def shared(before: Taken, after: Taken, hosts: int) -> dict[str, Any]:
    """What one host takes: in all, and by kind of key; "tables" is what no key accounts for."""
    each = {kind: round((size - before.kinds.get(kind, 0)) / hosts, 1) for kind, size in after.kinds.items()}
    each = {kind: size for kind, size in sorted(each.items(), key=lambda item: -item[1]) if size >= 0.5}
    total = (after.total - before.total) / hosts
    return {
        "bytes_per_host": round(total, 1),
        "without_record": round(total - sum(each.get(kind, 0) for kind in RECORD), 1),
        "by_kind": each | {"tables": round(total - sum(each.values()), 1)},
        "keys_per_host": round((after.keys - before.keys) / hosts, 2),
    }


def table(measured: dict[str, Any]) -> str:
    """For people."""
    lines = [*told(measured["machine"]), f"{measured['hosts']:,} hosts", ""]
    lines.append(f"{'bytes per host':20}{'idle':>10}{'pending':>10}")
    idle, pending = measured["idle"], measured["pending"]
    for kind in pending["by_kind"]:
        sizes = "".join(f"{state['by_kind'].get(kind, 0):>10,.0f}" for state in (idle, pending))
        lines.append(f"{kind:20}{sizes}")
    lines.append(f"{'in all':20}{idle['bytes_per_host']:>10,.0f}{pending['bytes_per_host']:>10,.0f}")
    lines.append(f"{'without the record':20}{idle['without_record']:>10,.0f}{pending['without_record']:>10,.0f}")
    lines.append(f"{'target, at most':20}{IDLE_TARGET:>10,}{PENDING_TARGET:>10,}")
    return "\n".join(lines)


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server to try"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args(arguments)
    if given.hosts <= 0:
        parser.error("the number of hosts must be positive")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    measured = asyncio.run(run(given))
    print(json.dumps(measured, indent=2) if given.json else table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
