"""Indexed profiles are pushed to where a user has them too: tried again, and in nobody's way."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest
from pydantic import SecretStr

from broker import keys
from broker.connection import Broker
from broker.uploads import PUSHERS, Pushes, Uploads
from profiles.embedded import Embedded
from profiles.objects import Objects
from profiles.questions import Selection
from profiles.shelves import Envelope, RawUploads
from profiles.upload import read_json
from protocol.names import HostKey
from tests.support.receiver import Receiver, receiving
from workers import pushing
from workers.indexing import Indexer
from workers.pushing import Pusher
from workers.sinks import BadSinks, Sink, read_sinks
from workers.webhook_client import WebhookClient

START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
STACKS = {"web;main;work": 30, "web;main": 10}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


class Site:
    """What the jobs of indexing and of pushing work with."""

    def __init__(self, broker: Broker, folder: Path, client: WebhookClient) -> None:
        objects, self._broker = Objects(str(folder)), broker
        self.raw, self.engine = RawUploads(objects), Embedded(objects)
        self.uploads, self.pushes = Uploads(broker, "one"), Pushes(broker, "one")
        self._client = client

    async def upload(self, host: str = "a", *, mode: str = "cpu") -> str:
        header = {"format": "collapsed", "profiling_mode": mode, "frequency_hz": 11}
        lines = "\n".join(f"{stack} {count}" for stack, count in STACKS.items())
        end = START + timedelta(seconds=60)
        body = {
            "hostname": host, "start_time": START.isoformat(), "end_time": end.isoformat(),
            "profile": f"# {json.dumps(header)}\n{lines}",
        }  # fmt: skip
        content = json.dumps(body).encode()
        facts = read_json(content, tenant="default", service="web shop", now=START).facts
        when = (START.isoformat(), end.isoformat(), START.isoformat())
        envelope = Envelope("default", "web shop", host, "agent", False, *when)
        path = self.raw.keep(facts.profile_id, envelope, content)
        await self.uploads.announce(facts.host, path)
        return facts.profile_id

    async def index(self, *sinks: Sink) -> int:
        return await Indexer(self.uploads, self.raw, self.engine, self.pushes, sinks).index()

    async def later(self) -> None:
        """The time is over after which what was not taken is tried again."""
        idle = round(pushing.TRIED_AGAIN_AFTER.total_seconds() * 1000) + 1
        async with self._broker.guarded() as redis:
            for stream in (keys.pushes(partition) for partition in range(self._broker.partitions)):
                held = await redis.xpending_range(stream, PUSHERS, min="-", max="+", count=99)
                if ids := [each["message_id"] for each in held]:
                    await redis.xclaim(stream, PUSHERS, "one", min_idle_time=0, message_ids=ids, idle=idle)

    async def push(self, *sinks: Sink) -> int:
        return await Pusher(self.pushes, self.uploads, self.raw, sinks, self._client).push()

    def samples(self) -> int:
        whole = Selection("default", "web shop", START, START + timedelta(hours=1))
        return sum(self.engine.merged(whole).stacks.values())


@pytest.fixture
async def site(broker: Broker, tmp_path: Path) -> AsyncIterator[Site]:
    async with WebhookClient(timeout=timedelta(seconds=10), tries=1) as client:
        yield Site(broker, tmp_path, client)


def sink(url: str, name: str = "it", **given: Any) -> Sink:
    return Sink.model_validate({"name": name, "kind": "pyroscope", "url": url, **given})


async def test_pyroscope_and_otlp_get_what_was_indexed(site: Site, receiver: Receiver) -> None:
    headers = {"X-Scope-OrgID": SecretStr("ours")}
    sinks = [sink(receiver.url, "p", headers=headers), sink(f"{receiver.url}/", "o", kind="otlp"),
             sink(receiver.url, "others", services=("db",)), sink(receiver.url, "theirs", tenant="acme")]  # fmt: skip
    profile_id = await site.upload()
    assert (await site.index(*sinks), await site.push(*sinks)) == (1, 2)
    by_path = {call.path: call for call in receiver.calls}
    pyroscope, otlp = by_path["/ingest"], by_path["/v1development/profiles"]
    assert pyroscope.query == {
        "name": ["web_shop.cpu{hostname=a,service_name=web_shop,tenant=default}"], "from": ["1777889700"],
        "until": ["1777889760"], "format": ["folded"], "units": ["samples"], "aggregationType": ["sum"],
        "sampleRate": ["11"], "spyName": ["performance-studio"],
    }  # fmt: skip
    assert pyroscope.headers["X-Scope-OrgID"] == "ours"
    assert pyroscope.body == b"web;main;work 30\nweb;main 10\n"
    assert otlp.headers["Content-Type"] == "application/x-protobuf"
    request = ExportProfilesServiceRequest.FromString(otlp.body)
    told = request.dictionary
    (resource,) = request.resource_profiles
    (profile,) = resource.scope_profiles[0].profiles
    found = {}
    for sample in profile.samples:
        frames = [
            told.string_table[told.function_table[told.location_table[at].lines[0].function_index].name_strindex]
            for at in told.stack_table[sample.stack_index].location_indices
        ]
        found[";".join(reversed(frames))] = list(sample.values)
    assert found == {stack: [count] for stack, count in STACKS.items()}
    assert told.string_table[profile.sample_type.type_strindex] == "samples"
    assert told.string_table[0] == ""
    assert profile.period == 1_000_000_000 // 11
    assert (profile.time_unix_nano, profile.duration_nano) == (1_777_889_700 * 10**9, 60 * 10**9)
    assert profile.profile_id.hex() == profile_id.partition("-")[2]
    assert {each.key: each.value.string_value for each in resource.resource.attributes} == {
        "service.name": "web shop", "host.name": "a", "studio.tenant": "default",
    }  # fmt: skip


async def test_who_is_away_is_tried_again_and_holds_nothing_up(site: Site, receiver: Receiver) -> None:
    away = sink("http://127.0.0.1:1", "away")
    for host in ("a", "b"):
        await site.upload(host)
    assert await site.index(away, sink(receiver.url)) == 2
    assert site.samples() == 80
    receiver.statuses = [503]
    assert await site.push(away, sink(receiver.url)) == 0
    assert await site.push(away, sink(receiver.url)) == 0, "they were tried just now"
    await site.later()
    assert await site.push(away, sink(receiver.url)) == 2
    assert len(receiver.calls) == 3
    assert (await site.pushes.lag()).behind == 2
    await site.later()
    assert await site.push(sink(receiver.url, "away")) == 2
    assert (await site.pushes.lag()).behind == 0


async def test_what_is_sent_and_indexed_again_is_pushed_once(site: Site, receiver: Receiver) -> None:
    for _ in range(2):
        await site.upload()
        await site.index(sink(receiver.url))
        await site.push(sink(receiver.url))
    assert len(receiver.calls) == 1


async def test_uploads_go_first(site: Site, receiver: Receiver) -> None:
    await site.upload("a")
    await site.index(sink(receiver.url))
    await site.upload("b")
    assert await site.push(sink(receiver.url)) == 0
    assert not receiver.calls


async def test_what_is_refused_for_good_or_a_day_old_is_given_up_and_what_may_be_mended_is_not(
    site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for status, left in ((400, 0), (401, 1)):
        await site.upload(f"h-{status}")
        await site.index(sink(receiver.url))
        receiver.statuses = [status]
        await site.push(sink(receiver.url))
        assert (await site.pushes.lag()).behind == left
    monkeypatch.setattr(pushing, "GIVEN_UP_AFTER", timedelta(0))
    await site.later()
    await site.push(sink(receiver.url))
    assert (await site.pushes.lag()).behind == 0
    assert len(receiver.calls) == 2


async def test_a_sink_that_is_configured_no_more_is_forgotten(site: Site, receiver: Receiver) -> None:
    await site.pushes.ask(HostKey("default", "web", "a"), "raw/nowhere", "former")
    assert await site.push(sink(receiver.url)) == 0
    assert (await site.pushes.lag()).behind == 0


@pytest.mark.parametrize(
    "given",
    [
        '[{"name": "a", "kind": "pyroscope", "url": "ftp://hush"}]', '[{"name": "a", "kind": "statsd", "url": "http://h"}]',
        '[{"name": "a", "kind": "otlp", "url": "http://h/?key=hush"}]', "[{", "/no/such/hush", '[{"name": "A"}]',
        '[{"name": "a", "kind": "otlp", "url": "http://h"}, {"name": "a", "kind": "otlp", "url": "http://i"}]',
    ],
)  # fmt: skip
def test_sinks_that_are_none_are_refused_without_telling_a_secret(given: str) -> None:
    with pytest.raises(BadSinks, match="PCS_PROFILES_PUSH") as refused:
        read_sinks(given)
    assert "hush" not in str(refused.value).replace("/no/such/hush", "")
    assert read_sinks("") == []
