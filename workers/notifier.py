"""The notifier: reads outcomes, and tells the webhooks that asked for them. Never in the way of a request.

The router turns outcomes into notifications, one stream of them for each webhook, and acks the results: nothing outside
holds it up. A sender for each webhook empties its stream: one that is down holds up no other.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from broker.codec import ms
from broker.outbox import Outbox
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from broker.results import Change
from broker.streams import Entry, GroupReader
from protocol.lifecycle import OUTCOMES
from protocol.names import HostKey
from workers.notifications import Message, Notification, identify, message, status_of
from workers.webhook_client import NotTold, RefusedForGood, WebhookClient
from workers.webhooks import Webhook

log = structlog.get_logger(__name__)

BATCH: Final = 200
BLOCK: Final = timedelta(seconds=1)
TAKE_OVER_AFTER: Final = timedelta(seconds=60)
"""More than all tries of one notification take: what is held for longer is nobody's."""
GIVE_UP_AFTER: Final = timedelta(hours=1)
MOST_RECORDS: Final = 1_000


class Router:
    """From outcomes to notifications."""

    def __init__(self, hooks: Sequence[Webhook], outbox: Outbox, requests: RequestStore, reader: GroupReader) -> None:
        self._hooks = hooks
        self._outbox = outbox
        self._requests = requests
        self._reader = reader
        self._records: dict[str, RequestRecord] = {}

    async def route(self) -> int:
        """One pass: new outcomes, and those that a dead notifier left. Gives how many notifications were made.

        Raises:
            BrokerUnavailable: the server cannot be reached; the entries stay pending and come again.
        """
        fresh = await self._reader.read(count=BATCH, block=BLOCK)
        left = await self._reader.claim(idle=TAKE_OVER_AFTER, count=BATCH)
        made = 0
        if entries := [*left, *fresh]:
            outcomes = [change for change in map(Change.of, entries) if change.state in OUTCOMES]
            made = await self._told(outcomes)
            await self._reader.ack(entries)
        return made

    async def _told(self, changes: Sequence[Change]) -> int:
        wanted = [change for change in changes if self._hooks_for(change.host)]
        ended: dict[str, dict[str, str]] = {}
        for change in wanted:
            for request_id in change.request_ids:
                ended.setdefault(request_id, {})[change.host.path] = change.state
        if not ended:
            return 0
        made = 0
        on_hosts = await self._outbox.note(ended)
        for change in wanted:
            for request_id in change.request_ids:
                made += await self._tell_of_host(change, request_id)
        last = {request_id: change for change in wanted for request_id in change.request_ids}
        for request_id, change in last.items():
            made += await self._tell_of_request(change, request_id, on_hosts[request_id])
        return made

    def _hooks_for(self, host: HostKey) -> list[Webhook]:
        return [hook for hook in self._hooks if hook.wants(host.tenant, host.service)]

    async def _tell_of_host(self, change: Change, request_id: str) -> int:
        hooks = [hook for hook in self._hooks_for(change.host) if hook.per_host and change.state in hook.events]
        record = await self._record(request_id) if hooks else None
        if record is None:
            return 0
        made = 0
        for hook in hooks:
            told = _notification(hook, record, {change.state: 1}, change, hostname=change.host.host)
            made += await self._outbox.put(request_id, hook.name, told.notification_id, told.as_json())
        return made

    async def _tell_of_request(self, change: Change, request_id: str, on_hosts: int) -> int:
        hooks = [hook for hook in self._hooks_for(change.host) if not hook.per_host]
        record = await self._record(request_id) if hooks else None
        if record is None or on_hosts < len(record.targets):
            return 0
        record = await self._record(request_id, anew=True)  # hosts may have joined since it was read
        if record is None or on_hosts < len(record.targets):
            return 0
        counts = await self._outbox.counts(request_id)
        made = 0
        for hook in hooks:
            if hook.events & set(counts):
                told = _notification(hook, record, counts, change)
                made += await self._outbox.put(request_id, hook.name, told.notification_id, told.as_json())
        return made

    async def _record(self, request_id: str, *, anew: bool = False) -> RequestRecord | None:
        if not anew and request_id in self._records:
            return self._records[request_id]
        record = await self._requests.get(request_id)
        if record is None:
            log.info("no notification: the request is not known any more", request_id=request_id)
            return None
        while len(self._records) >= MOST_RECORDS:
            del self._records[next(iter(self._records))]
        self._records[request_id] = record
        return record


def _notification(
    hook: Webhook, record: RequestRecord, counts: dict[str, int], change: Change, *, hostname: str = ""
) -> Notification:
    alone = hostname or len(record.targets) == 1
    return Notification(
        notification_id=identify(hook.name, record.request_id, hostname),
        tenant=record.tenant, service=record.service, request_id=record.request_id,
        command_type=record.asked.command_type, status=status_of(counts), counts=dict(counts),
        accepted_at=record.accepted_at, ended_at=int(change.at) / 1000, hostname=hostname,
        reason=change.facts.get("reason", "") if alone else "",
    )  # fmt: skip


class Sender:
    """Empties one webhook's stream."""

    def __init__(self, hook: Webhook, outbox: Outbox, reader: GroupReader, client: WebhookClient) -> None:
        self._hook = hook
        self._outbox = outbox
        self._reader = reader
        self._client = client

    async def send(self) -> int:
        """One pass: send what is new and what was not taken before; give up what is too old. Gives how many were sent.

        Once the webhook fails, the rest waits for a later pass: it is not hammered, and keeps the order of things.

        Raises:
            BrokerUnavailable: the server cannot be reached; what was sent may be sent again, under the same id.
        """
        fresh = await self._reader.read(count=BATCH, block=BLOCK)
        overdue = await self._reader.claim(idle=TAKE_OVER_AFTER, count=BATCH)
        sent, is_down = 0, False
        for entry in (*overdue, *fresh):
            try:
                told = Notification.read(entry.fields["notification"])
            except (KeyError, ValueError, TypeError):
                log.warning("not a notification; dropped", hook=self._hook.name, entry=entry.entry_id)
                await self._outbox.done(self._reader, [entry])
                continue
            age = time.time() - int(entry.entry_id.partition("-")[0]) / 1000
            reason = f"not taken within {GIVE_UP_AFTER.total_seconds():.0f} s"
            if age < GIVE_UP_AFTER.total_seconds():
                if is_down:
                    continue
                try:
                    await self._client.tell(self._hook.url.get_secret_value(), self._message(told))
                except RefusedForGood as error:
                    reason = error.reason
                except NotTold as error:
                    log.warning(
                        "webhook not told", hook=self._hook.name, reason=error.reason, deliveries=entry.deliveries
                    )
                    is_down = True
                    continue
                else:
                    await self._outbox.done(self._reader, [entry])
                    sent += 1
                    continue
            await self._park(entry, told, reason)
        return sent

    def _message(self, told: Notification) -> Message:
        secret = self._hook.secret.get_secret_value() if self._hook.secret else None
        return message(told, shape=self._hook.shape, secret=secret, now=time.time())

    async def _park(self, entry: Entry, told: Notification, reason: str) -> None:
        about = HostKey(told.tenant, told.service, told.hostname)
        await self._outbox.park(
            self._reader, entry, hook=self._hook.name, about=about, request_id=told.request_id, reason=reason,
            now=ms(time.time()),
        )  # fmt: skip
        log.error("notification given up", hook=self._hook.name, request_id=told.request_id, reason=reason)
