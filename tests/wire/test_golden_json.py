"""The source text's own examples on the wire: what they mean to us, and what we answer, field for field."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from protocol.commands import CommandReader, StartCommand, StopCommand
from protocol.completions import Completion
from protocol.heartbeats import Heartbeat, HeartbeatReply
from protocol.requests import ProfileRequest, RequestAccepted, unknown_fields, unsupported_fields
from tests.support.api import COMPLETION, HEARTBEAT, REQUEST, Api

GOLDEN: Final = Path(__file__).parent / "golden"
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def masked(answer: Any) -> Any:
    """An answer with what differs each time replaced by its kind."""
    text = UUID.sub("<uuid>", json.dumps(answer))
    return json.loads(MOMENT.sub("<moment>", text))


def kinds(value: Any) -> Any:
    """The shape of a value: its keys, and the JSON type of each."""
    return {key: kinds(each) for key, each in value.items()} if isinstance(value, dict) else type(value).__name__


def has_the_shape_of(answer: dict[str, Any], example: dict[str, Any]) -> bool:
    """Whether everything in the example is in the answer, with the same type; the answer may say more."""
    return all(
        key in answer
        and (has_the_shape_of(answer[key], value) if isinstance(value, dict) else kinds(answer[key]) == kinds(value))
        for key, value in example.items()
    )


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("request_*") if "accepted" not in path.stem))
def test_every_example_of_a_request_is_known_field_by_field(name: str) -> None:
    assert unknown_fields(golden(name)) == []
    assert unsupported_fields(golden(name)) == []
    ProfileRequest.model_validate(golden(name))


def test_the_example_of_a_start_means_two_processes_on_two_hosts() -> None:
    asked = ProfileRequest.model_validate(golden("request_start"))
    assert asked.targets() == {"host1": [1234, 5678], "host2": [1234, 5678]}
    assert (asked.command_type, asked.duration, asked.frequency, asked.profiling_mode) == ("start", 60, 11, "cpu")
    assert asked.service_name == "my-service"


def test_the_example_of_a_start_by_curl_means_two_whole_hosts() -> None:
    asked = ProfileRequest.model_validate(golden("request_start_by_curl"))
    assert asked.targets() == {"web-01": None, "web-02": None}
    assert (asked.command_type, asked.duration) == ("start", 120)


def test_the_example_of_a_stop_means_the_whole_host() -> None:
    asked = ProfileRequest.model_validate(golden("request_stop_by_curl"))
    assert (asked.command_type, asked.stop_level, asked.targets()) == ("stop", "host", {"web-01": None})


def test_the_older_dialect_means_the_same() -> None:
    asked = ProfileRequest.model_validate(golden("request_in_the_older_dialect"))
    assert (asked.command_type, asked.stop_level) == ("stop", "process")
    assert asked.targets() == {"web-01": [1234], "web-02": [91, 5678]}
    assert (asked.duration, asked.frequency, asked.additional_args) == (60, 11, {})


# --- heartbeats and completions ---------------------------------------------------------------------------------------


def test_the_example_of_a_heartbeat_is_read_field_by_field() -> None:
    heartbeat = Heartbeat.model_validate(golden("heartbeat"))
    assert heartbeat.model_dump(exclude_unset=True) == golden("heartbeat")
    assert set(golden("heartbeat")) <= set(Heartbeat.model_fields)


def test_the_example_of_a_completion_is_read_field_by_field() -> None:
    completion = Completion.model_validate(golden("command_completion"))
    assert completion.model_dump(exclude_unset=True) == golden("command_completion")
    assert not completion.only_says_started


def test_the_examples_command_is_a_command_to_our_agent() -> None:
    command = CommandReader.validate_python(golden("heartbeat_reply_in_the_source")["profiling_command"])
    assert isinstance(command, StartCommand)
    assert (command.combined_config.duration, command.combined_config.frequency) == (60, 11)


@pytest.mark.parametrize("name", ["heartbeat_reply_idle", "heartbeat_reply_start", "heartbeat_reply_stop"])
def test_our_replies_are_what_our_model_says(name: str) -> None:
    reply = HeartbeatReply.model_validate(golden(name))
    assert reply.model_dump(mode="json", exclude={"profiling_command"}) == {
        key: value for key, value in golden(name).items() if key != "profiling_command"
    }
    assert set(golden(name)) == set(HeartbeatReply.model_fields)


def test_our_stop_is_the_models_stop() -> None:
    assert golden("heartbeat_reply_stop")["profiling_command"] == StopCommand().model_dump(exclude_none=True)


# --- what we answer ---------------------------------------------------------------------------------------------------


def beat(api: Api, **said: Any) -> dict[str, Any]:
    body = {**golden("heartbeat"), "hostname": "wire-01", "last_command_id": None, **said}
    answer: dict[str, Any] = api.ok("POST", HEARTBEAT, token=api.agent, json=body)
    return answer


def take(api: Api, **said: Any) -> dict[str, Any]:
    """Hold a heartbeat until there is a command."""
    body = {**golden("heartbeat"), "hostname": "wire-01", "last_command_id": None, **said}
    answer: dict[str, Any] = api.ok("POST", HEARTBEAT, token=api.agent, json=body, headers={"Prefer": "wait=20"})
    return answer


def test_a_whole_story_is_answered_field_for_field(served: Api) -> None:
    """The source text's flow: idle, submit, take, complete, stop; each answer to the last field."""
    idle = beat(served)
    assert idle == golden("heartbeat_reply_idle")

    body = {
        **golden("request_start"),
        "target_hostnames": ["wire-01", "wire-02"],
        "additional_args": {"max_processes": 10, "profiler_configs": {"perf": {"mode": "fp", "stack": None}}},
    }
    accepted = served.ok("POST", REQUEST, token=served.admin, json=body)
    assert masked(accepted) == golden("request_accepted")
    assert accepted["command_ids"] == [accepted["command_id"]]
    assert RequestAccepted.model_validate(accepted).model_dump(mode="json") == accepted
    assert has_the_shape_of(accepted, golden("request_accepted_in_the_source"))

    start = take(served)
    assert masked(start) == golden("heartbeat_reply_start")
    assert start["command_id"] == accepted["command_id"]
    assert has_the_shape_of(start, golden("heartbeat_reply_in_the_source"))

    done = {**golden("command_completion"), "command_id": start["command_id"], "hostname": "wire-01"}
    for _ in range(2):
        answer = served.ok("POST", COMPLETION, token=served.agent, json=done)
        assert masked(answer) == golden("completion_recorded")
        assert answer["message"].endswith(start["command_id"])

    stop = {**golden("request_stop_by_curl"), "service_name": "my-service", "target_hostnames": ["wire-01"]}
    served.ok("POST", REQUEST, token=served.admin, json=stop)
    assert masked(take(served, last_command_id=start["command_id"])) == golden("heartbeat_reply_stop")


def test_every_golden_file_is_read() -> None:
    text = Path(__file__).read_text()
    for path in GOLDEN.glob("*.json"):
        assert f'"{path.stem}"' in text, f"{path.name} is read by no test"
