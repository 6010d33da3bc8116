"""Who is lost: hosts that hold a command and have fallen silent. Pure: values in, a verdict out.

One silent host is gone. Half of a service silent at once is more likely to be a network, a proxy or ourselves: then
nobody is declared lost in a hurry. Moments are seconds since the epoch by the server's clock.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from protocol.names import HostKey
from protocol.pacing import stale_after

FEW: Final = 3
"""A service of fewer hosts than this has no half to speak of: each is judged alone."""
PATIENCE: Final = 10
"""How many times longer we wait for the hosts of a service of which more than half is silent."""
LATELY: Final = timedelta(hours=1)
"""Hosts that were silent for longer before their service fell silent are not counted: they were gone already."""

Service = tuple[str, str]
"""Tenant and service."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A host whose agent holds a command: its last beat, and the interval it was told to keep."""

    host: HostKey
    last_beat: float
    interval: timedelta


@dataclass(frozen=True, slots=True)
class Hearing:
    """How a service is heard: the hosts that are known, how many of them are silent, and after how many seconds."""

    known: int
    quiet: int
    grace: float

    @property
    def is_silent(self) -> bool:
        """Whether more than half is, of so many that it tells something."""
        return self.known >= FEW and 2 * self.quiet > self.known


@dataclass(frozen=True, slots=True)
class Verdict:
    """The hosts that are lost, each with the moment since which it is silent, and the services that are given time."""

    lost: Mapping[HostKey, float]
    spared: Mapping[Service, Hearing]


def service_of(host: HostKey) -> Service:
    """The service a host belongs to."""
    return host.tenant, host.service


def silent(holders: Iterable[Holder], *, listening_since: float, now: float) -> list[Holder]:
    """Those that have missed so many beats that they are stale, while somebody was there to hear them."""
    return [each for each in holders if now - _heard(each, listening_since) > _grace(each)]


def judge(
    candidates: Iterable[Holder], last_beats: Mapping[HostKey, float], *, listening_since: float, now: float
) -> Verdict:
    """Who of the silent ones is lost.

    Args:
        candidates: what `silent` gave.
        last_beats: every host of their services that has beaten lately, with its last beat.
        listening_since: since when beats could be heard without a break.
        now: the present moment.
    """
    candidates = list(candidates)
    grace = {service_of(each.host): _grace(each) for each in candidates}
    beats: dict[Service, list[float]] = {service: [] for service in grace}
    for host, last_beat in last_beats.items():
        if (service := service_of(host)) in beats:
            beats[service].append(max(last_beat, listening_since))
    heard = {service: _hearing(beats[service], within, now=now) for service, within in grace.items()}
    spared = {service: hearing for service, hearing in heard.items() if hearing.is_silent}
    lost = {
        each.host: each.last_beat
        for each in candidates
        if service_of(each.host) not in spared or now - _heard(each, listening_since) > PATIENCE * _grace(each)
    }
    return Verdict(lost, spared)


def hearing_since(
    service: Service, last_beats: Mapping[HostKey, float], *, silent_since: float, grace: float, now: float
) -> Hearing:
    """How a service is heard that was told to have fallen silent: by its beats alone, whoever has listened since.

    A watch that has just begun knows of no silence of its own, and must not take that for beats.
    """
    oldest = silent_since - LATELY.total_seconds()
    beats = [beat for host, beat in last_beats.items() if service_of(host) == service and beat >= oldest]
    return _hearing(beats, grace, now=now)


def _hearing(beats: Collection[float], grace: float, *, now: float) -> Hearing:
    return Hearing(len(beats), sum(now - beat > grace for beat in beats), grace)


def _grace(holder: Holder) -> float:
    return stale_after(holder.interval).total_seconds()


def _heard(holder: Holder, listening_since: float) -> float:
    return max(holder.last_beat, listening_since)
