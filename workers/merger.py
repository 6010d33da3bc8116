"""The merger: reads the doorbells, compacts the hosts that were rung for, installs what comes out."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import structlog

from broker.codec import decision_of, read_effective, requests_of
from broker.command_store import CommandStore
from broker.compaction import compact
from broker.keys import Place
from broker.request_log import RequestLog
from broker.streams import Entry, GroupReader

log = structlog.get_logger(__name__)

BATCH: Final = 256
BLOCK: Final = timedelta(seconds=1)
TRIES: Final = 5
"""A host that changes under every one of these is left to its next entry: whoever changed it may have rung."""


class Merger:
    """Compacts hosts. Any number of them may run: a decision is stored only on the facts it was taken on."""

    def __init__(self, request_log: RequestLog, store: CommandStore, reader: GroupReader) -> None:
        self._log = request_log
        self._store = store
        self._reader = reader

    async def merge(self) -> int:
        """One pass: wait for entries, work them off, ack those whose effect is stored. Gives how many hosts.

        Raises:
            BrokerUnavailable: the server cannot be reached; the entries stay pending and come again.
        """
        entries = await self._reader.read(count=BATCH, block=BLOCK)
        if not entries:
            return 0
        return await self.work_off(self._log.places(entries))

    async def work_off(self, rung: Mapping[Place, Sequence[Entry]]) -> int:
        """Compact these hosts; ack the entries of those that are done. Gives how many are."""
        done = await self.compact_hosts(list(rung))
        # Last: an entry is acked only once its effect is stored. A crash before this repeats the compaction.
        acked = [entry for at in done for entry in rung[at]]
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
            now = time.time()
            decisions = {}
            for at, loaded in (await self._store.load_all(waiting)).items():
                try:
                    compacted = compact(requests_of(loaded), read_effective(loaded.command), now)
                    decisions[at] = (loaded, decision_of(compacted, loaded, at.host_key, now))
                except Exception:
                    # One host's bad data must not hold up the others; its entry stays pending until it is parked.
                    log.exception("host cannot be compacted", host=at.path)
                    continue
                if compacted.install is not None:
                    log.info(
                        "command installed", host=at.path, command_id=compacted.install.command_id,
                        generation=compacted.install.generation, requests=len(compacted.install.request_ids),
                    )  # fmt: skip
            stored = await self._store.settle_all(decisions, now=now)
            done.extend(at for at, was_stored in stored.items() if was_stored)
            waiting = [at for at, was_stored in stored.items() if not was_stored]
        return done
