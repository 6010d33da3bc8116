"""An answer in one write is the same on the wire as one in ASGI's two messages."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest
from starlette.types import Receive, Scope, Send

from api.accompany import Accompany, Answering
from tests.support.serving import served

HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"11")]
BODY = b'{"a": "ok"}'
PLAIN = b"POST /%b HTTP/1.1\r\nHost: studio\r\nX-Request-Id: mine\r\nContent-Length: 2\r\n%b\r\n{}"
CLOSING = b"Connection: close\r\n"


class Answers:
    """Answers in one write where the path says so and the server can, and in messages otherwise."""

    def __init__(self) -> None:
        self.whole: list[bool] = []
        self.waits = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert isinstance(send, Answering)
        if "unread" not in scope["path"]:
            await receive()
        if "gone" in scope["path"]:
            await receive()
            self.waits.set()
        if "whole" in scope["path"]:
            lines = b"".join(b"%b: %b\r\n" % header for header in HEADERS)
            self.whole.append(send.whole(429, lines, BODY))
            if self.whole[-1]:
                return
        await send({"type": "http.response.start", "status": 429, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
async def port(answers: Answers) -> AsyncIterator[int]:
    async with served(Accompany(answers, ())) as at:
        yield at


async def exchanged(port: int, sent: bytes, *, until: bytes = b"") -> bytes:
    """What comes back, up to the end of the connection or `until`; the moment left out."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            writer.write(sent)
            came = await (reader.readuntil(until) if until else reader.read())
    return re.sub(rb"date: [^\r]+", b"date: -", came)


@pytest.mark.parametrize("kind", [b"", b"/unread"])
async def test_on_the_wire_they_are_the_same(port: int, answers: Answers, kind: bytes) -> None:
    whole = await exchanged(port, PLAIN % (b"whole" + kind, b""), until=BODY)
    assert whole == await exchanged(port, PLAIN % (b"messages" + kind, b""), until=BODY)
    assert b"\r\nx-request-id: mine\r\n" in whole
    assert answers.whole == [True]


async def test_a_connection_that_is_to_be_closed_is_closed_by_both(port: int, answers: Answers) -> None:
    whole = await exchanged(port, PLAIN % (b"whole", CLOSING))
    assert whole == await exchanged(port, PLAIN % (b"messages", CLOSING))
    assert b"connection: close\r\n" in whole
    assert answers.whole == [True]


async def test_calls_in_a_row_on_one_connection_are_answered_in_their_order(port: int, answers: Answers) -> None:
    call = PLAIN % (b"whole", b"")
    for sent, whole in ((call + call + PLAIN % (b"whole", CLOSING), [False, False, True]), (call, [True])):
        answers.whole.clear()
        came = await exchanged(port, sent, until=b"" if CLOSING in sent else BODY)
        assert came.count(BODY) == came.count(b"HTTP/1.1 429") == len(whole)
        assert answers.whole == whole, "in one write where no other call has begun behind it"


async def test_a_call_on_a_connection_that_was_used_before_is_answered_in_one_write(
    port: int, answers: Answers
) -> None:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            for _ in range(3):
                writer.write(PLAIN % (b"whole", b""))
                await reader.readuntil(BODY)
    assert answers.whole == [True, True, True]


async def test_nothing_is_written_to_a_client_that_has_gone_away(port: int, answers: Answers) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(PLAIN % (b"whole/gone", b""))
    await writer.drain()
    writer.close()
    async with asyncio.timeout(10):
        await answers.waits.wait()
        while not answers.whole:  # noqa: ASYNC110 - the next step of the same task
            await asyncio.sleep(0)
    assert answers.whole == [False]
