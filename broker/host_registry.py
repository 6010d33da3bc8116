"""Who is in the fleet: what each agent said of itself at its last beat."""

import json
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import structlog

from broker import codec, keys, scripts
from broker.connection import Broker
from broker.keys import Place
from broker.liveness import Hearing, Holder, Service, service_of
from protocol.heartbeats import MAX_CAPABILITY_BYTES, WAITS, Heartbeat
from protocol.names import HostKey
from protocol.pacing import DEFAULT_INTERVAL

log = structlog.get_logger(__name__)

FORGOTTEN_AFTER: Final = timedelta(days=7)
PAGE: Final = 500
"""Hosts that are read at once."""


@dataclass(frozen=True, slots=True)
class KnownHost:
    """One agent, by its own word, but for `last_beat`: that is the server's clock."""

    key: HostKey
    last_beat: datetime
    facts: dict[str, str]

    @property
    def owner(self) -> str:
        """The id of the token that the host belongs to; empty: none."""
        return self.facts.get("owner", "")[2:]

    @property
    def is_enrolled(self) -> bool:
        """Whether that token is a credential bought for this host."""
        return self.facts.get("owner", "").startswith("e:")


class Silence(NamedTuple):
    """Of a service: since when it is told to be silent (seconds since the epoch), and its hosts' grace (s)."""

    since: float
    grace: float


def facts_of(heartbeat: Heartbeat, *, interval: int) -> dict[str, str]:
    """What to remember of a heartbeat, and the pace (s) that its answer asks for.

    What an agent sends only when it changes is left as it was when absent.

    A fact of more than `MAX_CAPABILITY_BYTES` is not kept, and the log says so: kept for every host, it would fill the
    broker; refused with its heartbeat, the host would be lost to everybody for a list that is too long.
    """
    facts = {
        "interval": str(interval),
        "ip_address": heartbeat.ip_address,
        "agent_status": heartbeat.status or "",
        "agent_version": heartbeat.agent_version or "",
        "run_mode": heartbeat.run_mode or "",
    }
    sent_on_change = {
        "namespace": heartbeat.namespace,
        "pod_name": heartbeat.pod_name,
        "capabilities": heartbeat.capabilities,
        "perf_supported_events": heartbeat.perf_supported_events,
    }
    if all(value is None for value in sent_on_change.values()):
        return facts
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for name, value in sent_on_change.items()
        if value is not None
    }
    if heartbeat.capabilities is not None:
        # Of this agent: whichever takes its place on the host may say nothing of it.
        texts["waits"] = facts["agent_version"] if heartbeat.capabilities.get(WAITS) is True else ""
    too_large = {name: len(text) for name, text in texts.items() if len(text) > MAX_CAPABILITY_BYTES}
    if too_large:
        log.warning("facts not kept", service=heartbeat.service_name, host=heartbeat.hostname, characters=too_large)
    return facts | {name: text for name, text in texts.items() if name not in too_large}


def _prefix_of(tenant: str, service: str | None) -> str:
    """How the paths of a tenant's hosts begin, or of those of one service."""
    return HostKey(tenant, service, "").path if service is not None else HostKey(tenant, "", "").path[:-1]


def _known(at: Place, beat: float, facts: dict[str, str]) -> KnownHost:
    return KnownHost(at.host_key, datetime.fromtimestamp(beat / 1000, UTC), facts)


def _service_path(path: str) -> str:
    """The path of a host's service, as `HostKey(tenant, service, "").path`: reading each host's would cost more."""
    return path[: path.rindex("/") + 1]


def _interval(told: str | None) -> timedelta:
    """The pace a host was told to keep; older records do not say."""
    return timedelta(seconds=int(told)) if told is not None else DEFAULT_INTERVAL


class HostRegistry:
    """The fleet as the heartbeats tell it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def live(self, tenant: str, service: str, *, since: float) -> list[HostKey]:
        """The hosts of a service that have beaten since a moment (seconds since the epoch).

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        return list(await self.last_beats({(tenant, service)}, since=since))

    async def _beats_since(self, since: float) -> list[tuple[str, float]]:
        """Path and last beat (ms) of every host that has beaten since a moment, in one round trip."""
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for partition in range(self._broker.partitions):
                pipe.zrange(keys.beats(partition), codec.ms(since), "+inf", byscore=True, withscores=True)
            return [beat for of_partition in await pipe.execute() for beat in of_partition]

    async def get(self, host: HostKey) -> KnownHost | None:
        """One host, or None for one that never beat, or is forgotten.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        at = self._broker.place(host)
        async with self._broker.guarded() as redis:
            beat: float | None = await redis.zscore(keys.beats(at.partition), at.path)
            facts: dict[str, str] = await redis.hgetall(keys.host(at))
        return KnownHost(host, datetime.fromtimestamp(beat / 1000, UTC), facts) if beat is not None else None

    async def release(self, host: HostKey) -> str | None:
        """Let a host belong to no token; gives the id of the one that it belonged to.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        at = self._broker.place(host)
        async with self._broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.hget(keys.host(at), "owner")
            pipe.hdel(keys.host(at), "owner")
            owner, _ = await pipe.execute()
        return owner[2:] if owner is not None else None

    async def holders(self) -> list[Holder]:
        """The hosts whose agents hold a command; without those that never beat.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        found: list[Holder] = []
        for partition in range(self._broker.partitions):
            async with self._broker.guarded() as redis:
                paths: list[str] = await redis.zrange(keys.taken(partition), 0, -1)
                if not paths:
                    continue
                scores: list[float | None] = await redis.zmscore(keys.beats(partition), paths)
                async with redis.pipeline(transaction=False) as pipe:
                    for path in paths:
                        pipe.hget(keys.host(Place(partition, path)), "interval")
                    intervals: list[str | None] = await pipe.execute()
            found.extend(
                Holder(HostKey.from_path(path), score / 1000, _interval(told))
                for path, score, told in zip(paths, scores, intervals, strict=True)
                if score is not None
            )
        return found

    async def last_beats(self, services: Collection[Service], *, since: float) -> dict[HostKey, float]:
        """The last beat of each host of some services that has beaten since a moment; in seconds since the epoch.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        paths = {HostKey(*service, "").path for service in services}
        return {
            HostKey.from_path(path): beat / 1000
            for path, beat in await self._beats_since(since)
            if _service_path(path) in paths
        }

    async def beaten_since(self, services: Collection[str], *, since: float) -> tuple[dict[str, list[str]], float]:
        """The paths of the hosts of these services that have beaten since a moment, and the newest beat of anybody.

        Args:
            services: their paths, `HostKey(tenant, service, "").path`.
            since: seconds since the epoch.

        Returns:
            Service path -> host paths, and seconds since the epoch (0 when nobody has beaten).

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        found: dict[str, list[str]] = {}
        beats = await self._beats_since(since)
        for path, _ in beats:
            if (service := _service_path(path)) in services:
                found.setdefault(service, []).append(path)
        return found, max((beat for _, beat in beats), default=0.0) / 1000

    async def silent_services(self) -> dict[Service, Silence]:
        """The services that were told to have fallen silent, and not yet to be heard again.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for partition in range(self._broker.partitions):
                pipe.hgetall(keys.silent_services(partition))
            rows: list[dict[str, str]] = await pipe.execute()
        found: dict[Service, Silence] = {}
        for path, noted in ((path, noted) for row in rows for path, noted in row.items()):
            since, grace = (int(number) / 1000 for number in noted.split())
            found[service_of(HostKey.from_path(path))] = Silence(since, grace)
        return found

    async def tell_silent(self, service: Service, hearing: Hearing, *, now: float) -> bool:
        """Tell, if nobody has, that a service has fallen silent; True when this call did.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        return await self._hush(service, hearing, grace=codec.ms(hearing.grace), now=now)

    async def tell_heard(self, service: Service, hearing: Hearing, *, now: float) -> bool:
        """Tell, if nobody has, that a service is heard again; True when this call did.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        return await self._hush(service, hearing, grace=None, now=now)

    async def _hush(self, service: Service, hearing: Hearing, *, grace: int | None, now: float) -> bool:
        of_service = self._broker.place(HostKey(*service, ""))
        call = scripts.hush(of_service, grace=grace, known=hearing.known, quiet=hearing.quiet, now=codec.ms(now))
        return bool(await self._broker.run(call))

    def place_of(self, host: KnownHost) -> Place:
        """Where a list of hosts stands at this one."""
        return self._broker.place(host.key)

    async def all_of(
        self, tenant: str, *, service: str | None = None, after: Place | None = None, first_page: int = PAGE
    ) -> AsyncIterator[KnownHost]:
        """Every known host of a tenant, or of one service of it, by partition and path, from behind a place on.

        Args:
            tenant: whose.
            service: of this service alone.
            after: the last host that is known already.
            first_page: how many hosts are read at first; then `PAGE` at a time.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        prefix = _prefix_of(tenant, service)
        start = after or Place(0, "")
        size = min(first_page, PAGE)
        for partition in range(start.partition, self._broker.partitions):
            async with self._broker.guarded() as redis:
                scored: list[tuple[str, float]] = await redis.zrange(keys.beats(partition), 0, -1, withscores=True)
            last = start.path if partition == start.partition else ""
            ordered = sorted(
                (Place(partition, path), int(beat)) for path, beat in scored if path.startswith(prefix) and path > last
            )
            while ordered:
                chunk, ordered = ordered[:size], ordered[size:]
                for host in await self.known(chunk):
                    yield host
                size = PAGE

    async def beats_of(self, tenant: str, *, service: str | None = None) -> list[tuple[Place, int]]:
        """Where each known host of a tenant is, or of one service of it, and its last beat (ms).

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        prefix = _prefix_of(tenant, service)
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for partition in range(self._broker.partitions):
                pipe.zrange(keys.beats(partition), 0, -1, withscores=True)
            of_partitions: list[list[tuple[str, float]]] = await pipe.execute()
        return [
            (Place(partition, path), int(beat))
            for partition, scored in enumerate(of_partitions)
            for path, beat in scored
            if path.startswith(prefix)
        ]

    async def known(self, beats: Sequence[tuple[Place, int]]) -> list[KnownHost]:
        """These hosts with what they said of themselves.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if not beats:
            return []
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for at, _ in beats:
                pipe.hgetall(keys.host(at))
            rows: list[dict[str, str]] = await pipe.execute()
        return [_known(at, beat, facts) for (at, beat), facts in zip(beats, rows, strict=True)]

    async def forget_silent(self, *, now: float) -> int:
        """Take hosts that have been silent for a week from the fleet; gives how many.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        limit = codec.ms(now - FORGOTTEN_AFTER.total_seconds())
        gone = 0
        for partition in range(self._broker.partitions):
            async with self._broker.guarded() as redis:
                gone += await redis.zremrangebyscore(keys.beats(partition), "-inf", limit)
        return gone
