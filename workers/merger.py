"""The merger: reads the doorbells, compacts the hosts that were rung for, installs what comes out."""

import asyncio
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

import structlog

from broker import tracing
from broker.codec import Decision, Loaded, cancelled_of, decision_of, origin_of, read_effective, requests_of
from broker.command_store import CommandStore
from broker.compaction import compact
from broker.keys import Place
from broker.request_log import RequestLog, Ring
from broker.scripts import Settled
from broker.streams import GroupReader

log = structlog.get_logger(__name__)

BATCH: Final = 64
"""Entries of each partition that are read at once; one rings for up to 50 hosts."""
AT_ONCE: Final = 4_000
"""Hosts that are worked off before the entries that rang for them are acked."""
MANY: Final = 100
CHUNK: Final = 200
"""Hosts that are loaded, decided on and stored together."""
SIDE_BY_SIDE: Final = 4
BLOCK: Final = timedelta(seconds=1)
TRIES: Final = 5
"""A host that changes under every one of these is left to its next entry: whoever changed it may have rung."""


class Merger:
    """Compacts hosts. Any number of them may run: a decision is stored only on the facts it was taken on."""

    def __init__(self, request_log: RequestLog, store: CommandStore, reader: GroupReader) -> None:
        self._log = request_log
        self._store = store
        self._reader = reader
        self.caught_up = asyncio.Event()
        """Cleared while it works off very many hosts: others of its process may let it go first."""
        self.caught_up.set()

    async def merge(self) -> int:
        """One pass: wait for entries, work them off, ack those whose effect is stored. Gives how many hosts.

        Raises:
            BrokerUnavailable: the server cannot be reached; the entries stay pending and come again.
        """
        entries = await self._reader.read(count=BATCH, block=BLOCK)
        if not entries:
            return 0
        rings = self._log.rings(entries)
        if sum(len(ring.places) for ring in rings) >= MANY:
            self.caught_up.clear()
        try:
            return sum([await self.work_off(some) for some in _pieces(rings)])
        finally:
            self.caught_up.set()

    async def work_off(self, rings: Sequence[Ring]) -> int:
        """Compact the hosts that were rung for; ack the entries whose hosts are done. Gives how many hosts are."""
        done = set(await self.compact_hosts(list(dict.fromkeys(at for ring in rings for at in ring.places))))
        # Last: an entry is acked only once its effect is stored. A crash before this repeats the compaction.
        acked = [ring.entry for ring in rings if done.issuperset(ring.places)]
        if acked:
            await self._reader.ack(acked, delete=True)
        return len(done)

    async def compact_hosts(self, places: Sequence[Place]) -> list[Place]:
        """Load, decide, store; again for hosts that changed meanwhile. Gives the hosts that are settled."""
        done: list[Place] = []
        waiting = list(places)
        for _ in range(TRIES):
            if not waiting:
                break
            chunks = [waiting[first : first + CHUNK] for first in range(0, len(waiting), CHUNK)]
            # A few at a time: the server works on some while we decide on others.
            room = asyncio.Semaphore(SIDE_BY_SIDE)
            stored: dict[Place, bool] = {}
            for of_chunk in await asyncio.gather(*(self._compact(chunk, room) for chunk in chunks)):
                stored |= of_chunk
            done.extend(at for at, was_stored in stored.items() if was_stored)
            waiting = [at for at, was_stored in stored.items() if not was_stored]
        return done

    async def _compact(self, places: Sequence[Place], room: asyncio.Semaphore) -> dict[Place, bool]:
        async with room:
            now = time.time()
            return await self._store.settle_all(decide(await self._store.load_all(places), now), now=now)


def _pieces(rings: Sequence[Ring]) -> Iterator[list[Ring]]:
    """In their order, so many together that they ring for `AT_ONCE` hosts."""
    piece: list[Ring] = []
    hosts = 0
    for ring in rings:
        piece.append(ring)
        hosts += len(ring.places)
        if hosts >= AT_ONCE:
            yield piece
            piece, hosts = [], 0
    if piece:
        yield piece


def decide(loaded: Mapping[Place, Loaded], now: float) -> list[Settled]:
    """Compact hosts; those that stand alike, as the hosts of a fleet do, are decided on once.

    A host whose data cannot be compacted is logged and left out: it must not hold up the others, and its entry stays
    pending until it is parked.
    """
    settled: list[Settled] = []
    decisions: dict[Hashable, Decision] = {}
    for at, facts in loaded.items():
        try:
            host, likeness = at.host_key, facts.likeness  # an entry may name no host
            if likeness not in decisions:
                compacted = compact(
                    requests_of(facts), read_effective(facts.command), now, cancelled_of(facts), lead=facts.lead
                )  # fmt: skip
                decisions[likeness] = decision_of(compacted, facts, now)
        except Exception:
            log.exception("host cannot be compacted", host=at.path)
            continue
        settled.append(Settled(at, host, facts, decisions[likeness]))
    _log_what_is_new(settled)
    return settled


def _log_what_is_new(settled: Sequence[Settled]) -> None:
    """One line a decision, however many hosts it is for."""
    alike: dict[int, list[Settled]] = {}
    for each in settled:
        alike.setdefault(id(each.decision), []).append(each)
    for first, *others in alike.values():
        if (install := first.decision.install) is not None:
            parent = origin_of(install["reply"]).traceparent if tracing.is_on() else ""
            with tracing.span(
                "decide on command", parent=parent, hosts=1 + len(others),
                command_id=install["id"],
            ):  # fmt: skip
                log.info(
                    "command decided on", host=first.at.path, hosts=1 + len(others), command_id=install["id"],
                    generation=int(install["generation"]),
                )  # fmt: skip
