"""Any order of what operators, mergers, agents, projectors and clocks do, against the real server."""

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from broker.connection import Broker
from broker.settings import BrokerSettings
from tests.support.server_story import Scene, ServerStory

STORIES = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False
)


@pytest.fixture(scope="module")
def scene(broker_settings: BrokerSettings) -> Iterator[Scene]:
    with asyncio.Runner() as runner, contextlib.ExitStack() as undo:
        brokers = {
            partitions: Broker(broker_settings.model_copy(update={"partitions": partitions})) for partitions in (1, 2)
        }
        for broker in brokers.values():
            undo.callback(lambda broker=broker: runner.run(broker.close()))
        yield Scene(runner.get_loop(), brokers)


def test_any_order_of_events_breaks_no_law(scene: Scene) -> None:
    run_state_machine_as_test(partial(ServerStory, scene), settings=STORIES)
