"""The page's own scripts, as far as they need no page, run by node on what Python wrote."""

import json
import subprocess
from importlib import resources
from typing import Any

from formats.flamegraph.page import encode, encode_both

NOW = {"a;b": 6, "a;c": 2, "d": 2}
BASE = {"a;b": 3, "a;e": 2, "d": 15}


def read(encoded: dict[str, Any], what: str) -> Any:
    """What the script makes of a profile, as JSON."""
    script = (resources.files("formats.flamegraph") / "tree.js").read_text(encoding="utf-8")
    asked = f"""
        const tree = decode({json.dumps(encoded)});
        const nodes = [...Array(tree.size).keys()];
        console.log(JSON.stringify({what}));
    """
    done = subprocess.run(
        ["node", "-e", f'"use strict";\n{script}\n{asked}'], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_one_profile_is_counted_as_ever() -> None:
    found = read(encode(NOW), "nodes.map((node) => [labelOf(tree, node), tree.total[node], tree.self[node]])")
    assert found == [["all", 10, 0], ["a", 8, 0], ["b", 6, 6], ["c", 2, 2], ["d", 2, 2]]


def test_of_two_profiles_each_frame_has_both_shares_and_how_they_have_changed() -> None:
    told = read(
        encode_both(NOW, BASE),
        "nodes.map((node) => [labelOf(tree, node), tree.now[node], tree.base[node], growth(tree, node)])",
    )
    changes = {name: (now, base, round(growth["change"], 6)) for name, now, base, growth in told}
    assert changes == {
        "all": (10, 20, 0), "a": (8, 5, 0.55), "b": (6, 3, 0.45), "c": (2, 0, 0.2), "e": (0, 2, -0.1),
        "d": (2, 15, -0.55),
    }  # fmt: skip
    relative = {name: growth["relative"] for name, _, _, growth in told}
    assert (relative["c"], relative["e"], relative["all"]) == (1, -1, 0)
    assert round(relative["b"], 6) == 0.75


def test_frames_that_have_gone_are_as_wide_as_their_share_was() -> None:
    widths = dict(read(encode_both(NOW, BASE), "nodes.map((node) => [labelOf(tree, node), tree.total[node]])"))
    assert {name: round(width, 6) for name, width in widths.items()} == {
        "all": 2, "a": 1.05, "b": 0.75, "c": 0.2, "e": 0.1, "d": 0.95,
    }  # fmt: skip


def test_a_side_without_samples_divides_by_nothing() -> None:
    assert read(encode_both(NOW, {}), "growth(tree, 0)") == {"now": 1, "base": 0, "change": 1, "relative": 1}
    assert read(encode_both({}, {}), "[tree.size, growth(tree, 0).change]") == [1, 0]


def test_the_whole_script_is_javascript() -> None:
    folder = resources.files("formats.flamegraph")
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in ("tree.js", "view.js"))
    subprocess.run(
        ["node", "--check", "-"], input=f'"use strict";\n{script}', text=True, check=True, timeout=60
    )  # fmt: skip
