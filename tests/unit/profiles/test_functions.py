"""Functions over all stacks, against the plainest way to count them."""

from collections.abc import Iterator
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from profiles.functions import around, heaviest

STACKS = st.dictionaries(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=6).map(";".join), st.integers(1, 1_000), max_size=25
)
RECURSIVE = {"main;f;g;f;g": 5, "main;f": 2, "main;g;f": 1, "other": 4}


def paths(node: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, int]]:
    here = (*above, node["name"])
    yield ";".join(here), node["value"]
    for child in node["children"]:
        yield from paths(child, here)


def test_a_function_that_calls_itself_counts_once_in_a_stack() -> None:
    found = heaviest(RECURSIVE, order="total", most=10)
    assert [(each.name, each.self_samples, each.total_samples) for each in found.items] == [
        ("f", 3, 8), ("main", 0, 8), ("g", 5, 6), ("other", 4, 4),
    ]  # fmt: skip
    assert [each.name for each in heaviest(RECURSIVE, order="self", most=10).items] == ["g", "other", "f", "main"]


@given(STACKS, st.sampled_from(["self", "total"]), st.integers(1, 5))
def test_functions_are_counted_and_those_left_out_are_said(
    stacks: dict[str, int], order: Literal["self", "total"], most: int
) -> None:
    whole, part = heaviest(stacks, order=order, most=100), heaviest(stacks, order=order, most=most)
    for each in whole.items:
        assert each.total_samples == sum(n for stack, n in stacks.items() if each.name in stack.split(";"))
        assert each.self_samples == sum(n for stack, n in stacks.items() if stack.split(";")[-1] == each.name)
    assert sum(each.self_samples for each in whole.items) == whole.samples == sum(stacks.values())
    assert part.items == whole.items[:most]
    assert part.cut_functions == part.functions - len(part.items) == len(whole.items[most:])
    assert part.cut_self_samples == sum(each.self_samples for each in whole.items[most:])
    weights = [each.self_samples if order == "self" else each.total_samples for each in whole.items]
    assert weights == sorted(weights, reverse=True)


def test_callers_are_upside_down_and_both_sides_begin_at_the_outermost_call() -> None:
    found = around(RECURSIVE, "f", most=100)
    assert (found.function.self_samples, found.function.total_samples) == (3, 8)
    assert dict(paths(found.callers.root)) == {"f": 8, "f;main": 7, "f;g": 1, "f;g;main": 1}
    assert dict(paths(found.callees.root)) == {"f": 8, "f;g": 5, "f;g;f": 5, "f;g;f;g": 5}


@given(STACKS, st.integers(1, 30))
def test_both_sides_have_every_sample_of_the_function(stacks: dict[str, int], most: int) -> None:
    found = around(stacks, "a", most=most)
    total = sum(count for stack, count in stacks.items() if "a" in stack.split(";"))
    assert found.function.total_samples == total
    for tree in (found.callers, found.callees):
        assert (tree.root["name"], tree.root["value"]) == ("a", total)
        assert len(list(paths(tree.root))) <= most + 1
        assert (tree.cut_nodes > 0) == (tree.cut_samples > 0)


def test_a_part_of_a_name_is_not_the_function() -> None:
    assert around({"main;food": 3}, "foo", most=10).function.total_samples == 0
