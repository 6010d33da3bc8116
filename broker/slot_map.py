"""Which node of a Redis Cluster has which slot, by the word of the node that knows of the latest election."""

import asyncio
import binascii
import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

SLOTS: Final = 16_384
ASKED_FOR_SECONDS: Final = 1.0
"""How long a node may take to tell its view: one that hangs must not hold up who follows a failover."""
NOT_AGAIN_FOR_SECONDS: Final = 0.25
MOST_ASKED: Final = 6


class Node(NamedTuple):
    """A server of the cluster, where clients reach it."""

    host: str
    port: int


class View(NamedTuple):
    """The cluster as one node sees it. A view of a later epoch knows of elections that an earlier one does not."""

    is_ok: bool
    epoch: int
    owners: Mapping[int, Node]
    replicas: Mapping[Node, tuple[Node, ...]]


def slot_of(key: str | bytes) -> int:
    """The slot of a key: of what stands in its first braces, if anything does."""
    raw = key.encode() if isinstance(key, str) else bytes(key)
    start = raw.find(b"{")
    if start >= 0:
        end = raw.find(b"}", start + 1)
        if end > start + 1:
            raw = raw[start + 1 : end]
    return binascii.crc_hqx(raw, 0) % SLOTS


class SlotMap:
    """The slots and their owners, as far as is known. Learns by asking, and from redirections."""

    def __init__(self, seeds: Sequence[Node], connect: Callable[[Node], Any]) -> None:
        self._seeds = list(seeds)
        self._connect = connect
        self._owners: dict[int, Node] = {}
        self._replicas: dict[Node, tuple[Node, ...]] = {}
        self._is_stale = True
        self._asked_at = -math.inf
        self._asking = asyncio.Lock()
        self._failure: RedisConnectionError | None = None
        self._looking: asyncio.Task[None] | None = None
        self._suspects: set[Node] = set()
        self._asked: list[Any] = []
        """The clients that nodes are being asked by."""
        self._is_closed = False

    @property
    def primaries(self) -> list[Node]:
        """Every node that owns a slot."""
        return sorted(set(self._owners.values()))

    @property
    def replicas(self) -> Mapping[Node, tuple[Node, ...]]:
        """The replicas of each primary that are up, by the cluster's word."""
        return self._replicas

    def owner(self, slot: int) -> Node | None:
        """Who has a slot; None when nobody is known to."""
        return self._owners.get(slot)

    def sound_owner(self, slot: int) -> Node | None:
        """Who has a slot and gives no reason for doubt; None where it is better to ask first."""
        owner = self._owners.get(slot)
        return None if owner in self._suspects else owner

    def doubt(self, node: Node | None = None) -> None:
        """Something, a node perhaps, did not answer as it should: ask the cluster at the next call."""
        self._is_stale = True
        if node is not None:
            self._suspects.add(node)

    async def settled_for(self, node: Node) -> None:
        """Wait while the cluster is asked about a node that did not answer: its slots may be elsewhere by now."""
        if node in self._suspects and self._looking is not None and not self._looking.done():
            await asyncio.shield(self._looking)

    def moved(self, slot: int, node: Node) -> None:
        """A node said where a slot is now. Where one has moved, more may have."""
        self._owners[slot] = node
        self._is_stale = True

    async def settle(self) -> None:
        """Know the cluster. Where it is in doubt it is asked again beside the calls: most of them are right as it is.

        Raises:
            redis.exceptions.ConnectionError: nothing is known, and no node answers.
        """
        if self._owners:
            is_looking = self._looking is not None and not self._looking.done()
            if self._is_stale and not self._is_closed and not is_looking and not self._asked_just_now():
                self._looking = asyncio.create_task(self._look_again())
            return
        async with self._asking:
            if self._owners:
                return
            if self._failure is not None and self._asked_just_now():
                raise self._failure  # who comes in a crowd does not ask one after the other
            await self._ask()

    async def aclose(self) -> None:
        """Stop looking, for good."""
        self._is_closed = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        # A look that is cut short while it closes its clients may not have come to their connections.
        asked, self._asked = self._asked, []
        await asyncio.gather(*(client.aclose() for client in asked))

    def _asked_just_now(self) -> bool:
        return time.monotonic() - self._asked_at < NOT_AGAIN_FOR_SECONDS

    async def _look_again(self) -> None:
        try:
            await self._ask()
        except RedisConnectionError as error:
            log.warning("the cluster does not answer", reason=str(error))

    async def _ask(self) -> None:
        candidates = list(dict.fromkeys([*self.primaries, *self._seeds, *self._all_replicas()]))[:MOST_ASKED]
        views = await asyncio.gather(*(self._view_of(node) for node in candidates))
        self._asked_at = time.monotonic()
        self._suspects.clear()
        known = [view for view in views if view is not None]
        if not known:
            self._failure = RedisConnectionError("no node of the cluster answers")
            raise self._failure
        best = max(known, key=lambda view: (view.is_ok, view.epoch, len(view.owners)))
        before = self.primaries
        self._owners, self._replicas = dict(best.owners), dict(best.replicas)
        self._is_stale, self._failure = False, None
        if before and before != self.primaries:
            log.warning(
                "the cluster's nodes have changed", primaries=[f"{host}:{port}" for host, port in self.primaries]
            )

    def _all_replicas(self) -> Iterable[Node]:
        return (node for nodes in self._replicas.values() for node in nodes)

    async def _view_of(self, node: Node) -> View | None:
        client = self._connect(node)
        self._asked.append(client)
        try:
            async with asyncio.timeout(ASKED_FOR_SECONDS):
                facts = await client.execute_command("CLUSTER INFO")
                rows = await client.execute_command("CLUSTER SLOTS")
        except (RedisError, OSError, TimeoutError) as error:
            log.info("a node does not tell its view", node=f"{node.host}:{node.port}", reason=type(error).__name__)
            return None
        finally:
            await client.aclose()
            with contextlib.suppress(ValueError):
                self._asked.remove(client)  # not where the end has taken it in hand
        return view(facts, rows, asked=node)


def view(facts: Mapping[str, str], rows: Iterable[Any], *, asked: Node) -> View:
    """Read `CLUSTER INFO` and `CLUSTER SLOTS`: first slot, last slot, the primary, its replicas that are up.

    A node that does not know its own address is reached where it was asked.
    """
    owners: dict[int, Node] = {}
    replicas: dict[Node, tuple[Node, ...]] = {}
    for first, last, primary, *others in rows:
        at = _reached(primary, asked)
        replicas[at] = tuple(_reached(other, asked) for other in others)
        owners.update(dict.fromkeys(range(int(first), int(last) + 1), at))
    return View(facts.get("cluster_state") == "ok", int(facts.get("cluster_current_epoch", 0)), owners, replicas)


def _reached(node: Sequence[Any], asked: Node) -> Node:
    host, port, *_ = node
    return Node(asked.host if host in (None, "", "?") else str(host), int(port))
