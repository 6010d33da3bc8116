"""The streams that are archived, a group's position on them, and the newest segment of each as the broker knows it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from broker import keys, scripts
from broker.connection import Broker
from broker.lag import Lag, lag_of
from broker.streams import Entry, GroupReader

ARCHIVERS: Final = "archivers"
AUDIT: Final = "audit"
FAMILIES: Final[Mapping[str, Callable[[int], str]]] = {"results": keys.results, AUDIT: keys.audit}
"""Family of streams, one for each partition -> the key of one. A further family is a line here."""
PAGE: Final = 1_000


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One stream that is archived."""

    family: str
    number: int

    @property
    def key(self) -> str:
        """The stream itself."""
        return FAMILIES[self.family](self.number)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest segment of a stream: its number, the last entry in it, the SHA-256 of its file.

    `archive` tells one archive from another, without its address: that may hold a key.
    """

    number: int = 0
    last: str = "0-0"
    sha256: str = ""
    archive: str = ""


class ArchivedStreams:
    """What the archiver reads. Its group's position moves only once the entries before it are stored."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.sources = [Source(family, number) for family in FAMILIES for number in range(broker.partitions)]

    async def prepare(self) -> None:
        """Make the group on every stream, from its beginning: from now on nothing is trimmed before it is archived.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        streams = [source.key for source in self.sources]
        await GroupReader(self._broker, streams, group=ARCHIVERS, consumer=ARCHIVERS).prepare()

    async def lag(self) -> dict[Source, Lag]:
        """What is not archived yet.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        lags = await lag_of(self._broker, [source.key for source in self.sources], ARCHIVERS)
        return dict(zip(self.sources, lags, strict=True))

    async def read(self, source: Source, *, after: str, most: int) -> list[Entry]:
        """Up to `most` entries behind an id, the oldest first.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        entries: list[Entry] = []
        while len(entries) < most:
            async with self._broker.guarded() as redis:
                page = await redis.xrange(source.key, f"({after}", "+", count=min(PAGE, most - len(entries)))
            entries += [Entry(source.key, entry_id, fields) for entry_id, fields in page]
            if not page:
                break
            after = entries[-1].entry_id
        return entries

    async def pass_over(self, source: Source, *, to: str) -> None:
        """Say that everything up to this entry is stored; it may be trimmed now. Repeating it changes nothing.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        await self._broker.run(scripts.advance(source.key, group=ARCHIVERS, to=to))

    async def heads(self, archive: str) -> dict[Source, Head]:
        """The newest segment of each stream in this archive, as it was told last.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            rows: dict[str, str] = await redis.hgetall(keys.archive_heads())
        heads = {}
        for field, text in rows.items():
            family, _, number = field.rpartition("/")
            head = Head(**json.loads(text))
            if head.archive == archive:
                heads[Source(family, int(number))] = head
        return heads

    async def tell_heads(self, heads: Mapping[Source, Head]) -> None:
        """Remember the newest segments.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        rows: dict[str, Any] = {
            f"{source.family}/{source.number}": json.dumps(asdict(head)) for source, head in heads.items()
        }
        if rows:
            async with self._broker.guarded() as redis:
                await redis.hset(keys.archive_heads(), mapping=rows)
