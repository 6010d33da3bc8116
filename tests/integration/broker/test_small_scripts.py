"""Due, project and park."""

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest

from broker import keys, scripts
from broker.connection import Broker
from broker.keys import Place
from broker.request_log import MERGERS, RequestLog, Ring
from broker.request_store import RequestStore
from broker.results import Change, Results
from broker.streams import Entry
from protocol.lifecycle import OUTCOMES, State
from tests.support.builders import NOW, a_host
from tests.support.played_host import PlayedHost

NOW_MS = int(NOW * 1000)
PATIENCE = timedelta(seconds=2)
HOST = a_host()
numbers = itertools.count(1)


# --- due --------------------------------------------------------------------------------------------------------------


async def test_hosts_are_rung_for_when_their_deadline_has_come(broker: Broker) -> None:
    host, later = PlayedHost(broker), PlayedHost(broker, a_host("web-02"))
    await host.submit(expires_in=10)
    await later.submit(expires_in=20)
    await host.settle()
    await later.settle()
    before = (await host.rings(), await later.rings())
    log = RequestLog(broker)
    assert await log.ring_due(now=NOW_MS + 9_999, again_in_ms=30_000) == 0
    assert await log.ring_due(now=NOW_MS + 10_000, again_in_ms=30_000) == 1
    assert (await host.rings(), await later.rings()) == (before[0] + 1, before[1])


async def test_a_host_is_rung_for_again_should_nobody_answer(broker: Broker) -> None:
    host = PlayedHost(broker)
    await host.submit(expires_in=10)
    await host.settle()
    log = RequestLog(broker)
    assert await log.ring_due(now=NOW_MS + 10_000, again_in_ms=30_000) == 1
    assert await log.ring_due(now=NOW_MS + 39_999, again_in_ms=30_000) == 0
    assert await log.ring_due(now=NOW_MS + 40_000, again_in_ms=30_000) == 1


async def test_no_more_than_so_many_are_rung_for_at_once(broker: Broker) -> None:
    hosts = [PlayedHost(broker, a_host(f"web-{number}")) for number in range(200)]
    crowded = [host for host in hosts if host.at.partition == hosts[0].at.partition]
    assert len(crowded) > 4
    for host in crowded:
        await host.submit(expires_in=10)
        await host.settle()
    log = RequestLog(broker)
    assert await log.ring_due(now=NOW_MS + 10_000, again_in_ms=30_000, most=4) == 4
    assert await log.ring_due(now=NOW_MS + 10_000, again_in_ms=30_000, most=10_000) == len(crowded) - 4


# --- project ----------------------------------------------------------------------------------------------------------


def a_change(state: str, *, entry_id: str | None = None, at: int = NOW_MS, **facts: str) -> Change:
    return Change(entry_id or f"{next(numbers)}-0", HOST, state, ("r",), str(at), facts)


@pytest.fixture
def results(broker: Broker) -> Results:
    return Results(broker)


async def status(broker: Broker) -> dict[str, Any]:
    return (await RequestStore(broker).statuses("r")).get(HOST.host, {})


async def test_a_change_becomes_the_requests_status(broker: Broker, results: Results) -> None:
    assert await results.project([a_change("submitted", entry_id="5-1", command_id="c", generation="0")]) == 1
    assert await status(broker) == {
        "entry": "5-1", "state": "submitted", "at": str(NOW_MS), "timeline": {"submitted": str(NOW_MS)},
        "command_id": "c", "generation": "0",
    }  # fmt: skip
    async with broker.guarded() as redis:
        assert 604_700 < await redis.ttl(keys.request_hosts("r")) <= 604_800


async def test_the_timeline_keeps_the_first_moment_of_each_state(broker: Broker, results: Results) -> None:
    for number, state in enumerate(["submitted", "pending", "running", "pending", "running", "completed"]):
        await results.project([a_change(state, at=NOW_MS + number)])
    timeline = (await status(broker))["timeline"]
    assert {state: int(at) - NOW_MS for state, at in timeline.items()} == {
        "submitted": 0, "pending": 1, "running": 2, "completed": 5,
    }  # fmt: skip


@pytest.mark.parametrize("older", ["4-9", "5-0", "5-1"])
async def test_older_or_repeated_news_changes_nothing(broker: Broker, results: Results, older: str) -> None:
    await results.project([a_change("running", entry_id="5-1")])
    before = await status(broker)
    assert await results.project([a_change("delivered", entry_id=older, reason="late")]) == 0
    assert await status(broker) == before


async def test_entry_ids_are_compared_as_numbers(broker: Broker, results: Results) -> None:
    await results.project([a_change("pending", entry_id="9-9")])
    assert await results.project([a_change("delivered", entry_id="9-10")]) == 1
    assert await results.project([a_change("received", entry_id="10-0")]) == 1
    assert (await status(broker))["state"] == "received"


@pytest.mark.parametrize("outcome", sorted(OUTCOMES))
async def test_an_outcome_sticks(broker: Broker, results: Results, outcome: State) -> None:
    await results.project([a_change(outcome)])
    before = await status(broker)
    for state in State:
        assert await results.project([a_change(state)]) == 0
    assert await status(broker) == before


async def test_a_late_completion_tells_where_the_samples_are_and_moves_no_state(
    broker: Broker, results: Results
) -> None:
    await results.project([a_change("stopped", reason="by request x")])
    late = a_change("late_completion", samples="12", execution_time="3.5", results_path="/p", reason="superseded by x")
    assert await results.project([late]) == 1
    shown = await status(broker)
    assert (shown["state"], shown["reason"]) == ("stopped", "by request x")
    assert (shown["samples"], shown["execution_time"], shown["results_path"]) == ("12", "3.5", "/p")
    assert "late_completion" not in shown["timeline"]
    assert await results.project([late]) == 0, "once"


async def test_a_late_completion_of_a_request_that_goes_on_changes_nothing(broker: Broker, results: Results) -> None:
    await results.project([a_change("running")])
    before = await status(broker)
    assert await results.project([a_change("late_completion", results_path="/p")]) == 0
    assert await status(broker) == before


async def test_a_completions_own_path_is_not_overwritten(broker: Broker, results: Results) -> None:
    await results.project([a_change("completed", results_path="/mine")])
    assert await results.project([a_change("late_completion", results_path="/older")]) == 0
    assert (await status(broker))["results_path"] == "/mine"


async def test_one_change_concerns_every_request_in_the_command(broker: Broker, results: Results) -> None:
    change = Change("1-0", HOST, "running", ("a", "b", "c"), str(NOW_MS), {})
    assert await results.project([change]) == 3
    for request_id in ("a", "b", "c"):
        assert (await RequestStore(broker).statuses(request_id))[HOST.host]["state"] == "running"


async def test_a_word_that_is_no_state_is_not_shown(broker: Broker, results: Results) -> None:
    assert await results.project([a_change("redrawn")]) == 0
    assert await status(broker) == {}


# --- park -------------------------------------------------------------------------------------------------------------


async def a_pending_entry(broker: Broker) -> tuple[Place, Entry]:
    """A doorbell entry that a merger got and did not ack."""
    host = PlayedHost(broker)
    await host.submit()
    (entry,) = await RequestLog(broker).reader("merger").read(count=10, block=PATIENCE)
    return host.at, entry


async def test_an_entry_that_cannot_be_worked_off_becomes_a_dead_letter(broker: Broker) -> None:
    at, entry = await a_pending_entry(broker)
    await RequestLog(broker).park([Ring(entry, (at,))], reason="bad data", now=NOW_MS)
    async with broker.guarded() as redis:
        ((_, letter),) = await redis.xrange(keys.dead_letters(at.partition))
        assert letter == {
            "v": "1", "kind": "doorbell", "host": at.path, "reason": "bad data", "attempts": "1", "at": str(NOW_MS),
        }  # fmt: skip
        assert await redis.xlen(keys.doorbell(at.partition)) == 0
        assert (await redis.xpending(keys.doorbell(at.partition), MERGERS))["pending"] == 0


async def test_what_somebody_has_acked_meanwhile_is_no_dead_letter(broker: Broker) -> None:
    at, entry = await a_pending_entry(broker)
    await RequestLog(broker).reader("merger").ack([entry])
    call = scripts.park(
        at.partition, [at.path], group=MERGERS, entry_id=entry.entry_id, reason="bad data", deliveries=11, now=NOW_MS
    )
    assert await broker.run(call) == 0
    async with broker.guarded() as redis:
        assert await redis.xlen(keys.dead_letters(at.partition)) == 0


async def test_the_status_is_plain_json(broker: Broker, results: Results) -> None:
    await results.project([a_change("failed", reason='no "perf" \\ 🙂')])
    async with broker.guarded() as redis:
        text = await redis.hget(keys.request_hosts("r"), HOST.path)
    assert json.loads(text)["reason"] == 'no "perf" \\ 🙂'
