"""The agent's calls to the server, and the only module that knows how they travel."""

import asyncio
import contextlib
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

import httpx
import structlog
from structlog.typing import FilteringBoundLogger

from agent.certificates import Certificates
from agent.credentials import Secret
from agent.parcel import Sender
from agent.replies import NotAReply, Reply, read_reply
from protocol.completions import Completion
from protocol.enrolment import EnrolmentWish
from protocol.heartbeats import Heartbeat
from protocol.pacing import MAX_INTERVAL

log: FilteringBoundLogger = structlog.get_logger()

HEARTBEAT_PATH: Final = "/api/metrics/heartbeat"
COMPLETION_PATH: Final = "/api/metrics/command_completion"
ENROLMENT_PATH: Final = "/api/v1/enrol"
UPLOAD_PATH: Final = "/api/v2/profiles"
_CONNECT_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 10.0
"""How much later than asked for the answer to a held heartbeat may come."""
_MAX_DETAIL: Final = 300
_MAX_PLACE: Final = 2_000
_MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
"""More than any command; a server that is not ours, or no longer itself, must not fill the host's memory."""
_OF_THE_WIRE: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_SUCCESS: Final = range(200, 300)


class TransportError(Exception):
    """A call failed."""


class Unreachable(TransportError):
    """No answer, or none that makes sense. `after` is how long the call had lasted."""

    def __init__(self, reason: str, *, after: timedelta = timedelta(0)) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class Refused(TransportError):
    """The server answered with an error. `detail` is its own word on it, cut short."""

    def __init__(self, status: int, *, retry_after: timedelta | None, detail: str) -> None:
        super().__init__(f"{status}: {detail}" if detail else str(status))
        self.status = status
        self.retry_after = retry_after
        self.detail = detail


@dataclass(frozen=True)
class Answer:
    """What a server said: `body` is None for what is no JSON, `date` its clock, `detail` its own word on an error."""

    status: int
    body: Any
    date: str | None
    detail: str


@dataclass(eq=False)
class _Line:
    """Connections by one set of certificates, and how many calls use them just now."""

    client: httpx.AsyncClient
    calls: int = 0


def ssl_context(certificates: Certificates) -> ssl.SSLContext:
    """What the certificates make of a connection; without a CA bundle the built-in authorities are trusted.

    Raises:
        OSError: a file cannot be read or used.
    """
    bundle = certificates.ca_bundle
    return certificates.applied(
        ssl.create_default_context(cafile=str(bundle)) if bundle else httpx.create_ssl_context()
    )


class Transport:
    """A connection to one server. `token` is asked before each call, so that it can be renewed."""

    def __init__(
        self,
        server: str,
        *,
        token: Callable[[], Secret | None],
        user_agent: str,
        ca_bundle: Path | None,
        client_cert: Path | None = None,
        client_key: Path | None = None,
        send_timeout: timedelta,
    ) -> None:
        """Open nothing yet.

        Raises:
            OSError: the CA bundle or the client's certificate cannot be read.
        """
        self._server = server
        self._token = token
        self._send_timeout = send_timeout.total_seconds()
        self._user_agent = user_agent
        self._certificates = Certificates(ca_bundle, client_cert, client_key)
        self._stamps = self._certificates.stamps()
        self._line = self._connect()
        self._retired: set[_Line] = set()

    async def aclose(self) -> None:
        """Close the connections."""
        for line in (self._line, *self._retired):
            await line.client.aclose()

    def _connect(self) -> "_Line":
        """Connections to be, by the certificates as they are now."""
        verify: ssl.SSLContext | bool = False  # an http:// address needs no certificates, whose loading costs memory
        if urlsplit(self._server).scheme == "https":
            verify = ssl_context(self._certificates)
        return _Line(httpx.AsyncClient(verify=verify, headers={"User-Agent": self._user_agent}))

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[httpx.AsyncClient]:
        """The connections for one call. Once a certificate's file has changed it is another set.

        While a new certificate lies there without its key, the old set serves on. One that is no longer used is closed
        when its last call has ended: a held heartbeat goes on.
        """
        if (stamps := self._certificates.stamps()) != self._stamps:
            try:
                fresh = self._connect()
            except OSError as error:
                log.warning("the certificates cannot be used; the old ones serve on", reason=str(error))
            else:
                self._retired.add(self._line)
                self._line, self._stamps = fresh, stamps
                log.info("certificates read anew")
        line = self._line
        line.calls += 1
        try:
            yield line.client
        finally:
            line.calls -= 1
            for old in [old for old in self._retired if not old.calls]:
                self._retired.discard(old)
                await old.client.aclose()

    async def ask(self, path: str, *, token: Secret | None) -> Answer:
        """One `GET`, whatever the status of its answer.

        Raises:
            Unreachable: no answer.
        """
        headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
        try:
            async with (
                self._connected() as client,
                client.stream(
                    "GET", self._server + path, headers=headers,
                    timeout=httpx.Timeout(self._send_timeout, connect=_CONNECT_SECONDS),
                ) as arriving,
            ):  # fmt: skip
                response = await self._whole(arriving, within=self._send_timeout)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            told = type(error).__name__ if isinstance(error, httpx.LocalProtocolError) else _told(error)
            raise Unreachable(f"{self._server} cannot be reached: {told}") from None
        try:
            body: Any = response.json()
        except (ValueError, RecursionError):
            body = None
        return Answer(response.status_code, body, response.headers.get("date"), _detail(response))

    async def heartbeat(self, beat: Heartbeat, *, wait: timedelta) -> Reply:
        """Beat, and let the server hold the call for as long as `wait` (whole seconds; zero: not at all).

        Raises:
            Unreachable: no answer, or one that is not to a heartbeat.
            Refused: an error status.
        """
        seconds = int(wait.total_seconds())
        headers = {"Prefer": f"wait={seconds}"} if seconds else {}
        response = await self._post(HEARTBEAT_PATH, beat, headers, read_timeout=seconds + _GRACE_SECONDS)
        applied = response.headers.get("preference-applied", "").lower().replace(" ", "")
        try:
            return read_reply(response.json(), held=seconds > 0 and applied.startswith("wait"))
        except NotAReply as error:
            raise Unreachable(str(error)) from error
        except (ValueError, RecursionError) as error:
            raise Unreachable(f"{self._server} answered something else than JSON; is it the right address?") from error

    async def complete(self, completion: Completion) -> None:
        """Say how a command ended. A server that takes whole seconds only gets whole seconds.

        Raises:
            Unreachable: no answer.
            Refused: an error status.
        """
        try:
            await self._post(COMPLETION_PATH, _completion(completion), {}, read_timeout=self._send_timeout)
        except Refused as error:
            exact = completion.execution_time
            if error.status != httpx.codes.UNPROCESSABLE_ENTITY or exact is None or exact.is_integer():
                raise
            rounded = _completion(completion, seconds=max(1, round(exact)))
            await self._post(COMPLETION_PATH, rounded, {}, read_timeout=self._send_timeout)

    async def enrol(self, wish: EnrolmentWish, token: Secret) -> None:
        """Buy this host a credential of its own, with an enrolment token.

        Raises:
            Unreachable: no answer.
            Refused: an error status.
        """
        await self._post(ENROLMENT_PATH, wish, {}, read_timeout=self._send_timeout, token=token)

    async def upload(self, content: bytes, *, name: str, sender: Sender) -> str | None:
        """Send a profile as `parcel.pack` made it; gives where it is now, if the server says so: an address, or an id.

        The headers and parameters are those of agents in the field, but for their parameter `key`: a token in an
        address ends up in logs. The same name is the same upload, however often it is tried.

        Raises:
            Unreachable: no answer.
            Refused: an error status.
        """
        token = self._token()
        seed = f"{sender.service_name}\0{sender.hostname}\0{name}"
        headers: dict[str, str | bytes] = {
            "Content-Encoding": "gzip",
            "GPROFILER-SERVICE-NAME": sender.service_name.encode(),
            "Idempotency-Key": hashlib.sha256(seed.encode(errors="surrogatepass")).hexdigest()[:32],
            **({"GPROFILER-API-KEY": token.reveal()} if token else {}),
        }
        about = {"service": sender.service_name, "hostname": sender.hostname, "version": sender.agent_version}
        response = await self._post(
            f"{UPLOAD_PATH}?{urlencode(about)}", content, headers, read_timeout=self._send_timeout, token=token
        )
        return _place(response, self._server)

    async def _post(
        self,
        path: str,
        body: Heartbeat | EnrolmentWish | bytes,
        headers: Mapping[str, str | bytes],
        *,
        read_timeout: float,
        token: Secret | None = None,
    ) -> httpx.Response:
        token = token or self._token()
        content = body if isinstance(body, bytes) else body.model_dump_json(exclude_none=True, exclude_defaults=True)
        sent = {"Content-Type": "application/json", **headers}
        if token:
            sent["Authorization"] = f"Bearer {token.reveal()}"
        began = time.monotonic()
        try:
            async with (
                self._connected() as client,
                client.stream(
                    "POST",
                    self._server + path,
                    content=content,
                    headers=[
                        (key.encode(), value if isinstance(value, bytes) else value.encode())
                        for key, value in sent.items()
                    ],
                    timeout=httpx.Timeout(read_timeout, connect=_CONNECT_SECONDS),
                ) as arriving,
            ):
                response = await self._whole(arriving, within=read_timeout)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # Not `str(error)` of a protocol error on our side: that may quote a header.
            told = type(error).__name__ if isinstance(error, httpx.LocalProtocolError) else _told(error)
            after = timedelta(seconds=time.monotonic() - began)
            raise Unreachable(f"{self._server} cannot be reached: {told}", after=after) from None
        if response.status_code not in _SUCCESS:
            raise Refused(response.status_code, retry_after=_retry_after(response), detail=_detail(response))
        return response

    async def _whole(self, arriving: httpx.Response, *, within: float) -> httpx.Response:
        """The answer with its body, unpacked.

        Raises:
            Unreachable: it is too long, or has not ended in so many seconds from its head on: a server that sends a
                byte now and then would hold the call for ever.
        """
        try:
            async with asyncio.timeout(within):
                return await self._unpacked(arriving)
        except TimeoutError:
            raise Unreachable(f"{self._server} did not end its answer within {within:g} s") from None

    async def _unpacked(self, arriving: httpx.Response) -> httpx.Response:
        content = bytearray()
        async for chunk in arriving.aiter_bytes():
            content += chunk
            if len(content) > _MAX_ANSWER_BYTES:
                raise Unreachable(f"{self._server} answered with more than {_MAX_ANSWER_BYTES} bytes")
        headers = [(name, value) for name, value in arriving.headers.multi_items() if name not in _OF_THE_WIRE]
        return httpx.Response(
            arriving.status_code, headers=headers, content=bytes(content), extensions=arriving.extensions
        )


def _completion(completion: Completion, *, seconds: int | None = None) -> bytes:
    """The body; whole seconds are a whole number, `2` and not `2.0`, as some servers take no other."""
    said = completion.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    exact = said.get("execution_time")
    if seconds is not None or (isinstance(exact, float) and exact.is_integer()):
        said["execution_time"] = seconds if seconds is not None else int(exact or 0)
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _detail(response: httpx.Response) -> str:
    if response.is_redirect:
        return f"the server sends elsewhere ({response.headers.get('location', '')[:_MAX_DETAIL]}); name that address"
    try:
        problem: Any = response.json()
    except (ValueError, RecursionError):
        return response.reason_phrase
    if not isinstance(problem, dict):
        return response.reason_phrase
    told = problem.get("detail") or problem.get("title") or problem.get("message") or response.reason_phrase
    return str(told)[:_MAX_DETAIL]


def _place(response: httpx.Response, server: str) -> str | None:
    """Where the server says that a profile is: an address of its own, or what it calls it."""
    try:
        said: Any = response.json()
    except (ValueError, RecursionError):
        said = None
    told = said if isinstance(said, dict) else {}
    link = told.get("url") or response.headers.get("location")
    if isinstance(link, str) and link:
        return urljoin(f"{server}/", link)[:_MAX_PLACE]
    name = told.get("results_path") or told.get("profile_id") or told.get("id")
    return str(name)[:_MAX_PLACE] if isinstance(name, str | int) else None


def _retry_after(response: httpx.Response) -> timedelta | None:
    """Seconds, or a date: taken against the server's own clock, as ours may be wrong."""
    asked = response.headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return min(timedelta(seconds=min(int(asked), 10**6)), MAX_INTERVAL)
    try:
        until = parsedate_to_datetime(asked) - parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return min(max(until, timedelta(0)), MAX_INTERVAL)
