"""`python -m broker.check_deployment`: finds out whether the deployment behind `PCS_REDIS_URL` fits, and says so.

It writes scratch keys only, and takes them away again. Exit codes: 0 it fits · 1 it does not · 2 the settings cannot be
used · 3 it cannot be reached.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from uuid import uuid4

import structlog
from redis.exceptions import RedisError, ResponseError

from broker import keys
from broker.connection import Broker, Client
from broker.errors import BrokerError, BrokerUnavailable
from broker.fitness import ALL_SLOTS, Facts, NodeFacts, Row, Verdict, fits, judge
from broker.settings import BrokerSettings, is_cluster_url
from broker.slot_map import slot_of
from broker.trials import Trials


async def found_out(broker: Broker, *, has_queue_of_its_own: bool) -> Facts:
    """Look at every server that takes writes.

    Raises:
        BrokerUnavailable: none of them can be reached.
        ClusterNotNamed: the URL speaks of one server, and it is a node of a cluster.
    """
    await broker.ping()
    await broker.check_kind()
    async with broker.guarded() as redis:
        slots, servers = _primaries(broker, redis)
    nodes: list[NodeFacts] = []
    silent: list[str] = []
    is_ok = True
    for address, server, partitions in servers:
        try:
            async with broker.guarded() as redis:
                nodes.append(await _look_at(redis, broker, address, server, partitions))
                if broker.is_cluster:
                    is_ok &= (await server.execute_command("CLUSTER INFO"))["cluster_state"] == "ok"
        except BrokerUnavailable:
            silent.append(address)
    if not nodes:
        raise BrokerUnavailable("no primary answers")
    return Facts(
        is_cluster=broker.is_cluster, nodes=nodes, silent=silent, slots_covered=slots, is_ok=is_ok,
        partitions_set=broker.partitions, partitions_stored=await _stored(broker),
        has_queue_of_its_own=has_queue_of_its_own,
    )  # fmt: skip


async def _stored(broker: Broker) -> int | None:
    try:
        async with broker.guarded() as redis:
            stored = await redis.hget(keys.layout(), "partitions")
    except BrokerUnavailable:
        return None  # its node is among those that do not answer
    return int(stored) if stored else None


def _primaries(broker: Broker, redis: Client) -> tuple[int, list[tuple[str, Client, int]]]:
    """How many slots have an owner; who takes writes, each with its client and its number of partitions."""
    if not broker.is_cluster:
        return ALL_SLOTS, [(_address(redis), redis, broker.partitions)]
    owners = Counter(redis.slots.owner(slot_of(keys.doorbell(number))) for number in range(broker.partitions))
    covered = sum(redis.slots.owner(slot) is not None for slot in range(ALL_SLOTS))
    return covered, [(f"{node.host}:{node.port}", redis.client(node), owners[node]) for node in redis.slots.primaries]


def _address(client: Client) -> str:
    known = client.connection_pool.connection_kwargs
    return "our socket" if "path" in known else f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"


async def _look_at(redis: Client, broker: Broker, address: str, server: Client, partitions: int) -> NodeFacts:
    before = time.time()
    seconds, microseconds = await server.time()
    skew = seconds + microseconds / 1e6 - (before + time.time()) / 2
    memory, persistence = await server.info("memory"), await server.info("persistence")
    replication = await server.info("replication")
    tag = await _tag_at(broker, address)
    latency, missing = await Trials(redis, server, tag).all()
    return NodeFacts(
        address=address, skew_s=skew, maxmemory_policy=memory["maxmemory_policy"],
        keeps_a_log=bool(persistence["aof_enabled"]), fsync=await _setting(server, "appendfsync"),
        replicas=int(replication["connected_slaves"]),
        needs_full_coverage=await _setting(server, "cluster-require-full-coverage"), missing=missing,
        latency_ms=latency, partitions=partitions,
    )  # fmt: skip


async def _setting(server: Client, name: str) -> str | None:
    try:
        found: Mapping[str, str] = await server.config_get(name)
    except ResponseError:
        return None  # managed services have no CONFIG
    return found.get(name)


async def _tag_at(broker: Broker, address: str) -> str:
    """A hash tag whose slot is at this node."""
    while True:
        tag = uuid4().hex[:12]
        if not broker.is_cluster:
            return tag
        owner = broker.redis.slots.owner(slot_of(keys.scratch(tag, "")))
        if owner is not None and f"{owner.host}:{owner.port}" == address:
            return tag


def _shown(rows: list[Row]) -> str:
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row.verdict:<8} {row.name.ljust(width)}  {row.found}")
        if row.advice:
            lines.append(f"{' ' * (width + 11)}{row.advice}")
    return "\n".join(lines)


async def _check(settings: BrokerSettings) -> list[Row]:
    queue = os.environ.get("PCS_RQ_URL", "")
    async with Broker.opened(settings) as broker:
        return judge(await found_out(broker, has_queue_of_its_own=bool(queue) and not is_cluster_url(queue)))


def main() -> None:
    """Check, print, and end with the exit code that says what came of it."""
    parser = argparse.ArgumentParser(prog="python -m broker.check_deployment", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="for programs: {fits, rows: [{name, verdict, found, advice}]}"
    )
    as_json = parser.parse_args().json
    # The rows say it all, and stdout is theirs.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    code = 3
    try:
        rows = asyncio.run(_check(BrokerSettings()))
        code = 0 if fits(rows) else 1
    except (BrokerUnavailable, RedisError) as error:
        reason = error.reason if isinstance(error, BrokerUnavailable) else type(error).__name__
        advice = "is it running, does the URL name it, do user, password and TLS fit?"
        rows = [Row("reachable", Verdict.FAILED, f"it does not answer: {reason}", advice)]
    except (BrokerError, ValueError) as error:
        sys.exit(_refused(error))
    if as_json:
        print(json.dumps({"fits": code == 0, "rows": [row.as_dict() for row in rows]}))  # noqa: T201 - it is its answer
    else:
        print(_shown(rows))  # noqa: T201
    sys.exit(code)


def _refused(error: Exception) -> int:
    # A ValueError may quote the URL, and with it a password.
    text = str(error) if isinstance(error, BrokerError) else "PCS_REDIS_URL or PCS_PARTITIONS cannot be read"
    print(f"broker: {text}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    main()
