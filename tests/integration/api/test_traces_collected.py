"""Traces as a collector gets them: real processes send by OTLP over HTTP what becomes one trace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.settings import BrokerSettings
from tests.support.api import HEARTBEAT, REQUEST, Api, PlayedAgent, running_api
from tests.support.collector import Collector, collecting
from tests.support.processes import Role, broker_role, eventually, started, worker_role
from tests.support.servers import wait_for_broker

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
FIRST_WORDS = ("submit", "decide", "deliver", "complete")
API, WORKERS = "performance-studio-api", "performance-studio-merger"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as listening:
        yield listening


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[tuple[Api, Role]]:
    """An API and a merger that send their traces to the collector."""
    state_dir = tmp_path_factory.mktemp("traced")
    with started(broker_role(state_dir)):
        wait_for_broker(BrokerSettings(state_dir=state_dir))
        with (
            started(worker_role(state_dir, "merger", env=collector.env)) as merger,
            running_api(state_dir, env=collector.env) as api,
        ):
            yield api, merger


def test_one_request_is_one_trace_at_the_collector_with_each_step_below_the_submission(
    traced: tuple[Api, Role], collector: Collector
) -> None:
    api, _ = traced
    body = {"service_name": "web", "target_hostnames": ["web-01"]}
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    accepted = api.ok("POST", REQUEST, token=api.admin, json=body, headers=headers)
    taken = PlayedAgent(api, "web-01").run()
    steps = {
        "submit request": API, "decide on command": WORKERS, "deliver command": API, "complete command": API,
    }  # fmt: skip
    eventually(lambda: {f"POST {REQUEST}", *steps} <= set(collector.of_trace(TRACE)), within=30, what="every step")
    spans = collector.of_trace(TRACE)
    assert {name: spans[name].service for name in steps} == steps
    call, began = spans[f"POST {REQUEST}"], spans["submit request"]
    assert (call.parent, began.parent) == (CALLER, call.span_id)
    for name in list(steps)[1:]:
        assert spans[name].parent == began.span_id, name
        assert spans[name].attributes["pcs.command_id"] == taken["command_id"]
    assert taken["command_id"] == accepted["command_id"]
    of_trace = [span for span in tuple(collector.spans) if span.trace_id == TRACE]
    assert sorted(span.name for span in of_trace) == sorted(spans), "each step once"
    assert collector.refused == []


def test_nothing_that_is_sent_has_a_secret_and_a_beat_without_a_command_is_not_sent(
    traced: tuple[Api, Role], collector: Collector
) -> None:
    api, _ = traced
    PlayedAgent(api, "web-02").beat()
    api.ok("GET", "/api/v1/hosts", token=api.admin)
    eventually(lambda: any(span.name == "GET /api/v1/hosts" for span in tuple(collector.spans)), what="the read")
    told = str(collector.spans)
    assert not [secret for secret in api.secrets.values() if secret in told]
    assert HEARTBEAT not in told
    assert {span.name.split(" ")[0] for span in tuple(collector.spans)} <= {"GET", "POST", *FIRST_WORDS}, "ours alone"


def test_what_is_under_way_when_a_process_ends_is_sent_before_it_is_gone(
    tmp_path: Path, traced: tuple[Api, Role]
) -> None:
    api, _ = traced
    with (
        collecting() as patient,
        running_api(api.state_dir, env={**patient.env, "OTEL_BSP_SCHEDULE_DELAY": "60000"}, log="ending.log") as ending,
    ):
        ending.ok("GET", "/api/v1/hosts", token=api.admin)
        assert not any(span.name == "GET /api/v1/hosts" for span in patient.spans)
        assert ending.role.stop() == 0
        assert any(span.name == "GET /api/v1/hosts" for span in patient.spans)


def test_a_collector_that_is_away_holds_up_nobody(traced: tuple[Api, Role]) -> None:
    api, _ = traced
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    with running_api(api.state_dir, env=env, log="alone.log") as alone:
        for _ in range(20):
            alone.ok("GET", "/api/v1/hosts", token=api.admin)
        assert alone.role.stop(within=30) == 0
