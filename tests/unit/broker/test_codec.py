"""What is stored of a host, and what is told of it."""

import json
from typing import Any

from broker.codec import (
    Loaded,
    config_of,
    decision_of,
    open_request,
    origin_of,
    read_effective,
    requests_of,
    write_effective,
    write_open,
    write_request,
)
from broker.compaction import compact
from broker.effective import Effective, OpenRequest
from protocol.lifecycle import State
from protocol.requests import ProfileRequest
from tests.support.builders import NOW, a_start, a_stop
from tests.support.compacting import in_state, installed, outcomes_of, running

NOTHING = Loaded({}, {}, {})


def asked(**fields: Any) -> ProfileRequest:
    return ProfileRequest.model_validate({"service_name": "web", "target_hostnames": ["web-01"], **fields})


def wished(on_host: list[int] | None, **fields: Any) -> OpenRequest:
    return open_request(asked(**fields), request_id="r", command_id="c", accepted_at=NOW, pids=on_host)


def test_a_submitted_request_becomes_an_open_one() -> None:
    wish = wished([7, 3], duration=5, frequency=50, continuous=True, priority="low", expires_in=30)
    assert (wish.request_id, wish.command_id, wish.command_type, wish.state) == ("r", "c", "start", State.SUBMITTED)
    assert (wish.duration, wish.frequency, wish.continuous, wish.priority) == (5, 50, True, "low")
    assert (wish.pids, wish.accepted_at, wish.expires_at) == (frozenset({3, 7}), NOW, NOW + 30)
    assert wish.seq < 0, "it has no place among the open ones yet"


def test_no_pids_mean_the_whole_host() -> None:
    assert wished(None).pids is None


def test_a_stop_of_the_host_names_no_pids() -> None:
    assert wished(None, command_type="stop").pids is None
    assert wished([5], command_type="stop", pids=[5]).pids == frozenset({5})


def test_an_entry_that_was_taken_up_before_is_left_out() -> None:
    start = a_start()
    known = compact([start], None, NOW).open_requests[0]
    newcomer = a_start()
    loaded = Loaded(
        {}, {known.request_id: write_open(known)}, {"1-0": write_request(start), "1-1": write_request(newcomer)}
    )
    assert requests_of(loaded) == [known, newcomer]


def test_a_host_without_a_command_has_none_to_read() -> None:
    assert read_effective({}) is None
    assert read_effective({"revision": "7"}) is None, "only the counter is there"


def test_the_moments_of_a_run_are_read_back() -> None:
    stored = write_effective(installed(compact([a_start()], None, NOW)), now=NOW)
    assert origin_of(stored["reply"]).installed_at == 1_800_000_000_000
    began = read_effective({**stored, "state": "running", "running_at": "1800000000250", "closed_by_clock": "1"})
    assert began is not None
    assert (began.state, began.started_at, began.closed_by_clock) == (State.RUNNING, NOW + 0.25, True)


def test_a_run_is_limited_by_its_duration_and_grace() -> None:
    stored = write_effective(installed(compact([a_start(duration=60)], None, NOW)), now=NOW)
    assert stored["run_for_ms"] == "90000"


def test_nothing_limits_a_stop_or_a_continuous_run() -> None:
    for request in (a_stop(), a_start(continuous=True)):
        stored = write_effective(installed(compact([request], None, NOW)), now=NOW)
        assert "run_for_ms" not in stored


def test_of_a_hosts_only_request_little_is_stored() -> None:
    (known,) = compact([a_start()], None, NOW).open_requests
    assert set(json.loads(write_open(known))) == {"command_id", "accepted_at"}


def test_a_reply_leaves_absent_parts_out_and_is_stored_without_what_is_usual() -> None:
    reply = write_effective(installed(compact([a_start(pids=frozenset({5}))], None, NOW)), now=NOW)["reply"]
    assert json.loads(reply)["combined_config"] == {"duration": 60, "frequency": 11, "pids": [5]}
    whole = {"duration": 60, "frequency": 11, "profiling_mode": "cpu", "continuous": False, "pids": [5]}
    assert config_of(reply) == whole


# --- decisions --------------------------------------------------------------------------------------------------------


def test_the_first_decision_takes_the_entry_installs_and_tells() -> None:
    start = a_start()
    loaded = Loaded({}, {}, {"1-0": write_request(start)})
    decision = decision_of(compact(requests_of(loaded), None, NOW), loaded, NOW)
    assert loaded.entry_ids == ("1-0",)
    assert list(decision.keep) == [start.request_id]
    assert decision.install is not None
    assert decision.events == [{
        "state": "pending", "command_id": start.command_id, "generation": "1", "request_ids": start.request_id,
    }]  # fmt: skip
    assert decision.wake_at == 1_800_000_900_000


def stored_as(effective: Effective, open_requests: Any) -> Loaded:
    return Loaded(
        write_effective(effective, now=NOW), {each.request_id: write_open(each) for each in open_requests}, {}
    )


def test_a_second_look_stores_and_tells_nothing() -> None:
    first = compact([a_start(), a_stop(pids=frozenset({4}))], None, NOW)
    loaded = stored_as(installed(first), first.open_requests)
    again = compact(requests_of(loaded), read_effective(loaded.command), NOW)
    decision = decision_of(again, loaded, NOW)
    assert (decision.keep, decision.drop, decision.update, decision.events) == ({}, [], {}, [])
    assert (decision.install, decision.close) == (None, None)


def test_requests_that_end_are_dropped_and_told_with_their_reason() -> None:
    first = compact([a_start()], None, NOW)
    loaded = stored_as(in_state(installed(first), State.DELIVERED), first.open_requests)
    stop = a_stop()
    ended = compact([*requests_of(loaded), stop], read_effective(loaded.command), NOW + 1)
    decision = decision_of(ended, loaded, NOW + 1)
    assert decision.drop == list(outcomes_of(ended)) == [first.open_requests[0].request_id]
    assert decision.close == ("superseded", "by generation 2")
    stopped, pending = decision.events
    assert (stopped["state"], stopped["reason"]) == ("stopped", f"by request {stop.request_id}")
    assert (pending["state"], pending["request_ids"]) == ("pending", stop.request_id)


def test_who_joins_is_told_in_the_state_of_what_it_joined() -> None:
    first = compact([a_start(duration=600)], None, NOW)
    effective = running(installed(first))
    loaded = Loaded(
        {**write_effective(effective, now=NOW), "running_at": "1800000000000"},
        {each.request_id: write_open(each) for each in first.open_requests},
        {},
    )
    newcomer = a_start(duration=5)
    joined = compact([*requests_of(loaded), newcomer], read_effective(loaded.command), NOW + 1)
    decision = decision_of(joined, loaded, NOW + 1)
    assert [(event["state"], event["request_ids"]) for event in decision.events] == [("running", newcomer.request_id)]
    assert decision.update == {"request_ids": f"{first.open_requests[0].request_id} {newcomer.request_id}"}


def test_waiting_for_another_mode_is_told() -> None:
    waiting = a_start(profiling_mode="wall")
    decision = decision_of(compact([a_start(), waiting], None, NOW), NOTHING, NOW)
    queued = [event for event in decision.events if event["state"] == "queued"]
    assert [event["request_ids"] for event in queued] == [waiting.request_id]


def test_a_decision_for_the_script_leaves_absent_parts_out() -> None:
    body = json.loads(decision_of(compact([], None, NOW), NOTHING, NOW).as_json())
    assert body == {"keep": {}, "drop": [], "update": {}, "events": []}


def test_reasons_survive_the_way_to_the_script() -> None:
    start = a_start()
    decision = decision_of(compact([start], None, NOW, {start.request_id: 'wëb "01" \\ 🙂'}), NOTHING, NOW)
    (event,) = json.loads(decision.as_json())["events"]
    assert (event["state"], event["reason"]) == ("cancelled", 'wëb "01" \\ 🙂')
