"""What `memray_read` prints, as collapsed stacks in our frames. Pure."""

import json
from collections.abc import Iterable

from agent.stacks.collapsed import frame
from agent.stacks.py_spy import short_path
from formats.frames import SEPARATOR


def read(lines: Iterable[str]) -> dict[str, int]:
    """Bytes by stack, root first; a stack that has no Python in it is `[native]`.

    Raises:
        ValueError: a line is none of its.
    """
    stacks: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        try:
            size, frames = json.loads(line)
            names = [frame(f"{function} ({short_path(file)})") for function, file, _ in reversed(frames)]
            held = int(size)
        except (TypeError, ValueError) as problem:
            raise ValueError(f"line {number} is no stack of memray's: {problem}") from problem
        if held > 0:
            stack = SEPARATOR.join(names) or "[native]"
            stacks[stack] = stacks.get(stack, 0) + held
    return stacks
