"""JSON however deep it is: Python's own writer ends at a depth that trees of stacks reach, pydantic's before that."""

import json
from collections.abc import Mapping
from typing import Any


class _Mark(str):
    """A piece of JSON as it is, and not a text in it."""

    __slots__ = ()


def written(told: Mapping[str, Any]) -> bytes:
    """What is told, with trees in it: nodes with `children`, and anything else that JSON has."""
    try:
        text = json.dumps(told, separators=(",", ":"))
    except RecursionError:
        text = _deep(told)
    return text.encode(errors="replace")


def _deep(told: Any) -> str:
    parts: list[str] = []
    waiting: list[Any] = [told]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Mark):
            parts.append(value)
        elif isinstance(value, Mapping):
            inner = [each for name, below in value.items() for each in (_Mark(f",{json.dumps(name)}:"), below)]
            waiting += [_Mark("}"), *reversed(_first(inner)), _Mark("{")]
        elif isinstance(value, list):
            inner = [each for below in value for each in (_Mark(","), below)]
            waiting += [_Mark("]"), *reversed(_first(inner)), _Mark("[")]
        else:
            parts.append(json.dumps(value))
    return "".join(parts)


def _first(inner: list[Any]) -> list[Any]:
    """What is between the brackets: before the first there is no comma."""
    return [_Mark(inner[0][1:]), *inner[1:]] if inner else []
