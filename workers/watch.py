"""The watch: gives up on the commands of hosts that have fallen silent, so that no request waits for them for ever."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import structlog

from broker.command_store import CommandStore
from broker.host_registry import HostRegistry, Silence
from broker.liveness import LATELY, Service, Verdict, hearing_since, judge, service_of, silent
from broker.roster import API, Roster
from protocol.names import HostKey
from protocol.pacing import stale_after

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = timedelta(seconds=5)
LOOKED_AWAY_AFTER: Final = timedelta(seconds=15)
"""A watch that was stopped for longer cannot tell silence from its own absence: it begins anew."""


class Watch:
    """Looks for silent hosts that hold a command. Any number of them may look."""

    def __init__(self, registry: HostRegistry, store: CommandStore, roster: Roster) -> None:
        self._registry = registry
        self._store = store
        self._roster = roster
        self._listening_since: float | None = None
        self._looked_at = 0.0

    async def look(self) -> int:
        """One pass, at most every few seconds. Gives how many commands are lost now.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        now = time.time()
        if now - self._looked_at < LOOK_EVERY.total_seconds():
            return 0
        return await self.look_at(now)

    async def look_at(self, now: float) -> int:
        """One pass at a moment."""
        since = await self._listening(now)
        if since is None:
            return 0
        candidates = silent(await self._registry.holders(), listening_since=since, now=now)
        told = await self._registry.silent_services()
        services = {service_of(each.host) for each in candidates} | told.keys()
        if not services:
            return 0
        lately = min([now, *(silence.since for silence in told.values())]) - LATELY.total_seconds()
        beats = await self._registry.last_beats(services, since=lately)
        recent = {host: beat for host, beat in beats.items() if beat >= now - LATELY.total_seconds()}
        verdict = judge(candidates, recent, listening_since=since, now=now)
        await self._tell_who_is_silent(verdict, told, beats, now=now)
        lost, grace = 0, {each.host: stale_after(each.interval) for each in candidates}
        for host, last_beat in verdict.lost.items():
            reason = f"no heartbeat for {now - last_beat:.0f} s"
            if await self._store.lose(host, silent_since=last_beat, reason=reason, now=now, grace=grace[host]):
                log.warning("host lost", service=host.service, host=host.host, reason=reason)
                lost += 1
        return lost

    async def _listening(self, now: float) -> float | None:
        """Since when beats could be heard without a break, or None while nobody serves them."""
        was_away = now - self._looked_at > LOOKED_AWAY_AFTER.total_seconds()
        present = await self._roster.present(now=now)
        self._looked_at = now
        if not present.get(API):
            self._listening_since = None
        elif self._listening_since is None or was_away:
            self._listening_since = now
        return self._listening_since

    async def _tell_who_is_silent(
        self, verdict: Verdict, told: Mapping[Service, Silence], beats: Mapping[HostKey, float], *, now: float
    ) -> None:
        """Others may look, too, and any of them may have begun just now: what was told is in the broker."""
        for service, hearing in verdict.spared.items():
            if service not in told and await self._registry.tell_silent(service, hearing, now=now):
                log.warning(
                    "more than half of a service is silent; giving it time", tenant=service[0], service=service[1],
                    known=hearing.known, silent=hearing.quiet,
                )  # fmt: skip
        for service, silence in told.items():
            if service in verdict.spared:
                continue
            hearing = hearing_since(service, beats, silent_since=silence.since, grace=silence.grace, now=now)
            if not hearing.is_silent and await self._registry.tell_heard(service, hearing, now=now):
                log.info("service is judged host by host again", tenant=service[0], service=service[1])
