"""The tree that a flame graph is drawn from adds up, and says what was cut."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from profiles.flamegraph import tree_of

STACKS = st.dictionaries(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=5).map(";".join), st.integers(1, 1_000), max_size=40
)


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for child in node["children"]:
        yield child
        yield from nodes(child)


def test_frames_add_up_and_the_heaviest_comes_first() -> None:
    tree = tree_of({"a;b": 1, "a;c": 5, "a": 2, "d": 1})
    assert tree.samples == 9
    assert tree.stacks == 4
    (a, d) = tree.root["children"]
    assert (a["name"], a["value"], d["value"]) == ("a", 8, 1)
    assert [(child["name"], child["value"]) for child in a["children"]] == [("c", 5), ("b", 1)]
    assert (tree.cut_nodes, tree.cut_samples) == (0, 0)


@given(STACKS, st.integers(1, 30))
def test_what_is_cut_is_the_lightest_and_is_said(stacks: dict[str, int], most: int) -> None:
    whole, cut = tree_of(stacks, most=10_000), tree_of(stacks, most=most)
    drawn = list(nodes(cut.root))
    assert len(drawn) <= most
    assert len(drawn) + cut.cut_nodes == len(list(nodes(whole.root)))
    assert cut.root["value"] == sum(stacks.values()) == cut.samples
    assert cut.cut_samples <= cut.samples
    if cut.cut_nodes:
        heaviest_left_out = sorted((node["value"] for node in nodes(whole.root)), reverse=True)[len(drawn)]
        assert all(node["value"] >= heaviest_left_out for node in drawn)
    else:
        assert cut.root == whole.root


def test_a_stack_deeper_than_python_s_is_drawn() -> None:
    tree = tree_of({";".join("a" * 5_000): 1})
    assert tree.samples == 1
