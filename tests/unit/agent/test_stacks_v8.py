from typing import Any

from agent.stacks import v8


def call(name: str, url: str = "", line: int = -1) -> dict[str, Any]:
    return {"functionName": name, "url": url, "lineNumber": line, "columnNumber": 0, "scriptId": "1"}


CPU = {
    "nodes": [
        {"id": 1, "callFrame": call("(root)"), "hitCount": 0, "children": [2, 3, 6, 7]},
        {"id": 2, "callFrame": call("main", "file:///srv/app/index.js", 9), "hitCount": 1, "children": [4, 5]},
        {"id": 3, "callFrame": call("(idle)"), "hitCount": 90},
        {"id": 4, "callFrame": call("", "/srv/app/index.js", 0), "hitCount": 4},
        {"id": 5, "callFrame": call("readFile", "node:internal/fs/read", 345), "hitCount": 2},
        {"id": 6, "callFrame": call("(program)"), "hitCount": 3},
        {"id": 7, "callFrame": call("(garbage collector)"), "hitCount": 5},
    ],
    "startTime": 1_500_000,
    "endTime": 1_500_001,
}


def test_samples_are_told_from_the_root_and_those_of_an_idle_program_left_out() -> None:
    assert v8.cpu(CPU) == {
        "main (index.js:10)": 1,
        "main (index.js:10);(anonymous) (index.js:1)": 4,
        "main (index.js:10);readFile (node:internal/fs/read:346)": 2,
        "(program)": 3,
        "(garbage collector)": 5,
    }


def test_a_profile_says_when_it_began_unless_it_is_none() -> None:
    assert v8.began(CPU) == 1.5
    assert v8.began({"startTime": "soon"}) is None
    assert v8.began({}) is None


def test_a_tree_that_is_none_does_not_hold_the_agent() -> None:
    circle = {"nodes": [{"id": 1, "callFrame": call("a"), "hitCount": 1, "children": [1]}]}
    assert sum(v8.cpu(circle).values()) == 1


def test_bytes_are_told_by_who_took_them() -> None:
    profile = {
        "head": {
            "callFrame": call("(root)"), "selfSize": 0, "children": [
                {"callFrame": call("fill", "file:///a.js", 0), "selfSize": 10, "children": [
                    {"callFrame": call("push"), "selfSize": 30, "children": []},
                ]},
                {"callFrame": call("fill", "file:///b.js", 0), "selfSize": 0, "children": []},
            ],
        }
    }  # fmt: skip
    assert v8.allocated(profile) == {"fill (a.js:1)": 10, "fill (a.js:1);push": 30}
