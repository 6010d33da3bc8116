"""What is stored is what was decided: it reads back as written, or the agent would be told anew for ever."""

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.codec import (
    Loaded,
    decision_of,
    open_request,
    read_effective,
    read_open,
    read_request,
    requests_of,
    write_effective,
    write_open,
    write_request,
)
from broker.compaction import compact
from broker.effective import OpenRequest
from protocol.lifecycle import State
from protocol.requests import ProfileRequest
from tests.support.builders import NOW
from tests.support.wishes import named, own_keys, some_pids, starts, stops

ENOUGH = settings(max_examples=100, deadline=None)
MODES = ("cpu", "allocation", "wall", "none")
MOMENTS = st.floats(1e9, 4e9, allow_nan=False)
OPEN_REQUESTS = st.builds(
    replace,
    starts(modes=MODES, args=own_keys(), expires_in=st.floats(0, 1e6, allow_nan=False)) | stops(),
    seq=st.integers(-1, 10_000),
    exclude_pids=st.frozensets(st.integers(1, 2**31 - 1), max_size=3),
    remaining=st.none() | st.floats(0, 1e6, allow_nan=False),
    joined_at=st.none() | MOMENTS,
    led=st.booleans(),
    state=st.sampled_from([State.SUBMITTED, State.QUEUED, State.PENDING]),
)


@ENOUGH
@given(OPEN_REQUESTS)
def test_an_open_request_reads_back_as_it_was_written(request_: OpenRequest) -> None:
    assert read_request(write_request(request_)) == request_
    assert read_open(request_.request_id, write_open(request_)) == request_


@ENOUGH
@given(st.lists(starts(modes=MODES, args=own_keys()) | stops(), min_size=1, max_size=4))
def test_a_command_reads_back_as_it_was_installed(wishes: list[OpenRequest]) -> None:
    installed = compact(named(wishes), None, NOW).install
    assert installed is not None
    assert read_effective(write_effective(installed, now=NOW)) == installed


@ENOUGH
@given(st.lists(starts(modes=MODES, args=own_keys()) | stops(), min_size=1, max_size=4))
def test_what_was_stored_and_loaded_again_is_left_alone(wishes: list[OpenRequest]) -> None:
    first = compact(named(wishes), None, NOW)
    assert first.install is not None
    loaded = Loaded(
        write_effective(first.install, now=NOW),
        {request.request_id: write_open(request) for request in first.open_requests},
        {},
    )
    again = decision_of(compact(requests_of(loaded), read_effective(loaded.command), NOW), loaded, NOW)
    assert (again.install, again.close) == (None, None)
    assert (again.keep, again.drop, again.update, again.events) == ({}, [], {}, [])


@ENOUGH
@given(own_keys(), some_pids, st.sampled_from(["start", "stop"]))
def test_whatever_passes_the_door_can_be_stored(
    args: dict[str, object], pids: frozenset[int] | None, command_type: str
) -> None:
    asked = ProfileRequest.model_validate(
        {
            "service_name": "web",
            "target_hostnames": ["web-01"],
            "command_type": command_type,
            "additional_args": args,
            "pids": sorted(pids) if pids else None,
        }
    )
    wish = open_request(asked, request_id="r", command_id="c", accepted_at=NOW, pids=asked.pids)
    assert read_request(write_request(wish)) == wish
    assert wish.pids == pids


@ENOUGH
@given(st.lists(starts(modes=MODES) | stops(), max_size=4))
def test_a_decision_is_plain_json(wishes: list[OpenRequest]) -> None:
    decision = decision_of(compact(named(wishes), None, NOW), Loaded({}, {}), NOW)
    body = json.loads(decision.as_json())
    assert set(body) <= {"keep", "drop", "close", "install", "update", "events", "wake_at"}
    assert None not in body.values(), "a JSON null is true in Lua"
    for event in body["events"]:
        assert set(event) <= {"state", "command_id", "generation", "request_ids", "reason"}
        assert all(isinstance(text, str) for text in event.values())
