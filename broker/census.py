"""How many hosts and commands of each tenant stand where: looked at from time to time, at a bounded cost."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote

from broker import codec, keys, scripts
from broker.connection import Broker
from broker.errors import BrokerError
from broker.keys import Place
from broker.roster import Instance, Roster
from protocol.lifecycle import OPEN

AT_LEAST_EVERY: Final = timedelta(seconds=10)
SHARE: Final = 20
"""A look rests twenty times as long as it took: it never takes more than a twentieth of anybody's time."""
HOSTS_PER_CALL: Final = 500
ONLINE: Final = "online"
SILENT: Final = "silent"

Standing = tuple[str, str]
"""A tenant and a state."""


@dataclass(frozen=True, slots=True)
class Counts:
    """One look. `hosts` and `commands` by tenant and state; `seconds`: what it took."""

    hosts: Mapping[Standing, int]
    commands: Mapping[Standing, int]
    dead_letters: int
    instances: Sequence[Instance]
    at: float
    seconds: float


class Census:
    """Looks at the fleet, and remembers what it saw for a while."""

    def __init__(self, broker: Broker, *, silent_after: timedelta) -> None:
        self._broker = broker
        self._roster = Roster(broker)
        self._silent_after = silent_after
        self._seen: Counts | None = None
        self._looking = asyncio.Lock()

    async def counts(self) -> Counts:
        """The last look, unless it is too old; of those who ask at once one looks for all.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._looking:
            if self._seen is None or time.time() >= self._seen.at + _rest(self._seen):
                self._seen = await self._look()
            return self._seen

    async def _look(self) -> Counts:
        began = time.monotonic()
        now = time.time()
        hosts: Counter[Standing] = Counter()
        commands: Counter[Standing] = Counter()
        dead_letters = 0
        for partition in range(self._broker.partitions):
            limit = codec.ms(now - self._silent_after.total_seconds())
            beats, deadlines, taken = keys.beats(partition), keys.deadlines(partition), keys.taken(partition)
            online, silent, with_deadline, holding, letters = await self._ask(
                ("ZRANGE", beats, limit, "+inf", "BYSCORE"), ("ZRANGE", beats, "-inf", f"({limit}", "BYSCORE"),
                ("ZRANGE", deadlines, 0, -1), ("ZRANGE", taken, 0, -1), ("XLEN", keys.dead_letters(partition)),
            )  # fmt: skip
            hosts.update((_tenant_of(path), ONLINE) for path in online)
            hosts.update((_tenant_of(path), SILENT) for path in silent)
            # A continuous run has no deadline, and what nobody took yet is not taken.
            commands.update(await self._commands(partition, sorted({*with_deadline, *holding})))
            dead_letters += letters
        instances = await self._roster.instances()
        return Counts(hosts, commands, dead_letters, instances, at=now, seconds=time.monotonic() - began)

    async def _ask(self, *commands: Sequence[str | int]) -> list[Any]:
        answers = await self._broker.send(commands)
        for answer in answers:
            if isinstance(answer, Exception):
                raise BrokerError(str(answer)) from answer
        return answers

    async def _commands(self, partition: int, paths: Sequence[str]) -> Counter[Standing]:
        found: Counter[Standing] = Counter()
        for first in range(0, len(paths), HOSTS_PER_CALL):
            some = paths[first : first + HOSTS_PER_CALL]
            states = await self._broker.run(scripts.states([Place(partition, path) for path in some]))
            found.update((_tenant_of(path), state) for path, state in zip(some, states, strict=True) if state in OPEN)
        return found


def _rest(seen: Counts) -> float:
    return max(AT_LEAST_EVERY.total_seconds(), SHARE * seen.seconds)


def _tenant_of(path: str) -> str:
    return unquote(path[: path.index("/")])
