"""A call that is all headers, or never comes to its end, costs its connection and nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from api import connections
from api.connections import BoundedProtocol
from tests.support.serving import served

HEAD = b"POST / HTTP/1.1\r\nHost: studio\r\n"
KIB = 1024


async def tell_size(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how long the body was."""
    with contextlib.suppress(ClientDisconnect):
        body = await Request(scope, receive).body()
        await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


@pytest.fixture
def soon_out_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "arrives_within", timedelta(seconds=1))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with served(tell_size) as at:
        yield at


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def sent_until_closed(port: int, first: bytes, again: bytes, *, most: int) -> tuple[int, bytes]:
    """Send until the server closes; gives how much it let itself be sent, and what it said."""
    sent = 0
    said = b""
    async with connected(port) as (reader, writer), asyncio.timeout(10):
        with contextlib.suppress(OSError):
            writer.write(first)
            while sent < most and not reader.at_eof():
                writer.write(again)
                sent += len(again)
                await writer.drain()
                await asyncio.sleep(0)
        with contextlib.suppress(OSError):
            said = await reader.read()
    return sent, said


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"GET /", b"a" * KIB),
        (HEAD + b"X: ", b"a" * KIB),
        (HEAD, b"a: b\r\n" * 170),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 170),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * KIB + b"\r\na\r\n"),
    ],
    ids=["address", "one header", "many headers", "trailers", "chunk extensions"],
)
async def test_an_endless_head_is_cut(port: int, first: bytes, again: bytes) -> None:
    # What is under way in the buffers of both ends comes on top of the bound.
    sent, said = await sent_until_closed(port, first, again, most=64 * KIB * KIB)
    assert sent < 32 * KIB * KIB
    assert said == b"" or said.startswith(b"HTTP/1.1 400 ")


@pytest.mark.usefixtures("soon_out_of_patience")
@pytest.mark.parametrize(
    "begun", [b"", b"POST", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{"], ids=["nothing", "a word", "a head", "a body"]
)
async def test_a_call_that_does_not_arrive_is_given_up(port: int, begun: bytes) -> None:
    async with connected(port) as (reader, writer), asyncio.timeout(5):
        writer.write(begun)
        assert await reader.read() == b""


@pytest.mark.usefixtures("soon_out_of_patience")
async def test_dribbling_does_not_buy_time(port: int) -> None:
    async with connected(port) as (reader, writer), asyncio.timeout(5):
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        with contextlib.suppress(OSError):
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.1)
            assert await reader.read() == b""


@pytest.mark.usefixtures("soon_out_of_patience")
async def test_call_after_call_arrives_on_one_connection(port: int) -> None:
    body = b"x" * 1000 * KIB
    async with connected(port) as (reader, writer), asyncio.timeout(20):
        for pause in (0, 0.6, 0.6):
            await asyncio.sleep(pause)  # together longer than a call may take to arrive
            writer.write(HEAD + b"X: " + b"h" * 32 * KIB + f"\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(f"{len(body)} bytes")) == f"{len(body)} bytes".encode()


async def answered_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float) -> None:
    await asyncio.sleep(pause)
    writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
    assert b"200" in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len("0 bytes")) == b"0 bytes"


async def test_a_connection_is_closed_when_nothing_came_for_long_after_its_last_answer() -> None:
    loop = asyncio.get_running_loop()
    async with served(tell_size, idle_seconds=1) as port, connected(port) as (reader, writer), asyncio.timeout(20):
        for pause in (0, 0.6, 0.6):  # the timer of the first answer ends before the last call comes
            await answered_after(reader, writer, pause)
        answered = loop.time()
        assert await reader.read() == b""
        assert loop.time() - answered > 0.9  # not with what was left of an earlier wait


async def test_a_connection_is_not_idle_while_a_call_is_answered() -> None:
    async def think(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await asyncio.sleep(1.5)
        await tell_size(scope, receive, send)

    async with served(think, idle_seconds=0.5) as port, connected(port) as (reader, writer), asyncio.timeout(20):
        await answered_after(reader, writer, 0)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: studio\r\n\r\n")
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == b"0 bytes"


@pytest.fixture
def soon_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "taken_within", timedelta(seconds=0.5))


class _Tells:
    """Answers with a large body, and knows when it is rid of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.is_done = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(b"x" * self.size)(scope, receive, send)
        self.is_done.set()


@pytest.mark.usefixtures("soon_taken")
@pytest.mark.parametrize("beside", [b"", b"Connection: close\r\n"], ids=["kept alive", "to be closed"])
async def test_an_answer_that_nobody_takes_is_given_up(beside: bytes) -> None:
    app = _Tells(64 * KIB * KIB)
    async with served(app) as port, connected(port) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # as a client that does not read
        writer.write(b"GET / HTTP/1.1\r\nHost: studio\r\n" + beside + b"\r\n")
        async with asyncio.timeout(10):
            await app.is_done.wait()


@pytest.mark.usefixtures("soon_taken")
async def test_an_answer_that_is_taken_slowly_comes_whole() -> None:
    app = _Tells(64 * KIB * KIB)
    async with served(app) as port, connected(port) as (reader, writer), asyncio.timeout(30):
        writer.write(b"GET / HTTP/1.1\r\nHost: studio\r\nConnection: close\r\n\r\n")
        taken = 0
        while chunk := await reader.read(4 * KIB * KIB):
            taken += len(chunk)
            await asyncio.sleep(0.002)
        assert taken > app.size


def test_the_bounds_are_wider_than_what_agents_send() -> None:
    assert connections.MOST_HEAD_BYTES >= 64 * KIB
    assert timedelta(seconds=10) <= connections.ARRIVES_WITHIN <= timedelta(minutes=1)
    assert timedelta(minutes=1) <= connections.TAKEN_WITHIN <= timedelta(minutes=5)


async def _stay(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes a websocket and says something when it is spoken to."""
    socket = WebSocket(scope, receive, send)
    await socket.accept()
    await socket.send_text(await socket.receive_text())


@pytest.mark.usefixtures("soon_out_of_patience")
async def test_a_websocket_has_arrived_and_may_stay() -> None:
    async with served(_stay) as port, connect(f"ws://127.0.0.1:{port}/", proxy=None) as socket, asyncio.timeout(10):
        await asyncio.sleep(1.5)  # longer than a call may take to arrive
        await socket.send("still here")
        assert await socket.recv() == "still here"


HANDSHAKE = (
    b"Host: studio\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    ("address", "beside"),
    [(b"/?" + b"a" * 9 * KIB, b""), (b"/", b"X: " + b"y" * 9 * KIB + b"\r\n"), (b"/", b"a: b\r\n" * 200)],
    ids=["address", "one header", "many headers"],
)
async def test_a_websockets_handshake_that_is_too_large_is_refused_and_not_left_open(
    address: bytes, beside: bytes
) -> None:
    async with served(_stay) as port, connected(port) as (reader, writer), asyncio.timeout(5):
        writer.write(b"GET " + address + b" HTTP/1.1\r\n" + HANDSHAKE + beside + b"\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    await WebSocket(scope, receive, send).send_denial_response(PlainTextResponse("not you", 401))


async def test_a_websocket_that_is_turned_away_is_no_fault_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with served(_turn_away) as port, connected(port) as (reader, writer), asyncio.timeout(5):
        writer.write(b"GET / HTTP/1.1\r\n" + HANDSHAKE + b"\r\n")
        told = await reader.read()
    assert told.startswith(b"HTTP/1.1 401 ")
    assert told.endswith(b"not you")
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []
