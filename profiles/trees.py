"""A tree as JSON however deep it is: Python's own writer ends at a depth that stacks do reach."""

import json
from collections.abc import Mapping
from typing import Any, Final

_CLOSE: Final = "]}"


def written(told: Mapping[str, Any]) -> bytes:
    """What is told of a tree, with the tree itself as `root`: nodes with `children`, and anything else beside."""
    beside = _plain({name: value for name, value in told.items() if name != "root"})
    rest = beside[1:] if beside == "{}" else f",{beside[1:]}"
    return f'{{"root":{_tree(told["root"])}{rest}'.encode(errors="replace")


def _tree(root: Mapping[str, Any]) -> str:
    parts: list[str] = []
    waiting: list[Mapping[str, Any] | str] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            parts.append(node)
            continue
        parts.append(f'{_plain({name: value for name, value in node.items() if name != "children"})[:-1]},"children":[')
        waiting.append(_CLOSE)
        for number, child in reversed([*enumerate(node["children"])]):
            waiting.append(child)
            if number:
                waiting.append(",")
    return "".join(parts)


def _plain(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
