"""Calls that do not wait for the answers before: each is answered in its turn, and they take a bounded room."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from api.connections import BoundedProtocol
from api.reading import AT_ONCE, MOST_WAITING
from tests.support.serving import served

SHORT = b"GET / HTTP/1.1\r\n\r\n"
MOST_READ = AT_ONCE // len(SHORT) + MOST_WAITING + 2


class Desk:
    """Answers each call with its path and the length of its body, when it may."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        await self.may_answer.wait()
        body = await Request(scope, receive).body()
        await PlainTextResponse(f"{scope['path']} {len(body)}")(scope, receive, send)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def port(desk: Desk) -> AsyncIterator[int]:
    async with served(desk) as at:
        yield at


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            yield reader, writer


def call(path: str, body: bytes = b"", *, headers: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path.encode(), headers, len(body), body)


async def an_answer(reader: asyncio.StreamReader) -> str:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    return (await reader.readexactly(int(length[1]))).decode()


async def test_thousands_of_calls_in_one_packet_are_each_answered_in_their_turn(port: int) -> None:
    bodies = {f"/{number}": b"x" * (number % 7) + b"y" * 20_000 * (number % 300 == 9) for number in range(600)}
    async with connected(port) as (reader, writer):
        writer.write(b"".join(call(path, body) for path, body in bodies.items()))
        for path, body in bodies.items():
            assert await an_answer(reader) == f"{path} {len(body)}"


@pytest.mark.parametrize("is_answering", [False, True], ids=["while one is answered", "as fast as they are answered"])
async def test_a_client_that_sends_without_pause_does_not_fill_the_memory(
    desk: Desk, port: int, monkeypatch: pytest.MonkeyPatch, *, is_answering: bool
) -> None:
    ahead = [0]
    begin = BoundedProtocol.on_message_begin

    def counted(connection: BoundedProtocol) -> None:
        begin(connection)
        begun.append(None)
        ahead[0] = max(ahead[0], len(begun) - len(desk.asked))

    begun: list[None] = []
    monkeypatch.setattr(BoundedProtocol, "on_message_begin", counted)
    if not is_answering:
        desk.may_answer.clear()
    async with connected(port) as (reader, writer):
        writer.write(SHORT * 20_000)
        if is_answering:
            for _ in range(1_000):
                assert await an_answer(reader) == "/ 0"
        else:
            while not desk.asked:  # noqa: ASYNC110 - a turn of the same loop
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
        assert 1 < ahead[0] <= MOST_READ
    desk.may_answer.set()


async def test_a_call_of_many_pieces_behind_others_arrives_whole(desk: Desk, port: int) -> None:
    desk.may_answer.clear()
    async with connected(port) as (reader, writer):
        writer.write(SHORT * 1_000 + call("/last", b"x" * 300_000)[:-1])
        await asyncio.sleep(0.05)
        desk.may_answer.set()
        for _ in range(1_000):
            assert await an_answer(reader) == "/ 0"
        writer.write(b"x")
        assert await an_answer(reader) == "/last 300000"


@pytest.mark.parametrize("is_slow", [False, True])
async def test_what_cannot_be_read_is_not_answered_in_the_place_of_the_call_before_it(
    desk: Desk, port: int, *, is_slow: bool
) -> None:
    if is_slow:
        desk.may_answer.clear()
    async with connected(port) as (reader, writer):
        writer.write(call("/first") + call("/second") + b"\0 is no call\r\n\r\n" + call("/third"))
        await asyncio.sleep(0.05)
        desk.may_answer.set()
        assert await an_answer(reader) == "/first 0"
        assert await an_answer(reader) == "/second 0"
        assert await reader.read() == b""
    assert desk.asked == ["/first", "/second"]


async def test_what_cannot_be_read_and_comes_alone_is_refused(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(call("/first"))
        assert await an_answer(reader) == "/first 0"
        writer.write(b"\0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


UPGRADE = b"Connection: Upgrade\r\nUpgrade: %b\r\n"


@pytest.mark.parametrize("pause", [0, 0.05], ids=["together", "later"])
async def test_a_body_behind_an_upgrade_is_not_read_as_a_call(desk: Desk, port: int, pause: float) -> None:
    within = call("/within")
    asked = call("/first", within, headers=UPGRADE % b"h2c")
    async with connected(port) as (reader, writer):
        writer.write(asked[: -len(within)])
        await asyncio.sleep(pause)
        writer.write(within)
        said = await reader.read()
    assert said.count(b"HTTP/1.1") == 1
    assert said.startswith(b"HTTP/1.1 400 ")
    assert desk.asked == []


async def test_an_upgrade_to_another_protocol_is_not_taken_and_the_call_is_answered(port: int) -> None:
    async with connected(port) as (reader, writer):
        for path in ("/first", "/second"):
            writer.write(call(path, headers=UPGRADE % b"h2c"))
            assert await an_answer(reader) == f"{path} 0"


async def test_a_websocket_does_not_begin_before_the_answer_to_the_call_before_it(desk: Desk, port: int) -> None:
    desk.may_answer.clear()
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    async with connected(port) as (reader, writer):
        writer.write(call("/first") + b"GET /ws HTTP/1.1\r\nHost: a\r\n" + UPGRADE % b"websocket" + key + b"\r\n")
        await asyncio.sleep(0.05)
        desk.may_answer.set()
        assert await an_answer(reader) == "/first 0"
        assert await reader.read() == b""
