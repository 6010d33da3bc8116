"""Telling a webhook: one POST, tried a few times. Its address appears in no log, error or repr."""

import logging
from datetime import timedelta
from typing import Final, Self

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from workers.notifications import Message

TIMEOUT: Final = timedelta(seconds=5)
TRIES: Final = 3
LONGEST_WAIT_S: Final = 4.0
FIRST_WAIT_S: Final = 0.25
WORTH_ANOTHER_TRY: Final = frozenset({408, 425, 429})


class NotTold(Exception):
    """The webhook did not take it, this time. `reason` never holds the address; `status` is 0 without an answer."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class RefusedForGood(NotTold):
    """The webhook will not take it, however often it is tried."""


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, NotTold) and not isinstance(error, RefusedForGood)


class WebhookClient:
    """Connections to webhooks. Redirects are not followed: they could lead where nobody has configured us to go."""

    def __init__(self, *, first_wait_s: float = FIRST_WAIT_S, timeout: timedelta = TIMEOUT, tries: int = TRIES) -> None:
        logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it logs every address
        self._http = httpx.AsyncClient(timeout=timeout.total_seconds(), follow_redirects=False)
        self._first_wait_s = first_wait_s
        self._tries = tries

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def tell(self, url: str, message: Message) -> None:
        """Send a message; a few tries, with waits that are random up to a cap.

        Raises:
            RefusedForGood: it answered that the message is wrong, or gone.
            NotTold: it did not answer well enough.
        """
        tries = AsyncRetrying(
            stop=stop_after_attempt(self._tries),
            wait=wait_random_exponential(multiplier=self._first_wait_s, max=LONGEST_WAIT_S),
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        await tries(self._tell_once, url, message)

    async def _tell_once(self, url: str, message: Message) -> None:
        try:
            # Streamed and left unread: what it answers beside the status is of no use, and may be endless.
            async with self._http.stream("POST", url, content=message.body, headers=message.headers) as answer:
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NotTold(type(error).__name__) from None
        if 200 <= status < 300:  # noqa: PLR2004 - success, as HTTP has it
            return
        if status < 500 and status not in WORTH_ANOTHER_TRY:  # noqa: PLR2004 - the server's own fault, as HTTP has it
            raise RefusedForGood(f"answered {status}", status)
        raise NotTold(f"answered {status}", status)
