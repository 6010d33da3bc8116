"""Whom the fast path turns down, it turns down as the ordinary route does: answer, audit, count and log are alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from api import limits, problems, strangers
from api.buckets import Buckets
from api.limit_settings import Lane
from api.metrics import LIMITED
from broker.audit import Act
from broker.quotas import Quota
from broker.token_store import TokenKind
from tests.support.two_ways import Answer, TwoWays, Way, a_token

BODY = b'{"ip_address":"::1","hostname":"a","service_name":"web"}'
TYPE = (b"content-type", b"application/json")
LANES = (Lane.HEARTBEATS, Lane.STRANGERS)


@dataclass(frozen=True)
class Told:
    """What became of one call, in all places where it is told."""

    answer: Answer
    acts: Sequence[Act]
    limited: Mapping[Lane, float]
    lines: Sequence[Mapping[str, Any]]


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoWays]:
    """Both ways at one moment that does not pass: what is left of a wait is the same for both."""
    still = SimpleNamespace(monotonic=lambda: 1_000.0)
    monkeypatch.setattr(limits, "time", still)
    monkeypatch.setattr(strangers, "time", still)
    with TwoWays({Lane.HEARTBEATS: Quota(2, 10), Lane.STRANGERS: Quota(2, 7)}) as both:
        for way in (both.fast, both.ordinary):
            way.tokens.tokens["ended"] = replace(
                a_token(TokenKind.AGENT, "*"), expires_at=datetime(2026, 1, 2, tzinfo=UTC)
            )  # fmt: skip
        yield both


def told(
    ways: TwoWays, way: Way, authorization: bytes | None, monkeypatch: pytest.MonkeyPatch, *, lines: int = 100
) -> Told:
    """Send one heartbeat by one way. `lines`: how many the log takes of a flood."""
    headers = [TYPE] if authorization is None else [TYPE, (b"authorization", authorization)]
    before = {lane: count(lane) for lane in LANES}
    monkeypatch.setattr(problems, "_lines", Buckets(Quota(lines, 10)))
    monkeypatch.setattr(problems, "_unsaid", type(problems._unsaid)())  # what other tests left to be told
    with structlog.testing.capture_logs() as said:
        answer = ways.run(way.ask([BODY], headers))
    ways.run(way.refusals.write())
    acts = [replace(act, record_id="", at=0.0) for act in way.trail.acts]
    way.trail.acts.clear()
    return Told(answer, acts, {lane: count(lane) - before[lane] for lane in LANES}, said)


def count(lane: Lane) -> float:
    value: float = LIMITED.labels(lane)._value.get()  # the library has no other way to read one
    return value


CALLS: dict[str, tuple[list[bytes | None], list[int]]] = {
    "a token that nobody knows": ([b"Bearer pcs_1"] * 3, [401, 401, 401]),
    "a token that has ended": ([b"Bearer ended"] * 3, [401, 401, 401]),
    "no token": ([None, b"Bearer ", b"Basic YTpi", b"pcs_1", b"Bearer  "], [401] * 5),
    "a token that is no ASCII": ([b"Bearer caf\xe9"] * 2, [401, 401]),
    "a token that is too long": ([b"Bearer " + b"x" * 600] * 2, [401, 401]),
    "always another one": ([b"Bearer pcs_%d" % number for number in range(5)], [401, 401, 429, 429, 429]),
    "one that is known behind such": (
        [b"Bearer agent", b"Bearer pcs_1", b"Bearer pcs_2", b"Bearer pcs_3", b"Bearer agent", b"Bearer pcs_1"],
        [200, 401, 401, 429, 200, 401],
    ),
    "a good one that is new behind such": ([b"Bearer pcs_1", b"Bearer pcs_2", b"Bearer agent"], [401, 401, 429]),
    "an agent that beats too often": ([b"Bearer agent"] * 4, [200, 200, 429, 429]),
    "the wrong kind": ([b"Bearer viewer"] * 3, [403, 403, 429]),
}


@pytest.mark.parametrize(("calls", "statuses"), CALLS.values(), ids=CALLS)
def test_a_refusal_is_told_alike_in_every_place(
    ways: TwoWays, monkeypatch: pytest.MonkeyPatch, calls: list[bytes | None], statuses: list[int]
) -> None:
    for authorization, status in zip(calls, statuses, strict=True):
        before = ways.fast.ordinary
        fast, ordinary = (told(ways, way, authorization, monkeypatch) for way in (ways.fast, ways.ordinary))
        assert fast == ordinary
        assert fast.answer.status == status
        if status in {401, 429}:
            assert [(act.code, act.route, act.address, act.count) for act in fast.acts] == [
                (fast.lines[0]["code"], "POST /api/metrics/heartbeat", "127.0.0.1", 1)
            ]
            assert ways.fast.ordinary == before or authorization == b"Bearer viewer", "answered before the framework"
    assert ways.fast.tokens.asked == ways.ordinary.tokens.asked


def test_a_flood_has_its_share_of_the_log_and_of_the_audit_trail(
    ways: TwoWays, monkeypatch: pytest.MonkeyPatch
) -> None:
    for way in (ways.fast, ways.ordinary):
        monkeypatch.setattr(problems, "_lines", Buckets(Quota(3, 10)))
        monkeypatch.setattr(problems, "_unsaid", type(problems._unsaid)())
        with structlog.testing.capture_logs() as said:
            for number in range(12):
                ways.run(way.ask([BODY], [TYPE, (b"authorization", b"Bearer pcs_%d" % number)]))
        ways.run(way.refusals.write())
        assert [line["code"] for line in said] == ["unauthenticated"] * 2 + ["rate_limited"] * 3
        assert problems._unsaid == {"rate_limited": 7}
        assert [(act.code, act.count) for act in way.trail.acts] == [("unauthenticated", 2), ("rate_limited", 10)]
        assert all(act.last_at is not None and act.last_at >= act.at for act in way.trail.acts)
