"""What an agent may say in a heartbeat, and what the answer looks like."""

from typing import Any

import pytest
from pydantic import ValidationError

from protocol.commands import StartCommand, StartConfig, StopCommand
from protocol.heartbeats import MAX_IDS, Heartbeat, HeartbeatReply
from protocol.inventory import Container

ENOUGH = {"ip_address": "192.168.1.100", "hostname": "worker-01", "service_name": "my-service"}


def said(**fields: Any) -> Heartbeat:
    return Heartbeat.model_validate({**ENOUGH, **fields})


def faults(body: dict[str, Any]) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        Heartbeat.model_validate(body)
    return {str(error["loc"][0]) for error in caught.value.errors()}


@pytest.mark.parametrize("missing", sorted(ENOUGH))
def test_address_host_and_service_are_required(missing: str) -> None:
    assert faults({name: value for name, value in ENOUGH.items() if name != missing}) == {missing}
    assert faults({**ENOUGH, missing: None}) == {missing}
    assert faults({**ENOUGH, missing: ""}) == {missing}


def test_everything_else_may_be_absent() -> None:
    heartbeat = said()
    assert (heartbeat.last_command_id, heartbeat.status, heartbeat.timestamp) == (None, None, None)
    assert (heartbeat.received_command_ids, heartbeat.executed_command_ids) == ([], [])


@pytest.mark.parametrize("field", [name for name in Heartbeat.model_fields if name not in ENOUGH])
def test_an_explicit_null_is_an_absent_field_in_a_heartbeat(field: str) -> None:
    assert said(**{field: None}) == said()


def test_unknown_fields_are_ignored() -> None:
    assert said(cpu_load=0.5, nested={"a": [1]}) == said()


@pytest.mark.parametrize("command_id", ["cmd-uuid", "7", "ü", "x" * 128])
def test_ids_that_are_no_uuids_are_legal(command_id: str) -> None:
    heartbeat = said(last_command_id=command_id, received_command_ids=[command_id], executed_command_ids=[command_id])
    assert heartbeat.last_command_id == command_id


@pytest.mark.parametrize("command_id", ["", "x" * 129, 7])
@pytest.mark.parametrize("field", ["last_command_id", "received_command_ids", "executed_command_ids"])
def test_an_id_that_is_empty_or_endless_is_refused(field: str, command_id: Any) -> None:
    assert faults({**ENOUGH, field: command_id if field == "last_command_id" else [command_id]}) == {field}


@pytest.mark.parametrize("field", ["received_command_ids", "executed_command_ids"])
def test_a_thousand_ids_of_each_kind_are_taken_and_one_more_is_not(field: str) -> None:
    ids = [f"c{number}" for number in range(MAX_IDS)]
    assert getattr(said(**{field: ids}), field) == ids
    assert faults({**ENOUGH, field: [*ids, "one-more"]}) == {field}


def test_a_timestamp_is_the_agents_word_whatever_it_says() -> None:
    assert said(timestamp="yesterday, about noon").timestamp == "yesterday, about noon"


def test_what_only_later_agents_say_is_taken() -> None:
    heartbeat = said(
        agent_version="1.2", run_mode="k8s", namespace="shop", pod_name="shop-0", perf_supported_events=["cycles"],
        containers=[{"container_name": "a", "of_tomorrow": 1}], capabilities={"profilers": {"perf": True}},
    )  # fmt: skip
    assert (heartbeat.agent_version, heartbeat.run_mode) == ("1.2", "k8s")
    assert (heartbeat.namespace, heartbeat.pod_name) == ("shop", "shop-0")
    assert heartbeat.perf_supported_events == ["cycles"]
    assert heartbeat.capabilities == {"profilers": {"perf": True}}
    assert heartbeat.containers == [Container(container_name="a")]


def test_a_reply_with_nothing_new_has_both_fields_null() -> None:
    reply = HeartbeatReply(heartbeat_interval=30).model_dump(mode="json")
    assert reply == {
        "success": True,
        "message": "Heartbeat received. No pending commands.",
        "profiling_command": None,
        "command_id": None,
        "generation": None,
        "heartbeat_interval": 30,
        "inventory_wanted": False,
    }


@pytest.mark.parametrize(
    "command",
    [
        StartCommand(combined_config=StartConfig(duration=60, frequency=11, pids=[1, 2])),
        StartCommand.model_validate({"combined_config": {"duration": 1, "frequency": 1, "max_processes": 10}}),
        StopCommand(),
    ],
)
def test_a_reply_with_a_command_reads_back_as_it_was(command: StartCommand | StopCommand) -> None:
    reply = HeartbeatReply(heartbeat_interval=5, profiling_command=command, command_id="c1", generation=3)
    assert HeartbeatReply.model_validate_json(reply.model_dump_json()) == reply


def test_a_command_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValidationError):
        HeartbeatReply.model_validate({
            "heartbeat_interval": 5, "profiling_command": {"command_type": "restart", "combined_config": {}},
        })  # fmt: skip
