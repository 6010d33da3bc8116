import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.stacks.collapsed import BadLine, frame, merge, parse, render, under
from formats.scaling import scale

ON_A_BUSY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FRAMES = st.text(min_size=1, max_size=12).map(frame).filter(lambda text: not text.startswith("#"))
STACKS = st.dictionaries(
    st.lists(FRAMES, min_size=1, max_size=5).map(";".join), st.integers(min_value=1, max_value=10**6), max_size=20
)


def test_comments_and_blank_lines_are_passed_over_and_equal_stacks_add_up() -> None:
    lines = ['# {"host":"a"}\n', "\n", "main;work (a.py:1) 3\n", "main;work (a.py:1) 4\r\n", "main 1"]
    assert parse(lines) == {"main;work (a.py:1)": 7, "main": 1}


@pytest.mark.parametrize("line", ["main", "main;work -3", "main;work 1.5", " 7", "main 0", "main ²", "main;work x"])
def test_a_bad_line_is_named_by_its_number(line: str) -> None:
    with pytest.raises(BadLine, match="line 2 ") as raised:
        parse(["main 1\n", line])
    assert raised.value.line_number == 2


@ON_A_BUSY_MACHINE
@given(STACKS)
def test_what_was_rendered_is_read_back(stacks: dict[str, int]) -> None:
    assert parse(render(stacks).splitlines(keepends=True)) == stacks


@ON_A_BUSY_MACHINE
@given(STACKS, STACKS)
def test_merging_keeps_every_sample(one: dict[str, int], other: dict[str, int]) -> None:
    merged = merge([one, other])
    assert sum(merged.values()) == sum(one.values()) + sum(other.values())
    assert merged == merge([other, one])


def test_scaling_gives_the_largest_remainders_the_rest() -> None:
    assert scale({"a": 5, "b": 3, "c": 2}, 7) == {"a": 4, "b": 2, "c": 1}
    assert scale({"a": 1, "b": 1, "c": 1}, 2) == {"a": 1, "b": 1}
    assert scale({"a": 999, "b": 1}, 10) == {"a": 10}


@ON_A_BUSY_MACHINE
@given(STACKS, st.integers(min_value=0, max_value=10**7))
def test_scaling_hits_the_total_exactly_and_no_stack_is_off_by_one_or_more(stacks: dict[str, int], total: int) -> None:
    scaled = scale(stacks, total)
    seen = sum(stacks.values())
    assert sum(scaled.values()) == (total if seen else 0)
    assert all(abs(scaled.get(stack, 0) - count * total / seen) < 1 for stack, count in stacks.items())


def test_scaling_to_its_own_total_changes_nothing() -> None:
    assert scale({"a": 3, "b": 4}, 7) == {"a": 3, "b": 4}


@pytest.mark.parametrize(
    ("text", "safe"),
    [("a;b", "a:b"), ("line\nend", "line end"), ("", "[unknown]"), ("  \t", "[unknown]"), ("plain (x.py:1)",) * 2],
)
def test_a_frame_cannot_break_the_format(text: str, safe: str) -> None:
    assert frame(text) == safe


def test_a_root_stands_above_every_stack() -> None:
    assert under("my;app", {"a;b": 1, "": 2}) == {"my:app;a;b": 1, "my:app": 2}
