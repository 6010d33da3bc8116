"""The events stream: facts of the fleet, for anyone's consumer. Each is told by the script that makes it true."""

from datetime import timedelta
from typing import Final

from broker import keys
from broker.connection import Broker
from broker.streams import GroupReader, consumer_name, trim_behind_groups

KEPT_FOR: Final = timedelta(days=7)
"""Read or not, for consumers without a group."""


class Events:
    """The public record of the fleet."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._streams = [keys.events(partition) for partition in range(broker.partitions)]

    def reader(self, group: str, consumer: str | None = None) -> GroupReader:
        """A consumer's end of the events of all partitions."""
        return GroupReader(self._broker, self._streams, group=group, consumer=consumer or consumer_name())

    async def trim(self, *, now: float) -> int:
        """Drop what every group has finished with and that is older than a week. Gives how many entries.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        return await trim_behind_groups(self._broker, self._streams, kept_since=now - KEPT_FOR.total_seconds())
