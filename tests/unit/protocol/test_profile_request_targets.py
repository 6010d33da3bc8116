"""Which hosts and processes a request means, in both dialects, and contradictions between them."""

from typing import Any

import pytest
from pydantic import ValidationError

from protocol.requests import ProfileRequest
from protocol.targets import TargetEntity


def asked(**fields: Any) -> ProfileRequest:
    return ProfileRequest.model_validate({"service_name": "web", **fields})


def fault(**fields: Any) -> tuple[str, str, str]:
    """Field, code and message of the one fault of a request."""
    with pytest.raises(ValidationError) as caught:
        asked(**fields)
    (error,) = caught.value.errors()
    return str(error["loc"][0]), error["type"], error["msg"]


# --- hosts ------------------------------------------------------------------------------------------------------------


def test_no_hosts_at_all_never_means_the_whole_service() -> None:
    field, code, message = fault()
    assert (field, code) == ("target_hostnames", "missing_targets")
    assert 'target_scope: "service"' in message


def test_the_whole_service_is_asked_for_by_name() -> None:
    request = asked(target_scope="service")
    assert request.targets() == {}


@pytest.mark.parametrize("field", ["target_hostnames", "target_hosts"])
def test_an_empty_list_of_hosts_is_refused(field: str) -> None:
    assert fault(**{field: [] if field == "target_hostnames" else {}})[0] == field


@pytest.mark.parametrize("named", [{"target_hostnames": ["a"]}, {"target_hosts": {"a": None}}])
def test_the_whole_service_and_named_hosts_exclude_each_other(named: dict[str, Any]) -> None:
    assert fault(target_scope="service", **named)[:2] == ("target_hostnames", "contradiction")


def test_a_host_named_twice_is_one_target() -> None:
    assert asked(target_hostnames=["b", "a", "b"]).targets() == {"b": None, "a": None}


def test_pids_apply_to_every_named_host() -> None:
    assert asked(target_hostnames=["a", "b"], pids=[7, 5]).targets() == {"a": [5, 7], "b": [5, 7]}


# --- the older spelling of hosts --------------------------------------------------------------------------------------


def test_target_hosts_carries_pids_per_host() -> None:
    request = asked(target_hosts={"a": [3, 1, 3], "b": None})
    assert request.targets() == {"a": [1, 3], "b": None}


def test_pids_beside_target_hosts_without_any_apply_to_all_of_them() -> None:
    assert asked(target_hosts={"a": None, "b": None}, pids=[5]).targets() == {"a": [5], "b": [5]}


def test_pids_in_both_places_contradict() -> None:
    assert fault(target_hosts={"a": [1], "b": None}, pids=[5])[:2] == ("pids", "contradiction")


def test_both_spellings_of_the_same_hosts_agree() -> None:
    request = asked(target_hosts={"a": [1], "b": None}, target_hostnames=["b", "a", "a"])
    assert request.targets() == {"a": [1], "b": None}


def test_both_spellings_of_other_hosts_contradict() -> None:
    assert fault(target_hosts={"a": None}, target_hostnames=["a", "b"])[:2] == ("target_hostnames", "contradiction")


@pytest.mark.parametrize("pids", [[], [0], ["1"], 5])
def test_pids_per_host_keep_to_the_same_rules(pids: Any) -> None:
    assert fault(target_hosts={"a": pids})[0] == "target_hosts"


def test_a_name_in_target_hosts_keeps_to_the_rules_of_names() -> None:
    assert fault(target_hosts={" ": None})[0] == "target_hosts"


# --- the older spelling of the command type ---------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["start", "stop"])
def test_request_type_is_read_where_command_type_is_absent(word: str) -> None:
    assert asked(target_hostnames=["a"], request_type=word).command_type == word
    assert asked(target_hostnames=["a"], request_type=word, command_type=None).command_type == word


def test_both_words_may_say_the_same() -> None:
    assert asked(target_hostnames=["a"], request_type="stop", command_type="stop").command_type == "stop"


@pytest.mark.parametrize(("ours", "theirs"), [("start", "stop"), ("stop", "start")])
def test_both_words_saying_different_things_contradict(ours: str, theirs: str) -> None:
    told = fault(target_hostnames=["a"], command_type=ours, request_type=theirs)
    assert told[:2] == ("request_type", "contradiction")


def test_an_unknown_request_type_is_told_and_never_taken_for_a_start() -> None:
    with pytest.raises(ValidationError) as caught:
        asked(target_hostnames=["a"], request_type="restart")
    assert "request_type" in {error["loc"][0] for error in caught.value.errors()}


# --- stops ------------------------------------------------------------------------------------------------------------


def a_stop(**fields: Any) -> ProfileRequest:
    return asked(command_type="stop", target_hostnames=["a"], **fields)


def test_a_stop_without_pids_is_of_the_host() -> None:
    assert a_stop().stop_level == "host"


def test_a_stop_with_pids_is_of_those_processes() -> None:
    assert a_stop(pids=[5]).stop_level == "process"
    assert asked(command_type="stop", target_hosts={"a": [5]}).stop_level == "process"


def test_a_level_that_fits_is_kept() -> None:
    assert a_stop(stop_level="host").stop_level == "host"
    assert a_stop(stop_level="process", pids=[5]).stop_level == "process"
    assert asked(command_type="stop", stop_level="process", target_hosts={"a": [5], "b": [6]}).stop_level == "process"


def test_a_stop_of_processes_without_pids_is_refused() -> None:
    told = fault(command_type="stop", target_hostnames=["a"], stop_level="process")
    assert told[:2] == ("stop_level", "missing_pids")


def test_a_stop_of_processes_needs_pids_for_every_host() -> None:
    told = fault(command_type="stop", stop_level="process", target_hosts={"a": [5], "b": None})
    assert told[:2] == ("stop_level", "missing_pids")


@pytest.mark.parametrize("with_pids", [{"target_hostnames": ["a"], "pids": [5]}, {"target_hosts": {"a": [5]}}])
def test_a_stop_of_the_host_with_pids_contradicts(with_pids: dict[str, Any]) -> None:
    assert fault(command_type="stop", stop_level="host", **with_pids)[:2] == ("stop_level", "contradiction")


def test_a_start_has_no_level_of_its_own() -> None:
    assert asked(target_hostnames=["a"]).stop_level is None


ENTITY: dict[str, Any] = {
    name: kind(1) for name, kind in {name: int if name == "pid" else str for name in TargetEntity.model_fields}.items()
}


def test_the_schema_of_an_entity_tells_each_spelling_that_is_read_and_no_other() -> None:
    told = TargetEntity.model_json_schema()["properties"]
    camel = TargetEntity.model_validate(ENTITY).model_dump(by_alias=True) | {"id": "1"}
    assert set(told) == set(ENTITY) | set(camel)
    assert {"pod_name", "podName", "workload_kind", "workloadKind"} <= set(told)
    assert told["pod_name"] == told["podName"] != told["pid"]
    assert TargetEntity.model_validate(camel) == TargetEntity.model_validate(ENTITY)


@pytest.mark.parametrize("both", [{"pod_name": "a", "podName": "b"}, {"podName": "a", "pod_name": "a"}])
def test_an_entity_that_says_something_in_both_spellings_is_refused(both: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as refused:
        TargetEntity.model_validate(both)
    assert [fault["loc"] for fault in refused.value.errors()] == [("pod_name",)]
