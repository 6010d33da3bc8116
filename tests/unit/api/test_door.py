"""Who is turned away at the door is answered, counted, audited and logged as further in; everybody else is let in."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
import structlog
from starlette.types import Receive, Scope, Send

from api import problems
from api.accompany import Accompany
from api.buckets import Buckets
from api.connections import BoundedProtocol
from api.door import Door
from api.fast_refusals import FastRefusals
from api.limit_settings import Lane
from api.metrics import REGISTRY
from broker.logs import call_id
from broker.quotas import Quota
from tests.support.serving import served
from tests.support.two_ways import PATH, Way

BODY = b'{"ip_address":"::1","hostname":"a","service_name":"web"}'
MOMENT = re.compile(rb"\r\ndate: [^\r]*")
AUTHORIZATION = b"Authorization: Bearer %b\r\n"
UNKNOWN = AUTHORIZATION % b"pcs_1"


class Site:
    """A server with a door or without, and how many calls came in."""

    def __init__(self, *, has_door: bool) -> None:
        self.way = Way({Lane.STRANGERS: Quota(2, 60)}, is_fast=True)
        self.inside: list[str] = []
        refusals = FastRefusals()
        self.door = Door(self.way.app, refusals) if has_door else None
        self.port = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside.append(scope["path"])
        await self.way.app(scope, receive, send)

    async def talk(self, *pieces: bytes, answers: int = 1) -> list[bytes]:
        """What comes back on one connection, answer by answer; the moment left out."""
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            with contextlib.closing(writer):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)
                return [MOMENT.sub(b"", await an_answer(reader)) for _ in range(answers)]


async def an_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    return head + await reader.readexactly(int(length[1]))


def call(headers: bytes = UNKNOWN, *, path: str = PATH, method: bytes = b"POST", body: bytes = BODY) -> bytes:
    usual = b"Host: a\r\nX-Request-Id: mine\r\nContent-Type: application/json\r\n"
    head = b"%b %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n"
    return head % (method, path.encode(), usual, headers, len(body)) + body


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened(has_door=True) as one:
        yield one


@contextlib.asynccontextmanager
async def opened(*, has_door: bool) -> AsyncIterator[Site]:
    one = Site(has_door=has_door)
    async with served(Accompany(one, [PATH]), door=one.door) as one.port:
        yield one


def codes(answers: Sequence[bytes]) -> list[int]:
    return [int(answer.split(b" ", 2)[1]) for answer in answers]


async def test_what_is_told_at_the_door_is_what_is_told_inside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [call(UNKNOWN)] * 3 + [call(AUTHORIZATION % (b"pcs_%d" % number)) for number in range(2, 6)]
    async with opened(has_door=False) as other:
        told = []
        for one in (site, other):
            monkeypatch.setattr(problems, "_lines", Buckets(Quota(100, 10)))
            before = counts()
            with structlog.testing.capture_logs(processors=[with_call]) as said:
                answers = [(await one.talk(each))[0] for each in calls]
            await one.way.refusals.write()
            acts = [(act.code, act.route, act.address, act.count, act.http_request_id) for act in one.way.trail.acts]
            after = counts()
            told.append((answers, said, acts, {key: after[key] - before.get(key, 0) for key in after}))
    at_the_door, inside = told
    assert codes(at_the_door[0]) == [401, 401, 401, 401, 429, 429, 429]
    assert re.sub(rb"retry-after: \d+|t=\d+|\d+ s", b"", b"".join(at_the_door[0])) == re.sub(
        rb"retry-after: \d+|t=\d+|\d+ s", b"", b"".join(inside[0])
    )
    assert at_the_door[1:] == inside[1:]
    assert [act[0] for act in at_the_door[2]] == ["unauthenticated", "rate_limited"]
    assert site.inside == [PATH] * 2, "the two that had to be looked up"
    assert len(other.inside) == len(calls)


def with_call(_log: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {**event, "call": call_id.get()}


def counts() -> dict[tuple[str, str], float]:
    return {
        (sample.labels["status"], sample.name): sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "pcs_http_requests_total" and sample.labels["route"] == PATH
    }


LET_IN = {
    "a good token": call(AUTHORIZATION % b"agent"),
    "one that has to be looked up": call(AUTHORIZATION % b"pcs_2"),
    "no token": call(b""),
    "two tokens": call(UNKNOWN + UNKNOWN),
    "another route": call(UNKNOWN, path="/api/v1/hosts"),
    "another method": call(UNKNOWN, method=b"PUT"),
    "a query": call(UNKNOWN, path=PATH + "?a=1"),
    "a connection that is to end": call(UNKNOWN + b"Connection: close\r\n"),
    "who waits to be told to go on": call(UNKNOWN + b"Expect: 100-continue\r\n"),
    "the older protocol": call(UNKNOWN + b"Connection: keep-alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a body in chunks": call(UNKNOWN, body=b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    + b"0\r\n\r\n",
    "a long body": call(UNKNOWN, body=b" " * 100_000),
}


@pytest.mark.parametrize("sent", LET_IN.values(), ids=LET_IN)
async def test_what_asks_for_a_second_look_is_let_in(site: Site, sent: bytes) -> None:
    await site.talk(call(UNKNOWN))
    site.inside.clear()
    await site.talk(sent)
    assert len(site.inside) == 1


async def test_a_connection_goes_on_after_a_refusal_also_with_calls_that_did_not_wait_for_it(site: Site) -> None:
    await site.talk(call(UNKNOWN))
    good = call(AUTHORIZATION % b"agent")
    answers = await site.talk(call(UNKNOWN) + good + call(UNKNOWN) + good, answers=4)
    assert codes(answers) == [401, 200, 401, 200]
    answers = await site.talk(call(UNKNOWN)[:-20], call(UNKNOWN)[-20:], call(UNKNOWN), good, answers=3)
    assert codes(answers) == [401, 401, 200]


async def test_refusals_go_out_together_and_one_who_has_gone_holds_up_nobody(site: Site) -> None:
    await site.talk(call(UNKNOWN))
    _, gone = await asyncio.open_connection("127.0.0.1", site.port)
    gone.write(call(UNKNOWN))
    gone.transport.abort()
    answers = await asyncio.gather(*(site.talk(call(UNKNOWN)) for _ in range(5)))
    assert [codes(each) for each in answers] == [[401]] * 5


async def test_a_call_whose_body_never_comes_ends_as_any_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "arrives_within", timedelta(seconds=0.2))
    await site.talk(call(UNKNOWN))
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        with contextlib.closing(writer):
            writer.write(call(UNKNOWN)[:-20])
            assert await reader.read() == b""


async def test_nobody_is_turned_away_at_the_door_behind_a_proxy(site: Site) -> None:
    async with served(Accompany(site, [PATH]), door=site.door, trusted_proxies="127.0.0.1") as site.port:
        await site.talk(call(UNKNOWN))
        site.inside.clear()
        assert codes(await site.talk(call(UNKNOWN))) == [401]
        assert site.inside == [PATH]
