"""Much asked of one host costs that host's newcomers, not every other host its turn."""

from dataclasses import replace

from broker.compaction import MOST_ARGS_BYTES, MOST_OPEN, compact
from protocol.lifecycle import State
from tests.support.builders import NOW, a_start, a_stop
from tests.support.compacting import config_of, installed, open_ids, outcomes_of


def test_starts_beyond_the_bound_end_and_the_older_ones_stay() -> None:
    starts = [a_start(frequency=1 + number % 99) for number in range(MOST_OPEN + 3)]
    compacted = compact(starts, None, NOW)
    assert open_ids(compacted) == [start.request_id for start in starts[:MOST_OPEN]]
    assert outcomes_of(compacted) == {start.request_id: State.CANCELLED for start in starts[MOST_OPEN:]}
    assert {ending.reason for ending in compacted.endings} == {f"the host has {MOST_OPEN} open start requests"}


def test_what_is_open_already_never_ends_for_want_of_room() -> None:
    first = compact([a_start() for _ in range(MOST_OPEN)], None, NOW)
    late = a_start(priority="urgent")
    again = compact([*first.open_requests, late], installed(first), NOW + 1)
    assert outcomes_of(again) == {late.request_id: State.CANCELLED}
    assert len(again.open_requests) == MOST_OPEN
    assert again.install is None


def test_a_stop_gets_through_to_a_host_that_is_full_of_starts() -> None:
    first = compact([a_start() for _ in range(MOST_OPEN)], None, NOW)
    running = replace(installed(first), state=State.RUNNING, started_at=NOW)
    stop = a_stop()
    stopped = compact([*first.open_requests, stop], running, NOW + 1)
    assert set(outcomes_of(stopped).values()) == {State.STOPPED}
    assert installed(stopped).command.command_type == "stop"
    assert open_ids(stopped) == [stop.request_id]


def test_the_arguments_of_all_do_not_grow_without_bound() -> None:
    large = [a_start(additional_args={f"key-{number}": "v" * 16_000}) for number in range(100)]
    small = a_start(frequency=77)
    compacted = compact([*large, small], None, NOW)
    config = config_of(installed(compacted))
    assert len(config.model_dump_json()) < MOST_ARGS_BYTES + 1_000
    assert config.frequency == 77, "one without arguments has room"
    ended = outcomes_of(compacted)
    assert set(ended.values()) == {State.CANCELLED}
    assert len(ended) == 100 - MOST_ARGS_BYTES // 16_017
    assert small.request_id not in ended
