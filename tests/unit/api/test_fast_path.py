"""The fast path answers as the ordinary route does, to the byte, and the broker hears the same."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import fast_bodies
from api.beats import heard_of
from api.body_limit import MOST_BYTES
from api.fast_bodies import FIELDS, Unusual
from api.ownership import NOBODY
from broker.errors import BrokerUnavailable
from broker.scripts import Contested, Delivered, Idle, New
from broker.token_store import TokenKind
from protocol.heartbeats import Heartbeat
from tests.support.two_ways import COMMAND, TwoWays, a_token

SEED = {
    "ip_address": "192.168.1.100", "hostname": "worker-01", "service_name": "web", "last_command_id": "cmd-uuid",
    "status": "active", "timestamp": "2025-01-08T11:00:00Z",
}  # fmt: skip
TYPE = (b"content-type", b"application/json")


@pytest.fixture
def ways() -> Iterator[TwoWays]:
    with TwoWays() as both:
        yield both


def body(**said: Any) -> bytes:
    return json.dumps({**SEED, **said}).encode()


FAST: dict[str, bytes] = {
    "the seed's": body(),
    "the least": b'{"ip_address":"::1","hostname":"a","service_name":"web"}',
    "nulls": body(**dict.fromkeys(set(FIELDS) - {"ip_address", "hostname", "service_name"})),
    "a run that has begun": body(status="running"),
    "ids": body(received_command_ids=["a", "b"], executed_command_ids=["a"]),
    "no ids": body(received_command_ids=[], executed_command_ids=[]),
    "a thousand ids": body(received_command_ids=[f"id-{number}" for number in range(1_000)]),
    "an odd capability": body(capabilities={"a": ["b", None, True, 10**30]}),
    "capabilities": body(capabilities={"profilers": {"perf": {"available": True, "detail": "perf 6.1"}}}),
    "events": body(perf_supported_events=["cycles", "instructions"]),
    "blanks around": b" \n" + body() + b"\r\n\t ",
    "names of another script": json.dumps({**SEED, "hostname": "zürich-東京"}, ensure_ascii=False).encode(),
    "a machine": body(host_id="0f3c~1"),
    "DEL in a status": body(status="DEL").replace(b"DEL", b"\x7f"),
}
PASSED_ON: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a byte order mark": b"\xef\xbb\xbf" + body(),
    "a field of somebody else's": body(kernel="6.1"),
    "a field twice": body()[:-1] + b', "status": "idle"}',
    "an unknown field twice": body()[:-1] + b', "x": 1, "x": 2}',
    "a nested field twice": body()[:-1] + b', "capabilities": {"a": 1, "a": 2}}',
    "an escape": body(status='"quoted"'),
    "an escaped name": body(hostname="zürich"),
    "a lone surrogate": body(hostname="\ud800"),
    "a fraction": body(capabilities={"load": 1.5}),
    "NaN": b'{"ip_address":"::1","hostname":"a","service_name":"web","capabilities":{"a":NaN}}',
    "an inventory": body(containers=[]),
    "65 levels": body(capabilities={"a": json.loads("[" * 64 + "]" * 64)}),
    "17 levels": body(capabilities={"a": json.loads("[" * 18 + "]" * 18)}),
    "1,001 ids": body(received_command_ids=["a"] * 1_001),
    "an empty id": body(executed_command_ids=[""]),
    "no host": b'{"ip_address":"::1","service_name":"web"}',
    "an empty machine": body(host_id=""),
    "a machine with a blank": body(host_id="a b"),
    "a machine of 129": body(host_id="x" * 129),
    "a blank host": body(hostname="  "),
    "a host with a tab": body(hostname="a\tb"),
    "a host with a raw DEL": body(hostname="DEL").replace(b"DEL", b"\x7f"),
    "a host of 257": body(hostname="x" * 257),
    "a number for a text": body(status=7),
    "Latin-1": body(status="caf").replace(b"caf", b"caf\xe9"),
    "too large": body() + b" " * MOST_BYTES,
}


@pytest.mark.parametrize("raw", FAST.values(), ids=FAST)
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "zipped"])
def test_usual_heartbeats_are_answered_by_the_fast_path(ways: TwoWays, raw: bytes, zipped: bool) -> None:
    headers = [TYPE, (b"content-encoding", b"gzip")] if zipped else [TYPE]
    answer, is_fast = ways.compare(gzip.compress(raw) if zipped else raw, headers=headers)
    assert (answer.status, is_fast) == (200, True)
    assert len(ways.fast.store.beats) == 1


@pytest.mark.parametrize("raw", PASSED_ON.values(), ids=PASSED_ON)
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "zipped"])
def test_unusual_heartbeats_are_passed_on(ways: TwoWays, raw: bytes, zipped: bool) -> None:
    headers = [TYPE, (b"content-encoding", b"gzip")] if zipped else [TYPE]
    sent = gzip.compress(raw) if zipped else raw
    _, is_fast = ways.compare(sent, headers=headers)
    assert not is_fast


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"text/plain")],
        [(b"content-type", b"application/vnd.studio+json")],
        [TYPE, TYPE],
        [TYPE, (b"content-encoding", b"br")],
        [TYPE, (b"content-encoding", b"gzip")],
        [TYPE, (b"content-encoding", b"gzip"), (b"content-encoding", b"gzip")],
        [TYPE, (b"content-length", b"9999999")],
        [TYPE, (b"authorization", b"Bearer viewer")],
        [TYPE, (b"authorization", b"")],
    ],
    ids=lambda headers: " ".join(f"{name.decode()}:{value.decode()}" for name, value in headers),
)
def test_unusual_headers_are_answered_alike(ways: TwoWays, headers: list[tuple[bytes, bytes]]) -> None:
    ways.compare(body(), headers=headers)


@pytest.mark.parametrize("first", [b"", b"Bearer nobody"])
def test_the_first_of_several_who_call_at_once_is_taken_for_the_caller(ways: TwoWays, first: bytes) -> None:
    headers = [TYPE, (b"authorization", first), (b"authorization", b"Bearer agent")]
    answer, is_fast = ways.compare(body(), token=None, headers=headers)
    assert (answer.status, is_fast) == (401, False)


@pytest.mark.parametrize("token", ["agent", "web", "admin", "viewer", "nobody", "", None])
@pytest.mark.parametrize("service", ["web", "db"])
def test_every_caller_is_answered_alike_the_first_time_and_once_it_is_known(
    ways: TwoWays, token: str | None, service: str
) -> None:
    for _ in range(3):
        ways.compare(body(service_name=service), token=token, headers=[TYPE])
    assert ways.fast.tokens.asked == ways.ordinary.tokens.asked <= 1, "asked for once, good or bad"


def test_a_body_in_pieces_is_answered_alike(ways: TwoWays) -> None:
    raw = body()
    answer, is_fast = ways.compare(raw[:10], b"", raw[10:], headers=[TYPE])
    assert (answer.status, is_fast) == (200, True)


def test_a_large_body_is_passed_on_unless_it_is_small_when_zipped(ways: TwoWays) -> None:
    raw = body(capabilities={"a": "x" * 70_000})
    assert [ways.compare(raw, headers=[TYPE])[1], ways.compare(raw[:9], raw[9:], headers=[TYPE])[1]] == [False, False]
    answer, is_fast = ways.compare(gzip.compress(raw), headers=[TYPE, (b"content-encoding", b"gzip")])
    assert (answer.status, is_fast) == (200, True)


def test_a_body_that_is_cut_short_is_answered_alike(ways: TwoWays) -> None:
    answer, _ = ways.compare(body()[:10], headers=[TYPE], is_cut=True)
    assert answer.status == 400


@pytest.mark.parametrize(
    "outcome",
    [
        Idle(0),
        Idle(7),
        Delivered("c-1", 3, 1, COMMAND),
        Contested("t-agent", "another's"),
        Contested("t-gone", "another's"),
        New(),
        BrokerUnavailable("ConnectionError"),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_every_outcome_is_told_alike(ways: TwoWays, outcome: Any) -> None:
    ways.answer_with(outcome)
    for _ in range(2):  # the second answer is one that was made before
        answer, is_fast = ways.compare(body(), headers=[TYPE])
        assert is_fast
    assert answer.status == {BrokerUnavailable: 503, Contested: 403}.get(type(outcome), 200)


def test_the_fields_are_those_of_the_contract() -> None:
    assert set(FIELDS) == set(Heartbeat.model_fields)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["web", "running", "", " ", "x" * 257])
likely = {
    "ip_address": texts, "hostname": texts, "service_name": texts, "last_command_id": texts | st.none(),
    "status": texts | st.none(), "timestamp": texts, "agent_version": texts, "run_mode": texts,
    "received_command_ids": st.lists(texts, max_size=3),
    "executed_command_ids": st.lists(texts, max_size=3) | st.none(),
    "perf_supported_events": st.lists(texts, max_size=3), "namespace": texts, "pod_name": texts, "host_id": texts,
    "containers": st.lists(json_values, max_size=3), "capabilities": st.dictionaries(texts, json_values, max_size=3),
}  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> list[bytes]:
    """A heartbeat with some fields of the right kind and some of any kind; and that after a blow to its bytes."""
    said: dict[str, Any] = dict(SEED)
    said |= {name: draw(likely[name]) for name in draw(st.lists(st.sampled_from(sorted(likely)), max_size=4))}
    for name in draw(st.lists(st.sampled_from([*sorted(likely), "unknown"]), max_size=1)):
        said[name] = draw(json_values)
    raw = json.dumps(said, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    ats = draw(st.lists(st.integers(0, len(raw)), min_size=4, max_size=4))
    put = draw(st.binary(min_size=1, max_size=2) | st.sampled_from([b'"', b",", b"{", b"\\", b"0", b"-", b" "]))
    return [
        raw,
        *(raw[:at] + raw[at + 1 :] for at in ats),
        *(raw[:at] + put + raw[at:] for at in ats),
        raw[:-1] + b"," + json.dumps(draw(st.sampled_from(sorted(said)))).encode() + b": null}",
    ]


def test_any_body_is_answered_alike(ways: TwoWays) -> None:
    @settings(max_examples=40, deadline=None)
    @given(some=bodies())
    def ask(some: list[bytes]) -> None:
        for raw in some:
            answer, _ = ways.compare(raw, headers=[TYPE])
            assert answer.status in {200, 400, 422}

    ask()


def test_thousands_of_bodies_are_read_alike(ways: TwoWays) -> None:
    """What the fast path reads the ordinary route reads, and the broker hears the same of it."""
    seen, caller = {True: 0, False: 0}, a_token(TokenKind.AGENT, "*")

    @settings(max_examples=400, deadline=None)
    @given(some=bodies())
    def read(some: list[bytes]) -> None:
        for raw in some:
            try:
                said = fast_bodies.read(raw)
            except Unusual:
                seen[False] += 1
                continue
            seen[True] += 1
            meant = ways.ordinarily_read(raw)
            assert heard_of(said, caller, NOBODY, interval=30) == heard_of(meant, caller, NOBODY, interval=30)

    read()
    assert min(seen.values()) > 100, "both were seen"
