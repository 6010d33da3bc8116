"""Every field of a request by itself: what it takes, what it refuses, and what it is when it is not said."""

from typing import Any

import pytest
from pydantic import ValidationError

from protocol.requests import (
    MAX_ADDITIONAL_ARGS_BYTES,
    MAX_PIDS,
    OUR_CONFIG_KEYS,
    ProfileRequest,
    unknown_fields,
    unsupported_fields,
)

ENOUGH = {"service_name": "web", "target_hostnames": ["web-01"]}


def asked(**fields: Any) -> ProfileRequest:
    return ProfileRequest.model_validate({**ENOUGH, **fields})


def faults(body: Any) -> dict[str, str]:
    """Field -> code of the fault, for a body that is refused."""
    with pytest.raises(ValidationError) as caught:
        ProfileRequest.model_validate(body)
    return {".".join(map(str, error["loc"])): error["type"] for error in caught.value.errors()}


def faults_with(**fields: Any) -> dict[str, str]:
    return faults({**ENOUGH, **fields})


def test_a_request_needs_a_service_and_hosts_and_nothing_else() -> None:
    request = asked()
    assert (request.command_type, request.duration, request.frequency, request.continuous) == ("start", 60, 11, False)
    assert (request.profiling_mode, request.target_scope, request.priority) == ("cpu", "host", "normal")
    assert (request.pids, request.stop_level, request.additional_args) == (None, None, {})
    assert (request.expires_in, request.dry_run) == (900, False)


@pytest.mark.parametrize("body", [None, [], "web", 7, [ENOUGH]])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert set(faults(body)) == {""}


@pytest.mark.parametrize(
    "name", ["", " ", "\t", "a\x00b", "line\nbreak", "\x7f", "\ud800", "x" * 257, 7, True, ["web"], {"a": 1}]
)
@pytest.mark.parametrize("field", ["service_name", "target_hostnames"])
def test_names_are_printable_texts_of_1_to_256_characters(field: str, name: Any) -> None:
    where = "service_name" if field == "service_name" else "target_hostnames.0"
    assert where in faults_with(**{field: name if field == "service_name" else [name]})


@pytest.mark.parametrize("name", ["w", "x" * 256, "wëb 01", "名前", "a/b:c{d}", "%2F", "🙂"])
def test_any_printable_name_is_taken_as_it_is(name: str) -> None:
    request = asked(service_name=name, target_hostnames=[name])
    assert (request.service_name, request.target_hostnames) == (name, [name])


@pytest.mark.parametrize("missing", ["service_name", "target_hostnames"])
def test_a_missing_field_is_named(missing: str) -> None:
    body = {name: value for name, value in ENOUGH.items() if name != missing}
    assert missing in faults(body)


def test_every_fault_is_told_at_once() -> None:
    told = faults({"service_name": "", "duration": 0, "frequency": "x", "profiling_mode": "heap", "pids": [0]})
    assert {"service_name", "duration", "frequency", "profiling_mode", "pids.0", "target_hostnames"} <= set(told)


@pytest.mark.parametrize(
    ("field", "low", "high"), [("duration", 1, 86_400), ("frequency", 1, 1_000), ("expires_in", 1, 86_400)]
)
def test_numbers_keep_within_their_bounds(field: str, low: int, high: int) -> None:
    assert getattr(asked(**{field: low}), field) == low
    assert getattr(asked(**{field: high}), field) == high
    for outside in (low - 1, -1, high + 1, 10**9, 10**30):
        assert field in faults_with(**{field: outside})


@pytest.mark.parametrize("field", ["duration", "frequency", "expires_in"])
@pytest.mark.parametrize("value", ["x", "60", 1.5, 60.0, True, [60], {}])
def test_a_number_is_a_whole_number_and_not_something_like_one(field: str, value: Any) -> None:
    assert field in faults_with(**{field: value})


@pytest.mark.parametrize("field", ["continuous", "dry_run"])
@pytest.mark.parametrize("value", [1, 0, "true", "yes", []])
def test_a_flag_is_true_or_false_and_not_something_like_it(field: str, value: Any) -> None:
    assert getattr(asked(**{field: True}), field) is True
    assert field in faults_with(**{field: value})


@pytest.mark.parametrize(
    ("field", "known"),
    [
        ("command_type", ["start", "stop"]),
        ("request_type", ["start", "stop"]),
        ("profiling_mode", ["cpu", "allocation", "wall", "none"]),
        ("priority", ["low", "normal", "urgent"]),
        ("stop_level", ["host"]),
        ("target_scope", ["host"]),
    ],
)
def test_a_choice_is_one_of_its_words(field: str, known: list[str]) -> None:
    for word in known:
        assert getattr(asked(**{field: word}), field) == word
    for other in ("", "START", "heap", 1, ["start"]):
        assert field in faults_with(**{field: other})


@pytest.mark.parametrize("pids", [[], [0], [-1], ["12"], [1.0], [True], [2**31], [1, None], "12", 12, [[1]]])
def test_pids_are_positive_whole_numbers(pids: Any) -> None:
    assert any(field.startswith("pids") for field in faults_with(pids=pids))


def test_pids_are_kept_once_each_in_order() -> None:
    assert asked(pids=[9, 2**31 - 1, 1, 9]).pids == [1, 9, 2**31 - 1]


def test_a_thousand_pids_are_taken_and_one_more_is_not() -> None:
    assert asked(pids=list(range(1, MAX_PIDS + 1))).pids is not None
    assert "pids" in faults_with(pids=list(range(1, MAX_PIDS + 2)))


@pytest.mark.parametrize("field", [name for name in ProfileRequest.model_fields if name not in ENOUGH])
def test_an_explicit_null_is_an_absent_field(field: str) -> None:
    assert asked(**{field: None}) == asked()


def test_a_null_service_is_a_missing_one() -> None:
    assert "service_name" in faults_with(service_name=None)


def test_a_field_that_no_dialect_knows_is_ignored_and_can_be_told() -> None:
    body = {**ENOUGH, "durration": 5, "colour": None}
    assert ProfileRequest.model_validate(body) == asked()
    assert unknown_fields(body) == ["colour", "durration"]
    assert unknown_fields({**ENOUGH, "pids": [1], "schedule": 3}) == []


def test_fields_that_would_narrow_or_delay_a_request_are_told_as_unsupported() -> None:
    assert unsupported_fields({**ENOUGH, "schedule": "x", "target_entities": None}) == ["schedule"]
    assert unsupported_fields(dict(ENOUGH)) == []


# --- additional_args --------------------------------------------------------------------------------------------------


def test_additional_args_are_any_plain_json_object() -> None:
    given = {"profiler_configs": {"perf": None, "jit": [1, 2.5, "ü"]}, "max_processes": 10, "self": True, "": 0}
    assert asked(additional_args=given).additional_args == given


@pytest.mark.parametrize("value", [[], "x", 3, True])
def test_additional_args_that_are_no_object_are_refused(value: Any) -> None:
    assert "additional_args" in faults_with(additional_args=value)


@pytest.mark.parametrize("key", sorted(OUR_CONFIG_KEYS))
def test_additional_args_never_lay_over_a_key_of_ours(key: str) -> None:
    assert faults_with(additional_args={key: 1}) == {"additional_args": "reserved_key"}


def test_every_key_that_an_agent_reads_for_itself_is_reserved() -> None:
    assert {"duration", "frequency", "profiling_mode", "continuous", "pids", "exclude_pids"} <= OUR_CONFIG_KEYS
    assert {"stop_level", "command_type", "request_type"} <= OUR_CONFIG_KEYS


@pytest.mark.parametrize("character", ["x", "ü", "🙂"])
def test_additional_args_are_measured_in_bytes_of_json(character: str) -> None:
    frame = len('{"a": ""}')
    size = len(character.encode())
    fits = (MAX_ADDITIONAL_ARGS_BYTES - frame) // size
    assert asked(additional_args={"a": character * fits})
    assert faults_with(additional_args={"a": character * (fits + 1)}) == {"additional_args": "too_large"}


def test_17_kib_of_additional_args_are_refused() -> None:
    assert faults_with(additional_args={"a": "x" * 17 * 1024}) == {"additional_args": "too_large"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "\ud800"])
@pytest.mark.parametrize("depth", [0, 3])
def test_what_json_cannot_say_is_refused_in_additional_args(value: Any, depth: int) -> None:
    for _ in range(depth):
        value = {"a": [value]}
    assert faults_with(additional_args={"a": value}) == {"additional_args": "not_json"}


def test_endless_nesting_is_refused_in_additional_args() -> None:
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"a": nested}
    assert set(faults_with(additional_args=nested)) == {"additional_args"}
