import base64
import hashlib
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from formats.flamegraph import render
from formats.flamegraph.page import encode
from formats.frames import shared

STACKS = st.dictionaries(
    st.lists(
        st.text(alphabet="ab <>&/!-;_", min_size=1, max_size=4).map(lambda name: name.replace(";", "")), min_size=1
    )
    .map(";".join)
    .filter(lambda stack: all(stack.split(";"))),
    st.integers(min_value=1, max_value=1_000),
    max_size=15,
)


def decoded(page: str) -> dict[str, int]:
    """The stacks that a page carries, read the way its script reads them."""
    found = re.findall(r'<script type="application/json" id="profile">(.*?)</script>', page, re.DOTALL)
    assert len(found) == 1
    data = json.loads(found[0])
    stacks: dict[str, int] = {}
    path: list[str] = []
    row = iter(data["stacks"])
    for known in row:
        fresh = next(row)
        path = path[:known] + [data["frames"][next(row)] for _ in range(fresh)]
        stacks[";".join(path)] = next(row)
    return stacks


def test_a_frame_cannot_break_out_of_the_data() -> None:
    hostile = {"main;</script><script>alert(1)</script>": 1, "main;<!-- <script>": 2, "main;]]>&amp;\u2028": 3}
    page = render(hostile, title="t", facts={})
    assert page.count("</script>") == 2
    assert "<!--" not in page
    assert "alert(1)</" not in page
    assert decoded(page) == hostile


def test_title_facts_and_notices_are_escaped() -> None:
    page = render({"a": 1}, title="<b>T</b>", facts={"<i>": "<u>"}, notices=["<script>x</script>"])
    assert "<b>" not in page
    assert "<u>" not in page
    assert "<li>&lt;script&gt;x&lt;/script&gt;</li>" in page


def test_the_page_needs_nothing_from_anywhere() -> None:
    page = render({"a;b": 1}, title="t", facts={})
    assert not re.search(r"https?://", page)
    assert not re.search(r"\b(?:src|href|action)\s*=", page)
    assert "@import" not in page
    assert "url(" not in page


def test_the_policy_allows_exactly_the_pages_own_script_and_style() -> None:
    page = render({"a": 1}, title="t", facts={})
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[0]
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]
    for text, directive in ((script, "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in page
    assert "default-src 'none'" in page


@given(STACKS)
def test_the_data_holds_every_stack(stacks: dict[str, int]) -> None:
    assert decoded(render(stacks, title="t", facts={})) == stacks


def test_shared_frames_are_written_once() -> None:
    assert encode({"a;b;c": 1, "a;b;d": 2}) == {
        "frames": ["a", "b", "c", "d"],
        "stacks": [0, 3, 0, 1, 2, 1, 2, 1, 3, 2],
    }


def test_two_stacks_share_frames_from_the_root_on_and_no_others() -> None:
    assert shared(["a", "b", "c"], ["a", "b", "d", "c"]) == 2
    assert shared(["a", "b"], ["a", "b", "c"]) == shared(["a", "b", "c"], ["a", "b"]) == 2
    assert shared(["x", "b"], ["a", "b"]) == shared([], ["a"]) == 0
