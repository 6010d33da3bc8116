"""pprof's format, read back by protobuf: the messages are declared here as google/pprof declares them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from agent.stacks.collapsed import frame
from formats import pprof

INT, UINT, TEXT, MESSAGE = 3, 4, 9, 11
ONE, MANY = 1, 3
SCHEMA: dict[str, list[tuple[str, int, int, int, str]]] = {
    "ValueType": [("type", 1, ONE, INT, ""), ("unit", 2, ONE, INT, "")],
    "Sample": [("location_id", 1, MANY, UINT, ""), ("value", 2, MANY, INT, "")],
    "Line": [("function_id", 1, ONE, UINT, ""), ("line", 2, ONE, INT, "")],
    "Location": [("id", 1, ONE, UINT, ""), ("line", 4, MANY, MESSAGE, "Line")],
    "Function": [
        ("id", 1, ONE, UINT, ""),
        ("name", 2, ONE, INT, ""),
        ("system_name", 3, ONE, INT, ""),
        ("filename", 4, ONE, INT, ""),
        ("start_line", 5, ONE, INT, ""),
    ],
    "Profile": [
        ("sample_type", 1, MANY, MESSAGE, "ValueType"),
        ("sample", 2, MANY, MESSAGE, "Sample"),
        ("location", 4, MANY, MESSAGE, "Location"),
        ("function", 5, MANY, MESSAGE, "Function"),
        ("string_table", 6, MANY, TEXT, ""),
        ("time_nanos", 9, ONE, INT, ""),
        ("duration_nanos", 10, ONE, INT, ""),
        ("period_type", 11, ONE, MESSAGE, "ValueType"),
        ("period", 12, ONE, INT, ""),
        ("comment", 13, MANY, INT, ""),
    ],
}


def schema() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="profile.proto", package="perftools.profiles", syntax="proto3")
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, label, kind, of in fields:
            declared: Any = {"name": field, "number": number, "label": label, "type": kind}
            message.field.add(**declared, type_name=f".perftools.profiles.{of}" if of else None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))


Profile = schema()
BEGAN = datetime(2026, 1, 8, 11, 0, 0, 250_000, tzinfo=UTC)


def read(stacks: dict[str, int], *, hz: int = 11) -> Any:
    content = pprof.encode(
        stacks, pprof.cpu(hz), started_at=BEGAN, duration=timedelta(seconds=5.5), comments=["web", "host"]
    )
    message = Profile.FromString(content)
    assert not message.DiscardUnknownFields()
    return message


def stacks_of(message: Any) -> dict[str, int]:
    text = message.string_table
    functions = {function.id: function for function in message.function}

    def told(location: int) -> str:
        line = locations[location].line[0]
        function = functions[line.function_id]
        name, file = text[function.name], text[function.filename]
        where = f"{file}:{line.line}" if line.line else file
        return f"{name} ({where})" if where else name

    locations = {location.id: location for location in message.location}
    return {
        ";".join(told(location) for location in reversed(sample.location_id)): sample.value[0]
        for sample in message.sample
    }


STACKS = {
    "python;main (app.py:1);dumps (json/__init__.py:183)": 7,
    "python;main (app.py:1)": 300,
    "c;std::sort<int (*)(int)> (libx.so);do_syscall_64_[k]": 1,
}


def test_a_profile_can_be_read_back_by_the_schema() -> None:
    message = read(STACKS)
    assert stacks_of(message) == STACKS
    assert message.string_table[0] == ""
    assert len(message.function) == len({frame for stack in STACKS for frame in stack.split(";")})


def test_values_are_samples_and_the_time_that_they_stand_for() -> None:
    message = read({"a": 3}, hz=10)
    types = [(message.string_table[one.type], message.string_table[one.unit]) for one in message.sample_type]
    assert types == [("samples", "count"), ("cpu", "nanoseconds")]
    assert list(message.sample[0].value) == [3, 300_000_000]
    assert message.period == 100_000_000
    assert message.string_table[message.period_type.type] == "cpu"
    assert [message.string_table[index] for index in message.comment] == ["web", "host"]
    assert message.time_nanos == 1_767_870_000_250_000_000
    assert message.duration_nanos == 5_500_000_000


def test_allocations_are_bytes() -> None:
    content = pprof.encode({"a": 1 << 40}, pprof.ALLOCATED, started_at=BEGAN, duration=timedelta(seconds=1))
    message = Profile.FromString(content)
    assert [list(sample.value) for sample in message.sample] == [[1 << 40]]
    assert message.string_table[message.sample_type[0].unit] == "bytes"


@given(
    st.dictionaries(
        st.lists(st.text(max_size=9).map(frame), min_size=1, max_size=9).map(";".join), st.integers(1, 1 << 50)
    )
)
def test_whatever_frames_are_called_counts_and_names_are_kept(stacks: dict[str, int]) -> None:
    message = read(stacks)
    assert sorted(sample.value[0] for sample in message.sample) == sorted(stacks.values())
    assert all(0 < sample.value[1] < 1 << 63 for sample in message.sample)
    assert len(message.sample) == len(stacks)
    assert all(location.line for location in message.location)


@pytest.mark.parametrize("count", [1, 127, 128, 16_383, 16_384, 1 << 32])
def test_numbers_of_any_size_are_written(count: int) -> None:
    assert stacks_of(read({"a": count})) == {"a": count}
