"""Who is met at the door is answered, counted, audited and logged as further in; everybody else is let in."""

import asyncio
import contextlib
import gzip
import re
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import structlog
from starlette.types import Receive, Scope, Send

from api import problems
from api.accompany import Accompany
from api.buckets import Buckets
from api.door import REFUSED_AT_ONCE, Door
from api.doorway import Doorway
from api.fast_answers import IdleAnswers
from api.fast_refusals import FastRefusals
from api.limit_settings import Lane
from api.metrics import REGISTRY
from broker.errors import BrokerUnavailable
from broker.logs import call_id
from broker.quotas import Quota
from broker.scripts import Contested, Delivered, Idle
from tests.support.serving import served
from tests.support.two_ways import COMMAND, PATH, Way

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
async def opened(*, has_door: bool, beats: int = 1_000) -> AsyncIterator[Site]:
    one = Site(has_door=has_door, beats=beats)
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
    assert WAITING.sub(b"", b"".join(at_the_door[0])) == WAITING.sub(b"", b"".join(inside[0]))
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
    good = call(KNOWN)
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


async def test_who_is_refused_again_and_again_is_answered_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.door.LATER_SECONDS", 3.0)
    monkeypatch.setattr("api.auth.REMEMBERED_SECONDS", 60.0)
    for sent in (call(UNKNOWN), call(KNOWN)):
        await site.talk(sent)  # known from here on
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)

    async def seconds_of(sent: bytes) -> float:
        begun = loop.time()
        writer.write(sent)
        await an_answer(reader)
        return loop.time() - begun

    with contextlib.closing(writer):
        async with asyncio.timeout(30):
            timed = durations()
            assert max([await seconds_of(call(UNKNOWN)) for _ in range(REFUSED_AT_ONCE)]) < 2.5
            assert durations() - timed == REFUSED_AT_ONCE
            late = asyncio.create_task(seconds_of(call(UNKNOWN)))
            await asyncio.sleep(0.1)
            assert codes(await site.talk(call(UNKNOWN))) == [401], "on another connection"
            assert not late.done()
            assert await late > 2.9
            assert durations() - timed == REFUSED_AT_ONCE + 1, "it was held on purpose, and is no slow call"
            await seconds_of(call(KNOWN))
            assert await seconds_of(call(UNKNOWN)) < 2.5, "a good one came in between"
    assert counts()["401", "pcs_http_requests_total"] >= REFUSED_AT_ONCE + 3


def durations() -> float:
    return REGISTRY.get_sample_value(
        "pcs_http_request_duration_seconds_count", {"method": "POST", "route": PATH}
    ) or 0.0  # fmt: skip


async def test_a_call_whose_body_never_comes_ends_as_any_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorway, "arrives_within", timedelta(seconds=0.2))
    await site.talk(call(UNKNOWN))
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        with contextlib.closing(writer):
            writer.write(call(UNKNOWN)[:-20])
            assert await reader.read() == b""


# --- refused at a glance ----------------------------------------------------------------------------------------------


def alike(token: bytes = b"pcs_1", **given: Any) -> bytes:
    """A call without an id of its own."""
    return call(AUTHORIZATION % token, **given).replace(b"X-Request-Id: mine\r\n", b"")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One for each call that a parser has begun to read."""
    begun: list[bool] = []
    begin = Doorway.on_message_begin

    def noted(connection: Doorway) -> None:
        begun.append(True)
        begin(connection)

    monkeypatch.setattr(Doorway, "on_message_begin", noted)
    return begun


async def test_what_is_told_at_a_glance_is_what_is_told_inside(
    site: Site, parsed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [alike()] * 4 + [alike(b"pcs_%d" % number) for number in (2, 3, 4, 5, 1)]
    async with opened(has_door=False) as other:
        told = []
        for one in (site, other):
            monkeypatch.setattr(problems, "_lines", Buckets(Quota(100, 10)))
            before = counts()
            parsed.clear()
            with structlog.testing.capture_logs(processors=[with_call]) as said:
                answers = await one.talk(*calls, answers=len(calls))
            await one.way.refusals.write()
            whose = [OWN_ID.search(each)[1].decode() for each in answers]  # type: ignore[index]
            said = [{**line, "call": whose.index(line["call"])} for line in said]
            acts = [
                (act.code, act.route, act.address, act.count, whose.index(act.http_request_id))
                for act in one.way.trail.acts
            ]
            answers = [OWN_ID.sub(b"", each) for each in answers]
            after = counts()
            told.append((answers, said, acts, {key: after[key] - before.get(key, 0) for key in after}, len(parsed)))
    at_a_glance, inside = told
    assert codes(at_a_glance[0]) == [401, 401, 401, 401, 401, 429, 429, 429, 401]
    assert WAITING.sub(b"", b"".join(at_a_glance[0])) == WAITING.sub(b"", b"".join(inside[0]))
    assert at_a_glance[1:4] == inside[1:4]
    assert inside[4] == len(calls)
    assert at_a_glance[4] == 4, "two that were looked up, one as it is refused, and one more that was learned from"


SEEN_BEFORE = [alike()] * 3
NOT_ALIKE = {
    "in pieces": [alike()[:50], alike()[50:]],
    "the body later": [alike()[: -len(BODY)], BODY],
    "a body that is such a call": [alike(body=alike())[: -len(alike())], alike()],
    "a longer body": [alike(body=BODY + b" ")],
    "another header": [alike().replace(b"Host: a\r\n", b"Host: a\r\nAccept: */*\r\n")],
    "behind half a head": [alike()[:20], alike()],
    "another spelling": [alike().replace(b"Authorization", b"AUTHORIZATION")],
    "another scheme": [alike().replace(b"Bearer", b"Basic")],
    "a token with a space in it": [alike(b"pcs_1 2")],
    "no token": [alike(b"")],
    "another method": [alike(method=b"PUT")],
    "another path": [alike(path=PATH + "/")],
    "who waits to be told to go on": [alike().replace(b"Host: a\r\n", b"Host: a\r\nExpect: 100-continue\r\n")],
}


@pytest.mark.parametrize("sent", NOT_ALIKE.values(), ids=NOT_ALIKE)
async def test_what_is_not_alike_is_parsed(site: Site, parsed: list[bool], sent: Sequence[bytes]) -> None:
    async with opened(has_door=False) as other:
        told = []
        for one in (other, site):
            await one.talk(*SEEN_BEFORE, answers=3)
            parsed.clear()
            told.append([OWN_ID.sub(b"", each) for each in await one.talk(*SEEN_BEFORE, *sent, answers=4)])
    assert told[0] == told[1]
    assert len(parsed) == 2, "the first, after which it is looked for such calls, and this one"


async def test_a_call_with_an_id_of_its_own_is_answered_under_that(site: Site, parsed: list[bool]) -> None:
    answers = await site.talk(*[call()] * 6, answers=6)
    assert [b"x-request-id: mine\r\n" in answer for answer in answers] == [True] * 6
    assert len(parsed) == 6


async def test_of_a_call_in_pieces_nothing_is_learned(site: Site) -> None:
    start, end = alike()[:30], alike()[30:]
    assert codes(await site.talk(*SEEN_BEFORE, start, end, end, answers=5)) == [401] * 4 + [400]


async def test_good_calls_among_those_that_are_refused_at_a_glance_are_served_in_their_turn(
    site: Site, parsed: list[bool]
) -> None:
    await site.talk(alike(b"agent"))
    site.way.store.beats.clear()
    parsed.clear()
    answers = await site.talk(*SEEN_BEFORE, *[alike(b"agent"), alike()] * 4, answers=11)
    assert codes(answers) == [401] * 3 + [200, 401] * 4
    assert len(site.way.store.beats) == 4
    assert len(parsed) == 3 + 4
    together = [alike() + alike(b"agent") + alike(), alike(), alike(b"agent")[:-1], b"}" + alike()]
    assert codes(await site.talk(*SEEN_BEFORE, *together, answers=9)) == [401] * 3 + [401, 200, 401, 401, 200, 401]
    two = alike() + alike()
    assert codes(await site.talk(*SEEN_BEFORE, two, two, answers=7)) == [401] * 7
    half = [two[: len(two) // 2 + 20], two[len(two) // 2 + 20 :]]
    assert codes(await site.talk(*SEEN_BEFORE, *half, *half, answers=7)) == [401] * 7


async def test_who_does_not_take_the_answers_has_no_more_of_them_at_a_glance(
    site: Site, parsed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Doorway] = []
    make = Doorway.connection_made

    def noted(connection: Doorway, transport: asyncio.Transport) -> None:
        made.append(connection)
        make(connection, transport)

    monkeypatch.setattr(Doorway, "connection_made", noted)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        with contextlib.closing(writer):
            for _ in range(5):
                writer.write(alike())
                await an_answer(reader)
            parsed.clear()
            made[-1].pause_writing()
            writer.write(alike())
            await asyncio.sleep(0.1)
            assert len(parsed) == 1
            made[-1].resume_writing()
            assert codes([await an_answer(reader)]) == [401]


async def test_a_call_alike_is_not_answered_before_the_one_before_it(site: Site) -> None:
    await site.talk(*SEEN_BEFORE, answers=3)
    site.opens.clear()
    asyncio.get_running_loop().call_later(0.3, site.opens.set)
    assert codes(await site.talk(alike(), alike(path="/"), alike(), answers=3)) == [401, 404, 401]


async def test_who_is_refused_at_a_glance_for_long_is_answered_later(
    site: Site, parsed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.door.LATER_SECONDS", 0.5)
    begun = asyncio.get_running_loop().time()
    await site.talk(*[alike()] * (REFUSED_AT_ONCE + 2), answers=REFUSED_AT_ONCE + 2)
    assert asyncio.get_running_loop().time() - begun >= 0.5
    assert len(parsed) == 3


async def test_a_connection_that_was_refused_at_a_glance_is_closed_when_nothing_comes_any_more_and_not_before(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.door.LATER_SECONDS", 0.6)
    async with (
        served(Accompany(site, [PATH]), door=site.door, idle_seconds=0.3) as site.port, asyncio.timeout(10)
    ):  # fmt: skip
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        with contextlib.closing(writer):
            for _ in range(REFUSED_AT_ONCE + 3):
                writer.write(alike())
                await an_answer(reader)
            assert await reader.read() == b""


# --- behind a proxy ---------------------------------------------------------------------------------------------------


def from_(address: str, token: bytes = b"pcs_1") -> bytes:
    return call(AUTHORIZATION % token + b"X-Forwarded-For: %b\r\n" % address.encode())


@pytest.mark.parametrize(
    ("proxies", "of_two_addresses", "addresses"),
    [("127.0.0.0/8", [401, 401, 401, 401, 429, 401], 5), ("10.0.0.1", [401, 401, 429, 429, 429, 429], 1)],
    ids=["one that is believed", "one that is not"],
)
async def test_calls_through_a_proxy_are_told_at_the_door_as_inside(
    site: Site, monkeypatch: pytest.MonkeyPatch, proxies: str, of_two_addresses: Sequence[int], addresses: int
) -> None:
    calls = [
        from_("192.0.2.1", b"agent"), from_("192.0.2.1"), from_("192.0.2.1, 127.0.0.3"), from_("192.0.2.2"),
        *(from_(address, b"pcs_%d" % number) for number in (2, 3, 4) for address in ("192.0.2.3", "192.0.2.4")),
        from_(""), from_("192.0.2.2", b"agent"),
    ]  # fmt: skip
    async with opened(has_door=False) as other:
        told = []
        for one in (site, other):
            monkeypatch.setattr(problems, "_lines", Buckets(Quota(100, 10)))
            async with served(Accompany(one, [PATH]), door=one.door, trusted_proxies=proxies) as one.port:
                answers = await one.talk(*calls, answers=len(calls))
            await one.way.refusals.write()
            acts = [(act.code, act.address, act.count) for act in one.way.trail.acts]
            told.append(([WAITING.sub(b"", each) for each in answers], acts, len(one.way.store.beats)))
    assert told[0] == told[1]
    assert codes(told[0][0]) == [200, *[401] * 3, *of_two_addresses, 401, 200]
    assert len({address for _, address, _ in told[0][1]}) == addresses
    assert len(site.inside) < len(other.inside), "most were met at the door"


async def test_nobody_waits_behind_a_proxy_for_the_refusals_of_others(
    site: Site, parsed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.door.LATER_SECONDS", 60.0)
    async with served(Accompany(site, [PATH]), door=site.door, trusted_proxies="127.0.0.1") as site.port:
        await site.talk(from_("192.0.2.1", b"agent"))
        site.inside.clear()
        parsed.clear()
        flood = [from_("192.0.2.1").replace(b"X-Request-Id: mine\r\n", b"")] * (REFUSED_AT_ONCE + 3)
        answers = await site.talk(*flood, from_("192.0.2.2", b"agent"), answers=len(flood) + 1)
    assert codes(answers) == [401] * len(flood) + [200]
    assert site.inside == [PATH], "the first was looked up"
    assert len(parsed) == len(flood) + 1, "whose call it is stands in its head"


# --- answered at the door ---------------------------------------------------------------------------------------------

USUAL = {
    "plain": [call(KNOWN)],
    "in pieces": [call(KNOWN)[:-30], call(KNOWN)[-30:-10], call(KNOWN)[-10:]],
    "zipped": [call(KNOWN + b"Content-Encoding: gzip\r\n", body=gzip.compress(BODY))],
    "for one service": [call(AUTHORIZATION % b"web")],
    "without an id": [call(KNOWN).replace(b"X-Request-Id: mine", b"X-Request-Id: not sane")],
}
UNUSUAL = {
    "no heartbeat": call(KNOWN, body=b"{"),
    "a field of somebody else's": call(KNOWN, body=BODY[:-1] + b',"kernel":"6.1"}'),
    "an inventory": call(KNOWN, body=BODY[:-1] + b',"containers":[]}'),
    "a service that is not the caller's": call(AUTHORIZATION % b"web", body=BODY.replace(b'"web"', b'"db"')),
    "who may not beat": call(AUTHORIZATION % b"viewer"),
    "another content": call(KNOWN).replace(b"application/json", b"text/plain"),
    "who is ready to wait": call(KNOWN + b"Prefer: wait=0\r\n"),
    "more than a heartbeat has": call(KNOWN, body=BODY + b" " * 66_000),
    "a bomb": call(KNOWN + b"Content-Encoding: gzip\r\n", body=gzip.compress(b" " * 30_000_000)),
}


async def both(*pieces: bytes, arrange: Callable[[Site], Any] = lambda _: None, beats: int = 1_000) -> list[Any]:
    """What a call is answered with a door and without, what the broker heard, what was counted; and who came in."""
    told: list[Any] = []
    for has_door in (True, False):
        async with opened(has_door=has_door, beats=beats) as one:
            for token in (KNOWN, AUTHORIZATION % b"web", AUTHORIZATION % b"viewer"):
                await one.talk(call(token))
            arrange(one)
            one.inside.clear()
            one.way.store.beats.clear()
            before = counts()
            answers = await one.talk(*pieces)
            after = counts()
            changes = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
            await one.way.refusals.write()
            acts = [(act.code, act.route, act.actor, act.count) for act in one.way.trail.acts]
            told.append((([OWN_ID.sub(b"", each) for each in answers], one.way.store.beats, changes, acts), one.inside))
    (at_the_door, came_in), (inside, _) = told
    assert at_the_door == inside
    return [*at_the_door, came_in]


@pytest.mark.parametrize("pieces", USUAL.values(), ids=USUAL)
async def test_usual_heartbeats_are_answered_at_the_door_as_inside(pieces: Sequence[bytes]) -> None:
    answers, beats, changes, _, came_in = await both(*pieces)
    assert codes(answers) == [200]
    assert len(beats) == 1
    assert changes == {("200", "pcs_http_requests_total"): 1}
    assert came_in == []


@pytest.mark.parametrize("sent", UNUSUAL.values(), ids=UNUSUAL)
async def test_other_heartbeats_of_known_callers_are_let_in(sent: bytes) -> None:
    *_, came_in = await both(sent)
    assert came_in == [PATH]


async def test_a_token_does_not_outlive_its_revocation_by_a_body_that_takes_its_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.door.KNOWN_FOR_SECONDS", 0.05)
    await site.talk(call(KNOWN))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(call(KNOWN)[:-10])
    await asyncio.sleep(0.1)
    authenticator = site.way.app.state.studio.authenticator
    authenticator._hear(["t-agent"])
    del site.way.tokens.tokens["agent"]
    writer.write(call(KNOWN)[-10:])
    assert codes([await an_answer(reader)]) == [401]
    writer.close()


async def test_one_too_many_is_refused_inside() -> None:
    answers, beats, _, acts, came_in = await both(call(KNOWN), arrange=lambda site: spend(site, 5), beats=5)
    assert codes(answers) == [429]
    assert (beats, came_in) == ([], [PATH])
    assert acts[-1] == ("rate_limited", f"POST {PATH}", "t-agent", 1)


def spend(site: Site, count: int) -> None:
    for _ in range(count):
        site.way.app.state.studio.limits.over_here(Lane.HEARTBEATS, "t-agent")


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Idle(7), 200),
        (Delivered("c-1", 3, 1, COMMAND), 200),
        (Contested("t-agent", "another's"), 403),
        (BrokerUnavailable("ConnectionError"), 503),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_whatever_the_broker_tells_is_told_as_inside(outcome: Any, status: int) -> None:
    def arrange(site: Site) -> None:
        site.way.store.outcome = outcome

    answers, beats, *_, came_in = await both(call(KNOWN), arrange=arrange)
    assert codes(answers) == [status]
    # Who may not speak for a host asks once more, as its owner may have ended.
    assert len(beats) == (2 if isinstance(outcome, Contested) else 1)
    assert came_in == ([] if isinstance(outcome, Idle) else [PATH])


async def test_calls_that_did_not_wait_for_the_answers_before_are_answered_in_their_order(site: Site) -> None:
    await site.talk(call(KNOWN))
    site.way.store.outcome = Delivered("c-1", 3, 1, COMMAND)
    ids = [b"call-%d" % number for number in range(4)]
    answers = await site.talk(b"".join(call(KNOWN).replace(b"Id: mine", b"Id: " + each) for each in ids), answers=4)
    assert codes(answers) == [200] * 4
    assert [re.search(rb"x-request-id: (\S+)", answer)[1] for answer in answers] == ids  # type: ignore[index]


@pytest.mark.parametrize("outcome", [Idle(0), Delivered("c-1", 3, 1, COMMAND)], ids=["idle", "a command"])
async def test_who_goes_away_before_the_answer_holds_up_nobody(site: Site, outcome: Any) -> None:
    await site.talk(call(KNOWN))
    answer = asyncio.Event()
    waiting: list[Callable[[Any], None]] = []

    def send(heard: object, *, now: float, answered: Callable[[Any], None]) -> None:
        waiting.append(answered)
        answer.set()

    site.way.store.send = send  # type: ignore[method-assign]
    _, gone = await asyncio.open_connection("127.0.0.1", site.port)
    gone.write(call(KNOWN))
    await answer.wait()
    gone.transport.abort()
    await asyncio.sleep(0.05)
    del site.way.store.send
    for answered in waiting:
        answered(outcome)
    assert codes(await site.talk(call(KNOWN))) == [200]
    assert len(site.inside) == isinstance(outcome, Delivered) + 1, "that command is told of, as any other"


async def test_a_server_that_goes_down_answers_whom_it_has_met(site: Site) -> None:
    await site.talk(call(KNOWN))
    waiting: list[Callable[[Any], None]] = []

    def send(heard: object, *, now: float, answered: Callable[[Any], None]) -> None:
        waiting.append(answered)

    site.way.store.send = send  # type: ignore[method-assign]
    async with served(Accompany(site, [PATH]), door=site.door) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(call(KNOWN))
        while not waiting:  # noqa: ASYNC110 - the next turns of the same loop
            await asyncio.sleep(0.001)
        asyncio.get_running_loop().call_later(0.3, waiting[0], Idle(0))
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nconnection: close\r\n" in answer
    writer.close()
