"""Taking in an uploaded profile: read, checked, stored, and then said to be there."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Final, Literal, TypeVar, cast

import structlog

from api.bodies import malformed
from api.body_limit import too_large
from api.problems import Refusal, invalid, not_found
from broker.command_store import CommandStore
from broker.uploads import Uploads
from profiles.objects import SPOOLED_IN_MEMORY
from profiles.portions import MOST_PLAIN_BYTES, BadZip, Plain, TooLong
from profiles.questions import Engine, Place, Selection
from profiles.shelves import HOUR, Envelope, RawUploads, hour_of
from profiles.upload import FILES, BadUpload, Beside, Upload, read_json
from protocol.names import HostKey
from protocol.problems import FieldFault

log = structlog.get_logger(__name__)

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of an upload as it is sent."""
AT_ONCE: Final = 2
"""Uploads that one process reads at a time: each may take a hundred MB. The others wait, on the disk."""
MOST_SPOOLED: Final = 1024**3
"""Bytes of all uploads of one process that are coming or wait to be read: they shall not fill the disk. Who comes then
is told to come again."""
Answer = TypeVar("Answer")
Form = Literal["agent", "collapsed", "pprof"]


@dataclass(frozen=True)
class Sent:
    """An upload as it came.

    Attributes:
        form: `agent` is the JSON of agents of the field.
        content: the body as sent, in a file of its own.
        tenant: whose.
        service: of which service.
        is_zipped: whether the body is gzip.
        beside: what was said beside a file; None with `agent`.
    """

    form: Form
    content: BinaryIO
    tenant: str
    service: str
    is_zipped: bool
    beside: Beside | None = None


class Intake:
    """Where uploads go."""

    def __init__(self, raw: RawUploads, uploads: Uploads, commands: CommandStore) -> None:
        self._raw = raw
        self._uploads = uploads
        self._commands = commands
        self._spooled = 0
        """Bytes, of `MOST_SPOOLED`."""
        self._room = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def received(self, parts: AsyncIterable[bytes]) -> AsyncIterator[BinaryIO]:
        """A body as it comes, in a file, until the end of the block: next to nothing of a large one is in memory.

        Raises:
            Refusal: there is no room for it.
        """
        seen = 0
        try:
            with self._raw.spool() as spool:
                file = cast("BinaryIO", spool)
                async for part in parts:
                    seen += len(part)
                    self._spooled += len(part)
                    if self._spooled > MOST_SPOOLED:
                        log.warning("more uploads are coming than there is room for", bytes=self._spooled)
                        raise Refusal("storage_unavailable", "Too many large uploads are coming just now.")
                    if seen > SPOOLED_IN_MEMORY:  # a disk may take its time
                        await asyncio.to_thread(file.write, part)
                    else:
                        file.write(part)
                yield file
        except OSError as error:
            raise unavailable(error) from error
        finally:
            self._spooled -= seen

    async def take(self, sent: Sent, *, may_speak: Callable[[HostKey], Awaitable[None]]) -> Upload:
        """Store an upload and have it indexed. Taken again, it is the same profile.

        Args:
            sent: what came.
            may_speak: raises for a host that the uploader may not speak for; asked once the upload says whose it is.

        Raises:
            Refusal: it cannot be read, or not be stored; nothing is.
            BrokerUnavailable: nobody could be told of it, or asked.
        """
        now = datetime.now(UTC)
        async with self._room:
            upload = await asyncio.to_thread(_read, sent, now)
            await may_speak(upload.facts.host)
            requests = await self._commands.requests_of(upload.facts.host, upload.facts.command_id)
            path = await asyncio.to_thread(self._keep, sent, upload, now, requests)
        await self._uploads.announce(upload.facts.host, path)
        return upload

    async def is_known(self, place: Place, engine: Engine) -> bool:
        """Whether there is, or was, such a profile: indexed, waiting to be, or deleted.

        Raises:
            Refusal: the store does not answer, or this is no profile's id.
        """
        hour = _hour_of(place.profile_id)
        selection = Selection(place.tenant, place.service, hour, hour + HOUR, {"profile_id": [place.profile_id]})

        def look() -> bool:
            if self._raw.is_there(place) or self._raw.is_deleted(place):
                return True
            return bool(engine.profiles(selection, after="", most=1))

        return await _of_the_store(look)

    async def delete(self, place: Place, engine: Engine) -> None:
        """Delete a profile for good. Done again it changes nothing.

        That it is gone is written first: who indexes or packs it just now looks there afterwards.

        Raises:
            Refusal: the store does not answer; some of it may be gone, and doing it again goes on.
        """

        def gone() -> None:
            self._raw.delete(place)
            engine.forget(place)

        await _of_the_store(gone)

    def _keep(self, sent: Sent, upload: Upload, now: datetime, requests: list[str]) -> str:
        facts = upload.facts
        envelope = Envelope(
            tenant=facts.host.tenant, service=facts.host.service, host=facts.host.host, form=sent.form,
            is_zipped=sent.is_zipped, started_at=facts.started_at.isoformat(), ended_at=facts.ended_at.isoformat(),
            received_at=now.isoformat(), request_ids=requests,
            facts=dict(sent.beside.facts) if sent.beside is not None else {},
            sample_type=sent.beside.sample_type if sent.beside is not None else "",
        )  # fmt: skip
        try:
            if self._raw.is_deleted(Place(facts.host.tenant, facts.host.service, facts.profile_id)):
                why = "this profile was deleted"
                raise Refusal(
                    "conflict",
                    "It was deleted, and stays so.",
                    errors=[FieldFault(field="profile", message=why, code="deleted")],
                )
            return self._raw.keep(facts.profile_id, envelope, sent.content)
        except OSError as error:
            raise unavailable(error) from error


def _hour_of(profile_id: str) -> datetime:
    try:
        return hour_of(profile_id)
    except ValueError:
        raise not_found("profile_id", "There is no such profile.") from None


async def _of_the_store(ask: Callable[[], Answer]) -> Answer:
    try:
        return await asyncio.to_thread(ask)
    except OSError as error:
        raise unavailable(error) from error


def unavailable(error: OSError) -> Refusal:
    """The store of profiles does not do what it should: its own words are for the log."""
    log.error("profiles cannot be stored or read", reason=error.strerror or type(error).__name__)
    return Refusal("storage_unavailable", "The store of profiles does not answer as it should.")


def _read(sent: Sent, now: datetime) -> Upload:
    """Read an upload to its end, once for what is wrong with it and once for its id; its stacks are not kept."""
    content = Plain(sent.content, is_zipped=sent.is_zipped, most=MOST_PLAIN_BYTES)
    try:
        if sent.beside is None:
            return read_json(content, tenant=sent.tenant, service=sent.service, now=now, keeps=False)
        return FILES[sent.form](content, sent.beside, now=now, keeps=False)
    except BadZip as error:
        raise malformed(str(error)) from None
    except TooLong as error:
        raise too_large(error.most) from None
    except BadUpload as error:
        raise invalid(more=error.faults) from None
