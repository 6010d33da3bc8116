"""A server that meets calls at the door, or does not, and what is said to it byte by byte."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from api.accompany import Accompany
from api.door import Door
from api.fast_answers import IdleAnswers
from api.fast_refusals import FastRefusals
from api.limit_settings import Lane
from api.metrics import REGISTRY
from broker.logs import call_id
from broker.quotas import Quota
from tests.support.serving import served
from tests.support.two_ways import PATH, Way

BODY = b'{"ip_address":"::1","hostname":"a","service_name":"web"}'
OWN_ID = re.compile(rb"x-request-id: ([0-9a-f]{32})\r\n")
WAITING = re.compile(rb"retry-after: \d+|t=\d+|\d+ s")
MOMENT = re.compile(rb"\r\ndate: [^\r]*")
AUTHORIZATION = b"Authorization: Bearer %b\r\n"
UNKNOWN = AUTHORIZATION % b"pcs_1"
KNOWN = AUTHORIZATION % b"agent"


class Site:
    """A server with a door or without, and how many calls came in."""

    def __init__(self, *, has_door: bool, beats: int) -> None:
        self.way = Way({Lane.STRANGERS: Quota(2, 60), Lane.HEARTBEATS: Quota(beats, 60)}, is_fast=True)
        self.inside: list[str] = []
        self.opens = asyncio.Event()
        self.opens.set()
        self.door = Door(self.way.app, FastRefusals(), IdleAnswers()) if has_door else None
        self.port = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside.append(scope["path"])
        await self.opens.wait()
        await self.way.app(scope, receive, send)

    async def talk(self, *pieces: bytes, answers: int = 1) -> list[bytes]:
        """What comes back on one connection, answer by answer; the moment left out."""
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            with contextlib.closing(writer):
                await _say(writer, pieces)
                return [MOMENT.sub(b"", await an_answer(reader)) for _ in range(answers)]

    async def all_of(self, pieces: Sequence[bytes]) -> bytes:
        """All that comes back on one connection until its end; the moments left out."""
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            with contextlib.closing(writer):
                await _say(writer, pieces)
                return MOMENT.sub(b"", await reader.read())


async def _say(writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)


async def an_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    return head + await reader.readexactly(int(length[1]))


def call(headers: bytes = UNKNOWN, *, path: str = PATH, method: bytes = b"POST", body: bytes = BODY) -> bytes:
    usual = b"Host: a\r\nX-Request-Id: mine\r\nContent-Type: application/json\r\n"
    head = b"%b %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n"
    return head % (method, path.encode(), usual, headers, len(body)) + body


@contextlib.asynccontextmanager
async def opened(*, has_door: bool, beats: int = 1_000) -> AsyncIterator[Site]:
    one = Site(has_door=has_door, beats=beats)
    async with served(Accompany(one, [PATH]), door=one.door) as one.port:
        yield one


def codes(answers: Sequence[bytes]) -> list[int]:
    return [int(answer.split(b" ", 2)[1]) for answer in answers]


def alike(token: bytes = b"pcs_1", **given: Any) -> bytes:
    """A call without an id of its own."""
    return call(AUTHORIZATION % token, **given).replace(b"X-Request-Id: mine\r\n", b"")


def with_call(_log: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {**event, "call": call_id.get()}


def counts() -> dict[tuple[str, str], float]:
    return {
        (sample.labels["status"], sample.name): sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "pcs_http_requests_total" and sample.labels["route"] == PATH
    }
