"""Uploads profiles: from the spool to the server, oldest first, until each is taken or refused for good."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from agent import outbox, parcel
from agent.backoff import retrying
from agent.parcel import Sender
from agent.profile_facts import metadata
from agent.run_profile import Profile
from agent.spool import Spool
from agent.stacks import collapsed
from agent.transport import Refused, TransportError
from agent.waiting import pause

log: FilteringBoundLogger = structlog.get_logger()

_SERVER_ERROR: Final = 500
_UNAVAILABLE: Final = 503
_MOST_TRIES: Final = 20
"""How often a server may choke on one profile before it is put aside; what is no answer to it does not count."""
_MAX_PLACES: Final = 100
_NO_SUCH_PLACE: Final = frozenset({404, 405, 501})
"""The server does not know of uploads: one of the field that takes commands alone, or ours before an upgrade."""
_UNWANTED_FOR: Final = timedelta(minutes=10)


class Uploads(Protocol):
    """The part of the transport that uploads."""

    async def upload(self, content: bytes, *, name: str, sender: Sender) -> str | None:
        """Send a profile; where the server says it is now."""


class Uploader:
    """Between the spool and the server."""

    def __init__(
        self,
        uploads: Uploads,
        spool: Spool,
        sender: Sender,
        *,
        cap: timedelta,
        stopping: asyncio.Event,
        facts_of: Callable[[Profile], dict[str, Any]] = metadata,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            uploads: sends.
            spool: what waits.
            sender: whose profiles these are.
            cap: bounds the pause between attempts.
            stopping: ends the trying.
            facts_of: what a profile's first line says.
        """
        self._uploads = uploads
        self._spool = spool
        self._sender = sender
        self._cap = cap
        self._stopping = stopping
        self._facts_of = facts_of
        self._waiting = asyncio.Event()
        self._sooner = asyncio.Event()
        self._moved = asyncio.Condition()
        self._places: dict[str, str | None] = {}
        self._tries: dict[str, int] = {}
        self._failing = False
        self._unwanted = False

    async def keep(self, profile: Profile, *, name: str) -> None:
        """Put a profile into the spool, on disk.

        Raises:
            OSError: it could not be written.
        """
        await asyncio.to_thread(self._pack, profile, name)
        self._waiting.set()

    async def place_of(self, name: str, *, within: timedelta) -> str | None:
        """Where the server has a profile: waited for, unless it cannot be reached; None when it has none yet."""
        try:
            async with asyncio.timeout(within.total_seconds()), self._moved:
                await self._moved.wait_for(lambda: name in self._places or self._failing)
        except TimeoutError:
            return None
        return self._places.get(name)

    def news(self) -> tuple[str, ...]:
        """What was lost or refused since this was asked last; nothing, where the server takes no profiles at all."""
        news = self._spool.news()
        return () if self._unwanted else news

    def left(self) -> str | None:
        """What waits, for people to read; None when nothing does."""
        count = len(self._spool.waiting())
        return None if count == 0 else "1 profile is" if count == 1 else f"{count} profiles are"

    def facts(self) -> dict[str, Any]:
        """What the server is told of the spool with the capabilities; nothing, as long as nothing was lost."""
        return {"dropped": self._spool.dropped} if self._spool.dropped and not self._unwanted else {}

    def retry_now(self) -> None:
        """The server is back: try again before the pause is over."""
        self._sooner.set()

    async def run(self) -> None:
        """Upload what waits, whenever something does, until the agent shuts down."""
        while not self._stopping.is_set():
            self._waiting.clear()
            attempts = retrying(
                cap=self._cap, stopping=self._stopping, on_failure=self._note_failure, sooner=self._sooner
            )
            try:
                await attempts(self.deliver)
            except TransportError:
                return  # shutting down; the spool is on disk
            if self._unwanted:
                await pause(_UNWANTED_FOR, self._sooner, self._stopping)
            else:
                await pause(timedelta(hours=1), self._waiting, self._stopping)

    async def deliver(self) -> None:
        """Upload everything that waits, once. One profile that the server chokes on does not hold up the others.

        Raises:
            TransportError: something is left over; the first reason.
        """
        self._sooner.clear()
        trouble: TransportError | None = None
        for name in await asyncio.to_thread(self._spool.waiting):
            try:
                await self._send(name)
            except Refused as error:
                if error.status in _NO_SUCH_PLACE:
                    await self._note_unwanted(error)
                    return
                trouble = trouble or error
                if error.status < _SERVER_ERROR or error.status == _UNAVAILABLE:
                    break
            except TransportError as error:
                trouble = trouble or error
                break
        await self._say(failing=trouble is not None)
        if trouble is not None:
            raise trouble

    async def _send(self, name: str) -> None:
        try:
            content = await asyncio.to_thread(self._spool.read, name)
        except OSError as error:
            await asyncio.to_thread(self._spool.put_aside, name, f"it cannot be read: {error.strerror}")
            return
        if content is None:
            return
        try:
            place = await self._uploads.upload(content, name=name, sender=self._sender)
        except Refused as error:
            if not self._is_given_up_on(name, error):
                raise
            await asyncio.to_thread(self._spool.put_aside, name, f"the server refuses it ({error})")
            await self._settle(name, None)
            return
        self._unwanted = False
        await asyncio.to_thread(self._spool.done, name)
        log.info("profile uploaded", profile=name, bytes=len(content), place=place)
        await self._settle(name, place)

    async def _note_unwanted(self, error: Refused) -> None:
        if not self._unwanted:
            log.warning("the server takes no profiles: they stay on this host, and some wait", reason=str(error))
        self._unwanted = True
        await self._say(failing=True)

    def _is_given_up_on(self, name: str, error: Refused) -> bool:
        if error.status in _NO_SUCH_PLACE:
            return False
        if outbox.is_final(error.status):
            return True
        if error.status < _SERVER_ERROR or error.status == _UNAVAILABLE:
            return False  # it is about the token, the limits or the server, not about this profile
        self._tries[name] = self._tries.get(name, 0) + 1
        return self._tries[name] >= _MOST_TRIES

    async def _settle(self, name: str, place: str | None) -> None:
        self._tries.pop(name, None)
        self._places[name] = place
        for old in list(self._places)[:-_MAX_PLACES]:
            del self._places[old]
        await self._say(failing=False)

    async def _say(self, *, failing: bool) -> None:
        async with self._moved:
            self._failing = failing
            self._moved.notify_all()

    def _pack(self, profile: Profile, name: str) -> None:
        content = parcel.pack(
            self._facts_of(profile),
            collapsed.render_apart(profile.apart),
            containers=sorted(filter(None, profile.apart)),
            sender=self._sender,
            started_at=profile.started_at,
            finished_at=profile.finished_at,
        )
        self._spool.put(name, content)

    def _note_failure(self, error: TransportError, attempt: int, rest: timedelta) -> None:
        tell = log.warning if attempt == 1 else log.debug
        tell(
            "profiles not uploaded yet", reason=str(error), attempt=attempt,
            pause_seconds=round(rest.total_seconds(), 1),
        )  # fmt: skip
