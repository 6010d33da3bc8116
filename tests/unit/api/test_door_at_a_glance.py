"""What is refused without being parsed is what a parser would have found, and nothing else is."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest
import structlog

from api import problems
from api.accompany import Accompany
from api.buckets import Buckets
from api.door import REFUSED_AT_ONCE
from api.doorway import Doorway
from broker.quotas import Quota
from tests.support.doors import (
    BODY,
    OWN_ID,
    WAITING,
    Site,
    alike,
    an_answer,
    call,
    codes,
    counts,
    opened,
    with_call,
)
from tests.support.serving import served
from tests.support.two_ways import PATH


async def test_what_is_told_at_a_glance_is_what_is_told_inside(
    site: Site, parsed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [alike()] * 4 + [alike(b"pcs_%d" % number) for number in (2, 3, 4, 5, 1)]
    async with opened(has_door=False) as other:
        told = []
        for one in (site, other):
            monkeypatch.setattr(problems, "_lines", Buckets(Quota(100, 10)))
            monkeypatch.setattr(problems, "_unsaid", Counter())
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


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_where_ends_of_lines_stood_behind_a_call_the_next_one_is_heard(site: Site, end: bytes) -> None:
    good = alike(b"agent")
    padded = alike() + (end * len(good))[-len(good) :]
    assert codes(await site.talk(alike(), padded, padded, alike() + good, answers=5)) == [401] * 4 + [200]


async def test_no_token_is_taken_out_of_a_body(site: Site) -> None:
    good = alike(b"agent")
    inner = b"\r\nAuthorization: Bearer pcs_1\r\n\r\n" + good
    sent = alike(body=inner).replace(b"Authorization", b"AUTHORIZATION", 1)
    # Longer than its head says, by as much as the good one has: to a parser that is a second call.
    longer = sent.replace(inner, inner.replace(b"pcs_1", b"pcs_1" + b"1" * len(good)))
    for known in (good, alike(b"pcs_1"), alike(b"pcs_2")):  # after which no further one is looked up
        await site.talk(known)
    assert codes(await site.talk(*SEEN_BEFORE, sent, sent, longer, answers=7)) == [401] * 6 + [200]


async def test_a_connection_on_which_ends_of_lines_came_by_themselves_lasts_as_any_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Doorway, "arrives_within", timedelta(seconds=0.3))
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        with contextlib.closing(writer):
            for sent in (alike(), alike(), alike(), b"\r\n", alike(), alike()):
                writer.write(sent)
                await (an_answer(reader) if sent.strip() else asyncio.sleep(0.05))
            await asyncio.sleep(0.5)
            writer.write(alike())
            assert codes([await an_answer(reader)]) == [401]


CALLS = (
    *[alike()] * 6, *[alike(b"agent")] * 2, alike(b"pcs_3"), alike(b"pcs_22"), alike(b"viewer"), alike(b""), call(),
    alike(body=alike()), alike(body=b"\r\n\r\n" + alike(b"agent")), alike(path="/"),
    alike(body=b"\r\nAuthorization: Bearer pcs_1\r\n\r\n").replace(b"Authorization", b"AUTHORIZATION", 1),
    alike().replace(b"Authorization", b"authorization"), alike().replace(b": Bearer", b":Bearer"),
    alike(body=b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
)  # fmt: skip
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def any_stream(chance: random.Random) -> list[bytes]:
    """Calls, as they may come from the network: together, in pieces, with ends of lines between them."""
    pieces: list[bytes] = []
    for _ in range(chance.randint(4, 12)):
        sent, next_one = chance.choice(CALLS), chance.choice(CALLS)
        match chance.randrange(12):
            case 0:
                pieces.append(sent + chance.choice([b"\n", b"\r\n", b"\n" * len(next_one)]))
                sent += next_one
            case 1:
                sent += chance.choice([b"\n", b"\r\n", next_one])
            case 2:
                at = chance.randrange(1, len(next_one))
                pieces.append(sent + next_one[:at])
                sent = next_one[at:]
            case 3:
                at = chance.randrange(1, len(sent))
                pieces.append(sent[:at])
                sent = sent[at:]
            case 4:
                sent = b"\r\n" + sent
        pieces.append(sent)
    return [*pieces, LAST]


async def test_whatever_comes_in_whatever_pieces_is_answered_as_by_a_server_without_a_door(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.auth.REMEMBERED_SECONDS", 60.0)
    monkeypatch.setattr("api.door.LATER_SECONDS", 0.01)
    chance = random.Random(4)
    streams = [any_stream(chance) for _ in range(200)]
    told = []
    for has_door in (True, False):
        async with opened(has_door=has_door) as one:
            for token in (b"pcs_1", b"pcs_3", b"pcs_22"):  # one more than may be looked up
                await one.talk(alike(token))
            answers: list[bytes] = []
            for at in range(0, len(streams), 40):
                answers += await asyncio.gather(*map(one.all_of, streams[at : at + 40]))
            told.append(([WAITING.sub(b"", OWN_ID.sub(b"", each)) for each in answers], len(one.way.store.beats)))
    at_the_door, inside = told
    for number, (one_way, other_way) in enumerate(zip(at_the_door[0], inside[0], strict=True)):
        assert one_way == other_way, streams[number]
    assert at_the_door[1] == inside[1]


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
