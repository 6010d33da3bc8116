"""py-spy's raw format, in our frames.

py-spy writes `function (/full/path/file.py:12)` with the line of the definition (its `-F`). We keep the function, which
newer Pythons qualify (`Thread.run`), and the line, but of the path only what tells files apart: the part below
`site-packages` or the standard library, else the file's name. A path of a deployment would keep profiles of two hosts
from being merged.
"""

import re
from collections.abc import Iterable
from typing import Final

from agent.stacks.collapsed import frame, parse
from formats.frames import SEPARATOR

_FRAME: Final = re.compile(r"(?P<function>.*?) \((?P<file>.*?)(?P<line>:\d+)?\)")
_LIBRARY: Final = re.compile(r".*/(?:site-packages|dist-packages|lib/python\d[\d.]*(?:/lib-dynload)?|python\d+\.zip)/")
_AMBIGUOUS: Final = frozenset({"__init__.py", "__main__.py"})
_GROUPING: Final = re.compile(r'(?:process \d+:".*"|thread \(0x[0-9A-Fa-f]+\).*|thread \(\d+\).*)')


def read(lines: Iterable[str]) -> dict[str, int]:
    """Collapsed stacks of one process out of py-spy's raw file, without its frames for process and thread.

    A stack that it could not follow at all is an empty one there; here it is `[unknown]`.

    Raises:
        BadLine: the file is not py-spy's raw format.
    """
    stacks: dict[str, int] = {}
    known: dict[str, str] = {}  # most frames stand in many stacks
    for raw, count in parse(f"[unknown]{line}" if line.startswith(" ") else line for line in lines).items():
        frames = raw.split(SEPARATOR)
        while len(frames) > 1 and _GROUPING.fullmatch(frames[0]):
            frames = frames[1:]
        for text in frames:
            if text not in known:
                known[text] = short(text)
        stack = SEPARATOR.join([known[text] for text in frames])
        stacks[stack] = stacks.get(stack, 0) + count
    return stacks


def short(text: str) -> str:
    """One frame of py-spy's in our words: `dumps (/usr/lib/python3.11/json/a.py:1)` is `dumps (json/a.py:1)`."""
    found = _FRAME.fullmatch(text)
    if found is None:
        return frame(text)
    return frame(f"{found['function']} ({short_path(found['file'])}{found['line'] or ''})")


def short_path(path: str) -> str:
    """What of a source file's path tells it apart from others."""
    below = _LIBRARY.sub("", path)
    if below != path:
        return below
    head, _, name = path.rpartition("/")
    package = head.rpartition("/")[2]
    return f"{package}/{name}" if name in _AMBIGUOUS and package else name
