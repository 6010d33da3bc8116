import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from agent.credentials import Secret
from agent.transport import Refused, Transport, Unreachable
from protocol.completions import Completion
from protocol.heartbeats import Heartbeat
from tests.support.fake_server import TOKEN, FakeServer, start

NO_WAIT = timedelta(0)
BEAT = Heartbeat(ip_address="127.0.0.1", hostname="web-01", service_name="web")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
async def transport(server: FakeServer) -> AsyncIterator[Transport]:
    opened = connected(server)
    yield opened
    await opened.aclose()


def connected(server: FakeServer, token: str = TOKEN) -> Transport:
    return Transport(
        server.url, token=lambda: Secret(token), user_agent="gprofiler/0", ca_bundle=None,
        send_timeout=timedelta(seconds=5),
    )  # fmt: skip


async def test_a_command_arrives_in_the_answer_to_a_held_beat(server: FakeServer, transport: Transport) -> None:
    server.offer("c1", start(pids=[7]))
    reply = await transport.heartbeat(BEAT, wait=timedelta(seconds=5))
    assert (reply.command_id, reply.command, reply.held) == ("c1", start(pids=[7]), True)
    assert reply.interval == timedelta(seconds=1)
    assert server.beats[0].headers["prefer"] == "wait=5"


async def test_a_server_that_does_not_hold_is_told_from_one_that_does() -> None:
    with FakeServer(holds=False) as server:
        transport = connected(server)
        assert not (await transport.heartbeat(BEAT, wait=timedelta(seconds=5))).held
        await transport.aclose()


async def test_plain_polling_asks_for_no_holding(server: FakeServer, transport: Transport) -> None:
    await transport.heartbeat(BEAT, wait=NO_WAIT)
    assert "prefer" not in server.beats[0].headers


async def test_a_beat_says_no_more_than_it_must(server: FakeServer, transport: Transport) -> None:
    await transport.heartbeat(BEAT, wait=NO_WAIT)
    assert set(server.beats[0].body) == {"ip_address", "hostname", "service_name"}


async def test_a_refusal_has_its_status_its_pause_and_the_servers_words(
    server: FakeServer, transport: Transport
) -> None:
    server.fail(1, status=503, retry_after="7")
    with pytest.raises(Refused) as refused:
        await transport.heartbeat(BEAT, wait=NO_WAIT)
    assert (refused.value.status, refused.value.retry_after, refused.value.detail) == (
        503,
        timedelta(seconds=7),
        "as told",
    )


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", timedelta(0)),
        ("999999999999", timedelta(hours=1)),
        ("soon", None),
        ("-5", None),
    ],
)
async def test_a_strange_retry_after_does_no_harm(
    server: FakeServer, transport: Transport, retry_after: str, expected: timedelta | None
) -> None:
    server.fail(1, status=429, retry_after=retry_after)
    with pytest.raises(Refused) as refused:
        await transport.heartbeat(BEAT, wait=NO_WAIT)
    assert refused.value.retry_after == expected


async def test_no_server_is_unreachable(server: FakeServer, transport: Transport) -> None:
    server.go_down()
    with pytest.raises(Unreachable, match="cannot be reached"):
        await transport.heartbeat(BEAT, wait=NO_WAIT)


async def test_a_lost_answer_is_unreachable(server: FakeServer, transport: Transport) -> None:
    server.fail(1)
    with pytest.raises(Unreachable):
        await transport.heartbeat(BEAT, wait=NO_WAIT)


@pytest.mark.parametrize(
    "raw", [b"<html>log in first</html>", b"[]", b"\xff", b'{"success": false}', b'{"profiling_command": {}}']
)
async def test_an_answer_from_something_else_is_unreachable(
    server: FakeServer, transport: Transport, raw: bytes
) -> None:
    server.fail(1, raw=raw)
    with pytest.raises(Unreachable):
        await transport.heartbeat(BEAT, wait=NO_WAIT)


async def test_no_error_and_no_repr_holds_the_token(server: FakeServer) -> None:
    transport = connected(server, "s3cret-that-is-wrong")
    with pytest.raises(Refused) as refused:
        await transport.heartbeat(BEAT, wait=NO_WAIT)
    assert refused.value.status == 401
    server.go_down()
    with pytest.raises(Unreachable) as unreachable:
        await transport.heartbeat(BEAT, wait=NO_WAIT)
    await transport.aclose()
    told = f"{refused.value!r} {unreachable.value!r} {vars(transport)} {Secret('s3cret-that-is-wrong')!r}"
    assert "s3cret" not in told


async def test_a_server_that_takes_whole_seconds_gets_whole_seconds(server: FakeServer, transport: Transport) -> None:
    server.fail(1, status=422)
    completion = Completion(command_id="c1", hostname="web-01", status="completed", execution_time=0.3, samples=1)
    await transport.complete(completion)
    assert [body["execution_time"] for body in server.completions] == [0.3, 1]


async def test_an_unknown_completion_is_refused_once(server: FakeServer, transport: Transport) -> None:
    server.unknown.add("c1")
    with pytest.raises(Refused) as refused:
        await transport.complete(Completion(command_id="c1", hostname="web-01", status="completed"))
    assert refused.value.status == 404
    assert len(server.completions) == 1


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "a gzip bomb"])
async def test_an_endless_answer_is_not_read_to_its_end(packed: bool) -> None:
    wrote = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal wrote
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        writer.write(head + (b"Content-Encoding: gzip\r\n\r\n" if packed else b"\r\n"))
        packer = zlib.compressobj(wbits=31)
        with contextlib.suppress(OSError):
            while wrote < 256 * 1024 * 1024:
                block = b" " * 1024 * 1024
                writer.write(packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH) if packed else block)
                await writer.drain()
                await asyncio.sleep(0)
                wrote += len(block)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        transport = Transport(
            f"http://127.0.0.1:{port}", token=lambda: None, user_agent="gprofiler/0", ca_bundle=None,
            send_timeout=timedelta(seconds=5),
        )  # fmt: skip
        with pytest.raises(Unreachable, match="more than"):
            await transport.heartbeat(BEAT, wait=NO_WAIT)
        await transport.aclose()
    assert packed or wrote < 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("begins", "told"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", r"did not end its answer within 0\.5 s"),
        (b"HTTP/1.1 200 OK\r\nX-Header: ", "its answer did not begin in time"),
    ],
    ids=["its body", "its head"],
)
async def test_an_answer_that_comes_a_byte_at_a_time_does_not_hold_the_agent(begins: bytes, told: str) -> None:
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begins)
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        gone.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        transport = Transport(
            f"http://127.0.0.1:{port}", token=lambda: None, user_agent="gprofiler/0", ca_bundle=None,
            send_timeout=timedelta(seconds=0.5),
        )  # fmt: skip
        done = Completion(command_id="c1", hostname="web-01", status="completed")
        with pytest.raises(Unreachable, match=told):
            await transport.complete(done)
        await transport.aclose()
        await asyncio.wait_for(gone.wait(), 15)
