"""Who is met at the door is answered, counted, audited and logged as further in; everybody else is let in."""

import asyncio
import contextlib
import gzip
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import structlog

from api import problems
from api.accompany import Accompany
from api.buckets import Buckets
from api.door import REFUSED_AT_ONCE
from api.doorway import Doorway
from api.limit_settings import Lane
from api.metrics import REGISTRY
from broker.errors import BrokerUnavailable
from broker.quotas import Quota
from broker.scripts import Contested, Delivered, Idle, New
from tests.support.doors import (
    AUTHORIZATION,
    BODY,
    KNOWN,
    OWN_ID,
    UNKNOWN,
    WAITING,
    Site,
    an_answer,
    call,
    codes,
    counts,
    opened,
    with_call,
)
from tests.support.serving import served
from tests.support.two_ways import COMMAND, PATH


async def test_what_is_told_at_the_door_is_what_is_told_inside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [call(UNKNOWN)] * 3 + [call(AUTHORIZATION % (b"pcs_%d" % number)) for number in range(2, 6)]
    async with opened(has_door=False) as other:
        told = []
        for one in (site, other):
            monkeypatch.setattr(problems, "_lines", Buckets(Quota(100, 10)))
            monkeypatch.setattr(problems, "_unsaid", Counter())
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
        (New(), 200),
        (BrokerUnavailable("ConnectionError"), 503),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_whatever_the_broker_tells_is_told_as_inside(outcome: Any, status: int) -> None:
    def arrange(site: Site) -> None:
        site.way.store.outcome = outcome

    answers, beats, *_, came_in = await both(call(KNOWN), arrange=arrange)
    assert codes(answers) == [status]
    # Who may not speak for a host asks once more, as its owner may have ended; and who speaks for a new one, counted.
    assert len(beats) == (2 if isinstance(outcome, Contested | New) else 1)
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
