"""Any order of what operators, mergers, agents, projectors and clocks do, on the real server; and that it bites."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from broker import compaction
from broker.connection import Broker
from broker.settings import BrokerSettings
from tests.support.server_side_story import Scene
from tests.support.server_story import ServerStory

STORIES = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    phases=set(Phase) - {Phase.explain},  # it traces every line of every example
)
UNTIL_ONE_FAILS = settings(
    STORIES, max_examples=200, database=None, derandomize=True, phases=(Phase.generate,), report_multiple_bugs=False
)


@pytest.fixture(scope="module")
def scene(broker_settings: BrokerSettings) -> Iterator[Scene]:
    with asyncio.Runner() as runner, contextlib.ExitStack() as undo:
        brokers = {
            partitions: Broker(broker_settings.model_copy(update={"partitions": partitions})) for partitions in (1, 2)
        }
        for broker in brokers.values():
            undo.callback(_close, runner, broker)
        yield Scene(runner.get_loop(), brokers)


def _close(runner: asyncio.Runner, broker: Broker) -> None:
    runner.run(broker.close())


def play(scene: Scene, how: settings) -> int:
    """Play stories until one breaks a law. Gives how many were played."""
    played = 0

    def story() -> ServerStory:
        nonlocal played
        played += 1
        return ServerStory(scene)

    run_state_machine_as_test(story, settings=how)  # type: ignore[arg-type]  # a function will do, it says
    return played


def test_any_order_of_events_breaks_no_law(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    played = play(scene, STORIES)
    record_property("examples", played)
    assert played >= STORIES.max_examples


def cancelled_ones_are_forgotten(known: Any, cancelled: Any, _active: Any) -> None:
    known.requests = [request for request in known.requests if request.request_id not in cancelled]


def test_a_bent_rule_is_found_on_the_server(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of the test."""
    monkeypatch.setattr(compaction._Known, "cancel", cancelled_ones_are_forgotten)
    with pytest.raises(AssertionError):
        play(scene, UNTIL_ONE_FAILS)
