"""Who is lost: hosts that hold a command and have fallen silent. Pure: values in, a verdict out.

One silent host is gone. Half of a service silent at once is more likely to be a network, a proxy or ourselves: then
nobody is declared lost in a hurry. Moments are seconds since the epoch by the server's clock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from protocol.names import HostKey
from protocol.pacing import stale_after

FEW: Final = 3
"""A service of fewer hosts than this has no half to speak of: each is judged alone."""
PATIENCE: Final = 10
"""How many times longer we wait for the hosts of a service of which more than half is silent."""

Service = tuple[str, str]
"""Tenant and service."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A host whose agent holds a command: its last beat, and the interval it was told to keep."""

    host: HostKey
    last_beat: float
    interval: timedelta


@dataclass(frozen=True, slots=True)
class Verdict:
    """The hosts that are lost, each with the moment since which it is silent, and the services that are given time."""

    lost: Mapping[HostKey, float]
    spared: frozenset[Service]


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
    known: Counter[Service] = Counter()
    quiet: Counter[Service] = Counter()
    for host, last_beat in last_beats.items():
        service = service_of(host)
        if service in grace:
            known[service] += 1
            quiet[service] += now - max(last_beat, listening_since) > grace[service]
    spared = frozenset(service for service in grace if known[service] >= FEW and 2 * quiet[service] > known[service])
    lost = {
        each.host: each.last_beat
        for each in candidates
        if service_of(each.host) not in spared or now - _heard(each, listening_since) > PATIENCE * _grace(each)
    }
    return Verdict(lost, spared)


def _grace(holder: Holder) -> float:
    return stale_after(holder.interval).total_seconds()


def _heard(holder: Holder, listening_since: float) -> float:
    return max(holder.last_beat, listening_since)
