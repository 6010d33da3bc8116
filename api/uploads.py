"""Taking in an uploaded profile: read, checked, stored, and then said to be there."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import structlog

from api.bodies import unzipped
from api.problems import Refusal, invalid
from broker.command_store import CommandStore
from broker.uploads import Uploads
from profiles.shelves import Envelope, RawUploads
from profiles.upload import BadUpload, Upload, read_collapsed, read_json
from protocol.names import HostKey

log = structlog.get_logger(__name__)

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of an upload as it is sent."""
MOST_PLAIN_BYTES: Final = 96 * 1024 * 1024
"""Unzipped."""
AT_ONCE: Final = 2
"""Uploads that one process reads at a time: each may take some hundred MB, and the others wait."""
Form = Literal["agent", "collapsed"]


@dataclass(frozen=True)
class OfFile:
    """What a collapsed file does not say itself: whose it is, when it began and when it ended, UTC."""

    hostname: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True)
class Sent:
    """An upload as it came.

    Attributes:
        form: `agent` is the JSON of agents of the field.
        content: the body as sent.
        tenant: whose.
        service: of which service.
        is_zipped: whether the body is gzip.
        of_file: of a collapsed file alone.
    """

    form: Form
    content: bytes
    tenant: str
    service: str
    is_zipped: bool
    of_file: OfFile | None = None


class Intake:
    """Where uploads go."""

    def __init__(self, raw: RawUploads, uploads: Uploads, commands: CommandStore) -> None:
        self._raw = raw
        self._uploads = uploads
        self._commands = commands
        self._room = asyncio.Semaphore(AT_ONCE)

    async def take(self, sent: Sent) -> Upload:
        """Store an upload and have it indexed. Taken again, it is the same profile.

        Raises:
            Refusal: it cannot be read, or not be stored; nothing is.
            BrokerUnavailable: nobody could be told of it, or asked.
        """
        now = datetime.now(UTC)
        async with self._room:
            upload = await asyncio.to_thread(_read, sent, now)
            requests = await self._commands.requests_of(upload.facts.host, upload.facts.command_id)
            path = await asyncio.to_thread(self._keep, sent, upload, now, requests)
        await self._uploads.announce(upload.facts.host, path)
        return upload

    def _keep(self, sent: Sent, upload: Upload, now: datetime, requests: list[str]) -> str:
        facts = upload.facts
        envelope = Envelope(
            tenant=facts.host.tenant, service=facts.host.service, host=facts.host.host, form=sent.form,
            is_zipped=sent.is_zipped, started_at=facts.started_at.isoformat(), ended_at=facts.ended_at.isoformat(),
            received_at=now.isoformat(), request_ids=requests,
        )  # fmt: skip
        try:
            return self._raw.keep(facts.profile_id, envelope, sent.content)
        except OSError as error:
            raise unavailable(error) from error


def unavailable(error: OSError) -> Refusal:
    """The store of profiles does not do what it should: its own words are for the log."""
    log.error("profiles cannot be stored or read", reason=error.strerror or type(error).__name__)
    return Refusal("storage_unavailable", "The store of profiles does not answer as it should.")


def _read(sent: Sent, now: datetime) -> Upload:
    content = unzipped(sent.content, most=MOST_PLAIN_BYTES) if sent.is_zipped else sent.content
    try:
        if sent.of_file is None:
            return read_json(content, tenant=sent.tenant, service=sent.service, now=now)
        host = HostKey(sent.tenant, sent.service, sent.of_file.hostname)
        started_at, ended_at = sent.of_file.started_at, sent.of_file.ended_at
        return read_collapsed(content, host, started_at=started_at, ended_at=ended_at, now=now)
    except BadUpload as error:
        raise invalid(more=error.faults) from None
