"""Pushing indexed profiles to where a user has them too. What is not taken is tried again for a day."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from broker.streams import Entry
from broker.uploads import Pushes, Uploads
from profiles.dialects import labelled
from profiles.reindexing import UNREADABLE, read_again
from profiles.shelves import RawUploads
from profiles.sinks import outgoing
from workers.notifications import Message
from workers.sinks import Sink
from workers.webhook_client import NotTold, RefusedForGood, WebhookClient

log = structlog.get_logger(__name__)

AT_A_TIME: Final = 50
TRIED_AGAIN_AFTER: Final = timedelta(seconds=20)
GIVEN_UP_AFTER: Final = timedelta(days=1)
PATIENCE_S: Final = 10.0
MAY_BE_MENDED: Final = frozenset({401, 403, 404})
"""Refusals for which a setting is to blame, of this side or of that."""


class Pusher:
    """Pushes what waits to be pushed."""

    def __init__(
        self, pushes: Pushes, uploads: Uploads, raw: RawUploads, sinks: Sequence[Sink], client: WebhookClient
    ) -> None:
        self._pushes = pushes
        self._uploads = uploads
        self._raw = raw
        self._sinks = {sink.name: sink for sink in sinks}
        self._client = client

    async def push(self) -> int:
        """Push until nothing waits, or uploads do: they go first. Gives how many profiles were taken.

        Raises:
            BrokerUnavailable: the server cannot be reached; what was taken and is not noted is pushed again.
            OSError: the store does not answer; likewise.
        """
        pushed, end, away = 0, time.monotonic() + PATIENCE_S, set[str]()
        while entries := await self._pushes.take(idle=TRIED_AGAIN_AFTER, most=AT_A_TIME):
            for entry in entries:
                if time.monotonic() > end or (await self._uploads.lag()).behind:
                    return pushed  # what was read and not pushed is claimed by the next job
                sink = self._sinks.get(entry.fields["sink"])
                if sink is not None and sink.name in away:
                    continue
                if sink is None or _is_too_old(entry) or await self._is_settled(entry, sink, away):
                    await self._pushes.done([entry])
                    pushed += sink is not None
        return pushed

    async def _is_settled(self, entry: Entry, sink: Sink, away: set[str]) -> bool:
        """Whether a sink has a profile, or never will."""
        path = entry.fields["path"]
        try:
            upload = await asyncio.to_thread(lambda: read_again(*self._raw.read(path)))
        except (FileNotFoundError, *UNREADABLE) as error:
            log.warning("not pushed", path=path, sink=sink.name, reason=type(error).__name__)
            return True
        stacks: dict[str, int] = {}
        for _, stack, count in labelled(upload.collapsed.header, upload.collapsed.stacks):
            stacks[stack] = stacks.get(stack, 0) + count
        call = await asyncio.to_thread(outgoing, sink.kind, upload, stacks)
        headers = {**call.headers, **{name: value.get_secret_value() for name, value in sink.headers.items()}}
        try:
            address = sink.url.get_secret_value().rstrip("/") + call.target
            await self._client.tell(address, Message(call.body, headers))
        except RefusedForGood as refused:
            log.warning("not pushed", path=path, sink=sink.name, reason=refused.reason)
            if refused.status not in MAY_BE_MENDED:
                return True
            away.add(sink.name)
            return False
        except NotTold as error:
            log.warning("not pushed yet", path=path, sink=sink.name, reason=error.reason)
            away.add(sink.name)
            return False
        return True


def _is_too_old(entry: Entry) -> bool:
    """By when it was put there, which its id says."""
    if time.time() - int(entry.entry_id.partition("-")[0]) / 1000 < GIVEN_UP_AFTER.total_seconds():
        return False
    log.error("a profile was not pushed in a day and is given up", path=entry.fields["path"], sink=entry.fields["sink"])
    return True
