"""A real Redis Cluster on loopback: three masters, with or without a replica each."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis
from pydantic import SecretStr

from broker.connection import Broker
from broker.embedded import find_server
from broker.settings import BrokerSettings
from broker.slot_map import slot_of
from tests.support.processes import Role, eventually, free_port

SLOTS: Final = 16_384
MASTERS: Final = 3
NODE_TIMEOUT_MS: Final = 1_500
"""A node that is silent for this long is voted off: as short as a busy machine bears. One that is voted off though it
lives takes along what was told it last, which no test is about."""

CONFIG: Final = """\
port {port}
bind 127.0.0.1
dir {home}
cluster-enabled yes
cluster-port {bus}
cluster-config-file nodes.conf
cluster-node-timeout {timeout}
cluster-require-full-coverage {full_coverage}
cluster-replica-validity-factor 0
repl-diskless-sync-delay 0
appendonly yes
appendfsync no
save ""
maxmemory-policy noeviction
stream-node-max-bytes 1024
"""
"""No node waits for the disk, which may be busy for as long as it takes to be voted off: they are killed, and not the
machine."""


@dataclass
class ServerNode:
    """One server of the cluster."""

    port: int
    bus: int
    role: Role

    @property
    def client(self) -> Any:
        return redis.Redis(port=self.port, decode_responses=True, protocol=2, socket_timeout=5)

    def ask(self, *words: Any) -> Any:
        with self.client as client:
            return client.execute_command(*words)


@dataclass(frozen=True)
class RunningCluster:
    """Its nodes, and the settings that lead to it."""

    nodes: list[ServerNode]
    settings: BrokerSettings

    @property
    def serving(self) -> list[ServerNode]:
        """Who is a master just now."""
        return [node for node in self.nodes if node.role.process.poll() is None and node.ask("ROLE")[0] == "master"]

    def owner_of(self, key: str) -> ServerNode:
        """Who has the slot of a key just now."""
        rows = self.serving[0].ask("CLUSTER SLOTS")
        port = next(row[2][1] for row in rows if row[0] <= slot_of(key) <= row[1])
        return next(node for node in self.nodes if node.port == port)

    def replica_of(self, master: ServerNode) -> ServerNode:
        """The replica that follows a master just now."""
        port = int(master.ask("ROLE")[2][0][1])
        return next(node for node in self.nodes if node.port == port)

    def flush(self) -> None:
        for node in self.serving:
            node.ask("FLUSHALL")

    def wait_until_whole(self) -> None:
        """Three masters, each with its replica."""
        eventually(self._is_whole, within=30, what="a cluster that is whole again")

    def _is_whole(self) -> bool:
        # Each is asked once: an old master that comes back is one until it hears of its successor.
        told = [(node, node.ask("ROLE")) for node in self.nodes if node.role.process.poll() is None]
        serving = [(node, role) for node, role in told if role[0] == "master"]
        return len(serving) == MASTERS and all(
            _is_ok(node) and len(role[2]) == len(self.nodes) // MASTERS - 1 for node, role in serving
        )


@contextlib.contextmanager
def redis_cluster(home: Path, *, replicas: bool = False, full_coverage: str = "no") -> Iterator[RunningCluster]:
    """A cluster that answers, until the end of the block."""
    nodes = [_start(home / str(number), full_coverage) for number in range(MASTERS * (2 if replicas else 1))]
    try:
        masters, others = nodes[:MASTERS], nodes[MASTERS:]
        for node in nodes:
            eventually(lambda node=node: answers(node), what="a node's first answer", of=node.role)  # type: ignore[misc]  # bound now
        bounds = [SLOTS * number // MASTERS for number in range(MASTERS + 1)]
        for number, node in enumerate(masters):
            node.ask("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, nodes[0].bus)
        eventually(lambda: all(len(_known(node)) == len(nodes) for node in nodes), what="everybody's acquaintance")
        for master, replica in zip(masters, others, strict=False):
            replica.ask("CLUSTER", "REPLICATE", master.ask("CLUSTER", "MYID"))
        eventually(lambda: all(_is_ok(node) for node in nodes), what="a cluster that is up")
        seeds = ",".join(f"127.0.0.1:{node.port}" for node in masters)
        cluster = RunningCluster(nodes, BrokerSettings(redis_url=SecretStr(f"redis+cluster://{seeds}")))
        cluster.wait_until_whole()
        yield cluster
    finally:
        for node in nodes:
            node.role.resume()
            node.role.kill()


def _start(home: Path, full_coverage: str) -> ServerNode:
    home.mkdir(parents=True)
    port, bus = free_port(), free_port()
    config = home / "redis.conf"
    config.write_text(
        CONFIG.format(port=port, bus=bus, home=home, timeout=NODE_TIMEOUT_MS, full_coverage=full_coverage)
    )
    return ServerNode(port, bus, Role(f"node {port}", [str(find_server()), str(config)], env={}, log=home / "log"))


def answers(node: ServerNode) -> bool:
    """Whether it can be asked."""
    with contextlib.suppress(redis.exceptions.ConnectionError):
        return bool(node.ask("PING"))
    return False


def _known(node: ServerNode) -> list[str]:
    lines: list[str] = node.ask("CLUSTER", "NODES").splitlines()
    return [line for line in lines if "handshake" not in line]


def _is_ok(node: ServerNode) -> bool:
    return bool(node.ask("CLUSTER INFO")["cluster_state"] == "ok")


@contextlib.asynccontextmanager
async def emptied_cluster(cluster: RunningCluster) -> AsyncIterator[Broker]:
    """A connection to a cluster with nothing in it, laid out as we do it."""
    cluster.flush()
    async with Broker.opened(cluster.settings) as broker:
        await broker.settle_layout()
        yield broker
