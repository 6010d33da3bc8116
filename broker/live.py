"""What happens, as it happens: one reader for each process, for whoever listens there.

The public streams are read while somebody listens, and each entry is handed to those who want it, in memory. A listener
has room for so many entries; one that does not keep up loses them and is told so, and holds up nobody.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from broker import keys
from broker.connection import Broker
from broker.entry_ids import START, Position, entry_id_of, position_of
from broker.errors import BrokerUnavailable
from broker.live_cursor import decode, encode

log = structlog.get_logger(__name__)

FAMILIES: Final[Mapping[str, Callable[[int], str]]] = {
    "results": keys.results, "events": keys.events, "audit": keys.audit,
}  # fmt: skip
ROOM: Final = 1_000
"""Entries that wait for one listener."""
MOST_CAUGHT_UP: Final = 10_000
"""Entries that are looked through for one who comes back; who has missed more loads anew."""
READ_AT_ONCE: Final = 500
WAITS_MS: Final = 2_000
PAUSES_SECONDS: Final = 0.5
PAUSES_AFTER_A_FAULT_SECONDS: Final = 10.0
BREATHES_AFTER: Final = 100
"""Entries that are handed on without letting heartbeats have their turn."""
SLOW: Final = "slow"
TOO_OLD: Final = "too_old"


@dataclass(frozen=True, slots=True)
class Told:
    """One entry: of which stream (by number), at which position, what family, and its fields."""

    stream: int
    position: Position
    family: str
    fields: Mapping[str, str]


@dataclass(slots=True, eq=False)
class Listener:
    """Somebody who listens: what waits for them, and where they stand.

    Attributes:
        wants: whether an entry is for them: what they may see and asked for.
        positions: of each stream, up to where everything they wanted has been passed to them.
        missed: why they have to load anew, where they have missed something.
    """

    wants: Callable[[Told], bool]
    positions: list[Position]
    missed: str | None = None
    waiting: deque[Told] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, told: Told) -> None:
        """Keep an entry, if it is wanted and there is room."""
        if self.missed is not None or not self.wants(told):
            return
        if len(self.waiting) >= ROOM:
            self.waiting.clear()
            self.missed = SLOW
        else:
            self.waiting.append(told)
        self.arrived.set()

    @property
    def cursor(self) -> str:
        """Where they stand, for coming back."""
        return encode(self.positions)

    def passed(self, told: Told) -> str:
        """An entry has gone out; gives where they stand now."""
        self.positions[told.stream] = told.position
        return self.cursor


class LiveFeed:
    """The listeners of one process, and what reads for them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._streams = [(family, at) for family in FAMILIES for at in range(broker.partitions)]
        self._numbers = {FAMILIES[family](at): number for number, (family, at) in enumerate(self._streams)}
        self._positions = [START] * len(self._streams)
        self._listeners: set[Listener] = set()
        self._reading: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()
        self._closing = asyncio.Event()

    @property
    def closing(self) -> asyncio.Event:
        """Set when the process goes down: whoever listens is sent away now."""
        return self._closing

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def close(self) -> None:
        """Send everybody away, and let nobody in any more."""
        self._closing.set()

    def read_cursor(self, text: str) -> list[Position]:
        """Where somebody stood.

        Raises:
            BadCursor: it is no cursor of these streams.
        """
        return decode(text, streams=len(self._streams))

    @contextlib.asynccontextmanager
    async def listening(
        self, wants: Callable[[Told], bool], families: Sequence[str], *, after: list[Position] | None = None
    ) -> AsyncIterator[Listener]:
        """Listen from now on, or from where somebody stood: then nothing is missed and nothing is told twice.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        await self._begin()
        listener = Listener(wants, list(self._positions) if after is None else after)
        # First the live entries, then what was before: both are sorted out by position.
        self._listeners.add(listener)
        try:
            if after is not None:
                await self._catch_up(listener, families, until=list(self._positions))
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._reading is not None:
                self._reading.cancel()
                self._reading = None

    async def take(self, listener: Listener, *, within: float, most: int = 100) -> list[Told]:
        """What waits for a listener, after some seconds at most; nothing, also where they have missed something."""
        if not listener.waiting and listener.missed is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await listener.arrived.wait()
        listener.arrived.clear()
        taken: list[Told] = []
        while listener.waiting and len(taken) < most:
            told = listener.waiting.popleft()
            if told.position > listener.positions[told.stream]:
                taken.append(told)
        if listener.waiting or listener.missed is not None:
            listener.arrived.set()
        return taken

    def rejoin(self, listener: Listener) -> str | None:
        """Have a listener that missed something go on from here; gives why, None for one that missed nothing."""
        why, listener.missed = listener.missed, None
        if why is not None:
            listener.waiting.clear()
            listener.arrived.clear()
            listener.positions = list(self._positions)
        return why

    def note_idle(self, listener: Listener) -> None:
        """What went by unwanted counts as passed, so that coming back does not look through it again."""
        if not listener.waiting and listener.missed is None:
            listener.positions = list(map(max, listener.positions, self._positions))

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        async with self._beginning:
            if self._reading is not None and not self._reading.done():
                return
            answers = await self._broker.send([
                ("XREVRANGE", stream, "+", "-", "COUNT", 1) for stream in self._numbers
            ])  # fmt: skip
            for number, answer in enumerate(answers):
                if isinstance(answer, Exception):
                    raise answer
                self._positions[number] = position_of(answer[0][0]) if answer else START
            self._reading = self._broker.in_background(self._read())

    async def _read(self) -> None:
        """Read until cancelled. On a cluster one command reads one partition's streams, as they share a slot."""
        if not self._broker.is_cluster:
            await self._read_streams(range(len(self._streams)))
            return
        count = self._broker.partitions
        async with asyncio.TaskGroup() as group:
            for at in range(count):
                group.create_task(self._read_streams(range(at, len(self._streams), count)), name=f"live {at}")

    async def _read_streams(self, numbers: Sequence[int]) -> None:
        names = list(self._numbers)
        handed = 0
        while True:
            wanted = {names[number]: entry_id_of(self._positions[number]) for number in numbers}
            try:
                async with self._broker.guarded_blocking() as redis, asyncio.timeout(WAITS_MS / 1000 + 5):
                    answer = await redis.xread(wanted, count=READ_AT_ONCE, block=WAITS_MS)
            except (BrokerUnavailable, TimeoutError) as error:
                log.warning("live events interrupted", reason=str(error) or "the server does not answer")
                await asyncio.sleep(PAUSES_SECONDS)
                continue
            except Exception:
                log.exception("live events cannot be read")  # a key of another kind, say: said again until it is mended
                await asyncio.sleep(PAUSES_AFTER_A_FAULT_SECONDS)
                continue
            for told in self._each(answer):
                self._positions[told.stream] = told.position
                for listener in tuple(self._listeners):
                    listener.hear(told)
                handed += 1
                if handed % BREATHES_AFTER == 0:
                    await asyncio.sleep(0)

    def _each(self, answer: Any) -> Iterator[Told]:
        for stream, entries in answer or ():
            number = self._numbers[stream]
            for entry_id, fields in entries:
                yield Told(number, position_of(entry_id), self._streams[number][0], fields)

    async def _catch_up(self, listener: Listener, families: Sequence[str], *, until: list[Position]) -> None:
        """Put what a listener has missed before what it has heard since it is registered."""
        names = list(self._numbers)
        behind = [
            number for number, (family, _) in enumerate(self._streams)
            if family in families and listener.positions[number] < until[number]
        ]  # fmt: skip
        missed: list[Told] = []
        left = MOST_CAUGHT_UP
        commands: list[Sequence[Any]] = []
        for number in behind:
            here = entry_id_of(listener.positions[number])
            commands.append(("XRANGE", names[number], here, here))
            commands.append(("XINFO STREAM", names[number]))
        answers = await self._broker.send(commands)
        for number, at, facts in zip(behind, answers[::2], answers[1::2], strict=True):
            if _is_trimmed(listener.positions[number], at, facts):
                listener.missed = TOO_OLD
                return
        for number in behind:
            start, end = f"({entry_id_of(listener.positions[number])}", entry_id_of(until[number])
            async with self._broker.guarded() as redis:
                page = await redis.xrange(names[number], start, end, count=left + 1)
            if len(page) > left:
                listener.missed = TOO_OLD
                return
            left -= len(page)
            family = self._streams[number][0]
            told = (Told(number, position_of(entry_id), family, fields) for entry_id, fields in page)
            missed += [each for each in told if listener.wants(each)]
        missed.sort(key=lambda each: each.position)
        listener.waiting.extendleft(reversed(missed))
        if missed:
            listener.arrived.set()


def _is_trimmed(position: Position, at: Any, facts: Any) -> bool:
    """Whether entries behind a position may be gone: the entry there is gone itself, or the first ever one is."""
    if isinstance(facts, Exception):
        return True  # there is no such stream any more
    if position == START:
        return int(facts["entries-added"]) > int(facts["length"])
    return not at
