"""A recording that is none. What real ones give is tested beside the JDK's own reader, on a JVM."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.stacks import java, jfr
from agent.stacks.allocations import Allocated, since_the_start, spread
from agent.stacks.jfr import HEADER, BadRecording


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"FL", "cannot be followed"),
        (b"GIF89a" + bytes(80), "it begins with"),
        (HEADER.pack(b"FLR\0", 1, 0, 68, 0, 0, 0, 0, 0, 0, 1), "it begins with"),
        (HEADER.pack(b"FLR\0", 2, 1, 9_999, 0, 0, 0, 0, 0, 0, 1), "a chunk of 9999 bytes where 68 are left"),
        (HEADER.pack(b"FLR\0", 2, 1, 0, 0, 0, 0, 0, 0, 0, 1), "a chunk of 0 bytes"),
        (HEADER.pack(b"FLR\0", 2, 1, 68, 0, 0, 0, 0, 0, 0, 0), "fixed length"),
        (HEADER.pack(b"FLR\0", 2, 1, 68, 68, 68, 0, 0, 0, 0, 1), "cannot be followed"),
    ],
)
def test_what_is_no_recording_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadRecording, match=reason):
        java.ran(data)


@given(body=st.binary(max_size=200), at=st.integers(0, 260))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_bytes_of_a_hostile_target_are_refused_and_nothing_else(body: bytes, at: int) -> None:
    data = HEADER.pack(b"FLR\0", 2, 1, 68 + len(body), at, at, 0, 0, 0, 0, 1) + body
    with pytest.raises(BadRecording):
        java.ran(data)


def test_an_empty_recording_has_no_stacks() -> None:
    assert java.ran(b"").stacks == {}


@pytest.mark.parametrize(
    ("value", "number"), [(b"\x07", 7), (b"\x80\x01", 128), (b"\xff" * 9, 2**64 - 1), (b"\x80" * 8 + b"\x01", 1 << 56)]
)
def test_a_number_takes_up_to_nine_bytes(value: bytes, number: int) -> None:
    assert jfr._Cursor(memoryview(value), 0).number() == number


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("java/util/HashMap", "java.util.HashMap"),
        ("[B", "byte[]"),
        ("[[Ljava/lang/String;", "java.lang.String[][]"),
        ("com/x/App$$Lambda$14+0x0000000800c03000", "com.x.App$$Lambda"),
        ("com/x/App$$Lambda/0x00007f0c3c000a00", "com.x.App$$Lambda"),
        ("java/lang/invoke/LambdaForm$MH+0x0000000800003400", "java.lang.invoke.LambdaForm$MH"),
        ("jdk/internal/reflect/GeneratedMethodAccessor57", "jdk.internal.reflect.GeneratedMethodAccessor"),
        ("com/x/Box0x", "com.x.Box0x"),
    ],
)
def test_a_class_is_named_as_people_write_it_and_alike_in_every_jvm(name: str, readable: str) -> None:
    assert java._class_name({"name": {"string": name}}) == readable


def test_what_a_thread_allocated_before_the_recording_is_not_told_of_its_first_sample() -> None:
    past = 14_500_000_000
    sampled = [
        Allocated("main;b", 500, thread=1, at=20),
        Allocated("main;a", past, thread=1, at=10),
        Allocated("main;a", 700, thread=1, at=30),
        Allocated("worker", 40, thread=2, at=15),
    ]
    assert list(since_the_start(sampled)) == [("main;b", 500), ("main;a", 600), ("main;a", 700), ("worker", 40)]
    assert list(since_the_start(sampled[1:2])) == [("main;a", past)], "there is nothing to measure it by"
    assert list(since_the_start([])) == []


def test_what_was_allocated_in_a_pause_is_shared_among_the_samples_around_it() -> None:
    """A JVM takes 30 samples, rests for a hundred times as long, and takes 30 more; nine tenths of it is `much`."""
    sampled = [Allocated("little" if n % 10 == 0 else "much", 1_000_000, 1, n * 1_000) for n in range(60)]
    sampled = [each._replace(at=each.at + 100_000) if number >= 30 else each for number, each in enumerate(sampled)]
    sampled[30] = sampled[30]._replace(weight=100_000_003)
    assert sampled[30].stack == "little"
    shares = Counter[str]()
    for each in spread(sampled[::-1]):
        shares[each.stack] += each.weight
    assert shares.total() == 159_000_003
    assert shares["little"] / shares.total() == pytest.approx(0.1, abs=0.01)


def test_a_large_object_keeps_its_bytes_and_few_samples_are_left_as_they_are() -> None:
    sampled = [Allocated("small", 1_000, 1, n * 1_000) for n in range(40)]
    sampled[20] = Allocated("large", 1_000_000, 1, 20_500)
    assert spread(sampled) == sampled
    paused = [Allocated("a", 10, 1, 0), Allocated("a", 10, 1, 1), Allocated("b", 10_000, 1, 9_000)]
    assert spread(paused) == paused
