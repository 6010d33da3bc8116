"""Reading `Prefer: wait` (RFC 7240)."""

import re
from collections.abc import Iterable
from typing import Final

from protocol.pacing import MAX_WAIT

WAIT: Final = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)


def preferred_wait(prefer: Iterable[str]) -> int:
    """Seconds the agent is ready to wait by its `Prefer` headers, at most a minute; 0 without the preference."""
    found = WAIT.search(",".join(prefer))
    return min(int(found[1]), int(MAX_WAIT.total_seconds())) if found else 0
