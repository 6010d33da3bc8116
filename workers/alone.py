"""The archiver and the notifier, wired: the roles that have a process of their own, for what they wait for is outside.

What they stand on, an HTTP client and every kind of file, is loaded where one of them runs and nowhere else.
"""

import functools
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

from broker.archiving import ArchivedStreams
from broker.connection import Broker
from broker.lag import Lag, total
from broker.lease import Lease
from broker.outbox import NOTIFIERS, Outbox
from broker.request_store import RequestStore
from broker.results import Results
from workers.archive import Archive
from workers.archiver import LOOK_EVERY, Archiver, Closing
from workers.loop import ARCHIVER, NOTIFIER, Pass
from workers.notifier import Router, Sender
from workers.settings import WorkerSettings
from workers.webhook_client import WebhookClient
from workers.webhooks import Webhook


async def passes(
    broker: Broker, settings: WorkerSettings, instance: str, *, hooks: Sequence[Webhook], until: AsyncExitStack
) -> dict[str, Pass]:
    """Each of the two; the notifier where there are webhooks.

    Args:
        broker: a connection.
        settings: of the workers.
        instance: the name of this process among the consumers.
        hooks: whom to tell.
        until: what closes the connections to them.
    """
    wired = {ARCHIVER: _archiving(broker, settings, instance)}
    if hooks:
        client = await until.enter_async_context(WebhookClient())
        wired |= _notifying(broker, hooks, client, RequestStore(broker), instance)
    return wired


def _archiving(broker: Broker, settings: WorkerSettings, instance: str) -> Pass:
    archived = ArchivedStreams(broker)

    @functools.cache  # an archive is looked for only where the role is at work: its protocol may not be installed
    def archiver() -> Archiver:
        closing = Closing(age=timedelta(seconds=settings.archive_after))
        return Archiver(archived, Archive(settings.archive_at), Lease(broker, ARCHIVER, instance), closing)

    async def archive() -> int:
        return await archiver().archive()

    async def not_archived() -> Lag:
        return total((await archived.lag()).values())

    return Pass(archive, LOOK_EVERY, not_archived)


def _notifying(
    broker: Broker, hooks: Sequence[Webhook], client: WebhookClient, requests: RequestStore, instance: str
) -> dict[str, Pass]:
    """One loop that routes, and one for each webhook, so that none holds up another."""
    outbox = Outbox(broker)
    outcomes = Results(broker).reader(NOTIFIERS, instance, since="$")  # nobody is told of the time before
    loops = {NOTIFIER: Pass(Router(hooks, outbox, requests, outcomes).route, lag=outcomes.lag)}
    for hook in hooks:
        reader = outbox.reader(hook.name, instance)
        loops[f"{NOTIFIER}:{hook.name}"] = Pass(Sender(hook, outbox, reader, client).send, lag=reader.lag)
    return loops
