"""No key may outlive its use: after a story, each has a life that ends, or is one of the few that are meant to stay."""

import re
from typing import Final

import redis

from broker.settings import BrokerSettings

MEANT_TO_STAY: Final = (
    r"pcs:\{layout\}",
    r"pcs:\{tokens\}:token:[0-9a-f]{64}",
    r"pcs:\{tokens\}:(ids|changes|used|enrolments|bound|tenants)",
    r"pcs:\{tokens\}:of:[^:]+",
    r"pcs:\{roles\}:passes",
    r"pcs:\{roles\}:facts",
    r"pcs:\{archive\}:heads",
    r"pcs:\{jobs\}:asked",
    r"pcs:\{rollouts\}:open",
    r"pcs:\{standing\}:open",
    r"pcs:\{schedules\}:(schedule|firings|of):[^:]+",
    r"pcs:\{schedules\}:(due|taken)",
    r"pcs:\{hook:[a-z0-9_-]+\}:outbox",
    r"pcs:\{\d+\}:beats",
    r"pcs:\{\d+\}:deadlines",
    r"pcs:\{\d+\}:doorbell",
    r"pcs:\{\d+\}:results",
    r"pcs:\{\d+\}:events",
    r"pcs:\{\d+\}:audit(_chain)?",
    r"pcs:\{\d+\}:dead_letters",
)
"""Patterns of keys that have no TTL. None of them carries the name of a host or of a request;
schedules stay until an operator deletes them."""


FOR_EVER: Final = -1
"""The life of a key that has no end; -2 is what is gone since it was listed."""


def leaked_keys(settings: BrokerSettings) -> list[str]:
    """The keys that nothing will ever remove."""
    with redis.Redis.from_url(settings.url, decode_responses=True) as client:
        keys: list[str] = sorted(client.scan_iter(count=1000))
        return [key for key in keys if client.ttl(key) == FOR_EVER and not _is_meant_to_stay(key)]


def _is_meant_to_stay(key: str) -> bool:
    return any(re.fullmatch(pattern, key) for pattern in MEANT_TO_STAY)
