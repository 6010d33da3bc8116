"""A tree is written as JSON however deep its stacks are, and as Python's own writer does it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from profiles.collapsed import DEEPEST
from profiles.differences import DIFFERENCES
from profiles.flamegraph import tree_of
from profiles.renderings import Merged
from profiles.trees import _deep, written

STACKS = st.dictionaries(st.lists(st.text(max_size=4), min_size=1, max_size=5).map(";".join), st.integers(1, 9))


@given(STACKS, st.dictionaries(st.text(max_size=3).filter(lambda name: name != "root"), st.integers(), max_size=3))
def test_it_is_the_json_that_is_meant(stacks: dict[str, int], beside: dict[str, Any]) -> None:
    told = {"root": tree_of(stacks).root, **beside}
    assert written(told) == _deep(told).encode() == json.dumps(told, separators=(",", ":")).encode()


def test_the_deepest_stack_that_is_kept_is_written() -> None:
    tree = tree_of({";".join(f"f{number}" for number in range(DEEPEST + 1)): 3})
    content = written({"root": tree.root, "samples": 3})
    assert content.count(b'"children":[') == DEEPEST + 2
    assert content.endswith(b'}],"samples":3}'.replace(b"],", b"]},"))


def test_two_of_the_deepest_stacks_are_compared() -> None:
    deep = {";".join(f"f{number}" for number in range(DEEPEST + 1)): 3}
    merged = Merged(deep, "web", "cpu", 11, datetime(2026, 5, 4, tzinfo=UTC), timedelta(), {})
    content = DIFFERENCES["json"](merged, merged, DEEPEST + 1)
    assert isinstance(content, bytes)
    assert content.count(b'"change":0.0') == DEEPEST + 2
