"""The results stream: every change of state of every command, for the projector and for anyone else's consumer."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from broker import codec, keys, scripts
from broker.connection import Broker
from broker.streams import Entry, GroupReader, consumer_name
from protocol.lifecycle import OUTCOMES, State
from protocol.names import HostKey

PROJECTORS: Final = "projectors"
PROJECTED: Final = frozenset({*State, "late_completion"})
KEPT_FOR: Final = timedelta(hours=24)
"""Read or not, for consumers without a group (dashboards, `results tail`)."""
CARRIED: Final = (
    "command_id", "generation", "reason", "samples", "execution_time", "results_path", "started_at", "finished_at",
)  # fmt: skip
"""The facts of an event that a request's status shows."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state on one host, as the results stream tells it. `at` is in ms."""

    entry_id: str
    host: HostKey
    state: str
    request_ids: tuple[str, ...]
    at: str
    facts: dict[str, str]

    @classmethod
    def of(cls, entry: Entry) -> "Change":
        """Read one entry."""
        fields = entry.fields
        return cls(
            entry.entry_id,
            HostKey(fields["tenant"], fields["service"], fields["hostname"]),
            fields["state"],
            tuple(fields["request_ids"].split()),
            fields["at"],
            {name: fields[name] for name in CARRIED if name in fields},
        )


class Results:
    """The public record of what happened."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def reader(self, group: str = PROJECTORS, consumer: str | None = None, *, since: str = "0") -> GroupReader:
        """A consumer's end of the results of all partitions; a new group begins at `since` ("$": with what comes)."""
        streams = [keys.results(partition) for partition in range(self._broker.partitions)]
        return GroupReader(self._broker, streams, group=group, consumer=consumer or consumer_name(), since=since)

    async def project(self, changes: Iterable[Change], *, aside: bool = False) -> int:
        """Fold changes into the status of the requests they concern; repeated or older ones change nothing.

        With `aside`, into statuses that are being rebuilt and that nobody reads yet.

        Returns:
            How many statuses changed.

        Raises:
            BrokerUnavailable: the server cannot be reached; all of it may be repeated.
        """
        calls = [
            scripts.project(
                request_id, path=change.host.path, entry_id=change.entry_id, state=change.state,
                ended=change.state in OUTCOMES, at=change.at,
                facts=[text for pair in change.facts.items() for text in pair], aside=aside,
            )
            for change in changes
            if change.state in PROJECTED
            for request_id in change.request_ids
        ]  # fmt: skip
        answers = await self._broker.run_all(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return sum(int(answer) for answer in answers)

    async def trim(self, *, now: float) -> int:
        """Drop what every group has finished with and that is older than a day. Gives how many entries.

        By the slowest group, never by length: a cap would drop what somebody has not read.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        dropped = 0
        for partition in range(self._broker.partitions):
            stream = keys.results(partition)
            async with self._broker.guarded() as redis:
                if not await redis.exists(stream):
                    continue
                oldest_needed = (codec.ms(now - KEPT_FOR.total_seconds()), 0)
                for group in await redis.xinfo_groups(stream):
                    pending = await redis.xpending(stream, group["name"])
                    position = pending["min"] if pending["pending"] else group["last-delivered-id"]
                    oldest_needed = min(oldest_needed, _position(position))
                dropped += await redis.xtrim(stream, minid=f"{oldest_needed[0]}-{oldest_needed[1]}", approximate=True)
        return dropped


def _position(entry_id: str) -> tuple[int, int]:
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq or 0)
