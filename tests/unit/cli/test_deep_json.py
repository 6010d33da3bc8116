"""JSON is read as the library reads it, and deeper."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.deep_json import _deep, read

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=9,
)


@given(VALUES, st.sampled_from([None, 2]))
def test_it_reads_what_the_library_reads(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert _deep(text) == read(text) == value


def test_it_reads_deeper_than_the_library() -> None:
    deep = 5_000
    node = read('{"name":"f","children":[' * deep + "]}" * deep)
    for _ in range(deep - 1):
        assert node["name"] == "f"
        (node,) = node["children"]
    assert node == {"name": "f", "children": []}


@pytest.mark.parametrize("text", ["", "nonsense", "{", "[1]]", "1 2", '{"a": "'])
def test_what_is_no_json_is_said(text: str) -> None:
    for ask in (read, _deep):
        with pytest.raises(ValueError, match=r"."):
            ask(text)
