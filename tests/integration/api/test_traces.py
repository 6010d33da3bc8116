"""One trace from a submission to its completion, by OpenTelemetry's own SDK."""

import sys
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from api.app import create_app
from api.settings import ApiSettings
from broker import keys, tracing
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.request_log import RequestLog
from protocol.names import DEFAULT_TENANT, HostKey
from tests.support.api import COMPLETION, HEARTBEAT, REQUEST
from workers.merger import Merger

HOST = HostKey(DEFAULT_TENANT, "web", "web-01")
BEAT = {"ip_address": "10.0.0.1", "hostname": HOST.host, "service_name": HOST.service}
STEPS = ("submit request", "decide on command", "deliver command", "complete command")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Traces go into memory, for as long as the test runs."""
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield memory
    provider.shutdown()


@pytest.fixture
async def http(broker: Broker) -> AsyncIterator[httpx.AsyncClient]:
    """The API in this process, on the session's broker."""
    settings = ApiSettings(state_dir=broker.settings.state_dir, insecure_no_auth=True, limits="off")
    app = create_app(settings, broker.settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://studio") as client:
            yield client


@pytest.fixture
def merger(broker: Broker) -> Merger:
    log = RequestLog(broker)
    return Merger(log, CommandStore(broker), log.reader())


async def live(http: httpx.AsyncClient, merger: Merger, **headers: str) -> str:
    """One request from its submission to its completion; gives its command id."""
    submitted = await http.post(REQUEST, json={"service_name": "web", "target_hostnames": [HOST.host]}, headers=headers)
    assert submitted.status_code == 200, submitted.text
    assert await merger.merge() == 1
    handed_out = (await http.post(HEARTBEAT, json=BEAT)).json()
    command_id: str = handed_out["command_id"]
    assert command_id == submitted.json()["command_id"]
    assert set(handed_out["profiling_command"]) == {"command_type", "combined_config"}, "agents see what they know"
    body = {"command_id": command_id, "hostname": HOST.host, "service_name": "web", "status": "completed"}
    assert (await http.post(COMPLETION, json=body)).status_code == 200
    return command_id


def told(spans: tuple[ReadableSpan, ...]) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans}


async def test_one_trace_leads_from_the_submission_to_the_completion(
    http: httpx.AsyncClient, merger: Merger, exporter: InMemorySpanExporter
) -> None:
    command_id = await live(http, merger, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    spans = told(exporter.get_finished_spans())
    for name in (f"POST {REQUEST}", *STEPS):
        context = spans[name].context
        assert context is not None
        assert format(context.trace_id, "032x") == TRACE, name
    began = spans["submit request"].context
    for name in STEPS[1:]:
        parent = spans[name].parent
        assert began is not None
        assert parent is not None
        assert parent.span_id == began.span_id
        attributes = spans[name].attributes
        assert attributes is not None
        assert attributes["pcs.command_id"] == command_id


async def test_a_submission_without_a_trace_begins_one(
    http: httpx.AsyncClient, merger: Merger, exporter: InMemorySpanExporter
) -> None:
    await live(http, merger, traceparent="00-of-no-use-01")
    spans = told(exporter.get_finished_spans())
    contexts = [spans[name].context for name in (f"POST {REQUEST}", *STEPS)]
    ids = {context.trace_id for context in contexts if context is not None}
    assert len(ids) == 1
    assert 0 not in ids


async def test_where_nobody_traces_nothing_is_stored_for_it(
    http: httpx.AsyncClient, merger: Merger, broker: Broker
) -> None:
    assert not tracing.is_on()
    await live(http, merger, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    async with broker.guarded() as redis:
        command = await redis.hgetall(keys.command(broker.place(HOST)))
    assert TRACE not in str(command)
    assert "traceparent" not in str(command)


def test_traces_without_the_extra_are_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(tracing.TracesNeedTheExtra, match=r"performance-studio\[otel\]"):
        tracing.configure_tracing("api")
