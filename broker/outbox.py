"""What webhooks are to be told: which requests have ended everywhere, and a stream for each webhook."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from broker import keys
from broker.connection import Broker
from broker.dead_letters import Kind, lost_notification
from broker.keys import Place
from broker.streams import Entry, GroupReader
from protocol.names import HostKey

NOTIFIERS: Final = "notifiers"
SENDERS: Final = "senders"
KEPT_FOR: Final = timedelta(days=7)


class Outbox:
    """From outcomes to notifications that wait to be sent. Each step may be repeated."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def reader(self, hook: str, consumer: str) -> GroupReader:
        """A sender's end of one webhook's notifications."""
        return GroupReader(self._broker, [keys.outbox(hook)], group=SENDERS, consumer=consumer)

    async def note(self, ended: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
        """Note outcomes (request id -> path -> outcome); gives on how many hosts each request has one now.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for request_id, outcomes in ended.items():
                key = keys.request_ended(request_id)
                pipe.hset(key, mapping=dict(outcomes))
                pipe.expire(key, int(KEPT_FOR.total_seconds()))
                pipe.hlen(key)
            answers = await pipe.execute()
        return dict(zip(ended, answers[2::3], strict=True))

    async def counts(self, request_id: str) -> Counter[str]:
        """Outcome -> on how many hosts.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            return Counter(await redis.hvals(keys.request_ended(request_id)))

    async def put(self, request_id: str, hook: str, notification_id: str, body: str) -> bool:
        """Put a notification into a webhook's stream, unless it is known to have been; whether it was put.

        A crash in between puts it twice, under the same id: better than not at all.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        known, life = keys.request_notified(request_id), int(KEPT_FOR.total_seconds())
        async with self._broker.guarded() as redis:
            if await redis.sismember(known, notification_id):
                return False
            async with redis.pipeline(transaction=False) as pipe:
                pipe.xadd(keys.outbox(hook), {"notification": body})
                pipe.expire(keys.outbox(hook), life)
                await pipe.execute()
            async with redis.pipeline(transaction=False) as pipe:
                pipe.sadd(known, notification_id)
                pipe.expire(known, life)
                await pipe.execute()
        return True

    async def park(
        self, reader: GroupReader, entry: Entry, *, hook: str, about: HostKey, request_id: str, reason: str, now: int
    ) -> None:
        """Give a notification up: a dead letter, then gone from the stream. `now` is in ms.

        Raises:
            BrokerUnavailable: the server cannot be reached; a crash in between may leave a second letter.
        """
        at: Place = self._broker.place(about)
        fields = {
            "v": "1", "kind": Kind.NOTIFICATION.value, "host": at.path, "reason": reason,
            "attempts": str(entry.deliveries), "at": str(now), "request_ids": request_id,
            "command": lost_notification(hook, entry.fields.get("notification", "")),
        }  # fmt: skip
        async with self._broker.guarded() as redis:
            await redis.xadd(keys.dead_letters(at.partition), fields, maxlen=10_000, approximate=False)
        await self.done(reader, [entry])

    async def done(self, reader: GroupReader, entries: Sequence[Entry]) -> None:
        """These were sent, or given up.

        Raises:
            BrokerUnavailable: the server cannot be reached; they will be sent again.
        """
        await reader.ack(entries, delete=True)
