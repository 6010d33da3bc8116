"""The agent's calls to the server, and the only module that knows how they travel."""

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx
import structlog
from structlog.typing import FilteringBoundLogger

from agent import answers
from agent.certificates import Certificates
from agent.credentials import Secret
from agent.parcel import Sender
from agent.replies import NotAReply, Reply, read_reply
from protocol.completions import Completion
from protocol.enrolment import EnrolmentWish
from protocol.heartbeats import Heartbeat

log: FilteringBoundLogger = structlog.get_logger()

HEARTBEAT_PATH: Final = "/api/metrics/heartbeat"
COMPLETION_PATH: Final = "/api/metrics/command_completion"
ENROLMENT_PATH: Final = "/api/v1/enrol"
UPLOAD_PATH: Final = "/api/v2/profiles"
_CONNECT_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 10.0
"""How much later than asked for the answer to a held heartbeat may come."""


_MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
"""More than any command; a server that is not ours, or no longer itself, must not fill the host's memory."""
_OF_THE_WIRE: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_SUCCESS: Final = range(200, 300)
_SENDING: Final = ".send_request_headers.started"
_SENT: Final = ".receive_response_headers.started"
"""What httpcore calls the moments at which a request begins, and at which it is on its way and the head awaited."""


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
        headers = {b"Authorization": f"Bearer {token.reveal()}".encode()} if token else {}
        response = await self._call("GET", path, None, headers, within=self._send_timeout)
        return Answer(response.status_code, _json(response), response.headers.get("date"), _detail(response))

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
            await self._post(COMPLETION_PATH, answers.completion_body(completion), {}, read_timeout=self._send_timeout)
        except Refused as error:
            exact = completion.execution_time
            if error.status != httpx.codes.UNPROCESSABLE_ENTITY or exact is None or exact.is_integer():
                raise
            rounded = answers.completion_body(completion, seconds=max(1, round(exact)))
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
        return answers.place(_json(response), response.headers, self._server)

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
        encoded = {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in sent.items()}
        response = await self._call("POST", path, content, encoded, within=read_timeout)
        if response.status_code not in _SUCCESS:
            raise Refused(
                response.status_code, retry_after=answers.retry_after(response.headers), detail=_detail(response)
            )
        return response

    async def _call(
        self, method: str, path: str, content: bytes | str | None, headers: Mapping[bytes, bytes], *, within: float
    ) -> httpx.Response:
        """The answer with its body: its head comes so long after the request is sent at most, its body likewise.

        Raises:
            Unreachable: there is none.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(None) as patience:

                async def heed(event: str, _: dict[str, Any]) -> None:
                    if event.endswith(_SENDING):  # to a proxy first, and then to the server: its body may take long
                        patience.reschedule(None)
                    elif event.endswith(_SENT):  # httpx bounds the pause between two bytes, however many there are
                        patience.reschedule(asyncio.get_running_loop().time() + within)

                async with (
                    self._connected() as client,
                    client.stream(
                        method,
                        self._server + path,
                        content=content,
                        headers=list(headers.items()),
                        timeout=httpx.Timeout(within, connect=_CONNECT_SECONDS),
                        extensions={"trace": heed},
                    ) as arriving,
                ):
                    patience.reschedule(None)
                    return await self._whole(arriving, within=within)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # Not `str(error)` of a protocol error on our side: that may quote a header.
            told = type(error).__name__ if isinstance(error, httpx.LocalProtocolError) else _told(error)
            after = timedelta(seconds=time.monotonic() - began)
            raise Unreachable(f"{self._server} cannot be reached: {told}", after=after) from None

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


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "its answer did not begin in time"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _json(response: httpx.Response) -> Any:
    """What the body says; None for what is no JSON."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _detail(response: httpx.Response) -> str:
    return answers.detail(
        _json(response), response.headers, phrase=response.reason_phrase, is_redirect=response.is_redirect
    )
