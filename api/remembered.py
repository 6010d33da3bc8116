"""A bounded memory of what was found lately, so that the broker is not asked again by each call."""

from collections import OrderedDict
from typing import NamedTuple

from broker.token_store import Token


class Known(NamedTuple):
    """What was found lately: when (on the monotonic clock), and the token, None where there is none."""

    at: float
    token: Token | None


class Memory(OrderedDict[str, Known]):
    """What is known of secrets, by their digests: the secrets themselves are not kept. Of too many the oldest goes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, digest: str, known: Known) -> None:
        """Remember what was found."""
        self[digest] = known
        self.move_to_end(digest)
        while len(self) > self._most:
            self.popitem(last=False)

    def lately(self, digest: str, *, now: float, within: float) -> Known | None:
        """What was found within so many seconds before `now`; None: nothing."""
        known = self.get(digest)
        return known if known is not None and now - known.at < within else None

    def forget(self, token_ids: set[str] | frozenset[str]) -> None:
        """What is known of these tokens, by whichever of their secrets, is no longer."""
        for digest in [digest for digest, (_, token) in self.items() if token and token.token_id in token_ids]:
            del self[digest]
