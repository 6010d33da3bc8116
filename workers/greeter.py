"""The greeter: gives standing requests to hosts that join a service: by their first beat, or after a silence.

One that follows workloads is given to the hosts that they come to, and told on each where their processes are now.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from broker.errors import BrokerUnavailable
from broker.host_registry import HostRegistry
from broker.inventory import Inventories
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from broker.standing import OPEN, Stand, StandingRequests
from broker.targeting import pids_on
from broker.token_store import ANYBODY_ID, PERSON, TokenStore, why_not_submit
from protocol.names import HostKey
from protocol.requests import MAX_PIDS

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = timedelta(seconds=2)
LOOK_AT_ALL_EVERY: Final = timedelta(minutes=1)
OVERLAP: Final = timedelta(seconds=5)
"""Beats are stamped by the clocks of several API processes: look this much further back than what was seen last."""
KEEP_EVERY: Final = timedelta(minutes=10)
FIRST_PIECE: Final = 1_000_000
"""Joiners are appended under the numbers from here on: those below are the pieces of the request's first hosts."""


@dataclass(slots=True)
class _Guest:
    """A standing request and the hosts that have it, or have had it, as far as this process knows.

    Of one that follows workloads also, by host path: which processes the host was told of, and by which inventory.
    """

    record: RequestRecord
    known: set[str]
    kept_at: float = field(default=0.0)
    pids: dict[str, Sequence[int]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)


class Greeter:
    """Looks who has come. Any number may run: a host joins a request once, under one number."""

    def __init__(
        self,
        standing: StandingRequests,
        store: RequestStore,
        registry: HostRegistry,
        request_log: RequestLog,
        inventories: Inventories,
        tokens: TokenStore,
    ) -> None:
        self._standing = standing
        self._store = store
        self._registry = registry
        self._log = request_log
        self._inventories = inventories
        self._tokens = tokens
        self._guests: dict[str, _Guest] = {}
        self._newest_beat = 0.0
        self._looked_at_all = 0.0

    async def greet(self) -> int:
        """One pass; gives how many hosts joined a request. Without standing requests it costs one short call.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        stands = await self._standing.all()
        self._guests = {
            each.request_id: self._guests[each.request_id] for each in stands if each.request_id in self._guests
        }
        if not stands:
            return 0
        beats = await self._beats(stands)
        joined = 0
        for stand in stands:
            try:
                joined += await self._greet_for(stand, beats.get(stand.service_path, ()))
            except BrokerUnavailable:
                raise
            except Exception:
                # One request that cannot be handed on must not hold up the others.
                log.exception("standing request cannot be handed on", request_id=stand.request_id)
        return joined

    async def _beats(self, stands: list[Stand]) -> Mapping[str, list[str]]:
        """The paths of the hosts that have beaten since the last pass, by service; of all, every minute."""
        oldest = min(stand.accepted_at for stand in stands) - OVERLAP.total_seconds()
        is_new = any(stand.request_id not in self._guests for stand in stands)
        look_at_all = is_new or time.monotonic() - self._looked_at_all >= LOOK_AT_ALL_EVERY.total_seconds()
        since = oldest if look_at_all else max(oldest, self._newest_beat - OVERLAP.total_seconds())
        services = {stand.service_path for stand in stands}
        found, newest = await self._registry.beaten_since(services, since=since)
        # Not ahead of our own clock: an API process whose clock is fast would hide the beats that others stamp.
        self._newest_beat = min(max(self._newest_beat, newest), time.time())
        if look_at_all:
            self._looked_at_all = time.monotonic()
        return found

    async def _greet_for(self, stand: Stand, paths: Sequence[str]) -> int:
        request_id = stand.request_id
        state, reason = await self._standing.state_of(request_id)
        guest = await self._guest(request_id)
        if state is None or guest is None:
            log.error("standing request without a record dropped", request_id=request_id)
            await self._standing.clear(request_id)
            return 0
        if state != OPEN:
            # Whoever is unsent ends cancelled by the tombstone, in the script that would have given it the request.
            await self._log.cancel(request_id, (), reason=reason)
            await self._send(guest)
            await self._standing.clear(request_id)
            log.info("standing request over", request_id=request_id, reason=reason)
            return 0
        if guest.record.follows is None:
            paths = [path for path in paths if path not in guest.known]
        if paths and not await self._may_go_on(guest.record):
            paths = []
        elif guest.record.follows is not None:
            paths = await self._follow(guest, paths)
        joined = 0
        for path in paths:
            if path not in guest.known:
                joined += await self._standing.join(request_id, path) is not None
                guest.known.add(path)
        await self._send(guest)
        if time.monotonic() - guest.kept_at >= KEEP_EVERY.total_seconds():
            await self._store.keep(guest.record)
            guest.kept_at = time.monotonic()
        return joined

    async def _may_go_on(self, record: RequestRecord) -> bool:
        """Whether whoever submitted a request may still have more hosts profiled; those that have it keep it.

        A person's sign-in ends by itself and cannot be looked up; where authentication was off, nobody can be.
        """
        owner = record.submitted_by
        if owner == ANYBODY_ID or owner.startswith(PERSON):
            return True
        token = await self._tokens.with_id(owner)
        return not why_not_submit(token, tenant=record.tenant, service=record.service, now=datetime.now(UTC))

    async def _follow(self, guest: _Guest, paths: Sequence[str]) -> list[str]:
        """Look at what runs now where that has changed; tell hosts that have the request. Gives those to have it."""
        record, now = guest.record, time.time()
        digests = await self._inventories.digests([HostKey.from_path(path) for path in paths])
        changed = [host for host, digest in digests.items() if guest.digests.get(host.path) != digest]
        newcomers: list[str] = []
        async for seen in self._inventories.seen(changed):
            host = record.key_of(seen.hostname)
            pids = self._bounded(pids_on(seen, record.follows or ()), host)
            if host.path not in guest.known:
                if pids:
                    newcomers.append(host.path)
            elif guest.pids.get(host.path) != pids:
                wish = replace(record.wish(pids, begun_at=now), moved_at=now)
                await self._log.move(host, wish)
                log.info("workloads moved", request_id=record.request_id, host=host.path, processes=len(pids))
            guest.pids[host.path] = pids
            guest.digests[host.path] = digests[host]
        return newcomers

    def _bounded(self, pids: list[int], host: HostKey) -> list[int]:
        """No more than a request may name: fewer are profiled then, never more."""
        if len(pids) > MAX_PIDS:
            log.warning("processes left out", host=host.path, processes=len(pids), most=MAX_PIDS)
        return pids[:MAX_PIDS]

    async def _pids_of(self, guest: _Guest, path: str) -> Sequence[int] | None:
        """What a host that joined is to profile: the whole host, or the processes that run there now, perhaps none."""
        record = guest.record
        if record.follows is None:
            return record.asked.pids
        if path not in guest.pids:  # another process let it join
            async for seen in self._inventories.seen([HostKey.from_path(path)]):
                guest.pids[path] = self._bounded(pids_on(seen, record.follows), HostKey.from_path(path))
        return guest.pids[path]

    async def _guest(self, request_id: str) -> _Guest | None:
        if request_id not in self._guests:
            record = await self._store.get(request_id)
            if record is None:
                return None
            known = {record.key_of(host).path for host in record.hosts}
            pids: dict[str, Sequence[int]] = {
                record.key_of(host).path: sorted(of_host) for host, of_host in record.targets.items() if of_host
            }
            self._guests[request_id] = _Guest(record, known, kept_at=-KEEP_EVERY.total_seconds(), pids=pids)
        return self._guests[request_id]

    async def _send(self, guest: _Guest) -> None:
        """Append the request for those who joined and may not have it: for one who has it, nothing happens."""
        record, now = guest.record, time.time()
        unsent = await self._standing.unsent(record.request_id)
        for path, number in unsent.items():
            if number is None:
                continue
            wish = record.wish(await self._pids_of(guest, path), begun_at=now)
            await self._log.append({HostKey.from_path(path): wish}, piece=FIRST_PIECE + number)
            log.info("host joined a standing request", request_id=record.request_id, host=path)
        if unsent:
            await self._standing.note_sent(record.request_id, unsent)
