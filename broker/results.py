"""The results stream: every change of state of every command, for the projector and for anyone else's consumer."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from broker import keys, scripts
from broker.connection import Broker
from broker.scripts import Step
from broker.streams import Entry, GroupReader, consumer_name, trim_behind_groups
from protocol.lifecycle import OUTCOMES, State
from protocol.names import HostKey

PROJECTORS: Final = "projectors"
PROJECTED: Final = frozenset({*State, "late_completion"})
KEPT_FOR: Final = timedelta(hours=24)
"""Read or not, for consumers without a group (dashboards, `results tail`)."""
STEPS_PER_CALL: Final = 200
"""Changes that one script call folds in: some milliseconds of the server's time."""
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
        by_request: dict[str, list[Step]] = {}
        for change in changes:
            if change.state not in PROJECTED:
                continue
            step = Step(
                change.host.path, change.entry_id, change.state, change.state in OUTCOMES, change.at, change.facts
            )  # fmt: skip
            for request_id in change.request_ids:
                by_request.setdefault(request_id, []).append(step)
        calls = [
            scripts.project(request_id, steps[first : first + STEPS_PER_CALL], aside=aside)
            for request_id, steps in by_request.items()
            for first in range(0, len(steps), STEPS_PER_CALL)
        ]
        answers = await self._broker.run_all(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return sum(int(answer) for answer in answers)

    async def trim(self, *, now: float) -> int:
        """Drop what every group has finished with and that is older than a day. Gives how many entries.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        streams = [keys.results(partition) for partition in range(self._broker.partitions)]
        return await trim_behind_groups(self._broker, streams, kept_since=now - KEPT_FOR.total_seconds())
