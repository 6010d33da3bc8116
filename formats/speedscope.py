"""A profile in speedscope's format: https://www.speedscope.app/file-format-schema.json."""

from collections.abc import Mapping
from typing import Any, Final

from formats.frames import SEPARATOR, split

SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"


def document(stacks: Mapping[str, int], *, title: str, unit: str, exporter: str) -> dict[str, Any]:
    """The file as a value to write as JSON, samples sorted by stack: the viewer merges neighbours that share frames.

    Args:
        stacks: collapsed stack → count.
        title: of the profile.
        unit: what a count is: `none`, or `bytes`.
        exporter: the program that wrote it, with its version.
    """
    index: dict[str, int] = {}
    samples = [
        [index.setdefault(name, len(index)) for name in stack.split(SEPARATOR)] for stack, _ in sorted(stacks.items())
    ]
    return {
        "$schema": SCHEMA,
        "name": title,
        "exporter": exporter,
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(name) for name in index]},
        "profiles": [
            {
                "type": "sampled",
                "name": title,
                "unit": unit,
                "startValue": 0,
                "endValue": sum(stacks.values()),
                "samples": samples,
                "weights": [count for _, count in sorted(stacks.items())],
            }
        ],
    }


def _frame(name: str) -> dict[str, Any]:
    frame = split(name)
    return {
        "name": frame.function,
        **({"file": frame.file} if frame.file else {}),
        **({"line": frame.line} if frame.line else {}),
    }
