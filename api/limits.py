"""Who does too much: each token has a share of its own in each lane, and is told when to come again."""

import ipaddress
import math
import time
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, Final

from api.buckets import Buckets
from api.limit_settings import IN_MEMORY, Lane
from api.metrics import LIMITED
from api.problems import Refusal
from broker.limits import WindowLimits
from broker.quotas import Quota, Taken
from protocol.problems import FieldFault

ANSWER_HEADERS: Final = "studio.answer_headers"
"""Where in a scope the headers stand that go out with whatever is answered, by lane."""
MOST_SHUT: Final = 10_000
LANES: Final[Mapping[tuple[str, str], Lane | None]] = {
    ("POST", "/api/metrics/heartbeat"): Lane.HEARTBEATS,
    ("POST", "/api/metrics/command_completion"): Lane.COMPLETIONS,
    ("POST", "/api/v2/profiles"): Lane.COMPLETIONS,
    # A stop has a lane of its own, and only the body says that it is one: see api.submission.
    ("POST", "/api/metrics/profile_request"): None,
    ("POST", "/api/metrics/profile_request/bulk"): None,
}
ADMINISTRATION: Final = ("/api/v1/tokens", "/api/v1/enrol", "/api/v1/audit", "/api/v1/session")


def lane_of(method: str, route: str) -> Lane | None:
    """The lane of a route, by its path as declared; None where the body has to be read first."""
    if (method, route) in LANES:
        return LANES[method, route]
    if method in {"GET", "HEAD"}:
        return Lane.READS
    if method == "DELETE":
        return Lane.CANCELS  # whatever somebody takes back, a token too, is not held up by what was asked for
    return Lane.ADMIN if route.startswith(ADMINISTRATION) else Lane.SUBMISSIONS


_OF: Final[Mapping[Lane, str]] = {
    Lane.STRANGERS: "look-ups of unknown tokens from this address",
    Lane.HOSTS: "new hosts of this token",
}


class Limits:
    """The limits of one process."""

    def __init__(self, windows: WindowLimits, quotas: Mapping[Lane, Quota]) -> None:
        self._windows = windows
        self._quotas = quotas
        self._buckets = {lane: Buckets(quota) for lane, quota in quotas.items() if lane in IN_MEMORY}
        self._shut: dict[tuple[Lane, str], float] = {}

    async def check(self, scope: Any, lane: Lane, token_id: str, *, cost: int = 1) -> None:
        """Count a call, and let its answer say what is left.

        Raises:
            Refusal: it is one too many.
            BrokerUnavailable: it cannot be counted; a lane that is counted in memory always can.
        """
        if lane in IN_MEMORY:
            self.check_here(lane, token_id, cost=cost)
            return
        counted = await self._take(lane, token_id, cost)
        if counted is None:
            return
        told = tuple((name.lower().encode(), text.encode()) for name, text in headers(lane, *counted).items())
        scope.setdefault(ANSWER_HEADERS, {})[lane] = told  # of several in one call the last counts

    async def count(self, lane: Lane, token_id: str) -> None:
        """Count something in a lane that is counted in the broker, of which no answer says what is left.

        Raises:
            Refusal: it is one too many.
            BrokerUnavailable: it cannot be counted.
        """
        await self._take(lane, token_id, 1)

    async def _take(self, lane: Lane, token_id: str, cost: int) -> tuple[Quota, Taken] | None:
        quota = self._quotas.get(lane)
        if quota is None:
            return None
        self.refuse_if_shut(lane, token_id)
        taken = await self._windows.take(lane, token_id, quota, cost=min(cost, quota.amount))
        if not taken.passed:
            # Nothing fits before that: whoever calls on costs no round trip.
            while len(self._shut) >= MOST_SHUT:
                del self._shut[next(iter(self._shut))]
            self._shut[lane, token_id] = time.monotonic() + taken.seconds
            raise self.refused(lane, taken.seconds)
        return quota, taken

    def check_here(self, lane: Lane, name: str, *, cost: int = 1) -> None:
        """Count a call in a lane that is counted in memory; no round trip and no header.

        Raises:
            Refusal: it is one too many.
        """
        if (over := self.over_here(lane, name, cost=cost)) is not None:
            raise self.refused(lane, over)

    def over_here(self, lane: Lane, name: str, *, cost: int = 1) -> float | None:
        """Count a call in a lane that is counted in memory; or tell in how many seconds it would not be too many."""
        buckets = self._buckets.get(lane)
        now = time.monotonic()
        if buckets is None or buckets.passes(name, now=now, cost=cost):
            return None
        return buckets.lacks(name, now=now, cost=cost)

    def look_here(self, lane: Lane, name: str, *, now: float) -> float | None:
        """In how many seconds one more would not be too many in a lane that is counted in memory; None: it is not now.

        Nothing is counted.
        """
        buckets = self._buckets.get(lane)
        return buckets.lacks(name, now=now) if buckets is not None else None

    def refused(self, lane: Lane, seconds: float) -> Refusal:
        """One call too many for so long, and counted as such."""
        count_refused(lane)
        return self.refusal(lane, seconds)

    def refusal(self, lane: Lane, seconds: float) -> Refusal:
        """One call too many for so long."""
        quota, wait = self._quotas[lane], max(1, math.ceil(seconds))
        whose = _OF.get(lane, f"{lane} of this token")
        said = f"At most {quota.amount} {whose} in {quota.seconds} s; come again in {wait} s."
        fault = FieldFault(field="Authorization", message=said, code="rate_limited")
        told = {"Retry-After": str(wait), **headers(lane, quota, Taken(passed=False, left=0, seconds=seconds))}
        return Refusal("rate_limited", said, errors=[fault], headers=told)

    def charge(self, lane: Lane, name: str, *, now: float) -> None:
        """Count what passed `look_here`, once it is known to count."""
        if (buckets := self._buckets.get(lane)) is not None:
            buckets.charge(name, now=now)

    def is_shut(self, lane: Lane, token_id: str) -> bool:
        """Whether it is known already that nothing more fits."""
        return self._shut.get((lane, token_id), 0.0) > time.monotonic()

    def refuse_if_shut(self, lane: Lane, token_id: str) -> None:
        """Refuse what is known not to fit, without a round trip.

        Raises:
            Refusal: so it is.
        """
        until = self._shut.get((lane, token_id))
        if until is None:
            return
        seconds = until - time.monotonic()
        if seconds > 0:
            raise self.refused(lane, seconds)
        del self._shut[lane, token_id]


def headers(lane: Lane, quota: Quota, taken: Taken) -> dict[str, str]:
    """What is left of a quota, in the words of draft-ietf-httpapi-ratelimit-headers."""
    return {
        "RateLimit-Policy": f'"{lane}";q={quota.amount};w={quota.seconds}',
        "RateLimit": f'"{lane}";r={taken.left};t={math.ceil(taken.seconds)}',
    }


@cache
def _counter(lane: str) -> Callable[[float], None]:
    return LIMITED.labels(lane).inc


def count_refused(lane: str, count: int = 1) -> None:
    """Calls too many, by their lane or what else they were too many of."""
    _counter(lane)(count)


def address_of(client: tuple[str, int] | None) -> str:
    """Whom a call without a known token is counted for: an address, and of IPv6 the network of its site."""
    if client is None:
        return "nobody"  # a Unix socket: whoever is behind it counts as one
    return _site_of(client[0])


@lru_cache(maxsize=4_096)
def _site_of(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
