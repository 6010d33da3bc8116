"""Two selections side by side: shares, whatever the number of samples in each."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.comparison import columns, compared, lightened_both
from profiles.differences import DIFFERENCES
from profiles.renderings import Merged

STACKS = st.dictionaries(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(";".join), st.integers(1, 1_000), max_size=25
)


def nodes(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    for child in node["children"]:
        here = (*path, child["name"])
        yield ";".join(here), child
        yield from nodes(child, here)


def under(stacks: dict[str, int], path: str) -> int:
    return sum(count for stack, count in stacks.items() if f"{stack};".startswith(f"{path};"))


def test_twice_the_samples_of_the_same_is_no_change() -> None:
    base = {"web;main;work": 30, "web;main;rest": 10, "db;loop": 5}
    found = compared({stack: 2 * count for stack, count in base.items()}, base)
    assert (found.samples, found.base_samples) == (90, 45)
    assert {node["change"] for _, node in nodes(found.root)} == {0}


def test_what_grew_what_shrank_what_came_and_what_went_is_told_as_a_share_of_all() -> None:
    found = compared({"web;new": 30, "web;work": 60, "db": 10}, {"web;work": 10, "web;gone": 5, "db": 5})
    told = {path: (node["value"], node["base"], node["change"]) for path, node in nodes(found.root)}
    assert told == {
        "web": (90, 15, 0.15), "web;work": (60, 10, 0.1), "web;new": (30, 0, 0.3), "web;gone": (0, 5, -0.25),
        "db": (10, 5, -0.15),
    }  # fmt: skip
    assert [child["name"] for child in found.root["children"]] == ["web", "db"]
    assert [child["name"] for child in found.root["children"][0]["children"]] == ["work", "new", "gone"]


@given(STACKS, STACKS, st.integers(1, 40))
def test_nodes_hold_what_is_below_them_and_what_is_cut_is_the_lightest_and_is_said(
    now: dict[str, int], base: dict[str, int], most: int
) -> None:
    whole, cut = compared(now, base, most=10_000), compared(now, base, most=most)
    for path, node in nodes(whole.root):
        assert (node["value"], node["base"]) == (under(now, path), under(base, path))
    drawn = [path for path, _ in nodes(cut.root)]
    left = {path: node for path, node in nodes(whole.root) if path not in drawn}
    assert len(drawn) <= most
    assert len(left) == cut.cut_nodes
    assert (whole.cut_nodes, whole.cut_samples, whole.cut_base_samples) == (0, 0, 0)

    def weight(path: str) -> int:
        return under(now, path) * max(sum(base.values()), 1) + under(base, path) * max(sum(now.values()), 1)

    if left:
        assert max(map(weight, left)) <= min(map(weight, drawn))
    tops = [path for path in left if path.rpartition(";")[0] not in left]
    assert cut.cut_samples == sum(left[path]["value"] for path in tops)
    assert cut.cut_base_samples == sum(left[path]["base"] for path in tops)


@given(STACKS, STACKS)
def test_both_columns_have_as_many_samples_and_no_stack_is_lost(now: dict[str, int], base: dict[str, int]) -> None:
    both = columns(now, base)
    assert list(both) == sorted({*now, *base})
    assert {stack: count for stack, (_, count) in both.items() if count} == now
    if now and base:
        assert sum(before for before, _ in both.values()) == sum(now.values())
        for stack, (before, _) in both.items():
            assert abs(before - base.get(stack, 0) * sum(now.values()) / sum(base.values())) < 1
    else:
        assert {stack: before for stack, (before, _) in both.items() if before} == base


def merged(stacks: dict[str, int]) -> Merged:
    began = datetime(2026, 5, 4, tzinfo=UTC)
    return Merged(stacks, "web", "cpu", 11, began, timedelta(minutes=1), {"hosts": "2", "profiles": "3"})


def written(kind: str, now: dict[str, int], base: dict[str, int], most: int) -> str:
    content = {str(name): each for name, each in DIFFERENCES.items()}[kind](merged(now), merged(base), most)
    return (content if isinstance(content, bytes) else b"".join(content)).decode()


@given(STACKS, STACKS, st.integers(1, 40))
def test_files_of_both_are_cut_like_the_tree_and_say_so_and_the_sums_stay(
    now: dict[str, int], base: dict[str, int], most: int
) -> None:
    left, left_base, said = lightened_both(now, base, most=most)
    found = compared(now, base, most=most)
    assert (sum(left.values()), sum(left_base.values())) == (sum(now.values()), sum(base.values()))
    assert bool(said) == bool(found.cut_nodes)
    if not said:
        assert (left, left_base) == (now, base)
    else:
        assert f"the {found.cut_nodes:,} lightest" in said
        assert len({*left, *left_base}) <= most + 1
        assert all(min(each.values(), default=1) > 0 for each in (left, left_base))


def test_a_page_of_both_is_cut_like_the_tree_and_says_so() -> None:
    now, base = ({f"main;leaf_{n}": n + many for n in range(50)} for many in (1, 2))
    page = written("html", now, base, 11)
    assert "the 40 lightest frames are left out" in page
    assert "leaf_49" in page
    assert "leaf_3" not in page
    assert "left out" not in written("html", now, base, 51)


def test_a_very_deep_stack_is_no_problem() -> None:
    deep = ";".join(["f"] * 3_000)
    assert json.loads(written("json", {deep: 1}, {}, 20))["cut_nodes"] == 2_980


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        ("json", ['"base":2', '"change":-0.25', '"unit":"samples"']), ("collapsed", ["a;b 1 2\n", "a;c 1 0\n"]),
        ("html", ["web: compared", "red has grown", '"totals":[2,4]', "3 profiles"]),
    ],
)  # fmt: skip
def test_every_format_holds_both(kind: str, holds: list[str]) -> None:
    text = written(kind, {"a;b": 2}, {"a;b": 2, "a;c": 1, "d": 1}, 100)
    for part in holds:
        assert part in text
