"""Commands: a tagged union whose shapes cannot be wrong."""

from typing import Any

import pytest
from pydantic import ValidationError

from protocol.commands import CommandReader, StartCommand, StartConfig, StopCommand, StopConfig


def test_a_start_is_told_from_a_stop_by_its_type() -> None:
    start = CommandReader.validate_python({
        "command_type": "start", "combined_config": {"duration": 60, "frequency": 11, "profiling_mode": "cpu"},
    })  # fmt: skip
    stop = CommandReader.validate_python({"command_type": "stop", "combined_config": {"stop_level": "host"}})
    assert isinstance(start, StartCommand)
    assert isinstance(stop, StopCommand)


@pytest.mark.parametrize(
    "body",
    [
        {"combined_config": {"duration": 60, "frequency": 11}},
        {"command_type": "pause", "combined_config": {}},
        {"command_type": "start", "combined_config": {"frequency": 11}},
        {"command_type": "start", "combined_config": {"duration": 0, "frequency": 11}},
        {"command_type": "start", "combined_config": {"duration": 60, "frequency": 11, "pids": ["1"]}},
        {"command_type": "start", "combined_config": {"duration": 60, "frequency": 11, "profiling_mode": "heap"}},
        {"command_type": "stop", "combined_config": {"stop_level": "world"}},
    ],
)
def test_a_shape_that_is_no_command_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CommandReader.validate_python(body)


def test_a_stop_is_of_the_whole_host_unless_it_says_otherwise() -> None:
    assert StopCommand().combined_config == StopConfig(stop_level="host", pids=None)
    assert CommandReader.validate_python({"command_type": "stop"}) == StopCommand()


def test_the_operators_own_keys_lie_flat_beside_ours() -> None:
    config = StartConfig.model_validate({"duration": 1, "frequency": 1, "max_processes": 10, "enable_perfspect": True})
    assert config.model_dump(exclude_none=True) == {
        "duration": 1, "frequency": 1, "profiling_mode": "cpu", "continuous": False,
        "max_processes": 10, "enable_perfspect": True,
    }  # fmt: skip


def test_a_command_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        StopCommand().combined_config = StopConfig(stop_level="process", pids=[1])  # type: ignore[misc]  # what must fail
